package watch

import (
	"tidewatch/event"
)

// chain is how far a case has come through the steps. Of each number of steps it
// remembers the way that began last: of all that end there it has most time left.
type chain struct {
	at      [maxSteps]link
	waiting link // all steps were taken; it waits that Unless does not come
}

// maxSteps bounds the steps of a sequence.
const maxSteps = 8

// link is a way through some steps.
type link struct {
	start, last int64
	amount      int32 // records that were steps of it
}

// step shows a record to a sequence.
func (d *Detector) step(at int, s *Spec, key caseKey, ev *event.Event, dst []event.Observation) []event.Observation {
	dst = d.expire(key, ev.Clock(), dst)
	e := d.cases[key]
	if e != nil && e.progress.chain.waiting.last != 0 {
		switch waiting := &e.progress.chain.waiting; {
		case ev.Time > waiting.last+int64(s.Within):
			dst = d.waited(s, e, dst)
		case ev.Time >= waiting.last && s.Unless.holds(ev):
			*waiting = link{}
			d.touch(e)
		}
	}
	// From the last step to the first, so that one record is one step.
	for i := len(s.Steps) - 1; i >= 0; i-- {
		if i > 0 && (e == nil || !e.progress.chain.at[i-1].leads(s, ev.Time)) || !s.Steps[i].holds(ev) {
			continue
		}
		if e == nil {
			e = d.open(at, key, ev)
			e.progress.chain = &chain{}
		}
		d.enter(at, key, ev)
		e.sample(s, ev)
		c := e.progress.chain
		way := link{start: ev.Time, last: ev.Time, amount: 1}
		if i > 0 {
			way.start, way.amount = c.at[i-1].start, c.at[i-1].amount+1
		}
		d.keep(e, way.start+int64(s.Within))
		if i < len(s.Steps)-1 {
			if way.start >= c.at[i].start {
				c.at[i] = way
			}
			continue
		}
		dst = d.done(s, e, way, ev, dst)
	}
	return dst
}

// leads reports whether a way can go on with a record of a time.
func (l *link) leads(s *Spec, at int64) bool {
	return l.last != 0 && at >= l.last && at-l.start <= int64(s.Within)
}

// done takes the last step.
func (d *Detector) done(s *Spec, e *entry, way link, ev *event.Event, dst []event.Observation) []event.Observation {
	c := e.progress.chain
	c.at = [maxSteps]link{} // what was found is not found again
	e.note(s, ev)
	if s.Unless != nil {
		if c.waiting.last == 0 {
			c.waiting = way
		}
		d.keep(e, way.last+int64(s.Within))
		return dst
	}
	return d.tell(s, e, way, ev.Sensor, dst)
}

// tell says that a sequence was there.
func (d *Detector) tell(s *Spec, e *entry, way link, sensor event.Sensor, dst []event.Observation) []event.Observation {
	e.episode = &episode{id: episodeID(s, e.key, way.start), start: way.start, detected: way.last, last: way.last, amount: float64(way.amount)}
	e.episode.sensors[sensor%3] = true
	dst = append(dst, d.report(s, e, false))
	e.episode, e.samples = nil, nil
	return dst
}

// waited ends the wait for what must not come.
func (d *Detector) waited(s *Spec, e *entry, dst []event.Observation) []event.Observation {
	way := e.progress.chain.waiting
	if way.last == 0 {
		return dst
	}
	e.progress.chain.waiting = link{}
	d.touch(e)
	return d.tell(s, e, way, event.SensorUnknown, dst)
}
