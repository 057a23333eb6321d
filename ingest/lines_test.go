package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"tidewatch/parsers"
)

// readLines returns each line and each refusal as "offset:number:text".
func readLines(r io.Reader, block int) (got []string, err error) {
	l := Lines{block: block}
	l.Reset(r, func(why parsers.Reason, _ []byte) {
		got = append(got, fmt.Sprintf("%d:%d:<%s>", l.Offset, l.Number, why))
	})
	for {
		line, err := l.Next()
		if err != nil {
			return got, err
		}
		s := string(line)
		if len(s) > 40 {
			s = fmt.Sprintf("%d bytes", len(s))
		}
		got = append(got, fmt.Sprintf("%d:%d:%s", l.Offset, l.Number, s))
	}
}

func TestLines(t *testing.T) {
	long := strings.Repeat("x", MaxLine)
	f := func(name, in string, want ...string) {
		t.Helper()
		for _, block := range []int{0, 16} {
			for chunks, r := range map[string]io.Reader{
				"whole":   strings.NewReader(in),
				"halves":  iotest.HalfReader(strings.NewReader(in)),
				"dataerr": iotest.DataErrReader(strings.NewReader(in)),
			} {
				got, err := readLines(r, block)
				if d := cmp.Diff(want, got); d != "" || err != io.EOF {
					t.Errorf("%s, %s, block %d: %v (-want +got):\n%s", name, chunks, block, err, d)
				}
			}
		}
	}
	f("nothing", "")
	f("one line", "a\n", "0:1:a")
	f("no break at the end", "a\nbc", "0:1:a", "2:2:bc")
	f("empty lines", "\n\na\n", "0:1:", "1:2:", "2:3:a")
	f("CRLF", "a\r\nb\r\n\r\nc\r", "0:1:a", "3:2:b", "6:3:", "8:4:c")
	f("byte order mark", "\ufeffa\n\ufeffb\n", "0:1:a", "5:2:\ufeffb")
	f("hole at the start", "\x00\x00\x00a\nb\n", "0:1:<run of NUL bytes>", "3:1:a", "5:2:b")
	f("hole between", "a\n\x00\x00b\n", "0:1:a", "2:2:<run of NUL bytes>", "4:2:b")
	f("hole in a line", "{\"cut\x00\x00{\"whole\"}\nb\n", "0:1:{\"cut", "5:1:<run of NUL bytes>", "7:1:{\"whole\"}", "17:2:b")
	f("hole before a break", "a\x00\nb\n", "0:1:a", "1:1:<run of NUL bytes>", "2:1:", "3:2:b")
	f("hole at the end", "a\n\x00\x00", "0:1:a", "2:2:<run of NUL bytes>")
	f("nothing but a hole", "\x00", "0:1:<run of NUL bytes>")
	f("large hole", strings.Repeat("\x00", 3*MaxLine)+"a\n", "0:1:<run of NUL bytes>", "3145728:1:a")
	f("as long as allowed", long+"\nb\n", "0:1:1048576 bytes", "1048577:2:b")
	f("too long by one", "a\n"+long+"x\nb\n", "0:1:a", "2:2:<line longer than 1 MiB>", "1048580:3:b")
	f("much too long", long+long+long+long+"\nb\n", "0:1:<line longer than 1 MiB>", "4194305:2:b")
	f("too long, without end", "a\n"+long+long, "0:1:a", "2:2:<line longer than 1 MiB>")
}

// A reader that fails keeps what came before; the part of a line is no line.
func TestLinesReaderFails(t *testing.T) {
	broken := errors.New("broken")
	l := Lines{}
	l.Reset(io.MultiReader(strings.NewReader("a\nb\nhalf"), iotest.ErrReader(broken)), nil)
	for _, want := range []string{"a", "b"} {
		if line, err := l.Next(); string(line) != want || err != nil {
			t.Errorf("got %q, %v, want %q", line, err, want)
		}
	}
	for range 2 {
		if _, err := l.Next(); err != broken {
			t.Errorf("got %v, want %v", err, broken)
		}
	}
	if rest, at := l.Rest(); string(rest) != "half" || at != 4 {
		t.Errorf("the rest is %q at %d", rest, at)
	}
}

type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

func TestLinesReaderIsStuck(t *testing.T) {
	if _, err := readLines(stuck{}, 0); err != io.ErrNoProgress {
		t.Errorf("got %v", err)
	}
}

// A long line's buffer is not kept.
func TestLinesShrink(t *testing.T) {
	var l Lines
	in := strings.Repeat("x", MaxLine) + "\n" + strings.Repeat("short\n", 1<<20)
	l.Reset(strings.NewReader(in), nil)
	for {
		if _, err := l.Next(); err != nil {
			break
		}
		if len(l.buf) > 2*MaxLine {
			t.Fatalf("the buffer grew to %d bytes", len(l.buf))
		}
	}
	if len(l.buf) != blockSize {
		t.Errorf("the buffer still has %d bytes", len(l.buf))
	}
}

func TestLinesDoNotAllocate(t *testing.T) {
	in := []byte(strings.Repeat("a line of some length\r\n", 100_000))
	r := bytes.NewReader(in)
	var l Lines
	read := func() {
		r.Reset(in)
		l.Reset(r, nil)
		for {
			if _, err := l.Next(); err != nil {
				return
			}
		}
	}
	read()
	if n := testing.AllocsPerRun(5, read); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

// FuzzLines compares Lines with a slow reading: what stands between line breaks and
// NULs and is not empty, whatever pieces the stream comes in.
func FuzzLines(f *testing.F) {
	for _, s := range []string{"", "a\nb", "a\r\n\r\n", "\x00\x00a\x00\n\nb\x00", "\ufeffx\n\ufeff"} {
		f.Add([]byte(s), 16, true)
	}
	f.Fuzz(func(t *testing.T, in []byte, block int, halves bool) {
		var want []string
		for i, p := range strings.FieldsFunc("-"+string(in), func(c rune) bool { return c == '\n' || c == 0 }) {
			p = strings.TrimSuffix(p, "\r")
			if i == 0 {
				p = strings.TrimPrefix(p[1:], "\ufeff")
			}
			if p != "" {
				want = append(want, p)
			}
		}
		var r io.Reader = bytes.NewReader(in)
		if halves {
			r = iotest.HalfReader(r)
		}
		l := Lines{block: 1 + block&63}
		l.Reset(r, func(parsers.Reason, []byte) {})
		var got []string
		for {
			line, err := l.Next()
			if err != nil {
				break
			}
			if len(line) > 0 {
				got = append(got, string(line))
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	})
}
