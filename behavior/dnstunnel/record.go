package dnstunnel

import (
	"encoding/binary"
	"math"
	"net/netip"

	"tidewatch/behavior/state"
	"tidewatch/event"
)

// version is the first byte of each stored record.
const version = 3

// keyTail is how much longer the key of a candidate is than that of its host: it ends
// with the domain's key.
const keyTail = 8

func (c *candidate) stateKey() []byte {
	return binary.BigEndian.AppendUint64(c.host.Key(state.KindTunnel), c.key)
}

// parseKey reads a key of either kind.
func parseKey(key []byte) (h state.Host, domain uint64, isCandidate bool, err error) {
	const head = 5
	if n := len(key) - head - keyTail; n == 4 || n == 16 && len(key) == head+16+keyTail {
		domain, isCandidate = binary.BigEndian.Uint64(key[len(key)-keyTail:]), true
		key = key[:len(key)-keyTail]
	}
	h, err = state.ParseHost(key)
	return h, domain, isCandidate, err
}

func writeFilter(w *state.Writer, f *filter) {
	for _, v := range f {
		w.U64(v)
	}
}

func readFilter(r *state.Reader) (f filter) {
	for i := range f {
		f[i] = r.U64()
	}
	return f
}

func writeHost(w *state.Writer, h *host) {
	w.U8(version)
	w.I64(h.first)
	w.I64(h.last)
	w.U64(h.questions)
	w.I64(h.resolver)
	w.U8(byte(len(h.servers)))
	for i := range h.servers {
		s := &h.servers[i]
		w.U64(s.hash)
		w.U64(s.domain)
		w.U32(s.last)
		w.Bool(s.many)
	}
	w.U16(uint16(len(h.lights)))
	for i := range h.lights {
		l := &h.lights[i]
		w.U64(h.keys[i])
		w.U32(l.first)
		w.U32(l.last)
		writeFilter(w, &l.seen)
		w.U16(l.names)
		w.U16(l.bytes)
		for s := range numSensors {
			w.U16(l.questions[s])
			w.U16(l.answers[s])
		}
		w.U16(l.answerBytes)
		w.U32(l.lastAnswer)
		w.Bool(l.ignored)
	}
}

// maxLights is how many domains of a host a record can have: more than the settings
// allow.
const maxLights = 1024

func readHost(r *state.Reader, h *host) {
	r.Version(version)
	h.first, h.last, h.questions, h.resolver = r.I64(), r.I64(), r.U64(), r.I64()
	for range r.Length(resolverServers) {
		h.servers = append(h.servers, server{r.U64(), r.U64(), r.U32(), r.Bool()})
	}
	n := int(r.U16())
	if n > maxLights {
		r.Err = state.ErrRecord
	}
	for i := 0; i < n && r.Err == nil; i++ {
		h.keys = append(h.keys, r.U64())
		l := light{first: r.U32(), last: r.U32(), seen: readFilter(r), names: r.U16(), bytes: r.U16()}
		for s := range numSensors {
			l.questions[s], l.answers[s] = r.U16(), r.U16()
		}
		l.answerBytes, l.lastAnswer, l.ignored = r.U16(), r.U32(), r.Bool()
		h.lights = append(h.lights, l)
	}
	r.End()
}

func writeWindow(w *state.Writer, v *window) {
	w.I64(v.head)
	for _, n := range v.n {
		w.U32(n)
	}
}

// readWindow refuses buckets of which a time in nanoseconds cannot tell.
func readWindow(r *state.Reader, bucket int64) (v window) {
	v.head = r.I64()
	if v.head > math.MaxInt64/bucket || v.head < math.MinInt64/bucket {
		r.Err = state.ErrRecord
		v.head = 0
	}
	for i := range v.n {
		v.n[i] = r.U32()
	}
	return v
}

func writeText(w *state.Writer, t *text) { w.Text(string(t.b[:t.n])) }

func readText(r *state.Reader) (t text) {
	t.set(r.Text())
	return t
}

func writeCandidate(w *state.Writer, c *candidate) {
	w.U8(version)
	w.Text(c.domain)
	w.I64(c.first)
	w.I64(c.last)
	w.B = c.known.Append(w.B)
	writeFilter(w, &c.before)
	writeWindow(w, &c.hour)
	writeWindow(w, &c.day)
	for i := range c.total {
		w.F64(c.total[i])
		w.F64(c.recent[i])
	}
	for _, n := range c.chars {
		w.F64(n)
	}
	w.I64(c.told)
	w.I64(c.decayed)
	w.U16(c.longest)
	w.U32(c.lastAnswer)
	w.U8(c.next)
	for i := range c.slots {
		s := &c.slots[i]
		w.I64(s.time)
		w.U16(s.orig)
		w.Addr(s.resp.Addr())
		w.U16(s.resp.Port())
		w.U16(s.bytes)
		writeText(w, &s.uid)
		writeText(w, &s.name)
	}
	w.U32(c.episodes)
	w.I64(c.accepted)
	for _, v := range [...]float64{c.size.hour, c.size.day, c.normal.hour, c.normal.day} {
		w.F64(v)
	}
	writeEpisode(w, c.episode)
}

// count reads a number that is none below zero.
func count(r *state.Reader) float64 {
	v := r.F64()
	if v < 0 {
		r.Err = state.ErrRecord
	}
	return v
}

func readCandidate(r *state.Reader, c *candidate) {
	r.Version(version)
	c.domain, c.first, c.last = r.Text(), r.I64(), r.I64()
	r.Decode(&c.known)
	c.before = readFilter(r)
	c.hour, c.day = readWindow(r, hourBucket), readWindow(r, dayBucket)
	for i := range c.total {
		c.total[i], c.recent[i] = count(r), count(r)
	}
	for i := range c.chars {
		c.chars[i] = count(r)
	}
	c.told = r.I64()
	c.decayed, c.longest, c.lastAnswer, c.next = r.I64(), r.U16(), r.U32(), r.U8()
	if c.next >= numSlots || c.decayed > math.MaxInt64/hour || c.decayed < math.MinInt64/hour {
		r.Err = state.ErrRecord
	}
	for i := range c.slots {
		c.slots[i] = slot{r.I64(), r.U16(), netip.AddrPortFrom(r.Addr(), r.U16()), r.U16(), readText(r), readText(r)}
	}
	c.episodes, c.accepted = r.U32(), r.I64()
	c.size, c.normal = level{count(r), count(r)}, level{count(r), count(r)}
	c.episode = readEpisode(r)
	r.End()
}

func writeEpisode(w *state.Writer, e *episode) {
	w.Bool(e != nil)
	if e == nil {
		return
	}
	w.Text(e.id)
	w.U64(uint64(e.revision))
	for _, v := range []int64{e.start, e.detected, e.last, e.limit} {
		w.I64(v)
	}
	w.F64(e.questions)
	w.F64(e.found)
	for _, v := range e.best.all() {
		w.F64(*v)
	}
	w.F64(e.strength)
	w.U8(byte(len(e.samples)))
	for i := range e.samples {
		w.Sample(&e.samples[i])
	}
	w.U8(byte(len(e.examples)))
	for _, s := range e.examples {
		w.U16(uint16(len(s)))
		w.B = append(w.B, s...)
	}
	for _, seen := range e.sensors {
		w.Bool(seen)
	}
	w.U8(byte(e.proto))
	w.Addr(e.server)
	w.Bool(e.outside)
	w.F64(e.timer.period)
	w.F64(e.timer.jitter)
	w.F64(e.timer.logOdds)
}

func readEpisode(r *state.Reader) *episode {
	if !r.Bool() || r.Err != nil {
		return nil
	}
	e := &episode{id: r.Text(), revision: int(r.U64())}
	for _, v := range []*int64{&e.start, &e.detected, &e.last, &e.limit} {
		*v = r.I64()
	}
	e.questions, e.found = count(r), count(r)
	for _, v := range e.best.all() {
		*v = r.F64()
	}
	e.strength = r.F64()
	for range r.Length(maxSamples) {
		e.samples = append(e.samples, r.Sample())
	}
	for range r.Length(maxExamples) {
		e.examples = append(e.examples, string(r.Take(int(r.U16()))))
	}
	for i := range e.sensors {
		e.sensors[i] = r.Bool()
	}
	e.proto, e.server, e.outside = event.Proto(r.U8()), r.Addr(), r.Bool()
	e.timer = timer{r.F64(), r.F64(), r.F64()}
	return e
}

// Cut returns what changed since the last cut: a record for each host, and one for
// each candidate.
func (d *Detector) Cut() []state.Record {
	rs := make([]state.Record, 0, len(d.dirty)+len(d.dirtyCandidates)+len(d.forgotten))
	for _, k := range d.forgotten {
		rs = append(rs, state.Record{Key: k})
	}
	for _, h := range d.dirty {
		h.dirty = false
		if d.hosts[h.Hash()] == h {
			var w state.Writer
			writeHost(&w, h.stored())
			rs = append(rs, state.Record{Key: h.Key(state.KindTunnel), Value: w.B})
		}
	}
	for _, c := range d.dirtyCandidates {
		c.dirty = false
		if h := d.hosts[c.host.Hash()]; h != nil && h.stored() == c.host && c.host.candidate(c.key) == c {
			var w state.Writer
			writeCandidate(&w, c)
			rs = append(rs, state.Record{Key: c.stateKey(), Value: w.B})
		}
	}
	d.forgotten, d.dirty, d.dirtyCandidates = nil, d.dirty[:0], d.dirtyCandidates[:0]
	return rs
}
