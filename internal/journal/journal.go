// Package journal is how the sidecar logs: with everything escaped that came from
// outside, and without saying the same thing over and over.
package journal

import (
	"context"
	"hash/maphash"
	"io"
	"log/slog"
	"maps"
	"sync"
	"time"
)

// Options are what a journal is made with.
type Options struct {
	Level slog.Leveler
	JSON  bool
	Quiet time.Duration // a message of one level is said once in this time; 0: always
	// Escape makes a text fit for a terminal; nil: it stays as it is.
	Escape func(string) string
}

// New returns a logger that writes to w.
func New(w io.Writer, o Options) *slog.Logger {
	ho := &slog.HandlerOptions{Level: o.Level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr { return escape(a, o.Escape) }}
	var h slog.Handler = slog.NewTextHandler(w, ho)
	if o.JSON {
		h = slog.NewJSONHandler(w, ho)
	}
	return slog.New(&quiet{Handler: h, memory: &memory{every: o.Quiet, said: map[message]*repeats{}}})
}

// escape escapes texts and what becomes text. Messages are constants of ours.
func escape(a slog.Attr, f func(string) string) slog.Attr {
	if f == nil {
		return a
	}
	switch a.Value.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(f(a.Value.String()))
	case slog.KindAny:
		if err, ok := a.Value.Any().(error); ok {
			a.Value = slog.StringValue(f(err.Error()))
		}
	}
	return a
}

// quiet holds back what was said already: records of one level with one message about
// one thing. What they are about is in the attributes that are named here; numbers, or
// a quoted line, make no other thing of it.
type quiet struct {
	slog.Handler
	*memory
}

// about are the attributes that say what a record is about.
var about = map[string]bool{"file": true, "path": true, "reason": true, "error": true, "output": true, "source": true}

// message identifies what is said.
type message struct {
	level slog.Level
	text  string
	about uint64 // hash; 0: of anything
}

// seed makes hashes that input cannot aim at.
var seed = maphash.MakeSeed()

func messageOf(r *slog.Record) message {
	m := message{level: r.Level, text: r.Message}
	r.Attrs(func(a slog.Attr) bool {
		if about[a.Key] {
			m.about ^= maphash.String(seed, a.Key+"\x00"+a.Value.String())
		}
		return true
	})
	return m
}

// memory is what a logger and those made from it remember together.
type memory struct {
	every time.Duration
	mu    sync.Mutex
	said  map[message]*repeats
}

// repeats counts what was held back.
type repeats struct {
	until time.Time
	held  int
}

// maxMessages bounds the memory. Beyond it, things of one message are not told apart.
const maxMessages = 1024

// Handle says a record, with the number of those held back since the last one, or
// holds it back.
func (q *quiet) Handle(ctx context.Context, r slog.Record) error {
	held, say := q.admit(messageOf(&r), r.Time)
	if !say {
		return nil
	}
	if held > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("repeated", held))
	}
	return q.Handler.Handle(ctx, r)
}

func (m *memory) admit(key message, at time.Time) (held int, say bool) {
	if m.every == 0 {
		return 0, true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.said[key] == nil && len(m.said) >= maxMessages {
		maps.DeleteFunc(m.said, func(_ message, s *repeats) bool { return s.held == 0 && !at.Before(s.until) })
		if len(m.said) >= maxMessages {
			key.about = 0 // our own code makes the texts: they are few
		}
	}
	s := m.said[key]
	switch {
	case s == nil:
		s = new(repeats)
		m.said[key] = s
	case at.Before(s.until):
		s.held++
		return 0, false
	}
	held = s.held
	s.held, s.until = 0, at.Add(m.every)
	return held, true
}

// WithAttrs returns a handler that shares the memory.
func (q *quiet) WithAttrs(as []slog.Attr) slog.Handler {
	return &quiet{q.Handler.WithAttrs(as), q.memory}
}

// WithGroup returns a handler that shares the memory.
func (q *quiet) WithGroup(name string) slog.Handler {
	return &quiet{q.Handler.WithGroup(name), q.memory}
}

// Flush says what is still held back, as "last message repeated".
func Flush(log *slog.Logger) {
	q, ok := log.Handler().(*quiet)
	if !ok {
		return
	}
	q.mu.Lock()
	var rest []slog.Record
	for key, s := range q.said {
		if s.held > 0 {
			r := slog.NewRecord(time.Now(), key.level, "message repeated", 0)
			r.AddAttrs(slog.String("message", key.text), slog.Int("times", s.held))
			rest = append(rest, r)
			s.held = 0
		}
	}
	q.mu.Unlock()
	for _, r := range rest {
		_ = q.Handler.Handle(context.Background(), r)
	}
}
