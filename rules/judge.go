package rules

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"slices"

	"tidewatch/event"
	"tidewatch/rules/condition"
)

// Judge appends a finding for each rule that the observation matches. The
// findings share the observation's memory. It may be called concurrently, and
// gives the same for the same observation.
func (s *Set) Judge(o *event.Observation, dst []event.Finding) []event.Finding {
	for _, r := range s.rules {
		switch {
		case r.detector != o.Detector, o.RuleID != "" && o.RuleID != r.info.ID:
			continue
		case o.RuleID == "" && (!r.when.Matches(o) || r.excepted(o)):
			continue
		}
		f := event.Finding{ID: findingID(r.info.ID, o), Observation: *o, Rule: r.info, Investigate: fill(r.info.Investigate, o)}
		f.Risk = risk(f.Severity(), o.Risk)
		dst = append(dst, f)
	}
	return dst
}

// excepted reports whether one of the rule's exceptions holds.
func (r *rule) excepted(o *event.Observation) bool {
	return slices.ContainsFunc(r.exceptions, func(e condition.Condition[event.Observation]) bool { return e.Matches(o) })
}

// risk returns the risk score of a finding: the detector's, as far as it does not
// contradict the rule. A severity stands in the middle of three: the score is at
// least the number of the severity below it, and at most that of the one above.
func risk(s event.Severity, observed float64) float64 {
	low, high := 0.0, 100.0
	switch s {
	case event.SeverityLow:
		high = float64(event.SeverityMedium)
	case event.SeverityMedium:
		low, high = float64(event.SeverityLow), float64(event.SeverityHigh)
	case event.SeverityHigh:
		low, high = float64(event.SeverityMedium), float64(event.SeverityCritical)
	case event.SeverityCritical:
		low = float64(event.SeverityHigh)
	}
	if !(observed >= low) { // also what is no number
		return low
	}
	return min(observed, high)
}

// findingID is the same for the same report on the same episode by the same rule.
func findingID(rule string, o *event.Observation) string {
	sum := digest(rule, o.Detector, o.Episode, string(binary.LittleEndian.AppendUint64(nil, uint64(o.Revision))))
	return base64.RawURLEncoding.EncodeToString(sum[:15])
}

// digest hashes texts with their lengths, so that no two lists of texts look alike.
func digest(texts ...string) [sha256.Size]byte {
	var b []byte
	for _, s := range texts {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return sha256.Sum256(b)
}

// fill puts an observation's values into the {{fields}} of a text. The values may
// be input.
func fill(text string, o *event.Observation) string {
	return placeholder.ReplaceAllStringFunc(text, func(s string) string {
		if v := fieldText(o, placeholder.FindStringSubmatch(s)[1]); v != "" {
			return v
		}
		return "(unknown)"
	})
}
