package outputs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"tidewatch/event"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	name = filepath.Join("testdata", name)
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

var start = time.Date(2026, 11, 20, 10, 17, 0, 123_456_789, time.UTC).UnixNano()

// scan is a finding with a value in every field.
func scan() event.Finding {
	local, peer := netip.MustParseAddr("10.20.1.23"), netip.MustParseAddr("10.20.40.4")
	f := event.Finding{ID: "gpHWvRh6rsQyjVgs6bg2", Investigate: "Find the process on 10.20.1.23 that opened these connections, and look at what it did with the targets that answered."}
	f.Observation = event.Observation{
		Detector: "scan", Episode: "73a1", Revision: 2, Open: true,
		Time: start + 4e9, Start: start, End: start + 63_447e6,
		Subject:     event.Subject{Type: "host", Value: "10.20.1.23"},
		Source:      event.Endpoint{Addr: local, Scope: event.ScopeLocal, Bytes: 5040, Packets: 94, Domain: "pc23.example"},
		Destination: event.Endpoint{Port: 445, HasPort: true},
		Proto:       event.ProtoTCP, Application: "smb", Direction: "internal", CommunityID: "1:LQU9qZlK+B5F3KDmev6m5PMibrg=", VLAN: 12, Query: "files.example",
		Sensors: []string{"zeek", "suricata"},
		Score:   0.994, Risk: 90,
		Reason: "10.20.1.23 tried port 445/tcp of 90 hosts inside in 63.4 seconds: 86 of 90 first contacts failed, 4 answered (10.20.40.4:445/tcp and others)",
		Evidence: []event.Evidence{
			{Feature: "scan.failure_rate", Observed: 0.96, Expected: 0.2, Weight: 1.6, Text: "86 of 90 first contacts failed"},
			{Feature: "scan.trw_log_ratio", Observed: 9.7, Weight: 9.7, Text: "so many first contacts without success are e^9.7 times as likely from a scanner as from a harmless host; 4.6 is enough"},
			{Feature: "scan.known_peers", Observed: 44, Unit: "hosts", Weight: -0.9, Text: "the host also has 44 peers that answer it"},
		},
		Baseline: event.Baseline{Since: start - 3600e9*10, Observations: 134, Text: "of a harmless host's first contacts 80 % succeed (Jung et al. 2004)"},
		Sample: []event.Sample{
			{UID: "CsVWPG7w2Dw9BVECab", Time: start, Duration: 0, Orig: netip.AddrPortFrom(local, 36052), Resp: netip.MustParseAddrPort("10.20.40.1:445"), State: "S0"},
			{UID: "CHc6ydp2U9M95UK3cd", Time: start + 52e9, Duration: 1_500e6, Orig: netip.AddrPortFrom(local, 43464), Resp: netip.AddrPortFrom(peer, 445), OrigBytes: 4530, RespBytes: 61_234_567, State: "SF"},
		},
		Related: []netip.Addr{local, peer}, Hosts: []string{"pc23.example", "srv4.example"},
		Features: []event.Feature{
			event.Text("kind", "horizontal"), event.Number("targets", 90), event.Number("failure_rate", 0.96), event.Number("rate_per_second", 1.4026),
			event.Bool("known_scanner", false), event.List("top_ports", []string{"445/tcp", "139/tcp"}), event.List("answered_targets", []string{"10.20.40.4:445/tcp", "10.20.40.55:445/tcp"}),
		},
	}
	f.Rule = &event.RuleInfo{
		ID: "scan-internal", Name: "Internal host scans the own network", Severity: event.SeverityHigh, Category: "discovery", Version: "1", Ruleset: "tidewatch",
		Description:    "A host inside looks for hosts or ports that answer. Intruders do so to find where to go next; inventory tools and monitoring do so too, and are known.",
		References:     []string{"https://attack.mitre.org/techniques/T1046/", "https://example.org/scans"},
		FalsePositives: []string{"Vulnerability scanners, inventory and monitoring: declare them in exceptions", "A host whose whole segment went down"},
		Investigate:    "Find the process on {{source.ip}}.", Tags: []string{"scan", "lab"},
		Attack: []event.Technique{
			{ID: "T1046", Name: "Network Service Discovery", Tactics: []event.Tactic{{ID: "TA0007", Name: "Discovery"}}},
			{ID: "T1595", Name: "Active Scanning", SubID: "T1595.001", SubName: "Scanning IP Blocks", Tactics: []event.Tactic{{ID: "TA0043", Name: "Reconnaissance"}}},
		},
	}
	return f
}

// bare is the least that a finding can be.
func bare() event.Finding {
	return event.Finding{Observation: event.Observation{Detector: "scan"}, Rule: &event.RuleInfo{Severity: event.SeverityLow}}
}

// bad are bytes that an attacker may send.
const bad = "a\"\\\x00\x1b[2J\r\n\u009b31m\u202emoc.elpmaxe\xff\xc3(\u2028\u3164e\u0301\u0301\u0301\u0301 日本語 \u007f</script>"

// hostile has bad in each text of a finding and of its rule, and numbers that make
// no sense.
func hostile() event.Finding {
	f := scan()
	spoil(reflect.ValueOf(&f).Elem())
	f.Source.Addr = netip.MustParseAddr("2001:db8:85a3:1234:5678:8a2e:370:7334")
	f.Destination = event.Endpoint{Domain: bad, Bytes: math.MaxUint64, Packets: 1 << 60}
	f.Evidence[0].Observed, f.Evidence[0].Expected, f.Evidence[0].Weight = math.NaN(), math.Inf(-1), math.Inf(1)
	f.Evidence[1].Observed, f.Evidence[1].Expected, f.Evidence[1].Weight = -1e300, 999_999_999_999_999, -1e300
	f.Sample = append(f.Sample, event.Sample{UID: bad, State: bad, OrigBytes: math.MaxUint64, Time: math.MinInt64, Duration: math.MinInt64})
	f.Features = append(f.Features, event.Text("kind", bad), event.List("answered_targets", []string{bad, bad}), event.Number("targets", 1e300))
	f.Start, f.End = math.MaxInt64, math.MinInt64
	return f
}

// spoil sets all texts within v to bad.
func spoil(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(bad)
	case reflect.Pointer:
		spoil(v.Elem())
	case reflect.Slice:
		for i := range v.Len() {
			spoil(v.Index(i))
		}
	case reflect.Struct:
		if v.Type().PkgPath() != reflect.TypeFor[event.Finding]().PkgPath() {
			return // an address: no text
		}
		for i := range v.NumField() {
			spoil(v.Field(i))
		}
	}
}

// cases are findings of all kinds in the order of the table.
func cases() []event.Finding {
	crit, low, v6, dns := scan(), scan(), scan(), scan()
	rule := *crit.Rule
	rule.Severity = event.SeverityCritical
	crit.Rule, crit.Start = &rule, start+3600e9
	weather := *crit.Rule
	weather.Severity, weather.Name = event.SeverityLow, "Scan from outside"
	low.Rule, low.Source, low.Features[0] = &weather, event.Endpoint{Addr: netip.MustParseAddr("198.51.100.77")}, event.Text("kind", "slow")
	low.Reason = "198.51.100.77 tried 25 ports of 10.20.40.4 in 8.9 hours: 24 of 24 first contacts failed"
	low.Destination.Addr = netip.MustParseAddr("10.20.40.4")
	v6.Source.Addr, v6.Start = netip.MustParseAddr("2001:db8:85a3:1234:5678:8a2e:370:7334"), start-60e9
	v6.Reason = v6.Source.Addr.String() + " tried port 22/tcp of 40 hosts inside in 9.0 seconds: 40 of 40 first contacts failed"
	dns.Source = event.Endpoint{}
	dns.Features = []event.Feature{event.Text("kind", "distributed"), event.Number("sources", 64)}
	dns.Destination = event.Endpoint{Addr: netip.MustParseAddr("10.20.40.9"), Domain: "a-very-long-name-of-a-server.and-its-domain.example.org"}
	dns.Reason = "64 sources tried 10.20.40.9 for the first time within 31.0 seconds, and none was answered; 0.4 would be usual"
	fs := []event.Finding{low, scan(), crit, dns, v6}
	Sort(fs)
	return fs
}

func TestSort(t *testing.T) {
	fs := cases()
	for i := 1; i < len(fs); i++ {
		a, b := &fs[i-1], &fs[i]
		if a.Rule.Severity < b.Rule.Severity || a.Rule.Severity == b.Rule.Severity && a.Start > b.Start {
			t.Errorf("%d stands before %d", i-1, i)
		}
	}
}

func TestTableGolden(t *testing.T) {
	f := func(name string, fs []event.Finding, o TableOptions) {
		t.Helper()
		var b bytes.Buffer
		if err := WriteTable(&b, fs, o); err != nil {
			t.Fatal(err)
		}
		golden(t, name, b.String())
	}
	berlin := time.FixedZone("CET", 3600)
	f("table-80.txt", cases(), TableOptions{Width: 80})
	f("table-120.txt", cases(), TableOptions{Width: 120})
	f("table-160.txt", cases(), TableOptions{Width: 160, Location: berlin})
	f("table-hostile.txt", append(cases(), hostile()), TableOptions{Width: 120})
	f("table-pipe.txt", append(cases(), hostile()), TableOptions{})
	f("table-color.txt", cases()[:3], TableOptions{Width: 140, Color: true})
	f("table-verbose.txt", cases()[:2], TableOptions{Width: 100, Verbose: true})
	f("table-none.txt", nil, TableOptions{Width: 100, Color: true})
}

func TestExplanationGolden(t *testing.T) {
	f := func(name string, x event.Finding, o TableOptions) {
		t.Helper()
		var b bytes.Buffer
		if err := WriteExplanation(&b, 3, &x, o); err != nil {
			t.Fatal(err)
		}
		golden(t, name, b.String())
	}
	f("explain-60.txt", scan(), TableOptions{Width: 60})
	f("explain-80.txt", scan(), TableOptions{Width: 80})
	f("explain-160.txt", scan(), TableOptions{Width: 160, Location: time.FixedZone("CET", 3600)})
	f("explain-pipe.txt", scan(), TableOptions{})
	f("explain-color.txt", scan(), TableOptions{Width: 100, Color: true})
	f("explain-pair.txt", finding(), TableOptions{Width: 120})
	f("explain-bare.txt", bare(), TableOptions{Width: 80})
	f("explain-hostile.txt", hostile(), TableOptions{Width: 80})
}

// TestTerminalIsSafe writes hostile findings at all widths: no line is too long, no
// byte acts on the terminal, and without Color there is no escape at all.
func TestTerminalIsSafe(t *testing.T) {
	x := hostile()
	fs := append(cases(), x)
	for width := 1; width < 220; width++ {
		var table, page bytes.Buffer
		if err := errors.Join(WriteTable(&table, fs, TableOptions{Width: width}), WriteExplanation(&page, 1, &x, TableOptions{Width: width})); err != nil {
			t.Fatal(err)
		}
		check := func(what, text string, room int) {
			if strings.Count(text, "\x1b") > 0 || !utf8.ValidString(text) {
				t.Fatalf("width %d: %s holds an escape or is not UTF-8", width, what)
			}
			for line := range strings.Lines(text) {
				line = strings.TrimSuffix(line, "\n")
				if line != Printable(line) {
					t.Fatalf("width %d: %s: %q", width, what, line)
				}
				if n := columns(line); n > room {
					t.Fatalf("width %d: %s: a line of %d columns: %s", width, what, n, line)
				}
			}
		}
		check("table", table.String(), max(width, 16)) // six columns of one character
		check("explanation", page.String(), max(width, leastWidth))
		if n := strings.Count(table.String(), "\n"); n != 1+2*len(fs) && (width < 100 || n != 1+len(fs)) {
			t.Fatalf("width %d: %d lines", width, n)
		}
	}
}

func TestWriteErrors(t *testing.T) {
	broken := writer(func([]byte) (int, error) { return 0, io.ErrClosedPipe })
	x := scan()
	for _, err := range []error{
		WriteTable(broken, cases(), TableOptions{}), WriteTable(broken, nil, TableOptions{}), WriteExplanation(broken, 1, &x, TableOptions{}),
	} {
		if !errors.Is(err, io.ErrClosedPipe) {
			t.Error(err)
		}
	}
}

func TestPrintable(t *testing.T) {
	f := func(s, want string) {
		t.Helper()
		if got := Printable(s); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
	f("", "")
	f("plain ~ text \\x", "plain ~ text \\x")
	f("\x1b[31mred\x07", `\x1b[31mred\x07`)
	f("a\r\n\tb\x7f", `a\x0d\x0a\x09b\x7f`)
	f("\u009b31m", `\u{9b}31m`)
	f("\xffé\xc3", `\xffé\xc3`)
	f("\u202eexe.txt\u2066\u200b\u00ad\ufeff", `\u{202e}exe.txt\u{2066}\u{200b}\u{ad}\u{feff}`)
	f("a\u2028b\u2029c\u00a0", `a\u{2028}b\u{2029}c\u{a0}`)
	f("\u3164\u2800\U000e0041x\ufe0f", `\u{3164}\u{2800}\u{e0041}x\u{fe0f}`)
	f("e\u0301\u0301\u0301\u0301!", "e\u0301\u0301"+`\u{301}\u{301}!`)
	f("\u0301x \u0301\x1b\u0301", `\u{301}x \u{301}\x1b\u{301}`)
	f("日本語 €", "日本語 €")
	f("\ue000", `\u{e000}`)
	if got := PrintableLines("a\nb\x1b\r\n"); got != "a\nb\\x1b\\x0d\n" {
		t.Errorf("%q", got)
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add("a\x1b\u202e\xff日e\u0301\u0301\u0301")
	f.Fuzz(func(t *testing.T, s string) {
		p := Printable(s)
		if !utf8.ValidString(p) || strings.ContainsAny(p, "\n\r\x1b\t\u202e\u009b") || Printable(p) != p {
			t.Errorf("%q: %q", s, p)
		}
		for room := 1; room < 12; room++ {
			if c := cut(p, room); columns(c) > room || !utf8.ValidString(c) {
				t.Errorf("cut(%q, %d) = %q", p, room, c)
			}
			for _, line := range wrap(p, room) {
				if columns(line) > max(room, 2) { // one wide character
					t.Errorf("wrap(%q, %d): %q", p, room, line)
				}
			}
			words := strings.Join(strings.Fields(p), "")
			if got := strings.Join(strings.Fields(strings.Join(wrap(p, room), "")), ""); got != words {
				t.Errorf("wrap(%q, %d) = %q", p, room, got)
			}
		}
	})
}

func TestColumns(t *testing.T) {
	f := func(s string, want int) {
		t.Helper()
		if got := columns(s); got != want {
			t.Errorf("%q: %d, want %d", s, got, want)
		}
	}
	f("abc", 3)
	f("日本", 4)
	f("e\u0301é", 2)
	f("…█░", 3)
	f("😀", 2)
	f("ｆ", 2)
}

func TestWrap(t *testing.T) {
	f := func(s string, width int, want ...string) {
		t.Helper()
		if d := cmp.Diff(want, wrap(s, width)); d != "" {
			t.Errorf("%q in %d (-want +got):\n%s", s, width, d)
		}
	}
	f("", 5)
	f("one two  three", 7, "one two", "three")
	f("abcdefgh ij", 5, "abcde", "fgh", "ij")
	f("日本語 x", 4, "日本", "語 x")
	f("日e\u0301日", 1, "日", "e\u0301", "日")
	// A long word takes time in proportion: this would not end otherwise.
	if n := len(wrap(strings.Repeat("é", 1<<18), 16)); n != 1<<14 {
		t.Errorf("a long word gives %d lines", n)
	}
}

func TestNumbers(t *testing.T) {
	f := func(v float64, plain, people, weight string) {
		t.Helper()
		if d := cmp.Diff([]string{plain, people, weight}, []string{decimal(v), grouped(v), signed(v)}); d != "" {
			t.Errorf("%v (-want +got):\n%s", v, d)
		}
	}
	f(0, "0", "0", "+0.0")
	f(math.Copysign(0, -1), "0", "0", "-0.0")
	f(0.25, "0.25", "0.25", "+0.2")
	f(0.00171, "0.0017", "0.0017", "+0.0")
	f(0.00001, "1e-05", "1e-05", "+0.0")
	f(999.999, "1000", "1,000", "+1000.0")
	f(-1234567.5, "-1234567.5", "-1,234,567.5", "-1.2e+06")
	f(1e300, "1e+300", "1e+300", "+1e+300")
	f(math.NaN(), "-", "-", "-")
	f(math.Inf(-1), "-", "-", "-Inf")
}

func TestSize(t *testing.T) {
	f := func(n uint64, want string) {
		t.Helper()
		if got := size(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
	f(0, "0 B")
	f(999, "999 B")
	f(1000, "1.0 kB")
	f(61_234_567, "61.2 MB")
	f(999_600_000, "1.0 GB")
	f(math.MaxUint64, "18.4 EB")
}

// writer is an io.Writer of a function.
type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }

func TestNDJSON(t *testing.T) {
	var b bytes.Buffer
	n := NewNDJSON(&b)
	n.now = func() time.Time { return time.Unix(1_800_000_000, 5e6) }
	if err := n.Write(context.Background(), nil); err != nil || b.Len() > 0 {
		t.Fatal(err, b.Len())
	}
	calls := 0
	n.w = writer(func(p []byte) (int, error) { calls++; return b.Write(p) })
	var many []event.Finding
	for range 100 {
		many = append(many, cases()...)
	}
	if err := n.Write(context.Background(), many); err != nil {
		t.Fatal(err)
	}
	lines := 0
	for line := range strings.Lines(b.String()) {
		lines++
		var doc struct {
			Event struct{ Ingested string }
		}
		if err := json.Unmarshal([]byte(line), &doc); err != nil || doc.Event.Ingested != "2027-01-15T08:00:00.005000Z" {
			t.Fatalf("%v: %s", err, line)
		}
	}
	if lines != len(many) || calls < 2 || calls > lines/4 {
		t.Errorf("%d lines in %d calls", lines, calls)
	}
}

// TestNDJSONAfterATornLine breaks a write in the middle of a document: the next one
// stands on a line of its own.
func TestNDJSONAfterATornLine(t *testing.T) {
	var b bytes.Buffer
	short := true
	n := NewNDJSON(writer(func(p []byte) (int, error) {
		if short {
			short = false
			n, _ := b.Write(p[:100])
			return n, nil
		}
		return b.Write(p)
	}))
	one := []event.Finding{scan()}
	if err := n.Write(context.Background(), one); !errors.Is(err, io.ErrShortWrite) {
		t.Fatal(err)
	}
	if err := n.Write(context.Background(), one); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.String(), "\n")
	if len(lines) != 3 || len(lines[0]) != 100 || !json.Valid([]byte(lines[1])) || lines[2] != "" {
		t.Errorf("%q", lines)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := n.Write(ctx, one); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
