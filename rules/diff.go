package rules

import (
	"fmt"
	"hash/fnv"
	"maps"
	"reflect"
	"slices"

	"tidewatch/behavior/watch"
	"tidewatch/event"
)

// Change says what one set of rules has and another has not, by the ids of rules.
type Change struct {
	Added, Removed, Changed []string
	Zones                   bool // networks that rules name are others
}

// IsZero reports whether both sets say the same.
func (c Change) IsZero() bool {
	return len(c.Added)+len(c.Removed)+len(c.Changed) == 0 && !c.Zones
}

// Since returns what changed from an older set to s. A rule is changed if its files
// say something else, in whatever order.
func (s *Set) Since(older *Set) Change {
	c := Change{Zones: s.zones != older.zones}
	for _, id := range slices.Sorted(maps.Keys(s.written)) {
		before, ok := older.written[id]
		switch {
		case !ok:
			c.Added = append(c.Added, id)
		case before != s.written[id]:
			c.Changed = append(c.Changed, id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(older.written)) {
		if _, ok := s.written[id]; !ok {
			c.Removed = append(c.Removed, id)
		}
	}
	return c
}

// DetectsLike reports whether detectors find the same under both sets: what changed is
// how findings are judged and said, and s can take the place of an older set at any time.
// It is not so if a rule over records changed, or a detector's setting.
func (s *Set) DetectsLike(older *Set) bool {
	c := s.Since(older)
	if c.Zones {
		return false
	}
	for _, ids := range [][]string{c.Added, c.Removed, c.Changed} {
		if slices.ContainsFunc(ids, func(id string) bool { return s.watches(id) || older.watches(id) }) {
			return false
		}
	}
	a, b := s.config, older.config
	a.Watch.Specs, b.Watch.Specs = nil, nil
	return reflect.DeepEqual(a, b)
}

// watches reports whether a rule is one over records.
func (s *Set) watches(id string) bool {
	return slices.ContainsFunc(s.config.Watch.Specs, func(w watch.Spec) bool { return w.ID == id })
}

// Len returns the number of rules.
func (s *Set) Len() int { return len(s.rules) }

// Each calls f with what findings say of each rule, by id.
func (s *Set) Each(f func(*event.RuleInfo)) {
	for _, r := range s.rules {
		f(r.info)
	}
}

// written is a digest of what files say: maps print in the order of their keys.
func written(v any) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%#v", v)
	return h.Sum64()
}
