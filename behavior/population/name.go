package population

import (
	"math/bits"
	"net/netip"
	"strings"

	"golang.org/x/net/publicsuffix"

	"tidewatch/event"
)

// maxName is the longest name of the DNS in presentation form (RFC 1035), without
// escapes. Of what is longer the end is kept.
const maxName = 253

// name is one name with what follows from it. Its text owns its memory.
type name struct {
	text       string
	domainHash uint64
	last       uint32 // a bucket of Unix seconds
	looked     uint32 // the bucket in which alike was found out
	alike      string // the domain that its domain looks like; "" if none
	rank       uint32
	domain     uint8 // where the registered domain begins in text
	class      event.Class
	// held says that an address or a session has the name. Names that were only
	// asked for are the first that make room.
	held bool
}

func nameWorth(n *name, _ uint32) uint64 {
	w := uint64(n.last)
	if n.held {
		w |= 1 << 32
	}
	return w
}

// trimName cuts a name as a record has it: no dot at its end, and at most maxName
// bytes of that.
func trimName(s string) string {
	s = strings.TrimSuffix(s, ".")
	return s[max(len(s)-maxName, 0):]
}

// Hash returns the hash of a name in lower case: event.Known's NameHash and
// DomainHash. It is the same in every process and release, since stored state is
// keyed by it, and never 0.
//
// It folds 128-bit products, eight bytes at a time, so it is no secret: whoever
// wants two names with one hash can find them. What is looked up by it is compared
// with the name itself, where the name is kept.
func Hash(s string) uint64 {
	h := uint64(len(s)) * 0x9e3779b97f4a7c15
	for ; len(s) >= 8; s = s[8:] {
		h = fold(h^lower8(load8(s)), 0xa0761d6478bd642f)
	}
	var tail uint64
	for i := range len(s) {
		tail |= uint64(s[i]) << (8 * i)
	}
	return max(mix(fold(h^lower8(tail), 0xe7037ed1a0b428db)), 1)
}

func fold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo ^ a // a, so that a product of 0 does not forget it
}

func load8(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// lower8 makes ASCII capitals among eight bytes small: of each byte below 0x80 the
// top bit of the sums below says whether it is at least 'A', and above 'Z'.
func lower8(w uint64) uint64 {
	const ones = 0x0101010101010101
	low := w &^ (0x80 * ones)
	from, beyond := low+(0x80-'A')*ones, low+(0x80-'Z'-1)*ones
	return w | (from&^beyond&^w&(0x80*ones))>>2
}

// mix spreads the bits of h (the finaliser of SplitMix64, Steele et al. 2014).
func mix(h uint64) uint64 {
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

// intern returns the entry of a trimmed name with its hash, a new one if need be, and
// its key. A name whose hash another one has gets the next of a chain of hashes, and none where
// each is taken.
func (p *Population) intern(s string, key uint64, at moment) (*name, uint64, ref) {
	for range chain {
		n, r := p.names.find(key)
		if n == nil {
			n = p.names.insert(key, at.secs)
			*n = newName(lower(s))
			n.last = at.bucket
			_, r = p.names.find(key)
			return n, key, r
		}
		if n.text == s || lowerEqual(s, n.text) {
			p.seen(n, r, at)
			return n, key, r
		}
		key = next(key)
	}
	return nil, 0, 0
}

// chain is how many hashes a name can have.
const chain = 3

func next(key uint64) uint64 { return keyed(mix(key + 1)) }

// hashes reports whether a name can have the key.
func hashes(key uint64, text string) bool {
	h := Hash(text)
	for range chain {
		if h == key {
			return true
		}
		h = next(h)
	}
	return false
}

// seen notes that a name was used.
func (p *Population) seen(n *name, r ref, at moment) {
	if at.bucket > n.last {
		n.last = at.bucket
		p.names.touch(r)
	}
}

// lowerEqual reports whether s in lower case is l.
func lowerEqual(s, l string) bool {
	if len(s) != len(l) {
		return false
	}
	for ; len(s) >= 8; s, l = s[8:], l[8:] {
		if lower8(load8(s)) != load8(l) {
			return false
		}
	}
	for i := range len(s) {
		if lowerByte(s[i]) != l[i] {
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

// lower returns a copy of s with its ASCII capitals small; other bytes stay, since
// they are no capitals of a name.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		b[i] = lowerByte(c)
	}
	return string(b)
}

// newName works out what follows from a name.
func newName(text string) name {
	n := name{text: text, domain: uint8(len(text) - len(registered(text))), class: classOfName(text)}
	d := text[n.domain:]
	n.domainHash, n.rank = Hash(d), popular()[d]
	return n
}

// registered returns the registered domain of a name: its public suffix and one
// label. Names that have none, single labels and addresses in .arpa are their own.
func registered(s string) string {
	if strings.HasSuffix(s, ".arpa") {
		return s
	}
	suffix, _ := publicsuffix.PublicSuffix(s)
	i := len(s) - len(suffix) - 1
	if i < 0 || s[i] != '.' {
		return s
	}
	return s[1+strings.LastIndexByte(s[:i], '.'):]
}

// isAddr reports whether a name is an address. It does not allocate.
func isAddr(s string) bool {
	_, ok := parseAddr(s)
	return ok
}

// parseAddr is netip.ParseAddr that tells most names from addresses beforehand,
// since its error allocates.
func parseAddr(s string) (netip.Addr, bool) {
	if len(s) < 2 || len(s) > 45 {
		return netip.Addr{}, false
	}
	colon := false
	for i := range len(s) {
		c := s[i]
		switch {
		case '0' <= c && c <= '9', c == '.':
		case c == ':':
			colon = true
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			// Letters are in IPv6 alone, where a colon is among the first five bytes.
			if i >= 5 && !colon {
				return netip.Addr{}, false
			}
		default:
			return netip.Addr{}, false
		}
	}
	if last := s[len(s)-1]; !colon && (last < '0' || last > '9') {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(s)
	return a.Unmap(), err == nil
}

// hostName returns the name in a Host header: without its port, "" for an address.
func hostName(s string) string {
	if len(s) > 0 && s[0] == '[' {
		return "" // an IPv6 address, by the grammar
	}
	if i := strings.LastIndexByte(s, ':'); i >= 0 {
		if strings.IndexByte(s, ':') != i {
			return "" // more than one colon: an IPv6 address without brackets
		}
		s = s[:i]
	}
	return trimName(s)
}
