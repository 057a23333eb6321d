package redis

import (
	"context"
	"testing"
	"time"

	"tidewatch/behavior/state"
	"tidewatch/behavior/storetest"
	"tidewatch/internal/servers"
	"tidewatch/internal/strict"
)

// TestConformance runs what every store must pass. A process dies by its connection:
// from one write on nothing reaches Redis.
func TestConformance(t *testing.T) {
	server := servers.SharedRedis(t)
	storetest.Run(t, func(t *testing.T) storetest.Storage {
		c := config(t, server.Addr)
		return storetest.Storage{
			Open: func(t *testing.T) storetest.Store { return opened(t, c) },
			Crash: func(t *testing.T, n int) storetest.Store {
				p := startProxy(t, server.Addr, 1)
				c := c
				c.Addresses, c.Timeout = []string{p.addr}, strict.Duration(time.Second)
				s := opened(t, c)
				ctx, cancel := context.WithCancel(t.Context())
				t.Cleanup(cancel)
				after(p, n, func() { p.down = true; cancel() })
				return &mortal{s, ctx}
			},
		}
	})
}

// mortal is a store whose process dies when a context ends.
type mortal struct {
	*Store
	life context.Context
}

func (m *mortal) Commit(ctx context.Context, c *state.Checkpoint) error {
	if m.life.Err() != nil {
		return m.life.Err()
	}
	return m.Store.Commit(m.life, c)
}

// Close closes nothing in good order.
func (m *mortal) Close() error { return m.client.Close() }
