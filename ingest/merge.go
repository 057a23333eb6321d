package ingest

import (
	"container/heap"
	"context"
	"io"
	"math"
	"sync"

	"tidewatch/event"
	"tidewatch/parsers"
)

const (
	batchEvents = 256
	batchBytes  = 128 << 10
	// cutAfter ends a sequence when so many batches of one file are used up in it,
	// so that a file never waits for its own batches.
	cutAfter = 2
	// sniffLines is how many lines are looked at before a file counts as no log.
	sniffLines = 64
)

// reasonNotALog is the reason for a file that is refused as a whole.
const reasonNotALog parsers.Reason = "not a Zeek or Suricata log"

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
	// overlap.
	Warn func(Refusal)
	// Window is how many batches (of up to 256 records) of each file are put into
	// order at a time; 0 means 3.
	Window int
	// MaxOpen bounds how many files are open at a time; 0 means 32. About 4 MiB
	// each.
	MaxOpen int
}

// Merge interleaves files into one stream, ordered by when the sensor wrote each
// record: the stream that it was live. The order is exact for records that stand
// in a file no further from their place than Window batches, and the same in each
// run: it depends on the files alone. A file is opened when the stream comes to
// its first record.
type Merge struct {
	opts    Options
	ledger  ledger
	waiting []*source // not opened yet, by first record
	opened  []*source
	runs    runHeap
	pools   []event.Pool // of files that have ended
	clock   int64
	seq     uint64 // sequences filled
	peeked  bool
	ctx     context.Context // of the sources' goroutines, until Close
	stop    context.CancelFunc
	done    sync.WaitGroup
}

// NewMerge returns a Merge over files. It opens nothing until Fill.
func NewMerge(files []File, o Options) *Merge {
	if o.Window <= 0 {
		o.Window = 3
	}
	if o.MaxOpen <= 0 {
		o.MaxOpen = 32
	}
	m := &Merge{opts: o, ledger: ledger{warn: o.Warn, deadLetter: o.DeadLetter}}
	m.ctx, m.stop = context.WithCancel(context.Background())
	stdin := false
	for i, f := range files {
		m.waiting = append(m.waiting, &source{merge: m, file: f, rank: i})
		m.ledger.stats.BytesTotal += f.Size
		stdin = stdin || f.Path == Stdin
	}
	if stdin {
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

// source is one file.
type source struct {
	merge  *Merge
	file   File
	rank   int   // breaks ties
	first  int64 // Written of the earliest record in its head
	format Format
	pool   event.Pool
	runs   chan *run // closed at the end of the file
	loaded int       // runs in the heap
	used   int       // batches used up in the present sequence
	usedIn uint64    // which sequence that is
	n      int       // runs received
	ended  bool
}

// run is one batch with its events in order.
type run struct {
	source *source
	batch  *event.Batch
	n      int // of the source's runs
	keys   [batchEvents]int64
	order  [batchEvents]int16
	at     int
	heldIn uint64 // the sequence that holds the batch
}

func (r *run) key() int64 { return r.keys[r.at] }

// before orders two runs by their next events.
func (r *run) before(o *run) bool {
	a, b := r.key(), o.key()
	switch {
	case a != b:
		return a < b
	case r.source != o.source:
		return r.source.rank < o.source.rank
	}
	return r.n < o.n
}

// sort puts the batch's events into order, stably. Logs are nearly in order,
// which is what insertion is good at.
func (r *run) sort() {
	evs := r.batch.Events
	for i := range evs {
		k := evs[i].Written
		j := i
		for j > 0 && r.keys[j-1] > k {
			r.keys[j], r.order[j] = r.keys[j-1], r.order[j-1]
			j--
		}
		r.keys[j], r.order[j] = k, int16(i)
	}
}

// runHeap is a heap of the loaded runs of all open files.
type runHeap []*run

func (h runHeap) Len() int           { return len(h) }
func (h runHeap) Less(i, j int) bool { return h[i].before(h[j]) }
func (h runHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *runHeap) Push(x any)        { *h = append(*h, x.(*run)) }
func (h *runHeap) Pop() any {
	old := *h
	r := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return r
}

// rival returns the run that comes next after the first one, or nil.
func (h runHeap) rival() *run {
	switch {
	case len(h) < 2:
		return nil
	case len(h) == 2 || h[1].before(h[2]):
		return h[1]
	}
	return h[2]
}

// Fill adds the next events to s. It returns io.EOF, perhaps with events, when all
// files are read, and ctx's error when that ends first.
func (m *Merge) Fill(ctx context.Context, s *event.Sequence) error {
	if !m.peeked {
		m.peeked = true
		if err := m.peek(ctx); err != nil {
			return err
		}
	}
	m.seq++
	for len(s.Events) < cap(s.Events) {
		if err := m.load(ctx); err != nil {
			return err
		}
		if len(m.runs) == 0 {
			return io.EOF
		}
		if m.emit(s) {
			break
		}
	}
	s.Clock = m.clock
	return nil
}

// emit moves events from the first run to s, until another run comes first, the
// run is used up, or s is full. It reports whether s should end here.
func (m *Merge) emit(s *event.Sequence) (end bool) {
	r := m.runs[0]
	if r.heldIn != m.seq {
		r.heldIn = m.seq
		s.Hold(r.batch)
	}
	rival := m.runs.rival()
	events := len(r.batch.Events)
	for len(s.Events) < cap(s.Events) && r.at < events && (rival == nil || r.before(rival)) {
		s.Events = append(s.Events, &r.batch.Events[r.order[r.at]])
		m.clock = max(m.clock, r.keys[r.at])
		r.at++
	}
	if r.at < events {
		heap.Fix(&m.runs, 0)
		return false
	}
	heap.Pop(&m.runs)
	r.batch.Release()
	src := r.source
	src.loaded--
	if src.usedIn != m.seq {
		src.used, src.usedIn = 0, m.seq
	}
	src.used++
	return src.used >= cutAfter
}

// load makes sure that each file which can have the next record is open and has
// its window of runs in the heap.
func (m *Merge) load(ctx context.Context) error {
	for {
		for i := 0; i < len(m.opened); i++ {
			src := m.opened[i]
			for !src.ended && src.loaded < m.opts.Window {
				if err := m.receive(ctx, src); err != nil {
					return err
				}
			}
			if src.ended && src.loaded == 0 {
				m.pools = append(m.pools, src.pool)
				m.opened = append(m.opened[:i], m.opened[i+1:]...)
				i--
			}
		}
		if len(m.waiting) == 0 || len(m.opened) >= m.opts.MaxOpen {
			return nil
		}
		next := m.waiting[0]
		if len(m.runs) > 0 && m.runs[0].key() < next.first {
			return nil
		}
		m.waiting = m.waiting[1:]
		m.start(next)
	}
}

func (m *Merge) receive(ctx context.Context, src *source) error {
	select {
	case r, ok := <-src.runs:
		if !ok {
			src.ended = true
			return nil
		}
		src.n++
		r.n = src.n
		src.loaded++
		heap.Push(&m.runs, r)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// start opens a file and begins to read it.
func (m *Merge) start(src *source) {
	if n := len(m.pools); n > 0 {
		src.pool, m.pools = m.pools[n-1], m.pools[:n-1]
	} else {
		// The window, what one sequence uses up, one being filled, and some on
		// their way through the shards.
		src.pool = event.NewPool(m.opts.Window+cutAfter+1+3, batchEvents, batchBytes)
	}
	src.runs = make(chan *run, 1)
	m.opened = append(m.opened, src)
	m.done.Go(func() {
		defer close(src.runs)
		src.read(m.ctx)
	})
}

// peek finds out what each file is, and when it begins. Files that are no logs
// are left out.
func (m *Merge) peek(ctx context.Context) error {
	var logs []*source
	for _, src := range m.waiting {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if src.file.Path == Stdin { // it can be read only once
			src.first = math.MinInt64
			logs = append(logs, src)
			continue
		}
		if src.peek() {
			logs = append(logs, src)
		}
	}
	m.waiting = logs
	sortSources(m.waiting)
	return nil
}
