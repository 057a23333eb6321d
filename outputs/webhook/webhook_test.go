package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
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
)

func testFindings(n int) (fs []event.Finding) {
	rule := &event.RuleInfo{ID: "r", Name: "A rule", Severity: event.SeverityHigh}
	for i := range n {
		f := event.Finding{ID: fmt.Sprintf("f%03d", i), Rule: rule}
		f.Detector, f.Time, f.Reason, f.Risk = "scan", 1795000000e9+int64(i), "because", 80
		fs = append(fs, f)
	}
	return fs
}

// receiver is a scripted server. It keeps the findings that it has taken.
type receiver struct {
	t     *testing.T
	key   string
	mu    sync.Mutex
	steps []func(w http.ResponseWriter, n int) bool // true: taken
	n     int
	took  []string
	sizes []int
	ids   []string // of deliveries
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	body, err := io.ReadAll(req.Body)
	if err != nil {
		r.t.Error(err)
	}
	if r.key != "" {
		at, is := req.Header.Get("X-Tidewatch-Timestamp"), req.Header.Get("X-Tidewatch-Signature")
		if !hmac.Equal([]byte(is), []byte("sha256="+Sign(r.key, at, body))) || len(at) != 10 {
			r.t.Errorf("signature %s at %s", is, at)
		}
	}
	var doc struct {
		Findings []struct {
			Event struct{ ID, Ingested string }
		}
	}
	if err := json.Unmarshal(body, &doc); err != nil || req.Method != http.MethodPost || req.Header.Get("Content-Type") != "application/json" {
		r.t.Errorf("%v %s %v: %s", err, req.Method, req.Header, body)
	}
	r.sizes, r.ids = append(r.sizes, len(doc.Findings)), append(r.ids, req.Header.Get("X-Tidewatch-Delivery"))
	taken := true
	if r.n < len(r.steps) && r.steps[r.n] != nil {
		taken = r.steps[r.n](w, len(doc.Findings))
	}
	r.n++
	if !taken {
		return
	}
	for _, f := range doc.Findings {
		r.took = append(r.took, f.Event.ID)
	}
}

func says(status int) func(http.ResponseWriter, int) bool {
	return func(w http.ResponseWriter, _ int) bool {
		w.WriteHeader(status)
		fmt.Fprint(w, "no\x1b[31m")
		return false
	}
}

// hangsUp takes what it was sent, or not, and closes the connection.
func hangsUp(taken bool) func(http.ResponseWriter, int) bool {
	return func(w http.ResponseWriter, _ int) bool {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			_ = conn.Close()
		}
		return taken
	}
}

func testConfig(t *testing.T, url string) Config {
	c := Default()
	c.URL, c.MaxBackoff, c.Proxy = strict.NewSecret(url), strict.Duration(2*time.Millisecond), "none"
	c.DeadLetter = filepath.Join(t.TempDir(), "dead")
	return c
}

// letters returns the ids of the dead letters.
func letters(t *testing.T, path string) (ids []string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for line := range bytes.Lines(b) {
		var l struct {
			Status   int
			Reason   string
			Document struct{ Event struct{ ID string } }
		}
		if err := json.Unmarshal(line, &l); err != nil || l.Status == 0 || l.Reason == "" {
			t.Errorf("%v: %s", err, line)
		}
		ids = append(ids, l.Document.Event.ID)
	}
	return ids
}

// Whatever the server answers, each finding is delivered or a dead letter, and twice only
// where an answer was lost.
func TestDelivery(t *testing.T) {
	const n = 10
	f := func(wantTook, wantDead, wantRequests int, steps ...func(http.ResponseWriter, int) bool) {
		t.Helper()
		r := &receiver{t: t, key: "swordfish", steps: steps}
		server := httptest.NewServer(r)
		defer server.Close()
		c := testConfig(t, server.URL+"/hook?token=secret-token")
		c.Key, c.Batch = strict.NewSecret("swordfish"), 4
		var log bytes.Buffer
		o, err := New(c, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		defer o.Close()
		if err := o.Write(t.Context(), testFindings(n)); err != nil {
			t.Fatal(err)
		}
		dead := letters(t, c.DeadLetter)
		all := append(slices.Clone(r.took), dead...)
		slices.Sort(all)
		if len(r.took) != wantTook || len(dead) != wantDead || len(r.sizes) != wantRequests || len(slices.Compact(all)) != n {
			t.Errorf("%d taken, %d dead, %d requests: %v", len(r.took), len(dead), len(r.sizes), all)
		}
		if s := o.Stats(); int(s.Delivered)+int(s.DeadLetters) != n || s.DeadLetters != uint64(wantDead) || s.Trouble != "" {
			t.Errorf("%+v", s)
		}
		if strings.Contains(log.String(), "secret-token") || strings.Contains(log.String(), "swordfish") || strings.Contains(log.String(), "\x1b") {
			t.Error(log.String())
		}
	}
	f(n, 0, 3)
	f(n, 0, 7, says(500), says(429), says(408), says(503))
	f(n, 0, 4, hangsUp(false))
	f(n+4, 0, 4, hangsUp(true)) // the answer was lost
	f(6, 4, 3, says(400))
	f(n-2, 2, 3, nil, nil, says(401))
	f(0, n, 3, says(403), says(404), says(301))
	f(n, 0, 4, says(413))                         // 4 are too many: 2, 4 and 4 follow
	f(n-1, 1, 6, says(413), says(413), says(413)) // one is too large by itself
}

// A delivery has the same id when it is sent again, and another one otherwise.
func TestDeliveryID(t *testing.T) {
	r := &receiver{t: t, steps: []func(http.ResponseWriter, int) bool{says(500), nil, nil}}
	server := httptest.NewServer(r)
	defer server.Close()
	o, err := New(testConfig(t, server.URL), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	for _, fs := range [][]event.Finding{testFindings(2), testFindings(3)} {
		if err := o.Write(t.Context(), fs); err != nil {
			t.Fatal(err)
		}
	}
	if len(r.ids) != 3 || r.ids[0] != r.ids[1] || r.ids[1] == r.ids[2] {
		t.Error(r.ids)
	}
}

// While the server is down Write waits, and says why without the address.
func TestDown(t *testing.T) {
	c := testConfig(t, "http://127.0.0.1:1/secret-token")
	o, err := New(c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- o.Write(ctx, testFindings(1)) }()
	for o.Stats().Trouble == "" {
		select {
		case err := <-done:
			t.Fatal(err)
		default:
		}
	}
	if s := o.Stats().Trouble; !strings.HasPrefix(s, "no answer") || strings.Contains(s, "secret") {
		t.Error(s)
	}
	stop()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// Over TLS it trusts whom it is told to, and nobody else.
func TestTLS(t *testing.T) {
	r := &receiver{t: t}
	server := httptest.NewTLSServer(r)
	defer server.Close()
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	c := testConfig(t, server.URL)
	c.CAFile = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(c.CAFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := New(c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if err := o.Write(t.Context(), testFindings(1)); err != nil || len(r.took) != 1 {
		t.Error(err, r.took)
	}
	c.CAFile, c.CAFingerprint = "", strings.Repeat("00", 32)
	if o, err = New(c, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if _, err := o.send(t.Context(), nil, ""); err == nil || !strings.Contains(err.Error(), "fingerprint") {
		t.Error(err)
	}
}

// What stands in a finding is text to Slack, whatever it says.
func TestSlack(t *testing.T) {
	fs := testFindings(1)
	fs[0].Reason = "<!channel> see <http://evil.example|bank> & \x1b[31m\nnew line"
	want := `{"text":"high: A rule","mrkdwn":false,"unfurl_links":false,"blocks":[` +
		`{"type":"section","text":{"type":"mrkdwn","verbatim":true,"text":"*high: A rule* (risk 80)` +
		`\u000a&lt;!channel&gt; see &lt;http://evil.example|bank&gt; &amp; \\x1b[31m\\x0anew line"}}]}`
	if d := cmp.Diff(want, string(appendSlack(nil, fs))); d != "" {
		t.Error(d)
	}
}

func FuzzSlack(f *testing.F) {
	f.Add("<!here>", "a")
	f.Add(strings.Repeat("&", 10_000), strings.Repeat("\u202e", 1000))
	f.Fuzz(func(t *testing.T, reason, name string) {
		fs := testFindings(maxSlack)
		fs[3].Reason, fs[3].Rule = reason, &event.RuleInfo{Name: name}
		var m struct {
			Text   string
			Blocks []struct{ Text struct{ Text string } }
		}
		if err := json.Unmarshal(appendSlack(nil, fs), &m); err != nil || len(m.Blocks) != maxSlack {
			t.Fatal(err, len(m.Blocks))
		}
		text := m.Blocks[3].Text.Text
		if strings.ContainsAny(text+m.Text, "<>\x1b") || strings.Count(text, "\n") != 1 || len([]rune(text)) > 3000 {
			t.Errorf("%q", text)
		}
	})
}

// Everything that is wrong with a configuration is said, and no secret is.
func TestConfig(t *testing.T) {
	f := func(want string, change func(*Config)) {
		t.Helper()
		c := Default()
		c.URL = strict.NewSecret("https://hooks.example/T/swordfish")
		change(&c)
		got := ""
		if err := c.Validate(); err != nil {
			got = err.Error()
		}
		if (got == "") != (want == "") || !strings.Contains(got, want) || strings.Contains(got, "swordfish") {
			t.Errorf("%q, want %q", got, want)
		}
	}
	f("", func(*Config) {})
	f("", func(c *Config) { c.URL = strict.NewSecret("https://h.example/x?sig=swordfish") })
	f("url", func(c *Config) { c.URL = strict.Secret{} })
	f("url", func(c *Config) { c.URL = strict.NewSecret("https://me:swordfish@h.example") })
	f("url", func(c *Config) { c.URL = strict.NewSecret("ftp://swordfish") })
	f("template", func(c *Config) { c.Template = "xml" })
	f("at_least", func(c *Config) { c.AtLeast = "severe" })
	f("batch", func(c *Config) { c.Batch = 0 })
	f("batch", func(c *Config) { c.Template, c.Batch = Slack, 51 })
	f("timeout", func(c *Config) { c.Timeout = 0 })
	f("dead_letter", func(c *Config) { c.DeadLetter = "" })
	f("dead_letter_size", func(c *Config) { c.DeadLetterSize = 1 })
	f("one of them", func(c *Config) { c.CAFile, c.CAFingerprint = "a", strings.Repeat("00", 32) })
}
