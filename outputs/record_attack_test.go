package outputs

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tidewatch/event"
)

// What the metadata of a signature says of ATT&CK, as signatures write it.
func TestAttackOfAlert(t *testing.T) {
	ecs, ours := schema(t), knownFields(RecordFields)
	f := func(metadata, want string) {
		t.Helper()
		ev := &event.Event{Kind: event.KindAlert, Sensor: event.SensorSuricata, Notice: &event.Notice{Name: "s"},
			Raw: []byte(`{"event_type":"alert","alert":{"signature":"s","metadata":` + metadata + `}}`)}
		var e Encoder
		b := e.Record(nil, ev, 0)
		var doc struct{ Threat json.RawMessage }
		if err := json.Unmarshal(b, &doc); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, string(doc.Threat)); d != "" {
			t.Errorf("%s (-want +got)\n%s", metadata, d)
		}
		for _, fault := range faults(b, ecs, ours) {
			if strings.HasPrefix(fault, "threat") {
				t.Error(fault)
			}
		}
	}
	f(`{"mitre_tactic_id":["TA0040"],"mitre_tactic_name":["Impact"],"mitre_technique_id":["T1496"],"mitre_technique_name":["Resource_Hijacking"]}`,
		`{"framework":"MITRE ATT&CK","tactic":{"id":["TA0040"],"name":["Impact"],"reference":["https://attack.mitre.org/tactics/TA0040/"]},`+
			`"technique":{"id":["T1496"],"name":["Resource Hijacking"],"reference":["https://attack.mitre.org/techniques/T1496/"]}}`)
	f(`{"mitre_attack":["t1190"]}`,
		`{"framework":"MITRE ATT&CK","technique":{"id":["T1190"],"reference":["https://attack.mitre.org/techniques/T1190/"]}}`)
	f(`{"mitre_technique_id":["T1071.001"],"mitre_technique_name":["Web_Protocols"]}`,
		`{"framework":"MITRE ATT&CK","technique":{"id":["T1071"],"reference":["https://attack.mitre.org/techniques/T1071/"],`+
			`"subtechnique":{"id":["T1071.001"],"name":["Web Protocols"],"reference":["https://attack.mitre.org/techniques/T1071/001/"]}}}`)
	f(`{"mitre_technique_id":["T1190","nonsense"],"mitre_technique_name":["A"],"created_at":"2010_09_23"}`,
		`{"framework":"MITRE ATT&CK","technique":{"id":["T1190"],"reference":["https://attack.mitre.org/techniques/T1190/"]}}`)
	f(`{"mitre_attack":"T1190"}`, "")
	f(`{"mitre_attack":["T1190/../../x"]}`, "")
	f(`{"mitre_attack":`, "")
	f(`{"affected_product":["Any"]}`, "")
}
