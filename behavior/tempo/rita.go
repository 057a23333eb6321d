package tempo

import (
	"math"
	"slices"
)

// RITAScore is the beacon score that users of RITA v5 know, with its four equal
// parts, each 0 to 1. It is for comparison; no finding depends on it.
type RITAScore struct {
	Score     float64
	Timing    float64 // skew and deviation of the gaps
	Size      float64 // the same of the sizes
	Duration  float64 // how much of the window is covered
	Histogram float64 // how even the 24 parts of the window are
}

const (
	ritaBins    = 24
	ritaUnique  = 4      // distinct seconds that are needed
	ritaMost    = 86_400 // connections from which on it is called a strobe instead
	ritaBars    = 11     // bins that are needed for two levels to be looked for
	ritaDurBars = 6
	ritaLevel   = 0.05 // of the highest bin: bins within it have one height
)

// RITA returns RITA's beacon score. starts are Unix seconds in ascending order,
// bytes the originator's IP bytes of each, and from and to the window, of 24 hours
// at most, in Unix seconds. It is false if RITA would not score the pair. It
// allocates. The formula is that of RITA's documentation and output, published with
// its weights; the result is rounded to three places as there.
func RITA(starts []int64, bytes []uint64, from, to int64) (RITAScore, bool) {
	gaps := make([]float64, 0, len(starts))
	for i := 1; i < len(starts); i++ {
		if g := starts[i] - starts[i-1]; g > 0 {
			gaps = append(gaps, float64(g))
		}
	}
	if len(gaps) < ritaUnique-1 || len(starts) >= ritaMost || from >= to {
		return RITAScore{}, false
	}
	sizes := make([]float64, len(bytes))
	for i, b := range bytes {
		sizes[i] = float64(b)
	}
	bins := ritaHistogram(starts, from, to)
	s := RITAScore{Timing: ritaRegularity(gaps, 1), Size: ritaRegularity(sizes, 0)}
	s.Histogram = max(ritaEvenness(&bins), ritaTwoLevels(&bins))
	s.Duration = ritaDuration(&bins, float64(starts[len(starts)-1]-starts[0])/float64(to-from))
	s.Score = round3((s.Timing + s.Size + s.Duration + s.Histogram) / 4)
	return s, true
}

func round3(x float64) float64 { return math.Round(x*1000) / 1000 }

func ceil3(x float64) float64 { return math.Ceil(x*1000) / 1000 }

// median is that of sorted values.
func median(v []float64) float64 {
	n := len(v)
	if n == 0 {
		return 0
	}
	if n%2 == 1 {
		return v[n/2]
	}
	return (v[n/2-1] + v[n/2]) / 2
}

// ritaRegularity is the mean of 1 - |Bowley's skewness| and of the share of the
// median that the median absolute deviation leaves. Where the median is below 1,
// the latter is small.
func ritaRegularity(v []float64, small float64) float64 {
	slices.Sort(v)
	n := len(v)
	q1, q2, q3 := median(v[:n/2]), median(v), median(v[(n+1)/2:])
	skew := 0.0
	if q3-q1 >= 10 && q2 != q1 && q2 != q3 {
		skew = (q1 + q3 - 2*q2) / (q3 - q1)
	}
	deviation := small
	if q2 >= 1 {
		away := make([]float64, n)
		for i, x := range v {
			away[i] = math.Abs(x - q2)
		}
		slices.Sort(away)
		deviation = max((q2-median(away))/q2, 0)
	}
	return round3((1 - math.Abs(skew) + deviation) / 2)
}

// ritaHistogram counts connections in 24 equal parts of the window. Those before it
// are in the first.
func ritaHistogram(starts []int64, from, to int64) (bins [ritaBins]float64) {
	for _, t := range starts {
		i := int(float64(t-from) / float64(to-from) * ritaBins)
		bins[min(max(i, 0), ritaBins-1)]++
	}
	return bins
}

// ritaEvenness is 1 - the coefficient of variation of the bins.
func ritaEvenness(bins *[ritaBins]float64) float64 {
	sum, squares := 0.0, 0.0
	for _, h := range bins {
		sum += h
	}
	mean := sum / ritaBins
	for _, h := range bins {
		squares += (h - mean) * (h - mean)
	}
	cv := math.Sqrt(squares/ritaBins) / mean
	if cv > 1 {
		return 0
	}
	return round3(1 - cv)
}

// ritaTwoLevels is the share of the filled bins, but for one, that have one of the
// two most frequent heights.
func ritaTwoLevels(bins *[ritaBins]float64) float64 {
	level := math.Ceil(slices.Max(bins[:]) * ritaLevel)
	heights := map[int]int{}
	bars := 0
	for _, h := range bins {
		if h > 0 {
			bars++
			heights[int(h/level)]++
		}
	}
	if bars < ritaBars {
		return 0
	}
	first, second := 0, 0
	for _, n := range heights {
		if n > first {
			first, second = n, first
		} else if n > second {
			second = n
		}
	}
	return min(round3(float64(first+second)/float64(max(bars-1, 1))), 1)
}

// ritaDuration is the greater of the share of the window that is covered and of the
// longest run of filled bins, of twelve.
func ritaDuration(bins *[ritaBins]float64, covered float64) float64 {
	bars, run, longest := 0, 0, 0
	for i := range 2 * ritaBins {
		if bins[i%ritaBins] == 0 {
			run = 0
			continue
		}
		if i < ritaBins {
			bars++
		}
		run++
		longest = max(longest, min(run, ritaBins))
	}
	if bars < ritaDurBars {
		return 0
	}
	return max(min(ceil3(covered), 1), min(ceil3(float64(longest)/12), 1))
}
