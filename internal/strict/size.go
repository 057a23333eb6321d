package strict

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes that is written with its unit: "64MB", "2GB". A unit is
// a power of 1024.
type Size int64

// SizeForm says how a Size is written.
const SizeForm = `a size with its unit, in quotes: "512KB", "64MB", "2GB"; a unit is 1024 of the one before`

var sizeUnits = []struct {
	name  string
	bytes float64
}{{"TB", 1 << 40}, {"GB", 1 << 30}, {"MB", 1 << 20}, {"KB", 1 << 10}, {"B", 1}}

// Form says how a Size is written.
func (*Size) Form() string { return SizeForm }

// UnmarshalText reads a size. "0" needs no unit.
func (s *Size) UnmarshalText(b []byte) error {
	text := strings.TrimSpace(string(b))
	if text == "0" {
		*s = 0
		return nil
	}
	for _, u := range sizeUnits {
		digits, ok := strings.CutSuffix(strings.Replace(text, "iB", "B", 1), u.name)
		if !ok {
			continue
		}
		digits = strings.TrimSpace(digits)
		v, err := strconv.ParseFloat(digits, 64)
		if err != nil || strings.Trim(digits, "0123456789.") != "" || v*u.bytes > math.MaxInt64/2 {
			break
		}
		*s = Size(v * u.bytes)
		return nil
	}
	return fmt.Errorf("size %q", b)
}

// String writes the size with the largest unit that divides it.
func (s Size) String() string {
	for _, u := range sizeUnits {
		if n := Size(u.bytes); s >= n && s%n == 0 {
			return strconv.FormatInt(int64(s/n), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

// MarshalText writes the size as UnmarshalText reads it.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
