package dnstunnel

import (
	"slices"
	"strings"
	"testing"

	"tidewatch/event"
)

func TestRead(t *testing.T) {
	f := func(query, known, sub, domain string) {
		t.Helper()
		var n name
		if !n.read(query, &event.Known{Domain: known}) {
			n = name{}
		}
		if string(n.sub) != sub || string(n.domain) != domain {
			t.Errorf("%q: %q below %q, want %q below %q", query, n.sub, n.domain, sub, domain)
		}
	}
	f("a.b.evil.example", "", "a.b", "evil.example")
	f("A.B.Evil.Example.", "", "a.b", "evil.example")
	f("evil.example", "", "", "evil.example")
	f("a.evil.co.uk", "", "a", "evil.co.uk")
	f("a.evil.co.uk", "evil.co.uk", "a", "evil.co.uk")
	f("a.b.evil.co.uk", "b.evil.co.uk", "a", "b.evil.co.uk")
	f("a.b.evil.co.uk", "il.co.uk", "", "")                      // that is no label's beginning
	f("a.b.evil.co.uk", "other.example", "a.b", "evil.co.uk")    // known of something else
	f("localhost", "", "", "")                                   // no domain
	f("localhost", "localhost", "", "")                          // as Known has it
	f("co.uk", "", "", "")                                       // nobody's
	f("d111.cloudfront.net", "", "", "d111.cloudfront.net")      // whoever rents it
	f(`\xbe\xC0z.evil.example`, "", "\xbe\xc0z", "evil.example") // escapes
	f(`\xb\xzz.evil.example`, "", `\xb\xzz`, "evil.example")     // none
	f(strings.Repeat("a", 260)+".evil.example", "", "", "")      // no name
	f(strings.Repeat(`\xbe`, 200)+".evil.example", "", strings.Repeat("\xbe", 200), "evil.example")
	f("", "", "", "")
	f(".", "", "", "")
	f("..evil.example", "", ".", "evil.example")
	f("a\x00b.evil.example", "", "a\x00b", "evil.example")
}

func TestShapes(t *testing.T) {
	f := func(sub string, address, searched bool) {
		t.Helper()
		n := name{sub: []byte(sub)}
		if n.address() != address || n.searched() != searched {
			t.Errorf("%q: address %v, searched %v", sub, n.address(), n.searched())
		}
	}
	f("2.0.0.127", true, false)
	f("2.0.0.127.zen", true, false)
	f("2.0.0.127."+strings.Repeat("a", 40), false, false) // data behind an address
	f("2.0.0", false, false)
	f("2.0.0.x", false, false)
	f("2..0.1", false, false)
	f(strings.TrimSuffix(strings.Repeat("a.", 32), "."), true, false)
	f(strings.Repeat("a.", 32)+"bl", true, false)
	f(strings.TrimSuffix(strings.Repeat("a.", 31), "."), false, false)
	f("www.google.com", false, true)
	f("www.bbc.co.uk", false, true)
	f("d111.cloudfront.net", false, true)
	f("d111.cloudfront.net.corp", false, true)
	f("www.google.com.europe.corp", false, true)
	f("www.google.com.a.b.c", false, false) // too deep
	f("com", false, false)
	f("mfrggzdfmztwq2lk", false, false)
	f("mfrggzdf.mztwq2lk", false, false)
}

func TestServicesAreSorted(t *testing.T) {
	if !slices.IsSorted(services) || len(slices.Compact(slices.Clone(services))) != len(services) {
		t.Error("the services are not sorted, or one is there twice")
	}
	for _, s := range services {
		if s != strings.ToLower(s) || !strings.Contains(s, ".") {
			t.Errorf("%q is no domain", s)
		}
	}
	f := func(name string, want bool) {
		t.Helper()
		if got := isService(name, []string{"own.example"}); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
	f("sophosxl.net", true)
	f("e1234.akamaiedge.net", true)
	f("own.example", true)
	f("a.own.example", true)
	f("notsophosxl.net", false)
	f("evil.example", false)
	f("net", false)
}

// A window forgets, bucket by bucket, what is older than it is long.
func TestWindow(t *testing.T) {
	var w window
	at := 1795132800 * second
	f := func(after int64, v uint32, want float64) {
		t.Helper()
		w.add(at+after, hourBucket, v)
		if got := w.sum(); got != want {
			t.Errorf("after %d s: %v, want %v", after/second, got, want)
		}
	}
	f(0, 100, 100)
	f(10*60*second, 50, 150)
	f(5*60*second, 7, 157) // late
	f(59*60*second, 1, 158)
	f(62*60*second, 0, 58) // the first bucket is gone
	f(0, 1000, 58)         // too late
	f(30*hour, 3, 3)
}

func TestSpell(t *testing.T) {
	f := func(sub string, low, high float64) {
		t.Helper()
		var chars [numChars]float64
		for _, b := range []byte(sub) {
			if b != '.' {
				chars[charClass(b)]++
			}
		}
		if got, _, _ := spell(&chars); got < low || got > high {
			t.Errorf("%q: %.2f, want %.2f to %.2f", sub, got, low, high)
		}
	}
	l := newLog()
	f(l.data(base32Lower, 250), 0.25, 0.6)
	f(l.data(hexLower, 250), 1, 2)
	f("www.images.static.content.login.accounts.mail", -1, -0.2)
	f("valve716.valve615.valve610.valve613", -0.5, 0.2)
	f("array505.prod.do.dsp.mp.geo.prod.do.dsp.mp.kv501.prod.do.dsp.mp", -1, 0)
	f("", 0, 0)
}

// Whatever is asked for, its parts are parts of it.
func FuzzRead(f *testing.F) {
	for _, s := range []string{"a.b.evil.example", `\xbe\xC0z.evil.co.uk`, "2.0.0.127.zen.lists.example", "www.google.com.corp.example", "..", "a..", ".a", "\\x"} {
		f.Add(s, "")
		f.Add(s, "example")
		f.Add(s, "evil.example")
	}
	f.Fuzz(func(t *testing.T, query, domain string) {
		var n name
		if !n.read(query, &event.Known{Domain: domain}) {
			return
		}
		want := string(n.domain)
		if len(n.all) != len(n.domain) {
			want = string(n.sub) + "." + want
		}
		if want != string(n.all) {
			t.Fatalf("%q: %q below %q is not %q", query, n.sub, n.domain, n.all)
		}
		n.address()
		n.searched()
		n.local()
		if labels, longest := n.labels(); labels < 1 || longest > len(n.sub) {
			t.Fatalf("%q: %d labels, the longest of %d bytes", n.sub, labels, longest)
		}
		if s := printable(n.sub); len(s) != len(n.sub) {
			t.Fatalf("%q", s)
		}
	})
}
