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
	i := 1
	for {
		id, at := p.guess.key(line, i)
		if at == 0 || len(p.vals) == maxColumns {
			return nil, false
		}
		v := jsonValue{id: id}
		if at < len(line) && line[at] == '[' {
			v.from, v.kind = int32(len(p.elems)), scan.Array
			if i = p.quickArray(line, at+1); i < 0 {
				return nil, false
			}
			v.to = int32(len(p.elems))
		} else if v.jsonElem, i = quickValue(line, at); i < 0 {
			return nil, false
		}
		switch {
		case id == pathID && v.kind == scan.String:
			if known = p.path(v.raw); known.skip != nil {
				return known, true
			}
		case id != 0 && (int(id) < len(words.names) || p.wanted != nil):
			p.vals = append(p.vals, v)
		}
		if i >= len(line) || line[i] != ',' {
			return known, i == len(line)-1 && line[i] == '}'
		}
		i++
	}
}

// quickArray reads the elements of an array, the first of which begins at i. It
// returns where the array has ended, or -1.
func (p *JSON) quickArray(line []byte, i int) int {
	if i < len(line) && line[i] == ']' {
		return i + 1
	}
	for {
		e, next := quickValue(line, i)
		if next < 0 || next >= len(line) {
			return -1
		}
		p.elems = append(p.elems, e)
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

// quickValue reads the value that begins at i, and returns where it has ended, or
// -1 if it is not a scalar or not a plain one.
func quickValue(line []byte, i int) (jsonElem, int) {
	if i >= len(line) {
		return jsonElem{}, -1
	}
	switch c := line[i]; {
	case c == '"':
		end := stringEnd(line, i)
		if end < 0 {
			return jsonElem{}, -1
		}
		return jsonElem{raw: line[i+1 : end], kind: scan.String}, end + 1
	case c-'0' <= 9 || c == '-':
		end := numberEnd(line, i)
		if end < 0 {
			return jsonElem{}, -1
		}
		return jsonElem{raw: line[i:end], kind: scan.Number}, end
	case c == 't' && len(line)-i >= 4 && string(line[i:i+4]) == "true":
		return jsonElem{raw: line[i : i+4], kind: scan.True}, i + 4
	case c == 'f' && len(line)-i >= 5 && string(line[i:i+5]) == "false":
		return jsonElem{raw: line[i : i+5], kind: scan.False}, i + 5
	case c == 'n' && len(line)-i >= 4 && string(line[i:i+4]) == "null":
		return jsonElem{kind: scan.Null}, i + 4
	}
	return jsonElem{}, -1
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
	for i < len(line) && line[i]-'0' <= 9 {
		i++
	}
	return i
}
