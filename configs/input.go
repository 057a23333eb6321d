package configs

import (
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"tidewatch/ingest"
	"tidewatch/internal/strict"
)

// Input is one thing to follow, under the name of its table: that name is what metrics
// and the status call it.
type Input struct {
	Type     string        `toml:"type"`
	Paths    []string      `toml:"paths"`    // files, or patterns of them; or sockets
	StartAt  string        `toml:"start_at"` // of a file that is there at the first start
	Archives []string      `toml:"archives"` // folders that rotated logs are moved to
	Linger   time.Duration `toml:"linger"`   // how long a rotated file is watched; 0: by its format
}

// SetDefaults sets what holds where a table says nothing.
func (in *Input) SetDefaults() { in.Type, in.StartAt = "file", "end" }

// Check reports what cannot be followed.
func (in *Input) Check(bad func(key, what, allowed string)) {
	strict.OneOf(bad, "type", in.Type, ingest.TypeFile, ingest.TypeUnixStream, ingest.TypeUnixDatagram, ingest.TypeStdin)
	strict.OneOf(bad, "start_at", in.StartAt, "end", "beginning")
	switch none := len(in.Paths) == 0; {
	case in.Type == ingest.TypeStdin && !none:
		bad("paths", "standard input has no path", "no paths")
	case in.Type != ingest.TypeStdin && none:
		bad("paths", "there are no paths", `files, patterns or sockets, such as ["/opt/zeek/logs/current/*.log"]`)
	}
	for i, p := range in.Paths {
		pattern(bad, "paths."+strconv.Itoa(i), p)
	}
	for i, p := range in.Archives {
		pattern(bad, "archives."+strconv.Itoa(i), p)
	}
	if in.Linger != 0 {
		span(bad, "linger", in.Linger, time.Second, time.Hour)
	}
}

func pattern(bad func(key, what, allowed string), key, p string) {
	const allowed = "an absolute path, in which *, ? and [a-z] stand for what they do in a shell"
	if !filepath.IsAbs(p) {
		bad(key, fmt.Sprintf("path %q", p), allowed)
	} else if _, err := filepath.Match(p, ""); err != nil {
		bad(key, fmt.Sprintf("path %q: a bracket is not closed", p), allowed)
	}
}

// Follow returns the section as package ingest wants it: one input a path.
func (in Input) Follow() (all []ingest.Input) {
	if in.Type == ingest.TypeStdin {
		return []ingest.Input{{Type: in.Type}}
	}
	for _, p := range in.Paths {
		all = append(all, ingest.Input{Type: in.Type, Path: p, StartAt: in.StartAt, Archives: in.Archives, Linger: in.Linger})
	}
	return all
}
