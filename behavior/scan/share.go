package scan

import (
	"slices"

	"tidewatch/behavior/state"
	"tidewatch/event"
)

// Lookup makes the detector collect the keys of entities that begin empty.
func (d *Detector) Lookup() { d.lookup.Start() }

// Wanted returns the keys of the entities that began since it was called last.
func (d *Detector) Wanted() [][]byte { return d.lookup.Take() }

// Restore takes back a record that Cut returned, if owns says that its entity is ours.
// It may come late: what was observed meanwhile is added to it. An empty one says that
// nothing is stored.
func (d *Detector) Restore(rec state.Record, owns func(hash uint64) bool) error {
	if h, ok := lightKey(rec.Key); ok {
		return d.restoreLight(h, rec.Value, owns)
	}
	host, err := state.ParseHost(rec.Key)
	if err != nil {
		return err
	}
	h := host.Hash()
	if !owns(h) {
		return nil
	}
	switch rec.Key[0] {
	case state.KindScanSource:
		return d.restoreSource(host, h, rec.Value)
	case state.KindScanTarget:
		return d.restoreTarget(host, h, rec.Value)
	}
	return state.ErrRecord
}

func (d *Detector) restoreLight(h uint64, value []byte, owns func(hash uint64) bool) error {
	if len(value) == 0 {
		return nil
	}
	r := &state.Reader{B: value}
	if c := readLight(r); r.Err == nil && owns(h) {
		d.light[h] = c
	}
	return r.Err
}

// decodeSource reads a source; nil if there is nothing to read.
func decodeSource(host state.Host, value []byte) (*source, error) {
	if len(value) == 0 {
		return nil, nil
	}
	r := &state.Reader{B: value}
	s := &source{entity: entity{Host: host}}
	readSource(r, s)
	return s, r.Err
}

func (s *source) clone() *source {
	var w state.Writer
	writeSource(&w, s)
	c, _ := decodeSource(s.Host, w.B)
	return c
}

func (d *Detector) restoreSource(host state.Host, h uint64, value []byte) error {
	r, err := decodeSource(host, value)
	s := d.sources[h]
	if s != nil {
		s.pending = false
	}
	if err != nil || r == nil {
		return err
	}
	if s == nil {
		d.sources[h] = r
		s = r
	} else {
		open := s.scan
		if own := s.own(); own != s {
			own.merge(r.clone())
		}
		s.merge(r)
		d.touch(s)
		if open != nil {
			s.scan = s.scan.goOn(open)
			return nil
		}
	}
	if s.scan != nil {
		d.open = append(d.open, s)
	}
	return nil
}

// goOn keeps of a scan that is told already what was told: its name, and when it was
// found.
func (e *episode) goOn(open *episode) *episode {
	if e == nil || e.attempts < open.attempts {
		return open
	}
	e.id, e.revision, e.quiet = open.id, open.revision, open.quiet
	e.detected, e.failedAtDetection = open.detected, open.failedAtDetection
	return e
}

// Share says what other sensors know of an entity, all of them together; it replaces
// what they were known to know. A case that only both together make is told. What others
// know is never stored, nor given to others again.
func (d *Detector) Share(rec state.Record, owns func(hash uint64) bool, dst []event.Observation) ([]event.Observation, error) {
	if len(rec.Value) == 0 {
		return dst, nil
	}
	if h, ok := lightKey(rec.Key); ok {
		r := &state.Reader{B: rec.Value}
		c := readLight(r)
		if r.Err != nil || !owns(h) || d.sources[h] == nil {
			return dst, r.Err
		}
		one := &source{entity: d.sources[h].entity}
		d.remember(one, event.HashAddr(c.dst, one.VLAN, one.Inner), &c, nil)
		return d.shareSource(d.sources[h], one, dst), nil
	}
	host, err := state.ParseHost(rec.Key)
	if err != nil || !owns(host.Hash()) {
		return dst, err
	}
	switch rec.Key[0] {
	case state.KindScanSource:
		others, err := decodeSource(host, rec.Value)
		if s := d.known(host, others); err == nil && s != nil {
			return d.shareSource(s, others, dst), nil
		}
		return dst, err
	case state.KindScanTarget:
		return d.shareTarget(host, rec.Value, dst)
	}
	return dst, state.ErrRecord
}

// known returns the source of a host that others know, or nil if it has not been met
// here. One contact is enough.
func (d *Detector) known(host state.Host, others *source) *source {
	h := host.Hash()
	if s := d.sources[h]; s != nil || others == nil {
		return s
	}
	first, ok := d.light[h]
	if !ok {
		if first, ok = d.old[h]; !ok {
			return nil
		}
	}
	delete(d.light, h)
	delete(d.old, h)
	d.touchLight(h)
	if len(d.sources) >= d.maxSources {
		d.evict()
	}
	s := &source{entity: entity{Host: host, scope: others.scope, first: first.time, last: first.time}}
	d.sources[h] = s
	d.remember(s, event.HashAddr(first.dst, host.VLAN, host.Inner), &first, nil)
	return s
}

// shareSource makes s what this sensor and others know of it.
func (d *Detector) shareSource(s, others *source, dst []event.Observation) []event.Observation {
	own := s.own()
	if own == s {
		own = s.clone()
	}
	own.dirty = true // it is never in a cut by itself
	open, dirty := s.scan, s.dirty
	*s = *own.clone()
	s.merge(others)
	s.dirty = dirty
	s.dossier().own = own
	switch {
	case open != nil:
		s.scan = s.scan.goOn(open)
		return d.unusual(s, dst)
	case s.scan != nil && s.scan.deadline(d.cfg.Idle) < d.sweepAt-sweepEvery:
		s.settle(s.scan.last) // it was over before it was heard of
	case s.scan != nil:
		s.scan.revision = 0
		d.open = append(d.open, s)
		if s.scan.quiet = s.usual(s.scan); !s.scan.quiet {
			return append(dst, s.observation(d, s.scan, true))
		}
	default:
		return d.recharge(s, dst)
	}
	return dst
}

// recharge asks of each contact that failed, the newest first, whether it completes a
// case.
func (d *Detector) recharge(s *source, dst []event.Observation) []event.Observation {
	slices.SortFunc(s.recent, func(a, b contact) int { return a.before(&b) })
	for i := len(s.recent) - 1; i >= 0; i-- {
		c := s.recent[i]
		if k := d.charge(s, &c); k != noCharge {
			return d.openScan(s, &c, nil, k, dst)
		}
	}
	return dst
}

// learn adds a contact to what this sensor has seen itself. Nothing is told of it.
func (d *Detector) learn(own *source, host uint64, c contact, ev *event.Event) {
	if c.time > own.last+hour {
		own.last = c.time
	}
	if own.scan != nil && ev.Clock() > own.scan.deadline(d.cfg.Idle) {
		own.over(own.scan)
	}
	if !d.remember(own, host, &c, ev) {
		return
	}
	if own.scan != nil {
		own.scan.add(&c, ev)
	} else if c.failed() {
		if k := d.charge(own, &c); k != noCharge {
			own.scan = d.made(own, &c, ev, k)
		}
	}
}

// stored is what is stored of a target: what this sensor has seen itself.
func (t *target) stored() *target {
	if t.own != nil {
		return t.own
	}
	return t
}

func decodeTarget(host state.Host, value []byte, size int) (*target, error) {
	if len(value) == 0 {
		return nil, nil
	}
	r := &state.Reader{B: value}
	t := &target{entity: entity{Host: host}}
	readTarget(r, t)
	t.tries = t.tries[max(len(t.tries)-size, 0):]
	return t, r.Err
}

func (t *target) clone() *target {
	var w state.Writer
	writeTarget(&w, t)
	c, _ := decodeTarget(t.Host, w.B, maxTries)
	return c
}

func (d *Detector) restoreTarget(host state.Host, h uint64, value []byte) error {
	r, err := decodeTarget(host, value, d.cfg.MinSources)
	t := d.targets[h]
	if t != nil {
		t.pending = false
	}
	if err != nil || r == nil {
		return err
	}
	if t == nil {
		d.targets[h] = r
		t = r
	} else {
		open := t.scan
		if t.own != nil {
			t.own.merge(r.clone())
		}
		t.merge(r)
		d.trim(t)
		d.touchTarget(t)
		if open != nil {
			t.scan = t.scan.goOn(open)
			return nil
		}
	}
	if t.scan != nil {
		d.openTargets = append(d.openTargets, t)
	}
	return nil
}

// trim keeps as many tries as are looked at.
func (d *Detector) trim(t *target) { t.tries = t.tries[max(len(t.tries)-d.cfg.MinSources, 0):] }

// shareTarget makes a target what this sensor and others know of it.
func (d *Detector) shareTarget(host state.Host, value []byte, dst []event.Observation) ([]event.Observation, error) {
	others, err := decodeTarget(host, value, d.cfg.MinSources)
	t := d.targets[host.Hash()]
	if err != nil || t == nil {
		return dst, err
	}
	own := t.stored()
	if own == t {
		own = t.clone()
	}
	own.dirty = true // it is never in a cut by itself
	open, dirty := t.scan, t.dirty
	*t = *own.clone()
	t.merge(others)
	d.trim(t)
	t.own, t.dirty = own, dirty
	switch {
	case open != nil:
		t.scan = t.scan.goOn(open)
		return dst, nil
	case t.scan != nil && t.scan.deadline(d.cfg.Idle) < d.sweepAt-sweepEvery:
		t.scan, t.tries = nil, nil // it was over before it was heard of
		return dst, nil
	case t.scan != nil:
		t.scan.revision = 0
	default:
		if len(t.tries) == 0 {
			return dst, nil
		}
		// What is usual is what there was before the last tries.
		c := t.tries[len(t.tries)-1]
		usual := max(t.decayed(c.time)-float64(len(t.tries)), 0) / float64(min(max(c.time-t.first, minute), rateDecay))
		if !d.distributed(t, &c, usual) {
			return dst, nil
		}
		t.scan = d.madeOf(t, &c, nil, usual)
	}
	d.openTargets = append(d.openTargets, t)
	return append(dst, t.observation(d, true)), nil
}

// learnTarget adds a connection to what this sensor has seen of a target itself.
func (d *Detector) learnTarget(own *target, ev *event.Event) {
	if ev.Time > own.last+hour {
		own.last = ev.Time
	}
	if own.scan != nil && ev.Clock() > own.scan.deadline(d.cfg.Idle) {
		own.scan, own.tries = nil, nil
	}
	if !own.known.Add(spread(ev.Orig.Hash, saltHost)) || ev.Outcome == event.OutcomeAnswered {
		return
	}
	c := tryOf(ev)
	usual := own.usual(c.time)
	if own.count(&c, ev, d.cfg.MinSources); own.scan == nil && d.distributed(own, &c, usual) {
		own.scan = d.madeOf(own, &c, ev, usual)
	}
}
