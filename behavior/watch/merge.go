package watch

import (
	"bytes"
	"cmp"
	"math"
	"slices"

	"tidewatch/behavior/state"
)

// Merge returns what two sensors know of one case together, or when the first of them
// saw a rule's first record. It commutes. Values, hosts and the times of records count
// once; a sum over time is the larger of both, since nobody knows what both have seen.
func Merge(a, b state.Record) (state.Record, error) {
	n := len(a.Key)
	if n != 9 && n != 25 || a.Key[0] != state.KindWatch || !bytes.Equal(a.Key, b.Key) {
		return state.Record{}, state.ErrRecord
	}
	x, y := &state.Reader{B: a.Value}, &state.Reader{B: b.Value}
	x.Version(recordVersion)
	y.Version(recordVersion)
	d := new(Detector)
	var value []byte
	if n == 9 {
		w := state.Writer{B: []byte{recordVersion}}
		w.I64(min(x.I64(), y.I64()))
		value = w.B
	} else {
		var e, o entry
		d.read(x, &e)
		d.read(y, &o)
		if x.Err == nil && y.Err == nil {
			if e.progress.kind() != o.progress.kind() {
				return state.Record{}, state.ErrRecord
			}
			e.merge(&o)
			value = d.write(&e)
		}
	}
	x.End()
	y.End()
	return state.Record{Key: a.Key, Value: value}, cmp.Or(x.Err, y.Err)
}

// kind says which kind of progress there is.
func (p *progress) kind() byte {
	switch {
	case p.counts != nil:
		return ofCounts
	case p.chain != nil:
		return ofChain
	case p.values != nil:
		return ofValues
	case p.holders != nil:
		return ofHolders
	case p.quantity != nil:
		return ofQuantity
	}
	return noProgress
}

// merge adds what another sensor knows of the case, which it takes over.
func (e *entry) merge(o *entry) {
	d := new(Detector)
	e.severalFrom = e.severalFrom || o.severalFrom || e.from.Addr != o.from.Addr
	e.severalTo = e.severalTo || o.severalTo || e.to.Addr != o.to.Addr
	port := e.to.Port
	if e.to.Addr == o.to.Addr && port != o.to.Port {
		port = 0
	}
	if cmp.Or(cmp.Compare(o.last, e.last), bytes.Compare(d.write(o), d.write(e))) > 0 {
		e.from, e.to, e.vlan, e.inner, e.subject, e.fields = o.from, o.to, o.vlan, o.inner, o.subject, o.fields
	}
	if !e.severalTo {
		e.to.Port = port
	}
	e.first, e.last, e.until = min(e.first, o.first), max(e.last, o.last), max(e.until, o.until)
	e.samples = state.MergeSamples(e.samples, o.samples, maxSamples)
	e.progress.merge(&o.progress)
	switch {
	case e.episode != nil && o.episode != nil:
		e.episode = e.episode.merged(o.episode)
	case o.episode != nil:
		e.episode = o.episode
	}
}

func (p *progress) merge(o *progress) {
	switch p.kind() {
	case ofCounts:
		p.counts.merge(o.counts)
	case ofChain:
		for i := range p.chain.at {
			p.chain.at[i] = p.chain.at[i].later(o.chain.at[i])
		}
		p.chain.waiting = p.chain.waiting.later(o.chain.waiting)
	case ofValues:
		same, _, _ := p.values.seen.Common(&o.values.seen)
		p.values.n = uint32(min(max(uint64(p.values.n)+uint64(o.values.n)-uint64(min(same, int(min(p.values.n, o.values.n)))), 0), math.MaxUint32))
		p.values.seen.Merge(&o.values.seen, remembers)
	case ofHolders:
		p.holders.hosts.Merge(&o.holders.hosts)
	case ofQuantity:
		p.quantity.merge(o.quantity)
	}
}

// later is the way that began last.
func (l link) later(o link) link {
	if cmp.Or(cmp.Compare(o.start, l.start), cmp.Compare(o.last, l.last), cmp.Compare(o.amount, l.amount)) > 0 {
		return o
	}
	return l
}

func (c *counts) merge(o *counts) {
	c.times = append(c.times, o.times...)
	slices.Sort(c.times)
	c.times = slices.Compact(c.times)
	c.times = c.times[max(len(c.times)-maxStored, 0):]
	for h, at := range o.seen {
		if was, ok := c.seen[h]; !ok || at > was {
			if c.seen == nil {
				c.seen = map[uint64]int64{}
			}
			c.seen[h] = at
		}
	}
	c.trimTo(maxStored)
	switch {
	case o.sums == nil:
	case c.sums == nil || o.bucket-c.bucket >= buckets:
		c.sums, c.bucket = o.sums, o.bucket
	case c.bucket-o.bucket >= buckets:
	default:
		newest := max(c.bucket, o.bucket)
		for at := newest - buckets + 1; at <= newest; at++ {
			i := uint64(at) % buckets
			c.sums[i] = max(c.at(at), o.at(at))
		}
		c.bucket = newest
	}
}

// at is what a bucket has counted.
func (c *counts) at(bucket int64) float64 {
	if bucket > c.bucket || c.bucket-bucket >= buckets {
		return 0
	}
	return c.sums[uint64(bucket)%buckets]
}

// trimTo forgets the values that were there longest ago.
func (c *counts) trimTo(size int) {
	if len(c.seen) <= size {
		return
	}
	times := make([]int64, 0, len(c.seen))
	for _, at := range c.seen {
		times = append(times, at)
	}
	slices.Sort(times)
	from := times[len(times)-size]
	for h, at := range c.seen {
		if at <= from {
			delete(c.seen, h)
		}
	}
}

func (q *quantity) merge(o *quantity) {
	switch {
	case o.measure > q.measure:
		q.measure, q.amount, q.distinct, q.told = o.measure, o.amount, o.distinct, o.told
	case o.measure == q.measure:
		q.amount, q.told = max(q.amount, o.amount), q.told || o.told
		q.distinct.Merge(&o.distinct)
	}
	q.learned = max(q.learned, o.learned)
	switch {
	case q.season != nil && o.season != nil:
		q.season.Merge(o.season, pace)
	case o.season != nil:
		q.season = o.season
	default:
		q.level.Merge(&o.level, pace)
	}
}

// merged is what two sensors told of one case.
func (p *episode) merged(o *episode) *episode {
	if cmp.Or(cmp.Compare(o.start, p.start), cmp.Compare(o.id, p.id)) < 0 {
		p, o = o, p
	}
	p.detected, p.last = min(p.detected, o.detected), max(p.last, o.last)
	p.amount, p.revision = max(p.amount, o.amount), max(p.revision, o.revision)
	p.distinct.Merge(&o.distinct)
	for i, seen := range o.sensors {
		p.sensors[i] = p.sensors[i] || seen
	}
	return p
}

// adopt makes the case what it was and what was stored of it.
func (d *Detector) adopt(e, stored *entry) {
	e.merge(stored)
	if e.until != 0 {
		d.due = slices.DeleteFunc(d.due, func(t timer) bool { return t.key == e.key })
		d.due.order()
		d.due.push(timer{e.until, e.order, e.key})
	}
	d.touch(e)
}
