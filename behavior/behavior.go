// Package behavior keeps what is known of each entity, and detects what is not
// normal for it.
package behavior

import (
	"tidewatch/event"
)

// Config holds the settings of all detectors. Rules change them.
type Config struct {
	Scan ScanConfig
}

// DefaultConfig returns the settings that are used where no rule says otherwise.
func DefaultConfig() Config { return Config{Scan: DefaultScanConfig()} }

// Record is the serialised state of one entity. An empty Value says that the
// entity is forgotten.
type Record struct{ Key, Value []byte }

// Owner returns which of n shards owns the entity with this hash.
func Owner(hash uint64, n int) int {
	return int((hash >> 32) * uint64(n) >> 32)
}

// Shard owns the entities whose hash falls to it. It is used by one goroutine.
type Shard struct {
	i, n int
	scan *scanDetector
}

// NewShard returns the i-th of n shards.
func NewShard(i, n int, cfg Config) *Shard {
	return &Shard{i: i, n: n, scan: newScanDetector(cfg.Scan, n)}
}

// Track makes the shard remember which entities change, for Cut.
func (s *Shard) Track() { s.scan.tracking = true }

// Observe takes those ends of the event that the shard owns, and appends what it
// makes of them to dst. On entities that are known it does not allocate.
func (s *Shard) Observe(ev *event.Event, dst []event.Observation) []event.Observation {
	const uncounted = event.FlagJoined | event.FlagSnapshot | event.FlagUnidirectional
	if ev.Kind != event.KindConn || ev.Flags&uncounted != 0 || ev.Outcome == event.OutcomeUnknown {
		return dst
	}
	if Owner(ev.Orig.Hash, s.n) == s.i {
		dst = s.scan.observeSource(ev, dst)
	}
	if ev.Resp.Scope == event.ScopeLocal && Owner(ev.Resp.Hash, s.n) == s.i {
		dst = s.scan.observeTarget(ev, dst)
	}
	return dst
}

// Advance tells the shard the data's own clock, in Unix nanoseconds. It closes
// what is over. What a closed episode says does not depend on when it is called.
func (s *Shard) Advance(clock int64, dst []event.Observation) []event.Observation {
	return s.scan.advance(clock, dst)
}

// Finish closes every episode: the data is complete.
func (s *Shard) Finish(dst []event.Observation) []event.Observation { return s.scan.finish(dst) }

// Cut returns the records of the entities that changed since the last Cut.
func (s *Shard) Cut() []Record { return s.scan.cut() }

// Restore takes the record of an entity that the shard owns, and ignores others.
// The error says that the record was not written by Cut.
func (s *Shard) Restore(r Record) error {
	return s.scan.restore(r, func(hash uint64) bool { return Owner(hash, s.n) == s.i })
}
