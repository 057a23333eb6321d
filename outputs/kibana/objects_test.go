package kibana

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"tidewatch/internal/shareddata"
	"tidewatch/outputs"
	"tidewatch/rules"
)

// What Kibana's import checks, and what Lens needs, as the linter beside the shared
// data knows it.
func TestLint(t *testing.T) {
	linter := filepath.Join(filepath.Dir(shareddata.Path(t, "")), "tools", "lint_saved_objects.py")
	python, err := exec.LookPath("python3")
	if _, missing := os.Stat(linter); err != nil || missing != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err, missing)
		}
		t.Skip("SKIPPED: no python3, or no linter of saved objects")
	}
	for _, space := range []string{"", "soc"} {
		file := filepath.Join(t.TempDir(), "tidewatch.ndjson")
		b, err := NDJSON(space)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(python, linter, file).CombinedOutput(); err != nil || !strings.Contains(string(out), " 0 problems") {
			t.Errorf("space %q: %v\n%s", space, err, out)
		}
	}
}

// The same version gives the same bytes, each time; another space gives other ids, and
// no link leads out of it.
func TestDeterministic(t *testing.T) {
	a, _ := NDJSON("")
	for range 20 {
		if b, _ := NDJSON("default"); !bytes.Equal(a, b) {
			t.Fatal("another time, other bytes")
		}
	}
	other, err := NDJSON("soc")
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(other) {
		var o savedObject
		if err := json.Unmarshal(line, &o); err != nil || !strings.HasPrefix(o.ID, "tidewatch-soc-") {
			t.Errorf("%s: %v", o.ID, err)
		}
		for _, r := range o.References {
			if !strings.HasPrefix(r.ID, "tidewatch-soc-") {
				t.Errorf("%s refers to %s", o.ID, r.ID)
			}
		}
	}
	if n, m := bytes.Count(other, []byte("#/view/")), bytes.Count(other, []byte("#/view/tidewatch-soc-")); n == 0 || n != m {
		t.Errorf("%d links, %d of them into the space", n, m)
	}
	for _, bad := range []string{"a/b", "A", "é"} {
		if _, err := NDJSON(bad); err == nil {
			t.Errorf("space %q", bad)
		}
	}
}

// Rows fill the 48 columns exactly, each list has its order, each heat its two sides.
func TestLayout(t *testing.T) {
	for _, d := range dashboards() {
		for i, r := range d.Rows {
			width := 0
			for _, p := range r.panels {
				width += p.Width
				if p.Title == "" || (p.Shape == list) != (len(p.Columns) > 0) || (p.Shape == list) != (p.Sort != "") || (p.Shape != list) != (len(p.Show) > 0) {
					t.Errorf("%s: %q is not whole", d.ID, p.Title)
				}
				if want := map[shape]int{figure: 0, heat: 2}; p.Shape == figure || p.Shape == heat {
					if len(p.By) != want[p.Shape] {
						t.Errorf("%s: %q is by %d things", d.ID, p.Title, len(p.By))
					}
				}
			}
			if width != 48 {
				t.Errorf("%s, row %d: %d columns", d.ID, i, width)
			}
		}
	}
}

// everyPanel calls f with each panel, and with the searches that stand alone.
func everyPanel(f func(name string, p *panel)) {
	f("records", &recordsSearch)
	f("findings", &panel{View: findings, Shape: list, Columns: findingColumns, Sort: "@timestamp"})
	for _, d := range dashboards() {
		for _, r := range d.Rows {
			for i := range r.panels {
				f(d.ID+"/"+r.panels[i].Title, &r.panels[i])
			}
		}
	}
}

// Each field that is used is in the mapping, and can do what it is used for.
func TestFields(t *testing.T) {
	mapped := map[view]map[string]outputs.FieldType{findings: {}, records: {}}
	for _, f := range outputs.FindingFields {
		mapped[findings][f.Name] = f.Type
	}
	for _, f := range outputs.RecordFields {
		mapped[records][f.Name] = f.Type
	}
	check := func(where string, v view, field string, may ...outputs.FieldType) {
		t.Helper()
		typ, ok := mapped[v][field]
		if !ok && v == findings {
			typ, ok = detectorField(t, field)
		}
		if !ok || may != nil && !slices.Contains(may, typ) {
			t.Errorf("%s: %s of %s is %q, want one of %v", where, field, v, typ, may)
		}
	}
	numbers := []outputs.FieldType{outputs.Long, outputs.Double}
	values := append(numbers, outputs.Keyword, outputs.IP, outputs.Boolean)
	everyPanel(func(name string, p *panel) {
		for _, f := range p.fields() {
			check(name, p.View, f)
		}
		for _, b := range p.By {
			switch {
			case b.bounds != nil, b.numeric:
				check(name, p.View, b.field, numbers...)
			case b.size > 0:
				check(name, p.View, b.field, outputs.Keyword, outputs.IP)
			default:
				check(name, p.View, b.field, outputs.Date)
			}
		}
		for _, m := range p.Show {
			switch m.op {
			case "unique_count":
				check(name, p.View, m.field, values...)
			case "sum", "max", "average":
				check(name, p.View, m.field, numbers...)
			}
		}
		if p.Sort != "" { // a text cannot be sorted by
			check(name, p.View, p.Sort, append(values, outputs.Date)...)
		}
	})
	for _, v := range []view{findings, records} {
		for field := range (site{}).formats(v) {
			check("format", v, field)
		}
	}
	for _, d := range dashboards() {
		if d.Control != "" {
			check(d.ID, findings, d.Control, outputs.IP)
		}
	}
}

// detectorField returns the type of a detector's own number. Rules know their names.
func detectorField(t *testing.T, field string) (outputs.FieldType, bool) {
	t.Helper()
	name, own := strings.CutPrefix(field, "tidewatch.")
	detector, _, inside := strings.Cut(name, ".")
	if !own || !inside {
		return "", false
	}
	for typ, when := range map[outputs.FieldType]string{outputs.Double: "%s > 7", outputs.Keyword: `%s startsWith "a"`, "list": `"a" in %s`} {
		text := fmt.Sprintf("[rule.r]\nname = \"r\"\ndescription = \"d\"\nseverity = \"low\"\ncategory = \"c\"\nversion = \"1\"\ndetector = %q\nwhen = '%s'\n"+
			"false_positives = [\"f\"]\ninvestigate = \"i\"\nattack = [\"T1046\"]\nreferences = [\"https://a.example\"]\nsuppress = { by = [\"source.ip\"], for = \"1h\" }\n", detector, fmt.Sprintf(when, name))
		if _, err := rules.Load(fstest.MapFS{"r.toml": {Data: []byte(text)}}); err == nil {
			if typ == "list" {
				typ = outputs.Keyword
			}
			return typ, true
		}
	}
	return "", false
}

func TestKQL(t *testing.T) {
	f := func(want string, cs ...condition) {
		t.Helper()
		if d := cmp.Diff(want, kql(cs)); d != "" {
			t.Error(d)
		}
	}
	f("")
	f(`event.action: "scan"`, is("event.action", "scan"))
	f(`a: * and b >= 73 and c <= 0.5`, has("a"), atLeast("b", 73), atMost("c", 0.5))
}

// The signature is found again, and nothing else is taken for one.
func TestSignature(t *testing.T) {
	f := func(description string, want signature, ok bool) {
		t.Helper()
		if got, found := signatureOf(description); got != want || found != ok {
			t.Errorf("%q: %v %v", description, got, found)
		}
	}
	s := signature{3, "0123456789abcdef"}
	f("What was found."+s.String(), s, true)
	f("What was found."+s.String()+" And more.", signature{}, false)
	f("", signature{}, false)
	f("(tidewatch dashboards 9999999-0123456789abcdef)", signature{}, false)
}
