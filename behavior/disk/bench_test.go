package disk

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"tidewatch/behavior/state"
)

// entity is the record of one of a million entities: 100 B to 4 KB, half of it noise, as
// sketches are.
func entity(r *rand.Rand, noise []byte, i int) state.Record {
	n := int(100 * math.Exp(r.Float64()*math.Log(40)))
	at := r.IntN(len(noise) - n)
	v := make([]byte, n)
	copy(v, noise[at:at+n/2])
	k := append([]byte{state.KindPair, 0, 0, 0, 0}, binary.BigEndian.AppendUint64(nil, uint64(i)*0x9e3779b97f4a7c15)...)
	return state.Record{Key: k, Value: v}
}

// BenchmarkStore fills a directory with 1 M entities, and then times commits of 100 k of
// them and starts.
func BenchmarkStore(b *testing.B) {
	const entities, dirty = 1_000_000, 100_000
	dir := filepath.Join(b.TempDir(), "state")
	s, err := Open(dir, Options{})
	if err != nil {
		b.Fatal(err)
	}
	r, noise, epoch, payload := rand.New(rand.NewPCG(1, 1)), noise(1<<20), uint64(0), 0
	commit := func(next func(i int) int) *state.Checkpoint {
		epoch++
		payload = 0
		c := &state.Checkpoint{Epoch: epoch}
		for i := range dirty {
			rec := entity(r, noise, next(i))
			payload += len(rec.Value)
			c.Changed[state.Entities] = append(c.Changed[state.Entities], rec)
		}
		return c
	}
	for n := 0; n < entities; n += dirty {
		if err := s.Commit(b.Context(), commit(func(i int) int { return n + i })); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("commit of 100k dirty", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			c := commit(func(int) int { return r.IntN(entities) })
			b.StartTimer()
			if err := s.Commit(b.Context(), c); err != nil {
				b.Fatal(err)
			}
		}
		b.SetBytes(int64(payload))
	})
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	b.Run("start with 1M", func(b *testing.B) {
		for b.Loop() {
			s, err := Open(dir, Options{})
			if err != nil {
				b.Fatal(err)
			}
			n, size := 0, 0
			if _, err := s.Load(b.Context(), func(_ state.Section, r state.Record) error {
				n, size = n+1, size+len(r.Value)
				return nil
			}); err != nil || n != entities {
				b.Fatal(n, err)
			}
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(size)/float64(n), "value-B/entity")
			b.ReportMetric(float64(bytesIn(b, dir))/float64(n), "disk-B/entity")
		}
	})
}
