package beacon

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tidewatch/behavior/state"
	"tidewatch/enrich"
	"tidewatch/event"
	"tidewatch/internal/eval"
	"tidewatch/internal/scenario"
	"tidewatch/internal/shareddata"
	"tidewatch/internal/synth"
)

func observe(evs []*event.Event, n int) []event.Observation {
	return scenario.Observe(evs, n, func(shards int) scenario.Detector { return New(DefaultConfig(), shards) })
}

// folder loads all logs of a folder in the order in which they were written.
func folder(t testing.TB, dir string, local ...string) []*event.Event {
	t.Helper()
	var logs [][]*event.Event
	for _, pattern := range []string{"*conn.log*", "*dns.log*", "*ssl.log*", "*http.log*", "eve.json*"} {
		names, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			logs = append(logs, scenario.Load(t, name, local...))
		}
	}
	if len(logs) == 0 {
		t.Fatalf("no logs in %s", dir)
	}
	return scenario.Merge(logs...)
}

// last returns the last report on each episode that names a timer with at least this
// score.
func last(obs []event.Observation, score float64) map[string]event.Observation {
	m := map[string]event.Observation{}
	for _, o := range obs {
		if o.Score >= score {
			m[o.Episode] = o
		}
	}
	return m
}

// The channels of recorded implants are found: comfoo's, of which the sensor saw one
// direction, and those of numinon that check in. (Its third port, 8889, has two
// connections in all, one of them for hours: nothing that a timer could show in.)
func TestRecordedImplants(t *testing.T) {
	f := func(dir, source, destination string, ports []uint16, local ...string) {
		t.Helper()
		obs := observe(folder(t, shareddata.Path(t, dir), local...), 1)
		for _, port := range ports {
			found := false
			for _, o := range obs {
				found = found || o.Source.Addr.String() == source && o.Destination.Addr.String() == destination && o.Destination.Port == port && o.Score >= 0.7
			}
			if !found {
				t.Errorf("%s: %s:%d is not found", dir, destination, port)
			}
		}
	}
	f("labelled/c2/comfoo", "192.168.99.52", "68.183.138.51", []uint16{80})
	f("labelled/c2/numinon", "192.168.2.115", "64.23.212.29", []uint16{6767, 7676})
	f("labelled/internet-server", "73.54.23.243", "64.225.56.201", []uint16{80}, "64.225.56.201/32")
}

// Made implants are found in each form of logs, by name, by address, by DNS, and
// where nobody answers.
func TestMadeImplants(t *testing.T) {
	for _, format := range []string{"zeek", "json", "eve"} {
		t.Run(format, func(t *testing.T) {
			dir := t.TempDir()
			n := synth.New(synth.Options{Seed: 5, Days: 1, Hosts: 25, Activity: 0.3, Attacks: "beacon"})
			if err := n.Write(dir, []string{format}, nil); err != nil {
				t.Fatal(err)
			}
			obs := observe(folder(t, filepath.Join(dir)), 2)
			for _, in := range n.Truth().Instances {
				if in.Difficulty == "easy" && in.Records > 10 && !found(in, obs) {
					t.Errorf("%s is not found", in.ID)
				}
			}
		})
	}
}

func found(in eval.Instance, obs []event.Observation) bool {
	for i := range obs {
		o := &obs[i]
		if o.Score < 0.5 || !strings.Contains(strings.Join(in.Sources, " ")+" ", o.Source.Addr.String()+" ") {
			continue
		}
		for _, d := range in.Destinations {
			if d == o.Destination.Addr.String() || o.Destination.Domain != "" && strings.HasSuffix(d, o.Destination.Domain) || o.Query != "" && strings.HasSuffix(d, o.Query) {
				return true
			}
		}
	}
	return false
}

// A finding says what a person needs: period, jitter, when next, how many, and for
// and against.
func TestWhatAFindingSays(t *testing.T) {
	var r rows
	rnd := rand.New(rand.NewPCG(3, 4))
	at := 0.0
	for range 120 {
		at += 300 * (1 + 0.2*(2*rnd.Float64()-1))
		r.conn(at, "10.0.0.5", "198.51.100.7", 4444, 700, 2000, "SF")
	}
	got := last(observe(r.events(t), 1), 0.5)
	if len(got) != 1 {
		t.Fatalf("%d beacons, want 1", len(got))
	}
	for _, o := range got {
		near := func(key string, want, within float64) {
			t.Helper()
			if v := scenario.Number(&o, key); v < want-within || v > want+within {
				t.Errorf("%s is %g, want %g", key, v, want)
			}
		}
		near("period_seconds", 300, 45)
		near("jitter", 0.2, 0.16)
		near("contacts", 120, 0)
		near("bytes_out_per_contact", 700, 0)
		next, err := time.Parse(time.RFC3339, scenario.Text(&o, "next_expected"))
		if d := next.Sub(time.Unix(0, o.End)); err != nil || d < 200*time.Second || d > 400*time.Second {
			t.Errorf("next expected %v after the last (%v)", d, err)
		}
		if o.Open || o.Direction != "outbound" || len(o.Sample) == 0 || o.Sample[0].UID == "" || o.Baseline.Observations != 120 {
			t.Errorf("%+v", o)
		}
		sum := prior
		against, for_ := 0, 0
		for _, e := range o.Evidence {
			sum += e.Weight
			if e.Weight > 0 {
				for_++
			} else {
				against++
			}
			if e.Text == "" || e.Feature == "" {
				t.Errorf("evidence without words: %+v", e)
			}
		}
		if d := posterior(sum) - o.Score; d > 0.01 || d < -0.01 || for_ < 3 {
			t.Errorf("the weights give %.3f, the score is %.3f; %d for, %d against", posterior(sum), o.Score, for_, against)
		}
		if want := "10.0.0.5 calls 198.51.100.7:4444/tcp every "; !strings.HasPrefix(o.Reason, want) {
			t.Errorf("reason %q", o.Reason)
		}
	}
}

// A record that is shown is that of the connection, once it is over, and not that of
// the handshake which came first.
func TestSamplesAreConnections(t *testing.T) {
	dir := t.TempDir()
	n := synth.New(synth.Options{Seed: 5, Days: 1, Hosts: 10, Activity: 0.3, Attacks: "beacon"})
	if err := n.Write(dir, []string{"zeek"}, nil); err != nil {
		t.Fatal(err)
	}
	shown := 0
	for _, o := range observe(folder(t, dir), 1) {
		if o.Open || scenario.Text(&o, "basis") != "name" || scenario.Text(&o, "kind") != "connection" {
			continue
		}
		for _, s := range o.Sample {
			shown++
			if s.OrigBytes == 0 || s.State == "" {
				t.Errorf("%s: %+v", o.Reason, s)
			}
		}
	}
	if shown < 10 {
		t.Errorf("%d records are shown", shown)
	}
}

// Random traffic of equal size, which looks regular to other methods, is no beacon;
// nor are pings on a timer, or a service that is asked on one.
func TestQuiet(t *testing.T) {
	f := func(name string, fill func(r *rows, rnd *rand.Rand)) {
		t.Helper()
		var r rows
		fill(&r, rand.New(rand.NewPCG(7, 8)))
		for _, o := range last(observe(r.events(t), 1), 0.5) {
			t.Errorf("%s: %s (%.2f)", name, o.Reason, o.Score)
		}
	}
	f("Poisson", func(r *rows, rnd *rand.Rand) {
		at := 0.0
		for range 400 {
			at += 60 * rnd.ExpFloat64()
			r.conn(at, "10.0.0.5", "198.51.100.7", 443, 700, 2000, "SF")
		}
	})
	f("a person", func(r *rows, rnd *rand.Rand) {
		at := 0.0
		for range 40 {
			at += 1800 * rnd.ExpFloat64()
			for range 1 + rnd.IntN(12) {
				at += 2 + 20*rnd.ExpFloat64()
				r.conn(at, "10.0.0.5", "198.51.100.7", 443, rnd.IntN(3000), 2000, "SF")
			}
		}
	})
	f("pings", func(r *rows, _ *rand.Rand) {
		for i := range 200 {
			r.line(float64(60*i), "10.0.0.5", "10.0.0.9", 8, "icmp", 64, 64, "OTH")
		}
	})
}

// What is observed does not depend on the number of shards, and not on where the
// state was cut and restored in other shards.
func TestShardsAndCuts(t *testing.T) {
	evs := folder(t, shareddata.Path(t, "labelled/c2/numinon"))
	want := observe(evs, 1)
	if len(want) == 0 {
		t.Fatal("nothing was observed")
	}
	opts := cmp.Options{
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }), cmpopts.EquateEmpty(),
	}
	for _, n := range []int{2, 5} {
		if d := cmp.Diff(want, observe(evs, n), opts); d != "" {
			t.Errorf("%d shards (-one +%d):\n%.3000s", n, n, d)
		}
	}
	for seed := range uint64(4) {
		got := scenario.ObserveWithCuts(t, evs, seed, func(n int) scenario.Detector { return New(DefaultConfig(), n) })
		if d := cmp.Diff(want, got, opts); d != "" {
			t.Errorf("seed %d: with cuts (-without +with):\n%.3000s", seed, d)
		}
	}
}

// A flood of invented pairs keeps the caps, and takes nothing from a pair with
// history.
func TestFlood(t *testing.T) {
	cfg := DefaultConfig()
	cfg.MaxPairs, cfg.MaxTracks = 20_000, 1000
	d := New(cfg, 1)
	var r rows
	for i := range 40 {
		r.conn(float64(300*i), "10.0.0.5", "198.51.100.7", 4444, 700, 2000, "SF")
	}
	known := r.events(t)
	for _, ev := range known[:20] {
		d.Observe(ev, true, true, nil)
	}
	z := enrich.NewZones(nil)
	rnd := rand.New(rand.NewPCG(1, 1))
	ev := &event.Event{
		Kind: event.KindConn, Proto: event.ProtoTCP, Outcome: event.OutcomeSilent, Time: known[19].Time,
		Resp: event.Host{Addr: netip.MustParseAddr("10.0.0.80"), Port: 80},
	}
	for i := range 400_000 {
		v := rnd.Uint32()
		if i%6 != 0 { // some come again and again
			v = uint32(i/30) * 2654435761
		}
		ev.Orig.Addr = netip.AddrFrom4([4]byte{198, 18 + byte(v&1), byte(v >> 8), byte(v >> 16)})
		ev.Time += 1e6
		z.Enrich(ev)
		d.Observe(ev, true, true, nil)
	}
	if len(d.tracks) > cfg.MaxTracks || d.pairs.used > 2*cfg.MaxPairs {
		t.Errorf("%d tracks, %d pairs: over the caps", len(d.tracks), d.pairs.used)
	}
	if tr := d.trackOf(serviceKey(known[0])); tr == nil || tr.Sessions() != 20 {
		t.Error("the pair with history is forgotten")
	}
}

func TestObserveDoesNotAllocate(t *testing.T) {
	evs := folder(t, shareddata.Path(t, "labelled/benign-days/010"), "147.32.0.0/16")
	d := New(DefaultConfig(), 1)
	var dst []event.Observation
	for _, ev := range evs {
		dst = d.Observe(ev, true, true, dst[:0])
	}
	var quiet []*event.Event // of pairs that are no beacon
	for _, ev := range evs {
		if tr := d.trackOf(serviceKey(ev)); ev.Kind == event.KindConn && (tr == nil || tr.positive == 0) {
			quiet = append(quiet, ev)
		}
	}
	if n := testing.AllocsPerRun(1, func() {
		for _, ev := range quiet {
			dst = d.Observe(ev, true, true, dst[:0])
		}
	}); n > float64(len(quiet))/200 { // a pair may get its track
		t.Errorf("%v allocations for %d records", n, len(quiet))
	}
}

// Records that nobody wrote are refused, and do no harm.
func FuzzRestore(f *testing.F) {
	var r rows
	for i := range 40 {
		r.conn(float64(300*i), "10.0.0.5", "198.51.100.7", 4444, 700, 2000, "SF")
		if i%15 == 0 {
			r.conn(float64(300*i+7), "10.0.0.6", "198.51.100.8", 443, 700, 2000, "SF")
		}
	}
	evs := r.events(f)
	d := New(DefaultConfig(), 1)
	d.Track()
	for _, ev := range evs {
		d.Observe(ev, true, true, nil)
	}
	for _, rec := range d.Cut() {
		f.Add(rec.Key, rec.Value)
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		d := New(DefaultConfig(), 1)
		if d.Restore(state.Record{Key: key, Value: value}, func(uint64) bool { return true }) != nil {
			return
		}
		for _, ev := range evs {
			d.Observe(ev, true, true, nil)
		}
		d.Finish(nil)
	})
}

func TestSizeCode(t *testing.T) {
	for _, n := range []uint64{0, 1, 2047, 2048, 5000, 1 << 20, 123_456_789, 1 << 40} {
		got := codedSize(sizeCode(n))
		if got > n || float64(n-got) > float64(n)/1000 {
			t.Errorf("%d becomes %d", n, got)
		}
	}
}

// A table keeps what it was given, through growth, and never passes its size.
func TestTable(t *testing.T) {
	tb := newTable(4096)
	rnd := rand.New(rand.NewPCG(2, 2))
	kept := map[uint64]bool{}
	check := func() {
		t.Helper()
		if len(kept) != tb.len() {
			t.Errorf("%d kept, and it has %d", len(kept), tb.len())
		}
		for k := range kept {
			if i := tb.find(k); i < 0 || tb.pair(i).key != k || uint64(tb.pair(i).start(0)) != k>>20 {
				t.Fatalf("%x is lost", k)
			}
		}
	}
	add := func() {
		k := rnd.Uint64() | 1
		i, left := tb.insert(k)
		if i < 0 || tb.pair(i).key != k || tb.pair(i).cold != (cold{}) {
			t.Fatalf("%x has no place of its own", k)
		}
		tb.pair(i).put(0, int64(k>>20), 0)
		delete(kept, left)
		kept[k] = true
	}
	for range 1500 {
		add()
	}
	if len(kept) < 1500 {
		t.Errorf("%d of 1500 are left", len(kept))
	}
	check()
	for k := range kept {
		if k%3 == 0 {
			tb.remove(tb.find(k))
			delete(kept, k)
			if tb.find(k) >= 0 {
				t.Fatalf("%x is removed, and there", k)
			}
		}
	}
	check()
	for range 100_000 {
		add()
	}
	check()
	if tb.used > 4096 || len(tb.buckets)*bucketSize > 4096 {
		t.Errorf("%d places, %d buckets", tb.used, len(tb.buckets))
	}
}

func BenchmarkObserve(b *testing.B) {
	evs := folder(b, shareddata.Path(b, "labelled/benign-days/010"), "147.32.0.0/16")
	d := New(DefaultConfig(), 1)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		d.Observe(evs[i], true, true, nil)
		if i++; i == len(evs) {
			i = 0
		}
	}
}

// rows writes a conn.log.
type rows struct {
	b strings.Builder
	n int
}

const epoch = 1795132800 // 2026-11-20 00:00 UTC

func (r *rows) conn(at float64, from, to string, port int, out, in int, state string) {
	r.line(at, from, to, port, "tcp", out, in, state)
}

func (r *rows) line(at float64, from, to string, port int, proto string, out, in int, state string) {
	if r.n == 0 {
		r.b.WriteString("#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n" +
			"#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tservice\tduration\torig_bytes\tresp_bytes\tconn_state\thistory\torig_pkts\torig_ip_bytes\tresp_pkts\tresp_ip_bytes\n" +
			"#types\ttime\tstring\taddr\tport\taddr\tport\tenum\tstring\tinterval\tcount\tcount\tstring\tstring\tcount\tcount\tcount\tcount\n")
	}
	r.n++
	fmt.Fprintf(&r.b, "%.6f\tC%d\t%s\t%d\t%s\t%d\t%s\t-\t0.300000\t%d\t%d\t%s\tShADadFf\t6\t%d\t6\t%d\n",
		epoch+at, r.n, from, 40000+r.n%20000, to, port, proto, out, in, state, out+240, in+240)
}

func (r *rows) events(t testing.TB) []*event.Event {
	t.Helper()
	return scenario.Merge(scenario.Parse(t, []byte(r.b.String())))
}

// A fingerprint of a TLS client that few hosts have speaks for an implant, one that many
// have against it, and one that changes each time says nothing.
func TestClient(t *testing.T) {
	f := func(what string, clients, hosts uint32, ja4, ja3 []string, low, high float64) {
		t.Helper()
		tr := &track{}
		tr.last.hosts = hosts
		for i := range 4 {
			ev := &event.Event{TLS: &event.TLS{JA4: ja4[i%len(ja4)], JA3: ja3[i%len(ja3)]}, Known: &event.Known{Client: event.Use{Hosts: clients}}}
			tr.handshake(ev)
		}
		x := terms{tell: true}
		tr.client(&x)
		if x.odds < low || x.odds > high || len(x.list) != 0 && x.list[0].Text == "" {
			t.Errorf("%s: %.2f, want %.2f to %.2f", what, x.odds, low, high)
		}
	}
	one, none, two := []string{"t13d1516h2_8daaf6152771_02713d6af862"}, []string{""}, []string{"a", "b"}
	f("rare", 1, 200, one, none, 0.7, 0.8)
	f("common", 120, 200, one, none, -0.9, -0.7)
	f("usual", 20, 200, one, none, -0.01, 0.01)
	f("rare, by JA3", 1, 200, none, one, 0.7, 0.8)
	f("rare, with a JA3 that changes", 1, 200, one, two, 0.7, 0.8)
	f("a JA3 that changes", 1, 200, none, two, 0, 0)
	f("a JA4 that changes", 1, 200, two, one, 0, 0)
	f("among few hosts", 1, 9, one, none, 0, 0)
	f("no fingerprint", 0, 200, none, none, 0, 0)
}
