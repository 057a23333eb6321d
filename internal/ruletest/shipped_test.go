package ruletest

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"tidewatch/event"
	"tidewatch/rules"
)

// TestShippedRules runs, for each shipped rule over records, logs on which it fires and
// logs on which it is silent, with all shipped rules on.
func TestShippedRules(t *testing.T) {
	set, err := rules.Load(rules.Builtin())
	if err != nil {
		t.Fatal(err)
	}
	specs := set.Config().Watch.Specs
	if len(specs) < 40 {
		t.Fatalf("%d rules over records", len(specs))
	}
	for _, spec := range specs {
		t.Run(spec.ID, func(t *testing.T) {
			t.Parallel()
			name := filepath.Join("testdata", "shipped", spec.ID+".txtar")
			a, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal("each shipped rule needs a scenario: ", err)
			}
			outcomes, err := Run(t.Context(), set, a)
			if err != nil {
				t.Fatal(err)
			}
			if len(outcomes) != 2 || outcomes[0].Name != "fires" || outcomes[1].Name != "silent" {
				t.Fatal("wanted are logs of fires and of silent")
			}
			for _, o := range outcomes {
				fired := slices.ContainsFunc(o.Findings, func(f event.Finding) bool { return f.Rule.ID == spec.ID })
				if fired != (o.Name == "fires") {
					t.Errorf("%s: it fired is %v", o.Name, fired)
				}
				if *update {
					setWant(a, o)
				} else if d := cmp.Diff(o.Want, o.Got); d != "" {
					t.Errorf("%s (-want +got; rewrite with -update):\n%s", o.Name, d)
				}
			}
			if *update {
				write(t, name, a)
			}
		})
	}
}
