package pipeline

import (
	"bytes"
	"context"
	"fmt"
	"sync"

	"tidewatch/behavior/state"
	"tidewatch/event"
)

// Saved is a store that was committed to.
type Saved interface {
	// Load gives f each record of the last checkpoint, which is f's until it returns,
	// and returns the checkpoint's epoch.
	Load(ctx context.Context, f func(state.Section, state.Record) error) (epoch uint64, err error)
}

// stage is a part of a pipeline whose state outlives the process.
type stage interface {
	// Restore takes back a record, or ignores it because it is not the stage's. It
	// keeps nothing of the record's memory.
	Restore(r state.Record) error
}

const (
	// chunkBytes is how much of a store is given to a stage at once.
	chunkBytes = 64 << 10
	// chunksAhead are the chunks that wait for a stage.
	chunksAhead = 4
)

// Restore brings the stages to where they were at the store's last commit, whatever
// number of shards there was, and makes them remember what changes. It sets p.Epoch and
// returns the positions, which the sources are to go on from. Call it before Run.
//
// Each of the stages must be able to Restore, or it panics. They do it side by side; each gets its records in the store's order. Records of
// stages that p does not have are left alone.
func (p *Pipeline) Restore(ctx context.Context, from Saved) (positions []event.Position, err error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var workers sync.WaitGroup
	var bySection [state.NumSections]*section
	begin := func(s state.Section, one any) {
		if t, ok := one.(interface{ Track() }); ok {
			t.Track()
		}
		in, to := make(chan *chunk, chunksAhead), one.(stage)
		bySection[s] = bySection[s].with(in)
		workers.Go(func() { restore(to, s, in, stop) })
	}
	for _, s := range p.Shards {
		begin(state.Entities, s)
	}
	if p.Suppression != nil {
		begin(state.Suppression, p.Suppression)
	}
	if p.Population != nil {
		begin(state.Population, p.Population)
	}
	if p.Devices != nil {
		begin(state.Devices, p.Devices)
	}
	if p.Joiner != nil {
		begin(state.Joined, p.Joiner)
	}
	epoch, err := from.Load(ctx, func(s state.Section, r state.Record) error {
		switch {
		case s == state.Positions:
			positions = append(positions, event.Position{Key: string(r.Key), Value: bytes.Clone(r.Value)})
		case s < state.NumSections && bySection[s] != nil:
			return bySection[s].add(ctx, r)
		}
		return nil
	})
	for _, s := range bySection {
		s.end(ctx)
	}
	workers.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, err
	}
	p.Epoch = epoch
	return positions, nil
}

// section gathers the records of one section for the stages that they may belong to.
type section struct {
	stages []chan *chunk
	chunk  *chunk
}

// chunk is some records in memory of its own, which stages share.
type chunk struct {
	bytes   []byte
	records []state.Record
}

// with adds a stage.
func (s *section) with(in chan *chunk) *section {
	if s == nil {
		s = &section{}
	}
	s.stages = append(s.stages, in)
	return s
}

// add copies a record.
func (s *section) add(ctx context.Context, r state.Record) error {
	n := len(r.Key) + len(r.Value)
	if s.chunk != nil && len(s.chunk.bytes)+n > cap(s.chunk.bytes) {
		if err := s.send(ctx); err != nil {
			return err
		}
	}
	if s.chunk == nil {
		s.chunk = &chunk{bytes: make([]byte, 0, max(chunkBytes, n))}
	}
	c := s.chunk
	at := len(c.bytes)
	c.bytes = append(append(c.bytes, r.Key...), r.Value...)
	mid, end := at+len(r.Key), at+n
	c.records = append(c.records, state.Record{Key: c.bytes[at:mid:mid], Value: c.bytes[mid:end:end]})
	return nil
}

func (s *section) send(ctx context.Context) error {
	for _, in := range s.stages {
		select {
		case in <- s.chunk:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	s.chunk = nil
	return nil
}

// end sends what is left, and lets the stages end.
func (s *section) end(ctx context.Context) {
	if s == nil {
		return
	}
	if s.chunk != nil {
		_ = s.send(ctx) // fails with ctx alone, which is looked at later
	}
	for _, in := range s.stages {
		close(in)
	}
}

// restore gives a stage its records until in is closed, or one of them fails.
func restore(to stage, s state.Section, in <-chan *chunk, fail context.CancelCauseFunc) {
	for c := range in {
		for _, r := range c.records {
			if err := to.Restore(r); err != nil {
				fail(fmt.Errorf("a stored record of %s with a key of %d bytes: %w", s, len(r.Key), err))
				for range in { // let Restore end
				}
				return
			}
		}
	}
}
