package population

import (
	"encoding/binary"
	"slices"

	"tidewatch/behavior/state"
)

// version is the first byte of each stored record.
const version = 1

// The parts of a Population: the second byte of a record's key. The key of the
// entry follows.
const (
	partHosts byte = iota
	partSessions
	partAddresses
	partNames
	partCalled
	partOutbound
	partInbound
	partClients
	partIntake
	partAskers
)

func recordKey(kind, part byte, key uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{kind, part}, key)
}

// cutTable appends the records of a table's changes.
func cutTable[E any](rs []state.Record, kind, part byte, t *table[E], write func(*state.Writer, *E)) []state.Record {
	t.cut(func(key uint64) {
		rs = append(rs, state.Record{Key: recordKey(kind, part, key)})
	}, func(key uint64, e *E) {
		w := state.Writer{B: []byte{version}}
		write(&w, e)
		rs = append(rs, state.Record{Key: recordKey(kind, part, key), Value: w.B})
	})
	return rs
}

// Cut returns the records of what changed since the last Cut, or ever. Where two have
// one key the later one counts.
func (p *Population) Cut() []state.Record {
	rs := cutTable(nil, state.KindPopulation, partHosts, &p.hosts.table, func(w *state.Writer, a *active) { w.U16(a.day) })
	rs = cutTable(rs, state.KindName, partSessions, &p.sessions, writeLink)
	rs = cutTable(rs, state.KindName, partAddresses, &p.addresses, writeLink)
	rs = cutTable(rs, state.KindName, partNames, &p.names, writeName)
	for i, u := range p.uses() {
		rs = u.cut(rs, partCalled+byte(i))
	}
	rs = cutTable(rs, state.KindName, partAskers, &p.askers, writeAsker)
	return cutTable(rs, state.KindDestination, partIntake, &p.intake, writeIntake)
}

// uses lists the uses in the order of their parts.
func (p *Population) uses() [4]*uses { return [...]*uses{p.called, p.outbound, p.inbound, p.clients} }

// cut appends the records of both tables. A key that went from one to the other has
// the record of where it is now, which comes last.
func (u *uses) cut(rs []state.Record, part byte) []state.Record {
	light := cutTable(nil, state.KindDestination, part, &u.light, writeLight)
	wide := cutTable(nil, state.KindDestination, part, &u.wide, u.writeWide)
	for _, list := range [][]state.Record{light, wide} {
		for _, r := range list {
			if len(r.Value) == 0 {
				rs = append(rs, r)
			}
		}
	}
	for _, list := range [][]state.Record{light, wide} {
		for _, r := range list {
			if len(r.Value) != 0 {
				rs = append(rs, r)
			}
		}
	}
	return rs
}

func writeLink(w *state.Writer, l *link) {
	w.U64(l.name)
	w.U32(l.at)
	w.U32(l.until)
}

func writeName(w *state.Writer, n *name) {
	w.U32(n.last)
	w.Bool(n.held)
	w.Text(n.text)
}

// The forms of a use.
const (
	formLight byte = 1 + iota
	formInline
	formCrowd
)

func writeLight(w *state.Writer, e *lightUse) {
	w.U8(formLight)
	w.I64(e.first)
	w.U32(e.last)
	w.U32(e.host)
}

func (u *uses) writeWide(w *state.Writer, e *wideUse) {
	form := formInline
	if e.crowd != 0 {
		form = formCrowd
	}
	w.U8(form)
	w.I64(e.first)
	w.U32(e.last)
	if e.crowd != 0 {
		c := &u.crowds.slab[e.crowd]
		w.U16(c.period)
		w.B = c.now.Append(c.both.Append(w.B))
		return
	}
	var users [inlineSize]user
	for i := range int(e.n) {
		users[i] = user{e.hosts[i], e.days[i]}
	}
	// In one order, however they came.
	slices.SortFunc(users[:e.n], func(a, b user) int { return int(int64(a.host) - int64(b.host)) })
	w.U8(byte(e.n))
	for _, s := range users[:e.n] {
		w.U32(s.host)
		w.U16(s.day)
	}
}

// Owns reports whether a record is one of a Population.
func Owns(rec state.Record) bool {
	if len(rec.Key) == 0 {
		return false
	}
	k := rec.Key[0]
	return k == state.KindName || k == state.KindDestination || k == state.KindPopulation
}

func (h *hosts) readHost(r *state.Reader, key uint64) error {
	day := r.U16()
	if r.End(); r.Err != nil {
		return r.Err
	}
	a := active{day: day}
	if old, _ := h.find(key); old != nil {
		h.tally(old.day, -1)
		a.addr = old.addr
	}
	h.restore(key, a)
	h.tally(day, 1)
	return nil
}

func readLink(r *state.Reader) link {
	return link{name: r.U64(), at: r.U32(), until: r.U32()}
}

// readName refuses a name that the key is no hash of.
func readName(r *state.Reader, key uint64) name {
	last, held, text := r.U32(), r.Bool(), r.Text()
	if r.Err != nil || len(text) > maxName || text != lower(text) || !hashes(key, text) {
		r.Err = state.ErrRecord
		return name{}
	}
	n := newName(text)
	n.last, n.held = last, held
	return n
}

func (u *uses) readUse(r *state.Reader, key uint64) error {
	form, first, last := r.U8(), r.I64(), r.U32()
	w := wideUse{first: first, last: last}
	switch form {
	case formLight:
		l := lightUse{first: first, last: last, host: r.U32()}
		if r.End(); r.Err == nil {
			u.forget(key)
			u.light.restore(key, l)
		}
		return r.Err
	case formInline:
		w.n = uint16(r.Length(inlineSize))
		for i := range int(w.n) {
			w.hosts[i], w.days[i] = r.U32(), r.U16()
			if i > 0 && w.hosts[i] <= w.hosts[i-1] {
				return state.ErrRecord
			}
		}
		if r.End(); r.Err != nil {
			return r.Err
		}
		u.forget(key)
	case formCrowd:
		c := crowd{period: r.U16()}
		r.Decode(&c.both)
		r.Decode(&c.now)
		if r.End(); r.Err != nil {
			return r.Err
		}
		u.forget(key)
		c.recount()
		if i := u.crowds.take(); i != 0 {
			u.crowds.slab[i] = c
			w.join(i, &c)
		}
	default:
		return state.ErrRecord
	}
	u.wide.restore(key, w)
	return nil
}

// forget takes out what is known of a key, for a record that replaces it.
func (u *uses) forget(key uint64) {
	if e, r := u.wide.find(key); e != nil {
		u.crowds.drop(e.crowd)
		u.wide.unstore(r)
		u.wide.remove(r)
	}
	if e, r := u.light.find(key); e != nil {
		u.light.unstore(r)
		u.light.remove(r)
	}
}
