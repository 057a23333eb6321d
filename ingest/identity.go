package ingest

import (
	"bytes"
	"crypto/sha256"
	"io"
	"os"
)

// identity says which file it is, whatever its name. A device number may change when
// the machine starts anew; an inode is given to another file as soon as it is free,
// which then was born later.
type identity struct {
	fileKey
	born int64 // Unix nanoseconds; 0 where the file system does not say
}

// same reports whether a and b may be one file: its device aside.
func (a identity) same(b identity) bool {
	return a.ino == b.ino && (a.born == b.born || a.born == 0 || b.born == 0)
}

// identify returns which file f is, and what fstat says of it.
func identify(f *os.File) (identity, os.FileInfo, error) {
	info, err := f.Stat()
	if err != nil {
		return identity{}, nil, err
	}
	return identity{keyOf(info), bornAt(f)}, info, nil
}

const (
	// headSize is how many bytes tell one log from another: Zeek's header and the
	// first record behind it.
	headSize = 4096
)

// fingerprint is the beginning of a file, as it is stored.
type fingerprint struct {
	n      int // bytes; a file that was shorter when it was seen has fewer than headSize
	sum    [16]byte
	record bool // there is a record among them, or when Zeek opened it: no other log begins like that
}

// tells reports whether a file of the same name that begins like that is a copy.
func (f fingerprint) tells() bool { return f.record }

func fingerprintOf(head []byte) (f fingerprint) {
	if f.n = len(head); f.n == 0 {
		return f
	}
	sum := sha256.Sum256(head)
	copy(f.sum[:], sum[:])
	if blank(head) {
		return f
	}
	for line := range bytes.Lines(head) {
		whole := line[len(line)-1] == '\n' || f.n == headSize
		f.record = f.record || whole && len(line) > 1 && (line[0] != '#' || len(line) > len("#open\t\n") && bytes.HasPrefix(line, []byte("#open")))
	}
	return f
}

// fits reports whether a file that begins with head is the one that f was taken of.
func (f fingerprint) fits(head []byte) bool {
	return len(head) >= f.n && fingerprintOf(head[:f.n]) == f
}

// opening is the beginning of a file that is compared with those of many others.
type opening struct {
	head   []byte
	prints map[int]fingerprint // of parts of it, by their length
}

// fits is fingerprint.fits.
func (o *opening) fits(f fingerprint) bool {
	if len(o.head) < f.n {
		return false
	}
	p, ok := o.prints[f.n]
	if !ok {
		if o.prints == nil {
			o.prints = map[int]fingerprint{}
		}
		p = fingerprintOf(o.head[:f.n])
		o.prints[f.n] = p
	}
	return p == f
}

// tells reports whether it is known to be f's by nothing else: it fits, and no other log
// begins like that.
func (o *opening) tells(f fingerprint) bool { return f.tells() && o.fits(f) && !blank(o.head[:f.n]) }

// beginning is the head of a file that is being read. It grows with the file.
type beginning struct {
	known []byte
	print fingerprint
	buf   [headSize]byte
}

// check reads the head of the file again, and reports whether it begins as it did:
// else it was cut off and written anew. What it has grown by is known from then on.
func (b *beginning) check(r io.ReaderAt) (same bool, err error) {
	n, err := r.ReadAt(b.buf[:], 0)
	if err != nil && err != io.EOF {
		return false, err
	}
	if n < len(b.known) || !bytes.Equal(b.buf[:len(b.known)], b.known) {
		return false, nil
	}
	if n > len(b.known) {
		b.known = append(b.known, b.buf[len(b.known):n]...)
		b.print = fingerprintOf(b.known)
	}
	return true, nil
}

// readHead returns up to headSize bytes of the beginning of r.
func readHead(r io.ReaderAt) ([]byte, error) {
	buf := make([]byte, headSize)
	n, err := r.ReadAt(buf, 0)
	if err == io.EOF {
		err = nil
	}
	return buf[:n], err
}

// blank reports whether a head has nothing but NULs: what a hole begins with says
// nothing of what stands behind it.
func blank(head []byte) bool { return len(bytes.Trim(head, "\x00")) == 0 }
