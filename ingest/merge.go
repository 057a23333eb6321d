package ingest

import (
	"cmp"
	"context"
	"encoding/binary"
	"io"
	"math"
	"slices"
	"sync"
	"time"

	"tidewatch/event"
)

const (
	defaultWindow  = 4
	minWindow      = 3
	defaultMaxOpen = 64
	// cutAfter ends a sequence when it has used up so many batches of one slot: a
	// file must never wait for batches that the sequence being filled holds.
	cutAfter = 2
	// lateRows is how far ahead of the middle of later records one on time may be, in
	// nanoseconds: in a log of connections most may be of datagrams, which Zeek writes
	// a minute after their last packet.
	lateRows = int64(2 * time.Minute)
	// spareBatches are on their way through the shards while the window is loaded
	// and another one is filled, for all files together; each has at least one.
	spareBatches = 8
	maxSpare     = 8
	// manyFiles halves the batches' memory, so that MaxOpen files take about
	// 110 MiB.
	manyFiles = 32
)

// Options are what a Merge can be told. The zero Options read everything.
type Options struct {
	// Enrich completes each event, if not nil. Several goroutines call it.
	Enrich func(*event.Event)
	// Since and Until bound Event.Time: Unix nanoseconds, 0 for no bound. Until
	// itself is out.
	Since, Until int64
	// Extra names columns for Event.Extra.
	Extra []string
	// DeadLetter gets refused lines as NDJSON, up to 64 MiB of them.
	DeadLetter io.Writer
	// Warn is told the first refused line of each file and reason. Calls do not
	// overlap. It may call Stats.
	Warn func(Refusal)
	// Window is how many batches (of up to 256 records) of each file are put into
	// order at a time; 0 means 4, the least is 3.
	Window int
	// MaxOpen bounds how many files are open at a time; 0 means 64. An open file
	// takes about 2 MiB. A .zst with a large window counts as several.
	MaxOpen int
}

// Merge interleaves files into one stream, ordered by when the sensor wrote each
// record (Event.Written): the stream that it was live.
//
// The order is the same in each run: it depends on the files alone. It is exact
// where no record of a file stands behind another one that was written later, and
// further behind it than Window-2 batches; a record that is later than that comes
// as soon as it is read. A record that is far ahead of its neighbours (a sensor's
// clock gone wrong) waits for the others, but for no more than Window batches of
// its own file, and does not take the stream's clock along then.
//
// A file is opened when the stream comes to its first record. Ties are broken by
// path, then by place in the file. Of more files than MaxOpen at a time, those that
// begin last wait for others to end.
type Merge struct {
	opts    Options
	ledger  ledger
	waiting []*source // not opened yet, by their first record
	short   *source   // may lack runs in its window
	open    int       // cost of open files
	heap    heap
	idle    []*slot
	spare   int // batches of a slot beyond the window and the one being filled
	bytes   int // of a batch
	seq     uint64
	clock   int64
	ends    []event.Position
	peeked  bool

	ctx  context.Context // of the sources' goroutines, until Close
	stop context.CancelFunc
	done sync.WaitGroup
}

// NewMerge returns a Merge over files, in whatever order they are. It opens nothing
// until Fill.
func NewMerge(files []File, o Options) *Merge {
	if o.Window == 0 {
		o.Window = defaultWindow
	}
	o.Window = max(o.Window, minWindow)
	if o.MaxOpen <= 0 {
		o.MaxOpen = defaultMaxOpen
	}
	m := &Merge{opts: o}
	m.ledger.warn, m.ledger.deadLetter = o.Warn, o.DeadLetter
	m.ctx, m.stop = context.WithCancel(context.Background())
	files = slices.Clone(files)
	sortFiles(files)
	stream := false
	for i, f := range files {
		m.waiting = append(m.waiting, &source{merge: m, file: f, rank: i})
		m.ledger.stats.BytesTotal += f.Size
		stream = stream || f.Stream
	}
	if stream {
		m.ledger.stats.BytesTotal = 0
	}
	return m
}

// Stats returns what has been read so far. It may be called at any time.
func (m *Merge) Stats() Stats { return m.ledger.snapshot() }

// Close ends the goroutines and closes the files. Fill must not run.
func (m *Merge) Close() {
	m.stop()
	m.done.Wait()
}

// Fill adds the next events to s, up to its capacity, and sets its Clock. It
// returns io.EOF, perhaps with events, when all files are read: then Positions says
// where each of them ended. It returns ctx's error when that ends first; the events
// in s count all the same.
//
// The batches that events lie in return to their files when s is released. Fill
// may wait for sequences that were filled before, never for s.
func (m *Merge) Fill(ctx context.Context, s *event.Sequence) error {
	if err := m.peek(ctx); err != nil {
		return err
	}
	m.seq++
	err := m.fill(ctx, s)
	s.Clock = m.clock
	if err == io.EOF {
		s.Positions = append(s.Positions, m.ends...)
	}
	return err
}

func (m *Merge) fill(ctx context.Context, s *event.Sequence) error {
	for len(s.Events) < cap(s.Events) {
		if err := m.ready(ctx); err != nil {
			return err
		}
		if len(m.heap) == 0 {
			return io.EOF
		}
		r := m.emit(s)
		if r.at < r.n {
			m.heap[0].key = r.keys[r.at]
			m.heap.down()
			m.slide(r)
		} else if m.usedUp(r) {
			break
		}
	}
	return ctx.Err()
}

// ready loads what the last emission left short, and opens the files that are due.
func (m *Merge) ready(ctx context.Context) error {
	if m.short != nil {
		if err := m.load(ctx, m.short); err != nil {
			return err
		}
		m.short = nil
	}
	for m.canOpen() && (len(m.heap) == 0 || m.waiting[0].first <= m.heap[0].key) {
		m.short, m.waiting = m.waiting[0], m.waiting[1:]
		m.start(m.short)
		if err := m.load(ctx, m.short); err != nil {
			return err
		}
		m.short = nil
	}
	return nil
}

func (m *Merge) canOpen() bool {
	return len(m.waiting) > 0 && (m.open == 0 || m.open+m.waiting[0].cost <= m.opts.MaxOpen)
}

// start opens a file and begins to read it.
func (m *Merge) start(src *source) {
	m.open += src.cost
	if n := len(m.idle); n > 0 {
		src.slot, m.idle = m.idle[n-1], m.idle[:n-1]
	} else {
		src.slot = newSlot(m.opts.Window+1+m.spare, m.bytes)
	}
	src.runs = make(chan *run, 1)
	m.done.Go(func() {
		defer close(src.runs)
		src.read(m.ctx)
	})
}

// load fills a file's window, and forgets the file if it has ended and all of it
// is used up.
func (m *Merge) load(ctx context.Context, src *source) error {
	for !src.ended && len(src.loaded) < m.opts.Window {
		select {
		case r, ok := <-src.runs:
			if !ok {
				src.ended = true
				continue
			}
			src.received++
			r.number = src.received
			src.loaded = append(src.loaded, r)
			m.heap.push(head{key: r.keys[0], tie: uint64(src.rank)<<40 | uint64(r.number), run: r})
			if old := src.loaded[0]; r.number-old.number >= m.opts.Window {
				m.due(old, r)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if src.ended && len(src.loaded) == 0 {
		m.idle = append(m.idle, src.slot)
		m.open -= src.cost
		m.ends = append(m.ends, event.Position{Key: src.file.Path, Value: binary.LittleEndian.AppendUint64(nil, uint64(src.end))})
	}
	return nil
}

// emit moves events from the top run to s, until another run or a file comes
// first, the run is used up, or s is full.
func (m *Merge) emit(s *event.Sequence) *run {
	top := &m.heap[0]
	r := top.run
	if r.heldIn != m.seq {
		r.heldIn = m.seq
		s.Hold(r.batch)
	}
	// The run may go on up to limit, and at limit if it wins the tie.
	limit, wins := int64(math.MaxInt64), true
	if next := m.heap.second(); next != nil {
		limit, wins = next.key, top.tie < next.tie
	}
	if m.canOpen() && m.waiting[0].first <= limit {
		limit, wins = m.waiting[0].first, false
	}
	evs, out, at := r.batch.Events, s.Events, r.at
	keys := r.keys[:r.n]
	for at < len(keys) && len(out) < cap(out) && (keys[at] < limit || keys[at] == limit && wins) {
		out = append(out, &evs[r.order[at]])
		at++
	}
	if at > r.at {
		m.clock = max(m.clock, keys[at-1])
	}
	s.Events, r.at = out, at
	return r
}

// slide moves a file's window on when the newest of its runs is half used and none
// is used up: then the oldest waits for a time that its file has not come to.
func (m *Merge) slide(r *run) {
	loaded := r.source.loaded
	if len(loaded) == m.opts.Window && loaded[len(loaded)-1] == r && 2*r.at >= r.n {
		m.due(loaded[0], r)
	}
}

// due moves what is left of a run to the middle of a newer one of its file, if it is
// much later than that: its time is wrong, and must not become the stream's.
func (m *Merge) due(r, newer *run) {
	latest := newer.keys[newer.n/2]
	if r.keys[r.n-1] <= latest+lateRows {
		return
	}
	for i := r.n - 1; i >= r.at && r.keys[i] > latest; i-- {
		r.keys[i] = latest
	}
	i := slices.IndexFunc(m.heap, func(h head) bool { return h.run == r })
	m.heap[i].key = r.keys[r.at]
	m.heap.up(i)
}

// usedUp takes the top run out of the heap, when it has no events left. It reports
// whether the present sequence must end here: the file's next run may have to wait
// for the batches that this sequence holds.
func (m *Merge) usedUp(r *run) (full bool) {
	m.heap.pop()
	src := r.source
	src.loaded = slices.DeleteFunc(src.loaded, func(o *run) bool { return o == r })
	r.batch.Release()
	r.batch = nil
	slot := src.slot
	slot.free <- r
	if slot.usedIn != m.seq {
		slot.used, slot.usedIn = 0, m.seq
	}
	slot.used++
	m.short = src
	return slot.used >= cutAfter
}

// peek finds out what each file is and when it begins. Files that are no logs are
// left out.
func (m *Merge) peek(ctx context.Context) error {
	if m.peeked {
		return nil
	}
	var logs []*source
	p := newPeeker(m.opts.Window)
	for _, src := range m.waiting {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if p.peek(ctx, src) {
			logs = append(logs, src)
		}
	}
	slices.SortStableFunc(logs, func(a, b *source) int { return cmp.Compare(a.first, b.first) })
	m.waiting, m.peeked = logs, true
	m.spare = min(max(spareBatches/max(len(logs), 1), 1), maxSpare)
	m.bytes = batchBytes
	if len(logs) > manyFiles {
		m.bytes /= 2
	}
	return nil
}
