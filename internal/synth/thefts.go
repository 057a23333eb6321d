package synth

import (
	"net/netip"
	"time"
)

var exfiltrationVariants = []variant{
	{"bulk", func(n *Network, in *instance) {
		n.upload(in, n.takeOver(in).v4, n.at(in, 19), "up"+itoa(in.index)+".drop-store.example", in.outsider(0), 1, time.Minute, pick(in, 2_000_000_000, 300_000_000, 28_000_000))
	}},
	{"address", func(n *Network, in *instance) {
		n.upload(in, n.takeOver(in).v4, n.at(in, 20), "", in.outsider(0), 2, 10*time.Minute, pick(in, 500_000_000, 80_000_000, 10_000_000))
	}},
	{"split", func(n *Network, in *instance) {
		from := n.takeOver(in).v4
		for k := range 20 {
			n.upload(in, from, n.at(in, 17)+int64(k)*int64(2*time.Minute), "", in.outsider(k), 1, time.Minute, pick(in, 100_000_000, 10_000_000, 1_500_000))
		}
	}},
	{"slow", func(n *Network, in *instance) {
		gap := 15 * time.Minute
		in.lasts(time.Duration(n.end - n.start))
		n.upload(in, n.takeOver(in).v4, n.at(in, 0.3), "api"+itoa(in.index)+".telemetry-hub.example", in.outsider(0), int((n.end-n.start)/int64(gap)), gap, pick(in, 8_000_000, 1_500_000, 250_000))
	}},
	{"one-connection", func(n *Network, in *instance) {
		from, to, size := n.takeOver(in).v4, in.outsider(0), pick(in, 3_000_000_000, 400_000_000, 40_000_000)
		in.Destinations = []string{to.String()}
		n.repeat(in, n.at(in, 9), 1, time.Minute, func(p *process, _ int) {
			p.emit(p.tcp(0, from, to, 443, size, size/600, int64(9*time.Hour)))
		})
	}},
	{"dns-fast", func(n *Network, in *instance) {
		in.Detector = "dns_tunnel"
		n.tunnel(in, n.takeOver(in), n.at(in, 12), channel{zone: "x" + itoa(in.index) + ".up-stream.example", kind: "A", count: pick(in, 6000, 1500, 300), gap: pick(in, 50*time.Millisecond, 200*time.Millisecond, time.Second), up: pick(in, 160, 100, 50)})
	}},
	{"dns-slow", func(n *Network, in *instance) {
		in.Detector = "dns_tunnel"
		gap := pick(in, 20*time.Second, time.Minute, 5*time.Minute)
		in.lasts(time.Duration(n.end - n.start))
		n.tunnel(in, n.takeOver(in), n.at(in, 0.4), channel{zone: "y" + itoa(in.index) + ".cdn-note.example", kind: "A", count: int((n.end - n.start) / int64(gap)), gap: gap, up: pick(in, 120, 60, 30)})
	}},
}

// upload sends data out so many times.
func (n *Network) upload(in *instance, from netip.Addr, first int64, name string, to netip.Addr, times int, gap time.Duration, size int) {
	in.Destinations = append(in.Destinations, to.String())
	if name != "" {
		in.Destinations = append(in.Destinations, name)
	}
	n.repeat(in, first, times, gap, func(p *process, _ int) {
		f := p.tcp(0, from, to, 443, size+p.r.IntN(size/10+1), 3000+size/400, int64(size/4_000_000)*int64(time.Second)+int64(time.Second))
		f.TLS = &TLS{ServerName: name, Old: true, SelfSigned: name == ""}
		p.emit(f)
	})
}

var bruteVariants = []variant{
	{"ssh", func(n *Network, in *instance) { n.brute(in, false) }},
	{"ssh-success", func(n *Network, in *instance) { n.brute(in, true) }},
	{"ssh-inside", func(n *Network, in *instance) {
		from := n.takeOver(in).v4
		n.guess(in, from, app, n.at(in, 14), false)
	}},
}

// brute guesses passwords of the gateway from outside.
func (n *Network) brute(in *instance, success bool) {
	from := in.outsider(0)
	in.Sources = []string{from.String()}
	n.guess(in, from, gateway, n.at(in, 2), success)
}

// guess tries passwords. The size of a failed try and its duration are those of
// recorded ones; who is in stays.
func (n *Network) guess(in *instance, from, to netip.Addr, first int64, success bool) {
	count := pick(in, 400, 60, 12)
	in.Destinations, in.Ports = []string{to.String()}, []uint16{22}
	n.repeat(in, first, count, pick(in, 3*time.Second, 30*time.Second, 5*time.Minute), func(p *process, i int) {
		out, back, took := 1250+p.r.IntN(200), 1694+p.r.IntN(90), between(p.r, 2*time.Second, 5*time.Second)
		if success && i == count-1 {
			out, back, took = 40_000, 90_000, int64(20*time.Minute)
		}
		p.emit(p.tcp(0, from, to, 22, out, back, took))
	})
}

var longVariants = []variant{
	{"tls", func(n *Network, in *instance) { n.stay(in, 443, "relay"+itoa(in.index)+".example") }},
	{"raw", func(n *Network, in *instance) { n.stay(in, 4444, "") }},
}

// stay holds one connection for hours.
func (n *Network) stay(in *instance, port uint16, name string) {
	from, to, took := n.takeOver(in).v4, in.outsider(0), pick(in, 20*time.Hour, 9*time.Hour, 5*time.Hour)
	in.Destinations, in.Ports = []string{to.String()}, []uint16{port}
	if name != "" {
		in.Destinations = append(in.Destinations, name)
	}
	n.repeat(in, n.at(in, 2), 1, time.Minute, func(p *process, _ int) {
		f := p.tcp(0, from, to, port, int(took.Seconds())*40, int(took.Seconds())*30, int64(took))
		if name != "" {
			f.TLS = &TLS{ServerName: name, Old: true, SelfSigned: true}
		}
		p.emit(f)
	})
}

var lateralVariants = []variant{
	{"smb", func(n *Network, in *instance) {
		n.lateral(in, n.takeOver(in).v4, n.at(in, 16), pick(in, 20, 8, 3), pick(in, 20*time.Second, 5*time.Minute, time.Hour), []uint16{445, 135})
	}},
	{"remote", func(n *Network, in *instance) {
		n.lateral(in, n.takeOver(in).v4, n.at(in, 15), pick(in, 20, 8, 3), pick(in, 20*time.Second, 5*time.Minute, time.Hour), []uint16{3389, 5985, 22})
	}},
}

// lateral logs on to machines that this one never talked to, and they answer.
func (n *Network) lateral(in *instance, from netip.Addr, first int64, count int, gap time.Duration, ports []uint16) {
	in.Destinations, in.Ports = []string{"10.20.0.0/16"}, ports
	n.repeat(in, first, count, gap, func(p *process, i int) {
		to := p.users[(i*5+in.index)%len(p.users)].v4
		if to == from {
			to = app
		}
		p.emit(p.tcp(0, from, to, ports[i%len(ports)], 40_000+p.r.IntN(30_000), 9000+p.r.IntN(9000), between(p.r, 10*time.Second, 2*time.Minute)))
	})
}
