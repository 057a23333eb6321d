package rules

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"tidewatch/behavior"
	"tidewatch/behavior/state"
	"tidewatch/event"
)

const (
	// suppressionSize bounds how many windows and how many episodes are remembered.
	suppressionSize = 100_000
	// episodeMemory is how long an episode is remembered after its last report, at
	// least.
	episodeMemory = 48 * time.Hour
)

// Suppression says a thing once for each rule's window. A report on an episode is said
// unless another one was said under the same key within the window; later reports on
// an episode that was said are said, too: they bring its new numbers. What is held back
// is counted, and the next finding under the key says how many those were. Time is the
// data's. It is used by one goroutine, with the findings in their one order; what it
// says depends on nothing else.
type Suppression struct {
	set     *Set
	rules   map[string]*rule
	size    int
	said    map[memoryKey]window
	fates   map[memoryKey]fate // of open episodes
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

// window is until when a thing is not said again, in Unix nanoseconds, and how many
// reports were held back since the last one that was said.
type window struct {
	until int64
	held  uint32
	about about
}

// fate is what became of an episode's reports: said once, always said.
type fate struct {
	said  bool
	until int64 // it may be forgotten then
	about about
}

// about says in 32 bits each whom a memory is about, so that they can be forgotten: the
// source, the destination, and the name.
type about [3]uint32

func aboutOf(f *event.Finding) about {
	name := f.Destination.Domain
	if name == "" {
		name = f.Query
	}
	return about{addrTag(f.Source.Addr), addrTag(f.Destination.Addr), nameTag(name)}
}

func addrTag(a netip.Addr) uint32 {
	if !a.IsValid() {
		return 0
	}
	return uint32(event.HashAddr(a.Unmap(), 0, 0)) | 1
}

func nameTag(name string) uint32 {
	if name == "" {
		return 0
	}
	sum := digest(strings.ToLower(name))
	return binary.LittleEndian.Uint32(sum[:]) | 1
}

// NewSuppression returns a Suppression for the rules of set, with nothing said yet.
func NewSuppression(set *Set) *Suppression {
	s := &Suppression{
		size: suppressionSize, risks: map[memoryKey]*hostRisk{},
		said: map[memoryKey]window{}, fates: map[memoryKey]fate{}, changed: map[memoryKey]struct{}{},
	}
	s.Use(set)
	return s
}

// Use goes on with the rules of another set. What was said stays said.
func (s *Suppression) Use(set *Set) {
	s.set, s.rules = set, make(map[string]*rule, len(set.rules))
	for _, r := range set.rules {
		s.rules[r.info.ID] = r
	}
}

func keyOf(kind byte, texts ...string) (k memoryKey) {
	sum := digest(texts...)
	k[0] = kind
	copy(k[1:], sum[:])
	return k
}

// Admit reports whether the finding is to be said, and tells it how many were held
// back before it.
func (s *Suppression) Admit(f *event.Finding) bool {
	r := s.rules[f.Rule.ID]
	if r == nil || r.suppress == 0 {
		return true
	}
	episode := keyOf(fateMemory, r.info.ID, f.Episode)
	e := s.fates[episode]
	e.said = s.inWindow(r, f, e.said)
	s.changed[episode] = struct{}{}
	if !f.Open {
		delete(s.fates, episode)
		return e.said
	}
	e.until, e.about = max(e.until, f.Time+int64(max(r.suppress, episodeMemory))), aboutOf(f)
	s.fates[episode] = e
	if len(s.fates) > s.size {
		forget(s, s.fates, f.Time, func(e fate) int64 { return e.until })
	}
	return e.said
}

// inWindow decides on a report on an episode that has been said before, or not.
func (s *Suppression) inWindow(r *rule, f *event.Finding, saidBefore bool) bool {
	parts := []string{r.info.ID}
	for _, name := range r.suppressBy {
		parts = append(parts, fieldText(&f.Observation, name))
	}
	key := keyOf(windowMemory, parts...)
	w, ok := s.said[key]
	running := ok && f.Time < w.until
	switch {
	case running && !saidBefore:
		w.held = min(w.held, math.MaxUint32-1) + 1
		s.said[key] = w
		s.changed[key] = struct{}{}
		return false
	case saidBefore && w.held == 0:
		return true // it opens no window, and has nothing to tell
	}
	f.Suppressed, w.held = w.held, 0
	if !saidBefore {
		w.until, w.about = f.Time+int64(r.suppress), aboutOf(f)
	}
	s.said[key] = w
	s.changed[key] = struct{}{}
	if len(s.said) > s.size {
		forget(s, s.said, f.Time, func(w window) int64 { return w.until })
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

// recordVersion begins the value of each record. Records of version 2 have no count of
// what was held back; they are read, too.
const recordVersion = 3

// Cut returns what changed since the last Cut, sorted by key. The records are the
// caller's.
func (s *Suppression) Cut() []behavior.Record {
	all := make([]behavior.Record, 0, len(s.changed))
	for k := range s.changed {
		r := behavior.Record{Key: slices.Clone(k[:])}
		if w, ok := s.said[k]; ok {
			r.Value = memory{until: w.until, about: w.about, held: w.held}.append(k[0])
		} else if h, ok := s.risks[k]; ok {
			r.Value = h.bytes()
		} else if e, ok := s.fates[k]; ok {
			r.Value = memory{until: e.until, about: e.about, said: e.said}.append(k[0])
		}
		all = append(all, r)
	}
	clear(s.changed)
	slices.SortFunc(all, func(a, b behavior.Record) int { return bytes.Compare(a.Key, b.Key) })
	return all
}

// memory is what a record says, of either kind.
type memory struct {
	until int64
	about about
	held  uint32 // of a window
	said  bool   // of an episode
}

func (m memory) append(kind byte) []byte {
	b := binary.LittleEndian.AppendUint64([]byte{recordVersion}, uint64(m.until))
	for _, v := range m.about {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	switch {
	case kind == windowMemory:
		b = binary.LittleEndian.AppendUint32(b, m.held)
	case m.said:
		b = append(b, 1)
	default:
		b = append(b, 0)
	}
	return b
}

// parse reads a record. An empty value is none.
func parse(r behavior.Record) (k memoryKey, m memory, err error) {
	if len(r.Key) != len(memoryKey{}) || !strings.ContainsRune("we", rune(r.Key[0])) {
		return k, m, fmt.Errorf("rules: a suppression record with a key of %d bytes", len(r.Key))
	}
	k = memoryKey(r.Key)
	if len(r.Value) == 0 {
		return k, m, nil
	}
	size := 21
	switch version := r.Value[0]; {
	case version != recordVersion && version != 2:
		size = -1
	case k[0] == fateMemory:
		size = 22
	case version == recordVersion:
		size = 25
	}
	if len(r.Value) != size {
		return k, m, fmt.Errorf("rules: a suppression record of %d bytes is of no known version", len(r.Value))
	}
	m.until = int64(binary.LittleEndian.Uint64(r.Value[1:]))
	for i := range m.about {
		m.about[i] = binary.LittleEndian.Uint32(r.Value[9+4*i:])
	}
	if k[0] == fateMemory {
		m.said = r.Value[21] == 1
	} else if size == 25 {
		m.held = binary.LittleEndian.Uint32(r.Value[21:])
	}
	return k, m, nil
}

// merge is what two sensors remember together: what one has said is said.
func (m memory) merge(o memory) memory {
	m.said, m.until, m.held = m.said || o.said, max(m.until, o.until), max(m.held, o.held)
	for i, v := range o.about {
		m.about[i] = max(m.about[i], v)
	}
	return m
}

// MergeSuppression returns what two sensors have said together. It commutes and is
// idempotent.
func MergeSuppression(a, b behavior.Record) (behavior.Record, error) {
	if isRisk(a) && isRisk(b) && bytes.Equal(a.Key, b.Key) {
		return mergeRisk(a, b)
	}
	k, m, err := parse(a)
	if err != nil {
		return behavior.Record{}, err
	}
	other, o, err := parse(b)
	if err != nil || k != other {
		return behavior.Record{}, cmp.Or(err, errors.New("rules: suppression records with different keys"))
	}
	return behavior.Record{Key: a.Key, Value: m.merge(o).append(k[0])}, nil
}

// Restore takes back a record that Cut returned. Records of one key come in the
// order in which they were cut.
func (s *Suppression) Restore(r behavior.Record) error {
	if isRisk(r) {
		return s.restoreRisk(r)
	}
	k, m, err := parse(r)
	switch {
	case err != nil:
		return err
	case len(r.Value) == 0:
		delete(s.said, k)
		delete(s.fates, k)
	case k[0] == windowMemory:
		s.said[k] = window{m.until, m.held, m.about}
	default:
		s.fates[k] = fate{m.said, m.until, m.about}
	}
	return nil
}

// Share says what another sensor has said: it is not said again here. It adds to what is
// remembered here, and cannot be told from it afterwards; it does no harm to add it again.
func (s *Suppression) Share(r behavior.Record) error {
	if isRisk(r) { // a host's risk is what its own sensors found
		return nil
	}
	k, m, err := parse(r)
	if err != nil || len(r.Value) == 0 {
		return err
	}
	if k[0] == windowMemory {
		w := s.said[k]
		both := m.merge(memory{until: w.until, about: w.about})
		s.said[k] = window{both.until, w.held, both.about} // each sensor tells what it held back itself
	} else {
		e := s.fates[k]
		both := m.merge(memory{until: e.until, about: e.about, said: e.said})
		s.fates[k] = fate{both.said, both.until, both.about}
	}
	s.changed[k] = struct{}{}
	return nil
}

// Forget forgets what was said of an address or a name, and returns how much that was.
// The next Cut removes it from the store.
func (s *Suppression) Forget(e state.Entity) (n int) {
	tag := nameTag(e.Name)
	if e.Host.IsValid() {
		tag = addrTag(e.Host)
	}
	if e.IsPair() {
		return 0
	}
	for k, w := range s.said {
		if slices.Contains(w.about[:], tag) {
			delete(s.said, k)
			s.changed[k] = struct{}{}
			n++
		}
	}
	for k, f := range s.fates {
		if slices.Contains(f.about[:], tag) {
			delete(s.fates, k)
			s.changed[k] = struct{}{}
			n++
		}
	}
	for k, h := range s.risks {
		if e.Host.IsValid() && h.addr == e.Host {
			delete(s.risks, k)
			s.changed[k] = struct{}{}
			n++
		}
	}
	return n
}
