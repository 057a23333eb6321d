package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"tidewatch/internal/monitor"
)

// site is a folder with a sensor's logs, a configuration, and what a sidecar makes of
// them.
type site struct {
	dir, program string
	logs         []*log
	process      *exec.Cmd
	exited       chan error
	address      string // of its status
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

// newSite makes the folder. The rules are written to a file of their own.
func newSite(dir, program, rules string) (*site, error) {
	s := &site{dir: dir, program: program}
	for _, d := range []string{"logs", "rules"} {
		if err := os.MkdirAll(s.path(d), 0o750); err != nil {
			return nil, err
		}
	}
	return s, os.WriteFile(s.path("rules/soak.toml"), []byte(rules), 0o640)
}

// configure writes the configuration for logs with these names.
func (s *site) configure(names []string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "[general]\nname = \"soak\"\n")
	for i, n := range names {
		fmt.Fprintf(&b, "[input.log%d]\npaths = [%q]\nstart_at = \"beginning\"\nlinger = \"2s\"\n", i, s.path("logs/"+n))
	}
	fmt.Fprintf(&b, "[store]\npath = %q\n[output.ndjson]\npath = %q\n[rules]\nfolders = [%q]\n[http]\naddress = \"127.0.0.1:0\"\n",
		s.path("state"), s.path("findings.ndjson"), s.path("rules"))
	return os.WriteFile(s.path("tidewatch.toml"), []byte(b.String()), 0o640)
}

// start starts the sidecar. What it says is appended to a file.
func (s *site) start() error {
	said, err := os.OpenFile(s.path("said"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	defer said.Close()
	s.address = ""
	s.process = exec.Command(s.program, "run", "-c", s.path("tidewatch.toml"))
	s.process.Stdout, s.process.Stderr = said, said
	if err := s.process.Start(); err != nil {
		return err
	}
	p := s.process
	s.exited = make(chan error, 1)
	go func(exited chan error) { exited <- p.Wait() }(s.exited)
	return nil
}

// kill kills it, wherever it is. The error says that it had ended by itself.
func (s *site) kill() error {
	select {
	case err := <-s.exited:
		return fmt.Errorf("the sidecar ended by itself: %v\n%s", err, s.says())
	default:
	}
	if err := s.process.Process.Kill(); err != nil {
		return err
	}
	<-s.exited
	return nil
}

// stop asks it to end, as a service manager does.
func (s *site) stop() error {
	if err := s.process.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case err := <-s.exited:
		if err != nil {
			return fmt.Errorf("after SIGTERM: %w\n%s", err, s.says())
		}
		return nil
	case <-time.After(time.Minute):
		_ = s.process.Process.Kill()
		return errors.New("the sidecar does not stop\n" + s.says())
	}
}

// says returns the end of what the sidecar said.
func (s *site) says() string {
	b, _ := os.ReadFile(s.path("said"))
	return string(b[max(0, len(b)-4000):])
}

var addressText = regexp.MustCompile(`are served" address=(\S+)`)

// status asks the sidecar how it is; nil if it does not answer yet.
func (s *site) status() *monitor.Status {
	if s.address == "" {
		m := addressText.FindStringSubmatch(s.says())
		if m == nil {
			return nil
		}
		s.address = m[1]
	}
	resp, err := http.Get("http://" + s.address + "/status")
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	var st monitor.Status
	if err != nil || json.Unmarshal(b, &st) != nil {
		return nil
	}
	return &st
}

// settle waits until everything that is written has been read and committed.
func (s *site) settle(ctx context.Context) error {
	const quiet = 20 // looks without news, a tenth of a second each
	var records, epochs uint64
	calm, deadline := 0, time.Now().Add(10*time.Minute)
	for calm < quiet {
		select {
		case <-time.After(100 * time.Millisecond):
		case err := <-s.exited:
			return fmt.Errorf("the sidecar ended by itself: %v\n%s", err, s.says())
		case <-ctx.Done():
			return ctx.Err()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the sidecar does not catch up: %d records, %+v", records, s.status())
		}
		st := s.status()
		if st == nil || st.State != monitor.Running {
			continue
		}
		n, lag := uint64(0), int64(0)
		for _, k := range st.Records {
			n += k
		}
		for _, src := range st.Sources {
			lag += src.LagBytes
		}
		if n != records || lag != 0 || st.Undelivered != 0 {
			records, epochs, calm = n, st.Epochs, 0
			continue
		}
		if st.Epochs >= epochs+2 {
			calm++
		}
	}
	return nil
}

// life is one life of the sidecar: it is killed after a random time.
func (s *site) life(ctx context.Context, r *rand.Rand, mean time.Duration) error {
	if err := s.start(); err != nil {
		return err
	}
	// Some die while they start, most while they read, some after a commit or two.
	select {
	case <-time.After(time.Duration(r.ExpFloat64() * float64(mean))):
	case <-ctx.Done():
	}
	return s.kill()
}

// resident returns the sidecar's resident memory in bytes.
func (s *site) resident() int64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", s.process.Process.Pid))
	f := bytes.Fields(b)
	if len(f) < 2 {
		return 0
	}
	n, _ := strconv.ParseInt(string(f[1]), 10, 64)
	return n * int64(os.Getpagesize())
}
