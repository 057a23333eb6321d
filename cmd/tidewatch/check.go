package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"tidewatch/behavior/redis"
	"tidewatch/configs"
	"tidewatch/enrich"
	"tidewatch/ingest"
	"tidewatch/outputs"
	"tidewatch/outputs/elastic"
	"tidewatch/outputs/syslog"
	"tidewatch/outputs/webhook"
)

func checkCommand(t terminal) *cobra.Command {
	var config string
	var connect bool
	c := &cobra.Command{
		Use:   "check",
		Short: "Say what is wrong with the sidecar's configuration and rules",
		Long: `Check reads the configuration and the rules and puts everything together as run does,
without starting anything: it opens no store and connects to nobody, unless --connect asks
Redis how it is set up. It lists all errors at once, and warns of what is likely not meant.`,
		Example: "  tidewatch check -c /etc/tidewatch/tidewatch.toml",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := check(c.Context(), t, config, connect); err != nil {
				return exit{exitError, err}
			}
			return nil
		},
	}
	c.Flags().StringVarP(&config, "config", "c", defaultConfig, "`file` with the configuration")
	c.Flags().BoolVar(&connect, "connect", false, "ask the Redis of [store.redis] whether it can be used, and keeps baselines safe")
	return c
}

func check(ctx context.Context, t terminal, path string, connect bool) error {
	cfg, warnings, err := configs.Load(path)
	if err != nil {
		return err
	}
	set, err := readRules(cfg)
	if err != nil {
		return err
	}
	known, err := enrich.Open(enrich.NewZones(cfg.General.Networks()), cfg.Enrich)
	if err != nil {
		return err
	}
	newEngine(set, known)
	in, err := openInputs(cfg, known.Enrich, nil, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	in.Close()
	if err := checkOutputs(cfg); err != nil {
		return err
	}
	if connect && cfg.Store.Type == "redis" {
		more, err := inspectRedis(ctx, cfg)
		if err != nil {
			return err
		}
		warnings = append(warnings, more...)
	}
	for _, w := range known.Warnings() {
		warnings = append(warnings, "[enrich] "+w)
	}
	warnings = append(warnings, missing(cfg)...)
	for _, w := range warnings {
		fmt.Fprintln(t.err, "warning: "+outputs.Printable(w))
	}
	_, err = fmt.Fprintf(t.out, "%s: in order: %d %s, %d rules\n", outputs.Printable(path), len(cfg.Inputs), plural(len(cfg.Inputs), "input", "inputs"), set.Len())
	return err
}

// inspectRedis asks the store how it is set up. It disturbs no sidecar that uses it.
func inspectRedis(ctx context.Context, cfg *configs.Config) (warnings []string, err error) {
	c := cfg.Store.Redis.Config
	c.Sensor = cmp.Or(c.Sensor, cfg.General.SidecarName())
	s, err := redis.Open(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("[store.redis] %w", err)
	}
	warnings, err = s.Inspect(ctx)
	if err := errors.Join(err, s.Close()); err != nil {
		return nil, fmt.Errorf("[store.redis] %w", err)
	}
	for i, w := range warnings {
		warnings[i] = "[store.redis] " + w
	}
	return warnings, nil
}

// checkOutputs makes the outputs to servers, which sends nothing: it reads certificates.
func checkOutputs(cfg *configs.Config) error {
	log := slog.New(slog.DiscardHandler)
	var errs []error
	try := func(name string, out io.Closer, err error) {
		if err == nil {
			err = out.Close()
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("[output.%s] %w", name, err))
		}
	}
	if e := cfg.Output.Elasticsearch; e != nil {
		out, err := elastic.New(e.Config, log)
		try("elasticsearch", out, err)
	}
	if w := cfg.Output.Webhook; w != nil {
		out, err := webhook.New(w.Config, log)
		try("webhook", out, err)
	}
	if s := cfg.Output.Syslog; s != nil {
		out, err := syslog.New(s.Config, log)
		try("syslog", out, err)
	}
	return errors.Join(errs...)
}

// missing warns of paths that are not there, or that this user cannot read. Both may
// be meant: logs come later, and the sidecar may be another user.
func missing(cfg *configs.Config) (all []string) {
	for _, name := range slices.Sorted(maps.Keys(cfg.Inputs)) {
		if cfg.Inputs[name].Type != ingest.TypeFile {
			continue // a socket is made by the sidecar
		}
		for _, p := range cfg.Inputs[name].Paths {
			found, _ := filepath.Glob(p)
			if len(found) == 0 {
				all = append(all, fmt.Sprintf("[input.%s] %s: no such file yet", name, p))
			}
			for _, f := range found {
				if err := readable(f); err != nil {
					all = append(all, fmt.Sprintf("[input.%s] %v", name, err))
				}
			}
		}
	}
	if p := cfg.Output.NDJSON.Path; filepath.IsAbs(p) {
		all = append(all, noFolder("[output.ndjson]", filepath.Dir(p))...)
	}
	if cfg.Store.Type == "disk" {
		all = append(all, noFolder("[store]", filepath.Dir(cfg.Store.Path))...)
	}
	return all
}

func readable(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return err
	}
	if _, err := f.Read(make([]byte, 1)); err != nil && err != io.EOF {
		return err
	}
	return nil
}

func noFolder(section, path string) []string {
	if info, err := os.Stat(path); err != nil {
		return []string{section + " " + err.Error()}
	} else if !info.IsDir() {
		return []string{fmt.Sprintf("%s %s is no folder", section, path)}
	}
	return nil
}
