package rules

import (
	"math"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tidewatch/event"
	"tidewatch/rules/condition"
)

func TestConditions(t *testing.T) {
	o := &event.Observation{
		Detector: "scan", Direction: "internal", Proto: event.ProtoTCP, Score: 0.97, Risk: 80, VLAN: 7, Application: "smb",
		Source:      event.Endpoint{Addr: netip.MustParseAddr("2001:db8::5"), Scope: event.ScopeLocal},
		Destination: event.Endpoint{Addr: netip.MustParseAddr("10.1.2.3"), Port: 445, HasPort: true, Domain: "files.example"},
		Features: []event.Feature{
			event.Text("kind", "horizontal"), event.Number("targets", 254), event.Number("failure_rate", 0.99),
			event.List("top_ports", []string{"445/tcp", "139/tcp"}), event.Bool("known_scanner", true),
			event.Text("ports", "of another type than declared"), event.Number("undeclared", 1),
		},
	}
	z := condition.Zones{"v6": {netip.MustParsePrefix("2001:db8::/32")}, "none": nil}
	f := func(source string, want bool) {
		t.Helper()
		c, faults := condition.Compile(source, tables["scan"], z)
		if len(faults) > 0 {
			t.Errorf("%s: %v", source, faults)
			return
		}
		if got := c.Matches(o); got != want {
			t.Errorf("%s: %v", source, got)
		}
		joint := true
		for _, term := range c.Terms() {
			joint = joint && term.Holds(o)
		}
		if joint != want {
			t.Errorf("%s: its terms say %v", source, joint)
		}
	}
	f(`true`, true)
	f(`scan.targets >= 254`, true)
	f(`scan.targets > 254.0`, false)
	f(`scan.targets in [253, 254]`, true)
	f(`scan.targets in 200..300`, true)
	f(`destination.port in [445, 139]`, true)
	f(`destination.port not in 1..1024`, false)
	f(`source.port == 0`, true) // unknown
	f(`scan.ports == 0`, true)  // not a number, so missing
	f(`scan.kind == "horizontal" and network.direction == "internal"`, true)
	f(`scan.kind in ["slow", "vertical"]`, false)
	f(`not (scan.kind == "slow") && scan.failure_rate > 0.5`, true)
	f(`scan.known_scanner`, true)
	f(`!source.local`, false)
	f(`"445/tcp" in scan.top_ports`, true)
	f(`any(scan.top_ports, # startsWith "139/")`, true)
	f(`all(scan.top_ports, # endsWith "/udp")`, false)
	f(`len(scan.answered_targets) == 0`, true)
	f(`none(scan.answered_targets, # contains "x")`, true)
	f(`destination.domain matches "^files\\."`, true)
	f(`destination.domain contains "le"`, true)
	f(`dns.question.name == ""`, true)
	f(`network.vlan.id == 7 and network.transport == "tcp" and network.protocol == "smb"`, true)
	f(`event.score > 0.9 and event.risk_score == 80`, true)
	f(`destination.ip in cidr("10.0.0.0/8")`, true)
	f(`destination.ip not in cidr("10.0.0.0/8", "192.0.2.1")`, false)
	f(`destination.ip in cidr("10.1.2.3")`, true)
	f(`destination.ip in cidr("10.1.2.99/24")`, true)
	f(`source.ip in zone("v6")`, true)
	f(`source.ip in zone("none")`, false)
	f(`source.ip == "2001:DB8:0:0::5"`, true) // whatever the form
	f(`source.ip in ["2001:0db8::0005"]`, true)
	f(`destination.ip == "::ffff:10.1.2.3"`, true)
	f(`"2001:db8::6" != source.ip`, true)
	f(`source["ip"] == "2001:db8::5"`, true)
	f(`scan.targets / scan.ports > 5`, true) // infinite
	f(`scan.ports / 0 > 5`, false)           // not a number
	f(`100 < scan.targets < 300`, true)
	f(`scan.duration_seconds < "6h"`, true)
	f(`scan.duration_seconds + "1m" >= "60s"`, true)
	f(`-scan.targets < -253`, true)

	o.Source.Addr = netip.Addr{}
	f(`source.ip in cidr("0.0.0.0/0", "::/0")`, false)
	f(`source.ip == ""`, true)
}

func TestZeroConditionMatchesNothing(t *testing.T) {
	if (&condition.Condition[event.Observation]{}).Matches(nil) {
		t.Error("it does")
	}
}

// FuzzCondition compiles any text: what compiles cannot fail on any observation.
func FuzzCondition(f *testing.F) {
	for _, s := range []string{
		`scan.targets >= 20 and not (source.ip in cidr("10.0.0.0/8"))`, `any(scan.top_ports, # == "x")`, `scan.kind matches "a+"`,
		`1..3 == [1]`, `scan.top_ports[9]`, `scan.targets % 0 == 1`, `{"a": 1}.b`, `let x = 5; x`, `nil ?? true`, `source?.ip`, `"a" * 3`,
		`len(scan.kind) ** 99 > 1`, `none(scan.top_ports, len(#) > 3)`, `scan.targets in 1..100`, `true ? 1 : "x"`, `if true {1} else {2}`,
		`scan | any(# > 1)`, `-scan.targets < +5`, `not not scan.known_scanner`, `"x" in source`, `scan.targets in scan.top_ports`, `all(scan.top_ports, true)`,
	} {
		f.Add(s)
	}
	full := &event.Observation{Detector: "scan", Source: event.Endpoint{Addr: netip.MustParseAddr("10.0.0.1")}, Score: math.NaN(), Risk: math.Inf(1), Query: "\xff\x00"}
	for key, field := range detectors["scan"] {
		switch field.kind {
		case number:
			full.Features = append(full.Features, event.Number(key, -1e300))
		case list:
			full.Features = append(full.Features, event.List(key, []string{"", "\xff", "445/tcp"}))
		case truth:
			full.Features = append(full.Features, event.Bool(key, true))
		case text, address:
			full.Features = append(full.Features, event.Text(key, "\u202e"))
		}
	}
	z := condition.Zones{"z": {netip.MustParsePrefix("10.0.0.0/8")}}
	f.Fuzz(func(t *testing.T, source string) {
		c, faults := condition.Compile(source, tables["scan"], z)
		for _, fault := range faults {
			if fault.Line < 1 || fault.Column < 0 || fault.What == "" {
				t.Errorf("%+v", fault)
			}
		}
		if len(faults) > 0 {
			return
		}
		for _, o := range []*event.Observation{full, {Detector: "scan"}} {
			joint := true
			for _, term := range c.Terms() {
				joint = joint && term.Holds(o)
			}
			if joint != c.Matches(o) {
				t.Errorf("%s: its terms say %v", source, joint)
			}
		}
	})
}

func TestJudge(t *testing.T) {
	set, err := Load(files("a.toml", `
[rule.b]
name = "b"
severity = "medium"
detector = "scan"
when = 'scan.targets > 3'
investigate = "{{source.ip}} {{ scan.targets }} {{scan.top_ports}} {{destination.port}} {{dns.question.name}} {{scan.known_scanner}} {{not a field"
[rule.a]
name = "a"
severity = "critical"
detector = "scan"
when = 'true'
`))
	if err != nil {
		t.Fatal(err)
	}
	o := &event.Observation{
		Detector: "scan", Episode: "e", Revision: 3, Risk: 90,
		Source:   event.Endpoint{Addr: netip.MustParseAddr("10.0.0.1")},
		Query:    "{{source.ip}}\x1b",
		Features: []event.Feature{event.Number("targets", 254), event.List("top_ports", []string{"1/tcp", "2/udp"})},
	}
	before := append([]event.Finding(nil), event.Finding{ID: "kept"})
	fs := set.Judge(o, before)
	if len(fs) != 3 || fs[0].ID != "kept" || fs[1].Rule.ID != "a" || fs[2].Rule.ID != "b" {
		t.Fatalf("%+v", fs)
	}
	if d := cmp.Diff("10.0.0.1 254 1/tcp, 2/udp (unknown) {{source.ip}}\x1b false {{not a field", fs[2].Investigate); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if fs[1].Risk != 90 || fs[2].Risk != 73 || o.Risk != 90 {
		t.Errorf("risks %g, %g; the observation's is %g", fs[1].Risk, fs[2].Risk, o.Risk)
	}
	ids := map[string]bool{}
	for _, change := range []func(*event.Observation){
		func(*event.Observation) {}, func(o *event.Observation) { o.Revision++ }, func(o *event.Observation) { o.Episode += "x" },
	} {
		next := *o
		change(&next)
		for range 2 {
			for _, f := range set.Judge(&next, nil) {
				ids[f.ID] = true
				for _, c := range f.ID {
					if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '_' && c != '-' {
						t.Errorf("id %q", f.ID)
					}
				}
			}
		}
	}
	if len(ids) != 6 {
		t.Errorf("%d ids, want 6: two rules, three reports", len(ids))
	}
	if fs := set.Judge(&event.Observation{Detector: "beacon"}, nil); fs != nil {
		t.Error("judged another detector")
	}
}

func TestRisk(t *testing.T) {
	f := func(s event.Severity, observed, want float64) {
		t.Helper()
		if got := risk(s, observed); got != want {
			t.Errorf("%s, %g: %g, want %g", s, observed, got, want)
		}
	}
	f(event.SeverityLow, 30, 30)
	f(event.SeverityLow, 99, 47)
	f(event.SeverityMedium, 0, 21)
	f(event.SeverityMedium, 73, 73)
	f(event.SeverityHigh, 95, 95)
	f(event.SeverityHigh, 10, 47)
	f(event.SeverityCritical, 10, 73)
	f(event.SeverityCritical, 1000, 100)
	f(event.SeverityHigh, math.NaN(), 47)
	f(event.SeverityHigh, math.Inf(1), 99)
}
