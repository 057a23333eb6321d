package zeek

import (
	"bytes"
	"math"
	"slices"

	"tidewatch/event"
	"tidewatch/parsers"
	"tidewatch/parsers/scan"
)

// ReasonTooManyFields is the Reason for a JSON record with more fields than any
// log has columns.
const ReasonTooManyFields parsers.Reason = "too many fields"

const (
	// maxDepth is how deep objects in a record are looked into: id.ctx.vlan.
	maxDepth = 3
	// quickFields is the most fields of a record that is read the quick way.
	quickFields = 256
	// maxPaths bounds how many different paths a file can make us remember.
	maxPaths = 256
	// maxKept is how many elements of arrays stay allocated between records.
	maxKept = 1 << 12
)

// JSON reads one log file of JSON records. Each record says by its _path, or by
// the names of its fields, what kind it is.
type JSON struct {
	wanted []string // Options.Extra
	walk   scan.JSON
	guess  guesser
	name   []byte // of the field at hand, if it lies in an object inside the record
	vals   []jsonValue
	elems  []jsonValue
	line   []byte // the record
	r      reader

	paths    map[string]*path
	lastPath *path
}

// path is what one value of _path means.
type path struct {
	name   string
	stream stream
	skip   *parsers.Skip
}

// jsonValue is one field of a record, or an element of an array.
type jsonValue struct {
	// Where it stands in the line: a string without its quotes. The elements of an
	// array are elems[from:to].
	from, to uint32
	id       uint16 // the name of a field
	kind     scan.Kind
	esc      bool // it is a string with escapes
}

// NewJSON returns a parser for one log file.
func NewJSON(opts parsers.Options) *JSON {
	p := &JSON{wanted: opts.Extra, guess: newGuesser(), paths: map[string]*path{}}
	p.r.json, p.r.long, p.r.unset1, p.r.rare = true, true, -1, true
	p.lastPath = &path{}
	p.vals = make([]jsonValue, 0, quickFields)
	return p
}

// Parse implements parsers.Parser.
func (p *JSON) Parse(b *event.Batch, ev *event.Event, line []byte) error {
	line = bytes.TrimPrefix(line, bom)
	if len(line) == 0 || line[0] == '\r' && len(line) == 1 {
		return parsers.ErrMeta
	}
	if line[0] == 0 {
		return parsers.ReasonNUL
	}
	known, err := p.read(line)
	if err != nil {
		return err
	}
	s, err := p.stream(known)
	if err != nil {
		return err
	}
	r := &p.r
	r.start(b, ev, line, s, &noColumns)
	r.slots, r.vals, r.elems = noSlots, p.vals, p.elems
	p.place(s.kind)
	r.common(ev)
	r.columns(ev)
	if p.wanted != nil {
		p.extras(b, ev)
	}
	return r.finish(ev)
}

var (
	noColumns event.Columns
	noSlots   = func() (t [256]int16) {
		for i := range t {
			t[i] = -1
		}
		return t
	}()
)

// read finds the fields of a record, and what its _path means.
func (p *JSON) read(line []byte) (*path, error) {
	if cap(p.elems) > maxKept {
		p.elems = nil
	}
	p.r.plain = true
	p.line, p.vals, p.elems, p.guess.last = line, p.vals[:0], p.elems[:0], 0
	if known, ok := p.quick(line); ok {
		return known, nil
	}
	p.vals, p.elems, p.guess.last = p.vals[:0], p.elems[:0], 0
	p.r.plain = false
	p.walk.Reset(line)
	return p.fields()
}

// fields walks the record and keeps the fields that mean something. It returns
// what its _path means, nil if it has none. At the path of a log of no use it ends.
func (p *JSON) fields() (*path, error) {
	var known *path
	for p.walk.Next() {
		id := p.guess.id(p.walk.Key())
		if p.walk.Kind() == scan.Object {
			p.name = append(p.name[:0], p.walk.Key()...)
			if err := p.object(1); err != nil {
				return nil, err
			}
			continue
		}
		if id == pathID && p.walk.Kind() == scan.String {
			if known = p.path(p.walk.Raw()); known.skip != nil {
				return known, nil
			}
			continue
		}
		if err := p.keep(id); err != nil {
			return nil, err
		}
	}
	return known, p.walk.Err()
}

var pathID = words.ids["_path"]

// object walks an object inside the record. Its fields are called as they are in
// a flat record.
func (p *JSON) object(depth int) error {
	p.walk.Enter()
	size := len(p.name)
	for p.walk.Next() {
		p.name = append(append(p.name[:size], '.'), p.walk.Key()...)
		if p.walk.Kind() == scan.Object && depth < maxDepth {
			if err := p.object(depth + 1); err != nil {
				return err
			}
			continue
		}
		if err := p.keep(p.guess.id(p.name)); err != nil {
			return err
		}
	}
	return nil
}

// keep keeps the field at hand, if its name means anything.
func (p *JSON) keep(id uint16) error {
	if int(id) >= len(words.names) || id == 0 {
		if id == 0 || p.wanted == nil || !slices.Contains(p.wanted, p.guess.names[id]) {
			return nil
		}
	}
	if len(p.vals) == maxColumns {
		return ReasonTooManyFields
	}
	v := p.here()
	v.id = id
	switch v.kind {
	case scan.Array:
		v.from = uint32(len(p.elems))
		p.walk.Enter()
		for p.walk.Next() {
			p.elems = append(p.elems, p.here())
		}
		v.to = uint32(len(p.elems))
	case scan.Object:
		return nil
	}
	p.vals = append(p.vals, v)
	return nil
}

// here returns the value at hand. Of an array or object it has the kind only.
func (p *JSON) here() jsonValue {
	v := jsonValue{kind: p.walk.Kind(), esc: p.walk.Escaped()}
	if v.kind != scan.Array && v.kind != scan.Object {
		raw := p.walk.Raw()
		v.from = uint32(cap(p.line) - cap(raw)) // raw is a part of the line
		v.to = v.from + uint32(len(raw))
	}
	return v
}

// path returns what a _path means.
func (p *JSON) path(raw []byte) *path {
	if string(raw) == p.lastPath.name {
		return p.lastPath
	}
	k, ok := p.paths[string(raw)]
	if !ok {
		k = newPath(string(raw))
		if len(p.paths) < maxPaths {
			p.paths[k.name] = k
		}
	}
	p.lastPath = k
	return k
}

func newPath(name string) *path {
	k := &path{name: name}
	var ok bool
	if k.stream, ok = streamOf(name); !ok {
		k.skip = &parsers.Skip{Name: skipName(name)}
	}
	return k
}

// stream returns what log the record is of.
func (p *JSON) stream(known *path) (stream, error) {
	if known != nil {
		if known.skip != nil {
			return stream{}, known.skip
		}
		return known.stream, nil
	}
	rank, action, name := uint8(noTell), false, false
	for i := range p.vals {
		id := p.vals[i].id
		if int(id) >= len(words.names) {
			continue
		}
		rank = min(rank, words.tells[id])
		action = action || id == actionID
		name = name || id == nameID
	}
	switch {
	case rank != noTell:
		return stream{kind: tellTales[rank].kind}, nil
	case action && name:
		return stream{kind: event.KindSMB}, nil
	}
	return stream{}, parsers.ReasonNoKind
}

var actionID, nameID = words.ids["action"], words.ids["name"]

// place points the slots of the kind's columns to the record's values. Of two
// fields with one name the last counts; a null is no value.
func (p *JSON) place(k event.Kind) {
	means := words.means[k]
	seconds, nulls := false, false
	var set event.Columns // in registers: each value ORs all four words
	for i := range p.vals {
		v := &p.vals[i]
		if int(v.id) >= len(means) {
			continue
		}
		m := &means[v.id]
		if !m.known || m.second || v.kind == scan.Null {
			seconds = seconds || m.second
			nulls = nulls || v.kind == scan.Null
			continue
		}
		p.r.slots[m.col] = int16(i)
		for w := range set {
			set[w] |= m.bits[w]
		}
	}
	*p.r.set = set
	if nulls {
		p.placeNulls(means)
	}
	if seconds {
		p.placeSeconds(means)
	}
	p.r.set[len(p.r.set)-1] &^= codeBits
	p.r.rare = p.r.set[0]&rareBits != 0
}

// rareBits are the bits of the common columns that few logs have. They all are in
// a set's first word.
const rareBits = 1<<event.ColCommunityID | 1<<event.ColVLAN | 1<<event.ColInnerVLAN | 1<<event.ColWritten

// placeNulls takes back what a later null of the same name overrules.
func (p *JSON) placeNulls(means []meaning) {
	for i := range p.vals {
		v := &p.vals[i]
		if v.kind != scan.Null || int(v.id) >= len(means) || !means[v.id].known || means[v.id].second {
			continue
		}
		if c := means[v.id].col; p.r.slots[c] >= 0 && int(p.r.slots[c]) < i {
			p.r.slots[c] = -1
			p.r.set.Remove(c)
		}
	}
}

// codeBits are the bits that codes, which are no columns, have in a set.
var codeBits = func() uint64 {
	var s event.Columns
	for c := colExtra; c != 0; c++ {
		s.Add(c)
	}
	return s[len(s)-1]
}()

// placeSeconds is place for names of second rank: they count where the record has
// no other for the same column.
func (p *JSON) placeSeconds(means []meaning) {
	first := p.r.slots
	for i := range p.vals {
		v := &p.vals[i]
		if int(v.id) >= len(means) || !means[v.id].second {
			continue
		}
		c := means[v.id].col
		switch {
		case first[c] >= 0:
		case v.kind == scan.Null:
			p.r.slots[c] = -1
			p.r.set.Remove(c)
		default:
			p.r.slots[c] = int16(i)
			p.r.set.Add(c)
		}
	}
}

// extras keeps the fields that were asked for by name and mean nothing to us.
func (p *JSON) extras(b *event.Batch, ev *event.Event) {
	n := 0
	for i := range p.vals {
		if p.isExtra(i, ev.Kind) {
			n++
		}
	}
	if n == 0 {
		return
	}
	ev.Extra = b.Fields(n)
	for i := range p.vals {
		if v := &p.vals[i]; p.isExtra(i, ev.Kind) {
			raw := p.r.jsonField(i)
			ev.Extra = append(ev.Extra, event.Field{Name: p.guess.names[v.id], Value: p.r.jsonText(raw)})
		}
	}
}

func (p *JSON) isExtra(i int, k event.Kind) bool {
	v := &p.vals[i]
	known := int(v.id) < len(words.means[k]) && words.means[k][v.id].known
	return !known && v.kind != scan.Null && slices.Contains(p.wanted, p.guess.names[v.id])
}

// jsonField returns the raw text of value i, which then is the one at hand; of an
// array nothing.
func (r *reader) jsonField(i int) []byte {
	r.cur = i
	v := &r.vals[i]
	if v.kind == scan.Array {
		return nil
	}
	return r.line[v.from:v.to]
}

// jsonText returns the text of the value at hand.
func (r *reader) jsonText(v []byte) string { return r.jsonString(v, r.vals[r.cur].esc) }

// jsonString decodes a string's raw text.
func (r *reader) jsonString(v []byte, esc bool) string {
	if !esc {
		return event.String(v)
	}
	return event.String(binaryEscapes(scan.Unescape(r.b.Scratch(len(v)), v)))
}

// binaryEscapes decodes, in place, what Zeek writes into JSON for bytes that are
// not valid UTF-8 and for control characters: \xNN, where a backslash of the text
// itself looks the same, so that printable NN are taken for text; or, from 9.0 on
// and if configured so, the private code points U+F0000 to U+F00FF. Zeek 8.1 wrote
// \u00NN, which cannot be told from a character.
func binaryEscapes(v []byte) []byte {
	out := v[:0]
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case c == '\\':
			if n, ok := hexEscape(v[i+1:]); ok && (n < ' ' || n > '~') {
				out = append(out, n)
				i += 3
				continue
			}
		case c == 0xF3 && i+3 < len(v) && v[i+1] == 0xB0 && v[i+2]&0xFC == 0x80 && v[i+3]&0xC0 == 0x80:
			out = append(out, v[i+2]<<6|v[i+3]&0x3F)
			i += 3
			continue
		}
		out = append(out, v[i])
	}
	return out
}

// jsonList returns the elements of the array at hand; a scalar is an array of one.
func (r *reader) jsonList(v []byte) []string {
	cur := &r.vals[r.cur]
	if cur.kind != scan.Array {
		return append(r.b.Strings(1), r.jsonText(v))
	}
	elems := r.elems[cur.from:cur.to]
	if len(elems) == 0 {
		return nil
	}
	out := r.b.Strings(len(elems))
	for i := range elems {
		s := ""
		if e := &elems[i]; e.kind != scan.Null {
			s = r.jsonString(r.line[e.from:e.to], e.esc)
		}
		out = append(out, s)
	}
	return out
}

// jsonTTLs is jsonList for intervals in seconds.
func (r *reader) jsonTTLs(v []byte) []uint32 {
	cur := &r.vals[r.cur]
	if cur.kind != scan.Array {
		return append(r.b.TTLs(1), r.ttl(v))
	}
	elems := r.elems[cur.from:cur.to]
	if len(elems) == 0 {
		return nil
	}
	out := r.b.TTLs(len(elems))
	for i := range elems {
		n := uint32(0)
		if elems[i].kind != scan.Null {
			n = r.ttl(r.line[elems[i].from:elems[i].to])
		}
		out = append(out, n)
	}
	return out
}

// jsonTime reads a time: ISO, seconds since 1970 or, told by their size, milliseconds.
func (r *reader) jsonTime(v []byte) int64 {
	if len(v) > 4 && v[4] == '-' {
		return r.isoTime(v)
	}
	scale := 6 // to microseconds
	if wholeDigits(v) > 11 {
		scale = 3
	}
	us, ok := scan.Decimal(v, scale)
	if !ok || us > math.MaxInt64/1000 || us < math.MinInt64/1000 {
		r.fail(parsers.ReasonBadTime)
		return 0
	}
	return us * 1000
}

// isoTime reads an ISO time. Zeek rounds the fraction by itself: .9999996 becomes
// .1000000, one digit more than it has otherwise, which means a whole second.
func (r *reader) isoTime(v []byte) int64 {
	var carry int64
	if len(v) == 28 && string(v[19:]) == ".1000000Z" {
		v, carry = v[:19], 1e9
	}
	ns, ok := r.clock.ISO(v)
	if !ok || ns > math.MaxInt64-carry {
		r.fail(parsers.ReasonBadTime)
	}
	return ns + carry
}

// wholeDigits counts the digits before the point.
func wholeDigits(v []byte) int {
	n := 0
	for _, c := range v {
		if c == '.' || c|0x20 == 'e' {
			break
		}
		if c != '-' {
			n++
		}
	}
	return n
}
