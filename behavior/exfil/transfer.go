package exfil

import (
	"tidewatch/behavior/volume"
	"tidewatch/event"
)

// transfer is what one record says of the bytes between a local host and an outside
// one. It points into the record.
type transfer struct {
	ev       *event.Event
	host     *event.Host // the local end
	far      *event.Host
	out, in  uint64 // payload from and to the local host
	pkts     uint64 // from the local host
	inbound  bool   // the far end opened the connection
	blind    bool   // the sensor did not see what came back
	disputed bool   // the sensor's counts of what was sent are in doubt
}

// transferOf reads a record. It is none of ours if no end, or both, are local.
func transferOf(ev *event.Event) (t transfer, ok bool) {
	if ev.Kind != event.KindConn || ev.Conn == nil || ev.Flags&(event.FlagJoined|event.FlagUnidirectional) != 0 {
		return t, false
	}
	t.ev, t.host, t.far = ev, &ev.Orig, &ev.Resp
	switch {
	case ev.Orig.Scope == event.ScopeLocal && ev.Resp.Scope == event.ScopeExternal:
	case ev.Resp.Scope == event.ScopeLocal && ev.Orig.Scope == event.ScopeExternal:
		t.host, t.far, t.inbound = t.far, t.host, true
	default:
		return t, false
	}
	out, in := volume.Sent(ev), volume.Received(ev)
	if t.inbound {
		out, in = in, out
	}
	t.out, t.in, t.pkts = out.Bytes, in.Bytes, out.Packets
	t.disputed = out.Clamped || out.Disputed
	t.blind = ev.Flags&event.FlagOneSided != 0 || ev.Proto == event.ProtoTCP && in.Unseen
	return t, true
}

// live is a connection of which a part is counted already.
type live struct {
	conn    uint64 // Event.ConnHash: two sensors may report one connection
	start   int64
	at      int64 // when it was last reported
	out, in uint64
	pkts    uint64
}

const (
	maxLive = 64
	// sameStart is how far apart two reports may date the start of a connection.
	sameStart = 3 * second
	// liveFor is how long a connection is waited for.
	liveFor = 2 * day
)

// count takes from a transfer what earlier reports on the same connection have said,
// and remembers what is counted now, if the connection goes on.
func (h *host) count(t *transfer) {
	snapshot := t.ev.Flags&event.FlagSnapshot != 0
	if !snapshot && len(h.live) == 0 {
		return
	}
	for i := range h.live {
		l := &h.live[i]
		if d := l.start - t.ev.Time; l.conn != t.ev.ConnHash || d > sameStart || d < -sameStart {
			continue
		}
		out, in, pkts := t.out, t.in, t.pkts
		t.out -= min(t.out, l.out)
		t.in -= min(t.in, l.in)
		t.pkts -= min(t.pkts, l.pkts)
		if snapshot {
			l.out, l.in, l.pkts, l.at = max(l.out, out), max(l.in, in), max(l.pkts, pkts), max(l.at, t.ev.End)
		} else {
			h.live[i] = h.live[len(h.live)-1]
			h.live = h.live[:len(h.live)-1]
		}
		return
	}
	if snapshot {
		h.addLive(live{t.ev.ConnHash, t.ev.Time, t.ev.End, t.out, t.in, t.pkts})
	}
}

// addLive remembers a connection, in the place of one whose end was never reported, or
// of the one that was silent longest if there are too many.
func (h *host) addLive(l live) {
	oldest := 0
	for i := range h.live {
		if h.live[i].at < h.live[oldest].at {
			oldest = i
		}
	}
	if len(h.live) < maxLive && (len(h.live) == 0 || h.live[oldest].at > l.at-liveFor) {
		h.live = append(h.live, l)
		return
	}
	h.live[oldest] = l
}
