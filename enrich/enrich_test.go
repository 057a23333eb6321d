package enrich

import (
	"net/netip"
	"testing"

	"tidewatch/event"
)

func TestScope(t *testing.T) {
	z := NewZones([]netip.Prefix{netip.MustParsePrefix("147.32.0.0/16")})
	f := func(addr string, want event.Scope) {
		t.Helper()
		if got := z.Scope(netip.MustParseAddr(addr), 0); got != want {
			t.Errorf("%s: scope %d, want %d", addr, got, want)
		}
	}
	f("10.1.2.3", event.ScopeLocal)
	f("172.31.255.255", event.ScopeLocal)
	f("172.32.0.0", event.ScopeExternal)
	f("100.64.0.1", event.ScopeLocal)
	f("147.32.83.234", event.ScopeLocal)
	f("147.33.0.1", event.ScopeExternal)
	f("fd00::1", event.ScopeLocal)
	f("2001:db8::1", event.ScopeExternal)
	f("fe80::1", event.ScopeSpecial)
	f("127.0.0.1", event.ScopeSpecial)
	f("0.0.0.0", event.ScopeSpecial)
	f("224.0.0.251", event.ScopeMulticast)
	f("ff02::fb", event.ScopeMulticast)
	f("255.255.255.255", event.ScopeMulticast)
	if z.Scope(netip.Addr{}, 0) != event.ScopeUnknown {
		t.Error("no address has a scope")
	}
}

// The sensor's local_orig counts where nobody named networks, and only there.
func TestSensorsOwnWord(t *testing.T) {
	ev := func() *event.Event {
		return &event.Event{
			Orig: event.Host{Addr: netip.MustParseAddr("192.0.2.7")},
			Resp: event.Host{Addr: netip.MustParseAddr("198.51.100.7")},
			Conn: &event.Conn{LocalOrig: true},
		}
	}
	e := ev()
	NewZones(nil).Enrich(e)
	if e.Orig.Scope != event.ScopeLocal || e.Resp.Scope != event.ScopeExternal {
		t.Errorf("scopes %d and %d, want local and external", e.Orig.Scope, e.Resp.Scope)
	}
	if e.Orig.Hash == 0 || e.ConnHash == 0 {
		t.Error("the hashes are not set")
	}
	e = ev()
	NewZones([]netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}).Enrich(e)
	if e.Orig.Scope != event.ScopeExternal || e.Resp.Scope != event.ScopeLocal {
		t.Errorf("scopes %d and %d, want external and local", e.Orig.Scope, e.Resp.Scope)
	}
}

func TestEnrichDoesNotAllocate(t *testing.T) {
	z := NewZones(nil)
	e := &event.Event{
		Proto: event.ProtoTCP, Conn: &event.Conn{},
		Orig: event.Host{Addr: netip.MustParseAddr("2001:db8::1"), Port: 4000},
		Resp: event.Host{Addr: netip.MustParseAddr("198.51.100.7"), Port: 443},
	}
	if n := testing.AllocsPerRun(100, func() { z.Enrich(e) }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func BenchmarkEnrich(b *testing.B) {
	z := NewZones(nil)
	e := &event.Event{
		Proto: event.ProtoTCP, Conn: &event.Conn{},
		Orig: event.Host{Addr: netip.MustParseAddr("10.0.0.1"), Port: 4000},
		Resp: event.Host{Addr: netip.MustParseAddr("198.51.100.7"), Port: 443},
	}
	b.ReportAllocs()
	for b.Loop() {
		z.Enrich(e)
	}
}
