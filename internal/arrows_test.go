// Package internal_test holds the import arrows of docs/architecture.md.
package internal_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// may lists, for each top-level folder, which folders of ours its packages may
// import beside their own. Tests may import anything.
var may = map[string][]string{
	"event":     {},
	"parsers":   {"event"},
	"ingest":    {"event", "parsers", "strict"},
	"enrich":    {"event", "strict"},
	"behavior":  {"event", "strict"},
	"rules":     {"event", "behavior", "strict"},
	"outputs":   {"event", "strict"},
	"configs":   {"strict", "event", "ingest", "enrich", "behavior", "rules", "outputs"}, // their Config types
	"examples":  {},
	"pipeline":  {"event", "behavior", "rules"}, // internal/pipeline
	"scenario":  {"event", "parsers", "enrich", "behavior"},
	"eval":      {"event", "behavior", "synth"},
	"synth":     {"event", "eval"},
	"bench":     {"event", "synth"},
	"soak":      {"event", "behavior", "rules", "synth", "monitor"},
	"figures":   {},
	"popular":   {},
	"strict":    {},
	"servers":   {},
	"ruletest":  {"event", "ingest", "enrich", "behavior", "rules", "pipeline"},
	"journal":   {},
	"monitor":   {},
	"neighbour": {},
	"systemd":   {},
	"cmd":       nil, // everything
}

func TestImportArrows(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "tidewatch/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		pkg, imports, _ := strings.Cut(line, " ")
		from := room(pkg)
		if from == "cmd" || from == "shareddata" || from == "internal" {
			continue
		}
		allowed, known := may[from]
		if !known {
			t.Errorf("%s is in no room of the architecture: add it to this test and to docs/architecture.md", pkg)
			continue
		}
		for _, imp := range strings.Fields(imports) {
			if !strings.HasPrefix(imp, "tidewatch/") {
				if from == "event" && strings.Contains(strings.Split(imp, "/")[0], ".") {
					t.Errorf("%s imports %s: event has the standard library alone", pkg, imp)
				}
				continue
			}
			if to := room(imp); to != from && !slices.Contains(allowed, to) {
				t.Errorf("%s imports %s: %s may import %v", pkg, imp, from, allowed)
			}
		}
	}
}

// room returns the folder that a package belongs to: below internal, the one
// there.
func room(pkg string) string {
	parts := strings.Split(strings.TrimPrefix(pkg, "tidewatch/"), "/")
	if parts[0] == "internal" && len(parts) > 1 {
		return parts[1]
	}
	return parts[0]
}
