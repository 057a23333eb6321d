package behavior

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"tidewatch/behavior/population"
	"tidewatch/behavior/watch"
	"tidewatch/event"
	"tidewatch/internal/scenario"
	"tidewatch/internal/shareddata"
)

// What is said, and what is known in the end, does not depend on when a shard is told
// the clock: records are about what began long before they are written, too.
func TestClockIsToldWhenever(t *testing.T) {
	f := func(name string, evs []*event.Event) {
		t.Helper()
		often := lived(evs, 1)
		if len(often) < 100 {
			t.Fatalf("%s: %d lines", name, len(often))
		}
		for _, every := range []int{7, 1000, len(evs) + 1} {
			got := lived(evs, every)
			for i := range min(len(often), len(got)) {
				if got[i] != often[i] {
					t.Fatalf("%s, told every %d records: %d lines, %d when told each time; the first that differ:\n%s\n%s", name, every, len(got), len(often), got[i], often[i])
				}
			}
			if len(got) != len(often) {
				t.Errorf("%s, told every %d records: %d lines, %d when told each time", name, every, len(got), len(often))
			}
		}
	}
	f("day", scenario.Load(t, "../examples/day/eve/eve.json.gz"))
	var logs [][]*event.Event
	for _, l := range []string{"conn", "dns", "http", "ssl"} {
		logs = append(logs, scenario.Load(t, shareddata.Path(t, "labelled/c2/numinon/"+l+".log.gz")))
	}
	evs := scenario.Merge(logs...)
	f("recorded", evs[:min(len(evs), 30_000)])
}

// lived returns what a shard says of records, and what it knows then. It is told the
// clock after so many of them.
func lived(evs []*event.Event, every int) (all []string) {
	cfg := DefaultConfig()
	address := func(of func(*event.Event) *event.Host) func([]byte, *event.Event) []byte {
		return func(dst []byte, ev *event.Event) []byte { return of(ev).Addr.AppendTo(dst) }
	}
	by := []watch.Key{
		{Name: "source.ip", End: watch.Originator, Append: address(func(ev *event.Event) *event.Host { return &ev.Orig })},
		{Name: "destination.ip", End: watch.Responder, Append: address(func(ev *event.Event) *event.Host { return &ev.Resp })},
	}
	conns := watch.Filter{Kinds: 1 << event.KindConn, Text: "conn"}
	cfg.Watch.Specs = []watch.Spec{
		{ID: "busy", Version: 1, Kind: watch.Threshold, Filter: conns, By: by, AtLeast: 5, Within: 10 * time.Minute},
		{ID: "steps", Version: 2, Kind: watch.Sequence, By: by, Steps: []watch.Filter{{Kinds: 1 << event.KindDNS}, conns, conns}, Within: 10 * time.Minute},
	}
	known := population.New(population.DefaultConfig())
	for part := range slices.Chunk(evs, 4096) {
		known.Prepare(&event.Sequence{Events: part})
	}
	s := NewShard(0, 1, cfg)
	s.Track()
	var seen []event.Observation
	clock := int64(0)
	for i, ev := range evs {
		if i%every == every-1 {
			seen = s.Advance(clock, seen)
		}
		seen = s.Observe(ev, seen)
		clock = max(clock, ev.Written)
	}
	seen = s.Finish(seen)
	for i := range seen {
		o := &seen[i]
		all = append(all, fmt.Sprintf("%s %s %d %v %d %d %s", o.Detector, o.Episode, o.Revision, o.Open, o.Start, o.End, o.Reason))
	}
	slices.Sort(all)
	return all
}
