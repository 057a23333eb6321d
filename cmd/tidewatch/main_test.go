package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tidewatch/ingest"
	"tidewatch/internal/servers"
)

// The test binary is tidewatch itself when a test runs it as a process.
func TestMain(m *testing.M) {
	if os.Getenv("TIDEWATCH_TEST_RUN") != "" {
		main()
	}
	status := m.Run()
	servers.Close()
	os.Exit(status)
}

// command returns tidewatch as a process of its own.
func command(args ...string) *exec.Cmd {
	c := exec.Command(os.Args[0], args...)
	c.Env = append(os.Environ(), "TIDEWATCH_TEST_RUN=1", "TZ=UTC")
	return c
}

// tidewatch runs one command in this process.
func tidewatch(t testing.TB, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	dir := t.TempDir()
	open := func(name string) *os.File {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	out, errs := open("out"), open("err")
	defer out.Close()
	defer errs.Close()
	status = run(args, terminal{os.Stdin, out, errs})
	read := func(f *os.File) string {
		b, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	return status, read(out), read(errs)
}

const day = "../../examples/day"

func TestCommandLine(t *testing.T) {
	f := func(want int, says string, args ...string) {
		t.Helper()
		status, out, errs := tidewatch(t, args...)
		if status != want || !strings.Contains(out+errs, says) {
			t.Errorf("tidewatch %s: status %d, want %d; want it to say %q, it says:\n%s%s", strings.Join(args, " "), status, want, says, out, errs)
		}
	}
	f(0, "analyze")
	f(0, "tidewatch (devel)", "version")
	f(0, "--fail-on", "analyze", "--help")
	f(2, `unknown command "analyse"`, "analyse", day)
	f(2, "needs the path of a log", "analyze")
	f(2, "unknown flag: --colour", "analyze", "--colour", day)
	f(2, "allowed are table and json", "analyze", "-o", "xml", day)
	f(2, "allowed are low, medium, high and critical", "analyze", "--fail-on", "awful", day)
	f(2, "write a network such as", "analyze", "--local", "10.0.0.0/99", day)
	f(2, "write it as 2026-11-20", "analyze", "--since", "yesterday", day)
	f(2, "is not before", "analyze", "--since", "2026-01-02", "--until", "2026-01-01", day)
	f(1, "no such file", "analyze", "no-such-log")
	f(1, "no such file", "analyze", "--rules", "no-such-folder", day)
	f(1, "no record was read", "analyze", t.TempDir())
}

// The sample day that the repository ships, as the README runs it.
func TestAnalyzeExample(t *testing.T) {
	status, out, errs := tidewatch(t, "analyze", day)
	if status != 0 || errs != "" {
		t.Fatalf("status %d, standard error:\n%s", status, errs)
	}
	for _, want := range []string{"high", "10.20.", "findings", "records", "span", "hosts"} {
		if !strings.Contains(out, want) {
			t.Errorf("the output has no %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, "\x1b") {
		t.Error("there are escape sequences in a pipe")
	}
	if s, _, _ := tidewatch(t, "analyze", "--fail-on", "high", day); s != exitFound {
		t.Errorf("--fail-on high: status %d, want %d", s, exitFound)
	}
	if s, _, _ := tidewatch(t, "analyze", "--fail-on", "critical", day); s != 0 {
		t.Errorf("--fail-on critical: status %d, want 0", s)
	}
	if _, out, _ := tidewatch(t, "analyze", "--explain", "1", day); !strings.Contains(out, "T1046") {
		t.Errorf("--explain 1 names no technique:\n%s", out)
	}
	if s, _, errs := tidewatch(t, "analyze", "--explain", "999", day); s != exitError || !strings.Contains(errs, "there are") {
		t.Errorf("--explain 999: status %d, %s", s, errs)
	}
}

// findingsOf returns the findings as JSON lines, without the times of sending.
func findingsOf(t *testing.T, args ...string) []string {
	t.Helper()
	status, out, errs := tidewatch(t, append([]string{"analyze", "-o", "json"}, args...)...)
	if status != 0 {
		t.Fatalf("status %d: %s", status, errs)
	}
	var lines []string
	sc := bufio.NewScanner(strings.NewReader(out))
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		var doc map[string]any
		if err := json.Unmarshal(sc.Bytes(), &doc); err != nil {
			t.Fatalf("%v: %s", err, sc.Bytes())
		}
		if e, ok := doc["event"].(map[string]any); ok {
			delete(e, "ingested")
		}
		b, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(b))
	}
	return lines
}

// The findings do not depend on the order of the files, on the number of shards
// or on the number of processors.
func TestAnalyzeIsDeterministic(t *testing.T) {
	logs, err := filepath.Glob(filepath.Join(day, "zeek", "*"))
	if err != nil || len(logs) < 4 {
		t.Fatal(err, logs)
	}
	want := findingsOf(t, logs...)
	if len(want) == 0 {
		t.Fatal("no findings")
	}
	backwards := make([]string, 0, len(logs))
	for _, l := range logs {
		backwards = append([]string{l}, backwards...)
	}
	if d := cmp.Diff(want, findingsOf(t, backwards...)); d != "" {
		t.Errorf("files in another order (-want +got):\n%s", d)
	}
	for _, n := range []int{1, 3, 8} {
		before := runtime.GOMAXPROCS(n) // the number of shards follows it
		got := findingsOf(t, logs...)
		runtime.GOMAXPROCS(before)
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%d shards (-want +got):\n%s", n, d)
		}
	}
}

// Both sensors saw the day: together they give the findings of one.
func TestAnalyzeBothSensors(t *testing.T) {
	key := func(lines []string) (out []string) {
		for _, l := range lines {
			var doc struct {
				Rule      struct{ ID string }
				Source    struct{ IP string }
				Event     struct{ Start string }
				Tidewatch struct {
					Scan struct{ Targets, Attempts float64 }
				}
			}
			if err := json.Unmarshal([]byte(l), &doc); err != nil {
				t.Fatal(err)
			}
			if doc.Rule.ID == "self-signed-rare" { // Zeek's ssl.log of this day has no certificates
				continue
			}
			out = append(out, fmt.Sprint(doc))
		}
		return out
	}
	zeek := key(findingsOf(t, filepath.Join(day, "zeek")))
	if d := cmp.Diff(zeek, key(findingsOf(t, filepath.Join(day, "eve")))); d != "" {
		t.Errorf("Suricata alone (-zeek +suricata):\n%s", d)
	}
	if d := cmp.Diff(zeek, key(findingsOf(t, day))); d != "" {
		t.Errorf("both (-zeek +both):\n%s", d)
	}
}

// A line that is not understood is said once, with file, line and offset, and
// nothing of it reaches the terminal unescaped.
func TestAnalyzeBadLines(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "conn.log")
	good := "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tconn_state\n" +
		"1736900000.000000\tC1\t10.0.0.1\t4000\t192.0.2.1\t443\ttcp\tSF\n"
	bad := "\x1b[31mred\tC2\t10.0.0.1\t4000\t192.0.2.1\t443\ttcp\tSF\n"
	if err := os.WriteFile(path, []byte(good+bad+bad), 0o600); err != nil {
		t.Fatal(err)
	}
	dead := filepath.Join(dir, "refused.ndjson")
	status, out, errs := tidewatch(t, "analyze", "--dead-letter", dead, path)
	if status != 0 {
		t.Errorf("status %d", status)
	}
	if strings.Count(errs, "\n") != 1 || !strings.Contains(errs, "conn.log:8: time stamp not understood (byte ") {
		t.Errorf("standard error:\n%s", errs)
	}
	if !strings.Contains(out, "refused    2 in "+path+": time stamp not understood (first in line 8)") {
		t.Errorf("summary:\n%s", out)
	}
	if strings.ContainsRune(out+errs, 0x1b) {
		t.Error("the escape sequence of the line reached the terminal")
	}
	b, err := os.ReadFile(dead)
	if err != nil || bytes.Count(b, []byte("\n")) != 2 || bytes.ContainsRune(b, 0x1b) {
		t.Errorf("dead letters, %v:\n%q", err, b)
	}
}

// SIGINT ends the reading; what was read is reported. The process reads from a
// pipe that stays open, so that it cannot end by itself.
func TestInterrupt(t *testing.T) {
	c := command("analyze", "-")
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	// More than the pipe and one batch hold: when the last write returns, the
	// process has begun to read.
	fmt.Fprint(in, "#separator \\x09\n#path\tconn\n#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tconn_state\n")
	for i := range 20000 {
		fmt.Fprintf(in, "17369%05d.000000\tC%d\t10.0.0.1\t%d\t192.0.2.1\t443\ttcp\tSF\n", i, i, 1024+i)
	}
	if err := c.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	err = c.Wait()
	in.Close()
	if c.ProcessState.ExitCode() != exitStopped {
		t.Errorf("exit status %v, want %d\n%s", err, exitStopped, errs.String())
	}
	if !strings.Contains(out.String(), "records") || !strings.Contains(errs.String(), "stopped before the end") {
		t.Errorf("standard output:\n%s\nstandard error:\n%s", out.String(), errs.String())
	}
}

func TestVersion(t *testing.T) {
	info := &debug.BuildInfo{GoVersion: "go1.26.8"}
	info.Main.Version = "v0.3.0"
	info.Settings = []debug.BuildSetting{{Key: "vcs.revision", Value: "0123456789abcdef"}, {Key: "vcs.time", Value: "2026-11-23T10:00:00Z"}, {Key: "vcs.modified", Value: "true"}}
	if got, want := version(info), "tidewatch v0.3.0 (0123456789ab of 2026-11-23T10:00:00Z, modified), go1.26.8"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestBarLine(t *testing.T) {
	f := func(read, total int64, took time.Duration, columns int, want string) {
		t.Helper()
		if got := barLine(ingest.Stats{BytesRead: read, BytesTotal: total}, took, columns); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
	f(0, 0, time.Second, 80, "reading 0 B  0 B/s")
	f(512<<10, 2<<20, 2*time.Second, 60, "[===         ]  25% of 2.00 MiB 512 KiB  256 KiB/s  6s left")
	f(2<<20, 2<<20, 2*time.Second, 30, " 100% of 2.00 MiB 2.00 MiB  1.00 MiB/s  0s left")
}

func TestByteCount(t *testing.T) {
	f := func(n int64, want string) {
		t.Helper()
		if got := byteCount(n); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
	f(0, "0 B")
	f(1023, "1023 B")
	f(1024, "1.00 KiB")
	f(15<<20, "15.0 MiB")
	f(1<<40, "1.00 TiB")
}
