package longconn

import (
	"encoding/hex"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"

	"tidewatch/behavior/phrase"
	"tidewatch/behavior/state"
	"tidewatch/behavior/volume"
	"tidewatch/event"
)

const (
	maxSamples = 10
	// sameStart is how far apart two reports may date the start of a connection.
	sameStart = 3 * second
)

// episode is what one host keeps open to one destination.
type episode struct {
	id          string
	host        state.Host
	revision    int
	detected    int64
	start, last int64 // of the first connection, of the last record
	score       float64
	best        measures // that made the strongest case
	name        string
	service     string
	running     bool    // the last record was about a connection that goes on
	conns       []piece // the last ones
	count       int
	total       int64 // how long those were together that are no more among the last
	out, in     uint64
	sensors     [3]bool
}

// piece is one connection of an episode.
type piece struct {
	conn    uint64 // Event.ConnHash
	sample  event.Sample
	running bool
}

// episode returns the open episode of a record's originator, or nil.
func (t *destination) episode(ev *event.Event) *episode {
	h := state.Host{Addr: ev.Orig.Addr, VLAN: ev.VLAN, Inner: ev.InnerVLAN}
	for _, e := range t.open {
		if e.host == h {
			return e
		}
	}
	return nil
}

func newEpisode(t *destination, ev *event.Event, m *measures, score float64) *episode {
	e := &episode{
		host: state.Host{Addr: ev.Orig.Addr, VLAN: ev.VLAN, Inner: ev.InnerVLAN}, detected: ev.End, start: ev.Time, last: ev.End, score: score, best: *m,
	}
	b := []byte{'c'}
	for _, v := range [...]uint64{event.Mix(e.host.Hash(), t.key), event.Mix(uint64(ev.Time), t.key)} {
		for range 8 {
			b = append(b, byte(v))
			v >>= 8
		}
	}
	e.id = hex.EncodeToString(b)
	e.add(ev)
	e.learn(ev)
	return e
}

// add counts a record: a connection, or more of one.
func (e *episode) add(ev *event.Event) {
	e.start, e.last = min(e.start, ev.Time), max(e.last, ev.End)
	e.running = ev.Flags&event.FlagSnapshot != 0
	e.sensors[ev.Sensor%3] = true
	p := piece{ev.ConnHash, event.SampleOf(ev), e.running}
	p.sample.OrigBytes, p.sample.RespBytes = volume.Sent(ev).Bytes, volume.Received(ev).Bytes
	for i := range e.conns {
		q := &e.conns[i]
		if d := q.sample.Time - ev.Time; q.conn == p.conn && d >= -sameStart && d <= sameStart {
			if p.sample.Duration >= q.sample.Duration {
				*q = p
			}
			return
		}
	}
	e.count++
	if len(e.conns) == maxSamples {
		old := e.conns[0].sample
		e.total += old.Duration
		e.out += old.OrigBytes
		e.in += old.RespBytes
		e.conns = slices.Delete(e.conns, 0, 1)
	}
	e.conns = append(e.conns, p)
}

// learn notes what the record says of the destination.
func (e *episode) learn(ev *event.Event) {
	if name := ev.Far().Name; name != "" && name != e.name {
		e.name = event.Clone(name)
	}
	if s := ev.Conn.Service; s != "" && s != e.service {
		e.service = event.Clone(s)
	}
}

// sums are those of all connections.
func (e *episode) sums() (total int64, out, in uint64) {
	total, out, in = e.total, e.out, e.in
	for i := range e.conns {
		s := &e.conns[i].sample
		total, out, in = total+s.Duration, out+s.OrigBytes, in+s.RespBytes
	}
	return total, out, in
}

// observation makes the case.
func (d *Detector) observation(t *destination, e *episode, open bool) event.Observation {
	_, out, in := e.sums()
	o := event.Observation{
		Detector: "long_connection", Episode: e.id, Revision: e.revision, Open: open,
		Time: e.detected, Start: e.start, End: e.last,
		Subject:     event.Subject{Type: "pair", Value: e.host.Addr.String() + " > " + t.peerName(e)},
		Source:      event.Endpoint{Addr: e.host.Addr, Scope: event.ScopeLocal, Bytes: out},
		Destination: event.Endpoint{Addr: t.addr, Port: t.port, HasPort: t.port != 0, Domain: e.name, Scope: event.ScopeExternal, Bytes: in},
		Proto:       t.proto, Application: application(e.service), Direction: "outbound", VLAN: e.host.VLAN,
		Score: phrase.Round3(e.score), Risk: e.risk(), Reason: t.reason(e),
		Evidence: d.explain(&e.best),
		Baseline: event.Baseline{Since: t.first, Observations: uint64(math.Round(e.best.past)), Text: "how long connections from ten minutes on to this destination last, whoever opens them"},
		Related:  []netip.Addr{e.host.Addr, t.addr},
		Features: t.features(e),
	}
	if e.revision > 0 {
		o.Time = max(e.detected, e.last)
	}
	if e.name != "" {
		o.Hosts = []string{e.name}
	}
	for i := range e.conns {
		o.Sample = append(o.Sample, e.conns[i].sample)
	}
	for i, seen := range e.sensors {
		if seen {
			o.Sensors = append(o.Sensors, event.Sensor(i).String())
		}
	}
	return o
}

// application is the protocol, where the sensor is sure of one.
func application(service string) string {
	if strings.ContainsAny(service, ",") {
		return ""
	}
	return service
}

// risk is what the connection means for the site.
func (e *episode) risk() float64 {
	return min(math.Round(15+55*e.score+4*math.Log2(max(e.best.duration/3600, 1))), 99)
}

func (t *destination) peerName(e *episode) string {
	if e.name != "" {
		return e.name
	}
	return t.service()
}

func (t *destination) service() string {
	if t.port == 0 {
		return t.addr.String()
	}
	return netip.AddrPortFrom(t.addr, t.port).String() + "/" + t.proto.String()
}

// reason says the case in one sentence.
func (t *destination) reason(e *episode) string {
	total, out, in := e.sums()
	var b strings.Builder
	fmt.Fprintf(&b, "%s kept a connection to %s", e.host.Addr, t.service())
	if e.name != "" {
		fmt.Fprintf(&b, " (%s)", e.name)
	}
	fmt.Fprintf(&b, " open for %s", phrase.Span(int64(e.best.duration*1e9)))
	if e.running {
		b.WriteString(", and it goes on")
	}
	if e.count > 1 {
		fmt.Fprintf(&b, "; with %d others of ten minutes and more for %s", e.count-1, phrase.Span(total))
	}
	fmt.Fprintf(&b, ": %s out and %s in", phrase.Bytes(float64(out)), phrase.Bytes(float64(in)))
	switch m := &e.best; {
	case m.population >= fewHosts && m.hosts <= 1:
		fmt.Fprintf(&b, "; of %.0f hosts nobody else deals with it", m.population)
	case m.population >= fewHosts:
		fmt.Fprintf(&b, "; %.0f of %.0f hosts deal with it", m.hosts, m.population)
	}
	return b.String()
}

func (t *destination) features(e *episode) []event.Feature {
	m := &e.best
	total, out, in := e.sums()
	return []event.Feature{
		event.Number("score", phrase.Round3(e.score)),
		event.Number("duration_seconds", math.Round(m.duration)),
		event.Number("total_seconds", math.Round(float64(total)/1e9)),
		event.Number("usual_seconds", math.Round(m.usual)),
		event.Number("connections", float64(e.count)),
		event.Number("bytes_out", float64(out)),
		event.Number("bytes_in", float64(in)),
		event.Number("bytes_per_second", phrase.Round2(m.rate)),
		event.Bool("running", e.running),
		event.Bool("begin_seen", m.begun != 0),
		event.Bool("bad_certificate", m.badCert != 0),
		event.Number("hosts", m.hosts),
		event.Number("hosts_known", m.population),
		event.Number("prevalence", phrase.Round3(m.hosts/max(m.population, m.hosts, 1))),
		event.Number("age_days", phrase.Round2(m.age)),
		event.Number("rank", m.rank),
		event.Text("service_class", event.Class(m.class).String()),
		event.Number("time_to_detect_seconds", math.Round(float64(e.detected-e.start)/1e9)),
	}
}
