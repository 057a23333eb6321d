package systemd

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestNotify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	n, err := New()
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("NOTIFY_SOCKET") != "" {
		t.Error("children would inherit the socket")
	}
	f := func(send func(), want string) {
		t.Helper()
		send()
		b := make([]byte, 256)
		if err := l.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		k, err := l.Read(b)
		if err != nil || !strings.HasPrefix(string(b[:k]), want) {
			t.Errorf("got %q, %v; want %q", b[:k], err, want)
		}
	}
	f(n.Ready, "READY=1")
	f(n.Reloading, "RELOADING=1\nMONOTONIC_USEC=")
	f(n.Stopping, "STOPPING=1")
	f(n.Alive, "WATCHDOG=1")
	f(func() { n.Status("well") }, "STATUS=well")
}

func TestNobodyToNotify(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	n, err := New()
	if n != nil || err != nil {
		t.Errorf("%v, %v", n, err)
	}
	n.Ready()
	t.Setenv("NOTIFY_SOCKET", "/nonexistent/socket")
	if _, err := New(); err == nil {
		t.Error("no error")
	}
}

func TestWatchdog(t *testing.T) {
	f := func(usec, pid string, want time.Duration) {
		t.Helper()
		t.Setenv("WATCHDOG_USEC", usec)
		t.Setenv("WATCHDOG_PID", pid)
		if got := Watchdog(); got != want {
			t.Errorf("%s, %s: %s, want %s", usec, pid, got, want)
		}
	}
	f("", "", 0)
	f("30000000", "", 15*time.Second)
	f("30000000", strconv.Itoa(os.Getpid()), 15*time.Second)
	f("30000000", "1", 0)
	f("-5", "", 0)
}
