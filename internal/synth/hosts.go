package synth

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

// The servers of the office. The machines in the DMZ are reached from outside.
var (
	dc       = inside(0, 10) // Active Directory, and the resolver that clients ask
	files    = inside(0, 20)
	backup   = inside(0, 21)
	mail     = inside(0, 25)
	monitor  = inside(0, 30)
	resolver = inside(0, 53) // asks the Internet
	app      = inside(0, 60) // asks its workers
	proxy    = inside(0, 80) // fetches and checks what mails link to
	recorder = inside(8, 5)  // of the cameras
	printers = []netip.Addr{inside(8, 40), inside(8, 41), inside(8, 42)}
	web      = inside(9, 10)
	gateway  = inside(9, 11) // remote access
	dmz      = []netip.Addr{web, gateway, inside(9, 12), inside(9, 13), inside(9, 14)}
	servers  = slices.Concat([]netip.Addr{dc, files, backup, mail, monitor, resolver, app, proxy, recorder}, printers, dmz)
)

// workers are what the application server distributes its work to.
const workerCount = 14

func worker(i int) netip.Addr { return inside(7, byte(10+i)) }

func inside(net, host byte) netip.Addr { return netip.AddrFrom4([4]byte{10, 20, net, host}) }

// The networks outside.
var (
	sitesNet  = netip.MustParsePrefix("198.18.0.0/17")
	peersNet  = netip.MustParsePrefix("198.19.0.0/17")   // name servers, mail servers, users of the web site
	evilNet   = netip.MustParsePrefix("198.19.192.0/20") // whom attacks talk to or come from
	botsNet   = netip.MustParsePrefix("198.19.208.0/20") // of distributed attacks
	noiseNet  = netip.MustParsePrefix("198.19.224.0/20") // whoever knocks at every address of the Internet
	victimNet = netip.MustParsePrefix("198.19.240.0/20") // what attacks from inside try
)

// inNet returns the i-th address of a network, but for its first.
func inNet(p netip.Prefix, i int) netip.Addr {
	a := p.Addr().As4()
	v := uint32(a[0])<<24 | uint32(a[1])<<16 | uint32(a[2])<<8 | uint32(a[3])
	v += uint32(i)%(1<<(32-p.Bits())-2) + 1
	return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)})
}

// out6 returns an address outside that goes with an IPv4 one.
func out6(a netip.Addr) netip.Addr {
	b := a.As4()
	return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0, b[1], b[2], b[3], 14: b[2], 15: b[3]})
}

// host is a person's machine.
type host struct {
	v4, v6  netip.Addr
	i       int
	always  bool  // it is on at night too
	on, off int64 // of a working day, nanoseconds after midnight
	dual    bool  // it prefers IPv6
}

// user adds a machine with a person at it.
func (n *Network) user() *host {
	i := len(n.users)
	r := rand.New(rand.NewPCG(mix(n.opts.Seed), mix(uint64(i)<<32)))
	u := &host{
		i: i, v4: inside(byte(16+i/200), byte(20+i%200)), always: r.IntN(3) == 0, dual: r.IntN(3) == 0,
		on: between(r, 7*time.Hour, 9*time.Hour), off: between(r, 16*time.Hour+30*time.Minute, 19*time.Hour),
	}
	u.v6 = netip.AddrFrom16([16]byte{0xfd, 0x20, 7: byte(16 + i/200), 8: 2, 11: 0xff, 12: 0xfe, 14: byte(i / 200), 15: byte(20 + i%200)})
	n.users = append(n.users, u)
	n.person(u)
	return u
}

// up reports whether a machine is on.
func (n *Network) up(u *host, at int64) bool {
	if u.always {
		return true
	}
	day := (at - n.start) % dayNs
	return day >= u.on && day < u.off && !weekend(at)
}

func weekend(at int64) bool {
	d := time.Unix(0, at).UTC().Weekday()
	return d == time.Saturday || d == time.Sunday
}

// diurnal is how busy people are in each hour of a working day.
var diurnal = [24]float64{.02, .01, .01, .01, .01, .03, .1, .4, .9, 1, 1, .9, .6, .8, 1, 1, .9, .7, .4, .25, .2, .15, .1, .05}

// busy is how busy people are, 0 to 1.
func (n *Network) busy(at int64) float64 {
	b := diurnal[(at-n.start)%dayNs/hourNs]
	if weekend(at) {
		b *= 0.12
	}
	return b
}

// often returns when something happens next that people do so often an hour when
// they are busiest: a Poisson process with their rhythm.
func (p *process) often(perHour float64) int64 {
	mean := time.Duration(float64(time.Hour) / (perHour * p.opts.Activity))
	for at := p.now; ; {
		at += 1 + exponential(p.r, mean)
		if at >= p.end || p.r.Float64() < p.busy(at) {
			return at
		}
	}
}

// habit adds what somebody does so often an hour when people are busiest.
func (n *Network) habit(perHour float64, do func(p *process)) {
	begun := false
	n.spawn(n.start, nil, func(p *process) int64 {
		if begun {
			do(p)
		}
		begun = true
		return p.often(perHour)
	})
}

// every adds a timer. Jitter is a share of the period, both ways; it does not add
// up. The first tick is somewhere in the first period.
func (n *Network) every(period time.Duration, jitter float64, do func(p *process)) {
	r := rand.New(rand.NewPCG(mix(n.opts.Seed), mix(uint64(len(n.processes))<<16)))
	base := n.start + r.Int64N(int64(period))
	n.spawn(base, nil, func(p *process) int64 {
		do(p)
		base += int64(period)
		return base + int64(jitter*float64(period)*(2*p.r.Float64()-1))
	})
}

// site is a place on the Internet.
type site struct {
	name  string
	addrs []netip.Addr
	old   bool // TLS 1.2
	quic  bool
	v6    bool
}

// known are the sites that everybody uses, the most popular first.
var known = []string{
	"www.google.com", "fonts.gstatic.com", "www.googleapis.com", "www.youtube.com", "outlook.office365.com", "login.microsoftonline.com",
	"teams.microsoft.com", "www.bing.com", "static.xx.fbcdn.net", "www.facebook.com", "cdn.jsdelivr.net", "www.linkedin.com", "en.wikipedia.org",
	"upload.wikimedia.org", "github.com", "avatars.githubusercontent.com", "www.amazon.com", "m.media-amazon.com", "cdnjs.cloudflare.com",
	"www.reddit.com", "i.redd.it", "stackoverflow.com", "cdn.sstatic.net", "ajax.googleapis.com", "www.googletagmanager.com",
	"www.google-analytics.com", "stats.g.doubleclick.net", "securepubads.g.doubleclick.net", "www.apple.com", "www.netflix.com",
	"open.spotify.com", "i.scdn.co", "www.bbc.co.uk", "static.files.bbci.co.uk", "www.nytimes.com", "www.theguardian.com", "i.guim.co.uk",
	"www.dropbox.com", "zoom.us", "www.ebay.com", "i.ebayimg.com", "www.paypal.com", "twitter.com", "abs.twimg.com", "www.instagram.com",
	"web.whatsapp.com", "www.weather.com", "www.booking.com", "medium.com", "www.mozilla.org",
}

var syllables = []string{"ba", "cor", "den", "fi", "gra", "hol", "in", "ka", "lu", "mer", "no", "or", "pe", "qui", "ra", "sol", "ta", "ver", "wes", "zen"}

// word returns something that can be said.
func word(r *rand.Rand, parts int) string {
	s := ""
	for range parts {
		s += syllables[r.IntN(len(syllables))]
	}
	return s
}

// makeSites makes what people visit, with Zipf's popularity (exponent 0.9).
func (n *Network) makeSites() {
	r := rand.New(rand.NewPCG(mix(n.opts.Seed), mix(1<<48)))
	for i := range 1200 {
		s := site{old: r.IntN(5) == 0, quic: r.IntN(6) == 0, v6: r.IntN(3) == 0}
		if i < len(known) {
			s.name = known[i]
		} else {
			s.name = []string{"www.", "", "cdn.", "static."}[r.IntN(4)] + word(r, 2) + word(r, 1+r.IntN(2)) + ".example"
		}
		for range 1 + r.IntN(4) {
			s.addrs = append(s.addrs, inNet(sitesNet, r.IntN(1<<15)))
		}
		n.sites = append(n.sites, s)
		w := 1 / math.Pow(float64(i+1), 0.9)
		if i > 0 {
			w += n.zipf[i-1]
		}
		n.zipf = append(n.zipf, w)
	}
}

// visit returns a site by its popularity.
func (p *process) visit() *site {
	x := p.r.Float64() * p.zipf[len(p.zipf)-1]
	i, _ := slices.BinarySearch(p.zipf, x)
	return &p.sites[min(i, len(p.sites)-1)]
}

// place returns the address of a name that is not a site, always the same. A name
// may have several: which is picked by k.
func place(name string, k int) netip.Addr {
	h := uint64(14695981039346656037) // FNV-1a
	for _, c := range []byte(name) {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return inNet(sitesNet, int(mix(h+uint64(k))%(1<<15)))
}

func itoa(i int) string { return strconv.Itoa(i) }
