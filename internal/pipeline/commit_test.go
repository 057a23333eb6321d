package pipeline_test

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tidewatch/behavior"
	"tidewatch/behavior/state"
	"tidewatch/event"
	"tidewatch/internal/pipeline"
)

// away is a store that cannot be reached at first: its first Commit returns when so many
// epochs were cut.
type away struct {
	*world
	cuts    chan struct{}
	first   bool
	commits []uint64
}

func (s *away) Commit(ctx context.Context, c *state.Checkpoint) error {
	if !s.first {
		s.first = true
		for range 12 {
			select {
			case <-s.cuts:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	s.commits = append(s.commits, c.Epoch)
	return s.Memory.Commit(ctx, c)
}

// restless is a shard that tells of each cut, and in each forgets an entity that it had
// told of in the last.
type restless struct {
	*tally
	cuts chan struct{}
	n    *uint64
}

func (s restless) Cut() []behavior.Record {
	rs := s.tally.Cut()
	*s.n++
	key := func(n uint64) []byte { return binary.BigEndian.AppendUint64([]byte("a restless entity"), n) }
	rs = append(rs, behavior.Record{Key: key(*s.n), Value: []byte{1}}, behavior.Record{Key: key(*s.n - 1)})
	select {
	case s.cuts <- struct{}{}:
	default:
	}
	return rs
}

// slow is a source that waits while the store is away, so that epochs are cut.
type slow struct {
	pipeline.Source
	n int
}

func (s *slow) Fill(ctx context.Context, q *event.Sequence) error {
	if s.n++; s.n < 40 {
		select {
		case <-time.After(3 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	return s.Source.Fill(ctx, q)
}

// TestStoreAway: while the store is away epochs are cut and put together, and in the end
// it holds what it would hold otherwise.
func TestStoreAway(t *testing.T) {
	logs, seen := makeLogs(rand.New(rand.NewPCG(2, 2)), 1, 3000)
	w := newWorld()
	p := w.pipeline(logs, 1, time.Millisecond)
	cuts, n := make(chan struct{}, 1), uint64(0)
	s := &away{world: w, cuts: cuts}
	p.Store = s
	p.Shards[0] = restless{p.Shards[0].(*tally), cuts, &n}
	p.Sources[0] = &slow{Source: p.Sources[0]}
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(s.commits) < 2 || s.commits[1] < s.commits[0]+8 {
		t.Errorf("commits of epochs %v: those that waited were not put together", s.commits)
	}
	if st := p.Stats(); st.Epochs != uint64(len(s.commits)) || st.Epoch != w.Epoch {
		t.Errorf("the statistics say %d epochs, the last %d; there were %d, the last %d", st.Epochs, st.Epoch, len(s.commits), w.Epoch)
	}
	counted := map[netip.Addr]uint64{}
	rest := 0
	for k, v := range w.Sections[state.Entities] {
		if a, ok := netip.AddrFromSlice([]byte(k)); ok {
			counted[a] = binary.LittleEndian.Uint64(v)
		} else {
			rest++
		}
	}
	if d := cmp.Diff(seen, counted, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
		t.Errorf("records counted (-want +got):\n%s", d)
	}
	if rest != 1 {
		t.Errorf("%d records of what was forgotten are left, want the last", rest)
	}
	if w.position(0) != int64(len(logs[0])) || w.Epoch != n {
		t.Errorf("position %d of %d, epoch %d of %d", w.position(0), len(logs[0]), w.Epoch, n)
	}
}

// hourly is a store that cannot be reached for an hour.
type hourly struct {
	*world
	began   time.Time
	records []int // of each commit
}

func (s *hourly) Commit(ctx context.Context, c *state.Checkpoint) error {
	if len(s.records) == 0 {
		<-time.After(time.Until(s.began.Add(time.Hour)))
	}
	n := 0
	for _, rs := range c.Changed {
		n += len(rs)
	}
	s.records = append(s.records, n)
	return s.Memory.Commit(ctx, c)
}

// steady is a source that gives a record a second.
type steady struct{ pipeline.Source }

func (s steady) Fill(ctx context.Context, q *event.Sequence) error {
	<-time.After(time.Second)
	return s.Source.Fill(ctx, q)
}

// TestStoreAwayForAnHour: detection goes on, what waits for the store is no more than what
// is kept anyway, the age of the last checkpoint can be seen, and in the end the store
// holds everything.
func TestStoreAwayForAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logs, seen := makeLogs(rand.New(rand.NewPCG(3, 3)), 1, 5000)
		w := newWorld()
		p := w.pipeline(logs, 1, time.Second)
		s := &hourly{world: w, began: time.Now()}
		p.Store, p.Length = s, 1
		p.Sources[0] = steady{p.Sources[0]}
		cuts, n := make(chan struct{}, 1), uint64(0)
		p.Shards[0] = restless{p.Shards[0].(*tally), cuts, &n} // an entity comes and goes with each cut
		done := make(chan error, 1)
		go func() { done <- p.Run(t.Context()) }()
		<-time.After(59 * time.Minute)
		synctest.Wait()
		if st := p.Stats(); st.Epochs != 0 || !st.Committed.IsZero() || st.Findings == 0 || st.Undelivered != 0 {
			t.Errorf("after 59 minutes without the store: %+v", st)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if n < 300 {
			t.Errorf("%d epochs were cut meanwhile", n)
		}
		// The second commit has what an hour changed: each entity once, and of those that
		// have come and gone at most that they are gone.
		if most := len(seen) + int(n) + 100; len(s.records) < 2 || s.records[1] > most {
			t.Errorf("commits of %v records; an hour's shall be at most %d", s.records[:min(len(s.records), 3)], most)
		}
		counted := map[netip.Addr]uint64{}
		for k, v := range w.Sections[state.Entities] {
			if a, ok := netip.AddrFromSlice([]byte(k)); ok {
				counted[a] = binary.LittleEndian.Uint64(v)
			}
		}
		if d := cmp.Diff(seen, counted, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
			t.Errorf("records counted (-want +got):\n%s", d)
		}
		if w.position(0) != int64(len(logs[0])) {
			t.Errorf("position %d of %d", w.position(0), len(logs[0]))
		}
	})
}
