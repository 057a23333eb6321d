package synth

import (
	"encoding/base32"
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"
)

// timer is how an implant calls home.
type timer struct {
	period time.Duration
	jitter float64 // share of the period, both ways; it adds up, as a sleep does
	missed float64 // share of check-ins that do not come
	count  int
	from   *host
	name   string // of the server; "" if it is called by address
	how    string // "" for TLS, "http", "dns", or "retry": nobody answers
}

// checkIns are how many times implants of the grid call home where time allows, so
// that short periods do not make up the whole day.
const checkIns = 400

// fewest are the check-ins that must fit into the days for a period to be planned.
const fewest = 4

// sleeping returns a variant with a period of its own. Difficulty is jitter and
// missed check-ins.
func sleeping(name string, period time.Duration, how string) variant {
	return variant{name, func(n *Network, in *instance) {
		if time.Duration(n.end-n.start) < fewest*period {
			return
		}
		t := timer{period: period, jitter: pick(in, 0, 0.2, 0.5), missed: pick(in, 0, 0.1, 0.3), count: checkIns, from: n.takeOver(in), how: how}
		if !strings.HasPrefix(name, "address") && how != "retry" {
			t.name = "c" + itoa(in.index) + "." + []string{"status-edge", "cdn-metrics", "sync-assets"}[in.level] + ".example"
		}
		in.lasts(checkIns * period)
		n.beacon(in, n.at(in, 0.5), t)
	}}
}

var beaconVariants = []variant{
	sleeping("name-5s", 5*time.Second, ""),
	sleeping("name-1m", time.Minute, ""),
	sleeping("name-10m", 10*time.Minute, ""),
	sleeping("name-1h", time.Hour, ""),
	sleeping("name-6h", 6*time.Hour, ""),
	sleeping("name-24h", 24*time.Hour, ""),
	sleeping("address-30s", 30*time.Second, ""),
	sleeping("address-15m", 15*time.Minute, ""),
	sleeping("http-2m", 2*time.Minute, "http"),
	sleeping("dns-5m", 5*time.Minute, "dns"),
	sleeping("retry-1m", time.Minute, "retry"),
	sleeping("retry-20m", 20*time.Minute, "retry"),
}

// beacon calls home.
func (n *Network) beacon(in *instance, first int64, t timer) {
	to := in.outsider(0)
	in.Destinations = append(in.Destinations, to.String())
	switch {
	case t.how == "dns":
		in.Destinations = []string{t.name}
	case t.name != "":
		in.Destinations = append(in.Destinations, t.name)
	}
	left := t.count
	n.spawn(first, in.Instance, func(p *process) int64 {
		if left == 0 {
			return never
		}
		left--
		if p.r.Float64() >= t.missed {
			p.checkIn(t, to)
		}
		return p.now + int64(float64(t.period)*(1+t.jitter*(2*p.r.Float64()-1)))
	})
}

// checkIn is one call home, now and then with an order to carry out.
func (p *process) checkIn(t timer, to netip.Addr) {
	out, in := 420+p.r.IntN(30), 900+p.r.IntN(60)
	if p.r.IntN(40) == 0 {
		out, in = out+p.r.IntN(40_000), in+p.r.IntN(60_000)
	}
	switch t.how {
	case "retry":
		p.emit(p.fail(0, t.from.v4, to, 443, p.r.IntN(3) == 0, 3))
	case "dns":
		p.emit(p.query(0, t.from.v4, dc, label(p.r, 6)+"."+t.name, "TXT", label(p.r, 12)))
	case "http":
		p.emit(p.plain(0, t.from.v4, to, t.name, "Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1)", "/submit.php?id="+itoa(p.r.IntN(90_000)), 1, in))
	default:
		f := p.tcp(0, t.from.v4, to, 443, out+600, in+1400, int64(250*time.Millisecond))
		f.TLS = &TLS{ServerName: t.name, Old: true, SelfSigned: true}
		p.emit(f)
	}
}

// channel is data carried in DNS.
type channel struct {
	zone, kind string
	count      int
	gap        time.Duration
	up, down   int // bytes a query
}

// tunnel returns a variant that carries data both ways.
func tunnel(name, kind string) variant {
	return variant{name, func(n *Network, in *instance) {
		c := channel{
			zone: pick(in, "t", "v1", "img") + "." + word(rand.New(rand.NewPCG(uint64(in.index), 1)), 3) + ".example", kind: kind,
			count: pick(in, 3000, 600, 200), gap: pick(in, 200*time.Millisecond, 5*time.Second, 2*time.Minute), up: pick(in, 100, 50, 24), down: pick(in, 180, 80, 24),
		}
		n.tunnel(in, n.takeOver(in), n.at(in, 8), c)
	}}
}

var tunnelVariants = []variant{tunnel("null", "NULL"), tunnel("txt", "TXT"), tunnel("cname", "CNAME"), tunnel("a", "A")}

// tunnel asks for names that carry data, and gets data for an answer.
func (n *Network) tunnel(in *instance, from *host, first int64, c channel) {
	in.Destinations = []string{c.zone}
	n.repeat(in, first, c.count, c.gap, func(p *process, _ int) {
		answer := label(p.r, c.down)
		switch c.kind {
		case "A":
			answer = inNet(evilNet, p.r.IntN(4000)).String()
		case "CNAME":
			answer = labels(p.r, c.down) + "." + c.zone
		}
		p.emit(p.query(0, from.v4, dc, labels(p.r, c.up)+"."+c.zone, c.kind, answer))
	})
}

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// label returns so many random letters and digits.
func label(r *rand.Rand, length int) string {
	b := make([]byte, (length*5+7)/8)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return base32Lower.EncodeToString(b)[:length]
}

// labels returns so many random letters and digits, with a dot where a name needs
// one: a label has 63 bytes at most.
func labels(r *rand.Rand, length int) string {
	s := label(r, length)
	for i := 60; i < len(s); i += 61 {
		s = s[:i] + "." + s[i:]
	}
	return s
}

var dgaVariants = []variant{
	{"letters", func(n *Network, in *instance) {
		n.dga(in, func(r *rand.Rand) string {
			return label(r, 14+r.IntN(6)) + []string{".com", ".net", ".info", ".biz"}[r.IntN(4)]
		})
	}},
	{"words", func(n *Network, in *instance) {
		n.dga(in, func(r *rand.Rand) string { return word(r, 3) + word(r, 2) + ".example" })
	}},
}

// dga looks for the one name that exists today.
func (n *Network) dga(in *instance, name func(*rand.Rand) string) {
	from, count, home := n.takeOver(in), pick(in, 400, 90, 20), in.outsider(0)
	n.repeat(in, n.at(in, 7), count, pick(in, 500*time.Millisecond, 20*time.Second, 2*time.Minute), func(p *process, i int) {
		if i < count-1 {
			p.emit(p.query(0, from.v4, dc, name(p.r), "A"))
			return
		}
		q := p.query(0, from.v4, dc, name(p.r), "A", home.String())
		p.emit(q)
		f := p.tcp(q.Duration+int64(time.Millisecond), from.v4, home, 443, 1200, 2400, int64(300*time.Millisecond))
		f.TLS = &TLS{ServerName: q.DNS[0].Query, Old: true, SelfSigned: true}
		in.Destinations = []string{home.String(), q.DNS[0].Query}
		p.emit(f)
	})
}
