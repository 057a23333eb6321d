package redis

import (
	"context"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"tidewatch/behavior/disk"
	"tidewatch/behavior/state"
	"tidewatch/internal/pipeline"
	"tidewatch/internal/servers"
)

// BenchmarkStores reads a made day with each store, an epoch a second, and says how many
// records a second that is, and how many commands Redis took for each.
func BenchmarkStores(b *testing.B) {
	dir := makeDay(b, 500_000, 200, 1)
	run := func(b *testing.B, open func() pipeline.Store, after func(records int)) {
		records, spent := 0, time.Duration(0)
		for b.Loop() {
			e := &engine{store: open(), interval: time.Second}
			began := time.Now()
			e.run(b, dir)
			spent += time.Since(began)
			records += e.read
		}
		b.ReportMetric(float64(records)/spent.Seconds(), "records/s")
		if after != nil {
			after(records)
		}
	}
	b.Run("memory", func(b *testing.B) {
		run(b, func() pipeline.Store { return &pipeline.Memory{} }, nil)
	})
	b.Run("disk", func(b *testing.B) {
		run(b, func() pipeline.Store {
			s, err := disk.Open(b.TempDir(), disk.Options{})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { s.Close() })
			return s
		}, nil)
	})
	b.Run("redis", func(b *testing.B) {
		var all []*Store
		server := servers.StartRedis(b)
		run(b, func() pipeline.Store {
			s := opened(b, config(b, server.Addr))
			if _, err := s.Load(b.Context(), nil); err != nil {
				b.Fatal(err)
			}
			all = append(all, s)
			return s
		}, func(records int) {
			var commands, epochs uint64
			for _, s := range all {
				commands, epochs = commands+s.Stats().Commands, epochs+s.Stats().Commits
			}
			b.ReportMetric(float64(commands)/float64(records), "commands/record")
			b.ReportMetric(float64(epochs)/float64(len(all)), "epochs")
			all[0].share(b.Context(), time.Now(), true)
			reportUsage(b, all[0])
		})
	})
}

// reportUsage says what entities take in Redis, by MEMORY USAGE: told to others, and in
// the ledgers.
func reportUsage(b *testing.B, s *Store) {
	sum, n := map[string]int64{}, map[string]int64{}
	it := s.client.Scan(b.Context(), 0, s.prefix+"*", 1000).Iterator()
	for it.Next(b.Context()) {
		rest, what := strings.TrimPrefix(it.Val(), s.prefix), ""
		switch {
		case strings.HasPrefix(rest, "e:{"):
			what = "told-" + rest[3:4]
		case strings.HasPrefix(rest, "l:{"):
			what = strings.Split(rest, "/")[1]
		default:
			continue
		}
		sum[what] += s.client.MemoryUsage(b.Context(), it.Val(), 0).Val()
		n[what]++
	}
	for _, k := range []string{"told-b", "told-o"} {
		b.ReportMetric(float64(sum[k])/float64(max(n[k], 1)), k+"-B")
	}
	records := map[state.Section]int{}
	kinds := map[byte]int{}
	bytes := map[byte]int{}
	if _, err := s.Load(b.Context(), func(in state.Section, r state.Record) error {
		records[in]++
		if in == state.Entities {
			kinds[r.Key[0]]++
			bytes[r.Key[0]] += len(r.Key) + len(r.Value)
		}
		return nil
	}); err != nil {
		b.Fatal(err)
	}
	for _, in := range []state.Section{state.Entities, state.Population} {
		b.ReportMetric(float64(sum[in.String()])/float64(max(records[in], 1)), in.String()+"-B")
	}
	for _, k := range []byte{'p', 'b', 'o'} {
		b.ReportMetric(float64(bytes[k])/float64(max(kinds[k], 1)), string(k)+"-record-B")
	}
}

// BenchmarkCommit commits 100,000 entities that changed, of 250 bytes each, and then
// starts from them.
func BenchmarkCommit(b *testing.B) {
	const n = 100_000
	c := config(b, servers.SharedRedis(b).Addr)
	s := opened(b, c)
	if _, err := s.Load(b.Context(), nil); err != nil {
		b.Fatal(err)
	}
	epoch := uint64(0)
	checkpoint := func() *state.Checkpoint {
		epoch++
		cp := &state.Checkpoint{Epoch: epoch}
		value := []byte(strings.Repeat(strconv.FormatUint(epoch, 10), 250))[:250]
		for i := range n {
			cp.Changed[state.Entities] = append(cp.Changed[state.Entities], state.Record{Key: binary.BigEndian.AppendUint64([]byte{'b'}, uint64(i)*0x9e3779b97f4a7c15), Value: value})
		}
		return cp
	}
	b.Run("100k-changed", func(b *testing.B) {
		before := s.Stats().Commands
		for b.Loop() {
			if err := s.Commit(context.Background(), checkpoint()); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(s.Stats().Commands-before)/float64(b.N), "commands/op")
	})
	b.Run("start-with-100k", func(b *testing.B) {
		for b.Loop() {
			s := opened(b, c)
			records := 0
			if _, err := s.Load(context.Background(), func(state.Section, state.Record) error { records++; return nil }); err != nil || records != n {
				b.Fatal(fmt.Errorf("%d records: %w", records, err))
			}
		}
	})
}
