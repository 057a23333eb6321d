package longconn

import (
	"math"
	"slices"

	"tidewatch/behavior/phrase"
	"tidewatch/behavior/state"
)

// Describe appends what is known of long connections to an entity, or of those that a
// host has.
func (d *Detector) Describe(e state.Entity, dst []state.Portrait) []state.Portrait {
	for _, t := range d.destinations {
		if t.concerns(&e) {
			dst = append(dst, t.describe())
		}
	}
	return dst
}

// concerns reports whether the entity is the destination, or has a long connection to it.
func (t *destination) concerns(e *state.Entity) bool {
	for _, o := range t.open {
		if o.host.Addr == e.Host && e.Host.IsValid() && e.Reaches(t.addr, t.port, t.proto, o.name) || !e.Host.IsValid() && e.Named(o.name) {
			return true
		}
	}
	return e.Is(t.addr)
}

func (t *destination) describe() state.Portrait {
	p := state.Portrait{Detector: "long_connection", Subject: (&state.Entity{Host: t.addr}).String(), Since: t.first, Last: t.last}
	p.Say("port", t.port, "", "long connections to port %d/%s", t.port, t.proto)
	if t.durations.Weight() > 0 {
		usual := math.Expm1(t.durations.Mean())
		p.Say("duration_usual", math.Round(usual), "seconds", "those of ten minutes and more usually last %s", phrase.Span(int64(usual*1e9)))
	}
	for _, o := range t.open {
		p.Say("long_open", o.host.Addr.String(), "", "%s has been connected since %s", o.host.Addr, phrase.At(o.start))
	}
	return p
}

// Forget forgets an entity: a destination, or a host that has long connections. It
// returns how many destinations changed.
func (d *Detector) Forget(e state.Entity) (n int) {
	for _, t := range d.destinations {
		if e.Is(t.addr) {
			t.open = nil
			d.active = slices.DeleteFunc(d.active, func(o *destination) bool { return o == t })
			d.forget(t)
			n++
			continue
		}
		before := len(t.open)
		t.open = slices.DeleteFunc(t.open, func(o *episode) bool {
			return o.host.Addr == e.Host && e.Host.IsValid() && e.Reaches(t.addr, t.port, t.proto, o.name) || !e.Host.IsValid() && e.Named(o.name)
		})
		if len(t.open) < before {
			if len(t.open) == 0 {
				d.active = slices.DeleteFunc(d.active, func(o *destination) bool { return o == t })
			}
			d.touch(t)
			n++
		}
	}
	return n
}
