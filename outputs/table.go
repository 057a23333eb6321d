package outputs

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"tidewatch/event"
)

// TableOptions say how findings are shown to a person.
type TableOptions struct {
	Width    int            // columns of the terminal; 0 for no limit
	Color    bool           // use ANSI colours
	Location *time.Location // of all times; nil is UTC
	Verbose  bool           // with the whole evidence of each finding
}

// Sort puts findings into the order of the table: the most severe first, then by
// time, then by id.
func Sort(fs []event.Finding) {
	slices.SortStableFunc(fs, func(a, b event.Finding) int {
		return cmp.Or(
			cmp.Compare(b.Severity(), a.Severity()),
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

// colors of the severities: bright red, red, yellow, cyan.
var colors = map[event.Severity]string{
	event.SeverityCritical: "\x1b[1;91m", event.SeverityHigh: "\x1b[31m", event.SeverityMedium: "\x1b[33m", event.SeverityLow: "\x1b[36m",
}

// paint colours a text that is not empty.
func (o *TableOptions) paint(color, s string) string {
	if !o.Color || color == "" || s == "" {
		return s
	}
	return color + s + colorReset
}

// at formats a time in Unix nanoseconds.
func (o *TableOptions) at(ns int64, layout string) string {
	t := time.Unix(0, ns).UTC()
	if o.Location != nil {
		t = t.In(o.Location)
	}
	return t.Format(layout)
}

// The columns of the table.
const (
	columnNumber = iota
	columnSeverity
	columnTime
	columnWho
	columnWhom
	columnWhat
	columnWhy
)

const (
	gap = "  " // between columns
	// sideLeast is what WHO and WHOM keep on a narrow terminal: an IPv4 address.
	sideLeast = 15
	// sideMost is what WHO and WHOM get where lines have no limit: an IPv6 address.
	// A longer name, which an attacker may choose, moves the rest of its own row only.
	sideMost = 39
	// whatMost is what WHAT gets: "distributed scan" and a little more.
	whatMost = 20
)

// layout is one way to lay the table out.
type layout struct {
	short bool // spare what can be missed: the year, the seconds, the detector's name
	why   int  // columns that WHY needs beside the others; 0 if it has a line of its own
}

// layouts are tried in this order.
var layouts = []layout{{why: 60}, {short: true, why: 44}, {}, {short: true}}

// WriteTable writes one line for each finding, in the order of fs (see Sort):
// number, severity, time of the first evidence, who, whom, what, why. No line is
// longer than the terminal is wide; if that leaves too little room, why follows on
// a second line. With Verbose the explanations follow the table.
func WriteTable(w io.Writer, fs []event.Finding, o TableOptions) error {
	if len(fs) == 0 {
		_, err := fmt.Fprintln(w, "No findings.")
		return err
	}
	var b strings.Builder
	writeTable(&b, fs, &o)
	if o.Verbose {
		for i := range fs {
			b.WriteByte('\n')
			explain(&b, i+1, &fs[i], &o)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeTable(b *strings.Builder, fs []event.Finding, o *TableOptions) {
	l, rows, widths := arrange(fs, o)
	for i, row := range rows {
		for c, width := range widths {
			cell := row[c]
			if o.Width > 0 {
				cell = cutCell(c, cell, width)
			}
			color := ""
			switch {
			case i == 0:
				color = colorBold
			case c == columnSeverity:
				color = colors[fs[i-1].Severity()]
			}
			b.WriteString(o.paint(color, cell))
			if c < len(widths)-1 {
				b.WriteString(pad("", width-columns(cell)) + gap)
			}
		}
		b.WriteByte('\n')
		if l.why == 0 && i > 0 {
			indent := widths[columnNumber] + len(gap)
			b.WriteString(pad("", indent) + cut(row[columnWhy], max(o.Width-indent, 1)) + "\n")
		}
	}
}

// arrange picks the first layout that has room for what each column needs, or else
// the narrowest. It returns the rows with their titles, and the width of each column
// that stands in the line.
func arrange(fs []event.Finding, o *TableOptions) (l layout, rows [][]string, widths []int) {
	for _, l = range layouts {
		rows = [][]string{titles(fs, o)}
		for i := range fs {
			rows = append(rows, tableRow(i+1, &fs[i], o, l))
		}
		n := columnWhy + 1
		if l.why == 0 {
			n = columnWhy
		}
		widths = natural(rows, n)
		widths[columnWhat] = min(widths[columnWhat], whatMost)
		if o.Width <= 0 {
			widths[columnWho], widths[columnWhom] = min(widths[columnWho], sideMost), min(widths[columnWhom], sideMost)
			break
		}
		least := slices.Clone(widths)
		least[columnWho], least[columnWhom] = min(least[columnWho], sideLeast), min(least[columnWhom], sideLeast)
		if l.why > 0 {
			least[columnWhy] = min(least[columnWhy], l.why)
		}
		shrink(widths, least, o.Width)
		if lineWidth(least) <= o.Width {
			break
		}
	}
	return l, rows, widths
}

// titles returns the titles of the columns. The zone of the times is named if it is
// the same for all.
func titles(fs []event.Finding, o *TableOptions) []string {
	at, zone := "TIME", o.at(fs[0].Start, "MST")
	if !slices.ContainsFunc(fs, func(f event.Finding) bool { return o.at(f.Start, "MST") != zone }) {
		at += " (" + zone + ")"
	}
	return []string{"#", "SEVERITY", at, "WHO", "WHOM", "WHAT", "WHY"}
}

// tableRow returns the cells of one finding, printable.
func tableRow(n int, f *event.Finding, o *TableOptions, l layout) []string {
	at := "2006-01-02 15:04:05"
	if l.short {
		at = "01-02 15:04"
	}
	cells := []string{strconv.Itoa(n), f.Severity().String(), o.at(f.Start, at), who(f), whom(f), what(f, l.short), why(f)}
	for i := range cells {
		cells[i] = Printable(cells[i])
	}
	return cells
}

// natural returns how wide each of the first n columns is by itself.
func natural(rows [][]string, n int) []int {
	widths := make([]int, n)
	for _, row := range rows {
		for i := range widths {
			widths[i] = max(widths[i], columns(row[i]))
		}
	}
	return widths
}

// lineWidth returns how many columns of the terminal a row takes.
func lineWidth(widths []int) int {
	n := len(gap) * (len(widths) - 1)
	for _, w := range widths {
		n += w
	}
	return n
}

// shrink takes from widths until a row fits into so many columns: from the last
// down to its least, then from whichever has most above its least, and if that is
// not enough, from the widest.
func shrink(widths, least []int, width int) {
	over := lineWidth(widths) - width
	last := len(widths) - 1
	if give := min(over, widths[last]-least[last]); give > 0 {
		widths[last] -= give
		over -= give
	}
	for ; over > 0; over-- {
		most, widest := 0, 0
		for i, w := range widths {
			if w-least[i] > widths[most]-least[most] {
				most = i
			}
			if w > widths[widest] {
				widest = i
			}
		}
		if widths[most] <= least[most] {
			most = widest
		}
		if widths[most] <= 1 {
			return
		}
		widths[most]--
	}
}

// cutCell shortens a cell to the width of its column.
func cutCell(column int, s string, width int) string {
	if column == columnWho || column == columnWhom {
		s = cutMiddle(s, width)
	}
	return cut(s, width)
}

// cutMiddle shortens an address or a name of ASCII in its middle, since both ends
// tell: 2001:db8:…:7334.
func cutMiddle(s string, room int) string {
	if len(s) <= room || room < 5 || !plain(s) {
		return s
	}
	tail := (room - 1) / 3
	return s[:room-1-tail] + "…" + s[len(s)-tail:]
}

func who(f *event.Finding) string {
	if f.Source.Addr.IsValid() {
		return f.Source.Addr.String()
	}
	return several(f, "sources")
}

func whom(f *event.Finding) string {
	switch {
	case f.Destination.Domain != "":
		return f.Destination.Domain
	case f.Destination.Addr.IsValid():
		return f.Destination.Addr.String()
	}
	return several(f, "targets")
}

// several names a side that is more than one host by the feature that counts them.
func several(f *event.Finding, key string) string {
	switch n := feature(f, key).Num; {
	case n > 0 && key == "targets":
		return decimal(n) + " hosts"
	case n > 0:
		return decimal(n) + " " + key
	}
	return "-"
}

// what names the case: the detector, with the kind if it tells kinds apart; in
// short, the kind alone. A rule that looks at records itself is the name of its case.
func what(f *event.Finding, short bool) string {
	if f.RuleID != "" {
		return f.Rule.ID
	}
	switch kind := feature(f, "kind").Text; {
	case kind == "":
		return f.Detector
	case short:
		return kind
	default:
		return kind + " " + f.Detector
	}
}

// why is the reason without the source, which has a column of its own.
func why(f *event.Finding) string {
	if f.Source.Addr.IsValid() {
		return strings.TrimPrefix(f.Reason, f.Source.Addr.String()+" ")
	}
	return f.Reason
}

// feature returns the feature of that name, or none.
func feature(f *event.Finding, key string) event.Feature {
	for i := range f.Features {
		if f.Features[i].Key == key {
			return f.Features[i]
		}
	}
	return event.Feature{}
}
