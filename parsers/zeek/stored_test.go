package zeek

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tidewatch/event"
	"tidewatch/parsers"
)

// A parser that restores a header reads what follows as the one that saw it.
func TestStoredHeader(t *testing.T) {
	f := func(head, record string) {
		t.Helper()
		first, second := NewTSV(parsers.Options{}), NewTSV(parsers.Options{})
		for line := range strings.Lines(head) {
			if _, err := parseOne(first, []byte(strings.TrimSuffix(line, "\n"))); err != parsers.ErrMeta {
				t.Fatalf("%q: %v", line, err)
			}
		}
		stored := first.AppendHeader(nil)
		if err := second.RestoreHeader(stored); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(stored, second.AppendHeader(nil)); d != "" {
			t.Error(d)
		}
		want, err := parseOne(first, []byte(record))
		got, err2 := parseOne(second, []byte(record))
		if err != nil || err2 != nil {
			t.Fatalf("%q: %v, restored: %v", record, err, err2)
		}
		if d := cmp.Diff(want, got, cmp.Comparer(func(a, b event.Columns) bool { return a == b }), cmp.Comparer(func(a, b event.Host) bool { return a == b })); d != "" {
			t.Error(d)
		}
	}
	f("#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tdns\n#fields\tts\tuid\tid.orig_h\tquery\tanswers\n",
		"1.5\tC1\t10.0.0.1\texample.com\ta,b")
	f("!!separator \\x7c\n!!unset_field|NIL\n!!path|http\n!!fields|ts|host|status_code\n", "1|NIL|200")
	f("ts\tuid\tid.orig_h\tid.resp_h\tproto\tconn_state\tduration\n", "1\tC\t10.0.0.1\t10.0.0.2\ttcp\tSF\t-")
	f("#separator \\x09\n#path\tconn\n#fields\tts\tuid\tproto\tconn_state\ttunnel_parents   label   detailed-label\n",
		"1\tC\ttcp\tSF\t-   benign   -")
}

func FuzzStoredHeader(f *testing.F) {
	p := NewTSV(parsers.Options{})
	f.Add(p.AppendHeader(nil))
	if _, err := parseOne(p, []byte("ts\tuid\tproto")); err != parsers.ErrMeta {
		f.Fatal(err)
	}
	f.Add(p.AppendHeader(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		p := NewTSV(parsers.Options{})
		if p.RestoreHeader(data) != nil {
			return
		}
		var again TSV
		stored := p.AppendHeader(nil)
		if err := again.RestoreHeader(stored); err != nil || !bytes.Equal(stored, again.AppendHeader(nil)) {
			t.Fatalf("%q: stored again as %q: %v", data, stored, err)
		}
		_, _ = parseOne(p, []byte("1.5\tC1\t10.0.0.1"))
	})
}
