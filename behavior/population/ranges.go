package population

import (
	_ "embed"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"tidewatch/event"
)

// rangeText is the table of networks with their classes: a class and networks a
// line.
//
//go:embed ranges.txt
var rangeText string

// span is a run of addresses of one class.
type span struct {
	from, to netip.Addr
	class    event.Class
}

// spans are the networks of rangeText in order. They do not overlap: a test holds
// them to that.
var spans = sync.OnceValue(func() (all []span) {
	for line := range strings.Lines(rangeText) {
		if line, _, _ = strings.Cut(line, "#"); strings.TrimSpace(line) == "" {
			continue
		}
		f := strings.Fields(line)
		class := classNamed(f[0])
		for _, s := range f[1:] {
			p := netip.MustParsePrefix(s).Masked()
			all = append(all, span{p.Addr(), lastOf(p), class})
		}
	}
	slices.SortFunc(all, func(a, b span) int { return a.from.Compare(b.from) })
	return all
})

// lastOf returns the last address of an IPv4 network.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().As4()
	host := ^uint32(0) >> p.Bits()
	for i := range b {
		b[i] |= byte(host >> (24 - 8*i))
	}
	return netip.AddrFrom4(b)
}

// classOfAddr returns the class of the network that an address is in. It says less
// than a name does: others rent machines in such networks.
func classOfAddr(a netip.Addr) event.Class {
	if !a.Is4() {
		return event.ClassNone
	}
	all := spans()
	i, found := slices.BinarySearchFunc(all, a, func(s span, a netip.Addr) int { return s.from.Compare(a) })
	if !found {
		i--
	}
	if i < 0 || a.Compare(all[i].to) > 0 {
		return event.ClassNone
	}
	return all[i].class
}
