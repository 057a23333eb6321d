package zeek

import (
	"slices"
	"strings"

	"tidewatch/event"
)

// What a name in a log means: a column of event, or one of the codes below, which
// lie above all columns.
const (
	colTime event.Column = 255 - iota
	colPath
	colIPProto // number of the protocol, for a proto that has no name
	colTxHosts // files.log before 5.1: who sent
	colRxHosts // and who received
	colExtra   // asked for by name
)

// The codes and the columns do not overlap.
var _ = [1]struct{}{}[event.NumColumns/int(colExtra)]

// column binds a name to its meaning.
type column struct {
	name string
	col  event.Column
	// second marks a name whose value gives way to that of another name with the
	// same meaning.
	second bool
}

// common are the columns that any log can have.
var common = []column{
	{name: "ts", col: colTime},
	{name: "_write_ts", col: event.ColWritten},
	{name: "_path", col: colPath},
	{name: "uid", col: event.ColUID},
	{name: "id.orig_h", col: event.ColOrigAddr},
	{name: "id.orig_p", col: event.ColOrigPort},
	{name: "id.resp_h", col: event.ColRespAddr},
	{name: "id.resp_p", col: event.ColRespPort},
	{name: "proto", col: event.ColProto},
	{name: "ip_proto", col: colIPProto},
	{name: "community_id", col: event.ColCommunityID},
	{name: "id.ctx.vlan", col: event.ColVLAN},
	{name: "id.ctx.inner_vlan", col: event.ColInnerVLAN},
	{name: "vlan", col: event.ColVLAN, second: true},
	{name: "inner_vlan", col: event.ColInnerVLAN, second: true},
	{name: "id_vlan", col: event.ColVLAN, second: true},
}

// kindColumns are the columns of each kind. They come before common ones of the
// same name.
var kindColumns = [event.NumKinds][]column{
	event.KindConn: {
		{name: "service", col: event.ConnService},
		{name: "duration", col: event.ConnDuration},
		{name: "orig_bytes", col: event.ConnOrigBytes},
		{name: "resp_bytes", col: event.ConnRespBytes},
		{name: "conn_state", col: event.ConnState},
		{name: "local_orig", col: event.ConnLocalOrig},
		{name: "local_resp", col: event.ConnLocalResp},
		{name: "missed_bytes", col: event.ConnMissedBytes},
		{name: "history", col: event.ConnHistory},
		{name: "orig_pkts", col: event.ConnOrigPkts},
		{name: "orig_ip_bytes", col: event.ConnOrigIPBytes},
		{name: "resp_pkts", col: event.ConnRespPkts},
		{name: "resp_ip_bytes", col: event.ConnRespIPBytes},
		{name: "tunnel_parents", col: event.ConnTunnelParents},
		{name: "orig_l2_addr", col: event.ConnOrigMAC},
		{name: "resp_l2_addr", col: event.ConnRespMAC},
		{name: "orig_shunted_bytes", col: event.ConnShuntedOrigBytes},
		{name: "resp_shunted_bytes", col: event.ConnShuntedRespBytes},
	},
	event.KindDNS: {
		{name: "trans_id", col: event.DNSTransID},
		{name: "rtt", col: event.DNSRTT},
		{name: "query", col: event.DNSQuery},
		{name: "qclass", col: event.DNSQClass},
		{name: "qclass_name", col: event.DNSQClassName},
		{name: "qtype", col: event.DNSQType},
		{name: "qtype_name", col: event.DNSQTypeName},
		{name: "rcode", col: event.DNSRCode},
		{name: "rcode_name", col: event.DNSRCodeName},
		{name: "AA", col: event.DNSAA},
		{name: "TC", col: event.DNSTC},
		{name: "RD", col: event.DNSRD},
		{name: "RA", col: event.DNSRA},
		{name: "Z", col: event.DNSZ},
		{name: "answers", col: event.DNSAnswers},
		{name: "TTLs", col: event.DNSTTLs},
		{name: "rejected", col: event.DNSRejected},
		{name: "opcode", col: event.DNSOpcode},
	},
	event.KindTLS: {
		{name: "version", col: event.TLSVersion},
		{name: "cipher", col: event.TLSCipher},
		{name: "curve", col: event.TLSCurve},
		{name: "server_name", col: event.TLSServerName},
		{name: "resumed", col: event.TLSResumed},
		{name: "last_alert", col: event.TLSLastAlert},
		{name: "next_protocol", col: event.TLSNextProtocol},
		{name: "established", col: event.TLSEstablished},
		{name: "ssl_history", col: event.TLSHistory},
		{name: "cert_chain_fps", col: event.TLSCertChain},
		{name: "client_cert_chain_fps", col: event.TLSClientCertChain},
		{name: "cert_chain_fuids", col: event.TLSCertChain, second: true},
		{name: "client_cert_chain_fuids", col: event.TLSClientCertChain, second: true},
		{name: "subject", col: event.TLSSubject},
		{name: "issuer", col: event.TLSIssuer},
		{name: "client_subject", col: event.TLSClientSubject},
		{name: "client_issuer", col: event.TLSClientIssuer},
		{name: "sni_matches_cert", col: event.TLSSNIMatchesCert},
		{name: "validation_status", col: event.TLSValidation},
		{name: "ja3", col: event.TLSJA3},
		{name: "ja3s", col: event.TLSJA3S},
		{name: "ja4", col: event.TLSJA4},
		{name: "ja4s", col: event.TLSJA4S},
	},
	event.KindHTTP: {
		{name: "trans_depth", col: event.HTTPTransDepth},
		{name: "method", col: event.HTTPMethod},
		{name: "host", col: event.HTTPHost},
		{name: "uri", col: event.HTTPURI},
		{name: "referrer", col: event.HTTPReferrer},
		{name: "version", col: event.HTTPVersion},
		{name: "user_agent", col: event.HTTPUserAgent},
		{name: "origin", col: event.HTTPOrigin},
		{name: "request_body_len", col: event.HTTPOrigBodyLen},
		{name: "response_body_len", col: event.HTTPRespBodyLen},
		{name: "status_code", col: event.HTTPStatus},
		{name: "status_msg", col: event.HTTPStatusMsg},
		{name: "username", col: event.HTTPUsername},
		{name: "proxied", col: event.HTTPProxied},
		{name: "orig_mime_types", col: event.HTTPOrigMIME},
		{name: "resp_mime_types", col: event.HTTPRespMIME},
	},
	event.KindFile: {
		{name: "fuid", col: event.FileFUID},
		{name: "conn_uids", col: event.FileUIDs},
		{name: "tx_hosts", col: colTxHosts},
		{name: "rx_hosts", col: colRxHosts},
		{name: "source", col: event.FileSource},
		{name: "filename", col: event.FileName},
		{name: "mime_type", col: event.FileMIME},
		{name: "analyzers", col: event.FileAnalyzers},
		{name: "duration", col: event.FileDuration},
		{name: "local_orig", col: event.FileLocalOrig},
		{name: "is_orig", col: event.FileFromOrig},
		{name: "seen_bytes", col: event.FileSeenBytes},
		{name: "total_bytes", col: event.FileTotalBytes},
		{name: "missing_bytes", col: event.FileMissingBytes},
		{name: "md5", col: event.FileMD5},
		{name: "sha1", col: event.FileSHA1},
		{name: "sha256", col: event.FileSHA256},
	},
	event.KindX509: {
		{name: "fingerprint", col: event.X509ID},
		{name: "id", col: event.X509ID, second: true},
		{name: "certificate.version", col: event.X509Version},
		{name: "certificate.serial", col: event.X509Serial},
		{name: "certificate.subject", col: event.X509Subject},
		{name: "certificate.issuer", col: event.X509Issuer},
		{name: "certificate.not_valid_before", col: event.X509NotBefore},
		{name: "certificate.not_valid_after", col: event.X509NotAfter},
		{name: "certificate.key_alg", col: event.X509KeyAlg},
		{name: "certificate.sig_alg", col: event.X509SigAlg},
		{name: "certificate.key_type", col: event.X509KeyType},
		{name: "certificate.key_length", col: event.X509KeyLength},
		{name: "san.dns", col: event.X509SANDNS},
		{name: "san.ip", col: event.X509SANIP},
		{name: "basic_constraints.ca", col: event.X509CA},
		{name: "host_cert", col: event.X509HostCert},
		{name: "client_cert", col: event.X509ClientCert},
	},
	event.KindSSH: {
		{name: "version", col: event.SSHVersion},
		{name: "auth_success", col: event.SSHAuthSuccess},
		{name: "auth_attempts", col: event.SSHAuthAttempts},
		{name: "direction", col: event.SSHDirection},
		{name: "client", col: event.SSHClient},
		{name: "server", col: event.SSHServer},
		{name: "cipher_alg", col: event.SSHCipherAlg},
		{name: "mac_alg", col: event.SSHMACAlg},
		{name: "compression_alg", col: event.SSHCompressionAlg},
		{name: "kex_alg", col: event.SSHKexAlg},
		{name: "host_key_alg", col: event.SSHHostKeyAlg},
		{name: "host_key", col: event.SSHHostKey},
		{name: "hassh", col: event.SSHHASSH},
		{name: "hasshServer", col: event.SSHHASSHServer},
		{name: "hassh_server", col: event.SSHHASSHServer, second: true},
	},
	event.KindRDP: {
		{name: "cookie", col: event.RDPCookie},
		{name: "result", col: event.RDPResult},
		{name: "security_protocol", col: event.RDPSecurityProtocol},
		{name: "client_channels", col: event.RDPChannels},
		{name: "keyboard_layout", col: event.RDPKeyboardLayout},
		{name: "client_build", col: event.RDPClientBuild},
		{name: "client_name", col: event.RDPClientName},
		{name: "cert_type", col: event.RDPCertType},
		{name: "cert_count", col: event.RDPCertCount},
		{name: "encryption_level", col: event.RDPEncryptionLevel},
		{name: "encryption_method", col: event.RDPEncryptionMethod},
	},
	event.KindSMB: {
		{name: "fuid", col: event.SMBFUID},
		{name: "action", col: event.SMBAction},
		{name: "path", col: event.SMBPath},
		{name: "name", col: event.SMBName},
		{name: "size", col: event.SMBSize},
		{name: "prev_name", col: event.SMBPrevName},
	},
	event.KindDHCP: {
		{name: "uids", col: event.DHCPUIDs},
		{name: "client_addr", col: event.DHCPClientAddr},
		{name: "server_addr", col: event.DHCPServerAddr},
		{name: "assigned_addr", col: event.DHCPAssignedAddr},
		{name: "assigned_ip", col: event.DHCPAssignedAddr, second: true}, // before 2.6
		{name: "requested_addr", col: event.DHCPRequestedAddr},
		{name: "mac", col: event.DHCPMAC},
		{name: "host_name", col: event.DHCPHostName},
		{name: "client_fqdn", col: event.DHCPClientFQDN},
		{name: "domain", col: event.DHCPDomain},
		{name: "lease_time", col: event.DHCPLeaseTime},
		{name: "msg_types", col: event.DHCPMsgTypes},
		{name: "client_message", col: event.DHCPClientMessage},
		{name: "server_message", col: event.DHCPServerMessage},
		{name: "duration", col: event.DHCPDuration},
	},
	event.KindNotice: {
		{name: "note", col: event.NoticeName},
		{name: "msg", col: event.NoticeMessage},
		{name: "sub", col: event.NoticeSub},
		{name: "src", col: event.ColOrigAddr, second: true},
		{name: "dst", col: event.ColRespAddr, second: true},
		{name: "p", col: event.ColRespPort, second: true},
		{name: "n", col: event.NoticeCount},
		{name: "peer_descr", col: event.NoticePeer},
		{name: "peer_name", col: event.NoticePeer, second: true},
		{name: "actions", col: event.NoticeActions},
		{name: "fuid", col: event.NoticeFUID},
	},
	event.KindWeird: {
		{name: "name", col: event.NoticeName},
		{name: "addl", col: event.NoticeMessage},
		{name: "peer", col: event.NoticePeer},
		{name: "source", col: event.NoticeSource},
	},
	event.KindSoftware: {
		{name: "host", col: event.ColOrigAddr},
		{name: "host_p", col: event.ColOrigPort},
		{name: "software_type", col: event.SoftwareType},
		{name: "name", col: event.SoftwareName},
		{name: "version.major", col: event.SoftwareMajor},
		{name: "version.minor", col: event.SoftwareMinor},
		{name: "unparsed_version", col: event.SoftwareUnparsed},
	},
	event.KindKerberos: {
		{name: "request_type", col: event.KerberosRequestType},
		{name: "client", col: event.KerberosClient},
		{name: "service", col: event.KerberosService},
		{name: "success", col: event.KerberosSuccess},
		{name: "error_msg", col: event.KerberosErrorMsg},
		{name: "till", col: event.KerberosTill},
		{name: "cipher", col: event.KerberosCipher},
		{name: "forwardable", col: event.KerberosForwardable},
		{name: "renewable", col: event.KerberosRenewable},
	},
	event.KindDCERPC: {
		{name: "operation", col: event.AppCommand},
		{name: "endpoint", col: event.AppArgument},
		{name: "named_pipe", col: event.AppNames},
	},
	event.KindNTLM: {
		{name: "username", col: event.AppUser},
		{name: "hostname", col: event.AppArgument},
		{name: "server_nb_computer_name", col: event.AppNames},
		{name: "success", col: event.AppStatus},
	},
}

// tellTales are the names that say what kind of log it is where no path does, in
// the order in which they are asked: the first that a record has decides.
var tellTales = []struct {
	name string
	kind event.Kind
}{
	{"conn_state", event.KindConn},
	{"missed_bytes", event.KindConn},
	{"trans_id", event.KindDNS},
	{"qtype", event.KindDNS},
	{"qtype_name", event.KindDNS},
	{"rcode", event.KindDNS},
	{"rejected", event.KindDNS},
	{"ssl_history", event.KindTLS},
	{"established", event.KindTLS},
	{"server_name", event.KindTLS},
	{"cert_chain_fps", event.KindTLS},
	{"cert_chain_fuids", event.KindTLS},
	{"curve", event.KindTLS},
	{"trans_depth", event.KindHTTP},
	{"request_body_len", event.KindHTTP},
	{"status_code", event.KindHTTP},
	{"certificate.version", event.KindX509},
	{"certificate.serial", event.KindX509},
	{"certificate.subject", event.KindX509},
	{"request_type", event.KindKerberos},
	{"error_msg", event.KindKerberos},
	{"auth_attempts", event.KindSSH},
	{"auth_success", event.KindSSH},
	{"host_key_alg", event.KindSSH},
	{"kex_alg", event.KindSSH},
	{"cookie", event.KindRDP},
	{"security_protocol", event.KindRDP},
	{"msg_types", event.KindDHCP},
	{"assigned_addr", event.KindDHCP},
	{"assigned_ip", event.KindDHCP},
	{"lease_time", event.KindDHCP},
	{"note", event.KindNotice},
	{"software_type", event.KindSoftware},
	{"unparsed_version", event.KindSoftware},
	{"prev_name", event.KindSMB},
	{"named_pipe", event.KindDCERPC},
	{"seen_bytes", event.KindFile},
	{"conn_uids", event.KindFile},
	{"analyzers", event.KindFile},
	{"cipher", event.KindTLS},
	{"history", event.KindConn},
	{"orig_pkts", event.KindConn},
	{"orig_bytes", event.KindConn},
	{"query", event.KindDNS},
	{"method", event.KindHTTP},
	{"uri", event.KindHTTP},
	{"addl", event.KindWeird},
	{"notice", event.KindWeird},
}

// kindOfNames returns the kind of a log with these columns, or KindUnknown.
func kindOfNames(names []string) event.Kind {
	for _, t := range tellTales {
		if slices.Contains(names, t.name) || strings.Contains(t.name, ".") && slices.Contains(names, flat(t.name)) {
			return t.kind
		}
	}
	// Every row of smb_files has these two, and may have no other.
	if slices.Contains(names, "action") && slices.Contains(names, "name") {
		return event.KindSMB
	}
	return event.KindUnknown
}

// flat returns name as logs with Log::default_scope_sep="_" write it.
func flat(name string) string { return strings.ReplaceAll(name, ".", "_") }

// bind returns what name means in a log of kind k.
func bind(k event.Kind, name string) (column, bool) {
	for _, list := range [][]column{kindColumns[k], common} {
		for _, c := range list {
			if c.name == name || flat(c.name) == name {
				return c, true
			}
		}
	}
	return column{}, false
}

// stream is what a path says about a log.
type stream struct {
	kind  event.Kind
	flags event.Flags
}

var streams = map[string]stream{
	"conn":      {kind: event.KindConn},
	"conn_long": {kind: event.KindConn, flags: event.FlagSnapshot},
	"open_conn": {kind: event.KindConn, flags: event.FlagSnapshot},
	"dns":       {kind: event.KindDNS},
	"ssl":       {kind: event.KindTLS},
	"open_ssl":  {kind: event.KindTLS, flags: event.FlagSnapshot},
	"http":      {kind: event.KindHTTP},
	"open_http": {kind: event.KindHTTP, flags: event.FlagSnapshot},
	"files":     {kind: event.KindFile},
	"x509":      {kind: event.KindX509},
	"ssh":       {kind: event.KindSSH},
	"rdp":       {kind: event.KindRDP},
	"smb_files": {kind: event.KindSMB},
	"dhcp":      {kind: event.KindDHCP},
	"notice":    {kind: event.KindNotice},
	"weird":     {kind: event.KindWeird},
	"software":  {kind: event.KindSoftware},
	"kerberos":  {kind: event.KindKerberos},
	"dce_rpc":   {kind: event.KindDCERPC},
	"ntlm":      {kind: event.KindNTLM},
}

// streamOf returns what a path says. The prefix of json-streaming-logs is cut,
// and what a filter appended with a hyphen ("conn-inbound"): a site that splits a
// log that way has no other copy of it. Corelight's conn_red, dns_agg and their
// like stand beside or instead of the full log and are a stream of their own.
func streamOf(path string) (stream, bool) {
	path = strings.TrimPrefix(path, "json_streaming_")
	if i := strings.IndexByte(path, '-'); i > 0 {
		path = path[:i]
	}
	s, ok := streams[path]
	return s, ok
}
