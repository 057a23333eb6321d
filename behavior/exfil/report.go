package exfil

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"

	"tidewatch/behavior/phrase"
	"tidewatch/behavior/state"
	"tidewatch/event"
)

// featureNames are what evidence calls the terms.
var featureNames = [numFeatures]string{
	"prior", "bytes", "ratio", "payload_size", "destination_age", "first_seen", "prevalence", "popularity", "nameless", "service",
	"mail", "parallel", "host_past", "habit", "destination_past", "drift", "service_past", "destinations", "quality", "no_past", "service_tail", "collection", "others_past",
}

// Terms returns the names of all terms but the prior, as Config.Without takes them.
func Terms() []string { return slices.Clone(featureNames[1:]) }

// featureNamed returns the term with a name, numFeatures for "" and what is none.
func featureNamed(name string) feature {
	if i := slices.Index(featureNames[:], name); i >= 0 {
		return feature(i)
	}
	return numFeatures
}

// observation makes the case of an upload.
func (d *Detector) observation(h *host, e *episode, open bool) event.Observation {
	w, v := &e.sums, &e.verdict
	o := event.Observation{
		Detector: "exfiltration", Episode: e.id, Revision: e.revision, Open: open,
		Time: e.detected, Start: w.first, End: w.last,
		Subject: event.Subject{Type: "host", Value: h.Addr.String()},
		VLAN:    h.VLAN, Proto: e.proto, Application: application(e.service), Direction: e.direction(),
		Score: phrase.Round3(v.score()), Risk: e.risk(), Reason: e.reason(h),
		Sample: slices.Clone(e.samples), Related: []netip.Addr{h.Addr},
	}
	if !open {
		o.Time = w.last
	}
	local := event.Endpoint{Addr: h.Addr, Scope: event.ScopeLocal, Bytes: w.out, Packets: w.pkts}
	far := event.Endpoint{Domain: e.name, Scope: event.ScopeExternal, Bytes: w.in}
	if !e.kind.spread() {
		far.Addr = e.addr
		o.Related = append(o.Related, e.addr)
	}
	o.Source, o.Destination = local, far
	if e.kind == fromOutside {
		o.Source, o.Destination = far, local
	}
	if !e.kind.spread() && !e.proto.IsICMP() {
		o.Destination.Port, o.Destination.HasPort = e.port, true
	}
	if e.kind.spread() {
		o.Related = append(o.Related, e.addrs...)
	}
	if far.Domain != "" {
		o.Hosts = []string{far.Domain}
	}
	for i, seen := range e.sensors {
		if seen {
			o.Sensors = append(o.Sensors, event.Sensor(i).String())
		}
	}
	for _, t := range v.terms[:v.n] {
		o.Evidence = append(o.Evidence, e.evidence(t))
	}
	o.Baseline = e.baseline()
	if e.accepted != 0 {
		o.Evidence = append(o.Evidence, event.Evidence{
			Feature: "exfiltration.accepted", Observed: float64(w.out), Expected: float64(e.normal), Unit: "bytes",
			Text: fmt.Sprintf("%s: %s a day to this destination; this is more than twice as much", phrase.Accepted(e.accepted), phrase.Bytes(float64(e.normal))),
		})
	}
	if b := d.known.Of(h.Hash()); h.pending || b != nil && !b.Loaded() {
		state.NotLoaded(&o)
	}
	o.Features = e.features(d)
	return o
}

// application is the innermost protocol that the sensor recognised.
func application(service string) string {
	if i := strings.LastIndexByte(service, ','); i >= 0 {
		service = service[i+1:]
	}
	return service
}

// baseline says what the expectation rests on.
func (e *episode) baseline() event.Baseline {
	if e.active < minHours {
		return event.Baseline{Since: e.hostFirst, Observations: uint64(e.active), Text: fmt.Sprintf("the host is known for %d active hours, fewer than %d: the case rests on the destination and on the direction of the bytes", e.active, minHours)}
	}
	return event.Baseline{Since: e.hostFirst, Observations: uint64(e.active), Text: "bytes that the host sent out in each of its active hours, by the hour of the week, and that the destination got"}
}

func (e *episode) features(d *Detector) []event.Feature {
	w := &e.sums
	fs := []event.Feature{
		event.Text("kind", e.shape()),
		event.Number("bytes", float64(w.out)),
		event.Number("bytes_usual", math.Round(max(e.verdict.usual, 0))),
		event.Number("bytes_received", float64(w.in)),
		event.Number("ratio", phrase.Round2(ratio(w))),
		event.Number("connections", float64(w.conns)),
		event.Number("destinations", w.count()),
		event.Number("age_hours", e.age()),
		event.Number("prevalence", e.share()),
		event.Number("hosts", float64(e.use.Hosts)),
		event.Number("rank", float64(e.rank)),
		event.Number("duration_seconds", math.Round(float64(w.last-w.first)/1e9)),
		event.Number("rate_bytes_per_second", e.rate()),
		event.Number("largest_bytes", float64(w.largest)),
		event.Number("log_odds", phrase.Round2(e.verdict.sum)),
		event.Number("time_to_detect_seconds", math.Round(float64(max(e.detected-w.first, 0))/1e9)),
		event.Text("class", e.class.String()),
		event.Text("name_source", e.source.String()),
		event.Bool("disputed", 2*w.disputed > w.out),
	}
	if e.kind.spread() {
		var list []string
		for _, a := range e.addrs {
			list = append(list, a.String())
		}
		fs = append(fs, event.List("addresses", list))
	}
	return fs
}

// where names the destination.
func (e *episode) where() string {
	switch {
	case e.kind == byNetwork:
		length := 24
		if e.addr.Is6() {
			length = 64
		}
		p, _ := e.addr.Prefix(length)
		return fmt.Sprintf("%.0f addresses of %s", e.sums.count(), p)
	case e.kind == allNew:
		return fmt.Sprintf("%.0f new destinations", e.sums.count())
	case e.name == "":
		return e.addr.String()
	}
	return fmt.Sprintf("%s (%s)", e.name, e.addr)
}

// reason says the case in one sentence.
func (e *episode) reason(h *host) string {
	w := &e.sums
	var b strings.Builder
	fmt.Fprintf(&b, "%s sent %s to %s", h.Addr, phrase.Bytes(float64(w.out)), e.where())
	if e.kind == fromOutside {
		fmt.Fprintf(&b, ", which had connected to its port %d", e.port)
	}
	switch e.shape() {
	case "icmp", "ntp", "dns":
		fmt.Fprintf(&b, " in %d packets of %s, %.0f B each", w.pkts, strings.ToUpper(e.shape()), float64(w.out)/float64(max(w.pkts, 1)))
	case "long":
		fmt.Fprintf(&b, " in a connection of %s", phrase.Span(w.lasted))
	case "slow":
		fmt.Fprintf(&b, " in %d pieces over %s", w.conns, phrase.Span(w.last-w.first))
	default:
		fmt.Fprintf(&b, " within %s", phrase.Span(w.last-w.first))
	}
	if !e.kind.small() {
		fmt.Fprintf(&b, " and got %s back", phrase.Bytes(float64(w.in)))
	}
	if e.hosts > 0 && !e.kind.spread() {
		fmt.Fprintf(&b, "; %d of %d hosts deal with it", max(e.use.Hosts, 1), e.hosts)
	}
	if e.first != 0 && !e.kind.spread() {
		fmt.Fprintf(&b, ", this one since %s", phrase.Span(max(w.last-e.first, 0)))
	}
	return b.String()
}

// evidence says one term.
func (e *episode) evidence(t term) event.Evidence {
	x := event.Evidence{Feature: "exfiltration." + featureNames[t.feature], Observed: phrase.Round2(t.observed), Expected: phrase.Round2(t.expected), Weight: phrase.Round2(t.weight)}
	x.Unit, x.Text = e.say(t)
	return x
}

// say words a term.
func (e *episode) say(t term) (unit, text string) {
	switch t.feature {
	case prior:
		return "", "most uploads are harmless: these are the log-odds before anything else is known"
	case bytesOut:
		if e.kind.small() {
			return "bytes", fmt.Sprintf("%s were sent, where so many packets usually hold %s at most", phrase.Bytes(t.observed), phrase.Bytes(t.expected))
		}
		return "bytes", fmt.Sprintf("%s were sent on one day; from %s on it counts", phrase.Bytes(t.observed), phrase.Bytes(t.expected))
	case oneWay:
		return "", fmt.Sprintf("the producer/consumer ratio is %.2f: 1 is all sent, -1 all received", t.observed)
	case payloadSize:
		return "bytes", fmt.Sprintf("a packet holds %.0f B, where such packets hold %.0f at most", t.observed, t.expected)
	case destinations:
		return "destinations", fmt.Sprintf("the bytes are spread over %.0f destinations", e.sums.count())
	case parallel:
		return "bursts", "the bytes went in several connections at once that lasted some seconds each, as measures of throughput do"
	case quality:
		return "bytes", "the sensor's counts of bytes and packets contradict each other, perhaps because it missed packets"
	}
	if unit, text = e.sayWho(t); text != "" {
		return unit, text
	}
	return e.sayPast(t)
}

// sayWho words what is known of the destination.
func (e *episode) sayWho(t term) (unit, text string) {
	switch t.feature {
	case destinationAge:
		if e.first == 0 {
			return "days", "the host has dealt with the destination before, longer ago than is remembered"
		}
		return "days", fmt.Sprintf("the host has known the destination for %.1f days, and is known itself for %.1f", t.observed, t.expected)
	case networkAge:
		return "days", fmt.Sprintf("somebody inside dealt with the destination first %.1f days ago", t.observed)
	case prevalence:
		if e.kind.spread() {
			return "hosts", "hardly any other host deals with these destinations"
		}
		return "hosts", fmt.Sprintf("%.0f of %.0f hosts deal with the destination", t.observed, t.expected)
	case popularity:
		if t.observed == 0 {
			return "rank", "the destination is not among the popular domains"
		}
		return "rank", fmt.Sprintf("the destination is number %.0f of the popular domains", t.observed)
	case nameless:
		return "", fmt.Sprintf("no name is known of the destination, as it is for %.0f %% of this host's connections", 100*t.expected)
	case serviceClass:
		return "", "the destination is known for its service: " + event.Class(t.observed).String()
	case mailPort:
		return "port", "it is mail, which goes to new servers all the time"
	}
	return "", ""
}

// sayPast words what was normal.
func (e *episode) sayPast(t term) (unit, text string) {
	switch t.feature {
	case hostPast:
		return "bytes", fmt.Sprintf("the host sent out %s in this hour, where %s are usual", phrase.Bytes(t.observed), phrase.Bytes(max(t.expected, 0)))
	case noPast:
		return "hours", "of the host's first day nobody can say whether it sends its backups to this store each night"
	case habit:
		return "bytes", fmt.Sprintf("the destination got %s on the last day, and %s on this one", phrase.Bytes(t.expected), phrase.Bytes(t.observed))
	case destinationPast:
		return "bytes", fmt.Sprintf("the destination got %s, where %s are usual", phrase.Bytes(t.observed), phrase.Bytes(max(t.expected, 0)))
	case drifting:
		return "sigmas", "what the destination gets a day has grown for days (CUSUM; 5 is much)"
	case collection:
		return "bytes", fmt.Sprintf("the host read %s from own hosts within a day or two, where %s a day are usual", phrase.Bytes(t.observed), phrase.Bytes(t.expected))
	case othersPast:
		return "bytes", fmt.Sprintf("the destination got %s; two other hosts have sent it %s or more on a day before", phrase.Bytes(t.observed), phrase.Bytes(t.expected))
	case serviceTail:
		return "bytes", fmt.Sprintf("the service answered with %s; one of its answers to outside in 10,000 is larger than %s", phrase.Bytes(t.observed), phrase.Bytes(t.expected))
	case servicePast:
		if t.expected == 0 {
			return "bytes", "little or nothing is known of what the service usually answers"
		}
		return "bytes", fmt.Sprintf("the service answered with %s, where %s are usual", phrase.Bytes(t.observed), phrase.Bytes(t.expected))
	}
	return "", ""
}
