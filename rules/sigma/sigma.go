// Package sigma translates Sigma rules (https://sigmahq.io) for Zeek's logs into rules of
// tidewatch. A rule is translated as a whole or not at all: what it asks that cannot be
// asked here is said, with its line.
package sigma

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"tidewatch/internal/strict"
)

// maxDocuments bounds the documents of one file.
const maxDocuments = 1000

// Rule is one Sigma rule and what became of it.
type Rule struct {
	ID    string // of the translation
	Title string // as the rule writes it: it may hold anything
	// TOML is the translation, a rule file; "" if there is none.
	TOML string
	// Problems are what cannot be translated.
	Problems []*strict.Problem
}

// Translate translates the rules of one file, whose name is for messages.
func Translate(file string, text []byte) (all []Rule) {
	dec := yaml.NewDecoder(bytes.NewReader(text))
	for range maxDocuments {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return all
		}
		t := translation{file: file, lines: strings.Split(string(text), "\n")}
		if err != nil {
			t.problem(0, unplaced.ReplaceAllString(err.Error(), ""), "")
			return append(all, Rule{Problems: t.problems})
		}
		all = append(all, t.rule(&doc))
	}
	return all
}

// unplaced is what stands before what the library says.
var unplaced = regexp.MustCompile(`^yaml: (line \d+: )?`)

// header is what a rule says beside its detection.
type header struct {
	Title          string   `yaml:"title"`
	ID             string   `yaml:"id"`
	Description    string   `yaml:"description"`
	Author         string   `yaml:"author"`
	Level          string   `yaml:"level"`
	References     []string `yaml:"references"`
	Tags           []string `yaml:"tags"`
	FalsePositives []string `yaml:"falsepositives"`
	LogSource      struct {
		Product  string `yaml:"product"`
		Service  string `yaml:"service"`
		Category string `yaml:"category"`
	} `yaml:"logsource"`
	Detection   yaml.Node `yaml:"detection"`
	Correlation yaml.Node `yaml:"correlation"`
}

// translation is one rule on its way.
type translation struct {
	file     string
	lines    []string
	problems []*strict.Problem
	source   *source
}

// problem notes what cannot be translated. Line 0 is the whole file.
func (t *translation) problem(line int, what, allowed string) {
	p := &strict.Problem{File: t.file, Line: line, Column: 1, What: what, Allowed: allowed}
	if line > 0 && line <= len(t.lines) {
		p.Excerpt = strings.TrimRight(t.lines[line-1], "\r")
		p.Column = 1 + len(p.Excerpt) - len(strings.TrimLeft(p.Excerpt, " "))
	}
	t.problems = append(t.problems, p)
}

func (t *translation) rule(doc *yaml.Node) Rule {
	var h header
	if err := doc.Decode(&h); err != nil {
		t.problem(doc.Line, "no Sigma rule: "+strings.TrimPrefix(err.Error(), "yaml: "), "")
		return Rule{Problems: t.problems}
	}
	r := Rule{ID: slug(h.Title), Title: h.Title}
	if h.Title == "" {
		t.problem(doc.Line, "the rule has no title", "")
	}
	if !h.Correlation.IsZero() {
		t.problem(h.Correlation.Line, "correlations are not translated", `the rule by hand: detector = "threshold" or "sequence"`)
		return Rule{Title: h.Title, Problems: t.problems}
	}
	if t.source = t.find(&h, doc.Line); t.source != nil {
		if when := t.detection(&h.Detection, doc.Line); len(t.problems) == 0 {
			r.TOML = t.write(&h, r.ID, when)
		}
	}
	r.Problems = t.problems
	return r
}

// find returns the log that a rule is about.
func (t *translation) find(h *header, line int) *source {
	allowed := "product: zeek, service: " + strings.Join(slices.Sorted(maps.Keys(sources)), ", ")
	switch s, ok := sources[h.LogSource.Service]; {
	case h.LogSource.Product != "zeek":
		t.problem(line, fmt.Sprintf("the rule is for product %q", cmp.Or(h.LogSource.Product, h.LogSource.Category)), allowed)
	case !ok:
		t.problem(line, fmt.Sprintf("the rule is for Zeek's log %q", h.LogSource.Service), allowed)
	default:
		return &s
	}
	return nil
}

var notInName = regexp.MustCompile(`[^a-z0-9]+`)

// slug makes the id of a rule from a title.
func slug(title string) string {
	s := strings.Trim(notInName.ReplaceAllString(strings.ToLower(title), "-"), "-")
	if s == "" || s[0] < 'a' {
		s = "sigma-" + s
	}
	return strings.Trim(s[:min(len(s), 64)], "-")
}

// levels are Sigma's, and what they are called here.
var levels = map[string]string{"informational": "low", "low": "low", "medium": "medium", "high": "high", "critical": "critical", "": "medium"}

var technique = regexp.MustCompile(`^attack\.(t\d{4}(?:\.\d{3})?)$`)

// write writes the rule as TOML.
func (t *translation) write(h *header, id, when string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Translated from the Sigma rule %s by %s.\n", comment(cmp.Or(h.ID, h.Title)), comment(cmp.Or(h.Author, "nobody")))
	fmt.Fprintf(&b, "[rule.%s]\nname = %s\n", id, tomlText(h.Title))
	if h.Description != "" {
		fmt.Fprintf(&b, "description = %s\n", tomlText(strings.TrimSpace(h.Description)))
	}
	level, ok := levels[h.Level]
	if !ok {
		level = "medium"
	}
	fmt.Fprintf(&b, "severity = %q\ndetector = \"event\"\nwhen = %s\nsuppress = { by = [\"source.ip\", \"destination.ip\"], for = \"1d\" }\n", level, tomlText(when))
	var attack, tags []string
	for _, tag := range h.Tags {
		if m := technique.FindStringSubmatch(strings.ToLower(tag)); m != nil {
			attack = append(attack, strings.ToUpper(m[1]))
		} else {
			tags = append(tags, tag)
		}
	}
	for _, l := range []struct {
		key  string
		list []string
	}{{"attack", known(attack)}, {"tags", append(tags, "sigma")}, {"references", h.References}, {"false_positives", h.FalsePositives}} {
		if len(l.list) > 0 {
			fmt.Fprintf(&b, "%s = [%s]\n", l.key, strings.Join(mapped(l.list, tomlText), ", "))
		}
	}
	return b.String()
}

func mapped(list []string, f func(string) string) []string {
	out := make([]string, 0, len(list))
	for _, s := range list {
		out = append(out, f(s))
	}
	return out
}

// comment makes a text fit for the end of a line that begins with #.
func comment(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}

// tomlText writes a text in the form in which people read it best.
func tomlText(s string) string {
	plain := !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\n' || r == 0x7f || r == 0xfffd })
	switch {
	case plain && strings.ContainsAny(s, "\n\"\\") && !strings.Contains(s, "''") && !strings.HasSuffix(s, "'"):
		if strings.Contains(s, "\n") || strings.Contains(s, "'") {
			return "'''\n" + s + "'''"
		}
		return "'" + s + "'"
	default:
		var b strings.Builder
		b.WriteByte('"')
		for _, r := range s {
			switch {
			case r == '"' || r == '\\':
				b.WriteByte('\\')
				b.WriteRune(r)
			case r < ' ' || r == 0x7f:
				fmt.Fprintf(&b, `\u%04x`, r)
			default:
				b.WriteRune(r)
			}
		}
		b.WriteByte('"')
		return b.String()
	}
}
