// Package scenario is the harness of the detectors' tests: it reads logs with the
// real parsers, and runs detectors on them by the data's own clock, in any number
// of shards and over cuts.
package scenario

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"tidewatch/behavior/population"
	"tidewatch/behavior/state"
	"tidewatch/enrich"
	"tidewatch/event"
	"tidewatch/parsers"
	"tidewatch/parsers/suricata"
	"tidewatch/parsers/zeek"
)

// Load parses a log, which may be .gz, and enriches its records. local names the own
// networks that are not private ones.
func Load(t testing.TB, path string, local ...string) []*event.Event {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(path, ".gz") {
		if r, err = gzip.NewReader(f); err != nil {
			t.Fatal(err)
		}
	}
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return Parse(t, data, local...)
}

// Parse parses the text of a log of any form. Lines that the parser refuses are left
// out.
func Parse(t testing.TB, data []byte, local ...string) (evs []*event.Event) {
	t.Helper()
	var prefixes []netip.Prefix
	for _, l := range local {
		prefixes = append(prefixes, netip.MustParsePrefix(l))
	}
	zones := enrich.NewZones(prefixes)
	var p parsers.Parser
	switch {
	case data[0] == '#':
		p = zeek.NewTSV(parsers.Options{})
	case bytes.Contains(data[:min(len(data), 2000)], []byte(`"event_type"`)):
		p = suricata.New(parsers.Options{})
	default:
		p = zeek.NewJSON(parsers.Options{})
	}
	for line := range bytes.Lines(data) {
		b := event.NewBatch(nil, 1, 2*len(line)+64)
		ev, own := b.Add(bytes.TrimSuffix(line, []byte("\n")))
		if p.Parse(b, ev, own) != nil {
			continue
		}
		zones.Enrich(ev)
		evs = append(evs, ev)
	}
	return evs
}

// Merge puts the records of several logs into the order in which they were written.
func Merge(logs ...[]*event.Event) []*event.Event {
	all := slices.Concat(logs...)
	slices.SortStableFunc(all, func(a, b *event.Event) int { return cmp.Compare(a.Written, b.Written) })
	return all
}

// Detector is what a detector of package behavior and its shards have in common.
type Detector interface {
	Observe(ev *event.Event, orig, resp bool, dst []event.Observation) []event.Observation
	Advance(clock int64, dst []event.Observation) []event.Observation
	Finish(dst []event.Observation) []event.Observation
	Track()
	Cut() []state.Record
	Restore(r state.Record, owns func(hash uint64) bool) error
}

// length is how many records the harness gives to the shards between two calls of
// Advance, as the pipeline does.
const length = 512

// Prepare fills in what is known of the records' far ends, as the pipeline does, by a
// population that knows nothing beforehand.
func Prepare(evs []*event.Event) {
	p := population.New(population.DefaultConfig())
	for chunk := range slices.Chunk(evs, length) {
		p.Prepare(&event.Sequence{Events: chunk})
	}
}

// Observe runs prepared records through n shards of a detector. What they say comes in an
// order that does not depend on n.
func Observe(evs []*event.Event, n int, shard func(shards int) Detector) []event.Observation {
	r := newRun(n, shard)
	for chunk := range slices.Chunk(evs, length) {
		r.advance()
		r.observe(chunk)
	}
	return r.finish()
}

// ObserveWithCuts is Observe with restarts at random points, each with the state of
// the last cut in another number of shards.
func ObserveWithCuts(t testing.TB, evs []*event.Event, seed uint64, shard func(shards int) Detector) []event.Observation {
	t.Helper()
	rnd := rand.New(rand.NewPCG(seed, 9))
	store := map[string][]byte{}
	r := newRun(1+rnd.IntN(5), shard)
	for _, d := range r.shards {
		d.Track()
	}
	for chunk := range slices.Chunk(evs, length) {
		if rnd.IntN(4) == 0 {
			r.save(store)
			r = r.restart(t, 1+rnd.IntN(5), store)
		}
		r.advance()
		r.observe(chunk)
	}
	return r.finish()
}

// run is a detector in several shards.
type run struct {
	shard  func(shards int) Detector
	shards []Detector
	known  *population.Population
	clock  int64
	out    []event.Observation
}

func newRun(n int, shard func(shards int) Detector) *run {
	r := &run{shard: shard, known: population.New(population.DefaultConfig())}
	for range n {
		r.shards = append(r.shards, shard(n))
	}
	return r
}

func (r *run) advance() {
	for _, d := range r.shards {
		r.out = d.Advance(r.clock, r.out)
	}
}

func (r *run) observe(evs []*event.Event) {
	r.known.Prepare(&event.Sequence{Events: evs})
	n := len(r.shards)
	for _, ev := range evs {
		for i, d := range r.shards {
			if orig, resp := state.Owner(ev.Orig.Hash, n) == i, state.Owner(ev.Resp.Hash, n) == i; orig || resp {
				r.out = d.Observe(ev, orig, resp, r.out)
			}
		}
		r.clock = max(r.clock, ev.Written)
	}
}

func (r *run) finish() []event.Observation {
	for _, d := range r.shards {
		r.out = d.Finish(r.out)
	}
	slices.SortStableFunc(r.out, func(a, b event.Observation) int {
		return cmp.Or(strings.Compare(a.Episode, b.Episode), cmp.Compare(a.Revision, b.Revision))
	})
	return r.out
}

// save applies the cuts of the shards and of what is known to the store.
func (r *run) save(store map[string][]byte) {
	recs := r.known.Cut()
	for _, d := range r.shards {
		recs = append(recs, d.Cut()...)
	}
	for _, rec := range recs {
		if len(rec.Value) == 0 {
			delete(store, string(rec.Key))
		} else {
			store[string(rec.Key)] = rec.Value
		}
	}
}

// restart returns a run that goes on from the store.
func (r *run) restart(t testing.TB, n int, store map[string][]byte) *run {
	t.Helper()
	next := newRun(n, r.shard)
	next.clock, next.out = r.clock, r.out
	for _, d := range next.shards {
		d.Track()
	}
	for key, value := range store {
		if err := next.restore(state.Record{Key: []byte(key), Value: value}); err != nil {
			t.Fatalf("%q: %v", key, err)
		}
	}
	return next
}

// restore gives a record to what it is of.
func (r *run) restore(rec state.Record) error {
	if population.Owns(rec) {
		return r.known.Restore(rec)
	}
	n := len(r.shards)
	for i, d := range r.shards {
		if err := d.Restore(rec, func(h uint64) bool { return state.Owner(h, n) == i }); err != nil {
			return err
		}
	}
	return nil
}

// Number returns a numeric feature of an observation; -1 if it has none of the name.
func Number(o *event.Observation, key string) float64 {
	for _, f := range o.Features {
		if f.Key == key {
			return f.Num
		}
	}
	return -1
}

// Text returns a textual feature of an observation.
func Text(o *event.Observation, key string) string {
	for _, f := range o.Features {
		if f.Key == key {
			return f.Text
		}
	}
	return ""
}
