package rules

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"tidewatch/behavior"
	"tidewatch/event"
)

// suppressionSize bounds how many suppressions are remembered.
const suppressionSize = 100_000

// Suppression says a thing once for each rule's window. Time is the data's. It is
// used by one goroutine, with the findings in their one order.
type Suppression struct {
	set     *Set
	said    map[string]saying
	changed map[string]struct{}
	clock   int64
}

// saying is what was said last under one key.
type saying struct {
	until   int64  // Unix nanoseconds
	episode string // whose later reports pass
}

// NewSuppression returns a Suppression for the rules of set, with nothing said yet.
func NewSuppression(set *Set) *Suppression {
	return &Suppression{set: set, said: map[string]saying{}, changed: map[string]struct{}{}}
}

// Admit reports whether the finding is to be said. A later report on an episode
// passes if its first one did, and only then.
func (s *Suppression) Admit(f *event.Finding) bool {
	r := s.set.rule(f.Rule.ID)
	if r == nil || r.suppress == 0 {
		return true
	}
	s.clock = max(s.clock, f.Time)
	key := r.suppressKey(&f.Observation)
	last, ok := s.said[key]
	switch {
	case ok && last.episode == f.Episode:
		return true
	case ok && f.Time < last.until:
		return false
	case f.Revision > 0:
		// Its first report was suppressed, and what suppressed it has run out: it is
		// the first that is said of it.
	}
	if len(s.said) >= suppressionSize {
		s.forget()
	}
	s.said[key] = saying{f.Time + int64(r.suppress), f.Episode}
	s.changed[key] = struct{}{}
	return true
}

func (s *Set) rule(id string) *rule {
	i, ok := slices.BinarySearchFunc(s.rules, id, func(r *rule, id string) int { return strings.Compare(r.info.ID, id) })
	if !ok {
		return nil
	}
	return s.rules[i]
}

// suppressKey names what a finding repeats.
func (r *rule) suppressKey(o *event.Observation) string {
	parts := []string{r.info.ID}
	for _, f := range r.suppressBy {
		parts = append(parts, fieldValue(f, o))
	}
	return strings.Join(parts, "\x00")
}

// forget drops what has run out, and the sixteenth that will run out first.
func (s *Suppression) forget() {
	type entry struct {
		key   string
		until int64
	}
	all := make([]entry, 0, len(s.said))
	for k, v := range s.said {
		all = append(all, entry{k, v.until})
	}
	slices.SortFunc(all, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.until, b.until), strings.Compare(a.key, b.key))
	})
	for i, e := range all {
		if i > len(all)/16 && e.until > s.clock {
			break
		}
		delete(s.said, e.key)
		s.changed[e.key] = struct{}{}
	}
}

// Cut returns what changed since the last Cut.
func (s *Suppression) Cut() []behavior.Record {
	rs := make([]behavior.Record, 0, len(s.changed))
	for k := range s.changed {
		r := behavior.Record{Key: []byte(k)}
		if v, ok := s.said[k]; ok {
			r.Value = append(binary.LittleEndian.AppendUint64([]byte{1}, uint64(v.until)), v.episode...)
		}
		rs = append(rs, r)
	}
	clear(s.changed)
	return rs
}

// Restore takes back a record that Cut returned.
func (s *Suppression) Restore(r behavior.Record) error {
	if len(r.Value) == 0 {
		return nil
	}
	if len(r.Value) < 9 || r.Value[0] != 1 {
		return fmt.Errorf("suppression: a record of %d bytes is not of a known version", len(r.Value))
	}
	s.said[string(r.Key)] = saying{int64(binary.LittleEndian.Uint64(r.Value[1:9])), string(r.Value[9:])}
	return nil
}
