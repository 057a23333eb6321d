package zeek

import (
	"encoding/binary"

	"tidewatch/event"
)

// meaning is what a name means in a log of one kind.
type meaning struct {
	col    event.Column
	known  bool
	second bool
	bits   event.Columns // col alone
}

// noTell is the rank of a name that does not tell the kind.
const noTell = 255

// dictionary numbers all names that any kind of log gives a meaning. Name 0 is
// none of them.
type dictionary struct {
	ids   map[string]uint16
	names []string
	means [event.NumKinds][]meaning
	tells []uint8 // index in tellTales, or noTell
}

// words is the dictionary, with each dotted name in both its forms.
var words = func() *dictionary {
	d := &dictionary{ids: map[string]uint16{}}
	d.id("")
	for k := range kindColumns {
		for _, list := range [][]column{common, kindColumns[k]} {
			for _, c := range list {
				d.id(c.name)
				d.id(flat(c.name))
			}
		}
	}
	for i, t := range tellTales {
		for _, n := range []string{t.name, flat(t.name)} {
			id := d.id(n)
			d.tells[id] = min(d.tells[id], uint8(i))
		}
	}
	for k := range kindColumns {
		d.means[k] = make([]meaning, len(d.names))
		for id, n := range d.names {
			if c, ok := bind(event.Kind(k), n); ok {
				d.means[k][id] = meaning{col: c.col, known: true, second: c.second}
				d.means[k][id].bits.Add(c.col)
			}
		}
	}
	return d
}()

// id returns the number of name, a new one if it has none.
func (d *dictionary) id(name string) uint16 {
	id, ok := d.ids[name]
	if !ok {
		id = uint16(len(d.names))
		d.ids[name] = id
		d.names = append(d.names, name)
		d.tells = append(d.tells, noTell)
	}
	return id
}

// guesser finds the number of a name by what followed the name before it on
// earlier lines: records of one log have their fields in one order.
type guesser struct {
	names []string // the dictionary's, and from len(words.names) on those learned
	keys  []key    // the same as they stand in a record
	own   map[string]uint16
	// after has for each name the two that followed it last, the latest first.
	after [][2]uint16
	last  uint16
}

// key is a name with its quotes and colon: "uid":
type key struct {
	text             string
	head, mask, tail uint64 // the first eight bytes, as many of them as there are, the last eight
}

func newKey(name string) key {
	k := key{text: `"` + name + `":`}
	var b [8]byte
	n := copy(b[:], k.text)
	k.head = binary.LittleEndian.Uint64(b[:])
	k.mask = ^uint64(0) >> (64 - 8*n)
	if len(k.text) >= 8 {
		k.tail = binary.LittleEndian.Uint64([]byte(k.text[len(k.text)-8:]))
	}
	return k
}

// at reports whether line has the key at i.
func (k *key) at(line []byte, i int) bool {
	n := len(k.text)
	if i+n > len(line) || i+8 > len(line) || binary.LittleEndian.Uint64(line[i:i+8])&k.mask != k.head {
		return false
	}
	return n <= 8 || binary.LittleEndian.Uint64(line[i+n-8:i+n]) == k.tail && (n <= 16 || string(line[i:i+n]) == k.text)
}

// maxLearned bounds how many names outside of the dictionary a file can make us
// keep. Corelight's conn log has some sixty.
const maxLearned = 512

func newGuesser() guesser {
	g := guesser{own: map[string]uint16{}}
	for _, n := range words.names {
		g.add(n)
	}
	g.keys[0] = key{head: 1} // is nowhere: head has a bit that mask has not
	return g
}

func (g *guesser) add(name string) {
	g.names = append(g.names, name)
	g.keys = append(g.keys, newKey(name))
	g.after = append(g.after, [2]uint16{})
}

// id returns the number of name, 0 for one that nobody knows.
func (g *guesser) id(name []byte) uint16 {
	next := &g.after[g.last]
	id := next[0]
	if string(name) == g.names[id] {
		g.last = id
		return id
	}
	if id = next[1]; string(name) != g.names[id] {
		id = g.find(name)
		next = &g.after[g.last]
	}
	next[0], next[1] = id, next[0]
	g.last = id
	return id
}

func (g *guesser) find(name []byte) uint16 {
	if id, ok := words.ids[string(name)]; ok {
		return id
	}
	id, ok := g.own[string(name)]
	if !ok && len(g.own) < maxLearned && len(name) <= 128 {
		id = uint16(len(g.names))
		g.add(string(name))
		g.own[g.names[id]] = id
	}
	return id
}

// key returns the number of the name that line has at i, behind the name last, and
// where its value begins; value is 0 if there is none in the form that Zeek
// writes: without escapes, with nothing between name and colon.
func (g *guesser) key(line []byte, i int, last uint16) (id uint16, value int) {
	next := &g.after[last]
	id = next[1]
	if k := &g.keys[id]; k.at(line, i) {
		value = i + len(k.text)
	} else {
		end := stringEnd(line, i)
		if end < 0 || end+1 >= len(line) || line[end+1] != ':' {
			return 0, 0
		}
		id, value = g.find(line[i+1:end]), end+2
		next = &g.after[last]
	}
	next[0], next[1] = id, next[0]
	return id, value
}
