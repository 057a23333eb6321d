package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"tidewatch/configs"
	"tidewatch/internal/monitor"
	"tidewatch/outputs"
)

// statusOptions are the flags of status.
type statusOptions struct {
	config  string
	address string
	output  string
	watch   bool
}

func statusCommand(t terminal) *cobra.Command {
	var o statusOptions
	c := &cobra.Command{
		Use:   "status",
		Short: "Show how a running sidecar is",
		Long: `Status asks the running sidecar, at the address that its configuration names, and
shows its inputs and how far they are read, rates, findings and the last checkpoint.`,
		Example: `  tidewatch status --watch
  tidewatch status -o json | jq .undelivered_findings`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return showStatus(c.Context(), t, o, c.Flags().Changed("config"))
		},
	}
	f := c.Flags()
	f.StringVarP(&o.config, "config", "c", defaultConfig, "`file` with the configuration, for the address")
	f.StringVarP(&o.address, "address", "a", "", "`address` of the sidecar, such as 127.0.0.1:9465 (default: what the configuration says)")
	f.StringVarP(&o.output, "output", "o", "table", "`form`: table or json")
	f.BoolVarP(&o.watch, "watch", "w", false, "show it again every two seconds")
	return c
}

func showStatus(ctx context.Context, t terminal, o statusOptions, named bool) error {
	if o.output != "table" && o.output != "json" {
		return exit{exitUsage, fmt.Errorf("--output %q: allowed are table and json", o.output)}
	}
	if o.address == "" {
		o.address = configs.Default().HTTP.Address
		if _, err := os.Stat(o.config); named || err == nil {
			cfg, _, err := configs.Load(o.config)
			if err != nil {
				return exit{exitError, fmt.Errorf("%w\n(--address says where to ask without a configuration)", err)}
			}
			if o.address = cfg.HTTP.Address; o.address == "" {
				return exit{exitError, errors.New("[http] address is empty: this sidecar cannot be asked")}
			}
		}
	}
	for {
		err := showOnce(ctx, t, o)
		if err != nil && !o.watch {
			return exit{exitError, err}
		}
		if err != nil {
			fmt.Fprintln(t.err, "tidewatch: "+outputs.Printable(err.Error()))
		}
		if !o.watch {
			return nil
		}
		select {
		case <-time.After(2 * time.Second):
		case <-ctx.Done():
			return nil
		}
	}
}

func showOnce(ctx context.Context, t terminal, o statusOptions) error {
	doc, err := askStatus(ctx, o.address)
	if err != nil {
		return err
	}
	if o.output == "json" {
		_, err := t.out.Write(append(bytes.TrimSpace(doc), '\n'))
		return err
	}
	var s monitor.Status
	if err := json.Unmarshal(doc, &s); err != nil {
		return fmt.Errorf("what answers at %s is no tidewatch: %w", o.address, err)
	}
	var b bytes.Buffer
	if o.watch && width(t.out) > 0 {
		b.WriteString("\x1b[H\x1b[2J")
	}
	writeStatus(&b, &s)
	_, err = t.out.Write(b.Bytes())
	return err
}

// maxStatus bounds an answer, in bytes.
const maxStatus = 4 << 20

func askStatus(ctx context.Context, address string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/status", nil)
	if err != nil {
		return nil, err
	}
	// It is on this host, or one that was named: no proxy has a part in it.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("no sidecar answers at %s: %w", address, err)
	}
	defer resp.Body.Close()
	doc, err := io.ReadAll(io.LimitReader(resp.Body, maxStatus))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK || !json.Valid(doc) {
		return nil, fmt.Errorf("what answers at %s is no tidewatch: %s", address, resp.Status)
	}
	return doc, nil
}

// writeStatus writes a status for people. Texts in it may come from anybody.
func writeStatus(w io.Writer, s *monitor.Status) {
	p := outputs.Printable
	fmt.Fprintf(w, "%s on %s: %s for %s, %d rules\n", p(s.Version), p(s.Name), p(string(s.State)), span(s.Time.Sub(s.Started)), s.Rules)
	if s.Problem != "" {
		fmt.Fprintf(w, "PROBLEM: %s\n", p(s.Problem))
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "INPUT\tFILES\tRECORDS\tPER SECOND\tBEHIND\tREFUSED")
	for _, in := range s.Sources {
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s, %.0f s\t%s\n", p(in.Name), in.Files, count(in.Records), count(uint64(in.Rate+0.5)), byteCount(in.LagBytes), in.LagSeconds, count(in.Refused))
	}
	fmt.Fprintln(t)
	fmt.Fprintln(t, "RULE\tSEVERITY\tFINDINGS")
	for _, f := range s.Findings {
		fmt.Fprintf(t, "%s\t%s\t%s\n", p(f.Rule), p(f.Severity), count(f.Count))
	}
	t.Flush()
	writeSums(w, s)
}

// writeSums writes the lines below the tables.
func writeSums(w io.Writer, s *monitor.Status) {
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-11s %s\n", name, fmt.Sprintf(format, args...))
	}
	fmt.Fprintln(w)
	row("findings", "%s repeated and held back, %d not delivered yet", count(s.Suppressed), s.Undelivered)
	for _, o := range s.Outputs {
		dropped := ""
		if o.BestEffort {
			dropped = fmt.Sprintf(", %s dropped", count(o.Dropped))
		}
		row("output", "%s: %s documents, %s sent again, %s dead letters%s; %d findings wait", outputs.Printable(o.Name), count(o.Documents), count(o.Retries), count(o.DeadLetters), dropped, o.Waiting)
	}
	mean := time.Duration(s.Committing / float64(max(s.Epochs, 1)) * float64(time.Second)).Round(time.Millisecond)
	row("checkpoint", "epoch %d, %.1f s ago; a commit takes %s", s.Epoch, s.CheckpointAge, mean)
	if s.EventTimeDelay >= 0 {
		row("clock", "the data's is %s behind", span(time.Duration(s.EventTimeDelay*float64(time.Second))))
	}
	for _, reason := range slices.Sorted(maps.Keys(s.Refused)) {
		row("refused", "%s: %s", count(s.Refused[reason]), outputs.Printable(reason))
	}
	for _, e := range s.Entities {
		if e.Count > 0 {
			row("kept", "%s %s of at most %s", count(uint64(e.Count)), outputs.Printable(e.Kind), count(uint64(e.Cap)))
		}
	}
	row("memory", "%s%s", byteCount(s.Memory), limitText(s.MemoryLimit))
	if s.FailedReloads > 0 {
		row("reloads", "%d failed: see the log; the rules before stayed in force", s.FailedReloads)
	}
}

func limitText(n int64) string {
	if n == 0 {
		return ""
	}
	return ", limit " + byteCount(n)
}
