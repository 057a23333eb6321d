// Package pipeline connects the stages and decides when work is done.
//
//	source ─┐               ┌─ shard ─┐
//	source ─┼─► dispatch ───┼─ shard ─┼─► deliver ───► commit
//	source ─┘               └─ shard ─┘      │            │
//	                                       Sink         Store
//
// Every shard sees every sequence, in the same order, and takes the events whose
// entity it owns. Deliver puts the findings into one order that does not depend
// on the number of shards, and suppresses repetitions in that order.
//
// From time to time dispatch sends a barrier down the same channels. Everything
// before a barrier is one epoch: when each shard has cut its state at the barrier
// and the sink has taken each finding before it, state and positions are
// committed together. A restart goes back to the last commit: baselines are
// counted once, findings are delivered at least once under the same ID.
package pipeline

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"tidewatch/behavior"
	"tidewatch/behavior/state"
	"tidewatch/event"
)

// Source fills sequences from one log, or from several that it interleaves.
type Source interface {
	// Fill adds events to the empty s, and sets its Clock and Positions. It
	// returns io.EOF, perhaps with the last events, when the source has ended, and
	// ctx's error when that ended first; the events in s count all the same.
	Fill(ctx context.Context, s *event.Sequence) error
}

// Acknowledger is a Source that has to tell where it reads from what need not be kept
// any more. It is told the positions that each commit has changed, those of other
// sources too. It does not block for long: the next epoch waits.
type Acknowledger interface {
	Committed(ctx context.Context, changed []event.Position)
}

// Shard owns a part of the entities. It is called by one goroutine at a time.
type Shard interface {
	// Advance tells the shard how far the data's own clock is.
	Advance(clock int64, dst []event.Observation) []event.Observation
	// Observe takes those ends of the event that the shard owns.
	Observe(ev *event.Event, dst []event.Observation) []event.Observation
	// Finish closes what is open, at the end of old logs.
	Finish(dst []event.Observation) []event.Observation
}

// Expecter is a Shard that is told which events come next.
type Expecter interface {
	// Expect may read what it knows of the events' entities, so that it is near when
	// they come. It changes nothing.
	Expect(evs []*event.Event)
}

// expected is how many events an Expecter is told of at a time.
const expected = 16

// Cutter is a Shard whose state can be committed.
type Cutter interface {
	// Cut returns the records that changed since the last Cut.
	Cut() []behavior.Record
}

// Population fills in what is known of records' far ends. It is called where events
// have one order, so that its answers do not depend on the number of shards.
type Population interface {
	// Prepare fills in Event.Known of the sequence's events.
	Prepare(s *event.Sequence)
	// Cut returns the records that changed since the last Cut.
	Cut() []behavior.Record
}

// Devices lets records of hosts that have moved to another address be about one entity. It
// is called where events have one order.
type Devices interface {
	// Assign changes the ends of the sequence's events.
	Assign(s *event.Sequence)
	// Cut returns the records that changed since the last Cut.
	Cut() []behavior.Record
}

// Judge decides which observations are findings. It is called concurrently.
type Judge interface {
	Judge(o *event.Observation, dst []event.Finding) []event.Finding
}

// Suppressor says which findings repeat what was said already. It is called by
// one goroutine, with the findings in their one order.
type Suppressor interface {
	Admit(f *event.Finding) bool
	// Correlate appends the findings that this one and those before it make together,
	// and that are to be said.
	Correlate(f *event.Finding, dst []event.Finding) []event.Finding
	// Cut returns the records that changed since the last Cut.
	Cut() []behavior.Record
}

// Sessions knows what other records said of the connections that make a finding's case. It
// is called by one goroutine, with records and findings in their one order.
type Sessions interface {
	// Learn reads the records of a sequence that is shared; it keeps nothing of them.
	Learn(s *event.Sequence)
	// Attach fills in what is known. It returns which of some parts it does not know of
	// the latest connection.
	Attach(f *event.Finding, awaited event.SessionParts) (lacking event.SessionParts)
}

// Sink takes findings. When Write returns nil they are durable, unless it is a Marker.
type Sink interface {
	// Write may keep the findings but not fs.
	Write(ctx context.Context, fs []event.Finding) error
}

// Marker is a Sink whose Write returns before the findings are durable.
type Marker interface {
	// Mark returns a function that returns nil when all findings that were written
	// before the mark are durable. It is called by another goroutine, and for some marks
	// only.
	Mark(ctx context.Context) (settle func(ctx context.Context) error)
}

// Exporter takes records as they are, beside the shards. It is called by one goroutine.
type Exporter interface {
	// Export takes the sequence's events; it keeps nothing of them.
	Export(ctx context.Context, s *event.Sequence) error
	// Settle returns nil when all that was taken is durable.
	Settle(ctx context.Context) error
}

// Store keeps checkpoints. Commit is atomic: all of it or none. It may keep c.
type Store interface {
	Commit(ctx context.Context, c *state.Checkpoint) error
}

// Exchange is how sensors tell each other what they know. It is not called while
// it runs.
type Exchange interface {
	// Exchange returns what other sensors know, each entity's records merged: of
	// entities that were met for the first time, of those that changed, and of who
	// uses what. What it leaves out may come with a later call.
	Exchange(ctx context.Context, met, changed [][]byte) (others []state.Record, err error)
}

// Sharer is a Shard that takes what other sensors know.
type Sharer interface {
	// Wanted returns the keys of entities that were met since it was called last.
	Wanted() [][]byte
	// Restore takes a record that this sensor has stored; one without a value says
	// that there is none.
	Restore(r state.Record) error
	// Share takes what other sensors know of an entity.
	Share(r state.Record, dst []event.Observation) ([]event.Observation, error)
}

// Pipeline is a configured pipeline. Run may be called once.
type Pipeline struct {
	Sources     []Source
	Shards      []Shard
	Rules       Judge
	Suppression Suppressor // nil: every finding is written
	Joiner      *Joiner    // nil where there is one sensor
	Devices     Devices    // nil: a host is its address
	Population  Population // nil: nothing is known of far ends
	Sessions    Sessions   // nil: findings say what their detectors do
	Sink        Sink
	Export      Exporter // nil: records go nowhere

	// Store is nil where nothing outlives the run: then no epoch is cut. With a
	// Store, each Shard must be a Cutter.
	Store    Store
	Epoch    uint64        // of the last commit: the run counts on from it
	Interval time.Duration // from one epoch to the next, at least

	// Exchange is nil where there are no other sensors. It needs a Store; each Shard
	// must be a Sharer. It is asked after each commit, and waits for nothing.
	Exchange Exchange

	Grace  time.Duration // to deliver what is in flight when ctx ends
	Finish bool          // close what is open at the end: the data is complete
	Length int           // events in a sequence; 0 means 512

	counters counters
	swaps    chan *swap
	swapping sync.Once // makes swaps
	looks    chan *looking
	looker   sync.Once // makes looks
}

// ErrGrace is returned by Run if the grace period ended before everything read
// was delivered. Nothing is lost: the next run reads it again.
var ErrGrace = errors.New("the grace period ended with work in flight")

// item is what dispatch gives to each shard: a sequence, a barrier if epoch is
// not 0, or the end of the data.
type item struct {
	n      uint64 // counts items
	seq    *event.Sequence
	clock  int64
	epoch  *epoch
	shared *shared
	swap   *swap
	told   []event.Observation // by a look back; for the first shard
	finish bool
}

// epoch is one barrier.
type epoch struct {
	n       uint64
	changed [state.NumSections][]state.Record // what dispatch knew
}

// result is one shard's part of one item.
type result struct {
	n        uint64
	seq      *event.Sequence // of the first shard, for deliver to read and release; nil without Sessions
	clock    int64
	found    []event.Finding
	epoch    *epoch
	swap     *swap
	cut      []behavior.Record
	met      [][]byte
	exported bool // not of a shard: what was exported before the epoch's end is durable
}

// filled is a sequence on its way from a source to dispatch.
type filled struct {
	source int
	seq    *event.Sequence // nil: the source has ended
}

// graph is the state of one Run: the channels between its goroutines.
type graph struct {
	*Pipeline
	filled    chan filled
	inputs    []chan item // of the shards
	exports   chan item   // nil if nothing is exported
	results   chan result
	commits   chan committing
	committed chan time.Duration // how long the commit took
	shared    chan *shared
	sequences event.SequencePool
	stages    *stages // the shards, then dispatch and deliver
}

// Run runs until each source ends or ctx does, then drains and commits. It
// starts goroutines and returns when all of them have ended.
func (p *Pipeline) Run(ctx context.Context) error {
	// Reading stops with ctx. What was read is delivered under work, which
	// outlives ctx by the grace period. A failure stops both.
	read, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	work, kill := context.WithCancelCause(context.WithoutCancel(ctx))
	defer kill(nil)
	fail := func(err error) { stop(err); kill(err) }

	r := p.newGraph()
	done := make(chan struct{})
	var sources, shards, all sync.WaitGroup
	for i, s := range p.Sources {
		sources.Go(func() {
			if err := r.read(read, work, i, s); err != nil {
				fail(err)
			}
		})
	}
	all.Go(func() { sources.Wait(); close(r.filled) })
	all.Go(func() { newDispatch(r).run(work) })
	for i, s := range p.Shards {
		shards.Go(func() { r.shard(work, i, s) })
	}
	if p.Export != nil {
		shards.Go(func() {
			if err := r.export(work); err != nil {
				fail(err)
			}
		})
	}
	all.Go(func() { shards.Wait(); close(r.results) })
	all.Go(func() {
		defer close(r.commits)
		if err := newDeliver(r).run(work); err != nil {
			fail(err)
			for range r.results { // let the shards end
			}
		}
	})
	all.Go(func() {
		defer close(done)
		if err := r.commit(work); err != nil {
			fail(err)
		}
	})
	all.Go(func() {
		select {
		case <-read.Done():
		case <-done:
			return
		}
		t := time.NewTimer(p.Grace)
		defer t.Stop()
		select {
		case <-t.C:
			kill(ErrGrace)
		case <-done:
		}
	})
	all.Wait()
	return context.Cause(work)
}

func (p *Pipeline) newGraph() *graph {
	length := p.Length
	if length == 0 {
		length = 512
	}
	const ahead = 2 // sequences on their way to each shard
	r := &graph{
		Pipeline:  p,
		filled:    make(chan filled, 1),
		inputs:    make([]chan item, len(p.Shards)),
		results:   make(chan result, 2*len(p.Shards)),
		commits:   make(chan committing, 1),
		committed: make(chan time.Duration, 1),
		shared:    make(chan *shared, 1),
		// Each source may wait for input with one in hand.
		sequences: event.NewSequencePool(len(p.Sources)+2*ahead, length),
		stages:    newStages(len(p.Shards) + 2),
	}
	p.counters.stages.Store(r.stages)
	for i := range r.inputs {
		r.inputs[i] = make(chan item, ahead)
	}
	if p.Export != nil {
		r.exports = make(chan item, ahead)
	}
	return r
}

// read fills sequences from one source until it ends.
func (r *graph) read(ctx, work context.Context, i int, s Source) error {
	for {
		var seq *event.Sequence
		select {
		case seq = <-r.sequences:
		case <-ctx.Done():
			return nil
		}
		err := s.Fill(ctx, seq)
		select {
		case r.filled <- filled{source: i, seq: seq}:
		case <-work.Done():
			return nil
		}
		switch {
		case err == nil:
			continue
		case ctx.Err() != nil:
			return nil
		case !errors.Is(err, io.EOF):
			return err
		}
		select {
		case r.filled <- filled{source: i}:
		case <-work.Done():
		}
		return nil
	}
}

// shard applies sequences to the entities that s owns.
func (r *graph) shard(ctx context.Context, i int, s Shard) {
	in, busy := r.inputs[i], working{r.stages, i}
	tells := i == 0 && r.Sessions != nil // what deliver reads
	var seen []event.Observation
	expecter, _ := s.(Expecter)
	rules := r.Rules
	for it := range in {
		busy.begin()
		res := result{n: it.n, clock: it.clock, epoch: it.epoch, swap: it.swap}
		seen = seen[:0]
		switch {
		case it.swap != nil:
			rules = it.swap.rules
		case it.epoch != nil:
			res.cut = s.(Cutter).Cut()
			if r.Exchange != nil {
				res.met = s.(Sharer).Wanted()
			}
		case it.told != nil:
			if i == 0 {
				seen = append(seen, it.told...)
			}
		case it.shared != nil:
			seen = it.shared.give(s.(Sharer), seen)
		case it.finish:
			seen = s.Finish(seen)
		default:
			seen = s.Advance(it.clock, seen)
			for i, ev := range it.seq.Events {
				if expecter != nil && i%expected == 0 {
					expecter.Expect(it.seq.Events[i:min(i+expected, len(it.seq.Events))])
				}
				if ev.Flags&event.FlagJoined == 0 {
					seen = s.Observe(ev, seen)
				}
			}
			it.seq.Release()
			if tells {
				res.seq = it.seq // deliver is a reader of its own
			}
		}
		for i := range seen {
			res.found = rules.Judge(&seen[i], res.found)
		}
		clear(seen)
		busy.end()
		select {
		case r.results <- res:
		case <-ctx.Done():
			return
		}
	}
}

// export gives sequences to the exporter, which is one more of their readers.
func (r *graph) export(ctx context.Context) error {
	for it := range r.exports {
		switch {
		case it.seq != nil:
			err := r.Export.Export(ctx, it.seq)
			it.seq.Release()
			if err != nil {
				return err
			}
		case it.epoch != nil:
			if err := r.Export.Settle(ctx); err != nil {
				return err
			}
			select {
			case r.results <- result{n: it.n, epoch: it.epoch, exported: true}:
			case <-ctx.Done():
				return nil
			}
		}
	}
	return r.Export.Settle(ctx)
}

// acknowledged returns the positions of a checkpoint, if a source wants to know them.
func (r *graph) acknowledged(c *state.Checkpoint) (ps []event.Position) {
	for _, s := range r.Sources {
		if _, ok := s.(Acknowledger); ok {
			for _, rec := range c.Changed[state.Positions] {
				ps = append(ps, event.Position{Key: string(rec.Key), Value: rec.Value})
			}
			return ps
		}
	}
	return nil
}
