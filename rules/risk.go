package rules

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"tidewatch/behavior/state"
	"tidewatch/event"
)

const (
	riskMemory = 'r'
	// riskParts bounds how many rules count for one host.
	riskParts = 16
	// riskFloor is what a host's risk must be above to be remembered.
	riskFloor = 1
	// defaultHalfLife is the time in which a finding comes to count for half.
	defaultHalfLife = 24 * time.Hour
)

// hostRisk is what was found on one host: of each rule the last finding counts.
type hostRisk struct {
	addr  netip.Addr
	parts []riskPart // the latest last
}

// riskPart is what one rule found.
type riskPart struct {
	rule  string
	risk  float64
	time  int64  // of the last finding
	first int64  // of the first one
	n     uint32 // findings
}

// Correlate adds a finding to the risk of the own host that it is about, and appends
// what the rules for risk make of it. It is called with the findings that were
// admitted, in their one order. Those of high severity need no others to be looked at,
// and do not count.
func (s *Suppression) Correlate(f *event.Finding, dst []event.Finding) []event.Finding {
	if s.set == nil || !s.set.judgesRisk || f.Detector == "risk" || f.Severity() >= event.SeverityHigh {
		return dst
	}
	host := f.Source
	if host.Scope != event.ScopeLocal {
		host = f.Destination
	}
	if host.Scope != event.ScopeLocal || !host.Addr.IsValid() {
		return dst
	}
	entity := host.Addr
	if host.Entity.IsValid() { // it has moved, and is the same
		entity = host.Entity
	}
	key := keyOf(riskMemory, entity.String())
	h := s.risks[key]
	if h == nil {
		h = &hostRisk{addr: host.Addr}
		s.risks[key] = h
	}
	h.addr = host.Addr
	h.add(f)
	s.changed[key] = struct{}{}
	if len(s.risks) > s.size {
		forget(s, s.risks, f.Time, func(h *hostRisk) int64 { return h.parts[len(h.parts)-1].time + 8*int64(s.set.halfLife) })
	}
	o := s.riskOf(h, f)
	o.Source.About = host.About
	for _, found := range s.set.Judge(&o, nil) {
		if s.Admit(&found) {
			dst = append(dst, found)
		}
	}
	return dst
}

// add counts a finding.
func (h *hostRisk) add(f *event.Finding) {
	p := riskPart{rule: f.Rule.ID, first: f.Time}
	if i := slices.IndexFunc(h.parts, func(p riskPart) bool { return p.rule == f.Rule.ID }); i >= 0 {
		p = h.parts[i]
		h.parts = slices.Delete(h.parts, i, i+1)
	}
	p.risk, p.time, p.n = f.Risk, max(p.time, f.Time), p.n+1
	h.parts = append(h.parts, p)
	if len(h.parts) > riskParts {
		h.parts = slices.Delete(h.parts, 0, 1)
	}
}

// at is what a part counts for at a time: half for each half-life since.
func (p *riskPart) at(now int64, halfLife time.Duration) float64 {
	return p.risk * math.Exp2(-max(float64(now-p.time), 0)/float64(halfLife))
}

// riskOf makes the case against a host.
func (s *Suppression) riskOf(h *hostRisk, f *event.Finding) event.Observation {
	total, n, first := 0.0, uint32(0), f.Time
	var ids, names []string
	tactics := map[string]bool{}
	o := event.Observation{
		Detector: "risk", Time: f.Time, End: f.Time, Sensors: f.Sensors,
		Subject: event.Subject{Type: "host", Value: h.addr.String()}, Source: event.Endpoint{Addr: h.addr, Scope: event.ScopeLocal},
		Related: []netip.Addr{h.addr},
	}
	for _, p := range slices.Backward(h.parts) {
		counts := p.at(f.Time, s.set.halfLife)
		if counts < riskFloor {
			continue
		}
		total, n, first = total+counts, n+p.n, min(first, p.first)
		name := p.rule
		if r := s.rules[p.rule]; r != nil {
			name = r.info.Name
			for _, a := range r.info.Attack {
				for _, t := range a.Tactics {
					tactics[t.ID] = true
				}
			}
		}
		ids, names = append(ids, p.rule), append(names, name)
		o.Evidence = append(o.Evidence, event.Evidence{
			Feature: "risk." + p.rule, Observed: math.Round(counts), Expected: 0, Weight: math.Round(counts) / 25,
			Text: fmt.Sprintf("%s: %d findings, the last %s ago", name, p.n, age(f.Time-p.time)),
		})
	}
	slices.SortStableFunc(o.Evidence, func(a, b event.Evidence) int { return cmp.Compare(b.Weight, a.Weight) })
	o.Start, o.Score, o.Risk = first, math.Round(1000*(1-math.Exp(-total/100)))/1000, min(math.Round(total), 100)
	o.Episode = fmt.Sprintf("risk-%s-%d", h.addr, f.Time)
	o.Reason = fmt.Sprintf("%s: risk %.0f from %d findings of %d rules: %s", h.addr, total, n, len(ids), strings.Join(names[:min(len(names), 4)], "; "))
	o.Baseline = event.Baseline{Since: first, Observations: uint64(n), Text: "a host without findings has none; each counts for half after " + brief(s.set.halfLife)}
	o.Features = []event.Feature{
		event.Number("score", math.Round(total)), event.Number("findings", float64(n)), event.Number("rules", float64(len(ids))),
		event.Number("tactics", float64(len(tactics))), event.List("rule_ids", ids),
	}
	return o
}

// age writes a time that has passed.
func age(ns int64) string {
	return brief(time.Duration(max(ns, 0)).Round(time.Minute))
}

// bytes serialises a host's risk.
func (h *hostRisk) bytes() []byte {
	w := state.Writer{B: []byte{recordVersion}}
	w.Addr(h.addr)
	w.U8(byte(len(h.parts)))
	for _, p := range h.parts {
		w.Text(p.rule)
		w.F64(p.risk)
		w.I64(p.time)
		w.I64(p.first)
		w.U32(p.n)
	}
	return w.B
}

// isRisk reports whether a record is of a host's risk.
func isRisk(r state.Record) bool { return len(r.Key) == len(memoryKey{}) && r.Key[0] == riskMemory }

// mergeRisk returns what two sensors found on one host: of each rule the later finding.
func mergeRisk(a, b state.Record) (state.Record, error) {
	if len(a.Value) == 0 || len(b.Value) == 0 {
		return state.Record{Key: a.Key, Value: append(slices.Clone(a.Value), b.Value...)}, nil
	}
	h, err := readRisk(a.Value)
	o, err2 := readRisk(b.Value)
	if err := cmp.Or(err, err2); err != nil {
		return state.Record{}, err
	}
	for _, p := range o.parts {
		i := slices.IndexFunc(h.parts, func(q riskPart) bool { return q.rule == p.rule })
		switch {
		case i < 0:
			h.parts = append(h.parts, p)
		case p.time > h.parts[i].time:
			h.parts[i] = p
		}
	}
	slices.SortFunc(h.parts, func(a, b riskPart) int { return cmp.Or(cmp.Compare(a.time, b.time), strings.Compare(a.rule, b.rule)) })
	h.parts = h.parts[max(0, len(h.parts)-riskParts):]
	return state.Record{Key: a.Key, Value: h.bytes()}, nil
}

// restoreRisk takes back what Cut returned of a host's risk.
func (s *Suppression) restoreRisk(r state.Record) error {
	k := memoryKey(r.Key)
	if len(r.Value) == 0 {
		delete(s.risks, k)
		return nil
	}
	h, err := readRisk(r.Value)
	if err == nil {
		s.risks[k] = h
	}
	return err
}

func readRisk(b []byte) (*hostRisk, error) {
	r := &state.Reader{B: b}
	r.Version(recordVersion)
	h := &hostRisk{addr: r.Addr()}
	for range r.Length(riskParts) {
		h.parts = append(h.parts, riskPart{rule: r.Text(), risk: r.F64(), time: r.I64(), first: r.I64(), n: r.U32()})
	}
	r.End()
	if r.Err == nil && len(h.parts) == 0 {
		r.Err = state.ErrRecord
	}
	return h, r.Err
}

// readRiskSettings reads [rule.X.risk].
func (l *loader) readRiskSettings(r *reader) {
	l.set.judgesRisk = true
	t := r.table("risk")
	if t == nil {
		return
	}
	t.duration("half_life", func(at value, d time.Duration) {
		if d < time.Hour || d > 30*24*time.Hour {
			t.report(at, fmt.Sprintf("half_life = %q", at.any), "a duration from 1h to 30d")
			return
		}
		l.set.halfLife = d
	})
	t.done()
}
