// Package population knows what the far end of a record is called and who else deals
// with it: names by session and by the addresses that DNS gave, how many local hosts
// use an address, a name or a registered domain and since when, and what is popular
// or known everywhere. It fills in event.Known.
//
// Everything it keeps is bounded, whatever an attacker sends. What only one host used
// on one day gives way first, so a flood of spoofed sources or random names costs no
// memory of what several hosts use or of what is old; spoofed sources from outside
// have tables of their own.
package population

import (
	"tidewatch/behavior/state"
	"tidewatch/event"
)

// Config bounds what is kept. Tables grow up to these sizes, which are rounded to
// powers of two.
type Config struct {
	Hosts     int // local hosts
	Sessions  int // open sessions with a name
	Addresses int // pairs of a host and an address with a name
	Names     int // names

	// What one local host uses, what several use, and what more than six use: for
	// addresses and for names with their domains.
	Light, Wide, Crowds int
	// The same for addresses outside that were seen as originators only. Where crowds
	// have run out, Use.Hosts stops at six.
	LightInbound, WideInbound, CrowdsInbound int
	// The same for TLS clients, by their fingerprints.
	LightClients, WideClients, CrowdsClients int

	Intakes int // destinations to which much was sent
	Askers  int // local hosts that DNS gives addresses to
	// Handshakes is how many open connections' handshakes are remembered; 0: nobody asks.
	Handshakes int
	Alikes     int // domains of the site that others can look like
}

// DefaultConfig returns bounds under which a Population takes 80 MB at most. A day of
// 100 hosts takes a few.
func DefaultConfig() Config {
	return Config{
		Hosts: 1 << 19, Sessions: 1 << 16, Addresses: 1 << 17, Names: 1 << 16,
		Light: 1 << 18, Wide: 1 << 16, Crowds: 1 << 13,
		LightInbound: 1 << 16, WideInbound: 1 << 13, CrowdsInbound: 1 << 9,
		LightClients: 1 << 14, WideClients: 1 << 12, CrowdsClients: 1 << 9,
		Intakes: 1 << 14, Askers: 1 << 16, Alikes: 1 << 13,
	}
}

// Population is the memory of one stage of the pipeline. It is used by one goroutine.
type Population struct {
	hosts     *hosts
	sessions  table[link]
	addresses table[link]
	names     table[name]
	called    *uses // names and domains
	outbound  *uses // addresses, but for those that
	inbound   *uses // came from outside and that nobody inside called
	clients   *uses // of TLS, by their fingerprints
	intake    table[intake]
	askers    table[asker]
	alikes    alikes
	shaken    *handshakes // nil: nobody asks

	sights  [ahead]sight
	answers []answer // of them
	fetched uint64
}

// New returns a Population that knows nothing.
func New(c Config) *Population {
	return &Population{
		hosts:     newHosts(c.Hosts),
		sessions:  newTable(c.Sessions, linkWorth),
		addresses: newTable(c.Addresses, linkWorth),
		names:     newTable(c.Names, nameWorth),
		called:    newUses(c.Light, c.Wide, c.Crowds),
		outbound:  newUses(c.Light, c.Wide, c.Crowds),
		inbound:   newUses(c.LightInbound, c.WideInbound, c.CrowdsInbound),
		clients:   newUses(c.LightClients, c.WideClients, c.CrowdsClients),
		intake:    newTable(c.Intakes, intakeWorth),
		askers:    newTable(c.Askers, askerWorth),
		alikes:    newAlikes(c.Alikes),
		shaken:    newHandshakes(c.Handshakes),
	}
}

// Prepare fills in what is known of the far ends of the sequence's records about
// connections, TLS, QUIC, HTTP and DNS. The sequence must not be shared yet. For
// entities that are known it does not allocate.
func (p *Population) Prepare(s *event.Sequence) {
	for evs := s.Events; len(evs) > 0; {
		n := min(len(evs), ahead)
		sights := p.look(evs[:n])
		p.fetch(sights)
		for i := range sights {
			ev := sights[i].ev
			k := s.KnownFor(ev)
			k.Looked = true
			p.observe(&sights[i], k)
			if ev.TLS != nil {
				p.client(ev, k)
			}
			if p.shaken != nil {
				p.shaken.look(ev, k)
			}
		}
		evs = evs[n:]
	}
}

// observe fills in k, and remembers what the record says.
func (p *Population) observe(v *sight, k *event.Known) {
	if v.counts {
		p.populate(v.ev, v.at)
	}
	k.Hosts, k.Names, k.Class = p.hosts.count(v.at.day), uint32(p.names.n), classOfPort(v.ev)
	k.Addr = p.countAddr(v)
	if v.inbound {
		return
	}
	if v.source == event.NameQuery {
		p.asks(v)
	}
	n := p.name(v, k)
	switch {
	case n != nil:
		p.countName(v, k)
		p.alikes.look(n, k, v.at)
	case k.Class == event.ClassNone:
		k.Class = classOfAddr(v.ev.Resp.Addr)
	}
	if n == nil {
		k.Unasked = p.unasked(v)
	}
	p.send(v, k)
}

// populate notes which local hosts are active: those that open a connection, and
// those that answer one.
func (p *Population) populate(ev *event.Event, at moment) {
	if ev.Orig.Scope == event.ScopeLocal {
		p.hosts.see(ev.Orig.Hash, ev.SeenOrig(), at)
	}
	if ev.Resp.Scope == event.ScopeLocal && ev.Outcome == event.OutcomeAnswered {
		p.hosts.see(ev.Resp.Hash, ev.SeenResp(), at)
	}
}

// countAddr counts a record about the far end's address.
func (p *Population) countAddr(v *sight) event.Use {
	u := p.outbound
	if v.inbound && !u.has(v.far) {
		u = p.inbound
	}
	if !v.counts {
		return withHost(u.look(v.far, v.at.day), v.host)
	}
	use := u.count(v.far, v.host, v.at)
	if use.First == 0 && u == p.outbound {
		// The first time that somebody inside deals with it of his own accord.
		if use.First = p.inbound.look(v.far, v.at.day).First; use.First != 0 {
			u.since(v.far, use.First)
		}
	}
	return use
}

// withHost is u with the record's own host in it.
func withHost(u event.Use, host uint32) event.Use {
	u.Hosts = max(u.Hosts, min(host, 1))
	return u
}

// name finds the name of the record, or what earlier ones said it is. It is nil if there
// is none.
func (p *Population) name(v *sight, k *event.Known) *name {
	source := v.source
	var n *name
	var key uint64
	if v.own != "" {
		var r ref
		if n, key, r = p.intern(v.own, v.name, v.at); n == nil {
			return nil
		}
		held := true
		if source == event.NameQuery {
			held = p.learnAnswers(v, key)
		} else {
			p.learn(v, key)
		}
		if held && !n.held {
			n.held = true
			p.names.touch(r)
		}
	} else if v.ev.Kind != event.KindDNS {
		n, key, source = p.remembered(v)
	}
	if n == nil {
		return nil
	}
	k.Name, k.Domain, k.NameHash, k.DomainHash = n.text, n.text[n.domain:], key, n.domainHash
	k.Source, k.Rank = source, n.rank
	// A record of DNS is about the name; others are about the port first.
	if n.class != event.ClassNone && (k.Class == event.ClassNone || source == event.NameQuery) {
		k.Class = n.class
	}
	return n
}

// countName counts a record about a name and its domain. Who only asks DNS for a
// name uses the domain, not the name: nobody can fill the tables with questions for
// random names below one domain. Of names that are their own domain without being
// registered (single labels, .arpa) not even that is kept.
func (p *Population) countName(v *sight, k *event.Known) {
	nameKey, domainKey, day := nameUse(k.NameHash), domainUse(k.DomainHash), v.at.day
	asked := k.Source == event.NameQuery
	if !v.counts || asked {
		k.OfName = p.called.look(nameKey, day)
	} else {
		k.OfName = p.called.count(nameKey, v.host, v.at)
	}
	if !v.counts || asked && unregistered(k) {
		k.OfDomain = p.called.look(domainKey, day)
	} else {
		k.OfDomain = p.called.count(domainKey, v.host, v.at)
	}
	k.OfName, k.OfDomain = withHost(k.OfName, v.host), withHost(k.OfDomain, v.host)
}

// unregistered reports whether a name is its own domain for want of a registered one.
func unregistered(k *event.Known) bool {
	if len(k.Name) != len(k.Domain) {
		return false
	}
	for i := range len(k.Name) {
		if k.Name[i] == '.' {
			return len(k.Name) > 5 && k.Name[len(k.Name)-5:] == ".arpa"
		}
	}
	return true
}

// Sizes appends how much is kept of each kind.
func (p *Population) Sizes(dst []state.Size) []state.Size {
	return append(dst,
		state.Size{Kind: "active_hosts", Count: p.hosts.table.n, Cap: ways * p.hosts.table.limit},
		state.Size{Kind: "named_addresses", Count: p.addresses.n, Cap: ways * p.addresses.limit},
		state.Size{Kind: "destinations_of_one_host", Count: p.outbound.light.n + p.called.light.n, Cap: ways * (p.outbound.light.limit + p.called.light.limit)},
		state.Size{Kind: "destinations_of_several_hosts", Count: p.outbound.wide.n + p.called.wide.n, Cap: ways * (p.outbound.wide.limit + p.called.wide.limit)})
}
