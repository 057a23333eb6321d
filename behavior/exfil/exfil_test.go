package exfil

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tidewatch/behavior/hosts"
	"tidewatch/behavior/state"
	"tidewatch/enrich"
	"tidewatch/event"
	"tidewatch/internal/scenario"
	"tidewatch/internal/shareddata"
)

// both is the detector with the baselines that it asks, as a shard has them.
type both struct {
	*Detector
	known *hosts.Table
}

func newBoth(shards int) scenario.Detector {
	t := hosts.New(hosts.DefaultConfig(), shards)
	return &both{New(DefaultConfig(), shards, t), t}
}

func (b *both) Observe(ev *event.Event, orig, resp bool, dst []event.Observation) []event.Observation {
	if k := byHand[ev]; k != nil {
		ev.Known = k
	}
	dst = b.Detector.Observe(ev, orig, resp, dst)
	return b.known.Observe(ev, orig, resp, dst)
}

func (b *both) Advance(clock int64, dst []event.Observation) []event.Observation {
	return b.known.Advance(clock, b.Detector.Advance(clock, dst))
}

func (b *both) Track() { b.Detector.Track(); b.known.Track() }

func (b *both) Cut() []state.Record { return append(b.Detector.Cut(), b.known.Cut()...) }

func (b *both) Restore(r state.Record, owns func(hash uint64) bool) error {
	if len(r.Key) > 0 && r.Key[0] == state.KindUpload {
		return b.Detector.Restore(r, owns)
	}
	return b.known.Restore(r, owns)
}

func observe(evs []*event.Event, n int) []event.Observation {
	return scenario.Observe(evs, n, newBoth)
}

var compareAddrs = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
	cmpopts.EquateEmpty(),
}

const (
	me    = "10.0.0.5"
	thief = "203.0.113.77"
)

// place says what is known of an outside address.
type place struct {
	name  string
	rank  uint32
	hosts uint32 // of 200 that deal with it
	class event.Class
}

var places = map[string]place{
	thief:          {name: "up.drop-store.example", hosts: 1},
	"203.0.113.80": {hosts: 1}, // no name
	"192.0.2.10":   {name: "client.dropbox.com", rank: 120, hosts: 70, class: event.ClassBackup},
	"192.0.2.20":   {name: "www.popular.example", rank: 900, hosts: 150},
	"192.0.2.30":   {hosts: 9, class: event.ClassMeeting},
	"192.0.2.40":   {name: "speed.example", hosts: 2, class: event.ClassSpeedTest},
	"192.0.2.60":   {name: "s3.bucket.example", hosts: 1, class: event.ClassBackup},
}

// row is one connection.
type row struct {
	at         float64 // seconds after the start of the log
	took       float64
	orig, resp string
	port       int
	proto      string
	out, in    int // payload from and to the originator
	path       string
}

// log is a log being written, in the order in which connections end.
type log struct{ rows []row }

func (l *log) add(at, took float64, orig, resp string, port int, proto string, out, in int) *log {
	l.rows = append(l.rows, row{at, took, orig, resp, port, proto, out, in, "conn"})
	return l
}

// browse is what a person's machine does all day, so that names are known of most of
// what it deals with.
func (l *log) browse(host string, from, hours float64) *log {
	for at := from; at < from+hours*3600; at += 240 {
		l.add(at, 5, host, "192.0.2.20", 443, "tcp", 2500, 60_000)
	}
	return l
}

// epoch is Monday, 2026-01-05, 08:00 UTC.
const epoch = 1767600000

var formats = []string{"tsv", "json", "eve"}

// text writes the log in one of the formats.
func (l *log) text(format string) string {
	slices.SortStableFunc(l.rows, func(a, b row) int {
		switch x, y := a.at+a.took, b.at+b.took; {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
	var b strings.Builder
	if format == "tsv" {
		b.WriteString("#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n" +
			"#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tduration\torig_bytes\tresp_bytes\tconn_state\torig_pkts\torig_ip_bytes\tresp_pkts\tresp_ip_bytes\n")
	}
	for i := range l.rows {
		l.rows[i].write(&b, format, i)
	}
	return b.String()
}

func (r *row) packets(n int) (pkts, ip int) {
	head, size := 52, 1400
	switch r.proto {
	case "udp":
		head, size = 28, 1200
	case "icmp":
		head, size = 28, 64
		if n > 1_000_000 {
			size = 1000
		}
	}
	pkts = 3 + n/size
	return pkts, n + head*pkts
}

func (r *row) write(b *strings.Builder, format string, i int) {
	opkts, oip := r.packets(r.out)
	rpkts, rip := r.packets(r.in)
	port, respPort, state := 40000+i%20000, r.port, "SF"
	if r.proto == "icmp" {
		port, respPort = 8, 0
	}
	ts := epoch + r.at
	switch format {
	case "tsv":
		fmt.Fprintf(b, "%.6f\tC%d\t%s\t%d\t%s\t%d\t%s\t%.6f\t%d\t%d\t%s\t%d\t%d\t%d\t%d\n", ts, i, r.orig, port, r.resp, respPort, r.proto, r.took, r.out, r.in, state, opkts, oip, rpkts, rip)
	case "json":
		fmt.Fprintf(b, `{"_path":%q,"_write_ts":%.6f,"ts":%.6f,"uid":"C%d","id.orig_h":%q,"id.orig_p":%d,"id.resp_h":%q,"id.resp_p":%d,"proto":%q,"duration":%.6f,"orig_bytes":%d,"resp_bytes":%d,"conn_state":%q,"orig_pkts":%d,"orig_ip_bytes":%d,"resp_pkts":%d,"resp_ip_bytes":%d}`+"\n",
			r.path, ts+r.took, ts, i, r.orig, port, r.resp, respPort, r.proto, r.took, r.out, r.in, state, opkts, oip, rpkts, rip)
	case "eve":
		stamp := func(s float64) string {
			return time.Unix(0, int64(s*1e6)*1000).UTC().Format("2006-01-02T15:04:05.000000+0000")
		}
		ports := fmt.Sprintf(`"src_port":%d,"dest_port":%d,"tcp":{"tcp_flags_ts":"1b","tcp_flags_tc":"1b","state":"closed"},`, port, respPort)
		switch r.proto {
		case "udp":
			ports = fmt.Sprintf(`"src_port":%d,"dest_port":%d,`, port, respPort)
		case "icmp":
			ports = `"icmp_type":8,"icmp_code":0,"response_icmp_type":0,"response_icmp_code":0,`
		}
		fmt.Fprintf(b, `{"timestamp":%q,"flow_id":%d,"event_type":"flow","src_ip":%q,"dest_ip":%q,%s"proto":%q,"flow":{"pkts_toserver":%d,"pkts_toclient":%d,"bytes_toserver":%d,"bytes_toclient":%d,"start":%q,"end":%q,"state":"closed"}}`+"\n",
			stamp(ts+r.took+1), 1000+i, r.orig, r.resp, ports, strings.ToUpper(r.proto), opkts, rpkts, oip+14*opkts, rip+14*rpkts, stamp(ts), stamp(ts+r.took))
	}
}

func (l *log) events(t testing.TB, format string) []*event.Event {
	t.Helper()
	evs := scenario.Parse(t, []byte(l.text(format)))
	if len(evs) != len(l.rows) {
		t.Fatalf("%s: %d of %d records were parsed", format, len(evs), len(l.rows))
	}
	know(evs)
	return evs
}

// byHand is what know says of records, whatever the harness's population does, which
// knows nothing but these few records.
var byHand = map[*event.Event]*event.Known{}

// know says what the population of a site of 200 hosts would: places are known for a
// month to those who use them, and to nobody else.
func know(evs []*event.Event) {
	first := map[netip.Addr]int64{}
	for _, ev := range evs {
		far, inbound := ev.Resp.Addr, ev.Orig.Scope != event.ScopeLocal
		if inbound {
			far = ev.Orig.Addr
		}
		p, ok := places[far.String()]
		if !ok {
			p = place{hosts: 1}
		}
		k := &event.Known{Hosts: 200, Addr: event.Use{Hosts: p.hosts, First: first[far]}, Class: p.class}
		if p.hosts > 2 {
			k.Addr.First = ev.Time - 30*day
		}
		if first[far] == 0 {
			first[far] = ev.Time
		}
		if !inbound && p.name != "" {
			k.Name, k.Domain, k.Rank, k.Source = p.name, p.name[strings.IndexByte(p.name, '.')+1:], p.rank, event.NameTLS
			k.NameHash, k.DomainHash = hashText(k.Name), hashText(k.Domain)
			k.OfName, k.OfDomain = k.Addr, k.Addr
		}
		byHand[ev] = k
	}
}

func hashText(s string) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range []byte(s) {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}

// What is found, in each format, told when it is found and once more when it is over.
func TestKinds(t *testing.T) {
	f := func(kind string, build func(l *log)) {
		t.Helper()
		for _, format := range formats {
			l := new(log)
			l.browse(me, 0, 10)
			build(l)
			obs := observe(l.events(t, format), 1)
			if len(obs) < 2 || len(obs) > 3 {
				t.Errorf("%s %s: %d reports, want two or three of one upload", format, kind, len(obs))
				continue
			}
			open, closed := &obs[0], &obs[len(obs)-1]
			if !open.Open || closed.Open || open.Episode != closed.Episode {
				t.Errorf("%s %s: the reports are not the first and last of one episode", format, kind)
			}
			if got := scenario.Text(closed, "kind"); got != kind {
				t.Errorf("%s: the kind is %s, want %s: %s", format, got, kind, closed.Reason)
			}
			explained(t, closed)
		}
	}
	f("bulk", func(l *log) { l.add(20000, 8, me, thief, 443, "tcp", 28_000_000, 30_000) })
	f("bulk", func(l *log) { l.add(20000, 8, me, "203.0.113.80", 443, "tcp", 12_000_000, 30_000) })
	f("bulk", func(l *log) { l.add(20000, 8, me, "203.0.113.80", 443, "udp", 12_000_000, 30_000) })
	f("long", func(l *log) { l.add(2000, 30000, me, thief, 443, "tcp", 40_000_000, 60_000) })
	f("split", func(l *log) { // over neighbours
		for i := range 20 {
			l.add(20000+120*float64(i), 20, me, fmt.Sprintf("198.51.100.%d", i+1), 443, "tcp", 1_500_000, 6000)
		}
	})
	f("split", func(l *log) { // over the world
		for i := range 20 {
			l.add(20000+120*float64(i), 20, me, fmt.Sprintf("198.%d.100.9", 100+i), 443, "tcp", 1_500_000, 6000)
		}
	})
	f("slow", func(l *log) {
		for i := range 40 {
			l.add(300+900*float64(i), 3, me, thief, 443, "tcp", 260_000, 3000)
		}
	})
	f("icmp", func(l *log) { l.add(20000, 300, me, "203.0.113.80", 0, "icmp", 4_000_000, 4_000_000) })
	f("ntp", func(l *log) { l.add(20000, 300, me, "203.0.113.80", 123, "udp", 2_000_000, 48_000) })
	f("dns", func(l *log) { l.add(20000, 300, me, "203.0.113.80", 53, "udp", 3_000_000, 480_000) })
}

// explained reports a case that does not say what it rests on: the weights of all
// evidence are the whole sum.
func explained(t *testing.T, o *event.Observation) {
	t.Helper()
	sum := 0.0
	for _, e := range o.Evidence {
		sum += e.Weight
		if e.Text == "" || !strings.HasPrefix(e.Feature, "exfiltration.") {
			t.Errorf("%s: no text", e.Feature)
		}
	}
	if got := scenario.Number(o, "log_odds"); math.Abs(got-sum) > 0.2 {
		t.Errorf("the evidence adds up to %.2f, the log-odds are %.2f: %s", sum, got, o.Reason)
	}
	if want := 1 / (1 + math.Exp(-sum)); math.Abs(o.Score-want) > 0.05 {
		t.Errorf("the score is %.3f, the evidence says %.3f", o.Score, want)
	}
	if o.Reason == "" || len(o.Sample) == 0 || o.Baseline.Text == "" || len(o.Sensors) == 0 {
		t.Errorf("no explanation: %+v", o)
	}
}

// What must stay quiet, and why.
func TestQuiet(t *testing.T) {
	f := func(what string, build func(l *log)) {
		t.Helper()
		for _, format := range formats {
			l := new(log)
			l.browse(me, 0, 30)
			build(l)
			for _, o := range observe(l.events(t, format), 1) {
				t.Errorf("%s: %s: score %.2f: %s", format, what, o.Score, o.Reason)
			}
		}
	}
	f("a video to a cloud storage that all use", func(l *log) { l.add(20000, 30, me, "192.0.2.10", 443, "tcp", 60_000_000, 20_000) })
	f("a video call", func(l *log) { l.add(20000, 1800, me, "192.0.2.30", 3480, "udp", 300_000_000, 330_000_000) })
	f("a call with somebody unknown", func(l *log) { l.add(20000, 1800, me, "203.0.113.80", 50_000, "udp", 90_000_000, 80_000_000) })
	f("a measure of throughput by name", func(l *log) { l.add(20000, 12, me, "192.0.2.40", 443, "tcp", 90_000_000, 40_000) })
	f("a measure of throughput by shape", func(l *log) {
		for i := range 4 {
			l.add(20000+float64(i)/10, 12, me, "203.0.113.80", 8080, "tcp", 20_000_000, 40_000)
		}
	})
	f("two measures of throughput with several servers, in an hour that is quiet as a rule", func(l *log) {
		for i := range 24 {
			l.add(100_000+2000*float64(i/12)+float64(i)/10, 12, me, fmt.Sprintf("198.%d.100.9", 100+i%4), 8080, "tcp", 25_000_000, 40_000)
		}
	})
	f("a download", func(l *log) { l.add(20000, 300, me, thief, 443, "tcp", 6_000_000, 900_000_000) })
	f("4 MB to somebody unknown", func(l *log) { l.add(20000, 8, me, thief, 443, "tcp", 4_000_000, 3000) })
	f("mail to the world", func(l *log) {
		for i := range 300 {
			l.add(20000+60*float64(i), 2, me, fmt.Sprintf("198.%d.%d.25", 1+i/200, i%200), 25, "tcp", 150_000, 900)
		}
	})
	f("pings each second", func(l *log) {
		for i := range 200 {
			l.add(300*float64(i), 290, me, "203.0.113.80", 0, "icmp", 17_000, 17_000)
		}
	})
	f("clocks", func(l *log) {
		for i := range 900 {
			l.add(64*float64(i), 1, me, "203.0.113.80", 123, "udp", 48, 48)
		}
	})
	f("visitors of a web server", func(l *log) {
		for i := range 400 {
			l.add(100*float64(i), 5, fmt.Sprintf("198.51.%d.%d", i/200, 1+i%200), "10.0.0.80", 443, "tcp", 1500, 100_000)
		}
		l.add(70000, 60, "203.0.113.80", "10.0.0.80", 443, "tcp", 2000, 900_000) // a few more pictures
	})
	f("between hosts inside", func(l *log) { l.add(20000, 60, me, "10.0.0.21", 445, "tcp", 900_000_000, 40_000) })
	f("multicast", func(l *log) { l.add(20000, 600, me, "239.1.1.1", 5004, "udp", 900_000_000, 0) })
}

// Large uploads that are likely harmless are told with a low score: the shipped rules
// make them low.
func TestPlausible(t *testing.T) {
	l := new(log)
	l.browse(me, 0, 30)
	l.add(20000, 300, me, "192.0.2.10", 443, "tcp", 437_000_000, 90_000)
	obs := observe(l.events(t, "tsv"), 1)
	if len(obs) != 2 || obs[1].Score > 0.3 {
		t.Fatalf("want two reports with a low score: %+v", obs)
	}
	explained(t, &obs[1])
}

// A bucket that one host alone uses: on the host's first day it may be where its
// backups go each night, later it is new.
func TestFirstBackup(t *testing.T) {
	f := func(what string, at, low, high float64) {
		t.Helper()
		l := new(log)
		l.browse(me, 0, at/3600)
		for i := range 4 {
			l.add(at+2*float64(i), 840, me, "192.0.2.60", 443, "tcp", 190_000_000, 60_000)
		}
		obs := observe(l.events(t, "json"), 1)
		if len(obs) != 2 || obs[1].Score < low || obs[1].Score >= high {
			t.Fatalf("%s: want two reports with a score from %.2f to %.2f: %+v", what, low, high, obs)
		}
		explained(t, &obs[1])
	}
	f("in the first night", 3*3600, 0.5, 0.7)
	f("after two days", 50*3600, 0.7, 1)
}

// A public server of small pages that gives a large file once in hundreds of times: the
// mean says that each is suspicious, the tail that they are usual. What is larger than
// all of them is told.
func TestRareDownloads(t *testing.T) {
	f := func(what string, want bool, size int) {
		t.Helper()
		l := new(log)
		l.browse("10.0.0.80", 0, 48)
		for i := range 4000 {
			out := 6000 + i%900
			if i%250 == 249 {
				out = 60_000_000 + i*5000
			}
			l.add(40*float64(i), 5, fmt.Sprintf("198.%d.%d.%d", 51+i/60_000, i/200%200, 1+i%200), "10.0.0.80", 443, "tcp", 1500, out)
		}
		l.add(162_000, 60, "203.0.113.80", "10.0.0.80", 443, "tcp", 2000, size)
		told := false
		for _, o := range observe(l.events(t, "json"), 1) {
			told = told || o.Source.Addr.String() == "203.0.113.80"
		}
		if told != want {
			t.Errorf("%s: told is %v", what, told)
		}
	}
	f("as large as the large ones", false, 70_000_000)
	f("a whole database", true, 4_000_000_000)
}

// Who reads far more from file servers than ever, and then sends out, is more suspicious
// than who only sends.
func TestCollection(t *testing.T) {
	f := func(what string, read int, want bool) float64 {
		t.Helper()
		l := new(log)
		l.browse(me, 0, 24*6)
		for k := range 6 {
			l.add(float64(k)*86_400+3000, 60, me, "10.0.0.21", 445, "tcp", 30_000, 2_000_000+k*100_000)
		}
		l.add(5*86_400+9000, 600, me, "10.0.0.21", 445, "tcp", 90_000, read)
		l.add(5*86_400+12_000, 30, me, thief, 443, "tcp", 7_000_000, 40_000)
		obs := observe(l.events(t, "json"), 1)
		if len(obs) == 0 {
			t.Fatalf("%s: nothing is told", what)
		}
		o := &obs[len(obs)-1]
		told := false
		for _, e := range o.Evidence {
			told = told || e.Feature == "exfiltration.collection" && e.Weight > 0
		}
		if told != want {
			t.Errorf("%s: the collection is told: %v\n%+v", what, told, o.Evidence)
		}
		explained(t, o)
		return o.Score
	}
	if usual, much := f("as much as usual", 2_000_000, false), f("much more", 900_000_000, true); much <= usual {
		t.Errorf("score %.3f with a collection, %.3f without", much, usual)
	}
}

// Where another host has sent as much before, one more that does is less suspicious; where
// others sent a trifle, it is not.
func TestOthersPast(t *testing.T) {
	score := func(others uint64) (score, weight float64) {
		t.Helper()
		l := new(log)
		l.browse(me, 0, 10)
		l.add(30_000, 30, me, thief, 443, "tcp", 60_000_000, 40_000)
		evs := l.events(t, "json")
		for _, ev := range evs {
			if ev.Resp.Addr.String() == thief {
				byHand[ev].OthersSent = others
			}
		}
		obs := observe(evs, 1)
		if len(obs) == 0 {
			return 0, -2
		}
		o := &obs[len(obs)-1]
		explained(t, o)
		for _, e := range o.Evidence {
			if e.Feature == "exfiltration.others_past" {
				weight = e.Weight
			}
		}
		return o.Score, weight
	}
	alone, none := score(0)
	usual, against := score(60_000_000)
	more, inFavour := score(200_000)
	if none != 0 || against >= 0 || inFavour <= 0 || usual >= alone || more <= alone {
		t.Errorf("score %.3f; %.3f (%v) where another sent as much, %.3f (%v) where another sent little", alone, usual, against, more, inFavour)
	}
}

// What a server gives away is judged by what it always gave: a server of large files
// is left alone, one of small answers that gives 80 MB is not, and neither is a port
// that never answered before.
func TestInbound(t *testing.T) {
	f := func(what string, want bool, usual, size, port int) {
		t.Helper()
		for _, format := range formats {
			l := new(log)
			l.browse("10.0.0.80", 0, 48)
			for i := range 300 {
				l.add(500*float64(i), 5, fmt.Sprintf("198.51.%d.%d", i/200, 1+i%200), "10.0.0.80", 443, "tcp", 1500, usual+i*usual/1000)
			}
			l.add(160_000, 60, "203.0.113.80", "10.0.0.80", port, "tcp", 2000, size)
			obs := observe(l.events(t, format), 1)
			if (len(obs) > 0) != want {
				t.Errorf("%s: %s: %d reports: %+v", format, what, len(obs), obs)
			}
			for _, o := range obs {
				if o.Direction != "inbound" || o.Source.Addr.String() != "203.0.113.80" || o.Destination.Addr.String() != "10.0.0.80" || scenario.Text(&o, "kind") != "inbound" {
					t.Errorf("%s: %s: %s from %s to %s", what, o.Direction, scenario.Text(&o, "kind"), o.Source.Addr, o.Destination.Addr)
				}
				explained(t, &o)
			}
		}
	}
	f("a server of large files", false, 70_000_000, 90_000_000, 443)
	f("a server of small answers", true, 100_000, 90_000_000, 443)
	f("a new port", true, 100_000, 90_000_000, 8000)
}

// An upload is found while it runs, by what the sensor says of open connections, and
// its bytes count once: when the last row comes, whichever sensor writes it, nothing
// is counted again.
func TestRunning(t *testing.T) {
	for _, last := range []string{"json", "eve"} {
		l := new(log)
		l.browse(me, 0, 4)
		for i := range 10 {
			took := 1800 * float64(i+1)
			l.rows = append(l.rows, row{1000, took, me, thief, 443, "tcp", 2_000_000 * (i + 1), 2000 * (i + 1), "conn_long"})
		}
		for i := range l.rows { // one connection has one port
			if l.rows[i].path == "conn_long" {
				l.rows[i].at += 1e-9
			}
		}
		text := l.text("json")
		text = onePort(text)
		evs := scenario.Parse(t, []byte(text))
		end := &log{rows: []row{{1000.5, 18_600, me, thief, 443, "tcp", 21_000_000, 21_000, "conn"}}}
		final := scenario.Parse(t, []byte(onePort(end.text(last))))
		evs = append(evs, final...)
		know(evs)
		obs := observe(evs, 1)
		if len(obs) < 2 {
			t.Fatalf("%s: %d reports", last, len(obs))
		}
		if found := time.Unix(0, obs[0].Time).Unix() - epoch; found > 10_000 {
			t.Errorf("%s: found after %d s, want it while it runs", last, found)
		}
		if n := scenario.Number(&obs[len(obs)-1], "bytes"); n < 20_900_000 || n > 21_300_000 {
			t.Errorf("%s: %.0f bytes, want 21 MB once", last, n)
		}
	}
}

// onePort gives all records about the thief the same port, and the snapshots of one
// connection the same uid.
func onePort(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.Contains(line, thief) {
			var m map[string]any
			if json.Unmarshal([]byte(line), &m) == nil {
				for _, k := range []string{"id.orig_p", "src_port"} {
					if _, ok := m[k]; ok {
						m[k] = 51515
					}
				}
				if _, ok := m["uid"]; ok {
					m["uid"] = "Clong"
				}
				out, _ := json.Marshal(m)
				line = string(out) + "\n"
			}
		}
		b.WriteString(line)
	}
	return b.String()
}

// One upload to one destination is one finding a day, however many connections it
// takes, and the next day's is another.
func TestOneFindingADay(t *testing.T) {
	l := new(log)
	l.browse(me, 0, 60)
	for i := range 60 {
		l.add(600+3000*float64(i), 8, me, thief, 443, "tcp", 6_000_000, 3000)
	}
	episodes := map[string]int{}
	for _, o := range observe(l.events(t, "tsv"), 1) {
		if !o.Open {
			episodes[o.Episode]++
		}
	}
	if len(episodes) < 2 || len(episodes) > 3 {
		t.Errorf("%d episodes in two days, want one a day", len(episodes))
	}
	for id, n := range episodes {
		if n != 1 {
			t.Errorf("episode %s was closed %d times", id, n)
		}
	}
}

// An upload that goes on after a rest of hours is still the day's one finding.
func TestOneFindingAfterARest(t *testing.T) {
	l := new(log)
	l.browse(me, 0, 15)
	l.add(600, 8, me, thief, 443, "tcp", 28_000_000, 3000)
	l.add(600+7*3600+1800, 8, me, thief, 443, "tcp", 28_000_000, 3000)
	if obs := observe(l.events(t, "tsv"), 1); len(obs) != 2 {
		t.Errorf("%d reports, want two of one upload", len(obs))
	}
}

// What an upload to one destination is told of, the budget of all new ones leaves out.
func TestCountedOnce(t *testing.T) {
	l := new(log)
	l.browse(me, 0, 10)
	for i := range 3 {
		l.add(20000+60*float64(i), 8, me, thief, 443, "tcp", 3_000_000, 3000)
	}
	for i := range 6 {
		l.add(21000+60*float64(i), 8, me, fmt.Sprintf("198.%d.100.9", 100+i), 443, "tcp", 500_000, 3000)
	}
	for _, o := range observe(l.events(t, "tsv"), 1) {
		if scenario.Text(&o, "kind") != "bulk" {
			t.Errorf("%s: %s", scenario.Text(&o, "kind"), o.Reason)
		}
	}
}

// What a host sends to one destination each night is told of for a week, as long as
// nothing but habit excuses it. Then it is normal, and seventy times as much is not.
func TestOwnPast(t *testing.T) {
	places["192.0.2.50"] = place{name: "vault.backup.example", hosts: 1}
	defer delete(places, "192.0.2.50")
	l := new(log)
	for d := range 30 {
		at := float64(d) * 86_400
		l.browse(me, at, 9)
		size := 40_000_000 + d%3*1_000_000
		if d == 29 {
			size = 3_000_000_000
		}
		l.add(at+50_000, 600, me, "192.0.2.50", 443, "tcp", size, 40_000)
	}
	days := map[int64]bool{}
	for _, o := range observe(l.events(t, "tsv"), 1) {
		days[(o.Start/second-epoch)/86_400] = true
	}
	for d := range int64(29) {
		if d > 9 && days[d] {
			t.Errorf("day %d is told, and is as the others were", d)
		}
	}
	for d := range int64(7) {
		if !days[d] {
			t.Errorf("night %d is not told: what is suspicious is not learned in a week", d)
		}
	}
	if !days[29] {
		t.Error("the last night is not told: it is seventy times the usual")
	}
}

// A thief who begins with little and takes a tenth more each day does not teach the
// baseline: what grows for days is found.
func TestPoisoning(t *testing.T) {
	l := new(log)
	size := 1_500_000.0
	for d := range 60 {
		at := float64(d) * 86_400
		l.browse(me, at, 9)
		for i := range 10 {
			l.add(at+1000+2500*float64(i), 5, me, thief, 443, "tcp", int(size/10), 2000)
		}
		size *= 1.1
	}
	first, taken, all := -1, 0.0, 0.0
	obs := observe(l.events(t, "tsv"), 1)
	for _, o := range obs {
		if d := int((o.Start/second - epoch) / 86_400); first < 0 || d < first {
			first = d
		}
	}
	for d := range 60 {
		n := 1_500_000 * math.Pow(1.1, float64(d))
		all += n
		if d < first {
			taken += n
		}
	}
	if first < 0 || taken > all/20 {
		t.Errorf("found on day %d, when %.0f MB of %.0f MB were gone", first, taken/1e6, all/1e6)
	}
	t.Logf("found on day %d, when %.0f MB of %.0f MB were gone", first, taken/1e6, all/1e6)
}

// attacks is a log with some of everything, and a recorded day.
func attacks(t testing.TB) []*event.Event {
	l := new(log)
	for h := range 12 {
		host := fmt.Sprintf("10.0.0.%d", h+1)
		l.browse(host, float64(h)*50, 40)
		for i := range 12 {
			l.add(30_000+700*float64(i)+float64(h), 9, host, []string{thief, "203.0.113.80", "192.0.2.10", fmt.Sprintf("198.51.100.%d", i)}[h%4], 443, "tcp", 1_400_000*(1+h%3), 9000)
		}
		for i := range 6 {
			l.add(50_000+1000*float64(h)+float64(i)/5, 12, host, "203.0.113.81", 8080, "tcp", 20_000_000, 40_000)
		}
		l.add(90_000+float64(h), 12, host, "203.0.113.80", 0, "icmp", 3_000_000, 3_000_000)
	}
	evs := l.events(t, "json")
	day := scenario.Load(t, shareddata.Path(t, "labelled/benign-days/010/conn.log.labeled.gz"), "147.32.0.0/16")
	know(day)
	return append(day[:5000], evs...)
}

// What is observed does not depend on the number of shards, and not on where the
// state was cut and restored in other shards. What is known in the end does not either.
func TestShardsAndCuts(t *testing.T) {
	evs := attacks(t)
	var shards []*both
	last := 0
	keep := func(n int) scenario.Detector {
		b := newBoth(n).(*both)
		shards, last = append(shards, b), n
		return b
	}
	known := func() map[netip.Addr]host { // by the shards of the last restart
		all := map[netip.Addr]host{}
		for _, b := range shards[len(shards)-last:] {
			for _, h := range b.hosts {
				c := *h
				c.dirty = false
				all[h.Addr] = c
			}
		}
		shards = nil
		return all
	}
	scenario.Observe(evs, 1, keep)
	state := known()
	want := observe(evs, 1)
	if len(want) < 8 {
		t.Fatalf("%d observations", len(want))
	}
	for _, n := range []int{2, 5} {
		if d := cmp.Diff(want, observe(evs, n), compareAddrs); d != "" {
			t.Errorf("%d shards (-one +%d):\n%.3000s", n, n, d)
		}
	}
	for seed := range uint64(8) {
		if d := cmp.Diff(want, scenario.ObserveWithCuts(t, evs, seed, keep), compareAddrs); d != "" {
			t.Errorf("seed %d: with cuts (-without +with):\n%.3000s", seed, d)
		}
		if d := cmp.Diff(state, known(), compareAddrs, cmp.Exporter(func(reflect.Type) bool { return true })); d != "" {
			t.Errorf("seed %d: state with cuts (-without +with):\n%.3000s", seed, d)
		}
	}
}

// Nothing on a recorded harmless day deserves a finding of medium or higher: with what
// its other logs say of names, and without.
func TestRecordedInnocence(t *testing.T) {
	f := func(local string, files ...string) {
		t.Helper()
		var logs [][]*event.Event
		for _, file := range files {
			logs = append(logs, scenario.Load(t, shareddata.Path(t, "labelled/"+file), local))
			for _, o := range observe(scenario.Merge(logs...), 1) {
				if o.Score >= 0.7 {
					t.Errorf("%s: score %.2f: %s", file, o.Score, o.Reason)
				}
			}
		}
	}
	f("147.32.0.0/16", "benign-days/008/conn.log.labeled.gz", "benign-days/008/ssl.log.labeled.gz", "benign-days/008/http.log.labeled.gz")
	f("147.32.0.0/16", "benign-days/010/conn.log.labeled.gz", "benign-days/010/dns.log.labeled.gz", "benign-days/010/ssl.log.labeled.gz", "benign-days/010/http.log.labeled.gz")
	f("10.0.0.0/8", "c2/normal/conn.log.gz", "c2/normal/dns.log.gz", "c2/normal/ssl.log.gz")
	f("10.0.0.0/8", "c2/comfoo/conn.log.gz", "c2/numinon/conn.log.gz")
	f("64.225.56.201/32", "internet-server/2024-04-19.conn.log.gz", "internet-server/2024-04-19.dns.log.gz")
}

// A flood of forged inside sources keeps the caps, and takes nothing from a host with
// history; nor does a host that sends to a million places take more room than others.
func TestFlood(t *testing.T) {
	cfg := DefaultConfig()
	cfg.MaxHosts = 2000
	d := New(cfg, 1, hosts.New(hosts.Config{MaxHosts: 2000, MaxServices: 100}, 1))
	l := new(log)
	l.browse(me, 0, 2)
	l.add(3000, 8, me, "192.0.2.10", 443, "tcp", 900_000, 4000)
	for _, ev := range l.events(t, "tsv") {
		d.Observe(ev, true, true, nil)
	}
	z := enrich.NewZones(nil)
	ev := l.events(t, "tsv")[0]
	rnd := rand.New(rand.NewPCG(1, 1))
	for i := range 300_000 {
		v := rnd.Uint32()
		ev.Orig.Addr = netip.MustParseAddr(me)
		if i%3 > 0 {
			ev.Orig.Addr = netip.AddrFrom4([4]byte{10, 99, byte(v >> 8), byte(v >> 16)})
		}
		ev.Resp.Addr = netip.AddrFrom4([4]byte{198, byte(v), byte(v >> 12), byte(v >> 20)})
		ev.Conn.OrigBytes = uint64(v % 400_000)
		ev.Known = &event.Known{}
		ev.Time += 1e6
		ev.End = ev.Time
		z.Enrich(ev)
		d.Observe(ev, true, true, nil)
	}
	if len(d.hosts) > cfg.MaxHosts {
		t.Errorf("%d hosts: over the cap", len(d.hosts))
	}
	h := d.hosts[event.HashAddr(netip.MustParseAddr(me), 0, 0)]
	if h == nil {
		t.Fatal("the host with history is forgotten")
	}
	for _, h := range d.hosts {
		if len(h.small) > maxSmall || len(h.accounts) > maxAccounts || len(h.notable) > maxNotable || len(h.open) > maxEpisodes || len(h.live) > maxLive {
			t.Fatalf("a host with %d and %d destinations, %d samples, %d episodes: over the caps", len(h.small), len(h.accounts), len(h.notable), len(h.open))
		}
	}
}

// Numbers that no network can move do not break the sums.
func TestAbsurd(t *testing.T) {
	l := new(log)
	l.browse(me, 0, 10)
	evs := l.events(t, "json")
	for i, ev := range evs {
		switch i % 5 {
		case 0:
			ev.Conn.OrigBytes, ev.Conn.OrigIPBytes, ev.Conn.OrigPkts = math.MaxUint64, math.MaxUint64, math.MaxUint64
		case 1:
			ev.Conn.OrigBytes = math.MaxUint64
		case 2:
			ev.End = math.MaxInt64 / 4 * int64(i%3)
		case 3:
			ev.Time, ev.End = math.MinInt64/4, math.MinInt64/4
		}
		if i%7 == 0 {
			ev.Flags |= event.FlagSnapshot
		}
	}
	for _, o := range observe(evs, 1) {
		for _, f := range o.Features {
			if math.IsNaN(f.Num) || math.IsInf(f.Num, 0) {
				t.Errorf("%s is %v", f.Key, f.Num)
			}
		}
	}
}

func TestObserveDoesNotAllocate(t *testing.T) {
	l := new(log)
	l.browse(me, 0, 3)
	for i := range 30 {
		l.add(1000+60*float64(i), 8, me, []string{"192.0.2.10", "192.0.2.20", "203.0.113.80"}[i%3], 443, "tcp", 200_000, 90_000)
	}
	evs := l.events(t, "tsv")
	b := newBoth(1)
	b.Track()
	dst := make([]event.Observation, 0, 8)
	pass := func() {
		for _, ev := range evs {
			dst = b.Observe(ev, true, false, dst[:0])
		}
	}
	pass()
	if n := testing.AllocsPerRun(100, pass); n != 0 {
		t.Errorf("%v allocations for known hosts, want 0", n)
	}
}

// Records that nobody wrote are refused, and do no harm.
func FuzzRestore(f *testing.F) {
	l := new(log)
	l.browse(me, 0, 10)
	l.add(20000, 8, me, thief, 443, "tcp", 28_000_000, 30_000)
	for i := range 20 {
		l.add(21000+120*float64(i), 20, me, fmt.Sprintf("198.51.100.%d", i+1), 443, "tcp", 1_500_000, 6000)
	}
	l.rows = append(l.rows, row{30_000, 500, me, "192.0.2.10", 443, "tcp", 900_000, 4000, "conn_long"})
	evs := l.events(f, "json")
	d := newBoth(1)
	d.Track()
	for _, ev := range evs {
		d.Observe(ev, true, true, nil)
	}
	for _, rec := range d.Cut() {
		f.Add(rec.Key, rec.Value)
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		d := newBoth(1)
		if d.Restore(state.Record{Key: key, Value: value}, func(uint64) bool { return true }) != nil {
			return
		}
		for _, ev := range evs[:40] {
			d.Observe(ev, true, true, nil)
		}
		d.Advance(evs[len(evs)-1].Time+3*day, nil)
		d.Finish(nil)
		d.Track()
		d.Cut()
	})
}

func BenchmarkObserve(b *testing.B) {
	evs := scenario.Load(b, shareddata.Path(b, "labelled/benign-days/010/conn.log.labeled.gz"), "147.32.0.0/16")
	know(evs)
	b.ReportAllocs()
	d := newBoth(1)
	i := 0
	for b.Loop() {
		d.Observe(evs[i], true, true, nil)
		if i++; i == len(evs) {
			i = 0
		}
	}
}
