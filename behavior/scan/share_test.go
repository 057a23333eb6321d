package scan

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"tidewatch/behavior/state"
	"tidewatch/event"
	"tidewatch/internal/scenario"
)

func apart(t testing.TB, evs []*event.Event, step int, sees func(int) (bool, bool)) [2][]event.Observation {
	t.Helper()
	return scenario.ObserveApart(t, evs, step, 2, sees, func(n int) scenario.Sharer { return New(DefaultConfig(), n) })
}

// A scan of which two sensors see each a half is one scan: both find it, under the name
// that one sensor would give it who sees all, and count as much. Two sensors on one link
// count no more than one.
func TestTwoSensors(t *testing.T) {
	for _, k := range kinds {
		for name, sees := range map[string]func(int) (bool, bool){"halves": scenario.Turns, "one link": scenario.OneLink} {
			t.Run(k.name+"/"+name, func(t *testing.T) {
				r := newRows()
				k.build(r)
				evs := r.events(t)
				evs = slices.DeleteFunc(evs, func(ev *event.Event) bool { return ev.Kind != event.KindConn })
				whole := observe(evs, 1, DefaultConfig())
				last := &whole[len(whole)-1]
				for i, obs := range apart(t, evs, 3, sees) {
					if len(obs) != 2 {
						t.Fatalf("sensor %d: %d reports, want two of one episode", i, len(obs))
					}
					for _, o := range obs {
						if o.Episode != last.Episode {
							t.Errorf("sensor %d: episode %s, want %s", i, o.Episode, last.Episode)
						}
					}
					got := &obs[1]
					for _, key := range []string{"attempts", "failed", "answered", "targets", "ports", "sources"} {
						if a, b := scenario.Number(got, key), scenario.Number(last, key); math.Abs(a-b) > 0.1*b {
							t.Errorf("sensor %d: %v %s, want %v: %s", i, a, key, b, got.Reason)
						}
					}
					if a, b := scenario.Text(got, "shape"), scenario.Text(last, "shape"); a != b {
						t.Errorf("sensor %d: the shape is %s, want %s", i, a, b)
					}
				}
			})
		}
	}
}

// What only both sensors together have seen is found by both, though neither half would
// make a case; and it is not told again once it is over.
func TestOnlyTogether(t *testing.T) {
	r := newRows()
	for i := range 10 {
		r.conn(5, inside, scanned(i), 445, "tcp", "S0")
	}
	for i := range 100 {
		r.conn(60, inside, scanned(i%3+100), 443, "tcp", "SF")
	}
	evs := r.events(t)
	for half := range 2 {
		var seen []*event.Event
		for i, ev := range evs {
			if i%2 == half {
				seen = append(seen, ev)
			}
		}
		if obs := observe(seen, 1, DefaultConfig()); len(obs) > 0 {
			t.Fatalf("half of it makes a case: %s", obs[0].Reason)
		}
	}
	both := apart(t, evs, 1, scenario.Turns)
	for i, obs := range both {
		if len(obs) != 2 || obs[0].Episode != both[0][0].Episode || obs[1].Open {
			t.Errorf("sensor %d: %d reports, want the first and the last of one scan: %+v", i, len(obs), obs)
		}
	}
}

// A sensor that sees nothing more of a scan finds it all the same, when it hears what
// the other one has seen.
func TestFoundFromAfar(t *testing.T) {
	r := newRows()
	for i := range 10 {
		r.conn(5, inside, scanned(i), 445, "tcp", "S0")
	}
	both := apart(t, r.events(t), 1, func(i int) (bool, bool) { return i < 5, i >= 5 })
	for i, obs := range both {
		if len(obs) != 2 || obs[0].Episode != both[1][0].Episode {
			t.Errorf("sensor %d: %d reports", i, len(obs))
		}
	}
}

// Of a long scan that two sensors see on one link, of which one lags behind, what both
// have seen counts once.
func TestLongScanOnOneLink(t *testing.T) {
	r := newRows()
	for i := range 1200 {
		r.conn(.05, inside, fmt.Sprintf("10.1.%d.%d", i/200, 1+i%200), 445, "tcp", oneOf(i%100, "S0", 7))
	}
	evs := r.events(t)
	key := string(state.Host{Addr: evs[0].Orig.Addr}.Key(state.KindScanSource))
	a, b := recordsOf(evs[:1000], func(int) bool { return true })[key], recordsOf(evs, func(int) bool { return true })[key]
	s, err := decodeSource(state.Host{Addr: evs[0].Orig.Addr}, merged(t, key, a, b))
	if err != nil || s.scan == nil {
		t.Fatalf("no scan: %v", err)
	}
	if n := s.scan.attempts; n < 1190 || n > 1500 {
		t.Errorf("%d attempts, want 1200", n)
	}
}

// What belongs to a scan that one sensor has told to its end is not told again, though
// the other's record still has it.
func TestOverIsOver(t *testing.T) {
	r := newRows()
	for i := range 12 {
		r.conn(5, inside, scanned(i), 445, "tcp", "S0")
	}
	r.conn(7200, inside, scanned(100), 443, "tcp", "SF")
	evs := r.events(t)
	d := New(DefaultConfig(), 1)
	d.Track()
	all := func(uint64) bool { return true }
	told := 0
	for _, ev := range evs {
		told += len(d.Observe(ev, true, false, nil))
	}
	stale := recordsOf(evs[:9], func(i int) bool { return i%2 == 0 })
	for range 2 {
		for k, v := range stale {
			obs, err := d.Share(state.Record{Key: []byte(k), Value: v}, all, nil)
			if err != nil {
				t.Fatal(err)
			}
			told += len(obs)
		}
	}
	s := d.sources[evs[0].Orig.Hash]
	if told != 2 || len(s.recent) > 0 || s.walks[realmInside].failed > 0 {
		t.Errorf("%d reports, want 2; %d contacts are left of what was told", told, len(s.recent))
	}
}

// What others know is never stored as one's own.
func TestOwnIsKeptApart(t *testing.T) {
	r := newRows()
	for i := range 40 {
		r.conn(1, inside, scanned(i), 445, "tcp", oneOf(i, "S0", 7))
	}
	evs := r.events(t)
	alone, shared := New(DefaultConfig(), 1), New(DefaultConfig(), 1)
	other := New(DefaultConfig(), 1)
	for _, d := range []*Detector{alone, shared, other} {
		d.Track()
	}
	stored := func(d *Detector, into map[string][]byte) {
		for _, rec := range d.Cut() {
			into[string(rec.Key)] = rec.Value
		}
	}
	a, b, o := map[string][]byte{}, map[string][]byte{}, map[string][]byte{}
	all := func(uint64) bool { return true }
	for i, ev := range evs {
		if i%2 == 0 {
			alone.Observe(ev, true, true, nil)
			shared.Observe(ev, true, true, nil)
		} else {
			other.Observe(ev, true, true, nil)
		}
		stored(other, o)
		for k, v := range o {
			if _, err := shared.Share(state.Record{Key: []byte(k), Value: v}, all, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	stored(alone, a)
	stored(shared, b)
	for k := range a {
		if !bytes.Equal(a[k], b[k]) {
			t.Errorf("what is stored of %q differs with another sensor", k)
		}
	}
}

// Records of halves merge to what one sensor knows that saw all; the order of merging
// does not matter, nor does it matter to merge a record with itself.
func TestMerge(t *testing.T) {
	r := newRows()
	for i := range 60 {
		r.conn(1, inside, scanned(i), 445, "tcp", oneOf(i%10, "SF", 3))
		r.conn(.1, fmt.Sprintf("198.18.0.%d", i+1), "10.0.0.80", 80, "tcp", oneOf(i%5, "S0", 1, 2, 3, 4))
		r.conn(.1, outside, scanned(i%2), 22+i, "tcp", "SF")
	}
	evs := r.events(t)
	whole := recordsOf(evs, func(int) bool { return true })
	parts := [3]map[string][]byte{}
	for p := range parts {
		parts[p] = recordsOf(evs, func(i int) bool { return i%3 == p })
	}
	for k, v := range parts[0] {
		b, c := parts[1][k], parts[2][k]
		if k[0] == state.KindScanLight || b == nil || c == nil {
			continue
		}
		ab, ba := merged(t, k, v, b), merged(t, k, b, v)
		if !bytes.Equal(ab, ba) {
			t.Errorf("%q: the order of merging matters", k)
		}
		left, right := merged(t, k, ab, c), merged(t, k, v, merged(t, k, b, c))
		if k[0] == state.KindScanSource {
			alike(t, k, left, right, 0)
			alike(t, k, left, whole[k], 0.1)
			alike(t, k, merged(t, k, v, v), v, 0)
		} else if !bytes.Equal(left, right) {
			t.Logf("%q: targets differ by rounding", k)
		}
	}
}

func recordsOf(evs []*event.Event, sees func(i int) bool) map[string][]byte {
	d := New(DefaultConfig(), 1)
	d.Track()
	for i, ev := range evs {
		if sees(i) {
			d.Observe(ev, true, true, nil)
		}
	}
	m := map[string][]byte{}
	for _, r := range d.Cut() {
		m[string(r.Key)] = r.Value
	}
	return m
}

func merged(t testing.TB, key string, a, b []byte) []byte {
	t.Helper()
	m, err := Merge(state.Record{Key: []byte(key), Value: a}, state.Record{Key: []byte(key), Value: b})
	if err != nil {
		t.Fatalf("%q: %v", key, err)
	}
	return m.Value
}

// alike holds that two records of a source say the same but for a share.
func alike(t *testing.T, key string, got, want []byte, share float64) {
	t.Helper()
	host, err := state.ParseHost([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	a, errA := decodeSource(host, got)
	b, errB := decodeSource(host, want)
	if errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	near := func(what string, x, y float64) {
		if math.Abs(x-y) > share*math.Max(math.Abs(y), 1)+0.01 {
			t.Errorf("%v: %s %v, want %v", host.Addr, what, x, y)
		}
	}
	for i := range a.walks {
		near(fmt.Sprintf("failed in walk %d", i), float64(a.walks[i].failed), float64(b.walks[i].failed))
	}
	near("first", float64(a.first), float64(b.first))
	near("peers", float64(a.hosts), float64(b.hosts))
	near("recent", float64(len(a.recent)), float64(len(b.recent)))
}

// Scans like one that an analyst accepted stay silent, over a restart too. Those that
// go far beyond are told.
func TestAccept(t *testing.T) {
	scanOf := func(r *rows, hosts, port int) {
		for i := range hosts {
			r.conn(.5, inside, scanned(i), port, "tcp", "S0")
		}
		r.conn(7200, inside, scanned(200), 443, "tcp", "SF")
	}
	all := func(uint64) bool { return true }
	r := newRows()
	scanOf(r, 40, 161)
	first := r.events(t)
	d := New(DefaultConfig(), 1)
	d.Track()
	if d.Accept(state.Entity{Host: first[0].Orig.Addr}, 1) {
		t.Error("what nobody has seen is accepted")
	}
	found := 0
	for _, ev := range first {
		found += len(d.Observe(ev, true, true, nil))
	}
	at := first[len(first)-1].Time
	if found != 2 || !d.Accept(state.Entity{Host: first[0].Orig.Addr}, at) {
		t.Fatalf("%d reports, or the scan cannot be accepted", found)
	}
	f := func(what string, hosts, port, reports int) {
		t.Helper()
		e := New(DefaultConfig(), 1)
		for k, v := range recordsAfter(d) {
			if err := e.Restore(state.Record{Key: []byte(k), Value: v}, all); err != nil {
				t.Fatal(err)
			}
		}
		r := newRows()
		scanOf(r, hosts, port)
		r.shift(24 * time.Hour)
		var obs []event.Observation
		for _, ev := range r.events(t) {
			obs = e.Observe(ev, true, true, obs)
		}
		if len(obs) != reports {
			t.Errorf("%s: %d reports, want %d", what, len(obs), reports)
		}
		for _, o := range obs {
			if !slices.ContainsFunc(o.Evidence, func(e event.Evidence) bool { return e.Feature == "scan.accepted" }) {
				t.Errorf("%s: that an analyst accepted less is not said", what)
			}
		}
	}
	f("as many hosts at another port", 50, 162, 0)
	f("many more hosts", 190, 163, 2)
}

// recordsAfter is all that is stored of a detector.
func recordsAfter(d *Detector) map[string][]byte {
	for _, s := range d.sources {
		d.touch(s)
	}
	m := map[string][]byte{}
	for _, r := range d.Cut() {
		m[string(r.Key)] = r.Value
	}
	return m
}

// A finding made before the stored record came says so; after it came, it does not.
func TestNotLoadedYet(t *testing.T) {
	r := newRows()
	for i := range 20 {
		r.conn(1, inside, scanned(i), 445, "tcp", "S0")
	}
	for _, fetched := range []bool{false, true} {
		d := New(DefaultConfig(), 1)
		d.Lookup()
		var obs []event.Observation
		for i, ev := range r.events(t) {
			obs = d.Observe(ev, true, false, obs)
			if i == 2 && fetched {
				for _, k := range d.Wanted() {
					if err := d.Restore(state.Record{Key: k}, func(uint64) bool { return true }); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		said := slices.ContainsFunc(obs[0].Evidence, func(e event.Evidence) bool { return e.Feature == "scan.baseline_loaded" })
		if said == fetched {
			t.Errorf("fetched: %v, but the finding says %v", fetched, obs[0].Baseline.Text)
		}
	}
}

// A stored record that comes late is as if it had been there from the beginning.
func TestLateRecord(t *testing.T) {
	r := newRows()
	for i := range 30 {
		r.conn(2, inside, scanned(i), 445, "tcp", oneOf(i, "S0", 3))
	}
	evs := r.events(t)
	const cut = 6
	before := recordsOf(evs[:cut], func(int) bool { return true })
	d := New(DefaultConfig(), 1)
	var obs []event.Observation
	for i, ev := range evs[cut:] {
		if i == 3 {
			for k, v := range before {
				if err := d.Restore(state.Record{Key: []byte(k), Value: v}, func(uint64) bool { return true }); err != nil {
					t.Fatal(err)
				}
			}
		}
		obs = d.Observe(ev, true, true, obs)
	}
	obs = d.Finish(obs)
	want := observe(evs, 1, DefaultConfig())
	if len(obs) != len(want) || obs[1].Reason != want[1].Reason || obs[0].Episode != want[0].Episode {
		t.Errorf("%d reports: %s\nwant %d: %s", len(obs), obs[len(obs)-1].Reason, len(want), want[1].Reason)
	}
}

func FuzzMerge(f *testing.F) {
	r := newRows()
	for i := range 60 {
		r.conn(.5, inside, scanned(i), 445, "tcp", oneOf(i%9, "S0", 0))
		r.conn(.1, fmt.Sprintf("198.18.0.%d", i+1), "10.0.0.80", 80+i, "tcp", "S0")
	}
	evs := r.events(f)
	a, b := recordsOf(evs, func(i int) bool { return i%2 == 0 }), recordsOf(evs, func(i int) bool { return i%3 > 0 })
	for k, v := range a {
		f.Add([]byte(k), v, b[k])
	}
	f.Fuzz(func(t *testing.T, key, a, b []byte) {
		m, err := Merge(state.Record{Key: key, Value: a}, state.Record{Key: key, Value: b})
		if err != nil {
			return
		}
		d := New(DefaultConfig(), 1)
		all := func(uint64) bool { return true }
		if err := d.Restore(m, all); err != nil {
			t.Fatalf("what was merged is refused: %v", err)
		}
		if _, err := d.Share(m, all, nil); err != nil {
			t.Fatal(err)
		}
		for _, ev := range evs[:20] {
			d.Observe(ev, true, true, nil)
		}
		d.Finish(nil)
	})
}
