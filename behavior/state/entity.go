package state

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"tidewatch/event"
)

// Entity is what a person asks about: a host, a name, or a pair of a host with one of
// both. Its zero parts are not said.
type Entity struct {
	Host  netip.Addr  // the host; of a pair the one inside, or the one that asks
	Peer  netip.Addr  // of a pair
	Port  uint16      // of the peer
	Proto event.Proto // likewise
	Name  string      // in lower case: the name itself, or of a pair
}

// ErrEntity says that a text names no entity.
var ErrEntity = errors.New("no entity: write an address (10.0.0.5), a name (files.example), or a pair (10.0.0.5->203.0.113.7:443/tcp, 10.0.0.5->203.0.113.7, 10.0.0.5>files.example)")

// ParseEntity reads what a person types, or copies from a finding.
func ParseEntity(s string) (e Entity, err error) {
	host, peer, pair := strings.Cut(s, ">")
	host, peer = strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(host), "-")), strings.TrimSpace(peer)
	e.Host, err = netip.ParseAddr(host)
	if !pair {
		if err == nil {
			e.Host = e.Host.Unmap()
			return e, nil
		}
		e.Host, e.Name = netip.Addr{}, nameOf(host)
		if e.Name == "" {
			return Entity{}, fmt.Errorf("%q: %w", s, ErrEntity)
		}
		return e, nil
	}
	if err != nil || !e.readPeer(peer) {
		return Entity{}, fmt.Errorf("%q: %w", s, ErrEntity)
	}
	e.Host = e.Host.Unmap()
	return e, nil
}

// readPeer reads the far end of a pair.
func (e *Entity) readPeer(s string) bool {
	s, proto, hasProto := strings.Cut(s, "/")
	if hasProto {
		for p := event.Proto(1); p != 0 && e.Proto == 0; p++ {
			if p.String() == strings.ToLower(proto) {
				e.Proto = p
			}
		}
		if e.Proto == 0 {
			return false
		}
	}
	if a, err := netip.ParseAddr(s); err == nil {
		e.Peer = a.Unmap()
		return true
	}
	if p, err := netip.ParseAddrPort(s); err == nil {
		e.Peer, e.Port = p.Addr().Unmap(), p.Port()
		return true
	}
	name, port, hasPort := strings.Cut(s, ":")
	if hasPort {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return false
		}
		e.Port = uint16(n)
	}
	e.Name = nameOf(name)
	return e.Name != ""
}

// nameOf returns a name as it is kept, "" if it is none. Names that are asked for may
// hold any byte but a space.
func nameOf(s string) string {
	s = strings.ToLower(strings.TrimSuffix(s, "."))
	top := s[strings.LastIndexByte(s, '.')+1:]
	if len(s) > 255 || len(top) == len(s) || strings.ContainsAny(s, " \t\n/<>") || strings.Trim(top, "0123456789") == "" {
		return "" // what ends in a number is a broken address
	}
	return s
}

// IsPair reports whether the entity is a pair.
func (e *Entity) IsPair() bool { return e.Host.IsValid() && (e.Peer.IsValid() || e.Name != "") }

// String writes the entity as ParseEntity reads it. Its name may be input.
func (e Entity) String() string {
	switch {
	case !e.Host.IsValid():
		return e.Name
	case e.Name != "":
		return e.Host.String() + ">" + e.Name
	case !e.Peer.IsValid():
		return e.Host.String()
	}
	peer := e.Peer.String()
	if e.Port != 0 {
		peer = netip.AddrPortFrom(e.Peer, e.Port).String()
	}
	if e.Proto != 0 {
		peer += "/" + e.Proto.String()
	}
	return e.Host.String() + "->" + peer
}

// Named reports whether a name is the entity's, or lies below it.
func (e *Entity) Named(name string) bool {
	return e.Name != "" && (name == e.Name || strings.HasSuffix(name, "."+e.Name))
}

// Is reports whether an address is that of the entity, if it is a host.
func (e *Entity) Is(a netip.Addr) bool { return e.Host.IsValid() && !e.IsPair() && a == e.Host }

// Reaches reports whether a far end is that of the pair, by what is said of it. Where
// the entity is no pair, each is.
func (e *Entity) Reaches(a netip.Addr, port uint16, proto event.Proto, names ...string) bool {
	if e.Name != "" && !slices.ContainsFunc(names, func(n string) bool { return e.Named(n) || n != "" && strings.HasSuffix(e.Name, "."+n) }) {
		return false
	}
	return (!e.Peer.IsValid() || a == e.Peer) && (e.Port == 0 || port == e.Port) && (e.Proto == 0 || proto == e.Proto)
}

// ForgetSamples takes out the records in which a host has a part.
func (e *Entity) ForgetSamples(all []event.Sample) (rest []event.Sample, gone bool) {
	rest = slices.DeleteFunc(all, func(s event.Sample) bool { return e.Is(s.Orig.Addr()) || e.Is(s.Resp.Addr()) })
	return rest, len(rest) < len(all)
}

// Portrait is what is known of an entity by one detector, for people. Its texts may hold
// input.
type Portrait struct {
	Detector string `json:"detector"` // as rules name it
	Subject  string `json:"subject"`
	VLAN     uint16 `json:"vlan,omitempty"`
	Since    int64  `json:"-"` // Unix ns; 0: not known
	Last     int64  `json:"-"`
	Facts    []Fact `json:"facts"`
}

// Fact is one thing that is known.
type Fact struct {
	Name  string `json:"name"`            // such as "bytes_out_usual"
	Value any    `json:"value,omitempty"` // a number, text, truth or list of texts
	Unit  string `json:"unit,omitempty"`
	Text  string `json:"text"` // for people, with the unit in it
}

// Say appends a fact.
func (p *Portrait) Say(name string, value any, unit, format string, args ...any) {
	p.Facts = append(p.Facts, Fact{name, value, unit, fmt.Sprintf(format, args...)})
}
