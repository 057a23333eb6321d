package redis

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"tidewatch/behavior"
	"tidewatch/behavior/population"
	"tidewatch/enrich"
	"tidewatch/event"
	"tidewatch/ingest"
	"tidewatch/internal/pipeline"
	"tidewatch/internal/synth"
	"tidewatch/rules"
)

// engine is a sidecar without its commands: the real parsers, detectors and rules on
// finished logs, with a store.
type engine struct {
	store    pipeline.Store
	epoch    uint64
	interval time.Duration
	exchange pipeline.Exchange // nil: it is alone
	length   int
	shard    func(*behavior.Shard) pipeline.Shard // unless nil, changes it
	source   func(pipeline.Source) pipeline.Source

	population func(*population.Population) pipeline.Population
	found      []event.Finding
	read       int
}

// Write keeps findings.
func (e *engine) Write(_ context.Context, fs []event.Finding) error {
	e.found = append(e.found, fs...)
	return nil
}

// run reads the logs in a folder.
func (e *engine) run(t testing.TB, dir string) {
	t.Helper()
	set, err := rules.Load(rules.Builtin())
	if err != nil {
		t.Fatal(err)
	}
	files, err := ingest.Discover([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	merge := ingest.NewMerge(files, ingest.Options{Enrich: enrich.NewZones(nil).Enrich})
	defer merge.Close()
	cfg := set.Config()
	pop, sup, join := population.New(population.DefaultConfig()), rules.NewSuppression(set), new(pipeline.Joiner)
	p := &pipeline.Pipeline{
		Sources: []pipeline.Source{merge}, Rules: set, Suppression: sup, Joiner: join, Population: pop,
		Sink: e, Store: e.store, Epoch: e.epoch, Interval: e.interval, Grace: 10 * time.Second,
	}
	join.Track()
	shard := behavior.NewShard(0, 1, cfg)
	shard.Track()
	p.Shards = []pipeline.Shard{shard}
	if e.shard != nil {
		p.Shards[0] = e.shard(shard)
	}
	if e.source != nil {
		p.Sources[0] = e.source(merge)
	}
	if e.population != nil {
		p.Population = e.population(pop)
	}
	if p.Length = e.length; e.exchange != nil {
		p.Exchange = e.exchange
		shard.Lookup()
	}
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.read = int(merge.Stats().Records())
}

// makeDay writes a made day of about so many records.
func makeDay(t testing.TB, events, hosts int, seed uint64) string {
	t.Helper()
	o := synth.Options{Seed: seed, Days: 1, Hosts: hosts, Attacks: "grid"}
	a, err := synth.ActivityFor(o, events, "conn", "dns", "ssl")
	if err != nil {
		t.Fatal(err)
	}
	o.Activity = a
	dir := filepath.Join(t.TempDir(), "day")
	if err := synth.New(o).Write(dir, []string{"zeek"}, []string{"conn", "dns", "ssl"}); err != nil {
		t.Fatal(err)
	}
	return dir
}
