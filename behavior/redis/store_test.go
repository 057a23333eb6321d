package redis

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tidewatch/behavior/state"
	"tidewatch/internal/pipeline"
	"tidewatch/internal/servers"
	"tidewatch/internal/strict"
)

func TestMain(m *testing.M) {
	code := m.Run()
	servers.Close()
	os.Exit(code)
}

// config is for a test of its own on a server that others use too.
func config(t testing.TB, addr string) Config {
	c := DefaultConfig()
	c.Addresses, c.Sensor = []string{addr}, "one"
	c.Prefix = fmt.Sprintf("t%d-%x", os.Getpid(), rand.Uint64())
	c.Timeout = strict.Duration(2 * time.Second)
	if testing.Verbose() {
		c.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	return c
}

func opened(t testing.TB, c Config) *Store {
	t.Helper()
	s, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// sections is what a store holds.
type sections = [state.NumSections]map[string][]byte

// load returns what a store holds, in the form of pipeline.Memory.
func load(t testing.TB, s *Store) *pipeline.Memory {
	t.Helper()
	m := &pipeline.Memory{}
	for i := range m.Sections {
		m.Sections[i] = map[string][]byte{}
	}
	epoch, err := s.Load(t.Context(), func(sec state.Section, r state.Record) error {
		if _, twice := m.Sections[sec][string(r.Key)]; twice {
			t.Errorf("%v: record %q came twice", sec, r.Key)
		}
		m.Sections[sec][string(r.Key)] = r.Value
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	m.Epoch = epoch
	return m
}

// equal compares two stores' contents.
func equal(t testing.TB, what string, want, got *pipeline.Memory) {
	t.Helper()
	full := func(m *pipeline.Memory) (s sections) {
		for i := range s {
			if s[i] = m.Sections[i]; s[i] == nil {
				s[i] = map[string][]byte{}
			}
		}
		return s
	}
	if want.Epoch != got.Epoch {
		t.Fatalf("%s: epoch %d, want %d", what, got.Epoch, want.Epoch)
	}
	w, g := full(want), full(got)
	for i := range w {
		if d := cmp.Diff(w[i], g[i]); d != "" {
			if len(d) > 3000 {
				d = d[:3000]
			}
			t.Fatalf("%s: section %v (-want +got):\n%s", what, state.Section(i), d)
		}
	}
}

// makeCheckpoint changes some of a world of few keys, so that the same ones change
// often and come and go.
func makeCheckpoint(r *rand.Rand, epoch uint64) *state.Checkpoint {
	c := &state.Checkpoint{Epoch: epoch}
	value := func() []byte {
		if r.IntN(8) == 0 {
			return nil
		}
		v := make([]byte, 1+r.IntN(200))
		for i := range v {
			v[i] = byte(r.Uint32())
		}
		return v
	}
	for s := range state.NumSections {
		for range r.IntN(40) {
			key := []byte{"tsplb"[r.IntN(5)], byte(r.IntN(30)), '}', '*'}
			if r.IntN(10) == 0 {
				key = append(key, make([]byte, 200)...) // longer than a key in Redis may be
			}
			c.Changed[s] = append(c.Changed[s], state.Record{Key: key, Value: value()})
		}
	}
	c.Changed[state.Positions] = append(c.Changed[state.Positions], state.Record{Key: []byte("log"), Value: binary.BigEndian.AppendUint64(nil, epoch)})
	return c
}

func TestCommitAndLoad(t *testing.T) {
	c := config(t, servers.SharedRedis(t).Addr)
	r := rand.New(rand.NewPCG(1, 2))
	want := &pipeline.Memory{}
	s := opened(t, c)
	equal(t, "empty", want, load(t, s))
	for epoch := uint64(1); epoch <= 400; epoch++ {
		cp := makeCheckpoint(r, epoch)
		if err := s.Commit(t.Context(), cp); err != nil {
			t.Fatal(err)
		}
		_ = want.Commit(t.Context(), cp)
		if epoch%50 == 0 {
			s = opened(t, c) // as after a restart
			equal(t, fmt.Sprint("epoch ", epoch), want, load(t, s))
		}
	}
	if st := s.Stats(); st.Missing+st.Damaged+st.Refused+st.Lost+st.Retries != 0 {
		t.Errorf("stats of an undisturbed run: %+v", st)
	}
	ledgersStaySmall(t, s)
}

// ledgersStaySmall makes sure that what is out of date is removed.
func ledgersStaySmall(t *testing.T, s *Store) {
	t.Helper()
	var keys, fields int64
	it := s.client.Scan(t.Context(), 0, s.prefix+"*", 1000).Iterator()
	for it.Next(t.Context()) {
		n, err := s.client.HLen(t.Context(), it.Val()).Result()
		if err != nil {
			t.Fatal(err)
		}
		if ttl := s.client.TTL(t.Context(), it.Val()).Val(); ttl <= 0 {
			t.Errorf("%s has no TTL", it.Val())
		}
		if strings.Contains(it.Val(), ":e:") && n > 4 {
			t.Errorf("%s has %d fields", it.Val(), n)
		}
		keys, fields = keys+1, fields+n
	}
	if keys == 0 || fields > 129*keys {
		t.Errorf("%d keys with %d fields", keys, fields)
	}
}

// TestCrash ends commits at any command, while the network loses, cuts, halves and
// delays what is sent. After each crash the store holds exactly one of two states: the
// last epoch that was committed, or the one on its way.
func TestCrash(t *testing.T) {
	server := servers.SharedRedis(t)
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 3))
			p := startProxy(t, server.Addr, seed)
			c := config(t, p.addr)
			c.Timeout = strict.Duration(300 * time.Millisecond)
			world, crashes := &pipeline.Memory{}, 0
			var s *Store
			restart := func() {
				p.set(0, false)
				if s != nil {
					s.Close()
				}
				s = opened(t, c)
				got := load(t, s)
				equal(t, fmt.Sprintf("after %d crashes", crashes), world, got)
				p.set(6, false)
			}
			restart()
			for range 60 {
				cp := makeCheckpoint(r, world.Epoch+1)
				ctx, cancel := context.WithCancel(t.Context())
				if r.IntN(2) == 0 {
					after(p, r.IntN(25), cancel)
				}
				err := s.Commit(ctx, cp)
				cancel()
				if err == nil {
					_ = world.Commit(t.Context(), cp)
					continue
				}
				if !errors.Is(err, context.Canceled) {
					t.Fatal(err)
				}
				crashes++
				p.set(0, false)
				if committed(t, c) == cp.Epoch { // its answer was on its way
					_ = world.Commit(t.Context(), cp)
				}
				restart()
			}
			if crashes < 5 || p.cut < 10 || p.late < 5 {
				t.Errorf("%d crashes, %d cuts, %d late: too few to say much", crashes, p.cut, p.late)
			}
			restart()
			if st := s.Stats(); st.Missing+st.Damaged != 0 {
				t.Errorf("stats: %+v", st)
			}
		})
	}
}

// after calls f when the proxy has seen n more pieces.
func after(p *proxy, n int, f func()) {
	p.lock.Lock()
	defer p.lock.Unlock()
	p.left, p.then = n, f
}

// committed reads the epoch that Redis holds without becoming the sensor.
func committed(t *testing.T, c Config) uint64 {
	t.Helper()
	s := opened(t, c)
	defer s.Close()
	key := s.sensorKey(c.Sensor)
	fields, err := s.client.HGetAll(t.Context(), key).Result()
	if err != nil {
		t.Fatal(err)
	}
	o, err := readOwn(key, fields)
	if err != nil {
		t.Fatal(err)
	}
	return o.commit.now.epoch
}

// TestDown takes Redis away for many epochs' time: Commit waits, and everything is there
// when it comes back.
func TestDown(t *testing.T) {
	p := startProxy(t, servers.SharedRedis(t).Addr, 1)
	c := config(t, p.addr)
	s := opened(t, c)
	load(t, s)
	r := rand.New(rand.NewPCG(4, 4))
	want := &pipeline.Memory{}
	commit := func(epoch uint64) chan error {
		cp := makeCheckpoint(r, epoch)
		_ = want.Commit(t.Context(), cp)
		done := make(chan error, 1)
		go func() { done <- s.Commit(t.Context(), cp) }()
		return done
	}
	if err := <-commit(1); err != nil {
		t.Fatal(err)
	}
	p.set(0, true)
	done := commit(2)
	for s.Stats().Retries < 3 {
		select {
		case err := <-done:
			t.Fatalf("Commit returned %v while Redis was away", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	p.set(0, false)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	equal(t, "after the outage", want, load(t, opened(t, c)))
}

// TestTaken starts a second process under the same name: the first one stops.
func TestTaken(t *testing.T) {
	c := config(t, servers.SharedRedis(t).Addr)
	first, second := opened(t, c), opened(t, c)
	load(t, first)
	r := rand.New(rand.NewPCG(5, 5))
	if err := first.Commit(t.Context(), makeCheckpoint(r, 1)); err != nil {
		t.Fatal(err)
	}
	load(t, second)
	if err := first.Commit(t.Context(), makeCheckpoint(r, 2)); !errors.Is(err, ErrTaken) {
		t.Errorf("the first process got %v, want ErrTaken", err)
	}
	if err := second.Commit(t.Context(), makeCheckpoint(r, 2)); err != nil {
		t.Error(err)
	}
}

// TestLost restores an old copy of Redis under a running process: what is still in
// memory is written again, and what is not is said.
func TestLost(t *testing.T) {
	server := servers.StartRedis(t)
	c := config(t, server.Addr)
	s := opened(t, c)
	load(t, s)
	r := rand.New(rand.NewPCG(6, 6))
	want := &pipeline.Memory{}
	commit := func(epoch uint64) error {
		cp := makeCheckpoint(r, epoch)
		_ = want.Commit(t.Context(), cp)
		return s.Commit(t.Context(), cp)
	}
	for epoch := uint64(1); epoch <= 3; epoch++ {
		if err := commit(epoch); err != nil {
			t.Fatal(err)
		}
	}
	old := dump(t, s)
	for epoch := uint64(4); epoch <= 6; epoch++ {
		if err := commit(epoch); err != nil {
			t.Fatal(err)
		}
	}
	undump(t, s, old)
	if err := commit(7); err != nil {
		t.Fatal(err)
	}
	if n := s.Stats().Lost; n != 3 {
		t.Errorf("%d epochs were written again, want 3", n)
	}
	equal(t, "what was in memory", want, load(t, opened(t, c)))

	s = opened(t, c)
	load(t, s)
	server.CLI(t, "flushall")
	var lost *LostError
	if err := commit(8); !errors.As(err, &lost) || lost.Committed != 7 || lost.Found != 0 {
		t.Errorf("after FLUSHALL Commit returned %v", err)
	}
}

// dump copies all keys of a server, and undump brings them back.
func dump(t *testing.T, s *Store) map[string]string {
	t.Helper()
	all := map[string]string{}
	it := s.client.Scan(t.Context(), 0, "*", 1000).Iterator()
	for it.Next(t.Context()) {
		all[it.Val()] = s.client.Dump(t.Context(), it.Val()).Val()
	}
	return all
}

func undump(t *testing.T, s *Store, all map[string]string) {
	t.Helper()
	if err := s.client.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	for k, v := range all {
		if err := s.client.Restore(t.Context(), k, time.Hour, v).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestForeign puts into the keys what is not ours: another type, another format, damage.
// Each costs itself and nothing else.
func TestForeign(t *testing.T) {
	c := config(t, servers.SharedRedis(t).Addr)
	s := opened(t, c)
	load(t, s)
	rec := func(key, value string) state.Record { return state.Record{Key: []byte(key), Value: []byte(value)} }
	ctx := t.Context()
	s.client.Set(ctx, s.entityKey([]byte("pstring")), "not a hash", 0)
	cp := &state.Checkpoint{Epoch: 1}
	cp.Changed[state.Entities] = []state.Record{rec("pstring", "1"), rec("pgood", "2"), rec("pdamaged", "3"), rec("pnewer", "4"), rec("pgone", "5")}
	if err := s.Commit(ctx, cp); err != nil {
		t.Fatal(err)
	}
	field := entityField(c.Sensor, s.history.now.gen, 0)
	damage := func(key string, change func([]byte)) {
		v := []byte(s.client.HGet(ctx, s.entityKey([]byte(key)), field).Val())
		change(v)
		s.client.HSet(ctx, s.entityKey([]byte(key)), field, v)
	}
	damage("pdamaged", func(v []byte) { v[2] ^= 1 })
	damage("pnewer", func(v []byte) { v[0] = formatVersion + 1 })
	s.client.Del(ctx, s.entityKey([]byte("pgone")))
	s.client.HSet(ctx, s.entityKey([]byte("pgood")), "someone:else", "x", "another:zzA", "y", ":", "", "one:A", "z")
	s2 := opened(t, c)
	got := load(t, s2)
	if d := cmp.Diff(map[string][]byte{"pgood": []byte("2")}, got.Sections[state.Entities]); d != "" {
		t.Errorf("entities (-want +got):\n%s", d)
	}
	if st := s2.Stats(); st.Missing != 4 || st.Damaged != 2 || s.Stats().Refused == 0 {
		t.Errorf("stats %+v, of the writer %+v", st, s.Stats())
	}
	if n := s2.client.HExists(ctx, s.entityKey([]byte("pnewer")), field).Val(); !n {
		t.Error("a value of a newer format was removed")
	}
}

// TestFetch lets three sensors write of one entity, one of them in a format to come.
func TestFetch(t *testing.T) {
	c := config(t, servers.SharedRedis(t).Addr)
	key := []byte("bpair")
	var last *Store
	for i, sensor := range []string{"a", "b", "c"} {
		c.Sensor = sensor
		s := opened(t, c)
		load(t, s)
		for epoch := uint64(1); epoch <= uint64(3+i); epoch++ {
			cp := &state.Checkpoint{Epoch: epoch}
			cp.Changed[state.Entities] = []state.Record{{Key: key, Value: fmt.Appendf(nil, "%s%d", sensor, epoch)}}
			if err := s.Commit(t.Context(), cp); err != nil {
				t.Fatal(err)
			}
		}
		last = s
	}
	f := func(want ...Version) {
		t.Helper()
		got, err := last.Fetch(t.Context(), [][]byte{[]byte("bnobody"), key})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff([][]Version{nil, want}, got); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	}
	a, b, cv := Version{"a", 3, []byte("a3")}, Version{"b", 4, []byte("b4")}, Version{"c", 5, []byte("c5")}
	f(a, b, cv)
	// An epoch of b that is written and not committed is not seen.
	ek, field := last.entityKey(key), ""
	for f := range last.client.HGetAll(t.Context(), ek).Val() {
		if strings.HasPrefix(f, "b:") {
			field = f
		}
	}
	_, gen, _ := parseEntityField(field)
	stale := entityField("b", gen, 0) // of epoch 3
	last.client.HSet(t.Context(), ek, stale, encodeEntity(5, []byte("b5"), key, stale))
	f(a, b, cv)
	// Nor is what a later format has to say.
	sk := last.sensorKey("a")
	for f, v := range last.client.HGetAll(t.Context(), sk).Val() {
		if f[0] == fieldCommit {
			last.client.HSet(t.Context(), sk, f, "\xff"+v[1:])
		}
	}
	f(b, cv)
}

// TestConnections commits over each way to reach a server.
func TestConnections(t *testing.T) {
	f := func(name string, change func(c *Config), server *servers.Redis) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			c := config(t, server.Addr)
			change(&c)
			s := opened(t, c)
			load(t, s)
			want := &pipeline.Memory{}
			cp := makeCheckpoint(rand.New(rand.NewPCG(1, 1)), 1)
			_ = want.Commit(t.Context(), cp)
			if err := s.Commit(t.Context(), cp); err != nil {
				t.Fatal(err)
			}
			equal(t, name, want, load(t, opened(t, c)))
		})
	}
	shared := servers.StartRedis(t)
	f("socket", func(c *Config) { c.Addresses, c.Socket = nil, shared.Socket }, shared)
	f("database", func(c *Config) { c.Database = 3 }, shared)
	secure := servers.StartRedisTLS(t)
	f("tls", func(c *Config) { c.TLS, c.CA = true, secure.CA }, secure)

	c := config(t, secure.Addr)
	c.TLS = true // and an authority that the system does not know
	if _, err := Open(t.Context(), c); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown authority: %v", err)
	}
	c.TLS = false
	if _, err := Open(t.Context(), c); err == nil {
		t.Error("a server with TLS took a client without")
	}
}

func TestValidate(t *testing.T) {
	f := func(wants string, change func(c *Config)) {
		t.Helper()
		c := DefaultConfig()
		c.Sensor = "one"
		change(&c)
		switch err := c.Validate(); {
		case wants == "" && err != nil:
			t.Error(err)
		case wants != "" && (err == nil || !strings.Contains(err.Error(), wants)):
			t.Errorf("got %v, want %q", err, wants)
		}
	}
	f("", func(*Config) {})
	f(`sensor ""`, func(c *Config) { c.Sensor = "" })
	f("sensor", func(c *Config) { c.Sensor = "a:b" })
	f("sensor", func(c *Config) { c.Sensor = "a}{b" })
	f("sensor", func(c *Config) { c.Sensor = strings.Repeat("a", 65) })
	f("prefix", func(c *Config) { c.Prefix = "*" })
	f("several addresses", func(c *Config) { c.Addresses = []string{"a:1", "b:1"} })
	f("", func(c *Config) { c.Addresses, c.Cluster = []string{"a:1", "b:1"}, true })
	f("neither addresses nor socket", func(c *Config) { c.Addresses = nil })
	f("database 1", func(c *Config) { c.Cluster, c.Database = true, 1 })
	f("exclude", func(c *Config) { c.Cluster, c.Master = true, "m" })
	f("tls = true", func(c *Config) { c.CA = "ca.pem" })
	f("come together", func(c *Config) { c.TLS, c.Key = true, "k" })
	f("ttl", func(c *Config) { c.TTL = 1 })
}
