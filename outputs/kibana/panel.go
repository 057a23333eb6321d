// Package kibana makes data views, saved searches and dashboards for Kibana, of the
// documents that tidewatch writes, and imports them.
//
// A panel is declared once: its title, condition, aggregation and fields are one value,
// of which its Lens state is made here, and its query in the tests.
package kibana

import (
	"fmt"
	"strconv"
	"strings"
)

// view is which documents a panel is about.
type view string

const (
	findings view = "findings"
	records  view = "records"
)

// shape is how a panel is drawn.
type shape int

const (
	bars   shape = iota // over the last of By, coloured by the one before it
	across              // the same, lying
	heat                // the first of By upwards, the second to the right
	table               // a row for each combination of By
	figure              // one number
	list                // documents, with Columns
)

// panel is one part of a dashboard.
type panel struct {
	Title   string
	Shape   shape
	View    view
	Where   []condition // that all hold
	By      []bucket    // from the outermost on
	Show    []measure   // the first decides which values of terms are shown
	Columns []string    // of a list
	Sort    string      // field by which a list is ordered, from the largest on
	Width   int         // columns of 48
}

// condition is what must hold of a document.
type condition struct {
	field string
	op    string // "=", ">=", "<=" or "*": there is a value
	text  string
	num   float64
}

func is(field, text string) condition           { return condition{field: field, op: "=", text: text} }
func has(field string) condition                { return condition{field: field, op: "*"} }
func atLeast(field string, n float64) condition { return condition{field: field, op: ">=", num: n} }
func atMost(field string, n float64) condition  { return condition{field: field, op: "<=", num: n} }

// kql writes conditions in Kibana's query language. The texts are words of this
// program, without quotes.
func kql(cs []condition) string {
	all := make([]string, len(cs))
	for i, c := range cs {
		switch c.op {
		case "=":
			all[i] = fmt.Sprintf("%s: %q", c.field, c.text)
		case "*":
			all[i] = c.field + ": *"
		default:
			all[i] = c.field + " " + c.op + " " + number(c.num)
		}
	}
	return strings.Join(all, " and ")
}

func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// bucket is how documents are grouped: by the values of a field, of which there are at
// most size; by ranges of a number; or, with neither, by time.
type bucket struct {
	field, label string
	size         int
	bounds       []float64 // ascending: the first range begins at the first, the last has no end
	names        []string  // of the ranges, one a bound
	numeric      bool      // the values are numbers
}

func over(label string) bucket { return bucket{field: "@timestamp", label: label} }

func by(field, label string, size int) bucket { return bucket{field: field, label: label, size: size} }

func (b bucket) numbers() bucket { b.numeric = true; return b }

// within groups a number by ranges: bound, name, bound, name, …
func within(field, label string, ranges ...any) bucket {
	b := bucket{field: field, label: label, numeric: true}
	for i := 0; i < len(ranges); i += 2 {
		b.bounds = append(b.bounds, ranges[i].(float64))
		b.names = append(b.names, ranges[i+1].(string))
	}
	return b
}

// measure is a number of each group.
type measure struct {
	op    string // count, sum, max, average, unique_count
	field string // of all but count
	label string
}

func count(label string) measure             { return measure{op: "count", label: label} }
func sumOf(field, label string) measure      { return measure{"sum", field, label} }
func maxOf(field, label string) measure      { return measure{"max", field, label} }
func averageOf(field, label string) measure  { return measure{"average", field, label} }
func distinctOf(field, label string) measure { return measure{"unique_count", field, label} }

// fields returns the fields that the panel uses.
func (p *panel) fields() []string {
	fs := append([]string{"@timestamp"}, p.Columns...)
	for _, c := range p.Where {
		fs = append(fs, c.field)
	}
	for _, b := range p.By {
		fs = append(fs, b.field)
	}
	for _, m := range p.Show {
		if m.field != "" {
			fs = append(fs, m.field)
		}
	}
	if p.Sort != "" {
		fs = append(fs, p.Sort)
	}
	return fs
}

// dashboard is one page: rows of panels.
type dashboard struct {
	ID, Title, Description string
	Control                string // field that can be chosen on top; "" for none
	Rows                   []row
}

type row struct {
	height int
	panels []panel
}
