package outputs

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tidewatch/event"
)

func named(id string) event.Finding {
	return event.Finding{ID: id, Rule: &event.RuleInfo{ID: "r"}, Observation: event.Observation{Detector: "scan", Time: 1}}
}

// idsIn returns the ids of a file's lines, "?" for one that is no document.
func idsIn(t *testing.T, path string) (ids []string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(b) {
		var doc struct{ Event struct{ ID string } }
		if json.Unmarshal(line, &doc) != nil || line[len(line)-1] != '\n' {
			doc.Event.ID = "?"
		}
		ids = append(ids, doc.Event.ID)
	}
	return ids
}

func open(t *testing.T, path string) *File {
	t.Helper()
	f, err := OpenFile(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func write(t *testing.T, f *File, ids ...string) {
	t.Helper()
	var fs []event.Finding
	for _, id := range ids {
		fs = append(fs, named(id))
	}
	if err := f.Write(t.Context(), fs); err != nil {
		t.Fatal(err)
	}
}

// After a crash in mid-write and a replay, the file has each finding once.
func TestFileAfterCrash(t *testing.T) {
	path := filepath.Join(t.TempDir(), "findings.ndjson")
	write(t, open(t, path), "a", "b", "c")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := 0; cut < len(whole); cut += 1 + cut%17 {
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		f := open(t, path)
		write(t, f, "a", "b")
		write(t, f, "c", "d")
		f.Close()
		if d := cmp.Diff([]string{"a", "b", "c", "d"}, idsIn(t, path)); d != "" {
			t.Fatalf("cut after %d bytes (-want +got):\n%s", cut, d)
		}
	}
}

// A rotation moves the file away; the next finding goes to a new one.
func TestFileReopen(t *testing.T) {
	dir := t.TempDir()
	path, moved := filepath.Join(dir, "findings.ndjson"), filepath.Join(dir, "findings.ndjson.1")
	f := open(t, path)
	write(t, f, "a")
	if err := os.Rename(path, moved); err != nil {
		t.Fatal(err)
	}
	write(t, f, "b")
	f.Reopen()
	write(t, f)
	write(t, f, "c")
	if d := cmp.Diff([][]string{{"a", "b"}, {"c"}}, [][]string{idsIn(t, moved), idsIn(t, path)}); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// A file that holds something else is left as it is.
func TestFileForeign(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenFile(path, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("no error")
	}
	if b, _ := os.ReadFile(path); string(b) != "precious" {
		t.Errorf("now it holds %q", b)
	}
}

// While the file cannot be written, Write waits; it gives up when it is told to.
func TestFileFull(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip(err)
	}
	f := open(t, "/dev/full")
	ctx, cancel := context.WithCancel(t.Context())
	f.log = slog.New(slog.NewTextHandler(writerFunc(func(b []byte) { cancel() }), nil))
	if err := f.Write(ctx, []event.Finding{named("a")}); err == nil {
		t.Error("no error")
	}
}

type writerFunc func([]byte)

func (w writerFunc) Write(b []byte) (int, error) { w(b); return len(b), nil }
