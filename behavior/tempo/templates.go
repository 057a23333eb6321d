package tempo

import (
	"math"
	"sync"
)

const (
	// A template is a table over the bins of gap/scale, from -168 about the scale
	// to well above, padded so that a bin number needs no bounds check. The scale
	// may lie below the histogram.
	tableZero = numBins - 1
	tableLen  = tableZero + 256 - minScale
	minScale  = -32

	numMixtures = 3
	numMisses   = 6
	// middling is the contamination with which templates are tried first.
	middling = 1
	// spread is how many bins contamination is spread over: any gap at all.
	spread = numBins
)

// template is the logarithm of the probabilities of the bins under one process,
// with each of the contaminations.
type template struct {
	log    [numMixtures][tableLen]float32
	middle int // bin of the median, relative to the scale
}

// timer is a template of H1: gaps are sums of sleeps, each uniform in period x
// (1 +- jitter), as many as check-ins are missed before one is seen.
type timer struct {
	template
	jitter float64
	missed float64 // share of check-ins
	lo, hi int     // bins of a single sleep
}

// irregular is a template of H0.
type irregular struct {
	template
	name string
	peak float64 // most that windowBins neighbouring bins hold
}

// likelyTimer and likelyNull are templates with their priors, at each scale.
type (
	likelyTimer struct {
		*timer
		prior float64
	}
	likelyNull struct {
		*irregular
		prior float64
	}
)

// tables are the templates that are compared.
type tables struct {
	timers [][]likelyTimer // by width and share of missed check-ins
	// seldom is the share of missed check-ins with which a width is tried first.
	seldom    int
	irregular []likelyNull
}

var (
	// widths are how far the longest sleep lies above the shortest, in bins. A timer
	// is sharply bounded, so these lie as dense as the bins.
	widths = []float64{0.3, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 20, 22, 25, 28, 32, 38, 48, 100}
	misses = [numMisses]float64{0, 0.05, 0.12, 0.2, 0.3, 0.42}
	// contaminations are shares of gaps that are anything. Both hypotheses have the
	// same, or bursts alone would decide between them.
	contaminations = [numMixtures]float64{0.002, 0.03, 0.12}

	// The priors: a fifth of timers have no jitter, others the less likely the more.
	// Few miss many check-ins. Each family of irregular processes is as likely as any.
	noJitter      = 0.2
	missedPrior   = [numMisses]float64{0.25, 0.2, 0.2, 0.2, 0.1, 0.05}
	mixturesPrior = [numMixtures]float64{0.6, 0.3, 0.1}
)

// templates computes all tables once, in some 20 ms. They are the same on each run:
// nothing is drawn.
var templates = sync.OnceValue(computeTemplates)

// allTables are the tables for many gaps, and those for few, which cannot tell
// neighbouring templates from each other, with every other template.
type allTables struct{ fine, coarse tables }

// tables returns those for the number of gaps.
func (all *allTables) tables(gaps int) *tables {
	const few = 30
	if gaps < few {
		return &all.coarse
	}
	return &all.fine
}

func computeTemplates() *allTables {
	timers := make([][numMisses]timer, len(widths))
	for i, w := range widths {
		timers[i] = timersOf(jitterOf(w))
	}
	shapes := make([]irregular, len(families))
	for i, f := range families {
		shapes[i].name = f.name
		shapes[i].fill(f.cdf)
		shapes[i].peak = shapes[i].densest(windowBins)
	}
	return &allTables{choose(timers, shapes, 1), choose(timers, shapes, 2)}
}

// choose takes each step-th template.
func choose(timers [][numMisses]timer, shapes []irregular, step int) (t tables) {
	missed := 0.0
	for m := 0; m < numMisses; m += step {
		missed += missedPrior[m]
	}
	below := 0.0
	for i := 0; i < len(timers); i += step {
		above := 1.0
		if i+step < len(timers) {
			above = (timers[i][0].jitter + timers[i+step][0].jitter) / 2
		}
		prior := (1 - noJitter) * (above - below) * (2 - above - below) // of a density 2(1-j)
		if below = above; i == 0 {
			prior += noJitter
		}
		var row []likelyTimer
		for m := 0; m < numMisses; m += step {
			row = append(row, likelyTimer{&timers[i][m], prior * missedPrior[m] / missed / numBins})
		}
		t.timers = append(t.timers, row)
	}
	t.seldom = 2 / step
	seen, kept := map[string]int{}, map[string]float64{}
	for i := range shapes {
		s := &shapes[i]
		if seen[s.name]++; (seen[s.name]-1)%step == 0 {
			t.irregular = append(t.irregular, likelyNull{s, 0})
			kept[s.name]++
		}
	}
	for i := range t.irregular {
		h := &t.irregular[i]
		h.prior = 1 / (kept[h.name] * float64(len(kept)) * numBins)
	}
	return t
}

// jitterOf returns the jitter of a width: (1+j)/(1-j) = 2^(width/8).
func jitterOf(width float64) float64 { return math.Tanh(width / binsPerOctave * math.Ln2 / 2) }

// timersOf returns the templates of one jitter.
func timersOf(jitter float64) (all [numMisses]timer) {
	sums := sleepSums(jitter)
	for i, m := range misses {
		t := &all[i]
		t.jitter, t.missed = jitter, m
		t.fill(func(x float64) float64 { return missedCDF(sums, m, x) })
		t.lo, t.hi = offset(1-jitter), offset(1+jitter)
	}
	return all
}

// offset returns the bin of gap/scale, not lower than the tables go.
func offset(x float64) int {
	return int(math.Floor(binsPerOctave * math.Log2(max(x, 1.0/16))))
}

// fill computes the table of a distribution of gap/scale from its distribution
// function. The scale lies anywhere in its bin, so the mean over four places is
// taken.
func (t *template) fill(cdf func(float64) float64) {
	const phases = 4
	var p [2*numBins - 1 - minScale]float64
	for phase := range phases {
		shift := (float64(phase) + 0.5) / phases
		below := 0.0
		for i := range p {
			at := cdf(math.Exp2((float64(i-tableZero+1) + shift - 1) / binsPerOctave))
			if i > 0 {
				p[i] += (at - below) / phases
			}
			below = at
		}
	}
	sum := 0.0
	for i := range tableLen {
		q := 0.0
		if i < len(p) {
			q = p[i]
			if sum < 0.5 && sum+q >= 0.5 {
				t.middle = i - tableZero
			}
			sum += q
		}
		for m, c := range contaminations {
			t.log[m][i] = float32(math.Log((1-c)*q + c/spread))
		}
	}
}

// densest returns the largest probability of so many neighbouring bins.
func (t *template) densest(width int) float64 {
	most := 0.0
	for i := 0; i+width <= tableLen; i++ {
		p := 0.0
		for _, l := range t.log[0][i : i+width] {
			p += math.Exp(float64(l))
		}
		most = max(most, p)
	}
	return most
}

const (
	// gridStep is the step of the grid on which sleeps are added up, in periods.
	gridStep = 1.0 / 256
	maxSums  = 8 // sleeps in one gap; more are 0.07 % at 40 % missed
)

// sleepSums returns the distribution functions of the sum of 1 to 8 sleeps, each
// uniform in 1 +- jitter, on a grid: the convolution with a uniform distribution
// is a moving mean.
func sleepSums(jitter float64) [][]float64 {
	size := int(maxSums*(1+jitter)/gridStep) + 2
	sums := make([][]float64, maxSums)
	for k := range sums {
		sums[k] = make([]float64, size)
	}
	for i := range sums[0] {
		sums[0][i] = min(max((float64(i)*gridStep-(1-jitter))/(2*jitter), 0), 1)
	}
	for k := 1; k < maxSums; k++ {
		area := make([]float64, size) // integral of the sum before
		for i := 1; i < size; i++ {
			area[i] = area[i-1] + (sums[k-1][i]+sums[k-1][i-1])/2*gridStep
		}
		for i := range sums[k] {
			x := float64(i) * gridStep
			sums[k][i] = (onGrid(area, x-(1-jitter)) - onGrid(area, x-(1+jitter))) / (2 * jitter)
		}
	}
	return sums
}

// onGrid interpolates; it is the first value below the grid and the last above.
func onGrid(v []float64, x float64) float64 {
	x /= gridStep
	if x <= 0 {
		return v[0]
	}
	i := int(x)
	if i >= len(v)-1 {
		return v[len(v)-1]
	}
	f := x - float64(i)
	return v[i]*(1-f) + v[i+1]*f
}

// missedCDF is the distribution function of the gap when each check-in is missed
// with probability m.
func missedCDF(sums [][]float64, m, x float64) float64 {
	p, rest := 0.0, 1.0
	for k, s := range sums {
		w := rest * (1 - m)
		if k == len(sums)-1 {
			w = rest
		}
		p += w * onGrid(s, x)
		rest -= w
	}
	return p
}

// family is a shape of irregular gaps, given as the distribution function of
// gap/scale.
type family struct {
	name string
	cdf  func(x float64) float64
}

var families = []family{
	weibull(0.4), weibull(0.55), weibull(0.75),
	{"exponential", func(x float64) float64 { return -math.Expm1(-x) }},
	logNormal(0.75), logNormal(0.95), logNormal(1.2), logNormal(1.6), logNormal(2.2),
	pareto(1.05), pareto(1.25), pareto(1.5), pareto(1.75), pareto(2),
	{"gamma", func(x float64) float64 { return 1 - math.Exp(-x)*(1+x) }},
	hypoExponential(0.15), hypoExponential(0.3),
	hyperExponential(8, 0.25), hyperExponential(8, 0.5), hyperExponential(8, 0.75), hyperExponential(8, 0.93),
	hyperExponential(30, 0.25), hyperExponential(30, 0.5), hyperExponential(30, 0.75), hyperExponential(30, 0.93),
	hyperExponential(120, 0.25), hyperExponential(120, 0.5), hyperExponential(120, 0.75), hyperExponential(120, 0.93),
	shifted(0.1), shifted(0.15), shifted(0.2), shifted(0.25), shifted(0.3), shifted(0.35), shifted(0.4), shifted(0.45), shifted(0.5), shifted(0.55), shifted(0.6),
}

func weibull(k float64) family {
	return family{"weibull", func(x float64) float64 { return -math.Expm1(-math.Pow(x, k)) }}
}

func logNormal(sigma float64) family {
	return family{"log-normal", func(x float64) float64 { return math.Erfc(-math.Log(x)/(sigma*math.Sqrt2)) / 2 }}
}

func pareto(a float64) family {
	return family{"pareto", func(x float64) float64 { return 1 - math.Pow(max(x, 1), -a) }}
}

// hypoExponential is the sum of two exponential times, of means r and 1-r,
// for r other than 1/2.
func hypoExponential(r float64) family {
	a, b := 1/r, 1/(1-r)
	return family{"hypo-exponential", func(x float64) float64 {
		return 1 - (a*math.Exp(-b*x)-b*math.Exp(-a*x))/(a-b)
	}}
}

// hyperExponential is one of two exponential times: of mean 1 with a share of
// short, of the mean ratio otherwise. Bursts have such gaps.
func hyperExponential(ratio, short float64) family {
	return family{"hyper-exponential", func(x float64) float64 {
		return -short*math.Expm1(-x) - (1-short)*math.Expm1(-x/ratio)
	}}
}

// shifted is an exponential time after a pause, which is the given share of the
// mean.
func shifted(pause float64) family {
	return family{"shifted exponential", func(x float64) float64 {
		if x <= pause {
			return 0
		}
		return -math.Expm1(-(x - pause) / (1 - pause))
	}}
}
