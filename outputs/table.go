package outputs

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"tidewatch/event"
)

// TableOptions say how findings are shown to a person.
type TableOptions struct {
	Width    int  // columns of the terminal; 0 for no limit
	Color    bool // use ANSI colours
	Location *time.Location
	Verbose  bool // with the whole evidence of each finding
}

// Sort puts findings into the order of the table: the most severe first, then by
// time, then by id.
func Sort(fs []event.Finding) {
	slices.SortStableFunc(fs, func(a, b event.Finding) int {
		return cmp.Or(
			cmp.Compare(b.Rule.Severity, a.Rule.Severity),
			cmp.Compare(a.Start, b.Start),
			cmp.Compare(a.ID, b.ID),
		)
	})
}

const (
	colorReset = "\x1b[0m"
	colorBold  = "\x1b[1m"
	colorDim   = "\x1b[2m"
)

// colors of the severities: bright red, red, yellow, blue.
var colors = map[event.Severity]string{
	event.SeverityCritical: "\x1b[1;91m", event.SeverityHigh: "\x1b[31m", event.SeverityMedium: "\x1b[33m", event.SeverityLow: "\x1b[34m",
}

// WriteTable writes one line for each finding, in the order of fs: number,
// severity, time, who, whom, what, why. With Verbose the evidence follows.
func WriteTable(w io.Writer, fs []event.Finding, o TableOptions) error {
	if len(fs) == 0 {
		_, err := fmt.Fprintln(w, "No findings.")
		return err
	}
	rows := [][]string{{"#", "SEVERITY", "TIME", "WHO", "WHOM", "WHAT", "WHY"}}
	for i := range fs {
		f := &fs[i]
		rows = append(rows, []string{
			strconv.Itoa(i + 1), f.Rule.Severity.String(), time.Unix(0, f.Start).In(o.location()).Format("2006-01-02 15:04:05"),
			Printable(who(f)), Printable(whom(f)), Printable(what(f)), Printable(why(f)),
		})
	}
	widths := columnWidths(rows)
	var b strings.Builder
	for i, row := range rows {
		writeRow(&b, row, widths, o, i, fs)
		if o.Verbose && i > 0 {
			b.WriteByte('\n')
			explain(&b, &fs[i-1], o)
			b.WriteByte('\n')
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (o TableOptions) location() *time.Location {
	if o.Location == nil {
		return time.UTC
	}
	return o.Location
}

// columnWidths returns the width of each column but the last.
func columnWidths(rows [][]string) []int {
	widths := make([]int, len(rows[0])-1)
	for _, row := range rows {
		for i := range widths {
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	return widths
}

func writeRow(b *strings.Builder, row []string, widths []int, o TableOptions, i int, fs []event.Finding) {
	used := 0
	for c, cell := range row {
		last := c == len(row)-1
		if last && o.Width > 0 {
			cell = cut(cell, max(o.Width-used, 12))
		}
		pad := ""
		if !last {
			pad = strings.Repeat(" ", widths[c]-utf8.RuneCountInString(cell)+2)
			used += widths[c] + 2
		}
		switch {
		case o.Color && i == 0:
			cell = colorBold + cell + colorReset
		case o.Color && c == 1:
			cell = colors[fs[i-1].Rule.Severity] + cell + colorReset
		}
		b.WriteString(cell + pad)
	}
	b.WriteByte('\n')
}

// cut shortens s to so many characters.
func cut(s string, width int) string {
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	r := []rune(s)
	return strings.TrimRight(string(r[:width-1]), " ,") + "…"
}

func who(f *event.Finding) string {
	if f.Source.Addr.IsValid() {
		return f.Source.Addr.String()
	}
	if n, ok := number(f, "sources"); ok && n > 0 {
		return fmt.Sprintf("%.0f sources", n)
	}
	return "-"
}

func whom(f *event.Finding) string {
	switch {
	case f.Destination.Domain != "":
		return f.Destination.Domain
	case f.Destination.Addr.IsValid():
		return f.Destination.Addr.String()
	}
	if n, ok := number(f, "targets"); ok {
		return fmt.Sprintf("%.0f hosts", n)
	}
	return "-"
}

func what(f *event.Finding) string {
	for i := range f.Features {
		if f.Features[i].Key == "kind" {
			return f.Features[i].Text + " " + f.Detector
		}
	}
	return f.Detector
}

// why is the reason without the source, which has a column of its own.
func why(f *event.Finding) string {
	if f.Source.Addr.IsValid() {
		return strings.TrimPrefix(f.Reason, f.Source.Addr.String()+" ")
	}
	return f.Reason
}

func number(f *event.Finding, key string) (float64, bool) {
	for i := range f.Features {
		if f.Features[i].Key == key {
			return f.Features[i].Num, true
		}
	}
	return 0, false
}
