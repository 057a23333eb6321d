package suricata

import (
	"tidewatch/event"
	"tidewatch/parsers/scan"
)

// The protocols here share the columns of event.App: what was asked, of what, by
// whom, and what came of it.

func (p *Parser) ftp() {
	d := p.b.App(p.ev)
	for k := p.enter(inFTP); k != scan.End; k = p.next(inFTP, k) {
		switch k {
		case keyCommand:
			p.text(&d.Command, event.AppCommand)
		case keyCommandData:
			p.text(&d.Argument, event.AppArgument)
		case keyCompletionCode:
			p.first(&d.Status, event.AppStatus)
		}
	}
	if d.Command == "USER" && p.ev.Has(event.AppArgument) {
		d.User = d.Argument
		p.ev.Set.Add(event.AppUser)
	}
}

func (p *Parser) smtp() {
	p.r.fileWrite = true
	d := p.b.App(p.ev)
	for k := p.enter(inSMTP); k != scan.End; k = p.next(inSMTP, k) {
		switch k {
		case keyHelo:
			p.text(&d.Argument, event.AppArgument)
		case keyMailFrom:
			p.text(&d.User, event.AppUser)
		case keyRcptTo:
			p.texts(&d.Names, event.AppNames)
		}
	}
}

func (p *Parser) email() {
	d := p.b.App(p.ev)
	for k := p.enter(inEmail); k != scan.End; k = p.next(inEmail, k) {
		if k == keyStatus {
			p.text(&d.Status, event.AppStatus)
		}
	}
}

// dcerpc keeps the interfaces of a BIND in Names.
func (p *Parser) dcerpc() {
	d := p.b.App(p.ev)
	for k := p.enter(inDCERPC); k != scan.End; k = p.next(inDCERPC, k) {
		switch k {
		case keyRequest:
			p.text(&d.Command, event.AppCommand)
		case keyResponse:
			p.text(&d.Status, event.AppStatus)
		case keyRPCVersion:
			p.text(&d.Version, event.AppVersion)
		case keyReq:
			p.inner(keyOpnum, &d.Argument, event.AppArgument)
		case keyInterfaces:
			p.objects(keyUUID, &d.Names, event.AppNames)
		}
	}
}

// objects keeps one text of each object in a list; texts in the list are kept too.
func (p *Parser) objects(key int, dst *[]string, c event.Column) {
	s := &p.s
	if s.Kind() != scan.Array {
		return
	}
	p.list = p.list[:0]
	for s.Enter(); s.Next(); {
		if s.Kind() == scan.String {
			p.list = append(p.list, s.Text(p.b))
		} else {
			p.innerList(key)
		}
	}
	p.keep(dst, c)
}

// mqtt takes the first message of the transaction for the command.
func (p *Parser) mqtt() {
	s, ev := &p.s, p.ev
	d := p.b.App(ev)
	for s.Enter(); s.Next(); {
		if s.Kind() != scan.Object {
			continue
		}
		if !ev.Has(event.AppCommand) {
			d.Command = mqttName(s.Key())
			ev.Set.Add(event.AppCommand)
		}
		for k := p.enter(inMQTT); k != scan.End; k = p.next(inMQTT, k) {
			switch k {
			case keyClientID:
				p.text(&d.Argument, event.AppArgument)
			case keyUsername:
				p.text(&d.User, event.AppUser)
			case keyProtocolVersion:
				p.text(&d.Version, event.AppVersion)
			case keyReturnCode, keyReasonCode:
				p.text(&d.Status, event.AppStatus)
			case keyTopic:
				p.texts(&d.Names, event.AppNames)
			case keyTopics:
				p.objects(keyTopic, &d.Names, event.AppNames)
			}
		}
	}
}

// mqttName returns the name of a message type: a constant, since a key with escapes
// does not stay.
func mqttName(key []byte) string {
	for _, n := range [...]string{"connect", "connack", "publish", "puback", "pubrec", "pubrel", "pubcomp", "subscribe",
		"suback", "unsubscribe", "unsuback", "pingreq", "pingresp", "disconnect", "auth"} {
		if string(key) == n {
			return n
		}
	}
	return "other"
}

func (p *Parser) nfs() {
	d := p.b.App(p.ev)
	for k := p.enter(inNFS); k != scan.End; k = p.next(inNFS, k) {
		switch k {
		case keyProcedure:
			p.text(&d.Command, event.AppCommand)
			p.transfer(d.Command)
		case keyFilename:
			p.text(&d.Argument, event.AppArgument)
		case keyStatus:
			p.text(&d.Status, event.AppStatus)
		case keyVersion:
			p.text(&d.Version, event.AppVersion)
		case keyType:
			p.r.response = p.is("response")
			p.r.request = !p.r.response
		}
	}
}

func (p *Parser) snmp() {
	d := p.b.App(p.ev)
	for k := p.enter(inSNMP); k != scan.End; k = p.next(inSNMP, k) {
		switch k {
		case keyPduType:
			p.text(&d.Command, event.AppCommand)
			p.r.response = d.Command == "response"
		case keyVersion:
			p.text(&d.Version, event.AppVersion)
		case keyCommunity, keyUSM:
			p.text(&d.User, event.AppUser)
		case keyTrapType:
			p.text(&d.Argument, event.AppArgument)
		case keyError:
			p.text(&d.Status, event.AppStatus)
		case keyVars:
			p.texts(&d.Names, event.AppNames)
		}
	}
}

func (p *Parser) sip() {
	d := p.b.App(p.ev)
	for k := p.enter(inSIP); k != scan.End; k = p.next(inSIP, k) {
		switch k {
		case keyMethod:
			p.text(&d.Command, event.AppCommand)
			p.r.request = true
		case keyCode:
			p.text(&d.Status, event.AppStatus)
		case keyURI:
			p.text(&d.Argument, event.AppArgument)
		case keyVersion:
			p.text(&d.Version, event.AppVersion)
		}
	}
	// A record with a code alone is of a response.
	p.r.response = !p.r.request && p.ev.Has(event.AppStatus)
}

func (p *Parser) ike() {
	d := p.b.App(p.ev)
	for k := p.enter(inIKE); k != scan.End; k = p.next(inIKE, k) {
		switch k {
		case keyExchangeType:
			p.text(&d.Command, event.AppCommand)
		case keyInitSPI:
			p.text(&d.Argument, event.AppArgument)
		case keyVersionMajor:
			p.text(&d.Version, event.AppVersion)
		case keyPayload:
			p.texts(&d.Names, event.AppNames)
		case keyRole:
			p.r.response, p.r.request = p.is("responder"), p.is("initiator")
		}
	}
}
