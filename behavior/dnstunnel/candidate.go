package dnstunnel

import (
	"math"
	"net/netip"

	"tidewatch/behavior/sketch"
	"tidewatch/behavior/state"
	"tidewatch/event"
)

// host is an originator of questions.
type host struct {
	state.Host
	dirty     bool // changed since the last cut
	pending   bool // what the store has of it is on its way
	silent    bool // it is the own half of what several sensors know: nothing is told of it
	first     int64
	last      int64
	questions uint64 // of all domains: what its history is worth
	resolver  int64  // until when it counts as one that asks for others
	servers   []server
	keys      []uint64 // of the domains below, in the same order
	lights    []light
	hot       []*candidate

	// own is what this sensor has seen itself, with the candidates, if the host holds what
	// others saw too. It is what is stored.
	own *host
}

// server is a name server outside that a host asks.
type server struct {
	hash   uint64
	domain uint64 // key of the first domain that it was asked about
	last   uint32 // Unix seconds
	many   bool   // it was asked about others too
}

const (
	// resolverServers are the servers outside that a host must ask within a day to
	// count as a resolver that looks for answers itself.
	resolverServers = 8
	// resolverFor is how long a host counts as a resolver after it was one.
	resolverFor = 7 * day
)

// asks notes that the host asks a server outside about a domain.
func (h *host) asks(hash, domain uint64, t int64) {
	oldest := 0
	for i := range h.servers {
		s := &h.servers[i]
		if s.hash == hash {
			s.last, s.many = max(s.last, seconds(t)), s.many || s.domain != domain
			return
		}
		if s.last < h.servers[oldest].last {
			oldest = i
		}
	}
	fresh := server{hash: hash, domain: domain, last: seconds(t)}
	if len(h.servers) < resolverServers {
		h.servers = append(h.servers, fresh)
	} else {
		h.servers[oldest] = fresh
	}
	if len(h.servers) < resolverServers {
		return
	}
	for i := range h.servers {
		if seconds(t)-min(h.servers[i].last, seconds(t)) > uint32(day/second) {
			return
		}
	}
	h.resolver = t + resolverFor
}

// only reports whether a server was asked about one domain and nothing else.
func (h *host) only(hash, domain uint64) bool {
	for i := range h.servers {
		if s := &h.servers[i]; s.hash == hash {
			return !s.many && s.domain == domain
		}
	}
	return false
}

// seconds is a time in Unix seconds, within their range.
func seconds(t int64) uint32 { return uint32(min(max(t/second, 0), math.MaxUint32)) }

// filter is a Bloom filter of 256 bits with two hashes (Bloom 1970): of 40 names it
// takes one in ten for known that are not, of 20 one in forty.
type filter [4]uint64

// add reports whether a hash is new.
func (f *filter) add(hash uint64) bool {
	a, b := uint8(hash>>48), uint8(hash>>56)
	known := f[a>>6]>>(a&63)&1 + f[b>>6]>>(b&63)&1
	f[a>>6] |= 1 << (a & 63)
	f[b>>6] |= 1 << (b & 63)
	return known < 2
}

func (f *filter) has(hash uint64) bool {
	a, b := uint8(hash>>48), uint8(hash>>56)
	return (f[a>>6]>>(a&63))&(f[b>>6]>>(b&63))&1 != 0
}

// light is what is kept of a registered domain that says little: 72 bytes with its key.
type light struct {
	first, last uint32 // Unix seconds
	seen        filter // names since first
	names       uint16 // distinct ones
	bytes       uint16 // of them, without the registered domain
	questions   [numSensors]uint16
	answers     [numSensors]uint16
	answerBytes uint16
	lastAnswer  uint32
	ignored     bool // it is a service's, or declared harmless
}

// The sensors, whose records of one question are not added to each other.
const (
	byZeek = iota
	bySuricata
	numSensors
)

func sensorOf(ev *event.Event) int {
	if ev.Sensor == event.SensorSuricata {
		return bySuricata
	}
	return byZeek
}

// message says whether a record is of a question, of an answer, or of both. Zeek
// writes one record for both, Suricata one for each.
func message(ev *event.Event) (question, answer bool) {
	if ev.Has(event.DNSResponse) {
		return !ev.DNS.Response, ev.DNS.Response
	}
	return true, ev.Has(event.DNSRCode) || len(ev.DNS.Answers) > 0
}

// answerBytes returns the length of the answers as the sensor writes them.
func answerBytes(d *event.DNS) (n int) {
	for _, a := range d.Answers {
		n += len(a)
	}
	return n
}

// again reports whether a record is of the same answer as the last one. Version 1 of
// Suricata's records has one for each resource record.
func again(last *uint32, ev *event.Event, n *name) bool {
	is := uint32(n.hash ^ mix(uint64(ev.DNS.TransID)+1))
	same := is == *last && ev.Sensor == event.SensorSuricata
	*last = is
	return same
}

// take counts a record about a name.
func (l *light) take(ev *event.Event, n *name) {
	l.last = max(l.last, seconds(ev.Time))
	s := sensorOf(ev)
	question, answer := message(ev)
	if question && l.questions[s] < math.MaxUint16 {
		l.questions[s]++
	}
	if answer {
		l.answerBytes = uint16(min(int(l.answerBytes)+answerBytes(ev.DNS), math.MaxUint16))
		if !again(&l.lastAnswer, ev, n) && l.answers[s] < math.MaxUint16 {
			l.answers[s]++
		}
	}
	if l.seen.add(n.hash) {
		l.names = min(l.names, math.MaxUint16-1) + 1
		l.bytes = uint16(min(int(l.bytes)+len(n.sub), math.MaxUint16))
	}
}

const (
	promoteBytes = 160
	promoteNames = 3
)

// worth reports whether the domain deserves a closer look.
func (l *light) worth() bool { return l.bytes >= promoteBytes && l.names >= promoteNames }

// window is a sum over a sliding span of time, in buckets.
type window struct {
	head int64 // number of the newest bucket
	n    [numBuckets]uint32
}

const (
	numBuckets = 24
	hourBucket = hour / numBuckets
	dayBucket  = day / numBuckets
)

// add adds v to the bucket of time t, and moves the window there if it is newer.
func (w *window) add(t, bucket int64, v uint32) {
	at := t / bucket
	for ; w.head < at; w.head++ {
		if at-w.head > numBuckets {
			w.head = at - numBuckets
		}
		w.n[uint64(w.head+1)%numBuckets] = 0
	}
	if w.head-at < numBuckets {
		i := uint64(at) % numBuckets
		w.n[i] = uint32(min(uint64(w.n[i])+uint64(v), math.MaxUint32))
	}
}

func (w *window) sum() (total float64) {
	for _, v := range w.n {
		total += float64(v)
	}
	return total
}

// What is counted of a candidate.
const (
	countNames     = iota // distinct sub-names
	countBytes            // of them
	countLabels           // of those that were looked at: all but the first few
	countAddresses        // of the same: names that are addresses in reverse
	countSearched         // of the same: those that are whole names
	countQuestionZeek
	countQuestionSuricata
	countAnswerZeek
	countAnswerSuricata
	countAnswerBytes
	countNX   // answers that say that there is no such name
	countTTLs // of answers
	countTTLSum
	countType // of those that were looked at, by the type that was asked for
	numCounts = countType + numTypes
)

// counts are sums over the records of a candidate.
type counts [numCounts]float64

// questions returns how many questions were asked. A sensor that logs no questions is
// believed by its answers, and two sensors have seen the same.
func (c *counts) questions() float64 {
	return max(c[countQuestionZeek], c[countAnswerZeek], c[countQuestionSuricata], c[countAnswerSuricata])
}

// looked returns how many names were looked at.
func (c *counts) looked() (n float64) {
	for _, v := range c[countType:] {
		n += v
	}
	return n
}

func (c *counts) answers() float64 { return c[countAnswerZeek] + c[countAnswerSuricata] }

// per returns a share or mean, 0 if there is nothing to divide by.
func per(sum, n float64) float64 {
	if n <= 0 {
		return 0
	}
	return sum / n
}

// Types of questions.
const (
	typeA = iota
	typeAAAA
	typeTXT
	typeNULL
	typeCNAME
	typeMX
	typeSRV
	typeOther // KEY and others that hosts do not ask for
	typeNamed // those that hosts ask for, and that carry little
	numTypes
)

var typeNames = [numTypes]string{"A", "AAAA", "TXT", "NULL", "CNAME", "MX", "SRV", "other", ""}

// typeOf returns what was asked for; typeNamed where the record does not say.
func typeOf(d *event.DNS) int {
	switch d.QType {
	case 1:
		return typeA
	case 28:
		return typeAAAA
	case 16, 99:
		return typeTXT
	case 10:
		return typeNULL
	case 5:
		return typeCNAME
	case 15:
		return typeMX
	case 33:
		return typeSRV
	case 2, 6, 12, 43, 46, 47, 48, 52, 64, 65, 255, 257: // NS SOA PTR DS RRSIG NSEC DNSKEY TLSA SVCB HTTPS ANY CAA
		return typeNamed
	case 0:
		if d.QTypeName == "" {
			return typeNamed
		}
	}
	return typeOther
}

// candidate is a domain in which a host asks for names enough to look closer.
type candidate struct {
	host   *host
	key    uint64
	domain string // what no host is called is replaced
	dirty  bool

	first, last int64       // since it is looked at, or since its last episode
	known       sketch.Seen // its sub-names
	before      filter      // those of when it was light
	hour, day   window      // bytes of new sub-names
	total       counts      // since first
	recent      counts      // the same, each record half as much a day later
	chars       [numChars]float64
	decayed     int64  // hour to which recent and chars are decayed
	longest     uint16 // label
	lastAnswer  uint32 // which question the last answer was to
	told        int64  // when its last episode ended: what came before was told; 0: there was none
	slots       [numSlots]slot
	next        uint8 // slot
	episode     *episode
	episodes    uint32 // that are over
	size        level  // of the last one
	normal      level  // that an analyst called normal
	accepted    int64  // when he did; 0: never
}

// level is how much of new sub-names there is, in bytes.
type level struct{ hour, day float64 }

const numSlots = 8

// slot is a record with a new name, kept without memory of its own.
type slot struct {
	time      int64
	orig      uint16
	resp      netip.AddrPort
	bytes     uint16 // of the sub-name
	uid, name text
}

// text is the beginning of a text.
type text struct {
	n uint8
	b [63]byte
}

func (t *text) set(s string) { t.n = uint8(copy(t.b[:], s)) }

// add counts v now and forgets half of it a day later.
func (c *candidate) add(count int, v float64) {
	c.total[count] += v
	c.recent[count] += v
}

// keptPerHour is the share of a recent count that is left after an hour.
var keptPerHour = math.Exp2(-1.0 / 24)

// decay lets the recent counts fade to time t.
func (c *candidate) decay(t int64) { c.decayTo(t / hour) }

// decayTo is decay to an hour.
func (c *candidate) decayTo(at int64) {
	hours := at - c.decayed
	if hours <= 0 {
		return
	}
	c.decayed += hours
	f := math.Pow(keptPerHour, float64(min(hours, 24*365)))
	for i := range c.recent {
		c.recent[i] *= f
	}
	for i := range c.chars {
		c.chars[i] *= f
	}
}

// reset forgets what the next episode is not to be judged by.
func (c *candidate) reset() {
	c.hour, c.day, c.total, c.recent = window{}, window{}, counts{}, counts{}
	c.chars = [numChars]float64{}
	c.first, c.longest, c.next = 0, 0, 0
	c.slots = [numSlots]slot{}
}

// take counts a record about a name of the domain. It reports whether the name is new.
func (c *candidate) take(ev *event.Event, n *name) bool {
	if c.first == 0 {
		c.first = ev.Time
	}
	c.first, c.last = min(c.first, ev.Time), max(c.last, ev.Time)
	c.decay(ev.Time)
	s := sensorOf(ev)
	question, answer := message(ev)
	if question {
		c.add(countQuestionZeek+s, 1)
	}
	if answer {
		c.takeAnswer(ev, n, s)
	}
	if c.before.has(n.hash) || !c.known.Add(n.hash) {
		return false
	}
	size := uint32(len(n.sub))
	c.hour.add(ev.Time, hourBucket, size)
	c.day.add(ev.Time, dayBucket, size)
	c.add(countNames, 1)
	c.add(countBytes, float64(size))
	c.look(ev, n)
	return true
}

// look counts what a new name looks like, and keeps its record.
func (c *candidate) look(ev *event.Event, n *name) {
	labels, longest := n.labels()
	c.longest = max(c.longest, uint16(longest))
	c.add(countLabels, float64(labels))
	c.add(countType+typeOf(ev.DNS), 1)
	switch {
	case n.address():
		c.add(countAddresses, 1)
	case n.searched():
		c.add(countSearched, 1)
	}
	for _, b := range n.sub {
		if b != '.' {
			c.chars[charClass(b)]++
		}
	}
	s := &c.slots[c.next]
	c.next = (c.next + 1) % numSlots
	*s = slot{time: ev.Time, orig: ev.Orig.Port, resp: netip.AddrPortFrom(ev.Resp.Addr, ev.Resp.Port), bytes: uint16(len(n.sub))}
	s.uid.set(ev.UID)
	s.name.set(event.String(n.sub))
}

// takeAnswer counts an answer.
func (c *candidate) takeAnswer(ev *event.Event, n *name, sensor int) {
	d := ev.DNS
	c.add(countAnswerBytes, float64(answerBytes(d)))
	for _, ttl := range d.TTLs {
		c.add(countTTLs, 1)
		c.add(countTTLSum, float64(ttl))
	}
	if again(&c.lastAnswer, ev, n) {
		return
	}
	c.add(countAnswerZeek+sensor, 1)
	if d.RCode == 3 && ev.Has(event.DNSRCode) {
		c.add(countNX, 1)
	}
}
