package scan

import (
	"cmp"
	"slices"

	"tidewatch/behavior/sketch"
	"tidewatch/behavior/state"
	"tidewatch/event"
)

// source is a host that opens connections.
type source struct {
	entity
	seen     sketch.Seen // hosts, hosts that served it, and contacts
	walks    [numRealms]walk
	services []serviceWalk // at most numServices
	hosts    int           // that ever served it: what is normal for this source
	recent   []contact     // that failed
	oks      []contact     // that were answered
	scan     *episode
	more     *dossier // nil of most
}

// observeSource takes a connection as one of its originator.
func (d *Detector) observeSource(ev *event.Event, dst []event.Observation) []event.Observation {
	if d.ignores(ev) {
		return dst
	}
	c := contact{
		time: ev.Time, dst: ev.Resp.Addr, port: ev.Resp.Port, proto: ev.Proto,
		outcome: ev.Outcome, local: ev.Resp.Scope == event.ScopeLocal,
	}
	if ev.Proto.IsICMP() {
		c.port = 0
	}
	s := d.sources[ev.Orig.Hash]
	if s != nil && s.scan == nil && ev.Time-s.last > forgetAfter {
		d.forgetSource(s) // late, so that it does not matter when the sweep came by
		s = nil
	}
	if s == nil {
		if s = d.admit(ev, &c); s == nil {
			return dst
		}
	}
	if s.more != nil && s.more.own != nil {
		d.learn(s.more.own, ev.Resp.Hash, c, ev)
		d.touch(s)
	}
	if s.scan != nil && ev.Clock() > s.scan.deadline(d.cfg.Idle) {
		dst = d.closeScan(s, dst)
	}
	return d.contact(s, ev.Resp.Hash, &c, ev, dst)
}

// admit returns the record of a source that has none yet, or nil if one contact
// is all that is known of it. Outside sources come late to a record, since an
// attacker can invent as many as he likes: a flood of them turns over the two
// generations of light ones and touches nobody else.
func (d *Detector) admit(ev *event.Event, c *contact) *source {
	key := ev.Orig.Hash
	if ev.Orig.Scope == event.ScopeLocal {
		return d.addSource(ev)
	}
	first, ok := d.light[key]
	if !ok {
		first, ok = d.old[key]
	}
	if !ok {
		if len(d.light) >= d.lightSize {
			d.light, d.old = d.old, d.light
			if d.light == nil {
				d.light = make(map[uint64]contact)
			}
			for k := range d.light {
				d.touchLight(k) // it is forgotten, in the store too
			}
			clear(d.light)
		}
		d.light[key] = *c
		d.touchLight(key)
		return nil
	}
	if first.dst == c.dst && first.port == c.port && first.proto == c.proto {
		return nil
	}
	delete(d.light, key)
	delete(d.old, key)
	d.touchLight(key)
	s := d.addSource(ev)
	s.first = first.time
	d.remember(s, event.HashAddr(first.dst, ev.VLAN, ev.InnerVLAN), &first, nil)
	return s
}

func (d *Detector) touchLight(key uint64) {
	if d.tracking {
		d.freshLight = append(d.freshLight, key)
	}
}

func (d *Detector) addSource(ev *event.Event) *source {
	if len(d.sources) >= d.maxSources {
		d.evict()
	}
	s := &source{entity: entity{Host: state.Host{Addr: ev.Orig.Addr, VLAN: ev.VLAN, Inner: ev.InnerVLAN}, scope: ev.Orig.Scope, first: ev.Time}}
	if d.lookup.On() {
		s.pending = d.lookup.Want(s.Key(state.KindScanSource))
	}
	d.sources[ev.Orig.Hash] = s
	return s
}

// evict forgets the sixteenth of the sources that is the least worth keeping:
// outside ones first, then by how long they have been silent.
func (d *Detector) evict() {
	all := make([]*source, 0, len(d.sources))
	for _, s := range d.sources {
		if s.scan == nil {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b *source) int {
		return cmp.Or(cmp.Compare(b.scope, a.scope), cmp.Compare(a.last, b.last), a.Addr.Compare(b.Addr))
	})
	for _, s := range all[:min(len(all), d.maxSources/16+1)] {
		d.forgetSource(s)
	}
}

func (d *Detector) forgetSource(s *source) {
	delete(d.sources, s.Hash())
	if d.tracking {
		d.forgotten = append(d.forgotten, s.Key(state.KindScanSource))
	}
}

// contact takes one connection of a known source.
func (d *Detector) contact(s *source, host uint64, c *contact, ev *event.Event, dst []event.Observation) []event.Observation {
	if c.time > s.last+hour { // not each time: it makes the record change
		s.last = c.time
		d.touch(s)
	}
	if !d.remember(s, host, c, ev) {
		return dst
	}
	if s.scan != nil {
		s.scan.add(c, ev)
		return d.unusual(s, dst)
	}
	if c.failed() {
		if k := d.charge(s, c); k != noCharge {
			return d.openScan(s, c, ev, k, dst)
		}
	}
	return dst
}

// remember puts a contact into the source's record. It reports whether the
// contact is the first of its kind and says something. ev is its record, or nil
// if that is gone.
func (d *Detector) remember(s *source, host uint64, c *contact, ev *event.Event) bool {
	before := s.seen.Present()
	if !s.seen.Add(spread(host, contactSalt(c.port, c.proto))) {
		if s.seen.Present() != before { // it was about to be forgotten
			d.touch(s)
		}
		return false
	}
	d.touch(s)
	echoed, served := spread(host, saltEcho), spread(host, saltServe)
	newHost := s.seen.Add(spread(host, saltHost))
	c.unknown = !s.seen.Has(served)
	c.fresh = newHost || c.unknown && s.seen.Has(echoed)
	if s.scan == nil {
		if newHost {
			d.step(&s.walks[c.realm()], c)
		}
		if c.fresh && c.realm() != realmWeb { // whose walk is one of two ports
			d.stepService(s, c)
		}
	}
	if c.failed() {
		c.keep(ev)
		s.recent = ring(s.recent, *c, recentSize)
		return true
	}
	if c.proto.IsICMP() { // a host that only answers pings is no peer yet
		s.seen.Add(echoed)
	} else if s.seen.Add(served) {
		s.hosts++
	}
	if c.local && c.unknown || s.failedBeside(c) {
		c.keep(ev)
		s.oks = ring(s.oks, *c, answeredSize)
	}
	return true
}

// ring appends c, or puts it in the place of the oldest one. The order within is
// of no matter.
func ring(r []contact, c contact, size int) []contact {
	if len(r) < size {
		return append(r, c)
	}
	oldest := 0
	for i := range r {
		if r[i].time < r[oldest].time {
			oldest = i
		}
	}
	r[oldest] = c
	return r
}

// openScan says that a source is scanning.
func (d *Detector) openScan(s *source, c *contact, ev *event.Event, k charge, dst []event.Observation) []event.Observation {
	e := d.made(s, c, ev, k)
	if e == nil {
		return dst
	}
	s.scan = e
	d.open = append(d.open, s)
	if e.quiet = s.usual(e); e.quiet {
		return dst
	}
	return append(dst, s.observation(d, e, true))
}

// unusual tells of a scan that was like those which an analyst called normal, and has
// grown beyond them.
func (d *Detector) unusual(s *source, dst []event.Observation) []event.Observation {
	if !s.scan.quiet || s.usual(s.scan) {
		return dst
	}
	s.scan.quiet = false
	return append(dst, s.observation(d, s.scan, true))
}

// made is the scan of those contacts of a source that support the charge, which c
// completes; nil if there is none. ev is the record of c, or nil if that is gone.
func (d *Detector) made(s *source, c *contact, ev *event.Event, k charge) *episode {
	evidence := make([]contact, 0, recentSize)
	for i := range s.recent {
		if s.supports(&s.recent[i], c, k) {
			evidence = append(evidence, s.recent[i])
		}
	}
	if len(evidence) == 0 { // a record that came late, from before the walk
		return nil
	}
	slices.SortStableFunc(evidence, func(a, b contact) int { return cmp.Compare(a.time, b.time) })
	e := newEpisode(s, evidence[0].time, c.time)
	e.realm = c.realm()
	for i := range evidence {
		r := &evidence[i]
		if r.time == c.time && r.dst == c.dst && r.service() == c.service() {
			e.add(r, ev)
		} else {
			e.add(r, nil)
		}
	}
	// Also what answered just before the first failure, as the pace of the scan has it.
	before := 3 * (c.time - e.start) / int64(len(evidence))
	for start, i := e.start, 0; i < len(s.oks); i++ {
		if r := &s.oks[i]; r.time >= start-before && e.add(r, nil) {
			e.start = min(e.start, r.time)
		}
	}
	e.failedAtDetection = e.failed
	e.walk = d.up * float64(len(evidence))
	if w := s.walkOf(k, c); w != nil {
		e.walk = max(e.walk, w.ratio)
	}
	return e
}

// closeScan reports a scan for the last time.
func (d *Detector) closeScan(s *source, dst []event.Observation) []event.Observation {
	e := s.scan
	e.revision++
	if !e.quiet {
		dst = append(dst, s.observation(d, e, false))
	}
	s.over(e)
	if m := s.more; m.own != nil {
		m.own.over(e)
		m.own.more.merge(m)
	}
	if i := slices.Index(d.open, s); i >= 0 {
		d.open = slices.Delete(d.open, i, i+1)
	}
	d.touch(s)
	return dst
}

// over forgets what belongs to a scan that is over.
func (s *source) over(e *episode) {
	m := s.dossier()
	m.episodes++
	m.settled, m.told = max(m.settled, e.last), e.extent()
	s.scan = nil
	s.walks, s.services = [numRealms]walk{}, nil
	s.recent, s.oks = nil, nil
}

// touch puts a source into the next cut.
func (d *Detector) touch(s *source) {
	if d.tracking && !s.dirty {
		s.dirty = true
		d.dirty = append(d.dirty, s)
	}
}
