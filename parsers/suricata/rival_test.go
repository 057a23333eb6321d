package suricata

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"testing"

	goccy "github.com/goccy/go-json"
	"github.com/google/go-cmp/cmp"

	"tidewatch/event"
	"tidewatch/parsers"
)

// The decoders that BenchmarkEVE measures must do the work that the parser does, and no
// more: on the benchmark's records a value makes a difference to an event exactly if it
// makes one to the struct. Each path of a kind is tried in its first records.
func TestRivalColumns(t *testing.T) {
	const tries = 6
	seen, parsed, decoded := map[string]int{}, map[string]bool{}, map[string]bool{}
	for _, line := range lines(readLog(t, "suricata/eve-7.0.10.json.gz")) {
		var m map[string]any
		d := json.NewDecoder(bytes.NewReader(line))
		d.UseNumber()
		if err := d.Decode(&m); err != nil {
			t.Fatal(err)
		}
		kind := m["event_type"].(string)
		if kindOf([]byte(kind)) == event.KindUnknown {
			continue // the parser looks no further, in 43 records
		}
		asParsed, asDecoded := "", ""
		eachScalar(kind, m, nil, func(path string, v any, set func(any)) {
			if seen[path]++; seen[path] > tries {
				return
			}
			if asParsed == "" {
				asParsed, asDecoded = parsedText(t, m), decodedText(t, m)
			}
			set(another(v))
			parsed[path] = parsed[path] || parsedText(t, m) != asParsed
			decoded[path] = decoded[path] || decodedText(t, m) != asDecoded
			set(v)
		})
	}
	// What the parser reads too, though it changes nothing here: another column says the
	// same, or only two values of it are told apart.
	for _, path := range []string{"dns.dns.aa", "fileinfo.nfs.type", "flow.icmp_code", "ike.ike.role", "krb5.krb5.failed_request", "krb5.krb5.msg_type"} {
		parsed[path] = true
	}
	delete(decoded, "mqtt.mqtt.subscribe.topics[].qos") // in raw text that nobody decodes
	maps.DeleteFunc(parsed, func(_ string, yes bool) bool { return !yes })
	maps.DeleteFunc(decoded, func(_ string, yes bool) bool { return !yes })
	want, got := slices.Sorted(maps.Keys(parsed)), slices.Sorted(maps.Keys(decoded))
	if diff := cmp.Diff(want, got); diff != "" || len(want) < 100 {
		t.Errorf("of %d columns: parser -, decoders +:\n%s", len(want), diff)
	}
}

// eachScalar calls visit for each scalar in v, with a function that replaces it.
func eachScalar(path string, v any, set func(any), visit func(path string, v any, set func(any))) {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			eachScalar(path+"."+k, e, func(x any) { v[k] = x }, visit)
		}
	case []any:
		for i, e := range v {
			eachScalar(path+"[]", e, func(x any) { v[i] = x }, visit)
		}
	default:
		visit(path, v, set)
	}
}

// another returns a scalar of v's type that is not v.
func another(v any) any {
	switch v := v.(type) {
	case bool:
		return !v
	case string:
		return v + "1"
	case json.Number:
		if v == "0" {
			return json.Number("1")
		}
		return v + "1"
	}
	return "1"
}

// parsedText returns all that the parser makes of a record.
func parsedText(t *testing.T, m map[string]any) string {
	t.Helper()
	line := jsonText(t, m)
	b := event.NewBatch(nil, 1, 3*len(line))
	ev, own := b.Add(line)
	if err := New(parsers.Options{}).Parse(b, ev, own); err != nil {
		return err.Error()
	}
	ev.Raw = nil
	return string(jsonText(t, ev))
}

// decodedText returns what a decoder makes of a record.
func decodedText(t *testing.T, m map[string]any) string {
	t.Helper()
	var v eve
	if err := goccy.Unmarshal(jsonText(t, m), &v); err != nil {
		return err.Error()
	}
	return string(jsonText(t, v))
}

func jsonText(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
