package synth

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"tidewatch/event"
)

// zeekLog is one of Zeek's logs: its columns in the order of Zeek 6 and 7, and what
// makes rows of a flow.
type zeekLog struct {
	name    string
	columns []string // name:type
	rows    func(f *Flow, o *output)
	values  func(z *fields, r *row)
}

var ids = []string{"ts:time", "uid:string", "id.orig_h:addr", "id.orig_p:port", "id.resp_h:addr", "id.resp_p:port"}

var zeekLogs = []zeekLog{
	{"conn", slices.Concat(ids, []string{
		"proto:enum", "service:string", "duration:interval", "orig_bytes:count", "resp_bytes:count", "conn_state:string", "local_orig:bool",
		"local_resp:bool", "missed_bytes:count", "history:string", "orig_pkts:count", "orig_ip_bytes:count", "resp_pkts:count",
		"resp_ip_bytes:count", "tunnel_parents:set[string]",
	}), zeekConnRows, zeekConn},
	{"dns", slices.Concat(ids, []string{
		"proto:enum", "trans_id:count", "rtt:interval", "query:string", "qclass:count", "qclass_name:string", "qtype:count", "qtype_name:string",
		"rcode:count", "rcode_name:string", "AA:bool", "TC:bool", "RD:bool", "RA:bool", "Z:count", "answers:vector[string]",
		"TTLs:vector[interval]", "rejected:bool",
	}), zeekDNSRows, zeekDNS},
	{"ssl", slices.Concat(ids, []string{
		"version:string", "cipher:string", "curve:string", "server_name:string", "resumed:bool", "last_alert:string", "next_protocol:string",
		"established:bool", "ssl_history:string", "cert_chain_fps:vector[string]", "client_cert_chain_fps:vector[string]", "sni_matches_cert:bool",
	}), zeekTLSRows, zeekTLS},
	{"http", slices.Concat(ids, []string{
		"trans_depth:count", "method:string", "host:string", "uri:string", "referrer:string", "version:string", "user_agent:string", "origin:string",
		"request_body_len:count", "response_body_len:count", "status_code:count", "status_msg:string", "info_code:count", "info_msg:string",
		"tags:set[enum]", "username:string", "password:string", "proxied:set[string]", "orig_fuids:vector[string]", "orig_filenames:vector[string]",
		"orig_mime_types:vector[string]", "resp_fuids:vector[string]", "resp_filenames:vector[string]", "resp_mime_types:vector[string]",
	}), zeekHTTPRows, zeekHTTP},
}

// openZeek creates Zeek's logs.
func (n *Network) openZeek(dir, format string, only []string) (outs []*output, err error) {
	for _, l := range zeekLogs {
		if len(only) > 0 && !slices.Contains(only, l.name) {
			continue
		}
		head, tail := "", ""
		if format == FormatZeek {
			head, tail = l.header(n.start), "#close\t"+zeekDate(n.end)+"\n"
		}
		o, err := n.create(filepath.Join(dir, l.name+".log"), head)
		if err != nil {
			return outs, err
		}
		o.rows, o.tail = l.rows, tail
		z := &fields{}
		for _, c := range l.columns {
			name, kind, _ := strings.Cut(c, ":")
			z.names, z.types = append(z.names, name), append(z.types, kind)
		}
		o.line = func(dst []byte, r *row) []byte {
			z.reset(dst)
			if format == FormatZeekJSON {
				z.json = true
				z.b = append(z.b, `{"_path":"`...)
				z.b = append(z.b, l.name...)
				z.b = append(appendStamp(append(z.b, `","_write_ts":"`...), r.at, "Z"), '"')
			}
			l.values(z, r)
			if z.json {
				z.b = append(z.b, '}')
			}
			return z.b
		}
		outs = append(outs, o)
	}
	return outs, nil
}

func zeekDate(ns int64) string { return time.Unix(0, ns).UTC().Format("2006-01-02-15-04-05") }

func (l *zeekLog) header(start int64) string {
	var names, types []string
	for _, c := range l.columns {
		n, t, _ := strings.Cut(c, ":")
		names, types = append(names, n), append(types, t)
	}
	return "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\t" + l.name +
		"\n#open\t" + zeekDate(start) + "\n#fields\t" + strings.Join(names, "\t") + "\n#types\t" + strings.Join(types, "\t") + "\n"
}

// fields writes the values of one row, in the order of its columns, as TSV or JSON.
type fields struct {
	b            []byte
	i            int
	json         bool
	names, types []string
}

func (z *fields) reset(dst []byte) { z.b, z.i = dst, 0 }

// next begins the next value.
func (z *fields) next() {
	if z.json {
		z.b = append(append(append(z.b, ',', '"'), z.names[z.i]...), '"', ':')
	} else if z.i > 0 {
		z.b = append(z.b, '\t')
	}
	z.i++
}

// unset leaves values out.
func (z *fields) unset(count int) {
	for range count {
		if z.json {
			z.i++
			continue
		}
		z.next()
		z.b = append(z.b, '-')
	}
}

// text writes a string: nothing that a made network says needs escapes, but for
// the marker of an unset field.
func (z *fields) text(s string) {
	if s == "" {
		z.unset(1)
		return
	}
	z.next()
	if z.json {
		z.b = strconv.AppendQuote(z.b, s)
	} else {
		z.b = append(z.b, s...)
	}
}

func (z *fields) addr(a netip.Addr) {
	z.next()
	if z.json {
		z.b = append(a.AppendTo(append(z.b, '"')), '"')
	} else {
		z.b = a.AppendTo(z.b)
	}
}

func (z *fields) count(v int) {
	z.next()
	z.b = strconv.AppendInt(z.b, int64(v), 10)
}

func (z *fields) bool(v bool) {
	z.next()
	switch {
	case z.json:
		z.b = strconv.AppendBool(z.b, v)
	case v:
		z.b = append(z.b, 'T')
	default:
		z.b = append(z.b, 'F')
	}
}

// time writes a point in time: epoch in TSV, ISO 8601 in JSON.
func (z *fields) time(ns int64) {
	z.next()
	if z.json {
		z.b = append(appendStamp(append(z.b, '"'), ns, "Z"), '"')
	} else {
		z.b = appendSeconds(z.b, ns)
	}
}

// interval writes nanoseconds as seconds.
func (z *fields) interval(ns int64) {
	z.next()
	z.b = appendSeconds(z.b, ns)
}

// list writes a vector or a set; nil is unset.
func (z *fields) list(vs []string) {
	if vs == nil {
		z.unset(1)
		return
	}
	z.next()
	if !z.json {
		if len(vs) == 0 {
			z.b = append(z.b, "(empty)"...)
		}
		for i, v := range vs {
			if i > 0 {
				z.b = append(z.b, ',')
			}
			z.b = append(z.b, v...)
		}
		return
	}
	z.b = append(z.b, '[')
	for i, v := range vs {
		if i > 0 {
			z.b = append(z.b, ',')
		}
		z.b = strconv.AppendQuote(z.b, v)
	}
	z.b = append(z.b, ']')
}

// repeat writes a vector of count equal intervals; none is unset.
func (z *fields) repeat(ns int64, count int) {
	if count == 0 {
		z.unset(1)
		return
	}
	z.next()
	if z.json {
		z.b = append(z.b, '[')
	}
	for i := range count {
		if i > 0 {
			z.b = append(z.b, ',')
		}
		z.b = appendSeconds(z.b, ns)
	}
	if z.json {
		z.b = append(z.b, ']')
	}
}

// appendSeconds writes nanoseconds as seconds with six decimals.
func appendSeconds(b []byte, ns int64) []byte {
	b = strconv.AppendInt(b, ns/1e9, 10)
	return appendMicros(b, ns)
}

func appendMicros(b []byte, ns int64) []byte {
	us := ns % 1e9 / 1000
	b = append(b, '.')
	for d := int64(100_000); d > 0; d /= 10 {
		b = append(b, byte('0'+us/d%10))
	}
	return b
}

// appendStamp writes Unix nanoseconds as ISO 8601 in UTC, with microseconds.
func appendStamp(b []byte, ns int64, zone string) []byte {
	b = time.Unix(0, ns).UTC().AppendFormat(b, "2006-01-02T15:04:05")
	return append(appendMicros(b, ns), zone...)
}

// uid writes a connection's id the way Zeek does.
func (f *Flow) uid(b []byte) []byte {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	b = append(b, 'C')
	for _, v := range [2]uint64{mix(f.ID), mix(f.ID + 1)} {
		for range 8 {
			b = append(b, digits[v%62])
			v /= 62
		}
	}
	return append(b, digits[f.ID%62])
}

// id writes what each row begins with. Zeek takes the sender of backscatter for
// the responder.
func (z *fields) id(f *Flow, at int64) {
	z.time(at)
	z.next()
	if z.json {
		z.b = append(f.uid(append(z.b, '"')), '"')
	} else {
		z.b = f.uid(z.b)
	}
	from, to := f.Orig, f.Resp
	if f.Backscatter {
		from, to = to, from
	}
	z.addr(from.Addr())
	z.count(int(from.Port()))
	z.addr(to.Addr())
	z.count(int(to.Port()))
}

// zeekConnRows adds a connection when Zeek forgets it: five seconds after the end
// of a TCP connection, after a minute of rest for the others.
func zeekConnRows(f *Flow, o *output) {
	delay := int64(5 * time.Second)
	if f.Proto != event.ProtoTCP {
		delay = int64(time.Minute)
	}
	o.add(f.End()+delay, f, rowConn, 0)
}

func zeekConn(z *fields, r *row) {
	f := r.flow
	state, history := f.zeekState()
	z.id(f, f.Start)
	z.text(f.Proto.String())
	z.text(f.Service)
	if f.Duration > 0 {
		z.interval(f.Duration)
		z.count(f.OrigData)
		z.count(f.RespData)
	} else {
		z.unset(3)
	}
	z.text(state)
	here, there := f.Orig.Addr(), f.Resp.Addr()
	packets := [4]int{f.OrigPkts, f.ipBytes(f.OrigPkts, f.OrigData), f.RespPkts, f.ipBytes(f.RespPkts, f.RespData)}
	if f.Backscatter {
		here, there = there, here
		packets = [4]int{packets[2], packets[3], packets[0], packets[1]}
	}
	z.bool(local(here))
	z.bool(local(there))
	z.count(0)
	z.text(history)
	for _, v := range packets {
		z.count(v)
	}
	z.unset(1)
}

// local reports whether Zeek takes an address for a local one: it does so with
// private ones since version 6.
func local(a netip.Addr) bool { return a.IsPrivate() }

// ipBytes is payload and headers: IPv4 or IPv6, and TCP with options on the first
// packet, UDP or ICMP.
func (f *Flow) ipBytes(pkts, data int) int {
	if pkts == 0 {
		return 0
	}
	head, first := 28, 0
	if f.Proto == event.ProtoTCP {
		head, first = 40, 12
	}
	if f.Orig.Addr().Is6() {
		head += 20
	}
	return head*pkts + first + data
}

// zeekState returns conn_state and history.
func (f *Flow) zeekState() (state, history string) {
	switch {
	case f.Backscatter:
		return "OTH", "h"
	case f.Proto.IsICMP():
		return "OTH", ""
	case f.Proto == event.ProtoUDP && f.RespPkts > 0:
		return "SF", "Dd"
	case f.Proto == event.ProtoUDP:
		return "S0", "D"
	case f.HalfOpen:
		return "RSTO", "ShR"
	}
	switch f.State {
	case event.StateS0:
		return "S0", "S"
	case event.StateREJ:
		return "REJ", "Sr"
	case event.StateS1:
		return "S1", "ShADad"
	case event.StateRSTO:
		return "RSTO", "ShADadFR"
	case event.StateRSTR:
		return "RSTR", "ShADadr"
	}
	if f.ID%4 == 0 {
		return "SF", "ShADadfF"
	}
	return "SF", "ShADadFf"
}

// zeekDNSRows adds a query when its answer is there, or when Zeek gives up.
func zeekDNSRows(f *Flow, o *output) {
	for i := range f.DNS {
		d := &f.DNS[i]
		wait := d.RTT
		if d.RCode == unanswered {
			wait = int64(10 * time.Second)
		}
		o.add(f.Start+d.At+wait, f, rowDNS, i)
	}
}

var rcodeNames = map[int]string{0: "NOERROR", 3: "NXDOMAIN"}

var qtypes = map[string]int{"A": 1, "NULL": 10, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "CNAME": 5}

func zeekDNS(z *fields, r *row) {
	f, d := r.flow, &r.flow.DNS[r.i]
	z.id(f, f.Start+d.At)
	z.text("udp")
	z.count(int(d.ID))
	if d.RCode == unanswered {
		z.unset(1)
	} else {
		z.interval(d.RTT)
	}
	z.text(d.Query)
	z.count(1)
	z.text("C_INTERNET")
	z.count(qtypes[d.Type])
	z.text(d.Type)
	if d.RCode == unanswered {
		z.unset(2)
	} else {
		z.count(d.RCode)
		z.text(rcodeNames[d.RCode])
	}
	z.bool(false)
	z.bool(false)
	z.bool(true)
	z.bool(d.RCode != unanswered)
	z.count(0)
	z.list(d.zeekAnswers())
	z.repeat(int64(d.TTL)*1e9, len(d.Answers))
	z.bool(false)
}

// zeekAnswers returns the answers as Zeek writes them: texts with their length.
func (d *DNS) zeekAnswers() []string {
	if d.Type != "TXT" {
		return d.Answers
	}
	var as []string
	for _, a := range d.Answers {
		as = append(as, "TXT "+itoa(len(a))+" "+a)
	}
	return as
}

// handshake is how long after the first packet a TLS handshake is done.
func handshake(f *Flow) int64 {
	trips := int64(2)
	if f.TLS.Old && !f.TLS.Resumed {
		trips = 3
	}
	at := trips*rtt(f.Resp.Addr()) + int64(900*time.Microsecond)
	return at - at%1000
}

func zeekTLSRows(f *Flow, o *output) {
	if f.TLS != nil {
		o.add(f.Start+handshake(f), f, rowTLS, 0)
	}
}

// certificate returns fingerprints of the chain that a name's server shows.
func certificate(name string, selfSigned bool) []string {
	leaf := sha256.Sum256([]byte(name))
	if selfSigned {
		return []string{hex.EncodeToString(leaf[:])}
	}
	ca := sha256.Sum256([]byte(issuer(name)))
	return []string{hex.EncodeToString(leaf[:]), hex.EncodeToString(ca[:])}
}

func issuer(name string) string {
	return [...]string{"CN=R11,O=Let's Encrypt,C=US", "CN=DigiCert TLS RSA SHA256 2020 CA1,O=DigiCert Inc,C=US", "CN=Amazon RSA 2048 M01,O=Amazon,C=US"}[len(name)%3]
}

func zeekTLS(z *fields, r *row) {
	f, t := r.flow, r.flow.TLS
	at := rtt(f.Resp.Addr())
	z.id(f, f.Start+at-at%1000) // the client's hello
	switch {
	case t.Old:
		z.text("TLSv12")
		z.text("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256")
	default:
		z.text("TLSv13")
		z.text("TLS_AES_128_GCM_SHA256")
	}
	if t.Old && t.Resumed {
		z.unset(1)
	} else {
		z.text("x25519")
	}
	z.text(t.ServerName)
	z.bool(t.Resumed)
	z.unset(1)
	z.text(t.ALPN)
	z.bool(true)
	if !t.Old || t.Resumed {
		z.text("CsiI")
		z.unset(3)
		return
	}
	z.text("CsxknGIi")
	z.list(certificate(t.ServerName+f.Resp.Addr().String(), t.SelfSigned))
	z.list([]string{})
	if t.ServerName == "" {
		z.unset(1)
	} else {
		z.bool(!t.SelfSigned)
	}
}

func zeekHTTPRows(f *Flow, o *output) {
	for i := range f.HTTP {
		o.add(f.Start+f.HTTP[i].At+f.HTTP[i].Took, f, rowHTTP, i)
	}
}

var statusText = map[int]string{200: "OK", 404: "Not Found"}

func zeekHTTP(z *fields, r *row) {
	f, h := r.flow, &r.flow.HTTP[r.i]
	z.id(f, f.Start+h.At)
	z.count(int(r.i) + 1)
	z.text(h.Method)
	z.text(h.Host)
	z.text(h.URI)
	z.unset(1)
	z.text("1.1")
	z.text(h.Agent)
	z.unset(1)
	z.count(h.OrigBody)
	z.count(h.RespBody)
	z.count(h.Status)
	z.text(statusText[h.Status])
	z.unset(2)
	z.list([]string{})
	z.unset(6)
	id := mix(f.ID + uint64(r.i))
	z.list([]string{"F" + strconv.FormatUint(id, 36)})
	z.unset(1)
	z.list([]string{h.MIME})
}
