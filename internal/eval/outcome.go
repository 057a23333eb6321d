package eval

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// Outcome is what a detector found, with all terms of its evidence or without one.
type Outcome struct {
	Detector, Without        string
	Instances, Found, Medium int // Medium: by a finding of medium or higher
	True, False              int // findings of medium or higher
	HostDays                 float64
}

// Outcome returns what was found by a report that judges one detector.
func (r *Report) Outcome(detector string) Outcome {
	var t tally
	for _, g := range r.groups {
		t.sum(g)
	}
	_, x := r.worths()
	return Outcome{detector, "", t.instances, t.found, t.medium, x.right, x.wrong, r.hostDays}
}

// silent reports whether there was nothing to find and nothing was found.
func (o Outcome) silent() bool { return o.Instances == 0 && o.True+o.False == 0 }

// WriteAblation prints what each term is worth. Of a detector come first the outcome
// with all terms and then those without one; of these it prints the ones that make a
// difference, and nothing of a detector that had nothing to find.
func WriteAblation(w io.Writer, rows []Outcome) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "\ndetector\twithout the term\tinstances\tfound\tmedium+\trecall\tfindings: true\tfalse\tprecision\tfalse a harmless host-day\t95 %\t")
	var all Outcome
	idle := map[string][]string{}
	for _, o := range rows {
		term := o.Without
		o.Without = ""
		switch {
		case term == "":
			if all = o; o.silent() {
				continue
			}
		case o == all:
			if !o.silent() {
				idle[o.Detector] = append(idle[o.Detector], term)
			}
			continue
		}
		o.write(tw, cmp.Or(term, "(nothing)"))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, d := range slices.Sorted(maps.Keys(idle)) {
		if _, err := fmt.Fprintf(w, "no difference for %s: %s\n", d, strings.Join(idle[d], ", ")); err != nil {
			return err
		}
	}
	return nil
}

func (o Outcome) write(w io.Writer, term string) {
	recall, _ := share(o.Found, o.Instances)
	p, _ := share(o.True, o.True+o.False)
	rate, interval := perDay(o.False, o.HostDays)
	fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%s\t%d\t%d\t%s\t%s\t%s\t\n", o.Detector, term, o.Instances, o.Found, o.Medium, recall, o.True, o.False, p, rate, interval)
}
