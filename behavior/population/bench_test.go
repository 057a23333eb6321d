package population_test

import (
	"path/filepath"
	"runtime"
	"testing"

	"tidewatch/behavior/population"
	"tidewatch/event"
	"tidewatch/internal/scenario"
	"tidewatch/internal/shareddata"
	"tidewatch/internal/synth"
)

// loadAll reads the logs that a pattern names, in the order in which they were
// written.
func loadAll(t testing.TB, pattern string, local ...string) []*event.Event {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %d files, %v", pattern, len(files), err)
	}
	var logs [][]*event.Event
	for _, f := range files {
		logs = append(logs, scenario.Load(t, f, local...))
	}
	return scenario.Merge(logs...)
}

// recordedDay is a day of one host.
func recordedDay(t testing.TB) []*event.Event {
	return loadAll(t, filepath.Join(shareddata.Path(t, "labelled/benign-days/010"), "*.gz"), "147.32.0.0/16")
}

// madeDay is a day of so many hosts.
func madeDay(t testing.TB, hosts int) []*event.Event {
	t.Helper()
	dir := t.TempDir()
	if err := synth.New(synth.Options{Seed: 7, Hosts: hosts, Attacks: "story"}).Write(dir, []string{"zeek"}, nil); err != nil {
		t.Fatal(err)
	}
	return loadAll(t, filepath.Join(dir, "*.log"))
}

const sequence = 512

// observe prepares records as the pipeline gives them.
func observe(p *population.Population, evs []*event.Event, seqs event.SequencePool) {
	for len(evs) > 0 {
		n := min(sequence, len(evs))
		s := <-seqs
		s.Events = append(s.Events, evs[:n]...)
		s.Share(1)
		p.Prepare(s)
		s.Release()
		evs = evs[n:]
	}
}

func BenchmarkPrepare(b *testing.B) {
	f := func(name string, evs func(b *testing.B) []*event.Event) {
		b.Run(name, func(b *testing.B) {
			evs, seqs := evs(b), event.NewSequencePool(1, sequence)
			p := population.New(population.DefaultConfig())
			observe(p, evs, seqs)
			b.ReportAllocs()
			runtime.GC()
			b.ResetTimer()
			for range b.N {
				observe(p, evs, seqs)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(evs)), "ns/record")
		})
	}
	f("recorded", func(b *testing.B) []*event.Event { return recordedDay(b) })
	f("made", func(b *testing.B) []*event.Event { return madeDay(b, 100) })
	f("made, conn only", func(b *testing.B) (conns []*event.Event) {
		for _, ev := range madeDay(b, 100) {
			if ev.Kind == event.KindConn {
				conns = append(conns, ev)
			}
		}
		return conns
	})
}
