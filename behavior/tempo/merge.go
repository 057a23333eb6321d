package tempo

import "math"

// Merge adds what another Track has seen of the same pair, such as that of a second
// sensor that a host has moved to, and reports whether both saw the same link: then most
// of the last sessions are in both, and the larger of two counts counts. Else they are
// added. Gaps between sessions of one and of the other are known as far back as neither
// ring has forgotten any. Neither order matters.
func (t *Track) Merge(o *Track) (oneLink bool) {
	if o.held == 0 {
		return false
	}
	if t.held == 0 {
		*t = o.Clone()
		return false
	}
	other := o.Clone()
	o = &other
	t.remember()
	o.remember()
	defer t.settle()
	a, b := t.timeline(), o.timeline()
	all, same := interleave(&a, &b)
	oneLink = 2*same > min(a.within(&b), b.within(&a))
	since := max(t.complete(&a), o.complete(&b))
	if !oneLink {
		t.uncount(&a, since)
		o.uncount(&b, since)
	}
	t.past.merge(o.past, oneLink)
	t.first, t.last = min(t.first, o.first), max(t.last, o.last)
	head := max(t.head, o.head)
	if !oneLink {
		all.count(t, since)
	}
	newest := all.newest()
	t.restore(&newest)
	if t.heads == 0 {
		t.head = min(head, t.newest)
	}
	if oneLink {
		t.sessions, t.starts, t.dropped = max(t.sessions, o.sessions), max(t.starts, o.starts), max(t.dropped, o.dropped)
	} else {
		t.sessions, t.starts, t.dropped = add32(t.sessions, o.sessions)-uint32(same), add32(t.starts, o.starts), add32(t.dropped, o.dropped)
	}
	t.sessions = max(t.sessions, uint32(t.held))
	t.starts = max(t.starts, t.sessions)
	t.look, t.timers = max(t.look, o.look), max(t.timers, o.timers)
	return oneLink
}

// merge adds what another Track has counted, or takes the larger counts.
func (p *past) merge(o *past, larger bool) {
	for i := range p.lags {
		mergeCounts(p.lags[i][:], o.lags[i][:], larger)
	}
	mergeCounts(p.burst[:], o.burst[:], larger)
	mergeCounts(p.sizes[:], o.sizes[:], larger)
	for i := range p.week {
		p.week[i] |= o.week[i]
	}
}

func add32(a, b uint32) uint32 { return uint32(min(uint64(a)+uint64(b), math.MaxUint32)) }

// mergeCounts adds counters, or takes the larger ones. If one would overflow, all are
// halved.
func mergeCounts(counts, others []uint8, larger bool) {
	most := 0
	for i, c := range others {
		if larger {
			counts[i] = max(counts[i], c)
		} else {
			most = max(most, int(counts[i])+int(c))
		}
	}
	if larger {
		return
	}
	half := 0
	if most > counterMax {
		half = 1
	}
	for i, c := range others {
		counts[i] = uint8((int(counts[i]) + int(c)) >> half)
	}
}

// within returns how many sessions of l lie in the time that o covers too.
func (l *timeline) within(o *timeline) (n int) {
	from, to := max(l.at[0], o.at[0])-sessionGap, min(l.at[l.n-1], o.at[o.n-1])+sessionGap
	for _, at := range l.at[:l.n] {
		if at >= from && at <= to {
			n++
		}
	}
	return n
}

// both is the sessions of two rings in the order of time.
type both struct {
	at   [2 * ringSize]int64
	size [2 * ringSize]uint32
	head [2 * ringSize]bool
	n    int
}

// interleave puts two rings together, and returns how many sessions both have.
func interleave(a, b *timeline) (l both, same int) {
	for i, j := 0, 0; i < a.n || j < b.n; l.n++ {
		x, p, y, q := a, i, b, j
		if i == a.n || j < b.n && b.at[j] < a.at[i] {
			x, p, y, q = b, j, a, i
		}
		at, size, head := x.at[p], x.size[p], x.head[p]
		took := q < y.n && y.at[q]-at <= sessionGap
		if took {
			// The session that both have begins with the earlier of its starts.
			size, head = max(size, y.size[q]), head && y.head[q]
			same++
		}
		if x == a || took {
			i++
		}
		if x == b || took {
			j++
		}
		if l.n > 0 {
			head = at-l.at[l.n-1] > burstGap
		}
		l.at[l.n], l.size[l.n], l.head[l.n] = at, size, head
	}
	return l, same
}

// complete returns since when the ring has all sessions.
func (t *Track) complete(l *timeline) int64 {
	if t.sessions > uint32(l.n) {
		return l.at[0]
	}
	return math.MinInt64
}

// uncount takes back the gaps within a ring that begin at a time or later.
func (t *Track) uncount(l *timeline, since int64) {
	for k := 1; k <= numLags; k++ {
		for i := 0; i+k < l.n; i++ {
			if l.at[i] >= since {
				t.past.lags[k-1].remove(binOf(l.at[i+k] - l.at[i]))
			}
		}
	}
	eachGap(l.at[:l.n], l.head[:l.n], since, t.past.burst.remove)
}

// count counts the gaps within both rings that begin at a time or later.
func (l *both) count(t *Track, since int64) {
	for k := 1; k <= numLags; k++ {
		for i := 0; i+k < l.n; i++ {
			if l.at[i] >= since {
				t.past.lags[k-1].add(binOf(l.at[i+k] - l.at[i]))
			}
		}
	}
	eachGap(l.at[:l.n], l.head[:l.n], since, t.past.burst.add)
}

// eachGap calls f with the bin of each gap between heads that begins at a time or later.
func eachGap(at []int64, head []bool, since int64, f func(bin int)) {
	prev := -1
	for i := range at {
		if !head[i] || at[i] < since {
			continue
		}
		if prev >= 0 {
			f(binOf(at[i] - at[prev]))
		}
		prev = i
	}
}

// newest is the last sessions of both.
func (l *both) newest() (t timeline) {
	from := max(l.n-ringSize, 0)
	t.n = l.n - from
	copy(t.at[:], l.at[from:l.n])
	copy(t.size[:], l.size[from:l.n])
	copy(t.head[:], l.head[from:l.n])
	return t
}

// RecentBytes is how many bytes the originator sent in each of the last sessions, on
// average.
func (t *Track) RecentBytes() float64 {
	sum := 0.0
	for _, n := range t.bytes[:t.held] {
		sum += float64(n)
	}
	return sum / float64(max(t.held, 1))
}
