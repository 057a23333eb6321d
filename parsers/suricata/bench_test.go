package suricata

import (
	"encoding/json"
	"syscall"
	"testing"

	goccy "github.com/goccy/go-json"

	"tidewatch/event"
	"tidewatch/parsers"
)

// eve is a record with the members that the parser has columns for, and no others:
// what one would write to read EVE with a decoder of JSON; TestRivalColumns compares the
// two. The texts of times, addresses and flags stay texts, which spares the decoders that
// work.
type eve struct {
	Timestamp   string   `json:"timestamp"`
	FlowID      uint64   `json:"flow_id"`
	EventType   string   `json:"event_type"`
	VLAN        []uint16 `json:"vlan"`
	SrcIP       string   `json:"src_ip"`
	SrcPort     uint16   `json:"src_port"`
	DestIP      string   `json:"dest_ip"`
	DestPort    uint16   `json:"dest_port"`
	Proto       string   `json:"proto"`
	ICMPType    uint8    `json:"icmp_type"`
	ICMPCode    uint8    `json:"icmp_code"`
	CommunityID string   `json:"community_id"`
	TxID        uint64   `json:"tx_id"`
	AppProto    string   `json:"app_proto"`
	Direction   string   `json:"direction"`

	Flow    *eveFlow `json:"flow"`
	NetFlow *eveFlow `json:"netflow"`
	TCP     *struct {
		FlagsTS string `json:"tcp_flags_ts"`
		FlagsTC string `json:"tcp_flags_tc"`
	} `json:"tcp"`
	Ether *struct {
		SrcMAC   string   `json:"src_mac"`
		DestMAC  string   `json:"dest_mac"`
		SrcMACs  []string `json:"src_macs"`
		DestMACs []string `json:"dest_macs"`
	} `json:"ether"`
	DNS      *eveDNS  `json:"dns"`
	TLS      *eveTLS  `json:"tls"`
	QUIC     *eveTLS  `json:"quic"`
	HTTP     *eveHTTP `json:"http"`
	FileInfo *struct {
		Filename string `json:"filename"`
		State    string `json:"state"`
		Size     uint64 `json:"size"`
		MD5      string `json:"md5"`
		SHA1     string `json:"sha1"`
		SHA256   string `json:"sha256"`
		MIME     string `json:"mimetype"`
		TxID     uint64 `json:"tx_id"`
	} `json:"fileinfo"`
	Alert *struct {
		Action      string `json:"action"`
		GID         uint64 `json:"gid"`
		SignatureID uint64 `json:"signature_id"`
		Rev         uint64 `json:"rev"`
		Signature   string `json:"signature"`
		Category    string `json:"category"`
		Severity    uint8  `json:"severity"`
	} `json:"alert"`
	Anomaly *struct {
		Event    string `json:"event"`
		Type     string `json:"type"`
		Layer    string `json:"layer"`
		AppProto string `json:"app_proto"`
	} `json:"anomaly"`
	SSH *struct {
		Client, Server struct {
			Proto    string  `json:"proto_version"`
			Software string  `json:"software_version"`
			HASSH    eveHash `json:"hassh"`
		}
	} `json:"ssh"`
	Stats *eveStats `json:"stats"`
	eveWindows
	eveApps
}

type eveHash struct {
	Hash string `json:"hash"`
}

type eveFlow struct {
	Pkts     uint64 `json:"pkts"`
	Bytes    uint64 `json:"bytes"`
	PktsTS   uint64 `json:"pkts_toserver"`
	PktsTC   uint64 `json:"pkts_toclient"`
	BytesTS  uint64 `json:"bytes_toserver"`
	BytesTC  uint64 `json:"bytes_toclient"`
	Start    string `json:"start"`
	End      string `json:"end"`
	State    string `json:"state"`
	Reason   string `json:"reason"`
	Alerted  bool   `json:"alerted"`
	FlowSrc  string `json:"src_ip"`
	FlowPort uint16 `json:"src_port"`
}

type eveRecord struct {
	TTL   uint32 `json:"ttl"`
	RData string `json:"rdata"`
	SRV   *struct {
		Name string `json:"name"`
	} `json:"srv"`
	SOA *struct {
		MName string `json:"mname"`
	} `json:"soa"`
	SSHFP *struct {
		Fingerprint string `json:"fingerprint"`
	} `json:"sshfp"`
}

type eveDNS struct {
	Version uint8  `json:"version"`
	Type    string `json:"type"`
	ID      uint16 `json:"id"`
	TxID    uint64 `json:"tx_id"`
	RRName  string `json:"rrname"`
	RRType  string `json:"rrtype"`
	RCode   string `json:"rcode"`
	Flags   string `json:"flags"`
	AA      bool   `json:"aa"`
	TC      bool   `json:"tc"`
	RD      bool   `json:"rd"`
	RA      bool   `json:"ra"`
	Opcode  uint16 `json:"opcode"`
	eveRecord
	Answers []eveRecord `json:"answers"`
	Queries []struct {
		RRName string `json:"rrname"`
		RRType string `json:"rrtype"`
	} `json:"queries"`
}

type eveTLS struct {
	Version     string   `json:"version"`
	SNI         string   `json:"sni"`
	Subject     string   `json:"subject"`
	Issuer      string   `json:"issuerdn"`
	Serial      string   `json:"serial"`
	Fingerprint string   `json:"fingerprint"`
	NotBefore   string   `json:"notbefore"`
	NotAfter    string   `json:"notafter"`
	Resumed     bool     `json:"session_resumed"`
	ALPN        []string `json:"server_alpns"`
	JA3         eveHash  `json:"ja3"`
	JA3S        eveHash  `json:"ja3s"`
	JA4         string   `json:"ja4"`
	UA          string   `json:"ua"`
	Client      *struct {
		Subject string `json:"subject"`
		Issuer  string `json:"issuerdn"`
	} `json:"client"`
}

type eveHTTP struct {
	Hostname    string `json:"hostname"`
	URL         string `json:"url"`
	UserAgent   string `json:"http_user_agent"`
	ContentType string `json:"http_content_type"`
	Refer       string `json:"http_refer"`
	Method      string `json:"http_method"`
	Protocol    string `json:"protocol"`
	Version     string `json:"version"`
	Status      uint16 `json:"status"`
	Length      uint64 `json:"length"`
	Headers     []struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	} `json:"request_headers"`
}

type eveWindows struct {
	SMB *struct {
		Command   string `json:"command"`
		Dialect   string `json:"dialect"`
		Status    string `json:"status"`
		Filename  string `json:"filename"`
		Directory string `json:"directory"`
		Share     string `json:"share"`
		Size      uint64 `json:"size"`
		FUID      string `json:"fuid"`
		Rename    *struct{ From, To string }
		NTLMSSP   *struct{ User, Domain, Host string } `json:"ntlmssp"`
	} `json:"smb"`
	RDP *struct {
		TxID     uint64   `json:"tx_id"`
		Cookie   string   `json:"cookie"`
		Protocol string   `json:"protocol"`
		Reason   string   `json:"reason"`
		Channels []string `json:"channels"`
		Client   *struct {
			Layout string `json:"keyboard_layout"`
			Build  string `json:"build"`
			Name   string `json:"client_name"`
		} `json:"client"`
	} `json:"rdp"`
	KRB5 *struct {
		MsgType   string `json:"msg_type"`
		Failed    string `json:"failed_request"`
		CName     string `json:"cname"`
		Realm     string `json:"realm"`
		SName     string `json:"sname"`
		Cipher    string `json:"encryption"`
		ErrorCode string `json:"error_code"`
	} `json:"krb5"`
	DHCP *struct {
		MAC       string `json:"client_mac"`
		Client    string `json:"client_ip"`
		Assigned  string `json:"assigned_ip"`
		Requested string `json:"requested_ip"`
		HostName  string `json:"hostname"`
		Type      string `json:"dhcp_type"`
		Lease     uint64 `json:"lease_time"`
	} `json:"dhcp"`
}

type eveMQTT struct {
	ClientID string `json:"client_id"`
	Username string `json:"username"`
	Version  int    `json:"protocol_version"`
	Return   int    `json:"return_code"`
	Reason   int    `json:"reason_code"`
	Topic    string `json:"topic"`
	// Topics are objects or texts; the decoders need not look into them.
	Topics json.RawMessage `json:"topics"`
}

// eveStats are the counters that a stats record is kept for.
type eveStats struct {
	Uptime  uint64 `json:"uptime"`
	Capture struct {
		Packets uint64 `json:"kernel_packets"`
		Drops   uint64 `json:"kernel_drops"`
		Errors  uint64 `json:"errors"`
	} `json:"capture"`
	Decoder struct {
		Packets uint64 `json:"pkts"`
		Bytes   uint64 `json:"bytes"`
		Invalid uint64 `json:"invalid"`
	} `json:"decoder"`
	TCP struct {
		Sessions uint64 `json:"sessions"`
		Dropped  uint64 `json:"ssn_memcap_drop"`
		Segments uint64 `json:"segment_memcap_drop"`
		Gaps     uint64 `json:"reassembly_gap"`
	} `json:"tcp"`
	Flow struct {
		Memcap    uint64 `json:"memcap"`
		Emergency uint64 `json:"emerg_mode_entered"`
	} `json:"flow"`
	Pressure uint64 `json:"memcap_pressure"`
}

type eveApps struct {
	FTP *struct {
		Command string   `json:"command"`
		Data    string   `json:"command_data"`
		Codes   []string `json:"completion_code"`
	} `json:"ftp"`
	SMTP *struct {
		HELO string   `json:"helo"`
		From string   `json:"mail_from"`
		To   []string `json:"rcpt_to"`
	} `json:"smtp"`
	Email *struct {
		Status string `json:"status"`
	} `json:"email"`
	DCERPC *struct {
		Request  string `json:"request"`
		Response string `json:"response"`
		Version  string `json:"rpc_version"`
		Req      *struct {
			Opnum int `json:"opnum"`
		} `json:"req"`
		Interfaces []struct {
			UUID string `json:"uuid"`
		} `json:"interfaces"`
	} `json:"dcerpc"`
	MQTT map[string]eveMQTT `json:"mqtt"`
	NFS  *struct {
		Procedure string `json:"procedure"`
		Filename  string `json:"filename"`
		Status    string `json:"status"`
		Version   int    `json:"version"`
		Type      string `json:"type"`
	} `json:"nfs"`
	SNMP *struct {
		Type      string   `json:"pdu_type"`
		Version   int      `json:"version"`
		Community string   `json:"community"`
		USM       string   `json:"usm"`
		Trap      string   `json:"trap_type"`
		Error     string   `json:"error"`
		Vars      []string `json:"vars"`
	} `json:"snmp"`
	SIP *struct {
		Method  string `json:"method"`
		Code    string `json:"code"`
		URI     string `json:"uri"`
		Version string `json:"version"`
	} `json:"sip"`
	IKE *struct {
		Exchange int      `json:"exchange_type"`
		InitSPI  string   `json:"init_spi"`
		Major    int      `json:"version_major"`
		Payload  []string `json:"payload"`
		Role     string   `json:"role"`
	} `json:"ike"`
}

// BenchmarkEVE reads the records of suricata-verify once an iteration: with the
// parser, from the line to the event in its batch and back to the pool, and with two
// decoders into eve.
func BenchmarkEVE(b *testing.B) {
	all := lines(readLog(b, "suricata/eve-7.0.10.json.gz"))
	size := 0
	for _, l := range all {
		size += len(l) + 1
	}
	b.Run("tidewatch", func(b *testing.B) {
		b.SetBytes(int64(size))
		b.ReportAllocs()
		defer reportCPU(b, size)()
		parseAll(b, all)
	})
	decode := func(b *testing.B, f func([]byte, any) error) {
		b.SetBytes(int64(size))
		b.ReportAllocs()
		defer reportCPU(b, size)()
		for b.Loop() {
			failed := 0
			for _, l := range all {
				var v eve
				if f(l, &v) != nil {
					failed++
				}
			}
			if failed > len(all)/1000 {
				b.Fatalf("%d of %d records do not fit the struct", failed, len(all))
			}
		}
	}
	b.Run("encoding-json", func(b *testing.B) { decode(b, json.Unmarshal) })
	b.Run("goccy", func(b *testing.B) {
		decode(b, func(l []byte, v any) error { return goccy.Unmarshal(l, v) })
	})
}

// reportCPU adds MB per second of processor time, all threads and so the collector's
// work counted: a figure that other programs on the machine disturb less.
func reportCPU(b *testing.B, size int) func() {
	start := cpuTime(b)
	return func() {
		b.ReportMetric(float64(size)*float64(b.N)/1e6/(cpuTime(b)-start), "MB/cpu-s")
	}
}

// cpuTime returns the processor time in seconds that the process has used.
func cpuTime(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

func parseAll(b *testing.B, all [][]byte) {
	pool := event.NewPool(2, 512, 1<<20)
	p := New(parsers.Options{})
	for b.Loop() {
		batch, events := <-pool, 0
		for _, l := range all {
			ev, own := batch.Add(l)
			if ev == nil {
				events += len(batch.Events)
				batch.Release()
				batch = <-pool
				ev, own = batch.Add(l)
			}
			if p.Parse(batch, ev, own) != nil {
				batch.Drop()
			}
		}
		if events += len(batch.Events); events != 16489 {
			b.Fatalf("%d events", events)
		}
		batch.Release()
	}
}
