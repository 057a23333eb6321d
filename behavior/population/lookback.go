package population

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"tidewatch/behavior/phrase"
	"tidewatch/behavior/state"
	"tidewatch/event"
)

// mostFaces is how many hosts a look back names.
const mostFaces = 20

// LookBack appends an observation of the detector lookback for each value that local
// hosts have dealt with, as far as that is remembered: addresses outside, names and the
// domains that they belong to, and fingerprints of TLS clients. It changes nothing.
func (p *Population) LookBack(values []event.Sought, dst []event.Observation) []event.Observation {
	names := map[uint64]string{} // that are sought, by their hash
	b := looker{p: p}
	for i := range values {
		switch v := &values[i]; v.Kind {
		case event.SoughtAddress:
			b.at(v.Value, p.outbound, keyed(event.HashAddr(v.Addr, 0, 0)))
			dst = b.tell(v, dst)
		case event.SoughtFingerprint:
			b.at(v.Value, p.clients, keyed(Hash(v.Value)^saltClient))
			dst = b.tell(v, dst)
		case event.SoughtName:
			names[Hash(v.Value)] = v.Value
		}
	}
	if len(names) == 0 {
		return dst
	}
	// A name that is remembered, and its domain, are below a sought one if one of their
	// ends is it.
	met := map[string]*looker{}
	for _, key := range p.names.keys() {
		n, _ := p.names.find(key)
		for from := 0; from >= 0; from = nextLabel(n.text, from) {
			sought := n.text[from:]
			if names[Hash(sought)] != sought {
				continue
			}
			l := met[sought]
			if l == nil {
				l = &looker{p: p}
				met[sought] = l
			}
			l.at(n.text, p.called, nameUse(key))
			if from >= int(n.domain) { // the whole domain is sought, or what is above it
				l.at(n.text[n.domain:], p.called, domainUse(n.domainHash))
			}
		}
	}
	for i := range values {
		if v := &values[i]; v.Kind == event.SoughtName && met[v.Value] != nil {
			dst = met[v.Value].tell(v, dst)
			delete(met, v.Value)
		}
	}
	return dst
}

// nextLabel returns where the next label of a name begins; -1 if there is none.
func nextLabel(s string, from int) int {
	for i := from; i < len(s); i++ {
		if s[i] == '.' && i+1 < len(s) {
			return i + 1
		}
	}
	return -1
}

// looker adds up who used one value.
type looker struct {
	p           *Population
	first, last int64 // Unix nanoseconds; last is a bucket's end
	ids         map[uint32]bool
	more        uint32 // hosts of a crowd, which are not known one by one
	examples    []string
}

// at adds the entry of a key, if there is one.
func (l *looker) at(what string, u *uses, key uint64) {
	add := func(first int64, last uint32) {
		if l.first == 0 || first < l.first {
			l.first = first
		}
		l.last = max(l.last, int64(last+bucketSecs)*1e9)
		if len(l.examples) < 4 && !slices.Contains(l.examples, what) {
			l.examples = append(l.examples, what)
		}
	}
	if l.ids == nil {
		l.ids = map[uint32]bool{}
	}
	if e, _ := u.wide.find(key); e != nil {
		add(e.first, e.last)
		l.more = max(l.more, u.hosts(e, uint16(e.last/daySecs)))
		for _, id := range e.hosts[:e.n] {
			l.ids[id] = true
		}
	} else if e, _ := u.light.find(key); e != nil && e.host != 0 {
		add(e.first, e.last)
		l.ids[e.host] = true
	}
}

// tell appends what was found, and begins anew.
func (l *looker) tell(v *event.Sought, dst []event.Observation) []event.Observation {
	defer func() { *l = looker{p: l.p} }()
	if l.first == 0 {
		return dst
	}
	hosts := max(uint32(len(l.ids)), l.more)
	faces := l.p.faces(l.ids)
	slices.Sort(l.examples)
	o := event.Observation{
		Detector: "lookback", Episode: state.EpisodeID('l', mix(Hash(v.Value)), l.first, 0), Time: l.last, Start: l.first, End: l.last,
		Subject: event.Subject{Type: "destination", Value: v.Value}, Direction: "outbound", Score: 0.8, Risk: 60,
		Hosts: l.examples, Related: faces,
	}
	who := phrase.Count(float64(hosts)) + " hosts"
	switch {
	case len(faces) == 1 && hosts == 1:
		o.Source = event.Endpoint{Addr: faces[0], Scope: event.ScopeLocal}
		who = faces[0].String()
	case hosts == 1:
		who = "a host"
	}
	switch v.Kind {
	case event.SoughtAddress:
		o.Destination = event.Endpoint{Addr: v.Addr, Scope: event.ScopeExternal}
	case event.SoughtName:
		o.Destination = event.Endpoint{Domain: v.Value, Scope: event.ScopeExternal}
	case event.SoughtFingerprint:
		key := "ja4"
		if len(v.Value) == 32 {
			key = "ja3"
		}
		o.Features = append(o.Features, event.Text(key, v.Value))
	}
	o.Reason = fmt.Sprintf("%s dealt with %s from %s to %s: it has been listed since", who, v.Value, phrase.At(l.first), phrase.At(l.last))
	o.Evidence = []event.Evidence{{Feature: "lookback.hosts", Observed: float64(hosts), Expected: 0, Unit: "hosts", Weight: 1, Text: who + " had to do with it before it was listed"}}
	o.Baseline = event.Baseline{Since: l.first, Text: "what is remembered of destinations, names and TLS clients"}
	o.Features = append(o.Features, event.Text("kind", v.Kind.String()), event.Text("value", v.Value), event.Number("hosts", float64(hosts)), event.List("examples", l.examples))
	return append(dst, o)
}

// faces returns the addresses of hosts, as far as they are known: the first of them.
func (p *Population) faces(ids map[uint32]bool) (all []netip.Addr) {
	for _, key := range p.hosts.keys() {
		if a, _ := p.hosts.find(key); ids[max(uint32(key), 1)] && a.addr != [16]byte{} {
			all = append(all, netip.AddrFrom16(a.addr).Unmap())
		}
	}
	slices.SortFunc(all, func(a, b netip.Addr) int { return cmp.Or(a.Compare(b)) })
	return all[:min(len(all), mostFaces)]
}
