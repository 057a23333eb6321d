package outputs

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Printable returns s fit for one line of a terminal: control characters (C0, C1),
// characters that turn the direction of text or cannot be seen, piles of accents
// and bytes that are not UTF-8 become escapes such as \x1b and \u{202e}. Input
// comes from an attacker's packets.
func Printable(s string) string { return printable(s, false) }

// PrintableLines is Printable for a text of several lines, whose breaks stay.
func PrintableLines(s string) string { return printable(s, true) }

// maxMarks is how many combining marks one character may bear: no script needs
// more, and more of them reach into the lines above and below.
const maxMarks = 2

func printable(s string, lines bool) string {
	if plain(s) {
		return s
	}
	var b strings.Builder
	marks := maxMarks // a mark needs a character before it
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		mark := unicode.In(r, unicode.Mn, unicode.Me)
		escaped := true
		switch {
		case r == '\n' && lines:
			b.WriteByte('\n')
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(&b, `\x%02x`, r)
		case !visible(r) || mark && marks >= maxMarks:
			fmt.Fprintf(&b, `\u{%x}`, r)
		default:
			b.WriteString(s[i : i+n])
			escaped = false
		}
		switch {
		case escaped || r == ' ':
			marks = maxMarks // nothing here to bear a mark
		case mark:
			marks++
		default:
			marks = 0
		}
		i += n
	}
	return b.String()
}

// plain reports whether s is printable ASCII.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c >= 0x7f {
			return false
		}
	}
	return true
}

// visible reports whether r shows and does nothing else: no controls, format
// characters, private use, odd spaces, and none of those that count as letters,
// signs or marks and show nothing.
func visible(r rune) bool {
	switch r {
	case 0x034f, 0x115f, 0x1160, 0x17b4, 0x17b5, 0x2800, 0x3164, 0xffa0, 0x1d159:
		return false
	}
	return unicode.IsPrint(r) && !unicode.Is(unicode.Variation_Selector, r)
}

// columns returns how many columns of a terminal a printable text takes.
func columns(s string) int {
	if plain(s) {
		return len(s)
	}
	n := 0
	for _, r := range s {
		n += runeColumns(r)
	}
	return n
}

// wide are the characters that terminals show in two columns: most of those with
// East_Asian_Width W or F (Unicode Standard Annex 11).
var wide = [][2]rune{
	{0x1100, 0x115f}, {0x231a, 0x231b}, {0x2329, 0x232a}, {0x23e9, 0x23f3}, {0x25fd, 0x25fe}, {0x2614, 0x2615}, {0x2648, 0x2653},
	{0x267f, 0x267f}, {0x2693, 0x2693}, {0x26a1, 0x26a1}, {0x26aa, 0x26ab}, {0x26bd, 0x26be}, {0x26c4, 0x26c5}, {0x26ce, 0x26ce},
	{0x26d4, 0x26d4}, {0x26ea, 0x26ea}, {0x26f2, 0x26f5}, {0x26fa, 0x26fd}, {0x2705, 0x2705}, {0x270a, 0x270b}, {0x2728, 0x2728},
	{0x274c, 0x274e}, {0x2753, 0x2757}, {0x2795, 0x2797}, {0x27b0, 0x27bf}, {0x2b1b, 0x2b1c}, {0x2b50, 0x2b55}, {0x2e80, 0x303e},
	{0x3041, 0xa4cf}, {0xa960, 0xa97f}, {0xac00, 0xd7a3}, {0xf900, 0xfaff}, {0xfe10, 0xfe19},
	{0xfe30, 0xfe6f}, {0xff01, 0xff60}, {0xffe0, 0xffe6}, {0x16fe0, 0x18aff}, {0x1aff0, 0x1b2ff}, {0x1f004, 0x1f004}, {0x1f0cf, 0x1f0cf},
	{0x1f18e, 0x1f19a}, {0x1f1e6, 0x1f202}, {0x1f210, 0x1f265}, {0x1f300, 0x1f64f}, {0x1f680, 0x1f6ff}, {0x1f7e0, 0x1f7f0},
	{0x1f90c, 0x1faff}, {0x20000, 0x3fffd},
}

func runeColumns(r rune) int {
	if r < 0x300 {
		return 1
	}
	if unicode.In(r, unicode.Mn, unicode.Me) {
		return 0
	}
	for _, w := range wide {
		if r < w[0] {
			break
		}
		if r <= w[1] {
			return 2
		}
	}
	return 1
}

// cut shortens a printable text to so many columns, from 1 on.
func cut(s string, room int) string {
	if columns(s) <= room {
		return s
	}
	used := 1 // of the sign that something is missing
	for i, r := range s {
		if used += runeColumns(r); used > room {
			return strings.TrimRight(s[:i], " ,") + "…"
		}
	}
	return s
}

// pad fills a text up to so many columns.
func pad(s string, width int) string { return s + strings.Repeat(" ", max(width-columns(s), 0)) }

// wrap breaks a printable text into lines of at most width columns: between words,
// and within those that are longer than a line.
func wrap(s string, width int) (lines []string) {
	line, used := "", 0
	for _, word := range strings.Fields(s) {
		if used > 0 && used+1+columns(word) > width {
			lines = append(lines, line)
			line, used = "", 0
		}
		for i := fitting(word, width); i < len(word); i = fitting(word, width) {
			lines = append(lines, word[:i])
			word = word[i:]
		}
		if used > 0 {
			line += " "
			used++
		}
		line += word
		used += columns(word)
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

// fitting returns how many bytes of s fit into width columns, at least those of one
// character.
func fitting(s string, width int) int {
	used := 0
	for i, r := range s {
		n := runeColumns(r)
		if used+n > width && n > 0 && i > 0 { // a mark stays with its character
			return i
		}
		used += n
	}
	return len(s)
}
