package population_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tidewatch/behavior/population"
	"tidewatch/behavior/state"
	"tidewatch/event"
)

// use is a log of hosts that use names: as many as are asked for.
func use(hosts int) (evs []*event.Event) {
	for h := range hosts {
		at := float64(3600 * h)
		host := fmt.Sprintf("10.0.%d.%d", h/200, 1+h%200)
		evs = append(evs, dnsRecord(at, host, "crowd.example", "192.0.2.8"), tlsRecord(at+1, host, "192.0.2.8", "crowd.example"))
		if h%9 == 0 {
			evs = append(evs, tlsRecord(at+2, host, "192.0.2.9", "few.example"))
		}
		evs = append(evs, record(event.KindConn, at+3, fmt.Sprintf("198.51.100.%d", h%5), "10.0.0.5", 22))
	}
	return evs
}

// recordsOf is what a sensor stores that sees some of the records.
func recordsOf(evs []*event.Event, sees func(i int) bool) map[string][]byte {
	p := population.New(population.DefaultConfig())
	for i, ev := range evs {
		if sees(i) {
			prepare(p, ev)
		}
	}
	m := map[string][]byte{}
	keep(m, p.Cut())
	return m
}

func merged(t testing.TB, a, b map[string][]byte) map[string][]byte {
	t.Helper()
	m := map[string][]byte{}
	for k, v := range a {
		m[k] = v
	}
	for k, v := range b {
		if m[k] == nil {
			m[k] = v
			continue
		}
		r, err := population.Merge(state.Record{Key: []byte(k), Value: m[k]}, state.Record{Key: []byte(k), Value: v})
		if err != nil {
			t.Fatalf("%q: %v", k, err)
		}
		m[k] = r.Value
	}
	return m
}

// Who uses something is counted over all sensors: what two of them know merges to what
// one would that saw all, in any order and again and again.
func TestMerge(t *testing.T) {
	for _, hosts := range []int{1, 2, 5, 7, 12, 150} {
		evs := use(hosts)
		whole := recordsOf(evs, func(int) bool { return true })
		var parts [3]map[string][]byte
		for p := range parts {
			parts[p] = recordsOf(evs, func(i int) bool { return i%3 == p })
		}
		ab := merged(t, parts[0], parts[1])
		if d := cmp.Diff(ab, merged(t, parts[1], parts[0])); d != "" {
			t.Errorf("%d hosts: the order of merging matters:\n%s", hosts, d)
		}
		left, right := merged(t, ab, parts[2]), merged(t, parts[0], merged(t, parts[1], parts[2]))
		if d := cmp.Diff(left, right); d != "" {
			t.Errorf("%d hosts: the order of merging three matters:\n%s", hosts, d)
		}
		if d := cmp.Diff(left, merged(t, left, left)); d != "" {
			t.Errorf("%d hosts: merged with itself it says something else:\n%s", hosts, d)
		}
		said := func(m map[string][]byte) event.Known {
			p := restore(t, population.DefaultConfig(), m)
			ev := tlsRecord(float64(3600*hosts), "10.0.0.1", "192.0.2.8", "crowd.example")
			prepare(p, ev)
			return *ev.Far()
		}
		if d := cmp.Diff(said(whole), said(left)); d != "" {
			t.Errorf("%d hosts: (-one sensor +three)\n%s", hosts, d)
		}
		late := restore(t, population.DefaultConfig(), parts[0])
		for range 2 {
			for _, other := range parts[1:] {
				for k, v := range other {
					if err := late.Share(state.Record{Key: []byte(k), Value: v}); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		ev := tlsRecord(float64(3600*hosts), "10.0.0.1", "192.0.2.8", "crowd.example")
		prepare(late, ev)
		if d := cmp.Diff(said(whole), *ev.Far()); d != "" {
			t.Errorf("%d hosts: shared (-one sensor +three)\n%s", hosts, d)
		}
	}
}

func FuzzMerge(f *testing.F) {
	evs := use(40)
	a, b := recordsOf(evs, func(i int) bool { return i%2 == 0 }), recordsOf(evs, func(i int) bool { return i%3 > 0 })
	n := 0
	for k, v := range a {
		if other := b[k]; other != nil {
			if n++; n < 60 {
				f.Add([]byte(k), v, other)
			}
		}
	}
	f.Fuzz(func(t *testing.T, key, a, b []byte) {
		x, y := state.Record{Key: key, Value: a}, state.Record{Key: key, Value: b}
		m, err := population.Merge(x, y)
		if err != nil {
			return
		}
		if w, err := population.Merge(y, x); err != nil || !bytes.Equal(m.Value, w.Value) {
			t.Fatalf("the order matters: %q and %q, %v", m.Value, w.Value, err)
		}
		p := population.New(small)
		if err := p.Restore(m); err != nil {
			t.Fatalf("what was merged is refused: %v", err)
		}
		for _, r := range []state.Record{x, y, m} {
			_ = p.Share(r)
		}
		prepare(p, evs[:20]...)
		p.Cut()
	})
}
