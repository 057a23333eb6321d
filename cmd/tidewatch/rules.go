package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/tools/txtar"

	"tidewatch/event"
	"tidewatch/internal/ruletest"
	"tidewatch/internal/strict"
	"tidewatch/outputs"
	"tidewatch/rules"
)

func rulesCommand(t terminal) *cobra.Command {
	c := &cobra.Command{
		Use:   "rules",
		Short: "Check, test, list and explain rules",
		Long: `A rule says what is a finding, how severe it is, and how often it is said. Rules
are TOML files; those of a folder stand beside the shipped ones.`,
	}
	c.AddCommand(rulesCheckCommand(t), rulesTestCommand(t), rulesListCommand(t), rulesExplainCommand(t), rulesFieldsCommand(t), rulesImportCommand(t), rulesNewCommand(t), rulesSchemaCommand(t))
	return c
}

func rulesCheckCommand(t terminal) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "check [DIR...]",
		Short: "Say what is wrong in rules, with file and line",
		RunE: func(_ *cobra.Command, dirs []string) error {
			if output != "text" && output != "json" {
				return exit{exitUsage, fmt.Errorf("--output %q: allowed are text and json", output)}
			}
			set, err := loadRules(dirs)
			if output == "json" {
				return checkJSON(t, err)
			}
			if err != nil {
				return exit{exitError, err}
			}
			_, err = fmt.Fprintf(t.out, "%d rules are sound\n", len(set.Descriptions()))
			return err
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "text", "`form` of the problems: text, or json (for editors)")
	return c
}

// checkJSON writes problems as a JSON array.
func checkJSON(t terminal, err error) error {
	type problem struct {
		File    string `json:"file"`
		Line    int    `json:"line,omitempty"`
		Column  int    `json:"column,omitempty"`
		Message string `json:"message"`
		Allowed string `json:"allowed,omitempty"`
	}
	all := []problem{}
	var joined interface{ Unwrap() []error }
	switch {
	case errors.As(err, &joined):
		for _, e := range joined.Unwrap() {
			var p *strict.Problem
			if errors.As(e, &p) {
				all = append(all, problem{p.File, p.Line, p.Column, p.What, p.Allowed})
			}
		}
	case err != nil:
		all = append(all, problem{Message: err.Error()})
	}
	e := json.NewEncoder(t.out)
	e.SetIndent("", "  ")
	if bad := e.Encode(all); bad != nil {
		return exit{exitError, bad}
	}
	if err != nil {
		return exit{status: exitError}
	}
	return nil
}

func rulesListCommand(t terminal) *cobra.Command {
	return &cobra.Command{
		Use:   "list [DIR...]",
		Short: "List the rules: id, severity, detector, ATT&CK, origin",
		RunE: func(_ *cobra.Command, dirs []string) error {
			set, err := loadRules(dirs)
			if err != nil {
				return exit{exitError, err}
			}
			w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "ID\tSEVERITY\tDETECTOR\tATT&CK\tENABLED\tORIGIN")
			for _, d := range set.Descriptions() {
				enabled := "yes"
				if !d.Enabled {
					enabled = "no"
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", d.ID, d.Severity, d.Detector, strings.Join(techniques(d.Attack), " "), enabled, outputs.Printable(d.Origin))
			}
			return w.Flush()
		},
	}
}

func techniques(all []event.Technique) (ids []string) {
	for _, a := range all {
		if a.SubID != "" {
			ids = append(ids, a.SubID)
		} else {
			ids = append(ids, a.ID)
		}
	}
	return ids
}

func rulesTestCommand(t terminal) *cobra.Command {
	return &cobra.Command{
		Use:   "test DIR...",
		Short: "Run the scenarios beside rules: logs, and what is to be found in them",
		Long: `Test runs each *.txtar below the folders, with the rules of the folders and the
shipped ones. An archive named for a rule, ID.txtar, has logs NAME/FILE; NAME.want
holds what 'rules test' is to print for them. Without NAME.want, the rule must fire
on the logs of fires and be silent on those of silent.`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return exit{exitUsage, errors.New("rules test needs a folder of rules and scenarios")}
			}
			return nil
		},
		RunE: func(c *cobra.Command, dirs []string) error { return testRules(c.Context(), t, dirs) },
	}
}

// testRules runs all scenarios, and fails if one does.
func testRules(ctx context.Context, t terminal, dirs []string) error {
	set, err := loadRules(dirs)
	if err != nil {
		return exit{exitError, err}
	}
	var archives []string
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && strings.HasSuffix(path, ".txtar") {
				archives = append(archives, path)
			}
			return err
		})
		if err != nil {
			return exit{exitError, err}
		}
	}
	if len(archives) == 0 {
		return exit{exitError, errors.New("there is no scenario (*.txtar) in these folders")}
	}
	failed := 0
	for _, path := range archives {
		bad, err := testScenario(ctx, t, set, path)
		if err != nil {
			return exit{exitError, fmt.Errorf("%s: %w", path, err)}
		}
		failed += bad
	}
	if failed > 0 {
		return exit{exitError, fmt.Errorf("%d scenarios failed", failed)}
	}
	return nil
}

// testScenario runs one archive, and returns how many of its outcomes are not what they
// should be.
func testScenario(ctx context.Context, t terminal, set *rules.Set, path string) (failed int, err error) {
	a, err := txtar.ParseFile(path)
	if err != nil {
		return 0, err
	}
	id := strings.TrimSuffix(filepath.Base(path), ".txtar")
	outcomes, err := ruletest.Run(ctx, set, a)
	if err != nil {
		return 0, err
	}
	wants := func(name string) bool {
		return slices.ContainsFunc(a.Files, func(f txtar.File) bool { return f.Name == name+".want" })
	}
	for _, o := range outcomes {
		fired := slices.ContainsFunc(o.Findings, func(f event.Finding) bool { return f.Rule.ID == id })
		ok := o.Got == o.Want
		if !wants(o.Name) {
			ok = fired == (o.Name == "fires")
		}
		verdict := "ok  "
		if !ok {
			verdict = "FAIL"
			failed++
		}
		fmt.Fprintf(t.out, "%s  %s %s\n", verdict, outputs.Printable(path), outputs.Printable(o.Name))
		if !ok {
			if wants(o.Name) {
				fmt.Fprintf(t.out, "      wanted:\n%s", indented(o.Want))
			} else {
				fmt.Fprintf(t.out, "      %s fires: %v\n", id, fired)
			}
			fmt.Fprintf(t.out, "      found:\n%s", indented(o.Got))
		}
	}
	return failed, nil
}

func indented(s string) string {
	if s == "" {
		return "        nothing\n"
	}
	var b strings.Builder
	for line := range strings.Lines(s) {
		b.WriteString("        " + outputs.Printable(strings.TrimSuffix(line, "\n")) + "\n")
	}
	return b.String()
}

func rulesExplainCommand(t terminal) *cobra.Command {
	var dirs []string
	c := &cobra.Command{
		Use:   "explain ID [LOGS...]",
		Short: "Say what a rule needs, and how near logs come to it",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return explainRule(c.Context(), t, dirs, args[0], args[1:])
		},
	}
	c.Flags().StringArrayVar(&dirs, "rules", nil, "`folder` of rules (*.toml) beside the shipped ones; may be given again")
	return c
}

// explainRule prints a rule, and its nearest misses in logs.
func explainRule(ctx context.Context, t terminal, dirs []string, id string, logs []string) error {
	set, err := loadRules(dirs)
	if err != nil {
		return exit{exitError, err}
	}
	e, err := set.Explain(id)
	if err != nil {
		return exit{exitUsage, err}
	}
	all := set.Descriptions()
	d := all[slices.IndexFunc(all, func(d rules.Description) bool { return d.ID == id })]
	p := func(s string) string { return outputs.PrintableLines(s) }
	fmt.Fprintf(t.out, "%s  %s, %s, from %s\n\n%s\n%s\n\nneeds:  %s\nATT&CK: %s\n", d.ID, d.Severity, d.Detector, p(d.Origin), p(d.Name), p(d.Description), strings.Join(d.Needs, ", "), strings.Join(techniques(d.Attack), ", "))
	for _, s := range d.FalsePositives {
		fmt.Fprintf(t.out, "harmless: %s\n", p(s))
	}
	if len(logs) == 0 {
		return nil
	}
	a := &analysis{term: t, opts: analyzeOptions{output: "table", rules: dirs}, started: time.Now(), explanation: e}
	if err := a.run(ctx, logs); err != nil {
		return err
	}
	what := "observations of " + d.Detector
	if e.Records() {
		what = "records"
	}
	fmt.Fprintf(t.out, "\nof %d %s, the condition held for %d", e.Seen, what, e.Held)
	if e.Excepted > 0 {
		fmt.Fprintf(t.out, ", of which exceptions took out %d", e.Excepted)
	}
	fmt.Fprintln(t.out)
	if len(e.Misses()) > 0 {
		fmt.Fprintln(t.out, "nearest to it came:")
	}
	for _, m := range e.Misses() {
		fmt.Fprintf(t.out, "  %s  %s\n", time.Unix(0, m.Time).UTC().Format(time.DateTime), outputs.Printable(m.Who))
		for _, g := range m.Failed {
			if g.Numeric {
				fmt.Fprintf(t.out, "    not %s: it was %g\n", g.Term, g.Observed)
			} else {
				fmt.Fprintf(t.out, "    not %s\n", g.Term)
			}
		}
	}
	return nil
}

func rulesFieldsCommand(t terminal) *cobra.Command {
	return &cobra.Command{
		Use:   "fields DETECTOR",
		Short: "List what the conditions of a detector's rules can name",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			all := rules.Fields(args[0])
			if all == nil {
				_, names, _ := rules.Template("")
				return exit{exitUsage, fmt.Errorf("no detector is called %q%s; there are %s", args[0], strict.Nearest(args[0], names), strings.Join(names, ", "))}
			}
			w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
			for _, f := range all {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", f.Name, f.Type, f.Example, f.Says)
			}
			return w.Flush()
		},
	}
}

func rulesNewCommand(t terminal) *cobra.Command {
	return &cobra.Command{
		Use:   "new DETECTOR",
		Short: "Print a commented rule to begin with",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			text, names, ok := rules.Template(args[0])
			if !ok {
				return exit{exitUsage, fmt.Errorf("no detector is called %q; there are %s", args[0], strings.Join(names, ", "))}
			}
			_, err := fmt.Fprint(t.out, text)
			return err
		},
	}
}

func rulesSchemaCommand(t terminal) *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print a JSON schema of rule files, for editors",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := t.out.Write(rules.Schema())
			return err
		},
	}
}

// explained shows observations to an Explanation before it judges them.
type explained struct {
	mu  sync.Mutex
	set *rules.Set
	of  *rules.Explanation
}

func (e *explained) Judge(o *event.Observation, dst []event.Finding) []event.Finding {
	e.mu.Lock()
	e.of.Observation(o)
	e.mu.Unlock()
	return e.set.Judge(o, dst)
}

// explainedRecords is a shard that shows records to an Explanation.
type explainedRecords struct{ of *rules.Explanation }

func (e explainedRecords) Observe(ev *event.Event, dst []event.Observation) []event.Observation {
	e.of.Record(ev)
	return dst
}

func (explainedRecords) Advance(_ int64, dst []event.Observation) []event.Observation { return dst }

func (explainedRecords) Finish(dst []event.Observation) []event.Observation { return dst }
