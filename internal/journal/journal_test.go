package journal

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		log := New(&b, Options{Quiet: time.Minute})
		lines := func(want int) {
			t.Helper()
			if got := strings.Count(b.String(), "\n"); got != want {
				t.Errorf("%d lines, want %d:\n%s", got, want, b.String())
			}
		}
		for i := range 5 {
			log.Warn("full", "n", i)
		}
		log.With("a", 1).Warn("full")
		lines(1)
		log.Error("full")
		log.Warn("empty")
		lines(3)
		time.Sleep(time.Minute)
		log.Warn("full")
		lines(4)
		if !strings.Contains(b.String(), "repeated=5") {
			t.Errorf("not said how often:\n%s", b.String())
		}
		log.Warn("full")
		log.Warn("full")
		Flush(log)
		lines(5)
		if !strings.Contains(b.String(), "message=full times=2") {
			t.Errorf("not said at the end:\n%s", b.String())
		}
		Flush(log)
		lines(5)
	})
}

// What is about another file or error is another thing; a flood of such things is not
// said one by one.
func TestRepeatsAbout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		log := New(&b, Options{Quiet: time.Minute})
		lines := func(want int) {
			t.Helper()
			if got := strings.Count(b.String(), "\n"); got != want {
				t.Errorf("%d lines, want %d", got, want)
			}
		}
		for i := range 10 {
			log.Warn("refused", "file", "a", "line", i)
			log.Warn("refused", "file", "b", "line", i)
			log.Warn("refused", "file", "a", "error", errors.New("x"))
		}
		lines(3)
		for i := range 10 * maxMessages {
			log.Warn("refused", "file", fmt.Sprint(i))
		}
		if got := strings.Count(b.String(), "\n"); got > maxMessages+1 {
			t.Errorf("%d lines", got)
		}
		time.Sleep(2 * time.Minute)
		before := strings.Count(b.String(), "\n")
		log.Warn("refused", "file", "new")
		lines(before + 1)
	})
}

// Input reaches the log escaped, in a text and in an error.
func TestEscape(t *testing.T) {
	for _, json := range []bool{false, true} {
		var b bytes.Buffer
		log := New(&b, Options{JSON: json, Level: slog.LevelInfo, Escape: func(s string) string { return strings.ReplaceAll(s, "\x1b", "ESC") }})
		log.Info("refused", "line", "a\x1bb", "error", errors.New("c\x1bd"))
		log.Debug("not said")
		if got := b.String(); strings.Contains(got, "\x1b") || !strings.Contains(got, "aESCb") || !strings.Contains(got, "cESCd") || strings.Contains(got, "not said") {
			t.Errorf("%s", got)
		}
	}
}
