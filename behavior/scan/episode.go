package scan

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"tidewatch/behavior/phrase"
	"tidewatch/behavior/sketch"
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
	return &episode{id: episodeID('s', &s.entity, start), source: s.Addr, start: start, detected: detected, last: detected, limit: start + day}
}

// episodeID names an episode by what it is about and when it began: the same after
// a replay.
func episodeID(kind byte, e *entity, start int64) string {
	b := []byte{kind}
	h := spread(e.Hash(), uint64(kind))
	for range 8 {
		b = append(b, byte(h))
		h >>= 8
	}
	h = spread(uint64(start), e.Hash())
	for range 8 {
		b = append(b, byte(h))
		h >>= 8
	}
	return hex.EncodeToString(b)
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

// add counts one first contact. ev is its record, or nil if only the contact is
// left of it. It allocates while summaries grow.
func (e *episode) add(c *contact, ev *event.Event) {
	if c.realm() == realmInside != (e.realm == realmInside) || !c.failed() && !e.looksFor(c) {
		return // what the scanning host does otherwise
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
	// The targets that answered matter most: they push the others out.
	if len(e.samples) < maxSamples || !c.failed() && e.answered <= maxSamples/2 {
		e.samples = e.samples[:min(len(e.samples), maxSamples-1)]
		switch {
		case ev != nil:
			e.samples = append(e.samples, event.SampleOf(ev))
		case c.uid != "":
			e.samples = append(e.samples, event.Sample{
				UID: c.uid, Time: c.time, Orig: netip.AddrPortFrom(e.source, c.orig), Resp: netip.AddrPortFrom(c.dst, c.port), State: c.state.String(),
			})
		}
	}
	if ev != nil {
		e.sensors[ev.Sensor%3] = true
	}
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

// observation makes the case against a source.
func (s *source) observation(d *Detector, e *episode, open bool) event.Observation {
	o := e.observation(open)
	o.Subject = event.Subject{Type: "host", Value: s.Addr.String()}
	o.Source = event.Endpoint{Addr: s.Addr, Scope: s.scope}
	o.VLAN = s.VLAN
	target := scopeOf(2*e.inside >= e.attempts)
	if e.one.IsValid() {
		o.Destination = event.Endpoint{Addr: e.one, Scope: e.oneScope}
	}
	o.Direction = event.Direction(s.scope, target)
	hosts, ports := e.count(&e.hosts), e.count(&e.ports)
	posterior := 1 / (1 + math.Exp(d.accept-e.walk))
	o.Score = math.Round(1000*posterior) / 1000
	o.Risk = scanRisk(o.Direction, e)
	o.Reason = s.reason(e, o.Direction, hosts, ports)
	o.Related = []netip.Addr{s.Addr}
	if e.one.IsValid() {
		o.Related = append(o.Related, e.one)
	}
	for _, a := range e.answers {
		if !slices.Contains(o.Related, a.addr) {
			o.Related = append(o.Related, a.addr)
		}
	}
	share := float64(e.failed) / float64(e.attempts)
	o.Evidence = append(o.Evidence, event.Evidence{
		Feature: "scan.trw_log_ratio", Observed: phrase.Round2(e.walk), Expected: 0, Weight: phrase.Round2(e.walk),
		Text: fmt.Sprintf("so many first contacts without success are e^%.1f times as likely from a scanner as from a harmless host; %.1f is enough", e.walk, d.accept),
	}, event.Evidence{
		Feature: "scan.failure_rate", Observed: phrase.Round2(share), Expected: phrase.Round2(1 - d.cfg.Theta0), Weight: phrase.Round2(math.Log(max(share, 0.01) / (1 - d.cfg.Theta0))),
		Text: fmt.Sprintf("%d of %d first contacts failed", e.failed, e.attempts),
	})
	if hosts >= 3 {
		o.Evidence = append(o.Evidence, event.Evidence{
			Feature: "scan.targets", Observed: hosts, Expected: 1, Unit: "hosts", Weight: phrase.Round2(math.Log(hosts)),
			Text: fmt.Sprintf("%.0f hosts were tried", hosts),
		})
	}
	if ports >= 3 {
		o.Evidence = append(o.Evidence, event.Evidence{
			Feature: "scan.ports", Observed: ports, Expected: 1, Unit: "ports", Weight: phrase.Round2(math.Log(ports)),
			Text: fmt.Sprintf("%.0f ports were tried", ports),
		})
	}
	if s.hosts > 0 {
		o.Evidence = append(o.Evidence, event.Evidence{
			Feature: "scan.known_peers", Observed: float64(s.hosts), Expected: 0, Unit: "hosts", Weight: -phrase.Round2(math.Log1p(float64(s.hosts)) / 4),
			Text: fmt.Sprintf("the host also has %d peers that answer it", s.hosts),
		})
	}
	o.Baseline = event.Baseline{
		Since: s.first, Observations: uint64(s.hosts) + e.attempts,
		Text: fmt.Sprintf("of a harmless host's first contacts %.0f %% succeed (Jung et al. 2004); this host had %d peers that answer", 100*d.cfg.Theta0, s.hosts),
	}
	return o
}

// scanRisk is what the scan means for the site: who scans matters more than how
// much, and what answered more than what did not.
func scanRisk(direction string, e *episode) float64 {
	risk := map[string]float64{"internal": 70, "outbound": 65, "inbound": 20, "external": 15}[direction]
	if e.answered > 0 {
		risk += 10
	}
	risk += 5 * math.Log10(float64(e.attempts))
	return min(math.Round(risk), 99)
}

// observation fills in what does not depend on whose scan it is.
func (e *episode) observation(open bool) event.Observation {
	o := event.Observation{
		Detector: "scan", Episode: e.id, Revision: e.revision, Open: open,
		Time: e.detected, Start: e.start, End: e.last,
		Sample: slices.Clone(e.samples),
	}
	if !open {
		o.Time = e.last
	}
	for i, seen := range e.sensors {
		if seen {
			o.Sensors = append(o.Sensors, event.Sensor(i).String())
		}
	}
	top := slices.Clone(e.top)
	slices.SortFunc(top, func(a, b portCount) int {
		return cmp.Or(cmp.Compare(b.n, a.n), cmp.Compare(a.port, b.port), cmp.Compare(a.proto, b.proto))
	})
	var names []string
	for _, p := range top {
		if !p.proto.IsICMP() {
			names = append(names, strconv.Itoa(int(p.port))+"/"+p.proto.String())
		}
	}
	if len(top) > 0 {
		o.Proto = top[0].proto
		for _, p := range top {
			if p.proto != o.Proto {
				o.Proto = 0
				break
			}
		}
	}
	var answers []string
	for _, a := range e.answers {
		answers = append(answers, a.String())
	}
	kind, shape := e.shape(), e.shape()
	if e.detected-e.start >= slowAfter {
		kind = "slow"
	}
	took := float64(e.last-e.start) / 1e9
	rate := 0.0
	if took > 0 {
		rate = float64(e.attempts-1) / took
	}
	o.Features = []event.Feature{
		event.Text("kind", kind),
		event.Text("shape", shape),
		event.Number("targets", e.count(&e.hosts)),
		event.Number("ports", e.count(&e.ports)),
		event.Number("attempts", float64(e.attempts)),
		event.Number("failed", float64(e.failed)),
		event.Number("rejected", float64(e.rejected)),
		event.Number("answered", float64(e.answered)),
		event.Number("answered_hosts", e.count(&e.answeredBy)),
		event.Number("failure_rate", phrase.Round2(float64(e.failed)/float64(max(e.attempts, 1)))),
		event.Number("rate_per_second", math.Round(1e4*rate)/1e4),
		event.Number("duration_seconds", math.Round(1000*took)/1000),
		event.Number("trw_log_ratio", phrase.Round2(e.walk)),
		event.Number("time_to_detect_seconds", math.Round(float64(e.detected-e.start)/1e6)/1e3),
		event.Number("failed_contacts_at_detection", float64(e.failedAtDetection)),
		event.Number("sources", e.count(&e.sources)),
		event.List("top_ports", names),
		event.List("answered_targets", answers),
	}
	if len(top) > 0 && e.count(&e.ports) == 1 {
		o.Features = append(o.Features, event.Number("port", float64(top[0].port)))
		o.Destination.Port, o.Destination.HasPort = top[0].port, true
	}
	return o
}

// reason says the case in one sentence.
func (s *source) reason(e *episode, direction string, hosts, ports float64) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s tried ", s.Addr)
	where := map[string]string{"internal": "inside", "outbound": "outside", "inbound": "inside"}[direction]
	switch {
	case e.shape() == "sweep":
		fmt.Fprintf(&b, "to ping %.0f hosts %s", hosts, where)
	case e.one.IsValid():
		fmt.Fprintf(&b, "%.0f ports of %s", ports, e.one)
	case ports == 1 && len(e.top) > 0:
		fmt.Fprintf(&b, "port %d/%s of %.0f hosts %s", e.top[0].port, e.top[0].proto, hosts, where)
	default:
		fmt.Fprintf(&b, "%.0f ports on %.0f hosts %s", ports, hosts, where)
	}
	fmt.Fprintf(&b, " in %s: %d of %d first contacts failed", phrase.Span(e.last-e.start), e.failed, e.attempts)
	switch {
	case e.answered == 1:
		fmt.Fprintf(&b, ", %s answered", e.answers[0])
	case e.answered > 1:
		fmt.Fprintf(&b, ", %d answered (%s and others)", e.answered, e.answers[0])
	}
	return b.String()
}
