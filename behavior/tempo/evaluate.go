package tempo

import (
	"math"
)

// Evaluate judges what a Track has seen. It does not allocate and does not change
// the Track.
func Evaluate(t *Track) Result {
	var r Result
	var buf past
	p := t.counts(&buf)
	r.context(t, p)
	var v view
	if v.load(&p.lags[0]); v.gaps >= fewestGaps {
		r.judge(t, p, &v)
		r.refine(t)
	}
	r.fuse()
	return r
}

// judge looks for a timer in the gaps of all sessions, and where there is none that
// is beyond doubt, in parts of them.
func (r *Result) judge(t *Track, p *past, v *view) {
	e, c := v.compare(floorSessions, 0)
	r.offer(&e, ChannelSessions, FormTimer)
	if r.fair > beyondDoubt && e.plain(v) {
		return
	}
	r.tryWindows(v, 1, max(e.null.peak, nullMass[0]))
	if e, ok := v.twoTimers(&c); ok {
		r.offer(&e, ChannelSessions, FormTwoTimers)
	}
	if long := v.in(burstBin, numBins-1); 5*long >= v.gaps && long < v.gaps && long >= fewestGaps {
		r.tryPart(&p.burst, ChannelBursts, FormTimer, floorBursts, morePenalty)
	}
	for lag := 1; lag < numLags; lag++ {
		if p.lags[lag].concentrated(nullMass[lag]) {
			v.load(&p.lags[lag])
			r.tryWindows(v, lag+1, nullMass[lag])
		}
	}
	if t.sessions > ringSize {
		h := t.recent()
		r.tryPart(&h, ChannelSessions, FormRecent, floorSessions, recentPenalty)
	}
}

// tryPart looks for one timer elsewhere.
func (r *Result) tryPart(h *histogram, c Channel, f Form, least floor, penalty float64) {
	var v view
	if v.load(h); v.gaps < fewestGaps {
		return
	}
	e, _ := v.compare(least, penalty)
	r.offer(&e, c, f)
}

const (
	// burstBin is the first whose gaps are all longer than burstGap. The channel of
	// bursts is looked at if there are shorter ones, and not too few longer.
	burstBin = 40
	// evenOdds are the nats at which the score is 1/2, and oddsScale those that
	// change it by a factor e.
	evenOdds  = 3.5
	oddsScale = 1.5
	// enoughGaps is how many gaps add to the odds. With many, any irregular process
	// that is not quite one of ours would look like a timer: beyond this number the
	// mean odds of a gap count.
	enoughGaps = 200
	// morePenalty is for each further place where a timer was looked for, beside the
	// gaps of all sessions.
	morePenalty = 2
	// recentPenalty is that for the newest sessions, which are others at each look: of
	// many looks at an irregular process some find fifteen gaps that are alike.
	recentPenalty = 5
	// hopeless are the odds of the most likely timer and irregular process below
	// which it is not worth while to average over all. The averages give about
	// roughPenalty less.
	hopeless     = 1
	roughPenalty = 2
	// beyondDoubt are the odds at which a plain timer explains all.
	beyondDoubt = 15
)

func sigmoid(odds float64) float64 { return 1 / (1 + math.Exp(-(odds-evenOdds)/oddsScale)) }

// evidence is what speaks for one explanation.
type evidence struct {
	odds  float64 // nats
	fair  float64 // odds of at most enoughGaps
	gaps  int
	timer *timer
	scale int
	null  *irregular // the best
}

// plain reports whether the timer cannot stand for two: its sleeps are within an
// octave and a half, and four in five gaps are one of them or a few.
func (e *evidence) plain(v *view) bool {
	const narrow, few = 12, 2 * binsPerOctave
	lo, hi := e.scale+e.timer.lo, e.scale+e.timer.hi
	return hi-lo <= narrow && 5*v.in(lo-1, hi+few) >= 4*v.gaps
}

// fairOdds returns the odds that so many gaps may give.
func fairOdds(odds float64, gaps int) float64 {
	return odds * min(1, enoughGaps/float64(max(gaps, 1)))
}

// comparison is what is known of H1 and H0 at first.
type comparison struct {
	all               *tables
	least             floor
	timers, irregular firsts
	l1, l0            float32 // log-likelihoods, about
}

func (c *comparison) odds() float64 { return float64(c.l1 - c.l0) }

// first compares both hypotheses roughly.
func (v *view) first(least floor) comparison {
	c := comparison{all: templates().tables(v.gaps), least: least}
	c.irregular = v.firstIrregular(c.all)
	c.timers = v.firstTimer(c.all, least)
	c.l0 = v.roughIrregular(c.all, &c.irregular)
	c.l1 = v.roughTimer(c.all, least, &c.timers)
	return c
}

// compare compares timers with irregular processes, but only roughly if that is
// hopeless. The penalty is taken off the odds.
func (v *view) compare(least floor, penalty float64) (evidence, comparison) {
	c := v.first(least)
	if c.odds() < hopeless+penalty {
		i := c.timers.leader()
		h1 := hypothesis{timer: c.all.timers[i][c.all.seldom].timer, scale: c.timers.fits[i].scale}
		h0 := hypothesis{null: c.all.irregular[c.irregular.leader()].irregular}
		return explain(h1, h0, c.odds()-roughPenalty-penalty, v.gaps), c
	}
	h0, h1 := v.irregular(&c), v.timer(&c)
	return explain(h1, h0, h1.l-h0.l-penalty, v.gaps), c
}

// explain makes evidence of odds.
func explain(h1, h0 hypothesis, odds float64, gaps int) evidence {
	return evidence{odds: odds, fair: fairOdds(odds, gaps), gaps: gaps, timer: h1.timer, scale: h1.scale, null: h0.null}
}

// twoTimers explains long and short gaps by a timer each: two implants, or a sleep
// that was changed. Both a single irregular process, of which whole is known, and
// two of them must do worse.
func (v *view) twoTimers(whole *comparison) (evidence, bool) {
	var short, long view
	if !v.split(&short, &long) || short.gaps < fewestGaps || long.gaps < fewestGaps {
		return evidence{}, false
	}
	n, a, b := float64(v.gaps), float64(short.gaps), float64(long.gaps)
	mixing := a*math.Log(a/n) + b*math.Log(b/n)
	as, bs := short.first(floorSessions), long.first(floorSessions)
	if rough := float64(as.l1+bs.l1-whole.l0) + mixing; min(rough, as.odds()+bs.odds()) < hopeless+morePenalty {
		return evidence{}, false
	}
	a0, b0 := short.irregular(&as), long.irregular(&bs)
	a1, b1 := short.timer(&as), long.timer(&bs)
	one := a1.l + b1.l + mixing - v.irregular(whole).l
	two := a1.l + b1.l - a0.l - b0.l
	if b > a {
		a1, a0 = b1, b0
	}
	return explain(a1, a0, min(one, two)-morePenalty, v.gaps), true
}

// offer keeps the explanation if it is better than what is there.
func (r *Result) offer(e *evidence, c Channel, f Form) {
	if r.Form != FormNone && e.fair <= r.fair {
		return
	}
	r.fair, r.LogOdds, r.PerGap, r.Gaps = e.fair, e.odds, e.odds/float64(e.gaps), e.gaps
	r.Channel, r.Form, r.Lag, r.Windows, r.Coverage = c, f, 1, 0, 0
	r.Jitter, r.Missed, r.Irregular = e.timer.jitter, e.timer.missed, e.null.name
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
	if next := float64(t.newest) + r.Period*1000; next < math.MaxInt64/1e6 {
		r.Next = int64(next) * 1e6
	}
}

// mean returns the mean of the last gaps that lie in the bins from lo to hi, in
// seconds; 0 if none does.
func (t *Track) mean(lo, hi int, heads bool) float64 {
	sum, n, since := 0.0, 0, int64(0)
	begun := !heads || t.heads&1 != 0
	for i := 1; i < int(t.held); i++ {
		since += int64(t.since[i])
		if heads && t.heads&(1<<i) == 0 {
			continue
		}
		if !begun {
			begun, since = true, 0
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
