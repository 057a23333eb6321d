package hosts

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math/bits"
	"slices"

	"tidewatch/behavior/state"
	"tidewatch/event"
)

// Merge returns what two sensors know of one host or service together. It commutes. What
// is normal is what it was for each: of a host that roams that is what one sensor would
// have learned. Of a host whose traffic is split over both it is not, for nobody knows
// the sum of an hour; the hour that is not over counts as the larger of both.
func Merge(a, b state.Record) (state.Record, error) {
	if !bytes.Equal(a.Key, b.Key) {
		return state.Record{}, state.ErrRecord
	}
	if _, _, err := parseKey(a.Key); err != nil {
		return state.Record{}, err
	}
	x, y := &state.Reader{B: a.Value}, &state.Reader{B: b.Value}
	var w state.Writer
	if a.Key[0] == state.KindHost {
		var h, o Host
		h.read(x)
		o.read(y)
		if x.Err == nil && y.Err == nil {
			h.merge(&o)
			h.write(&w)
		}
	} else {
		var s, o Service
		s.read(x)
		o.read(y)
		if x.Err == nil && y.Err == nil {
			s.merge(&o)
			s.write(&w)
		}
	}
	return state.Record{Key: a.Key, Value: w.B}, cmp.Or(x.Err, y.Err)
}

// parseKey reads the key of a host, or of a service on one.
func parseKey(key []byte) (state.Host, serviceKey, error) {
	switch {
	case len(key) > 0 && key[0] == state.KindHost:
		h, err := state.ParseHost(key)
		return h, serviceKey{}, err
	case len(key) > serviceHead && key[0] == state.KindService:
		h, err := state.ParseHost(key[serviceHead-1:])
		return h, serviceKey{h.Hash(), binary.BigEndian.Uint16(key[2:]), event.Proto(key[1])}, err
	}
	return state.Host{}, serviceKey{}, state.ErrRecord
}

// merge adds what another sensor knows of the host, which it takes over. Active hours
// count once as far as both sensors knew the host at the same time.
func (h *Host) merge(o *Host) {
	h.active = uint32(min(state.Union(uint64(h.active), uint64(o.active), shared(h.first, h.last, o.first, o.last)), 1<<31))
	h.first, h.last = min(h.first, o.first), max(h.last, o.last)
	h.suspect, h.accepted = max(h.suspect, o.suspect), max(h.accepted, o.accepted)
	switch {
	case o.hour > h.hour:
		h.hour, h.now = o.hour, o.now
	case o.hour == h.hour:
		for q, n := range o.now.n {
			h.now.n[q] = max(h.now.n[q], n)
		}
		unite(h.now.peers[:], o.now.peers[:])
	}
	unite(h.ports[:], o.ports[:])
	for q := range h.season {
		h.season[q].Merge(&o.season[q], Pace)
	}
	for q := range h.level {
		h.level[q].Merge(&o.level[q], Pace)
	}
	h.peers.Merge(&o.peers, remembered)
	h.intake.merge(&o.intake)
}

// shared is which share of the shorter of two spans of time the other one covers.
func shared(firstA, lastA, firstB, lastB int64) float64 {
	both := float64(min(lastA, lastB)) - float64(max(firstA, firstB))
	shorter := min(float64(lastA)-float64(firstA), float64(lastB)-float64(firstB))
	if both <= 0 || shorter <= 0 {
		return 0
	}
	return min(both/shorter, 1)
}

func unite(groups, others []uint64) {
	for i, g := range others {
		groups[i] |= g
	}
}

// merge adds what another sensor knows of the service, which it takes over. Connections
// count once as far as both sensors saw the same clients.
func (s *Service) merge(o *Service) {
	same, inA, inB := 0, 0, 0
	for i := range s.clients {
		same += bits.OnesCount64(s.clients[i] & o.clients[i])
		inA += bits.OnesCount64(s.clients[i])
		inB += bits.OnesCount64(o.clients[i])
	}
	overlap := state.Overlap(same, inA, inB)
	s.answered, s.failed = state.Union(s.answered, o.answered, overlap), state.Union(s.failed, o.failed, overlap)
	a, b := s.Protocols(), o.Protocols()
	if o.first < s.first || o.first == s.first && slices.Compare(b, a) < 0 {
		a, b = b, a
	}
	all := slices.Concat(a, b)
	s.protocols = [maxProtocols]string{}
	for _, name := range all {
		s.protocol(name)
	}
	s.first, s.last = min(s.first, o.first), max(s.last, o.last)
	unite(s.clients[:], o.clients[:])
	s.size.Merge(&o.size, sizes)
	switch {
	case s.peaks == nil:
		s.peaks = o.peaks
	case o.peaks != nil:
		s.peaks.Merge(o.peaks)
	}
}

// stored is what is stored of a host: what this sensor has seen itself.
func (h *Host) stored() *Host {
	if h.own != nil {
		return h.own
	}
	return h
}

// Own is Of without what other sensors know.
func (t *Table) Own(hash uint64) *Host {
	if h := t.hosts[hash]; h != nil {
		return h.stored()
	}
	return nil
}

func (s *Service) stored() *Service {
	if s.own != nil {
		return s.own
	}
	return s
}

func (h *Host) clone() *Host {
	var w state.Writer
	h.write(&w)
	c := &Host{Host: h.Host}
	c.read(&state.Reader{B: w.B})
	return c
}

func (s *Service) clone() *Service {
	var w state.Writer
	s.write(&w)
	c := &Service{host: s.host, key: s.key}
	c.read(&state.Reader{B: w.B})
	return c
}

// Lookup makes the table collect the keys of hosts and services that begin empty.
func (t *Table) Lookup() { t.lookup.Start() }

// Wanted returns the keys of those that began since it was called last.
func (t *Table) Wanted() [][]byte { return t.lookup.Take() }

// Restore takes a record back, if owns says that its host is ours. It may come late:
// what was observed meanwhile is added. An empty one says that nothing is stored.
func (t *Table) Restore(rec state.Record, owns func(hash uint64) bool) error {
	id, k, err := parseKey(rec.Key)
	if err != nil || !owns(id.Hash()) {
		return err
	}
	r := &state.Reader{B: rec.Value}
	if rec.Key[0] == state.KindHost {
		h := t.hosts[id.Hash()]
		if h != nil {
			h.pending = false
		}
		stored := &Host{Host: id}
		if len(rec.Value) > 0 {
			stored.read(r)
		}
		switch {
		case len(rec.Value) == 0 || r.Err != nil:
		case h == nil:
			t.hosts[id.Hash()] = stored
		default:
			if h.own != nil {
				h.own.merge(stored.clone())
			}
			h.merge(stored)
			t.touch(h)
		}
		return r.Err
	}
	if len(rec.Value) == 0 {
		return nil
	}
	stored := &Service{host: id, key: k}
	stored.read(r)
	switch s := t.services[k]; {
	case r.Err != nil:
	case s == nil:
		t.services[k] = stored
	default:
		if s.own != nil {
			s.own.merge(stored.clone())
		}
		s.merge(stored)
		t.touchService(s)
	}
	return r.Err
}

// Share says what other sensors know of a host or service, all of them together; it
// replaces what they were known to know. What others know is never stored, nor given to
// others again. It finds nothing.
func (t *Table) Share(rec state.Record, owns func(hash uint64) bool, dst []event.Observation) ([]event.Observation, error) {
	id, k, err := parseKey(rec.Key)
	if err != nil || len(rec.Value) == 0 || !owns(id.Hash()) {
		return dst, err
	}
	r := &state.Reader{B: rec.Value}
	if rec.Key[0] == state.KindHost {
		others := &Host{Host: id}
		others.read(r)
		if h := t.hosts[id.Hash()]; h != nil && r.Err == nil {
			own, pending, dirty := h.stored(), h.pending, h.dirty
			if own == h {
				own = h.clone()
			}
			*h = *own.clone()
			h.merge(others)
			h.own, h.pending, h.dirty = own, pending, dirty
		}
		return dst, r.Err
	}
	others := &Service{host: id, key: k}
	others.read(r)
	if s := t.services[k]; s != nil && r.Err == nil {
		own, dirty := s.stored(), s.dirty
		if own == s {
			own = s.clone()
		}
		*s = *own.clone()
		s.merge(others)
		s.own, s.dirty = own, dirty
	}
	return dst, r.Err
}
