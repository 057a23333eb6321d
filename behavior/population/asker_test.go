package population

import (
	"net/netip"
	"testing"

	"tidewatch/event"
)

// A connection to an address that has no name says that nobody asked, from an hour after
// the first answer to a day after the last; so does a Population that was restored.
func TestUnasked(t *testing.T) {
	const at = 1_767_600_000 // divisible by ten minutes
	p := New(DefaultConfig())
	host := func(s string, scope event.Scope) event.Host {
		a := netip.MustParseAddr(s)
		return event.Host{Addr: a, Scope: scope, Hash: event.HashAddr(a, 0, 0)}
	}
	look := func(p *Population, ev *event.Event) *event.Known {
		seq := &event.Sequence{Events: []*event.Event{ev}}
		p.Prepare(seq)
		return ev.Known
	}
	ask := func(p *Population, secs int64, answers ...string) {
		look(p, &event.Event{Kind: event.KindDNS, Time: secs * 1e9, Orig: host("10.0.0.5", event.ScopeLocal), Resp: host("10.0.0.1", event.ScopeLocal), DNS: &event.DNS{Query: "www.example.com", Answers: answers, TTLs: []uint32{60, 60}}})
	}
	conn := func(p *Population, secs int64, from, to string, scope event.Scope) bool {
		return look(p, &event.Event{Kind: event.KindConn, Time: secs * 1e9, Orig: host(from, event.ScopeLocal), Resp: host(to, scope), Conn: &event.Conn{}}).Unasked
	}
	f := func(p *Population, secs int64, to string, scope event.Scope, want bool) {
		t.Helper()
		if got := conn(p, secs, "10.0.0.5", to, scope); got != want {
			t.Errorf("%d s after the first answer, to %s: %v", secs-at, to, got)
		}
	}
	ask(p, at) // without an answer it is none
	f(p, at+7200, "198.51.100.1", event.ScopeExternal, false)
	ask(p, at, "edge.example.net", "203.0.113.80")
	f(p, at+3000, "198.51.100.1", event.ScopeExternal, false)
	f(p, at+3600, "198.51.100.1", event.ScopeExternal, true)
	f(p, at+3600, "203.0.113.80", event.ScopeExternal, false) // at the end of the chain
	f(p, at+3600, "10.9.9.9", event.ScopeLocal, false)
	if conn(p, at+3600, "10.0.0.6", "198.51.100.1", event.ScopeExternal) {
		t.Error("who never asks is told to have not asked")
	}
	q := New(DefaultConfig())
	for _, r := range p.Cut() {
		if err := q.Restore(r); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []*Population{p, q} {
		f(p, at+86400, "198.51.100.1", event.ScopeExternal, true)
		f(p, at+86401, "198.51.100.1", event.ScopeExternal, false)
	}
	ask(p, at+10*86400, "203.0.113.80") // after ten days elsewhere it begins anew
	f(p, at+10*86400+3000, "198.51.100.1", event.ScopeExternal, false)
	f(p, at+10*86400+3600, "198.51.100.1", event.ScopeExternal, true)
}
