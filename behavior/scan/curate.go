package scan

import (
	"net/netip"
	"slices"

	"tidewatch/behavior/phrase"
	"tidewatch/behavior/sketch"
	"tidewatch/behavior/state"
	"tidewatch/event"
)

// Describe appends what is known of a host as one that tries others, and that is tried.
func (d *Detector) Describe(e state.Entity, dst []state.Portrait) []state.Portrait {
	for _, s := range d.sources {
		if e.Is(s.Addr) {
			dst = append(dst, s.describe())
		}
	}
	for _, t := range d.targets {
		if e.Is(t.Addr) {
			p := state.Portrait{Detector: "scan", Subject: t.Addr.String() + " as a target", VLAN: t.VLAN, Since: t.first, Last: t.last}
			p.Say("tried_usual", phrase.Round2(t.decayed(t.last)), "sources", "%.0f sources that it did not answer tried it in six hours", t.decayed(t.last))
			if t.scan != nil {
				p.Say("scan_open", true, "", "a scan by many sources goes on, since %s", phrase.At(t.scan.start))
			}
			dst = append(dst, p)
		}
	}
	return dst
}

func (s *source) describe() state.Portrait {
	p := state.Portrait{Detector: "scan", Subject: s.Addr.String() + " as a source", VLAN: s.VLAN, Since: s.first, Last: s.last}
	p.Say("peers", s.hosts, "hosts", "%d hosts have answered it", s.hosts)
	if n := len(s.recent); n > 0 {
		p.Say("failed_recently", n, "contacts", "%d first contacts failed, the last at %s", n, phrase.At(s.recent[n-1].time))
	}
	if e := s.scan; e != nil {
		p.Say("scan_open", true, "", "a scan goes on since %s: %d first contacts, %d of them failed", phrase.At(e.start), e.attempts, e.failed)
	}
	if m := s.more; m != nil {
		if m.episodes > 0 {
			p.Say("scans", m.episodes, "", "%d scans are over, the last one at %s: %d first contacts with %d hosts and %d ports", m.episodes, phrase.At(m.settled), m.told.attempts, m.told.hosts, m.told.ports)
		}
		if m.accepted != 0 {
			p.Say("accepted", phrase.At(m.accepted), "", "%s: scans of up to %d first contacts with %d hosts and %d ports", phrase.Accepted(m.accepted), m.normal.attempts, m.normal.hosts, m.normal.ports)
		}
	}
	return p
}

// Accept makes scans like the last one of a host normal: an analyst says so at a time
// (Unix ns). It reports whether there was one.
func (d *Detector) Accept(e state.Entity, at int64) (done bool) {
	for _, s := range d.sources {
		if e.Is(s.Addr) && d.acceptScan(s, at) {
			done = true
		}
	}
	return done
}

func (d *Detector) acceptScan(s *source, at int64) bool {
	if s.scan == nil && (s.more == nil || s.more.told.at == 0) {
		return false
	}
	m := s.dossier()
	if m.normal = m.told; s.scan != nil {
		m.normal = s.scan.extent()
	}
	m.accepted = at
	if m.own != nil {
		m.own.dossier().merge(m)
	}
	d.touch(s)
	return true
}

// Forget forgets a host, and what others know of it as far as that says who it is. It
// returns how many entities changed.
func (d *Detector) Forget(e state.Entity) (n int) {
	if !e.Host.IsValid() || e.IsPair() {
		return 0
	}
	traces := traces{e: e, vlans: map[[2]uint16]sketch.Hashes{}}
	for _, s := range d.sources {
		switch {
		case s.Addr == e.Host:
			d.open = slices.DeleteFunc(d.open, func(o *source) bool { return o == s })
			d.forgetSource(s)
			n++
		case traces.source(s), s.own() != s && traces.source(s.own()):
			d.touch(s)
			n++
		}
	}
	for _, t := range d.targets {
		switch {
		case t.Addr == e.Host:
			d.openTargets = slices.DeleteFunc(d.openTargets, func(o *target) bool { return o == t })
			d.forgetTarget(t)
			n++
		case traces.target(t), t.own != nil && traces.target(t.own):
			d.touchTarget(t)
			n++
		}
	}
	for _, light := range [...]map[uint64]contact{d.light, d.old} {
		for h, c := range light {
			if c.dst == e.Host || traces.hash(h) {
				delete(light, h)
				d.touchLight(h)
				n++
			}
		}
	}
	return n
}

// traces is what is left of a host at others.
type traces struct {
	e     state.Entity
	vlans map[[2]uint16]sketch.Hashes
}

// hash reports whether a hash is the host's, in no VLAN or in one that was met.
func (x *traces) hash(h uint64) bool {
	for v := range x.vlans {
		if h == event.HashAddr(x.e.Host, v[0], v[1]) {
			return true
		}
	}
	return h == event.HashAddr(x.e.Host, 0, 0)
}

// of are all hashes by which an entity of a VLAN remembers the host.
func (x *traces) of(h state.Host) sketch.Hashes {
	key := [2]uint16{h.VLAN, h.Inner}
	hs := x.vlans[key]
	if hs != nil {
		return hs
	}
	hs = sketch.Hashes{}
	host := event.HashAddr(x.e.Host, h.VLAN, h.Inner)
	for _, salt := range [...]uint64{saltHost, saltEcho, saltServe} {
		hs.Put(spread(host, salt))
	}
	for _, p := range [...]event.Proto{event.ProtoTCP, event.ProtoUDP, event.ProtoSCTP} {
		for port := range uint64(1 << 16) {
			hs.Put(spread(host, saltContact+port<<16+uint64(p)))
		}
	}
	for _, p := range [...]event.Proto{event.ProtoICMP, event.ProtoICMPv6} {
		hs.Put(spread(host, saltContact+uint64(p)))
	}
	x.vlans[key] = hs
	return hs
}

func (x *traces) source(s *source) bool {
	n := len(s.recent) + len(s.oks)
	is := func(c contact) bool { return c.dst == x.e.Host }
	s.recent, s.oks = slices.DeleteFunc(s.recent, is), slices.DeleteFunc(s.oks, is)
	changed := len(s.recent)+len(s.oks) < n
	changed = s.seen.Forget(x.of(s.Host)) || changed
	return x.episode(s.scan) || changed
}

func (x *traces) target(t *target) bool {
	n := len(t.tries)
	t.tries = slices.DeleteFunc(t.tries, func(c try) bool { return c.src == x.e.Host })
	changed := len(t.tries) < n
	changed = t.known.Forget(x.of(t.Host)) || changed
	return x.episode(t.scan) || changed
}

func (x *traces) episode(e *episode) bool {
	if e == nil {
		return false
	}
	host := event.HashAddr(x.e.Host, 0, 0)
	changed := e.hosts.Forget(host)
	changed = e.answeredBy.Forget(host) || changed
	changed = e.sources.Forget(spread(host, 0)) || changed
	n := len(e.answers)
	e.answers = slices.DeleteFunc(e.answers, func(a answer) bool { return a.addr == x.e.Host })
	changed = changed || len(e.answers) < n
	if e.one == x.e.Host {
		e.one, changed = netip.Addr{}, true
	}
	shown, gone := x.e.ForgetSamples(slices.Clone(e.samples[:e.shown]))
	rest, also := x.e.ForgetSamples(slices.Clone(e.samples[e.shown:]))
	e.samples, e.shown = append(shown, rest...), len(shown)
	if e.answered > 0 && len(e.answers) == 0 { // as a record must have it
		e.failed, e.answered = e.failed+e.answered, 0
	}
	return changed || gone || also
}
