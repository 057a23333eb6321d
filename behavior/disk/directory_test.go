package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"tidewatch/behavior/state"
	"tidewatch/behavior/storetest"
)

// put commits records of one section, given as keys and values.
func put(t *testing.T, s *Store, epoch uint64, pairs ...string) {
	t.Helper()
	c := &state.Checkpoint{Epoch: epoch}
	for i := 0; i < len(pairs); i += 2 {
		c.Changed[state.Entities] = append(c.Changed[state.Entities], state.Record{Key: []byte(pairs[i]), Value: []byte(pairs[i+1])})
	}
	if err := s.Commit(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

func shut(t *testing.T, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// filled makes a state directory that holds something, and closes it.
func filled(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "state")
	s := reopen(t, dir)
	put(t, s, 1, "a", "1", "b", strings.Repeat("value", 1000))
	shut(t, s)
	return dir
}

// listing returns what a directory holds, with its content.
func listing(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			all[path] = "directory"
			return err
		}
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a database that is open has removed it meanwhile
		}
		all[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// What is not understood is refused with a message that names the directory and the
// reason, and is left as it was.
func TestRefused(t *testing.T) {
	f := func(name string, want error, says string, change func(dir string) error) {
		t.Run(name, func(t *testing.T) {
			dir := filled(t)
			if err := change(dir); err != nil {
				t.Fatal(err)
			}
			before := listing(t, dir)
			s, err := Open(dir, Options{})
			if err == nil {
				_, err = s.Load(t.Context(), func(state.Section, state.Record) error { return nil })
				defer s.Close()
			}
			if !errors.Is(err, want) || !strings.Contains(fmt.Sprint(err), says) || !strings.Contains(fmt.Sprint(err), fmt.Sprintf("%q", dir)) {
				t.Errorf("it says %v\nwant %q, %q and the directory", err, want, says)
			}
			if s != nil {
				return // what was readable was read
			}
			after := listing(t, dir)
			if d := cmp.Diff(before, after); d != "" {
				t.Errorf("it was changed:\n%s", d)
			}
		})
	}
	write := func(name, text string) func(string) error {
		return func(dir string) error { return os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600) }
	}
	remove := func(pattern string) func(string) error {
		return func(dir string) error {
			names, _ := filepath.Glob(filepath.Join(dir, pattern))
			if len(names) == 0 {
				return errors.New("nothing to remove")
			}
			for _, n := range names {
				if err := os.RemoveAll(n); err != nil {
					return err
				}
			}
			return nil
		}
	}
	f("newer", ErrNewer, "has format 2, this version knows 1", write(formatName, format{2, "data-1"}.String()))
	f("another program's FORMAT", ErrForeign, "not ours", write(formatName, "1\n"))
	f("torn FORMAT", ErrDamaged, "FORMAT cannot be read", write(formatName, "tidewatch state\nfor"))
	f("a path in FORMAT", ErrDamaged, "FORMAT", write(formatName, "tidewatch state\nformat 1\ndata ../x\n"))
	f("no FORMAT", ErrDamaged, `holds "data-1" and no FORMAT`, remove(formatName))
	f("no FORMAT and no LOCK", ErrForeign, `holds "data-1" and no FORMAT`, func(dir string) error {
		return errors.Join(remove(formatName)(dir), remove(lockName)(dir))
	})
	f("no data", ErrDamaged, "put back a copy", remove("data-1"))
	f("other data", ErrDamaged, "put back a copy", write(formatName, format{1, "data-2"}.String()))
	f("no manifest", ErrDamaged, "put back a copy", remove("data-1/MANIFEST-*"))
	f("no marker", ErrDamaged, "put back a copy", remove("data-1/marker.manifest*"))
	f("no tables and no log", ErrDamaged, "put back a copy", func(dir string) error {
		_ = remove("data-1/*.sst")(dir)
		return remove("data-1/*.log")(dir)
	})
}

func TestForeignDirectory(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "thesis.tex"), []byte("years of work"), 0o644); err != nil {
		t.Fatal(err)
	}
	before := listing(t, dir)
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), "thesis.tex") {
		t.Errorf("Open says %v, want %v and what it found", err, ErrForeign)
	}
	if d := cmp.Diff(before, listing(t, dir)); d != "" {
		t.Errorf("it was changed:\n%s", d)
	}
}

// Whatever bit of a directory is flipped: what Load gives is whole and was committed, or
// it fails.
func TestFlippedBits(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	s, r := reopen(t, dir), rand.New(rand.NewPCG(5, 6))
	states := map[uint64]*storetest.Content{0: {}}
	var now storetest.Content
	for epoch := range uint64(6) {
		c := &state.Checkpoint{Epoch: epoch + 1}
		for i := range 40 {
			c.Changed[state.Entities] = append(c.Changed[state.Entities], state.Record{Key: fmt.Appendf(nil, "k%d", i), Value: bytes.Repeat([]byte{byte(epoch + 1)}, 1+r.IntN(300))})
		}
		if err := s.Commit(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if epoch == 2 { // some of it in tables, some in the log
			if err := s.db.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		now.Apply(c)
		clone := now.Clone()
		states[epoch+1] = &clone
	}
	whole := filepath.Join(t.TempDir(), "whole")
	shut(t, s)
	image(t, dir, whole)
	var files []string
	for path, content := range listing(t, whole) {
		if content != "directory" && len(content) > 0 && filepath.Base(path) != lockName && !strings.Contains(path, "OPTIONS") {
			files = append(files, path)
		}
	}
	refused, older := 0, 0
	for i := range 150 {
		image(t, whole, dir)
		name := files[i%len(files)]
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		at, bit := r.IntN(len(b)), byte(1)<<r.IntN(8)
		b[at] ^= bit
		rel, _ := filepath.Rel(whole, name)
		if err := os.WriteFile(filepath.Join(dir, rel), b, 0o600); err != nil {
			t.Fatal(err)
		}
		got, epoch, err := load(t.Context(), dir)
		if err != nil {
			refused++
			continue
		}
		if epoch < 6 {
			older++
		}
		if want := states[epoch]; want == nil || want.Diff(got) != "" {
			t.Errorf("bit %d of byte %d in %s: epoch %d comes out, but not what it was", bit, at, rel, epoch)
		}
	}
	if refused == 0 {
		t.Error("nothing was ever refused")
	}
	t.Logf("%d refused, %d an older epoch, the rest as it was", refused, older)
}

func load(ctx context.Context, dir string) (c *storetest.Content, epoch uint64, err error) {
	s, err := Open(dir, Options{})
	if err != nil {
		return nil, 0, err
	}
	defer s.Close()
	c = new(storetest.Content)
	epoch, err = s.Load(ctx, func(section state.Section, r state.Record) error {
		c.Put(section, r)
		return nil
	})
	return c, epoch, err
}

func TestInUse(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	s := reopen(t, dir)
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("a second Open says %v, want %v and the process", err, ErrInUse)
	}
	put(t, s, 1, "a", "1") // the first is not disturbed
	shut(t, s)
	shut(t, s)
	shut(t, reopen(t, dir))
}

// All of it is the owner's alone, also after files were made anew.
func TestPrivate(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	dir := filepath.Join(t.TempDir(), "state")
	s := reopen(t, dir)
	for i := range 3 {
		put(t, s, uint64(i+1), "a", strings.Repeat("x", 9<<20))
	}
	if err := s.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	put(t, s, 4, "b", "1")
	shut(t, s)
	shut(t, reopen(t, dir))
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		i, err := d.Info()
		if err != nil {
			return err
		}
		want := os.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		} else {
			files++
		}
		if i.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", path, i.Mode().Perm(), want)
		}
		return nil
	})
	if err != nil || files < 5 {
		t.Errorf("%d files, %v", files, err)
	}
}

// A process that dies while it makes the directory leaves one that can be made.
func TestInterruptedCreation(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	d, err := claim(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.announce(format{1, "data-1"}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.path("data-1/000002.log"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.release(); err != nil {
		t.Fatal(err)
	}
	s := reopen(t, dir)
	put(t, s, 1, "a", "1")
	shut(t, s)
	if _, epoch, err := load(t.Context(), dir); err != nil || epoch != 1 {
		t.Errorf("epoch %d, %v", epoch, err)
	}
}

// small mounts a file system of n bytes.
func small(t *testing.T, n int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, fmt.Sprintf("size=%d", n)); err != nil {
		if os.Getenv("CI") != "" && os.Geteuid() == 0 {
			t.Fatalf("mounting a small file system: %v", err)
		}
		t.Skipf("NOT TESTED: mounting a small file system: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// On a full disk a commit fails and says so, what was committed stays, and when there
// is room again it goes on.
func TestDiskFull(t *testing.T) {
	mount := small(t, 64<<20)
	s := reopen(t, filepath.Join(mount, "state"))
	put(t, s, 1, "a", "1")
	c := &state.Checkpoint{Epoch: 1}
	c.Changed[state.Entities] = []state.Record{{Key: []byte("a"), Value: make([]byte, 1<<20)}}
	filler := filepath.Join(mount, "filler")
	var err error
	for err == nil && c.Epoch < 100 { // the database may give back some files meanwhile
		fill(t, filler, 8<<20)
		c.Epoch++
		err = s.Commit(t.Context(), c)
	}
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "MiB are free, 18 are needed") {
		t.Errorf("Commit says %v", err)
	}
	if _, epoch := storetest.Read(t, s); epoch != c.Epoch-1 {
		t.Errorf("epoch %d, want %d", epoch, c.Epoch-1)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(t.Context(), c); err != nil {
		t.Errorf("with room again: %v", err)
	}
	shut(t, s)
}

// fill makes a file so large that so many bytes are left free.
func fill(t *testing.T, name string, left uint64) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	u, err := vfs.Default.GetDiskUsage(filepath.Dir(name))
	if err != nil {
		t.Fatal(err)
	}
	if u.AvailBytes > left {
		if _, err := f.Write(make([]byte, u.AvailBytes-left)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReadOnly(t *testing.T) {
	mount := small(t, 64<<20)
	dir := filepath.Join(mount, "state")
	s := reopen(t, dir)
	put(t, s, 1, "a", "1")
	shut(t, s)
	if err := syscall.Mount("none", mount, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{}); !errors.Is(err, syscall.EROFS) || errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), dir) {
		t.Errorf("Open says %v", err)
	}
}

// A database that cannot write any more fails its commits; it does not end the process.
func TestWriteFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	fs := &dying{FS: vfs.Default}
	fs.left.Store(1 << 30)
	s, err := open(dir, Options{}, steps, fs)
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, 1, "a", "1")
	fs.left.Store(1)
	for range 2 {
		c := &state.Checkpoint{Epoch: 2}
		if err := s.Commit(t.Context(), c); !errors.Is(err, errDied) || !strings.Contains(err.Error(), dir) {
			t.Errorf("Commit says %v", err)
		}
	}
	if err := s.Close(); !errors.Is(err, errDied) {
		t.Errorf("Close says %v", err)
	}
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrInUse) {
		t.Errorf("the directory is given away while the database may still hold it: %v", err)
	}
}
