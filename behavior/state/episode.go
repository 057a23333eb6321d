package state

import (
	"cmp"
	"encoding/hex"
	"math"
	"slices"

	"tidewatch/event"
)

// episodeSpan is how long the beginnings of an episode have one name, in nanoseconds.
const episodeSpan = 24 * 3600 * 1e9

// EpisodeID names the n-th episode (from 0) of a kind that an entity has, which began
// at start (Unix ns): the same after a replay, and the same from two sensors that each
// saw a part of it. They may date its beginning differently, so that only the day
// counts; a day begins at an hour that differs from entity to entity, since what runs
// on timers begins at midnight.
func EpisodeID(kind byte, entity uint64, start int64, n uint32) string {
	phase := event.Mix(entity, uint64(kind)) % episodeSpan
	b := []byte{kind}
	for _, v := range [2]uint64{event.Mix(entity, uint64(kind)+1), event.Mix(entity+uint64(n), (uint64(start)+phase)/episodeSpan)} {
		for range 8 {
			b = append(b, byte(v))
			v >>= 8
		}
	}
	return hex.EncodeToString(b)
}

// MergeSamples returns the records that either list shows, at most limit of them, the
// oldest first. Neither list is changed.
func MergeSamples(a, b []event.Sample, limit int) []event.Sample {
	all := slices.Concat(a, b)
	slices.SortFunc(all, compareSamples)
	all = slices.CompactFunc(all, func(x, y event.Sample) bool { return compareSamples(x, y) == 0 })
	return slices.Clip(all[:min(len(all), limit)])
}

func compareSamples(a, b event.Sample) int {
	return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.UID, b.UID), a.Orig.Compare(b.Orig), a.Resp.Compare(b.Resp),
		cmp.Compare(a.Duration, b.Duration), cmp.Compare(a.OrigBytes, b.OrigBytes), cmp.Compare(a.RespBytes, b.RespBytes), cmp.Compare(a.State, b.State))
}

// NotLoaded says in an observation that what was stored of its entity has not been
// fetched yet.
func NotLoaded(o *event.Observation) {
	o.Evidence = append(o.Evidence, event.Evidence{
		Feature: o.Detector + ".baseline_loaded", Observed: 0, Expected: 1,
		Text: "the stored baseline is not loaded yet: what was normal before is not taken into account",
	})
	o.Baseline.Text += "; the stored baseline is not loaded yet"
}

// Overlap is which share of what two sensors counted both have counted, 0 to 1: of so
// many that each still remembers, same are the same. It is 0 where one remembers none,
// as of sensors that each see a half.
func Overlap(same, inA, inB int) float64 {
	if n := min(inA, inB); n > 0 {
		return min(float64(same)/float64(n), 1)
	}
	return 0
}

// Union is how many two sensors counted together that counted a and b, with an
// overlap of the smaller count.
func Union(a, b uint64, overlap float64) uint64 {
	sum := a + b
	if sum < a {
		sum = math.MaxUint64
	}
	return sum - min(uint64(overlap*float64(min(a, b))+0.5), min(a, b))
}
