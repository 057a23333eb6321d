package enrich

import (
	"net/netip"
	"testing"

	"tidewatch/event"
	"tidewatch/parsers"
	"tidewatch/parsers/suricata"
	"tidewatch/parsers/zeek"
)

// parseZeek parses lines of Zeek's JSON.
func parseZeek(t *testing.T, lines ...string) (evs []*event.Event) {
	t.Helper()
	return parse(t, zeek.NewJSON(parsers.Options{}), lines...)
}

func parse(t *testing.T, p parsers.Parser, lines ...string) (evs []*event.Event) {
	t.Helper()
	for _, line := range lines {
		b := event.NewBatch(nil, 1, 2*len(line)+64)
		ev, own := b.Add([]byte(line))
		if err := p.Parse(b, ev, own); err != nil {
			t.Fatal(err, line)
		}
		evs = append(evs, ev)
	}
	return evs
}

// Hosts say their names to servers of a domain, to each other, and to everybody. Who is
// known better counts; each name holds for a day; people's names are none.
func TestNicknames(t *testing.T) {
	x := open(t, Config{})
	for _, ev := range parseZeek(t,
		`{"_path":"dns","ts":1000.0,"uid":"C1","id.orig_h":"10.0.0.5","id.orig_p":5353,"id.resp_h":"224.0.0.251","id.resp_p":5353,"proto":"udp","query":"Alices-Laptop.local","qtype":1,"qtype_name":"A","answers":["10.0.0.5"],"TTLs":[120.0]}`,
		`{"_path":"dns","ts":1000.0,"uid":"C1","id.orig_h":"10.0.0.5","id.orig_p":5353,"id.resp_h":"224.0.0.251","id.resp_p":5353,"proto":"udp","query":"other.local","qtype":1,"qtype_name":"A","answers":["10.0.0.77"],"TTLs":[120.0]}`,
		`{"_path":"dns","ts":1000.0,"uid":"C1","id.orig_h":"10.0.0.6","id.orig_p":5353,"id.resp_h":"224.0.0.251","id.resp_p":5353,"proto":"udp","query":"_smb._tcp.local","qtype":12,"qtype_name":"PTR","answers":["10.0.0.6"],"TTLs":[120.0]}`,
		`{"_path":"kerberos","ts":1060.0,"uid":"C2","id.orig_h":"10.0.0.5","id.orig_p":40000,"id.resp_h":"10.0.0.1","id.resp_p":88,"request_type":"TGS","client":"LAPTOP7$/EXAMPLE.COM","service":"cifs/fs1.example.com","success":true}`,
		`{"_path":"kerberos","ts":1061.0,"uid":"C2","id.orig_h":"10.0.0.5","id.orig_p":40000,"id.resp_h":"10.0.0.1","id.resp_p":88,"request_type":"TGS","client":"alice/EXAMPLE.COM","service":"cifs/fs1.example.com","success":true}`,
		`{"_path":"ntlm","ts":1070.0,"uid":"C3","id.orig_h":"10.0.0.5","id.orig_p":40001,"id.resp_h":"10.0.0.9","id.resp_p":445,"username":"alice","hostname":"SPOOFED","domainname":"EXAMPLE","server_nb_computer_name":"FS1","success":true}`,
		`{"_path":"kerberos","ts":1080.0,"uid":"C4","id.orig_h":"10.0.0.8","id.orig_p":40000,"id.resp_h":"10.0.0.1","id.resp_p":88,"request_type":"AS","client":"host/linux1.example.com","service":"krbtgt/EXAMPLE.COM","success":true}`,
		`{"_path":"dhcp","ts":1090.0,"uids":["C5"],"client_addr":"10.0.0.8","server_addr":"10.0.0.1","mac":"00:00:5e:00:53:08","host_name":"linux-by-dhcp","assigned_addr":"10.0.0.8","lease_time":3600.0,"msg_types":["ACK"]}`,
	) {
		x.Enrich(ev)
	}
	for _, ev := range parse(t, suricata.New(parsers.Options{}),
		`{"timestamp":"1970-01-01T00:20:00.000000+0000","flow_id":1,"event_type":"smb","src_ip":"10.0.0.10","src_port":50839,"dest_ip":"10.0.0.9","dest_port":445,"proto":"TCP","smb":{"id":4,"dialect":"3.00","command":"SMB2_COMMAND_SESSION_SETUP","status":"STATUS_SUCCESS","ntlmssp":{"domain":"EXAMPLE","user":"alice","host":"WIN10","version":"10.0 build 10586 rev 15"}}}`,
	) {
		x.Enrich(ev)
	}
	f := func(addr string, at int64, want string) {
		t.Helper()
		if got := x.about(x.now.Load(), netip.MustParseAddr(addr), 0, at*1e9).HostName(); got != want {
			t.Errorf("%s at %d is called %q, want %q", addr, at, got, want)
		}
	}
	f("10.0.0.5", 2000, "LAPTOP7")
	f("10.0.0.5", 1060+86400, "") // a day later nobody knows
	f("10.0.0.9", 2000, "FS1")
	f("10.0.0.10", 2000, "WIN10")
	f("10.0.0.6", 2000, "")
	f("10.0.0.77", 2000, "") // who says it is not who has it
	f("10.0.0.8", 2000, "linux-by-dhcp")
	f("10.0.0.8", 1090+3600, "linux1.example.com") // the lease is over
	var n nicknames
	for i := range 5 * maxNicknames {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		n.hear(&event.Event{Time: int64(i), Orig: event.Host{Scope: event.ScopeLocal}}, a, "x", byMDNS)
	}
	if len(n.now)+len(n.old) > 2*maxNicknames {
		t.Errorf("%d names", len(n.now)+len(n.old))
	}
}
