package outputs

import (
	"context"
	"io"
	"time"

	"tidewatch/event"
)

// NDJSON writes findings as ECS documents, one a line. It is used by one
// goroutine.
type NDJSON struct {
	w   io.Writer
	buf []byte
	now func() time.Time
}

// NewNDJSON returns an NDJSON that writes to w.
func NewNDJSON(w io.Writer) *NDJSON { return &NDJSON{w: w, now: time.Now} }

// Write writes the findings in one call to the underlying writer. When it returns
// nil, w has taken them all; whether they are durable is w's business.
func (n *NDJSON) Write(_ context.Context, fs []event.Finding) error {
	if len(fs) == 0 {
		return nil
	}
	n.buf = n.buf[:0]
	sent := n.now().UnixNano()
	for i := range fs {
		n.buf = append(AppendDocument(n.buf, &fs[i], sent), '\n')
	}
	written, err := n.w.Write(n.buf)
	if err == nil && written < len(n.buf) {
		err = io.ErrShortWrite
	}
	return err
}
