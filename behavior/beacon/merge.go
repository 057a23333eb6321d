package beacon

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math"
	"slices"

	"tidewatch/behavior/state"
	"tidewatch/behavior/tempo"
	"tidewatch/event"
)

// Merge returns what two sensors know of one pair together. It commutes. Sessions that
// both sensors saw count once where most of the last ones are the same: they watch one
// link.
func Merge(a, b state.Record) (state.Record, error) {
	if len(a.Key) != 9 || !bytes.Equal(a.Key, b.Key) {
		return state.Record{}, state.ErrRecord
	}
	x, y := &state.Reader{B: a.Value}, &state.Reader{B: b.Value}
	key := binary.BigEndian.Uint64(a.Key[1:])
	var value []byte
	switch a.Key[0] {
	case state.KindPair:
		s, o := readSketched(x), readSketched(y)
		s.merge(&o)
		value = s.append(nil)
	case state.KindBeacon:
		t, o := readTrack(x, key), readTrack(y, key)
		if x.Err != nil || y.Err != nil {
			break
		}
		if t.basis != o.basis {
			return state.Record{}, state.ErrRecord
		}
		t.merge(o)
		value = t.record()
	default:
		return state.Record{}, state.ErrRecord
	}
	if x.Err != nil || y.Err != nil {
		return state.Record{}, cmp.Or(x.Err, y.Err)
	}
	return state.Record{Key: a.Key, Value: value}, nil
}

// merge adds the sessions of another sensor. The newest are kept.
func (s *sketched) merge(o *sketched) {
	s.tracked, s.last = s.tracked || o.tracked, max(s.last, o.last)
	all := append(s.sessions, o.sessions...)
	slices.SortFunc(all, func(a, b session) int { return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(b.size, a.size)) })
	kept := all[:0]
	for _, v := range all {
		if n := len(kept); n > 0 && v.start-kept[n-1].start <= sessionGap {
			kept[n-1].size = max(kept[n-1].size, v.size) // both saw it
			continue
		}
		kept = append(kept, v)
	}
	s.sessions = kept[max(len(kept)-maxSketched, 0):]
}

// merge adds what another sensor knows of the pair, which it takes over.
func (t *track) merge(o *track) {
	later := o.Last() > t.Last() || o.Last() == t.Last() && bytes.Compare(o.record(), t.record()) > 0
	if oneLink := t.Track.Merge(&o.Track); oneLink {
		for _, n := range t.counts(o) {
			*n[0] = max(*n[0], *n[1])
		}
		t.out, t.in = max(t.out, o.out), max(t.in, o.in)
	} else {
		for _, n := range t.counts(o) {
			*n[0] = uint32(min(uint64(*n[0])+uint64(*n[1]), math.MaxUint32))
		}
		t.out, t.in = min(t.out+o.out, math.MaxFloat64), min(t.in+o.in, math.MaxFloat64)
	}
	t.ttl, t.positive, t.episodes = max(t.ttl, o.ttl), max(t.positive, o.positive), max(t.episodes, o.episodes)
	t.mergeEnds(o, later)
	for i, seen := range o.sensors {
		t.sensors[i] = t.sensors[i] || seen
	}
	t.samples = mergeSamples(t.samples, o.samples)
	t.episode = mergeEpisodes(t.episode, o.episode)
	if o.normal != nil && (t.normal == nil || o.normal.less(t.normal) < 0) {
		t.normal = o.normal
	}
}

// mergeEnds keeps what the later record says of both ends. Of questions the name stays
// what all of them end with.
func (t *track) mergeEnds(o *track, later bool) {
	if later {
		t.last, o.last, t.tls, o.tls = o.last, t.last, o.tls, t.tls
		t.question, t.host = o.question, o.host
	}
	if !t.tls.seen {
		t.tls = o.tls
	}
	if t.basis == byQuery && o.last.domain != "" {
		t.narrow(&event.Known{Name: o.last.name, Domain: o.last.domain})
	}
}

// counts pairs what two tracks count of records.
func (t *track) counts(o *track) [7][2]*uint32 {
	return [...][2]*uint32{
		{&t.records, &o.records}, {&t.conns, &o.conns}, {&t.requests, &o.requests}, {&t.failed, &o.failed}, {&t.oneSided, &o.oneSided},
		{&t.followed, &o.followed}, {&t.fresh, &o.fresh},
	}
}

// mergeSamples keeps the first record, and the newest.
func mergeSamples(a, b []event.Sample) []event.Sample {
	all := state.MergeSamples(a, b, 2*maxSamples)
	if n := len(all); n > maxSamples {
		all = slices.Delete(all, 1, n-maxSamples+1)
	}
	return all
}

// mergeEpisodes is one beacon that two sensors have told. Neither is changed.
func mergeEpisodes(a, b *episode) *episode {
	if a == nil || b == nil {
		return cmp.Or(a, b)
	}
	if cmp.Or(cmp.Compare(b.started, a.started), cmp.Compare(b.id, a.id)) < 0 {
		a, b = b, a
	}
	e := *a
	e.detected, e.reported = min(a.detected, b.detected), max(a.reported, b.reported)
	e.revision, e.grade = max(a.revision, b.revision), max(a.grade, b.grade)
	x, y := &a.result, &b.result
	if cmp.Or(cmp.Compare(y.Gaps, x.Gaps), cmp.Compare(y.LogOdds, x.LogOdds), cmp.Compare(y.Period, x.Period), cmp.Compare(y.Next, x.Next)) > 0 {
		e.result = *y
	}
	return &e
}

// accepted is what an analyst called normal of a pair.
type accepted struct {
	at     int64   // when, in Unix ns
	period float64 // seconds
	bytes  float64 // out, each time
}

// less orders the later one first.
func (a *accepted) less(b *accepted) int {
	return cmp.Or(cmp.Compare(b.at, a.at), cmp.Compare(b.period, a.period), cmp.Compare(b.bytes, a.bytes))
}

const (
	// muchMore is how many times as often as what an analyst called normal a timer must
	// ring to be told, and moreBytes how many times as many bytes must go out.
	muchMore  = 2
	moreBytes = 4
	fewBytes  = 1000 // that do not matter
)

// usual reports whether a timer is what an analyst called normal of the pair.
func (t *track) usual(r *tempo.Result) bool {
	a := t.normal
	return a != nil && muchMore*r.Period >= a.period && t.RecentBytes() <= moreBytes*a.bytes+fewBytes
}
