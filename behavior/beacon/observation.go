package beacon

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"tidewatch/behavior/phrase"
	"tidewatch/behavior/state"
	"tidewatch/behavior/tempo"
	"tidewatch/event"
)

// observation makes the case against a pair.
func (t *track) observation(open bool, without string) event.Observation {
	e, l, r := t.episode, &t.last, &t.episode.result
	x := t.evidence(r, without, true)
	score := posterior(x.odds)
	o := event.Observation{
		Detector: "beacon", Episode: e.id, Revision: e.revision, Open: open,
		Time: e.detected, Start: e.started, End: t.Last(),
		Subject:   event.Subject{Type: "pair", Value: t.host.Addr.String() + " > " + t.peerName()},
		Source:    event.Endpoint{Addr: t.host.Addr, Scope: l.scope, Bytes: uint64(t.out)},
		Proto:     l.proto,
		Direction: event.Direction(l.scope, l.peerScope),
		VLAN:      t.host.VLAN,
		Score:     phrase.Round3(score),
		Risk:      math.Round(100 * score),
		Evidence:  x.list,
		Sample:    slices.Clone(t.samples),
		Related:   []netip.Addr{t.host.Addr},
		Features:  t.features(r, score),
	}
	if e.revision > 0 {
		o.Time = max(e.detected, t.Last())
	}
	t.far(&o)
	for i, seen := range t.sensors {
		if seen {
			o.Sensors = append(o.Sensors, event.Sensor(i).String())
		}
	}
	o.Reason = t.reason(r)
	o.Baseline = t.baseline()
	if t.pending {
		state.NotLoaded(&o)
	}
	if a := t.normal; a != nil {
		o.Evidence = append(o.Evidence, event.Evidence{
			Feature: "beacon.accepted", Observed: phrase.Round3(r.Period), Expected: phrase.Round3(a.period), Unit: "seconds",
			Text: fmt.Sprintf("%s: every %s with %s each time; this is more than twice as often, or far more bytes", phrase.Accepted(a.at), every(a.period), phrase.Bytes(a.bytes)),
		})
	}
	return o
}

// far fills in the other end. The finding is about who is called: of a DNS beacon the
// domain, not the resolver.
func (t *track) far(o *event.Observation) {
	l := &t.last
	o.Destination = event.Endpoint{Addr: l.peer, Port: l.port, HasPort: !l.proto.IsICMP(), Domain: l.name, Scope: l.peerScope, Bytes: uint64(t.in)}
	o.Related = append(o.Related, l.peer)
	if t.basis == byQuery {
		o.Destination.Domain = "" // the resolver is not called like that
		o.Query = l.name
		o.Application = "dns"
	}
	if l.name != "" {
		o.Hosts = []string{l.name}
	}
}

func (t *track) peerName() string {
	l := &t.last
	switch t.basis {
	case byQuery, byName:
		return l.name
	}
	if l.proto.IsICMP() {
		return l.peer.String()
	}
	return netip.AddrPortFrom(l.peer, l.port).String() + "/" + l.proto.String()
}

// kind says what is called on a timer.
func (t *track) kind() string {
	switch {
	case t.basis == byQuery:
		return "dns"
	case t.failed > 0 && 5*t.failed >= 4*t.records:
		return "retry"
	case 2*t.requests > t.records:
		return "http"
	case t.last.proto.IsICMP():
		return "icmp"
	}
	return "connection"
}

func (t *track) features(r *tempo.Result, score float64) []event.Feature {
	l := &t.last
	fs := []event.Feature{
		event.Text("kind", t.kind()),
		event.Text("basis", t.basis.String()),
		event.Number("score", phrase.Round3(score)),
		event.Number("timing_score", phrase.Round3(r.Score)),
		event.Number("log_odds", math.Round(r.LogOdds)),
		event.Number("log_odds_per_gap", phrase.Round3(r.PerGap)),
		event.Number("period_seconds", phrase.Round3(r.Period)),
		event.Number("jitter", phrase.Round3(r.Jitter)),
		event.Number("missed", phrase.Round3(r.Missed)),
		event.Number("contacts", float64(t.Sessions())),
		event.Number("connections", float64(t.records)),
		event.Number("failed", float64(t.failed)),
		event.Number("size_regularity", phrase.Round3(r.SizeScore)),
		event.Number("hours_active", float64(r.Hours)),
		event.Number("periods", math.Round(r.Periods)),
		event.Number("bytes_out_per_contact", math.Round(t.out/float64(max(t.conns, 1)))),
		event.Number("bytes_in_per_contact", math.Round(t.in/float64(max(t.conns, 1)))),
		event.Number("hosts_sharing", float64(l.peers)),
		event.Number("hosts_known", float64(l.hosts)),
		event.Number("rank", float64(l.rank)),
		event.Text("service_class", l.class.String()),
		event.Text("irregular_model", r.Irregular),
		event.Number("prevalence", phrase.Round3(float64(l.peers)/float64(max(l.hosts, l.peers, 1)))),
	}
	if t.tls.ja4 != "" {
		fs = append(fs, event.Text("ja4", t.tls.ja4))
	}
	if t.tls.ja3 != "" {
		fs = append(fs, event.Text("ja3", t.tls.ja3))
	}
	return append(fs, event.Text("next_expected", time.Unix(0, r.Next).UTC().Format(time.RFC3339)))
}

// baseline says what the expectation rests on.
func (t *track) baseline() event.Baseline {
	b := event.Baseline{Since: t.First(), Observations: uint64(t.Sessions()), Text: "the pair's own sessions, against processes without a timer"}
	if l := &t.last; l.hosts >= fewHosts {
		b.Text += fmt.Sprintf("; how many of %d hosts know the other end", l.hosts)
	}
	return b
}

// reason says the case in one sentence.
func (t *track) reason(r *tempo.Result) string {
	var b strings.Builder
	verb := "calls"
	switch t.kind() {
	case "dns":
		verb = "asks DNS for"
	case "retry":
		verb = "tries in vain to call"
	case "http":
		verb = "sends requests to"
	case "icmp":
		verb = "pings"
	}
	fmt.Fprintf(&b, "%s %s %s every %s", t.host.Addr, verb, t.peerName(), every(r.Period))
	if r.Jitter > 0.005 {
		fmt.Fprintf(&b, " (jitter %.0f %%)", 100*r.Jitter)
	}
	fmt.Fprintf(&b, ": %d times in %s", t.Sessions(), phrase.Span(t.Last()-t.First()))
	if r.Missed > 0.01 {
		fmt.Fprintf(&b, ", about %.0f %% missed", 100*r.Missed)
	}
	if t.conns > 0 && t.out > 0 {
		fmt.Fprintf(&b, ", %s out and %s in each time", phrase.Bytes(t.out/float64(t.conns)), phrase.Bytes(t.in/float64(t.conns)))
	}
	l := &t.last
	switch {
	case l.hosts >= fewHosts && l.peers == 1:
		fmt.Fprintf(&b, "; of %d hosts nobody else does", l.hosts)
	case l.hosts >= fewHosts && l.peers > 1:
		fmt.Fprintf(&b, "; %d of %d hosts do", l.peers, l.hosts)
	}
	return b.String()
}

// every writes a period in seconds.
func every(s float64) string {
	switch {
	case s >= 2*86400:
		return fmt.Sprintf("%.1f days", s/86400)
	case s >= 2*3600:
		return fmt.Sprintf("%.1f hours", s/3600)
	case s >= 120:
		return fmt.Sprintf("%.1f minutes", s/60)
	}
	return fmt.Sprintf("%.1f seconds", s)
}
