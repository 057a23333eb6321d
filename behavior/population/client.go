package population

import "tidewatch/event"

// fingerprint is what the sensor calls the way in which a TLS client introduces
// itself: JA4, or where it has none JA3, which clients that shuffle their extensions
// change each time.
func fingerprint(t *event.TLS) string {
	if t.JA4 != "" {
		return t.JA4
	}
	return t.JA3
}

// client fills in how many hosts have the record's TLS client. What clients say of
// themselves has a table of its own: whoever makes up fingerprints displaces other
// fingerprints that one host alone has.
func (p *Population) client(ev *event.Event, k *event.Known) {
	text := fingerprint(ev.TLS)
	if text == "" || ev.Orig.Scope != event.ScopeLocal {
		return
	}
	at, host := momentOf(ev.Time), max(uint32(ev.Orig.Hash), 1)
	key := keyed(Hash(text) ^ saltClient)
	if ev.Flags&(event.FlagJoined|event.FlagSnapshot|event.FlagUnidirectional) != 0 {
		k.Client = withHost(p.clients.look(key, at.day), host)
		return
	}
	k.Client = p.clients.count(key, host, at)
}
