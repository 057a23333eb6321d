package exfil

import (
	"net/netip"
	"slices"

	"tidewatch/behavior/state"
	"tidewatch/event"
)

// Lookup makes the detector collect the keys of hosts that begin empty.
func (d *Detector) Lookup() { d.lookup.Start() }

// Wanted returns the keys of those that began since it was called last.
func (d *Detector) Wanted() [][]byte { return d.lookup.Take() }

// stored is what is stored of a host: what this sensor has seen itself.
func (h *host) stored() *host {
	if h.own != nil {
		return h.own
	}
	return h
}

func (h *host) clone() *host {
	var w state.Writer
	h.write(&w)
	c, _ := decode(h.Host, w.B)
	return c
}

// hostOf reads the key of a record.
func hostOf(rec state.Record) (state.Host, error) {
	if len(rec.Key) == 0 || rec.Key[0] != state.KindUpload {
		return state.Host{}, state.ErrRecord
	}
	return state.ParseHost(rec.Key)
}

// Restore takes a record back, if owns says that its host is ours. It may come late:
// what was observed meanwhile is added. An empty one says that nothing is stored.
func (d *Detector) Restore(rec state.Record, owns func(hash uint64) bool) error {
	id, err := hostOf(rec)
	if err != nil || !owns(id.Hash()) {
		return err
	}
	h := d.hosts[id.Hash()]
	if h != nil {
		h.pending = false
	}
	if len(rec.Value) == 0 {
		return nil
	}
	stored, err := decode(id, rec.Value)
	if err != nil {
		return err
	}
	if h == nil {
		d.hosts[id.Hash()] = stored
		d.setActive(stored)
		return nil
	}
	if h.own != nil {
		h.own.merge(stored.clone())
	}
	told := h.open
	h.merge(stored)
	h.goOn(told)
	d.setActive(h)
	d.touch(h)
	return nil
}

// setActive puts a host among those with open episodes, if it has any.
func (d *Detector) setActive(h *host) {
	at := slices.Index(d.active, h)
	switch {
	case len(h.open) > 0 && at < 0:
		d.active = append(d.active, h)
	case len(h.open) == 0 && at >= 0:
		d.active = slices.Delete(d.active, at, at+1)
	}
}

// goOn keeps of the episodes that were told here what was told, and returns those that
// were not.
func (h *host) goOn(told []*episode) (news []*episode) {
	for _, e := range h.open {
		k := slices.IndexFunc(told, func(v *episode) bool { return v.key == e.key && v.sums.at == e.sums.at })
		if k < 0 {
			news = append(news, e)
			continue
		}
		t := told[k]
		if e != t {
			e.id, e.revision, e.level, e.held, e.detected = t.id, t.revision, t.level, t.held, t.detected
			if e.sums.out < t.sums.out {
				e.sums = t.sums
			}
		}
	}
	for _, t := range told { // what only both together made
		if len(h.open) < maxEpisodes && !slices.ContainsFunc(h.open, func(v *episode) bool { return v.key == t.key && v.sums.at == t.sums.at }) {
			h.open = append(h.open, t)
			if a := h.of(t.key); a != nil && a.day.at == t.sums.at {
				a.told, a.suspect = true, true
			}
		}
	}
	return news
}

// of returns the account with this key, the budget included, or nil.
func (h *host) of(key uint64) *account {
	if h.budget != nil && h.budget.key == key {
		return h.budget
	}
	return h.account(key)
}

// Share says what other sensors know of a host, all of them together; it replaces what
// they were known to know. An upload that another sensor has told is told here too, under
// its name. What others know is never stored, nor given to others again.
func (d *Detector) Share(rec state.Record, owns func(hash uint64) bool, dst []event.Observation) ([]event.Observation, error) {
	id, err := hostOf(rec)
	if err != nil || len(rec.Value) == 0 || !owns(id.Hash()) {
		return dst, err
	}
	others, err := decode(id, rec.Value)
	h := d.hosts[id.Hash()]
	if err != nil || h == nil {
		return dst, err
	}
	own := h.stored()
	if own == h {
		own = h.clone()
	}
	own.silent = true
	told, pending, dirty := h.open, h.pending, h.dirty
	*h = *own.clone()
	h.merge(others)
	h.own, h.pending, h.dirty = own, pending, dirty
	for _, e := range h.goOn(told) {
		e.revision = 0
		if a := h.of(e.key); a == nil || a.usual() || e.held || e.over(d, max(h.last, d.sweepAt-sweepEvery-late)) {
			// It is nothing to tell, not told by the other either, or was over before it
			// was heard of.
			h.open = slices.DeleteFunc(h.open, func(v *episode) bool { return v == e })
			if a != nil {
				a.told = a.told && !e.held
			}
			continue
		}
		dst = append(dst, d.observation(h, e, true))
	}
	d.setActive(h)
	return dst, nil
}

// muchMore is how many times as much as what an analyst called normal a destination must
// get in a day to be looked at.
const muchMore = 2

// usual reports whether a destination got no more today than an analyst called normal.
func (a *account) usual() bool { return a.accepted != 0 && a.day.out/muchMore <= a.normal }

// Accept makes what a host sends to a destination normal: an analyst says so at a time
// (Unix ns). It reports whether there was anything to accept. hash is that of a
// registered domain.
func (d *Detector) Accept(e state.Entity, hash func(name string) uint64, at int64) (done bool) {
	for _, h := range d.hosts {
		if !e.IsPair() || h.Addr != e.Host {
			continue
		}
		keys := h.keysOf(e.Peer, domainHash(e.Name, hash))
		for _, half := range [...]*host{h, h.own} {
			for i := 0; half != nil && i < len(half.accounts); i++ {
				if a := &half.accounts[i]; slices.Contains(keys, a.key) {
					a.accept(at)
					done = true
				}
			}
		}
		d.touch(h)
	}
	return done
}

// keysOf are the keys of the accounts of a destination.
func (h *host) keysOf(to netip.Addr, domain uint64) (keys []uint64) {
	if domain != 0 {
		return append(keys, byName.key(domain))
	}
	if !to.IsValid() {
		return nil
	}
	far := event.HashAddr(to, h.VLAN, h.Inner)
	for _, k := range [...]kind{byAddress, fromOutside, byEcho, byClock, byQuery} {
		keys = append(keys, k.key(far))
	}
	return append(keys, byNetwork.key(networkHash(to, h.VLAN, h.Inner)))
}

// accept makes what the destination gets normal.
func (a *account) accept(at int64) {
	a.accepted, a.normal = at, max(a.day.out, a.before)
	a.suspect = false
	a.days.Accept()
	a.hours.Accept()
	a.drift.Reset()
}
