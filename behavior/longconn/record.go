package longconn

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"

	"tidewatch/behavior/state"
	"tidewatch/event"
)

// version is the first byte of each stored record.
const version = 1

func recordKey(key uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{state.KindLong}, key)
}

func (t *destination) record() []byte {
	w := state.Writer{B: []byte{version}}
	w.Addr(t.addr)
	w.U16(t.port)
	w.U8(byte(t.proto))
	w.Bool(t.badCert)
	w.I64(t.first)
	w.I64(t.last)
	w.B = t.durations.Append(w.B)
	w.U8(byte(len(t.open)))
	for _, e := range t.open {
		e.write(&w)
	}
	return w.B
}

func (e *episode) write(w *state.Writer) {
	w.Text(e.id)
	w.Addr(e.host.Addr)
	w.U16(e.host.VLAN)
	w.U16(e.host.Inner)
	for _, n := range [...]int64{int64(e.revision), e.detected, e.start, e.last, int64(e.count), e.total, int64(e.out), int64(e.in)} {
		w.I64(n)
	}
	w.F64(e.score)
	for _, m := range e.best.all() {
		w.F64(*m)
	}
	w.Text(e.name)
	w.Text(e.service)
	w.Bool(e.running)
	for _, seen := range e.sensors {
		w.Bool(seen)
	}
	w.U8(byte(len(e.conns)))
	for i := range e.conns {
		w.U64(e.conns[i].conn)
		w.Bool(e.conns[i].running)
		w.Sample(&e.conns[i].sample)
	}
}

func readEpisode(r *state.Reader) *episode {
	e := &episode{id: r.Text(), host: state.Host{Addr: r.Addr(), VLAN: r.U16(), Inner: r.U16()}}
	e.revision, e.detected, e.start, e.last = int(r.I64()), r.I64(), r.I64(), r.I64()
	e.count, e.total, e.out, e.in = int(r.I64()), r.I64(), uint64(r.I64()), uint64(r.I64())
	e.score = r.F64()
	for _, m := range e.best.all() {
		*m = r.F64()
	}
	e.name, e.service, e.running = r.Text(), r.Text(), r.Bool()
	for i := range e.sensors {
		e.sensors[i] = r.Bool()
	}
	for range r.Length(maxSamples) {
		e.conns = append(e.conns, piece{conn: r.U64(), running: r.Bool(), sample: r.Sample()})
	}
	return e
}

// readDestination reads a record; the error says that it was not written by Cut.
func readDestination(rec state.Record) (*destination, error) {
	if len(rec.Key) != 9 || rec.Key[0] != state.KindLong {
		return nil, state.ErrRecord
	}
	r := &state.Reader{B: rec.Value}
	r.Version(version)
	t := &destination{key: binary.BigEndian.Uint64(rec.Key[1:]), addr: r.Addr(), port: r.U16(), proto: event.Proto(r.U8()), badCert: r.Bool(), first: r.I64(), last: r.I64()}
	r.Decode(&t.durations)
	for range r.Length(maxEpisodes) {
		t.open = append(t.open, readEpisode(r))
	}
	if r.End(); r.Err == nil && !t.addr.IsValid() {
		r.Err = state.ErrRecord
	}
	return t, r.Err
}

// Cut returns what changed since the last Cut.
func (d *Detector) Cut() []state.Record {
	rs := make([]state.Record, 0, len(d.dirty)+len(d.forgotten))
	for _, k := range d.forgotten {
		rs = append(rs, state.Record{Key: k})
	}
	for _, t := range d.dirty {
		t.dirty = false
		if d.destinations[t.key] == t {
			rs = append(rs, state.Record{Key: recordKey(t.key), Value: t.record()})
		}
	}
	d.forgotten, d.dirty = nil, d.dirty[:0]
	return rs
}

// Restore takes a record back, if owns says that its destination is ours.
func (d *Detector) Restore(rec state.Record, owns func(hash uint64) bool) error {
	if len(rec.Value) == 0 {
		return nil
	}
	t, err := readDestination(rec)
	if err != nil || !owns(t.key) {
		return err
	}
	d.destinations[t.key] = t
	if len(t.open) > 0 {
		d.active = append(d.active, t)
	}
	return nil
}

// Merge returns what two sensors know of one destination together. It commutes.
func Merge(a, b state.Record) (state.Record, error) {
	if !bytes.Equal(a.Key, b.Key) {
		return state.Record{}, state.ErrRecord
	}
	t, err := readDestination(a)
	o, errOther := readDestination(b)
	if err != nil || errOther != nil {
		return state.Record{}, cmp.Or(err, errOther)
	}
	t.first, t.last, t.badCert = min(t.first, o.first), max(t.last, o.last), t.badCert || o.badCert
	t.durations.Merge(&o.durations, pace)
	t.open = append(t.open, o.open...)
	// Of one host's two episodes the earlier one has the name.
	slices.SortFunc(t.open, func(a, b *episode) int {
		return cmp.Or(a.host.Addr.Compare(b.host.Addr), cmp.Compare(a.host.VLAN, b.host.VLAN), cmp.Compare(a.host.Inner, b.host.Inner),
			cmp.Compare(a.start, b.start), cmp.Compare(b.score, a.score), cmp.Compare(a.id, b.id))
	})
	t.open = slices.CompactFunc(t.open, func(a, b *episode) bool { return a.host == b.host })
	t.open = t.open[:min(len(t.open), maxEpisodes)]
	return state.Record{Key: a.Key, Value: t.record()}, nil
}
