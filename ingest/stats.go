package ingest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unicode"
	"unicode/utf8"

	"tidewatch/event"
	"tidewatch/parsers"
)

const (
	// maxRefusals bounds how many pairs of file and reason are told apart.
	maxRefusals = 4096
	// maxSkipped bounds how many names of skipped records are told apart.
	maxSkipped = 256
	// maxDeadLetter bounds the dead-letter file, in bytes.
	maxDeadLetter = 64 << 20
	// excerptSize is how many bytes of a refused line a message shows.
	excerptSize = 80
	// otherName collects what is beyond the bounds above.
	otherName = "(others)"
	// strangersName counts files in folders that are no logs.
	strangersName = "(files that are no logs)"
)

// Refusal is the lines of one file that were refused for one reason.
type Refusal struct {
	Path    string
	Reason  string
	Count   uint64
	Line    int    // number of the first such line, from 1; 0 if the whole file is meant
	Offset  int64  // where it begins, in bytes of the decompressed file
	Excerpt string // its beginning, escaped for a terminal
}

// Stats is what a Merge has read so far.
type Stats struct {
	BytesRead  int64 // from disk, compressed as they may be
	BytesTotal int64 // of all files; 0 if not known: one of them is a Stream
	Files      int   // that are logs
	Formats    [NumFormats]int
	Kinds      [event.NumKinds]uint64
	OutOfRange uint64 // records before Since or after Until
	First      int64  // Unix nanoseconds of the earliest record; 0 if there is none
	Last       int64  // of the latest end
	// Refused has the most frequent first. At most maxRefusals are told apart,
	// the others are counted by reason.
	Refused []Refusal
	Skipped map[string]uint64 // records of kinds that tidewatch has no use for, by name
}

// Records returns the number of records given on.
func (s Stats) Records() (n uint64) {
	for _, k := range s.Kinds {
		n += k
	}
	return n
}

// RefusedLines returns the number of refused lines; a file that is refused as a
// whole counts as one.
func (s Stats) RefusedLines() (n uint64) {
	for _, r := range s.Refused {
		n += r.Count
	}
	return n
}

// ledger collects Stats from several goroutines.
type ledger struct {
	read atomic.Int64

	mu      sync.Mutex
	stats   Stats
	refused map[refusalKey]*Refusal

	// said is held while something is told or written. It is taken before mu, and
	// mu is not held then: Stats does not wait for a slow terminal.
	said       sync.Mutex
	warn       func(Refusal)
	repeat     bool // warn at the tenth, the hundredth ... too
	deadLetter io.Writer
	dead       int // bytes written to deadLetter
}

type refusalKey struct{ path, reason string }

// snapshot returns a copy of what is known.
func (l *ledger) snapshot() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.BytesRead = l.read.Load()
	s.Skipped = maps.Clone(l.stats.Skipped)
	for _, r := range l.refused {
		s.Refused = append(s.Refused, *r)
	}
	slices.SortFunc(s.Refused, func(a, b Refusal) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Reason, b.Reason))
	})
	return s
}

// counts is what one goroutine counts by itself, and gives to the ledger once a
// batch.
type counts struct {
	kinds       [event.NumKinds]uint64
	outOfRange  uint64
	first, last int64
	skipped     [8]skippedName
}

type skippedName struct {
	name string
	n    uint64
}

// event counts a record that is given on.
func (c *counts) event(ev *event.Event) {
	c.kinds[ev.Kind]++
	if c.first == 0 || ev.Time < c.first {
		c.first = ev.Time
	}
	c.last = max(c.last, ev.End)
}

// skip counts a record that is not read. It reports false if it cannot, for too
// many names.
func (c *counts) skip(name string) bool {
	for i := range c.skipped {
		s := &c.skipped[i]
		if s.n == 0 {
			s.name = strings.Clone(name)
		}
		if s.n == 0 || s.name == name {
			s.n++
			return true
		}
	}
	return false
}

// add takes over what a goroutine has counted, and sets c to zero.
func (l *ledger) add(c *counts) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, n := range c.kinds {
		l.stats.Kinds[k] += n
	}
	l.stats.OutOfRange += c.outOfRange
	if c.first != 0 && (l.stats.First == 0 || c.first < l.stats.First) {
		l.stats.First = c.first
	}
	l.stats.Last = max(l.stats.Last, c.last)
	for _, s := range c.skipped {
		l.skip(s.name, s.n)
	}
	*c = counts{}
}

// skip counts records that are not read. The caller holds mu.
func (l *ledger) skip(name string, n uint64) {
	if n == 0 {
		return
	}
	if l.stats.Skipped == nil {
		l.stats.Skipped = map[string]uint64{}
	}
	if _, ok := l.stats.Skipped[name]; !ok && len(l.stats.Skipped) >= maxSkipped {
		name = otherName
	}
	l.stats.Skipped[name] += n
}

// stranger counts a file in a folder that is no log.
func (l *ledger) stranger() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.skip(strangersName, 1)
}

// file counts a file whose format is known.
func (l *ledger) file(f Format) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.Files++
	l.stats.Formats[f]++
}

// refuse counts a refused line, says so the first time, and keeps the line. It
// does not keep line itself.
func (l *ledger) refuse(path string, reason parsers.Reason, number int, offset int64, line []byte) {
	first := l.count(path, reason, number, offset, line)
	if l.deadLetter == nil && (first == nil || l.warn == nil) {
		return
	}
	l.said.Lock()
	defer l.said.Unlock()
	if first != nil && l.warn != nil {
		l.warn(*first)
	}
	if l.deadLetter != nil && number > 0 {
		l.keep(path, reason, number, offset, line)
	}
}

// count counts a refused line, and returns the refusal if it is the first of its
// kind, or another that is to be told.
func (l *ledger) count(path string, reason parsers.Reason, number int, offset int64, line []byte) (first *Refusal) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := refusalKey{path, string(reason)}
	r := l.refused[k]
	if r == nil && len(l.refused) >= maxRefusals {
		k.path = otherName
		if r = l.refused[k]; r == nil && len(l.refused) >= 2*maxRefusals {
			k.reason = otherName // reasons are few; this is for one that is not
			r = l.refused[k]
		}
	}
	if r != nil {
		r.Count++
		if l.repeat && isPowerOfTen(r.Count) {
			said := *r
			said.Line, said.Offset, said.Excerpt = number, offset, excerpt(line)
			return &said
		}
		return nil
	}
	if l.refused == nil {
		l.refused = map[refusalKey]*Refusal{}
	}
	r = &Refusal{Path: k.path, Reason: k.reason, Count: 1, Line: number, Offset: offset, Excerpt: excerpt(line)}
	l.refused[k] = r
	said := *r
	return &said
}

func isPowerOfTen(n uint64) bool {
	for n > 0 && n%10 == 0 {
		n /= 10
	}
	return n == 1
}

// excerpt returns the beginning of a line with everything escaped that is not
// plainly printable.
func excerpt(line []byte) string {
	cut := len(line) > excerptSize
	if cut {
		line = line[:excerptSize]
	}
	var b strings.Builder
	for len(line) > 0 {
		r, n := utf8.DecodeRune(line)
		switch {
		case cut && !utf8.FullRune(line): // the cut went through a character
		case r == utf8.RuneError && n == 1, r < ' ', r == 0x7f:
			fmt.Fprintf(&b, `\x%02x`, line[0])
		case !unicode.IsPrint(r):
			fmt.Fprintf(&b, `\u{%x}`, r)
		default:
			b.WriteRune(r)
		}
		line = line[n:]
	}
	if cut {
		b.WriteString("...")
	}
	return b.String()
}

// deadLetter is one line of the dead-letter file. Line has the bytes exactly if
// they are UTF-8, else Base64 has them. Of a line that is too long there is its
// beginning only.
type deadLetter struct {
	File   string `json:"file"`
	Offset int64  `json:"offset"`
	Number int    `json:"line_number"`
	Reason string `json:"reason"`
	Line   string `json:"line,omitempty"`
	Base64 []byte `json:"line_base64,omitempty"`
}

// keep writes a refused line to the dead-letter file, while there is room. The
// caller holds said.
func (l *ledger) keep(path string, reason parsers.Reason, number int, offset int64, line []byte) {
	if l.dead >= maxDeadLetter {
		return
	}
	d := deadLetter{File: path, Offset: offset, Number: number, Reason: string(reason)}
	if utf8.Valid(line) {
		d.Line = string(line)
	} else {
		d.Base64 = line
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(d); err != nil {
		panic("ingest: " + err.Error()) // text and numbers only
	}
	if l.dead+b.Len() > maxDeadLetter {
		l.dead = maxDeadLetter
		return
	}
	n, err := l.deadLetter.Write(b.Bytes())
	l.dead += n
	if err != nil { // a full disk: say it once, and go on reading
		l.dead = maxDeadLetter
		if l.warn != nil {
			l.warn(Refusal{Path: path, Reason: "the dead-letter file cannot be written: " + err.Error()})
		}
	}
}
