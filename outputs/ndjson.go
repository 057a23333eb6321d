package outputs

import (
	"context"
	"io"
	"time"

	"tidewatch/event"
)

// ndjsonSize is about how much NDJSON hands to its writer at once.
const ndjsonSize = 64 << 10

// NDJSON writes findings as ECS documents, one a line. It is used by one
// goroutine.
type NDJSON struct {
	w    io.Writer
	buf  []byte
	torn bool // the last line that was written lacks its end
	enc  Encoder
	now  func() time.Time
}

// NewNDJSON returns an NDJSON that writes to w. It stamps event.ingested with the
// time of the call of Write.
func NewNDJSON(w io.Writer) *NDJSON { return &NDJSON{w: w, now: time.Now} }

// Write writes the findings, whole lines at a time. When it returns nil, w has
// taken them all; whether they are durable is w's business. After an error some
// may have been taken, and one in part: what is written next begins a new line.
func (n *NDJSON) Write(ctx context.Context, fs []event.Finding) error {
	sent := n.now().UnixNano()
	n.buf = n.buf[:0]
	for i := range fs {
		n.buf = append(n.enc.Finding(n.buf, &fs[i], sent), '\n')
		if len(n.buf) < ndjsonSize && i < len(fs)-1 {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := n.flush(); err != nil {
			return err
		}
	}
	return nil
}

func (n *NDJSON) flush() error {
	if n.torn {
		if _, err := n.w.Write([]byte{'\n'}); err != nil {
			return err
		}
		n.torn = false
	}
	written, err := n.w.Write(n.buf)
	if err == nil && written < len(n.buf) {
		err = io.ErrShortWrite
	}
	n.torn = err != nil && written > 0 && written <= len(n.buf) && n.buf[written-1] != '\n'
	n.buf = n.buf[:0]
	return err
}
