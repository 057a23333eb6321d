package scan

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
	Ports5m      int     // failed ports of one host within 5 minutes, 2 to 30
	Ports1h      int     // the same within an hour, 2 to 30
	Ports24h     int     // the same within a day, 2 to 30
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
		MinHosts: 7, FailureShare: 0.75,
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
)

// contact is the first time that a source tried one port of one host.
type contact struct {
	time    int64
	dst     netip.Addr
	port    uint16 // ICMP: the type
	proto   event.Proto
	outcome event.Outcome
	local   bool // the destination is
	newHost bool // the source had not tried the host before
	unknown bool // the host had never answered the source
	// What a finding shows of the record, for contacts that failed.
	uid   string
	orig  uint16 // the source's port
	state event.State
}

func (c *contact) failed() bool { return c.outcome != event.OutcomeAnswered }

// entity is what sources and targets have in common.
type entity struct {
	state.Host
	scope       event.Scope
	dirty       bool // changed since the last cut
	first, last int64
}

// source is a host that opens connections.
type source struct {
	entity
	seen   sketch.Seen // hosts, hosts that answered, and contacts
	walks  [numRealms]walk
	hosts  int // that ever answered: what is normal for this source
	recent []contact
	oks    []contact
	scan   *episode
}

// A source has a walk for each realm, so that what goes well in one does not hide
// what fails in another: a user's browsing, a search of the office network.
const (
	realmInside = iota
	realmWeb    // ports 80 and 443 outside
	realmOutside
	numRealms
)

// walk is a Threshold Random Walk over first contacts with hosts.
type walk struct {
	ratio    float64 // log-likelihood ratio: scanner against harmless host
	from     int64   // its first contact
	failed   int     // hosts that did not answer
	answered int     // hosts that did
}

func (c *contact) realm() int {
	switch {
	case c.local:
		return realmInside
	case c.port == 80 || c.port == 443:
		return realmWeb
	}
	return realmOutside
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
}

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

// Salts tell the three things apart that a source's Seen remembers.
const (
	saltHost    = 0x9e3779b97f4a7c15
	saltAnswer  = 0xc2b2ae3d27d4eb4f
	saltContact = 0x165667b19e3779f9
)

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

// observeSource takes a connection as one of its originator.
func (d *Detector) observeSource(ev *event.Event, dst []event.Observation) []event.Observation {
	if d.ignores(ev) {
		return dst
	}
	c := contact{
		time: ev.Time, dst: ev.Resp.Addr, port: ev.Resp.Port, proto: ev.Proto,
		outcome: ev.Outcome, local: ev.Resp.Scope == event.ScopeLocal,
	}
	if ev.Proto.IsICMP() {
		c.port = 0
	}
	s := d.sources[ev.Orig.Hash]
	if s != nil && s.scan == nil && ev.Time-s.last > forgetAfter {
		d.forgetSource(s) // late, so that it does not matter when the sweep came by
		s = nil
	}
	if s == nil {
		if s = d.admit(ev, &c); s == nil {
			return dst
		}
	}
	if s.scan != nil && ev.Time > s.scan.deadline(d.cfg.Idle) {
		dst = d.closeScan(s, dst)
	}
	return d.contact(s, ev.Resp.Hash, &c, ev, dst)
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
	for _, p := range d.cfg.Exclude {
		if p.Contains(ev.Orig.Addr) {
			return true
		}
	}
	return false
}

// admit returns the record of a source that has none yet, or nil if one contact
// is all that is known of it. Outside sources come late to a record, since an
// attacker can invent as many as he likes: a flood of them turns over the two
// generations of light ones and touches nobody else.
func (d *Detector) admit(ev *event.Event, c *contact) *source {
	key := ev.Orig.Hash
	if ev.Orig.Scope == event.ScopeLocal {
		return d.addSource(ev)
	}
	first, ok := d.light[key]
	if !ok {
		first, ok = d.old[key]
	}
	if !ok {
		if len(d.light) >= d.lightSize {
			d.light, d.old = d.old, d.light
			if d.light == nil {
				d.light = make(map[uint64]contact)
			}
			clear(d.light)
		}
		d.light[key] = *c
		d.touchLight(key)
		return nil
	}
	if first.dst == c.dst && first.port == c.port && first.proto == c.proto {
		return nil
	}
	delete(d.light, key)
	delete(d.old, key)
	d.touchLight(key)
	s := d.addSource(ev)
	s.first = first.time
	d.remember(s, event.HashAddr(first.dst, ev.VLAN, ev.InnerVLAN), &first, nil)
	return s
}

func (d *Detector) touchLight(key uint64) {
	if d.tracking {
		d.freshLight = append(d.freshLight, key)
	}
}

func (d *Detector) addSource(ev *event.Event) *source {
	if len(d.sources) >= d.maxSources {
		d.evict()
	}
	s := &source{entity: entity{Host: state.Host{Addr: ev.Orig.Addr, VLAN: ev.VLAN, Inner: ev.InnerVLAN}, scope: ev.Orig.Scope, first: ev.Time}}
	d.sources[ev.Orig.Hash] = s
	return s
}

// evict forgets the sixteenth of the sources that is the least worth keeping:
// outside ones first, then by how long they have been silent.
func (d *Detector) evict() {
	all := make([]*source, 0, len(d.sources))
	for _, s := range d.sources {
		if s.scan == nil {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b *source) int {
		return cmp.Or(cmp.Compare(b.scope, a.scope), cmp.Compare(a.last, b.last), a.Addr.Compare(b.Addr))
	})
	for _, s := range all[:min(len(all), d.maxSources/16+1)] {
		d.forgetSource(s)
	}
}

func (d *Detector) forgetSource(s *source) {
	delete(d.sources, s.Hash())
	if d.tracking {
		d.forgotten = append(d.forgotten, s.Key(state.KindScanSource))
	}
}

// contact takes one connection of a known source.
func (d *Detector) contact(s *source, host uint64, c *contact, ev *event.Event, dst []event.Observation) []event.Observation {
	if c.time > s.last+hour { // not each time: it makes the record change
		s.last = c.time
		d.touch(s)
	}
	if !d.remember(s, host, c, ev) {
		return dst
	}
	if s.scan != nil {
		s.scan.add(c, ev)
		return dst
	}
	if !c.failed() {
		return dst
	}
	switch {
	case d.triesPorts(s, c):
		return d.openScan(s, c, ev, func(r *contact) bool { return r.dst == c.dst && c.time-r.time <= day }, dst)
	case d.triesBlock(s, c):
		return d.openScan(s, c, ev, c.inBlock, dst)
	case d.walksLikeScanner(&s.walks[c.realm()], c.time):
		w := s.walks[c.realm()]
		return d.openScan(s, c, ev, func(r *contact) bool { return r.realm() == c.realm() && r.time >= w.from }, dst)
	}
	return dst
}

// remember puts a contact into the source's record. It reports whether the
// contact is the first of its kind and says something. ev is its record, or nil
// if that is gone.
func (d *Detector) remember(s *source, host uint64, c *contact, ev *event.Event) bool {
	known := spread(host, saltAnswer)
	if !s.seen.Add(spread(host, saltContact+uint64(c.port)<<16+uint64(c.proto))) {
		return false
	}
	d.touch(s)
	c.newHost = s.seen.Add(spread(host, saltHost))
	c.unknown = !s.seen.Has(known)
	if c.failed() {
		if ev != nil {
			c.uid, c.orig = event.Clone(ev.UID), ev.Orig.Port
			if ev.Conn != nil {
				c.state = ev.Conn.State
			}
		}
		if s.scan == nil && c.newHost {
			d.step(&s.walks[c.realm()], c.time, true)
		}
		s.recent = ring(s.recent, *c, recentSize)
		return true
	}
	if s.seen.Add(known) {
		s.hosts++
		if s.scan == nil && c.newHost {
			d.step(&s.walks[c.realm()], c.time, false)
		}
	}
	if len(s.recent) > 0 {
		s.oks = ring(s.oks, *c, answeredSize)
	}
	return true
}

// ring appends c, or puts it in the place of the oldest one. The order within is
// of no matter.
func ring(r []contact, c contact, size int) []contact {
	if len(r) < size {
		return append(r, c)
	}
	oldest := 0
	for i := range r {
		if r[i].time < r[oldest].time {
			oldest = i
		}
	}
	r[oldest] = c
	return r
}

// step moves a walk by the outcome of a first contact with a host.
func (d *Detector) step(w *walk, t int64, failed bool) {
	if w.failed+w.answered == 0 || t-w.from > day {
		*w = walk{from: t}
	}
	w.from = min(w.from, t) // records come in the order of their ends
	if failed {
		w.failed++
		w.ratio += d.up
	} else {
		w.answered++
		w.ratio += d.down
	}
	if w.ratio <= d.reject {
		*w = walk{}
	}
}

func (d *Detector) walksLikeScanner(w *walk, t int64) bool {
	return w.ratio >= d.accept && w.failed >= d.cfg.MinHosts &&
		float64(w.failed) >= d.cfg.FailureShare*float64(w.failed+w.answered) && t-w.from <= day
}

// triesPorts reports whether the source has failed at many ports of c's host.
func (d *Detector) triesPorts(s *source, c *contact) bool {
	if c.proto.IsICMP() {
		return false
	}
	var n [3]int
	ok := 0
	for i := range s.recent {
		r := &s.recent[i]
		if r.dst != c.dst || r.proto.IsICMP() {
			continue
		}
		switch age := c.time - r.time; {
		case age <= 5*minute:
			n[0]++
			fallthrough
		case age <= hour:
			n[1]++
			fallthrough
		case age <= day:
			n[2]++
		}
	}
	for i := range s.oks {
		if s.oks[i].dst == c.dst && c.time-s.oks[i].time <= day {
			ok++
		}
	}
	if ok > n[2] {
		return false
	}
	return n[0] >= d.cfg.Ports5m || n[1] >= d.cfg.Ports1h || n[2] >= d.cfg.Ports24h
}

// triesBlock reports whether the source has failed at several ports of several
// hosts that never answered it: too few of either for the tests above, but many
// together.
func (d *Detector) triesBlock(s *source, c *contact) bool {
	var ports [4]uint16 // as many as make a block
	n, np, hosts := 0, 0, 1
	for i := range s.recent {
		r := &s.recent[i]
		if !c.inBlock(r) {
			continue
		}
		n++
		if r.dst != c.dst {
			hosts = 2
		}
		if np < len(ports) && !slices.Contains(ports[:np], r.port) {
			ports[np] = r.port
			np++
		}
	}
	for i := range s.oks {
		if s.oks[i].realm() == c.realm() && c.time-s.oks[i].time <= hour {
			n--
		}
	}
	return n >= d.cfg.BlockContacts && np == len(ports) && hosts == 2
}

// inBlock reports whether an earlier contact can belong to one block with c.
func (c *contact) inBlock(r *contact) bool {
	return r.unknown && r.realm() == c.realm() && !r.proto.IsICMP() && c.time-r.time <= hour
}

// openScan says that a source is scanning, from those of its contacts that belong
// to the case.
func (d *Detector) openScan(s *source, c *contact, ev *event.Event, belongs func(*contact) bool, dst []event.Observation) []event.Observation {
	evidence := make([]contact, 0, recentSize)
	for i := range s.recent {
		if belongs(&s.recent[i]) {
			evidence = append(evidence, s.recent[i])
		}
	}
	slices.SortStableFunc(evidence, func(a, b contact) int { return cmp.Compare(a.time, b.time) })
	e := newEpisode(s, evidence[0].time, c.time)
	e.realm = c.realm()
	for i := range evidence {
		r := &evidence[i]
		if r.time == c.time && r.dst == c.dst && r.port == c.port {
			e.add(r, ev)
		} else {
			e.add(r, nil)
		}
	}
	for i := range s.oks {
		if s.oks[i].time >= e.start {
			e.add(&s.oks[i], nil)
		}
	}
	e.failedAtDetection = e.failed
	e.walk = max(s.walks[e.realm].ratio, d.up*float64(len(evidence)))
	s.scan = e
	d.open = append(d.open, s)
	return append(dst, s.observation(d, e, true))
}

// closeScan reports a scan for the last time.
func (d *Detector) closeScan(s *source, dst []event.Observation) []event.Observation {
	e := s.scan
	e.revision++
	dst = append(dst, s.observation(d, e, false))
	s.scan = nil
	s.walks = [numRealms]walk{}
	s.recent, s.oks = nil, nil
	if i := slices.Index(d.open, s); i >= 0 {
		d.open = slices.Delete(d.open, i, i+1)
	}
	d.touch(s)
	return dst
}

// touch puts a source into the next cut.
func (d *Detector) touch(s *source) {
	if d.tracking && !s.dirty {
		s.dirty = true
		d.dirty = append(d.dirty, s)
	}
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
