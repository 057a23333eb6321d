package tempo

import "math"

// timeline is the ring in plain times, with room for one more session.
type timeline struct {
	at   [ringSize + 1]int64
	size [ringSize + 1]uint32
	head [ringSize + 1]bool
	n    int
}

// timeline returns the sessions of the ring, oldest first.
func (t *Track) timeline() (l timeline) {
	l.n = int(t.held)
	at := t.newest
	for i := l.n - 1; i >= 0; i-- {
		l.at[i], l.size[i], l.head[i] = at, t.bytes[i], t.heads&(1<<i) != 0
		at -= int64(t.since[i])
	}
	return l
}

// count counts all sessions of the ring into an empty past.
func (l *timeline) count(p *past) {
	for k := 1; k <= numLags; k++ {
		for i := 0; i+k < l.n; i++ {
			p.lags[k-1].add(binOf(l.at[i+k] - l.at[i]))
		}
	}
	eachGap(l.at[:l.n], l.head[:l.n], math.MinInt64, p.burst.add)
	for i, ms := range l.at[:l.n] {
		increment(p.sizes[:], sizeBin(l.size[i]))
		p.mark(ms)
	}
}

// restore makes the newest sessions of a timeline the ring, as far as no gap is too
// long for it.
func (t *Track) restore(l *timeline) {
	drop := l.n - 1
	for drop > max(l.n-ringSize, 0) && l.at[drop]-l.at[drop-1] <= maxSince {
		drop--
	}
	t.held, t.heads = 0, 0
	for i := drop; i < l.n; i++ {
		since := int64(0)
		if i > drop {
			since = l.at[i] - l.at[i-1]
		}
		t.push(uint32(since), l.size[i], l.head[i])
	}
	t.newest = l.at[l.n-1]
	for i := l.n - 1; i >= drop; i-- {
		if l.head[i] {
			t.head = l.at[i]
			return
		}
	}
}

// addLate adds a start before the newest.
func (t *Track) addLate(ms int64, size uint32) {
	l := t.timeline()
	p := l.n // how many sessions began before
	for p > 0 && l.at[p-1] > ms {
		p--
	}
	switch {
	case p == l.n || p > 0 && ms-l.at[p-1] <= sessionGap:
		t.join(p-1, size)
	case l.at[p]-ms <= sessionGap:
		t.join(p, size)
	case p == 0 && (t.sessions > uint32(l.n) || l.at[0]-ms > maxSince):
		t.dropped++
	default:
		t.insert(&l, p, ms, size)
	}
}

// insert puts a late session before the p-th of the ring.
func (t *Track) insert(l *timeline, p int, ms int64, size uint32) {
	if t.held == ringSize {
		t.remember()
	}
	if t.past != nil {
		t.uncountAround(l, p)
	}
	copy(l.at[p+1:], l.at[p:l.n])
	copy(l.size[p+1:], l.size[p:l.n])
	copy(l.head[p+1:], l.head[p:l.n])
	l.at[p], l.size[p] = ms, size
	l.head[p] = p == 0 || ms-l.at[p-1] > burstGap
	l.head[p+1] = l.head[p+1] && l.at[p+1]-ms > burstGap
	l.n++
	if t.past != nil {
		t.countAround(l, p)
	}
	t.restore(l)
	t.first = min(t.first, ms)
	t.counted(ms, size)
}

// uncountAround takes back the gaps that a new session before the p-th splits.
func (t *Track) uncountAround(l *timeline, p int) {
	for k := 1; k <= numLags; k++ {
		for i := max(p-k, 0); i < p && i+k < l.n; i++ {
			t.past.lags[k-1].remove(binOf(l.at[i+k] - l.at[i]))
		}
	}
	l.eachHeadGap(p, p, t.past.burst.remove)
}

// countAround counts the gaps that the new p-th session ends, begins or lies in.
func (t *Track) countAround(l *timeline, p int) {
	for k := 1; k <= numLags; k++ {
		for i := max(p-k, 0); i <= p && i+k < l.n; i++ {
			t.past.lags[k-1].add(binOf(l.at[i+k] - l.at[i]))
		}
	}
	l.eachHeadGap(p, p+1, t.past.burst.add)
}

// eachHeadGap calls f with the bin of each gap between heads, from the last before
// the session p to the first after the session q.
func (l *timeline) eachHeadGap(p, q int, f func(bin int)) {
	from := p - 1
	for from >= 0 && !l.head[from] {
		from--
	}
	prev := from
	for i := max(from+1, 0); i < l.n; i++ {
		if !l.head[i] {
			continue
		}
		if prev >= 0 {
			f(binOf(l.at[i] - l.at[prev]))
		}
		prev = i
		if i > q {
			return
		}
	}
}
