// Package sketch holds the bounded summaries that baselines are made of. Each
// merges with another of its kind, and has a versioned, bounded serial form.
package sketch

import (
	"encoding/binary"
	"errors"
	"math"
	"math/bits"
	"slices"
)

const (
	exactSize    = 64 // below this many, a Distinct is exact
	precision    = 8
	numRegisters = 1 << precision

	formExact     = 1
	formRegisters = 2
)

// ErrCorrupt is returned for a serial form that this package did not write.
var ErrCorrupt = errors.New("sketch: not a serialised sketch of a known version")

// Distinct counts distinct hashes: exactly below 64, then as a HyperLogLog with
// 256 registers, whose standard error is 1.04/sqrt(256) = 6.5 % (Flajolet et al.,
// "HyperLogLog", 2007). The zero Distinct is empty.
type Distinct struct {
	exact     []uint64 // sorted; nil once registers are in use
	registers []uint8
}

// Add counts a hash, whose bits must be evenly spread. It reports whether the
// estimate may have changed. It allocates while the sketch grows, not after.
func (d *Distinct) Add(hash uint64) bool {
	if d.registers != nil {
		return d.register(hash)
	}
	i, found := slices.BinarySearch(d.exact, hash)
	if found {
		return false
	}
	if len(d.exact) < exactSize-1 {
		d.exact = slices.Insert(d.exact, i, hash)
		return true
	}
	d.spill()
	d.register(hash)
	return true
}

// spill turns the exact form into registers.
func (d *Distinct) spill() {
	d.registers = make([]uint8, numRegisters)
	for _, h := range d.exact {
		d.register(h)
	}
	d.exact = nil
}

func (d *Distinct) register(hash uint64) bool {
	i := hash >> (64 - precision)
	rank := uint8(bits.LeadingZeros64(hash<<precision|1<<(precision-1)) + 1)
	if rank <= d.registers[i] {
		return false
	}
	d.registers[i] = rank
	return true
}

// Count returns the estimate.
func (d *Distinct) Count() float64 {
	if d.registers == nil {
		return float64(len(d.exact))
	}
	sum, zeros := 0.0, 0
	for _, r := range d.registers {
		sum += math.Float64frombits(uint64(1023-int(r)) << 52) // 2^-r
		if r == 0 {
			zeros++
		}
	}
	const m = numRegisters
	alpha := 0.7213 / (1 + 1.079/float64(m))
	e := alpha * m * m / sum
	if e <= 2.5*m && zeros > 0 { // linear counting, as in the paper
		e = m * math.Log(m/float64(zeros))
	}
	return e
}

// Merge makes d the sketch of the union of both.
func (d *Distinct) Merge(o *Distinct) {
	if o.registers == nil {
		for _, h := range o.exact {
			d.Add(h)
		}
		return
	}
	if d.registers == nil {
		d.spill()
	}
	for i, r := range o.registers {
		d.registers[i] = max(d.registers[i], r)
	}
}

// Append appends the serial form, of at most 513 bytes, to dst.
func (d *Distinct) Append(dst []byte) []byte {
	if d.registers != nil {
		return append(append(dst, formRegisters), d.registers...)
	}
	dst = append(dst, formExact, byte(len(d.exact)))
	for _, h := range d.exact {
		dst = binary.LittleEndian.AppendUint64(dst, h)
	}
	return dst
}

// Decode reads what Append wrote from the front of b, and returns the rest.
func (d *Distinct) Decode(b []byte) (rest []byte, err error) {
	*d = Distinct{}
	switch {
	case len(b) > numRegisters && b[0] == formRegisters:
		d.registers = slices.Clone(b[1 : 1+numRegisters])
		for _, r := range d.registers {
			if r > 64-precision+1 {
				return nil, ErrCorrupt
			}
		}
		return b[1+numRegisters:], nil
	case len(b) >= 2 && b[0] == formExact && b[1] < exactSize && len(b) >= 2+8*int(b[1]):
		n := int(b[1])
		b = b[2:]
		for i := range n {
			d.exact = append(d.exact, binary.LittleEndian.Uint64(b[8*i:]))
			if i > 0 && d.exact[i] <= d.exact[i-1] {
				return nil, ErrCorrupt
			}
		}
		return b[8*n:], nil
	}
	return nil, ErrCorrupt
}

// Forget takes a hash out as long as the sketch is exact, and reports whether it was in.
// Registers do not say whose they are.
func (d *Distinct) Forget(hash uint64) bool {
	i, found := slices.BinarySearch(d.exact, hash)
	if found {
		d.exact = slices.Delete(d.exact, i, i+1)
	}
	return found
}
