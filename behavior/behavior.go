// Package behavior keeps what is known of each entity, and detects what is not
// normal for it. Each detector has a package of its own below this one.
package behavior

import (
	"tidewatch/behavior/beacon"
	"tidewatch/behavior/dnstunnel"
	"tidewatch/behavior/exfil"
	"tidewatch/behavior/hosts"
	"tidewatch/behavior/longconn"
	"tidewatch/behavior/population"
	"tidewatch/behavior/scan"
	"tidewatch/behavior/state"
	"tidewatch/behavior/watch"
	"tidewatch/event"
)

// Detectors are the names of all detectors.
var Detectors = []string{"beacon", "dns_tunnel", "exfiltration", "long_connection", "scan"}

// Config holds the settings of all detectors. Rules change them.
type Config struct {
	// Off names the detectors that do not run: nobody asks what they find.
	Off map[string]bool
	// Handshakes says that a rule asks of connections what their handshakes were.
	Handshakes bool

	Scan      scan.Config
	Beacon    beacon.Config
	Exfil     exfil.Config
	Hosts     hosts.Config
	DNSTunnel dnstunnel.Config
	Watch     watch.Config
	Long      longconn.Config
}

// DefaultConfig returns the settings that are used where no rule says otherwise.
func DefaultConfig() Config {
	return Config{
		Scan:      scan.DefaultConfig(),
		Beacon:    beacon.DefaultConfig(),
		Exfil:     exfil.DefaultConfig(),
		Hosts:     hosts.DefaultConfig(),
		DNSTunnel: dnstunnel.DefaultConfig(),
		Watch:     watch.DefaultConfig(),
		Long:      longconn.DefaultConfig(),
	}
}

// Terms returns the names of the terms that each detector's evidence is a sum of, for
// those whose evidence is one.
func Terms() map[string][]string {
	return map[string][]string{"beacon": beacon.Terms(), "exfiltration": exfil.Terms(), "dns_tunnel": dnstunnel.Terms(), "long_connection": longconn.Terms()}
}

// Without returns settings under which one term of a detector counts for nothing, and
// no other detector runs.
func (c Config) Without(detector, term string) Config {
	c.Off = map[string]bool{}
	for _, d := range Detectors {
		c.Off[d] = d != detector
	}
	switch detector {
	case "beacon":
		c.Beacon.Without = term
	case "exfiltration":
		c.Exfil.Without = term
	case "dns_tunnel":
		c.DNSTunnel.Without = term
	case "long_connection":
		c.Long.Without = term
	}
	return c
}

// PopulationConfig returns what the detectors that run ask of a Population.
func (c *Config) PopulationConfig() population.Config {
	p := population.DefaultConfig()
	if c.Handshakes {
		p.Handshakes = openHandshakes
	}
	return p
}

// openHandshakes is how many connections' handshakes are remembered where a rule asks.
const openHandshakes = 1 << 17

// NeedsPopulation reports whether a detector that runs asks what far ends are called
// and who else uses them.
func (c *Config) NeedsPopulation() bool {
	return !c.Off["beacon"] || !c.Off["dns_tunnel"] || !c.Off["exfiltration"] || !c.Off["long_connection"] || len(c.Watch.Specs) > 0
}

// Record is the serialised state of one entity. An empty Value says that the
// entity is forgotten.
type Record = state.Record

// Owner returns which of n shards owns the entity with this hash.
func Owner(hash uint64, n int) int { return state.Owner(hash, n) }

// detector is one way to find what is not normal. It keeps the entities that its
// shard owns.
type detector interface {
	// Observe takes a record, and appends what it makes of it to dst; orig and resp
	// say which of its ends the shard owns. On entities that are known it does not
	// allocate.
	Observe(ev *event.Event, orig, resp bool, dst []event.Observation) []event.Observation
	// Advance tells the data's own clock. What a closed episode says does not
	// depend on when it is called.
	Advance(clock int64, dst []event.Observation) []event.Observation
	// Finish closes what is open: the data is complete.
	Finish(dst []event.Observation) []event.Observation
	// Track makes the detector remember what changes, for Cut.
	Track()
	Cut() []state.Record
	// Sizes appends how much is kept of each kind.
	Sizes(dst []state.Size) []state.Size
	// Restore takes back a record that Cut returned, if owns says that its entity is
	// the shard's.
	Restore(r state.Record, owns func(hash uint64) bool) error
}

// expecter is a detector that is told which records come next.
// It changes nothing.
type expecter interface{ Expect(evs []*event.Event) }

// known are the kinds of records that shards have.
var known = [256]bool{
	state.KindScanSource: true, state.KindScanTarget: true, state.KindScanLight: true, state.KindPair: true, state.KindBeacon: true,
	state.KindTunnel: true, state.KindUpload: true, state.KindHost: true, state.KindService: true, state.KindWatch: true, state.KindLong: true,
}

// Shard owns the entities whose hash falls to it. It is used by one goroutine.
type Shard struct {
	i, n      int
	detectors []detector
	expecters []expecter      // of detectors
	watch     *watch.Detector // among them; nil if nothing is watched
	kinds     [256]detector   // by the first byte of a record's key
}

// NewShard returns the i-th of n shards.
func NewShard(i, n int, cfg Config) *Shard {
	s := &Shard{i: i, n: n}
	if !cfg.Off["scan"] {
		s.add(scan.New(cfg.Scan, n), state.KindScanSource, state.KindScanTarget, state.KindScanLight)
	}
	timers, tunnels := beacon.New(cfg.Beacon, n), dnstunnel.New(cfg.DNSTunnel, n)
	if !cfg.Off["beacon"] {
		s.add(timers, state.KindPair, state.KindBeacon)
	}
	if !cfg.Off["dns_tunnel"] {
		s.add(tunnels, state.KindTunnel)
	}
	if !cfg.Off["beacon"] && !cfg.Off["dns_tunnel"] {
		// Both own the originators of questions: one tunnel is one finding.
		timers.Beside(tunnels)
		tunnels.Beside(timers)
	}
	if !cfg.Off["long_connection"] {
		s.add(longconn.New(cfg.Long, n), state.KindLong)
	}
	if !cfg.Off["exfiltration"] {
		usual := hosts.New(cfg.Hosts, n)
		s.add(exfil.New(cfg.Exfil, n, usual), state.KindUpload)
		s.add(usual, state.KindHost, state.KindService) // last: detectors ask it what was normal before
	}
	if len(cfg.Watch.Specs) > 0 {
		s.watch = watch.New(cfg.Watch, i, n)
		s.add(s.watch, state.KindWatch)
	}
	return s
}

func (s *Shard) add(d detector, kinds ...byte) {
	s.detectors = append(s.detectors, d)
	if e, ok := d.(expecter); ok {
		s.expecters = append(s.expecters, e)
	}
	for _, k := range kinds {
		s.kinds[k] = d
	}
}

// Track makes the shard remember which entities change, for Cut.
func (s *Shard) Track() {
	for _, d := range s.detectors {
		d.Track()
	}
}

// Expect reads what is known of the pairs that the events are about, so that it is near
// when Observe is given them.
func (s *Shard) Expect(evs []*event.Event) {
	for _, e := range s.expecters {
		e.Expect(evs)
	}
}

// Observe takes those ends of the event that the shard owns, and appends what it
// makes of them to dst. On entities that are known it does not allocate.
func (s *Shard) Observe(ev *event.Event, dst []event.Observation) []event.Observation {
	orig, resp := Owner(ev.Orig.Hash, s.n) == s.i, Owner(ev.Resp.Hash, s.n) == s.i
	if ev.Flags&event.FlagJoined != 0 {
		return dst
	}
	if !orig && !resp {
		if s.watch != nil { // its cases need not be about one of the ends
			dst = s.watch.Observe(ev, false, false, dst)
		}
		return dst
	}
	for _, d := range s.detectors {
		dst = d.Observe(ev, orig, resp, dst)
	}
	return dst
}

// Advance tells the shard the data's own clock, in Unix nanoseconds. It closes
// what is over. What a closed episode says does not depend on when it is called.
func (s *Shard) Advance(clock int64, dst []event.Observation) []event.Observation {
	for _, d := range s.detectors {
		dst = d.Advance(clock, dst)
	}
	return dst
}

// Finish closes every episode: the data is complete.
func (s *Shard) Finish(dst []event.Observation) []event.Observation {
	for _, d := range s.detectors {
		dst = d.Finish(dst)
	}
	return dst
}

// Cut returns the records of the entities that changed since the last Cut.
func (s *Shard) Cut() []Record {
	var rs []Record
	for _, d := range s.detectors {
		rs = append(rs, d.Cut()...)
	}
	return rs
}

// Sizes appends how many entities of each kind the shard keeps, and how many at most.
func (s *Shard) Sizes(dst []state.Size) []state.Size {
	for _, d := range s.detectors {
		dst = d.Sizes(dst)
	}
	return dst
}

// Restore takes the record of an entity that the shard owns, and ignores others. It may
// come late: what was observed of the entity meanwhile is added to it. An empty value
// says that nothing is stored of an entity that Wanted has named. The error says that the
// record was not written by Cut.
func (s *Shard) Restore(r Record) error {
	if len(r.Key) == 0 || !known[r.Key[0]] {
		return state.ErrRecord
	}
	if s.kinds[r.Key[0]] == nil {
		return nil // of a detector that is off
	}
	return s.kinds[r.Key[0]].Restore(r, func(hash uint64) bool { return Owner(hash, s.n) == s.i })
}
