package beacon

import (
	"encoding/binary"

	"tidewatch/behavior/state"
	"tidewatch/behavior/tempo"
	"tidewatch/event"
)

// heard is what has come of a pair that has no track yet. It counts from the pair's next
// record on.
type heard struct {
	own    []session // stored by this sensor
	others []session
	track  *track // of others
}

// maxHeard bounds the pairs that something has come of and that rest since.
const maxHeard = 1 << 16

// Lookup makes the detector collect the keys of pairs that begin empty.
func (d *Detector) Lookup() { d.lookup.Start() }

// Wanted returns the keys of what may be stored of pairs that have come to a second
// session since it was called last.
func (d *Detector) Wanted() [][]byte { return d.lookup.Take() }

// stored is what is stored of a pair: what this sensor has seen itself, and has told.
func (t *track) stored() *track {
	if t.own == nil {
		return t
	}
	t.own.episode, t.own.episodes, t.own.positive, t.own.normal = t.episode, t.episodes, t.positive, t.normal
	return t.own
}

func (t *track) clone() *track { return readTrack(&state.Reader{B: t.record()}, t.key) }

// pairOf reads the key of a record.
func pairOf(rec state.Record) (key uint64, err error) {
	if len(rec.Key) != 9 || rec.Key[0] != state.KindPair && rec.Key[0] != state.KindBeacon {
		return 0, state.ErrRecord
	}
	if key = binary.BigEndian.Uint64(rec.Key[1:]); key == 0 {
		return 0, state.ErrRecord
	}
	return key, nil
}

// Restore takes a record back, if owns says that its originator is ours. The records
// of a pair may come in any order, and late: what was observed meanwhile is added. An
// empty one says that nothing is stored.
func (d *Detector) Restore(rec state.Record, owns func(hash uint64) bool) error {
	key, err := pairOf(rec)
	if err != nil || !owns(key) {
		return err
	}
	if i := d.pairs.find(key); i >= 0 {
		d.pairs.pair(i).setPending(false)
		if t := d.trackOf(key); t != nil {
			t.pending = false
		}
	}
	if len(rec.Value) == 0 {
		return nil
	}
	r := &state.Reader{B: rec.Value}
	if rec.Key[0] == state.KindPair {
		if s := readSketched(r); r.Err == nil && !s.tracked { // its track's record says the same
			d.restorePair(key, s.sessions)
		}
		return r.Err
	}
	if t := readTrack(r, key); r.Err == nil {
		d.restoreTrack(t)
	}
	return r.Err
}

func (d *Detector) restorePair(key uint64, sessions []session) {
	i := d.pairs.find(key)
	if i < 0 {
		if i, _ = d.pairs.insert(key); i < 0 {
			return
		}
	}
	c := &d.pairs.pair(i).cold
	if c.tracked() {
		t := d.tracks[c.track()]
		if t.own != nil {
			t.own.addSessions(sessions)
		}
		t.addSessions(sessions)
		d.touch(t)
		return
	}
	for k, v := range sessions {
		if c.add(v.start, codedSize(v.size)) { // more than a pair without a track has
			if h := d.hear(key); h != nil {
				h.own = sessions[k:]
			}
			return
		}
	}
}

// addSessions merges sessions of the time when the pair had no track.
func (t *track) addSessions(sessions []session) {
	var past tempo.Track
	for _, v := range sessions {
		past.Add(v.start*1e6, codedSize(v.size))
	}
	t.Track.Merge(&past)
}

// hear returns where to put what has come of a pair without a track, or nil if there is
// no room.
func (d *Detector) hear(key uint64) *heard {
	h := d.heard[key]
	if h == nil && len(d.heard) < maxHeard {
		if d.heard == nil {
			d.heard = map[uint64]*heard{}
		}
		h = new(heard)
		d.heard[key] = h
	}
	return h
}

// restoreTrack gives a tracked pair its place back, with what was observed meanwhile.
func (d *Detector) restoreTrack(r *track) {
	i := d.pairs.find(r.key)
	if i < 0 {
		if i, _ = d.pairs.insert(r.key); i < 0 {
			return
		}
	}
	c := &d.pairs.pair(i).cold
	if c.tracked() {
		t := d.tracks[c.track()]
		open := t.episode
		if t.own != nil {
			t.own.merge(r.clone())
		}
		t.merge(r)
		d.touch(t)
		if open != nil {
			t.episode = open
			return
		}
		d.opened(t)
		return
	}
	s := c.sketched()
	r.addSessions(s.sessions)
	if d.place(c, r) {
		d.opened(r)
	}
}

// place gives a pair a track that was made. It reports whether there was room.
func (d *Detector) place(c *cold, t *track) bool {
	i := d.freeTrack(t.Last())
	if i < 0 {
		return false
	}
	d.tracks[i] = t
	c.follow(i, t.Last()/1e6)
	return true
}

// opened puts a track whose beacon is open where it is closed.
func (d *Detector) opened(t *track) {
	if t.episode != nil {
		d.open = append(d.open, t)
	}
}

// Share says what other sensors know of a pair, all of them together; it replaces what
// they were known to know. Of a pair that has no track here, it counts from its next
// record on. What others know is never stored, nor given to others again.
func (d *Detector) Share(rec state.Record, owns func(hash uint64) bool, dst []event.Observation) ([]event.Observation, error) {
	key, err := pairOf(rec)
	if err != nil || len(rec.Value) == 0 || !owns(key) {
		return dst, err
	}
	i := d.pairs.find(key)
	r := &state.Reader{B: rec.Value}
	if rec.Key[0] == state.KindPair {
		s := readSketched(r)
		if r.Err != nil || i < 0 || s.tracked {
			return dst, r.Err
		}
		if t := d.trackOf(key); t != nil {
			return d.share(t, func(view *track) { view.addSessions(s.sessions) }, dst), nil
		}
		if h := d.hear(key); h != nil {
			h.others = s.sessions
		}
		return dst, nil
	}
	others := readTrack(r, key)
	if r.Err != nil || i < 0 {
		return dst, r.Err
	}
	if t := d.trackOf(key); t != nil {
		return d.share(t, func(view *track) { view.merge(others) }, dst), nil
	}
	if h := d.hear(key); h != nil {
		h.track = others
	}
	return dst, nil
}

// share makes t what this sensor and others know of it. A beacon that another sensor has
// told is told here too, under its name.
func (d *Detector) share(t *track, add func(view *track), dst []event.Observation) []event.Observation {
	own := t.stored()
	if own == t {
		own = t.clone()
	}
	own.dirty = true // it is never in a cut by itself
	open, positive, dirty, pending := t.episode, t.positive, t.dirty, t.pending
	*t = *own.clone()
	t.episode = nil
	add(t)
	t.own, t.dirty, t.pending = own, dirty, pending
	if open != nil {
		t.episode = open
		return dst
	}
	t.positive = max(t.positive, positive)
	e := t.episode
	if e == nil {
		return dst
	}
	if d.sweepAt > sweepEvery && t.deadline() < d.sweepAt-sweepEvery || t.usual(&e.result) {
		t.episode = nil // it was over before it was heard of, or is nothing to tell
		return dst
	}
	e.revision = 0
	d.open = append(d.open, t)
	d.touch(t)
	return append(dst, t.observation(true, d.cfg.Without))
}

// promoteHeard gives a pair a track if with what has come of it there are sessions
// enough.
func (d *Detector) promoteHeard(key uint64, b basis, c *cold, ev *event.Event, dst []event.Observation) []event.Observation {
	h := d.heard[key]
	if h == nil || h.track == nil && c.n()+len(h.own)+len(h.others) < coldSessions {
		return dst
	}
	if h.track != nil && h.track.basis != b {
		delete(d.heard, key)
		return dst
	}
	t := d.promote(key, b, c, ev)
	if t == nil {
		return dst
	}
	t.last.fill(ev, b)
	t.addSessions(h.own)
	delete(d.heard, key)
	if h.track == nil && len(h.others) == 0 {
		return dst
	}
	return d.share(t, func(view *track) {
		view.addSessions(h.others)
		if h.track != nil {
			view.merge(h.track)
		}
	}, dst)
}
