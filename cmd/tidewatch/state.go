package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"tidewatch/behavior"
	"tidewatch/behavior/devices"
	"tidewatch/behavior/disk"
	"tidewatch/behavior/population"
	"tidewatch/behavior/redis"
	"tidewatch/behavior/state"
	"tidewatch/configs"
	"tidewatch/outputs"
	"tidewatch/rules"
)

// stateOptions are the flags of all state commands.
type stateOptions struct {
	config string
	store  string
	rules  []string
}

func stateCommand(t terminal) *cobra.Command {
	var o stateOptions
	c := &cobra.Command{
		Use:   "state",
		Short: "Show, export, accept or forget what is known of a host, a name or a pair",
		Long: `State commands work on the state directory of a sidecar that is not running, or on a
Redis whatever runs: sidecars whose baselines a command changes wait for it, and go on
with what it leaves.

An ENTITY is an address (10.0.0.5), a name (files.example), or a pair in quotes: of
a host and a service ('10.0.0.5->203.0.113.7:443/tcp'), an address, or a name
('10.0.0.5>files.example'). Findings name their subject in this way.`,
		Example: `  tidewatch state show --store /var/lib/tidewatch/state 10.0.0.5
  tidewatch state accept --config /etc/tidewatch/tidewatch.toml '10.0.0.5>files.example' beacon
  tidewatch state forget --store /var/lib/tidewatch/state 10.0.0.5`,
	}
	c.PersistentFlags().StringVarP(&o.config, "config", "c", defaultConfig, "`file` with the configuration, which names the store and the rules")
	c.PersistentFlags().StringVar(&o.store, "store", "", "state `directory`, instead of the one that the configuration names")
	c.PersistentFlags().StringArrayVar(&o.rules, "rules", nil, "`folder` of rules (*.toml) beside the shipped ones; may be given again")
	c.AddCommand(
		stateSubcommand(t, &o, "show ENTITY", "Show what is known of an entity: what is usual, since when, and why it is not learned", 1, false, showState),
		stateSubcommand(t, &o, "export ENTITY", "Write what is known of an entity as JSON", 1, false, exportState),
		stateSubcommand(t, &o, "forget ENTITY", "Remove a host or a name, also as the peer of others", 1, true, forgetState),
		stateSubcommand(t, &o, "accept ENTITY DETECTOR", "Say that what a detector tells of an entity is normal", 2, true, acceptState),
	)
	return c
}

// stateSubcommand is a command with so many arguments that runs f on the opened store, which
// it may change or not.
func stateSubcommand(t terminal, o *stateOptions, use, short string, args int, changes bool, f func(ctx context.Context, b *book, e state.Entity, args []string) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short,
		Args: func(c *cobra.Command, given []string) error {
			if len(given) != args {
				return exit{exitUsage, fmt.Errorf("usage: %s\nsee '%s --help'", c.UseLine(), c.CommandPath())}
			}
			return nil
		},
		RunE: func(c *cobra.Command, given []string) error {
			e, err := state.ParseEntity(given[0])
			if err != nil {
				return exit{exitUsage, err}
			}
			s, folders, err := o.open(c.Context())
			if err != nil {
				return err
			}
			defer s.Close()
			b, err := openBook(c.Context(), s, folders, e, changes)
			if err != nil {
				return exit{exitError, err}
			}
			out := bufio.NewWriter(t.out)
			b.out = out
			err = f(c.Context(), b, e, given)
			if err := errors.Join(err, b.release(c.Context())); err != nil {
				return err
			}
			if err := out.Flush(); err != nil {
				return exit{exitError, err}
			}
			return nil
		},
	}
}

// open opens the store of a sidecar, and says in which folders its rules are.
func (o *stateOptions) open(ctx context.Context) (s store, folders []string, err error) {
	cfg := &configs.Config{Store: configs.Store{Type: "disk", Path: o.store}}
	if o.store == "" {
		if cfg, _, err = configs.Load(o.config); err != nil {
			return nil, nil, exit{exitError, err}
		}
	}
	cfg.Store.Redis.Curator = true
	s, err = openStore(ctx, cfg, slog.New(slog.DiscardHandler))
	if errors.Is(err, disk.ErrInUse) {
		err = fmt.Errorf("%w\nstop the sidecar that is running on it first, and start it again afterwards", err)
	}
	if err != nil {
		return nil, nil, exit{exitError, err}
	}
	return s, append(slices.Clone(cfg.Rules.Folders), o.rules...), nil
}

// book is all that a store holds of entities, open for one command.
type book struct {
	out     io.Writer
	store   store
	epoch   uint64
	shard   *behavior.Shard
	known   *population.Population
	said    *rules.Suppression
	devices *devices.Devices
	removed []state.Record // cases of rules that are gone, in which the entity has a part

	set     *rules.Set
	changes bool // it is open to be changed
}

// reader is a store that can be read while a sidecar writes to it.
type reader interface {
	Read(ctx context.Context, f func(state.Section, state.Record) error) (epoch uint64, err error)
}

// releaser is a store whose sidecar waits until a command is done with it.
type releaser interface {
	Release(ctx context.Context) error
}

// openBook loads a store. What it knows of e that no detector takes is noted.
func openBook(ctx context.Context, s store, folders []string, e state.Entity, changes bool) (*book, error) {
	set, err := loadRules(folders)
	if err != nil {
		return nil, err
	}
	return loadBook(ctx, s, set, e, changes)
}

// everything returns a shard that takes each record there is, and tells what changes.
func everything(set *rules.Set) *behavior.Shard {
	cfg := set.Config()
	cfg.Off = nil // what was kept by a detector that is off now is state too
	s := behavior.NewShard(0, 1, cfg)
	s.Track()
	return s
}

func loadBook(ctx context.Context, s store, set *rules.Set, e state.Entity, changes bool) (b *book, err error) {
	b = &book{store: s, set: set, changes: changes, shard: everything(set), known: population.New(population.DefaultConfig()), said: rules.NewSuppression(set), devices: new(devices.Devices)}
	b.devices.Track()
	load := s.Load
	if r, ok := s.(reader); ok && !changes {
		load = r.Read
	}
	b.epoch, err = load(ctx, func(section state.Section, r state.Record) error {
		r = state.Record{Key: slices.Clone(r.Key), Value: slices.Clone(r.Value)}
		var err error
		switch section {
		case state.Entities:
			if behavior.Mentions(r, e) {
				b.removed = append(b.removed, state.Record{Key: r.Key})
			}
			err = b.shard.Restore(r)
		case state.Population:
			err = b.known.Restore(r)
		case state.Suppression:
			err = b.said.Restore(r)
		case state.Devices:
			err = b.devices.Restore(r)
		}
		if err != nil {
			return fmt.Errorf("a record of section %s: %w", section, err)
		}
		return nil
	})
	return b, err
}

// also returns an entity and, if its host is now a device that is known by another
// address, that.
func (b *book) also(e state.Entity) []state.Entity {
	all := []state.Entity{e}
	if e.Host.IsValid() {
		if known := b.devices.Entity(e.Host, math.MaxInt64); known != e.Host {
			e.Host = known
			all = append(all, e)
		}
	}
	return all
}

// portraits is what is known of an entity.
func (b *book) portraits(e state.Entity) (all []state.Portrait) {
	for _, e := range b.also(e) {
		all = b.known.Describe(e, b.shard.Describe(e, all))
	}
	return all
}

// release lets a sidecar go on that waits.
func (b *book) release(ctx context.Context) error {
	r, ok := b.store.(releaser)
	if !ok || !b.changes {
		return nil
	}
	if err := r.Release(ctx); err != nil {
		return exit{exitError, err}
	}
	return nil
}

// commit makes what has changed durable.
func (b *book) commit(ctx context.Context) error {
	c := &state.Checkpoint{Epoch: b.epoch + 1}
	c.Changed[state.Entities] = append(b.shard.Cut(), b.removed...)
	c.Changed[state.Population] = b.known.Cut()
	c.Changed[state.Suppression] = b.said.Cut()
	c.Changed[state.Devices] = b.devices.Cut()
	if err := b.store.Commit(ctx, c); err != nil {
		return exit{exitError, err}
	}
	return nil
}

// unknown says that nothing is known of an entity.
func unknown(e state.Entity) error {
	return exit{exitError, fmt.Errorf("nothing is known of %s", e)}
}

// mostShown bounds what show prints: a busy host has thousands of pairs.
const mostShown = 100

func showState(_ context.Context, b *book, e state.Entity, _ []string) error {
	ps := b.portraits(e)
	if len(ps) == 0 {
		return unknown(e)
	}
	if all := b.also(e); len(all) > 1 {
		fmt.Fprintf(b.out, "%s is the device that is known as %s\n", outputs.Printable(e.String()), outputs.Printable(all[1].String()))
	}
	for i := range ps[:min(len(ps), mostShown)] {
		p := &ps[i]
		vlan := ""
		if p.VLAN != 0 {
			vlan = fmt.Sprintf(" in VLAN %d", p.VLAN)
		}
		fmt.Fprintf(b.out, "%s: %s%s\n", outputs.Printable(p.Detector), outputs.Printable(p.Subject), vlan)
		fmt.Fprintf(b.out, "  since %s, last seen %s (UTC)\n", stateTime(p.Since), stateTime(p.Last))
		for _, f := range p.Facts {
			fmt.Fprintf(b.out, "  %s\n", outputs.Printable(f.Text))
		}
	}
	if n := len(ps) - mostShown; n > 0 {
		fmt.Fprintf(b.out, "... and %d more: ask for a pair, or export\n", n)
	}
	return nil
}

// stateTime writes a time, or that it is not known.
func stateTime(ns int64) string {
	if ns <= 0 {
		return "(not known)"
	}
	return time.Unix(0, ns).UTC().Format("2006-01-02 15:04:05")
}

// exportedState is the form of export.
type exportedState struct {
	Entity string             `json:"entity"`
	Known  []exportedPortrait `json:"known"`
}

type exportedPortrait struct {
	state.Portrait
	Since string `json:"since,omitempty"` // RFC 3339, UTC
	Last  string `json:"last_seen,omitempty"`
}

func exportState(_ context.Context, b *book, e state.Entity, _ []string) error {
	x := exportedState{Entity: e.String(), Known: []exportedPortrait{}}
	for _, p := range b.portraits(e) {
		x.Known = append(x.Known, exportedPortrait{p, exportedTime(p.Since), exportedTime(p.Last)})
	}
	if len(x.Known) == 0 {
		return unknown(e)
	}
	j := json.NewEncoder(b.out)
	j.SetIndent("", "  ")
	if err := j.Encode(x); err != nil {
		return exit{exitError, err}
	}
	return nil
}

func exportedTime(ns int64) string {
	if ns <= 0 {
		return ""
	}
	return time.Unix(0, ns).UTC().Format(time.RFC3339Nano)
}

// compacter is a store whose files hold what was removed until they are written anew.
type compacter interface {
	Compact(ctx context.Context) error
}

// forgotten counts what held an entity.
type forgotten struct{ entities, entries, said int }

func (f forgotten) any() bool { return f != forgotten{} }

// forget removes an entity, and every byte of it.
func (b *book) forget(ctx context.Context, e state.Entity) (f forgotten, err error) {
	for _, e := range b.also(e) {
		f = forgotten{f.entities + b.shard.Forget(e), f.entries + b.known.Forget(e), f.said + b.said.Forget(e)}
	}
	if e.Host.IsValid() {
		f.entries += b.devices.Forget(e.Host)
	}
	f.entities = max(f.entities, len(b.removed))
	if f.any() {
		if err := b.commit(ctx); err != nil {
			return f, err
		}
	}
	// Also where nothing is known: it may be forgotten, and its bytes still be there.
	if s, ok := b.store.(compacter); ok {
		if err := s.Compact(ctx); err != nil {
			return f, exit{exitError, fmt.Errorf("it is forgotten, but bytes of it are still there: %w", err)}
		}
	}
	return f, nil
}

func forgetState(ctx context.Context, b *book, e state.Entity, _ []string) error {
	if e.IsPair() {
		return exit{exitUsage, errors.New("forget takes a host or a name, not a pair")}
	}
	known := b.also(e)
	all, err := b.forget(ctx, e)
	if err != nil {
		return err
	}
	if s, ok := b.store.(*redis.Store); ok {
		for _, e := range known {
			others, err := b.forgetElsewhere(ctx, s, e)
			if err != nil {
				return err
			}
			all = forgotten{all.entities + others.entities, all.entries + others.entries, all.said + others.said}
		}
	}
	if !all.any() {
		return unknown(e)
	}
	fmt.Fprintf(b.out, "%s is forgotten: in %d entities, %d entries of who uses what, and %d memories of what was said\n", outputs.Printable(e.String()), all.entities, all.entries, all.said)
	return nil
}

// forgetElsewhere removes an entity from what the other sensors of a Redis know, and from
// what all have told each other. Sidecars that run wait until that is done.
func (b *book) forgetElsewhere(ctx context.Context, s *redis.Store, e state.Entity) (all forgotten, err error) {
	sensors, err := s.Sensors(ctx)
	if err != nil {
		return all, exit{exitError, err}
	}
	for _, name := range sensors {
		if name == s.Sensor() {
			continue
		}
		f, done, err := b.forgetAt(ctx, s, name, e)
		if done != nil {
			defer done()
		}
		if err != nil {
			return all, fmt.Errorf("sensor %s: %w", outputs.Printable(name), err)
		}
		all = forgotten{all.entities + f.entities, all.entries + f.entries, all.said + f.said}
		fmt.Fprintf(b.out, "sensor %s: %d entities, %d entries of who uses what, %d memories of what was said\n", outputs.Printable(name), f.entities, f.entries, f.said)
	}
	n, err := b.untell(ctx, s, e)
	all.entities += n
	return all, err
}

// forgetAt removes an entity from what another sensor knows. Done lets that sensor go on.
func (b *book) forgetAt(ctx context.Context, s *redis.Store, sensor string, e state.Entity) (f forgotten, done func(), err error) {
	other, err := s.As(ctx, sensor)
	if err != nil {
		return f, nil, exit{exitError, err}
	}
	ob, err := loadBook(ctx, other, b.set, e, true)
	done = func() { _, _ = other.Release(ctx), other.Close() }
	if err != nil {
		return f, done, exit{exitError, err}
	}
	f, err = ob.forget(ctx, e)
	return f, done, err
}

// untell takes back what sensors have told each other of an entity. It returns how many
// records that were.
func (b *book) untell(ctx context.Context, s *redis.Store, e state.Entity) (n int, err error) {
	told := map[string]*behavior.Shard{}
	dead := map[string][][]byte{} // cases of rules that are gone
	err = s.Told(ctx, func(sensor string, r state.Record) error {
		if told[sensor] == nil {
			told[sensor] = everything(b.set)
		}
		if behavior.Mentions(r, e) {
			dead[sensor] = append(dead[sensor], r.Key)
		}
		_ = told[sensor].Restore(r) // of another version: nobody can read it
		return nil
	})
	if err != nil {
		return 0, exit{exitError, fmt.Errorf("what sensors have told each other was not looked through (the user needs the command scan for that): %w", err)}
	}
	for _, sensor := range slices.Sorted(maps.Keys(told)) {
		told[sensor].Forget(e)
		keys := dead[sensor]
		for _, r := range told[sensor].Cut() {
			keys = append(keys, r.Key)
		}
		if err := s.Untell(ctx, sensor, keys); err != nil {
			return n, exit{exitError, err}
		}
		n += len(keys)
	}
	return n, nil
}

func acceptState(ctx context.Context, b *book, e state.Entity, args []string) error {
	detector := args[1]
	if !slices.Contains(behavior.Acceptable, detector) {
		return exit{exitUsage, fmt.Errorf("no detector %q that can accept: there are %v", detector, behavior.Acceptable)}
	}
	if pair := detector != "scan" && detector != "hosts"; pair != e.IsPair() {
		return exit{exitUsage, fmt.Errorf("%s takes %s", detector, map[bool]string{true: "a pair, such as '10.0.0.5->203.0.113.7:443/tcp' or '10.0.0.5>files.example'", false: "a host, such as 10.0.0.5"}[pair])}
	}
	done := false
	for _, e := range b.also(e) {
		done = b.shard.Accept(e, detector, time.Now().UnixNano()) || done
	}
	if !done {
		return exit{exitError, fmt.Errorf("%s has nothing of %s to accept", detector, e)}
	}
	b.removed = nil
	if err := b.commit(ctx); err != nil {
		return err
	}
	fmt.Fprintf(b.out, "%s: what %s tells of it is normal from now on; far more than that is told\n", outputs.Printable(e.String()), detector)
	return nil
}
