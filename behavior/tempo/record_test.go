package tempo

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// beat fills a track with n sessions about a period, in seconds, from start on.
func beat(t *Track, r *rand.Rand, start int64, n int, period, jitter float64) (end int64) {
	at := start
	for range n {
		at += int64(1e9 * period * (1 + jitter*(2*r.Float64()-1)))
		t.Add(at, 600+r.Uint64N(50))
	}
	return at
}

var exact = cmp.AllowUnexported(Track{})

func TestRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	var tr Track
	for i := range 400 {
		b := tr.Append([]byte("x"))
		var got Track
		rest, err := got.Decode(append(b[1:], "rest"...))
		if err != nil || string(rest) != "rest" {
			t.Fatalf("%d sessions: rest %q, %v", tr.Sessions(), rest, err)
		}
		if d := cmp.Diff(tr, got, exact); d != "" {
			t.Fatalf("%d sessions (-want +got):\n%s", tr.Sessions(), d)
		}
		if len(b) > 1700 {
			t.Fatalf("%d bytes", len(b))
		}
		tr.Add(int64(1e18)+int64(i)*int64(1e9*(1+59*r.Float64())), r.Uint64N(1<<uint(r.IntN(40))))
	}
}

// Two halves of a beacon, seen by two sensors, are one beacon, whichever takes the
// other in.
func TestMerge(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	var whole, a, b Track
	at := int64(1e18)
	for i := range 80 {
		at += int64(300e9 * (1 + 0.2*(2*r.Float64()-1)))
		whole.Add(at, 700)
		if i/20%2 == 0 { // the host moves every twenty sessions
			a.Add(at, 700)
		} else {
			b.Add(at, 700)
		}
	}
	ab, ba := a, b
	ab.Merge(&b)
	ba.Merge(&a)
	if d := cmp.Diff(ab, ba, exact); d != "" {
		t.Errorf("the order matters (-ab +ba):\n%s", d)
	}
	want, got := Evaluate(&whole), Evaluate(&ab)
	if ab.Sessions() != whole.Sessions() || ab.First() != whole.First() || ab.Last() != whole.Last() {
		t.Errorf("%d sessions, want %d", ab.Sessions(), whole.Sessions())
	}
	if got.Score < 0.9 || want.Score < 0.9 || got.Period < 0.8*want.Period || got.Period > 1.2*want.Period {
		t.Errorf("score %.2f and period %.0f s, of the whole %.2f and %.0f s", got.Score, got.Period, want.Score, want.Period)
	}
	same := a
	same.Merge(&a)
	if same.Sessions() != 2*a.Sessions()-ringSize || same.held != a.held {
		t.Errorf("merged with itself: %d sessions of %d", same.Sessions(), a.Sessions())
	}
	var empty Track
	empty.Merge(&a)
	if d := cmp.Diff(a, empty, exact); d != "" {
		t.Errorf("merged into nothing:\n%s", d)
	}
}

// What nobody wrote is refused, and what is not can be used.
func FuzzDecode(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 3))
	for _, n := range []int{0, 1, 5, 40, 300} {
		var tr Track
		beat(&tr, r, 1e18, n, 60, 0.3)
		f.Add(tr.Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var tr Track
		if _, err := tr.Decode(b); err != nil {
			if tr != (Track{}) {
				t.Error("after an error the track is not empty")
			}
			return
		}
		other := tr
		Evaluate(&tr)
		beat(&tr, r, 1e18, 20, 60, 0.3)
		Evaluate(&tr)
		tr.Merge(&other)
		Evaluate(&tr)
	})
}
