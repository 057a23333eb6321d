package zeek

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

const (
	ones  = 0x0101010101010101
	lows  = 0x7F7F7F7F7F7F7F7F
	tops  = 0x8080808080808080
	slack = 8 // splitByte writes up to so many positions beyond the last
)

// splitByte finds the bytes of line that are sep and writes their positions to
// pos[1:], behind them the length of line; pos[0] is -1. Field i then is
// line[pos[i]+1 : pos[i+1]]. It returns the number of fields, or -1 if there are
// more than len(pos)-1-slack.
//
// Eight bytes are compared at once. For each eight, four positions are written
// whether there are as many or not, and those that are none are overwritten by
// the next: how many fields end in eight bytes is what a branch could not foresee.
func splitByte(line []byte, sep byte, pos []int32) int {
	pos[0] = -1
	n, limit := 1, len(pos)-slack
	pattern := uint64(sep) * ones
	i := 0
	for ; i+8 <= len(line); i += 8 {
		x := binary.LittleEndian.Uint64(line[i:]) ^ pattern
		m := ^((x&lows + lows) | x | lows) // the top bit of each byte that is sep
		if n >= limit {
			return -1
		}
		out := pos[n : n+8 : n+8]
		n += int(m >> 7 * ones >> 56)
		at := int32(i)
		out[0] = at + int32(bits.TrailingZeros64(m)>>3)
		m &= m - 1
		out[1] = at + int32(bits.TrailingZeros64(m)>>3)
		m &= m - 1
		out[2] = at + int32(bits.TrailingZeros64(m)>>3)
		m &= m - 1
		out[3] = at + int32(bits.TrailingZeros64(m)>>3)
		m &= m - 1
		for j := 4; m != 0 && j < 8; j++ { // empty fields
			out[j] = at + int32(bits.TrailingZeros64(m)>>3)
			m &= m - 1
		}
	}
	for ; i < len(line); i++ {
		if line[i] == sep {
			if n >= limit {
				return -1
			}
			pos[n] = int32(i)
			n++
		}
	}
	if n > limit {
		return -1
	}
	pos[n] = int32(len(line))
	return n
}

// splitText is splitByte for a separator of several bytes: field i is
// line[pos[i]+len(sep) : pos[i+1]].
func splitText(line, sep []byte, pos []int32) int {
	pos[0] = -int32(len(sep))
	n, at := 1, 0
	for {
		i := bytes.Index(line[at:], sep)
		if i < 0 {
			break
		}
		if n >= len(pos)-slack {
			return -1
		}
		pos[n] = int32(at + i)
		at += i + len(sep)
		n++
	}
	pos[n] = int32(len(line))
	return n
}
