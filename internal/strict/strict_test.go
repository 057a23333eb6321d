package strict

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"
)

func TestDuration(t *testing.T) {
	f := func(s string, want time.Duration, ok bool) {
		t.Helper()
		var d Duration
		if err := d.UnmarshalText([]byte(s)); (err == nil) != ok || time.Duration(d) != want {
			t.Errorf("%q: %v, %v", s, time.Duration(d), err)
		}
	}
	f("30s", 30*time.Second, true)
	f("5m", 5*time.Minute, true)
	f("6h", 6*time.Hour, true)
	f("7d", 7*24*time.Hour, true)
	f("2w", 14*24*time.Hour, true)
	f("1h30m", 90*time.Minute, true)
	f("1.5h", 90*time.Minute, true)
	f("0s", 0, true)
	f("520w", 520*7*24*time.Hour, true)
	for _, s := range []string{"", "30", "s", "1.2.3s", "5 m", "-5m", "1y", "9999w", "1ms", "é", "521w1w", "1e3s", "NaNs", "99999999999999999999999s"} {
		f(s, 0, false)
	}
}

func TestNearest(t *testing.T) {
	f := func(s string, names []string, want string) {
		t.Helper()
		if got := Nearest(s, names); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
	f("severty", []string{"severity", "name"}, `; did you mean "severity"?`)
	f("Name", []string{"severity", "name"}, `; did you mean "name"?`)
	f("nmae", []string{"severity", "name"}, `; did you mean "name"?`)
	f("targets", []string{"scan.targets", "scan.ports"}, `; did you mean "scan.targets"?`)
	f("elephant", []string{"severity", "name"}, "")
	f("by", []string{"for"}, "")
}

// FuzzLayout reads texts that may be TOML: nothing may panic or run away.
func FuzzLayout(f *testing.F) {
	f.Add("[rule.a]\nname = \"\"\"\nx\\\n  y\"\"\"\"\nwhen = '''\n\r\n[''']\n")
	f.Add("[[rule]]\na.b.'c' = [1, [2, {x = 3}], # c\n ]")
	f.Fuzz(func(t *testing.T, text string) { NewDocument("a.toml", text) })
}

// part is a table with one value of each kind.
type part struct {
	On     bool              `toml:"on"`
	Count  int               `toml:"count"`
	Share  float64           `toml:"share"`
	Span   time.Duration     `toml:"span"`
	Size   Size              `toml:"size"`
	Names  []string          `toml:"names"`
	Nets   []netip.Prefix    `toml:"nets"`
	Key    Secret            `toml:"key"`
	Labels map[string]string `toml:"labels"`
	Below  map[string]named  `toml:"below"`
}

type named struct {
	Rate int `toml:"rate"`
}

func (n *named) SetDefaults() { n.Rate = 7 }

func (n *named) Check(bad func(key, what, allowed string)) {
	if n.Rate < 1 {
		bad("rate", "rate is too small", "1 or more")
	}
}

func TestDecode(t *testing.T) {
	t.Setenv("TIDEWATCH_TEST_KEY", "hunter2\n")
	got := part{Count: 3, Names: []string{"default"}}
	bad := Decode(NewDocument("a.toml", `
on = true
share = 1
span = "1h30m"
size = "64MB"
names = []
nets = ["10.0.0.0/8"]
key = { env = "TIDEWATCH_TEST_KEY" }
labels = { a = "b" }
[below.one]
[below.two]
rate = 9
`), &got)
	if bad != nil {
		t.Fatal(Join(bad))
	}
	want := part{On: true, Count: 3, Share: 1, Span: 90 * time.Minute, Size: 64 << 20, Names: []string{}, Nets: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		Key: NewSecret("hunter2"), Labels: map[string]string{"a": "b"}, Below: map[string]named{"one": {7}, "two": {9}}}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(Secret{}), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestDecodeProblems(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		var v part
		all := Decode(NewDocument("a.toml", text), &v)
		if len(all) != 1 {
			t.Errorf("%s: %d problems: %v", text, len(all), Join(all))
			return
		}
		if got := fmt.Sprintf("%d:%d: %s | %s", all[0].Line, all[0].Column, all[0].What, all[0].Allowed); got != want {
			t.Errorf("%s\ngot  %s\nwant %s", text, got, want)
		}
	}
	f("\ncoutn = 1", `2:1: unknown key "coutn"; did you mean "count"? | below, count, key, labels, names, nets, on, share, size, span`)
	f("COUNT = 1", `1:1: unknown key "COUNT"; did you mean "count"? | below, count, key, labels, names, nets, on, share, size, span`)
	f(`on = "yes"`, `1:1: on is a text | true, false (without quotes)`)
	f("count = 1.5", "1:1: count is a number | a whole number")
	f("share = nan", "1:1: share = NaN | a number that is finite")
	f(`span = 5`, "1:1: span is a whole number | "+DurationForm)
	f(`span = "5"`, `1:1: duration "5" lacks a unit | `+DurationForm)
	f(`size = "5 pounds"`, `1:1: size "5 pounds" | `+SizeForm)
	f(`names = ["a", 2]`, "1:15: element 2 of names is a whole number | a text in quotes")
	f(`nets = "10.0.0.0/8"`, `1:1: nets is a text | a list of texts, such as ["a", "b"]`)
	f("[below.one]\nrate = 0", "2:1: rate is too small | 1 or more")
	f("[below.one]\nrate = \"x\"", "2:1: rate is a text | a whole number")
	f("[below.\"a b\"]", `1:2: "a b" is no name | `+NameForm)
	f("below = 1", "1:1: below is a whole number | a table")
	f(`key = { env = "TIDEWATCH_TEST_UNSET" }`, `1:1: the environment has no "TIDEWATCH_TEST_UNSET" | the name of a variable that is set`)
	f(`key = { environment = "X" }`, "1:1: a secret that is neither { env } nor { file } | "+SecretForm)
	f("key = 5", "1:1: a secret that is a whole number | "+SecretForm)
}

func TestSize(t *testing.T) {
	f := func(text string, want Size, printed string) {
		t.Helper()
		var s Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want || s.String() != printed {
			t.Errorf("%q: %d, %q, %v", text, s, s, err)
		}
	}
	f("0", 0, "0B")
	f("64MB", 64<<20, "64MB")
	f("1.5 GB", 3<<29, "1536MB")
	f("64MiB", 64<<20, "64MB")
	f("100B", 100, "100B")
	for _, text := range []string{"", "64", "MB", "-1MB", "1e3MB", "99999999TB", "1MBB", "NaNMB"} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is read as %d", text, s)
		}
	}
}

// A secret shows in no form.
func TestSecretIsNeverPrinted(t *testing.T) {
	type outer struct {
		S Secret  `toml:"s" json:"s"`
		P *Secret `toml:"p" json:"p"`
	}
	s := NewSecret("hunter2")
	v := outer{s, &s}
	var log, tomls bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("m", "s", s, "p", &s, "v", v)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "s", s, "p", &s, "v", v)
	js, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := toml.NewEncoder(&tomls).Encode(v); err != nil {
		t.Fatal(err)
	}
	all := []string{log.String(), tomls.String(), string(js), s.String(), fmt.Sprint(errors.New("x"), v)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		all = append(all, fmt.Sprintf(verb, s), fmt.Sprintf(verb, &s), fmt.Sprintf(verb, v))
	}
	for _, got := range all {
		if strings.Contains(got, "hunter2") || strings.Contains(got, "68756e74657232") {
			t.Errorf("printed: %s", got)
		}
	}
	if !strings.Contains(string(js), `"s":"\u003csecret\u003e"`) || s.Reveal() != "hunter2" {
		t.Errorf("%s, %s", js, s.Reveal())
	}
}

func TestSecretFile(t *testing.T) {
	f := func(mode os.FileMode, content, want, problem string) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		var s Secret
		err := s.UnmarshalTOML(map[string]any{"file": path})
		if s.Reveal() != want || (err == nil) != (problem == "") || err != nil && !strings.Contains(err.Error(), problem) {
			t.Errorf("%v: %q, %v", mode, s.Reveal(), err)
		}
	}
	f(0o600, "hunter2\n", "hunter2", "")
	f(0o640, "hunter2\r\n", "hunter2", "")
	f(0o400, " two\nlines\n\n", " two\nlines\n", "")
	f(0o644, "hunter2\n", "", "others may read")
	f(0o660, "hunter2\n", "", "others may read or change")
	f(0o600, "\n", "", "is empty")
	f(0o600, strings.Repeat("x", maxSecret+1), "", "has 65537 bytes")
	var s Secret
	if err := s.UnmarshalTOML(map[string]any{"file": t.TempDir()}); err == nil || !strings.Contains(err.Error(), "is no file") {
		t.Error(err)
	}
}

// Messages quote lines; what is secret in them they do not.
func TestExcerptsHideSecrets(t *testing.T) {
	f := func(text string) {
		t.Helper()
		var v part
		err := Join(Decode(NewDocument("a.toml", text), &v))
		if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "<secret>") {
			t.Errorf("%v", err)
		}
	}
	f(`password = "hunter2`)
	f(`password = "hunter2"`)
	f(`api_key='hunter2'`)
	f(`x = { password = "hunter2" }`)
}

// TestLayout compares the places of keys with what the eye sees: each is marked in
// the text by its own name.
func TestLayout(t *testing.T) {
	l := newLayout("# [no]\n[a.b] # c\nk1 = 'v'\n\"k 2\" = { x1 = 1, y1 = [ \"a\", 'b' ] } # {\nk3.x2 = \"\"\"\nk4 = 1 \\\"\"\" \"\"\"\nk5 = [ # [\n  { z1 = 1 },\n  2,\n]\n[ c . \"d\" ]\nk6 = 1\nä = 1\n")
	f := func(path string, line, column int) {
		t.Helper()
		p, exact, _ := l.find(strings.Split(path, "/"))
		if gotLine, gotColumn := l.position(p.key); !exact || gotLine != line || gotColumn != column {
			t.Errorf("%s: %v, line %d, column %d; want %d, %d", path, exact, gotLine, gotColumn, line, column)
		}
	}
	f("a", 2, 2)
	f("a/b", 2, 2)
	f("a/b/k1", 3, 1)
	f("a/b/k 2", 4, 1)
	f("a/b/k 2/x1", 4, 11)
	f("a/b/k 2/y1", 4, 19)
	f("a/b/k 2/y1/1", 4, 31)
	f("a/b/k3", 5, 1)
	f("a/b/k3/x2", 5, 1)
	f("a/b/k5", 7, 1)
	f("a/b/k5/0/z1", 8, 5)
	f("a/b/k5/1", 9, 3)
	f("c/d/k6", 12, 1)
	f("c/d/ä", 13, 1)
	if _, _, ok := l.find([]string{"k4"}); ok {
		t.Error("found a key within a string")
	}
}
