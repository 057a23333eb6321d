// Package scan turns the text of log fields into values. Nothing in it allocates
// or keeps its argument, and nothing panics on any input.
package scan

import (
	"encoding/binary"
	"math"
	"math/bits"
	"net/netip"

	"tidewatch/event"
)

const second = 1_000_000_000 // nanoseconds

var pow10 = [...]uint64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19}

// Uint reads a decimal number without sign. Anything else, the empty text and a
// number above 2^64-1 are not ok.
//
// Up to eight digits are read with one load, without a loop, if b's capacity has
// eight bytes: fields inside a line have, and what follows them is shifted out.
func Uint(b []byte) (uint64, bool) {
	if n := uint(len(b)); n-1 < 8 && cap(b) >= 8 {
		w := binary.LittleEndian.Uint64(b[:8])
		return eightDigits(w<<(64-8*n) | 0x3030303030303030>>(8*n))
	}
	return uintLoop(b)
}

func uintLoop(b []byte) (uint64, bool) {
	if len(b) == 0 || len(b) > 20 {
		return longUint(b)
	}
	var n uint64
	for i, c := range b {
		d := uint64(c - '0')
		if d > 9 {
			return 0, false
		}
		if i == 19 && (n > math.MaxUint64/10 || n == math.MaxUint64/10 && d > math.MaxUint64%10) {
			return 0, false
		}
		n = n*10 + d
	}
	return n, true
}

// longUint reads a number that has more digits than 2^64: it is a valid one only
// with leading zeros.
func longUint(b []byte) (uint64, bool) {
	for len(b) > 20 && b[0] == '0' {
		b = b[1:]
	}
	if len(b) == 0 || len(b) > 20 {
		return 0, false
	}
	return uintLoop(b)
}

// eightDigits returns the number that the eight ASCII digits in w spell, the
// first one in the lowest byte. The three multiplications add neighbours: digits
// to pairs, pairs to fours, fours to eight (D. Lemire, "Quickly parsing eight
// digits", 2018).
func eightDigits(w uint64) (uint64, bool) {
	const zeros = 0x3030303030303030
	x := w ^ zeros
	// A byte is a digit if x is at most 9: neither it nor it + 0x76 has the top bit.
	if (x|(x+0x7676767676767676))&0x8080808080808080 != 0 {
		return 0, false
	}
	x = x*10 + x>>8
	const mask = 0x000000FF000000FF
	x = ((x&mask)*(100+1000000<<32) + (x>>16&mask)*(1+10000<<32)) >> 32
	return x, true
}

// Epoch reads seconds since 1970 as Zeek writes them, "1521911721.255387", and
// returns Unix nanoseconds. It takes what JSON calls a number: a sign, a fraction
// of any length, an exponent. What is below a nanosecond is rounded, half away
// from zero. Not ok is what lies outside of int64, years 1677 to 2262.
func Epoch(b []byte) (int64, bool) {
	if len(b) == 17 && b[10] == '.' && b[0] != '0' { // the only form of today's TSV logs
		hi, ok1 := eightDigits(binary.LittleEndian.Uint64(b))
		d8, d9 := uint64(b[8]-'0'), uint64(b[9]-'0')
		// Two more digits before the six of the fraction make eight again.
		lo, ok2 := eightDigits(binary.LittleEndian.Uint64(b[9:])&^0xFFFF | 0x3030)
		if ok1 && ok2 && d8 <= 9 && d9 <= 9 && hi < 92233719 {
			return int64((hi*100+d8*10+d9)*second + lo*1000), true
		}
	}
	return Decimal(b, 9)
}

// Seconds reads an interval in seconds, such as "0.000871" or
// "9.5367431640625e-7", and returns nanoseconds. Forms, rounding and range are
// those of Epoch.
func Seconds(b []byte) (int64, bool) {
	n := len(b)
	if n < 8 || n > 14 || b[n-7] != '.' || b[0] == '0' && n > 8 { // not Zeek's six decimals
		return Decimal(b, 9)
	}
	var whole uint64
	for _, c := range b[:n-7] {
		d := uint64(c - '0')
		if d > 9 {
			return Decimal(b, 9)
		}
		whole = whole*10 + d
	}
	frac, ok := eightDigits(binary.LittleEndian.Uint64(b[n-8:])&^0xFFFF | 0x3030)
	if !ok {
		return Decimal(b, 9)
	}
	return int64(whole*second + frac*1000), true
}

// Decimal returns the number that b spells, times 10^scale, rounded half away
// from zero; b is what JSON calls a number. It works on integers: a double holds
// the time of today only to 238 ns. Digits after the 19th that counts do not
// count. Not ok is what lies outside of int64. Scales are 0 to 9.
func Decimal(b []byte, scale int) (int64, bool) {
	neg := len(b) > 0 && b[0] == '-'
	if neg {
		b = b[1:]
	}
	m := mantissa{exp: scale}
	n := m.digits(b, 0)
	if n == 0 || b[0] == '0' && n > 1 {
		return 0, false
	}
	b = b[n:]
	if len(b) > 0 && b[0] == '.' {
		if n = m.digits(b[1:], 1); n == 0 {
			return 0, false
		}
		b = b[1+n:]
	}
	if len(b) > 0 {
		e, ok := exponent(b)
		if !ok {
			return 0, false
		}
		m.exp += e
	}
	ns, ok := m.value()
	if neg {
		ns = -ns
	}
	return ns, ok
}

// mantissa is the number man × 10^exp.
type mantissa struct {
	man uint64
	exp int
}

// digits adds the digits that b starts with to m and returns how many there are.
// fraction is 1 for digits behind the point, else 0.
func (m *mantissa) digits(b []byte, fraction int) int {
	for i, c := range b {
		d := uint64(c - '0')
		switch {
		case d > 9:
			return i
		case m.man < 1e18:
			m.man = m.man*10 + d
			m.exp -= fraction
		default: // too small to count
			m.exp += 1 - fraction
		}
	}
	return len(b)
}

// exponent reads "e-7". A number beyond ±9999 is returned as that: the result is
// 0 or out of range anyway, whatever the digits before it.
func exponent(b []byte) (int, bool) {
	if b[0]|0x20 != 'e' {
		return 0, false
	}
	b = b[1:]
	sign := 1
	if len(b) > 0 && (b[0] == '-' || b[0] == '+') {
		if b[0] == '-' {
			sign = -1
		}
		b = b[1:]
	}
	if len(b) == 0 {
		return 0, false
	}
	n := 0
	for _, c := range b {
		d := int(c - '0')
		if c < '0' || d > 9 {
			return 0, false
		}
		n = min(n*10+d, 1<<30)
	}
	return sign * n, true
}

// value returns the number as an integer, rounded half away from zero.
func (m *mantissa) value() (int64, bool) {
	switch {
	case m.man == 0 || m.exp < -19:
		return 0, true
	case m.exp < 0:
		p := pow10[-m.exp]
		return int64((m.man + p/2) / p), true
	case m.exp > 18:
		return 0, false
	}
	hi, lo := bits.Mul64(m.man, pow10[m.exp])
	if hi != 0 || lo > math.MaxInt64 {
		return 0, false
	}
	return int64(lo), true
}

// ISO reads a time like 2018-03-24T17:15:20.865716Z and returns Unix nanoseconds.
// The zone is Z, +hhmm, -hh:mm, +hh, or none, which means UTC; a blank may stand
// for the T; the fraction may be missing, and what is below a nanosecond is cut.
// Not ok is what lies outside of int64, and what the calendar does not have.
func ISO(b []byte) (int64, bool) {
	if len(b) < 19 || b[4] != '-' || b[7] != '-' || b[10]|0x20 != 't' && b[10] != ' ' || b[13] != ':' || b[16] != ':' {
		return 0, false
	}
	d := pairs{}
	year := d.at(b, 0)*100 + d.at(b, 2)
	month, day := d.at(b, 5), d.at(b, 8)
	sec := d.at(b, 11)*3600 + d.at(b, 14)*60 + d.at(b, 17)
	if d.bad || month < 1 || month > 12 || day < 1 || day > daysIn(year, month) ||
		b[11] > '2' || b[11] == '2' && b[12] > '3' || b[14] > '5' || b[17] > '5' {
		return 0, false
	}
	b = b[19:]
	var ns int64
	if len(b) > 0 && b[0] == '.' {
		n := 0
		if ns, n = fraction(b[1:]); n == 0 {
			return 0, false
		}
		b = b[1+n:]
	}
	off, ok := zone(b)
	unix := int64(daysSinceEpoch(year, month, day))*86400 + int64(sec) - off
	const limit = math.MaxInt64 / second
	if !ok || unix < -limit || unix >= limit {
		return 0, false
	}
	return unix*second + ns, true
}

// ISOCache reads times as ISO does and remembers the minutes it has seen last: a log's
// lines, and what they speak of, are close to each other. The zero ISOCache is ready;
// it is used by one goroutine.
type ISOCache struct {
	known [128]struct { // by the digits of the minute
		lo, hi uint64 // the first sixteen bytes, "2018-03-24T17:15"; 0 in an empty entry
		minute int64  // Unix seconds
	}
}

// ISO is ISO with a memory, for times in UTC with six decimals, which end in Z or +0000.
func (c *ISOCache) ISO(b []byte) (int64, bool) {
	if len(b) < 27 || b[19] != '.' || b[16] != ':' || !isUTC(b[26:]) {
		return ISO(b)
	}
	lo, hi := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
	d10, d1 := b[17]-'0', b[18]-'0'
	us, ok := eightDigits(binary.LittleEndian.Uint64(b[18:])&^0xFFFF | 0x3030)
	if !ok || d10 > 5 || d1 > 9 {
		return 0, false
	}
	sec := int64(d10)*10 + int64(d1)
	e := &c.known[b[14]&7<<4|b[15]&15]
	if lo != e.lo || hi != e.hi || lo == 0 {
		ns, ok := ISO(b)
		if ok && ns >= 0 && ns < math.MaxInt64-60*second { // the minute's other seconds are in range too
			e.lo, e.hi, e.minute = lo, hi, ns/second-sec
		}
		return ns, ok
	}
	return (e.minute+sec)*second + int64(us)*1000, true
}

// isUTC reports whether b is one of the usual names of UTC's zone.
func isUTC(b []byte) bool {
	return len(b) == 5 && binary.LittleEndian.Uint32(b) == '+'|'0'<<8|'0'<<16|'0'<<24 && b[4] == '0' || len(b) == 1 && b[0] == 'Z'
}

// pairs reads pairs of digits and remembers whether one was none.
type pairs struct{ bad bool }

func (p *pairs) at(b []byte, i int) int {
	hi, lo := b[i]-'0', b[i+1]-'0'
	if hi > 9 || lo > 9 {
		p.bad = true
	}
	return int(hi)*10 + int(lo)
}

// fraction reads the digits behind the point as nanoseconds and counts them.
func fraction(b []byte) (ns int64, n int) {
	if len(b) >= 6 { // microseconds, what both sensors write
		w := uint64(binary.LittleEndian.Uint32(b))<<16 | uint64(binary.LittleEndian.Uint16(b[4:]))<<48 | 0x3030
		if v, ok := eightDigits(w); ok {
			ns, n = int64(v), 6
		}
	}
	for ; n < len(b) && b[n]-'0' <= 9; n++ {
		if n < 9 {
			ns = ns*10 + int64(b[n]-'0')
		}
	}
	if n < 9 {
		ns *= int64(pow10[9-n])
	}
	return ns, n
}

// zone reads the end of a time: its offset from UTC in seconds.
func zone(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) == 1 && b[0]|0x20 == 'z' {
		return 0, true
	}
	if b[0] != '+' && b[0] != '-' {
		return 0, false
	}
	d := pairs{}
	var off int
	switch {
	case len(b) == 3:
		off = d.at(b, 1) * 3600
	case len(b) == 5:
		off = d.at(b, 1)*3600 + d.at(b, 3)*60
	case len(b) == 6 && b[3] == ':':
		off = d.at(b, 1)*3600 + d.at(b, 4)*60
	default:
		return 0, false
	}
	if d.bad || off >= 86400 || len(b) > 3 && b[len(b)-2] > '5' {
		return 0, false
	}
	if b[0] == '-' {
		off = -off
	}
	return int64(off), true
}

func daysIn(year, month int) int {
	switch {
	case month == 2 && year%4 == 0 && (year%100 != 0 || year%400 == 0):
		return 29
	case month == 2:
		return 28
	case month == 4 || month == 6 || month == 9 || month == 11:
		return 30
	}
	return 31
}

// daysSinceEpoch returns the days from 1970-01-01 in the Gregorian calendar. The
// year is taken to begin in March, so that the leap day is its last (H. Hinnant,
// "chrono-Compatible Low-Level Date Algorithms", days_from_civil).
func daysSinceEpoch(year, month, day int) int {
	if month <= 2 {
		year--
		month += 12
	}
	era := year / 400 // never negative: years have four digits, and -1 gives 0
	yoe := year - era*400
	doy := (153*(month-3)+2)/5 + day - 1
	return era*146097 + yoe*365 + yoe/4 - yoe/100 + doy - 719468
}

// Addr reads an IPv4 or IPv6 address. A zone is cut off, and an IPv4-mapped
// address is returned as IPv4. Otherwise it takes what netip.ParseAddr takes.
func Addr(b []byte) (netip.Addr, bool) {
	v, ok := quadFast(b)
	if !ok {
		v, ok = addr4(b)
	}
	if ok {
		return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}), true
	}
	return addr6(b)
}

// AddrCache reads addresses as Addr does and remembers some: the lines of a log
// name the same ones again and again. The zero AddrCache is ready; it is used by
// one goroutine.
type AddrCache struct {
	known [256]struct {
		lo, hi uint64 // the text, and its length in the last byte; 0 in an empty entry
		addr   netip.Addr
	}
}

// firstBytes masks the first n of sixteen bytes.
var firstBytes = func() (t [16][2]uint64) {
	for n := range t {
		t[n][0] = 1<<(8*min(uint(n), 8)) - 1
		t[n][1] = 1<<(8*(max(uint(n), 8)-8)) - 1
	}
	return t
}()

// Addr is Addr with a memory. Only text of up to 15 bytes, with capacity for 16, is
// kept; what cannot be read is not.
func (c *AddrCache) Addr(b []byte) (netip.Addr, bool) {
	if len(b) == 0 || len(b) > 15 || cap(b) < 16 {
		return Addr(b)
	}
	mask := &firstBytes[len(b)]
	b16 := b[:16]
	lo := binary.LittleEndian.Uint64(b16) & mask[0]
	hi := binary.LittleEndian.Uint64(b16[8:])&mask[1] | uint64(len(b))<<56
	e := &c.known[(lo^bits.RotateLeft64(hi, 29))*0x9E3779B97F4A7C15>>56]
	if e.lo == lo && e.hi == hi {
		return e.addr, true
	}
	a, ok := Addr(b)
	if ok {
		e.lo, e.hi, e.addr = lo, hi, a
	}
	return a, ok
}

// quadFast is addr4 without a branch a digit, for text with 18 bytes of capacity:
// the lengths of the four numbers are what a processor cannot foresee. It may
// refuse what addr4 takes.
func quadFast(b []byte) (uint32, bool) {
	n := uint(len(b))
	if n-7 > 8 || cap(b) < 18 {
		return 0, false
	}
	b = b[:18]
	dots := dotBits(binary.LittleEndian.Uint64(b)) | dotBits(binary.LittleEndian.Uint64(b[8:]))<<8
	dots = dots&(1<<(n&15)-1) | 1<<(n&15) // the end is the fourth dot
	var v, bad uint32
	var at uint
	for range 4 {
		end := uint(bits.TrailingZeros64(dots))
		dots &= dots - 1
		size := end - at
		if size-1 > 2 || at > 14 {
			return 0, false
		}
		w := binary.LittleEndian.Uint32(b[at:]) ^ 0x30303030
		x := w << (32 - 8*size&31) // units in the top byte, then tens, hundreds, 0
		d := x>>24 + 10*(x>>16&255) + 100*(x>>8&255)
		bad |= (x|(x+0x76767676))&0x80808080 | d>>8
		if size > 1 && byte(w) == 0 { // leading zero
			return 0, false
		}
		v = v<<8 | d&255
		at = end + 1
	}
	return v, bad == 0 && dots == 0
}

// dotBits returns a bit for each byte of w that is a dot, the first byte lowest.
func dotBits(w uint64) uint64 {
	x := w ^ 0x2E2E2E2E2E2E2E2E
	m := ^((x&0x7F7F7F7F7F7F7F7F + 0x7F7F7F7F7F7F7F7F) | x | 0x7F7F7F7F7F7F7F7F)
	return m >> 7 * 0x0102040810204080 >> 56
}

// addr4 reads a dotted quad without leading zeros, the first byte on top.
func addr4(b []byte) (uint32, bool) {
	var v uint32
	for quad := 0; ; quad++ {
		if len(b) == 0 {
			return 0, false
		}
		n, used := uint32(b[0]-'0'), 1
		if n > 9 {
			return 0, false
		}
		for n > 0 && used < 3 && used < len(b) && b[used]-'0' <= 9 {
			n = n*10 + uint32(b[used]-'0')
			used++
		}
		if n > 255 {
			return 0, false
		}
		v = v<<8 | n
		b = b[used:]
		if quad == 3 {
			return v, len(b) == 0
		}
		if len(b) == 0 || b[0] != '.' {
			return 0, false
		}
		b = b[1:]
	}
}

// addr6 reads an IPv6 address (RFC 4291, section 2.2).
func addr6(b []byte) (netip.Addr, bool) {
	b, ok := cutZone(b)
	if !ok {
		return netip.Addr{}, false
	}
	var ip [16]byte
	at, gap := 0, -1 // bytes written, and where "::" stood
	if len(b) >= 2 && b[0] == ':' && b[1] == ':' {
		gap, b = 0, b[2:]
	}
	for len(b) > 0 {
		if at == 16 {
			return netip.Addr{}, false
		}
		v, n := hexGroup(b)
		if n == 0 {
			return netip.Addr{}, false
		}
		if n < len(b) && b[n] == '.' { // the last four bytes as IPv4
			v4, ok := addr4(b)
			if !ok || at > 12 || gap < 0 && at != 12 {
				return netip.Addr{}, false
			}
			binary.BigEndian.PutUint32(ip[at:], v4)
			at += 4
			break
		}
		ip[at], ip[at+1] = byte(v>>8), byte(v)
		at += 2
		b = b[n:]
		if len(b) == 0 {
			break
		}
		if b[0] != ':' || len(b) == 1 {
			return netip.Addr{}, false
		}
		b = b[1:]
		if b[0] == ':' {
			if gap >= 0 {
				return netip.Addr{}, false
			}
			gap, b = at, b[1:]
		}
	}
	if !fillGap(&ip, at, gap) {
		return netip.Addr{}, false
	}
	return netip.AddrFrom16(ip).Unmap(), true
}

// cutZone returns b without "%eth0". An address without a colon has no zone, and
// an empty zone is an error.
func cutZone(b []byte) ([]byte, bool) {
	colon := false
	for i, c := range b {
		switch c {
		case ':':
			colon = true
		case '%':
			return b[:i], colon && i+1 < len(b)
		}
	}
	return b, colon
}

// hexGroup reads up to four hex digits and counts them; 0 if there are more.
func hexGroup(b []byte) (v uint32, n int) {
	for ; n < len(b); n++ {
		d := hexValue[b[n]]
		if d > 15 {
			break
		}
		if n == 4 {
			return 0, 0
		}
		v = v<<4 | uint32(d)
	}
	return v, n
}

// fillGap moves what was written behind "::" to the end. The gap stands for at
// least one group.
func fillGap(ip *[16]byte, at, gap int) bool {
	if gap < 0 || at == 16 {
		return gap < 0 && at == 16
	}
	moved := at - gap
	copy(ip[16-moved:], ip[gap:at])
	clear(ip[gap : 16-moved])
	return true
}

// hexValue is the value of a hex digit, 255 for another byte.
var hexValue = func() (t [256]byte) {
	for i := range t {
		t[i] = 255
	}
	for i := range byte(10) {
		t['0'+i] = i
	}
	for i := range byte(6) {
		t['a'+i], t['A'+i] = 10+i, 10+i
	}
	return t
}()

// Hex returns the byte that two hex digits spell.
func Hex(hi, lo byte) (byte, bool) {
	h, l := hexValue[hi], hexValue[lo]
	return h<<4 | l&15, h < 16 && l < 16
}

// Proto reads the name of an IP protocol as one of the sensors writes it, in any
// case, or its number. It returns 0 for another text.
func Proto(b []byte) event.Proto {
	if len(b) == 3 {
		switch uint32(b[0]|0x20)<<16 | uint32(b[1]|0x20)<<8 | uint32(b[2]|0x20) {
		case 't'<<16 | 'c'<<8 | 'p':
			return event.ProtoTCP
		case 'u'<<16 | 'd'<<8 | 'p':
			return event.ProtoUDP
		}
	}
	if n, ok := Uint(b); ok && n < 256 {
		return event.Proto(n)
	}
	if len(b) > len("ipv6-nonxt") {
		return 0
	}
	var low [10]byte
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		low[i] = c
	}
	return protoByName(low[:len(b)])
}

// protoByName knows the names of IANA's list that Zeek and Suricata write.
func protoByName(b []byte) event.Proto {
	switch string(b) {
	case "tcp":
		return event.ProtoTCP
	case "udp":
		return event.ProtoUDP
	case "icmp":
		return event.ProtoICMP
	case "icmp6", "icmpv6", "ipv6-icmp":
		return event.ProtoICMPv6
	case "sctp":
		return event.ProtoSCTP
	case "igmp":
		return 2
	case "ipip", "ip-in-ip":
		return 4
	case "dccp":
		return 33
	case "ipv6":
		return 41
	case "rsvp":
		return 46
	case "gre":
		return 47
	case "esp":
		return 50
	case "ah":
		return 51
	case "ipv6-nonxt":
		return 59
	case "eigrp":
		return 88
	case "ospf", "ospfigp":
		return 89
	case "pim":
		return 103
	case "vrrp":
		return 112
	case "l2tp":
		return 115
	case "udplite":
		return 136
	}
	return 0
}
