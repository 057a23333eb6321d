package pipeline

import (
	"context"
	"time"

	"tidewatch/behavior/state"
	"tidewatch/event"
)

// committing is an epoch on its way to the store.
type committing struct {
	*state.Checkpoint
	met [][]byte // keys of entities that shards want to know more of
	// settle returns nil when each finding before it is durable.
	settle func(context.Context) error
}

// commit makes epochs durable, one after the other. Those that come while one is on its
// way are put together: the store sees the last of them, with what all have changed.
func (r *graph) commit(ctx context.Context) error {
	tell := r.exchange(ctx)
	defer tell(nil)
	var flying, waiting *committing
	var began, started time.Time // when the first of several began, and this one
	var positions []event.Position
	done := make(chan error, 1)
	start := func(c *committing) {
		flying, waiting, started = c, nil, time.Now()
		positions = r.acknowledged(c.Checkpoint) // the store may keep c
		go func() {
			err := c.settle(ctx)
			if err == nil {
				err = r.Store.Commit(ctx, c.Checkpoint)
			}
			done <- err
		}()
	}
	for commits := r.commits; commits != nil || flying != nil; {
		select {
		case c, ok := <-commits:
			switch {
			case !ok:
				commits = nil
			case flying == nil:
				start(&c)
				began = started
			case waiting == nil:
				waiting = &c
			default:
				waiting = join(waiting, &c)
			}
		case err := <-done:
			if err != nil {
				return err
			}
			for _, s := range r.Sources {
				if a, ok := s.(Acknowledger); ok {
					a.Committed(ctx, positions)
				}
			}
			r.count(flying, started)
			tell(flying)
			if flying = nil; waiting != nil {
				start(waiting)
				continue
			}
			select {
			case r.committed <- time.Since(began):
			default: // dispatch has not heard of the last one yet
			}
		}
	}
	return nil
}

// count counts an epoch that was committed.
func (r *graph) count(c *committing, started time.Time) {
	took := time.Since(started)
	r.counters.committing.Add(int64(took))
	r.counters.committed.Store(started.Add(took).UnixNano())
	r.counters.epoch.Store(c.Epoch)
	r.counters.epochs.Add(1)
}

// maxRemovals bounds, in each section, the removals that wait while the store is away. A
// record whose removal finds no room is there at the next start, as something old.
const maxRemovals = 1 << 18

// join puts two epochs together, the first of which may be so already.
func join(a, b *committing) *committing {
	c := &committing{Checkpoint: &state.Checkpoint{Epoch: b.Epoch}, settle: b.settle, met: append(a.met, b.met[:min(len(b.met), maxAsked-min(len(a.met), maxAsked))]...)}
	for s := range c.Changed {
		c.Changed[s] = joinRecords(a.Changed[s], b.Changed[s])
	}
	return c
}

// joinRecords returns the last record of each key, in the order in which they came.
func joinRecords(a, b []state.Record) []state.Record {
	last := make(map[string]int, len(a)+len(b))
	for i := range len(a) + len(b) {
		last[string(at(a, b, i).Key)] = i
	}
	joined, removals := make([]state.Record, 0, len(last)), 0
	for i := range len(a) + len(b) {
		r := at(a, b, i)
		if last[string(r.Key)] != i {
			continue
		}
		if len(r.Value) == 0 {
			if removals++; removals > maxRemovals {
				continue
			}
		}
		joined = append(joined, r)
	}
	return joined
}

// at is the i-th of a and then b.
func at(a, b []state.Record, i int) state.Record {
	if i < len(a) {
		return a[i]
	}
	return b[i-len(a)]
}
