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
}

// DefaultConfig returns bounds under which a Population takes 80 MB at most. A day of
// 100 hosts takes a few.
func DefaultConfig() Config {
	return Config{
		Hosts: 1 << 19, Sessions: 1 << 16, Addresses: 1 << 17, Names: 1 << 16,
		Light: 1 << 18, Wide: 1 << 16, Crowds: 1 << 13,
		LightInbound: 1 << 16, WideInbound: 1 << 13, CrowdsInbound: 1 << 9,
		LightClients: 1 << 14, WideClients: 1 << 12, CrowdsClients: 1 << 9,
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
	}
}

// Prepare fills in what is known of the far ends of the sequence's records about
// connections, TLS, QUIC, HTTP and DNS. The sequence must not be shared yet. For
// entities that are known it does not allocate.
func (p *Population) Prepare(s *event.Sequence) {
	for _, ev := range s.Events {
		switch ev.Kind {
		case event.KindConn, event.KindTLS, event.KindHTTP, event.KindQUIC, event.KindDNS:
			k := s.KnownFor(ev)
			p.observe(ev, k)
			if ev.TLS != nil {
				p.client(ev, k)
			}
		}
	}
}

// observe fills in k, and remembers what the record says.
func (p *Population) observe(ev *event.Event, k *event.Known) {
	at := momentOf(ev.Time)
	inbound := ev.Resp.Scope == event.ScopeLocal && ev.Orig.Scope != event.ScopeLocal
	far, host := &ev.Resp, &ev.Orig
	if inbound {
		far, host = host, far
	}
	counts := ev.Flags&(event.FlagJoined|event.FlagSnapshot|event.FlagUnidirectional) == 0
	var id uint32
	if host.Scope == event.ScopeLocal {
		id = max(uint32(host.Hash), 1)
	}
	if counts {
		p.populate(ev, at)
	}
	addr := farKey(ev, far)
	k.Hosts, k.Names, k.Class = p.hosts.count(at.day), uint32(p.names.n), classOfPort(ev)
	k.Addr = p.countAddr(addr, id, inbound, counts, at)
	if inbound {
		return
	}
	p.name(ev, k, addr, at)
	switch {
	case k.Source != event.NameNone:
		p.countName(ev, k, id, counts, at)
	case k.Class == event.ClassNone:
		k.Class = classOfAddr(far.Addr)
	}
}

// populate notes which local hosts are active: those that open a connection, and
// those that answer one.
func (p *Population) populate(ev *event.Event, at moment) {
	if ev.Orig.Scope == event.ScopeLocal {
		p.hosts.see(ev.Orig.Hash, at)
	}
	if ev.Resp.Scope == event.ScopeLocal && ev.Outcome == event.OutcomeAnswered {
		p.hosts.see(ev.Resp.Hash, at)
	}
}

// farKey is the key of an address: one outside is the same in each VLAN.
func farKey(ev *event.Event, far *event.Host) uint64 {
	if far.Scope != event.ScopeLocal && ev.VLAN|ev.InnerVLAN != 0 {
		return keyed(event.HashAddr(far.Addr, 0, 0))
	}
	return keyed(far.Hash)
}

// countAddr counts a record about the far end's address.
func (p *Population) countAddr(key uint64, host uint32, inbound, counts bool, at moment) event.Use {
	u := p.outbound
	if inbound && !u.has(key) {
		u = p.inbound
	}
	if !counts {
		return withHost(u.look(key, at.day), host)
	}
	use := u.count(key, host, at)
	if use.First == 0 && u == p.outbound {
		// The first time that somebody inside deals with it of his own accord.
		if use.First = p.inbound.look(key, at.day).First; use.First != 0 {
			u.since(key, use.First)
		}
	}
	return use
}

// withHost is u with the record's own host in it.
func withHost(u event.Use, host uint32) event.Use {
	u.Hosts = max(u.Hosts, min(host, 1))
	return u
}

// name finds the name of the record, or what earlier ones said it is.
func (p *Population) name(ev *event.Event, k *event.Known, far uint64, at moment) {
	own, source := ownName(ev)
	var n *name
	var key uint64
	if own != "" {
		var r ref
		if n, key, r = p.intern(own, at); n == nil {
			return
		}
		held := true
		if source == event.NameQuery {
			held = p.learnAnswers(ev, key, at)
		} else {
			p.learn(ev, far, key, at)
		}
		if held && !n.held {
			n.held = true
			p.names.touch(r)
		}
	} else if ev.Kind != event.KindDNS {
		n, key, source = p.remembered(ev, far, at)
	}
	if n == nil {
		return
	}
	k.Name, k.Domain, k.NameHash, k.DomainHash = n.text, n.text[n.domain:], key, n.domainHash
	k.Source, k.Rank = source, n.rank
	// A record of DNS is about the name; others are about the port first.
	if n.class != event.ClassNone && (k.Class == event.ClassNone || source == event.NameQuery) {
		k.Class = n.class
	}
}

// ownName returns the name that the record itself says, trimmed, and how.
func ownName(ev *event.Event) (string, event.NameSource) {
	var s string
	var source event.NameSource
	switch {
	case ev.Kind == event.KindTLS && ev.TLS != nil:
		s, source = trimName(ev.TLS.ServerName), event.NameTLS
	case ev.Kind == event.KindQUIC && ev.TLS != nil:
		s, source = trimName(ev.TLS.ServerName), event.NameQUIC
	case ev.Kind == event.KindHTTP && ev.HTTP != nil:
		s, source = hostName(ev.HTTP.Host), event.NameHTTP
	case ev.Kind == event.KindDNS && ev.DNS != nil:
		return trimName(ev.DNS.Query), event.NameQuery
	}
	if s == "" || isAddr(s) {
		return "", event.NameNone
	}
	return s, source
}

// countName counts a record about a name and its domain. Who only asks DNS for a
// name uses the domain, not the name: nobody can fill the tables with questions for
// random names below one domain. Of names that are their own domain without being
// registered (single labels, .arpa) not even that is kept.
func (p *Population) countName(ev *event.Event, k *event.Known, host uint32, counts bool, at moment) {
	nameKey, domainKey := keyed(k.NameHash^saltName), keyed(k.DomainHash^saltDomain)
	asked := k.Source == event.NameQuery
	if !counts || asked {
		k.OfName = p.called.look(nameKey, at.day)
	} else {
		k.OfName = p.called.count(nameKey, host, at)
	}
	if !counts || asked && unregistered(k) {
		k.OfDomain = p.called.look(domainKey, at.day)
	} else {
		k.OfDomain = p.called.count(domainKey, host, at)
	}
	k.OfName, k.OfDomain = withHost(k.OfName, host), withHost(k.OfDomain, host)
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
