package pipeline

import (
	"testing"
	"time"
)

func TestStretched(t *testing.T) {
	f := func(interval, took, want time.Duration) {
		t.Helper()
		if got := stretched(interval, took); got != want {
			t.Errorf("%v after a commit of %v: %v, want %v", interval, took, got, want)
		}
	}
	f(time.Second, 0, time.Second)
	f(time.Second, 10*time.Millisecond, time.Second)
	f(time.Second, 200*time.Millisecond, 4*time.Second)
	f(time.Second, time.Minute, longestInterval)
	f(10*time.Minute, time.Minute, 10*time.Minute)
}
