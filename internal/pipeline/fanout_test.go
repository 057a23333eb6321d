package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"tidewatch/event"
	"tidewatch/internal/pipeline"
)

// gate is a sink that takes findings when it is let.
type gate struct {
	mu     sync.Mutex
	let    chan struct{} // one for each Write; nil: at once
	fail   error
	ids    []string
	writes int
}

func (g *gate) Write(ctx context.Context, fs []event.Finding) error {
	if g.let != nil {
		select {
		case <-g.let:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fail != nil {
		return g.fail
	}
	g.writes++
	for _, f := range fs {
		g.ids = append(g.ids, f.ID)
	}
	return nil
}

func (g *gate) got() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.ids)
}

var (
	lowRule  = &event.RuleInfo{ID: "low", Severity: event.SeverityLow}
	highRule = &event.RuleInfo{ID: "high", Severity: event.SeverityHigh}
)

func one(i int) []event.Finding {
	f := event.Finding{ID: fmt.Sprint(i), Rule: lowRule}
	if i%2 == 1 {
		f.Rule = highRule
	}
	return []event.Finding{f}
}

// fan starts lanes and returns the ids that all have, so far.
func fan(t *testing.T, lanes ...pipeline.Lane) (*pipeline.Fanout, func() []string) {
	var mu sync.Mutex
	var ids []string
	f := pipeline.NewFanout(lanes, func(fs []event.Finding) {
		mu.Lock()
		defer mu.Unlock()
		for _, f := range fs {
			ids = append(ids, f.ID)
		}
	})
	t.Cleanup(func() { f.Close(0) })
	return f, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(ids)
	}
}

// write writes findings first to last, each by itself.
func write(t *testing.T, d *pipeline.Delivery, first, last int) {
	t.Helper()
	for i := first; i <= last; i++ {
		if err := d.Write(t.Context(), one(i)); err != nil {
			t.Fatal(err)
		}
	}
}

// A slow output does not hold up a fast one, and the mark waits for it.
func TestFanoutPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fast, slow := &gate{}, &gate{let: make(chan struct{})}
		f, all := fan(t, pipeline.Lane{Name: "slow", Sink: slow}, pipeline.Lane{Name: "fast", Sink: fast})
		d := f.Begin()
		write(t, d, 1, 3)
		settled := make(chan error, 1)
		first := d.Mark(t.Context())
		go func() { settled <- first(t.Context()) }()
		write(t, d, 4, 5) // after the mark
		synctest.Wait()
		if got := fast.got(); len(got) != 5 || len(slow.got()) != 0 || len(all()) != 0 {
			t.Errorf("the fast one has %v, the slow one %v", got, slow.got())
		}
		if s := f.Stats(); s[0].Waiting != 5 || s[1].Waiting != 0 {
			t.Errorf("%+v", s)
		}
		for range 3 {
			select {
			case err := <-settled:
				t.Fatalf("settled before the slow one: %v", err)
			default:
			}
			slow.let <- struct{}{}
			synctest.Wait()
		}
		if err := <-settled; err != nil {
			t.Error(err)
		}
		if got := all(); !slices.Equal(got, []string{"1", "2", "3"}) {
			t.Errorf("all have %v", got)
		}
		close(slow.let)
		if err := d.Mark(t.Context())(t.Context()); err != nil || len(all()) != 5 {
			t.Error(err, all())
		}
	})
}

// When its queue is full, a slow output holds up the writer.
func TestFanoutBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &gate{let: make(chan struct{})}
		f, _ := fan(t, pipeline.Lane{Name: "slow", Sink: slow})
		d := f.Begin()
		ctx, stop := context.WithCancel(t.Context())
		n, done := 0, make(chan struct{})
		go func() {
			defer close(done)
			for n < 1000 && d.Write(ctx, one(n)) == nil {
				n++
			}
		}()
		synctest.Wait()
		select {
		case <-done:
			t.Fatalf("%d batches were queued", n)
		default:
		}
		if w := f.Stats()[0].Waiting; w < 4 || w > 32 {
			t.Errorf("%d findings wait", w)
		}
		stop()
		<-done
		synctest.Wait()
		if w := f.Stats()[0].Waiting; w != 0 {
			t.Errorf("%d findings wait for a run that has ended", w)
		}
	})
}

// An output of best effort holds up nobody: what it has no room for is dropped and
// counted, and what has room is delivered when the fanout closes.
func TestFanoutBestEffort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lax, strict := &gate{let: make(chan struct{})}, &gate{}
		f, all := fan(t, pipeline.Lane{Name: "lax", Sink: lax, BestEffort: true}, pipeline.Lane{Name: "strict", Sink: strict})
		d := f.Begin()
		const n = 100
		for i := range n {
			write(t, d, i, i)
			synctest.Wait()
		}
		if err := d.Mark(t.Context())(t.Context()); err != nil {
			t.Error(err)
		}
		s := f.Stats()
		if len(all()) != n || len(strict.got()) != n || s[0].Dropped == 0 || s[0].Dropped+uint64(s[0].Waiting) != n {
			t.Errorf("%d delivered, %+v", len(all()), s)
		}
		close(lax.let)
		synctest.Wait()
		if got := len(lax.got()); uint64(got)+s[0].Dropped != n {
			t.Errorf("%d delivered, %d dropped", got, s[0].Dropped)
		}
		lax.mu.Lock()
		lax.fail = errors.New("no")
		lax.mu.Unlock()
		write(t, d, n, n)
		synctest.Wait()
		if s := f.Stats(); s[0].Trouble != "no" || s[0].Waiting != 0 || s[0].Dropped+uint64(len(lax.got())) != n+1 {
			t.Errorf("%+v", s)
		}
	})
}

// What an output refuses ends the run, and not the next one.
func TestFanoutError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		no := errors.New("no")
		bad := &gate{fail: no}
		f, all := fan(t, pipeline.Lane{Sink: bad}, pipeline.Lane{Sink: &gate{}})
		d := f.Begin()
		write(t, d, 1, 1)
		if err := d.Mark(t.Context())(t.Context()); err != no {
			t.Errorf("the mark says %v", err)
		}
		if err := d.Write(t.Context(), one(2)); err != no {
			t.Errorf("Write says %v", err)
		}
		synctest.Wait()
		bad.mu.Lock()
		bad.fail = nil
		bad.mu.Unlock()
		d = f.Begin()
		write(t, d, 3, 3)
		if err := d.Mark(t.Context())(t.Context()); err != nil || !slices.Equal(all(), []string{"3"}) {
			t.Error(err, all())
		}
	})
}

// An output may want the severe ones only.
func TestFanoutLeast(t *testing.T) {
	severe := &gate{}
	f, all := fan(t, pipeline.Lane{Sink: severe, Least: event.SeverityMedium})
	d := f.Begin()
	write(t, d, 1, 4)
	if err := d.Mark(t.Context())(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := severe.got(); !slices.Equal(got, []string{"1", "3"}) || severe.writes != 2 || len(all()) != 4 {
		t.Errorf("%v in %d writes, all %v", got, severe.writes, all())
	}
}
