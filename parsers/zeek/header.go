package zeek

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"

	"tidewatch/event"
	"tidewatch/parsers"
)

// maxColumns bounds what a header can make us keep. Zeek's widest log has about
// a hundred columns.
const maxColumns = 2048

var (
	bom         = []byte("\xef\xbb\xbf")
	threeBlanks = []byte("   ")
	noAddr      netip.Addr
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
		if len(h.sep) == 0 {
			h.reset()
			return parsers.ReasonBadHeader
		}
		return parsers.ErrMeta
	}
	if v, ok := bytes.CutPrefix(value, h.sep); ok {
		value = v
	} else if len(value) > 0 && isDirective(text) {
		return parsers.ReasonBadHeader
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
	if len(text) == 0 || bytes.Count(text, h.sep) >= maxColumns {
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
	h := &p.head
	h.stale = false
	p.sep, p.unset = h.sep, -1
	if len(h.unset) == 1 {
		p.unset = int(h.unset[0])
	}
	p.r.setSep, p.r.empty, p.r.unset = h.setSep, h.empty, h.unset
	p.bound = binding{columns: len(h.names)}
	p.pos = make([]int32, len(h.names)+2+slack)
	s, ok := streamOf(h.path)
	if h.path == "" {
		s.kind = kindOfNames(h.names)
		ok = s.kind != event.KindUnknown
	}
	if !ok {
		p.bound.skip = &parsers.Skip{Name: skipName(h.path)}
		return
	}
	p.bound.stream = s
	for i, name := range h.names {
		p.bound.add(int32(i), name, p.extra)
	}
}

// skipName is what records without a path are counted by.
func skipName(path string) string {
	if path == "" {
		return "(no path)"
	}
	return path
}

// add binds the column at i.
func (t *binding) add(i int32, name string, extra []string) {
	c, ok := bind(t.stream.kind, name)
	at := place{at: i, col: c.col}
	switch {
	case !ok && slices.Contains(extra, name):
		t.extra = append(t.extra, extraPlace{at: i, name: name})
	case !ok || c.col == colPath:
	case c.second:
		t.second = append(t.second, at)
	case isCommon(c.col):
		t.common = append(t.common, at)
	default:
		t.detail = append(t.detail, at)
	}
}
