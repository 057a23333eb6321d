package outputs

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"tidewatch/event"
)

const (
	// titleWidth is how many columns the titles of sections take.
	titleWidth = 18
	// leastWidth is the narrowest page; a narrower terminal breaks its lines itself.
	leastWidth = titleWidth + 32
	// proseWidth is the widest that prose gets, in columns of the whole page.
	proseWidth = 110
	// barWidth is the length of the bar of the heaviest evidence.
	barWidth = 8
	// besideWidth is the least room for the text beside the numbers of evidence.
	besideWidth = 28
	// uidWidth is the longest id of a record that is shown whole: several times as
	// long as those of sensors.
	uidWidth = 64
)

// WriteExplanation writes the whole evidence of finding number n: what it is, what
// was seen beside what is normal, what the expectation rests on, who answered, the
// records, and what to do about it. Lines are no longer than the terminal is wide,
// from 50 columns on.
func WriteExplanation(w io.Writer, n int, f *event.Finding, o TableOptions) error {
	var b strings.Builder
	explain(&b, n, f, &o)
	_, err := io.WriteString(w, b.String())
	return err
}

// explain writes the heading and the sections of one finding.
func explain(b *strings.Builder, n int, f *event.Finding, o *TableOptions) {
	x := page{b: b, o: o, width: max(o.Width, leastWidth)}
	if o.Width <= 0 {
		x.width = proseWidth
	}
	x.heading(n, f)
	x.text("What", sentence(f.Reason))
	x.text("Who", side(&f.Source, who(f)))
	x.text("Whom", side(&f.Destination, whom(f)))
	x.text("When", when(f, o))
	x.text("Why it matters", f.Rule.Description)
	x.evidence(f.Evidence)
	x.text("What is normal", baseline(f, o))
	x.items("Answered", feature(f, answeredTargets).List)
	x.items("Numbers", numbers(f))
	x.samples(f)
	x.list("In them", sessionLines(f.Session(), o))
	x.list("ATT&CK", techniques(f.Rule.Attack))
	x.text("What to do", f.Investigate)
	x.list("Harmless if", f.Rule.FalsePositives)
	x.list("Read more", f.Rule.References)
	x.text("Rule", ruleName(f.Rule))
	x.text("Finding", f.ID)
}

// page lays sections out: a title on the left, text to its right. What goes into a
// section may hold any bytes, but for the cells of rows, which are printable.
type page struct {
	b     *strings.Builder
	o     *TableOptions
	width int
}

// line writes one line that is printable and fits.
func (x *page) line(title, text string) {
	s := "  " + x.o.paint(colorDim, title) + pad("", titleWidth-2-columns(title)) + text
	x.b.WriteString(strings.TrimRight(s, " ") + "\n")
}

// lines writes the lines of a section.
func (x *page) lines(title string, lines []string) {
	for _, line := range lines {
		x.line(title, line)
		title = ""
	}
}

// prose is how many columns prose has.
func (x *page) prose() int { return min(x.width, proseWidth) - titleWidth }

func (x *page) heading(n int, f *event.Finding) {
	number := strconv.Itoa(n) + "."
	indent := pad("", len(number)+1)
	for i, line := range wrap(cmp.Or(Printable(f.Rule.Name), "-"), x.prose()) {
		if i > 0 {
			number = pad("", len(number))
		}
		x.b.WriteString(x.o.paint(colorBold, number+" "+line) + "\n")
	}
	severity := f.Severity().String()
	for i, line := range wrap(fmt.Sprintf("%s, risk %.0f of 100, %s", severity, f.Risk, Printable(what(f, false))), x.prose()) {
		if i == 0 {
			line = x.o.paint(colors[f.Severity()], severity) + strings.TrimPrefix(line, severity)
		}
		x.b.WriteString(indent + line + "\n")
	}
	x.b.WriteByte('\n')
}

// text writes a section of prose, wrapped.
func (x *page) text(title, s string) { x.lines(title, wrap(Printable(s), x.prose())) }

// list writes a section of several texts: each begins a line, and its further lines
// are indented.
func (x *page) list(title string, texts []string) {
	for _, s := range texts {
		lines := wrap(Printable(s), x.prose()-2)
		for i := range lines[min(1, len(lines)):] {
			lines[i+1] = "  " + lines[i+1]
		}
		x.lines(title, lines)
		title = ""
	}
}

// items writes a section of short texts, as many on a line as fit.
func (x *page) items(title string, texts []string) {
	texts = slices.Clone(texts)
	for i := range texts {
		texts[i] = Printable(texts[i])
	}
	x.lines(title, pack(texts, x.prose()))
}

// pack sets printable texts side by side, as many on a line as fit. Only those that
// are longer than a line are broken.
func pack(texts []string, width int) (lines []string) {
	line := ""
	for _, s := range texts {
		switch {
		case line == "":
			line = s
		case columns(line)+len(gap)+columns(s) <= width:
			line += gap + s
		default:
			lines, line = append(lines, fold(line, width)...), s
		}
	}
	return append(lines, fold(line, width)...)
}

// fold returns a line that fits as it is, and wraps another.
func fold(line string, width int) []string {
	if line != "" && columns(line) <= width {
		return []string{line}
	}
	return wrap(line, width)
}

// rows writes a section of rows of cells in columns. The last cell of each is
// wrapped beside the others, or stands below them if it would have less room than
// least.
func (x *page) rows(title string, rows [][]string, width, least int) {
	last := len(rows[0]) - 1
	widths := natural(rows, last)
	indent := lineWidth(widths) + len(gap)
	room := width - titleWidth - indent
	for _, row := range rows {
		for i, cell := range row[:last] {
			row[i] = pad(cell, widths[i])
		}
		if room < least {
			x.lines(title, pack(row[:last], width-titleWidth))
			x.lines("", indented(wrap(row[last], width-titleWidth-len(gap))))
		} else {
			x.lines(title, beside(strings.Join(row[:last], gap)+gap, wrap(row[last], room)))
		}
		title = ""
	}
}

func indented(lines []string) []string {
	for i := range lines {
		lines[i] = gap + lines[i]
	}
	return lines
}

// beside sets lines to the right of head.
func beside(head string, lines []string) []string {
	if len(lines) == 0 {
		return []string{head}
	}
	for i := range lines {
		lines[i] = head + lines[i]
		if i == 0 {
			head = pad("", columns(head))
		}
	}
	return lines
}

// right pads cells of one column on the left.
func right(rows [][]string, column int) {
	width := 0
	for _, row := range rows {
		width = max(width, columns(row[column]))
	}
	for _, row := range rows {
		row[column] = pad("", width-columns(row[column])) + row[column]
	}
}

// evidence writes what speaks for the case and against it, the heaviest first:
// what was seen, what is normal, and how much it counted, with a bar where there is
// room.
func (x *page) evidence(all []event.Evidence) {
	if len(all) == 0 {
		return
	}
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b event.Evidence) int { return cmp.Compare(b.Weight, a.Weight) })
	heaviest := 0.0
	for i := range all {
		heaviest = max(heaviest, math.Abs(all[i].Weight))
	}
	rows := [][]string{{"seen", "normal", "", "weight", "", ""}}
	for i := range all {
		e := &all[i]
		rows = append(rows, []string{
			grouped(e.Observed), grouped(e.Expected), cut(Printable(e.Unit), 16), signed(e.Weight), bar(e.Weight, heaviest), Printable(e.Text),
		})
	}
	for _, column := range []int{0, 1, 3} {
		right(rows, column)
	}
	width := min(x.width, proseWidth+20)
	if lineWidth(natural(rows, 5))+len(gap)+besideWidth > width-titleWidth {
		for i, row := range rows {
			rows[i] = slices.Delete(row, 4, 5)
		}
	}
	x.rows("Evidence", rows, width, besideWidth)
}

// bar draws a weight: solid for the case, light against it.
func bar(weight, heaviest float64) string {
	if heaviest == 0 || math.IsNaN(weight) || math.IsNaN(heaviest) || math.IsInf(heaviest, 0) {
		return ""
	}
	n := max(int(math.Round(math.Abs(weight)/heaviest*barWidth)), 1)
	if weight < 0 {
		return strings.Repeat("░", n)
	}
	return strings.Repeat("█", n)
}

// samples writes the records that made the case. Their ids stay whole: an id that
// is cut finds nothing.
func (x *page) samples(f *event.Finding) {
	if len(f.Sample) == 0 {
		return
	}
	layout := "15:04:05.000"
	day := x.o.at(f.Sample[0].Time, "2006-01-02")
	if slices.ContainsFunc(f.Sample, func(s event.Sample) bool { return x.o.at(s.Time, "2006-01-02") != day }) {
		layout = "01-02 15:04:05"
	}
	var rows [][]string
	least := 0
	for i := range f.Sample {
		s := &f.Sample[i]
		row := []string{
			x.o.at(s.Time, layout), cut(Printable(s.UID), uidWidth), cut(Printable(s.State), 16),
			size(s.OrigBytes) + " out", size(s.RespBytes) + " in", ends(s, f.Source.Addr),
		}
		rows = append(rows, row)
		least = max(least, columns(row[5]))
	}
	right(rows, 3)
	right(rows, 4)
	x.rows("Records", rows, x.width, least)
}

// ends writes both ends of a connection. The source of the finding is known by its
// port.
func ends(s *event.Sample, source netip.Addr) string {
	from := endText(s.Orig)
	if s.Orig.Addr() == source && source.IsValid() {
		from = ":" + strconv.Itoa(int(s.Orig.Port()))
	}
	return from + " > " + endText(s.Resp)
}

func endText(a netip.AddrPort) string {
	if !a.Addr().IsValid() {
		return "?"
	}
	return a.String()
}

// side writes what is known of one side; many names it if it is more than one host.
func side(e *event.Endpoint, many string) string {
	var parts []string
	switch {
	case e.Addr.IsValid() && e.HasPort:
		parts = append(parts, netip.AddrPortFrom(e.Addr, e.Port).String())
	case e.Addr.IsValid():
		parts = append(parts, e.Addr.String())
	}
	switch {
	case e.Domain != "":
		parts = append(parts, e.Domain)
	case e.About.HostName() != "":
		parts = append(parts, e.About.HostName())
	case len(parts) == 0 && many == "-":
		return ""
	case len(parts) == 0:
		parts = append(parts, many)
	}
	if e.HasPort && !e.Addr.IsValid() {
		parts = append(parts, "port "+strconv.Itoa(int(e.Port)))
	}
	if e.Scope == event.ScopeLocal {
		parts = append(parts, "own network")
	}
	if e.About != nil && e.About.Service != nil {
		parts = append(parts, strings.TrimRight("network of "+e.About.Service.Provider+" "+e.About.Service.Name, " "))
	}
	if e.About != nil && e.About.Geo != nil {
		parts = append(parts, place(e.About.Geo)...)
	}
	if e.Bytes > 0 {
		parts = append(parts, "sent "+size(e.Bytes))
	}
	return strings.Join(parts, ", ")
}

// place writes where an address is used, and whose network it is in.
func place(g *event.Geo) (parts []string) {
	if where := cmp.Or(g.City, g.Region); where != "" {
		parts = append(parts, where)
	}
	if c := cmp.Or(g.CountryName, g.Country); c != "" {
		parts = append(parts, c)
	}
	if g.ASN != 0 {
		parts = append(parts, strings.TrimRight(fmt.Sprintf("AS%d %s", g.ASN, g.Organization), " "))
	}
	return parts
}

// when writes the span of the evidence, and whether the case goes on.
func when(f *event.Finding, o *TableOptions) string {
	s := o.at(f.Start, "2006-01-02 15:04:05") + " to "
	if o.at(f.Start, "2006-01-02 MST") == o.at(f.End, "2006-01-02 MST") {
		s += o.at(f.End, "15:04:05 MST")
	} else {
		s = o.at(f.Start, "2006-01-02 15:04:05 MST") + " to " + o.at(f.End, "2006-01-02 15:04:05 MST")
	}
	if f.Open {
		s += ", still going on"
	}
	return s
}

// baseline writes what the expectation rests on.
func baseline(f *event.Finding, o *TableOptions) string {
	s := f.Baseline.Text
	if f.Baseline.Since == 0 {
		return s
	}
	if s != "" {
		s += "; "
	}
	return s + fmt.Sprintf("known since %s, %s observations", o.at(f.Baseline.Since, "2006-01-02 15:04 MST"), grouped(float64(f.Baseline.Observations)))
}

// answeredTargets is the feature that has a section of its own.
const answeredTargets = "answered_targets"

// numbers writes the detector's own numbers by the names that rules know them by.
func numbers(f *event.Finding) (pairs []string) {
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
			v = strings.Join(t.List, ",")
		}
		if v != "" && t.Key != answeredTargets {
			pairs = append(pairs, t.Key+"="+v)
		}
	}
	return pairs
}

// techniques writes ATT&CK techniques with what each is for.
func techniques(ts []event.Technique) (texts []string) {
	for i := range ts {
		t := &ts[i]
		s := t.ID + " " + t.Name
		if t.SubID != "" {
			s = t.SubID + " " + t.Name + ": " + t.SubName
		}
		var tactics []string
		for _, a := range t.Tactics {
			tactics = append(tactics, a.Name)
		}
		if len(tactics) > 0 {
			s += " (" + strings.Join(tactics, ", ") + ")"
		}
		texts = append(texts, s)
	}
	return texts
}

func ruleName(r *event.RuleInfo) string {
	s := r.ID
	if r.Version != "" {
		s += ", version " + r.Version
	}
	if r.Ruleset != "" {
		s += ", rules of " + r.Ruleset
	}
	return s
}

// sentence ends a text with a full stop.
func sentence(s string) string {
	if s == "" || strings.HasSuffix(s, ".") {
		return s
	}
	return s + "."
}

// size writes a number of bytes the way people say it.
func size(n uint64) string {
	units := []string{"B", "kB", "MB", "GB", "TB", "PB", "EB"}
	v, i := float64(n), 0
	for v >= 999.5 && i < len(units)-1 {
		v /= 1000
		i++
	}
	if i == 0 || v >= 99.5 {
		return fmt.Sprintf("%.0f %s", v, units[i])
	}
	return fmt.Sprintf("%.1f %s", v, units[i])
}

// decimal writes a number with at most two digits after the point, or two digits
// that count if it is small.
func decimal(v float64) string {
	switch abs := math.Abs(v); {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return "-"
	case v == 0:
		return "0"
	case abs >= 1e15 || abs < 0.0001:
		return strconv.FormatFloat(v, 'g', 2, 64)
	case abs < 0.1:
		digits := 1 - int(math.Floor(math.Log10(abs)))
		return trimmed(strconv.FormatFloat(v, 'f', digits, 64))
	}
	return trimmed(strconv.FormatFloat(v, 'f', 2, 64))
}

// trimmed drops the zeros at the end of a fraction.
func trimmed(s string) string { return strings.TrimRight(strings.TrimRight(s, "0"), ".") }

// grouped is decimal with a comma between thousands.
func grouped(v float64) string {
	s := decimal(v)
	if strings.Contains(s, "e") {
		return s
	}
	end := len(s)
	if i := strings.IndexByte(s, '.'); i >= 0 {
		end = i
	}
	for i := end - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// signed writes a weight with its sign.
func signed(v float64) string {
	switch {
	case math.IsNaN(v):
		return "-"
	case math.Abs(v) >= 1e6:
		return fmt.Sprintf("%+.2g", v)
	}
	return fmt.Sprintf("%+.1f", v)
}
