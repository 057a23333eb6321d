package scan

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"tidewatch/behavior/phrase"
	"tidewatch/behavior/state"
	"tidewatch/event"
)

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
	o.Evidence = s.evidence(d, e, hosts, ports)
	o.Baseline = event.Baseline{
		Since: s.first, Observations: uint64(s.hosts) + e.attempts,
		Text: fmt.Sprintf("of a harmless host's first contacts %.0f %% succeed (Jung et al. 2004); this host had %d peers that answer", 100*d.cfg.Theta0, s.hosts),
	}
	if s.pending {
		state.NotLoaded(&o)
	}
	return o
}

// evidence says what weighs for and against the case.
func (s *source) evidence(d *Detector, e *episode, hosts, ports float64) []event.Evidence {
	share := float64(e.failed) / float64(e.attempts)
	es := []event.Evidence{{
		Feature: "scan.trw_log_ratio", Observed: phrase.Round2(e.walk), Expected: 0, Weight: phrase.Round2(e.walk),
		Text: fmt.Sprintf("so many first contacts without success are e^%.1f times as likely from a scanner as from a harmless host; %.1f is enough", e.walk, d.accept),
	}, {
		Feature: "scan.failure_rate", Observed: phrase.Round2(share), Expected: phrase.Round2(1 - d.cfg.Theta0), Weight: phrase.Round2(math.Log(max(share, 0.01) / (1 - d.cfg.Theta0))),
		Text: fmt.Sprintf("%d of %d first contacts failed", e.failed, e.attempts),
	}}
	if hosts >= 3 {
		es = append(es, event.Evidence{
			Feature: "scan.targets", Observed: hosts, Expected: 1, Unit: "hosts", Weight: phrase.Round2(math.Log(hosts)),
			Text: fmt.Sprintf("%.0f hosts were tried", hosts),
		})
	}
	if ports >= 3 {
		es = append(es, event.Evidence{
			Feature: "scan.ports", Observed: ports, Expected: 1, Unit: "ports", Weight: phrase.Round2(math.Log(ports)),
			Text: fmt.Sprintf("%.0f ports were tried", ports),
		})
	}
	if s.hosts > 0 {
		es = append(es, event.Evidence{
			Feature: "scan.known_peers", Observed: float64(s.hosts), Expected: 0, Unit: "hosts", Weight: -phrase.Round2(math.Log1p(float64(s.hosts)) / 4),
			Text: fmt.Sprintf("the host also has %d peers that answer it", s.hosts),
		})
	}
	if m := s.more; m != nil && m.accepted != 0 {
		es = append(es, event.Evidence{
			Feature: "scan.accepted", Observed: float64(e.attempts), Expected: float64(m.normal.attempts), Unit: "contacts",
			Text: fmt.Sprintf("%s: %d first contacts with %d hosts and %d ports, and this goes beyond twice as much, or elsewhere", phrase.Accepted(m.accepted), m.normal.attempts, m.normal.hosts, m.normal.ports),
		})
	}
	return es
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
	top := e.topPorts()
	o.Proto = sameProto(top)
	o.Features = e.features(top)
	if len(top) > 0 && e.count(&e.ports) == 1 {
		o.Features = append(o.Features, event.Number("port", float64(top[0].port)))
		o.Destination.Port, o.Destination.HasPort = top[0].port, true
	}
	return o
}

// topPorts returns the ports that failed, most often first.
func (e *episode) topPorts() []portCount {
	top := slices.Clone(e.top)
	slices.SortFunc(top, func(a, b portCount) int {
		return cmp.Or(cmp.Compare(b.n, a.n), cmp.Compare(a.port, b.port), cmp.Compare(a.proto, b.proto))
	})
	return top
}

// sameProto returns the protocol of the ports, or 0 if they have several.
func sameProto(ports []portCount) event.Proto {
	if len(ports) == 0 || slices.ContainsFunc(ports, func(p portCount) bool { return p.proto != ports[0].proto }) {
		return 0
	}
	return ports[0].proto
}

// features returns the numbers of the scan, with the names that rules know.
func (e *episode) features(top []portCount) []event.Feature {
	var ports, answers []string
	for _, p := range top {
		if !p.proto.IsICMP() {
			ports = append(ports, strconv.Itoa(int(p.port))+"/"+p.proto.String())
		}
	}
	for _, a := range e.answers {
		answers = append(answers, a.String())
	}
	shape := e.shape()
	kind := shape
	if e.detected-e.start >= slowAfter {
		kind = "slow"
	}
	took := float64(e.last-e.start) / 1e9
	rate := 0.0
	if took > 0 {
		rate = float64(e.attempts-1) / took
	}
	return []event.Feature{
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
		event.List("top_ports", ports),
		event.List("answered_targets", answers),
	}
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
