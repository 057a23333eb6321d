package beacon

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"tidewatch/behavior/state"
	"tidewatch/event"
	"tidewatch/internal/scenario"
)

func apart(t testing.TB, evs []*event.Event, step int, sees func(int) (bool, bool)) [2][]event.Observation {
	t.Helper()
	return scenario.ObserveApart(t, evs, step, 2, sees, func(n int) scenario.Sharer { return New(DefaultConfig(), n) })
}

// implant is a log of a host that calls somebody so many times, every five minutes with
// some jitter, and of what it does otherwise.
func implant(n int) *rows {
	r := new(rows)
	rnd := rand.New(rand.NewPCG(3, 3))
	at := 0.0
	for i := range n {
		at += 300 * (0.9 + 0.2*rnd.Float64())
		r.conn(at, "10.0.0.5", "198.51.100.7", 4444, 700, 2000, "SF")
		if i%4 == 0 {
			r.conn(at+20+100*rnd.Float64(), "10.0.0.5", fmt.Sprintf("203.0.113.%d", 1+i%40), 443, 900, 9000, "SF")
		}
	}
	return r
}

// A beacon of a host that roams between two sensors is one beacon, for both and under one
// name, and so is one of which each sees every other call. Two sensors on one link count
// its calls once.
func TestTwoSensors(t *testing.T) {
	const calls = 60
	evs := implant(calls).events(t)
	whole := observe(evs, 1)
	if len(whole) == 0 {
		t.Fatal("one sensor does not find it")
	}
	want := &whole[len(whole)-1]
	f := func(name string, sees func(int) (bool, bool)) {
		t.Helper()
		for i, obs := range apart(t, evs, 2, sees) {
			if len(obs) < 2 {
				t.Errorf("%s: sensor %d: %d reports", name, i, len(obs))
				continue
			}
			got := &obs[len(obs)-1]
			for _, o := range obs {
				if o.Episode != want.Episode {
					t.Errorf("%s: sensor %d: episode %s, want %s", name, i, o.Episode, want.Episode)
				}
			}
			for _, key := range []string{"period_seconds", "contacts", "connections", "bytes_out_per_contact"} {
				if a, b := scenario.Number(got, key), scenario.Number(want, key); math.Abs(a-b) > 0.1*b {
					t.Errorf("%s: sensor %d: %v %s, want %v: %s", name, i, a, key, b, got.Reason)
				}
			}
		}
	}
	f("roaming", func(i int) (bool, bool) { return i < len(evs)/2, i >= len(evs)/2 })
	f("to and fro", func(i int) (bool, bool) { return i/15%2 == 0, i/15%2 == 1 })
	f("every other call", scenario.Turns)
	f("one link", scenario.OneLink)
}

// What neither sensor has seen often enough is found by both.
func TestOnlyTogether(t *testing.T) {
	r := new(rows)
	for i := range 10 {
		r.conn(float64(600*i), "10.0.0.5", "198.51.100.7", 4444, 700, 2000, "SF")
	}
	evs := r.events(t)
	for half := range 2 {
		var seen []*event.Event
		for i, ev := range evs {
			if i%2 == half {
				seen = append(seen, ev)
			}
		}
		if obs := observe(seen, 1); len(obs) > 0 {
			t.Fatalf("half of it makes a case: %s", obs[0].Reason)
		}
	}
	both := apart(t, evs, 1, scenario.Turns)
	for i, obs := range both {
		if len(obs) == 0 || obs[0].Episode != both[0][0].Episode {
			t.Errorf("sensor %d: %d reports", i, len(obs))
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
	return stored(d)
}

func stored(d *Detector) map[string][]byte {
	m := map[string][]byte{}
	for _, r := range d.Cut() {
		m[string(r.Key)] = r.Value
	}
	return m
}

func all(uint64) bool { return true }

// What others know is never stored as one's own.
func TestOwnIsKeptApart(t *testing.T) {
	evs := implant(60).events(t)
	shared := New(DefaultConfig(), 1)
	shared.Track()
	others := recordsOf(evs, func(i int) bool { return i%2 == 1 })
	n := 0
	for i, ev := range evs {
		if i%2 == 1 {
			continue
		}
		if n++; n%7 == 3 {
			for k, v := range others {
				if _, err := shared.Share(state.Record{Key: []byte(k), Value: v}, all, nil); err != nil {
					t.Fatal(err)
				}
			}
		}
		shared.Observe(ev, true, true, nil)
	}
	want, got := recordsOf(evs, func(i int) bool { return i%2 == 0 }), stored(shared)
	found := false
	for k, v := range want {
		if k[0] != state.KindBeacon {
			continue
		}
		found = true
		a, b := readTrack(&state.Reader{B: v}, 1), readTrack(&state.Reader{B: got[k]}, 1)
		// With others' the track begins earlier, and it counts records from then on.
		early := int(b.records) - int(a.records)
		if a.Sessions() != b.Sessions() || early < 0 || early > coldSessions || a.First() != b.First() || a.RecentBytes() != b.RecentBytes() {
			t.Errorf("%q: %d sessions are stored, want %d", k, b.Sessions(), a.Sessions())
		}
	}
	if !found {
		t.Error("there is no track to compare")
	}
}

// The order of merging does not matter, and a record merged with itself says the same.
func TestMerge(t *testing.T) {
	evs := implant(60).events(t)
	var parts [3]map[string][]byte
	for p := range parts {
		parts[p] = recordsOf(evs, func(i int) bool { return i/7%3 == p })
	}
	n := 0
	for k, a := range parts[0] {
		b, c := parts[1][k], parts[2][k]
		if b == nil || c == nil {
			continue
		}
		n++
		ab := merged(t, k, a, b)
		if !bytes.Equal(ab, merged(t, k, b, a)) {
			t.Errorf("%q: the order of merging matters", k)
		}
		if !bytes.Equal(merged(t, k, a, a), a) {
			t.Errorf("%q: merged with itself it says something else", k)
		}
		if k[0] == state.KindPair {
			continue
		}
		x, y := readTrack(&state.Reader{B: merged(t, k, ab, c)}, 1), readTrack(&state.Reader{B: merged(t, k, a, merged(t, k, b, c))}, 1)
		if x.Sessions() != 60 || y.Sessions() != 60 || x.records != y.records || x.First() != y.First() || x.Last() != y.Last() {
			t.Errorf("%q: %d and %d sessions, want 60", k, x.Sessions(), y.Sessions())
		}
	}
	if n == 0 {
		t.Error("nothing to merge")
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

// A beacon that an analyst accepted is not told again, over a restart too; one that rings
// more often is, or sends far more.
func TestAccept(t *testing.T) {
	evs := implant(60).events(t)
	d := New(DefaultConfig(), 1)
	d.Track()
	var obs []event.Observation
	for _, ev := range evs {
		obs = d.Observe(ev, true, true, obs)
	}
	pair := func(s string) state.Entity {
		e, err := state.ParseEntity(s)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	obs = d.Finish(obs)
	if len(obs) == 0 || d.Accept(pair("10.0.0.5->198.51.100.8"), 1) || d.Accept(pair("10.0.0.5"), 1) || !d.Accept(pair("10.0.0.5->198.51.100.7:4444/tcp"), evs[len(evs)-1].Time) {
		t.Fatal("the beacon is not found, cannot be accepted, or one that is not there can")
	}
	records := stored(d)
	f := func(what string, told bool, add func(r *rows, i int)) {
		t.Helper()
		e := New(DefaultConfig(), 1)
		for k, v := range records {
			if err := e.Restore(state.Record{Key: []byte(k), Value: v}, all); err != nil {
				t.Fatal(err)
			}
		}
		r := new(rows)
		for i := range 120 {
			add(r, i)
		}
		var obs []event.Observation
		for _, ev := range r.events(t) {
			obs = e.Observe(ev, true, true, obs)
		}
		if obs = e.Finish(obs); len(obs) > 0 != told {
			t.Errorf("%s: %d reports, want some: %v", what, len(obs), told)
		}
		for _, o := range obs {
			if !slices.ContainsFunc(o.Evidence, func(e event.Evidence) bool { return e.Feature == "beacon.accepted" }) {
				t.Errorf("%s: that an analyst accepted less is not said", what)
			}
		}
	}
	f("as before", false, func(r *rows, i int) {
		r.conn(20000+300*float64(i), "10.0.0.5", "198.51.100.7", 4444, 720, 2100, "SF")
	})
	f("far more bytes", true, func(r *rows, i int) {
		r.conn(20000+300*float64(i), "10.0.0.5", "198.51.100.7", 4444, 90000, 2100, "SF")
	})
	f("far more often", true, func(r *rows, i int) {
		r.conn(20000+20*float64(i), "10.0.0.5", "198.51.100.7", 4444, 700, 2100, "SF")
	})
}

// What was stored and comes late counts as if it had been there from the beginning, and
// a finding made before says so.
func TestLateRecord(t *testing.T) {
	evs := implant(40).events(t)
	want := observe(evs, 1)
	for _, cut := range []int{4, 8, 30} {
		before := recordsOf(evs, func(i int) bool { return i < cut })
		for _, late := range []int{1, 3, 9} {
			d := New(DefaultConfig(), 1)
			var obs []event.Observation
			for i, ev := range evs[cut:] {
				if i == late {
					for k, v := range before {
						if err := d.Restore(state.Record{Key: []byte(k), Value: v}, all); err != nil {
							t.Fatal(err)
						}
					}
				}
				obs = d.Observe(ev, true, true, obs)
			}
			obs = d.Finish(obs)
			got := &obs[len(obs)-1]
			if a, b := scenario.Number(got, "contacts"), scenario.Number(&want[len(want)-1], "contacts"); a != b || got.Episode != want[0].Episode {
				t.Errorf("cut %d, late by %d: %v contacts, want %v", cut, late, a, b)
			}
		}
	}
	d := New(DefaultConfig(), 1)
	d.Lookup()
	var obs []event.Observation
	for _, ev := range evs {
		obs = d.Observe(ev, true, true, obs)
	}
	if len(d.Wanted()) == 0 || !slices.ContainsFunc(obs[0].Evidence, func(e event.Evidence) bool { return e.Feature == "beacon.baseline_loaded" }) {
		t.Error("nothing is wanted, or the finding does not say that what is stored was not loaded")
	}
}

func FuzzMerge(f *testing.F) {
	evs := implant(40).events(f)
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
		for _, ev := range evs[:12] {
			d.Observe(ev, true, true, nil)
		}
		for range 2 {
			if _, err := d.Share(m, all, nil); err != nil && len(key) == 9 {
				t.Fatalf("what was merged is refused: %v", err)
			}
			for _, ev := range evs[12:20] {
				d.Observe(ev, true, true, nil)
			}
			_ = d.Restore(m, all)
		}
		for _, ev := range evs[20:] {
			d.Observe(ev, true, true, nil)
		}
		d.Finish(nil)
	})
}
