package phrase

import (
	"testing"
	"time"
)

func TestSpan(t *testing.T) {
	f := func(d time.Duration, want string) {
		t.Helper()
		if got := Span(int64(d)); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
	f(0, "0.0 seconds")
	f(1500*time.Millisecond, "1.5 seconds")
	f(119*time.Second, "119.0 seconds")
	f(2*time.Minute, "2 minutes")
	f(119*time.Minute, "119 minutes")
	f(150*time.Minute, "2.5 hours")
	f(71*time.Hour, "71.0 hours")
	f(84*time.Hour, "3.5 days")
}

func TestBytes(t *testing.T) {
	f := func(n float64, want string) {
		t.Helper()
		if got := Bytes(n); got != want {
			t.Errorf("%v: got %q, want %q", n, got, want)
		}
	}
	f(0, "0 B")
	f(999, "999 B")
	f(1400, "1.4 kB")
	f(9960, "10 kB")
	f(28.4e6, "28 MB")
	f(999.7e6, "1.0 GB")
}
