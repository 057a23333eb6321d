package scan

import (
	"net/netip"
	"slices"

	"tidewatch/event"
)

// contact is the first time that a source tried one port of one host.
type contact struct {
	time    int64
	dst     netip.Addr
	port    uint16 // ICMP: the type
	proto   event.Proto
	outcome event.Outcome
	local   bool // the destination is
	newHost bool // the source had not tried the host before
	unknown bool // the host had never answered the source
	// What a finding shows of the record, for contacts that failed.
	uid   string
	orig  uint16 // the source's port
	state event.State
}

func (c *contact) failed() bool { return c.outcome != event.OutcomeAnswered }

// triesPorts reports whether the source has failed at many ports of c's host.
func (d *Detector) triesPorts(s *source, c *contact) bool {
	if c.proto.IsICMP() {
		return false
	}
	var n [3]int
	ok := 0
	for i := range s.recent {
		r := &s.recent[i]
		if r.dst != c.dst || r.proto.IsICMP() {
			continue
		}
		switch age := c.time - r.time; {
		case age <= 5*minute:
			n[0]++
			fallthrough
		case age <= hour:
			n[1]++
			fallthrough
		case age <= day:
			n[2]++
		}
	}
	for i := range s.oks {
		if s.oks[i].dst == c.dst && c.time-s.oks[i].time <= day {
			ok++
		}
	}
	if ok > n[2] {
		return false
	}
	return n[0] >= d.cfg.Ports5m || n[1] >= d.cfg.Ports1h || n[2] >= d.cfg.Ports24h
}

// triesBlock reports whether the source has failed at several ports of several
// hosts that never answered it: too few of either for the tests above, but many
// together.
func (d *Detector) triesBlock(s *source, c *contact) bool {
	var ports [4]uint16 // as many as make a block
	n, np, hosts := 0, 0, 1
	for i := range s.recent {
		r := &s.recent[i]
		if !c.inBlock(r) {
			continue
		}
		n++
		if r.dst != c.dst {
			hosts = 2
		}
		if np < len(ports) && !slices.Contains(ports[:np], r.port) {
			ports[np] = r.port
			np++
		}
	}
	for i := range s.oks {
		if s.oks[i].realm() == c.realm() && c.time-s.oks[i].time <= hour {
			n--
		}
	}
	return n >= d.cfg.BlockContacts && np == len(ports) && hosts == 2
}

// inBlock reports whether an earlier contact can belong to one block with c.
func (c *contact) inBlock(r *contact) bool {
	return r.unknown && r.realm() == c.realm() && !r.proto.IsICMP() && c.time-r.time <= hour
}
