package zeek

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tidewatch/event"
	"tidewatch/internal/shareddata"
	"tidewatch/parsers"
)

// readLog returns the content of a file of the shared data, unpacked.
func readLog(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(path, ".gz") {
		return data
	}
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if data, err = io.ReadAll(z); err != nil {
		t.Fatal(err)
	}
	return data
}

// logLines is a log in memory, a line an element, newlines cut off.
func logLines(data []byte) [][]byte {
	return bytes.Split(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))
}

// tally is what became of a file's lines.
type tally struct {
	events  int
	kinds   map[string]int
	refused map[string]int
	skipped map[string]int
}

// readAll parses lines and gives each event to visit, which may be nil. Events
// live until visit returns.
func readAll(p parsers.Parser, lines [][]byte, visit func(ev *event.Event)) tally {
	c := tally{kinds: map[string]int{}, refused: map[string]int{}, skipped: map[string]int{}}
	b := event.NewBatch(nil, 64, 1<<16)
	for _, line := range lines {
		ev, own := b.Add(line)
		if ev == nil {
			b.Release()
			ev, own = b.Add(line)
		}
		switch err := p.Parse(b, ev, own).(type) {
		case nil:
			c.events++
			c.kinds[ev.Kind.String()]++
			if visit != nil {
				visit(ev)
			}
			continue
		case *parsers.Skip:
			c.skipped[err.Name]++
		case parsers.Reason:
			c.refused[err.Error()]++
		}
		b.Drop()
	}
	return c
}

func TestLabelledLogs(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(shareddata.Path(t, "labelled"), "*", "*", "*.gz"))
	if err != nil {
		t.Fatal(err)
	}
	more, _ := filepath.Glob(filepath.Join(shareddata.Path(t, "labelled"), "internet-server", "*.gz"))
	if files = append(files, more...); len(files) < 25 {
		t.Fatalf("only %d files", len(files))
	}
	for _, f := range files {
		lines := logLines(readLog(t, f))
		c := readAll(NewTSV(parsers.Options{}), lines, nil)
		name := filepath.Base(filepath.Dir(f)) + "/" + filepath.Base(f)
		if len(c.refused) > 0 {
			t.Errorf("%s: %d events, refused %v", name, c.events, c.refused)
		}
		t.Logf("%s: %v %v of %d lines", name, c.kinds, c.skipped, len(lines))
	}
}
