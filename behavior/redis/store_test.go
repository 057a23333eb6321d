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

// within is the test's context for what could wait without end: a commit is tried again
// until Redis takes it.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeoutCause(t.Context(), 2*time.Minute, errors.New("redis took nothing for two minutes"))
	t.Cleanup(cancel)
	return ctx
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
		if err := s.Commit(within(t), cp); err != nil {
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
		if strings.HasSuffix(it.Val(), ":sensors") {
			continue
		}
		n, err := s.client.HLen(t.Context(), it.Val()).Result()
		if err != nil {
			t.Fatal(err)
		}
		if ttl := s.client.TTL(t.Context(), it.Val()).Val(); ttl <= 0 {
			t.Errorf("%s has no TTL", it.Val())
		}
		if strings.Contains(it.Val(), ":e:") && n > 1 {
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
			if st := s.Stats(); st.Missing+st.Damaged+st.Refused != 0 {
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
		go func() { done <- s.Commit(within(t), cp) }()
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
	if err := first.Commit(within(t), makeCheckpoint(r, 1)); err != nil {
		t.Fatal(err)
	}
	load(t, second)
	if err := first.Commit(within(t), makeCheckpoint(r, 2)); !errors.Is(err, ErrTaken) {
		t.Errorf("the first process got %v, want ErrTaken", err)
	}
	if err := second.Commit(within(t), makeCheckpoint(r, 2)); err != nil {
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
		return s.Commit(within(t), cp)
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
	c.Share = 0
	s := opened(t, c)
	load(t, s)
	ctx := t.Context()
	s.client.Set(ctx, s.entityKey([]byte("bstring")), "not a hash", 0)
	cp := &state.Checkpoint{Epoch: 1}
	var keys [][]byte
	for _, k := range []string{"bstring", "bgood", "bdamaged", "bnewer"} {
		keys = append(keys, []byte(k))
		cp.Changed[state.Entities] = append(cp.Changed[state.Entities], state.Record{Key: []byte(k), Value: []byte("1")})
	}
	if err := s.Commit(ctx, cp); err != nil {
		t.Fatal(err)
	}
	field := entityField(c.Sensor, s.history.now.gen)
	damage := func(key string, change func([]byte)) {
		k := s.entityKey([]byte(key))
		v := []byte(s.client.HGet(ctx, k, field).Val())
		change(v)
		s.client.HSet(ctx, k, field, v)
	}
	damage("bdamaged", func(v []byte) { v[2] ^= 1 })
	damage("bnewer", func(v []byte) { v[0] = formatVersion + 1 })
	s.client.HSet(ctx, s.entityKey([]byte("bgood")), "someone:else", "x", "another:zz", "y", ":", "", "one:", "z", "{}:1", "z")
	got, err := s.Fetch(ctx, keys)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([][]Version{nil, {{"one", 1, []byte("1")}}, nil, nil}, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if st := s.Stats(); st.Damaged != 4 || st.Refused != 2 {
		t.Errorf("stats %+v", st)
	}
	if _, err := s.Fetch(ctx, [][]byte{[]byte("bnewer")}); err != nil || !s.client.HExists(ctx, s.entityKey([]byte("bnewer")), field).Val() {
		t.Errorf("a value of a newer format is gone (%v)", err)
	}
	// What this sensor itself needs does not lie there.
	equal(t, "foreign", &pipeline.Memory{Epoch: 1, Sections: sections{state.Entities: {"bstring": []byte("1"), "bgood": []byte("1"), "bdamaged": []byte("1"), "bnewer": []byte("1")}}}, load(t, opened(t, c)))
}

// TestEvicted lets Redis lose keys one by one: each is missed.
func TestEvicted(t *testing.T) {
	c := config(t, servers.SharedRedis(t).Addr)
	s := opened(t, c)
	load(t, s)
	r := rand.New(rand.NewPCG(11, 1))
	for epoch := uint64(1); epoch <= 5; epoch++ {
		if err := s.Commit(within(t), makeCheckpoint(r, epoch)); err != nil {
			t.Fatal(err)
		}
	}
	n := int64(0)
	for i := uint32(0); n == 0 && i < buckets[state.Entities]; i++ { // one of those that are there
		n = s.client.Del(t.Context(), s.ledgerKey(bucket{state.Entities, i})).Val()
	}
	if n != 1 {
		t.Fatal("no ledger of entities is there")
	}
	s = opened(t, c)
	load(t, s)
	if n := s.Stats().Missing; n != 1 {
		t.Errorf("%d keys were missed, want 1", n)
	}
}

// TestNewerFormat refuses to start from what a later version has written.
func TestNewerFormat(t *testing.T) {
	c := config(t, servers.SharedRedis(t).Addr)
	s := opened(t, c)
	load(t, s)
	if err := s.Commit(within(t), makeCheckpoint(rand.New(rand.NewPCG(1, 1)), 1)); err != nil {
		t.Fatal(err)
	}
	key := s.sensorKey(c.Sensor)
	for f, v := range s.client.HGetAll(t.Context(), key).Val() {
		if f[0] == fieldCommit {
			s.client.HSet(t.Context(), key, f, "\xff"+v[1:])
		}
	}
	if _, err := opened(t, c).Load(t.Context(), nil); !errors.Is(err, errFormat) {
		t.Errorf("got %v", err)
	}
}

// TestFetch lets three sensors write of one entity. The third one's clock and format are
// its own; that costs the others nothing.
func TestFetch(t *testing.T) {
	c := config(t, servers.SharedRedis(t).Addr)
	c.Share = 0
	key := []byte("bpair")
	var last *Store
	write := func(sensor string, epochs uint64) {
		c.Sensor = sensor
		s := opened(t, c)
		load(t, s)
		for epoch := s.last + 1; epoch <= epochs; epoch++ {
			cp := &state.Checkpoint{Epoch: epoch}
			cp.Changed[state.Entities] = []state.Record{{Key: key, Value: fmt.Appendf(nil, "%s%d", sensor, epoch)}, {Key: []byte("plight"), Value: []byte("1")}}
			if err := s.Commit(within(t), cp); err != nil {
				t.Fatal(err)
			}
		}
		last = s
	}
	f := func(want ...Version) {
		t.Helper()
		got, err := last.Fetch(t.Context(), [][]byte{[]byte("bnobody"), key, []byte("plight")})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff([][]Version{nil, want, nil}, got); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	}
	write("a", 3)
	write("b", 4)
	f(Version{"a", 3, []byte("a3")}, Version{"b", 4, []byte("b4")})
	write("a", 9) // after a restart
	write("c", 2)
	f(Version{"a", 9, []byte("a9")}, Version{"b", 4, []byte("b4")}, Version{"c", 2, []byte("c2")})
	if n := last.client.HLen(t.Context(), last.entityKey(key)).Val(); n != 3 {
		t.Errorf("%d fields, want one for each sensor", n)
	}
	c.Sensor = "c"
	s := opened(t, c)
	load(t, s)
	cp := &state.Checkpoint{Epoch: 3}
	cp.Changed[state.Entities] = []state.Record{{Key: key}}
	if err := s.Commit(within(t), cp); err != nil {
		t.Fatal(err)
	}
	last = s
	f(Version{"a", 9, []byte("a9")}, Version{"b", 4, []byte("b4")}, Version{"c", 2, []byte("c2")}) // said by the last process
}

// TestPeers reads what other sensors know of destinations, and what is new only once.
func TestPeers(t *testing.T) {
	c := config(t, servers.SharedRedis(t).Addr)
	reader := opened(t, c)
	load(t, reader)
	c.Sensor = "two"
	writer := opened(t, c)
	load(t, writer)
	epoch := uint64(0)
	commit := func(pairs ...string) {
		epoch++
		cp := &state.Checkpoint{Epoch: epoch}
		for i := 0; i < len(pairs); i += 2 {
			cp.Changed[state.Population] = append(cp.Changed[state.Population], state.Record{Key: []byte(pairs[i]), Value: []byte(pairs[i+1])})
		}
		if err := writer.Commit(within(t), cp); err != nil {
			t.Fatal(err)
		}
	}
	f := func(want map[string]string) {
		t.Helper()
		got := map[string]string{}
		err := reader.Peers(t.Context(), func(sensor string, r state.Record) error {
			got[sensor+" "+string(r.Key)] = string(r.Value)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	}
	f(map[string]string{})
	commit("d1", "x", "h1", "y", "a1", "a name is private")
	commit("d2", "x")
	f(map[string]string{"two d1": "x", "two d2": "x", "two h1": "y"})
	f(map[string]string{})
	commit("d1", "z")
	f(map[string]string{"two d1": "z"})
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
			if err := s.Commit(within(t), cp); err != nil {
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
