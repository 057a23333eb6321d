package longconn

import (
	"fmt"
	"math"
	"slices"

	"tidewatch/behavior/phrase"
	"tidewatch/behavior/volume"
	"tidewatch/event"
)

// measures are what a connection is judged by.
type measures struct {
	duration float64 // seconds
	usual    float64 // seconds, of connections to the destination from ten minutes on; 0: none is known
	past     float64 // how many connections that rests on, by their weights
	sigmas   float64 // above what is usual
	rate     float64 // bytes a second, both ways
	port     float64
	datagram float64 // 1: UDP, or what has no ports
	begun    float64 // 1: the sensor saw how it began
	named    float64 // 1: a name is known
	names    float64 // 1: names are known of what others deal with
	tls      float64 // 1: the sensor says that it is TLS
	badCert  float64 // 1: the server's certificate is one that nobody vouches for

	hosts, domainHosts, population float64 // that deal with it, with its domain, and that there are
	age                            float64 // days that somebody inside has dealt with it
	rank                           float64 // in the list of popular domains, 0: not in it
	class                          float64 // event.Class
}

// all returns each measure's place, for the stored form.
func (m *measures) all() [18]*float64 {
	return [...]*float64{
		&m.duration, &m.usual, &m.past, &m.sigmas, &m.rate, &m.port, &m.datagram, &m.begun, &m.named, &m.names, &m.tls, &m.badCert,
		&m.hosts, &m.domainHosts, &m.population, &m.age, &m.rank, &m.class,
	}
}

// fewNames are too few to say that names are known where they are used.
const fewNames = 64

// measure takes the measures of a connection, before it is learned.
func (t *destination) measure(ev *event.Event) measures {
	k := ev.Far()
	use := k.Addr
	if k.Name != "" && k.OfName.Hosts > 0 {
		use = k.OfName
	}
	m := measures{
		duration: float64(ev.End-ev.Time) / 1e9, past: t.durations.Weight(), sigmas: t.durations.Score(logSeconds(ev), pace.Floor),
		port: float64(ev.Resp.Port), datagram: truth(ev.Proto != event.ProtoTCP), begun: truth(ev.Outcome == event.OutcomeAnswered),
		named: truth(k.Name != ""), names: truth(k.Names >= fewNames), tls: truth(isTLS(ev.Conn.Service)), badCert: truth(t.badCert),
		hosts: float64(use.Hosts), domainHosts: float64(k.OfDomain.Hosts), population: float64(max(k.Hosts, use.Hosts)),
		rank: float64(k.Rank), class: float64(k.Class),
	}
	m.rate = float64(volume.Sent(ev).Bytes+volume.Received(ev).Bytes) / max(m.duration, 1)
	if m.past > 0 {
		m.usual = math.Exp(t.durations.Mean())
	}
	if use.First != 0 {
		m.age = max(float64(ev.Time-use.First)/float64(day), 0)
	}
	return m
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// isTLS reports whether a sensor recognised TLS, by the names of both.
func isTLS(service string) bool {
	return service == "ssl" || service == "tls" || len(service) > 3 && (service[:4] == "ssl," || service[len(service)-4:] == ",ssl")
}

// The terms of the log-odds.
const (
	termPrior = iota
	termDuration
	termUsual
	termPrevalence
	termAge
	termName
	termUnseen
	termWeb
	termPort
	termProtocol
	termTLS
	termCertificate
	termRate
	termClass
	numTerms
)

var termNames = [numTerms]string{
	"prior", "duration", "usual", "prevalence", "age", "name", "unseen", "web", "port", "protocol", "tls_without_name", "certificate", "rate", "service_class",
}

// Terms returns the names of all terms but the prior, as Config.Without takes them.
func Terms() []string { return slices.Clone(termNames[1:]) }

// terms are natural logarithms of how much likelier each thing is of remote control than
// of what programs keep open. Their sum is the log-odds.
type terms [numTerms]float64

func (t *terms) sum() (total float64) {
	for _, w := range t {
		total += w
	}
	return total
}

// posterior is the probability that belongs to log-odds.
func posterior(odds float64) float64 { return 1 / (1 + math.Exp(-odds)) }

func clip(v, low, high float64) float64 { return min(max(v, low), high) }

const (
	// fewHosts are too few to say how many of them use something.
	fewHosts = 8
	// usualShare of the hosts is neither rare nor common.
	usualShare = 0.1
	// quiet and busy are bytes a second: a session that waits for orders, and one that
	// moves data.
	quiet, busy = 200, 20_000
)

// weigh judges measures. The weights are judgements, each is bounded.
func (d *Detector) weigh(m *measures) (t terms) {
	t[termPrior] = -2.5
	t[termDuration] = clip(math.Log2(m.duration/3600), -2, 3.3)
	switch {
	case m.past >= 2.5 && m.sigmas <= 2:
		t[termUsual] = -2.5 * min(1, m.past/6)
	case m.past >= 2.5 && m.sigmas > 3:
		t[termUsual] = 0.5
	}
	t[termPrevalence] = -0.6 // nobody can say what is rare
	if m.population >= fewHosts && m.hosts > 0 {
		// The host itself is one of them: what counts is how many others there are.
		rare := math.Log(usualShare * m.population / max(m.hosts-0.5, 0.5))
		t[termPrevalence] = clip(max(1.1*rare, 0)+min(2.5*rare, 0), -5, 1.5)
		if m.named != 0 && m.domainHosts > m.hosts {
			t[termPrevalence] += clip(0.6*math.Log(usualShare*m.population/m.domainHosts), -2, 0)
		}
	}
	switch {
	case m.age > 14:
		t[termAge] = -1.2
	case m.age > 2:
		t[termAge] = -0.5
	}
	switch {
	case m.rate < quiet:
		t[termRate] = 0.5
	case m.rate > busy:
		t[termRate] = -clip(1+1.5*math.Log10(m.rate/busy), 1, 4)
	}
	d.weighName(m, &t)
	d.weighPlace(m, &t)
	if d.without < numTerms {
		t[d.without] = 0
	}
	return t
}

// weighName takes what the far end is called, and what is not known of that.
func (d *Detector) weighName(m *measures, t *terms) {
	none := event.Class(m.class) == event.ClassNone
	switch {
	case m.begun == 0:
		t[termUnseen] = -0.7 // what it is called was said at its beginning
	case m.named == 0 && m.names != 0 && none:
		t[termName] = 0.7
		if m.tls != 0 {
			t[termTLS] = 0.6
		}
	}
	switch {
	case m.rank > 0 && m.rank <= 1000:
		t[termName] = -3.2
	case m.rank > 0:
		t[termName] = -2
	case m.named != 0:
		t[termName] = 0.4
	}
	if m.badCert != 0 {
		t[termCertificate] = 0.9
	}
	if event.Class(m.class) != event.ClassNone {
		t[termClass] = classWeight(event.Class(m.class), m.population >= 20 && m.hosts == 1)
	}
}

// classWeight is what kinds of services weigh that keep connections open by themselves.
// Whoever chooses his name can have any class he wants: what one host alone uses is
// excused less.
func classWeight(c event.Class, alone bool) float64 {
	switch {
	case c == event.ClassTime || c == event.ClassName || c == event.ClassLocal:
		return -6
	case c == event.ClassPlatform:
		return -3.4
	case alone:
		return -1.5
	}
	return -3
}

// weighPlace takes the port and what it is for.
func (d *Detector) weighPlace(m *measures, t *terms) {
	port := uint16(m.port)
	if m.datagram != 0 {
		switch port {
		case 0, 500, 1194, 1701, 4500, 51820:
			t[termProtocol] = -3.3
		case 443:
			t[termWeb] = -2.2
		}
		return
	}
	switch port {
	case 80, 443, 8080, 8443:
		// Pages keep a connection open for as long as they are. Where nobody could see a
		// name it may be one.
		if m.named != 0 || m.names == 0 || m.begun == 0 {
			t[termWeb] = -2.2
		}
	case 1194, 1723:
		t[termProtocol] = -3.3
	case 22:
		t[termProtocol] = -1.2
	case 110, 143, 993, 995, 1883, 5222, 5223, 5228, 8883: // mail, queues, chat and push messages
		t[termProtocol] = -1.5
		if m.named != 0 {
			t[termProtocol] = -3.3
		}
	case 21, 25, 53, 465, 587, 853:
	default:
		if event.Class(m.class) == event.ClassNone {
			t[termPort] = 0.7
		}
	}
}

// explain says what each term rests on.
func (d *Detector) explain(m *measures) []event.Evidence {
	t := d.weigh(m)
	var all []event.Evidence
	say := func(term int, observed, expected float64, unit, format string, args ...any) {
		if w := phrase.Round2(t[term]); w != 0 {
			all = append(all, event.Evidence{
				Feature: "long_connection." + termNames[term], Observed: phrase.Round3(observed), Expected: phrase.Round3(expected), Unit: unit,
				Weight: w, Text: fmt.Sprintf(format, args...),
			})
		}
	}
	say(termDuration, m.duration, 3600, "seconds", "it was open for %s", phrase.Span(int64(m.duration*1e9)))
	if m.past > 0 {
		say(termUsual, m.duration, m.usual, "seconds", "of connections to this destination that last for ten minutes, %s are usual (%.0f of them)", phrase.Span(int64(m.usual*1e9)), m.past)
	}
	if m.population >= fewHosts && m.hosts > 0 {
		say(termPrevalence, m.hosts/m.population, usualShare, "of hosts", "%.0f of %.0f hosts deal with it", m.hosts, m.population)
	} else {
		say(termPrevalence, m.population, fewHosts, "hosts", "of %.0f hosts nobody can say what is rare", m.population)
	}
	say(termAge, m.age, 0, "days", "somebody inside has dealt with it for %.1f days", m.age)
	switch {
	case m.rank > 0:
		say(termName, m.rank, 0, "rank", "its domain is number %.0f of the popular ones", m.rank)
	case m.named != 0:
		say(termName, 0, 0, "rank", "its domain is not in the list of popular ones")
	default:
		say(termName, 1, 0, "", "nobody asked for a name, and none was said: the address alone is known")
	}
	say(termUnseen, 0, 1, "", "the sensor did not see how it began, where its name would have been said")
	say(termWeb, m.port, 0, "", "web pages keep connections open for as long as somebody has them on the screen")
	say(termPort, m.port, 443, "", "port %.0f is not one that the web uses", m.port)
	say(termProtocol, m.port, 0, "", "what this port is for stays open by its nature")
	say(termTLS, 1, 0, "", "TLS without a server name")
	say(termCertificate, 1, 0, "", "the certificate is one that nobody vouches for")
	if m.rate > busy {
		say(termRate, m.rate, quiet, "bytes/s", "%s a second go through it: it moves data, or is a call", phrase.Bytes(m.rate))
	} else {
		say(termRate, m.rate, quiet, "bytes/s", "%s a second go through it: it mostly waits", phrase.Bytes(m.rate))
	}
	say(termClass, 1, 0, "", "known as a service that programs keep open: %s", event.Class(m.class))
	say(termPrior, 0, 0, "", "most long connections are harmless: these are the log-odds before anything else is known")
	return all
}
