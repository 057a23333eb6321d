// Package longconn finds connections to hosts outside that stay open for unusually
// long: remote control and tunnels through one connection have no timing to find them
// by.
//
// Much that is harmless stays open for hours. So the case is a sum of log-odds: how long
// it was and how long connections to the destination usually are, how many others deal
// with it, what it is called and known for, and how little goes through.
package longconn

import (
	"cmp"
	"math"
	"net/netip"
	"slices"
	"time"

	"tidewatch/behavior/sketch"
	"tidewatch/behavior/state"
	"tidewatch/event"
)

// Config holds the settings of the detector.
type Config struct {
	MinDuration     time.Duration  // from which on a connection is looked at, 10 minutes to 24 hours
	MinScore        float64        // of a case that is told, 0 to 1
	Exclude         []netip.Prefix // originators and responders that are not looked at
	MaxDestinations int            // kept in memory, over all shards
	Without         string         // a term of the evidence that counts for nothing, to see what it is worth
}

// DefaultConfig returns the settings that are used where no rule says otherwise.
func DefaultConfig() Config {
	return Config{MinDuration: time.Hour, MinScore: 0.5, MaxDestinations: 50_000}
}

const (
	second = int64(time.Second)
	hour   = int64(time.Hour)
	day    = 24 * hour

	// learnFrom is how long a connection must have been for its destination's usual
	// durations to be learned from it: it keeps what little is kept of to few.
	learnFrom = 10 * 60 * second
	// idle is how long nothing long must have come for an episode to be over.
	idle        = day
	forgetAfter = 30 * day
	sweepEvery  = 10 * second
	maxEpisodes = 8 // of one destination at a time
)

// pace is how the durations of a destination are learned: natural logarithms of
// seconds.
var pace = sketch.Pace{Tau: 14 * 24 * time.Hour, Floor: 0.5}

// destination is a service outside. It is kept once a long connection to it, or a
// certificate that nobody vouches for, was seen.
type destination struct {
	key         uint64
	addr        netip.Addr
	port        uint16
	proto       event.Proto
	dirty       bool
	badCert     bool
	first, last int64          // Unix nanoseconds
	durations   sketch.Moments // of all connections from ten minutes on
	open        []*episode
}

// Detector finds long connections to the destinations whose responder its shard owns:
// it sees all connections to them, whoever opened them.
type Detector struct {
	cfg          Config
	without      int // term; numTerms: none
	destinations map[uint64]*destination
	most         int
	active       []*destination // with open episodes
	sweepAt      int64
	forgetAt     int64

	tracking  bool
	dirty     []*destination
	forgotten [][]byte
}

// New returns the detector of one of so many shards.
func New(cfg Config, shards int) *Detector {
	d := &Detector{cfg: cfg, without: slices.Index(termNames[:], cfg.Without), destinations: map[uint64]*destination{}, most: max(cfg.MaxDestinations/shards, 16)}
	if d.without < 0 {
		d.without = numTerms
	}
	return d
}

// Track makes the detector remember what changes, for Cut.
func (d *Detector) Track() { d.tracking = true }

// Observe takes a record; resp says whether the shard owns its responder.
func (d *Detector) Observe(ev *event.Event, _, resp bool, dst []event.Observation) []event.Observation {
	if !resp || ev.Orig.Scope != event.ScopeLocal || ev.Resp.Scope != event.ScopeExternal {
		return dst
	}
	switch ev.Kind {
	case event.KindConn:
		if ev.End-ev.Time >= learnFrom && d.counts(ev) {
			return d.connection(d.destination(ev), ev, dst)
		}
	case event.KindTLS:
		if unvouched(ev.TLS) && !d.excluded(ev) {
			if t := d.destination(ev); !t.badCert {
				t.badCert = true
				d.touch(t)
			}
		}
	}
	return dst
}

// counts reports whether a record is about a connection that was made, as far as the
// sensor can tell. Reports on one that goes on count.
func (d *Detector) counts(ev *event.Event) bool {
	return ev.Conn != nil && ev.Flags&(event.FlagJoined|event.FlagUnidirectional) == 0 &&
		ev.Outcome != event.OutcomeSilent && ev.Outcome != event.OutcomeRejected && !ev.Proto.IsICMP() && !d.excluded(ev)
}

func (d *Detector) excluded(ev *event.Event) bool {
	for _, p := range d.cfg.Exclude {
		if p.Contains(ev.SeenOrig()) || p.Contains(ev.SeenResp()) {
			return true
		}
	}
	return false
}

// unvouched reports whether a server showed a certificate that nobody vouches for.
func unvouched(t *event.TLS) bool {
	return t != nil && (t.Issuer != "" && t.Issuer == t.Subject || t.Validation != "" && t.Validation != "ok")
}

// destination returns what is known of the service that a record is about.
func (d *Detector) destination(ev *event.Event) *destination {
	key := event.Mix(ev.Resp.Hash, uint64(ev.Resp.Port)<<8|uint64(ev.Proto))
	// The upper half of a key says who owns it.
	key = ev.Resp.Hash&^math.MaxUint32 | key&math.MaxUint32
	t := d.destinations[key]
	if t == nil {
		if len(d.destinations) >= d.most {
			d.evict()
		}
		t = &destination{key: key, addr: ev.Resp.Addr, port: ev.Resp.Port, proto: ev.Proto, first: ev.Time}
		d.destinations[key] = t
		d.touch(t)
	}
	if ev.Time < t.first || ev.End > t.last {
		t.first, t.last = min(t.first, ev.Time), max(t.last, ev.End)
		d.touch(t)
	}
	return t
}

// evict forgets a sixteenth of the destinations: those without long connections first,
// then by how long they have been silent.
func (d *Detector) evict() {
	all := make([]*destination, 0, len(d.destinations))
	for _, t := range d.destinations {
		if len(t.open) == 0 {
			all = append(all, t)
		}
	}
	slices.SortFunc(all, func(a, b *destination) int {
		return cmp.Or(cmp.Compare(min(a.durations.Weight(), 1), min(b.durations.Weight(), 1)), cmp.Compare(a.last, b.last), cmp.Compare(a.key, b.key))
	})
	for _, t := range all[:min(len(all), d.most/16+1)] {
		d.forget(t)
	}
}

func (d *Detector) forget(t *destination) {
	delete(d.destinations, t.key)
	if d.tracking {
		d.forgotten = append(d.forgotten, recordKey(t.key))
	}
}

// touch puts a destination into the next cut.
func (d *Detector) touch(t *destination) {
	if d.tracking && !t.dirty {
		t.dirty = true
		d.dirty = append(d.dirty, t)
	}
}

// connection takes a long connection.
func (d *Detector) connection(t *destination, ev *event.Event, dst []event.Observation) []event.Observation {
	d.touch(t)
	e := t.episode(ev)
	if e != nil && max(ev.End, ev.Written) > e.last+idle {
		dst = d.close(t, e, dst)
		e = nil
	}
	if e != nil {
		e.add(ev)
	}
	if ev.End-ev.Time >= int64(d.cfg.MinDuration) {
		m := t.measure(ev)
		terms := d.weigh(&m)
		switch score := posterior(terms.sum()); {
		case e != nil:
			dst = d.goOn(t, e, ev, &m, score, dst)
		case score >= d.cfg.MinScore && len(t.open) < maxEpisodes:
			e = newEpisode(t, ev, &m, score)
			if len(t.open) == 0 {
				d.active = append(d.active, t)
			}
			t.open = append(t.open, e)
			dst = append(dst, d.observation(t, e, true))
		}
	}
	if ev.Flags&event.FlagSnapshot == 0 { // what goes on is learned at its end
		t.durations.Update(logSeconds(ev), ev.End, pace, e != nil)
	}
	return dst
}

// logSeconds is the natural logarithm of how long a connection was, in seconds.
func logSeconds(ev *event.Event) float64 {
	return math.Log(max(float64(ev.End-ev.Time)/1e9, 1))
}

// goOn judges an open episode by another long connection, or by more of the same. What
// has become clearer is told again.
func (d *Detector) goOn(t *destination, e *episode, ev *event.Event, m *measures, score float64, dst []event.Observation) []event.Observation {
	if score < e.score {
		return dst
	}
	told := level(e.score)
	e.best, e.score = *m, score
	e.learn(ev)
	if level(score) <= told {
		return dst
	}
	e.revision++
	return append(dst, d.observation(t, e, true))
}

// level grows where an open episode is told again: a case that looked doubtful has
// become clear.
func level(score float64) int {
	switch {
	case score >= 0.95:
		return 3
	case score >= 0.9:
		return 2
	case score >= 0.75:
		return 1
	}
	return 0
}

// close reports an episode for the last time.
func (d *Detector) close(t *destination, e *episode, dst []event.Observation) []event.Observation {
	e.revision++
	dst = append(dst, d.observation(t, e, false))
	t.open = slices.Delete(t.open, slices.Index(t.open, e), slices.Index(t.open, e)+1)
	if len(t.open) == 0 {
		t.open = nil
		if i := slices.Index(d.active, t); i >= 0 {
			d.active = slices.Delete(d.active, i, i+1)
		}
	}
	d.touch(t)
	return dst
}

// Advance closes the episodes that are over at clock, and forgets silent destinations.
func (d *Detector) Advance(clock int64, dst []event.Observation) []event.Observation {
	if clock < d.sweepAt {
		return dst
	}
	d.sweepAt = clock + sweepEvery
	for i := len(d.active) - 1; i >= 0; i-- {
		t := d.active[i]
		for j := len(t.open) - 1; j >= 0; j-- {
			if clock > t.open[j].last+idle {
				dst = d.close(t, t.open[j], dst)
			}
		}
	}
	if clock >= d.forgetAt {
		d.forgetAt = clock + hour
		for _, t := range d.destinations {
			if len(t.open) == 0 && t.last < clock-forgetAfter {
				d.forget(t)
			}
		}
	}
	return dst
}

// Finish closes all episodes.
func (d *Detector) Finish(dst []event.Observation) []event.Observation {
	for len(d.active) > 0 {
		t := d.active[len(d.active)-1]
		dst = d.close(t, t.open[len(t.open)-1], dst)
	}
	return dst
}

// Sizes appends how much is kept of each kind.
func (d *Detector) Sizes(dst []state.Size) []state.Size {
	return append(dst, state.Size{Kind: "long_destinations", Count: len(d.destinations), Cap: d.most})
}
