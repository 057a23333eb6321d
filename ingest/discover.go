// Package ingest finds logs, reads them in blocks, and interleaves old ones into
// the stream that they were when they were written.
package ingest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Stdin is the path that stands for standard input.
const Stdin = "-"

// File is one log to read.
type File struct {
	Path string
	Size int64 // bytes on disk, compressed as they may be; 0 for standard input
	// Named says that a person named the file itself: what is wrong with it is
	// said. A file that a folder holds may be anything.
	Named bool
}

// Discover returns the files that the paths mean: files, folders with all below
// them, patterns, and "-" for standard input. They are sorted by path, and a file
// that several paths mean comes once. Hidden files in folders are left out. The
// error names the paths that mean nothing.
func Discover(paths []string) ([]File, error) {
	d := discovery{seen: map[fileKey]bool{}}
	var errs []error
	for _, p := range paths {
		if err := d.add(p); err != nil {
			errs = append(errs, err)
		}
	}
	slices.SortFunc(d.files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return d.files, errors.Join(errs...)
}

type fileKey struct{ dev, ino uint64 }

type discovery struct {
	files []File
	seen  map[fileKey]bool // files and folders
}

func (d *discovery) add(path string) error {
	if path == Stdin {
		if k := (fileKey{}); !d.seen[k] {
			d.seen[k] = true
			d.files = append(d.files, File{Path: Stdin, Named: true})
		}
		return nil
	}
	if _, err := os.Stat(path); err == nil {
		return d.walk(path, true)
	} else if !errors.Is(err, fs.ErrNotExist) || !strings.ContainsAny(path, "*?[") {
		return err
	}
	matches, err := filepath.Glob(path)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if len(matches) == 0 {
		return fmt.Errorf("%s: no such file: nothing matches the pattern", path)
	}
	for _, m := range matches {
		if err := d.walk(m, true); err != nil {
			return err
		}
	}
	return nil
}

// walk adds a file, or what a folder holds. It follows links; a folder that it
// has been in is not entered again.
func (d *discovery) walk(path string, named bool) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		k := fileKey{uint64(st.Dev), st.Ino}
		if d.seen[k] {
			return nil
		}
		d.seen[k] = true
	}
	if !info.IsDir() {
		if named || info.Mode().IsRegular() {
			d.files = append(d.files, File{Path: path, Size: info.Size(), Named: named})
		}
		return nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		err := d.walk(filepath.Join(path, e.Name()), false)
		if errors.Is(err, fs.ErrNotExist) { // a dangling link, or gone meanwhile
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}
