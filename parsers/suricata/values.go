package suricata

import (
	"net/netip"

	"tidewatch/event"
	"tidewatch/parsers"
	"tidewatch/parsers/scan"
)

// The functions here store the value at hand and note that its column is set. A
// null and a value of another type leave the column as it was.

// text takes strings and, as text, numbers.
func (p *Parser) text(dst *string, c event.Column) {
	if k := p.s.Kind(); k == scan.String || k == scan.Number {
		*dst = p.s.Text(p.b)
		p.ev.Set.Add(c)
	}
}

// number reads the value at hand, which may be quoted: some versions wrote an HTTP
// status so.
func (p *Parser) number() (uint64, bool) {
	if k := p.s.Kind(); k != scan.Number && k != scan.String {
		return 0, false
	}
	return scan.Uint(p.s.Bytes(p.b))
}

// is reports whether the value at hand is a certain text.
func (p *Parser) is(text string) bool {
	return p.s.Kind() == scan.String && string(p.s.Bytes(p.b)) == text
}

// isUint is scan.Uint for numbers whose value is not wanted.
func isUint(b []byte) bool {
	if len(b) <= 8 || len(b) > 16 {
		_, ok := scan.Uint(b)
		return ok
	}
	_, hi := scan.Uint(b[:8])
	_, lo := scan.Uint(b[8:])
	return hi && lo
}

func (p *Parser) uint(dst *uint64, c event.Column) {
	if v, ok := p.number(); ok {
		*dst = v
		p.ev.Set.Add(c)
	}
}

func (p *Parser) uint16(dst *uint16, c event.Column) {
	if v, ok := p.number(); ok && v < 1<<16 {
		*dst = uint16(v)
		p.ev.Set.Add(c)
	}
}

func (p *Parser) uint8(dst *uint8) bool {
	v, ok := p.number()
	if ok = ok && v < 1<<8; ok {
		*dst = uint8(v)
	}
	return ok
}

func (p *Parser) bool(dst *bool, c event.Column) {
	switch p.s.Kind() {
	case scan.True, scan.False:
		*dst = p.s.Kind() == scan.True
		p.ev.Set.Add(c)
	}
}

// hex8 reads two hex digits, as TCP flags are written.
func (p *Parser) hex8(dst *uint8, c event.Column) bool {
	raw := p.s.Bytes(p.b)
	if p.s.Kind() != scan.String || len(raw) != 2 {
		return false
	}
	v, ok := scan.Hex(raw[0], raw[1])
	if ok {
		*dst = v
		p.ev.Set.Add(c)
	}
	return ok
}

// time refuses the record if a text there is not a time.
func (p *Parser) time(dst *int64) bool {
	if p.s.Kind() != scan.String {
		return false
	}
	ns, ok := p.clock.ISO(p.s.Bytes(p.b))
	if !ok {
		p.r.reason = parsers.ReasonBadTime
		return false
	}
	*dst = ns
	return true
}

// day reads a time that nothing depends on, such as a certificate's.
func (p *Parser) day(dst *int64, c event.Column) {
	if p.s.Kind() != scan.String {
		return
	}
	if ns, ok := scan.ISO(p.s.Bytes(p.b)); ok {
		*dst = ns
		p.ev.Set.Add(c)
	}
}

// addr refuses the record if a text there is not an address. An empty one is none.
func (p *Parser) addr(dst *netip.Addr, c event.Column) {
	raw := p.s.Bytes(p.b)
	if p.s.Kind() != scan.String || len(raw) == 0 {
		return
	}
	a, ok := p.addrs.Addr(raw)
	if !ok {
		p.r.reason = parsers.ReasonBadAddr
		return
	}
	*dst = a
	p.ev.Set.Add(c)
}

// optionalAddr reads an address that nothing depends on.
func (p *Parser) optionalAddr(dst *netip.Addr, c event.Column) {
	if p.s.Kind() != scan.String {
		return
	}
	if a, ok := scan.Addr(p.s.Bytes(p.b)); ok {
		*dst = a
		p.ev.Set.Add(c)
	}
}

// proto reads the name of an IP protocol.
func (p *Parser) proto(name []byte) {
	if p.ev.Proto = scan.Proto(name); p.ev.Proto != 0 {
		p.ev.Set.Add(event.ColProto)
	}
}

// port refuses the record if a number there is not a port.
func (p *Parser) port(dst *uint16, c event.Column) {
	k := p.s.Kind()
	if k != scan.Number && k != scan.String {
		return
	}
	v, ok := scan.Uint(p.s.Bytes(p.b))
	if !ok || v >= 1<<16 {
		p.r.reason = parsers.ReasonBadPort
		return
	}
	*dst = uint16(v)
	p.ev.Set.Add(c)
}

// hash reads the text "hash" of objects such as ja3.
func (p *Parser) hash(dst *string, c event.Column) { p.inner(keyHash, dst, c) }

// inner reads the text of one member of the object at hand.
func (p *Parser) inner(key int, dst *string, c event.Column) {
	s := &p.s
	if s.Kind() != scan.Object {
		return
	}
	for k := p.enter(inInner); k != scan.End; k = p.next(inInner, k) {
		if k == key {
			p.text(dst, c)
		}
	}
}

// texts reads a list of texts; a single text is a list of one. Elements of other
// types do not count.
func (p *Parser) texts(dst *[]string, c event.Column) {
	s := &p.s
	p.list = p.list[:0]
	switch s.Kind() {
	case scan.String:
		p.list = append(p.list, s.Text(p.b))
	case scan.Array:
		for s.Enter(); s.Next(); {
			if s.Kind() == scan.String || s.Kind() == scan.Number {
				p.list = append(p.list, s.Text(p.b))
			}
		}
	default:
		return
	}
	p.keep(dst, c)
}

// keep copies the collected list to the batch.
func (p *Parser) keep(dst *[]string, c event.Column) {
	*dst = append(p.b.Strings(len(p.list)), p.list...)
	p.ev.Set.Add(c)
	clear(p.list) // the batch may go before the next list comes
}

// first reads the first text of a list, or the text there.
func (p *Parser) first(dst *string, c event.Column) {
	s := &p.s
	if s.Kind() != scan.Array {
		p.text(dst, c)
		return
	}
	n := 0
	for s.Enter(); s.Next(); n++ {
		if n == 0 {
			p.text(dst, c)
		}
	}
}
