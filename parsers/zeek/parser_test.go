package zeek

import (
	"flag"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"tidewatch/event"
	"tidewatch/internal/shareddata"
	"tidewatch/parsers"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// unwritable holds what editors would not keep.
var unwritable = strings.NewReplacer("<NUL>", "\x00", "<CR>", "\r", "<BOM>", "\ufeff")

// TestLogs reads the logs of testdata/logs.txtar: each NAME.log or NAME.json is followed
// by what is made of its lines.
func TestLogs(t *testing.T) {
	const name = "testdata/logs.txtar"
	a, err := txtar.ParseFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(a.Files); i += 2 {
		log, want := a.Files[i], &a.Files[i+1]
		var p parsers.Parser = NewTSV(parsers.Options{})
		if strings.HasSuffix(log.Name, ".json") {
			p = NewJSON(parsers.Options{})
		}
		got := outcomes(p, logLines([]byte(unwritable.Replace(string(log.Data)))))
		if d := cmp.Diff(string(want.Data), got); d != "" && !*update {
			t.Errorf("%s (-want +got; rewrite with -update):\n%s", log.Name, d)
		}
		want.Data = []byte(got)
	}
	if *update {
		if err := os.WriteFile(name, txtar.Format(a), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// outcomes parses lines and says what became of each but directives.
func outcomes(p parsers.Parser, lines [][]byte) string {
	var b strings.Builder
	for i, line := range lines {
		ev, err := parseOne(p, slices.Clone(line))
		switch err {
		case nil:
			fmt.Fprintf(&b, "%d: %s\n", i+1, shown(ev))
		case parsers.ErrMeta:
		default:
			fmt.Fprintf(&b, "%d: %v\n", i+1, err)
		}
	}
	return b.String()
}

// shown writes an event's kind and all that is not zero or empty, and then those columns
// that are set all the same.
func shown(ev *event.Event) string {
	m := columnsOf(ev)
	maps.DeleteFunc(m, func(k string, v any) bool {
		return strings.HasPrefix(k, "Set.") || k == "Set" || k == "Kind" || k == "Sensor" || reflect.ValueOf(v).IsZero() || reflect.ValueOf(v).Kind() == reflect.Slice && reflect.ValueOf(v).Len() == 0
	})
	var b strings.Builder
	b.WriteString(ev.Kind.String())
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if a, ok := m[k].(netip.Addr); ok && !a.IsValid() {
			continue
		}
		fmt.Fprintf(&b, " %s=%q", k, fmt.Sprint(m[k]))
	}
	b.WriteString(" set:")
	for c := event.Column(0); int(c) < event.NumColumns; c++ {
		if ev.Has(c) {
			b.WriteString(" " + c.String())
		}
	}
	return b.String()
}

// TestBaselines reads what Zeek's own tests hold their logs against: what became of each
// file, and why lines were refused, is in testdata/baselines.txt.
func TestBaselines(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(shareddata.Path(t, "zeek/baselines"), "*.log"))
	if err != nil || len(files) < 200 {
		t.Fatal(len(files), "files", err)
	}
	var b strings.Builder
	for _, f := range files {
		lines := logLines(readLog(t, f))
		var p parsers.Parser = NewTSV(parsers.Options{})
		if strings.HasPrefix(string(lines[0]), "{") {
			p = NewJSON(parsers.Options{})
		}
		c := readAll(p, lines, nil)
		fmt.Fprintf(&b, "%s: %v", filepath.Base(f), c.kinds)
		if len(c.skipped) > 0 {
			fmt.Fprintf(&b, " skipped %v", c.skipped)
		}
		if len(c.refused) > 0 {
			fmt.Fprintf(&b, " refused %v", c.refused)
		}
		b.WriteByte('\n')
	}
	const name = "testdata/baselines.txt"
	if *update {
		if err := os.WriteFile(name, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(b.String(), "\n")); d != "" {
		t.Errorf("(-want +got; rewrite with -update):\n%s", d)
	}
}

// A line of a shape that was seen allocates nothing.
func TestAllocates(t *testing.T) {
	f := func(path string, p parsers.Parser) {
		t.Helper()
		all := logLines(readLog(t, shareddata.Path(t, path)))
		head, all := all[:min(9, len(all))], all[:min(4000, len(all))]
		pool := event.NewPool(1, len(all), 64<<20)
		round := func(lines [][]byte) {
			b := <-pool
			for _, l := range lines {
				ev, own := b.Add(l)
				if p.Parse(b, ev, own) != nil {
					b.Drop()
				}
			}
			b.Release()
		}
		round(head) // a header is read once
		round(all)  // what grows once
		if strings.HasSuffix(path, ".log.gz") {
			all = slices.DeleteFunc(all, func(l []byte) bool { return l[0] == '#' })
		}
		if n := testing.AllocsPerRun(3, func() { round(all) }); n != 0 {
			t.Errorf("%s: %v allocations in %d lines", path, n, len(all))
		}
	}
	f("zeek/wrccdc/dns.log.gz", NewTSV(parsers.Options{}))
	f("zeek/wrccdc/ssl.log.gz", NewTSV(parsers.Options{}))
	f("zeek/wrccdc/dns.json.gz", NewJSON(parsers.Options{}))
	f("zeek/wrccdc/ssl.json.gz", NewJSON(parsers.Options{Extra: []string{"ssl_history"}}))
	f("labelled/internet-server/2024-04-19.conn.log.gz", NewTSV(parsers.Options{Extra: []string{"history"}}))
}
