package watch

import (
	"net/netip"
	"slices"
	"strings"

	"tidewatch/behavior/phrase"
	"tidewatch/behavior/state"
	"tidewatch/event"
)

// Describe appends what rules over records remember of an entity.
func (d *Detector) Describe(e state.Entity, dst []state.Portrait) []state.Portrait {
	for _, c := range d.cases {
		if !c.mentions(&e) {
			continue
		}
		s := &d.specs[c.spec]
		p := state.Portrait{Detector: s.Kind.String(), Subject: strings.Join(c.subject, ", "), VLAN: c.vlan, Since: c.first, Last: c.last}
		p.Say("rule", s.ID, "", "a case of the rule %s", s.ID)
		if c.episode != nil {
			p.Say("open", true, "", "it was told at %s", phrase.At(c.episode.detected))
		}
		dst = append(dst, p)
	}
	return dst
}

// mentions reports whether a case says anything of an entity.
func (e *entry) mentions(x *state.Entity) bool {
	return x.Is(e.from.Addr) || x.Is(e.to.Addr) || mentioned(x, e.subject, e.samples, e.fields)
}

// mentioned reports whether an entity is in what a case shows.
func mentioned(x *state.Entity, subject []string, samples []event.Sample, fields []event.Field) bool {
	in := func(s string) bool {
		if x.IsPair() {
			return false
		}
		if x.Name != "" {
			return strings.Contains(strings.ToLower(s), x.Name)
		}
		a, err := netip.ParseAddr(s)
		return err == nil && x.Is(a.Unmap()) || strings.Contains(s, x.Host.String())
	}
	return slices.ContainsFunc(subject, in) ||
		slices.ContainsFunc(samples, func(s event.Sample) bool { return x.Is(s.Orig.Addr()) || x.Is(s.Resp.Addr()) }) ||
		slices.ContainsFunc(fields, func(f event.Field) bool { return in(f.Value) })
}

// Forget forgets the cases in which an entity has a part, and the values that are its
// name or address. It returns how many there were.
func (d *Detector) Forget(e state.Entity) (n int) {
	for _, c := range d.cases {
		if c.mentions(&e) {
			d.forget(c)
			n++
		}
	}
	return n
}

// Mentions reports whether the record of a case says anything of an entity: also that of
// a rule which is gone.
func Mentions(rec state.Record, e state.Entity) bool {
	if len(rec.Key) != 25 || rec.Key[0] != state.KindWatch || len(rec.Value) == 0 {
		return false
	}
	r := &state.Reader{B: rec.Value}
	r.Version(recordVersion)
	var c entry
	new(Detector).read(r, &c)
	return r.Err == nil && c.mentions(&e)
}
