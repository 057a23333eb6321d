package outputs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"tidewatch/event"
	"tidewatch/ingest"
	"tidewatch/internal/shareddata"
)

// eachRecord calls f for the records of all files below shared/data.
func eachRecord(t testing.TB, f func(ev *event.Event)) {
	t.Helper()
	var paths []string
	for _, dir := range []string{"zeek/baselines", "zeek/wrccdc", "suricata", "labelled/c2", "labelled/scan", "labelled/dns-tunnel", "labelled/internet-server", "labelled/benign-days"} {
		paths = append(paths, shareddata.Path(t, dir))
	}
	files, err := ingest.Discover(paths)
	if err != nil {
		t.Fatal(err)
	}
	m := ingest.NewMerge(files, ingest.Options{})
	defer m.Close()
	pool := event.NewSequencePool(1, 512)
	for {
		s := <-pool
		err := m.Fill(context.Background(), s)
		for _, ev := range s.Events {
			f(ev)
		}
		s.Share(1)
		s.Release()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// schema reads the published schema.
func schema(t testing.TB) map[string]ecsField {
	t.Helper()
	b, err := os.ReadFile(shareddata.Path(t, "ecs/ecs_flat-8.17.0.json"))
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]ecsField{}
	if err := json.Unmarshal(b, &fields); err != nil {
		t.Fatal(err)
	}
	return fields
}

// leaves calls f for each value that is no object, and for lists of values; of lists
// of objects, for what is in the objects.
func leaves(prefix string, doc map[string]any, f func(name string, v any)) {
	for k, v := range doc {
		name := strings.TrimPrefix(prefix+"."+k, ".")
		switch v := v.(type) {
		case map[string]any:
			leaves(name, v, f)
		case []any:
			if _, objects := v[0].(map[string]any); !objects {
				f(name, v)
				continue
			}
			for _, e := range v {
				leaves(name, e.(map[string]any), f)
			}
		default:
			f(name, v)
		}
	}
}

// known are our own fields, by name.
func knownFields(fs []DocumentField) map[string]FieldType {
	m := map[string]FieldType{}
	for _, f := range fs {
		m[f.Name] = f.Type
	}
	return m
}

// faults returns what is wrong with a document: with what the schema says of its
// fields, and with what the list of fields says.
func faults(b []byte, ecs map[string]ecsField, ours map[string]FieldType) (list []string) {
	var doc map[string]any
	if err := json.Unmarshal(b, &doc); err != nil {
		return []string{err.Error()}
	}
	leaves("", doc, func(name string, v any) {
		if _, ok := ours[name]; !ok {
			list = append(list, name+" is not among the fields")
		}
		if strings.HasPrefix(name, "tidewatch.") {
			return
		}
		field, ok := ecs[name]
		if !ok {
			list = append(list, name+" is not in the schema")
		} else if err := fits(field, v); err != nil {
			list = append(list, fmt.Sprintf("%s = %v: %v", name, v, err))
		}
	})
	e, _ := doc["event"].(map[string]any)
	for _, typ := range strs(e["type"]) {
		expected := false
		for _, a := range ecs["event.category"].AllowedValues {
			expected = expected || slices.Contains(strs(e["category"]), a.Name) && slices.Contains(a.Expected, typ)
		}
		if !expected {
			list = append(list, fmt.Sprintf("event.type %s is expected of none of %v", typ, e["category"]))
		}
	}
	return list
}

func strs(v any) (list []string) {
	vs, _ := v.([]any)
	for _, v := range vs {
		s, _ := v.(string)
		list = append(list, s)
	}
	return list
}

// Every document of every record in shared/data is ECS. Of records of one shape, the
// first 40 are looked at, and every 100th after them.
func TestRecordsAreECS(t *testing.T) {
	ecs, ours := schema(t), knownFields(RecordFields)
	type shape struct {
		kind   event.Kind
		sensor event.Sensor
		set    event.Columns
	}
	seen := map[shape]int{}
	said := map[string]bool{}
	var e Encoder
	var b []byte
	all, checked := 0, 0
	var kinds [event.NumKinds]bool
	eachRecord(t, func(ev *event.Event) {
		all++
		kinds[ev.Kind] = true
		s := shape{ev.Kind, ev.Sensor, ev.Set}
		seen[s]++
		if seen[s] > 40 && seen[s]%100 != 0 {
			return
		}
		checked++
		b = e.Record(b[:0], ev, ev.Time)
		for _, f := range faults(b, ecs, ours) {
			name, _, _ := strings.Cut(f, " ")
			if key := ev.Kind.String() + name; !said[key] {
				said[key] = true
				t.Errorf("%s %s: %s\n%s\n%s", ev.Sensor, ev.Kind, f, ev.Raw, b)
			}
		}
	})
	t.Logf("%d records of %d shapes, %d documents checked", all, len(seen), checked)
	if all < 100_000 {
		t.Errorf("only %d records", all)
	}
	for _, k := range []event.Kind{event.KindConn, event.KindDNS, event.KindTLS, event.KindHTTP, event.KindFile, event.KindX509, event.KindSSH, event.KindAnomaly, event.KindNotice} {
		if !kinds[k] {
			t.Errorf("no record is of kind %s", k)
		}
	}
}

// The lists of fields themselves agree with the schema, in names and families.
func TestFieldLists(t *testing.T) {
	ecs := schema(t)
	family := map[string]FieldType{
		"keyword": Keyword, "wildcard": Keyword, "constant_keyword": Keyword, "match_only_text": Text, "text": Text,
		"long": Long, "float": Double, "scaled_float": Double, "date": Date, "ip": IP, "boolean": Boolean, "geo_point": Point,
	}
	for _, list := range [][]DocumentField{FindingFields, RecordFields} {
		names := map[string]bool{}
		for _, f := range list {
			if names[f.Name] || f.Says == "" {
				t.Errorf("%s is there twice, or says nothing", f.Name)
			}
			names[f.Name] = true
			if strings.HasPrefix(f.Name, "tidewatch") {
				continue
			}
			if got, ok := family[ecs[f.Name].Type]; !ok || got != f.Type {
				t.Errorf("%s is %s, in the schema %q", f.Name, f.Type, ecs[f.Name].Type)
			}
		}
	}
	f := finding()
	b := AppendDocument(nil, &f, f.Time)
	for _, fault := range faults(b, ecs, knownFields(FindingFields)) {
		if !strings.HasPrefix(fault, "tidewatch.scan.") { // an open object
			t.Error(fault)
		}
	}
}

// Each column that a record may have changes its document, alone: nothing that was
// read is left out. The exceptions say the same as others.
func TestRecordIsComplete(t *testing.T) {
	except := map[event.Column]string{
		event.ColProto: "without a number there is no protocol", event.ColOrigAddr: "the address itself", event.ColRespAddr: "the address itself",
		event.ConnDuration: "Event.End", event.DNSResponse: "of Suricata: see dns.type", event.SMBUser: "where there is no app.user",
	}
	var e Encoder
	both := full()
	both.SMB.User = "another"
	if got := string(e.Record(nil, both, 0)); strings.Contains(got, "another") {
		t.Error(got)
	}
	if both.App.User = ""; !strings.Contains(string(e.Record(nil, both, 0)), `"user":{"name":"another","domain":`) {
		t.Error("who set up the session of SMB leaves no trace in the document")
	}
	full := func() *event.Event { ev := full(); ev.SMB.User = ""; return ev }
	want := string(e.Record(nil, full(), 0))
	for _, f := range faults([]byte(want), schema(t), knownFields(RecordFields)) {
		t.Error(f)
	}
	for _, part := range []string{`"location":"-1.5000,2.0000"`, `"network":{"name":"dmz"}`, `"role":"server"`, `"provider":"p"`, `"atomic":"v"`, `"as":{"number":3`} {
		if !strings.Contains(want, part) {
			t.Errorf("%s is not in the document", part)
		}
	}
	for c := range event.Column(event.NumColumns) {
		ev := full()
		clearColumn(ev, c)
		if got := string(e.Record(nil, ev, 0)); got == want && except[c] == "" {
			t.Errorf("%s leaves no trace in the document", c)
		}
	}
}

// full returns a record with every column of every kind.
func full() *event.Event {
	ev := &event.Event{Kind: event.KindAlert, Sensor: event.SensorZeek, Proto: event.ProtoTCP, Time: 1, End: 3, Written: 5, UID: "u", CommunityID: "1:x", VLAN: 7, InnerVLAN: 8, TxID: 9}
	for c := range event.Column(event.NumColumns) {
		ev.Set.Add(c)
	}
	b := event.NewBatch(nil, 1, 100)
	b.Conn(ev)
	b.DNS(ev)
	b.TLS(ev)
	b.HTTP(ev)
	b.File(ev)
	b.X509(ev)
	b.SSH(ev)
	b.RDP(ev)
	b.SMB(ev)
	b.DHCP(ev)
	b.Notice(ev)
	b.Software(ev)
	b.Kerberos(ev)
	b.App(ev)
	v := reflect.ValueOf(ev).Elem()
	for i := range v.NumField() {
		if p := v.Field(i); p.Kind() == reflect.Pointer && p.Elem().Kind() == reflect.Struct && !p.IsNil() {
			fill(p.Elem())
		}
	}
	ev.Orig, ev.Resp = event.Host{Addr: finding().Source.Addr, Port: 1}, event.Host{Addr: finding().Destination.Addr, Port: 2}
	about := event.About{
		Network: "dmz", Asset: &event.Asset{Name: "n", Owner: "o", Role: event.RoleServer, Criticality: event.CriticalityHigh}, Service: &event.Service{Provider: "p", Name: "n", Region: "r"},
		Geo: &event.Geo{Continent: "EU", Country: "NL", CountryName: "n", Region: "r", City: "c", Located: true, Latitude: -1.5, Longitude: 2, ASN: 3, Organization: "o"},
	}
	ev.Orig.About, ev.Resp.About = &about, &about
	ev.Threat = &event.Indicator{Type: "url", Value: "v", Field: "f", Provider: "p", Description: "d", TLP: "RED", Confidence: 5, FirstSeen: 1e18}
	ev.TLS.Version = "TLSv12"
	ev.TLS.Fingerprint = strings.Repeat("ab", 20)
	ev.DNS.Answers, ev.DNS.TTLs = []string{"192.0.2.1"}, []uint32{5}
	return ev
}

// fill gives each field of a struct a value that is not zero.
func fill(v reflect.Value) {
	for i := range v.NumField() {
		switch f, name := v.Field(i), v.Type().Field(i).Name; {
		case f.Kind() == reflect.String:
			f.SetString(name)
		case f.Kind() == reflect.Bool:
			f.SetBool(true)
		case f.CanUint():
			f.SetUint(uint64(7 + i))
		case f.CanInt():
			f.SetInt(1e9)
		case f.Type() == reflect.TypeOf([]string(nil)):
			f.Set(reflect.ValueOf([]string{name}))
		case f.Type() == reflect.TypeOf(finding().Source.Addr):
			f.Set(reflect.ValueOf(finding().Source.Addr))
		}
	}
}

// clearColumn unsets a column, as a parser that did not find it leaves it.
func clearColumn(ev *event.Event, c event.Column) {
	ev.Set.Remove(c)
	group, member, ok := strings.Cut(c.String(), ".")
	if !ok {
		switch c {
		case event.ColUID:
			ev.UID = ""
		case event.ColCommunityID:
			ev.CommunityID = "1:y"
		}
		return
	}
	same := func(want string) func(string) bool {
		want = strings.ReplaceAll(want, "_", "")
		return func(name string) bool { return strings.EqualFold(name, want) }
	}
	g := reflect.ValueOf(ev).Elem().FieldByNameFunc(same(group))
	if !g.IsValid() || g.Kind() != reflect.Pointer {
		return // orig.addr and the like
	}
	if f := g.Elem().FieldByNameFunc(same(member)); f.IsValid() {
		f.SetZero()
	}
}
