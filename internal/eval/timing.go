package eval

import (
	"cmp"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sort"
	"text/tabwriter"

	"tidewatch/behavior/tempo"
	"tidewatch/internal/synth/timing"
)

const (
	// timingSeed draws what WriteTiming prints. Thresholds and templates were chosen
	// with other seeds.
	timingSeed = 20260302
	// timingPairs are drawn of each population, timers and irregular processes each.
	timingPairs = 2500
	// timingTrials are drawn of each scenario.
	timingTrials = 100
)

// timed is one pair with what each method says of it.
type timed struct {
	timer  bool
	jitter float64
	// The scores of its whole life, and whether two looks in a row found a timer.
	ours, timesOnly, rita float64
	twice                 bool
}

// WriteTiming prints how well package tempo tells timers from irregular processes on
// simulated pairs, beside RITA's formula on the same pairs.
func WriteTiming(w io.Writer) error {
	reference := timing.General
	reference.Least, reference.Most, reference.Uniform = 10, 6*3600, true
	for i, p := range []struct {
		name string
		timing.Population
	}{
		{"periods of 10 s to 6 h, 15 to 1,000 check-ins", reference},
		{"periods of 5 s to 24 h, as many with 15 to 40 check-ins as with 375 to 1,000", timing.General},
	} {
		all := drawTimed(timingSeed+uint64(i), p.Population, timingPairs)
		fmt.Fprintf(w, "\n%s\n(jitter up to 90 %%, up to 30 %% missed, bursts, changes, working hours; %d timers, %d irregular)\n\n", p.name, timingPairs, timingPairs)
		if err := writeMethods(w, all); err != nil {
			return err
		}
	}
	if err := writeCheckIns(w); err != nil {
		return err
	}
	return writeTimingScenarios(w)
}

func writeMethods(w io.Writer, all []timed) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "method\tAUC\tTPR at 1 % FPR\tTPR at 0.1 % FPR\tjitter 0-30 %\t30-60 %\t60-90 %\t")
	for _, m := range []struct {
		name  string
		score func(*timed) float64
	}{
		{"tidewatch", func(t *timed) float64 { return t.ours }},
		{"tidewatch, times only", func(t *timed) float64 { return t.timesOnly }},
		{"RITA's formula", func(t *timed) float64 { return t.rita }},
	} {
		fmt.Fprintf(tw, "%s\t%.3f\t%.3f\t%.3f\t", m.name, auc(all, m.score), tpr(all, 0.01, 0, 1, m.score), tpr(all, 0.001, 0, 1, m.score))
		for _, from := range []float64{0, 0.3, 0.6} {
			fmt.Fprintf(tw, "%.3f\t", tpr(all, 0.001, from, from+0.3, m.score))
		}
		fmt.Fprintln(tw)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	found, false_, timers, others := 0, 0, 0, 0
	for i := range all {
		t := &all[i]
		if t.timer {
			timers++
		} else {
			others++
		}
		switch {
		case t.twice && t.timer:
			found++
		case t.twice:
			false_++
		}
	}
	low, high := wilson(false_, others)
	_, err := fmt.Fprintf(w, "as it is used (two looks in a row, over the pair's life): %.3f of timers found, %.4f of the others (95 %%: %.4f to %.4f)\n",
		float64(found)/float64(timers), float64(false_)/float64(others), low, high)
	return err
}

func track(s timing.Series) *tempo.Track {
	t := new(tempo.Track)
	for i, at := range s.Start {
		t.Add(at, s.Bytes[i])
	}
	return t
}

// ritaOf scores the last 24 hours of a series.
func ritaOf(s timing.Series) float64 {
	n := len(s.Start)
	to := s.Start[n-1] / 1e9
	from := to - 86400
	i := sort.Search(n, func(i int) bool { return s.Start[i]/1e9 >= from })
	starts := make([]int64, 0, n-i)
	for _, at := range s.Start[i:] {
		starts = append(starts, at/1e9)
	}
	score, _ := tempo.RITA(starts, s.Bytes[i:], from, to)
	return score.Score
}

// looks returns at how many sessions two looks at a series in a row found a timer; 0:
// never.
func looks(s timing.Series) int {
	t := new(tempo.Track)
	before := false
	for i, at := range s.Start {
		n := t.Sessions()
		if t.Add(at, s.Bytes[i]); t.Sessions() == n || !tempo.Due(t.Sessions()) {
			continue
		}
		r := tempo.Evaluate(t)
		now := r.Fused >= 0.5
		if now && before {
			return int(t.Sessions())
		}
		before = now
	}
	return 0
}

// drawTimed draws n timers and n irregular processes, and judges them.
func drawTimed(seed uint64, p timing.Population, n int) (all []timed) {
	r := rand.New(rand.NewPCG(seed, seed))
	for range n {
		tm := p.Timer(r)
		all = append(all, judgeSeries(tm.Series(r)))
		all[len(all)-1].timer, all[len(all)-1].jitter = true, tm.Jitter
		all = append(all, judgeSeries(p.Irregular(r).Series(r)))
	}
	return all
}

func judgeSeries(s timing.Series) timed {
	r := tempo.Evaluate(track(s))
	return timed{ours: r.Fused, timesOnly: r.Score, rita: ritaOf(s), twice: looks(s) > 0}
}

// auc is the probability that a timer scores above an irregular process.
func auc(all []timed, score func(*timed) float64) float64 {
	type point struct {
		s     float64
		timer bool
	}
	ps := make([]point, len(all))
	for i := range all {
		ps[i] = point{score(&all[i]), all[i].timer}
	}
	slices.SortFunc(ps, func(a, b point) int { return cmp.Compare(a.s, b.s) })
	below, sum, timers := 0.0, 0.0, 0.0
	for i := 0; i < len(ps); {
		j, p, n := i, 0.0, 0.0
		for ; j < len(ps) && ps[j].s == ps[i].s; j++ {
			if ps[j].timer {
				p++
			} else {
				n++
			}
		}
		sum += p * (below + n/2)
		below += n
		timers += p
		i = j
	}
	return sum / (timers * below)
}

// tpr is the share of the timers with such a jitter above the score that so many of
// the irregular processes exceed.
func tpr(all []timed, fpr, least, most float64, score func(*timed) float64) float64 {
	var others []float64
	for i := range all {
		if !all[i].timer {
			others = append(others, score(&all[i]))
		}
	}
	slices.Sort(others)
	at := others[len(others)-1-int(fpr*float64(len(others)))]
	n, k := 0, 0
	for i := range all {
		if t := &all[i]; t.timer && t.jitter >= least && t.jitter < most {
			n++
			if score(t) > at {
				k++
			}
		}
	}
	return float64(k) / float64(n)
}

// writeCheckIns prints after how many check-ins a timer is found.
func writeCheckIns(w io.Writer) error {
	fmt.Fprintf(w, "\ncheck-ins until it is found (two looks in a row), %d timers of 5 minutes each\n\n", timingTrials)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "jitter\tmissed\tmedian\t90 %\tfound within 400\t")
	r := rand.New(rand.NewPCG(timingSeed, 7))
	for _, c := range []struct {
		name string
		timing.Timer
	}{
		{"none", timing.Timer{}},
		{"+-20 %", timing.Timer{Jitter: 0.2}},
		{"down to 50 %", timing.Timer{Jitter: 0.5, OneSided: true}},
		{"+-50 %", timing.Timer{Jitter: 0.5}},
		{"+-50 %", timing.Timer{Jitter: 0.5, Missed: 0.2}},
		{"+-80 %", timing.Timer{Jitter: 0.8}},
	} {
		c.Period, c.CheckIns, c.Sizes = 300, 400, timing.SizesConstant
		var n []int
		for range timingTrials {
			if k := looks(c.Timer.Series(r)); k > 0 {
				n = append(n, k)
			}
		}
		slices.Sort(n)
		at := func(q float64) string {
			if i := int(q * timingTrials); i < len(n) {
				return fmt.Sprint(n[i])
			}
			return "-"
		}
		fmt.Fprintf(tw, "%s\t%.0f %%\t%s\t%s\t%d %%\t\n", c.name, 100*c.Missed, at(0.5), at(0.9), 100*len(n)/timingTrials)
	}
	return tw.Flush()
}

// writeTimingScenarios prints how often a few timers and irregular processes are
// found.
func writeTimingScenarios(w io.Writer) error {
	fmt.Fprintf(w, "\nscenarios, %d trials each: the share found, and RITA's mean score in the last 24 hours\n\n", timingTrials)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "\tfound\tRITA's score")
	r := rand.New(rand.NewPCG(timingSeed, 8))
	type series interface {
		Series(r *rand.Rand) timing.Series
	}
	const c = timing.SizesConstant
	for _, s := range []struct {
		name string
		series
	}{
		{"60 s, shortened by up to 90 %", timing.Timer{Period: 60, Jitter: 0.9, OneSided: true, CheckIns: 1000, Sizes: c}},
		{"300 s +-30 %, 8 hours a day, 3 days", timing.Timer{Period: 300, Jitter: 0.3, CheckIns: 288, Hours: 8, Sizes: c}},
		{"300 s +-20 % with an operator at work", timing.Timer{Period: 300, Jitter: 0.2, CheckIns: 280, Bursts: 0.05, Sizes: timing.SizesVaried}},
		{"sleep of 60, then 600, then 3,600 s", timing.Timer{Period: 60, Jitter: 0.1, CheckIns: 150, Changes: []float64{600, 3600}, Sizes: c}},
		{"two implants, 60 s and 600 s", timing.Timer{Period: 60, Jitter: 0.1, CheckIns: 400, Interleaved: []timing.Timer{{Period: 600, Jitter: 0.1, CheckIns: 40, Sizes: c}}, Sizes: c}},
		{"4 h +-20 % over 7 days", timing.Timer{Period: 4 * 3600, Jitter: 0.2, CheckIns: 42, Sizes: c}},
		{"8 h +-20 % over 14 days", timing.Timer{Period: 8 * 3600, Jitter: 0.2, CheckIns: 42, Sizes: c}},
		{"24 h +-10 % over 21 days", timing.Timer{Period: 24 * 3600, Jitter: 0.1, CheckIns: 21, Sizes: c}},
		{"Poisson, mean 60 s, one size", timing.Irregular{Kind: timing.Exponential, Mean: 60, Count: 1000, Sizes: c}},
		{"Poisson, mean 600 s, one size", timing.Irregular{Kind: timing.Exponential, Mean: 600, Count: 300, Sizes: c}},
		{"shifted exponential, a third of it a pause", timing.Irregular{Kind: timing.Shifted, Mean: 180, Shape: 0.33, Count: 400, Sizes: c}},
		{"log-normal, sigma 1", timing.Irregular{Kind: timing.LogNormal, Mean: 120, Shape: 1, Count: 400, Sizes: c}},
		{"a person's visits", timing.Irregular{Kind: timing.Sessions, Mean: 300, Shape: 4, Count: 300, Sizes: timing.SizesVaried}},
		{"MMPP bursts", timing.Irregular{Kind: timing.Modulated, Mean: 60, Shape: 20, Count: 400, Sizes: timing.SizesNear}},
	} {
		n, score := 0, 0.0
		for range timingTrials {
			drawn := s.Series(r)
			if looks(drawn) > 0 {
				n++
			}
			score += ritaOf(drawn) / timingTrials
		}
		fmt.Fprintf(tw, "%s\t%.2f\t%.3f\n", s.name, float64(n)/timingTrials, score)
	}
	return tw.Flush()
}
