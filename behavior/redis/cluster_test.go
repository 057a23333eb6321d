package redis

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"tidewatch/internal/pipeline"
	"tidewatch/internal/servers"
	"tidewatch/internal/strict"
)

// TestCluster commits to six real nodes while slots move and a primary is killed. What
// comes back is exactly what a clean run leaves.
func TestCluster(t *testing.T) {
	nodes := servers.StartRedisCluster(t, nil)
	c := config(t, nodes[0].Addr)
	c.Cluster, c.Replicas = true, 1
	// The sensor's key lies on the third node, which is killed later. One that has taken
	// over slots must not be: when it comes back, what was its replica may forget that it
	// has them, and then the cluster is down for minutes (seen with Redis 7.0.15).
	for i := 0; slotOf(c.Sensor) < 10923; i++ {
		c.Sensor = fmt.Sprint("sensor-", i)
	}
	c.Timeout = strict.Duration(time.Second)
	for _, n := range nodes[1:] {
		c.Addresses = append(c.Addresses, n.Addr)
	}
	s := opened(t, c)
	load(t, s)
	r := rand.New(rand.NewPCG(8, 8))
	want := &pipeline.Memory{}
	commit := func() {
		t.Helper()
		cp := makeCheckpoint(r, want.Epoch+1)
		_ = want.Commit(t.Context(), cp)
		if err := s.Commit(within(t), cp); err != nil {
			t.Fatalf("%v\n%s", err, nodes[1].CLI(t, "cluster", "nodes"))
		}
	}
	for range 20 {
		commit()
	}
	if len(s.markers) != 3 {
		t.Fatalf("markers %v, want one on each of three primaries", s.markers)
	}
	equal(t, "cluster", want, load(t, opened(t, c)))

	s = opened(t, c)
	load(t, s)
	moved := make(chan error, 1)
	go func() { moved <- moveSlots(nodes) }()
	for done := false; !done; commit() {
		select {
		case err := <-moved:
			if done = true; err != nil {
				t.Error(err)
			}
		default:
		}
	}
	equal(t, "after slots moved", want, load(t, opened(t, c)))

	s = opened(t, c)
	load(t, s)
	commit()
	killed := primaryOf(t, nodes, s.sensorKey(c.Sensor))
	killed.Process.Kill()
	back := make(chan error, 1)
	go func() {
		// It comes back empty, as the replica of what was its replica, once all know that
		// that one is a primary.
		err := until("a replica is a primary", func() bool {
			return !slices.ContainsFunc(nodes, func(n *servers.Redis) bool {
				known, err := n.Try("cluster", "nodes")
				return n != killed && (err != nil || strings.Count(known, "master") != 4 || !says(n, "cluster_state:ok", "cluster", "info"))
			})
		})
		back <- errors.Join(err, killed.Process.Start())
	}()
	before := s.Stats()
	for range 10 {
		commit()
	}
	if err := <-back; err != nil {
		t.Error(err)
	}
	t.Logf("while a primary was replaced: %d retries", s.Stats().Retries-before.Retries)
	if s.Stats().Retries == before.Retries {
		t.Error("the death of a primary was not noticed")
	}
	s = opened(t, c)
	equal(t, "after a primary was killed", want, load(t, s))
	if st := s.Stats(); st.Missing+st.Damaged != 0 {
		t.Errorf("stats: %+v", st)
	}
}

// TestClusterAccidents commits to six real nodes over networks that lose, cut, delay and
// repeat what is sent to each of them. What comes back is exactly what a clean run leaves.
func TestClusterAccidents(t *testing.T) {
	var proxies []*proxy
	servers.StartRedisCluster(t, func(addr string) string {
		p := startProxy(t, addr, uint64(len(proxies)))
		proxies = append(proxies, p)
		return p.addr
	})
	c := config(t, proxies[0].addr)
	c.Cluster, c.Timeout = true, strict.Duration(300*time.Millisecond)
	for _, p := range proxies[1:] {
		c.Addresses = append(c.Addresses, p.addr)
	}
	every := func(n int) {
		for _, p := range proxies {
			p.set(n, false)
		}
	}
	r := rand.New(rand.NewPCG(6, 6))
	want := &pipeline.Memory{}
	for range 4 {
		every(0)
		s := opened(t, c)
		equal(t, fmt.Sprintf("after %d epochs", want.Epoch), want, load(t, s))
		every(12)
		for range 10 {
			cp := makeCheckpoint(r, want.Epoch+1)
			_ = want.Commit(t.Context(), cp)
			if err := s.Commit(within(t), cp); err != nil {
				t.Fatal(err)
			}
		}
		every(0)
		if st := s.Stats(); st.Lost+st.Missing+st.Damaged+st.Refused != 0 {
			t.Errorf("stats: %+v", st)
		}
		s.Close()
	}
	equal(t, "in the end", want, load(t, opened(t, c)))
	met, accidents := 0, 0
	for _, p := range proxies {
		n := p.accidents()
		if accidents += n; n > 0 {
			met++
		}
	}
	t.Logf("%d accidents on the way to %d nodes", accidents, met)
	if met < 3 || accidents < 30 {
		t.Errorf("%d accidents on the way to %d nodes: too few to say much", accidents, met)
	}
}

// moveSlots gives some of the first primary's slots to another. It may be called by any
// goroutine.
func moveSlots(nodes []*servers.Redis) error {
	known, err := nodes[0].Try("cluster", "nodes")
	if err != nil {
		return err
	}
	ids := map[string]string{} // by address
	for _, line := range strings.Split(known, "\n") {
		f := strings.Fields(line)
		addr, _, _ := strings.Cut(f[1], "@")
		ids[addr] = f[0]
	}
	out, err := nodes[0].Try("--cluster", "reshard", nodes[0].Addr, "--cluster-from", ids[nodes[0].Addr], "--cluster-to", ids[nodes[1].Addr],
		"--cluster-slots", "1500", "--cluster-yes")
	if err == nil && !strings.Contains(out, "Moving slot") {
		err = fmt.Errorf("no slot moved: %s", out)
	}
	return err
}

// other returns a node that is not n.
func other(nodes []*servers.Redis, n *servers.Redis) *servers.Redis {
	if nodes[0] != n {
		return nodes[0]
	}
	return nodes[1]
}

// primaryOf returns the node that a key lies on.
func primaryOf(t *testing.T, nodes []*servers.Redis, key string) *servers.Redis {
	t.Helper()
	for _, n := range nodes {
		if out := n.CLI(t, "exists", key); !strings.Contains(out, "MOVED") {
			return n
		}
	}
	t.Fatalf("%s is nowhere", key)
	return nil
}

// TestNodeLost lets one node of a cluster forget the last epochs, as a replica does that
// had not got them yet. They are written again from memory.
func TestNodeLost(t *testing.T) {
	nodes := servers.StartRedisCluster(t, nil)
	c := config(t, nodes[0].Addr)
	c.Cluster = true
	s := opened(t, c)
	load(t, s)
	r := rand.New(rand.NewPCG(9, 9))
	want := &pipeline.Memory{}
	commit := func() {
		t.Helper()
		cp := makeCheckpoint(r, want.Epoch+1)
		_ = want.Commit(t.Context(), cp)
		if err := s.Commit(within(t), cp); err != nil {
			t.Fatalf("%v\n%s", err, nodes[1].CLI(t, "cluster", "nodes"))
		}
	}
	for range 5 {
		commit()
	}
	// Not the one with the epoch: it must be found out by the markers.
	holder := primaryOf(t, nodes, s.sensorKey(c.Sensor))
	node := other(nodes[:3], holder)
	old := map[string]string{}
	for _, k := range strings.Fields(node.CLI(t, "keys", "*")) {
		old[k] = s.client.Dump(t.Context(), k).Val()
	}
	for range 3 {
		commit()
	}
	node.CLI(t, "flushall")
	for k, v := range old {
		if err := s.client.Restore(t.Context(), k, time.Hour, v).Err(); err != nil {
			t.Fatal(err)
		}
	}
	commit()
	if n := s.Stats().Lost; n != 3 {
		t.Errorf("%d epochs were written again, want 3", n)
	}
	equal(t, "after a node lost its last epochs", want, load(t, opened(t, c)))

	// And where nothing is in memory any more, it is said.
	node.CLI(t, "flushall")
	s = opened(t, c)
	load(t, s)
	if s.Stats().Missing == 0 {
		t.Error("nobody missed what a node had lost")
	}
}

// TestSentinel lets a sentinel replace a primary that is killed.
func TestSentinel(t *testing.T) {
	primary := servers.StartRedis(t)
	replica := servers.StartRedis(t, "replicaof "+strings.Replace(primary.Addr, ":", " ", 1))
	sentinel := servers.StartSentinel(t, primary)
	await(t, "the replica is there", func() bool {
		return says(primary, "state=online", "info", "replication") && says(sentinel, "slave", "sentinel", "replicas", "baselines")
	})
	c := config(t, sentinel.Addr)
	c.Master, c.Replicas = "baselines", 1
	s := opened(t, c)
	load(t, s)
	r := rand.New(rand.NewPCG(3, 3))
	want := &pipeline.Memory{}
	for range 5 {
		cp := makeCheckpoint(r, want.Epoch+1)
		_ = want.Commit(t.Context(), cp)
		if err := s.Commit(within(t), cp); err != nil {
			t.Fatal(err)
		}
	}
	primary.Process.Kill()
	_, port, _ := strings.Cut(replica.Addr, ":")
	await(t, "the replica is the primary", func() bool {
		return says(replica, "master", "role") && says(sentinel, port, "sentinel", "get-master-addr-by-name", "baselines")
	})
	c.Replicas = 0 // there is none left
	s = opened(t, c)
	equal(t, "after the failover", want, load(t, s))
	if err := s.Commit(within(t), makeCheckpoint(r, want.Epoch+1)); err != nil {
		t.Fatal(err)
	}
}

// says reports whether an answer of a server holds a text. A server that changes its role
// closes connections: that is no answer.
func says(server *servers.Redis, text string, question ...string) bool {
	out, err := server.Try(question...)
	return err == nil && strings.Contains(out, text)
}

// await asks until the answer is yes.
func await(t *testing.T, what string, f func() bool) {
	t.Helper()
	if err := until(what, f); err != nil {
		t.Fatal(err)
	}
}

// until is await for any goroutine.
func until(what string, f func() bool) error {
	for deadline := time.Now().Add(time.Minute); !f(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("in vain waited that %s", what)
		}
	}
	return nil
}

// TestSlots compares slots with what Redis says.
func TestSlots(t *testing.T) {
	f := func(tag string, want int) {
		t.Helper()
		if got := slotOf(tag); got != want {
			t.Errorf("slot of %q: %d, want %d", tag, got, want)
		}
	}
	f("123456789", 12739) // 0x31c3, from the cluster specification
	f("", 0)
	for slot, n := range markerIn() {
		if slotOf(fmt.Sprint(n)) != slot {
			t.Fatalf("marker %d is not in slot %d", n, slot)
		}
	}
}
