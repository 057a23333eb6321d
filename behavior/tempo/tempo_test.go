package tempo

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
)

const second = int64(1e9)

var compareTracks = cmp.AllowUnexported(Track{}, past{})

// epoch is some Monday, in Unix seconds.
const epoch = 1_772_438_400

// startsOf returns so many starts with gaps in seconds.
func startsOf(r *rand.Rand, n int, gap func(r *rand.Rand) float64) []int64 {
	at := make([]int64, n)
	s := float64(epoch)
	for i := range at {
		at[i] = int64(s*1e3) * 1e6
		s += gap(r)
	}
	return at
}

// counted returns what a Track counts.
func counted(t *Track) *past { return t.counts(new(past)) }

func trackOf(r *rand.Rand, n int, gap func(r *rand.Rand) float64) *Track {
	t := new(Track)
	for _, at := range startsOf(r, n, gap) {
		t.Add(at, 500)
	}
	return t
}

func exponential(r *rand.Rand) float64 { return 60 * r.ExpFloat64() }

func logNormalGap(r *rand.Rand) float64 { return 60 * math.Exp(1.3*r.NormFloat64()) }

func paretoGap(r *rand.Rand) float64 { return 20 * math.Pow(1-r.Float64(), -1/1.4) }

// sleeping returns the gaps of a timer.
func sleeping(period, jitter, missed float64) func(r *rand.Rand) float64 {
	return func(r *rand.Rand) float64 {
		for at := 0.0; ; {
			at += period * (1 + jitter*(2*r.Float64()-1))
			if r.Float64() >= missed {
				return at
			}
		}
	}
}

// mixed has gaps within sessions, within bursts, and long ones.
func mixedGap(r *rand.Rand) float64 {
	return []float64{2 + 20*r.Float64(), 5 + 5*r.Float64(), 40 + 100*r.Float64(), 3600 * (1 + r.Float64())}[r.IntN(4)]
}

func TestTrackSize(t *testing.T) {
	if n := unsafe.Sizeof(Track{}); n > 240 {
		t.Errorf("a track takes %d bytes", n)
	}
}

// Bins are those of the logarithm, and rise.
func TestBins(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 100_000 {
		ms := int64(math.Exp(r.Float64() * math.Log(1e11)))
		want := min(max(int(math.Floor(8*math.Log2(float64(ms)/1000))), 0), numBins-1)
		got := binOf(ms)
		if got == want {
			continue
		}
		// The logarithm is rounded at the edge of a bin.
		if x := 8 * math.Log2(float64(ms)/1000); math.Abs(x-math.Round(x)) > 1e-9 {
			t.Fatalf("%d ms: bin %d, want %d", ms, got, want)
		}
	}
	f := func(n uint32, want int) {
		t.Helper()
		if got := sizeBin(n); got != want {
			t.Errorf("%d bytes: bin %d, want %d", n, got, want)
		}
	}
	f(0, 0)
	f(1, 1)
	f(32, 1)
	f(45, 1)
	f(46, 2)
	f(64, 3)
	f(1<<20, 31)
	f(math.MaxUint32, 31)
}

// Gaps of all lags and both channels, by hand.
func TestAddCounts(t *testing.T) {
	var tr Track
	for _, s := range []int64{0, 10, 20, 100, 200} {
		tr.Add((epoch+s)*second, 100)
	}
	f := func(name string, h *histogram, want ...int64) {
		t.Helper()
		var w histogram
		for _, s := range want {
			w[binOf(1000*s)]++
		}
		if d := cmp.Diff(w, *h); d != "" {
			t.Errorf("%s: -want +got:\n%s", name, d)
		}
	}
	f("lag 1", &counted(&tr).lags[0], 10, 10, 80, 100)
	f("lag 2", &counted(&tr).lags[1], 20, 90, 180)
	f("lag 3", &counted(&tr).lags[2], 100, 190)
	f("bursts", &counted(&tr).burst, 100, 100) // 0, 10 and 20 are one
}

// Starts within a second of one another are one session, with the bytes of all.
func TestSession(t *testing.T) {
	var tr Track
	for _, ms := range []int64{0, 900, 1700, 10_000, 9500, 9_600, 20_000} {
		tr.Add(epoch*second+ms*1e6, 40)
	}
	if tr.Sessions() != 3 || tr.Starts() != 7 {
		t.Errorf("%d sessions of %d starts, want 3 of 7", tr.Sessions(), tr.Starts())
	}
	if d := cmp.Diff([]uint32{120, 120, 40}, tr.bytes[:tr.held]); d != "" {
		t.Errorf("bytes: -want +got:\n%s", d)
	}
	want := [numSizes]uint8{}
	want[sizeBin(120)], want[sizeBin(40)] = 2, 1
	if d := cmp.Diff(want, counted(&tr).sizes); d != "" {
		t.Errorf("sizes: -want +got:\n%s", d)
	}
}

// Starts in any order that differs by a few places give the same record.
func TestLateStarts(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(2, seed))
		at := startsOf(r, 2+r.IntN(60), mixedGap)
		var inOrder, late Track
		for _, s := range at {
			inOrder.Add(s, uint64(s/second%1000))
		}
		for some := range slices.Chunk(at[r.IntN(2):], 7) {
			r.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
		}
		for _, s := range at {
			late.Add(s, uint64(s/second%1000))
		}
		if late.dropped > 0 {
			t.Fatalf("seed %d: %d starts were dropped", seed, late.dropped)
		}
		if d := cmp.Diff(inOrder, late, compareTracks); d != "" {
			t.Fatalf("seed %d: -in order +late:\n%s", seed, d)
		}
	}
}

// What is counted from the first session on, and what is made of the ring when it is
// asked for, are the same: late starts, starts of one session and a long silence included.
func TestCountsOfTheRing(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(10, seed))
		lazy, eager := Track{}, Track{past: new(past)}
		at := epoch * second
		for n := range 40 {
			switch r.IntN(20) {
			case 0:
				at += 50 * 24 * 3600 * second
			case 1, 2, 3:
				at += int64(r.IntN(2000)) * 1e6
			default:
				at += int64(mixedGap(r) * 1e9)
			}
			start, bytes := at-int64(r.IntN(3)/2)*int64(mixedGap(r)*2e9), uint64(r.IntN(1<<(4+r.IntN(20))))
			lazy.Add(start, bytes)
			eager.Add(start, bytes)
			if d := cmp.Diff(eager.Append(nil), lazy.Append(nil)); d != "" {
				t.Fatalf("seed %d: after %d starts: -counted +made of the ring:\n%s", seed, n+1, d)
			}
			if n == 8 && lazy.past != nil && lazy.sessions == uint32(lazy.held) {
				t.Fatalf("seed %d: %d sessions are counted although the ring has them", seed, lazy.sessions)
			}
		}
		if lazy.sessions > ringSize && lazy.past == nil {
			t.Fatalf("seed %d: %d sessions, and nothing is counted", seed, lazy.sessions)
		}
	}
}

// A start older than all that is remembered is dropped; while all is remembered, it
// comes first.
func TestTooLate(t *testing.T) {
	var tr Track
	for i := range int64(ringSize) {
		tr.Add((epoch+60*i)*second, 1)
	}
	tr.Add((epoch-60)*second, 1)
	if tr.Dropped() != 0 || tr.Sessions() != ringSize+1 || tr.First() != (epoch-60)*second {
		t.Errorf("%d dropped, %d sessions, first %d", tr.Dropped(), tr.Sessions(), tr.First()/second)
	}
	tr.Add((epoch-120)*second, 1)
	if tr.Dropped() != 1 || tr.Sessions() != ringSize+1 {
		t.Errorf("%d dropped, %d sessions", tr.Dropped(), tr.Sessions())
	}
}

// Full counters are halved together.
func TestForgetting(t *testing.T) {
	tr := trackOf(rand.New(rand.NewPCG(3, 3)), 301, sleeping(60, 0, 0))
	for i := range int64(40) {
		tr.Add(tr.Last()+600*second, uint64(i))
	}
	if old, young := tr.past.lags[0][binOf(60_000)], tr.past.lags[0][binOf(600_000)]; old != 128+44 || young != 40 {
		t.Errorf("%d gaps of 60 s, %d of 600 s", old, young)
	}
}

// Looks grow apart by a quarter, and are doubled where there is no timer.
func TestLooks(t *testing.T) {
	f := func(r Result, want ...uint32) {
		t.Helper()
		var tr Track
		var got []uint32
		for i := range int64(60) {
			if tr.Add((epoch+100*i)*second, 1); tr.Due() {
				got = append(got, tr.Sessions())
				tr.Looked(&r)
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("-want +got:\n%s", d)
		}
	}
	f(Result{}, 6, 7, 8, 10, 12, 15, 18, 22, 27, 33, 41, 51)
	f(Result{LogOdds: -5}, 6, 12, 24, 48)
	tr := Track{sessions: 100_000}
	tr.Looked(&Result{})
	if tr.look != 101_024 {
		t.Errorf("next look at %d", tr.look)
	}
	yes := Result{Score: 0.9}
	if a, b, c := tr.Looked(&yes), tr.Looked(&yes), tr.Looked(&Result{}); a != 1 || b != 2 || c != 0 {
		t.Errorf("%d, %d, %d looks in a row", a, b, c)
	}
}

func TestMerge(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(4, seed))
		at := startsOf(r, 4+r.IntN(80), mixedGap)
		cut := 1 + r.IntN(len(at)-2)
		var a, b, all Track
		for i, s := range at {
			all.Add(s, 100)
			if i < cut {
				a.Add(s, 100)
			} else {
				b.Add(s, 100)
			}
		}
		ab, ba := a.Clone(), b.Clone()
		ab.Merge(&b)
		ba.Merge(&a)
		if d := cmp.Diff(ab, ba, compareTracks); d != "" {
			t.Fatalf("seed %d: the order matters: -ab +ba:\n%s", seed, d)
		}
		if !ab.valid() || ab.first != all.first || ab.last != all.last || ab.sessions != all.sessions || counted(&ab).week != counted(&all).week || counted(&ab).sizes != counted(&all).sizes {
			t.Fatalf("seed %d: merged %+v, all at once %+v", seed, ab, all)
		}
		if d := cmp.Diff(all.timeline().at, ab.timeline().at); d != "" {
			t.Fatalf("seed %d: last sessions: -all at once +merged:\n%s", seed, d)
		}
		lost, unknown := 0, 0
		for i, n := range counted(&all).lags[0] {
			lost += int(n) - int(counted(&ab).lags[0][i])
		}
		if b.sessions > ringSize {
			unknown = 1 // the one between the two
		}
		if lost != unknown {
			t.Fatalf("seed %d: %d gaps are lost, want %d", seed, lost, unknown)
		}
	}
}

// Of sessions that two sensors see in turn, all gaps are known as long as the ring holds
// them.
func TestMergeInterleaved(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(9, seed))
		at := startsOf(r, 6+r.IntN(24), sleeping(60, 0.2, 0))
		var parts [2]Track
		var all Track
		for i, s := range at {
			all.Add(s, 100)
			parts[i%2].Add(s, 100)
		}
		if parts[0].Merge(&parts[1]) {
			t.Fatalf("seed %d: halves are taken for one link", seed)
		}
		got := parts[0]
		if counted(&got).lags[0] != counted(&all).lags[0] || got.sessions != all.sessions || counted(&got).burst != counted(&all).burst {
			t.Fatalf("seed %d: -all at once +merged:\n%s", seed, cmp.Diff(all, got, compareTracks))
		}
	}
}

// What both have seen counts once.
func TestMergeOfTheSame(t *testing.T) {
	tr := trackOf(rand.New(rand.NewPCG(5, 5)), 200, sleeping(60, 0, 0))
	merged := tr.Clone()
	merged.Merge(tr)
	if d := cmp.Diff(tr.timeline().at, merged.timeline().at); d != "" {
		t.Errorf("last sessions: -one +merged:\n%s", d)
	}
	if d := cmp.Diff(*tr, merged, compareTracks); d != "" {
		t.Errorf("two sensors on one link: -one +both:\n%s", d)
	}
	empty := Track{}
	empty.Merge(tr)
	if d := cmp.Diff(*tr, empty, compareTracks); d != "" {
		t.Errorf("into an empty one: -want +got:\n%s", d)
	}
	merged = tr.Clone()
	merged.Merge(&Track{})
	if d := cmp.Diff(*tr, merged, compareTracks); d != "" {
		t.Errorf("an empty one: -want +got:\n%s", d)
	}
}

func TestRoundTrip(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(6, seed))
		gaps := []func(r *rand.Rand) float64{mixedGap, exponential, sleeping(300, 0.2, 0.1), paretoGap}[seed%4]
		tr := trackOf(r, r.IntN(400), gaps)
		form := tr.Append([]byte("x"))
		var back Track
		rest, err := back.Decode(append(form[1:], "rest"...))
		if err != nil || string(rest) != "rest" {
			t.Fatalf("seed %d: %v, rest %q", seed, err, rest)
		}
		if d := cmp.Diff(*tr, back, compareTracks); d != "" {
			t.Fatalf("seed %d: -written +read:\n%s", seed, d)
		}
		if len(form) > 400 {
			t.Errorf("%d sessions take %d bytes", tr.Sessions(), len(form))
		}
		for i := range form[1:] {
			if _, err := back.Decode(form[1 : 1+i]); err == nil {
				t.Fatalf("seed %d: the first %d of %d bytes are read", seed, i, len(form)-1)
			}
		}
	}
	full := Track{past: new(past)}
	for _, h := range []*histogram{&full.past.lags[0], &full.past.lags[1], &full.past.lags[2], &full.past.burst} {
		for i := range h {
			h[i] = counterMax
		}
	}
	if n := len(full.Append(nil)); n > MaxAppended {
		t.Errorf("%d bytes, bound %d", n, MaxAppended)
	}
}

func FuzzDecode(f *testing.F) {
	r := rand.New(rand.NewPCG(7, 7))
	for _, n := range []int{0, 1, 5, 40, 600} {
		f.Add(trackOf(r, n, mixedGap).Append(nil), int64(epoch*second))
		f.Add(trackOf(r, n, sleeping(300, 0.2, 0)).Append(nil), int64(math.MaxInt64))
	}
	f.Fuzz(func(t *testing.T, b []byte, at int64) {
		var tr, other Track
		if _, err := tr.Decode(b); err != nil {
			return
		}
		if form := tr.Append(nil); len(form) > MaxAppended {
			t.Fatalf("%d bytes", len(form))
		} else if _, err := other.Decode(form); err != nil || !cmp.Equal(tr, other, compareTracks) {
			t.Fatal("the track differs after a round trip:", err)
		}
		tr.Add(at, 7)
		tr.Add(at-40*second, 1<<40)
		other.Merge(&tr)
		for _, x := range []*Track{&tr, &other} {
			if !x.valid() {
				t.Fatalf("no longer valid: %+v", x)
			}
			r := Evaluate(x)
			x.Looked(&r)
			if !(r.Score >= 0 && r.Score <= 1 && r.Fused >= 0 && r.Fused <= 1) || math.IsNaN(r.LogOdds) {
				t.Fatalf("%+v", r)
			}
		}
	})
}

func TestAllocations(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	tr := trackOf(r, 40, mixedGap)
	f := func(name string, do func()) {
		t.Helper()
		do()
		if n := testing.AllocsPerRun(100, do); n > 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
	f("adding", func() { tr.Add(tr.Last()+int64(mixedGap(r)*1e9), 100) })
	f("adding late", func() { tr.Add(tr.Last()-int64(mixedGap(r)*1e9), 100) })
	regular, irregular := trackOf(r, 60, sleeping(300, 0.5, 0.1)), trackOf(r, 60, exponential)
	f("evaluating", func() {
		for _, tr := range []*Track{tr, regular, irregular} {
			res := Evaluate(tr)
			tr.Looked(&res)
		}
	})
	buf := make([]byte, 0, MaxAppended)
	f("serialising", func() { buf = tr.Append(buf[:0]) })
}
