package rules

import (
	"math"
	"testing"

	"tidewatch/internal/scenario"
)

// What needs no decryption: sizes, direction, pace and names, of real records' forms.
func TestEncryptedTraffic(t *testing.T) {
	evs := scenario.Parse(t, []byte(`{"_path":"conn","ts":1767603600.0,"uid":"C1","id.orig_h":"10.0.0.5","id.orig_p":50001,"id.resp_h":"203.0.113.9","id.resp_p":443,"proto":"tcp","service":"ssl","duration":10.0,"orig_bytes":9000,"resp_bytes":1000,"conn_state":"SF","orig_pkts":10,"orig_ip_bytes":9500,"resp_pkts":5,"resp_ip_bytes":1250}
{"_path":"conn","ts":1767603600.0,"uid":"C2","id.orig_h":"10.0.0.5","id.orig_p":50001,"id.resp_h":"203.0.113.9","id.resp_p":443,"proto":"tcp","orig_bytes":4294967295,"orig_ip_bytes":60,"conn_state":"OTH"}
{"_path":"ssl","ts":1767603600.1,"uid":"C1","id.orig_h":"10.0.0.5","id.orig_p":50001,"id.resp_h":"203.0.113.9","id.resp_p":443,"version":"TLSv12","server_name":"a.example","sni_matches_cert":false}
{"_path":"ssl","ts":1767603600.1,"uid":"C1","id.orig_h":"10.0.0.5","id.orig_p":50001,"id.resp_h":"203.0.113.9","id.resp_p":443,"version":"TLSv12","server_name":"a.example"}
`))
	number := func(i int, field string, want float64) {
		t.Helper()
		if got := recordFields[field].Number(evs[i]); math.Abs(got-want) > 1e-9 {
			t.Errorf("record %d: %s is %v, want %v", i, field, got, want)
		}
	}
	number(0, "network.ratio", 0.8)
	number(0, "network.bytes_per_second", 1000)
	number(0, "source.packet_bytes", 950)
	number(0, "destination.packet_bytes", 250)
	number(1, "network.ratio", 1)
	number(1, "network.bytes_per_second", 0)
	number(1, "destination.packet_bytes", 0)
	for i, want := range map[int]bool{2: true, 3: false} {
		if got := recordFields["tls.server.name_mismatch"].Truth(evs[i]); got != want {
			t.Errorf("record %d: the names differ: %v", i, got)
		}
	}
}
