package scan

import (
	"net/netip"

	"tidewatch/event"
)

// contact is the first time that a source tried one port of one host.
type contact struct {
	time    int64
	dst     netip.Addr
	port    uint16 // 0 of ICMP, where only echo requests have an outcome
	proto   event.Proto
	outcome event.Outcome
	local   bool // the destination is
	unknown bool // the host had never served the source
	fresh   bool // nor had it been tried, other than by a ping that it answered
	// What a finding shows of the record, for contacts that are kept.
	uid   string
	orig  uint16 // the source's port
	state event.State
}

func (c *contact) failed() bool { return c.outcome != event.OutcomeAnswered }

// keep notes what a finding shows of the contact's record, if that is there.
func (c *contact) keep(ev *event.Event) {
	if ev == nil {
		return
	}
	c.uid, c.orig = event.Clone(ev.UID), ev.Orig.Port
	if ev.Conn != nil {
		c.state = ev.Conn.State
	}
}

// A source has a walk for each realm, so that what goes well in one does not hide
// what fails in another: a user's browsing, a search of the office network.
const (
	realmInside = iota
	realmWeb    // ports 80 and 443 outside
	realmOutside
	numRealms
)

func (c *contact) realm() int {
	switch {
	case c.local:
		return realmInside
	case c.port == 80 || c.port == 443:
		return realmWeb
	}
	return realmOutside
}

// service is what a horizontal scan looks for: a port, or an echo, on one side of
// the border.
type service struct {
	port  uint16
	proto event.Proto
	local bool
}

func (c *contact) service() service { return service{c.port, c.proto, c.local} }
