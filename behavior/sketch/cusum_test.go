package sketch

import (
	"math"
	"math/rand/v2"
	"testing"
)

// The number of observations until the sum is over is the one of the literature:
// 930 of noise, 10.4 of a shift by one sigma.
func TestCUSUMRunLengths(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	f := func(shift, want, tolerance float64) {
		t.Helper()
		const runs = 2000
		n := 0
		for range runs {
			var c CUSUM
			for n++; !c.Add(r.NormFloat64()+shift, start); n++ {
			}
		}
		got := float64(n) / runs
		t.Logf("shifted by %.1f sigma: over after %.1f on average", shift, got)
		if math.Abs(got-want) > tolerance*want {
			t.Errorf("shifted by %v: over after %.1f, want %v", shift, got, want)
		}
	}
	f(0, 930, 0.1)
	f(1, 10.4, 0.05)
	f(2, 4, 0.05)
}

// The sum begins where it left zero for the last time.
func TestCUSUMKnowsItsStart(t *testing.T) {
	var c CUSUM
	f := func(z float64, now int64, sum float64, start int64, over bool) {
		t.Helper()
		if got := c.Add(z, now); got != over || c.Over() != over || !near(c.Sum(), sum, 1e-12) || c.Start() != start {
			t.Errorf("at %d: over %v, sum %v since %d; want %v, %v since %d", now, got, c.Sum(), c.Start(), over, sum, start)
		}
	}
	f(0.5, 1, 0, 0, false)
	f(2, 2, 1.5, 2, false)
	f(-3, 3, 0, 0, false)
	f(1.5, 4, 1, 4, false)
	f(2, 5, 2.5, 4, false)
	f(math.NaN(), 5, 2.5, 4, false)
	f(3, 6, 5, 4, true)
	f(0, 7, 4.5, 4, false)
	f(math.Inf(1), 8, maxSum, 4, true)
	f(math.Inf(-1), 9, 0, 0, false)
	f(9, 10, 8.5, 10, true)
	c.Reset()
	if c.Over() || c.Sum() != 0 || c.Start() != 0 {
		t.Errorf("after a reset %+v", c)
	}
}

func TestCUSUMMergesAndSerialises(t *testing.T) {
	f := func(a, b, want CUSUM) {
		t.Helper()
		ab, ba := a, b
		ab.Merge(&b)
		ba.Merge(&a)
		if ab != want || ba != want {
			t.Errorf("%v and %v: %v, %v", a, b, ab, ba)
		}
		roundTrip(t, &ab)
	}
	f(CUSUM{}, CUSUM{}, CUSUM{})
	f(CUSUM{}, CUSUM{2, 5}, CUSUM{2, 5})
	f(CUSUM{3, 9}, CUSUM{2, 5}, CUSUM{3, 9})
	f(CUSUM{2, 9}, CUSUM{2, 5}, CUSUM{2, 5})
	for _, bad := range []CUSUM{{math.NaN(), 1}, {math.Inf(1), 1}, {-1, 1}, {0, 1}, {2e6, 1}} {
		if _, err := new(CUSUM).Decode(bad.Append(nil)); err == nil {
			t.Errorf("%v decodes", bad)
		}
	}
}

func TestCUSUMDoesNotAllocate(t *testing.T) {
	var c CUSUM
	if n := testing.AllocsPerRun(1000, func() { c.Add(1, start) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzDecodeCUSUM(f *testing.F) {
	fuzzDecode(f, func(c *CUSUM) {
		c.Add(math.Inf(1), -1)
		c.Merge(&CUSUM{3, 4})
	}, &CUSUM{}, &CUSUM{3, start})
}
