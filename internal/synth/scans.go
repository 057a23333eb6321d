package synth

import (
	"net/netip"
	"time"

	"tidewatch/event"
)

var scanVariants = []variant{
	{"horizontal", func(n *Network, in *instance) {
		n.scanHosts(in, n.takeOver(in).v4, n.at(in, 9), 445, pick(in, 254, 100, 40), pick(in, 50*time.Millisecond, time.Second, 20*time.Second), pick(in, 0.02, 0.1, 0.25))
	}},
	{"outbound", func(n *Network, in *instance) {
		n.scanOutbound(in, n.takeOver(in).v4, n.at(in, 11), 23, pick(in, 600, 100, 40), pick(in, 20*time.Millisecond, time.Second, 20*time.Second), 0.03)
	}},
	{"inbound", func(n *Network, in *instance) {
		n.scanInbound(in, n.at(in, 3), 3389, pick(in, 254, 100, 40), pick(in, 30*time.Millisecond, time.Second, 30*time.Second))
	}},
	{"vertical", func(n *Network, in *instance) {
		n.scanPorts(in, n.takeOver(in).v4, files, n.at(in, 13), event.ProtoTCP, pick(in, 1000, 100, 40), pick(in, 20*time.Millisecond, time.Second, 20*time.Second))
	}},
	{"inbound-vertical", func(n *Network, in *instance) {
		from := in.outsider(0)
		in.Sources = append(in.Sources, from.String())
		n.scanPorts(in, from, gateway, n.at(in, 4), event.ProtoTCP, pick(in, 1000, 100, 40), pick(in, 20*time.Millisecond, time.Second, 20*time.Second))
	}},
	{"block", func(n *Network, in *instance) {
		n.scanBlock(in, n.takeOver(in).v4, n.at(in, 10), pick(in, 60, 16, 8), pick(in, 12, 8, 6), pick(in, 20*time.Millisecond, time.Second, 20*time.Second))
	}},
	{"sweep", func(n *Network, in *instance) {
		n.scanEcho(in, n.takeOver(in).v4, n.at(in, 12), pick(in, 254, 80, 30), pick(in, 20*time.Millisecond, 500*time.Millisecond, 20*time.Second), pick(in, 0.05, 0.15, 0.25))
	}},
	{"udp", func(n *Network, in *instance) {
		n.scanUDP(in, n.takeOver(in).v4, n.at(in, 14), 161, pick(in, 254, 80, 30), pick(in, 20*time.Millisecond, 500*time.Millisecond, 20*time.Second), pick(in, 0.02, 0.05, 0.15))
	}},
	{"udp-vertical", func(n *Network, in *instance) {
		n.scanPorts(in, n.takeOver(in).v4, app, n.at(in, 15), event.ProtoUDP, pick(in, 500, 80, 40), pick(in, 50*time.Millisecond, time.Second, 20*time.Second))
	}},
	{"slow", func(n *Network, in *instance) { // as long as the days last
		gap := pick(in, 5*time.Minute, 10*time.Minute, 20*time.Minute)
		in.lasts(time.Duration(n.end - n.start))
		n.scanHosts(in, n.takeOver(in).v4, n.at(in, 0.2), 22, int((n.end-n.start)/int64(gap)), gap, pick(in, 0, 0.05, 0.1))
	}},
	{"distributed", func(n *Network, in *instance) {
		n.scanDistributed(in, n.at(in, 16+float64(in.level)), dmz[2+in.level], pick(in, 500, 200, 80), pick(in, 100*time.Millisecond, time.Second, 3*time.Second))
	}},
}

// target returns the i-th address that a scan inside tries: four office networks
// that are mostly empty, in an order of its own.
func (in *instance) target(i int) netip.Addr {
	v := (i*167 + in.index*389) % 1016 // 167 and 1016 have no common factor: every address comes once
	return inside(byte(14+v/254), byte(1+v%254))
}

// door tries a port. Where it answers, half of the scanners reset the connection
// and half make it.
func (p *process) door(from, to netip.Addr, port uint16, answered float64) {
	switch x := p.r.Float64(); {
	case x >= answered:
		p.emit(p.fail(0, from, to, port, p.r.IntN(5) == 0, 1+p.r.IntN(2)))
	case p.in.Difficulty == levels[2]:
		p.emit(p.tcp(0, from, to, port, 300, 400, 0))
	default:
		p.emit(p.probe(0, from, to, port))
	}
}

// scanHosts tries one port of many hosts inside.
func (n *Network) scanHosts(in *instance, from netip.Addr, first int64, port uint16, count int, gap time.Duration, answered float64) {
	in.Destinations, in.Ports = []string{"10.20.0.0/16"}, []uint16{port}
	n.repeat(in, first, count, gap, func(p *process, i int) { p.door(from, in.target(i), port, answered) })
}

// scanOutbound tries one port all over the Internet.
func (n *Network) scanOutbound(in *instance, from netip.Addr, first int64, port uint16, count int, gap time.Duration, answered float64) {
	in.Destinations, in.Ports = []string{victimNet.String()}, []uint16{port}
	n.repeat(in, first, count, gap, func(p *process, i int) { p.door(from, inNet(victimNet, in.index*613+i*7), port, answered) })
}

// scanInbound tries one port of every address that the office has outside. The
// gateway answers.
func (n *Network) scanInbound(in *instance, first int64, port uint16, count int, gap time.Duration) {
	from := in.outsider(0)
	in.Sources, in.Destinations, in.Ports = []string{from.String()}, []string{"10.20.9.0/24"}, []uint16{port}
	n.repeat(in, first, count, gap, func(p *process, i int) {
		to, answered := inside(9, byte(1+i%254)), 0.0
		if to == gateway {
			answered = 1
		}
		p.door(from, to, port, answered)
	})
}

// scanPorts tries many ports of one host. What it serves answers.
func (n *Network) scanPorts(in *instance, from, to netip.Addr, first int64, proto event.Proto, count int, gap time.Duration) {
	in.Destinations = []string{to.String()}
	n.repeat(in, first, count, gap, func(p *process, i int) {
		port := uint16(1 + (i*389+in.index*31)%1024) // 389 is odd: every port comes once
		switch {
		case proto == event.ProtoUDP && port == 123:
			p.emit(p.udp(0, from, to, port, 48, 48, 0))
		case proto == event.ProtoUDP:
			p.emit(p.silence(0, from, to, port, 40, 1))
		case port == 443 || port == 445 || port == 139:
			p.emit(p.probe(0, from, to, port))
		default:
			p.emit(p.fail(0, from, to, port, p.r.IntN(3) > 0, 1))
		}
	})
}

// scanBlock tries several ports of several hosts.
func (n *Network) scanBlock(in *instance, from netip.Addr, first int64, hosts, ports int, gap time.Duration) {
	all := []uint16{22, 80, 135, 139, 443, 445, 1433, 3306, 3389, 5900, 5985, 8080}[:ports]
	in.Destinations, in.Ports = []string{"10.20.0.0/16"}, all
	n.repeat(in, first, hosts*ports, gap, func(p *process, i int) { p.door(from, in.target(i/ports), all[i%ports], 0.08) })
}

// scanEcho pings many hosts.
func (n *Network) scanEcho(in *instance, from netip.Addr, first int64, count int, gap time.Duration, answered float64) {
	in.Destinations = []string{"10.20.0.0/16"}
	n.repeat(in, first, count, gap, func(p *process, i int) {
		p.emit(p.ping(0, from, in.target(i), p.r.Float64() < answered))
	})
}

// scanUDP sends one datagram to a port of many hosts.
func (n *Network) scanUDP(in *instance, from netip.Addr, first int64, port uint16, count int, gap time.Duration, answered float64) {
	in.Destinations, in.Ports = []string{"10.20.0.0/16"}, []uint16{port}
	n.repeat(in, first, count, gap, func(p *process, i int) {
		if p.r.Float64() < answered {
			p.emit(p.udp(0, from, in.target(i), port, 43, 90, int64(4*time.Millisecond)))
			return
		}
		p.emit(p.silence(0, from, in.target(i), port, 43, 1))
	})
}

// scanDistributed is one host tried by many, each once or twice.
func (n *Network) scanDistributed(in *instance, first int64, to netip.Addr, count int, gap time.Duration) {
	in.Sources, in.Destinations = []string{botsNet.String()}, []string{to.String()}
	n.repeat(in, first, count, gap, func(p *process, i int) {
		p.emit(p.fail(0, inNet(botsNet, in.index*1009+i*3), to, uint16(1+p.r.IntN(2000)), p.r.IntN(3) == 0, 1))
	})
}
