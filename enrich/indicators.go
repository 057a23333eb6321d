package enrich

import (
	"hash/maphash"
	"math"
	"math/bits"
	"net/netip"
	"strings"

	"github.com/gaissmai/bart"

	"tidewatch/event"
)

// indicatorKind is what an indicator is compared with.
type indicatorKind uint8

const (
	kindNone   indicatorKind = iota
	kindAddr                 // an address; networks are apart
	kindDomain               // a name, and all below it
	kindURL                  // host, path and query, without a scheme
	kindDigest               // of a file, a certificate or a greeting: MD5, SHA-1, SHA-256, JA3, JA4
	numIndicatorKinds
)

// note is what is kept of where an indicator comes from: many share one.
type note struct {
	provider   uint16 // index of names
	confidence uint8  // 0 to 100; notSaid
	tlp        uint8  // index of tlps
	first      uint16 // day since 1970 on which it was first seen; 0 if unknown
	expires    uint16 // the first day on which it counts no more; 0: never
	text       uint32 // index of texts
}

// notSaid is the confidence of an indicator whose source says none.
const notSaid = 255

var tlps = []string{"", "CLEAR", "WHITE", "GREEN", "AMBER", "AMBER+STRICT", "RED"}

const (
	// maxNotes bounds how many different notes are kept; what comes after has the
	// provider alone. maxTexts bounds their texts, each of at most longestText bytes.
	maxNotes    = 1 << 20
	maxTexts    = 1 << 18
	longestText = 200
)

// slot holds an indicator by two hashes of its value: 96 bits with keys of this
// process, so that nobody can make values that look alike, and chance needs 10^20
// look-ups of ten million indicators.
type slot struct {
	hash  uint64 // 0: free
	check uint32
	note  uint32
}

// Indicators is a table of threat intelligence: 16 bytes a slot, of which between 40
// and 80 % are used. It is not changed once it is in force and may be used concurrently.
type Indicators struct {
	slots []slot // a power of two
	// sieve says of most values that are not listed that they are not: a Bloom filter of
	// one word for eight slots, with four bits of one word for each value (Putze et al.
	// 2007, blocked). It stays in the processor's caches where slots do not. nil while the
	// table is filled.
	sieve    []uint64
	n        int
	networks bart.Table[uint32]
	nets     int
	of       [numIndicatorKinds]int

	notes []note
	texts []string
	names []string // of providers

	seed, seed2 maphash.Seed
	allowed     *Indicators // what never matches; nil: nothing
	warnings    []string    // what was left out of which file

	// While it is filled:
	noteIndex map[note]uint32
	textIndex map[string]uint32
	before    *past          // what was in force until now; nil: nobody asks what is new
	fresh     []event.Sought // what is not in it
	keeps     bool           // noted is wanted
	noted     seen           // what can be looked back for; until it is written down
	passed    int            // values that are new and cannot be looked back at
}

func newIndicators() *Indicators {
	return &Indicators{
		slots: make([]slot, 1<<8), seed: maphash.MakeSeed(), seed2: maphash.MakeSeed(), notes: []note{}, texts: []string{""},
		noteIndex: map[note]uint32{}, textIndex: map[string]uint32{"": 0},
	}
}

// Len returns how many indicators there are.
func (x *Indicators) Len() int {
	if x == nil {
		return 0
	}
	return x.n + x.nets
}

// hashText returns the two hashes of a value.
func (x *Indicators) hashText(k indicatorKind, v string) uint64 {
	return maphash.String(x.seed, v) ^ uint64(k)*0x9e3779b97f4a7c15 | 1
}

func (x *Indicators) checkText(v string) uint32 { return uint32(maphash.String(x.seed2, v)) }

// find returns the note of a value.
func (x *Indicators) find(k indicatorKind, v string) (uint32, bool) {
	h := x.hashText(k, v)
	if x.sieve != nil {
		if word, want := sieved(h); x.sieve[word&uint64(len(x.sieve)-1)]&want != want {
			return 0, false
		}
	}
	mask := uint64(len(x.slots) - 1)
	for i := bits.RotateLeft64(h, 32) & mask; x.slots[i].hash != 0; i = (i + 1) & mask {
		if x.slots[i].hash == h && x.slots[i].check == x.checkText(v) {
			return x.slots[i].note, true
		}
	}
	return 0, false
}

// add takes an indicator. Of two of the same value, the one of more confidence counts.
func (x *Indicators) add(k indicatorKind, v string, n uint32) {
	if 10*x.n >= 8*len(x.slots) {
		x.grow()
	}
	h, check := x.hashText(k, v), x.checkText(v)
	mask := uint64(len(x.slots) - 1)
	i := bits.RotateLeft64(h, 32) & mask
	for ; x.slots[i].hash != 0; i = (i + 1) & mask {
		if x.slots[i].hash == h && x.slots[i].check == check {
			if x.stronger(n, x.slots[i].note) {
				x.slots[i].note = n
			}
			return
		}
	}
	x.slots[i] = slot{h, check, n}
	x.n++
	x.of[k]++
}

// stronger reports whether a note says more of its indicator than another one: it
// holds longer, or else is surer.
func (x *Indicators) stronger(a, b uint32) bool {
	p, q := &x.notes[a], &x.notes[b]
	if p.expires != q.expires {
		return uint16(p.expires-1) > uint16(q.expires-1) // 0 is never
	}
	return p.confidence != notSaid && (q.confidence == notSaid || p.confidence > q.confidence)
}

func (x *Indicators) grow() {
	old := x.slots
	x.slots = make([]slot, 2*len(old))
	mask := uint64(len(x.slots) - 1)
	for _, s := range old {
		if s.hash == 0 {
			continue
		}
		i := bits.RotateLeft64(s.hash, 32) & mask
		for x.slots[i].hash != 0 {
			i = (i + 1) & mask
		}
		x.slots[i] = s
	}
}

// addNetwork takes a network; an address is one of its own.
func (x *Indicators) addNetwork(p netip.Prefix, n uint32) {
	if p.IsSingleIP() {
		b := p.Addr().As16()
		x.add(kindAddr, event.String(b[:]), n)
		return
	}
	if before, ok := x.networks.Get(p); !ok {
		x.nets++
		x.networks.Insert(p, n)
	} else if x.stronger(n, before) {
		x.networks.Insert(p, n)
	}
}

// noteOf returns the index of a note.
func (x *Indicators) noteOf(n note, text string) uint32 {
	if len(text) > longestText {
		text = strings.ToValidUTF8(text[:longestText], "")
	}
	t, ok := x.textIndex[text]
	if !ok && len(x.texts) < maxTexts {
		t = uint32(len(x.texts))
		text = strings.Clone(text)
		x.texts, x.textIndex[text] = append(x.texts, text), t
	}
	n.text = t
	i, ok := x.noteIndex[n]
	if !ok {
		if len(x.notes) >= maxNotes {
			n = note{provider: n.provider, confidence: n.confidence, expires: n.expires}
			if i, ok = x.noteIndex[n]; ok {
				return i
			}
		}
		i = uint32(len(x.notes))
		x.notes, x.noteIndex[n] = append(x.notes, n), i
	}
	return i
}

// done ends the filling.
func (x *Indicators) done() {
	x.noteIndex, x.textIndex, x.before = nil, nil, nil
	x.sieve = make([]uint64, len(x.slots)/8)
	for i := range x.slots {
		if h := x.slots[i].hash; h != 0 {
			word, set := sieved(h)
			x.sieve[word&uint64(len(x.sieve)-1)] |= set
		}
	}
}

// sieved returns the word of a hash in the sieve, before it is bounded, and its bits.
func sieved(h uint64) (word, set uint64) {
	return h >> 32, 1<<(h>>1&63) | 1<<(h>>7&63) | 1<<(h>>13&63) | 1<<(h>>19&63)
}

const dayLength = 24 * 3600e9 // nanoseconds

// day returns the day of a time in Unix nanoseconds, 0 for one that has none.
func day(at int64) uint16 { return uint16(min(max(at/dayLength, 0), math.MaxUint16)) }

// holds reports whether an indicator counts at a time.
func (x *Indicators) holds(n uint32, at int64) bool {
	e := x.notes[n].expires
	return e == 0 || day(at) < e
}

// addr returns the note of an address.
func (x *Indicators) addr(a netip.Addr) (uint32, bool) {
	if x.of[kindAddr] > 0 {
		b := a.As16()
		if n, ok := x.find(kindAddr, event.String(b[:])); ok {
			return n, true
		}
	}
	if x.nets > 0 {
		return x.networks.Lookup(a)
	}
	return 0, false
}

// maxLabels is how many of a name's last labels are looked up, each with all to its
// right: nobody lists deeper ones.
const maxLabels = 8

// domain returns the note of a name or of one above it, and where that begins. The name
// is in lower case without a dot at its end.
func (x *Indicators) domain(name string) (n uint32, from int, ok bool) {
	end, labels := len(name), 0
	for end > 0 && labels < maxLabels {
		dot := strings.LastIndexByte(name[:end], '.')
		if labels++; labels > 1 || dot < 0 {
			if n, ok = x.find(kindDomain, name[dot+1:]); ok {
				return n, dot + 1, true
			}
		}
		end = dot
	}
	return 0, 0, false
}

// indicator returns what findings say of a match.
func (x *Indicators) indicator(n uint32, typ, value, field string) *event.Indicator {
	m := &x.notes[n]
	i := &event.Indicator{
		Type: typ, Value: strings.Clone(value), Field: field, Provider: x.names[m.provider], Description: x.texts[m.text], TLP: tlps[m.tlp],
		FirstSeen: int64(m.first) * dayLength, Confidence: -1,
	}
	if m.confidence != notSaid {
		i.Confidence = int(m.confidence)
	}
	return i
}
