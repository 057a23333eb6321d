package exfil

import (
	"math"
	"math/bits"

	"tidewatch/behavior/hosts"
	"tidewatch/event"
)

// term is one thing that speaks for theft, or against it: an addend of the log-odds.
type term struct {
	feature            feature
	observed, expected float64
	weight             float64 // natural logarithm of how much likelier theft makes it
}

// feature names what a term is about.
type feature uint8

const (
	prior feature = iota
	bytesOut
	oneWay
	payloadSize
	destinationAge
	networkAge
	prevalence
	popularity
	nameless
	serviceClass
	mailPort
	parallel
	hostPast
	habit
	destinationPast
	drifting
	servicePast
	destinations
	quality
	noPast
	serviceTail
	collection
	othersPast
	numFeatures
)

// verdict is the sum of all terms.
type verdict struct {
	terms [numFeatures]term
	n     int
	sum   float64
	bytes float64 // that the case is about
	usual float64 // what was expected of them
}

func (v *verdict) add(f feature, observed, expected, weight float64) {
	v.terms[v.n] = term{f, observed, expected, weight}
	v.n++
	v.sum += weight
}

// leaveOut takes a term away.
func (v *verdict) leaveOut(f feature) {
	n := 0
	for _, t := range v.terms[:v.n] {
		if t.feature == f {
			v.sum -= t.weight
			continue
		}
		v.terms[n] = t
		n++
	}
	v.n = n
}

// score is the probability that the log-odds stand for.
func (v *verdict) score() float64 { return 1 / (1 + math.Exp(-v.sum)) }

func clamp(x, low, high float64) float64 { return min(max(x, low), high) }

// odds are the log-odds that what passes the least number of bytes is theft, before
// anything else is known of it.
const odds = -4

// judge sums up what speaks for and against one account's day. For the same account
// and record the sum is the same.
func (d *Detector) judge(v *verdict, h *host, a *account, t *transfer) {
	*v = verdict{}
	v.add(prior, 0, 0, odds)
	w := &a.day
	v.bytes = float64(w.out)
	b := d.known.Of(t.host.Hash)
	if a.kind.small() {
		d.judgeSmall(v, a)
	} else {
		d.judgeVolume(v, a)
	}
	judgeAge(v, h, a, t)
	k := t.ev.Far()
	if a.kind.spread() {
		v.add(prevalence, float64(useOf(k).Hosts), float64(k.Hosts), w.rarity/max(float64(w.out), 1))
	} else if share, weight := rarity(useOf(k), k.Hosts); k.Hosts > 0 {
		v.add(prevalence, math.Round(share*float64(k.Hosts)), float64(k.Hosts), weight)
	}
	d.judgeName(v, h, a, t)
	if b == nil || b.Active() < minHours {
		judgeWithoutPast(v, a, t)
	}
	d.judgeHost(v, b, a, t)
	d.judgeCollection(v, b, a, t)
	d.judgePast(v, b, a)
	judgeOthers(v, a, t)
	if a.kind == fromOutside {
		d.judgeService(v, b, t)
	}
	if w.disputed > w.out/2 {
		v.add(quality, float64(w.disputed), 0, -1)
	}
	if d.without != numFeatures {
		v.leaveOut(d.without)
	}
}

// judgeVolume takes how much went, and whether it went one way. Volume counts for
// little: harmless uploads are larger than many a theft.
func (d *Detector) judgeVolume(v *verdict, a *account) {
	w := &a.day
	v.add(bytesOut, v.bytes, float64(d.cfg.MinBytes), clamp(0.8*math.Log(v.bytes/float64(d.cfg.MinBytes)), -3, 2))
	if 2*w.blind <= w.out {
		r := ratio(w)
		v.add(oneWay, r, 0, oneWayWeight(r))
	}
	switch {
	case a.kind.spread():
		n := float64(bits.OnesCount64(w.members))
		v.add(destinations, n, 1, clamp(math.Log(n/2), 0, 2))
	case a.measures():
		v.add(parallel, float64(a.burst.many), 0, -5)
	}
}

// ratio is the producer/consumer ratio (Sanders et al., FloCon 2014): 1 if the host
// only sent, -1 if it only received.
func ratio(w *window) float64 {
	return (float64(w.out) - float64(w.in)) / max(float64(w.out)+float64(w.in), 1)
}

// oneWayWeight is 2 from 0.9, 0 at 0.5, and -4 where as much came back.
func oneWayWeight(r float64) float64 {
	if r >= 0.5 {
		return clamp(5*(r-0.5), 0, 2)
	}
	return clamp(13*(r-0.5), -4, 0)
}

// judgeSmall takes protocols whose packets hold little, as a rule, by what more they
// held.
func (d *Detector) judgeSmall(v *verdict, a *account) {
	usual := a.kind.usualPayload()
	size := float64(a.day.out) / max(float64(a.day.pkts), 1)
	v.bytes, v.usual = excess(a), float64(a.day.pkts)*usual
	v.add(bytesOut, float64(a.day.out), v.usual, clamp(0.8*math.Log(v.bytes/float64(d.cfg.EchoBytes)), -2, 2))
	v.add(payloadSize, size, usual, clamp(1.5*math.Log(size/usual), -3, 3.5))
}

// usualPayload is what a packet of a small protocol holds at most, as a rule, in
// bytes: pings hold 32 to 64, NTP 48, with extensions 90, questions to DNS up to 100.
func (k kind) usualPayload() float64 {
	switch k {
	case byClock:
		return 90
	case byQuery:
		return 100
	}
	return 64
}

// excess is how many bytes more there were than the packets usually hold.
func excess(a *account) float64 {
	return max(float64(a.day.out)-float64(a.day.pkts)*a.kind.usualPayload(), 0)
}

// judgeAge takes how long the host has dealt with the destination, and the network has.
// Of a host that is hardly known itself everything is new.
func judgeAge(v *verdict, h *host, a *account, t *transfer) {
	now := t.ev.End
	if a.kind != allNew {
		age, known := float64(now-a.first)/float64(day), float64(now-h.first)/float64(day)
		weight := 0.0
		switch {
		case a.first == 0:
			age, weight = known, -0.3
		case age <= 1:
			weight = 1.5 * clamp(known, 0.5, 1)
		case age <= 3:
			weight = 0.5
		case age > 7:
			weight = -1.5
		}
		if a.kind == fromOutside { // clients are new more often than servers
			weight = min(weight, 0.5)
		}
		v.add(destinationAge, age, known, weight)
	}
	use := useOf(t.ev.Far())
	if a.kind.spread() || use.First == 0 {
		return
	}
	if age := float64(now-use.First) / float64(day); age > 7 && use.Hosts >= 3 {
		v.add(networkAge, age, 0, -1)
	} else if age < 1 && now-h.first > 3*day {
		v.add(networkAge, max(age, 0), 0, 0.3)
	}
}

// rarity returns the share of the hosts that use something, and what that says. Among
// few hosts it says little.
func rarity(u event.Use, all uint32) (share, weight float64) {
	if all == 0 {
		return 0, 0
	}
	n := max(float64(u.Hosts), 1)
	informed := clamp(math.Log(float64(all))/math.Log(30), 0, 1)
	return min(n/float64(all), 1), informed * clamp(-2-math.Log((n+0.5)/(float64(all)+1)), -3, 2)
}

// judgeName takes what the destination is called and known for.
func (d *Detector) judgeName(v *verdict, h *host, a *account, t *transfer) {
	k := t.ev.Far()
	switch {
	case a.kind == byName && k.Rank > 0:
		v.add(popularity, float64(k.Rank), 0, clamp(0.6*math.Log10(float64(k.Rank))-4.6, -4.6, -1))
	case a.kind == byName && k.Class == event.ClassNone:
		v.add(popularity, 0, 0, 1)
	case a.kind == byAddress || a.kind.spread():
		share := float64(h.named) / max(float64(h.named)+float64(h.bare), 1)
		v.add(nameless, 0, share, clamp(1.5*share, 0, 1))
	}
	if a.kind.spread() || a.kind.small() {
		return
	}
	if weight, ok := classWeights[k.Class]; ok && k.Class != event.ClassNone {
		v.add(serviceClass, float64(k.Class), 0, weight)
	}
	if isMail(t.ev) && !t.inbound {
		v.add(mailPort, float64(t.ev.Resp.Port), 0, -2)
	}
}

// classWeights says how likely harmless hosts send much to a kind of service. Thieves
// use cloud storage too.
var classWeights = map[event.Class]float64{
	event.ClassTime: -1, event.ClassName: -1, event.ClassLocal: -1.5, event.ClassUpdate: -2, event.ClassTelemetry: -2,
	event.ClassRevocation: -1.5, event.ClassPush: -1.5, event.ClassMeeting: -4, event.ClassSpeedTest: -5, event.ClassBackup: -1,
}

// judgeWithoutPast takes what nobody can say yet of a host of which no day is known:
// whether it sends its backups there each night. What goes to a store that is known
// for its service counts for less until then.
func judgeWithoutPast(v *verdict, a *account, t *transfer) {
	if k := t.ev.Far(); k.Class == event.ClassBackup && k.Rank == 0 && !a.kind.spread() && !a.kind.small() && !t.inbound {
		v.add(noPast, 0, minHours, -1)
	}
}

// minHours is how many active hours of a host must be known for its past to speak.
const minHours = 24

// judgeHost takes what the host usually sends out in such an hour. What goes slowly
// does not stand out there, and is not excused by it.
func (d *Detector) judgeHost(v *verdict, b *hosts.Host, a *account, t *transfer) {
	if b == nil || b.Active() < minHours || a.kind.small() {
		return
	}
	x := b.Now(hosts.BytesOut, t.ev.End) + float64(t.out)
	e := b.Expect(hosts.BytesOut, t.ev.End)
	z := e.Score(math.Log1p(x), hosts.Pace.Floor)
	weight := 0.0
	switch {
	case z > 3 && !a.repeats() && !a.measures():
		weight = min((z-2)/2, 1.5)
	case z < 1 && 2*a.hourOut >= a.day.out:
		weight = -1
	}
	v.add(hostPast, x, math.Expm1(e.Mean), weight)
}

// judgeCollection takes what the host read from other own hosts on this day or the one
// before: who collects data before he takes them out reads far more than usual.
func (d *Detector) judgeCollection(v *verdict, b *hosts.Host, a *account, t *transfer) {
	if b == nil || a.kind == fromOutside {
		return
	}
	bytes, usual, sigmas, ok := b.Intake(t.ev.End)
	if !ok || bytes < float64(d.cfg.MinBytes) || sigmas <= suspiciousFrom {
		return
	}
	v.add(collection, bytes, usual, min((sigmas-2)/2, 1.5))
}

// measures reports whether what the destination got looks like measures of throughput.
func (a *account) measures() bool {
	return a.burst.total > a.day.out/10*7 && a.burst.many <= maxBursts
}

// repeats reports whether the destination got as much on the last day on which it got
// anything: that was told of then, if it had to be.
func (a *account) repeats() bool { return a.before >= a.day.out/2 && !a.drift.Over() }

// judgePast takes what the destination usually gets from the host, in such hours and
// days.
func (d *Detector) judgePast(v *verdict, b *hosts.Host, a *account) {
	if a.repeats() && !a.kind.spread() {
		v.add(habit, float64(a.day.out), float64(a.before), -0.7)
	}
	n := a.days.Weight()
	if b == nil || b.Active() < minHours || n < matureDays && a.hours.Weight() < matureHours {
		return
	}
	x, usual := float64(a.day.out), math.Expm1(a.days.Mean())
	z := a.days.Score(math.Log1p(x), daily.Floor)
	if a.hours.Weight() >= matureHours {
		z = max(z, a.hours.Score(math.Log1p(float64(a.hourOut)), hourly.Floor))
		if n < matureDays {
			x, usual = float64(a.hourOut), math.Expm1(a.hours.Mean())
		}
	}
	if !a.kind.small() {
		v.usual = usual
	}
	weight := 0.0
	switch {
	case z <= 2 && !a.drift.Over():
		weight = -3 * min(1, max(n/7, a.hours.Weight()/48))
	case z > 3:
		weight = min((z-2)/2, 2)
	}
	v.add(destinationPast, x, usual, weight)
	if a.drift.Over() {
		v.add(drifting, a.drift.Sum(), 0, 1.5)
	}
}

// judgeOthers takes what other hosts have sent to the destination before: where they send
// as much, one more that does is no news.
func judgeOthers(v *verdict, a *account, t *transfer) {
	others := float64(t.ev.Far().OthersSent)
	if others == 0 || a.kind != byName && a.kind != byAddress {
		return
	}
	x := float64(a.day.out)
	v.add(othersPast, x, others, clamp(0.75*math.Log(x/others)-1, -2, 0.5))
}

// judgeService takes what the local service that an outside client asked usually
// answers. Without a past that shows it, a server is taken for one.
func (d *Detector) judgeService(v *verdict, b *hosts.Host, t *transfer) {
	const enough = 20 // answers that a service's past must rest on
	s := d.known.Service(t.host.Hash, t.ev.Resp.Port, t.ev.Proto)
	known := b != nil && b.Active() >= minHours
	switch {
	case s == nil || s.Answered() < enough:
		if weight := -3.0; known && (s == nil || t.ev.End-s.First() < newFor) {
			weight = 1.5
			v.add(servicePast, 0, 0, weight)
		} else {
			v.add(servicePast, 0, 0, weight)
		}
	default:
		if large, ok := s.Large(); ok {
			judgeTail(v, math.Log1p(float64(t.out)), large)
			return
		}
		size := s.Size()
		z := size.Score(math.Log1p(float64(t.out)), 0.7)
		weight := -4.0
		if z > 3 {
			weight = min((z-2)/2, 2)
		}
		v.add(servicePast, float64(t.out), math.Expm1(size.Mean()), weight)
	}
}

// judgeTail takes how large the largest answers of a service to outside are.
func judgeTail(v *verdict, answer, large float64) {
	weight := -4.0
	if answer > large {
		weight = clamp(0.5+(answer-large)/0.7, 0.5, 2)
	}
	v.add(serviceTail, math.Expm1(answer), math.Expm1(large), weight)
}
