package zeek

import (
	"math"

	"tidewatch/event"
	"tidewatch/parsers"
)

// start readies r for a record whose columns are those of set, or fewer.
func (r *reader) start(b *event.Batch, ev *event.Event, line []byte, s stream, set *event.Columns) {
	ev.Set = *set
	r.b, r.line, r.set = b, line, &ev.Set
	r.bad, r.timed = nil, false
	ev.Sensor, ev.Kind, ev.Flags = event.SensorZeek, s.kind, s.flags
}

// finish derives what the record does not say itself, and returns why it is
// refused, if it is.
func (r *reader) finish(ev *event.Event) error {
	if r.bad != nil {
		return r.bad
	}
	if !r.timed {
		return parsers.ReasonNoTime
	}
	if ev.Proto == event.ProtoICMP && ev.Orig.Addr.Is6() { // Zeek calls both icmp
		ev.Proto = event.ProtoICMPv6
	}
	var took int64
	switch ev.Kind {
	case event.KindConn:
		took = ev.Conn.Duration
		judge(ev)
	case event.KindDNS:
		took = ev.DNS.RTT
	case event.KindTLS:
		ev.Proto = tlsProto(ev.TLS)
	case event.KindHTTP, event.KindSSH, event.KindRDP, event.KindSMB:
		if ev.Proto == 0 {
			ev.Proto = event.ProtoTCP // Zeek has these analyzers on TCP only
		}
	case event.KindFile:
		took = ev.File.Duration
		r.fileHosts(ev)
	case event.KindDHCP:
		took = ev.DHCP.Duration
		dhcpHosts(ev)
	}
	ev.End = ev.Time
	if took > 0 && took <= math.MaxInt64-max(ev.Time, 0) {
		ev.End += took
	}
	if !ev.Has(event.ColWritten) {
		ev.Written = ev.End
	}
	return nil
}

// tlsProto returns what carried the handshake, 0 if the log does not say. QUIC
// sessions are in ssl.log too, and look like TLS if they have no ALPN.
func tlsProto(d *event.TLS) event.Proto {
	switch {
	case len(d.Version) > 4 && d.Version[:4] == "DTLS":
		return event.ProtoUDP
	case len(d.NextProtocol) > 1 && d.NextProtocol[:2] == "h3":
		return event.ProtoUDP
	case d.NextProtocol == "h2" || d.NextProtocol == "http/1.1":
		return event.ProtoTCP
	}
	return 0
}

// fileHosts gives a file of an old log its connection's ends.
func (r *reader) fileHosts(ev *event.Event) {
	if !ev.Has(event.ColOrigAddr) && r.tx.IsValid() && r.rx.IsValid() {
		orig, resp := r.rx, r.tx
		if ev.File.FromOrig {
			orig, resp = resp, orig
		}
		ev.Orig.Addr, ev.Resp.Addr = orig, resp
		ev.Set.Add(event.ColOrigAddr)
		ev.Set.Add(event.ColRespAddr)
	}
}

// dhcpHosts takes the client for the originator.
func dhcpHosts(ev *event.Event) {
	if !ev.Has(event.ColOrigAddr) && ev.DHCP.ClientAddr.IsValid() {
		ev.Orig.Addr = ev.DHCP.ClientAddr
		ev.Set.Add(event.ColOrigAddr)
	}
	if !ev.Has(event.ColRespAddr) && ev.DHCP.ServerAddr.IsValid() {
		ev.Resp.Addr = ev.DHCP.ServerAddr
		ev.Set.Add(event.ColRespAddr)
	}
}

// judge sets the outcome of a connection.
func judge(ev *event.Event) {
	d := ev.Conn
	switch {
	case ev.Proto == event.ProtoTCP:
		if oneSided(ev) {
			ev.Flags |= event.FlagOneSided
			return
		}
		ev.Outcome = tcpOutcomes[d.State]
	case ev.Proto.IsICMP():
		// Only an echo request asks for an answer.
		echo := ev.Proto == event.ProtoICMP && ev.Orig.Port == 8 || ev.Proto == event.ProtoICMPv6 && ev.Orig.Port == 128
		switch {
		case !echo || !ev.Has(event.ConnRespPkts):
		case d.RespPkts > 0:
			ev.Outcome = event.OutcomeAnswered
		default:
			ev.Outcome = event.OutcomeSilent
		}
	default:
		switch d.State {
		case event.StateSF, event.StateSHR, event.StateS1:
			ev.Outcome = event.OutcomeAnswered
		case event.StateS0:
			ev.Outcome = event.OutcomeSilent
		}
	}
}

var tcpOutcomes = [...]event.Outcome{
	event.StateUnset:  event.OutcomeUnknown,
	event.StateSF:     event.OutcomeAnswered,
	event.StateS1:     event.OutcomeAnswered,
	event.StateS2:     event.OutcomeAnswered,
	event.StateS3:     event.OutcomeAnswered,
	event.StateRSTO:   event.OutcomeAnswered,
	event.StateRSTR:   event.OutcomeAnswered,
	event.StateREJ:    event.OutcomeRejected,
	event.StateS0:     event.OutcomeSilent,
	event.StateSH:     event.OutcomeSilent,
	event.StateRSTOS0: event.OutcomeSilent,
	event.StateRSTRH:  event.OutcomeUnknown, // the answer to a SYN that nobody saw: backscatter
	event.StateSHR:    event.OutcomeUnknown,
	event.StateOTH:    event.OutcomeUnknown,
}

// oneSided reports whether the sensor did not see the originator's packets: Zeek
// turned the connection round (^), or counts none and no SYN of the originator.
func oneSided(ev *event.Event) bool {
	h := ev.Conn.History
	if len(h) > 0 && h[0] == '^' {
		return true
	}
	if !ev.Has(event.ConnOrigPkts) || ev.Conn.OrigPkts > 0 || !ev.Has(event.ConnHistory) {
		return false
	}
	for i := range len(h) {
		if h[i] == 'S' {
			return false
		}
	}
	return true
}
