package zeek

import (
	"testing"
	"tidewatch/event"
	"tidewatch/internal/shareddata"
)

func BenchmarkMicro(b *testing.B) {
	data := readLog(b, shareddata.Path(b, "zeek/wrccdc/dns.log.gz"))
	lines := logLines(data)
	var starts positions
	b.Run("split", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			for _, l := range lines {
				splitByte(l, 9, &starts)
			}
		}
	})
	b.Run("add", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		pool := event.NewPool(2, 1024, 1<<20)
		for b.Loop() {
			batch := <-pool
			for _, l := range lines {
				ev, _ := batch.Add(l)
				if ev == nil {
					batch.Release()
					batch = <-pool
					ev, _ = batch.Add(l)
				}
				batch.DNS(ev)
			}
			batch.Release()
		}
	})
	b.Run("addsmall", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		pool := event.NewPool(2, 128, 1<<16)
		for b.Loop() {
			batch := <-pool
			for _, l := range lines {
				ev, _ := batch.Add(l)
				if ev == nil {
					batch.Release()
					batch = <-pool
					ev, _ = batch.Add(l)
				}
				batch.DNS(ev)
			}
			batch.Release()
		}
	})
}
