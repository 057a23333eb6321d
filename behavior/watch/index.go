package watch

import (
	"cmp"
	"math"
	"math/bits"
	"slices"

	"tidewatch/event"
)

// index finds, of the specs that a kind of record can concern, those that a record does.
// Each Term is asked once, however many specs share it, and only while a spec is left
// that needs it.
type index struct {
	specs  []int // in order; what follows are sets of places in it
	all    set
	always set            // can concern a record whatever its port
	byPort map[uint16]set // of the others
	some   [1024]uint64   // the ports in byPort: most records have none of them
	ends   [3]set         // by the end whose owner owns the cases
	ended  set            // leave out connections that still go on
	terms  []needed

	// Each spec of always has begun when a record of this time was there, or before.
	began int64
}

// needed is a Term with the specs that need it.
type needed struct {
	term *Term
	by   set
}

// set is a set of small numbers.
type set []uint64

func (s set) add(i int) { s[i/64] |= 1 << (i % 64) }

func (s set) addAll(o set) {
	for i, w := range o {
		s[i] |= w
	}
}

func (s set) remove(o set) {
	for i, w := range o {
		s[i] &^= w
	}
}

func (s set) empty() bool {
	for _, w := range s {
		if w != 0 {
			return false
		}
	}
	return true
}

func (s set) meets(o set) bool {
	for i, w := range o {
		if s[i]&w != 0 {
			return true
		}
	}
	return false
}

// newIndex returns the index of one kind of records.
func newIndex(specs []Spec, kind event.Kind) *index {
	in := &index{began: math.MaxInt64}
	for at := range specs {
		if specs[at].kinds()&(1<<kind) != 0 {
			in.specs = append(in.specs, at)
		}
	}
	empty := func() set { return make(set, (len(in.specs)+63)/64) }
	in.all, in.always, in.ended = empty(), empty(), empty()
	for end := range in.ends {
		in.ends[end] = empty()
	}
	places := map[*Term]int{}
	for place, at := range in.specs {
		s := &specs[at]
		in.all.add(place)
		in.ends[s.owner()].add(place)
		if !s.Snapshots {
			in.ended.add(place)
		}
		in.addPorts(place, s.Ports, empty)
		for _, t := range s.Terms {
			if _, ok := places[t]; !ok {
				places[t] = len(in.terms)
				in.terms = append(in.terms, needed{t, empty()})
			}
			in.terms[places[t]].by.add(place)
		}
	}
	// What most specs need leaves fewest when it does not hold.
	slices.SortStableFunc(in.terms, func(a, b needed) int { return cmp.Compare(b.by.len(), a.by.len()) })
	return in
}

func (s set) len() (n int) {
	for _, w := range s {
		n += bits.OnesCount64(w)
	}
	return n
}

// kinds returns a bit for each kind of record that can concern the spec.
func (s *Spec) kinds() uint32 {
	kinds := s.Kinds
	for i := range s.Steps {
		kinds |= s.Steps[i].Kinds
	}
	if s.Unless != nil {
		kinds |= s.Unless.Kinds
	}
	return kinds
}

func (in *index) addPorts(place int, ports []uint16, empty func() set) {
	if ports == nil {
		in.always.add(place)
		return
	}
	if in.byPort == nil {
		in.byPort = map[uint16]set{}
	}
	for _, p := range ports {
		if in.byPort[p] == nil {
			in.byPort[p] = empty()
		}
		in.byPort[p].add(place)
		in.some[p/64] |= 1 << (p % 64)
	}
}

// can puts into left the specs that a record can concern, by its kind and port. It
// reports whether each of them has begun for certain.
func (in *index) can(ev *event.Event, left set) (begun bool) {
	copy(left, in.always)
	begun = ev.Time >= in.began
	if p := ev.Resp.Port; in.some[p/64]&(1<<(p%64)) != 0 {
		left.addAll(in.byPort[p])
		begun = false
	}
	if ev.Flags&event.FlagSnapshot != 0 {
		left.remove(in.ended)
		return false
	}
	in.began = min(in.began, ev.Time)
	return begun
}

// match leaves the specs all of whose Terms hold, and whose cases may be the shard's; orig
// and resp say which ends of the record it owns.
func (in *index) match(ev *event.Event, orig, resp bool, left set) {
	if !orig {
		left.remove(in.ends[Originator])
	}
	if !resp {
		left.remove(in.ends[Responder])
	}
	for i := range in.terms {
		if t := &in.terms[i]; left.meets(t.by) && !t.term.Holds(ev) {
			if left.remove(t.by); left.empty() {
				return
			}
		}
	}
}
