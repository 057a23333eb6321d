package scan

import (
	"encoding/binary"

	"tidewatch/behavior/sketch"
	"tidewatch/behavior/state"
	"tidewatch/event"
)

// version is the first byte of each stored record.
const version = 3

func writeEntity(w *state.Writer, e *entity) {
	w.U8(byte(e.scope))
	w.I64(e.first)
	w.I64(e.last)
}

func readEntity(r *state.Reader, e *entity) {
	e.scope, e.first, e.last = event.Scope(r.U8()), r.I64(), r.I64()
}

func writeContact(w *state.Writer, c *contact) {
	w.I64(c.time)
	w.Addr(c.dst)
	w.U16(c.port)
	w.U8(byte(c.proto))
	w.U8(byte(c.outcome))
	w.Bool(c.local)
	w.Bool(c.unknown)
	w.Bool(c.fresh)
	w.Text(c.uid)
	w.U16(c.orig)
	w.U8(byte(c.state))
}

func readContact(r *state.Reader) contact {
	return contact{r.I64(), r.Addr(), r.U16(), event.Proto(r.U8()), event.Outcome(r.U8() & 3), r.Bool(), r.Bool(), r.Bool(), r.Text(), r.U16(), event.State(r.U8())}
}

func writeContacts(w *state.Writer, cs []contact) {
	w.U8(byte(len(cs)))
	for i := range cs {
		writeContact(w, &cs[i])
	}
}

func readContacts(r *state.Reader, limit int) (cs []contact) {
	for range r.Length(limit) {
		cs = append(cs, readContact(r))
	}
	return cs
}

func writeWalk(w *state.Writer, k *walk) {
	w.F64(k.ratio)
	w.I64(k.from)
	w.U64(uint64(k.failed))
	w.U64(uint64(k.answered))
}

func readWalk(r *state.Reader) walk {
	return walk{r.F64(), r.I64(), int(r.U64()), int(r.U64())}
}

func writeSource(w *state.Writer, s *source) {
	w.U8(version)
	writeEntity(w, &s.entity)
	w.B = s.seen.Append(w.B)
	for i := range s.walks {
		writeWalk(w, &s.walks[i])
	}
	w.U8(byte(len(s.services)))
	for i := range s.services {
		k := &s.services[i]
		w.U16(k.port)
		w.U8(byte(k.proto))
		w.Bool(k.local)
		w.I64(k.last)
		writeWalk(w, &k.walk)
	}
	w.U64(uint64(s.hosts))
	writeContacts(w, s.recent)
	writeContacts(w, s.oks)
	writeDossier(w, s.more)
	writeEpisode(w, s.scan)
}

func readSource(r *state.Reader, s *source) {
	r.Version(version)
	readEntity(r, &s.entity)
	r.Decode(&s.seen)
	for i := range s.walks {
		s.walks[i] = readWalk(r)
	}
	for range r.Length(numServices) {
		s.services = append(s.services, serviceWalk{service{r.U16(), event.Proto(r.U8()), r.Bool()}, r.I64(), readWalk(r)})
	}
	s.hosts = int(r.U64())
	s.recent, s.oks = readContacts(r, recentSize), readContacts(r, answeredSize)
	s.more = readDossier(r)
	s.scan = readEpisode(r)
	r.End()
}

func writeTarget(w *state.Writer, t *target) {
	w.U8(version)
	writeEntity(w, &t.entity)
	w.B = t.known.Append(w.B)
	w.F64(t.rate)
	w.I64(t.rateTime)
	w.U32(t.episodes)
	w.U8(byte(len(t.tries)))
	for i := range t.tries {
		c := &t.tries[i]
		w.I64(c.time)
		w.Addr(c.src)
		w.U16(c.port)
		w.U8(byte(c.proto))
		w.U8(byte(c.outcome))
		w.Bool(c.local)
	}
	writeEpisode(w, t.scan)
}

func readTarget(r *state.Reader, t *target) {
	r.Version(version)
	readEntity(r, &t.entity)
	r.Decode(&t.known)
	t.rate, t.rateTime, t.episodes = r.F64(), r.I64(), r.U32()
	for range r.Length(maxTries) {
		t.tries = append(t.tries, try{r.I64(), r.Addr(), r.U16(), event.Proto(r.U8()), event.Outcome(r.U8() & 3), r.Bool()})
	}
	t.scan = readEpisode(r)
	r.End()
}

func writeEpisode(w *state.Writer, e *episode) {
	w.Bool(e != nil)
	if e == nil {
		return
	}
	w.Text(e.id)
	w.Bool(e.quiet)
	w.Addr(e.source)
	w.U64(uint64(e.revision))
	for _, v := range []int64{e.start, e.detected, e.last, e.limit} {
		w.I64(v)
	}
	for _, v := range []uint64{e.attempts, e.failed, e.answered, e.rejected, e.failedAtDetection, e.icmp, e.inside} {
		w.U64(v)
	}
	w.F64(e.walk)
	for _, d := range []*sketch.Distinct{&e.hosts, &e.ports, &e.answeredBy, &e.sources} {
		w.B = d.Append(w.B)
	}
	w.U8(byte(len(e.top)))
	for _, p := range e.top {
		w.U16(p.port)
		w.U8(byte(p.proto))
		w.U64(p.n)
		w.U64(p.ok)
	}
	w.U8(byte(len(e.answers)))
	for _, a := range e.answers {
		w.Addr(a.addr)
		w.U16(a.port)
		w.U8(byte(a.proto))
	}
	w.U8(byte(len(e.samples)))
	for i := range e.samples {
		w.Sample(&e.samples[i])
	}
	w.U8(byte(e.shown))
	for _, seen := range e.sensors {
		w.Bool(seen)
	}
	w.Addr(e.one)
	w.U8(byte(e.oneScope))
	w.U8(byte(e.realm))
}

func readEpisode(r *state.Reader) *episode {
	if !r.Bool() || r.Err != nil {
		return nil
	}
	e := &episode{id: r.Text(), quiet: r.Bool(), source: r.Addr(), revision: int(r.U64())}
	for _, v := range []*int64{&e.start, &e.detected, &e.last, &e.limit} {
		*v = r.I64()
	}
	for _, v := range []*uint64{&e.attempts, &e.failed, &e.answered, &e.rejected, &e.failedAtDetection, &e.icmp, &e.inside} {
		*v = r.U64()
	}
	e.walk = r.F64()
	for _, d := range []*sketch.Distinct{&e.hosts, &e.ports, &e.answeredBy, &e.sources} {
		r.Decode(d)
	}
	for range r.Length(topPorts) {
		e.top = append(e.top, portCount{r.U16(), event.Proto(r.U8()), r.U64(), r.U64()})
	}
	for range r.Length(maxAnswers) {
		e.answers = append(e.answers, answer{r.Addr(), r.U16(), event.Proto(r.U8())})
	}
	for range r.Length(maxSamples) {
		e.samples = append(e.samples, r.Sample())
	}
	e.shown = r.Length(min(len(e.samples), maxSamples/2))
	for i := range e.sensors {
		e.sensors[i] = r.Bool()
	}
	e.one, e.oneScope, e.realm = r.Addr(), event.Scope(r.U8()), int(r.U8())%numRealms
	if e.answered > 0 && len(e.answers) == 0 {
		r.Err = state.ErrRecord
	}
	return e
}

// Cut returns what changed since the last cut.
func (d *Detector) Cut() []state.Record {
	rs := make([]state.Record, 0, len(d.dirty)+len(d.dirtyTargets)+len(d.forgotten)+len(d.freshLight))
	for _, k := range d.forgotten {
		rs = append(rs, state.Record{Key: k})
	}
	for _, s := range d.dirty {
		s.dirty = false
		if d.sources[s.Hash()] == s {
			var w state.Writer
			writeSource(&w, s.own())
			rs = append(rs, state.Record{Key: s.Key(state.KindScanSource), Value: w.B})
		}
	}
	for _, t := range d.dirtyTargets {
		t.dirty = false
		if d.targets[t.Hash()] == t {
			var w state.Writer
			writeTarget(&w, t.stored())
			rs = append(rs, state.Record{Key: t.Key(state.KindScanTarget), Value: w.B})
		}
	}
	for _, h := range d.freshLight {
		rs = append(rs, d.lightRecord(h))
	}
	d.forgotten, d.dirty, d.dirtyTargets, d.freshLight = nil, d.dirty[:0], d.dirtyTargets[:0], d.freshLight[:0]
	return rs
}

func writeLight(w *state.Writer, c *contact) {
	w.U8(version)
	writeContact(w, c)
}

func readLight(r *state.Reader) contact {
	r.Version(version)
	c := readContact(r)
	r.End()
	return c
}

// lightRecord is the record of a source with one contact: empty if it has none
// any more. Its key is the hash: the address is not kept.
func (d *Detector) lightRecord(h uint64) state.Record {
	r := state.Record{Key: binary.BigEndian.AppendUint64([]byte{state.KindScanLight}, h)}
	c, ok := d.light[h]
	if !ok {
		c, ok = d.old[h]
	}
	if ok {
		var w state.Writer
		writeLight(&w, &c)
		r.Value = w.B
	}
	return r
}
