// Package exfil finds local hosts that send out more than they should, to where they
// should not.
//
// Volume alone finds the wrong things: harmless days hold uploads of hundreds of
// megabytes, and a real theft was 28. What is unusual together is a destination that is
// new to the host, that hardly anybody else uses, that no list of popular names has,
// and bytes that go one way. Each of these is a term of a sum of log-odds, and each
// term is shown.
package exfil

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"tidewatch/behavior/hosts"
	"tidewatch/behavior/sketch"
	"tidewatch/behavior/state"
	"tidewatch/event"
)

// Config holds the settings of the exfiltration detector. Bytes are payload.
type Config struct {
	MinBytes       int            // to one destination within a day, 100 kB to 1 TB
	PlausibleBytes int            // from here on an upload is told even if it is likely harmless
	EchoBytes      int            // more than the usual pings hold, to one destination within a day
	Score          float64        // of an upload that is told, 0 to 1
	Idle           time.Duration  // an upload is over after such a pause
	Exclude        []netip.Prefix // hosts that are left out, and destinations
	MaxHosts       int            // kept in memory, over all shards
	Without        string         // a term of the evidence that counts for nothing, to see what it is worth
}

// DefaultConfig returns settings found on recorded traffic and on made days.
func DefaultConfig() Config {
	return Config{
		MinBytes: 5_000_000, PlausibleBytes: 100_000_000, EchoBytes: 200_000, Score: 0.7,
		Idle: 6 * time.Hour, MaxHosts: 100_000,
	}
}

const (
	second = int64(time.Second)
	minute = int64(time.Minute)
	hour   = int64(time.Hour)
	day    = 24 * hour

	// maxSmall bounds the destinations of a host that got little, maxAccounts those
	// that got much.
	maxSmall    = 64
	maxAccounts = 48
	// promote is how many bytes a day make a destination one that got much.
	promote = 128_000
	// notableBytes is what a transfer must hold to be kept as a sample.
	notableBytes = 200_000
	maxNotable   = 6
	maxEpisodes  = 8

	sweepEvery  = 10 * second
	forgetAfter = 14 * day
	// late is how long after its end a record may be written: Suricata writes a flow
	// up to ten minutes later.
	late = hour
	// wrongClock is how far a window may be ahead of a record before its own time is
	// taken for wrong.
	wrongClock = 2 * day
	// newFor is how long a destination is new to a host.
	newFor = day
)

// kind says what an account is about.
type kind uint8

const (
	byName kind = iota
	byAddress
	byNetwork   // a /24, or a /64 of IPv6, whose addresses have no names
	fromOutside // an outside client that a local host serves
	byEcho      // ICMP, whose payload is usually that of pings
	byClock     // NTP
	byQuery     // DNS over UDP
	allNew      // the one budget for all new destinations together
)

// small reports whether the protocol is one that carries little, as a rule.
func (k kind) small() bool { return k == byEcho || k == byClock || k == byQuery }

// spread reports whether the account is about several destinations.
func (k kind) spread() bool { return k == byNetwork || k == allNew }

// window is what was sent within a day, UTC, by the ends of the transfers.
type window struct {
	at       int32 // days since 1970; 0: nothing yet
	conns    uint32
	members  uint64 // which of 64 groups of addresses there were
	mark     uint64 // see meet
	out, in  uint64
	blind    uint64 // of out: the sensor did not see what came back
	pkts     uint64
	disputed uint64 // of out: the sensor's counts differ
	first    int64  // earliest start
	last     int64
	largest  uint64  // bytes of the largest transfer
	lasted   int64   // how long the transfer that lasted longest did
	rarity   float64 // weights of rarity, times the bytes that they are about
}

// light is a destination that got little so far.
type light struct {
	key         uint64
	first, last uint32 // Unix seconds
	day         int32
	out         uint32
}

// account is a destination of one host that got much.
type account struct {
	key     uint64
	kind    kind
	told    bool  // today an episode about it was opened: there is one a day
	suspect bool  // today what it got belonged to an episode: it is not normal
	first   int64 // when the host dealt with it first; 0: longer ago than is remembered
	last    int64
	hour    int32 // hours since 1970 that hourOut is about
	hourOut uint64
	day     window
	before  uint64         // what the last day held in which there was anything
	hours   sketch.Moments // of log(1+bytes) of the hours in which there were any
	days    sketch.Moments // the same of days
	drift   sketch.CUSUM   // of days
	burst   burst

	accepted int64  // when an analyst called normal what it gets; 0: never
	normal   uint64 // bytes a day that he did
}

// host is a local host that sends.
type host struct {
	state.Host
	dirty       bool
	pending     bool // what the store has of it is on its way
	silent      bool // it is the own half of what several sensors know: nothing is told of it
	first, last int64
	mark        uint64 // of all connections of markDay, see meet
	markDay     int32
	named, bare uint32 // connections outward with a name known, and without
	small       []light
	accounts    []account
	keys        []uint64 // of accounts, which are large: one line of the cache has eight of them; of another length, they are out of date
	budget      *account // nil until something new was sent to
	live        []live
	notable     []notable
	open        []*episode

	// own is what this sensor has seen itself, if the host holds what others saw too. It
	// is what is stored.
	own *host
}

// Detector finds exfiltration. It asks the baselines of hosts, and does not change
// them but for the gate.
type Detector struct {
	cfg      Config
	known    *hosts.Table
	hosts    map[uint64]*host
	active   []*host // with open episodes
	sweepAt  int64
	forgetAt int64
	maxHosts int
	without  feature // numFeatures: none
	scratch  verdict
	unheard  []event.Observation // of own halves

	tracking  bool
	dirty     []*host
	forgotten [][]byte
	lookup    state.Lookup
}

// New returns the detector of one of n shards. It reads the baselines of known, which
// observes each record after it.
func New(cfg Config, shards int, known *hosts.Table) *Detector {
	return &Detector{
		cfg: cfg, known: known, hosts: map[uint64]*host{}, maxHosts: max(cfg.MaxHosts/shards, 16), without: featureNamed(cfg.Without),
	}
}

// Track makes the detector remember what changes, for Cut.
func (d *Detector) Track() { d.tracking = true }

// Observe takes a record about a connection, if the shard owns its local end.
func (d *Detector) Observe(ev *event.Event, orig, resp bool, dst []event.Observation) []event.Observation {
	t, ok := transferOf(ev)
	if !ok || t.inbound && !resp || !t.inbound && !orig || d.excluded(&t) {
		return dst
	}
	h := d.hosts[t.host.Hash]
	if h == nil {
		if t.out == 0 {
			return dst
		}
		h = d.addHost(&t)
	}
	if h.own != nil {
		same := t
		d.unheard = d.transfer(h.own, &same, d.unheard[:0])
		d.touch(h)
	}
	return d.transfer(h, &t, dst)
}

func (d *Detector) excluded(t *transfer) bool {
	for _, p := range d.cfg.Exclude {
		if p.Contains(t.ev.SeenOrig()) || p.Contains(t.ev.SeenResp()) {
			return true
		}
	}
	return false
}

func (d *Detector) addHost(t *transfer) *host {
	if len(d.hosts) >= d.maxHosts {
		d.evict()
	}
	h := &host{Host: state.Host{Addr: t.host.Addr, VLAN: t.ev.VLAN, Inner: t.ev.InnerVLAN}, first: t.ev.Time, last: t.ev.End}
	if d.lookup.On() {
		h.pending = d.lookup.Want(h.Key(state.KindUpload))
	}
	d.hosts[t.host.Hash] = h
	d.touch(h)
	return h
}

// evict forgets a sixteenth of the hosts: those that send little first, then by how
// long they have been silent.
func (d *Detector) evict() {
	all := make([]*host, 0, len(d.hosts))
	for _, h := range d.hosts {
		if len(h.open) == 0 {
			all = append(all, h)
		}
	}
	slices.SortFunc(all, func(a, b *host) int {
		return cmp.Or(cmp.Compare(min(len(a.accounts), 1), min(len(b.accounts), 1)), cmp.Compare(a.last, b.last), a.Addr.Compare(b.Addr), cmp.Compare(a.VLAN, b.VLAN), cmp.Compare(a.Inner, b.Inner))
	})
	for _, h := range all[:min(len(all), d.maxHosts/16+1)] {
		d.forgetHost(h)
	}
}

func (d *Detector) forgetHost(h *host) {
	delete(d.hosts, h.Hash())
	if d.tracking {
		d.forgotten = append(d.forgotten, h.Key(state.KindUpload))
	}
}

// touch puts a host into the next cut.
func (d *Detector) touch(h *host) {
	if d.tracking && !h.dirty && !h.silent {
		h.dirty = true
		d.dirty = append(d.dirty, h)
	}
}

// transfer takes what a known host sent.
func (d *Detector) transfer(h *host, t *transfer, dst []event.Observation) []event.Observation {
	d.touch(h)
	h.first = min(h.first, t.ev.Time) // records come in the order of their ends
	h.last = max(h.last, t.ev.End)
	h.meet(t)
	h.count(t)
	if !t.inbound && t.ev.Flags&event.FlagSnapshot == 0 {
		h.countName(t.ev.Far().Name != "")
	}
	dst = d.closeOver(h, max(t.ev.End, t.ev.Written-late), dst)
	if t.out == 0 && t.in == 0 {
		return dst
	}
	return d.charge(h, t, dst)
}

// countName counts for how many connections a name is known, by halves of the past: of
// a site whose names nobody logs, a destination without one is nothing special.
func (h *host) countName(named bool) {
	if h.named+h.bare >= 4096 {
		h.named, h.bare = h.named/2, h.bare/2
	}
	if named {
		h.named++
	} else {
		h.bare++
	}
}

// Advance closes the episodes that are over at clock, and forgets silent hosts.
func (d *Detector) Advance(clock int64, dst []event.Observation) []event.Observation {
	if clock < d.sweepAt {
		return dst
	}
	d.sweepAt = clock + sweepEvery
	for i := len(d.active) - 1; i >= 0; i-- {
		h := d.active[i]
		if h.own != nil {
			d.unheard = d.closeOver(h.own, clock-late, d.unheard[:0])
		}
		dst = d.closeOver(h, clock-late, dst)
	}
	if clock >= d.forgetAt {
		d.forgetAt = clock + hour
		for _, h := range d.hosts {
			if len(h.open) == 0 && h.last < clock-forgetAfter {
				d.forgetHost(h)
			}
		}
	}
	return dst
}

// Finish closes all episodes.
func (d *Detector) Finish(dst []event.Observation) []event.Observation {
	for len(d.active) > 0 {
		h := d.active[len(d.active)-1]
		for len(h.open) > 0 {
			dst = d.close(h, len(h.open)-1, dst)
		}
	}
	return dst
}

// Sizes appends how much is kept of each kind.
func (d *Detector) Sizes(dst []state.Size) []state.Size {
	return append(dst, state.Size{Kind: "uploading_hosts", Count: len(d.hosts), Cap: d.maxHosts})
}
