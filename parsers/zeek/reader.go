package zeek

import (
	"bytes"
	"encoding/binary"
	"math"
	"net/netip"

	"tidewatch/event"
	"tidewatch/parsers"
	"tidewatch/parsers/scan"
)

// reader turns the fields of one record into values. Both forms of a log tell it
// where each column stands in the line, and it is asked for columns by name; what
// is asked in a fixed order needs no dispatch.
//
// A value that cannot be read leaves its reason in bad. The parser looks there
// once, after the last field: one bad value refuses the record.
type reader struct {
	b    *event.Batch
	line []byte
	set  *event.Columns // of the record

	// slots says which field a column is, times two; -1 is a column the record does
	// not have. Field i is line[starts[i] : starts[i+1]-gap], where starts are 16-bit
	// numbers in narrow or, for a long line, those in wide.
	slots  [256]int16
	narrow positions
	wide   []uint32
	long   bool
	gap    int

	bad   error
	timed bool // the record had a time
	rare  bool // the log has a common column that few logs have
	plain bool // no field of the line has an escape sequence
	json  bool

	addrs scan.AddrCache
	clock scan.ISOCache

	// For JSON, where slots says which value a column is.
	vals, elems []jsonValue
	cur         int // the value read last

	// The only sender and the only receiver of a file, in old logs.
	tx, rx netip.Addr

	// How TSV writes what has no text of its own. unset1 is the marker for unset if
	// that is one byte, else -1.
	empty, unset, setSep []byte
	unset1               int
}

// get returns the field of column c, and whether the record has it set. If not,
// it takes the column out of the record's set.
func (r *reader) get(c event.Column) ([]byte, bool) {
	p := int(r.slots[c])
	if p < 0 {
		return nil, false
	}
	if r.json {
		return r.jsonField(p), true
	}
	var v []byte
	if r.long {
		v = r.longField(p)
	} else {
		span := (*[4]byte)(r.narrow[p&(2*maxColumns+3):])
		v = r.line[binary.LittleEndian.Uint16(span[:2]) : int(binary.LittleEndian.Uint16(span[2:]))-r.gap]
	}
	if len(v) == 1 && int(v[0]) == r.unset1 || r.unset1 < 0 && r.isUnset(v) {
		r.set.Remove(c)
		return nil, false
	}
	return v, true
}

// longField returns field p of a long line.
func (r *reader) longField(p int) []byte {
	return r.line[r.wide[p/2] : int(r.wide[p/2+1])-r.gap]
}

// only returns the field of column c if it is one byte long, else maybe 0.
func (r *reader) only(c event.Column) byte {
	p := int(r.slots[c])
	if p < 0 || r.long {
		return 0
	}
	span := (*[4]byte)(r.narrow[p&(2*maxColumns+3):])
	at := int(binary.LittleEndian.Uint16(span[:2]))
	if int(binary.LittleEndian.Uint16(span[2:]))-r.gap-at != 1 {
		return 0
	}
	return r.line[at]
}

// isUnset compares with a marker for unset of any length.
func (r *reader) isUnset(v []byte) bool { return string(v) == string(r.unset) }

// text returns a string column, decoded.
func (r *reader) text(c event.Column) string {
	v, ok := r.get(c)
	if !ok {
		return ""
	}
	if r.plain && len(v) != len(r.empty) {
		return event.String(v)
	}
	return r.decode(v)
}

// decode returns the text of a field, or of one element of it.
func (r *reader) decode(v []byte) string {
	switch {
	case r.json:
		return r.jsonText(v)
	case string(v) == string(r.empty):
		return ""
	case r.plain:
		return event.String(v)
	}
	return r.unescape(v)
}

// unescape decodes \xNN and \\. Zeek before 2.2 did not double a backslash: one
// that begins neither stands for itself.
func (r *reader) unescape(v []byte) string {
	i := bytes.IndexByte(v, '\\')
	if i < 0 {
		return event.String(v)
	}
	out := append(r.b.Scratch(len(v)), v[:i]...)
	for i < len(v) {
		c := v[i]
		i++
		if c == '\\' && i < len(v) {
			if v[i] == '\\' {
				i++
			} else if n, ok := hexEscape(v[i:]); ok {
				c = n
				i += 3
			}
		}
		out = append(out, c)
	}
	return event.String(out)
}

// hexEscape reads "xNN".
func hexEscape(v []byte) (byte, bool) {
	if len(v) < 3 || v[0] != 'x' {
		return 0, false
	}
	return scan.Hex(v[1], v[2])
}

// list returns the elements of a set or vector. An unset element is "".
func (r *reader) list(c event.Column) []string {
	v, ok := r.get(c)
	switch {
	case !ok:
		return nil
	case r.json:
		return r.jsonList(v)
	case string(v) == string(r.empty):
		return nil
	}
	e, rest, more := r.element(v)
	if !more {
		return append(r.b.Strings(1), r.decode(v))
	}
	out := r.b.Strings(r.count(v))
	for {
		if string(e) == string(r.unset) {
			out = append(out, "")
		} else {
			out = append(out, r.decode(e))
		}
		if !more {
			return out
		}
		e, rest, more = r.element(rest)
	}
}

// count returns how many elements the text of a set or vector has.
func (r *reader) count(v []byte) int {
	if len(r.setSep) == 0 {
		return 1
	}
	return 1 + bytes.Count(v, r.setSep)
}

// element cuts the first element off.
func (r *reader) element(v []byte) (e, rest []byte, more bool) {
	if len(r.setSep) == 1 {
		if i := bytes.IndexByte(v, r.setSep[0]); i >= 0 {
			return v[:i], v[i+1:], true
		}
		return v, nil, false
	}
	if len(r.setSep) == 0 {
		return v, nil, false
	}
	return bytes.Cut(v, r.setSep)
}

// ttls returns a vector of intervals in whole seconds. An unset element is 0.
func (r *reader) ttls(c event.Column) []uint32 {
	v, ok := r.get(c)
	switch {
	case !ok:
		return nil
	case r.json:
		return r.jsonTTLs(v)
	case string(v) == string(r.empty):
		return nil
	}
	e, rest, more := r.element(v)
	if !more {
		return append(r.b.TTLs(1), r.ttl(v))
	}
	out := r.b.TTLs(r.count(v))
	for {
		if string(e) == string(r.unset) {
			out = append(out, 0)
		} else {
			out = append(out, r.ttl(e))
		}
		if !more {
			return out
		}
		e, rest, more = r.element(rest)
	}
}

// ttl returns an interval in whole seconds, rounded.
func (r *reader) ttl(v []byte) uint32 {
	if n := len(v) - len(".000000"); n > 0 && string(v[n:]) == ".000000" {
		v = v[:n]
	}
	if n := len(v) - len(".0"); n > 0 && string(v[n:]) == ".0" {
		v = v[:n]
	}
	if n, ok := scan.Uint(v); ok {
		return uint32(min(n, math.MaxUint32))
	}
	n, ok := scan.Decimal(v, 0)
	if !ok {
		r.fail(parsers.ReasonBadNumber)
	}
	return uint32(min(max(n, 0), math.MaxUint32))
}

// fail takes a constant: making an error of another Reason would allocate.
func (r *reader) fail(why error) {
	if r.bad == nil {
		r.bad = why
	}
}

// num returns a count.
func (r *reader) num(c event.Column) uint64 {
	if d := r.only(c) - '0'; d <= 9 {
		return uint64(d)
	}
	v, ok := r.get(c)
	if !ok {
		return 0
	}
	return r.parseNum(v)
}

func (r *reader) parseNum(v []byte) uint64 {
	if n, ok := scan.Uint(v); ok {
		return n
	}
	// JSON can make 1e3 or 5.0 of a count.
	n, ok := scan.Decimal(v, 0)
	if !ok || n < 0 || !r.json {
		r.fail(parsers.ReasonBadNumber)
		return 0
	}
	return uint64(n)
}

// Numbers above what their column holds are taken as its greatest: who sends an
// absurd one shall not hide the record that way.

func (r *reader) num16(c event.Column) uint16 { return uint16(min(r.num(c), math.MaxUint16)) }
func (r *reader) num32(c event.Column) uint32 { return uint32(min(r.num(c), math.MaxUint32)) }

func (r *reader) port(c event.Column) uint16 {
	v, ok := r.get(c)
	if !ok {
		return 0
	}
	n, ok := scan.Uint(v)
	if !ok || n > math.MaxUint16 {
		r.fail(parsers.ReasonBadPort)
	}
	return uint16(n)
}

func (r *reader) addr(c event.Column) netip.Addr {
	v, ok := r.get(c)
	if !ok {
		return netip.Addr{}
	}
	a, ok := r.addrs.Addr(v)
	if !ok {
		r.fail(parsers.ReasonBadAddr)
	}
	return a
}

// soleHost returns the address in a set that has one element only.
func (r *reader) soleHost(c event.Column) netip.Addr {
	if r.slots[c] < 0 {
		return netip.Addr{}
	}
	l := r.list(c)
	if len(l) != 1 {
		return netip.Addr{}
	}
	a, _ := netip.ParseAddr(l[0])
	return a.WithZone("").Unmap()
}

// proto returns the protocol: by its name, or by its number where Zeek has none.
func (r *reader) proto() event.Proto {
	v, ok := r.get(event.ColProto)
	if ok {
		if p := scan.Proto(v); p != 0 {
			return p
		}
	}
	if v, ok = r.get(colIPProto); ok {
		if n := r.parseNum(v); n < 256 {
			return event.Proto(n)
		}
	}
	return 0
}

func (r *reader) state(c event.Column) event.State {
	v, _ := r.get(c)
	return event.ParseState(v)
}

// ReasonBadBool is the Reason for a truth value that is none.
const ReasonBadBool parsers.Reason = "neither T nor F"

// truth reads T or F, in JSON true or false.
func (r *reader) truth(c event.Column) bool {
	switch r.only(c) {
	case 'T':
		return true
	case 'F':
		return false
	}
	v, ok := r.get(c)
	switch {
	case !ok:
		return false
	case r.json && string(v) == "true":
		return true
	case r.json && string(v) == "false":
		return false
	}
	r.fail(ReasonBadBool)
	return false
}

// interval returns nanoseconds. JSON writes an interval with all digits of a
// double, TSV rounds to microseconds: both are rounded, so that both forms of a
// log are the same.
func (r *reader) interval(c event.Column) int64 {
	v, ok := r.get(c)
	if !ok {
		return 0
	}
	if !r.json {
		ns, ok := scan.Seconds(v)
		if !ok {
			r.fail(parsers.ReasonBadNumber)
		}
		return ns
	}
	if len(v) >= 10 && v[1] == '.' && bytes.IndexByte(v, 'e') < 0 { // digits behind the eighth do not count
		whole, ok := scan.Uint(v[:1])
		frac, ok2 := scan.Uint(v[2:10])
		if ok && ok2 {
			return int64(whole*1e6+(frac+50)/100) * 1000
		}
	}
	us, ok := scan.Decimal(v, 6)
	if !ok || us > math.MaxInt64/1000 || us < math.MinInt64/1000 {
		r.fail(parsers.ReasonBadNumber)
		return 0
	}
	return us * 1000
}

// time returns a column in Unix nanoseconds.
func (r *reader) time(c event.Column) int64 {
	v, ok := r.get(c)
	if !ok {
		return 0
	}
	return r.parseTime(v)
}

func (r *reader) parseTime(v []byte) int64 {
	if r.json {
		return r.jsonTime(v)
	}
	ns, ok := scan.Epoch(v)
	if !ok {
		r.fail(parsers.ReasonBadTime)
	}
	return ns
}
