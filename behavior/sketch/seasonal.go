package sketch

import (
	"encoding/binary"
	"math"
)

const (
	seasonalForm = 1

	dayHours = 24
	cellSize = 20 // bytes, in memory and in the serial form
	// enough is how many observations an hour of the day must rest on to speak for
	// itself, and with its neighbours.
	enough = 6
)

// Seasonal is what a quantity is expected to be at each hour of a weekday and of a
// day of the weekend, with the level of all hours to fall back on. All learn like
// Moments, each hour with a gate of its own: a change that lasts every night is
// learned for the nights.
//
// It is meant for one observation an hour, with a tau of weeks: at four, an hour of
// weekdays comes to rest on 20 observations, one of weekends on 8. The zero Seasonal
// is empty, and takes 40 bytes; weekdays and weekends take 480 more each, once
// something was learned of them.
type Seasonal struct {
	all  Moments
	days [2]*[dayHours]cell // weekday, weekend
}

// cell is the Moments of an hour in 20 bytes. The weight is in 1/64, up to 1,024; the
// share in 1/32,767.
type cell struct {
	mean, variance, held float32
	time                 uint32
	weight               uint16
	share                int16
}

func (c *cell) moments() Moments {
	return Moments{float32(c.weight) / 64, c.mean, c.variance, c.held, float32(c.share) / math.MaxInt16, c.time}
}

// pack rounds the weight up, so that what is learned slowly is not lost.
func (m *Moments) pack() cell {
	weight := min(math.Ceil(float64(m.weight)*64), math.MaxUint16)
	share := math.Round(float64(m.share) * math.MaxInt16)
	if share == 0 && m.share > 0 {
		share = 1
	}
	return cell{m.mean, m.variance, m.held, m.time, uint16(weight), int16(share)}
}

// Basis says what an expectation rests on.
type Basis uint8

// From the best to the worst.
const (
	Nothing   Basis = iota // the baseline is empty
	SameHour               // this hour of such days
	NearHours              // it, the one before and the one after, of such days
	AllHours               // all that was observed
)

// Expectation is what a quantity is expected to be.
type Expectation struct {
	Mean, Sigma float64
	N           float64 // observations it rests on, by their weights now
	Basis       Basis
}

// Score returns how many sigmas x is above what is expected (negative: below), where
// sigma is floor at least. It is 0 if nothing is known.
func (e Expectation) Score(x, floor float64) float64 {
	if e.Basis == Nothing {
		return 0
	}
	return score(x, e.Mean, e.Sigma, floor)
}

// Expect returns what is expected at now (Unix ns), in the UTC hour (0 to 23) of a
// day of the weekend or not. An hour that rests on fewer than 6 observations is
// pooled with its neighbours; are those too few, all hours speak for it.
func (s *Seasonal) Expect(now int64, hour int, weekend bool, p Pace) Expectation {
	if day := s.days[dayType(weekend)]; day != nil && p.Tau > 0 {
		m := day[hourOf(hour)].moments()
		if n := m.weightAt(now, p); n >= enough {
			return m.expect(n, SameHour)
		}
		for _, next := range [...]int{hour + 1, hour + dayHours - 1} {
			o := day[hourOf(next)].moments()
			m.Merge(&o, p)
		}
		if n := m.weightAt(now, p); n >= enough {
			return m.expect(n, NearHours)
		}
	}
	if s.all.weight == 0 || p.Tau <= 0 {
		return Expectation{}
	}
	return s.all.expect(s.all.weightAt(now, p), AllHours)
}

func (m *Moments) expect(n float64, b Basis) Expectation {
	return Expectation{m.Mean(), m.Sigma(), n, b}
}

// weightAt is the weight decayed to now.
func (m *Moments) weightAt(now int64, p Pace) float64 {
	return m.Weight() * p.decay(max(seconds(now), m.time)-m.time)
}

func dayType(weekend bool) int {
	if weekend {
		return 1
	}
	return 0
}

func hourOf(hour int) int { return int(uint(hour) % dayHours) }

// Update learns x, observed at now (Unix ns) in the UTC hour of a day of the weekend
// or not; suspicious closes the gates. It allocates with the first observation of a
// weekday and of a weekend.
func (s *Seasonal) Update(x float64, now int64, hour int, weekend bool, p Pace, suspicious bool) {
	if math.IsNaN(x) || p.Tau <= 0 {
		return
	}
	s.all.Update(x, now, p, suspicious)
	day := &s.days[dayType(weekend)]
	if *day == nil {
		*day = new([dayHours]cell)
	}
	c := &(*day)[hourOf(hour)]
	m := c.moments()
	m.Update(x, now, p, suspicious)
	*c = m.pack()
}

// Accept makes the levels that are suspicious now the expected ones: that of each
// hour which was suspicious when last observed, and that of all hours. It reports
// whether there was one.
func (s *Seasonal) Accept() bool {
	done := s.all.Accept()
	for _, day := range s.days {
		if day == nil {
			continue
		}
		for i := range day {
			if m := day[i].moments(); m.Accept() {
				day[i] = m.pack()
				done = true
			}
		}
	}
	return done
}

// Merge makes s the baseline of both's observations, as Moments does. It is not the
// baseline of the sums of what both saw: of a host whose traffic is split over two
// sensors, each hour must be summed up before it is learned.
func (s *Seasonal) Merge(o *Seasonal, p Pace) {
	s.all.Merge(&o.all, p)
	for d, day := range o.days {
		if day == nil {
			continue
		}
		if s.days[d] == nil {
			s.days[d] = new([dayHours]cell)
		}
		for h := range day {
			m, other := s.days[d][h].moments(), day[h].moments()
			m.Merge(&other, p)
			s.days[d][h] = m.pack()
		}
	}
}

// Bytes returns how much memory the baseline takes beside itself.
func (s *Seasonal) Bytes() int {
	n := 0
	for _, day := range s.days {
		if day != nil {
			n += dayHours * cellSize
		}
	}
	return n
}

// Append appends the serial form, of at most 991 bytes, to dst: of a day only the
// hours of which something is known.
func (s *Seasonal) Append(dst []byte) []byte {
	dst = s.all.append(append(dst, seasonalForm))
	for _, day := range s.days {
		at, known := len(dst), uint32(0)
		dst = append(dst, 0, 0, 0)
		if day == nil {
			continue
		}
		for h := range day {
			if day[h] != (cell{}) {
				known |= 1 << h
				dst = day[h].append(dst)
			}
		}
		dst[at], dst[at+1], dst[at+2] = byte(known), byte(known>>8), byte(known>>16)
	}
	return dst
}

func (c *cell) append(dst []byte) []byte {
	dst = appendFloat(appendFloat(appendFloat(dst, c.mean), c.variance), c.held)
	dst = binary.LittleEndian.AppendUint32(dst, c.time)
	dst = binary.LittleEndian.AppendUint16(dst, c.weight)
	return binary.LittleEndian.AppendUint16(dst, uint16(c.share))
}

// Decode reads what Append wrote from the front of b, and returns the rest.
func (s *Seasonal) Decode(b []byte) (rest []byte, err error) {
	r := read(b, seasonalForm)
	v := Seasonal{all: r.moments()}
	for d := range v.days {
		known := uint32(r.uint16()) | uint32(r.byte())<<16
		if known == 0 || r.bad {
			continue
		}
		v.days[d] = new([dayHours]cell)
		for h := range v.days[d] {
			if known>>h&1 != 0 {
				v.days[d][h] = r.cell()
			}
		}
	}
	rest, err = r.end()
	if *s = v; err != nil {
		*s = Seasonal{}
	}
	return rest, err
}

func (r *reader) cell() cell {
	c := cell{
		mean:     r.float(-maxValue, maxValue),
		variance: r.float(0, maxVariance),
		held:     r.float(-maxValue, maxValue),
		time:     r.uint32(),
		weight:   r.uint16(),
		share:    int16(r.uint16()),
	}
	r.check(c.weight > 0 && c.share >= -math.MaxInt16)
	return c
}
