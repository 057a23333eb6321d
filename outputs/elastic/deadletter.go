package elastic

import (
	"errors"
	"os"
	"strconv"
	"sync"
	"time"

	"tidewatch/outputs"
)

// deadLetters is the file of documents that the server will never take: one JSON
// object a line, with the reason. It may be used concurrently.
type deadLetters struct {
	path string
	most int64 // bytes, before it is renamed

	mu   sync.Mutex
	file *os.File // nil until it is needed
	size int64
}

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

// add writes the letters. When it returns nil they are durable.
func (d *deadLetters) add(letters []letter) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	var b []byte
	for i := range letters {
		b = letters[i].append(b, now)
	}
	if err := d.open(int64(len(b))); err != nil {
		return err
	}
	n, err := d.file.Write(b)
	d.size += int64(n)
	if err == nil {
		err = d.file.Sync()
	}
	if err != nil {
		// The next try appends all of it again, on a line of its own.
		_ = d.file.Truncate(d.size - int64(n))
		err = errors.Join(err, d.close())
	}
	return err
}

// open opens the file, and starts a new one where the next bytes do not fit.
func (d *deadLetters) open(next int64) error {
	if d.file != nil && d.size > 0 && d.size+next > d.most {
		if err := d.close(); err != nil {
			return err
		}
		if err := os.Rename(d.path, d.path+".1"); err != nil {
			return err
		}
	}
	if d.file != nil {
		return nil
	}
	f, err := os.OpenFile(d.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	d.file, d.size = f, info.Size()
	if d.size > 0 && d.size+next > d.most {
		return d.open(next)
	}
	return nil
}

func (d *deadLetters) close() error {
	if d.file == nil {
		return nil
	}
	err := d.file.Close()
	d.file = nil
	return err
}
