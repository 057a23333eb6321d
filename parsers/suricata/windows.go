package suricata

import (
	"bytes"

	"tidewatch/event"
	"tidewatch/parsers/scan"
)

func (p *Parser) smb() {
	s := &p.s
	d := p.b.SMB(p.ev)
	for k := p.enter(inSMB); k != scan.End; k = p.next(inSMB, k) {
		switch k {
		case keyCommand:
			p.text(&d.Action, event.SMBAction)
			p.transfer(d.Action)
		case keyDialect:
			p.text(&d.Dialect, event.SMBDialect)
		case keyStatus:
			p.text(&d.Status, event.SMBStatus)
		case keyFilename:
			p.text(&d.Name, event.SMBName)
		case keyDirectory:
			p.text(&d.Path, event.SMBPath)
		case keyShare:
			p.text(&d.Share, event.SMBShare)
		case keySize:
			p.uint(&d.Size, event.SMBSize)
		case keyFUID:
			p.text(&d.FUID, event.SMBFUID)
		case keyRename:
			if s.Kind() == scan.Object {
				for k := p.enter(inSMBPart); k != scan.End; k = p.next(inSMBPart, k) {
					switch k {
					case keyFrom:
						p.text(&d.PrevName, event.SMBPrevName)
					case keyTo:
						p.text(&d.Name, event.SMBName)
					}
				}
			}
		case keyNTLMSSP:
			if s.Kind() == scan.Object {
				for k := p.enter(inNTLM); k != scan.End; k = p.next(inNTLM, k) {
					switch k {
					case keyUser:
						p.text(&d.User, event.SMBUser)
					case keyDomain:
						p.text(&d.Domain, event.SMBDomain)
					case keyHost:
						p.text(&d.ClientName, event.SMBClientName)
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
	for k := p.enter(inRDP); k != scan.End; k = p.next(inRDP, k) {
		switch k {
		case keyTxID:
			p.uint(&ev.TxID, event.ColTxID)
		case keyCookie:
			p.text(&d.Cookie, event.RDPCookie)
		case keyProtocol:
			p.text(&d.SecurityProtocol, event.RDPSecurityProtocol)
		case keyReason:
			p.text(&d.Result, event.RDPResult)
		case keyChannels:
			p.texts(&d.Channels, event.RDPChannels)
		case keyClient:
			if s.Kind() == scan.Object {
				p.rdpClient(d)
			}
		}
	}
}

func (p *Parser) rdpClient(d *event.RDP) {
	for k := p.enter(inRDPClient); k != scan.End; k = p.next(inRDPClient, k) {
		switch k {
		case keyKeyboardLayout:
			p.text(&d.KeyboardLayout, event.RDPKeyboardLayout)
		case keyBuild:
			p.text(&d.ClientBuild, event.RDPClientBuild)
		case keyClientName:
			p.text(&d.ClientName, event.RDPClientName)
		}
	}
}

func (p *Parser) kerberos() {
	s, ev := &p.s, p.ev
	d := p.b.Kerberos(ev)
	var client, realm []byte
	for k := p.enter(inKerberos); k != scan.End; k = p.next(inKerberos, k) {
		switch k {
		case keyMsgType:
			p.kerberosType(d, true)
		case keyFailedRequest:
			p.kerberosType(d, false)
		case keyCname:
			if s.Kind() == scan.String {
				client = s.Bytes(p.b)
				ev.Set.Add(event.KerberosClient)
			}
		case keyRealm:
			if s.Kind() == scan.String {
				realm = s.Bytes(p.b)
			}
		case keySname:
			p.text(&d.Service, event.KerberosService)
		case keyEncryption:
			p.text(&d.Cipher, event.KerberosCipher)
		case keyErrorCode:
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
	d := p.b.DHCP(p.ev)
	for k := p.enter(inDHCP); k != scan.End; k = p.next(inDHCP, k) {
		switch k {
		case keyClientMAC:
			p.text(&d.MAC, event.DHCPMAC)
		case keyClientIP:
			p.optionalAddr(&d.ClientAddr, event.DHCPClientAddr)
		case keyAssignedIP:
			p.optionalAddr(&d.AssignedAddr, event.DHCPAssignedAddr)
		case keyRequestedIP:
			p.optionalAddr(&d.RequestedAddr, event.DHCPRequestedAddr)
		case keyHostname:
			p.text(&d.HostName, event.DHCPHostName)
		case keyDHCPType:
			p.texts(&d.MsgTypes, event.DHCPMsgTypes)
		case keyLeaseTime:
			if v, ok := p.number(); ok && v < 1<<32 {
				d.LeaseTime = int64(v) * 1e9
				p.ev.Set.Add(event.DHCPLeaseTime)
			}
		}
	}
}
