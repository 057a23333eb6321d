package rules

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"tidewatch/event"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// observed is an observation as scenarios write it.
type observed struct {
	Proto       string
	Score, Risk float64
	Network     struct{ Direction, Protocol string }
	Source      endpoint
	Destination endpoint
	DNS         struct{ Question struct{ Name string } }
	Features    map[string]any
}

type endpoint struct {
	IP     netip.Addr
	Port   uint16
	Domain string
	Local  bool
}

func (e endpoint) event() event.Endpoint {
	x := event.Endpoint{Addr: e.IP, Port: e.Port, HasPort: e.Port != 0, Domain: e.Domain, Scope: event.ScopeExternal}
	if e.Local {
		x.Scope = event.ScopeLocal
	}
	return x
}

// observation reads an observation of a detector from TOML.
func observation(t *testing.T, detector, text string) *event.Observation {
	t.Helper()
	var in observed
	md, err := toml.Decode(text, &in)
	if err != nil {
		t.Fatal(err)
	}
	if u := md.Undecoded(); len(u) > 0 {
		t.Fatalf("unknown keys %v", u)
	}
	o := &event.Observation{
		Detector: detector, Episode: "e1", Score: in.Score, Risk: in.Risk,
		Direction: in.Network.Direction, Application: in.Network.Protocol, Query: in.DNS.Question.Name,
		Source: in.Source.event(), Destination: in.Destination.event(),
	}
	for _, p := range []event.Proto{event.ProtoTCP, event.ProtoUDP, event.ProtoICMP} {
		if p.String() == in.Proto {
			o.Proto = p
		}
	}
	for k, v := range in.Features {
		if _, ok := detectors[detector][k]; !ok {
			t.Fatalf("%s has no feature %s", detector, k)
		}
		switch v := v.(type) {
		case string:
			o.Features = append(o.Features, event.Text(k, v))
		case int64:
			o.Features = append(o.Features, event.Number(k, float64(v)))
		case float64:
			o.Features = append(o.Features, event.Number(k, v))
		case bool:
			o.Features = append(o.Features, event.Bool(k, v))
		case []any:
			var list []string
			for _, s := range v {
				list = append(list, s.(string))
			}
			o.Features = append(o.Features, event.List(k, list))
		}
	}
	return o
}

// told writes findings the way scenarios compare them.
func told(fs []event.Finding) string {
	var b strings.Builder
	for _, f := range fs {
		fmt.Fprintf(&b, "%s: %s, risk %g\n", f.Rule.ID, f.Rule.Severity, f.Risk)
		for _, a := range f.Rule.Attack {
			fmt.Fprintf(&b, "  %s %s %s %s", a.ID, a.Name, a.SubID, a.SubName)
			for _, t := range a.Tactics {
				fmt.Fprintf(&b, " [%s %s]", t.ID, t.Name)
			}
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "  %s\n", f.Investigate)
	}
	return b.String()
}

// TestScenarios judges, for each shipped rule, an observation that it fires on and
// one on which it is silent.
func TestScenarios(t *testing.T) {
	set, err := Load(Builtin())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range set.rules {
		id := r.info.ID
		if _, ok := watchKinds[r.detector]; ok {
			continue // of records: internal/ruletest runs theirs
		}
		t.Run(id, func(t *testing.T) {
			name := filepath.Join("testdata", "scenarios", id+".txtar")
			a, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal("each shipped rule needs a scenario: ", err)
			}
			parts := map[string]*txtar.File{}
			for i := range a.Files {
				parts[a.Files[i].Name] = &a.Files[i]
			}
			for _, part := range []string{"fires", "silent"} {
				fs := set.Judge(observation(t, r.detector, string(parts[part+".toml"].Data)), nil)
				found := false
				for _, f := range fs {
					found = found || f.Rule.ID == id
				}
				if found != (part == "fires") {
					t.Errorf("%s: found is %v", part, found)
				}
				want := parts[part+".txt"]
				if got := told(fs); *update {
					want.Data = []byte(got)
				} else if d := cmp.Diff(string(want.Data), got); d != "" {
					t.Errorf("%s (-want +got):\n%s", part, d)
				}
			}
			if *update {
				if err := os.WriteFile(name, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestOneFindingAScan judges scans of every kind, shape and direction: each gives
// one finding.
func TestOneFindingAScan(t *testing.T) {
	set, err := Load(Builtin())
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	scan := detectors["scan"]
	for _, direction := range common["network.direction"].values {
		for _, kind := range scan["kind"].values {
			for _, shape := range scan["shape"].values {
				for _, answered := range []float64{0, 1, 2, 3, 4, 1000} {
					n++
					o := &event.Observation{Detector: "scan", Direction: direction, Features: []event.Feature{
						event.Text("kind", kind), event.Text("shape", shape), event.Number("answered_hosts", answered),
					}}
					if fs := set.Judge(o, nil); len(fs) != 1 {
						t.Errorf("%s %s %s, %g answered: %d findings, want 1\n%s", direction, kind, shape, answered, len(fs), told(fs))
					}
				}
			}
		}
	}
	if n != 4*6*5*6 {
		t.Errorf("%d combinations", n)
	}
}

// TestAtMostOneFindingABeacon judges beacons of every kind, direction and score: none
// gives two findings, and a sure one from inside to outside gives one.
func TestAtMostOneFindingABeacon(t *testing.T) {
	set, err := Load(Builtin())
	if err != nil {
		t.Fatal(err)
	}
	for _, direction := range common["network.direction"].values {
		for _, kind := range detectors["beacon"]["kind"].values {
			for _, score := range []float64{0, 0.49, 0.5, 0.59, 0.6, 0.69, 0.7, 0.79, 0.8, 0.89, 0.9, 1} {
				o := &event.Observation{Detector: "beacon", Direction: direction, Features: []event.Feature{
					event.Text("kind", kind), event.Number("score", score),
				}}
				n := len(set.Judge(o, nil))
				if n > 1 || score == 1 && direction == "outbound" && n == 0 || score < 0.5 && n > 0 {
					t.Errorf("%s %s %g: %d findings", direction, kind, score, n)
				}
			}
		}
	}
}

// TestOneFindingAnUpload judges uploads of every kind and score that the detector
// tells of: each gives one finding.
func TestOneFindingAnUpload(t *testing.T) {
	set, err := Load(Builtin())
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range detectors["exfiltration"]["kind"].values {
		plausible := slices.Contains([]string{"bulk", "long", "slow"}, kind)
		for _, score := range []float64{0.01, 0.5, 0.699, 0.7, 0.8, 0.899, 0.9, 1} {
			if score < 0.7 && !plausible {
				continue // not told
			}
			o := &event.Observation{Detector: "exfiltration", Score: score, Features: []event.Feature{event.Text("kind", kind)}}
			fs := set.Judge(o, nil)
			if len(fs) != 1 || (fs[0].Rule.Severity >= event.SeverityMedium) != (score >= 0.7) {
				t.Errorf("%s with score %g: %d findings, want 1, of medium or higher from 0.7\n%s", kind, score, len(fs), told(fs))
			}
		}
	}
}

// TestOneFindingATunnel judges tunnels of every kind: each gives one finding.
func TestOneFindingATunnel(t *testing.T) {
	set, err := Load(Builtin())
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range detectors["dns_tunnel"]["kind"].values {
		o := &event.Observation{Detector: "dns_tunnel", Features: []event.Feature{event.Text("kind", kind)}}
		if fs := set.Judge(o, nil); len(fs) != 1 || (fs[0].Rule.Severity == event.SeverityHigh) != (kind == "fast") {
			t.Errorf("%s: %d findings, want 1, high for a fast one alone\n%s", kind, len(fs), told(fs))
		}
	}
}
