package syslog

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"tidewatch/event"
	"tidewatch/outputs"
)

// severities are those of RFC 5424, table 2.
func severity(s event.Severity) int {
	switch {
	case s >= event.SeverityCritical:
		return 2 // critical
	case s >= event.SeverityHigh:
		return 3 // error
	case s >= event.SeverityMedium:
		return 4 // warning
	}
	return 5 // notice
}

// element is the name of the structured data. 32473 is the enterprise number that RFC
// 5612 sets aside for those who have none.
const element = "tidewatch@32473"

// Bounds of what is appended, in bytes. All values come from the network.
const (
	maxValue = 255  // a value of the structured data
	maxText  = 2000 // a reason
	// maxDatagram is the largest UDP message. Receivers must take 480 bytes and should
	// take 2,048 (RFC 5426, 3.2); larger ones get along with IP fragments, mostly.
	maxDatagram = 8192
)

// message appends a finding as a message of RFC 5424. JSON stands after the structured
// data if it is not nil, and the reason otherwise.
func (o *Output) message(b []byte, f *event.Finding, json []byte) []byte {
	b = append(b, '<')
	b = strconv.AppendInt(b, int64(o.facility*8+severity(f.Severity())), 10)
	b = append(b, ">1 "...)
	b = time.Unix(0, f.Time).UTC().AppendFormat(b, outputs.TimeLayout)
	b = append(append(b, ' '), o.host...)
	b = append(b, " tidewatch - "...)
	b = append(b, nilled(word(f.Detector, 32))...)
	b = append(b, " ["+element...)
	b = param(b, "id", f.ID)
	b = param(b, "rule", f.Rule.ID)
	b = param(b, "severity", f.Severity().String())
	b = append(b, ` risk="`...)
	b = append(strconv.AppendFloat(b, f.Risk, 'f', -1, 64), '"')
	b = param(b, "subject", f.Subject.Value)
	b = param(b, "source", addr(f.Source.Addr))
	b = param(b, "destination", addr(f.Destination.Addr))
	b = param(b, "domain", f.Destination.Domain)
	if f.Destination.HasPort {
		b = param(b, "port", strconv.Itoa(int(f.Destination.Port)))
	}
	b = param(b, "community_id", f.CommunityID)
	var attack []string
	for _, t := range f.Rule.Attack {
		attack = append(attack, t.ID)
	}
	b = param(b, "attack", strings.Join(slices.Compact(attack), " "))
	b = append(b, "] "...)
	if json != nil {
		return append(b, json...)
	}
	return append(b, outputs.Printable(short(f.Rule.Name+": "+f.Reason, maxText))...)
}

func addr(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// param appends a parameter of the structured data, unless it has no value. `"`, `\` and
// `]` are escaped (RFC 5424, 6.3.3); what is not printable is written as text.
func param(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	b = append(append(append(b, ' '), name...), `="`...)
	value = outputs.Printable(short(value, maxValue))
	for i := range len(value) {
		if c := value[i]; c == '"' || c == '\\' || c == ']' {
			b = append(b, '\\')
		}
		b = append(b, value[i])
	}
	return append(b, '"')
}

// short returns at most n bytes of s, whole characters.
func short(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// word returns what of s a field of the header may have: visible ASCII characters, at
// most n.
func word(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if r <= ' ' || r >= 0x7f {
			return -1
		}
		return r
	}, s)
	return s[:min(n, len(s))]
}

// nilled returns "-" for nothing, as the header wants it.
func nilled(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
