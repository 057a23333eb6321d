package outputs

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"tidewatch/event"
)

// WriteExplanation writes the whole evidence of finding number n.
func WriteExplanation(w io.Writer, n int, f *event.Finding, o TableOptions) error {
	var b strings.Builder
	head := fmt.Sprintf("%d. %s", n, Printable(f.Rule.Name))
	severity := strings.ToUpper(f.Rule.Severity.String())
	if o.Color {
		head, severity = colorBold+head+colorReset, colors[f.Rule.Severity]+severity+colorReset
	}
	fmt.Fprintf(&b, "%s  [%s, risk %.0f of 100]\n\n", head, severity, f.Risk)
	explain(&b, f, o)
	_, err := io.WriteString(w, b.String())
	return err
}

// explain writes the sections of one finding.
func explain(b *strings.Builder, f *event.Finding, o TableOptions) {
	x := explanation{b: b, width: o.Width, color: o.Color}
	if x.width == 0 || x.width > 120 {
		x.width = 120
	}
	at := func(ns int64) string { return time.Unix(0, ns).In(o.location()).Format("2006-01-02 15:04:05 MST") }
	x.text("What", f.Reason+".")
	x.text("When", at(f.Start)+" to "+at(f.End))
	x.text("Why it matters", f.Rule.Description)
	x.table("Evidence", evidenceRows(f))
	if f.Baseline.Text != "" {
		s := f.Baseline.Text
		if f.Baseline.Since != 0 {
			s += fmt.Sprintf("; known since %s, %d observations", at(f.Baseline.Since), f.Baseline.Observations)
		}
		x.text("Normal", s)
	}
	x.table("Numbers", featureRows(f))
	x.text("ATT&CK", attack(f.Rule.Attack))
	x.table("Records", sampleRows(f, o))
	x.text("What to do", f.Investigate)
	x.text("Harmless if", strings.Join(f.Rule.FalsePositives, "; "))
	x.text("Rule", f.Rule.ID+" ("+f.Rule.Ruleset+"), finding "+f.ID)
}

// explanation lays sections out: a title on the left, text to its right.
type explanation struct {
	b     *strings.Builder
	width int
	color bool
}

const titleWidth = 18

func (x *explanation) title(s string) {
	pad := strings.Repeat(" ", max(titleWidth-utf8.RuneCountInString(s)-2, 1))
	if x.color && s != "" {
		s = colorDim + s + colorReset
	}
	x.b.WriteString("  " + s + pad)
}

// text writes a section of prose, wrapped.
func (x *explanation) text(title, s string) {
	if s == "" {
		return
	}
	for _, line := range wrap(Printable(s), max(x.width-titleWidth, 30)) {
		x.title(title)
		x.b.WriteString(line + "\n")
		title = ""
	}
}

// table writes a section of rows; the columns are aligned but for the last.
func (x *explanation) table(title string, rows [][]string) {
	if len(rows) == 0 {
		return
	}
	widths := columnWidths(rows)
	for _, row := range rows {
		x.title(title)
		title = ""
		used := titleWidth
		for i, cell := range row {
			if i == len(row)-1 {
				x.b.WriteString(cut(cell, max(x.width-used, 12)))
				break
			}
			x.b.WriteString(cell + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
			used += widths[i] + 2
		}
		x.b.WriteByte('\n')
	}
}

func evidenceRows(f *event.Finding) [][]string {
	if len(f.Evidence) == 0 {
		return nil
	}
	rows := [][]string{{"weight", "seen", "normal", "", "meaning"}}
	for i := range f.Evidence {
		e := &f.Evidence[i]
		rows = append(rows, []string{fmt.Sprintf("%+.2f", e.Weight), decimal(e.Observed), decimal(e.Expected), Printable(e.Unit), Printable(e.Text)})
	}
	return rows
}

func featureRows(f *event.Finding) (rows [][]string) {
	for i := range f.Features {
		t := &f.Features[i]
		v := ""
		switch t.Type {
		case event.FeatureNumber:
			v = decimal(t.Num)
		case event.FeatureText:
			v = t.Text
		case event.FeatureBool:
			v = strconv.FormatBool(t.Num != 0)
		case event.FeatureList:
			v = strings.Join(t.List, " ")
		}
		if v != "" {
			rows = append(rows, []string{t.Key, Printable(v)})
		}
	}
	return rows
}

func sampleRows(f *event.Finding, o TableOptions) (rows [][]string) {
	for i := range f.Sample {
		s := &f.Sample[i]
		rows = append(rows, []string{
			time.Unix(0, s.Time).In(o.location()).Format("15:04:05.000"), Printable(s.UID), s.Orig.String() + " > " + s.Resp.String(),
			Printable(s.State), fmt.Sprintf("%d B out, %d B in", s.OrigBytes, s.RespBytes),
		})
	}
	return rows
}

func attack(ts []event.Technique) string {
	var parts []string
	for _, t := range ts {
		s := t.ID + " " + t.Name
		if t.SubID != "" {
			s = t.SubID + " " + t.Name + ": " + t.SubName
		}
		parts = append(parts, s)
	}
	return strings.Join(parts, "; ")
}

// decimal writes a number as short as it is.
func decimal(v float64) string {
	s := strconv.FormatFloat(v, 'f', 2, 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

// wrap breaks s into lines of at most width characters, between words.
func wrap(s string, width int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(s) {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}
