package population_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"tidewatch/behavior/population"
	"tidewatch/event"
	"tidewatch/internal/scenario"
)

// A look back finds what hosts have dealt with: an address, a name and what is below it,
// a whole domain, a client; and who that was.
func TestLookBack(t *testing.T) {
	var log strings.Builder
	ssl := func(at int, from, to, name, ja4 string) {
		fmt.Fprintf(&log, `{"_path":"ssl","ts":%d.0,"uid":"C%d","id.orig_h":%q,"id.orig_p":40000,"id.resp_h":%q,"id.resp_p":443,"version":"TLSv12","server_name":%q,"established":true,"ja4":%q}`+"\n", 1767600000+at, at, from, to, name, ja4)
		fmt.Fprintf(&log, `{"_path":"conn","ts":%d.0,"uid":"C%d","id.orig_h":%q,"id.orig_p":40000,"id.resp_h":%q,"id.resp_p":443,"proto":"tcp","conn_state":"SF","duration":1.0,"orig_bytes":500,"resp_bytes":5000}`+"\n", 1767600000+at, at, from, to)
	}
	const client = "t13d1516h2_8daaf6152771_e5627efa2ab1"
	ssl(1, "10.0.0.5", "203.0.113.80", "www.a.evil.example", client)
	ssl(2, "10.0.0.6", "203.0.113.81", "b.evil.example", "t13d1516h2_8daaf6152771_000000000000")
	ssl(3, "10.0.0.5", "203.0.113.82", "fine.example", client)
	evs := scenario.Parse(t, []byte(log.String()))
	p := population.New(population.DefaultConfig())
	p.Prepare(&event.Sequence{Events: evs})
	name := func(s string) event.Sought { return event.Sought{Kind: event.SoughtName, Value: s} }
	addr := func(s string) event.Sought {
		return event.Sought{Kind: event.SoughtAddress, Value: s, Addr: netip.MustParseAddr(s)}
	}
	for _, c := range []struct {
		of    event.Sought
		hosts float64
		who   string
	}{
		{addr("203.0.113.80"), 1, "10.0.0.5"},
		{addr("203.0.113.99"), 0, ""},
		{addr("10.0.0.5"), 0, ""},
		{name("evil.example"), 2, "10.0.0.5 10.0.0.6"},
		{name("a.evil.example"), 1, "10.0.0.5"},
		{name("b.evil.example"), 1, "10.0.0.6"},
		{name("c.evil.example"), 0, ""},
		{name("vil.example"), 0, ""},
		{name("fine.example"), 1, "10.0.0.5"},
		{event.Sought{Kind: event.SoughtFingerprint, Value: client}, 1, "10.0.0.5"},
		{event.Sought{Kind: event.SoughtFingerprint, Value: "e7d705a3286e19ea42f587b344ee6865"}, 0, ""},
	} {
		found := p.LookBack([]event.Sought{c.of}, nil)
		if c.hosts == 0 {
			if len(found) != 0 {
				t.Errorf("%s: %s", c.of.Value, found[0].Reason)
			}
			continue
		}
		if len(found) != 1 {
			t.Errorf("%s: %d observations", c.of.Value, len(found))
			continue
		}
		o := &found[0]
		if got := strings.Trim(fmt.Sprint(o.Related), "[]"); scenario.Number(o, "hosts") != c.hosts || got != c.who {
			t.Errorf("%s: %v hosts, %s: want %v, %s", c.of.Value, scenario.Number(o, "hosts"), got, c.hosts, c.who)
		}
		if again := p.LookBack([]event.Sought{c.of}, nil); len(again) != 1 || again[0].Episode != o.Episode {
			t.Errorf("%s: asked again, it is another case", c.of.Value)
		}
	}
	if found := p.LookBack([]event.Sought{name("evil.example"), name("fine.example"), addr("203.0.113.82")}, nil); len(found) != 3 {
		t.Errorf("%d of three", len(found))
	}
}
