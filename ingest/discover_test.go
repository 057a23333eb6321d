package ingest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tree writes files with their names as content, and links where the content is
// "-> target".
func tree(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range files {
		name, target, link := strings.Cut(f, " -> ")
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if link {
			err = os.Symlink(target, path)
		} else {
			err = os.WriteFile(path, []byte(name), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestDiscover(t *testing.T) {
	dir := tree(t,
		"b/dns.log", "b/conn.log.gz", "b/.hidden.log", "b/.git/config", "b/deep/er/ssl.log",
		"a/conn.log", "a/up -> ..", "a/self -> self", "a/dangling -> nowhere",
		"c/link.log -> ../a/conn.log", "c/b -> ../b",
		"odd[1].log", "note.txt",
	)
	f := func(want []string, paths ...string) {
		t.Helper()
		for range 2 {
			in := make([]string, len(paths))
			for i, p := range paths {
				in[i] = p
				if p != Stdin {
					in[i] = filepath.Join(dir, p)
				}
			}
			files, err := Discover(in)
			if err != nil {
				t.Error(err)
			}
			var got []string
			for _, file := range files {
				s := strings.TrimPrefix(file.Path, dir+"/")
				if file.Named {
					s += " named"
				}
				if file.Stream {
					s += " stream"
				} else if n := int64(len(s)); file.Size < 8 {
					t.Errorf("%s has size %d, want about %d", file.Path, file.Size, n)
				}
				got = append(got, s)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("%v (-want +got):\n%s", paths, d)
			}
			slices.Reverse(paths)
		}
	}
	f([]string{"b/conn.log.gz", "b/deep/er/ssl.log", "b/dns.log"}, "b")
	f([]string{"b/conn.log.gz", "b/deep/er/ssl.log", "b/dns.log named"}, "b", "b/dns.log", "b/dns.log")
	f([]string{"b/.hidden.log named"}, "b/.hidden.log")
	f([]string{"b/conn.log.gz named", "b/dns.log named"}, "b/*.log*")
	f([]string{"b/.hidden.log named"}, "b/.*.log")
	f([]string{"a/conn.log named", "b/dns.log named"}, "?/*.log")
	f([]string{"odd[1].log named"}, "odd[1].log")
	f([]string{"- named stream", "note.txt named"}, "note.txt", "-", "-")
	// Everything once, whatever loops and links there are.
	f([]string{"a/conn.log", "b/conn.log.gz", "b/deep/er/ssl.log", "b/dns.log", "note.txt", "odd[1].log"}, "a", "b", "c", ".")
	f([]string{"c/link.log named"}, "c/link.log")
	f([]string{"a/conn.log named"}, "c/link.log", "a/conn.log")
}

func TestDiscoverNothing(t *testing.T) {
	dir := tree(t, "conn.log")
	f := func(want string, paths ...string) {
		t.Helper()
		for i := range paths {
			paths[i] = filepath.Join(dir, paths[i])
		}
		files, err := Discover(paths)
		if err == nil || err.Error() != strings.ReplaceAll(want, "DIR", dir) {
			t.Errorf("%v: %v\nwant %s", paths, err, want)
		}
		if len(paths) > 1 && len(files) != 1 {
			t.Errorf("%v: %d files beside the error", paths, len(files))
		}
	}
	f("stat DIR/nix.log: no such file or directory", "nix.log")
	f("DIR/*.gz: nothing matches this pattern", "*.gz")
	f("DIR/[: syntax error in pattern", "[")
	f("DIR/*.gz: nothing matches this pattern\nstat DIR/nix.log: no such file or directory", "nix.log", "conn.log", "*.gz")
	f("stat DIR/conn.log/x: not a directory", "conn.log/x")
}

// A folder further down that cannot be read is refused, the rest is read.
func TestDiscoverUnreadableFolder(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("SKIPPED: root can read every folder")
	}
	dir := tree(t, "a/conn.log", "b/conn.log")
	if err := os.Chmod(filepath.Join(dir, "b"), 0); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(filepath.Join(dir, "b"), 0o755)
	files, err := Discover([]string{dir})
	if err != nil || len(files) != 2 || files[1].err == nil {
		t.Errorf("%v, %v", files, err)
	}
}
