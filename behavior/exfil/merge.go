package exfil

import (
	"bytes"
	"cmp"
	"math"
	"net/netip"
	"slices"

	"tidewatch/behavior/state"
)

// Merge returns what two sensors know of the uploads of one host together. It commutes.
// What both saw counts once: see meet.
func Merge(a, b state.Record) (state.Record, error) {
	if len(a.Key) == 0 || a.Key[0] != state.KindUpload || !bytes.Equal(a.Key, b.Key) {
		return state.Record{}, state.ErrRecord
	}
	id, err := state.ParseHost(a.Key)
	if err != nil {
		return state.Record{}, err
	}
	h, errA := decode(id, a.Value)
	o, errB := decode(id, b.Value)
	if err := cmp.Or(errA, errB); err != nil {
		return state.Record{}, err
	}
	h.merge(o)
	var w state.Writer
	h.write(&w)
	return state.Record{Key: a.Key, Value: w.B}, nil
}

// meet notes a connection of a day in the least of their hashes: two sensors that watch
// one link have the same, and two that see each a half have different ones (Broder,
// "On the resemblance and containment of documents", 1997, with one hash).
func (h *host) meet(t *transfer) {
	if today := int32(t.ev.End / day); today != h.markDay {
		if today < h.markDay && today > h.markDay-3 { // late
			return
		}
		h.mark, h.markDay = 0, today
	}
	h.mark = least(h.mark, t)
}

func least(mark uint64, t *transfer) uint64 {
	if t.ev.ConnHash == 0 {
		return mark
	}
	// Pings all have one hash; two sensors date the start of a connection alike.
	v := max(spread(t.ev.ConnHash, uint64(t.ev.Time/(10*second))), 1)
	if mark == 0 || v < mark {
		return v
	}
	return mark
}

// sum adds two counts, or takes the larger if both sensors saw the same.
func sum(a, b uint64, oneLink bool) uint64 {
	if oneLink {
		return max(a, b)
	}
	return state.Union(a, b, 0)
}

// merge adds what another sensor knows of the host, which it takes over.
func (h *host) merge(o *host) {
	oneLink := h.markDay == o.markDay && h.mark != 0 && h.mark == o.mark
	h.mergeCounts(o, oneLink)
	h.mergeSmall(o, oneLink)
	for i := range o.accounts {
		if a := h.account(o.accounts[i].key); a != nil {
			a.merge(&o.accounts[i])
		} else {
			h.accounts = append(h.accounts, o.accounts[i])
		}
	}
	h.fold(oneLink)
	slices.SortFunc(h.accounts, func(a, b account) int { return cmp.Or(cmp.Compare(b.last, a.last), cmp.Compare(a.key, b.key)) })
	h.accounts, h.keys = h.accounts[:min(len(h.accounts), maxAccounts)], h.keys[:0]
	switch {
	case h.budget != nil && o.budget != nil:
		h.budget.merge(o.budget)
	case o.budget != nil:
		h.budget = o.budget
	}
	h.mergeLive(o)
	h.mergeNotable(o)
	h.mergeOpen(o)
}

func (h *host) mergeCounts(o *host, oneLink bool) {
	switch {
	case o.markDay > h.markDay:
		h.mark, h.markDay = o.mark, o.markDay
	case o.markDay == h.markDay && (h.mark == 0 || o.mark != 0 && o.mark < h.mark):
		h.mark = o.mark
	}
	h.first, h.last = min(h.first, o.first), max(h.last, o.last)
	named, bare := sum(uint64(h.named), uint64(o.named), oneLink), sum(uint64(h.bare), uint64(o.bare), oneLink)
	for named+bare > 4096 {
		named, bare = named/2, bare/2
	}
	h.named, h.bare = uint32(named), uint32(bare)
}

// mergeSmall keeps the destinations that are worth most.
func (h *host) mergeSmall(o *host, oneLink bool) {
	for _, l := range o.small {
		k := slices.IndexFunc(h.small, func(v light) bool { return v.key == l.key })
		if k < 0 {
			h.small = append(h.small, l)
			continue
		}
		v := &h.small[k]
		v.first, v.last = min(v.first, l.first), max(v.last, l.last)
		switch {
		case l.day > v.day:
			v.day, v.out = l.day, l.out
		case l.day == v.day:
			v.out = uint32(min(sum(uint64(v.out), uint64(l.out), oneLink), math.MaxUint32))
		}
	}
	slices.SortFunc(h.small, func(a, b light) int {
		return cmp.Or(cmp.Compare(b.day, a.day), cmp.Compare(b.out, a.out), cmp.Compare(b.last, a.last), cmp.Compare(a.key, b.key))
	})
}

// fold puts what little one sensor saw of a destination to the account that the other
// has.
func (h *host) fold(oneLink bool) {
	h.small = slices.DeleteFunc(h.small, func(l light) bool {
		a := h.account(l.key)
		if a == nil {
			return false
		}
		a.first, a.last = min(a.first, int64(l.first)*second), max(a.last, int64(l.last)*second)
		if l.day == a.day.at {
			a.day.out = sum(a.day.out, uint64(l.out), oneLink)
		}
		return true
	})
	h.small = h.small[:min(len(h.small), maxSmall)]
}

// merge adds what another sensor knows of the destination.
func (a *account) merge(o *account) {
	oneLink := a.day.at == o.day.at && a.day.mark != 0 && a.day.mark == o.day.mark
	a.first, a.last = min(a.first, o.first), max(a.last, o.last)
	switch {
	case o.hour > a.hour:
		a.hour, a.hourOut = o.hour, o.hourOut
	case o.hour == a.hour:
		a.hourOut = sum(a.hourOut, o.hourOut, oneLink)
	}
	switch {
	case o.day.at > a.day.at:
		a.told, a.suspect, a.burst, a.before = o.told, o.suspect, o.burst, max(o.before, a.day.out)
	case o.day.at == a.day.at:
		a.told, a.suspect, a.before = a.told || o.told, a.suspect || o.suspect, max(a.before, o.before)
		if o.burst.compare(&a.burst) < 0 {
			a.burst = o.burst
		}
	default:
		a.before = max(a.before, o.day.out)
	}
	a.day.merge(&o.day, oneLink)
	a.hours.Merge(&o.hours, hourly)
	a.days.Merge(&o.days, daily)
	a.drift.Merge(&o.drift)
	if o.accepted > a.accepted || o.accepted == a.accepted && o.normal > a.normal {
		a.accepted, a.normal = o.accepted, o.normal
	}
}

// compare orders the larger burst first.
func (b *burst) compare(o *burst) int {
	return cmp.Or(cmp.Compare(o.total, b.total), cmp.Compare(o.many, b.many), cmp.Compare(o.start, b.start), cmp.Compare(o.n, b.n), cmp.Compare(o.bytes, b.bytes))
}

// merge adds what another sensor saw on the same day; of two days the later one counts.
func (w *window) merge(o *window, oneLink bool) {
	if o.at != w.at {
		if o.at > w.at {
			*w = *o
		}
		return
	}
	w.conns = uint32(min(sum(uint64(w.conns), uint64(o.conns), oneLink), math.MaxUint32))
	for _, n := range [...][2]*uint64{{&w.out, &o.out}, {&w.in, &o.in}, {&w.blind, &o.blind}, {&w.pkts, &o.pkts}, {&w.disputed, &o.disputed}} {
		*n[0] = sum(*n[0], *n[1], oneLink)
	}
	w.members |= o.members
	if w.mark == 0 || o.mark != 0 && o.mark < w.mark {
		w.mark = o.mark
	}
	if w.first == 0 || o.first != 0 && o.first < w.first {
		w.first = o.first
	}
	w.last, w.largest, w.lasted = max(w.last, o.last), max(w.largest, o.largest), max(w.lasted, o.lasted)
	if oneLink {
		w.rarity = max(w.rarity, o.rarity)
	} else {
		w.rarity = min(max(w.rarity+o.rarity, -math.MaxFloat64), math.MaxFloat64)
	}
}

// mergeLive keeps of connections that go on what was counted of them, by either sensor.
func (h *host) mergeLive(o *host) {
	for _, l := range o.live {
		k := slices.IndexFunc(h.live, func(v live) bool {
			return v.conn == l.conn && max(v.start-l.start, l.start-v.start) <= sameStart
		})
		if k < 0 {
			h.live = append(h.live, l)
			continue
		}
		v := &h.live[k]
		*v = live{v.conn, min(v.start, l.start), max(v.at, l.at), max(v.out, l.out), max(v.in, l.in), max(v.pkts, l.pkts)}
	}
	slices.SortFunc(h.live, func(a, b live) int {
		return cmp.Or(cmp.Compare(b.at, a.at), cmp.Compare(a.conn, b.conn), cmp.Compare(a.start, b.start))
	})
	h.live = h.live[:min(len(h.live), maxLive)]
}

// mergeNotable keeps the largest transfers. One that both sensors saw is in once.
func (h *host) mergeNotable(o *host) {
	all := append(h.notable, o.notable...)
	slices.SortFunc(all, func(a, b notable) int {
		return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(b.out, a.out), cmp.Compare(a.key, b.key), bytes.Compare(a.uid[:], b.uid[:]), cmp.Compare(a.local, b.local))
	})
	kept := all[:0]
	for _, n := range all {
		if !slices.ContainsFunc(kept, func(k notable) bool {
			return k.key == n.key && k.local == n.local && k.remote == n.remote && n.start-k.start <= sameStart
		}) {
			kept = append(kept, n)
		}
	}
	slices.SortStableFunc(kept, func(a, b notable) int {
		switch {
		case b.less(&a):
			return -1
		case a.less(&b):
			return 1
		}
		return 0
	})
	h.notable = kept[:min(len(kept), maxNotable)]
}

// mergeOpen makes one episode of each that both have told.
func (h *host) mergeOpen(o *host) {
	for _, e := range o.open {
		k := slices.IndexFunc(h.open, func(v *episode) bool { return v.key == e.key && v.sums.at == e.sums.at })
		if k < 0 {
			h.open = append(h.open, e)
		} else {
			h.open[k] = h.open[k].merged(e)
		}
	}
	slices.SortFunc(h.open, func(a, b *episode) int {
		return cmp.Or(cmp.Compare(b.sums.last, a.sums.last), cmp.Compare(a.id, b.id), cmp.Compare(a.key, b.key))
	})
	h.open = h.open[:min(len(h.open), maxEpisodes)]
}

// merged is the upload of which two sensors told parts: e or o with the other's in it.
func (e *episode) merged(o *episode) *episode {
	if cmp.Or(cmp.Compare(e.sums.last, o.sums.last), cmp.Compare(e.sums.out, o.sums.out), cmp.Compare(e.id, o.id), cmp.Compare(e.verdict.sum, o.verdict.sum)) < 0 {
		e, o = o, e // what is known of the destination is what was known last
	}
	e.sums.merge(&o.sums, e.sums.mark != 0 && e.sums.mark == o.sums.mark)
	if o.verdict.sum > e.verdict.sum {
		e.verdict = o.verdict
	}
	e.id, e.held = min(e.id, o.id), e.held && o.held
	e.revision, e.level = max(e.revision, o.revision), max(e.level, o.level)
	e.detected, e.limit = min(e.detected, o.detected), min(e.limit, o.limit)
	e.first, e.hostFirst = min(e.first, o.first), min(e.hostFirst, o.hostFirst)
	for i, seen := range o.sensors {
		e.sensors[i] = e.sensors[i] || seen
	}
	e.samples = state.MergeSamples(e.samples, o.samples, maxSamples)
	e.addrs = append(e.addrs, o.addrs...)
	slices.SortFunc(e.addrs, func(a, b netip.Addr) int { return a.Compare(b) })
	e.addrs = slices.Compact(e.addrs)
	e.addrs = e.addrs[:min(len(e.addrs), maxAddrs)]
	return e
}
