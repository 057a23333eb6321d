// Package rules decides which observations are findings, how severe they are and
// how often to say so. Rules are TOML; docs/rules.md describes them.
package rules

import (
	"cmp"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"tidewatch/behavior"
	"tidewatch/event"
)

//go:embed builtin/*.toml
var builtin embed.FS

// Builtin returns the rules that tidewatch ships.
func Builtin() fs.FS {
	sub, err := fs.Sub(builtin, "builtin")
	if err != nil {
		panic("rules: " + err.Error())
	}
	return sub
}

// Set is a set of compiled rules. It is not changed after Load and may be used
// concurrently.
type Set struct {
	rules  []*rule // by id
	config behavior.Config
}

// rule is a compiled rule.
type rule struct {
	info       *event.RuleInfo
	detector   string
	when       condition
	exceptions []condition
	suppressBy []string
	suppress   time.Duration
}

// file is what a TOML file may hold.
type file struct {
	Rule map[string]table
}

// table is one rule as it is written.
type table struct {
	Enabled        *bool
	Name           string
	Description    string
	Severity       string
	Category       string
	Version        string
	Tags           []string
	Attack         []string
	Detector       string
	When           string
	Suppress       suppress
	FalsePositives []string `toml:"false_positives"`
	Investigate    string
	References     []string
	Exceptions     map[string]string
	Scan           *scanSettings
}

type suppress struct {
	By  []string
	For Duration
}

// Load compiles the rules of all *.toml files in the given file systems, with
// their folders. A rule in a later file system replaces the one of the same id in
// an earlier one; `enabled = false` takes it out. The error lists everything that
// is wrong in all files: it is a join of *Problem.
func Load(files ...fs.FS) (*Set, error) {
	l := loader{set: &Set{config: behavior.DefaultConfig()}, sources: map[string]source{}}
	for i, fsys := range files {
		l.loadAll(fsys, i == 0)
	}
	for _, id := range slices.Sorted(maps.Keys(l.sources)) {
		l.compile(id, l.sources[id])
	}
	if len(l.problems) > 0 {
		slices.SortStableFunc(l.problems, func(a, b error) int {
			x, y := a.(*Problem), b.(*Problem)
			return cmp.Or(cmp.Compare(x.File, y.File), cmp.Compare(x.Line, y.Line))
		})
		return nil, errors.Join(l.problems...)
	}
	return l.set, nil
}

// Config returns the settings of the detectors.
func (s *Set) Config() behavior.Config { return s.config }

// loader collects rules and problems.
type loader struct {
	set      *Set
	sources  map[string]source
	problems []error
}

// source is a rule with the place where it is written.
type source struct {
	table
	file    string
	text    *text
	shipped bool
}

func (l *loader) loadAll(fsys fs.FS, shipped bool) {
	err := fs.WalkDir(fsys, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !d.IsDir() && strings.HasSuffix(path, ".toml") {
			b, err := fs.ReadFile(fsys, path)
			if err != nil {
				return err
			}
			l.loadFile(path, string(b), shipped)
		}
		return nil
	})
	if err != nil {
		l.problems = append(l.problems, &Problem{File: ".", What: err.Error()})
	}
}

func (l *loader) loadFile(name, content string, shipped bool) {
	t := newText(content)
	var f file
	md, err := toml.Decode(content, &f)
	if err != nil {
		l.problems = append(l.problems, decodeProblem(name, t, err))
		return
	}
	for _, k := range md.Undecoded() {
		l.unknown(name, t, k)
	}
	for _, k := range md.Keys() {
		if last := k[len(k)-1]; len(k) > 2 && last != strings.ToLower(last) && !slices.Contains(k, "exceptions") {
			l.problems = append(l.problems, t.problem(name, k, fmt.Sprintf("key %q: keys are written in lower case", last), ""))
		}
	}
	for id, r := range f.Rule {
		if !idPattern.MatchString(id) {
			l.problems = append(l.problems, t.problem(name, toml.Key{"rule", id}, fmt.Sprintf("rule id %q", id), "lower-case letters, digits and '-', beginning with a letter"))
			continue
		}
		l.sources[id] = source{r, name, t, shipped}
	}
}

var idPattern = regexp.MustCompile(`^[a-z][a-z0-9-]{0,63}$`)

// unknown reports a key that no rule has.
func (l *loader) unknown(name string, t *text, k toml.Key) {
	var allowed []string
	switch {
	case len(k) == 1:
		allowed = []string{"rule"}
	case len(k) == 3 && k[0] == "rule":
		allowed = ruleKeys
	case len(k) == 4 && k[2] == "suppress":
		allowed = []string{"by", "for"}
	case len(k) == 4 && k[2] == "scan":
		allowed = scanKeys
	}
	last := k[len(k)-1]
	l.problems = append(l.problems, t.problem(name, k, fmt.Sprintf("unknown key %q%s", last, nearest(last, allowed)), strings.Join(allowed, ", ")))
}

var ruleKeys = []string{
	"enabled", "name", "description", "severity", "category", "version", "tags", "attack", "detector", "when", "suppress",
	"false_positives", "investigate", "references", "exceptions", "scan",
}

// compile checks one rule and adds it to the set.
func (l *loader) compile(id string, s source) {
	if s.Enabled != nil && !*s.Enabled {
		return
	}
	bad := func(key, what, allowed string) {
		l.problems = append(l.problems, s.text.problem(s.file, toml.Key{"rule", id, key}, what, allowed))
	}
	r := &rule{info: &event.RuleInfo{
		ID: id, Name: s.Name, Description: s.Description, Category: s.Category, Version: s.Version, Ruleset: "local",
		References: s.References, FalsePositives: s.FalsePositives, Investigate: s.Investigate, Tags: s.Tags,
	}, detector: s.Detector}
	if s.shipped {
		r.info.Ruleset = "tidewatch"
	}
	if s.Name == "" {
		bad("name", "the rule has no name", "one line that says what was found")
	}
	var ok bool
	if r.info.Severity, ok = event.ParseSeverity(s.Severity); !ok {
		bad("severity", fmt.Sprintf("severity %q", s.Severity), "low, medium, high, critical")
	}
	for _, a := range s.Attack {
		t, ok := techniques[a]
		if !ok {
			bad("attack", fmt.Sprintf("ATT&CK technique %q is not in the table%s", a, nearest(a, slices.Sorted(maps.Keys(techniques)))), "ids such as T1046 or T1595.001")
			continue
		}
		r.info.Attack = append(r.info.Attack, t)
	}
	d, ok := detectors[s.Detector]
	if !ok {
		names := slices.Sorted(maps.Keys(detectors))
		bad("detector", fmt.Sprintf("detector %q%s", s.Detector, nearest(s.Detector, names)), strings.Join(names, ", "))
		return
	}
	var err error
	if s.When == "" {
		bad("when", "the rule has no condition", `an expression, such as 'scan.targets >= 20'`)
	} else if r.when, err = compileCondition(s.When, s.Detector, d); err != nil {
		bad("when", err.Error(), fieldList(s.Detector, d))
	}
	for _, name := range slices.Sorted(maps.Keys(s.Exceptions)) {
		c, err := compileCondition(s.Exceptions[name], s.Detector, d)
		if err != nil {
			l.problems = append(l.problems, s.text.problem(s.file, toml.Key{"rule", id, "exceptions", name}, err.Error(), fieldList(s.Detector, d)))
			continue
		}
		r.exceptions = append(r.exceptions, c)
	}
	for _, f := range s.Suppress.By {
		if !slices.Contains(suppressFields, f) {
			bad("suppress", fmt.Sprintf("suppress by %q%s", f, nearest(f, suppressFields)), strings.Join(suppressFields, ", "))
		}
	}
	r.suppressBy, r.suppress = s.Suppress.By, time.Duration(s.Suppress.For)
	if s.Scan != nil {
		for _, e := range s.Scan.apply(&l.set.config.Scan) {
			l.problems = append(l.problems, s.text.problem(s.file, toml.Key{"rule", id, "scan", e.key}, e.what, e.allowed))
		}
	}
	l.set.rules = append(l.set.rules, r)
}

// suppressFields are the fields that findings can be suppressed by.
var suppressFields = []string{"source.ip", "source.port", "destination.ip", "destination.port", "destination.domain", "dns.question.name"}
