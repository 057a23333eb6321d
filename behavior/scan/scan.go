// Package scan finds hosts that look for what answers: horizontal, vertical, block,
// ping, slow and distributed scans, from inside and from outside, over TCP, UDP and
// ICMP.
//
// All of it rests on first contacts: the first time that a source tries one port of
// one host, and whether it was answered. What a source does again says nothing new.
package scan

import (
	"math"
	"net/netip"
	"time"

	"tidewatch/behavior/state"
	"tidewatch/event"
)

// Config holds the settings of the scan detector.
//
// The walk is the Threshold Random Walk of Jung, Paxson, Berger and Balakrishnan,
// "Fast portscan detection using sequential hypothesis testing" (2004).
type Config struct {
	Theta0 float64 // share of first contacts that succeed for a harmless host, 0.5 to 1
	Theta1 float64 // the same for a scanner, 0 to 0.5
	Alpha  float64 // accepted share of harmless hosts called scanners
	Beta   float64 // wanted share of scanners found

	MinHosts     int     // hosts that must have failed in the walk, 2 to 30
	FailureShare float64 // of the hosts in the walk that must have failed, 0 to 1
	// InsideShare is the same of hosts inside that were tried for one port, and of
	// the contacts of a block there, 0 to 1.
	InsideShare float64
	Ports5m     int // failed ports of one host within 5 minutes, 2 to 30
	Ports1h     int // the same within an hour, 2 to 30
	Ports24h    int // the same within a day, 2 to 30
	// BlockContacts is how many failed contacts with at least two hosts and four
	// ports make a block within an hour, 5 to 30.
	BlockContacts int
	MinSources    int           // of a distributed scan within 5 minutes, 2 to 32
	Idle          time.Duration // a scan is over after such a pause
	Exclude       []netip.Prefix
	MaxSources    int // kept in memory, over all shards
	MaxTargets    int
}

// DefaultConfig returns the settings that the paper gives, and those found
// on recorded traffic.
func DefaultConfig() Config {
	return Config{
		Theta0: 0.8, Theta1: 0.2, Alpha: 0.01, Beta: 0.99,
		MinHosts: 7, FailureShare: 0.75, InsideShare: 0.6,
		Ports5m: 8, Ports1h: 10, Ports24h: 25, BlockContacts: 10,
		MinSources: 30, Idle: 30 * time.Minute,
		MaxSources: 100_000, MaxTargets: 20_000,
	}
}

const (
	minute = int64(time.Minute)
	hour   = int64(time.Hour)
	day    = 24 * hour

	// recentSize is how many failed first contacts of a source are kept.
	recentSize = 32
	// answeredSize is how many answered ones are kept beside them.
	answeredSize = 8
	// sweepEvery is how often, by the data's clock, what is over is looked for.
	sweepEvery = 10 * int64(time.Second)
	// forgetAfter is how long a silent entity is kept.
	forgetAfter = 7 * day
	// lightSize bounds each of two generations of sources with one contact.
	lightSize = 65_536

	// traceroute sends three datagrams for each of 30 hops, each to the next port,
	// and hopes that nobody is there.
	traceroutePort   = 33434
	tracerouteProbes = 90
)

// entity is what sources and targets have in common.
type entity struct {
	state.Host
	scope       event.Scope
	dirty       bool // changed since the last cut
	pending     bool // what the store has of it is on its way
	first, last int64
}

// Detector finds sources that look for what answers.
type Detector struct {
	cfg         Config
	up, down    float64 // steps of the walk
	accept      float64 // the walk says scanner from here
	reject      float64 // the walk says harmless down to here
	sources     map[uint64]*source
	light, old  map[uint64]contact // external sources with one contact, two generations
	targets     map[uint64]*target
	open        []*source
	openTargets []*target
	sweepAt     int64
	forgetAt    int64
	maxSources  int
	maxTargets  int
	lightSize   int

	tracking     bool // changes are remembered for Cut
	dirty        []*source
	dirtyTargets []*target
	forgotten    [][]byte
	freshLight   []uint64
	lookup       state.Lookup

	read uint64 // by Expect, or the compiler leaves it out
}

// New returns one of a number of shards, which share the caps on what is kept.
func New(cfg Config, shards int) *Detector {
	return &Detector{
		cfg:        cfg,
		up:         math.Log((1 - cfg.Theta1) / (1 - cfg.Theta0)),
		down:       math.Log(cfg.Theta1 / cfg.Theta0),
		accept:     math.Log(cfg.Beta / cfg.Alpha),
		reject:     math.Log((1 - cfg.Beta) / (1 - cfg.Alpha)),
		sources:    map[uint64]*source{},
		light:      map[uint64]contact{},
		targets:    map[uint64]*target{},
		maxSources: max(cfg.MaxSources/shards, 16),
		maxTargets: max(cfg.MaxTargets/shards, 16),
		lightSize:  max(lightSize/shards, 16),
	}
}

// Salts tell the things apart that a source's Seen remembers.
const (
	saltHost    = 0x9e3779b97f4a7c15 // a host that was tried
	saltEcho    = 0x2545f4914f6cdd1d // that answered a ping
	saltServe   = 0xc2b2ae3d27d4eb4f // that answered anything else
	saltContact = 0x165667b19e3779f9 // a port of a host
)

// contactSalt is that of a host's port.
func contactSalt(port uint16, p event.Proto) uint64 {
	return saltContact + uint64(port)<<16 + uint64(p)
}

// spread mixes a hash with a salt (the finaliser of SplitMix64, Steele et al. 2014).
func spread(h, salt uint64) uint64 {
	h += salt
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

// Track makes the detector remember what changes, for Cut.
func (d *Detector) Track() { d.tracking = true }

// Observe takes a connection; orig and resp say which of its ends the shard owns.
func (d *Detector) Observe(ev *event.Event, orig, resp bool, dst []event.Observation) []event.Observation {
	if !ev.Counts() || ev.Outcome == event.OutcomeUnknown {
		return dst
	}
	if orig {
		dst = d.observeSource(ev, dst)
	}
	if resp && ev.Resp.Scope == event.ScopeLocal {
		dst = d.observeTarget(ev, dst)
	}
	return dst
}

// Expect reads what sources remember of whom they will call, which no cache holds: asked
// for one after the other each is waited for. It changes nothing.
func (d *Detector) Expect(evs []*event.Event) {
	sum := uint64(0)
	for _, ev := range evs {
		if ev.Kind != event.KindConn {
			continue
		}
		if s := d.sources[ev.Orig.Hash]; s != nil {
			sum += s.seen.Near(spread(ev.Resp.Hash, contactSalt(ev.Resp.Port, ev.Proto)))
		}
	}
	d.read = sum
}

// ignores reports whether a connection says nothing about its originator.
func (d *Detector) ignores(ev *event.Event) bool {
	if ev.Resp.Scope == event.ScopeMulticast || ev.Resp.Scope == event.ScopeSpecial || ev.Orig.Scope == event.ScopeSpecial {
		return true
	}
	// The broadcast address of a /24, or of a wider network, as UDP uses it.
	if ev.Proto == event.ProtoUDP && ev.Resp.Addr.Is4() && ev.Resp.Addr.As4()[3] == 255 {
		return true
	}
	if ev.Proto == event.ProtoUDP && ev.Resp.Port >= traceroutePort && ev.Resp.Port < traceroutePort+tracerouteProbes {
		return true
	}
	for _, p := range d.cfg.Exclude {
		if p.Contains(ev.SeenOrig()) {
			return true
		}
	}
	return false
}

// Advance closes the scans that are over at clock, and forgets silent entities.
func (d *Detector) Advance(clock int64, dst []event.Observation) []event.Observation {
	if clock < d.sweepAt {
		return dst
	}
	d.sweepAt = clock + sweepEvery
	for i := len(d.open) - 1; i >= 0; i-- {
		if s := d.open[i]; clock > s.scan.deadline(d.cfg.Idle) {
			dst = d.closeScan(s, dst)
		}
	}
	for i := len(d.openTargets) - 1; i >= 0; i-- {
		if t := d.openTargets[i]; clock > t.scan.deadline(d.cfg.Idle) {
			dst = d.closeTarget(t, dst)
		}
	}
	if clock >= d.forgetAt {
		d.forgetAt = clock + hour
		d.forget(clock - forgetAfter)
	}
	return dst
}

// forget drops the entities that have been silent since before.
func (d *Detector) forget(before int64) {
	for _, s := range d.sources {
		if s.scan == nil && s.last < before {
			d.forgetSource(s)
		}
	}
	for _, t := range d.targets {
		if t.scan == nil && t.last < before {
			d.forgetTarget(t)
		}
	}
}

// Finish closes all scans, in an order that does not depend on the shards.
func (d *Detector) Finish(dst []event.Observation) []event.Observation {
	for len(d.open) > 0 {
		dst = d.closeScan(d.open[len(d.open)-1], dst)
	}
	for len(d.openTargets) > 0 {
		dst = d.closeTarget(d.openTargets[len(d.openTargets)-1], dst)
	}
	return dst
}

// Sizes appends how much is kept of each kind.
func (d *Detector) Sizes(dst []state.Size) []state.Size {
	return append(dst,
		state.Size{Kind: "scan_sources", Count: len(d.sources), Cap: d.maxSources},
		state.Size{Kind: "scan_targets", Count: len(d.targets), Cap: d.maxTargets},
		state.Size{Kind: "scan_contacts", Count: len(d.light) + len(d.old), Cap: 2 * d.lightSize})
}
