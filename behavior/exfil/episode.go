package exfil

import (
	"cmp"
	"encoding/hex"
	"math"
	"math/bits"
	"net/netip"
	"slices"

	"tidewatch/behavior/phrase"
	"tidewatch/event"
)

// episode is one upload that is told of.
type episode struct {
	id       string
	key      uint64 // of the account
	kind     kind
	revision int
	level    int // of the score, when it was told last
	// held says that it is not told yet: it may turn out to be a measure of
	// throughput, of which the first of several connections was reported.
	held     bool
	detected int64
	limit    int64 // it is over then, whatever goes on
	sums     window
	verdict  verdict

	// What was known of the destination, when more came last.
	addr      netip.Addr // the last one
	port      uint16
	proto     event.Proto
	service   string
	name      string
	source    event.NameSource
	class     event.Class
	use       event.Use
	hosts     uint32
	rank      uint32
	first     int64 // when the host dealt with it first
	hostFirst int64
	active    int // hours of the host that were learned
	accepted  int64
	normal    uint64
	sensors   [3]bool
	samples   []event.Sample
	addrs     []netip.Addr // of several destinations, the first ones
}

const (
	maxSamples = 10
	maxAddrs   = 10
)

// notable is a large transfer, kept for the case that its destination's upload is
// told of. It holds no pointers but that of an address's zone.
type notable struct {
	key     uint64
	network uint64 // of its destination, if that has no name
	uid     [24]byte
	uidLen  uint8
	state   event.State
	inbound bool
	fresh   bool // it counted against the budget of new destinations
	local   uint16
	remote  netip.AddrPort
	start   int64
	took    int64
	out, in uint64
}

// note keeps a transfer that is larger than the smallest one kept. Yesterday's give
// way first.
func (h *host) note(key, network uint64, fresh bool, t *transfer) {
	if t.out < notableBytes || t.out < t.in {
		return
	}
	n := notable{
		key: key, network: network, fresh: fresh, inbound: t.inbound, local: t.host.Port, remote: netip.AddrPortFrom(t.far.Addr, t.far.Port),
		start: t.ev.Time, took: t.ev.End - t.ev.Time, out: t.out, in: t.in, state: t.ev.Conn.State,
	}
	if len(t.ev.UID) <= len(n.uid) {
		n.uidLen = uint8(copy(n.uid[:], t.ev.UID))
	}
	if len(h.notable) < maxNotable {
		h.notable = append(h.notable, n)
		return
	}
	worst := 0
	for i := range h.notable {
		if h.notable[i].less(&h.notable[worst]) {
			worst = i
		}
	}
	if h.notable[worst].less(&n) {
		h.notable[worst] = n
	}
}

func (n *notable) less(o *notable) bool {
	if a, b := (n.start+n.took)/day, (o.start+o.took)/day; a != b {
		return a < b
	}
	return n.out < o.out
}

func (n *notable) sample(local netip.Addr) event.Sample {
	s := event.Sample{
		UID: string(n.uid[:n.uidLen]), Time: n.start, Duration: n.took,
		Orig: netip.AddrPortFrom(local, n.local), Resp: n.remote, OrigBytes: n.out, RespBytes: n.in, State: n.state.String(),
	}
	if n.inbound {
		s.Orig, s.Resp, s.OrigBytes, s.RespBytes = s.Resp, s.Orig, s.RespBytes, s.OrigBytes
	}
	return s
}

// consider judges an account, and opens an episode if the case is strong enough, or
// if so much went that somebody should know. It reports whether it did.
func (d *Detector) consider(h *host, a *account, t *transfer, dst []event.Observation) ([]event.Observation, bool) {
	if a.told || a.usual() || len(h.open) >= maxEpisodes || !d.enough(a) {
		return dst, false
	}
	v := &d.scratch
	d.judge(v, h, a, t)
	if v.score() < d.cfg.Score && !d.plausible(a, v) {
		return dst, false
	}
	return d.openEpisode(h, a, v, t, dst), true
}

// enough reports whether an account holds what a case needs at least.
func (d *Detector) enough(a *account) bool {
	if a.kind.small() {
		return excess(a) >= float64(d.cfg.EchoBytes)
	}
	return a.day.out >= uint64(d.cfg.MinBytes)
}

// likelyHarmless is the sum of log-odds below which even a large upload is not told.
const likelyHarmless = -6

// plausible reports whether an upload is so large that it is told even though it is
// likely harmless: not if its destination gets as much each day, or as much comes back.
func (d *Detector) plausible(a *account, v *verdict) bool {
	if a.kind.small() || a.kind.spread() || a.kind == fromOutside || v.sum < likelyHarmless {
		return false
	}
	usual := a.days.Weight() > 0 && a.days.Score(math.Log1p(float64(a.day.out)), daily.Floor) < 2
	return !usual && a.day.out >= uint64(d.cfg.PlausibleBytes) && ratio(&a.day) > 0.5
}

func (d *Detector) openEpisode(h *host, a *account, v *verdict, t *transfer, dst []event.Observation) []event.Observation {
	e := &episode{
		key: a.key, kind: a.kind, detected: t.ev.End, limit: a.day.first + day, sums: a.day, verdict: *v,
		first: a.first, accepted: a.accepted, normal: a.normal, id: episodeID(h, a),
	}
	e.limit = max(e.limit, t.ev.End)
	if b := d.known.Of(t.host.Hash); b != nil {
		e.active = b.Active()
	}
	for i := range h.notable {
		if n := &h.notable[i]; n.start+n.took >= a.day.first && (n.key == a.key || n.network == a.key || a.kind == allNew && n.fresh) {
			e.samples = append(e.samples, n.sample(h.Addr))
			if a.kind.spread() && len(e.addrs) < maxAddrs && !slices.Contains(e.addrs, n.remote.Addr()) {
				e.addrs = append(e.addrs, n.remote.Addr())
			}
		}
	}
	slices.SortFunc(e.samples, func(x, y event.Sample) int { return cmp.Or(cmp.Compare(x.Time, y.Time), cmp.Compare(x.UID, y.UID)) })
	e.learn(h, t)
	e.sample(t)
	e.level = d.level(e)
	a.told, a.suspect = true, true
	h.discount(a, t)
	if len(h.open) == 0 && !h.silent {
		d.active = append(d.active, h)
	}
	h.open = append(h.open, e)
	d.known.Suspect(t.host.Hash, t.ev.End)
	if e.held = a.kind != byNetwork && t.measured(); e.held {
		return dst
	}
	return append(dst, d.observation(h, e, true))
}

// holdFor is how long after the first record of a case the others of a measure of
// throughput come.
const holdFor = minute

// release tells of an episode that was held, if the case still stands.
func (d *Detector) release(h *host, e *episode, dst []event.Observation) []event.Observation {
	e.held = false
	e.level = d.level(e)
	return append(dst, d.observation(h, e, true))
}

// discount takes what an account holds from those that hold it too.
func (h *host) discount(a *account, t *transfer) {
	if a.kind == byAddress {
		if n := h.account(t.network()); n != nil {
			n.day.discount(&a.day)
		}
	}
	if h.budget != nil && a.kind != allNew {
		h.budget.day.discount(&a.day)
	}
}

func (w *window) discount(o *window) {
	if w.at == o.at {
		w.out -= min(w.out, o.out)
		w.in -= min(w.in, o.in)
		w.rarity -= min(w.rarity, o.rarity)
	}
}

// goOn judges an open episode again. Once what looked doubtful is clear, it is told.
func (d *Detector) goOn(h *host, e *episode, a *account, t *transfer, dst []event.Observation) []event.Observation {
	if a == nil {
		return dst
	}
	a.suspect = true
	d.known.Suspect(t.host.Hash, t.ev.End)
	if a.day.at != e.sums.at {
		return dst // a new day, with sums of its own
	}
	d.judge(&e.verdict, h, a, t)
	n := d.level(e)
	if e.held || n <= e.level || t.measured() { // of which more may come
		return dst
	}
	e.level = n
	e.revision++
	return append(dst, d.observation(h, e, true))
}

// episodeID names an episode by the host, what it is about, and the day, of which there
// is one: the same after a replay, and from each sensor that saw a part of it.
func episodeID(h *host, a *account) string {
	b := []byte{'x'}
	for _, v := range [2]uint64{spread(h.Hash(), a.key), spread(uint64(a.day.at), h.Hash()^a.key)} {
		for range 8 {
			b = append(b, byte(v))
			v >>= 8
		}
	}
	return hex.EncodeToString(b)
}

// learn notes what the record says of the destination.
func (e *episode) learn(h *host, t *transfer) {
	ev, k := t.ev, t.ev.Far()
	e.addr, e.hostFirst = t.far.Addr, h.first
	if e.port, e.proto = ev.Resp.Port, ev.Proto; ev.Conn.Service != "" && ev.Conn.Service != e.service {
		e.service = event.Clone(ev.Conn.Service)
	}
	if name := best(k); name != e.name {
		e.name = event.Clone(name)
	}
	e.source, e.class, e.use, e.hosts, e.rank = k.Source, k.Class, useOf(k), k.Hosts, k.Rank
	e.sensors[ev.Sensor%3] = true
	if e.kind.spread() && len(e.addrs) < maxAddrs && !slices.Contains(e.addrs, t.far.Addr) {
		e.addrs = append(e.addrs, t.far.Addr)
	}
}

// best is the most telling name of a destination.
func best(k *event.Known) string {
	if k.Name != "" {
		return k.Name
	}
	return k.Domain
}

// sample keeps a record, in the place of the smallest if there are too many.
func (e *episode) sample(t *transfer) {
	for i := range e.samples {
		if e.samples[i].UID == t.ev.UID && e.samples[i].Time == t.ev.Time {
			return
		}
	}
	size := func(s *event.Sample) uint64 {
		if t.inbound {
			return s.RespBytes
		}
		return s.OrigBytes
	}
	if len(e.samples) < maxSamples {
		e.samples = append(e.samples, sampleOf(t))
		return
	}
	least := 0
	for i := range e.samples {
		if size(&e.samples[i]) < size(&e.samples[least]) {
			least = i
		}
	}
	if size(&e.samples[least]) < t.out {
		e.samples[least] = sampleOf(t)
	}
}

// sampleOf is a record with the bytes that count.
func sampleOf(t *transfer) event.Sample {
	s := event.SampleOf(t.ev)
	s.OrigBytes, s.RespBytes = t.out, t.in
	if t.inbound {
		s.OrigBytes, s.RespBytes = t.in, t.out
	}
	return s
}

// pursue adds a transfer to the open episode about a key, and returns it, or nil if
// there is none.
func (h *host) pursue(key uint64, t *transfer) *episode {
	for _, e := range h.open {
		if e.key == key {
			e.sums.add(t)
			e.sums.members |= 1 << (spread(t.far.Hash, saltKind) >> 58)
			e.learn(h, t)
			e.sample(t)
			return e
		}
	}
	return nil
}

// levels are the scores at which an open episode is told of again: what looked
// doubtful has become clear.
var levels = [...]float64{0.7, 0.9}

func (d *Detector) level(e *episode) int {
	n := 0
	for n < len(levels) && e.verdict.score() >= levels[n] {
		n++
	}
	return n
}

// over reports whether the episode has ended at a time.
func (e *episode) over(d *Detector, at int64) bool {
	return at > min(e.sums.last+int64(d.cfg.Idle), e.limit)
}

// closeOver tells of those of a host's episodes that were held long enough at a time,
// and closes those that are over.
func (d *Detector) closeOver(h *host, at int64, dst []event.Observation) []event.Observation {
	for i := len(h.open) - 1; i >= 0; i-- {
		e := h.open[i]
		switch {
		case e.held && at <= e.detected+holdFor:
		case e.held && !d.stands(e):
			d.drop(h, i)
		case e.held:
			dst = d.release(h, e, dst)
		}
		if i < len(h.open) && h.open[i] == e && e.over(d, at) {
			dst = d.close(h, i, dst)
		}
	}
	return dst
}

// stands reports whether the case of a held episode is still worth telling.
func (d *Detector) stands(e *episode) bool {
	return e.verdict.score() >= d.cfg.Score || e.sums.out >= uint64(d.cfg.PlausibleBytes) && e.verdict.sum >= likelyHarmless
}

// close reports an episode for the last time.
func (d *Detector) close(h *host, i int, dst []event.Observation) []event.Observation {
	e := h.open[i]
	if e.held {
		if !d.stands(e) {
			d.drop(h, i)
			return dst
		}
		dst = d.release(h, e, dst)
	}
	e.revision++
	dst = append(dst, d.observation(h, e, false))
	d.drop(h, i)
	return dst
}

// drop ends an episode.
func (d *Detector) drop(h *host, i int) {
	h.open = slices.Delete(h.open, i, i+1)
	if len(h.open) == 0 {
		h.open = nil
		if k := slices.Index(d.active, h); k >= 0 {
			d.active = slices.Delete(d.active, k, k+1)
		}
	}
	d.touch(h)
}

// shape names the way in which the bytes went.
func (e *episode) shape() string {
	w := &e.sums
	switch e.kind {
	case byEcho:
		return "icmp"
	case byClock:
		return "ntp"
	case byQuery:
		return "dns"
	case byNetwork, allNew:
		return "split"
	case fromOutside:
		return "inbound"
	}
	switch {
	case w.largest > w.out/5*4 && w.lasted >= hour:
		return "long"
	case w.conns >= slowConns && w.last-w.first >= slowAfter && w.largest < w.out/4:
		return "slow"
	}
	return "bulk"
}

const (
	// slowAfter and slowConns are how long and in how many pieces bytes went to have
	// gone slowly.
	slowAfter = 2 * hour
	slowConns = 8
)

// count is how many destinations there were, by the 64 groups of their hashes (linear
// counting: Whang, Vander-Zanden and Taylor 1990).
func (w *window) count() float64 {
	empty := max(float64(64-bits.OnesCount64(w.members)), 0.5)
	return math.Round(64 * math.Log(64/empty))
}

// direction is that of the connections.
func (e *episode) direction() string {
	if e.kind == fromOutside {
		return "inbound"
	}
	return "outbound"
}

// risk is what the upload means for the site.
func (e *episode) risk() float64 {
	r := 20 + 60*e.verdict.score() + 3*math.Log10(max(float64(e.sums.out)/1e6, 1))
	return min(math.Round(r), 99)
}

// rate is in bytes a second, over the time from the first to the last byte.
func (e *episode) rate() float64 {
	took := float64(e.sums.last-e.sums.first) / 1e9
	return math.Round(float64(e.sums.out) / max(took, 1))
}

func round1(v float64) float64 { return math.Round(10*v) / 10 }

// age is how long the host has known the destination, in hours; it is what the host
// itself is known for if that is longer.
func (e *episode) age() float64 {
	if e.first == 0 {
		return round1(float64(e.sums.last-e.hostFirst) / float64(hour))
	}
	return round1(max(float64(e.sums.last-e.first), 0) / float64(hour))
}

// share is how many of the hosts use the destination.
func (e *episode) share() float64 {
	s, _ := rarity(e.use, e.hosts)
	return phrase.Round3(s)
}
