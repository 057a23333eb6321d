package tempo

import "math"

// Merge adds what another Track has seen of the same pair, such as that of a second
// sensor that a host has moved to. Sessions that both have are counted twice, except
// among the last ones. Neither order matters.
func (t *Track) Merge(o *Track) {
	if o.held == 0 {
		return
	}
	if t.held == 0 {
		*t = *o
		return
	}
	a, b := t.timeline(), o.timeline()
	for i := range t.lags {
		t.lags[i].merge(&o.lags[i])
	}
	t.burst.merge(&o.burst)
	mergeCounts(t.sizes[:], o.sizes[:])
	for i := range t.week {
		t.week[i] |= o.week[i]
	}
	t.first, t.last = min(t.first, o.first), max(t.last, o.last)
	head := max(t.head, o.head)
	same := t.mergeRings(&a, &b)
	if t.heads == 0 {
		t.head = min(head, t.newest)
	}
	t.sessions = add32(t.sessions, o.sessions) - same
	t.starts = add32(t.starts, o.starts)
	t.dropped = add32(t.dropped, o.dropped)
	t.look, t.timers = max(t.look, o.look), max(t.timers, o.timers)
}

func add32(a, b uint32) uint32 { return uint32(min(uint64(a)+uint64(b), math.MaxUint32)) }

func (h *histogram) merge(o *histogram) { mergeCounts(h[:], o[:]) }

// mergeCounts adds counters. If one would overflow, all are halved.
func mergeCounts(counts, others []uint8) {
	most := 0
	for i, c := range others {
		most = max(most, int(counts[i])+int(c))
	}
	half := 0
	if most > counterMax {
		half = 1
	}
	for i, c := range others {
		counts[i] = uint8((int(counts[i]) + int(c)) >> half)
	}
}

// mergeRings makes the newest sessions of two rings the ring, and returns how many
// both have.
func (t *Track) mergeRings(a, b *timeline) (same uint32) {
	var newest timeline // from its end
	i, j, at := a.n-1, b.n-1, ringSize
	for ; (i >= 0 || j >= 0) && at > 0; at-- {
		x, y := a, b
		p, q := i, j
		if i < 0 || j >= 0 && b.at[j] > a.at[i] {
			x, y, p, q = b, a, j, i
		}
		when, size, head := x.at[p], x.size[p], x.head[p]
		took := 1
		if q >= 0 && when-y.at[q] <= sessionGap {
			// The session that both have begins with the earlier of its starts.
			when, size, head = y.at[q], max(size, y.size[q]), head && y.head[q]
			took = 2
			same++
		}
		newest.at[at-1], newest.size[at-1], newest.head[at-1] = when, size, head
		switch {
		case took == 2:
			i, j = i-1, j-1
		case x == a:
			i--
		default:
			j--
		}
	}
	n := ringSize - at
	copy(newest.at[:], newest.at[at:ringSize])
	copy(newest.size[:], newest.size[at:ringSize])
	copy(newest.head[:], newest.head[at:ringSize])
	newest.n = n
	t.restore(&newest)
	return same
}
