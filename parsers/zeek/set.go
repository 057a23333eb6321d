package zeek

import "tidewatch/event"

// The functions below give a record the columns of its kind. A column that the
// record does not have stays as it is in an empty record: zero, and not in Set.

// common reads what any log can have.
func (r *reader) common(ev *event.Event) {
	if v, ok := r.get(colTime); ok {
		ev.Time = r.parseTime(v)
		r.timed = true
	}
	ev.UID = r.text(event.ColUID)
	ev.Orig.Addr = r.addr(event.ColOrigAddr)
	ev.Orig.Port = r.port(event.ColOrigPort)
	ev.Resp.Addr = r.addr(event.ColRespAddr)
	ev.Resp.Port = r.port(event.ColRespPort)
	ev.Proto = r.proto()
	if r.rare {
		ev.CommunityID = r.text(event.ColCommunityID)
		ev.VLAN = r.num16(event.ColVLAN)
		ev.InnerVLAN = r.num16(event.ColInnerVLAN)
		ev.Written = r.time(event.ColWritten)
	}
}

// columns reads the columns of the record's kind.
func (r *reader) columns(ev *event.Event) {
	b := r.b
	switch ev.Kind {
	case event.KindConn:
		r.conn(b.Conn(ev))
	case event.KindDNS:
		r.dns(b.DNS(ev))
	case event.KindTLS:
		r.tls(b.TLS(ev))
	case event.KindHTTP:
		r.http(b.HTTP(ev))
	case event.KindFile:
		r.file(b.File(ev))
	case event.KindX509:
		r.x509(b.X509(ev))
	case event.KindSSH:
		r.ssh(b.SSH(ev))
	case event.KindRDP:
		r.rdp(b.RDP(ev))
	case event.KindSMB:
		r.smb(b.SMB(ev))
	case event.KindDHCP:
		r.dhcp(b.DHCP(ev))
	case event.KindNotice, event.KindWeird:
		r.notice(b.Notice(ev))
	case event.KindSoftware:
		r.software(b.Software(ev))
	case event.KindKerberos:
		r.kerberos(b.Kerberos(ev))
	case event.KindDCERPC:
		r.dcerpc(b.App(ev))
	case event.KindNTLM:
		r.ntlm(b.App(ev))
	}
}

func (r *reader) conn(d *event.Conn) {
	d.Service = r.text(event.ConnService)
	d.Duration = r.interval(event.ConnDuration)
	d.OrigBytes = r.num(event.ConnOrigBytes)
	d.RespBytes = r.num(event.ConnRespBytes)
	d.State = r.state(event.ConnState)
	d.LocalOrig = r.truth(event.ConnLocalOrig)
	d.LocalResp = r.truth(event.ConnLocalResp)
	d.MissedBytes = r.num(event.ConnMissedBytes)
	d.History = r.text(event.ConnHistory)
	d.OrigPkts = r.num(event.ConnOrigPkts)
	d.OrigIPBytes = r.num(event.ConnOrigIPBytes)
	d.RespPkts = r.num(event.ConnRespPkts)
	d.RespIPBytes = r.num(event.ConnRespIPBytes)
	d.TunnelParents = r.list(event.ConnTunnelParents)
	d.OrigMAC = r.text(event.ConnOrigMAC)
	d.RespMAC = r.text(event.ConnRespMAC)
	d.ShuntedOrigBytes = r.num(event.ConnShuntedOrigBytes)
	d.ShuntedRespBytes = r.num(event.ConnShuntedRespBytes)
}

func (r *reader) dns(d *event.DNS) {
	d.Query = r.text(event.DNSQuery)
	d.TransID = r.num16(event.DNSTransID)
	d.RTT = r.interval(event.DNSRTT)
	d.QClass = r.num16(event.DNSQClass)
	d.QClassName = r.text(event.DNSQClassName)
	d.QType = r.num16(event.DNSQType)
	d.QTypeName = r.text(event.DNSQTypeName)
	d.RCode = r.num16(event.DNSRCode)
	d.RCodeName = r.text(event.DNSRCodeName)
	d.AA = r.truth(event.DNSAA)
	d.TC = r.truth(event.DNSTC)
	d.RD = r.truth(event.DNSRD)
	d.RA = r.truth(event.DNSRA)
	d.Z = r.num16(event.DNSZ)
	d.Answers = r.list(event.DNSAnswers)
	d.TTLs = r.ttls(event.DNSTTLs)
	d.Rejected = r.truth(event.DNSRejected)
	d.Opcode = r.num16(event.DNSOpcode)
}

func (r *reader) tls(d *event.TLS) {
	d.Version = r.text(event.TLSVersion)
	d.Cipher = r.text(event.TLSCipher)
	d.Curve = r.text(event.TLSCurve)
	d.ServerName = r.text(event.TLSServerName)
	d.Resumed = r.truth(event.TLSResumed)
	d.LastAlert = r.text(event.TLSLastAlert)
	d.NextProtocol = r.text(event.TLSNextProtocol)
	d.Established = r.truth(event.TLSEstablished)
	d.History = r.text(event.TLSHistory)
	d.CertChain = r.list(event.TLSCertChain)
	d.ClientCertChain = r.list(event.TLSClientCertChain)
	d.SNIMatchesCert = r.truth(event.TLSSNIMatchesCert)
	d.Validation = r.text(event.TLSValidation)
	d.Subject = r.text(event.TLSSubject)
	d.Issuer = r.text(event.TLSIssuer)
	d.ClientSubject = r.text(event.TLSClientSubject)
	d.ClientIssuer = r.text(event.TLSClientIssuer)
	d.JA3 = r.text(event.TLSJA3)
	d.JA3S = r.text(event.TLSJA3S)
	d.JA4 = r.text(event.TLSJA4)
	d.JA4S = r.text(event.TLSJA4S)
}

func (r *reader) http(d *event.HTTP) {
	d.Method = r.text(event.HTTPMethod)
	d.Host = r.text(event.HTTPHost)
	d.URI = r.text(event.HTTPURI)
	d.Referrer = r.text(event.HTTPReferrer)
	d.Version = r.text(event.HTTPVersion)
	d.UserAgent = r.text(event.HTTPUserAgent)
	d.Origin = r.text(event.HTTPOrigin)
	d.OrigBodyLen = r.num(event.HTTPOrigBodyLen)
	d.RespBodyLen = r.num(event.HTTPRespBodyLen)
	d.Status = r.num16(event.HTTPStatus)
	d.StatusMsg = r.text(event.HTTPStatusMsg)
	d.Username = r.text(event.HTTPUsername)
	d.Proxied = r.list(event.HTTPProxied)
	d.OrigMIME = r.list(event.HTTPOrigMIME)
	d.RespMIME = r.list(event.HTTPRespMIME)
	d.TransDepth = r.num(event.HTTPTransDepth)
}

func (r *reader) file(d *event.File) {
	d.FUID = r.text(event.FileFUID)
	d.UIDs = r.list(event.FileUIDs)
	d.Source = r.text(event.FileSource)
	d.Name = r.text(event.FileName)
	d.MIME = r.text(event.FileMIME)
	d.Analyzers = r.list(event.FileAnalyzers)
	d.Duration = r.interval(event.FileDuration)
	d.LocalOrig = r.truth(event.FileLocalOrig)
	d.FromOrig = r.truth(event.FileFromOrig)
	d.SeenBytes = r.num(event.FileSeenBytes)
	d.TotalBytes = r.num(event.FileTotalBytes)
	d.MissingBytes = r.num(event.FileMissingBytes)
	d.MD5 = r.text(event.FileMD5)
	d.SHA1 = r.text(event.FileSHA1)
	d.SHA256 = r.text(event.FileSHA256)
	r.tx, r.rx = r.soleHost(colTxHosts), r.soleHost(colRxHosts)
}

func (r *reader) x509(d *event.X509) {
	d.ID = r.text(event.X509ID)
	d.Version = r.num16(event.X509Version)
	d.Serial = r.text(event.X509Serial)
	d.Subject = r.text(event.X509Subject)
	d.Issuer = r.text(event.X509Issuer)
	d.NotBefore = r.time(event.X509NotBefore)
	d.NotAfter = r.time(event.X509NotAfter)
	d.KeyAlg = r.text(event.X509KeyAlg)
	d.SigAlg = r.text(event.X509SigAlg)
	d.KeyType = r.text(event.X509KeyType)
	d.KeyLength = r.num32(event.X509KeyLength)
	d.SANDNS = r.list(event.X509SANDNS)
	d.SANIP = r.list(event.X509SANIP)
	d.CA = r.truth(event.X509CA)
	d.HostCert = r.truth(event.X509HostCert)
	d.ClientCert = r.truth(event.X509ClientCert)
}

func (r *reader) ssh(d *event.SSH) {
	d.Version = r.num16(event.SSHVersion)
	d.AuthSuccess = r.truth(event.SSHAuthSuccess)
	d.AuthAttempts = r.num32(event.SSHAuthAttempts)
	d.Direction = r.text(event.SSHDirection)
	d.Client = r.text(event.SSHClient)
	d.Server = r.text(event.SSHServer)
	d.CipherAlg = r.text(event.SSHCipherAlg)
	d.MACAlg = r.text(event.SSHMACAlg)
	d.CompressionAlg = r.text(event.SSHCompressionAlg)
	d.KexAlg = r.text(event.SSHKexAlg)
	d.HostKeyAlg = r.text(event.SSHHostKeyAlg)
	d.HostKey = r.text(event.SSHHostKey)
	d.HASSH = r.text(event.SSHHASSH)
	d.HASSHServer = r.text(event.SSHHASSHServer)
}

func (r *reader) rdp(d *event.RDP) {
	d.Cookie = r.text(event.RDPCookie)
	d.Result = r.text(event.RDPResult)
	d.SecurityProtocol = r.text(event.RDPSecurityProtocol)
	d.Channels = r.list(event.RDPChannels)
	d.KeyboardLayout = r.text(event.RDPKeyboardLayout)
	d.ClientBuild = r.text(event.RDPClientBuild)
	d.ClientName = r.text(event.RDPClientName)
	d.CertType = r.text(event.RDPCertType)
	d.CertCount = r.num32(event.RDPCertCount)
	d.EncryptionLevel = r.text(event.RDPEncryptionLevel)
	d.EncryptionMethod = r.text(event.RDPEncryptionMethod)
}

func (r *reader) smb(d *event.SMB) {
	d.FUID = r.text(event.SMBFUID)
	d.Action = r.text(event.SMBAction)
	d.Path = r.text(event.SMBPath)
	d.Name = r.text(event.SMBName)
	d.Size = r.num(event.SMBSize)
	d.PrevName = r.text(event.SMBPrevName)
}

func (r *reader) dhcp(d *event.DHCP) {
	d.UIDs = r.list(event.DHCPUIDs)
	d.ClientAddr = r.addr(event.DHCPClientAddr)
	d.ServerAddr = r.addr(event.DHCPServerAddr)
	d.AssignedAddr = r.addr(event.DHCPAssignedAddr)
	d.RequestedAddr = r.addr(event.DHCPRequestedAddr)
	d.MAC = r.text(event.DHCPMAC)
	d.HostName = r.text(event.DHCPHostName)
	d.ClientFQDN = r.text(event.DHCPClientFQDN)
	d.Domain = r.text(event.DHCPDomain)
	d.LeaseTime = r.interval(event.DHCPLeaseTime)
	d.MsgTypes = r.list(event.DHCPMsgTypes)
	d.ClientMessage = r.text(event.DHCPClientMessage)
	d.ServerMessage = r.text(event.DHCPServerMessage)
	d.Duration = r.interval(event.DHCPDuration)
}

func (r *reader) notice(d *event.Notice) {
	d.Name = r.text(event.NoticeName)
	d.Message = r.text(event.NoticeMessage)
	d.Sub = r.text(event.NoticeSub)
	d.Actions = r.list(event.NoticeActions)
	d.Peer = r.text(event.NoticePeer)
	d.Count = r.num(event.NoticeCount)
	d.FUID = r.text(event.NoticeFUID)
	d.Source = r.text(event.NoticeSource)
}

func (r *reader) software(d *event.Software) {
	d.Type = r.text(event.SoftwareType)
	d.Name = r.text(event.SoftwareName)
	d.Unparsed = r.text(event.SoftwareUnparsed)
	d.Major = r.num32(event.SoftwareMajor)
	d.Minor = r.num32(event.SoftwareMinor)
}

func (r *reader) kerberos(d *event.Kerberos) {
	d.RequestType = r.text(event.KerberosRequestType)
	d.Client = r.text(event.KerberosClient)
	d.Service = r.text(event.KerberosService)
	d.Success = r.truth(event.KerberosSuccess)
	d.ErrorMsg = r.text(event.KerberosErrorMsg)
	d.Till = r.time(event.KerberosTill)
	d.Cipher = r.text(event.KerberosCipher)
	d.Forwardable = r.truth(event.KerberosForwardable)
	d.Renewable = r.truth(event.KerberosRenewable)
}

// dcerpc keeps the pipe, which older logs call by its port, as the only one of Names.
func (r *reader) ntlm(d *event.App) {
	d.User = r.text(event.AppUser)
	d.Argument = r.text(event.AppArgument)
	d.Names = r.list(event.AppNames)
	d.Status = r.text(event.AppStatus)
}

func (r *reader) dcerpc(d *event.App) {
	d.Command = r.text(event.AppCommand)
	d.Argument = r.text(event.AppArgument)
	d.Names = r.list(event.AppNames)
}
