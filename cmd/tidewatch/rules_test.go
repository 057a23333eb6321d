package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tidewatch/rules"
)

// ruleFolder writes files into a folder of rules.
func ruleFolder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestRulesCheck(t *testing.T) {
	status, out, errs := tidewatch(t, "rules", "check")
	if status != 0 || !strings.Contains(out, "rules are sound") {
		t.Errorf("status %d: %s%s", status, out, errs)
	}
	dir := ruleFolder(t, map[string]string{"a.toml": "[rule.a]\nname = \"a\"\nseverity = \"hihg\"\ndetector = \"event\"\nwhen = 'dns.question.nam == \"x\"'\n"})
	status, _, errs = tidewatch(t, "rules", "check", dir)
	for _, want := range []string{`a.toml:3:1: severity "hihg"; did you mean "high"?`, `a.toml:5:9: unknown name dns.question.nam; did you mean "dns.question.name"?`} {
		if status != 1 || !strings.Contains(errs, want) {
			t.Errorf("status %d, want %q:\n%s", status, want, errs)
		}
	}
	status, out, _ = tidewatch(t, "rules", "check", "-o", "json", dir)
	var problems []struct {
		File         string
		Line, Column int
		Message      string
	}
	if err := json.Unmarshal([]byte(out), &problems); err != nil || status != 1 || len(problems) != 2 || problems[0].Line != 3 || problems[1].Column != 9 {
		t.Errorf("status %d, %v: %s", status, err, out)
	}
}

// Each template is a sound rule.
func TestRulesNew(t *testing.T) {
	_, names, _ := rules.Template("")
	if len(names) < 10 {
		t.Fatal(names)
	}
	for _, detector := range names {
		status, out, errs := tidewatch(t, "rules", "new", detector)
		if status != 0 {
			t.Fatalf("%s: status %d: %s", detector, status, errs)
		}
		if status, _, errs := tidewatch(t, "rules", "check", ruleFolder(t, map[string]string{"new.toml": out})); status != 0 {
			t.Errorf("%s:\n%s\n%s", detector, out, errs)
		}
	}
	if status, _, errs := tidewatch(t, "rules", "new", "bacon"); status != 2 || !strings.Contains(errs, "there are baseline, beacon") {
		t.Errorf("status %d: %s", status, errs)
	}
}

// The first rule of docs/rules.md is sound, and does what is said of it.
func TestRulesDocument(t *testing.T) {
	b, err := os.ReadFile("../../docs/rules.md")
	if err != nil {
		t.Fatal(err)
	}
	rule, scenario := fenced(t, string(b), "```toml\n[rule.telnet", "```toml\n"), fenced(t, string(b), "   ```\n   -- fires", "   ```\n")
	dir := ruleFolder(t, map[string]string{"telnet.toml": rule, "telnet-from-outside.txtar": strings.ReplaceAll(scenario, "\n   ", "\n")[3:]})
	status, out, errs := tidewatch(t, "rules", "test", dir)
	if status != 0 || strings.Count(out, "ok ") != 2 {
		t.Errorf("status %d: %s%s", status, out, errs)
	}
}

// fenced returns the block of a document that begins like this, without its fences.
func fenced(t *testing.T, doc, begin, fence string) string {
	t.Helper()
	i := strings.Index(doc, begin)
	if i < 0 {
		t.Fatalf("no %q", begin)
	}
	block, _, _ := strings.Cut(doc[i+len(fence):], "```")
	return block
}

func TestRulesImport(t *testing.T) {
	const head = "title: %s\nlogsource:\n    product: zeek\n    service: dns\ndetection:\n    a:\n        %s: x.example\n    condition: a\n"
	in := ruleFolder(t, map[string]string{"good.yml": fmt.Sprintf(head, "One name", "query"), "bad.yml": fmt.Sprintf(head, "Another", "qury"), "notes.txt": "no rule"})
	out := filepath.Join(t.TempDir(), "rules")
	status, _, errs := tidewatch(t, "rules", "import", "sigma", "--output", out, in)
	if status != 1 || !strings.Contains(errs, `bad.yml:7:9: column "qury" is not kept; did you mean "query"?`) || !strings.Contains(errs, "1 of 2 rules are not translated") {
		t.Errorf("status %d: %s", status, errs)
	}
	if status, _, errs := tidewatch(t, "rules", "check", out); status != 0 {
		t.Errorf("what was translated is not sound: %s", errs)
	}
	if status, _, errs := tidewatch(t, "rules", "import", "sigma", "--output", out, filepath.Join(in, "good.yml")); status != 1 || !strings.Contains(errs, "exists") {
		t.Errorf("a file is overwritten: status %d, %s", status, errs)
	}
	if status, text, errs := tidewatch(t, "rules", "import", "sigma", filepath.Join(in, "good.yml")); status != 0 || !strings.Contains(text, "[rule.one-name]") {
		t.Errorf("status %d: %s%s", status, text, errs)
	}
}

func TestRulesFields(t *testing.T) {
	f := func(detector string, want ...string) {
		t.Helper()
		status, out, errs := tidewatch(t, "rules", "fields", detector)
		for _, w := range want {
			if status != 0 || !strings.Contains(out, w) {
				t.Errorf("%s, status %d, no %q:\n%s%s", detector, status, w, out, errs)
			}
		}
	}
	f("scan", "scan.targets ", "source.ip ")
	f("threshold", "tls.client.ja4 ", "destination.new ")
	if status, _, errs := tidewatch(t, "rules", "fields", "bacon"); status != 2 || !strings.Contains(errs, `did you mean "beacon"?`) {
		t.Errorf("status %d: %s", status, errs)
	}
}

func TestRulesList(t *testing.T) {
	dir := ruleFolder(t, map[string]string{"b.toml": "[rule.telnet]\nenabled = false\n"})
	_, out, _ := tidewatch(t, "rules", "list", dir)
	lines := strings.Split(out, "\n")
	i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "telnet ") })
	if i < 0 || !strings.Contains(lines[i], " no ") || !strings.HasSuffix(lines[i], "b.toml") {
		t.Errorf("the rule that was disabled is not told:\n%s", out)
	}
	if len(lines) < 46 {
		t.Errorf("%d lines", len(lines))
	}
}

const oneRule = `[rule.big]
name = "big"
severity = "low"
detector = "event"
when = 'record.kind == "conn" and source.bytes > "1MB"'
`

func TestRulesTest(t *testing.T) {
	conn := func(bytes string) string {
		return `{"_path":"conn","ts":{{+0s}},"uid":"C1","id.orig_h":"10.0.0.5","id.orig_p":40000,"id.resp_h":"10.0.0.9","id.resp_p":9000,"proto":"tcp","conn_state":"SF","duration":1.0,"orig_bytes":` + bytes + `,"resp_bytes":1}` + "\n"
	}
	f := func(want int, says, scenario string) {
		t.Helper()
		status, out, errs := tidewatch(t, "rules", "test", ruleFolder(t, map[string]string{"r.toml": oneRule, "big.txtar": scenario}))
		if status != want || !strings.Contains(out+errs, says) {
			t.Errorf("status %d, want %d; want it to say %q, it says:\n%s%s", status, want, says, out, errs)
		}
	}
	f(0, "big.txtar fires", "-- fires/conn.log --\n"+conn("2000000")+"-- silent/conn.log --\n"+conn("20"))
	f(1, "big fires: false", "-- fires/conn.log --\n"+conn("20"))
	f(1, "big fires: true", "-- silent/conn.log --\n"+conn("2000000"))
	f(1, "wanted:", "-- fires/conn.log --\n"+conn("2000000")+"-- fires.want --\nsomething else\n")
	f(1, "refused", "-- fires/conn.log --\n"+conn("2000000")+"garbage\n")
	f(1, "no logs", "")
}

func TestRulesExplain(t *testing.T) {
	dir := ruleFolder(t, map[string]string{"r.toml": oneRule})
	logs := ruleFolder(t, map[string]string{"conn.log": `{"_path":"conn","ts":1767600000.0,"uid":"C1","id.orig_h":"10.0.0.5","id.orig_p":40000,"id.resp_h":"10.0.0.9","id.resp_p":9000,"proto":"tcp","conn_state":"SF","duration":1.0,"orig_bytes":900000,"resp_bytes":1}` + "\n"})
	status, out, errs := tidewatch(t, "rules", "explain", "--rules", dir, "big", logs)
	for _, want := range []string{"of 1 records, the condition held for 0", `not source.bytes > "1MB": it was 900000`} {
		if status != 0 || !strings.Contains(out, want) {
			t.Errorf("status %d, want %q:\n%s%s", status, want, out, errs)
		}
	}
	if status, _, errs := tidewatch(t, "rules", "explain", "telnit"); status != 2 || !strings.Contains(errs, `did you mean "telnet"`) {
		t.Errorf("status %d: %s", status, errs)
	}
}

// The schema is JSON and has each key that rules have.
func TestRulesSchema(t *testing.T) {
	_, out, _ := tidewatch(t, "rules", "schema")
	var schema struct {
		Properties struct {
			Rule struct {
				AdditionalProperties struct{ Properties map[string]any }
			}
		}
	}
	if err := json.Unmarshal([]byte(out), &schema); err != nil {
		t.Fatal(err)
	}
	_, names, _ := rules.Template("")
	for _, key := range append(names, "when", "severity", "suppress", "exceptions", "enabled", "attack") {
		if schema.Properties.Rule.AdditionalProperties.Properties[key] == nil {
			t.Errorf("no %s", key)
		}
	}
}
