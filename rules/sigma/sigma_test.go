package sigma

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
	"golang.org/x/tools/txtar"

	"tidewatch/internal/ruletest"
	"tidewatch/rules"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestTranslate translates the rules of testdata/*.txtar. An archive has NAME.yml, and what
// came of it in NAME.toml or NAME.problems.
func TestTranslate(t *testing.T) {
	each(t, func(t *testing.T, file string, a *txtar.Archive) {
		var out []txtar.File
		for _, f := range a.Files {
			if !strings.HasSuffix(f.Name, ".yml") {
				if !strings.HasSuffix(f.Name, ".toml") && !strings.HasSuffix(f.Name, ".problems") {
					out = append(out, f)
				}
				continue
			}
			out = append(out, f)
			name := strings.TrimSuffix(f.Name, ".yml")
			var toml, problems strings.Builder
			for _, r := range Translate(f.Name, f.Data) {
				toml.WriteString(r.TOML)
				for _, p := range r.Problems {
					problems.WriteString(p.Error() + "\n")
				}
			}
			for _, x := range []struct{ ext, text string }{{".toml", toml.String()}, {".problems", problems.String()}} {
				if x.text != "" {
					out = append(out, txtar.File{Name: name + x.ext, Data: []byte(x.text)})
				}
			}
			if text := toml.String(); text != "" {
				if _, err := rules.Load(fstest.MapFS{"a.toml": {Data: []byte(text)}}); err != nil {
					t.Errorf("%s: what came of it is no rule: %v\n%s", f.Name, err, text)
				}
			}
		}
		got := &txtar.Archive{Comment: a.Comment, Files: out}
		if *update {
			if err := os.WriteFile(file, txtar.Format(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if d := cmp.Diff(string(txtar.Format(a)), string(txtar.Format(got))); d != "" && !*update {
			t.Errorf("(-want +got; rewrite with -update):\n%s", d)
		}
	})
}

// each runs a test of each archive.
func each(t *testing.T, f func(*testing.T, string, *txtar.Archive)) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no testdata", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			f(t, file, a)
		})
	}
}

// TestAgree runs each rule of an archive on the records in its LOG.log files, once as Sigma
// says and once as the translation does, through the parser and the pipeline: both find the
// same records.
func TestAgree(t *testing.T) {
	tried := 0
	each(t, func(t *testing.T, _ string, a *txtar.Archive) {
		logs := map[string][]byte{}
		for _, f := range a.Files {
			if strings.HasSuffix(f.Name, ".log") {
				logs[strings.TrimSuffix(f.Name, ".log")] = f.Data
			}
		}
		for _, f := range a.Files {
			if !strings.HasSuffix(f.Name, ".yml") {
				continue
			}
			for _, r := range Translate(f.Name, f.Data) {
				if r.TOML == "" {
					continue
				}
				var doc map[string]any
				if err := yaml.Unmarshal(f.Data, &doc); err != nil {
					t.Fatal(err)
				}
				service := doc["logsource"].(map[string]any)["service"].(string)
				want := asSigmaSays(t, doc["detection"].(map[string]any), logs[service])
				got := translated(t, r, logs[service])
				if d := cmp.Diff(want, got); d != "" || len(logs[service]) == 0 {
					t.Errorf("%s on %d bytes of logs (-as Sigma says +translated):\n%s", f.Name, len(logs[service]), d)
				}
				if len(want) > 0 {
					tried++
				}
			}
		}
	})
	if tried < 10 {
		t.Errorf("%d rules find something", tried)
	}
}

// translated returns the uids of the records that a translation finds.
func translated(t *testing.T, r Rule, log []byte) (uids []string) {
	t.Helper()
	text := regexp.MustCompile(`(?m)^suppress = .*\n`).ReplaceAllString(r.TOML, "")
	set, err := rules.Load(fstest.MapFS{"a.toml": {Data: []byte(text)}})
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(log)) {
		// One record a run: of what a finding shows, the uid is no part.
		out, err := ruletest.Run(context.Background(), set, &txtar.Archive{Files: []txtar.File{{Name: "x/x.log", Data: []byte(line)}}})
		if err != nil {
			t.Fatal(err)
		}
		var rec struct {
			UID string `json:"uid"`
		}
		if json.Unmarshal([]byte(line), &rec) == nil && len(out) == 1 && len(out[0].Findings) > 0 {
			uids = append(uids, rec.UID)
		}
	}
	return uids
}

// asSigmaSays looks at records with the rule itself, as slowly as can be.
func asSigmaSays(t *testing.T, detection map[string]any, log []byte) (uids []string) {
	t.Helper()
	for line := range strings.Lines(string(log)) {
		var rec map[string]any
		if err := json.Unmarshal([]byte(line), &rec); err != nil {
			t.Fatal(err)
		}
		holds := map[string]bool{}
		for name, s := range detection {
			if name != "condition" {
				holds[name] = searchHolds(s, rec)
			}
		}
		if conditionHolds(detection["condition"].(string), holds) {
			uids = append(uids, rec["uid"].(string))
		}
	}
	return uids
}

func searchHolds(s any, rec map[string]any) bool {
	switch s := s.(type) {
	case []any:
		return slices.ContainsFunc(s, func(x any) bool { return searchHolds(x, rec) })
	case map[string]any:
		for key, want := range s {
			parts := strings.Split(key, "|")
			values, ok := want.([]any)
			if !ok {
				values = []any{want}
			}
			hold := func(v any) bool { return fieldHolds(rec[parts[0]], parts[1:], v) }
			if all := slices.Contains(parts, "all"); !all && !slices.ContainsFunc(values, hold) || all && slices.ContainsFunc(values, func(v any) bool { return !hold(v) }) {
				return false
			}
		}
		return true
	}
	return false
}

func fieldHolds(have any, modifiers []string, want any) bool {
	if list, ok := have.([]any); ok {
		return slices.ContainsFunc(list, func(h any) bool { return fieldHolds(h, modifiers, want) })
	}
	modifiers = slices.DeleteFunc(slices.Clone(modifiers), func(m string) bool { return m == "all" })
	if want == nil {
		return have == nil
	}
	if have == nil {
		have = ""
	}
	h, w := fmt.Sprint(have), fmt.Sprint(want)
	if n, ok := have.(float64); ok {
		x, err := strconv.ParseFloat(w, 64)
		return err == nil && map[string]bool{"": n == x, "gt": n > x, "gte": n >= x, "lt": n < x, "lte": n <= x}[strings.Join(modifiers, "|")]
	}
	fold := !slices.Contains(modifiers, "cased")
	modifiers = slices.DeleteFunc(modifiers, func(m string) bool { return m == "cased" })
	switch how := strings.Join(modifiers, "|"); how {
	case "cidr":
		return netip.MustParsePrefix(w).Contains(netip.MustParseAddr(h))
	case "re":
		return regexp.MustCompile(w).MatchString(h)
	default:
		if fold {
			h, w = strings.ToLower(h), strings.ToLower(w)
		}
		switch how {
		case "contains":
			w = "*" + w + "*"
		case "startswith":
			w += "*"
		case "endswith":
			w = "*" + w
		}
		return like(h, w)
	}
}

// like matches a pattern with * and ?.
func like(s, pattern string) bool {
	if pattern == "" {
		return s == ""
	}
	switch c := pattern[0]; {
	case c == '*':
		return like(s, pattern[1:]) || s != "" && like(s[1:], pattern)
	case s == "":
		return false
	case c == '?':
		return like(s[1:], pattern[1:])
	case c == '\\' && len(pattern) > 1 && strings.IndexByte(`\*?`, pattern[1]) >= 0:
		return s[0] == pattern[1] && like(s[1:], pattern[2:])
	}
	return s[0] == pattern[0] && like(s[1:], pattern[1:])
}

// conditionHolds replaces what a condition names by true and false until one is left.
func conditionHolds(c string, holds map[string]bool) bool {
	of := regexp.MustCompile(`\b(1|any|all) of (\S+)`)
	c = of.ReplaceAllStringFunc(c, func(s string) string {
		m := of.FindStringSubmatch(s)
		pattern, tail := strings.TrimRight(m[2], ")"), strings.Repeat(")", strings.Count(m[2], ")"))
		any, all := false, true
		for name, h := range holds {
			if ok, _ := path.Match(pattern, name); ok || pattern == "them" {
				any, all = any || h, all && h
			}
		}
		if m[1] == "all" {
			any = all
		}
		return strconv.FormatBool(any) + tail
	})
	c = regexp.MustCompile(`[A-Za-z_0-9]+`).ReplaceAllStringFunc(c, func(s string) string {
		if s == "and" || s == "or" || s == "not" || s == "true" || s == "false" {
			return s
		}
		return strconv.FormatBool(holds[s])
	})
	for before := ""; before != c; {
		before = c
		c = strings.NewReplacer("(true)", "true", "(false)", "false", "not true", "false", "not false", "true").Replace(c)
		if c == before {
			c = regexp.MustCompile(`\b(true|false) and (true|false)\b`).ReplaceAllStringFunc(c, func(s string) string { return strconv.FormatBool(s == "true and true") })
		}
		if c == before {
			c = regexp.MustCompile(`\b(true|false) or (true|false)\b`).ReplaceAllStringFunc(c, func(s string) string { return strconv.FormatBool(s != "false or false") })
		}
	}
	return c == "true"
}

// FuzzTranslate feeds texts that may be Sigma rules: what is translated is a rule.
func FuzzTranslate(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.txtar")
	for _, file := range files {
		a, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, x := range a.Files {
			if strings.HasSuffix(x.Name, ".yml") {
				f.Add(string(x.Data))
			}
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, r := range Translate("a.yml", []byte(text)) {
			if (r.TOML == "") == (len(r.Problems) == 0) {
				t.Fatalf("neither a rule nor a reason, or both: %+v", r)
			}
			if r.TOML == "" {
				continue
			}
			if _, err := rules.Load(fstest.MapFS{"a.toml": {Data: []byte(r.TOML)}}); err != nil && !strings.Contains(err.Error(), "this can never hold") {
				t.Fatalf("%v\n%s", err, r.TOML)
			}
		}
	})
}
