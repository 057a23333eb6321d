package enrich

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// seen are the indicators that were looked back for, beyond the end of a process: 64 bits
// of the SHA-256 of each, sorted.
//
// Their file is seenMagic, how many there are as 8 bytes, them, and the CRC-32C of all
// before it, all little-endian.
type seen []uint64

const (
	seenMagic = "tidewatch seen 1"
	maxSeen   = 1 << 30 // bytes of the file
)

// seenHash returns what a value is known by.
func seenHash(k indicatorKind, v string) uint64 {
	var buf [256]byte
	sum := sha256.Sum256(append(append(buf[:0], byte(k)), v...))
	return binary.LittleEndian.Uint64(sum[:])
}

func (s seen) has(k indicatorKind, v string) bool {
	_, ok := slices.BinarySearch(s, seenHash(k, v))
	return ok
}

// sorted returns s in order, each once. It keeps s.
func (s seen) sorted() seen {
	slices.Sort(s)
	return slices.Compact(s)
}

var (
	errSeen    = errors.New("it is not whole, or was written by another version")
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// readSeen reads a file; what it returns is nil if there is none.
func readSeen(path string) (seen, error) {
	b, err := readBounded(path, maxSeen)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	const head = len(seenMagic) + 8
	if len(b) < head+4 || !bytes.HasPrefix(b, []byte(seenMagic)) {
		return nil, errSeen
	}
	body, sum := b[head:len(b)-4], binary.LittleEndian.Uint32(b[len(b)-4:])
	if len(body)%8 != 0 || binary.LittleEndian.Uint64(b[len(seenMagic):]) != uint64(len(body)/8) || crc32.Checksum(b[:len(b)-4], castagnoli) != sum {
		return nil, errSeen
	}
	s := make(seen, len(body)/8)
	for i := range s {
		s[i] = binary.LittleEndian.Uint64(body[8*i:])
	}
	return s.sorted(), nil
}

// write replaces a file.
func (s seen) write(path string) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	sum := crc32.New(castagnoli)
	w := io.MultiWriter(f, sum)
	block := binary.LittleEndian.AppendUint64([]byte(seenMagic), uint64(len(s)))
	for _, h := range s {
		if len(block) >= longestLine {
			if _, err = w.Write(block); err != nil {
				break
			}
			block = block[:0]
		}
		block = binary.LittleEndian.AppendUint64(block, h)
	}
	if err == nil {
		_, err = w.Write(block)
	}
	if err == nil {
		_, err = f.Write(binary.LittleEndian.AppendUint32(nil, sum.Sum32()))
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// recall returns what was in force before the first read of this process. A file that
// cannot be used is as none: nothing is new then.
func (c *Context) recall() *past {
	if c.config.Seen == "" {
		return nil
	}
	var s seen
	if s, c.unread = readSeen(c.config.Seen); s == nil {
		return nil
	}
	return &past{noted: s}
}

// keep notes which indicators are in force and were looked back for.
func (c *Context) keep(log *slog.Logger) {
	if c.config.Seen == "" {
		return
	}
	if c.unread != nil {
		log.Warn("which indicators were looked back for is not known: those that came while nothing ran are not looked back for", "path", c.config.Seen, "error", c.unread)
		c.unread = nil
	}
	s := seen{}
	if x := c.now.Load().intel; x != nil {
		s = x.noted.sorted()
		x.noted = nil
	}
	if err := s.write(c.config.Seen); err != nil && (len(s) > 0 || !errors.Is(err, fs.ErrNotExist)) {
		log.Warn("which indicators are in force cannot be noted: those that come while nothing runs are not looked back for", "path", c.config.Seen, "error", strings.TrimSpace(err.Error()))
	}
}
