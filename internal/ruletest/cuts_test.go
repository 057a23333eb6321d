package ruletest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"tidewatch/behavior"
	"tidewatch/behavior/population"
	"tidewatch/event"
	"tidewatch/internal/scenario"
	"tidewatch/rules"
)

// TestCuts runs each scenario's logs in any number of shards, with restarts at random
// points: what is said stays the same.
func TestCuts(t *testing.T) {
	names, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		a, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		writeRule(t, dir, a)
		set, err := rules.Load(rules.Dir(dir))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range a.Files {
			if !strings.Contains(f.Name, "/") {
				continue
			}
			data, err := expand(f.Data)
			if err != nil {
				t.Fatal(err)
			}
			evs := scenario.Merge(scenario.Parse(t, data))
			want := observeAll(t, set, evs, 1, nil)
			for seed := range uint64(5) {
				got := observeAll(t, set, evs, 1+int(seed), rand.New(rand.NewPCG(seed, 4)))
				if d := gocmp.Diff(want, got, gocmp.Comparer(func(a, b netip.Addr) bool { return a == b }), gocmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); d != "" {
					t.Fatalf("%s %s, seed %d (-want +got):\n%s", name, f.Name, seed, d)
				}
			}
		}
	}
}

// observeAll returns what the rules over records say of some records.
func observeAll(t *testing.T, set *rules.Set, evs []*event.Event, n int, cuts *rand.Rand) (all []event.Observation) {
	t.Helper()
	population.New(population.DefaultConfig()).Prepare(&event.Sequence{Events: evs})
	store := map[string][]byte{}
	shards := fresh(t, set, n, store)
	clock := int64(0)
	for _, ev := range evs {
		if cuts != nil && cuts.IntN(max(3, len(evs)/20)) == 0 {
			for _, s := range shards {
				for _, r := range s.Cut() {
					if len(r.Value) == 0 {
						delete(store, string(r.Key))
					} else {
						store[string(r.Key)] = r.Value
					}
				}
			}
			shards = fresh(t, set, 1+cuts.IntN(5), store)
		}
		for _, s := range shards {
			if cuts == nil || cuts.IntN(3) == 0 {
				all = s.Advance(clock, all)
			}
			all = s.Observe(ev, all)
		}
		clock = max(clock, ev.Written)
	}
	for _, s := range shards {
		all = s.Finish(all)
	}
	all = slices.DeleteFunc(all, func(o event.Observation) bool { return o.RuleID == "" })
	slices.SortFunc(all, func(a, b event.Observation) int {
		return cmp.Or(strings.Compare(a.RuleID, b.RuleID), strings.Compare(a.Episode, b.Episode), cmp.Compare(a.Revision, b.Revision))
	})
	return all
}

func fresh(t *testing.T, set *rules.Set, n int, store map[string][]byte) (shards []*behavior.Shard) {
	t.Helper()
	for i := range n {
		s := behavior.NewShard(i, n, set.Config())
		s.Track()
		for k, v := range store {
			if err := s.Restore(behavior.Record{Key: []byte(k), Value: v}); err != nil {
				t.Fatal(fmt.Errorf("%q: %w", k, err))
			}
		}
		shards = append(shards, s)
	}
	return shards
}
