package hosts

import (
	"encoding/binary"

	"tidewatch/behavior/sketch"
	"tidewatch/behavior/state"
)

// version is the first byte of each stored record.
const version = 3

func (h *Host) write(w *state.Writer) {
	w.U8(version)
	w.I64(h.first)
	w.I64(h.last)
	w.U32(h.active)
	w.I64(h.suspect)
	w.I64(h.accepted)
	w.U32(uint32(h.hour))
	for _, n := range h.now.n {
		w.U64(n)
	}
	writeGroups(w, h.now.peers[:])
	writeGroups(w, h.ports[:])
	for q := range h.season {
		w.B = h.season[q].Append(w.B)
	}
	for q := range h.level {
		w.B = h.level[q].Append(w.B)
	}
	w.B = h.peers.Append(w.B)
	h.intake.write(w)
}

func (h *Host) read(r *state.Reader) {
	r.Version(version)
	h.first, h.last, h.active, h.suspect, h.accepted, h.hour = r.I64(), r.I64(), r.U32(), r.I64(), r.I64(), int32(r.U32())
	for q := range h.now.n {
		h.now.n[q] = r.U64()
	}
	readGroups(r, h.now.peers[:])
	readGroups(r, h.ports[:])
	for q := range h.season {
		r.Decode(&h.season[q])
	}
	for q := range h.level {
		r.Decode(&h.level[q])
	}
	r.Decode(&h.peers)
	h.intake.read(r)
	r.End()
	if h.hour < 0 {
		r.Err = state.ErrRecord
	}
}

func writeGroups(w *state.Writer, g []uint64) {
	for _, v := range g {
		w.U64(v)
	}
}

func readGroups(r *state.Reader, g []uint64) {
	for i := range g {
		g[i] = r.U64()
	}
}

// storeKey is that of the host, with the port behind it.
func (s *Service) storeKey() []byte {
	k := []byte{state.KindService}
	k = binary.BigEndian.AppendUint16(append(k, byte(s.key.proto)), s.key.port)
	return append(k, s.host.Key(state.KindHost)[1:]...)
}

// serviceHead is what stands before the host in a service's key.
const serviceHead = 4

func (s *Service) write(w *state.Writer) {
	w.U8(version)
	w.I64(s.first)
	w.I64(s.last)
	w.U64(s.answered)
	w.U64(s.failed)
	writeGroups(w, s.clients[:])
	w.B = s.size.Append(w.B)
	w.Bool(s.peaks != nil)
	if s.peaks != nil {
		w.B = s.peaks.Append(w.B)
	}
	for _, p := range s.protocols {
		w.Text(p)
	}
}

func (s *Service) read(r *state.Reader) {
	r.Version(version)
	s.first, s.last, s.answered, s.failed = r.I64(), r.I64(), r.U64(), r.U64()
	readGroups(r, s.clients[:])
	r.Decode(&s.size)
	if r.Bool() && r.Err == nil {
		s.peaks = new(sketch.SPOT)
		r.Decode(s.peaks)
	}
	for i := range s.protocols {
		s.protocols[i] = r.Text()
		if len(s.protocols[i]) > maxProtocol {
			r.Err = state.ErrRecord
		}
	}
	r.End()
}

// Cut returns what changed since the last cut.
func (t *Table) Cut() []state.Record {
	rs := make([]state.Record, 0, len(t.dirty)+len(t.dirtyService)+len(t.forgotten))
	for _, k := range t.forgotten {
		rs = append(rs, state.Record{Key: k})
	}
	for _, h := range t.dirty {
		h.dirty = false
		if t.hosts[h.Hash()] == h {
			var w state.Writer
			h.stored().write(&w)
			rs = append(rs, state.Record{Key: h.Key(state.KindHost), Value: w.B})
		}
	}
	for _, s := range t.dirtyService {
		s.dirty = false
		if t.services[s.key] == s {
			var w state.Writer
			s.stored().write(&w)
			rs = append(rs, state.Record{Key: s.storeKey(), Value: w.B})
		}
	}
	t.forgotten, t.dirty, t.dirtyService = nil, t.dirty[:0], t.dirtyService[:0]
	return rs
}
