package zeek

import (
	"bytes"
	"math"
	"net/netip"

	"tidewatch/event"
	"tidewatch/parsers"
	"tidewatch/parsers/scan"
)

// reader turns the text of one record's fields into values. Fields of a TSV line
// come as they stand there, those of a JSON line as jsonValue describes.
//
// A value that cannot be read leaves its reason in bad. The parser looks there
// once, after the last field: one bad value refuses the record.
type reader struct {
	b     *event.Batch
	bad   error
	timed bool // the record had a time
	plain bool // no field of the line has an escape sequence
	json  bool
	typ   jsonType // of the field being read, if json

	// The only sender and the only receiver of a file, in old logs.
	tx, rx netip.Addr

	// How TSV writes what has no text of its own.
	empty, unset, setSep []byte
}

// text returns a string, decoded.
func (r *reader) text(v []byte) string {
	if r.json {
		return r.jsonText(v)
	}
	if len(v) == len(r.empty) && string(v) == string(r.empty) {
		return ""
	}
	if r.plain {
		return event.String(v)
	}
	return r.unescape(v)
}

// unescape decodes \xNN and \\. Zeek before 2.2 did not double a backslash: one
// that begins neither stands for itself.
func (r *reader) unescape(v []byte) string {
	i := bytes.IndexByte(v, '\\')
	if i < 0 {
		return event.String(v)
	}
	out := append(r.b.Scratch(len(v)), v[:i]...)
	for i < len(v) {
		c := v[i]
		i++
		if c == '\\' && i < len(v) {
			if v[i] == '\\' {
				i++
			} else if n, ok := hexEscape(v[i:]); ok {
				c = n
				i += 3
			}
		}
		out = append(out, c)
	}
	return event.String(out)
}

// hexEscape reads "xNN".
func hexEscape(v []byte) (byte, bool) {
	if len(v) < 3 || v[0] != 'x' {
		return 0, false
	}
	return scan.Hex(v[1], v[2])
}

// list returns the elements of a set or vector. An unset element is "".
func (r *reader) list(v []byte) []string {
	if r.json {
		return r.jsonList(v)
	}
	if len(v) == len(r.empty) && string(v) == string(r.empty) {
		return nil
	}
	out := r.b.Strings(r.count(v))
	for {
		e, rest, more := r.element(v)
		if string(e) == string(r.unset) {
			e = nil
		}
		out = append(out, r.text(e))
		if !more {
			return out
		}
		v = rest
	}
}

// count returns how many elements the text of a set or vector has.
func (r *reader) count(v []byte) int {
	if len(r.setSep) == 0 {
		return 1
	}
	return 1 + bytes.Count(v, r.setSep)
}

// element cuts the first element off.
func (r *reader) element(v []byte) (e, rest []byte, more bool) {
	if len(r.setSep) == 1 {
		if i := bytes.IndexByte(v, r.setSep[0]); i >= 0 {
			return v[:i], v[i+1:], true
		}
		return v, nil, false
	}
	if len(r.setSep) == 0 {
		return v, nil, false
	}
	return bytes.Cut(v, r.setSep)
}

// ttls returns a vector of intervals in whole seconds.
func (r *reader) ttls(v []byte) []uint32 {
	if r.json {
		return r.jsonTTLs(v)
	}
	if len(v) == len(r.empty) && string(v) == string(r.empty) {
		return nil
	}
	out := r.b.TTLs(r.count(v))
	for {
		e, rest, more := r.element(v)
		if string(e) == string(r.unset) {
			out = append(out, 0)
		} else {
			out = append(out, r.ttl(e))
		}
		if !more {
			return out
		}
		v = rest
	}
}

// ttl returns an interval in whole seconds, rounded.
func (r *reader) ttl(v []byte) uint32 {
	if n := len(v) - len(".000000"); n > 0 && string(v[n:]) == ".000000" {
		v = v[:n]
	}
	if n, ok := scan.Uint(v); ok {
		return uint32(min(n, math.MaxUint32))
	}
	n, ok := scan.Decimal(v, 0)
	if !ok {
		r.fail(parsers.ReasonBadNumber)
	}
	return uint32(min(max(n, 0), math.MaxUint32))
}

// fail takes a constant: making an error of another Reason would allocate.
func (r *reader) fail(why error) {
	if r.bad == nil {
		r.bad = why
	}
}

func (r *reader) num(v []byte) uint64 {
	n, ok := scan.Uint(v)
	if !ok {
		n = r.slowNum(v)
	}
	return n
}

// slowNum reads what JSON can make of a count, such as 1e3 or 5.0. A negative one
// is no count.
func (r *reader) slowNum(v []byte) uint64 {
	n, ok := scan.Decimal(v, 0)
	if !ok || n < 0 || !r.json {
		r.fail(parsers.ReasonBadNumber)
		return 0
	}
	return uint64(n)
}

// Numbers above what their column holds are taken as its greatest: who sends an
// absurd one shall not hide the record that way.

func (r *reader) num16(v []byte) uint16 { return uint16(min(r.num(v), math.MaxUint16)) }
func (r *reader) num32(v []byte) uint32 { return uint32(min(r.num(v), math.MaxUint32)) }

// port returns a port. JSON and TSV write it as a number; ConvertFrom tools append
// "/tcp".
func (r *reader) port(v []byte) uint16 {
	n, ok := scan.Uint(v)
	if !ok {
		if i := bytes.IndexByte(v, '/'); i > 0 {
			n, ok = scan.Uint(v[:i])
		}
	}
	if !ok || n > math.MaxUint16 {
		r.fail(parsers.ReasonBadPort)
	}
	return uint16(n)
}

func (r *reader) addr(v []byte) netip.Addr {
	a, ok := scan.Addr(v)
	if !ok {
		r.fail(parsers.ReasonBadAddr)
	}
	return a
}

// truth reads T or F, in JSON true or false.
func (r *reader) truth(v []byte) bool {
	switch string(v) {
	case "T", "true":
		return true
	case "F", "false":
		return false
	}
	r.fail(ReasonBadBool)
	return false
}

// ReasonBadBool is the Reason for a truth value that is none.
const ReasonBadBool parsers.Reason = "neither T nor F"

// soleHost returns the address in a set that has one element only.
func (r *reader) soleHost(v []byte) netip.Addr {
	if l := r.list(v); len(l) == 1 {
		a, _ := netip.ParseAddr(l[0])
		return a.WithZone("").Unmap()
	}
	return netip.Addr{}
}

// interval returns nanoseconds. JSON writes an interval with all digits of a
// double, TSV rounds to microseconds: both are rounded, so that both forms of a
// log are the same.
func (r *reader) interval(v []byte) int64 {
	if !r.json {
		ns, ok := scan.Seconds(v)
		if !ok {
			r.fail(parsers.ReasonBadNumber)
		}
		return ns
	}
	us, ok := scan.Decimal(v, 6)
	if !ok || us > math.MaxInt64/1000 || us < math.MinInt64/1000 {
		r.fail(parsers.ReasonBadNumber)
		return 0
	}
	return us * 1000
}

// time returns Unix nanoseconds.
func (r *reader) time(v []byte) int64 {
	if r.json {
		return r.jsonTime(v)
	}
	ns, ok := scan.Epoch(v)
	if !ok {
		r.fail(parsers.ReasonBadTime)
	}
	return ns
}
