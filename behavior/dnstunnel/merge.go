package dnstunnel

import (
	"bytes"
	"cmp"
	"math"
	"math/bits"
	"net/netip"
	"slices"

	"tidewatch/behavior/sketch"
	"tidewatch/behavior/state"
)

// Merge returns what two sensors know together of one host, or of a domain that it asks
// for. It commutes. Names that both sensors saw count once, as far as it is known which.
func Merge(a, b state.Record) (state.Record, error) {
	if !bytes.Equal(a.Key, b.Key) {
		return state.Record{}, state.ErrRecord
	}
	id, domain, isCandidate, err := parseKey(a.Key)
	if err != nil || a.Key[0] != state.KindTunnel {
		return state.Record{}, cmp.Or(err, state.ErrRecord)
	}
	x, y := &state.Reader{B: a.Value}, &state.Reader{B: b.Value}
	var w state.Writer
	if isCandidate {
		c, o := candidate{host: &host{Host: id}, key: domain}, candidate{}
		readCandidate(x, &c)
		readCandidate(y, &o)
		if x.Err == nil && y.Err == nil {
			c.merge(&o)
			writeCandidate(&w, &c)
		}
	} else {
		h, o := host{Host: id}, host{}
		readHost(x, &h)
		readHost(y, &o)
		if x.Err == nil && y.Err == nil {
			h.merge(&o)
			writeHost(&w, &h)
		}
	}
	return state.Record{Key: a.Key, Value: w.B}, cmp.Or(x.Err, y.Err)
}

// merge adds what another sensor knows of the host, which it takes over.
func (h *host) merge(o *host) {
	h.first, h.last = min(h.first, o.first), max(h.last, o.last)
	h.questions = state.Union(h.questions, o.questions, h.overlap(o))
	h.resolver = max(h.resolver, o.resolver)
	h.mergeServers(o)
	for i, key := range o.keys {
		if k := slices.Index(h.keys, key); k >= 0 {
			h.lights[k].merge(&o.lights[i])
		} else {
			h.keys, h.lights = append(h.keys, key), append(h.lights, o.lights[i])
		}
	}
	h.trim(maxLights)
}

// overlap is which share of the names both sensors saw, by those of domains that both
// know.
func (h *host) overlap(o *host) float64 {
	same, inA, inB := 0, 0, 0
	for i, key := range o.keys {
		if k := slices.Index(h.keys, key); k >= 0 {
			s, a, b := h.lights[k].seen.common(&o.lights[i].seen)
			same, inA, inB = same+s, inA+a, inB+b
		}
	}
	return state.Overlap(same, inA, inB)
}

func (f *filter) common(o *filter) (same, inA, inB int) {
	for i := range f {
		same += bits.OnesCount64(f[i] & o[i])
		inA += bits.OnesCount64(f[i])
		inB += bits.OnesCount64(o[i])
	}
	return same, inA, inB
}

// trim keeps the domains that say most.
func (h *host) trim(size int) {
	order := make([]int, len(h.keys))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		x, y := &h.lights[a], &h.lights[b]
		return cmp.Or(cmp.Compare(y.bytes, x.bytes), cmp.Compare(y.last, x.last), cmp.Compare(h.keys[a], h.keys[b]))
	})
	order = order[:min(len(order), size)]
	keys, lights := make([]uint64, 0, len(order)), make([]light, 0, len(order))
	for _, i := range order {
		keys, lights = append(keys, h.keys[i]), append(lights, h.lights[i])
	}
	h.keys, h.lights = keys, lights
}

// mergeServers keeps those that were asked last.
func (h *host) mergeServers(o *host) {
	for _, s := range o.servers {
		k := slices.IndexFunc(h.servers, func(v server) bool { return v.hash == s.hash })
		if k < 0 {
			h.servers = append(h.servers, s)
			continue
		}
		v := &h.servers[k]
		v.many = v.many || s.many || v.domain != s.domain
		v.domain, v.last = min(v.domain, s.domain), max(v.last, s.last)
	}
	slices.SortFunc(h.servers, func(a, b server) int { return cmp.Or(cmp.Compare(b.last, a.last), cmp.Compare(a.hash, b.hash)) })
	h.servers = h.servers[:min(len(h.servers), resolverServers)]
}

// merge adds what another sensor knows of the domain. Of days that are apart the later
// one counts.
func (l *light) merge(o *light) {
	switch {
	case int64(o.first)-int64(l.last) > day/second:
		*l = *o
		return
	case int64(l.first)-int64(o.last) > day/second:
		return
	}
	overlap := state.Overlap(l.seen.common(&o.seen))
	add := func(n *uint16, v uint16) {
		*n = uint16(min(state.Union(uint64(*n), uint64(v), overlap), math.MaxUint16))
	}
	add(&l.names, o.names)
	add(&l.bytes, o.bytes)
	for s := range numSensors {
		add(&l.questions[s], o.questions[s])
		add(&l.answers[s], o.answers[s])
	}
	add(&l.answerBytes, o.answerBytes)
	if o.last > l.last || o.last == l.last && o.lastAnswer > l.lastAnswer {
		l.lastAnswer = o.lastAnswer
	}
	l.first, l.last = min(l.first, o.first), max(l.last, o.last)
	l.ignored = l.ignored || o.ignored
	for i := range l.seen {
		l.seen[i] |= o.seen[i]
	}
}

// merge adds what another sensor knows of the domain, which it takes over.
func (c *candidate) merge(o *candidate) {
	told := max(c.told, o.told)
	c.settle(told)
	o.settle(told)
	overlap := state.Overlap(c.known.Common(&o.known))
	later := o.last > c.last || o.last == c.last && o.lastAnswer > c.lastAnswer
	if later {
		c.lastAnswer = o.lastAnswer
	}
	if o.domain < c.domain {
		c.domain = o.domain
	}
	if c.first == 0 || o.first != 0 && o.first < c.first {
		c.first = o.first
	}
	c.last = max(c.last, o.last)
	c.known.Merge(&o.known, sketch.DefaultRetention)
	for i := range c.before {
		c.before[i] |= o.before[i]
	}
	c.hour.merge(&o.hour, overlap)
	c.day.merge(&o.day, overlap)
	c.mergeCounts(o, overlap)
	c.longest = max(c.longest, o.longest)
	c.mergeSlots(o)
	switch {
	case c.episode != nil && o.episode != nil:
		c.episode = c.episode.merged(o.episode, overlap)
	case o.episode != nil:
		c.episode = o.episode
	}
	c.episodes, c.told = max(c.episodes, o.episodes), told
	c.size = level{max(c.size.hour, o.size.hour), max(c.size.day, o.size.day)}
	if o.accepted > c.accepted || o.accepted == c.accepted && (o.normal.day > c.normal.day || o.normal.day == c.normal.day && o.normal.hour > c.normal.hour) {
		c.accepted, c.normal = o.accepted, o.normal
	}
}

// settle forgets what belongs to an episode that was over at a time: another sensor may
// not have heard of its end yet.
func (c *candidate) settle(at int64) {
	if at > c.told && c.last <= at {
		c.episode = nil
		c.reset()
	}
}

// most bounds sums of counts.
const most = 1e18

// mergeCounts adds counts, the older decayed to the time of the newer.
func (c *candidate) mergeCounts(o *candidate, overlap float64) {
	now := max(c.decayed, o.decayed)
	c.decayTo(now)
	o.decayTo(now)
	add := func(n *float64, v float64) { *n = min(*n+v-overlap*min(*n, v), most) }
	for i := range c.total {
		add(&c.total[i], o.total[i])
		add(&c.recent[i], o.recent[i])
	}
	for i := range c.chars {
		add(&c.chars[i], o.chars[i])
	}
}

// mergeSlots keeps the newest records.
func (c *candidate) mergeSlots(o *candidate) {
	var all []slot
	for _, slots := range [...]*[numSlots]slot{&c.slots, &o.slots} {
		for _, s := range slots {
			if s.time != 0 {
				all = append(all, s)
			}
		}
	}
	slices.SortFunc(all, func(a, b slot) int {
		return cmp.Or(cmp.Compare(a.time, b.time), bytes.Compare(a.name.b[:], b.name.b[:]), bytes.Compare(a.uid.b[:], b.uid.b[:]),
			cmp.Compare(a.orig, b.orig), a.resp.Compare(b.resp), cmp.Compare(a.bytes, b.bytes))
	})
	all = slices.Compact(all)
	all = all[max(len(all)-numSlots, 0):]
	c.slots = [numSlots]slot{}
	copy(c.slots[:], all)
	c.next = uint8(len(all) % numSlots)
}

// merge adds the buckets of another window that are not older than this one.
func (w *window) merge(o *window, overlap float64) {
	head := max(w.head, o.head)
	var sum window
	sum.head = head
	for at := head - numBuckets + 1; at <= head; at++ {
		n := state.Union(uint64(w.bucket(at)), uint64(o.bucket(at)), overlap)
		sum.n[uint64(at)%numBuckets] = uint32(min(n, math.MaxUint32))
	}
	*w = sum
}

// bucket is what is counted in a bucket.
func (w *window) bucket(at int64) uint32 {
	if at > w.head || w.head-at >= numBuckets {
		return 0
	}
	return w.n[uint64(at)%numBuckets]
}

// merged is the tunnel of which two sensors saw parts, e or o with the other's in it.
func (e *episode) merged(o *episode, overlap float64) *episode {
	if cmp.Or(cmp.Compare(o.start, e.start), cmp.Compare(o.id, e.id), cmp.Compare(o.detected, e.detected), cmp.Compare(o.strength, e.strength)) < 0 {
		e, o = o, e
	}
	if o.start-e.last > day {
		return o
	}
	hour, day := e.best.bytes1h, e.best.bytes24h
	hour += o.best.bytes1h - overlap*min(hour, o.best.bytes1h)
	day += o.best.bytes24h - overlap*min(day, o.best.bytes24h)
	if o.strength > e.strength {
		e.best, e.strength = o.best, o.strength
	}
	e.best.bytes1h, e.best.bytes24h = min(max(hour, -most), most), min(max(day, -most), most)
	e.questions = min(e.questions+o.questions-overlap*min(e.questions, o.questions), most)
	if o.detected < e.detected {
		e.found = o.found
	}
	e.revision, e.detected, e.last, e.limit = max(e.revision, o.revision), min(e.detected, o.detected), max(e.last, o.last), min(e.limit, o.limit)
	e.samples = state.MergeSamples(e.samples, o.samples, maxSamples)
	e.examples = append(e.examples, o.examples...)
	slices.Sort(e.examples)
	e.examples = slices.Compact(e.examples)
	e.examples = e.examples[:min(len(e.examples), maxExamples)]
	for i, seen := range o.sensors {
		e.sensors[i] = e.sensors[i] || seen
	}
	if e.server != o.server {
		e.server = netip.Addr{}
	}
	e.outside = e.outside || o.outside
	if cmp.Or(cmp.Compare(o.timer.logOdds, e.timer.logOdds), cmp.Compare(o.timer.period, e.timer.period), cmp.Compare(o.timer.jitter, e.timer.jitter)) > 0 {
		e.timer = o.timer
	}
	return e
}
