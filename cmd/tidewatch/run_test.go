package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	goredis "github.com/redis/go-redis/v9"

	"tidewatch/behavior/state"
	"tidewatch/internal/monitor"
	"tidewatch/internal/servers"
)

// site is a folder with a configuration, a log and what a sidecar makes of it.
type site struct {
	t                                  testing.TB
	config, log, findings, rules, said string
	lines                              int // records written to the log
}

const connHeader = "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n" +
	"#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tconn_state\n#types\ttime\tstring\taddr\tport\taddr\tport\tenum\tstring\n"

func newSite(t testing.TB) *site {
	t.Helper()
	dir := t.TempDir()
	s := &site{t: t, config: filepath.Join(dir, "tidewatch.toml"), log: filepath.Join(dir, "logs", "conn.log"),
		findings: filepath.Join(dir, "findings.ndjson"), rules: filepath.Join(dir, "rules"), said: filepath.Join(dir, "said")}
	for _, d := range []string{filepath.Dir(s.log), s.rules} {
		if err := os.Mkdir(d, 0o750); err != nil {
			t.Fatal(err)
		}
	}
	s.write(s.config, fmt.Sprintf(`[general]
name = "test"
[input.zeek]
paths = [%q]
start_at = "beginning"
[store]
path = %q
[output.ndjson]
path = %q
[rules]
folders = [%q]
look = "0s"
[http]
address = "127.0.0.1:0"
`, filepath.Join(filepath.Dir(s.log), "*.log"), filepath.Join(dir, "state"), s.findings, s.rules))
	s.write(s.log, connHeader)
	return s
}

// epoch changes how often checkpoints are committed.
func (s *site) epoch(d string) {
	s.t.Helper()
	b, err := os.ReadFile(s.config)
	if err != nil {
		s.t.Fatal(err)
	}
	s.write(s.config, regexp.MustCompile(`(?m)^name = .*(\nepoch = .*)?$`).ReplaceAllString(string(b), "name = \"test\"\nepoch = \""+d+"\""))
}

func (s *site) write(path, text string) {
	s.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// scan appends what Zeek writes when a host tries so many others, which refuse.
func (s *site) scan(source, targets int) {
	s.t.Helper()
	f, err := os.OpenFile(s.log, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	for i := range targets {
		s.lines++
		if _, err := fmt.Fprintf(f, "%d.000000\tC%d\t10.0.0.%d\t%d\t10.0.%d.%d\t445\ttcp\tREJ\n", 1795132800+10*s.lines, s.lines, source, 1024+i, 100+source, i+1); err != nil {
			s.t.Fatal(err)
		}
	}
}

// process is a sidecar that runs.
type process struct {
	*site
	cmd     *exec.Cmd
	address string
	exited  chan struct{}
}

// start starts the sidecar and waits until it reads.
func (s *site) start(env ...string) *process {
	s.t.Helper()
	p := s.launch(env...)
	p.untilStatus("it runs", func(st *monitor.Status) bool { return st.State == monitor.Running })
	return p
}

// launch starts the sidecar and waits until it says how it is.
func (s *site) launch(env ...string) *process {
	s.t.Helper()
	c := command("run", "-c", s.config)
	c.Env = append(c.Env, env...)
	return s.begin(c)
}

// begin is launch by a command of one's own.
func (s *site) begin(c *exec.Cmd) *process {
	s.t.Helper()
	p := &process{site: s, cmd: c, exited: make(chan struct{})}
	said, err := os.Create(s.said)
	if err != nil {
		s.t.Fatal(err)
	}
	defer said.Close()
	p.cmd.Stdout, p.cmd.Stderr = said, said
	if err := p.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() { _ = p.cmd.Wait(); close(p.exited) }()
	s.t.Cleanup(func() { _ = p.cmd.Process.Kill(); <-p.exited })
	address := regexp.MustCompile(`are served" address=(\S+)`)
	p.until("it says where its status is", func() bool {
		if m := address.FindStringSubmatch(s.says()); m != nil {
			p.address = m[1]
		}
		return p.address != ""
	})
	return p
}

// says returns what the sidecar logged.
func (s *site) says() string {
	b, _ := os.ReadFile(s.said)
	return string(b)
}

// until asks until something is so.
func (p *process) until(what string, so func() bool) {
	p.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(60 * time.Second)
	for !so() {
		select {
		case <-tick.C:
		case <-p.exited:
			if !so() {
				p.t.Fatalf("it ended before this was so: %s\n%s", what, p.says())
			}
			return
		case <-deadline:
			p.t.Fatalf("after a minute it is not so: %s\n%s", what, p.says())
		}
	}
}

func (p *process) get(path string) (int, string) {
	resp, err := http.Get("http://" + p.address + path)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

func (p *process) untilStatus(what string, so func(*monitor.Status) bool) {
	p.t.Helper()
	var last string
	p.until(what, func() bool {
		var st monitor.Status
		_, last = p.get("/status")
		return json.Unmarshal([]byte(last), &st) == nil && so(&st)
	})
}

// stop sends a signal and returns the exit status.
func (p *process) stop(sig os.Signal) int {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
	select {
	case <-p.exited:
	case <-time.After(60 * time.Second):
		p.t.Fatalf("it does not stop\n%s", p.says())
	}
	return p.cmd.ProcessState.ExitCode()
}

// records waits until this process has read so many records and committed them.
func (p *process) records(n int) {
	p.t.Helper()
	epochs := uint64(0)
	p.untilStatus(fmt.Sprintf("%d records are read and committed", n), func(st *monitor.Status) bool {
		got := st.Records["conn"]
		if got > uint64(n) {
			p.t.Fatalf("%d records are read, there are %d", got, n)
		}
		if got < uint64(n) || st.Undelivered > 0 {
			return false
		}
		if epochs == 0 {
			epochs = st.Epochs + 2 // the one on its way may be older
		}
		return st.Epochs >= epochs
	})
}

// found returns the ids of the findings in the output, in order.
func (s *site) found(path string) (ids []string) {
	s.t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range bytes.Lines(b) {
		var doc struct{ Event struct{ ID string } }
		if err := json.Unmarshal(line, &doc); err != nil {
			s.t.Fatalf("%v: %s", err, line)
		}
		ids = append(ids, doc.Event.ID)
	}
	return ids
}

// The sidecar is stopped, killed and started again while the log goes on: it reads
// each record once, and says what one that was left alone says, once.
func TestRunGoesOn(t *testing.T) {
	t.Parallel()
	goesOn(t, newSite(t))
}

// The same with the state in Redis.
func TestRunGoesOnWithRedis(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := servers.StartRedis(t)
	b, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	s.write(s.config, strings.Replace(string(b), "[store]\n", fmt.Sprintf("[store]\ntype = \"redis\"\nredis.addresses = [%q]\n", r.Addr), 1))
	goesOn(t, s)
}

// A sidecar whose Redis is not there yet says so, and begins when it is: with what came
// meanwhile. One that is stopped before ends well.
func TestRunWaitsForRedis(t *testing.T) {
	t.Parallel()
	s, r := newSite(t), servers.StartRedis(t)
	r.Process.Stop()
	b, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(b), "look = \"0s\"", "look = \"1s\"", 1)
	s.write(s.config, strings.Replace(text, "[store]\n", fmt.Sprintf("[store]\ntype = \"redis\"\nredis.addresses = [%q]\n", r.Addr), 1))
	p := s.launch()
	p.untilStatus("it waits", func(st *monitor.Status) bool { return st.State == monitor.Waiting })
	if status := p.stop(syscall.SIGTERM); status != 0 {
		t.Errorf("stopped while it waits: exit status %d\n%s", status, s.says())
	}
	p = s.launch()
	s.scan(1, 40)
	p.untilStatus("it waits", func(st *monitor.Status) bool { return st.State == monitor.Waiting })
	if code, text := p.get("/readyz"); code == 200 {
		t.Errorf("it says that it is ready: %s", text)
	}
	s.write(filepath.Join(s.rules, "own.toml"), "[rule.own]\ndetector = \"scan\"\nname = \"n\"\nseverity = \"low\"\nwhen = \"scan.targets > 1\"\n")
	if err := r.Process.Start(); err != nil {
		t.Fatal(err)
	}
	p.records(40)
	p.untilStatus("what was edited meanwhile is in force", func(st *monitor.Status) bool { return st.Reloads == 1 && st.State == monitor.Running })
	if status := p.stop(syscall.SIGTERM); status != 0 {
		t.Errorf("exit status %d\n%s", status, s.says())
	}
}

// A password that Redis refuses does not become right by waiting.
func TestRunRefusedByRedis(t *testing.T) {
	t.Parallel()
	s, r := newSite(t), servers.StartRedis(t)
	r.CLI(t, "config", "set", "requirepass", "secret")
	b, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	s.write(s.config, strings.Replace(string(b), "[store]\n", fmt.Sprintf("[store]\ntype = \"redis\"\nredis.addresses = [%q]\nredis.password = { env = \"TIDEWATCH_TEST_PASSWORD\" }\n", r.Addr), 1))
	c := command("run", "-c", s.config)
	c.Env = append(c.Env, "TIDEWATCH_TEST_PASSWORD=another")
	out, err := c.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "WRONGPASS") || strings.Contains(string(out), "another") {
		t.Errorf("%v:\n%s", err, out)
	}
}

// What is known in Redis can be seen, taken out, accepted and forgotten, as on disk.
func TestStateOnRedis(t *testing.T) {
	t.Parallel()
	s, r := newSite(t), servers.StartRedis(t)
	b, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	s.write(s.config, strings.Replace(string(b), "[store]\n", fmt.Sprintf("[store]\ntype = \"redis\"\nredis.addresses = [%q]\n", r.Addr), 1))
	p := s.start()
	s.scan(1, 40)
	s.scan(2, 40)
	p.records(80)
	if status := p.stop(syscall.SIGTERM); status != 0 {
		t.Fatalf("exit status %d\n%s", status, s.says())
	}
	f := func(wantStatus int, want string, args ...string) {
		t.Helper()
		status, out, errs := tidewatch(t, append([]string{"state", args[0], "-c", s.config}, args[1:]...)...)
		if status != wantStatus || !strings.Contains(out+errs, want) {
			t.Errorf("state %v: status %d, want %d and %q:\n%s%s", args, status, wantStatus, want, out, errs)
		}
	}
	f(0, "10.0.0.1", "show", "10.0.0.1")
	f(0, `"entity": "10.0.0.1"`, "export", "10.0.0.1")
	f(0, "is normal from now on", "accept", "10.0.0.2", "scan")
	f(0, "is forgotten", "forget", "10.0.0.1")
	f(1, "10.0.0.1", "show", "10.0.0.1")
	f(0, "10.0.0.2", "show", "10.0.0.2")
}

// TestForgetEverywhere forgets a host that two sidecars know, and have told each other of,
// while both run. Nothing of it is left in Redis, and nothing comes back.
func TestForgetEverywhere(t *testing.T) {
	t.Parallel()
	r := servers.StartRedis(t)
	var sites []*site
	var running []*process
	for _, name := range []string{"one", "two"} {
		s := newSite(t)
		b, err := os.ReadFile(s.config)
		if err != nil {
			t.Fatal(err)
		}
		s.write(s.config, strings.NewReplacer("name = \"test\"", fmt.Sprintf("name = %q", name),
			"[store]\n", fmt.Sprintf("[store]\ntype = \"redis\"\nredis.addresses = [%q]\nredis.share = \"1s\"\n", r.Addr)).Replace(string(b)))
		p := s.start()
		s.scan(1, 40) // 10.0.0.1 is the host
		s.scan(2, 40)
		p.records(80)
		sites, running = append(sites, s), append(running, p)
	}
	e, err := state.ParseEntity("10.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	told := func() int { return tracesInRedis(t, r, e, ":e:") }
	running[0].until("both have told of it", func() bool { return told() >= 2 })
	status, out, errs := tidewatch(t, "state", "show", "-c", sites[0].config, "10.0.0.1")
	if status != 0 || !strings.Contains(out, "10.0.0.1") {
		t.Fatalf("show: %d %s%s", status, out, errs)
	}
	status, out, errs = tidewatch(t, "state", "forget", "-c", sites[0].config, "10.0.0.1")
	if status != 0 || !strings.Contains(out, "10.0.0.1 is forgotten") || !strings.Contains(out, "sensor two: ") {
		t.Fatalf("forget: %d %s%s", status, out, errs)
	}
	for i, p := range running {
		p.until("it goes on with what is left", func() bool { return strings.Contains(sites[i].says(), "was changed by a command") })
		sites[i].scan(3, 40)
		p.records(120)
	}
	if n := tracesInRedis(t, r, e, ""); n > 0 {
		t.Errorf("%d values in Redis still say something of it", n)
	}
	if third, _ := state.ParseEntity("10.0.0.3"); tracesInRedis(t, r, third, "") == 0 {
		t.Error("nothing is known of others either")
	}
	for i, p := range running {
		if status := p.stop(syscall.SIGTERM); status != 0 {
			t.Errorf("exit status %d\n%s", status, sites[i].says())
		}
	}
	if n := tracesInRedis(t, r, e, ""); n > 0 {
		t.Errorf("after the end %d values in Redis say something of it", n)
	}
}

// tracesInRedis counts the keys and values in which an entity can be seen, of keys that
// contain a text.
func tracesInRedis(t *testing.T, r *servers.Redis, e state.Entity, in string) (n int) {
	t.Helper()
	c := goredis.NewClient(&goredis.Options{Addr: r.Addr})
	defer c.Close()
	see := func(b []byte) {
		if slices.ContainsFunc(tracesOf(e), func(form []byte) bool { return bytes.Contains(b, form) }) {
			n++
		}
	}
	it := c.Scan(t.Context(), 0, "*", 1000).Iterator()
	for it.Next(t.Context()) {
		if !strings.Contains(it.Val(), in) {
			continue
		}
		see([]byte(it.Val()))
		if _, text, ok := strings.Cut(strings.Trim(it.Val(), "}"), ":e:{"); ok {
			if _, key, ok := strings.Cut(text, ":"); ok {
				b, _ := base64.RawURLEncoding.DecodeString(key)
				see(b)
			}
		}
		fields, err := c.HGetAll(t.Context(), it.Val()).Result()
		if err != nil {
			continue // a set or a string: the names of sensors
		}
		for _, v := range fields {
			see([]byte(v))
		}
	}
	if err := it.Err(); err != nil {
		t.Fatal(err)
	}
	return n
}

// Check asks Redis, if it is told to, and says what is not safe.
func TestCheckConnects(t *testing.T) {
	t.Parallel()
	s, r := newSite(t), servers.StartRedis(t, "maxmemory 50mb", "maxmemory-policy allkeys-lru")
	b, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	s.write(s.config, strings.Replace(string(b), "[store]\n", fmt.Sprintf("[store]\ntype = \"redis\"\nredis.addresses = [%q]\n", r.Addr), 1))
	f := func(wantStatus int, want string, args ...string) {
		t.Helper()
		status, _, errs := tidewatch(t, append([]string{"check", "-c", s.config}, args...)...)
		if status != wantStatus || !strings.Contains(errs, want) || want == "" && strings.Contains(errs, "store.redis") {
			t.Errorf("%v: status %d, want %d and %q:\n%s", args, status, wantStatus, want, errs)
		}
	}
	f(0, "")
	f(0, "allkeys-lru", "--connect")
	r.Process.Stop()
	f(0, "")
	f(1, "[store.redis] redis at "+r.Addr, "--connect")
}

func goesOn(t *testing.T, s *site) {
	t.Helper()
	p := s.start()
	s.scan(1, 40)
	p.untilStatus("there is a finding", func(st *monitor.Status) bool { return len(st.Findings) > 0 && st.Findings[0].Count > 0 })
	p.records(40)
	if status := p.stop(syscall.SIGTERM); status != 0 {
		t.Fatalf("exit status %d\n%s", status, s.says())
	}
	s.scan(2, 40)
	s.epoch("10m") // what the next one delivers it does not commit
	p = s.start()
	s.scan(3, 40)
	p.untilStatus("scans are found", func(st *monitor.Status) bool {
		return st.Records["conn"] == 80 && len(st.Findings) > 0 && st.Findings[0].Count > 1
	})
	p.stop(syscall.SIGKILL)
	s.scan(4, 40)
	s.epoch("1s")
	p = s.start()
	p.records(120)
	if status := p.stop(syscall.SIGINT); status != 0 {
		t.Fatalf("exit status %d\n%s", status, s.says())
	}

	clean := newSite(t)
	for i := range 4 {
		clean.scan(i+1, 40)
	}
	p = clean.start()
	p.records(160)
	if status := p.stop(syscall.SIGTERM); status != 0 {
		t.Fatalf("exit status %d\n%s", status, clean.says())
	}
	want := clean.found(clean.findings)
	if len(want) < 4 {
		t.Fatalf("%d findings", len(want))
	}
	if d := cmp.Diff(want, s.found(s.findings)); d != "" {
		t.Errorf("findings (-left alone +stopped and killed):\n%s", d)
	}
}

// Findings, and records that are wanted, reach Elasticsearch too, each once, and the status
// shows it.
func TestRunDeliversToElasticsearch(t *testing.T) {
	t.Parallel()
	es := servers.Elasticsearch(t)
	if status, _, errs := tidewatch(t, "setup", "elasticsearch", "-a", es.URL); status != 0 {
		t.Fatalf("setup: %d %s", status, errs)
	}
	s := newSite(t)
	b, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	s.write(s.config, string(b)+fmt.Sprintf("[output.elasticsearch]\naddresses = [%q]\nnamespace = \"run\"\nrecords = [\"conn\"]\nwhen = 'source.ip == \"10.0.0.1\"'\ndead_letter = %q\n", es.URL, s.findings+".dead"))
	p := s.start()
	s.scan(1, 40)
	s.scan(2, 40)
	p.records(80)
	want := s.found(s.findings)
	p.untilStatus("Elasticsearch has all", func(st *monitor.Status) bool {
		return len(st.Outputs) == 1 && st.Outputs[0].Documents == uint64(len(want)+40)
	})
	if status := p.stop(syscall.SIGTERM); status != 0 || len(want) < 2 {
		t.Fatalf("exit status %d, %d findings\n%s", status, len(want), s.says())
	}
	if code, b, err := es.Do(t.Context(), "POST", "/logs-tidewatch.*-run/_refresh", ""); code != 200 || err != nil {
		t.Fatalf("%d %v %s", code, err, b)
	}
	if _, b, err := es.Do(t.Context(), "GET", "/logs-tidewatch.conn-run/_count", ""); err != nil || !strings.Contains(string(b), `"count":40`) {
		t.Errorf("records: %v %s", err, b)
	}
	_, b, err = es.Do(t.Context(), "GET", "/logs-tidewatch.finding-run/_search?size=100&_source=event.id", "")
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Hits struct {
			Hits []struct {
				Source struct{ Event struct{ ID string } } `json:"_source"`
			}
		}
	}
	if err := json.Unmarshal(b, &answer); err != nil {
		t.Fatalf("%v %s", err, b)
	}
	var got []string
	for _, h := range answer.Hits.Hits {
		got = append(got, h.Source.Event.ID)
	}
	slices.Sort(got)
	slices.Sort(want)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-file +Elasticsearch):\n%s", d)
	}
}

// A server that is something else is refused before anything is read.
func TestRunRefusesForeignServer(t *testing.T) {
	t.Parallel()
	foreign := httptest.NewServer(http.NotFoundHandler())
	defer foreign.Close()
	s := newSite(t)
	b, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	s.write(s.config, string(b)+fmt.Sprintf("[output.elasticsearch]\naddresses = [%q]\ndead_letter = %q\n", foreign.URL, s.findings+".dead"))
	c := command("run", "-c", s.config)
	says, err := c.CombinedOutput()
	if err == nil || c.ProcessState.ExitCode() != exitError || !strings.Contains(string(says), "is not Elasticsearch") {
		t.Errorf("%v: %s", err, says)
	}
}

func (p *process) hangup() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		p.t.Fatal(err)
	}
}

// SIGHUP takes over rules that are sound, and leaves those before in force otherwise.
// It opens the output again.
func TestRunReload(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.start()
	s.scan(1, 40)
	p.records(40)
	before := s.found(s.findings)
	if len(before) == 0 {
		t.Fatal("no finding")
	}

	s.write(filepath.Join(s.rules, "own.toml"), "[rule.own]\ndetector = \"scan\"\nname = \"n\"\nseverity = \"awful\"\nwhen = \"scan.targets > 1\"\n")
	p.hangup()
	p.untilStatus("the broken rules are refused", func(st *monitor.Status) bool { return st.FailedReloads == 1 && st.State == monitor.Running })
	if says := s.says(); !strings.Contains(says, "own.toml") || !strings.Contains(says, "awful") {
		t.Errorf("the log does not say what is wrong:\n%s", says)
	}

	s.write(filepath.Join(s.rules, "own.toml"), "[rule.own]\ndetector = \"scan\"\nname = \"n\"\nseverity = \"low\"\nwhen = \"scan.targets > 1\"\n")
	moved := s.findings + ".1"
	if err := os.Rename(s.findings, moved); err != nil {
		t.Fatal(err)
	}
	p.hangup()
	p.untilStatus("the new rules are in force", func(st *monitor.Status) bool { return st.Reloads == 1 && st.State == monitor.Running })
	p.until("the log says which", func() bool { return strings.Contains(s.says(), "added=[own]") })
	if n := strings.Count(s.says(), "msg=running"); n != 1 {
		t.Errorf("the log says %d times that it runs: detectors were begun anew for a rule that they need not know", n)
	}
	s.scan(2, 40)
	p.untilStatus("the new rule finds", func(st *monitor.Status) bool {
		return slices.ContainsFunc(st.Findings, func(f monitor.Finding) bool { return f.Rule == "own" && f.Severity == "low" })
	})
	p.records(80)
	if d := cmp.Diff(before, s.found(moved)); d != "" {
		t.Errorf("the file that was moved away changed:\n%s", d)
	}
	if len(s.found(s.findings)) < 2 {
		t.Error("nothing in the new file")
	}
	p.hangup()
	p.untilStatus("nothing is new", func(st *monitor.Status) bool { return st.Reloads == 2 && st.State == monitor.Running })
	if !strings.Contains(s.says(), "the rules say the same") {
		t.Errorf("%s", s.says())
	}
	if status := p.stop(syscall.SIGTERM); status != 0 {
		t.Fatalf("exit status %d\n%s", status, s.says())
	}
}

// Rules are taken over when their folder changes, and those before stay while it is wrong.
func TestRunSeesEditedRules(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	s.write(s.config, strings.Replace(string(b), "look = \"0s\"", "look = \"1s\"", 1))
	p := s.start()
	const rule = "[rule.own]\ndetector = \"scan\"\nname = \"n\"\nseverity = %q\nwhen = \"scan.targets > 1\"\n"
	own := filepath.Join(s.rules, "own.toml")
	s.write(own, fmt.Sprintf(rule, "awful"))
	p.untilStatus("the broken rules are refused", func(st *monitor.Status) bool { return st.FailedReloads == 1 && st.State == monitor.Running })
	s.write(own, fmt.Sprintf(rule, "low"))
	p.untilStatus("the new rules are in force", func(st *monitor.Status) bool { return st.Reloads == 1 && st.State == monitor.Running })
	s.scan(2, 40)
	p.untilStatus("the new rule finds", func(st *monitor.Status) bool {
		return slices.ContainsFunc(st.Findings, func(f monitor.Finding) bool { return f.Rule == "own" && f.Severity == "low" })
	})
	if err := os.Remove(own); err != nil {
		t.Fatal(err)
	}
	p.untilStatus("the rule is gone", func(st *monitor.Status) bool { return st.Reloads == 2 && st.State == monitor.Running })
	if status := p.stop(syscall.SIGTERM); status != 0 {
		t.Fatalf("exit status %d\n%s", status, s.says())
	}
}

// One store belongs to one sidecar.
func TestRunTwice(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.start()
	out, err := command("run", "-c", s.config).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "another tidewatch is running with this store") {
		t.Errorf("%v\n%s", err, out)
	}
	p.untilStatus("the first one runs on", func(st *monitor.Status) bool { return st.State == monitor.Running })
}

// Metrics can be scraped, and show what is read; so does the status command, in which
// nothing of the input reaches the terminal unescaped.
func TestRunIsSeen(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.scan(1, 40)
	f, err := os.OpenFile(s.log, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("\x1b[31mred\tC2\t10.0.0.1\t4000\t192.0.2.1\t443\ttcp\tSF\n"); err != nil {
		t.Fatal(err)
	}
	f.Close()
	b, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	refused, eve := filepath.Join(t.TempDir(), "refused.ndjson"), filepath.Join(filepath.Dir(s.config), "eve.json")
	s.write(eve, `{"timestamp":"2026-11-20T10:00:00.000000+0000","event_type":"stats","stats":{"uptime":9,"capture":{"kernel_packets":1000,"kernel_drops":40}}}`+"\n")
	text := strings.Replace(string(b), "[general]", fmt.Sprintf("[general]\nrefused = %q", refused), 1)
	s.write(s.config, text+fmt.Sprintf("[input.suricata]\npaths = [%q]\nstart_at = \"beginning\"\n", eve))
	p := s.start()
	p.untilStatus("Suricata's counters are there", func(st *monitor.Status) bool { return st.Sensor["capture.kernel_drops"] == 40 })
	p.untilStatus("the bad line is refused", func(st *monitor.Status) bool { return st.Refused["time stamp not understood"] == 1 })
	p.records(40)
	if b, err := os.ReadFile(refused); err != nil || bytes.Count(b, []byte("\n")) != 1 || bytes.ContainsRune(b, 0x1b) {
		t.Errorf("refused lines: %v %q", err, b)
	}
	code, text := p.get("/metrics")
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if code != 200 || err != nil || len(problems) > 0 {
		t.Errorf("%d %v %v\n%s", code, err, problems, text)
	}
	for _, want := range []string{
		`tidewatch_records_total{kind="conn"} 40`, `tidewatch_source_lag_bytes{source="zeek"} 0`, `tidewatch_source_records_total{source="zeek"} 40`,
		`tidewatch_refused_lines_total{reason="time stamp not understood"} 1`, "tidewatch_up 1", `tidewatch_suricata{counter="capture.kernel_drops"} 40`, `tidewatch_source_records_total{source="suricata"} 1`, `tidewatch_entities{kind="hosts"}`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	for path, want := range map[string]string{"/healthz": "ok\n", "/readyz": "ok\n"} {
		if code, text := p.get(path); code != 200 || text != want {
			t.Errorf("%s: %d %q", path, code, text)
		}
	}
	status, out, errs := tidewatch(t, "status", "-a", p.address)
	if status != 0 || errs != "" {
		t.Fatalf("%d %s", status, errs)
	}
	for _, want := range []string{"running", "zeek", "scan", "checkpoint", "refused", "time stamp not understood"} {
		if !strings.Contains(out, want) {
			t.Errorf("the status does not say %q:\n%s", want, out)
		}
	}
	if says := s.says(); strings.ContainsRune(says+out, 0x1b) || !strings.Contains(says, "a line is refused") {
		t.Errorf("%s", says)
	}
	if _, out, _ := tidewatch(t, "status", "-a", p.address, "-o", "json"); !json.Valid([]byte(out)) {
		t.Errorf("no JSON: %s", out)
	}
	p.stop(syscall.SIGTERM)
	if status, _, errs := tidewatch(t, "status", "-a", p.address); status != exitError || !strings.Contains(errs, "no sidecar answers") {
		t.Errorf("%d %s", status, errs)
	}
}

// Records come through a socket, as from Suricata.
func TestRunOtherInputs(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(filepath.Dir(s.config), "eve.sock")
	s.write(s.config, string(b)+fmt.Sprintf("[input.suricata]\ntype = \"unix_stream\"\npaths = [%q]\n", socket))
	p := s.start()
	var c net.Conn
	p.until("the socket is there", func() bool {
		c, err = net.Dial("unix", socket)
		return err == nil
	})
	defer c.Close()
	const record = `{"timestamp":"2026-11-20T10:00:%02d.000000+0000","event_type":"dns","src_ip":"10.0.0.1","src_port":4000,"dest_ip":"10.0.0.53","dest_port":53,"proto":"UDP","dns":{"type":"query","id":1,"rrname":"a.example","rrtype":"A"}}`
	for i := range 30 {
		if _, err := fmt.Fprintf(c, record+"\n", i); err != nil {
			t.Fatal(err)
		}
	}
	p.untilStatus("the records are read", func(st *monitor.Status) bool {
		i := slices.IndexFunc(st.Sources, func(in monitor.Source) bool { return in.Name == "suricata" })
		return i >= 0 && st.Sources[i].Records == 30
	})
	if status := p.stop(syscall.SIGTERM); status != 0 {
		t.Errorf("exit status %d\n%s", status, s.says())
	}
}

// Records that Suricata pushes to a list in Redis, and those of a stream, are read once each,
// also by a sidecar that comes after one that was killed; they leave Redis when their
// checkpoint is kept.
func TestRunRedisInputs(t *testing.T) {
	t.Parallel()
	s, r := newSite(t), servers.StartRedis(t)
	b, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	var more strings.Builder
	for name, start := range map[string]string{"list": "end", "stream": "beginning"} {
		fmt.Fprintf(&more, "[input.%s]\ntype = \"redis_%[1]s\"\nstart_at = %q\nredis.address = %q\nredis.keys = [\"suricata-%[1]s\"]\n", name, start, r.Addr)
	}
	s.write(s.config, string(b)+more.String())
	const record = `{"timestamp":"2026-11-20T10:00:%02d.000000+0000","event_type":"dns","src_ip":"10.0.%d.1","src_port":4000,"dest_ip":"10.0.0.53","dest_port":53,"proto":"UDP","dns":{"type":"query","id":1,"rrname":"a.example","rrtype":"A"}}`
	push := func(n int) {
		for i := range n {
			r.CLI(t, "lpush", "suricata-list", fmt.Sprintf(record, i, 1))
			r.CLI(t, "xadd", "suricata-stream", "*", "eve", fmt.Sprintf(record, i, 2))
		}
	}
	seen := func(n uint64) func(*monitor.Status) bool {
		return func(st *monitor.Status) bool { return st.Records["dns"] == n }
	}
	push(5)
	p := s.start()
	p.untilStatus("what was there is read", seen(10))
	p.until("it is taken away", func() bool {
		return r.CLI(t, "llen", "suricata-list") == "0" && r.CLI(t, "llen", "suricata-list:tidewatch") == "0" && strings.HasPrefix(r.CLI(t, "xpending", "suricata-stream", "tidewatch"), "0")
	})
	p.stop(syscall.SIGTERM)
	s.epoch("10m") // what the next one reads it does not commit
	p = s.start()
	push(7)
	p.untilStatus("what came is read", seen(14))
	p.stop(syscall.SIGKILL)
	s.epoch("1s")
	p = s.start()
	p.untilStatus("what was not kept is read again", seen(14))
	if status := p.stop(syscall.SIGTERM); status != 0 {
		t.Errorf("exit status %d\n%s", status, s.says())
	}
	if n := r.CLI(t, "llen", "suricata-list:tidewatch"); n != "0" {
		t.Errorf("%s records are left", n)
	}
}

// The service manager hears when the sidecar is ready, alive and about to stop.
func TestRunNotifies(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	wait := func(want string) {
		t.Helper()
		if err := l.SetReadDeadline(time.Now().Add(60 * time.Second)); err != nil {
			t.Fatal(err)
		}
		for b := make([]byte, 256); ; {
			n, err := l.Read(b)
			if err != nil {
				t.Fatalf("%s: %v", want, err)
			}
			if strings.HasPrefix(string(b[:n]), want) {
				return
			}
		}
	}
	s := newSite(t)
	p := s.start("NOTIFY_SOCKET="+path, "WATCHDOG_USEC=200000")
	wait("READY=1")
	wait("WATCHDOG=1")
	p.hangup()
	wait("RELOADING=1")
	wait("READY=1")
	if status := p.stop(syscall.SIGTERM); status != 0 {
		t.Errorf("exit status %d\n%s", status, s.says())
	}
	wait("STOPPING=1")
}

func TestCheck(t *testing.T) {
	s := newSite(t)
	f := func(want int, says ...string) {
		t.Helper()
		status, out, errs := tidewatch(t, "check", "-c", s.config)
		for _, w := range says {
			if status != want || !strings.Contains(out+errs, w) {
				t.Errorf("status %d, want %d; it does not say %q:\n%s%s", status, want, w, out, errs)
			}
		}
	}
	f(0, "in order: 1 input, ")
	text := s.config
	b, err := os.ReadFile(text)
	if err != nil {
		t.Fatal(err)
	}
	s.write(s.config, strings.Replace(string(b), "*.log", "none-*.log", 1))
	f(0, "warning: [input.zeek]", "no such file yet")
	s.write(s.config, string(b)+"adress = 1\n[log]\nlevel = \"loud\"\n")
	f(1, `unknown key "adress"; did you mean "address"?`, `level = "loud"`, "allowed: debug, info, warn, error")
	s.write(s.config, string(b))
	s.write(filepath.Join(s.rules, "bad.toml"), "[rule.x]\nwhen = 1\n")
	f(1, "bad.toml")
	s.config += ".none"
	f(1, "no such file")
}

// Of several outputs each goes at its own pace. A checkpoint waits for the slowest, but
// not for one of best effort.
func TestRunSeveralOutputs(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	var taken atomic.Int64
	down.Store(true)
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Findings []any }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		if down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		taken.Add(int64(len(body.Findings)))
	}))
	defer hook.Close()
	s := newSite(t)
	b, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	s.write(s.config, string(b)+fmt.Sprintf("[output.webhook]\nurl = %q\nmax_backoff = \"1s\"\nproxy = \"none\"\ndead_letter = %q\n"+
		"[output.syslog]\naddress = \"127.0.0.1:1\"\ntransport = \"tcp\"\nbest_effort = true\n", hook.URL, s.findings+".dead"))
	s.epoch("1s")
	p := s.start()
	s.scan(1, 40)
	output := func(st *monitor.Status, name string) *monitor.Output {
		return &st.Outputs[slices.IndexFunc(st.Outputs, func(o monitor.Output) bool { return o.Name == name })]
	}
	behind := func(st *monitor.Status) bool {
		return st.Undelivered > 0 && strings.Contains(output(st, "webhook").Problem, "503")
	}
	p.untilStatus("the file has what the webhook has not", func(st *monitor.Status) bool { return len(s.found(s.findings)) > 0 && behind(st) })
	s.scan(2, 40)
	p.untilStatus("the file has more, and no checkpoint is committed", func(st *monitor.Status) bool {
		return len(s.found(s.findings)) > 1 && behind(st) && st.CheckpointAge > 3 // epochs of one second
	})
	// After a crash the webhook gets them.
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-p.exited
	down.Store(false)
	p = s.start()
	p.untilStatus("the webhook has all, and syslog is left behind", func(st *monitor.Status) bool {
		o := output(st, "syslog")
		return st.Undelivered == 0 && int(output(st, "webhook").Documents) == len(s.found(s.findings)) &&
			o.BestEffort && o.Waiting+int64(o.Dropped) > 1 && strings.Contains(o.Problem, "no connection")
	})
	if status, want := p.stop(syscall.SIGTERM), len(s.found(s.findings)); status != 0 || int(taken.Load()) != want || want < 2 {
		t.Errorf("exit status %d, %d of %d findings\n%s", status, taken.Load(), want, s.says())
	}
}
