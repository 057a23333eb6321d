package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFindingTellsItsConnection analyzes a remote control of nine hours, of which Zeek
// writes the handshake a moment after the connection's end, and Suricata an alert.
func TestFindingTellsItsConnection(t *testing.T) {
	dir := t.TempDir()
	const begin = 1767600000 // Monday 2026-01-05 08:00 UTC
	ends := `"id.orig_h":"10.20.16.41","id.orig_p":50001,"id.resp_h":"203.0.113.9","id.resp_p":4444`
	conn := fmt.Sprintf(`{"_path":"conn","ts":%d.0,"uid":"CbOb1",%s,"proto":"tcp","service":"ssl","duration":32400.0,"orig_bytes":1296000,"resp_bytes":972000,"orig_pkts":9000,"orig_ip_bytes":1656000,"resp_pkts":9000,"resp_ip_bytes":1332000,"conn_state":"SF"}`, begin, ends)
	ssl := fmt.Sprintf(`{"_path":"ssl","ts":%d.0,"uid":"CbOb1",%s,"version":"TLSv12","server_name":"cdn.example","established":true,"ja4":"t13d1516h2_8daaf6152771_e5627efa2ab1"}`, begin+32402, ends)
	alert := `{"timestamp":"2026-01-05T09:00:05.000000+0000","flow_id":77,"event_type":"alert","src_ip":"10.20.16.41","src_port":50001,"dest_ip":"203.0.113.9","dest_port":4444,"proto":"TCP","alert":{"action":"allowed","gid":1,"signature_id":2001219,"rev":1,"signature":"ET MALWARE remote control","category":"","severity":1}}`
	var others strings.Builder // so that the clock goes on, in more sequences than one
	for i := range 3000 {
		fmt.Fprintf(&others, `{"_path":"conn","ts":%d.%03d,"uid":"Cx%d","id.orig_h":"10.20.16.50","id.orig_p":50002,"id.resp_h":"10.20.0.53","id.resp_p":53,"proto":"udp","service":"dns","duration":0.0,"orig_bytes":40,"resp_bytes":80,"conn_state":"SF"}`+"\n", begin+32399+i/500, 2*(i%500), i)
	}
	for name, text := range map[string]string{"conn.log": conn + "\n" + others.String(), "ssl.log": ssl + "\n", "eve.json": alert + "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	set, err := loadRules(nil)
	if err != nil {
		t.Fatal(err)
	}
	a := &analysis{term: terminal{}, opts: analyzeOptions{output: "table"}, rules: set}
	if err := a.run(t.Context(), []string{dir}); err != nil {
		t.Fatal(err)
	}
	about := 0
	for _, f := range a.findings.sorted() {
		// The first speaks once, at the connection's record.
		if f.Rule.ID != "default-handler-port" && f.Rule.ID != "long-connection" {
			continue
		}
		about++
		s := f.Session()
		if s == nil || s.TLS == nil || s.TLS.ServerName != "cdn.example" || s.TLS.JA4 != "t13d1516h2_8daaf6152771_e5627efa2ab1" {
			t.Errorf("%s: the handshake is not there: %+v", f.Rule.ID, s)
			continue
		}
		if len(s.Alerts) != 1 || s.Alerts[0].ID != 2001219 {
			t.Errorf("%s: alerts %+v", f.Rule.ID, s.Alerts)
		}
	}
	if about != 2 {
		t.Errorf("%d findings on the connection", about)
	}
}
