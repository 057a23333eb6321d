package dnstunnel

import (
	"slices"

	"tidewatch/behavior/state"
	"tidewatch/event"
)

// Lookup makes the detector collect the keys of hosts that begin empty.
func (d *Detector) Lookup() { d.lookup.Start() }

// Wanted returns the keys of those that began since it was called last. Whoever fetches
// what is stored of one fetches its domains too, whose keys begin with it.
func (d *Detector) Wanted() [][]byte { return d.lookup.Take() }

// stored is what is stored of a host: what this sensor has seen itself.
func (h *host) stored() *host {
	if h.own != nil {
		return h.own
	}
	return h
}

// blank reports whether nothing is known of the host but candidates.
func (h *host) blank() bool { return h.questions == 0 && len(h.keys) == 0 && h.last == 0 }

// take makes a host that is blank, or adds to one that is not, what was stored.
func (h *host) take(stored *host) {
	if h.blank() {
		h.first, h.last = stored.first, stored.last
	}
	h.merge(stored)
}

func (h *host) clone() *host {
	var w state.Writer
	writeHost(&w, h)
	c := &host{Host: h.Host}
	readHost(&state.Reader{B: w.B}, c)
	return c
}

func (c *candidate) clone(h *host) *candidate {
	var w state.Writer
	writeCandidate(&w, c)
	n := &candidate{host: h, key: c.key}
	readCandidate(&state.Reader{B: w.B}, n)
	return n
}

// Restore takes a record back, if owns says that its host is ours. The records of a
// host come in any order, and late: what was observed meanwhile is added. An empty one
// says that nothing is stored.
func (d *Detector) Restore(rec state.Record, owns func(hash uint64) bool) error {
	id, domain, isCandidate, err := parseKey(rec.Key)
	if err != nil {
		return err
	}
	if rec.Key[0] != state.KindTunnel {
		return state.ErrRecord
	}
	hash := id.Hash()
	if !owns(hash) {
		return nil
	}
	h := d.hosts[hash]
	if h != nil && !isCandidate {
		h.pending = false
	}
	if len(rec.Value) == 0 {
		return nil
	}
	if h == nil {
		h = &host{Host: id}
	}
	r := &state.Reader{B: rec.Value}
	if isCandidate {
		c := &candidate{host: h, key: domain}
		if readCandidate(r, c); r.Err == nil {
			d.hosts[hash] = h
			d.restoreCandidate(h, c)
		}
		return r.Err
	}
	stored := &host{Host: id}
	if readHost(r, stored); r.Err != nil {
		return r.Err
	}
	d.hosts[hash] = h
	if h.own != nil {
		h.own.take(stored.clone())
	}
	if h.blank() { // nothing to add, in the order in which it was
		h.first, h.last, h.questions, h.resolver = stored.first, stored.last, stored.questions, stored.resolver
		h.servers, h.keys, h.lights = stored.servers, stored.keys, stored.lights
		return nil
	}
	h.take(stored)
	h.drop()
	d.touch(h)
	return nil
}

// drop forgets what little is known of domains that are candidates.
func (h *host) drop() {
	for i := len(h.keys) - 1; i >= 0; i-- {
		if h.candidate(h.keys[i]) != nil {
			h.keys, h.lights = slices.Delete(h.keys, i, i+1), slices.Delete(h.lights, i, i+1)
		}
	}
}

func (d *Detector) restoreCandidate(h *host, stored *candidate) {
	if o := h.own; o != nil {
		if c := o.candidate(stored.key); c != nil {
			c.merge(stored.clone(o))
			d.touchCandidate(c)
		} else if len(o.hot) < maxHot {
			o.hot = append(o.hot, stored.clone(o))
			d.candidates++
		}
	}
	c := h.candidate(stored.key)
	if c == nil {
		if len(h.hot) >= maxHot && !d.evictHot(h) {
			return
		}
		h.hot = append(h.hot, stored)
		d.candidates++
		d.opened(stored)
		return
	}
	open := c.episode
	c.merge(stored)
	c.episode = c.episode.keep(open)
	if open == nil {
		d.opened(c)
	}
	d.touchCandidate(c)
}

// opened puts a candidate whose episode is open where it is closed.
func (d *Detector) opened(c *candidate) {
	if c.episode != nil {
		d.open = append(d.open, c)
	}
}

// keep keeps of a tunnel that is told already what was told.
func (e *episode) keep(told *episode) *episode {
	switch {
	case told == nil:
		return e
	case e == nil || e == told:
		return told
	}
	e.id, e.revision, e.detected, e.found = told.id, told.revision, told.detected, told.found
	e.questions = max(e.questions, told.questions)
	if told.timer.period > 0 {
		e.timer = told.timer
	}
	return e
}

// Share says what other sensors know of a host or of a domain that it asks for, all of
// them together; it replaces what they were known to know. A tunnel that another sensor
// has told is told here too, under its name. What others know is never stored, nor given
// to others again.
func (d *Detector) Share(rec state.Record, owns func(hash uint64) bool, dst []event.Observation) ([]event.Observation, error) {
	id, domain, isCandidate, err := parseKey(rec.Key)
	if err != nil || len(rec.Value) == 0 || !owns(id.Hash()) {
		return dst, err
	}
	if rec.Key[0] != state.KindTunnel {
		return dst, state.ErrRecord
	}
	r := &state.Reader{B: rec.Value}
	h := d.hosts[id.Hash()]
	if isCandidate {
		others := &candidate{host: h, key: domain}
		if readCandidate(r, others); r.Err != nil || h == nil {
			return dst, r.Err
		}
		d.keepApart(h)
		return d.shareCandidate(h, others, dst), nil
	}
	others := &host{Host: id}
	if readHost(r, others); r.Err != nil || h == nil {
		return dst, r.Err
	}
	d.keepApart(h)
	view := h.own.clone()
	view.merge(others)
	view.trim(d.cfg.MaxDomains)
	h.first, h.last, h.questions, h.resolver = view.first, view.last, view.questions, view.resolver
	h.servers, h.keys, h.lights = view.servers, view.keys, view.lights
	h.drop()
	return dst, nil
}

// keepApart makes an own half of a host that others know too.
func (d *Detector) keepApart(h *host) {
	if h.own != nil {
		return
	}
	own := h.clone()
	own.silent = true
	for _, c := range h.hot {
		o := c.clone(own)
		own.hot = append(own.hot, o)
		d.candidates++
		if c.dirty { // what is stored is the half
			d.touchCandidate(o)
		}
	}
	h.own = own
}

// shareCandidate makes a candidate of h what this sensor and others know of it.
func (d *Detector) shareCandidate(h *host, others *candidate, dst []event.Observation) []event.Observation {
	view := others
	if own := h.own.candidate(others.key); own != nil {
		view = own.clone(h)
		view.merge(others)
	}
	c := h.candidate(others.key)
	if c == nil {
		if len(h.hot) >= maxHot && !d.evictHot(h) || d.candidates >= d.maxCandidates && !d.evictCandidates() {
			return dst
		}
		c = &candidate{host: h, key: others.key}
		h.hot = append(h.hot, c)
		d.candidates++
	}
	told, dirty := c.episode, c.dirty
	*c = *view
	c.dirty = dirty
	c.episode = c.episode.keep(told)
	h.drop()
	e := c.episode
	if told != nil || e == nil {
		return dst
	}
	if e.deadline(d.cfg.Idle) < d.sweepAt-sweepEvery || c.usual(&e.best) {
		c.episode = nil // it was over before it was heard of, or is nothing to tell
		return dst
	}
	e.revision = 0
	d.open = append(d.open, c)
	return append(dst, c.observation(d, true))
}

// muchMore is how many times as much as what an analyst called normal there must be to be
// told.
const muchMore = 2

// usual reports whether there is no more than an analyst called normal.
func (c *candidate) usual(m *measures) bool {
	return c.accepted != 0 && m.bytes1h <= muchMore*c.normal.hour && m.bytes24h <= muchMore*c.normal.day
}
