package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"

	"tidewatch/behavior/disk"
	"tidewatch/behavior/redis"
	"tidewatch/behavior/state"
	"tidewatch/configs"
	"tidewatch/internal/pipeline"
)

// store keeps checkpoints over restarts.
type store interface {
	pipeline.Store
	// Load gives f each record of the last checkpoint, which is f's until it returns.
	Load(ctx context.Context, f func(state.Section, state.Record) error) (epoch uint64, err error)
	Close() error
}

// openStore opens the store that the configuration names.
func openStore(ctx context.Context, cfg *configs.Config, log *slog.Logger) (store, error) {
	if cfg.Store.Type == "redis" {
		c := cfg.Store.Redis.Config
		c.Sensor, c.Log = cmp.Or(c.Sensor, cfg.General.SidecarName()), log
		s, err := redis.Open(ctx, c)
		if err != nil { // not a nil *redis.Store in an interface
			return nil, fmt.Errorf("[store.redis] %w", err)
		}
		warnings, err := s.Inspect(ctx)
		if err != nil {
			log.Info("redis does not say how it is set up", "error", err)
		}
		for _, w := range warnings {
			log.Warn("redis is not set up to keep baselines safe: " + w)
		}
		return s, nil
	}
	s, err := disk.Open(cfg.Store.Path, disk.Options{Log: log})
	if errors.Is(err, disk.ErrInUse) {
		return nil, fmt.Errorf("[store] path: %w\nanother tidewatch is running with this store; one store belongs to one sidecar", err)
	}
	if err != nil {
		return nil, fmt.Errorf("[store] path: %w", err)
	}
	return s, nil
}

// away reports whether a store could not be opened because its server is not there, or not
// ready.
func away(err error) bool { return errors.Is(err, redis.ErrAway) }

// lostEpochs reports whether the store has lost what it had committed: loading it again
// and reading the logs from there on brings everything back.
func lostEpochs(err error) bool {
	var lost *redis.LostError
	return errors.As(err, &lost)
}

// counted counts the records that a store loads.
type counted struct {
	store
	records int
}

func (c *counted) Load(ctx context.Context, f func(state.Section, state.Record) error) (uint64, error) {
	return c.store.Load(ctx, func(in state.Section, r state.Record) error {
		c.records++
		return f(in, r)
	})
}
