package dnstunnel

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tidewatch/behavior/sketch"
	"tidewatch/behavior/state"
	"tidewatch/enrich"
	"tidewatch/event"
	"tidewatch/internal/scenario"
	"tidewatch/internal/shareddata"
)

var compareAddrs = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
	cmpopts.EquateEmpty(),
}

// Every recorded tunnel is one finding, within 20 questions.
func TestRecordedTunnels(t *testing.T) {
	f := func(file, source, domain, kind string, direct float64) {
		t.Helper()
		obs := observe(scenario.Load(t, shareddata.Path(t, file)), 1, DefaultConfig())
		if len(obs) != 2 || obs[0].Episode != obs[1].Episode || !obs[0].Open || obs[1].Open {
			t.Fatalf("%s: %d reports, want the first and the last of one tunnel", file, len(obs))
		}
		o := &obs[0]
		if o.Source.Addr.String() != source || o.Query != domain || scenario.Text(o, "kind") != "fast" || scenario.Number(o, "direct") != direct {
			t.Errorf("%s: %s", file, o.Reason)
		}
		if n := scenario.Number(o, "queries_at_detection"); n > 20 {
			t.Errorf("%s: found after %v questions", file, n)
		}
		for _, ft := range o.Features {
			if ft.Key == "types" && !slices.Contains(ft.List, kind) {
				t.Errorf("%s: types %v", file, ft.List)
			}
		}
	}
	f("labelled/dns-tunnel/dnscat2-cname.eve.json.gz", "192.168.68.62", "ggy666.tk", "CNAME", 0)
	f("labelled/dns-tunnel/iodine-cname.eve.json.gz", "192.168.117.128", "ggy666.tk", "CNAME", 1)
	f("suricata/eve-7.0.10.json.gz", "10.30.28.90", "tunnel.com", "TXT", 0) // dns2tcp, among much else
}

// Recorded networks without tunnels have none.
func TestRecordedInnocence(t *testing.T) {
	f := func(path string, local ...string) {
		t.Helper()
		for _, o := range observe(scenario.Load(t, shareddata.Path(t, path), local...), 1, DefaultConfig()) {
			t.Errorf("%s: %s", path, o.Reason)
		}
	}
	f("labelled/dns-tunnel/normal-00.eve.json.gz")
	f("labelled/benign-days/010/dns.log.labeled.gz", "147.32.0.0/16")
	f("labelled/c2/comfoo/dns.log.gz")
	f("labelled/c2/numinon/dns.log.gz")
	f("labelled/c2/normal/dns.log.gz")
	f("labelled/internet-server/2024-04-19.dns.log.gz", "64.225.56.201/32")
	f("zeek/wrccdc/dns.log.gz")
	f("zeek/wrccdc/dns.json.gz")
}

// Each form of the same questions gives the same case, however many records it makes
// of one question.
func TestForms(t *testing.T) {
	l := newLog()
	for i := range 200 {
		l.ask(3, l.data(base32Lower, 40)+".t.evil.example", "TXT", l.data(base32Lower, 30))
		if i%4 == 3 { // and once more: its answer was lost
			again := l.rows[len(l.rows)-1]
			q := l.ask(1, again.name, again.kind, again.answer)
			q.nx = false
		}
	}
	numbers := func(text string) map[string]float64 {
		obs := observe(scenario.Parse(t, []byte(text)), 1, DefaultConfig())
		if len(obs) != 2 {
			t.Fatalf("%d reports, want 2: %.300s", len(obs), text)
		}
		m := map[string]float64{"score": obs[1].Score}
		for _, f := range obs[1].Features {
			if f.Type == event.FeatureNumber && !strings.HasSuffix(f.Key, "seconds") && f.Key != "queries_at_detection" {
				m[f.Key] = f.Num
			}
		}
		return m
	}
	want := numbers(l.zeek())
	if want["queries"] != 250 || want["subnames"] != 200 || want["subname_bytes"] != 200*42 || want["answer_bytes"] != 200*30+50*30 || want["answer_ttl"] != 60 {
		t.Errorf("Zeek: %v", want)
	}
	f := func(form, text string) {
		t.Helper()
		if d := cmp.Diff(want, numbers(text), cmpopts.EquateApprox(0, 0.02)); d != "" {
			t.Errorf("%s (-Zeek +%s):\n%s", form, form, d)
		}
	}
	f("JSON", l.zeekJSON())
	f("EVE 1", l.eve(1, true))
	f("EVE 2", l.eve(2, true))
	f("EVE 3", l.eve(3, true))
	f("EVE 3 without questions", l.eve(3, false))

	both := scenario.Merge(l.events(t), scenario.Parse(t, []byte(l.eve(2, true))))
	obs := observe(both, 1, DefaultConfig())
	if o := &obs[len(obs)-1]; scenario.Number(o, "queries") != 250 || scenario.Number(o, "novelty") != want["novelty"] || len(o.Sensors) != 2 {
		t.Errorf("both sensors: %s", o.Reason)
	}
}

// What tunnels look like, and within how many questions they are found.
func TestKinds(t *testing.T) {
	f := func(kind string, within float64, build func(*log)) {
		t.Helper()
		l := newLog()
		build(l)
		obs := observe(l.events(t), 1, DefaultConfig())
		if len(obs) < 2 {
			t.Errorf("%s: not found", kind)
			return
		}
		for i := range obs {
			if o := &obs[i]; o.Query != "evil.example" || scenario.Text(o, "kind") != kind || len(o.Sample) == 0 || o.Sample[0].UID == "" || o.Baseline.Text == "" {
				t.Errorf("%s: %s %+v", scenario.Text(o, "kind"), o.Reason, o)
			}
		}
		if n := scenario.Number(&obs[0], "queries_at_detection"); n > within {
			t.Errorf("%s: found after %v questions, want %v", obs[0].Reason, n, within)
		}
	}
	for _, kind := range []string{"TXT", "NULL", "CNAME", "MX", "SRV"} {
		f("fast", 20, func(l *log) { l.tunnel(60, 1, "t.evil.example", kind, 50) })
	}
	f("fast", 30, func(l *log) { l.tunnel(60, 1, "t.evil.example", "A", 100) })
	f("fast", 20, func(l *log) { // hexadecimal
		for range 40 {
			l.ask(1, l.data(hexLower, 60)+".evil.example", "TXT", "x")
		}
	})
	f("fast", 10, func(l *log) { // bytes that no host's name has
		for i := range 40 {
			l.ask(1, fmt.Sprintf(`z%d\xbe\xc0\xff\xd0%s\xe9.evil.example`, i, l.data(base32Lower, 30)), "NULL", "x")
		}
	})
	f("fast", 400, func(l *log) { // words, and much of them
		words := []string{"the", "quick", "report", "of", "salaries", "for", "next", "year", "is", "attached"}
		for i := range 2000 {
			l.ask(1, fmt.Sprintf("%s-%s-%s-%s.%s-%s-%s%d.evil.example", words[i%10], words[i/10%10], words[i/100%10], words[(i+3)%10], words[(i+5)%10], words[(i+7)%10], words[i/3%10], i%7), "TXT", "ok")
		}
	})
	f("fast", 12, func(l *log) { // straight to the intruder's own server, by address
		for range 40 {
			l.ask(1, l.data(base32Lower, 30)+".evil.example", "TXT", "x").server = "198.18.0.9"
		}
	})
	f("slow", 140, func(l *log) { l.tunnel(500, 300, "y.evil.example", "A", 30) })
	f("resolver", 60, func(l *log) {
		for i := range 30 { // who asks many servers looks for answers itself
			l.ask(1, fmt.Sprintf("www.site%d.example", i), "A", "198.18.0.1").server = fmt.Sprintf("198.18.1.%d", i)
		}
		for range 200 {
			l.ask(1, l.data(base32Lower, 60)+".evil.example", "TXT", "x").server = "198.18.0.9"
		}
	})
	f("resolver", 60, func(l *log) {
		l.ask(1, "www.site.example", "A", "198.18.0.1").host = "10.0.0.77"
		l.rows[0].server = client // it answers others
		l.tunnel(200, 1, "evil.example", "TXT", 60)
	})
}

// What must stay quiet, and why.
func TestQuiet(t *testing.T) {
	f := func(what string, build func(*log)) {
		t.Helper()
		l := newLog()
		build(l)
		for _, o := range observe(l.events(t), 1, DefaultConfig()) {
			t.Errorf("%s: %s\n%+v", what, o.Reason, o.Evidence)
		}
	}
	reversed := func(r *rand.Rand) string {
		return fmt.Sprintf("%d.%d.%d.%d", r.IntN(256), r.IntN(256), r.IntN(256), r.IntN(256))
	}
	f("a mail server that asks block lists nobody has heard of", func(l *log) {
		for i := range 3000 {
			l.ask(2, reversed(l.rnd)+[]string{".bl.lists.example", ".zen.other.example"}[i%2], "A", []string{"", "127.0.0.2"}[i/2%2])
		}
	})
	f("block lists, asked for IPv6", func(l *log) {
		for range 2000 {
			var b strings.Builder
			for range 32 {
				fmt.Fprintf(&b, "%x.", l.rnd.IntN(16))
			}
			l.ask(5, b.String()+"lists.example", "A", "")
		}
	})
	f("reputation lookups of security software", func(l *log) {
		for range 3000 {
			l.ask(1, l.data(hexLower, 60)+".i.00.s.sophosxl.net", "TXT", l.data(base32Lower, 60))
			l.ask(1, "0.11-a3."+l.data(base32Lower, 26)+".avqs.mcafee.com", "A", "127.0.0.1")
		}
	})
	f("the client's search list, behind names that do not exist", func(l *log) {
		for i := range 3000 {
			l.ask(2, fmt.Sprintf("www.%s%d.com.corp.office.example", []string{"news", "shop", "mail", "cdn-images"}[i%4], i), "A", "")
		}
	})
	f("the same, behind names of a content network", func(l *log) {
		for range 1500 {
			l.ask(5, l.data(hexLower, 40)+".cloudfront.net.corp.office.example", "A", "")
		}
	})
	f("a browser's caches with numbers", func(l *log) {
		for i := range 4000 {
			l.ask(1, fmt.Sprintf("r%d---edge-fra%d.video.example", i%90, i%13), "A", "198.18.0.1")
		}
	})
	f("telemetry with an identifier in the name, the same each time", func(l *log) {
		id := l.data(hexLower, 60)
		for range 4000 {
			l.ask(5, id+".telemetry.example", "A", "198.18.0.1")
		}
	})
	f("a few names of a content network, by both protocols", func(l *log) {
		for range 25 {
			name := l.data(base32Lower, 32) + ".cdn.example"
			for range 3 {
				l.ask(20, name, "A", "198.18.0.1")
				l.ask(.1, name, "AAAA", "2001:db8::1")
			}
		}
	})
	f("service discovery in the own domain", func(l *log) {
		for i := range 2000 {
			l.ask(3, fmt.Sprintf("_ldap._tcp.site%d._sites.dc._msdcs.corp.office.example", i%12), "SRV", "dc1.corp.office.example")
		}
	})
	f("reverse lookups, of addresses of both kinds", func(l *log) {
		for i := range 3000 {
			l.ask(1, reversed(l.rnd)+".in-addr.arpa", "PTR", fmt.Sprintf("h%d.example", i))
		}
	})
	f("names of the neighbourhood", func(l *log) {
		for i := range 3000 {
			l.ask(1, l.data(base32Lower, 60)+".printer.local", "A", "")
			l.ask(1, l.data(base32Lower, 30), "A", "")
			l.ask(1, l.data(base32Lower, 60)+".x.example", "A", "").port = []int{137, 5353, 5355}[i%3]
			l.ask(1, l.data(base32Lower, 60)+".x.example", "A", "").server = "224.0.0.251"
		}
	})
	f("a generator of domains", func(l *log) {
		for range 5000 {
			l.ask(1, l.data(base32Lower, 16)+".com", "A", "")
		}
	})
	f("outsiders who ask here", func(l *log) {
		for range 1000 {
			l.ask(1, l.data(base32Lower, 60)+".evil.example", "TXT", "x").host = "198.18.0.7"
		}
	})
	f("names written in many cases", func(l *log) {
		for range 3000 {
			name := []byte("status.updates.deployment.vendor.example")
			for i := range name {
				if l.rnd.IntN(2) == 0 && name[i] != '.' {
					name[i] -= 'a' - 'A'
				}
			}
			l.ask(1, string(name), "A", "198.18.0.1")
		}
	})
}

// alone runs records through one shard, with what the test says is known of them.
func alone(evs []*event.Event) (obs []event.Observation) {
	d := New(DefaultConfig(), 1)
	for _, ev := range evs {
		obs = d.Observe(ev, true, true, obs)
	}
	return d.Finish(obs)
}

// What is known of a domain speaks for a tunnel or against it.
func TestPopulation(t *testing.T) {
	f := func(what string, known event.Known, want string) {
		t.Helper()
		l := newLog()
		for range 200 { // an identifier a minute
			l.ask(60, l.data(base32Lower, 36)+".t.vendor.example", "A", "198.18.0.1")
		}
		evs := l.events(t)
		for _, ev := range evs {
			known.Name, known.Domain = ev.DNS.Query, "vendor.example"
			k := known
			ev.Known = &k
		}
		got := ""
		for _, o := range alone(evs) {
			got = scenario.Text(&o, "kind")
		}
		if got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	f("one host of many asks", event.Known{Hosts: 100, OfDomain: event.Use{Hosts: 1}}, "fast")
	f("half of all hosts ask", event.Known{Hosts: 100, OfDomain: event.Use{Hosts: 50}}, "")
	f("a popular domain", event.Known{Hosts: 100, Rank: 900}, "")
	f("a telemetry domain", event.Known{Hosts: 100, OfDomain: event.Use{Hosts: 3}, Class: event.ClassTelemetry}, "")
	f("one that only calls itself so", event.Known{Hosts: 100, OfDomain: event.Use{Hosts: 1}, Class: event.ClassTelemetry}, "slow")
	f("names are asked of name servers", event.Known{Hosts: 100, OfDomain: event.Use{Hosts: 1}, Class: event.ClassName}, "fast")
}

// A tunnel through a domain that many use is found by what it carries.
func TestSharedDomain(t *testing.T) {
	l := newLog()
	l.tunnel(3000, 1, "t.evil.example", "TXT", 100)
	evs := l.events(t)
	for _, ev := range evs {
		ev.Known = &event.Known{Name: ev.DNS.Query, Domain: "evil.example", Hosts: 100, OfDomain: event.Use{Hosts: 30}}
	}
	obs := alone(evs)
	if len(obs) != 2 || scenario.Text(&obs[0], "kind") != "shared" || scenario.Number(&obs[0], "prevalence") != 0.3 {
		t.Fatalf("%+v", obs)
	}
}

// The weights of the evidence add up to the log-odds, and to the score.
func TestEvidenceAddsUp(t *testing.T) {
	l := newLog()
	l.tunnel(100, 60, "t.evil.example", "TXT", 40)
	for _, o := range observe(l.events(t), 1, DefaultConfig()) {
		sum := 0.0
		for _, e := range o.Evidence {
			sum += e.Weight
			if e.Text == "" || math.IsNaN(e.Observed) {
				t.Errorf("%+v", e)
			}
		}
		if odds := scenario.Number(&o, "log_odds"); math.Abs(sum-odds) > 0.05 || math.Abs(probability(odds)-o.Score) > 0.002 {
			t.Errorf("the weights add up to %.2f, the log-odds are %.2f and the score %.3f", sum, odds, o.Score)
		}
	}
}

// A tunnel that goes on is one finding a day, and one that pauses is over.
func TestEpisodes(t *testing.T) {
	f := func(what string, want int, build func(*log)) {
		t.Helper()
		l := newLog()
		build(l)
		ids := map[string]bool{}
		for _, o := range observe(l.events(t), 1, DefaultConfig()) {
			ids[o.Episode] = true
		}
		if len(ids) != want {
			t.Errorf("%s: %d findings, want %d", what, len(ids), want)
		}
	}
	f("three days", 3, func(l *log) { l.tunnel(3*24*60, 60, "t.evil.example", "TXT", 60) })
	f("two hours apart", 2, func(l *log) {
		l.tunnel(100, 1, "t.evil.example", "TXT", 60)
		l.at += 7200
		l.tunnel(100, 1, "t.evil.example", "TXT", 60)
	})
	f("one name every two hours", 1, func(l *log) { l.tunnel(16, 7200, "evil.example", "NULL", 200) })
	f("ten minutes apart", 1, func(l *log) {
		l.tunnel(100, 1, "t.evil.example", "TXT", 60)
		l.at += 600
		l.tunnel(100, 1, "t.evil.example", "TXT", 60)
	})
	f("two domains", 2, func(l *log) {
		l.tunnel(100, 1, "t.evil.example", "TXT", 60)
		l.tunnel(100, 1, "t.worse.example", "TXT", 60)
	})
}

// The evidence of a domain that the host has asked for long before is that of the last
// day.
func TestStart(t *testing.T) {
	l := newLog()
	l.tunnel(30, 6000, "t.evil.example", "A", 12)
	l.tunnel(100, 1, "t.evil.example", "TXT", 60)
	obs := observe(l.events(t), 1, DefaultConfig())
	if len(obs) != 2 || obs[0].Start != obs[0].Time-day {
		t.Errorf("%+v", obs)
	}
}

// What was asked for over a day does not count as asked for within the hour, once it is
// looked at.
func TestPromotion(t *testing.T) {
	l := newLog()
	for i := range 5 {
		l.ask(4*3600, l.data(base32Lower, 30+i)+".evil.example", "TXT", "x")
		l.ask(1, "www.evil.example", "A", "198.18.0.1") // says nothing
	}
	d := New(DefaultConfig(), 1)
	for _, ev := range l.events(t) {
		d.Observe(ev, true, true, nil)
	}
	looked := 0
	for _, h := range d.hosts {
		for _, c := range h.hot {
			looked++
			if c.hour.sum() != 0 || c.day.sum() != 160 || c.total[countNames] != 5 || c.total[countBytes] != 160 {
				t.Errorf("%v B within the hour, %v within the day, %v names of %v B", c.hour.sum(), c.day.sum(), c.total[countNames], c.total[countBytes])
			}
		}
	}
	if looked != 1 {
		t.Errorf("%d domains are looked at, want 1", looked)
	}
}

// crowd is a network with all that makes state: tunnels of several hosts, browsing, a
// resolver, generated domains.
func crowd(t testing.TB, scale int) []*event.Event {
	l := newLog()
	for i := range 40 * scale {
		for k := range 4 {
			if q := l.ask(20, l.data(base32Lower, 30+10*k)+".evil"+fmt.Sprint(k)+".example", []string{"TXT", "A", "NULL", "CNAME"}[k], "x"); k > 0 {
				q.host = fmt.Sprintf("10.0.0.%d", 10+k)
			}
			if k == 3 {
				l.rows[len(l.rows)-1].server = "198.18.0.9"
			}
		}
		l.ask(1, fmt.Sprintf("img%d.cdn%d.example", i%9, i%70), "A", "198.18.0.1").host = fmt.Sprintf("10.0.1.%d", i%5)
		q := l.ask(1, l.data(base32Lower, 12)+".com", "A", "")
		q.host, q.server = "10.0.0.12", "198.18.2.8"
		l.ask(1, "www.site.example", "A", "198.18.0.1").server = fmt.Sprintf("198.18.1.%d", i%12)
		if i%50 == 49 {
			l.at += 5000
		}
	}
	return l.events(t)
}

// What is observed does not depend on the number of shards, and not on where the
// state was cut and restored in other shards.
func TestShardsAndCuts(t *testing.T) {
	evs := append(scenario.Load(t, shareddata.Path(t, "labelled/dns-tunnel/iodine-cname.eve.json.gz"))[:3000], crowd(t, 20)...)
	want := observe(evs, 1, DefaultConfig())
	if len(want) < 8 {
		t.Fatalf("%d reports", len(want))
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

// A record keeps all that is known.
func TestRecordsKeepEverything(t *testing.T) {
	evs := crowd(t, 10)
	d, back := New(DefaultConfig(), 1), New(DefaultConfig(), 1)
	d.Track()
	for _, ev := range evs {
		d.Observe(ev, true, true, nil)
	}
	if len(d.open) < 3 || d.candidates < 4 {
		t.Fatalf("%d episodes, %d candidates", len(d.open), d.candidates)
	}
	for _, rec := range d.Cut() {
		if err := back.Restore(rec, func(uint64) bool { return true }); err != nil {
			t.Fatalf("%q: %v", rec.Key, err)
		}
	}
	opts := cmp.Options{
		compareAddrs, cmp.Exporter(func(reflect.Type) bool { return true }),
		cmp.Comparer(func(a, b sketch.Seen) bool { return bytes.Equal(a.Append(nil), b.Append(nil)) }),
		cmpopts.SortSlices(func(a, b *candidate) bool { return a.key < b.key }),
	}
	if diff := cmp.Diff(d.hosts, back.hosts, opts); diff != "" {
		t.Errorf("kept (-), restored (+):\n%.3000s", diff)
	}
	if len(back.open) != len(d.open) || back.candidates != d.candidates {
		t.Errorf("%d episodes and %d candidates, want %d and %d", len(back.open), back.candidates, len(d.open), d.candidates)
	}
}

// Numbers that no time in nanoseconds gives are refused: they would be counted up to.
func TestRefusedRecords(t *testing.T) {
	f := func(what string, spoil func(*candidate)) {
		t.Helper()
		c := &candidate{host: &host{Host: state.Host{Addr: netip.MustParseAddr(client)}}, key: 1}
		spoil(c)
		var w state.Writer
		writeCandidate(&w, c)
		err := New(DefaultConfig(), 1).Restore(state.Record{Key: c.stateKey(), Value: w.B}, func(uint64) bool { return true })
		if (err == nil) != (what == "nothing") {
			t.Errorf("%s: %v", what, err)
		}
	}
	f("nothing", func(*candidate) {})
	f("a window in the past", func(c *candidate) { c.hour.head = math.MinInt64 })
	f("a window in the future", func(c *candidate) { c.day.head = math.MaxInt64 })
	f("a decay in the past", func(c *candidate) { c.decayed = math.MinInt64 })
	f("a slot that is none", func(c *candidate) { c.next = numSlots })
	f("less than nothing", func(c *candidate) { c.recent[countNames] = -1 })
	f("no number", func(c *candidate) { c.chars[0] = math.NaN() })
}

// A server outside is the intruder's own if nobody asks it about anything else.
func TestDirect(t *testing.T) {
	f := func(what, other string, hosts uint32, want float64) {
		t.Helper()
		l := newLog()
		for i := range 40 {
			if i == 2 && other != "" {
				l.ask(1, "www.site.example", "A", "198.18.0.1").server = other
			}
			l.ask(1, l.data(base32Lower, 60)+".evil.example", "TXT", "x").server = "198.18.0.9"
		}
		evs := l.events(t)
		for _, ev := range evs {
			ev.Known = &event.Known{Name: ev.DNS.Query, Domain: ev.DNS.Query[strings.LastIndexByte(strings.TrimSuffix(ev.DNS.Query, ".example"), '.')+1:], Addr: event.Use{Hosts: hosts}}
		}
		obs := alone(evs)
		if len(obs) != 2 || scenario.Number(&obs[1], "direct") != want || obs[1].Destination.Addr.String() != "198.18.0.9" {
			t.Errorf("%s: %+v", what, obs)
		}
	}
	f("one domain", "", 1, 1)
	f("another, of another server", "198.18.0.8", 1, 1)
	f("another, of the same server", "198.18.0.9", 1, 0)
	f("a server that many ask", "", 30, 0)
}

// Domains that are made up displace each other, and none that little is known of yet.
func TestLightRecordsOfWorth(t *testing.T) {
	l := newLog()
	l.tunnel(4, 1, "evil.example", "A", 30)
	for i := range 500 {
		l.ask(1, fmt.Sprintf("a.generated%d.example", i), "A", "")
	}
	d := New(DefaultConfig(), 1)
	for _, ev := range l.events(t) {
		d.Observe(ev, true, true, nil)
	}
	h := d.hosts[event.HashAddr(netip.MustParseAddr(client), 0, 0)]
	i := slices.Index(h.keys, hashBytes([]byte("evil.example")))
	if i < 0 || h.lights[i].names != 4 || h.lights[i].bytes != 120 || len(h.lights) != DefaultConfig().MaxDomains {
		t.Errorf("%d of %d: %+v", i, len(h.lights), h.lights)
	}
}

// A host has so many candidates, and keeps those that say the most.
func TestCandidatesOfOneHost(t *testing.T) {
	l := newLog()
	l.tunnel(40, 1, "evil.example", "A", 20)
	for i := range 3 * maxHot {
		l.tunnel(10, 1, fmt.Sprintf("other%d.example", i), "A", 18)
	}
	d := New(DefaultConfig(), 1)
	for _, ev := range l.events(t) {
		d.Observe(ev, true, true, nil)
	}
	h := d.hosts[event.HashAddr(netip.MustParseAddr(client), 0, 0)]
	if len(h.hot) != maxHot || d.candidates != maxHot || h.candidate(hashBytes([]byte("evil.example"))) == nil {
		t.Errorf("%d candidates, of which %d are counted", len(h.hot), d.candidates)
	}
}

// Floods of names, of domains and of hosts keep the caps, and take nothing from a
// slow tunnel of a host with history.
func TestFlood(t *testing.T) {
	cfg := DefaultConfig()
	cfg.MaxHosts, cfg.MaxCandidates = 2000, 200
	d := New(cfg, 1)
	l := newLog()
	l.tunnel(60, 300, "y.evil.example", "A", 30)
	for i := range 200 { // another host, which is silent from then on
		l.ask(1, fmt.Sprintf("img%d.site%d.example", i%3, i%10), "A", "198.18.0.1").host = "10.0.0.6"
	}
	for _, ev := range l.events(t) {
		d.Observe(ev, true, true, nil)
	}
	z := enrich.NewZones(nil)
	rnd := rand.New(rand.NewPCG(1, 1))
	ev := &event.Event{Kind: event.KindDNS, Sensor: event.SensorZeek, Proto: event.ProtoUDP, Time: int64(l.at * 1e9), DNS: &event.DNS{QType: 1}}
	ev.Resp = event.Host{Addr: netip.MustParseAddr(resolver), Port: 53}
	var found []event.Observation
	for i := range 400_000 {
		v := rnd.Uint32()
		ev.Orig.Addr = netip.AddrFrom4([4]byte{10, 1 + byte(v&63), byte(v >> 8), byte(v >> 16)})
		switch i % 4 {
		case 0: // a host that comes again
			ev.Orig.Addr = netip.AddrFrom4([4]byte{10, 99, 0, byte(v)})
			ev.DNS.Query = fmt.Sprintf("%x-%x-%x.x.flood%d.example", v, rnd.Uint64(), rnd.Uint64(), v>>8%60)
		case 1: // the client itself, with domains that are made up
			ev.Orig.Addr = netip.MustParseAddr(client)
			ev.DNS.Query = fmt.Sprintf("a%d.flood%x.example", v%10, rnd.Uint64())
		default:
			ev.DNS.Query = fmt.Sprintf("%x.flood%d.example", rnd.Uint64(), v%5000)
		}
		ev.Time += 1e5
		z.Enrich(ev)
		found = d.Observe(ev, true, true, found)
		if i%10_000 == 0 {
			found = d.Advance(ev.Time, found)
		}
	}
	if len(d.hosts) > cfg.MaxHosts || d.candidates > cfg.MaxCandidates {
		t.Errorf("%d hosts and %d candidates: over the caps", len(d.hosts), d.candidates)
	}
	n := 0
	for _, h := range d.hosts {
		n += len(h.hot)
		if len(h.lights) > cfg.MaxDomains || len(h.keys) != len(h.lights) || len(h.hot) > maxHot {
			t.Fatalf("%s: %d light ones, %d candidates", h.Addr, len(h.lights), len(h.hot))
		}
	}
	if n != d.candidates {
		t.Errorf("%d candidates are counted as %d", n, d.candidates)
	}
	h := d.hosts[event.HashAddr(netip.MustParseAddr(client), 0, 0)]
	if h == nil || h.candidate(hashBytes([]byte("evil.example"))) == nil {
		t.Error("the slow tunnel is forgotten")
	}
	if d.hosts[event.HashAddr(netip.MustParseAddr("10.0.0.6"), 0, 0)] == nil {
		t.Error("a host with history is forgotten")
	}
}

// The registered domains are known, as they are in the pipeline.
func TestObserveDoesNotAllocate(t *testing.T) {
	evs := crowd(t, 10)
	for _, ev := range evs {
		labels := strings.Split(ev.DNS.Query, ".")
		ev.Known = &event.Known{Name: ev.DNS.Query, Domain: strings.Join(labels[len(labels)-2:], ".")}
	}
	d := New(DefaultConfig(), 1)
	dst := make([]event.Observation, 0, 64)
	pass := func() {
		for _, ev := range evs {
			dst = d.Observe(ev, true, true, dst[:0])
		}
	}
	pass()
	if n := testing.AllocsPerRun(20, pass); n != 0 {
		t.Errorf("%v allocations for known names, want 0", n)
	}
	if n := unsafe.Sizeof(light{}) + unsafe.Sizeof(uint64(0)); n > 80 {
		t.Errorf("a light record takes %d bytes", n)
	}
}

// Records that nobody wrote are refused, and do no harm.
func FuzzRestore(f *testing.F) {
	evs := crowd(f, 3)
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
		d.Track()
		if d.Restore(state.Record{Key: key, Value: value}, func(uint64) bool { return true }) != nil {
			return
		}
		for _, ev := range evs[:200] {
			d.Observe(ev, true, true, nil)
		}
		d.Advance(evs[200].Time, nil)
		d.Finish(nil)
		d.Cut()
	})
}

func BenchmarkObserve(b *testing.B) {
	evs := scenario.Load(b, shareddata.Path(b, "zeek/wrccdc/dns.log.gz"))
	for _, ev := range evs {
		if at := registered(strings.ToLower(ev.DNS.Query)); at >= 0 {
			ev.Known = &event.Known{Domain: strings.ToLower(ev.DNS.Query[at:])}
		}
	}
	b.ReportAllocs()
	d := New(DefaultConfig(), 1)
	i := 0
	for b.Loop() {
		d.Observe(evs[i], true, true, nil)
		if i++; i == len(evs) {
			i = 0
		}
	}
	b.ReportMetric(float64(len(d.hosts)), "hosts")
	b.ReportMetric(float64(d.candidates), "candidates")
}
