package suricata

import (
	"tidewatch/event"
	"tidewatch/parsers/scan"
)

// The keys that are read in some object of a record.
const (
	_ = iota
	keyTimestamp
	keyFlowID
	keyEventType
	keyVLAN
	keySrcIP
	keySrcPort
	keyDestIP
	keyDestPort
	keyProto
	keyICMPType
	keyICMPCode
	keyCommunityID
	keyTxID
	keyAppProto
	keyDirection
	keyFlow
	keyNetflow
	keyTCP
	keyEther
	keyDNS
	keyTLS
	keyQUIC
	keyHTTP
	keyHTTP2
	keyFileinfo
	keyAlert
	keyAnomaly
	keySSH
	keySMB
	keyRDP
	keyKRB5
	keyDHCP
	keyFTP
	keySMTP
	keyEmail
	keyDCERPC
	keyMQTT
	keyNFS
	keySNMP
	keySIP
	keyIKE
	keyIKEv2
	keyPktsToserver
	keyPkts
	keyPktsToclient
	keyBytesToserver
	keyBytes
	keyBytesToclient
	keyStart
	keyEnd
	keyState
	keyReason
	keyAlerted
	keyTCPFlagsTS
	keyTCPFlagsTC
	keyTCPFlags
	keySrcMAC
	keySrcMacs
	keyDestMAC
	keyDestMacs
	keyQueries
	keyQuery
	keyAnswer
	keyVersion
	keyType
	keyID
	keyRrname
	keyRrtype
	keyRcode
	keyFlags
	keyAA
	keyTC
	keyRD
	keyRA
	keyOpcode
	keyRdata
	keyTTL
	keyAnswers
	keyGrouped
	keySRV
	keySOA
	keySSHFP
	keySNI
	keySubject
	keyIssuerdn
	keySerial
	keyFingerprint
	keyNotbefore
	keyNotafter
	keySessionResumed
	keyServerALPNS
	keyClient
	keyJA3
	keyJA3S
	keyJA4
	keyUA
	keyServer
	keyProtoVersion
	keySoftwareVersion
	keyHassh
	keyHostname
	keyURL
	keyHTTPUserAgent
	keyHTTPContentType
	keyHTTPRefer
	keyHTTPMethod
	keyProtocol
	keyStatus
	keyLength
	keyRequestHeaders
	keyName
	keyValue
	keyFilename
	keySize
	keyMD5
	keySHA1
	keySHA256
	keyMimetype
	keyAction
	keyGID
	keySignatureID
	keyRev
	keySignature
	keyCategory
	keySeverity
	keyEvent
	keyLayer
	keyCommand
	keyDialect
	keyDirectory
	keyShare
	keyFUID
	keyRename
	keyNTLMSSP
	keyUser
	keyDomain
	keyHost
	keyFrom
	keyTo
	keyCookie
	keyChannels
	keyKeyboardLayout
	keyBuild
	keyClientName
	keyMsgType
	keyFailedRequest
	keyCname
	keyRealm
	keySname
	keyEncryption
	keyErrorCode
	keyClientMAC
	keyClientIP
	keyAssignedIP
	keyRequestedIP
	keyDHCPType
	keyLeaseTime
	keyCommandData
	keyCompletionCode
	keyHelo
	keyMailFrom
	keyRcptTo
	keyRequest
	keyResponse
	keyRPCVersion
	keyReq
	keyInterfaces
	keyClientID
	keyUsername
	keyProtocolVersion
	keyReturnCode
	keyReasonCode
	keyTopic
	keyTopics
	keyProcedure
	keyPduType
	keyCommunity
	keyUSM
	keyTrapType
	keyError
	keyVars
	keyMethod
	keyCode
	keyURI
	keyExchangeType
	keyInitSPI
	keyVersionMajor
	keyPayload
	keyRole
	keyUUID
	keyHash
	keyOpnum
	keyMname
)

// The contexts that a walk learns the order of keys in: the record itself, by its kind
// as far as it is known yet, and the objects in it.
const (
	inFlow = iota + event.NumKinds
	inTCP
	inEther
	inDNS
	inDNSPart
	inDNSAnswer
	inAnswers
	inInnerList
	inTLS
	inTLSClient
	inQUIC
	inSSH
	inSSHEnd
	inHTTP
	inAuthority
	inFile
	inAlert
	inAnomaly
	inSMB
	inSMBPart
	inNTLM
	inRDP
	inRDPClient
	inKerberos
	inDHCP
	inFTP
	inSMTP
	inEmail
	inDCERPC
	inMQTT
	inNFS
	inSNMP
	inSIP
	inIKE
	inInner

	numContexts = iota + event.NumKinds
)

var keyNames = scan.NewNames(keyTexts[1:], passedKeys)

var keyTexts = [...]string{
	keyTimestamp:       "timestamp",
	keyFlowID:          "flow_id",
	keyEventType:       "event_type",
	keyVLAN:            "vlan",
	keySrcIP:           "src_ip",
	keySrcPort:         "src_port",
	keyDestIP:          "dest_ip",
	keyDestPort:        "dest_port",
	keyProto:           "proto",
	keyICMPType:        "icmp_type",
	keyICMPCode:        "icmp_code",
	keyCommunityID:     "community_id",
	keyTxID:            "tx_id",
	keyAppProto:        "app_proto",
	keyDirection:       "direction",
	keyFlow:            "flow",
	keyNetflow:         "netflow",
	keyTCP:             "tcp",
	keyEther:           "ether",
	keyDNS:             "dns",
	keyTLS:             "tls",
	keyQUIC:            "quic",
	keyHTTP:            "http",
	keyHTTP2:           "http2",
	keyFileinfo:        "fileinfo",
	keyAlert:           "alert",
	keyAnomaly:         "anomaly",
	keySSH:             "ssh",
	keySMB:             "smb",
	keyRDP:             "rdp",
	keyKRB5:            "krb5",
	keyDHCP:            "dhcp",
	keyFTP:             "ftp",
	keySMTP:            "smtp",
	keyEmail:           "email",
	keyDCERPC:          "dcerpc",
	keyMQTT:            "mqtt",
	keyNFS:             "nfs",
	keySNMP:            "snmp",
	keySIP:             "sip",
	keyIKE:             "ike",
	keyIKEv2:           "ikev2",
	keyPktsToserver:    "pkts_toserver",
	keyPkts:            "pkts",
	keyPktsToclient:    "pkts_toclient",
	keyBytesToserver:   "bytes_toserver",
	keyBytes:           "bytes",
	keyBytesToclient:   "bytes_toclient",
	keyStart:           "start",
	keyEnd:             "end",
	keyState:           "state",
	keyReason:          "reason",
	keyAlerted:         "alerted",
	keyTCPFlagsTS:      "tcp_flags_ts",
	keyTCPFlagsTC:      "tcp_flags_tc",
	keyTCPFlags:        "tcp_flags",
	keySrcMAC:          "src_mac",
	keySrcMacs:         "src_macs",
	keyDestMAC:         "dest_mac",
	keyDestMacs:        "dest_macs",
	keyQueries:         "queries",
	keyQuery:           "query",
	keyAnswer:          "answer",
	keyVersion:         "version",
	keyType:            "type",
	keyID:              "id",
	keyRrname:          "rrname",
	keyRrtype:          "rrtype",
	keyRcode:           "rcode",
	keyFlags:           "flags",
	keyAA:              "aa",
	keyTC:              "tc",
	keyRD:              "rd",
	keyRA:              "ra",
	keyOpcode:          "opcode",
	keyRdata:           "rdata",
	keyTTL:             "ttl",
	keyAnswers:         "answers",
	keyGrouped:         "grouped",
	keySRV:             "srv",
	keySOA:             "soa",
	keySSHFP:           "sshfp",
	keySNI:             "sni",
	keySubject:         "subject",
	keyIssuerdn:        "issuerdn",
	keySerial:          "serial",
	keyFingerprint:     "fingerprint",
	keyNotbefore:       "notbefore",
	keyNotafter:        "notafter",
	keySessionResumed:  "session_resumed",
	keyServerALPNS:     "server_alpns",
	keyClient:          "client",
	keyJA3:             "ja3",
	keyJA3S:            "ja3s",
	keyJA4:             "ja4",
	keyUA:              "ua",
	keyServer:          "server",
	keyProtoVersion:    "proto_version",
	keySoftwareVersion: "software_version",
	keyHassh:           "hassh",
	keyHostname:        "hostname",
	keyURL:             "url",
	keyHTTPUserAgent:   "http_user_agent",
	keyHTTPContentType: "http_content_type",
	keyHTTPRefer:       "http_refer",
	keyHTTPMethod:      "http_method",
	keyProtocol:        "protocol",
	keyStatus:          "status",
	keyLength:          "length",
	keyRequestHeaders:  "request_headers",
	keyName:            "name",
	keyValue:           "value",
	keyFilename:        "filename",
	keySize:            "size",
	keyMD5:             "md5",
	keySHA1:            "sha1",
	keySHA256:          "sha256",
	keyMimetype:        "mimetype",
	keyAction:          "action",
	keyGID:             "gid",
	keySignatureID:     "signature_id",
	keyRev:             "rev",
	keySignature:       "signature",
	keyCategory:        "category",
	keySeverity:        "severity",
	keyEvent:           "event",
	keyLayer:           "layer",
	keyCommand:         "command",
	keyDialect:         "dialect",
	keyDirectory:       "directory",
	keyShare:           "share",
	keyFUID:            "fuid",
	keyRename:          "rename",
	keyNTLMSSP:         "ntlmssp",
	keyUser:            "user",
	keyDomain:          "domain",
	keyHost:            "host",
	keyFrom:            "from",
	keyTo:              "to",
	keyCookie:          "cookie",
	keyChannels:        "channels",
	keyKeyboardLayout:  "keyboard_layout",
	keyBuild:           "build",
	keyClientName:      "client_name",
	keyMsgType:         "msg_type",
	keyFailedRequest:   "failed_request",
	keyCname:           "cname",
	keyRealm:           "realm",
	keySname:           "sname",
	keyEncryption:      "encryption",
	keyErrorCode:       "error_code",
	keyClientMAC:       "client_mac",
	keyClientIP:        "client_ip",
	keyAssignedIP:      "assigned_ip",
	keyRequestedIP:     "requested_ip",
	keyDHCPType:        "dhcp_type",
	keyLeaseTime:       "lease_time",
	keyCommandData:     "command_data",
	keyCompletionCode:  "completion_code",
	keyHelo:            "helo",
	keyMailFrom:        "mail_from",
	keyRcptTo:          "rcpt_to",
	keyRequest:         "request",
	keyResponse:        "response",
	keyRPCVersion:      "rpc_version",
	keyReq:             "req",
	keyInterfaces:      "interfaces",
	keyClientID:        "client_id",
	keyUsername:        "username",
	keyProtocolVersion: "protocol_version",
	keyReturnCode:      "return_code",
	keyReasonCode:      "reason_code",
	keyTopic:           "topic",
	keyTopics:          "topics",
	keyProcedure:       "procedure",
	keyPduType:         "pdu_type",
	keyCommunity:       "community",
	keyUSM:             "usm",
	keyTrapType:        "trap_type",
	keyError:           "error",
	keyVars:            "vars",
	keyMethod:          "method",
	keyCode:            "code",
	keyURI:             "uri",
	keyExchangeType:    "exchange_type",
	keyInitSPI:         "init_spi",
	keyVersionMajor:    "version_major",
	keyPayload:         "payload",
	keyRole:            "role",
	keyUUID:            "uuid",
	keyHash:            "hash",
	keyOpnum:           "opnum",
	keyMname:           "mname",
}

// passedKeys are keys that are read nowhere. They are named so that the walk passes them
// quickly; one that is missing here only costs time.
var passedKeys = []string{
	"parent_id", "sensor_id", "in_iface", "pcap_cnt", "ip_v", "response_icmp_type", "response_icmp_code", "pkt_src",
	"app_proto_ts", "app_proto_tc", "rpc", "age", "emergency", "bypass", "syn", "fin", "rst", "psh", "ack",
	"urg", "ecn", "cwr", "ts_max_regions", "tc_max_regions", "ts_gap", "tc_gap", "authorities", "additionals", "z",
	"gaps", "stored", "status_code", "session_id", "tree_id", "response_headers", "redirect", "http_port", "xff",
	"content_range", "call_id", "reply", "reply_received", "reply_truncated", "command_truncated", "dynamic_port",
	"mode", "hhash", "file_tx", "from_proto", "string", "min_ttl", "max_ttl", "metadata", "ack_result", "major",
	"minor", "qos", "retain", "dup", "message_id", "frag_cnt", "stub_data_size", "res", "access", "disposition",
	"created", "accessed", "modified", "changed", "qr", "function", "stream_id", "xid", "auth_type", "creds",
	"priority", "client_dialects", "server_guid", "client_guid", "raw", "max_read_size", "max_write_size", "named_pipe",
	"share_type", "request_line", "response_line", "rname", "refresh", "retry", "expire", "minimum", "native_os",
	"native_lm", "ntlmssp", "weak_encryption", "ticket_encryption", "ticket_weak_encryption", "service", "extensions",
	"kerberos", "app_proto_orig", "app_proto_expected", "spi", "cyu", "version_minor", "resp_spi", "algo", "weight",
	"port", "trap_oid", "trap_address", "renewal_time", "activityuuid", "seqnum", "verdict", "tunnel", "files",
	"packet", "payload_printable", "stream", "packet_info", "capture_file",
}
