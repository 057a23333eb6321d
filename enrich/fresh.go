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

// compare notes a value that the table before does not have.
func (x *Indicators) compare(k indicatorKind, v string, p netip.Prefix, expires uint16) {
	if expires != 0 && day(time.Now().UnixNano()) >= expires {
		return
	}
	if k == kindAddr {
		x.compareNetwork(p)
		return
	}
	if _, known := x.before.find(k, v); known {
		return
	}
	switch {
	case len(x.fresh) >= maxFresh:
		x.passed++
	case k == kindDomain:
		x.fresh = append(x.fresh, event.Sought{Kind: event.SoughtName, Value: event.Clone(v)})
	case k == kindDigest && (len(v) == 32 || ja4Form.MatchString(v)):
		x.fresh = append(x.fresh, event.Sought{Kind: event.SoughtFingerprint, Value: event.Clone(v)})
	default:
		x.passed++ // nobody remembers URLs, and digests of files and certificates
	}
}

// compareNetwork is compare for an address, or the addresses of a network.
func (x *Indicators) compareNetwork(p netip.Prefix) {
	free := p.Addr().BitLen() - p.Bits()
	if free > widestFresh {
		x.passed++
		return
	}
	for a, n := p.Addr(), 0; n < 1<<free; a, n = a.Next(), n+1 {
		if _, known := x.before.addr(a); known {
			continue
		}
		if len(x.fresh) >= maxFresh {
			x.passed++
			continue
		}
		x.fresh = append(x.fresh, event.Sought{Kind: event.SoughtAddress, Value: a.String(), Addr: a})
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
