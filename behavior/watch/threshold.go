package watch

import (
	"slices"
	"time"

	"tidewatch/behavior/sketch"
	"tidewatch/event"
)

const (
	// exactly is up to how many records, or distinct values, are counted one by one.
	exactly = 256
	// buckets is how many parts a time is cut into where more are counted, or where a
	// quantity is summed up: what is within the time is known to that part of it.
	buckets = 64
)

// counts is what a threshold remembers of a case.
type counts struct {
	times  []int64          // of the last records, in order; up to AtLeast of them
	seen   map[uint64]int64 // when each value was last there
	sums   *[buckets]float64
	bucket int64 // the newest, as a number of buckets since 1970
}

// episode is a case that was told.
type episode struct {
	id                    string
	start, detected, last int64
	amount                float64 // records, or the sum
	distinct              sketch.Distinct
	revision              int
	sensors               [3]bool
}

// count adds a record to a threshold's case.
func (d *Detector) count(at int, s *Spec, key caseKey, ev *event.Event, dst []event.Observation) []event.Observation {
	var value uint64
	if s.Value != nil {
		var ok bool
		if value, ok = d.valueOf(s, ev); !ok {
			return dst
		}
	}
	e := d.enter(at, key, ev)
	if e.progress.counts == nil {
		e.progress.counts = &counts{}
	}
	c := e.progress.counts
	amount := 1.0
	if s.Sum != nil {
		amount = s.Sum(ev)
	}
	reached := c.add(s, ev.Time, amount, value)
	e.sample(s, ev)
	d.keep(e, ev.Time+int64(s.Within))
	if e.episode != nil {
		e.episode.more(ev, amount, value)
		return dst
	}
	if reached < s.AtLeast {
		return dst
	}
	start := e.first
	if len(c.times) > 0 {
		start = c.times[0]
	}
	e.episode = newEpisode(s, key, max(start, ev.Time-int64(s.Within)), ev)
	e.episode.amount = reached
	if s.Value != nil {
		for h := range c.seen {
			e.episode.distinct.Add(h)
		}
	}
	e.note(s, ev)
	return append(dst, d.report(s, e, true))
}

// add counts, and returns how much there is within the time.
func (c *counts) add(s *Spec, at int64, amount float64, value uint64) float64 {
	since := at - int64(s.Within)
	switch {
	case s.Value != nil:
		return float64(c.distinct(value, at, since, int(s.AtLeast)))
	case s.Sum != nil || s.AtLeast > exactly:
		return c.sum(at, s.Within, amount)
	}
	i := len(c.times)
	for i > 0 && c.times[i-1] > at {
		i--
	}
	c.times = slices.Insert(c.times, i, at)
	if len(c.times) > int(s.AtLeast) {
		c.times = slices.Delete(c.times, 0, 1)
	}
	n := 0
	newest := c.times[len(c.times)-1]
	for _, t := range c.times {
		if t >= newest-int64(s.Within) {
			n++
		}
	}
	return float64(n)
}

// distinct notes a value, and returns how many there were since a time. It remembers
// a few more than are asked for.
func (c *counts) distinct(value uint64, at, since int64, atLeast int) int {
	if c.seen == nil {
		c.seen = map[uint64]int64{}
	}
	c.seen[value] = max(c.seen[value], at)
	if len(c.seen) > atLeast+atLeast/4+4 {
		c.trim(since, atLeast)
	}
	n := 0
	if len(c.seen) < atLeast { // cannot be enough
		return len(c.seen)
	}
	for _, t := range c.seen {
		if t >= since {
			n++
		}
	}
	return n
}

// trim forgets values that are too old, and then the oldest.
func (c *counts) trim(since int64, atLeast int) {
	times := make([]int64, 0, len(c.seen))
	for _, t := range c.seen {
		times = append(times, t)
	}
	slices.Sort(times)
	oldest := max(since, times[len(times)-atLeast])
	for h, t := range c.seen {
		if t < oldest {
			delete(c.seen, h)
		}
	}
}

// sum adds to the bucket of a time, and returns the sum over the time up to the newest.
func (c *counts) sum(at int64, within time.Duration, amount float64) float64 {
	width := max(int64(within)/buckets, 1)
	n := at / width
	switch {
	case c.sums == nil:
		c.sums, c.bucket = new([buckets]float64), n
	case n > c.bucket:
		for b := max(c.bucket+1, n-buckets+1); b <= n; b++ {
			c.sums[b%buckets] = 0
		}
		c.bucket = n
	}
	if n > c.bucket-buckets && n >= 0 {
		c.sums[n%buckets] += amount
	}
	total := 0.0
	for _, v := range c.sums {
		total += v
	}
	return total
}

// newEpisode begins to tell of a case.
func newEpisode(s *Spec, key caseKey, start int64, ev *event.Event) *episode {
	e := &episode{id: episodeID(s, key, start), start: start, detected: ev.Time, last: ev.Time}
	e.sensors[ev.Sensor%3] = true
	return e
}

// more adds a record to an episode.
func (e *episode) more(ev *event.Event, amount float64, value uint64) {
	e.amount += amount
	e.last = max(e.last, ev.Time)
	e.sensors[ev.Sensor%3] = true
	if value != 0 {
		e.distinct.Add(value)
	}
}

// closeEpisode tells the end of an episode, with what it came to.
func (d *Detector) closeEpisode(s *Spec, e *entry, dst []event.Observation) []event.Observation {
	if e.episode == nil {
		return dst
	}
	e.episode.revision++
	dst = append(dst, d.report(s, e, false))
	e.episode = nil
	return dst
}

// sample keeps records of a case: the first ones within the time.
func (e *entry) sample(s *Spec, ev *event.Event) {
	if len(e.samples) == maxSamples && e.episode == nil && e.samples[0].Time < ev.Time-int64(s.Within) {
		e.samples = e.samples[:0]
	}
	if len(e.samples) < maxSamples {
		e.samples = append(e.samples, event.SampleOf(ev))
	}
}

// note keeps what a finding says of the record that made the case.
func (e *entry) note(s *Spec, ev *event.Event) {
	if s.Fields != nil {
		e.fields = s.Fields(ev)
	}
}
