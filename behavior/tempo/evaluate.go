package tempo

import (
	"math"
)

// Channel says which gaps a result speaks of.
type Channel uint8

const (
	ChannelNone     Channel = iota
	ChannelSessions         // between sessions more than 1 s apart
	ChannelBursts           // between sessions more than 30 s apart
)

func (c Channel) String() string {
	switch c {
	case ChannelSessions:
		return "sessions"
	case ChannelBursts:
		return "bursts"
	}
	return "none"
}

// Form is the kind of explanation that a result gives.
type Form uint8

const (
	FormNone      Form = iota
	FormTimer          // one timer
	FormTwoTimers      // one for the short gaps and one for the long
	FormWindows        // narrow windows hold most gaps
	FormRecent         // one timer, since the last 16 sessions
)

var formNames = [...]string{"none", "timer", "two timers", "windows", "recent timer"}

func (f Form) String() string { return formNames[f] }

// Result says whether a timer makes the sessions of a Track, and which.
type Result struct {
	// Score is 0 to 1, from the times alone; 0.5 and more at two looks in a row is
	// a timer.
	Score float64
	// Fused is 0 to 1: Score with the regularity of sizes and the persistence.
	Fused float64
	// LogOdds is the evidence, in nats: the best timer against the best irregular
	// process, less a penalty for having chosen. Effect size is PerGap.
	LogOdds float64
	PerGap  float64
	Gaps    int // that were used

	Channel Channel
	Form    Form
	Lag     int // 1 to 3 sessions from one end of a gap to the other
	// Windows is 0 if one timer explains the gaps, otherwise how many narrow
	// windows of gaps hold Coverage of them all: several periods, or one among
	// other traffic.
	Windows  int
	Coverage float64

	// Period is the mean sleep in seconds, and Jitter how far a sleep strays from
	// it to both sides, as a share. A timer that only shortens its sleep S by up
	// to a share c has Period S(1-c/2) and Jitter c/(2-c): from gaps the two are
	// the same process.
	Period float64
	Jitter float64
	Missed float64 // share of check-ins that did not come
	// Irregular is the family of the best irregular process.
	Irregular string

	SizeScore float64 // 0 to 1: how alike the sizes of the last sessions are
	Sizes     int
	Hours     int     // distinct hours of the week
	Periods   float64 // from the first start to the last
	Next      int64   // when the next session is due, Unix nanoseconds; 0: unknown

	lo, hi int16 // bins of one sleep
	fair   float64
}

// Sleep returns the result in the words of a timer that only shortens its sleep:
// the longest sleep in seconds, and by which share it is shortened at most.
func (r *Result) Sleep() (seconds, shortened float64) {
	return r.Period * (1 + r.Jitter), 2 * r.Jitter / (1 + r.Jitter)
}

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

// view is a histogram without its empty bins.
type view struct {
	bin   [numBins]uint8
	count [numBins]float32
	cum   [numBins + 1]int32 // of the histogram: gaps below each bin
	len   int
	gaps  int
	mid   int // bin of the median
}

func (v *view) reset() {
	v.len, v.gaps = 0, 0
	v.cum = [numBins + 1]int32{}
}

// put adds a bin above those that are there.
func (v *view) put(bin uint8, count float32) {
	v.bin[v.len], v.count[v.len] = bin, count
	v.cum[bin+1] = int32(count)
	v.len++
}

// finish adds up what was put.
func (v *view) finish() {
	v.gaps = 0
	for b := range numBins {
		v.cum[b+1] += v.cum[b]
	}
	v.gaps = int(v.cum[numBins])
	for v.mid = 0; v.mid < numBins-1 && 2*int(v.cum[v.mid+1]) < v.gaps; v.mid++ {
	}
}

func (v *view) load(h *histogram) {
	v.reset()
	for b, c := range h {
		if c > 0 {
			v.put(uint8(b), float32(c))
		}
	}
	v.finish()
}

// loadRecent takes the gaps of the ring.
func (v *view) loadRecent(t *Track) {
	var h histogram
	for _, ms := range t.since[1:t.held] {
		h[binOf(int64(ms))]++
	}
	v.load(&h)
}

// in returns how many gaps lie in the bins from lo to hi.
func (v *view) in(lo, hi int) int {
	lo, hi = min(max(lo, 0), numBins), min(max(hi+1, 0), numBins)
	return int(v.cum[hi] - v.cum[lo])
}

// likelihood returns the log-likelihood of the gaps under a template of a scale,
// with one of the contaminations.
func (v *view) likelihood(t *template, mixture, scale int) float32 {
	p := (*[256]float32)(t.log[mixture][tableZero-scale:])
	var a, b float32
	i := 0
	for ; i+1 < v.len; i += 2 {
		a += v.count[i] * p[v.bin[i]]
		b += v.count[i+1] * p[v.bin[i+1]]
	}
	if i < v.len {
		a += v.count[i] * p[v.bin[i]]
	}
	return a + b
}

// fit is a template at a scale, with its log-likelihood at the middling
// contamination.
type fit struct {
	scale int
	l     float32
}

// climb moves a fit to a local maximum, with scales from lowest on.
func (v *view) climb(t *template, f fit, lowest int) fit {
	for step := 4; step > 0; step /= 2 {
		for _, d := range [...]int{-step, step} {
			for f.scale+d >= lowest && f.scale+d < numBins {
				l := v.likelihood(t, middling, f.scale+d)
				if l <= f.l {
					break
				}
				f.scale, f.l = f.scale+d, l
			}
		}
	}
	return f
}

// negligible is how far below the best a fit, in nats, adds nothing of note.
const negligible = 7

// expStep is the step of the table of exponentials: they weigh neighbours in a mean,
// where half a percent does not matter.
const expStep = 1.0 / 128

var exponentials = func() (e [3*negligible/expStep + 2]float32) {
	for i := range e {
		e[i] = float32(math.Exp(-float64(i) * expStep))
	}
	return e
}()

// expNeg returns e^-x for x from 0 to 3*negligible; 0 beyond.
func expNeg(x float64) float64 {
	i := int(x/expStep + 0.5)
	if uint(i) >= uint(len(exponentials)) {
		return 0
	}
	return float64(exponentials[i])
}

// marginal is the logarithm of a likelihood that is averaged over a prior: a sum of
// exponentials, relative to the largest.
type marginal struct{ most, sum float64 }

func (m *marginal) add(l float64) {
	switch {
	case m.sum == 0:
		m.most, m.sum = l, 1
	case l > m.most:
		m.sum = m.sum*expNeg(l-m.most) + 1
		m.most = l
	case l > m.most-3*negligible:
		m.sum += expNeg(m.most - l)
	}
}

func (m *marginal) log() float64 { return m.most + math.Log(m.sum) }

// scales is log of the number of scales, each as likely as any.
var logScales = math.Log(numBins)

// average returns the log-likelihood of a template averaged over scales, about the
// fit that is its maximum, and over contaminations.
func (v *view) average(t *template, f fit, lowest int, all *tables) float64 {
	sum := 1.0
	for _, d := range [...]int{-1, 1} {
		for s := f.scale + d; s >= lowest && s < numBins; s += d {
			l := v.likelihood(t, middling, s)
			if l < f.l-negligible {
				break
			}
			sum += expNeg(max(float64(f.l-l), 0))
		}
	}
	var mixed marginal
	for m, prior := range all.mixtures {
		l := f.l
		if m != middling {
			l = v.likelihood(t, m, f.scale)
		}
		mixed.add(float64(l) + prior)
	}
	return mixed.log() + math.Log(sum) - logScales
}

// hypothesis is what the gaps say of H1 or H0: the averaged log-likelihood, and the
// template that adds most to it.
type hypothesis struct {
	l     float64
	i, m  int // of the template; m: of misses
	scale int
}

// fits are the templates of one hypothesis, each at the scale that comes to mind
// first, and the best of their likelihoods.
type fits struct {
	at    [maxTemplates]fit
	best  float32
	which int // is the best
}

// tryIrregular places the templates of H0.
func (v *view) tryIrregular(all *tables, f *fits) {
	f.best = float32(math.Inf(-1))
	for i := range all.irregular {
		t := &all.irregular[i].template
		s := min(max(v.mid-t.middle, minScale), numBins-1)
		f.at[i] = fit{s, v.likelihood(t, middling, s)}
		if f.at[i].l > f.best {
			f.best, f.which = f.at[i].l, i
		}
	}
}

// tryTimers places the templates of H1.
func (v *view) tryTimers(all *tables, least floor, f *fits) {
	f.best = float32(math.Inf(-1))
	for i := range all.timers {
		t := &all.timers[i][seldom]
		shortest := least.scale(t)
		f.at[i] = fit{l: float32(math.Inf(-1))}
		for _, s := range [...]int{v.densest(t.hi-t.lo+1) - t.lo, v.mid - t.middle} {
			s = min(max(s, shortest), numBins-1)
			if l := v.likelihood(&t.template, middling, s); l > f.at[i].l {
				f.at[i] = fit{s, l}
			}
		}
		if f.at[i].l > f.best {
			f.best, f.which = f.at[i].l, i
		}
	}
}

// irregular averages over H0.
func (v *view) irregular(all *tables, f *fits) (h hypothesis) {
	var sum marginal
	most, best := math.Inf(-1), f.best
	for i := range all.irregular {
		h0 := &all.irregular[i]
		if f.at[i].l < best-2*negligible {
			continue
		}
		at := v.climb(&h0.template, f.at[i], minScale)
		if best = max(best, at.l); at.l < best-negligible {
			continue
		}
		l := v.average(&h0.template, at, minScale, all) + h0.prior
		if sum.add(l); l > most {
			most, h.i, h.scale = l, i, at.scale
		}
	}
	h.l = sum.log()
	return h
}

// timer averages over H1.
func (v *view) timer(all *tables, least floor, f *fits) (h hypothesis) {
	var sum marginal
	most, best := math.Inf(-1), f.best
	for i := range all.timers {
		if f.at[i].l < best-2*negligible {
			continue
		}
		for m := range numMisses {
			t := &all.timers[i][m]
			shortest := least.scale(t)
			at := v.climb(&t.template, fit{f.at[i].scale, v.likelihood(&t.template, middling, f.at[i].scale)}, shortest)
			if best = max(best, at.l); at.l < best-negligible {
				continue
			}
			l := v.average(&t.template, at, shortest, all) + t.prior
			if sum.add(l); l > most {
				most, h.i, h.m, h.scale = l, i, m, at.scale
			}
		}
	}
	h.l = sum.log()
	return h
}

// A timer that was only placed may lie so many nats behind an irregular process that
// was only placed, and still win in the end: hopelessGap for each gap, hopeless at
// most.
const hopeless, hopelessGap = 6, 0.15

// compare returns what the gaps say of timers and of irregular processes. It says
// that there is none if a glance shows that no timer is near; then what it returns is
// what that glance saw.
func (v *view) compare(all *tables, least floor) (h1, h0 hypothesis, ok bool) {
	if v.gaps < fewestGaps {
		return h1, h0, false
	}
	var f1, f0 fits
	v.tryIrregular(all, &f0)
	v.tryTimers(all, least, &f1)
	if f1.best < f0.best-min(hopeless, hopelessGap*float32(v.gaps)) {
		h1.i, h1.scale, h1.l = f1.which, f1.at[f1.which].scale, float64(f1.best)
		h0.i, h0.l = f0.which, float64(f0.best)
		return h1, h0, false
	}
	return v.timer(all, least, &f1), v.irregular(all, &f0), true
}

// densest returns where the window of that many bins begins that holds the most
// gaps. They lie in its middle.
func (v *view) densest(width int) int {
	at, most := 0, -1
	for i := range v.len {
		b := int(v.bin[i])
		if n := v.in(b, b+width-1); n > most {
			at, most = b, n
		}
	}
	end := at + width - 1
	for end > at && v.in(end, end) == 0 {
		end--
	}
	return (at + end - width + 1) / 2
}
