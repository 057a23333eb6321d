// Package eval compares what was found with what is true.
package eval

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/BurntSushi/toml"
)

// TruthFile is the name of the truth file in a folder of labelled logs.
const TruthFile = "truth.toml"

// Truth says what is in a folder of logs. docs/detection.md describes the file.
type Truth struct {
	// Local are the own networks, for logs that do not say so themselves.
	Local []string `toml:"local,omitempty"`
	// Benign are addresses whose host did nothing wrong: a finding of medium or
	// higher with one of them as its source is false.
	Benign []string `toml:"benign,omitempty"`
	// HostDays is how many days of harmless hosts the logs hold; 0: not known.
	HostDays float64 `toml:"host_days,omitempty"`
	// Unlabelled says that there are true things which Instances do not list, such
	// as Internet noise: only findings about Benign are judged false.
	Unlabelled bool       `toml:"unlabelled,omitempty"`
	Instances  []Instance `toml:"instance"`
}

// Instance is one thing that should be found.
type Instance struct {
	ID           string    `toml:"id"`
	Detector     string    `toml:"detector"`   // "scan", "beacon", ...
	Variant      string    `toml:"variant"`    // "horizontal", ...
	Difficulty   string    `toml:"difficulty"` // "easy", "medium", "hard"
	Sources      []string  `toml:"sources"`    // addresses, any of which a finding may name
	Destinations []string  `toml:"destinations,omitempty"`
	Start        time.Time `toml:"start"`
	End          time.Time `toml:"end"`
	Records      int       `toml:"records"` // that belong to it
}

// ReadTruth reads a truth file.
func ReadTruth(path string) (Truth, error) {
	var t Truth
	b, err := os.ReadFile(path)
	if err != nil {
		return t, err
	}
	md, err := toml.Decode(string(b), &t)
	if err != nil {
		return t, fmt.Errorf("%s: %w", path, err)
	}
	if un := md.Undecoded(); len(un) > 0 {
		return t, fmt.Errorf("%s: unknown key %q", path, un[0].String())
	}
	for i, in := range t.Instances {
		if in.ID == "" || in.Detector == "" || len(in.Sources)+len(in.Destinations) == 0 {
			return t, fmt.Errorf("%s: instance %d has no id, no detector, or neither sources nor destinations", path, i+1)
		}
	}
	return t, nil
}

// Write writes a truth file.
func (t Truth) Write(w io.Writer) error {
	e := toml.NewEncoder(w)
	e.Indent = ""
	return e.Encode(t)
}
