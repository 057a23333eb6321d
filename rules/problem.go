package rules

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// Problem is one thing that is wrong in a rule file.
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

// document is one rule file.
type document struct {
	name    string
	layout  *layout
	shipped bool
}

// problem places a problem at a path, or at the nearest table above it that is
// written.
func (d *document) problem(path []string, what, allowed string) *Problem {
	if at, _, ok := d.layout.find(path); ok {
		return d.problemAt(at.key, what, allowed)
	}
	return &Problem{File: d.name, What: what, Allowed: allowed}
}

// problemAt places a problem at a byte of the file.
func (d *document) problemAt(offset int, what, allowed string) *Problem {
	p := &Problem{File: d.name, What: what, Allowed: allowed}
	p.Line, p.Column = d.layout.position(offset)
	p.Excerpt = strings.TrimRight(d.layout.lines[p.Line-1], "\r")
	return p
}

// syntaxProblem places an error of the library.
func (d *document) syntaxProblem(err error) *Problem {
	p := &Problem{File: d.name, What: strings.TrimPrefix(err.Error(), "toml: ")}
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
		p.Excerpt = strings.TrimRight(d.layout.lines[p.Line-1], "\r")
	} else {
		p.Line, p.Column = 0, 0
	}
	return p
}

// nearest returns `; did you mean "x"?` for the name that is most like s, or "".
func nearest(s string, names []string) string {
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
