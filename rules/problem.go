package rules

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
)

// Problem is one thing that is wrong in a rule file.
type Problem struct {
	File    string
	Line    int // from 1; 0 if the whole file is meant
	Column  int // from 1; 0 if unknown
	Excerpt string
	What    string
	Allowed string // what may stand there, "" if that goes without saying
}

// Error says it all in up to three lines.
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
		fmt.Fprintf(&b, "\n  %5d | %s", p.Line, p.Excerpt)
	}
	if p.Allowed != "" {
		b.WriteString("\n  allowed: " + p.Allowed)
	}
	return b.String()
}

// text is a file's lines, and where its keys are written: the library knows the
// lines of syntax errors alone.
type text struct {
	lines []string
	at    map[string]int // line of a dotted key, from 1
}

func newText(content string) *text {
	t := &text{lines: strings.Split(content, "\n"), at: map[string]int{}}
	table, multi := "", ""
	for i, line := range t.lines {
		s := strings.TrimSpace(line)
		if multi != "" { // inside a multi-line string
			if strings.Contains(s, multi) {
				multi = ""
			}
			continue
		}
		switch {
		case strings.HasPrefix(s, "["):
			table = strings.Trim(strings.SplitN(s, "]", 2)[0], "[ ")
			table = strings.NewReplacer(`"`, "", "'", "", " ", "").Replace(table)
			t.mark(table, i+1)
		case s == "" || s[0] == '#':
		default:
			key, value, ok := strings.Cut(s, "=")
			if !ok {
				continue
			}
			key = strings.Trim(strings.TrimSpace(key), `"'`)
			if table != "" {
				key = table + "." + key
			}
			t.mark(key, i+1)
			for _, q := range []string{`"""`, "'''"} {
				if strings.Count(value, q)%2 == 1 {
					multi = q
				}
			}
		}
	}
	return t
}

func (t *text) mark(key string, line int) {
	if _, ok := t.at[key]; !ok {
		t.at[key] = line
	}
}

// problem places a problem at a key, or at the nearest table above it that is
// written.
func (t *text) problem(file string, k toml.Key, what, allowed string) *Problem {
	p := &Problem{File: file, What: what, Allowed: allowed}
	for n := len(k); n > 0; n-- {
		if line, ok := t.at[strings.Join(k[:n], ".")]; ok {
			p.Line, p.Excerpt = line, strings.TrimSpace(t.lines[line-1])
			if n == len(k) {
				p.Column = strings.Index(t.lines[line-1], k[len(k)-1]) + 1
			}
			return p
		}
	}
	return p
}

// decodeProblem places an error of the library.
func decodeProblem(file string, t *text, err error) *Problem {
	p := &Problem{File: file, What: err.Error()}
	var pe toml.ParseError
	if errors.As(err, &pe) {
		p.Line, p.Column, p.What = pe.Position.Line, pe.Position.Col, pe.Message
		if p.What == "" {
			p.What = strings.TrimPrefix(err.Error(), "toml: ")
		}
	} else if s, ok := strings.CutPrefix(err.Error(), "toml: line "); ok { // a value of the wrong type
		n, rest, _ := strings.Cut(s, " ")
		p.Line, _ = strconv.Atoi(n)
		p.What = rest
	}
	if p.Line > 0 && p.Line <= len(t.lines) {
		p.Excerpt = strings.TrimSpace(t.lines[p.Line-1])
	}
	return p
}

// nearest returns `; did you mean "x"?` for the name that is most like s, or "".
func nearest(s string, names []string) string {
	best, at := 3, ""
	for _, n := range names {
		if d := distance(strings.ToLower(s), n); d < best {
			best, at = d, n
		}
	}
	if at == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", at)
}

// distance is the Levenshtein distance between two short texts.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

// Duration is a time span that is written with its unit: "30s", "5m", "6h", "7d",
// "2w", or several of them, such as "1h30m".
type Duration time.Duration

// UnmarshalText reads a duration. A bare number is an error: of what?
func (d *Duration) UnmarshalText(b []byte) error {
	const allowed = "write a duration with its unit: 30s, 5m, 6h, 7d, 2w"
	s, total := string(b), time.Duration(0)
	if s == "" {
		return errors.New("empty duration: " + allowed)
	}
	units := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}
	for s != "" {
		n := strings.IndexFunc(s, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
		if n <= 0 {
			return fmt.Errorf("duration %q: %s", b, allowed)
		}
		unit, ok := units[s[n]]
		v, err := strconv.ParseFloat(s[:n], 64)
		if !ok || err != nil || v*float64(unit) > float64(10*365*24*time.Hour) {
			return fmt.Errorf("duration %q: %s", b, allowed)
		}
		total += time.Duration(v * float64(unit))
		s = s[n+1:]
	}
	*d = Duration(total)
	return nil
}
