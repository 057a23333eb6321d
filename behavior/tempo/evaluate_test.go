package tempo

import (
	"math"
	"math/rand/v2"
	"testing"
)

// Each template is a distribution over all gaps, at least as far as they fit into
// the tables, and its median is where it says.
func TestTemplates(t *testing.T) {
	f := func(name string, p *template) {
		t.Helper()
		for m := range p.log {
			sum := 0.0
			for _, l := range p.log[m][:2*numBins-1-minScale] {
				sum += math.Exp(float64(l))
			}
			// Contamination lies in numBins bins, of a few more.
			spare := contaminations[m] * float64(len(p.log[m][:2*numBins-1-minScale])-numBins) / numBins
			if math.Abs(sum-spare-1) > 0.005 {
				t.Errorf("%s, contamination %d: the sum is %.4f", name, m, sum-spare)
			}
		}
		below := 0.0
		for _, l := range p.log[0][:tableZero+p.middle] {
			below += math.Exp(float64(l))
		}
		if below > 0.51 || below+math.Exp(float64(p.log[0][tableZero+p.middle])) < 0.49 {
			t.Errorf("%s: %.3f lies below the median's bin", name, below)
		}
	}
	all := templates()
	for _, tables := range []*tables{&all.fine, &all.coarse} {
		prior := 0.0
		for _, row := range tables.timers {
			for _, x := range row {
				f("timer", &x.template)
				prior += x.prior * numBins
			}
		}
		if math.Abs(prior-1) > 1e-9 {
			t.Errorf("the priors of timers add up to %v", prior)
		}
		prior = 0
		for _, x := range tables.irregular {
			f(x.name, &x.template)
			prior += x.prior * numBins
		}
		if math.Abs(prior-1) > 1e-9 {
			t.Errorf("the priors of irregular processes add up to %v", prior)
		}
	}
}

// The tables are what is drawn from the process, within four standard errors.
func TestTemplatesAgainstSamples(t *testing.T) {
	const n = 200_000
	r := rand.New(rand.NewPCG(1, 2))
	for _, i := range []int{0, 5, 12, len(widths) - 1} {
		for m := range misses {
			x := timersOf(jitterOf(widths[i]))[m]
			gap := sleeping(1, x.jitter, x.missed)
			var counts [tableLen]float64
			for range n {
				phase := math.Exp2(r.Float64() / binsPerOctave) // the scale lies anywhere in its bin
				b := int(math.Floor(binsPerOctave*math.Log2(gap(r)*phase))) + tableZero
				counts[max(b, 0)]++
			}
			for b, c := range counts {
				p := math.Exp(float64(x.log[0][b])) - contaminations[0]/spread
				p = max(p, 0) / (1 - contaminations[0])
				// The mean over four places of the scale is not that over all.
				if d := math.Abs(c/n - p); d > 4*math.Sqrt(p/n)+0.02*p+0.02 {
					t.Fatalf("jitter %.2f, missed %.2f, bin %d: %.4f drawn, %.4f in the table", x.jitter, x.missed, b-tableZero, c/n, p)
				}
			}
		}
	}
}

// share returns which share of trials has a score of 0.5 and more.
func share(trials int, draw func(r *rand.Rand) *Track) float64 {
	k := 0
	for seed := range trials {
		if r := Evaluate(draw(rand.New(rand.NewPCG(11, uint64(seed))))); r.Score >= 0.5 {
			k++
		}
	}
	return float64(k) / float64(trials)
}

func TestFinds(t *testing.T) {
	f := func(name string, least float64, n int, gap func(r *rand.Rand) float64) {
		t.Helper()
		if got := share(100, func(r *rand.Rand) *Track { return trackOf(r, n, gap) }); got < least {
			t.Errorf("%s: found in %.2f of trials, want %.2f", name, got, least)
		}
	}
	f("no jitter, 6 sessions", 1, 6, sleeping(60, 0, 0))
	f("5 s", 1, 20, sleeping(5, 0.1, 0))
	f("24 h", 1, 21, sleeping(86400, 0.1, 0))
	f("20 %, 10 sessions", 0.85, 10, sleeping(300, 0.2, 0))
	f("50 %, 30 sessions", 0.8, 30, sleeping(300, 0.5, 0))
	f("80 %, 100 sessions", 0.95, 100, sleeping(300, 0.8, 0))
	f("30 %, a fifth missed", 0.95, 100, sleeping(300, 0.3, 0.2))
	f("two requests a check-in", 0.95, 80, func(r *rand.Rand) float64 {
		if r.IntN(2) == 0 { // in any order: the gaps alone
			return 5 + r.Float64()
		}
		return 600 * (0.9 + 0.2*r.Float64())
	})
	f("bursts of work", 0.95, 200, func(r *rand.Rand) float64 {
		if r.IntN(2) == 0 {
			return 2 + 3*r.ExpFloat64()
		}
		return 300 * (0.8 + 0.4*r.Float64())
	})
}

func TestQuiet(t *testing.T) {
	shifted := func(pause, mean float64) func(r *rand.Rand) float64 {
		return func(r *rand.Rand) float64 { return pause + mean*r.ExpFloat64() }
	}
	f := func(name string, gap func(r *rand.Rand) float64) {
		t.Helper()
		for _, n := range []int{10, 40, 300, 2000} {
			if got := share(200, func(r *rand.Rand) *Track { return trackOf(r, n, gap) }); got > 0.01 {
				t.Errorf("%s, %d sessions: taken for a timer in %.3f of trials", name, n, got)
			}
		}
	}
	f("exponential", exponential)
	f("fast exponential", shifted(0, 2))
	f("exponential about the gap of bursts", shifted(0, 25))
	f("log-normal", logNormalGap)
	f("Pareto", paretoGap)
	f("shifted exponential", shifted(60, 120))
	f("Weibull", func(r *rand.Rand) float64 { return 60 * math.Pow(r.ExpFloat64(), 2) })
	f("two rates", func(r *rand.Rand) float64 {
		if r.IntN(3) == 0 {
			return 2000 * r.ExpFloat64()
		}
		return 20 * r.ExpFloat64()
	})
}

// What is said of a timer is near the truth.
func TestSays(t *testing.T) {
	near := func(what string, got, want, off float64) {
		t.Helper()
		if math.Abs(got-want) > off {
			t.Errorf("%s is %.3f, want %.3f +- %.3f", what, got, want, off)
		}
	}
	tr := trackOf(rand.New(rand.NewPCG(12, 1)), 200, sleeping(300, 0.3, 0.2))
	r := Evaluate(tr)
	near("period", r.Period, 300, 30)
	near("jitter", r.Jitter, 0.3, 0.06)
	near("missed", r.Missed, 0.2, 0.1)
	near("next", float64(r.Next-tr.Last())/1e9, 300, 30)
	near("periods", r.Periods, 250, 30)
	near("sizes", r.SizeScore, 1, 0)
	if r.Form != FormTimer || r.Channel != ChannelSessions || r.Gaps != 199 || r.Irregular == "" || r.Hours < 15 {
		t.Errorf("%+v", r)
	}
	seconds, shortened := r.Sleep()
	near("longest sleep", seconds, 390, 40)
	near("shortened by", shortened, 0.46, 0.08)

	var two Track
	for i := range int64(100) { // 60 s, then 900 s
		two.Add(two.Last()+epoch*second*boolean(i == 0)+(60+840*(i/50))*second, 1)
	}
	if r := Evaluate(&two); r.Form != FormTwoTimers && r.Form != FormWindows || r.Score < 0.5 {
		t.Errorf("two sleeps: %v, score %.2f", r.Form, r.Score)
	}
}

func boolean(yes bool) int64 {
	if yes {
		return 1
	}
	return 0
}

// A timer that begins after much else is found among the last sessions.
func TestRecent(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 1))
	tr := trackOf(r, 200, exponential)
	gap := sleeping(300, 0.05, 0)
	for range 16 {
		tr.Add(tr.Last()+int64(gap(r)*1e9), 1)
	}
	if res := Evaluate(tr); res.Form != FormRecent || res.Score < 0.5 || math.Abs(res.Period-300) > 10 {
		t.Errorf("%v, score %.2f, period %.0f", res.Form, res.Score, res.Period)
	}
}

// Equal sizes raise the fused score, varied ones lower it.
func TestSizes(t *testing.T) {
	draw := func(size func(r *rand.Rand) uint64) *Track {
		r := rand.New(rand.NewPCG(14, 1))
		var tr Track
		for _, at := range startsOf(rand.New(rand.NewPCG(14, 2)), 12, sleeping(300, 0.4, 0)) {
			tr.Add(at, size(r))
		}
		return &tr
	}
	same := Evaluate(draw(func(*rand.Rand) uint64 { return 700 }))
	varied := Evaluate(draw(func(r *rand.Rand) uint64 { return 100 << r.IntN(12) }))
	if same.Score != varied.Score || same.SizeScore != 1 || varied.SizeScore > 0.2 || same.Fused <= varied.Fused {
		t.Errorf("same sizes %+v, varied %+v", same, varied)
	}
	few := Evaluate(draw(func(*rand.Rand) uint64 { return 0 }))
	if few.SizeScore != 1 {
		t.Errorf("no bytes at all: %.2f", few.SizeScore)
	}
}

func TestTooFew(t *testing.T) {
	for n := range 6 {
		r := Evaluate(trackOf(rand.New(rand.NewPCG(15, 1)), n, sleeping(60, 0, 0)))
		if r.Form != FormNone || r.Score >= 0.5 || r.Fused >= 0.5 {
			t.Errorf("%d sessions: %+v", n, r)
		}
	}
}
