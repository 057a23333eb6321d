// Package strict reads TOML strictly: every key is known, every value is of its type
// and in its range, and everything that is wrong is said at once, each with its line.
package strict

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// Problem is one thing that is wrong in a file.
type Problem struct {
	File    string
	Line    int // from 1; 0 if the whole file is meant
	Column  int // from 1, in characters; 0 if unknown
	Excerpt string
	What    string
	Allowed string // what may stand there, "" if that goes without saying
}

// Error says it all in up to four lines; with a column, one of them points at it.
// The excerpt is text of the file: escape it before it reaches a terminal.
func (p *Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	if p.Column > 0 {
		fmt.Fprintf(&b, ":%d", p.Column)
	}
	b.WriteString(": " + p.What)
	if p.Excerpt != "" {
		excerpt, column := window(p.Excerpt, p.Column)
		fmt.Fprintf(&b, "\n  %5d | %s", p.Line, strings.ReplaceAll(excerpt, "\t", " "))
		if column > 0 {
			b.WriteString("\n        | " + strings.Repeat(" ", column-1) + "^")
		}
	}
	if p.Allowed != "" {
		b.WriteString("\n  allowed: " + p.Allowed)
	}
	return b.String()
}

// window cuts a long line to what stands around a column.
func window(line string, column int) (string, int) {
	const long = 160
	r := []rune(line)
	if len(r) <= long {
		return line, column
	}
	start := min(max(column-long/2, 0), len(r)-long)
	line = string(r[start : start+long])
	if start > 0 {
		line, column = "... "+line, column-start+4
	}
	if start+long < len(r) {
		line += " ..."
	}
	return line, column
}

// Document is one TOML file.
type Document struct {
	Name   string // of the file, for messages
	layout *layout
}

// NewDocument returns the document that a file of this name and text is.
func NewDocument(name, text string) *Document { return &Document{name, newLayout(text)} }

// Tables returns the file's content, or the problem that it is no TOML.
func (d *Document) Tables() (map[string]any, *Problem) {
	var content map[string]any
	if _, err := toml.Decode(d.layout.text, &content); err != nil {
		return nil, d.syntax(err)
	}
	return content, nil
}

// Find returns the byte at which the value of a path begins.
func (d *Document) Find(path []string) (value int, ok bool) {
	p, exact, _ := d.layout.find(path)
	return p.value, exact
}

// Within returns the byte of the file in which a character of a text value is written:
// the one in the given line, from 1, and column, from 0, of what the text says.
func (d *Document) Within(value, line, column int) int { return d.layout.inString(value, line, column) }

// Join returns problems as one error, in the order of their places and each once; nil
// if there are none.
func Join(all []*Problem) error {
	slices.SortStableFunc(all, func(a, b *Problem) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), strings.Compare(a.What, b.What))
	})
	errs := make([]error, 0, len(all))
	for i, p := range all {
		if i == 0 || *p != *all[i-1] {
			errs = append(errs, p)
		}
	}
	return errors.Join(errs...)
}

// Problem places a problem at a path, or at the nearest table above it that is
// written.
func (d *Document) Problem(path []string, what, allowed string) *Problem {
	if at, _, ok := d.layout.find(path); ok {
		return d.ProblemAt(at.key, what, allowed)
	}
	return &Problem{File: d.Name, What: what, Allowed: allowed}
}

// ProblemAt places a problem at a byte of the file.
func (d *Document) ProblemAt(offset int, what, allowed string) *Problem {
	p := &Problem{File: d.Name, What: what, Allowed: allowed}
	p.Line, p.Column = d.layout.position(offset)
	p.Excerpt = mask(strings.TrimRight(d.layout.lines[p.Line-1], "\r"))
	return p
}

// syntax places an error of the library.
func (d *Document) syntax(err error) *Problem {
	p := &Problem{File: d.Name, What: strings.TrimPrefix(err.Error(), "toml: ")}
	var pe toml.ParseError
	if errors.As(err, &pe) {
		p.Line, p.Column = pe.Position.Line, pe.Position.Col
		if pe.Message != "" {
			p.What = pe.Message
		}
	} else if s, ok := strings.CutPrefix(err.Error(), "toml: line "); ok {
		n, rest, _ := strings.Cut(s, " ")
		p.Line, _ = strconv.Atoi(n)
		p.What = rest
	}
	if p.Line > 0 && p.Line <= len(d.layout.lines) {
		line := strings.TrimRight(d.layout.lines[p.Line-1], "\r")
		if p.Excerpt = mask(line); p.Column > len(line)+1 { // of a key that is there twice, the library counts past its value
			p.Column = 1 + len(line) - len(strings.TrimLeft(line, " \t"))
		}
	} else {
		p.Line, p.Column = 0, 0
	}
	return p
}

// Nearest returns `; did you mean "x"?` for the name that is most like s, or "".
func Nearest(s string, names []string) string {
	s = strings.ToLower(s)
	best, at := 2+len(s)/5, ""
	for _, n := range names {
		if strings.HasSuffix(n, "."+s) { // only the table before it is missing
			best, at = 0, n
		}
		if d := distance(s, n); d < best {
			best, at = d, n
		}
	}
	if at == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", at)
}

// distance is how many bytes must be put in, left out, replaced or swapped with
// their neighbour to make b of a (the optimal string alignment distance; Boytsov
// 2011).
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			cost := last[j]
			if a[i] != b[j] {
				cost++
			}
			row[j+1] = min(cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
