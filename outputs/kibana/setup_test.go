package kibana

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tidewatch/internal/strict"
)

// scripted answers as Kibana's import and export do.
type scripted struct {
	t      *testing.T
	space  string
	auth   string
	have   map[string]savedObject
	answer func(w http.ResponseWriter) bool // instead, if it returns true
}

func (s *scripted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("kbn-name", "kibana")
	if s.answer != nil && s.answer(w) {
		return
	}
	if r.Header.Get("kbn-xsrf") == "" || r.Method != http.MethodPost || r.Header.Get("Authorization") != s.auth {
		s.t.Errorf("%s %s: %v", r.Method, r.URL, r.Header)
	}
	base := "/base"
	if s.space != "" {
		base += "/s/" + s.space
	}
	switch path, _ := strings.CutPrefix(r.URL.Path, base+"/api/saved_objects/"); path {
	case "_export":
		s.export(w, r)
	case "_import":
		s.load(w, r)
	default:
		s.t.Errorf("path %s", r.URL.Path)
	}
}

func (s *scripted) export(w http.ResponseWriter, r *http.Request) {
	var asked struct{ Objects []savedObject }
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
		s.t.Error(err)
	}
	var out []savedObject
	for _, o := range asked.Objects {
		there, ok := s.have[o.Type+":"+o.ID]
		if !ok {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"statusCode":400,"error":"Bad Request","message":"Error fetching objects to export"}`)
			return
		}
		out = append(out, there)
	}
	_, _ = w.Write(encode(out))
}

func (s *scripted) load(w http.ResponseWriter, r *http.Request) {
	file, header, err := r.FormFile("file")
	if err != nil || !strings.HasSuffix(header.Filename, ".ndjson") || r.URL.Query().Get("overwrite") != "true" {
		s.t.Fatal(err, header, r.URL)
	}
	b, _ := io.ReadAll(file)
	objects, err := decode(b)
	if err != nil {
		s.t.Error(err)
	}
	var done []string
	for _, o := range objects {
		key := o.Type + ":" + o.ID
		_, there := s.have[key]
		s.have[key] = o
		done = append(done, fmt.Sprintf(`{"type":%q,"id":%q,"overwrite":%v}`, o.Type, o.ID, there))
	}
	fmt.Fprintf(w, `{"success":true,"successCount":%d,"successResults":[%s]}`, len(done), strings.Join(done, ","))
}

// testConfig returns the configuration for a server whose certificate is in a file.
func testConfig(t *testing.T, server *httptest.Server) Config {
	cfg := Default()
	cfg.Address, cfg.Proxy = server.URL+"/base/", "none"
	if server.TLS != nil {
		cfg.CAFile = filepath.Join(t.TempDir(), "ca.pem")
		if err := os.WriteFile(cfg.CAFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cfg
}

// What setup does, from nothing to what is newer than itself; over TLS, into a space,
// with an API key.
func TestSetup(t *testing.T) {
	s := &scripted{t: t, space: "soc", auth: "ApiKey aTpr", have: map[string]savedObject{}}
	server := httptest.NewTLSServer(s)
	defer server.Close()
	cfg := testConfig(t, server)
	cfg.Space, cfg.APIKey = "soc", strict.NewSecret("aTpr")
	f := func(want string) {
		t.Helper()
		changes, err := Setup(t.Context(), &cfg)
		if err != nil || len(changes) < 15 || slices.ContainsFunc(changes, func(c Change) bool { return c.Done != want }) {
			t.Errorf("want all %s: %v %v", want, changes, err)
		}
	}
	f("created")
	f("unchanged")
	// One that is missing, and what an older version made, is imported anew.
	gone := s.have["search:tidewatch-soc-findings"]
	delete(s.have, "search:tidewatch-soc-findings")
	if changes, err := Setup(t.Context(), &cfg); err != nil || !slices.Contains(changes, Change{gone.Type, gone.ID, "created"}) || !slices.Contains(changes, Change{"dashboard", "tidewatch-soc-entity", "replaced"}) {
		t.Error(changes, err)
	}
	const overview = "dashboard:tidewatch-soc-overview"
	s.have[overview].Attributes["description"] = "of before"
	f("replaced")
	f("unchanged")
	s.have[overview].Attributes["description"] = "newer" + signature{version + 1, "0123456789abcdef"}.String()
	if _, err := Setup(t.Context(), &cfg); err == nil || !strings.Contains(err.Error(), "use the newer tidewatch") {
		t.Errorf("over a newer version: %v", err)
	}
}

// What goes wrong is said, and no secret is.
func TestSetupTrouble(t *testing.T) {
	s := &scripted{t: t, auth: "Basic bWU6c3dvcmRmaXNo", have: map[string]savedObject{}}
	server := httptest.NewServer(s)
	defer server.Close()
	f := func(want string, answer func(w http.ResponseWriter) bool) {
		t.Helper()
		cfg := testConfig(t, server)
		cfg.Username, cfg.Password, s.answer = "me", strict.NewSecret("swordfish"), answer
		_, err := Setup(t.Context(), &cfg)
		if err == nil || !strings.Contains(err.Error(), want) || strings.ContainsAny(err.Error(), "\x1b") || strings.Contains(err.Error(), "swordfish") {
			t.Errorf("%v, want %s", err, want)
		}
	}
	status := func(code int, body string) func(http.ResponseWriter) bool {
		return func(w http.ResponseWriter) bool {
			w.WriteHeader(code)
			fmt.Fprint(w, body)
			return true
		}
	}
	// The export says that nothing is there, and the import answers.
	loaded := func(body string) func(http.ResponseWriter) bool {
		n := 0
		return func(w http.ResponseWriter) bool {
			if n++; n == 1 {
				w.WriteHeader(http.StatusBadRequest)
				return true
			}
			fmt.Fprint(w, body)
			return true
		}
	}
	f("check username", status(401, `{"message":"no\u001b[31m"}`))
	f("Saved Objects Management", status(403, `{"message":"Forbidden"}`))
	f("status 503: Kibana server is not ready yet", status(503, "Kibana server is not ready yet"))
	f("is not Kibana", func(w http.ResponseWriter) bool { w.Header().Del("kbn-name"); return true })
	f("search s: missing_references", loaded(`{"success":false,"errors":[{"type":"search","id":"s","error":{"type":"missing_references"}}]}`))
	f("does not say why", loaded(`{"success":false}`))
	f("cannot be read", loaded(`{"success":`))
	f("links do not find it", loaded(`{"success":true,"successResults":[{"type":"search","id":"s","destinationId":"x"}]}`))
}

func TestConfig(t *testing.T) {
	f := func(want string, change func(*Config)) {
		t.Helper()
		c := Default()
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
	f("a password in it", func(c *Config) { c.Address = "https://me:swordfish@kibana:5601" })
	f("space", func(c *Config) { c.Space = "../x" })
	f("several ways", func(c *Config) {
		c.Username, c.Password, c.APIKey = "me", strict.NewSecret("swordfish"), strict.NewSecret("swordfish")
	})
	f("without a password", func(c *Config) { c.Username = "me" })
	f("one of them", func(c *Config) { c.CAFile, c.CAFingerprint = "a", strings.Repeat("00", 32) })
}
