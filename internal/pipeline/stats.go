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
