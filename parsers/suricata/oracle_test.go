package suricata

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"tidewatch/event"
	"tidewatch/parsers"
	"tidewatch/parsers/scan"
)

// The slow reading: a record as encoding/json decodes it, and for each column where in
// it the value is and of which type. It shares no code with the parser but the
// readers of times.

type conversion func(v any) (any, bool)

func asText(v any) (any, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	}
	return nil, false
}

func asUint(v any) (any, bool) {
	s, ok := asText(v)
	if !ok {
		return nil, false
	}
	n, err := strconv.ParseUint(s.(string), 10, 64)
	return n, err == nil
}

func asUintTo(greatest uint64) conversion {
	return func(v any) (any, bool) {
		n, ok := asUint(v)
		return n, ok && n.(uint64) <= greatest
	}
}

func asBool(v any) (any, bool) { b, ok := v.(bool); return b, ok }

var usualTime = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]([01]\d|2[0-3]):?[0-5]\d)?$`)

func asTime(v any) (any, bool) {
	s, ok := v.(string)
	if !ok {
		return nil, false
	}
	if usualTime.MatchString(s) { // time.Parse takes a lot more
		for _, layout := range []string{"2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05"} {
			if t, err := time.Parse(layout, s); err == nil && t.Year() > 1700 && t.Year() < 2200 {
				return t.UnixNano(), true
			}
		}
	}
	ns, ok := scan.ISO([]byte(s)) // the rarer forms have a test beside scan.ISO
	return ns, ok
}

func asAddr(v any) (any, bool) {
	s, ok := v.(string)
	if !ok {
		return nil, false
	}
	a, err := netip.ParseAddr(s)
	return a.Unmap().WithZone(""), err == nil
}

func asHex(v any) (any, bool) {
	s, ok := v.(string)
	if !ok || !regexp.MustCompile(`^[0-9a-fA-F]{2}$`).MatchString(s) {
		return nil, false
	}
	n, err := strconv.ParseUint(s, 16, 8)
	return n, err == nil
}

func asTexts(v any) (any, bool) {
	list, ok := v.([]any)
	if s, isText := v.(string); isText {
		list, ok = []any{s}, true
	}
	texts := []string{}
	for _, e := range list {
		if s, ok := asText(e); ok {
			texts = append(texts, s.(string))
		}
	}
	return texts, ok
}

func asFirst(v any) (any, bool) {
	if list, ok := v.([]any); ok {
		if len(list) == 0 {
			return nil, false
		}
		v = list[0]
	}
	return asText(v)
}

// asTextsIn is asTexts for a list of objects with a text each.
func asTextsIn(name string) conversion {
	return func(v any) (any, bool) {
		list, ok := v.([]any)
		texts := []string{}
		for _, e := range list {
			if m, isObject := e.(map[string]any); isObject {
				e = m[name]
			}
			if s, isText := e.(string); isText {
				texts = append(texts, s)
			}
		}
		return texts, ok
	}
}

func asHTTPVersion(v any) (any, bool) {
	s, ok := v.(string)
	return strings.TrimPrefix(s, "HTTP/"), ok
}

// column is one column: where EVE has it, and where an Event has it.
type column struct {
	col  event.Column
	path string
	conv conversion
	get  func(e *event.Event) any
}

func text(c event.Column, path string, get func(e *event.Event) string) column {
	return column{c, path, asText, func(e *event.Event) any { return get(e) }}
}

func number[T uint8 | uint16 | uint32 | uint64](c event.Column, path string, get func(e *event.Event) T) column {
	return column{c, path, asUintTo(uint64(^T(0))), func(e *event.Event) any { return uint64(get(e)) }}
}

func truth(c event.Column, path string, get func(e *event.Event) bool) column {
	return column{c, path, asBool, func(e *event.Event) any { return get(e) }}
}

var slowColumns = []column{
	text(event.ColCommunityID, "community_id", func(e *event.Event) string { return e.CommunityID }),
	{event.ColWritten, "timestamp", asTime, func(e *event.Event) any { return e.Written }},

	number(event.ConnOrigPkts, "flow.pkts_toserver", func(e *event.Event) uint64 { return e.Conn.OrigPkts }),
	number(event.ConnRespPkts, "flow.pkts_toclient", func(e *event.Event) uint64 { return e.Conn.RespPkts }),
	number(event.ConnOrigIPBytes, "flow.bytes_toserver", func(e *event.Event) uint64 { return e.Conn.OrigIPBytes }),
	number(event.ConnRespIPBytes, "flow.bytes_toclient", func(e *event.Event) uint64 { return e.Conn.RespIPBytes }),
	text(event.ConnFlowState, "flow.state", func(e *event.Event) string { return e.Conn.FlowState }),
	text(event.ConnReason, "flow.reason", func(e *event.Event) string { return e.Conn.Reason }),
	truth(event.ConnAlerted, "flow.alerted", func(e *event.Event) bool { return e.Conn.Alerted }),
	{event.ConnOrigFlags, "tcp.tcp_flags_ts", asHex, func(e *event.Event) any { return uint64(e.Conn.OrigFlags) }},
	{event.ConnRespFlags, "tcp.tcp_flags_tc", asHex, func(e *event.Event) any { return uint64(e.Conn.RespFlags) }},

	text(event.TLSServerName, "tls.sni", func(e *event.Event) string { return e.TLS.ServerName }),
	text(event.TLSVersion, "tls.version", func(e *event.Event) string { return e.TLS.Version }),
	text(event.TLSSubject, "tls.subject", func(e *event.Event) string { return e.TLS.Subject }),
	text(event.TLSIssuer, "tls.issuerdn", func(e *event.Event) string { return e.TLS.Issuer }),
	text(event.TLSSerial, "tls.serial", func(e *event.Event) string { return e.TLS.Serial }),
	text(event.TLSFingerprint, "tls.fingerprint", func(e *event.Event) string { return e.TLS.Fingerprint }),
	text(event.TLSClientSubject, "tls.client.subject", func(e *event.Event) string { return e.TLS.ClientSubject }),
	text(event.TLSClientIssuer, "tls.client.issuerdn", func(e *event.Event) string { return e.TLS.ClientIssuer }),
	truth(event.TLSResumed, "tls.session_resumed", func(e *event.Event) bool { return e.TLS.Resumed }),
	{event.TLSNotBefore, "tls.notbefore", asTime, func(e *event.Event) any { return e.TLS.NotBefore }},
	{event.TLSNotAfter, "tls.notafter", asTime, func(e *event.Event) any { return e.TLS.NotAfter }},
	{event.TLSNextProtocol, "tls.server_alpns", asFirst, func(e *event.Event) any { return e.TLS.NextProtocol }},
	text(event.TLSJA3, "tls.ja3.hash", func(e *event.Event) string { return e.TLS.JA3 }),
	text(event.TLSJA3S, "tls.ja3s.hash", func(e *event.Event) string { return e.TLS.JA3S }),
	text(event.TLSJA4, "tls.ja4", func(e *event.Event) string { return e.TLS.JA4 }),

	text(event.HTTPHost, "http.hostname", func(e *event.Event) string { return e.HTTP.Host }),
	text(event.HTTPURI, "http.url", func(e *event.Event) string { return e.HTTP.URI }),
	text(event.HTTPUserAgent, "http.http_user_agent", func(e *event.Event) string { return e.HTTP.UserAgent }),
	text(event.HTTPReferrer, "http.http_refer", func(e *event.Event) string { return e.HTTP.Referrer }),
	text(event.HTTPMethod, "http.http_method", func(e *event.Event) string { return e.HTTP.Method }),
	{event.HTTPVersion, "http.protocol", asHTTPVersion, func(e *event.Event) any { return e.HTTP.Version }},
	number(event.HTTPStatus, "http.status", func(e *event.Event) uint16 { return e.HTTP.Status }),
	number(event.HTTPRespBodyLen, "http.length", func(e *event.Event) uint64 { return e.HTTP.RespBodyLen }),
	{event.HTTPRespMIME, "http.http_content_type", asTexts, func(e *event.Event) any { return e.HTTP.RespMIME }},

	text(event.FileName, "fileinfo.filename", func(e *event.Event) string { return e.File.Name }),
	text(event.FileFileState, "fileinfo.state", func(e *event.Event) string { return e.File.FileState }),
	number(event.FileSeenBytes, "fileinfo.size", func(e *event.Event) uint64 { return e.File.SeenBytes }),
	text(event.FileMD5, "fileinfo.md5", func(e *event.Event) string { return e.File.MD5 }),
	text(event.FileSHA1, "fileinfo.sha1", func(e *event.Event) string { return e.File.SHA1 }),
	text(event.FileSHA256, "fileinfo.sha256", func(e *event.Event) string { return e.File.SHA256 }),

	number(event.NoticeSignatureID, "alert.signature_id", func(e *event.Event) uint64 { return e.Notice.SignatureID }),
	number(event.NoticeSeverity, "alert.severity", func(e *event.Event) uint8 { return e.Notice.Severity }),
	text(event.NoticeAction, "alert.action", func(e *event.Event) string { return e.Notice.Action }),
	text(event.NoticeSub, "anomaly.layer", func(e *event.Event) string { return e.Notice.Sub }),
	text(event.NoticeSource, "anomaly.app_proto", func(e *event.Event) string { return e.Notice.Source }),

	text(event.SSHClient, "ssh.client.software_version", func(e *event.Event) string { return e.SSH.Client }),
	text(event.SSHServer, "ssh.server.software_version", func(e *event.Event) string { return e.SSH.Server }),
	text(event.SSHHASSH, "ssh.client.hassh.hash", func(e *event.Event) string { return e.SSH.HASSH }),

	text(event.SMBAction, "smb.command", func(e *event.Event) string { return e.SMB.Action }),
	text(event.SMBDialect, "smb.dialect", func(e *event.Event) string { return e.SMB.Dialect }),
	text(event.SMBStatus, "smb.status", func(e *event.Event) string { return e.SMB.Status }),
	text(event.SMBShare, "smb.share", func(e *event.Event) string { return e.SMB.Share }),
	text(event.SMBFUID, "smb.fuid", func(e *event.Event) string { return e.SMB.FUID }),
	text(event.SMBPrevName, "smb.rename.from", func(e *event.Event) string { return e.SMB.PrevName }),
	text(event.SMBUser, "smb.ntlmssp.user", func(e *event.Event) string { return e.SMB.User }),
	text(event.SMBDomain, "smb.ntlmssp.domain", func(e *event.Event) string { return e.SMB.Domain }),
	text(event.SMBClientName, "smb.ntlmssp.host", func(e *event.Event) string { return e.SMB.ClientName }),

	text(event.RDPCookie, "rdp.cookie", func(e *event.Event) string { return e.RDP.Cookie }),
	text(event.RDPClientBuild, "rdp.client.build", func(e *event.Event) string { return e.RDP.ClientBuild }),
	{event.RDPChannels, "rdp.channels", asTexts, func(e *event.Event) any { return e.RDP.Channels }},

	text(event.KerberosService, "krb5.sname", func(e *event.Event) string { return e.Kerberos.Service }),
	text(event.KerberosCipher, "krb5.encryption", func(e *event.Event) string { return e.Kerberos.Cipher }),
	text(event.KerberosErrorMsg, "krb5.error_code", func(e *event.Event) string { return e.Kerberos.ErrorMsg }),

	text(event.DHCPMAC, "dhcp.client_mac", func(e *event.Event) string { return e.DHCP.MAC }),
	text(event.DHCPHostName, "dhcp.hostname", func(e *event.Event) string { return e.DHCP.HostName }),
	{event.DHCPAssignedAddr, "dhcp.assigned_ip", asAddr, func(e *event.Event) any { return e.DHCP.AssignedAddr }},
	{event.DHCPMsgTypes, "dhcp.dhcp_type", asTexts, func(e *event.Event) any { return e.DHCP.MsgTypes }},

	number(event.DNSTransID, "dns.id", func(e *event.Event) uint16 { return e.DNS.TransID }),
	number(event.DNSOpcode, "dns.opcode", func(e *event.Event) uint16 { return e.DNS.Opcode }),
	text(event.DNSQuery, "dns.rrname", func(e *event.Event) string { return e.DNS.Query }),
	text(event.DNSQTypeName, "dns.rrtype", func(e *event.Event) string { return e.DNS.QTypeName }),
	text(event.DNSRCodeName, "dns.rcode", func(e *event.Event) string { return e.DNS.RCodeName }),
}

// slowApp are the columns of the kinds that share event.App, by the name of their
// object. A record has one of these objects.
var slowApp = map[string][]column{
	"ftp": {appCommand("ftp.command"), appArgument("ftp.command_data"), {event.AppStatus, "ftp.completion_code", asFirst, appStatusOf}},
	"smtp": {text(event.AppUser, "smtp.mail_from", func(e *event.Event) string { return e.App.User }), appArgument("smtp.helo"),
		{event.AppNames, "smtp.rcpt_to", asTexts, appNamesOf}},
	"dcerpc": {appCommand("dcerpc.request"), {event.AppStatus, "dcerpc.response", asText, appStatusOf}, appVersion("dcerpc.rpc_version"),
		{event.AppNames, "dcerpc.interfaces", asTextsIn("uuid"), appNamesOf}},
	"nfs":  {appCommand("nfs.procedure"), appArgument("nfs.filename"), {event.AppStatus, "nfs.status", asText, appStatusOf}, appVersion("nfs.version")},
	"snmp": {appCommand("snmp.pdu_type"), appVersion("snmp.version"), {event.AppNames, "snmp.vars", asTexts, appNamesOf}},
	"sip":  {appCommand("sip.method"), appArgument("sip.uri"), {event.AppStatus, "sip.code", asText, appStatusOf}, appVersion("sip.version")},
	"ike":  {appCommand("ike.exchange_type"), appArgument("ike.init_spi"), appVersion("ike.version_major"), {event.AppNames, "ike.payload", asTexts, appNamesOf}},
}

func appCommand(path string) column {
	return text(event.AppCommand, path, func(e *event.Event) string { return e.App.Command })
}
func appArgument(path string) column {
	return text(event.AppArgument, path, func(e *event.Event) string { return e.App.Argument })
}
func appVersion(path string) column {
	return text(event.AppVersion, path, func(e *event.Event) string { return e.App.Version })
}
func appStatusOf(e *event.Event) any { return e.App.Status }
func appNamesOf(e *event.Event) any  { return e.App.Names }

// at returns the member of m at a dotted path.
func at(m map[string]any, path string) (any, bool) {
	name, rest, deeper := strings.Cut(path, ".")
	v, ok := m[name]
	if !ok || !deeper {
		return v, ok
	}
	inner, ok := v.(map[string]any)
	if !ok {
		return nil, false
	}
	return at(inner, rest)
}

// repeated reports whether an object in the JSON text has two members of one name: a
// map does not tell what the parser saw first.
func repeated(text []byte) bool {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var walk func() bool
	walk = func() bool {
		tok, err := d.Token()
		if err != nil {
			return false
		}
		delim, ok := tok.(json.Delim)
		if !ok {
			return false
		}
		seen, twice := map[string]bool{}, false
		for d.More() {
			if delim == '{' {
				key, err := d.Token()
				if err != nil {
					return twice
				}
				twice = twice || seen[key.(string)]
				seen[key.(string)] = true
			}
			twice = walk() || twice
		}
		_, _ = d.Token()
		return twice
	}
	return walk()
}

// ambiguous reports whether a record has two members that go to one column, or an
// event_type that does not come before the objects it decides on.
func ambiguous(m map[string]any) bool {
	n := map[string]int{}
	for k, group := range map[string]string{"http": "http", "http2": "http", "flow": "conn", "netflow": "conn", "tls": "tls", "quic": "tls",
		"alert": "notice", "anomaly": "notice", "ftp": "app", "smtp": "app", "dcerpc": "app", "mqtt": "app", "nfs": "app", "snmp": "app", "sip": "app",
		"ike": "app", "ikev2": "app"} {
		if _, ok := m[k]; ok {
			n[group]++
		}
	}
	for _, c := range n {
		if c > 1 {
			return true
		}
	}
	_, a := at(m, "http.protocol")
	_, b := at(m, "http.version")
	return a && b
}

// slowRead returns whether the record is understood, whether it is skipped, and its
// columns.
func slowRead(m map[string]any) (ok, skipped bool, columns map[string]any) {
	name, isText := m["event_type"].(string)
	if isText && kindOf([]byte(name)) == event.KindUnknown {
		return false, true, nil
	}
	columns = map[string]any{}
	rows := slowColumns
	for object, more := range slowApp {
		if _, has := m[object].(map[string]any); has {
			rows = append(rows[:len(rows):len(rows)], more...)
		}
	}
	for _, r := range rows {
		if v, has := at(m, r.path); has {
			if c, ok := r.conv(v); ok {
				columns[r.col.String()] = c
			}
		}
	}
	_, timed := columns["written"]
	return isText && timed && slowEnds(m, name), false, columns
}

// slowEnds reports whether addresses, ports and the times of the flow are in order.
func slowEnds(m map[string]any, kind string) bool {
	addrs := 0
	for _, path := range []string{"src_ip", "dest_ip"} {
		if s, isText := m[path].(string); isText && s != "" {
			if _, ok := asAddr(s); !ok {
				return false
			}
			addrs++
		}
	}
	for _, path := range []string{"src_port", "dest_port"} {
		if v, isText := asText(m[path]); isText {
			if n, ok := asUint(v); !ok || n.(uint64) > 65535 {
				return false
			}
		}
	}
	for _, path := range []string{"flow.start", "flow.end", "netflow.start", "netflow.end"} {
		if v, has := at(m, path); has {
			if s, isText := v.(string); isText {
				if _, ok := asTime(s); !ok {
					return false
				}
			}
		}
	}
	return addrs == 2 || kind != "flow" && kind != "netflow"
}

// fastColumns returns the columns of ev that slowRead knows.
func fastColumns(m map[string]any, ev *event.Event) map[string]any {
	columns := map[string]any{}
	rows := slowColumns
	for object, more := range slowApp {
		if _, has := m[object].(map[string]any); has {
			rows = append(rows[:len(rows):len(rows)], more...)
		}
	}
	for _, r := range rows {
		if ev.Has(r.col) && !derived(m, r) {
			v := r.get(ev)
			if list, isList := v.([]string); isList && list == nil {
				v = []string{}
			}
			columns[r.col.String()] = v
		}
	}
	return columns
}

// derived reports whether a column of the record has its value from elsewhere than
// from the row's path.
func derived(m map[string]any, r column) bool {
	object, _, _ := strings.Cut(r.path, ".")
	_, has := at(m, r.path)
	switch {
	case has:
		return false
	case object == "dns": // queries, query and answer
		return true
	case r.col == event.HTTPHost || r.col == event.HTTPVersion: // :authority, version
		return true
	case r.col == event.AppStatus && m["email"] != nil:
		return true
	case strings.Contains(r.path, "."):
		_, own := m[object]
		return !own // http2 for http, quic for tls, and the like
	}
	return false
}

var oracleOptions = parsers.Options{Extra: []string{"a.b", "flow.state"}}

// checkHead compares ev and err with what the parser makes of line if it does not know
// its head, which it does not with a blank in it.
func checkHead(t *testing.T, line []byte, ev *event.Event, err error) {
	t.Helper()
	line = bytes.Replace(line, []byte("{"), []byte("{ "), 1)
	b := event.NewBatch(nil, 1, 3*len(line)+64)
	walked, own := b.Add(line)
	p := New(oracleOptions)
	if got := p.Parse(b, walked, own); fmt.Sprint(got) != fmt.Sprint(err) {
		t.Fatalf("%q: %v, by the walk alone %v", line, err, got)
	}
	fast, slow := *ev, *walked
	fast.Raw, slow.Raw = nil, nil
	if err == nil && !reflect.DeepEqual(fast, slow) {
		t.Fatalf("%q: by the walk alone -, with the head +:\n%s", line, cmp.Diff(slow, fast, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })))
	}
}

func checkEVE(t *testing.T, line []byte) {
	t.Helper()
	b := event.NewBatch(nil, 1, 3*len(line)+64)
	ev, own := b.Add(line)
	err := New(oracleOptions).Parse(b, ev, own)
	if !bytes.Equal(line, own) {
		t.Fatalf("%q became %q", line, own)
	}
	checkHead(t, line, ev, err)
	text := bytes.TrimPrefix(line, []byte("@cee:"))
	var m map[string]any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if !json.Valid(text) || d.Decode(&m) != nil || m == nil {
		if err == nil {
			t.Fatalf("%q is not an object and was taken", line)
		}
		return
	}
	if repeated(text) || ambiguous(m) || !utf8.Valid(line) || bytes.Count(line, []byte("{"))+bytes.Count(line, []byte("[")) > scan.MaxDepth*4 {
		return
	}
	var skip *parsers.Skip
	ok, skipped, want := slowRead(m)
	if skipped != errors.As(err, &skip) || !skipped && ok != (err == nil) {
		t.Fatalf("%q: parser says %v, slow reading says ok %v, skipped %v", line, err, ok, skipped)
	}
	if !ok {
		return
	}
	if got := fastColumns(m, ev); !reflect.DeepEqual(want, got) {
		t.Errorf("%q: slow reading -, parser +:\n%s", line, cmp.Diff(want, got))
	}
	if want, got := slowEndpoints(m), endpoints(ev); !ev.Proto.IsICMP() && want != got && want != [2]string{got[1], got[0]} {
		t.Errorf("%q: ends are %v by the slow reading, %v by the parser", line, want, got)
	}
}

// slowEndpoints returns src and dest. Which of them is the originator has tests of its
// own.
func slowEndpoints(m map[string]any) (ends [2]string) {
	for i, end := range []string{"src", "dest"} {
		addr, port := "", uint64(0)
		if a, ok := asAddr(m[end+"_ip"]); ok {
			addr = a.(netip.Addr).String()
		}
		if n, ok := asUint(m[end+"_port"]); ok {
			port = n.(uint64)
		}
		ends[i] = fmt.Sprint(addr, " ", port)
	}
	return ends
}

func endpoints(ev *event.Event) (ends [2]string) {
	for i, h := range []event.Host{ev.Orig, ev.Resp} {
		addr := ""
		if h.Addr.IsValid() {
			addr = h.Addr.String()
		}
		ends[i] = fmt.Sprint(addr, " ", h.Port)
	}
	return ends
}

// headSeeds are records that leave the usual form in their head.
var headSeeds = []string{
	`{"timestamp":"2024-05-06T07:08:09.000000+0000"}`,
	`{"timestamp":"2024-05-06T07:08:09.000000+0000","event_type":"dns"}`,
	`{"timestamp":"2024-05-06T07:08:09.000000+0200","flow_id":1,"event_type":"dns"}`,
	`{"timestamp":"2024-05-06T07:08:61.000000+0000","flow_id":1,"event_type":"dns"}`,
	`{"timestamp":"2024-05-06T07:08:09.000000+0000","flow_id":18446744073709551615,"event_type":"dns"}`,
	`{"timestamp":"2024-05-06T07:08:09.000000+0000","flow_id":18446744073709551616,"event_type":"dns"}`,
	`{"timestamp":"2024-05-06T07:08:09.000000+0000","flow_id":01,"event_type":"dns"}`,
	`{"timestamp":"2024-05-06T07:08:09.000000+0000","flow_id":1.5,"event_type":"dns"}`,
	`{"timestamp":"2024-05-06T07:08:09.000000+0000","flow_id":1,"in_iface":"eth0","event_type":"dns","src_ip":"::1","src_port":1}`,
	`{"timestamp":"2024-05-06T07:08:09.000000+0000","flow_id":1,"in_iface":"e\th","event_type":"dns","src_ip":"::1","src_port":1}`,
	`{"timestamp":"2024-05-06T07:08:09.000000+0000","flow_id":1,"pcap_cnt":1,"event_type":"d\u006es","src_ip":"::1","src_port":1}`,
	`{"timestamp":"2024-05-06T07:08:09.000000+0000","flow_id":1,"pcap_cnt":-1,"event_type":"dns","src_ip":"","src_port":1}`,
	`{"timestamp":"2024-05-06T07:08:09.000000+0000","flow_id":1,"pcap_cnt":1,"event_type":"other","src_ip":"x","src_port":1}`,
	`{"timestamp":"2024-05-06T07:08:09.000000+0000","flow_id":1,"event_type":"dns","src_ip":"x","src_port":1}`,
	`{"timestamp":"2024-05-06T07:08:09.000000+0000","flow_id":1,"event_type":"dns","src_ip":"1.2.3.4","src_port":65536,"dest_ip":"::2"}`,
	`{"timestamp":"2024-05-06T07:08:09.000000+0000","flow_id":1,"event_type":"flow","src_ip":"1.2.3.4","src_port":65535,"dest_ip":"fe80::1%x"}`,
	`{"timestamp":"2024-05-06T07:08:09.000000+0000","flow_id":1,"event_type":"dns","src_ip":"1.2.3.4","dest_ip":"1.2.3.5","proto":"UDP","pkt_src":"a","community_id":"1:x"}`,
	`{"timestamp":"2024-05-06T07:08:09.000000+0000","flow_id":1,"event_type":"dns","src_ip":"1.2.3.4","dest_ip":"1.2.3.5","proto":"U\u0044P","pkt_src":"\n","community_id":"\/"}`,
	`{"timestamp":"2024-05-06T07:08:09.000000+0000","flow_id":1,"event_type":"dns","src_ip":"1.2.3.4","dest_ip":"1.2.3.5","dest_port":53,"proto":"UDP"`,
	`{"timestamp":"2024-05-06T07:08:09.000000+0000","flow_id":1,"event_type":"dns","src_ip":"1.2.3.4"]`,
	`{"timestamp":"2024-05-06T07:08:09.000000+0000","flow_id":1,"event_type":"dns","src_ip":"1.2.3.4","src_port":1}x`,
	`{"timestamp":"2024-05-06T07:08:09.000000+0000","flow_id":1,"event_type":"dns","event_type":"flow","src_ip":"1.2.3.4","src_ip":"1.2.3.5"}`,
	`@cee:{"timestamp":"2024-05-06T07:08:09.000000+0000","event_type":"dns","src_ip":"1.2.3.4","flow_id":2}`,
}

func TestHead(t *testing.T) {
	for _, s := range headSeeds {
		checkEVE(t, []byte(s))
		for i := range s { // every prefix, every byte replaced
			checkEVE(t, []byte(s[:i]))
			for _, c := range []byte("\"\\{}:,0-.e \x00") {
				m := []byte(s)
				m[i] = c
				checkEVE(t, m)
			}
		}
	}
}

func TestSlowReading(t *testing.T) {
	for _, line := range lines(readLog(t, "suricata/eve-7.0.10.json.gz")) {
		checkEVE(t, line)
	}
}

func FuzzEVE(f *testing.F) {
	seen := map[string]int{}
	for _, line := range lines(readLog(f, "suricata/eve-7.0.10.json.gz")) {
		var head struct {
			Type string `json:"event_type"`
		}
		if err := json.Unmarshal(line, &head); err != nil && !errors.Is(err, io.EOF) {
			f.Fatal(err)
		}
		if seen[head.Type]++; seen[head.Type] <= 8 && len(line) < 3000 {
			f.Add(line)
		}
	}
	for _, s := range headSeeds {
		f.Add([]byte(s))
	}
	f.Add([]byte(`@cee: {"timestamp":"2024-05-06T07:08:09+0000","event_type":"dns","dns":{"version":3,"type":"response","queries":[{"rrname":"a"}],"grouped":{"SRV":[{"name":"x"}]}}}`))
	f.Fuzz(checkEVE)
}
