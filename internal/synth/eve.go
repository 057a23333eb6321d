package synth

import (
	"crypto/sha1"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"tidewatch/event"
)

// eveRows returns what adds the EVE records of a flow. only names logs as Zeek
// does.
func eveRows(only []string) func(f *Flow, o *output) {
	wants := func(log string) bool { return len(only) == 0 || slices.Contains(only, log) }
	conn, dns, tls, http := wants("conn"), wants("dns"), wants("ssl"), wants("http")
	return func(f *Flow, o *output) {
		for i := 0; dns && i < len(f.DNS); i++ {
			d := &f.DNS[i]
			o.add(f.Start+d.At, f, rowDNS, i)
			if d.RCode != unanswered {
				o.add(f.Start+d.At+d.RTT, f, rowDNSAnswer, i)
			}
		}
		if tls && f.TLS != nil {
			o.add(f.Start+handshake(f), f, rowTLS, 0)
		}
		for i := 0; http && i < len(f.HTTP); i++ {
			o.add(f.Start+f.HTTP[i].At+f.HTTP[i].Took, f, rowHTTP, i)
		}
		if conn {
			o.add(f.End()+f.eveTimeout(), f, rowConn, 0)
		}
	}
}

// eveState returns flow.state.
func (f *Flow) eveState() string {
	switch {
	case f.Backscatter, f.State == event.StateS0:
		return "new"
	case f.Proto == event.ProtoTCP && f.State == event.StateS1:
		return "established"
	case f.Proto == event.ProtoTCP:
		return "closed"
	case f.RespPkts > 0:
		return "established"
	}
	return "new"
}

// eveTimeout is how long after the last packet Suricata writes a flow: the
// timeouts of its default configuration, and up to a second until the flow manager
// comes by.
func (f *Flow) eveTimeout() int64 {
	late := int64(mix(f.ID) % uint64(time.Second))
	wait := 60 * time.Second
	switch state := f.eveState(); {
	case f.Proto == event.ProtoTCP && state == "established":
		wait = 600 * time.Second
	case f.Proto != event.ProtoTCP && state == "established":
		wait = 300 * time.Second
	case f.Proto != event.ProtoTCP:
		wait = 30 * time.Second
	}
	return int64(wait) + late - late%1000
}

// appProtos are Suricata's names of Zeek's services.
var appProtos = map[string]string{
	"ssl": "tls", "quic,ssl": "quic", "dns": "dns", "http": "http", "ssh": "ssh", "smtp": "smtp", "krb_tcp": "krb5", "ntp": "ntp",
	"gssapi,smb": "smb", "rdp": "rdp", "ftp": "ftp", "dce_rpc": "dcerpc", "sip": "sip",
}

// app returns what Suricata takes the flow's protocol for, "" if there was no data.
func (f *Flow) app() string {
	if a, ok := appProtos[f.Service]; ok {
		return a
	}
	if f.OrigData > 0 && !f.Proto.IsICMP() {
		return "failed"
	}
	return ""
}

// eveLine writes one EVE record.
func (n *Network) eveLine(b []byte, r *row) []byte {
	f := r.flow
	b = append(appendStamp(append(b, `{"timestamp":"`...), r.at, "+0000"), `","flow_id":`...)
	b = strconv.AppendUint(b, f.ID, 10)
	b = append(append(b, `,"in_iface":"eth1","event_type":"`...), f.eveType(r.kind)...)
	b = appendExpanded(append(b, `","src_ip":"`...), f.Orig.Addr())
	if !f.Proto.IsICMP() {
		b = strconv.AppendUint(append(b, `","src_port":`...), uint64(f.Orig.Port()), 10)
		b = appendExpanded(append(b, `,"dest_ip":"`...), f.Resp.Addr())
		b = strconv.AppendUint(append(b, `","dest_port":`...), uint64(f.Resp.Port()), 10)
		b = append(b, ',')
	} else {
		b = appendExpanded(append(b, `","dest_ip":"`...), f.Resp.Addr())
		b = append(b, `",`...)
	}
	b = append(append(append(b, `"proto":"`...), eveProto(f.Proto)...), '"')
	if r.kind != rowConn {
		b = append(b, `,"pkt_src":"wire/pcap"`...)
	}
	switch r.kind {
	case rowDNS, rowDNSAnswer:
		b = f.eveDNS(b, int(r.i), r.kind == rowDNSAnswer)
	case rowTLS:
		b = f.eveTLS(b)
	case rowHTTP:
		b = f.eveHTTP(b, int(r.i))
	default:
		b = f.eveFlow(b, r.at == n.end)
	}
	return append(b, '}')
}

func (f *Flow) eveType(k recordKind) string {
	switch {
	case k == rowTLS && f.TLS.QUIC:
		return "quic"
	case k == rowTLS:
		return "tls"
	case k == rowHTTP:
		return "http"
	case k == rowConn:
		return "flow"
	}
	return "dns"
}

func eveProto(p event.Proto) string {
	switch p {
	case event.ProtoTCP:
		return "TCP"
	case event.ProtoUDP:
		return "UDP"
	}
	return "ICMP"
}

// appendExpanded writes an address as Suricata does up to version 8: IPv6 in full.
func appendExpanded(b []byte, a netip.Addr) []byte {
	if a.Is4() {
		return a.AppendTo(b)
	}
	return append(b, a.StringExpanded()...)
}

func member(b []byte, key string, v int) []byte {
	return strconv.AppendInt(append(append(append(b, '"'), key...), '"', ':'), int64(v), 10)
}

func (f *Flow) eveFlow(b []byte, shutdown bool) []byte {
	if f.Proto.IsICMP() {
		b = append(member(append(b, ','), "icmp_type", int(f.Orig.Port())), `,"icmp_code":0`...)
		if f.RespPkts > 0 {
			b = append(b, `,"response_icmp_type":0,"response_icmp_code":0`...)
		}
	}
	if a := f.app(); a != "" {
		b = append(append(append(b, `,"app_proto":"`...), a...), '"')
	}
	b = append(b, `,"flow":{`...)
	b = member(b, "pkts_toserver", f.OrigPkts)
	b = member(append(b, ','), "pkts_toclient", f.RespPkts)
	const ethernet = 14 // Suricata counts the frame
	b = member(append(b, ','), "bytes_toserver", f.ipBytes(f.OrigPkts, f.OrigData)+ethernet*f.OrigPkts)
	b = member(append(b, ','), "bytes_toclient", f.ipBytes(f.RespPkts, f.RespData)+ethernet*f.RespPkts)
	b = appendStamp(append(b, `,"start":"`...), f.Start, "+0000")
	b = appendStamp(append(b, `","end":"`...), f.End(), "+0000")
	b = append(b, `",`...)
	b = member(b, "age", int(f.End()/1e9-f.Start/1e9))
	b = append(append(b, `,"state":"`...), f.eveState()...)
	reason := "timeout"
	if shutdown {
		reason = "shutdown"
	}
	b = append(append(b, `","reason":"`...), reason...)
	b = append(b, `","alerted":false}`...)
	if f.Proto == event.ProtoTCP {
		b = f.eveTCP(b)
	}
	return b
}

// TCP flags.
const (
	fin = 1 << iota
	syn
	rst
	psh
	ack
)

// flags returns the unions of the TCP flags that each side sent, and the state of
// Suricata's stream engine.
func (f *Flow) flags() (orig, resp uint8, state string) {
	full := uint8(syn | psh | ack)
	switch {
	case f.Backscatter:
		return 0, 0, "" // no stream: it did not see the beginning
	case f.HalfOpen:
		return syn | rst, syn | ack, "closed"
	}
	switch f.State {
	case event.StateS0:
		return syn, 0, "syn_sent"
	case event.StateREJ:
		return syn, rst | ack, "closed"
	case event.StateS1:
		return full, full, "established"
	case event.StateRSTO:
		return full | fin | rst, full, "closed"
	case event.StateRSTR:
		return full, full | rst, "closed"
	}
	return full | fin, full | fin, "closed"
}

func (f *Flow) eveTCP(b []byte) []byte {
	orig, resp, state := f.flags()
	both := orig | resp
	b = appendHex(append(b, `,"tcp":{"tcp_flags":"`...), both)
	b = appendHex(append(b, `","tcp_flags_ts":"`...), orig)
	b = appendHex(append(b, `","tcp_flags_tc":"`...), resp)
	b = append(b, '"')
	for _, n := range []struct {
		flag uint8
		text string
	}{{syn, `,"syn":true`}, {fin, `,"fin":true`}, {rst, `,"rst":true`}, {psh, `,"psh":true`}, {ack, `,"ack":true`}} {
		if both&n.flag != 0 {
			b = append(b, n.text...)
		}
	}
	if state != "" {
		b = append(append(append(b, `,"state":"`...), state...), `","ts_max_regions":1,"tc_max_regions":1`...)
	}
	return append(b, '}')
}

func appendHex(b []byte, v uint8) []byte {
	const digits = "0123456789abcdef"
	return append(b, digits[v>>4], digits[v&15])
}

// eveDNS writes a question or its answer as version 2 of Suricata's DNS records
// has them.
func (f *Flow) eveDNS(b []byte, i int, answer bool) []byte {
	d := &f.DNS[i]
	b = append(b, `,"dns":{"version":2,"type":"`...)
	if !answer {
		b = member(append(b, `query",`...), "id", int(d.ID))
		b = append(append(b, `,"rrname":"`...), d.Query...)
		b = append(append(b, `","rrtype":"`...), d.Type...)
		return append(member(append(b, `",`...), "tx_id", i), `,"opcode":0}`...)
	}
	b = member(append(b, `answer",`...), "id", int(d.ID))
	b = append(b, `,"flags":"818`...)
	b = strconv.AppendInt(b, int64(d.RCode), 10)
	b = append(b, `","qr":true,"rd":true,"ra":true,"opcode":0,"rrname":"`...)
	b = append(append(append(b, d.Query...), `","rrtype":"`...), d.Type...)
	b = append(append(append(b, `","rcode":"`...), rcodeNames[d.RCode]...), '"')
	if len(d.Answers) == 0 {
		return append(b, '}')
	}
	b = append(b, `,"answers":[`...)
	for k, a := range d.Answers {
		if k > 0 {
			b = append(b, ',')
		}
		b = append(append(b, `{"rrname":"`...), d.Query...)
		b = append(append(b, `","rrtype":"`...), d.Type...)
		b = member(append(b, `",`...), "ttl", d.TTL)
		b = append(append(b, `,"rdata":"`...), d.eveAnswer(a)...)
		b = append(b, `"}`...)
	}
	b = append(append(append(b, `],"grouped":{"`...), d.Type...), `":[`...)
	for k, a := range d.Answers {
		if k > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), d.eveAnswer(a)...), '"')
	}
	return append(b, `]}}`...)
}

// eveAnswer writes an answer as Suricata does: IPv6 in full.
func (d *DNS) eveAnswer(a string) string {
	if d.Type != "AAAA" {
		return a
	}
	return netip.MustParseAddr(a).StringExpanded()
}

func (f *Flow) eveTLS(b []byte) []byte {
	t := f.TLS
	if t.QUIC {
		b = append(append(b, `,"quic":{"version":"1","sni":"`...), t.ServerName...)
		return append(b, `"}`...)
	}
	b = append(b, `,"tls":{`...)
	if t.Old && !t.Resumed {
		name := t.ServerName
		if name == "" {
			name = "localhost"
		}
		by := issuer(t.ServerName + f.Resp.Addr().String())
		if t.SelfSigned {
			by = "CN=" + name
		}
		b = append(append(append(b, `"subject":"CN=`...), name...), `","issuerdn":`...)
		b = append(strconv.AppendQuote(b, by), `,"serial":"`...)
		sum := sha1.Sum([]byte(t.ServerName + f.Resp.Addr().String()))
		b = append(appendColons(b, sum[4:], "0123456789ABCDEF"), `","fingerprint":"`...)
		b = append(appendColons(b, sum[:], "0123456789abcdef"), '"')
	} else if t.Resumed {
		b = append(b, `"session_resumed":true`...)
	}
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	if t.ServerName != "" {
		b = append(append(append(b, `"sni":"`...), t.ServerName...), `",`...)
	}
	version := "TLS 1.3"
	if t.Old {
		version = "TLS 1.2"
	}
	b = append(append(append(b, `"version":"`...), version...), '"')
	if t.Old && !t.Resumed {
		b = append(b, `,"notbefore":"2026-09-01T00:00:00","notafter":"2026-12-30T23:59:59"`...)
	}
	return append(b, '}')
}

// appendColons writes bytes in pairs of digits with colons between.
func appendColons(b, sum []byte, digits string) []byte {
	for i, v := range sum {
		if i > 0 {
			b = append(b, ':')
		}
		b = append(b, digits[v>>4], digits[v&15])
	}
	return b
}

func (f *Flow) eveHTTP(b []byte, i int) []byte {
	h := &f.HTTP[i]
	b = append(member(append(b, ','), "tx_id", i), `,"http":{"hostname":`...)
	b = strconv.AppendQuote(b, h.Host)
	b = strconv.AppendQuote(append(b, `,"url":`...), h.URI)
	b = strconv.AppendQuote(append(b, `,"http_user_agent":`...), h.Agent)
	b = strconv.AppendQuote(append(b, `,"http_content_type":`...), h.MIME)
	b = strconv.AppendQuote(append(b, `,"http_method":`...), h.Method)
	b = member(append(b, `,"protocol":"HTTP/1.1",`...), "status", h.Status)
	return append(member(append(b, ','), "length", h.RespBody), '}')
}
