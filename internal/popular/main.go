// Command popular writes the list of popular domains that package population
// embeds. Its input is domain-map.csv of the npm package third-party-web, whose
// first column lists names that pages embed, the most used first.
package main

import (
	"bufio"
	_ "embed"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/net/publicsuffix"
)

//go:embed firstparty.txt
var firstParty string

// licence is that of the package. It goes where its data goes.
//
//go:embed LICENSE.third-party-web
var licence string

// size is how many domains the list has. Further down, the crawl has seen a domain on
// some dozens of pages, and what is injected into pages is among them.
const size = 5000

const header = `# Popular registered domains, the most popular first. Made by internal/popular: do
# not edit.
#
# Measured, each second line until the others end: the order of the names that web
# pages embed, from the crawl of HTTP Archive, by the npm package third-party-web
# %s (2026), whose licence follows. The others are internal/popular/firstparty.txt,
# written by hand.
#
`

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: popular VERSION domain-map.csv")
		os.Exit(2)
	}
	f, err := os.Open(os.Args[2])
	if err == nil {
		defer f.Close()
		err = write(os.Stdout, os.Args[1], f)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "popular:", err)
		os.Exit(1)
	}
}

// write interleaves the two lists.
func write(w io.Writer, version string, measured io.Reader) error {
	var other []string
	for line := range strings.Lines(firstParty) {
		if line[0] != '#' {
			other = append(other, strings.Fields(line)...)
		}
	}
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, header, version)
	for line := range strings.Lines(licence) {
		fmt.Fprintln(out, strings.TrimSpace("# "+strings.TrimSpace(line)))
	}
	seen, n := map[string]bool{}, 0
	put := func(name string) bool {
		d := registered(name)
		if d == "" || seen[d] || n == size {
			return false
		}
		seen[d] = true
		n++
		fmt.Fprintln(out, d)
		return true
	}
	lines := bufio.NewScanner(measured)
	for lines.Scan() && n < size {
		name, _, _ := strings.Cut(lines.Text(), ",")
		if !put(name) {
			continue
		}
		for more := true; more && len(other) > 0; other = other[1:] {
			more = !put(other[0])
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return out.Flush()
}

// registered returns the registered domain of a name; "" if it has none, if it is one
// that anybody gets who asks a hoster for it, or one of RFC 2606, which are nobody's.
func registered(name string) string {
	suffix, icann := publicsuffix.PublicSuffix(name)
	d, err := publicsuffix.EffectiveTLDPlusOne(name)
	if err != nil || !icann || suffix == "arpa" || d == "example."+suffix {
		return ""
	}
	return d
}
