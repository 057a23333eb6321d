// Package enrich adds to an event what its sensor could not know: where its
// addresses belong, and the hashes by which entities are found.
package enrich

import (
	"net/netip"

	"github.com/gaissmai/bart"

	"tidewatch/event"
)

// Zones knows which networks are the site's own. It is not changed after
// NewZones and may be used concurrently.
type Zones struct {
	local []netip.Prefix
	// Of networks with names, the smallest that holds an address counts; those of the
	// address' VLAN come first. all has those of local too. nil if none has a name.
	all    *bart.Table[*zone]
	tagged map[uint16]*bart.Table[*zone]
}

// zone is a network that the site has named.
type zone struct {
	name   string // "" for those of Zones.local
	inside bool
}

// defaultLocal are the networks that count as own ones where none are named:
// RFC 1918, RFC 6598 and RFC 4193.
var defaultLocal = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("fc00::/7"),
}

// NewZones returns zones in which the given networks are local. Private networks
// are local always: nobody else's packets carry their addresses.
func NewZones(local []netip.Prefix) *Zones {
	return &Zones{local: append(append([]netip.Prefix(nil), local...), defaultLocal...)}
}

// Enrich sets the Scope and Hash of both ends and the event's ConnHash. Where no
// list knows better, it takes the sensor's word (local_orig, local_resp) for an
// end that it calls local. It does not allocate.
func (z *Zones) Enrich(ev *event.Event) {
	z.host(ev, &ev.Orig)
	z.host(ev, &ev.Resp)
	if c := ev.Conn; c != nil {
		if z.all == nil && len(z.local) == len(defaultLocal) {
			if c.LocalOrig && ev.Orig.Scope == event.ScopeExternal {
				ev.Orig.Scope = event.ScopeLocal
			}
			if c.LocalResp && ev.Resp.Scope == event.ScopeExternal {
				ev.Resp.Scope = event.ScopeLocal
			}
		}
		ev.ConnHash = event.HashConn(ev)
	}
}

func (z *Zones) host(ev *event.Event, h *event.Host) {
	if !h.Addr.IsValid() {
		return
	}
	h.Hash = event.HashAddr(h.Addr, ev.VLAN, ev.InnerVLAN)
	h.Scope = z.Scope(h.Addr, ev.VLAN)
}

// Scope says where an address in a VLAN (0: none) belongs.
func (z *Zones) Scope(a netip.Addr, vlan uint16) event.Scope {
	switch {
	case !a.IsValid():
		return event.ScopeUnknown
	case a.IsMulticast(), a == broadcast:
		return event.ScopeMulticast
	case a.IsUnspecified(), a.IsLoopback(), a.IsLinkLocalUnicast():
		return event.ScopeSpecial
	}
	if z.all != nil {
		if n := z.named(a, vlan); n != nil && n.inside {
			return event.ScopeLocal
		}
		return event.ScopeExternal
	}
	for _, p := range z.local {
		if p.Contains(a) {
			return event.ScopeLocal
		}
	}
	return event.ScopeExternal
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// named returns the smallest network that holds an address; nil if there is none.
func (z *Zones) named(a netip.Addr, vlan uint16) *zone {
	if z.all == nil || !a.IsValid() {
		return nil
	}
	if vlan != 0 && z.tagged != nil {
		if t := z.tagged[vlan]; t != nil {
			if n, ok := t.Lookup(a); ok {
				return n
			}
		}
	}
	n, _ := z.all.Lookup(a)
	return n
}

// Name returns what the site calls the network of an address; "" if it has no name.
func (z *Zones) Name(a netip.Addr, vlan uint16) string {
	if n := z.named(a, vlan); n != nil {
		return n.name
	}
	return ""
}
