package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"tidewatch/configs"
	"tidewatch/event"
	"tidewatch/internal/monitor"
	"tidewatch/internal/pipeline"
	"tidewatch/outputs"
	"tidewatch/outputs/elastic"
	"tidewatch/outputs/syslog"
	"tidewatch/outputs/webhook"
)

// outlets are the outputs of a sidecar, over all of its generations. Findings are
// counted once each output has them that is waited for.
type outlets struct {
	*pipeline.Fanout
	counted *findingCounts
	reopen  []func()
	close   []func() error
	servers []server
	records *elastic.Output // nil: no output takes records
	when    string          // which records
}

// server is an output that can say how it is.
type server struct {
	name  string
	stats func() outputs.Stats
}

// openOutputs opens what the configuration names.
func openOutputs(ctx context.Context, cfg *configs.Config, log *slog.Logger) (o *outlets, err error) {
	o = &outlets{counted: newFindingCounts()}
	var lanes []pipeline.Lane
	defer func() {
		if err != nil {
			err = errors.Join(err, o.closeAll())
			return
		}
		o.Fanout = pipeline.NewFanout(lanes, o.counted.add)
	}()
	switch path := cfg.Output.NDJSON.Path; path {
	case "":
	case "-":
		lanes = append(lanes, pipeline.Lane{Name: "ndjson", Sink: outputs.NewNDJSON(os.Stdout)})
	default:
		file, err := outputs.OpenFile(path, log)
		if err != nil {
			return o, fmt.Errorf("[output.ndjson] path: %w", err)
		}
		lanes = append(lanes, pipeline.Lane{Name: "ndjson", Sink: file})
		o.reopen, o.close = append(o.reopen, file.Reopen), append(o.close, file.Close)
	}
	if e := cfg.Output.Elasticsearch; e != nil {
		out, err := o.openElastic(ctx, &e.Config, log)
		if err != nil {
			return o, fmt.Errorf("[output.elasticsearch] %w", err)
		}
		lanes = append(lanes, pipeline.Lane{Name: e.Flavor, Sink: out, BestEffort: e.BestEffort})
	}
	if w := cfg.Output.Webhook; w != nil {
		out, err := webhook.New(w.Config, log)
		if err != nil {
			return o, fmt.Errorf("[output.webhook] %w", err)
		}
		lanes = append(lanes, pipeline.Lane{Name: "webhook", Sink: out, BestEffort: w.BestEffort, Least: least(w.AtLeast)})
		o.add("webhook", out.Stats, out.Close)
	}
	if s := cfg.Output.Syslog; s != nil {
		out, err := syslog.New(s.Config, log)
		if err != nil {
			return o, fmt.Errorf("[output.syslog] %w", err)
		}
		lanes = append(lanes, pipeline.Lane{Name: "syslog", Sink: out, BestEffort: s.BestEffort, Least: least(s.AtLeast)})
		o.add("syslog", out.Stats, out.Close)
	}
	return o, nil
}

// least is a severity that the configuration has checked.
func least(s string) event.Severity {
	v, _ := event.ParseSeverity(s)
	return v
}

func (o *outlets) add(name string, stats func() outputs.Stats, closing func() error) {
	o.servers, o.close = append(o.servers, server{name, stats}), append(o.close, closing)
}

// openElastic opens an output, and ends the start where the server is another one than
// the configuration says.
func (o *outlets) openElastic(ctx context.Context, cfg *elastic.Config, log *slog.Logger) (*elastic.Output, error) {
	out, err := elastic.New(*cfg, log)
	if err != nil {
		return nil, err
	}
	o.add(cfg.Flavor, func() outputs.Stats {
		s := out.Stats()
		return outputs.Stats{Delivered: s.Indexed, Retries: s.Retries, DeadLetters: s.DeadLetters, Trouble: s.Trouble}
	}, out.Close)
	switch err := out.Check(ctx); {
	case errors.Is(err, elastic.ErrForeign):
		return nil, err
	case err != nil: // it may come up while we run
		log.Warn("the server does not take documents yet", "output", cfg.Flavor, "reason", err)
	}
	if len(cfg.Records) > 0 {
		o.records, o.when = out, cfg.When
	}
	return out, nil
}

// exporter returns a new exporter of the records that the configuration chooses, or nil
// if no output takes records.
func (o *outlets) exporter(filter func(source string) (func(*event.Event) bool, error)) (pipeline.Exporter, error) {
	if o.records == nil {
		return nil, nil
	}
	x := o.records.NewExporter()
	if o.when != "" {
		wants, err := filter(o.when)
		if err != nil {
			return nil, fmt.Errorf("[output.elasticsearch] when: %w", err)
		}
		x.Wants = wants
	}
	return x, nil
}

// status returns how the outputs to servers are.
func (o *outlets) status() (all []monitor.Output) {
	lanes := o.Stats()
	for _, s := range o.servers {
		st := s.stats()
		out := monitor.Output{Name: s.name, Documents: st.Delivered, Retries: st.Retries, DeadLetters: st.DeadLetters, Problem: st.Trouble}
		for _, l := range lanes {
			if l.Name != s.name {
				continue
			}
			out.BestEffort, out.Waiting, out.Dropped = l.BestEffort, l.Waiting, l.Dropped
			if out.Problem == "" {
				out.Problem = outputs.Printable(l.Trouble)
			}
		}
		all = append(all, out)
	}
	return all
}

// undelivered returns how many findings wait for an output that a checkpoint waits for.
// One that waits for several counts once for each.
func (o *outlets) undelivered() (n int64) {
	for _, l := range o.Stats() {
		if !l.BestEffort {
			n += l.Waiting
		}
	}
	return n
}

// Reopen opens files again.
func (o *outlets) Reopen() {
	for _, r := range o.reopen {
		r()
	}
}

// Close closes each output. Those of best effort get grace to deliver what they have.
func (o *outlets) Close(grace time.Duration) error {
	o.Fanout.Close(grace)
	return o.closeAll()
}

func (o *outlets) closeAll() error {
	var errs []error
	for _, c := range o.close {
		errs = append(errs, c())
	}
	return errors.Join(errs...)
}
