// Package zeek reads the logs of Zeek (https://zeek.org), as tab-separated text
// with a header and as JSON, one record a line.
package zeek

import (
	"bytes"

	"tidewatch/event"
	"tidewatch/parsers"
)

// TSV reads one tab-separated log file. It binds columns by the names in the
// file's header, and again at each further header.
type TSV struct {
	head   header
	wanted []string // Options.Extra
	r      reader

	// What the header says, made ready for its records.
	skip    *parsers.Skip // if not nil, what each record gives
	stream  stream
	columns int // fields of a record
	has     event.Columns
	sep     []byte
	seconds []second
	extra   []place
}

// second is a column that the header has under two names. The slot of the second
// is used for records that have the first unset.
type second struct {
	col       event.Column
	main, alt int16
}

// place is a field that somebody asked for by name.
type place struct {
	slot int16
	name string
}

// NewTSV returns a parser for one log file.
func NewTSV(opts parsers.Options) *TSV {
	p := &TSV{wanted: opts.Extra}
	p.head.reset()
	return p
}

// Parse implements parsers.Parser.
func (p *TSV) Parse(b *event.Batch, ev *event.Event, line []byte) error {
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	if len(line) == 0 {
		return parsers.ErrMeta
	}
	if c := line[0]; c == p.head.prefix[0] || c <= ' ' || c == bom[0] || p.head.stale {
		if err := p.beforeRecord(line); err != nil {
			return err
		}
	}
	if p.skip != nil {
		return p.skip
	}
	if p.split(line) != p.columns {
		if line = p.splitLabels(b, line); line == nil {
			return parsers.ReasonColumns
		}
	}
	r := &p.r
	r.start(b, ev, line, p.stream, &p.has)
	if p.seconds != nil {
		p.chooseNames()
	}
	r.common(ev)
	r.columns(ev)
	if p.extra != nil {
		p.extras(b, ev)
	}
	err := r.finish(ev)
	if err != nil && p.head.plain && p.head.isPlain(line) { // the next of concatenated files
		return p.head.fields(line)
	}
	return err
}

func (p *TSV) split(line []byte) int {
	p.r.long = len(line) > maxNarrow || len(p.sep) != 1
	if p.r.long {
		p.r.plain = bytes.IndexByte(line, '\\') < 0
		return splitText(line, p.sep, p.r.wide)
	}
	n, plain := splitByte(line, p.sep[0], &p.r.narrow)
	p.r.plain = plain
	return n
}

// splitLabels splits a line of a labelled log whose labels are appended to the
// last field behind three blanks each, not behind separators. It returns the line
// that the positions belong to, or nil.
func (p *TSV) splitLabels(b *event.Batch, line []byte) []byte {
	if !p.head.labelled || !bytes.Contains(line, threeBlanks) {
		return nil
	}
	last := bytes.LastIndex(line, p.sep) + len(p.sep)
	if last < len(p.sep) {
		return nil
	}
	out := append(b.Scratch(len(line)), line[:last]...)
	for rest := line[last:]; ; {
		e, more, found := bytes.Cut(rest, threeBlanks)
		out = append(out, e...)
		if !found {
			break
		}
		out = append(out, p.sep...)
		rest = bytes.TrimLeft(more, " ")
	}
	if p.split(out) != p.columns {
		return nil
	}
	return out
}

// chooseNames points the slots of columns that have two names to the one that
// this record has set.
func (p *TSV) chooseNames() {
	for _, s := range p.seconds {
		p.r.slots[s.col] = s.main
		if _, ok := p.r.get(s.col); !ok {
			p.r.slots[s.col] = s.alt
			p.r.set.Add(s.col)
		}
	}
}

// extras keeps the fields that were asked for by name.
func (p *TSV) extras(b *event.Batch, ev *event.Event) {
	ev.Extra = b.Fields(len(p.extra))
	for _, x := range p.extra {
		p.r.slots[colExtra] = x.slot
		if v, ok := p.r.get(colExtra); ok {
			ev.Extra = append(ev.Extra, event.Field{Name: x.name, Value: p.r.decode(v)})
		}
	}
}
