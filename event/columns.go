package event

import (
	"net/netip"
	"strings"
)

// Column names one column of a record. A record's Set says which of its columns
// the sensor wrote: an unset column, an empty one and a zero are three things.
type Column uint8

const (
	ColUID Column = iota
	ColCommunityID
	ColProto
	ColOrigAddr
	ColOrigPort
	ColRespAddr
	ColRespPort
	ColVLAN
	ColInnerVLAN
	ColWritten
	ColTxID

	ConnService
	ConnDuration
	ConnOrigBytes
	ConnRespBytes
	ConnState
	ConnLocalOrig
	ConnLocalResp
	ConnMissedBytes
	ConnHistory
	ConnOrigPkts
	ConnOrigIPBytes
	ConnRespPkts
	ConnRespIPBytes
	ConnTunnelParents
	ConnOrigFlags
	ConnRespFlags
	ConnFlowState
	ConnReason
	ConnAlerted
	ConnOrigMAC
	ConnRespMAC
	ConnShuntedOrigBytes
	ConnShuntedRespBytes

	DNSQuery
	DNSTransID
	DNSRTT
	DNSQClass
	DNSQClassName
	DNSQType
	DNSQTypeName
	DNSRCode
	DNSRCodeName
	DNSAA
	DNSTC
	DNSRD
	DNSRA
	DNSZ
	DNSAnswers
	DNSTTLs
	DNSRejected
	DNSOpcode
	DNSResponse

	TLSVersion
	TLSCipher
	TLSCurve
	TLSServerName
	TLSResumed
	TLSLastAlert
	TLSNextProtocol
	TLSEstablished
	TLSHistory
	TLSCertChain
	TLSClientCertChain
	TLSSubject
	TLSIssuer
	TLSClientSubject
	TLSClientIssuer
	TLSSNIMatchesCert
	TLSValidation
	TLSFingerprint
	TLSSerial
	TLSNotBefore
	TLSNotAfter
	TLSJA3
	TLSJA3S
	TLSJA4
	TLSJA4S
	TLSUserAgent

	HTTPMethod
	HTTPHost
	HTTPURI
	HTTPReferrer
	HTTPVersion
	HTTPUserAgent
	HTTPOrigin
	HTTPOrigBodyLen
	HTTPRespBodyLen
	HTTPStatus
	HTTPStatusMsg
	HTTPUsername
	HTTPProxied
	HTTPOrigMIME
	HTTPRespMIME
	HTTPTransDepth

	FileFUID
	FileUIDs
	FileSource
	FileName
	FileMIME
	FileAnalyzers
	FileDuration
	FileLocalOrig
	FileFromOrig
	FileSeenBytes
	FileTotalBytes
	FileMissingBytes
	FileMD5
	FileSHA1
	FileSHA256
	FileFileState

	X509ID
	X509Version
	X509Serial
	X509Subject
	X509Issuer
	X509NotBefore
	X509NotAfter
	X509KeyAlg
	X509SigAlg
	X509KeyType
	X509KeyLength
	X509SANDNS
	X509SANIP
	X509CA
	X509HostCert
	X509ClientCert

	SSHVersion
	SSHAuthSuccess
	SSHAuthAttempts
	SSHDirection
	SSHClient
	SSHServer
	SSHCipherAlg
	SSHMACAlg
	SSHCompressionAlg
	SSHKexAlg
	SSHHostKeyAlg
	SSHHostKey
	SSHHASSH
	SSHHASSHServer

	RDPCookie
	RDPResult
	RDPSecurityProtocol
	RDPChannels
	RDPKeyboardLayout
	RDPClientBuild
	RDPClientName
	RDPCertType
	RDPCertCount
	RDPEncryptionLevel
	RDPEncryptionMethod

	SMBAction
	SMBShare
	SMBPath
	SMBName
	SMBPrevName
	SMBSize
	SMBFUID
	SMBDialect
	SMBStatus
	SMBUser
	SMBDomain
	SMBClientName

	DHCPUIDs
	DHCPClientAddr
	DHCPServerAddr
	DHCPAssignedAddr
	DHCPRequestedAddr
	DHCPMAC
	DHCPHostName
	DHCPClientFQDN
	DHCPDomain
	DHCPLeaseTime
	DHCPMsgTypes
	DHCPClientMessage
	DHCPServerMessage
	DHCPDuration

	NoticeName
	NoticeMessage
	NoticeSub
	NoticeCategory
	NoticeSeverity
	NoticeSignatureID
	NoticeGID
	NoticeRev
	NoticeAction
	NoticeActions
	NoticePeer
	NoticeCount
	NoticeFUID
	NoticeSource

	SoftwareType
	SoftwareName
	SoftwareUnparsed
	SoftwareMajor
	SoftwareMinor

	KerberosRequestType
	KerberosClient
	KerberosService
	KerberosSuccess
	KerberosErrorMsg
	KerberosTill
	KerberosCipher
	KerberosForwardable
	KerberosRenewable

	AppCommand
	AppArgument
	AppStatus
	AppUser
	AppVersion
	AppNames
	AppSize

	NumColumns = int(iota)
)

var columnNames = [NumColumns]string{
	"uid", "community_id", "proto", "orig.addr", "orig.port", "resp.addr", "resp.port", "vlan", "inner_vlan", "written",
	"tx_id", "conn.service", "conn.duration", "conn.orig_bytes", "conn.resp_bytes", "conn.state", "conn.local_orig",
	"conn.local_resp", "conn.missed_bytes", "conn.history", "conn.orig_pkts", "conn.orig_ip_bytes", "conn.resp_pkts",
	"conn.resp_ip_bytes", "conn.tunnel_parents", "conn.orig_flags", "conn.resp_flags", "conn.flow_state", "conn.reason",
	"conn.alerted", "conn.orig_mac", "conn.resp_mac", "conn.shunted_orig_bytes", "conn.shunted_resp_bytes", "dns.query",
	"dns.trans_id", "dns.rtt", "dns.qclass", "dns.qclass_name", "dns.qtype", "dns.qtype_name", "dns.rcode",
	"dns.rcode_name", "dns.aa", "dns.tc", "dns.rd", "dns.ra", "dns.z", "dns.answers", "dns.ttls", "dns.rejected",
	"dns.opcode", "dns.response", "tls.version", "tls.cipher", "tls.curve", "tls.server_name", "tls.resumed",
	"tls.last_alert", "tls.next_protocol", "tls.established", "tls.history", "tls.cert_chain", "tls.client_cert_chain",
	"tls.subject", "tls.issuer", "tls.client_subject", "tls.client_issuer", "tls.sni_matches_cert", "tls.validation",
	"tls.fingerprint", "tls.serial", "tls.not_before", "tls.not_after", "tls.ja3", "tls.ja3s", "tls.ja4", "tls.ja4s",
	"tls.user_agent", "http.method", "http.host", "http.uri", "http.referrer", "http.version", "http.user_agent",
	"http.origin", "http.orig_body_len", "http.resp_body_len", "http.status", "http.status_msg", "http.username",
	"http.proxied", "http.orig_mime", "http.resp_mime", "http.trans_depth", "file.fuid", "file.uids", "file.source",
	"file.name", "file.mime", "file.analyzers", "file.duration", "file.local_orig", "file.from_orig", "file.seen_bytes",
	"file.total_bytes", "file.missing_bytes", "file.md5", "file.sha1", "file.sha256", "file.file_state", "x509.id",
	"x509.version", "x509.serial", "x509.subject", "x509.issuer", "x509.not_before", "x509.not_after", "x509.key_alg",
	"x509.sig_alg", "x509.key_type", "x509.key_length", "x509.san_dns", "x509.san_ip", "x509.ca", "x509.host_cert",
	"x509.client_cert", "ssh.version", "ssh.auth_success", "ssh.auth_attempts", "ssh.direction", "ssh.client",
	"ssh.server", "ssh.cipher_alg", "ssh.mac_alg", "ssh.compression_alg", "ssh.kex_alg", "ssh.host_key_alg",
	"ssh.host_key", "ssh.hassh", "ssh.hassh_server", "rdp.cookie", "rdp.result", "rdp.security_protocol",
	"rdp.channels", "rdp.keyboard_layout", "rdp.client_build", "rdp.client_name", "rdp.cert_type", "rdp.cert_count",
	"rdp.encryption_level", "rdp.encryption_method", "smb.action", "smb.share", "smb.path", "smb.name", "smb.prev_name",
	"smb.size", "smb.fuid", "smb.dialect", "smb.status", "smb.user", "smb.domain", "smb.client_name", "dhcp.uids", "dhcp.client_addr", "dhcp.server_addr",
	"dhcp.assigned_addr", "dhcp.requested_addr", "dhcp.mac", "dhcp.host_name", "dhcp.client_fqdn", "dhcp.domain",
	"dhcp.lease_time", "dhcp.msg_types", "dhcp.client_message", "dhcp.server_message", "dhcp.duration", "notice.name",
	"notice.message", "notice.sub", "notice.category", "notice.severity", "notice.signature_id", "notice.gid",
	"notice.rev", "notice.action", "notice.actions", "notice.peer", "notice.count", "notice.fuid", "notice.source",
	"software.type", "software.name", "software.unparsed", "software.major", "software.minor", "kerberos.request_type",
	"kerberos.client", "kerberos.service", "kerberos.success", "kerberos.error_msg", "kerberos.till", "kerberos.cipher",
	"kerberos.forwardable", "kerberos.renewable", "app.command", "app.argument", "app.status", "app.user",
	"app.version", "app.names", "app.size",
}

// String returns the column's name, such as "conn.duration".
func (c Column) String() string {
	if int(c) < NumColumns {
		return columnNames[c]
	}
	return "unknown"
}

// Columns is a set of columns.
type Columns [(NumColumns + 63) / 64]uint64

// Add puts c into the set.
func (s *Columns) Add(c Column) { s[c>>6] |= 1 << (c & 63) }

// Remove takes c out of the set.
func (s *Columns) Remove(c Column) { s[c>>6] &^= 1 << (c & 63) }

// Has reports whether c is in the set.
func (s *Columns) Has(c Column) bool { return s[c>>6]&(1<<(c&63)) != 0 }

// Conn holds the columns of what became of one connection or flow.
type Conn struct {
	Service          string // protocols the sensor recognised, comma-separated as written
	Duration         int64  // nanoseconds from the first to the last packet
	OrigBytes        uint64 // payload bytes by sequence numbers; can be absurd
	RespBytes        uint64
	State            State
	LocalOrig        bool // the sensor counts the originator to its own networks
	LocalResp        bool
	MissedBytes      uint64 // bytes the sensor did not see
	History          string // Zeek's letters, upper case for the originator
	OrigPkts         uint64
	OrigIPBytes      uint64 // bytes of whole IP packets
	RespPkts         uint64
	RespIPBytes      uint64
	TunnelParents    []string // uids of enclosing tunnels
	OrigFlags        uint8    // union of the originator's TCP flags
	RespFlags        uint8    // union of the responder's TCP flags
	FlowState        string   // Suricata's flow.state
	Reason           string   // Suricata's flow.reason
	Alerted          bool
	OrigMAC          string
	RespMAC          string
	ShuntedOrigBytes uint64 // Corelight: bytes beyond the shunt, not in OrigBytes
	ShuntedRespBytes uint64
}

// DNS holds the columns of one DNS transaction.
type DNS struct {
	Query      string // name asked for, as written
	TransID    uint16
	RTT        int64 // nanoseconds from query to answer
	QClass     uint16
	QClassName string
	QType      uint16
	QTypeName  string
	RCode      uint16
	RCodeName  string
	AA         bool
	TC         bool
	RD         bool
	RA         bool
	Z          uint16
	Answers    []string
	TTLs       []uint32 // seconds, one an answer
	Rejected   bool
	Opcode     uint16
	Response   bool // Suricata: the record is of the answer, not of the question
}

// TLS holds the columns of one TLS, DTLS or QUIC handshake.
type TLS struct {
	Version         string // as the sensor names it
	Cipher          string
	Curve           string
	ServerName      string // SNI
	Resumed         bool
	LastAlert       string
	NextProtocol    string // ALPN
	Established     bool
	History         string   // Zeek's ssl_history
	CertChain       []string // fingerprints or file ids of the server's chain
	ClientCertChain []string
	Subject         string
	Issuer          string
	ClientSubject   string
	ClientIssuer    string
	SNIMatchesCert  bool
	Validation      string
	Fingerprint     string // of the server's certificate, as written
	Serial          string
	NotBefore       int64 // Unix nanoseconds
	NotAfter        int64 // Unix nanoseconds
	JA3             string
	JA3S            string
	JA4             string
	JA4S            string
	UserAgent       string // QUIC only
}

// HTTP holds the columns of one HTTP request with its response.
type HTTP struct {
	Method      string
	Host        string
	URI         string
	Referrer    string
	Version     string
	UserAgent   string
	Origin      string
	OrigBodyLen uint64
	RespBodyLen uint64
	Status      uint16
	StatusMsg   string
	Username    string
	Proxied     []string
	OrigMIME    []string
	RespMIME    []string
	TransDepth  uint64
}

// File holds the columns of one file seen in a connection.
type File struct {
	FUID         string
	UIDs         []string // connections that carried it
	Source       string   // protocol that carried it
	Name         string
	MIME         string
	Analyzers    []string
	Duration     int64 // nanoseconds
	LocalOrig    bool
	FromOrig     bool // the originator sent it
	SeenBytes    uint64
	TotalBytes   uint64
	MissingBytes uint64
	MD5          string
	SHA1         string
	SHA256       string
	FileState    string // Suricata: CLOSED, TRUNCATED, ERROR
}

// X509 holds the columns of one certificate.
type X509 struct {
	ID         string // fingerprint or file id
	Version    uint16
	Serial     string
	Subject    string
	Issuer     string
	NotBefore  int64 // Unix nanoseconds
	NotAfter   int64 // Unix nanoseconds
	KeyAlg     string
	SigAlg     string
	KeyType    string
	KeyLength  uint32 // bits
	SANDNS     []string
	SANIP      []string
	CA         bool
	HostCert   bool
	ClientCert bool
}

// SSH holds the columns of one SSH session.
type SSH struct {
	Version        uint16
	AuthSuccess    bool
	AuthAttempts   uint32
	Direction      string
	Client         string
	Server         string
	CipherAlg      string
	MACAlg         string
	CompressionAlg string
	KexAlg         string
	HostKeyAlg     string
	HostKey        string
	HASSH          string
	HASSHServer    string
}

// RDP holds the columns of one RDP session.
type RDP struct {
	Cookie           string
	Result           string
	SecurityProtocol string
	Channels         []string
	KeyboardLayout   string
	ClientBuild      string
	ClientName       string
	CertType         string
	CertCount        uint32
	EncryptionLevel  string
	EncryptionMethod string
}

// SMB holds the columns of one SMB operation.
type SMB struct {
	Action   string // Zeek's action, Suricata's command
	Share    string
	Path     string
	Name     string
	PrevName string
	Size     uint64
	FUID     string
	Dialect  string
	Status   string
	// What NTLM says when a session is set up: Suricata alone has it with SMB.
	User, Domain, ClientName string
}

// DHCP holds the columns of one DHCP exchange.
type DHCP struct {
	UIDs          []string
	ClientAddr    netip.Addr
	ServerAddr    netip.Addr
	AssignedAddr  netip.Addr
	RequestedAddr netip.Addr
	MAC           string
	HostName      string
	ClientFQDN    string
	Domain        string
	LeaseTime     int64 // nanoseconds
	MsgTypes      []string
	ClientMessage string
	ServerMessage string
	Duration      int64 // nanoseconds
}

// Gives reports whether a server gives an address away: an offer does not.
func (d *DHCP) Gives() bool {
	if d == nil || !d.AssignedAddr.IsValid() || d.AssignedAddr.IsUnspecified() {
		return false
	}
	for _, t := range d.MsgTypes {
		if strings.EqualFold(t, "ack") {
			return true
		}
	}
	return len(d.MsgTypes) == 0
}

// Notice holds the columns of what a sensor itself found odd: notice, weird, alert, anomaly.
type Notice struct {
	Name        string // notice or weird name, signature, anomaly event
	Message     string
	Sub         string
	Category    string
	Severity    uint8 // Suricata: 1 is worst
	SignatureID uint64
	GID         uint64
	Rev         uint64
	Action      string
	Actions     []string
	Peer        string
	Count       uint64
	FUID        string
	Source      string
}

// Software holds the columns of software seen on the host Orig.
type Software struct {
	Type     string
	Name     string
	Unparsed string
	Major    uint32
	Minor    uint32
}

// Kerberos holds the columns of one Kerberos exchange.
type Kerberos struct {
	RequestType string
	Client      string
	Service     string
	Success     bool
	ErrorMsg    string
	Till        int64 // Unix nanoseconds
	Cipher      string
	Forwardable bool
	Renewable   bool
}

// App holds the columns of one transaction of a protocol that has no columns of its own.
type App struct {
	Command  string
	Argument string
	Status   string
	User     string
	Version  string
	Names    []string // paths, recipients, topics, objects
	Size     uint64
}
