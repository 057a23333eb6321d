package outputs

import (
	"syscall"
	"testing"
	"time"

	"tidewatch/event"
)

// BenchmarkFinding encodes a finding with every field, and one with as much evidence
// and as many samples as there are in a large one.
func BenchmarkFinding(b *testing.B) {
	large := finding()
	for range 5 {
		large.Evidence = append(large.Evidence, large.Evidence[0])
	}
	for range 9 {
		large.Sample = append(large.Sample, large.Sample[0])
	}
	for name, f := range map[string]event.Finding{"every-field": finding(), "large": large} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var e Encoder
			var buf []byte
			began := cpu()
			for b.Loop() {
				buf = e.Finding(buf[:0], &f, f.Time)
			}
			b.SetBytes(int64(len(buf)))
			b.ReportMetric(float64(b.N)/(cpu()-began).Seconds(), "findings/cpu-s")
		})
	}
}

// cpu is the processor time that this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkRecord encodes records with every column, which are far larger than real
// ones.
func BenchmarkRecord(b *testing.B) {
	b.ReportAllocs()
	var e Encoder
	var buf []byte
	ev := full()
	for b.Loop() {
		buf = e.Record(buf[:0], ev, 1)
	}
	b.SetBytes(int64(len(buf)))
}
