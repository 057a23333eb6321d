package suricata

import (
	"strings"

	"tidewatch/parsers"
)

// skips keeps the errors for records that are skipped, so that a second record of
// a type costs nothing. Types beyond maxSkips, and names that are too long to be
// ones, are counted together.
type skips struct {
	known []*parsers.Skip
}

const (
	maxSkips    = 64
	maxSkipName = 64 // bytes
)

var skipOther = &parsers.Skip{Name: "other"}

func (s *skips) of(name []byte) *parsers.Skip {
	for _, k := range s.known {
		if k.Name == string(name) {
			return k
		}
	}
	if len(s.known) == maxSkips || len(name) > maxSkipName {
		return skipOther
	}
	k := &parsers.Skip{Name: strings.Clone(string(name))}
	s.known = append(s.known, k)
	return k
}
