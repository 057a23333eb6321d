package strict

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// layout knows where in a TOML text keys and values are written: the library
// knows the places of its own errors alone. The text is one that the library has
// read without error; of any other text the layout knows less, and that is all.
type layout struct {
	text  string
	lines []string
	at    map[string]place // by joined path
}

// place is where a key and its value begin, in bytes of the text.
type place struct{ key, value int }

// joined makes a map key of a path.
func joined(path []string) string { return strings.Join(path, "\x00") }

func newLayout(text string) *layout {
	l := &layout{text: text, lines: strings.Split(text, "\n"), at: map[string]place{}}
	x := indexer{s: text, at: l.at}
	var table []string
	for x.blank(true); x.i < len(x.s); x.blank(true) {
		start := x.i
		if x.s[x.i] == '[' {
			x.i++
			x.skip('[')
			x.blank(false)
			at := x.i
			table = x.key(nil)
			for n := range table {
				x.mark(table[:n+1], at, at)
			}
			x.toEnd()
		} else if !x.pair(table, 0) {
			x.toEnd()
		}
		if x.i <= start { // not TOML
			break
		}
	}
	return l
}

// find returns where a path is written; if it is not, the nearest table above it.
func (l *layout) find(path []string) (p place, exact, ok bool) {
	for n := len(path); n > 0; n-- {
		if p, ok = l.at[joined(path[:n])]; ok {
			return p, n == len(path), true
		}
	}
	return place{}, false, false
}

// position returns the line and column, from 1, of a byte of the text.
func (l *layout) position(offset int) (line, column int) {
	before := l.text[:min(offset, len(l.text))]
	return strings.Count(before, "\n") + 1, utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]) + 1
}

// inString returns the byte of the text in which a character of a string value
// is written: the one in the given line, from 1, and column, from 0, of what the
// string says.
func (l *layout) inString(value, line, column int) int {
	s := l.text
	quote, i := s[value:min(value+1, len(s))], value+1
	if rest := s[value:]; strings.HasPrefix(rest, `"""`) || strings.HasPrefix(rest, `'''`) {
		quote, i = rest[:3], value+3
		if strings.HasPrefix(s[i:], "\r\n") {
			i += 2
		} else if strings.HasPrefix(s[i:], "\n") {
			i++
		}
	}
	for i < len(s) && (line > 1 || column > 0) && !strings.HasPrefix(s[i:], quote) {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == '\\' && quote[0] == '"' && i+1 < len(s) {
			switch s[i+1] {
			case 'x':
				n = 4
			case 'u':
				n = 6
			case 'U':
				n = 10
			case 'n':
				r, n = '\n', 2
			case '\n', '\r', ' ', '\t': // the line goes on below
				i++
				for i < len(s) && strings.IndexByte(" \t\r\n", s[i]) >= 0 {
					i++
				}
				continue
			default:
				n = 2
			}
		}
		i += n
		switch {
		case r == '\n':
			line--
		case line == 1:
			column--
		}
	}
	return min(i, len(s))
}

// indexer walks a TOML text and marks where things are.
type indexer struct {
	s  string
	i  int
	at map[string]place
}

func (x *indexer) mark(path []string, key, value int) {
	if _, ok := x.at[joined(path)]; !ok {
		x.at[joined(path)] = place{key, value}
	}
}

// blank skips what separates: spaces, and with lines also line breaks, comments
// and commas.
func (x *indexer) blank(lines bool) {
	for x.i < len(x.s) {
		switch c := x.s[x.i]; {
		case c == ' ' || c == '\t':
			x.i++
		case lines && (c == '\n' || c == '\r' || c == ','):
			x.i++
		case lines && c == '#':
			x.toEnd()
		default:
			return
		}
	}
}

func (x *indexer) toEnd() {
	if n := strings.IndexByte(x.s[x.i:], '\n'); n >= 0 {
		x.i += n
		return
	}
	x.i = len(x.s)
}

// skip steps over c, if it is there.
func (x *indexer) skip(c byte) bool {
	if x.i < len(x.s) && x.s[x.i] == c {
		x.i++
		return true
	}
	return false
}

// key reads a dotted key and appends its parts to path. It leaves path as it is,
// with room for nobody else to write into.
func (x *indexer) key(path []string) []string {
	path = path[:len(path):len(path)]
	for {
		x.blank(false)
		start := x.i
		if x.i < len(x.s) && (x.s[x.i] == '"' || x.s[x.i] == '\'') {
			x.str()
			raw := x.s[start:x.i]
			if s, err := strconv.Unquote(raw); err == nil && raw[0] == '"' {
				path = append(path, s)
			} else {
				path = append(path, strings.Trim(raw, raw[:1]))
			}
		} else {
			for x.i < len(x.s) && !strings.ContainsRune(" \t\r\n.=]}#,", rune(x.s[x.i])) {
				x.i++
			}
			path = append(path, x.s[start:x.i])
		}
		x.blank(false)
		if !x.skip('.') {
			return path
		}
	}
}

// maxDepth bounds how deep values are followed.
const maxDepth = 32

// pair reads `key = value`.
func (x *indexer) pair(table []string, depth int) bool {
	at := x.i
	path := x.key(table)
	if !x.skip('=') {
		return false
	}
	x.blank(false)
	for n := len(table) + 1; n < len(path); n++ { // the tables that a dotted key implies
		x.mark(path[:n], at, x.i)
	}
	x.mark(path, at, x.i)
	x.value(path, depth)
	return true
}

// value reads a value, and marks what is within it.
func (x *indexer) value(path []string, depth int) {
	if x.i >= len(x.s) || depth > maxDepth {
		x.toEnd()
		return
	}
	switch x.s[x.i] {
	case '"', '\'':
		x.str()
	case '{':
		x.i++
		for x.blank(true); x.i < len(x.s) && !x.skip('}'); x.blank(true) {
			if !x.pair(path, depth+1) {
				x.toEnd()
			}
		}
	case '[':
		x.i++
		n := 0
		for x.blank(true); x.i < len(x.s) && !x.skip(']'); x.blank(true) {
			start := x.i
			element := append(path[:len(path):len(path)], strconv.Itoa(n))
			x.mark(element, x.i, x.i)
			x.value(element, depth+1)
			n++
			if x.i == start {
				x.toEnd()
				return
			}
		}
	default:
		for x.i < len(x.s) && !strings.ContainsRune(",]}#\n", rune(x.s[x.i])) {
			x.i++
		}
	}
}

// str steps over a string of any of the four kinds.
func (x *indexer) str() {
	quote := x.s[x.i : x.i+1]
	if triple := strings.Repeat(quote, 3); strings.HasPrefix(x.s[x.i:], triple) {
		quote = triple
	}
	x.i += len(quote)
	for x.i < len(x.s) {
		switch {
		case x.s[x.i] == '\\' && quote[0] == '"':
			x.i = min(x.i+2, len(x.s))
		case strings.HasPrefix(x.s[x.i:], quote):
			x.i += len(quote)
			for len(quote) == 3 && x.skip(quote[0]) { // a quote before the closing ones
			}
			return
		default:
			x.i++
		}
	}
}
