package beacon

// sessionGap is what is one session with the contact before it, in ms: as package
// tempo has it.
const sessionGap = 1000

// coldSessions is how many sessions of a pair are kept before it is tracked: with
// the next one it is.
const coldSessions = 3

// cold is what is kept of a pair of which little is known, and the way to its track
// if it has one. It takes 48 bytes with its key.
type cold struct {
	starts [coldSessions]int64  // Unix ms, in order; of a tracked pair the first is the newest start
	sizes  [coldSessions]uint16 // bytes, as sizeCode
	n      uint8
	dirty  bool
	// pending says that what the store has of the pair is on its way.
	pending bool
	track   int32 // index among the tracks, plus 1; 0: none
}

func (c *cold) last() int64 {
	if c.track != 0 || c.n == 0 {
		return c.starts[0]
	}
	return c.starts[c.n-1]
}

// add counts a contact and reports whether it begins a session for which there is no
// room.
func (c *cold) add(ms int64, bytes uint64) (full bool) {
	at := int(c.n)
	for at > 0 && c.starts[at-1] > ms {
		at--
	}
	for _, i := range [...]int{at - 1, at} {
		if i < 0 || i >= int(c.n) {
			continue
		}
		if d := ms - c.starts[i]; d <= sessionGap && d >= -sessionGap {
			c.starts[i] = min(c.starts[i], ms) // TLS begins after its connection
			c.sizes[i] = sizeCode(codedSize(c.sizes[i]) + bytes)
			return false
		}
	}
	if c.n == coldSessions {
		return true
	}
	copy(c.starts[at+1:], c.starts[at:c.n])
	copy(c.sizes[at+1:], c.sizes[at:c.n])
	c.starts[at], c.sizes[at] = ms, sizeCode(bytes)
	c.n++
	return false
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
	bucketSize  = 8
	fewestSlots = 64 * bucketSize
)

// table finds pairs by their key, in buckets of eight. It grows to a size and then
// gives the place of whom it can miss most easily to a newcomer: of pairs without a
// track the one with the fewest sessions, then the one that has been silent longest.
// An attacker who invents pairs turns over pairs that were seen once. Until it has its
// size nobody has to leave, so that what it holds does not depend on how it grew.
type table struct {
	keys  []uint64 // 0: an empty slot
	pairs []cold   // beside keys
	n     int
	most  int // slots
}

func newTable(most int) *table {
	slots := fewestSlots
	for slots < most {
		slots *= 2
	}
	return &table{keys: make([]uint64, fewestSlots), pairs: make([]cold, fewestSlots), most: slots}
}

// bucket returns the first slot of a key's bucket. The upper half of a key says who
// owns it, so that the lower half chooses.
func (t *table) bucket(key uint64) int {
	h := uint32(key) * 0x9e3779b1
	return int(uint64(h) * uint64(len(t.keys)/bucketSize) >> 32 * bucketSize)
}

// find returns the slot of a key, or -1.
func (t *table) find(key uint64) int {
	at := t.bucket(key)
	for i, k := range t.keys[at : at+bucketSize : at+bucketSize] {
		if k == key {
			return at + i
		}
	}
	return -1
}

// insert returns the slot for a new key, and the key that had to leave it, 0 for
// none. It returns -1 if everybody in the bucket has a track.
func (t *table) insert(key uint64) (slot int, left uint64) {
	for {
		at, worst := t.bucket(key), -1
		for i := at; i < at+bucketSize; i++ {
			if t.keys[i] == 0 {
				t.keys[i] = key
				t.n++
				return i, 0
			}
			if t.pairs[i].track == 0 && (worst < 0 || t.pairs[i].worthLess(&t.pairs[worst])) {
				worst = i
			}
		}
		if len(t.keys) < t.most {
			t.grow()
			continue
		}
		if worst < 0 {
			return -1, 0
		}
		left = t.keys[worst]
		t.keys[worst], t.pairs[worst] = key, cold{}
		return worst, left
	}
}

func (c *cold) worthLess(than *cold) bool {
	if c.n != than.n {
		return c.n < than.n
	}
	return c.last() < than.last()
}

// grow doubles the table. Each bucket becomes two neighbours, which have room for
// all of it.
func (t *table) grow() {
	old := *t
	t.keys, t.pairs = make([]uint64, 2*len(old.keys)), make([]cold, 2*len(old.pairs))
	for i, k := range old.keys {
		if k == 0 {
			continue
		}
		at := t.bucket(k)
		for t.keys[at] != 0 {
			at++
		}
		t.keys[at], t.pairs[at] = k, old.pairs[i]
	}
}

// remove empties a slot.
func (t *table) remove(slot int) {
	t.keys[slot], t.pairs[slot] = 0, cold{}
	t.n--
}
