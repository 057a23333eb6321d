package sketch

import (
	"encoding/binary"
	"slices"
)

const (
	seenMin  = 16
	seenMax  = 2048 // slots of one generation
	seenForm = 1
)

// Seen remembers which hashes were added, by 32 bits of each. It is exact but for
// collisions of those bits up to 1,536 hashes; beyond that it forgets the older
// half at a time, so that the last 1,536 at least are remembered. It takes at most
// 16 KiB. The zero Seen is empty.
type Seen struct {
	now, old []uint32 // open addressing; 0 is an empty slot
	n        int      // in now
}

// Add remembers a hash and reports whether it is new.
func (s *Seen) Add(hash uint64) bool {
	v := fold(hash)
	if has(s.now, v) {
		return false
	}
	known := has(s.old, v)
	if 4*(s.n+1) > 3*len(s.now) {
		s.grow()
	}
	put(s.now, v) // also what is old: it was used again
	s.n++
	return !known
}

// Has reports whether a hash is remembered.
func (s *Seen) Has(hash uint64) bool {
	v := fold(hash)
	return has(s.now, v) || has(s.old, v)
}

func (s *Seen) grow() {
	if len(s.now) == seenMax {
		s.now, s.old = s.old, s.now
		if s.now == nil {
			s.now = make([]uint32, seenMax)
		}
		clear(s.now)
		s.n = 0
		return
	}
	bigger := make([]uint32, max(seenMin, 2*len(s.now)))
	for _, v := range s.now {
		if v != 0 {
			put(bigger, v)
		}
	}
	s.now = bigger
}

// Bytes returns how much memory the set takes.
func (s *Seen) Bytes() int { return 4 * (cap(s.now) + cap(s.old)) }

func fold(h uint64) uint32 {
	if v := uint32(h>>32) ^ uint32(h); v != 0 {
		return v
	}
	return 1
}

func has(t []uint32, v uint32) bool {
	if len(t) == 0 {
		return false
	}
	mask := uint32(len(t) - 1)
	for i := v & mask; ; i = (i + 1) & mask {
		switch t[i] {
		case v:
			return true
		case 0:
			return false
		}
	}
}

func put(t []uint32, v uint32) {
	mask := uint32(len(t) - 1)
	i := v & mask
	for t[i] != 0 {
		i = (i + 1) & mask
	}
	t[i] = v
}

// Append appends the serial form, of at most 12,293 bytes, to dst. Equal sets have
// equal forms, however they came to be.
func (s *Seen) Append(dst []byte) []byte {
	dst = append(dst, seenForm)
	for _, t := range [][]uint32{s.now, s.old} {
		vs := slices.DeleteFunc(slices.Clone(t), func(v uint32) bool { return v == 0 })
		slices.Sort(vs)
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
	if len(b) < 1 || b[0] != seenForm {
		return nil, ErrCorrupt
	}
	b = b[1:]
	for _, t := range []*[]uint32{&s.now, &s.old} {
		if len(b) < 2 {
			return nil, ErrCorrupt
		}
		n := int(binary.LittleEndian.Uint16(b))
		b = b[2:]
		if n > seenMax*3/4 || len(b) < 4*n {
			return nil, ErrCorrupt
		}
		if n > 0 {
			size := seenMin
			for 4*n > 3*size {
				size *= 2
			}
			if t == &s.old {
				size = seenMax // it was a full generation
			}
			*t = make([]uint32, size)
		}
		for i := range n {
			v := binary.LittleEndian.Uint32(b[4*i:])
			if v == 0 || has(*t, v) {
				return nil, ErrCorrupt
			}
			put(*t, v)
		}
		if t == &s.now {
			s.n = n
		}
		b = b[4*n:]
	}
	return b, nil
}
