package population

import "net/netip"

// active is a local host that was active: the day of the last time, and its address, as
// far as it was seen since the start.
type active struct {
	day  uint16
	addr [16]byte
}

// hosts knows which local hosts were active on which day last.
type hosts struct {
	table[active] // by the host's hash
	// counts counts hosts by their last day. A slot is shared by days that are 64
	// apart; the later one has it.
	counts [64]struct {
		day uint16
		n   uint32
	}
	// sum is the number of hosts within the window that ends at today, while valid.
	sum   uint32
	today uint16
	valid bool
	// The last host that was seen, and when.
	last    uint64
	lastDay uint16
}

func newHosts(limit int) *hosts {
	h := &hosts{table: newTable(limit, func(a *active, _ uint32) uint64 { return uint64(a.day) })}
	h.lost = func(a *active) { h.tally(a.day, -1) }
	return h
}

// see notes that a host is active.
func (h *hosts) see(hash uint64, addr netip.Addr, at moment) {
	if hash == h.last && at.day == h.lastDay {
		return
	}
	h.last, h.lastDay = hash, at.day
	key := keyed(hash)
	e, r := h.find(key)
	switch {
	case e == nil:
		*h.insert(key, at.secs) = active{at.day, addr.As16()}
	case at.day > e.day:
		h.tally(e.day, -1)
		e.day, e.addr = at.day, addr.As16()
		h.touch(r)
	case e.addr == [16]byte{}: // it was restored
		e.addr = addr.As16()
		return
	default:
		return
	}
	h.tally(at.day, 1)
}

// tally counts a host in or out of those whose last day it is.
func (h *hosts) tally(day uint16, by int) {
	h.valid = false
	s := &h.counts[day%64]
	if by > 0 && day > s.day {
		s.day, s.n = day, 0
	}
	if day == s.day {
		s.n += uint32(by)
	}
}

// count returns how many hosts were active in the window that ends today.
func (h *hosts) count(today uint16) uint32 {
	if h.valid && today == h.today {
		return h.sum
	}
	h.sum, h.today, h.valid = 0, today, true
	for i := range h.counts {
		if s := &h.counts[i]; within(s.day, today) {
			h.sum += s.n
		}
	}
	return h.sum
}
