package disk

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidewatch/behavior/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Storage {
		dir := filepath.Join(t.TempDir(), "state")
		return storetest.Storage{
			Open: func(t *testing.T) storetest.Store { return reopen(t, dir) },
			Crash: func(t *testing.T, n int) storetest.Store {
				old := dir
				dir = filepath.Join(t.TempDir(), "state")
				fs := &dying{FS: vfs.Default}
				fs.left.Store(math.MaxInt32)
				s, err := open(old, Options{}, steps, fs)
				if err != nil {
					t.Fatal(err)
				}
				fs.left.Store(int64(n))
				return &crashing{s, func() { fs.left.Store(0); image(t, old, dir) }}
			},
		}
	})
}

func reopen(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// crashing is a store whose process dies when it is closed: what is in its directory
// then, is.
type crashing struct {
	*Store
	image func()
}

func (c *crashing) Close() error {
	c.image()
	return c.Store.Close()
}

// image copies a state directory, as a crash leaves it.
func image(t *testing.T, from, to string) {
	t.Helper()
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

var errDied = errors.New("the process died")

// dying is a file system that does nothing any more after some writes.
type dying struct {
	vfs.FS
	left atomic.Int64
}

func (d *dying) alive() error {
	if d.left.Add(-1) <= 0 {
		return errDied
	}
	return nil
}

func (d *dying) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return d.file(func() (vfs.File, error) { return d.FS.Create(name, c) })
}

func (d *dying) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return d.file(func() (vfs.File, error) { return d.FS.ReuseForWrite(old, name, c) })
}

func (d *dying) Rename(old, name string) error {
	return errors.Join(d.alive(), d.FS.Rename(old, name))
}

func (d *dying) Remove(name string) error {
	if err := d.alive(); err != nil {
		return err
	}
	return d.FS.Remove(name)
}

func (d *dying) file(open func() (vfs.File, error)) (vfs.File, error) {
	if err := d.alive(); err != nil {
		return nil, err
	}
	f, err := open()
	return dyingFile{f, d}, err
}

// dyingFile is a file of a dying file system. The write that comes first after the end
// is half done.
type dyingFile struct {
	vfs.File
	fs *dying
}

func (f dyingFile) Write(b []byte) (int, error) {
	if err := f.fs.alive(); err != nil {
		if f.fs.left.Load() == 0 {
			_, _ = f.File.Write(b[:len(b)/2])
		}
		return 0, err
	}
	return f.File.Write(b)
}

func (f dyingFile) Sync() error { return errors.Join(f.fs.alive(), f.File.Sync()) }

func (f dyingFile) SyncData() error { return errors.Join(f.fs.alive(), f.File.SyncData()) }

func (f dyingFile) SyncTo(n int64) (bool, error) {
	if err := f.fs.alive(); err != nil {
		return false, err
	}
	return f.File.SyncTo(n)
}
