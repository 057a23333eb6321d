package scan

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"

	"tidewatch/event"
	"tidewatch/parsers"
)

// JSON walks the members of one JSON object, one at a time, without allocating:
//
//	s.Reset(line)
//	for s.Next() {
//		switch string(s.Key()) {
//		case "id.orig_h":
//			addr, ok = scan.Addr(s.Bytes(b))
//		case "flow":
//			if s.Kind() == scan.Object {
//				for s.Enter(); s.Next(); {
//					// the members of flow
//				}
//			}
//		}
//	}
//	err := s.Err()
//
// A value that the caller does nothing with is skipped, and checked as well: a
// walk to the end accepts exactly the objects that json.Valid accepts, except that
// depth is limited to MaxDepth. A container that was entered must be walked to its
// end. Once there is an error, Next returns false at every level.
//
// Of two members with one name the later one comes later; a caller who overwrites
// does what encoding/json does.
type JSON struct {
	b      []byte
	i      int // next byte to look at
	k0, k1 int // the key without quotes; k1 < 0: it had escapes and is in keyBuf
	v0, v1 int // the value, strings without quotes; containers have no v1
	kind   Kind
	state  walkState
	esc    bool // the value is a string with escapes
	depth  int
	// stack has a bit for each open container, the innermost lowest: 1 is an object.
	stack  uint64
	err    parsers.Reason
	keyBuf []byte // grows to the longest escaped key and is kept
}

// MaxDepth is how deep objects and arrays may be nested, the outermost counted.
const MaxDepth = 64

// Kind is the type of a JSON value.
type Kind uint8

const (
	Null Kind = iota
	False
	True
	Number
	String
	Array
	Object
)

// walkState says where between two members a walk stands.
type walkState uint8

const (
	afterValue    walkState = iota
	afterOpen               // behind a bracket that was entered
	beforeBracket           // before a container that nobody has entered yet
	done                    // at the end, or at an error
)

// Reset begins a walk over line, which must hold one object and nothing else but
// white space. The walk keeps line until the next Reset.
func (s *JSON) Reset(line []byte) {
	s.b, s.err = line, ""
	s.depth, s.stack = 0, 0
	i := s.space(0)
	if i == len(line) || line[i] != '{' {
		s.fail(parsers.ReasonNotObject)
		return
	}
	s.i, s.depth, s.stack, s.state = i+1, 1, 1, afterOpen
}

// Resume begins a walk in the middle of line: in the outermost object, before the comma
// or the bracket at i. The line up to i must be the beginning of a valid object.
func (s *JSON) Resume(line []byte, i int) {
	s.b, s.i, s.err = line, i, ""
	s.depth, s.stack, s.state = 1, 1, afterValue
}

// Err returns why the walk ended before its time: nil, parsers.ReasonBadJSON or
// parsers.ReasonNotObject.
func (s *JSON) Err() error {
	if s.err == "" {
		return nil
	}
	return s.err
}

// Key returns the name of the member at hand, without quotes and escapes. It is
// valid until the next call of Next. Elements of arrays have no key.
func (s *JSON) Key() []byte {
	if s.k1 < 0 {
		return s.keyBuf
	}
	return s.b[s.k0:s.k1]
}

// Kind returns the type of the value at hand.
func (s *JSON) Kind() Kind { return s.kind }

// Raw returns the text of the scalar at hand: of a string what stands between the
// quotes, escapes included.
func (s *JSON) Raw() []byte { return s.b[s.v0:s.v1] }

// Escaped reports whether the value at hand is a string with escapes in it.
func (s *JSON) Escaped() bool { return s.esc }

// Bytes returns the text of the scalar at hand, without quotes and escapes: a view
// of the line, or of b's memory if there were escapes. Bytes that are not UTF-8 are
// kept; half a surrogate pair becomes U+FFFD, as in encoding/json.
func (s *JSON) Bytes(b *event.Batch) []byte {
	if s.esc {
		return s.unescaped(b)
	}
	return s.b[s.v0:s.v1]
}

func (s *JSON) unescaped(b *event.Batch) []byte {
	raw := s.b[s.v0:s.v1]
	return Unescape(b.Scratch(len(raw)), raw) // never longer than raw
}

// Text is Bytes as a string.
func (s *JSON) Text(b *event.Batch) string { return event.String(s.Bytes(b)) }

// Enter goes into the object or array at hand: Next then returns its members, and
// after the last one false, once. It does nothing if the value is a scalar.
func (s *JSON) Enter() {
	if s.state != beforeBracket {
		return
	}
	if s.depth == MaxDepth {
		s.fail(parsers.ReasonBadJSON)
		return
	}
	s.depth++
	s.stack <<= 1
	if s.kind == Object {
		s.stack |= 1
	}
	s.i++
	s.state = afterOpen
}

// Open is Enter for a caller who reads the first members himself: it returns the line
// and where in it they begin. He may go on with Continue, or with Next as if he had read nothing.
func (s *JSON) Open() (line []byte, at int) {
	s.Enter()
	return s.b, s.i
}

// Continue goes on in the container that was entered last, behind a member that ends at
// i, before the comma or the bracket. The line up to there must be the beginning of a valid object.
func (s *JSON) Continue(i int) { s.i, s.state = i, afterValue }

// Skip goes behind the container at hand and returns its text with brackets; of a
// scalar it returns Raw. The text is nil if it is not valid.
func (s *JSON) Skip() []byte {
	if s.state != beforeBracket {
		return s.Raw()
	}
	end := skipContainer(s.b, s.i, MaxDepth-s.depth)
	if end < 0 {
		s.fail(parsers.ReasonBadJSON)
		return nil
	}
	s.i, s.state = end, afterValue
	return s.b[s.v0:end]
}

// Next goes to the next member of the object or element of the array at hand. It
// returns false behind the last one and at an error.
func (s *JSON) Next() bool {
	i := s.member()
	return i >= 0 && s.value(i)
}

// member goes to the next member or element, behind its key if it has one, and returns
// where its value begins; -1 if there is none.
func (s *JSON) member() int {
	b, i := s.b, s.i
	if s.state == afterValue && i < len(b) && b[i] == ',' {
		i++
	} else if s.state == afterValue && i < len(b) && b[i] == '}' && s.stack&1 != 0 {
		s.leave(i + 1)
		return -1
	} else if i = s.begin(); i < 0 {
		return -1
	}
	if s.stack&1 == 0 {
		return i
	}
	if n := shortKey(b, i); n > 0 {
		s.k0, s.k1 = i+1, n
		return n + 2
	}
	return s.key(i)
}

// shortKey returns where the key that begins with a quote at i ends, if it is one of
// up to 15 bytes, without escapes and with a colon right behind it; else 0.
func shortKey(b []byte, i int) int {
	if len(b)-i < 18 || b[i] != '"' {
		return 0
	}
	t := b[i+1 : i+18]
	n := 0
	m := special(binary.LittleEndian.Uint64(t))
	if m == 0 {
		n, m = 8, special(binary.LittleEndian.Uint64(t[8:]))
	}
	n += bits.TrailingZeros64(m) >> 3 // 16 if there is none
	if n > 15 || t[n] != '"' || t[n+1] != ':' {
		return 0
	}
	return i + 1 + n
}

// key reads the key that begins at i, or behind the white space there, and its
// colon. It returns where the value begins, -1 if the key is not valid.
func (s *JSON) key(i int) int {
	b := s.b
	if i = s.space(i); i == len(b) || b[i] != '"' {
		s.fail(parsers.ReasonBadJSON)
		return -1
	}
	end, esc := closingQuote(b, i+1)
	if end < 0 {
		s.fail(parsers.ReasonBadJSON)
		return -1
	}
	s.k0, s.k1 = i+1, end
	if esc {
		s.keyBuf = Unescape(s.keyBuf[:0], b[i+1:end])
		s.k1 = -1
	}
	if i = s.space(end + 1); i == len(b) || b[i] != ':' {
		s.fail(parsers.ReasonBadJSON)
		return -1
	}
	return i + 1
}

// value reads the value that begins at i, or behind the white space there.
func (s *JSON) value(i int) bool {
	b := s.b
	if i < len(b) && b[i] == '"' {
		end, esc := closingQuote(b, i+1)
		if end < 0 {
			return s.fail(parsers.ReasonBadJSON)
		}
		s.kind, s.esc, s.state = String, esc, afterValue
		s.v0, s.v1, s.i = i+1, end, end+1
		return true
	}
	return s.otherValue(i)
}

// otherValue reads a value that is not a string, or has white space before it.
func (s *JSON) otherValue(i int) bool {
	b := s.b
	if i < len(b) && b[i] <= ' ' {
		if i = s.space(i); i < len(b) && b[i] == '"' {
			return s.value(i)
		}
	}
	if i >= len(b) {
		return s.fail(parsers.ReasonBadJSON)
	}
	s.esc, s.state, s.v0 = false, afterValue, i
	if end := PlainNumber(b, i); end > 0 {
		s.kind, s.v1, s.i = Number, end, end
		return true
	}
	end := -1
	switch c := b[i]; c {
	case '{', '[':
		s.kind, s.state, s.v1, s.i = Object, beforeBracket, i, i
		if c == '[' {
			s.kind = Array
		}
		return true
	case 't':
		s.kind = True
		end = literal(b, i, "true")
	case 'f':
		s.kind = False
		end = literal(b, i, "false")
	case 'n':
		s.kind = Null
		end = literal(b, i, "null")
	default:
		s.kind = Number
		end = numberEnd(b, i)
	}
	if end < 0 {
		return s.fail(parsers.ReasonBadJSON)
	}
	s.v1, s.i = end, end
	return true
}

// begin does what Next does when there is more than a comma between two members.
// It returns where the next one begins, -1 if there is none.
func (s *JSON) begin() int {
	switch s.state {
	case done:
		return -1
	case beforeBracket:
		if s.Skip(); s.err != "" {
			return -1
		}
	}
	i := s.i
	if i == len(s.b) || s.b[i] <= ' ' {
		i = s.space(i)
	}
	if i == len(s.b) {
		s.fail(parsers.ReasonBadJSON)
		return -1
	}
	switch c := s.b[i]; {
	case c == '}' && s.stack&1 == 1 || c == ']' && s.stack&1 == 0:
		s.leave(i + 1)
		return -1
	case s.state == afterOpen:
		return i
	case c == ',':
		return i + 1
	}
	s.fail(parsers.ReasonBadJSON)
	return -1
}

// leave ends the innermost container, whose bracket stood before i.
func (s *JSON) leave(i int) {
	s.i, s.state = i, afterValue
	s.stack >>= 1
	s.depth--
	if s.depth == 0 {
		s.state = done
		if s.space(i) != len(s.b) {
			s.fail(parsers.ReasonBadJSON)
		}
	}
}

func (s *JSON) fail(r parsers.Reason) bool {
	s.err, s.state = r, done
	s.k0, s.k1, s.v0, s.v1 = 0, 0, 0, 0
	return false
}

func (s *JSON) space(i int) int { return space(s.b, i) }

// space returns the first byte from i on that is not white space.
func space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// The scanner reads strings and numbers eight bytes at once (SWAR: "Bit Twiddling
// Hacks" by S. E. Anderson, "determine if a word has a byte less than n"). The lowest bit set
// in such a mask is always right; ones above it need not be.
const (
	ones = 0x0101010101010101
	tops = 0x8080808080808080
)

// special returns a mask of the bytes in w that do not simply belong to a string: a
// quote, a backslash, a control character. With their second bit flipped, quote and
// control characters are the bytes below '!'. None of them has the top bit.
func special(w uint64) uint64 {
	return (((w ^ ones*2) - ones*'!') | ((w ^ ones*'\\') - ones)) &^ w & tops
}

// PlainString returns where the string ends whose first byte is at i: the place of its
// closing quote. It is -1 if the string has escapes, and if it is not a valid one.
func PlainString(b []byte, i int) int {
	end, esc := closingQuote(b, i)
	if esc {
		return -1
	}
	return end
}

// closingQuote returns where the string whose first byte is at i ends, -1 if it is
// not a valid one, and whether it has escapes.
func closingQuote(b []byte, i int) (end int, esc bool) {
	for i < len(b) {
		if i <= len(b)-8 {
			m := special(binary.LittleEndian.Uint64(b[i:]))
			if m == 0 {
				i += 8
				continue
			}
			i += bits.TrailingZeros64(m) >> 3
		}
		switch c := b[i]; {
		case c == '"':
			return i, esc
		case c == '\\':
			n := escapeLen(b[i:])
			if n == 0 {
				return -1, true
			}
			i, esc = i+n, true
		case c < ' ':
			return -1, esc
		default: // near the end of b
			i++
		}
	}
	return -1, esc
}

// escapeLen returns how long the escape sequence is that b begins with, 0 if it is
// not a valid one.
func escapeLen(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if len(b) < 6 {
			return 0
		}
		if _, ok := Hex(b[2], b[3]); !ok {
			return 0
		}
		if _, ok := Hex(b[4], b[5]); !ok {
			return 0
		}
		return 6
	}
	return 0
}

// digitsEnd returns the first byte from i on that is not a digit.
func digitsEnd(b []byte, i int) int {
	for ; i <= len(b)-8; i += 8 {
		x := binary.LittleEndian.Uint64(b[i:]) ^ ones*'0'
		if m := (x | (x&^tops + ones*0x76)) & tops; m != 0 {
			return i + bits.TrailingZeros64(m)>>3
		}
	}
	for i < len(b) && b[i]-'0' <= 9 {
		i++
	}
	return i
}

// PlainNumber returns where the number of a member ends that begins at i. It is -1 if it has
// more than digits, and if it is not a valid one.
func PlainNumber(b []byte, i int) int {
	end := digitsEnd(b, i)
	if end == i || end >= len(b) || b[end] != ',' && b[end] != '}' || b[i] == '0' && end > i+1 {
		return -1
	}
	return end
}

// numberEnd returns where the number that begins at i ends, -1 if it is not a valid
// one (RFC 8259, section 6).
func numberEnd(b []byte, i int) int {
	if i < len(b) && b[i] == '-' {
		i++
	}
	n := digitsEnd(b, i)
	if n == i || n > i+1 && b[i] == '0' {
		return -1
	}
	if n < len(b) && b[n] == '.' {
		i, n = n+1, digitsEnd(b, n+1)
		if n == i {
			return -1
		}
	}
	if n < len(b) && b[n]|0x20 == 'e' {
		i = n + 1
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		if n = digitsEnd(b, i); n == i {
			return -1
		}
	}
	return n
}

// literal returns where word ends, which should stand at i; -1 if it does not.
func literal(b []byte, i int, word string) int {
	if len(b)-i < len(word) || string(b[i:i+len(word)]) != word {
		return -1
	}
	return i + len(word)
}

// skipContainer returns the end of the object or array that begins at i, -1 if it is
// not valid or deeper than depth.
func skipContainer(b []byte, i, depth int) int {
	var stack uint64
	open := 0
	for {
		// At a value.
		if i = space(b, i); i == len(b) {
			return -1
		}
		switch c := b[i]; c {
		case '{', '[':
			if open == depth {
				return -1
			}
			open++
			stack <<= 1
			closer := byte(']')
			if c == '{' {
				stack |= 1
				closer = '}'
			}
			if i = space(b, i+1); i < len(b) && b[i] == closer {
				break
			}
			if c == '{' {
				i = skipKey(b, i)
			}
			if i < 0 {
				return -1
			}
			continue
		default:
			if i = scalarEnd(b, i); i < 0 {
				return -1
			}
		}
		// Behind a value, or at the bracket of an empty container.
		if i, open, stack = skipBetween(b, i, open, stack); open == 0 || i < 0 {
			return i
		}
	}
}

// skipBetween goes from the end of a value over closing brackets and a comma, and in
// an object over the key, to the next value. open is 0 if there is none.
func skipBetween(b []byte, i, open int, stack uint64) (int, int, uint64) {
	for {
		if i < len(b) && b[i] <= ' ' {
			i = space(b, i)
		}
		if i >= len(b) {
			return -1, open, stack
		}
		switch c := b[i]; {
		case c == ',' && stack&1 == 0:
			return i + 1, open, stack
		case c == ',':
			return skipKey(b, i+1), open, stack
		case c == '}' && stack&1 == 1 || c == ']' && stack&1 == 0:
			i, open, stack = i+1, open-1, stack>>1
			if open == 0 {
				return i, 0, 0
			}
		default:
			return -1, open, stack
		}
	}
}

// skipKey returns the byte behind the colon of the member that begins at i, or -1.
func skipKey(b []byte, i int) int {
	if i = space(b, i); i == len(b) || b[i] != '"' {
		return -1
	}
	if i, _ = closingQuote(b, i+1); i < 0 {
		return -1
	}
	if i = space(b, i+1); i == len(b) || b[i] != ':' {
		return -1
	}
	return i + 1
}

// scalarEnd returns the byte behind the string, number or word that begins at i, or -1.
func scalarEnd(b []byte, i int) int {
	switch b[i] {
	case '"':
		end, _ := closingQuote(b, i+1)
		if end < 0 {
			return -1
		}
		return end + 1
	case 't':
		return literal(b, i, "true")
	case 'f':
		return literal(b, i, "false")
	case 'n':
		return literal(b, i, "null")
	}
	return numberEnd(b, i)
}

// Unescape appends raw, the inside of a valid JSON string, to dst without its
// escapes and returns the result, which is never longer than raw.
func Unescape(dst, raw []byte) []byte {
	for i := 0; i < len(raw); {
		if raw[i] != '\\' {
			j := i + 1
			for j < len(raw) && raw[j] != '\\' {
				j++
			}
			dst = append(dst, raw[i:j]...)
			i = j
			continue
		}
		switch c := raw[i+1]; c {
		case 'u':
			r, n := utf16At(raw[i:])
			dst = utf8.AppendRune(dst, r)
			i += n
			continue
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		default: // quote, backslash, slash
			dst = append(dst, c)
		}
		i += 2
	}
	return dst
}

// utf16At reads \uXXXX, or two of them that make a surrogate pair, and returns the
// character and how many bytes it took.
func utf16At(b []byte) (rune, int) {
	r := hex4(b[2:])
	if r < 0xD800 || r > 0xDFFF {
		return r, 6
	}
	if r <= 0xDBFF && len(b) >= 12 && b[6] == '\\' && b[7] == 'u' {
		if low := hex4(b[8:]); 0xDC00 <= low && low <= 0xDFFF {
			return 0x10000 + (r-0xD800)<<10 + low - 0xDC00, 12
		}
	}
	return utf8.RuneError, 6
}

func hex4(b []byte) rune {
	hi, _ := Hex(b[0], b[1])
	lo, _ := Hex(b[2], b[3])
	return rune(hi)<<8 | rune(lo)
}
