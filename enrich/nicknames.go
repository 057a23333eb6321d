package enrich

import (
	"net/netip"
	"strings"
	"sync"

	"tidewatch/event"
)

const (
	// maxNicknames is how many addresses a nicknames remembers, twice.
	maxNicknames = 1 << 16
	// nicknameLife is how long a name is taken for an address' after it was heard, in
	// nanoseconds.
	nicknameLife = 24 * 3600e9
)

// saying is how a host says its name. Of two the greater one counts: who proves to a
// domain who he is knows better than who shouts.
type saying uint8

const (
	byMDNS saying = iota
	byRDP
	byNTLM
	byKerberos
)

// nickname is what a host called itself.
type nickname struct {
	name        string // owns its memory
	how         saying
	from, until int64 // Unix nanoseconds
}

// nicknames remembers what hosts call themselves beside DHCP. The zero value is ready; it
// may be used concurrently. It holds two generations: once the newer one is full, the
// older one is forgotten.
type nicknames struct {
	mu       sync.RWMutex
	now, old map[netip.Addr]nickname
}

// learn takes a record in which a host says what it is called.
func (n *nicknames) learn(ev *event.Event) {
	switch ev.Kind {
	case event.KindKerberos:
		if k := ev.Kerberos; k != nil {
			n.hear(ev, ev.Orig.Addr, machine(k.Client), byKerberos)
		}
	case event.KindNTLM:
		if a := ev.App; a != nil {
			n.hear(ev, ev.Orig.Addr, a.Argument, byNTLM)
			if len(a.Names) > 0 {
				n.hear(ev, ev.Resp.Addr, a.Names[0], byNTLM)
			}
		}
	case event.KindSMB:
		if m := ev.SMB; m != nil {
			n.hear(ev, ev.Orig.Addr, m.ClientName, byNTLM)
		}
	case event.KindRDP:
		if r := ev.RDP; r != nil {
			n.hear(ev, ev.Orig.Addr, r.ClientName, byRDP)
		}
	case event.KindDNS:
		if d := ev.DNS; d != nil && ev.Resp.Port == mdnsPort {
			n.shouted(ev, d)
		}
	}
}

// mdnsPort is the port of multicast DNS (RFC 6762).
const mdnsPort = 5353

// shouted takes an answer of multicast DNS in which one of both ends names itself.
func (n *nicknames) shouted(ev *event.Event, d *event.DNS) {
	name, ok := strings.CutSuffix(strings.TrimSuffix(d.Query, "."), ".local")
	if !ok || strings.IndexByte(name, '.') >= 0 || strings.HasPrefix(name, "_") {
		return
	}
	for _, s := range d.Answers {
		if a, err := netip.ParseAddr(s); err == nil && (a.Unmap() == ev.Orig.Addr || a.Unmap() == ev.Resp.Addr) {
			n.hear(ev, a.Unmap(), name, byMDNS)
		}
	}
}

// machine returns the name of a host in a principal of Kerberos: LAPTOP7$/EXAMPLE.COM,
// host/laptop7.example.com; "" if it is a person's.
func machine(client string) string {
	if rest, ok := strings.CutPrefix(client, "host/"); ok {
		rest, _, _ = strings.Cut(rest, "/")
		rest, _, _ = strings.Cut(rest, "@")
		return rest
	}
	name, _, _ := strings.Cut(client, "/")
	name, _, _ = strings.Cut(name, "@")
	if name, ok := strings.CutSuffix(name, "$"); ok {
		return name
	}
	return ""
}

// hear notes a name.
func (n *nicknames) hear(ev *event.Event, a netip.Addr, name string, how saying) {
	if name == "" || name == "NULL" || len(name) > longestName || !a.IsValid() || ev.Orig.Scope != event.ScopeLocal && ev.Resp.Scope != event.ScopeLocal {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	was, known := n.now[a]
	if !known {
		was, known = n.old[a]
	}
	if known && was.until > ev.Time {
		if was.name != name && (was.how > how || was.from > ev.Time) {
			return // who knows better says otherwise, or it is late
		}
		if was.name == name {
			was.from, was.until, was.how = min(was.from, ev.Time), max(was.until, ev.Time+nicknameLife), max(was.how, how)
			n.put(a, was)
			return
		}
	}
	n.put(a, nickname{event.Clone(name), how, ev.Time, ev.Time + nicknameLife})
}

func (n *nicknames) put(a netip.Addr, x nickname) {
	if _, ok := n.now[a]; !ok && (n.now == nil || len(n.now) >= maxNicknames) {
		n.now, n.old = map[netip.Addr]nickname{}, n.now
	}
	n.now[a] = x
}

// at returns what an address was called at a time; "" if nobody has said.
func (n *nicknames) at(a netip.Addr, at int64) string {
	n.mu.RLock()
	defer n.mu.RUnlock()
	x, ok := n.now[a]
	if !ok {
		x = n.old[a]
	}
	if x.name == "" || at < x.from-nicknameLife || at >= x.until {
		return ""
	}
	return x.name
}
