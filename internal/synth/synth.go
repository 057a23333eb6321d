// Package synth makes network days: what the hosts of an office do, with attacks
// of which the truth is known, as the logs that Zeek and Suricata would write of
// them. The same options give the same bytes.
package synth

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"tidewatch/event"
	"tidewatch/internal/eval"
)

// Options say what to make.
type Options struct {
	Seed  uint64
	Start time.Time // of the first day, at midnight
	Days  int
	Hosts int // with users
	// Activity scales what the hosts do; 1 is about 2,000 records a host and day.
	Activity float64
	Attacks  string // "none", "story" (a few that belong together) or "grid" (each kind in three difficulties)
}

// Flow is one connection, with what was said in it.
type Flow struct {
	Start, Duration    int64 // nanoseconds
	Orig, Resp         netip.AddrPort
	Proto              event.Proto
	State              event.State
	OrigPkts, RespPkts int
	OrigData, RespData int // payload bytes
	UID                string
	ID                 uint64
	DNS                *DNS
	TLS                *TLS
	HTTP               []HTTP
}

// DNS is a query with its answer.
type DNS struct {
	ID      int
	Query   string
	Type    string
	RCode   int
	Answers []string
	TTL     int
	RTT     int64
}

// TLS is a handshake.
type TLS struct{ ServerName, ALPN, Subject, Issuer string }

// HTTP is a request with its response.
type HTTP struct {
	At                           int64
	Method, Host, URI, Agent     string
	Status, OrigBytes, RespBytes int
}

// Network is the made network.
type Network struct {
	opts   Options
	users  []netip.Addr
	truth  eval.Truth
	actors []actor
	sites  []site
	zipf   []float64
}

// actor makes the flows that one program on one host starts within an hour. Its
// random numbers depend on nothing but the seed, the actor and the hour.
type actor func(n *Network, r *rand.Rand, hour int64, emit func(Flow))

// site is a place on the Internet that users visit.
type site struct {
	name  string
	addrs []netip.Addr
}

// The servers of the office.
var (
	resolver = addr(10, 20, 0, 53)
	dc       = addr(10, 20, 0, 10)
	files    = addr(10, 20, 0, 20)
	backup   = addr(10, 20, 0, 21)
	mail     = addr(10, 20, 0, 25)
	monitor  = addr(10, 20, 0, 30)
	printer  = addr(10, 20, 0, 40)
	dmz      = addr(10, 20, 9, 10) // reached from the Internet
	servers  = []netip.Addr{resolver, dc, files, backup, mail, monitor, printer, dmz}
)

func addr(a, b, c, d byte) netip.Addr { return netip.AddrFrom4([4]byte{a, b, c, d}) }

// outside returns the i-th address of 198.18.0.0/15, which is set aside for
// benchmarks (RFC 2544): nobody's host.
func outside(i int) netip.Addr {
	i &= 1<<17 - 1
	return addr(198, byte(18+i>>16), byte(i>>8), byte(i))
}

// New returns the network that the options describe.
func New(o Options) *Network {
	o.Days, o.Hosts = max(o.Days, 1), max(o.Hosts, 1)
	if o.Activity <= 0 {
		o.Activity = 1
	}
	n := &Network{opts: o}
	r := n.rand(0, 0)
	for i := range 400 {
		s := site{name: "www.site" + itoa(i) + ".example"}
		for range 1 + r.IntN(4) {
			s.addrs = append(s.addrs, outside(1000+r.IntN(20000)))
		}
		n.sites = append(n.sites, s)
		n.zipf = append(n.zipf, 1/math.Pow(float64(i+1), 0.9))
	}
	for i := 1; i < len(n.zipf); i++ {
		n.zipf[i] += n.zipf[i-1]
	}
	for i := range o.Hosts {
		n.users = append(n.users, addr(10, 20, byte(1+i/200), byte(20+i%200)))
	}
	n.benign()
	switch o.Attacks {
	case "story":
		n.story()
	case "grid":
		n.grid()
	}
	n.truth.HostDays = float64(o.Days * (o.Hosts + len(servers)))
	guilty := map[string]bool{}
	for _, in := range n.truth.Instances {
		for _, s := range in.Sources {
			guilty[s] = true
		}
	}
	for _, h := range slices.Concat(n.users, servers) {
		if !guilty[h.String()] {
			n.truth.Benign = append(n.truth.Benign, h.String())
		}
	}
	return n
}

// Truth says what attacks there are. The numbers of records are right once Hours
// has ended.
func (n *Network) Truth() eval.Truth { return n.truth }

func (n *Network) rand(actor int, hour int64) *rand.Rand {
	return rand.New(rand.NewPCG(n.opts.Seed<<20^uint64(actor), uint64(hour)*0x9e3779b97f4a7c15^uint64(actor)))
}

const hourNs = int64(time.Hour)

// Hours calls f with the flows of each hour, in the order of their starts.
func (n *Network) Hours(f func(flows []Flow) error) error {
	for h := range int64(24 * n.opts.Days) {
		start := n.opts.Start.UnixNano() + h*hourNs
		var flows []Flow
		for i, a := range n.actors {
			r := n.rand(i+1, h)
			a(n, r, start, func(fl Flow) {
				fl.Start -= fl.Start % 1000 // microseconds, as the logs have them
				fl.Duration -= fl.Duration % 1000
				fl.ID = r.Uint64() >> 12
				fl.UID = uid(fl.ID)
				flows = append(flows, fl)
			})
		}
		slices.SortStableFunc(flows, func(a, b Flow) int {
			switch {
			case a.Start < b.Start:
				return -1
			case a.Start > b.Start:
				return 1
			}
			return 0
		})
		if err := f(flows); err != nil {
			return err
		}
	}
	return nil
}

// uid writes an id the way Zeek does.
func uid(id uint64) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	b := [18]byte{'C'}
	for i := 1; i < len(b); i++ {
		b[i] = digits[id%62]
		id = id/62 + id<<47
	}
	return string(b[:])
}

func itoa(i int) string {
	if i < 10 {
		return string(rune('0' + i))
	}
	return itoa(i/10) + string(rune('0'+i%10))
}

// act adds an actor.
func (n *Network) act(a actor) { n.actors = append(n.actors, a) }

// port is an ephemeral port.
func port(r *rand.Rand) uint16 { return uint16(32768 + r.IntN(28000)) }

// within returns a time in the hour.
func within(r *rand.Rand, hour int64) int64 { return hour + r.Int64N(hourNs) }

// exponential returns a random span with the given mean, in nanoseconds.
func exponential(r *rand.Rand, mean time.Duration) int64 {
	return int64(r.ExpFloat64() * float64(mean))
}

// tcp returns a connection that was made and closed.
func tcp(r *rand.Rand, at int64, from, to netip.Addr, p uint16, out, in int, took int64) Flow {
	return Flow{
		Start: at, Duration: max(took, int64(2*time.Millisecond)), Orig: netip.AddrPortFrom(from, port(r)), Resp: netip.AddrPortFrom(to, p),
		Proto: event.ProtoTCP, State: event.StateSF, OrigPkts: 5 + out/1400 + in/2800, RespPkts: 5 + in/1400 + out/2800, OrigData: out, RespData: in,
	}
}

// tried returns a connection that was not made: State S0 or REJ.
func tried(r *rand.Rand, at int64, from, to netip.Addr, p uint16, rejected bool) Flow {
	f := Flow{
		Start: at, Orig: netip.AddrPortFrom(from, port(r)), Resp: netip.AddrPortFrom(to, p),
		Proto: event.ProtoTCP, State: event.StateS0, OrigPkts: 1,
	}
	if rejected {
		f.State, f.RespPkts, f.Duration = event.StateREJ, 1, int64(300*time.Microsecond)
	}
	return f
}

// udp returns an exchange of datagrams, or a silence if in is negative.
func udp(r *rand.Rand, at int64, from, to netip.Addr, p uint16, out, in int, took int64) Flow {
	f := Flow{
		Start: at, Duration: took, Orig: netip.AddrPortFrom(from, port(r)), Resp: netip.AddrPortFrom(to, p),
		Proto: event.ProtoUDP, State: event.StateSF, OrigPkts: 1 + out/1200, RespPkts: 1 + in/1200, OrigData: out, RespData: in,
	}
	if in < 0 {
		f.State, f.RespPkts, f.RespData, f.Duration = event.StateS0, 0, 0, 0
	}
	return f
}

// ping returns an echo request, with or without its reply.
func ping(at int64, from, to netip.Addr, answered bool) Flow {
	f := Flow{
		Start: at, Orig: netip.AddrPortFrom(from, 8), Resp: netip.AddrPortFrom(to, 0),
		Proto: event.ProtoICMP, State: event.StateOTH, OrigPkts: 1, OrigData: 56,
	}
	if answered {
		f.RespPkts, f.RespData, f.Duration = 1, 56, int64(400*time.Microsecond)
	}
	return f
}

// lookup returns a DNS query to the office's resolver.
func lookup(r *rand.Rand, at int64, from netip.Addr, name string, answers ...string) Flow {
	return query(r, at, from, resolver, name, "A", answers...)
}

func query(r *rand.Rand, at int64, from, to netip.Addr, name, kind string, answers ...string) Flow {
	rtt := int64(500*time.Microsecond) + exponential(r, 8*time.Millisecond)
	f := udp(r, at, from, to, 53, 30+len(name), 60+30*len(answers), rtt)
	f.DNS = &DNS{ID: r.IntN(65536), Query: name, Type: kind, Answers: answers, TTL: 60 + r.IntN(3600), RTT: rtt - rtt%1000}
	if len(answers) == 0 {
		f.DNS.RCode = 3
	}
	return f
}

// visit returns a site by its popularity.
func (n *Network) visit(r *rand.Rand) *site {
	x := r.Float64() * n.zipf[len(n.zipf)-1]
	i, _ := slices.BinarySearch(n.zipf, x)
	return &n.sites[min(i, len(n.sites)-1)]
}

// ActivityFor returns the activity at which the options give about so many records
// of conn, dns and ssl. What hosts do regardless of activity is counted too.
func ActivityFor(o Options, records int) (float64, error) {
	count := func(activity float64) (float64, error) {
		o.Activity = activity
		n := 0
		err := New(o).Hours(func(fs []Flow) error {
			for i := range fs {
				n++
				if fs[i].DNS != nil {
					n++
				}
				if fs[i].TLS != nil {
					n++
				}
			}
			return nil
		})
		return float64(n), err
	}
	low, err := count(0.5)
	if err != nil {
		return 0, err
	}
	high, err := count(1.5)
	if err != nil {
		return 0, err
	}
	return max(0.5+(float64(records)-low)/max(high-low, 1), 0.05), nil
}
