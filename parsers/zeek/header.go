package zeek

import (
	"bytes"
	"slices"
	"strings"

	"tidewatch/event"
	"tidewatch/parsers"
)

var (
	bom         = []byte("\xef\xbb\xbf")
	threeBlanks = []byte("   ")
)

// header is what the directives of a file have said so far.
type header struct {
	prefix   []byte // what directives begin with
	sep      []byte
	setSep   []byte
	empty    []byte
	unset    []byte
	path     string
	names    []string
	plain    bool // a row of names without directives (LogAscii::tsv)
	labelled bool // with labels behind Zeek's own columns
	stale    bool // the parser's binding is not of this header
}

// reset forgets all but the prefix and sets Zeek's defaults.
func (h *header) reset() {
	if h.prefix == nil {
		h.prefix = []byte("#")
	}
	*h = header{prefix: h.prefix, sep: []byte("\t"), setSep: []byte(","), empty: []byte("(empty)"), unset: []byte("-"), stale: true}
}

// beforeRecord handles a line that is not, or may not be, a record of the header
// that is bound. It returns nil for a record.
func (p *TSV) beforeRecord(line []byte) error {
	h := &p.head
	if line[0] == 0 {
		return parsers.ReasonNUL
	}
	text := bytes.TrimLeft(bytes.TrimPrefix(line, bom), " \t")
	if rest, ok := bytes.CutPrefix(text, h.prefix); ok && (len(text) == len(line) || isDirective(rest)) {
		return h.directive(rest)
	}
	if len(text) == 0 {
		return parsers.ErrMeta
	}
	if h.names == nil {
		return h.first(text)
	}
	if h.stale {
		p.bind()
	}
	return nil
}

// isDirective reports whether text, behind the prefix, is a directive that Zeek
// knows.
func isDirective(text []byte) bool {
	name, _ := directiveName(text)
	switch string(name) {
	case "separator", "set_separator", "empty_field", "unset_field", "path", "open", "close", "fields", "types":
		return true
	}
	return false
}

// directiveName splits off the letters that text begins with.
func directiveName(text []byte) (name, rest []byte) {
	i := 0
	for i < len(text) && (text[i] == '_' || 'a' <= text[i] && text[i] <= 'z') {
		i++
	}
	return text[:i], text[i:]
}

// directive takes in one directive. It returns ErrMeta, or why it is refused.
func (h *header) directive(text []byte) error {
	name, value := directiveName(text)
	if string(name) == "separator" {
		h.reset()
		if len(value) > 1 { // the only one whose value stands behind a blank
			h.sep = unescapeValue(value[1:])
		}
		if len(h.sep) == 0 || h.sep[0] == 0 || h.sep[0] == '\\' {
			h.reset()
			return parsers.ReasonBadHeader
		}
		return parsers.ErrMeta
	}
	v, ok := bytes.CutPrefix(value, h.sep)
	if ok {
		value = v
	}
	switch string(name) {
	case "set_separator", "empty_field", "unset_field", "path", "fields":
		if !ok && len(value) > 0 {
			return parsers.ReasonBadHeader
		}
	}
	switch string(name) {
	case "set_separator":
		h.setSep, h.stale = unescapeValue(value), true
	case "empty_field":
		h.empty, h.stale = unescapeValue(value), true
	case "unset_field":
		h.unset, h.stale = unescapeValue(value), true
	case "path":
		h.path, h.stale = string(unescapeValue(value)), true
	case "fields":
		return h.fields(value)
	}
	return parsers.ErrMeta // #types, #open, #close, and what a later version may add
}

// fields takes in the names of the columns.
func (h *header) fields(text []byte) error {
	if len(text) == 0 || bytes.Count(text, h.sep)+1 > maxColumns {
		return parsers.ReasonBadHeader
	}
	h.names, h.labelled, h.stale = nil, false, true
	for name := range bytes.SplitSeq(text, h.sep) {
		if bytes.Contains(name, threeBlanks) { // "tunnel_parents   label   detailed-label"
			h.names = append(h.names, strings.Fields(string(name))...)
			h.labelled = true
			continue
		}
		h.names = append(h.names, string(unescapeValue(name)))
	}
	if slices.Contains(h.names, "label") {
		h.labelled = true
	}
	return parsers.ErrMeta
}

// first takes the first line of a file that does not begin as Zeek's files do:
// another prefix for directives, a plain row of names, or a record without header.
func (h *header) first(text []byte) error {
	if i := bytes.Index(text, []byte("separator ")); i > 0 && i <= 8 {
		h.prefix = slices.Clone(text[:i])
		return h.directive(text[i:])
	}
	if h.isPlain(text) {
		h.plain = true
		return h.fields(text)
	}
	return parsers.ReasonNoHeader
}

// isPlain reports whether line is a row of names that has ts among them.
func (h *header) isPlain(line []byte) bool {
	ts, n := false, 0
	for name := range bytes.SplitSeq(line, h.sep) {
		for _, c := range name {
			if c != '_' && c != '.' && c != '-' && (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') {
				return false
			}
		}
		if len(name) == 0 {
			return false
		}
		ts = ts || string(name) == "ts"
		n++
	}
	return ts && n > 1
}

// unescapeValue decodes \xNN and \\ into memory of its own.
func unescapeValue(v []byte) []byte {
	out := make([]byte, 0, len(v))
	for i := 0; i < len(v); i++ {
		c := v[i]
		if c == '\\' && i+1 < len(v) {
			if n, ok := hexEscape(v[i+1:]); ok {
				c = n
				i += 3
			} else if v[i+1] == '\\' {
				i++
			}
		}
		out = append(out, c)
	}
	return out
}

// bind readies the parser for the records of the header.
func (p *TSV) bind() {
	h, r := &p.head, &p.r
	h.stale = false
	p.sep, p.skip, p.seconds, p.extra = h.sep, nil, nil, nil
	p.columns = len(h.names)
	r.setSep, r.empty, r.unset, r.unset1 = h.setSep, h.empty, h.unset, -1
	if len(h.unset) == 1 {
		r.unset1 = int(h.unset[0])
	}
	r.wide = make([]uint32, p.columns+2)
	r.gap = len(h.sep)
	r.rare, p.has = false, event.Columns{}
	for i := range r.slots {
		r.slots[i] = -1
	}
	var ok bool
	p.stream, ok = streamOf(h.path)
	if h.path == "" {
		p.stream.kind = kindOfNames(h.names)
		ok = p.stream.kind != event.KindUnknown
	}
	if !ok {
		p.skip = &parsers.Skip{Name: skipName(h.path)}
		return
	}
	for _, rank := range []bool{false, true} {
		for i, name := range h.names {
			p.bindColumn(int16(2*i), name, rank)
		}
	}
}

// skipName is what records without a path are counted by.
func skipName(path string) string {
	if path == "" {
		return "(no path)"
	}
	return path
}

// bindColumn binds the column called name, if it has that rank among the names of
// its meaning.
func (p *TSV) bindColumn(slot int16, name string, isSecond bool) {
	c, ok := bind(p.stream.kind, name)
	switch {
	case !ok:
		if !isSecond && slices.Contains(p.wanted, name) {
			p.extra = append(p.extra, place{slot: slot, name: name})
		}
		return
	case c.second != isSecond || c.col == colPath:
		return
	case isSecond && p.r.slots[c.col] >= 0:
		p.seconds = append(p.seconds, second{col: c.col, main: p.r.slots[c.col], alt: slot})
		return
	}
	p.r.slots[c.col] = slot
	if int(c.col) < event.NumColumns {
		p.has.Add(c.col)
	}
	switch c.col {
	case event.ColCommunityID, event.ColVLAN, event.ColInnerVLAN, event.ColWritten:
		p.r.rare = true
	}
}
