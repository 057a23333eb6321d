package tempo

import (
	"math"
)

const (
	// windowBins is the width of all narrow windows together: 3/4 octave.
	windowBins  = 6
	mostParts   = 3
	minScanOdds = 8 // nats
	wilsonZ     = 2 // standard errors
)

// nullMass is about the most that an irregular process puts into such windows, by
// lag: an Erlang distribution of three stages at its mode, and sums of two and three
// gaps of which half is a pause.
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
		if l <= 0 || period/float64(lag) < 3 || fair <= r.fair {
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
