package elastic

import (
	"strconv"
	"time"

	"tidewatch/outputs"
)

// letter is one document that was refused.
type letter struct {
	stream, id   string
	status       int
	kind, reason string // in the server's words
	document     []byte // JSON
}

// append appends the letter as a line.
func (l *letter) append(b []byte, now time.Time) []byte {
	b = append(b, `{"@timestamp":"`...)
	b = now.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000Z")
	b = outputs.AppendString(append(b, `","data_stream":`...), l.stream)
	b = outputs.AppendString(append(b, `,"_id":`...), l.id)
	b = strconv.AppendInt(append(b, `,"status":`...), int64(l.status), 10)
	b = outputs.AppendString(append(b, `,"type":`...), shorten(l.kind, 200))
	b = outputs.AppendString(append(b, `,"reason":`...), shorten(l.reason, 2000))
	return append(append(append(b, `,"document":`...), l.document...), "}\n"...)
}

// lines returns letters as lines of the dead letter file.
func lines(letters []letter, now time.Time) []byte {
	var b []byte
	for i := range letters {
		b = letters[i].append(b, now)
	}
	return b
}
