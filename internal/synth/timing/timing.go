// Package timing makes the times and sizes of connections between two ends: those
// of implants that sleep, and those of all that is not a timer. It knows nothing of
// who judges them.
package timing

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// Series is the connections of one pair, in order.
type Series struct {
	Start []int64  // Unix nanoseconds
	Bytes []uint64 // that the originator sent
}

// Origin is when every series begins: a Monday, 08:00 UTC.
var Origin = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)

// Sizes is how the sizes of a series vary.
type Sizes uint8

const (
	SizesConstant Sizes = iota // up to 3 % above a floor, as of encrypted check-ins
	SizesNear                  // +-20 %
	SizesVaried                // log-normal
)

// Timer is an implant that sleeps, or another program with a timer.
type Timer struct {
	Period   float64 // s
	Jitter   float64 // 0 to 1, a share of the period
	OneSided bool    // the jitter shortens the sleep only (Cobalt Strike), instead of both
	Missed   float64 // share of check-ins that fail unseen
	CheckIns int     // that are seen

	Bursts      float64   // share of check-ins at which an operator works
	Changes     []float64 // periods that follow, each for an equal share of the check-ins
	Hours       float64   // a day that the machine runs, from 08:00 on; 0: always
	Interleaved []Timer   // other implants that talk to the same end
	Sizes       Sizes
}

// sleep draws a sleep in seconds.
func (t *Timer) sleep(r *rand.Rand, period float64) float64 {
	if t.OneSided {
		return period * (1 - t.Jitter*r.Float64())
	}
	return period * (1 + t.Jitter*(2*r.Float64()-1))
}

// Series draws the connections of a timer.
func (t Timer) Series(r *rand.Rand) Series {
	b := newBuilder(r, t.Sizes)
	at := 0.0
	for i := 0; i < t.CheckIns; {
		period := t.Period
		if k := i * (len(t.Changes) + 1) / t.CheckIns; k > 0 {
			period = t.Changes[k-1]
		}
		at += t.sleep(r, period)
		if t.Hours > 0 {
			if hour := math.Mod(at/3600, 24); hour > t.Hours {
				at += (24 - hour) * 3600 // the machine is woken
			}
		}
		if r.Float64() < t.Missed {
			continue
		}
		i++
		b.add(at)
		if r.Float64() < t.Bursts {
			for range 3 + r.IntN(18) {
				at += 0.5 + 4*r.ExpFloat64()
				b.add(at)
				b.task()
			}
		}
	}
	s := b.series()
	for _, o := range t.Interleaved {
		s = merge(s, o.Series(r))
	}
	return s
}

// Irregular is a process without a timer.
type Irregular struct {
	Kind  Kind
	Mean  float64 // gap in s, about
	Shape float64 // of the kind
	Count int
	Sizes Sizes
}

// Kind is a kind of irregular process, with the meaning of Irregular.Shape.
type Kind uint8

const (
	Exponential Kind = iota
	LogNormal        // shape: sigma
	Pareto           // shape: exponent
	Weibull          // shape: exponent, below 1
	Sessions         // people: pages of several connections in visits; shape: pages a visit
	Modulated        // MMPP: a quiet and a busy state; shape: ratio of their rates
	Diurnal          // Poisson with the rate of office hours; shape: depth, 0 to 1
	Superposed       // of several people or programs; shape: how many
	Shifted          // a pause, then an exponential time; shape: pause as a share of the mean
	NumKinds
)

var kindNames = [NumKinds]string{"exponential", "log-normal", "Pareto", "Weibull", "sessions", "MMPP", "diurnal", "superposed", "shifted exponential"}

func (k Kind) String() string { return kindNames[k] }

// Series draws the connections of an irregular process.
func (g Irregular) Series(r *rand.Rand) Series {
	b := newBuilder(r, g.Sizes)
	switch g.Kind {
	case Sessions:
		g.visits(r, b)
	case Modulated:
		g.modulated(r, b)
	case Diurnal:
		g.diurnal(r, b)
	case Superposed:
		g.superposed(r, b)
	default:
		at := 0.0
		for range g.Count {
			at += g.gap(r)
			b.add(at)
		}
	}
	return b.series()
}

// gap draws a gap of a renewal process in seconds.
func (g Irregular) gap(r *rand.Rand) float64 {
	switch g.Kind {
	case LogNormal:
		return g.Mean * math.Exp(g.Shape*r.NormFloat64()-g.Shape*g.Shape/2)
	case Pareto:
		return g.Mean / 3 * math.Pow(1-r.Float64(), -1/g.Shape)
	case Weibull:
		return g.Mean / math.Gamma(1+1/g.Shape) * math.Pow(r.ExpFloat64(), 1/g.Shape)
	case Shifted:
		return g.Mean * (g.Shape + (1-g.Shape)*r.ExpFloat64())
	}
	return g.Mean * r.ExpFloat64()
}

// visits is somebody who comes now and then, reads some pages, and loads each with
// several connections.
func (g Irregular) visits(r *rand.Rand, b *builder) {
	at, n := 0.0, 0
	for n < g.Count {
		at += g.Mean * 10 * math.Exp(1.2*r.NormFloat64())
		for range 1 + int(g.Shape*r.ExpFloat64()) {
			at += g.Mean / 4 * math.Exp(1.1*r.NormFloat64())
			for range 1 + r.IntN(4) {
				b.add(at + 2*r.Float64())
				n++
			}
		}
	}
}

// modulated is a Poisson process whose rate jumps.
func (g Irregular) modulated(r *rand.Rand, b *builder) {
	at, n := 0.0, 0
	for n < g.Count {
		quiet := g.Mean * math.Sqrt(g.Shape)
		for end := at + quiet*8*r.ExpFloat64(); ; n++ {
			if at += quiet * r.ExpFloat64(); at > end {
				break
			}
			b.add(at)
		}
		busy := quiet / g.Shape
		for end := at + busy*30*r.ExpFloat64(); ; n++ {
			if at += busy * r.ExpFloat64(); at > end {
				break
			}
			b.add(at)
		}
	}
}

// diurnal thins a Poisson process by the hour of the day.
func (g Irregular) diurnal(r *rand.Rand, b *builder) {
	at := 0.0
	for n := 0; n < g.Count; {
		at += g.Mean / 2 * r.ExpFloat64()
		if r.Float64() < (1+g.Shape*math.Cos(2*math.Pi*(at/86400-0.2)))/2 {
			b.add(at)
			n++
		}
	}
}

// superposed is several processes of different shapes at once.
func (g Irregular) superposed(r *rand.Rand, b *builder) {
	parts := max(int(g.Shape), 2)
	until := g.Mean * float64(g.Count)
	for i := range parts {
		p := Irregular{Kind: []Kind{Exponential, LogNormal, Weibull, Shifted}[i%4], Mean: g.Mean * float64(parts), Shape: []float64{0, 1.2, 0.7, 0.3}[i%4]}
		for at := p.gap(r) * r.Float64(); at < until; at += p.gap(r) {
			b.add(at)
		}
	}
}

// builder collects connections.
type builder struct {
	r     *rand.Rand
	sizes Sizes
	base  float64 // B
	sigma float64
	conns []conn
}

type conn struct {
	at    int64
	bytes uint64
}

func newBuilder(r *rand.Rand, s Sizes) *builder {
	return &builder{r: r, sizes: s, base: 300 * math.Exp(r.NormFloat64()), sigma: 0.5 + r.Float64()}
}

// add adds a connection so many seconds from the origin.
func (b *builder) add(seconds float64) {
	n := b.base
	switch b.sizes {
	case SizesConstant:
		n *= 1 + 0.03*b.r.Float64()
	case SizesNear:
		n *= 0.8 + 0.4*b.r.Float64()
	case SizesVaried:
		n *= math.Exp(b.sigma * b.r.NormFloat64())
	}
	b.conns = append(b.conns, conn{Origin.UnixNano() + int64(seconds*1e9), uint64(120 + n)})
}

// task makes the last connection one of an operator's work.
func (b *builder) task() {
	b.conns[len(b.conns)-1].bytes += uint64(500 * math.Exp(1.5*b.r.NormFloat64()))
}

func (b *builder) series() Series {
	slices.SortStableFunc(b.conns, func(a, c conn) int { return int(min(max(a.at-c.at, -1), 1)) })
	s := Series{make([]int64, len(b.conns)), make([]uint64, len(b.conns))}
	for i, c := range b.conns {
		s.Start[i], s.Bytes[i] = c.at, c.bytes
	}
	return s
}

// merge puts two series into one.
func merge(a, b Series) Series {
	all := &builder{}
	for _, s := range []Series{a, b} {
		for i, at := range s.Start {
			all.conns = append(all.conns, conn{at, s.Bytes[i]})
		}
	}
	return all.series()
}
