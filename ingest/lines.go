package ingest

import (
	"bytes"
	"io"

	"tidewatch/parsers"
)

const (
	// MaxLine is the longest line, in bytes, that is parsed.
	MaxLine = 1 << 20
	// blockSize is how much is read at once.
	blockSize = 256 << 10
)

// Lines cuts a stream into lines. Lines longer than MaxLine, and runs of NUL
// bytes (holes that a rotation left), are passed over and reported.
type Lines struct {
	Offset int64 // of the line that Next returned last, in bytes from the start
	Number int   // of that line, from 1

	r       io.Reader
	buf     []byte
	lo, hi  int   // the bytes that are read and not yet given out
	at      int64 // offset of lo
	err     error // from the reader, kept until the bytes before it are used
	refused func(parsers.Reason, []byte)
}

// NewLines returns the lines of r. It calls refused for what it passes over, with
// the beginning of it, after it has set Offset and Number.
func NewLines(r io.Reader, refused func(parsers.Reason, []byte)) *Lines {
	return &Lines{r: r, buf: make([]byte, blockSize), refused: refused}
}

// Next returns the next line without its line break. The line is valid until
// the next call. At the end the error is io.EOF; a last line that has no line
// break counts. Another error is the reader's, after the last whole line.
func (l *Lines) Next() ([]byte, error) {
	for {
		line, err := l.next()
		if err != nil {
			return nil, err
		}
		if l.Number == 1 {
			line = bytes.TrimPrefix(line, []byte("\ufeff"))
		}
		if len(line) > 0 && line[len(line)-1] == '\r' {
			line = line[:len(line)-1]
		}
		if len(line) > 0 && line[0] == 0 {
			if line = l.hole(line); len(line) == 0 {
				continue
			}
		}
		return line, nil
	}
}

// hole cuts NULs off the front of a line.
func (l *Lines) hole(line []byte) []byte {
	rest := bytes.TrimLeft(line, "\x00")
	l.refused(parsers.ReasonNUL, nil)
	l.Offset += int64(len(line) - len(rest))
	return rest
}

func (l *Lines) next() ([]byte, error) {
	from := l.lo // where the search for the line break goes on
	for {
		if i := bytes.IndexByte(l.buf[from:l.hi], '\n'); i >= 0 {
			end := from + i
			line := l.take(end, end+1)
			return line, nil
		}
		from = l.hi
		if l.err != nil {
			if l.lo == l.hi || l.err != io.EOF {
				return nil, l.err
			}
			return l.take(l.hi, l.hi), nil
		}
		if l.hi-l.lo > MaxLine {
			l.skip()
			from = l.lo
			continue
		}
		from -= l.fill()
	}
}

// take gives out the bytes up to end and goes on at next.
func (l *Lines) take(end, next int) []byte {
	line := l.buf[l.lo:end:end]
	l.Offset, l.Number = l.at, l.Number+1
	l.at += int64(next - l.lo)
	l.lo = next
	return line
}

// fill reads more, and returns by how many bytes it moved what was there.
func (l *Lines) fill() (moved int) {
	if l.hi == len(l.buf) {
		if l.lo > 0 {
			moved = l.lo
			l.hi = copy(l.buf, l.buf[l.lo:l.hi])
			l.lo = 0
		}
		if l.hi > len(l.buf)/2 { // at most MaxLine and a block
			l.buf = append(l.buf, make([]byte, len(l.buf))...)
		}
	}
	for range 100 {
		n, err := l.r.Read(l.buf[l.hi:])
		l.hi += n
		l.err = err
		if n > 0 || err != nil {
			return moved
		}
	}
	l.err = io.ErrNoProgress
	return moved
}

// skip passes over a line that is too long.
func (l *Lines) skip() {
	l.Offset, l.Number = l.at, l.Number+1
	zero := len(bytes.TrimLeft(l.buf[l.lo:l.hi], "\x00")) == 0
	if zero {
		l.refused(parsers.ReasonNUL, nil)
	} else {
		l.refused(parsers.ReasonLineTooBig, l.buf[l.lo:l.lo+200])
	}
	for {
		part := l.buf[l.lo:l.hi]
		if i := bytes.IndexByte(part, '\n'); i >= 0 {
			l.at += int64(i) + 1
			l.lo += i + 1
			return
		}
		if zero { // the line goes on where the hole ends
			if rest := bytes.TrimLeft(part, "\x00"); len(rest) > 0 {
				l.at += int64(len(part) - len(rest))
				l.lo = l.hi - len(rest)
				l.Number--
				return
			}
		}
		l.at += int64(len(part))
		l.lo, l.hi = 0, 0
		if l.err != nil {
			return
		}
		l.fill()
	}
}
