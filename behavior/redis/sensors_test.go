package redis

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tidewatch/behavior"
	"tidewatch/behavior/population"
	"tidewatch/behavior/state"
	"tidewatch/event"
	"tidewatch/internal/pipeline"
	"tidewatch/internal/servers"
)

// gate lets the records of a source through up to one, and the rest when it is opened.
type gate struct {
	pipeline.Source
	first int
	open  chan struct{}
}

func (g *gate) Fill(ctx context.Context, s *event.Sequence) error {
	if g.first == 0 {
		select {
		case <-g.open:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	g.first--
	return g.Source.Fill(ctx, s)
}

// told is a shard that opens a gate when it has been told of an entity.
type told struct {
	*behavior.Shard
	once *sync.Once
	of   byte
	open chan struct{}
}

func (s told) Share(r state.Record, dst []event.Observation) ([]event.Observation, error) {
	dst, err := s.Shard.Share(r, dst)
	if r.Key[0] == s.of {
		s.once.Do(func() { close(s.open) })
	}
	return dst, err
}

const connHeader = "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n" +
	"#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tduration\torig_bytes\tresp_bytes\tconn_state\tlocal_orig\tlocal_resp\n" +
	"#types\ttime\tstring\taddr\tport\taddr\tport\tenum\tinterval\tcount\tcount\tstring\tbool\tbool\n"

// writeLog writes a Zeek conn.log into a folder of its own.
func writeLog(t *testing.T, lines ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "conn.log"), []byte(connHeader+strings.Join(lines, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// scanLines are of a host that tries others, one in a second: those whose number is even,
// odd, or (with 2) all.
func scanLines(n, odd int) (lines []string) {
	for i := range n {
		if odd == 2 || i%2 == odd {
			lines = append(lines, fmt.Sprintf("%d.000000\tC%d\t10.0.0.5\t%d\t10.1.%d.%d\t445\ttcp\t-\t0\t0\tS0\tT\tT\n", 1_790_000_000+i, i, 40000+i, i/200, 1+i%200))
		}
	}
	return lines
}

// TestTwoSensors lets two sidecars with one Redis see half of a scan each, too little for
// either. The second finds it from what both know, under the name that one who sees all
// of it gives it.
func TestTwoSensors(t *testing.T) {
	const targets = 12
	server := servers.SharedRedis(t)
	episodes := func(e *engine) (names []string) {
		seen := map[string]bool{}
		for _, f := range e.found {
			if !seen[f.Episode] {
				seen[f.Episode] = true
				names = append(names, f.Rule.ID+" "+f.Episode)
			}
		}
		return names
	}
	both := &engine{store: &pipeline.Memory{}, interval: time.Hour}
	both.run(t, writeLog(t, scanLines(targets, 2)...))
	if len(episodes(both)) == 0 {
		t.Fatal("nobody finds a scan where all of it is seen")
	}

	c := config(t, server.Addr)
	first := &engine{store: opened(t, c), interval: time.Hour}
	first.run(t, writeLog(t, scanLines(targets, 0)...))
	first.store.(*Store).Close() // tells what it knows
	c.Sensor = "two"
	store := opened(t, c)
	load(t, store)
	open := make(chan struct{})
	second := &engine{store: store, exchange: store, interval: time.Millisecond, length: 4, shard: func(s *behavior.Shard) pipeline.Shard {
		return told{s, new(sync.Once), state.KindScanSource, open}
	}, source: func(s pipeline.Source) pipeline.Source { return &gate{s, 1, open} }}
	second.run(t, writeLog(t, scanLines(targets, 1)...))
	if n := len(episodes(first)); n != 0 {
		t.Errorf("the first sensor found %v in its half alone", episodes(first))
	}
	if d := cmp.Diff(episodes(both), episodes(second)); d != "" {
		t.Errorf("findings of both halves (-one sensor +two):\n%s", d)
	}
}

// listening is a population that opens a gate when it has been told of an address.
type listening struct {
	*population.Population
	once sync.Once
	open chan struct{}
}

func (l *listening) Share(r state.Record) error {
	err := l.Population.Share(r)
	if r.Key[0] == state.KindDestination {
		l.once.Do(func() { close(l.open) })
	}
	return err
}

// noting is a shard that notes by how many hosts an address is used.
type noting struct {
	*behavior.Shard
	hosts *uint32
}

func (n noting) Observe(ev *event.Event, dst []event.Observation) []event.Observation {
	*n.hosts = ev.Known.Addr.Hosts
	return n.Shard.Observe(ev, dst)
}

// TestPrevalence lets hosts behind two sensors use one address: each counts once.
func TestPrevalence(t *testing.T) {
	lines := func(hosts ...int) (lines []string) {
		for i, h := range hosts {
			lines = append(lines, fmt.Sprintf("%d.000000\tC%d\t10.0.0.%d\t%d\t203.0.113.9\t443\ttcp\t1.0\t100\t200\tSF\tT\tF\n", 1_790_000_000+i, i, h, 40000+i))
		}
		return lines
	}
	c := config(t, servers.SharedRedis(t).Addr)
	first := &engine{store: opened(t, c), interval: time.Hour}
	first.run(t, writeLog(t, lines(1, 2, 3, 4, 5)...))
	c.Sensor = "two"
	store := opened(t, c)
	load(t, store)
	var hosts uint32
	open := make(chan struct{})
	second := &engine{store: store, exchange: store, interval: time.Millisecond, length: 1,
		shard:  func(s *behavior.Shard) pipeline.Shard { return noting{s, &hosts} },
		source: func(s pipeline.Source) pipeline.Source { return &gate{s, 1, open} },
		population: func(p *population.Population) pipeline.Population {
			return &listening{Population: p, open: open}
		}}
	second.run(t, writeLog(t, lines(4, 5, 6, 7)...))
	if hosts != 7 {
		t.Errorf("the address is used by %d hosts, want 7", hosts)
	}
}

// beaconLines are the check-ins of a host, about five minutes apart, from one and before
// another.
func beaconLines(from, before int) (lines []string) {
	r, at := rand.New(rand.NewPCG(21, 5)), 1_790_000_000.0
	for i := range before {
		at += 300 * (0.8 + 0.4*r.Float64())
		if i >= from {
			lines = append(lines, fmt.Sprintf("%.6f\tC%d\t10.0.0.5\t%d\t203.0.113.9\t443\ttcp\t0.5\t%d\t900\tSF\tT\tF\n", at, i, 40000+i, 300+r.IntN(20)))
		}
	}
	return lines
}

// TestRoamingBeacon lets a host move from one sensor to another in the middle of a beacon,
// of which each sees too little. The second finds it from what both know, under the name
// that one who sees all of it gives it.
func TestRoamingBeacon(t *testing.T) {
	const half, all = 5, 12
	episodes := func(e *engine) (names []string) {
		for _, f := range e.found {
			if f.Detector == "beacon" {
				names = append(names, f.Episode)
			}
		}
		slices.Sort(names)
		return slices.Compact(names)
	}
	both := &engine{store: &pipeline.Memory{}, interval: time.Hour}
	both.run(t, writeLog(t, beaconLines(0, all)...))
	alone := &engine{store: &pipeline.Memory{}, interval: time.Hour}
	alone.run(t, writeLog(t, beaconLines(half, all)...))
	c := config(t, servers.SharedRedis(t).Addr)
	first := &engine{store: opened(t, c), interval: time.Hour}
	first.run(t, writeLog(t, beaconLines(0, half)...))
	first.store.(*Store).Close()
	c.Sensor = "two"
	store := opened(t, c)
	load(t, store)
	open := make(chan struct{})
	second := &engine{store: store, exchange: store, interval: time.Millisecond, length: 1, shard: func(s *behavior.Shard) pipeline.Shard {
		return told{s, new(sync.Once), state.KindBeacon, open}
	}, source: func(s pipeline.Source) pipeline.Source { return &gate{s, 4, open} }}
	second.run(t, writeLog(t, beaconLines(half, all)...))
	if len(episodes(both)) == 0 {
		t.Fatal("nobody finds the beacon where all of it is seen")
	}
	if n := len(episodes(first)) + len(episodes(alone)); n != 0 {
		t.Errorf("found in the first part alone: %v, in the second: %v", episodes(first), episodes(alone))
	}
	if d := cmp.Diff(episodes(both), episodes(second)); d != "" {
		t.Errorf("findings of both parts (-one sensor +two):\n%s", d)
	}
}
