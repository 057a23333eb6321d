package ingest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"os"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"

	"tidewatch/event"
	"tidewatch/parsers"
)

const (
	// sniffSize is how many bytes decide what a file is.
	sniffSize = 64 << 10
	// peekBlock is how much is read at once to find out when a file begins, in
	// bytes.
	peekBlock = 64 << 10
)

// source is one file.
type source struct {
	merge    *Merge
	file     File
	rank     int   // among all files, by path
	first    int64 // Written of the earliest record in its head; math.MinInt64 if not known
	cost     int   // of having it open, in files
	slot     *slot
	runs     chan *run // closed at the end of the file
	loaded   []*run    // in the heap, in the file's order
	received int       // runs
	ended    bool
	end      int64 // offset of the file's end; set before runs is closed
}

// slot is what reading a file needs. A file that ends leaves it to another.
type slot struct {
	pool  event.Pool
	free  chan *run
	lines Lines
	input input
	// used counts the batches that the sequence number usedIn has used up.
	used   int
	usedIn uint64
}

func newSlot(batches, bytes int) *slot {
	s := &slot{pool: event.NewPool(batches, batchEvents, bytes), free: make(chan *run, batches)}
	for range batches {
		s.free <- &run{}
	}
	return s
}

// peeker finds out, for one file after another, what it is and when it begins.
type peeker struct {
	lines   Lines
	input   input
	batch   *event.Batch
	records int // how many say when a file begins
}

// newPeeker returns a peeker that looks as far as the order of a window is exact:
// what stands first in a log need not be its earliest record.
func newPeeker(window int) *peeker {
	return &peeker{lines: Lines{block: peekBlock}, batch: event.NewBatch(nil, batchEvents, peekBlock), records: (window - 2) * batchEvents}
}

// peek reads the head of a file. It reports whether the file is a log, and says
// what else it is where somebody may want to know.
func (p *peeker) peek(ctx context.Context, src *source) bool {
	src.first, src.cost = math.MinInt64, 1
	switch {
	case src.file.err != nil:
		src.refuseFile(cannotRead(src.file.err))
		return false
	case src.file.Stream: // it can be read only once
		return true
	}
	defer p.input.close()
	var ignored atomic.Int64 // the head is read again
	r, err := p.input.open(ctx, src.file, &ignored)
	if err != nil {
		src.refuseFile(cannotRead(err))
		return false
	}
	src.cost += int(p.input.window >> 21) // 2 MiB are what a file takes anyway
	p.lines.Reset(r, func(parsers.Reason, []byte) {})
	f := sniff(&p.lines)
	if f == FormatUnknown {
		src.stranger(&p.lines)
		return false
	}
	src.first = p.begin(f.parser(parsers.Options{}))
	return true
}

// begin returns the earliest Written of the first records.
func (p *peeker) begin(parser parsers.Parser) int64 {
	defer p.batch.Release()
	first := int64(math.MaxInt64)
	for n, lines := 0, 0; n <= p.records && lines < 2*p.records; lines++ {
		line, err := p.lines.Next()
		if err != nil {
			break
		}
		ev, own := p.batch.Add(line)
		if ev == nil { // full: nothing of it is kept
			p.batch.Release()
			ev, own = p.batch.Add(line)
		}
		if parser.Parse(p.batch, ev, own) != nil {
			p.batch.Drop()
			continue
		}
		first = min(first, ev.Written)
		n++
	}
	if first == math.MaxInt64 {
		return math.MinInt64
	}
	return first
}

// sniff says what l's lines are, without giving one out.
func sniff(l *Lines) Format {
	for {
		head, _ := l.Rest()
		head = head[:min(len(head), sniffSize)]
		if f := Sniff(head); f != FormatUnknown {
			return f
		}
		if len(head) == sniffSize || !l.more() {
			return FormatUnknown
		}
	}
}

// stranger refuses a file that is no log, or counts it where nobody named it.
func (src *source) stranger(l *Lines) {
	head, _ := l.Rest()
	if l.err != nil && l.err != io.EOF {
		src.refuseFile(cannotRead(l.err))
		return
	}
	if len(bytes.TrimSpace(head)) == 0 {
		src.merge.ledger.read.Add(src.file.Size)
		return
	}
	why, packed := notALog(head)
	if src.file.Named || packed {
		src.refuseFile(why)
		return
	}
	src.merge.ledger.stranger()
	src.merge.ledger.read.Add(src.file.Size)
}

// refuseFile refuses a file as a whole.
func (src *source) refuseFile(why parsers.Reason) {
	src.merge.ledger.refuse(src.file.Path, why, 0, 0, nil)
	src.merge.ledger.read.Add(src.file.Size)
}

func cannotRead(err error) parsers.Reason {
	return parsers.Reason("cannot be read: " + words(err))
}

// words returns an error's words without the path, which a message has anyway.
func words(err error) string {
	var pe *os.PathError
	switch {
	case errors.As(err, &pe):
		return pe.Err.Error()
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "the compressed data is cut off"
	case errors.Is(err, zstd.ErrWindowSizeExceeded):
		return "compressed with a window above 8 MiB (zstd --long or --ultra): unpack it"
	}
	return err.Error()
}

// read parses the file into runs, until its end or ctx's.
func (src *source) read(ctx context.Context) {
	in, l := &src.slot.input, &src.slot.lines
	ledger := &src.merge.ledger
	defer in.close()
	stream, err := in.open(ctx, src.file, &ledger.read)
	if err != nil {
		if ctx.Err() == nil {
			src.refuseFile(cannotRead(err))
		}
		return
	}
	l.Reset(stream, func(why parsers.Reason, line []byte) {
		ledger.refuse(src.file.Path, why, l.Number, l.Offset, line)
	})
	f := sniff(l)
	if ctx.Err() != nil {
		return
	}
	if f == FormatUnknown { // a Stream, or a file that is not what it was
		src.stranger(l)
		return
	}
	ledger.file(f)
	r := reader{source: src, lines: l, parser: f.parser(parsers.Options{Extra: src.merge.opts.Extra})}
	src.send(ctx, &r)
	rest, at := l.Rest()
	src.end = at + int64(len(rest))
	if src.file.Size > in.counted.n && ctx.Err() == nil {
		ledger.read.Add(src.file.Size - in.counted.n) // what a broken file has left
	}
}

// send fills run after run and hands them to Merge.
func (src *source) send(ctx context.Context, r *reader) {
	for more := true; more; {
		var b *event.Batch
		select {
		case b = <-src.slot.pool:
		case <-ctx.Done():
			return
		}
		more = r.fill(ctx, b)
		if len(b.Events) == 0 {
			b.Release()
			continue
		}
		var u *run
		select {
		case u = <-src.slot.free:
		case <-ctx.Done():
			b.Release()
			return
		}
		u.source = src
		u.load(b)
		select {
		case src.runs <- u:
		case <-ctx.Done():
			b.Release()
			return
		}
	}
}

// reader parses the lines of one file.
type reader struct {
	*source
	lines   *Lines
	parser  parsers.Parser
	pending []byte // a line that did not fit into the last batch
	counts  counts
}

// fill parses lines into b until it is full. It reports whether there are more.
func (r *reader) fill(ctx context.Context, b *event.Batch) (more bool) {
	defer r.merge.ledger.add(&r.counts)
	for n := 0; ; n++ {
		if n&4095 == 4095 { // lines that give no event fill no batch
			r.merge.ledger.add(&r.counts)
			if ctx.Err() != nil {
				return false
			}
		}
		line := r.pending
		if line == nil {
			var err error
			if line, err = r.lines.Next(); err != nil {
				r.stop(ctx, err)
				return false
			}
		}
		ev, own := b.Add(line)
		if ev == nil {
			r.pending = line
			return true
		}
		r.pending = nil
		r.parse(b, ev, own, line)
	}
}

// parse turns the line that was added last into an event, or drops it. line is
// what the parser's own copy was before it was parsed.
func (r *reader) parse(b *event.Batch, ev *event.Event, own, line []byte) {
	if err := r.parser.Parse(b, ev, own); err != nil {
		r.refuse(err, line)
		b.Drop()
		return
	}
	o := &r.merge.opts
	if o.Since != 0 && ev.Time < o.Since || o.Until != 0 && ev.Time >= o.Until {
		r.counts.outOfRange++
		b.Drop()
		return
	}
	ev.Source, ev.Offset = int32(r.rank), r.lines.Offset
	if o.Enrich != nil {
		o.Enrich(ev)
	}
	r.counts.event(ev)
}

// refuse counts a line that gave no event.
func (r *reader) refuse(err error, line []byte) {
	switch err := err.(type) {
	case *parsers.Skip:
		if !r.counts.skip(err.Name) {
			r.merge.ledger.add(&r.counts)
			r.counts.skip(err.Name)
		}
	case parsers.Reason:
		r.merge.ledger.refuse(r.file.Path, err, r.lines.Number, r.lines.Offset, line)
	}
}

// stop says why a file ended, if not at its end.
func (r *reader) stop(ctx context.Context, err error) {
	if err == io.EOF || ctx.Err() != nil {
		return
	}
	why := parsers.Reason("reading stopped here: " + words(err))
	rest, at := r.lines.Rest()
	r.merge.ledger.refuse(r.file.Path, why, r.lines.breaks+1, at+int64(len(rest)), rest)
}
