package population

import (
	"tidewatch/event"
)

const (
	hourSecs = 60 * 60
	// A name is remembered for an address as long as the answer may be kept, but not
	// less than minLife and not more than maxLife.
	minLife, maxLife = hourSecs, daySecs
	// maxAnswers is how many answers of one DNS record are remembered.
	maxAnswers = 32
)

// link is the name of a session, or the name by which a host knows an address.
type link struct {
	name  uint64 // key in names
	at    uint32 // when it was said: a bucket of Unix seconds
	until uint32 // when it is forgotten, likewise
}

func linkWorth(l *link, _ uint32) uint64 { return uint64(l.until) }

// Salts keep the keys of one kind from meeting those of another.
const (
	saltSession  = 0x9e3779b97f4a7c15
	saltAddress  = 0xc2b2ae3d27d4eb4f
	saltName     = 0x165667b19e3779f9
	saltDomain   = 0x27d4eb2f165667c5
	saltSuricata = 0x85ebca77c2b2ae63
	saltClient   = 0x2545f4914f6cdd1d
	saltIntake   = 0x9fb21c651e98df25
)

// nameUse and domainUse are the keys in called of a name and of a domain.
func nameUse(name uint64) uint64     { return keyed(name ^ saltName) }
func domainUse(domain uint64) uint64 { return keyed(domain ^ saltDomain) }

// sessionKey is the key of a connection as one sensor knows it.
func sessionKey(ev *event.Event) uint64 {
	h := Hash(ev.UID) ^ saltSession
	if ev.Sensor == event.SensorSuricata {
		h ^= saltSuricata
	}
	return keyed(mix(h))
}

// addressKey is the key of an address as one host knows it.
func addressKey(host, addr uint64) uint64 { return keyed(mix(mix(host+saltAddress) ^ addr)) }

// say notes in t that key is called name, for so many seconds. What was said later
// counts, whichever record came first.
func say(t *table[link], key, name uint64, at moment, life uint32) {
	l, r := t.find(key)
	until := at.bucket + life + bucketSecs
	switch {
	case l == nil:
		*t.insert(key, at.secs) = link{name, at.bucket, until}
		return
	case l.name == name:
		if at.bucket <= l.at && until <= l.until {
			return
		}
		l.at, l.until = max(l.at, at.bucket), max(l.until, until)
	case at.bucket >= l.at || at.secs > l.until:
		*l = link{name, at.bucket, until}
	default:
		return
	}
	t.touch(r)
}

// learn remembers the name of a record for its session and, unless it went to a
// proxy, for the address.
func (p *Population) learn(v *sight, key uint64) {
	if v.session != 0 {
		say(&p.sessions, v.session, key, v.at, maxLife)
	}
	if !proxied(v.ev) {
		say(&p.addresses, v.address, key, v.at, maxLife)
	}
}

// proxied reports whether a request names a host that its responder is not.
func proxied(ev *event.Event) bool {
	h := ev.HTTP
	return ev.Kind == event.KindHTTP && (h.Method == "CONNECT" || len(h.Proxied) > 0 ||
		len(h.URI) > 0 && h.URI[0] != '/' && h.URI[0] != '*')
}

// learnAnswers remembers, for the host that asked, which addresses it was given for
// the name. It reports whether there are any.
func (p *Population) learnAnswers(v *sight, key uint64) (held bool) {
	for _, a := range p.answers[v.from:v.to] {
		say(&p.addresses, a.key, key, v.at, a.life)
	}
	return v.from < v.to
}

// remembered returns the name that earlier records gave to the record's session, or
// to the address for its originator.
func (p *Population) remembered(v *sight) (*name, uint64, event.NameSource) {
	at := v.at
	if v.session != 0 {
		if l, r := p.sessions.find(v.session); l != nil {
			key, ev := l.name, v.ev
			if ev.Kind == event.KindConn && ev.Flags&(event.FlagSnapshot|event.FlagUnidirectional) == 0 {
				p.sessions.remove(r) // the connection is over
			}
			if n := p.recall(key, at); n != nil {
				return n, key, event.NameSession
			}
		}
	}
	l, r := p.addresses.find(v.address)
	if l == nil || at.secs > l.until {
		return nil, 0, event.NameNone
	}
	n := p.recall(l.name, at)
	if n == nil {
		return nil, 0, event.NameNone
	}
	// A host that goes on talking to an address goes on talking to the name.
	if until := at.bucket + minLife + bucketSecs; until > l.until {
		l.until = until
		p.addresses.touch(r)
	}
	return n, l.name, event.NameResolved
}

// recall returns the name with a key, unless it is forgotten.
func (p *Population) recall(key uint64, at moment) *name {
	n, r := p.names.find(key)
	if n != nil {
		p.seen(n, r, at)
	}
	return n
}
