package dnstunnel

import (
	"net/netip"
	"slices"

	"tidewatch/behavior/phrase"
	"tidewatch/behavior/state"
	"tidewatch/event"
)

// Describe appends what is known of what a host asks for. Of a pair it is what it asks
// of that domain; of a name, who asks for it.
func (d *Detector) Describe(e state.Entity, dst []state.Portrait) []state.Portrait {
	for _, h := range d.hosts {
		if e.Host.IsValid() && h.Addr != e.Host || e.Peer.IsValid() {
			continue
		}
		if e.Is(h.Addr) {
			p := state.Portrait{Detector: "dns_tunnel", Subject: h.Addr.String() + " asking", VLAN: h.VLAN, Since: h.first, Last: h.last}
			p.Say("questions", h.questions, "", "%d questions about %d domains", h.questions, len(h.keys)+len(h.hot))
			if h.resolver > h.last {
				p.Say("resolver", true, "", "it asks for others")
			}
			dst = append(dst, p)
		}
		for _, c := range h.hot {
			if e.Name == "" || e.Named(c.domain) || endsIn(e.Name, c.domain) {
				dst = append(dst, c.describe())
			}
		}
	}
	return dst
}

// endsIn reports whether a name is of a domain.
func endsIn(name, domain string) bool {
	return len(name) > len(domain) && name[len(name)-len(domain)-1:] == "."+domain
}

func (c *candidate) describe() state.Portrait {
	p := state.Portrait{Detector: "dns_tunnel", Subject: c.host.Addr.String() + " > " + c.domain, VLAN: c.host.VLAN, Since: c.first, Last: c.last}
	t := &c.total
	p.Say("subnames", t[countNames], "", "%.0f names that it had not asked for before, with %s", t[countNames], phrase.Bytes(t[countBytes]))
	p.Say("subname_bytes_24h", c.day.sum(), "bytes", "%s of them in the last hour and %s in the last day that it asked", phrase.Bytes(c.hour.sum()), phrase.Bytes(c.day.sum()))
	if e := c.episode; e != nil {
		p.Say("tunnel_open", true, "", "a tunnel was found at %s", phrase.At(e.detected))
	}
	if c.accepted != 0 {
		p.Say("accepted", phrase.At(c.accepted), "", "%s: %s in an hour, %s in a day", phrase.Accepted(c.accepted), phrase.Bytes(c.normal.hour), phrase.Bytes(c.normal.day))
	}
	return p
}

// Accept makes what a host asks of a domain normal: an analyst says so at a time (Unix
// ns). It reports whether there was anything to accept.
func (d *Detector) Accept(e state.Entity, at int64) (done bool) {
	for _, h := range d.hosts {
		if !e.IsPair() || h.Addr != e.Host {
			continue
		}
		for _, half := range [...]*host{h, h.own} {
			for i := 0; half != nil && i < len(half.hot); i++ {
				if c := half.hot[i]; e.Named(c.domain) || endsIn(e.Name, c.domain) {
					c.accept(at)
					d.touchCandidate(c)
					done = true
				}
			}
		}
	}
	return done
}

func (c *candidate) accept(at int64) {
	c.accepted, c.normal = at, level{max(c.size.hour, c.hour.sum()), max(c.size.day, c.day.sum())}
	if e := c.episode; e != nil {
		c.normal = level{max(c.normal.hour, e.best.bytes1h), max(c.normal.day, e.best.bytes24h)}
	}
}

// Forget forgets an entity: a host, a server that hosts ask, or a domain. It returns how
// many hosts changed.
func (d *Detector) Forget(e state.Entity) (n int) {
	for _, h := range d.hosts {
		if e.Is(h.Addr) {
			d.open = slices.DeleteFunc(d.open, func(c *candidate) bool { return c.host == h })
			d.forgetHost(h)
			n++
			continue
		}
		if e.IsPair() && h.Addr != e.Host {
			continue
		}
		gone := false
		for _, half := range [...]*host{h, h.own} {
			if half != nil {
				gone = d.forgetFar(half, &e) || gone
			}
		}
		if gone {
			d.touch(h)
			n++
		}
	}
	return n
}

// forgetFar takes out what a host knows of a domain or a server.
func (d *Detector) forgetFar(h *host, e *state.Entity) (gone bool) {
	if e.Name != "" {
		key := hashBytes([]byte(e.Name))
		for i := len(h.keys) - 1; i >= 0; i-- {
			if h.keys[i] == key {
				h.keys, h.lights = slices.Delete(h.keys, i, i+1), slices.Delete(h.lights, i, i+1)
				gone = true
			}
		}
		n := len(h.servers)
		h.servers = slices.DeleteFunc(h.servers, func(s server) bool { return s.domain == key })
		gone = gone || len(h.servers) < n
		for i := len(h.hot) - 1; i >= 0; i-- {
			if c := h.hot[i]; e.Named(c.domain) || endsIn(e.Name, c.domain) {
				d.open = slices.DeleteFunc(d.open, func(o *candidate) bool { return o == c })
				d.forgetCandidate(c)
				gone = true
			}
		}
	}
	if e.IsPair() || !e.Host.IsValid() {
		return gone
	}
	asked := event.HashAddr(e.Host, h.VLAN, h.Inner)
	n := len(h.servers)
	h.servers = slices.DeleteFunc(h.servers, func(s server) bool { return s.hash == asked })
	gone = gone || len(h.servers) < n
	for _, c := range h.hot {
		if c.forgetServer(e) {
			d.touchCandidate(c)
			gone = true
		}
	}
	return gone
}

// forgetServer takes out the records in which a host was asked.
func (c *candidate) forgetServer(e *state.Entity) (gone bool) {
	for i := range c.slots {
		if e.Is(c.slots[i].resp.Addr()) {
			c.slots[i] = slot{}
			gone = true
		}
	}
	if o := c.episode; o != nil {
		var also bool
		o.samples, also = e.ForgetSamples(o.samples)
		gone = gone || also
		if e.Is(o.server) {
			o.server = netip.Addr{}
			gone = true
		}
	}
	return gone
}
