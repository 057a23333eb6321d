package zeek

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tidewatch/event"
	"tidewatch/parsers"
)

func parseOne(p parsers.Parser, line []byte) (*event.Event, error) {
	b := event.NewBatch(nil, 1, 64)
	ev, own := b.Add(line)
	return ev, p.Parse(b, ev, own)
}

func FuzzTSV(f *testing.F) {
	head := "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n"
	f.Add([]byte(head + "#path\tconn\n#fields\tts\tuid\tid.orig_h\tproto\torig_bytes\ttunnel_parents\n1.5\tC1\t10.0.0.1\ttcp\t-\tC2,C3\n"))
	f.Add([]byte(head + "#path\tdns\n#fields\tts\tquery\tanswers\tTTLs\tAA\n1521911721.255387\ta\\x09\\\\b\ta\\x2cb,-,(empty)\t60.000000,-\tT\r\n#close\tx"))
	f.Add([]byte("\t#separator \\x7c\n#fields|ts|host|status_code\n1|(empty)|200\n"))
	f.Add([]byte("ts\tuid\tssl_history\n1\tC\t-\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p := NewTSV(parsers.Options{})
		for line := range bytes.SplitSeq(data, []byte("\n")) {
			had := p.head
			ev, err := parseOne(p, line)
			if err == parsers.ErrMeta || p.skip != nil || had.names == nil || err == parsers.ReasonNUL || had.plain || had.labelled {
				continue
			}
			if r, ok := err.(parsers.Reason); ok && r == parsers.ReasonBadHeader {
				continue
			}
			want, ok := slowTSV(&had, string(line))
			if ok != (err == nil) {
				t.Fatalf("%q under %q: %v, the slow reading has %v", line, had.names, err, want)
			}
			if twice(had.names, had.path) {
				continue
			}
			if err == nil {
				compare(t, line, ev, want)
			}
		}
	})
}

// twice reports whether two columns of a header mean the same.
func twice(names []string, path string) bool {
	s, _ := streamOf(path)
	if path == "" {
		s.kind = kindOfNames(names)
	}
	seen := map[event.Column]bool{}
	for _, n := range names {
		if c, ok := bind(s.kind, n); ok {
			if seen[c.col] {
				return true
			}
			seen[c.col] = true
		}
	}
	return false
}

func FuzzJSON(f *testing.F) {
	f.Add([]byte(`{"_path":"dns","_write_ts":"2018-03-24T17:15:20.866586Z","ts":"2018-03-24T17:15:20.865716Z","uid":"C","id.orig_h":"10.47.1.100","id.orig_p":41772,"proto":"udp","rtt":0.0008699893951416016,"AA":false,"answers":["a","b"],"TTLs":[60.0,null]}`))
	f.Add([]byte(`{"ts":1521911721.255387,"id":{"orig_h":"::1","resp_p":53,"ctx":{"vlan":5}},"query":"a\\xc3\u00e9\"","trans_id":1e1,"rejected":null}`))
	f.Add([]byte(`{"ts":1521911721255,"conn_state":"SF","duration":9.5367431640625e-7,"service":"quic,ssl","vlan":3}`))
	f.Add([]byte(`{"certificate.version":3,"ts":1.0,"certificate":{"serial":"0A"},"san.dns":["\udb80\udc41"]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p := NewJSON(parsers.Options{})
		for range 2 { // the second time the order of its fields is known
			ev, err := parseOne(p, data)
			if err == parsers.ErrMeta || err == parsers.ReasonNUL || err == ReasonTooManyFields || bytes.HasPrefix(data, bom) {
				return
			}
			var skip *parsers.Skip
			if errors.As(err, &skip) {
				return
			}
			want, slow := slowJSON(data)
			bad := err == parsers.ReasonBadJSON || err == parsers.ReasonNotObject
			slowBad := slow == parsers.ReasonBadJSON || slow == parsers.ReasonNotObject
			if bad != slowBad && !(bad && deep(data)) {
				t.Fatalf("%q: %v, the slow reading has %v", data, err, slow)
			}
			// Of two fields with one name encoding/json has the later one. So have we, but
			// for what stood in an object that a later field replaces.
			if bad || slow == parsers.ErrMeta || bytes.Count(data, []byte("{")) > 1 && repeats(data) {
				continue
			}
			if (err == nil) != (slow == nil) {
				t.Fatalf("%q: %v, the slow reading has %v %v", data, err, slow, want)
			}
			if err == nil {
				compare(t, data, ev, want)
			}
		}
	})
}

// repeats reports whether a name stands twice in one object of data.
func repeats(data []byte) bool {
	dec := json.NewDecoder(bytes.NewReader(data))
	var open []map[string]bool // names of each open object, nil for an array
	name := false              // the next string is a name
	for {
		tok, err := dec.Token()
		if err != nil {
			return false
		}
		switch d, _ := tok.(json.Delim); {
		case d == '{':
			open = append(open, map[string]bool{})
		case d == '[':
			open = append(open, nil)
		case d != 0:
			open = open[:len(open)-1]
		case name:
			n := tok.(string)
			if open[len(open)-1][n] {
				return true
			}
			open[len(open)-1][n] = true
			name = false
			continue
		}
		name = len(open) > 0 && open[len(open)-1] != nil
	}
}

// deep reports whether data may be nested deeper than our scanner goes.
func deep(data []byte) bool {
	return bytes.Count(data, []byte("["))+bytes.Count(data, []byte("{")) > 60
}

// derived are columns that the parser takes from others.
var derived = []string{"proto", "orig.addr", "resp.addr"}

func compare(t *testing.T, line []byte, ev *event.Event, want say) {
	t.Helper()
	got := told(ev)
	for _, c := range derived {
		if _, ok := want[c]; !ok && ev.Kind != event.KindConn || c == "proto" {
			delete(got, c)
			delete(want, c)
		}
	}
	if !reflect.DeepEqual(map[string]any(got), map[string]any(want)) {
		t.Errorf("%q (-slow +ours):\n%s", line, cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })))
	}
}
