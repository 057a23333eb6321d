package enrich

import (
	"net"
	"net/netip"
	"sync"

	"tidewatch/event"
)

const (
	// maxLeases is how many addresses a leases remembers, twice.
	maxLeases = 1 << 16
	// leasesEach is how many leases of one address are remembered: the answer to what
	// was at a time must not depend on how far ahead the reading is.
	leasesEach = 4
	// leaseTime is how long a lease is taken to last that does not say, in nanoseconds.
	leaseTime = 24 * 3600e9
	// longestLease bounds what a lease says of itself, in nanoseconds.
	longestLease = 30 * 24 * 3600e9
)

// lease is that an address was given to a client.
type lease struct {
	from, until int64 // Unix nanoseconds
	mac         [6]byte
	name        string // that the client gives itself; "" if none
}

// leases remembers who was given which address by DHCP. The zero value is ready; it
// may be used concurrently. It holds two generations: once the newer one is full, the
// older one is forgotten.
type leases struct {
	mu       sync.RWMutex
	now, old map[netip.Addr]*[leasesEach]lease // the latest first
}

// learn takes a DHCP record in which a server gives an address away.
func (l *leases) learn(ev *event.Event) {
	d := ev.DHCP
	if !d.Gives() {
		return
	}
	mac, err := net.ParseMAC(d.MAC)
	if err != nil || len(mac) != 6 {
		return
	}
	name := d.HostName
	if len(name) > longestName {
		name = ""
	}
	lasts := int64(d.LeaseTime)
	if lasts <= 0 {
		lasts = leaseTime
	}
	n := lease{from: ev.Time, until: ev.Time + min(lasts, longestLease), mac: [6]byte(mac)}
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.of(d.AssignedAddr.Unmap())
	last := &all[0]
	if last.mac == n.mac && last.from != 0 && n.from >= last.from && n.from <= last.until { // renewed
		last.until = max(last.until, n.until)
		if name != "" && last.name == "" {
			last.name = event.Clone(name)
		}
		return
	}
	if n.from < last.from {
		return // late: another client had it since, or nothing is new
	}
	last.until = min(last.until, n.from)
	copy(all[1:], all[:])
	n.name = event.Clone(name)
	all[0] = n
}

// of returns the leases of an address, to be changed.
func (l *leases) of(a netip.Addr) *[leasesEach]lease {
	if all := l.now[a]; all != nil {
		return all
	}
	all := l.old[a]
	if all == nil {
		all = new([leasesEach]lease)
	}
	if l.now == nil || len(l.now) >= maxLeases {
		l.now, l.old = map[netip.Addr]*[leasesEach]lease{}, l.now
	}
	l.now[a] = all
	return all
}

// at returns who had an address at a time.
func (l *leases) at(a netip.Addr, at int64) (lease, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	all := l.now[a]
	if all == nil {
		all = l.old[a]
	}
	if all == nil {
		return lease{}, false
	}
	for _, x := range all {
		if x.from != 0 && x.from <= at && at < x.until {
			return x, true
		}
	}
	return lease{}, false
}
