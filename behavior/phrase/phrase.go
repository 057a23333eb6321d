// Package phrase writes numbers the way the sentences of findings say them.
package phrase

import (
	"fmt"
	"math"
	"time"
)

// Span writes a duration in nanoseconds: "12.5 seconds", "7 minutes", "3.2 hours",
// "4.1 days".
func Span(ns int64) string {
	switch d := time.Duration(ns); {
	case d >= 72*time.Hour:
		return fmt.Sprintf("%.1f days", d.Hours()/24)
	case d >= 2*time.Hour:
		return fmt.Sprintf("%.1f hours", d.Hours())
	case d >= 2*time.Minute:
		return fmt.Sprintf("%.0f minutes", d.Minutes())
	default:
		return fmt.Sprintf("%.1f seconds", d.Seconds())
	}
}

// Bytes writes a number of bytes with a decimal unit: "980 B", "1.4 kB", "28 MB".
func Bytes(n float64) string {
	units := []string{"B", "kB", "MB", "GB", "TB", "PB"}
	i := 0
	for n >= 999.5 && i < len(units)-1 {
		n /= 1000
		i++
	}
	if i == 0 || n >= 9.95 {
		return fmt.Sprintf("%.0f %s", n, units[i])
	}
	return fmt.Sprintf("%.1f %s", n, units[i])
}

// Round2 rounds to two digits after the point.
func Round2(v float64) float64 { return math.Round(100*v) / 100 }

// Round3 rounds to three digits after the point.
func Round3(v float64) float64 { return math.Round(1000*v) / 1000 }

// Accepted says that an analyst called something normal at a time (Unix ns).
func Accepted(at int64) string {
	return "accepted by an analyst on " + time.Unix(0, at).UTC().Format("2006-01-02")
}

// At writes a time (Unix ns), in UTC: "2026-11-20 08:15".
func At(ns int64) string { return time.Unix(0, ns).UTC().Format("2006-01-02 15:04") }

// Count writes a number of things: "3", "2.5", "1200".
func Count(n float64) string {
	if n >= 10 || n == math.Trunc(n) {
		return fmt.Sprintf("%.0f", n)
	}
	return fmt.Sprintf("%.1f", n)
}
