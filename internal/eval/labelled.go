package eval

import (
	_ "embed"
	"fmt"

	"github.com/BurntSushi/toml"
)

// labelledTOML says what is true of the recorded captures that the tests read.
//
//go:embed labelled.toml
var labelledTOML string

// Labelled returns the truth of each recorded capture, by its path below the
// folder of captures.
func Labelled() (map[string]Truth, error) {
	var f struct{ Capture map[string]truthFile }
	md, err := toml.Decode(labelledTOML, &f)
	if err != nil {
		return nil, fmt.Errorf("labelled.toml: %w", err)
	}
	if un := md.Undecoded(); len(un) > 0 {
		return nil, fmt.Errorf("labelled.toml: unknown key %q", un[0].String())
	}
	truths := make(map[string]Truth, len(f.Capture))
	for path, c := range f.Capture {
		if truths[path], err = c.truth(); err != nil {
			return nil, fmt.Errorf("labelled.toml: %s: %w", path, err)
		}
	}
	return truths, nil
}
