package redis

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	goredis "github.com/redis/go-redis/v9"

	"tidewatch/behavior/state"
)

// Version is what one sensor knows of an entity.
type Version struct {
	Sensor string
	Epoch  uint64 // of that sensor
	Value  []byte
}

// readSize is how many entities are read at once.
const readSize = 500

// Fetch reads entities by the keys of their records: for each, what every sensor has
// told of it, this one included, in the order of the sensors' names. An entity that
// nobody knows has none. What is damaged, or of a format that is not ours, is left out
// and counted.
func (s *Store) Fetch(ctx context.Context, keys [][]byte) ([][]Version, error) {
	out := make([][]Version, 0, len(keys))
	for part := range slices.Chunk(keys, readSize) {
		p := s.client.Pipeline()
		cmds := make([]*goredis.MapStringStringCmd, len(part))
		for i, k := range part {
			cmds[i] = p.HGetAll(ctx, s.entityKey(k))
		}
		if _, err := p.Exec(ctx); err != nil {
			if err := s.failed(toCmders(cmds)); err != nil {
				return nil, fmt.Errorf("redis: reading entities: %w", err)
			}
		}
		for i, k := range part {
			vs, damaged := newest(k, cmds[i].Val())
			s.count.damaged.Add(uint64(damaged))
			out = append(out, vs)
		}
	}
	return out, nil
}

func toCmders(cmds []*goredis.MapStringStringCmd) []goredis.Cmder {
	all := make([]goredis.Cmder, len(cmds))
	for i, c := range cmds {
		all[i] = c
	}
	return all
}

// newest finds what each sensor said last, in the order of their names.
func newest(key []byte, fields map[string]string) (vs []Version, damaged int) {
	last := map[string]version{}
	for f, b := range fields {
		sensor, gen, ok := parseEntityField(f)
		if !ok {
			continue
		}
		epoch, value, err := decodeEntity(b, key, f)
		if err != nil {
			damaged++ // left alone: it may be of a newer format
			continue
		}
		v, at := version{gen, epoch}, slices.IndexFunc(vs, func(v Version) bool { return v.Sensor == sensor })
		switch {
		case at < 0:
			vs = append(vs, Version{sensor, epoch, value})
		case v.after(last[sensor]):
			vs[at] = Version{sensor, epoch, value}
		default:
			continue
		}
		last[sensor] = v
	}
	slices.SortFunc(vs, func(a, b Version) int { return cmp.Compare(a.Sensor, b.Sensor) })
	return vs, damaged
}

// maxSensors bounds how many sensors are read.
const maxSensors = 1024

// Peers gives f what other sensors have committed since it was called last, or ever, of
// who uses what: the records of destinations and of local hosts. They are sets, which may
// be merged again and again. A sensor that cannot be read is left out and counted.
func (s *Store) Peers(ctx context.Context, f func(sensor string, r state.Record) error) error {
	names, err := s.client.SMembers(ctx, s.prefix+"sensors").Result()
	if err != nil {
		return fmt.Errorf("redis: reading the sensors: %w", err)
	}
	slices.Sort(names)
	s.peers = 0
	for _, sensor := range names[:min(len(names), maxSensors)] {
		if sensor == s.cfg.Sensor || !name.MatchString(sensor) {
			continue
		}
		s.peers++
		if err := s.peer(ctx, sensor, f); err != nil {
			return err
		}
	}
	return nil
}

// peer reads what one sensor has committed since we looked last.
func (s *Store) peer(ctx context.Context, sensor string, f func(string, state.Record) error) error {
	key := s.sensorKey(sensor)
	fields, err := s.client.HGetAll(ctx, key).Result()
	if err != nil && !wrongType(err) {
		return fmt.Errorf("redis: reading %s: %w", key, err)
	}
	o, err := readOwn(key, fields)
	if err != nil || o.field == "" {
		s.count.damaged.Add(1) // a newer format, perhaps
		return nil
	}
	seen := s.seen[sensor]
	if !o.commit.now.after(seen) {
		return nil
	}
	for part := range batches(eachBucket(), readBuckets) {
		part = slices.DeleteFunc(part, func(b bucket) bool { return b.section != state.Population || !o.commit.tips[b].after(seen) })
		if len(part) == 0 {
			continue
		}
		if err := s.peerBuckets(ctx, sensor, part, &o.commit.history, seen, f); err != nil {
			return err
		}
	}
	s.seen[sensor] = o.commit.now
	return nil
}

func (s *Store) peerBuckets(ctx context.Context, sensor string, part []bucket, h *history, seen version, f func(string, state.Record) error) error {
	p := s.client.Pipeline()
	cmds := make([]*goredis.MapStringStringCmd, len(part))
	for i, b := range part {
		cmds[i] = p.HGetAll(ctx, s.ledgerKeyOf(sensor, b))
	}
	if _, err := p.Exec(ctx); err != nil {
		if err := s.failed(toCmders(cmds)); err != nil {
			return fmt.Errorf("redis: reading sensor %s: %w", sensor, err)
		}
	}
	for i, b := range part {
		fields := cmds[i].Val()
		for name := range fields {
			if _, v, ok := parseField(name); ok && !v.after(seen) {
				delete(fields, name) // we have it
			}
		}
		folded := fold(s.ledgerKeyOf(sensor, b), fields, h)
		s.count.damaged.Add(uint64(folded.bad))
		for _, k := range slices.Sorted(maps.Keys(folded.records)) {
			if k == "" || k[0] != state.KindDestination && k[0] != state.KindPopulation {
				continue
			}
			if err := f(sensor, state.Record{Key: []byte(k), Value: folded.records[k]}); err != nil {
				return err
			}
		}
	}
	return nil
}
