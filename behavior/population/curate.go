package population

import (
	"cmp"
	"slices"

	"tidewatch/behavior/phrase"
	"tidewatch/behavior/state"
	"tidewatch/event"
)

// Registered returns the registered domain of a name in lower case: its public suffix
// and one label. A name that has none is its own.
func Registered(name string) string { return registered(name) }

// Describe appends who deals with an address or a name.
func (p *Population) Describe(e state.Entity, dst []state.Portrait) []state.Portrait {
	if e.IsPair() {
		return dst
	}
	for _, u := range p.entries(&e) {
		use := u.uses.look(u.key, u.day())
		if use.First == 0 {
			continue
		}
		x := state.Portrait{Detector: "population", Subject: u.what, Since: use.First, Last: int64(u.last()) * 1e9}
		x.Say("hosts", use.Hosts, "hosts", "%d local hosts deal with it, the first since %s", use.Hosts, phrase.At(use.First))
		dst = append(dst, x)
	}
	if e.Host.IsValid() {
		return dst
	}
	for _, key := range p.names.keys() {
		if n, _ := p.names.find(key); e.Named(n.text) {
			x := state.Portrait{Detector: "population", Subject: n.text + " as a name", Last: int64(n.last) * 1e9}
			x.Say("domain", n.text[n.domain:], "", "a name of the domain %s", n.text[n.domain:])
			if n.rank > 0 {
				x.Say("rank", n.rank, "", "number %d of the popular domains", n.rank)
			}
			dst = append(dst, x)
		}
	}
	slices.SortFunc(dst, func(a, b state.Portrait) int {
		return cmp.Or(cmp.Compare(a.Detector, b.Detector), cmp.Compare(a.Subject, b.Subject))
	})
	return dst
}

// entry is a key of one of the uses.
type entry struct {
	uses *uses
	key  uint64
	what string
}

// last is when the entry was used last, in Unix seconds.
func (u *entry) last() uint32 {
	if e, _ := u.uses.wide.find(u.key); e != nil {
		return e.last
	}
	if e, _ := u.uses.light.find(u.key); e != nil {
		return e.last
	}
	return 0
}

func (u *entry) day() uint16 { return uint16(u.last() / daySecs) }

// entries are the keys under which an entity is used by others.
func (p *Population) entries(e *state.Entity) []entry {
	if e.Host.IsValid() {
		key := keyed(event.HashAddr(e.Host, 0, 0))
		return []entry{{p.outbound, key, e.Host.String() + " as a far end"}, {p.inbound, key, e.Host.String() + " as a client from outside"}}
	}
	h := Hash(e.Name)
	return []entry{{p.called, keyed(h ^ saltName), e.Name}, {p.called, keyed(h ^ saltDomain), e.Name + " and names below it"}}
}

// Forget forgets an entity: that others use it, what it uses itself, and by which name
// it is known. Of what more than 60 hosts use, nobody can tell which they are. It returns
// how many entries changed.
func (p *Population) Forget(e state.Entity) (n int) {
	if e.IsPair() {
		return 0
	}
	for _, u := range p.entries(&e) {
		n += u.uses.drop(u.key)
	}
	if !e.Host.IsValid() {
		return n + p.forgetName(&e)
	}
	hash := event.HashAddr(e.Host, 0, 0)
	n += dropKey(&p.hosts.table, keyed(hash), func(a *active) { p.hosts.tally(a.day, -1) })
	n += dropKey(&p.askers, keyed(hash), nil)
	id := max(uint32(hash), 1)
	for _, u := range p.uses() {
		n += u.forgetHost(id)
	}
	n += p.forgetIntake(id) + dropKey(&p.intake, keyed(keyed(hash)^saltIntake), nil)
	// By which name the host knows the addresses that others know too.
	for _, u := range [...]*uses{p.outbound, p.inbound} {
		for _, key := range u.keys() {
			n += dropKey(&p.addresses, addressKey(hash, key), nil)
		}
	}
	for _, key := range p.hosts.keys() { // and by which others know it
		n += dropKey(&p.addresses, addressKey(key, keyed(hash)), nil)
	}
	return n
}

// forgetName forgets a name and those below it.
func (p *Population) forgetName(e *state.Entity) (n int) {
	gone := map[uint64]bool{}
	for _, key := range p.names.keys() {
		if x, _ := p.names.find(key); e.Named(x.text) {
			gone[key] = true
			n += p.called.drop(keyed(key ^ saltName))
			if d := x.text[x.domain:]; e.Named(d) {
				n += p.called.drop(keyed(Hash(d)^saltDomain)) + dropKey(&p.intake, domainUse(Hash(d)), nil)
			}
			n += dropKey(&p.names, key, nil)
		}
	}
	for _, t := range [...]*table[link]{&p.sessions, &p.addresses} {
		for _, key := range t.keys() {
			if l, _ := t.find(key); gone[l.name] {
				n += dropKey(t, key, nil)
			}
		}
	}
	return n
}

// keys lists the keys of all entries.
func (t *table[E]) keys() (keys []uint64) {
	for i := range t.sets {
		for _, k := range t.sets[i].keys {
			if k != 0 {
				keys = append(keys, k)
			}
		}
	}
	return keys
}

// dropKey takes out an entry, and says 1 if there was one.
func dropKey[E any](t *table[E], key uint64, lost func(*E)) int {
	e, r := t.find(key)
	if e == nil {
		return 0
	}
	if lost != nil {
		lost(e)
	}
	t.remove(r)
	return 1
}

// drop takes out a key.
func (u *uses) drop(key uint64) int {
	return dropKey(&u.wide, key, func(e *wideUse) { u.crowds.drop(e.crowd) }) + dropKey(&u.light, key, nil)
}

// forgetHost takes a host out of what it uses.
func (u *uses) forgetHost(id uint32) (n int) {
	for _, key := range u.light.keys() {
		if e, _ := u.light.find(key); e.host == id {
			n += dropKey(&u.light, key, nil)
		}
	}
	for _, key := range u.wide.keys() {
		e, r := u.wide.find(key)
		if u.leave(e, id) {
			u.wide.touch(r)
			n++
		}
	}
	return n
}

// leave takes a host out of an entry.
func (u *uses) leave(e *wideUse, id uint32) (gone bool) {
	if e.crowd != 0 {
		c := &u.crowds.slab[e.crowd]
		h := mix(uint64(id))
		gone = c.both.Forget(h)
		gone = c.now.Forget(h) || gone
		c.recount()
		for i := range e.hosts {
			if e.hosts[i] == id {
				e.hosts[i], e.days[i] = 0, 0
			}
		}
		return gone
	}
	for i := range int(e.n) {
		if e.hosts[i] == id {
			e.n--
			e.hosts[i], e.days[i] = e.hosts[e.n], e.days[e.n]
			e.hosts[e.n], e.days[e.n] = 0, 0
			return true
		}
	}
	return false
}

func (u *uses) keys() []uint64 { return append(u.light.keys(), u.wide.keys()...) }
