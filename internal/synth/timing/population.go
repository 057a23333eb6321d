package timing

import (
	"math"
	"math/rand/v2"
)

// Population says which timers and irregular processes are drawn.
type Population struct {
	Least, Most float64 // period or mean gap in s, log-uniform
	Jitter      float64 // uniform from 0 to this
	Missed      float64 // uniform from 0 to this
	// Fewest and Many are how many check-ins are seen, uniform, or log-uniform if
	// FewLikely, as far as they fit into Span. None: as many as fit.
	Fewest, Many int
	FewLikely    bool
	Span         float64 // s
	// Plain leaves out bursts, changes of the sleep and working hours.
	Plain bool
}

const day = 86400.0

var (
	// General are periods of 5 s to 24 h, each jitter up to 90 % of both kinds, up to
	// 30 % of check-ins missed, and 15 to 1000 of them as far as 30 days allow.
	General = Population{Least: 5, Most: day, Jitter: 0.9, Missed: 0.3, Fewest: 15, Many: 1000, Span: 30 * day}
	// Short is General with more of those that are seen a few times only.
	Short = Population{Least: 5, Most: day, Jitter: 0.9, Missed: 0.3, Fewest: 15, Many: 1000, FewLikely: true, Span: 30 * day}
	// Fast is General without periods above 6 h.
	Fast = Population{Least: 10, Most: day / 4, Jitter: 0.9, Missed: 0.3, Fewest: 15, Many: 1000, Span: 30 * day}
	// Continuous are periods of 10 s to 1 h for a whole day, undisturbed.
	Continuous = Population{Least: 10, Most: 3600, Jitter: 0.9, Missed: 0.3, Span: day, Plain: true}
)

func logUniform(r *rand.Rand, lo, hi float64) float64 { return lo * math.Pow(hi/lo, r.Float64()) }

// count draws how many events a process with such a gap has.
func (p Population) count(r *rand.Rand, gap float64) int {
	if p.Fewest == 0 {
		return max(int(p.Span/gap), 4)
	}
	fits := min(max(p.Span/gap, float64(p.Fewest)), float64(p.Many))
	if p.FewLikely {
		return int(logUniform(r, float64(p.Fewest), fits+0.999))
	}
	return p.Fewest + int(r.Float64()*(fits+1-float64(p.Fewest)))
}

// sizes draws how sizes vary, with the shares of constant and near ones.
func sizes(r *rand.Rand, constant, near float64) Sizes {
	switch u := r.Float64(); {
	case u < constant:
		return SizesConstant
	case u < constant+near:
		return SizesNear
	}
	return SizesVaried
}

// Timer draws a timer, most of constant sizes. Of the general ones a fifth each has bursts of work, changes
// its sleep once, or runs in working hours.
func (p Population) Timer(r *rand.Rand) Timer {
	t := Timer{Period: logUniform(r, p.Least, p.Most), Jitter: p.Jitter * r.Float64(), OneSided: r.IntN(2) == 0, Missed: p.Missed * r.Float64()}
	mean := t.Period / (1 - t.Missed)
	if t.OneSided {
		mean *= 1 - t.Jitter/2
	}
	t.CheckIns = p.count(r, mean)
	t.Sizes = sizes(r, 0.7, 0.2)
	if p.Plain {
		return t
	}
	switch r.IntN(5) {
	case 0:
		t.Bursts = 0.02 + 0.08*r.Float64()
	case 1:
		t.Changes = []float64{logUniform(r, max(t.Period/10, p.Least), min(t.Period*10, p.Most))}
	case 2:
		if t.Period < 3600 {
			t.Hours = 9
		}
	}
	return t
}

// Irregular draws a process without a timer, with mean gaps up to 6 h. The sizes of
// two in five are as constant as those of most timers.
func (p Population) Irregular(r *rand.Rand) Irregular {
	g := Irregular{Kind: Kind(r.IntN(int(NumKinds))), Mean: logUniform(r, p.Least, min(p.Most, day/4))}
	g.Count = p.count(r, g.Mean)
	g.Sizes = sizes(r, 0.4, 0.2)
	u := r.Float64()
	switch g.Kind {
	case LogNormal:
		g.Shape = 0.8 + 1.4*u
	case Pareto:
		g.Shape = 1 + u
	case Weibull:
		g.Shape = 0.4 + 0.5*u
	case Sessions:
		g.Shape = 1 + 7*u
	case Modulated:
		g.Shape = logUniform(r, 5, 100)
	case Diurnal:
		g.Shape = 0.5 + 0.5*u
	case Superposed:
		g.Shape = 2 + 4*u
	case Shifted:
		g.Shape = 0.1 + 0.4*u
	}
	return g
}
