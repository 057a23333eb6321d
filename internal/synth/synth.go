// Package synth makes network days: what the hosts of an office do, with attacks
// of which the truth is known, as the logs that Zeek and Suricata would write of
// them. The same options give the same bytes.
//
// It is a simulation by events: each process (a person who browses, a timer, a
// scan) acts, emits the connections that follow from it, and says when it acts
// next. Time runs hour by hour, so that memory depends on the busiest hour and not
// on the number of days.
//
// Both sensors sit where they see all traffic of the office: inside, and at the
// uplink behind address translation. No host of the made network exists: addresses
// outside are from 198.18.0.0/15 and 2001:db8::/32, which belong to nobody, and
// whoever attacks has a name below .example or one that does not resolve.
package synth

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"tidewatch/internal/eval"
)

// Options say what to make.
type Options struct {
	Seed  uint64
	Start time.Time // midnight UTC of the first day; zero for 2026-11-20, a Friday
	Days  int       // at least 1
	Hosts int       // with users, 1 to 40,000; attacks add the hosts that they take over
	// Activity scales what people and servers do; 0 means 1, about 2,000 records a
	// host and working day. Timers keep their periods.
	Activity float64
	// Attacks is "none" (or ""), "story" (a few that belong together), "grid" (each
	// kind in each of its variants in three difficulties), or kinds of the grid with
	// commas, such as "scan,beacon".
	Attacks string
	// Gzip makes Write write compressed logs, without name and time inside.
	Gzip bool
}

const (
	maxHosts = 40_000
	hourNs   = int64(time.Hour)
	dayNs    = 24 * hourNs
)

// Network is the made network. It can be run once, by Hours or Write.
type Network struct {
	opts       Options
	start, end int64 // Unix nanoseconds
	err        error // what is wrong with the options
	users      []*host
	processes  []*process
	instances  []*eval.Instance
	guilty     map[netip.Addr]bool
	sites      []site
	zipf       []float64 // cumulated weights of sites
	out        []*Flow   // of the hour that runs
	slab       []Flow
}

// process is something that happens again and again.
type process struct {
	*Network
	r    *rand.Rand
	in   *eval.Instance // the attack that it is part of, or nil
	now  int64
	work func(p *process) (next int64)
}

// New returns the network that the options describe. What is wrong with them,
// Hours and Write say.
func New(o Options) *Network {
	if o.Start.IsZero() {
		o.Start = time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	}
	o.Days, o.Hosts = max(o.Days, 1), min(max(o.Hosts, 1), maxHosts)
	if o.Activity <= 0 {
		o.Activity = 1
	}
	n := &Network{opts: o, start: o.Start.UnixNano(), guilty: map[netip.Addr]bool{}}
	n.end = n.start + int64(o.Days)*dayNs
	n.makeSites()
	for range o.Hosts {
		n.user()
	}
	n.office()
	n.internet()
	n.err = n.attack(o.Attacks)
	return n
}

// spawn adds a process that acts first at the given time.
func (n *Network) spawn(first int64, in *eval.Instance, work func(p *process) int64) {
	id := uint64(len(n.processes) + 1)
	n.processes = append(n.processes, &process{
		Network: n, r: rand.New(rand.NewPCG(mix(n.opts.Seed), mix(id))), in: in, now: first, work: work,
	})
}

// mix spreads a number over all bits (the finaliser of SplitMix64, Steele et al.
// 2014), so that neighbouring seeds give unlike sequences.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Hours calls f with the connections that start in each hour, in no order. The
// slice and the flows are f's to keep. Connections that outlast the last day are
// cut off there, as a sensor does that is stopped.
func (n *Network) Hours(f func(flows []*Flow) error) error {
	if n.err != nil {
		return n.err
	}
	for until := n.start + hourNs; until <= n.end; until += hourNs {
		for _, p := range n.processes {
			for p.now < until {
				next := p.work(p)
				if next <= p.now {
					next = p.now + 1
				}
				p.now = next
			}
		}
		flows := n.out
		n.out = nil
		if err := f(flows); err != nil {
			return err
		}
	}
	return nil
}

// emit adds a connection. It must not start before the process's now.
func (p *process) emit(f Flow) {
	n := p.Network
	f.Start -= f.Start % 1000 // microseconds, as the logs have them
	f.Duration -= f.Duration % 1000
	if f.Start >= n.end {
		return
	}
	if f.Start < p.now-p.now%1000 {
		panic("synth: a connection before its cause")
	}
	f.cut(n.end)
	f.attack = p.in
	f.ID = p.r.Uint64() >> 13 // Suricata's flow ids have 51 bits
	if len(n.slab) == cap(n.slab) {
		n.slab = make([]Flow, 0, 512)
	}
	n.slab = append(n.slab, f)
	n.out = append(n.out, &n.slab[len(n.slab)-1])
	if p.in != nil {
		p.record(&f)
	}
}

// record counts a connection to its attack.
func (p *process) record(f *Flow) {
	from, to := time.Unix(0, f.Start).UTC(), time.Unix(0, f.End()).UTC()
	if p.in.Records == 0 || from.Before(p.in.Start) {
		p.in.Start = from
	}
	if to.After(p.in.End) {
		p.in.End = to
	}
	p.in.Records++
}

// Truth says what attacks there are and which hosts are harmless. It is complete
// once Hours or Write has ended: attacks that found no time to begin are not in it.
func (n *Network) Truth() eval.Truth {
	t := eval.Truth{Background: []string{noiseNet.String()}}
	for _, in := range n.instances {
		if in.Records > 0 {
			t.Instances = append(t.Instances, *in)
		}
	}
	slices.SortStableFunc(t.Instances, func(a, b eval.Instance) int {
		return cmp.Or(a.Start.Compare(b.Start), strings.Compare(a.ID, b.ID))
	})
	harmless := 0
	for _, u := range n.users {
		if !n.guilty[u.v4] {
			t.Benign = append(t.Benign, u.v4.String(), u.v6.String())
			harmless++
		}
	}
	for _, s := range servers {
		t.Benign = append(t.Benign, s.String())
		harmless++
	}
	t.HostDays = float64(n.opts.Days * harmless)
	return t
}

// ActivityFor returns the Activity with which the options give about so many
// records in the logs named (all if none are). What does not depend on Activity,
// timers and attacks, sets a minimum; below it the error says so.
func ActivityFor(o Options, events int, logs ...string) (float64, error) {
	days := max(o.Days, 1)
	o.Days = min(days, 7)
	count := func(activity float64) (float64, error) {
		o.Activity = activity
		c := 0
		err := New(o).Hours(func(flows []*Flow) error {
			for _, f := range flows {
				c += f.records(logs)
			}
			return nil
		})
		return float64(c) * float64(days) / float64(o.Days), err
	}
	low, err := count(0.5)
	if err != nil {
		return 0, err
	}
	high, err := count(2)
	if err != nil {
		return 0, err
	}
	// The number grows linearly with the activity: with a second line through the
	// first answer the noise of small networks is gone too.
	a := 0.5 + 1.5*(float64(events)-low)/max(high-low, 1)
	if a <= 0.01 {
		return 0, fmt.Errorf("%d records are too few for %d hosts and their attacks: they make %.0f when they do next to nothing", events, o.Hosts, low-(high-low)/3)
	}
	return a, nil
}
