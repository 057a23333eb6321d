package rules

import (
	"net/netip"

	"strings"

	"tidewatch/behavior/population"
	"tidewatch/event"
	"tidewatch/rules/condition"
)

// recordField is a field of a record, and which kinds of records can have it.
type recordField struct {
	condition.Field[event.Event]
	kinds kinds
}

// kinds is a set of kinds of records.
type kinds uint32

const allKinds kinds = 1<<event.NumKinds - 1

func kindsOf(ks ...event.Kind) (set kinds) {
	for _, k := range ks {
		set |= 1 << k
	}
	return set
}

func (s kinds) has(k event.Kind) bool { return s&(1<<k) != 0 }

// The records that can carry the columns of one kind: its own, and what Suricata
// says of the transaction in alerts, anomalies and files.
var (
	carryConn = kindsOf(event.KindConn, event.KindAlert)
	carryDNS  = kindsOf(event.KindDNS, event.KindAlert, event.KindAnomaly)
	carryTLS  = kindsOf(event.KindTLS, event.KindQUIC, event.KindAlert, event.KindAnomaly)
	carryHTTP = kindsOf(event.KindHTTP, event.KindAlert, event.KindAnomaly, event.KindFile)
	carryFile = kindsOf(event.KindFile, event.KindAlert)
	carryX509 = kindsOf(event.KindX509)
	carrySSH  = kindsOf(event.KindSSH, event.KindAlert, event.KindAnomaly)
	carryRDP  = kindsOf(event.KindRDP, event.KindAlert, event.KindAnomaly)
	carrySMB  = kindsOf(event.KindSMB, event.KindAlert, event.KindAnomaly, event.KindFile)
	carryDHCP = kindsOf(event.KindDHCP, event.KindAlert, event.KindAnomaly)
	carryNote = kindsOf(event.KindNotice, event.KindWeird, event.KindAlert, event.KindAnomaly)
	carrySoft = kindsOf(event.KindSoftware)
	carryKrb  = kindsOf(event.KindKerberos, event.KindAlert, event.KindAnomaly)
	carryApp  = kindsOf(event.KindFTP, event.KindSMTP, event.KindDCERPC, event.KindMQTT, event.KindNFS, event.KindSNMP, event.KindSIP, event.KindIKE, event.KindNTLM,
		event.KindAlert, event.KindAnomaly, event.KindFile)
)

// The makers of fields: of a column struct that may be missing.

func textOf[C any](ks kinds, of func(*event.Event) *C, get func(*C) string, values ...string) recordField {
	return recordField{condition.Field[event.Event]{Kind: condition.Text, Values: values, Text: func(e *event.Event) string {
		if c := of(e); c != nil {
			return get(c)
		}
		return ""
	}}, ks}
}

func numberOf[C any](ks kinds, unit condition.Unit, of func(*event.Event) *C, get func(*C) float64) recordField {
	return recordField{condition.Field[event.Event]{Kind: condition.Number, Unit: unit, Number: func(e *event.Event) float64 {
		if c := of(e); c != nil {
			return get(c)
		}
		return 0
	}}, ks}
}

func truthOf[C any](ks kinds, of func(*event.Event) *C, get func(*C) bool) recordField {
	return recordField{condition.Field[event.Event]{Kind: condition.Truth, Truth: func(e *event.Event) bool {
		c := of(e)
		return c != nil && get(c)
	}}, ks}
}

func listOf[C any](ks kinds, of func(*event.Event) *C, get func(*C) []string) recordField {
	return recordField{condition.Field[event.Event]{Kind: condition.List, List: func(e *event.Event) []string {
		if c := of(e); c != nil {
			return get(c)
		}
		return nil
	}}, ks}
}

func addrOf(get func(*event.Event) netip.Addr) recordField {
	return recordField{condition.Field[event.Event]{Kind: condition.Address, Address: get}, allKinds}
}

func itself(e *event.Event) *event.Event { return e }

func conn(e *event.Event) *event.Conn         { return e.Conn }
func dns(e *event.Event) *event.DNS           { return e.DNS }
func tls(e *event.Event) *event.TLS           { return e.TLS }
func http(e *event.Event) *event.HTTP         { return e.HTTP }
func file(e *event.Event) *event.File         { return e.File }
func x509(e *event.Event) *event.X509         { return e.X509 }
func ssh(e *event.Event) *event.SSH           { return e.SSH }
func rdp(e *event.Event) *event.RDP           { return e.RDP }
func smb(e *event.Event) *event.SMB           { return e.SMB }
func dhcp(e *event.Event) *event.DHCP         { return e.DHCP }
func notice(e *event.Event) *event.Notice     { return e.Notice }
func software(e *event.Event) *event.Software { return e.Software }
func kerberos(e *event.Event) *event.Kerberos { return e.Kerberos }
func app(e *event.Event) *event.App           { return e.App }
func threat(e *event.Event) *event.Indicator  { return e.Threat }
func far(e *event.Event) *event.Known         { return e.Far() }

func handshake(e *event.Event) *event.Handshake { return e.Far().Handshake }

func origAbout(e *event.Event) *event.About { return e.Orig.About }
func respAbout(e *event.Event) *event.About { return e.Resp.About }

func origAsset(e *event.Event) *event.Asset     { return assetOf(e.Orig.About) }
func respAsset(e *event.Event) *event.Asset     { return assetOf(e.Resp.About) }
func origGeo(e *event.Event) *event.Geo         { return geoOf(e.Orig.About) }
func respGeo(e *event.Event) *event.Geo         { return geoOf(e.Resp.About) }
func respService(e *event.Event) *event.Service { return serviceOf(e.Resp.About) }

// recordFields are what conditions on records can name. The names are those of ECS
// where it has one; the rest is the sensor's word below the name of its log. fields.tsv
// says what they are.
var recordFields = mergeFields(recordCommon, recordConn, recordNames, recordWeb, recordHosts, recordSensor)

func mergeFields(parts ...map[string]recordField) map[string]recordField {
	all := map[string]recordField{}
	for _, p := range parts {
		for name, f := range p {
			if _, twice := all[name]; twice {
				panic("rules: two fields are called " + name)
			}
			all[name] = f
		}
	}
	return all
}

var recordCommon = map[string]recordField{
	"record.kind":                             textOf(allKinds, itself, func(e *event.Event) string { return e.Kind.String() }, kindNames()...),
	"record.sensor":                           textOf(allKinds, itself, func(e *event.Event) string { return e.Sensor.String() }, "zeek", "suricata"),
	"record.snapshot":                         truthOf(allKinds, itself, func(e *event.Event) bool { return e.Flags&event.FlagSnapshot != 0 }),
	"source.ip":                               addrOf((*event.Event).SeenOrig),
	"source.port":                             numberOf(allKinds, condition.NoUnit, itself, func(e *event.Event) float64 { return float64(e.Orig.Port) }),
	"source.local":                            truthOf(allKinds, itself, func(e *event.Event) bool { return e.Orig.Scope == event.ScopeLocal }),
	"destination.ip":                          addrOf((*event.Event).SeenResp),
	"destination.port":                        numberOf(allKinds, condition.NoUnit, itself, func(e *event.Event) float64 { return float64(e.Resp.Port) }),
	"destination.local":                       truthOf(allKinds, itself, func(e *event.Event) bool { return e.Resp.Scope == event.ScopeLocal }),
	"source.asset.role":                       textOf(allKinds, itself, func(e *event.Event) string { return e.Orig.Role.String() }, event.RoleNames[:]...),
	"source.asset.criticality":                textOf(allKinds, itself, func(e *event.Event) string { return e.Orig.Worth.String() }, event.CriticalityNames[:]...),
	"destination.asset.role":                  textOf(allKinds, itself, func(e *event.Event) string { return e.Resp.Role.String() }, event.RoleNames[:]...),
	"destination.asset.criticality":           textOf(allKinds, itself, func(e *event.Event) string { return e.Resp.Worth.String() }, event.CriticalityNames[:]...),
	"source.asset.name":                       textOf(allKinds, origAsset, func(a *event.Asset) string { return a.Name }),
	"source.asset.owner":                      textOf(allKinds, origAsset, func(a *event.Asset) string { return a.Owner }),
	"destination.asset.name":                  textOf(allKinds, respAsset, func(a *event.Asset) string { return a.Name }),
	"destination.asset.owner":                 textOf(allKinds, respAsset, func(a *event.Asset) string { return a.Owner }),
	"source.network.name":                     textOf(allKinds, origAbout, func(a *event.About) string { return a.Network }),
	"destination.network.name":                textOf(allKinds, respAbout, func(a *event.About) string { return a.Network }),
	"destination.service.provider":            textOf(allKinds, respService, func(s *event.Service) string { return s.Provider }),
	"destination.service.name":                textOf(allKinds, respService, func(s *event.Service) string { return s.Name }),
	"source.geo.country_iso_code":             textOf(allKinds, origGeo, func(g *event.Geo) string { return g.Country }),
	"source.as.number":                        numberOf(allKinds, condition.NoUnit, origGeo, func(g *event.Geo) float64 { return float64(g.ASN) }),
	"source.as.organization.name":             textOf(allKinds, origGeo, func(g *event.Geo) string { return g.Organization }),
	"destination.geo.country_iso_code":        textOf(allKinds, respGeo, func(g *event.Geo) string { return g.Country }),
	"destination.as.number":                   numberOf(allKinds, condition.NoUnit, respGeo, func(g *event.Geo) float64 { return float64(g.ASN) }),
	"destination.as.organization.name":        textOf(allKinds, respGeo, func(g *event.Geo) string { return g.Organization }),
	"threat.enrichments.matched.atomic":       textOf(allKinds, threat, func(i *event.Indicator) string { return i.Value }),
	"threat.enrichments.matched.field":        textOf(allKinds, threat, func(i *event.Indicator) string { return i.Field }),
	"threat.enrichments.indicator.type":       textOf(allKinds, threat, func(i *event.Indicator) string { return i.Type }),
	"threat.enrichments.indicator.provider":   textOf(allKinds, threat, func(i *event.Indicator) string { return i.Provider }),
	"threat.enrichments.indicator.confidence": textOf(allKinds, threat, (*event.Indicator).ConfidenceName, "", "Not Specified", "None", "Low", "Medium", "High"),
	"network.transport":                       textOf(allKinds, itself, func(e *event.Event) string { return e.Proto.String() }),
	"network.vlan.id":                         numberOf(allKinds, condition.NoUnit, itself, func(e *event.Event) float64 { return float64(e.VLAN) }),
	"network.direction":                       textOf(allKinds, itself, func(e *event.Event) string { return event.Direction(e.Orig.Scope, e.Resp.Scope) }, "inbound", "outbound", "internal", "external"),
	"event.duration":                          numberOf(allKinds, condition.Nanoseconds, itself, func(e *event.Event) float64 { return float64(e.End - e.Time) }),
	"destination.domain":                      textOf(allKinds, far, func(k *event.Known) string { return k.Name }),
	"destination.registered_domain":           textOf(allKinds, far, func(k *event.Known) string { return k.Domain }),
	"destination.unasked":                     truthOf(allKinds, far, func(k *event.Known) bool { return k.Unasked }),
	"destination.looks_like":                  textOf(allKinds, far, func(k *event.Known) string { return k.Alike }),
	"destination.class":                       textOf(allKinds, far, func(k *event.Known) string { return k.Class.String() }),
	"destination.rank":                        numberOf(allKinds, condition.NoUnit, far, func(k *event.Known) float64 { return float64(k.Rank) }),
	"destination.surprise":                    numberOf(allKinds, condition.NoUnit, far, func(k *event.Known) float64 { return population.Surprise(k.Domain) }),
	"destination.hosts":                       numberOf(allKinds, condition.NoUnit, far, func(k *event.Known) float64 { return float64(hostsOf(k)) }),
	"network.hosts":                           numberOf(allKinds, condition.NoUnit, far, func(k *event.Known) float64 { return float64(k.Hosts) }),
	"destination.new":                         truthOf(allKinds, itself, func(e *event.Event) bool { return e.Far().Looked && hostsOf(e.Known) <= 1 && first(e.Known) }),
}

// hostsOf returns how many local hosts use the far end: its domain, or without a name
// its address.
func hostsOf(k *event.Known) uint32 {
	if k.Domain != "" {
		return k.OfDomain.Hosts
	}
	return k.Addr.Hosts
}

// first reports whether nobody has used the far end before.
func first(k *event.Known) bool {
	if k.Domain != "" {
		return k.OfDomain.First == 0
	}
	return k.Addr.First == 0
}

func kindNames() (names []string) {
	for k := event.KindConn; int(k) < event.NumKinds; k++ {
		names = append(names, k.String())
	}
	return names
}

var recordConn = map[string]recordField{
	"network.protocol":  textOf(carryConn, conn, func(c *event.Conn) string { return c.Service }),
	"source.bytes":      numberOf(carryConn, condition.Bytes, conn, func(c *event.Conn) float64 { return float64(max(c.OrigIPBytes, c.OrigBytes)) }),
	"destination.bytes": numberOf(carryConn, condition.Bytes, conn, func(c *event.Conn) float64 { return float64(max(c.RespIPBytes, c.RespBytes)) }),
	"network.bytes": numberOf(carryConn, condition.Bytes, conn, func(c *event.Conn) float64 {
		return float64(max(c.OrigIPBytes, c.OrigBytes)) + float64(max(c.RespIPBytes, c.RespBytes))
	}),
	"session.tls.version":          textOf(carryConn, handshake, func(h *event.Handshake) string { return h.Version }),
	"session.tls.cipher":           textOf(carryConn, handshake, func(h *event.Handshake) string { return h.Cipher }),
	"session.tls.next_protocol":    textOf(carryConn, handshake, func(h *event.Handshake) string { return h.NextProtocol }),
	"session.tls.resumed":          truthOf(carryConn, handshake, func(h *event.Handshake) bool { return h.Resumed }),
	"session.tls.established":      truthOf(carryConn, handshake, func(h *event.Handshake) bool { return h.Established }),
	"session.tls.server_name_sent": truthOf(carryConn, handshake, func(h *event.Handshake) bool { return h.Named }),
	"network.ratio":                numberOf(carryConn, condition.NoUnit, conn, func(c *event.Conn) float64 { return ratio(payloads(c)) }),
	"network.bytes_per_second":     numberOf(carryConn, condition.Bytes, itself, bytesPerSecond),
	"source.packet_bytes":          numberOf(carryConn, condition.Bytes, conn, func(c *event.Conn) float64 { return each(c.OrigIPBytes, c.OrigPkts) }),
	"destination.packet_bytes":     numberOf(carryConn, condition.Bytes, conn, func(c *event.Conn) float64 { return each(c.RespIPBytes, c.RespPkts) }),
	"source.packets":               numberOf(carryConn, condition.NoUnit, conn, func(c *event.Conn) float64 { return float64(c.OrigPkts) }),
	"destination.packets":          numberOf(carryConn, condition.NoUnit, conn, func(c *event.Conn) float64 { return float64(c.RespPkts) }),
	"source.mac":                   textOf(carryConn, conn, func(c *event.Conn) string { return c.OrigMAC }),
	"destination.mac":              textOf(carryConn, conn, func(c *event.Conn) string { return c.RespMAC }),
	"connection.state":             textOf(carryConn, conn, func(c *event.Conn) string { return c.State.String() }, connStates()...),
	"connection.history":           textOf(carryConn, conn, func(c *event.Conn) string { return c.History }),
	"connection.outcome":           textOf(carryConn, itself, connOutcome, "answered", "rejected", "silent", "unknown"),
	"connection.missed_bytes":      numberOf(carryConn, condition.Bytes, conn, func(c *event.Conn) float64 { return float64(c.MissedBytes) }),
	"connection.tunneled":          truthOf(carryConn, conn, func(c *event.Conn) bool { return len(c.TunnelParents) > 0 }),
}

// payloads returns the payload of both sides in bytes, as far as the sensor says.
func payloads(c *event.Conn) (out, in float64) {
	out, in = float64(c.OrigBytes), float64(c.RespBytes)
	if c.OrigIPBytes > 0 {
		out = min(out, float64(c.OrigIPBytes))
	}
	if c.RespIPBytes > 0 {
		in = min(in, float64(c.RespIPBytes))
	}
	return out, in
}

// ratio is the producer/consumer ratio (Bullard, Gerth, "PCR: a new flow metric", FloCon
// 2014): 1 if all was sent, -1 if all was received, 0 for nothing.
func ratio(out, in float64) float64 {
	if out+in == 0 {
		return 0
	}
	return (out - in) / (out + in)
}

// each returns bytes a packet, 0 without packets.
func each(bytes, packets uint64) float64 {
	if packets == 0 {
		return 0
	}
	return float64(bytes) / float64(packets)
}

// bytesPerSecond returns the payload of both sides a second; 0 of a connection without a
// duration.
func bytesPerSecond(e *event.Event) float64 {
	if e.Conn == nil || e.End <= e.Time {
		return 0
	}
	out, in := payloads(e.Conn)
	return (out + in) * 1e9 / float64(e.End-e.Time)
}

// connOutcome returns what became of a connection; "" for other records.
func connOutcome(e *event.Event) string {
	if e.Conn == nil {
		return ""
	}
	return e.Outcome.String()
}

func connStates() (names []string) {
	for s := event.StateS0; s <= event.StateOTH; s++ {
		names = append(names, s.String())
	}
	return names
}

var recordNames = map[string]recordField{
	"dns.question.name": textOf(carryDNS, dns, func(d *event.DNS) string { return d.Query }),
	"dns.question.type": textOf(carryDNS, dns, func(d *event.DNS) string { return d.QTypeName }),
	"dns.response_code": textOf(carryDNS, dns, func(d *event.DNS) string { return d.RCodeName }),
	"dns.answers.data":  listOf(carryDNS, dns, func(d *event.DNS) []string { return d.Answers }),
	"dns.ttl":           numberOf(carryDNS, condition.Seconds, dns, shortestTTL),
	"dns.rejected":      truthOf(carryDNS, dns, func(d *event.DNS) bool { return d.Rejected }),
	"dns.authoritative": truthOf(carryDNS, dns, func(d *event.DNS) bool { return d.AA }),
	"dhcp.client.name":  textOf(carryDHCP, dhcp, func(d *event.DHCP) string { return d.HostName }),
	"dhcp.client.mac":   textOf(carryDHCP, dhcp, func(d *event.DHCP) string { return d.MAC }),
	"dhcp.server.ip": {condition.Field[event.Event]{Kind: condition.Address, Address: func(e *event.Event) (a netip.Addr) {
		if e.DHCP != nil {
			a = e.DHCP.ServerAddr
		}
		return a
	}}, carryDHCP},
	"dhcp.message_types":  listOf(carryDHCP, dhcp, func(d *event.DHCP) []string { return d.MsgTypes }),
	"dhcp.lease_duration": numberOf(carryDHCP, condition.Nanoseconds, dhcp, func(d *event.DHCP) float64 { return float64(d.LeaseTime) }),
}

// shortestTTL returns the shortest time that an answer may be kept, in seconds; 0 if
// there is none.
func shortestTTL(d *event.DNS) float64 {
	low := uint32(0)
	for i, t := range d.TTLs {
		if i == 0 || t < low {
			low = t
		}
	}
	return float64(low)
}

var recordWeb = map[string]recordField{
	"tls.version":            textOf(carryTLS, tls, func(t *event.TLS) string { return t.Version }),
	"tls.cipher":             textOf(carryTLS, tls, func(t *event.TLS) string { return t.Cipher }),
	"tls.curve":              textOf(carryTLS, tls, func(t *event.TLS) string { return t.Curve }),
	"tls.client.server_name": textOf(carryTLS, tls, func(t *event.TLS) string { return t.ServerName }),
	"tls.resumed":            truthOf(carryTLS, tls, func(t *event.TLS) bool { return t.Resumed }),
	"tls.established":        truthOf(carryTLS, tls, func(t *event.TLS) bool { return t.Established }),
	"tls.next_protocol":      textOf(carryTLS, tls, func(t *event.TLS) string { return t.NextProtocol }),
	"tls.server.subject":     textOf(carryTLS, tls, func(t *event.TLS) string { return t.Subject }),
	"tls.server.issuer":      textOf(carryTLS, tls, func(t *event.TLS) string { return t.Issuer }),
	"tls.client.subject":     textOf(carryTLS, tls, func(t *event.TLS) string { return t.ClientSubject }),
	"tls.server.self_signed": truthOf(carryTLS, tls, func(t *event.TLS) bool { return t.Subject != "" && t.Subject == t.Issuer || selfSigned(t.Validation) }),
	"tls.server.expired":     truthOf(carryTLS, itself, func(e *event.Event) bool { return e.TLS != nil && e.TLS.NotAfter != 0 && e.Time > e.TLS.NotAfter }),
	"tls.server.name_mismatch": truthOf(carryTLS, itself, func(e *event.Event) bool {
		return e.TLS != nil && e.Has(event.TLSSNIMatchesCert) && !e.TLS.SNIMatchesCert
	}),
	"tls.server.lifetime":        numberOf(carryTLS, condition.Nanoseconds, tls, func(t *event.TLS) float64 { return lifetime(t.NotBefore, t.NotAfter) }),
	"tls.server.certificate_age": numberOf(carryTLS, condition.Nanoseconds, itself, certificateAge),
	"tls.server.hash":            textOf(carryTLS, tls, func(t *event.TLS) string { return t.Fingerprint }),
	"tls.validation":             textOf(carryTLS, tls, func(t *event.TLS) string { return t.Validation }),
	"tls.client.ja3":             textOf(carryTLS, tls, func(t *event.TLS) string { return t.JA3 }),
	"tls.client.ja4":             textOf(carryTLS, tls, func(t *event.TLS) string { return t.JA4 }),
	"tls.server.ja3s":            textOf(carryTLS, tls, func(t *event.TLS) string { return t.JA3S }),
	"tls.server.ja4s":            textOf(carryTLS, tls, func(t *event.TLS) string { return t.JA4S }),
	"http.request.method":        textOf(carryHTTP, http, func(h *event.HTTP) string { return h.Method }),
	"http.request.referrer":      textOf(carryHTTP, http, func(h *event.HTTP) string { return h.Referrer }),
	"http.request.body.bytes":    numberOf(carryHTTP, condition.Bytes, http, func(h *event.HTTP) float64 { return float64(h.OrigBodyLen) }),
	"http.request.mime_type":     listOf(carryHTTP, http, func(h *event.HTTP) []string { return h.OrigMIME }),
	"http.response.status_code":  numberOf(carryHTTP, condition.NoUnit, http, func(h *event.HTTP) float64 { return float64(h.Status) }),
	"http.response.body.bytes":   numberOf(carryHTTP, condition.Bytes, http, func(h *event.HTTP) float64 { return float64(h.RespBodyLen) }),
	"http.response.mime_type":    listOf(carryHTTP, http, func(h *event.HTTP) []string { return h.RespMIME }),
	"http.proxied":               listOf(carryHTTP, http, func(h *event.HTTP) []string { return h.Proxied }),
	"url.domain":                 textOf(carryHTTP, http, func(h *event.HTTP) string { return h.Host }),
	"url.original":               textOf(carryHTTP, http, func(h *event.HTTP) string { return h.URI }),
	"user_agent.original":        textOf(carryHTTP, http, func(h *event.HTTP) string { return h.UserAgent }),
	"file.name":                  textOf(carryFile, file, func(f *event.File) string { return f.Name }),
	"file.mime_type":             textOf(carryFile, file, func(f *event.File) string { return f.MIME }),
	"file.size":                  numberOf(carryFile, condition.Bytes, file, func(f *event.File) float64 { return float64(max(f.TotalBytes, f.SeenBytes)) }),
	"file.source":                textOf(carryFile, file, func(f *event.File) string { return f.Source }),
	"file.from_originator":       truthOf(carryFile, file, func(f *event.File) bool { return f.FromOrig }),
	"file.hash.md5":              textOf(carryFile, file, func(f *event.File) string { return f.MD5 }),
	"file.hash.sha1":             textOf(carryFile, file, func(f *event.File) string { return f.SHA1 }),
	"file.hash.sha256":           textOf(carryFile, file, func(f *event.File) string { return f.SHA256 }),
	"x509.subject":               textOf(carryX509, x509, func(x *event.X509) string { return x.Subject }),
	"x509.issuer":                textOf(carryX509, x509, func(x *event.X509) string { return x.Issuer }),
	"x509.alternative_names":     listOf(carryX509, x509, func(x *event.X509) []string { return x.SANDNS }),
	"x509.public_key_size":       numberOf(carryX509, condition.NoUnit, x509, func(x *event.X509) float64 { return float64(x.KeyLength) }),
	"x509.signature_algorithm":   textOf(carryX509, x509, func(x *event.X509) string { return x.SigAlg }),
	"x509.lifetime":              numberOf(carryX509, condition.Nanoseconds, x509, func(x *event.X509) float64 { return lifetime(x.NotBefore, x.NotAfter) }),
}

func selfSigned(validation string) bool {
	return strings.HasPrefix(validation, "self signed") || strings.HasPrefix(validation, "self-signed")
}

// lifetime returns how long a certificate is valid, in nanoseconds; 0 if unknown.
func lifetime(from, to int64) float64 {
	if from == 0 || to == 0 {
		return 0
	}
	return float64(to) - float64(from)
}

// certificateAge returns how long ago the server's certificate became valid, in
// nanoseconds; 0 if that is unknown.
func certificateAge(e *event.Event) float64 {
	if e.TLS == nil || e.TLS.NotBefore == 0 {
		return 0
	}
	return float64(e.Time) - float64(e.TLS.NotBefore)
}

var recordHosts = map[string]recordField{
	"ssh.client":            textOf(carrySSH, ssh, func(s *event.SSH) string { return s.Client }),
	"ssh.server":            textOf(carrySSH, ssh, func(s *event.SSH) string { return s.Server }),
	"ssh.hassh":             textOf(carrySSH, ssh, func(s *event.SSH) string { return s.HASSH }),
	"ssh.hassh_server":      textOf(carrySSH, ssh, func(s *event.SSH) string { return s.HASSHServer }),
	"ssh.host_key":          textOf(carrySSH, ssh, func(s *event.SSH) string { return s.HostKey }),
	"ssh.auth.success":      truthOf(carrySSH, ssh, func(s *event.SSH) bool { return s.AuthSuccess }),
	"ssh.auth.failed":       truthOf(carrySSH, itself, func(e *event.Event) bool { return e.Has(event.SSHAuthSuccess) && e.SSH != nil && !e.SSH.AuthSuccess }),
	"ssh.auth.attempts":     numberOf(carrySSH, condition.NoUnit, ssh, func(s *event.SSH) float64 { return float64(s.AuthAttempts) }),
	"rdp.cookie":            textOf(carryRDP, rdp, func(r *event.RDP) string { return r.Cookie }),
	"rdp.result":            textOf(carryRDP, rdp, func(r *event.RDP) string { return r.Result }),
	"rdp.security_protocol": textOf(carryRDP, rdp, func(r *event.RDP) string { return r.SecurityProtocol }),
	"rdp.client_name":       textOf(carryRDP, rdp, func(r *event.RDP) string { return r.ClientName }),
	"rdp.client_build":      textOf(carryRDP, rdp, func(r *event.RDP) string { return r.ClientBuild }),
	"smb.action":            textOf(carrySMB, smb, func(s *event.SMB) string { return s.Action }),
	"smb.share":             textOf(carrySMB, smb, func(s *event.SMB) string { return s.Share }),
	"smb.path":              textOf(carrySMB, smb, func(s *event.SMB) string { return s.Path }),
	"smb.name":              textOf(carrySMB, smb, func(s *event.SMB) string { return s.Name }),
	"smb.status":            textOf(carrySMB, smb, func(s *event.SMB) string { return s.Status }),
	"smb.dialect":           textOf(carrySMB, smb, func(s *event.SMB) string { return s.Dialect }),
	"smb.user":              textOf(carrySMB, smb, func(s *event.SMB) string { return s.User }),
	"smb.domain":            textOf(carrySMB, smb, func(s *event.SMB) string { return s.Domain }),
	"smb.client_name":       textOf(carrySMB, smb, func(s *event.SMB) string { return s.ClientName }),
	"smb.size":              numberOf(carrySMB, condition.Bytes, smb, func(s *event.SMB) float64 { return float64(s.Size) }),
	"kerberos.request_type": textOf(carryKrb, kerberos, func(k *event.Kerberos) string { return k.RequestType }),
	"kerberos.client":       textOf(carryKrb, kerberos, func(k *event.Kerberos) string { return k.Client }),
	"kerberos.service":      textOf(carryKrb, kerberos, func(k *event.Kerberos) string { return k.Service }),
	"kerberos.success":      truthOf(carryKrb, kerberos, func(k *event.Kerberos) bool { return k.Success }),
	"kerberos.failed": truthOf(carryKrb, itself, func(e *event.Event) bool {
		return e.Has(event.KerberosSuccess) && e.Kerberos != nil && !e.Kerberos.Success
	}),
	"kerberos.error":       textOf(carryKrb, kerberos, func(k *event.Kerberos) string { return k.ErrorMsg }),
	"kerberos.cipher":      textOf(carryKrb, kerberos, func(k *event.Kerberos) string { return k.Cipher }),
	"software.type":        textOf(carrySoft, software, func(s *event.Software) string { return s.Type }),
	"software.name":        textOf(carrySoft, software, func(s *event.Software) string { return s.Name }),
	"software.version":     textOf(carrySoft, software, func(s *event.Software) string { return s.Unparsed }),
	"application.command":  textOf(carryApp, app, func(a *event.App) string { return a.Command }),
	"application.argument": textOf(carryApp, app, func(a *event.App) string { return a.Argument }),
	"application.status":   textOf(carryApp, app, func(a *event.App) string { return a.Status }),
	"application.user":     textOf(carryApp, app, func(a *event.App) string { return a.User }),
	"application.version":  textOf(carryApp, app, func(a *event.App) string { return a.Version }),
	"application.names":    listOf(carryApp, app, func(a *event.App) []string { return a.Names }),
	"application.size":     numberOf(carryApp, condition.Bytes, app, func(a *event.App) float64 { return float64(a.Size) }),
}

var recordSensor = map[string]recordField{
	"notice.name":         textOf(carryNote, notice, func(n *event.Notice) string { return n.Name }),
	"notice.message":      textOf(carryNote, notice, func(n *event.Notice) string { return n.Message }),
	"notice.sub":          textOf(carryNote, notice, func(n *event.Notice) string { return n.Sub }),
	"notice.category":     textOf(carryNote, notice, func(n *event.Notice) string { return n.Category }),
	"notice.severity":     numberOf(carryNote, condition.NoUnit, notice, func(n *event.Notice) float64 { return float64(n.Severity) }),
	"notice.action":       textOf(carryNote, notice, func(n *event.Notice) string { return n.Action }),
	"notice.signature_id": numberOf(carryNote, condition.NoUnit, notice, func(n *event.Notice) float64 { return float64(n.SignatureID) }),
}
