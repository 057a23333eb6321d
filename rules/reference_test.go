package rules

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tidewatch/event"
	"tidewatch/rules/condition"
)

// Each field is explained, once, by an example that a condition takes.
func TestFieldsAreExplained(t *testing.T) {
	unknown := maps.Clone(explanations)
	try := func(name, condition string, faults []condition.Fault) {
		t.Helper()
		delete(unknown, name)
		if e := explanations[name]; e.says == "" || e.example == "" {
			t.Errorf("%s: not in fields.tsv", name)
		} else if len(faults) > 0 {
			t.Errorf("%s: %s: %+v", name, condition, faults)
		}
	}
	for name, f := range recordFields {
		c := conditionOf(name, f.Kind)
		_, faults := condition.Compile(c, recordTable, nil)
		try(name, c, faults)
	}
	for detector, table := range tables {
		for name, f := range table {
			c := conditionOf(name, f.Kind)
			_, faults := condition.Compile(c, tables[detector], nil)
			try(name, c, faults)
		}
	}
	for name := range unknown {
		t.Errorf("%s: in fields.tsv, but no field", name)
	}
}

// conditionOf returns a condition that compares a field with its example.
func conditionOf(name string, kind condition.Kind) string {
	example := explanations[name].example
	switch kind {
	case condition.Number:
		return name + " > " + example
	case condition.Truth:
		return name + " == " + example
	case condition.List:
		return example + " in " + name
	}
	return name + " == " + example
}

func TestReference(t *testing.T) { golden(t, "../docs/rules-reference.md", string(Reference())) }

// The reference lists the keys that the schema knows.
func TestRuleKeys(t *testing.T) {
	var schema struct {
		Properties struct {
			Rule struct {
				AdditionalProperties struct{ Properties map[string]any }
			}
		}
	}
	if err := json.Unmarshal(Schema(), &schema); err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, k := range ruleKeys {
		keys = append(keys, k.name)
	}
	slices.Sort(keys)
	known := schema.Properties.Rule.AdditionalProperties.Properties
	maps.DeleteFunc(known, func(k string, _ any) bool { return slices.Contains(detectorNames(), k) })
	if d := cmp.Diff(slices.Sorted(maps.Keys(known)), keys); d != "" {
		t.Errorf("(-schema +reference):\n%s", d)
	}
	if Fields("bacon") != nil || len(Fields("scan")) == 0 || !strings.Contains(Fields("threshold")[0].Name, ".") {
		t.Error("fields of what is no detector, or none of what is one")
	}
	if got := kindsOf(event.KindDNS, event.KindSSH).names(); !slices.Equal(got, []string{"dns", "ssh"}) {
		t.Error(got)
	}
}
