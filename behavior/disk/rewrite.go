package disk

import (
	"context"
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"tidewatch/behavior/state"
)

// copySize is how many bytes of a copy are written at once.
const copySize = 1 << 20

// step turns a record of one format into one of the next. A record without a value is
// left out. What it is given is its own until it returns, and it may return it.
type step func(state.Section, state.Record) (state.Section, state.Record, error)

// steps are the ways from each older format to the next: the first leads from format 1
// to format 2. The last one leads to the format that this version writes.
var steps []step

// Compact writes the state anew, into fresh files, and removes the old ones: nothing is
// left in the directory of records that were removed or replaced. It takes as long as a
// load and needs room for a second copy. Until it is done, commits wait.
//
// What the disk itself keeps of deleted files is not in its hands.
func (s *Store) Compact(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return err
	}
	if err := s.rewrite(ctx, 0, nil); err != nil {
		return s.fail(err)
	}
	return nil
}

// rewrite copies the state through the steps into a new data directory, and changes
// over to it. A crash leaves the old one or the new one valid. Number is the format of
// the copy; 0 means that it stays.
func (s *Store) rewrite(ctx context.Context, number int, through []step) (err error) {
	f, _, err := s.dir.format()
	if err != nil {
		return err
	}
	next := format{max(number, f.number), f.next()}
	if err := s.dir.room(s.db.Metrics().DiskSpaceUsage() + reserve); err != nil {
		return err
	}
	if err := s.dir.announce(next); err != nil {
		return err
	}
	if err := s.copy(ctx, next.data, through); err != nil {
		return errors.Join(err, s.dir.tidy(f))
	}
	// From here on the new one is valid, whatever happens.
	if err := s.dir.publish(); err != nil {
		return err
	}
	err = s.db.close()
	s.db = nil
	return errors.Join(err, s.use(next))
}

// copy fills a data directory.
func (s *Store) copy(ctx context.Context, data string, through []step) error {
	to, err := openDatabase(s.dir.path(data), s.fs, s.log, copying)
	if err != nil {
		return err
	}
	b := to.NewBatch()
	flush := func() error {
		err := to.do(func() error { return b.Commit(pebble.NoSync) })
		b.Reset()
		return err
	}
	err = s.db.each(ctx, func(section state.Section, r state.Record) error {
		for _, f := range through {
			var err error
			if section, r, err = f(section, r); err != nil || len(r.Value) == 0 {
				return err
			}
		}
		if err := b.Set(append([]byte{byte(section)}, r.Key...), r.Value, nil); err != nil {
			return err
		}
		if b.Len() < copySize {
			return nil
		}
		return flush()
	})
	if err == nil {
		err = errors.Join(flush(), to.setEpoch(s.epoch, pebble.NoSync), to.do(to.Flush))
	}
	return errors.Join(err, b.Close(), to.close())
}
