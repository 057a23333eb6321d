package synth

import (
	"math/rand/v2"
	"net/netip"
	"time"

	"tidewatch/event"
)

// diurnal is how busy people are in each hour of a working day.
var diurnal = [24]float64{.02, .01, .01, .01, .01, .03, .1, .4, .9, 1, 1, .9, .6, .8, 1, 1, .9, .7, .4, .25, .2, .15, .1, .05}

const agent = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/131.0 Safari/537.36"

// benign adds what an office does that harms nobody.
func (n *Network) benign() {
	for i, u := range n.users {
		n.act(browsing(u, 1+float64(i%5)/4))
		n.act(every(u, 64*time.Second*17, 0.02, func(r *rand.Rand, at int64, emit func(Flow)) {
			emit(udp(r, at, u, outside(50+i%4), 123, 48, 48, int64(20*time.Millisecond)))
		}))
		n.act(every(u, 15*time.Minute, 0, func(r *rand.Rand, at int64, emit func(Flow)) { // telemetry: a true clock
			n.tls(r, at, u, "telemetry.vendor.example", outside(60), 900, 1200, int64(90*time.Millisecond), emit)
		}))
		n.act(every(u, 5*time.Minute, 0.05, func(r *rand.Rand, at int64, emit func(Flow)) { // mail polling
			emit(tcp(r, at, u, mail, 993, 700, 1500+r.IntN(4000), int64(40*time.Millisecond)))
		}))
		n.act(every(u, 22*time.Hour, 0.1, func(r *rand.Rand, at int64, emit func(Flow)) { // updates
			n.tls(r, at, u, "updates.vendor.example", outside(61), 4000, 20_000_000, int64(40*time.Second), emit)
		}))
		n.act(domain(u))
		n.act(syncing(u))
		if i%3 == 0 {
			n.act(chatting(u))
		}
		if i%6 == 1 {
			n.act(calling(u))
		}
	}
	n.act(monitoring)
	n.act(backups)
	n.act(noise)
	n.act(recursion)
	n.act(outage)
}

// tls emits a name lookup and a TLS connection.
func (n *Network) tls(r *rand.Rand, at int64, from netip.Addr, name string, to netip.Addr, out, in int, took int64, emit func(Flow)) {
	if r.IntN(3) == 0 { // otherwise the name is cached
		emit(lookup(r, at-int64(20*time.Millisecond), from, name, to.String()))
	}
	f := tcp(r, at, from, to, 443, out, in, took)
	f.TLS = &TLS{ServerName: name, ALPN: "h2"}
	emit(f)
}

// every returns an actor that does something at a period, with so much jitter (a
// share of the period, both ways). It runs from midnight on, whatever the hour.
func every(who netip.Addr, period time.Duration, jitter float64, do func(r *rand.Rand, at int64, emit func(Flow))) actor {
	b := who.As4()
	phase := int64(b[2])*7_919_000_000 + int64(b[3])*104_729_000_000
	return func(n *Network, r *rand.Rand, hour int64, emit func(Flow)) {
		p := int64(period)
		origin := n.opts.Start.UnixNano() + phase%p
		k := (hour - origin) / p
		for k = max(k-1, 0); ; k++ {
			at := origin + k*p
			if at >= hour+hourNs {
				return
			}
			if at < hour {
				continue
			}
			j := int64(jitter * float64(p) * (2*r.Float64() - 1))
			do(r, min(max(at+j, hour), hour+hourNs-1), emit)
		}
	}
}

func hourOf(n *Network, hour int64) int { return int(hour-n.opts.Start.UnixNano()) / int(hourNs) % 24 }

// browsing visits sites in sessions.
func browsing(u netip.Addr, keen float64) actor {
	return func(n *Network, r *rand.Rand, hour int64, emit func(Flow)) {
		pages := int(30 * keen * n.opts.Activity * diurnal[hourOf(n, hour)] * (0.5 + r.Float64()))
		at := within(r, hour)
		for range pages {
			if r.IntN(6) == 0 {
				at = within(r, hour)
			}
			at += exponential(r, 8*time.Second)
			if at >= hour+hourNs {
				at = within(r, hour)
			}
			n.page(r, at, u, emit)
		}
	}
}

// page fetches one page with what it embeds.
func (n *Network) page(r *rand.Rand, at int64, u netip.Addr, emit func(Flow)) {
	for range 1 + r.IntN(4) {
		s := n.visit(r)
		to := s.addrs[r.IntN(len(s.addrs))]
		if r.IntN(3) == 0 {
			var answers []string
			for _, a := range s.addrs {
				answers = append(answers, a.String())
			}
			emit(lookup(r, at-int64(30*time.Millisecond), u, s.name, answers...))
		}
		out, in := 500+r.IntN(3000), 2000+int(r.ExpFloat64()*40000)
		took := int64(50*time.Millisecond) + exponential(r, 20*time.Second)
		switch r.IntN(40) {
		case 0: // a dead server, and another try
			emit(tried(r, at, u, to, 443, false))
			emit(tried(r, at+int64(3*time.Second), u, to, 443, false))
		case 1, 2:
			f := tcp(r, at, u, to, 80, out, in, took)
			f.HTTP = []HTTP{{At: at + int64(20*time.Millisecond), Method: "GET", Host: s.name, URI: "/page/" + itoa(r.IntN(1000)), Agent: agent, Status: 200, RespBytes: in - 300}}
			emit(f)
		case 3:
			emit(lookup(r, at, u, "typo"+itoa(r.IntN(1000))+".example"))
		default:
			f := tcp(r, at, u, to, 443, out, in, took)
			f.TLS = &TLS{ServerName: s.name, ALPN: "h2"}
			emit(f)
		}
		at += exponential(r, 400*time.Millisecond)
	}
}

// domain is Active Directory: names, tickets, directory, shares.
func domain(u netip.Addr) actor {
	return func(n *Network, r *rand.Rand, hour int64, emit func(Flow)) {
		for range int(1 + 6*diurnal[hourOf(n, hour)]*n.opts.Activity) {
			at := within(r, hour)
			emit(lookup(r, at, u, "dc.office.example", dc.String()))
			emit(tcp(r, at+int64(2*time.Millisecond), u, dc, 88, 1500, 1600, int64(3*time.Millisecond)))
			emit(tcp(r, at+int64(9*time.Millisecond), u, dc, 389, 900, 5000, int64(30*time.Millisecond)))
			if r.IntN(2) == 0 {
				emit(tcp(r, at+int64(40*time.Millisecond), u, files, 445, 3000+r.IntN(20000), 8000+int(r.ExpFloat64()*200000), exponential(r, time.Minute)))
			}
			if r.IntN(10) == 0 {
				emit(tcp(r, at+int64(50*time.Millisecond), u, printer, 9100, 50000, 200, int64(2*time.Second)))
			}
		}
	}
}

func syncing(u netip.Addr) actor {
	return func(n *Network, r *rand.Rand, hour int64, emit func(Flow)) {
		for range int(4*diurnal[hourOf(n, hour)]*n.opts.Activity + r.Float64()) {
			n.tls(r, within(r, hour), u, "sync.cloud.example", outside(70+r.IntN(6)), int(r.ExpFloat64()*300000), 3000, exponential(r, 30*time.Second), emit)
		}
	}
}

// chatting is a socket that stays open for hours.
func chatting(u netip.Addr) actor {
	return func(n *Network, r *rand.Rand, hour int64, emit func(Flow)) {
		if h := hourOf(n, hour); h == 8 || h == 13 {
			n.tls(r, within(r, hour), u, "chat.example", outside(80), 40000+r.IntN(50000), 90000, int64(3*time.Hour)+exponential(r, time.Hour), emit)
		}
	}
}

// calling is a video call: much both ways.
func calling(u netip.Addr) actor {
	return func(n *Network, r *rand.Rand, hour int64, emit func(Flow)) {
		if h := hourOf(n, hour); h >= 9 && h <= 16 && r.IntN(3) == 0 {
			emit(udp(r, within(r, hour), u, outside(90+r.IntN(8)), 3478, 60_000_000+r.IntN(40_000_000), 80_000_000, int64(25*time.Minute)))
		}
	}
}

// monitoring asks each server and each user's host whether it is there. Hosts that
// are off do not answer.
func monitoring(n *Network, r *rand.Rand, hour int64, emit func(Flow)) {
	for minute := range 12 {
		at := hour + int64(minute)*int64(5*time.Minute) + r.Int64N(int64(time.Second))
		for i, s := range servers {
			emit(ping(at+int64(i)*int64(20*time.Millisecond), monitor, s, true))
			emit(tcp(r, at+int64(i)*int64(30*time.Millisecond), monitor, s, 22, 60, 60, int64(5*time.Millisecond)))
		}
		for i, u := range n.users {
			if minute == 0 && i < 60 {
				emit(ping(at+int64(i)*int64(20*time.Millisecond), monitor, u, i%11 != 3))
			}
		}
	}
}

func backups(n *Network, r *rand.Rand, hour int64, emit func(Flow)) {
	if hourOf(n, hour) != 1 {
		return
	}
	for _, s := range servers {
		emit(tcp(r, within(r, hour), s, backup, 10000, 50_000_000+r.IntN(1_000_000_000), 40000, int64(10*time.Minute)))
	}
	n.tls(r, within(r, hour), backup, "vault.backup.example", outside(99), 800_000_000, 100000, int64(30*time.Minute), emit)
}

// noise is what the Internet always does: single probes of the public server.
func noise(n *Network, r *rand.Rand, hour int64, emit func(Flow)) {
	ports := []uint16{22, 23, 80, 443, 445, 3389, 5060, 8080, 8443, 2222, 5555, 6379}
	for range int(20*n.opts.Activity) + 5 {
		from := outside(40000 + r.IntN(50000))
		p := ports[r.IntN(len(ports))]
		if p == 443 || p == 80 {
			emit(tcp(r, within(r, hour), from, dmz, p, 300, 900, int64(200*time.Millisecond)))
		} else {
			emit(tried(r, within(r, hour), from, dmz, p, r.IntN(3) == 0))
		}
	}
	// Answers to packets that somebody sent with the server's address.
	f := Flow{
		Start: within(r, hour), Orig: netip.AddrPortFrom(outside(95000+r.IntN(1000)), 80), Resp: netip.AddrPortFrom(dmz, port(r)),
		Proto: event.ProtoTCP, State: event.StateOTH, OrigPkts: 1,
	}
	emit(f)
}

// recursion is the resolver at work: many servers, some silent.
func recursion(n *Network, r *rand.Rand, hour int64, emit func(Flow)) {
	for range int(60*n.opts.Activity*diurnal[hourOf(n, hour)]) + 5 {
		s := n.visit(r)
		to := outside(100000 + r.IntN(3000))
		if r.IntN(20) == 0 {
			emit(udp(r, within(r, hour), resolver, to, 53, 60, -1, 0))
			continue
		}
		emit(query(r, within(r, hour), resolver, to, s.name, "A", s.addrs[0].String()))
	}
}

// outage is the file server down for a quarter of an hour: everybody fails at it,
// again and again, and nobody scans.
func outage(n *Network, r *rand.Rand, hour int64, emit func(Flow)) {
	if hourOf(n, hour) != 14 {
		return
	}
	for _, u := range n.users {
		for k := range 4 {
			emit(tried(r, hour+int64(30*time.Minute)+int64(k)*int64(3*time.Minute)+r.Int64N(int64(time.Minute)), u, files, 445, false))
		}
	}
}
