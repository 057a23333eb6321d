package event

// Kind says what a record is about, whichever sensor wrote it.
type Kind uint8

const (
	KindUnknown  Kind = iota
	KindConn          // Zeek conn.log and its snapshots, Suricata flow and netflow
	KindDNS           // one query with its answer, or one of the two
	KindTLS           // Zeek ssl.log, Suricata tls
	KindHTTP          // one request with its response
	KindQUIC          // Suricata quic; Zeek logs QUIC as TLS
	KindFile          // Zeek files.log, Suricata fileinfo
	KindX509          // one certificate
	KindSSH           //
	KindRDP           //
	KindSMB           // Zeek smb_files.log, Suricata smb
	KindDHCP          //
	KindKerberos      //
	KindSoftware      // a version seen on a host
	KindNotice        // Zeek notice.log
	KindWeird         // Zeek weird.log
	KindAlert         // Suricata alert
	KindAnomaly       // Suricata anomaly
	KindFTP           //
	KindSMTP          //
	KindDCERPC        //
	KindMQTT          //
	KindNFS           //
	KindSNMP          //
	KindSIP           //
	KindIKE           //
	KindNTLM          // Zeek ntlm.log
	KindStats         // Suricata stats: a metric, never given to a detector

	NumKinds = iota
)

var kindNames = [NumKinds]string{
	"unknown", "conn", "dns", "tls", "http", "quic", "file", "x509", "ssh", "rdp", "smb", "dhcp", "kerberos",
	"software", "notice", "weird", "alert", "anomaly", "ftp", "smtp", "dcerpc", "mqtt", "nfs", "snmp", "sip", "ike", "ntlm", "stats",
}

// String returns the name that summaries and rules use, such as "conn".
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown"
}

// Sensor says which program wrote a record.
type Sensor uint8

const (
	SensorUnknown Sensor = iota
	SensorZeek
	SensorSuricata
)

// String returns "zeek", "suricata" or "unknown".
func (s Sensor) String() string {
	switch s {
	case SensorZeek:
		return "zeek"
	case SensorSuricata:
		return "suricata"
	}
	return "unknown"
}

// Proto is an IP protocol number as IANA assigns them; 0 is unknown.
type Proto uint8

const (
	ProtoICMP   Proto = 1
	ProtoTCP    Proto = 6
	ProtoUDP    Proto = 17
	ProtoICMPv6 Proto = 58
	ProtoSCTP   Proto = 132
)

// String returns the ECS network.transport name of the protocols that have
// one, "ipproto-N" for another number and "" for 0.
func (p Proto) String() string {
	switch p {
	case 0:
		return ""
	case ProtoICMP:
		return "icmp"
	case ProtoTCP:
		return "tcp"
	case ProtoUDP:
		return "udp"
	case ProtoICMPv6:
		return "ipv6-icmp"
	case ProtoSCTP:
		return "sctp"
	}
	var b [12]byte
	s := append(b[:0], "ipproto-"...)
	if p >= 100 {
		s = append(s, '0'+byte(p/100))
	}
	if p >= 10 {
		s = append(s, '0'+byte(p/10%10))
	}
	return string(append(s, '0'+byte(p%10)))
}

// IsICMP reports whether ports of this protocol are ICMP type and code.
func (p Proto) IsICMP() bool { return p == ProtoICMP || p == ProtoICMPv6 }

// State is Zeek's conn_state. The Suricata parser derives it from the
// flow's state, TCP flags and packet counts.
type State uint8

const (
	StateUnset  State = iota
	StateS0           // attempt, no reply
	StateS1           // established, not ended
	StateSF           // established and ended
	StateREJ          // attempt rejected
	StateS2           // established, originator closed, no reply to that
	StateS3           // established, responder closed, no reply to that
	StateRSTO         // established, originator aborted
	StateRSTR         // established, responder aborted
	StateRSTOS0       // originator sent SYN, then RST; no SYN-ACK seen
	StateRSTRH        // responder sent SYN-ACK, then RST; no SYN seen
	StateSH           // originator sent SYN, then FIN; no SYN-ACK seen
	StateSHR          // responder sent SYN-ACK, then FIN; no SYN seen
	StateOTH          // midstream traffic
)

var stateNames = [...]string{"", "S0", "S1", "SF", "REJ", "S2", "S3", "RSTO", "RSTR", "RSTOS0", "RSTRH", "SH", "SHR", "OTH"}

// String returns Zeek's name of the state, "" for StateUnset.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return ""
}

// ParseState returns the state that Zeek writes as s, or StateUnset.
func ParseState[T ~string | ~[]byte](s T) State {
	switch string(s) {
	case "S0":
		return StateS0
	case "SF":
		return StateSF
	case "S1":
		return StateS1
	case "REJ":
		return StateREJ
	case "S2":
		return StateS2
	case "S3":
		return StateS3
	case "RSTO":
		return StateRSTO
	case "RSTR":
		return StateRSTR
	case "RSTOS0":
		return StateRSTOS0
	case "RSTRH":
		return StateRSTRH
	case "SH":
		return StateSH
	case "SHR":
		return StateSHR
	case "OTH":
		return StateOTH
	}
	return StateUnset
}

// Outcome is what became of the originator's attempt to reach the responder,
// judged the same way for both sensors.
type Outcome uint8

const (
	OutcomeUnknown  Outcome = iota // midstream, one-sided capture, or no attempt at all (backscatter)
	OutcomeAnswered                // handshake completed, or a datagram was answered
	OutcomeRejected                // the responder (or its network) refused
	OutcomeSilent                  // nobody answered
)

// String returns "answered", "rejected", "silent" or "unknown".
func (o Outcome) String() string {
	return [...]string{"unknown", "answered", "rejected", "silent"}[o&3]
}
