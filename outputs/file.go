package outputs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"time"

	"tidewatch/event"
)

const (
	// knownTail is how much of a file's end is read, in bytes, to find out which
	// findings it has.
	knownTail = 8 << 20
	// shortRetry and longRetry bound the pause between two tries.
	shortRetry, longRetry = 100 * time.Millisecond, 30 * time.Second
)

// File is a file of findings as ECS documents, one a line. Each is written once: what
// a crash cut off is removed when the file is opened, and what a replay finds again is
// known by its id. One goroutine calls Write; Reopen may be called by any.
type File struct {
	path   string
	log    *slog.Logger
	file   *os.File
	size   int64 // of whole lines; -1: it is no regular file
	known  map[string]struct{}
	reopen atomic.Bool
}

// OpenFile opens or makes the file.
func OpenFile(path string, log *slog.Logger) (*File, error) {
	f := &File{path: path, log: log, known: map[string]struct{}{}}
	if err := f.open(); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *File) open() error {
	file, err := os.OpenFile(f.path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return err
	}
	f.file, f.size = file, -1
	if !info.Mode().IsRegular() {
		return nil
	}
	if err := f.recall(info.Size()); err != nil {
		file.Close()
		return fmt.Errorf("%s: %w", f.path, err)
	}
	return nil
}

// recall reads the ids at the end of the file, and cuts off a line without an end.
func (f *File) recall(size int64) error {
	start := max(size-knownTail, 0)
	tail := make([]byte, size-start)
	if _, err := f.file.ReadAt(tail, start); err != nil && err != io.EOF {
		return err
	}
	whole := bytes.LastIndexByte(tail, '\n') + 1
	if torn := len(tail) - whole; torn > 0 {
		if whole == 0 && start > 0 {
			return fmt.Errorf("its last %d bytes are no line: it is not a file of findings", knownTail)
		}
		if whole == 0 && tail[0] != '{' {
			return errors.New("it is not a file of findings")
		}
		f.log.Warn("a finding that was cut off is removed from the output file; it will be found again", "file", f.path, "bytes", torn)
		if err := f.file.Truncate(start + int64(whole)); err != nil {
			return err
		}
	}
	f.size = start + int64(whole)
	for line := range bytes.Lines(tail[:whole]) {
		var doc struct{ Event struct{ ID string } }
		if json.Unmarshal(line, &doc) == nil && doc.Event.ID != "" {
			f.known[doc.Event.ID] = struct{}{}
		}
	}
	return nil
}

// Write appends the findings and waits until the disk has them. While it cannot, it
// tries again; it gives up when ctx ends.
func (f *File) Write(ctx context.Context, fs []event.Finding) error {
	fs = f.fresh(fs)
	for pause := shortRetry; len(fs) > 0 || f.reopen.Load(); pause = min(2*pause, longRetry) {
		err := f.append(ctx, fs)
		if err == nil {
			return nil
		}
		f.log.Error("the output file cannot be written; trying again", "file", f.path, "error", err)
		t := time.NewTimer(pause/2 + rand.N(pause/2))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return errors.Join(ctx.Err(), err)
		}
	}
	return nil
}

// fresh returns the findings that the file does not have.
func (f *File) fresh(fs []event.Finding) []event.Finding {
	if len(f.known) == 0 {
		return fs
	}
	var fresh []event.Finding
	for i := range fs {
		if _, again := f.known[fs[i].ID]; again {
			delete(f.known, fs[i].ID)
			continue
		}
		fresh = append(fresh, fs[i])
	}
	return fresh
}

// append writes all of the findings or none.
func (f *File) append(ctx context.Context, fs []event.Finding) error {
	if f.file == nil || f.reopen.Swap(false) {
		if err := f.renew(); err != nil {
			f.reopen.Store(true)
			return err
		}
	}
	counted := &countingWriter{w: f.file}
	err := NewNDJSON(counted).Write(ctx, fs)
	if f.size < 0 {
		return err
	}
	if err == nil {
		err = f.file.Sync()
	}
	if err != nil && counted.n > 0 {
		return errors.Join(err, f.file.Truncate(f.size))
	}
	f.size += counted.n
	return err
}

// renew opens the path again: what was there may have been renamed.
func (f *File) renew() error {
	if f.file != nil {
		f.file.Close()
		f.file = nil
	}
	known := f.known
	f.known = map[string]struct{}{}
	if err := f.open(); err != nil {
		f.known = known
		return err
	}
	f.known = known // what is in a new file was not written before a crash
	return nil
}

// Reopen makes the next Write open the path again, as after a rotation.
func (f *File) Reopen() { f.reopen.Store(true) }

// Close closes the file.
func (f *File) Close() error {
	if f.file == nil {
		return nil
	}
	return f.file.Close()
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}
