package synth

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tidewatch/event"
	"tidewatch/internal/eval"
	"tidewatch/parsers"
	"tidewatch/parsers/suricata"
	"tidewatch/parsers/zeek"
)

var friday = time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)

func write(t *testing.T, o Options, formats ...string) (dir string, truth eval.Truth) {
	t.Helper()
	dir = t.TempDir()
	n := New(o)
	if err := n.Write(dir, formats, nil); err != nil {
		t.Fatal(err)
	}
	return dir, n.Truth()
}

// The sample day of the repository is what the generator writes.
func TestExampleDay(t *testing.T) {
	dir, _ := write(t, Options{Seed: 20, Start: friday, Days: 1, Hosts: 18, Activity: 0.12, Attacks: "story"}, "zeek", "eve")
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		made, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		shipped, err := readShipped(filepath.Join("../../examples/day", rel))
		if err != nil {
			return err
		}
		if !bytes.Equal(made, shipped) {
			t.Errorf("examples/day/%s is not what the generator writes", rel)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func readShipped(path string) ([]byte, error) {
	if strings.HasSuffix(path, ".toml") {
		return os.ReadFile(path)
	}
	f, err := os.Open(path + ".gz")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

// records parses a log, and fails on a refused line.
func records(t *testing.T, path string, p parsers.Parser) (evs []event.Event) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range bytes.Split(bytes.TrimSuffix(data, []byte("\n")), []byte("\n")) {
		b := event.NewBatch(nil, 1, 4<<10)
		ev, own := b.Add(line)
		switch err := p.Parse(b, ev, own); err {
		case nil:
			evs = append(evs, *ev)
		case parsers.ErrMeta:
		default:
			t.Fatalf("%s:%d: %v: %s", filepath.Base(path), i+1, err, line)
		}
	}
	return evs
}

// key is what both sensors say of a connection.
func key(ev *event.Event) string {
	return fmt.Sprint(ev.Time, ev.Orig.Addr, ev.Orig.Port, ev.Resp.Addr, ev.Resp.Port, ev.Proto, ev.Outcome)
}

// Each line of each log parses, and both sensors and both of Zeek's formats tell of
// the same connections with the same outcomes.
func TestSensorsAgree(t *testing.T) {
	dir, _ := write(t, Options{Seed: 5, Start: friday, Days: 1, Hosts: 20, Activity: 0.2, Attacks: "grid"}, "zeek", "json", "eve")
	conns := func(evs []event.Event) map[string]int {
		m := map[string]int{}
		for i := range evs {
			if evs[i].Kind == event.KindConn {
				m[key(&evs[i])]++
			}
		}
		return m
	}
	for _, name := range []string{"dns.log", "ssl.log", "http.log"} {
		tsv := records(t, filepath.Join(dir, "zeek", name), zeek.NewTSV(parsers.Options{}))
		json := records(t, filepath.Join(dir, "json", name), zeek.NewJSON(parsers.Options{}))
		if len(tsv) == 0 || len(tsv) != len(json) {
			t.Errorf("%s: %d records as TSV, %d as JSON", name, len(tsv), len(json))
		}
	}
	tsv := conns(records(t, filepath.Join(dir, "zeek", "conn.log"), zeek.NewTSV(parsers.Options{})))
	if len(tsv) < 5000 {
		t.Errorf("only %d connections", len(tsv))
	}
	if d := cmp.Diff(tsv, conns(records(t, filepath.Join(dir, "json", "conn.log"), zeek.NewJSON(parsers.Options{})))); d != "" {
		t.Errorf("connections (-TSV +JSON):\n%.2000s", d)
	}
	if d := cmp.Diff(tsv, conns(records(t, filepath.Join(dir, "eve", "eve.json"), suricata.New(parsers.Options{})))); d != "" {
		t.Errorf("connections (-Zeek +Suricata):\n%.2000s", d)
	}
}

// Each instance of the truth has the records that it claims, within its span.
func TestTruth(t *testing.T) {
	dir, truth := write(t, Options{Seed: 6, Start: friday, Days: 1, Hosts: 40, Attacks: "grid"}, "zeek")
	read, err := eval.ReadTruth(filepath.Join(dir, eval.TruthFile))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(truth, read); d != "" {
		t.Errorf("the truth file (-made +read):\n%s", d)
	}
	conns := records(t, filepath.Join(dir, "conn.log"), zeek.NewTSV(parsers.Options{}))
	kinds := map[string]bool{}
	for _, in := range truth.Instances {
		kinds[in.Detector+"/"+in.Variant] = true
		n := 0
		for i := range conns {
			ev := &conns[i]
			if ev.Time < in.Start.UnixNano() || ev.Time > in.End.UnixNano() {
				continue
			}
			for _, s := range in.Sources {
				if ev.Orig.Addr.String() == s {
					n++
				}
			}
			if len(in.Sources) == 0 && ev.Resp.Addr.String() == in.Destinations[0] {
				n++
			}
		}
		if n < in.Records {
			t.Errorf("%s has %d records, and claims %d", in.ID, n, in.Records)
		}
	}
	if len(kinds) < 17 {
		t.Errorf("only %d kinds of attack: %v", len(kinds), kinds)
	}
}

// The same options give the same day, others another.
func TestDeterminism(t *testing.T) {
	o := Options{Seed: 7, Start: friday, Days: 1, Hosts: 10, Activity: 0.1, Attacks: "story"}
	read := func(o Options) string {
		dir, _ := write(t, o, "eve")
		b, err := os.ReadFile(filepath.Join(dir, "eve.json"))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	a := read(o)
	if a != read(o) {
		t.Error("two days of the same seed differ")
	}
	o.Seed = 8
	if a == read(o) {
		t.Error("two seeds give the same day")
	}
}

func TestActivityFor(t *testing.T) {
	o := Options{Seed: 1, Start: friday, Days: 1, Hosts: 50}
	a, err := ActivityFor(o, 200_000)
	if err != nil {
		t.Fatal(err)
	}
	o.Activity = a
	n := 0
	err = New(o).Hours(func(fs []Flow) error {
		for i := range fs {
			n++
			if fs[i].DNS != nil {
				n++
			}
			if fs[i].TLS != nil {
				n++
			}
		}
		return nil
	})
	if err != nil || n < 150_000 || n > 250_000 {
		t.Errorf("%d records, wanted about 200,000; %v", n, err)
	}
}
