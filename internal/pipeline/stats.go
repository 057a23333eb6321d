package pipeline

import (
	"sync/atomic"
	"time"
)

// Stats is what a Pipeline has done since Run began.
type Stats struct {
	Clock       int64         // watermark, Unix nanoseconds of the data's own clock; 0 before the first record
	Epoch       uint64        // the last that is committed, counted over restarts
	Epochs      uint64        // committed by this run
	Committed   time.Time     // when the last commit of this run ended; zero if there was none
	Committing  time.Duration // all commits of this run together
	Findings    uint64        // admitted
	Suppressed  uint64        // findings that repeat what was said
	Undelivered int64         // admitted, but the sink has not taken them
}

// counters are published once an item, and read by Stats.
type counters struct {
	clock, committed, committing, undelivered atomic.Int64
	epoch, epochs, findings, suppressed       atomic.Uint64

	stages atomic.Pointer[stages]
}

// stages know since when each stage is at the item in its hands. They do not count the
// time in which it waits for others: for input, for an output, for the store.
type stages struct {
	began time.Time
	since []atomic.Int64 // nanoseconds after began; 0: not at any
}

// working is one stage among them.
type working struct {
	*stages
	stage int
}

func newStages(n int) *stages { return &stages{time.Now(), make([]atomic.Int64, n)} }

func (w working) begin() { w.since[w.stage].Store(int64(time.Since(w.began)) + 1) }
func (w working) end()   { w.since[w.stage].Store(0) }

// Busy returns for how long the slowest stage has been at the item in its hands. Items
// are done in milliseconds, so one that is not done in a minute hangs, in this program
// and not in an output or store that it waits for. It may be called at any time.
func (p *Pipeline) Busy() time.Duration {
	s := p.counters.stages.Load()
	if s == nil {
		return 0
	}
	now, longest := time.Since(s.began), time.Duration(0)
	for i := range s.since {
		if since := s.since[i].Load(); since != 0 {
			longest = max(longest, now-time.Duration(since))
		}
	}
	return longest
}

// Stats may be called at any time.
func (p *Pipeline) Stats() Stats {
	c := &p.counters
	s := Stats{
		Clock: c.clock.Load(), Epoch: max(c.epoch.Load(), p.Epoch), Epochs: c.epochs.Load(),
		Committing: time.Duration(c.committing.Load()), Findings: c.findings.Load(), Suppressed: c.suppressed.Load(), Undelivered: c.undelivered.Load(),
	}
	if at := c.committed.Load(); at != 0 {
		s.Committed = time.Unix(0, at)
	}
	return s
}
