package synth

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"tidewatch/internal/eval"
)

// plan adds an attack: its flows, and what is true of them.
func (n *Network) plan(in eval.Instance, flows []Flow) {
	if len(flows) == 0 {
		return
	}
	slices.SortStableFunc(flows, func(a, b Flow) int { return int(min(max(a.Start-b.Start, -1), 1)) })
	last := flows[len(flows)-1]
	in.Start = time.Unix(0, flows[0].Start).UTC().Truncate(time.Microsecond)
	in.End = time.Unix(0, last.Start+last.Duration).UTC().Truncate(time.Microsecond)
	in.Records = len(flows)
	n.truth.Instances = append(n.truth.Instances, in)
	at := 0
	n.act(func(_ *Network, _ *rand.Rand, hour int64, emit func(Flow)) {
		for ; at < len(flows) && flows[at].Start < hour+hourNs; at++ {
			emit(flows[at])
		}
	})
}

// after returns a time so far into the first day.
func (n *Network) after(d time.Duration) int64 { return n.opts.Start.Add(d).UnixNano() }

// story is a day of one intrusion: somebody outside looks around, a host inside
// calls home, looks for shares, tunnels through DNS and sends data out.
func (n *Network) story() {
	r := n.rand(900_001, 0)
	victim, slow := n.users[3%len(n.users)], n.users[7%len(n.users)]
	n.plan(scan("scan-outside", "horizontal", "easy", outside(50_001)), n.inboundSweep(r, outside(50_001), 3389, n.after(5*time.Hour), time.Second))
	n.plan(beacon("beacon", "name", "medium", victim, outside(60_001)), n.beacon(r, victim, outside(60_001), "cdn-status.example", n.after(9*time.Hour), n.after(24*time.Hour), 5*time.Minute, 0.2, 0.05))
	n.plan(scan("scan-shares", "horizontal", "medium", victim), n.horizontal(r, victim, 445, 90, n.after(10*time.Hour+17*time.Minute), 700*time.Millisecond, 0.06))
	n.plan(scan("scan-slow", "slow", "hard", slow), n.horizontal(r, slow, 22, 24, n.after(7*time.Hour), 24*time.Minute, 0))
	n.plan(tunnel("dns-tunnel", "easy", victim, "t.metrics-edge.example"), n.dnsTunnel(r, victim, "t.metrics-edge.example", n.after(13*time.Hour), 400, 3*time.Second))
	n.plan(eval.Instance{ID: "exfiltration", Detector: "exfiltration", Variant: "bulk", Difficulty: "easy", Sources: texts(victim), Destinations: []string{outside(60_002).String()}},
		n.upload(r, victim, outside(60_002), "drop.example", n.after(19*time.Hour), 3, 60_000_000))
}

// grid is each kind of attack in three difficulties, by hosts of their own while
// there are enough.
func (n *Network) grid() {
	r := n.rand(900_002, 0)
	next := 0
	host := func() netip.Addr { next++; return n.users[(next*7)%len(n.users)] }
	levels := []struct {
		name   string
		gap    time.Duration // between probes
		count  int
		opened float64 // share of targets that answer
	}{
		{"easy", 50 * time.Millisecond, 250, 0}, {"medium", 4 * time.Second, 60, 0.05}, {"hard", 3 * time.Minute, 25, 0.1},
	}
	for i, l := range levels {
		at := func(h float64) int64 { return n.after(time.Duration((h + float64(i)*4) * float64(time.Hour))) }
		id := func(s string) string { return "scan-" + s + "-" + l.name }
		h := host()
		n.plan(scan(id("horizontal"), "horizontal", l.name, h), n.horizontal(r, h, 445, l.count, at(8), l.gap, l.opened))
		h = host()
		n.plan(scan(id("outbound"), "horizontal", l.name, h), n.outboundScan(r, h, 23, l.count, at(8.2), l.gap, l.opened))
		h = host()
		n.plan(scan(id("vertical"), "vertical", l.name, h, files), n.vertical(r, h, files, l.count, at(8.4), l.gap, l.opened))
		h = host()
		n.plan(scan(id("block"), "block", l.name, h), n.block(r, h, l.count, at(8.6), l.gap))
		h = host()
		n.plan(scan(id("sweep"), "sweep", l.name, h), n.sweep(r, h, l.count, at(8.8), l.gap, l.opened))
		h = host()
		n.plan(scan(id("udp"), "horizontal", l.name, h), n.udpScan(r, h, 161, l.count, at(9), l.gap, l.opened))
		from := outside(50_100 + i)
		n.plan(scan(id("inbound"), "horizontal", l.name, from), n.inboundSweep(r, from, 22, at(9.2), l.gap))
		from = outside(50_200 + i)
		n.plan(scan(id("inbound-vertical"), "vertical", l.name, from, dmz), n.vertical(r, from, dmz, l.count, at(9.4), l.gap, l.opened))
		n.plan(eval.Instance{ID: id("distributed"), Detector: "scan", Variant: "distributed", Difficulty: l.name, Sources: []string{}, Destinations: texts(dmz)},
			n.distributed(r, []int{400, 150, 60}[i], at(9.6), []time.Duration{100 * time.Millisecond, 500 * time.Millisecond, 2 * time.Second}[i]))
		slow := host()
		n.plan(scan(id("slow"), "slow", l.name, slow), n.horizontal(r, slow, 3389, []int{60, 36, 20}[i], n.after(time.Duration(i)*time.Hour), []time.Duration{10, 20, 35}[i]*time.Minute, 0))
	}
	n.gridOthers(r, host)
}

// gridOthers plans what is not a scan.
func (n *Network) gridOthers(r *rand.Rand, host func() netip.Addr) {
	for i, name := range []string{"easy", "medium", "hard"} {
		end := n.after(time.Duration(24*n.opts.Days) * time.Hour)
		for k, period := range []time.Duration{5 * time.Second, time.Minute, 10 * time.Minute, time.Hour, 4 * time.Hour} {
			h, to := host(), outside(61_000+10*k+i)
			jitter := []float64{0, 0.2, 0.5}[i]
			stop := min(end, n.after(time.Duration(k+1)*4*time.Hour)+int64(period)*200)
			n.plan(beacon("beacon-"+period.String()+"-"+name, []string{"name", "address"}[k%2], name, h, to),
				n.beacon(r, h, to, []string{"c" + itoa(k) + ".status" + itoa(i) + ".example", ""}[k%2], n.after(time.Duration(k)*time.Hour), min(end, stop), period, jitter, 0.05*float64(i)))
		}
		h := host()
		exfil := func(variant string, to netip.Addr) eval.Instance {
			return eval.Instance{ID: "exfiltration-" + variant + "-" + name, Detector: "exfiltration", Variant: variant, Difficulty: name, Sources: texts(h), Destinations: texts(to)}
		}
		n.plan(exfil("bulk", outside(62_000+i)), n.upload(r, h, outside(62_000+i), "up"+itoa(i)+".example", n.after(15*time.Hour), 1, []int{500_000_000, 60_000_000, 12_000_000}[i]))
		h = host()
		n.plan(exfil("slow", outside(62_100+i)), n.upload(r, h, outside(62_100+i), "slow"+itoa(i)+".example", n.after(2*time.Hour), 40, []int{4_000_000, 1_000_000, 300_000}[i]))
		h = host()
		var split []Flow
		for k := range 12 {
			split = append(split, n.upload(r, h, outside(62_200+20*i+k), "", n.after(16*time.Hour), 1, []int{20_000_000, 6_000_000, 2_000_000}[i])...)
		}
		n.plan(exfil("split", outside(62_200+20*i)), split)
		h = host()
		n.plan(exfil("one-connection", outside(62_300+i)), []Flow{tcp(r, n.after(6*time.Hour), h, outside(62_300+i), 443, []int{900_000_000, 200_000_000, 50_000_000}[i], 10000, int64(9*time.Hour))})
		h = host()
		zone := "t" + itoa(i) + ".tunnel" + itoa(i) + ".example"
		n.plan(tunnel("dns-tunnel-"+name, name, h, zone), n.dnsTunnel(r, h, zone, n.after(11*time.Hour), []int{2000, 500, 150}[i], []time.Duration{time.Second, 10 * time.Second, 3 * time.Minute}[i]))
		h = host()
		n.plan(eval.Instance{ID: "dga-" + name, Detector: "dga", Variant: "random", Difficulty: name, Sources: texts(h)}, n.dga(r, h, []int{300, 60, 15}[i], n.after(12*time.Hour)))
		from := outside(63_000 + i)
		n.plan(eval.Instance{ID: "brute-force-" + name, Detector: "brute_force", Variant: "ssh", Difficulty: name, Sources: texts(from), Destinations: texts(dmz)},
			n.bruteForce(r, from, []int{400, 60, 12}[i], n.after(3*time.Hour), []time.Duration{3 * time.Second, 30 * time.Second, 5 * time.Minute}[i]))
		h = host()
		n.plan(eval.Instance{ID: "long-connection-" + name, Detector: "long_connection", Variant: "tcp", Difficulty: name, Sources: texts(h), Destinations: texts(outside(63_100 + i))},
			[]Flow{tcp(r, n.after(time.Hour), h, outside(63_100+i), 8443, 400_000, 900_000, int64([]time.Duration{22, 14, 8}[i]*time.Hour))})
		h = host()
		n.plan(eval.Instance{ID: "lateral-" + name, Detector: "lateral", Variant: "smb", Difficulty: name, Sources: texts(h)}, n.lateral(r, h, []int{20, 8, 3}[i], n.after(17*time.Hour)))
	}
}

func texts(a netip.Addr) []string { return []string{a.String()} }

func scan(id, variant, difficulty string, from netip.Addr, to ...netip.Addr) eval.Instance {
	in := eval.Instance{ID: id, Detector: "scan", Variant: variant, Difficulty: difficulty, Sources: texts(from)}
	for _, t := range to {
		in.Destinations = append(in.Destinations, t.String())
	}
	return in
}

func beacon(id, variant, difficulty string, from, to netip.Addr) eval.Instance {
	return eval.Instance{ID: id, Detector: "beacon", Variant: variant, Difficulty: difficulty, Sources: texts(from), Destinations: texts(to)}
}

func tunnel(id, difficulty string, from netip.Addr, zone string) eval.Instance {
	return eval.Instance{ID: id, Detector: "dns_tunnel", Variant: "A", Difficulty: difficulty, Sources: texts(from), Destinations: []string{zone}}
}

// probes calls probe for each of count targets, a random gap apart.
func probes(r *rand.Rand, count int, at int64, gap time.Duration, probe func(i int, at int64) Flow) (flows []Flow) {
	for i := range count {
		flows = append(flows, probe(i, at))
		at += int64(float64(gap) * (0.5 + r.Float64()))
	}
	return flows
}

// inner returns the i-th address of an office network that few hosts are in.
func inner(i int) netip.Addr { return addr(10, 20, byte(40+i/250), byte(1+i%250)) }

// horizontal tries one port of many hosts inside.
func (n *Network) horizontal(r *rand.Rand, from netip.Addr, p uint16, count int, at int64, gap time.Duration, opened float64) []Flow {
	return probes(r, count, at, gap, func(i int, at int64) Flow {
		if r.Float64() < opened {
			return tcp(r, at, from, inner(i), p, 300, 400, int64(80*time.Millisecond))
		}
		return tried(r, at, from, inner(i), p, r.IntN(5) == 0)
	})
}

func (n *Network) outboundScan(r *rand.Rand, from netip.Addr, p uint16, count int, at int64, gap time.Duration, opened float64) []Flow {
	return probes(r, count, at, gap, func(_ int, at int64) Flow {
		to := outside(110_000 + r.IntN(20_000))
		if r.Float64() < opened {
			return tcp(r, at, from, to, p, 60, 120, int64(300*time.Millisecond))
		}
		return tried(r, at, from, to, p, r.IntN(8) == 0)
	})
}

// vertical tries many ports of one host.
func (n *Network) vertical(r *rand.Rand, from, to netip.Addr, count int, at int64, gap time.Duration, opened float64) []Flow {
	ports := r.Perm(10_000)
	return probes(r, count, at, gap, func(i int, at int64) Flow {
		if r.Float64() < opened {
			return tcp(r, at, from, to, uint16(1+ports[i]), 60, 60, int64(20*time.Millisecond))
		}
		return tried(r, at, from, to, uint16(1+ports[i]), r.IntN(3) > 0)
	})
}

// block tries many ports of many hosts.
func (n *Network) block(r *rand.Rand, from netip.Addr, count int, at int64, gap time.Duration) []Flow {
	ports := []uint16{21, 22, 23, 80, 135, 139, 443, 445, 1433, 3306, 3389, 5900, 8080}
	return probes(r, count, at, gap, func(i int, at int64) Flow {
		return tried(r, at, from, inner(500+i/5), ports[i%len(ports)], r.IntN(4) == 0)
	})
}

func (n *Network) sweep(r *rand.Rand, from netip.Addr, count int, at int64, gap time.Duration, opened float64) []Flow {
	return probes(r, count, at, gap, func(i int, at int64) Flow { return ping(at, from, inner(i), r.Float64() < opened) })
}

func (n *Network) udpScan(r *rand.Rand, from netip.Addr, p uint16, count int, at int64, gap time.Duration, opened float64) []Flow {
	return probes(r, count, at, gap, func(i int, at int64) Flow {
		if r.Float64() < opened {
			return udp(r, at, from, inner(i), p, 40, 90, int64(4*time.Millisecond))
		}
		return udp(r, at, from, inner(i), p, 40, -1, 0)
	})
}

// inboundSweep tries one port of each public address.
func (n *Network) inboundSweep(r *rand.Rand, from netip.Addr, p uint16, at int64, gap time.Duration) []Flow {
	return probes(r, 40, at, gap, func(i int, at int64) Flow {
		return tried(r, at, from, addr(10, 20, 9, byte(10+i)), p, false)
	})
}

// distributed is one address tried by many, each once.
func (n *Network) distributed(r *rand.Rand, count int, at int64, gap time.Duration) []Flow {
	return probes(r, count, at, gap, func(_ int, at int64) Flow {
		return tried(r, at, outside(100_500+r.IntN(9_000)), dmz, uint16(1+r.IntN(2000)), r.IntN(3) == 0)
	})
}

// beacon calls home on a timer with jitter (a share of the period, both ways) and
// missed check-ins.
func (n *Network) beacon(r *rand.Rand, from, to netip.Addr, name string, at, end int64, period time.Duration, jitter, missed float64) (flows []Flow) {
	for at < end {
		if r.Float64() >= missed {
			f := tcp(r, at, from, to, 443, 400+r.IntN(40), 600+r.IntN(40), int64(120*time.Millisecond))
			if name != "" {
				f.TLS = &TLS{ServerName: name}
			}
			flows = append(flows, f)
		}
		at += int64(float64(period) * (1 + jitter*(2*r.Float64()-1)))
	}
	return flows
}

func (n *Network) upload(r *rand.Rand, from, to netip.Addr, name string, at int64, times, size int) (flows []Flow) {
	for range times {
		f := tcp(r, at, from, to, 443, size+r.IntN(size/10+1), 4000, int64(size/2000)*int64(time.Millisecond))
		if name != "" {
			f.TLS = &TLS{ServerName: name}
		}
		flows = append(flows, f)
		at += int64(25*time.Minute) + exponential(r, 5*time.Minute)
	}
	return flows
}

// dnsTunnel asks for names that carry data.
func (n *Network) dnsTunnel(r *rand.Rand, from netip.Addr, zone string, at int64, count int, gap time.Duration) []Flow {
	return probes(r, count, at, gap, func(_ int, at int64) Flow {
		return lookup(r, at, from, label(r, 30+r.IntN(20))+"."+zone, "198.18.9.9")
	})
}

// label returns random letters and digits, as base32 has them.
func label(r *rand.Rand, length int) string {
	b := make([]byte, length)
	for i := range b {
		b[i] = "abcdefghijklmnopqrstuvwxyz234567"[r.IntN(32)]
	}
	return string(b)
}

func (n *Network) dga(r *rand.Rand, from netip.Addr, count int, at int64) []Flow {
	return probes(r, count, at, 2*time.Second, func(i int, at int64) Flow {
		name := label(r, 10+r.IntN(8)) + ".example"
		if i == count-1 {
			return lookup(r, at, from, name, outside(63_500).String())
		}
		return lookup(r, at, from, name)
	})
}

func (n *Network) bruteForce(r *rand.Rand, from netip.Addr, count int, at int64, gap time.Duration) []Flow {
	return probes(r, count, at, gap, func(_ int, at int64) Flow {
		return tcp(r, at, from, dmz, 22, 1200, 1900, int64(2*time.Second))
	})
}

// lateral opens shares of hosts that it never talked to, and they answer.
func (n *Network) lateral(r *rand.Rand, from netip.Addr, count int, at int64) []Flow {
	return probes(r, count, at, 4*time.Minute, func(i int, at int64) Flow {
		to := n.users[(i*5+1)%len(n.users)]
		return tcp(r, at, from, to, 445, 40_000, 9_000, int64(20*time.Second))
	})
}
