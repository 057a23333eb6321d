package watch

import (
	"cmp"
	"slices"

	"tidewatch/behavior/state"
	"tidewatch/event"
)

// enter returns the case of a record, which is new if there was none.
func (d *Detector) enter(at int, key caseKey, ev *event.Event) *entry {
	e := d.cases[key]
	if e == nil {
		e = d.open(at, key, ev)
	}
	e.first, e.last = min(e.first, ev.Time), max(e.last, ev.Time)
	if e.to.Addr != ev.Resp.Addr {
		e.severalTo = true
	} else if e.to.Port != ev.Resp.Port {
		e.to.Port = 0
	}
	e.severalFrom = e.severalFrom || e.from.Addr != ev.Orig.Addr
	d.touch(e)
	return e
}

func (d *Detector) open(at int, key caseKey, ev *event.Event) *entry {
	if len(d.cases) >= d.max {
		d.evict()
	}
	d.sequence++
	e := &entry{key: key, spec: int32(at), order: d.sequence, first: ev.Time, last: ev.Time, from: ev.Orig, to: ev.Resp, vlan: ev.VLAN, inner: ev.InnerVLAN}
	e.from.Port = 0 // it changes with each connection
	for i := range d.specs[at].By {
		e.subject = append(e.subject, d.text(&d.specs[at].By[i], ev))
	}
	d.cases[key] = e
	return e
}

// keep prolongs a case until a time.
func (d *Detector) keep(e *entry, until int64) {
	waiting := e.until != 0
	e.until = max(e.until, until)
	if !waiting {
		d.due.push(timer{e.until, e.order, e.key})
	}
}

// evict forgets a sixteenth of the cases: what no finding is open on first, then what
// has been silent for longest.
func (d *Detector) evict() {
	all := make([]*entry, 0, len(d.cases))
	for _, e := range d.cases {
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b *entry) int {
		return cmp.Or(cmp.Compare(a.weight(), b.weight()), cmp.Compare(a.last, b.last), cmp.Compare(a.key.hi, b.key.hi), cmp.Compare(a.key.lo, b.key.lo))
	})
	for _, e := range all[:len(all)/16+1] {
		d.forget(e)
	}
	d.due = slices.DeleteFunc(d.due, func(t timer) bool { e := d.cases[t.key]; return e == nil || e.order != t.order })
	d.due.order()
}

// weight says how much would be lost with a case.
func (e *entry) weight() int {
	switch {
	case e.episode != nil:
		return 2
	case e.progress.quantity != nil, e.progress.values != nil, e.progress.holders != nil:
		return 1 // these have a past
	}
	return 0
}

func (d *Detector) forget(e *entry) {
	if e.gone {
		return
	}
	e.gone = true
	delete(d.cases, e.key)
	if d.tracking {
		d.forgotten = append(d.forgotten, d.recordKey(e))
	}
}

// Track makes the detector remember what changes, for Cut.
func (d *Detector) Track() { d.tracking = true }

func (d *Detector) touch(e *entry) {
	if d.tracking && !e.dirty {
		e.dirty = true
		d.dirty = append(d.dirty, e)
	}
}

func (d *Detector) start(at int) {
	if d.tracking {
		d.started = append(d.started, at)
	}
}

// Cut returns the records of the cases that changed since the last Cut.
func (d *Detector) Cut() []state.Record {
	rs := make([]state.Record, 0, len(d.dirty)+len(d.forgotten))
	for _, k := range d.forgotten {
		rs = append(rs, state.Record{Key: k})
	}
	for _, e := range d.dirty {
		e.dirty = false
		if d.cases[e.key] == e {
			rs = append(rs, state.Record{Key: d.recordKey(e), Value: d.write(e)})
		}
	}
	for _, at := range d.started {
		rs = append(rs, d.beginning(at))
	}
	d.forgotten, d.dirty, d.started = nil, d.dirty[:0], d.started[:0]
	return rs
}

// timer says when a case is to be looked at.
type timer struct {
	at    int64
	order uint64
	key   caseKey
}

// timers is a heap: what is due first is on top, of that at one time what was made
// first.
type timers []timer

func (t timers) before(i, j int) bool {
	return t[i].at < t[j].at || t[i].at == t[j].at && (t[i].key.hi < t[j].key.hi || t[i].key.hi == t[j].key.hi && t[i].key.lo < t[j].key.lo)
}

func (t *timers) push(x timer) {
	*t = append(*t, x)
	s := *t
	for i := len(s) - 1; i > 0; {
		parent := (i - 1) / 2
		if !s.before(i, parent) {
			return
		}
		s[i], s[parent] = s[parent], s[i]
		i = parent
	}
}

func (t *timers) pop() timer {
	s := *t
	top := s[0]
	n := len(s) - 1
	s[0] = s[n]
	*t = s[:n]
	t.down(0)
	return top
}

func (t timers) down(i int) {
	for {
		c := 2*i + 1
		if c >= len(t) {
			return
		}
		if c+1 < len(t) && t.before(c+1, c) {
			c++
		}
		if !t.before(c, i) {
			return
		}
		t[i], t[c] = t[c], t[i]
		i = c
	}
}

// order makes a heap of what is none.
func (t timers) order() {
	for i := len(t)/2 - 1; i >= 0; i-- {
		t.down(i)
	}
}

// Sizes appends how much is kept.
func (d *Detector) Sizes(dst []state.Size) []state.Size {
	return append(dst, state.Size{Kind: "rule_cases", Count: len(d.cases), Cap: d.max})
}
