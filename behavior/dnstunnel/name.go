package dnstunnel

import (
	"bytes"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"

	"tidewatch/event"
)

// maxName is how many bytes a name has at most (RFC 1035, 2.3.4).
const maxName = 255

// name is a name that was asked for, in the form that counts: lower case, for
// resolvers write one name in many cases (draft-vixie-dnsext-dns0x20), with the bytes
// that sensors write as \xNN.
type name struct {
	buf    [maxName]byte
	all    []byte // of buf
	domain []byte // its registered domain: the end of all
	sub    []byte // what stands before that and its dot
	key    uint64 // hash of domain
	hash   uint64 // hash of sub
}

// read takes a query. It reports whether there is a registered domain in it.
func (n *name) read(query string, far *event.Known) bool {
	if !n.unescape(query) {
		return false
	}
	at := len(n.all) - len(far.Domain)
	switch {
	case far.Domain == "" || at < 0 || string(n.all[at:]) != far.Domain:
		if at = registered(event.String(n.all)); at < 0 {
			return false
		}
	case at > 0 && n.all[at-1] != '.', bytes.IndexByte(n.all[at:], '.') < 0:
		return false
	}
	n.domain, n.sub = n.all[at:], n.all[:max(at-1, 0)]
	n.key, n.hash = hashBytes(n.domain), hashBytes(n.sub)
	return true
}

// unescape fills buf. It refuses what is too long for a name.
func (n *name) unescape(query string) bool {
	k := 0
	for i := 0; i < len(query); i++ {
		c := query[i]
		if c == '\\' && i+3 < len(query) && query[i+1] == 'x' {
			if high, low := hexDigit(query[i+2]), hexDigit(query[i+3]); high < 16 && low < 16 {
				c = high<<4 | low
				i += 3
			}
		}
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if k == len(n.buf) {
			return false
		}
		n.buf[k] = c
		k++
	}
	n.all = bytes.TrimSuffix(n.buf[:k], []byte("."))
	return len(n.all) > 0
}

// hexDigit returns the value of a hexadecimal digit, 255 for another byte.
func hexDigit(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}

// registered returns where the registered domain of a name begins, -1 if it has none.
// It is for records of which nobody has said so, see event.Known: it allocates.
func registered(name string) int {
	suffix, _ := publicsuffix.PublicSuffix(name)
	end := len(name) - len(suffix) - 1
	if end <= 0 {
		return -1
	}
	return strings.LastIndexByte(name[:end], '.') + 1
}

// localTops are the last labels of names that no server of the Internet knows: those
// of RFC 6761, 6762, 7686, 8375, and what networks use inside.
var localTops = []string{
	"alt", "arpa", "corp", "domain", "home", "intern", "internal", "intranet", "invalid", "lan", "local", "localdomain", "localhost",
	"onion", "private", "workgroup",
}

// local reports whether the name cannot leave the network through a resolver.
// Reverse lookups count as such: nobody chooses what they ask for.
func (n *name) local() bool {
	top := n.domain[bytes.LastIndexByte(n.domain, '.')+1:]
	return slices.Contains(localTops, event.String(top))
}

// plain reports whether the sub-name says nothing.
func (n *name) plain() bool { return len(n.sub) == 0 || string(n.sub) == "www" }

// labels returns how many labels the sub-name has, and the length of the longest.
func (n *name) labels() (count, longest int) {
	length := 0
	for _, c := range n.sub {
		if c == '.' {
			count, longest, length = count+1, max(longest, length), 0
		} else {
			length++
		}
	}
	return count + 1, max(longest, length)
}

// listTail is how many bytes may follow an address in the question to a block list.
const listTail = 16

// address reports whether the sub-name is an address with its parts in reverse, and
// perhaps the name of a list after it, as block lists are asked (RFC 5782).
func (n *name) address() bool {
	return n.after(4, isOctet) <= listTail || n.after(32, isNibble) <= listTail
}

// after returns how many bytes follow the first so many labels, if each of them is a
// part of an address; more than a name has, if not.
func (n *name) after(labels int, part func([]byte) bool) int {
	rest := n.sub
	for range labels {
		label, more, _ := bytes.Cut(rest, []byte("."))
		if !part(label) {
			return maxName + 1
		}
		rest = more
	}
	return len(rest)
}

func isOctet(label []byte) bool {
	for _, c := range label {
		if c < '0' || c > '9' {
			return false
		}
	}
	return 1 <= len(label) && len(label) <= 3
}

func isNibble(label []byte) bool { return len(label) == 1 && hexDigit(label[0]) < 16 }

const (
	// maxTop is how many bytes a top-level domain has, but for rare ones.
	maxTop = 10
	// searchDepth is how many labels a domain of a search list has before the
	// registered one.
	searchDepth = 2
)

// searched reports whether the sub-name looks like a whole name of the Internet, to
// which a resolver library has added a domain of its search list.
func (n *name) searched() bool {
	rest := n.sub
	for range searchDepth + 1 {
		dot := bytes.LastIndexByte(rest, '.')
		if dot < 0 {
			return false
		}
		if top := rest[dot+1:]; len(top) >= 2 && len(top) <= maxTop && charClass(top[0]) < 26 && charClass(top[1]) < 26 {
			suffix, public := publicsuffix.PublicSuffix(event.String(rest))
			listed := public || strings.IndexByte(suffix, '.') >= 0 // or that of a content network
			if listed && len(suffix) < len(rest) {
				return true
			}
		}
		rest = rest[:dot]
	}
	return false
}

// Classes of characters: 26 letters, 10 digits, and these.
const (
	charHyphen = 36 + iota
	charUnderscore
	charOther // what no host is called
	numChars
)

func charClass(c byte) int {
	switch {
	case 'a' <= c && c <= 'z':
		return int(c - 'a')
	case '0' <= c && c <= '9':
		return 26 + int(c-'0')
	case c == '-':
		return charHyphen
	case c == '_':
		return charUnderscore
	}
	return charOther
}

// hostChars are the shares, in thousandths, of the characters in the 1,282 distinct
// sub-names of recorded networks without tunnels.
var hostChars = [numChars]float64{
	69.5, 14.0, 59.1, 43.0, 74.7, 12.8, 22.1, 11.2, 55.7, 2.4, 6.3, 40.6, 29.9, 44.9, 59.8, 36.4, 1.9, 67.3, 82.8, 57.4, 22.2, 23.5, 22.1, 6.7, 9.4, 3.0,
	14.9, 17.0, 13.5, 11.6, 6.6, 7.0, 8.9, 6.2, 7.2, 4.8,
	20.7, 2.3, 0.8,
}

// hashBytes is FNV-1a with the finaliser of MurmurHash3 (Appleby, public domain),
// which spreads its bits evenly. It is the same in every process and release: state
// is keyed by it.
func hashBytes(b []byte) uint64 {
	h := uint64(0xcbf29ce484222325)
	for _, c := range b {
		h = (h ^ uint64(c)) * 0x100000001b3
	}
	return mix(h)
}

func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// printable copies b, with what no host is called replaced.
func printable(b []byte) string {
	out := make([]byte, 0, len(b))
	for _, c := range b {
		if c != '.' && charClass(c) == charOther {
			c = '?'
		}
		out = append(out, c)
	}
	return string(out)
}
