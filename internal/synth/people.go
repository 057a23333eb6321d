package synth

import (
	"net/netip"
	"time"
)

const (
	agent       = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
	agentUpdate = "Microsoft-Delivery-Optimization/10.1"
	agentCrypto = "Microsoft-CryptoAPI/10.0"
	agentNCSI   = "Microsoft NCSI"
)

// person adds what one person's machine does that harms nobody.
func (n *Network) person(u *host) {
	n.browsing(u)
	n.vendor(u)
	n.officeWork(u)
	n.cloud(u)
	if u.i%4 == 0 {
		n.chat(u)
	}
	if u.i%5 == 1 {
		n.calls(u)
	}
	if u.i%9 == 4 {
		n.staleShare(u)
	}
	if u.i%23 == 7 {
		n.speedTest(u)
	}
}

// lookup emits the question for a name and returns when the answer is there, in
// nanoseconds from now.
func (p *process) lookup(after int64, u *host, name string, addrs ...netip.Addr) int64 {
	var answers []string
	for _, a := range addrs {
		answers = append(answers, a.String())
	}
	f := p.query(after, u.v4, dc, name, "A", answers...)
	if u.dual { // asks for both on one socket
		d := f.DNS[0]
		d.At, d.ID, d.Type, d.Answers = int64(30*time.Microsecond), uint16(p.r.Uint32()), "AAAA", nil
		if len(addrs) > 0 {
			d.Answers = []string{out6(addrs[0]).String()}
		}
		f.DNS = append(f.DNS, d)
		f.Duration += d.At
		f.OrigPkts, f.RespPkts, f.OrigData, f.RespData = 2, 2, 2*f.OrigData, 2*f.RespData
	}
	if p.r.IntN(150) == 0 { // the question is lost, and comes again
		lost := p.silence(after, u.v4, dc, 53, 18+len(name), 1)
		lost.DNS = []DNS{{ID: f.DNS[0].ID, Query: name, Type: "A", RCode: unanswered}}
		p.emit(lost)
		f.Start += int64(time.Second)
		after += int64(time.Second)
	}
	p.emit(f)
	return after + f.Duration + int64(time.Millisecond)
}

// tls emits a TLS connection to a named place, after a question for the name in
// one of three cases: else it is remembered.
func (p *process) tls(u *host, name string, to netip.Addr, out, in int, took int64) {
	after := int64(0)
	if p.r.IntN(3) == 0 {
		after = p.lookup(0, u, name, to)
	}
	f := p.tcp(after, u.v4, to, 443, out+700, in+3000, took)
	f.TLS = &TLS{ServerName: name, ALPN: "h2", Resumed: p.r.IntN(3) == 0}
	p.emit(f)
}

// browsing visits sites in sessions.
func (n *Network) browsing(u *host) {
	keen := 0.6 + float64(u.i%5)/5
	pages := 0
	n.spawn(n.start, nil, func(p *process) int64 {
		if pages > 0 {
			p.page(u)
		}
		if pages--; pages > 0 {
			return p.now + int64(time.Second) + exponential(p.r, 25*time.Second)
		}
		at := p.often(1.1 * keen)
		pages = 2 + int(p.r.ExpFloat64()*7)
		return at
	})
}

// page fetches a page with what it embeds.
func (p *process) page(u *host) {
	after := int64(0)
	for range 1 + p.r.IntN(6) {
		p.fetch(after, u, p.visit())
		after += exponential(p.r, 150*time.Millisecond)
	}
	switch p.r.IntN(60) {
	case 0: // a name mistyped, with and without the office's own domain
		name := word(p.r, 3) + ".exampel"
		p.lookup(p.lookup(after, u, name), u, name+".office.example")
	case 1:
		p.lookup(after, u, "wpad.office.example")
	}
}

// fetch makes one connection to a site.
func (p *process) fetch(after int64, u *host, s *site) {
	to, from := s.addrs[p.r.IntN(len(s.addrs))], u.v4
	if p.r.IntN(3) == 0 {
		after = p.lookup(after, u, s.name, s.addrs...)
	}
	if s.v6 && u.dual {
		to, from = out6(to), u.v6
	}
	out, in := 900+int(p.r.ExpFloat64()*2500), 3500+int(p.r.ExpFloat64()*60_000)
	took := int64(80*time.Millisecond) + exponential(p.r, 20*time.Second)
	switch c := p.r.IntN(100); {
	case c == 0: // a server that is down, and another try
		p.emit(p.fail(after, from, to, 443, false, 3))
		p.emit(p.fail(after+int64(250*time.Millisecond), from, s.addrs0(from), 443, false, 3))
	case c == 1:
		p.emit(p.fail(after, from, to, 443, true, 1))
	case c < 6: // without encryption
		p.emit(p.plain(after, from, to, s.name, agent, "/"+word(p.r, 2)+"/"+itoa(p.r.IntN(9000)), 1+p.r.IntN(3), in))
	case s.quic && c < 60:
		f := p.udp(after, from, to, 443, out+1200, in+2400, took)
		f.Service = "quic,ssl"
		f.TLS = &TLS{ServerName: s.name, ALPN: "h3", QUIC: true}
		p.emit(f)
	default:
		f := p.tcp(after, from, to, 443, out, in, took)
		f.TLS = &TLS{ServerName: s.name, ALPN: "h2", Old: s.old, Resumed: p.r.IntN(4) == 0}
		if s.old && p.r.IntN(2) == 0 {
			f.TLS.ALPN = "http/1.1"
		}
		p.emit(f)
	}
}

// addrs0 returns the site's first address, of the same family as from.
func (s *site) addrs0(from netip.Addr) netip.Addr {
	if from.Is4() {
		return s.addrs[0]
	}
	return out6(s.addrs[0])
}

// plain returns a connection with HTTP requests in it.
func (p *process) plain(after int64, from, to netip.Addr, name, agent, uri string, requests, in int) Flow {
	f := p.tcp(after, from, to, 80, 0, 0, 0)
	f.Service = "http"
	at := rtt(to) + int64(time.Millisecond)
	for k := range requests {
		h := HTTP{
			At: at - at%1000, Took: rtt(to) + int64(in/20_000)*int64(time.Millisecond), Method: "GET", Host: name, URI: uri, Agent: agent,
			Status: 200, RespBody: in / requests, MIME: "text/html",
		}
		if k > 0 {
			h.URI, h.MIME = uri+"/img"+itoa(k)+".png", "image/png"
		}
		if p.r.IntN(20) == 0 {
			h.Status, h.RespBody = 404, 153
		}
		f.OrigData += 280 + len(h.URI)
		f.RespData += 240 + h.RespBody
		f.HTTP = append(f.HTTP, h)
		at += h.Took + exponential(p.r, 200*time.Millisecond)
	}
	f.Duration = at + int64(20*time.Millisecond)
	f.OrigPkts, f.RespPkts = 4+requests+f.RespData/2896, 3+requests+f.RespData/1448
	return f
}

// vendor is what the makers of a machine's software have it do: clocks, updates,
// telemetry at a true period (as in recorded days), checks of the connection.
func (n *Network) vendor(u *host) {
	telemetry := []string{"v10.events.data.microsoft.com", "settings-win.data.microsoft.com", "self.events.data.microsoft.com"}
	n.every(2048*time.Second, 0.01, func(p *process) {
		if p.up(u, p.now) {
			p.emit(p.udp(0, u.v4, dc, 123, 48, 48, 0))
		}
	})
	n.every(900200*time.Millisecond, 0.00002, func(p *process) {
		if p.up(u, p.now) {
			name := telemetry[u.i%2]
			p.tls(u, name, place(name, 0), 900+p.r.IntN(300), 900, int64(400*time.Millisecond))
		}
	})
	n.every(1680*time.Second, 0.00005, func(p *process) {
		if p.up(u, p.now) {
			p.tls(u, telemetry[2], place(telemetry[2], u.i%3), 300, 500, int64(200*time.Millisecond))
		}
	})
	n.every(22*time.Hour, 0.08, func(p *process) {
		if !p.up(u, p.now) {
			return
		}
		p.tls(u, "fe3cr.delivery.mp.microsoft.com", place("fe3cr", u.i%2), 9000, 40_000, int64(9*time.Second))
		if p.r.IntN(4) == 0 {
			name := "au.download.windowsupdate.com"
			p.emit(p.plain(int64(12*time.Second), u.v4, place(name, p.r.IntN(3)), name, agentUpdate, "/d/msdownload/update/software/secu/2026/"+word(p.r, 4)+".cab", 1, 2_000_000+int(p.r.ExpFloat64()*40_000_000)))
		}
	})
	n.spawn(n.start+u.on, nil, func(p *process) int64 { // the machine looks whether it is online, and at revocation lists
		if p.up(u, p.now) && !weekend(p.now) {
			name := "www.msftconnecttest.com"
			p.emit(p.plain(p.lookup(0, u, name, place(name, 0)), u.v4, place(name, 0), name, agentNCSI, "/connecttest.txt", 1, 22))
			name = "ctldl.windowsupdate.com"
			p.emit(p.plain(int64(3*time.Second), u.v4, place(name, 0), name, agentCrypto, "/msdownload/update/v3/static/trustedr/en/disallowedcertstl.cab", 1, 7400))
		}
		return p.now + dayNs
	})
}

// officeWork is Active Directory, shares, mail and printing.
func (n *Network) officeWork(u *host) {
	n.habit(1.5, func(p *process) {
		p.logon(u)
	})
	n.habit(4, func(p *process) {
		p.emit(p.tcp(0, u.v4, files, 445, 3000+p.r.IntN(30_000), 8000+int(p.r.ExpFloat64()*400_000), exponential(p.r, 90*time.Second)))
	})
	n.habit(0.3, func(p *process) {
		p.emit(p.tcp(0, u.v4, printers[u.i%len(printers)], 9100, 40_000+int(p.r.ExpFloat64()*300_000), 200, int64(4*time.Second)))
	})
	n.every(15*time.Minute, 0.01, func(p *process) {
		if p.up(u, p.now) {
			f := p.tcp(0, u.v4, mail, 993, 1400, 5200+int(p.r.ExpFloat64()*9000), int64(300*time.Millisecond))
			f.TLS = &TLS{ServerName: "mail.office.example", Old: true, Resumed: true}
			p.emit(f)
		}
	})
}

// logon gets tickets and reads the directory.
func (p *process) logon(u *host) {
	after := int64(0)
	if p.r.IntN(2) == 0 {
		f := p.query(0, u.v4, dc, "_ldap._tcp.dc._msdcs.office.example", "SRV", "dc.office.example")
		p.emit(f)
		after = f.Duration + int64(time.Millisecond)
	}
	p.emit(p.tcp(after, u.v4, dc, 88, 1500, 1600, int64(3*time.Millisecond)))
	p.emit(p.tcp(after+int64(6*time.Millisecond), u.v4, dc, 389, 2200, 5000+p.r.IntN(9000), int64(30*time.Millisecond)))
	if p.r.IntN(3) == 0 {
		p.emit(p.tcp(after+int64(50*time.Millisecond), u.v4, dc, 445, 4000, 6000, int64(10*time.Second)))
	}
}

// cloud keeps files in step with a store outside.
func (n *Network) cloud(u *host) {
	name := []string{"client.dropbox.com", "office-my.sharepoint.com", "drive.google.com"}[u.i%3]
	n.habit(3, func(p *process) {
		out := int(p.r.ExpFloat64() * 250_000)
		if p.r.IntN(60) == 0 {
			out += int(p.r.ExpFloat64() * 60_000_000) // somebody put a video there
		}
		p.tls(u, name, place(name, p.r.IntN(5)), out, 4000+p.r.IntN(20_000), int64(time.Second)+int64(out/5_000_000)*int64(time.Second)+exponential(p.r, 20*time.Second))
	})
}

// chat is a socket that stays open for hours, and a presence at a true period.
func (n *Network) chat(u *host) {
	n.spawn(n.start+u.on, nil, func(p *process) int64 {
		if !p.up(u, p.now) {
			return p.now + hourNs
		}
		took := int64(time.Hour) + exponential(p.r, 3*time.Hour)
		name := "wss-primary.slack.com"
		p.tls(u, name, place(name, 0), int(took/1e9)*6, int(took/1e9)*14, took)
		return p.now + took + between(p.r, time.Second, 40*time.Second)
	})
	n.every(300100*time.Millisecond, 0.00003, func(p *process) {
		if p.up(u, p.now) {
			name := "presence.teams.microsoft.com"
			p.tls(u, name, place(name, 0), 600, 400, int64(250*time.Millisecond))
		}
	})
}

// calls are video calls: much both ways.
func (n *Network) calls(u *host) {
	n.habit(0.4, func(p *process) {
		took := int64(5*time.Minute) + exponential(p.r, 25*time.Minute)
		to, bytes := place("media.teams", p.r.IntN(12)), int(took/1e9)
		p.tls(u, "teams.microsoft.com", place("teams.microsoft.com", 0), 4000, 9000, took)
		p.emit(p.udp(int64(300*time.Millisecond), u.v4, to, 3478, 400, 500, int64(90*time.Millisecond)))
		p.emit(p.udp(int64(800*time.Millisecond), u.v4, to, 3480, bytes*(150_000+p.r.IntN(50_000)), bytes*(150_000+p.r.IntN(120_000)), took))
	})
}

// staleShare is a drive that is mapped to a server long gone.
func (n *Network) staleShare(u *host) {
	gone := inside(0, 99)
	n.spawn(n.start+u.on, nil, func(p *process) int64 {
		if p.up(u, p.now) {
			p.emit(p.fail(0, u.v4, gone, 445, false, 3))
		}
		return p.now + int64(5*time.Minute) + exponential(p.r, 10*time.Minute)
	})
}

// speedTest sends much to a popular place.
func (n *Network) speedTest(u *host) {
	n.habit(0.1, func(p *process) {
		for k := range 6 {
			p.emit(p.tcp(int64(k)*int64(30*time.Millisecond), u.v4, place("speedtest.example", k%2), 8080, 25_000_000+p.r.IntN(20_000_000), 40_000, int64(12*time.Second)))
		}
	})
}
