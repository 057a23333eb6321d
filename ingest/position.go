package ingest

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// positionVersion is the first byte of a stored position of a file.
const positionVersion = 1

// Bounds of what a stored position may hold, in bytes.
const (
	maxPath   = 4096
	maxHeader = 256 << 10
)

var errPosition = errors.New("not a position of a known version")

// filePosition is how far one file has been read, and what finds it again. The key
// of its record is fileKeyPrefix and a number.
type filePosition struct {
	Done    bool  // read to its end after it was rotated away
	Offset  int64 // of the first byte that is not read; decompressed, if it is compressed
	Line    int   // number of the line that begins there, from 1
	Updated int64 // Unix seconds, by the clock on the wall

	// What follows changes seldom.
	Path   string // that it was found under
	ID     identity
	Head   fingerprint
	First  int64 // Unix nanoseconds of its earliest record, about; 0 if not known
	Format Format
	Header []byte // what a Zeek parser has to know to read on
}

const fileKeyPrefix = "file/"

// appendMoving and appendFixed append the two parts of a record, in this order.
func (p *filePosition) appendMoving(dst []byte) []byte {
	dst = append(dst, positionVersion, bit(p.Done))
	dst = binary.AppendUvarint(dst, uint64(p.Offset))
	dst = binary.AppendUvarint(dst, uint64(p.Line))
	return binary.AppendVarint(dst, p.Updated)
}

func (p *filePosition) appendFixed(dst []byte) []byte {
	dst = appendText(dst, p.Path)
	dst = binary.AppendUvarint(dst, p.ID.dev)
	dst = binary.AppendUvarint(dst, p.ID.ino)
	dst = binary.AppendVarint(dst, p.ID.born)
	dst = binary.AppendUvarint(dst, uint64(p.Head.n))
	dst = append(dst, p.Head.sum[:]...)
	dst = append(dst, bit(p.Head.record))
	dst = binary.AppendVarint(dst, p.First)
	dst = append(dst, byte(p.Format))
	return appendText(dst, string(p.Header))
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// parsePosition reads what appendMoving and appendFixed have written.
func parsePosition(b []byte) (p filePosition, err error) {
	if len(b) < 2 || b[0] != positionVersion || b[1] > 1 {
		return p, errPosition
	}
	d := decoder{b: b[2:]}
	p.Done = b[1] == 1
	p.Offset = int64(d.uint(1<<62 - 1))
	p.Line = int(d.uint(1<<62 - 1))
	p.Updated = d.int()
	p.Path = string(d.text(maxPath))
	p.ID.dev, p.ID.ino = d.uint(1<<64-1), d.uint(1<<64-1)
	p.ID.born = d.int()
	p.Head.n = int(d.uint(headSize))
	copy(p.Head.sum[:], d.bytes(len(p.Head.sum)))
	record := d.byte()
	p.Head.record = record == 1
	p.First = d.int()
	p.Format = Format(d.byte())
	p.Header = d.text(maxHeader)
	if d.bad || record > 1 || len(d.b) > 0 || p.Format >= NumFormats {
		return filePosition{}, errPosition
	}
	return p, nil
}

// decoder reads values one after the other. It returns zero values once something
// was wrong.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) uint(most uint64) uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || v > most {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) int() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) bytes(n int) []byte {
	if n > len(d.b) {
		d.bad, d.b = true, nil
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) byte() byte {
	if b := d.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) text(most uint64) []byte { return d.bytes(int(d.uint(most))) }

// fileNumber returns the number in the key of a file's position.
func fileNumber(key string) (n uint64, ok bool) {
	_, err := fmt.Sscanf(key, fileKeyPrefix+"%d", &n)
	return n, err == nil && key == positionKey(n)
}

func positionKey(n uint64) string { return fmt.Sprintf("%s%d", fileKeyPrefix, n) }
