package suricata

import (
	"net/netip"

	"tidewatch/event"
	"tidewatch/parsers/scan"
)

// timeLen is the length of a time as Suricata writes it.
const timeLen = len("2006-01-02T15:04:05.999999+0000")

// head reads the members that nearly all records begin with, as far as they stand in line
// in the order and in the form that Suricata gives them: half of a record is its head,
// and the walk takes twice as long for it. It returns where the last member that it took
// ends, 0 if it took none, and the number of the last key that it acted on. It takes only
// what is valid and decides nothing on the rest: the walk goes on from there.
func (p *Parser) head(line []byte) (at, key int) {
	i := after(line, 0, `{"timestamp":"`)
	if i == 0 || len(line)-i <= timeLen || line[i+timeLen] != '"' {
		return 0, 0
	}
	ev := p.ev
	ns, ok := p.clock.ISO(line[i : i+timeLen])
	if !ok {
		return 0, 0
	}
	ev.Written = ns
	ev.Set.Add(event.ColWritten)
	at, key = i+timeLen+1, keyTimestamp

	if i := after(line, at, `,"flow_id":`); i > 0 {
		if end := scan.PlainNumber(line, i); end > 0 && end-i < 20 { // below 2^64
			ev.UID = event.String(line[i:end])
			ev.Set.Add(event.ColUID)
			at, key = end, keyFlowID
		}
	}
	if i := after(line, at, `,"in_iface":"`); i > 0 {
		if end := scan.PlainString(line, i); end > 0 {
			at = end + 1
		}
	}
	if i := after(line, at, `,"pcap_cnt":`); i > 0 {
		if end := scan.PlainNumber(line, i); end > 0 {
			at = end
		}
	}
	if i := after(line, at, `,"event_type":"`); i > 0 {
		if end := scan.PlainString(line, i); end > 0 && p.known(line[i:end]) {
			return p.headEnds(line, end+1)
		}
	}
	return at, key
}

// headEnds is head behind event_type: between whom the record is.
func (p *Parser) headEnds(line []byte, from int) (at, key int) {
	ev := p.ev
	at, key = from, keyEventType
	if i := after(line, at, `,"src_ip":"`); i > 0 {
		if end := p.headAddr(line, i, &ev.Orig.Addr, event.ColOrigAddr); end > 0 {
			at, key = end, keySrcIP
		}
	}
	if i := after(line, at, `,"src_port":`); i > 0 {
		if end := p.headPort(line, i, &ev.Orig.Port, event.ColOrigPort); end > 0 {
			at, key = end, keySrcPort
		}
	}
	if i := after(line, at, `,"dest_ip":"`); i > 0 {
		if end := p.headAddr(line, i, &ev.Resp.Addr, event.ColRespAddr); end > 0 {
			at, key = end, keyDestIP
		}
	}
	if i := after(line, at, `,"dest_port":`); i > 0 {
		if end := p.headPort(line, i, &ev.Resp.Port, event.ColRespPort); end > 0 {
			at, key = end, keyDestPort
		}
	}
	if i := after(line, at, `,"proto":"`); i > 0 {
		if end := scan.PlainString(line, i); end > 0 {
			p.proto(line[i:end])
			at, key = end+1, keyProto
		}
	}
	if i := after(line, at, `,"pkt_src":"`); i > 0 {
		if end := scan.PlainString(line, i); end > 0 {
			at = end + 1
		}
	}
	if i := after(line, at, `,"community_id":"`); i > 0 {
		if end := scan.PlainString(line, i); end > 0 {
			ev.CommunityID = event.String(line[i:end])
			ev.Set.Add(event.ColCommunityID)
			at, key = end+1, keyCommunityID
		}
	}
	return at, key
}

// headFlow goes into a flow object and reads its first members as head does. It returns the
// number of the last key that it acted on, 0 if there is none.
func (p *Parser) headFlow(c *event.Conn) (key int) {
	line, from := p.s.Open()
	at := 0
	if i := after(line, from, `"pkts_toserver":`); i > 0 {
		if end := p.headUint(line, i, &c.OrigPkts, event.ConnOrigPkts); end > 0 {
			at, key = end, keyPktsToserver
		}
	}
	if at == 0 {
		return scan.End
	}
	if i := after(line, at, `,"pkts_toclient":`); i > 0 {
		if end := p.headUint(line, i, &c.RespPkts, event.ConnRespPkts); end > 0 {
			at, key = end, keyPktsToclient
		}
	}
	if i := after(line, at, `,"bytes_toserver":`); i > 0 {
		if end := p.headUint(line, i, &c.OrigIPBytes, event.ConnOrigIPBytes); end > 0 {
			at, key = end, keyBytesToserver
		}
	}
	if i := after(line, at, `,"bytes_toclient":`); i > 0 {
		if end := p.headUint(line, i, &c.RespIPBytes, event.ConnRespIPBytes); end > 0 {
			at, key = end, keyBytesToclient
		}
	}
	if i := after(line, at, `,"start":"`); i > 0 {
		if end := p.headTime(line, i, &p.r.start); end > 0 {
			at, key, p.r.hasStart = end, keyStart, true
		}
	}
	if i := after(line, at, `,"end":"`); i > 0 {
		if end := p.headTime(line, i, &p.r.end); end > 0 {
			at, key, p.r.hasEnd = end, keyEnd, true
		}
	}
	if i := after(line, at, `,"age":`); i > 0 {
		if end := scan.PlainNumber(line, i); end > 0 {
			at = end
		}
	}
	if i := after(line, at, `,"state":"`); i > 0 {
		if end := p.headText(line, i, &c.FlowState, event.ConnFlowState); end > 0 {
			at, key = end, keyState
		}
	}
	if i := after(line, at, `,"reason":"`); i > 0 {
		if end := p.headText(line, i, &c.Reason, event.ConnReason); end > 0 {
			at, key = end, keyReason
		}
	}
	p.s.Continue(at)
	return key
}

// after returns where text ends if it stands in line at i, else 0.
func after(line []byte, i int, text string) int {
	if len(line)-i < len(text) || string(line[i:i+len(text)]) != text {
		return 0
	}
	return i + len(text)
}

// headAddr reads the address behind the quote before i. It returns where the member ends,
// -1 if there is something else.
func (p *Parser) headAddr(line []byte, i int, dst *netip.Addr, c event.Column) int {
	end := scan.PlainString(line, i)
	if end < 0 {
		return -1
	}
	a, ok := p.addrs.Addr(line[i:end])
	if !ok {
		return -1
	}
	*dst = a
	p.ev.Set.Add(c)
	return end + 1
}

// headText is headAddr for a text.
func (p *Parser) headText(line []byte, i int, dst *string, c event.Column) int {
	end := scan.PlainString(line, i)
	if end < 0 {
		return -1
	}
	*dst = event.String(line[i:end])
	p.ev.Set.Add(c)
	return end + 1
}

// headTime is headAddr for a time as Suricata writes it.
func (p *Parser) headTime(line []byte, i int, dst *int64) int {
	if len(line)-i <= timeLen || line[i+timeLen] != '"' {
		return -1
	}
	ns, ok := p.clock.ISO(line[i : i+timeLen])
	if !ok {
		return -1
	}
	*dst = ns
	return i + timeLen + 1
}

// headUint is headAddr for a number.
func (p *Parser) headUint(line []byte, i int, dst *uint64, c event.Column) int {
	end := scan.PlainNumber(line, i)
	if end < 0 {
		return -1
	}
	v, ok := scan.Uint(line[i:end])
	if !ok {
		return -1
	}
	*dst = v
	p.ev.Set.Add(c)
	return end
}

// headPort is headAddr for a port.
func (p *Parser) headPort(line []byte, i int, dst *uint16, c event.Column) int {
	end := scan.PlainNumber(line, i)
	if end < 0 {
		return -1
	}
	v, ok := scan.Uint(line[i:end])
	if !ok || v >= 1<<16 {
		return -1
	}
	*dst = uint16(v)
	p.ev.Set.Add(c)
	return end
}
