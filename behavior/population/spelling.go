package population

import (
	"math"
	"strings"
	"sync"
)

// Characters of a registered domain's first label: letters, digits, the hyphen, anything
// else, and the label's two ends.
const (
	hyphen = 36 + iota
	foreign
	edge
	numSigns
)

// minSpelled is the shortest label that says something about who made it up.
const minSpelled = 6

// smoothing is how many observations the shorter context counts for against the longer
// one (absolute interpolation with a Dirichlet prior, MacKay and Peto 1995).
const smoothing = 5

// spelling is how popular domains are spelt: the surprise in bits of each character after
// the two before it.
type spelling [numSigns][numSigns][numSigns]float32

// popularSpelling is learned from the list of popular domains when it is asked for first.
var popularSpelling = sync.OnceValue(func() *spelling {
	var labels []string
	for line := range strings.Lines(popularText) {
		if line = strings.TrimSuffix(line, "\n"); line != "" && line[0] != '#' {
			labels = append(labels, firstLabel(line))
		}
	}
	return learnSpelling(labels)
})

// learnSpelling counts characters with no, one and two before them, and smoothes each with
// the one before.
func learnSpelling(labels []string) *spelling {
	var one [numSigns]float64
	var two [numSigns][numSigns]float64
	var three [numSigns][numSigns][numSigns]float64
	for _, l := range labels {
		a, b := edge, edge
		for i := range len(l) + 1 {
			c := edge
			if i < len(l) {
				c = sign(l[i])
			}
			one[c]++
			two[b][c]++
			three[a][b][c]++
			a, b = b, c
		}
	}
	s := new(spelling)
	all := sum(one[:])
	for b := range numSigns {
		afterOne := sum(two[b][:])
		for a := range numSigns {
			afterTwo := sum(three[a][b][:])
			for c := range numSigns {
				p := (one[c] + 0.5) / (all + 0.5*numSigns)
				p = (two[b][c] + smoothing*p) / (afterOne + smoothing)
				p = (three[a][b][c] + smoothing*p) / (afterTwo + smoothing)
				s[a][b][c] = float32(-math.Log2(p))
			}
		}
	}
	return s
}

func sum(all []float64) (n float64) {
	for _, v := range all {
		n += v
	}
	return n
}

func sign(c byte) int {
	switch {
	case 'a' <= c && c <= 'z':
		return int(c - 'a')
	case 'A' <= c && c <= 'Z':
		return int(c - 'A')
	case '0' <= c && c <= '9':
		return 26 + int(c-'0')
	case c == '-':
		return hyphen
	}
	return foreign
}

func firstLabel(domain string) string {
	label, _, _ := strings.Cut(domain, ".")
	return label
}

// Surprise returns how unlike the names of popular sites a registered domain is spelt: the
// mean bits a character, of its first label and the label's end, that a model of three
// characters needs for it. Popular names have 2.5 to 5.5, random letters 5.5 to 8, random
// letters and digits more. It is 0 for labels below six characters and for those in
// punycode, which say nothing. It allocates nothing.
func Surprise(domain string) float64 {
	label := firstLabel(domain)
	if len(label) < minSpelled || strings.HasPrefix(label, "xn--") {
		return 0
	}
	s, bits := popularSpelling(), 0.0
	a, b := edge, edge
	for i := range len(label) {
		c := sign(label[i])
		bits += float64(s[a][b][c])
		a, b = b, c
	}
	bits += float64(s[a][b][edge])
	return bits / float64(len(label)+1)
}
