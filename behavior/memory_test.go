package behavior

import (
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"tidewatch/behavior/population"
	"tidewatch/event"
)

const (
	manyHosts = 100_000
	places    = 10 // that each host calls
	calls     = 3  // of each place
)

// BenchmarkMemory reports what 100,000 hosts with a million pairs take, each seen three
// times: the pairs alone, and all detectors with what is known of far ends. Resident is
// the most that the process had in memory, with what the garbage collector had not yet
// found; the program asks for no other settings of it.
func BenchmarkMemory(b *testing.B) {
	f := func(name string, each float64, unit string, off ...string) {
		b.Run(name, func(b *testing.B) {
			cfg := DefaultConfig()
			cfg.Off = map[string]bool{}
			for _, s := range off {
				cfg.Off[s] = true
			}
			for range b.N {
				before := heapBytes()
				resetPeak(b)
				s := NewShard(0, 1, cfg)
				var p *population.Population
				if len(off) == 0 {
					p = population.New(population.DefaultConfig())
				}
				observeMany(s, p)
				peak := peakBytes(b)
				used := heapBytes() - before
				b.ReportMetric(used/1e6, "heap-MB")
				b.ReportMetric(peak/1e6, "resident-MB")
				b.ReportMetric(used/each, unit)
				runtime.KeepAlive(s)
				runtime.KeepAlive(p)
			}
		})
	}
	f("pairs", manyHosts*places, "B/pair", "scan", "dns_tunnel", "exfiltration", "long_connection")
	f("all", manyHosts, "B/host-with-10-pairs")
}

// observeMany shows a shard what the hosts do. If there is a population, it is asked first.
func observeMany(s *Shard, p *population.Population) {
	pool := event.NewSequencePool(1, 1)
	var dst []event.Observation
	at := int64(1795132800e9)
	for t := range calls {
		for h := range manyHosts {
			for place := range places {
				at += 7200
				seq := <-pool
				ev := call(h, place, at+int64(t)*3600e9)
				seq.Events = append(seq.Events, ev)
				seq.Share(1)
				if p != nil {
					p.Prepare(seq)
				}
				dst = s.Observe(ev, dst[:0])
				seq.Release()
			}
		}
		dst = s.Advance(at+int64(t)*3600e9, dst[:0])
	}
}

var one struct {
	event.Event
	conn event.Conn
}

// call is a connection of a host with one of its places. It is valid until the next.
func call(h, place int, at int64) *event.Event {
	one.conn = event.Conn{OrigBytes: 900, RespBytes: 4000}
	one.Event = event.Event{Kind: event.KindConn, Proto: event.ProtoTCP, Outcome: event.OutcomeAnswered, Conn: &one.conn, Time: at, End: at + 1e9, Written: at + 1e9}
	ev := &one.Event
	ev.Set.Add(event.ConnOrigBytes)
	ev.Set.Add(event.ConnRespBytes)
	n := (h*7 + place*7919) % 200_000
	host := func(scope event.Scope, port uint16, a ...byte) event.Host {
		addr := netip.AddrFrom4([4]byte(a))
		return event.Host{Addr: addr, Port: port, Scope: scope, Hash: event.HashAddr(addr, 0, 0)}
	}
	ev.Orig = host(event.ScopeLocal, 50000, 10, byte(h>>16), byte(h>>8), byte(h))
	ev.Resp = host(event.ScopeExternal, 443, 198, 18+byte(n>>16), byte(n>>8), byte(n))
	return ev
}

// heapBytes is what is in use.
func heapBytes() float64 {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// resetPeak makes peakBytes begin anew, where the system can (Linux: proc(5)).
func resetPeak(b *testing.B) {
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		b.Log(err)
	}
}

// peakBytes is the most memory that the process had resident.
func peakBytes(b *testing.B) float64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Log(err)
		return 0
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	if err != nil {
		b.Fatal(err)
	}
	return kib * 1024
}
