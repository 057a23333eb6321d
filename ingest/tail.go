package ingest

import (
	"bytes"
	"context"
	"io"
	"strings"
	"time"

	"github.com/nxadm/tail"
	"github.com/nxadm/tail/watch"
)

const (
	// gatherFor is how long lines of the live edge are gathered into a batch.
	gatherFor = 5 * time.Millisecond
	// lookEvery is how often a file is looked at while a tailer follows it.
	lookEvery = 250 * time.Millisecond
	// backlogSize is how far, in bytes, a tailer may be behind before the file is read
	// in blocks again, which is ten times as fast. It also bounds a line that it reads:
	// it knows no other limit.
	backlogSize = 2 * MaxLine
	stuckLooks  = 8
)

func init() { watch.POLL_DURATION = pollEvery } // of each file that is polled

// tailPath returns the path that a tailer can follow the file by, or "".
func (g *generation) tailPath() string {
	if g.noTail || g.lines.long || g.parser == nil || g.fate.Load() != present || g.sleepy() {
		return ""
	}
	return descriptorPath(g.file)
}

// tail follows the live edge with a tailer. The path leads to the open file: names
// that it is given and loses do not matter, and a tailer that reopens it at a
// truncation cannot do harm. It returns nil when there is something to be read in
// blocks or the file was rotated away. The position is behind the last line taken.
func (g *generation) tail(ctx context.Context, path string) error {
	t, err := tail.TailFile(path, tail.Config{
		Location:      &tail.SeekInfo{Offset: g.pos.Offset, Whence: io.SeekStart},
		MustExist:     true,
		Poll:          true,
		Follow:        true,
		CompleteLines: true,
		Logger:        tail.DiscardingLogger,
	})
	if err != nil {
		g.noTail = true
		g.trail.input.problem(g.path, err)
		return nil
	}
	defer t.Stop() //nolint // says only why it has stopped
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	gather := time.NewTimer(gatherFor)
	gather.Stop()
	defer gather.Stop()
	e := edge{generation: g, at: g.pos.Offset, number: g.pos.Line}
	for {
		select {
		case line, ok := <-t.Lines:
			if !ok || line.Err != nil || !e.follows(line) {
				if err := e.check(); err != nil {
					return err
				}
				return e.flush(ctx)
			}
			if e.pending == 0 {
				gather.Reset(gatherFor)
			}
			if err := e.take(ctx, line); err != nil {
				return err
			}
		case <-gather.C:
			if err := e.flush(ctx); err != nil {
				return err
			}
		case <-look.C:
			done, err := e.look()
			if err != nil {
				return err
			}
			if done {
				return e.flush(ctx)
			}
		case <-g.kick:
			if g.fate.Load() != present {
				return e.flush(ctx)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// edge is where a tailer stands.
type edge struct {
	*generation
	at      int64 // offset of the next line
	number  int   // of it
	pending int   // lines that were taken and not sent
	stuck   int   // looks at a file that has something more and gave no line
	line    []byte
}

// follows reports whether line is the next one of the file, and one as any other.
func (e *edge) follows(line *tail.Line) bool {
	return line.SeekInfo.Offset == e.at+int64(len(line.Text))+1 && len(line.Text) <= MaxLine &&
		strings.IndexByte(line.Text, 0) < 0
}

func (e *edge) take(ctx context.Context, line *tail.Line) error {
	e.line = append(e.line[:0], line.Text...)
	text := e.line
	if e.at == 0 {
		text = bytes.TrimPrefix(text, bom)
	}
	e.fresh = true
	if err := e.add(ctx, bytes.TrimSuffix(text, []byte{'\r'}), e.at, e.number); err != nil {
		return err
	}
	e.at = line.SeekInfo.Offset
	e.number++
	e.pending++
	e.grown = time.Now()
	return nil
}

// flush sends what was taken.
func (e *edge) flush(ctx context.Context) error {
	e.pending = 0
	return e.send(ctx, e.at, e.number, false)
}

// look looks at the file itself. It reports whether it is to be read in blocks.
func (e *edge) look() (done bool, err error) {
	changed, err := e.changed()
	if err != nil {
		return false, err
	}
	lag := e.size.Load() - e.at
	switch {
	case lag < 0:
		return false, errTruncated
	case lag > backlogSize || e.sleepy():
		return true, nil
	case changed || lag == 0:
		e.stuck = 0
		return false, nil
	}
	// The beginning of a line, or a change that the tailer has missed.
	e.stuck++
	return e.stuck == stuckLooks, nil
}
