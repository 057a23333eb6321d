// Package storetest holds what every store of checkpoints must do, as tests that the
// package of each store runs.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tidewatch/behavior/state"
)

// Store is what is tested.
type Store interface {
	// Commit makes c durable: all of it or, if it fails, nothing that a Load shows.
	// A later record with a key replaces an earlier one, also within c. The epoch
	// committed last may come again; an older one is refused.
	Commit(ctx context.Context, c *state.Checkpoint) error
	// Load gives f the records of the last epoch, each once, in any order, and returns
	// the epoch. A record is f's until f returns. An error of f ends it, and is returned.
	Load(ctx context.Context, f func(state.Section, state.Record) error) (epoch uint64, err error)
	Close() error
}

// Storage outlives the stores that are opened on it.
type Storage struct {
	// Open opens a store as a process does that starts. Those that were opened before
	// are closed, or have crashed.
	Open func(t *testing.T) Store
	// Crash opens a store whose process dies at the n-th write to the storage, counted
	// from 1 when it is open: that write and those after it do not reach the storage,
	// and Commit fails. It is nil where nothing outlives the process.
	Crash func(t *testing.T, n int) Store
}

// Run runs the tests. Fresh makes empty storage.
func Run(t *testing.T, fresh func(t *testing.T) Storage) {
	for name, f := range map[string]func(*testing.T, Storage){
		"empty": empty, "sections": sections, "removal": removal, "keys": keys, "values": values,
		"replay": replay, "older epoch": olderEpoch, "ended": ended, "many epochs": manyEpochs,
	} {
		t.Run(name, func(t *testing.T) { f(t, fresh(t)) })
	}
	if fresh(t).Crash != nil {
		t.Run("crash", func(t *testing.T) { crash(t, fresh) })
	}
}

// Content is what a store holds.
type Content [state.NumSections]map[string]string

// Apply does to c what a commit must do.
func (c *Content) Apply(p *state.Checkpoint) {
	for s, rs := range p.Changed {
		for _, r := range rs {
			c.Put(state.Section(s), r)
		}
	}
}

// Put does to c what a commit of one record must do.
func (c *Content) Put(s state.Section, r state.Record) {
	if c[s] == nil {
		c[s] = map[string]string{}
	}
	if len(r.Value) == 0 {
		delete(c[s], string(r.Key))
	} else {
		c[s][string(r.Key)] = string(r.Value)
	}
}

// Clone returns a copy that shares nothing with c.
func (c *Content) Clone() (d Content) {
	for s := range c {
		d[s] = maps.Clone(c[s])
	}
	return d
}

// Diff returns how other differs, for a person to read; "" if it does not.
func (c *Content) Diff(other *Content) string {
	for s := range c {
		if !maps.Equal(c[s], other[s]) {
			return fmt.Sprintf("section %s:\n%.4000s", state.Section(s), cmp.Diff(c[s], other[s]))
		}
	}
	return ""
}

// Read loads all of a store. It fails if a record comes twice.
func Read(t *testing.T, s Store) (c Content, epoch uint64) {
	t.Helper()
	epoch, err := s.Load(t.Context(), func(section state.Section, r state.Record) error {
		if c[section] == nil {
			c[section] = map[string]string{}
		}
		if _, twice := c[section][string(r.Key)]; twice {
			return fmt.Errorf("%s: %q comes twice", section, r.Key)
		}
		c[section][string(r.Key)] = string(r.Value)
		return nil
	})
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return c, epoch
}

// checkpoint returns one that writes pairs of keys and values to a section.
func checkpoint(epoch uint64, section state.Section, pairs ...string) *state.Checkpoint {
	c := &state.Checkpoint{Epoch: epoch}
	for p := range slices.Chunk(pairs, 2) {
		c.Changed[section] = append(c.Changed[section], state.Record{Key: []byte(p[0]), Value: []byte(p[1])})
	}
	return c
}

// session is a store and what it must hold.
type session struct {
	*testing.T
	Storage
	store Store
	want  Content
	epoch uint64
}

func begin(t *testing.T, on Storage) *session {
	return &session{T: t, Storage: on, store: on.Open(t)}
}

func (s *session) commit(c *state.Checkpoint) {
	s.Helper()
	if err := s.store.Commit(s.Context(), c); err != nil {
		s.Fatalf("Commit of epoch %d: %v", c.Epoch, err)
	}
	s.want.Apply(c)
	s.epoch = c.Epoch
}

// check compares, before and after a restart.
func (s *session) check() {
	s.Helper()
	s.compare()
	s.close()
	s.store = s.Open(s.T)
	s.compare()
}

func (s *session) compare() {
	s.Helper()
	got, epoch := Read(s.T, s.store)
	if epoch != s.epoch {
		s.Errorf("the store is at epoch %d, want %d", epoch, s.epoch)
	}
	if d := s.want.Diff(&got); d != "" {
		s.Errorf("(-want +got) %s", d)
	}
}

func (s *session) close() {
	s.Helper()
	if err := s.store.Close(); err != nil {
		s.Errorf("Close: %v", err)
	}
}

func empty(t *testing.T, on Storage) {
	s := begin(t, on)
	s.check()
	s.commit(&state.Checkpoint{Epoch: 1})
	s.check()
	s.close()
}

// sections: the same key is another record in another section.
func sections(t *testing.T, on Storage) {
	s := begin(t, on)
	c := &state.Checkpoint{Epoch: 1}
	for i := range state.NumSections {
		c.Changed[i] = []state.Record{{Key: []byte("key"), Value: []byte(i.String())}, {Key: []byte(i.String()), Value: []byte{byte(i)}}}
	}
	s.commit(c)
	s.check()
	s.commit(checkpoint(2, state.Entities, "key", ""))
	s.check()
	s.close()
}

func removal(t *testing.T, on Storage) {
	s := begin(t, on)
	s.commit(checkpoint(1, state.Entities, "a", "1", "b", "2", "c", "3"))
	s.commit(checkpoint(2, state.Entities, "b", "", "never there", ""))
	s.check()
	s.commit(checkpoint(3, state.Entities, "b", "again"))
	s.check()
	s.commit(checkpoint(4, state.Entities, "x", "1", "x", "", "a", "", "a", "2")) // the last word counts
	s.check()
	s.commit(checkpoint(5, state.Entities, "a", "", "b", "", "c", ""))
	s.check()
	s.close()
}

// keys: any bytes, also those that mean something to storages.
func keys(t *testing.T, on Storage) {
	s := begin(t, on)
	ks := []string{"\x00", "\x00\x00", "\xff", "\xff\xff\xff\xff", "{tag}", "a:b", "*", "a b\r\n$1\r\n", "\xc3\x28", strings.Repeat("k", 300)}
	for b := range 256 {
		ks = append(ks, string([]byte{'p', byte(b), 0, byte(b)}))
	}
	c := &state.Checkpoint{Epoch: 1}
	for _, section := range []state.Section{state.Entities, state.Positions} {
		for i, k := range ks {
			c.Changed[section] = append(c.Changed[section], state.Record{Key: []byte(k), Value: fmt.Appendf(nil, "%d\x00\r\n", i)})
		}
	}
	s.commit(c)
	s.check()
	s.commit(checkpoint(2, state.Entities, "\x00", "", "\xff", "", "*", ""))
	s.check()
	s.close()
}

// values: from one byte to more than any detector writes.
func values(t *testing.T, on Storage) {
	s := begin(t, on)
	noise := make([]byte, 3<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(noise)
	c := &state.Checkpoint{Epoch: 1}
	for _, n := range []int{1, 2, 100, 4 << 10, 64 << 10, 1<<20 + 1, len(noise)} {
		c.Changed[state.Entities] = append(c.Changed[state.Entities], state.Record{Key: fmt.Appendf(nil, "%d", n), Value: noise[:n]})
	}
	c.Changed[state.Population] = []state.Record{{Key: []byte("zeros"), Value: bytes.Repeat([]byte{0}, 1000)}}
	s.commit(c)
	s.check()
	s.commit(checkpoint(2, state.Entities, fmt.Sprint(len(noise)), "small"))
	s.check()
	s.close()
}

// replay: an epoch that comes again, as after a lost answer, is there once.
func replay(t *testing.T, on Storage) {
	s := begin(t, on)
	s.commit(checkpoint(1, state.Entities, "a", "1", "b", "1"))
	second := checkpoint(2, state.Entities, "a", "2", "b", "", "c", "2")
	s.commit(second)
	s.commit(second)
	s.check()
	s.commit(second) // after the restart too
	s.check()
	s.commit(checkpoint(3, state.Entities, "a", "3"))
	s.check()
	s.close()
}

func olderEpoch(t *testing.T, on Storage) {
	s := begin(t, on)
	s.commit(checkpoint(7, state.Entities, "a", "7")) // the first need not be 1
	for range 2 {
		if err := s.store.Commit(t.Context(), checkpoint(6, state.Entities, "a", "6")); err == nil {
			t.Error("an epoch older than the last was committed")
		}
		s.check()
	}
	s.commit(checkpoint(9, state.Entities, "b", "9"))
	s.check()
	s.close()
}

// ended: a context that has ended changes nothing, and f's error ends Load.
func ended(t *testing.T, on Storage) {
	s := begin(t, on)
	s.commit(checkpoint(1, state.Entities, "a", "1", "b", "1"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.store.Commit(ctx, checkpoint(2, state.Entities, "a", "2")); !errors.Is(err, context.Canceled) {
		t.Errorf("Commit returned %v, want the context's error", err)
	}
	stop, n := errors.New("stop"), 0
	if _, err := s.store.Load(t.Context(), func(state.Section, state.Record) error { n++; return stop }); !errors.Is(err, stop) || n != 1 {
		t.Errorf("Load returned %v after %d records, want f's error after 1", err, n)
	}
	s.check()
	s.close()
}

// random returns a checkpoint over few keys, so that they are written again and again.
func random(r *rand.Rand, epoch uint64, largest int) *state.Checkpoint {
	c := &state.Checkpoint{Epoch: epoch}
	for range r.IntN(60) {
		section := state.Section(r.IntN(int(state.NumSections)))
		rec := state.Record{Key: fmt.Appendf(nil, "%c%d", "spboh"[r.IntN(5)], r.IntN(40))}
		if r.IntN(4) > 0 {
			rec.Value = bytes.Repeat([]byte{byte(r.IntN(256)), byte(r.IntN(256))}, 1+r.IntN(largest)/2)
		}
		c.Changed[section] = append(c.Changed[section], rec)
	}
	return c
}

func manyEpochs(t *testing.T, on Storage) {
	r := rand.New(rand.NewPCG(1, 2))
	s := begin(t, on)
	for epoch := range uint64(60) {
		s.commit(random(r, epoch+1, 3000))
		if r.IntN(8) == 0 {
			s.check()
		}
	}
	s.check()
	s.close()
}

// crash: whichever write to the storage is the last, afterwards the storage holds one
// epoch, whole, and not an older one than the last that Commit reported; and from there
// everything comes out as if nothing had happened.
func crash(t *testing.T, fresh func(*testing.T) Storage) {
	const first, last = 3, 8
	crashes := 0
	for n := 1; ; n++ {
		on := fresh(t)
		s := begin(t, on)
		r := rand.New(rand.NewPCG(3, 4))
		for epoch := range uint64(first) {
			s.commit(random(r, epoch+1, 2000))
		}
		s.close()
		epochs, states := []*state.Checkpoint{}, []Content{s.want.Clone()}
		for epoch := uint64(first + 1); epoch <= last; epoch++ {
			c := random(r, epoch, 2000)
			epochs = append(epochs, c)
			s.want.Apply(c)
			states = append(states, s.want.Clone())
		}
		done, failed := crashing(t, on.Crash(t, n), epochs)
		if failed {
			crashes++
		}
		store := on.Open(t)
		got, epoch := Read(t, store)
		if at := int(epoch) - first; at < done || at > min(done+1, len(epochs)) {
			t.Fatalf("crash at write %d: epoch %d is there after %d was committed", n, epoch, first+done)
		} else if d := states[at].Diff(&got); d != "" {
			t.Fatalf("crash at write %d, epoch %d (-want +got): %s", n, epoch, d)
		}
		for _, c := range epochs[epoch-first:] {
			if err := store.Commit(t.Context(), c); err != nil {
				t.Fatalf("crash at write %d, then epoch %d: %v", n, c.Epoch, err)
			}
		}
		if got, _ := Read(t, store); s.want.Diff(&got) != "" {
			t.Fatalf("crash at write %d, in the end (-want +got): %s", n, s.want.Diff(&got))
		}
		if err := store.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if done == len(epochs) {
			break // it has more writes than there are
		}
	}
	if crashes < last-first {
		t.Errorf("only %d crashes: the test tests nothing", crashes)
	}
	t.Logf("%d crashes", crashes)
}

// crashing commits until it fails, and returns how many it could.
func crashing(t *testing.T, s Store, epochs []*state.Checkpoint) (done int, failed bool) {
	for i, c := range epochs {
		if s.Commit(t.Context(), c) != nil {
			_ = s.Close()
			return i, true
		}
	}
	_ = s.Close()
	return len(epochs), false
}
