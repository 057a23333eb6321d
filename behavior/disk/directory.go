package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Names in a state directory.
const (
	formatName = "FORMAT"
	newName    = "FORMAT.new" // what FORMAT is to become: a data directory is being made
	lockName   = "LOCK"
)

// format is what FORMAT says.
type format struct {
	number int    // counts from 1
	data   string // the data directory that is valid
}

var (
	formatText = regexp.MustCompile(`^tidewatch state\nformat ([1-9][0-9]{0,5})\ndata (data-[1-9][0-9]{0,8})\n$`)
	dataText   = regexp.MustCompile(`^data-([1-9][0-9]{0,8})$`)
)

func (f format) String() string {
	return fmt.Sprintf("tidewatch state\nformat %d\ndata %s\n", f.number, f.data)
}

// dataName returns the name of the n-th data directory.
func dataName(n int) string { return fmt.Sprintf("data-%d", n) }

// next returns the name of the data directory after f's.
func (f format) next() string {
	n, _ := strconv.Atoi(strings.TrimPrefix(f.data, "data-"))
	return dataName(n + 1)
}

// directory is a state directory that this process holds the lock of.
type directory struct {
	name  string
	lock  *os.File
	owner owner
}

// claim takes the directory, which it makes if need be.
func claim(name string) (*directory, error) {
	if err := os.MkdirAll(name, 0o700); err != nil {
		return nil, err
	}
	if err := ours(name); err != nil {
		return nil, err
	}
	d := &directory{name: name, owner: ownerOf(name)}
	f, err := os.OpenFile(d.path(lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, inUse(f)
		}
		return nil, fmt.Errorf("locking %s: %w", lockName, err)
	}
	d.lock = f
	err = errors.Join(d.owner.give(d.path(lockName)), f.Truncate(0))
	if _, werr := f.WriteAt(fmt.Appendln(nil, os.Getpid()), 0); errors.Join(err, werr) != nil {
		return nil, errors.Join(err, werr, d.release())
	}
	return d, nil
}

// path returns the path of what is in the directory.
func (d *directory) path(name string) string { return filepath.Join(d.name, name) }

// ours refuses a directory that holds something, but nothing of ours: it must not get
// so much as a lock.
func ours(name string) error {
	entries, err := os.ReadDir(name)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == lockName || e.Name() == formatName || e.Name() == newName {
			return nil
		}
	}
	if len(entries) > 0 {
		return fmt.Errorf("%w: it holds %q and no %s file: name a directory of its own", ErrForeign, entries[0].Name(), formatName)
	}
	return nil
}

// inUse names the process that holds the lock.
func inUse(lock *os.File) error {
	b := make([]byte, 20)
	n, _ := lock.ReadAt(b, 0)
	if pid, err := strconv.Atoi(strings.TrimSpace(string(b[:n]))); err == nil {
		return fmt.Errorf("%w: %d", ErrInUse, pid)
	}
	return ErrInUse
}

func (d *directory) release() error { return d.lock.Close() }

// format reads what the directory holds. It is not known where nothing was ever
// committed; what an interrupted creation left is removed then.
func (d *directory) format() (f format, known bool, err error) {
	b, err := os.ReadFile(d.path(formatName))
	if err == nil {
		f, err = parseFormat(b)
		return f, err == nil, err
	}
	if !errors.Is(err, os.ErrNotExist) {
		return f, false, err
	}
	entries, err := os.ReadDir(d.name)
	if err != nil {
		return f, false, err
	}
	if _, err := os.Stat(d.path(newName)); err == nil {
		// FORMAT comes before the first commit, so nothing was committed.
		return f, false, d.tidy(f)
	}
	for _, e := range entries {
		if e.Name() != lockName {
			return f, false, damaged(fmt.Errorf("it holds %q and no %s file", e.Name(), formatName))
		}
	}
	return f, false, nil
}

func parseFormat(b []byte) (format, error) {
	m := formatText.FindSubmatch(b)
	if m == nil {
		if strings.HasPrefix(string(b), "tidewatch state\n") {
			return format{}, damaged(fmt.Errorf("the file %s cannot be read", formatName))
		}
		return format{}, fmt.Errorf("%w: its %s file is not ours", ErrForeign, formatName)
	}
	n, err := strconv.Atoi(string(m[1]))
	return format{n, string(m[2])}, err
}

// announce says that the data directory of f is being made.
func (d *directory) announce(f format) error {
	if err := os.RemoveAll(d.path(f.data)); err != nil {
		return err
	}
	file, err := os.OpenFile(d.path(newName), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteString(f.String())
	err = errors.Join(err, d.owner.give(d.path(newName)), file.Sync(), file.Close(), d.sync())
	if err != nil {
		return err
	}
	if err := os.Mkdir(d.path(f.data), 0o700); err != nil {
		return err
	}
	return errors.Join(d.owner.give(d.path(f.data)), d.sync())
}

// publish makes the data directory that was announced the valid one.
func (d *directory) publish() error {
	if err := os.Rename(d.path(newName), d.path(formatName)); err != nil {
		return err
	}
	return d.sync()
}

// tidy removes data directories that are not f's, and what announced them.
func (d *directory) tidy(f format) error {
	entries, err := os.ReadDir(d.name)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if dataText.MatchString(e.Name()) && e.Name() != f.data {
			if err := os.RemoveAll(d.path(e.Name())); err != nil {
				return err
			}
		}
	}
	// Last: without it, a data directory that nothing names is a damage.
	if err := os.Remove(d.path(newName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return d.sync()
}

// room reports whether n bytes are free.
func (d *directory) room(n uint64) error {
	u, err := vfs.Default.GetDiskUsage(d.name)
	if err != nil {
		return err
	}
	if u.AvailBytes < n {
		return fmt.Errorf("%w: %d MiB are free, %d are needed", syscall.ENOSPC, u.AvailBytes>>20, n>>20)
	}
	return nil
}

// sync makes names in the directory durable.
func (d *directory) sync() error {
	f, err := os.Open(d.name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// owner is who a directory belongs to. What root writes there is given to him, so that
// a command that root ran once does not keep the service from its own files.
type owner struct{ uid, gid int }

// ownerOf returns the owner of the file, and nobody where we are not root.
func ownerOf(name string) owner {
	i, err := os.Stat(name)
	if err != nil || os.Geteuid() != 0 {
		return owner{-1, -1}
	}
	if s, ok := i.Sys().(*syscall.Stat_t); ok && s.Uid != 0 {
		return owner{int(s.Uid), int(s.Gid)}
	}
	return owner{-1, -1}
}

func (o owner) give(name string) error {
	if o.uid < 0 {
		return nil
	}
	return os.Lchown(name, o.uid, o.gid)
}

// private is a file system whose new files are the owner's alone.
type private struct {
	vfs.FS
	owner owner
}

// Create makes a file that is the owner's alone.
func (p private) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := p.FS.Create(name, c)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.Chmod(name, 0o600), p.owner.give(name)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Lock locks a file, as pebble does with one in its directory, which is the owner's
// alone too.
func (p private) Lock(name string) (io.Closer, error) {
	c, err := p.FS.Lock(name)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.Chmod(name, 0o600), p.owner.give(name)); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}
