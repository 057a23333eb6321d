package behavior

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"

	"tidewatch/behavior/sketch"
	"tidewatch/event"
)

// Keys of stored entities begin with one of these.
const (
	keySource byte = 's'
	keyTarget byte = 't'
	keyLight  byte = 'l'
)

// recordVersion is the first byte of each stored record.
const recordVersion = 1

var errRecord = errors.New("not a scan record of a known version")

// key is the entity's kind, VLANs and address.
func (e *entity) key(kind byte) []byte {
	b := []byte{kind}
	b = binary.BigEndian.AppendUint16(b, e.vlan)
	b = binary.BigEndian.AppendUint16(b, e.inner)
	return append(b, e.addr.AsSlice()...)
}

// writer appends fixed-size and length-prefixed values.
type writer struct{ b []byte }

func (w *writer) u8(v byte)     { w.b = append(w.b, v) }
func (w *writer) u16(v uint16)  { w.b = binary.LittleEndian.AppendUint16(w.b, v) }
func (w *writer) u64(v uint64)  { w.b = binary.LittleEndian.AppendUint64(w.b, v) }
func (w *writer) i64(v int64)   { w.u64(uint64(v)) }
func (w *writer) f64(v float64) { w.u64(math.Float64bits(v)) }
func (w *writer) bool(v bool)   { w.u8(map[bool]byte{true: 1}[v]) }
func (w *writer) text(s string) {
	s = s[:min(len(s), 255)]
	w.u8(byte(len(s)))
	w.b = append(w.b, s...)
}
func (w *writer) addr(a netip.Addr) { w.text(string(a.AsSlice())) }

// reader is the inverse of writer. Its first error sticks.
type reader struct {
	b   []byte
	err error
}

func (r *reader) take(n int) []byte {
	if r.err != nil || len(r.b) < n {
		r.err = errRecord
		return make([]byte, max(n, 0))
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) u8() byte    { return r.take(1)[0] }
func (r *reader) u16() uint16 { return binary.LittleEndian.Uint16(r.take(2)) }
func (r *reader) u64() uint64 { return binary.LittleEndian.Uint64(r.take(8)) }
func (r *reader) i64() int64  { return int64(r.u64()) }
func (r *reader) f64() float64 {
	v := math.Float64frombits(r.u64())
	if math.IsNaN(v) || math.IsInf(v, 0) {
		r.err = errRecord
	}
	return v
}
func (r *reader) bool() bool   { return r.u8() != 0 }
func (r *reader) text() string { return string(r.take(int(r.u8()))) }
func (r *reader) addr() netip.Addr {
	b := r.take(int(r.u8()))
	if len(b) == 0 {
		return netip.Addr{}
	}
	a, ok := netip.AddrFromSlice(b)
	if !ok {
		r.err = errRecord
	}
	return a
}

// length reads the number of elements of a list.
func (r *reader) length(limit int) int {
	n := int(r.u8())
	if n > limit {
		r.err = errRecord
		return 0
	}
	return n
}

func (r *reader) decode(d interface{ Decode([]byte) ([]byte, error) }) {
	if r.err != nil {
		return
	}
	r.b, r.err = d.Decode(r.b)
}

func (w *writer) entity(e *entity) {
	w.u8(byte(e.scope))
	w.i64(e.first)
	w.i64(e.last)
}

func (r *reader) entity(e *entity) {
	e.scope, e.first, e.last = event.Scope(r.u8()), r.i64(), r.i64()
}

func (w *writer) contact(c *contact) {
	w.i64(c.time)
	w.addr(c.dst)
	w.u16(c.port)
	w.u8(byte(c.proto))
	w.u8(byte(c.outcome))
	w.bool(c.local)
	w.bool(c.newHost)
	w.bool(c.unknown)
	w.text(c.uid)
	w.u16(c.orig)
	w.u8(byte(c.state))
}

func (r *reader) contact() contact {
	return contact{r.i64(), r.addr(), r.u16(), event.Proto(r.u8()), event.Outcome(r.u8() & 3), r.bool(), r.bool(), r.bool(), r.text(), r.u16(), event.State(r.u8())}
}

func (w *writer) contacts(cs []contact) {
	w.u8(byte(len(cs)))
	for i := range cs {
		w.contact(&cs[i])
	}
}

func (r *reader) contacts(limit int) (cs []contact) {
	for range r.length(limit) {
		cs = append(cs, r.contact())
	}
	return cs
}

func (w *writer) source(s *source) {
	w.u8(recordVersion)
	w.entity(&s.entity)
	w.b = s.seen.Append(w.b)
	for _, k := range s.walks {
		w.f64(k.ratio)
		w.i64(k.from)
		w.u64(uint64(k.failed))
		w.u64(uint64(k.answered))
	}
	w.u64(uint64(s.hosts))
	w.contacts(s.recent)
	w.contacts(s.oks)
	w.episode(s.scan)
}

func (r *reader) source(s *source) {
	r.version()
	r.entity(&s.entity)
	r.decode(&s.seen)
	for i := range s.walks {
		s.walks[i] = walk{r.f64(), r.i64(), int(r.u64()), int(r.u64())}
	}
	s.hosts = int(r.u64())
	s.recent, s.oks = r.contacts(recentSize), r.contacts(answeredSize)
	s.scan = r.episode()
	r.end()
}

func (r *reader) version() {
	if r.u8() != recordVersion {
		r.err = errRecord
	}
}

func (r *reader) end() {
	if len(r.b) != 0 {
		r.err = errRecord
	}
}

func (w *writer) target(t *target) {
	w.u8(recordVersion)
	w.entity(&t.entity)
	w.b = t.known.Append(w.b)
	w.f64(t.rate)
	w.i64(t.rateTime)
	w.u8(byte(len(t.tries)))
	for i := range t.tries {
		c := &t.tries[i]
		w.i64(c.time)
		w.addr(c.src)
		w.u16(c.port)
		w.u8(byte(c.proto))
		w.u8(byte(c.outcome))
		w.bool(c.local)
	}
	w.episode(t.scan)
}

func (r *reader) target(t *target) {
	r.version()
	r.entity(&t.entity)
	r.decode(&t.known)
	t.rate, t.rateTime = r.f64(), r.i64()
	for range r.length(255) {
		t.tries = append(t.tries, try{r.i64(), r.addr(), r.u16(), event.Proto(r.u8()), event.Outcome(r.u8() & 3), r.bool()})
	}
	t.scan = r.episode()
	r.end()
}

func (w *writer) episode(e *episode) {
	w.bool(e != nil)
	if e == nil {
		return
	}
	w.text(e.id)
	w.addr(e.source)
	w.u64(uint64(e.revision))
	for _, v := range []int64{e.start, e.detected, e.last, e.limit} {
		w.i64(v)
	}
	for _, v := range []uint64{e.attempts, e.failed, e.answered, e.rejected, e.failedAtDetection, e.icmp, e.inside} {
		w.u64(v)
	}
	w.f64(e.walk)
	for _, d := range []*sketch.Distinct{&e.hosts, &e.ports, &e.answeredBy, &e.sources} {
		w.b = d.Append(w.b)
	}
	w.u8(byte(len(e.top)))
	for _, p := range e.top {
		w.u16(p.port)
		w.u8(byte(p.proto))
		w.u64(p.n)
		w.u64(p.ok)
	}
	w.u8(byte(len(e.answers)))
	for _, a := range e.answers {
		w.addr(a.addr)
		w.u16(a.port)
		w.u8(byte(a.proto))
	}
	w.u8(byte(len(e.samples)))
	for i := range e.samples {
		w.sample(&e.samples[i])
	}
	for _, seen := range e.sensors {
		w.bool(seen)
	}
	w.addr(e.one)
	w.u8(byte(e.oneScope))
	w.u8(byte(e.realm))
}

func (r *reader) episode() *episode {
	if !r.bool() || r.err != nil {
		return nil
	}
	e := &episode{id: r.text(), source: r.addr(), revision: int(r.u64())}
	for _, v := range []*int64{&e.start, &e.detected, &e.last, &e.limit} {
		*v = r.i64()
	}
	for _, v := range []*uint64{&e.attempts, &e.failed, &e.answered, &e.rejected, &e.failedAtDetection, &e.icmp, &e.inside} {
		*v = r.u64()
	}
	e.walk = r.f64()
	for _, d := range []*sketch.Distinct{&e.hosts, &e.ports, &e.answeredBy, &e.sources} {
		r.decode(d)
	}
	for range r.length(topPorts) {
		e.top = append(e.top, portCount{r.u16(), event.Proto(r.u8()), r.u64(), r.u64()})
	}
	for range r.length(maxAnswers) {
		e.answers = append(e.answers, answer{r.addr(), r.u16(), event.Proto(r.u8())})
	}
	for range r.length(maxSamples) {
		e.samples = append(e.samples, r.sample())
	}
	for i := range e.sensors {
		e.sensors[i] = r.bool()
	}
	e.one, e.oneScope, e.realm = r.addr(), event.Scope(r.u8()), int(r.u8())%numRealms
	if e.answered > 0 && len(e.answers) == 0 {
		r.err = errRecord
	}
	return e
}

func (w *writer) sample(s *event.Sample) {
	w.text(s.UID)
	w.i64(s.Time)
	w.i64(s.Duration)
	for _, p := range []netip.AddrPort{s.Orig, s.Resp} {
		w.addr(p.Addr())
		w.u16(p.Port())
	}
	w.u64(s.OrigBytes)
	w.u64(s.RespBytes)
	w.text(s.State)
}

func (r *reader) sample() event.Sample {
	return event.Sample{
		UID: r.text(), Time: r.i64(), Duration: r.i64(),
		Orig: netip.AddrPortFrom(r.addr(), r.u16()), Resp: netip.AddrPortFrom(r.addr(), r.u16()),
		OrigBytes: r.u64(), RespBytes: r.u64(), State: r.text(),
	}
}

// cut returns what changed since the last cut.
func (d *scanDetector) cut() []Record {
	rs := make([]Record, 0, len(d.dirty)+len(d.dirtyTargets)+len(d.forgotten)+len(d.freshLight))
	for _, k := range d.forgotten {
		rs = append(rs, Record{Key: k})
	}
	for _, s := range d.dirty {
		s.dirty = false
		if d.sources[s.hash()] == s {
			var w writer
			w.source(s)
			rs = append(rs, Record{s.key(keySource), w.b})
		}
	}
	for _, t := range d.dirtyTargets {
		t.dirty = false
		if d.targets[t.hash()] == t {
			var w writer
			w.target(t)
			rs = append(rs, Record{t.key(keyTarget), w.b})
		}
	}
	for _, h := range d.freshLight {
		rs = append(rs, d.lightRecord(h))
	}
	d.forgotten, d.dirty, d.dirtyTargets, d.freshLight = nil, d.dirty[:0], d.dirtyTargets[:0], d.freshLight[:0]
	return rs
}

// lightRecord is the record of a source with one contact: empty if it has none
// any more. Its key is the hash: the address is not kept.
func (d *scanDetector) lightRecord(h uint64) Record {
	r := Record{Key: binary.BigEndian.AppendUint64([]byte{keyLight}, h)}
	c, ok := d.light[h]
	if !ok {
		c, ok = d.old[h]
	}
	if ok {
		w := writer{[]byte{recordVersion}}
		w.contact(&c)
		r.Value = w.b
	}
	return r
}

// restore takes a record back, if owns says that its entity is ours.
func (d *scanDetector) restore(rec Record, owns func(hash uint64) bool) error {
	if len(rec.Value) == 0 {
		return nil
	}
	r := &reader{b: rec.Value}
	if len(rec.Key) == 9 && rec.Key[0] == keyLight {
		h := binary.BigEndian.Uint64(rec.Key[1:])
		r.version()
		c := r.contact()
		r.end()
		if r.err == nil && owns(h) {
			d.light[h] = c
		}
		return r.err
	}
	k := &reader{b: rec.Key}
	kind := k.u8()
	e := entity{vlan: binary.BigEndian.Uint16(k.take(2)), inner: binary.BigEndian.Uint16(k.take(2))}
	var ok bool
	if e.addr, ok = netip.AddrFromSlice(k.b); !ok || k.err != nil {
		return fmt.Errorf("key of %d bytes: %w", len(rec.Key), errRecord)
	}
	h := e.hash()
	if !owns(h) {
		return nil
	}
	switch kind {
	case keySource:
		s := &source{entity: e}
		if r.source(s); r.err == nil {
			d.sources[h] = s
			if s.scan != nil {
				d.open = append(d.open, s)
			}
		}
	case keyTarget:
		t := &target{entity: e}
		if r.target(t); r.err == nil {
			d.targets[h] = t
			if t.scan != nil {
				d.openTargets = append(d.openTargets, t)
			}
		}
	default:
		return errRecord
	}
	return r.err
}
