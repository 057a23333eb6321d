package synth

import (
	"net/netip"
	"time"
)

// office adds what the servers and devices of the office do.
func (n *Network) office() {
	n.monitoring()
	n.backups()
	n.recursion()
	n.crawler()
	n.workers()
	n.mailing()
	n.devices()
	n.outage()
}

// size is how much servers have to do, for the number of people that they serve.
func (n *Network) size() float64 { return 0.1 + float64(n.opts.Hosts)/60 }

// monitoring asks each server, and by day some desks, whether they are there.
func (n *Network) monitoring() {
	checks := []struct {
		to   netip.Addr
		port uint16
	}{{dc, 389}, {files, 445}, {mail, 25}, {mail, 993}, {proxy, 3128}, {app, 8443}, {web, 443}, {web, 80}, {gateway, 443}, {backup, 10000}}
	n.every(15*time.Minute, 0, func(p *process) {
		for i, s := range servers {
			p.emit(p.ping(int64(i)*int64(20*time.Millisecond), monitor, s, p.r.IntN(500) > 0))
		}
		for i, c := range checks {
			p.emit(p.tcp(int64(i)*int64(30*time.Millisecond), monitor, c.to, c.port, 60, 120, int64(5*time.Millisecond)))
		}
	})
	n.every(time.Hour, 0, func(p *process) { // what is on people's desks is counted while they are there
		if h := (p.now - p.start) % dayNs / hourNs; h < 9 || h >= 16 || weekend(p.now) {
			return
		}
		for i, u := range p.users {
			if i >= 60 {
				break
			}
			p.emit(p.ping(int64(i)*int64(20*time.Millisecond), monitor, u.v4, p.up(u, p.now) && p.r.IntN(25) > 0))
		}
	})
	for _, s := range servers {
		n.every(2048*time.Second, 0.01, func(p *process) {
			to := inNet(peersNet, 100+int(s.As4()[3])%6)
			if p.r.IntN(60) == 0 {
				p.emit(p.silence(0, s, to, 123, 48, 1))
				return
			}
			p.emit(p.udp(0, s, to, 123, 48, 48, 0))
		})
	}
}

// backups run at night, and go out to a vault.
func (n *Network) backups() {
	nightly := func(i int, do func(p *process)) {
		n.spawn(n.start+int64(time.Hour)+int64(i)*int64(11*time.Minute), nil, func(p *process) int64 {
			do(p)
			return p.now + dayNs + between(p.r, 0, 40*time.Second)
		})
	}
	for i, s := range servers[:6] {
		nightly(i, func(p *process) {
			p.emit(p.tcp(0, s, backup, 10000, 50_000_000+int(p.r.ExpFloat64()*700_000_000), 40_000, int64(9*time.Minute)))
		})
	}
	nightly(9, func(p *process) {
		name := "s3.eu-central-1.amazonaws.com"
		for k := range 4 {
			f := p.tcp(int64(k)*int64(2*time.Second), backup, place(name, k), 443, 180_000_000+p.r.IntN(30_000_000), 60_000, int64(14*time.Minute))
			f.TLS = &TLS{ServerName: name, Old: true}
			p.emit(f)
		}
	})
}

// recursion is the resolver at work: many servers outside, some silent.
func (n *Network) recursion() {
	n.habit(120*n.size(), func(p *process) {
		s := p.visit()
		to := inNet(peersNet, 1000+p.r.IntN(6000))
		if p.r.IntN(30) == 0 {
			f := p.silence(0, resolver, to, 53, 40+len(s.name), 1)
			f.DNS = []DNS{{ID: uint16(p.r.Uint32()), Query: s.name, Type: "A", RCode: unanswered}}
			p.emit(f)
			return
		}
		p.emit(p.query(0, resolver, to, s.name, "A", s.addrs[0].String()))
	})
	n.habit(25*n.size(), func(p *process) { // what the clients' resolver does not know it asks there
		s := p.visit()
		p.emit(p.query(0, dc, resolver, s.name, "A", s.addrs[0].String()))
	})
}

// crawler is the proxy that looks at whatever mails link to: hundreds of places
// that it has never seen, a tenth of them gone.
func (n *Network) crawler() {
	n.habit(50*n.size(), func(p *process) {
		to := inNet(sitesNet, p.r.IntN(1<<15))
		switch p.r.IntN(20) {
		case 0:
			p.emit(p.fail(0, proxy, to, 443, p.r.IntN(2) == 0, 3))
		case 1:
			p.emit(p.fail(0, proxy, to, 80, false, 3))
		case 2, 3, 4:
			name := word(p.r, 4) + ".example"
			p.emit(p.query(0, proxy, dc, name, "A", to.String()))
			p.emit(p.plain(int64(40*time.Millisecond), proxy, to, name, "Mozilla/5.0 (compatible; LinkCheck/2.1)", "/"+word(p.r, 3), 1, 3000+p.r.IntN(60_000)))
		default:
			f := p.tcp(0, proxy, to, 443, 1500, 9000+p.r.IntN(90_000), int64(time.Second))
			f.TLS = &TLS{ServerName: word(p.r, 4) + ".example", Old: p.r.IntN(3) == 0}
			p.emit(f)
		}
	})
}

// workers is an application that gives work to machines which answer always,
// except while their rack has no power: from 15:00 to 15:30 of the first day it
// fails at all of them, again and again.
func (n *Network) workers() {
	down := n.start + int64(15*time.Hour)
	n.every(15*time.Minute, 0.01, func(p *process) {
		off := p.now >= down && p.now < down+int64(30*time.Minute)
		for i := range workerCount {
			after := int64(i) * int64(7*time.Millisecond)
			if off {
				p.emit(p.fail(after, app, worker(i), 8443, false, 3))
			} else {
				p.emit(p.tcp(after, app, worker(i), 8443, 4000+p.r.IntN(9000), 2500+p.r.IntN(90_000), exponential(p.r, 8*time.Second)))
			}
		}
	})
}

// mailing is mail out to, and in from, servers all over the Internet.
func (n *Network) mailing() {
	n.habit(30*n.size(), func(p *process) {
		to := inNet(peersNet, 9000+p.r.IntN(2500))
		p.emit(p.query(0, mail, dc, word(p.r, 3)+".example", "MX", "mx."+word(p.r, 3)+".example"))
		switch p.r.IntN(12) {
		case 0:
			p.emit(p.fail(int64(50*time.Millisecond), mail, to, 25, p.r.IntN(3) > 0, 3))
		default:
			p.emit(p.tcp(int64(50*time.Millisecond), mail, to, 25, 4000+int(p.r.ExpFloat64()*120_000), 900, int64(2*time.Second)))
		}
	})
	n.habit(50*n.size(), func(p *process) {
		p.emit(p.tcp(0, inNet(peersNet, 9000+p.r.IntN(2500)), mail, 25, 4000+int(p.r.ExpFloat64()*90_000), 1100, int64(3*time.Second)))
	})
}

// devices are printers, cameras and the like: they tell everybody that they are
// there, and hold one connection to their makers.
func (n *Network) devices() {
	for i := range 6 {
		camera := inside(8, byte(60+i))
		n.every(10*time.Minute, 0.1, func(p *process) {
			f := p.silence(0, camera, netip.AddrFrom4([4]byte{224, 0, 0, 251}), 5353, 120, 1)
			f.Orig, f.Service = netip.AddrPortFrom(camera, 5353), "dns"
			p.emit(f)
		})
		n.spawn(n.start+int64(i)*int64(3*time.Minute), nil, func(p *process) int64 { // what it sees goes to the recorder
			took := int64(6*time.Hour) + between(p.r, 0, time.Minute)
			p.emit(p.tcp(0, camera, recorder, 554, int(took/1e9)*160_000, int(took/1e9)*900, took))
			return p.now + took + int64(2*time.Second)
		})
		n.spawn(n.start+int64(i)*int64(5*time.Minute), nil, func(p *process) int64 {
			took := int64(20*time.Hour) + between(p.r, 0, 3*time.Hour)
			f := p.tcp(0, camera, place("mqtt.camera", i%2), 8883, int(took/1e9), int(took/1e9)/2, took)
			f.TLS = &TLS{ServerName: "mqtt.iot-camera.example", Old: true}
			p.emit(f)
			return p.now + took + int64(3*time.Second)
		})
	}
	for i, pr := range printers {
		n.every(15*time.Minute, 0.05, func(p *process) {
			f := p.silence(0, pr, netip.AddrFrom4([4]byte{239, 255, 255, 250}), 1900, 300, 3)
			p.emit(f)
		})
		n.every(12*time.Hour, 0.02, func(p *process) {
			f := p.tcp(0, pr, place("supplies.printer", i), 443, 4000, 6000, int64(800*time.Millisecond))
			f.TLS = &TLS{ServerName: "supplies.printer.example", Old: true}
			p.emit(f)
		})
	}
}

// outage is the file server down for a quarter of an hour, each day at half past
// two: everybody fails at it, again and again, and nobody scans.
func (n *Network) outage() {
	n.spawn(n.start+int64(14*time.Hour+30*time.Minute), nil, func(p *process) int64 {
		for _, u := range p.users {
			if !p.up(u, p.now) {
				continue
			}
			for k := range 4 {
				p.emit(p.fail(int64(k)*int64(3*time.Minute)+between(p.r, 0, time.Minute), u.v4, files, 445, false, 3))
			}
		}
		return p.now + dayNs
	})
}

// internet adds what comes from outside: customers, noise, and answers to packets
// that somebody sent with the office's addresses.
func (n *Network) internet() {
	n.habit(70*n.size(), func(p *process) { // the web site has visitors
		from := inNet(peersNet, 12_000+p.r.IntN(18_000))
		for k := range 1 + p.r.IntN(4) {
			f := p.tcp(int64(k)*int64(90*time.Millisecond), from, web, 443, 1500, 20_000+int(p.r.ExpFloat64()*80_000), exponential(p.r, 10*time.Second))
			f.TLS = &TLS{ServerName: "www.office.example", ALPN: "h2"}
			p.emit(f)
		}
	})
	ports := []uint16{22, 23, 80, 443, 445, 1433, 2222, 3389, 5060, 5555, 6379, 8080, 8443, 8728, 9200, 27017}
	steady := func(perHour float64, do func(p *process)) {
		n.spawn(n.start, nil, func(p *process) int64 {
			do(p)
			return p.now + 1 + exponential(p.r, time.Duration(float64(time.Hour)/(perHour*p.opts.Activity)))
		})
	}
	steady(60, func(p *process) { // single probes, each from somebody else
		from, to, port := inNet(noiseNet, p.r.IntN(4000)), dmz[p.r.IntN(len(dmz))], ports[p.r.IntN(len(ports))]
		switch {
		case port == 5060:
			p.emit(p.silence(0, from, to, port, 400, 1))
		case to == web && (port == 80 || port == 443):
			p.emit(p.probe(0, from, to, port))
		default:
			p.emit(p.fail(0, from, to, port, p.r.IntN(3) == 0, 1))
		}
	})
	steady(0.4, func(p *process) { // those who knock at every door
		from, port := inNet(noiseNet, p.r.IntN(4000)), ports[p.r.IntN(len(ports))]
		for i, to := range dmz {
			p.emit(p.fail(int64(i)*between(p.r, 100*time.Millisecond, 4*time.Second), from, to, port, false, 1))
		}
	})
	steady(6, func(p *process) {
		f := p.fail(0, inNet(peersNet, 31_000+p.r.IntN(500)), dmz[p.r.IntN(len(dmz))], clientPort(p.r), false, 1)
		f.Orig, f.Backscatter = netip.AddrPortFrom(f.Orig.Addr(), ports[p.r.IntN(4)]), true
		f.State = 0
		p.emit(f)
	})
}
