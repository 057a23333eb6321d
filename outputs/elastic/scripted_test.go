package elastic

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tidewatch/event"
	"tidewatch/internal/strict"
	"tidewatch/outputs/deadletter"
)

// scripted is a server that does what a real one does rarely. It keeps documents as a
// data stream does: each id once.
type scripted struct {
	t      *testing.T
	flavor string
	script []step // one a bulk request; after the last one all is well
	header func(http.Header)

	mu      sync.Mutex
	n       int // of bulk requests
	sizes   []int
	created map[string]int // times that an id was created
	streams []string       // that were made beforehand
}

// step answers one bulk request. It returns false to have it answered as usual, with
// the status that each document gets, 0 for what a real server would give.
type step func(s *scripted, w http.ResponseWriter, ids []string) (statuses []int, done bool)

func (s *scripted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.header != nil {
		s.header(r.Header)
	}
	if s.flavor == Elasticsearch {
		w.Header().Set("X-Elastic-Product", "Elasticsearch")
	}
	w.Header().Set("Content-Type", "application/json")
	switch {
	case r.Method == http.MethodHead:
		w.WriteHeader(http.StatusNotFound)
	case r.Method == http.MethodPut && strings.HasPrefix(r.URL.Path, "/_data_stream/") && s.flavor == OpenSearch:
		s.streams = append(s.streams, strings.TrimPrefix(r.URL.Path, "/_data_stream/"))
		fmt.Fprint(w, `{"acknowledged":true}`)
	case r.Method == http.MethodPost && r.URL.Path == "/_bulk":
		if strict := r.URL.Query().Get("require_data_stream"); (strict == "true") != (s.flavor == Elasticsearch) {
			s.t.Errorf("require_data_stream is %q for %s", strict, s.flavor)
		}
		s.bulk(w, r)
	default:
		s.t.Errorf("%s %s", r.Method, r.URL)
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

func (s *scripted) bulk(w http.ResponseWriter, r *http.Request) {
	ids, err := readBulk(r)
	if err != nil {
		s.t.Errorf("the request is malformed: %v", err)
	}
	s.sizes = append(s.sizes, len(ids))
	statuses, n := make([]int, len(ids)), s.n
	s.n++
	if n < len(s.script) && s.script[n] != nil {
		script, done := s.script[n](s, w, ids)
		if done {
			return
		}
		copy(statuses, script)
	}
	fmt.Fprint(w, s.answer(ids, statuses))
}

// answer creates the documents whose status is 0, and returns what is said of all.
func (s *scripted) answer(ids []string, statuses []int) string {
	var items []string
	for i, id := range ids {
		status, more := statuses[i], ""
		switch {
		case status == 0 && s.created[id] > 0:
			status = http.StatusConflict
		case status == 0:
			status = http.StatusCreated
			s.created[id]++
		case status == 299:
			status, more = http.StatusCreated, `,"failure_store":"used"`
			s.created[id]++
		}
		if status >= 400 {
			more = `,"error":{"type":"a_type","reason":"a \"reason\" \u001b[31m"}`
		}
		items = append(items, fmt.Sprintf(`{"create":{"status":%d%s}}`, status, more))
	}
	return `{"errors":true,"items":[` + strings.Join(items, ",") + `]}`
}

// readBulk returns the ids of a bulk request and checks its form.
func readBulk(r *http.Request) (ids []string, err error) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		if body, err = gzip.NewReader(r.Body); err != nil {
			return nil, err
		}
	}
	lines := bufio.NewReader(body)
	for {
		action, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) && len(action) == 0 {
			return ids, nil
		}
		source, err2 := lines.ReadBytes('\n')
		var a struct {
			Create struct {
				Index string `json:"_index"`
				ID    string `json:"_id"`
			}
		}
		if err := errors.Join(err, err2, json.Unmarshal(action, &a)); err != nil {
			return ids, err
		}
		if !json.Valid(source) || !strings.HasPrefix(a.Create.Index, "logs-tidewatch.") {
			return ids, fmt.Errorf("%s%s", action, source)
		}
		ids = append(ids, a.Create.ID)
	}
}

// The steps of scripts.

func whole(status int, h ...string) step {
	return func(s *scripted, w http.ResponseWriter, ids []string) ([]int, bool) {
		for i := 0; i+1 < len(h); i += 2 {
			w.Header().Set(h[i], h[i+1])
		}
		w.WriteHeader(status)
		fmt.Fprint(w, `{"error":{"type":"a_type","reason":"no"}}`)
		return nil, true
	}
}

// each gives every second document a status.
func each(status int) step {
	return func(s *scripted, w http.ResponseWriter, ids []string) ([]int, bool) {
		statuses := make([]int, len(ids))
		for i := 0; i < len(ids); i += 2 {
			statuses[i] = status
		}
		return statuses, false
	}
}

// largest takes requests of up to n documents.
func largest(n int) step {
	return func(s *scripted, w http.ResponseWriter, ids []string) ([]int, bool) {
		if len(ids) <= n {
			return nil, false
		}
		return whole(http.StatusRequestEntityTooLarge)(s, w, ids)
	}
}

// applied creates the documents and says what f makes of the answer.
func applied(f func(w http.ResponseWriter, answer string)) step {
	return func(s *scripted, w http.ResponseWriter, ids []string) ([]int, bool) {
		f(w, s.answer(ids, make([]int, len(ids))))
		return nil, true
	}
}

func hijack(w http.ResponseWriter) net.Conn {
	c, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	return c
}

// closed ends the connection without an answer.
func closed(w http.ResponseWriter, _ string) { _ = hijack(w).Close() }

// halfClosed sends half an answer, and then nothing more can come.
func halfClosed(w http.ResponseWriter, answer string) {
	c := hijack(w)
	fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nX-Elastic-Product: Elasticsearch\r\nContent-Length: %d\r\n\r\n%s", len(answer), answer[:len(answer)/2])
	_ = c.(*net.TCPConn).CloseWrite()
	_, _ = io.Copy(io.Discard, c)
	_ = c.Close()
}

// hangs sends half an answer and keeps the connection open until the client goes.
func hangs(w http.ResponseWriter, answer string) {
	c := hijack(w)
	fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nX-Elastic-Product: Elasticsearch\r\nContent-Length: %d\r\n\r\n%s", len(answer), answer[:len(answer)/2])
	_, _ = io.Copy(io.Discard, c)
	_ = c.Close()
}

func truncated(w http.ResponseWriter, answer string) { fmt.Fprint(w, answer[:len(answer)/2]) }

func fewer(w http.ResponseWriter, answer string) {
	fmt.Fprint(w, answer[:strings.LastIndex(answer, ",{")]+"]}")
}

func endless(w http.ResponseWriter, answer string) {
	fmt.Fprint(w, answer+strings.Repeat(" ", 2<<20))
}

func foreign(w http.ResponseWriter, answer string) {
	w.Header().Del("X-Elastic-Product")
	fmt.Fprint(w, "<html>please log in</html>")
}

const testDocuments = 40

// testFindings returns n findings whose ids begin with prefix.
func testFindings(prefix string, n int) []event.Finding {
	at := time.Date(2026, 11, 20, 10, 17, 0, 0, time.UTC).UnixNano()
	rule := &event.RuleInfo{ID: "scan-internal", Name: "Internal host scans the own network", Severity: event.SeverityHigh, Version: "1"}
	fs := make([]event.Finding, n)
	for i := range fs {
		fs[i] = event.Finding{
			ID: fmt.Sprintf("%s%06d", prefix, i), Rule: rule,
			Observation: event.Observation{
				Detector: "scan", Episode: "e", Time: at + int64(i)*1e9, Start: at, End: at + int64(i)*1e9,
				Subject: event.Subject{Type: "host", Value: "10.20.1.23"},
				Source:  event.Endpoint{Addr: netip.MustParseAddr("10.20.1.23"), Port: uint16(i), HasPort: true},
				Proto:   event.ProtoTCP, Score: 0.9, Risk: 81, Reason: "it tried 90 hosts", Sensors: []string{"zeek"},
				Evidence: []event.Evidence{{Feature: "scan.targets", Observed: 90, Expected: 1.5, Unit: "hosts", Weight: 4.5, Text: "90 hosts were tried"}},
				Features: []event.Feature{event.Number("targets", 90), event.Text("kind", "horizontal"), event.Bool("known", false)},
			},
		}
	}
	return fs
}

// testConfig returns a configuration for a server that answers at once or never.
func testConfig(t testing.TB, url string) Config {
	c := Default()
	c.Addresses = []string{url}
	c.MaxBackoff = strict.Duration(2 * time.Millisecond)
	c.DeadLetter = filepath.Join(t.TempDir(), "dead.ndjson")
	return c
}

func newOutput(t testing.TB, c Config, log io.Writer) *Output {
	t.Helper()
	o, err := New(c, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.Close() })
	return o
}

// readLetters returns the ids in a file of dead letters.
func readLetters(t testing.TB, path string) (ids []string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(b) {
		var l struct {
			ID       string `json:"_id"`
			Stream   string `json:"data_stream"`
			Reason   string
			Document map[string]any
		}
		if err := json.Unmarshal(line, &l); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if l.Reason == "" || l.Document["@timestamp"] == nil || l.Stream != "logs-tidewatch.finding-default" {
			t.Errorf("the letter is not complete: %s", line)
		}
		ids = append(ids, l.ID)
	}
	return ids
}

// Whatever happens, each document is in the index or a dead letter, and none is twice.
func TestDelivery(t *testing.T) {
	all := testDocuments
	for name, c := range map[string]struct {
		script  []step
		letters int
		change  func(*Config)
		stats   func(*Stats) bool
	}{
		"all well":               {stats: func(s *Stats) bool { return s.Indexed == uint64(all) && s.Requests == 1 && s.Retries == 0 }},
		"no compression":         {change: func(c *Config) { c.Compress = false }},
		"items 429":              {script: []step{each(429), each(429), each(503)}, stats: func(s *Stats) bool { return s.Retries > 0 }},
		"items 502, 504, 500":    {script: []step{each(502), each(504), each(500)}},
		"items 401, 403, 404":    {script: []step{each(401), each(403), each(404)}},
		"items 400":              {script: []step{each(400)}, letters: all / 2, stats: func(s *Stats) bool { return s.DeadLetters == uint64(all/2) && s.Requests == 1 }},
		"items 413":              {script: []step{each(413)}, letters: all / 2},
		"failure store":          {script: []step{each(299)}, stats: func(s *Stats) bool { return s.FailureStore == uint64(all/2) }},
		"whole 429":              {script: []step{whole(429, "Retry-After", "3600"), whole(429), whole(503), whole(502), whole(504)}},
		"a proxy's 503":          {script: []step{whole(503, "X-Elastic-Product", "")}},
		"whole 401, 403, 400":    {script: []step{whole(401), whole(403), whole(400), whole(404)}},
		"413 until small enough": {script: slices.Repeat([]step{largest(3)}, 40)},
		"413 always":             {script: slices.Repeat([]step{largest(0)}, 1000), letters: all},
		"applied, then closed":   {script: []step{applied(closed)}, stats: func(s *Stats) bool { return s.Duplicates == uint64(all) }},
		"half closed":            {script: []step{applied(halfClosed), applied(halfClosed)}},
		"hangs in the answer":    {script: []step{applied(hangs)}, change: func(c *Config) { c.Timeout = strict.Duration(300 * time.Millisecond) }},
		"truncated JSON":         {script: []step{applied(truncated)}},
		"fewer items":            {script: []step{applied(fewer)}},
		"an endless answer":      {script: []step{applied(endless)}},
		"wrong product later":    {script: []step{applied(foreign), applied(foreign)}},
		"many small requests":    {script: []step{each(429), nil, each(400), applied(closed)}, letters: 2, change: func(c *Config) { c.BatchDocuments = 7 }},
		"bytes bound a request":  {change: func(c *Config) { c.BatchSize = 2 << 10 }, stats: func(s *Stats) bool { return s.Requests > 10 }},
		"opensearch":             {script: []step{each(429), whole(503)}, change: func(c *Config) { c.Flavor = OpenSearch }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &scripted{t: t, flavor: Elasticsearch, script: c.script, created: map[string]int{}}
			server := httptest.NewServer(s)
			defer server.Close()
			cfg := testConfig(t, server.URL)
			if c.change != nil {
				c.change(&cfg)
				s.flavor = cfg.Flavor
			}
			var log bytes.Buffer
			o := newOutput(t, cfg, &log)
			if err := o.Write(t.Context(), testFindings("a", all)); err != nil {
				t.Fatal(err)
			}
			letters := readLetters(t, cfg.DeadLetter)
			ids := append(slices.Collect(maps.Keys(s.created)), letters...)
			slices.Sort(ids)
			var want []string
			for _, f := range testFindings("a", all) {
				want = append(want, f.ID)
			}
			if diff := cmp.Diff(want, ids); diff != "" {
				t.Errorf("documents in, and out or dead (-want +got):\n%s", diff)
			}
			for id, n := range s.created {
				if n != 1 {
					t.Errorf("%s was created %d times", id, n)
				}
			}
			if len(letters) != c.letters {
				t.Errorf("%d dead letters, want %d", len(letters), c.letters)
			}
			if stats := o.Stats(); c.stats != nil && !c.stats(&stats) || stats.Trouble != "" {
				t.Errorf("%+v, requests of %v", stats, s.sizes)
			}
			if s.flavor == OpenSearch && !slices.Equal(s.streams, []string{"logs-tidewatch.finding-default"}) {
				t.Errorf("data streams made beforehand: %v", s.streams)
			}
			if strings.ContainsRune(log.String(), 0x1b) {
				t.Errorf("the server's words reach the log unescaped: %q", log.String())
			}
		})
	}
}

// A server that is something else is refused before it is sent anything.
func TestForeignServer(t *testing.T) {
	f := func(is, flavor, says string) {
		t.Helper()
		s := &scripted{t: t, flavor: is, created: map[string]int{}}
		server := httptest.NewServer(s)
		defer server.Close()
		cfg := testConfig(t, server.URL)
		cfg.Flavor = flavor
		o := newOutput(t, cfg, io.Discard)
		for _, err := range []error{o.Check(t.Context()), o.Write(t.Context(), testFindings("a", 1))} {
			if !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), says) {
				t.Errorf("%s as %s: %v", is, flavor, err)
			}
		}
		if s.n > 0 {
			t.Error("it was sent documents")
		}
	}
	f(OpenSearch, Elasticsearch, `set flavor = "opensearch"`)
	f(Elasticsearch, OpenSearch, `set flavor = "elasticsearch"`)
}

// Who we are is in each request, and in nothing that is printed.
func TestIdentity(t *testing.T) {
	f := func(want string, change func(*Config)) {
		t.Helper()
		var got []string
		s := &scripted{t: t, flavor: Elasticsearch, created: map[string]int{}, script: []step{whole(401), each(403), each(400)}}
		s.header = func(h http.Header) { got = append(got, h.Get("Authorization")) }
		server := httptest.NewServer(s)
		defer server.Close()
		cfg := testConfig(t, server.URL)
		change(&cfg)
		var log bytes.Buffer
		o := newOutput(t, cfg, &log)
		if err := o.Write(t.Context(), testFindings("a", 4)); err != nil {
			t.Fatal(err)
		}
		if len(got) < 3 || got[0] != want || got[2] != want {
			t.Errorf("got %q, want %q", got, want)
		}
		printed := log.String() + fmt.Sprintf("%v %+v %#v", o, cfg, cfg.Password)
		if strings.Contains(printed, "swordfish") || !strings.Contains(printed, "<secret>") {
			t.Errorf("printed: %s", printed)
		}
	}
	f("APIKey swordfish", func(c *Config) { c.APIKey = strict.NewSecret("swordfish") })
	f("Bearer swordfish", func(c *Config) { c.ServiceToken = strict.NewSecret("swordfish") })
	f("Basic bWU6c3dvcmRmaXNo", func(c *Config) { c.Username, c.Password = "me", strict.NewSecret("swordfish") })
}

// One of several nodes is down; the other gets the documents.
func TestNodes(t *testing.T) {
	s := &scripted{t: t, flavor: Elasticsearch, created: map[string]int{}}
	server := httptest.NewServer(s)
	defer server.Close()
	down := httptest.NewServer(s)
	down.Close()
	cfg := testConfig(t, server.URL)
	cfg.Addresses = []string{down.URL, server.URL + "/"}
	o := newOutput(t, cfg, io.Discard)
	for range 3 {
		if err := o.Write(t.Context(), testFindings("a", 3)); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(s.created); got != 3 {
		t.Errorf("%d documents", got)
	}
}

// While the server is down Write waits, and ends with ctx.
func TestWriteEnds(t *testing.T) {
	server := httptest.NewServer(nil)
	server.Close()
	o := newOutput(t, testConfig(t, server.URL), io.Discard)
	reason := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(20*time.Millisecond, func() { cancel(reason) })
	if err := o.Write(ctx, testFindings("a", 1)); !errors.Is(err, reason) {
		t.Errorf("%v", err)
	}
	if s := o.Stats(); s.Trouble == "" || s.Retries == 0 {
		t.Errorf("%+v", s)
	}
	if err := o.Check(t.Context()); err == nil || errors.Is(err, ErrForeign) {
		t.Error(err)
	}
}

// Documents that are sent again say when that was.
func TestStamp(t *testing.T) {
	var got []string
	s := &scripted{t: t, flavor: Elasticsearch, created: map[string]int{}, script: []step{whole(503)}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/_bulk" {
			b, _ := io.ReadAll(r.Body)
			r.Body = io.NopCloser(bytes.NewReader(b))
			_, after, _ := bytes.Cut(b, []byte(`"ingested":"`))
			got = append(got, string(after[:27]))
		}
		s.ServeHTTP(w, r)
	}))
	defer server.Close()
	cfg := testConfig(t, server.URL)
	cfg.Compress = false
	o := newOutput(t, cfg, io.Discard)
	at := time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)
	o.now = func() time.Time { at = at.Add(time.Hour); return at }
	fs := testFindings("a", 1)
	fs[0].Reason = `"ingested":"2000-01-01T00:00:00.000000Z"`
	if err := o.Write(t.Context(), fs); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0] != "2026-11-25T01:00:00.000000Z" || got[1] <= got[0] || len(got[1]) != 27 {
		t.Errorf("%q", got)
	}
}

// The file of dead letters stays bounded, and keeps the newest.
func TestDeadLetterFile(t *testing.T) {
	d := &deadletter.File{Path: filepath.Join(t.TempDir(), "dead"), Most: 2000}
	for i := range 100 {
		l := letter{stream: "logs-tidewatch.finding-default", id: fmt.Sprint(i), status: 400, reason: "\x1b[31m\"", document: []byte(`{"@timestamp":1}`)}
		if err := d.Add(lines([]letter{l}, time.Now())); err != nil {
			t.Fatal(err)
		}
		if i == 50 { // a restart
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	ids := append(readLetters(t, d.Path+".1"), readLetters(t, d.Path)...)
	if len(ids) < 10 || len(ids) > 40 || ids[len(ids)-1] != "99" || ids[0] != fmt.Sprint(100-len(ids)) {
		t.Errorf("%v", ids)
	}
	for _, p := range []string{d.Path, d.Path + ".1"} {
		if info, err := os.Stat(p); err != nil || info.Size() > d.Most || info.Mode().Perm() != 0o600 {
			t.Errorf("%v %v", info, err)
		}
	}
}

// Where dead letters cannot be written, nothing is settled.
func TestDeadLetterTrouble(t *testing.T) {
	s := &scripted{t: t, flavor: Elasticsearch, created: map[string]int{}, script: slices.Repeat([]step{each(400)}, 1000)}
	server := httptest.NewServer(s)
	defer server.Close()
	cfg := testConfig(t, server.URL)
	dir := filepath.Join(filepath.Dir(cfg.DeadLetter), "later")
	cfg.DeadLetter = filepath.Join(dir, "dead")
	o := newOutput(t, cfg, io.Discard)
	s.script[5] = func(*scripted, http.ResponseWriter, []string) ([]int, bool) {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Error(err)
		}
		return []int{400}, false
	}
	if err := o.Write(t.Context(), testFindings("a", 1)); err != nil {
		t.Fatal(err)
	}
	if ids := readLetters(t, cfg.DeadLetter); len(ids) != 1 || s.n != 6 {
		t.Errorf("%v after %d requests", ids, s.n)
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"items":[{"create":{"status":201}}]}`))
	f.Add([]byte(`{"items":[{"create":{"status":400,"error":{"type":"x"}}}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		items, err := parseAnswer(b, 1)
		if err == nil && (len(items) != 1 || items[0].Status == 0) {
			t.Errorf("%q: %v", b, items)
		}
		r := reply{status: 400, body: b}
		if strings.ContainsAny(r.said(), "\x1b\n") {
			t.Errorf("%q", r.said())
		}
	})
}

// fingerprintOf returns the SHA-256 of a certificate in a file.
func fingerprintOf(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(b)
	return fmt.Sprintf("%X", sha256.Sum256(block.Bytes))
}
