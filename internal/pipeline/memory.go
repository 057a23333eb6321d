package pipeline

import (
	"context"
	"fmt"
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

// Commit applies c. It fails if ctx has ended, or the epoch is older than the last.
func (m *Memory) Commit(ctx context.Context, c *state.Checkpoint) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.Epoch < m.Epoch {
		return fmt.Errorf("epoch %d comes after %d", c.Epoch, m.Epoch)
	}
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

// Load gives f each record, in no order, and returns the epoch.
func (m *Memory) Load(ctx context.Context, f func(state.Section, state.Record) error) (epoch uint64, err error) {
	for s, rs := range m.Sections {
		for k, v := range rs {
			if err := f(state.Section(s), state.Record{Key: []byte(k), Value: v}); err != nil {
				return 0, err
			}
		}
	}
	return m.Epoch, ctx.Err()
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
