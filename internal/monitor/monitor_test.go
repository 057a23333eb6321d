package monitor

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

// full is a status with something everywhere.
func full() Status {
	return Status{
		Version: "v1", Name: "sensor", Started: time.Unix(1764000000, 0), State: Running,
		Sources:     []Source{{Name: "zeek", Files: 3, Records: 10, Bytes: 100, LagBytes: 5, LagSeconds: 0.5, Refused: 1}},
		Records:     map[string]uint64{"conn": 7, "dns": 3},
		Refused:     map[string]uint64{"a \"quoted\" \\ reason\n": 1},
		Sensor:      map[string]float64{"capture.kernel_drops": 4},
		Entities:    []Entity{{"hosts", 5, 100}},
		Outputs:     []Output{{Name: "elasticsearch", Documents: 2}},
		Findings:    []Finding{{"scan-hosts", "high", 2}},
		Undelivered: 1, Epoch: 9, Epochs: 3, Committing: 0.25, CheckpointAge: 1.5, Memory: 1 << 20,
	}
}

func TestMetrics(t *testing.T) {
	s := full()
	text := AppendMetrics(nil, &s)
	problems, err := promlint.New(bytes.NewReader(text)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v\n%s", err, problems, text)
	}
	for _, want := range []string{
		`tidewatch_source_lag_bytes{source="zeek"} 5`,
		`tidewatch_entities{kind="hosts"} 5`,
		`tidewatch_entities_max{kind="hosts"} 100`,
		`tidewatch_findings_total{rule="scan-hosts",severity="high"} 2`,
		`tidewatch_refused_lines_total{reason="a \"quoted\" \\ reason\n"} 1`,
		`tidewatch_up 1`,
		`tidewatch_checkpoint_age_seconds 1.5`,
	} {
		if !strings.Contains(string(text), want+"\n") {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}

// A status goes through JSON unchanged: `tidewatch status` has all of it.
func TestStatusDocument(t *testing.T) {
	want := full()
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Status
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	status, sick := full(), error(nil)
	s := &Server{Status: func() Status { return status }, Healthy: func() error { return sick }, Log: slog.New(slog.DiscardHandler)}
	done := make(chan struct{})
	go func() { s.Serve(ctx, l); close(done) }()
	defer func() { stop(); <-done }()
	f := func(method, path, host string, wantStatus int, says string) {
		t.Helper()
		req, err := http.NewRequest(method, "http://"+l.Addr().String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != wantStatus || !strings.Contains(string(b), says) {
			t.Errorf("%s %s (%s): %d, %v, %s", method, path, host, resp.StatusCode, err, b)
		}
	}
	f("GET", "/healthz", "", 200, "ok")
	f("GET", "/readyz", "", 200, "ok")
	f("GET", "/metrics", "localhost:9465", 200, "# TYPE tidewatch_up gauge")
	f("GET", "/status", "[::1]:9465", 200, `"state":"running"`)
	f("GET", "/", "", 404, "")
	f("POST", "/status", "", 405, "")
	f("GET", "/status", "evil.example", 421, "unknown host")
	status.State, sick = Reloading, fmt.Errorf("stuck")
	f("GET", "/readyz", "", 503, "reloading")
	f("GET", "/healthz", "", 503, "stuck")
}

// The Grafana board and the documents know the metrics that there are.
func TestMetricsElsewhere(t *testing.T) {
	names := map[string]*Metric{}
	for i := range Metrics {
		names[Metrics[i].Name] = &Metrics[i]
	}
	read := func(path string) string {
		b, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(path)))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	metric := regexp.MustCompile(`tidewatch_[a-z_]+`)
	board, doc := read("configs/grafana/tidewatch.json"), read("docs/running.md")
	if !json.Valid([]byte(board)) {
		t.Error("the Grafana board is no JSON")
	}
	for _, used := range metric.FindAllString(board+doc, -1) {
		if names[used] == nil {
			t.Errorf("%s is used, and there is no such metric", used)
		}
	}
	for name, m := range names {
		row := fmt.Sprintf("| `%s` | %s | %s | %s |", name, m.Type, strings.Join(m.Labels, ", "), m.Help)
		if !strings.Contains(doc, row+"\n") {
			t.Errorf("docs/running.md lacks the row\n%s", row)
		}
	}
	for _, m := range regexp.MustCompile(`(tidewatch_[a-z_]+)\{[^}]*?([a-z]+)=\\"`).FindAllStringSubmatch(board, -1) {
		if labels := append(names[m[1]].Labels, "instance"); !slices.Contains(labels, m[2]) {
			t.Errorf("the board asks %s for a label %s; it has %v", m[1], m[2], labels)
		}
	}
}
