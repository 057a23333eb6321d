package population

import (
	"cmp"
	"slices"

	"tidewatch/behavior/state"
	"tidewatch/event"
)

// intake is what local hosts have sent to a destination: the largest sums of one host on
// one day, of the last 30 days. They are maxima, so that what two sensors know merges
// again and again.
//
// What many hosts send in small pieces at the same time is underestimated: a sum that
// finds no room begins anew with the next piece.
type intake struct {
	sums [intakes]sent
	last uint32 // a bucket of Unix seconds
}

// sent is the sum of a host on a day. Without bytes there is none.
type sent struct {
	bytes uint64
	host  uint32
	day   uint16
}

const (
	intakes = 4
	// minIntake is the least payload of a connection that counts, and minAsked of one
	// that is told what others sent.
	minIntake, minAsked = 64 << 10, 1 << 10
)

func intakeWorth(e *intake, _ uint32) uint64 { return uint64(e.last) }

// intakeKey is the key of a record's destination: of its domain, or its address.
func intakeKey(v *sight, k *event.Known) uint64 {
	if k.DomainHash != 0 {
		return domainUse(k.DomainHash)
	}
	return keyed(v.far ^ saltIntake)
}

// payloadOut is what the originator of a connection sent, in bytes: never more than its
// packets hold.
func payloadOut(ev *event.Event) uint64 {
	c := ev.Conn
	if ev.Kind != event.KindConn || c == nil {
		return 0
	}
	if c.OrigIPBytes > 0 {
		return min(uint64(max(c.OrigBytes, 0)), uint64(c.OrigIPBytes))
	}
	return uint64(max(c.OrigBytes, 0))
}

// send counts what a connection sent out, and fills in what others have sent there.
func (p *Population) send(v *sight, k *event.Known) {
	out := payloadOut(v.ev)
	if out < minAsked || v.inbound || v.host == 0 || v.ev.Resp.Scope == event.ScopeLocal {
		return
	}
	key := intakeKey(v, k)
	e, r := p.intake.find(key)
	if e != nil {
		k.OthersSent = e.others(v.host, v.at.day)
	}
	if out < minIntake || !v.counts {
		return
	}
	if e == nil {
		e = p.intake.insert(key, v.at.secs)
		_, r = p.intake.find(key)
	}
	e.last = max(e.last, v.at.bucket)
	e.add(sent{out, v.host, v.at.day})
	p.intake.touch(r)
}

// others is what each of two other hosts has sent on a day before today, at least: the
// most that can be said of two. One may be the same thief's.
func (e *intake) others(host uint32, today uint16) uint64 {
	var first, second sent
	for i := range e.sums {
		s := &e.sums[i]
		switch {
		case s.bytes == 0 || s.host == host || s.day >= today || !within(s.day, today):
		case s.host == first.host:
			first.bytes = max(first.bytes, s.bytes)
		case s.bytes > first.bytes:
			first, second = *s, first
		case s.bytes > second.bytes:
			second = *s
		}
	}
	return second.bytes
}

// add adds to the sum of a host and a day. A new one takes the place of one that is too
// old, or else of the smallest, if that is smaller.
func (e *intake) add(s sent) {
	least := 0
	for i := range e.sums {
		switch x := &e.sums[i]; {
		case x.bytes > 0 && x.host == s.host && x.day == s.day:
			x.bytes += s.bytes
			return
		case !within(x.day, s.day):
			x.bytes = 0
			least = i
		case x.less(&e.sums[least]):
			least = i
		}
	}
	if e.sums[least].less(&s) {
		e.sums[least] = s
	}
}

func (s *sent) less(o *sent) bool { return s.compare(o) < 0 }

func (s *sent) compare(o *sent) int {
	return cmp.Or(cmp.Compare(s.bytes, o.bytes), cmp.Compare(s.day, o.day), cmp.Compare(s.host, o.host))
}

// merge takes what another sensor knows: of one host and day the larger sum, and of all
// the largest.
func (e *intake) merge(o *intake) {
	all := make([]sent, 0, 2*intakes)
	for _, s := range append(append(all, e.sums[:]...), o.sums[:]...) {
		i := slices.IndexFunc(all, func(x sent) bool { return x.host == s.host && x.day == s.day })
		switch {
		case s.bytes == 0:
		case i >= 0:
			all[i].bytes = max(all[i].bytes, s.bytes)
		default:
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b sent) int { return b.compare(&a) })
	e.sums = [intakes]sent{}
	copy(e.sums[:], all)
	e.last = max(e.last, o.last)
}

// write writes the sums in one order, whatever order they came in.
func writeIntake(w *state.Writer, e *intake) {
	sums := e.sums
	slices.SortFunc(sums[:], func(a, b sent) int { return b.compare(&a) })
	w.U32(e.last)
	for i := range sums {
		w.U64(sums[i].bytes)
		w.U32(sums[i].host)
		w.U16(sums[i].day)
	}
}

func readIntake(r *state.Reader) (e intake) {
	e.last = r.U32()
	for i := range e.sums {
		e.sums[i] = sent{r.U64(), r.U32(), r.U16()}
	}
	return e
}

// forget takes out what a host sent.
func (e *intake) forget(host uint32) (gone bool) {
	for i := range e.sums {
		if e.sums[i].bytes > 0 && e.sums[i].host == host {
			e.sums[i], gone = sent{}, true
		}
	}
	return gone
}

// forgetIntake takes a host out of what everybody sent.
func (p *Population) forgetIntake(host uint32) (n int) {
	for _, key := range p.intake.keys() {
		if e, r := p.intake.find(key); e.forget(host) {
			p.intake.touch(r)
			n++
		}
	}
	return n
}
