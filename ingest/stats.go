package ingest

import (
	"cmp"
	"encoding/json"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"tidewatch/event"
	"tidewatch/parsers"
)

const (
	// maxRefusals bounds how many pairs of file and reason are told apart.
	maxRefusals = 4096
	// maxSkipped bounds how many names of skipped logs are told apart.
	maxSkipped = 256
	// maxDeadLetter bounds the dead-letter file, in bytes.
	maxDeadLetter = 64 << 20
	// excerptSize is how much of a refused line a message shows.
	excerptSize = 80
	// otherName collects what is beyond the bounds above.
	otherName = "(others)"
)

// Refusal is the lines of one file that were refused for one reason.
type Refusal struct {
	Path    string
	Reason  string
	Count   uint64
	Line    int    // number of the first such line, from 1; 0 if the whole file is meant
	Offset  int64  // where it begins, in bytes of the decompressed file
	Excerpt string // its beginning, unescaped
}

// Stats is what a Merge has read so far.
type Stats struct {
	BytesRead  int64 // from disk, compressed as they may be
	BytesTotal int64 // of all files; 0 if standard input is among them
	Files      int   // that are logs
	Formats    [numFormats]int
	Kinds      [event.NumKinds]uint64
	OutOfRange uint64 // records before Since or after Until
	First      int64  // Unix nanoseconds of the earliest record; 0 if there is none
	Last       int64  // of the latest end
	Refused    []Refusal
	Skipped    map[string]uint64 // records of kinds that tidewatch has no use for, by name
}

// Records returns the number of records given on.
func (s Stats) Records() (n uint64) {
	for _, k := range s.Kinds {
		n += k
	}
	return n
}

// RefusedLines returns the number of refused lines.
func (s Stats) RefusedLines() (n uint64) {
	for _, r := range s.Refused {
		n += r.Count
	}
	return n
}

// ledger collects Stats from several goroutines.
type ledger struct {
	read       atomic.Int64
	warn       func(Refusal)
	deadLetter io.Writer

	mu      sync.Mutex
	stats   Stats
	refused map[refusalKey]*Refusal
	dead    int // bytes written to deadLetter
}

type refusalKey struct{ path, reason string }

// snapshot returns a copy of what is known.
func (l *ledger) snapshot() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.BytesRead = l.read.Load()
	s.Skipped = make(map[string]uint64, len(l.stats.Skipped))
	for k, v := range l.stats.Skipped {
		s.Skipped[k] = v
	}
	for _, r := range l.refused {
		s.Refused = append(s.Refused, *r)
	}
	slices.SortFunc(s.Refused, func(a, b Refusal) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Reason, b.Reason))
	})
	return s
}

// addRun counts what a goroutine has read into one batch.
func (l *ledger) addRun(c *counts) {
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
	*c = counts{}
}

// counts is what one goroutine counts by itself.
type counts struct {
	kinds       [event.NumKinds]uint64
	outOfRange  uint64
	first, last int64
}

// skip counts a record of a kind that is not read.
func (l *ledger) skip(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stats.Skipped == nil {
		l.stats.Skipped = map[string]uint64{}
	}
	if _, ok := l.stats.Skipped[name]; !ok && len(l.stats.Skipped) >= maxSkipped {
		name = otherName
	}
	l.stats.Skipped[name]++
}

// refuse counts a refused line, says so the first time, and keeps the line.
func (l *ledger) refuse(path string, reason parsers.Reason, number int, offset int64, line []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refused == nil {
		l.refused = map[refusalKey]*Refusal{}
	}
	k := refusalKey{path, string(reason)}
	r := l.refused[k]
	if r == nil {
		if len(l.refused) >= maxRefusals {
			k.path = otherName
		}
		if r = l.refused[k]; r == nil {
			r = &Refusal{Path: k.path, Reason: k.reason, Line: number, Offset: offset, Excerpt: string(excerpt(line))}
			l.refused[k] = r
			if l.warn != nil {
				l.warn(*r)
			}
		}
	}
	r.Count++
	l.keep(path, reason, number, offset, line)
}

// excerpt cuts a line for a message, between two characters.
func excerpt(line []byte) []byte {
	if len(line) <= excerptSize {
		return line
	}
	line = line[:excerptSize]
	for i := 0; i < utf8.UTFMax-1 && len(line) > 0 && !utf8.RuneStart(line[len(line)-1]); i++ {
		line = line[:len(line)-1]
	}
	return line
}

// keep writes a refused line to the dead-letter file, while there is room.
func (l *ledger) keep(path string, reason parsers.Reason, number int, offset int64, line []byte) {
	if l.deadLetter == nil || l.dead >= maxDeadLetter {
		return
	}
	b, err := json.Marshal(struct {
		File   string `json:"file"`
		Offset int64  `json:"offset"`
		Line   int    `json:"line"`
		Reason string `json:"reason"`
		Data   []byte `json:"data_base64"` // exact, whatever the bytes are
	}{path, offset, number, string(reason), line})
	if err != nil {
		return
	}
	n, err := l.deadLetter.Write(append(b, '\n'))
	l.dead += n
	if err != nil { // a full disk: say it once, and go on reading
		l.dead = maxDeadLetter
		if l.warn != nil {
			l.warn(Refusal{Path: path, Reason: "the dead-letter file cannot be written: " + err.Error()})
		}
	}
}
