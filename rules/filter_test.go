package rules

import (
	"net/netip"
	"strings"
	"testing"
	"testing/fstest"

	"tidewatch/event"
)

// A filter is a condition of rules over records, with the zones of the rules.
func TestFilter(t *testing.T) {
	set, err := Load(fstest.MapFS{"z.toml": {Data: []byte("[zone]\nlab = [\"10.9.0.0/16\"]\n")}})
	if err != nil {
		t.Fatal(err)
	}
	ev := event.Event{Kind: event.KindDNS}
	ev.Orig.Addr = netip.MustParseAddr("10.9.1.2")
	f := func(source string, want bool, bad string) {
		t.Helper()
		holds, err := set.Filter(source)
		switch {
		case bad != "" && (err == nil || !strings.Contains(err.Error(), bad)):
			t.Errorf("%s: %v, want %s", source, err, bad)
		case bad == "" && err != nil:
			t.Errorf("%s: %v", source, err)
		case bad == "" && holds(&ev) != want:
			t.Errorf("%s: %v", source, !want)
		}
	}
	f(`record.kind == "dns"`, true, "")
	f(`record.kind == "tls"`, false, "")
	f(`record.kind == "tls" or source.ip in cidr("10.8.0.0/16")`, false, "")
	f(`source.ip in zone("lab")`, true, "")
	f(`not (source.ip in zone("lab"))`, false, "")
	f(`source.ip in zone("attic")`, false, "attic")
	f(`record.kid == "dns"`, false, "record.kind")
	f(`1 + 1`, false, "a condition is true or false")
	f(`record.kind ==`, false, "character")
	holds, err := set.Filter(`record.kind == "dns" and source.ip in zone("lab")`)
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { holds(&ev) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
