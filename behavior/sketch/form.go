package sketch

import (
	"encoding/binary"
	"math"
	"time"
)

// appendFloat appends the four bytes of v.
func appendFloat(dst []byte, v float32) []byte {
	return binary.LittleEndian.AppendUint32(dst, math.Float32bits(v))
}

// reader takes a serial form apart. What it returns after the first error is zero.
type reader struct {
	b   []byte
	bad bool
}

// read begins with the byte that says which form it is.
func read(b []byte, form byte) *reader {
	r := &reader{b: b}
	r.check(r.byte() == form)
	return r
}

// check says that a form is corrupt unless ok.
func (r *reader) check(ok bool) {
	r.bad = r.bad || !ok
}

func (r *reader) take(n int) []byte {
	if r.bad || len(r.b) < n {
		r.bad = true
		return make([]byte, n)
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) byte() byte     { return r.take(1)[0] }
func (r *reader) uint16() uint16 { return binary.LittleEndian.Uint16(r.take(2)) }
func (r *reader) uint32() uint32 { return binary.LittleEndian.Uint32(r.take(4)) }
func (r *reader) uint64() uint64 { return binary.LittleEndian.Uint64(r.take(8)) }

// float reads a number from low to high: nothing else, and no NaN.
func (r *reader) float(low, high float32) float32 {
	v := math.Float32frombits(r.uint32())
	r.check(low <= v && v <= high)
	return v
}

// end returns what follows the form.
func (r *reader) end() (rest []byte, err error) {
	if r.bad {
		return nil, ErrCorrupt
	}
	return r.b, nil
}

// seconds is a time in Unix nanoseconds as whole seconds, as far as they fit.
func seconds(now int64) uint32 {
	return uint32(min(max(now/int64(time.Second), 0), math.MaxUint32))
}
