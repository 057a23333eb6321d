package enrich

import (
	"fmt"
	"net/netip"
	"strings"

	"tidewatch/event"
)

// match sets the event's Threat if one of its values is listed at its time. It
// allocates when one is, and not otherwise.
func (x *Indicators) match(ev *event.Event) {
	if x.of[kindAddr]+x.nets > 0 {
		x.matchAddr(ev, &ev.Resp, "destination.ip")
		x.matchAddr(ev, &ev.Orig, "source.ip")
	}
	if d := ev.DNS; d != nil {
		x.matchName(ev, d.Query, "dns.question.name")
		x.matchAnswers(ev, d)
	}
	if h := ev.SSH; h != nil {
		x.matchDigest(ev, h.HASSH, "software", "ssh.hassh")
		x.matchDigest(ev, h.HASSHServer, "software", "ssh.hassh_server")
	}
	if t := ev.TLS; t != nil {
		x.matchName(ev, t.ServerName, "tls.client.server_name")
		x.matchDigest(ev, t.JA3, "software", "tls.client.ja3")
		x.matchDigest(ev, t.JA4, "software", "tls.client.ja4")
		x.matchDigest(ev, t.JA3S, "software", "tls.server.ja3s")
		x.matchDigest(ev, t.Fingerprint, "x509-certificate", "tls.server.hash")
	}
	if h := ev.HTTP; h != nil {
		x.matchName(ev, h.Host, "url.domain")
		x.matchURL(ev, h)
	}
	if f := ev.File; f != nil {
		x.matchDigest(ev, f.MD5, "file", "file.hash.md5")
		x.matchDigest(ev, f.SHA1, "file", "file.hash.sha1")
		x.matchDigest(ev, f.SHA256, "file", "file.hash.sha256")
	}
	if c := ev.X509; c != nil {
		x.matchDigest(ev, c.ID, "x509-certificate", "tls.server.hash")
	}
}

// mostAnswers is how many answers of a DNS record are looked up.
const mostAnswers = 16

// matchAnswers looks up what a name leads to: addresses, and other names.
func (x *Indicators) matchAnswers(ev *event.Event, d *event.DNS) {
	if ev.Threat != nil || x.of[kindAddr]+x.nets+x.of[kindDomain] == 0 {
		return
	}
	for _, s := range d.Answers[:min(len(d.Answers), mostAnswers)] {
		if s == "" {
			continue
		}
		if c := s[0]; c >= '0' && c <= '9' || strings.IndexByte(s[:min(len(s), 5)], ':') >= 0 {
			if a, err := netip.ParseAddr(s); err == nil {
				if a = a.Unmap(); a.IsPrivate() || a.IsLoopback() || a.IsUnspecified() {
					continue
				}
				if n, ok := x.addr(a); ok && x.holds(n, ev.Time) && !x.allowed.allowsAddr(a) {
					ev.Threat = x.indicator(n, addrType(a), a.String(), "dns.resolved_ip")
					return
				}
				continue
			}
		}
		if strings.IndexByte(s, ' ') < 0 {
			x.matchName(ev, s, "dns.answers.data")
		}
	}
}

// matchAddr looks an end up that is not inside.
func (x *Indicators) matchAddr(ev *event.Event, h *event.Host, field string) {
	if ev.Threat != nil || h.Scope != event.ScopeExternal {
		return
	}
	if n, ok := x.addr(h.Addr); ok && x.holds(n, ev.Time) && !x.allowed.allowsAddr(h.Addr) {
		ev.Threat = x.indicator(n, addrType(h.Addr), h.Addr.String(), field)
	}
}

func addrType(a netip.Addr) string {
	if a.Is4() {
		return "ipv4-addr"
	}
	return "ipv6-addr"
}

func (x *Indicators) matchName(ev *event.Event, name, field string) {
	if ev.Threat != nil || name == "" || x.of[kindDomain] == 0 {
		return
	}
	var room [256]byte
	name = lowered(&room, name)
	if n, from, ok := x.domain(name); ok && x.holds(n, ev.Time) && !x.allowed.allowsName(name) {
		ev.Threat = x.indicator(n, "domain-name", name[from:], field)
	}
}

// lowered returns a name in lower case without a dot at its end, in room if it has to
// be changed; "" if it has none there.
func lowered(room *[256]byte, name string) string {
	name = strings.TrimSuffix(name, ".")
	if len(name) > len(room) {
		return ""
	}
	for i := range len(name) {
		if c := name[i]; 'A' <= c && c <= 'Z' {
			b := room[:copy(room[:], name)]
			for j := i; j < len(b); j++ {
				if 'A' <= b[j] && b[j] <= 'Z' {
					b[j] |= 0x20
				}
			}
			return event.String(b)
		}
	}
	return name
}

func (x *Indicators) matchDigest(ev *event.Event, v, typ, field string) {
	if ev.Threat != nil || v == "" || x.of[kindDigest] == 0 {
		return
	}
	var room [256]byte
	v = digestForm(&room, v)
	if n, ok := x.find(kindDigest, v); ok && x.holds(n, ev.Time) && !x.allowed.allows(kindDigest, v) {
		ev.Threat = x.indicator(n, typ, v, field)
	}
}

// digestForm returns a digest in lower case without colons.
func digestForm(room *[256]byte, v string) string {
	v = lowered(room, v)
	if strings.IndexByte(v, ':') < 0 {
		return v
	}
	b := room[:0]
	for i := range len(v) { // in place: what is written is behind what is read
		if v[i] != ':' {
			b = append(b, v[i])
		}
	}
	return event.String(b)
}

// longestURL is the longest that is looked up, in bytes.
const longestURL = 1024

// matchURL looks host and path up together.
func (x *Indicators) matchURL(ev *event.Event, h *event.HTTP) {
	if ev.Threat != nil || x.of[kindURL] == 0 || h.Host == "" || len(h.Host)+len(h.URI) > longestURL || len(h.Host) > 256 {
		return
	}
	var room [256]byte
	var url [longestURL]byte
	b := append(url[:0], lowered(&room, h.Host)...)
	uri := h.URI
	if at := strings.Index(uri, "://"); at >= 0 { // of a proxy: the whole
		b = appendURL(url[:0], uri)
	} else {
		b = append(b, uri...)
	}
	v := event.String(b)
	if n, ok := x.find(kindURL, v); ok && x.holds(n, ev.Time) && !x.allowed.allows(kindURL, v) {
		ev.Threat = x.indicator(n, "url", v, "url.original")
	}
}

// appendURL appends a URL in the form in which it is looked up: its host in lower
// case without the port 80, and what follows it without a fragment.
func appendURL(dst []byte, url string) []byte {
	if at := strings.Index(url, "://"); at >= 0 {
		url = url[at+3:]
	}
	url, _, _ = strings.Cut(url, "#")
	host, rest := url, "/"
	if at := strings.IndexAny(url, "/?"); at >= 0 {
		host, rest = url[:at], url[at:]
	}
	host = strings.TrimSuffix(host, ":80")
	for i := range len(host) {
		c := host[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		dst = append(dst, c)
	}
	return append(dst, rest...)
}

// allows reports whether a value never counts. A nil table allows nothing.
func (x *Indicators) allows(k indicatorKind, v string) bool {
	if x == nil {
		return false
	}
	_, ok := x.find(k, v)
	return ok
}

func (x *Indicators) allowsAddr(a netip.Addr) bool {
	if x == nil {
		return false
	}
	_, ok := x.addr(a)
	return ok
}

func (x *Indicators) allowsName(name string) bool {
	if x == nil {
		return false
	}
	_, _, ok := x.domain(name)
	return ok
}

// listed appends what is listed of an observation's values.
func (x *Indicators) listed(o *event.Observation) {
	ev := event.Event{Time: o.End}
	take := func(look func()) {
		if ev.Threat = nil; len(o.Indicators) < maxListed {
			look()
		}
		if t := ev.Threat; t != nil {
			for i := range o.Indicators {
				if o.Indicators[i].Value == t.Value {
					return
				}
			}
			o.Indicators = append(o.Indicators, *t)
		}
	}
	host := func(e *event.Endpoint, ip, domain string) {
		take(func() { x.matchAddr(&ev, &event.Host{Addr: e.Addr, Scope: e.Scope}, ip) })
		take(func() { x.matchName(&ev, e.Domain, domain) })
	}
	host(&o.Destination, "destination.ip", "destination.domain")
	host(&o.Source, "source.ip", "source.domain")
	take(func() { x.matchName(&ev, o.Query, "dns.question.name") })
	for i := range o.Features {
		if f := &o.Features[i]; f.Key == "ja3" || f.Key == "ja4" {
			take(func() { x.matchDigest(&ev, f.Text, "software", "tls.client."+f.Key) })
		}
	}
	for _, f := range o.Record { // what a record was matched by, if the rule names it
		if f.Name == "threat.enrichments.matched.atomic" {
			take(func() { x.matchAny(&ev, f.Value) })
		}
	}
}

// maxListed bounds how many indicators a finding tells.
const maxListed = 8

// matchAny looks a value up that may be a digest or a URL.
func (x *Indicators) matchAny(ev *event.Event, v string) {
	x.matchDigest(ev, v, "file", "file.hash")
	if n, ok := x.find(kindURL, v); ok && ev.Threat == nil && x.holds(n, ev.Time) {
		ev.Threat = x.indicator(n, "url", v, "url.original")
	}
}

// weighListed lets indicators speak for what other detectors found.
func weighListed(o *event.Observation) {
	if len(o.Indicators) == 0 || o.RuleID != "" {
		return
	}
	i := &o.Indicators[0]
	confidence := 0.5
	if i.Confidence >= 0 {
		confidence = float64(i.Confidence) / 100
	}
	w := 3 * confidence
	shift(o, w)
	o.Evidence = append(o.Evidence, event.Evidence{
		Feature: o.Detector + ".indicator", Observed: confidence, Expected: 0, Weight: w,
		Text: fmt.Sprintf("%s is on the list %s%s", i.Value, i.Provider, described(i)),
	})
}

func described(i *event.Indicator) string {
	if i.Description == "" {
		return ""
	}
	return " (" + i.Description + ")"
}
