package tempo

import (
	"math"
)

const (
	// maxTemplates is more than there are of irregular processes, or of widths.
	maxTemplates = 64
	// fewestGaps are those without which nothing is said.
	fewestGaps = 5

	// The least period of a channel is some three times the gap that ends a session,
	// and its shortest sleep is longer than that gap: the cut at the gap makes any
	// process look bounded below.
	minPeriodSessions = 14 // bin of 3.4 s
	minPeriodBursts   = 51 // bin of 84 s
	minSleepSessions  = 3  // bin of 1.3 s
	minSleepBursts    = 43 // bin of 41 s
	// farSleep is how far below the period a sleep counts as the shortest.
	farSleep = -16
)

// floor is the least period and shortest sleep that a channel can show, in bins.
type floor struct{ period, sleep int }

var (
	floorSessions = floor{minPeriodSessions, minSleepSessions}
	floorBursts   = floor{minPeriodBursts, minSleepBursts}
)

// scale returns the least scale of a timer.
func (f floor) scale(t *timer) int { return max(f.period, f.sleep-max(t.lo, farSleep)) }

// fit is a template at a scale, with its log-likelihood at the middling
// contamination.
type fit struct {
	scale int
	l     float32
}

// firsts are the templates of a hypothesis at the scales where each is likely to
// be best.
type firsts struct {
	fits [maxTemplates]fit
	best float32
}

func (f *firsts) set(i int, x fit) {
	if f.fits[i] = x; i == 0 || x.l > f.best {
		f.best = x.l
	}
}

// leader returns the number of the first fit that is best.
func (f *firsts) leader() int {
	for i := range f.fits {
		if f.fits[i].l == f.best {
			return i
		}
	}
	return 0
}

// firstIrregular tries each irregular process where the medians agree.
func (v *view) firstIrregular(all *tables) (f firsts) {
	for i := range all.irregular {
		t := &all.irregular[i].template
		s := min(max(v.mid-t.middle, minScale), numBins-1)
		f.set(i, fit{s, v.likelihood(t, middling, s)})
	}
	return f
}

// firstTimer tries a timer of each width where most gaps are as long as a sleep,
// and where the medians agree.
func (v *view) firstTimer(all *tables, least floor) (f firsts) {
	for i := range all.timers {
		t := all.timers[i][all.seldom].timer
		shortest := least.scale(t)
		x := fit{l: float32(math.Inf(-1))}
		for _, s := range [...]int{v.densest(t.hi-t.lo+1) - t.lo, v.mid - t.middle} {
			s = min(max(s, shortest), numBins-1)
			if l := v.likelihood(&t.template, middling, s); l > x.l {
				x = fit{s, l}
			}
		}
		f.set(i, x)
	}
	return f
}

// climb moves a fit to a local maximum, with scales from lowest on, in steps that
// are halved.
func (v *view) climb(t *template, f fit, lowest, step int) fit {
	for ; step > 0; step /= 2 {
		from := f.scale
		f = v.walk(t, f, lowest, -step)
		if f.scale == from {
			f = v.walk(t, f, lowest, step)
		}
	}
	return f
}

// walk moves a fit by steps as long as it gets better.
func (v *view) walk(t *template, f fit, lowest, step int) fit {
	for s := f.scale + step; s >= lowest && s < numBins; s += step {
		l := v.likelihood(t, middling, s)
		if l <= f.l {
			break
		}
		f.scale, f.l = s, l
	}
	return f
}

// tries is how many first fits are looked at again for a rough comparison.
const tries = 3

// top returns which of the first n fits are best, best first.
func (f *firsts) top(n int) (top [tries]int) {
	count := 0
	for i := range n {
		j := min(count, tries-1)
		if count == tries && f.fits[i].l <= f.fits[top[j]].l {
			continue
		}
		for ; j > 0 && f.fits[top[j-1]].l < f.fits[i].l; j-- {
			top[j] = top[j-1]
		}
		top[j] = i
		count = min(count+1, tries)
	}
	return top
}

// mixed returns the log-likelihood of a fit with the best contamination.
func (v *view) mixed(t *template, f fit) float32 {
	l := f.l
	for m := range numMixtures {
		if m != middling {
			l = max(l, v.likelihood(t, m, f.scale))
		}
	}
	return l
}

// roughIrregular returns about the greatest log-likelihood of H0.
func (v *view) roughIrregular(all *tables, first *firsts) float32 {
	best := float32(math.Inf(-1))
	for _, i := range first.top(len(all.irregular)) {
		t := &all.irregular[i].template
		best = max(best, v.mixed(t, v.climb(t, first.fits[i], minScale, 2)))
	}
	return best
}

// roughTimer returns about the greatest log-likelihood of H1.
func (v *view) roughTimer(all *tables, least floor, first *firsts) float32 {
	best := float32(math.Inf(-1))
	for _, i := range first.top(len(all.timers)) {
		row := all.timers[i]
		t := row[all.seldom].timer
		f := v.climb(&t.template, first.fits[i], least.scale(t), 2)
		for _, o := range row {
			if o.timer != t && f.scale >= least.scale(o.timer) {
				if l := v.likelihood(&o.template, middling, f.scale); l > f.l {
					t, f.l = o.timer, l
				}
			}
		}
		best = max(best, v.mixed(&t.template, f))
	}
	return best
}

const (
	// negligible is how far below the best a fit, in nats, adds nothing of note.
	negligible = 5
	// promising is how far below the best a first fit may become the best: so much,
	// and promisingGap for each gap.
	promising    = 5
	promisingGap = 0.04
)

// hopes returns how far below the best a first fit may become the best.
func (v *view) hopes() float32 { return min(promising+promisingGap*float32(v.gaps), 3*promising) }

// powers are exp(-x) at steps of 1/32.
var powers = func() (p [expMost*expSteps + 2]float64) {
	for i := range p {
		p[i] = math.Exp(-float64(i) / expSteps)
	}
	return p
}()

const (
	expSteps = 32
	expMost  = 20
)

// exp returns exp(x) for x of 0 or less, to 1e-4 of it; below -20, 0.
func exp(x float32) float64 {
	x *= -expSteps
	if x > expMost*expSteps {
		return 0
	}
	i := int(x)
	f := float64(x - float32(i))
	return powers[i]*(1-f) + powers[i+1]*f
}

// marginal is a likelihood that is averaged over a prior: a sum of exponentials,
// relative to the largest.
type marginal struct {
	most float32
	sum  float64
}

// add adds weight x exp(l).
func (m *marginal) add(l float32, weight float64) {
	switch {
	case m.sum == 0:
		m.most, m.sum = l, weight
	case l > m.most:
		m.sum = m.sum*exp(m.most-l) + weight
		m.most = l
	default:
		m.sum += weight * exp(l-m.most)
	}
}

func (m *marginal) log() float64 { return float64(m.most) + math.Log(m.sum) }

// average returns the likelihood of a template summed over scales, about the fit
// that is its maximum, and averaged over contaminations.
func (v *view) average(t *template, f fit, lowest int) (m marginal) {
	sum := 1.0
	for _, d := range [...]int{-1, 1} {
		for s := f.scale + d; s >= lowest && s < numBins; s += d {
			l := v.likelihood(t, middling, s) - f.l
			if l < -negligible {
				break
			}
			step := 1.0
			if l > -1 { // wide: every other scale will do
				step = 2
				s += d
			}
			sum += step * exp(min(l, 0))
		}
	}
	for i, prior := range mixturesPrior {
		l := f.l
		if i != middling {
			l = v.likelihood(t, i, f.scale)
		}
		m.add(l, prior*sum)
	}
	return m
}

// hypothesis is what the gaps say of H1 or H0: the averaged log-likelihood, and the
// template that adds most to it.
type hypothesis struct {
	l     float64
	timer *timer     // of H1
	null  *irregular // of H0
	scale int
}

// irregular averages over H0.
func (v *view) irregular(c *comparison) (h hypothesis) {
	first := &c.irregular
	var sum marginal
	best, most := first.best, math.Inf(-1)
	lowest := best - v.hopes()
	for i, t := range c.all.irregular {
		if first.fits[i].l < lowest {
			continue
		}
		f := v.climb(&t.template, first.fits[i], minScale, 4)
		if best = max(best, f.l); f.l < best-negligible {
			continue
		}
		m := v.average(&t.template, f, minScale)
		sum.add(m.most, m.sum*t.prior)
		if l := float64(m.most) + math.Log(m.sum*t.prior); l > most {
			most, h.null, h.scale = l, t.irregular, f.scale
		}
	}
	h.l = sum.log()
	return h
}

// timer averages over H1.
func (v *view) timer(c *comparison) (h hypothesis) {
	first := &c.timers
	var sum marginal
	best, most := first.best, math.Inf(-1)
	lowest := best - v.hopes()
	for i, row := range c.all.timers {
		if first.fits[i].l < lowest {
			continue
		}
		t := row[c.all.seldom].timer
		at := v.climb(&t.template, first.fits[i], c.least.scale(t), 4).scale
		for _, t := range row {
			f := v.climb(&t.template, fit{at, v.likelihood(&t.template, middling, at)}, c.least.scale(t.timer), 1)
			if best = max(best, f.l); f.l < best-negligible {
				continue
			}
			m := v.average(&t.template, f, c.least.scale(t.timer))
			sum.add(m.most, m.sum*t.prior)
			if l := float64(m.most) + math.Log(m.sum*t.prior); l > most {
				most, h.timer, h.scale = l, t.timer, f.scale
			}
		}
	}
	h.l = sum.log()
	return h
}
