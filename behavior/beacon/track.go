package beacon

import (
	"math"
	"net/netip"
	"strings"

	"tidewatch/behavior/state"
	"tidewatch/behavior/tempo"
	"tidewatch/event"
)

const maxSamples = 10

// track is what is kept of a pair with a fourth session.
type track struct {
	tempo.Track
	key   uint64
	basis basis
	dirty bool
	// pending says that what the store has of the pair is on its way.
	pending bool

	host state.Host // originator
	last contact    // of the newest record
	tls  handshake

	records  uint32 // of connections, requests or queries
	conns    uint32 // of them connections, whose bytes are known
	requests uint32 // of them HTTP requests
	failed   uint32 // connections that nobody answered
	oneSided uint32 // connections of which the sensor saw one direction
	out, in  float64
	followed uint32 // queries: connections to the domain
	fresh    uint32 // queries for another name than the one before
	question uint64 // hash of the name asked for last
	ttl      uint32 // queries: the longest time an answer was valid, in seconds
	sensors  [3]bool
	positive uint8 // looks in a row that found a timer
	samples  []event.Sample
	episode  *episode
	episodes uint32    // that are over
	normal   *accepted // nil of most

	// own is what this sensor has seen itself, if the track holds what others saw too. It
	// is what is stored.
	own *track
}

// contact is what the newest record says of both ends.
type contact struct {
	scope, peerScope event.Scope
	peer             netip.Addr
	port             uint16
	proto            event.Proto
	name, domain     string
	source           event.NameSource
	class            event.Class
	rank             uint32
	hosts            uint32 // local hosts that are known
	peers            uint32 // of them that use the far end, by what is most exact
	domainPeers      uint32
	since            int64 // when the first of them did
}

// handshake is what the sensor said of TLS.
type handshake struct {
	seen, selfSigned, invalid, noName bool
	ja3, ja4                          string
	alike                             uint8  // handshakes in a row with one fingerprint of the client, up to 255
	clients                           uint32 // local hosts that have it
}

// episode is one beacon that is told.
type episode struct {
	id                string
	detected, started int64
	reported          int64
	revision          int
	grade             uint8 // when it was reported
	result            tempo.Result
}

func newEpisode(t *track, now int64) *episode {
	start := t.First()
	return &episode{id: state.EpisodeID('b', t.key, start, t.episodes), detected: now, started: start, reported: now}
}

// deadline returns when the beacon is over if nothing more comes.
func (t *track) deadline() int64 {
	return t.Last() + max(silence, int64(5*t.episode.result.Period*1e9))
}

// stale reports whether the pair has been silent for so long, compared with its
// pace, that it will hardly be missed.
func (t *track) stale(now int64) bool {
	pace := (t.Last() - t.First()) / int64(max(t.Sessions(), 1))
	return now-t.Last() > max(2*day, 8*pace)
}

// take counts a record.
func (t *track) take(ev *event.Event, bytes uint64) {
	before := t.Sessions()
	t.Add(ev.Time, bytes)
	t.note(ev, t.Sessions() > before)
}

// note keeps what a record says beside its time and size.
func (t *track) note(ev *event.Event, session bool) {
	t.records++
	t.sensors[ev.Sensor%3] = true
	k := ev.Far()
	if t.basis == byQuery {
		t.narrow(k)
	} else {
		t.rename(k)
	}
	t.last.fill(ev, t.basis)
	switch ev.Kind {
	case event.KindConn:
		t.connection(ev)
	case event.KindHTTP:
		t.requests++
	case event.KindDNS:
		if k.NameHash != t.question {
			t.question = k.NameHash
			t.fresh++
		}
		t.answer(ev)
	}
	t.handshake(ev)
	switch {
	case t.positive > 0 && session:
		t.sample(ev)
	case ev.Kind == event.KindConn:
		t.complete(ev)
	}
}

// fill takes over what a record says of both ends, but for the names.
func (l *contact) fill(ev *event.Event, b basis) {
	k := ev.Far()
	l.scope, l.peerScope = ev.Orig.Scope, ev.Resp.Scope
	l.peer, l.port, l.proto = ev.Resp.Addr, ev.Resp.Port, ev.Proto
	l.class, l.rank, l.hosts = k.Class, k.Rank, k.Hosts
	use := k.Addr
	switch {
	case b == byQuery:
		use = k.OfDomain
	case l.name != "" && k.OfName.Hosts > 0:
		use = k.OfName
	}
	l.peers, l.since, l.domainPeers = use.Hosts, use.First, k.OfDomain.Hosts
}

// rename keeps a name that the record belongs to, and clones it only if it is new.
func (t *track) rename(k *event.Known) {
	if k.Name == "" && t.basis == byName {
		return
	}
	l := &t.last
	l.source = k.Source
	if l.name != k.Name {
		l.name = event.Clone(k.Name)
	}
	if l.domain != k.Domain {
		l.domain = event.Clone(k.Domain)
	}
}

// narrow keeps what all names that were asked for end with: the registered domain at
// least.
func (t *track) narrow(k *event.Known) {
	l := &t.last
	if l.domain == "" {
		l.name, l.domain = event.Clone(k.Name), event.Clone(k.Domain)
		return
	}
	for l.name != l.domain && k.Name != l.name && !endsWith(k.Name, l.name) {
		dot := strings.IndexByte(l.name, '.')
		if dot < 0 {
			return
		}
		l.name = l.name[dot+1:]
	}
}

// endsWith reports whether name is below zone.
func endsWith(name, zone string) bool {
	return len(name) > len(zone) && name[len(name)-len(zone)-1] == '.' && strings.HasSuffix(name, zone)
}

func (t *track) connection(ev *event.Event) {
	if ev.Outcome == event.OutcomeSilent || ev.Outcome == event.OutcomeRejected {
		t.failed++
	}
	if ev.Flags&event.FlagOneSided != 0 {
		t.oneSided++
	}
	if c := ev.Conn; c != nil {
		t.conns++
		t.out += float64(c.OrigBytes)
		t.in += float64(c.RespBytes)
	}
}

// answer keeps how long answers are valid.
func (t *track) answer(ev *event.Event) {
	for _, ttl := range ev.DNS.TTLs {
		t.ttl = max(t.ttl, ttl)
	}
}

func (t *track) handshake(ev *event.Event) {
	c := ev.TLS
	if c == nil {
		return
	}
	h := &t.tls
	h.seen = true
	h.noName = c.ServerName == ""
	h.selfSigned = c.Issuer != "" && c.Issuer == c.Subject
	h.invalid = c.Validation != "" && c.Validation != "ok"
	if c.JA4 != h.ja4 || c.JA4 == "" && c.JA3 != h.ja3 {
		h.alike = 0
	}
	h.alike, h.clients = min(h.alike, math.MaxUint8-1)+1, ev.Far().Client.Hosts
	if c.JA3 != h.ja3 {
		h.ja3 = event.Clone(c.JA3)
	}
	if c.JA4 != h.ja4 {
		h.ja4 = event.Clone(c.JA4)
	}
}

// sample keeps a record to show. With connections on their way, it is the record of
// the session that comes first.
func (t *track) sample(ev *event.Event) {
	if len(t.samples) == maxSamples {
		copy(t.samples[1:], t.samples[2:]) // the first one stays
		t.samples = t.samples[:maxSamples-1]
	}
	t.samples = append(t.samples, event.SampleOf(ev))
}

// complete gives a sample that was taken when its connection began what is known now
// that it is over.
func (t *track) complete(ev *event.Event) {
	for i := range t.samples {
		if t.samples[i].UID == ev.UID && ev.UID != "" {
			t.samples[i] = event.SampleOf(ev)
			return
		}
	}
}

// covered reports whether another pair tells of the same contacts better: the name
// rather than the address, the calls rather than the questions before them.
func (t *track) covered(d *Detector, ev *event.Event) bool {
	switch t.basis {
	case byService:
		n := d.trackOf(nameKey(ev))
		return n != nil && 5*n.Sessions() >= 3*t.Sessions()
	case byQuery:
		return 2*t.followed >= t.Sessions()
	}
	return false
}

// cached reports whether the questions come when an answer in a cache runs out.
func (t *track) cached(r *tempo.Result) bool {
	return t.basis == byQuery && 2*t.fresh < t.Sessions() && float64(t.ttl) < 2*r.Period
}
