package behavior

import (
	"net/netip"
	"slices"
	"testing"

	"tidewatch/behavior/state"
	"tidewatch/event"
)

// What is counted grows with what is kept, no more than its cap, and each kind has a
// name of its own that a metric's label can be.
func TestSizes(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Hosts.MaxHosts, cfg.Scan.MaxSources, cfg.Exfil.MaxHosts = 20, 20, 20
	s := NewShard(0, 1, cfg)
	if empty := s.Sizes(nil); slices.ContainsFunc(empty, func(z state.Size) bool { return z.Count != 0 || z.Cap == 0 }) {
		t.Errorf("nothing was observed: %v", empty)
	}
	ev := event.Event{Kind: event.KindConn, Proto: event.ProtoTCP, Outcome: event.OutcomeAnswered, Conn: &event.Conn{OrigBytes: 900, RespBytes: 4000}}
	ev.Set.Add(event.ConnOrigBytes)
	for i := range 100 {
		ev.Time = int64(1795132800e9) + int64(i)*1e9
		ev.End, ev.Written = ev.Time, ev.Time
		orig, resp := netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), netip.AddrFrom4([4]byte{198, 18, 0, byte(i)})
		ev.Orig = event.Host{Addr: orig, Hash: event.HashAddr(orig, 0, 0), Scope: event.ScopeLocal, Port: 4000}
		ev.Resp = event.Host{Addr: resp, Hash: event.HashAddr(resp, 0, 0), Scope: event.ScopeExternal, Port: 443}
		s.Observe(&ev, nil)
	}
	seen := map[string]int{}
	for _, z := range s.Sizes(nil) {
		if _, again := seen[z.Kind]; again {
			t.Errorf("%s is there twice", z.Kind)
		}
		if seen[z.Kind] = z.Count; z.Count > z.Cap {
			t.Errorf("%s: %d of at most %d", z.Kind, z.Count, z.Cap)
		}
	}
	if seen["hosts"] == 0 || seen["pairs"] != 100 || seen["scan_sources"] == 0 {
		t.Errorf("%v", seen)
	}
}
