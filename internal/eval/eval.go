package eval

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"tidewatch/event"
)

// Case is one folder of logs with what is true of it and what was found.
type Case struct {
	Name     string
	Truth    Truth
	Findings []event.Finding // the last report of each episode
	// First is the first report of each episode.
	First map[string]event.Finding
	// Witness has seen the records; nil if nobody has.
	Witness *Witness
}

// Report says how good detection was over several cases. Only findings and
// instances of the judged detectors count.
type Report struct {
	groups   map[group]*tally
	judged   map[string]bool
	hostDays float64
	ranked   []judgement // findings of medium or higher that are true or false
	days     []dayTally  // since the data began

	Missed []string // instances that no finding is about
	False  []string // findings of medium or higher that nothing explains
	// Related are findings of medium or higher about what another kind of attack
	// did at the time, or about background: neither right nor wrong.
	Related []string
}

// judgement is a finding with what became of it.
type judgement struct {
	detector string
	severity event.Severity
	risk     float64
	name     string
	right    bool
}

// group is a row of the table.
type group struct{ detector, variant, difficulty string }

type tally struct {
	instances, found int
	medium           int       // found by a finding of medium or higher
	delays           []float64 // seconds from the instance's start to its finding
	records          []float64 // of the instance until then
	contacts         []float64 // as the finding counts them: see contactsAt
}

// dayTally is what became of one day since the data began: of the instances that
// began on it, and of the findings of medium or higher that were first told on it.
type dayTally struct {
	hostDays         float64
	instances, found int
	right, wrong     int
	groups           map[group]outcomes
}

// outcomes are how many instances there were and how many were found.
type outcomes struct{ instances, found int }

// add counts an instance.
func (d *dayTally) add(g group, found bool) {
	if d.groups == nil {
		d.groups = map[group]outcomes{}
	}
	o := d.groups[g]
	d.instances++
	o.instances++
	if found {
		d.found++
		o.found++
	}
	d.groups[g] = o
}

// NewReport returns an empty report that judges the given detectors.
func NewReport(detectors ...string) *Report {
	r := &Report{groups: map[group]*tally{}, judged: map[string]bool{}}
	for _, d := range detectors {
		r.judged[d] = true
	}
	return r
}

// slack is how far a finding's span may lie beside the instance's.
const slack = 10 * time.Minute

// verdict is what is thought of a finding. A higher one wins.
type verdict uint8

const (
	unexplained verdict = iota
	related
	right
)

// Add judges one case.
func (r *Report) Add(c Case) {
	verdicts := make([]verdict, len(c.Findings))
	for i := range c.Findings {
		if f := &c.Findings[i]; f.Source.Addr.IsValid() && names(c.Truth.Background, f.Source.Addr) {
			verdicts[i] = related
		}
	}
	for i := range c.Truth.Instances {
		r.addInstance(c, i, verdicts)
	}
	for i := range c.Findings {
		if f := &c.Findings[i]; r.judged[f.Detector] && f.Severity() >= event.SeverityMedium {
			r.addFinding(c, f, verdicts[i])
		}
	}
	r.addHostDays(c)
}

// addInstance looks for the findings about an instance.
func (r *Report) addInstance(c Case, i int, verdicts []verdict) {
	in := &c.Truth.Instances[i]
	var best *event.Finding
	worst := event.Severity(0)
	for j := range c.Findings {
		f := &c.Findings[j]
		if !in.about(f) {
			continue
		}
		if f.Detector != in.Detector || !in.aims(f) {
			verdicts[j] = max(verdicts[j], related)
			continue
		}
		verdicts[j] = right
		worst = max(worst, f.Severity())
		if first := c.first(f); best == nil || first.Time < best.Time {
			best = first
		}
	}
	if !r.judged[in.Detector] {
		return
	}
	g := group{in.Detector, in.Variant, in.Difficulty}
	if r.groups[g] == nil {
		r.groups[g] = &tally{}
	}
	r.day(c, in.Start.UnixNano()).add(g, best != nil)
	r.groups[g].instances++
	if best == nil {
		r.Missed = append(r.Missed, c.Name+": "+in.ID)
		return
	}
	r.groups[g].add(c, i, best, worst >= event.SeverityMedium)
}

// add counts an instance that was found, by the first report about it.
func (t *tally) add(c Case, i int, first *event.Finding, medium bool) {
	t.found++
	if medium {
		t.medium++
	}
	if in := &c.Truth.Instances[i]; !in.Start.IsZero() {
		t.delays = append(t.delays, max(float64(first.Time-in.Start.UnixNano())/1e9, 0))
	}
	if c.Witness != nil {
		t.records = append(t.records, float64(c.Witness.until(i, first.Time)))
	}
	for _, ft := range first.Features {
		if contactsAt[ft.Key] {
			t.contacts = append(t.contacts, ft.Num)
			break
		}
	}
}

// contactsAt are the features that say after how many of what it counts a detector
// told of something: failed first contacts of scans, sessions of beacons, and
// questions of DNS tunnels.
var contactsAt = map[string]bool{"failed_contacts_at_detection": true, "contacts": true, "queries_at_detection": true}

// day returns the tally of the day since the data began that a time is in; one that
// nobody reads where that is not known.
func (r *Report) day(c Case, at int64) *dayTally {
	if c.Witness == nil || at < c.Witness.first {
		return new(dayTally)
	}
	d := int((at - c.Witness.first) / int64(24*time.Hour))
	if d >= maxDays {
		return new(dayTally)
	}
	for len(r.days) <= d {
		r.days = append(r.days, dayTally{})
	}
	return &r.days[d]
}

// maxDays is how many days the table of days has at most.
const maxDays = 60

// addFinding counts a finding of medium or higher.
func (r *Report) addFinding(c Case, f *event.Finding, v verdict) {
	name := fmt.Sprintf("%s: %s: %s", c.Name, f.Rule.ID, f.Reason)
	benign := f.Source.Addr.IsValid() && names(c.Truth.Benign, f.Source.Addr)
	day := r.day(c, c.first(f).Time)
	switch {
	case v == related:
		r.Related = append(r.Related, name)
		return
	case v == unexplained && c.Truth.Unlabelled && !benign:
		return // nobody knows
	case v == unexplained:
		r.False = append(r.False, name)
		day.wrong++
	default:
		day.right++
	}
	r.ranked = append(r.ranked, judgement{f.Detector, f.Severity(), f.Risk, name, v == right})
}

// first returns the first report on what a finding is about.
func (c Case) first(f *event.Finding) *event.Finding {
	if first, ok := c.First[f.Episode]; ok {
		return &first
	}
	return f
}

// addHostDays spreads the days of harmless hosts over the days of the data.
func (r *Report) addHostDays(c Case) {
	r.hostDays += c.Truth.HostDays
	if c.Witness == nil || c.Witness.last == 0 {
		return
	}
	const day = int64(24 * time.Hour)
	n := min((c.Witness.last-c.Witness.first+day-1)/day, maxDays)
	for d := range max(n, 1) {
		r.day(c, c.Witness.first+d*day).hostDays += c.Truth.HostDays / float64(max(n, 1))
	}
}

// about reports whether a finding is about who did the instance, at the time: its
// source, or for a finding without one, its destination.
func (in *Instance) about(f *event.Finding) bool {
	if !in.Start.IsZero() && f.End < in.Start.Add(-slack).UnixNano() || !in.End.IsZero() && f.Start > in.End.Add(slack).UnixNano() {
		return false
	}
	if f.Source.Addr.IsValid() {
		return names(in.Sources, f.Source.Addr)
	}
	return f.Destination.Addr.IsValid() && names(in.Destinations, f.Destination.Addr)
}

// aims reports whether the destination of a finding, as far as it names one, is
// one of the instance's.
func (in *Instance) aims(f *event.Finding) bool {
	d := &f.Destination
	if d.HasPort && len(in.Ports) > 0 && !slices.Contains(in.Ports, d.Port) {
		return false
	}
	if len(in.Destinations) == 0 || !d.Addr.IsValid() && d.Domain == "" && f.Query == "" {
		return true
	}
	return d.Addr.IsValid() && names(in.Destinations, d.Addr) || within(in.Destinations, d.Domain) || within(in.Destinations, f.Query) || above(in.Destinations, f.Query)
}

// names reports whether one of the texts is the address or a network with it.
func names(texts []string, a netip.Addr) bool {
	for _, t := range texts {
		if p, err := netip.ParsePrefix(t); err == nil && p.Contains(a) {
			return true
		}
		if b, err := netip.ParseAddr(t); err == nil && a == b {
			return true
		}
	}
	return false
}

// within reports whether a name is one of the texts or below it.
func within(texts []string, name string) bool {
	if name == "" {
		return false
	}
	return slices.ContainsFunc(texts, func(t string) bool { return name == t || strings.HasSuffix(name, "."+t) })
}

// above reports whether one of the texts is below a name: detectors name the registered
// domain of what is asked for.
func above(texts []string, name string) bool {
	return strings.Contains(name, ".") && slices.ContainsFunc(texts, func(t string) bool { return strings.HasSuffix(t, "."+name) })
}
