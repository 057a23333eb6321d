package dnstunnel

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

const (
	maxSamples  = 10
	maxExamples = 5
	// slowAfter is how long a tunnel has gone on before it is found, to be slow.
	slowAfter = hour
	// sharedHosts and sharedShare are how many hosts, and which part of all, make a
	// domain a shared one. Fewer may be the victims of one intruder.
	sharedHosts, sharedShare = 4, 0.05
)

// episode is one tunnel.
type episode struct {
	id        string
	revision  int
	start     int64 // of the first evidence
	detected  int64
	last      int64
	limit     int64    // it is over then, whatever goes on
	questions float64  // since start, as records come
	found     float64  // those when it was found
	best      measures // those that made the strongest case
	strength  float64  // of it, in log-odds
	samples   []event.Sample
	examples  []string // names
	sensors   [3]bool
	proto     event.Proto
	server    netip.Addr // that is asked; not valid if there are several
	outside   bool       // the server is
	timer     timer      // on which the questions come
}

// timer is what is known of the times of a tunnel's questions.
type timer struct {
	period  float64 // seconds; 0: no timer was found
	jitter  float64 // share of the period
	logOdds float64 // nats, against processes without a timer
}

func timerOf(r *tempo.Result) timer { return timer{r.Period, r.Jitter, r.LogOdds} }

// evidence says that the questions come on a timer. It weighs nothing: much that asks
// DNS does so on a timer.
func (t timer) evidence() event.Evidence {
	return say("timer", t.period, 0, "seconds", 0, "the questions come every %s (jitter %.0f %%): a timer explains their times e^%.0f times better than chance", phrase.Span(int64(t.period*1e9)), 100*t.jitter, t.logOdds)
}

// openEpisode says that a candidate is a tunnel.
func (d *Detector) openEpisode(c *candidate, ev *event.Event, m *measures, strength float64, dst []event.Observation) []event.Observation {
	e := &episode{
		start: max(c.first, ev.Time-day), detected: ev.Time, last: ev.Time, limit: ev.Time + day,
		questions: c.total.questions(), found: c.total.questions(), best: *m, strength: strength,
		proto: ev.Proto, server: ev.Resp.Addr, outside: ev.Resp.Scope == event.ScopeExternal,
	}
	e.id = state.EpisodeID('n', mix(c.host.Hash()^mix(c.key)), e.start, c.episodes)
	if d.timers != nil && !c.host.silent {
		// What was told as a timer turns out to be a tunnel: it stays one finding.
		if id, revision, r := d.timers.Yield(ev); r != nil {
			e.id, e.revision, e.timer = id, revision+1, timerOf(r)
		}
	}
	for i := range numSlots {
		s := &c.slots[(int(c.next)+i)%numSlots]
		if s.time == 0 {
			continue
		}
		e.samples = append(e.samples, s.sample(c.host.Addr))
		if len(e.examples) < maxExamples {
			e.examples = append(e.examples, s.name.String()+"."+c.domain)
		}
		if s.resp.Addr() != e.server {
			e.server = netip.Addr{}
		}
	}
	e.sensors[ev.Sensor%3] = true
	c.episode = e
	if !c.host.silent {
		d.open = append(d.open, c)
	}
	return append(dst, c.observation(d, true))
}

func (t *text) String() string { return printable(t.b[:t.n]) }

func (s *slot) sample(orig netip.Addr) event.Sample {
	return event.Sample{
		UID: string(s.uid.b[:s.uid.n]), Time: s.time, Orig: netip.AddrPortFrom(orig, s.orig), Resp: s.resp, OrigBytes: uint64(s.bytes),
	}
}

// deadline returns when the tunnel is over if nothing more comes. A slow one gets
// time in proportion to its own pace.
func (e *episode) deadline(idle time.Duration) int64 {
	pause := int64(idle)
	if n := int64(e.questions); n > 1 {
		pause = min(max(pause, 8*((e.last-e.start)/n)), day)
	}
	return min(e.last+pause, e.limit)
}

// goOn notes a record of the domain.
func (e *episode) goOn(ev *event.Event) {
	e.last = max(e.last, ev.Time)
	e.sensors[ev.Sensor%3] = true
	if question, _ := message(ev); question {
		e.questions++
	}
}

// add notes a new name, with the measures taken at it.
func (e *episode) add(c *candidate, ev *event.Event, m *measures, strength float64) {
	e.goOn(ev)
	hour, day := max(e.best.bytes1h, m.bytes1h), max(e.best.bytes24h, m.bytes24h)
	if strength >= e.strength {
		e.best, e.strength = *m, strength
	}
	e.best.bytes1h, e.best.bytes24h = hour, day
	if e.server != ev.Resp.Addr {
		e.server = netip.Addr{}
	}
	if len(e.samples) < maxSamples {
		s := &c.slots[(c.next+numSlots-1)%numSlots] // the name's own
		e.samples = append(e.samples, s.sample(c.host.Addr))
		if len(e.examples) < maxExamples {
			e.examples = append(e.examples, s.name.String()+"."+c.domain)
		}
	}
}

// close reports a tunnel for the last time. If it goes on it must be found again.
func (d *Detector) close(c *candidate, dst []event.Observation) []event.Observation {
	c.episode.revision++
	dst = append(dst, c.observation(d, false))
	c.over()
	if h := c.host; h.own != nil {
		if o := h.own.candidate(c.key); o != nil {
			if o.episode != nil {
				o.over()
			}
			o.reset()
			o.episodes, o.told, o.size = c.episodes, c.told, c.size
			d.touchCandidate(o)
		}
	}
	if i := slices.Index(d.open, c); i >= 0 {
		d.open = slices.Delete(d.open, i, i+1)
	}
	d.touchCandidate(c)
	return dst
}

// over forgets an episode, and what it was judged by.
func (c *candidate) over() {
	e := c.episode
	c.size = level{e.best.bytes1h, e.best.bytes24h}
	c.told = max(c.told, e.last)
	c.episodes++
	c.episode = nil
	c.reset()
}

// kind says which rule the case is for.
func (e *episode) kind() string {
	m := &e.best
	switch {
	case m.resolver != 0:
		return "resolver"
	case m.rank > 0 || m.hosts >= sharedHosts && m.hosts >= sharedShare*m.population:
		return "shared"
	case e.detected-e.start >= slowAfter:
		return "slow"
	}
	return "fast"
}

// observation makes the case.
func (c *candidate) observation(d *Detector, open bool) event.Observation {
	e, h := c.episode, c.host
	m := &e.best
	o := event.Observation{
		Detector: "dns_tunnel", Episode: e.id, Revision: e.revision, Open: open,
		Time: e.detected, Start: e.start, End: e.last,
		Subject:     event.Subject{Type: "host", Value: h.Addr.String()},
		Source:      event.Endpoint{Addr: h.Addr, Scope: event.ScopeLocal, Bytes: uint64(c.total[countBytes])},
		Destination: event.Endpoint{Domain: c.domain, Scope: event.ScopeExternal},
		Proto:       e.proto, Application: "dns", Direction: "outbound", VLAN: h.VLAN, Query: c.domain,
		Score: phrase.Round3(probability(e.strength)), Risk: c.risk(), Reason: c.reason(),
		Evidence: d.cfg.explain(m),
		Baseline: event.Baseline{
			Since: h.first, Observations: h.questions,
			Text: fmt.Sprintf("names that this host asked for before do not count; harmless hosts ask for less than %s of new names of one domain in an hour", phrase.Bytes(float64(d.cfg.Bytes1h))),
		},
		Sample: slices.Clone(e.samples), Related: []netip.Addr{h.Addr}, Hosts: []string{c.domain},
		Features: c.features(),
	}
	if !open {
		o.Time = e.last
	}
	if e.timer.period > 0 {
		o.Evidence = append(o.Evidence, e.timer.evidence())
	}
	if c.accepted != 0 {
		o.Evidence = append(o.Evidence, event.Evidence{
			Feature: "dns_tunnel.accepted", Observed: math.Round(m.bytes24h), Expected: math.Round(c.normal.day), Unit: "B",
			Text: fmt.Sprintf("%s: %s of new names of this domain in an hour and %s in a day; this is more than twice as much", phrase.Accepted(c.accepted), phrase.Bytes(c.normal.hour), phrase.Bytes(c.normal.day)),
		})
	}
	if h.pending {
		state.NotLoaded(&o)
	}
	if e.server.IsValid() {
		o.Related = append(o.Related, e.server)
		if e.outside {
			o.Destination.Addr, o.Destination.Port, o.Destination.HasPort = e.server, 53, true
		}
	}
	for i, seen := range e.sensors {
		if seen {
			o.Sensors = append(o.Sensors, event.Sensor(i).String())
		}
	}
	return o
}

// features are the numbers of the case.
func (c *candidate) features() []event.Feature {
	e, m, t := c.episode, &c.episode.best, &c.total
	server := ""
	if e.server.IsValid() {
		server = e.server.String()
	}
	return []event.Feature{
		event.Text("kind", e.kind()),
		event.Number("queries", t.questions()),
		event.Number("subnames", t[countNames]),
		event.Number("subname_bytes", t[countBytes]),
		event.Number("subname_bytes_1h", m.bytes1h),
		event.Number("subname_bytes_24h", m.bytes24h),
		event.Number("novelty", phrase.Round2(m.novelty)),
		event.Number("mean_name", phrase.Round2(m.name)),
		event.Number("mean_label", phrase.Round2(m.label)),
		event.Number("longest_label", m.longest),
		event.Number("entropy", phrase.Round2(m.entropy)),
		event.Number("encoded", phrase.Round2(m.encoded)),
		event.List("types", t.types()),
		event.Number("nxdomain_share", phrase.Round2(m.nx)),
		event.Number("answer_bytes", t[countAnswerBytes]),
		event.Number("answer_ttl", math.Round(max(m.ttl, 0))),
		event.Number("bytes_out", c.bytesOut()),
		event.Text("resolver", server),
		event.Bool("direct", m.direct != 0),
		event.Number("prevalence", phrase.Round3(per(m.hosts, m.population))),
		event.Number("hosts", m.hosts),
		event.Number("rank", m.rank),
		event.Number("log_odds", phrase.Round2(e.strength)),
		event.Number("duration_seconds", math.Round(float64(e.last-e.start)/1e6)/1e3),
		event.Number("time_to_detect_seconds", math.Round(float64(e.detected-e.start)/1e6)/1e3),
		event.Number("queries_at_detection", e.found),
		event.Number("period_seconds", phrase.Round2(e.timer.period)),
		event.List("examples", slices.Clone(e.examples)),
	}
}

// bytesOut estimates what was sent: as much as the characters of the names can say.
func (c *candidate) bytesOut() float64 {
	return math.Round(c.total[countBytes] * c.episode.best.entropy / 8)
}

// types lists the types that were asked for, those of the most names first.
func (c *counts) types() (names []string) {
	var order []int
	for t := range typeNamed {
		if c[countType+t] > 0 {
			order = append(order, t)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return int(c[countType+b] - c[countType+a]) })
	for _, t := range order {
		names = append(names, typeNames[t])
	}
	return names
}

// risk is what the case means for the site: what gets out matters most.
func (c *candidate) risk() float64 {
	e := c.episode
	risk := 55 + 8*math.Log10(max(c.bytesOut(), 1)/1000)
	switch e.kind() {
	case "fast":
		risk += 10
	case "shared":
		risk -= 15
	}
	risk += 5 * e.best.direct
	return clip(math.Round(risk*probability(e.strength)), 1, 99)
}

// reason says the case in one sentence.
func (c *candidate) reason() string {
	e, t := c.episode, &c.total
	m := &e.best
	var b strings.Builder
	fmt.Fprintf(&b, "%s asked for %.0f new names below %s in %s", c.host.Addr, t[countNames], c.domain, phrase.Span(e.last-e.start))
	if types := t.types(); len(types) > 0 {
		fmt.Fprintf(&b, " (%s)", strings.Join(types, ", "))
	}
	fmt.Fprintf(&b, ": %s in them, %.0f a name, %.1f bits a character", phrase.Bytes(t[countBytes]), m.name, m.entropy)
	switch {
	case m.direct != 0 && e.server.IsValid():
		fmt.Fprintf(&b, ", straight from %s", e.server)
	case m.population >= 10 && m.hosts <= 1:
		fmt.Fprintf(&b, ", and no other of %.0f hosts did", m.population)
	case m.hosts > 1:
		fmt.Fprintf(&b, ", as did %.0f other hosts", m.hosts-1)
	}
	return b.String()
}
