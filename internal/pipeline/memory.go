package pipeline

import (
	"context"
	"maps"

	"tidewatch/behavior/state"
)

// Memory is a Store that keeps the last checkpoint in memory: for runs whose
// state need not outlive the process, and for tests. The zero Memory is empty.
// It is not for concurrent use; a Pipeline commits one epoch at a time.
type Memory struct {
	Epoch    uint64
	Sections [state.NumSections]map[string][]byte
}

// Commit applies c. It cannot fail.
func (m *Memory) Commit(_ context.Context, c *state.Checkpoint) error {
	m.Epoch = c.Epoch
	for s, rs := range c.Changed {
		if m.Sections[s] == nil {
			m.Sections[s] = map[string][]byte{}
		}
		for _, r := range rs {
			if len(r.Value) == 0 {
				delete(m.Sections[s], string(r.Key))
			} else {
				m.Sections[s][string(r.Key)] = r.Value
			}
		}
	}
	return nil
}

// Clone returns a copy that shares no map with m.
func (m *Memory) Clone() *Memory {
	c := &Memory{Epoch: m.Epoch}
	for s := range m.Sections {
		c.Sections[s] = maps.Clone(m.Sections[s])
	}
	return c
}

// Records returns the records of one section, in no order.
func (m *Memory) Records(s state.Section) []state.Record {
	rs := make([]state.Record, 0, len(m.Sections[s]))
	for k, v := range m.Sections[s] {
		rs = append(rs, state.Record{Key: []byte(k), Value: v})
	}
	return rs
}
