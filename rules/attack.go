package rules

import (
	_ "embed"
	"maps"
	"slices"
	"strings"

	"tidewatch/event"
)

// attackTable is the part of MITRE ATT&CK (v18, enterprise) that network data can
// speak of: id, name, tactics, one technique a line.
//
//go:embed attack.tsv
var attackTable string

// tactics are the names of the tactics.
var tactics = map[string]string{
	"TA0043": "Reconnaissance", "TA0042": "Resource Development", "TA0001": "Initial Access", "TA0002": "Execution",
	"TA0003": "Persistence", "TA0004": "Privilege Escalation", "TA0005": "Defense Evasion", "TA0006": "Credential Access",
	"TA0007": "Discovery", "TA0008": "Lateral Movement", "TA0009": "Collection", "TA0011": "Command and Control",
	"TA0010": "Exfiltration", "TA0040": "Impact",
}

// techniques maps an id to its technique.
var techniques = readTechniques(attackTable)

// techniqueIDs are the ids of all techniques, sorted.
var techniqueIDs = slices.Sorted(maps.Keys(techniques))

func readTechniques(table string) map[string]event.Technique {
	m := map[string]event.Technique{}
	for line := range strings.Lines(table) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		if len(f) != 3 {
			panic("rules: attack.tsv: " + line)
		}
		t := event.Technique{ID: f[0], Name: f[1]}
		for _, id := range strings.Split(f[2], ",") {
			name, ok := tactics[id]
			if !ok {
				panic("rules: attack.tsv: " + line)
			}
			t.Tactics = append(t.Tactics, event.Tactic{ID: id, Name: name})
		}
		if parent, _, sub := strings.Cut(t.ID, "."); sub {
			t.SubID, t.SubName = t.ID, t.Name
			t.ID, t.Name = parent, m[parent].Name
		}
		m[f[0]] = t
	}
	return m
}

// KnowsTechnique reports whether rules can name the technique with this id.
func KnowsTechnique(id string) bool { _, ok := techniques[id]; return ok }
