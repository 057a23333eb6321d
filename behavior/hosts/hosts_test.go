package hosts

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tidewatch/behavior/sketch"
	"tidewatch/behavior/state"
	"tidewatch/enrich"
	"tidewatch/event"
	"tidewatch/internal/scenario"
	"tidewatch/internal/shareddata"
)

// monday is 2026-01-05, 00:00 UTC.
var monday = time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC).UnixNano()

var zones = enrich.NewZones(nil)

// conn is a connection that sent so many bytes.
func conn(at int64, orig, resp string, port uint16, out uint64, outcome event.Outcome) *event.Event {
	ev := &event.Event{
		Kind: event.KindConn, Time: at, End: at, Proto: event.ProtoTCP, Outcome: outcome, Conn: &event.Conn{OrigBytes: out, RespBytes: out, Service: "http"},
		Orig: event.Host{Addr: netip.MustParseAddr(orig), Port: 40000}, Resp: event.Host{Addr: netip.MustParseAddr(resp), Port: port},
	}
	ev.Set.Add(event.ConnOrigBytes)
	ev.Set.Add(event.ConnRespBytes)
	zones.Enrich(ev)
	return ev
}

func hash(addr string) uint64 { return event.HashAddr(netip.MustParseAddr(addr), 0, 0) }

const me = "10.0.0.5"

// work plays days of a host: connections an hour from 8 to 18, by day of the week.
func work(t *Table, from, days int, perHour int, bytes uint64) {
	for d := from; d < from+days; d++ {
		if d%7 > 4 {
			continue
		}
		for h := 8; h < 18; h++ {
			for i := range perHour {
				at := monday + int64(d)*day + int64(h)*hour + int64(i)*second
				t.Observe(conn(at, me, fmt.Sprintf("198.51.100.%d", 1+i%20), uint16(443+i%3), bytes/uint64(perHour), event.OutcomeAnswered), true, false, nil)
			}
		}
	}
}

// Each quantity is expected where it was, by the hour and kind of day, and scored
// before it is learned.
func TestExpectations(t *testing.T) {
	tab := New(DefaultConfig(), 1)
	work(tab, 0, 28, 60, 6_000_000)
	h := tab.Of(hash(me))
	noon := monday + 29*day + 12*hour
	f := func(q Quantity, want float64) {
		t.Helper()
		e := h.Expect(q, noon)
		if got := math.Expm1(e.Mean); math.Abs(got-want) > 0.1*want+0.2 {
			t.Errorf("quantity %d: %.1f is expected, want %.1f", q, got, want)
		}
	}
	f(Connections, 60)
	f(Peers, 20)
	f(NewPeers, 0)
	f(BytesOut, 6_000_000)
	f(Failures, 0)
	if e := h.Expect(BytesOut, noon); e.Basis != sketch.NearHours && e.Basis != sketch.SameHour {
		t.Errorf("noon of a Tuesday rests on basis %d", e.Basis)
	}
	if h.Active() != 199 { // 20 working days of 10 hours; the last is not over
		t.Errorf("%d active hours", h.Active())
	}
	if n := h.Ports(); math.Abs(n-3) > 0.2 {
		t.Errorf("%.1f ports, want 3", n)
	}
	if !h.Knows(hash("198.51.100.7")) || h.Knows(hash("198.51.100.70")) {
		t.Error("peers are not remembered")
	}
	if n := h.Now(Connections, monday+25*day+17*hour); n != 60 {
		t.Errorf("%v connections in the hour that is counted", n)
	}
}

// A burst of three days is not learned; one that lasts is, and at once if an analyst
// accepts it.
func TestGate(t *testing.T) {
	expected := func(tab *Table) float64 {
		return math.Expm1(tab.Of(hash(me)).Expect(BytesOut, monday+100*day+12*hour).Mean)
	}
	tab := New(DefaultConfig(), 1)
	work(tab, 0, 28, 10, 1_000_000)
	work(tab, 28, 3, 10, 900_000_000)
	if n := expected(tab); n > 1_300_000 {
		t.Errorf("after a burst %.0f bytes are expected, want 1 MB", n)
	}
	if !tab.Accept(hash(me), 1) {
		t.Error("there is nothing to accept")
	}
	work(tab, 31, 14, 10, 900_000_000)
	if n := expected(tab); n < 300_000_000 {
		t.Errorf("after acceptance %.0f bytes are expected, want 900 MB", n)
	}
	tab = New(DefaultConfig(), 1)
	work(tab, 0, 28, 10, 1_000_000)
	work(tab, 28, 90, 10, 900_000_000)
	if n := expected(tab); n < 300_000_000 {
		t.Errorf("after three months %.0f bytes are expected, want 900 MB", n)
	}
}

// What a detector suspects is not learned, even if it would not stand out.
func TestSuspect(t *testing.T) {
	play := func(suspect bool) float64 {
		tab := New(DefaultConfig(), 1)
		work(tab, 0, 14, 10, 1_000_000)
		if suspect {
			tab.Suspect(hash(me), monday+30*day)
		}
		work(tab, 14, 14, 10, 3_000_000)
		return math.Expm1(tab.Of(hash(me)).Expect(BytesOut, monday+28*day+12*hour).Mean)
	}
	if open, gated := play(false), play(true); open < 1_500_000 || gated > 1_200_000 {
		t.Errorf("%.0f bytes are expected with the gate open, %.0f with it closed", open, gated)
	}
}

// A port is a service when it answers; its clients, failures, sizes and protocols are
// known.
func TestServices(t *testing.T) {
	tab := New(DefaultConfig(), 1)
	for i := range 100 {
		outcome := event.OutcomeAnswered
		if i%10 == 9 {
			outcome = event.OutcomeRejected
		}
		tab.Observe(conn(monday+int64(i)*second, fmt.Sprintf("198.51.100.%d", 1+i%40), "10.0.0.80", 443, 50_000, outcome), false, true, nil)
		tab.Observe(conn(monday+int64(i)*second, "198.51.100.9", "10.0.0.80", uint16(1000+i), 0, event.OutcomeSilent), false, true, nil)
	}
	s := tab.Service(hash("10.0.0.80"), 443, event.ProtoTCP)
	if s == nil || len(tab.services) != 1 {
		t.Fatalf("%d services, want the one that answers", len(tab.services))
	}
	if n := s.Clients(); n < 35 || n > 41 {
		t.Errorf("%.1f clients, want about 36", n)
	}
	if s.Answered() != 90 || s.Failed() != 10 || math.Abs(math.Expm1(s.Size().Mean())-50_000) > 100 || !slices.Equal(s.Protocols(), []string{"http"}) {
		t.Errorf("%d answered, %d failed, size %.0f, %v", s.Answered(), s.Failed(), math.Expm1(s.Size().Mean()), s.Protocols())
	}
}

// What is learned does not depend on the number of shards, nor on restarts.
func TestShardsAndCuts(t *testing.T) {
	evs := scenario.Load(t, shareddata.Path(t, "labelled/c2/numinon/conn.log.gz"))
	var tables []*Table
	last := 0
	shard := func(n int) scenario.Detector {
		tables, last = append(tables, New(DefaultConfig(), n)), n
		return tables[len(tables)-1]
	}
	type contents struct {
		Hosts    map[uint64]Host
		Services map[serviceKey]Service
	}
	known := func() contents { // by the tables of the last restart
		c := contents{map[uint64]Host{}, map[serviceKey]Service{}}
		for _, tab := range tables[len(tables)-last:] {
			for k, h := range tab.hosts {
				v := *h
				v.dirty = false
				c.Hosts[k] = v
			}
			for k, s := range tab.services {
				v := *s
				v.dirty = false
				c.Services[k] = v
			}
		}
		tables = nil
		return c
	}
	same := cmp.Options{
		cmp.Exporter(func(reflect.Type) bool { return true }),
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b sketch.Seen) bool { return string(a.Append(nil)) == string(b.Append(nil)) }),
	}
	scenario.Observe(evs, 1, shard)
	want := known()
	if len(want.Hosts) < 2 || len(want.Services) < 1 {
		t.Fatalf("%d hosts, %d services", len(want.Hosts), len(want.Services))
	}
	scenario.Observe(evs, 5, shard)
	if d := cmp.Diff(want, known(), same); d != "" {
		t.Errorf("five shards (-one +five):\n%.2000s", d)
	}
	for seed := range uint64(4) {
		scenario.ObserveWithCuts(t, evs, seed, shard)
		if d := cmp.Diff(want, known(), same); d != "" {
			t.Errorf("seed %d: with cuts (-without +with):\n%.2000s", seed, d)
		}
	}
}

// A flood of forged inside sources and of ports that answer keeps the caps, and takes
// nothing from a host with history.
func TestFlood(t *testing.T) {
	tab := New(Config{MaxHosts: 2000, MaxServices: 500}, 1)
	work(tab, 0, 5, 10, 1_000_000)
	rnd := rand.New(rand.NewPCG(1, 1))
	ev := conn(monday+4*day+19*hour, me, "198.51.100.9", 443, 10, event.OutcomeAnswered)
	for range 200_000 {
		v := rnd.Uint32()
		ev.Orig.Addr = netip.AddrFrom4([4]byte{10, 99, byte(v), byte(v >> 8)})
		ev.Resp.Addr = netip.AddrFrom4([4]byte{10, 0, 7, byte(v >> 16)})
		ev.Resp.Port = uint16(v >> 12)
		zones.Enrich(ev)
		ev.Time += 1e6
		ev.End = ev.Time
		tab.Observe(ev, true, true, nil)
	}
	if len(tab.hosts) > 2000 || len(tab.services) > 500 {
		t.Errorf("%d hosts, %d services: over the caps", len(tab.hosts), len(tab.services))
	}
	if h := tab.Of(hash(me)); h == nil || h.Active() < 40 {
		t.Error("the host with history is forgotten")
	}
}

// bytes is what a host takes in memory.
func (h *Host) bytes() int {
	n := 600 + h.peers.Bytes() // the struct, and its place in the map
	for q := range h.season {
		n += h.season[q].Bytes()
	}
	return n
}

// A host of an office takes 3 KB after a month at most, and one that has just come
// less than 1.5.
func TestBytes(t *testing.T) {
	tab := New(DefaultConfig(), 1)
	work(tab, 0, 1, 30, 1_000_000)
	if n := tab.Of(hash(me)).bytes(); n > 2000 {
		t.Errorf("%d bytes after a day", n)
	}
	work(tab, 1, 28, 30, 1_000_000)
	if n := tab.Of(hash(me)).bytes(); n > 3000 {
		t.Errorf("%d bytes after a month", n)
	}
}

func TestObserveDoesNotAllocate(t *testing.T) {
	tab := New(DefaultConfig(), 1)
	tab.Track()
	work(tab, 0, 5, 10, 1_000_000)
	evs := []*event.Event{
		conn(monday+7*day, me, "198.51.100.9", 443, 10, event.OutcomeAnswered),
		conn(monday+7*day+2*hour, me, "10.0.0.80", 443, 10, event.OutcomeAnswered),
		conn(monday+7*day, "198.51.100.9", me, 443, 10, event.OutcomeAnswered),
	}
	pass := func() {
		for _, ev := range evs {
			tab.Observe(ev, true, true, nil)
			ev.Time += 3 * hour
			ev.End += 3 * hour
		}
	}
	for range 60 {
		pass()
	}
	if n := testing.AllocsPerRun(200, pass); n != 0 {
		t.Errorf("%v allocations for known hosts, want 0", n)
	}
}

// A record whose clock is years ahead does not stop the counting.
func TestWrongClock(t *testing.T) {
	tab := New(DefaultConfig(), 1)
	work(tab, 0, 3, 10, 1_000_000)
	tab.Observe(conn(monday+9000*day, me, "198.51.100.9", 443, 10, event.OutcomeAnswered), true, true, nil)
	before := tab.Of(hash(me)).Active()
	work(tab, 3, 2, 10, 1_000_000)
	if n := tab.Of(hash(me)).Active() - before; n < 18 {
		t.Errorf("%d hours were learned after a wrong clock, want 19", n)
	}
}

// Records that nobody wrote are refused, and do no harm.
func FuzzRestore(f *testing.F) {
	tab := New(DefaultConfig(), 1)
	tab.Track()
	work(tab, 0, 8, 10, 1_000_000)
	tab.Observe(conn(monday, "198.51.100.9", "10.0.0.80", 443, 10, event.OutcomeAnswered), true, true, nil)
	for _, r := range tab.Cut() {
		f.Add(r.Key, r.Value)
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		tab := New(DefaultConfig(), 1)
		if tab.Restore(state.Record{Key: key, Value: value}, func(uint64) bool { return true }) != nil {
			return
		}
		work(tab, 8, 2, 3, 1_000_000)
		tab.Observe(conn(monday+9*day, "198.51.100.9", "10.0.0.80", 443, 10, event.OutcomeAnswered), true, true, nil)
		tab.Advance(monday+100*day, nil)
		tab.Cut()
	})
}

func BenchmarkObserve(b *testing.B) {
	evs := scenario.Load(b, shareddata.Path(b, "labelled/benign-days/010/conn.log.labeled.gz"), "147.32.0.0/16")
	b.ReportAllocs()
	tab := New(DefaultConfig(), 1)
	i := 0
	for b.Loop() {
		tab.Observe(evs[i], true, true, nil)
		if i++; i == len(evs) {
			i = 0
		}
	}
}

// What a host reads in a day is compared with the days before; a burst is learned
// slowly, two sensors' counts of one day are not added up, and a record keeps it all.
func TestIntake(t *testing.T) {
	h := &Host{}
	for d := range int64(10) {
		h.intake.add(1_000_000+uint64(d)*10_000, (20_000+d)*day+5*hour)
	}
	at := 20_010*day + 3*hour
	h.intake.add(2_000_000_000, at)
	bytes, usual, sigmas, ok := h.Intake(at)
	if !ok || bytes != 2e9 || usual < 0.9e6 || usual > 1.2e6 || sigmas < 5 {
		t.Errorf("read %.0f, usual %.0f, %.1f sigmas, %v", bytes, usual, sigmas, ok)
	}
	if bytes, _, _, _ = h.Intake(at + day); bytes != 2e9 {
		t.Errorf("the day after: %.0f", bytes)
	}
	if bytes, _, _, _ = h.Intake(at + 2*day); bytes != 0 {
		t.Errorf("two days after: %.0f", bytes)
	}
	c := &Host{Host: state.Host{Addr: netip.MustParseAddr("10.0.0.1")}}
	c.intake = h.intake
	c = c.clone()
	if c.intake != h.intake {
		t.Errorf("restored %+v, want %+v", c.intake, h.intake)
	}
	c.intake.merge(&h.intake)
	if got, _, _, _ := c.Intake(at); got != 2e9 {
		t.Errorf("two sensors' counts: %.0f", got)
	}
	h.intake.add(1, at+day)
	if _, after, _, _ := h.Intake(at + day); after > 2*usual {
		t.Errorf("the burst was learned: %.0f a day are usual now", after)
	}
	h.intake.add(5, 10_000*day)
	if h.intake.day != 10_000 {
		t.Errorf("a wrong day is kept: %d", h.intake.day)
	}
}
