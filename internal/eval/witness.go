package eval

import (
	"net/netip"
	"slices"

	"tidewatch/event"
)

// Witness sees the records of a case, and counts those that belong to each instance of
// its truth: so a report can say after how many records an instance was found. It is
// used by one goroutine.
type Witness struct {
	instances   []watched
	byAddr      map[netip.Addr][]int // instances whose sources are addresses, by each of them
	others      []int                // instances with networks among their sources, or none
	first, last int64                // times of the first record and of the last, Unix nanoseconds
}

// watched is an instance with the times of its records.
type watched struct {
	*Instance
	sources, destinations []netip.Prefix
	conns, queries        []int64
}

// maxTimes is how many records of one instance are counted at most: whatever a truth
// file lists, a megabyte of times for each kind of record is enough.
const maxTimes = 1 << 17

// NewWitness returns a Witness of the truth's instances.
func NewWitness(t Truth) *Witness {
	w := &Witness{byAddr: map[netip.Addr][]int{}}
	for i := range t.Instances {
		in := watched{Instance: &t.Instances[i]}
		in.sources, in.destinations = networks(in.Sources), networks(in.Destinations)
		if len(in.sources) == 0 || slices.ContainsFunc(in.sources, func(p netip.Prefix) bool { return !p.IsSingleIP() }) {
			w.others = append(w.others, i)
		} else {
			for _, p := range in.sources {
				w.byAddr[p.Addr()] = append(w.byAddr[p.Addr()], i)
			}
		}
		w.instances = append(w.instances, in)
	}
	return w
}

// networks returns those of the texts that are addresses or networks.
func networks(texts []string) (ps []netip.Prefix) {
	for _, t := range texts {
		if p, err := netip.ParsePrefix(t); err == nil {
			ps = append(ps, p)
		} else if a, err := netip.ParseAddr(t); err == nil {
			ps = append(ps, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	return ps
}

// Observe takes a record.
func (w *Witness) Observe(ev *event.Event) {
	if w.first == 0 || ev.Time < w.first {
		w.first = ev.Time
	}
	w.last = max(w.last, ev.End)
	query := ev.Kind == event.KindDNS && (ev.DNS == nil || !ev.DNS.Response || ev.Sensor != event.SensorSuricata)
	if !query && !ev.Counts() {
		return
	}
	for _, i := range w.byAddr[ev.Orig.Addr] {
		w.instances[i].count(ev, query)
	}
	for _, i := range w.others {
		if in := &w.instances[i]; len(in.sources) == 0 || contains(in.sources, ev.Orig.Addr) {
			in.count(ev, query)
		}
	}
}

// count counts a record of one of the instance's sources, if it belongs to it.
func (in *watched) count(ev *event.Event, query bool) {
	switch {
	case !in.Start.IsZero() && ev.Time < in.Start.UnixNano() || !in.End.IsZero() && ev.Time > in.End.UnixNano():
	case len(in.Ports) > 0 && !slices.Contains(in.Ports, ev.Resp.Port):
	case len(in.Destinations) > 0 && !contains(in.destinations, ev.Resp.Addr) && !within(in.Destinations, ev.Far().Name):
	case query && len(in.queries) < maxTimes:
		in.queries = append(in.queries, ev.Time)
	case !query && len(in.conns) < maxTimes:
		in.conns = append(in.conns, ev.Time)
	}
}

func contains(ps []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(ps, func(p netip.Prefix) bool { return p.Contains(a) })
}

// until returns how many records of an instance began by a time: its connections, or
// its questions to DNS where these are more.
func (w *Witness) until(i int, at int64) int {
	n := func(times []int64) (k int) {
		for _, t := range times {
			if t <= at {
				k++
			}
		}
		return k
	}
	in := &w.instances[i]
	return max(n(in.conns), n(in.queries))
}
