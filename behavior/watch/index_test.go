package watch

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"tidewatch/event"
)

// The index finds the specs that each by itself says a record is for, more than a word of
// them, and asks no Term twice.
func TestIndex(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	asked := make([]int, 8)
	var terms []*Term
	for i := range asked {
		terms = append(terms, &Term{Holds: func(ev *event.Event) bool { asked[i]++; return ev.Time>>i&1 == 1 }})
	}
	specs := make([]Spec, 100)
	for i := range specs {
		s := Spec{Kind: Event, Filter: Filter{Kinds: 1<<event.KindConn | r.Uint32()}, Snapshots: r.IntN(2) == 0}
		for range r.IntN(4) {
			if term := terms[r.IntN(len(terms))]; !slices.Contains(s.Terms, term) {
				s.Terms = append(s.Terms, term)
			}
		}
		if r.IntN(4) == 0 {
			s.Ports = []uint16{22, uint16(r.IntN(3))}
		}
		s.By = [][]Key{nil, {{End: Originator}}, {{End: Responder}}}[r.IntN(3)]
		specs[i] = s
	}
	in := newIndex(specs, event.KindConn)
	left := make(set, (len(in.specs)+63)/64)
	for range 2000 {
		ev := event.Event{Kind: event.KindConn, Time: r.Int64N(256), Resp: event.Host{Port: []uint16{0, 1, 22, 443}[r.IntN(4)]}}
		if r.IntN(3) == 0 {
			ev.Flags = event.FlagSnapshot
		}
		orig, resp := r.IntN(2) == 0, r.IntN(2) == 0
		clear(asked)
		in.can(&ev, left)
		in.match(&ev, orig, resp, left)
		for i, n := range asked {
			if n > 1 {
				t.Fatalf("term %d was asked %d times", i, n)
			}
		}
		var got, want []int
		for place, at := range in.specs {
			if left[place/64]&(1<<(place%64)) != 0 {
				got = append(got, at)
			}
		}
		for at := range specs {
			s := &specs[at]
			if s.holds(&ev) && (s.Ports == nil || slices.Contains(s.Ports, ev.Resp.Port)) && (s.Snapshots || ev.Flags == 0) &&
				(s.owner() != Originator || orig) && (s.owner() != Responder || resp) {
				want = append(want, at)
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("time %d, port %d, flags %v: %v, want %v", ev.Time, ev.Resp.Port, ev.Flags, got, want)
		}
	}
}

// A spec has begun with the first record that it may concern by kind and port, in
// whatever order they come.
func TestBegun(t *testing.T) {
	specs := []Spec{{Version: 1, Filter: Filter{Kinds: 1 << event.KindConn}}, {Version: 2, Filter: Filter{Kinds: 1 << event.KindConn, Ports: []uint16{22}}},
		{Version: 3, Filter: Filter{Kinds: 1 << event.KindConn}, Snapshots: true}, {Version: 4, Filter: Filter{Kinds: 1 << event.KindDNS}}}
	for i := range specs {
		specs[i].Terms = []*Term{{Holds: func(*event.Event) bool { return false }}}
	}
	d := New(Config{Specs: specs, MaxCases: 100}, 0, 1)
	f := func(at int64, port uint16, flags event.Flags, want ...int64) {
		t.Helper()
		d.Observe(&event.Event{Kind: event.KindConn, Time: at, Resp: event.Host{Port: port}, Flags: flags}, true, true, nil)
		if got := d.began[:3]; !slices.Equal(got, want) {
			t.Errorf("%s", fmt.Sprint("began ", got, ", want ", want))
		}
	}
	const never = 1<<63 - 1
	f(50, 443, event.FlagSnapshot, never, never, 50)
	f(90, 443, 0, 90, never, 50)
	f(95, 22, 0, 90, 95, 50)
	f(92, 22, 0, 90, 92, 50)
	f(80, 443, 0, 80, 92, 50)
	f(40, 443, event.FlagSnapshot, 80, 92, 40)
	if d.began[3] != never {
		t.Errorf("a spec of another kind began at %d", d.began[3])
	}
}
