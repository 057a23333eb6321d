package sketch

import (
	"math/rand/v2"
	"testing"
	"time"
	"unsafe"
)

// What an entity costs for each sketch: memory once it has learned, the serial form,
// and the time of an update. The memory is held to the limits given.
func BenchmarkUpdate(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	values := make([]float64, 1024)
	keys := make([]uint64, 1024)
	common := rand.NewZipf(r, 1.1, 1, 999)
	for i := range values {
		values[i] = 7 + r.NormFloat64()
		keys[i] = common.Uint64()
	}
	week := Pace{Tau: 7 * 24 * time.Hour, Floor: 0.5}
	var moments Moments
	var seasonal Seasonal
	var cusum CUSUM
	var spot SPOT
	var seen Seen
	var distinct Distinct
	at := func(i int) int64 { return start + int64(i)*hour }

	f := func(name string, limit int, size func() int, form func() int, update func(i int)) {
		for i := range 5000 {
			update(i)
		}
		if got := size(); got > limit {
			b.Errorf("%s takes %d bytes, limit %d", name, got, limit)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := range b.N {
				update(i)
			}
			b.ReportMetric(float64(size()), "bytes")
			b.ReportMetric(float64(form()), "serialised")
		})
	}
	f("Moments", 24, func() int { return int(unsafe.Sizeof(moments)) }, func() int { return len(moments.Append(nil)) }, func(i int) {
		x := values[i%1024]
		moments.Update(x, at(i), week, moments.Score(x, week.Floor) > 3)
	})
	f("Seasonal", 1024, func() int { return int(unsafe.Sizeof(seasonal)) + seasonal.Bytes() }, func() int { return len(seasonal.Append(nil)) }, func(i int) {
		x, weekend := values[i%1024], i/24%7 >= 5
		z := seasonal.Expect(at(i), i%24, weekend, week).Score(x, week.Floor)
		seasonal.Update(x, at(i), i%24, weekend, week, z > 3)
	})
	f("CUSUM", 16, func() int { return int(unsafe.Sizeof(cusum)) }, func() int { return len(cusum.Append(nil)) }, func(i int) {
		cusum.Add(values[i%1024]-7, at(i))
	})
	f("Seen of 1024", 32+8*1024, func() int { return int(unsafe.Sizeof(seen)) + seen.Bytes() }, func() int { return len(seen.Append(nil)) }, func(i int) {
		seen.Add(keys[i%1024] * 0x9e3779b97f4a7c15)
	})
	f("SPOT", 544, func() int { return int(unsafe.Sizeof(spot)) }, func() int { return len(spot.Append(nil)) }, func(i int) {
		spot.Add(values[i%1024], 1e-4)
	})
	f("Distinct of 1000", 560, func() int { return int(unsafe.Sizeof(distinct)) + 8*cap(distinct.exact) + cap(distinct.registers) }, func() int { return len(distinct.Append(nil)) }, func(i int) {
		distinct.Add(keys[i%1024] * 0x9e3779b97f4a7c15)
	})
}
