package scan

import (
	"math"
	"net/netip"
	"slices"
	"time"

	"tidewatch/behavior/sketch"
	"tidewatch/behavior/state"
	"tidewatch/event"
)

const (
	topPorts   = 8
	maxAnswers = 20
	maxSamples = 10
	// slowAfter is how long a scan has gone on before it is found, to be slow.
	slowAfter = hour
)

// episode is one scan.
type episode struct {
	id       string
	quiet    bool       // it is what an analyst called normal: nobody is told
	source   netip.Addr // of a scan by one host
	revision int
	start    int64 // of the first evidence
	detected int64
	last     int64
	limit    int64 // it is over then, whatever goes on

	attempts, failed, answered uint64 // first contacts
	rejected                   uint64 // of the failed ones
	failedAtDetection          uint64
	icmp                       uint64 // attempts
	inside                     uint64 // attempts at local hosts
	walk                       float64
	hosts, ports, answeredBy   sketch.Distinct
	sources                    sketch.Distinct // of a distributed scan
	top                        []portCount
	answers                    []answer
	samples                    []event.Sample
	shown                      int // of the samples, those that were answered
	sensors                    [3]bool
	one                        netip.Addr // the target, while there is only one
	oneScope                   event.Scope
	realm                      int // where the case was made
}

// portCount is an entry of a SpaceSaving summary (Metwally et al. 2005).
type portCount struct {
	port  uint16
	proto event.Proto
	n     uint64 // failed
	ok    uint64 // answered
}

// answer is a target that answered.
type answer struct {
	addr  netip.Addr
	port  uint16
	proto event.Proto
}

func (a answer) String() string {
	if a.proto.IsICMP() {
		return a.addr.String()
	}
	return netip.AddrPortFrom(a.addr, a.port).String() + "/" + a.proto.String()
}

func newEpisode(s *source, start, detected int64) *episode {
	n := uint32(0)
	if s.more != nil {
		n = s.more.episodes
	}
	return &episode{id: state.EpisodeID('s', s.Hash(), start, n), source: s.Addr, start: start, detected: detected, last: detected, limit: start + day}
}

// deadline returns when the scan is over if nothing more comes. A slow scan gets
// time in proportion to its own pace.
func (e *episode) deadline(idle time.Duration) int64 {
	pause := int64(idle)
	if n := int64(e.attempts); n > 1 {
		pause = min(max(pause, 8*(e.last-e.start)/n), day)
	}
	return min(e.last+pause, e.limit)
}

// add counts one first contact, and reports whether it belongs to the scan. ev is its
// record, or nil if only the contact is left of it. It allocates while summaries grow.
func (e *episode) add(c *contact, ev *event.Event) bool {
	if c.realm() == realmInside != (e.realm == realmInside) || !c.failed() && !e.looksFor(c) {
		return false // what the scanning host does otherwise
	}
	e.last = max(e.last, c.time)
	e.attempts++
	h := event.HashAddr(c.dst, 0, 0)
	e.hosts.Add(h)
	switch e.attempts {
	case 1:
		e.one, e.oneScope = c.dst, scopeOf(c.local)
	default:
		if e.one != c.dst {
			e.one = netip.Addr{}
		}
	}
	if c.local {
		e.inside++
	}
	if c.proto.IsICMP() {
		e.icmp++
	} else {
		e.ports.Add(spread(uint64(c.port)<<8|uint64(c.proto), 0))
	}
	if c.failed() {
		e.failed++
		if c.outcome == event.OutcomeRejected {
			e.rejected++
		}
		e.countPort(c)
	} else {
		e.answered++
		e.answeredBy.Add(h)
		if len(e.answers) < maxAnswers {
			e.answers = append(e.answers, answer{c.dst, c.port, c.proto})
		}
	}
	e.sample(c, ev)
	return true
}

// sample keeps the record of a contact to show, as long as there is room. The
// targets that answered matter most: half of the room is theirs, and they come first.
func (e *episode) sample(c *contact, ev *event.Event) {
	if ev != nil {
		e.sensors[ev.Sensor%3] = true
	}
	if c.failed() && len(e.samples) == maxSamples || !c.failed() && e.shown == maxSamples/2 {
		return
	}
	var record event.Sample
	switch {
	case ev != nil:
		record = event.SampleOf(ev)
	case c.uid != "":
		record = event.Sample{
			UID: c.uid, Time: c.time, Orig: netip.AddrPortFrom(e.source, c.orig), Resp: netip.AddrPortFrom(c.dst, c.port), State: c.state.String(),
		}
	default:
		return
	}
	if c.failed() {
		e.samples = append(e.samples, record)
		return
	}
	e.samples = slices.Insert(e.samples[:min(len(e.samples), maxSamples-1)], e.shown, record)
	e.shown++
}

func scopeOf(local bool) event.Scope {
	if local {
		return event.ScopeLocal
	}
	return event.ScopeExternal
}

// looksFor reports whether an answered contact belongs to the scan: it is to a
// port that fails more often than it answers, or to the host whose ports are tried.
func (e *episode) looksFor(c *contact) bool {
	if e.one.IsValid() && e.attempts > 3 {
		return c.dst == e.one
	}
	for i := range e.top {
		if p := &e.top[i]; p.port == c.port && p.proto == c.proto {
			p.ok++
			return p.ok <= p.n
		}
	}
	return false
}

func (e *episode) countPort(c *contact) {
	low := 0
	for i := range e.top {
		if e.top[i].port == c.port && e.top[i].proto == c.proto {
			e.top[i].n++
			return
		}
		if e.top[i].n < e.top[low].n {
			low = i
		}
	}
	if len(e.top) < topPorts {
		e.top = append(e.top, portCount{port: c.port, proto: c.proto, n: 1})
		return
	}
	e.top[low] = portCount{port: c.port, proto: c.proto, n: e.top[low].n + 1}
}

// shape names the form of the scan.
func (e *episode) shape() string {
	hosts, ports := e.count(&e.hosts), e.count(&e.ports)
	switch {
	case e.sources.Count() > 0:
		return "distributed"
	case 2*e.icmp > e.attempts:
		return "sweep"
	case hosts < 3:
		return "vertical"
	case ports >= 5 && float64(e.attempts) >= 1.5*hosts && float64(e.attempts) >= 2*ports:
		return "block"
	}
	return "horizontal"
}

// count rounds the estimate of a number of things of which each took an attempt.
func (e *episode) count(d *sketch.Distinct) float64 {
	return min(math.Round(d.Count()), float64(e.attempts))
}
