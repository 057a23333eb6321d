package sketch

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
	"unsafe"
)

func TestSeenRemembers(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	var s Seen
	hs := hashes(r, 20000)
	again := 0
	for i, h := range hs {
		if !s.Add(h) {
			again++ // 32 bits collide now and then
		}
		for range 3 {
			if j := i - r.IntN(min(i+1, 1500)); !s.Has(hs[j]) {
				t.Fatalf("hash %d is forgotten at %d", j, i)
			}
		}
		if s.Bytes() > 16<<10 {
			t.Fatalf("%d bytes", s.Bytes())
		}
	}
	if again > 3 {
		t.Errorf("%d of %d new hashes were taken for known ones", again, len(hs))
	}
}

func TestSeenSerialises(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	for range 100 {
		var s, back Seen
		for _, h := range hashes(r, r.IntN(4000)) {
			s.Add(h)
		}
		rest, err := back.Decode(append(s.Append(nil), 'x'))
		if err != nil || string(rest) != "x" {
			t.Fatal(err, rest)
		}
		for range 3000 { // from here on both answer the same
			h := r.Uint64()
			if s.Add(h) != back.Add(h) {
				t.Fatal("the set differs after a round trip")
			}
		}
		if s.n != back.n {
			t.Fatalf("%d in the set, %d after a round trip", s.n, back.n)
		}
	}
}

// What was added is remembered for one to two periods, and what is used again longer.
func TestSeenForgetsByTime(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	keep := Retention{Items: 1000, Period: 24 * time.Hour}
	var s Seen
	last := map[uint64]int64{}
	hs := hashes(r, 300)
	for now := start; now < start+60*24*hour; now += 1 + r.Int64N(hour) {
		h := hs[r.IntN(len(hs))]
		before, known := last[h]
		isNew := s.AddAt(h, now, keep)
		switch age := time.Duration(now - before); {
		case (!known || age >= 2*keep.Period) && !isNew:
			t.Fatalf("%v later it is remembered", age)
		case known && age < keep.Period && isNew:
			t.Fatalf("%v later it is forgotten", age)
		}
		last[h] = now
		if r.IntN(500) == 0 {
			now += r.Int64N(3 * 24 * hour)
			roundTrip(t, &s)
		}
	}
	if s.AddAt(1, start, keep); !s.Has(1) || s.AddAt(1, start+60*24*hour, keep) {
		t.Error("what comes late is not remembered")
	}
}

// How many hashes that were never added are taken for known.
func TestSeenFalsePositives(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	f := func(items, probes, low, high int) {
		t.Helper()
		var s Seen
		for _, h := range hashes(r, 2*items) {
			s.AddAt(h, 0, Retention{Items: items})
		}
		hits := 0
		for range probes {
			if s.Has(r.Uint64()) {
				hits++
			}
		}
		t.Logf("%5d remembered: %d of %d new hashes are taken for known ones (%.1e)", 2*items, hits, probes, float64(hits)/float64(probes))
		if hits < low || hits > high {
			t.Errorf("%d, want %d to %d", hits, low, high)
		}
	}
	f(1536, 1_000_000, 0, 5)       // 0.7 expected
	f(maxItems, 2_000_000, 10, 60) // 30.5 expected
}

// A set costs what it remembers, and not more than it may.
func TestSeenBytes(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	f := func(n, items, limit int) {
		t.Helper()
		var s Seen
		for _, h := range hashes(r, n) {
			s.AddAt(h, 0, Retention{Items: items})
		}
		got := int(unsafe.Sizeof(s)) + s.Bytes()
		t.Logf("%5d hashes, %d to a generation: %5d bytes", n, items, got)
		if got > limit {
			t.Errorf("%d bytes, limit %d", got, limit)
		}
	}
	f(0, 4096, 32)
	f(5, 4096, 56)
	f(20, 4096, 32+8*20)
	f(100, 4096, 32+8*100)
	f(1000, 4096, 32+8*1000)
	f(4096, 4096, 32+8*4096)
	f(1_000_000, 4096, 32+2*4*5462)
	f(1_000_000, 1<<30, 32+2*4*43691)
	f(100, -1, 80)
}

// The merge remembers what either does, if there is room for it, whichever is merged
// into which, and however often. If there is not, it stays within bounds.
func TestSeenMerge(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	for range 200 {
		keep := Retention{Items: 1 + r.IntN(400)}
		if r.IntN(2) == 0 {
			keep.Period = 24 * time.Hour
		}
		var a, b Seen
		hs := hashes(r, 1+r.IntN(300))
		for _, h := range hs {
			now := start + r.Int64N(50*hour)
			if r.IntN(3) != 0 {
				a.AddAt(h, now, keep)
			}
			if r.IntN(3) != 0 {
				b.AddAt(h, now, keep)
			}
		}
		ab, ba := Seen{}, Seen{}
		ab.Merge(&a, keep)
		ab.Merge(&b, keep)
		ba.Merge(&b, keep)
		ba.Merge(&a, keep)
		form := string(ab.Append(nil))
		if form != string(ba.Append(nil)) {
			t.Fatal("the merge does not commute")
		}
		ab.Merge(&a, keep)
		if len(hs) <= keep.Items && form != string(ab.Append(nil)) {
			t.Fatal("the merge is not idempotent")
		}
		roundTrip(t, &ab)
		if int(ab.n) > keep.Items || ab.Bytes() > 4*2*max(seenSlots, (4*keep.Items+2)/3) {
			t.Fatalf("%d in a generation of %d, %d bytes", ab.n, keep.Items, ab.Bytes())
		}
		for _, h := range hs {
			if keep.Items >= len(hs) && keep.Period == 0 && ab.Has(h) != (a.Has(h) || b.Has(h)) {
				t.Fatal("the merge is not the union")
			}
		}
	}
}

// What is too much for a generation is taken for past before the past is forgotten.
func TestSeenMergesFullSets(t *testing.T) {
	r := rand.New(rand.NewPCG(10, 10))
	keep := Retention{Items: 200}
	var a, b Seen
	past, present := hashes(r, 2*200), hashes(r, 2*200)
	for i, h := range slices.Concat(past, present) {
		[]*Seen{&a, &b}[i%2].AddAt(h, 0, keep)
	}
	a.Merge(&b, keep)
	f := func(name string, hs []uint64, want int) {
		t.Helper()
		n := 0
		for _, h := range hs {
			if a.Has(h) {
				n++
			}
		}
		if n != want {
			t.Errorf("%d of %d in the %s are remembered, want %d", n, len(hs), name, want)
		}
	}
	f("present", present, 400)
	f("past", past, 0)
}

func TestSeenRefuses(t *testing.T) {
	f := func(name string, form ...byte) {
		t.Helper()
		if _, err := new(Seen).Decode(form); err != ErrCorrupt {
			t.Errorf("%s: %v", name, err)
		}
	}
	f("an unknown form", 3, 0, 0, 0, 0)
	f("out of order", seenForm, 2, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0)
	f("twice", seenForm, 2, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0)
	f("zero", seenForm, 1, 0, 0, 0, 0, 0, 0, 0)
	f("no time", seenTimedForm, 0, 0, 0, 0, 0, 0, 0, 0)
	f("more than there is", seenForm, 0, 0x80, 1, 0, 0, 0)
}

// A sensor that was silent for a period has nothing recent to say.
func TestSeenMergesByTime(t *testing.T) {
	keep := Retention{Items: 100, Period: 24 * time.Hour}
	f := func(later int64, remembered bool) {
		t.Helper()
		var a, b Seen
		a.AddAt(1, monday, keep)
		b.AddAt(2, monday+later, keep)
		for _, m := range []struct{ s, o Seen }{{a, b}, {b, a}} {
			m.s.Merge(&m.o, keep)
			if m.s.Has(1) != remembered || !m.s.Has(2) {
				t.Errorf("%d h later: has 1: %v, 2: %v", later/hour, m.s.Has(1), m.s.Has(2))
			}
			if m.s.AddAt(1, monday+later+24*hour, keep); !m.s.Has(2) {
				t.Error("what was recent is forgotten in the next period")
			}
		}
	}
	f(23*hour, true)
	f(47*hour, true)
	f(48*hour, false)
}

func TestSeenDoesNotAllocate(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	hs := hashes(r, 1000)
	var s Seen
	for _, h := range hs {
		s.Add(h)
	}
	i := 0
	if n := testing.AllocsPerRun(2000, func() { s.Add(hs[i%1000]); i++ }); n != 0 {
		t.Errorf("%v allocations for known hashes", n)
	}
	for range 3000 {
		s.Add(r.Uint64())
	}
	if n := testing.AllocsPerRun(5000, func() { s.Add(r.Uint64()) }); n != 0 {
		t.Errorf("%v allocations for new ones in a full set", n)
	}
}

func FuzzDecodeSeen(f *testing.F) {
	var some, many, timed Seen
	for i := range uint64(2000) {
		many.Add(i * 0x9e3779b97f4a7c15)
		timed.AddAt(i*0x9e3779b97f4a7c15, start+int64(i)*hour, Retention{100, 24 * time.Hour})
		if i < 5 {
			some.Add(i * 0x9e3779b97f4a7c15)
		}
	}
	fuzzDecode(f, func(s *Seen) {
		s.Merge(&many, Retention{Items: 700})
		s.Add(1)
		s.AddAt(3, start, Retention{Items: 10, Period: time.Hour})
		s.Has(2)
	}, &Seen{}, &some, &many, &timed)
}
