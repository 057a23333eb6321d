package tempo

import (
	"encoding/binary"
	"errors"
	"math"
)

// ErrTrack is returned for bytes that are not a serialised Track.
var ErrTrack = errors.New("tempo: not a serialised track")

// Append appends the serialised Track to dst: the bins that are not empty, and the
// ring; most often 150 to 300 bytes, 1.7 kB at most. Who stores it adds a version.
func (t *Track) Append(dst []byte) []byte {
	for i := range t.lags {
		dst = appendBins(dst, t.lags[i][:])
	}
	dst = appendBins(dst, t.burst[:])
	dst = appendBins(dst, t.sizes[:])
	dst = append(dst, t.week[:]...)
	dst = append(dst, t.held)
	for i := range t.held {
		dst = binary.AppendUvarint(dst, uint64(t.since[i]))
		dst = binary.AppendUvarint(dst, uint64(t.bytes[i]))
	}
	dst = binary.LittleEndian.AppendUint16(dst, t.heads)
	for _, v := range [...]int64{t.first, t.newest, t.last, t.head} {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(v))
	}
	for _, v := range [...]uint32{t.sessions, t.starts, t.dropped} {
		dst = binary.LittleEndian.AppendUint32(dst, v)
	}
	return dst
}

// appendBins writes how many bins are not empty, and each with its count.
func appendBins(dst []byte, bins []uint8) []byte {
	at := len(dst)
	dst = append(dst, 0)
	for i, n := range bins {
		if n != 0 {
			dst[at]++
			dst = append(dst, byte(i), n)
		}
	}
	return dst
}

// Decode reads what Append wrote, and returns the bytes after it. After an error the
// Track is empty.
func (t *Track) Decode(b []byte) ([]byte, error) {
	*t = Track{}
	r := reader{b: b}
	for i := range t.lags {
		r.bins(t.lags[i][:])
	}
	r.bins(t.burst[:])
	r.bins(t.sizes[:])
	copy(t.week[:], r.take(len(t.week)))
	t.held = r.take(1)[0]
	if t.held > ringSize {
		r.bad = true
		t.held = 0
	}
	for i := range t.held {
		t.since[i], t.bytes[i] = r.number(), r.number()
	}
	t.heads = binary.LittleEndian.Uint16(r.take(2))
	for _, v := range [...]*int64{&t.first, &t.newest, &t.last, &t.head} {
		*v = int64(binary.LittleEndian.Uint64(r.take(8)))
	}
	for _, v := range [...]*uint32{&t.sessions, &t.starts, &t.dropped} {
		*v = binary.LittleEndian.Uint32(r.take(4))
	}
	if r.bad || !t.sound() {
		*t = Track{}
		return nil, ErrTrack
	}
	return r.b, nil
}

// sound reports whether a Track can be what Add made.
func (t *Track) sound() bool {
	const limit = math.MaxInt64 / 4_000_000 // its nanoseconds are far from the last
	for _, v := range [...]int64{t.first, t.newest, t.last, t.head} {
		if v < -limit || v > limit {
			return false
		}
	}
	return uint32(t.held) <= t.sessions && t.sessions <= t.starts && t.first <= t.newest && t.newest <= t.last &&
		t.head <= t.newest && int(t.heads)>>t.held == 0 && (t.held > 0) == (t.sessions > 0)
}

type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if r.bad || len(r.b) < n {
		r.bad = true
		return make([]byte, n)
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) number() uint32 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > math.MaxUint32 {
		r.bad = true
		return 0
	}
	r.b = r.b[n:]
	return uint32(v)
}

func (r *reader) bins(to []uint8) {
	last := -1
	for range r.take(1)[0] {
		v := r.take(2)
		if r.bad || int(v[0]) <= last || int(v[0]) >= len(to) || v[1] == 0 {
			r.bad = true
			return
		}
		last = int(v[0])
		to[last] = v[1]
	}
}

// Merge takes in what another sensor saw of the same pair. Counts of gaps add up;
// of the sessions the newest stay, and one that both saw counts once. The gaps
// between sessions of which each sensor saw one are lost, but for those in the ring's
// place in time: a host that moves loses one gap a move.
func (t *Track) Merge(o *Track) {
	if o.sessions == 0 {
		return
	}
	if t.sessions == 0 {
		*t = *o
		return
	}
	for i := range t.lags {
		addBins(t.lags[i][:], o.lags[i][:])
	}
	addBins(t.burst[:], o.burst[:])
	addBins(t.sizes[:], o.sizes[:])
	for i, b := range o.week {
		t.week[i] |= b
	}
	twice := t.mergeRings(o)
	t.sessions = uint32(min(uint64(t.sessions)+uint64(o.sessions)-uint64(twice), math.MaxUint32))
	t.starts = max(uint32(min(uint64(t.starts)+uint64(o.starts), math.MaxUint32)), t.sessions)
	t.dropped = uint32(min(uint64(t.dropped)+uint64(o.dropped), math.MaxUint32))
	t.first, t.last = min(t.first, o.first), max(t.last, o.last)
}

// addBins adds counters, and halves all as often as the greatest needs it.
func addBins(to, from []uint8) {
	most := 0
	for i := range to {
		most = max(most, int(to[i])+int(from[i]))
	}
	shift := 0
	for most>>shift > counterMax {
		shift++
	}
	for i := range to {
		to[i] = uint8((int(to[i]) + int(from[i])) >> shift)
	}
}

// mergeRings keeps the newest sessions of both rings and returns how many both had.
func (t *Track) mergeRings(o *Track) (twice int) {
	a, b := t.timeline(), o.timeline()
	var all [2*ringSize + 2]int64
	var sizes [2*ringSize + 2]uint32
	n, i, j := 0, 0, 0
	for i < a.n || j < b.n {
		at, size := int64(0), uint32(0)
		if j == b.n || i < a.n && a.at[i] <= b.at[j] {
			at, size = a.at[i], a.size[i]
			i++
		} else {
			at, size = b.at[j], b.size[j]
			j++
		}
		if n > 0 && at-all[n-1] <= sessionGap {
			sizes[n-1] = max(sizes[n-1], size)
			twice++
			continue
		}
		all[n], sizes[n] = at, size
		n++
	}
	t.held, t.heads = 0, 0
	for k := max(n-ringSize, 0); k < n; k++ {
		since, isHead := int64(0), true
		if t.held > 0 {
			since = all[k] - all[k-1]
			isHead = since > burstGap
		}
		if since > maxSince {
			t.held, t.heads, since = 0, 0, 0
		}
		t.push(uint32(since), sizes[k], isHead)
		if isHead {
			t.head = all[k]
		}
	}
	t.newest = all[n-1]
	return twice
}
