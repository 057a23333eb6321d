package pipeline

import (
	"context"
	"maps"

	"tidewatch/behavior"
)

// Memory is a Store that keeps the last checkpoint in memory: for runs whose
// state need not outlive the process, and for tests. The zero Memory is empty.
// It is not for concurrent use; a Pipeline commits one epoch at a time.
type Memory struct {
	Positions   map[int]int64
	Entities    map[string][]byte
	Suppression map[string][]byte
	Joined      map[string][]byte
	Population  map[string][]byte
}

// Commit applies c. It cannot fail.
func (m *Memory) Commit(_ context.Context, c *Checkpoint) error {
	if m.Positions == nil {
		m.Positions = map[int]int64{}
		m.Entities, m.Suppression = map[string][]byte{}, map[string][]byte{}
		m.Joined, m.Population = map[string][]byte{}, map[string][]byte{}
	}
	for _, p := range c.Positions {
		m.Positions[p.Source] = p.Offset
	}
	apply(m.Entities, c.Entities)
	apply(m.Suppression, c.Suppression)
	apply(m.Joined, c.Joined)
	apply(m.Population, c.Population)
	return nil
}

// apply puts records into m; one without a value takes its key out.
func apply(m map[string][]byte, rs []behavior.Record) {
	for _, r := range rs {
		if len(r.Value) == 0 {
			delete(m, string(r.Key))
		} else {
			m[string(r.Key)] = r.Value
		}
	}
}

// Clone returns a copy that shares no map with m.
func (m *Memory) Clone() *Memory {
	return &Memory{
		Positions: maps.Clone(m.Positions), Entities: maps.Clone(m.Entities),
		Suppression: maps.Clone(m.Suppression), Joined: maps.Clone(m.Joined), Population: maps.Clone(m.Population),
	}
}

// Records returns the records of one of m's maps.
func Records(m map[string][]byte) []behavior.Record {
	rs := make([]behavior.Record, 0, len(m))
	for k, v := range m {
		rs = append(rs, behavior.Record{Key: []byte(k), Value: v})
	}
	return rs
}
