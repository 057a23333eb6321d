package elastic

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"tidewatch/internal/strict"
	"tidewatch/outputs"
)

// keeper is a server that keeps what is put, as the APIs of templates and roles do.
type keeper struct {
	t    *testing.T
	have map[string]json.RawMessage
	body map[string]json.RawMessage // of requests, by path
}

func (k *keeper) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Elastic-Product", "Elasticsearch")
	path := r.URL.Path
	name := path[strings.LastIndexByte(path, '/')+1:]
	switch {
	case path == "/_security/api_key":
		k.body[path], _ = io.ReadAll(r.Body)
		fmt.Fprint(w, `{"id":"i","name":"sensor-1","api_key":"k","encoded":"aTpr"}`)
	case path == "/_resolve/index/logs-tidewatch.*":
		fmt.Fprint(w, `{"indices":[],"data_streams":[{"name":"logs-tidewatch.finding-default"}]}`)
	case strings.HasSuffix(path, "/_rollover"):
		fmt.Fprint(w, `{"acknowledged":true}`)
	case r.Method == http.MethodPut:
		k.have[path], _ = io.ReadAll(r.Body)
		fmt.Fprint(w, `{"acknowledged":true}`)
	case k.have[path] == nil:
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{}`)
	case r.Method == http.MethodDelete:
		delete(k.have, path)
		fmt.Fprint(w, `{"acknowledged":true}`)
	case strings.Contains(path, "_component_template"):
		fmt.Fprintf(w, `{"component_templates":[{"name":%q,"component_template":%s}]}`, name, k.have[path])
	case strings.Contains(path, "_index_template"):
		fmt.Fprintf(w, `{"index_templates":[{"name":%q,"index_template":%s}]}`, name, k.have[path])
	default:
		fmt.Fprintf(w, `{%q:%s}`, name, k.have[path])
	}
}

func (k *keeper) done(o Options, role bool) (done []string) {
	k.t.Helper()
	server := httptest.NewServer(k)
	defer server.Close()
	cfg := testConfig(k.t, server.URL)
	changes, err := Setup(k.t.Context(), &cfg, &o, role)
	if err != nil {
		k.t.Fatal(err)
	}
	for _, c := range changes {
		if done == nil || done[len(done)-1] != c.Done {
			done = append(done, c.Done)
		}
	}
	return done
}

// What setup does to a cluster, from nothing to nothing.
func TestSetup(t *testing.T) {
	k := &keeper{t: t, have: map[string]json.RawMessage{}, body: map[string]json.RawMessage{}}
	f := func(o Options, want ...string) {
		t.Helper()
		if got := k.done(o, true); !slices.Equal(got, want) {
			t.Errorf("%+v: %v, want %v", o, got, want)
		}
	}
	f(Options{Replicas: -1}, "created")
	f(Options{Replicas: -1}, "unchanged")
	f(Options{Replicas: 1}, "updated", "unchanged", "rolled over")
	f(Options{Replicas: 1, Retention: "30d", FailureStore: true}, "unchanged", "updated", "unchanged", "updated", "unchanged", "rolled over")
	const finding = "/_index_template/logs-tidewatch.finding"
	for _, want := range []string{`"data_retention":"30d"`, `"failure_store":{"enabled":true}`, `"priority":510`, `"tidewatch@custom"`} {
		if !strings.Contains(string(k.have[finding]), want) {
			t.Errorf("no %s in %s", want, k.have[finding])
		}
	}
	f(Options{Replicas: 1}, "unchanged", "updated", "unchanged", "updated", "unchanged", "rolled over")
	f(Options{Replicas: 1, Retention: "30d", FailureStore: true}, "unchanged", "updated", "unchanged", "updated", "unchanged", "rolled over")
	// An older version gives way, a newer one does not.
	k.have[finding] = json.RawMessage(`{"_meta":{"managed_by":"tidewatch","version":0}}`)
	f(Options{Replicas: 1, Retention: "30d", FailureStore: true}, "unchanged", "updated", "unchanged", "rolled over")
	k.have[finding] = json.RawMessage(`{"_meta":{"managed_by":"tidewatch","version":99}}`)
	server := httptest.NewServer(k)
	defer server.Close()
	cfg := testConfig(t, server.URL)
	if _, err := Setup(t.Context(), &cfg, &Options{}, false); err == nil || !strings.Contains(err.Error(), "version 99 is there") {
		t.Errorf("over a newer version: %v", err)
	}
	for _, want := range []string{"deleted", "absent"} {
		changes, err := Delete(t.Context(), &cfg)
		if err != nil || slices.ContainsFunc(changes, func(c Change) bool { return c.Done != want }) {
			t.Errorf("%v %v, want %s", changes, err, want)
		}
	}
	if len(k.have) > 0 {
		t.Errorf("left over: %v", k.have)
	}
}

// An API key may do what the role may, and no more.
func TestAPIKey(t *testing.T) {
	k := &keeper{t: t, have: map[string]json.RawMessage{}, body: map[string]json.RawMessage{}}
	server := httptest.NewServer(k)
	defer server.Close()
	cfg := testConfig(t, server.URL)
	key, err := APIKey(t.Context(), &cfg, "sensor-1")
	if err != nil || key != "aTpr" {
		t.Errorf("%q %v", key, err)
	}
	want := `{"name":"sensor-1","role_descriptors":{"tidewatch_writer":{"cluster":[],"indices":[{"names":["logs-tidewatch.*-*"],"privileges":["auto_configure","create_doc","view_index_metadata"]}]}}}`
	if got := string(k.body["/_security/api_key"]); got != want {
		t.Errorf("asked for %s", got)
	}
}

// The mapping has each field, with its type, and nothing that grows by itself but what
// the detectors name.
func TestMapping(t *testing.T) {
	for _, f := range families() {
		var m struct {
			Dynamic    any
			Properties map[string]any
			Templates  []map[string]any `json:"dynamic_templates"`
		}
		b, err := json.Marshal(mapping(f.fields))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		if m.Dynamic != false {
			t.Errorf("%s: dynamic is %v", f.name, m.Dynamic)
		}
		for _, want := range f.fields {
			var at any = map[string]any{"properties": m.Properties}
			for _, name := range strings.Split(want.Name, ".") {
				props, _ := at.(map[string]any)["properties"].(map[string]any)
				at = props[name]
				if at == nil {
					at = map[string]any{}
				}
			}
			o := at.(map[string]any)
			if want.Type == outputs.Open {
				if o["dynamic"] != true {
					t.Errorf("%s is closed", want.Name)
				}
			} else if o["type"] != string(want.Type) || o["dynamic"] != nil {
				t.Errorf("%s: %v, want %s", want.Name, o, want.Type)
			}
		}
		if n := strings.Count(string(b), `"dynamic":true`); n != len(m.Templates)/4 {
			t.Errorf("%s: %d open objects, %d templates", f.name, n, len(m.Templates))
		}
		if n := strings.Count(string(b), `"type":`); n > fieldLimit/2 {
			t.Errorf("%d fields", n)
		}
	}
}

// Everything that is wrong with a configuration is said, and no secret is.
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
	f("addresses: no address", func(c *Config) { c.Addresses = nil })
	f("a password in it", func(c *Config) { c.Addresses = []string{"https://me:swordfish@es:9200"} })
	f("no URL", func(c *Config) { c.Addresses = []string{"https://me:swordfish@es:92 00"} })
	f(`address "es:9200"`, func(c *Config) { c.Addresses = []string{"es:9200"} })
	f("flavor", func(c *Config) { c.Flavor = "solr" })
	f("namespace", func(c *Config) { c.Namespace = "a-b" })
	f("several ways", func(c *Config) {
		c.APIKey, c.ServiceToken = strict.NewSecret("swordfish"), strict.NewSecret("swordfish")
	})
	f("without a password", func(c *Config) { c.Username = "me" })
	f("one of them", func(c *Config) { c.CAFile, c.CAFingerprint = "a", strings.Repeat("00", 32) })
	f("no SHA-256", func(c *Config) { c.CAFingerprint = "00" })
	f("", func(c *Config) { c.CAFingerprint = strings.Repeat("0A:", 31) + "ff" })
	f("proxy", func(c *Config) { c.Proxy = "http://me:swordfish@proxy" })
	f("timeout", func(c *Config) { c.Timeout = 0 })
	f("batch_documents", func(c *Config) { c.BatchDocuments = 0 })
	f("batch_size", func(c *Config) { c.BatchSize = 1 })
	f("requests", func(c *Config) { c.Requests = 65 })
	f("dead_letter", func(c *Config) { c.DeadLetter = "" })
	f(`kind "dnss"`, func(c *Config) { c.Records = []string{"dns", "dnss"} })
	f("", func(c *Config) { c.Records = []string{"all"} })
	f("no records", func(c *Config) { c.When = "true" })
	f("records wait", func(c *Config) { c.Records, c.BestEffort = []string{"all"}, true })
}
