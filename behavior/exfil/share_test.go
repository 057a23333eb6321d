package exfil

import (
	"bytes"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"testing"

	"tidewatch/behavior/hosts"
	"tidewatch/behavior/state"
	"tidewatch/event"
	"tidewatch/internal/scenario"
)

func (b *both) Share(r state.Record, owns func(hash uint64) bool, dst []event.Observation) ([]event.Observation, error) {
	if len(r.Key) > 0 && r.Key[0] == state.KindUpload {
		return b.Detector.Share(r, owns, dst)
	}
	return b.known.Share(r, owns, dst)
}

func (b *both) Lookup() { b.Detector.Lookup(); b.known.Lookup() }

func (b *both) Wanted() [][]byte { return append(b.Detector.Wanted(), b.known.Wanted()...) }

func newSharer(shards int) scenario.Sharer { return newBoth(shards).(*both) }

// thefts are logs in which something is stolen, by what it is told as.
var thefts = map[string]func(l *log){
	"bulk": func(l *log) { l.add(36_000, 8, me, thief, 443, "tcp", 28_000_000, 30_000) },
	"pieces": func(l *log) {
		for i := range 40 {
			l.add(36_000+90*float64(i), 20, me, thief, 443, "tcp", 1_500_000, 9000)
		}
	},
	"split": func(l *log) {
		for i := range 24 {
			l.add(36_000+120*float64(i), 20, me, fmt.Sprintf("198.51.%d.7", i+1), 443, "tcp", 1_500_000, 6000)
		}
	},
	"icmp": func(l *log) {
		for i := range 4 {
			l.add(36_000+500*float64(i), 300, me, "203.0.113.80", 0, "icmp", 3_000_000, 3_000_000)
		}
	},
}

// An upload of which two sensors see each a part is one upload, for both and under the
// name that one sensor gives it that sees all. Two sensors on one link count its bytes
// once.
func TestTwoSensors(t *testing.T) {
	for name, build := range thefts {
		for how, sees := range map[string]func(int) (bool, bool){"halves": scenario.Turns, "one link": scenario.OneLink} {
			t.Run(name+"/"+how, func(t *testing.T) {
				l := new(log)
				l.browse(me, 0, 14)
				build(l)
				evs := l.events(t, "json")
				whole := observe(evs, 1)
				if len(whole) == 0 {
					t.Fatal("one sensor does not find it")
				}
				want := &whole[len(whole)-1]
				for i, obs := range scenario.ObserveApart(t, evs, 2, 2, sees, newSharer) {
					if len(obs) == 0 {
						t.Errorf("sensor %d does not find it", i)
						continue
					}
					for _, o := range obs {
						if o.Episode != want.Episode {
							t.Errorf("sensor %d: episode %s, want %s: %s", i, o.Episode, want.Episode, o.Reason)
						}
					}
					got := &obs[len(obs)-1]
					for _, key := range []string{"bytes", "connections", "destinations"} {
						if a, b := scenario.Number(got, key), scenario.Number(want, key); math.Abs(a-b) > 0.15*b {
							t.Errorf("sensor %d: %v %s, want %v: %s", i, a, key, b, got.Reason)
						}
					}
				}
			})
		}
	}
}

func all(uint64) bool { return true }

func recordsOf(evs []*event.Event, sees func(i int) bool) map[string][]byte {
	d := newBoth(1)
	d.Track()
	for i, ev := range evs {
		if sees(i) {
			d.Observe(ev, true, true, nil)
		}
	}
	return stored(d)
}

func stored(d scenario.Detector) map[string][]byte {
	m := map[string][]byte{}
	for _, r := range d.Cut() {
		if len(r.Value) > 0 {
			m[string(r.Key)] = r.Value
		}
	}
	return m
}

// mixed is a log with some of everything.
func mixed(t testing.TB) []*event.Event {
	l := new(log)
	l.browse(me, 0, 14)
	for _, name := range []string{"bulk", "pieces", "split", "icmp"} {
		thefts[name](l)
	}
	l.rows = append(l.rows, row{30_000, 500, me, "192.0.2.10", 443, "tcp", 900_000, 4000, "conn_long"})
	return l.events(t, "json")
}

// What others know is never stored as one's own.
func TestOwnIsKeptApart(t *testing.T) {
	evs := mixed(t)
	others := recordsOf(evs, func(i int) bool { return i%2 == 1 })
	d := newSharer(1)
	d.Track()
	for i, ev := range evs {
		if i%2 == 1 {
			continue
		}
		d.Observe(ev, true, true, nil)
		if i%10 == 0 {
			for k, v := range others {
				if _, err := d.Share(state.Record{Key: []byte(k), Value: v}, all, nil); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	// The gates of the baselines close where the view is suspicious: what is compared is
	// what was counted.
	key := state.Host{Addr: netip.MustParseAddr(me)}
	a, errA := decode(key, recordsOf(evs, func(i int) bool { return i%2 == 0 })[string(key.Key(state.KindUpload))])
	b, errB := decode(key, stored(d)[string(key.Key(state.KindUpload))])
	if errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	if len(a.accounts) == 0 || len(a.accounts) != len(b.accounts) || len(a.small) != len(b.small) {
		t.Fatalf("%d accounts are stored, want %d", len(b.accounts), len(a.accounts))
	}
	for i := range a.accounts {
		x, y := &a.accounts[i], &b.accounts[i]
		if x.key != y.key || x.day.out != y.day.out || x.day.conns != y.day.conns || x.first != y.first {
			t.Errorf("account %d: %d bytes are stored, want %d", i, y.day.out, x.day.out)
		}
	}
}

// The order of merging does not matter; halves make the whole; and a record merged with
// itself counts what it counted.
func TestMerge(t *testing.T) {
	evs := mixed(t)
	key := string(state.Host{Addr: netip.MustParseAddr(me)}.Key(state.KindUpload))
	whole := recordsOf(evs, func(int) bool { return true })[key]
	var parts [3][]byte
	for p := range parts {
		parts[p] = recordsOf(evs, func(i int) bool { return i%3 == p })[key]
	}
	ab := merged(t, key, parts[0], parts[1])
	if !bytes.Equal(ab, merged(t, key, parts[1], parts[0])) {
		t.Error("the order of merging matters")
	}
	sent := func(value []byte) (out uint64, conns uint32) {
		h, err := decode(state.Host{Addr: netip.MustParseAddr(me)}, value)
		if err != nil {
			t.Fatal(err)
		}
		for i := range h.accounts {
			out += h.accounts[i].day.out
			conns += h.accounts[i].day.conns
		}
		for _, l := range h.small {
			out += uint64(l.out)
		}
		return out, conns
	}
	want, _ := sent(whole)
	left, _ := sent(merged(t, key, ab, parts[2]))
	right, _ := sent(merged(t, key, parts[0], merged(t, key, parts[1], parts[2])))
	if math.Abs(float64(left)-float64(want)) > 0.02*float64(want) || left != right {
		t.Errorf("%d or %d bytes of three parts, want %d", left, right, want)
	}
	out, conns := sent(whole)
	if o, c := sent(merged(t, key, whole, whole)); o != out || c != conns {
		t.Errorf("merged with itself: %d bytes in %d connections, want %d in %d", o, c, out, conns)
	}
}

func merged(t testing.TB, key string, a, b []byte) []byte {
	t.Helper()
	m, err := Merge(state.Record{Key: []byte(key), Value: a}, state.Record{Key: []byte(key), Value: b})
	if err != nil {
		t.Fatalf("%q: %v", key, err)
	}
	return m.Value
}

// An upload that an analyst accepted is not told again, over a restart too, unless it is
// far larger.
func TestAccept(t *testing.T) {
	l := new(log)
	l.browse(me, 0, 14)
	l.add(36_000, 8, me, thief, 443, "tcp", 28_000_000, 30_000)
	evs := l.events(t, "json")
	d := newBoth(1).(*both)
	d.Track()
	var obs []event.Observation
	for _, ev := range evs {
		obs = d.Observe(ev, true, true, obs)
	}
	to := func(name string) state.Entity { return state.Entity{Host: netip.MustParseAddr(me), Name: name} }
	obs = d.Finish(obs)
	if len(obs) == 0 || d.Accept(to("other.example"), hashText, 1) || !d.Accept(to("drop-store.example"), hashText, evs[len(evs)-1].End) {
		t.Fatal("nothing is found, or the wrong things can be accepted")
	}
	records := stored(d)
	f := func(what string, bytes int, told bool) {
		t.Helper()
		e := newBoth(1)
		for k, v := range records {
			if err := e.Restore(state.Record{Key: []byte(k), Value: v}, all); err != nil {
				t.Fatal(err)
			}
		}
		l := new(log)
		l.browse(me, 86_400, 10)
		l.add(86_400+36_000, 8, me, thief, 443, "tcp", bytes, 30_000)
		var obs []event.Observation
		for _, ev := range l.events(t, "json") {
			obs = e.Observe(ev, true, true, obs)
		}
		if obs = e.Finish(obs); len(obs) > 0 != told {
			t.Errorf("%s: %d reports, want some: %v", what, len(obs), told)
		}
		for _, o := range obs {
			if !slices.ContainsFunc(o.Evidence, func(e event.Evidence) bool { return e.Feature == "exfiltration.accepted" }) {
				t.Errorf("%s: that an analyst accepted less is not said", what)
			}
		}
	}
	f("as much", 30_000_000, false)
	f("ten times as much", 280_000_000, true)
}

// What was stored and comes late counts, and a finding made before says so.
func TestLateRecord(t *testing.T) {
	l := new(log)
	l.browse(me, 0, 14)
	thefts["pieces"](l)
	evs := l.events(t, "json")
	cut := slices.IndexFunc(evs, func(ev *event.Event) bool { return ev.Resp.Addr.String() == thief }) + 20
	before := recordsOf(evs, func(i int) bool { return i < cut })
	for _, late := range []bool{false, true} {
		d := newBoth(1).(*both)
		d.Lookup()
		var obs []event.Observation
		for i, ev := range evs[cut:] {
			if i == 2 && late {
				for k, v := range before {
					if err := d.Restore(state.Record{Key: []byte(k), Value: v}, all); err != nil {
						t.Fatal(err)
					}
				}
			}
			obs = d.Observe(ev, true, true, obs)
		}
		obs = d.Finish(obs)
		if len(obs) == 0 || len(d.Wanted()) == 0 {
			t.Fatalf("%d reports", len(obs))
		}
		o := &obs[len(obs)-1]
		if n := scenario.Number(o, "bytes"); late && math.Abs(n-60_000_000) > 3_000_000 {
			t.Errorf("%v bytes, want 60 MB", n)
		}
		if said := slices.ContainsFunc(o.Evidence, func(e event.Evidence) bool { return e.Feature == "exfiltration.baseline_loaded" }); said == late {
			t.Errorf("loaded: %v, but the finding says %v", late, o.Baseline.Text)
		}
	}
}

func FuzzMerge(f *testing.F) {
	evs := mixed(f)
	a, b := recordsOf(evs, func(i int) bool { return i%2 == 0 }), recordsOf(evs, func(i int) bool { return i%3 > 0 })
	for k, v := range a {
		if k[0] == state.KindUpload {
			f.Add([]byte(k), v, b[k])
		}
	}
	last := evs[len(evs)-1].Time
	f.Fuzz(func(t *testing.T, key, a, b []byte) {
		m, err := Merge(state.Record{Key: key, Value: a}, state.Record{Key: key, Value: b})
		if err != nil {
			return
		}
		d := New(DefaultConfig(), 1, hosts.New(hosts.DefaultConfig(), 1))
		for _, ev := range evs[:20] {
			d.Observe(ev, true, true, nil)
		}
		for range 2 {
			if _, err := d.Share(m, all, nil); err != nil {
				t.Fatalf("what was merged is refused: %v", err)
			}
			if err := d.Restore(m, all); err != nil {
				t.Fatalf("what was merged is refused: %v", err)
			}
			for _, ev := range evs[len(evs)-30:] {
				d.Observe(ev, true, true, nil)
			}
		}
		d.Advance(last+3*day, nil)
		d.Finish(nil)
	})
}
