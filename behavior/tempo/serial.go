package tempo

import (
	"encoding/binary"
	"errors"
	"math"
)

// ErrCorrupt is returned for a serial form that Append did not write.
var ErrCorrupt = errors.New("tempo: not a serialised track")

// MaxAppended bounds what Append appends, in bytes; 90 to 350 are usual, 500 after a long
// irregular life.
const MaxAppended = 4*(2+3*numBins) + 2 + 3*numSizes + weekHours/8 + ringSize*2*binary.MaxVarintLen32 + 12*binary.MaxVarintLen64

// Append appends the serial form to dst. The caller keeps the version of the form.
func (t *Track) Append(dst []byte) []byte {
	dst = append(dst, t.held, t.timers)
	dst = binary.LittleEndian.AppendUint16(dst, t.heads)
	for _, v := range [...]uint32{t.sessions, t.starts, t.look, t.dropped} {
		dst = binary.AppendUvarint(dst, uint64(v))
	}
	dst = binary.AppendVarint(dst, t.newest)
	for _, v := range [...]int64{t.first, t.last, t.head} {
		dst = binary.AppendVarint(dst, v-t.newest)
	}
	for i := range t.held {
		dst = binary.AppendUvarint(dst, uint64(t.since[i]))
		dst = binary.AppendUvarint(dst, uint64(t.bytes[i]))
	}
	var buf past
	p := t.counts(&buf)
	dst = append(dst, p.week[:]...)
	for i := range p.lags {
		dst = appendCounts(dst, p.lags[i][:])
	}
	dst = appendCounts(dst, p.burst[:])
	return appendCounts(dst, p.sizes[:])
}

// A filled counter is a byte: how many empty ones lie before it, up to 15, and how
// much more than 1 it counts, up to 15. The rest of either follows as a varint.
func appendCounts(dst []byte, counts []uint8) []byte {
	filled := 0
	for _, c := range counts {
		if c > 0 {
			filled++
		}
	}
	dst = append(dst, byte(filled))
	empty := 0
	for _, c := range counts {
		if c == 0 {
			empty++
			continue
		}
		more := int(c) - 1
		dst = append(dst, byte(min(empty, 15)<<4|min(more, 15)))
		if empty >= 15 {
			dst = binary.AppendUvarint(dst, uint64(empty-15))
		}
		if more >= 15 {
			dst = binary.AppendUvarint(dst, uint64(more-15))
		}
		empty = 0
	}
	return dst
}

// decoder reads a serial form from the front. After the first error it reads zeros.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.bad = true
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

func (d *decoder) uvarint(most uint64) uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || v > most {
		d.b, d.bad = nil, true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.b, d.bad = nil, true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) uint32() uint32 { return uint32(d.uvarint(math.MaxUint32)) }

func (d *decoder) counts(counts []uint8) {
	at := -1
	for range d.byte() {
		c := d.byte()
		empty, more := uint64(c>>4), uint64(c&15)
		if empty == 15 {
			empty += d.uvarint(numBins)
		}
		if more == 15 {
			more += d.uvarint(counterMax)
		}
		if at += int(empty) + 1; at >= len(counts) || more >= counterMax {
			d.bad = true
		}
		if d.bad {
			return
		}
		counts[at] = uint8(more + 1)
	}
}

// Decode reads what Append wrote from the front of b, and returns the rest.
func (t *Track) Decode(b []byte) (rest []byte, err error) {
	*t = Track{}
	d := decoder{b: b}
	held := d.byte()
	t.timers = d.byte()
	t.heads = uint16(d.byte()) | uint16(d.byte())<<8
	for _, p := range [...]*uint32{&t.sessions, &t.starts, &t.look, &t.dropped} {
		*p = d.uint32()
	}
	t.newest = d.varint()
	for _, p := range [...]*int64{&t.first, &t.last, &t.head} {
		*p = t.newest + d.varint()
	}
	if held > ringSize {
		d.bad = true
		held = 0
	}
	t.held = held
	for i := range held {
		t.since[i], t.bytes[i] = d.uint32(), d.uint32()
	}
	p := new(past)
	for i := range p.week {
		p.week[i] = d.byte()
	}
	for i := range p.lags {
		d.counts(p.lags[i][:])
	}
	d.counts(p.burst[:])
	d.counts(p.sizes[:])
	t.past = p
	t.settle()
	if d.bad || !t.valid() {
		*t = Track{}
		return nil, ErrCorrupt
	}
	return d.b, nil
}

// valid reports whether a decoded Track is one that could have come to be.
func (t *Track) valid() bool {
	const far = int64(math.MaxInt64 / 1_000_000) // ms that fit into ns
	if t.held == 0 {
		return *t == Track{}
	}
	within := func(ms int64) bool { return ms >= -far && ms <= far }
	return t.sessions >= uint32(t.held) && t.starts >= t.sessions && t.since[0] == 0 && t.heads>>t.held == 0 &&
		within(t.first) && within(t.last) && within(t.newest) && within(t.head) && t.first <= t.newest && t.head <= t.newest && t.newest <= t.last
}
