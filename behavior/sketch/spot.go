package sketch

import (
	"encoding/binary"
	"math"
	"slices"
)

const (
	spotForm = 1

	maxPeaks    = 128
	minPeaks    = 16             // fewer say nothing about the tail: it is learned anew
	calibration = 1000           // scores before there is a threshold
	ageAt       = 512 * maxPeaks // scores; then the older half loses half of its weight
	spotSlack   = 2              // times what the rate expects, and so many more, are learned
	spotClip    = 2              // times the threshold's height above the level count at most
	spotLeak    = 100            // more than one score in so many is not rare
	spotOpen    = 10000          // so many scores are then learned, whatever they are
	maxRate     = 1. / 1000
	minRate     = 1e-7
)

// SPOT turns a target rate of false findings into a threshold for a score: streaming
// peaks over threshold (Siffer et al., "Anomaly detection in streams with extreme
// value theory", 2017). Of n scores the k largest lie above a level; by how much is
// distributed as a generalised Pareto (Pickands 1975), whose shape gamma and scale
// sigma give the score that a share q exceeds:
//
//	level + sigma/gamma ((q n/k)^-gamma - 1), or level - sigma log(q n/k) for gamma 0.
//
// It differs from the paper in order to merge, to stay bounded, and to keep the rate:
//   - The level is not fixed by the first scores, but the 129th largest of all: a
//     summary that merges and does not depend on the order.
//   - The paper does not learn what exceeds the threshold. That cuts the tail off,
//     lowers the threshold, and cuts off more: with so few peaks, 5 to 9 times as many
//     scores exceeded it as should (measured). Here as many are learned as twice the
//     rate expects, each as at most twice as high above the level as the threshold;
//     what an attack adds to them is not. When one score in a hundred was refused, the
//     scores have changed, and the next 10,000 are learned, whatever they are.
//   - The fit is by probability-weighted moments (Hosking and Wallis, "Parameter and
//     quantile estimation for the generalized Pareto distribution", 1987) instead of
//     Grimshaw's search for the largest likelihood: no iteration, and better for so
//     few peaks.
//   - Every 65,536 scores the past loses half of its weight.
//
// The zero SPOT is empty. It takes 544 bytes: it is meant for scores of a kind, and
// for entities of which there are few.
type SPOT struct {
	n            uint32 // scores that were learned
	taken        uint32 // of them, those that exceeded the threshold
	refused      uint32 // scores that were not learned
	open         uint16 // so many scores more are learned
	level        float32
	gamma, sigma float32
	k            uint8
	levelled     bool // the level holds: before, all scores are peaks
	fitted       bool // gamma and sigma are those of the peaks
	odd          bool // which half of the peaks is dropped next
	peaks        [maxPeaks]float32
}

// Threshold returns the score that a share rate of all (from 1e-7 to 1e-3) exceed. It
// is infinite, and not ok, before 1,000 scores were learned.
func (s *SPOT) Threshold(rate float64) (threshold float64, ok bool) {
	if s.n < calibration || s.k < minPeaks {
		return math.Inf(1), false
	}
	s.fit()
	tail := min(bounded(rate)*float64(s.n)/float64(s.k), 1)
	gamma, sigma := float64(s.gamma), float64(s.sigma)
	if math.Abs(gamma) < 1e-6 {
		return float64(s.level) - sigma*math.Log(tail), true
	}
	return float64(s.level) + sigma/gamma*math.Expm1(-gamma*math.Log(tail)), true
}

// Largest returns the largest score that was learned; 0 if none was.
func (s *SPOT) Largest() float64 {
	if s.k == 0 {
		return 0
	}
	return float64(s.peaks[s.k-1])
}

func bounded(rate float64) float64 { return min(max(rate, minRate), maxRate) }

// fit finds gamma and sigma by the first two probability-weighted moments of the
// excesses y in ascending order, a0 = mean(y) and a1 = mean(y (1 - (j-0.35)/k)):
// gamma = 2 - a0/(a0-2 a1), sigma = a0 (1-gamma). Gamma is kept from -1, a tail that
// ends at once, to 0.5, above which the method does not hold.
func (s *SPOT) fit() {
	if s.fitted {
		return
	}
	var a0, a1 float64
	k := float64(s.k)
	for j, x := range s.peaks[:s.k] {
		y := float64(x) - float64(s.level)
		a0 += y / k
		a1 += y / k * (1 - (float64(j)+0.65)/k)
	}
	gamma := 0.0
	if d := a0 - 2*a1; d > 0 {
		gamma = min(max(2-a0/d, -1), 0.5)
	}
	s.gamma, s.sigma, s.fitted = float32(gamma), float32(a0*(1-gamma)), true
}

// Add learns a score unless it exceeds the threshold for the rate, and reports whether
// it does. NaN is not learned, and what is beyond ±1e18 counts as that.
func (s *SPOT) Add(score, rate float64) (exceeds bool) {
	if math.IsNaN(score) {
		return false
	}
	score = min(max(score, -maxValue), maxValue)
	if score > float64(s.level) || !s.levelled {
		threshold, ok := s.Threshold(rate)
		if exceeds = ok && score > threshold; exceeds {
			if !s.takes(rate) {
				s.refuse()
				return true
			}
			if s.open == 0 {
				s.taken++
			}
			level := float64(s.level)
			score = min(score, level+spotClip*(threshold-level))
		}
	}
	s.learn(float32(score))
	return exceeds
}

// takes reports whether one more score that exceeds the threshold is to be learned.
func (s *SPOT) takes(rate float64) bool {
	return s.open > 0 || float64(s.taken) < spotSlack+spotSlack*bounded(rate)*float64(s.n)
}

func (s *SPOT) refuse() {
	if s.refused++; s.refused >= 8+s.n/spotLeak {
		s.refused, s.taken, s.open = 0, 0, spotOpen
	}
}

func (s *SPOT) learn(x float32) {
	if s.open > 0 {
		s.open--
	}
	if s.n++; s.n >= ageAt {
		s.age()
	}
	if s.levelled && x <= s.level {
		return
	}
	i, _ := slices.BinarySearch(s.peaks[:s.k], x)
	s.fitted = false
	if s.k < maxPeaks {
		copy(s.peaks[i+1:s.k+1], s.peaks[i:s.k])
		s.peaks[i] = x
		s.k++
		return
	}
	s.levelled = true
	if i == 0 {
		s.level = x
		return
	}
	s.level = s.peaks[0]
	copy(s.peaks[:i-1], s.peaks[1:i])
	s.peaks[i-1] = x
}

// age halves the weight of the past: of the scores, and of the peaks every other one.
func (s *SPOT) age() {
	kept := s.peaks[:0]
	for i := range s.k {
		if (i%2 == 1) == s.odd {
			kept = append(kept, s.peaks[i])
		}
	}
	s.k = uint8(len(kept))
	s.n /= 2
	s.taken /= 2
	s.refused /= 2
	s.odd = !s.odd
	s.fitted = false
	if s.k < minPeaks {
		*s = SPOT{}
	}
}

// Merge makes s the summary of the scores of both, aged until they count for 65,536
// at most. It commutes, and is exact for what both learned; but each has left out
// what exceeded its own threshold. It is not idempotent.
func (s *SPOT) Merge(o *SPOT) {
	a, b := *s, *o
	for a.n+b.n > ageAt {
		an, bn := a.n, b.n
		if an >= bn {
			a.age()
		}
		if bn >= an {
			b.age()
		}
	}
	m := SPOT{n: a.n + b.n, taken: a.taken + b.taken, refused: a.refused + b.refused, open: max(a.open, b.open), levelled: a.levelled || b.levelled, odd: a.odd != b.odd}
	switch {
	case a.levelled && b.levelled:
		m.level = max(a.level, b.level)
	case a.levelled:
		m.level = a.level
	case b.levelled:
		m.level = b.level
	}
	var all [2 * maxPeaks]float32
	peaks := append(append(all[:0], a.peaks[:a.k]...), b.peaks[:b.k]...)
	slices.Sort(peaks)
	if m.levelled { // what is below was not kept by both
		i, _ := slices.BinarySearch(peaks, m.level)
		peaks = peaks[i:]
	}
	if drop := len(peaks) - maxPeaks; drop > 0 {
		m.level, m.levelled = peaks[drop-1], true
		peaks = peaks[drop:]
	}
	m.k = uint8(copy(m.peaks[:], peaks))
	*s = m
}

// Append appends the serial form, of at most 533 bytes, to dst.
func (s *SPOT) Append(dst []byte) []byte {
	flags := byte(0)
	if s.levelled {
		flags |= 1
	}
	if s.odd {
		flags |= 2
	}
	dst = append(dst, spotForm, flags, s.k)
	for _, n := range [...]uint32{s.n, s.taken, s.refused} {
		dst = binary.LittleEndian.AppendUint32(dst, n)
	}
	dst = binary.LittleEndian.AppendUint16(dst, s.open)
	dst = appendFloat(dst, s.level)
	for _, x := range s.peaks[:s.k] {
		dst = appendFloat(dst, x)
	}
	return dst
}

// Decode reads what Append wrote from the front of b, and returns the rest.
func (s *SPOT) Decode(b []byte) (rest []byte, err error) {
	r := read(b, spotForm)
	flags := r.byte()
	v := SPOT{levelled: flags&1 != 0, odd: flags&2 != 0, k: r.byte(), n: r.uint32(), taken: r.uint32(), refused: r.uint32()}
	v.open = r.uint16()
	v.level = r.float(-maxValue, maxValue)
	r.check(flags < 4 && v.k <= maxPeaks && uint32(v.k) <= v.n && v.n <= ageAt && v.taken <= v.n && v.refused <= ageAt && v.open <= spotOpen)
	low := float32(-maxValue)
	if v.levelled {
		low = v.level
	}
	for i := 0; i < int(v.k) && !r.bad; i++ {
		v.peaks[i] = r.float(low, maxValue)
		low = v.peaks[i]
	}
	rest, err = r.end()
	if *s = v; err != nil {
		*s = SPOT{}
	}
	return rest, err
}
