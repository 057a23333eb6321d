package enrich

import (
	"net/netip"
	"time"

	"tidewatch/event"
)

const (
	// maxFresh bounds the new values of a reload that are looked back at.
	maxFresh = 1 << 18
	// widestFresh is the widest network each address of which is looked back at, by the
	// bits that are free in it.
	widestFresh = 8
)

// past is what was in force before: the table of this process, or what another one noted.
type past struct {
	table *Indicators
	noted seen
}

// has reports whether a value was in force by itself.
func (p *past) has(k indicatorKind, v string) bool {
	if p.table == nil {
		return p.noted.has(k, v)
	}
	_, ok := p.table.find(k, v)
	return ok
}

// hasAddr reports whether an address was in force, by itself or with a network. Which
// networks there were in another process is known by their own names alone.
func (p *past) hasAddr(a netip.Addr) bool {
	if p.table == nil {
		return p.noted.has(kindAddr, a.String())
	}
	_, ok := p.table.addr(a)
	return ok
}

// compare notes a value that was not in force before, and for the next process that it is.
func (x *Indicators) compare(k indicatorKind, v string, p netip.Prefix, expires uint16) {
	if expires != 0 && day(time.Now().UnixNano()) >= expires {
		return
	}
	switch {
	case k == kindAddr && p.Addr().BitLen()-p.Bits() > widestFresh, k != kindAddr && k != kindDomain && (k != kindDigest || len(v) != 32 && !ja4Form.MatchString(v)):
		// Nobody remembers URLs, and digests of files and certificates.
		if x.before != nil {
			x.passed++
		}
		return
	case k == kindAddr:
		x.compareNetwork(p)
		return
	}
	if x.keeps {
		x.noted = append(x.noted, seenHash(k, v))
	}
	if x.before == nil || x.before.has(k, v) {
		return
	}
	kind := event.SoughtName
	if k == kindDigest {
		kind = event.SoughtFingerprint
	}
	x.seek(event.Sought{Kind: kind, Value: event.Clone(v)})
}

// seek notes a value that is to be looked back for.
func (x *Indicators) seek(v event.Sought) {
	if len(x.fresh) >= maxFresh {
		x.passed++
		return
	}
	x.fresh = append(x.fresh, v)
}

// compareNetwork is compare for an address, or the addresses of a network.
func (x *Indicators) compareNetwork(p netip.Prefix) {
	name := p.Addr().String()
	if !p.IsSingleIP() {
		name = p.Masked().String()
	}
	if x.keeps {
		x.noted = append(x.noted, seenHash(kindAddr, name))
	}
	if x.before == nil || x.before.table == nil && x.before.noted.has(kindAddr, name) {
		return
	}
	for a, n := p.Addr(), 0; n < 1<<(p.Addr().BitLen()-p.Bits()); a, n = a.Next(), n+1 {
		if !x.before.hasAddr(a) {
			x.seek(event.Sought{Kind: event.SoughtAddress, Value: a.String(), Addr: a})
		}
	}
}

// sought returns what is new but for what never counts, once. It is called by the one who
// reads files.
func (x *Indicators) sought() (all []event.Sought) {
	for _, v := range x.fresh {
		switch {
		case v.Kind == event.SoughtAddress && x.allowed.allowsAddr(v.Addr),
			v.Kind == event.SoughtName && x.allowed.allowsName(v.Value),
			v.Kind == event.SoughtFingerprint && x.allowed.allows(kindDigest, v.Value):
			continue
		}
		all = append(all, v)
	}
	x.fresh = nil
	return all
}
