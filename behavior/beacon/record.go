package beacon

import (
	"encoding/binary"

	"tidewatch/behavior/state"
	"tidewatch/behavior/tempo"
	"tidewatch/event"
)

// version is the first byte of each stored record.
const version = 3

// recordKey is the key of a pair's record.
func recordKey(kind byte, key uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{kind}, key)
}

// Cut returns what changed since the last Cut.
func (d *Detector) Cut() []state.Record {
	rs := make([]state.Record, 0, len(d.dirty)+len(d.dirtyTracks)+len(d.forgotten))
	for _, k := range d.forgotten {
		rs = append(rs, state.Record{Key: k})
	}
	for _, k := range d.dirty {
		if i := d.pairs.find(k); i >= 0 && d.pairs.pair(i).dirty() {
			c := &d.pairs.pair(i).cold
			c.setDirty(false)
			s := c.sketched()
			rs = append(rs, state.Record{Key: recordKey(state.KindPair, k), Value: s.append(nil)})
		}
	}
	for _, t := range d.dirtyTracks {
		t.dirty = false
		if d.trackOf(t.key) == t {
			rs = append(rs, state.Record{Key: recordKey(state.KindBeacon, t.key), Value: t.stored().record()})
		}
	}
	d.forgotten, d.dirty, d.dirtyTracks = nil, d.dirty[:0], d.dirtyTracks[:0]
	return rs
}

// sketched is what the record of a pair says: the sessions of a pair without a track.
type sketched struct {
	tracked  bool
	last     int64 // Unix ms, of a tracked pair
	sessions []session
}

// session is one of a pair without a track.
type session struct {
	start int64 // Unix ms
	size  uint16
}

// maxSketched is how many sessions the record of a pair has at most: several sensors may
// each know a few.
const maxSketched = 16

// sketched is what is stored of a pair. A pair with a track has nothing else to tell.
func (c *cold) sketched() sketched {
	if c.tracked() {
		return sketched{tracked: true, last: c.last()}
	}
	var s sketched
	for i := range c.n() {
		s.sessions = append(s.sessions, session{c.start(i), c.size(i)})
	}
	return s
}

// append writes a pair.
func (s *sketched) append(b []byte) []byte {
	w := state.Writer{B: b}
	w.U8(version)
	w.Bool(s.tracked)
	w.I64(s.last)
	w.U8(byte(len(s.sessions)))
	for _, v := range s.sessions {
		w.I64(v.start)
		w.U16(v.size)
	}
	return w.B
}

func readSketched(r *state.Reader) (s sketched) {
	r.Version(version)
	s.tracked, s.last = r.Bool(), r.I64()
	for range r.Length(maxSketched) {
		s.sessions = append(s.sessions, session{r.I64(), r.U16()})
	}
	r.End()
	return s
}

func (t *track) record() []byte {
	w := state.Writer{B: []byte{version, byte(t.basis)}}
	w.B = t.Append(w.B)
	w.Addr(t.host.Addr)
	w.U16(t.host.VLAN)
	w.U16(t.host.Inner)
	t.last.append(&w)
	for _, b := range [...]bool{t.tls.seen, t.tls.selfSigned, t.tls.invalid, t.tls.noName, t.sensors[0], t.sensors[1], t.sensors[2]} {
		w.Bool(b)
	}
	w.Text(t.tls.ja3)
	w.Text(t.tls.ja4)
	w.U8(t.tls.alike)
	w.U32(t.tls.clients)
	for _, n := range [...]uint32{t.records, t.conns, t.requests, t.failed, t.oneSided, t.followed, t.fresh, t.ttl} {
		w.U32(n)
	}
	w.F64(t.out)
	w.F64(t.in)
	w.U64(t.question)
	w.U8(t.positive)
	w.U32(t.episodes)
	w.Bool(t.normal != nil)
	if a := t.normal; a != nil {
		w.I64(a.at)
		w.F64(a.period)
		w.F64(a.bytes)
	}
	w.U8(uint8(len(t.samples)))
	for i := range t.samples {
		w.Sample(&t.samples[i])
	}
	w.Bool(t.episode != nil)
	if e := t.episode; e != nil {
		w.Text(e.id)
		for _, v := range [...]int64{e.detected, e.started, e.reported, int64(e.revision)} {
			w.I64(v)
		}
		w.U8(e.grade)
		appendResult(&w, &e.result)
	}
	return w.B
}

func (l *contact) append(w *state.Writer) {
	w.U8(byte(l.scope))
	w.U8(byte(l.peerScope))
	w.Addr(l.peer)
	w.U16(l.port)
	w.U8(byte(l.proto))
	w.Text(l.name)
	w.Text(l.domain)
	w.U8(byte(l.source))
	w.U8(byte(l.class))
	for _, n := range [...]uint32{l.rank, l.hosts, l.peers, l.domainPeers} {
		w.U32(n)
	}
	w.I64(l.since)
}

func readContact(r *state.Reader) contact {
	return contact{
		scope: event.Scope(r.U8()), peerScope: event.Scope(r.U8()), peer: r.Addr(), port: r.U16(), proto: event.Proto(r.U8()),
		name: r.Text(), domain: r.Text(), source: event.NameSource(r.U8()), class: event.Class(r.U8()),
		rank: r.U32(), hosts: r.U32(), peers: r.U32(), domainPeers: r.U32(), since: r.I64(),
	}
}

// The numbers of a result that a report shows.
func appendResult(w *state.Writer, r *tempo.Result) {
	for _, v := range [...]float64{r.Score, r.Fused, r.LogOdds, r.PerGap, r.Period, r.Jitter, r.Missed, r.SizeScore, r.Periods} {
		w.F64(v)
	}
	w.U32(uint32(r.Gaps))
	w.U32(uint32(r.Hours))
	w.I64(r.Next)
	w.Text(r.Irregular)
}

func readResult(r *state.Reader) (x tempo.Result) {
	for _, v := range [...]*float64{&x.Score, &x.Fused, &x.LogOdds, &x.PerGap, &x.Period, &x.Jitter, &x.Missed, &x.SizeScore, &x.Periods} {
		*v = r.F64()
	}
	x.Gaps, x.Hours, x.Next, x.Irregular = int(r.U32()), int(r.U32()), r.I64(), r.Text()
	return x
}

func readTrack(r *state.Reader, key uint64) *track {
	r.Version(version)
	t := &track{key: key, basis: basis(r.U8() % 3)}
	r.Decode(&t.Track)
	t.host = state.Host{Addr: r.Addr(), VLAN: r.U16(), Inner: r.U16()}
	t.last = readContact(r)
	for _, b := range [...]*bool{&t.tls.seen, &t.tls.selfSigned, &t.tls.invalid, &t.tls.noName, &t.sensors[0], &t.sensors[1], &t.sensors[2]} {
		*b = r.Bool()
	}
	t.tls.ja3, t.tls.ja4, t.tls.alike, t.tls.clients = r.Text(), r.Text(), r.U8(), r.U32()
	for _, n := range [...]*uint32{&t.records, &t.conns, &t.requests, &t.failed, &t.oneSided, &t.followed, &t.fresh, &t.ttl} {
		*n = r.U32()
	}
	t.out, t.in, t.question, t.positive, t.episodes = r.F64(), r.F64(), r.U64(), min(r.U8(), looks), r.U32()
	if r.Bool() {
		t.normal = &accepted{r.I64(), r.F64(), r.F64()}
	}
	for range r.Length(maxSamples) {
		t.samples = append(t.samples, r.Sample())
	}
	if r.Bool() {
		e := &episode{id: r.Text()}
		e.detected, e.started, e.reported, e.revision = r.I64(), r.I64(), r.I64(), int(r.I64())
		e.grade = r.U8()
		e.result = readResult(r)
		t.episode = e
	}
	r.End()
	return t
}
