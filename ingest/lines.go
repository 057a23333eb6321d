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

var bom = []byte("\ufeff")

// Lines cuts a stream into lines. Lines longer than MaxLine and runs of NUL bytes
// (holes that a crash or a rotation left) are passed over and reported; what
// stands before and behind a hole counts as a line each. Memory is bounded by
// MaxLine and a block. The zero Lines is empty; Reset makes it ready.
type Lines struct {
	Offset int64 // of the line that Next returned last, in bytes from the start
	Number int   // of that line, from 1

	r       io.Reader
	block   int // 0 means blockSize
	buf     []byte
	lo, hi  int   // the bytes that are read and not yet given out
	at      int64 // offset of lo
	breaks  int   // line breaks before lo
	nul     bool  // there may be a NUL in the buffer
	long    bool  // the line that begins at Offset is too long, and not passed over yet
	err     error // from the reader, kept until the bytes before it are used
	refused func(parsers.Reason, []byte)
}

// Reset makes l read r from its beginning. It calls refused for what it passes
// over, with the beginning of it, after it has set Offset and Number. It keeps its
// buffer.
func (l *Lines) Reset(r io.Reader, refused func(parsers.Reason, []byte)) {
	buf, block := l.buf, l.block
	if block == 0 {
		block = blockSize
	}
	if len(buf) != block {
		buf = make([]byte, block)
	}
	*l = Lines{r: r, block: block, buf: buf, refused: refused}
}

// Next returns the next line without its line break, LF or CRLF, and without the
// byte order mark that a stream may begin with. The line is valid until the next
// call. At the end the error is io.EOF; a last line that has no line break counts.
// Another error is the reader's: then Rest has what follows the last whole line.
func (l *Lines) Next() ([]byte, error) {
	for {
		n := l.piece()
		switch {
		case n > MaxLine || l.long:
			if l.skip(); l.long {
				return nil, l.err
			}
		case n < 0 || l.lo == l.hi:
			return nil, l.err
		case l.buf[l.lo] == 0:
			l.hole()
		default:
			return l.take(n), nil
		}
	}
}

// Start says that the reader does not begin at the stream's first byte, but at
// offset, where line number begins. It is called after Reset, before Next.
func (l *Lines) Start(offset int64, number int) { l.at, l.breaks = offset, number-1 }

// Continue makes Next read on after an error: a file may have grown.
func (l *Lines) Continue() { l.err = nil }

// Complete says that nothing more will come: what Rest returns is the last line.
func (l *Lines) Complete() { l.err = io.EOF }

// Pending returns the offset and the number of the first line that is not given
// out or passed over as a whole: where a later reader begins.
func (l *Lines) Pending() (offset int64, number int) {
	if l.long {
		return l.Offset, l.Number
	}
	return l.at, l.breaks + 1
}

// Rest returns the bytes that were read and not given out, and their offset.
func (l *Lines) Rest() ([]byte, int64) { return l.buf[l.lo:l.hi], l.at }

// more reads some more before what Rest returns is given out. It reports whether
// there was more.
func (l *Lines) more() bool {
	n := l.hi - l.lo
	if l.err == nil {
		l.fill()
	}
	return l.hi-l.lo > n
}

// piece returns how many bytes stand before the next line break, NUL or end of the
// stream: a number above MaxLine if they are more than that, and -1 if the reader
// failed first.
func (l *Lines) piece() int {
	from := 0
	for {
		part := l.buf[l.lo+from : l.hi]
		i := bytes.IndexByte(part, '\n')
		if l.nul {
			if i >= 0 {
				part = part[:i]
			}
			if j := bytes.IndexByte(part, 0); j >= 0 {
				i = j
			}
		}
		if i >= 0 {
			return from + i
		}
		from = l.hi - l.lo
		switch {
		case from > MaxLine || l.err == io.EOF:
			return from
		case l.err != nil:
			return -1
		}
		l.fill()
	}
}

// take gives out the next n bytes, and passes over the line break behind them.
func (l *Lines) take(n int) []byte {
	l.mark()
	line := l.buf[l.lo : l.lo+n : l.lo+n]
	l.pass(n)
	if l.lo < l.hi && l.buf[l.lo] == '\n' {
		l.pass(1)
		l.breaks++
	}
	if n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	if l.Offset == 0 {
		line = bytes.TrimPrefix(line, bom)
	}
	return line
}

// mark says where the next line begins.
func (l *Lines) mark() { l.Offset, l.Number = l.at, l.breaks+1 }

func (l *Lines) pass(n int) {
	l.lo += n
	l.at += int64(n)
}

// fill reads more behind what is there.
func (l *Lines) fill() {
	switch {
	case l.lo == l.hi:
		l.lo, l.hi, l.nul = 0, 0, false
		if len(l.buf) > l.block { // it grew for one long line
			l.buf = make([]byte, l.block)
		}
	case l.hi == len(l.buf) && l.lo > 0:
		l.hi = copy(l.buf, l.buf[l.lo:l.hi])
		l.lo = 0
		l.nul = l.nul && bytes.IndexByte(l.buf[:l.hi], 0) >= 0
	case l.hi == len(l.buf):
		l.buf = append(l.buf, make([]byte, len(l.buf))...)
	}
	for range 100 {
		n, err := l.r.Read(l.buf[l.hi:])
		l.nul = l.nul || bytes.IndexByte(l.buf[l.hi:l.hi+n], 0) >= 0
		l.hi += n
		l.err = err
		if n > 0 || err != nil {
			return
		}
	}
	l.err = io.ErrNoProgress
}

// hole passes over a run of NULs.
func (l *Lines) hole() {
	l.mark()
	l.refused(parsers.ReasonNUL, nil)
	for {
		part := l.buf[l.lo:l.hi]
		l.pass(len(part) - len(bytes.TrimLeft(part, "\x00")))
		if l.lo < l.hi || l.err != nil {
			return
		}
		l.fill()
	}
}

// skip passes over a line that is too long, as far as it is there.
func (l *Lines) skip() {
	if !l.long {
		l.mark()
		l.refused(parsers.ReasonLineTooBig, l.buf[l.lo:l.lo+MaxLine])
		l.long = true
	}
	for {
		part := l.buf[l.lo:l.hi]
		if i := bytes.IndexByte(part, '\n'); i >= 0 {
			l.pass(i + 1)
			l.breaks++
			l.long = false
			return
		}
		l.pass(len(part))
		if l.err != nil {
			return
		}
		l.fill()
	}
}
