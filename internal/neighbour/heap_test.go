package neighbour

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestHeadroom(t *testing.T) {
	f := func(live, bound uint64, want int) {
		t.Helper()
		if got := headroom(live, bound); got != want {
			t.Errorf("%d alive, held to %d: %d %%, want %d %%", live, bound, got, want)
		}
	}
	f(0, 200, mostHeadroom)
	f(10, 200, mostHeadroom)
	f(50, 200, 300)
	f(100, 200, 100)
	f(150, 200, 33)
	f(190, 200, leastHeadroom)
	f(200, 200, leastHeadroom)
	f(1<<40, 200, leastHeadroom)
}

// A heap that is too large gets little headroom at its next collections, and the usual
// one when it is let go.
func TestHoldHeap(t *testing.T) {
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	defer debug.SetGCPercent(debug.SetGCPercent(usualHeadroom))
	kept := make([]byte, 8<<20)
	release := HoldHeap(4 << 20)
	got := 0
	for i := 0; i < 1000 && got != leastHeadroom; i++ {
		runtime.GC()
		runtime.Gosched() // what is called after it has a goroutine of its own
		got = debug.SetGCPercent(usualHeadroom)
		debug.SetGCPercent(got)
	}
	if got != leastHeadroom {
		t.Errorf("%d %%, want %d %%", got, leastHeadroom)
	}
	release()
	runtime.KeepAlive(kept)
	if got := debug.SetGCPercent(usualHeadroom); got != usualHeadroom {
		t.Errorf("let go: %d %%", got)
	}
	t.Setenv("GOGC", "400")
	release = HoldHeap(4 << 20)
	for range 10 {
		runtime.GC()
		runtime.Gosched()
	}
	if got := debug.SetGCPercent(usualHeadroom); got != usualHeadroom {
		t.Errorf("although the environment has GOGC: %d %%", got)
	}
	release()
}
