package pipeline

import (
	"context"
	"maps"
	"slices"
	"time"

	"tidewatch/behavior/state"
)

// patience is after how many intervals the next epoch is cut although the last one is
// not committed.
const patience = 10

// longestInterval bounds the time from one epoch to the next that a slow store asks for:
// so much is read again after a crash. A longer Interval stands.
const longestInterval = 30 * time.Second

// dispatch gives every sequence to every shard, in one order, and cuts epochs.
// It is the last that writes to an event: after it, sequences are shared.
type dispatch struct {
	*graph
	n         uint64            // of the last item
	epochs    uint64            // the last that was cut
	positions map[string][]byte // that changed in this epoch
	clocks    []int64           // by pipeline source; ended ones are removed
	live      []bool            // by pipeline source
	clock     int64             // the watermark: no live source is behind it
	due       <-chan time.Time  // the next epoch
	flying    bool              // epochs were cut that are not committed
	busy      working
}

func newDispatch(r *graph) *dispatch {
	d := &dispatch{graph: r, epochs: r.Epoch, positions: map[string][]byte{}, clocks: make([]int64, len(r.Sources)), live: make([]bool, len(r.Sources)), busy: working{r.stages, len(r.Shards)}}
	for i := range d.live {
		d.live[i] = true
	}
	return d
}

// run ends when the sources have ended and the last epoch is committed.
func (d *dispatch) run(ctx context.Context) {
	defer func() {
		for _, c := range d.inputs {
			close(c)
		}
		if d.exports != nil {
			close(d.exports)
		}
	}()
	timer := time.NewTimer(d.Interval)
	defer timer.Stop()
	if d.Store != nil {
		d.due = timer.C
	}
	for {
		select {
		case f, ok := <-d.filled:
			if !ok {
				d.last(ctx)
				return
			}
			if !d.take(ctx, f) {
				return
			}
		case <-d.due:
			if !d.barrier(ctx) {
				return
			}
			// While the store takes long, or is away, what changes is cut all the same,
			// and put together: detectors need not remember it.
			timer.Reset(patience * d.Interval)
		case sh := <-d.shared:
			if !d.share(ctx, sh) {
				return
			}
		case sw := <-d.swapped():
			if !d.send(ctx, item{swap: sw}) {
				return
			}
		case l := <-d.looked():
			if !d.lookBack(ctx, l) {
				return
			}
		case took := <-d.committed:
			// Committing costs at most about 5 % of the time, unless it takes very long.
			d.flying = false
			timer.Reset(stretched(d.Interval, took))
		case <-ctx.Done():
			return
		}
	}
}

// stretched returns the time to the next epoch when the last one took so long to commit.
func stretched(interval, took time.Duration) time.Duration {
	return max(interval, min(20*took, longestInterval))
}

// take shares one sequence with the shards.
func (d *dispatch) take(ctx context.Context, f filled) bool {
	if f.seq == nil {
		d.live[f.source] = false
		d.advance()
		return true
	}
	for _, p := range f.seq.Positions {
		d.positions[p.Key] = p.Value
	}
	if len(f.seq.Events) == 0 {
		f.seq.Share(1)
		f.seq.Release()
		return true
	}
	d.busy.begin()
	if d.Joiner != nil {
		d.Joiner.Join(f.seq.Events)
	}
	if d.Devices != nil {
		d.Devices.Assign(f.seq)
	}
	if d.Population != nil {
		d.Population.Prepare(f.seq)
	}
	d.busy.end()
	clock := f.seq.Clock // once shared, the sequence is the shards'
	readers := len(d.inputs)
	if d.exports != nil {
		readers++
	}
	if d.Sessions != nil {
		readers++
	}
	f.seq.Share(readers)
	if !d.send(ctx, item{seq: f.seq, clock: d.clock}) {
		return false
	}
	// The clock moves after the sequence: its own events may be older.
	d.clocks[f.source] = max(d.clocks[f.source], clock)
	d.advance()
	return true
}

// advance moves the watermark to the slowest live source.
func (d *dispatch) advance() {
	low, any := int64(0), false
	for i, c := range d.clocks {
		if d.live[i] && (!any || c < low) {
			low, any = c, true
		}
	}
	if any {
		d.clock = max(d.clock, low)
		d.counters.clock.Store(d.clock)
	}
}

// barrier ends an epoch.
func (d *dispatch) barrier(ctx context.Context) bool {
	d.epochs++
	d.flying = true
	e := &epoch{n: d.epochs}
	for _, k := range slices.Sorted(maps.Keys(d.positions)) {
		e.changed[state.Positions] = append(e.changed[state.Positions], state.Record{Key: []byte(k), Value: d.positions[k]})
	}
	clear(d.positions)
	d.busy.begin()
	if d.Joiner != nil {
		e.changed[state.Joined] = d.Joiner.Cut()
	}
	if d.Devices != nil {
		e.changed[state.Devices] = d.Devices.Cut()
	}
	if d.Population != nil {
		e.changed[state.Population] = d.Population.Cut()
	}
	d.busy.end()
	return d.send(ctx, item{epoch: e})
}

// last closes what is open, and commits the last epoch.
func (d *dispatch) last(ctx context.Context) {
	if d.Finish && !d.send(ctx, item{finish: true}) {
		return
	}
	if d.Store == nil {
		return
	}
	if d.flying {
		select {
		case <-d.committed:
		case <-ctx.Done():
			return
		}
	}
	d.barrier(ctx)
}

func (d *dispatch) send(ctx context.Context, it item) bool {
	d.n++
	it.n = d.n
	for _, c := range d.inputs {
		select {
		case c <- it:
		case <-ctx.Done():
			return false
		}
	}
	if d.exports == nil {
		return true
	}
	select {
	case d.exports <- it:
		return true
	case <-ctx.Done():
		return false
	}
}
