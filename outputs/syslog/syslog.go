// Package syslog delivers findings as messages of RFC 5424 with structured data: over
// TLS (RFC 5425), over TCP with octet counting (RFC 6587, 3.4.1), or over UDP (RFC 5426).
//
// Syslog has no answers. Over TLS and TCP, Write returns when the system has taken the
// messages; those that are on their way when a connection breaks are lost, unless the
// system says so to Write, which sends all of them again. Over UDP nothing is known.
package syslog

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"tidewatch/event"
	"tidewatch/outputs"
	"tidewatch/outputs/dial"
)

// Output is one receiver. One goroutine calls Write; Stats may be called by any.
type Output struct {
	cfg      Config
	trust    *tls.Config
	facility int
	host     string
	log      *slog.Logger
	now      func() time.Time
	encoder  outputs.Encoder
	buf      []byte // messages that are written at once
	one, doc []byte

	conn   net.Conn      // nil: none
	broken chan struct{} // closed when the server has closed conn

	delivered, retries atomic.Uint64
	mu                 sync.Mutex
	said               string
	told               time.Time
}

// New returns an output of a configuration that has been checked. It sends nothing.
func New(cfg Config, log *slog.Logger) (*Output, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	trust, err := cfg.TLS()
	if err != nil {
		return nil, err
	}
	trust.ServerName, _, _ = net.SplitHostPort(cfg.Address)
	host := cfg.Host
	if host == "" {
		host, _ = os.Hostname()
	}
	return &Output{cfg: cfg, trust: trust, facility: slices.Index(facilities, cfg.Facility), host: nilled(word(host, 255)), log: log, now: time.Now}, nil
}

// Write sends the findings. It returns nil when the system has taken each of them; while
// the server is down it waits, until ctx ends.
func (o *Output) Write(ctx context.Context, fs []event.Finding) error {
	pause := dial.Backoff{Max: time.Duration(o.cfg.MaxBackoff)}
	for again := false; ; again = true {
		if again {
			o.retries.Add(uint64(len(fs)))
		}
		err := o.try(ctx, fs)
		switch {
		case err == nil:
			o.delivered.Add(uint64(len(fs)))
			o.well()
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
		o.hangUp()
		o.ill(outputs.Printable(err.Error()), len(fs))
		if err := pause.Wait(ctx, nil); err != nil {
			return err
		}
	}
}

// maxWrite is about how much is written at once, in bytes.
const maxWrite = 64 << 10

// try sends all of the findings once.
func (o *Output) try(ctx context.Context, fs []event.Finding) error {
	if err := o.connect(ctx); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = o.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	o.buf = o.buf[:0]
	for i := range fs {
		m := o.append(&fs[i])
		if o.cfg.Transport == "udp" {
			if err := o.write(m); err != nil {
				return err
			}
			continue
		}
		o.buf = strconv.AppendInt(o.buf, int64(len(m)), 10)
		o.buf = append(append(o.buf, ' '), m...)
		if len(o.buf) >= maxWrite || i == len(fs)-1 {
			if err := o.write(o.buf); err != nil {
				return err
			}
			o.buf = o.buf[:0]
		}
	}
	return nil
}

// append returns a finding as a message. It stays as it is until the next call.
func (o *Output) append(f *event.Finding) []byte {
	var json []byte
	if o.cfg.Format == "json" {
		o.doc = o.encoder.Finding(o.doc[:0], f, o.now().UnixNano())
		json = o.doc
	}
	o.one = o.message(o.one[:0], f, json)
	if o.cfg.Transport == "udp" && len(o.one) > maxDatagram {
		o.one = append(o.one[:0], short(string(o.one), maxDatagram)...)
	}
	return o.one
}

func (o *Output) write(b []byte) error {
	if err := o.conn.SetWriteDeadline(time.Now().Add(time.Duration(o.cfg.Timeout))); err != nil {
		return err
	}
	_, err := o.conn.Write(b)
	return err
}

// connect connects, unless there is a connection that the server has not closed.
func (o *Output) connect(ctx context.Context) error {
	if o.conn != nil {
		select {
		case <-o.broken:
			o.hangUp()
		default:
			return nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(o.cfg.Timeout))
	defer cancel()
	var conn net.Conn
	var err error
	if o.cfg.Transport == "tls" {
		conn, err = (&tls.Dialer{Config: o.trust}).DialContext(ctx, "tcp", o.cfg.Address)
	} else {
		conn, err = new(net.Dialer).DialContext(ctx, o.cfg.Transport, o.cfg.Address)
	}
	if err != nil {
		return fmt.Errorf("no connection: %w", err)
	}
	o.conn, o.broken = conn, make(chan struct{})
	if o.cfg.Transport == "udp" {
		return nil
	}
	// A server says nothing; when reading ends, it has closed the connection, and what
	// is written then is lost.
	go func(broken chan<- struct{}) {
		_, _ = io.Copy(io.Discard, conn)
		close(broken)
	}(o.broken)
	return nil
}

// hangUp closes the connection, if there is one.
func (o *Output) hangUp() {
	if o.conn != nil {
		_ = o.conn.Close()
		o.conn = nil
	}
}

// ill says why n findings wait; the log hears of it once a minute.
func (o *Output) ill(text string, n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.said = text
	if now := o.now(); now.Sub(o.told) >= time.Minute {
		o.told = now
		o.log.Warn("findings wait", "output", "syslog", "findings", n, "reason", text)
	}
}

// well says that the trouble is over.
func (o *Output) well() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.said != "" {
		o.log.Info("findings are taken again", "output", "syslog")
	}
	o.said = ""
}

// Stats returns the counts since the start, and why nothing is taken just now.
func (o *Output) Stats() outputs.Stats {
	o.mu.Lock()
	defer o.mu.Unlock()
	return outputs.Stats{Delivered: o.delivered.Load(), Retries: o.retries.Load(), Trouble: o.said}
}

// Close closes the connection. Write is not called after it.
func (o *Output) Close() error {
	o.hangUp()
	return nil
}
