package strict

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Network is a network, or an address alone.
type Network struct{ netip.Prefix }

// Form says how a Network is written.
func (*Network) Form() string {
	return `a network or an address, such as "203.0.113.0/24", "2001:db8::/32", "203.0.113.7"`
}

// UnmarshalText reads a network. Bits beyond its length do not count.
func (n *Network) UnmarshalText(b []byte) error {
	s := string(b)
	p, err := netip.ParsePrefix(s)
	if err != nil {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return fmt.Errorf("%q is no network", s)
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	n.Prefix = p.Masked()
	return nil
}

// OneOf reports, through bad, a text that is none of those allowed.
func OneOf(bad func(key, what, allowed string), key, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		bad(key, fmt.Sprintf("%s = %q%s", key, value, Nearest(value, allowed)), strings.Join(allowed, ", "))
	}
}

// Between reports, through bad, a number that is below low or above high.
func Between[T ~int | ~int64](bad func(key, what, allowed string), key string, value, low, high T) {
	if value < low || value > high {
		bad(key, fmt.Sprintf("%s = %v", key, value), fmt.Sprintf("from %v to %v", low, high))
	}
}
