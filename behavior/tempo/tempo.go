// Package tempo decides from the times and sizes of sessions between two ends
// whether a machine's timer makes them. It knows nothing of hosts or of logs.
//
// A Track is the bounded memory of one pair; Evaluate compares the gaps it has seen
// with those of timers with bounded jitter and missed check-ins (H1), and with those
// of irregular processes (H0), by the likelihood ratio of their logarithms.
package tempo

import (
	"math"
	"math/bits"
)

const (
	binsPerOctave = 8
	octaves       = 21
	// numBins is the number of bins of a gap histogram: 1 s to 2^21 s, about 24
	// days, and one for what is longer.
	numBins  = octaves*binsPerOctave + 1
	numLags  = 3
	ringSize = 16

	// A session goes on while the next start comes within sessionGap, in ms.
	sessionGap = 1000
	// burstGap is the same for the channel in which the connections of an
	// operator at work are one session.
	burstGap = 30_000

	// maxSince is the longest gap that the ring can hold, in ms: seven weeks.
	maxSince = math.MaxUint32

	numSizes   = 32
	hourMs     = int64(3600_000)
	weekHours  = 168
	counterMax = math.MaxUint8
)

// Track is what is kept of one pair: about 200 bytes, and 0.7 KB more from the 17th
// session on. The zero Track has seen nothing. A Track is copied with Clone. Times are in
// milliseconds since the epoch.
type Track struct {
	// past is nil while the ring holds all sessions: most pairs never have more.
	past *past

	// The last sessions, oldest first: how long after the one before each began,
	// and its bytes. heads has a bit for each that begins a session of the burst
	// channel.
	since  [ringSize]uint32
	bytes  [ringSize]uint32
	heads  uint16
	held   uint8 // of the ring
	timers uint8 // looks in a row that gave a timer

	first  int64 // start of the oldest session known
	newest int64 // start of the newest session
	last   int64 // newest start of all
	head   int64 // start of the newest session of the burst channel

	sessions uint32
	starts   uint32
	look     uint32 // sessions at which the next look is due
	dropped  uint32 // starts too late to find their place
}

// past is what is counted of all sessions.
type past struct {
	lags  [numLags]histogram // gaps between session starts, one to three apart
	burst histogram          // the same between sessions more than 30 s apart
	sizes [numSizes]uint8    // bytes of a session, two bins an octave
	week  [weekHours / 8]uint8
}

// counts returns what is counted of all sessions. It is the Track's own, or made of the
// ring in buf.
func (t *Track) counts(buf *past) *past {
	if t.past != nil {
		return t.past
	}
	l := t.timeline()
	l.count(buf)
	return buf
}

// remember makes the Track count its sessions, before the ring forgets any.
func (t *Track) remember() {
	if t.past == nil {
		p := new(past)
		l := t.timeline()
		l.count(p)
		t.past = p
	}
}

// settle forgets counts that the ring knows too.
func (t *Track) settle() {
	if t.past == nil || t.sessions > uint32(t.held) {
		return
	}
	var known past
	l := t.timeline()
	if l.count(&known); known == *t.past {
		t.past = nil
	}
}

// Clone returns a Track that shares nothing with t.
func (t *Track) Clone() Track {
	c := *t
	if t.past != nil {
		p := *t.past
		c.past = &p
	}
	return c
}

// histogram counts gaps by their logarithm. Counters that are full are halved
// together: the shape stays and the past fades.
type histogram [numBins]uint8

func (h *histogram) add(b int) { increment(h[:], b) }

func increment(counts []uint8, b int) {
	if counts[b] == counterMax {
		for i := range counts {
			counts[i] /= 2
		}
	}
	counts[b]++
}

// remove takes a gap back, if its count has not faded away.
func (h *histogram) remove(b int) {
	if h[b] > 0 {
		h[b]--
	}
}

// mantissas are those of 2^(i/8) as float64.
var mantissas = func() (m [binsPerOctave]uint64) {
	for i := range m {
		m[i] = math.Float64bits(math.Exp2(float64(i)/binsPerOctave)) & (1<<52 - 1)
	}
	return m
}()

// binOf returns the bin of a gap in ms: floor(8 log2(seconds)), within the
// histogram.
func binOf(ms int64) int {
	if ms <= 1000 {
		return 0
	}
	f := math.Float64bits(float64(ms) / 1000)
	octave := int(f>>52) - 1023
	if octave >= octaves {
		return numBins - 1
	}
	b := octave * binsPerOctave
	m := f & (1<<52 - 1)
	if m >= mantissas[4] {
		b += 4
	}
	for b&7 != 7 && m >= mantissas[b&7+1] {
		b++
	}
	return b
}

// sizeBin returns the bin of a number of bytes: 0 for none, then two an octave
// from 32 B to about 1 MB.
func sizeBin(n uint32) int {
	if n == 0 {
		return 0
	}
	b := 2 * (bits.Len32(n) - 6)
	if uint64(n)*uint64(n) >= 1<<(2*bits.Len32(n)-1) { // n >= 2^(k+1/2)
		b++
	}
	return min(max(b, 0), numSizes-2) + 1
}

// Near reads the parts of the Track that Add changes, but for what it counts, so that
// they are in the processor's cache. What it returns means nothing.
func (t *Track) Near() uint64 {
	return uint64(t.since[0]) + uint64(t.bytes[0]) + uint64(t.head) + uint64(t.dropped)
}

// Sessions returns how many sessions were seen, that is groups of starts each
// within a second of the one before.
func (t *Track) Sessions() uint32 { return t.sessions }

// Starts returns how many starts were added.
func (t *Track) Starts() uint32 { return t.starts }

// Dropped returns how many starts came too late to find their place.
func (t *Track) Dropped() uint32 { return t.dropped }

// Last returns the newest start, in Unix nanoseconds.
func (t *Track) Last() int64 { return t.last * 1e6 }

// First returns the oldest start known, in Unix nanoseconds.
func (t *Track) First() int64 { return t.first * 1e6 }

// Add counts a connection: its start in Unix nanoseconds, and how many bytes the
// originator sent. It allocates once, at the 17th session. Starts may come out of order: one that
// lies among the last 16 sessions splits the gap that it falls into, an older one
// is dropped and counted.
func (t *Track) Add(start int64, bytes uint64) {
	ms := start / 1e6
	size := uint32(min(bytes, math.MaxUint32))
	if t.starts < math.MaxUint32 {
		t.starts++
	}
	switch {
	case t.held == 0:
		t.first, t.last = ms, ms
		t.begin(ms, size)
	case ms < t.last:
		t.addLate(ms, size)
	case ms-t.last <= sessionGap:
		t.last = ms
		t.join(int(t.held)-1, size)
	default:
		t.begin(ms, size)
	}
}

// mark notes the hour of the week of a start, counted from Thursday 00:00 UTC, when
// the epoch began.
func (p *past) mark(ms int64) {
	h := (ms/hourMs%weekHours + weekHours) % weekHours
	p.week[h/8] |= 1 << (h % 8)
}

// begin adds a session newer than all.
func (t *Track) begin(ms int64, size uint32) {
	gap := ms - t.newest
	silent := t.held > 0 && gap > maxSince
	if silent || t.held == ringSize {
		t.remember()
	}
	if silent { // seven weeks of silence: begin again
		t.held, t.heads = 0, 0
		t.since, t.bytes = [ringSize]uint32{}, [ringSize]uint32{}
	}
	if t.held == 0 {
		gap = 0
	}
	if t.past != nil {
		t.countLags(gap)
	}
	isHead := t.held == 0 || ms-t.last > burstGap
	if isHead {
		if t.held > 0 && t.past != nil {
			t.past.burst.add(binOf(ms - t.head))
		}
		t.head = ms
	}
	t.push(uint32(gap), size, isHead)
	t.newest, t.last = ms, ms
	t.counted(ms, size)
}

// countLags counts the gaps that end with a session newer than all.
func (t *Track) countLags(gap int64) {
	for lag, i := 0, int(t.held)-1; lag < numLags && i >= 0; lag, i = lag+1, i-1 {
		t.past.lags[lag].add(binOf(gap))
		gap += int64(t.since[i])
	}
}

// push adds a session at the young end of the ring.
func (t *Track) push(since, size uint32, isHead bool) {
	if t.held == ringSize {
		copy(t.since[:], t.since[1:])
		copy(t.bytes[:], t.bytes[1:])
		t.since[0] = 0 // what was before is forgotten
		t.heads >>= 1
		t.held--
	}
	t.since[t.held], t.bytes[t.held] = since, size
	if isHead {
		t.heads |= 1 << t.held
	}
	t.held++
}

// counted notes that a session is new.
func (t *Track) counted(ms int64, size uint32) {
	if t.sessions < math.MaxUint32 {
		t.sessions++
	}
	if p := t.past; p != nil {
		increment(p.sizes[:], sizeBin(size))
		p.mark(ms)
	}
}

// join adds bytes to a session of the ring.
func (t *Track) join(i int, size uint32) {
	old := t.bytes[i]
	t.bytes[i] = uint32(min(uint64(old)+uint64(size), math.MaxUint32))
	p := t.past
	if p == nil {
		return
	}
	if was, is := sizeBin(old), sizeBin(t.bytes[i]); was != is {
		if p.sizes[was] > 0 {
			p.sizes[was]--
		}
		increment(p.sizes[:], is)
	}
}

const (
	firstLook = 6    // sessions
	mostLooks = 1024 // sessions between looks: about as many as the histograms remember
)

// Due reports whether there is enough that is new to evaluate the Track.
func (t *Track) Due() bool { return t.sessions >= max(t.look, firstLook) }

// Looked says that the Track was evaluated, with which result, and returns how many
// looks in a row gave a timer by their score. The next look is due when the sessions
// have grown by a quarter, or doubled if a timer is less likely than not.
func (t *Track) Looked(r *Result) (timers int) {
	const (
		positive = 0.5
		unlikely = -1 // nats
	)
	grow := max(t.sessions/4, 1)
	if r.LogOdds < unlikely {
		grow = t.sessions
	}
	t.look = t.sessions + min(grow, mostLooks)
	if r.Score < positive {
		t.timers = 0
	} else if t.timers < math.MaxUint8 {
		t.timers++
	}
	return int(t.timers)
}
