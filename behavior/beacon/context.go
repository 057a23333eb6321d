package beacon

import (
	"fmt"
	"math"

	"tidewatch/behavior/phrase"
	"tidewatch/behavior/tempo"
	"tidewatch/event"
)

// prior is the log-odds that a pair with no more than the faintest timing is an
// implant.
const prior = -3.0

// terms are the evidence for a case and against it. Their weights are log-odds and
// add up. Terms without room for evidence only add them up.
type terms struct {
	odds    float64
	list    []event.Evidence
	tell    bool
	without string // the term that is left out
}

// Terms returns the names of all terms, as Config.Without takes them.
func Terms() []string {
	return []string{
		"timing", "log_odds_per_gap", "size_regularity", "persistence", "failed", "prevalence_unknown", "prevalence", "domain_prevalence",
		"no_name", "popularity", "age", "certificate", "tls_without_name", "client", "fresh_names", "below_ttl", "service_class", "port", "direction", "ping",
	}
}

// add weighs one term. What there is to say of it is given as a format.
func (x *terms) add(feature string, observed, expected float64, unit string, weight float64, text func() string) {
	if feature == x.without {
		return
	}
	x.odds += weight
	if weight = phrase.Round2(weight); !x.tell || weight == 0 {
		return
	}
	x.list = append(x.list, event.Evidence{
		Feature: "beacon." + feature, Observed: phrase.Round3(observed), Expected: phrase.Round3(expected), Unit: unit, Weight: weight, Text: text(),
	})
}

// posterior is the probability that belongs to log-odds.
func posterior(odds float64) float64 { return 1 / (1 + math.Exp(-odds)) }

func clamp(v, low, high float64) float64 { return min(max(v, low), high) }

// evidence weighs a timer that was found.
func (t *track) evidence(r *tempo.Result, without string, tell bool) terms {
	x := terms{odds: prior, tell: tell, without: without}
	t.timing(&x, r)
	t.context(&x)
	return x
}

// context is all evidence but that of the sessions' times and sizes.
func (t *track) context(x *terms) {
	t.last.standing(x, t.basis)
	t.identity(x)
}

// standing is what is known of the far end and its place apart from this pair.
func (l *contact) standing(x *terms, b basis) {
	l.prevalence(x, b)
	l.popularity(x)
	l.service(x, b)
	l.place(x, b)
}

// mostTiming is what the times and sizes of sessions can add at most, and mostOwn what
// else the pair itself can.
const (
	mostTiming = 4.5 + 1.2 + 0.8 + 0.7
	mostOwn    = 0.9 + 0.4 + 0.8 + 1.2 + 0.6
)

// excused reports whether the best of timers would not make a case.
func (t *track) excused(without string) bool {
	x := terms{odds: prior + mostTiming, without: without}
	t.context(&x)
	return x.odds < 0
}

// excused reports whether nothing that a pair does would make a case.
func (l *contact) excused(b basis, without string) bool {
	x := terms{odds: prior + mostTiming + mostOwn, without: without}
	l.standing(&x, b)
	return x.odds < 0
}

// timing is what the sessions themselves say.
func (t *track) timing(x *terms, r *tempo.Result) {
	against := "no irregular process comes near"
	if r.Irregular != "" {
		against = fmt.Sprintf("the best irregular explanation (%s)", r.Irregular)
	}
	x.add("timing", r.Score, 0, "", clamp(8*(r.Score-0.4), 0, 4.5), func() string {
		return fmt.Sprintf("a timer explains the %d gaps e^%.0f times better than %s", r.Gaps, r.LogOdds, against)
	})
	x.add("log_odds_per_gap", r.PerGap, 0, "nats", clamp(1.5*(r.PerGap-0.1), -0.3, 1.2), func() string { return fmt.Sprintf("%.2f nats of evidence a gap", r.PerGap) })
	x.add("size_regularity", r.SizeScore, 0.3, "", clamp(1.2*(r.SizeScore-0.3), -0.4, 0.8), func() string { return sizeText(r.SizeScore) })
	x.add("persistence", float64(r.Hours), 4, "hours of the week", clamp(0.25*(math.Log2(float64(max(r.Hours, 1)))-2), -0.5, 0.7), func() string {
		return fmt.Sprintf("it went on in %d hours of the week, over %.0f periods", r.Hours, r.Periods)
	})
	if t.failed > 0 && 5*t.failed >= 4*t.records {
		x.add("failed", float64(t.failed), 0, "connections", -0.7, func() string { return fmt.Sprintf("nobody answered %d of %d: a retry loop", t.failed, t.records) })
	}
}

func sizeText(score float64) string {
	switch {
	case score >= 0.95:
		return "the sessions are all of one size"
	case score >= 0.5:
		return "half of the sessions are of nearly one size"
	}
	return "the sessions are of many sizes"
}

const (
	// fewHosts are too few to say how many of them use something.
	fewHosts = 8
	// usualShare of the hosts is neither rare nor common.
	usualShare = 0.1
)

// prevalence is how many others do the same.
func (l *contact) prevalence(x *terms, b basis) {
	if l.hosts < fewHosts || l.peers == 0 {
		x.add("prevalence_unknown", float64(l.hosts), fewHosts, "hosts", -0.6, func() string {
			return fmt.Sprintf("of %d hosts nobody can say what is rare", l.hosts)
		})
		return
	}
	n := float64(max(l.hosts, l.peers))
	share := float64(l.peers) / n
	what := "this address"
	if l.name != "" {
		what = "this name"
	}
	w := clamp(1.1*math.Log(usualShare/share), -4, 1.5)
	if l.scope == l.peerScope {
		w = min(w, 0.8) // inside, most services have few users
	}
	x.add("prevalence", share, usualShare, "of hosts", w, func() string { return fmt.Sprintf("%d of %.0f hosts use %s", l.peers, n, what) })
	if l.name != "" && l.domainPeers > l.peers && b != byQuery {
		wide := float64(l.domainPeers) / n
		x.add("domain_prevalence", wide, usualShare, "of hosts", clamp(0.6*math.Log(usualShare/wide), -2, 0), func() string {
			return fmt.Sprintf("%d of %.0f hosts use another name of the same domain", l.domainPeers, n)
		})
	}
}

// popularity is what the far end is called, and whether it can be known.
func (l *contact) popularity(x *terms) {
	outside := l.peerScope == event.ScopeExternal
	switch {
	case l.name == "" && outside && l.class == event.ClassNone:
		x.add("no_name", 1, 0, "", 0.7, func() string { return "nobody asked for a name, and none was said: the address alone is known" })
	case l.rank > 0 && l.rank <= 1000:
		x.add("popularity", float64(l.rank), 0, "rank", -3.2, func() string { return fmt.Sprintf("%s is among the 1,000 most popular domains", l.domain) })
	case l.rank > 0:
		x.add("popularity", float64(l.rank), 0, "rank", -2, func() string { return fmt.Sprintf("%s is a popular domain", l.domain) })
	case l.name != "" && outside:
		x.add("popularity", 0, 0, "rank", 0.4, func() string { return fmt.Sprintf("%s is not in the list of popular domains", l.domain) })
	}
}

// identity is what this pair says of who is called.
func (t *track) identity(x *terms) {
	l := &t.last
	outside := l.peerScope == event.ScopeExternal
	if age := l.since; age != 0 && t.First()-age > 2*day {
		x.add("age", float64(t.First()-age)/float64(day), 0, "days", -0.5, func() string { return fmt.Sprintf("it was used here %s before this began", phrase.Span(t.First()-age)) })
	}
	if h := &t.tls; h.seen {
		if h.selfSigned || h.invalid {
			x.add("certificate", 1, 0, "", 0.9, func() string { return "the certificate is one that nobody vouches for" })
		}
		if h.noName && outside && l.class == event.ClassNone {
			x.add("tls_without_name", 1, 0, "", 0.4, func() string { return "TLS without a server name" })
		}
		t.client(x)
	}
	if t.basis == byQuery && 2*t.fresh >= t.Sessions() {
		x.add("fresh_names", float64(t.fresh), 1, "names", 1.2, func() string { return fmt.Sprintf("%d questions were for a name other than the one before", t.fresh) })
	}
	if t.basis == byQuery && t.ttl > 0 && 2*t.fresh < t.Sessions() {
		x.add("below_ttl", float64(t.ttl), 0, "seconds", 0.6, func() string {
			return fmt.Sprintf("answers are valid for %d seconds, and it asks again much earlier", t.ttl)
		})
	}
}

// enoughHosts must be known, and enoughHandshakes alike, for a client of TLS to be rare:
// browsers shuffle what they say, so that no two of their handshakes have one JA3.
const (
	enoughHosts      = 20
	enoughHandshakes = 3
)

// client is how many hosts have a client of TLS like this one.
func (t *track) client(x *terms) {
	h, l := &t.tls, &t.last
	if h.clients == 0 || h.alike < enoughHandshakes || l.hosts < enoughHosts {
		return
	}
	share := float64(h.clients) / float64(max(l.hosts, h.clients))
	x.add("client", share, usualShare, "of hosts", clamp(0.5*math.Log(usualShare/share), -0.8, 0.8), func() string {
		return fmt.Sprintf("%d of %d hosts have a client of TLS that introduces itself like this one", h.clients, max(l.hosts, h.clients))
	})
}

// service is what the far end is for.
func (l *contact) service(x *terms, b basis) {
	rare := l.hosts >= 20 && l.peers == 1
	switch c := l.class; c {
	case event.ClassNone:
	case event.ClassTime, event.ClassName, event.ClassLocal:
		if b == byQuery {
			break // asking is how DNS works
		}
		x.add("service_class", 1, 0, "", -6, func() string { return "a service that is asked on a timer: " + c.String() })
	case event.ClassPlatform:
		x.add("service_class", 1, 0, "", -3.4, func() string {
			return "the address is in the network of a vendor whose own services are called without a name; its customers' machines are there too"
		})
	default:
		w := -3.0
		if rare { // anybody can say such a name
			w = -1.5
		}
		x.add("service_class", 1, 0, "", w, func() string { return "known as a service that programs call by themselves: " + c.String() })
	}
	if l.proto == event.ProtoTCP && l.peerScope == event.ScopeExternal && !usualPort(l.port) {
		x.add("port", float64(l.port), 443, "", 0.5, func() string { return fmt.Sprintf("port %d is not one that the web uses", l.port) })
	}
}

// usualPort reports whether much goes to a TCP port outside.
func usualPort(p uint16) bool {
	switch p {
	case 21, 22, 25, 53, 80, 110, 143, 443, 465, 587, 853, 993, 995, 5223, 5228, 8080, 8443, 8883:
		return true
	}
	return false
}

// place is where the ends are.
func (l *contact) place(x *terms, b basis) {
	switch event.Direction(l.scope, l.peerScope) {
	case "internal":
		if b == byQuery {
			break // the resolver is inside, what is asked for is not
		}
		x.add("direction", 1, 0, "", -3, func() string { return "both ends are inside, where much runs on timers" })
	case "inbound":
		x.add("direction", 1, 0, "", -0.5, func() string { return "somebody outside calls in on a timer, as monitoring services do" })
	case "external":
		x.add("direction", 1, 0, "", -2, func() string { return "neither end is an own host" })
	}
	if l.proto.IsICMP() {
		x.add("ping", 1, 0, "", -2, func() string { return "pings come on a timer" })
	}
}
