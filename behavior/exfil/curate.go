package exfil

import (
	"net/netip"
	"slices"

	"tidewatch/behavior/phrase"
	"tidewatch/behavior/state"
	"tidewatch/event"
)

// kindNames are what people call the kinds of accounts.
var kindNames = [...]string{"by name", "by address", "by network", "from outside", "icmp", "ntp", "dns", "all new destinations"}

// Describe appends what is known of what a host sends out. Of a pair it is what that
// destination gets. hash is that of a registered domain.
func (d *Detector) Describe(e state.Entity, hash func(name string) uint64, dst []state.Portrait) []state.Portrait {
	for _, h := range d.hosts {
		if !e.Host.IsValid() || h.Addr != e.Host {
			continue
		}
		p := state.Portrait{Detector: "exfiltration", Subject: h.Addr.String() + " sending", VLAN: h.VLAN, Since: h.first, Last: h.last}
		if e.IsPair() {
			p.Subject = e.String()
		} else {
			p.Say("destinations", len(h.small)+len(h.accounts), "", "%d destinations are known, %d of them got more than %s on a day", len(h.small)+len(h.accounts), len(h.accounts), phrase.Bytes(promote))
		}
		keys := h.keysOf(e.Peer, domainHash(e.Name, hash))
		for i := range h.accounts {
			if a := &h.accounts[i]; !e.IsPair() || slices.Contains(keys, a.key) {
				a.describe(h, &p)
			}
		}
		if len(p.Facts) > 0 {
			dst = append(dst, p)
		}
	}
	return dst
}

func domainHash(name string, hash func(string) uint64) uint64 {
	if name == "" {
		return 0
	}
	return hash(name)
}

// describe says what a destination gets. Its name is kept only while something is told
// of it.
func (a *account) describe(h *host, p *state.Portrait) {
	who := kindNames[a.kind]
	for _, e := range h.open {
		if e.key == a.key {
			who = e.where()
		}
	}
	p.Say("bytes_out", a.day.out, "bytes", "%s: %s in %d connections on %s; on the day before that, %s", who, phrase.Bytes(float64(a.day.out)), a.day.conns, phrase.At(int64(a.day.at) * day)[:10], phrase.Bytes(float64(a.before)))
	if a.suspect {
		p.Say("gated", true, "", "%s: what it gets today belongs to a finding, and is learned 100 times slower", who)
	}
	if a.accepted != 0 {
		p.Say("accepted", phrase.At(a.accepted), "", "%s: %s, %s a day", who, phrase.Accepted(a.accepted), phrase.Bytes(float64(a.normal)))
	}
}

// Forget forgets an entity: a host, or a destination of hosts. It returns how many hosts
// changed. hash is that of a registered domain.
func (d *Detector) Forget(e state.Entity, hash func(name string) uint64) (n int) {
	for _, h := range d.hosts {
		if e.Is(h.Addr) {
			h.open = nil
			d.setActive(h)
			d.forgetHost(h)
			n++
			continue
		}
		if e.IsPair() && h.Addr != e.Host {
			continue
		}
		far := e.Peer
		if !e.IsPair() {
			far = e.Host
		}
		keys := h.keysOf(far, domainHash(e.Name, hash))
		gone := h.forget(&e, keys, far)
		if h.own != nil {
			gone = h.own.forget(&e, keys, far) || gone
		}
		if gone {
			d.setActive(h)
			d.touch(h)
			n++
		}
	}
	return n
}

// forget takes out what the host knows of a destination.
func (h *host) forget(e *state.Entity, keys []uint64, far netip.Addr) bool {
	before := len(h.small) + len(h.accounts) + len(h.notable) + len(h.open)
	is := func(key uint64) bool { return slices.Contains(keys, key) }
	h.small = slices.DeleteFunc(h.small, func(l light) bool { return is(l.key) })
	h.keys = h.keys[:0]
	h.accounts = slices.DeleteFunc(h.accounts, func(a account) bool { return is(a.key) && a.kind != byNetwork })
	h.notable = slices.DeleteFunc(h.notable, func(n notable) bool { return is(n.key) || far.IsValid() && n.remote.Addr() == far })
	h.open = slices.DeleteFunc(h.open, func(o *episode) bool {
		return is(o.key) && o.kind != byNetwork || far.IsValid() && o.addr == far || e.Named(o.name)
	})
	gone := len(h.small)+len(h.accounts)+len(h.notable)+len(h.open) < before
	for _, o := range h.open { // of several destinations
		n := len(o.addrs) + len(o.samples)
		o.addrs = slices.DeleteFunc(o.addrs, func(a netip.Addr) bool { return a == far })
		o.samples = slices.DeleteFunc(o.samples, func(s event.Sample) bool {
			return far.IsValid() && (s.Orig.Addr() == far || s.Resp.Addr() == far)
		})
		gone = gone || len(o.addrs)+len(o.samples) < n
	}
	return gone
}
