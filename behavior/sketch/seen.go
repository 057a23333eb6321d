package sketch

import (
	"encoding/binary"
	"slices"
	"time"
)

const (
	seenForm      = 1
	seenTimedForm = 2

	seenSlots = 6       // to begin with: 24 bytes
	maxItems  = 1 << 15 // of a generation
)

// Retention bounds what a Seen remembers. All sets of a kind share one.
type Retention struct {
	Items  int           // the last so many at least are remembered; from 1 to 32,768
	Period time.Duration // each is remembered for one to two of it; 0: as long as there is room
}

// DefaultRetention is what Add keeps: sets of Add alone merge by it.
var DefaultRetention = Retention{Items: 1536}

// Seen remembers which hashes were added, by 32 bits of each, in two generations: when
// the present one is full, or its time is over, it becomes the past one, which is
// forgotten. A hash that was never added is taken for a known one with a probability
// of 2^-32 for each that is remembered: one in 1.4 million at 3,072.
//
// The zero Seen is empty. It takes 32 bytes, and 5 to 8 for each hash: 56 for five.
type Seen struct {
	slots []uint32 // past, then present generation: open addressing, 0 is empty
	began uint32   // the present generation, in Unix seconds, if there is a period
	split uint16   // where the present generation begins
	n     uint16   // hashes in the present generation
}

func (s *Seen) past() []uint32    { return s.slots[:s.split] }
func (s *Seen) present() []uint32 { return s.slots[s.split:] }

// Add remembers a hash and reports whether it is new. The last 1,536 at least are
// remembered, whenever they came, in at most 16 KiB.
func (s *Seen) Add(hash uint64) bool { return s.AddAt(hash, 0, DefaultRetention) }

// AddAt remembers a hash that came at now (Unix ns) for as long as r says, and reports
// whether it is new. Its bits must be evenly spread. It allocates while the set grows
// and when a period is over.
func (s *Seen) AddAt(hash uint64, now int64, r Retention) bool {
	if p := r.period(); p > 0 {
		s.turn(seconds(now), p)
	}
	v := fold(hash)
	if has(s.present(), v) {
		return false
	}
	known := has(s.past(), v)
	if items := r.items(); int(s.n) >= items {
		s.rotate()
	} else if !fits(int(s.n)+1, len(s.present())) {
		s.resize(len(s.past()), slotsFor(int(s.n)+1, items))
	}
	put(s.present(), v) // also what is in the past: it was used again
	s.n++
	return !known
}

// Has reports whether a hash is remembered.
func (s *Seen) Has(hash uint64) bool {
	v := fold(hash)
	return has(s.present(), v) || has(s.past(), v)
}

// Near reads where a hash would be, so that it is in the processor's cache. What it
// returns means nothing.
func (s *Seen) Near(hash uint64) (n uint64) {
	v := fold(hash)
	if t := s.present(); len(t) > 0 {
		n += uint64(t[home(t, v)])
	}
	if t := s.past(); len(t) > 0 {
		n += uint64(t[home(t, v)])
	}
	return n
}

// Present returns how many hashes the present generation has. It changes whenever Add
// changes anything: also with a hash that is known, from the past one.
func (s *Seen) Present() int { return int(s.n) }

func (r Retention) items() int { return min(max(r.Items, 1), maxItems) }

func (r Retention) period() uint32 {
	if r.Period <= 0 {
		return 0
	}
	return max(seconds(int64(r.Period)), 1)
}

// turn begins a new generation if now is in another period than the present one.
// Periods begin at multiples of their length, so that they do for all sensors.
func (s *Seen) turn(now, period uint32) {
	now -= now % period
	if now <= s.began {
		return
	}
	switch {
	case s.n == 0 || (now-s.began)/period > 1:
		*s = Seen{}
	default:
		present := values(s.present())
		*s = Seen{split: uint16(slotsFor(len(present), maxItems))}
		s.slots = make([]uint32, s.split)
		for _, v := range present {
			put(s.slots, v)
		}
	}
	s.began = now
}

// rotate begins a new generation as the present one is full. It allocates the first
// time.
func (s *Seen) rotate() {
	present := s.present()
	if len(s.past()) != len(present) {
		slots := make([]uint32, 2*len(present))
		copy(slots, present)
		s.slots, s.split = slots, uint16(len(present))
	} else {
		copy(s.past(), present)
		clear(present)
	}
	s.n = 0
}

// resize makes room for so many slots of each generation.
func (s *Seen) resize(past, present int) {
	old := *s
	s.slots, s.split = make([]uint32, past+present), uint16(past)
	copy(s.slots, old.past())
	for _, v := range old.present() {
		if v != 0 {
			put(s.present(), v)
		}
	}
}

// fits keeps three slots of four in use at most: more of them cost less memory, and
// twice the time to find out that a hash is new. The first few may be crowded.
func fits(n, slots int) bool { return 4*n <= 3*slots || slots == seenSlots && n < slots }

// slotsFor is the size of a generation of n hashes that grows to items.
func slotsFor(n, items int) int {
	size := seenSlots
	for !fits(n, size) {
		size += size / 2
	}
	return min(size, max(seenSlots, (4*max(n, items)+2)/3))
}

// Bytes returns how much memory the set takes beside itself.
func (s *Seen) Bytes() int { return 4 * cap(s.slots) }

func fold(h uint64) uint32 {
	if v := uint32(h>>32) ^ uint32(h); v != 0 {
		return v
	}
	return 1
}

// home is the first slot to look for v in.
func home(t []uint32, v uint32) int { return int(uint64(v) * uint64(len(t)) >> 32) }

func has(t []uint32, v uint32) bool {
	if len(t) == 0 {
		return false
	}
	for i := home(t, v); ; {
		switch t[i] {
		case v:
			return true
		case 0:
			return false
		}
		if i++; i == len(t) {
			i = 0
		}
	}
}

func put(t []uint32, v uint32) {
	i := home(t, v)
	for t[i] != 0 {
		if i++; i == len(t) {
			i = 0
		}
	}
	t[i] = v
}

// values returns what is in a table, in order.
func values(t []uint32) []uint32 {
	vs := slices.DeleteFunc(slices.Clone(t), func(v uint32) bool { return v == 0 })
	slices.Sort(vs)
	return vs
}

// Merge makes s the set of what both remember, for as long as r says. If that is too
// much for a generation, some of it is taken for past; if it is too much for two, the
// past is forgotten first. It commutes, and is idempotent as long as there is room.
func (s *Seen) Merge(o *Seen, r Retention) {
	a := s
	b := &Seen{slices.Clone(o.slots), o.began, o.split, o.n}
	if p := r.period(); p > 0 {
		began := max(a.began, b.began)
		a.turn(began, p)
		b.turn(began, p)
	}
	items := r.items()
	present := union(values(a.present()), values(b.present()))
	past := slices.DeleteFunc(union(values(a.past()), values(b.past())), func(v uint32) bool {
		_, found := slices.BinarySearch(present, v)
		return found
	})
	if len(present) > items {
		past = slices.Concat(present[items:], past)
		present = present[:items]
	}
	s.fill(present, past[:min(len(past), items)], items)
}

// Common returns how many hashes both remember, and how many each does.
func (s *Seen) Common(o *Seen) (same, inS, inO int) {
	for _, v := range s.slots {
		if v == 0 {
			continue
		}
		inS++
		if has(o.present(), v) || has(o.past(), v) {
			same++
		}
	}
	for _, v := range o.slots {
		if v != 0 {
			inO++
		}
	}
	return same, inS, inO
}

func union(a, b []uint32) []uint32 {
	all := append(a, b...)
	slices.Sort(all)
	return slices.Compact(all)
}

// fill makes s the set of the values given. When it began stays.
func (s *Seen) fill(present, past []uint32, items int) {
	*s = Seen{began: s.began, n: uint16(len(present))}
	sizes := [2]int{}
	if len(past) > 0 {
		sizes[0] = slotsFor(len(past), items)
	}
	if len(present) > 0 {
		sizes[1] = slotsFor(len(present), items)
	}
	s.slots, s.split = make([]uint32, sizes[0]+sizes[1]), uint16(sizes[0])
	for _, v := range past {
		put(s.past(), v)
	}
	for _, v := range present {
		put(s.present(), v)
	}
}

// Append appends the serial form, of 9 bytes and 4 for each hash at most, to dst.
func (s *Seen) Append(dst []byte) []byte {
	if s.began == 0 {
		dst = append(dst, seenForm)
	} else {
		dst = binary.LittleEndian.AppendUint32(append(dst, seenTimedForm), s.began)
	}
	for _, t := range [...][]uint32{s.present(), s.past()} {
		vs := values(t)
		dst = binary.LittleEndian.AppendUint16(dst, uint16(len(vs)))
		for _, v := range vs {
			dst = binary.LittleEndian.AppendUint32(dst, v)
		}
	}
	return dst
}

// Decode reads what Append wrote from the front of b, and returns the rest.
func (s *Seen) Decode(b []byte) (rest []byte, err error) {
	*s = Seen{}
	r := &reader{b: b}
	began := uint32(0)
	switch form := r.byte(); form {
	case seenTimedForm:
		began = r.uint32()
		r.check(began != 0)
	default:
		r.check(form == seenForm)
	}
	present, past := r.ascending(maxItems), r.ascending(maxItems)
	if rest, err = r.end(); err == nil {
		s.began = began
		s.fill(present, past, maxItems)
	}
	return rest, err
}

// ascending reads a list of at most limit numbers, each above the one before, from 1.
func (r *reader) ascending(limit int) []uint32 {
	n := int(r.uint16())
	r.check(n <= limit && len(r.b) >= 4*n)
	if r.bad {
		return nil
	}
	vs := make([]uint32, n)
	last := uint32(0)
	for i := range vs {
		vs[i] = r.uint32()
		r.check(vs[i] > last)
		last = vs[i]
	}
	return vs
}

// Hashes is a set of hashes that a Seen is to forget.
type Hashes map[uint32]struct{}

// Put puts a hash into the set.
func (h Hashes) Put(hash uint64) { h[fold(hash)] = struct{}{} }

// Forget takes hashes out, and reports whether it remembered any. About one in 4 billion
// that is remembered goes with each.
func (s *Seen) Forget(hs Hashes) bool {
	gone := func(v uint32) bool { _, ok := hs[v]; return ok }
	present, past := values(s.present()), values(s.past())
	n := len(present) + len(past)
	present, past = slices.DeleteFunc(present, gone), slices.DeleteFunc(past, gone)
	if len(present)+len(past) == n {
		return false
	}
	s.fill(present, past, maxItems)
	return true
}
