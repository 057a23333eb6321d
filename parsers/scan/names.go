package scan

import "encoding/binary"

// Names numbers the keys that a caller of JSON acts on, so that it can switch on
// small integers. It is not changed after NewNames and may be shared.
type Names struct {
	list  []name // by number; 0 is nobody
	read  int    // the greatest number that a caller gets to see
	table [2 * maxNames]uint16
}

// End is the number that no name has: there was no further member.
const End = 0

// maxNames is how many names there can be, and nobody.
const maxNames = 512

// name is a key as it stands in a line, with its quotes and colon.
type name struct {
	text string
	// The first bytes of a line are the text if each word under its mask is words[i].
	// A longer text is never found so, nor is nobody: their words are not under the masks.
	words [3]uint64
	masks [3]uint64
}

// NewNames numbers the keys that are read from 1. Those that are passed are keys that
// records have as well and that nobody acts on. Altogether there can be up to 511, all
// different; they must not need escapes.
func NewNames(read, passed []string) *Names {
	n := &Names{list: make([]name, 1, 1+len(read)+len(passed)), read: len(read)}
	n.list[0].words[0] = 1
	for _, list := range [][]string{read, passed} {
		for _, k := range list {
			n.add(k)
		}
	}
	return n
}

func (n *Names) add(key string) {
	if len(n.list) == maxNames {
		panic("scan: too many names")
	}
	e := name{text: `"` + key + `":`}
	if len(e.text) <= 24 {
		var padded, mask [24]byte
		copy(padded[:], e.text)
		for i := range e.text {
			mask[i] = 0xFF
		}
		for i := range e.words {
			e.words[i] = binary.LittleEndian.Uint64(padded[8*i:])
			e.masks[i] = binary.LittleEndian.Uint64(mask[8*i:])
		}
	} else {
		e.words[0] = 1
	}
	at := slot([]byte(key))
	for n.table[at] != 0 {
		at = (at + 1) % len(n.table)
	}
	n.table[at] = uint16(len(n.list))
	n.list = append(n.list, e)
}

// slot is where the search for a key begins.
func slot(key []byte) int {
	h := uint32(len(key))
	if len(key) > 0 {
		h += uint32(key[0])<<3 ^ uint32(key[len(key)-1])<<5 ^ uint32(key[len(key)/2])<<1
	}
	return int(h * 2654435761 >> 22)
}

// find returns the number of a key, maxNames if it has none.
func (n *Names) find(key []byte) int {
	for at := slot(key); ; at = (at + 1) % len(n.table) {
		id := int(n.table[at])
		if id == 0 {
			return maxNames
		}
		if text := n.list[id].text; text[1:len(text)-2] == string(key) {
			return id
		}
	}
}

// Guide walks objects whose members have Names. Sensors write the members of their
// records in nearly the same order each time, so it compares the line with the key
// that followed the last time, then with the one that did before that, and looks a key
// up only when that fails.
//
//	for k := g.Next(s, 0); k != scan.End; k = g.Next(s, k) {
//		switch k {
type Guide struct {
	names *Names
	after [maxNames]followers // by the number of a key
}

// followers are the numbers of the last two keys that followed a key, the later first.
type followers struct{ last, before uint16 }

// NewGuide returns a guide that has not learnt anything.
func NewGuide(n *Names) Guide { return Guide{names: n} }

// Next goes to the next member whose key is read and returns the number of the key, or
// End. prev is the number of the key before, 0 for the first member. The walk must be in
// an object.
func (g *Guide) Next(s *JSON, prev int) int {
	for {
		id, i := g.key(s, uint(prev)%maxNames)
		if i < 0 || !s.value(i) {
			return End
		}
		if id <= g.names.read {
			return id
		}
		if id < maxNames {
			prev = id
		}
	}
}

// key goes to the key of the next member and returns its number, maxNames if it has none,
// and where its value begins; -1 if there is no further member.
func (g *Guide) key(s *JSON, prev uint) (id, value int) {
	b, i := s.b, s.i
	switch {
	case s.state == afterValue && i < len(b) && b[i] == ',':
		i++
	case s.state == afterOpen:
	default:
		return g.search(s, prev)
	}
	f := &g.after[prev]
	e := &g.names.list[f.last]
	if !e.at(b, i) {
		if e = &g.names.list[f.before]; !e.at(b, i) {
			return g.search(s, prev)
		}
		f.last, f.before = f.before, f.last
	}
	end := i + len(e.text)
	s.k0, s.k1 = i+1, end-2
	return int(f.last), end
}

// at reports whether the name stands at i.
func (e *name) at(b []byte, i int) bool {
	if len(b)-i < 24 {
		return len(e.text) > 0 && len(b)-i >= len(e.text) && string(b[i:i+len(e.text)]) == e.text
	}
	t := b[i : i+24]
	// ^ and | bind alike: without parentheses a difference in one word hides behind
	// the bits of the next.
	return (binary.LittleEndian.Uint64(t)&e.masks[0]^e.words[0])|
		(binary.LittleEndian.Uint64(t[8:])&e.masks[1]^e.words[1])|
		(binary.LittleEndian.Uint64(t[16:])&e.masks[2]^e.words[2]) == 0
}

// search is key for a member that is none of those that followed prev before. Now it is.
func (g *Guide) search(s *JSON, prev uint) (id, value int) {
	if value = s.member(); value < 0 {
		return 0, -1
	}
	if id = g.names.find(s.Key()); id < maxNames {
		f := &g.after[prev]
		if f.last != uint16(id) { // it may have been there, behind white space
			*f = followers{last: uint16(id), before: f.last}
		}
	}
	return id, value
}
