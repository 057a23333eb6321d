package pipeline_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"tidewatch/behavior/state"
	"tidewatch/event"
	"tidewatch/internal/pipeline"
)

// slowly does its work an hour after it was asked.
type slowly struct {
	*world
	pipeline.Shard
	pipeline.Sink
	pipeline.Source
	hours int // how often it may be slow
}

func (s *slowly) wait() {
	if s.hours--; s.hours >= 0 {
		<-time.After(time.Hour)
	}
}

func (s *slowly) Cut() []state.Record { return s.Shard.(pipeline.Cutter).Cut() }

type (
	slowShard  struct{ *slowly }
	slowSink   struct{ *slowly }
	slowSource struct{ *slowly }
	slowStore  struct{ *slowly }
)

func (s slowShard) Observe(ev *event.Event, dst []event.Observation) []event.Observation {
	s.wait()
	return s.Shard.Observe(ev, dst)
}

func (s slowSink) Write(ctx context.Context, fs []event.Finding) error {
	s.wait()
	return s.Sink.Write(ctx, fs)
}

func (s slowSource) Fill(ctx context.Context, q *event.Sequence) error {
	s.wait()
	return s.Source.Fill(ctx, q)
}

func (s slowStore) Commit(ctx context.Context, c *state.Checkpoint) error {
	s.wait()
	return s.world.Commit(ctx, c)
}

// TestBusy: a stage that hangs is seen; one that waits for others is not busy.
func TestBusy(t *testing.T) {
	f := func(name string, busy bool, slow func(*slowly, *pipeline.Pipeline)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				logs, _ := makeLogs(rand.New(rand.NewPCG(5, 5)), 1, 3000)
				w := newWorld()
				p := w.pipeline(logs, 1, time.Minute)
				slow(&slowly{world: w, Shard: p.Shards[0], Sink: p.Sink, Source: p.Sources[0], hours: 1}, p)
				if d := p.Busy(); d != 0 {
					t.Errorf("busy for %v before the run", d)
				}
				done := make(chan error, 1)
				go func() { done <- p.Run(t.Context()) }()
				<-time.After(30 * time.Minute)
				synctest.Wait()
				switch d := p.Busy(); {
				case busy && d < 29*time.Minute:
					t.Errorf("half an hour within a record: busy for %v", d)
				case !busy && d != 0:
					t.Errorf("waiting for others: busy for %v", d)
				}
				if err := <-done; err != nil {
					t.Error(err)
				}
				if d := p.Busy(); d != 0 {
					t.Errorf("busy for %v after the run", d)
				}
			})
		})
	}
	f("shard", true, func(s *slowly, p *pipeline.Pipeline) { p.Shards[0] = slowShard{s} })
	f("sink", false, func(s *slowly, p *pipeline.Pipeline) { p.Sink = slowSink{s} })
	f("source", false, func(s *slowly, p *pipeline.Pipeline) { p.Sources[0] = slowSource{s} })
	f("store", false, func(s *slowly, p *pipeline.Pipeline) { p.Store = slowStore{s} })
}
