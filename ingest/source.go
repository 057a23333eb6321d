package ingest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"slices"
	"sync/atomic"

	"tidewatch/event"
	"tidewatch/parsers"
)

func sortSources(s []*source) {
	slices.SortStableFunc(s, func(a, b *source) int {
		switch {
		case a.first < b.first:
			return -1
		case a.first > b.first:
			return 1
		}
		return a.rank - b.rank
	})
}

// peek reads the head of a file. It reports whether the file is a log.
func (src *source) peek() bool {
	l := &src.merge.ledger
	var ignored atomic.Int64 // the head is read again
	in, err := open(src.file.Path, &ignored)
	if err != nil {
		src.refuseFile(parsers.Reason("cannot be read: " + reason(err)))
		return false
	}
	defer in.Close()
	lines := NewLines(in, func(parsers.Reason, []byte) {})
	var p parsers.Parser
	b := event.NewBatch(nil, sniffLines, batchBytes)
	src.first = math.MaxInt64
	empty := true
	for range sniffLines {
		line, err := lines.Next()
		if err != nil {
			break
		}
		empty = empty && len(line) == 0
		if p == nil {
			if src.format = Sniff(line); src.format == FormatUnknown {
				continue
			}
			p = src.format.parser(parsers.Options{})
		}
		ev, own := b.Add(line)
		if ev == nil {
			break
		}
		if p.Parse(b, ev, own) == nil {
			src.first = min(src.first, ev.Written)
		}
	}
	if p == nil {
		if src.file.Named && !empty {
			src.refuseFile(reasonNotALog)
		} else if !empty {
			l.skip("files that are no logs")
		}
		return false
	}
	if src.first == math.MaxInt64 { // the head has no record: it may begin at any time
		src.first = math.MinInt64
	}
	return true
}

// refuseFile refuses a file as a whole.
func (src *source) refuseFile(r parsers.Reason) {
	src.merge.ledger.refuse(src.file.Path, r, 0, 0, nil)
	src.merge.ledger.read.Add(src.file.Size)
}

// reason returns an error's words without the path that the message has anyway.
func reason(err error) string {
	for {
		u := errors.Unwrap(err)
		if u == nil {
			return err.Error()
		}
		err = u
	}
}

// read parses the file into runs, until its end or ctx's.
func (src *source) read(ctx context.Context) {
	m := src.merge
	in, err := open(src.file.Path, &m.ledger.read)
	if err != nil {
		src.refuseFile(parsers.Reason("cannot be read: " + reason(err)))
		return
	}
	defer in.Close()
	r := &reader{source: src, ledger: &m.ledger}
	r.lines = NewLines(in, func(why parsers.Reason, line []byte) {
		r.ledger.refuse(src.file.Path, why, r.lines.Number, r.lines.Offset, line)
	})
	for more := true; more; {
		var b *event.Batch
		select {
		case b = <-src.pool:
		case <-ctx.Done():
			return
		}
		more = r.fill(ctx, b)
		if len(b.Events) == 0 {
			b.Release()
			continue
		}
		u := &run{source: src, batch: b}
		u.sort()
		select {
		case src.runs <- u:
		case <-ctx.Done():
			b.Release()
			return
		}
	}
}

// reader parses one file.
type reader struct {
	*source
	ledger  *ledger
	lines   *Lines
	parser  parsers.Parser
	pending []byte // a line that did not fit the last batch
	counts  counts
	unknown int // lines before the format was known
}

// fill parses lines into b until it is full. It reports whether there are more.
func (r *reader) fill(ctx context.Context, b *event.Batch) (more bool) {
	defer r.ledger.addRun(&r.counts)
	for n := 0; ; n++ {
		if n&1023 == 1023 && ctx.Err() != nil { // lines that give no event fill no batch
			return false
		}
		line := r.pending
		if line == nil {
			var err error
			if line, err = r.lines.Next(); err != nil {
				r.end(err)
				return false
			}
		}
		if r.parser == nil && !r.sniff(line) {
			if r.unknown > sniffLines {
				return false
			}
			continue
		}
		ev, own := b.Add(line)
		if ev == nil {
			r.pending = line
			return true
		}
		r.pending = nil
		r.parse(b, ev, own)
	}
}

// sniff finds the parser by the first line that tells.
func (r *reader) sniff(line []byte) bool {
	f := Sniff(line)
	if f == FormatUnknown {
		if r.unknown++; r.unknown > sniffLines {
			r.ledger.refuse(r.file.Path, reasonNotALog, 0, 0, nil)
		}
		return false
	}
	r.format = f
	r.parser = f.parser(parsers.Options{Extra: r.merge.opts.Extra})
	r.ledger.mu.Lock()
	r.ledger.stats.Files++
	r.ledger.stats.Formats[f]++
	r.ledger.mu.Unlock()
	return true
}

// parse turns the line that was added last into an event, or drops it.
func (r *reader) parse(b *event.Batch, ev *event.Event, line []byte) {
	err := r.parser.Parse(b, ev, line)
	if err != nil {
		r.drop(b, line, err)
		return
	}
	o := &r.merge.opts
	if o.Since != 0 && ev.Time < o.Since || o.Until != 0 && ev.Time >= o.Until {
		r.counts.outOfRange++
		b.Drop()
		return
	}
	ev.Source, ev.Offset = r.rank, r.lines.Offset
	if o.Enrich != nil {
		o.Enrich(ev)
	}
	c := &r.counts
	c.kinds[ev.Kind]++
	if c.first == 0 || ev.Time < c.first {
		c.first = ev.Time
	}
	c.last = max(c.last, ev.End)
}

func (r *reader) drop(b *event.Batch, line []byte, err error) {
	defer b.Drop()
	switch err := err.(type) {
	case *parsers.Skip:
		r.ledger.skip(err.Name)
	case parsers.Reason:
		// The parser may have written to its copy; Raw is what it was given, and
		// the block still has the line itself.
		r.ledger.refuse(r.file.Path, err, r.lines.Number, r.lines.Offset, bytes.Clone(line))
	}
}

// end says why a file ended, if not by being read to its end.
func (r *reader) end(err error) {
	switch {
	case err == io.EOF:
		if r.parser == nil && r.unknown > 0 && r.unknown <= sniffLines {
			r.ledger.refuse(r.file.Path, reasonNotALog, 0, 0, nil)
		}
	case errors.Is(err, io.ErrUnexpectedEOF):
		r.ledger.refuse(r.file.Path, "the compressed file is cut off here; what stands before it was read", r.lines.Number+1, r.lines.at, nil)
	default:
		r.ledger.refuse(r.file.Path, parsers.Reason("reading stopped: "+reason(err)), r.lines.Number+1, r.lines.at, nil)
	}
}
