package suricata

import (
	"tidewatch/event"
	"tidewatch/parsers/scan"
)

// flow reads flow{} of a flow record or an alert, or netflow{}, which counts one half
// and names its counts otherwise.
func (p *Parser) flow(half bool) {
	s, ev, r := &p.s, p.ev, &p.r
	c := p.b.Conn(ev)
	for k := p.next(inFlow, p.headFlow(c)); k != scan.End; k = p.next(inFlow, k) {
		switch k {
		case keyPktsToserver:
			p.uint(&c.OrigPkts, event.ConnOrigPkts)
		case keyPkts:
			if half {
				p.uint(&c.OrigPkts, event.ConnOrigPkts)
			}
		case keyPktsToclient:
			p.uint(&c.RespPkts, event.ConnRespPkts)
		case keyBytesToserver:
			p.uint(&c.OrigIPBytes, event.ConnOrigIPBytes)
		case keyBytes:
			if half {
				p.uint(&c.OrigIPBytes, event.ConnOrigIPBytes)
			}
		case keyBytesToclient:
			p.uint(&c.RespIPBytes, event.ConnRespIPBytes)
		case keyStart:
			r.hasStart = p.time(&r.start) || r.hasStart
		case keyEnd:
			r.hasEnd = p.time(&r.end) || r.hasEnd
		case keyState:
			p.text(&c.FlowState, event.ConnFlowState)
		case keyReason:
			p.text(&c.Reason, event.ConnReason)
		case keyAlerted:
			p.bool(&c.Alerted, event.ConnAlerted)
		case keySrcIP:
			if s.Kind() == scan.String {
				r.flowAddr, r.flowSource = p.addrs.Addr(s.Bytes(p.b))
			}
		case keySrcPort:
			if v, ok := p.number(); ok {
				r.flowPort = uint16(v)
			}
		}
	}
}

// tcp reads the TCP flags seen in each direction.
func (p *Parser) tcp() {
	c := p.b.Conn(p.ev)
	for k := p.enter(inTCP); k != scan.End; k = p.next(inTCP, k) {
		switch k {
		case keyTCPFlagsTS:
			p.r.hasFlags = p.hex8(&c.OrigFlags, event.ConnOrigFlags) || p.r.hasFlags
		case keyTCPFlagsTC:
			p.hex8(&c.RespFlags, event.ConnRespFlags)
		case keyTCPFlags:
			if p.r.netflow {
				p.hex8(&c.OrigFlags, event.ConnOrigFlags)
			}
		}
	}
}

// ether reads the MAC addresses. Of a flow that had several the first counts.
func (p *Parser) ether() {
	c := p.b.Conn(p.ev)
	for k := p.enter(inEther); k != scan.End; k = p.next(inEther, k) {
		switch k {
		case keySrcMAC, keySrcMacs:
			p.first(&c.OrigMAC, event.ConnOrigMAC)
		case keyDestMAC, keyDestMacs:
			p.first(&c.RespMAC, event.ConnRespMAC)
		}
	}
}

// service is what Suricata took the traffic for; "failed" says that it does not know.
func (p *Parser) service(c *event.Conn) {
	if p.r.appProto != "" && p.r.appProto != "failed" {
		c.Service = p.r.appProto
		p.ev.Set.Add(event.ConnService)
	}
}

// finishConn completes a flow or netflow record. Its timestamp is when it was
// written, up to ten minutes after its last packet.
func (p *Parser) finishConn() {
	ev, r := p.ev, &p.r
	c := p.b.Conn(ev)
	if r.hasStart {
		ev.Time, ev.End = r.start, r.start
		if r.hasEnd && r.end >= r.start {
			ev.End = r.end
			c.Duration = r.end - r.start
			ev.Set.Add(event.ConnDuration)
		}
	}
	p.service(c)
	if r.netflow {
		ev.Flags |= event.FlagUnidirectional
		return
	}
	switch {
	case ev.Proto == event.ProtoTCP && r.hasFlags:
		tcpState(ev, c)
	case ev.Proto == event.ProtoTCP:
		stateOnly(ev, c)
	case ev.Proto == event.ProtoUDP || ev.Proto == event.ProtoSCTP:
		c.State, ev.Outcome = event.StateS0, event.OutcomeSilent
		if c.RespPkts > 0 {
			c.State, ev.Outcome = event.StateSF, event.OutcomeAnswered
		}
	default:
		c.State = event.StateOTH
		echo := ev.Proto == event.ProtoICMP && ev.Orig.Port == 8 || ev.Proto == event.ProtoICMPv6 && ev.Orig.Port == 128
		switch {
		case !echo || !r.hasICMP: // nothing asks for an answer
		case c.RespPkts > 0:
			ev.Outcome = event.OutcomeAnswered
		default:
			ev.Outcome = event.OutcomeSilent
		}
	}
	ev.Set.Add(event.ConnState)
}

// TCP flags, as in the header.
const (
	fin = 0x01
	syn = 0x02
	rst = 0x04
	psh = 0x08
	ack = 0x10
)

// tcpState derives Zeek's state and the outcome from the unions of flags in both
// directions. A union does not tell in what order packets came, so some cases stay
// unknown on purpose: a SYN with an ACK and no packet back may be half of a
// connection, or the SYN-ACK of backscatter.
func tcpState(ev *event.Event, c *event.Conn) {
	orig, resp := c.OrigFlags, c.RespFlags
	replied := c.RespPkts > 0 || resp != 0
	switch {
	case orig&syn == 0:
		c.State = noSYN(orig, resp)
	case !replied && orig&ack != 0:
		c.State = event.StateOTH
		ev.Flags |= event.FlagOneSided
	case !replied:
		ev.Outcome = event.OutcomeSilent
		c.State = event.StateS0
		switch {
		case orig&rst != 0:
			c.State = event.StateRSTOS0
		case orig&fin != 0:
			c.State = event.StateSH
		}
	case resp&syn == 0 && resp&rst != 0 && resp&(psh|fin) == 0:
		ev.Outcome, c.State = event.OutcomeRejected, event.StateREJ
	case resp&(syn|psh|fin) != 0 || c.FlowState == "established" || c.FlowState == "closed":
		ev.Outcome, c.State = event.OutcomeAnswered, ended(orig, resp)
	default:
		c.State = event.StateOTH
	}
}

// noSYN is the state of a flow whose originator, as far as Suricata saw, did not ask
// for a connection.
func noSYN(orig, resp uint8) event.State {
	switch {
	case resp&syn == 0 || orig != 0:
		return event.StateOTH
	case resp&rst != 0:
		return event.StateRSTRH
	case resp&fin != 0:
		return event.StateSHR
	}
	return event.StateOTH
}

// ended is the state of a connection that was established.
func ended(orig, resp uint8) event.State {
	switch {
	case orig&resp&fin != 0:
		return event.StateSF
	case orig&rst != 0:
		return event.StateRSTO
	case resp&rst != 0:
		return event.StateRSTR
	case orig&fin != 0:
		return event.StateS2
	case resp&fin != 0:
		return event.StateS3
	}
	return event.StateS1
}

// stateOnly judges a TCP flow without flags by what Suricata says of it.
func stateOnly(ev *event.Event, c *event.Conn) {
	c.State = event.StateOTH
	switch {
	case c.FlowState == "established":
		ev.Outcome, c.State = event.OutcomeAnswered, event.StateS1
	case c.FlowState == "closed" && c.RespPkts > 0:
		ev.Outcome, c.State = event.OutcomeAnswered, event.StateSF
	}
}
