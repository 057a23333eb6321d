package population

import (
	"tidewatch/event"
)

// ahead is how many records are looked at together. What is known of the far end of
// one lies in some fifteen places of tables that no cache holds. Asked for one record
// after the other, each is waited for; asked for together, the processor gets many
// at once.
const ahead = 16

// sight is what a record says by itself: it needs no table.
type sight struct {
	ev      *event.Event
	at      moment
	inbound bool
	counts  bool
	host    uint32 // the end that is not the far one, if it is local; else 0
	far     uint64 // key of the far end's address
	// The key of the session, 0 for none, and that of the far end's address as the
	// originator knows it; of records that are not about DNS.
	session, address uint64

	own    string // the name in the record; "" if there is none
	source event.NameSource
	name   uint64 // the hash of own; after fetch without own, of the name that it will have
	domain uint64 // after fetch, the hash of its domain; 0 if the name is new

	from, to int // the answers of a DNS record among those of all sights
}

// answer is an address that a DNS record gives for its name.
type answer struct {
	key  uint64 // of the address, as the originator will know it
	life uint32 // seconds
}

// look returns what the records say that a Population is about. It is valid until the
// next call.
func (p *Population) look(evs []*event.Event) []sight {
	n := 0
	p.answers = p.answers[:0]
	for _, ev := range evs {
		switch ev.Kind {
		case event.KindConn, event.KindTLS, event.KindHTTP, event.KindQUIC, event.KindDNS:
			v := &p.sights[n]
			v.take(ev)
			if v.from = len(p.answers); v.source == event.NameQuery {
				p.answers = appendAnswers(p.answers, ev)
			}
			v.to = len(p.answers)
			n++
		}
	}
	return p.sights[:n]
}

func (v *sight) take(ev *event.Event) {
	*v = sight{ev: ev, at: momentOf(ev.Time)}
	v.inbound = ev.Resp.Scope == event.ScopeLocal && ev.Orig.Scope != event.ScopeLocal
	v.counts = ev.Flags&(event.FlagJoined|event.FlagSnapshot|event.FlagUnidirectional) == 0
	far, host := &ev.Resp, &ev.Orig
	if v.inbound {
		far, host = host, far
	}
	if host.Scope == event.ScopeLocal {
		v.host = max(uint32(host.Hash), 1)
	}
	v.far = farKey(ev, far)
	if v.inbound {
		return
	}
	if v.own, v.source = ownName(ev); v.own != "" {
		v.name = Hash(v.own)
	}
	if ev.Kind != event.KindDNS {
		v.address = addressKey(ev.Orig.Hash, v.far)
		if ev.UID != "" {
			v.session = sessionKey(ev)
		}
	}
}

// fetch reads what the records will ask for, so that it is near when they do. It
// changes nothing, and what it does not read is only slower.
func (p *Population) fetch(sights []sight) {
	var sum uint64 // of what is read, or the compiler leaves it out
	for i := range sights {
		v := &sights[i]
		sum += p.outbound.near(v.far) + p.names.near(v.name) + p.sessions.near(v.session) + p.addresses.near(v.address)
	}
	for i := range p.answers {
		sum += p.addresses.near(p.answers[i].key)
	}
	for i := range sights {
		v := &sights[i]
		if v.own == "" && !v.inbound {
			v.name = p.linked(v)
		}
		sum += p.outbound.read(v.far, v)
		if n, _ := p.names.find(v.name); n != nil {
			v.domain = n.domainHash
		}
	}
	for i := range sights {
		if v := &sights[i]; v.domain != 0 {
			sum += p.called.near(nameUse(v.name)) + p.called.near(domainUse(v.domain))
		}
	}
	for i := range sights {
		if v := &sights[i]; v.domain != 0 {
			sum += p.called.read(nameUse(v.name), v) + p.called.read(domainUse(v.domain), v)
		}
	}
	p.fetched = sum
}

// appendAnswers appends the addresses that a record of DNS gives.
func appendAnswers(as []answer, ev *event.Event) []answer {
	d := ev.DNS
	for i, s := range d.Answers[:min(len(d.Answers), maxAnswers)] {
		a, ok := parseAddr(s)
		if !ok || a.IsUnspecified() || a.IsLoopback() {
			continue
		}
		life := uint32(minLife)
		if i < len(d.TTLs) {
			life = min(max(d.TTLs[i], minLife), maxLife)
		}
		as = append(as, answer{addressKey(ev.Orig.Hash, event.HashAddr(a, 0, 0)), life})
	}
	return as
}

// linked returns the key of the name that a record's session or address has so far; 0
// for none.
func (p *Population) linked(v *sight) uint64 {
	if v.session != 0 {
		if l, _ := p.sessions.find(v.session); l != nil {
			return l.name
		}
	}
	if l, _ := p.addresses.find(v.address); l != nil {
		return l.name
	}
	return 0
}

// farKey is the key of an address: one outside is the same in each VLAN.
func farKey(ev *event.Event, far *event.Host) uint64 {
	if far.Scope != event.ScopeLocal && ev.VLAN|ev.InnerVLAN != 0 {
		return keyed(event.HashAddr(far.Addr, 0, 0))
	}
	return keyed(far.Hash)
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
