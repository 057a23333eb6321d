package rules

import (
	"strings"
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

func TestDetectsLike(t *testing.T) {
	const scan = "[rule.one]\ndetector = \"scan\"\nname = \"n\"\nseverity = \"low\"\nwhen = \"scan.targets > 5\"\n"
	const event = "[rule.event]\nname = \"n\"\ndetector = \"event\"\nseverity = \"low\"\nwhen = 'record.kind == \"ssh\"'\n"
	const beacon = "[rule.beacon]\nname = \"n\"\ndetector = \"beacon\"\nseverity = \"low\"\nwhen = \"beacon.score > 0.5\"\n"
	f := func(before, after string, want bool) {
		t.Helper()
		load := func(text string) *Set {
			s, err := Load(files("a.toml", text))
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		if got := load(after).DetectsLike(load(before)); got != want {
			t.Errorf("%v, want %v, for\n%s\nafter\n%s", got, want, after, before)
		}
	}
	f(scan+event, scan+event, true)
	f(scan+event, event+strings.Replace(scan, "> 5", "> 6", 1), true)
	f(scan+event, event+strings.Replace(scan, "low", "high", 1)+strings.Replace(scan, "one", "two", 1), true)
	f(scan+beacon, beacon+scan+"[rule.one.scan]\nmin_hosts = 9\n", false)
	f(scan, scan+beacon, false) // a detector more runs
	f(scan+beacon, scan, false)
	f(scan, scan+event, false)
	f(scan+event, scan, false)
	f(scan+event, scan+strings.Replace(event, "low", "high", 1), false)
	f(scan, scan+"[zone]\nlab = [\"10.9.0.0/16\"]\n", false)
}
