package elastic

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"tidewatch/event"
	"tidewatch/ingest"
	"tidewatch/internal/shareddata"
)

// sequences calls f for the records below the folders of shared/data.
func sequences(t testing.TB, f func(s *event.Sequence), dirs ...string) {
	t.Helper()
	var paths []string
	for _, d := range dirs {
		paths = append(paths, shareddata.Path(t, d))
	}
	files, err := ingest.Discover(paths)
	if err != nil {
		t.Fatal(err)
	}
	m := ingest.NewMerge(files, ingest.Options{})
	defer m.Close()
	pool := event.NewSequencePool(1, 512)
	for {
		s := <-pool
		err := m.Fill(context.Background(), s)
		f(s)
		s.Share(1)
		s.Release()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// export exports the records, and returns how many different ones of each kind there
// were.
func export(t testing.TB, x *Exporter, dirs ...string) map[string]int {
	t.Helper()
	ids := map[string]string{}
	sequences(t, func(s *event.Sequence) {
		for _, ev := range s.Events {
			ids[string(appendRecordID(nil, ev))] = ev.Kind.String()
		}
		if err := x.Export(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}, dirs...)
	if err := x.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, k := range ids {
		kinds[k]++
	}
	return kinds
}

// Records are delivered once each, whatever happens, by several requests at a time.
func TestExport(t *testing.T) {
	s := &scripted{t: t, flavor: Elasticsearch, created: map[string]int{}}
	s.script = []step{each(429), applied(closed), whole(503), each(503), applied(truncated), largest(100), largest(100), nil, each(429), applied(halfClosed)}
	server := httptest.NewServer(s)
	defer server.Close()
	cfg := testConfig(t, server.URL)
	cfg.Records, cfg.Requests = []string{"conn", "dns"}, 3
	x := newOutput(t, cfg, io.Discard).NewExporter()
	want := export(t, x, "zeek/baselines", "labelled/dns-tunnel")
	if n := want["conn"] + want["dns"]; len(s.created) != n || n < 1000 {
		t.Errorf("%d documents of %d records", len(s.created), n)
	}
	for id, n := range s.created {
		if n != 1 {
			t.Errorf("%s was created %d times", id, n)
		}
	}
	if s.n <= len(s.script) {
		t.Error("the script was not played to its end")
	}
}

func TestExportNothing(t *testing.T) {
	if x := newOutput(t, testConfig(t, "http://127.0.0.1:1"), io.Discard).NewExporter(); x != nil {
		t.Error("an exporter of nothing")
	}
}

// A foreign server ends the export.
func TestExportEnds(t *testing.T) {
	s := &scripted{t: t, flavor: OpenSearch, created: map[string]int{}}
	server := httptest.NewServer(s)
	defer server.Close()
	cfg := testConfig(t, server.URL)
	cfg.Records = []string{"all"}
	x := newOutput(t, cfg, io.Discard).NewExporter()
	b := event.NewBatch(nil, 1, 1000)
	ev, _ := b.Add([]byte("{}"))
	seq := &event.Sequence{Events: []*event.Event{ev}}
	err := errors.Join(x.Export(t.Context(), seq), x.Settle(t.Context()))
	if !errors.Is(err, ErrForeign) {
		t.Error(err)
	}
}

// records exports whole files to a real server: its mapping takes every document.
func (c *cluster) records(t *testing.T) {
	cfg := c.config()
	cfg.Records = []string{"all"}
	o := newOutput(t, cfg, io.Discard)
	want := export(t, o.NewExporter(), "suricata", "zeek/baselines", "labelled/c2")
	for kind, n := range want {
		if got := c.count("logs-tidewatch."+kind+"-default", "event.dataset:tidewatch."+kind); got != n {
			t.Errorf("%d documents of kind %s, want %d", got, kind, n)
		}
	}
	if s := o.Stats(); s.DeadLetters > 0 {
		t.Errorf("%d dead letters: %s", s.DeadLetters, c.firstLetter(cfg.DeadLetter))
	}
	for q, index := range map[string]string{
		"dns.question.registered_domain:* AND dns.type:query": "dns", "tls.server.x509.subject.common_name:*": "tls", "url.path:*": "http",
		"tidewatch.conn.history:* AND network.bytes:>0": "conn", "source.ip:10.0.0.0\\/8": "conn", "file.mime_type:*": "file",
	} {
		if c.count("logs-tidewatch."+index+"-default", q) == 0 {
			t.Errorf("nothing matches %s", q)
		}
	}
	// What no template names cannot be searched for, and makes no field.
	m := c.do(http.MethodGet, "/logs-tidewatch.conn-default/_mapping", "")
	for _, index := range m {
		props := index.(map[string]any)["mappings"].(map[string]any)["properties"].(map[string]any)
		for name := range props {
			if !slices.ContainsFunc(fieldNames(), func(f string) bool { return f == name || strings.HasPrefix(f, name+".") }) {
				t.Errorf("the mapping has %s", name)
			}
		}
	}
}
