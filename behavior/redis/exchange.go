package redis

import (
	"context"
	"hash/maphash"
	"time"

	"tidewatch/behavior"
	"tidewatch/behavior/state"
)

// asker decides which entities other sensors are asked about: each once in a while, and
// not more than Redis can bear.
type asker struct {
	every  time.Duration
	seed   maphash.Seed
	asked  map[uint64]int64 // Unix seconds, by hash of the key
	tokens float64
	at     time.Time
}

func newAsker(every time.Duration) asker {
	return asker{every: every, seed: maphash.MakeSeed(), asked: map[uint64]int64{}, tokens: shareBurst}
}

// choose returns those keys that are to be asked about now.
func (a *asker) choose(now time.Time, keys [][]byte) (chosen [][]byte) {
	if !a.at.IsZero() {
		a.tokens = min(a.tokens+now.Sub(a.at).Seconds()*shareRate, shareBurst)
	}
	a.at = now
	if len(a.asked) > maxGiven {
		clear(a.asked)
	}
	for _, k := range keys {
		if len(k) == 0 || private[k[0]] {
			continue
		}
		h := maphash.Bytes(a.seed, k)
		if last, ok := a.asked[h]; ok && now.Unix()-last < int64(a.every/time.Second) {
			continue
		}
		if a.tokens < 1 {
			break
		}
		a.tokens--
		a.asked[h] = now.Unix()
		chosen = append(chosen, k)
	}
	return chosen
}

// Exchange returns what other sensors know, each entity's records merged: of entities that
// were met for the first time, of those that changed, and of who uses what. An entity is
// asked about once in Config.Share at most. It may run beside Commit.
func (s *Store) Exchange(ctx context.Context, met, changed [][]byte) (others []state.Record, err error) {
	err = s.Peers(ctx, func(_ string, r state.Record) error {
		others = append(others, r)
		return nil
	})
	if err != nil || s.peers == 0 {
		return others, err
	}
	now := time.Now()
	keys := append(s.asker.choose(now, met), s.asker.choose(now, changed)...)
	all, err := s.Fetch(ctx, keys)
	if err != nil {
		return others, err
	}
	for i, versions := range all {
		merged := state.Record{Key: keys[i]}
		for _, v := range versions {
			if v.Sensor == s.cfg.Sensor {
				continue
			}
			m, err := behavior.Merge(merged, state.Record{Key: keys[i], Value: v.Value})
			if err != nil {
				s.count.damaged.Add(1) // of another version of tidewatch
				continue
			}
			merged = m
		}
		if len(merged.Value) > 0 {
			others = append(others, merged)
		}
	}
	return others, nil
}
