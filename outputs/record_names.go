package outputs

import (
	"net/netip"
	"strings"

	"golang.org/x/net/publicsuffix"

	"tidewatch/event"
)

// dnsClasses are the names of the classes that ECS examples use.
var dnsClasses = map[uint16]string{1: "IN", 3: "CH", 4: "HS", 254: "NONE", 255: "ANY"}

func (e *Encoder) dns(ev *event.Event, d *event.DNS) {
	w := &e.w
	w.open("dns")
	if ev.Has(event.DNSTransID) {
		w.digits("id", uint64(d.TransID))
	}
	answer := d.Response || ev.Sensor == event.SensorZeek && (d.RCodeName != "" || ev.Has(event.DNSRCode))
	w.text("type", [2]string{"query", "answer"}[index(answer)])
	w.text("response_code", d.RCodeName)
	name := strings.TrimSuffix(d.Query, ".")
	e.host(name)
	w.open("question").text("name", name)
	if name != "" {
		w.domain(strings.ToLower(name))
	}
	class := d.QClassName
	if class == "" || strings.HasPrefix(class, "C_") {
		class = dnsClasses[d.QClass]
	}
	w.text("class", class).text("type", d.QTypeName).close()
	w.list("header_flags")
	for i, set := range [...]bool{d.AA, d.TC, d.RD, d.RA} {
		if set {
			w.text("", [...]string{"AA", "TC", "RD", "RA"}[i])
		}
	}
	w.end().list("answers")
	for i, a := range d.Answers {
		w.open("").text("data", a)
		if len(d.TTLs) == len(d.Answers) {
			w.whole("ttl", uint64(d.TTLs[i]))
		}
		w.close()
	}
	w.end().list("resolved_ip")
	for _, a := range d.Answers {
		if ip, err := netip.ParseAddr(a); err == nil && ip.Zone() == "" {
			w.addr("", ip)
			e.ip(ip)
		}
	}
	w.end().close()
}

func index(b bool) int {
	if b {
		return 1
	}
	return 0
}

// domain writes the parts of a name by the list of public suffixes. Under none, the
// last label counts as one: _googlecast._tcp.local is registered as _tcp.local.
func (w *object) domain(name string) {
	suffix, _ := publicsuffix.PublicSuffix(name)
	w.text("top_level_domain", suffix)
	rest, ok := strings.CutSuffix(name, "."+suffix)
	if !ok || rest == "" {
		return
	}
	at := strings.LastIndexByte(rest, '.')
	w.text("registered_domain", name[at+1:])
	if at > 0 {
		w.text("subdomain", rest[:at])
	}
}

func (e *Encoder) tls(ev *event.Event, t *event.TLS) {
	w := &e.w
	w.open("tls")
	protocol, version := tlsVersion(t.Version)
	w.text("version", version).text("version_protocol", protocol)
	w.text("cipher", t.Cipher).text("curve", t.Curve).text("next_protocol", t.NextProtocol)
	if ev.Has(event.TLSEstablished) {
		w.bool("established", t.Established)
	}
	if ev.Has(event.TLSResumed) {
		w.bool("resumed", t.Resumed)
	}
	w.open("client").text("server_name", strings.TrimSuffix(t.ServerName, ".")).text("ja3", t.JA3)
	w.text("subject", t.ClientSubject).text("issuer", t.ClientIssuer)
	w.open("x509").name("subject", t.ClientSubject).name("issuer", t.ClientIssuer).close().close()
	sha1, sha256 := fingerprintOf(t.Fingerprint)
	before, after := ev.Has(event.TLSNotBefore), ev.Has(event.TLSNotAfter)
	w.open("server").text("subject", t.Subject).text("issuer", t.Issuer).text("ja3s", t.JA3S)
	w.open("hash").text("sha1", sha1).text("sha256", sha256).close()
	w.when("not_before", t.NotBefore, before).when("not_after", t.NotAfter, after)
	w.open("x509").name("subject", t.Subject).name("issuer", t.Issuer).text("serial_number", serial(t.Serial))
	w.when("not_before", t.NotBefore, before).when("not_after", t.NotAfter, after).close().close()
	w.close()
	e.hash(t.JA3S)
	e.hash(t.JA3)
	e.hash(sha1)
	e.hash(sha256)
}

// tlsVersion splits a sensor's name of a version, TLSv12 or "TLS 1.2", into what ECS
// has in two fields. What it does not know gives nothing.
func tlsVersion(s string) (protocol, version string) {
	low := strings.ToLower(s)
	for _, p := range [...]string{"dtls", "tls", "ssl"} {
		rest, ok := strings.CutPrefix(low, p)
		if !ok {
			continue
		}
		rest = strings.TrimLeft(rest, " v")
		digits := strings.ReplaceAll(rest, ".", "")
		switch {
		case len(digits) == 1 && digits[0] >= '0' && digits[0] <= '9':
			return p, digits + ".0"
		case len(digits) == 2 && strings.Trim(digits, "0123456789") == "":
			return p, digits[:1] + "." + digits[1:]
		}
		return "", ""
	}
	return "", ""
}

// nameKeys are the attributes of a distinguished name that ECS has fields for.
var nameKeys = [...]struct{ attribute, field string }{
	{"CN", "common_name"}, {"C", "country"}, {"L", "locality"}, {"O", "organization"}, {"OU", "organizational_unit"}, {"ST", "state_or_province"},
}

// name writes a distinguished name with its parts.
func (w *object) name(field, dn string) *object {
	if dn == "" {
		return w
	}
	w.open(field).text("distinguished_name", dn)
	parts := splitName(dn)
	for _, k := range nameKeys {
		w.list(k.field)
		for _, p := range parts {
			if strings.EqualFold(p.attribute, k.attribute) || k.attribute == "ST" && strings.EqualFold(p.attribute, "S") {
				w.text("", p.value)
			}
		}
		w.end()
	}
	return w.close()
}

type namePart struct{ attribute, value string }

// maxNameParts bounds what is read of a distinguished name.
const maxNameParts = 64

// splitName reads a distinguished name in the form of RFC 4514, whose commas within
// values have a backslash, and in the forms of OpenSSL, "C=US, O=Acme U.S.A., INC." and
// "/C=US/O=Acme", which do not mark them: there a value goes on until the next thing
// that is an attribute.
func splitName(dn string) (parts []namePart) {
	sep := byte(',')
	if strings.HasPrefix(dn, "/") {
		sep, dn = '/', dn[1:]
	}
	for dn != "" && len(parts) < maxNameParts {
		end := 0
		for end < len(dn) {
			switch {
			case dn[end] == '\\':
				end++
			case (dn[end] == sep || dn[end] == '+' && sep == ',') && attribute(dn[end+1:]):
				goto found
			}
			end++
		}
	found:
		end = min(end, len(dn))
		if key, value, ok := strings.Cut(dn[:end], "="); ok {
			parts = append(parts, namePart{strings.TrimSpace(key), unescapeName(strings.TrimSpace(value))})
		}
		dn = dn[min(end+1, len(dn)):]
	}
	return parts
}

// attribute reports whether s begins with an attribute: a short name or an object
// identifier, and an equals sign.
func attribute(s string) bool {
	s = strings.TrimLeft(s, " ")
	for i := 0; i < len(s) && i < 40; i++ {
		switch c := s[i]; {
		case c == '=':
			return i > 0
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '-':
		default:
			return false
		}
	}
	return false
}

// unescapeName removes the backslashes of RFC 4514. Bytes in hexadecimal stay as they
// are written.
func unescapeName(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) && strings.IndexByte(`,+"\<>;=# /`, s[i+1]) >= 0 {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
