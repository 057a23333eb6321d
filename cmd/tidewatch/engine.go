package main

import (
	"runtime"
	"slices"
	"sync/atomic"

	"tidewatch/behavior"
	"tidewatch/behavior/devices"
	"tidewatch/behavior/population"
	"tidewatch/behavior/state"
	"tidewatch/enrich"
	"tidewatch/enrich/sessions"
	"tidewatch/event"
	"tidewatch/internal/pipeline"
	"tidewatch/rules"
)

// engine is what stands between a source of events and a sink of findings: the same
// for old logs and for a live sensor.
type engine struct {
	rules       *rules.Set
	context     *enrich.Context
	shards      []*shard
	joiner      *pipeline.Joiner
	population  *population.Population // nil: no detector that runs asks for it
	suppression *rules.Suppression
	sessions    *sessions.Memory // nil: as population
	devices     *devices.Devices
}

// sessionBytes is how much is remembered of connections for the findings about them: some
// 75,000 handshakes, requests and files.
const sessionBytes = 16 << 20

// shard tells others how much it keeps, once an epoch.
type shard struct {
	*behavior.Shard
	sizes atomic.Pointer[[]state.Size]
}

// Cut returns what changed, and publishes the sizes.
func (s *shard) Cut() []behavior.Record {
	s.publish()
	return s.Shard.Cut()
}

func (s *shard) publish() {
	sizes := s.Sizes(nil)
	s.sizes.Store(&sizes)
}

// newEngine wires the stages.
func newEngine(set *rules.Set, known *enrich.Context) *engine {
	e := &engine{rules: set, context: known, joiner: new(pipeline.Joiner), suppression: rules.NewSuppression(set), devices: &devices.Devices{Asset: known.AssetOf}}
	cfg := set.Config()
	if cfg.NeedsPopulation() {
		e.population = population.New(cfg.PopulationConfig())
		// Scans are attempts: there is no more to say of their connections.
		e.sessions = sessions.New(sessionBytes)
	}
	// One processor is for reading and for what comes before the shards.
	n := min(max(runtime.GOMAXPROCS(0)-1, 1), 8)
	for i := range n {
		s := &shard{Shard: behavior.NewShard(i, n, cfg)}
		s.publish()
		e.shards = append(e.shards, s)
	}
	return e
}

// pipeline returns a pipeline of the stages, without source, sink and store.
func (e *engine) pipeline() *pipeline.Pipeline {
	p := &pipeline.Pipeline{Rules: judge{e.context, e.devices, e.rules}, Suppression: e.suppression, Joiner: e.joiner, Devices: e.devices}
	if e.sessions != nil {
		p.Sessions = e.sessions
	}
	if e.population != nil {
		p.Population = e.population
	}
	for _, s := range e.shards {
		p.Shards = append(p.Shards, s)
	}
	return p
}

// judge fills in what is known of an observation's ends, and where they are now, before
// the rules see it.
type judge struct {
	context *enrich.Context
	devices *devices.Devices
	next    pipeline.Judge
}

func (j judge) Judge(o *event.Observation, dst []event.Finding) []event.Finding {
	j.devices.Present(o)
	j.context.Explain(o)
	return j.next.Judge(o, dst)
}

// lookup makes shards ask what other sensors know of entities that begin.
func (e *engine) lookup() {
	for _, s := range e.shards {
		s.Lookup()
	}
}

// sizes adds up what the shards keep, by kind.
func (e *engine) sizes() []state.Size {
	var all []state.Size
	for _, s := range e.shards {
		for _, z := range *s.sizes.Load() {
			at := slices.IndexFunc(all, func(a state.Size) bool { return a.Kind == z.Kind })
			if at < 0 {
				all = append(all, z)
				continue
			}
			all[at].Count += z.Count
			all[at].Cap += z.Cap
		}
	}
	return all
}
