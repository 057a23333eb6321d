package main

import (
	"io/fs"
	"regexp"
	"strings"

	"tidewatch/rules"
)

// ownRules are rules over records, beside the shipped rules of detectors.
const ownRules = `
[rule.soak-marker]
name = "A query that the soak waits for"
severity = "low"
detector = "event"
when = 'dns.question.name startsWith "soak-marker-"'
[rule.soak-busy]
name = "Many connections between two hosts"
severity = "low"
detector = "threshold"
when = 'record.kind == "conn"'
suppress = { by = ["source.ip", "destination.ip"], for = "1h" }
[rule.soak-busy.threshold]
by = ["source.ip", "destination.ip"]
at_least = 30
within = "1h"
`

// shipped matches a rule with its detector.
var shipped = regexp.MustCompile(`(?ms)^\[rule\.([a-z0-9-]+)\]$.*?^detector\s*= "([a-z_]+)"`)

// withoutPopulation returns rules that turn those off whose detectors ask what far ends
// are called and who else uses them.
func withoutPopulation() string {
	var b strings.Builder
	names, _ := fs.Glob(rules.Builtin(), "*.toml")
	for _, name := range names {
		text, _ := fs.ReadFile(rules.Builtin(), name)
		for _, m := range shipped.FindAllSubmatch(text, -1) {
			switch string(m[2]) {
			case "beacon", "dns_tunnel", "exfiltration":
				b.WriteString("[rule." + string(m[1]) + "]\nenabled = false\n")
			}
		}
	}
	return b.String()
}
