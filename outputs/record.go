package outputs

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"tidewatch/event"
)

// Dataset returns the dataset of a kind's records, which names their data stream.
func Dataset(k event.Kind) string { return datasets[k] }

var datasets = func() (d [event.NumKinds]string) {
	for k := range d {
		d[k] = "tidewatch." + event.Kind(k).String()
	}
	return d
}()

// class is what ECS says an event of a kind is.
type class struct {
	kind, protocol string
	category, typ  []string
}

var (
	network    = []string{"network"}
	protocol   = []string{"connection", "protocol"}
	protoInfo  = []string{"connection", "protocol", "info"}
	info       = []string{"info"}
	protocolIs = []string{"protocol"}
)

// classes are those of all kinds whose event.type does not depend on the record.
var classes = [event.NumKinds]class{
	event.KindUnknown:  {kind: "event", category: network, typ: info},
	event.KindConn:     {kind: "event", category: network},
	event.KindDNS:      {kind: "event", category: network, typ: protoInfo, protocol: "dns"},
	event.KindTLS:      {kind: "event", category: network, typ: protocol, protocol: "tls"},
	event.KindHTTP:     {kind: "event", category: []string{"network", "web"}, typ: []string{"access", "connection", "protocol", "info"}, protocol: "http"},
	event.KindQUIC:     {kind: "event", category: network, typ: protocol, protocol: "quic"},
	event.KindFile:     {kind: "event", category: []string{"network", "file"}, typ: info},
	event.KindX509:     {kind: "event", category: []string{"network", "file"}, typ: info},
	event.KindSSH:      {kind: "event", category: network, typ: protocol, protocol: "ssh"},
	event.KindRDP:      {kind: "event", category: network, typ: protocol, protocol: "rdp"},
	event.KindSMB:      {kind: "event", category: network, typ: protocol, protocol: "smb"},
	event.KindDHCP:     {kind: "event", category: network, typ: protoInfo, protocol: "dhcp"},
	event.KindKerberos: {kind: "event", category: network, typ: protocol, protocol: "kerberos"},
	event.KindSoftware: {kind: "event", category: network, typ: info},
	event.KindNotice:   {kind: "alert", category: []string{"network", "intrusion_detection"}, typ: info},
	event.KindWeird:    {kind: "event", category: network, typ: info},
	event.KindAlert:    {kind: "alert", category: []string{"network", "intrusion_detection"}, typ: info},
	event.KindAnomaly:  {kind: "event", category: network, typ: info},
	event.KindFTP:      {kind: "event", category: network, typ: protocolIs, protocol: "ftp"},
	event.KindSMTP:     {kind: "event", category: network, typ: protocolIs, protocol: "smtp"},
	event.KindDCERPC:   {kind: "event", category: network, typ: protocolIs, protocol: "dce_rpc"},
	event.KindMQTT:     {kind: "event", category: network, typ: protocolIs, protocol: "mqtt"},
	event.KindNFS:      {kind: "event", category: network, typ: protocolIs, protocol: "nfs"},
	event.KindSNMP:     {kind: "event", category: network, typ: protocolIs, protocol: "snmp"},
	event.KindSIP:      {kind: "event", category: network, typ: protocolIs, protocol: "sip"},
	event.KindIKE:      {kind: "event", category: network, typ: protocolIs, protocol: "ike"},
	event.KindNTLM:     {kind: "event", category: network, typ: protocolIs, protocol: "ntlm"},
	event.KindStats:    {kind: "metric", category: network, typ: info},
}

// connTypes is event.type by how a connection ended.
var connTypes = [...][]string{
	event.StateUnset: protocolConn, event.StateS0: connStart, event.StateS1: connStart, event.StateSF: {"connection", "start", "end"},
	event.StateREJ: {"connection", "start", "denied"}, event.StateS2: connInfo, event.StateS3: connInfo, event.StateRSTO: connInfo,
	event.StateRSTR: connInfo, event.StateRSTOS0: connInfo, event.StateRSTRH: connInfo, event.StateSH: connInfo, event.StateSHR: connInfo,
	event.StateOTH: connInfo,
}

var (
	protocolConn = []string{"connection"}
	connStart    = []string{"connection", "start"}
	connInfo     = []string{"connection", "info"}
)

// Record appends the ECS document of a record to dst: one JSON object without a line
// break. ingested is as in Finding. What ECS has no field for stands under tidewatch,
// by the name of its column: nothing that the parser read is left out.
func (e *Encoder) Record(dst []byte, ev *event.Event, ingested int64) []byte {
	w := &e.w
	w.b, w.marks = dst, w.marks[:0]
	e.ips, e.hosts, e.hashes = e.ips[:0], e.hosts[:0], e.hashes[:0]
	w.open("")
	at := ev.Time
	if ev.Sensor == event.SensorSuricata && ev.Has(event.ColWritten) {
		at = ev.Written // what EVE calls timestamp
	}
	w.time("@timestamp", at)
	w.open("ecs").text("version", ecsVersion).close()
	if n := ev.Notice; n != nil {
		w.text("message", first(n.Message, n.Name))
	}
	e.eventOf(ev, ingested)
	e.ends(ev)
	w.networkOf(ev)
	if d := ev.DNS; d != nil {
		e.dns(ev, d)
	}
	if t := ev.TLS; t != nil {
		e.tls(ev, t)
	}
	if h := ev.HTTP; h != nil {
		e.http(ev, h)
	}
	e.file(ev)
	if n := ev.Notice; n != nil {
		w.ruleOf(ev, n)
	}
	w.open("threat")
	if ev.Notice != nil {
		w.attackOf(ev)
	}
	if ev.Threat != nil {
		w.enrichments([]event.Indicator{*ev.Threat})
	}
	w.close()
	w.userOf(ev)
	w.open("related").addrs("ip", e.ips).texts("hosts", e.hosts).texts("hash", e.hashes).close()
	w.open("observer").text("type", "ids").text("vendor", vendors[ev.Sensor%3]).text("product", products[ev.Sensor%3]).close()
	e.own(ev)
	w.close()
	return w.b
}

// userOf writes who a record says that it was.
func (w *object) userOf(ev *event.Event) {
	var name, domain string
	if a := ev.App; a != nil {
		name = a.User
	}
	if m := ev.SMB; m != nil {
		name, domain = first(name, m.User), m.Domain
	}
	w.open("user").text("name", name).text("domain", domain).close()
}

var (
	vendors  = [3]string{"", "Zeek", "OISF"}
	products = [3]string{"", "Zeek", "Suricata"}
)

func first(vs ...string) string {
	for _, v := range vs {
		if v != "" {
			return v
		}
	}
	return ""
}

func (e *Encoder) eventOf(ev *event.Event, ingested int64) {
	w, c := &e.w, &classes[ev.Kind]
	w.open("event").text("kind", c.kind).texts("category", c.category)
	switch {
	case ev.Kind == event.KindConn && ev.Conn != nil:
		w.texts("type", connTypes[ev.Conn.State])
	case ev.Kind == event.KindAlert && ev.Notice != nil && ev.Notice.Action == "blocked":
		w.texts("type", []string{"info", "denied"})
	case ev.Kind == event.KindAlert && ev.Notice != nil && ev.Notice.Action == "allowed":
		w.texts("type", []string{"info", "allowed"})
	case ev.Kind == event.KindNotice && ev.Notice != nil && slices.Contains(ev.Notice.Actions, "Notice::ACTION_DROP"):
		w.texts("type", []string{"info", "denied"})
	default:
		w.texts("type", c.typ)
	}
	w.text("module", ev.Sensor.String()).text("dataset", Dataset(ev.Kind)).text("provider", ev.Sensor.String()).text("id", ev.UID)
	w.text("outcome", outcome(ev))
	if ev.HTTP != nil && ev.Kind == event.KindHTTP {
		w.text("action", strings.ToLower(ev.HTTP.Method))
	}
	if d := ev.End - ev.Time; d > 0 || ev.Has(event.ConnDuration) || ev.Has(event.DNSRTT) {
		w.time("start", ev.Time).time("end", ev.End).whole("duration", uint64(max(d, 0)))
	}
	if n := ev.Notice; n != nil && ev.Has(event.NoticeSeverity) {
		w.whole("severity", severity(n.Severity))
	}
	if ingested != 0 {
		w.time("ingested", ingested)
	}
	w.close()
}

// severity turns Suricata's, of which 1 is worst, into the numbers that Elastic's rules
// know.
func severity(s uint8) uint64 {
	switch s {
	case 0, 1:
		return uint64(event.SeverityHigh)
	case 2:
		return uint64(event.SeverityMedium)
	}
	return uint64(event.SeverityLow)
}

// outcome is event.outcome, "" where the record does not say.
func outcome(ev *event.Event) string {
	said := func(known, ok bool) string {
		switch {
		case !known:
			return ""
		case ok:
			return "success"
		}
		return "failure"
	}
	switch ev.Kind {
	case event.KindDNS:
		if d := ev.DNS; d != nil {
			return said(ev.Has(event.DNSRCode) || d.RCodeName != "", d.RCode == 0 && (d.RCodeName == "" || d.RCodeName == "NOERROR"))
		}
	case event.KindTLS, event.KindQUIC:
		return said(ev.TLS != nil && ev.Has(event.TLSEstablished), ev.TLS != nil && ev.TLS.Established)
	case event.KindHTTP:
		return said(ev.HTTP != nil && ev.Has(event.HTTPStatus), ev.HTTP != nil && ev.HTTP.Status < 400)
	case event.KindSSH:
		return said(ev.SSH != nil && ev.Has(event.SSHAuthSuccess), ev.SSH != nil && ev.SSH.AuthSuccess)
	case event.KindKerberos:
		return said(ev.Kerberos != nil && ev.Has(event.KerberosSuccess), ev.Kerberos != nil && ev.Kerberos.Success)
	}
	return ""
}

// ends writes source and destination; for TLS client and server too.
func (e *Encoder) ends(ev *event.Event) {
	w := &e.w
	var c event.Conn
	if ev.Conn != nil {
		c = *ev.Conn
	}
	side := func(name string, seen netip.Addr, h *event.Host, port event.Column, domain, mac string, bytes, packets event.Column, nb, np uint64) {
		w.open(name)
		if seen.IsValid() {
			w.addr("address", seen).addr("ip", seen)
			e.ip(seen)
		}
		if ev.Has(port) && !ev.Proto.IsICMP() {
			w.whole("port", uint64(h.Port))
		}
		w.text("domain", domain).mac("mac", mac)
		if ev.Has(bytes) {
			w.whole("bytes", nb)
		}
		if ev.Has(packets) {
			w.whole("packets", np)
		}
		if h.About != nil && h.About.Geo != nil {
			w.geo(h.About.Geo)
		}
		w.close()
	}
	name := serverName(ev)
	side("source", ev.SeenOrig(), &ev.Orig, event.ColOrigPort, "", c.OrigMAC, event.ConnOrigIPBytes, event.ConnOrigPkts, c.OrigIPBytes, c.OrigPkts)
	side("destination", ev.SeenResp(), &ev.Resp, event.ColRespPort, name, c.RespMAC, event.ConnRespIPBytes, event.ConnRespPkts, c.RespIPBytes, c.RespPkts)
	e.host(name)
	if ev.TLS != nil {
		for i, a := range [2]netip.Addr{ev.SeenOrig(), ev.SeenResp()} {
			if a.IsValid() {
				w.open([2]string{"client", "server"}[i]).addr("address", a).addr("ip", a).close()
			}
		}
	}
}

// serverName is what the record itself, or what is known, calls the responder.
func serverName(ev *event.Event) string {
	switch {
	case ev.TLS != nil && ev.TLS.ServerName != "":
		return strings.TrimSuffix(ev.TLS.ServerName, ".")
	case ev.HTTP != nil && ev.HTTP.Host != "":
		return ev.HTTP.Host
	case ev.Kind != event.KindDNS && ev.Known != nil:
		return ev.Known.Name
	}
	return ""
}

func (e *Encoder) ip(a netip.Addr) {
	if a.IsValid() && !slices.Contains(e.ips, a) {
		e.ips = append(e.ips, a)
	}
}

func (e *Encoder) host(s string) {
	if s != "" && !slices.Contains(e.hosts, s) {
		e.hosts = append(e.hosts, s)
	}
}

func (e *Encoder) hash(s string) {
	if s != "" && !slices.Contains(e.hashes, s) {
		e.hashes = append(e.hashes, s)
	}
}

func (w *object) networkOf(ev *event.Event) {
	w.open("network").text("transport", transport(ev))
	protocol := classes[ev.Kind].protocol
	if ev.Conn != nil && ev.Conn.Service != "" {
		protocol = ev.Conn.Service
	}
	w.lower("protocol", protocol)
	if direction := directionOf(ev); direction != "" {
		w.text("direction", direction)
	}
	w.text("community_id", event.CommunityID(ev))
	if c := ev.Conn; c != nil {
		if ev.Has(event.ConnOrigIPBytes) && ev.Has(event.ConnRespIPBytes) {
			w.whole("bytes", sum(c.OrigIPBytes, c.RespIPBytes))
		}
		if ev.Has(event.ConnOrigPkts) && ev.Has(event.ConnRespPkts) {
			w.whole("packets", sum(c.OrigPkts, c.RespPkts))
		}
	}
	if ev.Has(event.ColVLAN) {
		w.open("vlan").digits("id", uint64(ev.VLAN)).close()
	}
	if ev.Has(event.ColInnerVLAN) {
		w.open("inner").open("vlan").digits("id", uint64(ev.InnerVLAN)).close().close()
	}
	w.close()
}

// transport is what the record says, and of Zeek's ssl.log, which does not say it, what
// the version tells.
func transport(ev *event.Event) string {
	switch {
	case ev.Proto != 0 || ev.TLS == nil:
		return ev.Proto.String()
	case strings.HasPrefix(ev.TLS.Version, "DTLS") || ev.Kind == event.KindQUIC:
		return "udp"
	}
	return "tcp"
}

// sum adds what an attacker may have chosen.
func sum(a, b uint64) uint64 {
	if a+b < a {
		return ^uint64(0)
	}
	return a + b
}

// directionOf is what package enrich found, by the site's own networks, and else what the
// sensor says.
func directionOf(ev *event.Event) string {
	scope := func(local bool) event.Scope {
		if local {
			return event.ScopeLocal
		}
		return event.ScopeExternal
	}
	switch {
	case ev.Orig.Scope != event.ScopeUnknown && ev.Resp.Scope != event.ScopeUnknown:
		return event.Direction(ev.Orig.Scope, ev.Resp.Scope)
	case ev.Has(event.ConnLocalOrig) && ev.Has(event.ConnLocalResp) && ev.Conn != nil:
		return event.Direction(scope(ev.Conn.LocalOrig), scope(ev.Conn.LocalResp))
	}
	return ""
}

func (w *object) ruleOf(ev *event.Event, n *event.Notice) {
	if ev.Kind == event.KindWeird || ev.Kind == event.KindAnomaly {
		return
	}
	w.open("rule").text("name", n.Name).text("category", n.Category)
	if ev.Has(event.NoticeSignatureID) {
		w.digits("id", n.SignatureID)
	}
	if ev.Has(event.NoticeRev) {
		w.digits("version", n.Rev)
	}
	w.text("description", n.Message).close()
}

func (e *Encoder) http(ev *event.Event, h *event.HTTP) {
	w := &e.w
	e.host(h.Host)
	w.open("http").text("version", strings.TrimPrefix(h.Version, "HTTP/"))
	w.open("request").text("method", h.Method).text("referrer", h.Referrer).text("mime_type", one(h.OrigMIME))
	if ev.Has(event.HTTPOrigBodyLen) {
		w.open("body").whole("bytes", h.OrigBodyLen).close()
	}
	w.close().open("response").text("mime_type", one(h.RespMIME))
	if ev.Has(event.HTTPStatus) {
		w.whole("status_code", uint64(h.Status))
	}
	if ev.Has(event.HTTPRespBodyLen) {
		w.open("body").whole("bytes", h.RespBodyLen).close()
	}
	w.close().close()
	path, fragment, _ := strings.Cut(h.URI, "#")
	if _, rest, full := strings.Cut(path, "://"); full { // to a proxy
		if at := strings.IndexByte(rest, '/'); at >= 0 {
			path = rest[at:]
		}
	}
	path, query, _ := strings.Cut(path, "?")
	w.open("url").text("original", h.URI).text("path", path).text("query", query).text("fragment", fragment)
	w.text("domain", h.Host).text("username", h.Username).close()
	w.open("user_agent").text("original", h.UserAgent).close()
}

func one(vs []string) string {
	if len(vs) > 0 {
		return vs[0]
	}
	return ""
}

// file writes what is known of a file, and of a certificate that was sent as one.
func (e *Encoder) file(ev *event.Event) {
	w := &e.w
	w.open("file")
	if f := ev.File; f != nil {
		if name := f.Name; strings.ContainsRune(name, '/') {
			w.text("path", name).text("name", name[strings.LastIndexByte(name, '/')+1:])
		} else {
			w.text("name", name)
		}
		w.text("mime_type", f.MIME)
		switch {
		case ev.Has(event.FileTotalBytes):
			w.whole("size", f.TotalBytes)
		case ev.Has(event.FileSeenBytes):
			w.whole("size", f.SeenBytes)
		}
		w.open("hash").text("md5", f.MD5).text("sha1", f.SHA1).text("sha256", f.SHA256).close()
		e.hash(f.MD5)
		e.hash(f.SHA1)
		e.hash(f.SHA256)
	}
	if x := ev.X509; x != nil {
		w.open("x509")
		if ev.Has(event.X509Version) {
			w.digits("version_number", uint64(x.Version))
		}
		w.text("serial_number", serial(x.Serial))
		w.name("subject", x.Subject).name("issuer", x.Issuer)
		w.when("not_before", x.NotBefore, ev.Has(event.X509NotBefore)).when("not_after", x.NotAfter, ev.Has(event.X509NotAfter))
		w.text("public_key_algorithm", x.KeyAlg).text("signature_algorithm", x.SigAlg)
		if ev.Has(event.X509KeyLength) {
			w.whole("public_key_size", uint64(x.KeyLength))
		}
		w.texts("alternative_names", append(slices.Clip(x.SANDNS), x.SANIP...)).close()
		for _, name := range x.SANDNS {
			e.host(name)
		}
	}
	w.close()
}

// serial is a certificate's serial number without colons, in upper case.
func serial(s string) string { return strings.ToUpper(strings.ReplaceAll(s, ":", "")) }

// fingerprintOf returns a certificate's fingerprint in upper case, as Elastic's rules
// compare it, and whether it is a SHA-1 or a SHA-256; "" if it is neither.
func fingerprintOf(s string) (sha1, sha256 string) {
	s = serial(s)
	if _, err := hex.DecodeString(s); err != nil {
		return "", ""
	}
	switch len(s) {
	case 40:
		return s, ""
	case 64:
		return "", s
	}
	return "", ""
}

func (w *object) when(name string, ns int64, set bool) *object {
	if set {
		w.time(name, ns)
	}
	return w
}

// addr writes an address.
func (w *object) addr(name string, a netip.Addr) *object {
	w.key(name)
	w.b = append(w.b, '"')
	w.b = append(a.AppendTo(w.b), '"')
	return w
}

func (w *object) addrs(name string, as []netip.Addr) *object {
	w.list(name)
	for _, a := range as {
		w.addr("", a)
	}
	return w.end()
}

// digits writes a number that ECS has as a text.
func (w *object) digits(name string, v uint64) *object {
	w.key(name)
	w.b = append(w.b, '"')
	w.b = append(strconv.AppendUint(w.b, v, 10), '"')
	return w
}

// lower is text in lower case.
func (w *object) lower(name, v string) *object {
	if strings.ContainsFunc(v, func(r rune) bool { return r >= 'A' && r <= 'Z' }) {
		v = strings.ToLower(v)
	}
	return w.text(name, v)
}

// mac writes a MAC address as ECS has it: 00-00-5E-00-53-23.
func (w *object) mac(name, v string) *object {
	if len(v) != 17 {
		return w.text(name, v)
	}
	var b [17]byte
	for i := range b {
		switch c := v[i]; {
		case c == ':' || c == '-':
			b[i] = '-'
		case c >= 'a' && c <= 'f':
			b[i] = c - 'a' + 'A'
		default:
			b[i] = c
		}
	}
	return w.text(name, string(b[:]))
}
