package eval

import (
	"math/rand/v2"
	"testing"

	"tidewatch/internal/synth/timing"
)

// The bars that the figures of WriteTiming must not fall below, on a smaller draw.
func TestTimingBars(t *testing.T) {
	p := timing.General
	p.Least, p.Most, p.Uniform = 10, 6*3600, true
	all := drawTimed(5, p, 400)
	ours := func(t *timed) float64 { return t.ours }
	if a := auc(all, ours); a < 0.97 {
		t.Errorf("AUC %.3f", a)
	}
	if v := tpr(all, 0.01, 0, 1, ours); v < 0.9 {
		t.Errorf("%.3f of timers above 1 %% of the others", v)
	}
	if a, b := auc(all, ours), auc(all, func(t *timed) float64 { return t.rita }); a <= b {
		t.Errorf("AUC %.3f, of RITA's formula %.3f", a, b)
	}
}

func TestAUC(t *testing.T) {
	score := func(t *timed) float64 { return t.ours }
	all := []timed{{timer: true, ours: 0.9}, {timer: true, ours: 0.5}, {ours: 0.5}, {ours: 0.1}}
	if got := auc(all, score); got != 0.875 {
		t.Errorf("AUC %g, want 7/8", got)
	}
	if got := tpr(all, 0, 0, 1, score); got != 0.5 {
		t.Errorf("TPR %g, want 1/2", got)
	}
}

// Poisson traffic of one size, which formulas take for a beacon, is not found.
func TestPoissonIsQuiet(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	for range 50 {
		s := timing.Irregular{Kind: timing.Exponential, Mean: 60, Count: 600, Sizes: timing.SizesConstant}.Series(r)
		if n := looks(s); n > 0 {
			t.Errorf("found after %d connections", n)
		}
	}
}
