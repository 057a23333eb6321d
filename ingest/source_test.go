package ingest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"tidewatch/event"
	"tidewatch/parsers"
)

const connHeader = "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n" +
	"#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tduration\tconn_state\n"

// connLine is one record of conn.log, written at ms milliseconds after some time.
func connLine(ms int, uid string) string {
	return fmt.Sprintf("%d.%03d000\t%s\t10.0.0.1\t4000\t192.0.2.1\t443\ttcp\t-\tSF\n", 1_700_000_000+ms/1000, ms%1000, uid)
}

func eveLine(ms int, id int) string {
	return fmt.Sprintf(`{"timestamp":"2023-11-14T22:%02d:%02d.%03d000+0000","flow_id":%d,"event_type":"dns","src_ip":"10.0.0.1","src_port":4000,"dest_ip":"192.0.2.1","dest_port":53,"proto":"UDP","dns":{"type":"query","id":1,"rrname":"example.com","rrtype":"A"}}`+"\n",
		13+ms/60_000, ms/1000%60, ms%1000, id)
}

// write writes a file into a new folder and returns its path.
func write(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func gz(t testing.TB, members ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, m := range members {
		w := gzip.NewWriter(&b)
		if _, err := io.WriteString(w, m); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func zst(t testing.TB, s string, window int) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, zstd.WithWindowSize(window))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// result is what came of reading.
type result struct {
	uids  []string
	stats Stats
	said  []string // one line a warning
}

// read reads files to the end through small sequences.
func read(t testing.TB, o Options, paths ...string) result {
	t.Helper()
	files, err := Discover(paths)
	if err != nil {
		t.Fatal(err)
	}
	return readFiles(t, o, files)
}

func readFiles(t testing.TB, o Options, files []File) (got result) {
	t.Helper()
	var m *Merge
	o.Warn = func(r Refusal) {
		_ = m.Stats() // must not wait for itself
		got.said = append(got.said, fmt.Sprintf("%s:%d: %s (byte %d): %s", filepath.Base(r.Path), r.Line, r.Reason, r.Offset, r.Excerpt))
	}
	m = NewMerge(files, o)
	defer m.Close()
	for s, err := range sequences(m) {
		if err != nil && err != io.EOF {
			t.Fatal(err)
		}
		for _, ev := range s.Events {
			got.uids = append(got.uids, event.Clone(ev.UID))
		}
	}
	got.stats = m.Stats()
	return got
}

// sequences fills sequences until the end. As in the pipeline, another goroutine
// releases them, while the next ones are filled.
func sequences(m *Merge) iter.Seq2[*event.Sequence, error] {
	return func(yield func(*event.Sequence, error) bool) {
		pool := event.NewSequencePool(4, 512)
		used := make(chan *event.Sequence, 3)
		var release sync.WaitGroup
		defer release.Wait()
		release.Go(func() {
			for s := range used {
				s.Release()
			}
		})
		defer close(used)
		for {
			s := <-pool
			err := m.Fill(context.Background(), s)
			more := yield(s, err) && err == nil
			s.Share(1)
			used <- s
			if !more {
				return
			}
		}
	}
}

func TestReadFile(t *testing.T) {
	log := connHeader + connLine(1, "C1") + connLine(2, "C2") + connLine(3, "C3")
	f := func(name string, data []byte, wantUIDs string, said ...string) {
		t.Helper()
		path := write(t, name, data)
		got := read(t, Options{}, path)
		if s := strings.Join(got.uids, " "); s != wantUIDs {
			t.Errorf("%s: records %q, want %q", name, s, wantUIDs)
		}
		if d := cmp.Diff(said, got.said); d != "" {
			t.Errorf("%s: (-want +got):\n%s", name, d)
		}
		if n := got.stats.Records(); n != uint64(len(got.uids)) {
			t.Errorf("%s: %d records counted, want %d", name, n, len(got.uids))
		}
		if got.stats.BytesRead != int64(len(data)) || got.stats.BytesTotal != int64(len(data)) {
			t.Errorf("%s: %d of %d bytes read, want %d", name, got.stats.BytesRead, got.stats.BytesTotal, len(data))
		}
	}
	f("plain.log", []byte(log), "C1 C2 C3")
	f("no-break.log", []byte(strings.TrimSuffix(log, "\n")), "C1 C2 C3")
	f("crlf.log", []byte(strings.ReplaceAll(log, "\n", "\r\n")), "C1 C2 C3")
	f("bom.log", []byte("\ufeff"+log), "C1 C2 C3")
	f("stray-tab.log", []byte("\t"+log), "C1 C2 C3")
	f("empty.log", nil, "")
	f("blank.log", []byte("\n\n"), "")
	f("header-only.log", []byte(connHeader), "")
	f("twice.log", []byte(log+log), "C1 C1 C2 C2 C3 C3")
	f("gz.log", gz(t, log), "C1 C2 C3")
	f("members.gz", gz(t, log, log[:0], connHeader+connLine(4, "C4")), "C1 C2 C3 C4")
	f("zst.log", zst(t, log, 1<<20), "C1 C2 C3")
	f("two-frames.zst", append(zst(t, log, 1<<20), zst(t, connLine(4, "C4"), 4<<20)...), "C1 C2 C3 C4")
	f("skippable.zst", append([]byte("\x50\x2a\x4d\x18\x03\x00\x00\x00abc"), zst(t, log, 1<<20)...), "C1 C2 C3")
	f("eve.json", []byte(eveLine(1, 11)+eveLine(2, 12)), "11 12")
	f("cee.json", []byte("@cee: "+eveLine(1, 11)+"@cee: "+eveLine(2, 12)), "11 12")
	f("nul.log", []byte(log+"\x00\x00\x00"+connLine(4, "C4")), "C1 C2 C3 C4",
		fmt.Sprintf("nul.log:10: run of NUL bytes (byte %d): ", len(log)))
	f("long.log", []byte(log+strings.Repeat("x", 2*MaxLine)+"\n"+connLine(4, "C4")), "C1 C2 C3 C4",
		fmt.Sprintf("long.log:10: line longer than 1 MiB (byte %d): %s...", len(log), strings.Repeat("x", excerptSize)))
	f("bad.log", []byte(log+"\x1b[31m\u202ered\xff\n"+"\x1b[31m\n"+connLine(4, "C4")), "C1 C2 C3 C4",
		fmt.Sprintf(`bad.log:10: number of columns differs from the header (byte %d): \x1b[31m\u{202e}red\xff`, len(log)))
	f("readme.md", []byte("# About\n\nfields and paths\n"), "", "readme.md:0: not a Zeek or Suricata log: text of another kind (byte 0): ")
	f("trace.pcap", []byte("\xd4\xc3\xb2\xa1\x02\x00\x04\x00"), "", "trace.pcap:0: not a Zeek or Suricata log: a packet capture: let Zeek or Suricata read it (byte 0): ")
	f("readme.md.gz", gz(t, "# About\n"), "", "readme.md.gz:0: not a Zeek or Suricata log: text of another kind (byte 0): ")
	f("window.zst", wideZstd, "", "window.zst:0: cannot be read: compressed with a window above 8 MiB (zstd --long or --ultra): unpack it (byte 0): ")
	f("cut-header.gz", gz(t, log)[:5], "", "cut-header.gz:0: cannot be read: the compressed data is cut off (byte 0): ")
}

// wideZstd is the beginning of a frame that asks for a window of 128 MiB.
var wideZstd = []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 17 << 3, 0x01, 0x00, 0x00}

// What could be unpacked of a file that is cut off counts, but for the line that
// the cut goes through.
func TestReadTruncated(t *testing.T) {
	var b strings.Builder
	b.WriteString(connHeader)
	for i := range 5000 {
		b.WriteString(connLine(i, fmt.Sprintf("C%x", i*2654435761%1000003)))
	}
	log := b.String()
	for name, data := range map[string][]byte{"cut.gz": gz(t, log), "cut.zst": zst(t, log, 1<<20)} {
		path := write(t, name, data[:len(data)*2/3])
		var dead bytes.Buffer
		got := read(t, Options{DeadLetter: &dead}, path)
		n := len(got.uids)
		if n < 500 || n > 4900 {
			t.Fatalf("%s: %d records", name, n)
		}
		end := len(connHeader)
		for i := range n {
			end += len(connLine(i, fmt.Sprintf("C%x", i*2654435761%1000003)))
		}
		if len(got.stats.Refused) != 1 || len(got.said) != 1 {
			t.Fatalf("%s: %v", name, got.said)
		}
		r := got.stats.Refused[0]
		if r.Reason != "reading stopped here: the compressed data is cut off" || r.Line != n+7 || r.Offset < int64(end) || r.Offset > int64(end+100) {
			t.Errorf("%s: %+v, want it in line %d, at %d or a little later", name, r, n+7, end)
		}
		var d deadLetter
		if err := json.Unmarshal(dead.Bytes(), &d); err != nil || d.Line != log[end:r.Offset] {
			t.Errorf("%s: %v, the dead letter is %q, want %q", name, err, d.Line, log[end:r.Offset])
		}
		if got.stats.BytesRead != got.stats.BytesTotal {
			t.Errorf("%s: %d of %d bytes read", name, got.stats.BytesRead, got.stats.BytesTotal)
		}
	}
}

// In a folder, what is no log is counted and not spoken of, unless a log may be
// packed up in it.
func TestReadFolder(t *testing.T) {
	dir := tree(t, "README.md", "notes.txt", "sub/script.sh", "empty")
	for name, data := range map[string][]byte{
		"conn.log": []byte(connHeader + connLine(1, "C1")), "sub/conn.1.gz": gz(t, connHeader+connLine(2, "C2")),
		"known_hosts.log": []byte("#separator \\x09\n#path\tknown_hosts\n#fields\tts\thost\n1.5\t10.0.0.1\n2.5\t10.0.0.2\n"),
		"old.xz":          []byte("\xfd7zXZ\x00\x00"), "x": nil,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got := read(t, Options{}, dir)
	if d := cmp.Diff([]string{"C1", "C2"}, got.uids); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"old.xz:0: not a Zeek or Suricata log: compressed with xz, which tidewatch does not read: unpack it (byte 0): "}, got.said); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if d := cmp.Diff(map[string]uint64{"known_hosts": 2, strangersName: 4}, got.stats.Skipped); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if s := got.stats; s.Files != 3 || s.Formats[FormatZeekTSV] != 3 || s.Kinds[event.KindConn] != 2 || s.BytesRead != s.BytesTotal {
		t.Errorf("%+v", s)
	}
}

func TestReadUnreadable(t *testing.T) {
	path := write(t, "conn.log", []byte(connHeader+connLine(1, "C1")))
	files, err := Discover([]string{path})
	if err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 { // root can read every file: let it be gone
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	} else if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	got := readFiles(t, Options{}, files)
	if len(got.uids) != 0 || len(got.said) != 1 || !strings.HasPrefix(got.said[0], "conn.log:0: cannot be read: ") {
		t.Errorf("%v, %q", got.uids, got.said)
	}
	got = readFiles(t, Options{}, []File{{Path: "sub", err: &os.PathError{Op: "open", Path: "sub", Err: syscall.EACCES}}})
	if d := cmp.Diff([]string{"sub:0: cannot be read: permission denied (byte 0): "}, got.said); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestReadSince(t *testing.T) {
	path := write(t, "conn.log", []byte(connHeader+connLine(0, "C0")+connLine(1000, "C1")+connLine(2000, "C2")+connLine(3000, "C3")))
	got := read(t, Options{Since: 1_700_000_001e9, Until: 1_700_000_003e9}, path)
	if d := cmp.Diff([]string{"C1", "C2"}, got.uids); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if s := got.stats; s.OutOfRange != 2 || s.First != 1_700_000_001e9 || s.Last != 1_700_000_002e9 || s.Records() != 2 {
		t.Errorf("%+v", s)
	}
}

// Pipes are read once: nothing of them is lost to a look at their head.
func TestReadPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	wrote := make(chan error, 1)
	go func() {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err == nil {
			_, err = f.Write(gz(t, connHeader+connLine(1, "C1")+connLine(5, "C5")))
			err = errors.Join(err, f.Close())
		}
		wrote <- err
	}()
	got := read(t, Options{}, path, write(t, "conn.log", []byte(connHeader+connLine(0, "C0")+connLine(3, "C3"))))
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
	if s := strings.Join(got.uids, " "); s != "C0 C1 C3 C5" || got.stats.BytesTotal != 0 {
		t.Errorf("%s, total %d", s, got.stats.BytesTotal)
	}
}

// The dead-letter file has what was refused, exactly, and no more than fits.
func TestDeadLetters(t *testing.T) {
	bad := []string{"one\x1b[31m", "two\xff\xfe", `{"three":"<&>"}`}
	path := write(t, "conn.log", []byte(connHeader+strings.Join(bad, "\n")+"\n"+connLine(1, "C1")))
	var b bytes.Buffer
	got := read(t, Options{DeadLetter: &b}, path)
	if n := got.stats.RefusedLines(); n != 3 || len(got.said) != 1 {
		t.Errorf("%d refused, said %q", n, got.said)
	}
	dec := json.NewDecoder(bytes.NewReader(b.Bytes()))
	for i, want := range bad {
		var d deadLetter
		if err := dec.Decode(&d); err != nil {
			t.Fatal(err)
		}
		if d.Line+string(d.Base64) != want || d.Number != 7+i || d.File != path || d.Reason != "number of columns differs from the header" {
			t.Errorf("got %+v, want %q", d, want)
		}
	}
	if bytes.ContainsAny(b.Bytes(), "\x1b\xff") {
		t.Errorf("not escaped: %q", b.Bytes())
	}
	var l ledger
	l.deadLetter = &b
	line := bytes.Repeat([]byte("x"), 1<<20)
	for range maxDeadLetter>>20 + 10 {
		b.Reset()
		l.refuse("f", "r", 1, 0, line)
	}
	if l.dead > maxDeadLetter {
		t.Errorf("%d bytes of dead letters", l.dead)
	}
}

type fullDisk struct{ writes int }

func (f *fullDisk) Write([]byte) (int, error) { f.writes++; return 0, syscall.ENOSPC }

func TestDeadLettersOnFullDisk(t *testing.T) {
	path := write(t, "conn.log", []byte(connHeader+"one\ntwo\nthree\n"+connLine(1, "C1")))
	w := new(fullDisk)
	got := read(t, Options{DeadLetter: w}, path)
	if w.writes != 1 || len(got.uids) != 1 || len(got.said) != 2 || !strings.Contains(got.said[1], "no space left") {
		t.Errorf("%d writes, %d records, said %q", w.writes, len(got.uids), got.said)
	}
}

// Whatever is refused, what is kept of it is bounded.
func TestLedgerIsBounded(t *testing.T) {
	var l ledger
	warned := 0
	l.warn = func(Refusal) { warned++ }
	for i := range 3 * maxRefusals {
		l.refuse(fmt.Sprint("file", i), "reason", 1, 0, nil)
		l.refuse("file", parsers.Reason(fmt.Sprint("reason", i)), 1, 0, nil)
		var c counts
		c.skip(fmt.Sprint("name", i))
		l.add(&c)
	}
	s := l.snapshot()
	if s.RefusedLines() != 6*maxRefusals || len(s.Refused) > 2*maxRefusals+1 || warned != len(s.Refused) {
		t.Errorf("%d lines, %d kinds, %d warnings", s.RefusedLines(), len(s.Refused), warned)
	}
	if len(s.Skipped) != maxSkipped+1 || s.Skipped[otherName] != 3*maxRefusals-maxSkipped {
		t.Errorf("%d names, %d others", len(s.Skipped), s.Skipped[otherName])
	}
}
