package tempo

import (
	"math"
	"math/bits"
)

// Evaluate judges what a Track has seen. It does not allocate and does not change
// the Track.
func Evaluate(t *Track) Result {
	var v view
	var r Result
	all := templates()
	r.context(t)
	v.load(&t.lags[0])
	long := v.in(burstBin, numBins-1)
	h1, h0, _ := v.compare(all, floorSessions)
	if v.gaps >= fewestGaps {
		e := explain(all, h1, h0, h1.l-h0.l, v.gaps)
		r.offer(&e, ChannelSessions, FormTimer)
	}
	r.tryWindows(&v, 1, max(all.irregular[h0.i].peak, nullMass[0]))
	if e, ok := v.twoTimers(all); ok {
		r.offer(&e, ChannelSessions, FormTwoTimers)
	}
	if 5*long >= v.gaps && long < v.gaps {
		v.load(&t.burst)
		r.tryTimer(&v, all, floorBursts, ChannelBursts, FormTimer)
	}
	for lag := 2; lag <= numLags; lag++ {
		v.load(&t.lags[lag-1])
		r.tryWindows(&v, lag, nullMass[lag-1])
	}
	if t.sessions > ringSize {
		v.loadRecent(t)
		r.tryTimer(&v, all, floorSessions, ChannelSessions, FormRecent)
	}
	r.refine(t)
	r.fuse()
	return r
}

const (
	// evenOdds are the nats at which the score is 1/2, and oddsScale those that
	// change it by a factor e.
	evenOdds  = 4
	oddsScale = 1.5
	// enoughGaps is how many gaps add to the odds. With many, any irregular process
	// that is not quite one of ours would look like a timer: beyond this number the
	// mean odds of a gap count.
	enoughGaps = 200
	// morePenalty is for each further place where a timer was looked for, beside the
	// gaps of all sessions.
	morePenalty = 2
)

func sigmoid(odds float64) float64 { return 1 / (1 + math.Exp(-(odds-evenOdds)/oddsScale)) }

// evidence is what speaks for one explanation.
type evidence struct {
	odds  float64 // nats
	fair  float64 // odds of at most enoughGaps
	gaps  int
	timer *timer // nil: windows
	scale int
	null  string
}

// charge takes a penalty off.
func (e *evidence) charge(penalty float64) {
	e.odds -= penalty
	e.fair -= penalty
}

// fairOdds returns the odds that so many gaps may give.
func fairOdds(odds float64, gaps int) float64 {
	return odds * min(1, enoughGaps/float64(max(gaps, 1)))
}

// tryTimer looks for a timer in another place than the gaps of all sessions.
func (r *Result) tryTimer(v *view, all *tables, least floor, c Channel, f Form) {
	if h1, h0, ok := v.compare(all, least); ok {
		e := explain(all, h1, h0, h1.l-h0.l, v.gaps)
		e.charge(morePenalty)
		r.offer(&e, c, f)
	}
}

// explain makes evidence of odds.
func explain(all *tables, h1, h0 hypothesis, odds float64, gaps int) evidence {
	return evidence{odds: odds, fair: fairOdds(odds, gaps), gaps: gaps, timer: &all.timers[h1.i][h1.m], scale: h1.scale, null: all.irregular[h0.i].name}
}

// twoTimers explains long and short gaps by a timer each: two implants, or a sleep
// that was changed. Both a single irregular process and two of them must do worse.
func (v *view) twoTimers(all *tables) (evidence, bool) {
	var short, long view
	if v.gaps < 3*fewestGaps {
		return evidence{}, false
	}
	if v.split(&short, &long); short.gaps < fewestGaps || long.gaps < fewestGaps {
		return evidence{}, false
	}
	a1, a0, ok := short.compare(all, floorSessions)
	if !ok {
		return evidence{}, false
	}
	b1, b0, ok := long.compare(all, floorSessions)
	if !ok {
		return evidence{}, false
	}
	var f0 fits
	v.tryIrregular(all, &f0)
	n, a, b := float64(v.gaps), float64(short.gaps), float64(long.gaps)
	one := a1.l + b1.l - v.irregular(all, &f0).l + a*math.Log(a/n) + b*math.Log(b/n)
	two := a1.l + b1.l - a0.l - b0.l
	if b > a {
		a1, a0 = b1, b0
	}
	return explain(all, a1, a0, min(one, two)-morePenalty, v.gaps), true
}

// split divides the gaps into short and long so that the two differ most (Otsu
// 1979).
func (v *view) split(short, long *view) {
	sum := float32(0)
	for i := range v.len {
		sum += v.count[i] * float32(v.bin[i])
	}
	at, best := 0, float32(-1)
	n, below := float32(0), float32(0)
	for i := range v.len - 1 {
		n += v.count[i]
		below += v.count[i] * float32(v.bin[i])
		rest := float32(v.gaps) - n
		d := below/n - (sum-below)/rest
		if s := n * rest * d * d; s > best {
			at, best = i+1, s
		}
	}
	short.reset()
	long.reset()
	for i := range v.len {
		to := short
		if i >= at {
			to = long
		}
		to.put(v.bin[i], v.count[i])
	}
	short.finish()
	long.finish()
}

// offer keeps the explanation if it is better than what is there.
func (r *Result) offer(e *evidence, c Channel, f Form) {
	if e.gaps == 0 || r.Form != FormNone && e.fair <= r.fair {
		return
	}
	r.fair, r.LogOdds, r.PerGap, r.Gaps = e.fair, e.odds, e.odds/float64(e.gaps), e.gaps
	r.Channel, r.Form, r.Lag, r.Windows, r.Coverage = c, f, 1, 0, 0
	r.Jitter, r.Missed, r.Irregular = e.timer.jitter, e.timer.missed, e.null
	r.Period = math.Exp2((float64(e.scale) + 0.5) / binsPerOctave)
	r.lo, r.hi = int16(e.scale+e.timer.lo), int16(e.scale+e.timer.hi)
}

// refine replaces the period of a template, which is as exact as a bin, by the mean
// of the last gaps of one sleep, and fills in what follows from it.
func (r *Result) refine(t *Track) {
	if r.Period == 0 {
		return
	}
	if p := t.mean(int(r.lo), int(r.hi), r.Channel == ChannelBursts); p > 0 && r.Windows == 0 {
		r.Period = p
	}
	r.Periods = float64(t.last-t.first) / 1000 / r.Period
	r.Next = (t.newest + int64(r.Period*1000)) * 1e6
}

// mean returns the mean of the last gaps that lie in the bins from lo to hi, in
// seconds; 0 if none does.
func (t *Track) mean(lo, hi int, heads bool) float64 {
	sum, n, since := 0.0, 0, int64(0)
	for i := 1; i < int(t.held); i++ {
		since += int64(t.since[i])
		if heads && t.heads&(1<<i) == 0 {
			continue
		}
		if b := binOf(since); b >= lo && b <= hi {
			sum += float64(since) / 1000
			n++
		}
		since = 0
	}
	if n == 0 {
		return 0
	}
	return sum / float64(n)
}

const (
	// windowBins is the width of all narrow windows together: 3/4 octave.
	windowBins = 6
	mostParts  = 3
	// nullMass is the most that an irregular process puts into such windows, by
	// lag: the mode of an Erlang distribution of 3, 4 and 6 stages.
	minScanOdds = 8
	burstBin    = 40 // all gaps in it are longer than burstGap
	wilsonZ     = 2
)

var nullMass = [numLags]float64{0.35, 0.6, 0.65}

// tryWindows looks for a few narrow windows that hold most gaps: several periods,
// a sleep that was changed, several implants. At lags 2 and 3 one window only: a
// pattern of sessions that repeats.
func (r *Result) tryWindows(v *view, lag int, q float64) {
	if v.gaps < fewestGaps {
		return
	}
	parts := mostParts
	if lag > 1 {
		parts = 1
	}
	for p := 1; p <= parts; p++ {
		inside, period := v.windows(p, windowBins/p)
		n, c := float64(v.gaps), float64(inside)/float64(v.gaps)
		if c <= q {
			continue
		}
		// Any of the places of the windows may have been chosen.
		l := n*divergence(c, q) - float64(p)*math.Log(float64(v.len)/float64(p)+1)
		effect := min(max(((wilsonLow(c, n)-q)/(1-q)-0.2)/0.6, 0), 1)
		l = (l - minScanOdds) * effect
		fair := fairOdds(l, v.gaps)
		if period/float64(lag) < 3 || fair <= r.fair {
			continue
		}
		r.fair, r.LogOdds, r.PerGap, r.Gaps = fair, l, l/n, v.gaps
		r.Channel, r.Form, r.Lag, r.Windows, r.Coverage = ChannelSessions, FormWindows, lag, p, c
		r.Period, r.Missed = period/float64(lag), 0
		r.Jitter = math.Exp2(float64(windowBins/p)/binsPerOctave/2) - 1
	}
}

// windows chooses windows of the width one by one, each to hold the most gaps of
// those left, and returns how many gaps lie in all, and the middle of the first in
// seconds.
func (v *view) windows(parts, width int) (inside int, middle float64) {
	var at [mostParts]int
	for p := range parts {
		best, most := 0, -1
		for i := range v.len {
			b := int(v.bin[i])
			free := true
			for _, a := range at[:p] {
				free = free && (b >= a+width || b+width <= a)
			}
			if n := v.in(b, b+width-1); free && n > most {
				best, most = b, n
			}
		}
		if most < 0 {
			break
		}
		at[p] = best
		inside += most
		if p == 0 {
			middle = math.Exp2((float64(best) + float64(width)/2) / binsPerOctave)
		}
	}
	return inside, middle
}

// divergence is that of Kullback and Leibler between two shares, in nats.
func divergence(p, q float64) float64 {
	d := 0.0
	if p > 0 {
		d += p * math.Log(p/q)
	}
	if p < 1 {
		d += (1 - p) * math.Log((1-p)/(1-q))
	}
	return d
}

// wilsonLow is the lower end of the score interval of a share p of n (Wilson 1927).
func wilsonLow(p, n float64) float64 {
	const z = wilsonZ
	return (p + z*z/(2*n) - z*math.Sqrt(p*(1-p)/n+z*z/(4*n*n))) / (1 + z*z/n)
}

// context is what is known apart from the gaps.
func (r *Result) context(t *Track) {
	for _, b := range t.week {
		r.Hours += bits.OnesCount8(b)
	}
	r.SizeScore, r.Sizes = t.sizeScore(), int(t.held)
}

// sizeScore says how narrow the shortest interval is, on a logarithmic scale, that
// holds half of the last sizes (the shorth): 1 if they are equal, 0 from one octave
// on.
func (t *Track) sizeScore() float64 {
	var v [ringSize]float64
	n := int(t.held)
	if n < fewestGaps {
		return 0
	}
	for i, b := range t.bytes[:n] {
		x := math.Log2(float64(b) + 1)
		j := i
		for ; j > 0 && v[j-1] > x; j-- {
			v[j] = v[j-1]
		}
		v[j] = x
	}
	half := n/2 + 1
	width := math.Inf(1)
	for i := 0; i+half <= n; i++ {
		width = min(width, v[i+half-1]-v[i])
	}
	return max(1-width, 0)
}

// fuse adds up the evidence.
func (r *Result) fuse() {
	r.Score = sigmoid(r.fair)
	size := 1.8*r.SizeScore - 1.2
	if r.Sizes < fewestGaps {
		size = 0
	}
	lasting := 0.5 * min(float64(r.Hours)/8, 1)
	r.Fused = sigmoid(r.fair + size + lasting)
}
