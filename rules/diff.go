package rules

import (
	"fmt"
	"hash/fnv"
	"maps"
	"slices"

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
