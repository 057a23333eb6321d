package elastic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/elastic/go-elasticsearch/v8/esapi"

	"tidewatch/outputs"
	"tidewatch/outputs/dial"
)

// answerFields is what of an answer is looked at.
var answerFields = []string{"errors", "items.*.status", "items.*.failure_store", "items.*.error.type", "items.*.error.reason"}

// item is what a server says of one document.
type item struct {
	Status       int    `json:"status"`
	FailureStore string `json:"failure_store"`
	Error        struct {
		Type   string `json:"type"`
		Reason string `json:"reason"`
	} `json:"error"`
}

// verdict says what follows from an item.
type verdict uint8

const (
	stored   verdict = iota // it is in the index
	there                   // it was there already: sent twice
	diverted                // it is in the data stream's failure store
	refused                 // it will never be taken
	busy                    // the server has no room for it now
	blocked                 // somebody has to do something first
)

// judge decides what follows from an item.
func (it *item) judge() verdict {
	switch s := it.Status; {
	case s >= 200 && s < 300 && it.FailureStore == "used":
		return diverted
	case s >= 200 && s < 300:
		return stored
	case s == http.StatusConflict:
		return there
	case transient(s):
		return busy
	case s == http.StatusUnauthorized, s == http.StatusForbidden, s == http.StatusNotFound:
		return blocked
	case it.Error.Type == "index_closed_exception", it.Error.Type == "index_not_found_exception":
		return blocked
	}
	return refused
}

// trouble is why documents are not settled yet.
type trouble struct {
	text   string
	header http.Header // of the answer, if there was one
	// split asks for smaller requests at once.
	split   bool
	foreign error
}

// deliver returns nil when each document of l is indexed, or a dead letter. It returns
// an error when ctx has ended, or when the server has never been the right one.
func (o *Output) deliver(ctx context.Context, l *load) error {
	pause := dial.Backoff{Max: time.Duration(o.cfg.MaxBackoff)}
	for again := false; len(l.docs) > 0; {
		n := o.pace.fit(l.docs)
		if again {
			l.stamp(l.docs[:n], o.now().UTC().AppendFormat(nil, outputs.TimeLayout))
		}
		left, t := o.try(ctx, l, l.docs[:n])
		if left < n {
			pause.Reset()
		}
		l.docs = append(l.docs[:left], l.docs[n:]...)
		if t == nil {
			o.well()
			continue
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if t.foreign != nil && !o.conn.known.Load() {
			return t.foreign
		}
		again = true
		if t.split {
			continue
		}
		o.ill(t.text, left)
		o.counts.retries.Add(uint64(left))
		if err := pause.Wait(ctx, t.header); err != nil {
			return err
		}
	}
	return nil
}

// try sends the documents once. It moves those that are not settled to the front, and
// returns how many there are, and why.
func (o *Output) try(ctx context.Context, l *load, docs []doc) (left int, t *trouble) {
	if t := o.ready(ctx, l.streams); t != nil {
		return len(docs), t
	}
	r, err := o.send(ctx, l, docs)
	switch {
	case errors.Is(err, ErrForeign):
		return len(docs), &trouble{text: err.Error(), foreign: err}
	case err != nil:
		o.pace.slower(docs, len(docs))
		return len(docs), &trouble{text: outputs.Printable(err.Error())}
	case r.status == http.StatusRequestEntityTooLarge:
		return o.tooLarge(l, docs, r)
	case transient(r.status):
		o.pace.slower(docs, len(docs))
		return len(docs), &trouble{text: r.said(), header: r.header}
	case r.status/100 != 2:
		return len(docs), &trouble{text: r.said() + hint(r.status), header: r.header}
	}
	items, err := parseAnswer(r.body, len(docs))
	if err != nil {
		o.pace.slower(docs, len(docs))
		return len(docs), &trouble{text: "the answer is of no use: " + err.Error()}
	}
	return o.settle(l, docs, items)
}

// send sends one bulk request.
func (o *Output) send(ctx context.Context, l *load, docs []doc) (*reply, error) {
	body, err := l.body(docs, o.cfg.Compress)
	if err != nil {
		return nil, err
	}
	h := http.Header{"Content-Type": {"application/x-ndjson"}}
	if o.cfg.Compress {
		h.Set("Content-Encoding", "gzip")
	}
	req := esapi.BulkRequest{Body: bytes.NewReader(body), Header: h, FilterPath: answerFields}
	if o.cfg.Flavor == Elasticsearch {
		// A name that no template knows would make a plain index.
		yes := true
		req.RequireDataStream = &yes
	}
	o.counts.requests.Add(1)
	o.counts.bytes.Add(uint64(len(body)))
	// Room for each item's status, and for reasons.
	return o.conn.do(ctx, req, 1<<20+int64(len(docs))*4096)
}

// parseAnswer reads the items of an answer, one for each of n documents.
func parseAnswer(b []byte, n int) ([]item, error) {
	var a struct {
		Items []struct {
			Create *item `json:"create"`
		} `json:"items"`
	}
	if err := json.Unmarshal(b, &a); err != nil {
		return nil, err
	}
	if len(a.Items) != n {
		return nil, fmt.Errorf("%d items for %d documents", len(a.Items), n)
	}
	items := make([]item, n)
	for i := range a.Items {
		if c := a.Items[i].Create; c == nil || c.Status < 200 || c.Status > 599 {
			return nil, fmt.Errorf("item %d says nothing", i)
		}
		items[i] = *a.Items[i].Create
	}
	return items, nil
}

// settle does what the items ask for.
func (o *Output) settle(l *load, docs []doc, items []item) (left int, t *trouble) {
	var letters []letter
	var gone []doc
	crowded := 0
	for i, d := range docs {
		it := &items[i]
		v := it.judge()
		switch v {
		case stored:
			o.counts.indexed.Add(1)
		case there:
			o.counts.duplicates.Add(1)
		case diverted:
			o.counts.diverted.Add(1)
			o.say.diverted(o.log)
		case refused:
			le := l.letter(d)
			le.status, le.kind, le.reason = it.Status, it.Error.Type, it.Error.Reason
			letters, gone = append(letters, le), append(gone, d)
		case busy, blocked:
			docs[left] = d
			left++
			if t == nil || v == blocked {
				t = &trouble{text: fmt.Sprintf("status %d: %s", it.Status, outputs.Printable(shorten(it.Error.Reason, 300)))}
				if v == blocked {
					t.text += hint(it.Status)
				}
			}
			if v == busy {
				crowded++
			}
		}
	}
	switch {
	case crowded > 0:
		o.pace.slower(docs, crowded)
	case t == nil:
		o.pace.faster(len(docs))
	}
	if err := o.bury(letters); err != nil {
		left += copy(docs[left:], gone)
		t = &trouble{text: "dead letters cannot be written: " + err.Error()}
	}
	return left, t
}

// tooLarge is for requests that are larger than the server takes.
func (o *Output) tooLarge(l *load, docs []doc, r *reply) (left int, t *trouble) {
	if len(docs) > 1 {
		o.pace.tooLarge(docs)
		return len(docs), &trouble{text: r.said(), split: true}
	}
	le := l.letter(docs[0])
	le.status, le.kind, le.reason = r.status, "request_entity_too_large", "the server takes no request as large as this document"
	if err := o.bury([]letter{le}); err != nil {
		return 1, &trouble{text: "dead letters cannot be written: " + err.Error()}
	}
	return 0, nil
}

// bury makes dead letters durable.
func (o *Output) bury(letters []letter) error {
	if len(letters) == 0 {
		return nil
	}
	if err := o.dead.Add(lines(letters, time.Now())); err != nil {
		return err
	}
	o.counts.dead.Add(uint64(len(letters)))
	o.say.dead(o.log, &letters[0], o.dead.Path)
	return nil
}

// hint says what to do about a status.
func hint(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return "; check api_key, service_token, or username and password"
	case http.StatusForbidden:
		return "; check the role (`tidewatch setup elasticsearch --print` shows what it needs), and whether the index is read-only"
	case http.StatusNotFound:
		return "; run `tidewatch setup elasticsearch`, which makes the templates of the data streams"
	case http.StatusBadRequest:
		return "; is the server older than 8.13?"
	}
	return ""
}
