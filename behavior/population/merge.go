package population

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"

	"tidewatch/behavior/state"
)

// Merge returns what two sensors know of one entry together. It commutes and is
// idempotent: entries are sets of hosts by the day of their last use, and names by when
// they were said last.
func Merge(a, b state.Record) (state.Record, error) {
	part, key, err := parseKey(a.Key)
	if err != nil || !bytes.Equal(a.Key, b.Key) {
		return state.Record{}, cmp.Or(err, state.ErrRecord)
	}
	x, y := &state.Reader{B: a.Value}, &state.Reader{B: b.Value}
	x.Version(version)
	y.Version(version)
	w := state.Writer{B: []byte{version}}
	switch part {
	case partHosts:
		w.U16(max(x.U16(), y.U16()))
	case partSessions, partAddresses:
		l, o := readLink(x), readLink(y)
		l = l.merged(o)
		writeLink(&w, &l)
	case partNames:
		n, o := readName(x, key), readName(y, key)
		if o.text < n.text {
			n, o = o, n
		}
		n.last, n.held = max(n.last, o.last), n.held || o.held
		writeName(&w, &n)
	case partIntake:
		e, o := readIntake(x), readIntake(y)
		e.merge(&o)
		writeIntake(&w, &e)
	case partAskers:
		a := readAsker(x)
		a.merge(readAsker(y))
		writeAsker(&w, &a)
	default:
		u, o := readUsed(x), readUsed(y)
		u.merge(&o)
		u.write(&w)
	}
	x.End()
	y.End()
	return state.Record{Key: a.Key, Value: w.B}, cmp.Or(x.Err, y.Err)
}

// parseKey reads the key of an entry.
func parseKey(key []byte) (part byte, entry uint64, err error) {
	if len(key) != 10 {
		return 0, 0, state.ErrRecord
	}
	part, entry = key[1], binary.BigEndian.Uint64(key[2:])
	kind := state.KindDestination
	switch part {
	case partHosts:
		kind = state.KindPopulation
	case partSessions, partAddresses, partNames, partAskers:
		kind = state.KindName
	}
	if key[0] != kind || part > partAskers || entry == 0 {
		return 0, 0, state.ErrRecord
	}
	return part, entry, nil
}

// merged is what was said last; of what was said at one time, one of them.
func (l link) merged(o link) link {
	if cmp.Or(cmp.Compare(o.at, l.at), cmp.Compare(o.name, l.name)) > 0 {
		l, o = o, l
	}
	if l.name == o.name {
		l.until = max(l.until, o.until)
	}
	return l
}

// used is what a record says of a use in any form.
type used struct {
	first int64
	last  uint32
	light bool   // one host uses it, or none
	users []user // in order; none if there is a crowd
	crowd *crowd
}

// user is a host and the day of its last use.
type user struct {
	host uint32
	day  uint16
}

func readUsed(r *state.Reader) (u used) {
	form := r.U8()
	u.first, u.last = r.I64(), r.U32()
	switch form {
	case formLight:
		u.light = true
		if host := r.U32(); host != 0 {
			u.users = []user{{host, uint16(u.last / daySecs)}}
		}
	case formInline:
		for range r.Length(inlineSize) {
			u.users = append(u.users, user{r.U32(), r.U16()})
		}
	case formCrowd:
		u.crowd = &crowd{period: r.U16()}
		r.Decode(&u.crowd.both)
		r.Decode(&u.crowd.now)
	default:
		r.Err = state.ErrRecord
	}
	return u
}

func (u *used) write(w *state.Writer) {
	form := formInline
	switch {
	case u.crowd != nil:
		form = formCrowd
	case u.light:
		form = formLight
	}
	w.U8(form)
	w.I64(u.first)
	w.U32(u.last)
	switch form {
	case formLight:
		host := uint32(0)
		if len(u.users) > 0 {
			host = u.users[0].host
		}
		w.U32(host)
	case formInline:
		w.U8(byte(len(u.users)))
		for _, s := range u.users {
			w.U32(s.host)
			w.U16(s.day)
		}
	case formCrowd:
		w.U16(u.crowd.period)
		w.B = u.crowd.now.Append(u.crowd.both.Append(w.B))
	}
}

// merge adds the hosts that another sensor knows of. More than six within the window
// make a crowd.
func (u *used) merge(o *used) {
	u.first, u.last = min(u.first, o.first), max(u.last, o.last)
	all := append(u.users, o.users...)
	slices.SortFunc(all, func(a, b user) int { return cmp.Or(cmp.Compare(a.host, b.host), cmp.Compare(b.day, a.day)) })
	all = slices.CompactFunc(all, func(a, b user) bool { return a.host == b.host })
	if len(all) > inlineSize {
		today := uint16(0)
		for _, s := range all {
			today = max(today, s.day)
		}
		all = slices.DeleteFunc(all, func(s user) bool { return !within(s.day, today) })
	}
	u.users, u.light = all, u.light && o.light && len(all) < 2
	switch {
	case u.crowd != nil && o.crowd != nil:
		u.crowd.merge(o.crowd)
	case o.crowd != nil:
		u.crowd = o.crowd
	case u.crowd == nil && len(all) > inlineSize:
		u.crowd = new(crowd)
	}
	if u.crowd != nil {
		for _, s := range all {
			u.crowd.add(s.host, s.day/periodDays)
		}
		u.users = nil
	}
}

// merge adds the hosts of another crowd.
func (c *crowd) merge(o *crowd) {
	if o.period > c.period {
		*c, *o = *o, *c
	}
	switch c.period - o.period {
	case 0:
		c.both.Merge(&o.both)
		c.now.Merge(&o.now)
	case 1:
		c.both.Merge(&o.now)
	}
	c.recount()
}

// Restore takes back a record that Cut returned. It may come late: what is known already
// is added.
func (p *Population) Restore(rec state.Record) error { return p.take(rec, true) }

// Share says what other sensors know. It adds to what is known here, and cannot be told
// from it afterwards: it is sets of hosts that grow no larger when they are put together
// again and again.
func (p *Population) Share(rec state.Record) error { return p.take(rec, false) }

// take puts a record into its table; own says that it is stored by this sensor.
func (p *Population) take(rec state.Record, own bool) error {
	part, key, err := parseKey(rec.Key)
	if err != nil || len(rec.Value) == 0 {
		return err
	}
	old := p.record(part, key)
	if old != nil {
		if rec, err = Merge(state.Record{Key: rec.Key, Value: old}, rec); err != nil || bytes.Equal(rec.Value, old) {
			return err
		}
	}
	if err := p.put(part, key, rec.Value); err != nil {
		return err
	}
	if old != nil || !own {
		p.touch(part, key)
	}
	return nil
}

// record is the value of an entry's record, nil if there is no entry.
func (p *Population) record(part byte, key uint64) []byte {
	w := state.Writer{B: []byte{version}}
	switch part {
	case partHosts:
		if a, _ := p.hosts.find(key); a != nil {
			w.U16(a.day)
		}
	case partSessions, partAddresses:
		if l, _ := p.links(part).find(key); l != nil {
			writeLink(&w, l)
		}
	case partNames:
		if n, _ := p.names.find(key); n != nil {
			writeName(&w, n)
		}
	case partIntake:
		if e, _ := p.intake.find(key); e != nil {
			writeIntake(&w, e)
		}
	case partAskers:
		if a, _ := p.askers.find(key); a != nil {
			writeAsker(&w, a)
		}
	default:
		u := p.uses()[part-partCalled]
		if e, _ := u.wide.find(key); e != nil {
			u.writeWide(&w, e)
		} else if e, _ := u.light.find(key); e != nil {
			writeLight(&w, e)
		}
	}
	if len(w.B) == 1 {
		return nil
	}
	return w.B
}

func (p *Population) links(part byte) *table[link] {
	if part == partSessions {
		return &p.sessions
	}
	return &p.addresses
}

// touch puts an entry into the next cut.
func (p *Population) touch(part byte, key uint64) {
	switch part {
	case partHosts:
		touchKey(&p.hosts.table, key)
	case partSessions, partAddresses:
		touchKey(p.links(part), key)
	case partNames:
		touchKey(&p.names, key)
	case partIntake:
		touchKey(&p.intake, key)
	case partAskers:
		touchKey(&p.askers, key)
	default:
		u := p.uses()[part-partCalled]
		touchKey(&u.wide, key)
		touchKey(&u.light, key)
	}
}

func touchKey[E any](t *table[E], key uint64) {
	if e, r := t.find(key); e != nil {
		t.touch(r)
	}
}

// put makes the entry of a key what a record says.
func (p *Population) put(part byte, key uint64, value []byte) error {
	r := &state.Reader{B: value}
	r.Version(version)
	switch part {
	case partHosts:
		return p.hosts.readHost(r, key)
	case partSessions, partAddresses:
		l := readLink(r)
		if r.End(); r.Err == nil {
			p.links(part).restore(key, l)
		}
	case partNames:
		n := readName(r, key)
		if r.End(); r.Err == nil {
			p.names.restore(key, n)
		}
	case partIntake:
		e := readIntake(r)
		if r.End(); r.Err == nil {
			p.intake.restore(key, e)
		}
	case partAskers:
		a := readAsker(r)
		if r.End(); r.Err == nil {
			p.askers.restore(key, a)
		}
	default:
		return p.uses()[part-partCalled].readUse(r, key)
	}
	return r.Err
}
