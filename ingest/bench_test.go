package ingest

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/klauspost/compress/gzip"

	"tidewatch/event"
	"tidewatch/internal/shareddata"
)

// plain returns a folder with the unpacked content of files, each of them copies
// times, so that a benchmark measures neither unpacking nor opening.
func plain(b *testing.B, copies int, names ...string) string {
	b.Helper()
	dir := b.TempDir()
	for i, name := range names {
		f, err := os.Open(shareddata.Path(b, name))
		if err != nil {
			b.Fatal(err)
		}
		r, err := gzip.NewReader(f)
		if err != nil {
			b.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			b.Fatal(err)
		}
		f.Close()
		out := []byte(strings.Repeat(string(data), copies))
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.log", i)), out, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	return dir
}

// BenchmarkMerge reads whole logs into the stream that the pipeline gets.
func BenchmarkMerge(b *testing.B) {
	f := func(name string, copies int, names ...string) {
		b.Run(name, func(b *testing.B) {
			dir := plain(b, copies, names...)
			files, err := Discover([]string{dir})
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(NewMerge(files, Options{}).Stats().BytesTotal)
			b.ReportAllocs()
			events, before := uint64(0), cpuSeconds(b)
			for b.Loop() {
				events += drain(b, files)
			}
			b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(float64(events)/(cpuSeconds(b)-before), "events/CPU-s")
		})
	}
	f("dns", 4, "zeek/wrccdc/dns.log.gz")
	f("dns+ssl", 4, "zeek/wrccdc/dns.log.gz", "zeek/wrccdc/ssl.log.gz")
	f("conn+ssl+http", 20, "labelled/benign-days/008/conn.log.labeled.gz", "labelled/benign-days/008/ssl.log.labeled.gz", "labelled/benign-days/008/http.log.labeled.gz")
	f("eve", 4, "suricata/eve-7.0.10.json.gz")
}

// cpuSeconds returns the processor time that this process has used.
func cpuSeconds(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// drain reads files and returns the number of events.
func drain(b testing.TB, files []File) uint64 {
	m := NewMerge(files, Options{})
	defer m.Close()
	pool := event.NewSequencePool(4, 512)
	for {
		s := <-pool
		err := m.Fill(context.Background(), s)
		s.Share(1)
		s.Release()
		if err == io.EOF {
			return m.Stats().Records()
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOrder is what interleaving costs alone: the runs of 8 files, parsed
// already, in an order in which each event comes from another file than the last
// (worst), or in which stretches of a file follow each other.
func BenchmarkOrder(b *testing.B) {
	const files, runs = 8, 4
	f := func(name string, stretch int) {
		b.Run(name, func(b *testing.B) {
			var all [files][runs]*run
			for i := range files {
				for j := range runs {
					batch := event.NewBatch(nil, batchEvents, 0)
					for k := range batchEvents {
						ev, _ := batch.Add(nil)
						at := j*batchEvents + k
						ev.Written = int64((at/stretch*files+i)*stretch + at%stretch)
					}
					all[i][j] = &run{batch: batch}
				}
			}
			m := NewMerge(nil, Options{Window: runs + 1}) // no run is loaded or slid
			s := &event.Sequence{Events: make([]*event.Event, 0, 512)}
			b.ReportAllocs()
			for b.Loop() {
				for i := range files {
					src := &source{merge: m, rank: i}
					for j := range runs {
						r := all[i][j]
						r.load(r.batch)
						r.source, r.heldIn, m.seq = src, 1, 1
						m.heap.push(head{key: r.keys[0], tie: uint64(i)<<40 | uint64(j), run: r})
					}
				}
				for len(m.heap) > 0 {
					if r := m.emit(s); r.at < r.n {
						m.heap[0].key = r.keys[r.at]
						m.heap.down()
						m.slide(r)
					} else {
						m.heap.pop()
					}
					if len(s.Events) == cap(s.Events) {
						s.Events = s.Events[:0]
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(files*runs*batchEvents), "ns/event")
		})
	}
	f("each from another file", 1)
	f("stretches of 4", 4)
	f("stretches of 64", 64)
}

// What reading allocates does not grow with the records.
func TestRecordsDoNotAllocate(t *testing.T) {
	f := func(records int) float64 {
		var log strings.Builder
		log.WriteString(connHeader)
		for i := range records {
			log.WriteString(connLine(i^5, "CHhAvVGS1DHFjwGM9"))
		}
		files, err := Discover([]string{write(t, "conn.log", []byte(log.String()))})
		if err != nil {
			t.Fatal(err)
		}
		return testing.AllocsPerRun(5, func() { drain(t, files) })
	}
	short, long := f(5_000), f(105_000)
	if long-short > 50 {
		t.Errorf("%v allocations for 5,000 records, %v for 100,000 more", short, long)
	}
}

// TestMemory holds what 64 open files take.
func TestMemory(t *testing.T) {
	dir := t.TempDir()
	var log strings.Builder
	log.WriteString(connHeader)
	for i := range 4000 {
		log.WriteString(connLine(i, "CHhAvVGS1DHFjwGM9"))
	}
	data := gz(t, log.String())
	for i := range defaultMaxOpen {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%02d.log.gz", i)), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files, err := Discover([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	heap := func() uint64 {
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return s.HeapAlloc
	}
	m := NewMerge(files, Options{})
	defer m.Close()
	before, n, most := heap(), 0, uint64(0)
	for range sequences(m) {
		if n++; n%100 == 0 {
			most = max(most, heap())
		}
	}
	if got := float64(most-before) / (1 << 20); got > 120 || m.Stats().Records() != 64*4000 {
		t.Errorf("%.0f MiB for %d files, %d records", got, len(files), m.Stats().Records())
	} else {
		t.Logf("%.0f MiB", got)
	}
}
