package suricata

import (
	"strings"

	"tidewatch/event"
	"tidewatch/parsers/scan"
)

// counters are what a stats record is kept for: packets seen, and packets and
// sessions that Suricata did not look at.
var counters = []string{
	"stats.uptime",
	"stats.capture.kernel_packets",
	"stats.capture.kernel_drops",
	"stats.capture.errors",
	"stats.decoder.pkts",
	"stats.decoder.bytes",
	"stats.decoder.invalid",
	"stats.tcp.sessions",
	"stats.tcp.ssn_memcap_drop",
	"stats.tcp.segment_memcap_drop",
	"stats.tcp.reassembly_gap",
	"stats.flow.memcap",
	"stats.flow.emerg_mode_entered",
	"stats.memcap_pressure",
}

// picker finds members of a record by dotted paths and puts them into Extra, in
// the order of the names. A list or an object is kept as JSON.
type picker struct {
	names  []string
	values []string
	found  []bool
	s      scan.JSON
	path   []byte // of the member at hand
}

func newPicker(names []string) picker {
	return picker{names: names, values: make([]string, len(names)), found: make([]bool, len(names))}
}

// pick walks line, which has been found valid, once more.
func (k *picker) pick(b *event.Batch, ev *event.Event, line []byte) {
	clear(k.found)
	k.s.Reset(line)
	k.walk(b, 0)
	n := 0
	for _, ok := range k.found {
		if ok {
			n++
		}
	}
	if n == 0 {
		return
	}
	at := len(ev.Extra)
	fields := append(b.Fields(at+n), ev.Extra...)
	for i, ok := range k.found {
		if ok {
			fields = append(fields, event.Field{Name: k.names[i], Value: k.values[i]})
		}
	}
	ev.Extra = fields
	clear(k.values)
}

// walk looks at the object that the cursor is in, whose path takes the first base
// bytes of k.path.
func (k *picker) walk(b *event.Batch, base int) {
	for k.s.Next() {
		k.path = append(k.path[:base], k.s.Key()...)
		hit, inside := -1, false
		for i, n := range k.names {
			switch rest, ok := strings.CutPrefix(n, event.String(k.path)); {
			case !ok:
			case rest == "":
				hit = i
			case rest[0] == '.':
				inside = true
			}
		}
		switch {
		case hit >= 0:
			k.take(b, hit)
		case inside && k.s.Kind() == scan.Object:
			k.path = append(k.path, '.')
			k.s.Enter()
			k.walk(b, len(k.path))
		}
	}
}

func (k *picker) take(b *event.Batch, i int) {
	switch k.s.Kind() {
	case scan.Null:
		return
	case scan.Object, scan.Array:
		k.values[i] = event.String(k.s.Skip())
	default:
		k.values[i] = k.s.Text(b)
	}
	k.found[i] = true
}
