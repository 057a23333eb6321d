package population

import (
	_ "embed"
	"strings"
	"sync"
)

// popularText lists registered domains, the most popular first. Lines that begin
// with # say where it is from.
//
//go:embed popular.txt
var popularText string

// popular returns the places of domains in the list, from 1. It is asked once for
// each name that is remembered.
var popular = sync.OnceValue(func() map[string]uint32 {
	m := make(map[string]uint32, strings.Count(popularText, "\n"))
	for line := range strings.Lines(popularText) {
		if line = strings.TrimSuffix(line, "\n"); line != "" && line[0] != '#' {
			m[line] = uint32(len(m)) + 1
		}
	}
	return m
})
