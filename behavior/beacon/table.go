package beacon

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// sessionGap is what is one session with the contact before it, in ms: as package
// tempo has it.
const sessionGap = 1000

// coldSessions is how many sessions of a pair are kept before it is tracked: with
// the next one it is.
const coldSessions = 3

// cold is what is kept of a pair of which little is known, and the way to its track
// if it has one. With its key it takes half a line of the processor's cache: three words,
// one a session in order of their starts, each of a start (45 bits, Unix ms: all that
// Unix ns can say), a size (16 bits, as sizeCode) and three bits about the pair.
type cold [coldSessions]uint64

const (
	startShift = 19
	sizeShift  = 3
	aboutMask  = 1<<sizeShift - 1

	// About the pair, in the first word: how many sessions there are, and
	countMask = 3
	dirtyBit  = 4
	// in the second: what the store has of it is on its way,
	pendingBit = 1
	// and it has a track, whose index is what else is in the second word. In the first is
	// then the newest start.
	trackedBit = 2
)

func (c *cold) n() int             { return int(c[0] & countMask) }
func (c *cold) start(i int) int64  { return int64(c[i]) >> startShift }
func (c *cold) size(i int) uint16  { return uint16(c[i] >> sizeShift) }
func (c *cold) dirty() bool        { return c[0]&dirtyBit != 0 }
func (c *cold) pending() bool      { return c[1]&pendingBit != 0 }
func (c *cold) tracked() bool      { return c[1]&trackedBit != 0 }
func (c *cold) track() int32       { return int32(c[1] >> sizeShift) } // index among the tracks, if it is tracked
func (c *cold) setN(n int)         { c[0] = c[0]&^countMask | uint64(n) }
func (c *cold) setDirty(on bool)   { c.about(0, dirtyBit, on) }
func (c *cold) setPending(on bool) { c.about(1, pendingBit, on) }

func (c *cold) about(word int, bit uint64, on bool) {
	c[word] &^= bit
	if on {
		c[word] |= bit
	}
}

// put writes a session, and leaves what is said about the pair.
func (c *cold) put(i int, ms int64, size uint16) {
	c[i] = uint64(ms)<<startShift | uint64(size)<<sizeShift | c[i]&aboutMask
}

// follow gives the pair a track. Of its sessions the newest start stays.
func (c *cold) follow(track int32, newest int64) {
	c.setN(0)
	c.put(0, newest, 0)
	c[1] = uint64(uint32(track))<<sizeShift | c[1]&pendingBit | trackedBit
}

// seen notes the start of a session of a pair with a track.
func (c *cold) seen(ms int64) {
	if ms > c.start(0) {
		c.put(0, ms, 0)
	}
}

// last returns the newest start.
func (c *cold) last() int64 { return c.start(max(c.n(), 1) - 1) }

// add counts a contact and reports whether it begins a session for which there is no
// room.
func (c *cold) add(ms int64, bytes uint64) (full bool) {
	n := c.n()
	at := n
	for at > 0 && c.start(at-1) > ms {
		at--
	}
	for _, i := range [...]int{at - 1, at} {
		if i < 0 || i >= n {
			continue
		}
		if d := ms - c.start(i); d <= sessionGap && d >= -sessionGap {
			// TLS begins after its connection.
			c.put(i, min(c.start(i), ms), sizeCode(codedSize(c.size(i))+bytes))
			return false
		}
	}
	if n == coldSessions {
		return true
	}
	for i := n; i > at; i-- {
		c.put(i, c.start(i-1), c.size(i-1))
	}
	c.put(at, ms, sizeCode(bytes))
	c.setN(n + 1)
	return false
}

// forgetFirst makes room for a session.
func (c *cold) forgetFirst() {
	for i := 1; i < coldSessions; i++ {
		c.put(i-1, c.start(i), c.size(i))
	}
	c.setN(coldSessions - 1)
}

// sizeCode writes a number as its eleven leading bits and their place: exact up to
// 2,047, then with an error of less than 0.1 %.
func sizeCode(n uint64) uint16 {
	shift := uint16(0)
	for n >= 1<<11 && shift < 31 {
		n >>= 1
		shift++
	}
	return shift<<11 | uint16(min(n, 1<<11-1))
}

func codedSize(c uint16) uint64 { return uint64(c&(1<<11-1)) << (c >> 11) }

const (
	bucketSize  = 32
	fewestSlots = 16 * bucketSize
	chunkSize   = 1024 // pairs
)

// table finds pairs by their key, in buckets of 32. It grows to a size and then
// gives the place of whom it can miss most easily to a newcomer: of pairs without a
// track the one with the fewest sessions, then the one that has been silent longest.
// An attacker who invents pairs turns over pairs that were seen once. Until it has its
// size nobody has to leave, so that what it holds does not depend on how it grew.
//
// The buckets say only where pairs are, in five bytes each: a table that grows as soon as one
// bucket is full is mostly empty. Pairs lie in the order in which they came, so that
// those of today are close together, and stay where they are.
type table struct {
	buckets []bucket
	chunks  [][]pair
	used    int      // places in chunks
	free    []uint32 // of them
	most    int      // slots
}

// bucket is where to look for the pairs of some keys.
type bucket struct {
	tags [bucketSize]uint8 // eight bits of each key; 0 is an empty slot
	at   [bucketSize]uint32
}

// pair is a pair with its key, 0 for none.
type pair struct {
	key uint64
	cold
}

func newTable(most int) *table {
	slots := fewestSlots
	for slots < most {
		slots *= 2
	}
	return &table{buckets: make([]bucket, fewestSlots/bucketSize), most: slots}
}

// pair returns what find or insert said where it is.
func (t *table) pair(at int) *pair { return &t.chunks[uint(at)/chunkSize][uint(at)%chunkSize] }

// len returns how many pairs there are.
func (t *table) len() int { return t.used - len(t.free) }

// place returns the bucket and the tag of a key. The upper half of a key says who owns
// it, so that the lower half chooses.
func (t *table) place(key uint64) (b *bucket, tag uint8) {
	h := uint32(key) * 0x9e3779b1
	return &t.buckets[uint64(h)*uint64(len(t.buckets))>>32], max(uint8(h>>8), 1)
}

// find returns where the pair of a key is, or -1.
func (t *table) find(key uint64) int {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	b, tag := t.place(key)
	for w := 0; w < bucketSize; w += 8 {
		// A byte that is the tag is 0 in x and has its top bit in m. So may others, above it.
		x := binary.LittleEndian.Uint64(b.tags[w:]) ^ uint64(tag)*ones
		for m := (x - ones) &^ x & tops; m != 0; m &= m - 1 {
			slot := w + bits.TrailingZeros64(m)/8
			if at := int(b.at[slot]); b.tags[slot] == tag && t.pair(at).key == key {
				return at
			}
		}
	}
	return -1
}

// insert returns where the pair of a new key is, and the key that had to leave it, 0
// for none. It returns -1 if everybody in the bucket has a track.
func (t *table) insert(key uint64) (at int, left uint64) {
	b, tag := t.place(key)
	slot := bytes.IndexByte(b.tags[:], 0)
	for slot < 0 && len(t.buckets)*bucketSize < t.most {
		t.grow()
		b, tag = t.place(key)
		slot = bytes.IndexByte(b.tags[:], 0)
	}
	if slot >= 0 {
		b.at[slot] = t.take()
	} else if slot = t.worst(b); slot < 0 {
		return -1, 0
	}
	at = int(b.at[slot])
	p := t.pair(at)
	left = p.key
	b.tags[slot], *p = tag, pair{key: key}
	return at, left
}

// take returns a free place.
func (t *table) take() uint32 {
	if n := len(t.free); n > 0 {
		at := t.free[n-1]
		t.free = t.free[:n-1]
		return at
	}
	if t.used == len(t.chunks)*chunkSize {
		t.chunks = append(t.chunks, make([]pair, chunkSize))
	}
	t.used++
	return uint32(t.used - 1)
}

// worst returns the slot of the pair of a full bucket that can be missed most easily; -1
// if everybody in it has a track.
func (t *table) worst(b *bucket) int {
	worst := -1
	for i := range b.at {
		if p := t.pair(int(b.at[i])); !p.tracked() && (worst < 0 || p.worthLess(&t.pair(int(b.at[worst])).cold)) {
			worst = i
		}
	}
	return worst
}

func (c *cold) worthLess(than *cold) bool {
	if c.n() != than.n() {
		return c.n() < than.n()
	}
	return c.last() < than.last()
}

// grow doubles the buckets. Each becomes two, which have room for all of it.
func (t *table) grow() {
	t.buckets = make([]bucket, 2*len(t.buckets))
	for at := range t.used {
		if key := t.pair(at).key; key != 0 {
			b, tag := t.place(key)
			slot := bytes.IndexByte(b.tags[:], 0)
			b.tags[slot], b.at[slot] = tag, uint32(at)
		}
	}
}

// remove forgets the pair at a place.
func (t *table) remove(at int) {
	p := t.pair(at)
	b, _ := t.place(p.key)
	for i := range b.at {
		if b.tags[i] != 0 && int(b.at[i]) == at {
			b.tags[i] = 0
		}
	}
	*p = pair{}
	t.free = append(t.free, uint32(at))
}
