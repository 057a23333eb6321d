package outputs

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"tidewatch/event"
	"tidewatch/internal/shareddata"
)

// finding returns one with every field set.
func finding() event.Finding {
	at := time.Date(2026, 11, 20, 10, 17, 0, 123456789, time.UTC).UnixNano()
	return event.Finding{
		ID: "AbC-_123",
		Observation: event.Observation{
			Detector: "scan", Episode: "e1", Revision: 1, Time: at + 5e9, Start: at, End: at + 5e9,
			Subject: event.Subject{Type: "host", Value: "10.20.1.23"},
			Source: event.Endpoint{Addr: netip.MustParseAddr("10.20.1.23"), Port: 40000, HasPort: true, Domain: "pc23.office.example", Bytes: 100, Packets: 2,
				About: &event.About{Asset: &event.Asset{Name: "pc23", Owner: "sales", Role: event.RoleWorkstation, Criticality: event.CriticalityLow}}},
			Destination: event.Endpoint{Addr: netip.MustParseAddr("2001:db8::1"), Port: 445, HasPort: true, Domain: "files.office.example", Bytes: 50, Packets: 1,
				About: &event.About{Asset: &event.Asset{Name: "files1", Owner: "storage", Role: event.RoleServer, Criticality: event.CriticalityHigh}, Service: &event.Service{Provider: "Amazon Web Services", Name: "EC2", Region: "eu-west-1"},
					Geo: &event.Geo{Continent: "EU", Country: "IE", CountryName: "Ireland", Region: "Leinster", City: "Dublin", ASN: 64501, Organization: "Example Hosting"}}},
			Proto: event.ProtoTCP, Application: "smb", Direction: "internal", CommunityID: "1:LQU9qZlK+B5F3KDmev6m5PMibrg=", VLAN: 7, Query: "a.example",
			Sensors: []string{"zeek"}, Score: 0.993, Risk: 81, Reason: "10.20.1.23 tried port 445/tcp of 90 hosts",
			Evidence: []event.Evidence{{Feature: "scan.targets", Observed: 90, Expected: 1, Unit: "hosts", Weight: 4.5, Text: "90 hosts were tried"}},
			Baseline: event.Baseline{Since: at - 1e12, Observations: 12, Text: "80 % succeed"},
			Sample: []event.Sample{{
				UID: "C1", Time: at, Duration: 1e6, Orig: netip.MustParseAddrPort("10.20.1.23:40000"), Resp: netip.MustParseAddrPort("10.20.40.1:445"), OrigBytes: 1, RespBytes: 2, State: "S0",
			}},
			Related: []netip.Addr{netip.MustParseAddr("10.20.1.23"), netip.MustParseAddr("10.20.1.23"), netip.MustParseAddr("2001:db8::1")},
			Hosts:   []string{"files.office.example"},
			Indicators: []event.Indicator{{
				Type: "domain-name", Value: "evil.example", Field: "dns.question.name", Provider: "urlhaus", Description: "malware", TLP: "CLEAR", Confidence: 85, FirstSeen: at - 1e15,
			}},
			Features: []event.Feature{event.Text("kind", "horizontal"), event.Number("targets", 90), event.Bool("known_scanner", false), event.List("top_ports", []string{"445/tcp"})},
		},
		Rule: &event.RuleInfo{
			ID: "scan-internal", Name: "Internal host scans the own network", Description: "why", Severity: event.SeverityHigh, Category: "discovery", Version: "1",
			Ruleset: "tidewatch", References: []string{"https://attack.mitre.org/techniques/T1046/"}, FalsePositives: []string{"inventory"}, Tags: []string{"scan"},
			Attack: []event.Technique{
				{ID: "T1046", Name: "Network Service Discovery", Tactics: []event.Tactic{{ID: "TA0007", Name: "Discovery"}}},
				{ID: "T1595", Name: "Active Scanning", SubID: "T1595.001", SubName: "Scanning IP Blocks", Tactics: []event.Tactic{{ID: "TA0043", Name: "Reconnaissance"}}},
			},
		},
		Investigate: "Find the process on 10.20.1.23.",
	}
}

// ecsField is what the published schema says of a field.
type ecsField struct {
	Type          string   `json:"type"`
	Normalize     []string `json:"normalize"`
	AllowedValues []struct {
		Name     string   `json:"name"`
		Expected []string `json:"expected_event_types"`
	} `json:"allowed_values"`
}

// Every field outside our own namespace is one of ECS 8.17, of its type, an array
// where it must be one, and with an allowed value.
func TestDocumentIsECS(t *testing.T) {
	b, err := os.ReadFile(shareddata.Path(t, "ecs/ecs_flat-8.17.0.json"))
	if err != nil {
		t.Fatal(err)
	}
	schema := map[string]ecsField{}
	if err := json.Unmarshal(b, &schema); err != nil {
		t.Fatal(err)
	}
	f := finding()
	var doc map[string]any
	if err := json.Unmarshal(AppendDocument(nil, &f, f.Time), &doc); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	var check func(name string, v any)
	check = func(name string, v any) {
		seen[name] = true
		if strings.HasPrefix(name, "tidewatch.") {
			return
		}
		field, ok := schema[name]
		if !ok {
			t.Errorf("%s is not in the schema", name)
			return
		}
		if err := fits(field, v); err != nil {
			t.Errorf("%s = %v: %v", name, v, err)
		}
		if field.Type == "nested" {
			for _, member := range v.([]any) {
				walk(name, member.(map[string]any), check)
			}
		}
	}
	walk("", doc, check)
	for _, want := range []string{
		"@timestamp", "ecs.version", "message", "event.kind", "event.category", "event.type", "event.module", "event.dataset", "event.provider", "event.id",
		"event.start", "event.end", "event.action", "event.severity", "event.risk_score", "event.reason", "event.ingested",
		"rule.id", "rule.name", "rule.description", "rule.category", "rule.version", "rule.ruleset", "rule.reference",
		"threat.framework", "threat.tactic.id", "threat.tactic.name", "threat.technique.id", "threat.technique.name", "threat.technique.subtechnique.id",
		"source.ip", "source.port", "destination.ip", "destination.domain", "network.transport", "network.direction", "network.community_id",
		"dns.question.name", "related.ip", "related.hosts", "tags",
		"tidewatch.subject.type", "tidewatch.subject.value", "tidewatch.score", "tidewatch.evidence", "tidewatch.baseline.since", "tidewatch.sample",
		"threat.enrichments.matched.atomic", "threat.enrichments.indicator.marking.tlp", "destination.geo.country_iso_code", "destination.geo.city_name", "destination.as.number", "destination.as.organization.name", "tidewatch.destination.service.name", "host.name", "tidewatch.source.asset.role", "tidewatch.destination.asset.criticality",
		"tidewatch.scan.kind", "tidewatch.scan.targets", "tidewatch.episode.id",
	} {
		if !seen[want] {
			t.Errorf("the document has no %s", want)
		}
	}
	// Each type is expected of one of the categories.
	var expected []string
	for _, c := range schema["event.category"].AllowedValues {
		if c.Name == "network" || c.Name == "intrusion_detection" {
			expected = append(expected, c.Expected...)
		}
	}
	if !slices.Contains(expected, "info") {
		t.Errorf("event.type info is not expected of the categories, which expect %v", expected)
	}
}

// walk calls f for each leaf; arrays are leaves.
func walk(prefix string, v map[string]any, f func(string, any)) {
	for k, v := range v {
		name := k
		if prefix != "" {
			name = prefix + "." + k
		}
		if m, ok := v.(map[string]any); ok {
			walk(name, m, f)
		} else {
			f(name, v)
		}
	}
}

// fits reports how a value breaks what the schema says of its field.
func fits(field ecsField, v any) error {
	values, array := v.([]any)
	if array != slices.Contains(field.Normalize, "array") {
		return fmt.Errorf("an array: %v, the schema says %v", array, !array)
	}
	if !array {
		values = []any{v}
	}
	for _, v := range values {
		ok := true
		switch field.Type {
		case "keyword", "wildcard", "text", "match_only_text", "constant_keyword":
			_, ok = v.(string)
		case "long", "float", "scaled_float":
			n, number := v.(float64)
			ok = number && (field.Type != "long" || n == math.Trunc(n))
		case "date":
			s, _ := v.(string)
			_, err := time.Parse(time.RFC3339Nano, s)
			ok = err == nil
		case "ip":
			s, _ := v.(string)
			_, err := netip.ParseAddr(s)
			ok = err == nil
		case "geo_point":
			s, _ := v.(string)
			var lat, lon float64
			n, err := fmt.Sscanf(s, "%f,%f", &lat, &lon)
			ok = n == 2 && err == nil
		case "boolean":
			_, ok = v.(bool)
		case "nested":
			_, ok = v.(map[string]any)
		default:
			return fmt.Errorf("the test does not know type %s", field.Type)
		}
		if !ok {
			return fmt.Errorf("not a %s", field.Type)
		}
		allowed := len(field.AllowedValues) == 0
		for _, a := range field.AllowedValues {
			allowed = allowed || a.Name == v
		}
		if !allowed {
			return errors.New("not an allowed value")
		}
	}
	return nil
}

// The values themselves, once.
func TestDocumentValues(t *testing.T) {
	f := finding()
	var doc struct {
		Time    string `json:"@timestamp"`
		Message string
		Event   struct {
			Kind, Action, ID, Start string
			Severity                float64
		}
		Threat struct {
			Technique struct {
				ID           []string
				Subtechnique struct{ ID []string }
			}
			Tactic struct{ ID []string }
		}
		Source  struct{ IP, Domain string }
		Related struct{ IP []string }
	}
	if err := json.Unmarshal(AppendDocument(nil, &f, 0), &doc); err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(doc)
	want := "{2026-11-20T10:17:05.123456Z Internal host scans the own network {alert scan AbC-_123 2026-11-20T10:17:00.123456Z 73} " +
		"{{[T1046 T1595] {[T1595.001]}} {[TA0007 TA0043]}} {10.20.1.23 pc23.office.example} {[10.20.1.23 2001:db8::1]}}"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// Times are written as package time would, before 1970 too.
func TestTime(t *testing.T) {
	f := func(ns int64) {
		t.Helper()
		want := `"` + time.Unix(0, ns).UTC().Format(TimeLayout) + `"`
		w := &object{}
		w.time("", 1e18) // another day is known
		w.b = w.b[:0]
		if w.time("", ns); string(w.b) != want {
			t.Errorf("%d: %s, want %s", ns, w.b, want)
		}
	}
	for _, ns := range []int64{0, 1, 999, 1000, -1, -1000, -1001, math.MaxInt64, math.MinInt64, 86400e9, 86400e9 - 1, -86400e9, -86400e9 - 1, 951782400e9, 1e18, 1e18 + 86400e9} {
		f(ns)
	}
	for ns := int64(-9e18); ns < 9e18; ns += 1234567890123457 {
		f(ns)
	}
}

// A known rule costs a finding no memory.
func TestFindingAllocates(t *testing.T) {
	f := finding()
	var e Encoder
	b := e.Finding(nil, &f, f.Time)
	if n := testing.AllocsPerRun(100, func() { b = e.Finding(b[:0], &f, f.Time) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// Whatever bytes are in a finding, its document is one line of valid JSON, and safe
// to show.
func TestHostileDocument(t *testing.T) {
	f := hostile()
	b := AppendDocument(nil, &f, 0)
	if !json.Valid(b) || !utf8.Valid(b) {
		t.Errorf("not valid JSON: %q", b)
	}
	if s := string(b); strings.ContainsFunc(s, func(r rune) bool { return !visible(r) }) {
		t.Errorf("a character that acts or does not show stands unescaped: %q", s)
	}
	var doc struct{ Event struct{ Reason string } }
	if err := json.Unmarshal(b, &doc); err != nil || doc.Event.Reason != string([]rune(bad)) {
		t.Errorf("%v, the reason came back as %q", err, doc.Event.Reason)
	}
	f = event.Finding{Rule: &event.RuleInfo{}} // next to nothing is known
	if b := AppendDocument(nil, &f, 0); !json.Valid(b) {
		t.Errorf("not valid JSON: %q", b)
	}
}

func FuzzString(f *testing.F) {
	f.Add("a\"b\\c\x00\xff\u2028\u009b\U000e0041\U0001f600")
	f.Fuzz(func(t *testing.T, s string) {
		b := AppendString(nil, s)
		var back string
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		if utf8.ValidString(s) && back != s {
			t.Errorf("%q came back as %q", s, back)
		}
		if strings.ContainsFunc(string(b), func(r rune) bool { return !visible(r) }) {
			t.Errorf("%q", b)
		}
	})
}

// Eight bytes at once are judged as one by one.
func TestEightAsIs(t *testing.T) {
	for at := range 8 {
		for c := range 256 {
			for _, beside := range []byte{'a', ' ', '~', 0x80} {
				b := []byte(strings.Repeat(string([]byte{beside}), 8))
				b[at] = byte(c)
				want := true
				for _, c := range b {
					want = want && asIs[c]
				}
				if got := eightAsIs(string(b)); got != want {
					t.Fatalf("%q: %v", b, got)
				}
			}
		}
	}
}

// Numbers with few decimals are written as strconv writes them.
func TestNumber(t *testing.T) {
	f := func(v float64) {
		t.Helper()
		w := object{}
		w.number("", v)
		want := strconv.AppendFloat(nil, v, 'g', -1, 64)
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			want = strconv.AppendInt(nil, int64(v), 10)
		}
		if string(w.b) != string(want) {
			t.Errorf("%s, want %s", w.b, want)
		}
	}
	for i := range 200_000 {
		f(float64(i) / 1000)
		f(float64(i*4999+1) / 1000)
		f(-float64(i) / 1000)
		f(math.Nextafter(float64(i)/1000, 1e9))
	}
	for _, v := range []float64{0.001, 0.0009, 0.1 + 0.2, 999999.999, 1e6 + 0.5, 1e-9, 1e300, math.MaxFloat64} {
		f(v)
	}
}

// A name that is no constant is a JSON text all the same.
func TestMember(t *testing.T) {
	f := finding()
	f.Detector, f.Features = "a\"b\x1b", []event.Feature{event.Number("c\\d\n", 1), event.Text("e", "x")}
	var doc struct {
		Tidewatch map[string]json.RawMessage
	}
	if err := json.Unmarshal(AppendDocument(nil, &f, 0), &doc); err != nil || doc.Tidewatch["a\"b\x1b"] == nil {
		t.Errorf("%v: %s", err, AppendDocument(nil, &f, 0))
	}
}
