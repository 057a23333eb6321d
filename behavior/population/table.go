package population

import "math/bits"

// ways is how many entries share a set.
const ways = 8

// table maps hashes to values of a fixed size, in sets of eight. It grows until it
// has limit sets; from then on a newcomer takes the place of the least worthy entry
// of its set, so that a flood of keys costs no more than that. What it holds does not
// depend on the order in which keys came, nor on how it grew, as long as none is
// evicted; and who is evicted depends on the entries of the set alone.
//
// It knows which entries changed since the last cut, and which of those that were in
// a cut are gone.
type table[E any] struct {
	sets    []set[E]
	marks   []marks // of the sets
	shift   uint    // 64 - log2(len(sets))
	limit   int
	n       int
	changed []uint64 // a bit for each set with a dirty entry
	gone    []uint64 // keys

	// worth says how much an entry deserves its place, at a time in Unix seconds.
	worth func(e *E, now uint32) uint64
	// lost, unless nil, is told who is evicted.
	lost func(e *E)
}

// set is eight entries with their keys, 0 where there is none. Keys fill a line of
// the cache.
type set[E any] struct {
	keys   [ways]uint64
	values [ways]E
}

// marks are bits of a set's entries.
type marks struct {
	dirty  uint8 // changed since the last cut
	stored uint8 // in a cut
}

// newTable returns a table for about limit entries.
func newTable[E any](limit int, worth func(*E, uint32) uint64) table[E] {
	t := table[E]{limit: 1 << bits.Len(uint(max(limit/ways, 1)-1)), worth: worth}
	t.resize(min(t.limit, 8))
	return t
}

func (t *table[E]) resize(sets int) {
	t.sets, t.marks = make([]set[E], sets), make([]marks, sets)
	t.shift = uint(64 - bits.TrailingZeros(uint(sets)))
	t.changed = make([]uint64, (sets+63)/64)
}

// keyed makes a hash a key: 0 means none.
func keyed(h uint64) uint64 { return max(h, 1) }

// ref is the place of an entry until the next insertion.
type ref int

// find returns the entry of a key; nil if there is none.
func (t *table[E]) find(key uint64) (*E, ref) {
	i := key >> t.shift
	s := &t.sets[i]
	for w := range s.keys {
		if s.keys[w] == key {
			return &s.values[w], ref(int(i)*ways + w)
		}
	}
	return nil, 0
}

// near reads the line of the cache in which find looks for a key.
func (t *table[E]) near(key uint64) uint64 { return t.sets[key>>t.shift].keys[0] }

// touch marks an entry as changed.
func (t *table[E]) touch(r ref) {
	i := int(r) / ways
	t.marks[i].dirty |= 1 << (r % ways)
	t.changed[i/64] |= 1 << (i % 64)
}

// insert returns the zeroed entry of a key that has none. Earlier places and
// pointers are void.
func (t *table[E]) insert(key uint64, now uint32) *E {
	for {
		i := int(key >> t.shift)
		s := &t.sets[i]
		for w := range s.keys {
			if s.keys[w] == 0 {
				s.keys[w] = key
				t.n++
				t.touch(ref(i*ways + w))
				return &s.values[w]
			}
		}
		if len(t.sets) < t.limit {
			t.grow()
			continue
		}
		w := t.victim(s, now)
		if t.lost != nil {
			t.lost(&s.values[w])
		}
		t.remove(ref(i*ways + w))
	}
}

// victim returns the least worthy entry of a full set: of two, the one with the
// smaller key.
func (t *table[E]) victim(s *set[E], now uint32) int {
	v, worth := 0, t.worth(&s.values[0], now)
	for w := 1; w < ways; w++ {
		if x := t.worth(&s.values[w], now); x < worth || x == worth && s.keys[w] < s.keys[v] {
			v, worth = w, x
		}
	}
	return v
}

func (t *table[E]) remove(r ref) {
	s, m, w, bit := &t.sets[int(r)/ways], &t.marks[int(r)/ways], int(r)%ways, uint8(1)<<(r%ways)
	if m.stored&bit != 0 {
		t.gone = append(t.gone, s.keys[w])
	}
	var none E
	s.keys[w], s.values[w] = 0, none
	m.dirty &^= bit
	m.stored &^= bit
	t.n--
}

// unstore makes the next cut say nothing of an entry's end.
func (t *table[E]) unstore(r ref) { t.marks[int(r)/ways].stored &^= 1 << (r % ways) }

// grow doubles the number of sets. The entries of one set share out among two, so
// that there is room for each.
func (t *table[E]) grow() {
	old, marks := t.sets, t.marks
	t.resize(2 * len(old))
	for i := range old {
		s, m := &old[i], marks[i]
		for w, key := range s.keys {
			if key == 0 {
				continue
			}
			at := int(key >> t.shift)
			into, free := &t.sets[at], 0
			for into.keys[free] != 0 {
				free++
			}
			into.keys[free], into.values[free] = key, s.values[w]
			t.marks[at].stored |= m.stored >> w & 1 << free
			if m.dirty>>w&1 != 0 {
				t.touch(ref(at*ways + free))
			}
		}
	}
}

// cut gives the keys of entries that are gone since the last cut, and then those
// that changed, with their values. A key may be given in both ways.
func (t *table[E]) cut(gone func(key uint64), changed func(key uint64, e *E)) {
	for _, key := range t.gone {
		gone(key)
	}
	t.gone = t.gone[:0]
	for i, word := range t.changed {
		for ; word != 0; word &= word - 1 {
			at := i*64 + bits.TrailingZeros64(word)
			s, m := &t.sets[at], &t.marks[at]
			for w := range s.keys {
				if m.dirty>>w&1 != 0 {
					changed(s.keys[w], &s.values[w])
				}
			}
			m.stored |= m.dirty
			m.dirty = 0
		}
		t.changed[i] = 0
	}
}

// restore is insert for an entry that a cut gave, with the value e.
func (t *table[E]) restore(key uint64, e E) {
	at, r := t.find(key)
	if at == nil {
		at = t.insert(key, 0)
		_, r = t.find(key)
	}
	*at = e
	m := &t.marks[int(r)/ways]
	m.dirty &^= 1 << (r % ways)
	m.stored |= 1 << (r % ways)
}
