package population

import (
	"strings"
	"testing"

	"golang.org/x/net/idna"

	"tidewatch/event"
)

// What looks like a popular domain is told, in each of the ways in which that is done;
// what is popular itself, short, or only similar is not.
func TestAlike(t *testing.T) {
	a := newAlikes(64)
	f := func(domain, want string) {
		t.Helper()
		if s, err := idna.ToASCII(domain); err == nil {
			domain = s
		}
		if got := a.alike(domain); got != want {
			t.Errorf("%s looks like %q, want %q", domain, got, want)
		}
	}
	f("paypa1.com", "paypal.com")
	f("paypal-.com", "paypal.com")
	f("pay-pal.net", "paypal.com")
	f("rnicrosoft.com", "microsoft.com")
	f("micros0ft.co.uk", "microsoft.com")
	f("vveather.com", "weather.com")
	f("раураl.com", "paypal.com") // Cyrillic but for the l
	f("аррӏе.com", "apple.com")   // wholly Cyrillic
	f("fаcebook.com", "facebook.com")
	f("gοοgle.com", "google.com") // Greek
	f("gøøgle.com", "google.com") // Latin of another kind
	f("ámazon.com", "amazon.com") // a mark
	f("app1e.com", "")            // too short without letters of other scripts
	f("amazon.com", "")
	f("google.de", "") // the label itself
	f("xn--a.com", "") // no Punycode
	f("qrstuv-own.example", "")
	f("t-.co", "")
	f("", "")
}

// A domain becomes one that others can look like when several hosts have used it for
// long.
func TestAlikeOfTheSites(t *testing.T) {
	a := newAlikes(64)
	day := moment{ns: 20 * daySecs * 1e9, secs: 20 * daySecs, bucket: 20 * daySecs, day: 20}
	for _, u := range []event.Use{{Hosts: 4, First: 1}, {Hosts: 50, First: day.ns - 1e9}, {Hosts: 50}} {
		if a.use("intranet-acme.example", &u, day); a.alike("intranet-acrne.example") != "" {
			t.Errorf("%+v is enough", u)
		}
	}
	u := event.Use{Hosts: 5, First: 1}
	a.use("intranet-acme.example", &u, day)
	if got := a.alike("lntranetacrne.example"); got != "intranet-acme.example" {
		t.Errorf("looks like %q", got)
	}
	if got := a.alike("intranet-acme.example"); got != "" {
		t.Errorf("it looks like %q itself", got)
	}
	// What looks like it does not take its place, however much it is used.
	a.use("intranetacme.example", &u, day)
	if got := a.alike("intranetacme.example"); got != "intranet-acme.example" {
		t.Errorf("looks like %q", got)
	}
	a.use("paypa1.com", &u, day)
	if got := a.alike("paypa1.com"); got != "paypal.com" {
		t.Errorf("looks like %q", got)
	}
}

// Popular domains do not look like each other, and the list itself is covered.
func TestAlikeOfPopular(t *testing.T) {
	a := newAlikes(64)
	for domain := range popular() {
		if got := a.alike(domain); got != "" {
			t.Errorf("%s looks like %s", domain, got)
		}
	}
	if n := len(popularTargets()); n < 3500 {
		t.Errorf("%d targets", n)
	}
}

func FuzzSkeleton(f *testing.F) {
	for _, s := range []string{"paypal", "xn--pypal-4ve", "xn--", "rn", "v", "\xcd", "a\xcc", "xn--\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if skeleton(s) == 0 {
			t.Error("a skeleton is 0")
		}
		if i := strings.IndexByte(s, '-'); i < 0 && ascii(s) && !strings.HasPrefix(s, "xn--") {
			for n := 1; n < len(s); n++ {
				if !strings.HasPrefix(s[:n]+"-"+s[n:], "xn--") && skeleton(s[:n]+"-"+s[n:]) != skeleton(s) && s[n-1] != 'r' && s[n-1] != 'v' {
					t.Errorf("%q with a hyphen at %d looks otherwise", s, n)
				}
			}
		}
	})
}
