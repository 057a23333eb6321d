package suricata

import (
	"tidewatch/event"
	"tidewatch/parsers/scan"
)

// The protocols here share the columns of event.App: what was asked, of what, by
// whom, and what came of it.

func (p *Parser) ftp() {
	s := &p.s
	d := p.b.App(p.ev)
	for s.Enter(); s.Next(); {
		switch string(s.Key()) {
		case "command":
			p.text(&d.Command, event.AppCommand)
		case "command_data":
			p.text(&d.Argument, event.AppArgument)
		case "completion_code":
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
	s := &p.s
	d := p.b.App(p.ev)
	for s.Enter(); s.Next(); {
		switch string(s.Key()) {
		case "helo":
			p.text(&d.Argument, event.AppArgument)
		case "mail_from":
			p.text(&d.User, event.AppUser)
		case "rcpt_to":
			p.texts(&d.Names, event.AppNames)
		}
	}
}

func (p *Parser) email() {
	s := &p.s
	d := p.b.App(p.ev)
	for s.Enter(); s.Next(); {
		if string(s.Key()) == "status" {
			p.text(&d.Status, event.AppStatus)
		}
	}
}

// dcerpc keeps the interfaces of a BIND in Names.
func (p *Parser) dcerpc() {
	s := &p.s
	d := p.b.App(p.ev)
	for s.Enter(); s.Next(); {
		switch string(s.Key()) {
		case "request":
			p.text(&d.Command, event.AppCommand)
		case "response":
			p.text(&d.Status, event.AppStatus)
		case "rpc_version":
			p.text(&d.Version, event.AppVersion)
		case "req":
			p.inner("opnum", &d.Argument, event.AppArgument)
		case "interfaces":
			p.objects("uuid", &d.Names, event.AppNames)
		}
	}
}

// objects keeps one text of each object in a list; texts in the list are kept too.
func (p *Parser) objects(name string, dst *[]string, c event.Column) {
	s := &p.s
	if s.Kind() != scan.Array {
		return
	}
	p.list = p.list[:0]
	for s.Enter(); s.Next(); {
		if s.Kind() == scan.String {
			p.list = append(p.list, s.Text(p.b))
		} else {
			p.innerList(name)
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
		for s.Enter(); s.Next(); {
			switch string(s.Key()) {
			case "client_id":
				p.text(&d.Argument, event.AppArgument)
			case "username":
				p.text(&d.User, event.AppUser)
			case "protocol_version":
				p.text(&d.Version, event.AppVersion)
			case "return_code", "reason_code":
				p.text(&d.Status, event.AppStatus)
			case "topic":
				p.texts(&d.Names, event.AppNames)
			case "topics":
				p.objects("topic", &d.Names, event.AppNames)
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
	s := &p.s
	d := p.b.App(p.ev)
	for s.Enter(); s.Next(); {
		switch string(s.Key()) {
		case "procedure":
			p.text(&d.Command, event.AppCommand)
			p.transfer(d.Command)
		case "filename":
			p.text(&d.Argument, event.AppArgument)
		case "status":
			p.text(&d.Status, event.AppStatus)
		case "version":
			p.text(&d.Version, event.AppVersion)
		case "type":
			p.r.response = s.Kind() == scan.String && string(s.Raw()) == "response"
			p.r.request = !p.r.response
		}
	}
}

func (p *Parser) snmp() {
	s := &p.s
	d := p.b.App(p.ev)
	for s.Enter(); s.Next(); {
		switch string(s.Key()) {
		case "pdu_type":
			p.text(&d.Command, event.AppCommand)
			p.r.response = d.Command == "response"
		case "version":
			p.text(&d.Version, event.AppVersion)
		case "community", "usm":
			p.text(&d.User, event.AppUser)
		case "trap_type":
			p.text(&d.Argument, event.AppArgument)
		case "error":
			p.text(&d.Status, event.AppStatus)
		case "vars":
			p.texts(&d.Names, event.AppNames)
		}
	}
}

func (p *Parser) sip() {
	s := &p.s
	d := p.b.App(p.ev)
	for s.Enter(); s.Next(); {
		switch string(s.Key()) {
		case "method":
			p.text(&d.Command, event.AppCommand)
			p.r.request = true
		case "code":
			p.text(&d.Status, event.AppStatus)
		case "uri":
			p.text(&d.Argument, event.AppArgument)
		case "version":
			p.text(&d.Version, event.AppVersion)
		}
	}
	// A record with a code alone is of a response.
	p.r.response = !p.r.request && p.ev.Has(event.AppStatus)
}

func (p *Parser) ike() {
	s := &p.s
	d := p.b.App(p.ev)
	for s.Enter(); s.Next(); {
		switch string(s.Key()) {
		case "exchange_type":
			p.text(&d.Command, event.AppCommand)
		case "init_spi":
			p.text(&d.Argument, event.AppArgument)
		case "version_major":
			p.text(&d.Version, event.AppVersion)
		case "payload":
			p.texts(&d.Names, event.AppNames)
		case "role":
			if s.Kind() == scan.String {
				p.r.response = string(s.Raw()) == "responder"
				p.r.request = string(s.Raw()) == "initiator"
			}
		}
	}
}
