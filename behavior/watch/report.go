package watch

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"

	"tidewatch/behavior/phrase"
	"tidewatch/event"
)

// episodeID is the same for the same case of the same rule from the same time on.
func episodeID(s *Spec, key caseKey, start int64) string {
	b := binary.BigEndian.AppendUint64(nil, key.hi)
	b = binary.BigEndian.AppendUint64(b, key.lo)
	b = binary.BigEndian.AppendUint64(b, uint64(start))
	return s.Kind.String() + "-" + base64.RawURLEncoding.EncodeToString(b)
}

// single makes the case of one record.
func single(s *Spec, ev *event.Event) event.Observation {
	o := ofRecord(s, ev)
	b := binary.BigEndian.AppendUint64([]byte(ev.UID), uint64(ev.Time))
	b = binary.BigEndian.AppendUint64(b, ev.TxID)
	b = binary.BigEndian.AppendUint64(b, ev.ConnHash)
	b = append(b, byte(ev.Kind))
	for _, f := range o.Record {
		b = append(append(b, f.Name...), f.Value...)
	}
	o.Episode = episodeID(s, hash(s.Version, b), ev.Time)
	o.Subject = event.Subject{Type: "host", Value: ev.SeenOrig().String()}
	o.Reason = fmt.Sprintf("%s: %s%s", pairText(ev.SeenOrig(), ev.Resp, false), s.Name, recordText(o.Record))
	o.Evidence = []event.Evidence{wanted(s.Text)}
	o.Features = []event.Feature{event.Text("kind", ev.Kind.String())}
	return o
}

// ofRecord fills in what an observation takes from one record.
func ofRecord(s *Spec, ev *event.Event) event.Observation {
	o := event.Observation{
		Detector: s.Kind.String(), RuleID: s.ID, Time: ev.Time, Start: ev.Time, End: max(ev.End, ev.Time),
		Source:      event.Endpoint{Addr: ev.SeenOrig(), Port: ev.Orig.Port, HasPort: ev.Orig.Port != 0, Scope: ev.Orig.Scope},
		Destination: event.Endpoint{Addr: ev.Resp.Addr, Port: ev.Resp.Port, HasPort: ev.Resp.Port != 0, Domain: event.Clone(ev.Far().Name), Scope: ev.Resp.Scope},
		Proto:       ev.Proto, VLAN: ev.VLAN, Direction: event.Direction(ev.Orig.Scope, ev.Resp.Scope),
		CommunityID: event.CommunityID(ev),
		Sensors:     []string{ev.Sensor.String()}, Score: 1, Risk: 50,
		Sample:   []event.Sample{event.SampleOf(ev)},
		Baseline: event.Baseline{Text: "the rule needs no history"},
	}
	if s.Fields != nil {
		o.Record = s.Fields(ev)
	}
	if ev.DNS != nil {
		o.Query = event.Clone(ev.DNS.Query)
	}
	o.Related = related(ev.SeenOrig(), ev.Resp.Addr)
	return o
}

func related(as ...netip.Addr) (valid []netip.Addr) {
	for _, a := range as {
		if a.IsValid() && !slices.Contains(valid, a) {
			valid = append(valid, a)
		}
	}
	return valid
}

// wanted says what the rule asks of each record.
func wanted(condition string) event.Evidence {
	return event.Evidence{Feature: "condition", Observed: 1, Expected: 0, Weight: 1, Text: "the rule asks for " + condition}
}

// pairText names the ends of what was seen.
func pairText(from netip.Addr, to event.Host, several bool) string {
	switch {
	case !from.IsValid():
		return "unknown hosts"
	case several || !to.Addr.IsValid():
		return from.String()
	case to.Port != 0:
		return fmt.Sprintf("%s to %s", from, netip.AddrPortFrom(to.Addr, to.Port))
	}
	return fmt.Sprintf("%s to %s", from, to.Addr)
}

// recordText says what a record's fields are, in brackets.
func recordText(fields []event.Field) string {
	var all []string
	for _, f := range fields {
		if len(all) < 4 && !strings.HasPrefix(f.Name, "record.") && !slices.Contains(saidElsewhere, f.Name) {
			all = append(all, fmt.Sprintf("%s %s", f.Name, phraseValue(f.Value)))
		}
	}
	if len(all) == 0 {
		return ""
	}
	return " (" + strings.Join(all, ", ") + ")"
}

// saidElsewhere are fields that the sentence names anyway.
var saidElsewhere = []string{"source.ip", "destination.ip", "destination.port", "network.direction", "source.local"}

func phraseValue(s string) string {
	if s == "" {
		return "unset"
	}
	return s
}

// ofCase fills in what an observation takes from a case.
func (e *entry) ofCase(s *Spec) event.Observation {
	o := event.Observation{
		Detector: s.Kind.String(), RuleID: s.ID, Start: e.first, End: e.last, VLAN: e.vlan, Score: 1, Risk: 50,
		Record: e.fields, Sample: slices.Clone(e.samples), Baseline: event.Baseline{Text: "the rule needs no history"},
	}
	if !e.severalFrom {
		o.Source = event.Endpoint{Addr: e.from.Addr, Scope: e.from.Scope}
	}
	if !e.severalTo {
		o.Destination = event.Endpoint{Addr: e.to.Addr, Port: e.to.Port, HasPort: e.to.Port != 0, Scope: e.to.Scope}
	}
	o.Direction = event.Direction(e.from.Scope, e.to.Scope)
	o.Related = related(o.Source.Addr, o.Destination.Addr)
	o.Subject = event.Subject{Type: "host", Value: e.from.Addr.String()}
	if len(e.subject) > 0 {
		o.Subject = event.Subject{Type: subjectType(s.By), Value: strings.Join(e.subject, " ")}
	}
	return o
}

// subjectType says what kind of entity a rule's cases are.
func subjectType(by []Key) string {
	switch {
	case len(by) == 1 && by[0].End == Responder:
		return "destination"
	case len(by) == 1 && by[0].End == Originator:
		return "host"
	case len(by) == 2 && by[0].End != NoEnd && by[1].End != NoEnd:
		return "pair"
	}
	return "group"
}

// whose names a case in a sentence.
func (e *entry) whose() string {
	if len(e.subject) > 0 {
		return strings.Join(e.subject, " and ")
	}
	return "all together"
}

// report tells of a threshold or a sequence.
func (d *Detector) report(s *Spec, e *entry, open bool) event.Observation {
	o := e.ofCase(s)
	p := e.episode
	o.Episode, o.Revision, o.Open = p.id, p.revision, open
	o.Start, o.End, o.Time = p.start, p.last, p.last
	if open {
		o.Time = p.detected
	}
	for i, seen := range p.sensors {
		if seen && i > 0 {
			o.Sensors = append(o.Sensors, event.Sensor(i).String())
		}
	}
	took := float64(p.last-p.start) / 1e9
	if s.Kind == Sequence {
		o.Reason = fmt.Sprintf("%s: %d steps within %s", e.whose(), len(s.Steps), phrase.Span(p.last-p.start))
		for i := range s.Steps {
			o.Evidence = append(o.Evidence, event.Evidence{Feature: fmt.Sprintf("step %d", i+1), Observed: 1, Weight: 1, Text: s.Steps[i].Text})
		}
		if s.Unless != nil {
			o.Evidence = append(o.Evidence, event.Evidence{Feature: "unless", Observed: 0, Weight: 1, Text: "there was none of " + s.Unless.Text})
			o.Reason += fmt.Sprintf(", and nothing that would explain it within %s", phrase.Span(int64(s.Within)))
		}
		o.Features = []event.Feature{event.Number("steps", float64(len(s.Steps))), event.Number("duration_seconds", phrase.Round3(took))}
		return o
	}
	what, amount, unit := d.amount(s, p)
	o.Reason = fmt.Sprintf("%s: %s in %s, where %s within %s is enough", e.whose(), what, phrase.Span(p.last-p.start), quantityText(s, s.AtLeast), phrase.Span(int64(s.Within)))
	o.Evidence = []event.Evidence{
		{Feature: "threshold.amount", Observed: phrase.Round2(amount), Expected: s.AtLeast, Unit: unit, Weight: phrase.Round2(1 + math.Log(max(amount, 1)/max(s.AtLeast, 1))), Text: what},
		wanted(s.Text),
	}
	o.Features = []event.Feature{
		event.Number("amount", phrase.Round2(amount)), event.Number("at_least", s.AtLeast),
		event.Number("records", p.amountOfRecords(s)), event.Number("duration_seconds", phrase.Round3(took)),
	}
	return o
}

// amountOfRecords is how many records an episode has, if they are counted.
func (p *episode) amountOfRecords(s *Spec) float64 {
	if s.Sum != nil {
		return 0
	}
	return p.amount
}

// amount says what an episode came to.
func (d *Detector) amount(s *Spec, p *episode) (what string, amount float64, unit string) {
	amount, unit = p.amount, s.SumUnit
	if s.Value != nil {
		amount, unit = math.Round(p.distinct.Count()), ""
	}
	return quantityText(s, amount), amount, unit
}

// quantityText writes an amount of what a rule counts.
func quantityText(s *Spec, v float64) string {
	switch {
	case s.Value != nil:
		return fmt.Sprintf("%.0f different %s", v, s.Value.Name)
	case s.SumUnit == "bytes":
		return fmt.Sprintf("%s of %s", phrase.Bytes(v), s.SumName)
	case s.SumUnit == "seconds":
		return fmt.Sprintf("%s of %s", phrase.Span(int64(v*1e9)), s.SumName)
	case s.Sum != nil:
		return fmt.Sprintf("%.0f of %s", v, s.SumName)
	}
	return fmt.Sprintf("%.0f records", v)
}

// first tells of a value that is new to an entity.
func (d *Detector) first(s *Spec, e *entry, ev *event.Event, value string) event.Observation {
	o := ofRecord(s, ev)
	o.Episode = episodeID(s, hash(e.key.lo, []byte(value)), ev.Time)
	if len(e.subject) > 0 {
		o.Subject = event.Subject{Type: subjectType(s.By), Value: strings.Join(e.subject, " ")}
	}
	n := float64(e.progress.values.n - 1)
	o.Reason = fmt.Sprintf("%s: first %s %s; it has been known for %s and had %.0f other values", e.whose(), s.Value.Name, value, phrase.Span(ev.Time-e.first), n)
	o.Evidence = []event.Evidence{
		{Feature: "first_seen.value", Observed: 1, Weight: phrase.Round2(1 + 2/(1+n)), Text: fmt.Sprintf("%s was never %s before", s.Value.Name, value)},
		{Feature: "first_seen.others", Observed: n, Unit: "values", Weight: -phrase.Round2(math.Log1p(n) / 4), Text: fmt.Sprintf("it had %.0f other values", n)},
	}
	o.Baseline = event.Baseline{Since: e.first, Observations: uint64(n), Text: "what this entity had before, as far as it is remembered: 512 values, 30 days"}
	o.Features = []event.Feature{event.Text("value", value), event.Number("others", n), event.Number("known_seconds", math.Round(float64(ev.Time-e.first)/1e9))}
	return o
}

// rarity tells of a value that few hosts have.
func (d *Detector) rarity(s *Spec, e *entry, ev *event.Event, value string) event.Observation {
	o := ofRecord(s, ev)
	o.Episode = episodeID(s, hash(e.key.lo, ev.SeenOrig().AsSlice()), ev.Time)
	o.Subject = event.Subject{Type: "host", Value: ev.SeenOrig().String()}
	n, hosts := math.Round(e.progress.holders.hosts.Count()), float64(ev.Far().Hosts)
	o.Reason = fmt.Sprintf("%s: %s %s, which %.0f of %.0f hosts have had", pairText(ev.SeenOrig(), ev.Resp, false), s.Value.Name, value, n, hosts)
	o.Evidence = []event.Evidence{{
		Feature: "rarity.hosts", Observed: n, Expected: float64(s.AtMost) + 1, Unit: "hosts", Weight: phrase.Round2(math.Log((hosts + 1) / (n + 1))),
		Text: fmt.Sprintf("%.0f of %.0f hosts have had it", n, hosts),
	}, wanted(s.Text)}
	o.Baseline = event.Baseline{Since: e.first, Text: "all hosts since the value was seen first"}
	o.Features = []event.Feature{event.Text("value", value), event.Number("hosts", n), event.Number("of_hosts", hosts)}
	return o
}

// above tells of a quantity that is above its own past.
func (d *Detector) above(s *Spec, e *entry, ev *event.Event, z float64) event.Observation {
	q := e.progress.quantity
	o := e.ofCase(s)
	o.Episode = episodeID(s, e.key, q.measure*int64(s.Within))
	o.Start, o.End, o.Time = q.measure*int64(s.Within), ev.Time, ev.Time
	o.Sensors = []string{ev.Sensor.String()}
	usual := q.expect(s, ev.Time)
	expected := math.Expm1(usual.Mean)
	what := quantityText(s, q.amount)
	o.Reason = fmt.Sprintf("%s: %s within %s so far, where %s is usual at this time", e.whose(), what, phrase.Span(int64(s.Within)), quantityText(s, expected))
	o.Evidence = []event.Evidence{{
		Feature: "baseline.amount", Observed: phrase.Round2(q.amount), Expected: phrase.Round2(expected), Unit: s.SumUnit, Weight: phrase.Round2(z),
		Text: fmt.Sprintf("%s is %.1f sigma above what is usual", what, z),
	}, wanted(s.Text)}
	o.Baseline = event.Baseline{Since: e.first, Observations: uint64(q.learned), Text: fmt.Sprintf("%d measures of %s", q.learned, phrase.Span(int64(s.Within)))}
	o.Features = []event.Feature{
		event.Number("amount", phrase.Round2(q.amount)), event.Number("usual", phrase.Round2(expected)), event.Number("sigmas", phrase.Round2(z)),
		event.Number("measures", float64(q.learned)),
	}
	return o
}
