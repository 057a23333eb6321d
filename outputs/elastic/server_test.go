package elastic

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tidewatch/event"
	"tidewatch/internal/servers"
	"tidewatch/internal/strict"
	"tidewatch/outputs"
)

func TestMain(m *testing.M) {
	code := m.Run()
	servers.Close()
	os.Exit(code)
}

// cluster is a real server, and how to speak to it.
type cluster struct {
	*servers.Search
	t testing.TB
}

// config returns the configuration for an output to the cluster.
func (c *cluster) config() Config {
	cfg := testConfig(c.t, c.URL)
	cfg.MaxBackoff = strict.Duration(200 * time.Millisecond)
	cfg.CAFile, cfg.Username, cfg.Password = c.CA, c.User, strict.NewSecret(c.Password)
	if c.OpenSearch {
		cfg.Flavor = OpenSearch
	}
	return cfg
}

// do sends a request that must succeed.
func (c *cluster) do(method, path, body string) map[string]any {
	c.t.Helper()
	status, b, err := c.Do(c.t.Context(), method, path, body)
	if err != nil || status/100 != 2 {
		c.t.Fatalf("%s %s: %d %v %s", method, path, status, err, b)
	}
	var answer map[string]any
	if err := json.Unmarshal(b, &answer); err != nil {
		c.t.Fatalf("%s %s: %v: %s", method, path, err, b)
	}
	return answer
}

// count returns how many documents match a query, in the language of a URL's q.
func (c *cluster) count(index, q string) int {
	c.t.Helper()
	c.do(http.MethodPost, "/"+index+"/_refresh", "")
	answer := c.do(http.MethodGet, "/"+index+"/_count?q="+url.QueryEscape(q), "")
	return int(answer["count"].(float64))
}

// setup runs Setup, and returns what it did in a line each.
func (c *cluster) setup(o Options) (done []string) {
	c.t.Helper()
	cfg := c.config()
	changes, err := Setup(c.t.Context(), &cfg, &o, false)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, ch := range changes {
		done = append(done, ch.Done)
	}
	return done
}

// background writes the findings, and returns a function that waits until they are
// written.
func background(t *testing.T, o *Output, fs []event.Finding) (wait func()) {
	done := make(chan error, 1)
	ctx := t.Context()
	go func() { done <- o.Write(ctx, fs) }()
	return func() {
		t.Helper()
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(3 * time.Minute):
			t.Fatalf("not written: %+v", o.Stats())
		}
	}
}

// until waits until cond holds: for what a server of another process does.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never: " + what)
		}
	}
}

// each real server of the tests, started anew.
var realServers = []struct {
	name  string
	start func(t testing.TB) *servers.Search
	tight func(t testing.TB) *servers.Search // with next to no room, TLS and a password where it has them
}{
	{
		Elasticsearch,
		func(t testing.TB) *servers.Search { return servers.StartElasticsearch(t, false) },
		func(t testing.TB) *servers.Search { return servers.StartElasticsearch(t, true, noRoom...) },
	},
	{
		OpenSearch,
		func(t testing.TB) *servers.Search { return servers.StartOpenSearch(t) },
		func(t testing.TB) *servers.Search { return servers.StartOpenSearch(t, noRoom...) },
	},
	{
		OpenSearch + "3",
		func(t testing.TB) *servers.Search { return servers.StartOpenSearch3(t) },
		func(t testing.TB) *servers.Search { return servers.StartOpenSearch3(t, noRoom...) },
	},
}

// noRoom makes a server refuse whole requests above 64 kB, and single documents while
// it writes others.
var noRoom = []string{"indexing_pressure.memory.limit=64kb", "thread_pool.write.size=1", "thread_pool.write.queue_size=1"}

func TestRealServers(t *testing.T) {
	for _, s := range realServers {
		t.Run(s.name, func(t *testing.T) {
			c := &cluster{s.start(t), t}
			t.Run("no template", c.noTemplate)
			t.Run("setup", c.templates)
			t.Run("delivery", c.delivery)
			t.Run("records", c.records)
			t.Run("mapping conflict", c.conflict)
			t.Run("read only", c.readOnly)
			t.Run("rollover", c.rollover)
			t.Run("restart", c.restart)
			t.Run("delete", c.delete)
		})
	}
}

// Without templates nothing is written, and the log says what to do.
func (c *cluster) noTemplate(t *testing.T) {
	cfg := c.config()
	cfg.Namespace = "early"
	var log syncBuffer
	o := newOutput(t, cfg, &log)
	wait := background(t, o, testFindings("n", 10))
	until(t, "trouble", func() bool { return strings.Contains(o.Stats().Trouble, "tidewatch setup elasticsearch") })
	if status, body, err := c.Do(t.Context(), http.MethodGet, "/logs-tidewatch.*/_count", ""); err != nil || !strings.Contains(string(body), `"count":0`) {
		t.Errorf("%d %s %v", status, body, err)
	}
	c.setup(Options{Replicas: 0})
	wait()
	if n := c.count("logs-tidewatch.finding-early", "*"); n != 10 {
		t.Errorf("%d documents", n)
	}
	if !strings.Contains(log.String(), "documents wait") || !strings.Contains(log.String(), "taken again") {
		t.Error(log.String())
	}
}

// Setup changes what differs, and nothing else.
func (c *cluster) templates(t *testing.T) {
	if done := c.setup(Options{Replicas: 0}); slices.ContainsFunc(done, func(s string) bool { return s != "unchanged" }) {
		t.Errorf("a second time: %v", done)
	}
	o := Options{Replicas: 0, Retention: "30d", Shards: 1}
	done := c.setup(o)
	if !slices.Contains(done, "updated") || !slices.Contains(done, "unchanged") || !slices.Contains(done, "rolled over") {
		t.Errorf("with other options: %v", done)
	}
	if done := c.setup(o); slices.Contains(done, "updated") {
		t.Errorf("once more: %v", done)
	}
	// The mapping is the one that is asked for, and no other input changes it.
	m := c.do(http.MethodGet, "/logs-tidewatch.finding-early/_mapping/field/source.ip,tidewatch.score,event.severity,tidewatch.scan.targets", "")
	b, _ := json.Marshal(m)
	for _, want := range []string{`"type":"ip"`, `"type":"double"`, `"type":"long"`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("the mapping lacks %s: %s", want, b)
		}
	}
}

// Documents are found by what they say, and sent again they are there once.
func (c *cluster) delivery(t *testing.T) {
	const n = 5000
	o := newOutput(t, c.config(), io.Discard)
	for range 2 {
		if err := o.Write(t.Context(), testFindings("d", n)); err != nil {
			t.Fatal(err)
		}
	}
	if s := o.Stats(); s.Indexed != n || s.Duplicates != n || s.DeadLetters != 0 {
		t.Errorf("%+v", s)
	}
	for q, want := range map[string]int{
		"*": n, "event.severity:73": n, `event.kind:"alert"`: n, "source.ip:10.20.0.0\\/16": n, "source.ip:10.21.0.0\\/16": 0,
		"tidewatch.scan.targets:>80": n, "tidewatch.scan.kind:horizontal": n, "tidewatch.scan.known:true": 0,
		"tidewatch.evidence.expected:1.5": n, "source.port:[0 TO 9]": 10, `event.id:"d000007"`: 1, "message:scans": n,
	} {
		if got := c.count("logs-tidewatch.finding-default", q); got != want {
			t.Errorf("%s: %d documents, want %d", q, got, want)
		}
	}
}

// What does not fit the mapping becomes a dead letter; the rest is indexed.
func (c *cluster) conflict(t *testing.T) {
	cfg := c.config()
	o := newOutput(t, cfg, io.Discard)
	fs := testFindings("c", 20)
	fs[7].Features = []event.Feature{event.Text("targets", "many")} // a number before
	if err := o.Write(t.Context(), fs); err != nil {
		t.Fatal(err)
	}
	if letters := readLetters(t, cfg.DeadLetter); !slices.Equal(letters, []string{"c000007"}) {
		t.Errorf("dead letters %v", letters)
	}
	if n := c.count("logs-tidewatch.finding-default", "event.id:c*"); n != 19 {
		t.Errorf("%d documents", n)
	}
}

// While an index is read-only, its documents wait.
func (c *cluster) readOnly(t *testing.T) {
	o := newOutput(t, c.config(), io.Discard)
	c.do(http.MethodPut, "/logs-tidewatch.finding-default/_settings", `{"index.blocks.write":true}`)
	wait := background(t, o, testFindings("r", 10))
	until(t, "trouble", func() bool { return strings.Contains(o.Stats().Trouble, "read-only") })
	c.do(http.MethodPut, "/logs-tidewatch.finding-default/_settings", `{"index.blocks.write":null}`)
	wait()
	if n := c.count("logs-tidewatch.finding-default", "event.id:r*"); n != 10 {
		t.Errorf("%d documents", n)
	}
	if s := o.Stats(); s.DeadLetters > 0 {
		t.Errorf("%+v", s)
	}
}

// A rollover between two writes loses nothing.
func (c *cluster) rollover(t *testing.T) {
	o := newOutput(t, c.config(), io.Discard)
	for _, prefix := range []string{"oa", "ob"} {
		if err := o.Write(t.Context(), testFindings(prefix, 100)); err != nil {
			t.Fatal(err)
		}
		c.do(http.MethodPost, "/logs-tidewatch.finding-default/_rollover", "")
	}
	if n := c.count("logs-tidewatch.finding-default", "event.id:o*"); n != 200 {
		t.Errorf("%d documents", n)
	}
}

// The server is killed in the middle and comes back.
func (c *cluster) restart(t *testing.T) {
	cfg := c.config()
	cfg.BatchDocuments = 50
	o := newOutput(t, cfg, io.Discard)
	const n = 20000
	wait := background(t, o, testFindings("k", n))
	until(t, "the middle", func() bool { return o.Stats().Indexed >= 500 })
	c.Process.Kill()
	until(t, "trouble", func() bool { return o.Stats().Trouble != "" })
	if s := o.Stats(); s.Indexed >= n {
		t.Errorf("killed too late: %+v", s)
	}
	if err := c.Process.Start(); err != nil {
		t.Fatal(err)
	}
	wait()
	if got := c.count("logs-tidewatch.finding-default", "event.id:k*"); got != n {
		t.Errorf("%d documents, want %d: %+v", got, n, o.Stats())
	}
}

// What setup made can be taken back, once the data streams are gone.
func (c *cluster) delete(t *testing.T) {
	cfg := c.config()
	if _, err := Delete(t.Context(), &cfg); err == nil || !strings.Contains(err.Error(), "delete the data streams first") {
		t.Errorf("with data streams: %v", err)
	}
	if !c.OpenSearch {
		return // the test distribution cannot delete data streams
	}
	c.do(http.MethodDelete, "/_data_stream/logs-tidewatch.*", "")
	for _, want := range []string{"deleted", "absent"} {
		changes, err := Delete(t.Context(), &cfg)
		if err != nil || len(changes) == 0 || slices.ContainsFunc(changes, func(ch Change) bool { return ch.Done != want }) {
			t.Errorf("%v %v, want all %s", changes, err, want)
		}
	}
}

// A server that refuses whole requests, and single documents in others, gets all of
// them.
func TestBackPressure(t *testing.T) {
	for _, s := range realServers {
		t.Run(s.name, func(t *testing.T) {
			c := &cluster{s.tight(t), t}
			began := time.Now()
			c.setup(Options{Replicas: 0, Shards: 3})
			const writers, each = 3, 400
			var all sync.WaitGroup
			var outs []*Output
			for i := range writers {
				cfg := c.config()
				cfg.BatchDocuments = 300
				o := newOutput(t, cfg, io.Discard)
				outs = append(outs, o)
				all.Go(func() {
					if err := o.Write(t.Context(), testFindings(fmt.Sprint("p", i, "-"), each)); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			var sum Stats
			for _, o := range outs {
				st := o.Stats()
				sum.Indexed += st.Indexed
				sum.Duplicates += st.Duplicates
				sum.DeadLetters += st.DeadLetters
				sum.Retries += st.Retries
			}
			if sum.Indexed+sum.Duplicates != writers*each || sum.DeadLetters > 0 || sum.Retries == 0 {
				t.Errorf("%+v", sum)
			}
			if got := c.count("logs-tidewatch.finding-default", "*"); got != writers*each {
				t.Errorf("%d documents, want %d", got, writers*each)
			}
			t.Logf("%d documents, %d sent again in %v", writers*each, sum.Retries, time.Since(began))
			if c.CA != "" {
				t.Run("identity", c.identity)
			}
		})
	}
}

// TLS and passwords: right ones and wrong ones.
func (c *cluster) identity(t *testing.T) {
	f := func(says string, change func(*Config)) {
		t.Helper()
		cfg := c.config()
		change(&cfg)
		err := newOutput(t, cfg, io.Discard).Check(t.Context())
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
	f("", func(*Config) {})
	f("certificate", func(c *Config) { c.CAFile = "" })
	f("check api_key", func(c *Config) { c.Password = strict.NewSecret("wrong") })
	f("check api_key", func(c *Config) {
		c.Username, c.Password, c.APIKey = "", strict.Secret{}, strict.NewSecret("d3Jvbmc6d3Jvbmc=")
	})
	sum := fingerprintOf(t, c.CA)
	f("", func(c *Config) { c.CAFile, c.CAFingerprint = "", sum })
	f("no certificate with the fingerprint", func(c *Config) { c.CAFile, c.CAFingerprint = "", strings.Repeat("00", 32) })

	// A user with the role of setup may write, and nothing else. The distribution cannot
	// keep roles in an index: this one is in a file.
	role, err := json.Marshal(access(Elasticsearch)[0].Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.AddUser("writer", "swordfish-8", "tidewatch_writer", string(role)); err != nil {
		t.Fatal(err)
	}
	cfg := c.config()
	cfg.Username, cfg.Password, cfg.Namespace = "writer", strict.NewSecret("swordfish-8"), "role"
	o := newOutput(t, cfg, io.Discard)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := o.Write(ctx, testFindings("w", 10)); err != nil {
		t.Fatalf("%v: %+v", err, o.Stats())
	}
	if n := c.count("logs-tidewatch.finding-role", "*"); n != 10 {
		t.Errorf("%d documents", n)
	}
	reader := *c.Search
	reader.User, reader.Password = "writer", "swordfish-8"
	if status, _, err := reader.Do(t.Context(), http.MethodGet, "/logs-tidewatch.finding-role/_search", ""); err != nil || status != http.StatusForbidden {
		t.Errorf("the role may read: %d %v", status, err)
	}
}

// TestSoak writes a million findings to each server, which is killed three times.
func TestSoak(t *testing.T) {
	if os.Getenv("TIDEWATCH_SOAK") == "" {
		t.Skip("make soak-elastic")
	}
	for _, s := range realServers {
		t.Run(s.name, func(t *testing.T) {
			c := &cluster{s.start(t), t}
			c.setup(Options{Replicas: 0})
			o := newOutput(t, c.config(), io.Discard)
			const chunk, chunks = 10_000, 100
			began := time.Now()
			for i := range chunks {
				wait := background(t, o, testFindings(fmt.Sprint("s", i, "-"), chunk))
				if i%25 == 24 && i < chunks-1 {
					c.Process.Kill()
					if err := c.Process.Start(); err != nil {
						t.Fatal(err)
					}
				}
				wait()
			}
			if n := c.count("logs-tidewatch.finding-default", "*"); n != chunk*chunks {
				t.Errorf("%d documents: %+v", n, o.Stats())
			}
			t.Logf("%d findings in %v: %+v", chunk*chunks, time.Since(began).Round(time.Second), o.Stats())
		})
	}
}

// syncBuffer is a log that is read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// firstLetter returns the begin of a file of dead letters.
func (c *cluster) firstLetter(path string) string {
	b, _ := os.ReadFile(path)
	return string(b[:min(len(b), 3000)])
}

// fieldNames are the names of the fields of records.
func fieldNames() (names []string) {
	for _, f := range outputs.RecordFields {
		names = append(names, f.Name)
	}
	return names
}
