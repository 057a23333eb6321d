package eval

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
)

// WriteTable prints the report for a person.
func (r *Report) WriteTable(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	r.writeInstances(tw)
	if err := tw.Flush(); err != nil {
		return err
	}
	r.writeWorth(tw)
	r.writeWorst(tw)
	r.writeDays(tw)
	if err := tw.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(w, r.list())
	return err
}

// writeInstances prints what became of the instances, by kind.
func (r *Report) writeInstances(w io.Writer) {
	fmt.Fprintln(w, "detector\tvariant\tdifficulty\tinstances\tfound\tmedium+\trecall\tmedian s\tmost s\tmedian records\tmost\tmedian contacts\tmost\t")
	rank := map[string]int{"easy": 0, "medium": 1, "hard": 2}
	rows := slices.SortedFunc(maps.Keys(r.groups), func(a, b group) int {
		return cmp.Or(cmp.Compare(a.detector, b.detector), cmp.Compare(a.variant, b.variant), rank[a.difficulty]-rank[b.difficulty], cmp.Compare(a.difficulty, b.difficulty))
	})
	var all tally
	sums := map[string]*tally{}
	for _, g := range rows {
		t := r.groups[g]
		writeTally(w, g, t)
		all.sum(t)
		if sums[g.detector] == nil {
			sums[g.detector] = &tally{}
		}
		sums[g.detector].sum(t)
	}
	for _, d := range slices.Sorted(maps.Keys(sums)) {
		writeTally(w, group{d, "all", ""}, sums[d])
	}
	writeTally(w, group{"all", "", ""}, &all)
}

func (t *tally) sum(o *tally) {
	t.instances += o.instances
	t.found += o.found
	t.medium += o.medium
	t.delays = append(t.delays, o.delays...)
	t.records = append(t.records, o.records...)
	t.contacts = append(t.contacts, o.contacts...)
}

func writeTally(w io.Writer, g group, t *tally) {
	fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\t%.2f\t%s\t%s\t%s\t%s\t%s\t%s\t\n", g.detector, g.variant, g.difficulty, t.instances, t.found, t.medium,
		float64(t.found)/float64(max(t.instances, 1)), quantile(t.delays, 0.5), quantile(t.delays, 1),
		quantile(t.records, 0.5), quantile(t.records, 1), quantile(t.contacts, 0.5), quantile(t.contacts, 1))
}

// worth is what the findings of medium or higher of a detector were.
type worth struct{ right, wrong int }

// worths returns what the findings were worth, by detector and of all.
func (r *Report) worths() (by map[string]worth, all worth) {
	by = map[string]worth{}
	for d := range r.judged {
		by[d] = worth{}
	}
	for _, j := range r.ranked {
		x := by[j.detector]
		if j.right {
			x.right++
			all.right++
		} else {
			x.wrong++
			all.wrong++
		}
		by[j.detector] = x
	}
	return by, all
}

// writeWorth prints how many findings were true, and how many false ones there are a
// host and day.
func (r *Report) writeWorth(w io.Writer) {
	fmt.Fprintf(w, "\nfindings of medium or higher\ttrue\tfalse\tprecision\t95 %%\tfalse a harmless host-day\t95 %%\t\n")
	by, all := r.worths()
	line := func(name string, x worth) {
		rate, interval := perDay(x.wrong, r.hostDays)
		p, within := share(x.right, x.right+x.wrong)
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%s\t%s\t%s\t\n", name, x.right, x.wrong, p, within, rate, interval)
	}
	for _, d := range slices.Sorted(maps.Keys(by)) {
		line(d, by[d])
	}
	line("all", all)
}

// topK are how many of the worst findings a person may read.
var topK = [...]int{5, 10, 20, 50, 100, 200, 500}

// writeWorst prints how much of what a person reads first is true.
func (r *Report) writeWorst(w io.Writer) {
	if len(r.ranked) == 0 {
		return
	}
	slices.SortStableFunc(r.ranked, func(a, b judgement) int {
		return cmp.Or(cmp.Compare(b.severity, a.severity), cmp.Compare(b.risk, a.risk), cmp.Compare(a.name, b.name))
	})
	fmt.Fprintf(w, "\nthe worst, by severity and risk\ttrue\tprecision\t95 %%\t\n")
	right := 0
	for i, j := range r.ranked {
		if j.right {
			right++
		}
		if n := i + 1; n == len(r.ranked) || slices.Contains(topK[:], n) {
			p, within := share(right, n)
			fmt.Fprintf(w, "%d\t%d\t%s\t%s\t\n", n, right, p, within)
		}
	}
}

// writeDays prints how the first days differ from later ones: there is no past yet.
func (r *Report) writeDays(w io.Writer) {
	if len(r.days) < 2 {
		return
	}
	fmt.Fprintf(w, "\nday since the start\tinstances that began\tfound\trecall\tof what began on each day\tfound\trecall\t95 %%\tfindings: true\tfalse\tfalse a harmless host-day\t95 %%\t\n")
	alike := r.alike()
	for i, d := range r.days {
		rate, interval := perDay(d.wrong, d.hostDays)
		recall, _ := share(d.found, d.instances)
		a := alike[i]
		same, within := share(a.found, a.instances)
		fmt.Fprintf(w, "%d\t%d\t%d\t%s\t%d\t%d\t%s\t%s\t%d\t%d\t%s\t%s\t\n", i+1, d.instances, d.found, recall, a.instances, a.found, same, within, d.right, d.wrong, rate, interval)
	}
}

// alike returns the outcomes of the days for those variants and difficulties that began
// on each of them, so that days differ by their past alone.
func (r *Report) alike() []outcomes {
	sums := make([]outcomes, len(r.days))
	for g := range r.groups {
		everyDay := !slices.ContainsFunc(r.days, func(d dayTally) bool { return d.groups[g].instances == 0 })
		for i := range r.days {
			if o := r.days[i].groups[g]; everyDay {
				sums[i].instances += o.instances
				sums[i].found += o.found
			}
		}
	}
	return sums
}

// list names what was missed, what was false, and what was neither.
func (r *Report) list() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%d findings are about something else that is true: neither right nor wrong\n", len(r.Related))
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

// share returns k/n and its 95 % interval, for the table.
func share(k, n int) (p, interval string) {
	if n == 0 {
		return "-", "-"
	}
	low, high := wilson(k, n)
	return fmt.Sprintf("%.3f", float64(k)/float64(n)), fmt.Sprintf("%.3f to %.3f", low, high)
}

// perDay returns a rate and its 95 % interval, for the table.
func perDay(k int, days float64) (rate, interval string) {
	if days <= 0 {
		return "-", "-"
	}
	low, high := poisson(k)
	return fmt.Sprintf("%.4f", float64(k)/days), fmt.Sprintf("%.4f to %.4f", low/days, high/days)
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
