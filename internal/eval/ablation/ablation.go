// Package ablation finds out what each term of the detectors' evidence is worth.
package ablation

import (
	"cmp"
	"io"
	"maps"
	"slices"

	"tidewatch/behavior"
	"tidewatch/event"
	"tidewatch/internal/eval"
)

// Judge decides which observations are findings.
type Judge interface {
	Judge(o *event.Observation, dst []event.Finding) []event.Finding
}

// Suppressor says which findings repeat what was said already.
type Suppressor interface {
	Admit(f *event.Finding) bool
}

// Ablation runs each detector whose evidence is a sum several times beside the
// analysis, each time without one of its terms, and compares what is found then. It is
// used by one goroutine.
type Ablation struct {
	judge    Judge
	variants []*variant
}

// variant is one detector without one term.
type variant struct {
	detector, term string // "": with all terms
	cfg            behavior.Config
	report         *eval.Report

	// Of the case at hand.
	shard       *behavior.Shard
	suppression Suppressor
	pending     []event.Observation
	findings    []event.Finding
	index       map[string]int // of an episode in findings
	first       map[string]event.Finding
}

// New returns an Ablation of the detectors with these settings.
func New(cfg behavior.Config, judge Judge) *Ablation {
	a := &Ablation{judge: judge}
	terms := behavior.Terms()
	for _, d := range slices.Sorted(maps.Keys(terms)) {
		for _, t := range append([]string{""}, terms[d]...) {
			a.variants = append(a.variants, &variant{detector: d, term: t, cfg: cfg.Without(d, t), report: eval.NewReport(d)})
		}
	}
	return a
}

// Begin forgets what was seen of the last case.
func (a *Ablation) Begin(suppression func() Suppressor) {
	for _, v := range a.variants {
		v.shard, v.suppression = behavior.NewShard(0, 1, v.cfg), suppression()
		v.findings, v.index, v.first = nil, map[string]int{}, map[string]event.Finding{}
	}
}

// Observe takes a record.
func (a *Ablation) Observe(ev *event.Event) {
	for _, v := range a.variants {
		v.pending = v.shard.Observe(ev, v.pending)
	}
}

// Advance tells the data's own clock, before the records of a sequence.
func (a *Ablation) Advance(clock int64) {
	for _, v := range a.variants {
		v.take(a.judge)
		v.pending = v.shard.Advance(clock, v.pending)
	}
}

// End says that a case is complete, and judges it.
func (a *Ablation) End(c eval.Case) {
	for _, v := range a.variants {
		v.take(a.judge)
		v.pending = v.shard.Finish(v.pending)
		v.take(a.judge)
		c.Findings, c.First = v.findings, v.first
		v.report.Add(c)
		v.shard, v.findings, v.first = nil, nil, nil
	}
}

// take judges what the shard said of a sequence, in the order of deliveries.
func (v *variant) take(judge Judge) {
	var found []event.Finding
	for i := range v.pending {
		found = judge.Judge(&v.pending[i], found)
	}
	clear(v.pending)
	v.pending = v.pending[:0]
	slices.SortStableFunc(found, func(a, b event.Finding) int {
		return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.Rule.ID, b.Rule.ID), cmp.Compare(a.ID, b.ID))
	})
	for i := range found {
		f := &found[i]
		if !v.suppression.Admit(f) {
			continue
		}
		at, again := v.index[f.Episode]
		if !again {
			v.index[f.Episode], v.first[f.Episode] = len(v.findings), *f
			v.findings = append(v.findings, *f)
			continue
		}
		v.findings[at] = *f
	}
}

// WriteTable prints what each term is worth.
func (a *Ablation) WriteTable(w io.Writer) error {
	var rows []eval.Outcome
	for _, v := range a.variants {
		o := v.report.Outcome(v.detector)
		o.Without = v.term
		rows = append(rows, o)
	}
	return eval.WriteAblation(w, rows)
}
