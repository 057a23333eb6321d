package population

import (
	"strings"
	"sync"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"
	"golang.org/x/text/unicode/norm"

	"tidewatch/event"
)

const (
	// shortestAlike is the shortest label that others can look like, in bytes, and
	// shortestASCII the shortest that looks like one without letters of other scripts: among
	// shorter ones too much looks alike by chance.
	shortestAlike, shortestASCII = 5, 6
	// siteHosts and siteSecs are by how many local hosts a domain is used, and for how
	// long, before others can look like it.
	siteHosts, siteSecs = 5, 7 * daySecs
)

// alikes knows which domains others can look like: the popular ones, and those
// that the site uses. Two labels look alike if their skeletons are equal, as in
// Unicode Technical Standard 39, section 4.
//
// What the site uses is learned anew after a restart, as it is used again.
type alikes struct {
	site table[target] // by the skeleton's hash
}

func newAlikes(limit int) alikes { return alikes{newTable(limit, targetWorth)} }

// look sets what a name's domain looks like, if it was not looked at in this bucket of
// time, and notes that the domain is used.
func (a *alikes) look(n *name, k *event.Known, at moment) {
	if at.bucket > n.looked {
		n.looked = at.bucket
		a.use(k.Domain, &k.OfDomain, at)
		n.alike = a.alike(k.Domain)
	}
	k.Alike = n.alike
}

// target is a domain that others can look like.
type target struct {
	domain string // owns its memory
	label  uint64 // hash of what stands before its public suffix
	last   uint32
}

func targetWorth(t *target, _ uint32) uint64 { return uint64(t.last) }

// popularTargets are those of the popular domains.
var popularTargets = sync.OnceValue(func() map[uint64]target {
	all := map[uint64]target{}
	for domain, rank := range popular() {
		label := labelOf(domain)
		if len(label) < shortestAlike {
			continue
		}
		key := skeleton(label)
		if t, ok := all[key]; ok && popular()[t.domain] <= rank {
			continue
		}
		all[key] = target{domain: domain, label: Hash(label)}
	}
	return all
})

// labelOf returns what stands before a registered domain's public suffix.
func labelOf(domain string) string {
	suffix, _ := publicsuffix.PublicSuffix(domain)
	return strings.TrimSuffix(strings.TrimSuffix(domain, suffix), ".")
}

// alike returns the domain that another one looks like; "" if it is none, or one that
// others can look like itself.
func (a *alikes) alike(domain string) string {
	label := labelOf(domain)
	if len(label) < shortestASCII && !strings.HasPrefix(label, "xn--") || popular()[domain] != 0 {
		return ""
	}
	key, own := skeleton(label), Hash(label)
	if t, _ := a.site.find(key); t != nil {
		if t.label == own {
			return ""
		}
		return t.domain
	}
	if t, ok := popularTargets()[key]; ok && t.label != own {
		return t.domain
	}
	return ""
}

// use notes that the site uses a domain: by the use of which it is one that others can
// look like. What looks like one that was there before does not become one.
func (a *alikes) use(domain string, u *event.Use, at moment) {
	if u.Hosts < siteHosts || u.First == 0 || at.ns-u.First < siteSecs*1e9 {
		return
	}
	label := labelOf(domain)
	if len(label) < shortestAlike {
		return
	}
	key := skeleton(label)
	t, _ := a.site.find(key)
	if t == nil {
		if p, ok := popularTargets()[key]; ok && p.label != Hash(label) {
			return
		}
		t = a.site.insert(key, at.secs)
		*t = target{domain: strings.Clone(domain), label: Hash(label)}
	}
	t.last = max(t.last, at.bucket)
}

// skeleton is the hash of what a label looks like: without marks and hyphens, letters of
// other scripts as the Latin ones that they look like, and digits and pairs of letters
// as the letters they are taken for. It is never 0.
func skeleton(label string) uint64 {
	if strings.HasPrefix(label, "xn--") {
		if s, err := idna.Punycode.ToUnicode(label); err == nil {
			label = s
		}
	}
	var room [96]byte
	b := room[:0]
	if ascii(label) {
		b = appendFolded(b, label)
	} else {
		for _, r := range norm.NFKD.String(label) {
			if l, ok := confusable[r]; ok {
				b = append(b, l...)
			} else {
				b = utf8.AppendRune(b, r)
			}
		}
		b = appendFolded(nil, strings.ToLower(string(b)))
	}
	return keyed(Hash(event.String(b)))
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// appendFolded appends a label with its digits and pairs of letters folded, and without
// combining marks.
func appendFolded(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '-':
		case c == '0':
			b = append(b, 'o')
		case c == '1', c == 'i', c == '!':
			b = append(b, 'l')
		case c == '3':
			b = append(b, 'e')
		case c == '5':
			b = append(b, 's')
		case c == 'r' && i+1 < len(s) && s[i+1] == 'n':
			b = append(b, 'm')
			i++
		case c == 'v' && i+1 < len(s) && s[i+1] == 'v':
			b = append(b, 'w')
			i++
		case c == 0xcc, c == 0xcd && i+1 < len(s) && s[i+1] < 0xb0: // U+0300 to U+036F
			i++
		default:
			b = append(b, c)
		}
	}
	return b
}

// confusable are letters that look like Latin ones and are none, nor become any by
// compatibility decomposition.
var confusable = func() map[rune]string {
	m := map[rune]string{}
	for _, pair := range []struct{ from, to string }{
		// Cyrillic
		{"а", "a"}, {"в", "b"}, {"с", "c"}, {"ԁ", "d"}, {"е", "e"}, {"һ", "h"}, {"н", "h"}, {"і", "i"}, {"ј", "j"}, {"к", "k"}, {"ӏ", "l"}, {"м", "m"},
		{"п", "n"}, {"о", "o"}, {"р", "p"}, {"ԛ", "q"}, {"г", "r"}, {"ѕ", "s"}, {"т", "t"}, {"ц", "u"}, {"и", "u"}, {"ѵ", "v"}, {"ԝ", "w"}, {"ш", "w"}, {"х", "x"}, {"у", "y"}, {"ү", "y"}, {"з", "3"}, {"ь", "b"},
		// Greek
		{"α", "a"}, {"β", "b"}, {"ϲ", "c"}, {"ε", "e"}, {"η", "n"}, {"ι", "i"}, {"κ", "k"}, {"ν", "v"}, {"ο", "o"}, {"ρ", "p"}, {"σ", "o"}, {"τ", "t"}, {"υ", "u"}, {"χ", "x"}, {"γ", "y"}, {"ω", "w"}, {"μ", "u"}, {"ϳ", "j"},
		// Armenian
		{"ո", "n"}, {"ս", "u"}, {"օ", "o"}, {"հ", "h"}, {"ց", "g"}, {"յ", "j"}, {"զ", "q"}, {"ւ", "l"}, {"ք", "p"},
		// Latin
		{"ı", "i"}, {"ł", "l"}, {"ø", "o"}, {"đ", "d"}, {"ð", "d"}, {"ħ", "h"}, {"ŧ", "t"}, {"ɑ", "a"}, {"ɡ", "g"}, {"ɩ", "i"}, {"ɪ", "i"}, {"ʟ", "l"}, {"ɴ", "n"}, {"ʀ", "r"},
		{"ꜱ", "s"}, {"ᴀ", "a"}, {"ʙ", "b"}, {"ᴄ", "c"}, {"ᴅ", "d"}, {"ᴇ", "e"}, {"ɢ", "g"}, {"ʜ", "h"}, {"ᴊ", "j"}, {"ᴋ", "k"}, {"ᴍ", "m"}, {"ᴏ", "o"}, {"ᴘ", "p"}, {"ᴛ", "t"},
		{"ᴜ", "u"}, {"ᴠ", "v"}, {"ᴡ", "w"}, {"ʏ", "y"}, {"ᴢ", "z"}, {"ƅ", "b"}, {"ƃ", "b"}, {"ɓ", "b"}, {"ɗ", "d"}, {"ƒ", "f"}, {"ƙ", "k"}, {"ƞ", "n"}, {"ƿ", "p"}, {"ƶ", "z"}, {"ʋ", "v"}, {"æ", "ae"}, {"œ", "oe"},
	} {
		r, _ := utf8.DecodeRuneInString(pair.from)
		m[r] = pair.to
	}
	return m
}()
