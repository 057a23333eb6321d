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
	Size int64 // bytes on disk, compressed as they may be; 0 for a Stream
	// Named says that a person named the file itself: what is wrong with it is
	// said. A file that a folder holds may be anything.
	Named bool
	// Stream says that it can be read only once and has no size: standard input,
	// a pipe, a device.
	Stream bool

	err error // why it, or the folder that Path is, cannot be read
}

// Discover returns the files that the paths mean: files, folders with all below
// them, patterns, and "-" for standard input. The answer does not depend on the
// order of the paths: it is sorted by path, and a file that several paths or links
// lead to comes once. Hidden files in folders are left out, links are followed,
// loops are not. The error names each path that means nothing; a folder further
// down that cannot be read is no error, Merge refuses it.
func Discover(paths []string) ([]File, error) {
	d := discovery{files: map[fileKey]*File{}, entered: map[fileKey]bool{}}
	var errs []error
	for _, p := range slices.Sorted(slices.Values(paths)) {
		if err := d.add(p); err != nil {
			errs = append(errs, err)
		}
	}
	files := d.broken
	for _, f := range d.files {
		files = append(files, *f)
	}
	sortFiles(files)
	return files, errors.Join(errs...)
}

func sortFiles(files []File) {
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
}

// fileKey identifies a file under all its names; the zero key is standard input.
type fileKey struct{ dev, ino uint64 }

type discovery struct {
	files   map[fileKey]*File
	broken  []File
	entered map[fileKey]bool // folders
}

func (d *discovery) add(path string) error {
	if path == Stdin {
		d.files[fileKey{}] = &File{Path: Stdin, Named: true, Stream: true}
		return nil
	}
	info, err := os.Stat(path)
	if err == nil {
		return d.walk(path, info, true)
	}
	if !errors.Is(err, fs.ErrNotExist) || !strings.ContainsAny(path, "*?[") {
		return err
	}
	matches, err := filepath.Glob(path)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	hidden := strings.HasPrefix(filepath.Base(path), ".")
	found := false
	for _, m := range matches {
		if !hidden && strings.HasPrefix(filepath.Base(m), ".") {
			continue // as in a shell
		}
		if info, err := os.Stat(m); err == nil {
			found = true
			if err := d.walk(m, info, true); err != nil {
				return err
			}
		}
	}
	if !found {
		return fmt.Errorf("%s: nothing matches this pattern", path)
	}
	return nil
}

// walk adds a file, or what a folder holds.
func (d *discovery) walk(path string, info fs.FileInfo, named bool) error {
	if info.IsDir() {
		return d.folder(path, info)
	}
	regular := info.Mode().IsRegular()
	if !regular && !named {
		return nil
	}
	k := keyOf(info)
	if f := d.files[k]; f != nil {
		f.Named = f.Named || named
		f.Path = min(f.Path, path)
		return nil
	}
	f := &File{Path: path, Named: named, Stream: !regular}
	if regular {
		f.Size = info.Size()
	}
	d.files[k] = f
	return nil
}

func (d *discovery) folder(path string, info fs.FileInfo) error {
	k := keyOf(info)
	if d.entered[k] {
		return nil
	}
	d.entered[k] = true
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		p := filepath.Join(path, e.Name())
		info, err := os.Stat(p)
		if err == nil {
			err = d.walk(p, info, false)
		}
		// Dangling links, links to themselves and files that are gone meanwhile
		// are nobody's loss.
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ELOOP) {
			d.broken = append(d.broken, File{Path: p, err: err})
		}
	}
	return nil
}

// keyOf returns the identity of a file.
func keyOf(info fs.FileInfo) fileKey {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		panic("ingest: file information without device and inode")
	}
	return fileKey{uint64(st.Dev), st.Ino}
}
