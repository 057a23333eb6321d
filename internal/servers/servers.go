// Package servers starts the real servers that tests speak to, one file a kind.
//
// A server listens on free ports of the loopback interface, keeps its files in a
// folder of its own and ends with the test. Where its program is missing the test is
// skipped, and in CI it fails: `make deps` installs what is needed.
package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// nobody is the user and group of servers that refuse to run as root.
const nobody = 65534

// startTime is how long a server may take until it answers. It is long, since other
// tests may be running.
const startTime = 3 * time.Minute

// missing skips t for want of a program, or fails it in CI.
func missing(t testing.TB, err error) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("%v: run `make deps`", err)
	}
	t.Skipf("SKIPPED: %v: run `make deps`", err)
}

// Process is a server's program, which can be stopped and started again.
type Process struct {
	Log     string // path of what it printed
	command func() *exec.Cmd
	ready   func(context.Context) error

	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has ended
}

// Start starts the program and waits until it answers.
func (p *Process) Start() error {
	log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := p.command()
	cmd.Stdout, cmd.Stderr = log, log
	// A group of its own, to end it with its children; and its end, if the test's
	// process is killed.
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid, cmd.SysProcAttr.Pdeathsig = true, syscall.SIGTERM
	if err := cmd.Start(); err != nil {
		return err
	}
	p.cmd, p.done = cmd, make(chan struct{})
	go func() { _ = cmd.Wait(); close(p.done) }()
	if err := p.wait(); err != nil {
		p.Stop()
		printed, _ := os.ReadFile(p.Log)
		return fmt.Errorf("%w; it printed:\n%s", err, printed[max(0, len(printed)-4000):])
	}
	return nil
}

// wait asks the program until it answers.
func (p *Process) wait() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := p.ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s has ended", p.cmd.Path)
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w", p.cmd.Path, err)
		case <-tick.C:
		}
	}
}

// Stop ends the program in good order, or kills it after half a minute.
func (p *Process) Stop() { p.end(syscall.SIGTERM) }

// Kill ends the program at once.
func (p *Process) Kill() { p.end(syscall.SIGKILL) }

func (p *Process) end(sig syscall.Signal) {
	if p.cmd == nil {
		return
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, sig)
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // children that outlived it
	<-p.done
	p.cmd = nil
}

// shared are the servers that outlive a test; Close stops them.
var shared struct {
	sync.Mutex
	close []func()
}

func untilClose(f func()) {
	shared.Lock()
	defer shared.Unlock()
	shared.close = append(shared.close, f)
}

// Close stops the servers that the tests of a package share. TestMain calls it after
// they have run.
func Close() {
	shared.Lock()
	defer shared.Unlock()
	for _, f := range shared.close {
		f()
	}
	shared.close = nil
}

// Folder returns where programs are kept that are not installed by the system. A
// server may run as another user than root, who must be able to read them.
func Folder() (string, error) {
	if os.Getuid() == 0 {
		return "/var/cache/tidewatch/servers", nil
	}
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "tidewatch", "servers"), err
}

// run runs a command to its end; what it printed is part of the error.
func run(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return err
	}
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return nil
}
