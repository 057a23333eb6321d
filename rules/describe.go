package rules

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"tidewatch/event"
	"tidewatch/internal/strict"
	"tidewatch/rules/condition"
)

// Description is what a set says of one rule.
type Description struct {
	*event.RuleInfo
	Detector string
	Enabled  bool
	Origin   string // the file that wrote it last
	// Needs are the fields that its conditions name.
	Needs []string
}

// Descriptions returns all rules, those that are disabled among them, by id.
func (s *Set) Descriptions() []Description {
	all := slices.Clone(s.disabled)
	for _, r := range s.rules {
		all = append(all, Description{RuleInfo: r.info, Detector: r.detector, Enabled: true, Origin: r.origin, Needs: r.needs()})
	}
	slices.SortFunc(all, func(a, b Description) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// needs returns the fields that a rule's conditions name.
func (r *rule) needs() []string {
	all := map[string]bool{}
	for _, t := range r.when.Terms() {
		for _, f := range t.Fields {
			all[f] = true
		}
	}
	for i := range r.onRecords {
		for _, t := range r.onRecords[i].Terms() {
			for _, f := range t.Fields {
				all[f] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// Explanation collects how near records or observations come to a rule. It is used by
// one goroutine.
type Explanation struct {
	rule     *rule
	Seen     int // records or observations that could be judged
	Held     int // of those, by which the condition held
	Excepted int // of those, that an exception took out
	misses   []Miss
}

// Miss is what a rule did not hold for, by little.
type Miss struct {
	Time   int64
	Who    string // whose it was
	Failed []Gap
}

// Gap is one term that did not hold.
type Gap struct {
	Term     string
	Observed float64
	Limit    float64
	Numeric  bool // Observed and Limit are known
}

// maxMisses bounds the misses of an Explanation.
const maxMisses = 5

// Explain returns an Explanation of a rule, or an error that names the nearest id.
func (s *Set) Explain(id string) (*Explanation, error) {
	var ids []string
	for _, r := range s.rules {
		if r.info.ID == id {
			return &Explanation{rule: r}, nil
		}
		ids = append(ids, r.info.ID)
	}
	return nil, fmt.Errorf("no enabled rule is called %q%s", id, strict.Nearest(id, ids))
}

// Misses returns the nearest misses, the nearest first.
func (e *Explanation) Misses() []Miss { return e.misses }

// Records reports whether the rule looks at records; otherwise it judges observations.
func (e *Explanation) Records() bool { return len(e.rule.onRecords) > 0 }

// Record looks at a record.
func (e *Explanation) Record(ev *event.Event) {
	for i := range e.rule.onRecords {
		if e.rule.kinds[i].has(ev.Kind) {
			consider(e, &e.rule.onRecords[i], ev, ev.Time, func() string { return fmt.Sprintf("%s > %s %s", ev.Orig.Addr, ev.Resp.Addr, ev.Kind) })
		}
	}
}

// Observation looks at what a detector says.
func (e *Explanation) Observation(o *event.Observation) {
	if o.Detector == e.rule.detector && o.RuleID == "" {
		if consider(e, &e.rule.when, o, o.Time, func() string { return o.Reason }) && e.rule.excepted(o) {
			e.Excepted++
		}
	}
}

// consider notes how near a value comes to a condition, and reports whether it holds.
func consider[T any](e *Explanation, c *condition.Condition[T], v *T, at int64, who func() string) bool {
	e.Seen++
	var failed []Gap
	terms := c.Terms()
	for i := range terms {
		t := &terms[i]
		if t.Holds(v) {
			continue
		}
		g := Gap{Term: t.Source}
		if t.Operator != "" {
			g.Numeric, g.Observed, g.Limit = true, t.Observed(v), t.Limit
		}
		failed = append(failed, g)
	}
	if len(failed) == 0 {
		e.Held++
		return true
	}
	if len(failed) == len(terms) && len(terms) > 1 {
		return false // nothing of it held
	}
	m := Miss{Time: at, Failed: failed}
	if len(e.misses) == maxMisses && !m.nearer(&e.misses[maxMisses-1]) {
		return false
	}
	m.Who = who()
	e.misses = append(e.misses, m)
	slices.SortStableFunc(e.misses, func(a, b Miss) int {
		return cmp.Or(cmp.Compare(len(a.Failed), len(b.Failed)), cmp.Compare(a.far(), b.far()), cmp.Compare(a.Time, b.Time))
	})
	e.misses = e.misses[:min(len(e.misses), maxMisses)]
	return false
}

func (m *Miss) nearer(o *Miss) bool {
	return len(m.Failed) < len(o.Failed) || len(m.Failed) == len(o.Failed) && m.far() < o.far()
}

// far says how far a miss is off: by its worst number, as a share of the limit.
func (m *Miss) far() float64 {
	worst := 0.0
	for _, g := range m.Failed {
		d := 1.0
		if g.Numeric {
			d = math.Abs(g.Observed-g.Limit) / max(math.Abs(g.Limit), 1)
		}
		worst = max(worst, d)
	}
	return worst
}
