package beacon

import (
	"slices"

	"tidewatch/behavior/phrase"
	"tidewatch/behavior/state"
	"tidewatch/behavior/tempo"
)

// concerns reports whether the entity is one of the pair's ends, or the pair.
func (t *track) concerns(e *state.Entity) bool {
	l := &t.last
	if e.Host.IsValid() && t.host.Addr != e.Host {
		return e.Is(l.peer)
	}
	return e.Reaches(l.peer, l.port, l.proto, l.name, l.domain)
}

// Describe appends what is known of the pairs of an entity that have a track.
func (d *Detector) Describe(e state.Entity, dst []state.Portrait) []state.Portrait {
	for _, t := range d.tracks {
		if t != nil && t.concerns(&e) {
			dst = append(dst, t.describe())
		}
	}
	return dst
}

func (t *track) describe() state.Portrait {
	p := state.Portrait{Detector: "beacon", Subject: t.host.Addr.String() + " > " + t.peerName(), VLAN: t.host.VLAN, Since: t.First(), Last: t.Last()}
	p.Say("sessions", t.Sessions(), "", "%d sessions, %s sent in each of the last ones", t.Sessions(), phrase.Bytes(t.RecentBytes()))
	r := tempo.Evaluate(&t.Track)
	if r.Score >= 0.5 {
		p.Say("period", phrase.Round3(r.Period), "seconds", "on a timer: every %s, jitter %.0f %%", every(r.Period), 100*r.Jitter)
	} else {
		p.Say("timing_score", phrase.Round3(r.Score), "", "not on a timer (timing score %.2f of 1)", r.Score)
	}
	if e := t.episode; e != nil {
		p.Say("beacon_open", true, "", "a beacon was found at %s", phrase.At(e.detected))
	}
	if a := t.normal; a != nil {
		p.Say("accepted", phrase.At(a.at), "", "%s: every %s with %s", phrase.Accepted(a.at), every(a.period), phrase.Bytes(a.bytes))
	}
	return p
}

// Accept makes the timers of a pair normal: an analyst says so at a time (Unix ns). It
// reports whether the pair is tracked, so that there is anything to accept.
func (d *Detector) Accept(e state.Entity, at int64) (done bool) {
	if !e.IsPair() {
		return false
	}
	for _, t := range d.tracks {
		if t == nil || t.host.Addr != e.Host || !t.concerns(&e) {
			continue
		}
		r := tempo.Evaluate(&t.Track)
		if t.episode != nil {
			r = t.episode.result
		}
		t.normal = &accepted{at: at, period: r.Period, bytes: t.RecentBytes()}
		d.touch(t)
		done = true
	}
	return done
}

// Forget forgets the pairs of an entity. Of a pair without a track only the originator is
// known, by half of his hash. It returns how many there were.
func (d *Detector) Forget(e state.Entity) (n int) {
	for i, t := range d.tracks {
		switch {
		case t == nil:
		case t.concerns(&e):
			d.open = slices.DeleteFunc(d.open, func(o *track) bool { return o == t })
			d.drop(i)
			n++
		case e.Host.IsValid() && !e.IsPair():
			if t.forgetSamples(&e) {
				d.touch(t)
				n++
			}
		}
	}
	if !e.Host.IsValid() || e.IsPair() {
		return n
	}
	own := pairKey(state.Host{Addr: e.Host}.Hash(), 0) >> 32
	for i := range d.pairs.used {
		p := d.pairs.pair(i)
		if key := p.key; key != 0 && key>>32 == own && !p.tracked() {
			d.pairs.remove(i)
			if d.tracking {
				d.forgotten = append(d.forgotten, recordKey(state.KindPair, key))
			}
			n++
		}
	}
	return n
}

// forgetSamples takes out the records in which a host has a part: a resolver's, of a
// domain's.
func (t *track) forgetSamples(e *state.Entity) bool {
	var gone bool
	t.samples, gone = e.ForgetSamples(t.samples)
	if t.own != nil {
		var also bool
		t.own.samples, also = e.ForgetSamples(t.own.samples)
		gone = gone || also
	}
	return gone
}
