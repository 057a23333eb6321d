package main

import (
	"fmt"
	"maps"
	"path/filepath"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"tidewatch/configs"
	"tidewatch/event"
	"tidewatch/ingest"
	"tidewatch/internal/monitor"
	"tidewatch/internal/pipeline"
	"tidewatch/rules"
)

// statusBoard knows how the sidecar is: what the generation that runs has done, and
// those before it. It may be used concurrently.
type statusBoard struct {
	name, version string
	started       time.Time
	findings      *findingCounts
	sensor        *sensorStats
	outputs       *outlets
	inputs        map[string]configs.Input
	sources       []string // their names, in order
	epochLength   time.Duration
	limit         int64

	mu     sync.Mutex
	state  monitor.State
	engine *engine // of the generation that runs; nil between two
	pipe   *pipeline.Pipeline
	in     follower

	before                 monitor.Status // sums of generations that have ended
	committed              time.Time
	reloads, failedReloads uint64

	records  map[string]uint64 // by source, when rates were measured last
	rates    map[string]float64
	measured time.Time
	caughtUp map[string]time.Time // when a source had nothing unread last
}

func newStatusBoard(cfg *configs.Config, out *outlets, limit int64) *statusBoard {
	b := &statusBoard{
		name: cfg.General.SidecarName(), version: "(devel)", started: time.Now(), findings: out.counted, outputs: out, sensor: &sensorStats{},
		inputs: cfg.Inputs, sources: slices.Sorted(maps.Keys(cfg.Inputs)), epochLength: cfg.General.Epoch, limit: limit, state: monitor.Starting,
		records: map[string]uint64{}, rates: map[string]float64{}, caughtUp: map[string]time.Time{},
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		b.version = version(info)
	}
	return b
}

// begin shows a generation.
func (b *statusBoard) begin(e *engine, p *pipeline.Pipeline, in follower) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.engine, b.pipe, b.in = e, p, in
	if b.state != monitor.Stopping {
		b.state = monitor.Running
	}
}

// running returns the generation that runs; nil between two.
func (b *statusBoard) running() (*engine, *pipeline.Pipeline) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.engine, b.pipe
}

// judging shows other rules.
func (b *statusBoard) judging(set *rules.Set) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.engine != nil {
		b.engine.rules = set
	}
}

// end adds up what a generation has done.
func (b *statusBoard) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.before = b.sums()
	if at := b.pipe.Stats().Committed; !at.IsZero() {
		b.committed = at
	}
	b.engine, b.pipe, b.in = nil, nil, nil
	if b.state == monitor.Running {
		b.state = monitor.Reloading
	}
}

func (b *statusBoard) waiting() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.state = monitor.Waiting
}

func (b *statusBoard) stopping() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.state = monitor.Stopping
}

func (b *statusBoard) reloaded(ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if ok {
		b.reloads++
	} else {
		b.failedReloads++
	}
}

// tap lets the board see what a source reads.
func (b *statusBoard) tap(s pipeline.Source) pipeline.Source { return sensorTap{s, b.sensor} }

// sums returns what only grows: of all generations. The caller holds mu.
func (b *statusBoard) sums() monitor.Status {
	s := b.before
	s.Records, s.Refused = maps.Clone(s.Records), maps.Clone(s.Refused)
	if s.Records == nil {
		s.Records, s.Refused = map[string]uint64{}, map[string]uint64{}
	}
	s.Sources = slices.Clone(s.Sources)
	if s.Sources == nil {
		for _, name := range b.sources {
			s.Sources = append(s.Sources, monitor.Source{Name: name})
		}
	}
	if b.pipe == nil {
		return s
	}
	p := b.pipe.Stats()
	s.Suppressed += p.Suppressed
	s.Epochs += p.Epochs
	s.Committing += p.Committing.Seconds()
	s.Epoch = p.Epoch
	in := b.in.Stats()
	for k, n := range in.Kinds {
		if n > 0 {
			s.Records[event.Kind(k).String()] += n
		}
	}
	for _, r := range in.Refused {
		s.Refused[reasonClass(r.Reason, s.Refused)] += r.Count
	}
	for _, n := range in.Skipped {
		s.Skipped += n
	}
	for i := range s.Sources {
		src := &s.Sources[i]
		src.Files, src.LagBytes = 0, 0 // of generations that have ended
	}
	for _, f := range b.in.Sources() {
		if i := b.sourceOf(&f); i >= 0 {
			addFile(&s.Sources[i], &f)
		}
	}
	return s
}

// sourceOf returns which configured input a source belongs to; the first, if several
// follow the same.
func (b *statusBoard) sourceOf(f *ingest.SourceStats) int {
	return slices.IndexFunc(b.sources, func(name string) bool {
		in := b.inputs[name]
		return in.Type == f.Type && (in.Type == ingest.TypeStdin || slices.ContainsFunc(in.Paths, func(pattern string) bool {
			ok, _ := filepath.Match(pattern, f.Path)
			return ok || pattern == f.Path
		}))
	})
}

// addFile adds what is known of one file to its input.
func addFile(s *monitor.Source, f *ingest.SourceStats) {
	if f.State != ingest.StateWaiting {
		s.Files++
	}
	s.Records += f.Records
	s.Bytes += int64(f.Read)
	s.LagBytes += f.Lag
	s.Refused += f.Refused
	s.Rotations += f.Rotations + f.Truncations
	s.Lost += f.Lost
	s.Dropped += f.Dropped
}

// lag says since when each source has something unread. The caller holds mu.
func (b *statusBoard) lag(sources []monitor.Source, at time.Time) {
	for i := range sources {
		s := &sources[i]
		if since, ok := b.caughtUp[s.Name]; !ok || s.LagBytes == 0 {
			b.caughtUp[s.Name] = at
		} else {
			s.LagSeconds = at.Sub(since).Seconds()
		}
		switch {
		case s.Lost > 0:
			s.Problem = "files were gone before they were read to their end"
		case s.Files == 0 && b.pipe != nil:
			s.Problem = "there is no file to read"
		}
	}
}

// maxReasons bounds the classes of reasons. There are about twenty.
const maxReasons = 64

// reasonClass is a reason without what comes from the system or the input.
func reasonClass(reason string, known map[string]uint64) string {
	class, _, _ := strings.Cut(reason, ":")
	if _, ok := known[class]; !ok && len(known) >= maxReasons {
		return "other"
	}
	return class
}

// now returns how the sidecar is.
func (b *statusBoard) now() monitor.Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := time.Now()
	s := b.sums()
	s.Version, s.Name, s.Time, s.Started, s.State = b.version, b.name, at, b.started, b.state
	s.Findings, s.Sensor = b.findings.list(), b.sensor.list()
	s.Reloads, s.FailedReloads = b.reloads, b.failedReloads
	s.Memory, s.MemoryLimit = memoryHeld(), b.limit
	s.Outputs, s.Undelivered = b.outputs.status(), b.outputs.undelivered()
	s.EventTimeDelay = -1
	last := b.committed
	if b.pipe != nil {
		p := b.pipe.Stats()
		s.Undelivered += p.Undelivered
		if p.Clock != 0 {
			s.EventTimeDelay = at.Sub(time.Unix(0, p.Clock)).Seconds()
		}
		if p.Committed.After(last) {
			last = p.Committed
		}
		s.Rules = b.engine.rules.Len()
		for _, z := range b.engine.sizes() {
			s.Entities = append(s.Entities, monitor.Entity{Kind: z.Kind, Count: z.Count, Cap: z.Cap})
		}
	}
	if last.IsZero() {
		last = b.started
	}
	s.CheckpointAge = at.Sub(last).Seconds()
	b.lag(s.Sources, at)
	for i := range s.Sources {
		s.Sources[i].Rate = b.rates[s.Sources[i].Name]
	}
	s.Problem = b.problem(&s)
	return s
}

// hangs is for how long a stage may be at the records in its hands, which take it
// milliseconds.
const hangs = time.Minute

// healthy returns an error if a restart would help: a stage of the pipeline hangs, or
// somebody holds the board's lock, which blocks. That an output, the store or a sensor
// is away is no reason to restart.
func (b *statusBoard) healthy() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pipe == nil {
		return nil
	}
	if d := b.pipe.Busy(); d > hangs {
		return fmt.Errorf("the pipeline has been at the same records for %s", d.Round(time.Second))
	}
	return nil
}

// measure notes how fast each input is read, for the rates of a while.
func (b *statusBoard) measure() {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := time.Now()
	sources := b.sums().Sources
	b.lag(sources, at)
	for _, s := range sources {
		if !b.measured.IsZero() {
			b.rates[s.Name] = float64(s.Records-b.records[s.Name]) / at.Sub(b.measured).Seconds()
		}
		b.records[s.Name] = s.Records
	}
	b.measured = at
}

// problem says what an operator should look at first. The caller holds mu.
func (b *statusBoard) problem(s *monitor.Status) string {
	late := max(time.Minute, 20*b.epochLength).Seconds()
	switch {
	case s.State == monitor.Running && s.CheckpointAge > late && s.Undelivered > 0:
		return "an output takes no findings: reading waits for it"
	case s.State == monitor.Running && s.CheckpointAge > late:
		return "no checkpoint is committed: after a stop, much would be read again"
	}
	for _, o := range s.Outputs {
		if o.Problem != "" {
			return o.Name + ": " + o.Problem
		}
	}
	for i := range s.Sources {
		if p := s.Sources[i].Problem; p != "" {
			return s.Sources[i].Name + ": " + p
		}
	}
	return ""
}

// memoryHeld is what the Go runtime has of the system, in bytes.
func memoryHeld() int64 {
	all := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(all)
	return int64(all[0].Value.Uint64() - all[1].Value.Uint64())
}

// findingCounts counts delivered findings by rule.
type findingCounts struct {
	mu     sync.Mutex
	counts map[ruleCount]uint64
}

type ruleCount struct{ rule, severity string }

func newFindingCounts() *findingCounts { return &findingCounts{counts: map[ruleCount]uint64{}} }

func (c *findingCounts) add(fs []event.Finding) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range fs {
		c.counts[ruleCount{fs[i].Rule.ID, fs[i].Severity().String()}]++
	}
}

func (c *findingCounts) list() []monitor.Finding {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]monitor.Finding, 0, len(c.counts))
	for k, n := range c.counts {
		all = append(all, monitor.Finding{Rule: k.rule, Severity: k.severity, Count: n})
	}
	slices.SortFunc(all, func(a, b monitor.Finding) int {
		return strings.Compare(a.Rule+"\x00"+a.Severity, b.Rule+"\x00"+b.Severity)
	})
	return all
}

// sensorStats are the counters of Suricata's newest stats record. Their names are the
// parser's own.
type sensorStats struct {
	mu     sync.Mutex
	values map[string]float64
}

func (s *sensorStats) note(ev *event.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.values == nil {
		s.values = map[string]float64{}
	}
	for _, f := range ev.Extra {
		v, err := strconv.ParseFloat(f.Value, 64)
		name, ours := strings.CutPrefix(f.Name, "stats.")
		if err == nil && ours {
			s.values[strings.Clone(name)] = v
		}
	}
}

func (s *sensorStats) list() map[string]float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.values)
}
