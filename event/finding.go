package event

import "net/netip"

// Severity is one of the four numbers that Elastic's prebuilt rules know.
type Severity uint8

const (
	SeverityLow      Severity = 21
	SeverityMedium   Severity = 47
	SeverityHigh     Severity = 73
	SeverityCritical Severity = 99
)

// String returns "low", "medium", "high" or "critical".
func (s Severity) String() string {
	switch {
	case s >= SeverityCritical:
		return "critical"
	case s >= SeverityHigh:
		return "high"
	case s >= SeverityMedium:
		return "medium"
	}
	return "low"
}

// ParseSeverity is the inverse of Severity.String.
func ParseSeverity(s string) (Severity, bool) {
	for _, v := range []Severity{SeverityLow, SeverityMedium, SeverityHigh, SeverityCritical} {
		if v.String() == s {
			return v, true
		}
	}
	return 0, false
}

// Observation is what a detector saw about one entity: the case for a finding,
// before a rule has judged it. It owns its memory, and nobody writes to it
// after the detector has handed it over.
type Observation struct {
	Detector string // "scan", "beacon", ...
	// RuleID is the rule that the observation is for, and that has judged it already;
	// "" if each rule of the detector is to judge it.
	RuleID string
	// Episode identifies what goes on (one scan by one source): the same for
	// each report on it, the same after a replay. Revision counts the reports
	// from 0; Open says that it still goes on.
	Episode  string
	Revision int
	Open     bool

	Time       int64 // Unix nanoseconds of the record that completed the evidence
	Start, End int64 // span of the evidence

	Subject     Subject
	Source      Endpoint
	Destination Endpoint // zero if there are many
	Proto       Proto
	Application string // network.protocol; "" if unknown
	Direction   string // "inbound", "outbound", "internal", "external" or ""
	CommunityID string
	VLAN        uint16
	Query       string // DNS name, if the case is about one
	Sensors     []string

	Score    float64 // 0 to 1, before context
	Risk     float64 // 0 to 100
	Reason   string  // one sentence with the numbers in it; it may contain input, outputs escape it
	Evidence []Evidence
	Baseline Baseline
	Sample   []Sample
	Related  []netip.Addr
	Hosts    []string
	// Features are the detector's own numbers: rules name them
	// "<detector>.<key>", documents carry them as tidewatch.<detector>.<key>.
	Features []Feature
	// Record holds those fields of a record that the rule names, by their ECS names.
	Record []Field

	// Indicators are those values of the case that threat intelligence lists.
	Indicators []Indicator

	// Raise is by how many steps the severity of findings is above that of their rule,
	// and AtMost what it is at most (0: no bound), for reasons that the evidence tells.
	Raise  int8
	AtMost Severity
}

// Subject is the entity whose behaviour an observation is about.
type Subject struct {
	Type  string // "host", "pair", "destination"
	Value string
}

// Endpoint is one side of what was observed, as far as it is known.
type Endpoint struct {
	Addr    netip.Addr
	Port    uint16
	HasPort bool
	Domain  string
	Scope   Scope
	Bytes   uint64
	Packets uint64
	About   *About // nil if nothing is known
	// Entity is the address under which the host is known, if it has moved since; else
	// it is not valid.
	Entity netip.Addr
}

// Evidence is one thing that speaks for the case, or against it.
type Evidence struct {
	Feature  string  // name of what was measured
	Observed float64 // what was seen
	Expected float64 // what is normal
	Unit     string  // of both, such as "hosts", "1/s"; "" for pure numbers
	Weight   float64 // how much it counted: > 0 for, < 0 against
	Text     string  // one clause that a person reads
}

// Baseline says what an expectation rests on.
type Baseline struct {
	Since        int64 // Unix nanoseconds of the first observation; 0 if the expectation needs no history
	Observations uint64
	Text         string
}

// Sample is one record that made the case.
type Sample struct {
	UID        string
	Time       int64 // Unix nanoseconds
	Duration   int64 // nanoseconds
	Orig, Resp netip.AddrPort
	OrigBytes  uint64
	RespBytes  uint64
	State      string // how it ended, in the sensor's words
	// Session is what other records said of the connection; nil if that is nothing.
	Session *Session
}

// Feature is one number, text, truth or list of a detector. Exactly one of the
// values is meant, as Type says.
type Feature struct {
	Key  string
	Type FeatureType
	Num  float64
	Text string
	List []string
}

// FeatureType says which value a Feature has.
type FeatureType uint8

const (
	FeatureNumber FeatureType = iota
	FeatureText
	FeatureBool // Num is 0 or 1
	FeatureList
)

// Number returns a numeric feature.
func Number(key string, v float64) Feature { return Feature{Key: key, Num: v} }

// Text returns a textual feature.
func Text(key, v string) Feature { return Feature{Key: key, Type: FeatureText, Text: v} }

// Bool returns a feature that is true or false.
func Bool(key string, v bool) Feature {
	f := Feature{Key: key, Type: FeatureBool}
	if v {
		f.Num = 1
	}
	return f
}

// List returns a feature with several texts.
func List(key string, v []string) Feature { return Feature{Key: key, Type: FeatureList, List: v} }

// Technique is one ATT&CK technique with the tactics it serves.
type Technique struct {
	ID, Name       string // "T1046"; of the parent for a sub-technique
	SubID, SubName string // "T1595.001"; "" if the technique itself is meant
	Tactics        []Tactic
}

// Tactic is one ATT&CK tactic.
type Tactic struct{ ID, Name string }

// RuleInfo is what a finding says of the rule that made it. Findings share it:
// it is not changed after the rules are loaded.
type RuleInfo struct {
	ID, Name, Description string
	Severity              Severity
	Category              string
	Version               string
	Ruleset               string
	References            []string
	FalsePositives        []string
	Investigate           string
	Tags                  []string
	Attack                []Technique
}

// Finding is an observation that a rule found worth saying. It owns its memory
// and may outlive the batch that caused it.
type Finding struct {
	ID string // same evidence, same ID, [A-Za-z0-9_-] only: outputs use it to write once
	Observation
	Rule        *RuleInfo
	Investigate string // the rule's advice with its {{fields}} filled in
	Suppressed  uint32 // reports under the same key of the rule that were held back since the last one that was said
}

// OwnEnd returns the end that the finding is about: the originator, but for an own
// host that somebody outside deals with.
func (f *Finding) OwnEnd() *Endpoint {
	if f.Source.Scope != ScopeLocal && f.Destination.Scope == ScopeLocal {
		return &f.Destination
	}
	return &f.Source
}

// Severity is the rule's, as far as what is known of the ends does not change it.
func (f *Finding) Severity() Severity {
	s := f.Rule.Severity
	for range f.Raise {
		s = s.above()
	}
	if f.AtMost != 0 {
		s = min(s, f.AtMost)
	}
	return s
}

// above returns the next severity, or the highest.
func (s Severity) above() Severity {
	switch {
	case s < SeverityMedium:
		return SeverityMedium
	case s < SeverityHigh:
		return SeverityHigh
	}
	return SeverityCritical
}

// SampleOf copies what a finding shows of a record.
func SampleOf(ev *Event) Sample {
	s := Sample{
		UID: Clone(ev.UID), Time: ev.Time, Duration: ev.End - ev.Time,
		Orig: netip.AddrPortFrom(ev.SeenOrig(), ev.Orig.Port), Resp: netip.AddrPortFrom(ev.SeenResp(), ev.Resp.Port),
	}
	if c := ev.Conn; c != nil {
		s.OrigBytes, s.RespBytes = max(c.OrigBytes, c.OrigIPBytes), max(c.RespBytes, c.RespIPBytes)
		if s.State = c.State.String(); s.State == "" {
			s.State = Clone(c.FlowState)
		}
	}
	return s
}

// Direction is ECS network.direction as a sensor at the perimeter sees it.
func Direction(from, to Scope) string {
	switch {
	case from == ScopeLocal && to == ScopeLocal:
		return "internal"
	case from == ScopeLocal:
		return "outbound"
	case to == ScopeLocal:
		return "inbound"
	}
	return "external"
}
