package scan

import (
	"net/netip"
	"slices"
)

// charge is what a source is charged with once a contact has failed.
type charge uint8

const (
	noCharge      charge = iota
	chargePorts          // many ports of one host
	chargeBlock          // several ports of several hosts
	chargeService        // one port of many hosts
	chargeRealm          // many hosts
)

// charge says which case a contact that failed completes against its source.
func (d *Detector) charge(s *source, c *contact) charge {
	switch {
	case d.triesPorts(s, c):
		return chargePorts
	case d.triesBlock(s, c):
		return chargeBlock
	case d.accepts(s.walkOf(chargeService, c), d.share(c), c.time):
		return chargeService
	case d.accepts(s.walkOf(chargeRealm, c), d.cfg.FailureShare, c.time):
		return chargeRealm
	}
	return noCharge
}

// walkOf returns the walk that a charge rests on, or nil if it rests on none.
func (s *source) walkOf(k charge, c *contact) *walk {
	switch k {
	case chargeService:
		if w := s.serviceWalk(c); w != nil {
			return &w.walk
		}
	case chargeRealm:
		return &s.walks[c.realm()]
	}
	return nil
}

// supports reports whether an earlier contact r that failed belongs to the charge
// which c completes.
func (s *source) supports(r, c *contact, k charge) bool {
	switch k {
	case chargePorts:
		return r.dst == c.dst && c.time-r.time <= day
	case chargeBlock:
		return s.inBlock(r, c)
	case chargeService:
		return r.fresh && r.service() == c.service() && r.time >= s.walkOf(k, c).from
	}
	return r.realm() == c.realm() && r.time >= s.walkOf(k, c).from
}

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
// hosts: too few of either for the tests above, but many together.
func (d *Detector) triesBlock(s *source, c *contact) bool {
	var ports [4]uint16 // as many as make a block
	failed, np, hosts := 0, 0, 1
	for i := range s.recent {
		r := &s.recent[i]
		if !s.inBlock(r, c) {
			continue
		}
		failed++
		if r.dst != c.dst {
			hosts = 2
		}
		if np < len(ports) && !slices.Contains(ports[:np], r.port) {
			ports[np] = r.port
			np++
		}
	}
	if failed < d.cfg.BlockContacts || np < len(ports) || hosts < 2 {
		return false
	}
	answered := 0
	for i := range s.oks {
		if r := &s.oks[i]; s.inBlock(r, c) && s.failedBeside(r) {
			answered++
		}
	}
	return float64(failed) >= d.share(c)*float64(failed+answered)
}

// inBlock reports whether an earlier contact r can belong to one block with c: peers
// that the source had an hour ago are left out.
func (s *source) inBlock(r, c *contact) bool {
	return r.realm() == c.realm() && !r.proto.IsICMP() && c.time-r.time <= hour &&
		(r.unknown || s.metSince(r.dst, c.time-hour))
}

// metSince reports whether a host has served the source for the first time since then.
func (s *source) metSince(host netip.Addr, then int64) bool {
	for i := range s.oks {
		if r := &s.oks[i]; r.dst == host && r.unknown && r.time >= then {
			return true
		}
	}
	return false
}

// failedBeside reports whether the source failed at the port or at the host of a
// contact that was answered.
func (s *source) failedBeside(c *contact) bool {
	for i := range s.recent {
		if r := &s.recent[i]; r.service() == c.service() || r.dst == c.dst {
			return true
		}
	}
	return false
}
