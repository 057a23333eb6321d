package ingest

import (
	"bytes"

	"tidewatch/event"
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

	NumFormats = iota
)

// String returns the format's name.
func (f Format) String() string {
	if int(f) < NumFormats {
		return [...]string{"unknown", "Zeek TSV", "Zeek JSON", "Suricata EVE"}[f]
	}
	return "unknown"
}

// Sensor returns which sensor writes the format.
func (f Format) Sensor() event.Sensor {
	switch f {
	case FormatZeekTSV, FormatZeekJSON:
		return event.SensorZeek
	case FormatEVE:
		return event.SensorSuricata
	}
	return event.SensorUnknown
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
	panic("ingest: no parser for format " + f.String())
}

// Sniff says what a log is written in by its beginning: the first line that tells
// decides. The last line may be cut off anywhere. FormatUnknown means that none of
// them tells; a longer head of the same log never contradicts a shorter one.
func Sniff(head []byte) Format {
	head = bytes.TrimPrefix(head, bom)
	for line := range bytes.FieldsFuncSeq(head, isBreak) {
		if f := sniffLine(line); f != FormatUnknown {
			return f
		}
	}
	return FormatUnknown
}

// isBreak reports whether c stands between lines: a hole does, too.
func isBreak(c rune) bool { return c == '\n' || c == '\r' || c == 0 }

func sniffLine(line []byte) Format {
	line = bytes.TrimLeft(line, " \t")
	if rest, ok := bytes.CutPrefix(line, []byte("@cee:")); ok {
		line = bytes.TrimLeft(rest, " ")
	}
	switch {
	case len(line) == 0:
		return FormatUnknown
	case line[0] == '{':
		return sniffJSON(line)
	case isSeparator(line), isDirective(line), isNames(line), isHeaderless(line):
		return FormatZeekTSV
	}
	return FormatUnknown
}

// sniffJSON decides by the first key that only one of the sensors writes.
func sniffJSON(line []byte) Format {
	var s scan.JSON
	for s.Reset(line); s.Next(); {
		switch string(s.Key()) {
		case "event_type":
			return FormatEVE
		case "ts", "_path", "_write_ts", "id.orig_h", "id_orig_h":
			return FormatZeekJSON
		}
	}
	return FormatUnknown
}

// isSeparator reports whether line is Zeek's first directive, whatever prefix
// directives have here.
func isSeparator(line []byte) bool {
	i := bytes.Index(line[:min(len(line), 32)], []byte("separator "))
	if i < 1 || i > 8 {
		return false
	}
	for _, c := range line[:i] {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == ' ' || c == '_' {
			return false
		}
	}
	value := line[i+len("separator "):]
	return len(value) <= 32 && bytes.IndexByte(value, ' ') <= 0
}

// isDirective reports whether line is another directive of Zeek's: one of a log
// that was cut off at the front.
func isDirective(line []byte) bool {
	name, _, found := bytes.Cut(line, []byte{'\t'})
	if !found {
		return false
	}
	switch string(name) {
	case "#set_separator", "#empty_field", "#unset_field", "#path", "#open", "#fields", "#types":
		return true
	}
	return false
}

// isNames reports whether line is a plain row of column names with ts among them
// (LogAscii::tsv).
func isNames(line []byte) bool {
	ts, n := false, 0
	for name := range bytes.SplitSeq(line, []byte{'\t'}) {
		for _, c := range name {
			if c != '_' && c != '.' && c != '-' && (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') {
				return false
			}
		}
		ts = ts || string(name) == "ts"
		n++
	}
	return ts && n > 1
}

// isHeaderless reports whether line looks like a record of Zeek's: its parser says
// that the header is missing.
func isHeaderless(line []byte) bool {
	first, _, _ := bytes.Cut(line, []byte{'\t'})
	_, ok := scan.Epoch(first)
	return ok && bytes.IndexByte(first, '.') >= 9 && bytes.Count(line, []byte{'\t'}) >= 5
}

const reasonNotALog parsers.Reason = "not a Zeek or Suricata log"

// strangers are what lies beside logs, by how it begins.
var strangers = []struct {
	magic string
	what  parsers.Reason
	// packed says that there may be a log inside.
	packed bool
}{
	{"\xfd7zXZ\x00", ": compressed with xz, which tidewatch does not read: unpack it", true},
	{"BZh", ": compressed with bzip2, which tidewatch does not read: unpack it", true},
	{"\x04\x22\x4d\x18", ": compressed with lz4, which tidewatch does not read: unpack it", true},
	{"PK\x03\x04", ": a zip archive, which tidewatch does not read: unpack it", true},
	{"7z\xbc\xaf\x27\x1c", ": a 7z archive, which tidewatch does not read: unpack it", true},
	{"\xd4\xc3\xb2\xa1", ": a packet capture: let Zeek or Suricata read it", false},
	{"\xa1\xb2\xc3\xd4", ": a packet capture: let Zeek or Suricata read it", false},
	{"\x4d\x3c\xb2\xa1", ": a packet capture: let Zeek or Suricata read it", false},
	{"\xa1\xb2\x3c\x4d", ": a packet capture: let Zeek or Suricata read it", false},
	{"\x0a\x0d\x0d\x0a", ": a packet capture: let Zeek or Suricata read it", false},
}

// tarMagic stands at tarMagicAt in a tar archive.
const (
	tarMagic   = "ustar"
	tarMagicAt = 257
)

// notALog says what a file is that begins with head and is no log, and whether a
// log may be packed up in it.
func notALog(head []byte) (why parsers.Reason, packed bool) {
	for _, s := range strangers {
		if bytes.HasPrefix(head, []byte(s.magic)) {
			return reasonNotALog + s.what, s.packed
		}
	}
	switch {
	case len(head) > tarMagicAt && bytes.HasPrefix(head[tarMagicAt:], []byte(tarMagic)):
		return reasonNotALog + ": a tar archive, which tidewatch does not read: unpack it", true
	case bytes.HasPrefix(bytes.TrimLeft(head, " \t\r\n"), []byte("{")), bytes.HasPrefix(bytes.TrimLeft(head, " \t\r\n"), []byte("[")):
		return reasonNotALog + ": JSON of another kind, or not one record a line", false
	}
	for _, c := range head[:min(len(head), 1024)] {
		if c < ' ' && c != '\t' && c != '\n' && c != '\r' && c != '\f' && c != 0x1b {
			return reasonNotALog + ": binary data", false
		}
	}
	return reasonNotALog + ": text of another kind", false
}
