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
	said         int64  // by those that are dead, in bytes
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

// newSite makes the folder.
func newSite(dir, program string) (*site, error) {
	s := &site{dir: dir, program: program}
	for _, d := range []string{"logs", "rules"} {
		if err := os.MkdirAll(s.path(d), 0o750); err != nil {
			return nil, err
		}
	}
	return s, os.WriteFile(s.path("rules/soak.toml"), []byte(ownRules), 0o640)
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
	said, err := os.OpenFile(s.path("said"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	defer said.Close()
	info, err := said.Stat()
	if err != nil {
		return err
	}
	s.address, s.said = "", info.Size()
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

// says returns what the sidecar that runs has said first.
func (s *site) says() string {
	b, _ := os.ReadFile(s.path("said"))
	b = b[min(int(s.said), len(b)):]
	return string(b[:min(len(b), 8000)])
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

// Looks without news after which all has been read: of logs that are just followed, and
// after a start, where rotated files have to be found first.
const (
	live    = 6
	started = 25
)

// settle waits until everything that is written has been read, and its findings are
// delivered: so many looks without news, a tenth of a second each. A stop commits it.
func (s *site) settle(ctx context.Context, quiet int) error {
	var records uint64
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
		n := uint64(0)
		for _, k := range st.Records {
			n += k
		}
		if n != records || lag(st) != 0 || st.Undelivered != 0 {
			records, calm = n, 0
			continue
		}
		calm++
	}
	return nil
}

// leave lets the sidecar live until the logs are written.
func (s *site) leave(ended <-chan struct{}) error {
	if err := s.start(); err != nil {
		return err
	}
	<-ended
	return s.stop()
}

// lag returns how many bytes are there and not read.
func lag(st *monitor.Status) (n int64) {
	for _, src := range st.Sources {
		n += src.LagBytes
	}
	return n
}

// committed waits for a commit of something from each log.
func (s *site) committed(ctx context.Context) error {
	epoch := uint64(0)
	for looks := 0; looks < 600; looks++ {
		select {
		case <-time.After(100 * time.Millisecond):
		case err := <-s.exited:
			s.exited <- err
			return fmt.Errorf("the sidecar ended by itself: %v\n%s", err, s.says())
		case <-ctx.Done():
			return ctx.Err()
		}
		st := s.status()
		if st == nil {
			continue
		}
		seen := 0
		for _, src := range st.Sources {
			if src.Records > 0 {
				seen++
			}
		}
		switch {
		case seen < len(s.logs):
		case epoch == 0:
			epoch = st.Epochs + 2 // the one on its way may be older
		case st.Epochs >= epoch:
			return nil
		}
	}
	return errors.New("nothing is committed within a minute\n" + s.says())
}

// end waits until everything is read, and then lets the data's clock go on, so that
// what is over is closed in each run, whenever the clock was looked at before.
func (s *site) end(ctx context.Context, quiet int) error {
	for _, at := range []string{"2026-11-21T06:00:00", "2026-11-21T08:00:00"} {
		if err := s.settle(ctx, quiet); err != nil {
			return err
		}
		f, err := os.OpenFile(s.path("logs/eve.json"), os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(f, `{"timestamp":"%s.000000+0000","flow_id":1,"event_type":"dns","src_ip":"10.100.7.7","src_port":40000,"dest_ip":"10.100.8.53","dest_port":53,"proto":"UDP","dns":{"type":"query","id":1,"rrname":"late.example","rrtype":"A","tx_id":0}}`+"\n", at)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		quiet = live
	}
	return s.settle(ctx, live)
}

// life is one life of the sidecar: it is killed after a random time, and, if it is to
// catch up, not before it has: or rotated files would be removed that it never had the
// time to read.
func (s *site) life(ctx context.Context, r *rand.Rand, mean time.Duration, catchUp bool) error {
	if err := s.start(); err != nil {
		return err
	}
	// Some die while they start, most while they read, some after a commit or two.
	select {
	case <-time.After(time.Duration(r.ExpFloat64() * float64(mean))):
	case <-ctx.Done():
	}
	if catchUp {
		s.catchUp(ctx)
	}
	return s.kill()
}

// catchUp waits until nearly all is read, and then until what was rotated before that is
// committed: it may be removed.
func (s *site) catchUp(ctx context.Context) {
	var read []int
	calm := 0 // looks; rotated files are found some time after the start
	epoch, deadline := uint64(0), time.Now().Add(30*time.Second)
	for ctx.Err() == nil && time.Now().Before(deadline) {
		before := s.rotations()
		switch st := s.status(); {
		case st == nil:
		case read == nil && (st.Epochs == 0 || lag(st) >= s.fileSize()):
			calm = 0
		case read == nil && calm < 50:
			calm++
		case read == nil:
			// What is not read yet may be the end of the last that was rotated.
			for _, n := range before {
				read = append(read, max(n-keepUnread, 0))
			}
			epoch = st.Epochs + 2 // the one on its way may be older
		case read != nil && st.Epochs >= epoch:
			for i, l := range s.logs {
				l.mu.Lock()
				l.read = max(l.read, read[i])
				l.mu.Unlock()
			}
			return
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case err := <-s.exited:
			s.exited <- err
			return
		}
	}
}

// fileSize is the least mean size of a log's rotated files, in bytes.
func (s *site) fileSize() int64 {
	least := int64(1 << 20)
	for _, l := range s.logs {
		l.mu.Lock()
		least = min(least, int64(l.size/(l.rotations()+1)))
		l.mu.Unlock()
	}
	return least
}

// keepUnread is how many of the last rotated files are not taken for read where nearly
// all is.
const keepUnread = 4

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
