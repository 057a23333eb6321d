package outputs

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"

	"tidewatch/event"
)

// maxAttack bounds the ATT&CK ids of one alert.
const maxAttack = 16

var (
	tacticID    = regexp.MustCompile(`^TA\d{4}$`)
	techniqueID = regexp.MustCompile(`^(T\d{4})(\.\d{3})?$`)
	mitreKey    = []byte(`"mitre_`)
)

// attackOf writes, into threat, the ATT&CK ids that stand in the metadata of an alert's signature, by
// what they are and not by the key that they stand under: a technique under mitre_attack
// is no tactic. The columns of a record do not have them, so that the record itself is
// read once more, if it has any.
func (w *object) attackOf(ev *event.Event) {
	if ev.Kind != event.KindAlert || !bytes.Contains(ev.Raw, mitreKey) {
		return
	}
	var record struct {
		Alert struct{ Metadata map[string][]string }
	}
	var other *json.UnmarshalTypeError // a value that is no list of texts is left out
	if err := json.Unmarshal(ev.Raw, &record); err != nil && !errors.As(err, &other) {
		return
	}
	var tactics, techniques, subs names
	is := func(key, name string) {
		named := record.Alert.Metadata[name]
		ids := record.Alert.Metadata[key]
		for i, id := range ids[:min(len(ids), maxAttack)] {
			id, text := strings.ToUpper(id), ""
			if i < len(named) && len(named) == len(ids) {
				text = strings.ReplaceAll(named[i], "_", " ")
			}
			m := techniqueID.FindStringSubmatch(id)
			switch {
			case tacticID.MatchString(id):
				tactics.add(id, text, "https://attack.mitre.org/tactics/"+id+"/")
			case m != nil && m[2] != "":
				techniques.add(m[1], "", "https://attack.mitre.org/techniques/"+m[1]+"/")
				subs.add(id, text, "https://attack.mitre.org/techniques/"+strings.ReplaceAll(id, ".", "/")+"/")
			case m != nil:
				techniques.add(id, text, "https://attack.mitre.org/techniques/"+id+"/")
			}
		}
	}
	is("mitre_tactic_id", "mitre_tactic_name")
	is("mitre_technique_id", "mitre_technique_name")
	is("mitre_attack", "")
	if len(tactics.id)+len(techniques.id) == 0 {
		return
	}
	w.text("framework", "MITRE ATT&CK")
	w.open("tactic").names(tactics.named()).close()
	w.open("technique").names(techniques.named())
	w.open("subtechnique").names(subs.named()).close()
	w.close()
}

// named leaves the names out unless each has one: the lists are parallel.
func (n *names) named() *names {
	if slices.Contains(n.name, "") {
		n.name = nil
	}
	return n
}
