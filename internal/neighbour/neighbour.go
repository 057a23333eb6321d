// Package neighbour keeps the process out of the sensor's way: a bound on its memory,
// and the last place at the processor and the disk.
package neighbour

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// LimitMemory makes the garbage collector keep the process below so many bytes; 0
// means nine tenths of what the cgroup allows, or no bound if it has none. An
// environment with GOMEMLIMIT has the last word. It returns the bound, 0 for none.
func LimitMemory(bytes int64) int64 {
	if os.Getenv("GOMEMLIMIT") != "" {
		return bound(debug.SetMemoryLimit(-1))
	}
	allowed := cgroupMemory("/proc/self/cgroup", "/sys/fs/cgroup")
	if allowed > 0 && (bytes == 0 || bytes > allowed) {
		// The rest is for what the collector does not count.
		bytes = allowed / 10 * 9
	}
	if bytes > 0 {
		debug.SetMemoryLimit(bytes)
	}
	return bytes
}

func bound(n int64) int64 {
	if n == math.MaxInt64 {
		return 0
	}
	return n
}

// cgroupMemory returns the least memory.max of the process's cgroup (version 2) and of
// those above it; 0 for none.
func cgroupMemory(self, root string) (least int64) {
	b, err := os.ReadFile(self)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		group, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		for ok && strings.HasPrefix(group, "/") {
			b, err := os.ReadFile(path.Join(root, group, "memory.max"))
			if n, bad := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil && bad == nil && (least == 0 || n < least) {
				least = n
			}
			if group == "/" {
				break
			}
			group = path.Dir(group)
		}
	}
	return least
}

// Yield gives the process's threads a nice value of at least nice, and their reading
// and writing the priority "low" or "idle"; "normal" leaves that as it is.
func Yield(nice int, io string) error {
	now, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0)
	if err != nil {
		return fmt.Errorf("nice: %w", err)
	}
	// The system call returns 20 - nice.
	if now = 20 - now; now > nice {
		nice = now
	}
	var errs []error
	err = eachThread(func(id int) error {
		return errors.Join(syscall.Setpriority(syscall.PRIO_PROCESS, id, nice), setIO(id, io))
	})
	if err != nil {
		errs = append(errs, fmt.Errorf("nice %d, io %q: %w", nice, io, err))
	}
	return errors.Join(errs...)
}

// eachThread calls f for the threads that there are. Those to come inherit from them.
func eachThread(f func(id int) error) error {
	entries, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, e := range entries {
		id, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if err := f(id); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	return nil
}

// Classes of ioprio_set(2).
const (
	ioWhoProcess = 1
	ioBestEffort = 2 << 13
	ioIdle       = 3 << 13
	ioLowest     = 7
)

func setIO(id int, io string) error {
	priority := 0
	switch io {
	case "low":
		priority = ioBestEffort | ioLowest
	case "idle":
		priority = ioIdle
	default:
		return nil
	}
	_, _, errno := unix.Syscall(unix.SYS_IOPRIO_SET, ioWhoProcess, uintptr(id), uintptr(priority))
	if errno != 0 {
		return errno
	}
	return nil
}
