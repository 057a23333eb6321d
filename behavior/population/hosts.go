package population

// hosts knows which local hosts were active on which day last.
type hosts struct {
	table[uint16] // the day, by the host's hash
	// active counts hosts by their last day. A slot is shared by days that are 64
	// apart; the later one has it.
	active [64]struct {
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
	h := &hosts{table: newTable(limit, func(day *uint16, _ uint32) uint64 { return uint64(*day) })}
	h.lost = func(day *uint16) { h.tally(*day, -1) }
	return h
}

// see notes that a host is active.
func (h *hosts) see(hash uint64, at moment) {
	if hash == h.last && at.day == h.lastDay {
		return
	}
	h.last, h.lastDay = hash, at.day
	key := keyed(hash)
	day, r := h.find(key)
	switch {
	case day == nil:
		*h.insert(key, at.secs) = at.day
	case at.day > *day:
		h.tally(*day, -1)
		*day = at.day
		h.touch(r)
	default:
		return
	}
	h.tally(at.day, 1)
}

// tally counts a host in or out of those whose last day it is.
func (h *hosts) tally(day uint16, by int) {
	h.valid = false
	s := &h.active[day%64]
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
	for i := range h.active {
		if s := &h.active[i]; within(s.day, today) {
			h.sum += s.n
		}
	}
	return h.sum
}
