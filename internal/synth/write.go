package synth

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"tidewatch/event"
	"tidewatch/internal/eval"
)

// Write writes the network's days into a folder: for each format ("zeek", "json",
// "eve") its logs, and the truth file. only lists the logs to write ("conn",
// "dns", "ssl", "http"); nil means all.
func (n *Network) Write(dir string, formats, only []string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var outs []*output
	for _, f := range formats {
		os, err := openOutputs(dir, f, only, len(formats) > 1, n.opts.Start)
		if err != nil {
			return err
		}
		outs = append(outs, os...)
	}
	err := n.Hours(func(flows []Flow) error {
		for i := range flows {
			for _, o := range outs {
				o.add(&flows[i])
			}
		}
		if len(flows) == 0 {
			return nil
		}
		for _, o := range outs {
			if err := o.flush(flows[len(flows)-1].Start); err != nil {
				return err
			}
		}
		return nil
	})
	for _, o := range outs {
		err = errors.Join(err, o.flush(1<<63-1), o.close())
	}
	if err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(dir, eval.TruthFile))
	if err != nil {
		return err
	}
	return errors.Join(n.truth.Write(f), f.Close())
}

// row is one line and when the sensor writes it.
type row struct {
	at   int64
	text []byte
}

// output is one log.
type output struct {
	file    *os.File
	w       *bufio.Writer
	rows    func(*Flow, func(at int64, line []byte))
	pending []row
	tail    string
}

func (o *output) add(f *Flow) {
	o.rows(f, func(at int64, line []byte) { o.pending = append(o.pending, row{at, line}) })
}

// flush writes the rows that are due.
func (o *output) flush(now int64) error {
	slices.SortStableFunc(o.pending, func(a, b row) int { return cmp.Compare(a.at, b.at) })
	i := 0
	for ; i < len(o.pending) && o.pending[i].at <= now; i++ {
		o.w.Write(o.pending[i].text) // a bufio.Writer keeps its error for Flush
		o.w.WriteByte('\n')
	}
	o.pending = slices.Delete(o.pending, 0, i)
	return nil
}

func (o *output) close() error {
	o.w.WriteString(o.tail)
	return errors.Join(o.w.Flush(), o.file.Close())
}

// openOutputs opens the logs of one format, in a folder of its own if several are
// written.
func openOutputs(dir, format string, only []string, apart bool, start time.Time) ([]*output, error) {
	if apart {
		dir = filepath.Join(dir, format)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	open := func(name, head, tail string, rows func(*Flow, func(int64, []byte))) (*output, error) {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		o := &output{file: f, w: bufio.NewWriterSize(f, 1<<18), rows: rows, tail: tail}
		o.w.WriteString(head)
		return o, nil
	}
	if format == "eve" {
		o, err := open("eve.json", "", "", eveRows(only))
		return []*output{o}, err
	}
	var outs []*output
	for _, l := range zeekLogs {
		if only != nil && !slices.Contains(only, l.name) {
			continue
		}
		name, head, tail := l.name+".log", l.header(start), "#close\t"+start.Format("2006-01-02-15-04-05")+"\n"
		switch format {
		case "zeek":
		case "json":
			head, tail = "", ""
		default:
			return nil, fmt.Errorf("format %q: allowed are zeek, json and eve", format)
		}
		rows := func(f *Flow, emit func(int64, []byte)) {
			l.rows(f, func(at int64, values []string) {
				if format == "json" {
					emit(at, l.json(values))
				} else {
					emit(at, []byte(strings.Join(values, "\t")))
				}
			})
		}
		o, err := open(name, head, tail, rows)
		if err != nil {
			return nil, err
		}
		outs = append(outs, o)
	}
	return outs, nil
}

// zeekLog is one of Zeek's logs: its columns, and the rows of a flow.
type zeekLog struct {
	name    string
	columns []string // name:type
	rows    func(*Flow, func(at int64, values []string))
}

var ids = []string{"ts:time", "uid:string", "id.orig_h:addr", "id.orig_p:port", "id.resp_h:addr", "id.resp_p:port"}

var zeekLogs = []zeekLog{
	{"conn", slices.Concat(ids, []string{"proto:enum", "service:string", "duration:interval", "orig_bytes:count", "resp_bytes:count", "conn_state:string", "local_orig:bool", "local_resp:bool", "missed_bytes:count", "history:string", "orig_pkts:count", "orig_ip_bytes:count", "resp_pkts:count", "resp_ip_bytes:count", "tunnel_parents:set[string]"}), connRows},
	{"dns", slices.Concat(ids, []string{"proto:enum", "trans_id:count", "rtt:interval", "query:string", "qclass:count", "qclass_name:string", "qtype:count", "qtype_name:string", "rcode:count", "rcode_name:string", "AA:bool", "TC:bool", "RD:bool", "RA:bool", "Z:count", "answers:vector[string]", "TTLs:vector[interval]", "rejected:bool"}), dnsRows},
	{"ssl", slices.Concat(ids, []string{"version:string", "cipher:string", "curve:string", "server_name:string", "resumed:bool", "last_alert:string", "next_protocol:string", "established:bool", "ssl_history:string", "cert_chain_fps:vector[string]", "client_cert_chain_fps:vector[string]", "sni_matches_cert:bool"}), sslRows},
	{"http", slices.Concat(ids, []string{"trans_depth:count", "method:string", "host:string", "uri:string", "referrer:string", "version:string", "user_agent:string", "origin:string", "request_body_len:count", "response_body_len:count", "status_code:count", "status_msg:string"}), httpRows},
}

func (l zeekLog) header(start time.Time) string {
	var names, types []string
	for _, c := range l.columns {
		n, t, _ := strings.Cut(c, ":")
		names, types = append(names, n), append(types, t)
	}
	return "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\t" + l.name +
		"\n#open\t" + start.Format("2006-01-02-15-04-05") + "\n#fields\t" + strings.Join(names, "\t") + "\n#types\t" + strings.Join(types, "\t") + "\n"
}

// json writes a row the way Zeek's JSON writer does: unset columns are left out.
func (l zeekLog) json(values []string) []byte {
	b := []byte("{")
	for i, v := range values {
		name, kind, _ := strings.Cut(l.columns[i], ":")
		if v == "-" {
			continue
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(b, '"')
		b = append(b, name...)
		b = append(b, '"', ':')
		switch kind {
		case "time", "interval", "count", "port":
			b = append(b, strings.TrimSuffix(strings.TrimRight(v, "0"), ".")...)
			if !strings.Contains(v, ".") {
				b = append(b[:len(b)-len(strings.TrimSuffix(strings.TrimRight(v, "0"), "."))], v...)
			}
		case "bool":
			b = strconv.AppendBool(b, v == "T")
		case "vector[string]", "set[string]":
			b = append(b, '[')
			for j, e := range strings.Split(v, ",") {
				if v == "(empty)" {
					break
				}
				if j > 0 {
					b = append(b, ',')
				}
				b = strconv.AppendQuote(b, e)
			}
			b = append(b, ']')
		case "vector[interval]":
			b = append(append(append(b, '['), v...), ']')
		default:
			b = strconv.AppendQuote(b, v)
		}
	}
	return append(b, '}')
}

func seconds(ns int64) string { return fmt.Sprintf("%d.%06d", ns/1e9, ns%1e9/1000) }

func (f *Flow) ids(at int64) []string {
	return []string{seconds(at), f.UID, f.Orig.Addr().String(), strconv.Itoa(int(f.Orig.Port())), f.Resp.Addr().String(), strconv.Itoa(int(f.Resp.Port()))}
}

func (f *Flow) end() int64 { return f.Start + f.Duration }

// service is what the sensors call the protocol.
func (f *Flow) service() string {
	switch {
	case f.DNS != nil:
		return "dns"
	case f.TLS != nil:
		return "ssl"
	case f.HTTP != nil:
		return "http"
	}
	return "-"
}

// ipBytes is payload and headers.
func ipBytes(pkts, data int, proto event.Proto) int {
	if proto == event.ProtoTCP {
		return 40*pkts + data
	}
	return 28*pkts + data
}

func local(a netip.Addr) string {
	if a.IsPrivate() {
		return "T"
	}
	return "F"
}

var histories = map[event.State]string{event.StateSF: "ShADadFf", event.StateS0: "S", event.StateREJ: "Sr", event.StateOTH: "H"}

func connRows(f *Flow, emit func(int64, []string)) {
	history, state := histories[f.State], f.State.String()
	switch {
	case f.Proto == event.ProtoUDP && f.RespPkts > 0:
		history = "Dd"
	case f.Proto == event.ProtoUDP:
		history = "D"
	case f.Proto.IsICMP():
		history = "-"
	}
	duration, out, in := seconds(f.Duration), strconv.Itoa(f.OrigData), strconv.Itoa(f.RespData)
	if f.Duration == 0 {
		duration, out, in = "-", "-", "-"
	}
	// TCP rows come when the connection is removed, UDP ones after a minute of rest.
	delay := int64(5 * time.Second)
	if f.Proto != event.ProtoTCP {
		delay = int64(time.Minute)
	}
	emit(f.end()+delay, append(f.ids(f.Start), f.Proto.String(), f.service(), duration, out, in, state, local(f.Orig.Addr()), local(f.Resp.Addr()), "0", history,
		strconv.Itoa(f.OrigPkts), strconv.Itoa(ipBytes(f.OrigPkts, f.OrigData, f.Proto)), strconv.Itoa(f.RespPkts), strconv.Itoa(ipBytes(f.RespPkts, f.RespData, f.Proto)), "-"))
}

var rcodes = map[int]string{0: "NOERROR", 3: "NXDOMAIN"}

func dnsRows(f *Flow, emit func(int64, []string)) {
	d := f.DNS
	if d == nil {
		return
	}
	answers, ttls := "-", "-"
	if len(d.Answers) > 0 {
		answers = strings.Join(d.Answers, ",")
		var ts []string
		for range d.Answers {
			ts = append(ts, strconv.Itoa(d.TTL)+".000000")
		}
		ttls = strings.Join(ts, ",")
	}
	emit(f.Start+d.RTT, append(f.ids(f.Start), "udp", strconv.Itoa(d.ID), seconds(d.RTT), d.Query, "1", "C_INTERNET", "1", d.Type,
		strconv.Itoa(d.RCode), rcodes[d.RCode], "F", "F", "T", "T", "0", answers, ttls, "F"))
}

// handshake is how long after the first packet a TLS handshake is seen.
const handshake = int64(15 * time.Millisecond)

func sslRows(f *Flow, emit func(int64, []string)) {
	t := f.TLS
	if t == nil {
		return
	}
	alpn := t.ALPN
	if alpn == "" {
		alpn = "-"
	}
	emit(f.Start+handshake, append(f.ids(f.Start+handshake), "TLSv13", "TLS_AES_128_GCM_SHA256", "x25519", t.ServerName, "F", "-", alpn, "T", "CsiI", "-", "-", "-"))
}

func httpRows(f *Flow, emit func(int64, []string)) {
	for i, h := range f.HTTP {
		emit(f.end(), append(f.ids(h.At), strconv.Itoa(i+1), h.Method, h.Host, h.URI, "-", "1.1", h.Agent, "-",
			strconv.Itoa(h.OrigBytes), strconv.Itoa(h.RespBytes), strconv.Itoa(h.Status), "OK"))
	}
}

// eveRows returns the EVE records of a flow.
func eveRows(only []string) func(*Flow, func(int64, []byte)) {
	wants := func(log string) bool { return only == nil || slices.Contains(only, log) }
	return func(f *Flow, emit func(int64, []byte)) {
		if f.DNS != nil && wants("dns") {
			emit(f.Start+f.DNS.RTT, f.eveDNS())
		}
		if f.TLS != nil && wants("ssl") {
			at := f.Start + handshake
			emit(at, f.eve(at, "tls", "tls", map[string]any{"sni": f.TLS.ServerName, "version": "TLS 1.3"}))
		}
		if wants("http") {
			for _, h := range f.HTTP {
				emit(f.end(), f.eve(f.end(), "http", "http", map[string]any{
					"hostname": h.Host, "url": h.URI, "http_user_agent": h.Agent, "http_method": h.Method, "protocol": "HTTP/1.1", "status": h.Status, "length": h.RespBytes,
				}))
			}
		}
		if wants("conn") {
			// Suricata writes flows when they time out.
			at := f.end() + int64(60*time.Second)
			emit(at, f.eveFlow(at))
		}
	}
}

// eveRecord has the members of an EVE record in Suricata's order.
type eveRecord struct {
	Timestamp string         `json:"timestamp"`
	FlowID    uint64         `json:"flow_id"`
	InIface   string         `json:"in_iface"`
	EventType string         `json:"event_type"`
	SrcIP     string         `json:"src_ip"`
	SrcPort   *uint16        `json:"src_port,omitempty"`
	DestIP    string         `json:"dest_ip"`
	DestPort  *uint16        `json:"dest_port,omitempty"`
	Proto     string         `json:"proto"`
	ICMPType  *int           `json:"icmp_type,omitempty"`
	ICMPCode  *int           `json:"icmp_code,omitempty"`
	AppProto  string         `json:"app_proto,omitempty"`
	DNS       map[string]any `json:"dns,omitempty"`
	TLS       map[string]any `json:"tls,omitempty"`
	HTTP      map[string]any `json:"http,omitempty"`
	Flow      map[string]any `json:"flow,omitempty"`
	TCP       map[string]any `json:"tcp,omitempty"`
}

func stamp(ns int64) string {
	return time.Unix(0, ns).UTC().Format("2006-01-02T15:04:05.000000-0700")
}

func (f *Flow) record(at int64, kind string) eveRecord {
	e := eveRecord{
		Timestamp: stamp(at), FlowID: f.ID >> 2, InIface: "eth0", EventType: kind,
		SrcIP: f.Orig.Addr().String(), DestIP: f.Resp.Addr().String(), Proto: strings.ToUpper(f.Proto.String()),
	}
	if f.Proto.IsICMP() {
		t, c := int(f.Orig.Port()), int(f.Resp.Port())
		e.ICMPType, e.ICMPCode = &t, &c
	} else {
		s, d := f.Orig.Port(), f.Resp.Port()
		e.SrcPort, e.DestPort = &s, &d
	}
	return e
}

func encode(e eveRecord) []byte {
	b, err := json.Marshal(e)
	if err != nil {
		panic("synth: " + err.Error())
	}
	return b
}

func (f *Flow) eve(at int64, kind, key string, body map[string]any) []byte {
	e := f.record(at, kind)
	switch key {
	case "tls":
		e.TLS = body
	case "http":
		e.HTTP = body
	}
	return encode(e)
}

// eveDNS is the answer, with the question in it, as version 2 has it.
func (f *Flow) eveDNS() []byte {
	d := f.DNS
	e := f.record(f.Start+d.RTT, "dns")
	e.DNS = map[string]any{"version": 2, "type": "answer", "id": d.ID, "flags": "8180", "qr": true, "rd": true, "ra": true, "rrname": d.Query, "rrtype": d.Type, "rcode": rcodes[d.RCode]}
	var answers []map[string]any
	for _, a := range d.Answers {
		answers = append(answers, map[string]any{"rrname": d.Query, "rrtype": d.Type, "ttl": d.TTL, "rdata": a})
	}
	if answers != nil {
		e.DNS["answers"] = answers
	}
	return encode(e)
}

// tcpFlags are Suricata's unions of the flags of both directions.
var tcpFlags = map[event.State][3]string{
	event.StateSF: {"1b", "1b", "closed"}, event.StateS0: {"02", "00", "syn_sent"}, event.StateREJ: {"02", "14", "closed"}, event.StateOTH: {"00", "00", ""},
}

func (f *Flow) eveFlow(at int64) []byte {
	e := f.record(at, "flow")
	if s := f.service(); s != "-" {
		e.AppProto = strings.Replace(s, "ssl", "tls", 1)
	}
	state := "new"
	switch {
	case f.Proto == event.ProtoTCP && (f.State == event.StateSF || f.State == event.StateREJ):
		state = "closed"
	case f.RespPkts > 0:
		state = "established"
	}
	e.Flow = map[string]any{
		"pkts_toserver": f.OrigPkts, "pkts_toclient": f.RespPkts,
		"bytes_toserver": ipBytes(f.OrigPkts, f.OrigData, f.Proto) + 14*f.OrigPkts, "bytes_toclient": ipBytes(f.RespPkts, f.RespData, f.Proto) + 14*f.RespPkts,
		"start": stamp(f.Start), "end": stamp(f.end()), "age": (f.end() - f.Start) / 1e9, "state": state, "reason": "timeout", "alerted": false,
	}
	if f.Proto == event.ProtoTCP {
		t := tcpFlags[f.State]
		e.TCP = map[string]any{"tcp_flags": t[0], "tcp_flags_ts": t[0], "tcp_flags_tc": t[1]}
		if t[2] != "" {
			e.TCP["syn"], e.TCP["state"] = true, t[2]
		}
	}
	return encode(e)
}
