package enrich

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tidewatch/event"
)

// What providers publish says whose an address is.
func TestServices(t *testing.T) {
	f := func(name, text, addr string, want *event.Service) {
		t.Helper()
		x := open(t, Config{Services: []string{write(t, name, text)}})
		var got *event.Service
		if a := x.about(x.now.Load(), netip.MustParseAddr(addr), 0, 0); a != nil {
			got = a.Service
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s: %s", name, addr, d)
		}
	}
	aws := `{"syncToken": "1", "prefixes": [{"ip_prefix": "198.51.100.0/24", "region": "eu-west-1", "service": "AMAZON", "network_border_group": "x"},
		{"ip_prefix": "198.51.100.0/24", "region": "eu-west-1", "service": "EC2"}, {"ip_prefix": "198.51.100.0/24", "region": "eu-west-1", "service": "AMAZON"}],
		"ipv6_prefixes": [{"ipv6_prefix": "2001:db8::/32", "region": "GLOBAL", "service": "CLOUDFRONT"}]}`
	f("ip-ranges.json", aws, "198.51.100.7", &event.Service{Provider: "Amazon Web Services", Name: "EC2", Region: "eu-west-1"})
	f("ip-ranges.json", aws, "2001:db8::7", &event.Service{Provider: "Amazon Web Services", Name: "CLOUDFRONT", Region: "GLOBAL"})
	f("ip-ranges.json", aws, "198.51.101.7", nil)
	f("cloud.json", `{"prefixes": [{"ipv4Prefix": "198.51.100.0/24", "service": "Google Cloud", "scope": "us-east1"}, {"ipv6Prefix": "2001:db8::/32", "service": "Google Cloud", "scope": "x"}]}`,
		"198.51.100.7", &event.Service{Provider: "Google Cloud", Name: "Google Cloud", Region: "us-east1"})
	f("ServiceTags.json", `{"values": [{"name": "AzureCloud", "properties": {"systemService": "", "region": "", "addressPrefixes": ["198.51.100.0/24"]}},
		{"name": "Storage.WestEurope", "properties": {"systemService": "AzureStorage", "region": "westeurope", "addressPrefixes": ["198.51.100.0/24"]}}]}`,
		"198.51.100.7", &event.Service{Provider: "Microsoft Azure", Name: "AzureStorage", Region: "westeurope"})
	f("endpoints.json", `[{"id": 1, "serviceArea": "Exchange", "serviceAreaDisplayName": "Exchange Online", "ips": ["198.51.100.0/24"]}, {"id": 2, "urls": ["x"]}]`,
		"198.51.100.7", &event.Service{Provider: "Microsoft 365", Name: "Exchange Online"})
	f("cloudflare.txt", "198.51.100.0/24\n\n# six\n2001:db8::/32\n", "2001:db8::7", &event.Service{Provider: "cloudflare"})
	bad := func(name, text, want string) {
		t.Helper()
		if _, err := Open(NewZones(nil), Config{Services: []string{write(t, name, text)}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	bad("a.txt", "198.51.100.0/24\n<html>\n", "a.txt:2")
	bad("a.json", "{}", "neither Amazon's")
	bad("a.json", `{"prefixes": [{"ip_prefix": "x"}]}`, `"x"`)
	bad("a.json", "[", "a.json")
}

func FuzzServices(f *testing.F) {
	f.Add([]byte(`{"prefixes": [{"ip_prefix": "198.51.100.0/24"}]}`))
	f.Add([]byte(`[{"ips": ["2001:db8::/32"]}]`))
	f.Fuzz(func(_ *testing.T, text []byte) {
		s := &Services{shared: map[event.Service]*event.Service{}}
		s.lines("a.txt", text)
		if len(text) > 0 {
			_ = s.json(text)
		}
	})
}
