package suricata

import (
	"tidewatch/event"
	"tidewatch/parsers/scan"
)

// The members of a record, in the order in which Suricata writes them.
const (
	_ = iota
	memTimestamp
	memFlowID
	memParentID
	memSensorID
	memInIface
	memPcapCnt
	memEventType
	memVLAN
	memSrcIP
	memSrcPort
	memDestIP
	memDestPort
	memProto
	memIPVersion
	memICMPType
	memICMPCode
	memResponseICMPType
	memResponseICMPCode
	memPktSrc
	memCommunityID
	memTxID
	memAppProto
	memAppProtoTS
	memAppProtoTC
	memDirection
	memHost
	memFlow
	memNetFlow
	memTCP
	memEther
	memDNS
	memTLS
	memQUIC
	memHTTP
	memHTTP2
	memFileInfo
	memAlert
	memAnomaly
	memSSH
	memSMB
	memRDP
	memKRB5
	memDHCP
	memFTP
	memSMTP
	memEmail
	memDCERPC
	memMQTT
	memNFS
	memRPC
	memSNMP
	memSIP
	memIKE
	memIKEv2
)

var memberNames = scan.NewNames("timestamp", "flow_id", "parent_id", "sensor_id", "in_iface", "pcap_cnt", "event_type", "vlan",
	"src_ip", "src_port", "dest_ip", "dest_port", "proto", "ip_v", "icmp_type", "icmp_code", "response_icmp_type",
	"response_icmp_code", "pkt_src", "community_id", "tx_id", "app_proto", "app_proto_ts", "app_proto_tc", "direction", "host",
	"flow", "netflow", "tcp", "ether", "dns", "tls", "quic", "http", "http2", "fileinfo", "alert", "anomaly", "ssh", "smb",
	"rdp", "krb5", "dhcp", "ftp", "smtp", "email", "dcerpc", "mqtt", "nfs", "rpc", "snmp", "sip", "ike", "ikev2")

// member reads one member of the record's outermost object. The error is a
// *parsers.Skip.
func (p *Parser) member(k int) error {
	ev, s := p.ev, &p.s
	switch k {
	case memTimestamp:
		if p.time(&ev.Written) {
			ev.Set.Add(event.ColWritten)
		}
	case memFlowID:
		if s.Kind() == scan.Number && isUint(s.Raw()) {
			ev.UID = event.String(s.Raw())
			ev.Set.Add(event.ColUID)
		}
	case memEventType:
		return p.eventType()
	case memSrcIP:
		p.addr(&ev.Orig.Addr, event.ColOrigAddr)
	case memSrcPort:
		p.port(&ev.Orig.Port, event.ColOrigPort)
	case memDestIP:
		p.addr(&ev.Resp.Addr, event.ColRespAddr)
	case memDestPort:
		p.port(&ev.Resp.Port, event.ColRespPort)
	case memProto:
		if ev.Proto = scan.Proto(s.Bytes(p.b)); ev.Proto != 0 {
			ev.Set.Add(event.ColProto)
		}
	case memCommunityID:
		p.text(&ev.CommunityID, event.ColCommunityID)
	case memTxID:
		p.uint(&ev.TxID, event.ColTxID)
	case memVLAN:
		p.vlan()
	case memICMPType:
		p.r.hasICMP = p.uint8(&p.r.icmpType) || p.r.hasICMP
	case memICMPCode:
		p.uint8(&p.r.icmpCode)
	case memAppProto:
		if s.Kind() == scan.String {
			p.r.appProto = s.Text(p.b)
		}
	case memDirection:
		p.r.toClient = s.Kind() == scan.String && string(s.Raw()) == "to_client"
		p.r.toServer = s.Kind() == scan.String && string(s.Raw()) == "to_server"
	default:
		if s.Kind() == scan.Object && k != scan.Other {
			p.object(k)
		}
	}
	return nil
}

// object reads the objects inside a record that have columns.
func (p *Parser) object(k int) {
	switch k {
	case memFlow, memNetFlow:
		p.flow()
	case memTCP:
		p.tcp()
	case memEther:
		p.ether()
	case memDNS:
		p.dns()
	case memTLS:
		p.tls()
	case memQUIC:
		p.quic()
	case memHTTP, memHTTP2:
		p.http()
	case memFileInfo:
		p.file()
	case memAlert:
		p.alert()
	case memAnomaly:
		p.anomaly()
	case memSSH:
		p.ssh()
	case memSMB:
		p.smb()
	case memRDP:
		p.rdp()
	case memKRB5:
		p.kerberos()
	case memDHCP:
		p.dhcp()
	default:
		p.app(k)
	}
}

// app reads the objects whose columns are those of event.App.
func (p *Parser) app(k int) {
	switch k {
	case memFTP:
		p.ftp()
	case memSMTP:
		p.smtp()
	case memEmail:
		p.email()
	case memDCERPC:
		p.dcerpc()
	case memMQTT:
		p.mqtt()
	case memNFS:
		p.nfs()
	case memSNMP:
		p.snmp()
	case memSIP:
		p.sip()
	case memIKE, memIKEv2:
		p.ike()
	}
}
