package main

import (
	"bufio"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"tidewatch/event"
	"tidewatch/ingest"
	"tidewatch/outputs"
)

// refusedShown is how many reasons for refused lines a summary lists.
const refusedShown = 8

// summary says what was read.
func (a *analysis) summary(w *bufio.Writer, found int) error {
	s := a.merge.Stats()
	took := time.Since(a.started)
	hosts, more := 0, ""
	for _, c := range a.census {
		hosts += len(c.hosts)
		if len(c.hosts) >= censusSize {
			more = " or more"
		}
	}
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-10s %s\n", name, fmt.Sprintf(format, args...))
	}
	fmt.Fprintln(w)
	row("findings", "%s", count(uint64(found)))
	row("records", "%s in %s %s: %s", count(s.Records()), count(uint64(s.Files)), plural(s.Files, "file", "files"), kinds(s))
	if s.First != 0 {
		first, last := time.Unix(0, s.First), time.Unix(0, s.Last)
		row("span", "%s to %s (%s)", first.Format("2006-01-02 15:04:05"), last.Format("2006-01-02 15:04:05 MST"), span(last.Sub(first)))
	}
	row("hosts", "%s local%s", count(uint64(hosts)), more)
	if n := a.joiner.Joined(); n > 0 {
		row("joined", "%s connections that both sensors reported: each counts once", count(n))
	}
	if s.OutOfRange > 0 {
		row("left out", "%s before --since or after --until", count(s.OutOfRange))
	}
	if len(s.Skipped) > 0 {
		row("skipped", "%s", skipped(s.Skipped))
	}
	for i, r := range s.Refused {
		if i == refusedShown {
			row("", "and %d more reasons; --dead-letter FILE keeps the lines", len(s.Refused)-i)
			break
		}
		row("refused", "%s in %s: %s (first in line %d)", count(r.Count), outputs.Printable(r.Path), outputs.Printable(r.Reason), r.Line)
	}
	row("took", "%s, %s records/s", took.Round(time.Millisecond), count(uint64(float64(s.Records())/max(took.Seconds(), 1e-3))))
	return nil
}

// kinds lists the records by kind, most first.
func kinds(s ingest.Stats) string {
	var parts []string
	order := make([]event.Kind, 0, event.NumKinds)
	for k := range event.Kind(event.NumKinds) {
		if s.Kinds[k] > 0 {
			order = append(order, k)
		}
	}
	slices.SortStableFunc(order, func(a, b event.Kind) int { return int(s.Kinds[b]) - int(s.Kinds[a]) })
	for _, k := range order {
		parts = append(parts, fmt.Sprintf("%s %s", k, count(s.Kinds[k])))
	}
	return strings.Join(parts, ", ")
}

// skipped lists the logs that tidewatch has no use for.
func skipped(m map[string]uint64) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s %s", outputs.Printable(name), count(m[name])))
	}
	return strings.Join(parts, ", ")
}

// refusalLine says on one line which line of which file is not understood.
func refusalLine(r ingest.Refusal) string {
	s := fmt.Sprintf("%s:%d: %s (byte %d)", outputs.Printable(r.Path), r.Line, outputs.Printable(r.Reason), r.Offset)
	if r.Excerpt != "" {
		s += ": " + outputs.Printable(r.Excerpt)
	}
	return s
}

// count writes n with a comma between groups of three digits.
func count(n uint64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func plural[T int | uint64](n T, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// span writes d the way people say it.
func span(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%.1f days", d.Hours()/24)
	case d >= 2*time.Hour:
		return fmt.Sprintf("%.1f hours", d.Hours())
	case d >= 2*time.Minute:
		return fmt.Sprintf("%.0f minutes", d.Minutes())
	}
	return fmt.Sprintf("%.0f seconds", d.Seconds())
}
