package pipeline

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"tidewatch/event"
)

// Lane is one of several outputs.
type Lane struct {
	Name string
	Sink Sink
	// BestEffort lets the others go on without it: no checkpoint waits for it, and what
	// finds its queue full is dropped for it, and counted.
	BestEffort bool
	// Least is the least severity that it gets; 0 for all.
	Least event.Severity
}

// LaneStats is how a lane stands.
type LaneStats struct {
	Name       string
	BestEffort bool
	Waiting    int64  // findings that it has not delivered
	Dropped    uint64 // findings that it will not get
	Trouble    string // the error that it returned last, of a lane of best effort
}

// Fanout gives findings to several outputs, each of which goes at its own pace: a slow
// one does not keep a fast one from its findings, as long as its queue has room. The
// slowest decides when a checkpoint may be committed.
type Fanout struct {
	lanes     []*lane
	delivered func([]event.Finding)
	running   sync.WaitGroup
	stop      context.CancelFunc // of the lanes of best effort
}

// laneQueue is how many batches, of writeSize findings or a few more, wait for a lane.
const laneQueue = 16

// lane is an output with its queue.
type lane struct {
	Lane
	work    chan batch
	waiting atomic.Int64
	dropped atomic.Uint64
	trouble atomic.Pointer[string]
}

// batch is findings on their way to a lane, or the mark behind those before it.
type batch struct {
	ctx    context.Context
	run    *Delivery
	found  []event.Finding
	lanes  *atomic.Int32 // of those that have to, how many have not delivered them
	behind chan<- struct{}
}

// NewFanout starts the lanes. delivered is called with findings that each lane has which
// is not of best effort; by several goroutines.
func NewFanout(lanes []Lane, delivered func([]event.Finding)) *Fanout {
	ctx, stop := context.WithCancel(context.Background())
	f := &Fanout{delivered: delivered, stop: stop}
	for _, l := range lanes {
		l := &lane{Lane: l, work: make(chan batch, laneQueue)}
		f.lanes = append(f.lanes, l)
		f.running.Go(func() {
			for b := range l.work {
				if l.BestEffort {
					l.try(ctx, b.found)
				} else {
					f.deliver(l, &b)
				}
			}
		})
	}
	return f
}

// Delivery is the sink of one run of a pipeline. A run that has failed leaves nothing to
// the next one.
type Delivery struct {
	*Fanout
	marked bool                        // nothing was written since the last mark
	settle func(context.Context) error // of that mark
	failed atomic.Pointer[error]       // the first that a lane returned
}

// Begin returns the sink of a run.
func (f *Fanout) Begin() *Delivery { return &Delivery{Fanout: f} }

// Write queues the findings, and waits while a queue is full. Mark says when they are
// durable.
func (d *Delivery) Write(ctx context.Context, fs []event.Finding) error {
	d.marked = false
	b := batch{ctx: ctx, run: d, found: append([]event.Finding(nil), fs...), lanes: new(atomic.Int32)}
	for _, l := range d.lanes {
		if !l.BestEffort {
			b.lanes.Add(1)
		}
	}
	if b.lanes.Load() == 0 {
		d.delivered(b.found)
	}
	for _, l := range d.lanes {
		l.waiting.Add(int64(len(fs)))
		if l.BestEffort {
			select {
			case l.work <- b:
			default:
				l.drop(len(fs))
			}
			continue
		}
		select {
		case l.work <- b:
		case <-ctx.Done():
			l.waiting.Add(-int64(len(fs)))
			return context.Cause(ctx)
		}
	}
	return d.err()
}

// Mark returns a function that waits until all findings written so far are durable.
// Another goroutine may call it, after later marks, or not at all.
func (d *Delivery) Mark(ctx context.Context) func(context.Context) error {
	if d.marked {
		return d.settle
	}
	reached := make(chan struct{}, len(d.lanes))
	n := 0
	for _, l := range d.lanes {
		if l.BestEffort {
			continue
		}
		select {
		case l.work <- batch{ctx: ctx, run: d, behind: reached}:
			n++
		case <-ctx.Done():
			return func(context.Context) error { return context.Cause(ctx) }
		}
	}
	var once sync.Mutex
	d.marked, d.settle = true, func(ctx context.Context) error {
		once.Lock()
		defer once.Unlock()
		for ; n > 0; n-- {
			select {
			case <-reached:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return d.err()
	}
	return d.settle
}

func (d *Delivery) err() error {
	if err := d.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// write writes those findings that the lane gets.
func (l *lane) write(ctx context.Context, fs []event.Finding) error {
	if l.Least > 0 {
		var some []event.Finding
		for i := range fs {
			if fs[i].Severity() >= l.Least {
				some = append(some, fs[i])
			}
		}
		fs = some
	}
	if len(fs) == 0 {
		return nil
	}
	return l.Sink.Write(ctx, fs)
}

// deliver is for a lane that has to.
func (f *Fanout) deliver(l *lane, b *batch) {
	if b.behind != nil {
		b.behind <- struct{}{} // has room for all
		return
	}
	err := l.write(b.ctx, b.found)
	l.waiting.Add(-int64(len(b.found)))
	if err != nil {
		b.run.failed.CompareAndSwap(nil, &err)
	} else if b.lanes.Add(-1) == 0 {
		f.delivered(b.found)
	}
}

// try is for a lane of best effort.
func (l *lane) try(ctx context.Context, fs []event.Finding) {
	err := l.write(ctx, fs)
	if err != nil {
		said := err.Error()
		l.trouble.Store(&said)
		l.drop(len(fs))
		return
	}
	l.trouble.Store(nil)
	l.waiting.Add(-int64(len(fs)))
}

func (l *lane) drop(n int) {
	l.dropped.Add(uint64(n))
	l.waiting.Add(-int64(n))
}

// Stats returns how the lanes stand. It may be called at any time.
func (f *Fanout) Stats() (all []LaneStats) {
	for _, l := range f.lanes {
		s := LaneStats{Name: l.Name, BestEffort: l.BestEffort, Waiting: l.waiting.Load(), Dropped: l.dropped.Load()}
		if said := l.trouble.Load(); said != nil {
			s.Trouble = *said
		}
		all = append(all, s)
	}
	return all
}

// Close ends the lanes, no run is under way any more. Those of best effort get grace to
// deliver what waits for them; the rest is dropped.
func (f *Fanout) Close(grace time.Duration) {
	t := time.AfterFunc(grace, f.stop)
	defer t.Stop()
	defer f.stop()
	for _, l := range f.lanes {
		close(l.work)
	}
	f.running.Wait()
}
