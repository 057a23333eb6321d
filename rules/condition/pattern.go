package condition

import (
	"regexp"
	"regexp/syntax"
	"strings"
)

// pattern is a regular expression that looks for a text first without which it cannot
// match: a search for some texts at once takes a small part of the time.
type pattern struct {
	re *regexp.Regexp
	// needs are ASCII texts in lower case, of which each match has one in it; none if
	// there is no such list.
	needs []string
	// starts has a bit for each hash of the first three bytes of needs.
	starts [16]uint64
}

const (
	// startSize is how many bytes of a need are hashed: each has as many at least.
	startSize = 3
	maxNeeds  = 64
)

func newPattern(s string) (*pattern, error) {
	re, err := regexp.Compile(s)
	if err != nil {
		return nil, err
	}
	p := &pattern{re: re}
	parsed, err := syntax.Parse(s, syntax.Perl)
	if err != nil {
		return nil, err
	}
	if p.needs = needsOf(parsed); len(p.needs) > maxNeeds {
		p.needs = nil
	}
	for _, n := range p.needs {
		h := startHash(n[0], n[1], n[2])
		p.starts[h/64] |= 1 << (h % 64)
	}
	return p, nil
}

func (p *pattern) matches(s string) bool {
	return (p.needs == nil || p.canMatch(s)) && p.re.MatchString(s)
}

// canMatch reports whether one of needs is in s, in whatever case. A text that is not
// ASCII may always match: some of its characters are other cases of ASCII letters.
func (p *pattern) canMatch(s string) bool {
	var a, b, all byte
	found := false
	for i := range len(s) {
		all |= s[i]
		c := lowerByte(s[i])
		if h := startHash(a, b, c); p.starts[h/64]&(1<<(h%64)) != 0 && i >= startSize-1 {
			found = found || p.needAt(s[i-startSize+1:])
		}
		a, b = b, c
	}
	return found || all >= 0x80
}

// needAt reports whether s begins with one of needs, in whatever case.
func (p *pattern) needAt(s string) bool {
	for _, n := range p.needs {
		if len(s) >= len(n) && equalLower(s[:len(n)], n) {
			return true
		}
	}
	return false
}

func equalLower(s, lower string) bool {
	for i := range len(s) {
		if lowerByte(s[i]) != lower[i] {
			return false
		}
	}
	return true
}

func lowerByte(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// startHash is a number below 1,024.
func startHash(a, b, c byte) uint32 {
	return (uint32(a)<<16 | uint32(b)<<8 | uint32(c)) * 2654435761 >> 22
}

// needsOf returns texts in lower case of which each match of re has one in it; nil if
// it finds no such list.
func needsOf(re *syntax.Regexp) []string {
	switch re.Op {
	case syntax.OpLiteral:
		s := string(re.Rune)
		if len(s) < startSize || strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 }) {
			return nil
		}
		return []string{strings.ToLower(s)}
	case syntax.OpCapture, syntax.OpPlus:
		return needsOf(re.Sub[0])
	case syntax.OpRepeat:
		if re.Min > 0 {
			return needsOf(re.Sub[0])
		}
	case syntax.OpAlternate:
		var all []string
		for _, sub := range re.Sub {
			needs := needsOf(sub)
			if needs == nil {
				return nil
			}
			all = append(all, needs...)
		}
		return all
	case syntax.OpConcat: // what is longest is rarest
		var best []string
		for _, sub := range re.Sub {
			if needs := needsOf(sub); needs != nil && shortest(needs) > shortest(best) {
				best = needs
			}
		}
		return best
	}
	return nil
}

// shortest returns the length of the shortest of texts, 0 for none.
func shortest(texts []string) int {
	n := 0
	for i, s := range texts {
		if i == 0 || len(s) < n {
			n = len(s)
		}
	}
	return n
}
