package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSetupElasticsearch(t *testing.T) {
	foreign := httptest.NewServer(http.NotFoundHandler())
	defer foreign.Close()
	f := func(want int, says string, args ...string) string {
		t.Helper()
		status, out, errs := tidewatch(t, append([]string{"setup", "elasticsearch"}, args...)...)
		if status != want || !strings.Contains(out+errs, says) {
			t.Errorf("%v: status %d, want %d; want it to say %q, it says:\n%s%s", args, status, want, says, out, errs)
		}
		return out
	}
	f(exitUsage, "a number and a unit", "--retention", "5x")
	f(exitUsage, "a number and a unit", "--retention", "05d")
	f(exitUsage, "--print or --delete", "--print", "--delete")
	f(exitUsage, "address", "-a", "es:9200", "--print")
	f(exitUsage, "flavor", "--flavor", "solr", "--print")
	f(exitError, "is not Elasticsearch", "-a", foreign.URL)
	f(exitError, "no answer", "-a", "http://127.0.0.1:1")

	// What is printed is what a person can send by hand.
	printed := f(0, "PUT /_security/role/tidewatch_writer", "--print", "--retention", "30d", "--failure-store", "--shards", "2", "--replicas", "0")
	for _, request := range strings.Split(strings.TrimSpace(printed), "\n\n") {
		_, body, _ := strings.Cut(request, "\n{")
		if !json.Valid([]byte("{" + body)) {
			t.Errorf("not JSON: %s", request)
		}
	}
	for _, want := range []string{`"data_retention": "30d"`, `"failure_store"`, `"number_of_shards": 2`, `"number_of_replicas": 0`} {
		if !strings.Contains(printed, want) {
			t.Errorf("no %s", want)
		}
	}
	if s := f(0, "PUT /_index_template", "--print", "--flavor", "opensearch", "--retention", "30d"); strings.Contains(s, "lifecycle") || strings.Contains(s, "_security") {
		t.Errorf("OpenSearch knows none of it: %s", s)
	}
}

func TestSetupKibana(t *testing.T) {
	foreign := httptest.NewServer(http.NotFoundHandler())
	defer foreign.Close()
	f := func(want int, says string, args ...string) string {
		t.Helper()
		status, out, errs := tidewatch(t, append([]string{"setup", "kibana"}, args...)...)
		if status != want || !strings.Contains(out+errs, says) {
			t.Errorf("%v: status %d, want %d; want it to say %q, it says:\n%s%s", args, status, want, says, out, errs)
		}
		return out
	}
	file := filepath.Join(t.TempDir(), "tidewatch.ndjson")
	f(exitUsage, "--print or --output", "--print", "--output", file)
	f(exitUsage, "end in .ndjson", "--output", "a.json")
	f(exitUsage, "allowed are a-z", "--space", "../x", "--print")
	f(exitUsage, "address", "-a", "kibana:5601")
	f(exitError, "is not Kibana", "-a", foreign.URL)
	f(exitError, "no answer", "-a", "http://127.0.0.1:1")
	printed := f(0, `"id":"tidewatch-overview"`, "--print")
	f(0, "", "--output", file)
	if b, err := os.ReadFile(file); err != nil || string(b) != printed {
		t.Errorf("the file differs from what is printed: %v", err)
	}
}
