package longconn

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"tidewatch/behavior/state"
	"tidewatch/event"
	"tidewatch/internal/scenario"
	"tidewatch/internal/shareddata"
)

// row is one connection of a log.
type row struct {
	at, took   float64 // seconds
	orig, resp string
	port       int
	proto      string
	out, in    int
	path       string // "conn", or "conn_long" of one that goes on
}

// epoch is Monday, 2026-01-05, 08:00 UTC.
const epoch = 1767600000

var formats = []string{"tsv", "json", "eve"}

const tsvHead = "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n" +
	"#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tservice\tduration\torig_bytes\tresp_bytes\tconn_state\torig_pkts\torig_ip_bytes\tresp_pkts\tresp_ip_bytes\n"

// text writes rows in one of the forms, in the order in which connections end.
func text(format string, rows []row) string {
	rows = slices.Clone(rows)
	slices.SortStableFunc(rows, func(a, b row) int { return cmp.Compare(a.at+a.took, b.at+b.took) })
	var b strings.Builder
	if format == "tsv" {
		b.WriteString(tsvHead)
	}
	for i, r := range rows {
		ts, port := epoch+r.at, 40000+int(r.at)%20000
		pkts := func(n int) (int, int) { return 3 + n/1200, n + 52*(3+n/1200) }
		op, oip := pkts(r.out)
		rp, rip := pkts(r.in)
		switch format {
		case "tsv":
			fmt.Fprintf(&b, "%.6f\tC%d\t%s\t%d\t%s\t%d\t%s\tssl\t%.6f\t%d\t%d\tSF\t%d\t%d\t%d\t%d\n", ts, i, r.orig, port, r.resp, r.port, r.proto, r.took, r.out, r.in, op, oip, rp, rip)
		case "json":
			fmt.Fprintf(&b, `{"_path":%q,"_write_ts":%.6f,"ts":%.6f,"uid":"C%d","id.orig_h":%q,"id.orig_p":%d,"id.resp_h":%q,"id.resp_p":%d,"proto":%q,"service":"ssl","duration":%.6f,"orig_bytes":%d,"resp_bytes":%d,"conn_state":"SF","orig_pkts":%d,"orig_ip_bytes":%d,"resp_pkts":%d,"resp_ip_bytes":%d}`+"\n",
				cmp.Or(r.path, "conn"), ts+r.took, ts, i, r.orig, port, r.resp, r.port, r.proto, r.took, r.out, r.in, op, oip, rp, rip)
		case "eve":
			stamp := func(s float64) string {
				return time.UnixMicro(int64(s * 1e6)).UTC().Format("2006-01-02T15:04:05.000000+0000")
			}
			tcp := ""
			if r.proto == "tcp" {
				tcp = `"tcp":{"tcp_flags_ts":"1b","tcp_flags_tc":"1b","state":"closed"},`
			}
			fmt.Fprintf(&b, `{"timestamp":%q,"flow_id":%d,"event_type":"flow","src_ip":%q,"src_port":%d,"dest_ip":%q,"dest_port":%d,%s"proto":%q,"app_proto":"tls","flow":{"pkts_toserver":%d,"pkts_toclient":%d,"bytes_toserver":%d,"bytes_toclient":%d,"start":%q,"end":%q,"state":"closed"}}`+"\n",
				stamp(ts+r.took+1), 1000+i, r.orig, port, r.resp, r.port, tcp, strings.ToUpper(r.proto), op, rp, oip+14*op, rip+14*rp, stamp(ts), stamp(ts+r.took))
		}
	}
	return b.String()
}

// place is what a site of 200 hosts knows of an outside address.
type place struct {
	name  string
	rank  uint32
	hosts uint32
	class event.Class
}

const (
	me     = "10.0.0.5"
	master = "203.0.113.77"
)

var places = map[string]place{
	master:         {hosts: 1},
	"203.0.113.80": {name: "relay.rare.example", hosts: 1},
	"192.0.2.10":   {name: "wss.chat.example", rank: 108, hosts: 40, class: event.ClassPush},
	"192.0.2.20":   {hosts: 3, class: event.ClassMeeting},
	"192.0.2.30":   {hosts: 90},
	"192.0.2.40":   {name: "mqtt.camera.example", hosts: 6},
	"192.0.2.50":   {hosts: 1}, // a VPN's server
	"192.0.2.60":   {hosts: 2}, // calls
}

// parsed returns the records of rows, with what the population of a site would say.
func parsed(t testing.TB, format string, rows ...row) []*event.Event {
	t.Helper()
	evs := scenario.Parse(t, []byte(text(format, rows)))
	if len(evs) != len(rows) {
		t.Fatalf("%s: %d of %d records were parsed", format, len(evs), len(rows))
	}
	for _, ev := range evs {
		p := places[ev.Resp.Addr.String()]
		k := &event.Known{Hosts: 200, Names: 5000, Addr: event.Use{Hosts: p.hosts}, Class: p.class, Rank: p.rank}
		if p.name != "" {
			k.Name, k.Domain = p.name, p.name[strings.IndexByte(p.name, '.')+1:]
			k.OfName, k.OfDomain = k.Addr, k.Addr
		}
		ev.Known = k
	}
	return evs
}

// run gives records to n shards of the detector.
func run(evs []*event.Event, n int, cfg Config) (out []event.Observation) {
	var shards []*Detector
	for range n {
		shards = append(shards, New(cfg, n))
	}
	for _, ev := range evs {
		for i, d := range shards {
			out = d.Advance(ev.Written-1e9, out)
			if state.Owner(ev.Resp.Hash, n) == i {
				out = d.Observe(ev, false, true, out)
			}
		}
	}
	for _, d := range shards {
		out = d.Finish(out)
	}
	slices.SortStableFunc(out, func(a, b event.Observation) int {
		return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.Episode, b.Episode), cmp.Compare(a.Revision, b.Revision))
	})
	return out
}

const hours = 3600.0

// What is told, and how sure: f names the connection and the score, from and to; 0 for
// what is not told.
func TestCases(t *testing.T) {
	f := func(name string, low, high float64, rows ...row) {
		t.Helper()
		for _, format := range formats {
			out := run(parsed(t, format, rows...), 1, DefaultConfig())
			score := 0.0
			for _, o := range out {
				score = max(score, o.Score)
			}
			if score < low || score > high {
				t.Errorf("%s (%s): score %.2f, want %.2f to %.2f", name, format, score, low, high)
			}
		}
	}
	f("a shell at an odd port", 0.9, 1, row{0, 9 * hours, me, master, 4444, "tcp", 90_000, 200_000, ""})
	f("the same for two hours", 0.75, 0.95, row{0, 2.5 * hours, me, master, 8889, "tcp", 7000, 99_000, ""})
	f("the same for a quarter", 0, 0, row{0, 0.25 * hours, me, master, 8889, "tcp", 7000, 99_000, ""})
	f("TLS to an address that nobody named", 0.85, 1, row{0, 6 * hours, me, master, 443, "tcp", 90_000, 200_000, ""})
	f("a page of a rare site", 0.5, 0.74, row{0, 9 * hours, me, "203.0.113.80", 443, "tcp", 90_000, 200_000, ""})
	f("a chat", 0, 0, row{0, 20 * hours, me, "192.0.2.10", 443, "tcp", 90_000, 200_000, ""})
	f("a meeting", 0, 0, row{0, 3 * hours, me, "192.0.2.20", 3478, "udp", 400_000_000, 500_000_000, ""})
	f("a call", 0, 0, row{0, 2 * hours, me, "192.0.2.60", 3480, "udp", 900_000_000, 900_000_000, ""})
	f("what half of the hosts have", 0, 0, row{0, 20 * hours, me, "192.0.2.30", 7000, "tcp", 90_000, 200_000, ""})
	f("a camera that waits for messages", 0, 0, row{0, 22 * hours, me, "192.0.2.40", 8883, "tcp", 90_000, 200_000, ""})
	f("a VPN", 0, 0.7, row{0, 9 * hours, me, "192.0.2.50", 51820, "udp", 90_000_000, 200_000_000, ""})
	f("a backup", 0, 0.7, row{0, 9 * hours, me, master, 443, "tcp", 9_000_000_000, 200_000, ""})
	f("a copy inside", 0, 0, row{0, 9 * hours, me, "10.0.0.9", 4444, "tcp", 90_000, 200_000, ""})
	f("a visitor", 0, 0, row{0, 9 * hours, master, me, 4444, "tcp", 90_000, 200_000, ""})
}

// What is long there for weeks is usual there in the end.
func TestUsualThere(t *testing.T) {
	var rows []row
	for i := range 30 {
		rows = append(rows, row{float64(i) * 48 * hours, 3 * hours, me, master, 443, "tcp", 90_000, 200_000, ""})
	}
	last, n := int64(0), 0
	for _, o := range run(parsed(t, "json", rows...), 1, DefaultConfig()) {
		if o.Revision == 0 {
			last = max(last, (o.Time/1e9-epoch)/86400)
			n++
		}
	}
	if n < 5 || last < 10 || last > 40 {
		t.Errorf("told of %d times, the last time on day %d", n, last)
	}
}

// A certificate that nobody vouches for counts, though its record comes hours before.
func TestCertificate(t *testing.T) {
	evs := parsed(t, "json", row{0, 5 * hours, me, "203.0.113.80", 443, "tcp", 90_000, 200_000, ""})
	score := func() float64 { return run(evs, 1, DefaultConfig())[0].Score }
	before := score()
	tls := *evs[0]
	tls.Kind, tls.Conn, tls.End, tls.Written = event.KindTLS, nil, evs[0].Time, evs[0].Time
	tls.TLS = &event.TLS{Subject: "CN=a", Issuer: "CN=a"}
	evs = slices.Insert(evs, 0, &tls)
	if after := score(); after < before+0.15 {
		t.Errorf("score %.2f, %.2f without the certificate", after, before)
	}
}

// Reports on a connection that goes on tell of it while it does, and count its bytes
// once.
func TestRunning(t *testing.T) {
	var rows []row
	for k := 1; k <= 8; k++ {
		r := row{0, float64(k) * hours, me, master, 4444, "tcp", k * 10_000, k * 20_000, "conn_long"}
		if k == 8 {
			r.path = "conn"
		}
		rows = append(rows, r)
	}
	out := run(parsed(t, "json", rows...), 1, DefaultConfig())
	if n := len(out); n < 2 || n > 5 {
		t.Fatalf("%d reports", n)
	}
	if first := out[0]; !first.Open || first.Time > int64((epoch+4*hours)*1e9) || !strings.Contains(first.Reason, "and it goes on") {
		t.Errorf("first report at %d: %s", first.Time, first.Reason)
	}
	last := out[len(out)-1]
	if last.Open || last.Source.Bytes != 80_000 || scenario.Number(&last, "duration_seconds") != 8*hours || scenario.Number(&last, "connections") != 1 {
		t.Errorf("last report: %s, %v", last.Reason, last.Features)
	}
	want := "10.0.0.5 kept a connection to 203.0.113.77:4444/tcp open for 8.0 hours: 80 kB out and 160 kB in; of 200 hosts nobody else deals with it"
	if last.Reason != want {
		t.Errorf("%s\nwant %s", last.Reason, want)
	}
}

// Every term is in the finding, and they add up.
func TestEvidence(t *testing.T) {
	o := run(parsed(t, "json", row{0, 9 * hours, me, master, 4444, "tcp", 90_000, 200_000, ""}), 1, DefaultConfig())[0]
	sum := 0.0
	known := map[string]bool{"long_connection.prior": true}
	for _, x := range Terms() {
		known["long_connection."+x] = true
	}
	for _, e := range o.Evidence {
		sum += e.Weight
		if !known[e.Feature] || e.Text == "" || strings.Contains(e.Text, "%!") {
			t.Errorf("%+v", e)
		}
	}
	if p := posterior(sum); math.Abs(p-o.Score) > 0.01 {
		t.Errorf("the evidence adds up to %.3f, the score is %.3f", p, o.Score)
	}
	cfg := DefaultConfig()
	cfg.Without = "duration"
	if less := run(parsed(t, "json", row{0, 9 * hours, me, master, 4444, "tcp", 90_000, 200_000, ""}), 1, cfg); len(less) > 0 && less[0].Score > o.Score-0.05 {
		t.Errorf("score %.2f without the duration, %.2f with it", less[0].Score, o.Score)
	}
}

// crowd are long connections of many hosts to many places.
func crowd(t testing.TB, format string) []*event.Event {
	var rows []row
	for i := range 400 {
		rows = append(rows, row{float64(i) * 700, (0.2 + float64(i%40)/4) * hours, fmt.Sprintf("10.0.0.%d", i%23), fmt.Sprintf("203.0.113.%d", i%31), 4000 + i%3, "tcp", 1000 * i, 3000 * i, ""})
	}
	return parsed(t, format, rows...)
}

var compareAddrs = gocmp.Options{
	gocmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	gocmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
}

// What is found depends neither on the number of shards nor on restarts.
func TestShardsAndCuts(t *testing.T) {
	evs := crowd(t, "json")
	want := run(evs, 1, DefaultConfig())
	if len(want) < 40 {
		t.Fatalf("%d reports", len(want))
	}
	for _, n := range []int{2, 5} {
		if d := gocmp.Diff(want, run(evs, n, DefaultConfig()), compareAddrs); d != "" {
			t.Errorf("%d shards (-one +several):\n%.2000s", n, d)
		}
	}
	store := map[string][]byte{}
	d := New(DefaultConfig(), 1)
	d.Track()
	var out []event.Observation
	for i, ev := range evs {
		if i%37 == 36 {
			for _, rec := range d.Cut() {
				if store[string(rec.Key)] = rec.Value; len(rec.Value) == 0 {
					delete(store, string(rec.Key))
				}
			}
			d = New(DefaultConfig(), 1)
			d.Track()
			for k, v := range store {
				if err := d.Restore(state.Record{Key: []byte(k), Value: v}, func(uint64) bool { return true }); err != nil {
					t.Fatal(err)
				}
			}
		}
		out = d.Observe(ev, false, true, d.Advance(ev.Written-1e9, out))
	}
	out = d.Finish(out)
	slices.SortStableFunc(out, func(a, b event.Observation) int {
		return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.Episode, b.Episode), cmp.Compare(a.Revision, b.Revision))
	})
	if diff := gocmp.Diff(want, out, compareAddrs); diff != "" {
		t.Errorf("restarts (-none +some):\n%.2000s", diff)
	}
}

// Merging two sensors' records commutes, and keeps everything of both.
func TestMerge(t *testing.T) {
	evs := crowd(t, "json")
	half := func(odd int) map[string]state.Record {
		d := New(DefaultConfig(), 1)
		d.Track()
		for i, ev := range evs {
			if i%2 == odd {
				d.Observe(ev, false, true, nil)
			}
		}
		rs := map[string]state.Record{}
		for _, r := range d.Cut() {
			rs[string(r.Key)] = r
		}
		return rs
	}
	a, b := half(0), half(1)
	n := 0
	for k, x := range a {
		y, ok := b[k]
		if !ok {
			continue
		}
		n++
		xy, err := Merge(x, y)
		yx, errOther := Merge(y, x)
		if err != nil || errOther != nil {
			t.Fatal(err, errOther)
		}
		p, _ := readDestination(xy)
		q, _ := readDestination(yx)
		if d := gocmp.Diff(p, q, compareAddrs, gocmp.Exporter(func(reflect.Type) bool { return true })); d != "" {
			t.Fatalf("merging does not commute:\n%s", d)
		}
		one, _ := readDestination(x)
		if p.first > one.first || p.last < one.last {
			t.Errorf("%+v does not have what %+v has", p, one)
		}
	}
	if n < 20 {
		t.Errorf("%d destinations of both", n)
	}
	if _, err := Merge(state.Record{Key: []byte("c12345678")}, state.Record{Key: []byte("c12345678")}); err == nil {
		t.Error("records without a value were merged")
	}
}

// A flood of destinations costs no memory beyond the cap, and not those with a past.
func TestFlood(t *testing.T) {
	cfg := DefaultConfig()
	cfg.MaxDestinations = 64
	d := New(cfg, 1)
	evs := parsed(t, "json", row{0, 9 * hours, me, master, 4444, "tcp", 90_000, 200_000, ""})
	d.Observe(evs[0], false, true, nil)
	for i := range 5000 {
		ev := *evs[0]
		ev.Resp.Addr = netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)})
		ev.Resp.Hash = event.HashAddr(ev.Resp.Addr, 0, 0)
		ev.Kind, ev.TLS = event.KindTLS, &event.TLS{Subject: "x", Issuer: "x"}
		d.Observe(&ev, false, true, nil)
	}
	if len(d.destinations) > 64 {
		t.Errorf("%d destinations", len(d.destinations))
	}
	found := false
	for _, x := range d.destinations {
		found = found || x.addr == evs[0].Resp.Addr
	}
	if !found {
		t.Error("the flood displaced the destination that has a past")
	}
}

func TestObserveDoesNotAllocate(t *testing.T) {
	d := New(DefaultConfig(), 1)
	evs := parsed(t, "json", row{0, 0.5 * hours, me, "192.0.2.10", 443, "tcp", 90_000, 200_000, ""}, row{9 * hours, 1, me, master, 443, "tcp", 90_000, 200_000, ""})
	var out []event.Observation
	if n := testing.AllocsPerRun(100, func() {
		for _, ev := range evs {
			out = d.Observe(ev, false, true, out[:0])
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// The recorded implant that has no timer at this port is found; harmless days stay
// quiet.
func TestRecorded(t *testing.T) {
	f := func(folder, local, source string, logs ...string) {
		t.Helper()
		var all [][]*event.Event
		for _, l := range logs {
			all = append(all, scenario.Load(t, shareddata.Path(t, "labelled/"+folder+"/"+l), local))
		}
		evs := scenario.Merge(all...)
		scenario.Prepare(evs)
		var told []string
		for _, o := range run(evs, 1, DefaultConfig()) {
			if o.Score >= 0.75 && !o.Open {
				told = append(told, fmt.Sprintf("%s > %s:%d", o.Source.Addr, o.Destination.Addr, o.Destination.Port))
			}
		}
		if got := strings.Join(told, ", "); got != source {
			t.Errorf("%s: %q, want %q", folder, got, source)
		}
	}
	f("c2/numinon", "10.0.0.0/8", "192.168.2.115 > 64.23.212.29:8889", "conn.log.gz", "dns.log.gz", "ssl.log.gz")
	f("benign-days/008", "147.32.0.0/16", "", "conn.log.labeled.gz", "ssl.log.labeled.gz")
	f("benign-days/010", "147.32.0.0/16", "", "conn.log.labeled.gz", "dns.log.labeled.gz", "ssl.log.labeled.gz")
}

func FuzzRestore(f *testing.F) {
	evs := crowd(f, "json")
	d := New(DefaultConfig(), 1)
	d.Track()
	for _, ev := range evs {
		d.Observe(ev, false, true, nil)
	}
	for _, rec := range d.Cut()[:8] {
		f.Add(rec.Key, rec.Value)
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		d := New(DefaultConfig(), 1)
		d.Track()
		rec := state.Record{Key: key, Value: value}
		if len(value) == 0 || d.Restore(rec, func(uint64) bool { return true }) != nil {
			return
		}
		if _, err := Merge(rec, rec); err != nil {
			t.Fatal(err)
		}
		for _, ev := range evs[:50] {
			d.Observe(ev, false, true, nil)
		}
		d.Advance(evs[50].Time, nil)
		d.Finish(nil)
		d.Cut()
	})
}
