package ingest

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"tidewatch/parsers"
)

// stream is an input that is not a file: records come by themselves, one at a time.
type stream struct {
	in     Input
	follow *Follow
	feed   *feed
	// serve reads until ctx or the input ends.
	serve func(ctx context.Context, s *stream) error
	// committed is told the entry up to which all is durable; nil if nobody need be.
	committed func(ctx context.Context, id []byte)
	restore   func(id string) error // takes the entry of the last commit; may be nil
	close     func() error          // may be nil

	parser parsers.Parser
	parcel *parcel
	lastID string // of the entry that was added last
	moved  bool
	high   int64
	number int
	counts counts

	mu    sync.Mutex
	stats SourceStats
	said  map[string]time.Time
}

func newStream(f *Follow, in Input, key string, serve func(context.Context, *stream) error) *stream {
	s := &stream{in: in, follow: f, serve: serve, said: map[string]time.Time{}}
	s.feed = newFeed(key, int(f.ranks.Add(1)), func(p *parcel, i int) []byte { return entryPosition(p.ids[i]) })
	s.stats = SourceStats{Path: in.Path, Type: in.Type, State: StateWaiting}
	return s
}

// entryVersion is the first byte of a position that is the name of an entry.
const entryVersion = 1

func entryPosition(id string) []byte {
	if id == "" {
		return nil
	}
	return append([]byte{entryVersion}, id...)
}

// run serves until the input has ended, and again after a failure.
func (s *stream) run(ctx context.Context) {
	s.follow.active.Add(1)
	defer s.follow.active.Add(-1)
	wait := retryAfter
	for ctx.Err() == nil {
		began := time.Now()
		err := s.serve(ctx, s)
		if err == nil {
			err = s.flush(ctx)
		}
		if err == nil || ctx.Err() != nil {
			return
		}
		s.problem(err)
		s.state(StateWaiting)
		if time.Since(began) > time.Minute {
			wait = retryAfter
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
		wait = min(2*wait, 30*time.Second)
	}
}

// problem says why nothing comes, but not often.
func (s *stream) problem(err error) {
	s.mu.Lock()
	last, ok := s.said[err.Error()]
	if len(s.said) >= maxProblems {
		clear(s.said)
	}
	if !ok || time.Since(last) >= repeatAfter {
		s.said[err.Error()] = time.Now()
		ok = false
	}
	s.mu.Unlock()
	if !ok {
		s.follow.log.Warn("input cannot be read; trying again", "type", s.in.Type, "path", printable(s.in.Path), "error", printable(err.Error()))
	}
}

func (s *stream) state(state string) {
	s.mu.Lock()
	s.stats.State = state
	s.mu.Unlock()
}

// add takes one record. id names the entry that it came in, if it has a name.
func (s *stream) add(ctx context.Context, line []byte, id string) error {
	s.number++
	defer func() {
		if id != "" {
			s.lastID, s.moved = id, true
		}
	}()
	if s.parser == nil {
		f := Sniff(line)
		if f == FormatUnknown {
			s.refuse(reasonNotALog, line)
			return nil
		}
		s.parser = f.parser(parsers.Options{Extra: s.follow.opts.Extra})
		s.mu.Lock()
		s.stats.Format = f
		s.mu.Unlock()
		s.follow.ledger.file(f)
	}
	for part := line; part != nil; {
		rest, err := s.parse(ctx, part)
		if err != nil {
			return err
		}
		part = rest
	}
	return nil
}

// parse parses a record. It returns what is left of one that another was written
// into: a sensor that cannot write on leaves a record in part.
func (s *stream) parse(ctx context.Context, line []byte) (rest []byte, err error) {
	for {
		if err := s.take(ctx); err != nil {
			return nil, err
		}
		b := s.parcel.batch
		ev, own := b.Add(line)
		if ev == nil {
			if err := s.flush(ctx); err != nil {
				return nil, err
			}
			continue
		}
		err := s.parser.Parse(b, ev, own)
		if err == nil {
			ev.Source, ev.Offset = int32(s.feed.rank), int64(s.number)
			if enrich := s.follow.opts.Enrich; enrich != nil {
				enrich(ev)
			}
			s.parcel.ids = append(s.parcel.ids, s.lastID)
			s.counts.event(ev)
			return nil, nil
		}
		b.Drop()
		switch err := err.(type) {
		case *parsers.Skip:
			if !s.counts.skip(err.Name) {
				s.follow.ledger.add(&s.counts)
				s.counts.skip(err.Name)
			}
		case parsers.Reason:
			rest := resume(line)
			s.refuse(err, line[:len(line)-len(rest)])
			return rest, nil
		}
		return nil, nil
	}
}

// resume returns the beginning of another record inside a broken one; nil if there is
// none.
func resume(line []byte) []byte {
	mark := []byte(`{"timestamp"`)
	if len(line) == 0 {
		return nil
	}
	if i := bytes.Index(line[1:], mark); i >= 0 {
		return line[1+i:]
	}
	return nil
}

func (s *stream) refuse(why parsers.Reason, line []byte) {
	s.mu.Lock()
	s.stats.Refused++
	s.mu.Unlock()
	s.follow.ledger.refuse(s.in.Path, why, s.number, int64(s.number), line)
}

func (s *stream) take(ctx context.Context) error {
	if s.parcel == nil {
		select {
		case s.parcel = <-s.feed.tokens:
		case <-ctx.Done():
			return ctx.Err()
		}
		if s.parcel == nil {
			s.parcel = &parcel{}
		}
		s.parcel.feed = s.feed
	}
	if s.parcel.batch == nil {
		if s.parcel.batch = s.follow.batch(ctx); s.parcel.batch == nil {
			return ctx.Err()
		}
	}
	return nil
}

// flush gives on what was added.
func (s *stream) flush(ctx context.Context) error {
	if !s.moved && (s.parcel == nil || s.parcel.batch == nil) {
		return nil
	}
	if err := s.take(ctx); err != nil {
		return err
	}
	p := s.parcel
	p.n, p.at = len(p.batch.Events), 0
	now := time.Now().UnixNano()
	var read uint64
	for i := range p.batch.Events {
		ev := &p.batch.Events[i]
		s.high = max(s.high, min(ev.Written, now))
		p.keys[i] = s.high
		read += uint64(len(ev.Raw))
	}
	if p.n == 0 {
		p.batch.Release()
		p.batch = nil
	}
	p.ids = append(p.ids, s.lastID)
	p.moved, p.behind, p.last, p.forget = s.moved, false, false, false
	s.mu.Lock()
	s.stats.State = StateLive
	s.stats.Read += read
	for k, n := range s.counts.kinds {
		s.stats.Kinds[k] += n
		s.stats.Records += n
	}
	s.stats.Last = max(s.stats.Last, s.high)
	s.mu.Unlock()
	s.follow.ledger.add(&s.counts)
	s.parcel, s.moved = nil, false
	if !s.follow.send(ctx, p) {
		return ctx.Err()
	}
	return nil
}

func (s *stream) snapshot() SourceStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// serveStdin reads standard input to its end.
func serveStdin(ctx context.Context, s *stream) error {
	file, err := openFile(ctx, File{Path: Stdin, Stream: true})
	if err != nil {
		return err
	}
	if file != os.Stdin {
		stop := context.AfterFunc(ctx, func() { file.Close() })
		defer stop()
		defer file.Close()
	}
	if file.SetReadDeadline(time.Time{}) != nil { // a file: nothing is waited for
		return s.lines(ctx, file, nil)
	}
	return s.lines(ctx, file, file.SetReadDeadline)
}

// serveUnixStream listens on a socket: sensors connect, as Suricata does for its
// unix_stream.
func serveUnixStream(ctx context.Context, s *stream) error {
	if err := clearSocket("unix", s.in.Path); err != nil {
		return err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: s.in.Path, Net: "unix"})
	if err != nil {
		return err
	}
	defer l.Close()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	if err := os.Chmod(s.in.Path, socketMode); err != nil {
		return err
	}
	s.state(StateLive)
	for ctx.Err() == nil {
		c, err := l.AcceptUnix()
		if err != nil {
			return err
		}
		// One after the other: Suricata has one connection. Another waits in the
		// socket's queue.
		err = s.connection(ctx, c)
		if err != nil {
			s.problem(err)
		}
	}
	return ctx.Err()
}

// socketMode lets the owner and the group of the socket write to it.
const socketMode = 0o660

func (s *stream) connection(ctx context.Context, c *net.UnixConn) error {
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	_ = c.SetReadBuffer(socketBuffer) // as much as the system allows
	return s.lines(ctx, c, c.SetReadDeadline)
}

// socketBuffer is how much waits in the kernel, in bytes, while we are busy: what
// does not fit is dropped by Suricata, which does not wait.
const socketBuffer = 8 << 20

// lines reads lines from r to its end. What has come is given on when nothing more
// comes for a moment.
func (s *stream) lines(ctx context.Context, r io.Reader, deadline func(time.Time) error) error {
	l := Lines{block: followBlock}
	l.Reset(r, func(why parsers.Reason, line []byte) { s.refuse(why, line) })
	waiting := false
	for {
		line, err := l.Next()
		switch {
		case err == nil:
			if deadline != nil && !waiting {
				waiting = true
				if err := deadline(time.Now().Add(gatherFor)); err != nil {
					return err
				}
			}
			if err := s.add(ctx, line, ""); err != nil {
				return err
			}
			continue
		case deadline != nil && os.IsTimeout(err):
			l.Continue()
			waiting = false
			if err := deadline(time.Time{}); err != nil {
				return err
			}
			if err := s.flush(ctx); err != nil {
				return err
			}
			continue
		case err == io.EOF:
			return s.flush(ctx)
		case ctx.Err() != nil:
			return ctx.Err()
		}
		return err
	}
}

// serveUnixDatagram listens on a socket that takes one record at a time, as
// Suricata's unix_dgram.
func serveUnixDatagram(ctx context.Context, s *stream) error {
	if err := clearSocket("unixgram", s.in.Path); err != nil {
		return err
	}
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: s.in.Path, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer os.Remove(s.in.Path)
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	if err := os.Chmod(s.in.Path, socketMode); err != nil {
		return err
	}
	_ = c.SetReadBuffer(socketBuffer)
	s.state(StateLive)
	buf := make([]byte, MaxLine+1)
	for waiting := false; ; {
		n, err := c.Read(buf)
		switch {
		case err == nil && n > MaxLine:
			s.refuse(parsers.ReasonLineTooBig, buf[:MaxLine])
		case err == nil:
			if !waiting {
				waiting = true
				if err := c.SetReadDeadline(time.Now().Add(gatherFor)); err != nil {
					return err
				}
			}
			for line := range bytes.Lines(buf[:n]) {
				if err := s.add(ctx, bytes.TrimRight(line, "\r\n"), ""); err != nil {
					return err
				}
			}
		case os.IsTimeout(err):
			waiting = false
			if err := c.SetReadDeadline(time.Time{}); err != nil {
				return err
			}
			if err := s.flush(ctx); err != nil {
				return err
			}
		default:
			return err
		}
	}
}

// clearSocket removes a socket that nobody listens on any more. It leaves alone what
// is no socket.
func clearSocket(network, path string) error {
	info, err := os.Lstat(path)
	switch {
	case os.IsNotExist(err):
		return nil
	case err != nil:
		return err
	case info.Mode()&os.ModeSocket == 0:
		return &os.PathError{Op: "listen", Path: path, Err: os.ErrExist}
	}
	if c, err := net.Dial(network, path); err == nil {
		c.Close()
		return &os.PathError{Op: "listen", Path: path, Err: errInUse}
	}
	return os.Remove(path)
}

var errInUse error = parsers.Error("another program listens there")
