package outputs

import (
	"encoding/json"
	"strings"
	"testing"

	"tidewatch/event"
	"tidewatch/parsers"
	"tidewatch/parsers/suricata"
	"tidewatch/parsers/zeek"
)

func TestSplitName(t *testing.T) {
	f := func(dn, want string) {
		t.Helper()
		var got []string
		for _, p := range splitName(dn) {
			got = append(got, p.attribute+"="+p.value)
		}
		if s := strings.Join(got, "|"); s != want {
			t.Errorf("%q: %s, want %s", dn, s, want)
		}
	}
	f("", "")
	f("CN=a.example", "CN=a.example")
	f("CN=a,O=b", "CN=a|O=b")
	f("C=US, O=Acme U.S.A., INC., CN=update.acme.com", "C=US|O=Acme U.S.A., INC.|CN=update.acme.com")
	f(`CN=*.elastic.co,O=Elasticsearch\, Inc.,C=US`, "CN=*.elastic.co|O=Elasticsearch, Inc.|C=US")
	f("/C=US/O=a/b/CN=c", "C=US|O=a/b|CN=c")
	f("CN=a+OU=b,C=c", "CN=a|OU=b|C=c")
	f(`CN=a\,O=b`, "CN=a,O=b")
	f("2.5.4.3=a, ST=b", "2.5.4.3=a|ST=b")
	f("no attribute", "")
	f(`CN=a\`, `CN=a\`)
	f("CN=,O=", "CN=|O=")
	f(strings.Repeat("CN=a,", 1000), strings.TrimSuffix(strings.Repeat("CN=a|", maxNameParts), "|"))
}

func TestTLSVersion(t *testing.T) {
	f := func(s, protocol, version string) {
		t.Helper()
		if p, v := tlsVersion(s); p != protocol || v != version {
			t.Errorf("%q: %q %q", s, p, v)
		}
	}
	f("TLSv12", "tls", "1.2")
	f("TLSv10", "tls", "1.0")
	f("TLS 1.3", "tls", "1.3")
	f("TLSv1", "tls", "1.0")
	f("SSLv3", "ssl", "3.0")
	f("DTLSv12", "dtls", "1.2")
	f("UNDETERMINED", "", "")
	f("TLS 1.3 draft-28", "", "")
	f("", "", "")
}

// document parses a line and returns the document of its record.
func document(t *testing.T, p parsers.Parser, lines ...string) map[string]any {
	t.Helper()
	b := event.NewBatch(nil, len(lines), 64<<10)
	for i, line := range lines {
		ev, own := b.Add([]byte(line))
		err := p.Parse(b, ev, own)
		if i < len(lines)-1 {
			b.Drop()
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		var e Encoder
		var doc map[string]any
		if err := json.Unmarshal(e.Record(nil, ev, 0), &doc); err != nil {
			t.Fatal(err)
		}
		return doc
	}
	return nil
}

// at returns a field as JSON, "" if it is not there.
func at(doc map[string]any, path string) string {
	var v any = doc
	for _, name := range strings.Split(path, ".") {
		m, _ := v.(map[string]any)
		if v = m[name]; v == nil {
			return ""
		}
	}
	b, _ := json.Marshal(v)
	return string(b)
}

// What sensors write and what documents say of it, where Elastic's integrations say
// something else or nothing.
func TestRecordValues(t *testing.T) {
	f := func(doc map[string]any, want ...string) {
		t.Helper()
		for i := 0; i < len(want); i += 2 {
			if got := at(doc, want[i]); got != want[i+1] {
				t.Errorf("%s is %s, want %s", want[i], got, want[i+1])
			}
		}
	}
	conn := []string{
		"#separator \\x09", "#set_separator\t,", "#empty_field\t(empty)", "#unset_field\t-", "#path\tconn",
		"#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tservice\tduration\torig_bytes\tresp_bytes\tconn_state\tlocal_orig\tlocal_resp\torig_pkts\torig_ip_bytes\tresp_pkts\tresp_ip_bytes\torig_l2_addr",
	}
	line := func(s string) []string { return append(conn[:len(conn):len(conn)], strings.ReplaceAll(s, " ", "\t")) }
	f(document(t, zeek.NewTSV(parsers.Options{}), line("1700000000.5 C1 10.0.0.1 4000 192.0.2.1 443 tcp ssl,http 1.5 10 20 SF T F 3 100 4 200 00:00:5e:00:53:23")...),
		"@timestamp", `"2023-11-14T22:13:20.500000Z"`, "event.type", `["connection","start","end"]`, "event.duration", "1500000000", "event.id", `"C1"`,
		"source.bytes", "100", "tidewatch.conn.orig_bytes", "10", "network.bytes", "300", "network.packets", "7", "network.direction", `"outbound"`,
		"source.mac", `"00-00-5E-00-53-23"`, "network.protocol", `"ssl,http"`, "event.outcome", "")
	f(document(t, zeek.NewTSV(parsers.Options{}), line("1700000000 C1 10.0.0.1 8 192.0.2.1 0 icmp - - - - OTH - - 1 84 - - -")...),
		"source.port", "", "tidewatch.icmp.type", "8", "tidewatch.icmp.code", "0", "network.direction", "", "network.bytes", "", "event.type", `["connection","info"]`, "event.duration", "")
	f(document(t, zeek.NewJSON(parsers.Options{}), `{"_path":"dns","ts":1700000000,"uid":"C2","id.orig_h":"10.0.0.1","id.orig_p":5353,"id.resp_h":"224.0.0.251","id.resp_p":5353,"proto":"udp","trans_id":0,"query":"_googlecast._tcp.local","qclass":1,"qclass_name":"C_INTERNET","qtype":12,"qtype_name":"PTR","rcode":3,"rcode_name":"NXDOMAIN","AA":true,"TC":false,"RD":true,"RA":false,"Z":0,"answers":["192.0.2.7","x.example"],"TTLs":[120,60],"rejected":false}`),
		"dns.question.name", `"_googlecast._tcp.local"`, "dns.question.registered_domain", `"_tcp.local"`, "dns.question.subdomain", `"_googlecast"`,
		"dns.question.top_level_domain", `"local"`, "dns.question.class", `"IN"`, "dns.header_flags", `["AA","RD"]`, "event.outcome", `"failure"`, "dns.type", `"answer"`,
		"dns.answers", `[{"data":"192.0.2.7","ttl":120},{"data":"x.example","ttl":60}]`, "dns.resolved_ip", `["192.0.2.7"]`,
		"related.ip", `["10.0.0.1","224.0.0.251","192.0.2.7"]`, "related.hosts", `["_googlecast._tcp.local"]`, "dns.id", `"0"`)
	f(document(t, suricata.New(parsers.Options{}), `{"timestamp":"2021-01-27T01:28:11.488362+0100","flow_id":1805461738637437,"event_type":"alert","src_ip":"175.16.199.1","src_port":80,"dest_ip":"10.0.0.5","dest_port":34240,"proto":"TCP","direction":"to_client","alert":{"action":"blocked","gid":1,"signature_id":2100498,"rev":7,"signature":"GPL ATTACK_RESPONSE id check","category":"Potentially Bad Traffic","severity":2},"flow":{"pkts_toserver":6,"pkts_toclient":5,"bytes_toserver":496,"bytes_toclient":904,"start":"2021-01-27T01:28:11.000000+0100"}}`),
		"@timestamp", `"2021-01-27T00:28:11.488362Z"`, "event.kind", `"alert"`, "event.type", `["info","denied"]`, "event.severity", "47", "rule.id", `"2100498"`, "rule.version", `"7"`,
		"source.ip", `"10.0.0.5"`, "source.bytes", "496", "destination.ip", `"175.16.199.1"`, "destination.bytes", "904", "tidewatch.uid", `"1805461738637437"`)
}
