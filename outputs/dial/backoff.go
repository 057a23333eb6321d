package dial

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// firstBackoff is the longest wait before the second try.
const firstBackoff = 100 * time.Millisecond

// Backoff says how long to wait before a try. The zero value with a Max is ready.
type Backoff struct {
	Max   time.Duration
	tries int
}

// Reset is for a try that went well.
func (b *Backoff) Reset() { b.tries = 0 }

// next returns the wait before the next try: random between half of a span and the
// whole, and the span doubles up to max. (Equal jitter: Brooker, "Exponential Backoff
// And Jitter", AWS Architecture Blog, 2015.)
func (b *Backoff) next() time.Duration {
	span := b.Max
	if b.tries < 16 {
		span = min(span, firstBackoff<<b.tries)
	}
	b.tries++
	return span/2 + rand.N(span/2+1)
}

// Wait waits before the next try, at least as long as the server asks for.
func (b *Backoff) Wait(ctx context.Context, h http.Header) error {
	d := b.next()
	if s, err := strconv.Atoi(h.Get("Retry-After")); err == nil && s > 0 {
		d = max(d, min(time.Duration(s)*time.Second, b.Max))
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
