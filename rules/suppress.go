package rules

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"tidewatch/behavior"
	"tidewatch/event"
)

const (
	// suppressionSize bounds how many windows and how many episodes are remembered.
	suppressionSize = 100_000
	// episodeMemory is how long an episode is remembered after its last report, at
	// least.
	episodeMemory = 48 * time.Hour
)

// Suppression says a thing once for each rule's window. The first report on an
// episode is said unless another one was said under the same key within the
// window; later reports share the fate of the first. Time is the data's. It is
// used by one goroutine, with the findings in their one order; what it says
// depends on nothing else.
type Suppression struct {
	set     *Set
	rules   map[string]*rule
	size    int
	said    map[memoryKey]int64 // until when, in Unix nanoseconds
	fates   map[memoryKey]fate  // of open episodes
	risks   map[memoryKey]*hostRisk
	changed map[memoryKey]struct{}
}

// memoryKey is a kind of memory and a hash of what it is about: input must not be
// able to make it long.
type memoryKey [17]byte

const (
	windowMemory = 'w'
	fateMemory   = 'e'
)

// fate is what became of an episode's first report.
type fate struct {
	said  bool
	until int64 // it may be forgotten then
}

// NewSuppression returns a Suppression for the rules of set, with nothing said yet.
func NewSuppression(set *Set) *Suppression {
	s := &Suppression{
		set: set, rules: map[string]*rule{}, size: suppressionSize, risks: map[memoryKey]*hostRisk{},
		said: map[memoryKey]int64{}, fates: map[memoryKey]fate{}, changed: map[memoryKey]struct{}{},
	}
	for _, r := range set.rules {
		s.rules[r.info.ID] = r
	}
	return s
}

func keyOf(kind byte, texts ...string) (k memoryKey) {
	sum := digest(texts...)
	k[0] = kind
	copy(k[1:], sum[:])
	return k
}

// Admit reports whether the finding is to be said.
func (s *Suppression) Admit(f *event.Finding) bool {
	r := s.rules[f.Rule.ID]
	if r == nil || r.suppress == 0 {
		return true
	}
	episode := keyOf(fateMemory, r.info.ID, f.Episode)
	e, known := s.fates[episode]
	if !known {
		e.said = s.first(r, f)
	}
	s.changed[episode] = struct{}{}
	if !f.Open {
		delete(s.fates, episode)
		return e.said
	}
	e.until = max(e.until, f.Time+int64(max(r.suppress, episodeMemory)))
	s.fates[episode] = e
	if len(s.fates) > s.size {
		forget(s, s.fates, f.Time, func(e fate) int64 { return e.until })
	}
	return e.said
}

// first decides on the first report of an episode.
func (s *Suppression) first(r *rule, f *event.Finding) bool {
	parts := []string{r.info.ID}
	for _, name := range r.suppressBy {
		parts = append(parts, fieldText(&f.Observation, name))
	}
	window := keyOf(windowMemory, parts...)
	if until, ok := s.said[window]; ok && f.Time < until {
		return false
	}
	s.said[window] = f.Time + int64(r.suppress)
	s.changed[window] = struct{}{}
	if len(s.said) > s.size {
		forget(s, s.said, f.Time, func(until int64) int64 { return until })
	}
	return true
}

// forget drops what has run out, and of the rest so much of what runs out first
// that a sixteenth of the room is free.
func forget[V any](s *Suppression, m map[memoryKey]V, now int64, until func(V) int64) {
	keys := slices.SortedFunc(maps.Keys(m), func(a, b memoryKey) int {
		return cmp.Or(cmp.Compare(until(m[a]), until(m[b])), bytes.Compare(a[:], b[:]))
	})
	for _, k := range keys {
		if len(m) <= s.size-s.size/16 && until(m[k]) > now {
			return
		}
		delete(m, k)
		s.changed[k] = struct{}{}
	}
}

// recordVersion begins the value of each record.
const recordVersion = 1

// Cut returns what changed since the last Cut, sorted by key. The records are the
// caller's.
func (s *Suppression) Cut() []behavior.Record {
	all := make([]behavior.Record, 0, len(s.changed))
	for k := range s.changed {
		r := behavior.Record{Key: slices.Clone(k[:])}
		if until, ok := s.said[k]; ok {
			r.Value = binary.LittleEndian.AppendUint64([]byte{recordVersion}, uint64(until))
		} else if h, ok := s.risks[k]; ok {
			r.Value = h.bytes()
		} else if e, ok := s.fates[k]; ok {
			r.Value = binary.LittleEndian.AppendUint64([]byte{recordVersion}, uint64(e.until))
			r.Value = append(r.Value, 0)
			if e.said {
				r.Value[9] = 1
			}
		}
		all = append(all, r)
	}
	clear(s.changed)
	slices.SortFunc(all, func(a, b behavior.Record) int { return bytes.Compare(a.Key, b.Key) })
	return all
}

// Restore takes back a record that Cut returned. Records of one key come in the
// order in which they were cut.
func (s *Suppression) Restore(r behavior.Record) error {
	if len(r.Key) != len(memoryKey{}) || !strings.ContainsRune("wer", rune(r.Key[0])) {
		return fmt.Errorf("rules: a suppression record with a key of %d bytes", len(r.Key))
	}
	k := memoryKey(r.Key)
	if len(r.Value) == 0 {
		delete(s.said, k)
		delete(s.fates, k)
		delete(s.risks, k)
		return nil
	}
	if k[0] == riskMemory {
		h, err := readRisk(r.Value)
		if err == nil {
			s.risks[k] = h
		}
		return err
	}
	size := 9
	if k[0] == fateMemory {
		size = 10
	}
	if len(r.Value) != size || r.Value[0] != recordVersion {
		return fmt.Errorf("rules: a suppression record of %d bytes is of no known version", len(r.Value))
	}
	until := int64(binary.LittleEndian.Uint64(r.Value[1:]))
	if k[0] == windowMemory {
		s.said[k] = until
	} else {
		s.fates[k] = fate{r.Value[9] == 1, until}
	}
	return nil
}
