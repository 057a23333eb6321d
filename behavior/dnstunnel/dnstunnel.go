// Package dnstunnel finds hosts that carry data in the names they ask for.
//
// Whoever sends data through DNS asks for names that nobody has asked for before:
// else a cache would answer. So what is measured for each host and registered domain
// is how many bytes of new names there are in front of the domain, and what they look
// like. A sum of log-odds decides.
package dnstunnel

import (
	"cmp"
	"math"
	"net/netip"
	"slices"
	"time"

	"tidewatch/behavior/state"
	"tidewatch/behavior/tempo"
	"tidewatch/event"
)

// Config holds the settings of the detector.
type Config struct {
	// Bytes1h and Bytes24h are the bytes of new sub-names of one domain within an hour
	// and a day from which on a host is suspect, 100 to 1,000,000. In 330 host-hours of
	// harmless hosts there were at most 1,758 in an hour.
	Bytes1h, Bytes24h int
	MinNames          int           // new sub-names, 3 to 1,000
	MinScore          float64       // probability of a tunnel, 0.5 to 1
	Idle              time.Duration // a tunnel is over after such a pause
	Exclude           []netip.Prefix
	ExcludeDomains    []string // registered domains, or suffixes of them; lower case
	MaxHosts          int      // kept in memory, over all shards
	MaxDomains        int      // of one host that little is kept of
	MaxCandidates     int      // domains of hosts that are looked at closely, over all shards
	Without           string   // a term of the evidence that counts for nothing, to see what it is worth
}

// DefaultConfig returns the settings found on recorded traffic.
func DefaultConfig() Config {
	return Config{
		Bytes1h: 2000, Bytes24h: 4000, MinNames: 6, MinScore: 0.95, Idle: time.Hour,
		MaxHosts: 50_000, MaxDomains: 64, MaxCandidates: 20_000,
	}
}

const (
	second = int64(time.Second)
	hour   = int64(time.Hour)
	day    = 24 * hour

	// sweepEvery is how often, by the data's clock, what is over is looked for.
	sweepEvery = 10 * second
	// forgetAfter is how long a silent host is kept.
	forgetAfter = 7 * day
	// forgetCandidate is how long a silent candidate is.
	forgetCandidate = 3 * day
	// maxHot bounds the candidates of one host.
	maxHot = 32
)

// Timers knows of hosts that ask for names of a domain on a timer.
type Timers interface {
	// Yield gives up what is told of a timer of the record's originator and domain, and
	// returns its episode with what was found; nil if nothing is told.
	Yield(ev *event.Event) (episode string, revision int, r *tempo.Result)
}

// Detector finds tunnels.
type Detector struct {
	cfg           Config
	accept        float64 // log-odds
	timers        Timers  // nil: nobody looks for them
	hosts         map[uint64]*host
	candidates    int // of all hosts
	open          []*candidate
	name          name // at hand
	sweepAt       int64
	forgetAt      int64
	maxHosts      int
	maxCandidates int

	tracking        bool // changes are remembered for Cut
	dirty           []*host
	dirtyCandidates []*candidate
	forgotten       [][]byte
	lookup          state.Lookup
	unheard         []event.Observation // of own halves
}

// New returns the detector of one of so many shards.
func New(cfg Config, shards int) *Detector {
	return &Detector{
		cfg: cfg, accept: math.Log(cfg.MinScore / (1 - cfg.MinScore)), hosts: map[uint64]*host{},
		maxHosts: max(cfg.MaxHosts/shards, 16), maxCandidates: max(cfg.MaxCandidates/shards, 16),
	}
}

// Beside makes the detector take over what t tells of a domain that is a tunnel.
func (d *Detector) Beside(t Timers) { d.timers = t }

// Timer takes note that the questions of the record's originator about its domain come
// on a timer. It reports whether a tunnel through the domain is told, or was within the
// last day.
func (d *Detector) Timer(ev *event.Event, r *tempo.Result) bool {
	h := d.hosts[ev.Orig.Hash]
	if h == nil || ev.DNS == nil || !d.name.read(ev.DNS.Query, ev.Far()) {
		return false
	}
	c := h.candidate(d.name.key)
	if c == nil {
		return false
	}
	if c.episode != nil {
		c.episode.timer = timerOf(r)
		d.touchCandidate(c)
		return true
	}
	return c.told != 0 && apart(ev.Time, c.told) < day
}

// Track makes the detector remember what changes, for Cut.
func (d *Detector) Track() { d.tracking = true }

// Observe takes a DNS record; orig and resp say which of its ends the shard owns.
func (d *Detector) Observe(ev *event.Event, orig, resp bool, dst []event.Observation) []event.Observation {
	if ev.Kind != event.KindDNS || ev.DNS == nil || !d.counts(ev) {
		return dst
	}
	if resp && ev.Resp.Scope == event.ScopeLocal {
		d.observeServer(ev)
	}
	if !orig || ev.Orig.Scope != event.ScopeLocal || !d.name.read(ev.DNS.Query, ev.Far()) {
		return dst
	}
	if ev.Resp.Scope != event.ScopeExternal && d.name.local() {
		return dst
	}
	h := d.host(ev, ev.Orig.Addr, ev.Orig.Hash)
	if h.own != nil {
		d.unheard = d.observeName(h.own, ev, d.unheard[:0])
	}
	return d.observeName(h, ev, dst)
}

// Ports of names that are asked of the neighbourhood.
const (
	portNetBIOS = 137
	portMDNS    = 5353
	portLLMNR   = 5355
)

// counts reports whether a record is a question to a server.
func (d *Detector) counts(ev *event.Event) bool {
	switch ev.Resp.Port {
	case portNetBIOS, portMDNS, portLLMNR:
		return false
	}
	if ev.Resp.Scope == event.ScopeMulticast {
		return false
	}
	for _, p := range d.cfg.Exclude {
		if p.Contains(ev.SeenOrig()) {
			return false
		}
	}
	return true
}

// observeServer notes that a local host answers the questions of others.
func (d *Detector) observeServer(ev *event.Event) {
	if _, answer := message(ev); !answer || ev.Orig.Addr == ev.Resp.Addr {
		return
	}
	h := d.host(ev, ev.Resp.Addr, ev.Resp.Hash)
	if h.resolver < ev.Time+resolverFor-day { // not each time: it makes the record change
		h.resolver = ev.Time + resolverFor
		h.stored().resolver = h.resolver
		d.touch(h)
	}
}

// host returns the record of a host, a new one if there is none. One of which the
// last record is far from this in time is forgotten first: it was silent, or a clock
// was wrong.
func (d *Detector) host(ev *event.Event, addr netip.Addr, hash uint64) *host {
	h := d.hosts[hash]
	if h != nil && !h.busy() && apart(ev.Time, h.last) > forgetAfter {
		d.forgetHost(h)
		h = nil
	}
	if h == nil {
		if len(d.hosts) >= d.maxHosts {
			d.evictHosts()
		}
		h = &host{Host: state.Host{Addr: addr, VLAN: ev.VLAN, Inner: ev.InnerVLAN}, first: ev.Time, last: ev.Time}
		if d.lookup.On() {
			h.pending = d.lookup.Want(h.Key(state.KindTunnel))
		}
		d.hosts[hash] = h
		d.touch(h)
	}
	return h
}

func apart(a, b int64) int64 { return max(a-b, b-a) }

// busy reports whether an episode of the host is open.
func (h *host) busy() bool {
	return slices.ContainsFunc(h.hot, func(c *candidate) bool { return c.episode != nil })
}

// observeName takes a question or an answer about the name at hand.
func (d *Detector) observeName(h *host, ev *event.Event, dst []event.Observation) []event.Observation {
	n := &d.name
	h.last = max(h.last, ev.Time)
	h.questions++
	d.touch(h)
	if ev.Resp.Scope == event.ScopeExternal {
		h.asks(ev.Resp.Hash, n.key, ev.Time)
	}
	if n.plain() {
		return dst
	}
	if c := h.candidate(n.key); c != nil {
		if c.episode != nil || apart(ev.Time, c.last) <= forgetCandidate {
			return d.observeCandidate(c, ev, dst)
		}
		d.forgetCandidate(c)
	}
	l := d.light(h, ev.Time)
	if l.ignored {
		return dst
	}
	l.take(ev, n)
	if l.worth() {
		return d.promote(h, l, ev, dst)
	}
	return dst
}

func (h *host) candidate(key uint64) *candidate {
	for _, c := range h.hot {
		if c.key == key {
			return c
		}
	}
	return nil
}

// light returns the light record of the domain at hand, as of a time.
func (d *Detector) light(h *host, t int64) *light {
	now := seconds(t)
	i := slices.Index(h.keys, d.name.key)
	switch {
	case i >= 0:
		if l := &h.lights[i]; apart(int64(now), int64(l.last)) <= day/second && apart(int64(now), int64(l.first)) <= day/second {
			l.first = min(l.first, now)
			return l
		}
	case len(h.keys) < d.cfg.MaxDomains:
		i = len(h.keys)
		h.keys, h.lights = append(h.keys, 0), append(h.lights, light{})
	default:
		i = h.least(now)
	}
	h.keys[i] = d.name.key
	h.lights[i] = light{first: now, last: now, ignored: isService(event.String(d.name.domain), d.cfg.ExcludeDomains)}
	return &h.lights[i]
}

// least returns the light record that is worth the least: one that is a day old, or the
// one with the fewest bytes. So names that are made up displace each other.
func (h *host) least(now uint32) int {
	best, bestBytes := 0, 1<<30
	for i := range h.lights {
		l := &h.lights[i]
		worth := int(l.bytes)
		if apart(int64(now), int64(l.last)) > day/second {
			worth = -1
		}
		if worth < bestBytes || worth == bestBytes && l.last < h.lights[best].last {
			best, bestBytes = i, worth
		}
	}
	return best
}

// promote looks closer at a domain. Where there is no room its light record stays.
func (d *Detector) promote(h *host, l *light, ev *event.Event, dst []event.Observation) []event.Observation {
	if len(h.hot) >= maxHot && !d.evictHot(h) || d.candidates >= d.maxCandidates && !d.evictCandidates() {
		return dst
	}
	c := &candidate{host: h, key: d.name.key, domain: printable(d.name.domain), before: l.seen}
	c.first, c.last = int64(l.first)*second, ev.Time
	c.decay(ev.Time)
	// Its names count from when the first of them came: rather too early.
	c.hour.add(c.first, hourBucket, uint32(l.bytes))
	c.hour.add(ev.Time, hourBucket, 0)
	c.day.add(c.first, dayBucket, uint32(l.bytes))
	c.day.add(ev.Time, dayBucket, 0)
	c.add(countNames, float64(l.names))
	c.add(countBytes, float64(l.bytes))
	for s := range numSensors {
		c.add(countQuestionZeek+s, float64(l.questions[s]))
		c.add(countAnswerZeek+s, float64(l.answers[s]))
	}
	c.add(countAnswerBytes, float64(l.answerBytes))
	c.look(ev, &d.name)
	i := slices.Index(h.keys, c.key)
	h.keys, h.lights = slices.Delete(h.keys, i, i+1), slices.Delete(h.lights, i, i+1)
	h.hot = append(h.hot, c)
	d.candidates++
	d.touchCandidate(c)
	return d.judge(c, ev, dst)
}

// observeCandidate takes a record about a domain that is looked at closely.
func (d *Detector) observeCandidate(c *candidate, ev *event.Event, dst []event.Observation) []event.Observation {
	d.touchCandidate(c)
	if c.episode != nil && ev.Clock() > c.episode.deadline(d.cfg.Idle) {
		dst = d.close(c, dst)
	}
	if c.take(ev, &d.name) {
		dst = d.judge(c, ev, dst)
	} else if c.episode != nil {
		c.episode.goOn(ev)
	}
	return dst
}

// judge weighs a candidate at a new name of it.
func (d *Detector) judge(c *candidate, ev *event.Event, dst []event.Observation) []event.Observation {
	if c.episode == nil && c.total[countNames] < float64(d.cfg.MinNames) {
		return dst
	}
	m := c.measure(ev, c.host)
	t := d.cfg.weigh(&m)
	switch {
	case c.episode != nil:
		c.episode.add(c, ev, &m, t.sum())
	case t.sum() >= d.accept && !c.usual(&m):
		return d.openEpisode(c, ev, &m, t.sum(), dst)
	}
	return dst
}

// evictHot forgets the candidate of a host that says the least. It reports whether
// there was one that can be forgotten.
func (d *Detector) evictHot(h *host) bool {
	var least *candidate
	for _, c := range h.hot {
		if c.episode == nil && (least == nil || worthLess(c, least) < 0) {
			least = c
		}
	}
	if least == nil {
		return false
	}
	d.forgetCandidate(least)
	return true
}

// worthLess orders candidates by how little it matters to forget them.
func worthLess(a, b *candidate) int {
	return cmp.Or(cmp.Compare(a.day.sum(), b.day.sum()), cmp.Compare(a.last, b.last), a.host.Addr.Compare(b.host.Addr), cmp.Compare(a.key, b.key))
}

// evictCandidates forgets the sixteenth of all candidates that says the least.
func (d *Detector) evictCandidates() bool {
	var all []*candidate
	for _, h := range d.hosts {
		for _, c := range h.hot {
			if c.episode == nil {
				all = append(all, c)
			}
		}
	}
	slices.SortFunc(all, worthLess)
	for _, c := range all[:min(len(all), d.maxCandidates/16+1)] {
		d.forgetCandidate(c)
	}
	return len(all) > 0
}

func (d *Detector) forgetCandidate(c *candidate) {
	h := c.host
	i := slices.Index(h.hot, c)
	h.hot = slices.Delete(h.hot, i, i+1)
	d.candidates--
	if h.own != nil {
		if o := h.own.candidate(c.key); o != nil {
			d.forgetCandidate(o)
			return
		}
	}
	if d.tracking {
		d.forgotten = append(d.forgotten, c.stateKey())
	}
}

// evictHosts forgets the sixteenth of the hosts that have the least history: so that
// those whose addresses are made up displace each other.
func (d *Detector) evictHosts() {
	all := make([]*host, 0, len(d.hosts))
	for _, h := range d.hosts {
		if !h.busy() {
			all = append(all, h)
		}
	}
	slices.SortFunc(all, func(a, b *host) int {
		return cmp.Or(cmp.Compare(len(a.hot), len(b.hot)), cmp.Compare(a.questions, b.questions), cmp.Compare(a.last, b.last), a.Addr.Compare(b.Addr))
	})
	for _, h := range all[:min(len(all), d.maxHosts/16+1)] {
		d.forgetHost(h)
	}
}

func (d *Detector) forgetHost(h *host) {
	for _, half := range [...]*host{h, h.own} {
		for half != nil && len(half.hot) > 0 {
			d.forgetCandidate(half.hot[len(half.hot)-1])
		}
	}
	delete(d.hosts, h.Hash())
	if d.tracking {
		d.forgotten = append(d.forgotten, h.Key(state.KindTunnel))
	}
}

// touch puts a host into the next cut.
func (d *Detector) touch(h *host) {
	if d.tracking && !h.dirty && !h.silent {
		h.dirty = true
		d.dirty = append(d.dirty, h)
	}
}

func (d *Detector) touchCandidate(c *candidate) {
	if d.tracking && !c.dirty {
		c.dirty = true
		d.dirtyCandidates = append(d.dirtyCandidates, c)
	}
}

// Advance closes the episodes that are over at clock, and forgets what is silent.
func (d *Detector) Advance(clock int64, dst []event.Observation) []event.Observation {
	if clock < d.sweepAt {
		return dst
	}
	d.sweepAt = clock + sweepEvery
	for i := len(d.open) - 1; i >= 0; i-- {
		if c := d.open[i]; clock > c.episode.deadline(d.cfg.Idle) {
			dst = d.close(c, dst)
		}
	}
	if clock >= d.forgetAt {
		d.forgetAt = clock + hour
		d.forget(clock)
	}
	return dst
}

// forget drops what has been silent for long.
func (d *Detector) forget(clock int64) {
	for _, h := range d.hosts {
		if !h.busy() && h.last < clock-forgetAfter {
			d.forgetHost(h)
			continue
		}
		for i := len(h.hot) - 1; i >= 0; i-- {
			if c := h.hot[i]; c.episode == nil && c.last < clock-forgetCandidate {
				d.forgetCandidate(c)
			}
		}
	}
}

// Finish closes all episodes.
func (d *Detector) Finish(dst []event.Observation) []event.Observation {
	for len(d.open) > 0 {
		dst = d.close(d.open[len(d.open)-1], dst)
	}
	return dst
}

// Sizes appends how much is kept of each kind.
func (d *Detector) Sizes(dst []state.Size) []state.Size {
	return append(dst,
		state.Size{Kind: "resolving_hosts", Count: len(d.hosts), Cap: d.maxHosts},
		state.Size{Kind: "tunnel_candidates", Count: d.candidates, Cap: d.maxCandidates})
}
