package rules

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tidewatch/behavior"
	"tidewatch/event"
)

// unsaid are declared features that the detector does not say yet; a rule may
// name them all the same.
var unsaid = []string{"known_scanner"}

// TestFeaturesAreTheDetectors lets the scan detector find scans of all kinds and
// compares what it says with what is declared.
func TestFeaturesAreTheDetectors(t *testing.T) {
	said := map[string]event.FeatureType{}
	kinds, shapes := map[string]bool{}, map[string]bool{}
	for _, o := range scans() {
		for _, f := range o.Features {
			said[f.Key] = f.Type
			switch f.Key {
			case "kind":
				kinds[f.Text] = true
			case "shape":
				shapes[f.Text] = true
			}
		}
		if !slices.Contains(common["network.direction"].values, o.Direction) {
			t.Errorf("direction %q", o.Direction)
		}
	}
	declared := map[string]event.FeatureType{}
	for key, f := range detectors["scan"] {
		if slices.Contains(unsaid, key) {
			if _, ok := said[key]; ok {
				t.Errorf("%s is said now: take it off the list of unsaid ones", key)
			}
			continue
		}
		declared[key] = map[kind]event.FeatureType{text: event.FeatureText, number: event.FeatureNumber, truth: event.FeatureBool, list: event.FeatureList}[f.kind]
	}
	if d := cmp.Diff(declared, said); d != "" {
		t.Errorf("declared (-), said (+):\n%s", d)
	}
	if d := cmp.Diff(slices.Sorted(slices.Values(detectors["scan"]["kind"].values)), slices.Sorted(maps.Keys(kinds))); d != "" {
		t.Errorf("kinds declared (-), said (+):\n%s", d)
	}
	if d := cmp.Diff(slices.Sorted(slices.Values(detectors["scan"]["shape"].values)), slices.Sorted(maps.Keys(shapes))); d != "" {
		t.Errorf("shapes declared (-), said (+):\n%s", d)
	}
}

// TestFeaturesOfUploads lets the exfiltration detector find uploads, and compares what
// it says with what is declared.
func TestFeaturesOfUploads(t *testing.T) {
	said := map[string]event.FeatureType{}
	for _, o := range uploads() {
		if o.Detector != "exfiltration" { // they come on a timer, too
			continue
		}
		for _, f := range o.Features {
			said[f.Key] = f.Type
			if field := detectors["exfiltration"][f.Key]; f.Type == event.FeatureText && len(field.values) > 0 && !slices.Contains(field.values, f.Text) {
				t.Errorf("%s = %q is not declared", f.Key, f.Text)
			}
		}
	}
	declared := map[string]event.FeatureType{}
	for key, f := range detectors["exfiltration"] {
		declared[key] = map[kind]event.FeatureType{text: event.FeatureText, number: event.FeatureNumber, truth: event.FeatureBool, list: event.FeatureList}[f.kind]
	}
	if d := cmp.Diff(declared, said); d != "" {
		t.Errorf("declared (-), said (+):\n%s", d)
	}
	classes := []string{""}
	for c := event.ClassTime; c.String() != ""; c++ {
		classes = append(classes, c.String())
	}
	if d := cmp.Diff(classes, detectors["exfiltration"]["class"].values); d != "" {
		t.Errorf("classes there are (-), declared (+):\n%s", d)
	}
}

// uploads returns what the detector says of an upload to one place, and of one that is
// spread over many.
func uploads() (all []event.Observation) {
	start := time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC).UnixNano()
	for _, places := range []int{1, 20} {
		shard := behavior.NewShard(0, 1, behavior.DefaultConfig())
		for i := range 20 {
			ev := event.Event{
				Kind: event.KindConn, Proto: event.ProtoTCP, Outcome: event.OutcomeAnswered, Time: start + int64(i)*int64(time.Minute),
				Orig: event.Host{Addr: netip.AddrFrom4([4]byte{10, 0, 0, 5}), Scope: event.ScopeLocal}, Resp: event.Host{Scope: event.ScopeExternal, Port: 443},
				Conn: &event.Conn{OrigBytes: 1_500_000, RespBytes: 900}, Known: &event.Known{Hosts: 200, Addr: event.Use{Hosts: 1}},
			}
			ev.End = ev.Time + int64(2*time.Second)
			ev.Resp.Addr = netip.AddrFrom4([4]byte{198, 51, byte(100 + i%places), 7})
			ev.Orig.Hash, ev.Resp.Hash = event.HashAddr(ev.Orig.Addr, 0, 0), event.HashAddr(ev.Resp.Addr, 0, 0)
			ev.Set.Add(event.ConnOrigBytes)
			ev.Set.Add(event.ConnRespBytes)
			all = shard.Observe(&ev, all)
		}
		all = shard.Finish(all)
	}
	return all
}

// scans returns what the detector says of a scan of each kind.
func scans() (all []event.Observation) {
	start := time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC).UnixNano()
	address := func(a, b int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(a), byte(b)}) }
	// run plays n failed connections, with some that are answered.
	run := func(n int, step time.Duration, of func(i int) (src, dst netip.Addr, port uint16, proto event.Proto)) {
		shard := behavior.NewShard(0, 1, behavior.DefaultConfig())
		for i := range n {
			ev := event.Event{Kind: event.KindConn, Time: start + int64(i)*int64(step), Outcome: event.OutcomeSilent}
			if i%10 == 9 {
				ev.Outcome = event.OutcomeAnswered
			}
			var port uint16
			ev.Orig.Addr, ev.Resp.Addr, port, ev.Proto = of(i)
			ev.Orig.Port, ev.Resp.Port = 40_000, port
			ev.Orig.Scope, ev.Resp.Scope = event.ScopeLocal, event.ScopeLocal
			ev.Orig.Hash, ev.Resp.Hash = event.HashAddr(ev.Orig.Addr, 0, 0), event.HashAddr(ev.Resp.Addr, 0, 0)
			all = shard.Observe(&ev, all)
		}
		all = shard.Finish(all)
	}
	one := address(9, 9)
	run(60, time.Second, func(i int) (netip.Addr, netip.Addr, uint16, event.Proto) {
		return one, address(1, i), 445, event.ProtoTCP
	})
	run(60, time.Second, func(i int) (netip.Addr, netip.Addr, uint16, event.Proto) {
		return one, address(1, 1), uint16(i + 1), event.ProtoTCP
	})
	run(200, time.Second, func(i int) (netip.Addr, netip.Addr, uint16, event.Proto) {
		return one, address(1, i/20), uint16(i%20 + 1), event.ProtoTCP
	})
	run(60, time.Second, func(i int) (netip.Addr, netip.Addr, uint16, event.Proto) {
		return one, address(1, i), 0, event.ProtoICMP
	})
	run(40, 20*time.Minute, func(i int) (netip.Addr, netip.Addr, uint16, event.Proto) {
		return one, address(1, i), 22, event.ProtoTCP
	})
	run(120, 100*time.Millisecond, func(i int) (netip.Addr, netip.Addr, uint16, event.Proto) {
		return address(2, i), one, uint16(i%7 + 1), event.ProtoTCP
	})
	return all
}

// TestFeaturesOfTunnels lets the detector of tunnels find one of each kind, and compares
// what it says with what is declared.
func TestFeaturesOfTunnels(t *testing.T) {
	said, kinds := map[string]event.FeatureType{}, map[string]bool{}
	for _, o := range tunnels() {
		if o.Detector != "dns_tunnel" { // they come on a timer, too
			continue
		}
		for _, f := range o.Features {
			said[f.Key] = f.Type
			if f.Key == "kind" {
				kinds[f.Text] = true
			}
		}
	}
	declared := map[string]event.FeatureType{}
	for key, f := range detectors["dns_tunnel"] {
		declared[key] = map[kind]event.FeatureType{text: event.FeatureText, address: event.FeatureText, number: event.FeatureNumber, truth: event.FeatureBool, list: event.FeatureList}[f.kind]
	}
	if d := cmp.Diff(declared, said); d != "" {
		t.Errorf("declared (-), said (+):\n%s", d)
	}
	if d := cmp.Diff(slices.Sorted(slices.Values(detectors["dns_tunnel"]["kind"].values)), slices.Sorted(maps.Keys(kinds))); d != "" {
		t.Errorf("kinds declared (-), said (+):\n%s", d)
	}
}

// tunnels returns what the detector says of a tunnel of each kind.
func tunnels() (all []event.Observation) {
	start := time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC).UnixNano()
	run := func(step time.Duration, resolver bool, hosts uint32) {
		shard := behavior.NewShard(0, 1, behavior.DefaultConfig())
		for i := range 400 {
			ev := event.Event{
				Kind: event.KindDNS, Sensor: event.SensorZeek, Proto: event.ProtoUDP, Time: start + int64(i)*int64(step),
				Orig: event.Host{Addr: netip.AddrFrom4([4]byte{10, 0, 0, 5}), Port: 40_000, Scope: event.ScopeLocal},
				Resp: event.Host{Addr: netip.AddrFrom4([4]byte{198, 51, 100, 7}), Port: 53, Scope: event.ScopeExternal},
				DNS:  &event.DNS{Query: fmt.Sprintf("%060x.evil.example", uint64(i+1)*0x9e3779b97f4a7c15), QType: 16, QTypeName: "TXT", Answers: []string{"x"}},
			}
			ev.Known = &event.Known{Name: ev.DNS.Query, Domain: "evil.example", Hosts: 200, OfDomain: event.Use{Hosts: hosts}}
			if resolver {
				ev.Resp.Addr = netip.AddrFrom4([4]byte{198, 51, 100, byte(i)})
			}
			ev.Orig.Hash, ev.Resp.Hash = event.HashAddr(ev.Orig.Addr, 0, 0), event.HashAddr(ev.Resp.Addr, 0, 0)
			ev.Set.Add(event.DNSRCode)
			all = shard.Observe(&ev, all)
		}
		all = shard.Finish(all)
	}
	run(time.Second, false, 1)
	run(20*time.Minute, false, 1)
	run(time.Second, false, 30)
	run(time.Second, true, 1)
	return all
}
