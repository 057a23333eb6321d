package redis

import (
	"context"
	"fmt"

	goredis "github.com/redis/go-redis/v9"
)

// Fetch reads entities by the keys of their records: for each, what every sensor knows
// of it, this one included, in the order of the sensors' names. An entity that nobody
// knows has none. What is damaged, or of a format that is not ours, is left out and
// counted.
func (s *Store) Fetch(ctx context.Context, keys [][]byte) ([][]Version, error) {
	out := make([][]Version, len(keys))
	for from := 0; from < len(keys); from += readSize {
		part := make([]string, 0, readSize)
		for _, k := range keys[from:min(from+readSize, len(keys))] {
			part = append(part, string(k))
		}
		// Entities first: a version that is there now is in the sensor's history when
		// that is read later.
		fields, err := s.readEntities(ctx, part, "*")
		if err != nil {
			return nil, err
		}
		of, err := s.look(ctx, fields)
		if err != nil {
			return nil, err
		}
		for i := range part {
			n := newest(part[i], fields[i], of)
			s.count.damaged.Add(uint64(n.damaged))
			out[from+i] = n.versions
		}
	}
	return out, nil
}

// look reads the histories of the sensors that have fields.
func (s *Store) look(ctx context.Context, all []map[string]string) (func(sensor string) *history, error) {
	ask := map[string]*goredis.MapStringStringCmd{}
	p := s.client.Pipeline()
	for _, fields := range all {
		for f := range fields {
			if sensor, _, ok := parseEntityField(f); ok && ask[sensor] == nil {
				ask[sensor] = p.HGetAll(ctx, s.sensorKey(sensor))
			}
		}
	}
	if len(ask) > 0 {
		if _, err := p.Exec(ctx); err != nil && !wrongType(err) {
			return nil, fmt.Errorf("redis: reading sensors: %w", err)
		}
	}
	known := map[string]*history{}
	for sensor, cmd := range ask {
		o, err := readOwn(s.sensorKey(sensor), cmd.Val())
		if err != nil {
			s.count.damaged.Add(1)
		}
		if o.field != "" {
			known[sensor] = &o.commit.history
		}
	}
	return func(sensor string) *history { return known[sensor] }, nil
}
