package scenario

import (
	"cmp"
	"slices"
	"strings"
	"testing"

	"tidewatch/behavior/population"
	"tidewatch/behavior/state"
	"tidewatch/event"
)

// Sharer is a Detector that takes what other sensors know.
type Sharer interface {
	Detector
	Share(r state.Record, owns func(hash uint64) bool, dst []event.Observation) ([]event.Observation, error)
	Lookup()
	Wanted() [][]byte
}

// sensor is a detector in several shards with a store of its own.
type sensor struct {
	shards []Sharer
	store  map[string][]byte
	out    []event.Observation
}

// ObserveApart runs records through two sensors of n shards each: sees says whether the
// i-th record is seen by the first, by the second, or by both. After each step records
// the sensors give each other what has changed, as it is stored, and fetch what is stored
// of entities that they have met. It returns what each of them says.
func ObserveApart(t testing.TB, evs []*event.Event, step, n int, sees func(i int) (first, second bool), shard func(shards int) Sharer) [2][]event.Observation {
	t.Helper()
	var both [2]*sensor
	for i := range both {
		both[i] = &sensor{store: map[string][]byte{}}
		for range n {
			d := shard(n)
			d.Track()
			d.Lookup()
			both[i].shards = append(both[i].shards, d)
		}
	}
	known := population.New(population.DefaultConfig())
	clock := int64(0)
	for i, ev := range evs {
		known.Prepare(&event.Sequence{Events: evs[i : i+1]})
		if i%step == 0 {
			both[0].exchange(t, both[1])
			for _, s := range both {
				s.advance(clock)
			}
		}
		first, second := sees(i)
		if first {
			both[0].observe(ev)
		}
		if second {
			both[1].observe(ev)
		}
		clock = max(clock, ev.Written)
	}
	both[0].exchange(t, both[1])
	return [2][]event.Observation{both[0].finish(), both[1].finish()}
}

func (s *sensor) advance(clock int64) {
	for _, d := range s.shards {
		s.out = d.Advance(clock, s.out)
	}
}

func (s *sensor) observe(ev *event.Event) {
	n := len(s.shards)
	for i, d := range s.shards {
		if orig, resp := state.Owner(ev.Orig.Hash, n) == i, state.Owner(ev.Resp.Hash, n) == i; orig || resp {
			s.out = d.Observe(ev, orig, resp, s.out)
		}
	}
}

// exchange gives each of two sensors what the other has stored.
func (s *sensor) exchange(t testing.TB, o *sensor) {
	t.Helper()
	mine, others := s.cut(), o.cut()
	s.take(t, o, others)
	o.take(t, s, mine)
}

// cut stores what has changed, and returns the keys.
func (s *sensor) cut() (keys []string) {
	for _, d := range s.shards {
		for _, r := range d.Cut() {
			if len(r.Value) == 0 {
				delete(s.store, string(r.Key))
				continue
			}
			s.store[string(r.Key)] = r.Value
			keys = append(keys, string(r.Key))
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// take shares the records of another sensor with these keys, and of the entities that
// were met since. What is stored of those here was fetched with them.
func (s *sensor) take(t testing.TB, o *sensor, keys []string) {
	t.Helper()
	n := len(s.shards)
	for i, d := range s.shards {
		owns := func(h uint64) bool { return state.Owner(h, n) == i }
		for _, k := range d.Wanted() {
			if err := d.Restore(state.Record{Key: k}, owns); err != nil {
				t.Fatalf("%q: %v", k, err)
			}
			s.share(t, d, owns, state.Record{Key: k, Value: o.store[string(k)]})
		}
		for _, k := range keys {
			s.share(t, d, owns, state.Record{Key: []byte(k), Value: o.store[k]})
		}
	}
}

func (s *sensor) share(t testing.TB, d Sharer, owns func(uint64) bool, r state.Record) {
	t.Helper()
	var err error
	if s.out, err = d.Share(r, owns, s.out); err != nil {
		t.Fatalf("%q: %v", r.Key, err)
	}
}

func (s *sensor) finish() []event.Observation {
	for _, d := range s.shards {
		s.out = d.Finish(s.out)
	}
	slices.SortStableFunc(s.out, func(a, b event.Observation) int {
		return cmp.Or(strings.Compare(a.Episode, b.Episode), cmp.Compare(a.Revision, b.Revision))
	})
	return s.out
}

// Turns gives each record to one of two sensors, in turn.
func Turns(i int) (first, second bool) { return i%2 == 0, i%2 == 1 }

// OneLink lets both sensors see each record.
func OneLink(int) (first, second bool) { return true, true }
