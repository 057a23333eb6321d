// Package journal is how the sidecar logs: with everything escaped that came from
// outside, and without saying the same thing over and over.
package journal

import (
	"context"
	"io"
	"log/slog"
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

// quiet holds back what was said already. Records of one level with one message are
// the same thing, whatever else is in them: only our own code makes messages, so that
// there are few.
type quiet struct {
	slog.Handler
	*memory
}

// message identifies what is said.
type message struct {
	level slog.Level
	text  string
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

// maxMessages bounds the memory, should a message not be constant after all.
const maxMessages = 1024

// Handle says a record, with the number of those held back since the last one, or
// holds it back.
func (q *quiet) Handle(ctx context.Context, r slog.Record) error {
	held, say := q.admit(message{r.Level, r.Message}, r.Time)
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
	s := m.said[key]
	switch {
	case s == nil && len(m.said) >= maxMessages:
		return 0, true
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
