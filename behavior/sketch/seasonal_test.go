package sketch

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
	"unsafe"
)

var weeks = Pace{Tau: 28 * 24 * time.Hour, Floor: 0.5}

// monday is the midnight that a week of these tests begins with.
const monday = 1_699_833_600 * second

// at is the hour h after monday, as a caller would find it.
func at(h int) (now int64, ofDay int, weekend bool) {
	return monday + int64(h)*hour, h % 24, h/24%7 >= 5
}

// office is a level in log units that is high in working hours.
func office(ofDay int, weekend bool) float64 {
	switch {
	case weekend:
		return 3
	case ofDay >= 8 && ofDay < 18:
		return 9
	}
	return 5
}

// learnOffice is a baseline of so many hours of the office.
func learnOffice(hours int) *Seasonal {
	r := rand.New(rand.NewPCG(1, 1))
	s := new(Seasonal)
	for h := range hours {
		now, ofDay, weekend := at(h)
		s.Update(office(ofDay, weekend)+0.3*r.NormFloat64(), now, ofDay, weekend, weeks, false)
	}
	return s
}

func TestSeasonalLearnsTheWeek(t *testing.T) {
	const hours = 6 * 7 * 24
	s := learnOffice(hours)
	for h := hours; h < hours+7*24; h++ {
		now, ofDay, weekend := at(h)
		e := s.Expect(now, ofDay, weekend, weeks)
		want := office(ofDay, weekend)
		if math.Abs(e.Mean-want) > 0.3 || e.Sigma > 0.6 {
			t.Errorf("at %d (weekend %v) %.2f ± %.2f, want %v", ofDay, weekend, e.Mean, e.Sigma, want)
		}
		if z := e.Score(9, weeks.Floor); want < 9 && z < 3 {
			t.Errorf("a working hour's level at %d (weekend %v) scores %.1f", ofDay, weekend, z)
		}
		n := 0.0
		for past := h % 24; past < hours; past += 24 {
			if _, _, w := at(past); w == weekend {
				n += math.Exp(-float64(h-past) / weeks.Tau.Hours())
			}
		}
		if e.Basis == NearHours {
			n *= 3
		}
		if math.Abs(e.N-n) > 0.05*n || e.Basis == AllHours {
			t.Errorf("at %d (weekend %v) it rests on %.2f observations, want %.2f", ofDay, weekend, e.N, n)
		}
	}
}

// What little is known of an hour is helped out by its neighbours, then by all hours,
// and the expectation says so.
func TestSeasonalFallsBack(t *testing.T) {
	f := func(hours, ofDay int, weekend bool, basis Basis, mean, low, high float64) {
		t.Helper()
		now, _, _ := at(hours)
		e := learnOffice(hours).Expect(now, ofDay, weekend, weeks)
		if e.Basis != basis || math.Abs(e.Mean-mean) > 0.4 || e.N < low || e.N > high {
			t.Errorf("after %d h, at %d (weekend %v): %+v, want basis %d, mean %v, n %v to %v", hours, ofDay, weekend, e, basis, mean, low, high)
		}
	}
	f(0, 12, false, Nothing, 0, 0, 0)
	f(24, 12, false, AllHours, 6.7, 23, 24)
	f(2*24, 12, false, AllHours, 6.7, 46, 48) // 3 × 2 decayed are fewer than 6
	f(3*24, 12, false, NearHours, 9, 8, 9)
	f(3*24, 8, false, NearHours, 7.7, 8, 9)  // of the night, too
	f(3*24, 0, false, NearHours, 5, 7.9, 9)  // the neighbour before midnight
	f(3*24, 23, false, NearHours, 5, 7.9, 9) // and after
	f(10*24, 12, false, SameHour, 9, 6, 7)
	f(5*24, 12, true, AllHours, 6.7, 100, 120)
	f(16*24, 12, true, NearHours, 3, 9, 12)
	if e := learnOffice(9*24).Expect(monday+400*24*hour, 12, false, weeks); e.Basis != AllHours || e.N > 0.1 {
		t.Errorf("a year later it rests on %+v", e)
	}
	if e := learnOffice(9*24).Expect(monday, math.MinInt, true, Pace{}); e != (Expectation{}) || e.Score(1, 1) != 0 {
		t.Errorf("without a pace %+v", e)
	}
}

// A nightly burst is not learned for a week, stays out of the other hours, is learned
// at once if accepted, and in the end if not.
func TestSeasonalGate(t *testing.T) {
	const hours = 6 * 7 * 24
	s := learnOffice(hours)
	day := func(h int) (high int) {
		for end := h + 24; h < end; h++ {
			now, ofDay, weekend := at(h)
			x := office(ofDay, weekend)
			if ofDay == 2 {
				x = 10
			}
			z := s.Expect(now, ofDay, weekend, weeks).Score(x, weeks.Floor)
			if z > 3 {
				high++
			}
			s.Update(x, now, ofDay, weekend, weeks, z > 3)
		}
		return high
	}
	for d := range 7 {
		if n := day(hours + 24*d); n != 1 {
			t.Errorf("%d high hours on day %d of the burst", n, d)
		}
	}
	patient := *s
	patient.days = [2]*[dayHours]cell{ptr(*s.days[0]), ptr(*s.days[1])}
	if !s.Accept() || s.Accept() {
		t.Error("not accepted, or twice")
	}
	for d := 7; d < 14; d++ {
		if n := day(hours + 24*d); n != 0 {
			t.Errorf("%d high hours on day %d although accepted", n, d)
		}
	}
	s = &patient
	quiet := 0
	for d := 7; d < 70; d++ {
		if n := day(hours + 24*d); n == 0 && quiet == 0 {
			quiet = d
		}
	}
	t.Logf("a nightly burst that nobody accepts is normal from day %d (tau 28 days)", quiet)
	if quiet < 28 || quiet > 63 {
		t.Errorf("normal from day %d", quiet)
	}
}

func ptr[T any](v T) *T { return &v }

// The packed cells learn what Moments learn.
func TestSeasonalCellsAreMoments(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	var m Moments
	var c cell
	for d := range 200 {
		x, suspicious := 5+r.NormFloat64(), d%50 > 40
		now := monday + int64(d)*24*hour
		m.Update(x, now, weeks, suspicious)
		u := c.moments()
		u.Update(x, now, weeks, suspicious)
		c = u.pack()
		u = c.moments()
		if !near(u.Mean(), m.Mean(), 0.02) || !near(u.Sigma(), m.Sigma(), 0.02) || !near(u.Weight(), m.Weight(), 0.02) ||
			!near(float64(u.share), float64(m.share), 0.01) || u.held != m.held {
			t.Fatalf("day %d: packed %+v, not %+v", d, u, m)
		}
	}
}

func TestSeasonalMerge(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	p := Pace{Tau: weeks.Tau, Floor: 1e9}
	var a, b, both Seasonal
	for h := range 30 * 24 {
		now, ofDay, weekend := at(h)
		x := office(ofDay, weekend) + r.NormFloat64()
		side := &a
		if r.IntN(2) == 0 && !weekend {
			side = &b
		}
		side.Update(x, now, ofDay, weekend, p, false)
		both.Update(x, now, ofDay, weekend, p, false)
	}
	ba := Seasonal{}
	ba.Merge(&b, p)
	ba.Merge(&a, p)
	a.Merge(&b, p)
	if string(a.Append(nil)) != string(ba.Append(nil)) {
		t.Error("the merge does not commute")
	}
	for h := range 7 * 24 {
		now, ofDay, weekend := at(30*24 + h)
		got, want := a.Expect(now, ofDay, weekend, p), both.Expect(now, ofDay, weekend, p)
		if !near(got.Mean, want.Mean, 0.01) || !near(got.Sigma, want.Sigma, 0.01) || !near(got.N, want.N, 0.02) || got.Basis != want.Basis {
			t.Errorf("hour %d: %+v, want %+v", h, got, want)
		}
	}
}

func TestSeasonalSizeAndForm(t *testing.T) {
	if n := unsafe.Sizeof(cell{}); n != cellSize {
		t.Errorf("a cell takes %d bytes", n)
	}
	f := func(hours, bytes, form int) {
		t.Helper()
		s := learnOffice(hours)
		roundTrip(t, s)
		total, length := int(unsafe.Sizeof(*s))+s.Bytes(), len(s.Append(nil))
		t.Logf("of %d hours: %d bytes, serialised %d", hours, total, length)
		if total != bytes || length != form {
			t.Errorf("of %d hours: %d bytes, want %d; serialised %d, want %d", hours, total, bytes, length, form)
		}
	}
	f(0, 40, 31)
	f(3, 520, 31+3*cellSize)
	f(7*24, 1000, 31+48*cellSize)
	refuse := func(name string, change func(c *cell)) {
		t.Helper()
		bad := learnOffice(24)
		change(&bad.days[0][3])
		if _, err := new(Seasonal).Decode(bad.Append(nil)); err == nil {
			t.Errorf("%s: decodes", name)
		}
	}
	refuse("NaN", func(c *cell) { c.mean = float32(math.NaN()) })
	refuse("infinite", func(c *cell) { c.held = float32(math.Inf(-1)) })
	refuse("negative variance", func(c *cell) { c.variance = -1 })
	refuse("no weight", func(c *cell) { c.weight = 0 })
	refuse("less than none of the time", func(c *cell) { c.share = math.MinInt16 })
}

func TestSeasonalDoesNotAllocate(t *testing.T) {
	s := learnOffice(7 * 24)
	h := 7 * 24
	if n := testing.AllocsPerRun(1000, func() {
		now, ofDay, weekend := at(h)
		h++
		z := s.Expect(now, ofDay, weekend, weeks).Score(5, weeks.Floor)
		s.Update(5, now, ofDay, weekend, weeks, z > 3)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzDecodeSeasonal(f *testing.F) {
	fuzzDecode(f, func(s *Seasonal) {
		s.Merge(learnOffice(3), weeks)
		s.Accept()
		s.Update(1e300, start, -1, true, weeks, true)
		if e := s.Expect(start, 99, true, weeks); math.IsNaN(e.Score(3, 0)) || math.IsNaN(e.N) {
			panic("no score")
		}
	}, &Seasonal{}, learnOffice(5), learnOffice(6*24))
}
