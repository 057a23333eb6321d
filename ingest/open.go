package ingest

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

const (
	// zstdWindow bounds the memory, in bytes, that one .zst can claim. It is what
	// every level of zstd needs but --ultra and --long, and what RFC 8878 asks a
	// decoder to support.
	zstdWindow = 8 << 20
	// diskBlock is how much is read from disk at once, in bytes.
	diskBlock = 64 << 10
)

// input reads one file after another, decompressed. It keeps its buffers.
type input struct {
	// window is the memory that decompressing the present file takes, in bytes,
	// where that is worth counting.
	window int64

	counted counted
	br      *bufio.Reader
	gz      *gzip.Reader
	zstd    *zstd.Decoder
	file    *os.File
	release func() bool // ends the watch over ctx
}

// open opens a file, whatever its compression: its first bytes say which it is.
// It counts the bytes that are read from disk in read. When ctx ends, a read from
// a pipe that waits for a writer fails. Each open needs a close.
func (in *input) open(ctx context.Context, f File, read *atomic.Int64) (io.Reader, error) {
	var err error
	if in.file, err = openFile(ctx, f); err != nil {
		return nil, err
	}
	if file := in.file; f.Stream && file != os.Stdin {
		in.release = context.AfterFunc(ctx, func() { file.Close() })
	}
	in.counted = counted{r: in.file, all: read}
	if in.br == nil {
		in.br = bufio.NewReaderSize(nil, diskBlock)
	}
	in.br.Reset(&in.counted)
	in.window = 0
	head, _ := in.br.Peek(zstd.HeaderMaxSize)
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return in.gunzip()
	case isZstd(head):
		return in.unzstd(head)
	}
	return in.br, nil
}

func (in *input) gunzip() (io.Reader, error) {
	if in.gz == nil {
		in.gz = new(gzip.Reader)
	}
	if err := in.gz.Reset(in.br); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return in.gz, nil
}

// isZstd reports whether head begins with a frame of zstd, or with one that a
// decoder passes over.
func isZstd(head []byte) bool {
	return bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}) ||
		len(head) >= 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:4], []byte{0x2a, 0x4d, 0x18})
}

func (in *input) unzstd(head []byte) (io.Reader, error) {
	in.window = zstdWindow
	var h zstd.Header
	if h.Decode(head) == nil && !h.Skippable {
		in.window = min(int64(max(h.WindowSize, h.FrameContentSize)), zstdWindow)
		if !h.SingleSegment {
			in.window = min(int64(h.WindowSize), zstdWindow)
		}
	}
	var err error
	in.zstd, err = zstd.NewReader(in.br, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(zstdWindow))
	return in.zstd, err
}

// close closes the file. Standard input stays open.
func (in *input) close() {
	if in.zstd != nil {
		in.zstd.Close() // its window is not kept for the next file
		in.zstd = nil
	}
	if in.release != nil {
		in.release()
		in.release = nil
	}
	if in.file != nil && in.file != os.Stdin {
		in.file.Close()
	}
	in.file = nil
}

// openFile opens f. To open a named pipe waits for a writer, which nothing but a
// writer ends: where ctx ends first, that is left to a goroutine of its own.
func openFile(ctx context.Context, f File) (*os.File, error) {
	if !f.Stream {
		return os.Open(f.Path)
	}
	type opened struct {
		file *os.File
		err  error
	}
	c := make(chan opened, 1)
	go func() {
		file, err := openStream(f.Path)
		c <- opened{file, err}
	}()
	select {
	case o := <-c:
		return o.file, o.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// openStream opens standard input or a pipe. Standard input is opened once more,
// if it is something that one can wait for: the read of a file that the runtime
// opened itself ends when that file is closed, that of os.Stdin does not.
func openStream(path string) (*os.File, error) {
	if path != Stdin {
		return os.Open(path)
	}
	info, err := os.Stdin.Stat()
	if err == nil && info.Mode()&(os.ModeNamedPipe|os.ModeCharDevice) != 0 {
		if f, err := os.Open("/dev/stdin"); err == nil {
			return f, nil
		}
	}
	return os.Stdin, nil
}

// counted counts what is read from r.
type counted struct {
	r   io.Reader
	all *atomic.Int64 // of all files
	n   int64         // of this one
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	c.all.Add(int64(n))
	return n, err
}
