package sketch

import (
	"encoding/binary"
	"math"
	"slices"
)

const (
	quantilesForm = 1

	// relativeError of a quantile.
	relativeError = 0.05
	maxBuckets    = 512
	// Values below smallest count as 0; above largest, as that. The buckets of
	// largest and of 1/1,000 lie less than maxBuckets apart, so that no lie about a
	// size can make sizes of 1 and more collapse.
	smallest = 1e-9
	largest  = 1 << 64
	minIndex = -208
	maxIndex = 444
)

// logGamma is the width of a bucket: gamma = (1+e)/(1-e) for a relative error e.
var logGamma = math.Log1p(relativeError) - math.Log1p(-relativeError)

// Quantiles estimates the quantiles of values that are not negative, each within 5 %
// of the exact one: a DDSketch (Masson, Rim and Lee, "DDSketch: a fast and
// fully-mergeable quantile sketch with relative-error guarantees", 2019) of at most
// 512 buckets. Bucket i counts the values in (gamma^(i-1), gamma^i]. When more
// buckets are needed, as for values 10^22 apart, the lowest are collapsed into one,
// and quantiles down there come out too high.
//
// The zero Quantiles is empty. It takes 32 bytes, and 4 for each bucket from the
// lowest value to the highest, which makes 92 a factor of ten and 2 KiB at most.
type Quantiles struct {
	counts []uint32 // of base and up; the first and last may be 0
	base   int16
	zeros  uint32
}

// Add counts a value. What is negative counts as 0, and NaN not at all. It allocates
// while the range of the values grows, not after. Counts end at 4,294,967,295 for a
// bucket.
func (q *Quantiles) Add(x float64) {
	switch {
	case math.IsNaN(x):
	case x < smallest:
		q.zeros = saturate(q.zeros, 1)
	default:
		q.add(int(math.Ceil(math.Log(min(x, largest))/logGamma)), 1)
	}
}

func saturate(a, b uint32) uint32 {
	return uint32(min(uint64(a)+uint64(b), math.MaxUint32))
}

func (q *Quantiles) add(index int, n uint32) {
	if i := index - int(q.base); i < 0 || i >= len(q.counts) {
		index = q.reach(index)
	}
	c := &q.counts[index-int(q.base)]
	*c = saturate(*c, n)
}

// reach makes room for a bucket, and returns which to use: the lowest that is left,
// if it would lie maxBuckets below the highest.
func (q *Quantiles) reach(index int) int {
	low, high := index, index
	if len(q.counts) > 0 {
		low, high = min(low, int(q.base)), max(high, q.highest())
	}
	low = max(low, high-maxBuckets+1)
	index = max(index, low)
	old, base := q.counts, int(q.base)
	if len(old) > 0 && index >= base && index < base+len(old) {
		return index
	}
	// A few buckets more on the side that grows, as the next value may be near.
	if index > base {
		high = min(high+3, max(high, low+maxBuckets-1))
	} else {
		low = max(low-3, min(low, high-maxBuckets+1))
	}
	q.counts, q.base = make([]uint32, high-low+1), int16(low)
	for i, n := range old {
		if n > 0 {
			c := &q.counts[max(base+i-low, 0)]
			*c = saturate(*c, n)
		}
	}
	return index
}

// highest is the highest bucket that counted something.
func (q *Quantiles) highest() int {
	for i := len(q.counts) - 1; i > 0; i-- {
		if q.counts[i] > 0 {
			return int(q.base) + i
		}
	}
	return int(q.base)
}

// Count returns how many values were counted.
func (q *Quantiles) Count() uint64 {
	n := uint64(q.zeros)
	for _, c := range q.counts {
		n += uint64(c)
	}
	return n
}

// Quantile returns the value that a share p of all (0 to 1) do not exceed: an
// estimate of the one at rank p(n-1) from below, rounded down. It is 0 of none.
func (q *Quantiles) Quantile(p float64) float64 {
	n := q.Count()
	if n == 0 || math.IsNaN(p) {
		return 0
	}
	rank := uint64(min(max(p, 0), 1) * float64(n-1))
	below := uint64(q.zeros)
	if rank < below {
		return 0
	}
	for i, c := range q.counts {
		if below += uint64(c); rank < below {
			return bucketValue(int(q.base) + i)
		}
	}
	return bucketValue(q.highest())
}

// bucketValue is within the relative error of all that a bucket counts:
// 2 gamma^i / (gamma+1).
func bucketValue(index int) float64 {
	return math.Exp(float64(index)*logGamma) * (1 - relativeError)
}

// Merge makes q the sketch of the values of both. It is exactly that, and commutes;
// it is not idempotent, since values do not tell who counted them.
func (q *Quantiles) Merge(o *Quantiles) {
	q.zeros = saturate(q.zeros, o.zeros)
	for i, n := range slices.Backward(o.counts) { // the highest first: one growth
		if n > 0 {
			q.add(int(o.base)+i, n)
		}
	}
}

// Bytes returns how much memory the buckets take.
func (q *Quantiles) Bytes() int { return 4 * cap(q.counts) }

// Append appends the serial form, of at most 4 KiB, to dst. Equal sketches have equal
// forms, in whatever order their values came.
func (q *Quantiles) Append(dst []byte) []byte {
	dst = binary.AppendUvarint(append(dst, quantilesForm), uint64(q.zeros))
	n := 0
	for _, c := range q.counts {
		if c > 0 {
			n++
		}
	}
	dst = binary.AppendUvarint(dst, uint64(n))
	last := minIndex - 1
	for i, c := range q.counts {
		if c > 0 {
			index := int(q.base) + i
			dst = binary.AppendUvarint(dst, uint64(index-last-1))
			dst = binary.AppendUvarint(dst, uint64(c))
			last = index
		}
	}
	return dst
}

// Decode reads what Append wrote from the front of b, and returns the rest.
func (q *Quantiles) Decode(b []byte) (rest []byte, err error) {
	*q = Quantiles{}
	r := read(b, quantilesForm)
	v := Quantiles{zeros: uint32(r.number(math.MaxUint32))}
	n := int(r.number(maxBuckets))
	index, first := minIndex-1, 0
	for i := range n {
		index += 1 + int(r.number(maxIndex-minIndex))
		count := uint32(r.number(math.MaxUint32))
		if i == 0 {
			first = index
		}
		r.check(count > 0 && index <= maxIndex && index-first < maxBuckets)
		if r.bad {
			break
		}
		v.add(index, count)
	}
	if rest, err = r.end(); err == nil {
		*q = v
	}
	return rest, err
}
