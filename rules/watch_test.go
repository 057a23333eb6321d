package rules

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"tidewatch/behavior"
	"tidewatch/event"
	"tidewatch/internal/scenario"
	"tidewatch/internal/shareddata"
)

// manyWatches returns a set of n rules over records of all kinds, none of which
// matches what the tests show them.
func manyWatches(t testing.TB, n int) *Set {
	t.Helper()
	var b strings.Builder
	for i := range n {
		when := []string{
			`record.kind == "ssh" and ssh.auth.failed`, `dns.question.type == "TXT" and dns.question.name startsWith "_"`,
			`record.kind == "conn" and destination.port == 4444 and network.direction == "outbound"`, `tls.server.expired`,
			`record.kind == "conn" and source.bytes > "100GB"`, `http.request.method == "CONNECT" and user_agent.original contains "x"`,
			`source.ip in cidr("203.0.113.0/24") and destination.port in [22, 23]`, `smb.path matches "^\\\\\\\\.*ADMIN\\$" `,
		}[i%8]
		fmt.Fprintf(&b, "[rule.r%d]\nname = \"x\"\nseverity = \"low\"\ndetector = \"threshold\"\nwhen = '%s'\n[rule.r%d.threshold]\nby = [\"source.ip\"]\nat_least = 3\nwithin = \"1h\"\n", i, when, i)
	}
	set, err := Load(files("many.toml", b.String()))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// connEvent is a connection that nobody waits for.
func connEvent() *event.Event {
	ev := &event.Event{
		Kind: event.KindConn, Sensor: event.SensorZeek, Proto: event.ProtoTCP, Time: 1e18, End: 1e18 + 1e9, Outcome: event.OutcomeAnswered,
		Orig: event.Host{Addr: netip.MustParseAddr("10.0.0.5"), Port: 40000, Scope: event.ScopeLocal}, Resp: event.Host{Addr: netip.MustParseAddr("198.51.100.7"), Port: 443, Scope: event.ScopeExternal},
		Conn: &event.Conn{OrigBytes: 300, RespBytes: 300, State: event.StateSF},
	}
	ev.Orig.Hash, ev.Resp.Hash = event.HashAddr(ev.Orig.Addr, 0, 0), event.HashAddr(ev.Resp.Addr, 0, 0)
	return ev
}

func TestRulesThatDoNotMatchAllocateNothing(t *testing.T) {
	set := manyWatches(t, 48)
	cfg := set.Config()
	cfg.Off = map[string]bool{"scan": true, "beacon": true, "exfiltration": true, "dns_tunnel": true}
	shard := behavior.NewShard(0, 1, cfg)
	ev := connEvent()
	if n := testing.AllocsPerRun(100, func() { shard.Observe(ev, nil) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkRecordRules shows a connection to 48 rules over records, of which none
// matches: ns/rule is what one of them costs a record.
func BenchmarkRecordRules(b *testing.B) {
	set := manyWatches(b, 48)
	cfg := set.Config()
	cfg.Off = map[string]bool{"scan": true, "beacon": true, "exfiltration": true, "dns_tunnel": true}
	shard := behavior.NewShard(0, 1, cfg)
	ev := connEvent()
	b.ReportAllocs()
	for b.Loop() {
		shard.Observe(ev, nil)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/48, "ns/rule")
}

// TestKindsThatCarryColumns holds the table of which records can carry which columns
// to recorded logs: a rule is shown the others never.
func TestKindsThatCarryColumns(t *testing.T) {
	n := 0
	for _, name := range []string{"suricata/eve-7.0.10.json.gz"} {
		for _, ev := range scenario.Load(t, shareddata.Path(t, name)) {
			for field, f := range recordFields {
				if v := valueText(f.Field, ev); v != "" && v != "0" && v != "false" && !f.kinds.has(ev.Kind) {
					t.Fatalf("a %s record has %s = %q", ev.Kind, field, v)
				}
			}
			n++
		}
	}
	if n < 1000 {
		t.Fatalf("%d records: the test tests nothing", n)
	}
}
