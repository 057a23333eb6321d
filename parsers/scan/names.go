package scan

import "encoding/binary"

// Names numbers the keys that a caller of JSON acts on, so that it can switch on
// small integers. It is not changed after NewNames and may be shared.
type Names struct {
	list  []name // by number; 0 is nobody
	table [512]uint8
}

// End and Other are numbers that no name has.
const (
	End   = 0   // there was no further member
	Other = 255 // the key is not among the names
)

// name is a key as it stands in a line, with its quotes and colon.
type name struct {
	key   string
	words [3]uint64
	masks [3]uint64
	size  int // 0 if the name is too long to be compared at once
}

// NewNames numbers keys from 1. There can be up to 254; they must not need escapes.
func NewNames(keys ...string) *Names {
	if len(keys) >= Other {
		panic("scan: too many names")
	}
	n := &Names{list: make([]name, 1, len(keys)+1)}
	for i, k := range keys {
		e := name{key: k}
		if text := `"` + k + `":`; len(text) <= 24 {
			var padded, mask [24]byte
			copy(padded[:], text)
			for j := range text {
				mask[j] = 0xFF
			}
			for j := range e.words {
				e.words[j] = binary.LittleEndian.Uint64(padded[8*j:])
				e.masks[j] = binary.LittleEndian.Uint64(mask[8*j:])
			}
			e.size = len(text)
		}
		n.list = append(n.list, e)
		at := slot([]byte(k))
		for n.table[at] != 0 {
			at = (at + 1) % len(n.table)
		}
		n.table[at] = uint8(i + 1)
	}
	return n
}

// slot is where the search for a key begins.
func slot(key []byte) int {
	h := uint32(len(key))
	if len(key) > 0 {
		h += uint32(key[0])<<3 ^ uint32(key[len(key)-1])<<5 ^ uint32(key[len(key)/2])<<1
	}
	return int(h * 2654435761 >> 23)
}

// find returns the number of a key, Other if it has none.
func (n *Names) find(key []byte) int {
	for at := slot(key); ; at = (at + 1) % len(n.table) {
		switch id := int(n.table[at]); {
		case id == 0:
			return Other
		case n.list[id].key == string(key):
			return id
		}
	}
}

// Guide walks objects whose members have Names. Sensors write the members of their
// records in nearly the same order each time, so it compares the line with the key
// that followed the last time, and looks a key up only when that fails.
//
//	for k := g.Next(s, 0); k != scan.End; k = g.Next(s, k) {
//		switch k {
type Guide struct {
	names *Names
	after [256]uint8 // by the number of a key, the number of the key that followed it
}

// NewGuide returns a guide that has not learnt anything.
func NewGuide(n *Names) Guide { return Guide{names: n} }

// Next does s.Next and returns the number of the key, Other or End. prev is the
// number of the key before, 0 for the first member.
func (g *Guide) Next(s *JSON, prev int) int {
	id := int(g.after[uint8(prev)])
	if e := &g.names.list[id]; s.expect(e) {
		return id
	}
	if !s.Next() {
		return End
	}
	id = g.names.find(s.Key())
	if id != Other {
		g.after[uint8(prev)] = uint8(id)
	}
	return id
}

// expect goes to the next member if its key is e. Otherwise, and if the value is not
// valid, it returns false and leaves the rest to Next.
func (s *JSON) expect(e *name) bool {
	b, i := s.b, s.i
	if s.state == afterValue {
		if i >= len(b) || b[i] != ',' {
			return false
		}
		i++
	} else if s.state != afterOpen {
		return false
	}
	if e.size == 0 || len(b)-i < 24 || s.stack&1 == 0 {
		return false
	}
	t := b[i : i+24]
	if (binary.LittleEndian.Uint64(t)^e.words[0])&e.masks[0]|
		(binary.LittleEndian.Uint64(t[8:])^e.words[1])&e.masks[1]|
		(binary.LittleEndian.Uint64(t[16:])^e.words[2])&e.masks[2] != 0 {
		return false
	}
	s.k0, s.k1 = i+1, i+e.size-2
	return s.value(i + e.size)
}
