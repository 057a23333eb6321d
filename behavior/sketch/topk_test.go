package sketch

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"
)

// spaceSaving is the algorithm of the paper in its plainest form.
type spaceSaving struct {
	k    int
	kept []Top
}

func (s *spaceSaving) Add(key, n uint64) {
	i := slices.IndexFunc(s.kept, func(v Top) bool { return v.Key == key })
	switch {
	case i >= 0:
		s.kept[i].Count += n
	case len(s.kept) < s.k:
		s.kept = append(s.kept, Top{Key: key, Count: n})
	default:
		least := &s.kept[len(s.kept)-1]
		*least = Top{key, least.Count + n, least.Count}
	}
	slices.SortFunc(s.kept, byCount)
}

// skewed draws keys of which a few are frequent.
func skewed(r *rand.Rand, n uint64) *rand.Zipf { return rand.NewZipf(r, 1.1, 1, n) }

func TestTopKIsSpaceSaving(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, k := range []int{1, 2, 3, 7, 32, 100} {
		top, plain := NewTopK(k), spaceSaving{k: k}
		keys := skewed(r, 500)
		for i := range 3000 {
			key, n := keys.Uint64(), 1+r.Uint64N(5)
			top.Add(key, n)
			plain.Add(key, n)
			if i%50 == 0 {
				if got := top.AppendTop(nil); !slices.Equal(got, plain.kept) {
					t.Fatalf("k %d: after %d kept %v, want %v", k, i, got, plain.kept)
				}
			}
		}
	}
}

// checkTop holds the bounds of the paper against exact counts.
func checkTop(t *testing.T, top *TopK, exact map[uint64]uint64) (worst float64) {
	t.Helper()
	total := uint64(0)
	for _, n := range exact {
		total += n
	}
	kept := top.AppendTop(nil)
	limit := float64(total) / float64(cap(top.heap))
	for _, v := range kept {
		n := exact[v.Key]
		if v.Count < n || v.Count-v.Error > n || float64(v.Error) > limit {
			t.Fatalf("key %d counts for %d to %d, exactly %d; N/k is %.0f", v.Key, v.Count-v.Error, v.Count, n, limit)
		}
		worst = max(worst, float64(v.Count-n)/limit)
	}
	for key, n := range exact {
		if slices.ContainsFunc(kept, func(v Top) bool { return v.Key == key }) {
			continue
		}
		if float64(n) > limit || n > top.Least() {
			t.Fatalf("key %d counts for %d and is not kept; N/k is %.0f, the least %d", key, n, limit, top.Least())
		}
	}
	return worst
}

func TestTopKBounds(t *testing.T) {
	for _, k := range []int{8, 32, 256} {
		r := rand.New(rand.NewPCG(2, uint64(k)))
		top, exact := NewTopK(k), map[uint64]uint64{}
		keys := skewed(r, 1e6)
		for range 50000 {
			key, n := keys.Uint64(), 40+r.Uint64N(1500)
			top.Add(key, n)
			exact[key] += n
		}
		worst := checkTop(t, &top, exact)
		t.Logf("k %3d of %d keys: the worst count is off by %.2f N/k", k, len(exact), worst)
	}
}

// The merge keeps the bounds for the union, with the room of the smaller, whichever is
// merged into which.
func TestTopKMerge(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for range 100 {
		a, b := NewTopK(1+r.IntN(40)), NewTopK(1+r.IntN(40))
		exact := map[uint64]uint64{}
		keys := skewed(r, 300)
		for range r.IntN(3000) {
			key, n := keys.Uint64(), 1+r.Uint64N(9)
			side := &a
			if key%3 == 0 || key%3 == 1 && r.IntN(2) == 0 {
				side = &b
			}
			side.Add(key, n)
			exact[key] += n
		}
		ab, ba := TopK{}, TopK{}
		ab.Merge(&a)
		ab.Merge(&b)
		ba.Merge(&b)
		ba.Merge(&a)
		if string(ab.Append(nil)) != string(ba.Append(nil)) {
			t.Fatal("the merge does not commute")
		}
		checkTop(t, &ab, exact)
		roundTrip(t, &ab)
		for range 500 { // it can go on counting
			key := keys.Uint64()
			ab.Add(key, 2)
			exact[key] += 2
		}
		checkTop(t, &ab, exact)
	}
}

func TestTopKEdges(t *testing.T) {
	var none TopK
	none.Add(1, 1)
	none.Merge(&TopK{})
	if len(none.AppendTop(nil)) != 0 || none.Least() != 0 {
		t.Error("the zero TopK keeps something")
	}
	roundTrip(t, &none)
	top := NewTopK(-3)
	top.Add(1, math.MaxUint64)
	top.Add(1, 5)
	top.Add(2, 5)
	if got := fmt.Sprint(top.AppendTop(nil)); got != fmt.Sprint([]Top{{2, math.MaxUint64, math.MaxUint64}}) {
		t.Errorf("kept %v", got)
	}
	if big := NewTopK(1 << 30); cap(big.heap) != maxTop {
		t.Errorf("room for %d", cap(big.heap))
	}
	f := func(name string, form ...byte) {
		t.Helper()
		if _, err := new(TopK).Decode(form); err != ErrCorrupt {
			t.Errorf("%s: %v", name, err)
		}
	}
	key := []byte{7, 0, 0, 0, 0, 0, 0, 0}
	f("too many", append([]byte{topForm, 1, 2}, append(append(append(key, 3, 0), key...), 3, 0)...)...)
	f("twice", append([]byte{topForm, 2, 2}, append(append(append(key, 4, 0), key...), 3, 0)...)...)
	f("the error above the count", append([]byte{topForm, 2, 1}, append(key, 3, 4)...)...)
	f("counts for nothing", append([]byte{topForm, 2, 1}, append(key, 0, 0)...)...)
	f("a long number", append([]byte{topForm, 0x81, 0}, 0)...)
	f("too much room", topForm, 0x81, 8, 0)
}

func TestTopKDoesNotAllocate(t *testing.T) {
	top := NewTopK(32)
	r := rand.New(rand.NewPCG(4, 4))
	if n := testing.AllocsPerRun(5000, func() { top.Add(r.Uint64N(200), 3) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if n := unsafe.Sizeof(top); n != 48 {
		t.Errorf("%d bytes", n)
	}
}

func FuzzDecodeTopK(f *testing.F) {
	some, full := NewTopK(16), NewTopK(8)
	for i := range uint64(100) {
		some.Add(i%10, i)
		full.Add(i*i, i)
	}
	fuzzDecode(f, func(k *TopK) {
		for i := range uint64(40) {
			k.Add(i, i)
		}
		k.Merge(&full)
		k.Add(3, math.MaxUint64)
	}, &TopK{}, &some, &full)
}
