package dnstunnel

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"testing"

	"tidewatch/behavior/state"
	"tidewatch/event"
	"tidewatch/internal/scenario"
)

func all(uint64) bool { return true }

// A tunnel of which two sensors see each a part is one tunnel, for both and under the
// name that one sensor gives it that sees all. Two sensors on one link count its names
// once.
func TestTwoSensors(t *testing.T) {
	for kind, build := range map[string]func(l *log){
		"fast": func(l *log) { l.tunnel(120, 2, "t.evil.example", "TXT", 110) },
		"slow": func(l *log) { l.tunnel(120, 400, "t.evil.example", "TXT", 110) },
	} {
		for how, sees := range map[string]func(int) (bool, bool){"halves": scenario.Turns, "one link": scenario.OneLink} {
			t.Run(kind+"/"+how, func(t *testing.T) {
				l := newLog()
				for i := range 30 {
					l.ask(20, fmt.Sprintf("www%d.harmless.example", i), "A", "192.0.2.7")
				}
				build(l)
				evs := l.events(t)
				whole := observe(evs, 1, DefaultConfig())
				if len(whole) == 0 {
					t.Fatal("one sensor does not find it")
				}
				want := &whole[len(whole)-1]
				for i, obs := range scenario.ObserveApart(t, evs, 2, 2, sees, func(n int) scenario.Sharer { return New(DefaultConfig(), n) }) {
					if len(obs) < 2 {
						t.Fatalf("sensor %d: %d reports", i, len(obs))
					}
					for _, o := range obs {
						if o.Episode != want.Episode {
							t.Errorf("sensor %d: episode %s, want %s", i, o.Episode, want.Episode)
						}
					}
					got := &obs[len(obs)-1]
					for _, key := range []string{"queries", "subnames", "subname_bytes", "answer_bytes"} {
						if a, b := scenario.Number(got, key), scenario.Number(want, key); math.Abs(a-b) > 0.1*b {
							t.Errorf("sensor %d: %v %s, want %v: %s", i, a, key, b, got.Reason)
						}
					}
				}
			})
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
		if len(r.Value) > 0 {
			m[string(r.Key)] = r.Value
		}
	}
	return m
}

// What others know is never stored as one's own.
func TestOwnIsKeptApart(t *testing.T) {
	evs := crowd(t, 3)
	d, other := New(DefaultConfig(), 1), New(DefaultConfig(), 1)
	d.Track()
	other.Track()
	for i, ev := range evs {
		if i%2 == 1 {
			other.Observe(ev, true, true, nil)
			continue
		}
		d.Observe(ev, true, true, nil)
		if i%100 == 0 {
			for k, v := range stored(other) {
				if _, err := d.Share(state.Record{Key: []byte(k), Value: v}, all, nil); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	want, got := recordsOf(evs, func(i int) bool { return i%2 == 0 }), stored(d)
	n := 0
	for k, v := range want {
		id, domain, isCandidate, err := parseKey([]byte(k))
		if err != nil || !isCandidate {
			continue
		}
		a, b := candidate{host: &host{Host: id}, key: domain}, candidate{}
		readCandidate(&state.Reader{B: v}, &a)
		readCandidate(&state.Reader{B: got[k]}, &b)
		if b.episodes > 0 {
			continue // what both together made is over, and with it what it was made of
		}
		n++
		if a.total != b.total || a.first != b.first || a.hour != b.hour {
			t.Errorf("%s: %v names are stored, want %v", a.domain, b.total[countNames], a.total[countNames])
		}
	}
	if n < 1 {
		t.Errorf("%d candidates to compare", n)
	}
}

// The order of merging does not matter; halves make the whole; and a record merged with
// itself counts what it counted.
func TestMerge(t *testing.T) {
	evs := crowd(t, 3)
	whole := recordsOf(evs, func(int) bool { return true })
	var parts [3]map[string][]byte
	for p := range parts {
		parts[p] = recordsOf(evs, func(i int) bool { return i%3 == p })
	}
	n := 0
	for k, a := range parts[0] {
		b, c := parts[1][k], parts[2][k]
		if b == nil || c == nil {
			continue
		}
		ab := merged(t, k, a, b)
		if !bytes.Equal(ab, merged(t, k, b, a)) {
			t.Errorf("%q: the order of merging matters", k)
		}
		_, _, isCandidate, err := parseKey([]byte(k))
		if err != nil {
			t.Fatal(err)
		}
		if !isCandidate {
			continue
		}
		n++
		read := func(v []byte) *candidate {
			c := &candidate{host: &host{}}
			readCandidate(&state.Reader{B: v}, c)
			return c
		}
		left, right, want := read(merged(t, k, ab, c)), read(merged(t, k, a, merged(t, k, b, c))), read(whole[k])
		for _, i := range []int{countNames, countBytes} {
			if x, y, z := left.total[i], right.total[i], want.total[i]; math.Abs(x-z) > 0.1*z || math.Abs(x-y) > 0.02*z {
				t.Errorf("%s: %v or %v of count %d, want %v", want.domain, x, y, i, z)
			}
		}
		if x, z := left.day.sum(), want.day.sum(); math.Abs(x-z) > 0.1*z {
			t.Errorf("%s: %v bytes in the day, want %v", want.domain, x, z)
		}
		if same := read(merged(t, k, a, a)); same.total != read(a).total || same.hour.sum() != read(a).hour.sum() {
			t.Errorf("%s: merged with itself it counts more", want.domain)
		}
	}
	if n < 2 {
		t.Errorf("%d candidates to compare", n)
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

// What an analyst accepted of a host and domain is not told again, over a restart too,
// unless there is far more.
func TestAccept(t *testing.T) {
	l := newLog()
	l.tunnel(60, 30, "t.evil.example", "TXT", 110)
	evs := l.events(t)
	d := New(DefaultConfig(), 1)
	d.Track()
	var obs []event.Observation
	for _, ev := range evs {
		obs = d.Observe(ev, true, true, obs)
	}
	obs = d.Finish(obs)
	if len(obs) == 0 || d.Accept(state.Entity{Host: evs[0].Orig.Addr, Name: "other.example"}, 1) || !d.Accept(state.Entity{Host: evs[0].Orig.Addr, Name: "evil.example"}, evs[59].Time) {
		t.Fatal("nothing is found, or the wrong things can be accepted")
	}
	records := stored(d)
	f := func(what string, names int, gap float64, told bool) {
		t.Helper()
		e := New(DefaultConfig(), 1)
		for k, v := range records {
			if err := e.Restore(state.Record{Key: []byte(k), Value: v}, all); err != nil {
				t.Fatal(err)
			}
		}
		l := newLog()
		l.at += 100_000
		l.rnd.Uint64()
		l.tunnel(names, gap, "t.evil.example", "TXT", 110)
		var obs []event.Observation
		for _, ev := range l.events(t) {
			obs = e.Observe(ev, true, true, obs)
		}
		if obs = e.Finish(obs); len(obs) > 0 != told {
			t.Errorf("%s: %d reports, want some: %v", what, len(obs), told)
		}
		for _, o := range obs {
			if !slices.ContainsFunc(o.Evidence, func(e event.Evidence) bool { return e.Feature == "dns_tunnel.accepted" }) {
				t.Errorf("%s: that an analyst accepted less is not said", what)
			}
		}
	}
	f("as much", 60, 30, false)
	f("ten times as much", 600, 3, true)
}

// What was stored and comes late counts, and a finding made before says so.
func TestLateRecord(t *testing.T) {
	l := newLog()
	l.tunnel(100, 20, "t.evil.example", "TXT", 110)
	evs := l.events(t)
	before := recordsOf(evs, func(i int) bool { return i < 40 })
	for _, late := range []bool{false, true} {
		d := New(DefaultConfig(), 1)
		d.Lookup()
		var obs []event.Observation
		for i, ev := range evs[40:] {
			if i == 4 && late {
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
		if n := scenario.Number(o, "subnames"); late && math.Abs(n-100) > 5 {
			t.Errorf("%v names, want 100", n)
		}
		if said := slices.ContainsFunc(o.Evidence, func(e event.Evidence) bool { return e.Feature == "dns_tunnel.baseline_loaded" }); said == late {
			t.Errorf("loaded: %v, but the finding says %v", late, o.Baseline.Text)
		}
	}
}

// Nothing is left of a resolver or a domain that is forgotten while a tunnel is open.
func TestForget(t *testing.T) {
	l := newLog()
	l.tunnel(60, 30, "t.evil.example", "TXT", 110)
	evs := l.events(t)
	for _, text := range []string{resolver, "evil.example", client} {
		d := New(DefaultConfig(), 1)
		d.Track()
		for _, ev := range evs {
			d.Observe(ev, true, true, nil)
		}
		before := stored(d)
		e, err := state.ParseEntity(text)
		if err != nil {
			t.Fatal(err)
		}
		if len(d.open) != 1 || d.Forget(e) == 0 {
			t.Fatalf("%s: nothing is forgotten", text)
		}
		for _, r := range d.Cut() {
			before[string(r.Key)] = r.Value
		}
		form := []byte(text)
		if e.Host.IsValid() {
			b := e.Host.AsSlice()
			form = append([]byte{byte(len(b))}, b...)
		}
		for k, v := range before {
			if bytes.Contains(v, form) {
				t.Errorf("%s can be seen in %q", text, k)
			}
		}
		if again, err := state.ParseEntity(text); err != nil || d.Forget(again) != 0 {
			t.Errorf("%s can be forgotten twice", text)
		}
		d.Finish(nil)
	}
}

func FuzzMerge(f *testing.F) {
	evs := crowd(f, 3)
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
		for _, ev := range evs[:100] {
			d.Observe(ev, true, true, nil)
		}
		for range 2 {
			if _, err := d.Share(m, all, nil); err != nil {
				t.Fatalf("what was merged is refused: %v", err)
			}
			if err := d.Restore(m, all); err != nil {
				t.Fatalf("what was merged is refused: %v", err)
			}
			for _, ev := range evs[100:150] {
				d.Observe(ev, true, true, nil)
			}
		}
		d.Advance(evs[200].Time, nil)
		d.Finish(nil)
		d.Cut()
	})
}
