package condition

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A pattern says what its regular expression says.
func TestPattern(t *testing.T) {
	f := func(expr string, needs string, texts ...string) {
		t.Helper()
		p, err := newPattern(expr)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(needs, strings.Join(p.needs, ",")); diff != "" {
			t.Errorf("%s needs (-want +got)\n%s", expr, diff)
		}
		re := regexp.MustCompile(expr)
		for _, s := range append(texts, "", "x", "no match here", "ab") {
			if got, want := p.matches(s), re.MatchString(s); got != want {
				t.Errorf("%s matches %q: %v, the expression says %v", expr, s, got, want)
			}
		}
	}
	f(`(?i)\.(duckdns\.org|no-ip\.(com|biz)|ddns\.net)$`, "duckdns.org,no-ip.,ddns.net", "a.DuckDNS.org", "b.no-ip.biz", "b.no-ip.info", "ddns.net", "x.ddns.net.example")
	f(`(?i)(^|\.)(xmr|pool)[a-z0-9-]*\.(minexmr\.com|f2pool\.com)$`, "minexmr.com,f2pool.com", "pool-1.F2POOL.com", "xmr.minexmr.com", "minexmr.com")
	f(`Ends(With)?`, "ends", "Ends", "ends", "at its Ends")
	f(`(abc|d)e`, "", "abce", "de")
	f(`(?i)Kelvin`, "kelvin", "\u212aelvin", "KELVIN", "elvin")
	f(`(abc){2}x`, "abc", "abcabcx", "abcx")
	f(`(abc){0,2}x`, "", "x", "abcx")
	f(`(?:cafés|abc)`, "", "cafés", "abc")
	f(`^[0-9]+$`, "", "12", "a")
	f(`(?i)WindowsPowerShell|CertUtil URL Agent|WinHttp\.WinHttpRequest`, "windowspowershell,certutil url agent,winhttp.winhttprequest", "Mozilla WindowsPowerShell/5", "certutil url agent", "WinHttp")
}

func FuzzPattern(f *testing.F) {
	f.Add(`(?i)\.(abc|def)g$`, "x.ABCg")
	f.Add(`a{2,}bcd|(?i:efg)`, "aabcd")
	f.Add("(?i)kelvin", "\u212aelvin")
	f.Fuzz(func(t *testing.T, expr, text string) {
		re, err := regexp.Compile(expr)
		if err != nil || len(expr) > 200 {
			return
		}
		p, err := newPattern(expr)
		if err != nil {
			t.Fatalf("%q: %v", expr, err)
		}
		if got, want := p.matches(text), re.MatchString(text); got != want {
			t.Errorf("%q matches %q: %v, the expression says %v", expr, text, got, want)
		}
	})
}
