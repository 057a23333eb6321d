package zeek

import (
	"bytes"
	"encoding/binary"
)

const (
	ones  = 0x0101010101010101
	lows  = 0x7F7F7F7F7F7F7F7F
	pair  = 0x0000000100000001 // one in each half
	width = 4                  // bytes of a position
	slack = 8 * width          // splitByte writes up to so much beyond the last one
)

// after[m] holds for each bit of m its index plus one, as four pairs of 32-bit
// numbers.
var after = func() (t [256][4]uint64) {
	for m := range t {
		n := 0
		for bit := range uint64(8) {
			if m>>bit&1 != 0 {
				t[m][n/2] |= (bit + 1) << (n % 2 * 32)
				n++
			}
		}
	}
	return t
}()

// splitByte finds the bytes of line that are sep. It writes where each field
// begins to starts, 32 bits each, and behind them where one after the last would:
// field i is line[starts[i] : starts[i+1]-1]. It returns the number of fields, or
// -1 if there are more than starts has room for, less slack.
//
// Eight bytes are compared at once, and for each eight, four positions are written
// at once, from a table, whether there are as many or not; those that are none are
// overwritten by the next. How many fields end in eight bytes is what a branch
// could not foresee.
func splitByte(line []byte, sep byte, starts []byte) int {
	binary.LittleEndian.PutUint32(starts, 0)
	n, limit := width, len(starts)-slack
	pattern := uint64(sep) * ones
	at := uint64(0) // the index in line, in both halves
	rest := line
	for len(rest) >= 8 {
		x := binary.LittleEndian.Uint64(rest) ^ pattern
		rest = rest[8:]
		m := ^((x&lows + lows) | x | lows) >> 7 // a bit in each byte that is sep
		if n > limit {
			return -1
		}
		out := starts[n : n+slack : n+slack]
		found := &after[m*0x0102040810204080>>56]
		count := m * ones >> 56
		binary.LittleEndian.PutUint64(out, at+found[0])
		binary.LittleEndian.PutUint64(out[8:], at+found[1])
		if count > 4 { // empty fields
			binary.LittleEndian.PutUint64(out[16:], at+found[2])
			binary.LittleEndian.PutUint64(out[24:], at+found[3])
		}
		n += int(count) * width
		at += 8 * pair
	}
	for i, c := range rest {
		if c == sep {
			if n > limit {
				return -1
			}
			binary.LittleEndian.PutUint32(starts[n:], uint32(at)+uint32(i)+1)
			n += width
		}
	}
	if n > limit {
		return -1
	}
	binary.LittleEndian.PutUint32(starts[n:], uint32(len(line))+1)
	return n / width
}

// splitText is splitByte for a separator of several bytes: field i is
// line[starts[i] : starts[i+1]-len(sep)].
func splitText(line, sep, starts []byte) int {
	binary.LittleEndian.PutUint32(starts, 0)
	n, at := width, 0
	for {
		i := bytes.Index(line[at:], sep)
		if i < 0 {
			break
		}
		if n > len(starts)-slack {
			return -1
		}
		at += i + len(sep)
		binary.LittleEndian.PutUint32(starts[n:], uint32(at))
		n += width
	}
	if n > len(starts)-slack {
		return -1
	}
	binary.LittleEndian.PutUint32(starts[n:], uint32(len(line)+len(sep)))
	return n / width
}
