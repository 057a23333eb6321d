package suricata

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tidewatch/event"
	"tidewatch/parsers"
)

// parse reads one record that must be understood.
func parse(t testing.TB, line string) *event.Event {
	t.Helper()
	return parseWith(t, New(parsers.Options{}), line)
}

func parseWith(t testing.TB, p *Parser, line string) *event.Event {
	t.Helper()
	b := event.NewBatch(nil, 1, 3*len(line)+64)
	ev, own := b.Add([]byte(line))
	if err := p.Parse(b, ev, own); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	if string(ev.Raw) != line {
		t.Errorf("the record is kept as %q", ev.Raw)
	}
	return ev
}

func refuse(t *testing.T, line string) error {
	t.Helper()
	b := event.NewBatch(nil, 1, 3*len(line)+64)
	ev, own := b.Add([]byte(line))
	return New(parsers.Options{}).Parse(b, ev, own)
}

const head = `"timestamp":"2024-05-06T07:08:09.123456+0000","flow_id":1234567890123456,`

// tcpRecord returns a TCP record from 10.0.0.1:50000 to 10.0.0.2:443.
func tcpRecord(eventType, rest string) string {
	return `{` + head + `"event_type":"` + eventType +
		`","src_ip":"10.0.0.1","src_port":50000,"dest_ip":"10.0.0.2","dest_port":443,"proto":"TCP"` + rest + `}`
}

func TestHeader(t *testing.T) {
	ev := parse(t, `{`+head+`"in_iface":"eth0","event_type":"tls","vlan":[7,8,9],"src_ip":"fe80:0000:0000:0000:0000:0000:0000:0001","src_port":1,`+
		`"dest_ip":"::ffff:192.0.2.1","dest_port":65535,"proto":"TCP","community_id":"1:x\/y=","tx_id":3,"tls":{}}`)
	at := time.Date(2024, 5, 6, 7, 8, 9, 123456000, time.UTC).UnixNano()
	if ev.Time != at || ev.End != at || ev.Written != at {
		t.Errorf("times are %d, %d, %d; want %d", ev.Time, ev.End, ev.Written, at)
	}
	if ev.Sensor != event.SensorSuricata || ev.Kind != event.KindTLS || ev.Proto != event.ProtoTCP || ev.UID != "1234567890123456" ||
		ev.VLAN != 7 || ev.InnerVLAN != 8 || ev.TxID != 3 || ev.CommunityID != "1:x/y=" || ev.TLS == nil {
		t.Errorf("got %+v", ev)
	}
	want := [2]netip.AddrPort{netip.MustParseAddrPort("[fe80::1]:1"), netip.MustParseAddrPort("192.0.2.1:65535")}
	got := [2]netip.AddrPort{netip.AddrPortFrom(ev.Orig.Addr, ev.Orig.Port), netip.AddrPortFrom(ev.Resp.Addr, ev.Resp.Port)}
	if got != want {
		t.Errorf("ends are %v, want %v", got, want)
	}
}

func TestTimes(t *testing.T) {
	f := func(stamp, want string) {
		t.Helper()
		w, err := time.Parse(time.RFC3339Nano, want)
		if err != nil {
			t.Fatal(err)
		}
		if ev := parse(t, `{"timestamp":"`+stamp+`","event_type":"tls"}`); ev.Time != w.UnixNano() {
			t.Errorf("%s is %s", stamp, time.Unix(0, ev.Time).UTC())
		}
	}
	f("2026-08-21T12:00:00.123456+0000", "2026-08-21T12:00:00.123456Z")
	f("2026-08-21T12:00:00.123456+0200", "2026-08-21T10:00:00.123456Z")
	f("2026-08-21T12:00:00.123456-0730", "2026-08-21T19:30:00.123456Z")
	f("2026-08-21T12:00:00.123456+02:00", "2026-08-21T10:00:00.123456Z")
	f("2026-08-21T12:00:00Z", "2026-08-21T12:00:00Z")
	f(`2026-08-21T12\u003a00:00Z`, "2026-08-21T12:00:00Z")
}

// A flow is written long after it ended.
func TestFlowTimes(t *testing.T) {
	ev := parse(t, tcpRecord("flow", `,"flow":{"start":"2024-05-06T06:00:00.000000+0000","end":"2024-05-06T06:00:01.500000+0000"}`))
	start := time.Date(2024, 5, 6, 6, 0, 0, 0, time.UTC).UnixNano()
	if ev.Time != start || ev.End != start+1.5e9 || ev.Conn.Duration != 1.5e9 || ev.Written != start+4089.123456e9 {
		t.Errorf("got %d, %d, %d, %d", ev.Time, ev.End, ev.Conn.Duration, ev.Written)
	}
	// The clock went back: the duration is not known.
	ev = parse(t, tcpRecord("flow", `,"flow":{"start":"2024-05-06T06:00:00.000000+0000","end":"2024-05-06T05:00:01.500000+0000"}`))
	if ev.Time != start || ev.End != start || ev.Has(event.ConnDuration) {
		t.Errorf("got %d, %d, %v", ev.Time, ev.End, ev.Has(event.ConnDuration))
	}
}

func TestRefused(t *testing.T) {
	f := func(line string, want error) {
		t.Helper()
		if err := refuse(t, line); !errors.Is(err, want) {
			t.Errorf("%.100s: got %v, want %v", line, err, want)
		}
	}
	f(``, parsers.ErrMeta)
	f(`[]`, parsers.ReasonNotObject)
	f(`@cee: `, parsers.ReasonNotObject)
	f("\x00\x00\x00", parsers.ReasonNotObject)
	f(`{}`, parsers.ReasonNoTime)
	f(`{"event_type":"tls"}`, parsers.ReasonNoTime)
	f(`{"timestamp":1,"event_type":"tls"}`, parsers.ReasonNoTime)
	f(`{"timestamp":"ts-error","event_type":"tls"}`, parsers.ReasonBadTime)
	f(`{"timestamp":"2024-05-06T07:08:09+0000"}`, parsers.ReasonNoKind)
	f(`{"timestamp":"2024-05-06T07:08:09+0000","event_type":null}`, parsers.ReasonNoKind)
	f(`{"timestamp":"2024-05-06T07:08:09+0000","event_type":"tls","src_ip":"10.0.0.256"}`, parsers.ReasonBadAddr)
	f(`{"timestamp":"2024-05-06T07:08:09+0000","event_type":"tls","src_port":65536}`, parsers.ReasonBadPort)
	f(`{"timestamp":"2024-05-06T07:08:09+0000","event_type":"tls","src_port":-1}`, parsers.ReasonBadPort)
	f(`{"timestamp":"2024-05-06T07:08:09+0000","event_type":"flow"}`, reasonNoAddr)
	// A record cut off anywhere, and two that a socket merged.
	whole := tcpRecord("tls", `,"tls":{"sni":"a"}`)
	for i := 1; i < len(whole); i++ {
		f(whole[:i], parsers.ReasonBadJSON)
	}
	f(whole+whole, parsers.ReasonBadJSON)
	f(tcpRecord("dns", `,"dns":`+strings.Repeat(`{"answers":[`, 50000)), parsers.ReasonBadJSON)
}

func TestCookie(t *testing.T) {
	for _, prefix := range []string{"@cee:", "@cee: ", " "} {
		if ev := parse(t, prefix+tcpRecord("tls", `,"tls":{"sni":"a.example"}`)); ev.TLS.ServerName != "a.example" {
			t.Errorf("%q: got %q", prefix, ev.TLS.ServerName)
		}
	}
}

// Once a file has shown a flow, netflow says the same again.
func TestNetflow(t *testing.T) {
	const half = `,"netflow":{"pkts":3,"bytes":180,"start":"2024-05-06T06:00:00.000000+0000","end":"2024-05-06T06:00:01.000000+0000"},"tcp":{"tcp_flags":"1a"}`
	p := New(parsers.Options{})
	ev := parseWith(t, p, tcpRecord("netflow", half))
	if c := ev.Conn; ev.Flags&event.FlagUnidirectional == 0 || c.OrigPkts != 3 || c.OrigIPBytes != 180 || c.OrigFlags != 0x1a ||
		ev.Has(event.ConnRespPkts) || ev.Outcome != event.OutcomeUnknown || c.Duration != 1e9 {
		t.Errorf("got %+v, %+v", ev, c)
	}
	parseWith(t, p, tcpRecord("flow", `,"flow":{}`))
	b := event.NewBatch(nil, 1, 10000)
	e, own := b.Add([]byte(tcpRecord("netflow", half)))
	var skip *parsers.Skip
	if err := p.Parse(b, e, own); !errors.As(err, &skip) || skip.Name != "netflow" {
		t.Errorf("netflow beside flow: %v", err)
	}
}

func TestSkipped(t *testing.T) {
	p := New(parsers.Options{})
	b := event.NewBatch(nil, 10000, 1<<20)
	skip := func(name string) *parsers.Skip {
		ev, own := b.Add([]byte(tcpRecord(name, "")))
		var s *parsers.Skip
		if !errors.As(p.Parse(b, ev, own), &s) {
			t.Fatalf("%s is not skipped", name)
		}
		return s
	}
	if a, b := skip("tftp"), skip("tftp"); a != b || a.Name != "tftp" {
		t.Errorf("got %v and %v", a, b)
	}
	for i := range 200 {
		skip(strings.Repeat("x", i))
	}
	if s := skip("one more"); s.Name != "other" || len(p.skips.known) != maxSkips {
		t.Errorf("got %v, %d names", s, len(p.skips.known))
	}
}

func TestDNSRoles(t *testing.T) {
	dns := func(src, dst, body string) string {
		return `{` + head + `"event_type":"dns","src_ip":"` + src + `","dest_ip":"` + dst + `","proto":"UDP","dns":{` + body + `}}`
	}
	f := func(line string, response bool, query, answers string) {
		t.Helper()
		ev := parse(t, line)
		if ev.Orig.Addr.String() != "10.0.0.9" || ev.Resp.Addr.String() != "10.0.0.53" {
			t.Errorf("%s: client is %s", line, ev.Orig.Addr)
		}
		if d := ev.DNS; d.Response != response || d.Query != query || strings.Join(d.Answers, " ") != answers {
			t.Errorf("%s: got %+v", line, d)
		}
	}
	const client, server = "10.0.0.9", "10.0.0.53"
	f(dns(client, server, `"type":"query","id":1,"rrname":"a.example","rrtype":"A"`), false, "a.example", "")
	f(dns(client, server, `"type":"answer","id":1,"rcode":"NOERROR","rrname":"a.example","rrtype":"A","ttl":5,"rdata":"192.0.2.1"`), true, "a.example", "192.0.2.1")
	f(dns(client, server, `"version":2,"type":"query","id":1,"rrname":"a.example","rrtype":"A"`), false, "a.example", "")
	f(dns(client, server, `"version":2,"type":"answer","id":1,"rrname":"a.example","rrtype":"A","answers":[{"rdata":"192.0.2.1","ttl":1},{"rdata":"192.0.2.2","ttl":2}]`),
		true, "a.example", "192.0.2.1 192.0.2.2")
	f(dns(client, server, `"version":2,"type":"answer","rrname":"a.example","grouped":{"A":["192.0.2.1"],"SRV":[{"name":"s.example","port":1}]}`),
		true, "a.example", "192.0.2.1 s.example")
	f(dns(client, server, `"version":2,"type":"answer","rrname":"a.example","grouped":{"A":["192.0.2.1"]},"answers":[{"rdata":"192.0.2.1","ttl":1}]`),
		true, "a.example", "192.0.2.1")
	f(dns(client, server, `"version":3,"type":"request","id":1,"queries":[{"rrname":"a.example","rrtype":"A"}]`), false, "a.example", "")
	f(dns(server, client, `"version":3,"type":"response","id":1,"queries":[{"rrname":"a.example","rrtype":"A"}],"answers":[{"rrname":"a.example","rrtype":"A","ttl":9,"rdata":"192.0.2.1"}]`),
		true, "a.example", "192.0.2.1")
}

func TestDNSColumns(t *testing.T) {
	ev := parse(t, tcpRecord("dns", `,"dns":{"version":2,"type":"answer","id":58092,"flags":"8583","qr":true,"aa":true,"rd":true,"ra":true,"opcode":0,"rrname":"a.example",`+
		`"rrtype":"MX","rcode":"NXDOMAIN","tx_id":4,"answers":[{"ttl":1,"srv":{"name":"x"}},{"ttl":2},{"ttl":3,"soa":{"mname":"m","rname":"r"}}],`+
		`"authorities":[{"rdata":"not an answer","ttl":9}]}`))
	want := &event.DNS{Query: "a.example", TransID: 58092, QType: 15, QTypeName: "MX", RCode: 3, RCodeName: "NXDOMAIN", AA: true, RD: true, RA: true,
		Answers: []string{"x", "", "m"}, TTLs: []uint32{1, 2, 3}, Response: true}
	if diff := cmp.Diff(want, ev.DNS); diff != "" || ev.TxID != 4 {
		t.Errorf("want -, got +:\n%s", diff)
	}
	if !ev.Has(event.DNSTC) || !ev.Has(event.DNSZ) || ev.Has(event.DNSQClass) {
		t.Error("the bits that are 0 are known from the flags")
	}
	ev = parse(t, tcpRecord("dns", `,"dns":{"type":"query","rrname":"a\/b\u00e9"}`))
	if ev.Has(event.DNSTC) || ev.DNS.Query != "a/bé" {
		t.Errorf("got %+v", ev.DNS)
	}
}

func TestAlert(t *testing.T) {
	const alert = `,"alert":{"action":"allowed","gid":1,"signature_id":2100498,"rev":7,"signature":"GPL ATTACK_RESPONSE id check","category":"Bad","severity":2,"metadata":{"a":["b"]}}`
	f := func(rest string, swapped bool) *event.Event {
		t.Helper()
		ev := parse(t, tcpRecord("alert", alert+rest))
		if (ev.Orig.Port == 443) != swapped {
			t.Errorf("%s: originator has port %d", rest, ev.Orig.Port)
		}
		return ev
	}
	ev := f("", false)
	want := &event.Notice{Action: "allowed", GID: 1, SignatureID: 2100498, Rev: 7, Name: "GPL ATTACK_RESPONSE id check", Category: "Bad", Severity: 2}
	if diff := cmp.Diff(want, ev.Notice); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	f(`,"direction":"to_server"`, false)
	f(`,"direction":"to_client"`, true)
	f(`,"flow":{"src_ip":"10.0.0.1","src_port":50000}`, false)
	f(`,"flow":{"src_ip":"10.0.0.2","src_port":443,"dest_ip":"10.0.0.1"}`, true)
	f(`,"direction":"to_client","flow":{"src_ip":"10.0.0.1"}`, false)
	ev = f(`,"app_proto":"http","direction":"to_server","http":{"hostname":"h.example","url":"\/x","status":"200"},"tls":{"sni":"s.example"},`+
		`"dns":{"query":[{"type":"query","id":1,"rrname":"q.example","rrtype":"A"}]},"flow":{"pkts_toserver":5,"bytes_toserver":99,"start":"2024-05-06T06:00:00.000000+0000"}`, false)
	if ev.HTTP.Host != "h.example" || ev.HTTP.URI != "/x" || ev.HTTP.Status != 200 || ev.TLS.ServerName != "s.example" || ev.DNS.Query != "q.example" ||
		ev.Conn.OrigPkts != 5 || ev.Conn.OrigIPBytes != 99 || ev.Conn.Service != "http" || ev.Time != ev.Written {
		t.Errorf("got %+v, %+v, %+v", ev.HTTP, ev.DNS, ev.Conn)
	}
}

func TestFileRoles(t *testing.T) {
	f := func(rest string, fromOrig bool) {
		t.Helper()
		ev := parse(t, `{`+head+`"event_type":"fileinfo","src_ip":"10.0.0.2","src_port":50001,"dest_ip":"10.0.0.1","dest_port":50002,"proto":"TCP"`+rest+`,"fileinfo":{"size":9}}`)
		if ev.File.FromOrig != fromOrig || (ev.Orig.Port == 50001) != fromOrig {
			t.Errorf("%s: from originator %v, who has port %d", rest, ev.File.FromOrig, ev.Orig.Port)
		}
	}
	f(`,"http":{"http_method":"GET"}`, false)
	f(`,"smb":{"command":"SMB2_COMMAND_READ"}`, false)
	f(`,"smb":{"command":"SMB2_COMMAND_WRITE"}`, true)
	f(`,"nfs":{"procedure":"READ","type":"response"}`, false)
	f(`,"smtp":{"helo":"x"}`, true)
	f(`,"direction":"to_client"`, false)
	f(``, true)
}

func TestExtra(t *testing.T) {
	p := New(parsers.Options{Extra: []string{"http.http_port", "in_iface", "missing", "metadata.flowbits", "http.xff", "a.b"}})
	ev := parseWith(t, p, `{`+head+`"in_iface":"eth\/0","event_type":"http","http":{"http_port":8080,"xff":true,"deep":{"xff":1}},"metadata":{"flowbits":["x", "y"]},"a.b":null}`)
	want := []event.Field{{Name: "http.http_port", Value: "8080"}, {Name: "in_iface", Value: "eth/0"}, {Name: "metadata.flowbits", Value: `["x", "y"]`}, {Name: "http.xff", Value: "true"}}
	if diff := cmp.Diff(want, ev.Extra); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}

func TestStats(t *testing.T) {
	ev := parse(t, `{"timestamp":"2024-05-06T07:08:09+0000","event_type":"stats","stats":{"uptime":8,"capture":{"kernel_packets":100,"kernel_drops":3},"decoder":{"pkts":97,"event":{"ipv4":{"pkts":1}}},"tcp":{"ssn_memcap_drop":0}}}`)
	want := []event.Field{{Name: "stats.uptime", Value: "8"}, {Name: "stats.capture.kernel_packets", Value: "100"}, {Name: "stats.capture.kernel_drops", Value: "3"},
		{Name: "stats.decoder.pkts", Value: "97"}, {Name: "stats.tcp.ssn_memcap_drop", Value: "0"}}
	if diff := cmp.Diff(want, ev.Extra); diff != "" || ev.Kind != event.KindStats {
		t.Errorf("want -, got +:\n%s", diff)
	}
}

// What has the wrong type is as if it were not there.
func TestWrongTypes(t *testing.T) {
	ev := parse(t, `{`+head+`"event_type":"http","vlan":{"a":[1]},"src_ip":null,"src_port":[80],"proto":{},"tx_id":-1,"community_id":["x"],"app_proto":{"a":1},`+
		`"flow":7,"dns":"x","tls":[{"sni":"a"}],"http":{"status":99999,"length":1.5,"hostname":{"a":"b"},"url":7,"http_content_type":{},"request_headers":"x"}}`)
	var want event.Columns
	for _, c := range []event.Column{event.ColWritten, event.ColUID, event.HTTPURI} {
		want.Add(c)
	}
	if ev.Set != want || ev.HTTP.URI != "7" || ev.TLS != nil || ev.DNS != nil || ev.Conn != nil {
		t.Errorf("got %+v", ev)
	}
}

func TestAllocates(t *testing.T) {
	all := lines(readLog(t, "suricata/eve-7.0.10.json.gz"))
	pool := event.NewPool(1, len(all), 64<<20)
	p := New(parsers.Options{Extra: []string{"http.http_port", "pkt_src"}})
	round := func() {
		b := <-pool
		for _, l := range all {
			ev, own := b.Add(l)
			if p.Parse(b, ev, own) != nil {
				b.Drop()
			}
		}
		b.Release()
	}
	round() // what grows once
	if n := testing.AllocsPerRun(3, round); n != 0 {
		t.Errorf("%v allocations in %d lines", n, len(all))
	}
}
