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
	for k := p.enter(inDNS); k != scan.End; k = p.next(inDNS, k) {
		switch k {
		case keyQueries, keyQuery:
			if s.Kind() != scan.Array {
				continue
			}
			for s.Enter(); s.Next(); {
				if s.Kind() == scan.Object {
					for k := p.enter(inDNSPart); k != scan.End; k = p.next(inDNSPart, k) {
						p.dnsMember(d, k)
					}
				}
			}
		case keyAnswer:
			if s.Kind() == scan.Object {
				for k := p.enter(inDNSAnswer); k != scan.End; k = p.next(inDNSAnswer, k) {
					p.dnsMember(d, k)
				}
			}
		default:
			p.dnsMember(d, k)
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
func (p *Parser) dnsMember(d *event.DNS, k int) {
	ev := p.ev
	switch k {
	case keyVersion:
		p.uint8(&p.r.dnsVersion)
	case keyType:
		p.dnsType(d)
	case keyID:
		p.uint16(&d.TransID, event.DNSTransID)
	case keyTxID:
		p.uint(&ev.TxID, event.ColTxID)
	case keyRrname:
		p.text(&d.Query, event.DNSQuery)
	case keyRrtype:
		p.text(&d.QTypeName, event.DNSQTypeName)
		if n, ok := rrType(d.QTypeName); ok {
			d.QType = n
			ev.Set.Add(event.DNSQType)
		}
	case keyRcode:
		p.text(&d.RCodeName, event.DNSRCodeName)
		if n, ok := rCode(d.RCodeName); ok {
			d.RCode = n
			ev.Set.Add(event.DNSRCode)
		}
	case keyFlags:
		p.dnsFlags(d)
	case keyAA:
		p.bool(&d.AA, event.DNSAA)
	case keyTC:
		p.bool(&d.TC, event.DNSTC)
	case keyRD:
		p.bool(&d.RD, event.DNSRD)
	case keyRA:
		p.bool(&d.RA, event.DNSRA)
	case keyOpcode:
		p.uint16(&d.Opcode, event.DNSOpcode)
	case keyRdata, keyTTL:
		p.answerMember(k) // version 1 has one event an answer
	case keyAnswers:
		p.answers()
	case keyGrouped:
		p.grouped()
	}
}

func (p *Parser) dnsType(d *event.DNS) {
	if p.s.Kind() != scan.String {
		return
	}
	switch string(p.s.Bytes(p.b)) {
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
	raw := p.s.Bytes(p.b)
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
		for k := p.enter(inAnswers); k != scan.End; k = p.next(inAnswers, k) {
			p.answerMember(k)
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
func (p *Parser) answerMember(k int) {
	s := &p.s
	key := scan.End
	switch k {
	case keyTTL:
		if v, ok := p.number(); ok && v < 1<<32 {
			p.ttls = append(p.ttls, uint32(v))
		}
		return
	case keyRdata:
		if s.Kind() == scan.String {
			p.list = append(p.list, s.Text(p.b))
		}
		return
	case keySRV:
		key = keyName
	case keySOA:
		key = keyMname
	case keySSHFP:
		key = keyFingerprint
	default:
		return
	}
	p.innerList(key)
}

// innerList appends a text of the object at hand to the list.
func (p *Parser) innerList(key int) {
	s := &p.s
	if s.Kind() != scan.Object {
		return
	}
	for k := p.enter(inInnerList); k != scan.End; k = p.next(inInnerList, k) {
		if k == key && s.Kind() == scan.String {
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
		key := scan.End
		switch string(s.Key()) {
		case "SRV":
			key = keyName
		case "SOA":
			key = keyMname
		case "SSHFP":
			key = keyFingerprint
		}
		for s.Enter(); s.Next(); {
			if s.Kind() == scan.String {
				p.list = append(p.list, s.Text(p.b))
			} else if key != scan.End {
				p.innerList(key)
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
