package pipeline

import (
	"cmp"
	"context"
	"slices"

	"tidewatch/behavior"
	"tidewatch/behavior/state"
	"tidewatch/event"
)

// writeSize is how many findings are collected, at most, before they are
// written while more results wait.
const writeSize = 256

// deliver puts the shards' findings into one order, suppresses repetitions and
// writes the rest. While the sink is down nothing is read: the log files are the
// queue. While only the store is down, detection goes on.
type deliver struct {
	*graph
	next    uint64           // item that is to be completed next
	open    map[uint64]*part // items that some shards have done
	pending []event.Finding  // admitted, not yet written
	held    []held           // admitted, and more is to be expected of them
	clock   int64
	busy    working
}

// held is a finding that waits for records of its connections, which are read from other
// logs: until the data's clock is there, and not over a checkpoint. Others go on.
type held struct {
	finding event.Finding
	parts   event.SessionParts
	until   int64
}

// joinPatience is how long, by the data's clock in nanoseconds, a finding waits for what
// its sensor recognised in its latest connection and has not written yet.
const joinPatience = 5e9

// part is an item that is not complete.
type part struct {
	shards int
	seq    *event.Sequence
	clock  int64
	found  []event.Finding
	epoch  *epoch
	swap   *swap
	cut    []behavior.Record
	met    [][]byte
	// exported says that the exporter has settled before the epoch's end.
	exported bool
}

func newDeliver(r *graph) *deliver {
	return &deliver{graph: r, next: 1, open: map[uint64]*part{}, busy: working{r.stages, len(r.Shards) + 1}}
}

func (d *deliver) run(ctx context.Context) error {
	for r := range d.results {
		p := d.open[r.n]
		if p == nil {
			p = &part{}
			d.open[r.n] = p
		}
		if r.exported {
			p.exported = true
		} else {
			p.shards++
		}
		p.found = append(p.found, r.found...)
		p.cut = append(p.cut, r.cut...)
		p.met = append(p.met, r.met...)
		p.epoch, p.swap, p.clock = r.epoch, r.swap, r.clock
		if r.seq != nil {
			p.seq = r.seq
		}
		for p := d.open[d.next]; p != nil && d.whole(p); p = d.open[d.next] {
			delete(d.open, d.next)
			d.next++
			if err := d.complete(ctx, p); err != nil {
				return err
			}
		}
		if len(d.pending) >= writeSize || len(d.results) == 0 {
			if err := d.write(ctx); err != nil {
				return err
			}
		}
	}
	d.letGo()
	if err := d.write(ctx); err != nil {
		return err
	}
	if err := d.mark(ctx)(ctx); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// mark returns a function that waits until what was written is durable.
func (d *deliver) mark(ctx context.Context) func(context.Context) error {
	if m, ok := d.Sink.(Marker); ok {
		return m.Mark(ctx)
	}
	return func(context.Context) error { return nil }
}

// whole reports whether all have done their part of an item.
func (d *deliver) whole(p *part) bool {
	return p.shards == len(d.inputs) && (p.epoch == nil || d.exports == nil || p.exported)
}

// complete takes an item that each shard has done; all earlier ones are taken.
func (d *deliver) complete(ctx context.Context, p *part) error {
	if p.seq != nil {
		d.Sessions.Learn(p.seq)
	}
	d.clock = max(d.clock, p.clock)
	d.attend()
	d.admit(p)
	if p.seq != nil {
		p.seq.Release()
	}
	if p.swap != nil { // each shard judges by the new rules from here on
		p.swap.then()
		close(p.swap.done)
	}
	if p.epoch == nil {
		return nil
	}
	// Each shard has passed the barrier, so each finding before it is here.
	d.letGo()
	if err := d.write(ctx); err != nil {
		return err
	}
	c := &state.Checkpoint{Epoch: p.epoch.n, Changed: p.epoch.changed}
	c.Changed[state.Entities] = p.cut
	if d.Suppression != nil {
		c.Changed[state.Suppression] = d.Suppression.Cut()
	}
	select {
	case d.commits <- committing{c, p.met, d.mark(ctx)}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// admit takes the findings of an item in their one order.
func (d *deliver) admit(p *part) {
	d.busy.begin()
	defer d.busy.end()
	slices.SortStableFunc(p.found, func(a, b event.Finding) int {
		return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.Rule.ID, b.Rule.ID), cmp.Compare(a.ID, b.ID))
	})
	before, suppressed := len(d.pending), 0
	for i := range p.found {
		switch {
		case d.Suppression == nil:
			d.pending = append(d.pending, p.found[i])
		case d.Suppression.Admit(&p.found[i]):
			d.pending = append(d.pending, p.found[i])
			d.pending = d.Suppression.Correlate(&p.found[i], d.pending)
		default:
			suppressed++
		}
	}
	d.counters.findings.Add(uint64(len(d.pending) - before))
	d.counters.suppressed.Add(uint64(suppressed))
	if d.Sessions != nil {
		d.attach(p, before)
	}
	d.counters.undelivered.Store(int64(len(d.pending) + len(d.held)))
}

// attach lets the pending findings from the given one on say what is known of their
// connections, and holds those of which more is to come. A report does not overtake an
// earlier one on the same episode.
func (d *deliver) attach(p *part, from int) {
	found := slices.Clone(d.pending[from:])
	d.pending = d.pending[:from]
	for i := range found {
		f := &found[i]
		d.held = slices.DeleteFunc(d.held, func(h held) bool {
			if h.finding.Episode != f.Episode {
				return false
			}
			d.Sessions.Attach(&h.finding, 0)
			d.pending = append(d.pending, h.finding)
			return true
		})
		var awaited event.SessionParts
		if p.seq != nil {
			awaited = f.Awaits(p.seq)
		}
		if lacking := d.Sessions.Attach(f, awaited); lacking != 0 {
			d.held = append(d.held, held{*f, lacking, max(d.clock, f.Time, f.End) + joinPatience})
		} else {
			d.pending = append(d.pending, *f)
		}
	}
}

// attend lets go of findings for which what they wait for has come, or will not come.
func (d *deliver) attend() {
	d.held = slices.DeleteFunc(d.held, func(h held) bool {
		if d.Sessions.Attach(&h.finding, h.parts) != 0 && d.clock <= h.until && len(d.held) < writeSize {
			return false
		}
		d.pending = append(d.pending, h.finding)
		return true
	})
}

// letGo ends all waiting.
func (d *deliver) letGo() {
	for i := range d.held {
		d.Sessions.Attach(&d.held[i].finding, 0)
		d.pending = append(d.pending, d.held[i].finding)
	}
	clear(d.held)
	d.held = d.held[:0]
}

func (d *deliver) write(ctx context.Context) error {
	if len(d.pending) == 0 {
		return nil
	}
	if err := d.Sink.Write(ctx, d.pending); err != nil {
		return err
	}
	d.pending = d.pending[:0]
	d.counters.undelivered.Store(int64(len(d.held)))
	return nil
}
