package tempo

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
)

func BenchmarkAdd(b *testing.B) {
	b.ReportAllocs()
	t := new(Track)
	at := int64(1.7e18)
	for i := 0; b.Loop(); i++ {
		at += int64(30+i%7) * 1e9
		t.Add(at, 500)
	}
}

// cpuNs is the processor time of this process: the clock on the wall also counts
// what other programs do.
func cpuNs() int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// BenchmarkEvaluate takes the mean over many tracks of a kind.
func BenchmarkEvaluate(b *testing.B) {
	for _, c := range []struct {
		name string
		gaps []func(r *rand.Rand) float64
	}{
		{"irregular", []func(r *rand.Rand) float64{exponential, logNormalGap, paretoGap}},
		{"jitter=0.2", []func(r *rand.Rand) float64{sleeping(300, 0.2, 0.1)}},
		{"jitter=0.5", []func(r *rand.Rand) float64{sleeping(300, 0.5, 0.1)}},
		{"jitter=0.8", []func(r *rand.Rand) float64{sleeping(300, 0.8, 0.1)}},
	} {
		for _, n := range []int{8, 30, 100, 500} {
			b.Run(fmt.Sprintf("%s/n=%d", c.name, n), func(b *testing.B) {
				r := rand.New(rand.NewPCG(1, 1))
				var tracks [96]*Track
				for i := range tracks {
					tracks[i] = trackOf(r, n, c.gaps[i%len(c.gaps)])
				}
				templates()
				b.ReportAllocs()
				start, i := cpuNs(), 0
				for ; b.Loop(); i++ {
					Evaluate(tracks[i%len(tracks)])
				}
				b.ReportMetric(float64(cpuNs()-start)/float64(i), "cpu-ns/op")
			})
		}
	}
}

// BenchmarkLife adds all sessions of irregular pairs and looks whenever a look is
// due: the cost of a session.
func BenchmarkLife(b *testing.B) {
	for _, n := range []int{20, 60, 1000} {
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
			r := rand.New(rand.NewPCG(1, 1))
			var starts [96][]int64
			for i := range starts {
				starts[i] = startsOf(r, n, []func(r *rand.Rand) float64{exponential, logNormalGap, paretoGap}[i%3])
			}
			templates()
			b.ReportAllocs()
			begin, sessions, looks := cpuNs(), 0, 0
			for i := 0; b.Loop(); i++ {
				var t Track
				for _, at := range starts[i%len(starts)] {
					if t.Add(at, 500); t.Due() {
						res := Evaluate(&t)
						t.Looked(&res)
						looks++
					}
				}
				sessions += n
			}
			b.ReportMetric(float64(cpuNs()-begin)/float64(sessions), "cpu-ns/session")
			b.ReportMetric(float64(looks)/float64(b.N), "looks/op")
		})
	}
}

func BenchmarkTemplates(b *testing.B) {
	for b.Loop() {
		computeTemplates()
	}
}
