package zeek

import (
	"bytes"
	"testing"

	"tidewatch/event"
	"tidewatch/internal/shareddata"
	"tidewatch/parsers"
)

var tsvLogs = []struct{ name, path string }{
	{"dns", "zeek/wrccdc/dns.log.gz"},
	{"ssl", "zeek/wrccdc/ssl.log.gz"},
	{"conn", "labelled/benign-days/010/conn.log.labeled.gz"},
}

// benchParse parses data again and again as the pipeline does: into pooled
// batches, each released when it is full.
func benchParse(b *testing.B, data []byte, newParser func() parsers.Parser) {
	lines := logLines(data)
	pool := event.NewPool(2, 1024, 1<<20)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	var events int
	for b.Loop() {
		p := newParser()
		batch := <-pool
		for _, line := range lines {
			ev, own := batch.Add(line)
			if ev == nil {
				batch.Release()
				batch = <-pool
				ev, own = batch.Add(line)
			}
			if p.Parse(batch, ev, own) != nil {
				batch.Drop()
				continue
			}
			events++
		}
		batch.Release()
	}
	b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
}

func BenchmarkTSV(b *testing.B) {
	for _, l := range tsvLogs {
		b.Run(l.name, func(b *testing.B) {
			data := readLog(b, shareddata.Path(b, l.path))
			benchParse(b, data, func() parsers.Parser { return NewTSV(parsers.Options{}) })
		})
	}
}

// BenchmarkTabSplit is what there is to reach: it finds the fields and does
// nothing with them.
func BenchmarkTabSplit(b *testing.B) {
	for _, l := range tsvLogs {
		b.Run(l.name, func(b *testing.B) {
			data := readLog(b, shareddata.Path(b, l.path))
			lines := logLines(data)
			offsets := make([]int, 64)
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				for _, line := range lines {
					offsets = tabSplit(line, offsets[:0])
				}
			}
		})
	}
}

func tabSplit(line []byte, offsets []int) []int {
	at := 0
	for {
		i := bytes.IndexByte(line[at:], '\t')
		if i < 0 {
			return append(offsets, len(line))
		}
		at += i + 1
		offsets = append(offsets, at)
	}
}
