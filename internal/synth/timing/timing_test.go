package timing

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// Series are in order, as long as was asked for, and the same for the same seed.
func TestSeries(t *testing.T) {
	for seed := range uint64(300) {
		draw := func() (Timer, Series, Irregular, Series) {
			r := rand.New(rand.NewPCG(seed, 1))
			timer := General.Timer(r)
			a := timer.Series(r)
			irregular := General.Irregular(r)
			return timer, a, irregular, irregular.Series(r)
		}
		timer, a, irregular, b := draw()
		for _, s := range []Series{a, b} {
			if !slices.IsSorted(s.Start) || len(s.Start) != len(s.Bytes) {
				t.Fatalf("seed %d: %d starts, %d sizes, in order: %v", seed, len(s.Start), len(s.Bytes), slices.IsSorted(s.Start))
			}
		}
		if len(a.Start) < timer.CheckIns || len(b.Start) < irregular.Count/2 {
			t.Errorf("seed %d: %d of %d check-ins, %d of %d connections", seed, len(a.Start), timer.CheckIns, len(b.Start), irregular.Count)
		}
		if _, c, _, d := draw(); !slices.Equal(a.Start, c.Start) || !slices.Equal(b.Start, d.Start) || !slices.Equal(a.Bytes, c.Bytes) {
			t.Errorf("seed %d: another draw differs", seed)
		}
	}
}

// gaps returns the gaps of a series in seconds.
func gaps(s Series) []float64 {
	g := make([]float64, len(s.Start)-1)
	for i := range g {
		g[i] = float64(s.Start[i+1]-s.Start[i]) / 1e9
	}
	return g
}

// Gaps are within the bounds of the jitter, and missed check-ins add a sleep.
func TestTimerGaps(t *testing.T) {
	f := func(timer Timer, lo, hi, mean float64) {
		t.Helper()
		timer.CheckIns = 5000
		g := gaps(timer.Series(rand.New(rand.NewPCG(1, 1))))
		sum := 0.0
		for _, x := range g {
			sum += x
		}
		if slices.Min(g) < lo || slices.Max(g) > hi || math.Abs(sum/float64(len(g))-mean) > 0.03*mean {
			t.Errorf("%+v: %.1f to %.1f, mean %.1f", timer, slices.Min(g), slices.Max(g), sum/float64(len(g)))
		}
	}
	f(Timer{Period: 60}, 59.999, 60.001, 60)
	f(Timer{Period: 60, Jitter: 0.5}, 30, 90, 60)
	f(Timer{Period: 60, Jitter: 0.5, OneSided: true}, 30, 60.001, 45)
	f(Timer{Period: 60, Missed: 0.2}, 59.999, 60*20, 75)
	f(Timer{Period: 600, Hours: 8}, 599.9, 16*3600+600, 24*3600/(8*6.0+1))
}

// Renewal processes have the mean that is asked for.
func TestIrregularGaps(t *testing.T) {
	for _, g := range []Irregular{
		{Kind: Exponential, Mean: 100}, {Kind: LogNormal, Mean: 100, Shape: 1}, {Kind: Weibull, Mean: 100, Shape: 0.7},
		{Kind: Shifted, Mean: 100, Shape: 0.4}, {Kind: Superposed, Mean: 100, Shape: 4},
	} {
		g.Count = 20_000
		v := gaps(g.Series(rand.New(rand.NewPCG(2, 1))))
		sum := 0.0
		for _, x := range v {
			sum += x
		}
		if mean := sum / float64(len(v)); math.Abs(mean-100) > 6 {
			t.Errorf("%v: mean gap %.1f s, want 100", g.Kind, mean)
		}
	}
	if v := gaps(Irregular{Kind: Shifted, Mean: 100, Shape: 0.4, Count: 1000}.Series(rand.New(rand.NewPCG(3, 1)))); slices.Min(v) < 40 {
		t.Errorf("a gap of %.1f s is shorter than the pause", slices.Min(v))
	}
}
