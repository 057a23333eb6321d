// Package elastic delivers findings and records to Elasticsearch and OpenSearch.
//
// A document is sent until the server has it, under an id that is the same whenever it
// is sent: none is lost, and none is there twice within one backing index of its data
// stream. What the server will never take becomes a dead letter, with the reason. While
// the server is down, or refuses, Write waits.
package elastic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/elastic/go-elasticsearch/v8/esapi"

	"tidewatch/event"
	"tidewatch/outputs"
	"tidewatch/outputs/deadletter"
)

// Output is a connection to one cluster. Write is used by one goroutine; an Exporter
// may work beside it.
type Output struct {
	cfg    Config
	conn   *connection
	dead   *deadletter.File
	log    *slog.Logger
	now    func() time.Time
	pace   pace
	counts counts
	say    say

	stream   string // of findings
	findings load
	id       []byte // of a finding
	encoder  outputs.Encoder

	mu      sync.Mutex
	streams map[string]bool // that are known to be there; OpenSearch only
}

// Stats counts what was delivered since the start.
type Stats struct {
	Indexed      uint64 // documents that the server took
	Duplicates   uint64 // documents that it had already
	FailureStore uint64 // documents that it put into the failure store
	DeadLetters  uint64
	Retries      uint64 // times that a document had to be sent again
	Requests     uint64
	Bytes        uint64 // of bodies, as sent
	// Trouble is why nothing is taken just now, in one printable line; "" if all is
	// well.
	Trouble string
}

type counts struct{ indexed, duplicates, diverted, dead, retries, requests, bytes atomic.Uint64 }

// New returns an output of a configuration that has been checked. It sends nothing.
func New(cfg Config, log *slog.Logger) (*Output, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c, err := connect(&cfg)
	if err != nil {
		return nil, err
	}
	return &Output{
		cfg: cfg, conn: c, log: log, now: time.Now,
		dead:    &deadletter.File{Path: cfg.DeadLetter, Most: int64(cfg.DeadLetterSize)},
		pace:    pace{docs: cfg.BatchDocuments, most: cfg.BatchDocuments, mostBytes: int(cfg.BatchSize)},
		stream:  Stream("finding", cfg.Namespace),
		streams: map[string]bool{},
	}, nil
}

// Stream returns the name of a data stream, of findings or of a kind of records.
func Stream(kind, namespace string) string { return "logs-tidewatch." + kind + "-" + namespace }

// Write delivers the findings. It returns nil when each one is indexed or a dead
// letter, and an error when ctx has ended or the server has never been the one that was
// asked for. While the server is down it waits.
func (o *Output) Write(ctx context.Context, fs []event.Finding) error {
	l, now := &o.findings, o.now().UnixNano()
	l.reset()
	for i := range fs {
		o.id = append(o.id[:0], fs[i].ID...)
		l.end(o.encoder.Finding(l.begin(o.stream, o.id), &fs[i], now))
		if len(l.lines) >= int(o.cfg.BatchSize) {
			if err := o.deliver(ctx, l); err != nil {
				return err
			}
			l.reset()
		}
	}
	return o.deliver(ctx, l)
}

// Check asks the server once whether it is there and is the right one. What is not
// ErrForeign may pass by itself: Write waits for that.
func (o *Output) Check(ctx context.Context) error {
	switch t := o.ready(ctx, nil); {
	case t == nil:
		return nil
	case t.foreign != nil:
		return t.foreign
	default:
		return errors.New(t.text)
	}
}

// Close releases what the output holds. Write is not called after it.
func (o *Output) Close() error {
	return errors.Join(o.dead.Close(), o.conn.nodes.Close(context.Background()))
}

// Stats returns the counts. It may be called at any time.
func (o *Output) Stats() Stats {
	c := &o.counts
	return Stats{
		Indexed: c.indexed.Load(), Duplicates: c.duplicates.Load(), FailureStore: c.diverted.Load(), DeadLetters: c.dead.Load(),
		Retries: c.retries.Load(), Requests: c.requests.Load(), Bytes: c.bytes.Load(), Trouble: o.say.trouble(),
	}
}

// ready finds out who the server is, before it is sent anything, and that the data
// streams are there.
func (o *Output) ready(ctx context.Context, streams []string) *trouble {
	if !o.conn.known.Load() {
		r, err := o.conn.do(ctx, esapi.IndicesExistsRequest{Index: []string{o.stream}}, 1<<20)
		switch {
		case errors.Is(err, ErrForeign):
			return &trouble{text: err.Error(), foreign: err}
		case err != nil:
			return &trouble{text: outputs.Printable(err.Error())}
		case r.evasive() && r.header.Get("X-Elastic-Product") == "":
			return &trouble{text: r.said() + hint(r.status), header: r.header}
		}
		o.conn.known.Store(true)
	}
	if o.cfg.Flavor != OpenSearch { // there the bulk request asks for data streams
		return nil
	}
	for _, s := range streams {
		if t := o.ensure(ctx, s); t != nil {
			return t
		}
	}
	return nil
}

// ensure creates a data stream, unless it is there: where there is no template for it,
// OpenSearch would make a plain index of the first document.
func (o *Output) ensure(ctx context.Context, stream string) *trouble {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.streams[stream] {
		return nil
	}
	r, err := o.conn.do(ctx, esapi.IndicesCreateDataStreamRequest{Name: stream}, 1<<20)
	switch {
	case err != nil:
		return &trouble{text: outputs.Printable(err.Error())}
	case r.status/100 == 2, r.status == http.StatusBadRequest && r.errorType() == "resource_already_exists_exception":
		o.streams[stream] = true
		return nil
	case r.status == http.StatusBadRequest:
		return &trouble{text: r.said() + hint(http.StatusNotFound)}
	}
	return &trouble{text: r.said() + hint(r.status), header: r.header}
}

// say keeps the log short: the same trouble is told once a minute.
type say struct {
	mu          sync.Mutex
	text        string
	since, told time.Time
	lastDead    time.Time
	toldStore   bool
}

func (s *say) trouble() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text
}

// ill says why n documents wait.
func (o *Output) ill(text string, n int) {
	s := &o.say
	s.mu.Lock()
	defer s.mu.Unlock()
	now := o.now()
	if s.text == "" {
		s.since = now
	}
	wait := time.Minute
	if s.text != text {
		wait = 10 * time.Second
	}
	s.text = text
	if now.Sub(s.told) >= wait {
		s.told = now
		o.log.Warn("documents wait", "output", o.cfg.Flavor, "documents", n, "reason", text, "since", s.since.UTC())
	}
}

// well says that the trouble is over.
func (o *Output) well() {
	s := &o.say
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.text != "" && !s.told.Before(s.since) {
		o.log.Info("documents are taken again", "output", o.cfg.Flavor, "seconds", int(o.now().Sub(s.since).Seconds()))
	}
	s.text = ""
}

// dead says that documents were refused, and why the first of them was.
func (s *say) dead(log *slog.Logger, l *letter, path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); now.Sub(s.lastDead) >= time.Minute {
		log.Error("the server refuses documents for good", "file", path, "stream", l.stream, "status", l.status,
			"type", outputs.Printable(shorten(l.kind, 100)), "reason", outputs.Printable(shorten(l.reason, 300)))
		s.lastDead = now
	}
}

// diverted says, once, that the failure store takes documents.
func (s *say) diverted(log *slog.Logger) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.toldStore {
		s.toldStore = true
		log.Warn("the server puts documents into the failure store of their data stream: look there why they do not fit its mapping")
	}
}

// errorType returns the type of the error in an answer, or "".
func (r *reply) errorType() string {
	var e struct{ Error struct{ Type string } }
	if err := json.Unmarshal(r.body, &e); err != nil {
		return ""
	}
	return e.Error.Type
}

// String names the output in messages.
func (o *Output) String() string { return fmt.Sprintf("%s at %v", o.cfg.Flavor, o.cfg.Addresses) }
