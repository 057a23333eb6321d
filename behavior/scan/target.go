package scan

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"

	"tidewatch/behavior/phrase"
	"tidewatch/behavior/sketch"
	"tidewatch/behavior/state"
	"tidewatch/event"
)

const (
	// distributedWithin is how soon after another the sources of a distributed
	// scan must come.
	distributedWithin = 5 * minute
	// distributedCold is the same for a target of which less than an hour is known.
	distributedCold = minute
	// distributedFactor is how many times faster than usual they must come.
	distributedFactor = 4
)

// target is a local host that others try.
type target struct {
	entity
	known sketch.Seen // sources that it answered, or that failed before
	tries []try       // the last failed first contacts, each of another source
	// rate is the decayed number of failed first contacts: each counts 1 at first
	// and 1/e after six hours.
	rate     float64
	rateTime int64
	scan     *episode
	episodes uint32  // scans that are over
	own      *target // what this sensor has seen itself, if others have seen more; stored
}

const rateDecay = 6 * hour

// try is one source's failed first contact.
type try struct {
	time    int64
	src     netip.Addr
	port    uint16
	proto   event.Proto
	outcome event.Outcome
	local   bool
}

// observeTarget takes a connection as one of its responder.
func (d *Detector) observeTarget(ev *event.Event, dst []event.Observation) []event.Observation {
	if d.ignores(ev) || ev.Proto.IsICMP() {
		return dst
	}
	t := d.targets[ev.Resp.Hash]
	if t != nil && t.scan == nil && ev.Time-t.last > forgetAfter {
		d.forgetTarget(t)
		t = nil
	}
	if t == nil {
		if len(d.targets) >= d.maxTargets {
			d.evictTargets()
		}
		t = &target{entity: entity{Host: state.Host{Addr: ev.Resp.Addr, VLAN: ev.VLAN, Inner: ev.InnerVLAN}, scope: ev.Resp.Scope, first: ev.Time}}
		if d.lookup.On() {
			t.pending = d.lookup.Want(t.Key(state.KindScanTarget))
		}
		d.targets[ev.Resp.Hash] = t
	}
	if ev.Time > t.last+hour {
		t.last = ev.Time
		d.touchTarget(t)
	}
	if t.scan != nil && ev.Clock() > t.scan.deadline(d.cfg.Idle) {
		dst = d.closeTarget(t, dst)
	}
	if t.own != nil {
		d.learnTarget(t.own, ev)
		d.touchTarget(t)
	}
	before := t.known.Present()
	if !t.known.Add(spread(ev.Orig.Hash, saltHost)) {
		if t.known.Present() != before { // it was about to be forgotten
			d.touchTarget(t)
		}
		return dst
	}
	d.touchTarget(t)
	if ev.Outcome == event.OutcomeAnswered {
		return dst
	}
	return d.tried(t, tryOf(ev), ev, dst)
}

func tryOf(ev *event.Event) try {
	return try{ev.Time, ev.Orig.Addr, ev.Resp.Port, ev.Proto, ev.Outcome, ev.Orig.Scope == event.ScopeLocal}
}

// tried takes a failed first contact with a target.
func (d *Detector) tried(t *target, c try, ev *event.Event, dst []event.Observation) []event.Observation {
	usual := t.usual(c.time)
	if t.count(&c, ev, d.cfg.MinSources); t.scan != nil || !d.distributed(t, &c, usual) {
		return dst
	}
	return d.openTarget(t, &c, ev, usual, dst)
}

// count adds a failed first contact to the scan that is going on, or to the last tries.
func (t *target) count(c *try, ev *event.Event, size int) {
	t.rate = t.decayed(c.time) + 1
	t.rateTime = max(t.rateTime, c.time)
	switch {
	case t.scan != nil:
		t.scan.addTry(t, c, ev)
	case len(t.tries) < size:
		t.tries = append(t.tries, *c)
	default:
		copy(t.tries, t.tries[1:])
		t.tries[len(t.tries)-1] = *c
	}
}

// distributed reports whether the last tries, of which c is the newest, come from too
// many sources in too short a time.
func (d *Detector) distributed(t *target, c *try, usual float64) bool {
	if len(t.tries) < d.cfg.MinSources {
		return false
	}
	within := distributedWithin
	if c.time-t.first < hour {
		within = distributedCold
	}
	took := c.time - t.tries[0].time
	expected := usual * float64(max(took, 1)) // tries in as long a time
	return took <= within && took >= 0 && float64(len(t.tries)) >= distributedFactor*expected && !t.outage()
}

// decayed returns the rate counter at a time.
func (t *target) decayed(now int64) float64 {
	if now <= t.rateTime {
		return t.rate
	}
	return t.rate * math.Exp(-float64(now-t.rateTime)/float64(rateDecay))
}

// usual returns how many failed first contacts a nanosecond are normal.
func (t *target) usual(now int64) float64 {
	return t.decayed(now) / float64(min(max(now-t.first, minute), rateDecay))
}

// outage reports whether the tries look like clients whose server is down: own
// hosts, all at one or two ports.
func (t *target) outage() bool {
	ports := map[uint16]bool{}
	local := 0
	for _, c := range t.tries {
		ports[c.port] = true
		if c.local {
			local++
		}
	}
	return 2*local > len(t.tries) && len(ports) < 3
}

func (e *episode) addTry(t *target, c *try, ev *event.Event) {
	e.sources.Add(spread(event.HashAddr(c.src, 0, 0), 0))
	e.add(&contact{time: c.time, dst: t.Addr, port: c.port, proto: c.proto, outcome: c.outcome, local: true}, ev)
}

func (d *Detector) openTarget(t *target, c *try, ev *event.Event, usual float64, dst []event.Observation) []event.Observation {
	t.scan = d.madeOf(t, c, ev, usual)
	d.openTargets = append(d.openTargets, t)
	return append(dst, t.observation(d, true))
}

// madeOf is the scan of the last tries, of which c is the newest.
func (d *Detector) madeOf(t *target, c *try, ev *event.Event, usual float64) *episode {
	start := t.tries[0].time
	e := &episode{id: state.EpisodeID('t', t.Hash(), start, t.episodes), start: start, detected: c.time, last: c.time, limit: start + hour}
	for i := range t.tries {
		var record *event.Event
		if i == len(t.tries)-1 {
			record = ev
		}
		e.addTry(t, &t.tries[i], record)
	}
	e.failedAtDetection = e.failed
	e.walk = math.Log(float64(len(t.tries)) / max(usual*float64(max(c.time-start, 1)), 0.1))
	return e
}

func (d *Detector) closeTarget(t *target, dst []event.Observation) []event.Observation {
	t.scan.revision++
	dst = append(dst, t.observation(d, false))
	t.scan, t.tries = nil, nil
	t.episodes++
	if o := t.own; o != nil {
		o.scan, o.tries, o.episodes = nil, nil, t.episodes
	}
	if i := slices.Index(d.openTargets, t); i >= 0 {
		d.openTargets = slices.Delete(d.openTargets, i, i+1)
	}
	d.touchTarget(t)
	return dst
}

// touchTarget puts a target into the next cut.
func (d *Detector) touchTarget(t *target) {
	if d.tracking && !t.dirty {
		t.dirty = true
		d.dirtyTargets = append(d.dirtyTargets, t)
	}
}

// observation makes the case of many sources against one target.
func (t *target) observation(d *Detector, open bool) event.Observation {
	e := t.scan
	o := e.observation(open)
	o.Subject = event.Subject{Type: "host", Value: t.Addr.String()}
	o.Destination.Addr, o.Destination.Scope = t.Addr, t.scope
	o.VLAN = t.VLAN
	o.Direction = "inbound"
	o.Score = math.Round(1000/(1+math.Exp(-e.walk))) / 1000
	o.Risk = min(25+5*math.Round(math.Log10(float64(e.attempts))), 60)
	o.Related = []netip.Addr{t.Addr}
	sources := e.count(&e.sources)
	usual := t.usual(e.start) * float64(max(e.last-e.start, 1))
	o.Reason = fmt.Sprintf("%.0f sources tried %s for the first time within %s, and none was answered; %.1f would be usual", sources, t.Addr, phrase.Span(e.last-e.start), usual)
	o.Evidence = []event.Evidence{{
		Feature: "scan.sources", Observed: sources, Expected: phrase.Round2(usual), Unit: "sources", Weight: phrase.Round2(e.walk),
		Text: fmt.Sprintf("%.0f new sources failed where %.1f are usual in as long a time", sources, usual),
	}, {
		Feature: "scan.ports", Observed: e.count(&e.ports), Expected: 1, Unit: "ports", Weight: phrase.Round2(math.Log(max(e.count(&e.ports), 1))),
		Text: fmt.Sprintf("%.0f ports were tried", e.count(&e.ports)),
	}}
	o.Baseline = event.Baseline{Since: t.first, Observations: uint64(t.decayed(e.last)), Text: "failed first contacts with this host, over the last six hours"}
	if t.pending {
		state.NotLoaded(&o)
	}
	return o
}

// evictTargets forgets the sixteenth of the targets that has been silent longest.
func (d *Detector) evictTargets() {
	all := make([]*target, 0, len(d.targets))
	for _, t := range d.targets {
		if t.scan == nil {
			all = append(all, t)
		}
	}
	slices.SortFunc(all, func(a, b *target) int {
		return cmp.Or(cmp.Compare(a.last, b.last), a.Addr.Compare(b.Addr))
	})
	for _, t := range all[:min(len(all), d.maxTargets/16+1)] {
		d.forgetTarget(t)
	}
}

func (d *Detector) forgetTarget(t *target) {
	delete(d.targets, t.Hash())
	if d.tracking {
		d.forgotten = append(d.forgotten, t.Key(state.KindScanTarget))
	}
}
