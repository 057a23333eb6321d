package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"tidewatch/behavior/redis"
	"tidewatch/configs"
	"tidewatch/enrich"
	"tidewatch/event"
	"tidewatch/internal/journal"
	"tidewatch/internal/monitor"
	"tidewatch/internal/neighbour"
	"tidewatch/internal/pipeline"
	"tidewatch/internal/systemd"
	"tidewatch/outputs"
	"tidewatch/rules"
)

// defaultConfig is where the configuration is if the command line does not say.
const defaultConfig = "/etc/tidewatch/tidewatch.toml"

func runCommand(t terminal) *cobra.Command {
	var config string
	c := &cobra.Command{
		Use:   "run",
		Short: "Follow the logs of a live sensor and write findings: the sidecar",
		Long: `Run follows the inputs of its configuration and writes findings to its outputs, until
it is told to stop. It goes on where it was when it is started again, after a crash
too: each record counts once.

SIGTERM and SIGINT stop it: what was read is delivered and a last checkpoint is
committed. SIGHUP reads the rules again and opens output files again; rules with an
error change nothing.`,
		Example: `  tidewatch check -c /etc/tidewatch/tidewatch.toml
  tidewatch run -c /etc/tidewatch/tidewatch.toml`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := runSidecar(c.Context(), t, config); err != nil {
				return exit{exitError, err}
			}
			return nil
		},
	}
	c.Flags().StringVarP(&config, "config", "c", defaultConfig, "`file` with the configuration")
	return c
}

// sidecar is one run of `tidewatch run`.
type sidecar struct {
	cfg      *configs.Config
	log      *slog.Logger
	notify   *systemd.Notifier
	store    store
	outputs  *outlets
	refused  io.Writer // nil: lines are counted, not kept
	status   *statusBoard
	rules    *rules.Set
	context  *enrich.Context
	reloaded chan *rules.Set // new rules, for the loop of generations; holds one
}

// laxGrace is how long a stop waits for outputs of best effort, at most.
const laxGrace = 3 * time.Second

// storePause is the longest pause between two tries to reach the store.
const storePause = 15 * time.Second

// awaitStore opens the store. Its server may not be there yet: the logs are the queue, and
// wait. What does not pass by itself is an error. There is no store if ctx ends first.
func (s *sidecar) awaitStore(ctx context.Context) error {
	for pause := time.Second; ; pause = min(2*pause, storePause) {
		st, err := openStore(ctx, s.cfg, s.log)
		switch {
		case err == nil:
			s.store = st
			return nil
		case ctx.Err() != nil:
			return nil
		case !away(err):
			return err
		}
		s.log.Warn("the store cannot be reached: nothing is read until it can", "error", err, "next_try_in", pause)
		s.status.waiting()
		s.notify.Status("waiting for the store")
		s.notify.Ready() // a start that waits is no failed one
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
	}
}

// errReload is why a generation ends when there are new rules.
var errReload = errors.New("new rules")

func runSidecar(ctx context.Context, t terminal, path string) (err error) {
	cfg, warnings, err := configs.Load(path)
	if err != nil {
		return err
	}
	s := &sidecar{cfg: cfg, log: newLog(t.err, cfg.Log), reloaded: make(chan *rules.Set, 1)}
	defer journal.Flush(s.log)
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	if s.notify, err = systemd.New(); err != nil {
		return err
	}
	for _, w := range warnings {
		s.log.Warn(w)
	}
	limit := s.yield()
	changes := edited(ctx, cfg.Rules.Folders, cfg.Rules.Look) // since before they are read
	if s.rules, err = readRules(cfg); err != nil {
		return err
	}
	cfg.Enrich.Seen = filepath.Clean(cfg.Store.Path) + ".indicators"
	if s.context, err = enrich.Open(enrich.NewZones(cfg.General.Networks()), cfg.Enrich); err != nil {
		return err
	}
	for _, w := range s.context.Warnings() {
		s.log.Warn("[enrich] " + w)
	}
	defer func() {
		if s.store != nil {
			err = errors.Join(err, s.store.Close())
		}
	}()
	if cfg.Store.Type != "redis" { // what is wrong with a folder does not pass
		if s.store, err = openStore(ctx, cfg, s.log); err != nil {
			return err
		}
	}
	if s.outputs, err = openOutputs(ctx, cfg, s.log); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.outputs.Close(min(cfg.General.Grace, laxGrace))) }()
	if path := cfg.General.Refused; path != "" {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			return fmt.Errorf("[general] refused: %w", err)
		}
		defer f.Close()
		s.refused = f
	}
	s.status = newStatusBoard(cfg, s.outputs, limit)
	done, err := s.serve(ctx)
	if err != nil {
		return err
	}
	defer done()
	following, stopFollowing := context.WithCancel(ctx)
	defer stopFollowing()
	if s.store == nil {
		if err := s.awaitStore(ctx); err != nil || s.store == nil {
			return err // or it was stopped before there was anything to do
		}
	}
	go s.context.Follow(following, reloadEvery, s.log, func(fresh []event.Sought) { s.lookBack(following, fresh) })
	return s.live(ctx, hup, changes)
}

// lookBack asks what is remembered of far ends for indicators that are new. Where a
// generation ends meanwhile, the next one is asked from the beginning: what is found twice
// has one id.
func (s *sidecar) lookBack(ctx context.Context, fresh []event.Sought) {
	for ctx.Err() == nil {
		_, p := s.status.running()
		if p != nil {
			asking, stop := context.WithTimeout(ctx, s.cfg.General.Grace) // an output may be away
			err := p.LookBack(asking, fresh)
			stop()
			if err == nil {
				s.log.Info("looked back for new indicators", "indicators", len(fresh))
				return
			}
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
}

// readRules loads the rules. A condition of the configuration may name their zones.
func readRules(cfg *configs.Config) (*rules.Set, error) {
	set, err := loadRules(cfg.Rules.Folders)
	if err != nil {
		return nil, err
	}
	if e := cfg.Output.Elasticsearch; e != nil && e.When != "" {
		if _, err := set.Filter(e.When); err != nil {
			return nil, fmt.Errorf("[output.elasticsearch] when: %w", err)
		}
	}
	return set, nil
}

// newLog returns the log of a sidecar.
func newLog(w *os.File, c configs.Log) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		panic("tidewatch: a level that was checked: " + err.Error())
	}
	return journal.New(w, journal.Options{Level: level, JSON: c.Format == "json", Quiet: time.Minute, Escape: outputs.PrintableLines})
}

// yield keeps the process out of the sensor's way, as far as it may. It returns the
// limit of memory, 0 for none.
func (s *sidecar) yield() int64 {
	l := s.cfg.Limits
	if l.Processors > 0 {
		runtime.GOMAXPROCS(min(l.Processors, runtime.GOMAXPROCS(0)))
	}
	if err := neighbour.Yield(l.Nice, l.IO); err != nil {
		s.log.Warn("the system does not let tidewatch take the last place", "error", err)
	}
	return neighbour.LimitMemory(int64(l.Memory))
}

// serve answers requests for metrics, health and status, and feeds the service
// manager's watchdog, until the returned function is called.
func (s *sidecar) serve(ctx context.Context) (done func(), err error) {
	// It outlives ctx: how a sidecar stops can be seen too.
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	if a := s.cfg.HTTP.Address; a != "" {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", a)
		if err != nil {
			stop()
			return nil, fmt.Errorf("[http] address: %w", err)
		}
		s.log.Info("metrics, health and status are served", "address", l.Addr().String())
		server := &monitor.Server{Status: s.status.now, Healthy: s.status.healthy, Log: s.log}
		go server.Serve(ctx, l)
	}
	go s.watch(ctx)
	return stop, nil
}

// reloadEvery is how often it is looked whether files of [enrich] have changed.
const reloadEvery = 10 * time.Second

// watchEvery is how often rates are measured.
const watchEvery = 5 * time.Second

// watch measures rates, and feeds the service manager's watchdog as long as the sidecar
// is healthy.
func (s *sidecar) watch(ctx context.Context) {
	rates := time.NewTicker(watchEvery)
	defer rates.Stop()
	var alive <-chan time.Time
	if d := systemd.Watchdog(); d > 0 {
		t := time.NewTicker(d)
		defer t.Stop()
		alive = t.C
	}
	for {
		select {
		case <-rates.C:
			s.status.measure()
		case <-alive:
			if err := s.status.healthy(); err != nil {
				s.log.Error("not healthy: the service manager's watchdog is not fed", "error", err)
				continue
			}
			s.notify.Alive()
		case <-ctx.Done():
			return
		}
	}
}

// live runs one generation after the other: with the same store and outputs, each with
// the rules that are in force. A generation ends with a checkpoint, and the next one
// goes on there.
func (s *sidecar) live(ctx context.Context, hup <-chan os.Signal, edited <-chan struct{}) error {
	for {
		gen, stop := context.WithCancelCause(ctx)
		hups := make(chan struct{})
		go func() {
			defer close(hups)
			s.hangups(gen, hup, edited, stop)
		}()
		err := s.generation(gen)
		stop(nil)
		<-hups
		switch {
		case ctx.Err() != nil:
			s.log.Info("stopped", "error", err)
			return err
		case errors.Is(context.Cause(gen), errReload) && (err == nil || errors.Is(err, pipeline.ErrGrace)):
			s.rules = <-s.reloaded
			s.status.reloaded(true)
		case s.curated(ctx, err):
			s.log.Info("what is known was changed by a command: going on with that")
		case lostEpochs(err):
			s.log.Error("the store lost checkpoints: going on from what it has", "error", err)
		case err != nil:
			return err
		default: // each input has ended: standard input can
			s.log.Info("every input has ended")
			return nil
		}
	}
}

// curated reports whether a generation ended because a command changed what the store
// holds. It waits until that is done.
func (s *sidecar) curated(ctx context.Context, err error) bool {
	c, ok := s.store.(interface {
		Curated(ctx context.Context) (bool, error)
	})
	if !ok || !errors.Is(err, redis.ErrTaken) {
		return false
	}
	done, err := c.Curated(ctx)
	if err != nil {
		s.log.Error("the store does not say who has taken it", "error", err)
	}
	return done
}

// hangups reloads at each SIGHUP, and when rules were edited, until ctx ends.
func (s *sidecar) hangups(ctx context.Context, hup <-chan os.Signal, edited <-chan struct{}, stop context.CancelCauseFunc) {
	for {
		select {
		case <-hup:
		case <-edited:
		case <-ctx.Done():
			return
		}
		set := s.reload()
		if set == nil || s.swap(ctx, set) {
			continue
		}
		s.reloaded <- set
		stop(errReload)
		return
	}
}

// swap puts new rules in force in the generation that runs, if its detectors go on as
// they are. Otherwise the next generation begins with them, where this one ends.
func (s *sidecar) swap(ctx context.Context, set *rules.Set) bool {
	e, p := s.status.running()
	if e == nil || !set.DetectsLike(s.rules) {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.General.Grace) // an output may be away
	defer cancel()
	if err := p.Swap(ctx, judge{e.context, e.devices, set}, func() { e.suppression.Use(set) }); err != nil {
		return false
	}
	s.rules = set
	s.status.judging(set)
	s.status.reloaded(true)
	s.notify.Ready()
	return true
}

// reload opens output files again, reads the rules again, and has it looked whether files
// of [enrich] have changed. It returns new ones to go on
// with, or nil.
func (s *sidecar) reload() *rules.Set {
	s.notify.Reloading()
	s.outputs.Reopen()
	s.context.Look()
	set, err := readRules(s.cfg)
	if err != nil {
		s.status.reloaded(false)
		s.log.Error("the rules have errors: those before stay in force", "error", err)
		s.notify.Ready()
		return nil
	}
	c := set.Since(s.rules)
	if c.IsZero() {
		s.status.reloaded(true)
		s.log.Info("reloaded: the rules say the same")
		s.notify.Ready()
		return nil
	}
	s.log.Info("reloaded", "rules", set.Len(), "added", c.Added, "removed", c.Removed, "changed", c.Changed, "zones_changed", c.Zones)
	return set
}

// generation reads from where the store says until ctx ends.
func (s *sidecar) generation(ctx context.Context) error {
	set := s.rules // others may be in force when this one has begun
	e := newEngine(set, s.context)
	p := e.pipeline()
	began, saved := time.Now(), counted{store: s.store}
	positions, err := p.Restore(ctx, &saved)
	if err != nil {
		return fmt.Errorf("the store's state cannot be used: %w", err)
	}
	in, err := openInputs(s.cfg, s.context.Enrich, positions, s.refused, s.log)
	if err != nil {
		return err
	}
	defer in.Close()
	p.Sources, p.Sink, p.Store = []pipeline.Source{s.status.tap(in)}, s.outputs.Begin(), s.store
	if p.Export, err = s.outputs.exporter(set.Filter); err != nil {
		return err
	}
	if x, ok := s.store.(pipeline.Exchange); ok {
		p.Exchange = x
		e.lookup()
	}
	p.Interval, p.Grace = s.cfg.General.Epoch, s.cfg.General.Grace
	s.status.begin(e, p, in)
	defer s.status.end()
	s.log.Info("running", "rules", set.Len(), "epoch", p.Epoch, "records_restored", saved.records, "took", time.Since(began).Round(time.Millisecond))
	s.notify.Ready()
	stopping := context.AfterFunc(ctx, func() {
		if !errors.Is(context.Cause(ctx), errReload) {
			s.status.stopping()
			s.notify.Stopping()
		}
	})
	defer stopping()
	return p.Run(ctx)
}
