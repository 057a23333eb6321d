package scan

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"strings"
	"testing"

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

// rows writes a Zeek conn.log.
type rows struct {
	b  strings.Builder
	at float64
	n  int
}

func newRows() *rows {
	r := &rows{at: 1795132800}
	r.b.WriteString("#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n" +
		"#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tconn_state\torig_pkts\tresp_pkts\n")
	return r
}

// conn writes one connection, some seconds after the last.
func (r *rows) conn(after float64, orig, resp string, port int, proto, state string) *rows {
	r.at += after
	r.n++
	back := 0
	if state == "SF" {
		back = 1
	}
	fmt.Fprintf(&r.b, "%.6f\tC%d\t%s\t%d\t%s\t%d\t%s\t%s\t1\t%d\n", r.at, r.n, orig, 40000+r.n%20000, resp, port, proto, state, back)
	return r
}

func (r *rows) events(t testing.TB) []*event.Event {
	return scenario.Parse(t, []byte(r.b.String()))
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
	for i := range 50 {
		r.conn(1, outer(i), "10.0.0.80", 23, "tcp", "S0")
	}
	f("stray probes of one server, a second apart, of a target that is an hour old", quietBefore(r))

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

// quietBefore returns rows that do nothing: the stray probes of r are a burst by
// themselves, and are judged as a distributed scan where they should be.
func quietBefore(r *rows) *rows {
	q := newRows()
	for i := range 400 { // one a minute is the weather of this server
		q.conn(60, fmt.Sprintf("198.19.%d.%d", i/200, 1+i%200), "10.0.0.80", 23, "tcp", "S0")
	}
	return q
}

// Each kind of scan, over TCP, UDP and ICMP, from inside and outside.
func TestKinds(t *testing.T) {
	f := func(shape, direction string, build func(*rows)) {
		t.Helper()
		r := newRows()
		build(r)
		obs := observe(r.events(t), 1, DefaultConfig())
		if len(obs) != 2 {
			t.Fatalf("%s %s: %d reports, want two of one episode: %+v", direction, shape, len(obs), obs)
		}
		open, closed := &obs[0], &obs[1]
		if !open.Open || closed.Open || open.Episode != closed.Episode || closed.Revision != 1 {
			t.Errorf("%s %s: the reports are not the first and last of one episode", direction, shape)
		}
		if got := scenario.Text(closed, "shape"); got != shape || closed.Direction != direction {
			t.Errorf("got %s %s, want %s %s: %s", closed.Direction, got, direction, shape, closed.Reason)
		}
		if len(closed.Evidence) == 0 || len(closed.Sample) == 0 || closed.Reason == "" || closed.Baseline.Text == "" {
			t.Errorf("%s %s: no explanation", direction, shape)
		}
	}
	const host, stranger = "10.0.0.5", "198.18.0.5"
	f("horizontal", "internal", func(r *rows) {
		for i := range 40 {
			r.conn(.5, host, fmt.Sprintf("10.0.1.%d", i+1), 445, "tcp", "S0")
		}
	})
	f("horizontal", "outbound", func(r *rows) {
		for i := range 40 {
			r.conn(.5, host, fmt.Sprintf("198.18.1.%d", i+1), 23, "tcp", "REJ")
		}
	})
	f("horizontal", "inbound", func(r *rows) {
		for i := range 40 {
			r.conn(.5, stranger, fmt.Sprintf("10.0.1.%d", i+1), 161, "udp", "S0")
		}
	})
	f("vertical", "internal", func(r *rows) {
		for i := range 40 {
			r.conn(.5, host, "10.0.1.1", 1+i*7, "tcp", "REJ")
		}
	})
	f("block", "internal", func(r *rows) {
		for i := range 80 {
			r.conn(.5, host, fmt.Sprintf("10.0.1.%d", i/8+1), 20+i%8, "tcp", "S0")
		}
	})
	f("sweep", "internal", func(r *rows) {
		for i := range 40 {
			r.conn(.5, host, fmt.Sprintf("10.0.1.%d", i+1), 0, "icmp", "OTH")
		}
		s := r.b.String() // orig_p is the type
		s = icmpType.ReplaceAllString(s, "\t8\t$1\t0\ticmp")
		r.b.Reset()
		r.b.WriteString(s)
	})
	f("horizontal", "internal", func(r *rows) { // slow: one each twenty minutes
		for i := range 20 {
			r.conn(1200, host, fmt.Sprintf("10.0.1.%d", i+1), 3389, "tcp", "S0")
		}
	})
	f("distributed", "inbound", func(r *rows) {
		for i := range 120 {
			r.conn(.2, fmt.Sprintf("198.18.7.%d", i+1), "10.0.0.80", 1000+i, "tcp", "S0")
		}
	})
}

// icmpType finds the ports of an ICMP row, which rows writes as it does all others.
var icmpType = regexp.MustCompile(`\t\d+\t(10\.0\.1\.\d+)\t0\ticmp`)

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
	for _, f := range last.Features {
		if f.Key == "answered_targets" {
			if d := cmp.Diff([]string{"10.0.1.31:445/tcp", "10.0.1.46:445/tcp"}, f.List); d != "" {
				t.Errorf("targets that answered (-want +got):\n%s", d)
			}
		}
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
