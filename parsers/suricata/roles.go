package suricata

import "tidewatch/event"

// roles makes the client the originator. src_ip is the client in records of a flow
// or of a transaction, and the sender in records of a packet or a message; which of
// the two a record is differs by event_type and version.
func (p *Parser) roles() {
	ev := p.ev
	swap := p.clientIsDest()
	if swap {
		ev.Orig, ev.Resp = ev.Resp, ev.Orig
		swapColumns(&ev.Set, event.ColOrigAddr, event.ColRespAddr)
		swapColumns(&ev.Set, event.ColOrigPort, event.ColRespPort)
		if _, ok := event.ICMPCounterpart(ev.Proto, p.r.icmpType); p.r.hasICMP && ev.Proto.IsICMP() && !ok {
			// Type and code belong to the message; a type and its answer to the ends.
			ev.Orig.Port, ev.Resp.Port = ev.Resp.Port, ev.Orig.Port
		}
		if c := ev.Conn; c != nil {
			c.OrigMAC, c.RespMAC = c.RespMAC, c.OrigMAC
			swapColumns(&ev.Set, event.ConnOrigMAC, event.ConnRespMAC)
		}
	}
	if ev.Kind == event.KindFile {
		p.b.File(ev).FromOrig = !swap // the sender is src_ip
		ev.Set.Add(event.FileFromOrig)
	}
}

func swapColumns(set *event.Columns, a, b event.Column) {
	hasA, hasB := set.Has(a), set.Has(b)
	set.Remove(a)
	set.Remove(b)
	if hasA {
		set.Add(b)
	}
	if hasB {
		set.Add(a)
	}
}

// clientIsDest reports whether dest_ip is the client.
func (p *Parser) clientIsDest() bool {
	ev, r := p.ev, &p.r
	switch ev.Kind {
	case event.KindDNS:
		// Versions 1 and 2 give the flow's direction, 3 gives the packet's.
		return r.dnsVersion >= 3 && ev.DNS != nil && ev.DNS.Response
	case event.KindDHCP:
		return ev.Orig.Port == 67 && ev.Resp.Port == 68
	case event.KindAlert:
		return p.byFlow()
	case event.KindAnomaly, event.KindFile, event.KindNFS, event.KindSIP, event.KindKerberos, event.KindQUIC,
		event.KindRDP, event.KindMQTT, event.KindSNMP, event.KindIKE:
		switch {
		case r.toClient || r.toServer || r.flowSource:
			return p.byFlow()
		case ev.Kind == event.KindFile && (r.fileRead || r.fileWrite):
			return r.fileRead
		case ev.Kind != event.KindFile && (r.response || r.request):
			return r.response
		}
		return servicePort(ev.Orig.Port) && !servicePort(ev.Resp.Port)
	}
	return false
}

// byFlow decides by what the record says of its flow: the flow's own source, or the
// direction of the packet. Without either src_ip stays the originator.
func (p *Parser) byFlow() bool {
	ev, r := p.ev, &p.r
	if r.flowSource {
		switch src, dst := ev.Orig.Addr == r.flowAddr, ev.Resp.Addr == r.flowAddr; {
		case src && dst: // a host that talks to itself
			return ev.Orig.Port != r.flowPort && ev.Resp.Port == r.flowPort
		case src || dst:
			return dst
		}
	}
	return r.toClient
}

// servicePort reports whether servers of the protocols above listen on a port. It
// only decides where a record says nothing of its direction.
func servicePort(port uint16) bool {
	switch port {
	case 0:
		return false
	case 1433, 1521, 1883, 2049, 3306, 3389, 5060, 5061, 5432, 5900, 8000, 8008, 8080, 8081, 8443, 8883:
		return true
	}
	return port < 1024
}
