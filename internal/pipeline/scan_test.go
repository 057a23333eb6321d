package pipeline_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tidewatch/behavior"
	"tidewatch/behavior/population"
	"tidewatch/behavior/state"
	"tidewatch/event"
	"tidewatch/internal/pipeline"
	"tidewatch/rules"
)

// scanLog writes a log in which some hosts of network i scan and others do not.
// Hosts and targets are the log's own, so that the order of what concerns one
// entity is defined.
func scanLog(r *rand.Rand, i, lines int) string {
	var b strings.Builder
	b.WriteString(header)
	at := 1736900000.0
	for j := range lines {
		at += r.ExpFloat64() * 20
		host := r.IntN(12)
		state, target := "SF", r.IntN(8)
		if host < 3 { // a scanner
			state, target = "S0", 20+r.IntN(200)
		}
		fmt.Fprintf(&b, "%.6f\tC%d-%d\t10.%d.0.%d\t%d\t10.%d.1.%d\t%d\ttcp\t%s\n", at, i, j, i, host+1, 1024+j%60000, i, target, []int{22, 445, 3389}[host%3], state)
	}
	return b.String()
}

// scanWorld runs the real detector, rules and suppression over what survives.
func (w *world) scanPipeline(t *testing.T, set *rules.Set, logs []string, shards int, interval time.Duration) *pipeline.Pipeline {
	t.Helper()
	p := w.pipeline(logs, 0, interval)
	p.Rules, p.Finish = set, true
	p.Suppression = rules.NewSuppression(set)
	if len(logs) == 1 {
		// What is known of all hosts together depends on the order of their records,
		// which is not defined between sources.
		p.Population = population.New(population.DefaultConfig())
	}
	for i := range shards {
		p.Shards = append(p.Shards, behavior.NewShard(i, shards, set.Config()))
	}
	w.restore(p, logs)
	return p
}

// TestCrashRecoveryOfScans is TestCrashRecovery with what analyze runs: at the end
// the stored entities, what is known of far ends, the suppressions and the findings
// are those of one clean run, to the byte.
func TestCrashRecoveryOfScans(t *testing.T) {
	set, err := rules.Load(rules.Builtin())
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 2))
			var logs []string
			for i := range 1 + r.IntN(3) {
				logs = append(logs, scanLog(r, i, 1500))
			}
			want := newWorld()
			if err := want.scanPipeline(t, set, logs, 1, time.Hour).Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if len(want.delivered) < 3 || len(logs) == 1 && len(want.Sections[state.Population]) < 100 {
				t.Fatalf("only %d findings, and %d records of far ends: the test tests nothing", len(want.delivered), len(want.Sections[state.Population]))
			}
			w, runs := newWorld(), 0
			for {
				if runs++; runs > 2000 {
					t.Fatal("no progress")
				}
				w.crashAt = 1 + r.IntN(12)
				err := w.scanPipeline(t, set, logs, 1+r.IntN(5), time.Duration(1+r.IntN(200))*time.Microsecond).Run(t.Context())
				if err == nil {
					break
				}
				if !errors.Is(err, errCrash) {
					t.Fatal(err)
				}
			}
			if d := cmp.Diff(want.Sections, w.Sections); d != "" {
				t.Errorf("state differs from one clean run, after %d runs (-want +got):\n%.2000s", runs, d)
			}
			if d := cmp.Diff(slices.Sorted(maps.Keys(want.delivered)), slices.Sorted(maps.Keys(w.delivered))); d != "" {
				t.Errorf("findings (-want +got):\n%s", d)
			}
		})
	}
}

// Each shard sees what is known of each record's far end, and it is the same however
// many shards there are.
func TestKnown(t *testing.T) {
	logs := []string{scanLog(rand.New(rand.NewPCG(4, 4)), 0, 3000)}
	var want []event.Known
	for _, n := range []int{1, 3} {
		p := newWorld().pipeline(logs, 0, time.Hour)
		p.Population = population.New(population.DefaultConfig())
		var shards []*witness
		for range n {
			w := &witness{}
			shards, p.Shards = append(shards, w), append(p.Shards, w)
		}
		if err := p.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i, w := range shards {
			if want == nil {
				want = w.seen
			}
			if d := cmp.Diff(want, w.seen); d != "" {
				t.Errorf("shard %d of %d:\n%s", i, n, d)
			}
		}
	}
	if last := want[len(want)-1]; len(want) != 3000 || last.Addr.First == 0 || last.Hosts < 12 {
		t.Errorf("after %d records this is known: %+v", len(want), last)
	}
}

// witness is a shard that keeps what is known.
type witness struct{ seen []event.Known }

func (w *witness) Observe(ev *event.Event, dst []event.Observation) []event.Observation {
	w.seen = append(w.seen, *ev.Far())
	return dst
}

func (w *witness) Advance(_ int64, dst []event.Observation) []event.Observation { return dst }
func (w *witness) Finish(dst []event.Observation) []event.Observation           { return dst }
func (w *witness) Cut() []behavior.Record                                       { return nil }
