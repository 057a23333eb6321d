package scan

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tidewatch/behavior/state"
	"tidewatch/enrich"
	"tidewatch/event"
	"tidewatch/internal/scenario"
	"tidewatch/internal/shareddata"
)

func load(t testing.TB, path string, local ...string) []*event.Event {
	t.Helper()
	return scenario.Load(t, path, local...)
}

func observe(evs []*event.Event, n int, cfg Config) []event.Observation {
	return scenario.Observe(evs, n, func(shards int) scenario.Detector { return New(cfg, shards) })
}

var compareAddrs = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
	cmpopts.EquateEmpty(),
}

// Every recorded scan is found, within ten failed first contacts or 30 seconds.
func TestRecordedScans(t *testing.T) {
	f := func(file, source, shape string) {
		t.Helper()
		found := false
		for _, o := range observe(load(t, shareddata.Path(t, "labelled/scan/"+file)), 1, DefaultConfig()) {
			if o.Source.Addr.String() != source {
				t.Errorf("%s: a finding about %s: %s", file, o.Subject.Value, o.Reason)
				continue
			}
			found = true
			if o.Open && scenario.Number(&o, "failed_contacts_at_detection") > 10 && scenario.Number(&o, "time_to_detect_seconds") > 30 {
				t.Errorf("%s: found after %v contacts and %v s", file, scenario.Number(&o, "failed_contacts_at_detection"), scenario.Number(&o, "time_to_detect_seconds"))
			}
			if s := scenario.Text(&o, "shape"); !o.Open && shape != "" && s != shape {
				t.Errorf("%s: the shape is %s, want %s", file, s, shape)
			}
		}
		if !found {
			t.Errorf("%s: no finding", file)
		}
	}
	f("nmap-conn.log.gz", "172.16.1.11", "")
	f("ndpi-synscan.eve.json.gz", "172.16.0.8", "vertical")
	f("port_scan.eve.json.gz", "192.168.2.154", "vertical")
	f("445_scan.eve.json.gz", "176.192.150.3", "horizontal")
	f("multiport_scan.eve.json.gz", "125.27.226.209", "")
	f("scan_with_zero_windows.eve.json.gz", "10.0.0.1", "horizontal")
}

// Backscatter, and the hosts of harmless days, scan nobody.
func TestRecordedInnocence(t *testing.T) {
	for _, o := range observe(load(t, shareddata.Path(t, "labelled/scan/backscatter.eve.json.gz"), "192.150.186.0/23"), 1, DefaultConfig()) {
		t.Errorf("backscatter: %s", o.Reason)
	}
	f := func(file string, local ...string) {
		t.Helper()
		for _, o := range observe(load(t, shareddata.Path(t, "labelled/"+file), local...), 1, DefaultConfig()) {
			if o.Source.Scope == event.ScopeLocal {
				t.Errorf("%s: %s", file, o.Reason)
			}
		}
	}
	f("benign-days/008/conn.log.labeled.gz", "147.32.0.0/16")
	f("benign-days/010/conn.log.labeled.gz", "147.32.0.0/16")
	f("c2/comfoo/conn.log.gz")
	f("c2/numinon/conn.log.gz")
	f("c2/normal/conn.log.gz")
	f("internet-server/2024-04-19.conn.log.gz", "64.225.56.201/32")
}

// What must stay quiet, and why.
func TestQuiet(t *testing.T) {
	const host = "10.0.0.5"
	f := func(what string, r *rows) {
		t.Helper()
		for _, o := range observe(r.events(t), 1, DefaultConfig()) {
			t.Errorf("%s: %s", what, o.Reason)
		}
	}
	inner := func(i int) string { return fmt.Sprintf("10.0.%d.%d", 1+i/200, 1+i%200) }
	outer := func(i int) string { return fmt.Sprintf("198.18.%d.%d", i/200, 1+i%200) }

	r := newRows()
	for i := range 300 {
		state := "SF"
		if i%6 == 0 {
			state = "S0"
		}
		r.conn(1, host, outer(i), 443, "tcp", state)
	}
	f("a crawler, most of whose hosts answer", r)

	r = newRows()
	for i := range 300 {
		state := "SF"
		if i%5 == 0 {
			state = "S0"
		}
		r.conn(1, host, outer(i), 53, "udp", state)
	}
	f("a resolver", r)

	r = newRows()
	for range 200 {
		r.conn(5, host, "10.0.9.9", 445, "tcp", "S0")
	}
	f("a retry loop at one dead door", r)

	r = newRows()
	for i := range 60 {
		r.conn(1, host, inner(i), 9100, "tcp", "SF")
	}
	for i := range 60 {
		r.conn(1, host, inner(i), 9100, "tcp", "S0")
	}
	f("a monitor whose hosts went down", r)

	r = newRows()
	for i := range 100 {
		r.conn(1, host, fmt.Sprintf("2001:db8::%x", i+1), 443, "tcp", "S0")
		r.conn(.1, host, outer(i), 443, "tcp", "SF")
	}
	f("a host with broken IPv6", r)

	r = newRows()
	for i := range 400 {
		r.conn(60, outer(i), "10.0.0.80", 23, "tcp", "S0")
	}
	f("the Internet's noise at a server, a stray probe a minute", r)

	r = newRows()
	for i := range 100 {
		r.conn(1, host, outer(i), 443, "tcp", "SF")
		if i%5 == 0 {
			r.conn(1, host, outer(200+i), 80, "tcp", "S0")
		}
	}
	f("a proxy, to which old links are dead", r)

	r = newRows()
	for i := range 60 {
		state := "SF"
		if i >= 23 && i < 30 {
			state = "S0"
		}
		r.conn(1, host, outer(i), 25, "tcp", state)
	}
	f("a mail server that meets a provider which is down", r)

	r = newRows()
	for i := range 60 {
		r.conn(1, host, inner(i), 445, "tcp", "SF")
	}
	for i := range 60 {
		r.conn(1, host, inner(i), 139, "tcp", "REJ")
	}
	f("a port that peers do not have", r)

	r = newRows()
	for i := range 100 {
		r.conn(1, host, outer(i), 8443, "tcp", "SF")
		r.conn(.1, host, outer(i), 8443, "udp", "S0")
	}
	f("a firewall that lets no datagrams out", r)

	r = newRows()
	for i := range 300 {
		if i%6 > 0 {
			r.conn(1, host, inner(i), 445, "tcp", "SF")
			continue
		}
		r.conn(1, host, inner(i), 445, "tcp", "S0")
		r.conn(1, host, inner(i), 139, "tcp", "S0")
	}
	f("software that tries another port of hosts that are gone", r)

	r = newRows()
	for i := range 60 {
		r.conn(1, host, inner(i), 0, "icmp", "SF")
		r.conn(.1, host, inner(i), 22, "tcp", "SF")
	}
	for i := range 60 {
		r.conn(1, host, inner(i), 5666, "tcp", "REJ")
	}
	f("a monitor that pings its hosts and then works with them", r)

	r = newRows()
	for i := range 90 {
		r.conn(.1, host, outer(0), 33434+i, "udp", "S0")
	}
	f("traceroute", r)

	r = newRows()
	r.conn(1, host, outer(0), 21, "tcp", "SF")
	r.shift(-48 * time.Hour)
	for i := range 20 {
		r.conn(3600, host, outer(0), 50000+i, "tcp", "S0")
	}
	f("a server whose firewall lets no data through", r)

	r = newRows()
	for i := range 200 {
		r.conn(1, host, fmt.Sprintf("224.0.0.%d", i), 5353, "udp", "S0")
		r.conn(1, host, fmt.Sprintf("10.%d.0.255", i), 137, "udp", "S0")
	}
	f("multicast and broadcast", r)

	r = newRows()
	for i := range 200 {
		r.conn(.01, outer(i), "10.0.0.80", 40000+i, "tcp", "OTH")
		r.conn(.01, outer(i), "10.0.0.80", 40000+i, "tcp", "RSTRH")
	}
	f("backscatter", r)
}

// What the host does otherwise, and whom it knows, hides no scan: each is found
// within ten failed first contacts.
func TestHiddenScans(t *testing.T) {
	const host = "10.0.0.5"
	inner := func(i int) string { return fmt.Sprintf("10.0.%d.%d", 1+i/200, 1+i%200) }
	f := func(what, shape string, build func(*rows)) {
		t.Helper()
		r := newRows()
		build(r)
		obs := observe(r.events(t), 1, DefaultConfig())
		if len(obs) == 0 {
			t.Errorf("%s: not found", what)
			return
		}
		if n := scenario.Number(&obs[0], "failed_contacts_at_detection"); n > 10 {
			t.Errorf("%s: found after %v failed contacts", what, n)
		}
		if got := scenario.Text(&obs[len(obs)-1], "shape"); got != shape {
			t.Errorf("%s: the shape is %s, want %s", what, got, shape)
		}
	}
	f("three in ten targets answer", "horizontal", func(r *rows) {
		for i := range 40 {
			r.conn(20, host, inner(i), 445, "tcp", oneOf(i%10, "S0", 1, 2, 3))
		}
	})
	f("servers that were met before", "horizontal", func(r *rows) {
		for i, answered := range "yyy..y.y..y..y......" {
			r.conn(20, host, inner(i), 445, "tcp", map[rune]string{'y': "SF", '.': "S0"}[answered])
		}
	})
	f("servers that answer all the time", "horizontal", func(r *rows) {
		for i := range 40 {
			r.conn(20, host, inner(i), 22, "tcp", "S0")
			r.conn(1, host, inner(200+i), 443, "tcp", "SF")
		}
	})
	f("an own resolver outside", "horizontal", func(r *rows) {
		for i := range 40 {
			r.conn(20, host, fmt.Sprintf("198.18.0.%d", i+1), 23, "tcp", "S0")
			for k := range 3 {
				r.conn(1, host, fmt.Sprintf("198.19.%d.%d", k, i+1), 53, "udp", "SF")
			}
		}
	})
	f("all targets were pinged first, and answered", "horizontal", func(r *rows) {
		for i := range 50 {
			r.conn(.1, host, inner(i), 0, "icmp", "SF")
		}
		for i := range 50 {
			r.conn(.1, host, inner(i), 40125, "udp", "S0")
		}
	})
	f("each target of a block answers at one port", "block", func(r *rows) {
		for i := range 48 {
			r.conn(20, host, inner(i/6), 20+i%6, "tcp", oneOf(i%6, "S0", 0))
		}
	})
}

// kinds are the kinds of scans: each over TCP, UDP or ICMP, from inside or outside,
// over IPv4 or IPv6.
var kinds = []struct {
	name, kind, shape, direction string
	proto                        event.Proto // 0: several
	hosts, ports, attempts       float64
	answered                     []string
	build                        func(*rows)
}{
	{"horizontal", "horizontal", "horizontal", "internal", event.ProtoTCP, 40, 1, 40, []string{"10.0.1.20:445/tcp", "10.0.1.30:445/tcp"}, func(r *rows) {
		for i := range 40 {
			r.conn(.5, inside, scanned(i), 445, "tcp", oneOf(i, "S0", 19, 29))
		}
	}},
	{"horizontal outbound", "horizontal", "horizontal", "outbound", event.ProtoTCP, 40, 1, 40, nil, func(r *rows) {
		for i := range 40 {
			r.conn(.5, inside, fmt.Sprintf("198.18.1.%d", i+1), 23, "tcp", "REJ")
		}
	}},
	{"horizontal UDP inbound", "horizontal", "horizontal", "inbound", event.ProtoUDP, 40, 1, 40, []string{"10.0.1.3:161/udp"}, func(r *rows) {
		for i := range 40 {
			r.conn(.5, outside, scanned(i), 161, "udp", oneOf(i, "S0", 2))
		}
	}},
	{"horizontal IPv6", "horizontal", "horizontal", "internal", event.ProtoTCP, 40, 1, 40, []string{"[fd00:1::15]:22/tcp"}, func(r *rows) {
		for i := range 40 {
			r.conn(.5, "fd00::5", fmt.Sprintf("fd00:1::%x", i+1), 22, "tcp", oneOf(i, "S0", 20))
		}
	}},
	{"vertical", "vertical", "vertical", "internal", event.ProtoTCP, 1, 40, 40, []string{"10.0.1.1:141/tcp"}, func(r *rows) {
		for i := range 40 {
			r.conn(.5, inside, scanned(0), 1+i*7, "tcp", oneOf(i, "REJ", 20))
		}
	}},
	{"vertical inbound", "vertical", "vertical", "inbound", event.ProtoTCP, 1, 40, 40, []string{"10.0.1.1:3/tcp"}, func(r *rows) {
		for i := range 40 {
			r.conn(.5, outside, scanned(0), 1+i, "tcp", oneOf(i, "S0", 2))
		}
	}},
	{"vertical UDP outbound", "vertical", "vertical", "outbound", event.ProtoUDP, 1, 40, 40, nil, func(r *rows) {
		for i := range 40 {
			r.conn(.5, inside, outside, 1+i, "udp", "S0")
		}
	}},
	{"block", "block", "block", "internal", event.ProtoTCP, 10, 8, 80, []string{"10.0.1.1:20/tcp", "10.0.1.5:23/tcp"}, func(r *rows) {
		for i := range 80 {
			r.conn(.5, inside, scanned(i/8), 20+i%8, "tcp", oneOf(i, "S0", 0, 35))
		}
	}},
	{"block inbound, both protocols", "block", "block", "inbound", 0, 10, 8, 80, nil, func(r *rows) {
		for i := range 80 {
			r.conn(.5, outside, scanned(i/8), 20+i%8, []string{"tcp", "udp"}[i%2], "S0")
		}
	}},
	{"sweep", "sweep", "sweep", "internal", event.ProtoICMP, 40, 0, 40, []string{"10.0.1.9"}, func(r *rows) {
		for i := range 40 {
			r.conn(.5, inside, scanned(i), 0, "icmp", oneOf(i, "S0", 8))
		}
	}},
	{"sweep inbound", "sweep", "sweep", "inbound", event.ProtoICMP, 40, 0, 40, nil, func(r *rows) {
		for i := range 40 {
			r.conn(.5, outside, scanned(i), 0, "icmp", "S0")
		}
	}},
	{"sweep IPv6", "sweep", "sweep", "internal", event.ProtoICMPv6, 40, 0, 40, []string{"fd00:1::b"}, func(r *rows) {
		for i := range 40 {
			r.conn(.5, "fd00::5", fmt.Sprintf("fd00:1::%x", i+1), 0, "icmp", oneOf(i, "S0", 10))
		}
	}},
	{"slow", "slow", "horizontal", "internal", event.ProtoTCP, 20, 1, 20, []string{"10.0.1.3:3389/tcp"}, func(r *rows) {
		for i := range 20 {
			r.conn(1200, inside, scanned(i), 3389, "tcp", oneOf(i, "S0", 2))
		}
	}},
	{"slow vertical outbound", "slow", "vertical", "outbound", event.ProtoTCP, 1, 30, 30, nil, func(r *rows) {
		for i := range 30 {
			r.conn(1200, inside, outside, 1+i, "tcp", "REJ")
		}
	}},
	{"slow sweep inbound", "slow", "sweep", "inbound", event.ProtoICMP, 20, 0, 20, nil, func(r *rows) {
		for i := range 20 {
			r.conn(1200, outside, scanned(i), 0, "icmp", "S0")
		}
	}},
	{"distributed", "distributed", "distributed", "inbound", event.ProtoTCP, 1, 60, 60, nil, func(r *rows) {
		for i := range 60 {
			r.conn(.2, fmt.Sprintf("198.18.7.%d", i+1), scanned(0), 1000+i, "tcp", "S0")
		}
	}},
	{"distributed UDP", "distributed", "distributed", "inbound", event.ProtoUDP, 1, 1, 60, nil, func(r *rows) {
		for i := range 60 {
			r.conn(.2, fmt.Sprintf("198.18.7.%d", i+1), scanned(0), 5060, "udp", "S0")
		}
	}},
}

const inside, outside = "10.0.0.5", "198.18.0.5"

func scanned(i int) string { return fmt.Sprintf("10.0.1.%d", i+1) }

// oneOf is the state of the i-th connection: failed, or made if it is one of those.
func oneOf(i int, failed string, made ...int) string {
	if slices.Contains(made, i) {
		return "SF"
	}
	return failed
}

// Each kind of scan is one episode with its numbers, its evidence and the targets that
// answered, from the logs of either sensor.
func TestKinds(t *testing.T) {
	for _, k := range kinds {
		for form := range forms {
			t.Run(k.name+"/"+form, func(t *testing.T) {
				r := newRows()
				k.build(r)
				obs := observe(r.eventsOf(t, form), 1, DefaultConfig())
				if len(obs) != 2 {
					t.Fatalf("%d reports, want two of one episode: %+v", len(obs), obs)
				}
				open, closed := &obs[0], &obs[1]
				if !open.Open || closed.Open || open.Episode != closed.Episode || closed.Revision != 1 {
					t.Error("the reports are not the first and the last of one episode")
				}
				type numbers struct {
					Kind, Shape, Direction                  string
					Proto                                   event.Proto
					Hosts, Ports, Attempts, Failed, Answers float64
					Answered                                []string
				}
				num := func(key string) float64 { return scenario.Number(closed, key) }
				got := numbers{
					scenario.Text(closed, "kind"), scenario.Text(closed, "shape"), closed.Direction, closed.Proto,
					num("targets"), num("ports"), num("attempts"), num("failed"), num("answered"), answeredTargets(closed),
				}
				n := float64(len(k.answered))
				want := numbers{k.kind, k.shape, k.direction, k.proto, k.hosts, k.ports, k.attempts, k.attempts - n, n, k.answered}
				if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
					t.Errorf("%s\n(-want +got):\n%s", closed.Reason, d)
				}
				for _, a := range k.answered {
					if !slices.ContainsFunc(closed.Sample, func(s event.Sample) bool { return addrOf(a) == s.Resp.Addr() }) {
						t.Errorf("the record of %s is not shown", a)
					}
				}
				explained(t, open)
				explained(t, closed)
				if n := scenario.Number(open, "failed_contacts_at_detection"); n > 10 && k.kind != "distributed" {
					t.Errorf("found after %v failed contacts", n)
				}
			})
		}
	}
}

// explained holds that an observation says why, and shows records.
func explained(t *testing.T, o *event.Observation) {
	t.Helper()
	if len(o.Evidence) < 2 || o.Reason == "" || o.Baseline.Text == "" || o.Score <= 0.5 || o.Risk <= 0 {
		t.Errorf("no explanation: %+v", o)
	}
	if len(o.Sample) == 0 || len(o.Sensors) != 1 {
		t.Errorf("%d records shown, of the sensors %v", len(o.Sample), o.Sensors)
	}
	for _, s := range o.Sample {
		if s.UID == "" && scenario.Text(o, "shape") != "distributed" || !s.Resp.IsValid() {
			t.Errorf("a record without name or target: %+v", s)
		}
	}
}

// addrOf is the address of a target that answered, as observations write it.
func addrOf(target string) netip.Addr {
	if a, err := netip.ParseAddr(target); err == nil {
		return a
	}
	to, _, _ := strings.Cut(target, "/")
	return netip.MustParseAddrPort(to).Addr()
}

// answeredTargets are the targets that answered, as an observation lists them.
func answeredTargets(o *event.Observation) []string {
	for _, f := range o.Features {
		if f.Key == "answered_targets" {
			return f.List
		}
	}
	return nil
}

// A scan lists the targets that answered, and not what its host does otherwise.
func TestAnsweredTargets(t *testing.T) {
	r := newRows()
	for i := range 60 {
		state := "S0"
		if i == 30 || i == 45 {
			state = "SF"
		}
		r.conn(.5, "10.0.0.5", fmt.Sprintf("10.0.1.%d", i+1), 445, "tcp", state)
		r.conn(.1, "10.0.0.5", fmt.Sprintf("198.18.0.%d", i+1), 443, "tcp", "SF")
	}
	obs := observe(r.events(t), 1, DefaultConfig())
	last := obs[len(obs)-1]
	if d := cmp.Diff([]string{"10.0.1.31:445/tcp", "10.0.1.46:445/tcp"}, answeredTargets(&last)); d != "" {
		t.Errorf("targets that answered (-want +got):\n%s", d)
	}
	if n := scenario.Number(&last, "attempts"); n != 60 {
		t.Errorf("%v attempts, want 60", n)
	}
}

// What is observed does not depend on the number of shards, and not on where the
// state was cut and restored in other shards.
func TestShardsAndCuts(t *testing.T) {
	evs := load(t, shareddata.Path(t, "labelled/scan/nmap-conn.log.gz"))
	evs = append(evs, load(t, shareddata.Path(t, "labelled/internet-server/2024-04-19.conn.log.gz"), "64.225.56.201/32")[:8000]...)
	want := observe(evs, 1, DefaultConfig())
	if len(want) == 0 {
		t.Fatal("nothing was observed")
	}
	for _, n := range []int{2, 5} {
		if d := cmp.Diff(want, observe(evs, n, DefaultConfig()), compareAddrs); d != "" {
			t.Errorf("%d shards (-one +%d):\n%.3000s", n, n, d)
		}
	}
	for seed := range uint64(5) {
		if d := cmp.Diff(want, scenario.ObserveWithCuts(t, evs, seed, func(n int) scenario.Detector { return New(DefaultConfig(), n) }), compareAddrs); d != "" {
			t.Errorf("seed %d: with cuts (-without +with):\n%.3000s", seed, d)
		}
	}
}

// A flood of invented sources keeps the caps, and takes nothing from a host with
// history.
func TestFlood(t *testing.T) {
	cfg := DefaultConfig()
	s := New(cfg, 1)
	z := enrich.NewZones(nil)
	r := newRows()
	for i := range 30 {
		r.conn(1, "10.0.0.5", fmt.Sprintf("198.18.0.%d", i+1), 443, "tcp", "SF")
	}
	for _, ev := range r.events(t) {
		s.Observe(ev, true, true, nil)
	}
	ev := &event.Event{
		Kind: event.KindConn, Proto: event.ProtoTCP, Outcome: event.OutcomeSilent, Time: int64(1795140000e9),
		Resp: event.Host{Addr: netip.MustParseAddr("10.0.0.80"), Port: 80},
	}
	rnd := rand.New(rand.NewPCG(1, 1))
	for i := range 1_000_000 {
		v := rnd.Uint32()
		ev.Orig.Addr = netip.AddrFrom4([4]byte{198, 18 + byte(v&1), byte(v >> 8), byte(v >> 16)})
		if i%3 == 0 { // some that come twice
			ev.Resp.Port = uint16(v)
		}
		ev.Time += 1e5
		z.Enrich(ev)
		s.Observe(ev, true, true, nil)
	}
	d := s
	if len(d.sources) > cfg.MaxSources || len(d.light) > lightSize || len(d.old) > lightSize {
		t.Errorf("%d sources, %d and %d light ones: over the caps", len(d.sources), len(d.light), len(d.old))
	}
	host := event.HashAddr(netip.MustParseAddr("10.0.0.5"), 0, 0)
	if src := d.sources[host]; src == nil || src.hosts != 30 {
		t.Error("the host with history is forgotten")
	}
}

// What a flood of invented sources leaves in the store is bounded as well.
func TestFloodInStore(t *testing.T) {
	s, stored := New(DefaultConfig(), 1), map[string]bool{}
	s.Track()
	ev := &event.Event{
		Kind: event.KindConn, Proto: event.ProtoTCP, Outcome: event.OutcomeSilent, Time: int64(1795140000e9),
		Resp: event.Host{Addr: netip.MustParseAddr("10.0.0.80"), Port: 80},
	}
	z := enrich.NewZones(nil)
	for i := range 5 * lightSize {
		ev.Orig.Addr = netip.AddrFrom4([4]byte{198, 18 + byte(i>>24), byte(i >> 8), byte(i)})
		ev.Orig.Port = uint16(i)
		ev.VLAN = uint16(i >> 16)
		ev.Time += 1e5
		z.Enrich(ev)
		s.Observe(ev, true, true, nil)
		if i%10_000 != 0 {
			continue
		}
		for _, r := range s.Cut() {
			if len(r.Value) == 0 {
				delete(stored, string(r.Key))
			} else {
				stored[string(r.Key)] = true
			}
		}
		if len(stored) > 2*lightSize+10 {
			t.Fatalf("%d records are stored after %d sources", len(stored), i)
		}
	}
}

// What is stored of a source that comes back to places it has nearly forgotten is what
// is known of it.
func TestSeenAgainIsStored(t *testing.T) {
	s, stored, r := New(DefaultConfig(), 1), map[string]string{}, rand.New(rand.NewPCG(1, 7))
	s.Track()
	z := enrich.NewZones(nil)
	ev := &event.Event{
		Kind: event.KindConn, Proto: event.ProtoTCP, Outcome: event.OutcomeAnswered, Time: int64(1795140000e9),
		Orig: event.Host{Addr: netip.MustParseAddr("10.0.0.5")}, Resp: event.Host{Port: 443},
	}
	for range 20_000 {
		n := r.IntN(900)
		ev.Resp.Addr = netip.AddrFrom4([4]byte{198, 18, byte(n >> 8), byte(n)})
		ev.Time += 1e9
		z.Enrich(ev)
		s.Observe(ev, true, true, nil)
		for _, rec := range s.Cut() {
			stored[string(rec.Key)] = string(rec.Value)
		}
		var w state.Writer
		src := s.sources[ev.Orig.Hash]
		if writeSource(&w, src); stored[string(src.Key(state.KindScanSource))] != string(w.B) {
			t.Fatal("what is stored is not what is known")
		}
	}
}

// So it is of a target to which sources come back.
func TestKnownAgainIsStored(t *testing.T) {
	s, stored, r := New(DefaultConfig(), 1), map[string]string{}, rand.New(rand.NewPCG(1, 8))
	s.Track()
	z := enrich.NewZones(nil)
	ev := &event.Event{
		Kind: event.KindConn, Proto: event.ProtoTCP, Outcome: event.OutcomeAnswered, Time: int64(1795140000e9),
		Resp: event.Host{Addr: netip.MustParseAddr("10.0.0.5"), Port: 443},
	}
	for range 20_000 {
		n := r.IntN(1800)
		ev.Orig.Addr = netip.AddrFrom4([4]byte{10, 1, byte(n >> 8), byte(n)})
		ev.Time += 1e6
		z.Enrich(ev)
		s.Observe(ev, true, true, nil)
		for _, rec := range s.Cut() {
			stored[string(rec.Key)] = string(rec.Value)
		}
		var w state.Writer
		to := s.targets[ev.Resp.Hash]
		if writeTarget(&w, to); stored[string(to.Key(state.KindScanTarget))] != string(w.B) {
			t.Fatal("what is stored is not what is known")
		}
	}
}

func TestObserveDoesNotAllocate(t *testing.T) {
	r := newRows()
	for i := range 40 {
		state := "SF"
		if i%8 == 0 {
			state = "S0"
		}
		r.conn(1, "10.0.0.5", fmt.Sprintf("10.0.1.%d", i+1), 445, "tcp", state)
	}
	evs := r.events(t)
	s := New(DefaultConfig(), 1)
	dst := make([]event.Observation, 0, 8)
	pass := func() {
		for _, ev := range evs {
			dst = s.Observe(ev, true, true, dst[:0])
		}
	}
	pass()
	if n := testing.AllocsPerRun(100, pass); n != 0 {
		t.Errorf("%v allocations for known contacts, want 0", n)
	}
}

// Records that nobody wrote are refused, and do no harm.
func FuzzRestore(f *testing.F) {
	r := newRows()
	for i := range 60 {
		state := "S0"
		if i%9 == 0 {
			state = "SF"
		}
		r.conn(.5, "10.0.0.5", fmt.Sprintf("10.0.1.%d", i+1), 445, "tcp", state)
		r.conn(.1, fmt.Sprintf("198.18.0.%d", i+1), "10.0.0.80", 80+i, "tcp", "S0")
	}
	s := New(DefaultConfig(), 1)
	s.Track()
	evs := r.events(f)
	for _, ev := range evs {
		s.Observe(ev, true, true, nil)
	}
	for _, rec := range s.Cut() {
		f.Add(rec.Key, rec.Value)
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		s := New(DefaultConfig(), 1)
		if s.Restore(state.Record{Key: key, Value: value}, func(uint64) bool { return true }) != nil {
			return
		}
		for _, ev := range evs[:40] {
			s.Observe(ev, true, true, nil)
		}
		s.Finish(nil)
	})
}

func BenchmarkObserve(b *testing.B) {
	evs := load(b, shareddata.Path(b, "labelled/benign-days/010/conn.log.labeled.gz"), "147.32.0.0/16")
	b.ReportAllocs()
	s := New(DefaultConfig(), 1)
	i := 0
	for b.Loop() {
		s.Observe(evs[i], true, true, nil)
		if i++; i == len(evs) {
			i = 0
		}
	}
	b.ReportMetric(float64(len(s.sources)), "sources")
}
