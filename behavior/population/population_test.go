package population_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tidewatch/behavior/population"
	"tidewatch/behavior/state"
	"tidewatch/enrich"
	"tidewatch/event"
	"tidewatch/internal/scenario"
)

// The records of one session in each form: a host asks for a name, connects to what
// it is given and says the name in TLS. DNS comes first, then conn and TLS.
const tsvHead = "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\t%s\n#fields\t%s\n"

func tsv(t testing.TB, path, fields string, rows ...string) []*event.Event {
	t.Helper()
	text := fmt.Sprintf(tsvHead, path, strings.ReplaceAll(fields, " ", "\t"))
	for _, r := range rows {
		text += strings.ReplaceAll(r, " ", "\t") + "\n"
	}
	return parse(t, text, len(rows))
}

func parse(t testing.TB, text string, n int) []*event.Event {
	t.Helper()
	evs := scenario.Parse(t, []byte(text))
	if len(evs) != n {
		t.Fatalf("%d records of %d are parsed in\n%s", len(evs), n, text)
	}
	return evs
}

func lines(t testing.TB, rows ...string) []*event.Event {
	t.Helper()
	return parse(t, strings.Join(rows, "\n")+"\n", len(rows))
}

// form is one way to write the session.
type form struct {
	dns, tls, conn, other []*event.Event // other: a second connection to the address, of 3 hours later
}

func forms(t testing.TB) map[string]form {
	const dnsFields = "ts uid id.orig_h id.orig_p id.resp_h id.resp_p proto query qtype_name rcode_name answers TTLs"
	const connFields = "ts uid id.orig_h id.orig_p id.resp_h id.resp_p proto service conn_state orig_pkts resp_pkts"
	const tlsFields = "ts uid id.orig_h id.orig_p id.resp_h id.resp_p server_name"
	eve := func(at, flow, kind, orig, resp, rest string) string {
		o, op, _ := strings.Cut(orig, " ")
		r, rp, _ := strings.Cut(resp, " ")
		proto := map[bool]string{true: "UDP", false: "TCP"}[kind == "dns"]
		return fmt.Sprintf(`{"timestamp":"2026-11-20T%s.000000+0000","flow_id":%s,"event_type":"%s","src_ip":"%s","src_port":%s,"dest_ip":"%s","dest_port":%s,"proto":"%s",%s}`,
			at, flow, kind, o, op, r, rp, proto, rest)
	}
	flow := func(start string) string {
		return `"flow":{"pkts_toserver":9,"pkts_toclient":9,"bytes_toserver":900,"bytes_toclient":900,"start":"2026-11-20T` + start + `.000000+0000","end":"2026-11-20T` + start + `.900000+0000","state":"closed"},"tcp":{"tcp_flags":"1b"}`
	}
	return map[string]form{
		"Zeek TSV": {
			dns:   tsv(t, "dns", dnsFields, "1795168800.0 D1 10.0.0.5 50000 10.0.0.1 53 udp WWW.Example.co.uk A NOERROR cdn.example.net,192.0.2.7 300.0,20.0"),
			tls:   tsv(t, "ssl", tlsFields, "1795168801.1 C1 10.0.0.5 50001 192.0.2.7 443 www.example.co.uk"),
			conn:  tsv(t, "conn", connFields, "1795168801.0 C1 10.0.0.5 50001 192.0.2.7 443 tcp ssl SF 9 9"),
			other: tsv(t, "conn", connFields, "1795179600.0 C2 10.0.0.5 50002 192.0.2.7 8443 tcp - SF 9 9"),
		},
		"Zeek JSON": {
			dns:   lines(t, `{"_path":"dns","ts":1795168800.0,"uid":"D1","id.orig_h":"10.0.0.5","id.orig_p":50000,"id.resp_h":"10.0.0.1","id.resp_p":53,"proto":"udp","query":"WWW.Example.co.uk","qtype_name":"A","rcode_name":"NOERROR","answers":["cdn.example.net","192.0.2.7"],"TTLs":[300.0,20.0]}`),
			tls:   lines(t, `{"_path":"ssl","ts":1795168801.1,"uid":"C1","id.orig_h":"10.0.0.5","id.orig_p":50001,"id.resp_h":"192.0.2.7","id.resp_p":443,"server_name":"www.example.co.uk"}`),
			conn:  lines(t, `{"_path":"conn","ts":1795168801.0,"uid":"C1","id.orig_h":"10.0.0.5","id.orig_p":50001,"id.resp_h":"192.0.2.7","id.resp_p":443,"proto":"tcp","service":"ssl","conn_state":"SF","orig_pkts":9,"resp_pkts":9}`),
			other: lines(t, `{"_path":"conn","ts":1795179600.0,"uid":"C2","id.orig_h":"10.0.0.5","id.orig_p":50002,"id.resp_h":"192.0.2.7","id.resp_p":8443,"proto":"tcp","conn_state":"SF","orig_pkts":9,"resp_pkts":9}`),
		},
		"EVE": {
			dns: lines(t, eve("10:00:00", "1", "dns", "10.0.0.5 50000", "10.0.0.1 53",
				`"dns":{"version":2,"type":"answer","id":1,"rrname":"WWW.Example.co.uk","rrtype":"A","rcode":"NOERROR","answers":[{"rrname":"www.example.co.uk","rrtype":"CNAME","ttl":300,"rdata":"cdn.example.net"},{"rrname":"cdn.example.net","rrtype":"A","ttl":20,"rdata":"192.0.2.7"}]}`)),
			tls:   lines(t, eve("10:00:01", "2", "tls", "10.0.0.5 50001", "192.0.2.7 443", `"tls":{"sni":"www.example.co.uk","version":"TLS 1.3"}`)),
			conn:  lines(t, eve("10:01:01", "2", "flow", "10.0.0.5 50001", "192.0.2.7 443", flow("10:00:01"))),
			other: lines(t, eve("13:01:01", "3", "flow", "10.0.0.5 50002", "192.0.2.7 8443", flow("13:00:00"))),
		},
	}
}

// known is what a test says of event.Known.
type known struct {
	Name, Domain string
	Source       event.NameSource
}

func nameOf(ev *event.Event) known {
	return known{ev.Far().Name, ev.Far().Domain, ev.Far().Source}
}

func prepare(p *population.Population, evs ...*event.Event) {
	p.Prepare(&event.Sequence{Events: evs})
}

// The name of a session is known to its records, to later records of the host with
// the address, and until the answer is too old.
func TestNames(t *testing.T) {
	for what, form := range forms(t) {
		f := func(story string, evs []*event.Event, want ...event.NameSource) {
			t.Helper()
			prepare(population.New(population.DefaultConfig()), evs...)
			for i, ev := range evs {
				w := known{"www.example.co.uk", "example.co.uk", want[i]}
				if want[i] == event.NameNone {
					w = known{}
				}
				if d := cmp.Diff(w, nameOf(ev)); d != "" {
					t.Errorf("%s, %s, record %d (-want +got):\n%s", what, story, i, d)
				}
			}
		}
		f("TLS first", slices.Concat(form.tls, form.conn), event.NameTLS, event.NameSession)
		again := *form.conn[0]
		f("the session is over", slices.Concat(form.tls, form.conn, []*event.Event{&again}), event.NameTLS, event.NameSession, event.NameResolved)
		f("conn first", slices.Concat(form.conn, form.tls), event.NameNone, event.NameTLS)
		f("with DNS", slices.Concat(form.dns, form.conn, form.tls), event.NameQuery, event.NameResolved, event.NameTLS)
		f("another connection", slices.Concat(form.tls, form.conn, form.other), event.NameTLS, event.NameSession, event.NameResolved)
		f("the answer is forgotten", slices.Concat(form.dns, form.other), event.NameQuery, event.NameNone)
		f("nothing is known", form.conn, event.NameNone)
	}
}

// record makes one record without a log: the fields that count.
func record(kind event.Kind, at float64, orig, resp string, port uint16) *event.Event {
	ev := &event.Event{
		Kind: kind, Time: int64((1795168800 + at) * 1e9), Sensor: event.SensorZeek, Proto: event.ProtoTCP,
		Outcome: event.OutcomeAnswered,
		Orig:    event.Host{Addr: netip.MustParseAddr(orig), Port: 50000},
		Resp:    event.Host{Addr: netip.MustParseAddr(resp), Port: port},
	}
	zones.Enrich(ev)
	return ev
}

var zones = enrich.NewZones(nil)

func tlsRecord(at float64, orig, resp, name string) *event.Event {
	ev := record(event.KindTLS, at, orig, resp, 443)
	ev.TLS = &event.TLS{ServerName: name}
	return ev
}

func dnsRecord(at float64, orig, name string, answers ...string) *event.Event {
	ev := record(event.KindDNS, at, orig, "10.0.0.1", 53)
	ev.Proto = event.ProtoUDP
	ev.DNS = &event.DNS{Query: name, Answers: answers}
	return ev
}

func httpRecord(at float64, orig, resp, method, host, uri string) *event.Event {
	ev := record(event.KindHTTP, at, orig, resp, 80)
	ev.HTTP = &event.HTTP{Method: method, Host: host, URI: uri}
	return ev
}

// What is known of the last of some records.
func TestKnown(t *testing.T) {
	f := func(what string, want event.Known, evs ...*event.Event) {
		t.Helper()
		prepare(population.New(population.DefaultConfig()), evs...)
		got := *evs[len(evs)-1].Far()
		got.NameHash, got.DomainHash, want.Looked = 0, 0, got.Looked
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", what, d)
		}
	}
	const day, out, outside = 24 * 60 * 60, "192.0.2.7", "198.51.100.9"
	at := func(s float64) int64 { return int64((1795168800 + s) * 1e9) }
	use := event.Use{Hosts: 1}
	f("the first connection", event.Known{Addr: use, Hosts: 1}, record(event.KindConn, 0, "10.0.0.5", out, 22))
	f("the second host", event.Known{Addr: event.Use{Hosts: 2, First: at(0)}, Hosts: 2},
		record(event.KindConn, 0, "10.0.0.5", out, 22), record(event.KindConn, 9, "10.0.0.6", out, 22))
	f("a month later", event.Known{Addr: event.Use{Hosts: 1, First: at(0)}, Hosts: 1},
		record(event.KindConn, 0, "10.0.0.5", out, 22), record(event.KindConn, 31*day, "10.0.0.6", out, 22))
	f("inside", event.Known{Addr: use, Hosts: 2}, record(event.KindConn, 0, "10.0.0.5", "10.0.0.6", 22))
	f("from outside", event.Known{Addr: use, Hosts: 1}, record(event.KindConn, 0, outside, "10.0.0.6", 22))
	f("from outside, with a name", event.Known{Addr: use, Hosts: 1}, tlsRecord(0, outside, "10.0.0.6", "www.example.com"))
	f("from outside, known inside", event.Known{Addr: event.Use{Hosts: 2, First: at(0)}, Hosts: 2},
		record(event.KindConn, 0, "10.0.0.5", out, 22), record(event.KindConn, 5, out, "10.0.0.6", 22))
	f("known from outside", event.Known{Addr: event.Use{Hosts: 1, First: at(0)}, Hosts: 2},
		record(event.KindConn, 0, out, "10.0.0.6", 22), record(event.KindConn, 5, "10.0.0.5", out, 22))
	f("in transit", event.Known{}, record(event.KindConn, 0, outside, out, 22))

	snapshot := func(at float64) *event.Event {
		ev := record(event.KindConn, at, "10.0.0.5", out, 22)
		ev.Flags = event.FlagSnapshot
		return ev
	}
	f("a snapshot", event.Known{Addr: use}, snapshot(0))
	f("after a snapshot", event.Known{Addr: use, Hosts: 1}, snapshot(0), record(event.KindConn, 1, "10.0.0.5", out, 22))

	named := event.Known{Name: "www.example.com", Domain: "example.com", Source: event.NameTLS, Addr: use, OfName: use, OfDomain: use, Hosts: 1}
	f("TLS", named, tlsRecord(0, "10.0.0.5", out, "WWW.Example.COM."))
	f("TLS to an address", event.Known{Addr: use, Hosts: 1}, tlsRecord(0, "10.0.0.5", out, "192.0.2.7"))
	long := strings.Repeat("abcdefghi.", 40) + "example.com"
	named.Name = long[len(long)-253:]
	f("a long name", named, tlsRecord(0, "10.0.0.5", out, long))
	f("HTTP to a port", event.Known{Name: "a.example.com", Domain: "example.com", Source: event.NameHTTP, Addr: use, OfName: use, OfDomain: use, Hosts: 1},
		httpRecord(0, "10.0.0.5", out, "GET", "a.example.com:8080", "/"))
	f("through a proxy, then to it", event.Known{Addr: event.Use{Hosts: 1, First: at(0)}, Hosts: 1, Names: 1},
		httpRecord(0, "10.0.0.5", out, "CONNECT", "a.example.com:443", "a.example.com:443"), record(event.KindConn, 1, "10.0.0.5", out, 8080))

	f("a whole address for a proxy, then to it", event.Known{Addr: event.Use{Hosts: 1, First: at(0)}, Hosts: 1, Names: 1},
		httpRecord(0, "10.0.0.5", out, "GET", "a.example.com", "http://a.example.com/"), record(event.KindConn, 1, "10.0.0.5", out, 8080))
	zeek, suricata := tlsRecord(0, "10.0.0.5", out, "www.example.com"), record(event.KindConn, 1, "10.0.0.6", "192.0.2.8", 443)
	zeek.UID, suricata.UID, suricata.Sensor = "12", "12", event.SensorSuricata
	f("another sensor's session", event.Known{Addr: use, Hosts: 2, Names: 1}, zeek, suricata)
	tagged := record(event.KindConn, 1, "10.0.0.6", out, 443)
	tagged.VLAN = 7
	zones.Enrich(tagged)
	f("an address outside, from two VLANs", event.Known{Addr: event.Use{Hosts: 2, First: at(0)}, Hosts: 2}, record(event.KindConn, 0, "10.0.0.5", out, 443), tagged)

	asked := event.Known{Name: "a.example.com", Domain: "example.com", Source: event.NameQuery, Class: event.ClassName,
		Addr: event.Use{Hosts: 2, First: at(0)}, OfName: event.Use{Hosts: 1}, OfDomain: event.Use{Hosts: 2, First: at(0)}, Hosts: 3, Names: 1}
	resolver := record(event.KindConn, 1, "10.0.0.1", "9.9.9.9", 53)
	f("two hosts ask for names of a domain", asked, resolver, dnsRecord(0, "10.0.0.5", "b.example.com"), dnsRecord(1, "10.0.0.6", "A.example.com"))
	asked = event.Known{Name: "ab12", Domain: "ab12", Source: event.NameQuery, Class: event.ClassName,
		Addr: event.Use{Hosts: 2, First: at(0)}, OfName: use, OfDomain: use, Hosts: 3, Names: 1}
	f("questions for a single label are not kept", asked, resolver, dnsRecord(0, "10.0.0.5", "ab12"), dnsRecord(1, "10.0.0.6", "ab12"))
	asked.Name, asked.Domain, asked.Class = "update.microsoft.com", "microsoft.com", event.ClassUpdate
	asked.Rank = 4
	f("a question has the class of its name", asked, resolver, dnsRecord(0, "10.0.0.5", "x"), dnsRecord(1, "10.0.0.6", "update.microsoft.com"))

	f("time", event.Known{Addr: use, Hosts: 1, Class: event.ClassTime}, func() *event.Event {
		ev := record(event.KindConn, 0, "10.0.0.5", out, 123)
		ev.Proto = event.ProtoUDP
		return ev
	}())
	hello := func(at float64, host, ja4, ja3 string) *event.Event {
		ev := tlsRecord(at, host, out, "")
		ev.TLS.JA4, ev.TLS.JA3 = ja4, ja3
		return ev
	}
	f("a TLS client", event.Known{Addr: use, Hosts: 1, Client: use}, hello(0, "10.0.0.5", "t13d", "abc"))
	f("a TLS client of two hosts", event.Known{Addr: event.Use{Hosts: 3, First: at(0)}, Hosts: 3, Client: event.Use{Hosts: 2, First: at(0)}},
		hello(0, "10.0.0.5", "t13d", "abc"), hello(1, "10.0.0.6", "t12d", "abc"), hello(2, "10.0.0.7", "t13d", "def"))
	f("a TLS client by JA3", event.Known{Addr: event.Use{Hosts: 2, First: at(0)}, Hosts: 2, Client: event.Use{Hosts: 2, First: at(0)}},
		hello(0, "10.0.0.5", "", "abc"), hello(1, "10.0.0.6", "", "abc"))
	f("another kind", event.Known{}, record(event.KindSSH, 0, "10.0.0.5", out, 22))
}

// A name that a host was given is known to that host, for the life of the answer, and
// for as long as the host goes on.
func TestResolved(t *testing.T) {
	const out, hour = "192.0.2.7", 60 * 60
	f := func(what, want string, evs ...*event.Event) {
		t.Helper()
		prepare(population.New(population.DefaultConfig()), evs...)
		if got := evs[len(evs)-1].Far().Name; got != want {
			t.Errorf("%s: the name is %q, want %q", what, got, want)
		}
	}
	to := func(at float64) *event.Event { return record(event.KindConn, at, "10.0.0.5", out, 443) }
	ask := func(at float64, name string, ttl uint32) *event.Event {
		ev := dnsRecord(at, "10.0.0.5", name, "alias.example.net", out)
		ev.DNS.TTLs = []uint32{ttl, ttl}
		return ev
	}
	f("at once", "a.example", ask(0, "a.example", 1), to(1))
	f("within the hour", "a.example", ask(0, "a.example", 1), to(hour))
	f("after the hour", "", ask(0, "a.example", 1), to(1.5*hour))
	f("a long life", "a.example", ask(0, "a.example", 5*hour), to(4*hour))
	f("too long a life", "", ask(0, "a.example", 4e9), to(25*hour))
	f("another host", "", dnsRecord(0, "10.0.0.6", "a.example", out), to(1))
	f("the later answer", "b.example", ask(0, "a.example", 1), ask(1, "b.example", 1), to(2))
	f("the later answer, written first", "b.example", ask(3000, "b.example", 1), ask(1, "a.example", 1), to(3001))
	steady := []*event.Event{ask(0, "a.example", 1)}
	for i := range 100 {
		steady = append(steady, to(float64(i)*0.9*hour))
	}
	f("an address in steady use", "a.example", steady...)
	f("a name that is an address", "", dnsRecord(0, "10.0.0.5", "a.example", "0.0.0.0"), record(event.KindConn, 1, "10.0.0.5", "0.0.0.0", 443))
}

// What an attacker sends costs no memory of what several hosts use or of what is old,
// and no more memory than the bounds say.
func TestAttackers(t *testing.T) {
	cfg := population.Config{
		Hosts: 256, Sessions: 256, Addresses: 256, Names: 1024,
		Light: 1024, Wide: 256, Crowds: 16, LightInbound: 256, WideInbound: 64, CrowdsInbound: 4,
	}
	p := population.New(cfg)
	name := func(i int) string { return fmt.Sprintf("www.site%d.example", i) }
	addr := func(i int) string { return fmt.Sprintf("192.0.2.%d", i) }
	for i := range 30 {
		for h := range 3 {
			prepare(p, tlsRecord(float64(h), fmt.Sprintf("10.0.0.%d", 5+h), addr(i), name(i)))
		}
		prepare(p, record(event.KindConn, 0, "10.0.0.5", "203.0.113."+fmt.Sprint(i), 22), record(event.KindConn, 2*86400, "10.0.0.5", "203.0.113."+fmt.Sprint(i), 22))
	}
	r := rand.New(rand.NewPCG(5, 5))
	for i := range 20_000 {
		at := 2*86400 + float64(i)/100
		spoofed := netip.AddrFrom4([4]byte{byte(1 + r.IntN(9)), byte(r.IntN(256)), byte(r.IntN(256)), byte(r.IntN(256))}).String()
		label := fmt.Sprintf("%016x", r.Uint64())
		prepare(p,
			record(event.KindConn, at, spoofed, "10.0.0.5", 80), record(event.KindConn, at, spoofed, "10.0.0.6", 80),
			dnsRecord(at, "10.0.0.5", label+".tunnel.example", spoofed), dnsRecord(at, "10.0.0.5", label+".example"),
			tlsRecord(at, "10.0.0.5", "198.51.100.1", label+".example"), dnsRecord(at, "10.0.0.6", label))
	}
	for i := range 30 {
		ev := tlsRecord(3*86400, "10.0.0.5", addr(i), name(i))
		old := record(event.KindConn, 3*86400, "10.0.0.5", "203.0.113."+fmt.Sprint(i), 22)
		prepare(p, ev, old)
		k := ev.Far()
		if k.Addr.Hosts != 3 || k.OfName.Hosts != 3 || k.OfDomain.Hosts != 3 || k.OfName.First == 0 || k.OfDomain.First == 0 {
			t.Errorf("of what three hosts use is known: %+v", k)
		}
		if old.Far().Addr.First == 0 {
			t.Errorf("the address %s is forgotten", old.Resp.Addr)
		}
	}
}

// TestWorstCase fills everything that is kept, and weighs it.
func TestWorstCase(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	p := population.New(population.DefaultConfig())
	r := rand.New(rand.NewPCG(6, 6))
	pad := strings.Repeat("x", 200)
	for i := range 400_000 {
		a := netip.AddrFrom4([4]byte{11, byte(i >> 16), byte(i >> 8), byte(i)})
		host := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		ev := tlsRecord(float64(i%1000), host.String(), a.String(), fmt.Sprintf("%s.n%d.example", pad, i))
		ev.UID = fmt.Sprint(i)
		in := record(event.KindConn, float64(i%1000), a.String(), host.String(), 80)
		prepare(p, ev, in)
	}
	for i := range 1 << 14 { // crowds, each of just so many that it is exact
		a := netip.AddrFrom4([4]byte{12, byte(i >> 16), byte(i >> 8), byte(i)}).String()
		n := fmt.Sprintf("n%d.example", i)
		for range 60 {
			prepare(p, tlsRecord(2000, netip.AddrFrom4([4]byte{10, 0, byte(r.IntN(4)), byte(r.IntN(256))}).String(), a, n))
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	mb := float64(after.HeapAlloc-before.HeapAlloc) / 1e6
	t.Logf("%.0f MB", mb)
	if mb > 85 {
		t.Errorf("the population weighs %.0f MB", mb)
	}
	runtime.KeepAlive(p)
}

// Records of known entities are prepared without allocation.
func TestPrepareDoesNotAllocate(t *testing.T) {
	var evs []*event.Event
	for _, f := range forms(t) {
		evs = slices.Concat(evs, f.dns, f.tls, f.conn, f.other)
	}
	evs = append(evs, httpRecord(0, "10.0.0.5", "192.0.2.7", "GET", "Upper.Example.com:80", "/"), tlsRecord(0, "10.0.0.5", "192.0.2.7", "WWW.EXAMPLE.com"))
	for h := range 200 { // a crowd
		evs = append(evs, tlsRecord(0, fmt.Sprintf("10.0.1.%d", h), "192.0.2.8", "crowd.example"))
	}
	seqs := event.NewSequencePool(1, sequence)
	p := population.New(population.DefaultConfig())
	observe(p, evs, seqs)
	if n := testing.AllocsPerRun(20, func() { observe(p, evs, seqs) }); n != 0 {
		t.Errorf("%v allocations in %d records", n, len(evs))
	}
}

// small is a configuration in which everything has to make room.
var small = population.Config{
	Hosts: 64, Sessions: 64, Addresses: 512, Names: 512,
	Light: 512, Wide: 128, Crowds: 16, LightInbound: 64, WideInbound: 16, CrowdsInbound: 2,
}

// A population that is restored from its cuts at random points says of each record
// what one that never stopped says, and is in the end the same to the byte.
func TestCuts(t *testing.T) {
	evs := madeDay(t, 10)
	for _, cfg := range []population.Config{population.DefaultConfig(), small} {
		clean := population.New(cfg)
		want := make([]event.Known, len(evs))
		prepare(clean, evs...)
		for i, ev := range evs {
			want[i] = *ev.Far()
		}
		whole := map[string][]byte{}
		keep(whole, clean.Cut())
		for seed := range uint64(3) {
			r := rand.New(rand.NewPCG(seed, 7))
			store := map[string][]byte{}
			p := population.New(cfg)
			cuts := 0
			for i := 0; i < len(evs); {
				n := min(1+r.IntN(2000), len(evs)-i)
				prepare(p, evs[i:i+n]...)
				for j := i; j < i+n; j++ {
					if d := cmp.Diff(want[j], *evs[j].Far()); d != "" {
						t.Fatalf("record %d after %d cuts (-clean +cut):\n%s", j, cuts, d)
					}
				}
				i += n
				keep(store, p.Cut())
				if cuts++; r.IntN(3) == 0 {
					p = restore(t, cfg, store)
				}
			}
			if d := cmp.Diff(whole, store); d != "" {
				t.Errorf("the stores differ (-clean +cut):\n%.2000s", d)
			}
		}
	}
}

func keep(store map[string][]byte, recs []state.Record) {
	for _, rec := range recs {
		if len(rec.Value) == 0 {
			delete(store, string(rec.Key))
		} else {
			store[string(rec.Key)] = rec.Value
		}
	}
}

func restore(t testing.TB, cfg population.Config, store map[string][]byte) *population.Population {
	t.Helper()
	p := population.New(cfg)
	for k, v := range store {
		if err := p.Restore(state.Record{Key: []byte(k), Value: v}); err != nil {
			t.Fatalf("%q: %v", k, err)
		}
	}
	return p
}

// Whatever a store holds, Restore takes it or refuses it, and what it takes is usable
// and comes back out of the next Cut as it was.
func FuzzRestore(f *testing.F) {
	p := population.New(small)
	prepare(p, dnsRecord(0, "10.0.0.5", "a.example", "192.0.2.7"), tlsRecord(0, "10.0.0.5", "192.0.2.7", "b.example"), record(event.KindConn, 0, "198.51.100.1", "10.0.0.5", 22))
	for h := range 70 {
		prepare(p, tlsRecord(0, fmt.Sprintf("10.0.1.%d", h), "192.0.2.8", "crowd.example"))
		if h == 2 || h == 20 || h == 69 {
			for _, rec := range p.Cut() {
				f.Add(rec.Key, rec.Value)
			}
		}
	}
	evs := []*event.Event{tlsRecord(9, "10.0.0.5", "192.0.2.7", "b.example"), record(event.KindConn, 9, "10.0.0.5", "192.0.2.8", 443), record(event.KindConn, 9, "198.51.100.1", "10.0.0.5", 22)}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		p := population.New(small)
		for range 2 { // the second replaces the first
			if err := p.Restore(state.Record{Key: key, Value: value}); err != nil {
				return
			}
		}
		if rs := p.Cut(); len(rs) != 0 {
			t.Fatalf("a restored record is new: %q", rs[0].Key)
		}
		prepare(p, evs...)
		again := population.New(small)
		for _, rec := range p.Cut() {
			if err := again.Restore(rec); err != nil {
				t.Fatalf("%q: %v", rec.Key, err)
			}
		}
	})
}
