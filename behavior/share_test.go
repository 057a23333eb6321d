package behavior

import (
	"bytes"
	"slices"
	"testing"

	"tidewatch/behavior/population"
	"tidewatch/behavior/state"
	"tidewatch/event"
	"tidewatch/internal/scenario"
	"tidewatch/internal/shareddata"
)

// Each kind of record that a run leaves merges with that of another sensor: in any
// order, to a record that a shard takes; and two shards that share what they know find
// what is there under one name.
func TestMergeAllKinds(t *testing.T) {
	var logs [][]*event.Event
	for _, name := range []string{"conn", "dns", "http", "ssl"} {
		logs = append(logs, scenario.Load(t, shareddata.Path(t, "labelled/c2/numinon/"+name+".log.gz")))
	}
	evs := scenario.Merge(logs...)
	evs = evs[:min(len(evs), 20_000)]
	known := population.New(population.DefaultConfig())
	var shards [2]*Shard
	var names [2]*population.Population
	for i := range shards {
		shards[i], names[i] = NewShard(0, 1, DefaultConfig()), population.New(population.DefaultConfig())
		shards[i].Track()
	}
	for i, ev := range evs {
		known.Prepare(&event.Sequence{Events: evs[i : i+1 : i+1]})
		shards[i%2].Observe(ev, nil)
		names[i%2].Prepare(&event.Sequence{Events: evs[i : i+1 : i+1]})
	}
	var stored [2]map[string][]byte
	for i := range shards {
		stored[i] = map[string][]byte{}
		for _, r := range slices.Concat(shards[i].Cut(), names[i].Cut()) {
			if len(r.Value) > 0 {
				stored[i][string(r.Key)] = r.Value
			}
		}
	}
	kinds := map[byte]int{}
	fresh := NewShard(0, 1, DefaultConfig())
	for k, v := range stored[0] {
		a, b := Record{Key: []byte(k), Value: v}, Record{Key: []byte(k), Value: stored[1][k]}
		ab, err := Merge(a, b)
		if err != nil {
			t.Fatalf("%q: %v", k, err)
		}
		if ba, err := Merge(b, a); err != nil || !bytes.Equal(ab.Value, ba.Value) {
			t.Errorf("%q: the order matters: %v", k, err)
		}
		if stored[1][k] != nil {
			kinds[k[0]]++
		}
		if !population.Owns(ab) {
			err = fresh.Restore(ab)
		} else {
			err = names[0].Share(ab)
		}
		if err != nil {
			t.Errorf("%q: what was merged is refused: %v", k, err)
		}
	}
	for _, kind := range []byte{
		state.KindScanSource, state.KindScanTarget, state.KindPair, state.KindBeacon, state.KindUpload, state.KindTunnel,
		state.KindHost, state.KindService, state.KindName, state.KindDestination, state.KindPopulation,
	} {
		if kinds[kind] == 0 {
			t.Errorf("no record of kind %c is known to both", kind)
		}
	}
	if _, err := Merge(Record{Key: []byte("?"), Value: []byte("x")}, Record{Key: []byte("?"), Value: []byte("x")}); err == nil {
		t.Error("a record of no kind merges")
	}
}
