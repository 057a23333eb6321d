package rules

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSince(t *testing.T) {
	const one = "[rule.one]\ndetector = \"scan\"\nname = \"n\"\nseverity = \"low\"\nwhen = \"scan.targets > 5\"\n"
	const two = "[rule.two]\nname = \"n\"\ndetector = \"scan\"\nseverity = \"low\"\nwhen = \"scan.targets > 6\"\n"
	load := func(text string) *Set {
		t.Helper()
		s, err := Load(files("a.toml", text))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	f := func(before, after string, want Change) {
		t.Helper()
		got := load(after).Since(load(before))
		if d := cmp.Diff(want, got); d != "" || got.IsZero() != cmp.Equal(want, Change{}) {
			t.Errorf("(-want +got):\n%s", d)
		}
	}
	f(one, one, Change{})
	f(one, "# moved\n[rule.one]\nwhen = \"scan.targets > 5\"\nname = \"n\"\nseverity = \"low\"\ndetector = \"scan\"\n", Change{})
	f(one, one+two, Change{Added: []string{"two"}})
	f(one+two, one, Change{Removed: []string{"two"}})
	f(one+two, one+two+"suppress = { by = [], for = \"1h\" }\n", Change{Changed: []string{"two"}})
	f(one+two, one+two+"enabled = false\n", Change{Removed: []string{"two"}})
	f(one, two, Change{Added: []string{"two"}, Removed: []string{"one"}})
	f(one, one+"[zone]\nlab = [\"10.9.0.0/16\"]\n", Change{Zones: true})
}
