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

// timingSeed is that of the printed figures. Families, priors and thresholds of
// package tempo were chosen with other seeds: 1 to 200, and 20260302.
const timingSeed = 20_261_124

const (
	positives = 4000
	negatives = 10_000 // a 0.1 % rate is ten of them
	trials    = 200    // of each scenario
	ritaHigh  = 0.75   // RITA's score that is shown as medium and more
)

// timed is one pair with what is said of it.
type timed struct {
	timer   *timing.Timer // nil: an irregular process
	kind    timing.Kind   // of the latter
	result  tempo.Result  // once all is seen
	rita    float64       // of the last 24 h
	byScore reports
	byFused reports
}

// reports is what somebody learns who looks whenever a look is due.
type reports struct {
	ever  bool // one look was positive
	twice int  // sessions at which two looks in a row were; 0: never
	row   int
}

func (p *reports) look(score float64, sessions uint32) {
	if score < 0.5 {
		p.row = 0
		return
	}
	p.ever = true
	if p.row++; p.row == 2 && p.twice == 0 {
		p.twice = int(sessions)
	}
}

// timeSeries judges one pair.
func timeSeries(s timing.Series) timed {
	var p timed
	t := new(tempo.Track)
	for i, at := range s.Start {
		if t.Add(at, s.Bytes[i]); t.Due() {
			r := tempo.Evaluate(t)
			t.Looked(&r)
			p.byScore.look(r.Score, t.Sessions())
			p.byFused.look(r.Fused, t.Sessions())
		}
	}
	p.result = tempo.Evaluate(t)
	p.rita = ritaScore(s)
	return p
}

// ritaScore is RITA's of the last 24 hours, 0 if there is none.
func ritaScore(s timing.Series) float64 {
	const day = 86400
	to := s.Start[len(s.Start)-1] / 1e9
	i := sort.Search(len(s.Start), func(i int) bool { return s.Start[i]/1e9 >= to-day })
	starts := make([]int64, 0, len(s.Start)-i)
	for _, at := range s.Start[i:] {
		starts = append(starts, at/1e9)
	}
	score, _ := tempo.RITA(starts, s.Bytes[i:], to-day, to)
	return score.Score
}

// timePopulation judges pairs drawn from a population.
func timePopulation(seed uint64, p timing.Population, positives, negatives int) (pos, neg []timed) {
	r := rand.New(rand.NewPCG(seed, 1))
	for range positives {
		t := p.Timer(r)
		x := timeSeries(t.Series(r))
		x.timer = &t
		pos = append(pos, x)
	}
	for range negatives {
		g := p.Irregular(r)
		x := timeSeries(g.Series(r))
		x.kind = g.Kind
		neg = append(neg, x)
	}
	return pos, neg
}

// method is a score to rank pairs by, and where it is called positive.
type method struct {
	name  string
	score func(*timed) float64
	at    float64
}

var methods = []method{
	{"timing score", func(t *timed) float64 { return t.result.Score }, 0.5},
	{"fused score", func(t *timed) float64 { return t.result.Fused }, 0.5},
	{"RITA's formula", func(t *timed) float64 { return t.rita }, ritaHigh},
}

func scores(all []timed, m method) []float64 {
	v := make([]float64, len(all))
	for i := range all {
		v[i] = m.score(&all[i])
	}
	slices.Sort(v)
	return v
}

// shareAbove returns the share of sorted values that are larger, and that are equal.
func shareAbove(v []float64, x float64) (larger, equal float64) {
	lo, _ := slices.BinarySearch(v, x)
	hi := lo + sort.Search(len(v)-lo, func(i int) bool { return v[lo+i] > x })
	return float64(len(v)-hi) / float64(len(v)), float64(hi-lo) / float64(len(v))
}

// auc is the probability that a positive scores above a negative.
func auc(pos, neg []float64) float64 {
	sum := 0.0
	for _, x := range neg {
		larger, equal := shareAbove(pos, x)
		sum += larger + equal/2
	}
	return sum / float64(len(neg))
}

// recallAt is the share of positives above all but a share of the negatives.
func recallAt(pos, neg []float64, rate float64) float64 {
	at := neg[len(neg)-1-int(rate*float64(len(neg)))]
	larger, _ := shareAbove(pos, at)
	return larger
}

// atLeast is the share of sorted values of x and more.
func atLeast(v []float64, x float64) float64 {
	larger, equal := shareAbove(v, x)
	return larger + equal
}

// WriteTiming prints how well package tempo tells timers from irregular processes,
// and RITA's formula beside it. Its figures are always the same.
func WriteTiming(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(tw, "Pairs are drawn with seeds that were not used to choose families, priors and thresholds.\n\n")
	for i, p := range []struct {
		name string
		timing.Population
	}{
		{"general: periods 5 s to 24 h, jitter up to 90 %, up to 30 % missed, 15 to 1000 check-ins", timing.General},
		{"the same, check-ins log-uniform", timing.Short},
		{"periods 10 s to 6 h", timing.Fast},
		{"undisturbed for 24 h, periods 10 s to 1 h", timing.Continuous},
	} {
		pos, neg := timePopulation(timingSeed+uint64(i), p.Population, positives, negatives)
		fmt.Fprintf(tw, "%s; %d timers and %d irregular pairs\n", p.name, positives, negatives)
		writePopulation(tw, pos, neg)
		if i == 0 {
			writeBands(tw, pos)
			writeFalse(tw, neg)
		}
	}
	writeLatency(tw)
	writeScenarios(tw)
	return tw.Flush()
}

func writePopulation(w io.Writer, pos, neg []timed) {
	fmt.Fprint(w, "\tAUC\trecall at 1 % false\tat 0.1 %\trecall\tfalse at its threshold\n")
	for _, m := range methods {
		p, n := scores(pos, m), scores(neg, m)
		fmt.Fprintf(w, "%s\t%.4f\t%.3f\t%.3f\t%.3f\t%.4f\tof %.2f\n", m.name, auc(p, n), recallAt(p, n, 0.01), recallAt(p, n, 0.001), atLeast(p, m.at), atLeast(n, m.at), m.at)
	}
	line := func(name string, of func(*timed) *reports) {
		var ever, twice [2]int
		for i, all := range [][]timed{pos, neg} {
			for j := range all {
				r := of(&all[j])
				ever[i] += count(r.ever)
				twice[i] += count(r.twice > 0)
			}
		}
		f := func(k int, all []timed) float64 { return float64(k) / float64(len(all)) }
		fmt.Fprintf(w, "%s, over a life: one look\trecall %.3f\tfalse %.4f\ttwo in a row\trecall %.3f\tfalse %.4f\n", name, f(ever[0], pos), f(ever[1], neg), f(twice[0], pos), f(twice[1], neg))
	}
	line("timing", func(t *timed) *reports { return &t.byScore })
	line("fused", func(t *timed) *reports { return &t.byFused })
	fmt.Fprintln(w)
}

// writeBands prints the recall by jitter and by what disturbs the timer.
func writeBands(w io.Writer, pos []timed) {
	band := func(name string, in func(t *timing.Timer) bool) {
		n, timer, twice, high := 0, 0, 0, 0
		for i := range pos {
			p := &pos[i]
			if !in(p.timer) {
				continue
			}
			n++
			timer += count(p.result.Score >= 0.5)
			twice += count(p.byScore.twice > 0)
			high += count(p.rita >= ritaHigh)
		}
		f := func(k int) float64 { return float64(k) / float64(max(n, 1)) }
		fmt.Fprintf(w, "%s\t%d\t%.3f\t%.3f\t%.3f\n", name, n, f(timer), f(twice), f(high))
	}
	fmt.Fprint(w, "of the general ones\tpairs\ttiming at the end\ttwice in a row\tRITA's formula\n")
	for _, lo := range []float64{0, 0.3, 0.6} {
		for _, oneSided := range []bool{false, true} {
			kind := map[bool]string{false: "both ways", true: "shorter only"}[oneSided]
			band(fmt.Sprintf("jitter %.0f to %.0f %%, %s", 100*lo, 100*lo+30, kind), func(t *timing.Timer) bool {
				return t.Jitter >= lo && t.Jitter < lo+0.3 && t.OneSided == oneSided
			})
		}
	}
	band("15 to 29 check-ins", func(t *timing.Timer) bool { return t.CheckIns < 30 })
	band("30 to 99", func(t *timing.Timer) bool { return t.CheckIns >= 30 && t.CheckIns < 100 })
	band("100 to 299", func(t *timing.Timer) bool { return t.CheckIns >= 100 && t.CheckIns < 300 })
	band("300 and more", func(t *timing.Timer) bool { return t.CheckIns >= 300 })
	band("bursts of work", func(t *timing.Timer) bool { return t.Bursts > 0 })
	band("the sleep changes", func(t *timing.Timer) bool { return len(t.Changes) > 0 })
	band("working hours", func(t *timing.Timer) bool { return t.Hours > 0 })
	fmt.Fprintln(w)
}

// writeFalse prints what irregular processes are taken for timers.
func writeFalse(w io.Writer, neg []timed) {
	fmt.Fprint(w, "irregular\tpairs\ttiming at the end\ttwice in a row\tfused twice\tRITA's formula\n")
	for k := range timing.NumKinds {
		n, timer, twice, fused, high := 0, 0, 0, 0, 0
		for i := range neg {
			if p := &neg[i]; p.kind == k {
				n++
				timer += count(p.result.Score >= 0.5)
				twice += count(p.byScore.twice > 0)
				fused += count(p.byFused.twice > 0)
				high += count(p.rita >= ritaHigh)
			}
		}
		fmt.Fprintf(w, "%v\t%d\t%d\t%d\t%d\t%d\n", k, n, timer, twice, fused, high)
	}
	fmt.Fprintln(w)
}

func count(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

// Latency is how many check-ins it takes until two looks in a row are positive: the
// median and the 90 % quantile, by the timing score and by the fused one. 0: never.
type Latency struct {
	Name                  string
	Median, P90           int
	FusedMedian, FusedP90 int
}

var latencies = []struct {
	name string
	timing.Timer
}{
	{"no jitter", timing.Timer{}},
	{"+-20 %", timing.Timer{Jitter: 0.2}},
	{"50 % shorter", timing.Timer{Jitter: 0.5, OneSided: true}},
	{"+-50 %", timing.Timer{Jitter: 0.5}},
	{"+-50 %, 20 % missed", timing.Timer{Jitter: 0.5, Missed: 0.2}},
	{"+-80 %", timing.Timer{Jitter: 0.8}},
	{"100 % shorter", timing.Timer{Jitter: 1, OneSided: true}},
}

// Latencies measures how soon timers of 300 s are found.
func Latencies() []Latency {
	all := make([]Latency, len(latencies))
	for i, l := range latencies {
		r := rand.New(rand.NewPCG(timingSeed, uint64(i)))
		l.Period, l.CheckIns = 300, 600
		var score, fused []int
		for range trials {
			x := timeSeries(l.Series(r))
			score, fused = append(score, x.byScore.twice), append(fused, x.byFused.twice)
		}
		all[i] = Latency{l.name, rank(score, 0.5), rank(score, 0.9), rank(fused, 0.5), rank(fused, 0.9)}
	}
	return all
}

// rank returns a quantile of counts of which 0 stands for never, which is most.
func rank(counts []int, q float64) int {
	slices.SortFunc(counts, func(a, b int) int { return cmp.Compare(uint(a-1), uint(b-1)) })
	return counts[int(q*float64(len(counts)))]
}

func writeLatency(w io.Writer) {
	fmt.Fprintf(w, "check-ins until two looks in a row say so, %d timers of 300 s each\ttiming: median\t90 %%\tfused: median\t90 %%\n", trials)
	for _, l := range Latencies() {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\n", l.Name, l.Median, l.P90, l.FusedMedian, l.FusedP90)
	}
	fmt.Fprintln(w)
}

// Scenario is a kind of pair with how it is judged.
type Scenario struct {
	Name     string
	Timer    bool
	Found    float64 // share of pairs whose timing score is 0.5 or more at the end
	Twice    float64 // share with two such looks in a row
	Fused    float64 // the same by the fused score
	Median   int     // check-ins until then, of all pairs; 0: never
	RITA     float64 // mean
	RITAHigh float64 // share of 0.75 and more
}

// Scenarios judges the pairs that have names.
func Scenarios() []Scenario {
	all := make([]Scenario, 0, len(timers)+len(irregulars))
	for i, t := range timers {
		r := rand.New(rand.NewPCG(timingSeed, uint64(100+i)))
		s := judgeMany(func() timing.Series { return t.Series(r) })
		s.Name, s.Timer = t.name, true
		all = append(all, s)
	}
	for i, g := range irregulars {
		r := rand.New(rand.NewPCG(timingSeed, uint64(200+i)))
		s := judgeMany(func() timing.Series { return g.Series(r) })
		s.Name = g.name
		all = append(all, s)
	}
	return all
}

func judgeMany(draw func() timing.Series) (s Scenario) {
	var seen []int
	for range trials {
		x := timeSeries(draw())
		s.Found += float64(count(x.result.Score >= 0.5)) / trials
		s.Twice += float64(count(x.byScore.twice > 0)) / trials
		s.Fused += float64(count(x.byFused.twice > 0)) / trials
		s.RITA += x.rita / trials
		s.RITAHigh += float64(count(x.rita >= ritaHigh)) / trials
		seen = append(seen, x.byScore.twice)
	}
	s.Median = rank(seen, 0.5)
	return s
}

var timers = []struct {
	name string
	timing.Timer
}{
	{"60 s, 50 % shorter, a day", timing.Timer{Period: 60, Jitter: 0.5, OneSided: true, CheckIns: 1900}},
	{"60 s, 90 % shorter, a day", timing.Timer{Period: 60, Jitter: 0.9, OneSided: true, CheckIns: 2600}},
	{"120 s, 100 % both ways, a day", timing.Timer{Period: 120, Jitter: 1, CheckIns: 720}},
	{"300 s +-50 %, 20 % missed, a day", timing.Timer{Period: 300, Jitter: 0.5, Missed: 0.2, CheckIns: 230}},
	{"60 s +-20 %, first 15", timing.Timer{Period: 60, Jitter: 0.2, CheckIns: 15}},
	{"300 s +-50 %, first 20", timing.Timer{Period: 300, Jitter: 0.5, CheckIns: 20}},
	{"300 s +-30 %, 8 h a day, 3 days", timing.Timer{Period: 300, Jitter: 0.3, Hours: 8, CheckIns: 280}},
	{"300 s +-20 %, bursts of work, a day", timing.Timer{Period: 300, Jitter: 0.2, Bursts: 0.05, CheckIns: 270}},
	{"sleep 60, then 600, then 3600 s +-10 %", timing.Timer{Period: 60, Jitter: 0.1, Changes: []float64{600, 3600}, CheckIns: 150}},
	{"two periods, 60 and 900 s +-10 %", timing.Timer{Period: 60, Jitter: 0.1, Changes: []float64{900, 60, 900}, CheckIns: 200}},
	{"two implants, 60 and 900 s +-10 %", timing.Timer{Period: 60, Jitter: 0.1, CheckIns: 1400, Interleaved: []timing.Timer{{Period: 900, Jitter: 0.1, CheckIns: 95}}}},
	{"5 s, no jitter, an hour", timing.Timer{Period: 5, CheckIns: 720}},
	{"1 h +-20 %, 2 days", timing.Timer{Period: 3600, Jitter: 0.2, CheckIns: 48}},
	{"4 h +-20 %, 7 days", timing.Timer{Period: 4 * 3600, Jitter: 0.2, CheckIns: 42}},
	{"8 h +-20 %, 14 days", timing.Timer{Period: 8 * 3600, Jitter: 0.2, CheckIns: 42}},
	{"24 h +-10 %, 21 days", timing.Timer{Period: 24 * 3600, Jitter: 0.1, CheckIns: 21}},
}

var irregulars = []struct {
	name string
	timing.Irregular
}{
	{"Poisson, 60 s, constant size, a day", timing.Irregular{Kind: timing.Exponential, Mean: 60, Count: 1440}},
	{"Poisson, 600 s, constant size, 2 days", timing.Irregular{Kind: timing.Exponential, Mean: 600, Count: 288}},
	{"60 s and an exponential 120 s, constant size", timing.Irregular{Kind: timing.Shifted, Mean: 180, Shape: 1.0 / 3, Count: 480}},
	{"log-normal, sigma 1, constant size", timing.Irregular{Kind: timing.LogNormal, Mean: 120, Shape: 1, Count: 720}},
	{"people", timing.Irregular{Kind: timing.Sessions, Mean: 60, Shape: 4, Count: 400, Sizes: timing.SizesVaried}},
	{"MMPP", timing.Irregular{Kind: timing.Modulated, Mean: 120, Shape: 20, Count: 500, Sizes: timing.SizesNear}},
	{"diurnal, constant size", timing.Irregular{Kind: timing.Diurnal, Mean: 120, Shape: 0.9, Count: 1000}},
	{"superposed", timing.Irregular{Kind: timing.Superposed, Mean: 120, Shape: 4, Count: 500, Sizes: timing.SizesNear}},
	{"Pareto 1.5", timing.Irregular{Kind: timing.Pareto, Mean: 120, Shape: 1.5, Count: 500, Sizes: timing.SizesNear}},
}

func writeScenarios(w io.Writer) {
	fmt.Fprintf(w, "%d pairs each\ttiming at the end\ttwice in a row\tfused twice\tmedian check-ins\tRITA's mean\tof %.2f\n", trials, ritaHigh)
	for _, s := range Scenarios() {
		fmt.Fprintf(w, "%s\t%.2f\t%.2f\t%.2f\t%d\t%.3f\t%.2f\n", s.Name, s.Found, s.Twice, s.Fused, s.Median, s.RITA, s.RITAHigh)
	}
}
