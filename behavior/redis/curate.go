package redis

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"tidewatch/behavior/state"
)

// A curator's claim begins with curating, and is curated when it has done its work.
const (
	curating = "curator-"
	curated  = "curated"
)

// curatorTime is how long a sidecar waits for a curator. One that died is not waited for
// any longer: what it committed counts, and nothing else.
const curatorTime = 2 * time.Minute

// Read is Load for one who looks only: whoever writes as this sensor goes on.
func (s *Store) Read(ctx context.Context, f func(state.Section, state.Record) error) (epoch uint64, err error) {
	o, err := s.look(ctx)
	if err != nil {
		return 0, err
	}
	return s.last, s.load(ctx, &o, f)
}

// Compact commits an epoch that changes nothing, with each ledger written anew that holds
// anything else than what counts. The error says that something old may be left.
func (s *Store) Compact(ctx context.Context) error {
	s.wholes = true
	defer func() { s.wholes = false }()
	if err := s.Commit(ctx, &state.Checkpoint{Epoch: s.last + 1}); err != nil {
		return err
	}
	if len(s.garbage) > 0 {
		return s.clean(ctx)
	}
	return nil
}

// Release lets the sensor go on that a curator has claimed.
func (s *Store) Release(ctx context.Context) error {
	key, field := s.sensorKey(s.cfg.Sensor), genField(fieldOwner, s.history.now.gen)
	if err := s.client.HSet(ctx, key, field, curated).Err(); err != nil {
		return fmt.Errorf("redis: releasing %s: %w", key, err)
	}
	return nil
}

// Curated reports, after ErrTaken, whether it was a curator that took the sensor's name. It
// waits until that one has done its work. Then Load reads what it left.
func (s *Store) Curated(ctx context.Context) (bool, error) {
	key := s.sensorKey(s.cfg.Sensor)
	for deadline := time.Now().Add(curatorTime); ; {
		fields, err := s.client.HGetAll(ctx, key).Result()
		if err != nil {
			return false, fmt.Errorf("redis: reading %s: %w", key, err)
		}
		o, err := readOwn(key, fields)
		if err != nil {
			return false, fmt.Errorf("redis: %w", err)
		}
		if len(o.claims) == 0 {
			return false, nil
		}
		owner := o.owner[o.claims[len(o.claims)-1]]
		switch {
		case owner == curated:
			return true, nil
		case !strings.HasPrefix(owner, curating):
			return false, nil
		case time.Now().After(deadline):
			s.log.Warn("whoever changes what this sensor knows does not end: going on", "waited", curatorTime)
			return true, nil
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
}

// Sensor returns the name of the sensor whose store it is.
func (s *Store) Sensor() string { return s.cfg.Sensor }

// Sensors returns the names of all sensors, in order.
func (s *Store) Sensors(ctx context.Context) ([]string, error) {
	names, err := s.client.SMembers(ctx, s.prefix+"sensors").Result()
	if err != nil {
		return nil, fmt.Errorf("redis: reading the sensors: %w", err)
	}
	names = slices.DeleteFunc(names, func(n string) bool { return !name.MatchString(n) })
	slices.Sort(names)
	return names, nil
}

// As opens the store of another sensor.
func (s *Store) As(ctx context.Context, sensor string) (*Store, error) {
	c := s.cfg
	c.Sensor = sensor
	return Open(ctx, c)
}

// Told gives f what sensors have told each other of entities, the newest of each. Keys that
// are too long to be read back are left out. It looks through all keys of the servers.
func (s *Store) Told(ctx context.Context, f func(sensor string, r state.Record) error) error {
	var lock sync.Mutex
	return s.eachPrimary(ctx, func(ctx context.Context, c goredis.Cmdable) error {
		var cursor uint64
		for {
			names, next, err := c.Scan(ctx, cursor, s.prefix+"e:*", 1000).Result()
			if err != nil {
				return fmt.Errorf("redis: looking through keys: %w", err)
			}
			var keys [][]byte
			for _, n := range names {
				if k, ok := s.recordKey(n); ok {
					keys = append(keys, k)
				}
			}
			all, err := s.Fetch(ctx, keys)
			if err != nil {
				return err
			}
			lock.Lock()
			for i, versions := range all {
				for _, v := range versions {
					err = errors.Join(err, f(v.Sensor, state.Record{Key: keys[i], Value: v.Value}))
				}
			}
			lock.Unlock()
			if cursor = next; err != nil || cursor == 0 {
				return err
			}
		}
	})
}

// eachPrimary calls f for each server that keys lie on.
func (s *Store) eachPrimary(ctx context.Context, f func(context.Context, goredis.Cmdable) error) error {
	if c, ok := s.client.(*goredis.ClusterClient); ok {
		return c.ForEachMaster(ctx, func(ctx context.Context, node *goredis.Client) error { return f(ctx, node) })
	}
	return f(ctx, s.client)
}

// recordKey is the inverse of entityKey, where there is one.
func (s *Store) recordKey(key string) ([]byte, bool) {
	kind, text, ok := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(key, s.prefix+"e:{"), "}"), ":")
	if !ok || len(kind) != 1 {
		return nil, false
	}
	rest, err := encoding.DecodeString(text)
	if err != nil {
		return nil, false
	}
	if kind != "_" {
		rest = append([]byte(kind), rest...)
	}
	return rest, true
}

// Untell takes back what a sensor has told others of the entities with these keys, in any
// generation.
func (s *Store) Untell(ctx context.Context, sensor string, keys [][]byte) error {
	for part := range slices.Chunk(keys, pipeCommands) {
		read := s.client.Pipeline()
		cmds := make([]*goredis.MapStringStringCmd, len(part))
		for i, k := range part {
			cmds[i] = read.HGetAll(ctx, s.entityKey(k))
		}
		if _, err := read.Exec(ctx); err != nil {
			if err := s.failed(toCmders(cmds)); err != nil {
				return fmt.Errorf("redis: reading entities: %w", err)
			}
		}
		remove := s.client.Pipeline()
		for i, k := range part {
			fields := slices.Collect(maps.Keys(cmds[i].Val()))
			fields = slices.DeleteFunc(fields, func(f string) bool { of, _, ok := parseEntityField(f); return !ok || of != sensor })
			if len(fields) > 0 {
				remove.HDel(ctx, s.entityKey(k), fields...)
			}
		}
		if remove.Len() == 0 {
			continue
		}
		if _, err := remove.Exec(ctx); err != nil {
			return fmt.Errorf("redis: taking back what was told: %w", err)
		}
	}
	return nil
}
