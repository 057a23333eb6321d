package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// rotation is a way to put a log away and begin anew.
type rotation int

const (
	renameCreate rotation = iota // logrotate's create, Zeek's and Suricata's own
	copyTruncate
	gzipRemove // renamed, compressed, the plain one removed
	lateWrites // renamed, and written to a little longer, as by Suricata before its HUP
	numRotations
)

var rotationNames = [numRotations]string{"rename", "copytruncate", "gzip", "late writes"}

// log is a log file that a sensor writes, from lines that were made before.
type log struct {
	path    string
	lines   *bufio.Reader
	header  []byte // of a Zeek log, which each file begins with
	rand    *rand.Rand
	file    *os.File
	pending []byte      // the rest of a line that is written in part
	hold    atomic.Bool // nothing is written for now

	mu      sync.Mutex // held while something is written or rotated
	rotated [numRotations]int
	read    int // of the rotated files, so many are read and committed
	removed int // of them, so many are gone
	written int // lines
	size    int // bytes of the source that were written
	ended   bool
}

// openLog returns the log at path whose lines are those of the file source.
func openLog(path, source string, r *rand.Rand) (*log, error) {
	f, err := os.Open(source)
	if err != nil {
		return nil, err
	}
	l := &log{path: path, lines: bufio.NewReaderSize(f, 1<<20), rand: r}
	for {
		b, err := l.lines.Peek(1)
		if err != nil || b[0] != '#' {
			break
		}
		line, err := l.lines.ReadBytes('\n')
		if err != nil {
			return nil, err
		}
		l.header = append(l.header, line...)
	}
	return l, l.create()
}

// create makes the file anew, or finds it truncated.
func (l *log) create() (err error) {
	l.file, err = os.OpenFile(l.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	_, err = l.file.Write(l.head())
	return err
}

// head returns what the next file begins with: Zeek says when it opened it.
func (l *log) head() []byte {
	at := time.Date(2026, 11, 20, 0, 0, l.rotations(), 0, time.UTC)
	return opened.ReplaceAll(l.header, []byte(at.Format("#open\t2006-01-02-15-04-05")))
}

var opened = regexp.MustCompile(`(?m)^#open\t.*$`)

// write writes the next n lines; mostly it stops in the middle of one more, as sensors'
// buffers do.
func (l *log) write(n int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.writeLocked(n, l.rand.IntN(4) > 0)
}

func (l *log) writeLocked(n int, partly bool) error {
	b := l.pending
	l.pending = nil
	for range n {
		line, err := l.line()
		if err != nil {
			return err
		}
		b = append(b, line...)
	}
	if partly {
		line, err := l.line()
		if err != nil {
			return err
		}
		cut := 0
		if len(line) > 0 {
			cut = l.rand.IntN(len(line))
		}
		b = append(b, line[:cut]...)
		l.pending = bytes.Clone(line[cut:])
	}
	_, err := l.file.Write(b)
	return err
}

// line returns the next line; none at the end, and none of Zeek's footer.
func (l *log) line() ([]byte, error) {
	line, err := l.lines.ReadSlice('\n')
	if errors.Is(err, io.EOF) || len(line) > 0 && line[0] == '#' {
		l.ended = true
		return nil, nil
	}
	if err == nil {
		l.written++
		l.size += len(line)
	}
	return line, err
}

// done reports whether all has been written.
func (l *log) done() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ended && len(l.pending) == 0
}

// rotate puts the file away.
func (l *log) rotate(how rotation) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rotated[how]++
	if err := l.writeLocked(0, false); err != nil { // no sensor rotates in the middle of a line
		return err
	}
	to, err := l.next()
	if err != nil {
		return err
	}
	if how == copyTruncate {
		if err := copyFile(l.path, to); err != nil {
			return err
		}
		if err := l.file.Truncate(0); err != nil {
			return err
		}
		_, err := l.file.Write(l.head())
		return err
	}
	if err := os.Rename(l.path, to); err != nil {
		return err
	}
	if how == lateWrites {
		time.Sleep(time.Duration(l.rand.IntN(20)) * time.Millisecond)
		if err := l.writeLocked(l.rand.IntN(20), false); err != nil {
			return err
		}
	}
	if err := l.file.Close(); err != nil {
		return err
	}
	if err := l.create(); err != nil || how != gzipRemove {
		return err
	}
	return pack(to)
}

// keepRotated is how many rotated files of one log are kept: more, while they are not
// read. A sidecar that is killed again and again gets no further than its commits, and
// what is removed before is lost to anybody.
const keepRotated = 60

// name returns the name of the n-th rotated file: Zeek's own, or that of logrotate's
// dateext. Numbers that all move up at each rotation would be renamed several times a
// second here, which is not what anybody's log does.
func (l *log) name(n int) string {
	at := time.Date(2026, 11, 20, 0, 0, n, 0, time.UTC)
	if len(l.header) > 0 {
		return strings.TrimSuffix(l.path, ".log") + at.Format(".2006-01-02-15-04-05.log")
	}
	return l.path + at.Format("-20060102-150405")
}

// next removes the oldest rotated files and returns the name of the next.
func (l *log) next() (string, error) {
	n := l.rotations()
	for ; l.removed < min(n-keepRotated, l.read); l.removed++ {
		old := l.name(l.removed + 1)
		for _, name := range []string{old, old + ".gz"} {
			if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
				return "", err
			}
		}
	}
	return l.name(n), nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// pack compresses a file and removes it. The compressed one has its name when it is
// whole.
func pack(name string) error {
	in, err := os.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(name + ".tmp")
	if err != nil {
		return err
	}
	z, _ := gzip.NewWriterLevel(out, gzip.BestSpeed)
	_, err = io.Copy(z, in)
	if err := errors.Join(err, z.Close(), out.Close()); err != nil {
		return err
	}
	return errors.Join(os.Rename(name+".tmp", name+".gz"), os.Remove(name))
}

// writeEvery is the writers' tick.
const writeEvery = 10 * time.Millisecond

// play writes all of the log, at so many lines a second, and rotates it so often on the
// way.
func (l *log) play(ctx context.Context, rate, lines, rotations int, ways []rotation) error {
	tick := time.NewTicker(writeEvery)
	defer tick.Stop()
	begun, done := time.Now(), 0
	for !l.done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		if l.hold.Load() {
			begun = begun.Add(writeEvery)
			continue
		}
		due := int(time.Since(begun).Seconds()*float64(rate)) - l.count()
		if due <= 0 {
			continue
		}
		// No more than a rotation's worth at once, however late we are.
		if err := l.write(min(due, max(lines/(rotations+1), 1))); err != nil {
			return err
		}
		if done < rotations && l.count() > (done+1)*lines/(rotations+1) {
			done++
			if err := l.rotate(ways[l.rand.IntN(len(ways))]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *log) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.written
}

// rotations counts them; l.mu is held.
func (l *log) rotations() (n int) {
	for _, k := range l.rotated {
		n += k
	}
	return n
}
