package beacon

import (
	"tidewatch/event"
)

// Expect reads the pairs and tracks that the records will be counted for. There are so
// many that no cache holds them: asked for one after the other each is waited for, and
// together the processor gets several at once. It changes nothing, and what it leaves out is
// only slower.
func (d *Detector) Expect(evs []*event.Event) {
	keys, sum := d.expected[:0], uint64(0)
	for _, ev := range evs {
		k := ev.Far()
		switch ev.Kind {
		case event.KindConn:
			keys = append(keys, mainKey(ev))
			if k.NameHash != 0 {
				keys = append(keys, queryKey(ev))
			}
		case event.KindHTTP, event.KindTLS, event.KindQUIC:
			keys = append(keys, mainKey(ev))
		case event.KindDNS:
			keys = append(keys, queryKey(ev))
		}
	}
	d.expected = keys
	for _, key := range keys {
		b, _ := d.pairs.place(key)
		sum += uint64(b.tags[0]) + uint64(b.at[bucketSize-1])
	}
	tracks := keys[:0] // they take the keys' place
	for _, key := range keys {
		if at := d.pairs.find(key); at >= 0 && d.pairs.pair(at).tracked() {
			tracks = append(tracks, uint64(d.pairs.pair(at).track()))
		}
	}
	for _, i := range tracks {
		sum += d.tracks[i].near()
	}
	d.read = sum
}

// mainKey is the pair that a call counts for first.
func mainKey(ev *event.Event) uint64 {
	if key := nameKey(ev); key != 0 {
		return key
	}
	return serviceKey(ev)
}

// near reads most lines of the cache that a record of the pair changes.
func (t *track) near() uint64 {
	return t.Near() + t.key + uint64(t.last.port) + uint64(t.last.hosts) + uint64(t.conns) + uint64(t.positive)
}
