package zeek

import (
	"encoding/binary"
	"math/bits"

	"tidewatch/parsers/scan"
)

// quick reads a record in the form that Zeek itself writes: one flat object
// without white space, strings without escapes. It returns false for a record that
// has anything else in it, valid or not; nothing is decided about that one.
func (p *JSON) quick(line []byte) (known *path, ok bool) {
	if len(line) < 2 || line[0] != '{' {
		return nil, false
	}
	g, vals, n := &p.guess, p.vals[:cap(p.vals)], 0
	last, i := uint16(0), 1
	for {
		id := g.after[last][0]
		k := &g.keys[id]
		at := i + len(k.text)
		if !k.at(line, i) {
			if id, at = g.key(line, i, last); at == 0 {
				return nil, false
			}
		}
		last = id
		if n == len(vals) {
			return nil, false
		}
		v := &vals[n]
		if at < len(line) && line[at] == '[' {
			v.set(id, len(p.elems), 0, scan.Array)
			i = p.quickArray(line, at+1)
			v.to = uint32(len(p.elems))
		} else {
			from, to, next, kind := quickValue(line, at)
			v.set(id, from, to, kind)
			i = next
		}
		if i < 0 {
			return nil, false
		}
		if id != pathID || v.kind != scan.String {
			n++
		} else if known = p.path(line[v.from:v.to]); known.skip != nil {
			return known, true
		}
		if i >= len(line) || line[i] != ',' {
			p.vals = vals[:n]
			return known, i == len(line)-1 && line[i] == '}'
		}
		i++
	}
}

// set writes the fields where they belong: a value put together first and then
// copied is read before it has left the store buffer.
func (v *jsonValue) set(id uint16, from, to int, kind scan.Kind) {
	v.from, v.to = uint32(from), uint32(to)
	v.id, v.kind, v.esc = id, kind, false
}

// quickArray reads the elements of an array, the first of which begins at i. It
// returns where the array has ended, or -1.
func (p *JSON) quickArray(line []byte, i int) int {
	if i < len(line) && line[i] == ']' {
		return i + 1
	}
	for {
		from, to, next, kind := quickValue(line, i)
		if next < 0 || next >= len(line) {
			return -1
		}
		p.elems = append(p.elems, jsonValue{})
		p.elems[len(p.elems)-1].set(0, from, to, kind)
		switch line[next] {
		case ',':
			i = next + 1
		case ']':
			return next + 1
		default:
			return -1
		}
	}
}

// quickValue reads the value that begins at i: its text is line[from:to]. It
// returns where it has ended, or -1 if it is not a scalar or not a plain one.
func quickValue(line []byte, i int) (from, to, next int, kind scan.Kind) {
	if i >= len(line) {
		return 0, 0, -1, 0
	}
	switch c := line[i]; {
	case c == '"':
		end := stringEnd(line, i)
		if end < 0 {
			return 0, 0, -1, 0
		}
		return i + 1, end, end + 1, scan.String
	case c-'0' <= 9 || c == '-':
		end := numberEnd(line, i)
		return i, end, end, scan.Number
	case c == 't' && len(line)-i >= 4 && string(line[i:i+4]) == "true":
		return i, i + 4, i + 4, scan.True
	case c == 'f' && len(line)-i >= 5 && string(line[i:i+5]) == "false":
		return i, i + 5, i + 5, scan.False
	case c == 'n' && len(line)-i >= 4 && string(line[i:i+4]) == "null":
		return i, i + 4, i + 4, scan.Null
	}
	return 0, 0, -1, 0
}

// stringEnd returns where the string ends whose first quote should stand at i: the
// index of the second. It returns -1 if there is none, and for a string with
// escapes or control characters.
func stringEnd(line []byte, i int) int {
	if i >= len(line) || line[i] != '"' {
		return -1
	}
	for i++; i+8 <= len(line); i += 8 {
		w := binary.LittleEndian.Uint64(line[i : i+8])
		q, e := w^ones*'"', w^ones*'\\'
		// The lowest bit set is right, those above it may not be.
		if m := ((q-ones)&^q | (e-ones)&^e | (w-ones*' ')&^w) & tops; m != 0 {
			i += bits.TrailingZeros64(m) >> 3
			if line[i] != '"' {
				return -1
			}
			return i
		}
	}
	for ; i < len(line) && line[i] >= ' ' && line[i] != '\\'; i++ {
		if line[i] == '"' {
			return i
		}
	}
	return -1
}

// numberEnd returns where the number that begins at i ends, or -1 if it is none
// (RFC 8259, section 6).
func numberEnd(line []byte, i int) int {
	if line[i] == '-' {
		i++
	}
	end := digitsEnd(line, i)
	if end == i || line[i] == '0' && end > i+1 {
		return -1
	}
	if end < len(line) && line[end] == '.' {
		i = end + 1
		if end = digitsEnd(line, i); end == i {
			return -1
		}
	}
	if end < len(line) && line[end]|0x20 == 'e' {
		i = end + 1
		if i < len(line) && (line[i] == '-' || line[i] == '+') {
			i++
		}
		if end = digitsEnd(line, i); end == i {
			return -1
		}
	}
	return end
}

// digitsEnd returns the first byte from i on that is not a digit.
func digitsEnd(line []byte, i int) int {
	for ; i+8 <= len(line); i += 8 {
		x := binary.LittleEndian.Uint64(line[i:i+8]) ^ ones*'0'
		if m := (x&lows + ones*0x76 | x) & tops; m != 0 {
			return i + bits.TrailingZeros64(m)>>3
		}
	}
	for i < len(line) && line[i]-'0' <= 9 {
		i++
	}
	return i
}
