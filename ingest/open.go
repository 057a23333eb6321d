package ingest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// zstdWindow bounds the memory that a hostile .zst can claim.
const zstdWindow = 32 << 20

// input is an open file, decompressed.
type input struct {
	io.Reader
	file *os.File
	zstd *zstd.Decoder
}

// open opens a file, whatever its compression; its first bytes say which it is.
// read counts the bytes read from disk.
func open(path string, read *atomic.Int64) (*input, error) {
	in := &input{}
	var raw io.Reader = os.Stdin
	if path != Stdin {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		in.file, raw = f, f
	}
	br := bufio.NewReaderSize(&counted{raw, read}, 64<<10)
	magic, _ := br.Peek(4)
	var err error
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		in.Reader, err = gzip.NewReader(br)
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		in.zstd, err = zstd.NewReader(br, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(zstdWindow))
		in.Reader = in.zstd
	default:
		in.Reader = br
	}
	if err != nil {
		in.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return in, nil
}

// Close closes the file. Standard input stays open.
func (in *input) Close() {
	if in.zstd != nil {
		in.zstd.Close()
	}
	if in.file != nil {
		in.file.Close()
	}
}

// counted adds what is read to n.
type counted struct {
	r io.Reader
	n *atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}
