package redis

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tidewatch/internal/pipeline"
	"tidewatch/internal/servers"
	"tidewatch/internal/strict"
)

// rule returns the ACL rule of docs/redis.md.
func rule(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../docs/redis.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?s)\nuser tidewatch (.*?)\n` + "```").FindSubmatch(b)
	if m == nil {
		t.Fatal("docs/redis.md has no ACL rule")
	}
	return strings.Join(strings.Fields(strings.ReplaceAll(string(m[1]), "\\\n", " ")), " ")
}

// TestACL does everything as a user who may do nothing but what the documents say, on
// one server and on a cluster.
func TestACL(t *testing.T) {
	const password = "correct horse"
	rule := strings.Replace(rule(t), ">PASSWORD", ">"+strings.ReplaceAll(password, " ", "_"), 1)
	users := []string{"user default off", "user tidewatch " + rule}
	f := func(name string, c Config) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			c.Prefix, c.User, c.Password = "tw", "tidewatch", strict.NewSecret(strings.ReplaceAll(password, " ", "_"))
			s := opened(t, c)
			want := load(t, s)
			r := rand.New(rand.NewPCG(1, 1))
			for epoch := uint64(1); epoch <= 150; epoch++ { // so that ledgers are written anew
				cp := makeCheckpoint(r, epoch)
				_ = want.Commit(t.Context(), cp)
				if err := s.Commit(within(t), cp); err != nil {
					t.Fatal(err)
				}
				if s.Stats().Retries > 0 {
					t.Fatal("a command was refused")
				}
			}
			s = opened(t, c)
			equal(t, name, want, load(t, s))
			if _, err := s.Fetch(t.Context(), [][]byte{[]byte("pkey")}); err != nil {
				t.Error(err)
			}
			if _, err := s.Inspect(t.Context()); err != nil {
				t.Error(err)
			}
			for _, forbidden := range [][]any{{"flushall"}, {"config", "get", "*"}, {"keys", "*"}, {"get", "other"}, {"eval", "return 1", 0}} {
				if err := s.client.Do(t.Context(), forbidden...).Err(); err == nil || !strings.Contains(err.Error(), "NOPERM") {
					t.Errorf("%v: %v", forbidden, err)
				}
			}
			c.Password = strict.NewSecret("wrong")
			if _, err := Open(t.Context(), c); err == nil || strings.Contains(err.Error(), "wrong") && !strings.Contains(err.Error(), "WRONGPASS") {
				t.Errorf("a wrong password: %v", err)
			}
		})
	}
	f("server", config(t, servers.StartRedis(t, users...).Addr))
}

// TestCommandsAge asks a server since which version it has had each command of the ACL
// rule, and so each that TestACL could use: none may be newer than Redis 7.0.
func TestCommandsAge(t *testing.T) {
	var names []string
	for _, word := range strings.Fields(rule(t)) {
		if name, ok := strings.CutPrefix(word, "+"); ok {
			names = append(names, name)
		}
	}
	var docs map[string]struct{ Since string }
	out := servers.StartRedis(t).CLI(t, append([]string{"--json", "command", "docs"}, names...)...)
	if err := json.Unmarshal([]byte(out), &docs); err != nil {
		t.Fatal(err)
	}
	if len(names) == 0 {
		t.Error("the rule allows nothing")
	}
	for _, name := range names {
		var major, minor int
		if _, err := fmt.Sscanf(docs[name].Since, "%d.%d", &major, &minor); err != nil {
			t.Errorf("%s: the server does not know it", name)
		} else if major > 7 || major == 7 && minor > 0 {
			t.Errorf("%s is of version %s", name, docs[name].Since)
		}
	}
}

// TestInspect reads what servers say of themselves.
func TestInspect(t *testing.T) {
	f := func(settings []string, change func(c *Config), want ...string) {
		t.Helper()
		server := servers.StartRedis(t, settings...)
		c := config(t, server.Addr)
		change(&c)
		got, err := opened(t, c).Inspect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i := range got {
			got[i], _, _ = strings.Cut(strings.TrimPrefix(got[i], server.Addr+": "), ":")
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%v (-want +got):\n%s", settings, d)
		}
	}
	as := func(*Config) {}
	f([]string{"maxmemory 100mb", "maxmemory-policy noeviction", "appendonly yes"}, as)
	f([]string{"maxmemory 100mb", "maxmemory-policy volatile-lru", "appendonly yes"}, as, "maxmemory-policy is volatile-lru")
	f([]string{"maxmemory-policy allkeys-lru"}, as, "maxmemory is not set", "maxmemory-policy is allkeys-lru", "appendonly is off")
	f([]string{"maxmemory 100mb", "appendonly yes"}, func(c *Config) { c.Replicas = 1 }, "it has 0 replicas, and replicas = 1")
}

// TestFull fills a server's memory: with noeviction nothing is lost, and what could not be
// written is there when there is room again.
func TestFull(t *testing.T) {
	server := servers.StartRedis(t, "maxmemory 3mb", "maxmemory-policy noeviction")
	c := config(t, server.Addr)
	s := opened(t, c)
	load(t, s)
	r := rand.New(rand.NewPCG(2, 2))
	want := &pipeline.Memory{}
	server.CLI(t, "set", "ballast", strings.Repeat("x", 100_000))
	server.CLI(t, "config", "set", "maxmemory", "1")
	cp := makeCheckpoint(r, 1)
	_ = want.Commit(t.Context(), cp)
	done := make(chan error, 1)
	go func() { done <- s.Commit(within(t), cp) }()
	await(t, "it is refused", func() bool { return s.Stats().Retries > 1 })
	server.CLI(t, "config", "set", "maxmemory", "0")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	equal(t, "after memory was full", want, load(t, opened(t, c)))
}
