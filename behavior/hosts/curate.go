package hosts

import (
	"math"

	"tidewatch/behavior/phrase"
	"tidewatch/behavior/sketch"
	"tidewatch/behavior/state"
	"tidewatch/event"
)

// quantities are what people call them, with the unit.
var quantities = [NumQuantities][2]string{{"connections", "connections"}, {"bytes_out", "bytes"}, {"peers", "peers"}, {"new_peers", "peers"}, {"failures", "connections"}}

// Describe appends what is normal for a host, and for the services that it offers.
func (t *Table) Describe(e state.Entity, dst []state.Portrait) []state.Portrait {
	for _, h := range t.hosts {
		if e.Is(h.Addr) {
			dst = append(dst, h.describe())
		}
	}
	for _, s := range t.services {
		if e.Is(s.host.Addr) {
			p := state.Portrait{Detector: "hosts", Subject: s.host.Addr.String() + " as a service", VLAN: s.host.VLAN, Since: s.first, Last: s.last}
			p.Say("port", s.key.port, "", "port %d/%s: %d connections answered and %d not, of about %.0f clients", s.key.port, s.key.proto, s.answered, s.failed, math.Round(s.Clients()))
			if s.size.Weight() > 0 {
				p.Say("answer_usual", math.Round(math.Expm1(s.size.Mean())), "bytes", "an answer usually has %s", phrase.Bytes(math.Expm1(s.size.Mean())))
			}
			dst = append(dst, p)
		}
	}
	return dst
}

func (h *Host) describe() state.Portrait {
	p := state.Portrait{Detector: "hosts", Subject: h.Addr.String(), VLAN: h.VLAN, Since: h.first, Last: h.last}
	p.Say("active_hours", h.active, "hours", "%d active hours were learned", h.active)
	for q := range NumQuantities {
		x := h.Expect(q, h.last)
		if x.Basis == sketch.Nothing {
			continue
		}
		usual, high := math.Expm1(x.Mean), math.Expm1(x.Mean+suspiciousFrom*max(x.Sigma, Pace.Floor))
		text := func(v float64) string { return phrase.Count(v) + " " + quantities[q][1] }
		if q == BytesOut {
			text = phrase.Bytes
		}
		p.Say(quantities[q][0]+"_usual", phrase.Round2(usual), quantities[q][1], "%s: usually %s an hour at this time, suspicious from %s on", quantities[q][0], text(usual), text(high))
	}
	if h.suspect > h.last-hour {
		p.Say("gated", true, "", "what it does is learned 100 times slower until %s: a detector suspects it", phrase.At(h.suspect))
	}
	if h.accepted != 0 {
		p.Say("accepted", phrase.At(h.accepted), "", "%s: the level that was suspicious then", phrase.Accepted(h.accepted))
	}
	return p
}

// AcceptEntity is Accept for each host with an address.
func (t *Table) AcceptEntity(e state.Entity, at int64) (done bool) {
	for hash, h := range t.hosts {
		if e.Is(h.Addr) {
			done = t.Accept(hash, at) || done
		}
	}
	return done
}

// Forget forgets an entity: a host, or what hosts remember of a peer. It returns how many
// hosts and services changed. hash is that of a registered domain.
func (t *Table) Forget(e state.Entity, hash func(name string) uint64) (n int) {
	if e.IsPair() {
		return 0
	}
	for _, s := range t.services {
		if e.Is(s.host.Addr) {
			t.forgetService(s)
			n++
		}
	}
	for _, h := range t.hosts {
		if e.Is(h.Addr) {
			t.forget(h)
			n++
			continue
		}
		peer := sketch.Hashes{}
		if e.Host.IsValid() {
			peer.Put(event.HashAddr(e.Host, h.VLAN, h.Inner))
		} else {
			peer.Put(hash(e.Name))
		}
		gone := h.peers.Forget(peer)
		if h.own != nil {
			gone = h.own.peers.Forget(peer) || gone
		}
		if gone {
			t.touch(h)
			n++
		}
	}
	return n
}
