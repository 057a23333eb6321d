package sketch

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"
)

// tails are scores with the value that a share q exceeds.
var tails = []struct {
	name string
	draw func(r *rand.Rand) float64
	over func(x float64) float64 // share of scores above x
}{
	{"exponential", (*rand.Rand).ExpFloat64, func(x float64) float64 { return math.Exp(-x) }},
	{"normal", (*rand.Rand).NormFloat64, func(x float64) float64 { return math.Erfc(x/math.Sqrt2) / 2 }},
	{"uniform", (*rand.Rand).Float64, func(x float64) float64 { return max(0, 1-x) }},
	{"Pareto, 1/x³", func(r *rand.Rand) float64 { return math.Pow(1-r.Float64(), -1./3) }, func(x float64) float64 { return math.Pow(max(x, 1), -3) }},
	{"log-normal", func(r *rand.Rand) float64 { return math.Exp(0.5 * r.NormFloat64()) }, func(x float64) float64 { return math.Erfc(math.Log(x)/0.5/math.Sqrt2) / 2 }},
}

// The share of scores that exceeds the threshold is the target rate, for tails that
// end, that fall off like a normal one's, and that do not.
func TestSPOTKeepsTheRate(t *testing.T) {
	f := func(rate float64, n int, low, high float64) {
		t.Helper()
		for _, tail := range tails {
			const runs = 20
			sum, squares := 0.0, 0.0
			for seed := range uint64(runs) {
				r := rand.New(rand.NewPCG(seed, 1))
				var s SPOT
				for range n {
					s.Add(tail.draw(r), rate)
				}
				threshold, ok := s.Threshold(rate)
				if !ok {
					t.Fatalf("no threshold after %d scores", n)
				}
				l := math.Log10(max(tail.over(threshold)/rate, 1e-3))
				sum += l
				squares += l * l
			}
			mean := sum / runs
			off, factor := math.Pow(10, mean), math.Pow(10, math.Sqrt(squares/runs-mean*mean))
			t.Logf("rate %g, %6d scores, %-12s %.2f of the rate, give or take a factor of %.1f", rate, n, tail.name, off, factor)
			if tail.name == "uniform" {
				continue // nothing may exceed a threshold near the end
			}
			if off < low || off > high {
				t.Errorf("rate %g, %d scores, %s: %.2f of the rate exceed, want %v to %v", rate, n, tail.name, off, low, high)
			}
		}
	}
	f(1e-3, 1000, 0.6, 1.6)
	f(1e-3, 20000, 0.8, 1.25)
	f(1e-3, 200000, 0.9, 1.1)
	f(1e-4, 1000, 0.2, 1.6)
	f(1e-4, 20000, 0.8, 1.5)
	f(1e-4, 200000, 0.8, 1.3)
}

// An attack's scores do not lift the threshold above them: neither many at once, nor
// one in a thousand for long.
func TestSPOTUnderAttack(t *testing.T) {
	const rate, attack = 1e-4, 1000
	for _, tail := range tails {
		r := rand.New(rand.NewPCG(3, 1))
		var s SPOT
		for range 30000 {
			s.Add(tail.draw(r), rate)
		}
		before, _ := s.Threshold(rate)
		for range 300 {
			if !s.Add(attack, rate) {
				t.Fatalf("%s: a score of the burst does not exceed", tail.name)
			}
		}
		burst, _ := s.Threshold(rate)
		for i := range 100000 {
			if i%1000 != 0 {
				s.Add(tail.draw(r), rate)
			} else if !s.Add(attack, rate) {
				t.Fatalf("%s: a score of the slow attack does not exceed", tail.name)
			}
		}
		after, _ := s.Threshold(rate)
		t.Logf("%-12s threshold %5.2f, after 300 scores of %d at once %5.2f, after one in 1,000 of 100,000 %5.2f", tail.name, before, attack, burst, after)
		if burst > 2*before+1 || after > 2.5*before+1 {
			t.Errorf("%s: threshold %v, then %v, then %v", tail.name, before, burst, after)
		}
	}
}

// When scores change for good, the rate is kept again after a while: it costs as many
// findings as must be refused to know that, and some more until the tail is renewed.
func TestSPOTFollowsAChange(t *testing.T) {
	const rate = 1e-3
	r := rand.New(rand.NewPCG(4, 1))
	var s SPOT
	for range 50000 {
		s.Add(r.ExpFloat64(), rate)
	}
	f := func(name string, scale float64, scores, low, high int) {
		t.Helper()
		over := 0
		for range scores {
			if s.Add(scale*r.ExpFloat64(), rate) {
				over++
			}
		}
		t.Logf("%s: %d of %d exceed", name, over, scores)
		if over < low || over > high {
			t.Errorf("%s: %d of %d exceed, want %d to %d", name, over, scores, low, high)
		}
	}
	f("as before", 1, 50000, 25, 100)
	f("ten times as high", 10, 10000, 500, 3000)
	f("meanwhile", 10, 200000, 200, 800)
	f("then", 10, 200000, 100, 400)
	f("low again", 1, 200000, 0, 200)
	f("then", 1, 200000, 100, 400)
}

// The merge is what one would have learned of all scores, to the bit, until they are
// aged; then it is as good.
func TestSPOTMerge(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	for range 200 {
		var a, b, both SPOT
		for range 1 + r.IntN(4000) {
			x := float32(r.ExpFloat64())
			side := &a
			if x > 3 && r.IntN(4) > 0 || r.IntN(3) == 0 {
				side = &b
			}
			side.learn(x)
			both.learn(x)
		}
		ab, ba := a, b
		ab.Merge(&b)
		ba.Merge(&a)
		form := string(ab.Append(nil))
		if form != string(ba.Append(nil)) {
			t.Fatal("the merge does not commute")
		}
		if form != string(both.Append(nil)) {
			t.Fatalf("of %d and %d: level %v, %d peaks; want level %v, %d peaks", a.n, b.n, ab.level, ab.k, both.level, both.k)
		}
		roundTrip(t, &ab)
	}
	logs := []float64{}
	for range 20 {
		var a, b SPOT
		for range 150000 {
			a.Add(r.ExpFloat64(), 1e-4)
			b.Add(2*r.ExpFloat64(), 1e-4)
		}
		a.Merge(&b)
		if a.n > ageAt || a.n < ageAt/4 || a.k < minPeaks {
			t.Fatalf("%d scores, %d peaks", a.n, a.k)
		}
		x, _ := a.Threshold(1e-4)
		logs = append(logs, math.Log10((math.Exp(-x)+math.Exp(-x/2))/2/1e-4))
	}
	slices.Sort(logs)
	t.Logf("merged of two that see different scores: %.2f of the rate exceed in the median, %.2f to %.2f in all",
		math.Pow(10, logs[10]), math.Pow(10, logs[0]), math.Pow(10, logs[19]))
	if math.Abs(logs[10]) > 0.2 {
		t.Errorf("10^%v of the rate", logs[10])
	}
}

func TestSPOTEdges(t *testing.T) {
	var s SPOT
	for i := range calibration - 1 {
		if s.Add(float64(i*i), 1e-4) {
			t.Fatal("exceeds before there is a threshold")
		}
	}
	if x, ok := s.Threshold(1e-4); ok || !math.IsInf(x, 1) {
		t.Errorf("threshold %v after %d scores", x, s.n)
	}
	if s.Add(math.NaN(), 1e-4); s.n != calibration-1 {
		t.Error("NaN is learned")
	}
	s.Add(3, 1e-4)
	last := math.Inf(1)
	for _, rate := range []float64{math.Inf(-1), 1e-9, 1e-6, 1e-5, 1e-4, 1e-3, 1} {
		x, ok := s.Threshold(rate)
		if !ok || x > last || x < float64(s.level) || math.IsInf(x, 0) {
			t.Errorf("threshold %v for %v, level %v", x, rate, s.level)
		}
		last = x
	}
	if !s.Add(math.Inf(1), 1e-4) || s.Add(math.Inf(-1), 1e-4) || s.Add(1e9, math.NaN()) {
		t.Error("what is infinite does not exceed, or nothing does not")
	}
	same := SPOT{}
	for range 3 * ageAt {
		if same.Add(7, 1e-4) {
			t.Fatal("of equal scores one exceeds")
		}
	}
	if !same.Add(7.01, 1e-4) {
		t.Error("a score above equal ones does not exceed")
	}
	// Most scores are 0: they are no peaks.
	rare := SPOT{}
	for i := range 100000 {
		rare.Add(max(0, float64(i%100-90)), 1e-4)
	}
	if x, ok := rare.Threshold(1e-4); !ok || x < 9 || x > 20 {
		t.Errorf("threshold %v", x)
	}
}

func TestSPOTSizeAndForm(t *testing.T) {
	var s SPOT
	r := rand.New(rand.NewPCG(6, 6))
	for range 300 {
		roundTrip(t, &s)
		s.learn(float32(r.NormFloat64()))
	}
	if n := unsafe.Sizeof(s); n != 544 {
		t.Errorf("%d bytes", n)
	}
	if n := len(s.Append(nil)); n != 533 {
		t.Errorf("serialised %d bytes", n)
	}
	f := func(name string, change func(s *SPOT)) {
		t.Helper()
		bad := s
		change(&bad)
		if _, err := new(SPOT).Decode(bad.Append(nil)); err == nil {
			t.Errorf("%s: decodes", name)
		}
	}
	f("NaN", func(s *SPOT) { s.peaks[3] = float32(math.NaN()) })
	f("infinite", func(s *SPOT) { s.peaks[127] = float32(math.Inf(1)) })
	f("out of order", func(s *SPOT) { s.peaks[3], s.peaks[4] = s.peaks[4], s.peaks[3] })
	f("below the level", func(s *SPOT) { s.level = s.peaks[1] })
	f("too many scores", func(s *SPOT) { s.n = ageAt + 1 })
	f("more peaks than scores", func(s *SPOT) { s.n = 100 })
}

func TestSPOTDoesNotAllocate(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	var s SPOT
	if n := testing.AllocsPerRun(50000, func() { s.Add(r.NormFloat64(), 1e-3) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzDecodeSPOT(f *testing.F) {
	var some, many SPOT
	for i := range 2000 {
		if i < 40 {
			some.learn(float32(i))
		}
		many.learn(float32(i % 300))
	}
	fuzzDecode(f, func(s *SPOT) {
		s.Merge(&many)
		for i := range 200 {
			s.Add(float64(i*i), 1e-4)
			if x, _ := s.Threshold(1e-6); math.IsNaN(x) {
				panic("no threshold")
			}
		}
	}, &SPOT{}, &some, &many)
}
