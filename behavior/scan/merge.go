package scan

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math"
	"net/netip"
	"slices"

	"tidewatch/behavior/sketch"
	"tidewatch/behavior/state"
)

// Merge returns what two sensors know of one entity together. It commutes. Of two
// halves it is what one sensor would know that had seen all; what both saw counts once,
// as far as that can be told from the contacts that are kept.
func Merge(a, b state.Record) (state.Record, error) {
	if _, ok := lightKey(a.Key); !ok {
		if _, err := state.ParseHost(a.Key); err != nil {
			return state.Record{}, err
		}
	}
	if !bytes.Equal(a.Key, b.Key) {
		return state.Record{}, state.ErrRecord
	}
	x, y := &state.Reader{B: a.Value}, &state.Reader{B: b.Value}
	var write func(*state.Writer)
	switch a.Key[0] {
	case state.KindScanSource:
		var s, o source
		readSource(x, &s)
		readSource(y, &o)
		write = func(w *state.Writer) { s.merge(&o); writeSource(w, &s) }
	case state.KindScanTarget:
		var t, o target
		readTarget(x, &t)
		readTarget(y, &o)
		write = func(w *state.Writer) { t.merge(&o); writeTarget(w, &t) }
	case state.KindScanLight:
		c, o := readLight(x), readLight(y)
		if o.before(&c) < 0 {
			c = o
		}
		write = func(w *state.Writer) { writeLight(w, &c) }
	default:
		return state.Record{}, state.ErrRecord
	}
	if x.Err != nil || y.Err != nil {
		return state.Record{}, cmp.Or(x.Err, y.Err)
	}
	var w state.Writer
	write(&w)
	return state.Record{Key: a.Key, Value: w.B}, nil
}

// lightKey reads the key of a source with one contact: its hash.
func lightKey(key []byte) (hash uint64, ok bool) {
	if len(key) != 9 || key[0] != state.KindScanLight {
		return 0, false
	}
	return binary.BigEndian.Uint64(key[1:]), true
}

func (e *entity) merge(o *entity) {
	e.scope = min(e.scope, o.scope)
	e.first, e.last = min(e.first, o.first), max(e.last, o.last)
}

// before orders contacts by time, and those of one time somehow.
func (c *contact) before(o *contact) int {
	return cmp.Or(cmp.Compare(c.time, o.time), c.dst.Compare(o.dst), cmp.Compare(c.port, o.port), cmp.Compare(c.proto, o.proto),
		cmp.Compare(c.outcome, o.outcome), cmp.Compare(c.uid, o.uid), cmp.Compare(c.orig, o.orig), cmp.Compare(c.state, o.state))
}

// same reports whether two contacts are with one port of one host.
func (c *contact) same(o *contact) bool {
	return c.dst == o.dst && c.port == o.port && c.proto == o.proto
}

// merge adds what another sensor knows of the source, which it takes over.
func (s *source) merge(o *source) {
	settled := max(s.settled(), o.settled())
	s.settle(settled)
	o.settle(settled)
	for i := range s.walks {
		s.walks[i].merge(&o.walks[i], s.overlap(o, func(c *contact) bool { return c.realm() == i }))
	}
	s.mergeServices(o)
	s.mergeScan(o)
	s.entity.merge(&o.entity)
	s.seen.Merge(&o.seen, sketch.DefaultRetention)
	s.hosts = max(s.hosts, o.hosts) // most peers of a host are the same wherever it is seen
	s.recent = mergeContacts(s.recent, o.recent, recentSize)
	s.oks = mergeContacts(s.oks, o.oks, answeredSize)
	if o.more != nil {
		s.dossier().merge(o.more)
	}
}

// settle forgets what belongs to a scan that was over at a time: another sensor may
// not have heard of its end yet.
func (s *source) settle(at int64) {
	if at == 0 {
		return
	}
	over := func(c contact) bool { return c.time <= at }
	s.recent, s.oks = slices.DeleteFunc(s.recent, over), slices.DeleteFunc(s.oks, over)
	for i := range s.walks {
		if s.walks[i].from <= at {
			s.walks[i] = walk{}
		}
	}
	s.services = slices.DeleteFunc(s.services, func(w serviceWalk) bool { return w.from <= at })
	if s.scan != nil && s.scan.last <= at {
		s.scan = nil
	}
}

// overlap is which share of the hosts of a walk both sensors saw fail.
func (s *source) overlap(o *source, counts func(*contact) bool) float64 {
	same, inA, inB := 0, 0, 0
	for i := range o.recent {
		if c := &o.recent[i]; c.fresh && counts(c) {
			inB++
		}
	}
	for i := range s.recent {
		c := &s.recent[i]
		if !c.fresh || !counts(c) {
			continue
		}
		inA++
		if slices.ContainsFunc(o.recent, func(r contact) bool { return r.fresh && r.dst == c.dst && counts(&r) }) {
			same++
		}
	}
	return state.Overlap(same, inA, inB)
}

// merge makes a walk one over the hosts of both. If they are a day apart, the later
// one counts.
func (w *walk) merge(o *walk, overlap float64) {
	switch {
	case o.empty() || !w.empty() && w.from-o.from > day:
		return
	case w.empty() || o.from-w.from > day:
		*w = *o
		return
	}
	count := func(a, b int) int {
		return int(min(state.Union(uint64(max(a, 0)), uint64(max(b, 0)), overlap), math.MaxInt32))
	}
	w.failed, w.answered = count(w.failed, o.failed), count(w.answered, o.answered)
	w.ratio += o.ratio - overlap*min(w.ratio, o.ratio)
	w.from = min(w.from, o.from)
}

// mergeServices keeps the walks that moved last.
func (s *source) mergeServices(o *source) {
	for i := range o.services {
		w := &o.services[i]
		k := slices.IndexFunc(s.services, func(v serviceWalk) bool { return v.service == w.service })
		if k < 0 {
			s.services = append(s.services, *w)
			continue
		}
		s.services[k].merge(&w.walk, s.overlap(o, func(c *contact) bool { return c.service() == w.service }))
		s.services[k].last = max(s.services[k].last, w.last)
	}
	slices.SortFunc(s.services, func(a, b serviceWalk) int {
		return cmp.Or(cmp.Compare(b.last, a.last), cmp.Compare(a.port, b.port), cmp.Compare(a.proto, b.proto), cmp.Compare(scopeOf(a.local), scopeOf(b.local)))
	})
	s.services = s.services[:min(len(s.services), numServices)]
}

// mergeContacts returns the newest of both lists, each port of a host once. Of a host
// only the first contact is fresh, unless that was a ping.
func mergeContacts(a, b []contact, size int) []contact {
	all := slices.Concat(a, b)
	slices.SortFunc(all, func(x, y contact) int { return x.before(&y) })
	kept := all[:0]
	for _, c := range all {
		if slices.ContainsFunc(kept, func(k contact) bool { return k.same(&c) }) {
			continue
		}
		c.fresh = c.fresh && !slices.ContainsFunc(kept, func(k contact) bool { return k.dst == c.dst && !k.proto.IsICMP() })
		kept = append(kept, c)
	}
	return slices.Clone(kept[max(len(kept)-size, 0):])
}

// mergeScan makes one scan of what both have seen of it, found or not.
func (s *source) mergeScan(o *source) {
	switch a, b := s.scan, o.scan; {
	case a != nil && b != nil:
		s.scan = a.merged(b, a.overlap(b, s.recent, o.recent))
	case a != nil:
		a.absorb(o, s)
	case b != nil:
		b.absorb(s, o)
		s.scan = b
	}
}

// absorb adds to a scan those contacts of from that belong to it and that its own
// source does not know.
func (e *episode) absorb(from, own *source) {
	more := slices.Concat(from.recent, from.oks)
	slices.SortFunc(more, func(a, b contact) int { return a.before(&b) })
	for i := range more {
		c := &more[i]
		known := func(k contact) bool { return k.same(c) }
		if c.time < e.start-hour || c.time > e.limit || slices.ContainsFunc(own.recent, known) || slices.ContainsFunc(own.oks, known) {
			continue
		}
		if e.add(c, nil) {
			e.start = min(e.start, c.time)
		}
	}
}

// overlap is which share of a scan's contacts two sensors saw both: by the last ones,
// or, of scans that are longer, by the hosts and ports.
func (e *episode) overlap(o *episode, a, b []contact) float64 {
	same := 0
	for i := range a {
		if slices.ContainsFunc(b, func(c contact) bool { return c.same(&a[i]) }) {
			same++
		}
	}
	if same > 0 || min(e.attempts, o.attempts) <= recentSize {
		return state.Overlap(same, len(a), len(b))
	}
	return min(common(&e.hosts, &o.hosts), common(&e.ports, &o.ports), common(&e.sources, &o.sources))
}

// common is which share of the smaller of two sets the larger one has too, 0 to 1. It
// is 1 if both are empty.
func common(a, b *sketch.Distinct) float64 {
	x, y := a.Count(), b.Count()
	if min(x, y) < 1 {
		return 1
	}
	var all sketch.Distinct
	all.Merge(a)
	all.Merge(b)
	return min(max((x+y-all.Count())/min(x, y), 0), 1)
}

// merged is the scan of which two sensors saw parts, e or o with the other's in it. If
// they are a day apart they are two scans, and the later one counts.
func (e *episode) merged(o *episode, overlap float64) *episode {
	if cmp.Or(cmp.Compare(o.start, e.start), cmp.Compare(o.id, e.id), cmp.Compare(o.detected, e.detected), cmp.Compare(o.attempts, e.attempts)) < 0 {
		e, o = o, e
	}
	if o.start-e.last > day {
		return o
	}
	e.addCounts(o, overlap)
	if o.detected < e.detected {
		e.detected, e.failedAtDetection = o.detected, o.failedAtDetection
	}
	e.last, e.limit = max(e.last, o.last), min(e.limit, o.limit)
	e.revision, e.walk, e.quiet = max(e.revision, o.revision), max(e.walk, o.walk), e.quiet && o.quiet
	e.hosts.Merge(&o.hosts)
	e.ports.Merge(&o.ports)
	e.answeredBy.Merge(&o.answeredBy)
	e.sources.Merge(&o.sources)
	e.mergeAnswers(o)
	shown := state.MergeSamples(e.samples[:e.shown], o.samples[:o.shown], maxSamples/2)
	e.samples = append(shown, state.MergeSamples(e.samples[e.shown:], o.samples[o.shown:], maxSamples-len(shown))...)
	e.shown = len(shown)
	for i, seen := range o.sensors {
		e.sensors[i] = e.sensors[i] || seen
	}
	if e.one != o.one {
		e.one = netip.Addr{}
	}
	return e
}

// addCounts adds how much the other sensor saw.
func (e *episode) addCounts(o *episode, overlap float64) {
	for _, n := range [...][2]*uint64{
		{&e.attempts, &o.attempts}, {&e.failed, &o.failed}, {&e.answered, &o.answered}, {&e.rejected, &o.rejected}, {&e.icmp, &o.icmp}, {&e.inside, &o.inside},
	} {
		*n[0] = state.Union(*n[0], *n[1], overlap)
	}
	for _, p := range o.top {
		if k := slices.IndexFunc(e.top, func(v portCount) bool { return v.port == p.port && v.proto == p.proto }); k >= 0 {
			e.top[k].n, e.top[k].ok = state.Union(e.top[k].n, p.n, overlap), state.Union(e.top[k].ok, p.ok, overlap)
		} else {
			e.top = append(e.top, p)
		}
	}
	slices.SortFunc(e.top, func(a, b portCount) int {
		return cmp.Or(cmp.Compare(b.n, a.n), cmp.Compare(a.port, b.port), cmp.Compare(a.proto, b.proto))
	})
	e.top = e.top[:min(len(e.top), topPorts)]
}

func (e *episode) mergeAnswers(o *episode) {
	e.answers = append(e.answers, o.answers...)
	slices.SortFunc(e.answers, func(a, b answer) int {
		return cmp.Or(a.addr.Compare(b.addr), cmp.Compare(a.port, b.port), cmp.Compare(a.proto, b.proto))
	})
	e.answers = slices.Compact(e.answers)
	e.answers = e.answers[:min(len(e.answers), maxAnswers)]
}

// merge adds what another sensor knows of the target, which it takes over.
func (t *target) merge(o *target) {
	same := 0
	for i := range t.tries {
		if slices.ContainsFunc(o.tries, func(c try) bool { return c.src == t.tries[i].src }) {
			same++
		}
	}
	overlap := state.Overlap(same, len(t.tries), len(o.tries))
	now := max(t.rateTime, o.rateTime)
	a, b := t.decayed(now), o.decayed(now)
	t.rate, t.rateTime = min(a+b-overlap*min(a, b), math.MaxUint32), now
	switch {
	case t.scan != nil && o.scan != nil:
		t.scan = t.scan.merged(o.scan, max(overlap, t.scan.overlap(o.scan, nil, nil)))
	case o.scan != nil:
		t.scan = o.scan
	}
	t.entity.merge(&o.entity)
	t.known.Merge(&o.known, sketch.DefaultRetention)
	t.episodes = max(t.episodes, o.episodes)
	t.tries = mergeTries(t.tries, o.tries)
}

// maxTries is how many tries a record has at most: as many as the settings allow.
const maxTries = 32

// mergeTries returns the newest of both lists, each source once.
func mergeTries(a, b []try) []try {
	all := slices.Concat(a, b)
	slices.SortFunc(all, func(x, y try) int {
		return cmp.Or(cmp.Compare(x.time, y.time), x.src.Compare(y.src), cmp.Compare(x.port, y.port), cmp.Compare(x.proto, y.proto), cmp.Compare(x.outcome, y.outcome))
	})
	kept := all[:0]
	for _, c := range all {
		if !slices.ContainsFunc(kept, func(k try) bool { return k.src == c.src }) {
			kept = append(kept, c)
		}
	}
	return slices.Clone(kept[max(len(kept)-maxTries, 0):])
}
