package ruletest

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"tidewatch/rules"
)

var update = flag.Bool("update", false, "rewrite what scenarios want")

// TestScenarios runs the scenarios of the kinds of rules: each archive has its rules
// in rule.toml.
func TestScenarios(t *testing.T) {
	names, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(names) < 6 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			a, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			logs := writeRule(t, dir, a)
			set, err := rules.Load(rules.Dir(dir))
			if err != nil {
				t.Fatal(err)
			}
			outcomes, err := Run(t.Context(), set, logs)
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range outcomes {
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

// writeRule writes the rules of an archive to a folder, and returns the rest.
func writeRule(t *testing.T, dir string, a *txtar.Archive) *txtar.Archive {
	t.Helper()
	logs := &txtar.Archive{}
	for _, f := range a.Files {
		if f.Name != "rule.toml" {
			logs.Files = append(logs.Files, f)
		} else if err := os.WriteFile(filepath.Join(dir, "rule.toml"), f.Data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return logs
}

// setWant makes an archive want what was found.
func setWant(a *txtar.Archive, o Outcome) {
	for i := range a.Files {
		if a.Files[i].Name == o.Name+".want" {
			a.Files[i].Data = []byte(o.Got)
			return
		}
	}
	a.Files = append(a.Files, txtar.File{Name: o.Name + ".want", Data: []byte(o.Got)})
}

func write(t *testing.T, name string, a *txtar.Archive) {
	t.Helper()
	if err := os.WriteFile(name, txtar.Format(a), 0o644); err != nil {
		t.Fatal(err)
	}
}
