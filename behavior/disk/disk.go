// Package disk keeps checkpoints in a directory of its own, in an embedded database
// (pebble). It is the store of a sensor that shares its state with nobody.
//
//	FORMAT   which format the directory has, and which data directory is the valid one
//	LOCK     held by the process that uses the directory
//	data-N/  the database; each block and each entry of its log has a checksum
//
// A commit is one batch, and durable when Commit returns: after a crash the directory
// holds one epoch, whole. What is not understood is refused and left as it is.
package disk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"tidewatch/behavior/state"
)

// What Open, Commit and Load fail with, beside errors of the operating system.
var (
	ErrInUse   = errors.New("in use by another process")
	ErrForeign = errors.New("not a state directory of tidewatch")
	ErrNewer   = errors.New("written by a newer version of tidewatch")
	ErrDamaged = errors.New("damaged")
	ErrEpoch   = errors.New("the epoch is older than the one committed last")
)

// Options are what a Store is opened with. The zero Options are ready.
type Options struct {
	Log *slog.Logger // what the database complains about; nil: nothing is said
}

// Store is an open state directory. Its methods may be called concurrently; one runs
// at a time.
//
// A Store that failed because the database could not write stays failed: what has been
// committed is safe, and is there when the directory is opened again.
type Store struct {
	mu    sync.Mutex
	dir   *directory
	fs    vfs.FS // of the data directories
	log   *slog.Logger
	db    *database
	epoch uint64
}

const (
	// maxBatch is how much one batch can hold: the database counts in 32 bits.
	maxBatch = 1 << 31
	// reserve is what must be free, in bytes, beside what a commit writes: room for
	// the database's own upkeep.
	reserve = 16 << 20
)

// Open opens the state directory dir, and makes it if it is not there or empty. It
// brings an older format up to date. The error says what is wrong with the directory
// and what can be done; a directory that is refused is not changed.
func Open(dir string, o Options) (*Store, error) { return open(dir, o, steps, vfs.Default) }

func open(name string, o Options, steps []step, fs vfs.FS) (s *Store, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("state directory %q: %w", name, err)
		}
	}()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	dir, err := claim(name)
	if err != nil {
		return nil, err
	}
	s = &Store{dir: dir, fs: private{fs, dir.owner}, log: o.Log}
	if err := s.start(steps); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// start opens the database of a directory that is claimed.
func (s *Store) start(steps []step) error {
	f, known, err := s.dir.format()
	if err != nil {
		return err
	}
	if f.number > len(steps)+1 {
		return fmt.Errorf("%w: it has format %d, this version knows %d: use that version, or another directory", ErrNewer, f.number, len(steps)+1)
	}
	if !known {
		if f, err = s.create(len(steps) + 1); err != nil {
			return err
		}
	}
	if err := s.use(f); err != nil {
		return err
	}
	if f.number <= len(steps) {
		if err := s.rewrite(context.Background(), len(steps)+1, steps[f.number-1:]); err != nil {
			return fmt.Errorf("bringing format %d up to date: %w", f.number, err)
		}
	}
	return nil
}

// create makes the database of an empty directory.
func (s *Store) create(number int) (format, error) {
	f := format{number, dataName(1)}
	if err := s.dir.announce(f); err != nil {
		return f, err
	}
	db, err := openDatabase(s.dir.path(f.data), s.fs, s.log, fresh)
	if err != nil {
		return f, err
	}
	return f, errors.Join(db.setEpoch(0, pebble.Sync), db.close(), s.dir.publish())
}

// use opens the database that f names, and drops what an interrupted rewrite left.
func (s *Store) use(f format) error {
	if _, err := os.Stat(s.dir.path(f.data)); err != nil {
		return damaged(err)
	}
	db, err := openDatabase(s.dir.path(f.data), s.fs, s.log, existing)
	if err != nil {
		return damaged(err)
	}
	s.db = db
	if s.epoch, err = db.readEpoch(); err != nil {
		return damaged(err)
	}
	return s.dir.tidy(f)
}

// damaged says what can be done about a database that cannot be read.
func damaged(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) && errno != syscall.ENOENT {
		return err // the operating system's word on the disk, not on its content
	}
	return fmt.Errorf("%w: %w: put back a copy of the directory, or move it away to learn anew", ErrDamaged, err)
}

// Commit makes c durable: all of it or, if it fails, nothing. It keeps nothing of c.
// An epoch may be committed again, as after an answer that was lost; an older one than
// the last is refused.
func (s *Store) Commit(ctx context.Context, c *state.Checkpoint) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return err
	}
	if c.Epoch < s.epoch {
		return s.fail(fmt.Errorf("%w: %d, after %d", ErrEpoch, c.Epoch, s.epoch))
	}
	size := 64
	for _, rs := range c.Changed {
		for _, r := range rs {
			size += len(r.Key) + len(r.Value) + 16
		}
	}
	if size > maxBatch {
		return s.fail(fmt.Errorf("epoch %d changes %d MiB, more than the %d MiB that can be committed at once", c.Epoch, size>>20, maxBatch>>20))
	}
	if err := s.dir.room(2*uint64(size) + reserve); err != nil {
		return s.fail(err)
	}
	if err := s.db.apply(c, size); err != nil {
		return s.fail(err)
	}
	s.epoch = c.Epoch
	return nil
}

// Load gives f each record of the last epoch, in the order of sections and keys, and
// returns that epoch: 0 where nothing was committed. A record is f's until f returns.
// An error of f ends it, and is returned.
func (s *Store) Load(ctx context.Context, f func(state.Section, state.Record) error) (epoch uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	if err := s.db.each(ctx, f); err != nil {
		return 0, s.fail(err)
	}
	return s.epoch, nil
}

// Close releases the directory. What was committed stays.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.close()
}

func (s *Store) close() error {
	if s.dir == nil {
		return nil
	}
	if s.db != nil {
		if err := s.db.close(); err != nil {
			return s.fail(err) // the lock stays: what has failed may not be over
		}
		s.db = nil
	}
	err := s.dir.release()
	s.dir = nil
	return err
}

// usable reports why nothing can be done now.
func (s *Store) usable(ctx context.Context) error {
	if s.db == nil {
		return errors.New("the state directory is closed")
	}
	return ctx.Err()
}

func (s *Store) fail(err error) error {
	return fmt.Errorf("state directory %q: %w", s.dir.name, err)
}
