// Package rules decides which observations are findings, how severe they are and
// how often to say so. Rules are TOML.
//
// Each rule that matches an observation makes a finding of its own. The shipped
// rules of one detector therefore have conditions that exclude each other: one
// scan is one finding.
package rules

import (
	"embed"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"tidewatch/behavior"
	"tidewatch/behavior/watch"
	"tidewatch/event"
	"tidewatch/internal/strict"
	"tidewatch/rules/condition"
)

//go:embed builtin/*.toml
var builtin embed.FS

// document is one rule file.
type document struct {
	*strict.Document
	shipped bool
}

// folder is a file system that has a name for messages.
type folder struct {
	fs.FS
	name    string
	shipped bool
}

// Builtin returns the rules that tidewatch ships.
func Builtin() fs.FS {
	sub, err := fs.Sub(builtin, "builtin")
	if err != nil {
		panic("rules: " + err.Error())
	}
	return folder{sub, "builtin", true}
}

// Dir returns the files of a folder, for Load; problems name them with the folder.
func Dir(name string) fs.FS { return folder{os.DirFS(name), name, false} }

// Set is a set of compiled rules. It is not changed after Load and may be used
// concurrently.
type Set struct {
	rules   []*rule // by id
	config  behavior.Config
	written map[string]uint64 // digests of what files say of each rule
	zones   uint64            // and of zones
	// zoneNetworks are the zones themselves.
	zoneNetworks condition.Zones
	disabled     []Description

	judgesRisk bool
	halfLife   time.Duration // of a finding's part in a host's risk
}

// Config returns the settings of the detectors: the defaults with what the rules
// say of them.
func (s *Set) Config() behavior.Config { return s.config }

// rule is a compiled rule.
type rule struct {
	info       *event.RuleInfo
	detector   string
	when       condition.Condition[event.Observation]
	exceptions []condition.Condition[event.Observation]
	suppressBy []string
	suppress   time.Duration // 0: never
	origin     string

	// Of a rule over records: its conditions, and which kinds of records they are for.
	onRecords []condition.Condition[event.Event]
	kinds     []kinds
}

// Load compiles the rules of all *.toml files in the given file systems, with
// their folders. Later file systems override earlier ones by the rule's id: a rule
// that names its detector replaces the earlier one, a rule that does not amends it
// key by key, so that `enabled = false`, another severity or one more exception is
// all that has to be written. The error lists everything that is wrong in all
// files: it is a join of *strict.Problem.
func Load(files ...fs.FS) (*Set, error) {
	l := loader{set: &Set{halfLife: defaultHalfLife, config: behavior.DefaultConfig(), written: map[string]uint64{}}, rules: map[string][]layer{}, zones: condition.Zones{}, settings: map[string]value{}, terms: map[string]*watch.Term{}}
	for _, fsys := range files {
		l.loadAll(fsys)
	}
	for _, id := range slices.Sorted(maps.Keys(l.rules)) {
		l.compile(id)
	}
	if len(l.problems) > 0 {
		return nil, strict.Join(l.problems)
	}
	l.set.config.Off = l.set.unused()
	l.set.zones, l.set.zoneNetworks = written(l.zones), l.zones
	return l.set, nil
}

// unused returns the detectors that no rule judges.
func (s *Set) unused() map[string]bool {
	off := map[string]bool{}
	for _, name := range detectorNames() {
		if _, watched := watchKinds[name]; watched || name == "risk" || name == "lookback" {
			continue // they are there with the first of their rules
		}
		if !slices.ContainsFunc(s.rules, func(r *rule) bool { return r.detector == name }) {
			off[name] = true
		}
	}
	return off
}

// loader collects rules and problems.
type loader struct {
	set      *Set
	rules    map[string][]layer // the tables that make up each rule
	zones    condition.Zones
	terms    map[string]*watch.Term // of conditions on records, by their source
	settings map[string]value       // what rules say of detectors, by detector and key
	problems []*strict.Problem
	seen     map[string]value // rules and zones of the file system that is read
}

func (l *loader) loadAll(fsys fs.FS) {
	l.seen = map[string]value{}
	f, named := fsys.(folder)
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		shown := name
		if named {
			shown = path.Join(f.name, name)
		}
		if err == nil && !d.IsDir() && strings.HasSuffix(name, ".toml") {
			var b []byte
			if b, err = fs.ReadFile(fsys, name); err == nil {
				l.loadFile(&document{strict.NewDocument(shown, string(b)), f.shipped})
			}
		}
		if err != nil { // the others are read all the same
			l.problems = append(l.problems, &strict.Problem{File: shown, What: err.Error()})
		}
		return nil
	})
	if err != nil {
		l.problems = append(l.problems, &strict.Problem{File: f.name, What: err.Error()})
	}
}

var namePattern = regexp.MustCompile(`^[a-z][a-z0-9-]{0,63}$`)

const nameForm = "lower-case letters, digits and -, at most 64, the first one a letter"

func (l *loader) loadFile(d *document) {
	content, bad := d.Tables()
	if bad != nil {
		l.problems = append(l.problems, bad)
		return
	}
	top := reader{layers: []layer{{d, nil, content}}, problems: &l.problems}
	if r := top.table("zone"); r != nil {
		l.loadZones(r)
	}
	if r := top.table("rule"); r != nil {
		for _, id := range r.keys() {
			at := r.place(id)
			if t := r.table(id); t != nil && l.firstOf("rule", at, id) {
				l.addRule(id, t.layers[0])
			}
		}
	}
	top.done()
}

// firstOf reports whether a name is sound and new in its file system.
func (l *loader) firstOf(what string, at value, name string) bool {
	if !namePattern.MatchString(name) {
		l.problems = append(l.problems, at.doc.Problem(at.path(), fmt.Sprintf("%q is no name of a %s", name, what), nameForm))
		return false
	}
	if before, again := l.seen[what+" "+name]; again {
		p := before.doc.Problem(before.path(), "", "")
		l.problems = append(l.problems, at.doc.Problem(at.path(), fmt.Sprintf("%s %s is already in %s:%d", what, name, p.File, p.Line), ""))
		return false
	}
	l.seen[what+" "+name] = at
	return true
}

// addRule puts a rule in the place of an earlier one, or on top of it.
func (l *loader) addRule(id string, t layer) {
	if _, whole := t.table["detector"]; whole {
		l.rules[id] = nil
	}
	l.rules[id] = append(l.rules[id], t)
}

// loadZones reads [zone], which names networks.
func (l *loader) loadZones(r *reader) {
	for _, name := range r.keys() {
		if !l.firstOf("zone", r.place(name), name) {
			r.known = append(r.known, name)
			continue
		}
		var all []netip.Prefix
		r.texts(name, func(at value, s string) {
			p, err := condition.Network(s)
			if err != nil {
				r.report(at, fmt.Sprintf("%q is no network", s), "networks and addresses such as 10.1.2.0/24, 2001:db8::/32, 10.1.2.3")
				return
			}
			all = append(all, p)
		})
		l.zones[name] = all
	}
}

// compile checks a rule and adds it to the set.
func (l *loader) compile(id string) {
	r := &reader{layers: l.rules[id], problems: &l.problems}
	if _, whole := r.layers[0].table["detector"]; !whole {
		others := slices.DeleteFunc(slices.Sorted(maps.Keys(l.rules)), func(s string) bool { return s == id })
		l.problems = append(l.problems, r.layers[0].doc.Problem(r.layers[0].path,
			fmt.Sprintf("rule %s names no detector, and no earlier rule has this id%s", id, strict.Nearest(id, others)),
			"detector = one of "+strings.Join(detectorNames(), ", ")+", for a new rule; the id of an earlier rule, to amend it"))
		return
	}
	origin := r.layers[len(r.layers)-1].doc.Name
	if !r.truth("enabled", true) {
		l.set.disabled = append(l.set.disabled, Description{RuleInfo: info(id, r), Detector: r.text("detector"), Origin: origin})
		return
	}
	rule := &rule{info: info(id, r), origin: origin}
	rule.detector = r.text("detector")
	if _, ok := detectors[rule.detector]; !ok {
		r.bad("detector", fmt.Sprintf("detector %q%s", rule.detector, strict.Nearest(rule.detector, detectorNames())), strings.Join(detectorNames(), ", "))
		return // what may stand in the rest depends on it
	}
	if _, ok := watchKinds[rule.detector]; ok {
		l.compileWatch(rule, r)
	} else {
		l.conditions(rule, r)
		readSuppress(rule, r)
		checkTemplate(rule, r)
		if rule.detector == "risk" {
			l.readRiskSettings(r)
		} else {
			l.readSettings(rule.detector, r)
		}
	}
	r.done()
	l.set.rules = append(l.set.rules, rule)
	tables := make([]map[string]any, 0, len(r.layers))
	for _, layer := range r.layers {
		tables = append(tables, layer.table)
	}
	l.set.written[id] = written(tables)
}

// info reads what findings say of their rule.
func info(id string, r *reader) *event.RuleInfo {
	i := &event.RuleInfo{
		ID: id, Name: r.text("name"), Description: r.text("description"), Category: r.text("category"), Version: r.text("version"),
		Ruleset: "local", Investigate: r.text("investigate"),
		References: r.texts("references", nil), FalsePositives: r.texts("false_positives", nil), Tags: r.texts("tags", nil),
	}
	if !slices.ContainsFunc(r.layers, func(l layer) bool { return !l.doc.shipped }) {
		i.Ruleset = "tidewatch"
	}
	if i.Name == "" {
		r.bad("name", "the rule has no name", "one line that says what was found")
	}
	severity, ok := r.text("severity"), false
	if i.Severity, ok = event.ParseSeverity(severity); !ok {
		what := fmt.Sprintf("severity %q%s", severity, strict.Nearest(severity, severities))
		if severity == "" {
			what = "the rule has no severity"
		}
		r.bad("severity", what, strings.Join(severities, ", "))
	}
	r.texts("attack", func(at value, s string) {
		t, ok := techniques[s]
		if !ok {
			r.report(at, fmt.Sprintf("ATT&CK technique %q is not in the table%s", s, strict.Nearest(strings.ToUpper(s), techniqueIDs)), "ids such as T1046 or T1595.001")
			return
		}
		i.Attack = append(i.Attack, t)
	})
	return i
}

var severities = []string{"low", "medium", "high", "critical"}

// conditions compiles when and the exceptions.
func (l *loader) conditions(rule *rule, r *reader) {
	names := func(wrong string) (near []string, allowed string) {
		return fieldNames(rule.detector), fieldList(rule.detector, wrong)
	}
	if when := r.text("when"); when == "" {
		r.bad("when", "the rule has no condition", "an expression such as 'scan.targets >= 20'")
	} else {
		rule.when = compiled(l, r.place("when"), when, tables[rule.detector], names)
	}
	e := r.table("exceptions")
	if e == nil {
		return
	}
	for _, name := range e.keys() {
		if s := e.text(name); s != "" {
			rule.exceptions = append(rule.exceptions, compiled(l, e.place(name), s, tables[rule.detector], names))
		}
	}
}

// compiled compiles one expression, and reports what is wrong with it where it is
// written; names returns what a wrong name may have meant.
func compiled[T any](l *loader, at value, source string, t condition.Table[T], names func(wrong string) ([]string, string)) condition.Condition[T] {
	c, faults := condition.Compile(source, t, l.zones)
	for _, f := range faults {
		near, allowed := f.Among, ""
		if f.Wrong != "" && near == nil {
			near, allowed = names(f.Wrong)
		}
		if f.Wrong != "" {
			f.What += strict.Nearest(f.Wrong, near)
		}
		if value, ok := at.doc.Find(at.path()); ok {
			l.problems = append(l.problems, at.doc.ProblemAt(at.doc.Within(value, f.Line, f.Column), f.What, allowed))
		} else {
			l.problems = append(l.problems, at.doc.Problem(at.path(), f.What, allowed))
		}
	}
	return c
}

// readSuppress reads suppress = { by = [...], for = "..." }.
func readSuppress(rule *rule, r *reader) {
	s := r.table("suppress")
	if s == nil {
		return
	}
	names := fieldNames(rule.detector)
	rule.suppressBy = s.texts("by", func(at value, name string) {
		if !slices.Contains(names, name) {
			s.report(at, fmt.Sprintf("unknown field %q%s", name, strict.Nearest(name, names)), fieldList(rule.detector, name))
		}
	})
	s.duration("for", func(at value, d time.Duration) {
		if rule.suppress = d; d <= 0 {
			s.report(at, "a suppression for no time", strict.DurationForm)
		}
	})
	for key, allowed := range map[string]string{"by": `fields, such as ["source.ip"]; [] for the rule as a whole`, "for": strict.DurationForm} {
		if at := s.place(key); at.layer.table[key] == nil {
			s.bad(key, "suppress has no "+key, allowed)
		}
	}
	s.done()
}

var placeholder = regexp.MustCompile(`\{\{\s*([^{}]*?)\s*\}\}`)

// checkTemplate reports unknown {{fields}} of the advice.
func checkTemplate(rule *rule, r *reader) {
	names := fieldNames(rule.detector)
	for _, m := range placeholder.FindAllStringSubmatch(rule.info.Investigate, -1) {
		if !slices.Contains(names, m[1]) {
			r.bad("investigate", fmt.Sprintf("unknown field {{%s}}%s", m[1], strict.Nearest(m[1], names)), fieldList(rule.detector, m[1]))
		}
	}
}
