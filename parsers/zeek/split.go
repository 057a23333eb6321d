package zeek

import (
	"bytes"
	"encoding/binary"
)

const (
	ones  = 0x0101010101010101
	lows  = 0x7F7F7F7F7F7F7F7F
	tops  = 0x8080808080808080
	lanes = 0x0001000100010001 // one in each of four 16-bit numbers
	// maxColumns bounds what a header can make us keep. Zeek's widest log has about
	// a hundred columns.
	maxColumns = 2046
	// maxNarrow is the longest line whose positions fit in 16 bits.
	maxNarrow = 1<<16 - 2
)

// positions are 16-bit numbers, for maxColumns fields, the end, and what splitByte
// may write behind it.
type positions [2*(maxColumns+2) + 16]byte

// after[m] holds for each of the first four bits of m its index plus one, as
// 16-bit numbers, more[m] those of the other four. counts[m] is how many bytes of
// such numbers m stands for.
var after, more, counts = func() (a, b [256]uint64, n [256]uint8) {
	for m := range a {
		for bit := range uint64(8) {
			if m>>bit&1 == 0 {
				continue
			}
			if n[m] < 8 {
				a[m] |= (bit + 1) << (8 * n[m])
			} else {
				b[m] |= (bit + 1) << (8 * (n[m] - 8))
			}
			n[m] += 2
		}
	}
	return a, b, n
}()

// splitByte finds the bytes of line that are sep. It writes where each field
// begins to starts, and behind them where one after the last would: field i is
// line[starts[i] : starts[i+1]-1]. It returns the number of fields; if there are
// more than maxColumns, starts is of no use. It also says whether the line has no
// backslash. The line is not longer than maxNarrow, and sep is neither a backslash
// nor 0.
//
// Eight bytes are compared at once, and for each eight, four positions are written
// at once, from a table, whether there are as many or not; those that are none are
// overwritten by the next. How many fields end in eight bytes is what a branch
// could not foresee.
func splitByte(line []byte, sep byte, starts *positions) (n int, plain bool) {
	const wrap = 2 * (maxColumns + 2) // a power of two
	binary.LittleEndian.PutUint16(starts[:], 0)
	n = 2
	pattern := uint64(sep) * ones
	var at, slashes uint64
	i := 0
	for ; i+8 <= len(line); i += 8 {
		w := binary.LittleEndian.Uint64(line[i : i+8])
		x := w ^ pattern
		m := ^(x&lows + lows | x) & tops // the top bit of each byte that is sep
		m = m * 0x0002040810204081 >> 56 // the top bits side by side
		w ^= '\\' * ones
		slashes |= (w - ones) &^ w // has a top bit if there was a backslash
		out := (*[16]byte)(starts[n&(wrap-1):])
		binary.LittleEndian.PutUint64(out[:], at+after[m])
		if more[m] != 0 { // empty fields
			binary.LittleEndian.PutUint64(out[8:], at+more[m])
		}
		n += int(counts[m])
		at += 8 * lanes
	}
	if i < len(line) {
		w := lastBytes(line, i)
		x := w ^ pattern
		m := ^(x&lows + lows | x) & tops * 0x0002040810204081 >> 56
		w ^= '\\' * ones
		slashes |= (w - ones) &^ w
		out := (*[16]byte)(starts[n&(wrap-1):])
		binary.LittleEndian.PutUint64(out[:], at+after[m])
		binary.LittleEndian.PutUint64(out[8:], at+more[m])
		n += int(counts[m])
	}
	binary.LittleEndian.PutUint16(starts[n&(wrap-1):], uint16(len(line)+1))
	return n / 2, slashes&tops == 0
}

// lastBytes returns the up to seven bytes of line from i on as the lowest of
// eight; the others are 0, which is no separator.
func lastBytes(line []byte, i int) uint64 {
	if len(line) >= 8 {
		return binary.LittleEndian.Uint64(line[len(line)-8:]) >> (8 * uint(8-len(line)+i) & 63)
	}
	var w uint64
	for j, c := range line[i:] {
		w |= uint64(c) << (8 * uint(j) & 63)
	}
	return w
}

// splitText is splitByte for lines of any length and a separator of several bytes:
// field i is line[starts[i] : starts[i+1]-len(sep)].
func splitText(line, sep []byte, starts []uint32) int {
	starts[0] = 0
	n, at := 1, 0
	for {
		i := bytes.Index(line[at:], sep)
		if n == len(starts) {
			return -1
		}
		if i < 0 {
			starts[n] = uint32(len(line) + len(sep))
			return n
		}
		at += i + len(sep)
		starts[n] = uint32(at)
		n++
	}
}
