// Package deadletter keeps what a server will never take.
package deadletter

import (
	"errors"
	"os"
	"sync"
)

// File is a file of dead letters: one JSON object a line, with the reason. It is made
// when the first one comes. It may be used concurrently.
type File struct {
	Path string
	// Most is how many bytes it has when it is renamed to end in ".1", in place of the
	// one before.
	Most int64

	mu   sync.Mutex
	file *os.File // nil until it is needed
	size int64
}

// Add appends whole lines. When it returns nil they are durable.
func (d *File) Add(lines []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.open(int64(len(lines))); err != nil {
		return err
	}
	n, err := d.file.Write(lines)
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
func (d *File) open(next int64) error {
	if d.file != nil && d.size > 0 && d.size+next > d.Most {
		if err := d.close(); err != nil {
			return err
		}
		if err := os.Rename(d.Path, d.Path+".1"); err != nil {
			return err
		}
	}
	if d.file != nil {
		return nil
	}
	f, err := os.OpenFile(d.Path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	d.file, d.size = f, info.Size()
	if d.size > 0 && d.size+next > d.Most {
		return d.open(next)
	}
	return nil
}

// Close closes the file. Add may be called all the same, and opens it again.
func (d *File) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.close()
}

func (d *File) close() error {
	if d.file == nil {
		return nil
	}
	err := d.file.Close()
	d.file = nil
	return err
}
