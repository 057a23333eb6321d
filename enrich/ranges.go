package enrich

import (
	"errors"
	"net/netip"
	"strings"
)

var errNetwork = errors.New("no address, network or range of addresses")

// parseNetworks reads an address, a network in CIDR form, or a range "a-b" as the
// networks that make it up: at most 254.
func parseNetworks(s string) ([]netip.Prefix, error) {
	if low, high, ok := strings.Cut(s, "-"); ok {
		a, err := netip.ParseAddr(strings.TrimSpace(low))
		b, err2 := netip.ParseAddr(strings.TrimSpace(high))
		if err != nil || err2 != nil {
			return nil, errNetwork
		}
		return spanNetworks(a.Unmap(), b.Unmap())
	}
	if strings.Contains(s, "/") {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, errNetwork
		}
		return []netip.Prefix{unmapped(p)}, nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return nil, errNetwork
	}
	a = a.Unmap()
	return []netip.Prefix{netip.PrefixFrom(a, a.BitLen())}, nil
}

// unmapped returns a network in the form that events have: masked, and IPv4 as IPv4.
func unmapped(p netip.Prefix) netip.Prefix {
	if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	return p.Masked()
}

// spanNetworks returns the fewest networks that make up the addresses from a to b.
func spanNetworks(a, b netip.Addr) (all []netip.Prefix, err error) {
	if a.BitLen() != b.BitLen() || b.Less(a) || a.Zone() != "" || b.Zone() != "" {
		return nil, errNetwork
	}
	for {
		p := netip.PrefixFrom(a, a.BitLen())
		for p.Bits() > 0 {
			wider := netip.PrefixFrom(a, p.Bits()-1)
			if wider.Masked().Addr() != a || b.Less(lastAddr(wider)) {
				break
			}
			p = wider
		}
		all = append(all, p)
		last := lastAddr(p)
		if !last.Less(b) {
			return all, nil
		}
		a = last.Next()
	}
}

// lastAddr returns the last address of a network.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := range b {
		switch n := p.Bits() - 8*i; {
		case n <= 0:
			b[i] = 0xff
		case n < 8:
			b[i] |= 0xff >> n
		}
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
