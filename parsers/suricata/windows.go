package suricata

import (
	"bytes"

	"tidewatch/event"
	"tidewatch/parsers/scan"
)

func (p *Parser) smb() {
	s := &p.s
	d := p.b.SMB(p.ev)
	for s.Enter(); s.Next(); {
		switch string(s.Key()) {
		case "command":
			p.text(&d.Action, event.SMBAction)
			p.transfer(d.Action)
		case "dialect":
			p.text(&d.Dialect, event.SMBDialect)
		case "status":
			p.text(&d.Status, event.SMBStatus)
		case "filename":
			p.text(&d.Name, event.SMBName)
		case "directory":
			p.text(&d.Path, event.SMBPath)
		case "share":
			p.text(&d.Share, event.SMBShare)
		case "size":
			p.uint(&d.Size, event.SMBSize)
		case "fuid":
			p.text(&d.FUID, event.SMBFUID)
		case "rename":
			if s.Kind() == scan.Object {
				for s.Enter(); s.Next(); {
					switch string(s.Key()) {
					case "from":
						p.text(&d.PrevName, event.SMBPrevName)
					case "to":
						p.text(&d.Name, event.SMBName)
					}
				}
			}
		}
	}
}

// transfer notes which way a file goes by the command that moves it.
func (p *Parser) transfer(command string) {
	switch command {
	case "READ", "SMB1_COMMAND_READ_ANDX", "SMB2_COMMAND_READ":
		p.r.fileRead = true
	case "WRITE", "SMB1_COMMAND_WRITE_ANDX", "SMB2_COMMAND_WRITE":
		p.r.fileWrite = true
	}
}

func (p *Parser) rdp() {
	s, ev := &p.s, p.ev
	d := p.b.RDP(ev)
	for s.Enter(); s.Next(); {
		switch string(s.Key()) {
		case "tx_id":
			p.uint(&ev.TxID, event.ColTxID)
		case "cookie":
			p.text(&d.Cookie, event.RDPCookie)
		case "protocol":
			p.text(&d.SecurityProtocol, event.RDPSecurityProtocol)
		case "reason":
			p.text(&d.Result, event.RDPResult)
		case "channels":
			p.texts(&d.Channels, event.RDPChannels)
		case "client":
			if s.Kind() == scan.Object {
				p.rdpClient(d)
			}
		}
	}
}

func (p *Parser) rdpClient(d *event.RDP) {
	s := &p.s
	for s.Enter(); s.Next(); {
		switch string(s.Key()) {
		case "keyboard_layout":
			p.text(&d.KeyboardLayout, event.RDPKeyboardLayout)
		case "build":
			p.text(&d.ClientBuild, event.RDPClientBuild)
		case "client_name":
			p.text(&d.ClientName, event.RDPClientName)
		}
	}
}

func (p *Parser) kerberos() {
	s, ev := &p.s, p.ev
	d := p.b.Kerberos(ev)
	var client, realm []byte
	for s.Enter(); s.Next(); {
		switch string(s.Key()) {
		case "msg_type":
			p.kerberosType(d, true)
		case "failed_request":
			p.kerberosType(d, false)
		case "cname":
			if s.Kind() == scan.String {
				client = s.Bytes(p.b)
				ev.Set.Add(event.KerberosClient)
			}
		case "realm":
			if s.Kind() == scan.String {
				realm = s.Bytes(p.b)
			}
		case "sname":
			p.text(&d.Service, event.KerberosService)
		case "encryption":
			p.text(&d.Cipher, event.KerberosCipher)
		case "error_code":
			p.text(&d.ErrorMsg, event.KerberosErrorMsg)
		}
	}
	if len(client) > 0 && len(realm) > 0 { // client/realm, as Zeek writes it
		name := append(p.b.Scratch(len(client)+1+len(realm)), client...)
		client = append(append(name, '/'), realm...)
	}
	d.Client = event.String(client)
}

// kerberosType reads KRB_AS_REQ, KRB_TGS_REP, KRB_ERROR and their like. The request
// type is AS or TGS; an error says in failed_request what it answers. Success is
// only known of answers.
func (p *Parser) kerberosType(d *event.Kerberos, message bool) {
	if p.s.Kind() != scan.String {
		return
	}
	name := bytes.TrimPrefix(p.s.Bytes(p.b), []byte("KRB_"))
	kind, step, ok := bytes.Cut(name, []byte("_"))
	if ok {
		d.RequestType = event.String(kind)
		p.ev.Set.Add(event.KerberosRequestType)
	}
	if message && (!ok || string(step) == "REP") {
		d.Success = ok
		p.ev.Set.Add(event.KerberosSuccess)
	}
}

func (p *Parser) dhcp() {
	s := &p.s
	d := p.b.DHCP(p.ev)
	for s.Enter(); s.Next(); {
		switch string(s.Key()) {
		case "client_mac":
			p.text(&d.MAC, event.DHCPMAC)
		case "client_ip":
			p.optionalAddr(&d.ClientAddr, event.DHCPClientAddr)
		case "assigned_ip":
			p.optionalAddr(&d.AssignedAddr, event.DHCPAssignedAddr)
		case "requested_ip":
			p.optionalAddr(&d.RequestedAddr, event.DHCPRequestedAddr)
		case "hostname":
			p.text(&d.HostName, event.DHCPHostName)
		case "dhcp_type":
			p.texts(&d.MsgTypes, event.DHCPMsgTypes)
		case "lease_time":
			if v, ok := p.number(); ok && v < 1<<32 {
				d.LeaseTime = int64(v) * 1e9
				p.ev.Set.Add(event.DHCPLeaseTime)
			}
		}
	}
}
