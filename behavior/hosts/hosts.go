// Package hosts keeps what is normal for each local host, hour by hour of the week,
// and for each service that one offers. Detectors ask it; it finds nothing itself.
package hosts

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
	"time"

	"tidewatch/behavior/sketch"
	"tidewatch/behavior/state"
	"tidewatch/behavior/volume"
	"tidewatch/event"
)

// Config bounds what is kept, over all shards.
type Config struct {
	MaxHosts    int
	MaxServices int
}

// DefaultConfig returns bounds for a large site.
func DefaultConfig() Config { return Config{MaxHosts: 100_000, MaxServices: 50_000} }

// Quantity is what is counted of a host in each hour.
type Quantity uint8

const (
	Connections Quantity = iota // that it opened
	BytesOut                    // of payload that it sent to hosts outside
	Peers                       // distinct ones that it opened connections to
	NewPeers                    // of those, never seen before
	Failures                    // connections that it opened and nobody answered
	NumQuantities

	// The first ones are expected by the hour of the week, which takes 500 bytes a
	// host and kind of day. The others have one level for all active hours.
	seasonal = 2
)

// Pace is how all baselines of hosts learn: from log(1+x) of each active hour.
var Pace = sketch.Pace{Tau: 28 * 24 * time.Hour, Floor: 0.7}

// remembered is how many peers of a host are, and for how long: 5 KiB at most.
var remembered = sketch.Retention{Items: 512, Period: 30 * 24 * time.Hour}

const (
	second = int64(time.Second)
	hour   = int64(time.Hour)
	day    = 24 * hour

	// suspiciousFrom is how many sigmas above what is expected close the gate.
	suspiciousFrom = 3
	// enough is how many active hours an expectation must rest on to close the gate.
	enough      = 24
	forgetAfter = 30 * day
	// wrongClock is how many hours the hour that is counted may be ahead of a record
	// before its own time is taken for wrong.
	wrongClock = 48
)

// Host is what is normal for one local host. It belongs to its Table: nobody else
// writes to it, and it may be forgotten when the Table observes the next record.
type Host struct {
	state.Host
	dirty       bool
	pending     bool // what the store has of it is on its way
	first, last int64
	active      uint32 // hours that were learned
	suspect     int64  // until then a detector suspects the host
	hour        int32  // hours since 1970, that now is about
	now         counts
	intake      intake
	season      [seasonal]sketch.Seasonal
	level       [NumQuantities - seasonal]sketch.Moments
	peers       sketch.Seen
	ports       [4]uint64 // which of 256 groups of responder ports it ever tried
	accepted    int64     // when an analyst called normal what it does; 0: never

	// own is what this sensor has seen itself, if the host holds what others saw too. It
	// is what is stored.
	own *Host
}

// counts are those of one hour.
type counts struct {
	n     [NumQuantities]uint64
	peers [8]uint64 // which of 512 groups of peers there were
}

// Table holds the hosts and services of one shard. It is used by one goroutine.
type Table struct {
	hosts                 map[uint64]*Host
	services              map[serviceKey]*Service
	maxHosts, maxServices int
	forgetAt              int64

	tracking     bool
	dirty        []*Host
	dirtyService []*Service
	forgotten    [][]byte
	lookup       state.Lookup

	read uint64 // by Expect, or the compiler leaves it out
}

// New returns the table of one of n shards.
func New(cfg Config, shards int) *Table {
	return &Table{
		hosts: map[uint64]*Host{}, services: map[serviceKey]*Service{},
		maxHosts: max(cfg.MaxHosts/shards, 16), maxServices: max(cfg.MaxServices/shards, 16),
	}
}

// Of returns the host with this hash, or nil.
func (t *Table) Of(hash uint64) *Host { return t.hosts[hash] }

// First is when the host was seen first.
func (h *Host) First() int64 { return h.first }

// Active is how many hours in which the host did something were learned.
func (h *Host) Active() int { return int(h.active) }

// Knows reports whether the host opened a connection to a peer within the last month,
// or two; see Peer. Of a host with more than 500 peers the last 500 are known.
func (h *Host) Knows(peer uint64) bool { return h.peers.Has(peer) }

// Ports estimates how many different responder ports the host ever tried, up to about
// 1,000 (linear counting: Whang, Vander-Zanden and Taylor 1990).
func (h *Host) Ports() float64 { return linear(h.ports[:]) }

// Now is a quantity in the hour of a time so far.
func (h *Host) Now(q Quantity, at int64) float64 {
	if int32(at/hour) != h.hour {
		return 0
	}
	return h.now.of(q)
}

func (c *counts) of(q Quantity) float64 {
	if q == Peers {
		return linear(c.peers[:])
	}
	return float64(c.n[q])
}

// Expect is what log(1+x) of a quantity is expected to be in the hour of a time.
func (h *Host) Expect(q Quantity, at int64) sketch.Expectation {
	hourOfDay, weekend := clock(int32(at / hour))
	return h.expect(q, at, hourOfDay, weekend)
}

func (h *Host) expect(q Quantity, at int64, hourOfDay int, weekend bool) sketch.Expectation {
	if q < seasonal {
		return h.season[q].Expect(at, hourOfDay, weekend, Pace)
	}
	m := &h.level[q-seasonal]
	if m.Weight() == 0 {
		return sketch.Expectation{}
	}
	return sketch.Expectation{Mean: m.Mean(), Sigma: m.Sigma(), N: m.Weight(), Basis: sketch.AllHours}
}

// Suspect closes the gates of the host's baselines until a time: a detector says that
// what it does is not normal.
func (t *Table) Suspect(hash uint64, until int64) {
	if h := t.hosts[hash]; h != nil && until > h.suspect {
		h.suspect = until
		h.stored().suspect = until
		t.touch(h)
	}
}

// Accept makes what is suspicious of a host normal: an analyst says so at a time (Unix
// ns). It reports whether anything was.
func (t *Table) Accept(hash uint64, at int64) bool {
	h := t.hosts[hash]
	if h == nil {
		return false
	}
	done := h.accept(at)
	if h.own != nil {
		done = h.own.accept(at) || done
	}
	t.touch(h)
	return done
}

func (h *Host) accept(at int64) bool {
	done := h.suspect > h.last
	h.suspect = 0
	for q := range h.season {
		done = h.season[q].Accept() || done
	}
	for q := range h.level {
		done = h.level[q].Accept() || done
	}
	if done {
		h.accepted = at
	}
	return done
}

// Accepted is when an analyst called normal what was suspicious of the host, 0 if never.
func (h *Host) Accepted() int64 { return h.accepted }

// Loaded reports whether what the store has of the host is in it.
func (h *Host) Loaded() bool { return !h.pending }

// clock returns the hour of the day and whether it is a weekend, UTC, of a number of
// hours since 1970, which began on a Thursday.
func clock(hours int32) (hourOfDay int, weekend bool) {
	weekday := (hours/24 + 4) % 7 // 0 is Sunday
	return int(hours % 24), weekday == 0 || weekday == 6
}

// linear estimates how many were put into groups by their hashes.
func linear(groups []uint64) float64 {
	empty := 0
	for _, g := range groups {
		empty += 64 - bits.OnesCount64(g)
	}
	m := float64(64 * len(groups))
	return m * math.Log(m/max(float64(empty), 0.5))
}

// Peer is the identity of a far end for a host: its registered domain if that is
// known, else its address.
func Peer(ev *event.Event, far *event.Host) uint64 {
	if k := ev.Far(); k.Domain != "" {
		return k.DomainHash
	}
	return far.Hash
}

// Observe counts a connection of the hosts that the shard owns. It finds nothing.
func (t *Table) Observe(ev *event.Event, orig, resp bool, dst []event.Observation) []event.Observation {
	if !ev.Counts() || ev.Conn == nil {
		return dst
	}
	if orig && ev.Orig.Scope == event.ScopeLocal && (ev.Resp.Scope == event.ScopeLocal || ev.Resp.Scope == event.ScopeExternal) {
		t.opened(ev)
	}
	if resp && ev.Resp.Scope == event.ScopeLocal {
		if ev.Outcome == event.OutcomeAnswered && ev.Orig.Scope == event.ScopeExternal {
			if h := t.hosts[ev.Resp.Hash]; h != nil {
				h.answers(ev)
				if h.own != nil {
					h.own.answers(ev)
				}
				t.touch(h)
			}
		}
		t.served(ev)
	}
	return dst
}

// Expect reads what hosts remember of whom they will call, which no cache holds. It changes
// nothing.
func (t *Table) Expect(evs []*event.Event) {
	sum := uint64(0)
	for _, ev := range evs {
		if ev.Kind != event.KindConn {
			continue
		}
		if h := t.hosts[ev.Orig.Hash]; h != nil {
			sum += h.peers.Near(Peer(ev, &ev.Resp))
		}
	}
	t.read = sum
}

// opened counts a connection for its originator.
func (t *Table) opened(ev *event.Event) {
	h := t.hosts[ev.Orig.Hash]
	if h == nil {
		if len(t.hosts) >= t.maxHosts {
			t.evict()
		}
		h = &Host{Host: state.Host{Addr: ev.Orig.Addr, VLAN: ev.VLAN, Inner: ev.InnerVLAN}, first: ev.Time}
		if t.lookup.On() {
			h.pending = t.lookup.Want(h.Key(state.KindHost))
		}
		t.hosts[ev.Orig.Hash] = h
	}
	t.touch(h)
	h.opens(ev)
	if h.own != nil {
		h.own.opens(ev)
	}
}

// answers counts what the host sent in a connection that somebody outside opened.
func (h *Host) answers(ev *event.Event) {
	h.roll(ev.End)
	h.now.n[BytesOut] += volume.Received(ev).Bytes
}

// opens counts a connection that the host opened.
func (h *Host) opens(ev *event.Event) {
	h.roll(ev.End)
	h.first, h.last = min(h.first, ev.Time), max(h.last, ev.End)
	n := &h.now.n
	n[Connections]++
	switch ev.Outcome {
	case event.OutcomeRejected, event.OutcomeSilent:
		n[Failures]++
	}
	if ev.Resp.Scope == event.ScopeExternal {
		n[BytesOut] += volume.Sent(ev).Bytes
	} else if ev.Outcome == event.OutcomeAnswered {
		h.intake.add(volume.Received(ev).Bytes, ev.End)
	}
	peer := Peer(ev, &ev.Resp)
	if h.peers.AddAt(peer, ev.End, remembered) {
		n[NewPeers]++
	}
	set(h.now.peers[:], spread(peer, saltPeer))
	if !ev.Proto.IsICMP() {
		set(h.ports[:], spread(uint64(ev.Resp.Port)<<8|uint64(ev.Proto), saltPort))
	}
}

const (
	saltPeer = 0x9e3779b97f4a7c15
	saltPort = 0xc2b2ae3d27d4eb4f
)

// spread mixes a hash with a salt (the finaliser of SplitMix64, Steele et al. 2014).
func spread(h, salt uint64) uint64 {
	h += salt
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

func set(groups []uint64, hash uint64) {
	i := hash % uint64(64*len(groups))
	groups[i/64] |= 1 << (i % 64)
}

// roll learns from the hour that is over at a time. Hours in which nothing was done
// are not learned: they say that the host was off.
func (h *Host) roll(at int64) {
	n := int32(at / hour)
	if n <= h.hour && n >= h.hour-wrongClock {
		return
	}
	if n > h.hour && h.now != (counts{}) {
		h.learn()
	}
	h.hour, h.now = n, counts{}
}

// learn scores the hour against what was expected, and then learns it, slowly where it
// is suspicious.
func (h *Host) learn() {
	end := int64(h.hour+1) * hour
	hourOfDay, weekend := clock(h.hour)
	for q := range NumQuantities {
		x := math.Log1p(h.now.of(q))
		z := h.expect(q, end, hourOfDay, weekend).Score(x, Pace.Floor)
		suspicious := h.suspect >= int64(h.hour)*hour || h.active >= enough && z > suspiciousFrom
		if q < seasonal {
			h.season[q].Update(x, end, hourOfDay, weekend, Pace, suspicious)
		} else {
			h.level[q-seasonal].Update(x, end, Pace, suspicious)
		}
	}
	h.active++
}

// evict forgets a sixteenth of the hosts: those of which nothing was learned first,
// then by how long they have been silent.
func (t *Table) evict() {
	all := make([]*Host, 0, len(t.hosts))
	for _, h := range t.hosts {
		all = append(all, h)
	}
	slices.SortFunc(all, func(a, b *Host) int {
		return cmp.Or(cmp.Compare(min(a.active, 1), min(b.active, 1)), cmp.Compare(a.last, b.last), a.Addr.Compare(b.Addr), cmp.Compare(a.VLAN, b.VLAN), cmp.Compare(a.Inner, b.Inner))
	})
	for _, h := range all[:min(len(all), t.maxHosts/16+1)] {
		t.forget(h)
	}
}

func (t *Table) forget(h *Host) {
	delete(t.hosts, h.Hash())
	if t.tracking {
		t.forgotten = append(t.forgotten, h.Key(state.KindHost))
	}
}

// Advance forgets hosts and services that have been silent for a month.
func (t *Table) Advance(clock int64, dst []event.Observation) []event.Observation {
	if clock < t.forgetAt {
		return dst
	}
	t.forgetAt = clock + hour
	for _, h := range t.hosts {
		if h.last < clock-forgetAfter {
			t.forget(h)
		}
	}
	for _, s := range t.services {
		if s.last < clock-forgetAfter {
			t.forgetService(s)
		}
	}
	return dst
}

// Finish has nothing to close.
func (t *Table) Finish(dst []event.Observation) []event.Observation { return dst }

// Track makes the table remember what changes, for Cut.
func (t *Table) Track() { t.tracking = true }

func (t *Table) touch(h *Host) {
	if t.tracking && !h.dirty {
		h.dirty = true
		t.dirty = append(t.dirty, h)
	}
}

// Sizes appends how much is kept of each kind.
func (t *Table) Sizes(dst []state.Size) []state.Size {
	return append(dst,
		state.Size{Kind: "hosts", Count: len(t.hosts), Cap: t.maxHosts},
		state.Size{Kind: "services", Count: len(t.services), Cap: t.maxServices})
}
