package ingest

import (
	"bytes"

	"tidewatch/parsers"
	"tidewatch/parsers/scan"
	"tidewatch/parsers/suricata"
	"tidewatch/parsers/zeek"
)

// Format is what a log is written in.
type Format uint8

const (
	FormatUnknown Format = iota
	FormatZeekTSV
	FormatZeekJSON
	FormatEVE

	numFormats = iota
)

// String returns the format's name.
func (f Format) String() string {
	return [...]string{"unknown", "Zeek TSV", "Zeek JSON", "Suricata EVE"}[f]
}

// Sniff says what a log is written in by one of its lines, or FormatUnknown if
// this line does not tell.
func Sniff(line []byte) Format {
	line = bytes.TrimPrefix(line, []byte("\ufeff"))
	line = bytes.TrimLeft(line, " \t\x00")
	if rest, ok := bytes.CutPrefix(line, []byte("@cee:")); ok {
		line = bytes.TrimLeft(rest, " ")
	}
	if len(line) == 0 {
		return FormatUnknown
	}
	if line[0] == '{' {
		switch {
		case bytes.Contains(line, []byte(`"event_type"`)):
			return FormatEVE
		case bytes.Contains(line, []byte(`"ts"`)), bytes.Contains(line, []byte(`"_path"`)):
			return FormatZeekJSON
		}
		return FormatUnknown
	}
	head := line[:min(len(line), 24)]
	for _, directive := range []string{"separator", "fields", "set_separator", "path", "types"} {
		if i := bytes.Index(head, []byte(directive)); i > 0 && i < 4 {
			return FormatZeekTSV
		}
	}
	first, _, tabs := bytes.Cut(line, []byte{'\t'})
	if !tabs {
		return FormatUnknown
	}
	if string(first) == "ts" { // tsv=T: one plain header row
		return FormatZeekTSV
	}
	if _, ok := scan.Epoch(first); ok && bytes.Count(line, []byte{'\t'}) >= 5 {
		return FormatZeekTSV // without a header; its parser says so
	}
	return FormatUnknown
}

// parser returns a new parser for the format.
func (f Format) parser(o parsers.Options) parsers.Parser {
	switch f {
	case FormatZeekTSV:
		return zeek.NewTSV(o)
	case FormatZeekJSON:
		return zeek.NewJSON(o)
	case FormatEVE:
		return suricata.New(o)
	}
	return nil
}
