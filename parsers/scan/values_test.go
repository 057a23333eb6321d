package scan

import (
	"math"
	"math/big"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"tidewatch/event"
)

// roomy returns s with capacity behind it, filled with what could be mistaken for
// more of it: fields inside a line look like that.
func roomy(s string) []byte { return append([]byte(s), "0123456789.1.2.3.4:::"...)[:len(s)] }

func TestUint(t *testing.T) {
	f := func(s string, want uint64, ok bool) {
		t.Helper()
		for _, b := range [][]byte{[]byte(s), roomy(s)} {
			if got, gotOK := Uint(b); got != want && ok || gotOK != ok {
				t.Errorf("Uint(%q) = %d, %v, want %d, %v", s, got, gotOK, want, ok)
			}
		}
	}
	f("0", 0, true)
	f("7", 7, true)
	f("1234567", 1234567, true)
	f("12345678", 12345678, true)
	f("123456789", 123456789, true)
	f("18446744073709551615", math.MaxUint64, true)
	f("0000000000018446744073709551615", math.MaxUint64, true)
	f("18446744073709551616", 0, false)
	f("99999999999999999999", 0, false)
	f("100000000000000000000", 0, false)
	f("", 0, false)
	f("-1", 0, false)
	f("+1", 0, false)
	f("1.0", 0, false)
	f("1234567a", 0, false)
	f("12345678/", 0, false)
	f("\xb01234567", 0, false)
}

func TestEpoch(t *testing.T) {
	f := func(s string, want int64, ok bool) {
		t.Helper()
		if got, gotOK := Epoch([]byte(s)); got != want && ok || gotOK != ok {
			t.Errorf("Epoch(%q) = %d, %v, want %d, %v", s, got, gotOK, want, ok)
		}
	}
	f("1521911721.255387", 1521911721255387000, true)
	f("1521911721", 1521911721000000000, true)
	f("1521911721.2", 1521911721200000000, true)
	f("1521911721.123456789", 1521911721123456789, true)
	f("1521911721.1234567894", 1521911721123456789, true)
	f("-1.5", -1500000000, true)
	f("-0.000001", -1000, true)
	f("0", 0, true)
	f("0.000000", 0, true)
	f("1.521911721255387e9", 1521911721255387000, true)
	f("1521911721255387E-6", 1521911721255387000, true)
	f("1e+3", 1000000000000, true)
	f("9223372036.854775", 9223372036854775000, true)
	f("9223372036.854775807", math.MaxInt64, true)
	f("9223372037.000000", 0, false)
	f("9999999999.000000", 0, false)
	f("1e99999999999", 0, false)
	f("1e-99999999999", 0, true)
	f("0e99999999999", 0, true)
	for _, bad := range []string{"", "-", ".", "1.", ".5", "+1", "1e", "1e+", "nan", "inf", "0x10", "1_0", "01", "1521911721,255387",
		"1521911721.25538x", "152191172x.255387", "0521911721.255387", "1 ", "1.0e5x"} {
		f(bad, 0, false)
	}
}

func TestSeconds(t *testing.T) {
	f := func(s string, want int64, ok bool) {
		t.Helper()
		if got, gotOK := Seconds([]byte(s)); got != want && ok || gotOK != ok {
			t.Errorf("Seconds(%q) = %d, %v, want %d, %v", s, got, gotOK, want, ok)
		}
	}
	f("0.000871", 871000, true)
	f("9.5367431640625e-7", 954, true)
	f("0.0008711814880371094", 871181, true)
	f("86400.000001", 86400000001000, true)
	f("1234567.123456", 1234567123456000, true)
	f("12345678.123456", 12345678123456000, true)
	f("-0.000001", -1000, true)
	f("-1.000001", -1000001000, true)
	f("60", 60000000000, true)
	f("00.123456", 0, false)
	f("1x.123456", 0, false)
	f("1.12345x", 0, false)
}

func TestISO(t *testing.T) {
	var cache ISOCache
	f := func(s, want string) {
		t.Helper()
		for range 2 {
			got, ok := cache.ISO([]byte(s))
			if w, wOK := ISO([]byte(s)); ok != wOK || ok && got != w {
				t.Errorf("ISOCache.ISO(%q) = %d, %v, ISO has %d, %v", s, got, ok, w, wOK)
			}
		}
		w, err := time.Parse(time.RFC3339Nano, want)
		got, ok := ISO([]byte(s))
		if ok != (err == nil) || ok && got != w.UnixNano() {
			t.Errorf("ISO(%q) = %s, %v, want %q", s, time.Unix(0, got).UTC(), ok, want)
		}
	}
	f("2018-03-24T17:15:20.865716Z", "2018-03-24T17:15:20.865716Z")
	f("2018-03-24T17:15:59.000000Z", "2018-03-24T17:15:59Z")
	f("2018-03-24T17:15:60.000000Z", "")
	f("2018-03-24T17:15:20.86571xZ", "")
	f("2018-03-24T17:16:20.865716Z", "2018-03-24T17:16:20.865716Z")
	f("2018-03-24T17:16:21.865716+0000", "2018-03-24T17:16:21.865716Z")
	f("2018-03-24T17:16:21.865716+0001", "2018-03-24T17:15:21.865716Z")
	f("2018-03-24T17:16:21.865716+000", "")
	f("2018-03-24T17:16:21.865716Zx", "")
	f("1969-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999Z")
	f("2262-04-11T23:47:15.000000Z", "2262-04-11T23:47:15Z")
	f("2262-04-11T23:47:17.000000Z", "")
	f("2018-03-24T17:15:20.865716+0000", "2018-03-24T17:15:20.865716Z")
	f("2018-03-24T17:15:20.865716-0730", "2018-03-25T00:45:20.865716Z")
	f("2018-03-24T17:15:20.865716+02:00", "2018-03-24T15:15:20.865716Z")
	f("2018-03-24T17:15:20+05", "2018-03-24T12:15:20Z")
	f("2018-03-24 17:15:20", "2018-03-24T17:15:20Z")
	f("2018-03-24T17:15:20.5", "2018-03-24T17:15:20.5Z")
	f("2018-03-24T17:15:20.1234567899Z", "2018-03-24T17:15:20.123456789Z")
	f("2000-02-29T00:00:00Z", "2000-02-29T00:00:00Z")
	f("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59.5Z")
	for _, bad := range []string{"", "2018-03-24", "2018-03-24T17:15", "2018-02-29T00:00:00Z", "1900-02-29T00:00:00Z", "2018-04-31T00:00:00Z",
		"2018-13-01T00:00:00Z", "2018-00-01T00:00:00Z", "2018-01-00T00:00:00Z", "2018-01-01T24:00:00Z", "2018-01-01T00:60:00Z",
		"2018-01-01T00:00:60Z", "2018-01-01T00:00:00.Z", "2018-01-01T00:00:00ZZ", "2018-01-01T00:00:00+1", "2018-01-01T00:00:00+25:00",
		"2018-01-01T00:00:00+00:60", "2018-01-01T00:00:00*00:00", "9999-01-01T00:00:00Z", "0000-01-01T00:00:00Z", "2018x01-01T00:00:00Z",
		"2018-1a-01T00:00:00Z"} {
		f(bad, "")
	}
}

// A new cache has seen no minute: not even one of NULs.
func TestISOCacheEmpty(t *testing.T) {
	var cache ISOCache
	if ns, ok := cache.ISO([]byte(strings.Repeat("\x00", 16) + ":20.865716Z")); ok {
		t.Errorf("NULs are the time %d", ns)
	}
}

func TestAddr(t *testing.T) {
	var cache AddrCache
	f := func(s, want string) {
		t.Helper()
		for i, b := range [][]byte{[]byte(s)[:len(s):len(s)], roomy(s), roomy(s), roomy(s)} {
			got, ok := Addr(b)
			if i > 1 {
				got, ok = cache.Addr(b)
			}
			if ok != (want != "") || ok && got.String() != want {
				t.Errorf("Addr(%q) = %v, %v, want %q", s, got, ok, want)
			}
		}
	}
	f("", "") // before anything is remembered
	f("10.47.1.100", "10.47.1.100")
	f("10.47.1.100\x00", "")
	f("\x00", "")
	f("0.0.0.0", "0.0.0.0")
	f("255.255.255.255", "255.255.255.255")
	f("fe80::1%eth0", "fe80::1")
	f("::ffff:192.0.2.1", "192.0.2.1")
	f("::ffff:c000:201", "192.0.2.1")
	f("2001:0db8:0000:0000:0000:0000:0000:0001", "2001:db8::1")
	f("2001:DB8::1", "2001:db8::1")
	f("::", "::")
	f("1::", "1::")
	f("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0")
	f("::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8")
	f("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8")
	f("64:ff9b::192.0.2.33", "64:ff9b::c000:221")
	for _, bad := range []string{"", "1", "1.2.3", "1.2.3.", "1.2.3.4.", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1.2.3.4 ", "1.2.3.4%e", "1..3.4",
		"1.2.3.1000", ":", ":::", "1:", ":1", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", "::1::", "12345::", "g::",
		"fe80::1%", "1:2:3:4:5:6:7:1.2.3.4", "::1.2.3", "::1.2.3.4:5", "::1.2.3.4.5", "1.2.3.4:5", "%eth0"} {
		f(bad, "")
	}
}

func TestProto(t *testing.T) {
	f := func(s string, want event.Proto) {
		t.Helper()
		if got := Proto([]byte(s)); got != want {
			t.Errorf("Proto(%q) = %d, want %d", s, got, want)
		}
	}
	f("tcp", event.ProtoTCP)
	f("UDP", event.ProtoUDP)
	f("Icmp", event.ProtoICMP)
	f("IPv6-ICMP", event.ProtoICMPv6)
	f("SCTP", event.ProtoSCTP)
	f("47", 47)
	f("255", 255)
	f("256", 0)
	f("unknown_transport", 0)
	f("", 0)
	f("ipv6-nonxtx", 0)
}

// plainNumber says whether s is a number as JSON writes them (RFC 8259, section 6).
func plainNumber(s string) bool {
	s = strings.TrimPrefix(s, "-")
	digits := func() int {
		n := len(s) - len(strings.TrimLeft(s, "0123456789"))
		s = s[n:]
		return n
	}
	zero := strings.HasPrefix(s, "0")
	if n := digits(); n == 0 || zero && n > 1 {
		return false
	}
	if rest, ok := strings.CutPrefix(s, "."); ok {
		if s = rest; digits() == 0 {
			return false
		}
	}
	if len(s) > 0 && s[0]|32 == 'e' {
		if s = s[1:]; len(s) > 0 && (s[0] == '+' || s[0] == '-') {
			s = s[1:]
		}
		if digits() == 0 {
			return false
		}
	}
	return s == ""
}

func FuzzNumbers(f *testing.F) {
	for _, s := range []string{"1521911721.255387", "0.000871", "9.5367431640625e-7", "18446744073709551615", "-1e3", "007", "00.5", "92233720368.5"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want, err := strconv.ParseUint(s, 10, 64)
		for _, b := range [][]byte{[]byte(s)[:len(s):len(s)], roomy(s)} {
			if got, ok := Uint(b); ok != (err == nil) || ok && got != want {
				t.Errorf("Uint(%q) = %d, %v, want %d, %v", s, got, ok, want, err)
			}
		}
		got, ok := Epoch([]byte(s))
		if got2, ok2 := Seconds([]byte(s)); ok != ok2 || got != got2 && ok {
			t.Errorf("Seconds(%q) = %d, %v, but Epoch %d, %v", s, got2, ok2, got, ok)
		}
		if !plainNumber(s) {
			if ok {
				t.Errorf("Epoch(%q) = %d, not a number", s, got)
			}
			return
		}
		if fl, err := strconv.ParseFloat(s, 64); err != nil || math.Abs(fl) > 1e12 {
			if ok {
				t.Errorf("Epoch(%q) = %d, want out of range", s, got)
			}
			return
		}
		r, valid := new(big.Rat).SetString(s)
		if !valid {
			return // an exponent that big.Rat refuses
		}
		r.Mul(r, big.NewRat(second, 1))
		diff, _ := new(big.Rat).Sub(r, new(big.Rat).SetInt64(got)).Float64()
		limit, _ := r.Float64()
		switch {
		case ok && math.Abs(diff) > 0.5 && math.Abs(diff) > math.Abs(limit)*1e-16:
			t.Errorf("Epoch(%q) = %d, off by %g", s, got, diff)
		case !ok && math.Abs(limit) < math.MaxInt64-1024:
			t.Errorf("Epoch(%q) not ok", s)
		}
	})
}

func FuzzISO(f *testing.F) {
	f.Add("2018-03-24T17:15:20.865716Z")
	f.Add("2018-03-24T17:15:20+02:00")
	f.Add("2020-02-29T23:59:59.123456789-0730")
	var cache ISOCache
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := ISO([]byte(s))
		if got2, ok2 := cache.ISO([]byte(s)); ok != ok2 || ok && got != got2 {
			t.Errorf("ISOCache.ISO(%q) = %d, %v, ISO has %d, %v", s, got2, ok2, got, ok)
		}
		layouts := []string{"2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05Z07", "2006-01-02T15:04:05"}
		for _, l := range layouts {
			std := strings.Replace(strings.ToUpper(s), " ", "T", 1)
			w, err := time.Parse(l, std)
			if err != nil || strings.Contains(std, ",") || len(std) < 19 || std[13] != ':' || w.Year() < 1679 || w.Year() > 2261 {
				continue
			}
			_, off := w.Zone()
			if off <= -86400 || off >= 86400 || strings.HasSuffix(std, "60") && strings.ContainsAny(std[19:], "+-") {
				return // time.Parse takes +24:00 and +00:60
			}
			if !ok || got != w.UnixNano() {
				t.Errorf("ISO(%q) = %d, %v, want %d", s, got, ok, w.UnixNano())
			}
			return
		}
		if y := time.Unix(0, got).UTC().Year(); ok && y >= 1679 && y <= 2261 {
			t.Errorf("ISO(%q) = %d, time.Parse refuses it", s, got)
		}
	})
}

func FuzzAddr(f *testing.F) {
	for _, s := range []string{"10.47.1.100", "fe80::1%eth0", "::ffff:1.2.3.4", "2001:db8::1", "1:2:3:4:5:6:7:8", "1.2.3.4%x"} {
		f.Add(s)
	}
	var cache AddrCache
	f.Fuzz(func(t *testing.T, s string) {
		want, err := netip.ParseAddr(s)
		if i := strings.IndexByte(s, '%'); i > 0 && i+1 < len(s) && strings.Contains(s[:i], ":") {
			want, err = netip.ParseAddr(s[:i]) // netip refuses a zone behind an IPv4-mapped address
		}
		for i, b := range [][]byte{[]byte(s)[:len(s):len(s)], roomy(s), roomy(s), roomy(s)} {
			got, ok := Addr(b)
			if i > 1 {
				got, ok = cache.Addr(b)
			}
			if ok != (err == nil) || ok && got != want.Unmap().WithZone("") {
				t.Errorf("Addr(%q) = %v, %v, want %v, %v", s, got, ok, want, err)
			}
		}
	})
}

var sink uint64

func TestValuesDoNotAllocate(t *testing.T) {
	num, iso := []byte("1521911721.2553871e0"), []byte("2018-03-24T17:15:20.865716+02:00")
	v6, bad := []byte("2001:db8::1%eth0"), []byte("2001:db8::1%")
	n := testing.AllocsPerRun(100, func() {
		a, _ := Epoch(num)
		b, _ := ISO(iso)
		ip, _ := Addr(v6)
		_, ok := Addr(bad)
		sink += uint64(a) + uint64(b) + uint64(Proto(num)) + uint64(ip.BitLen())
		if ok {
			sink++
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkEpoch(b *testing.B) {
	s := []byte("1521911721.255387")
	for b.Loop() {
		v, _ := Epoch(s)
		sink += uint64(v)
	}
}

func BenchmarkSeconds(b *testing.B) {
	s := []byte("0.000871")
	for b.Loop() {
		v, _ := Seconds(s)
		sink += uint64(v)
	}
}

func BenchmarkISO(b *testing.B) {
	s := []byte("2018-03-24T17:15:20.865716Z")
	for b.Loop() {
		v, _ := ISO(s)
		sink += uint64(v)
	}
}

func BenchmarkAddr(b *testing.B) {
	list := [][]byte{roomy("10.47.1.100"), roomy("10.0.0.100"), roomy("134.71.3.16"), roomy("192.168.10.254"), roomy("8.8.8.8")}
	i := 0
	for b.Loop() {
		a, _ := Addr(list[i%len(list)])
		sink += uint64(a.BitLen())
		i++
	}
}

func BenchmarkAddr6(b *testing.B) {
	s := []byte("2001:db8:85a3::8a2e:370:7334")
	for b.Loop() {
		a, _ := Addr(s)
		sink += uint64(a.BitLen())
	}
}

func BenchmarkUint(b *testing.B) {
	list := [][]byte{roomy("41772"), roomy("53"), roomy("443"), roomy("1234567")}
	i := 0
	for b.Loop() {
		v, _ := Uint(list[i%len(list)])
		sink += v
		i++
	}
}
