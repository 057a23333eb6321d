package watch

import (
	"time"

	"tidewatch/behavior/sketch"
	"tidewatch/event"
)

// values is what an entity has had, and since when it is known.
type values struct {
	seen sketch.Seen
	n    uint32 // different ones, about
}

// remembers is how many values of an entity are remembered, and for how long.
var remembers = sketch.Retention{Items: 512, Period: 30 * 24 * time.Hour}

// quiet is how long a case is kept of which nothing comes.
const quiet = int64(60 * 24 * time.Hour)

// sight looks whether a value is new to an entity.
func (d *Detector) sight(at int, s *Spec, key caseKey, ev *event.Event, dst []event.Observation) []event.Observation {
	value, ok := d.valueOf(s, ev)
	if !ok {
		return dst
	}
	e := d.enter(at, key, ev)
	if e.progress.values == nil {
		e.progress.values = &values{}
	}
	v := e.progress.values
	d.keep(e, ev.Time+quiet)
	if !v.seen.AddAt(value, ev.Time, remembers) {
		return dst
	}
	v.n++
	if ev.Time-e.first < int64(s.Learn) {
		return dst
	}
	e.fields, e.samples = nil, []event.Sample{event.SampleOf(ev)}
	e.note(s, ev)
	e.from, e.to, e.severalTo, e.severalFrom = ev.Orig, ev.Resp, false, false
	return append(dst, d.first(s, e, ev, d.text(s.Value, ev)))
}

// holders are the hosts that have a value.
type holders struct {
	hosts sketch.Distinct
}

// rare looks whether few hosts have a value, when one has it that did not.
func (d *Detector) rare(at int, s *Spec, key caseKey, ev *event.Event, dst []event.Observation) []event.Observation {
	if _, ok := d.valueOf(s, ev); !ok {
		return dst
	}
	e := d.enter(at, key, ev)
	if e.progress.holders == nil {
		e.progress.holders = &holders{}
	}
	h := e.progress.holders
	d.keep(e, ev.Time+quiet)
	before := h.hosts.Count()
	if !h.hosts.Add(ev.Orig.Hash) {
		return dst
	}
	if before >= float64(s.AtMost) || ev.Far().Hosts < uint32(s.OutOf) || ev.Time-d.began[at] < int64(s.Learn) {
		return dst
	}
	e.fields, e.samples = nil, []event.Sample{event.SampleOf(ev)}
	e.note(s, ev)
	e.from, e.to, e.severalTo, e.severalFrom = ev.Orig, ev.Resp, false, false
	return append(dst, d.rarity(s, e, ev, d.text(s.Value, ev)))
}
