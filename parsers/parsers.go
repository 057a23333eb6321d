// Package parsers says what a parser is, and finds the one that fits a log by
// its content.
package parsers

import "tidewatch/event"

// Options are what every parser can be asked for.
type Options struct {
	// Extra names columns, in the sensor's own words, to keep in Event.Extra.
	Extra []string
}

// Parser turns the lines of one log file into events. It keeps what the file's
// header said, so each file has a Parser of its own. It is used by one goroutine.
type Parser interface {
	// Parse reads line, the batch's own copy, into ev, the record that b.Add
	// returned for it. Values become views of line or of b's memory. The error
	// is nil, ErrMeta, a Skip, or a Reason; for each of the three the caller
	// drops ev. Parse does not allocate on lines of a shape it has seen.
	Parse(b *event.Batch, ev *event.Event, line []byte) error
}

// Error is a constant error.
type Error string

func (e Error) Error() string { return string(e) }

// ErrMeta is returned for a line that is not a record and should not be one:
// a header directive, an empty line.
const ErrMeta = Error("not a record")

// Skip is the error for a record of a kind that tidewatch has no use for. Name is
// its #path, _path or event_type, to be counted.
type Skip struct{ Name string }

func (s *Skip) Error() string { return "skipped: " + s.Name }

// Reason is the error for a line that is refused: why, in words that do not
// depend on the line's content, so that lines can be counted by it.
type Reason string

func (r Reason) Error() string { return string(r) }

// Reasons that more than one parser gives.
const (
	ReasonNoTime     Reason = "no time stamp"
	ReasonBadTime    Reason = "time stamp not understood"
	ReasonBadAddr    Reason = "address not understood"
	ReasonBadNumber  Reason = "number not understood"
	ReasonBadPort    Reason = "port out of range"
	ReasonBadJSON    Reason = "not valid JSON"
	ReasonNotObject  Reason = "not a JSON object"
	ReasonNoKind     Reason = "no event_type, _path or known set of fields"
	ReasonColumns    Reason = "number of columns differs from the header"
	ReasonNoHeader   Reason = "no #fields header before the first record: the columns have no names"
	ReasonBadHeader  Reason = "header directive not understood"
	ReasonBadEscape  Reason = "escape sequence not understood"
	ReasonLineTooBig Reason = "line longer than 1 MiB"
	ReasonNUL        Reason = "run of NUL bytes"
)
