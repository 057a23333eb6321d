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
	head  header
	extra []string
	bound binding
	r     reader
	sep   []byte
	unset int // the unset marker if it is one byte, else -1
	pos   []int32
}

// binding is what a header says, made ready for its records.
type binding struct {
	skip    *parsers.Skip // if not nil, what each record gives
	stream  stream
	columns int // fields of a record
	// The columns to read. Those of second rank come first, so that another name
	// for the same column overwrites what they gave.
	second, common, detail []place
	extra                  []extraPlace
}

// place says what a field is.
type place struct {
	at  int32
	col event.Column
}

// extraPlace is a field that somebody asked for by name.
type extraPlace struct {
	at   int32
	name string
}

// NewTSV returns a parser for one log file.
func NewTSV(opts parsers.Options) *TSV {
	p := &TSV{extra: opts.Extra}
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
	if p.bound.skip != nil {
		return p.bound.skip
	}
	if p.split(line) != p.bound.columns {
		if line = p.splitLabels(b, line); line == nil {
			return parsers.ReasonColumns
		}
	}
	p.r.start(b, ev, p.bound.stream)
	p.r.plain = bytes.IndexByte(line, '\\') < 0
	p.commonColumns(ev, p.bound.second, line)
	p.commonColumns(ev, p.bound.common, line)
	p.details(b, ev, line)
	if len(p.bound.extra) > 0 {
		p.extras(b, ev, line)
	}
	err := p.r.finish(ev)
	if err != nil && p.head.plain && p.head.isPlain(line) { // the next of concatenated files
		p.head.fields(line)
		return parsers.ErrMeta
	}
	return err
}

func (p *TSV) split(line []byte) int {
	if len(p.sep) == 1 {
		return splitByte(line, p.sep[0], p.pos)
	}
	return splitText(line, p.sep, p.pos)
}

// splitLabels splits a line of a labelled log whose labels are appended to the
// last field behind three blanks each, not behind separators. It returns the line
// that the positions belong to, or nil.
func (p *TSV) splitLabels(b *event.Batch, line []byte) []byte {
	if !p.head.labelled || !bytes.Contains(line, threeBlanks) {
		return nil
	}
	last := bytes.LastIndex(line, p.sep) + 1
	out := append(b.Scratch(len(line) + 3*len(p.sep))[:0], line[:last]...)
	for rest := line[last:]; ; {
		e, more, found := bytes.Cut(rest, threeBlanks)
		out = append(out, e...)
		if !found {
			break
		}
		out = append(out, p.sep...)
		rest = bytes.TrimLeft(more, " ")
	}
	if p.split(out) != p.bound.columns {
		return nil
	}
	return out
}

// field returns field i of a split line.
func (p *TSV) field(line []byte, i int32) []byte {
	return line[int(p.pos[i])+len(p.sep) : p.pos[i+1]]
}

// isUnset reports whether a field is the unset marker.
func (p *TSV) isUnset(v []byte) bool {
	if p.unset >= 0 {
		return len(v) == 1 && int(v[0]) == p.unset
	}
	return string(v) == string(p.r.unset)
}

func (p *TSV) commonColumns(ev *event.Event, places []place, line []byte) {
	for _, c := range places {
		v := p.field(line, c.at)
		if p.isUnset(v) {
			continue
		}
		if isCommon(c.col) {
			p.r.setCommon(ev, c.col, v)
			continue
		}
		p.second(ev, c.col, v)
	}
}

// second sets a column of the kind that goes by a second name.
func (p *TSV) second(ev *event.Event, c event.Column, v []byte) {
	ev.Set.Add(c)
	b := p.r.b
	switch ev.Kind {
	case event.KindTLS:
		p.r.setTLS(b.TLS(ev), c, v)
	case event.KindX509:
		p.r.setX509(b.X509(ev), c, v)
	case event.KindSSH:
		p.r.setSSH(b.SSH(ev), c, v)
	case event.KindDHCP:
		p.r.setDHCP(b.DHCP(ev), c, v)
	case event.KindNotice:
		p.r.setNotice(b.Notice(ev), c, v)
	}
}

// details reads the columns of the record's kind.
func (p *TSV) details(b *event.Batch, ev *event.Event, line []byte) {
	switch ev.Kind {
	case event.KindConn:
		detail(p, ev, line, b.Conn(ev), (*reader).setConn)
	case event.KindDNS:
		detail(p, ev, line, b.DNS(ev), (*reader).setDNS)
	case event.KindTLS:
		detail(p, ev, line, b.TLS(ev), (*reader).setTLS)
	case event.KindHTTP:
		detail(p, ev, line, b.HTTP(ev), (*reader).setHTTP)
	case event.KindFile:
		detail(p, ev, line, b.File(ev), (*reader).setFile)
	case event.KindX509:
		detail(p, ev, line, b.X509(ev), (*reader).setX509)
	case event.KindSSH:
		detail(p, ev, line, b.SSH(ev), (*reader).setSSH)
	case event.KindRDP:
		detail(p, ev, line, b.RDP(ev), (*reader).setRDP)
	case event.KindSMB:
		detail(p, ev, line, b.SMB(ev), (*reader).setSMB)
	case event.KindDHCP:
		detail(p, ev, line, b.DHCP(ev), (*reader).setDHCP)
	case event.KindNotice, event.KindWeird:
		detail(p, ev, line, b.Notice(ev), (*reader).setNotice)
	case event.KindSoftware:
		detail(p, ev, line, b.Software(ev), (*reader).setSoftware)
	case event.KindKerberos:
		detail(p, ev, line, b.Kerberos(ev), (*reader).setKerberos)
	}
}

// detail gives d the columns that the line has of it.
func detail[D any](p *TSV, ev *event.Event, line []byte, d *D, set func(*reader, *D, event.Column, []byte)) {
	for _, c := range p.bound.detail {
		v := p.field(line, c.at)
		if p.isUnset(v) {
			continue
		}
		if int(c.col) < event.NumColumns {
			ev.Set.Add(c.col)
		}
		set(&p.r, d, c.col, v)
	}
}

// extras keeps the fields that were asked for by name.
func (p *TSV) extras(b *event.Batch, ev *event.Event, line []byte) {
	ev.Extra = b.Fields(len(p.bound.extra))
	for _, x := range p.bound.extra {
		if v := p.field(line, x.at); !p.isUnset(v) {
			ev.Extra = append(ev.Extra, event.Field{Name: x.name, Value: p.r.text(v)})
		}
	}
}
