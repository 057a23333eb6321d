package sketch

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

const (
	second = int64(time.Second)
	hour   = 3600 * second
	start  = 1_700_000_000 * second
)

// plain is a pace that neither clips nor has anything to gate.
var plain = Pace{Tau: 10 * time.Hour, Floor: 1e9}

func near(got, want, tolerance float64) bool {
	return math.Abs(got-want) <= tolerance*max(1, math.Abs(want))
}

type observation struct {
	x    float64
	time int64
}

func observations(r *rand.Rand, n int) []observation {
	os := make([]observation, n)
	for i := range os {
		os[i] = observation{20 + 3*r.NormFloat64(), start + r.Int64N(30*hour)}
	}
	return os
}

// exactMoments is the definition: weights by age, all in float64.
func exactMoments(os []observation, tau time.Duration) (weight, mean, sigma float64) {
	var last int64
	for _, o := range os {
		last = max(last, o.time)
	}
	of := func(o observation) float64 {
		return math.Exp(-float64(last/second-o.time/second) / tau.Seconds())
	}
	for _, o := range os {
		weight += of(o)
		mean += of(o) * o.x
	}
	mean /= weight
	for _, o := range os {
		sigma += of(o) * (o.x - mean) * (o.x - mean)
	}
	return weight, mean, math.Sqrt(sigma / weight)
}

// The moments are those of the definition, in whatever order observations come.
func TestMomentsMatchTheDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for n := 1; n < 3000; n += 1 + n/3 {
		os := observations(r, n)
		if n%2 == 0 {
			slices.SortFunc(os, func(a, b observation) int { return int(a.time - b.time) })
		}
		var m Moments
		for _, o := range os {
			m.Update(o.x, o.time, plain, false)
		}
		weight, mean, sigma := exactMoments(os, plain.Tau)
		if !near(m.Weight(), weight, 1e-4) || !near(m.Mean(), mean, 1e-5) || !near(m.Sigma(), sigma, 1e-3) {
			t.Errorf("of %d: weight %v, want %v; mean %v, want %v; sigma %v, want %v",
				n, m.Weight(), weight, m.Mean(), mean, m.Sigma(), sigma)
		}
	}
}

// The merge of two is what one would have learned of all, whichever is merged into
// which.
func TestMomentsMerge(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for range 200 {
		os := observations(r, 1+r.IntN(300))
		var a, b Moments
		for _, o := range os {
			side := &a
			if o.x > 20 && r.IntN(3) > 0 { // two sensors that see different things
				side = &b
			}
			side.Update(o.x, o.time, plain, false)
		}
		ab, ba := a, b
		ab.Merge(&b, plain)
		ba.Merge(&a, plain)
		if ab != ba {
			t.Fatalf("%+v one way, %+v the other", ab, ba)
		}
		weight, mean, sigma := exactMoments(os, plain.Tau)
		if !near(ab.Weight(), weight, 1e-4) || !near(ab.Mean(), mean, 1e-5) || !near(ab.Sigma(), sigma, 1e-3) {
			t.Fatalf("weight %v, want %v; mean %v, want %v; sigma %v, want %v",
				ab.Weight(), weight, ab.Mean(), mean, ab.Sigma(), sigma)
		}
		self := a
		self.Merge(&a, plain)
		if self.Weight() != 2*a.Weight() || !near(self.Mean(), a.Mean(), 1e-6) || !near(self.Sigma(), a.Sigma(), 1e-6) {
			t.Fatalf("merged with itself %+v, was %+v", self, a)
		}
	}
}

func TestMomentsScore(t *testing.T) {
	var m Moments
	if z := m.Score(100, 1); z != 0 {
		t.Errorf("an empty baseline gives %v", z)
	}
	for i := range int64(1000) {
		m.Update(10+2*float64(i%2*2-1), start+i*second, plain, false) // 8 and 12
	}
	f := func(x, floor, want float64) {
		t.Helper()
		if z := m.Score(x, floor); !near(z, want, 1e-3) {
			t.Errorf("%v with floor %v scores %v, want %v", x, floor, z, want)
		}
	}
	f(10, 0.5, 0)
	f(16, 0.5, 3)
	f(4, 0.5, -3)
	f(16, 6, 1)
	f(math.NaN(), 1, 0)
	f(math.Inf(1), 1, 1e18)
}

// One absurd observation moves the mean by three sigmas' worth at most.
func TestMomentsClip(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	p := Pace{Tau: 100 * time.Hour, Floor: 0.5}
	f := func(x float64, moves bool) {
		t.Helper()
		var m Moments
		for i := range int64(500) {
			m.Update(10+r.NormFloat64(), start+i*hour, p, false)
		}
		before := m
		m.Update(x, start+500*hour, p, false)
		limit := clipAt * before.Sigma() / before.Weight() * 1.01
		if d := math.Abs(m.Mean() - before.Mean()); d > limit || (d > 0) != moves {
			t.Errorf("%v moved the mean by %v, limit %v", x, d, limit)
		}
		if math.IsNaN(m.Sigma()) || m.Sigma() > 1.2*before.Sigma() {
			t.Errorf("%v made sigma %v, was %v", x, m.Sigma(), before.Sigma())
		}
	}
	f(1e6, true)
	f(-1e300, true)
	f(math.Inf(1), true)
	f(math.NaN(), false)
}

// A level that lasts is learned after about tau although it is suspicious; a burst
// of a tenth of tau is not; and a single observation after a silence opens nothing.
func TestMomentsLeak(t *testing.T) {
	p := Pace{Tau: 240 * time.Hour, Floor: 0.5}
	learned := func(hours, every int64) float64 {
		var m Moments
		now := start
		for range 1000 {
			now += hour
			m.Update(2, now, p, false)
		}
		for range hours / every {
			now += every * hour
			m.Update(10, now, p, m.Score(10, p.Floor) > 3)
		}
		return (m.Mean() - 2) / 8
	}
	f := func(hours, every int64, low, high float64) {
		t.Helper()
		if got := learned(hours, every); got < low || got > high {
			t.Errorf("after %d h, one each %d h, %.1f %% are learned, want %.1f to %.1f", hours, every, 100*got, 100*low, 100*high)
		}
	}
	f(24, 1, 0, 0.001)
	f(230, 1, 0, 0.02)
	f(2*240, 1, 0.3, 0.95)
	f(3*240, 1, 0.8, 1)
	f(24000, 24000, 0, 0.8) // the old level has all but gone: not by the gate
	f(2400, 2400, 0, 0.001)
}

// What an analyst calls normal is the level at once, whatever came before; when
// nothing is suspicious nothing is accepted.
func TestMomentsAccept(t *testing.T) {
	p := Pace{Tau: 240 * time.Hour, Floor: 0.5}
	var m Moments
	now := start
	steady := func(x float64, n int, suspicious bool) {
		for range n {
			now += hour
			m.Update(x, now, p, suspicious)
		}
	}
	steady(2, 500, false)
	if m.Accept() {
		t.Error("accepted although nothing is suspicious")
	}
	steady(20, 10, true) // an earlier burst, over
	steady(2, 10, false)
	if m.Accept() || !near(m.Mean(), 2, 0.01) {
		t.Errorf("accepted a burst that is over; mean %v", m.Mean())
	}
	steady(9, 3, true)
	if z := m.Score(9, p.Floor); z < 10 {
		t.Errorf("the burst scores %v before it is accepted", z)
	}
	if !m.Accept() || !near(m.Mean(), 9, 0.01) || m.Weight() > accepted {
		t.Errorf("accepted: mean %v, weight %v", m.Mean(), m.Weight())
	}
	if z := m.Score(9, p.Floor); math.Abs(z) > 0.1 {
		t.Errorf("the accepted level scores %v", z)
	}
}

// follow replays hours of a quantity in log units over a baseline, and returns how
// far it followed, as a share of the way from what it was to what is replayed, how
// many hours scored above 3, and on which day CUSUM was over.
func follow(p Pace, gated bool, hours int, level func(h int) float64) (share float64, high, cusumDay int) {
	r := rand.New(rand.NewPCG(7, 7))
	var m Moments
	var c CUSUM
	now := start
	for range 28 * 24 {
		now += hour
		m.Update(8+0.4*r.NormFloat64(), now, p, false)
	}
	before, x := m.Mean(), 0.0
	for h := range hours {
		now += hour
		x = level(h) + 0.4*r.NormFloat64()
		z := m.Score(x, p.Floor)
		if z > 3 {
			high++
		}
		if c.Add(z, now); c.Over() && cusumDay == 0 {
			cusumDay = h/24 + 1
		}
		m.Update(x, now, p, gated && z > 3)
	}
	return (m.Mean() - before) / (level(hours-1) - before), high, cusumDay
}

// How far baselines follow an attack: ungated, three days of a burst are taken for
// normal before they are over (clipping alone only delays that); gated, no hour is. A
// ramp of 5 % a day is learned by both, since no hour of it is suspicious: no gate
// helps against patience, only a sum (CUSUM) of what is a little too much.
func TestMomentsUnderAttack(t *testing.T) {
	p := Pace{Tau: 7 * 24 * time.Hour, Floor: 0.5}
	burst := func(int) float64 { return 12 }
	ramp := func(h int) float64 { return 8 + float64(h)/24*math.Log(1.05) }
	t.Logf("%-24s %-8s %9s %9s %s", "replay", "baseline", "followed", "hours>3σ", "CUSUM over on day")
	f := func(name string, hours int, level func(int) float64, gated bool, low, high float64) (int, int) {
		t.Helper()
		share, over, day := follow(p, gated, hours, level)
		t.Logf("%-24s %-8s %8.1f%% %9d %d", name, map[bool]string{false: "ungated", true: "gated"}[gated], 100*share, over, day)
		if share < low || share > high {
			t.Errorf("followed %.3f of the way, want %v to %v", share, low, high)
		}
		return over, day
	}
	if over, _ := f("burst x55, 12 h", 12, burst, false, 0.02, 0.05); over != 12 {
		t.Errorf("%d of 12 hours score above 3", over)
	}
	f("burst x55, 12 h", 12, burst, true, 0, 0.005)
	if over, _ := f("burst x55, 3 days", 72, burst, false, 0.2, 0.5); over > 60 {
		t.Errorf("%d of 72 hours score above 3 although they were learned", over)
	}
	if over, _ := f("burst x55, 3 days", 72, burst, true, 0, 0.005); over != 72 {
		t.Errorf("%d of 72 hours of a burst score above 3", over)
	}
	for _, gated := range []bool{false, true} {
		over, day := f("ramp 5 % a day, 60 days", 60*24, ramp, gated, 0.8, 0.95)
		if over > 10 {
			t.Errorf("%d hours of the ramp score above 3: the gate has something to close for", over)
		}
		if day == 0 || day > 12 {
			t.Errorf("CUSUM finds the ramp on day %d", day)
		}
	}
}

func TestMomentsSerialise(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	var m Moments
	roundTrip(t, &m)
	for i := range int64(100) {
		m.Update(1e6*r.NormFloat64(), start+i*hour, Pace{Tau: 24 * time.Hour, Floor: 1}, i%7 == 0)
		roundTrip(t, &m)
	}
	f := func(name string, change func(m *Moments)) {
		t.Helper()
		bad := m
		change(&bad)
		if _, err := new(Moments).Decode(bad.Append(nil)); err == nil {
			t.Errorf("%s: decoded %+v", name, bad)
		}
	}
	nan := float32(math.NaN())
	f("NaN", func(m *Moments) { m.mean = nan })
	f("NaN weight", func(m *Moments) { m.weight = nan })
	f("infinite", func(m *Moments) { m.variance = float32(math.Inf(1)) })
	f("negative variance", func(m *Moments) { m.variance = -1 })
	f("too heavy", func(m *Moments) { m.weight = 2 * maxWeight })
	f("more than all of the time", func(m *Moments) { m.share = 1.5 })
	f("too far", func(m *Moments) { m.held = -1e30 })
	f("empty with a mean", func(m *Moments) { *m = Moments{mean: 1} })
}

func TestMomentsDoNotAllocate(t *testing.T) {
	var m Moments
	now := start
	if n := testing.AllocsPerRun(1000, func() {
		now += second
		m.Update(m.Score(3, 1), now, plain, now%3 == 0)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzDecodeMoments(f *testing.F) {
	var m Moments
	for i := range int64(40) {
		m.Update(float64(i), start+i*hour, plain, i > 30)
	}
	fuzzDecode(f, func(m *Moments) {
		other := *m
		other.Update(7, start, plain, true)
		m.Merge(&other, plain)
		m.Accept()
		for _, x := range []float64{-1e300, 0, 3, 1e300} {
			m.Update(x, start, Pace{Tau: 1}, x == 3)
			if z := m.Score(x, 0); math.IsNaN(z) {
				panic("no score")
			}
		}
	}, &Moments{}, &m)
}
