package eval

import (
	"cmp"
	"fmt"
	"io"
	"math"
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

// Report says how good detection was over several cases.
type Report struct {
	groups   map[group]*tally
	judged   map[string]bool
	Missed   []string
	False    []string
	true     int
	HostDays float64
}

// group is a row of the table.
type group struct{ detector, variant, difficulty string }

type tally struct {
	instances, found int
	delays           []float64 // seconds from the instance's start to its finding
	failed           []float64 // failed first contacts at detection, of scans
}

// NewReport returns an empty report. Only instances of the given detectors are
// judged.
func NewReport(detectors ...string) *Report {
	r := &Report{groups: map[group]*tally{}, judged: map[string]bool{}}
	for _, d := range detectors {
		r.judged[d] = true
	}
	return r
}

// slack is how far a finding's span may lie beside the instance's.
const slack = 10 * time.Minute

// Add judges one case.
func (r *Report) Add(c Case) {
	explained := make([]bool, len(c.Findings))
	for _, in := range c.Truth.Instances {
		if !r.judged[in.Detector] {
			r.explainOther(c, in, explained)
			continue
		}
		g := group{in.Detector, in.Variant, in.Difficulty}
		t := r.groups[g]
		if t == nil {
			t = &tally{}
			r.groups[g] = t
		}
		t.instances++
		best := -1
		for i := range c.Findings {
			f := &c.Findings[i]
			if f.Detector != in.Detector || !in.matches(f) {
				continue
			}
			explained[i] = true
			if best < 0 || c.detected(f) < c.detected(&c.Findings[best]) {
				best = i
			}
		}
		if best < 0 {
			r.Missed = append(r.Missed, c.Name+": "+in.ID)
			continue
		}
		f := &c.Findings[best]
		t.found++
		t.delays = append(t.delays, max(float64(c.detected(f)-in.Start.UnixNano())/1e9, 0))
		for _, ft := range f.Features {
			if ft.Key == "failed_contacts_at_detection" {
				t.failed = append(t.failed, ft.Num)
			}
		}
	}
	for i := range c.Findings {
		r.judge(c, &c.Findings[i], explained[i])
	}
	r.HostDays += c.Truth.HostDays
}

// explainOther marks findings that an instance of another detector causes: a
// brute-force attack may look like a scan, and is no false alarm.
func (r *Report) explainOther(c Case, in Instance, explained []bool) {
	for i := range c.Findings {
		if in.matches(&c.Findings[i]) {
			explained[i] = true
		}
	}
}

// judge counts a finding of medium or higher as true or false.
func (r *Report) judge(c Case, f *event.Finding, explained bool) {
	if f.Rule.Severity < event.SeverityMedium {
		return
	}
	benign := f.Source.Addr.IsValid() && slices.Contains(c.Truth.Benign, f.Source.Addr.String())
	switch {
	case explained:
		r.true++
	case benign || !c.Truth.Unlabelled:
		r.False = append(r.False, fmt.Sprintf("%s: %s: %s", c.Name, f.Rule.ID, f.Reason))
	}
}

func (c Case) detected(f *event.Finding) int64 {
	if t, ok := c.Detected[f.Episode]; ok {
		return t
	}
	return f.Time
}

// matches reports whether a finding is about the instance: its source or, where
// the instance names no source, its destination, at the same time.
func (in *Instance) matches(f *event.Finding) bool {
	if f.End < in.Start.Add(-slack).UnixNano() || f.Start > in.End.Add(slack).UnixNano() {
		return false
	}
	if len(in.Sources) > 0 {
		return f.Source.Addr.IsValid() && slices.Contains(in.Sources, f.Source.Addr.String())
	}
	return !f.Source.Addr.IsValid() && slices.Contains(in.Destinations, f.Destination.Addr.String())
}

// WriteTable prints the report for a person.
func (r *Report) WriteTable(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "detector\tvariant\tdifficulty\tinstances\tfound\trecall\tmedian s to detect\tmedian failed contacts\t")
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
	var b strings.Builder
	precision := "-"
	if n := r.true + len(r.False); n > 0 {
		low, high := wilson(r.true, n)
		precision = fmt.Sprintf("%.3f (95 %%: %.3f to %.3f)", float64(r.true)/float64(n), low, high)
	}
	fmt.Fprintf(&b, "\nfindings of medium or higher: %d true, %d false; precision %s\n", r.true, len(r.False), precision)
	if r.HostDays > 0 {
		fmt.Fprintf(&b, "false findings of medium or higher a host-day: %.4f (95 %%: at most %.4f) over %.0f host-days\n",
			float64(len(r.False))/r.HostDays, poissonHigh(len(r.False))/r.HostDays, r.HostDays)
	}
	for _, m := range r.Missed {
		fmt.Fprintln(&b, "missed:", m)
	}
	for _, f := range r.False {
		fmt.Fprintln(&b, "false: ", f)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeTally(w io.Writer, g group, t *tally) {
	fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%.2f\t%s\t%s\t\n", g.detector, g.variant, g.difficulty, t.instances, t.found,
		float64(t.found)/float64(max(t.instances, 1)), median(t.delays), median(t.failed))
}

func median(v []float64) string {
	if len(v) == 0 {
		return "-"
	}
	v = slices.Sorted(slices.Values(v))
	return fmt.Sprintf("%.1f", v[len(v)/2])
}

// wilson is the 95 % score interval of a share k/n (Wilson 1927).
func wilson(k, n int) (low, high float64) {
	const z = 1.96
	p, m := float64(k)/float64(n), float64(n)
	centre := p + z*z/(2*m)
	half := z * math.Sqrt(p*(1-p)/m+z*z/(4*m*m))
	return max((centre-half)/(1+z*z/m), 0), min((centre+half)/(1+z*z/m), 1)
}

// poissonHigh is the upper 95 % bound of a rate of which k events were seen: 3 for
// none (the rule of three), else the Wilson-Hilferty approximation to chi-squared.
func poissonHigh(k int) float64 {
	if k == 0 {
		return 3
	}
	m := float64(k + 1)
	c := 1 - 1/(9*m) + 1.645/(3*math.Sqrt(m))
	return m * c * c * c
}
