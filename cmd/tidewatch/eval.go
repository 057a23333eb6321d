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

	"tidewatch/event"
	"tidewatch/internal/eval"
	"tidewatch/internal/synth"
)

// detectors are those whose findings eval judges.
var judgedDetectors = []string{"scan"}

// synthSeeds are the seeds of the days that eval makes.
var synthSeeds = []uint64{1, 2, 3}

func evalCommand(t terminal) *cobra.Command {
	var made, timing bool
	var labelled string
	c := &cobra.Command{
		Use:   "eval [DIR...]",
		Short: "Compare what is found in labelled logs with what is true of them",
		Long: `Eval analyzes each folder, and compares the findings with the folder's truth.toml
(docs/detection.md describes it). It prints the recall of each kind of attack, the
time to detect it, and the false findings a host and day.`,
		RunE: func(c *cobra.Command, dirs []string) error {
			if len(dirs) == 0 && !made && !timing && labelled == "" {
				return exit{exitUsage, errors.New("eval needs a folder of logs with a truth.toml")}
			}
			if timing {
				if err := eval.WriteTiming(t.out); err != nil {
					return exit{exitError, err}
				}
			}
			if err := evaluate(c.Context(), t, dirs, made, labelled); err != nil {
				return exit{exitError, err}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&made, "synth", false, "judge made days, each written as Zeek TSV, Zeek JSON and EVE in turn")
	c.Flags().BoolVar(&timing, "timing", false, "print how well timers are told from irregular processes, on made times")
	c.Flags().StringVar(&labelled, "labelled", "", "judge the recorded captures in this `folder`, whose truth is built in")
	return c
}

func evaluate(ctx context.Context, t terminal, dirs []string, made bool, labelled string) error {
	for _, dir := range dirs {
		truth, err := eval.ReadTruth(filepath.Join(dir, eval.TruthFile))
		if err != nil {
			return err
		}
		r := eval.NewReport(judgedDetectors...)
		if err := judgeFolder(ctx, t, r, dir, dir, truth); err != nil {
			return err
		}
		fmt.Fprintf(t.out, "%s\n\n", dir)
		if err := r.WriteTable(t.out); err != nil {
			return err
		}
	}
	if made {
		if err := evaluateMade(ctx, t); err != nil {
			return err
		}
	}
	if labelled != "" {
		return evaluateLabelled(ctx, t, labelled)
	}
	return nil
}

// evaluateMade judges made days: three seeds, each in another format.
func evaluateMade(ctx context.Context, t terminal) error {
	const days, hosts = 3, 100
	r := eval.NewReport(judgedDetectors...)
	for i, seed := range synthSeeds {
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
		if err := judgeFolder(ctx, t, r, fmt.Sprintf("seed %d (%s)", seed, format), dir, n.Truth()); err != nil {
			return err
		}
	}
	fmt.Fprintf(t.out, "made: %d days of %d hosts for each of the seeds %v, attacks in three difficulties\n\n", days, hosts, synthSeeds)
	return r.WriteTable(t.out)
}

// evaluateLabelled judges the recorded captures: tuning figures, since thresholds
// were chosen on them.
func evaluateLabelled(ctx context.Context, t terminal, folder string) error {
	truths, err := eval.Labelled()
	if err != nil {
		return err
	}
	if _, err := os.Stat(folder); err != nil {
		if os.Getenv("CI") != "" {
			return err
		}
		fmt.Fprintf(t.err, "SKIPPED: the recorded captures are missing: %v\n", err)
		return nil
	}
	r := eval.NewReport(judgedDetectors...)
	for _, name := range slices.Sorted(maps.Keys(truths)) {
		if err := judgeFolder(ctx, t, r, name, filepath.Join(folder, filepath.FromSlash(name)), truths[name]); err != nil {
			return err
		}
	}
	fmt.Fprintf(t.out, "\nrecorded captures (tuning figures)\n\n")
	return r.WriteTable(t.out)
}

// judgeFolder analyzes one folder and adds it to the report.
func judgeFolder(ctx context.Context, t terminal, r *eval.Report, name, path string, truth eval.Truth) error {
	first := &firstReports{at: map[string]int64{}}
	a := &analysis{term: t, opts: analyzeOptions{output: "table", local: truth.Local}, started: time.Now(), first: first}
	if err := a.run(ctx, []string{path}); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	r.Add(eval.Case{Name: name, Truth: truth, Findings: a.findings.sorted(), Detected: first.at})
	return ctx.Err()
}

// firstReports notes when each episode was reported first.
type firstReports struct{ at map[string]int64 }

func (f *firstReports) note(fs []event.Finding) {
	for i := range fs {
		key := fs[i].Episode
		if _, ok := f.at[key]; !ok {
			f.at[key] = fs[i].Time
		}
	}
}
