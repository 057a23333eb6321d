// Package systemd tells the service manager how the process is (sd_notify(3)). Where
// there is no service manager, it does nothing.
package systemd

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Notifier is the way to the service manager. It may be used concurrently. A nil
// Notifier says nothing.
type Notifier struct{ conn *net.UnixConn }

// New returns the way to the service manager that the environment names; nil without
// one. The environment is cleared, so that no child takes itself for the service.
func New() (*Notifier, error) {
	name := os.Getenv("NOTIFY_SOCKET")
	os.Unsetenv("NOTIFY_SOCKET")
	if name == "" {
		return nil, nil
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("NOTIFY_SOCKET: %w", err)
	}
	return &Notifier{c}, nil
}

func (n *Notifier) send(s string) {
	if n != nil {
		_, _ = n.conn.Write([]byte(s)) // nobody to tell
	}
}

// Ready says that the start, or a reload, is over.
func (n *Notifier) Ready() { n.send("READY=1") }

// Reloading says that a reload begins (Type=notify-reload demands the time).
func (n *Notifier) Reloading() {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) == nil {
		n.send("RELOADING=1\nMONOTONIC_USEC=" + strconv.FormatInt(ts.Nano()/1000, 10))
	}
}

// Stopping says that the end begins.
func (n *Notifier) Stopping() { n.send("STOPPING=1") }

// Status says in one line what goes on.
func (n *Notifier) Status(s string) { n.send("STATUS=" + s) }

// Alive feeds the watchdog.
func (n *Notifier) Alive() { n.send("WATCHDOG=1") }

// Watchdog returns how often Alive is to be called: half of what the service manager
// waits for; 0 if it does not wait.
func Watchdog() time.Duration {
	if pid := os.Getenv("WATCHDOG_PID"); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return 0
	}
	usec, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if err != nil || usec <= 0 {
		return 0
	}
	return time.Duration(usec) * time.Microsecond / 2
}
