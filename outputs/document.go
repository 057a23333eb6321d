// Package outputs writes findings: as ECS documents, and for people.
package outputs

import (
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"tidewatch/event"
)

// ecsVersion is the version of the Elastic Common Schema that documents follow.
const ecsVersion = "8.17.0"

// TimeLayout is how documents write times, in UTC: always 27 bytes.
const TimeLayout = "2006-01-02T15:04:05.000000Z"

// Encoder writes documents. It keeps the memory that it needs from one to the next,
// and is used by one goroutine. The zero Encoder is ready.
type Encoder struct {
	w object
	// what the document names, for related.*
	ips    []netip.Addr
	hosts  []string
	hashes []string
	rules  map[*event.RuleInfo]*ruleParts
}

// ruleParts are members of documents that are the same for all findings of a rule.
type ruleParts struct{ message, rule, threat, rest, falsePositives []byte }

// maxRules bounds the rules that an encoder remembers, over reloads.
const maxRules = 4096

// AppendDocument is Finding for those who write few.
func AppendDocument(dst []byte, f *event.Finding, ingested int64) []byte {
	var e Encoder
	return e.Finding(dst, f, ingested)
}

var (
	findingCategory = []string{"network", "intrusion_detection"}
	findingType     = []string{"info"}
)

// Finding appends the ECS document of a finding to dst: one JSON object without a line
// break. ingested, in Unix nanoseconds, becomes event.ingested; 0 leaves it out. Any
// bytes in the finding give valid JSON: what is not UTF-8 becomes U+FFFD. The rule must
// not change as long as the Encoder is used.
func (e *Encoder) Finding(dst []byte, f *event.Finding, ingested int64) []byte {
	w := &e.w
	w.b, w.marks = dst, w.marks[:0]
	parts := e.rule(f.Rule)
	w.open("")
	w.time("@timestamp", f.Time)
	w.open("ecs").text("version", ecsVersion).close()
	w.raw(parts.message)
	w.event(f, ingested)
	w.raw(parts.rule)
	w.open("threat").raw(parts.threat)
	w.enrichments(f.Indicators)
	w.close()
	w.endpoint("source", &f.Source)
	w.endpoint("destination", &f.Destination)
	w.network(f)
	if f.Query != "" {
		w.open("dns").open("question").text("name", f.Query).close().close()
	}
	if name := f.OwnEnd().About.HostName(); name != "" {
		w.open("host").text("name", name).close()
	}
	e.ips, e.hosts, e.hashes = e.ips[:0], e.hosts[:0], e.hashes[:0]
	session := f.Session()
	e.session(session)
	e.related(f)
	w.raw(parts.rest)
	w.own(f, session, parts)
	w.close()
	return w.b
}

func (w *object) event(f *event.Finding, ingested int64) {
	w.open("event")
	w.text("kind", "alert")
	w.texts("category", findingCategory)
	w.texts("type", findingType)
	w.text("module", "tidewatch")
	w.text("dataset", "tidewatch.finding")
	if len(f.Sensors) > 0 {
		w.text("provider", f.Sensors[0])
	}
	w.text("id", f.ID)
	w.time("start", f.Start)
	w.time("end", f.End)
	w.whole("duration", uint64(max(f.End-f.Start, 0)))
	w.text("action", f.Detector)
	w.whole("severity", uint64(f.Severity()))
	w.number("risk_score", f.Risk)
	w.number("risk_score_norm", f.Risk)
	w.text("reason", f.Reason)
	if ingested != 0 {
		w.time("ingested", ingested)
	}
	w.close()
}

// rule returns what documents say of a rule.
func (e *Encoder) rule(r *event.RuleInfo) *ruleParts {
	if p := e.rules[r]; p != nil {
		return p
	}
	if e.rules == nil || len(e.rules) >= maxRules {
		e.rules = map[*event.RuleInfo]*ruleParts{}
	}
	part := func(write func(w *object)) []byte {
		w := &object{}
		w.open("")
		write(w)
		w.close()
		return w.b[1 : len(w.b)-1]
	}
	p := &ruleParts{
		message: part(func(w *object) { w.text("message", r.Name) }),
		rule:    part(func(w *object) { w.rule(r) }),
		threat:  part(func(w *object) { w.threat(r.Attack) }),
		rest: part(func(w *object) {
			w.texts("tags", r.Tags)
			w.open("observer").text("type", "ids").text("vendor", "tidewatch").text("product", "tidewatch").close()
		}),
		falsePositives: part(func(w *object) { w.texts("false_positives", r.FalsePositives) }),
	}
	e.rules[r] = p
	return p
}

func (w *object) rule(r *event.RuleInfo) {
	w.open("rule")
	w.text("id", r.ID).text("name", r.Name).text("description", r.Description).text("category", r.Category)
	w.text("version", r.Version).text("ruleset", r.Ruleset)
	if len(r.References) > 0 {
		w.text("reference", r.References[0])
	}
	w.close()
}

// threat writes the members for ATT&CK techniques as parallel arrays, the way ECS has them.
func (w *object) threat(ts []event.Technique) {
	if len(ts) == 0 {
		return
	}
	var tactics, techniques, subs names
	for _, t := range ts {
		techniques.add(t.ID, t.Name, "https://attack.mitre.org/techniques/"+t.ID+"/")
		if t.SubID != "" {
			subs.add(t.SubID, t.SubName, "https://attack.mitre.org/techniques/"+strings.ReplaceAll(t.SubID, ".", "/")+"/")
		}
		for _, a := range t.Tactics {
			tactics.add(a.ID, a.Name, "https://attack.mitre.org/tactics/"+a.ID+"/")
		}
	}
	w.text("framework", "MITRE ATT&CK")
	w.open("tactic").names(&tactics).close()
	w.open("technique").names(&techniques)
	w.open("subtechnique").names(&subs).close()
	w.close()
}

// enrichments writes what threat intelligence lists of the case.
func (w *object) enrichments(is []event.Indicator) {
	w.list("enrichments")
	for k := range is {
		i := &is[k]
		w.open("").open("indicator").text("type", i.Type).text("provider", i.Provider).text("description", i.Description).text("confidence", i.ConfidenceName())
		w.open("marking").text("tlp", i.TLP).close()
		if i.FirstSeen > 0 {
			w.time("first_seen", i.FirstSeen)
		}
		w.close()
		w.open("matched").text("atomic", i.Value).text("field", i.Field).text("type", "indicator_match_rule").close()
		w.close()
	}
	w.end()
}

// names are parallel lists without repetition.
type names struct{ id, name, reference []string }

func (n *names) add(id, name, reference string) {
	if !slices.Contains(n.id, id) {
		n.id, n.name, n.reference = append(n.id, id), append(n.name, name), append(n.reference, reference)
	}
}

func (w *object) names(n *names) *object {
	return w.texts("id", n.id).texts("name", n.name).texts("reference", n.reference)
}

func (w *object) endpoint(name string, e *event.Endpoint) {
	if !e.Addr.IsValid() && e.Domain == "" {
		return
	}
	w.open(name)
	if e.Addr.IsValid() {
		w.addr("address", e.Addr).addr("ip", e.Addr)
	}
	if e.HasPort {
		w.whole("port", uint64(e.Port))
	}
	w.text("domain", e.Domain)
	if e.Bytes > 0 {
		w.whole("bytes", e.Bytes)
	}
	if e.Packets > 0 {
		w.whole("packets", e.Packets)
	}
	if e.About != nil && e.About.Geo != nil {
		w.geo(e.About.Geo)
	}
	w.close()
}

func (w *object) geo(g *event.Geo) {
	w.open("geo").text("continent_code", g.Continent).text("country_iso_code", g.Country).text("country_name", g.CountryName)
	w.text("region_name", g.Region).text("city_name", g.City)
	if g.Located {
		w.point("location", g.Latitude, g.Longitude)
	}
	w.close()
	w.open("as")
	if g.ASN != 0 {
		w.whole("number", uint64(g.ASN))
	}
	w.open("organization").text("name", g.Organization).close().close()
}

func (w *object) network(f *event.Finding) {
	w.open("network")
	w.text("transport", f.Proto.String())
	w.text("protocol", f.Application)
	w.text("direction", f.Direction)
	w.text("community_id", f.CommunityID)
	if f.VLAN != 0 {
		w.open("vlan").digits("id", uint64(f.VLAN)).close()
	}
	w.close()
}

// related writes everything that the document names once more, each once, for
// those who search.
func (e *Encoder) related(f *event.Finding) {
	e.ip(f.Source.Addr)
	e.ip(f.Destination.Addr)
	for _, a := range f.Related {
		e.ip(a)
	}
	e.host(f.Source.Domain)
	e.host(f.Destination.Domain)
	e.host(f.Query)
	e.host(f.Source.About.HostName())
	e.host(f.Destination.About.HostName())
	for _, h := range f.Hosts {
		e.host(h)
	}
	e.w.open("related").addrs("ip", e.ips).texts("hosts", e.hosts).texts("hash", e.hashes).close()
}

// own writes the fields of tidewatch's own namespace.
func (w *object) own(f *event.Finding, session *event.Session, parts *ruleParts) {
	w.open("tidewatch")
	w.open("subject").text("type", f.Subject.Type).text("value", f.Subject.Value).close()
	w.open("episode").text("id", f.Episode).whole("revision", uint64(max(f.Revision, 0))).bool("open", f.Open).close()
	if f.Suppressed > 0 {
		w.digits("suppressed", uint64(f.Suppressed))
	}
	w.number("score", f.Score)
	w.about("source", f.Source.About)
	w.about("destination", f.Destination.About)
	w.list("evidence")
	for i := range f.Evidence {
		e := &f.Evidence[i]
		w.open("").text("feature", e.Feature).number("observed", e.Observed).number("expected", e.Expected)
		w.text("unit", e.Unit).number("weight", e.Weight).text("text", e.Text).close()
	}
	w.end()
	w.open("baseline")
	if f.Baseline.Since != 0 {
		w.time("since", f.Baseline.Since)
	}
	w.whole("observations", f.Baseline.Observations).text("text", f.Baseline.Text).close()
	w.list("sample")
	for i := range f.Sample {
		w.sample(&f.Sample[i])
	}
	w.end()
	w.session(session)
	w.open(member(f.Detector))
	for i := range f.Features {
		t := &f.Features[i]
		switch key := member(t.Key); t.Type {
		case event.FeatureNumber:
			w.number(key, t.Num)
		case event.FeatureText:
			w.text(key, t.Text)
		case event.FeatureBool:
			w.bool(key, t.Num != 0)
		case event.FeatureList:
			w.texts(key, t.List)
		}
	}
	w.close()
	w.text("investigate", f.Investigate)
	w.raw(parts.falsePositives)
	w.close()
}

// about writes what the inventory and providers say of an end, which has no place in ECS.
func (w *object) about(name string, of *event.About) {
	if of == nil {
		return
	}
	w.open(name)
	w.open("network").text("name", of.Network).close()
	if a := of.Asset; a != nil {
		w.open("asset").text("name", a.Name).text("owner", a.Owner).text("role", a.Role.String()).text("criticality", a.Criticality.String()).close()
	}
	if s := of.Service; s != nil {
		w.open("service").text("provider", s.Provider).text("name", s.Name).text("region", s.Region).close()
	}
	w.close()
}

func (w *object) sample(s *event.Sample) {
	w.open("").text("uid", s.UID).time("time", s.Time).number("duration_seconds", float64(s.Duration)/1e9)
	w.addrPort("source", s.Orig)
	w.addrPort("destination", s.Resp)
	w.whole("source_bytes", s.OrigBytes).whole("destination_bytes", s.RespBytes)
	w.text("state", s.State)
	if t := s.Session; t != nil {
		if t.TLS != nil {
			w.text("server_name", strings.TrimSuffix(t.TLS.ServerName, ".")).text("ja4", t.TLS.JA4)
		}
		if t.HTTP != nil {
			w.text("user_agent", t.HTTP.UserAgent)
		}
	}
	w.close()
}

func (w *object) addrPort(name string, a netip.AddrPort) {
	if a.Addr().IsValid() {
		w.open(name).addr("ip", a.Addr()).whole("port", uint64(a.Port())).close()
	}
}

// object appends JSON. Members without a value, and objects and lists without
// members, are left out.
type object struct {
	b     []byte
	marks []mark // of the open objects and lists

	// The day that was written last: times of one document are mostly of one day.
	day  int64 // since 1970
	date [11]byte
}

// mark is where an open object begins: before its name, and after its brace.
type mark struct {
	before, after int
	list          bool
}

// key begins a member. Its name is written as it is: see member.
func (w *object) key(name string) {
	b := w.b
	if n := len(w.marks); n > 0 && len(b) > w.marks[n-1].after {
		b = append(b, ',')
	}
	if name != "" {
		b = append(b, '"')
		b = append(b, name...)
		b = append(b, '"', ':')
	}
	w.b = b
}

// member returns a name that is no constant of this package as key takes it.
func member(name string) string {
	for i := range len(name) {
		if !asIs[name[i]] {
			quoted := AppendString(nil, name)
			return string(quoted[1 : len(quoted)-1])
		}
	}
	return name
}

// raw appends members that are encoded already.
func (w *object) raw(members []byte) *object {
	if len(members) > 0 {
		w.key("")
		w.b = append(w.b, members...)
	}
	return w
}

func (w *object) begin(name string, brace byte) *object {
	before := len(w.b)
	w.key(name)
	w.b = append(w.b, brace)
	w.marks = append(w.marks, mark{before, len(w.b), brace == '['})
	return w
}

// open begins an object, close ends it.
func (w *object) open(name string) *object { return w.begin(name, '{') }

func (w *object) close() *object { return w.finish('}') }

// list begins a list, end ends it.
func (w *object) list(name string) *object { return w.begin(name, '[') }

func (w *object) end() *object { return w.finish(']') }

func (w *object) finish(brace byte) *object {
	m := w.marks[len(w.marks)-1]
	w.marks = w.marks[:len(w.marks)-1]
	if len(w.b) == m.after && len(w.marks) > 0 {
		w.b = w.b[:m.before]
		return w
	}
	w.b = append(w.b, brace)
	return w
}

func (w *object) text(name, v string) *object {
	if v != "" {
		w.key(name)
		w.b = AppendString(w.b, v)
	}
	return w
}

func (w *object) texts(name string, vs []string) *object {
	if len(vs) == 0 {
		return w
	}
	w.list(name)
	for _, v := range vs {
		w.key("")
		w.b = AppendString(w.b, v)
	}
	return w.end()
}

func (w *object) bool(name string, v bool) *object {
	w.key(name)
	w.b = strconv.AppendBool(w.b, v)
	return w
}

// whole writes a number of the schema's type long, as far as that goes.
func (w *object) whole(name string, v uint64) *object {
	w.key(name)
	w.b = strconv.AppendUint(w.b, min(v, math.MaxInt64), 10)
	return w
}

// point writes a place on earth, in degrees, as a text that fields of type geo_point take.
func (w *object) point(name string, latitude, longitude float64) {
	w.key(name)
	b := append(w.b, '"')
	b = strconv.AppendFloat(b, latitude, 'f', 4, 64)
	b = strconv.AppendFloat(append(b, ','), longitude, 'f', 4, 64)
	w.b = append(b, '"')
}

// number writes v, without an exponent where it is whole. What JSON has no number
// for is left out.
func (w *object) number(name string, v float64) *object {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return w
	}
	w.key(name)
	switch {
	case v == math.Trunc(v) && math.Abs(v) < 1<<53:
		w.b = strconv.AppendInt(w.b, int64(v), 10)
	case v >= 0.001 && v < 1e6 && math.Round(v*1000)/1000 == v:
		w.b = appendMilli(w.b, uint64(math.Round(v*1000)))
	default:
		w.b = strconv.AppendFloat(w.b, v, 'g', -1, 64)
	}
	return w
}

// appendMilli appends n thousandths, which are not whole, as a decimal fraction: what
// AppendFloat would, since two decimals of fewer than 16 digits are never the same
// float64.
func appendMilli(b []byte, n uint64) []byte {
	b = strconv.AppendUint(b, n/1000, 10)
	n %= 1000
	b = append(b, '.', '0'+byte(n/100), '0'+byte(n/10%10), '0'+byte(n%10))
	for b[len(b)-1] == '0' {
		b = b[:len(b)-1]
	}
	return b
}

// time writes Unix nanoseconds as TimeLayout has them.
func (w *object) time(name string, ns int64) *object {
	w.key(name)
	us := ns / 1000
	if ns%1000 < 0 {
		us--
	}
	day := us / dayMicros
	if us%dayMicros < 0 {
		day--
	}
	if day != w.day || w.date[0] == 0 {
		w.day = day
		copy(w.date[:], time.Unix(day*24*3600, 0).UTC().AppendFormat(w.date[:0], "2006-01-02T"))
	}
	us -= day * dayMicros
	s := us / 1e6
	b := append(append(w.b, '"'), w.date[:]...)
	b = two(append(two(append(two(b, s/3600), ':'), s/60%60), ':'), s%60)
	us %= 1e6
	b = append(b, '.')
	b = two(two(two(b, us/10_000), us/100%100), us%100)
	w.b = append(b, 'Z', '"')
	return w
}

const dayMicros = 24 * 3600 * 1_000_000

// two appends a number below 100 in two digits.
func two(b []byte, v int64) []byte { return append(b, '0'+byte(v/10), '0'+byte(v%10)) }

const hexDigits = "0123456789abcdef"

// AppendString appends s as a JSON string. What a terminal would not show, it
// writes as \u escapes: documents go to terminals too.
func AppendString(b []byte, s string) []byte {
	b = append(b, '"')
	from := 0 // of what is not appended yet
	for i := 0; i < len(s); {
		for i+8 <= len(s) && eightAsIs(s[i:i+8]) {
			i += 8
		}
		if i == len(s) {
			break
		}
		c := s[i]
		if asIs[c] {
			i++
			continue
		}
		b = append(b, s[from:i]...)
		switch {
		case c >= utf8.RuneSelf:
			r, n := utf8.DecodeRuneInString(s[i:]) // U+FFFD for what is not UTF-8
			b = appendRune(b, r)
			i += n
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
			i++
		default:
			b = appendEscape(b, rune(c))
			i++
		}
		from = i
	}
	return append(append(b, s[from:]...), '"')
}

// eightAsIs reports whether all of eight bytes are in asIs, by arithmetic on all of them
// at once. (Anderson, "Bit Twiddling Hacks": a zero byte, a byte below n.)
func eightAsIs(s string) bool {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	_ = s[7]
	v := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 | uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
	quote, slash, del := v^ones*'"', v^ones*'\\', v^ones*0x7f
	return (v|(v-ones*0x20)&^v|(quote-ones)&^quote|(slash-ones)&^slash|(del-ones)&^del)&tops == 0
}

// asIs are the bytes that a JSON string and a terminal take as they are.
var asIs = func() (t [256]bool) {
	for c := 0x20; c < 0x7f; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

func appendRune(b []byte, r rune) []byte {
	if visible(r) {
		return utf8.AppendRune(b, r)
	}
	if high, low := utf16.EncodeRune(r); high != utf8.RuneError {
		return appendEscape(appendEscape(b, high), low)
	}
	return appendEscape(b, r)
}

// appendEscape appends a UTF-16 code unit.
func appendEscape(b []byte, unit rune) []byte {
	return append(b, '\\', 'u', hexDigits[unit>>12&15], hexDigits[unit>>8&15], hexDigits[unit>>4&15], hexDigits[unit&15])
}
