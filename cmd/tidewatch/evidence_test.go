package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"tidewatch/event"
	"tidewatch/internal/synth"
)

// behavioural are the detectors that weigh what speaks for a case and what speaks
// against it, or say what they compare with.
var behavioural = []string{"scan", "beacon", "exfiltration", "dns_tunnel", "long_connection"}

// Each finding of a made day says what it rests on, whatever form the logs have and
// whichever detector it is from.
func TestEvidenceOfEachFinding(t *testing.T) {
	for _, format := range []string{synth.FormatZeek, synth.FormatZeekJSON, synth.FormatEVE} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := synth.New(synth.Options{Seed: 5, Days: 1, Hosts: 12, Activity: 0.1, Attacks: "grid"}).Write(dir, []string{format}, nil); err != nil {
				t.Fatal(err)
			}
			set, err := loadRules(nil)
			if err != nil {
				t.Fatal(err)
			}
			a := &analysis{term: terminal{}, opts: analyzeOptions{output: "table"}, rules: set}
			if err := a.run(t.Context(), []string{dir}); err != nil {
				t.Fatal(err)
			}
			said := map[string]int{}
			for _, f := range a.findings.sorted() {
				said[f.Detector]++
				for _, wrong := range unfounded(&f) {
					t.Errorf("%s: %s: %s", f.Rule.ID, f.Reason, wrong)
				}
			}
			for _, d := range behavioural {
				if said[d] == 0 {
					t.Errorf("no finding of %s", d)
				}
			}
			t.Log(said)
		})
	}
}

// unfounded returns what a finding lacks of a case that a person can follow.
func unfounded(f *event.Finding) (lacks []string) {
	lack := func(format string, args ...any) { lacks = append(lacks, fmt.Sprintf(format, args...)) }
	inFavour, against := false, false
	for i, e := range f.Evidence {
		inFavour, against = inFavour || e.Weight > 0, against || e.Weight < 0
		if e.Feature == "" || strings.TrimSpace(e.Text) == "" {
			lack("evidence %d has feature %q and text %q", i, e.Feature, e.Text)
		}
		for what, v := range map[string]float64{"observed": e.Observed, "expected": e.Expected, "weight": e.Weight} {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				lack("%s: %s is %v", e.Feature, what, v)
			}
		}
	}
	if len(f.Evidence) == 0 {
		lack("no evidence")
	}
	if !inFavour {
		lack("nothing speaks for it")
	}
	if strings.TrimSpace(f.Baseline.Text) == "" {
		lack("it does not say what its expectations rest on")
	}
	if slices.Contains(behavioural, f.Detector) && !against && (f.Baseline.Since == 0 || f.Baseline.Observations == 0) {
		lack("nothing speaks against it, and it does not say how much is known of what is normal")
	}
	return lacks
}
