package enrich

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/gaissmai/bart"

	"tidewatch/internal/strict"
)

// maxNetworkFile bounds a file of named networks, in bytes.
const maxNetworkFile = 16 << 20

// networkFile is a file of [network.NAME] tables.
type networkFile struct {
	Networks map[string]namedNetwork `toml:"network"`
}

type namedNetwork struct {
	Networks []string `toml:"networks"`
	VLANs    []int    `toml:"vlans"`  // in which they are; none: in all
	Inside   *bool    `toml:"inside"` // nil: true
}

// With returns z with the networks that files name, or z if there are none. The error
// names all that is wrong, with file and line.
func (z *Zones) With(paths []string) (*Zones, error) {
	if len(paths) == 0 {
		return z, nil
	}
	n := &Zones{local: z.local, all: new(bart.Table[*zone]), tagged: map[uint16]*bart.Table[*zone]{}}
	own := &zone{inside: true}
	for _, p := range z.local {
		n.all.Insert(unmapped(p), own)
	}
	var problems []*strict.Problem
	for _, path := range paths {
		text, err := readBounded(path, maxNetworkFile)
		if err != nil {
			problems = append(problems, &strict.Problem{File: path, What: err.Error()})
			continue
		}
		problems = append(problems, n.read(path, text)...)
	}
	return n, strict.Join(problems)
}

// read takes a file of networks.
func (z *Zones) read(path string, text []byte) []*strict.Problem {
	var f networkFile
	doc := strict.NewDocument(path, string(text))
	problems := strict.Decode(doc, &f)
	if len(problems) > 0 {
		return problems
	}
	for _, name := range slices.Sorted(maps.Keys(f.Networks)) {
		d := f.Networks[name]
		bad := func(key, what, allowed string) {
			problems = append(problems, doc.Problem([]string{"network", name, key}, what, allowed))
		}
		if len(name) > longestName {
			bad("networks", "the name is too long", fmt.Sprintf("at most %d bytes", longestName))
		}
		if len(d.Networks) == 0 {
			bad("networks", "no network is named", `networks = ["198.51.100.0/24"]`)
		}
		this := &zone{name: name, inside: d.Inside == nil || *d.Inside}
		for _, s := range d.Networks {
			ps, err := parseNetworks(s)
			if err != nil {
				bad("networks", fmt.Sprintf("%q is %v", s, err), "10.1.0.0/16, 10.0.0.1-10.0.0.9, 2001:db8::/48")
				continue
			}
			for _, p := range ps {
				if len(d.VLANs) == 0 {
					if other := z.put(z.all, p, this); other != nil {
						bad("networks", fmt.Sprintf("%s is already of %q", p, other.name), "each network once")
					}
				}
				for _, v := range d.VLANs {
					if v < 1 || v > 4094 {
						bad("vlans", fmt.Sprintf("%d is no VLAN", v), "1 to 4094")
						continue
					}
					t := z.tagged[uint16(v)]
					if t == nil {
						t = new(bart.Table[*zone])
						z.tagged[uint16(v)] = t
					}
					if other := z.put(t, p, this); other != nil {
						bad("networks", fmt.Sprintf("%s in VLAN %d is already of %q", p, v, other.name), "each network once")
					}
				}
			}
		}
	}
	return problems
}

// put takes a network. It returns who has it already, if he has a name.
func (z *Zones) put(t *bart.Table[*zone], p netip.Prefix, this *zone) *zone {
	if other, ok := t.Get(p); ok && other.name != "" && other != this {
		return other
	}
	t.Insert(p, this)
	return nil
}
