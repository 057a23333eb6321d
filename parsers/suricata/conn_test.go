package suricata

import (
	"fmt"
	"testing"

	"tidewatch/event"
)

func TestTCPOutcomes(t *testing.T) {
	f := func(flowState, ts, tc string, replies int, state event.State, outcome event.Outcome) {
		t.Helper()
		ev := parse(t, tcpRecord("flow", fmt.Sprintf(`,"flow":{"pkts_toserver":2,"pkts_toclient":%d,"state":"%s"},"tcp":{"tcp_flags_ts":"%s","tcp_flags_tc":"%s"}`,
			replies, flowState, ts, tc)))
		if ev.Conn.State != state || ev.Outcome != outcome {
			t.Errorf("%s %s/%s %d: got %v %v, want %v %v", flowState, ts, tc, replies, ev.Conn.State, ev.Outcome, state, outcome)
		}
	}
	const answered, rejected, silent, unknown = event.OutcomeAnswered, event.OutcomeRejected, event.OutcomeSilent, event.OutcomeUnknown
	f("new", "02", "00", 0, event.StateS0, silent)
	f("new", "c2", "00", 0, event.StateS0, silent)
	f("new", "06", "00", 0, event.StateRSTOS0, silent)
	f("new", "03", "00", 0, event.StateSH, silent)
	f("closed", "02", "14", 1, event.StateREJ, rejected)
	f("closed", "02", "04", 1, event.StateREJ, rejected)
	f("established", "12", "12", 5, event.StateS1, answered)
	f("new", "02", "12", 1, event.StateS1, answered) // the SYN-ACK is an answer
	f("closed", "06", "12", 1, event.StateRSTO, answered)
	f("closed", "1b", "1b", 5, event.StateSF, answered)
	f("closed", "1f", "1b", 5, event.StateSF, answered)
	f("closed", "1e", "1a", 5, event.StateRSTO, answered)
	f("closed", "1b", "1e", 5, event.StateRSTR, answered)
	f("established", "1b", "1a", 5, event.StateS2, answered)
	f("established", "1a", "1b", 5, event.StateS3, answered)
	f("new", "13", "11", 2, event.StateSF, answered)
	f("new", "02", "10", 1, event.StateOTH, unknown)
	// Midstream and backscatter: nobody asked.
	f("new", "00", "00", 0, event.StateOTH, unknown)
	f("new", "00", "00", 1, event.StateOTH, unknown)
	f("new", "12", "00", 0, event.StateOTH, unknown)
	f("new", "14", "00", 0, event.StateOTH, unknown)
	f("new", "1b", "00", 0, event.StateOTH, unknown)
	f("new", "00", "12", 1, event.StateOTH, unknown)
	f("new", "00", "16", 1, event.StateRSTRH, unknown)
	f("new", "00", "13", 1, event.StateSHR, unknown)
}

func TestOtherOutcomes(t *testing.T) {
	f := func(proto, rest string, replies int, outcome event.Outcome, ports string) {
		t.Helper()
		ev := parse(t, fmt.Sprintf(`{%s"event_type":"flow","src_ip":"10.0.0.1","dest_ip":"10.0.0.2","proto":"%s"%s,"flow":{"pkts_toserver":1,"pkts_toclient":%d}}`,
			head, proto, rest, replies))
		if got := fmt.Sprint(ev.Orig.Port, ev.Resp.Port); ev.Outcome != outcome || got != ports {
			t.Errorf("%s%s %d: got %v, %s", proto, rest, replies, ev.Outcome, got)
		}
	}
	const answered, silent, unknown = event.OutcomeAnswered, event.OutcomeSilent, event.OutcomeUnknown
	f("UDP", `,"src_port":5,"dest_port":53`, 1, answered, "5 53")
	f("UDP", `,"src_port":5,"dest_port":53`, 0, silent, "5 53")
	f("SCTP", `,"src_port":5,"dest_port":53`, 1, answered, "5 53")
	f("ESP", ``, 1, unknown, "0 0")
	f("ICMP", `,"icmp_type":8,"icmp_code":0,"response_icmp_type":0,"response_icmp_code":0`, 1, answered, "8 0")
	f("ICMP", `,"icmp_type":8,"icmp_code":0`, 0, silent, "8 0")
	f("ICMP", `,"icmp_type":0,"icmp_code":0`, 0, unknown, "0 8")
	f("ICMP", `,"icmp_type":3,"icmp_code":4`, 0, unknown, "3 4")
	f("ICMP", ``, 1, unknown, "0 0")
	f("IPv6-ICMP", `,"icmp_type":128,"icmp_code":0`, 1, answered, "128 129")
	f("IPv6-ICMP", `,"icmp_type":135,"icmp_code":0`, 0, unknown, "135 136")
	f("IPv6-ICMP", `,"icmp_type":143,"icmp_code":0`, 0, unknown, "143 0")
}

func TestConnColumns(t *testing.T) {
	ev := parse(t, tcpRecord("flow", `,"app_proto":"failed","ether":{"src_macs":["aa","bb"],"dest_macs":["cc"]},"flow":{"pkts_toserver":5,"pkts_toclient":6,`+
		`"bytes_toserver":18446744073709551615,"bytes_toclient":2949,"age":0,"state":"closed","reason":"timeout","alerted":true},"tcp":{"tcp_flags":"1b","tcp_flags_ts":"13","tcp_flags_tc":"1b","syn":true}`))
	c := ev.Conn
	if c.OrigPkts != 5 || c.RespPkts != 6 || c.OrigIPBytes != 1<<64-1 || c.RespIPBytes != 2949 || c.FlowState != "closed" || c.Reason != "timeout" || !c.Alerted ||
		c.OrigFlags != 0x13 || c.RespFlags != 0x1b || c.OrigMAC != "aa" || c.RespMAC != "cc" {
		t.Errorf("got %+v", c)
	}
	if ev.Has(event.ConnService) || ev.Has(event.ConnOrigBytes) || ev.Has(event.ConnDuration) || !ev.Has(event.ConnOrigIPBytes) {
		t.Error("columns that Suricata does not know are set, or others unset")
	}
	if ev = parse(t, tcpRecord("flow", `,"app_proto":"tls"`)); ev.Conn.Service != "tls" {
		t.Errorf("service is %q", ev.Conn.Service)
	}
}
