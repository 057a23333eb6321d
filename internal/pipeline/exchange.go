package pipeline

import (
	"context"

	"tidewatch/behavior/population"
	"tidewatch/behavior/state"
	"tidewatch/event"
)

// maxAsked bounds the entities that wait to be asked for. Of those beyond it shards
// know what they have seen themselves.
const maxAsked = 1 << 16

// shared is what other sensors know, on its way to the shards.
type shared struct {
	met    [][]byte // what this sensor has stored of these is known: nothing
	others []state.Record
}

// give gives a shard what belongs to it. Records that it refuses were written by
// another version, and are passed over.
func (sh *shared) give(s Sharer, seen []event.Observation) []event.Observation {
	for _, key := range sh.met {
		_ = s.Restore(state.Record{Key: key})
	}
	for _, r := range sh.others {
		if population.Owns(r) {
			continue
		}
		if more, err := s.Share(r, seen); err == nil {
			seen = more
		}
	}
	return seen
}

// PopulationSharer is a Population that takes what other sensors know.
type PopulationSharer interface {
	Share(r state.Record) error
}

// share gives what other sensors know to the shards and to the population, in the one
// order of events.
func (d *dispatch) share(ctx context.Context, sh *shared) bool {
	if p, ok := d.Population.(PopulationSharer); ok {
		for _, r := range sh.others {
			if population.Owns(r) {
				_ = p.Share(r) // of another version: passed over
			}
		}
	}
	return d.send(ctx, item{shared: sh})
}

// asking is what is asked of other sensors after an epoch.
type asking struct{ met, changed [][]byte }

func (a *asking) add(c *committing) {
	a.met = append(a.met, c.met[:min(len(c.met), maxAsked-min(maxAsked, len(a.met)))]...)
	for _, r := range c.Changed[state.Entities] {
		if len(a.changed) == maxAsked {
			break
		}
		if len(r.Value) > 0 {
			a.changed = append(a.changed, r.Key)
		}
	}
}

// exchange asks other sensors in the background. The function that it returns is told of
// each epoch that was committed, and of the end by nil; it does not wait.
func (r *graph) exchange(ctx context.Context) (tell func(*committing)) {
	if r.Exchange == nil {
		return func(*committing) {}
	}
	ctx, cancel := context.WithCancel(ctx)
	asks, done := make(chan asking), make(chan struct{})
	go func() {
		defer close(done)
		r.ask(ctx, asks)
	}()
	var next asking
	return func(c *committing) {
		if c == nil {
			cancel()
			close(asks)
			<-done
			return
		}
		next.add(c)
		select {
		case asks <- next:
			next = asking{}
		default: // the last answer is not there yet
		}
	}
}

// ask asks, and hands answers to dispatch when it has taken the last one.
func (r *graph) ask(ctx context.Context, asks <-chan asking) {
	var answer shared
	for a := range asks {
		answer.met = append(answer.met, a.met...)
		others, err := r.Exchange.Exchange(ctx, a.met, a.changed)
		if err != nil {
			// Shards go on with what they have seen; entities that change are asked for
			// again.
			others = nil
		}
		answer.others = append(answer.others, others...)
		if len(answer.met)+len(answer.others) == 0 {
			continue
		}
		sh := answer
		select {
		case r.shared <- &sh:
			answer = shared{}
		case <-ctx.Done():
		}
	}
}
