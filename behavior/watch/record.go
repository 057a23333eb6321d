package watch

import (
	"encoding/binary"
	"slices"

	"tidewatch/behavior/sketch"
	"tidewatch/behavior/state"
	"tidewatch/event"
)

// recordVersion begins the value of each record.
const recordVersion = 1

// recordKey is the key of a case: the spec's version, and the case's hash.
func (d *Detector) recordKey(e *entry) []byte {
	b := binary.BigEndian.AppendUint64([]byte{state.KindWatch}, d.specs[e.spec].Version)
	b = binary.BigEndian.AppendUint64(b, e.key.hi)
	return binary.BigEndian.AppendUint64(b, e.key.lo)
}

// beginning is the record of when a spec's first record came.
func (d *Detector) beginning(at int) state.Record {
	w := state.Writer{B: []byte{recordVersion}}
	w.I64(d.began[at])
	return state.Record{Key: binary.BigEndian.AppendUint64([]byte{state.KindWatch}, d.specs[at].Version), Value: w.B}
}

// write serialises a case.
func (d *Detector) write(e *entry) []byte {
	w := state.Writer{B: []byte{recordVersion}}
	w.I64(e.first)
	w.I64(e.last)
	w.I64(e.until)
	writeHost(&w, &e.from)
	writeHost(&w, &e.to)
	w.U16(e.vlan)
	w.U16(e.inner)
	w.Bool(e.severalFrom)
	w.Bool(e.severalTo)
	w.U8(byte(len(e.subject)))
	for _, s := range e.subject {
		w.Text(s)
	}
	w.U8(byte(len(e.samples)))
	for i := range e.samples {
		w.Sample(&e.samples[i])
	}
	w.U8(byte(min(len(e.fields), 255)))
	for _, f := range e.fields[:min(len(e.fields), 255)] {
		w.Text(f.Name)
		w.Text(f.Value)
	}
	w.Bool(e.episode != nil)
	if p := e.episode; p != nil {
		writeEpisode(&w, p)
	}
	e.progress.write(&w)
	return w.B
}

func writeHost(w *state.Writer, h *event.Host) {
	w.Addr(h.Addr)
	w.U16(h.Port)
	w.U8(byte(h.Scope))
}

func readHost(r *state.Reader) event.Host {
	return event.Host{Addr: r.Addr(), Port: r.U16(), Scope: event.Scope(r.U8())}
}

func writeEpisode(w *state.Writer, p *episode) {
	w.Text(p.id)
	w.I64(p.start)
	w.I64(p.detected)
	w.I64(p.last)
	w.F64(p.amount)
	w.U32(uint32(p.revision))
	for _, s := range p.sensors {
		w.Bool(s)
	}
	w.B = p.distinct.Append(w.B)
}

func readEpisode(r *state.Reader) *episode {
	p := &episode{id: r.Text(), start: r.I64(), detected: r.I64(), last: r.I64(), amount: r.F64(), revision: int(r.U32())}
	for i := range p.sensors {
		p.sensors[i] = r.Bool()
	}
	r.Decode(&p.distinct)
	return p
}

// The kinds of progress, as they are stored.
const (
	noProgress byte = iota
	ofCounts
	ofChain
	ofValues
	ofHolders
	ofQuantity
)

func (p *progress) write(w *state.Writer) {
	switch {
	case p.counts != nil:
		w.U8(ofCounts)
		p.counts.write(w)
	case p.chain != nil:
		w.U8(ofChain)
		for _, l := range append(p.chain.at[:], p.chain.waiting) {
			w.I64(l.start)
			w.I64(l.last)
			w.U32(uint32(l.amount))
		}
	case p.values != nil:
		w.U8(ofValues)
		w.U32(p.values.n)
		w.B = p.values.seen.Append(w.B)
	case p.holders != nil:
		w.U8(ofHolders)
		w.B = p.holders.hosts.Append(w.B)
	case p.quantity != nil:
		w.U8(ofQuantity)
		p.quantity.write(w)
	default:
		w.U8(noProgress)
	}
}

func (p *progress) read(r *state.Reader) {
	switch r.U8() {
	case ofCounts:
		p.counts = readCounts(r)
	case ofChain:
		p.chain = &chain{}
		for i := range maxSteps + 1 {
			l := link{start: r.I64(), last: r.I64(), amount: int32(r.U32())}
			if i < maxSteps {
				p.chain.at[i] = l
			} else {
				p.chain.waiting = l
			}
		}
	case ofValues:
		p.values = &values{n: r.U32()}
		r.Decode(&p.values.seen)
	case ofHolders:
		p.holders = &holders{}
		r.Decode(&p.holders.hosts)
	case ofQuantity:
		p.quantity = readQuantity(r)
	default:
		r.Err = state.ErrRecord
	}
}

func (c *counts) write(w *state.Writer) {
	w.U32(uint32(len(c.times)))
	for _, t := range c.times {
		w.I64(t)
	}
	w.U32(uint32(len(c.seen)))
	hashes := make([]uint64, 0, len(c.seen))
	for h := range c.seen {
		hashes = append(hashes, h)
	}
	slices.Sort(hashes)
	for _, h := range hashes {
		w.U64(h)
		w.I64(c.seen[h])
	}
	w.Bool(c.sums != nil)
	if c.sums != nil {
		w.I64(c.bucket)
		for _, v := range c.sums {
			w.F64(v)
		}
	}
}

// maxStored bounds the lists of a record.
const maxStored = 1 << 16

func readCounts(r *state.Reader) *counts {
	c := &counts{}
	if n := r.U32(); n <= maxStored && int(n)*8 <= len(r.B) {
		for range n {
			c.times = append(c.times, r.I64())
		}
	} else {
		r.Err = state.ErrRecord
	}
	if n := r.U32(); n <= maxStored && int(n)*16 <= len(r.B) {
		if n > 0 {
			c.seen = make(map[uint64]int64, n)
		}
		for range n {
			h := r.U64()
			c.seen[h] = r.I64()
		}
	} else {
		r.Err = state.ErrRecord
	}
	if r.Bool() {
		c.bucket, c.sums = r.I64(), new([buckets]float64)
		for i := range c.sums {
			c.sums[i] = r.F64()
		}
	}
	return c
}

func (q *quantity) write(w *state.Writer) {
	w.I64(q.measure)
	w.F64(q.amount)
	w.B = q.distinct.Append(w.B)
	w.Bool(q.told)
	w.U32(q.learned)
	w.Bool(q.season != nil)
	if q.season != nil {
		w.B = q.season.Append(w.B)
	} else {
		w.B = q.level.Append(w.B)
	}
}

func readQuantity(r *state.Reader) *quantity {
	q := &quantity{measure: r.I64(), amount: r.F64()}
	r.Decode(&q.distinct)
	q.told, q.learned = r.Bool(), r.U32()
	if r.Bool() {
		q.season = &sketch.Seasonal{}
		r.Decode(q.season)
	} else {
		r.Decode(&q.level)
	}
	return q
}

// Restore takes a record back, if its case is the shard's. Records of rules that are
// gone, or that ask something else now, are ignored.
func (d *Detector) Restore(rec state.Record, owns func(hash uint64) bool) error {
	if len(rec.Value) == 0 {
		return nil
	}
	if n := len(rec.Key); n != 9 && n != 25 || rec.Key[0] != state.KindWatch {
		return state.ErrRecord
	}
	r := &state.Reader{B: rec.Value}
	r.Version(recordVersion)
	at, known := d.byVersion[binary.BigEndian.Uint64(rec.Key[1:])]
	if !known {
		return r.Err
	}
	if len(rec.Key) == 9 {
		began := r.I64()
		r.End()
		if r.Err == nil {
			if d.began[at] == 0 || began < d.began[at] {
				d.began[at] = began
			}
		}
		return r.Err
	}
	e := &entry{key: caseKey{binary.BigEndian.Uint64(rec.Key[9:]), binary.BigEndian.Uint64(rec.Key[17:])}, spec: int32(at)}
	d.read(r, e)
	if r.End(); r.Err != nil {
		return r.Err
	}
	if !e.progress.fits(d.specs[at].Kind) {
		return state.ErrRecord
	}
	if !d.ours(e, owns) {
		return nil
	}
	if known := d.cases[e.key]; known != nil { // it came late
		d.adopt(known, e)
		return nil
	}
	d.sequence++
	e.order = d.sequence
	d.cases[e.key] = e
	if e.until != 0 {
		d.due.push(timer{e.until, e.order, e.key})
	}
	return nil
}

// fits reports whether a case has what its kind needs.
func (p *progress) fits(k Kind) bool {
	return [NumKinds]bool{
		Threshold: p.counts != nil, Sequence: p.chain != nil, FirstSeen: p.values != nil, Rarity: p.holders != nil, Baseline: p.quantity != nil,
	}[k]
}

func (d *Detector) read(r *state.Reader, e *entry) {
	e.first, e.last, e.until = r.I64(), r.I64(), r.I64()
	e.from, e.to, e.vlan, e.inner = readHost(r), readHost(r), r.U16(), r.U16()
	e.severalFrom, e.severalTo = r.Bool(), r.Bool()
	for range r.Length(16) {
		e.subject = append(e.subject, r.Text())
	}
	for range r.Length(maxSamples) {
		e.samples = append(e.samples, r.Sample())
	}
	for range r.Length(255) {
		e.fields = append(e.fields, event.Field{Name: r.Text(), Value: r.Text()})
	}
	if r.Bool() {
		e.episode = readEpisode(r)
	}
	e.progress.read(r)
}

// ours reports whether the shard owns a case: by the host that it is about, or by
// the case itself.
func (d *Detector) ours(e *entry, owns func(hash uint64) bool) bool {
	switch d.specs[e.spec].owner() {
	case Originator:
		return owns(event.HashAddr(e.from.Addr, e.vlan, e.inner))
	case Responder:
		return owns(event.HashAddr(e.to.Addr, e.vlan, e.inner))
	}
	return owns(e.key.hi)
}
