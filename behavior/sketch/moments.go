package sketch

import (
	"encoding/binary"
	"math"
	"time"
)

const (
	momentsForm = 1

	maxValue    = 1e18 // of what is learned, either way: its square fits a float32
	maxVariance = 4 * maxValue * maxValue
	maxWeight   = 1 << 16 // the mean moves by 1/65,536 of a difference at least
	clipAt      = 3       // sigmas from the mean that an observation counts for (Huber)
	clipFrom    = 8       // observations: before, sigma is not known well enough to clip
	gate        = 100     // how much slower a baseline learns while suspicious
	leakAt      = 1 - 1/math.E
	leakSteps   = 8  // a suspicious observation speaks for tau/8 of time at most
	accepted    = 20 // observations that an accepted level rests on at most
)

// Pace is how a baseline learns. All baselines of a kind share one.
type Pace struct {
	Tau   time.Duration // an observation this old weighs 1/e of a new one
	Floor float64       // the smallest sigma, in units of what is observed
}

// Moments is the mean and variance of a quantity, with the past forgotten
// exponentially: an observation weighs exp(-age/tau). With w the weight of all
// before, an observation of weight g moves the mean by a = g/(w+g) of its distance.
// Where observations come dt apart, that becomes a = 1-exp(-dt/tau); before, it is
// 1/n, so that a young baseline is a plain mean (West, "Updating mean and variance
// estimates", 1979, with decayed weights).
//
// An observation counts for at most 3 sigma from the mean (Huber, "Robust estimation
// of a location parameter", 1964). While the caller calls the entity suspicious, time
// and weights count for a hundredth: a burst is not learned. The gate opens once
// suspicion has lasted for about tau, in eight observations at least, or when an
// analyst accepts it: what lasts is the new normal.
//
// The zero Moments is empty. It takes 24 bytes; times are kept in seconds.
type Moments struct {
	weight   float32
	mean     float32
	variance float32
	held     float32 // the level of what is suspicious: not learned, but remembered
	share    float32 // of the last tau that was suspicious; below 0 if now it is not
	time     uint32  // the last observation's, in Unix seconds
}

// Weight is how many observations, by their weights when the last one came, the mean
// rests on. It is at most 65,536.
func (m *Moments) Weight() float64 { return float64(m.weight) }

// Mean is the expected level.
func (m *Moments) Mean() float64 { return float64(m.mean) }

// Sigma is the standard deviation of the (clipped) population.
func (m *Moments) Sigma() float64 { return math.Sqrt(float64(m.variance)) }

// Score returns how many sigmas x is above the mean (negative: below), where sigma is
// floor at least. It is 0 while the baseline is empty. Score an observation before
// Update learns it.
func (m *Moments) Score(x, floor float64) float64 {
	if m.weight == 0 {
		return 0
	}
	return score(x, m.Mean(), m.Sigma(), floor)
}

func score(x, mean, sigma, floor float64) float64 {
	scale := max(sigma, floor)
	if scale == 0 || math.IsNaN(x) {
		return 0
	}
	return min(max((x-mean)/scale, -maxValue), maxValue)
}

// Update learns x, observed at now (Unix ns); suspicious closes the gate. An
// observation that comes late weighs what it would by now if it had come in time.
// NaN is not learned, and what is beyond ±1e18 counts as that.
func (m *Moments) Update(x float64, now int64, p Pace, suspicious bool) {
	if math.IsNaN(x) || p.Tau <= 0 {
		return
	}
	x = min(max(x, -maxValue), maxValue)
	t, gain, age := seconds(now), 1.0, 0.0 // age in taus
	if m.weight == 0 {
		*m = Moments{time: t}
	}
	if t < m.time {
		gain = p.decay(m.time - t)
	} else {
		age = float64(t-m.time) / p.Tau.Seconds()
		m.time = t
		m.hold(x, age, suspicious)
	}
	if suspicious && m.share < leakAt {
		gain /= gate
		age /= gate
	}
	w := float64(m.weight) * math.Exp(-age)
	if w >= clipFrom {
		reach := clipAt * max(m.Sigma(), p.Floor)
		x = min(max(x, m.Mean()-reach), m.Mean()+reach)
	}
	m.learn(x, w, gain)
}

// decay is the weight of what is so many seconds old.
func (p Pace) decay(seconds uint32) float64 {
	return math.Exp(-float64(seconds) / p.Tau.Seconds())
}

// learn adds an observation of weight gain to those of weight w.
func (m *Moments) learn(x, w, gain float64) {
	total := min(w+gain, maxWeight)
	if total < math.SmallestNonzeroFloat32 {
		return
	}
	a, d := min(gain/total, 1), x-m.Mean()
	m.weight = float32(total)
	m.mean = float32(m.Mean() + float64(a*d))
	m.variance = float32((1 - a) * (float64(m.variance) + float64(a*d*d)))
}

// hold remembers the level of what is suspicious, weighed by its time, and which
// share of the last tau was so. A new run of suspicion begins a new level.
func (m *Moments) hold(x, age float64, suspicious bool) {
	share := math.Abs(float64(m.share))
	if !suspicious {
		m.share = float32(-share * math.Exp(-age))
		return
	}
	// A single observation after a long silence must not open the gate.
	keep := math.Exp(-min(age, 1./leakSteps))
	if m.share <= 0 {
		m.held = float32(x)
	} else {
		// Within a run the level follows eight times faster than a baseline.
		a := 1 - math.Exp(-min(leakSteps*age, 1))
		m.held += float32(a * (x - float64(m.held)))
	}
	m.share = float32(max(share*keep+1-keep, math.SmallestNonzeroFloat32))
}

// Accept makes the level of what is suspicious now the mean, at once: an analyst says
// that it is normal. Sigma stays, and the mean rests on 20 observations at most, so
// that it soon follows what comes. It reports whether anything was suspicious when
// last observed.
func (m *Moments) Accept() bool {
	if m.share <= 0 {
		return false
	}
	m.mean, m.weight, m.share = m.held, min(max(m.weight, 1), accepted), 0
	return true
}

// Merge makes m the baseline of both's observations (Chan, Golub and LeVeque,
// "Updating formulae and a pairwise algorithm for computing sample variances", 1979),
// the older decayed to the time of the newer. It is exact but for float32, for what
// either clipped or gated, and for weights above the limit; it commutes. Merging a
// baseline with itself doubles its weight and changes nothing else.
func (m *Moments) Merge(o *Moments, p Pace) {
	if o.weight == 0 || p.Tau <= 0 {
		return
	}
	if m.weight == 0 {
		*m = *o
		return
	}
	last := max(m.time, o.time)
	w, v := float64(m.weight)*p.decay(last-m.time), float64(o.weight)*p.decay(last-o.time)
	m.mergeHeld(o)
	m.time = last
	total := w + v
	if total < math.SmallestNonzeroFloat32 {
		return
	}
	// The conversions keep the compiler from fusing one product with the sum,
	// which would make the result depend on the order.
	d, a, b := m.Mean()-o.Mean(), w/total, v/total
	m.mean = float32(float64(a*m.Mean()) + float64(b*o.Mean()))
	m.variance = float32(float64(a*float64(m.variance)) + float64(b*float64(o.variance)) + float64(a*b)*float64(d*d))
	m.weight = float32(min(total, maxWeight))
}

// mergeHeld takes the longer suspicion, and the levels by their shares: one sensor's
// suspicion does not lengthen the other's, as both may have seen the same.
func (m *Moments) mergeHeld(o *Moments) {
	s, q := max(m.share, 0), max(o.share, 0)
	switch {
	case s > 0 || q > 0:
		a, b := float64(s)/(float64(s)+float64(q)), float64(q)/(float64(s)+float64(q))
		m.held = float32(float64(a*float64(m.held)) + float64(b*float64(o.held)))
		m.share = max(s, q)
	default:
		m.held, m.share = 0, min(m.share, o.share)
	}
}

// Append appends the serial form, of 25 bytes, to dst.
func (m *Moments) Append(dst []byte) []byte {
	return m.append(append(dst, momentsForm))
}

func (m *Moments) append(dst []byte) []byte {
	for _, v := range [...]float32{m.weight, m.mean, m.variance, m.held, m.share} {
		dst = appendFloat(dst, v)
	}
	return binary.LittleEndian.AppendUint32(dst, m.time)
}

// Decode reads what Append wrote from the front of b, and returns the rest.
func (m *Moments) Decode(b []byte) (rest []byte, err error) {
	r := read(b, momentsForm)
	v := r.moments()
	rest, err = r.end()
	if *m = v; err != nil {
		*m = Moments{}
	}
	return rest, err
}

func (r *reader) moments() Moments {
	m := Moments{
		weight:   r.float(0, maxWeight),
		mean:     r.float(-maxValue, maxValue),
		variance: r.float(0, maxVariance),
		held:     r.float(-maxValue, maxValue),
		share:    r.float(-1, 1),
		time:     r.uint32(),
	}
	r.check(m.weight > 0 || m == Moments{})
	return m
}
