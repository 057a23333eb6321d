package strict

import (
	"errors"
	"fmt"
	"strconv"
	"time"
)

// maxDuration is the longest span that a file may name.
const maxDuration = 10 * 365 * 24 * time.Hour

// DurationForm says how a Duration is written.
const DurationForm = "a duration with its unit, in quotes: 30s, 5m, 6h, 7d, 2w, or several as in 1h30m; at most ten years"

// Duration is a time span that is written with its unit: "30s", "5m", "6h", "7d",
// "2w", or several of them, such as "1h30m".
type Duration time.Duration

// UnmarshalText reads a duration. A bare number is an error: of what?
func (d *Duration) UnmarshalText(b []byte) error {
	units := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}
	total := time.Duration(0)
	if len(b) == 0 {
		return errors.New("empty duration")
	}
	for s := string(b); s != ""; {
		n := 0
		for n < len(s) && (s[n] == '.' || s[n] >= '0' && s[n] <= '9') {
			n++
		}
		if n == len(s) {
			return fmt.Errorf("duration %q lacks a unit", b)
		}
		unit, ok := units[s[n]]
		v, err := strconv.ParseFloat(s[:n], 64)
		if !ok || err != nil || v*float64(unit) > float64(maxDuration) {
			return fmt.Errorf("duration %q", b)
		}
		if total += time.Duration(v * float64(unit)); total > maxDuration {
			return fmt.Errorf("duration %q", b)
		}
		s = s[n+1:]
	}
	*d = Duration(total)
	return nil
}
