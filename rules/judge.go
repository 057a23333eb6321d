package rules

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"

	"tidewatch/event"
)

// Judge appends a finding for each rule that the observation matches.
func (s *Set) Judge(o *event.Observation, dst []event.Finding) []event.Finding {
	var env map[string]any
	for _, r := range s.rules {
		if r.detector != o.Detector {
			continue
		}
		if env == nil {
			env = values(o)
		}
		if !r.when.matches(env) || r.excepted(env) {
			continue
		}
		dst = append(dst, event.Finding{
			ID: findingID(r.info.ID, o), Observation: *o, Rule: r.info,
			Investigate: fill(r.info.Investigate, o),
		})
	}
	return dst
}

func (r *rule) excepted(env map[string]any) bool {
	for _, e := range r.exceptions {
		if e.matches(env) {
			return true
		}
	}
	return false
}

// findingID is the same for the same report of the same episode by the same rule.
func findingID(rule string, o *event.Observation) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%s\x00%d", rule, o.Detector, o.Episode, o.Revision))
	return base64.RawURLEncoding.EncodeToString(sum[:15])
}

// fill puts an observation's values into the {{fields}} of a text.
func fill(text string, o *event.Observation) string {
	if !strings.Contains(text, "{{") {
		return text
	}
	pairs := []string{}
	for _, f := range suppressFields {
		v := fieldValue(f, o)
		if v == "" {
			v = "(unknown)"
		}
		pairs = append(pairs, "{{"+f+"}}", v)
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// fieldValue returns the text of one of suppressFields.
func fieldValue(field string, o *event.Observation) string {
	side := &o.Source
	if strings.HasPrefix(field, "destination.") {
		side = &o.Destination
	}
	switch _, name, _ := strings.Cut(field, "."); name {
	case "ip":
		if side.Addr.IsValid() {
			return side.Addr.String()
		}
	case "port":
		if side.HasPort {
			return fmt.Sprint(side.Port)
		}
	case "domain":
		return side.Domain
	case "question.name":
		return o.Query
	}
	return ""
}
