// Package eval compares what was found with what is true.
//
// The truth about a folder of logs is a TOML file:
//
//	local      = ["203.0.113.0/24"]     # own networks that are not private ones
//	benign     = ["10.20.16.20"]        # hosts that did nothing wrong
//	background = ["198.19.224.0/20"]    # who may be found or not, such as Internet noise
//	host_days  = 30.0                   # days of harmless hosts in the logs
//	unlabelled = false                  # true: what instances do not list may be true too
//
//	[instance.scan-horizontal-easy]
//	kind         = "scan"               # what was done
//	detector     = "scan"               # which detector should find it
//	variant      = "horizontal"
//	difficulty   = "easy"               # "easy", "medium" or "hard"
//	sources      = ["10.20.16.51"]      # addresses or networks
//	destinations = ["10.20.0.0/16"]     # addresses, networks or names
//	ports        = [445]
//	start        = 2026-11-20T09:03:11Z # first record
//	end          = 2026-11-20T09:03:24Z # last byte
//	records      = 254                  # connections that belong to it
package eval

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
)

// TruthFile is the name of the truth file in a folder of labelled logs.
const TruthFile = "truth.toml"

// Truth says what is in a folder of logs.
type Truth struct {
	// Local are the own networks, for logs that do not say so themselves.
	Local []string
	// Benign are addresses whose host did nothing wrong: a finding of medium or
	// higher with one of them as its source is false.
	Benign []string
	// Background are addresses or networks that really do what a finding may say,
	// and that nobody is blamed for missing.
	Background []string
	// HostDays is how many days of harmless hosts the logs hold; 0: not known.
	HostDays float64
	// Unlabelled says that there are true things which Instances do not list, such
	// as Internet noise: only findings about Benign are judged false.
	Unlabelled bool
	Instances  []Instance
}

// Instance is one thing that should be found.
type Instance struct {
	ID           string    `toml:"-"`
	Kind         string    `toml:"kind"`       // what was done: "scan", "beacon", ...
	Detector     string    `toml:"detector"`   // that should find it, as in event.Observation
	Variant      string    `toml:"variant"`    // "horizontal", ...
	Difficulty   string    `toml:"difficulty"` // "easy", "medium" or "hard"
	Sources      []string  `toml:"sources,omitempty"`
	Destinations []string  `toml:"destinations,omitempty"`
	Ports        []uint16  `toml:"ports,omitempty"` // of the destinations; none: any
	Start        time.Time `toml:"start"`           // zero: the whole capture
	End          time.Time `toml:"end"`
	Records      int       `toml:"records,omitempty"` // connections that belong to it; 0: not known
}

// truthFile is the form that a Truth has in TOML. Instances are named tables: in
// an array of tables the decoder does not see misspelt keys.
type truthFile struct {
	Local      []string            `toml:"local,omitempty"`
	Benign     []string            `toml:"benign,omitempty"`
	Background []string            `toml:"background,omitempty"`
	HostDays   float64             `toml:"host_days,omitempty"`
	Unlabelled bool                `toml:"unlabelled,omitempty"`
	Instance   map[string]Instance `toml:"instance,omitempty"`
}

// ReadTruth reads a truth file.
func ReadTruth(path string) (Truth, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return Truth{}, err
	}
	t, err := ParseTruth(string(b))
	if err != nil {
		return Truth{}, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

// ParseTruth reads the text of a truth file. Unknown keys are errors, as are
// instances that no finding could match.
func ParseTruth(text string) (Truth, error) {
	var f truthFile
	md, err := toml.Decode(text, &f)
	if err != nil {
		return Truth{}, err
	}
	if un := md.Undecoded(); len(un) > 0 {
		return Truth{}, fmt.Errorf("unknown key %q", un[0].String())
	}
	return f.truth()
}

func (f *truthFile) truth() (Truth, error) {
	t := Truth{Local: f.Local, Benign: f.Benign, Background: f.Background, HostDays: f.HostDays, Unlabelled: f.Unlabelled}
	for _, id := range slices.Sorted(maps.Keys(f.Instance)) {
		in := f.Instance[id]
		in.ID = id
		if in.Kind == "" {
			in.Kind = in.Detector
		}
		if in.Detector == "" || len(in.Sources)+len(in.Destinations) == 0 {
			return t, fmt.Errorf("instance %s has no detector, or neither sources nor destinations", id)
		}
		if in.End.Before(in.Start) {
			return t, fmt.Errorf("instance %s ends before it starts", id)
		}
		t.Instances = append(t.Instances, in)
	}
	slices.SortStableFunc(t.Instances, func(a, b Instance) int {
		return cmp.Or(a.Start.Compare(b.Start), strings.Compare(a.ID, b.ID))
	})
	return t, nil
}

// Write writes a truth file.
func (t Truth) Write(w io.Writer) error {
	f := truthFile{
		Local: t.Local, Benign: t.Benign, Background: t.Background, HostDays: t.HostDays, Unlabelled: t.Unlabelled,
		Instance: make(map[string]Instance, len(t.Instances)),
	}
	for _, in := range t.Instances {
		if _, twice := f.Instance[in.ID]; twice {
			return fmt.Errorf("two instances are called %s", in.ID)
		}
		f.Instance[in.ID] = in
	}
	e := toml.NewEncoder(w)
	e.Indent = ""
	return e.Encode(f)
}
