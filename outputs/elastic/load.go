package elastic

import (
	"bytes"
	"encoding/json"
	"io"
	"slices"

	"github.com/klauspost/compress/gzip"

	"tidewatch/event"
	"tidewatch/outputs"
)

// load is documents that are delivered together, as the lines of bulk requests. It is
// used by one goroutine at a time.
type load struct {
	lines []byte
	docs  []doc // those that are not settled
	// streams are the data streams that they are for.
	streams []string
}

// doc is where one document stands in the lines: its action line, then its source
// line.
type doc struct{ action, source, end int }

func (d doc) size() int { return d.end - d.action }

func (l *load) reset() { l.lines, l.docs, l.streams = l.lines[:0], l.docs[:0], l.streams[:0] }

// begin begins a document with an id of [A-Za-z0-9_-], and returns where it is to be
// appended to. A data stream takes no other action than create.
func (l *load) begin(stream string, id []byte) []byte {
	if n := len(l.streams); n == 0 || l.streams[n-1] != stream && !slices.Contains(l.streams, stream) {
		l.streams = append(l.streams, stream)
	}
	d := doc{action: len(l.lines)}
	b := append(l.lines, `{"create":{"_index":"`...)
	b = append(b, stream...)
	b = append(b, `","_id":`...)
	b = append(outputs.AppendString(b, event.String(id)), "}}\n"...)
	d.source = len(b)
	l.docs = append(l.docs, d)
	return b
}

// end ends the document that begin began; b is what it returned, with the document.
func (l *load) end(b []byte) {
	l.lines = append(b, '\n')
	l.docs[len(l.docs)-1].end = len(l.lines)
}

// body returns the documents as the body of a request. It shares no memory with the
// load: when a request has failed, its body may still be read for a while.
func (l *load) body(docs []doc, compress bool) ([]byte, error) {
	size := 0
	for _, d := range docs {
		size += d.size()
	}
	if !compress {
		return l.write(make([]byte, 0, size), docs), nil
	}
	var b bytes.Buffer
	b.Grow(size/6 + 256)
	z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	if err := l.writeTo(z, docs); err != nil {
		return nil, err
	}
	err = z.Close()
	return b.Bytes(), err
}

func (l *load) write(b []byte, docs []doc) []byte {
	for _, d := range docs {
		b = append(b, l.lines[d.action:d.end]...)
	}
	return b
}

// writeTo writes runs of documents that stand one after the other at once.
func (l *load) writeTo(w io.Writer, docs []doc) error {
	for i := 0; i < len(docs); {
		j := i + 1
		for j < len(docs) && docs[j].action == docs[j-1].end {
			j++
		}
		if _, err := w.Write(l.lines[docs[i].action:docs[j-1].end]); err != nil {
			return err
		}
		i = j
	}
	return nil
}

// ingestedKey begins event.ingested. Within a text its quotes would be escaped.
var ingestedKey = []byte(`"ingested":"`)

// stamp sets event.ingested to now in documents that are sent again: rules of Kibana
// look at what was ingested within the last minutes.
func (l *load) stamp(docs []doc, now []byte) {
	for _, d := range docs {
		source := l.lines[d.source:d.end]
		at := bytes.Index(source, ingestedKey) + len(ingestedKey)
		if at >= len(ingestedKey) && at+len(now) < len(source) && source[at+len(now)] == '"' {
			copy(source[at:], now)
		}
	}
}

// letter returns the document as a dead letter.
func (l *load) letter(d doc) letter {
	var action struct {
		Create struct {
			Index string `json:"_index"`
			ID    string `json:"_id"`
		}
	}
	_ = json.Unmarshal(l.lines[d.action:d.source], &action) // we wrote it
	return letter{stream: action.Create.Index, id: action.Create.ID, document: l.lines[d.source : d.end-1]}
}
