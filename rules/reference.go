package rules

import (
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strings"

	"tidewatch/behavior"
	"tidewatch/event"
	"tidewatch/internal/strict"
	"tidewatch/rules/condition"
)

// fieldTable says what the fields are: name, an example, what it is. It is for people;
// what a field holds is said where it is read.
//
//go:embed fields.tsv
var fieldTable string

// explained is a line of fieldTable.
type explained struct{ example, says string }

var explanations = readExplanations(fieldTable)

func readExplanations(table string) map[string]explained {
	m := map[string]explained{}
	for line := range strings.Lines(table) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if _, twice := m[f[0]]; twice || len(f) != 3 {
			panic("rules: fields.tsv: " + line)
		}
		m[f[0]] = explained{f[1], f[2]}
	}
	return m
}

// Field is what a condition can name, for people.
type Field struct {
	Name    string
	Type    string   // "text", "number", "size", "time", "true or false", "list of texts" or "address"
	Values  []string // all that it can be, if they are few
	Records []string // the kinds of records that can have it, of records alone; nil: all
	Example string   // as a condition writes it
	Says    string
}

// Fields returns what the conditions of a detector's rules can name, by name: of records,
// if the detector looks at them. It is nil if there is no such detector.
func Fields(detector string) (all []Field) {
	if _, ok := watchKinds[detector]; ok {
		for _, name := range recordNamesSorted {
			f := recordFields[name]
			all = append(all, fieldFor(name, f.Field.Kind, f.Unit, f.Values))
			if f.kinds != allKinds {
				all[len(all)-1].Records = f.kinds.names()
			}
		}
		return all
	}
	table := tables[detector]
	for _, name := range slices.Sorted(maps.Keys(table)) {
		all = append(all, fieldFor(name, table[name].Kind, table[name].Unit, table[name].Values))
	}
	return all
}

// fieldFor puts together what is known of a field.
func fieldFor(name string, kind condition.Kind, unit condition.Unit, values []string) Field {
	e := explanations[name]
	f := Field{Name: name, Example: e.example, Says: e.says}
	for _, v := range values {
		if v != "" {
			f.Values = append(f.Values, v)
		}
	}
	switch {
	case kind == condition.Number && unit == condition.Bytes:
		f.Type = "size"
	case kind == condition.Number && unit != condition.NoUnit:
		f.Type = "time"
	default:
		f.Type = [...]string{"text", "number", "true or false", "list of texts", "address"}[kind]
	}
	return f
}

// names returns the kinds in a set.
func (s kinds) names() (all []string) {
	for k := event.KindConn; int(k) < event.NumKinds; k++ {
		if s.has(k) {
			all = append(all, k.String())
		}
	}
	return all
}

// ruleKey is a key of every rule.
type ruleKey struct{ name, form, says string }

// ruleKeys are the keys of a rule's table, beside those that are named for detectors.
var ruleKeys = []ruleKey{
	{"name", "text", "the finding's title: one line that says what was found. Must be there"},
	{"severity", "`low`, `medium`, `high`, `critical`", "how bad it is. Must be there"},
	{"detector", "text", "who looks. Must be there in a new rule"},
	{"when", "expression", "what is a finding. Must be there, but for `sequence`"},
	{"exceptions", "table of expressions", "`[rule.ID.exceptions]`: if one holds, it is none"},
	{"suppress", "`{ by = [fields], for = duration }`", "say it once in this time for the same values of these fields"},
	{"description", "text", "why it matters, for the analyst who reads the finding"},
	{"attack", "list of texts", "MITRE ATT&CK techniques, such as `T1071.001`"},
	{"investigate", "text", "what to do first; `{{source.ip}}` stands for the field's value"},
	{"false_positives", "list of texts", "what is harmless and looks the same"},
	{"references", "list of texts", "pages to read"},
	{"category", "text", "the finding's `rule.category`"},
	{"tags", "list of texts", "the finding's `tags`"},
	{"version", "text", "the finding's `rule.version`"},
	{"enabled", "`true`, `false`", "`false` takes the rule out"},
}

// Reference returns the reference of rule files as Markdown: every key, field and
// feature.
func Reference() []byte {
	var b strings.Builder
	b.WriteString("# Reference of rules\n\nWritten from the code; `tidewatch rules fields DETECTOR` prints the same in a terminal. How rules are written says\n[rules.md](rules.md).\n\n## Keys of a rule\n\n| key | holds | |\n|---|---|---|\n")
	for _, k := range ruleKeys {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", k.name, k.form, k.says)
	}
	fmt.Fprintf(&b, "\nA duration is %s.\n", strings.TrimPrefix(strict.DurationForm, "a duration "))
	b.WriteString("\nConditions compare a size with `\"50MB\"` or `\"1GiB\"`, a time with `\"90s\"`, `\"6h\"` or `\"7d\"`, and either with a plain number of\nbytes or seconds (`event.duration`, lifetimes and ages of certificates and leases: of nanoseconds).\n")
	b.WriteString("\n## Fields of every observation\n\nRules of the detectors below can name these beside the detector's own.\n\n")
	writeFields(&b, shared(Fields("scan")))
	for _, d := range detectorNames() {
		if _, ok := watchKinds[d]; ok {
			continue
		}
		fmt.Fprintf(&b, "\n## `%s`\n\n", d)
		writeFields(&b, ownOf(d, Fields(d)))
		writeSettings(&b, d)
	}
	b.WriteString("\n## Fields of records\n\nConditions of `event`, `threshold`, `sequence`, `first_seen`, `rarity`, `baseline` and `indicator` are about one record. A field that the\nrecord lacks is `\"\"`, 0 or false.\n\n")
	writeFields(&b, Fields("event"))
	b.WriteString("\nWhat these detectors say of themselves, for `suppress` and `investigate`:\n\n")
	var own []Field
	for _, d := range detectorNames() {
		if _, ok := watchKinds[d]; ok {
			for _, name := range slices.Sorted(maps.Keys(tables[d])) {
				if f := tables[d][name]; strings.HasPrefix(name, d+".") && name != "event.score" && name != "event.risk_score" {
					own = append(own, fieldFor(name, f.Kind, f.Unit, f.Values))
				}
			}
		}
	}
	writeFields(&b, own)
	return []byte(b.String())
}

// shared keeps the fields that are no detector's own.
func shared(all []Field) []Field {
	return slices.DeleteFunc(all, func(f Field) bool { return strings.HasPrefix(f.Name, "scan.") })
}

// ownOf keeps a detector's own fields.
func ownOf(detector string, all []Field) []Field {
	return slices.DeleteFunc(all, func(f Field) bool { return !strings.HasPrefix(f.Name, detector+".") })
}

func writeFields(b *strings.Builder, all []Field) {
	b.WriteString("| field | holds | for example | |\n|---|---|---|---|\n")
	for _, f := range all {
		says := f.Says
		if len(f.Values) > 0 && len(f.Values) <= 16 {
			says += ": `" + strings.Join(f.Values, "`, `") + "`"
		}
		if f.Records != nil {
			says += " (" + strings.Join(f.Records, ", ") + ")"
		}
		fmt.Fprintf(b, "| `%s` | %s | `%s` | %s |\n", f.Name, f.Type, f.Example, says)
	}
}

// writeSettings lists the settings of a detector with their defaults.
func writeSettings(b *strings.Builder, detector string) {
	if len(settings[detector]) == 0 {
		return
	}
	c := behavior.DefaultConfig()
	fmt.Fprintf(b, "\nSettings, `[rule.ID.%s]`: there is one such detector, so those of all rules act on it together.\n\n| key | without it | allowed |\n|---|---|---|\n", detector)
	for _, s := range settings[detector] {
		fmt.Fprintf(b, "| `%s` | `%s` | %s |\n", s.key, s.missing(&c), s.allowed)
	}
}
