package sketch

import (
	"encoding/binary"
	"math"
)

const (
	cusumForm = 1

	// Slack is what a CUSUM takes off each observation, in sigmas: half of the
	// shift that is to be found, which is one sigma.
	Slack = 0.5
	// Limit is the sum, in sigmas, from which a CUSUM is over. With Slack it takes
	// 930 observations on average until noise alone is, and 10 until a shift of one
	// sigma is (Siegmund, "Sequential Analysis", 1985).
	Limit = 5

	maxSum = 1e6
)

// CUSUM sums by how much observations are above normal: S = max(0, S + z - 0.5), over
// from 5 (Page, "Continuous inspection schemes", 1954). It finds a drift too slow for
// any single observation to stand out. The zero CUSUM is at rest. It takes 16 bytes.
type CUSUM struct {
	sum   float64
	start int64
}

// Add sums up z, in sigmas above normal, observed at now (Unix ns), and reports
// whether the sum is over.
func (c *CUSUM) Add(z float64, now int64) bool {
	if math.IsNaN(z) {
		return c.Over()
	}
	sum := min(max(c.sum+z-Slack, 0), maxSum)
	switch {
	case sum == 0:
		c.start = 0
	case c.sum == 0:
		c.start = now
	}
	c.sum = sum
	return c.Over()
}

// Over reports whether the sum is at Limit or above. It stays so until what is above
// normal has gone and the sum has drained, or until Reset.
func (c *CUSUM) Over() bool { return c.sum >= Limit }

// Sum is in sigmas, from 0 to 1e6.
func (c *CUSUM) Sum() float64 { return c.sum }

// Start is when the sum left zero (Unix ns): the likely beginning of the change. It
// is 0 at rest.
func (c *CUSUM) Start() int64 { return c.start }

// Reset puts the sum to rest, once what it found has been told.
func (c *CUSUM) Reset() { *c = CUSUM{} }

// Merge keeps the larger sum, of equal ones the one that began first. It commutes and
// is idempotent. It is not the sum of both's observations in time order, which cannot
// be had from two sums: a drift that each sensor saw only half of is found later.
func (c *CUSUM) Merge(o *CUSUM) {
	if o.sum > c.sum || o.sum == c.sum && o.start < c.start {
		*c = *o
	}
}

// Append appends the serial form, of 17 bytes, to dst.
func (c *CUSUM) Append(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint64(append(dst, cusumForm), math.Float64bits(c.sum))
	return binary.LittleEndian.AppendUint64(dst, uint64(c.start))
}

// Decode reads what Append wrote from the front of b, and returns the rest.
func (c *CUSUM) Decode(b []byte) (rest []byte, err error) {
	*c = CUSUM{}
	r := read(b, cusumForm)
	sum, start := math.Float64frombits(r.uint64()), int64(r.uint64())
	r.check(0 <= sum && sum <= maxSum && (sum > 0 || start == 0))
	if rest, err = r.end(); err == nil {
		*c = CUSUM{sum, start}
	}
	return rest, err
}
