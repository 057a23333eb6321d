package ingest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"sync/atomic"
	"time"

	"tidewatch/event"
	"tidewatch/parsers"
	"tidewatch/parsers/zeek"
)

const (
	// followBlock is how much of a followed file is read at once, in bytes.
	followBlock = 64 << 10
	// parkAfter is how long a file that a pattern matched can be idle before it is
	// closed. It is opened again when it has grown.
	parkAfter = 10 * time.Minute
	// orphanAfter is for how long a file is held open that has no name any more, no
	// successor and nothing new: its writer may still have it open, and its blocks on
	// disk cannot be freed.
	orphanAfter = 15 * time.Minute
	// abandonAfter is the same for one that has another name.
	abandonAfter = time.Hour
	lingerZeek   = 3 * time.Second
	lingerOther  = time.Minute
	// retryAfter is how long to wait after a read that failed.
	retryAfter = time.Second
)

var (
	errEdge      = errors.New("all that is written has been read")
	errTruncated = errors.New("the file was cut off and written anew")
)

// fate is what the supervisor knows of a file's path.
type fate = int32

const (
	present  fate = iota // it leads to the file
	gone                 // it leads nowhere
	replaced             // it leads to another file
)

// ignore is told of lines that another reader refuses again.
func ignore(parsers.Reason, []byte) {}

var noOptions parsers.Options

// outcome is why a generation is no longer followed.
type outcome uint8

const (
	running   outcome = iota
	finished          // rotated away, and read to its end
	parked            // idle
	truncated         // its content is another one
	broken            // it cannot be read any more
	stopped           // Follow was closed
)

// generation is one file of a trail: one goroutine follows it from where it was left
// until it is rotated away and read to its end.
//
// A backlog is read in blocks. Once that has come to the edge of what is written, a
// tailer takes over at exactly that byte, and hands back, at the byte behind the last
// line that it gave, whenever there is anything but a next whole line of a growing
// file: a hole, a line that is too long, a backlog, a rotation. Before lines are
// given on, the head of the file is read again: if it is another one, the lines may
// be those of another file, and are left out.
type generation struct {
	trail *trail
	feed  *feed
	path  string // where it was found; a reason to say it is all this is for
	file  *os.File
	id    identity
	head  beginning

	pos    filePosition // of what is sent or in batch
	fixed  []byte       // its fixed part, as stored; nil if that has changed
	parser parsers.Parser
	tsv    *zeek.TSV // parser, if it has a header
	lines  Lines
	readAt int64 // of the next block
	said   bool  // that more is to come at once
	moved  bool  // the position, since a parcel had it
	fresh  bool  // lines of the batch came without a look at the head
	high   int64 // greatest key
	grown  time.Time
	was    fate // when it was polled last
	stat   stat
	tried  int64   // 1 + the offset behind which something was to be read last; 0: none
	parcel *parcel // being filled
	counts counts
	opened stat // when it was opened
	old    bool // nobody had written to it for long then, nor has since
	noTail bool // a tailer could not follow it
	packed bool // compressed: it is over, and read as a stream

	fate      atomic.Int32
	kick      chan struct{} // wakes the follower: the fate has changed
	started   bool          // the supervisor's, as turned
	turned    bool
	turn      chan struct{} // closed when the ones before are read
	before    chan struct{} // closed when the one before is known to the store; may be nil
	announced chan struct{} // closed when this one is
	drained   atomic.Bool   // read to its end after it was rotated away
	over      atomic.Uint32 // an outcome
	size      atomic.Int64
	at        atomic.Int64 // offset behind what was sent
	placed    atomic.Pointer[filePosition]
}

// stat is what fstat says that changes with writing.
type stat struct {
	size  int64
	mtime int64
}

// follow follows the file until that is over. It closes the file.
func (g *generation) follow(ctx context.Context) {
	out := stopped
	if g.announce(ctx) {
		out = g.run(ctx)
	}
	g.drop()
	if out != stopped {
		g.end(ctx, out)
	}
	g.file.Close()
	g.over.Store(uint32(out))
	g.trail.input.wake()
}

// announce makes the file known to the store, after those before it in the trail, and
// waits for its turn. A restart would take one that is older than a known one for read.
func (g *generation) announce(ctx context.Context) bool {
	if g.before != nil {
		select {
		case <-g.before:
		case <-ctx.Done():
			return false
		}
	}
	if g.hand(ctx, false) != nil {
		return false
	}
	close(g.announced)
	select {
	case <-g.turn:
		return true
	case <-ctx.Done():
		return false
	}
}

func (g *generation) run(ctx context.Context) outcome {
	if g.packed {
		return g.unpack(ctx)
	}
	g.grown = time.Now()
	g.seek()
	if g.size.Load() > g.pos.Offset {
		if g.hand(ctx, true) != nil { // others wait for what it has
			return stopped
		}
	}
	for {
		err := g.read(ctx)
		if ctx.Err() != nil {
			return stopped
		}
		if err == errEdge {
			var out outcome
			if out, err = g.atEdge(ctx); out != running {
				return out
			}
			if ctx.Err() != nil {
				return stopped
			}
		}
		switch err {
		case nil:
		case errTruncated:
			return truncated
		default:
			g.trail.input.problem(g.path, err)
			if os.IsNotExist(err) || isStale(err) {
				return broken
			}
			if !g.sleep(ctx, retryAfter) {
				return stopped
			}
			g.seek()
		}
	}
}

// unpack reads a compressed file from its position to its end. One that is cut off is
// still being written, for a while.
func (g *generation) unpack(ctx context.Context) outcome {
	var in input
	for since := time.Now(); ; {
		if g.hand(ctx, true) != nil {
			return stopped
		}
		err := g.unpackOnce(ctx, &in)
		in.close()
		switch {
		case ctx.Err() != nil:
			return stopped
		case err == io.EOF:
			offset, number := g.lines.Pending()
			if g.send(ctx, offset, number, false) != nil {
				return stopped
			}
			return finished
		}
		offset, number := g.pos.Offset, g.pos.Line
		if g.parser != nil { // what was read is whole lines
			offset, number = g.lines.Pending()
		}
		if g.send(ctx, offset, number, false) != nil {
			return stopped
		}
		g.trail.input.problem(g.path, err)
		if time.Since(since) >= loseAfter {
			return broken
		}
		if !g.sleep(ctx, retryAfter) {
			return stopped
		}
	}
}

func (g *generation) unpackOnce(ctx context.Context, in *input) error {
	var ignored atomic.Int64
	r, err := in.open(ctx, File{Path: g.path}, &ignored)
	if err != nil {
		return err
	}
	head := make([]byte, sniffSize)
	n, err := io.ReadFull(r, head)
	if err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
		return err
	}
	r = io.MultiReader(bytes.NewReader(head[:n]), r)
	if g.parser == nil {
		f := Sniff(head[:n])
		if f == FormatUnknown {
			return io.ErrUnexpectedEOF
		}
		g.adopt(f, func() io.Reader { return bytes.NewReader(head[:n]) })
	}
	if _, err := io.CopyN(io.Discard, r, g.pos.Offset); err != nil {
		return err
	}
	g.lines.block = followBlock
	g.lines.Reset(r, func(why parsers.Reason, line []byte) { g.refuse(why, g.lines.Number, g.lines.Offset, line) })
	g.lines.Start(g.pos.Offset, g.pos.Line)
	return g.read(ctx)
}

// place is the position that was sent last. Others may call it.
func (g *generation) place() filePosition {
	if p := g.placed.Load(); p != nil {
		return *p
	}
	return filePosition{}
}

// seek makes lines begin at the position.
func (g *generation) seek() {
	g.readAt = g.pos.Offset
	g.lines.block = followBlock
	g.lines.Reset(blocks{g}, func(why parsers.Reason, line []byte) {
		g.refuse(why, g.lines.Number, g.lines.Offset, line)
		if why == parsers.ReasonNUL {
			g.skipHole()
		}
	})
	g.lines.Start(g.pos.Offset, g.pos.Line)
}

// skipHole passes over the part of a hole that takes no room on disk.
func (g *generation) skipHole() {
	if rest, _ := g.lines.Rest(); !blank(rest) {
		return
	}
	if data := nextData(g.file, g.readAt); data > g.readAt {
		g.readAt = data
		g.lines.lo, g.lines.hi, g.lines.at = 0, 0, data
	}
}

// blocks reads a file in blocks, up to what is written. A block is given on only if
// the file still begins as it did.
type blocks struct{ *generation }

func (b blocks) Read(p []byte) (int, error) {
	n, err := b.file.ReadAt(p, b.readAt)
	if n == 0 {
		if err == io.EOF {
			err = errEdge
		}
		return 0, err
	}
	if err := b.check(); err != nil {
		return 0, err
	}
	b.readAt += int64(n)
	b.grown = time.Now()
	return n, nil
}

// check reads the head of the file again.
func (g *generation) check() error {
	n := g.head.print.n
	same, err := g.head.check(g.file)
	switch {
	case err != nil:
		return err
	case !same:
		return errTruncated
	case g.head.print.n != n:
		g.fixed = nil
	}
	g.fresh = false
	return nil
}

// read reads lines from blocks until an error: errEdge is the usual one.
func (g *generation) read(ctx context.Context) error {
	if g.parser == nil {
		if err := g.recognise(); err != nil {
			return err
		}
	}
	for {
		line, err := g.lines.Next()
		if err == nil {
			err = g.add(ctx, line, g.lines.Offset, g.lines.Number)
		}
		if err != nil {
			return err
		}
	}
}

// recognise finds out what the file is written in, by its beginning, and readies a
// parser for its position.
func (g *generation) recognise() error {
	head := make([]byte, sniffSize)
	n, err := g.file.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return err
	}
	f := Sniff(head[:n])
	if f == FormatUnknown {
		if n == sniffSize {
			g.stranger(head)
		}
		return errEdge
	}
	if err := g.check(); err != nil {
		return err
	}
	g.adopt(f, func() io.Reader { return io.NewSectionReader(g.file, 0, g.pos.Offset) })
	return nil
}

// adopt readies a parser of the format for the position. The header, if it is not
// stored, is at the beginning of the file.
func (g *generation) adopt(f Format, beginning func() io.Reader) {
	g.pos.Format, g.fixed = f, nil
	g.parser = f.parser(parsers.Options{Extra: g.trail.input.follow.opts.Extra})
	g.trail.setFormat(f)
	tsv, ok := g.parser.(*zeek.TSV)
	if !ok {
		return
	}
	g.tsv = tsv
	if g.pos.Offset > 0 && (len(g.pos.Header) == 0 || tsv.RestoreHeader(g.pos.Header) != nil) {
		g.readHeader(beginning())
	}
	g.pos.Header = tsv.AppendHeader(nil)
}

// readHeader gives the parser the lines before the first record.
func (g *generation) readHeader(r io.Reader) {
	l := Lines{block: peekBlock}
	l.Reset(r, ignore)
	b := event.NewBatch(nil, 1, peekBlock)
	for {
		line, err := l.Next()
		if err != nil {
			return
		}
		ev, own := b.Add(line)
		err = g.tsv.Parse(b, ev, own)
		b.Drop()
		if err != parsers.ErrMeta {
			return
		}
	}
}

// stranger says, once, that the file is no log.
func (g *generation) stranger(head []byte) {
	if g.trail.strange.Swap(true) {
		return
	}
	why, _ := notALog(head)
	g.trail.input.follow.ledger.refuse(g.trail.path, why, 0, 0, nil)
}

// add parses a line into the batch, and sends the batch when it is full.
func (g *generation) add(ctx context.Context, line []byte, offset int64, number int) error {
	for {
		if err := g.take(ctx); err != nil {
			return err
		}
		p := g.parcel
		ev, own := p.batch.Add(line)
		if ev == nil {
			if err := g.send(ctx, offset, number, true); err != nil {
				return err
			}
			continue
		}
		err := g.parser.Parse(p.batch, ev, own)
		if err == nil {
			p.line[len(p.batch.Events)-1] = number
			ev.Source, ev.Offset = int32(g.feed.rank), offset
			if enrich := g.trail.input.follow.opts.Enrich; enrich != nil {
				enrich(ev)
			}
			g.counts.event(ev)
			return nil
		}
		p.batch.Drop()
		return g.noEvent(ctx, err, line, offset, number)
	}
}

// noEvent takes a line that gave no event.
func (g *generation) noEvent(ctx context.Context, err error, line []byte, offset int64, number int) error {
	switch err := err.(type) {
	case *parsers.Skip:
		if !g.counts.skip(err.Name) {
			g.trail.input.follow.ledger.add(&g.counts)
			g.counts.skip(err.Name)
		}
	case parsers.Reason:
		g.refuse(err, number, offset, line)
	}
	if err == parsers.ErrMeta && g.tsv != nil {
		header := g.tsv.AppendHeader(nil)
		if string(header) == string(g.pos.Header) {
			return nil
		}
		if len(g.parcel.batch.Events) > 0 { // they are read with the header before
			if err := g.send(ctx, offset, number, true); err != nil {
				return err
			}
		}
		g.pos.Header, g.fixed = header, nil
	}
	return nil
}

func (g *generation) refuse(why parsers.Reason, number int, offset int64, line []byte) {
	g.trail.refused.Add(1)
	g.trail.input.follow.ledger.refuse(g.trail.path, why, number, offset, line)
}

// take readies a parcel with a batch.
func (g *generation) take(ctx context.Context) error {
	f := g.trail.input.follow
	if g.parcel == nil {
		select {
		case g.parcel = <-g.feed.tokens:
		case <-ctx.Done():
			return ctx.Err()
		}
		if g.parcel == nil {
			g.parcel = &parcel{}
		}
		g.parcel.feed = g.feed
	}
	if g.parcel.batch == nil {
		if g.parcel.batch = f.batch(ctx); g.parcel.batch == nil {
			return ctx.Err()
		}
	}
	return nil
}

// send gives on what has been read up to a line: its events and its position.
func (g *generation) send(ctx context.Context, offset int64, number int, behind bool) error {
	if g.fresh {
		if err := g.check(); err != nil {
			return err
		}
	}
	g.moved = g.moved || offset != g.pos.Offset
	g.pos.Offset, g.pos.Line = offset, number
	return g.hand(ctx, behind)
}

// hand sends the parcel with the position that is set, if it says anything new.
func (g *generation) hand(ctx context.Context, behind bool) error {
	if g.parcel == nil || g.parcel.batch == nil {
		if !g.moved && behind == g.said {
			return nil
		}
		if err := g.take(ctx); err != nil {
			return err
		}
	}
	p := g.parcel
	p.n, p.at = len(p.batch.Events), 0
	if p.n == 0 {
		if !g.moved && behind == g.said {
			return nil
		}
		p.batch.Release()
		p.batch = nil
	}
	now := time.Now()
	g.order(p, now.UnixNano())
	if g.fixed == nil {
		g.pos.Head = g.head.print
		g.fixed = g.pos.appendFixed(nil)
	}
	g.pos.Updated = now.Unix()
	placed := g.pos
	g.placed.Store(&placed)
	p.end, p.rest = g.pos, g.fixed
	p.moved, p.behind, p.last, p.forget = g.moved, behind, false, false
	g.trail.count(g, p, &g.counts)
	g.parcel, g.moved, g.said = nil, false, behind
	g.at.Store(g.pos.Offset)
	if !g.trail.input.follow.send(ctx, p) {
		return ctx.Err()
	}
	return nil
}

// order sets the keys of a parcel's events: when they were written, but in the order
// of the file, and never later than now. A sensor's clock gone wrong shall neither
// keep its own records back nor take the stream's clock along.
func (g *generation) order(p *parcel, now int64) {
	if p.n == 0 {
		return
	}
	first := g.pos.First
	for i := range p.batch.Events {
		w := p.batch.Events[i].Written
		if g.pos.First == 0 && (first == 0 || w < first) {
			first = w
		}
		g.high = max(g.high, min(w, now))
		p.keys[i] = g.high
	}
	if g.pos.First == 0 {
		g.pos.First, g.fixed = first, nil
	}
}

// fileValueAt is the position before event i of a parcel.
func fileValueAt(p *parcel, i int) []byte {
	at := p.end
	if i < p.n {
		at.Offset, at.Line, at.Done = p.batch.Events[i].Offset, p.line[i], false
	}
	b := make([]byte, 0, 32+len(p.rest))
	return append(at.appendMoving(b), p.rest...)
}

// drop gives back what was not sent: the position does not cover it.
func (g *generation) drop() {
	if g.parcel != nil && g.parcel.batch != nil {
		g.parcel.batch.Release()
		g.parcel.batch = nil
	}
	g.counts = counts{}
}

// end says what became of the file, and ends the feed.
func (g *generation) end(ctx context.Context, out outcome) {
	if g.take(ctx) != nil {
		return
	}
	p := g.parcel
	p.batch.Release()
	p.batch, p.n, p.at = nil, 0, 0
	g.pos.Done = out == finished
	g.pos.Head, g.pos.Updated = g.head.print, time.Now().Unix()
	p.end, p.rest = g.pos, g.pos.appendFixed(nil)
	p.moved, p.behind, p.last, p.forget = true, false, true, false
	g.trail.input.follow.send(ctx, p)
}

// changed reports whether anything was written since the last call. It returns
// errTruncated if the file is another one.
func (g *generation) changed() (bool, error) {
	info, err := g.file.Stat()
	if err != nil {
		return false, err
	}
	now := stat{info.Size(), info.ModTime().UnixNano()}
	g.size.Store(now.size)
	switch {
	case now.size < g.pos.Offset:
		return false, errTruncated
	case now == g.stat:
		return false, nil
	}
	g.stat = now
	g.old = g.old && now == g.opened
	return true, g.check()
}

// atEdge follows the file from the edge of what is written. It returns running when
// there is a backlog to be read in blocks.
func (g *generation) atEdge(ctx context.Context) (outcome, error) {
	offset, number := g.lines.Pending()
	if g.parser == nil {
		offset, number = g.pos.Offset, g.pos.Line
	}
	if err := g.send(ctx, offset, number, false); err != nil {
		return running, err
	}
	if _, err := g.changed(); err != nil {
		return running, err
	}
	if path := g.tailPath(); path != "" {
		err := g.tail(ctx, path)
		g.seek()
		return running, err
	}
	return g.poll(ctx)
}

// drain says that the file was read to its end after it was rotated away.
func (g *generation) drain() {
	if !g.drained.Swap(true) {
		g.trail.input.wake()
	}
}

// poll looks at the file from time to time until it has grown, or is over.
func (g *generation) poll(ctx context.Context) (outcome, error) {
	for {
		// The fate is read before the file: what was written before it was rotated
		// away is seen then.
		rotated := g.fate.Load()
		changed, err := g.changed()
		if err != nil {
			return running, err
		}
		if g.size.Load() > g.readAt && g.parser != nil || changed && g.parser == nil {
			// A file system may say that there is more and give nothing.
			if !changed && g.tried == g.readAt+1 && !g.sleep(ctx, pollEvery) {
				return stopped, nil
			}
			g.tried = g.readAt + 1
			g.lines.Continue()
			return running, nil
		}
		if rotated != g.was {
			g.was, g.grown = rotated, time.Now() // from now on it has to be quiet
		}
		idle := time.Since(g.grown)
		switch {
		case rotated != present:
			g.drain()
			if idle >= g.patience(rotated) {
				return g.lastLine(ctx)
			}
		case g.sleepy() && g.restIsEmpty():
			return parked, nil
		}
		every := pollEvery
		if idle > time.Minute && rotated != present {
			every *= 10
		}
		if !g.sleep(ctx, every) {
			return stopped, nil
		}
	}
}

// patience is how long a rotated file must be quiet until nobody writes to it.
func (g *generation) patience(f fate) time.Duration {
	switch {
	case f == replaced && g.trail.input.Linger > 0:
		return g.trail.input.Linger
	case f == replaced && g.pos.Format.Sensor() == event.SensorZeek:
		return lingerZeek
	case f == replaced:
		return lingerOther
	case links(g.file) == 0:
		return orphanAfter
	}
	return abandonAfter
}

// sleepy reports whether the file is one of many and has been idle for long.
func (g *generation) sleepy() bool {
	return g.trail.input.pattern && (g.old || time.Since(g.grown) >= parkAfter)
}

func (g *generation) restIsEmpty() bool {
	rest, _ := g.lines.Rest()
	return len(rest) == 0
}

// lastLine takes what stands behind the last line break of a file that is over: if it
// is a record, it counts.
func (g *generation) lastLine(ctx context.Context) (outcome, error) {
	if g.parser == nil {
		return finished, nil
	}
	g.lines.Complete()
	if err := g.read(ctx); err != io.EOF {
		return running, err
	}
	offset, number := g.lines.Pending()
	if err := g.send(ctx, offset, number, false); err != nil {
		return running, err
	}
	return finished, nil
}

// sleep waits for d, for a kick or for ctx. It reports whether ctx goes on.
func (g *generation) sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-g.kick:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}
