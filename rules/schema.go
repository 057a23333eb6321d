package rules

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"tidewatch/behavior/watch"
	"tidewatch/internal/strict"
)

// Schema returns a JSON schema of rule files (draft 2020-12), with which editors
// complete and check them: `#:schema tidewatch-rules.json` in their first line.
func Schema() []byte {
	duration := map[string]any{"type": "string", "description": strict.DurationForm, "pattern": `^([0-9.]+[smhdw])+$`}
	texts := map[string]any{"type": "array", "items": map[string]any{"type": "string"}}
	text := map[string]any{"type": "string"}
	rule := map[string]any{
		"name": text, "description": text, "category": text, "version": text, "investigate": text, "when": text,
		"enabled":         map[string]any{"type": "boolean"},
		"severity":        map[string]any{"enum": severities},
		"detector":        map[string]any{"enum": detectorNames()},
		"attack":          map[string]any{"type": "array", "items": map[string]any{"enum": techniqueIDs}},
		"references":      texts,
		"false_positives": texts,
		"tags":            texts,
		"suppress":        object(map[string]any{"by": texts, "for": duration}),
		"exceptions":      map[string]any{"type": "object", "additionalProperties": text},
	}
	for name := range detectors {
		rule[name] = object(settingsSchema(name))
	}
	schema := object(map[string]any{
		"zone": map[string]any{"type": "object", "additionalProperties": texts},
		"rule": map[string]any{"type": "object", "additionalProperties": object(rule)},
	})
	schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	schema["title"] = "tidewatch rules"
	b, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		panic("rules: " + err.Error())
	}
	return append(b, '\n')
}

func object(properties map[string]any) map[string]any {
	return map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
}

// settingsSchema returns the keys of a detector's own table.
func settingsSchema(detector string) map[string]any {
	keys := map[string]any{}
	for _, s := range settings[detector] {
		keys[s.key] = map[string]any{"description": s.allowed}
	}
	if k, ok := watchKinds[detector]; ok {
		for _, key := range watchKeys[k] {
			keys[key] = map[string]any{}
		}
	}
	return keys
}

// Template returns a rule for a detector with a comment for each key, as a beginning; ok
// is false if there is no such detector, and names says which there are.
func Template(detector string) (text string, names []string, ok bool) {
	names = detectorNames()
	if !slices.Contains(names, detector) {
		return "", names, false
	}
	var b strings.Builder
	b.WriteString("# Save this as my-rules.toml in a folder of rules, and see what 'tidewatch rules check' says of it.\n\n[rule.my-" + strings.ReplaceAll(detector, "_", "-") + "]\n")
	b.WriteString(`name            = "One line that says what was found"
description     = "Why it matters, for the analyst who reads the finding."
severity        = "medium"                   # ` + strings.Join(severities, ", ") + `
attack          = ["T1071.001"]              # ATT&CK techniques
detector        = "` + detector + "\"\n")
	kind, onRecords := watchKinds[detector]
	switch {
	case onRecords && kind == watch.Sequence:
	case onRecords:
		b.WriteString("when            = 'record.kind == \"conn\" and network.direction == \"outbound\"'   # which records\n")
	default:
		b.WriteString("when            = 'event.score >= 0.8'     # or of: " + featureList(detector) + "\n")
	}
	b.WriteString(`suppress        = { by = ["source.ip"], for = "24h" }   # say it once
false_positives = ["What is harmless and looks the same"]
investigate     = "What to do first about {{source.ip}}."
`)
	if example := watchExamples[detector]; example != "" {
		b.WriteString("\n[rule.my-" + strings.ReplaceAll(detector, "_", "-") + "." + detector + "]\n" + example)
	}
	b.WriteString("\n# [rule.my-" + strings.ReplaceAll(detector, "_", "-") + ".exceptions]\n# scanner = 'source.ip in cidr(\"10.0.9.0/24\")'\n")
	return b.String(), names, true
}

// featureList names the features of a detector.
func featureList(detector string) string {
	var all []string
	for _, f := range slices.Sorted(maps.Keys(detectors[detector])) {
		all = append(all, detector+"."+f)
	}
	return strings.Join(all, ", ")
}

// watchExamples are the own tables of rules over records.
var watchExamples = map[string]string{
	"threshold":  "by       = [\"source.ip\"]       # whose they are; [] for all together\nat_least = 20                  # records\n# distinct = \"destination.ip\"  # or so many different ones\n# sum    = \"source.bytes\"      # or so much, such as at_least = \"50MB\"\nwithin   = \"10m\"\n",
	"sequence":   "by     = [\"source.ip\"]\nsteps  = ['record.kind == \"ssh\" and ssh.auth.failed', 'record.kind == \"ssh\" and ssh.auth.success']\n# unless = 'record.kind == \"conn\"'   # must not follow within the same time\nwithin = \"10m\"\n",
	"first_seen": "by    = [\"source.ip\"]      # whose values they are\nvalue = \"tls.client.ja4\"\nlearn = \"7d\"               # nothing is said before\n",
	"rarity":     "value         = \"tls.client.ja4\"\nat_most_hosts = 1          # that have it\nof_hosts      = 20         # that there must be\nlearn         = \"1d\"\n",
	"baseline":   "by       = [\"source.ip\"]\neach     = \"1h\"            # one measure\nat_least = 100             # what is less is not worth a word\n# sum    = \"source.bytes\"  # or distinct = \"destination.ip\"; records otherwise\nsigmas   = 4               # above what is usual at this time\nlearn    = \"3d\"\n",
}
