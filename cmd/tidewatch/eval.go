package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"tidewatch/behavior"
	"tidewatch/event"
	"tidewatch/internal/eval"
	"tidewatch/internal/eval/ablation"
	"tidewatch/internal/synth"
	"tidewatch/rules"
)

// synthSeeds are the seeds of the days that eval makes.
var synthSeeds = []uint64{1, 2, 3}

// evalOptions are the flags of eval.
type evalOptions struct {
	made, timing, ablation bool
	seeds                  []uint
	labelled               string
}

func evalCommand(t terminal) *cobra.Command {
	var o evalOptions
	c := &cobra.Command{
		Use:   "eval [DIR...]",
		Short: "Compare what is found in labelled logs with what is true of them",
		Long: `Eval analyzes each folder, and compares the findings with the folder's truth.toml
(docs/detection.md describes it). It prints the recall of each kind of attack, the
time to detect it, how many of the findings are true, of all and of those that are
read first, the false ones a host and day, the first days, and what is found without
each term of the evidence.`,
		RunE: func(c *cobra.Command, dirs []string) error {
			if len(dirs) == 0 && !o.made && !o.timing && o.labelled == "" {
				return exit{exitUsage, errors.New("eval needs a folder of logs with a truth.toml")}
			}
			if err := evaluate(c.Context(), t, o, dirs); err != nil {
				return exit{exitError, err}
			}
			if o.timing {
				return eval.WriteTiming(t.out)
			}
			return nil
		},
	}
	f := c.Flags()
	f.BoolVar(&o.made, "synth", false, "judge made days, each written as Zeek TSV, Zeek JSON and EVE in turn")
	f.UintSliceVar(&o.seeds, "seeds", nil, "`seeds` of the made days (default 1,2,3)")
	f.BoolVar(&o.timing, "timing", false, "judge the timing of simulated beacons, beside RITA's formula")
	f.BoolVar(&o.ablation, "ablation", true, "also judge what is found without each term of the evidence, which takes several times as long")
	f.StringVar(&o.labelled, "labelled", "", "judge the recorded captures in this `folder`, whose truth is built in")
	return c
}

func evaluate(ctx context.Context, t terminal, o evalOptions, dirs []string) error {
	for _, dir := range dirs {
		truth, err := eval.ReadTruth(filepath.Join(dir, eval.TruthFile))
		if err != nil {
			return err
		}
		e, err := newEvaluation(t, o.ablation)
		if err != nil {
			return err
		}
		if err := e.folder(ctx, dir, dir, truth); err != nil {
			return err
		}
		if err := e.write(dir); err != nil {
			return err
		}
	}
	if o.made {
		if err := evaluateMade(ctx, t, o); err != nil {
			return err
		}
	}
	if o.labelled != "" {
		return evaluateLabelled(ctx, t, o)
	}
	return nil
}

// evaluateMade judges made days: each seed in another format.
func evaluateMade(ctx context.Context, t terminal, o evalOptions) error {
	const days, hosts = 3, 100
	e, err := newEvaluation(t, o.ablation)
	if err != nil {
		return err
	}
	seeds := synthSeeds
	if len(o.seeds) > 0 {
		seeds = nil
		for _, s := range o.seeds {
			seeds = append(seeds, uint64(s))
		}
	}
	for i, seed := range seeds {
		dir, err := os.MkdirTemp("", "tidewatch-eval-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		n := synth.New(synth.Options{Seed: seed, Start: time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC), Days: days, Hosts: hosts, Attacks: "grid"})
		format := []string{"zeek", "json", "eve"}[i%3]
		if err := n.Write(dir, []string{format}, nil); err != nil {
			return err
		}
		if err := e.folder(ctx, fmt.Sprintf("seed %d (%s)", seed, format), dir, n.Truth()); err != nil {
			return err
		}
	}
	return e.write(fmt.Sprintf("made: %d days of %d hosts for each of the seeds %v, attacks in three difficulties", days, hosts, seeds))
}

// evaluateLabelled judges the recorded captures: tuning figures, since thresholds
// were chosen on them.
func evaluateLabelled(ctx context.Context, t terminal, o evalOptions) error {
	truths, err := eval.Labelled()
	if err != nil {
		return err
	}
	if _, err := os.Stat(o.labelled); err != nil {
		if os.Getenv("CI") != "" {
			return err
		}
		fmt.Fprintf(t.err, "SKIPPED: the recorded captures are missing: %v\n", err)
		return nil
	}
	e, err := newEvaluation(t, o.ablation)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(truths)) {
		if err := e.folder(ctx, name, filepath.Join(o.labelled, filepath.FromSlash(name)), truths[name]); err != nil {
			return err
		}
	}
	return e.write("recorded captures (tuning figures)")
}

// evaluation judges several folders together.
type evaluation struct {
	term     terminal
	report   *eval.Report
	ablation *ablation.Ablation // nil: it is left out
}

func newEvaluation(t terminal, ablated bool) (*evaluation, error) {
	e := &evaluation{term: t, report: eval.NewReport(behavior.Detectors...)}
	if ablated {
		set, err := loadRules(nil)
		if err != nil {
			return nil, err
		}
		e.ablation = ablation.New(set.Config(), set)
	}
	return e, nil
}

// folder analyzes one folder and adds it to what is judged.
func (e *evaluation) folder(ctx context.Context, name, path string, truth eval.Truth) error {
	w := &watch{witness: eval.NewWitness(truth), ablation: e.ablation, reports: map[string]event.Finding{}}
	a := &analysis{term: e.term, opts: analyzeOptions{output: "table", local: truth.Local}, started: time.Now(), watch: w}
	if err := a.run(ctx, []string{path}); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	c := eval.Case{Name: name, Truth: truth, Findings: a.findings.sorted(), First: w.reports, Witness: w.witness}
	e.report.Add(c)
	if e.ablation != nil {
		e.ablation.End(c)
	}
	return ctx.Err()
}

func (e *evaluation) write(title string) error {
	fmt.Fprintf(e.term.out, "\n%s\n\n", title)
	if err := e.report.WriteTable(e.term.out); err != nil || e.ablation == nil {
		return err
	}
	return e.ablation.WriteTable(e.term.out)
}

// watch looks on while logs are analyzed: a shard that owns nothing.
type watch struct {
	witness  *eval.Witness
	ablation *ablation.Ablation
	reports  map[string]event.Finding // the first of each episode
}

func (w *watch) Observe(ev *event.Event, dst []event.Observation) []event.Observation {
	w.witness.Observe(ev)
	if w.ablation != nil {
		w.ablation.Observe(ev)
	}
	return dst
}

func (w *watch) Advance(clock int64, dst []event.Observation) []event.Observation {
	if w.ablation != nil {
		w.ablation.Advance(clock)
	}
	return dst
}

func (w *watch) Finish(dst []event.Observation) []event.Observation { return dst }

// begin tells the rules in force.
func (w *watch) begin(set *rules.Set) {
	if w.ablation != nil {
		w.ablation.Begin(func() ablation.Suppressor { return rules.NewSuppression(set) })
	}
}

// note keeps the first report of each episode.
func (w *watch) note(fs []event.Finding) {
	for i := range fs {
		if _, known := w.reports[fs[i].Episode]; !known {
			w.reports[fs[i].Episode] = fs[i]
		}
	}
}
