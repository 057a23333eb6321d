package zeek

import (
	"tidewatch/event"
	"tidewatch/parsers/scan"
)

// setCommon gives ev the value v of a column that any log can have.
func (r *reader) setCommon(ev *event.Event, c event.Column, v []byte) {
	switch c {
	case colTime:
		ev.Time = r.time(v)
		r.timed = true
		return
	case colWritten:
		ev.Written = r.time(v)
		c = event.ColWritten
	case colIPProto:
		if n := r.num(v); ev.Proto == 0 && n < 256 {
			ev.Proto = event.Proto(n)
		}
		return
	case event.ColUID:
		ev.UID = r.text(v)
	case event.ColCommunityID:
		ev.CommunityID = r.text(v)
	case event.ColProto:
		if p := scan.Proto(v); p != 0 {
			ev.Proto = p
		}
	case event.ColOrigAddr:
		ev.Orig.Addr = r.addr(v)
	case event.ColOrigPort:
		ev.Orig.Port = r.port(v)
	case event.ColRespAddr:
		ev.Resp.Addr = r.addr(v)
	case event.ColRespPort:
		ev.Resp.Port = r.port(v)
	case event.ColVLAN:
		ev.VLAN = r.num16(v)
	case event.ColInnerVLAN:
		ev.InnerVLAN = r.num16(v)
	default:
		return
	}
	ev.Set.Add(c)
}

// isCommon reports whether setCommon sets c.
func isCommon(c event.Column) bool {
	return c <= event.ColWritten || c == colTime || c == colWritten || c == colIPProto
}

func (r *reader) setConn(d *event.Conn, c event.Column, v []byte) {
	switch c {
	case event.ConnService:
		d.Service = r.text(v)
	case event.ConnDuration:
		d.Duration = r.interval(v)
	case event.ConnOrigBytes:
		d.OrigBytes = r.num(v)
	case event.ConnRespBytes:
		d.RespBytes = r.num(v)
	case event.ConnState:
		d.State = event.ParseState(v)
	case event.ConnLocalOrig:
		d.LocalOrig = r.truth(v)
	case event.ConnLocalResp:
		d.LocalResp = r.truth(v)
	case event.ConnMissedBytes:
		d.MissedBytes = r.num(v)
	case event.ConnHistory:
		d.History = r.text(v)
	case event.ConnOrigPkts:
		d.OrigPkts = r.num(v)
	case event.ConnOrigIPBytes:
		d.OrigIPBytes = r.num(v)
	case event.ConnRespPkts:
		d.RespPkts = r.num(v)
	case event.ConnRespIPBytes:
		d.RespIPBytes = r.num(v)
	case event.ConnTunnelParents:
		d.TunnelParents = r.list(v)
	case event.ConnOrigMAC:
		d.OrigMAC = r.text(v)
	case event.ConnRespMAC:
		d.RespMAC = r.text(v)
	case event.ConnShuntedOrigBytes:
		d.ShuntedOrigBytes = r.num(v)
	case event.ConnShuntedRespBytes:
		d.ShuntedRespBytes = r.num(v)
	}
}

func (r *reader) setDNS(d *event.DNS, c event.Column, v []byte) {
	switch c {
	case event.DNSQuery:
		d.Query = r.text(v)
	case event.DNSTransID:
		d.TransID = r.num16(v)
	case event.DNSRTT:
		d.RTT = r.interval(v)
	case event.DNSQClass:
		d.QClass = r.num16(v)
	case event.DNSQClassName:
		d.QClassName = r.text(v)
	case event.DNSQType:
		d.QType = r.num16(v)
	case event.DNSQTypeName:
		d.QTypeName = r.text(v)
	case event.DNSRCode:
		d.RCode = r.num16(v)
	case event.DNSRCodeName:
		d.RCodeName = r.text(v)
	case event.DNSAA:
		d.AA = r.truth(v)
	case event.DNSTC:
		d.TC = r.truth(v)
	case event.DNSRD:
		d.RD = r.truth(v)
	case event.DNSRA:
		d.RA = r.truth(v)
	case event.DNSZ:
		d.Z = r.num16(v)
	case event.DNSAnswers:
		d.Answers = r.list(v)
	case event.DNSTTLs:
		d.TTLs = r.ttls(v)
	case event.DNSRejected:
		d.Rejected = r.truth(v)
	case event.DNSOpcode:
		d.Opcode = r.num16(v)
	}
}

func (r *reader) setTLS(d *event.TLS, c event.Column, v []byte) {
	switch c {
	case event.TLSVersion:
		d.Version = r.text(v)
	case event.TLSCipher:
		d.Cipher = r.text(v)
	case event.TLSCurve:
		d.Curve = r.text(v)
	case event.TLSServerName:
		d.ServerName = r.text(v)
	case event.TLSResumed:
		d.Resumed = r.truth(v)
	case event.TLSLastAlert:
		d.LastAlert = r.text(v)
	case event.TLSNextProtocol:
		d.NextProtocol = r.text(v)
	case event.TLSEstablished:
		d.Established = r.truth(v)
	case event.TLSHistory:
		d.History = r.text(v)
	case event.TLSCertChain:
		d.CertChain = r.list(v)
	case event.TLSClientCertChain:
		d.ClientCertChain = r.list(v)
	case event.TLSSNIMatchesCert:
		d.SNIMatchesCert = r.truth(v)
	case event.TLSValidation:
		d.Validation = r.text(v)
	default:
		r.setTLSNames(d, c, v)
	}
}

// setTLSNames sets what came with a package or left ssl.log with Zeek 4.1.
func (r *reader) setTLSNames(d *event.TLS, c event.Column, v []byte) {
	switch c {
	case event.TLSSubject:
		d.Subject = r.text(v)
	case event.TLSIssuer:
		d.Issuer = r.text(v)
	case event.TLSClientSubject:
		d.ClientSubject = r.text(v)
	case event.TLSClientIssuer:
		d.ClientIssuer = r.text(v)
	case event.TLSJA3:
		d.JA3 = r.text(v)
	case event.TLSJA3S:
		d.JA3S = r.text(v)
	case event.TLSJA4:
		d.JA4 = r.text(v)
	case event.TLSJA4S:
		d.JA4S = r.text(v)
	}
}

func (r *reader) setHTTP(d *event.HTTP, c event.Column, v []byte) {
	switch c {
	case event.HTTPMethod:
		d.Method = r.text(v)
	case event.HTTPHost:
		d.Host = r.text(v)
	case event.HTTPURI:
		d.URI = r.text(v)
	case event.HTTPReferrer:
		d.Referrer = r.text(v)
	case event.HTTPVersion:
		d.Version = r.text(v)
	case event.HTTPUserAgent:
		d.UserAgent = r.text(v)
	case event.HTTPOrigin:
		d.Origin = r.text(v)
	case event.HTTPOrigBodyLen:
		d.OrigBodyLen = r.num(v)
	case event.HTTPRespBodyLen:
		d.RespBodyLen = r.num(v)
	case event.HTTPStatus:
		d.Status = r.num16(v)
	case event.HTTPStatusMsg:
		d.StatusMsg = r.text(v)
	case event.HTTPUsername:
		d.Username = r.text(v)
	case event.HTTPProxied:
		d.Proxied = r.list(v)
	case event.HTTPOrigMIME:
		d.OrigMIME = r.list(v)
	case event.HTTPRespMIME:
		d.RespMIME = r.list(v)
	case event.HTTPTransDepth:
		d.TransDepth = r.num(v)
	}
}

func (r *reader) setFile(d *event.File, c event.Column, v []byte) {
	switch c {
	case event.FileFUID:
		d.FUID = r.text(v)
	case event.FileUIDs:
		d.UIDs = r.list(v)
	case event.FileSource:
		d.Source = r.text(v)
	case event.FileName:
		d.Name = r.text(v)
	case event.FileMIME:
		d.MIME = r.text(v)
	case event.FileAnalyzers:
		d.Analyzers = r.list(v)
	case event.FileDuration:
		d.Duration = r.interval(v)
	case event.FileLocalOrig:
		d.LocalOrig = r.truth(v)
	case event.FileFromOrig:
		d.FromOrig = r.truth(v)
	case event.FileSeenBytes:
		d.SeenBytes = r.num(v)
	case event.FileTotalBytes:
		d.TotalBytes = r.num(v)
	case event.FileMissingBytes:
		d.MissingBytes = r.num(v)
	case event.FileMD5:
		d.MD5 = r.text(v)
	case event.FileSHA1:
		d.SHA1 = r.text(v)
	case event.FileSHA256:
		d.SHA256 = r.text(v)
	case colTxHosts:
		r.tx = r.soleHost(v)
	case colRxHosts:
		r.rx = r.soleHost(v)
	}
}

func (r *reader) setX509(d *event.X509, c event.Column, v []byte) {
	switch c {
	case event.X509ID:
		d.ID = r.text(v)
	case event.X509Version:
		d.Version = r.num16(v)
	case event.X509Serial:
		d.Serial = r.text(v)
	case event.X509Subject:
		d.Subject = r.text(v)
	case event.X509Issuer:
		d.Issuer = r.text(v)
	case event.X509NotBefore:
		d.NotBefore = r.time(v)
	case event.X509NotAfter:
		d.NotAfter = r.time(v)
	case event.X509KeyAlg:
		d.KeyAlg = r.text(v)
	case event.X509SigAlg:
		d.SigAlg = r.text(v)
	case event.X509KeyType:
		d.KeyType = r.text(v)
	case event.X509KeyLength:
		d.KeyLength = r.num32(v)
	case event.X509SANDNS:
		d.SANDNS = r.list(v)
	case event.X509SANIP:
		d.SANIP = r.list(v)
	case event.X509CA:
		d.CA = r.truth(v)
	case event.X509HostCert:
		d.HostCert = r.truth(v)
	case event.X509ClientCert:
		d.ClientCert = r.truth(v)
	}
}

func (r *reader) setSSH(d *event.SSH, c event.Column, v []byte) {
	switch c {
	case event.SSHVersion:
		d.Version = r.num16(v)
	case event.SSHAuthSuccess:
		d.AuthSuccess = r.truth(v)
	case event.SSHAuthAttempts:
		d.AuthAttempts = r.num32(v)
	case event.SSHDirection:
		d.Direction = r.text(v)
	case event.SSHClient:
		d.Client = r.text(v)
	case event.SSHServer:
		d.Server = r.text(v)
	case event.SSHCipherAlg:
		d.CipherAlg = r.text(v)
	case event.SSHMACAlg:
		d.MACAlg = r.text(v)
	case event.SSHCompressionAlg:
		d.CompressionAlg = r.text(v)
	case event.SSHKexAlg:
		d.KexAlg = r.text(v)
	case event.SSHHostKeyAlg:
		d.HostKeyAlg = r.text(v)
	case event.SSHHostKey:
		d.HostKey = r.text(v)
	case event.SSHHASSH:
		d.HASSH = r.text(v)
	case event.SSHHASSHServer:
		d.HASSHServer = r.text(v)
	}
}

func (r *reader) setRDP(d *event.RDP, c event.Column, v []byte) {
	switch c {
	case event.RDPCookie:
		d.Cookie = r.text(v)
	case event.RDPResult:
		d.Result = r.text(v)
	case event.RDPSecurityProtocol:
		d.SecurityProtocol = r.text(v)
	case event.RDPChannels:
		d.Channels = r.list(v)
	case event.RDPKeyboardLayout:
		d.KeyboardLayout = r.text(v)
	case event.RDPClientBuild:
		d.ClientBuild = r.text(v)
	case event.RDPClientName:
		d.ClientName = r.text(v)
	case event.RDPCertType:
		d.CertType = r.text(v)
	case event.RDPCertCount:
		d.CertCount = r.num32(v)
	case event.RDPEncryptionLevel:
		d.EncryptionLevel = r.text(v)
	case event.RDPEncryptionMethod:
		d.EncryptionMethod = r.text(v)
	}
}

func (r *reader) setSMB(d *event.SMB, c event.Column, v []byte) {
	switch c {
	case event.SMBFUID:
		d.FUID = r.text(v)
	case event.SMBAction:
		d.Action = r.text(v)
	case event.SMBPath:
		d.Path = r.text(v)
	case event.SMBName:
		d.Name = r.text(v)
	case event.SMBSize:
		d.Size = r.num(v)
	case event.SMBPrevName:
		d.PrevName = r.text(v)
	}
}

func (r *reader) setDHCP(d *event.DHCP, c event.Column, v []byte) {
	switch c {
	case event.DHCPUIDs:
		d.UIDs = r.list(v)
	case event.DHCPClientAddr:
		d.ClientAddr = r.addr(v)
	case event.DHCPServerAddr:
		d.ServerAddr = r.addr(v)
	case event.DHCPAssignedAddr:
		d.AssignedAddr = r.addr(v)
	case event.DHCPRequestedAddr:
		d.RequestedAddr = r.addr(v)
	case event.DHCPMAC:
		d.MAC = r.text(v)
	case event.DHCPHostName:
		d.HostName = r.text(v)
	case event.DHCPClientFQDN:
		d.ClientFQDN = r.text(v)
	case event.DHCPDomain:
		d.Domain = r.text(v)
	case event.DHCPLeaseTime:
		d.LeaseTime = r.interval(v)
	case event.DHCPMsgTypes:
		d.MsgTypes = r.list(v)
	case event.DHCPClientMessage:
		d.ClientMessage = r.text(v)
	case event.DHCPServerMessage:
		d.ServerMessage = r.text(v)
	case event.DHCPDuration:
		d.Duration = r.interval(v)
	}
}

func (r *reader) setNotice(d *event.Notice, c event.Column, v []byte) {
	switch c {
	case event.NoticeName:
		d.Name = r.text(v)
	case event.NoticeMessage:
		d.Message = r.text(v)
	case event.NoticeSub:
		d.Sub = r.text(v)
	case event.NoticeActions:
		d.Actions = r.list(v)
	case event.NoticePeer:
		d.Peer = r.text(v)
	case event.NoticeCount:
		d.Count = r.num(v)
	case event.NoticeFUID:
		d.FUID = r.text(v)
	case event.NoticeSource:
		d.Source = r.text(v)
	}
}

func (r *reader) setSoftware(d *event.Software, c event.Column, v []byte) {
	switch c {
	case event.SoftwareType:
		d.Type = r.text(v)
	case event.SoftwareName:
		d.Name = r.text(v)
	case event.SoftwareUnparsed:
		d.Unparsed = r.text(v)
	case event.SoftwareMajor:
		d.Major = r.num32(v)
	case event.SoftwareMinor:
		d.Minor = r.num32(v)
	}
}

func (r *reader) setKerberos(d *event.Kerberos, c event.Column, v []byte) {
	switch c {
	case event.KerberosRequestType:
		d.RequestType = r.text(v)
	case event.KerberosClient:
		d.Client = r.text(v)
	case event.KerberosService:
		d.Service = r.text(v)
	case event.KerberosSuccess:
		d.Success = r.truth(v)
	case event.KerberosErrorMsg:
		d.ErrorMsg = r.text(v)
	case event.KerberosTill:
		d.Till = r.time(v)
	case event.KerberosCipher:
		d.Cipher = r.text(v)
	case event.KerberosForwardable:
		d.Forwardable = r.truth(v)
	case event.KerberosRenewable:
		d.Renewable = r.truth(v)
	}
}
