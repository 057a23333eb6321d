package rules

import (
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

const sound = `
name = "x"
severity = "low"
detector = "scan"
when = 'scan.targets >= 20'
`

// files makes a file system of names and texts.
func files(pairs ...string) fstest.MapFS {
	m := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return m
}

func TestBuiltinLoads(t *testing.T) {
	s, err := Load(Builtin())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range s.rules {
		i := r.info
		if i.Description == "" || i.Category == "" || i.Version == "" || i.Investigate == "" || len(i.References) == 0 ||
			len(i.FalsePositives) == 0 || len(i.Attack) == 0 || r.suppress == 0 || i.Ruleset != "tidewatch" {
			t.Errorf("rule %s lacks something that shipped rules have: %+v", i.ID, i)
		}
	}
}

// TestErrors loads folders of wrong files and compares everything that is said
// about them. The files are data: testdata/errors/*/, the wanted text is want.txt.
func TestErrors(t *testing.T) {
	dirs, err := filepath.Glob("testdata/errors/*")
	if err != nil || len(dirs) == 0 {
		t.Fatal("no testdata", err)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			_, err := Load(Builtin(), Dir(dir))
			if err == nil {
				t.Fatal("no error")
			}
			golden(t, filepath.Join(dir, "want.txt"), err.Error()+"\n")
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got; rewrite with -update):\n%s", name, d)
	}
}
