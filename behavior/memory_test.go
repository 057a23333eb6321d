package behavior

import (
	"net/netip"
	"runtime"
	"testing"

	"tidewatch/event"
)

// BenchmarkMemory reports what 100,000 hosts with a million pairs take: each host
// calls ten places, each of them three times.
func BenchmarkMemory(b *testing.B) {
	const hosts, places, times = 100_000, 10, 3
	heap := func() float64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	for range b.N {
		before := heap()
		s := NewShard(0, 1, DefaultConfig())
		ev := event.Event{
			Kind: event.KindConn, Proto: event.ProtoTCP, Outcome: event.OutcomeAnswered, Conn: &event.Conn{OrigBytes: 900, RespBytes: 4000},
			Orig: event.Host{Scope: event.ScopeLocal}, Resp: event.Host{Scope: event.ScopeExternal, Port: 443},
		}
		ev.Set.Add(event.ConnOrigBytes)
		ev.Set.Add(event.ConnRespBytes)
		var dst []event.Observation
		at := int64(1795132800e9)
		for t := range times {
			for h := range hosts {
				ev.Orig.Addr = netip.AddrFrom4([4]byte{10, byte(h >> 16), byte(h >> 8), byte(h)})
				ev.Orig.Hash = event.HashAddr(ev.Orig.Addr, 0, 0)
				for p := range places {
					at += 7200
					n := (h*7 + p*7919) % 200_000
					ev.Resp.Addr = netip.AddrFrom4([4]byte{198, 18 + byte(n>>16), byte(n >> 8), byte(n)})
					ev.Resp.Hash = event.HashAddr(ev.Resp.Addr, 0, 0)
					ev.Time = at + int64(t)*3600e9
					ev.End, ev.Written = ev.Time+1e9, ev.Time+1e9
					dst = s.Observe(&ev, dst[:0])
				}
			}
			dst = s.Advance(ev.Written, dst[:0])
		}
		used := heap() - before
		b.ReportMetric(used/1e6, "MB")
		b.ReportMetric(used/hosts, "B/host-with-10-pairs")
		runtime.KeepAlive(s)
	}
}
