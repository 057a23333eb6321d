package sketch

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"
)

// distributions of values that sensors report.
var distributions = map[string]func(r *rand.Rand) float64{
	"normal":      func(r *rand.Rand) float64 { return max(0, 100+20*r.NormFloat64()) },
	"exponential": func(r *rand.Rand) float64 { return 1e6 * r.ExpFloat64() },
	"log-normal":  func(r *rand.Rand) float64 { return math.Exp(7 + 2.5*r.NormFloat64()) },
	"Pareto":      func(r *rand.Rand) float64 { return 40 * math.Pow(r.Float64(), -1/1.1) },
	"two sizes":   func(r *rand.Rand) float64 { return []float64{60, 1e9}[r.IntN(2)] * (1 + 0.01*r.Float64()) },
	"mostly none": func(r *rand.Rand) float64 { return float64(max(0, r.IntN(100)-90)) },
	"one":         func(*rand.Rand) float64 { return 1500 },
}

// Quantiles are within 5 % of the exact ones.
func TestQuantilesAreNearTheExactOnes(t *testing.T) {
	for name, draw := range distributions {
		r := rand.New(rand.NewPCG(1, 1))
		worst, bytes := 0.0, 0
		for n := 1; n < 50000; n *= 3 {
			var q Quantiles
			xs := make([]float64, n)
			for i := range xs {
				xs[i] = draw(r)
				q.Add(xs[i])
			}
			slices.Sort(xs)
			if q.Count() != uint64(n) {
				t.Errorf("%s: %d values are counted as %d", name, n, q.Count())
			}
			for p := 0.0; p <= 1; p += 1. / 128 {
				got, want := q.Quantile(p), xs[int(p*float64(n-1))]
				off := math.Abs(got - want)
				if off > (relativeError+1e-9)*want {
					t.Errorf("%s: quantile %.3f of %d is %v, not %v", name, p, n, want, got)
				}
				if want > 0 {
					worst = max(worst, off/want)
				}
			}
			bytes = int(unsafe.Sizeof(q)) + q.Bytes()
		}
		t.Logf("%-12s worst error %.2f %%, %d bytes", name, 100*worst, bytes)
	}
}

// The merge is the sketch of all values, to the bit, also when buckets collapse.
func TestQuantilesMerge(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for range 100 {
		var a, b, union, sorted Quantiles
		spread := 70 * r.Float64() // up to more than the buckets can hold
		xs := make([]float64, r.IntN(400))
		for i := range xs {
			xs[i] = math.Exp(spread * (r.Float64() - 0.4))
			union.Add(xs[i])
			if r.IntN(2) == 0 {
				a.Add(xs[i])
			} else {
				b.Add(xs[i])
			}
		}
		slices.Sort(xs)
		for _, x := range xs {
			sorted.Add(x)
		}
		ba := b
		ba.counts = slices.Clone(b.counts)
		ba.Merge(&a)
		a.Merge(&b)
		want := string(union.Append(nil))
		if string(a.Append(nil)) != want || string(ba.Append(nil)) != want || string(sorted.Append(nil)) != want {
			t.Fatalf("%d values over %.0f e-folds: the order or the merge matters", len(xs), spread)
		}
		roundTrip(t, &a)
	}
}

// Whatever values an attacker reports, the sketch stays small, and the quantiles of
// values of 1 and more right.
func TestQuantilesUnderAttack(t *testing.T) {
	var q Quantiles
	for range 10 {
		for _, x := range []float64{0, -5, math.NaN(), math.Inf(-1), 1e-300, 1e-9, 1, math.MaxFloat64, math.Inf(1)} {
			q.Add(x)
		}
	}
	for range 1000 {
		q.Add(100)
	}
	f := func(p, want float64) {
		t.Helper()
		if got := q.Quantile(p); math.Abs(got-want) > relativeError*want+1e-12 {
			t.Errorf("quantile %v is %v, want %v", p, got, want)
		}
	}
	if q.Count() != 1080 || q.Bytes() > 4*(maxBuckets+3) {
		t.Errorf("%d values, %d bytes", q.Count(), q.Bytes())
	}
	f(0, 0)
	f(math.NaN(), 0)
	f(0.05, 1)
	f(0.5, 100)
	f(1, largest)
	f(7, largest)
	roundTrip(t, &q)
	roundTrip(t, new(Quantiles))
	full := Quantiles{counts: []uint32{math.MaxUint32}, base: 3, zeros: math.MaxUint32}
	full.Merge(&full)
	if full.Count() != 2*math.MaxUint32 {
		t.Errorf("counts do not end: %d", full.Count())
	}
}

func TestQuantilesDoNotAllocate(t *testing.T) {
	var q Quantiles
	q.Add(1)
	q.Add(1e6)
	x := 1.0
	if n := testing.AllocsPerRun(1000, func() {
		q.Add(x)
		x *= 1.01
		q.Quantile(0.99)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzDecodeQuantiles(f *testing.F) {
	var some, wide Quantiles
	for i := range 100 {
		some.Add(float64(i))
		wide.Add(math.Exp(float64(i - 60)))
	}
	fuzzDecode(f, func(q *Quantiles) {
		q.Merge(&wide)
		q.Add(1e300)
		q.Add(1e-8)
		if x := q.Quantile(0.5); !(x >= 0 && x < 2*largest) {
			panic("no quantile")
		}
	}, &Quantiles{}, &some, &wide)
}
