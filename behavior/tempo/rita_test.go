package tempo

import (
	"math"
	"math/rand/v2"
	"testing"
)

const ritaDay = 86400

// every returns starts an interval apart, over so many seconds at the end of a day,
// with sizes of 100 bytes.
func every(interval, over int64) (at []int64, bytes []uint64) {
	for s := ritaDay - over; s < ritaDay; s += interval {
		at, bytes = append(at, s), append(bytes, 100)
	}
	return at, bytes
}

// A timer of 60 s that began some hours before the end of a full day.
func TestRITAYoungTimer(t *testing.T) {
	f := func(hours float64, want float64) {
		t.Helper()
		at, bytes := every(60, int64(hours*3600))
		got, ok := RITA(at, bytes, 0, ritaDay)
		if !ok || math.Abs(got.Score-want) > 0.002 {
			t.Errorf("%v h: %+v, want %.3f", hours, got, want)
		}
	}
	f(1, 0.500)
	f(3, 0.500)
	f(5, 0.500)
	f(6, 0.625)
	f(8, 0.667)
	f(10, 0.709)
	f(10.5, 0.979)
	f(11.5, 1)
}

// An exact interval over a whole day.
func TestRITAIntervals(t *testing.T) {
	f := func(hours float64, n int, want float64) {
		t.Helper()
		interval := int64(hours * 3600)
		var at []int64
		var bytes []uint64
		for s := interval / 2; s < ritaDay; s += interval {
			at, bytes = append(at, s), append(bytes, 100)
		}
		got, ok := RITA(at, bytes, 0, ritaDay)
		if len(at) != n || !ok || math.Abs(got.Score-want) > 0.011 {
			t.Errorf("%v h, %d of them: %+v, want %d and %.3f", hours, len(at), got, n, want)
		}
	}
	f(1, 24, 1)
	f(2, 12, 0.979)
	f(3, 8, 0.719)
	f(4, 6, 0.709)
	f(5, 5, 0.5)
	f(6, 4, 0.5)
	if s, ok := RITA([]int64{1, 28801, 57601}, []uint64{1, 1, 1}, 0, ritaDay); ok || s.Score != 0 {
		t.Errorf("three connections are scored: %+v", s)
	}
}

// The part for the times, of ideal intervals: those of evenly spread quantiles.
func TestRITATiming(t *testing.T) {
	f := func(want float64, quantile func(q float64) float64) {
		t.Helper()
		gaps := make([]float64, 10_000)
		for i := range gaps {
			gaps[i] = math.Round(1e5 * quantile((float64(i)+0.5)/10_000))
		}
		if got := ritaRegularity(gaps, 1); math.Abs(got-want) > 0.003 {
			t.Errorf("%.3f, want %.3f", got, want)
		}
	}
	f(1, func(float64) float64 { return 1 })
	f(0.917, func(q float64) float64 { return 0.5 + q/2 })
	f(0.875, func(q float64) float64 { return 0.5 + q })
	f(0.52, func(q float64) float64 { return -math.Log(1 - q) })
}

// A Poisson stream of constant size looks like a beacon.
func TestRITAPoisson(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 1))
	sum := 0.0
	const trials = 50
	for range trials {
		var at []int64
		var bytes []uint64
		for s := 0.0; s < ritaDay; s += 60 * r.ExpFloat64() {
			at, bytes = append(at, int64(s)), append(bytes, 100)
		}
		got, _ := RITA(at, bytes, 0, ritaDay)
		if got.Score < 0.75 {
			t.Errorf("%+v", got)
		}
		sum += got.Score / trials
	}
	if math.Abs(sum-0.85) > 0.01 {
		t.Errorf("mean %.3f, want 0.85", sum)
	}
}

// By hand: quartiles leave out the median of an odd number; the skew counts from an
// interquartile range of 10 on; the deviation is never below 0.
func TestRITARegularity(t *testing.T) {
	f := func(want float64, small float64, v ...float64) {
		t.Helper()
		if got := ritaRegularity(v, small); got != want {
			t.Errorf("%v: %.3f, want %.3f", v, got, want)
		}
	}
	f(1, 1, 60, 60, 60, 60)
	f(0.9, 1, 8, 9, 10, 11, 12, 13, 7)    // 7 to 13: median 10, MAD 2: (1 + 0.8)/2
	f(0.467, 1, 10, 20, 30, 70, 60)       // quartiles 15, 30, 65: skew 0.4; MAD 20: (0.6 + 1/3)/2
	f(0.667, 1, 1, 2, 3, 7, 6)            // quartiles 1.5, 3, 6.5: too near for a skew; MAD 2: (1 + 1/3)/2
	f(0.5, 0, 0, 0, 0, 0)                 // median 0: the size's default
	f(1, 1, 0, 0, 0, 0)                   // the gaps' default
	f(0.044, 1, 2, 2, 2, 100, 2000, 2000) // quartiles 2, 51, 2000: skew 0.951; MAD 49: (0.049 + 2/51)/2
}

func TestRITARefuses(t *testing.T) {
	f := func(at []int64, from, to int64) {
		t.Helper()
		if s, ok := RITA(at, make([]uint64, len(at)), from, to); ok || s != (RITAScore{}) {
			t.Errorf("%d starts in %d to %d: %+v", len(at), from, to, s)
		}
	}
	f(nil, 0, ritaDay)
	f([]int64{1, 2, 3}, 0, ritaDay)
	f([]int64{1, 1, 2, 2, 3, 3}, 0, ritaDay)
	f([]int64{1, 2, 3, 4}, 10, 10)
	strobe := make([]int64, ritaMost)
	for i := range strobe {
		strobe[i] = int64(i)
	}
	f(strobe, 0, ritaDay)
}
