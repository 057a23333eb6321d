package outputs

import (
	"net/netip"
	"strings"

	"tidewatch/event"
)

// column is how a column that ECS has no field for is written, under tidewatch and the
// column's own name: tidewatch.conn.history.
type column struct {
	typ   FieldType
	write func(w *object, name string, e *event.Event)
}

func text(f func(*event.Event) string) column {
	return column{Keyword, func(w *object, name string, e *event.Event) { w.text(name, f(e)) }}
}

func mac(f func(*event.Event) string) column {
	return column{Keyword, func(w *object, name string, e *event.Event) { w.mac(name, f(e)) }}
}

func list(f func(*event.Event) []string) column {
	return column{Keyword, func(w *object, name string, e *event.Event) { w.texts(name, f(e)) }}
}

func count(f func(*event.Event) uint64) column {
	return column{Long, func(w *object, name string, e *event.Event) { w.whole(name, f(e)) }}
}

func truth(f func(*event.Event) bool) column {
	return column{Boolean, func(w *object, name string, e *event.Event) { w.bool(name, f(e)) }}
}

// span is of nanoseconds, and written in seconds.
func span(f func(*event.Event) int64) column {
	return column{Double, func(w *object, name string, e *event.Event) { w.number(name, float64(f(e))/1e9) }}
}

func moment(f func(*event.Event) int64) column {
	return column{Date, func(w *object, name string, e *event.Event) { w.time(name, f(e)) }}
}

func host(f func(*event.Event) netip.Addr) column {
	return column{IP, func(w *object, name string, e *event.Event) {
		if a := f(e); a.IsValid() {
			w.addr(name, a)
		}
	}}
}

// ownColumns are those that ECS has no field for, or has one for only a part of. The
// others are written by the functions of record.go.
var ownColumns = [event.NumColumns]column{
	event.ColTxID:              count(func(e *event.Event) uint64 { return e.TxID }),
	event.ConnOrigBytes:        count(func(e *event.Event) uint64 { return uint64(e.Conn.OrigBytes) }),
	event.ConnRespBytes:        count(func(e *event.Event) uint64 { return uint64(e.Conn.RespBytes) }),
	event.ConnState:            text(func(e *event.Event) string { return e.Conn.State.String() }),
	event.ConnLocalOrig:        truth(func(e *event.Event) bool { return e.Conn.LocalOrig }),
	event.ConnLocalResp:        truth(func(e *event.Event) bool { return e.Conn.LocalResp }),
	event.ConnMissedBytes:      count(func(e *event.Event) uint64 { return uint64(e.Conn.MissedBytes) }),
	event.ConnHistory:          text(func(e *event.Event) string { return e.Conn.History }),
	event.ConnTunnelParents:    list(func(e *event.Event) []string { return e.Conn.TunnelParents }),
	event.ConnOrigFlags:        count(func(e *event.Event) uint64 { return uint64(e.Conn.OrigFlags) }),
	event.ConnRespFlags:        count(func(e *event.Event) uint64 { return uint64(e.Conn.RespFlags) }),
	event.ConnFlowState:        text(func(e *event.Event) string { return e.Conn.FlowState }),
	event.ConnReason:           text(func(e *event.Event) string { return e.Conn.Reason }),
	event.ConnAlerted:          truth(func(e *event.Event) bool { return e.Conn.Alerted }),
	event.ConnShuntedOrigBytes: count(func(e *event.Event) uint64 { return uint64(e.Conn.ShuntedOrigBytes) }),
	event.ConnShuntedRespBytes: count(func(e *event.Event) uint64 { return uint64(e.Conn.ShuntedRespBytes) }),
	event.DNSRTT:               span(func(e *event.Event) int64 { return e.DNS.RTT }),
	event.DNSQClass:            count(func(e *event.Event) uint64 { return uint64(e.DNS.QClass) }),
	event.DNSQType:             count(func(e *event.Event) uint64 { return uint64(e.DNS.QType) }),
	event.DNSRCode:             count(func(e *event.Event) uint64 { return uint64(e.DNS.RCode) }),
	event.DNSZ:                 count(func(e *event.Event) uint64 { return uint64(e.DNS.Z) }),
	event.DNSRejected:          truth(func(e *event.Event) bool { return e.DNS.Rejected }),
	event.DNSOpcode:            count(func(e *event.Event) uint64 { return uint64(e.DNS.Opcode) }),
	event.TLSVersion:           text(func(e *event.Event) string { return e.TLS.Version }),
	event.TLSLastAlert:         text(func(e *event.Event) string { return e.TLS.LastAlert }),
	event.TLSHistory:           text(func(e *event.Event) string { return e.TLS.History }),
	event.TLSCertChain:         list(func(e *event.Event) []string { return e.TLS.CertChain }),
	event.TLSClientCertChain:   list(func(e *event.Event) []string { return e.TLS.ClientCertChain }),
	event.TLSSNIMatchesCert:    truth(func(e *event.Event) bool { return e.TLS.SNIMatchesCert }),
	event.TLSValidation:        text(func(e *event.Event) string { return e.TLS.Validation }),
	event.TLSFingerprint:       text(func(e *event.Event) string { return e.TLS.Fingerprint }),
	event.TLSJA4:               text(func(e *event.Event) string { return e.TLS.JA4 }),
	event.TLSJA4S:              text(func(e *event.Event) string { return e.TLS.JA4S }),
	event.TLSUserAgent:         text(func(e *event.Event) string { return e.TLS.UserAgent }),
	event.HTTPOrigin:           text(func(e *event.Event) string { return e.HTTP.Origin }),
	event.HTTPStatusMsg:        text(func(e *event.Event) string { return e.HTTP.StatusMsg }),
	event.HTTPProxied:          list(func(e *event.Event) []string { return e.HTTP.Proxied }),
	event.HTTPOrigMIME:         list(func(e *event.Event) []string { return e.HTTP.OrigMIME }),
	event.HTTPRespMIME:         list(func(e *event.Event) []string { return e.HTTP.RespMIME }),
	event.HTTPTransDepth:       count(func(e *event.Event) uint64 { return uint64(e.HTTP.TransDepth) }),
	event.FileFUID:             text(func(e *event.Event) string { return e.File.FUID }),
	event.FileUIDs:             list(func(e *event.Event) []string { return e.File.UIDs }),
	event.FileSource:           text(func(e *event.Event) string { return e.File.Source }),
	event.FileAnalyzers:        list(func(e *event.Event) []string { return e.File.Analyzers }),
	event.FileDuration:         span(func(e *event.Event) int64 { return e.File.Duration }),
	event.FileLocalOrig:        truth(func(e *event.Event) bool { return e.File.LocalOrig }),
	event.FileFromOrig:         truth(func(e *event.Event) bool { return e.File.FromOrig }),
	event.FileSeenBytes:        count(func(e *event.Event) uint64 { return uint64(e.File.SeenBytes) }),
	event.FileMissingBytes:     count(func(e *event.Event) uint64 { return uint64(e.File.MissingBytes) }),
	event.FileFileState:        text(func(e *event.Event) string { return e.File.FileState }),
	event.X509ID:               text(func(e *event.Event) string { return e.X509.ID }),
	event.X509KeyType:          text(func(e *event.Event) string { return e.X509.KeyType }),
	event.X509CA:               truth(func(e *event.Event) bool { return e.X509.CA }),
	event.X509HostCert:         truth(func(e *event.Event) bool { return e.X509.HostCert }),
	event.X509ClientCert:       truth(func(e *event.Event) bool { return e.X509.ClientCert }),
	event.SSHVersion:           count(func(e *event.Event) uint64 { return uint64(e.SSH.Version) }),
	event.SSHAuthSuccess:       truth(func(e *event.Event) bool { return e.SSH.AuthSuccess }),
	event.SSHAuthAttempts:      count(func(e *event.Event) uint64 { return uint64(e.SSH.AuthAttempts) }),
	event.SSHDirection:         text(func(e *event.Event) string { return e.SSH.Direction }),
	event.SSHClient:            text(func(e *event.Event) string { return e.SSH.Client }),
	event.SSHServer:            text(func(e *event.Event) string { return e.SSH.Server }),
	event.SSHCipherAlg:         text(func(e *event.Event) string { return e.SSH.CipherAlg }),
	event.SSHMACAlg:            text(func(e *event.Event) string { return e.SSH.MACAlg }),
	event.SSHCompressionAlg:    text(func(e *event.Event) string { return e.SSH.CompressionAlg }),
	event.SSHKexAlg:            text(func(e *event.Event) string { return e.SSH.KexAlg }),
	event.SSHHostKeyAlg:        text(func(e *event.Event) string { return e.SSH.HostKeyAlg }),
	event.SSHHostKey:           text(func(e *event.Event) string { return e.SSH.HostKey }),
	event.SSHHASSH:             text(func(e *event.Event) string { return e.SSH.HASSH }),
	event.SSHHASSHServer:       text(func(e *event.Event) string { return e.SSH.HASSHServer }),
	event.RDPCookie:            text(func(e *event.Event) string { return e.RDP.Cookie }),
	event.RDPResult:            text(func(e *event.Event) string { return e.RDP.Result }),
	event.RDPSecurityProtocol:  text(func(e *event.Event) string { return e.RDP.SecurityProtocol }),
	event.RDPChannels:          list(func(e *event.Event) []string { return e.RDP.Channels }),
	event.RDPKeyboardLayout:    text(func(e *event.Event) string { return e.RDP.KeyboardLayout }),
	event.RDPClientBuild:       text(func(e *event.Event) string { return e.RDP.ClientBuild }),
	event.RDPClientName:        text(func(e *event.Event) string { return e.RDP.ClientName }),
	event.RDPCertType:          text(func(e *event.Event) string { return e.RDP.CertType }),
	event.RDPCertCount:         count(func(e *event.Event) uint64 { return uint64(e.RDP.CertCount) }),
	event.RDPEncryptionLevel:   text(func(e *event.Event) string { return e.RDP.EncryptionLevel }),
	event.RDPEncryptionMethod:  text(func(e *event.Event) string { return e.RDP.EncryptionMethod }),
	event.SMBAction:            text(func(e *event.Event) string { return e.SMB.Action }),
	event.SMBShare:             text(func(e *event.Event) string { return e.SMB.Share }),
	event.SMBPath:              text(func(e *event.Event) string { return e.SMB.Path }),
	event.SMBName:              text(func(e *event.Event) string { return e.SMB.Name }),
	event.SMBPrevName:          text(func(e *event.Event) string { return e.SMB.PrevName }),
	event.SMBSize:              count(func(e *event.Event) uint64 { return uint64(e.SMB.Size) }),
	event.SMBFUID:              text(func(e *event.Event) string { return e.SMB.FUID }),
	event.SMBDialect:           text(func(e *event.Event) string { return e.SMB.Dialect }),
	event.SMBStatus:            text(func(e *event.Event) string { return e.SMB.Status }),
	event.SMBClientName:        text(func(e *event.Event) string { return e.SMB.ClientName }),
	event.DHCPUIDs:             list(func(e *event.Event) []string { return e.DHCP.UIDs }),
	event.DHCPClientAddr:       host(func(e *event.Event) netip.Addr { return e.DHCP.ClientAddr }),
	event.DHCPServerAddr:       host(func(e *event.Event) netip.Addr { return e.DHCP.ServerAddr }),
	event.DHCPAssignedAddr:     host(func(e *event.Event) netip.Addr { return e.DHCP.AssignedAddr }),
	event.DHCPRequestedAddr:    host(func(e *event.Event) netip.Addr { return e.DHCP.RequestedAddr }),
	event.DHCPMAC:              mac(func(e *event.Event) string { return e.DHCP.MAC }),
	event.DHCPHostName:         text(func(e *event.Event) string { return e.DHCP.HostName }),
	event.DHCPClientFQDN:       text(func(e *event.Event) string { return e.DHCP.ClientFQDN }),
	event.DHCPDomain:           text(func(e *event.Event) string { return e.DHCP.Domain }),
	event.DHCPLeaseTime:        span(func(e *event.Event) int64 { return e.DHCP.LeaseTime }),
	event.DHCPMsgTypes:         list(func(e *event.Event) []string { return e.DHCP.MsgTypes }),
	event.DHCPClientMessage:    text(func(e *event.Event) string { return e.DHCP.ClientMessage }),
	event.DHCPServerMessage:    text(func(e *event.Event) string { return e.DHCP.ServerMessage }),
	event.DHCPDuration:         span(func(e *event.Event) int64 { return e.DHCP.Duration }),
	event.NoticeSub:            text(func(e *event.Event) string { return e.Notice.Sub }),
	event.NoticeSeverity:       count(func(e *event.Event) uint64 { return uint64(e.Notice.Severity) }),
	event.NoticeGID:            count(func(e *event.Event) uint64 { return uint64(e.Notice.GID) }),
	event.NoticeAction:         text(func(e *event.Event) string { return e.Notice.Action }),
	event.NoticeActions:        list(func(e *event.Event) []string { return e.Notice.Actions }),
	event.NoticePeer:           text(func(e *event.Event) string { return e.Notice.Peer }),
	event.NoticeCount:          count(func(e *event.Event) uint64 { return uint64(e.Notice.Count) }),
	event.NoticeFUID:           text(func(e *event.Event) string { return e.Notice.FUID }),
	event.NoticeSource:         text(func(e *event.Event) string { return e.Notice.Source }),
	event.NoticeName:           text(func(e *event.Event) string { return e.Notice.Name }),
	event.NoticeCategory:       text(func(e *event.Event) string { return e.Notice.Category }),
	event.SoftwareType:         text(func(e *event.Event) string { return e.Software.Type }),
	event.SoftwareName:         text(func(e *event.Event) string { return e.Software.Name }),
	event.SoftwareUnparsed:     text(func(e *event.Event) string { return e.Software.Unparsed }),
	event.SoftwareMajor:        count(func(e *event.Event) uint64 { return uint64(e.Software.Major) }),
	event.SoftwareMinor:        count(func(e *event.Event) uint64 { return uint64(e.Software.Minor) }),
	event.KerberosRequestType:  text(func(e *event.Event) string { return e.Kerberos.RequestType }),
	event.KerberosClient:       text(func(e *event.Event) string { return e.Kerberos.Client }),
	event.KerberosService:      text(func(e *event.Event) string { return e.Kerberos.Service }),
	event.KerberosSuccess:      truth(func(e *event.Event) bool { return e.Kerberos.Success }),
	event.KerberosErrorMsg:     text(func(e *event.Event) string { return e.Kerberos.ErrorMsg }),
	event.KerberosTill:         moment(func(e *event.Event) int64 { return e.Kerberos.Till }),
	event.KerberosCipher:       text(func(e *event.Event) string { return e.Kerberos.Cipher }),
	event.KerberosForwardable:  truth(func(e *event.Event) bool { return e.Kerberos.Forwardable }),
	event.KerberosRenewable:    truth(func(e *event.Event) bool { return e.Kerberos.Renewable }),
	event.AppCommand:           text(func(e *event.Event) string { return e.App.Command }),
	event.AppArgument:          text(func(e *event.Event) string { return e.App.Argument }),
	event.AppStatus:            text(func(e *event.Event) string { return e.App.Status }),
	event.AppVersion:           text(func(e *event.Event) string { return e.App.Version }),
	event.AppNames:             list(func(e *event.Event) []string { return e.App.Names }),
	event.AppSize:              count(func(e *event.Event) uint64 { return uint64(e.App.Size) }),
}

// groups are where the columns of a kind begin and end, in their order: each has an
// object of its own.
var groups = func() (gs []group) {
	for c := range event.Column(event.NumColumns) {
		name, _, ok := strings.Cut(c.String(), ".")
		if ownColumns[c].write == nil || !ok {
			continue
		}
		if len(gs) == 0 || gs[len(gs)-1].name != name {
			gs = append(gs, group{name: name})
		}
		g := &gs[len(gs)-1]
		g.columns = append(g.columns, c)
		g.set.Add(c)
		g.members = append(g.members, c.String()[len(name)+1:])
	}
	return gs
}()

type group struct {
	name    string
	set     event.Columns
	columns []event.Column
	members []string // the columns' names within the group
}

// own writes what ECS has no field for.
func (e *Encoder) own(ev *event.Event) {
	w := &e.w
	w.open("tidewatch").text("uid", ev.UID)
	if ev.Has(event.ColTxID) {
		w.whole("tx_id", ev.TxID)
	}
	if ev.Kind == event.KindConn {
		w.text("outcome", ev.Outcome.String())
	}
	if ev.Proto.IsICMP() && ev.Has(event.ColOrigPort) {
		w.open("icmp").whole("type", uint64(ev.Orig.Port)).whole("code", uint64(ev.Resp.Port)).close()
	}
	if ev.Has(event.ColWritten) {
		w.time("written", ev.Written)
	}
	for i := range groups {
		g := &groups[i]
		if !overlap(&g.set, &ev.Set) {
			continue
		}
		w.open(g.name)
		for j, c := range g.columns {
			if ev.Has(c) {
				ownColumns[c].write(w, g.members[j], ev)
			}
		}
		w.close()
	}
	if ev.Known != nil && ev.Known.Looked {
		w.far(ev.Known)
	}
	w.about("source", ev.Orig.About)
	w.about("destination", ev.Resp.About)
	// Names that nobody knows beforehand are values, not keys.
	w.list("extra")
	for i := range ev.Extra {
		w.open("").text("name", ev.Extra[i].Name).text("value", ev.Extra[i].Value).close()
	}
	w.end().close()
}

func overlap(a, b *event.Columns) bool {
	for i := range a {
		if a[i]&b[i] != 0 {
			return true
		}
	}
	return false
}

// far writes what is known of the record's far end.
func (w *object) far(k *event.Known) {
	w.open("far").text("name", k.Name).text("domain", k.Domain)
	if k.Source != event.NameNone {
		w.text("name_source", k.Source.String())
	}
	w.whole("hosts", uint64(k.Hosts)).whole("addr_hosts", uint64(k.Addr.Hosts))
	w.when("addr_since", k.Addr.First, k.Addr.First != 0)
	if k.Name != "" {
		w.whole("name_hosts", uint64(k.OfName.Hosts)).whole("domain_hosts", uint64(k.OfDomain.Hosts))
		w.when("domain_since", k.OfDomain.First, k.OfDomain.First != 0)
	}
	if k.Rank > 0 {
		w.whole("rank", uint64(k.Rank))
	}
	w.text("looks_like", k.Alike)
	if k.Unasked {
		w.bool("unasked", true)
	}
	w.text("class", k.Class.String()).close()
}
