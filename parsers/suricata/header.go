package suricata

import (
	"tidewatch/event"
	"tidewatch/parsers/scan"
)

// member reads one member of the record's outermost object. The error is a
// *parsers.Skip.
func (p *Parser) member(k int) error {
	ev, s := p.ev, &p.s
	switch k {
	case keyTimestamp:
		if p.time(&ev.Written) {
			ev.Set.Add(event.ColWritten)
		}
	case keyFlowID:
		if s.Kind() == scan.Number && isUint(s.Raw()) {
			ev.UID = event.String(s.Raw())
			ev.Set.Add(event.ColUID)
		}
	case keyEventType:
		return p.eventType()
	case keySrcIP:
		p.addr(&ev.Orig.Addr, event.ColOrigAddr)
	case keySrcPort:
		p.port(&ev.Orig.Port, event.ColOrigPort)
	case keyDestIP:
		p.addr(&ev.Resp.Addr, event.ColRespAddr)
	case keyDestPort:
		p.port(&ev.Resp.Port, event.ColRespPort)
	case keyProto:
		p.proto(s.Bytes(p.b))
	case keyCommunityID:
		p.text(&ev.CommunityID, event.ColCommunityID)
	case keyTxID:
		p.uint(&ev.TxID, event.ColTxID)
	case keyVLAN:
		p.vlan()
	case keyICMPType:
		p.r.hasICMP = p.uint8(&p.r.icmpType) || p.r.hasICMP
	case keyICMPCode:
		p.uint8(&p.r.icmpCode)
	case keyAppProto:
		if s.Kind() == scan.String {
			p.r.appProto = s.Text(p.b)
		}
	case keyDirection:
		p.r.toClient, p.r.toServer = p.is("to_client"), p.is("to_server")
	default:
		if s.Kind() == scan.Object {
			p.object(k)
		}
	}
	return nil
}

// object reads the objects inside a record that have columns.
func (p *Parser) object(k int) {
	switch k {
	case keyFlow, keyNetflow:
		p.flow(k == keyNetflow)
	case keyTCP:
		p.tcp()
	case keyEther:
		p.ether()
	case keyDNS:
		p.dns()
	case keyTLS:
		p.tls()
	case keyQUIC:
		p.quic()
	case keyHTTP, keyHTTP2:
		p.http()
	case keyFileinfo:
		p.file()
	case keyAlert:
		p.alert()
	case keyAnomaly:
		p.anomaly()
	case keySSH:
		p.ssh()
	case keySMB:
		p.smb()
	case keyRDP:
		p.rdp()
	case keyKRB5:
		p.kerberos()
	case keyDHCP:
		p.dhcp()
	default:
		p.app(k)
	}
}

// app reads the objects whose columns are those of event.App.
func (p *Parser) app(k int) {
	switch k {
	case keyFTP:
		p.ftp()
	case keySMTP:
		p.smtp()
	case keyEmail:
		p.email()
	case keyDCERPC:
		p.dcerpc()
	case keyMQTT:
		p.mqtt()
	case keyNFS:
		p.nfs()
	case keySNMP:
		p.snmp()
	case keySIP:
		p.sip()
	case keyIKE, keyIKEv2:
		p.ike()
	}
}
