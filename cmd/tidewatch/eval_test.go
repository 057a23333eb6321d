package main

import (
	"strings"
	"testing"

	"tidewatch/behavior"
	"tidewatch/internal/synth"
)

// A folder with a truth file gets the whole table: recall, what findings are worth, the
// first days, and what each term is worth.
func TestEval(t *testing.T) {
	dir := t.TempDir()
	n := synth.New(synth.Options{Seed: 5, Days: 2, Hosts: 12, Attacks: "exfiltration"})
	if err := n.Write(dir, []string{synth.FormatZeekJSON}, nil); err != nil {
		t.Fatal(err)
	}
	status, out, errs := tidewatch(t, "eval", dir)
	if status != 0 {
		t.Fatalf("status %d: %s", status, errs)
	}
	got := strings.Join(strings.Fields(out), " ")
	for _, want := range []string{
		"exfiltration bulk easy 1 1 1 1.00", "exfiltration all 15 15 15 1.00", "the worst, by severity and risk", "day since the start",
		"exfiltration (nothing) 15 15 15 1.000", "exfiltration ratio 15 15", "dns_tunnel volume 6 ", "no difference for exfiltration: ",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if strings.Contains(got, "beacon (nothing)") {
		t.Errorf("the ablation has a detector that had nothing to find:\n%s", out)
	}
}

// Each term that a finding shows can be left out.
func TestTermsAreKnown(t *testing.T) {
	known := map[string]bool{}
	for d, terms := range behavior.Terms() {
		for _, x := range terms {
			known[d+"."+x] = true
		}
	}
	set, err := loadRules(nil)
	if err != nil {
		t.Fatal(err)
	}
	a := &analysis{term: terminal{}, opts: analyzeOptions{output: "table"}, rules: set}
	if err := a.run(t.Context(), []string{day}); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, f := range a.findings.kept {
		for _, e := range f.Evidence {
			if f.Detector == "beacon" || f.Detector == "exfiltration" {
				if n++; !known[e.Feature] && e.Feature != "exfiltration.prior" {
					t.Errorf("%s is no term of %s", e.Feature, f.Detector)
				}
			}
		}
	}
	if n == 0 {
		t.Error("no evidence")
	}
}
