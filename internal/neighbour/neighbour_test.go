package neighbour

import (
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestCgroupMemory(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f := func(cgroup string, want int64) {
		t.Helper()
		write("self", cgroup)
		if got := cgroupMemory(filepath.Join(root, "self"), root); got != want {
			t.Errorf("%q: %d, want %d", cgroup, got, want)
		}
	}
	write("a/memory.max", "1000\n")
	write("a/b/memory.max", "2000\n")
	write("c/memory.max", "max\n")
	f("0::/a\n", 1000)
	f("0::/a/b\n", 1000)
	f("0::/c\n", 0)
	f("0::/missing\n", 0)
	f("2:cpu:/a\n0::/a\n", 1000)
	f("0::\n", 0)
	f("nonsense", 0)
	if got := cgroupMemory(filepath.Join(root, "none"), root); got != 0 {
		t.Errorf("%d", got)
	}
}

func TestLimitMemory(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	t.Setenv("GOMEMLIMIT", "")
	if got := LimitMemory(256 << 20); got > 256<<20 || got <= 0 || debug.SetMemoryLimit(-1) != got {
		t.Errorf("%d; in force is %d", got, debug.SetMemoryLimit(-1))
	}
	t.Setenv("GOMEMLIMIT", "1GiB") // read at the start of a process: what is in force stays
	if got := LimitMemory(200 << 20); got == 200<<20 {
		t.Error("the environment was overruled")
	}
}

func TestYield(t *testing.T) {
	if err := Yield(7, "idle"); err != nil {
		t.Fatal(err)
	}
	err := eachThread(func(id int) error {
		n, err := syscall.Getpriority(syscall.PRIO_PROCESS, id)
		if err != nil {
			return err
		}
		io, _, errno := unix.Syscall(unix.SYS_IOPRIO_GET, ioWhoProcess, uintptr(id), 0)
		if nice := 20 - n; nice < 7 || errno != 0 || io != ioIdle {
			t.Errorf("thread %d: nice %d, io %#x, %v", id, nice, io, errno)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := Yield(0, "normal"); err != nil { // never up again
		t.Fatal(err)
	}
	if n, _ := syscall.Getpriority(syscall.PRIO_PROCESS, 0); 20-n < 7 {
		t.Errorf("nice %d", 20-n)
	}
}
