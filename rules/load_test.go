package rules

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"tidewatch/behavior"
	"tidewatch/event"
	"tidewatch/internal/strict"
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

// TestBroken loads files that are wrong in one way each, one by one.
func TestBroken(t *testing.T) {
	const name = "testdata/broken.txtar"
	a, err := txtar.ParseFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(a.Files); i += 2 {
		broken, want := a.Files[i], &a.Files[i+1]
		if what, _ := strings.CutSuffix(broken.Name, ".toml"); want.Name != what+".want" {
			t.Fatalf("%s is followed by %s", broken.Name, want.Name)
		}
		_, err := Load(Builtin(), files(broken.Name, string(broken.Data)))
		if err == nil {
			t.Errorf("%s: no error", broken.Name)
			continue
		}
		got := err.Error() + "\n"
		if d := cmp.Diff(string(want.Data), got); d != "" && !*update {
			t.Errorf("%s (-want +got; rewrite with -update):\n%s", broken.Name, d)
		}
		want.Data = []byte(got)
	}
	if *update {
		if err := os.WriteFile(name, txtar.Format(a), 0o644); err != nil {
			t.Fatal(err)
		}
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

// TestLayers loads two folders, and judges what stands in the end.
func TestLayers(t *testing.T) {
	base := "[rule.a]\ndescription = \"base\"\nsuppress = { by = [\"source.ip\"], for = \"1h\" }\n" + sound
	f := func(name, over string, wantName, wantDescription, wantSeverity string, wantFor time.Duration) {
		t.Helper()
		set, err := Load(files("a.toml", base), files("b.toml", over))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		got := [4]any{"", "", "", time.Duration(0)}
		for _, r := range set.rules {
			got = [4]any{r.info.Name, r.info.Description, r.info.Severity.String(), r.suppress}
		}
		if want := [4]any{wantName, wantDescription, wantSeverity, wantFor}; got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
	f("nothing", "", "x", "base", "low", time.Hour)
	f("disabled", "[rule.a]\nenabled = false", "", "", "", 0)
	f("amended", "[rule.a]\nseverity = \"high\"", "x", "base", "high", time.Hour)
	f("amended below", "[rule.a.suppress]\nfor = \"2w\"", "x", "base", "low", 14*24*time.Hour)
	f("replaced", "[rule.a]\n"+sound, "x", "", "low", 0)

	set, err := Load(files("a.toml", base), files("b.toml", "[rule.a]\nenabled = false"), files("c.toml", "[rule.a]\nenabled = true\n"))
	if err != nil || len(set.rules) != 1 {
		t.Errorf("enabled again: %v, %v", set, err)
	}
	if _, err := Load(files("a.toml", base, "b.toml", base)); err == nil {
		t.Error("one id twice in one folder: no error")
	}
	if set, err := Load(); err != nil || len(set.rules) != 0 {
		t.Errorf("no folder: %v, %v", set, err)
	}
	if _, err := Load(Dir(filepath.Join(t.TempDir(), "missing"))); err == nil {
		t.Error("a folder that is not there: no error")
	}
}

// TestExceptions declares a scanner in a zone beside the shipped rules.
func TestExceptions(t *testing.T) {
	set, err := Load(Builtin(), files(
		"local/zones.toml", "[zone]\nscanners = [\"10.9.0.0/16\", \"2001:db8::/32\"]",
		"rules.toml", "[rule.scan-internal.exceptions]\nscanner = 'source.ip in zone(\"scanners\")'\nold = 'source.ip == \"10.0.0.99\"'",
		"notes.txt", "not a rule",
	))
	if err != nil {
		t.Fatal(err)
	}
	f := func(ip string, want int) {
		t.Helper()
		o := &event.Observation{Detector: "scan", Direction: "internal", Features: []event.Feature{event.Text("kind", "horizontal"), event.Text("shape", "horizontal")}}
		o.Source.Addr = netip.MustParseAddr(ip)
		fs := set.Judge(o, nil)
		if len(fs) != want {
			t.Errorf("%s: %d findings, want %d", ip, len(fs), want)
		}
		for _, found := range fs {
			if found.Rule.Ruleset != "local" {
				t.Errorf("an amended rule is of ruleset %q", found.Rule.Ruleset)
			}
		}
	}
	f("10.0.0.1", 1)
	f("10.9.1.1", 0)
	f("10.0.0.99", 0)
	f("2001:db8::7", 0)
	f("2001:db9::7", 1)
}

func TestSettings(t *testing.T) {
	set, err := Load(files("a.toml", "[rule.a]\n"+sound+`
[rule.a.scan]
theta0 = 0.9
min_hosts = 9
idle = "2h"
exclude = ["10.1.0.0/16"]
[rule.b]
`+sound+`
[rule.b.scan]
min_hosts = 9
failure_share = 0.5
exclude = ["10.2.3.4"]
`))
	if err != nil {
		t.Fatal(err)
	}
	want := behavior.DefaultConfig()
	want.Off = map[string]bool{"beacon": true, "dns_tunnel": true, "exfiltration": true, "long_connection": true} // no rule asks them
	want.Scan.Theta0, want.Scan.MinHosts, want.Scan.Idle, want.Scan.FailureShare = 0.9, 9, 2*time.Hour, 0.5
	want.Scan.Exclude = []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("10.2.3.4/32")}
	if d := cmp.Diff(want, set.Config(), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// TestSettingsAreTheDetectors compares the keys of the settings with the fields of
// each detector's own, and their ranges with its defaults.
func TestSettingsAreTheDetectors(t *testing.T) {
	plain := func(s string) string { return strings.ToLower(strings.ReplaceAll(s, "_", "")) }
	f := func(detector string, config any, defaults string) {
		t.Helper()
		fields, keys := map[string]bool{}, map[string]bool{}
		for _, f := range reflect.VisibleFields(reflect.TypeOf(config)) {
			if f.Name != "Without" { // the evaluation's alone
				fields[plain(f.Name)] = true
			}
		}
		delete(fields, "without") // is for the evaluation
		for _, s := range settings[detector] {
			keys[plain(s.key)] = true
			if s.key != "exclude" && !strings.Contains(defaults, s.key+" = ") {
				t.Errorf("%s: the default of %s is not tried", detector, s.key)
			}
		}
		if d := cmp.Diff(fields, keys); d != "" {
			t.Errorf("%s: its Config has (-), rules set (+):\n%s", detector, d)
		}
		rule := "[rule.a]\n" + strings.NewReplacer(`"scan"`, `"`+detector+`"`, "scan.targets >= 20", "event.score > 0").Replace(sound) + "[rule.a." + detector + "]\n" + defaults
		if _, err := Load(files("a.toml", rule)); err != nil {
			t.Errorf("the defaults are out of range: %v", err)
		}
	}
	c := behavior.DefaultConfig().Scan
	f("scan", c, fmt.Sprintf("theta0 = %v\ntheta1 = %v\nalpha = %v\nbeta = %v\nfailure_share = %v\ninside_share = %v\nmin_hosts = %d\nports_5m = %d\nports_1h = %d\nports_24h = %d\nblock_contacts = %d\nmin_sources = %d\nmax_sources = %d\nmax_targets = %d\nidle = %q\n",
		c.Theta0, c.Theta1, c.Alpha, c.Beta, c.FailureShare, c.InsideShare, c.MinHosts, c.Ports5m, c.Ports1h, c.Ports24h, c.BlockContacts, c.MinSources, c.MaxSources, c.MaxTargets, brief(c.Idle)))
	b := behavior.DefaultConfig().Beacon
	f("beacon", b, fmt.Sprintf("min_contacts = %d\nmin_timing = %v\nmax_pairs = %d\nmax_tracks = %d\n", b.MinContacts, b.MinTiming, b.MaxPairs, b.MaxTracks))
	x := behavior.DefaultConfig().Exfil
	f("exfiltration", x, fmt.Sprintf("min_bytes = %d\nplausible_bytes = %d\necho_bytes = %d\nscore = %v\nidle = %q\nmax_hosts = %d\n",
		x.MinBytes, x.PlausibleBytes, x.EchoBytes, x.Score, brief(x.Idle), x.MaxHosts))
	l := behavior.DefaultConfig().Long
	f("long_connection", l, fmt.Sprintf("min_duration = %q\nmin_score = %v\nmax_destinations = %d\n", brief(l.MinDuration), l.MinScore, l.MaxDestinations))
	n := behavior.DefaultConfig().DNSTunnel
	f("dns_tunnel", n, fmt.Sprintf("bytes_1h = %d\nbytes_24h = %d\nmin_names = %d\nmin_score = %v\nidle = %q\nmax_hosts = %d\nmax_domains = %d\nmax_candidates = %d\nexclude_domains = [\"a.example\"]\n",
		n.Bytes1h, n.Bytes24h, n.MinNames, n.MinScore, brief(n.Idle), n.MaxHosts, n.MaxDomains, n.MaxCandidates))
}

func TestAttackTable(t *testing.T) {
	for id, a := range techniques {
		if a.ID == "" || a.Name == "" || len(a.Tactics) == 0 || (a.SubID != "") != strings.Contains(id, ".") {
			t.Errorf("%s: %+v", id, a)
		}
		if a.SubID != "" && techniques[a.ID].Name != a.Name {
			t.Errorf("%s: its parent is called %q here and %q there", id, a.Name, techniques[a.ID].Name)
		}
	}
	a := techniques["T1595.001"]
	if a.ID != "T1595" || a.Name != "Active Scanning" || a.SubName != "Scanning IP Blocks" || a.Tactics[0].Name != "Reconnaissance" {
		t.Errorf("%+v", a)
	}
}

// FuzzLoad feeds texts that may be TOML: nothing may panic or run away, and each
// problem has a place in the text.
func FuzzLoad(f *testing.F) {
	seeds, _ := filepath.Glob("testdata/errors/*/*.toml")
	seeds = append(seeds, "builtin/scan.toml")
	for _, name := range seeds {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	f.Add("[rule.a]\nname = \"\"\"\nx\\\n  y\"\"\"\"\nwhen = '''\n\r\n[''']\n")
	f.Add("[[rule]]\na.b.'c' = [1, [2, {x = 3}], # c\n ]")
	f.Fuzz(func(t *testing.T, text string) {
		_, err := Load(files("a.toml", text))
		if err == nil {
			return
		}
		lines := strings.Split(text, "\n")
		for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
			p := e.(*strict.Problem)
			if p.Line < 0 || p.Line > len(lines) || p.Column < 0 || p.What == "" {
				t.Errorf("%+v", p)
			}
			_ = p.Error()
		}
	})
}

// TestExcludedDomains reads domains, which come together, and refuses what is none.
func TestExcludedDomains(t *testing.T) {
	rule := func(id, domains string) string {
		return "[rule." + id + "]\n" + strings.NewReplacer(`"scan"`, `"dns_tunnel"`, "scan.targets >= 20", "event.score > 0").Replace(sound) + "[rule." + id + ".dns_tunnel]\nexclude_domains = [" + domains + "]\n"
	}
	set, err := Load(files("a.toml", rule("a", `"Telemetry.Example"`)+rule("b", `"b.example", "_x.c.example"`)))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"telemetry.example", "b.example", "_x.c.example"}, set.Config().DNSTunnel.ExcludeDomains); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	for _, s := range []string{"", ".", "a..b", "a b.example", "*.example", "a.example.", strings.Repeat("a", 64) + ".example", strings.Repeat("a.", 130) + "b", "münchen.example"} {
		_, err := Load(files("a.toml", rule("a", `"`+s+`"`)))
		if err == nil || !strings.Contains(err.Error(), "is no domain") {
			t.Errorf("%q: %v", s, err)
		}
	}
}
