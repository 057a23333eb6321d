package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"tidewatch/event"
)

const (
	// pollEvery is how often the live edge of a file is looked at.
	pollEvery = 100 * time.Millisecond
	// reorderWait is how long a file that has more to read is waited for, so that its
	// records come in their place among others'.
	reorderWait = 200 * time.Millisecond
	// starveAfter is how long a record can be kept back by older ones of other files.
	starveAfter = 30 * time.Second
	// parcelsAhead is how many batches of one feed are on their way to Fill.
	parcelsAhead = 2
	// batchesHeld ends a sequence: the feeds must never wait for batches that the
	// sequence being filled holds.
	batchesHeld = 16
	// spareInFlight are batches beside those of the feeds: they are in the sequence
	// being filled and on their way through the shards.
	spareInFlight = 4 * batchesHeld
	// maxBatches bounds the memory for batches: to about 1 GiB, with a thousand files
	// that all have a backlog.
	maxBatches = 4096
)

// FollowOptions are what a Follow can be told.
type FollowOptions struct {
	// Enrich completes each event, if not nil. Several goroutines call it.
	Enrich func(*event.Event)
	// Extra names columns for Event.Extra.
	Extra []string
	// DeadLetter gets refused lines as NDJSON, up to 64 MiB of them.
	DeadLetter io.Writer
	// Warn is told the first, the tenth, the hundredth ... refused line of each file
	// and reason. Calls do not overlap. It may call Stats.
	Warn func(Refusal)
	// Log is told what becomes of files; nil for nobody.
	Log *slog.Logger
	// Positions are those of the last commit: all of them.
	Positions []event.Position
}

// Follow makes one endless stream of all inputs: log files that grow, rotate and
// vanish while they are read.
//
// Files that have a backlog are interleaved by when the sensor wrote each record. At
// the live edge records come as they are read, within about a tenth of a second:
// none waits for a file that has nothing new. The order of a file is kept.
//
// Each sequence has, for each file that it has events of, the position just behind
// the last of them. A Follow that is given the committed positions goes on exactly
// there, in whatever file the rest is by then.
type Follow struct {
	opts   FollowOptions
	log    *slog.Logger
	ledger ledger
	inputs []*fileInput
	others []*stream
	ended  chan struct{} // closed when all inputs have ended by themselves
	number atomic.Uint64 // of the last file position's key
	ranks  atomic.Int64

	pool   event.Pool
	made   atomic.Int64 // batches
	active atomic.Int64 // files and streams that hold batches, or may
	ready  chan *parcel

	// What follows is Fill's own.
	feeds   []*feed
	touched []*feed // by the sequence being filled
	removed []string
	added   []event.Position // of files that are no feed's
	seq     uint64
	held    int
	clock   int64
	now     int64
	timer   *time.Timer

	start sync.Once
	ctx   context.Context // of the goroutines, until Close
	stop  context.CancelFunc
	done  sync.WaitGroup
}

// feed is one stream of parcels whose order is kept.
type feed struct {
	key    string // of its position
	rank   int
	number uint64       // of its key: a later one is of a later file
	tokens chan *parcel // that may be filled; nil for one that is to be made
	// valueAt returns the position before event i of a parcel, or behind all of them.
	valueAt func(p *parcel, i int) []byte
	// unsettled counts parcels that are sent and not used up: a position must not be
	// forgotten before them.
	unsettled atomic.Int64

	// Fill's own:
	known   bool
	queue   []*parcel
	behind  bool   // more is to come at once
	late    bool   // was waited for in vain
	touched uint64 // the number of the sequence
	value   []byte // position behind the last parcel that is used up
}

func newFeed(key string, rank int, valueAt func(*parcel, int) []byte) *feed {
	number, _ := fileNumber(key)
	fd := &feed{key: key, rank: rank, number: number, tokens: make(chan *parcel, parcelsAhead), valueAt: valueAt}
	for range parcelsAhead {
		fd.tokens <- nil
	}
	return fd
}

// before decides ties.
func (fd *feed) before(o *feed) bool {
	return fd.rank < o.rank || fd.rank == o.rank && fd.number < o.number
}

// parcel is a batch of one feed, or news of its position alone.
type parcel struct {
	feed   *feed
	batch  *event.Batch
	n, at  int
	heldIn uint64
	since  int64              // Unix nanoseconds when Fill took it
	keys   [batchEvents]int64 // what the order is decided by: never falls within a feed
	line   [batchEvents]int   // numbers of the lines
	behind bool               // the feed has more to read at once
	last   bool               // the feed ends here
	forget bool               // so does its position
	moved  bool               // the position is another one

	end  filePosition // moving part of the position behind the parcel
	rest []byte       // fixed part
	ids  []string     // of entries that are not lines of a file
	// known are positions of files that nobody follows.
	known []event.Position
}

// NewFollow returns a Follow of the inputs. It opens nothing until Fill. The error
// names what is wrong with an input, and positions that cannot be read: to leave
// them out would be to read everything twice.
func NewFollow(inputs []Input, o FollowOptions) (*Follow, error) {
	f := &Follow{opts: o, log: o.Log, pool: make(event.Pool, maxBatches), ready: make(chan *parcel), ended: make(chan struct{})}
	if f.log == nil {
		f.log = slog.New(slog.DiscardHandler)
	}
	f.ledger.warn, f.ledger.deadLetter, f.ledger.repeat = o.Warn, o.DeadLetter, true
	f.ctx, f.stop = context.WithCancel(context.Background())
	var errs []error
	for i := range inputs {
		if err := inputs[i].Check(); err != nil {
			errs = append(errs, fmt.Errorf("input %d: %w", i+1, err))
			continue
		}
		switch in := inputs[i]; in.Type {
		case TypeUnixStream:
			f.others = append(f.others, newStream(f, in, "", serveUnixStream))
		case TypeUnixDatagram:
			f.others = append(f.others, newStream(f, in, "", serveUnixDatagram))
		case TypeStdin:
			in.Path = Stdin
			f.others = append(f.others, newStream(f, in, "", serveStdin))
		case TypeRedisList, TypeRedisStream:
			f.others = append(f.others, newRedis(f, in))
		default:
			f.inputs = append(f.inputs, newFileInput(f, in))
		}
	}
	for _, p := range o.Positions {
		errs = append(errs, f.restore(p))
	}
	return f, errors.Join(errs...)
}

// restore gives a position to the input that it belongs to. One that no input claims
// is left in the store: the input may come back.
func (f *Follow) restore(p event.Position) error {
	n, ok := fileNumber(p.Key)
	if !ok {
		for _, s := range f.others {
			if s.feed.key == p.Key && s.restore != nil {
				if len(p.Value) == 0 || p.Value[0] != entryVersion {
					return fmt.Errorf("position %q: %w", p.Key, errPosition)
				}
				return s.restore(string(p.Value[1:]))
			}
		}
		return nil
	}
	f.number.Store(max(f.number.Load(), n))
	pos, err := parsePosition(p.Value)
	if err != nil {
		return fmt.Errorf("position %q: %w", p.Key, err)
	}
	for _, in := range f.inputs {
		if in.claims(pos.Path) {
			in.remember(p.Key, pos)
			return nil
		}
	}
	return nil
}

// Close ends the goroutines and closes the files. Fill must not run.
func (f *Follow) Close() {
	f.stop()
	f.done.Wait()
	for _, s := range f.others {
		if s.close != nil {
			_ = s.close()
		}
	}
}

// Committed tells inputs that keep what is not acknowledged which positions are
// durable.
func (f *Follow) Committed(ctx context.Context, changed []event.Position) {
	for _, s := range f.others {
		for _, p := range changed {
			if s.committed != nil && p.Key == s.feed.key && len(p.Value) > 0 {
				s.committed(ctx, p.Value[1:])
			}
		}
	}
}

// begin starts the inputs, once.
func (f *Follow) begin() {
	f.start.Do(func() {
		f.timer = time.NewTimer(time.Hour)
		for _, in := range f.inputs {
			f.done.Go(func() { in.run(f.ctx) })
		}
		var others sync.WaitGroup
		for _, s := range f.others {
			others.Go(func() { s.run(f.ctx) })
		}
		f.done.Go(func() {
			others.Wait()
			if len(f.inputs) == 0 {
				close(f.ended)
			}
		})
	})
}

// Fill waits for events and adds those that are there to s, and sets its Clock and
// Positions. It returns ctx's error when that ends, and io.EOF when standard input
// was all there is and has ended; the events in s count all the same. A sequence may have positions alone.
//
// The batches that events lie in return to the pool when s is released. Fill may
// wait for sequences that were filled before, never for s.
func (f *Follow) Fill(ctx context.Context, s *event.Sequence) error {
	f.begin()
	f.seq++
	f.held, f.touched = 0, f.touched[:0]
	f.now = time.Now().UnixNano()
	err := f.fill(ctx, s)
	s.Clock = f.clock
	for _, fd := range f.touched {
		v := fd.value
		if len(fd.queue) > 0 && fd.queue[0].at > 0 {
			v = fd.valueAt(fd.queue[0], fd.queue[0].at)
		}
		s.Positions = append(s.Positions, event.Position{Key: fd.key, Value: v})
	}
	for _, key := range f.removed {
		s.Positions = append(s.Positions, event.Position{Key: key})
	}
	s.Positions = append(s.Positions, f.added...)
	f.removed, f.added = f.removed[:0], nil
	return err
}

func (f *Follow) fill(ctx context.Context, s *event.Sequence) error {
	for len(s.Events) < cap(s.Events) && f.held < batchesHeld {
		if err := ctx.Err(); err != nil {
			return err
		}
		f.collect()
		if fd := f.missing(); fd != nil {
			if err := f.wait(ctx, fd); err != nil {
				return err
			}
			continue
		}
		top, limit := f.lowest()
		if top != nil {
			f.emit(s, top, limit)
			continue
		}
		if len(s.Events) > 0 || len(f.touched) > 0 || len(f.removed)+len(f.added) > 0 {
			return nil
		}
		select {
		case p := <-f.ready:
			f.now = time.Now().UnixNano()
			f.take(p)
		case <-f.ended:
			return io.EOF
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// collect takes all parcels that are ready.
func (f *Follow) collect() {
	for {
		select {
		case p := <-f.ready:
			f.take(p)
		default:
			return
		}
	}
}

// take takes one parcel.
func (f *Follow) take(p *parcel) {
	fd := p.feed
	if fd == nil { // not of a feed: positions that are to be forgotten, or known
		f.removed = append(f.removed, p.ids...)
		f.added = append(f.added, p.known...)
		return
	}
	if !fd.known {
		fd.known = true
		f.feeds = append(f.feeds, fd)
	}
	p.since = f.now
	fd.behind, fd.late = p.behind, false
	fd.queue = append(fd.queue, p)
	f.settle(fd)
}

// settle takes what is used up from the front of a feed's queue.
func (f *Follow) settle(fd *feed) {
	for len(fd.queue) > 0 && fd.queue[0].at == fd.queue[0].n {
		p := fd.queue[0]
		fd.queue = slices.Delete(fd.queue, 0, 1)
		if p.moved || p.n > 0 {
			fd.value = fd.valueAt(p, p.n)
			if p.forget {
				fd.value = nil
			}
			if fd.key != "" {
				f.touch(fd)
			}
		}
		if p.batch != nil {
			p.batch.Release()
		}
		fd.unsettled.Add(-1)
		if p.last {
			f.active.Add(-1)
		}
		if p.last && len(fd.queue) == 0 {
			f.feeds = slices.DeleteFunc(f.feeds, func(o *feed) bool { return o == fd })
			fd.known = false
		}
		p.batch, p.rest, p.ids, p.n, p.at, p.heldIn = nil, nil, nil, 0, 0, 0
		fd.tokens <- p // has room: it came from there
	}
}

func (f *Follow) touch(fd *feed) {
	if fd.touched != f.seq {
		fd.touched = f.seq
		f.touched = append(f.touched, fd)
	}
}

// missing returns a feed whose next record is not here but certain to come.
func (f *Follow) missing() *feed {
	for _, fd := range f.feeds {
		if fd.behind && !fd.late && len(fd.queue) == 0 {
			return fd
		}
	}
	return nil
}

// wait waits for any parcel while fd is missing. A disk that hangs holds others up
// once.
func (f *Follow) wait(ctx context.Context, fd *feed) error {
	f.timer.Reset(reorderWait)
	select {
	case p := <-f.ready:
		f.take(p)
	case <-f.timer.C:
		fd.late = true
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// lowest returns the feed whose next record comes first, and the key of the one that
// comes second: nil if there is no record. A record that has waited too long comes
// before all, and limit is math.MinInt64 then.
func (f *Follow) lowest() (top *feed, limit int64) {
	limit = math.MaxInt64
	best := int64(math.MaxInt64)
	for _, fd := range f.feeds {
		if len(fd.queue) == 0 {
			continue
		}
		p := fd.queue[0]
		if f.now-p.since > int64(starveAfter) {
			return fd, math.MinInt64
		}
		k := p.keys[p.at]
		if top == nil || k < best || k == best && fd.before(top) {
			top, limit, best = fd, best, k
		} else {
			limit = min(limit, k)
		}
	}
	return top, limit
}

// emit moves records of a feed's first parcel to s until another's come first.
func (f *Follow) emit(s *event.Sequence, fd *feed, limit int64) {
	p := fd.queue[0]
	if p.heldIn != f.seq {
		p.heldIn = f.seq
		s.Hold(p.batch)
		f.held++
	}
	starved := limit == math.MinInt64
	evs, out, at := p.batch.Events, s.Events, p.at
	for at < p.n && len(out) < cap(out) && (p.keys[at] <= limit || starved) {
		out = append(out, &evs[at])
		at++
	}
	// One that others would have to come before does not take the clock along.
	if !starved && at > p.at {
		f.clock = max(f.clock, p.keys[at-1])
	}
	s.Events, p.at = out, at
	if fd.key != "" {
		f.touch(fd)
	}
	f.settle(fd)
}

// need is how many batches there may be.
func (f *Follow) need() int64 { return min(parcelsAhead*f.active.Load()+spareInFlight, maxBatches) }

// trim lets go of batches that were made for more files than there are now.
func (f *Follow) trim() {
	for f.made.Load() > f.need() {
		select {
		case <-f.pool:
			f.made.Add(-1)
		default:
			return
		}
	}
}

// batch returns an empty batch. It makes as many as the feeds need.
func (f *Follow) batch(ctx context.Context) *event.Batch {
	select {
	case b := <-f.pool:
		return b
	default:
	}
	if n := f.made.Add(1); n <= f.need() {
		return event.NewBatch(f.pool, batchEvents, batchBytes)
	}
	f.made.Add(-1)
	select {
	case b := <-f.pool:
		return b
	case <-ctx.Done():
		return nil
	}
}

// send hands a parcel to Fill.
func (f *Follow) send(ctx context.Context, p *parcel) bool {
	if p.feed != nil {
		p.feed.unsettled.Add(1)
	}
	select {
	case f.ready <- p:
		return true
	case <-ctx.Done():
		return false
	}
}

// know makes positions known to the store.
func (f *Follow) know(ctx context.Context, positions []event.Position) {
	f.send(ctx, &parcel{known: positions})
}

// forget removes positions from the store.
func (f *Follow) forget(ctx context.Context, keys ...string) {
	if len(keys) > 0 {
		f.send(ctx, &parcel{ids: keys})
	}
}
