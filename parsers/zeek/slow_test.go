package zeek

import (
	"bytes"
	"encoding/json"
	"math"
	"net/netip"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"tidewatch/event"
	"tidewatch/parsers"
	"tidewatch/parsers/scan"
)

// A second, slow reading of both forms with the standard library, to hold ours
// against. It takes from the parsers what names mean; splitting, escapes, types
// and refusals it does itself. Times and intervals are read by package scan,
// whose own tests hold it against the standard library.

// say is what a record says: its time, its kind, and the columns that are set.
type say map[string]any

// fieldOf returns the field of ev that holds column c: Conn.OrigIPBytes for
// conn.orig_ip_bytes. ok is false for a column of another kind of record.
func fieldOf(ev *event.Event, c event.Column) (v reflect.Value, ok bool) {
	v = reflect.ValueOf(ev).Elem()
	for part := range strings.SplitSeq(c.String(), ".") {
		if v.Kind() == reflect.Pointer {
			v = v.Elem()
		}
		want := strings.ReplaceAll(part, "_", "")
		v = v.FieldByNameFunc(func(n string) bool { return strings.EqualFold(n, want) })
		if !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
			return v, false
		}
	}
	return v, true
}

// told returns what an event says, in memory of its own.
func told(ev *event.Event) say {
	s := say{"time": ev.Time, "kind": ev.Kind.String()}
	for c := range event.Column(event.NumColumns) {
		if !ev.Has(c) {
			continue
		}
		v, ok := fieldOf(ev, c)
		if !ok {
			s[c.String()] = "no such field in the event"
			continue
		}
		switch x := v.Interface().(type) {
		case string:
			s[c.String()] = strings.Clone(x)
		case []string:
			l := []string{}
			for _, e := range x {
				l = append(l, strings.Clone(e))
			}
			s[c.String()] = l
		case []uint32:
			s[c.String()] = append([]uint32{}, x...)
		default:
			s[c.String()] = x
		}
	}
	return s
}

// unsetElement is what the slow reading has for an unset element of a list.
const unsetElement = "\x00unset"

// value is a field as the slow reading has it.
type value struct {
	text  string
	list  []string // of an array or set; nil for a scalar
	isSet bool
}

// typed gives the columns of a record of kind k their values.
func typed(k event.Kind, fields map[string]value, isJSON bool) (say, bool) {
	b := event.NewBatch(nil, 1, 64)
	ev, _ := b.Add([]byte("x"))
	ev.Kind = k
	(&reader{b: b, set: &ev.Set, slots: noSlots}).columns(ev) // gives it the columns of its kind, all empty
	s := say{"kind": k.String()}
	for _, rank := range []bool{true, false} {
		for name, f := range fields {
			c, ok := bind(k, name)
			if !ok || c.second != rank || !f.isSet {
				continue
			}
			if c.col == colTime {
				ns, ok := slowTime(f.text, isJSON)
				if !ok {
					return nil, false
				}
				s["time"] = ns
			}
			if int(c.col) >= event.NumColumns {
				continue
			}
			v, _ := fieldOf(ev, c.col)
			x, ok := convert(v.Interface(), c.col, f, isJSON)
			if !ok {
				return nil, false
			}
			s[c.col.String()] = x
		}
	}
	_, ok := s["time"]
	return s, ok
}

// convert gives a field the type that sample has.
func convert(sample any, c event.Column, f value, isJSON bool) (any, bool) {
	if isJSON && f.list != nil {
		switch sample.(type) {
		case []string, []uint32:
		case string:
			return "", true
		default:
			f.text = ""
		}
	}
	switch sample.(type) {
	case string:
		return f.text, true
	case []string:
		if f.list == nil {
			return []string{f.text}, true
		}
		out := []string{}
		for _, e := range f.list {
			out = append(out, strings.TrimPrefix(e, unsetElement))
		}
		return out, true
	case []uint32:
		return slowTTLs(f, isJSON)
	case bool:
		return f.text == "T" || isJSON && f.text == "true",
			f.text == "T" || f.text == "F" || isJSON && (f.text == "true" || f.text == "false")
	case netip.Addr:
		t := f.text
		if i := strings.IndexByte(t, '%'); i > 0 && i+1 < len(t) && strings.Contains(t[:i], ":") {
			t = t[:i]
		}
		a, err := netip.ParseAddr(t)
		return a.Unmap().WithZone(""), err == nil
	case event.State:
		return event.ParseState(f.text), true
	case event.Proto:
		return scan.Proto([]byte(f.text)), true
	case int64:
		switch c {
		case event.ColWritten, event.X509NotBefore, event.X509NotAfter, event.KerberosTill:
			return slowTime(f.text, isJSON)
		}
		return slowInterval(f.text, isJSON)
	}
	n, ok := slowCount(f.text, isJSON)
	switch sample.(type) {
	case uint16:
		if c == event.ColOrigPort || c == event.ColRespPort {
			t, _, cut := strings.Cut(f.text, "/")
			n, err := strconv.ParseUint(t, 10, 16)
			return uint16(n), err == nil && (!cut || t != "")
		}
		return uint16(min(n, math.MaxUint16)), ok
	case uint32:
		return uint32(min(n, math.MaxUint32)), ok
	}
	return n, ok
}

func slowCount(s string, isJSON bool) (uint64, bool) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil && isJSON {
		d, ok := scan.Decimal([]byte(s), 0)
		return uint64(d), ok && d >= 0
	}
	return n, err == nil
}

func slowTTLs(f value, isJSON bool) (any, bool) {
	list := f.list
	if list == nil {
		list = []string{f.text}
	}
	out := []uint32{}
	for _, e := range list {
		if e == unsetElement {
			out = append(out, 0)
			continue
		}
		n, ok := slowCount(e, false)
		if !ok {
			d, ok := scan.Decimal([]byte(e), 0)
			if !ok {
				return nil, false
			}
			n = uint64(max(d, 0))
		}
		out = append(out, uint32(min(n, math.MaxUint32)))
	}
	return out, true
}

func slowInterval(s string, isJSON bool) (int64, bool) {
	if !isJSON {
		return scan.Seconds([]byte(s))
	}
	us, ok := scan.Decimal([]byte(s), 6)
	return us * 1000, ok && us <= math.MaxInt64/1000 && us >= math.MinInt64/1000
}

func slowTime(s string, isJSON bool) (int64, bool) {
	switch {
	case !isJSON:
		return scan.Epoch([]byte(s))
	case len(s) > 4 && s[4] == '-':
		if t, ok := strings.CutSuffix(s, ".1000000Z"); ok && len(s) == 28 {
			ns, ok := scan.ISO([]byte(t))
			return ns + 1e9, ok
		}
		return scan.ISO([]byte(s))
	}
	whole := strings.ReplaceAll(s, "-", "")
	if i := strings.IndexAny(whole, ".eE"); i >= 0 {
		whole = whole[:i]
	}
	scale := 6
	if len(whole) > 11 {
		scale = 3
	}
	us, ok := scan.Decimal([]byte(s), scale)
	return us * 1000, ok && us <= math.MaxInt64/1000 && us >= math.MinInt64/1000
}

var escapes = regexp.MustCompile(`\\(\\|x[0-9a-fA-F]{2})`)

func slowUnescape(s string) string {
	return escapes.ReplaceAllStringFunc(s, func(e string) string {
		if e == `\\` {
			return `\`
		}
		n, _ := strconv.ParseUint(e[2:], 16, 8)
		return string([]byte{byte(n)})
	})
}

// slowTSV reads the lines of a file whose header has been read: sep, names and so
// on as the header said. It returns false for a line that must be refused.
func slowTSV(h *header, line string) (say, bool) {
	fields := strings.Split(strings.TrimSuffix(line, "\r"), string(h.sep))
	if len(fields) != len(h.names) {
		return nil, false
	}
	s, _ := streamOf(h.path)
	if h.path == "" {
		s.kind = kindOfNames(h.names)
	}
	m := map[string]value{}
	for i, name := range h.names {
		f := fields[i]
		v := value{isSet: f != string(h.unset)}
		if c, ok := bind(s.kind, name); ok && v.isSet && int(c.col) < event.NumColumns && isList(c.col) {
			v.list = []string{}
			if f != string(h.empty) {
				v.list = slowList(h, f)
			}
		} else if ok && isText(c.col) {
			if f != string(h.empty) {
				v.text = slowUnescape(f)
			}
		} else {
			v.text = f
		}
		m[name] = v
	}
	return typed(s.kind, m, false)
}

func slowList(h *header, f string) []string {
	elems := []string{f}
	if len(h.setSep) > 0 {
		elems = strings.Split(f, string(h.setSep))
	}
	var out []string
	for _, e := range elems {
		switch {
		case len(elems) > 1 && e == string(h.unset):
			out = append(out, unsetElement)
		case e == string(h.empty):
			out = append(out, "")
		default:
			out = append(out, slowUnescape(e))
		}
	}
	return out
}

// whole returns an event with the columns of all kinds, to ask for their types.
func whole() *event.Event {
	return &event.Event{Conn: &event.Conn{}, DNS: &event.DNS{}, TLS: &event.TLS{}, HTTP: &event.HTTP{}, File: &event.File{},
		X509: &event.X509{}, SSH: &event.SSH{}, RDP: &event.RDP{}, SMB: &event.SMB{}, DHCP: &event.DHCP{}, Notice: &event.Notice{},
		Software: &event.Software{}, Kerberos: &event.Kerberos{}, App: &event.App{}}
}

func isList(c event.Column) bool {
	v, _ := fieldOf(whole(), c)
	switch v.Interface().(type) {
	case []string, []uint32:
		return true
	}
	return false
}

func isText(c event.Column) bool {
	if int(c) >= event.NumColumns {
		return false
	}
	v, _ := fieldOf(whole(), c)
	_, ok := v.Interface().(string)
	return ok
}

// slowJSON reads one record. err is nil, parsers.ErrMeta for one of which nothing
// is said, or a Reason.
func slowJSON(line []byte) (say, error) {
	if !json.Valid(line) {
		return nil, parsers.ReasonBadJSON
	}
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.UseNumber()
	var m map[string]any
	if dec.Decode(&m) != nil || m == nil {
		return nil, parsers.ReasonNotObject
	}
	flatFields := map[string]value{}
	if !flatten("", m, flatFields, 0) || !utf8.Valid(line) {
		return nil, parsers.ErrMeta
	}
	var k event.Kind
	if p, ok := m["_path"].(string); ok {
		s, known := streamOf(p)
		if !known {
			return nil, parsers.ErrMeta
		}
		k = s.kind
	} else {
		var names []string
		for n := range flatFields {
			names = append(names, n)
		}
		if k = kindOfNames(names); k == event.KindUnknown {
			return nil, parsers.ReasonNoKind
		}
	}
	seen := map[event.Column]bool{}
	for n := range flatFields {
		if c, ok := bind(k, n); ok {
			if seen[c.col] {
				return nil, parsers.ErrMeta // which one counts depends on their order
			}
			seen[c.col] = true
		}
	}
	s, ok := typed(k, flatFields, true)
	if !ok {
		return nil, parsers.ReasonBadNumber
	}
	return s, nil
}

// flatten returns false if two names are the same once they are flat.
func flatten(prefix string, m map[string]any, out map[string]value, depth int) bool {
	for n, x := range m {
		n = prefix + n
		if sub, ok := x.(map[string]any); ok {
			if depth < maxDepth && !flatten(n+".", sub, out, depth+1) {
				return false
			}
			continue
		}
		if _, twice := out[n]; twice {
			return false
		}
		v := value{isSet: x != nil}
		if list, ok := x.([]any); ok {
			v.list = []string{}
			for _, e := range list {
				if e == nil {
					v.list = append(v.list, unsetElement)
				} else {
					v.list = append(v.list, scalar(e))
				}
			}
		} else {
			v.text = scalar(x)
		}
		out[n] = v
	}
	return true
}

var (
	hexBytes = regexp.MustCompile(`\\x[0-9a-fA-F]{2}`)
	puaBytes = regexp.MustCompile("[\U000F0000-\U000F00FF]")
)

// scalar returns the text of a value, with what Zeek writes for bytes decoded.
func scalar(x any) string {
	switch x := x.(type) {
	case json.Number:
		return string(x)
	case bool:
		return strconv.FormatBool(x)
	case string:
		// Byte sequences first found count, whichever of the two forms they have.
		var out strings.Builder
		for len(x) > 0 {
			if e := hexBytes.FindString(x); e != "" && strings.HasPrefix(x, e) {
				if n, _ := strconv.ParseUint(e[2:], 16, 8); n < ' ' || n > '~' {
					out.WriteByte(byte(n))
					x = x[4:]
					continue
				}
			}
			if e := puaBytes.FindString(x); e != "" && strings.HasPrefix(x, e) {
				r, size := utf8.DecodeRuneInString(x)
				out.WriteByte(byte(r))
				x = x[size:]
				continue
			}
			out.WriteByte(x[0])
			x = x[1:]
		}
		return out.String()
	}
	return ""
}
