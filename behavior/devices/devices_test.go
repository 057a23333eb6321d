package devices

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"tidewatch/behavior/state"
	"tidewatch/event"
)

const (
	mac1 = "00:00:5e:00:53:01"
	mac2 = "00:00:5e:00:53:02"
)

func host(s string) event.Host {
	a := netip.MustParseAddr(s)
	h := event.Host{Addr: a, Scope: event.ScopeLocal, Hash: event.HashAddr(a, 0, 0)}
	if !a.IsPrivate() {
		h.Scope = event.ScopeExternal
	}
	return h
}

// site plays records for a Devices.
type site struct {
	t *testing.T
	*Devices
}

func (s *site) lease(at int64, mac, addr string, types ...string) {
	s.Assign(&event.Sequence{Events: []*event.Event{{Kind: event.KindDHCP, Time: at, DHCP: &event.DHCP{MAC: mac, AssignedAddr: netip.MustParseAddr(addr), MsgTypes: types}}}})
}

// is checks which entity an address is at a time, and that an observation on that entity
// is told of the address.
func (s *site) is(at int64, addr, entity string) {
	s.t.Helper()
	ev := &event.Event{Kind: event.KindConn, Time: at, Orig: host(addr), Resp: host("203.0.113.9")}
	s.Assign(&event.Sequence{Events: []*event.Event{ev}})
	got := ev.Orig.Addr.String()
	if kind := stands(ev.Orig.Addr); kind != 0 {
		got = map[byte]string{kindDevice: "another device", kindV4: "a stranger", kindV6: "a stranger"}[kind]
	}
	if got != entity {
		s.t.Errorf("%s at %d is %s, want %s", addr, at, got, entity)
	}
	if ev.Orig.Hash != event.HashAddr(ev.Orig.Addr, 0, 0) || ev.SeenOrig() != netip.MustParseAddr(addr) || ev.SeenResp() != ev.Resp.Addr {
		s.t.Errorf("%s at %d: hash %x, seen as %s", addr, at, ev.Orig.Hash, ev.SeenOrig())
	}
	o := event.Observation{Source: event.Endpoint{Addr: ev.Orig.Addr, Scope: event.ScopeLocal}, End: at, Reason: ev.Orig.Addr.String() + " did it"}
	o.Sample = []event.Sample{event.SampleOf(ev)}
	s.Present(&o)
	if o.Source.Addr.String() != addr || o.Reason != addr+" did it" {
		s.t.Errorf("%s at %d is told as %s: %s", addr, at, o.Source.Addr, o.Reason)
	}
}

// again is the same site after a restart.
func (s *site) again() *site {
	s.t.Helper()
	n := &site{s.t, &Devices{Asset: s.Asset}}
	n.Track()
	rs := s.Cut()
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(rs), func(i, j int) { rs[i], rs[j] = rs[j], rs[i] })
	for _, r := range rs {
		if err := n.Restore(r); err != nil {
			s.t.Fatal(err)
		}
	}
	return n
}

// A laptop moves: it stays what it was. Who gets its address is somebody else; so is
// whoever has it without asking for it. Late records belong to who had the address then.
func TestMove(t *testing.T) {
	first := &site{t, &Devices{}}
	first.Track()
	first.is(5, "10.0.0.5", "10.0.0.5") // nobody knows whose it is
	first.lease(10, mac1, "10.0.0.5", "REQUEST", "ACK")
	first.lease(11, mac2, "10.0.0.77", "DISCOVER", "OFFER") // an offer gives nothing
	first.lease(12, "nonsense", "10.0.0.78")
	first.lease(100, mac1, "10.0.0.9", "ack")
	first.lease(150, mac1, "10.0.0.9") // renewed
	first.lease(200, mac2, "10.0.0.5")
	for i, s := range []*site{first, first.again()} {
		t.Log("restarted: ", i > 0)
		s.is(5, "10.0.0.5", "10.0.0.5")
		s.is(50, "10.0.0.5", "10.0.0.5")
		s.is(120, "10.0.0.9", "10.0.0.5") // the laptop
		s.is(150, "10.0.0.5", "a stranger")
		s.is(60, "10.0.0.5", "10.0.0.5") // late
		s.is(250, "10.0.0.5", "another device")
		s.is(250, "10.0.0.9", "10.0.0.5")
		s.is(250, "10.0.0.77", "10.0.0.77")
		s.is(50, "10.0.0.9", "10.0.0.9") // before it came there
		if s.Entity(netip.MustParseAddr("10.0.0.9"), 300) != netip.MustParseAddr("10.0.0.5") {
			t.Error("the entity of the address is another one")
		}
	}
	first.lease(300, mac1, "10.0.0.5") // back home, where the other device still was
	first.is(350, "10.0.0.5", "10.0.0.5")
	first.is(350, "10.0.0.9", "10.0.0.9") // nobody's first address: just that
}

// Two devices of one asset are one entity, from when the inventory says so, and two again
// when it does not.
func TestMergeAndSplit(t *testing.T) {
	names := map[string]string{}
	s := &site{t, &Devices{Asset: func(mac [6]byte) string { return names[fmt.Sprintf("%x", mac[5])] }}}
	s.Track()
	s.lease(10, mac1, "10.0.0.5")
	s.lease(11, mac2, "10.0.0.6")
	s.is(20, "10.0.0.5", "10.0.0.5")
	s.is(20, "10.0.0.6", "10.0.0.6")
	names["1"], names["2"] = "laptop7", "laptop7"
	s.lease(30, mac1, "10.0.0.5") // renewed: the asset is what the first was
	s.lease(31, mac2, "10.0.0.6")
	for _, s := range []*site{s, s.again()} {
		s.is(40, "10.0.0.5", "10.0.0.5")
		s.is(40, "10.0.0.6", "10.0.0.5") // by cable and by radio
	}
	s.lease(45, mac2, "10.0.0.8")
	s.is(50, "10.0.0.8", "10.0.0.5")
	names["2"] = "printer"
	s.lease(60, mac2, "10.0.0.8") // split off
	s.is(70, "10.0.0.8", "10.0.0.8")
	s.is(70, "10.0.0.5", "10.0.0.5")
	names["1"] = "" // taken out of the inventory: the same device
	s.lease(80, mac1, "10.0.0.7")
	s.is(90, "10.0.0.7", "10.0.0.5")
}

// Nothing is left of a device whose address is forgotten; others stay.
func TestForget(t *testing.T) {
	s := &site{t, &Devices{}}
	s.Track()
	s.lease(10, mac1, "10.0.0.5")
	s.lease(20, mac1, "10.0.0.9")
	s.lease(30, mac2, "10.0.0.6")
	s.Cut()
	for _, a := range []string{"10.0.0.7", "10.0.0.5"} {
		n := s.Forget(netip.MustParseAddr(a))
		rs := s.Cut()
		if want := map[string]int{"10.0.0.5": 1}[a]; n != want || len(rs) != want || s.Len() != 2-want {
			t.Errorf("%s: %d devices are forgotten, %d records", a, n, len(rs))
		}
	}
	s.is(40, "10.0.0.9", "10.0.0.9")
	s.is(40, "10.0.0.6", "10.0.0.6")
}

// A host to which the inventory gives two addresses is one, as long as it does so.
func TestSeveralAddresses(t *testing.T) {
	s := &site{t, &Devices{}}
	asset := &event.About{Asset: &event.Asset{Name: "files1", Entity: netip.MustParseAddr("10.0.0.5")}}
	at := func(addr string, about *event.About) string {
		ev := &event.Event{Kind: event.KindConn, Time: 20, Orig: host(addr), Resp: host("203.0.113.9")}
		ev.Orig.About = about
		s.Assign(&event.Sequence{Events: []*event.Event{ev}})
		if ev.SeenOrig().String() != addr || ev.Orig.Hash != event.HashAddr(ev.Orig.Addr, 0, 0) {
			t.Errorf("%s is seen as %s", addr, ev.SeenOrig())
		}
		return ev.Orig.Addr.String()
	}
	for _, c := range []struct {
		addr  string
		about *event.About
		want  string
	}{{"10.0.0.5", asset, "10.0.0.5"}, {"10.0.1.5", asset, "10.0.0.5"}, {"fd00::5", asset, "10.0.0.5"}, {"10.0.1.5", nil, "10.0.1.5"}} {
		if got := at(c.addr, c.about); got != c.want {
			t.Errorf("%s is %s, want %s", c.addr, got, c.want)
		}
	}
}

// IPv6 addresses have strangers too, which are told by their own addresses.
func TestMoveIPv6(t *testing.T) {
	s := &site{t, &Devices{}}
	s.lease(10, mac1, "fd00::5")
	s.lease(100, mac1, "fd00::9")
	s.is(120, "fd00::9", "fd00::5")
	s.is(120, "fd00::5", "a stranger")
}

// A VLAN is a part of an address.
func TestVLANs(t *testing.T) {
	s := &site{t, &Devices{}}
	at := func(time int64, vlan uint16, addr string) netip.Addr {
		ev := &event.Event{Kind: event.KindConn, Time: time, VLAN: vlan, Orig: host(addr)}
		ev.Orig.Hash = event.HashAddr(ev.Orig.Addr, vlan, 0)
		s.Assign(&event.Sequence{Events: []*event.Event{ev}})
		return ev.Orig.Addr
	}
	for _, l := range []struct {
		at   int64
		addr string
	}{{10, "10.0.0.5"}, {100, "10.0.0.9"}} {
		s.Assign(&event.Sequence{Events: []*event.Event{{Kind: event.KindDHCP, VLAN: 20, Time: l.at, DHCP: &event.DHCP{MAC: mac1, AssignedAddr: netip.MustParseAddr(l.addr)}}}})
	}
	if got := at(120, 20, "10.0.0.9"); got.String() != "10.0.0.5" {
		t.Errorf("in its VLAN it is %s", got)
	}
	if got := at(120, 30, "10.0.0.9"); got.String() != "10.0.0.9" {
		t.Errorf("the same address in another VLAN is %s", got)
	}
	// Zeek's dhcp.log does not say the VLAN, its conn.log may.
	s.lease(3000, mac2, "10.0.0.7")
	s.lease(4000, mac2, "10.0.0.8")
	if got := at(4500, 30, "10.0.0.8"); got.String() != "10.0.0.7" {
		t.Errorf("by DHCP without a VLAN it is %s", got)
	}
}

// What is remembered is bounded, and what is forgotten is told to the store.
func TestBound(t *testing.T) {
	v := &Devices{}
	v.Track()
	stored := map[string]bool{}
	for i := range 2 * maxDevices {
		mac := [6]byte{2, 0, byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)}
		a := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		v.give(mac, move{event.HashAddr(a, 0, 0), a, int64(i + 1)})
		if i%1000 == 0 {
			for _, r := range v.Cut() {
				stored[string(r.Key)] = len(r.Value) > 0
			}
		}
	}
	for _, r := range v.Cut() {
		stored[string(r.Key)] = len(r.Value) > 0
	}
	n := 0
	for _, there := range stored {
		if there {
			n++
		}
	}
	if v.Len() > maxDevices || n != v.Len() || len(v.entities) > maxDevices || len(v.tenants) > maxDevices {
		t.Errorf("%d devices, %d stored, %d entities, %d addresses", v.Len(), n, len(v.entities), len(v.tenants))
	}
}

// Records of hosts that have not moved cost no memory.
func TestAssignAllocates(t *testing.T) {
	s := &site{t, &Devices{}}
	s.lease(10, mac1, "10.0.0.5")
	seq := &event.Sequence{}
	for range 64 {
		seq.Events = append(seq.Events, &event.Event{Kind: event.KindConn, Time: 20, Orig: host("10.0.0.5"), Resp: host("203.0.113.9")})
	}
	if n := testing.AllocsPerRun(100, func() { s.Assign(seq) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// What was tried and what answered is told by the addresses that it has now.
func TestPresentLists(t *testing.T) {
	s := &site{t, &Devices{}}
	s.lease(10, mac1, "10.0.0.5")
	s.lease(100, mac1, "10.0.0.9")
	s.lease(110, mac2, "10.0.0.5")
	second := &event.Event{Kind: event.KindConn, Time: 200, Orig: host("10.0.0.5")}
	s.Assign(&event.Sequence{Events: []*event.Event{second}})
	shared := []event.Feature{
		event.List("answered_targets", []string{"10.0.0.5:445/tcp", "10.0.0.7:445/tcp", "[" + second.Orig.Addr.String() + "]:22/tcp"}),
		event.Text("resolver", "10.0.0.5"), event.Text("kind", "fast"), event.Text("period", "5m"), event.List("empty", nil),
	}
	o := event.Observation{End: 200, Features: shared, Related: []netip.Addr{netip.MustParseAddr("10.0.0.5"), second.Orig.Addr}}
	s.Present(&o)
	want := "[10.0.0.9:445/tcp 10.0.0.7:445/tcp 10.0.0.5:22/tcp] 10.0.0.9 fast [10.0.0.9 10.0.0.5]"
	if got := fmt.Sprint(o.Features[0].List, " ", o.Features[1].Text, " ", o.Features[2].Text, " ", o.Related); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if shared[0].List[0] != "10.0.0.5:445/tcp" || shared[1].Text != "10.0.0.5" {
		t.Error("the detector's own features were changed")
	}
}

func TestReplaced(t *testing.T) {
	for in, want := range map[string]string{
		"10.0.0.5 did it":           "X did it",
		"10.0.0.5->10.0.0.55:443":   "X->10.0.0.55:443",
		"110.0.0.5, 10.0.0.5.":      "110.0.0.5, X.",
		"10.0.0.5:443 and 10.0.0.5": "X:443 and X",
		"10.0.0.5.1":                "10.0.0.5.1",
		"(10.0.0.5)":                "(X)",
		"":                          "",
	} {
		if got := replaced(in, "10.0.0.5", "X"); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func FuzzRestore(f *testing.F) {
	s := &site{new(testing.T), &Devices{}}
	s.Track()
	s.lease(10, mac1, "10.0.0.5")
	s.lease(100, mac1, "10.0.0.9")
	for _, r := range s.Cut() {
		f.Add(r.Key, r.Value)
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		v := &Devices{}
		if v.Restore(state.Record{Key: key, Value: value}) != nil {
			return
		}
		n := &site{t, v}
		ev := &event.Event{Kind: event.KindConn, Time: 1 << 60, Orig: host("10.0.0.9"), Resp: host("10.0.0.5")}
		n.Assign(&event.Sequence{Events: []*event.Event{ev}})
		o := event.Observation{Source: event.Endpoint{Addr: ev.Orig.Addr, Scope: event.ScopeLocal}, Reason: strings.Repeat(ev.Orig.Addr.String(), 3)}
		n.Present(&o)
	})
}

// BenchmarkAssign measures records of a site whose devices are known.
func BenchmarkAssign(b *testing.B) {
	s := &site{new(testing.T), &Devices{}}
	seq := &event.Sequence{}
	for i := range 250 {
		a := fmt.Sprintf("10.0.%d.%d", i%8, i)
		s.lease(10, fmt.Sprintf("00:00:5e:00:54:%02x", i), a)
		seq.Events = append(seq.Events, &event.Event{Kind: event.KindConn, Time: 20, Orig: host(a), Resp: host("203.0.113.9")})
	}
	b.ReportAllocs()
	for b.Loop() {
		s.Assign(seq)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(seq.Events)), "ns/record")
}
