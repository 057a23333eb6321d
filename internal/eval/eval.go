package eval

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"tidewatch/event"
)

// Case is one folder of logs with what is true of it and what was found.
type Case struct {
	Name     string
	Truth    Truth
	Findings []event.Finding // the last report of each episode
	// Detected is when each episode was first reported, in Unix nanoseconds.
	Detected map[string]int64
}

// Report says how good detection was over several cases. Only findings and
// instances of the judged detectors count.
type Report struct {
	groups   map[group]*tally
	judged   map[string]bool
	hostDays float64
	ranked   []judgement // findings of medium or higher that are true or false

	Missed []string // instances that no finding is about
	False  []string // findings of medium or higher that nothing explains
	// Related are findings of medium or higher about what another kind of attack
	// did at the time, or about background: neither right nor wrong.
	Related []string
}

// judgement is a finding with what became of it.
type judgement struct {
	severity event.Severity
	risk     float64
	name     string
	right    bool
}

// group is a row of the table.
type group struct{ detector, variant, difficulty string }

type tally struct {
	instances, found int
	delays           []float64 // seconds from the instance's start to its finding
	failed           []float64 // failed first contacts at detection, of scans
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
		r.addInstance(c, &c.Truth.Instances[i], verdicts)
	}
	for i := range c.Findings {
		if f := &c.Findings[i]; r.judged[f.Detector] && f.Rule.Severity >= event.SeverityMedium {
			r.addFinding(c, f, verdicts[i])
		}
	}
	r.hostDays += c.Truth.HostDays
}

// addInstance looks for the findings about an instance.
func (r *Report) addInstance(c Case, in *Instance, verdicts []verdict) {
	first := int64(math.MaxInt64)
	var best *event.Finding
	for i := range c.Findings {
		f := &c.Findings[i]
		if !in.about(f) {
			continue
		}
		if f.Detector != in.Detector || !in.aims(f) {
			verdicts[i] = max(verdicts[i], related)
			continue
		}
		verdicts[i] = right
		if t := c.detected(f); t < first {
			first, best = t, f
		}
	}
	if !r.judged[in.Detector] {
		return
	}
	g := group{in.Detector, in.Variant, in.Difficulty}
	t := r.groups[g]
	if t == nil {
		t = &tally{}
		r.groups[g] = t
	}
	t.instances++
	if best == nil {
		r.Missed = append(r.Missed, c.Name+": "+in.ID)
		return
	}
	t.found++
	if !in.Start.IsZero() {
		t.delays = append(t.delays, max(float64(first-in.Start.UnixNano())/1e9, 0))
	}
	for _, ft := range best.Features {
		if ft.Key == "failed_contacts_at_detection" {
			t.failed = append(t.failed, ft.Num)
		}
	}
}

// addFinding counts a finding of medium or higher.
func (r *Report) addFinding(c Case, f *event.Finding, v verdict) {
	name := fmt.Sprintf("%s: %s: %s", c.Name, f.Rule.ID, f.Reason)
	benign := f.Source.Addr.IsValid() && names(c.Truth.Benign, f.Source.Addr)
	switch {
	case v == related:
		r.Related = append(r.Related, name)
		return
	case v == unexplained && c.Truth.Unlabelled && !benign:
		return // nobody knows
	case v == unexplained:
		r.False = append(r.False, name)
	}
	r.ranked = append(r.ranked, judgement{f.Rule.Severity, f.Risk, name, v == right})
}

func (c Case) detected(f *event.Finding) int64 {
	if t, ok := c.Detected[f.Episode]; ok {
		return t
	}
	return f.Time
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

// WriteTable prints the report for a person.
func (r *Report) WriteTable(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "detector\tvariant\tdifficulty\tinstances\tfound\trecall\tmedian s to detect\tmost s\tmedian failed contacts\tmost\t")
	rows := make([]group, 0, len(r.groups))
	for g := range r.groups {
		rows = append(rows, g)
	}
	rank := map[string]int{"easy": 0, "medium": 1, "hard": 2}
	slices.SortFunc(rows, func(a, b group) int {
		return cmp.Or(cmp.Compare(a.detector, b.detector), cmp.Compare(a.variant, b.variant), rank[a.difficulty]-rank[b.difficulty], cmp.Compare(a.difficulty, b.difficulty))
	})
	var all tally
	for _, g := range rows {
		t := r.groups[g]
		writeTally(tw, g, t)
		all.instances += t.instances
		all.found += t.found
		all.delays = append(all.delays, t.delays...)
		all.failed = append(all.failed, t.failed...)
	}
	writeTally(tw, group{"all", "", ""}, &all)
	if err := tw.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(w, r.summary())
	return err
}

// topK is how many of the worst findings a person may be expected to read.
const topK = 10

// summary says what the findings were worth, and which were missed or false.
func (r *Report) summary() string {
	var b strings.Builder
	hits := 0
	for _, j := range r.ranked {
		if j.right {
			hits++
		}
	}
	fmt.Fprintf(&b, "\nfindings of medium or higher: %d true, %d false, %d about something else that is true; precision %s\n",
		hits, len(r.False), len(r.Related), share(hits, len(r.ranked)))
	slices.SortStableFunc(r.ranked, func(a, b judgement) int {
		return cmp.Or(cmp.Compare(b.severity, a.severity), cmp.Compare(b.risk, a.risk), cmp.Compare(a.name, b.name))
	})
	if top := r.ranked[:min(topK, len(r.ranked))]; len(top) > 0 {
		hits = 0
		for _, j := range top {
			if j.right {
				hits++
			}
		}
		fmt.Fprintf(&b, "precision of the %d worst: %.2f\n", len(top), float64(hits)/float64(len(top)))
	}
	if r.hostDays > 0 {
		low, high := poisson(len(r.False))
		fmt.Fprintf(&b, "false findings of medium or higher a harmless host-day: %.4f (95 %%: %.4f to %.4f) over %.0f host-days\n",
			float64(len(r.False))/r.hostDays, low/r.hostDays, high/r.hostDays, r.hostDays)
	}
	for _, l := range []struct {
		what  string
		lines []string
	}{{"missed", r.Missed}, {"false", r.False}, {"related", r.Related}} {
		for _, s := range l.lines {
			fmt.Fprintf(&b, "%-8s %s\n", l.what+":", s)
		}
	}
	return b.String()
}

func share(k, n int) string {
	if n == 0 {
		return "-"
	}
	low, high := wilson(k, n)
	return fmt.Sprintf("%.3f (95 %%: %.3f to %.3f)", float64(k)/float64(n), low, high)
}

func writeTally(w io.Writer, g group, t *tally) {
	fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%.2f\t%s\t%s\t%s\t%s\t\n", g.detector, g.variant, g.difficulty, t.instances, t.found,
		float64(t.found)/float64(max(t.instances, 1)), quantile(t.delays, 0.5), quantile(t.delays, 1), quantile(t.failed, 0.5), quantile(t.failed, 1))
}

// quantile returns the value of which a share of all is not larger, for the table.
func quantile(v []float64, q float64) string {
	if len(v) == 0 {
		return "-"
	}
	v = slices.Sorted(slices.Values(v))
	return fmt.Sprintf("%.1f", v[min(int(q*float64(len(v))), len(v)-1)])
}

// wilson is the 95 % score interval of a share k/n (Wilson 1927).
func wilson(k, n int) (low, high float64) {
	const z = 1.96
	p, m := float64(k)/float64(n), float64(n)
	centre := p + z*z/(2*m)
	half := z * math.Sqrt(p*(1-p)/m+z*z/(4*m*m))
	return max((centre-half)/(1+z*z/m), 0), min((centre+half)/(1+z*z/m), 1)
}

// poisson is the 95 % interval of the mean of a Poisson count of which k were seen
// (Garwood 1936, "Fiducial limits for the Poisson distribution"); for none it is
// the rule of three, which bounds one side only.
func poisson(k int) (low, high float64) {
	if k == 0 {
		return 0, 3
	}
	// below is the probability of at most k events.
	below := func(mean float64, k int) float64 {
		term, sum := math.Exp(-mean), 0.0
		for i := 0; i <= k; i++ {
			sum += term
			term *= mean / float64(i+1)
		}
		return sum
	}
	solve := func(wanted float64, k int) float64 {
		a, b := 0.0, 10+4*float64(k)
		for range 60 { // the probability falls as the mean grows
			if m := (a + b) / 2; below(m, k) > wanted {
				a = m
			} else {
				b = m
			}
		}
		return (a + b) / 2
	}
	return solve(0.975, k-1), solve(0.025, k)
}
