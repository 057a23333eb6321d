package elastic

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"sync"

	"tidewatch/event"
	"tidewatch/outputs"
)

// Exporter writes records to the data streams of their kinds. It is one more reader of
// what the pipeline reads, and used by one goroutine.
type Exporter struct {
	o       *Output
	kinds   [event.NumKinds]bool
	streams [event.NumKinds]string
	// Wants chooses among the records of those kinds; nil takes all. It is set before
	// the first Export.
	Wants func(*event.Event) bool

	encoder outputs.Encoder
	cur     *load
	free    chan *load // those that are not on their way
	flying  sync.WaitGroup
	mu      sync.Mutex
	err     error // the first that a delivery returned
}

// NewExporter returns an exporter of the kinds that the configuration names, or nil if
// it names none.
func (o *Output) NewExporter() *Exporter {
	x := &Exporter{o: o, free: make(chan *load, o.cfg.Requests+1)}
	x.kinds, _ = kinds(o.cfg.Records) // New has checked them
	any := false
	for k, wanted := range x.kinds {
		any = any || wanted
		x.streams[k] = Stream(event.Kind(k).String(), o.cfg.Namespace)
	}
	if !any {
		return nil
	}
	for range cap(x.free) {
		x.free <- &load{}
	}
	return x
}

// Export takes the sequence's records. It keeps nothing of the sequence, and waits
// while the server is down. The error is ctx's, or says that the server has never been
// the one that was asked for.
func (x *Exporter) Export(ctx context.Context, s *event.Sequence) error {
	now := x.o.now().UnixNano()
	for _, ev := range s.Events {
		if !x.kinds[ev.Kind] || x.Wants != nil && !x.Wants(ev) {
			continue
		}
		if x.cur == nil {
			select {
			case x.cur = <-x.free:
				x.cur.reset()
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		var id [recordIDLength]byte
		l := x.cur
		l.end(x.encoder.Record(l.begin(x.streams[ev.Kind], appendRecordID(id[:0], ev)), ev, now))
		if len(l.docs) >= x.o.cfg.BatchDocuments || len(l.lines) >= int(x.o.cfg.BatchSize) {
			x.launch(ctx)
		}
	}
	return x.failed()
}

// Settle returns nil when each record that was taken is indexed or a dead letter.
func (x *Exporter) Settle(ctx context.Context) error {
	x.launch(ctx)
	x.flying.Wait() // each delivery ends when it is done, or with ctx
	return x.failed()
}

// launch sends what is collected on its way.
func (x *Exporter) launch(ctx context.Context) {
	l := x.cur
	if l == nil {
		return
	}
	x.cur = nil
	x.flying.Go(func() {
		if err := x.o.deliver(ctx, l); err != nil {
			x.mu.Lock()
			defer x.mu.Unlock()
			if x.err == nil {
				x.err = err
			}
		}
		x.free <- l // has room for all
	})
}

func (x *Exporter) failed() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.err
}

// recordIDLength is that of a record's id: 20 bytes in base64.
const recordIDLength = 27

// appendRecordID appends the id of a record: its time in seconds, and 128 bits of the
// SHA-256 of its bytes, since who writes packets must not be able to make two records
// into one. The time comes first because ids that were used together are found faster
// then. Records that are the same byte for byte are one document.
func appendRecordID(b []byte, ev *event.Event) []byte {
	sum := sha256.Sum256(ev.Raw)
	var id [20]byte
	binary.BigEndian.PutUint32(id[:4], uint32(ev.Time/1e9))
	copy(id[4:], sum[:16])
	return base64.RawURLEncoding.AppendEncode(b, id[:])
}
