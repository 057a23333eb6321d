package population

import (
	"net/netip"
	"testing"

	"tidewatch/event"
)

func TestRanges(t *testing.T) {
	all := spans()
	for i := 1; i < len(all); i++ {
		if all[i].from.Compare(all[i-1].to) <= 0 {
			t.Errorf("%v-%v and %v-%v overlap", all[i-1].from, all[i-1].to, all[i].from, all[i].to)
		}
	}
	f := func(addr string, want event.Class) {
		t.Helper()
		if got := classOfAddr(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s is of class %q, want %q", addr, got, want)
		}
	}
	f("17.0.0.0", event.ClassPlatform)
	f("17.255.255.255", event.ClassPlatform)
	f("16.255.255.255", event.ClassNone)
	f("18.0.0.0", event.ClassNone)
	f("52.184.216.174", event.ClassPlatform)
	f("91.228.167.171", event.ClassUpdate)
	f("0.0.0.0", event.ClassNone)
	f("255.255.255.255", event.ClassNone)
	f("2001:db8::1", event.ClassNone)
	a := netip.MustParseAddr("142.251.1.1")
	if n := testing.AllocsPerRun(100, func() { classOfAddr(a) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
