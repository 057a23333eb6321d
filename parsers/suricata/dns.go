package suricata

import (
	"tidewatch/event"
	"tidewatch/parsers/scan"
)

// dns reads a dns object of version 1, 2 or 3, also as alerts have them: version 2
// there puts the messages into query[] and answer{}.
func (p *Parser) dns() {
	s, ev := &p.s, p.ev
	d := p.b.DNS(ev)
	p.list, p.ttls = p.list[:0], p.ttls[:0]
	for s.Enter(); s.Next(); {
		switch string(s.Key()) {
		case "queries", "query":
			if s.Kind() != scan.Array {
				continue
			}
			for s.Enter(); s.Next(); {
				if s.Kind() == scan.Object {
					for s.Enter(); s.Next(); {
						p.dnsMember(d)
					}
				}
			}
		case "answer":
			if s.Kind() == scan.Object {
				for s.Enter(); s.Next(); {
					p.dnsMember(d)
				}
			}
		default:
			p.dnsMember(d)
		}
	}
	if len(p.list) > 0 {
		p.keep(&d.Answers, event.DNSAnswers)
		if len(p.ttls) == len(d.Answers) {
			d.TTLs = append(p.b.TTLs(len(p.ttls)), p.ttls...)
			ev.Set.Add(event.DNSTTLs)
		}
	}
}

// dnsMember reads one member of a message.
func (p *Parser) dnsMember(d *event.DNS) {
	s, ev := &p.s, p.ev
	switch string(s.Key()) {
	case "version":
		p.uint8(&p.r.dnsVersion)
	case "type":
		p.dnsType(d)
	case "id":
		p.uint16(&d.TransID, event.DNSTransID)
	case "tx_id":
		p.uint(&ev.TxID, event.ColTxID)
	case "rrname":
		p.text(&d.Query, event.DNSQuery)
	case "rrtype":
		p.text(&d.QTypeName, event.DNSQTypeName)
		if n, ok := rrType(d.QTypeName); ok {
			d.QType = n
			ev.Set.Add(event.DNSQType)
		}
	case "rcode":
		p.text(&d.RCodeName, event.DNSRCodeName)
		if n, ok := rCode(d.RCodeName); ok {
			d.RCode = n
			ev.Set.Add(event.DNSRCode)
		}
	case "flags":
		p.dnsFlags(d)
	case "aa":
		p.bool(&d.AA, event.DNSAA)
	case "tc":
		p.bool(&d.TC, event.DNSTC)
	case "rd":
		p.bool(&d.RD, event.DNSRD)
	case "ra":
		p.bool(&d.RA, event.DNSRA)
	case "opcode":
		p.uint16(&d.Opcode, event.DNSOpcode)
	case "rdata", "ttl":
		p.answerMember() // version 1 has one event an answer
	case "answers":
		p.answers()
	case "grouped":
		p.grouped()
	}
}

func (p *Parser) dnsType(d *event.DNS) {
	if p.s.Kind() != scan.String {
		return
	}
	switch string(p.s.Raw()) {
	case "answer", "response":
		d.Response = true
	case "query", "request":
		d.Response = false
	default:
		return
	}
	p.ev.Set.Add(event.DNSResponse)
}

// dnsFlags reads the second word of the DNS header (RFC 1035, 4.1.1), four hex digits
// without leading zeros. Only there are the bits that are 0.
func (p *Parser) dnsFlags(d *event.DNS) {
	raw := p.s.Raw()
	if p.s.Kind() != scan.String || len(raw) == 0 || len(raw) > 4 {
		return
	}
	padded := [4]byte{'0', '0', '0', '0'}
	copy(padded[4-len(raw):], raw)
	hi, ok1 := scan.Hex(padded[0], padded[1])
	lo, ok2 := scan.Hex(padded[2], padded[3])
	if !ok1 || !ok2 {
		return
	}
	d.AA, d.TC, d.RD, d.RA = hi&4 != 0, hi&2 != 0, hi&1 != 0, lo&0x80 != 0
	d.Z = uint16(lo >> 4 & 7)
	set := &p.ev.Set
	set.Add(event.DNSAA)
	set.Add(event.DNSTC)
	set.Add(event.DNSRD)
	set.Add(event.DNSRA)
	set.Add(event.DNSZ)
}

// answers reads the resource records of the answer section.
func (p *Parser) answers() {
	s := &p.s
	if s.Kind() != scan.Array {
		return
	}
	p.r.answers = true
	p.list, p.ttls = p.list[:0], p.ttls[:0]
	for s.Enter(); s.Next(); {
		if s.Kind() != scan.Object {
			continue
		}
		n, t := len(p.list), len(p.ttls)
		for s.Enter(); s.Next(); {
			p.answerMember()
		}
		// One element each, whatever the record had.
		if len(p.list) == n {
			p.list = append(p.list, "")
		}
		p.list = p.list[:n+1]
		if len(p.ttls) > t {
			p.ttls = p.ttls[:t+1]
		}
	}
}

// answerMember reads the data of a resource record: of the types that have more than
// one field the one that Zeek logs too.
func (p *Parser) answerMember() {
	s := &p.s
	name := ""
	switch string(s.Key()) {
	case "ttl":
		if v, ok := p.number(); ok && v < 1<<32 {
			p.ttls = append(p.ttls, uint32(v))
		}
		return
	case "rdata":
		if s.Kind() == scan.String {
			p.list = append(p.list, s.Text(p.b))
		}
		return
	case "srv":
		name = "name"
	case "soa":
		name = "mname"
	case "sshfp":
		name = "fingerprint"
	default:
		return
	}
	p.innerList(name)
}

// innerList appends a text of the object at hand to the list.
func (p *Parser) innerList(name string) {
	s := &p.s
	if s.Kind() != scan.Object {
		return
	}
	for s.Enter(); s.Next(); {
		if string(s.Key()) == name && s.Kind() == scan.String {
			p.list = append(p.list, s.Text(p.b))
		}
	}
}

// grouped reads the short form of the answers: lists of data by record type. It is
// for logs that have no other form.
func (p *Parser) grouped() {
	s := &p.s
	if p.r.answers || s.Kind() != scan.Object {
		return
	}
	for s.Enter(); s.Next(); {
		if s.Kind() != scan.Array {
			continue
		}
		name := ""
		switch string(s.Key()) {
		case "SRV":
			name = "name"
		case "SOA":
			name = "mname"
		case "SSHFP":
			name = "fingerprint"
		}
		for s.Enter(); s.Next(); {
			if s.Kind() == scan.String {
				p.list = append(p.list, s.Text(p.b))
			} else if name != "" {
				p.innerList(name)
			}
		}
	}
}

// rCode returns the number of a response code's name (RFC 6895, section 2.3).
func rCode(name string) (uint16, bool) {
	switch name {
	case "NOERROR":
		return 0, true
	case "FORMERR":
		return 1, true
	case "SERVFAIL":
		return 2, true
	case "NXDOMAIN":
		return 3, true
	case "NOTIMP":
		return 4, true
	case "REFUSED":
		return 5, true
	case "YXDOMAIN":
		return 6, true
	case "YXRRSET":
		return 7, true
	case "NXRRSET":
		return 8, true
	case "NOTAUTH":
		return 9, true
	case "NOTZONE":
		return 10, true
	}
	return 0, false
}

// rrType returns the number of a resource record type's name (IANA, "Resource Record
// (RR) TYPEs").
func rrType(name string) (uint16, bool) {
	switch name {
	case "A":
		return 1, true
	case "NS":
		return 2, true
	case "CNAME":
		return 5, true
	case "SOA":
		return 6, true
	case "NULL":
		return 10, true
	case "PTR":
		return 12, true
	case "HINFO":
		return 13, true
	case "MX":
		return 15, true
	case "TXT":
		return 16, true
	case "AAAA":
		return 28, true
	case "SRV":
		return 33, true
	case "NAPTR":
		return 35, true
	case "DS":
		return 43, true
	case "SSHFP":
		return 44, true
	case "DNSKEY":
		return 48, true
	case "TLSA":
		return 52, true
	case "SVCB":
		return 64, true
	case "HTTPS":
		return 65, true
	case "SPF":
		return 99, true
	case "ANY":
		return 255, true
	case "URI":
		return 256, true
	case "CAA":
		return 257, true
	}
	return 0, false
}
