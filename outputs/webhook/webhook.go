// Package webhook delivers findings by HTTP POST, as JSON or as messages of Slack.
//
// A request is sent until it is answered: while the server is down, busy or answers with
// 408, 425, 429 or 5xx, Write waits. What it refuses otherwise becomes a dead letter. A
// finding may come twice, when an answer was lost: receivers know it by event.id.
package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"tidewatch/event"
	"tidewatch/outputs"
	"tidewatch/outputs/deadletter"
	"tidewatch/outputs/dial"
)

// Output is one receiver. One goroutine calls Write; Stats may be called by any.
type Output struct {
	cfg       Config
	url       string
	transport *http.Transport
	client    *http.Client
	dead      *deadletter.File
	log       *slog.Logger
	now       func() time.Time
	encoder   outputs.Encoder

	counts struct{ delivered, retries, dead atomic.Uint64 }
	mu     sync.Mutex
	said   string    // the trouble
	told   time.Time // when the log was told last
}

// New returns an output of a configuration that has been checked. It sends nothing.
func New(cfg Config, log *slog.Logger) (*Output, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	t, err := cfg.Transport(time.Duration(cfg.Timeout), 1)
	if err != nil {
		return nil, err
	}
	return &Output{
		cfg: cfg, url: cfg.URL.Reveal(), transport: t, log: log, now: time.Now,
		client: &http.Client{
			Transport: t, Timeout: time.Duration(cfg.Timeout),
			// A POST that is sent on would be a GET somewhere else.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		dead: &deadletter.File{Path: cfg.DeadLetter, Most: int64(cfg.DeadLetterSize)},
	}, nil
}

// hasQuery reports whether an address is one of a server but for its query, which
// receivers may keep a key in.
func hasQuery(s string) bool {
	before, query, ok := strings.Cut(s, "?")
	_, err := dial.URL(before)
	return ok && err == nil && !strings.Contains(query, "#")
}

// Write delivers the findings. It returns nil when the server has taken or refused each
// of them; what it refused is a dead letter. While the server is down it waits, until ctx
// ends.
func (o *Output) Write(ctx context.Context, fs []event.Finding) error {
	for size := o.cfg.Batch; len(fs) > 0; {
		n := min(size, len(fs))
		smaller, err := o.deliver(ctx, fs[:n])
		switch {
		case err != nil:
			return err
		case smaller:
			size = n / 2
		default:
			fs, size = fs[n:], o.cfg.Batch
		}
	}
	return nil
}

// deliver sends one request until it is settled, or has to be smaller.
func (o *Output) deliver(ctx context.Context, fs []event.Finding) (smaller bool, err error) {
	pause := dial.Backoff{Max: time.Duration(o.cfg.MaxBackoff)}
	for again := false; ; again = true {
		if again {
			o.counts.retries.Add(uint64(len(fs)))
		}
		a, err := o.send(ctx, o.body(nil, fs, o.now().UnixNano()), delivery(fs))
		switch {
		case err == nil && a.status/100 == 2:
			o.counts.delivered.Add(uint64(len(fs)))
			o.well()
			return false, nil
		case ctx.Err() != nil:
			return false, context.Cause(ctx)
		case err != nil:
			a.said = err.Error()
		case a.status == http.StatusRequestEntityTooLarge && len(fs) > 1:
			return true, nil
		case !transient(a.status):
			if err := o.refuse(fs, &a); err == nil {
				return false, nil
			} else {
				a.said = err.Error() // no dead letter can be written: it is tried again
			}
		}
		o.ill(a.said, len(fs))
		if err := pause.Wait(ctx, a.header); err != nil {
			return false, err
		}
	}
}

// transient reports whether a status says that it is worth to try the same again.
func transient(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return status >= 500
}

// answer is what a server said.
type answer struct {
	status int
	header http.Header
	said   string // in one line that is safe to print, without what may be secret
}

// send sends a body once. The error says that there is no answer.
func (o *Output) send(ctx context.Context, body []byte, id string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, o.url, bytes.NewReader(body))
	if err != nil {
		return answer{}, errors.New("the address is no URL")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "tidewatch")
	req.Header.Set("X-Tidewatch-Delivery", id)
	if !o.cfg.Authorization.IsZero() {
		req.Header.Set("Authorization", o.cfg.Authorization.Reveal())
	}
	if !o.cfg.Key.IsZero() {
		at := strconv.FormatInt(o.now().Unix(), 10)
		req.Header.Set("X-Tidewatch-Timestamp", at)
		req.Header.Set("X-Tidewatch-Signature", "sha256="+Sign(o.cfg.Key.Reveal(), at, body))
	}
	res, err := o.client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) { // its text shows the URL
			err = u.Err
		}
		return answer{}, fmt.Errorf("no answer: %s", outputs.Printable(err.Error()))
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 4<<10))
	if err != nil && res.StatusCode/100 != 2 {
		return answer{}, fmt.Errorf("half an answer: %s", outputs.Printable(err.Error()))
	}
	said := string(text)
	if len(said) > 300 {
		said = said[:300] + "…"
	}
	return answer{res.StatusCode, res.Header, fmt.Sprintf("status %d: %s", res.StatusCode, outputs.Printable(said))}, nil
}

// Sign returns the HMAC-SHA256 of timestamp, ".", and body, in hexadecimal: what
// receivers compare the header X-Tidewatch-Signature with, after "sha256=". A timestamp of
// long ago says that somebody replays a request.
func Sign(key, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(timestamp))
	mac.Write([]byte{'.'})
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

// delivery returns what stays the same when the same findings are sent again.
func delivery(fs []event.Finding) string {
	h := sha256.New()
	for i := range fs {
		h.Write([]byte(fs[i].ID))
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// refuse makes dead letters of findings.
func (o *Output) refuse(fs []event.Finding, a *answer) error {
	var lines []byte
	now := o.now()
	for i := range fs {
		lines = append(lines, `{"@timestamp":"`...)
		lines = now.UTC().AppendFormat(lines, outputs.TimeLayout)
		lines = strconv.AppendInt(append(lines, `","output":"webhook","status":`...), int64(a.status), 10)
		lines = outputs.AppendString(append(lines, `,"reason":`...), a.said)
		lines = append(o.encoder.Finding(append(lines, `,"document":`...), &fs[i], now.UnixNano()), "}\n"...)
	}
	if err := o.dead.Add(lines); err != nil {
		return fmt.Errorf("dead letters cannot be written: %w", err)
	}
	o.counts.dead.Add(uint64(len(fs)))
	o.tell(func() {
		o.log.Error("the server refuses findings for good", "output", "webhook", "file", o.cfg.DeadLetter, "reason", a.said)
	})
	return nil
}

// ill says why n findings wait.
func (o *Output) ill(text string, n int) {
	o.mu.Lock()
	o.said = text
	o.mu.Unlock()
	o.tell(func() { o.log.Warn("findings wait", "output", "webhook", "findings", n, "reason", text) })
}

// well says that the trouble is over.
func (o *Output) well() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.said != "" {
		o.log.Info("findings are taken again", "output", "webhook")
	}
	o.said = ""
}

// tell keeps the log short: it hears of trouble once a minute.
func (o *Output) tell(say func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if now := o.now(); now.Sub(o.told) >= time.Minute {
		o.told = now
		say()
	}
}

// Stats returns the counts since the start, and why nothing is taken just now.
func (o *Output) Stats() outputs.Stats {
	o.mu.Lock()
	defer o.mu.Unlock()
	return outputs.Stats{Delivered: o.counts.delivered.Load(), Retries: o.counts.retries.Load(), DeadLetters: o.counts.dead.Load(), Trouble: o.said}
}

// Close releases what the output holds. Write is not called after it.
func (o *Output) Close() error {
	o.transport.CloseIdleConnections()
	return o.dead.Close()
}
