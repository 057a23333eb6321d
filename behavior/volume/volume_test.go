package volume

import (
	"math"
	"testing"

	"tidewatch/internal/scenario"
)

// What a record of each form says, with what is impossible in it.
func TestCounts(t *testing.T) {
	f := func(line string, want Count) {
		t.Helper()
		evs := scenario.Parse(t, []byte(line))
		if len(evs) != 1 {
			t.Fatalf("%d records", len(evs))
		}
		if got := Sent(evs[0]); got != want {
			t.Errorf("%+v, want %+v\n%s", got, want, line)
		}
	}
	zeek := func(columns string) string {
		return `{"_path":"conn","ts":1767600000.0,"uid":"C1","id.orig_h":"10.0.0.5","id.orig_p":5000,"id.resp_h":"203.0.113.9","id.resp_p":443,"proto":"tcp",` + columns + `}`
	}
	// Both counts, the payload and 52 bytes a packet.
	f(zeek(`"orig_bytes":28000,"orig_pkts":20,"orig_ip_bytes":29040`), Count{Bytes: 28000, Packets: 20})
	// The sensor missed packets: sequence numbers know better.
	f(zeek(`"orig_bytes":6270933,"orig_pkts":6340,"orig_ip_bytes":3377861`), Count{Bytes: 6270933, Packets: 6340, Disputed: true})
	// Sequence numbers wrapped: the packets know better.
	f(zeek(`"orig_bytes":12,"orig_pkts":2000000,"orig_ip_bytes":2900000000`), Count{Bytes: 2900000000 - 52*2000000, Packets: 2000000, Disputed: true})
	// A wrong sequence number: four gigabytes in five packets.
	f(zeek(`"orig_bytes":4294967200,"orig_pkts":5,"orig_ip_bytes":540`), Count{Bytes: 280, Packets: 5, Clamped: true})
	f(zeek(`"orig_bytes":4000,"orig_pkts":0,"orig_ip_bytes":0`), Count{Clamped: true, Unseen: true})
	// Large packets, as network cards make them.
	f(zeek(`"orig_bytes":640000,"orig_pkts":10,"orig_ip_bytes":640520`), Count{Bytes: 640000, Packets: 10})
	// The acknowledgements of a download are no upload.
	f(zeek(`"orig_bytes":900,"orig_pkts":100000,"orig_ip_bytes":5200000`), Count{Bytes: 900, Packets: 100000})
	// One of the counts only, or none.
	f(zeek(`"orig_bytes":4000`), Count{Bytes: 4000})
	f(zeek(`"orig_pkts":10,"orig_ip_bytes":5520`), Count{Bytes: 5000, Packets: 10})
	f(zeek(`"conn_state":"S0"`), Count{})
	// What was shunted is in neither.
	f(zeek(`"orig_bytes":28000,"orig_pkts":20,"orig_ip_bytes":29040,"orig_shunted_bytes":1000000`), Count{Bytes: 1028000, Packets: 20})
	// More than there can be.
	f(zeek(`"orig_bytes":18446744073709551615`), Count{Bytes: most})
	// Suricata counts frames.
	f(`{"timestamp":"2026-01-05T08:00:00.000000+0000","flow_id":1,"event_type":"flow","src_ip":"10.0.0.5","dest_ip":"203.0.113.9","src_port":5000,"dest_port":443,"proto":"TCP","flow":{"pkts_toserver":20,"pkts_toclient":9,"bytes_toserver":29320,"bytes_toclient":600,"start":"2026-01-05T08:00:00.000000+0000","end":"2026-01-05T08:00:01.000000+0000"}}`,
		Count{Bytes: 28000, Packets: 20})
}

// No numbers overflow, whatever a line says.
func FuzzCount(f *testing.F) {
	f.Add(uint64(math.MaxUint64), uint64(math.MaxUint64), uint64(math.MaxUint64), uint64(math.MaxUint64))
	f.Add(uint64(28000), uint64(29040), uint64(20), uint64(0))
	ev := scenario.Parse(f, []byte(`{"_path":"conn","ts":1767600000.0,"uid":"C1","id.orig_h":"10.0.0.5","id.orig_p":5000,"id.resp_h":"203.0.113.9","id.resp_p":443,"proto":"tcp","orig_bytes":1,"orig_pkts":1,"orig_ip_bytes":53,"orig_shunted_bytes":0}`))[0]
	f.Fuzz(func(t *testing.T, data, ip, pkts, shunted uint64) {
		ev.Conn.OrigBytes, ev.Conn.OrigIPBytes, ev.Conn.OrigPkts, ev.Conn.ShuntedOrigBytes = data, ip, pkts, shunted
		if n := Sent(ev); n.Bytes > 2*most || n.Packets > most {
			t.Errorf("%+v", n)
		}
	})
}
