// Package beacon finds hosts that call somebody on a timer.
//
// It keeps a pair for each originator and name, each originator and service (address,
// port, protocol), and each originator and registered domain that it asks DNS for.
// Little is kept of most pairs; one with a fourth session gets a track (package
// tempo), which is looked at as it grows. Two looks in a row that find a timer make a
// case. Whether the case is worth telling, context says, each term of which is
// evidence in the finding: much that is harmless is truly periodic.
package beacon

import (
	"math"
	"net/netip"
	"time"

	"tidewatch/behavior/state"
	"tidewatch/behavior/tempo"
	"tidewatch/event"
)

// Config holds the settings of the beacon detector.
type Config struct {
	MinContacts int            // sessions that a pair must have had, 6 to 10,000
	MinTiming   float64        // evidence of a timer from which a look finds one, 0.1 to 1
	Exclude     []netip.Prefix // originators and responders that are not looked at
	MaxPairs    int            // kept in memory, over all shards
	MaxTracks   int            // of them tracked
	Without     string         // a term of the evidence that counts for nothing, to see what it is worth
}

// DefaultConfig returns the settings that are used where no rule says otherwise.
func DefaultConfig() Config {
	return Config{MinContacts: 6, MinTiming: 0.5, MaxPairs: 1_000_000, MaxTracks: 100_000}
}

const (
	hour = int64(time.Hour)
	day  = 24 * hour

	// sweepEvery is how often, by the data's clock, what is over is looked for.
	sweepEvery = 10 * int64(time.Second)
	// reportEvery is how often a beacon that goes on is reported.
	reportEvery = day
	// silence is how long a beacon is at least silent when it is over.
	silence = 6 * hour
	// looks are how many in a row must find a timer.
	looks = 2
)

// basis says by what the contacts of a pair are told from others.
type basis uint8

const (
	byService basis = iota // address, port and protocol
	byName                 // server name or Host
	byQuery                // registered domain asked for
)

func (b basis) String() string { return [...]string{"address", "name", "dns"}[b%3] }

// Tunnels knows of hosts that carry data in the names they ask for.
type Tunnels interface {
	// Timer says that the questions of the record's originator about its domain come on
	// a timer. It reports whether a tunnel through the domain is told, or was within the
	// last day: then the timer is evidence there, and no finding of its own.
	Timer(ev *event.Event, r *tempo.Result) bool
}

// Detector finds beacons among the pairs whose originator its shard owns.
type Detector struct {
	cfg     Config
	tunnels Tunnels // nil: nobody looks for them
	pairs   *table
	tracks  []*track // nil: free
	free    []int32
	most    int // tracks
	hand    int // where the search for a track to give up goes on
	open    []*track
	sweepAt int64

	expected []uint64 // keys of the pairs that come next
	read     uint64   // of them, or the compiler leaves it out

	tracking    bool
	dirty       []uint64
	dirtyTracks []*track
	forgotten   [][]byte
	lookup      state.Lookup
	heard       map[uint64]*heard // of pairs without a track, what has come of them
}

// New returns the detector of one of so many shards.
func New(cfg Config, shards int) *Detector {
	return &Detector{cfg: cfg, pairs: newTable(max(cfg.MaxPairs/shards, fewestSlots)), most: max(cfg.MaxTracks/shards, 64)}
}

// Beside makes the detector leave to t what t tells.
func (d *Detector) Beside(t Tunnels) { d.tunnels = t }

// Track makes the detector remember what changes, for Cut.
func (d *Detector) Track() { d.tracking = true }

// Observe takes a record; orig says whether the shard owns its originator. On pairs
// that are known it does not allocate, but for the records that it keeps to show once
// a timer is likely.
func (d *Detector) Observe(ev *event.Event, orig, _ bool, dst []event.Observation) []event.Observation {
	if !orig || d.ignores(ev) {
		return dst
	}
	switch ev.Kind {
	case event.KindConn:
		if !ev.Counts() {
			return dst
		}
		return d.connection(ev, dst)
	case event.KindHTTP, event.KindTLS, event.KindQUIC:
		// A connection may be long, with many requests, and is written at its end. The
		// track takes a start that it has already for the same session.
		return d.call(ev, 0, dst)
	case event.KindDNS:
		return d.query(ev, dst)
	}
	return dst
}

// ignores reports whether a record is about no pair of hosts.
func (d *Detector) ignores(ev *event.Event) bool {
	switch {
	case ev.Flags&(event.FlagJoined|event.FlagUnidirectional) != 0,
		ev.Resp.Scope == event.ScopeMulticast, ev.Resp.Scope == event.ScopeSpecial, ev.Orig.Scope == event.ScopeSpecial,
		ev.Proto == event.ProtoUDP && ev.Resp.Addr.Is4() && ev.Resp.Addr.As4()[3] == 255:
		return true
	}
	for _, p := range d.cfg.Exclude {
		if p.Contains(ev.SeenOrig()) || p.Contains(ev.SeenResp()) {
			return true
		}
	}
	return false
}

// pairKey makes a key of an originator and something else. Its upper half is the
// originator's, which decides on the shard. It is never 0.
func pairKey(host, other uint64) uint64 {
	return host&^math.MaxUint32 | (event.Mix(host, other)&math.MaxUint32 | 1)
}

// serviceKey is the pair of a record's originator and the service it called.
func serviceKey(ev *event.Event) uint64 {
	port := ev.Resp.Port
	if ev.Proto.IsICMP() {
		port = 0
	}
	return pairKey(ev.Orig.Hash, event.Mix(ev.Resp.Hash, uint64(byService)<<32|uint64(port)<<8|uint64(ev.Proto)))
}

// nameKey is the pair of a record's originator and the name it called; 0 if there is
// none.
func nameKey(ev *event.Event) uint64 {
	k := ev.Far()
	if k.NameHash == 0 || k.Source == event.NameQuery {
		return 0
	}
	return pairKey(ev.Orig.Hash, event.Mix(k.NameHash, uint64(byName)))
}

// queryKey is the pair of an originator and a registered domain.
func queryKey(ev *event.Event) uint64 {
	k := ev.Far()
	if k.DomainHash == 0 {
		return 0
	}
	return pairKey(ev.Orig.Hash, event.Mix(k.DomainHash, uint64(byQuery)))
}

// connection takes a connection that is over. What is carried to a resolver is
// judged by what was asked for.
func (d *Detector) connection(ev *event.Event, dst []event.Observation) []event.Observation {
	if ev.Proto == event.ProtoUDP && (ev.Resp.Port == 53 || ev.Resp.Port == 5353 || ev.Resp.Port == 137) {
		return dst
	}
	bytes := uint64(0)
	if ev.Conn != nil {
		bytes = ev.Conn.OrigBytes
	}
	if name := nameKey(ev); name != 0 {
		if t := d.trackOf(queryKey(ev)); t != nil {
			t.followed++ // who asks in order to call is judged by the calls
			d.touch(t)
		}
	}
	return d.call(ev, bytes, dst)
}

// call counts a connection or request for its name, and for its address if the name
// is not one that the originator calls again and again.
func (d *Detector) call(ev *event.Event, bytes uint64, dst []event.Observation) []event.Observation {
	if key := nameKey(ev); key != 0 {
		var settled bool
		if dst, settled = d.contact(key, byName, ev, bytes, dst); settled {
			return dst
		}
	}
	dst, _ = d.contact(serviceKey(ev), byService, ev, bytes, dst)
	return dst
}

// query takes a DNS transaction. Of sensors that write an answer on its own, the
// question is the contact.
func (d *Detector) query(ev *event.Event, dst []event.Observation) []event.Observation {
	if ev.DNS == nil || ev.Far().Class == event.ClassLocal || ev.Resp.Port != 53 {
		return dst
	}
	key := queryKey(ev)
	if ev.DNS.Response && ev.Sensor == event.SensorSuricata {
		if t := d.trackOf(key); t != nil {
			t.answer(ev)
			d.touch(t)
		}
		return dst
	}
	dst, _ = d.contact(key, byQuery, ev, uint64(len(ev.DNS.Query)), dst)
	return dst
}

// trackOf returns the track of a pair, or nil.
func (d *Detector) trackOf(key uint64) *track {
	if key == 0 {
		return nil
	}
	i := d.pairs.find(key)
	if i < 0 || !d.pairs.pair(i).tracked() {
		return nil
	}
	return d.tracks[d.pairs.pair(i).track()]
}

// contact counts a record for one pair. A key of 0 is none. It reports whether the
// pair is one that is called again and again.
func (d *Detector) contact(key uint64, b basis, ev *event.Event, bytes uint64, dst []event.Observation) ([]event.Observation, bool) {
	if key == 0 {
		return dst, false
	}
	i := d.pairs.find(key)
	if i < 0 {
		var left uint64
		if i, left = d.pairs.insert(key); i < 0 {
			return dst, false
		}
		if left != 0 {
			delete(d.heard, left)
		}
		if left != 0 && d.tracking {
			d.forgotten = append(d.forgotten, recordKey(state.KindPair, left))
		}
	}
	c := &d.pairs.pair(i).cold
	if len(d.heard) > 0 && !c.tracked() {
		dst = d.promoteHeard(key, b, c, ev, dst)
	}
	if d.tracking && !c.dirty() {
		c.setDirty(true)
		d.dirty = append(d.dirty, key)
	}
	ms := ev.Time / 1e6
	if c.tracked() {
		c.seen(ms)
		return d.tracked(d.tracks[c.track()], ev, bytes, dst), true
	}
	if n := c.n(); !c.add(ms, bytes) {
		if n == 1 && c.n() == 2 && d.lookup.On() { // most pairs have one session
			c.setPending(d.lookup.Want(recordKey(state.KindPair, key)) && d.lookup.Want(recordKey(state.KindBeacon, key)))
		}
		return dst, c.n() == coldSessions
	}
	if t := d.promote(key, b, c, ev); t != nil {
		c.seen(ms)
		return d.tracked(t, ev, bytes, dst), true
	}
	// The newest sessions are the ones to remember.
	c.forgetFirst()
	c.add(ms, bytes)
	return dst, true
}

// promote gives a pair a track with the sessions known of it. It returns nil if the
// pair is excused whatever it does, or if no track is free.
func (d *Detector) promote(key uint64, b basis, c *cold, ev *event.Event) *track {
	k := ev.Far()
	l := contact{name: k.Name, domain: k.Domain}
	if l.fill(ev, b); l.excused(b, d.cfg.Without) {
		return nil
	}
	i := d.freeTrack(ev.Time)
	if i < 0 {
		return nil
	}
	t := &track{key: key, basis: b, pending: c.pending(), host: state.Host{Addr: ev.Orig.Addr, VLAN: ev.VLAN, Inner: ev.InnerVLAN}}
	for k := range c.n() {
		t.Add(c.start(k)*1e6, codedSize(c.size(k)))
	}
	d.tracks[i] = t
	c.follow(i, c.last())
	return t
}

// freeTrack returns the index of a free track. If all are in use it looks at a few
// of them and takes the one with the fewest sessions of those that have been silent
// for long; -1 if none has.
func (d *Detector) freeTrack(now int64) int32 {
	if n := len(d.free); n > 0 {
		i := d.free[n-1]
		d.free = d.free[:n-1]
		return i
	}
	if len(d.tracks) < d.most {
		d.tracks = append(d.tracks, nil)
		return int32(len(d.tracks) - 1)
	}
	const tries = 64
	worst := -1
	for range tries {
		d.hand = (d.hand + 1) % len(d.tracks)
		t := d.tracks[d.hand]
		if t.episode == nil && t.stale(now) && (worst < 0 || t.Sessions() < d.tracks[worst].Sessions()) {
			worst = d.hand
		}
	}
	if worst >= 0 {
		d.drop(worst)
		d.free = d.free[:len(d.free)-1]
	}
	return int32(worst)
}

// drop forgets a tracked pair.
func (d *Detector) drop(i int) {
	t := d.tracks[i]
	if slot := d.pairs.find(t.key); slot >= 0 {
		d.pairs.remove(slot)
	}
	d.tracks[i] = nil
	delete(d.heard, t.key)
	d.free = append(d.free, int32(i))
	if d.tracking {
		d.forgotten = append(d.forgotten, recordKey(state.KindPair, t.key), recordKey(state.KindBeacon, t.key))
	}
}

// tracked counts a record for a pair that has a track, and looks at it when that is
// due.
func (d *Detector) tracked(t *track, ev *event.Event, bytes uint64, dst []event.Observation) []event.Observation {
	if t.episode != nil && ev.Clock() > t.deadline() {
		dst = d.close(t, dst)
	}
	before := t.Sessions()
	t.take(ev, bytes)
	if t.own != nil {
		t.own.take(ev, bytes)
	}
	d.touch(t)
	n := t.Sessions()
	if n == before || int(n) < d.cfg.MinContacts {
		return dst
	}
	if !t.Due() && (t.episode == nil || ev.Time-t.episode.reported < reportEvery) {
		return dst
	}
	return d.look(t, ev, dst)
}

// look asks whether a timer makes the sessions of a pair.
func (d *Detector) look(t *track, ev *event.Event, dst []event.Observation) []event.Observation {
	if t.covered(d, ev) || t.episode == nil && t.excused(d.cfg.Without) {
		t.Looked(&tempo.Result{LogOdds: math.Inf(-1)}) // ask again when there is twice as much
		return dst
	}
	r := tempo.Evaluate(&t.Track)
	t.Looked(&r)
	if r.Score < d.cfg.MinTiming || t.cached(&r) || t.basis == byQuery && d.tunnels != nil && d.tunnels.Timer(ev, &r) {
		t.positive = 0
		return dst
	}
	t.positive = min(t.positive+1, looks)
	if t.positive < looks || t.usual(&r) {
		return dst
	}
	e := t.episode
	if e == nil {
		e = newEpisode(t, ev.Time)
		t.episode = e
		d.open = append(d.open, t)
	} else {
		e.revision++
	}
	e.result = r
	// A case that has grown is told again: what it was when the timer was found may
	// have been too little for a rule.
	grade := grade(t.evidence(&r, d.cfg.Without, false).odds)
	if e.revision > 0 && grade <= e.grade && ev.Time-e.reported < reportEvery {
		e.revision--
		return dst
	}
	e.grade, e.reported = grade, ev.Time
	return append(dst, t.observation(true, d.cfg.Without))
}

// grade is the score of a case in tenths; 0 for what is more likely harmless.
func grade(odds float64) uint8 {
	if p := posterior(odds); p >= 0.5 {
		return uint8(10 * p)
	}
	return 0
}

// close reports a beacon for the last time.
func (d *Detector) close(t *track, dst []event.Observation) []event.Observation {
	e := t.episode
	if r := tempo.Evaluate(&t.Track); r.Score >= d.cfg.MinTiming {
		e.result = r
	}
	e.revision++
	dst = append(dst, t.observation(false, d.cfg.Without))
	d.end(t)
	return dst
}

// end forgets the open episode of a track.
func (d *Detector) end(t *track) {
	t.episode, t.samples = nil, nil
	t.positive = 0
	t.episodes++
	for i, o := range d.open {
		if o == t {
			d.open[i] = d.open[len(d.open)-1]
			d.open = d.open[:len(d.open)-1]
			break
		}
	}
	d.touch(t)
}

// Yield gives up the beacon that is told of the record's originator and domain, and
// returns its episode with what was found: whoever asks goes on with it. It returns nil
// if none is told.
func (d *Detector) Yield(ev *event.Event) (episode string, revision int, r *tempo.Result) {
	t := d.trackOf(queryKey(ev))
	if t == nil || t.episode == nil {
		return "", 0, nil
	}
	e := t.episode
	d.end(t)
	return e.id, e.revision, &e.result
}

// touch puts a track into the next cut.
func (d *Detector) touch(t *track) {
	if d.tracking && !t.dirty {
		t.dirty = true
		d.dirtyTracks = append(d.dirtyTracks, t)
	}
}

// Advance closes the beacons that are over at clock.
func (d *Detector) Advance(clock int64, dst []event.Observation) []event.Observation {
	if clock < d.sweepAt {
		return dst
	}
	d.sweepAt = clock + sweepEvery
	for i := len(d.open) - 1; i >= 0; i-- {
		if t := d.open[i]; clock > t.deadline() {
			dst = d.close(t, dst)
		}
	}
	return dst
}

// Finish closes all beacons.
func (d *Detector) Finish(dst []event.Observation) []event.Observation {
	for len(d.open) > 0 {
		dst = d.close(d.open[len(d.open)-1], dst)
	}
	return dst
}

// Sizes appends how much is kept of each kind.
func (d *Detector) Sizes(dst []state.Size) []state.Size {
	return append(dst,
		state.Size{Kind: "pairs", Count: d.pairs.len(), Cap: d.pairs.most},
		state.Size{Kind: "tracked_pairs", Count: len(d.tracks) - len(d.free), Cap: d.most})
}
