package sketch

import (
	"math"
	"math/rand/v2"
	"testing"
)

func hashes(r *rand.Rand, n int) []uint64 {
	hs := make([]uint64, n)
	for i := range hs {
		hs[i] = r.Uint64()
	}
	return hs
}

// The estimate is exact below 64 and within 4 standard errors of the truth above.
func TestDistinctCounts(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, n := range []int{0, 1, 10, 63, 64, 100, 300, 640, 1000, 10000, 300000} {
		for range 20 {
			var d Distinct
			hs := hashes(r, n)
			for _, h := range hs {
				d.Add(h)
				d.Add(h)
			}
			off := math.Abs(d.Count() - float64(n))
			if n < exactSize && off != 0 || off > 4*0.065*float64(n) {
				t.Errorf("%d hashes are counted as %.0f", n, d.Count())
			}
		}
	}
}

// The merge of two sketches is the sketch of the union, and the serial form gives
// the same sketch back.
func TestDistinctMergesAndSerialises(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for range 300 {
		all := hashes(r, 1+r.IntN(200))
		var a, b, union Distinct
		for _, h := range all {
			side := r.IntN(3)
			if side != 0 {
				a.Add(h)
			}
			if side != 1 {
				b.Add(h)
			}
			union.Add(h)
		}
		a.Merge(&b)
		if a.Count() != union.Count() {
			t.Fatalf("merged %.2f, union %.2f", a.Count(), union.Count())
		}
		form := a.Append([]byte("x"))
		var back Distinct
		rest, err := back.Decode(append(form[1:], "rest"...))
		if err != nil || string(rest) != "rest" || string(back.Append(nil)) != string(form[1:]) {
			t.Fatalf("round trip: %v, rest %q", err, rest)
		}
	}
}

// serial is what all sketches have in common.
type serial[T any] interface {
	*T
	Append(dst []byte) []byte
	Decode(b []byte) (rest []byte, err error)
}

// roundTrip holds that the serial form of v gives v back, up to where it ends, and
// that no part of it does.
func roundTrip[T any, P serial[T]](t *testing.T, v P) {
	t.Helper()
	form := v.Append([]byte("x"))[1:]
	var back T
	rest, err := P(&back).Decode(append(form[:len(form):len(form)], "rest"...))
	if err != nil || string(rest) != "rest" || string(P(&back).Append(nil)) != string(form) {
		t.Fatalf("round trip of %x: %x, rest %q, %v", form, P(&back).Append(nil), rest, err)
	}
	for n := range form {
		if _, err := P(&back).Decode(form[:n]); err == nil {
			t.Fatalf("%d of %d bytes decode", n, len(form))
		}
	}
}

// fuzzDecode holds that what decodes is its own serial form, and can be used.
func fuzzDecode[T any, P serial[T]](f *testing.F, use func(v P), seeds ...P) {
	for _, s := range seeds {
		f.Add(s.Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var v, again T
		rest, err := P(&v).Decode(b)
		if err != nil {
			return
		}
		form := P(&v).Append(nil)
		if used := len(b) - len(rest); string(form) != string(b[:used]) || string(rest) != string(b[used:]) {
			t.Fatalf("%x decodes to %x", b, form)
		}
		use(&v)
		if _, err := P(&again).Decode(P(&v).Append(nil)); err != nil {
			t.Fatalf("%x cannot be read back once used", b)
		}
	})
}

func FuzzDecodeDistinct(f *testing.F) {
	var some, many Distinct
	for i := range uint64(100) {
		many.Add(i * 0x9e3779b97f4a7c15)
		if i < 5 {
			some.Add(i * 0x9e3779b97f4a7c15)
		}
	}
	fuzzDecode(f, func(d *Distinct) {
		d.Add(1)
		d.Count()
		d.Merge(&many)
	}, &Distinct{}, &some, &many)
}
