package hosts

import (
	"bytes"
	"math"
	"testing"

	"tidewatch/behavior/state"
	"tidewatch/event"
)

func all(uint64) bool { return true }

// recordsOf is what is stored after some days, of which a sensor sees those it is asked
// for.
func recordsOf(days int, sees func(day int) bool) map[string][]byte {
	tab := New(DefaultConfig(), 1)
	tab.Track()
	for d := range days {
		if sees(d) {
			work(tab, d, 1, 10, 1_000_000)
			tab.Observe(conn(monday+int64(d)*day, "198.51.100.9", "10.0.0.80", 443, 10, event.OutcomeAnswered), true, true, nil)
		}
	}
	return stored(tab)
}

func stored(tab *Table) map[string][]byte {
	m := map[string][]byte{}
	for _, r := range tab.Cut() {
		m[string(r.Key)] = r.Value
	}
	return m
}

func read(t testing.TB, m map[string][]byte) *Host {
	t.Helper()
	tab := New(DefaultConfig(), 1)
	for k, v := range m {
		if err := tab.Restore(state.Record{Key: []byte(k), Value: v}, all); err != nil {
			t.Fatal(err)
		}
	}
	return tab.Of(hash(me))
}

func mergeAll(t testing.TB, a, b map[string][]byte) map[string][]byte {
	t.Helper()
	m := map[string][]byte{}
	for k := range a {
		r, err := Merge(state.Record{Key: []byte(k), Value: a[k]}, state.Record{Key: []byte(k), Value: b[k]})
		if err != nil {
			t.Fatalf("%q: %v", k, err)
		}
		m[k] = r.Value
	}
	return m
}

// What two sensors learned of a host that roams between them is what one sensor would
// have; the order of merging does not matter; and what one sensor knows twice counts as
// much as once, but for the weight of its baselines.
func TestMerge(t *testing.T) {
	const days = 28
	whole := read(t, recordsOf(days, func(int) bool { return true }))
	a, b := recordsOf(days, func(d int) bool { return d < 14 }), recordsOf(days, func(d int) bool { return d >= 14 })
	ab, ba := mergeAll(t, a, b), mergeAll(t, b, a)
	for k := range ab {
		if !bytes.Equal(ab[k], ba[k]) {
			t.Errorf("%q: the order of merging matters", k)
		}
	}
	h := read(t, ab)
	at := monday + days*day + 10*hour
	for q := range NumQuantities {
		x, y := whole.Expect(q, at), h.Expect(q, at)
		if math.Abs(x.Mean-y.Mean) > 0.1 || math.Abs(x.Sigma-y.Sigma) > 0.2 || math.Abs(x.N-y.N) > 0.15*x.N {
			t.Errorf("quantity %d: %+v, want %+v", q, y, x)
		}
	}
	if h.First() != whole.First() || math.Abs(float64(h.Active()-whole.Active())) > 1 || math.Abs(h.Ports()-whole.Ports()) > 0.5 {
		t.Errorf("active %d, want %d; ports %v, want %v", h.Active(), whole.Active(), h.Ports(), whole.Ports())
	}
	one, twice := read(t, a), read(t, mergeAll(t, a, a))
	for q := range NumQuantities {
		x, y := one.Expect(q, at), twice.Expect(q, at)
		if math.Abs(x.Mean-y.Mean) > 1e-5 || math.Abs(x.Sigma-y.Sigma) > 1e-5 {
			t.Errorf("quantity %d merged with itself: %+v, want %+v", q, y, x)
		}
	}
	if one.Active() != twice.Active() || one.now != twice.now {
		t.Errorf("merged with itself: active %d, want %d", twice.Active(), one.Active())
	}
}

// A host that is new here is judged by what another sensor has learned of it; that is
// not stored here, and replaced by what the other sensor says next.
func TestShare(t *testing.T) {
	others := recordsOf(14, func(int) bool { return true })
	tab := New(DefaultConfig(), 1)
	tab.Track()
	tab.Lookup()
	work(tab, 14, 1, 10, 1_000_000)
	if len(tab.Wanted()) == 0 || tab.Of(hash(me)).Loaded() {
		t.Error("what is stored of a new host is not asked for")
	}
	for range 3 {
		for k, v := range others {
			if _, err := tab.Share(state.Record{Key: []byte(k), Value: v}, all, nil); err != nil {
				t.Fatal(err)
			}
			if err := tab.Restore(state.Record{Key: []byte(k)}, all); err != nil {
				t.Fatal(err)
			}
		}
	}
	h := tab.Of(hash(me))
	if want := read(t, others).Active() + 9; h.Active() != want || !h.Loaded() {
		t.Errorf("%d active hours, want %d", h.Active(), want)
	}
	work(tab, 15, 1, 10, 1_000_000)
	alone := recordsOf(16, func(d int) bool { return d >= 14 })
	for k, v := range stored(tab) {
		if k[0] == state.KindHost && !bytes.Equal(v, alone[k]) {
			t.Errorf("%q: what is stored is not what was seen here", k)
		}
	}
}

func FuzzMerge(f *testing.F) {
	a, b := recordsOf(8, func(d int) bool { return d < 4 }), recordsOf(8, func(d int) bool { return d >= 4 })
	for k, v := range a {
		f.Add([]byte(k), v, b[k])
	}
	f.Fuzz(func(t *testing.T, key, a, b []byte) {
		m, err := Merge(state.Record{Key: key, Value: a}, state.Record{Key: key, Value: b})
		if err != nil {
			return
		}
		tab := New(DefaultConfig(), 1)
		work(tab, 8, 1, 3, 1_000_000)
		if _, err := tab.Share(m, all, nil); err != nil {
			t.Fatalf("what was merged is refused: %v", err)
		}
		if err := tab.Restore(m, all); err != nil {
			t.Fatalf("what was merged is refused: %v", err)
		}
		work(tab, 9, 1, 3, 1_000_000)
		tab.Cut()
	})
}
