package watch

import (
	"math"
	"time"

	"tidewatch/behavior/sketch"
	"tidewatch/event"
)

// quantity is what is counted of a case in one measure, and what that usually is.
type quantity struct {
	measure  int64 // which, counted since 1970
	amount   float64
	distinct sketch.Distinct
	told     bool // of this measure
	learned  uint32
	season   *sketch.Seasonal // of measures up to an hour
	level    sketch.Moments   // of longer ones
}

// pace is how a baseline learns: from log(1+x) of each measure in which there was
// something.
var pace = sketch.Pace{Tau: 28 * 24 * time.Hour, Floor: 0.5}

const (
	// enough is how many measures an expectation rests on before anything is said.
	enough = 20
	// suspicious is from how many sigmas a measure is learned slowly.
	suspicious = 3
)

// measure adds a record to a quantity's case.
func (d *Detector) measure(at int, s *Spec, key caseKey, ev *event.Event, dst []event.Observation) []event.Observation {
	var value uint64
	if s.Value != nil {
		var ok bool
		if value, ok = d.valueOf(s, ev); !ok {
			return dst
		}
	}
	e := d.enter(at, key, ev)
	if e.progress.quantity == nil {
		e.progress.quantity = &quantity{measure: ev.Time / int64(s.Within)}
		if s.Within <= time.Hour {
			e.progress.quantity.season = &sketch.Seasonal{}
		}
	}
	q := e.progress.quantity
	n := ev.Time / int64(s.Within)
	switch {
	case n > q.measure:
		e.learn(s)
		q.measure, q.amount, q.distinct, q.told = n, 0, sketch.Distinct{}, false
		e.samples = nil
	case n < q.measure: // late: its measure is over
		return dst
	}
	switch {
	case s.Value != nil:
		q.distinct.Add(value)
		q.amount = q.distinct.Count()
	case s.Sum != nil:
		q.amount += s.Sum(ev)
	default:
		q.amount++
	}
	e.sample(s, ev)
	d.keep(e, ev.Time+quiet)
	if q.told || q.amount < s.AtLeast || q.learned < enough || ev.Time-e.first < int64(s.Learn) {
		return dst
	}
	z := q.expect(s, ev.Time).Score(math.Log1p(q.amount), pace.Floor)
	if z < s.Sigmas {
		return dst
	}
	q.told = true
	e.note(s, ev)
	return append(dst, d.above(s, e, ev, z))
}

// expect is what log(1+x) of the measure at a time is expected to be.
func (q *quantity) expect(s *Spec, at int64) sketch.Expectation {
	if q.season != nil {
		hour, weekend := clock(at)
		return q.season.Expect(at, hour, weekend, pace)
	}
	if q.level.Weight() == 0 {
		return sketch.Expectation{}
	}
	return sketch.Expectation{Mean: q.level.Mean(), Sigma: q.level.Sigma(), N: q.level.Weight(), Basis: sketch.AllHours}
}

// learn scores the measure that is over, and then learns it, slowly where it is
// suspicious.
func (e *entry) learn(s *Spec) {
	q := e.progress.quantity
	if q.amount == 0 {
		return
	}
	end := (q.measure+1)*int64(s.Within) - 1
	x := math.Log1p(q.amount)
	gated := q.told || q.learned >= enough && q.expect(s, end).Score(x, pace.Floor) > suspicious
	if q.season != nil {
		hour, weekend := clock(end)
		q.season.Update(x, end, hour, weekend, pace, gated)
	} else {
		q.level.Update(x, end, pace, gated)
	}
	q.learned++
}

// clock returns the hour of the day, UTC, and whether it is a weekend; 1970 began on a
// Thursday.
func clock(at int64) (hour int, weekend bool) {
	hours := at / int64(time.Hour)
	weekday := (hours/24 + 4) % 7
	return int(hours % 24), weekday == 0 || weekday == 6
}
