package population_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tidewatch/behavior/population"
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
		f("conn first", slices.Concat(form.conn, form.tls), event.NameNone, event.NameTLS)
		f("with DNS", slices.Concat(form.dns, form.conn, form.tls), event.NameQuery, event.NameResolved, event.NameTLS)
		f("another connection", slices.Concat(form.tls, form.conn, form.other), event.NameTLS, event.NameSession, event.NameResolved)
		f("the answer is forgotten", slices.Concat(form.dns, form.other), event.NameQuery, event.NameNone)
		f("nothing is known", form.conn, event.NameNone)
	}
}
