package disk

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"tidewatch/behavior/state"
)

// Keys are a section's number and a record's key. The epoch's key is behind them all.
var epochKey = []byte{0xff}

// checkEvery is after how many records a load looks whether it is still wanted.
const checkEvery = 1024

// database is pebble, watched: where pebble would end the process, calls return an
// error instead.
type database struct {
	*pebble.DB
	*guard
}

// mode is what openDatabase expects.
type mode int

const (
	existing mode = iota
	fresh         // nothing is there
	copying       // nothing is there, and it is a database only when all is written
)

func openDatabase(path string, fs vfs.FS, log *slog.Logger, m mode) (*database, error) {
	g := &guard{log: log, dead: make(chan struct{})}
	opts := &pebble.Options{
		FS:                 fs,
		FormatMajorVersion: pebble.FormatValueSeparation,
		ErrorIfNotExists:   m == existing,
		ErrorIfExists:      m != existing,
		DisableWAL:         m == copying,
		MemTableSize:       16 << 20,
		CacheSize:          8 << 20, // state is read once, in order
		MaxOpenFiles:       256,
		Logger:             g,
		EventListener: &pebble.EventListener{
			BackgroundError: g.fail,
			DataCorruption:  func(pebble.DataCorruptionInfo) {}, // the reader gets the error
		},
	}
	var db *pebble.DB
	err := g.do(func() (err error) {
		db, err = pebble.Open(path, opts)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &database{db, g}, nil
}

// apply commits c, which takes up size bytes.
func (d *database) apply(c *state.Checkpoint, size int) error {
	b := d.NewBatchWithSize(size)
	defer b.Close()
	var key []byte
	for section, rs := range c.Changed {
		for _, r := range rs {
			key = append(append(key[:0], byte(section)), r.Key...)
			var err error
			if len(r.Value) == 0 {
				err = b.Delete(key, nil)
			} else {
				err = b.Set(key, r.Value, nil)
			}
			if err != nil {
				return err
			}
		}
	}
	if err := b.Set(epochKey, binary.BigEndian.AppendUint64(nil, c.Epoch), nil); err != nil {
		return err
	}
	return d.do(func() error { return b.Commit(pebble.Sync) })
}

func (d *database) setEpoch(n uint64, o *pebble.WriteOptions) error {
	return d.do(func() error { return d.Set(epochKey, binary.BigEndian.AppendUint64(nil, n), o) })
}

func (d *database) readEpoch() (uint64, error) {
	v, closer, err := d.Get(epochKey)
	if err != nil {
		return 0, fmt.Errorf("reading the epoch: %w", err)
	}
	defer closer.Close()
	if len(v) != 8 {
		return 0, fmt.Errorf("an epoch of %d bytes", len(v))
	}
	return binary.BigEndian.Uint64(v), nil
}

// each gives f the records in order.
func (d *database) each(ctx context.Context, f func(state.Section, state.Record) error) error {
	it, err := d.NewIterWithContext(ctx, &pebble.IterOptions{UpperBound: epochKey})
	if err != nil {
		return damaged(err)
	}
	defer it.Close()
	n := 0
	for it.First(); it.Valid(); it.Next() {
		if n++; n%checkEvery == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		key := it.Key()
		if len(key) == 0 || state.Section(key[0]) >= state.NumSections {
			return damaged(fmt.Errorf("a key of %d bytes in no known section", len(key)))
		}
		value, err := it.ValueAndErr()
		if err != nil {
			return damaged(err)
		}
		if err := f(state.Section(key[0]), state.Record{Key: key[1:], Value: value}); err != nil {
			return err
		}
	}
	if err := it.Error(); err != nil {
		return damaged(err)
	}
	return nil
}

// close closes the database, unless it failed: then it would wait for ever for what
// the failure has stopped, and its files are closed with the process.
func (d *database) close() error { return d.do(d.DB.Close) }

// guard stands where pebble reports what it cannot recover from, such as a log that
// cannot be written.
type guard struct {
	log  *slog.Logger
	once sync.Once
	err  error
	dead chan struct{}
}

func (g *guard) fail(err error) {
	g.once.Do(func() { g.err = err; close(g.dead) })
}

// do runs f until it ends or the database fails.
func (g *guard) do(f func() error) error {
	select {
	case <-g.dead:
		return g.err
	default:
	}
	ended := make(chan error, 1)
	go func() { ended <- f() }()
	select {
	case err := <-ended:
		return err
	case <-g.dead:
		return g.err
	}
}

// Infof is part of pebble's logger.
func (g *guard) Infof(string, ...any) {}

// Errorf is part of pebble's logger.
func (g *guard) Errorf(format string, args ...any) {
	g.log.Warn("state database", "says", fmt.Sprintf(format, args...))
}

// Fatalf is part of pebble's logger. Pebble expects that it does not return. The
// goroutine is held: if it went on, or let go of pebble's locks, more might be written
// after what is missing.
func (g *guard) Fatalf(format string, args ...any) {
	err := fmt.Errorf(format, args...)
	for _, a := range args {
		if cause, ok := a.(error); ok {
			err = &fatal{err.Error(), cause}
		}
	}
	g.fail(err)
	select {}
}

// fatal is an error whose cause was formatted away.
type fatal struct {
	text  string
	cause error
}

func (f *fatal) Error() string { return f.text }
func (f *fatal) Unwrap() error { return f.cause }
