package population

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tidewatch/behavior/state"
	"tidewatch/event"
)

const testDay = 20_000 // days since 1970

func on(day float64) moment { return momentOf(int64((testDay + day) * daySecs * 1e9)) }

// A Use counts each host of the last 30 days once, the crowds' within 15 to 30 days,
// and says since when.
func TestUse(t *testing.T) {
	f := func(what string, want uint32, days func(u *uses) event.Use) {
		t.Helper()
		if got := days(newUses(64, 64, 8)); got.Hosts != want {
			t.Errorf("%s: %d hosts, want %d", what, got.Hosts, want)
		}
	}
	f("a host", 1, func(u *uses) event.Use { return u.count(1, 7, on(0)) })
	f("the same again", 1, func(u *uses) event.Use { u.count(1, 7, on(0)); return u.count(1, 7, on(40)) })
	f("two", 2, func(u *uses) event.Use { u.count(1, 7, on(0)); return u.count(1, 8, on(1)) })
	f("two, one long ago", 1, func(u *uses) event.Use { u.count(1, 7, on(0)); return u.count(1, 8, on(30)) })
	f("two, in no order", 2, func(u *uses) event.Use { u.count(1, 7, on(1)); return u.count(1, 8, on(0)) })
	f("nobody", 0, func(u *uses) event.Use { u.count(1, 0, on(0)); return u.count(1, 0, on(1)) })
	f("nobody, then a host", 1, func(u *uses) event.Use { u.count(1, 0, on(0)); return u.count(1, 7, on(1)) })
	f("a host, then nobody", 1, func(u *uses) event.Use { u.count(1, 7, on(0)); return u.count(1, 0, on(1)) })
	many := func(n int, from float64, last float64) func(u *uses) event.Use {
		return func(u *uses) event.Use {
			for i := range n {
				u.count(1, uint32(100+i), on(from))
			}
			return u.count(1, 100, on(last))
		}
	}
	f("six", 6, many(6, 0, 1))
	f("seven", 7, many(7, 0, 1))
	f("sixty", 60, many(60, 0, 14))
	f("sixty in the generation before", 60, many(60, 9.5, 10.5)) // testDay+10 begins a period
	f("sixty two generations ago", 1, many(60, 9, 25))
	f("three generations", 10, func(u *uses) event.Use { many(60, 0, 0)(u); many(10, 10.5, 10.5)(u); return u.count(1, 100, on(25.5)) })
	f("seven that stay", 7, func(u *uses) event.Use { many(7, 0, 0)(u); many(7, 12, 12)(u); return u.count(1, 100, on(27)) })
	f("six that are replaced", 1, many(6, 0, 31))
	u := newUses(64, 64, 8)
	many(6, 0, 0)(u)
	if n := u.count(1, 999, on(31)).Hosts; n != 1 || len(u.crowds.slab) > 0 {
		t.Error("six hosts and one a month later make a crowd")
	}
	f("seven long ago", 1, many(7, 0, 60))
	f("sixty, looked at later", 0, func(u *uses) event.Use { many(60, 0, 1)(u); return u.look(1, testDay+60) })
	f("without room for crowds", 6, func(u *uses) event.Use {
		for k := range uint64(8) {
			for h := range uint32(20) {
				u.count(mix(100+k), 1+h, on(0))
			}
		}
		return many(9, 0, 1)(u)
	})

	u = newUses(64, 64, 8)
	for i, want := range []int64{0, on(3).ns, on(3).ns, on(2).ns} {
		at := []moment{on(3), on(4), on(2), on(5)}[i]
		if got := u.count(5, uint32(1+i%2), at).First; got != want {
			t.Errorf("record %d: first %d, want %d", i, got, want)
		}
	}
}

// The records of a use do not depend on the order in which its hosts came.
func TestRecordsHaveOneOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	for _, n := range []int{1, 2, 6, 7, 62, 200} {
		var want []state.Record
		for range 5 {
			u := newUses(64, 64, 8)
			for _, i := range r.Perm(n) {
				u.count(1, uint32(1+i), on(float64(i%18)))
				u.count(1, uint32(1+i), on(float64(i%18)/2))
			}
			got := u.cut(nil, partCalled)
			if want == nil {
				want = got
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("%d hosts:\n%s", n, d)
			}
		}
	}
}

// Names that something has, and those that are in use, outlive those that were asked
// for, and those that are not.
func TestNamesGiveWay(t *testing.T) {
	p := New(Config{Names: 256})
	hold := func(s string, day float64) {
		n, _, _ := p.intern(s, Hash(s), on(day))
		n.held = true
	}
	hold("held.example", 0)
	for i := range 5000 {
		name := fmt.Sprintf("n%d.example", i)
		p.intern(name, Hash(name), on(1))
	}
	if n, _ := p.names.find(Hash("held.example")); n == nil {
		t.Error("questions evict a name that an address has")
	}
	hold("used.example", 0)
	for i := range 5000 {
		hold(fmt.Sprintf("h%d.example", i), 1+float64(i)/1000)
		p.recall(Hash("used.example"), on(1+float64(i)/1000))
	}
	if n, _ := p.names.find(Hash("used.example")); n == nil {
		t.Error("names evict one in steady use")
	}
	if n, _ := p.names.find(Hash("held.example")); n != nil || p.names.n > 256 {
		t.Errorf("a name that nobody used for days is kept: %v, among %d", n != nil, p.names.n)
	}
}

// The estimate for crowds is as good as sketch.Distinct's, and who used it before is
// not counted twice.
func TestCrowd(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	u := newUses(64, 64, 8)
	var use event.Use
	for range 50_000 {
		use = u.count(1, 1+r.Uint32N(2000), on(r.Float64()*9))
	}
	if use.Hosts < 1500 || use.Hosts > 2500 {
		t.Errorf("2000 hosts are counted as %d", use.Hosts)
	}
}

// A flood of keys that one host uses on one day moves nothing that several use, or
// that was used on two days.
func TestFlood(t *testing.T) {
	u := newUses(1<<10, 1<<8, 8)
	const kept = 100
	for k := range uint64(kept) {
		u.count(mix(k+1), 1, on(0))
		u.count(mix(k+1), 1, on(2))
		u.count(mix(1000+k), 1, on(2))
		u.count(mix(1000+k), 2, on(2))
	}
	for k := range uint64(200_000) {
		u.count(mix(1<<40+k), 3, on(2.1))
	}
	for k := range uint64(kept) {
		if u.look(mix(k+1), testDay+2).First != on(0).ns {
			t.Errorf("old use %d is forgotten", k)
		}
		if u.look(mix(1000+k), testDay+2).Hosts != 2 {
			t.Errorf("use %d by two hosts is forgotten", k)
		}
	}
	// What more than six use stays where two use each of very many.
	for k := range uint64(6 * 20_000) {
		u.count(mix(2000+k/6%4), uint32(1+k%9), on(2.1))
		u.count(mix(1<<41+k/6), uint32(1+k%2), on(2.1))
	}
	for k := range uint64(4) {
		if u.look(mix(2000+k), testDay+2).Hosts != 9 {
			t.Errorf("use %d by nine hosts is forgotten", k)
		}
	}
	if u.light.n > 1<<10 || len(u.light.sets) > 1<<7 {
		t.Errorf("%d light uses in %d sets", u.light.n, len(u.light.sets))
	}
}

// Crowds whose entry is evicted are used again.
func TestCrowdsAreBounded(t *testing.T) {
	u := newUses(64, 64, 16)
	for k := range uint64(10_000) {
		for h := range uint32(8) {
			u.count(mix(k+1), 1+h, on(float64(k)/100))
		}
	}
	if n := len(u.crowds.slab); n > 17 {
		t.Errorf("%d crowds, want at most 17", n)
	}
	used := 0
	_, es := dump(&u.wide)
	for _, e := range es {
		if e.crowd != 0 {
			used++
		}
	}
	if used+len(u.crowds.free)+1 != len(u.crowds.slab) {
		t.Errorf("of %d crowds %d are used and %d are free", len(u.crowds.slab), used, len(u.crowds.free))
	}
}

// hosts counts those of the window that ends today, in any order of records, and
// does not lose count when one of them is from the far future.
func TestHosts(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	h := newHosts(1 << 12)
	last := map[uint64]uint16{}
	const future = testDay + 10_000
	for i := range 20_000 {
		at := on(float64(i)/200 - r.Float64()*2)
		if i == 5000 {
			at = on(future - testDay)
		}
		host := mix(1 + uint64(r.IntN(1+i/100)))
		h.see(host, netip.Addr{}, at)
		last[keyed(host)] = max(last[keyed(host)], at.day)
		if i%97 != 0 {
			continue
		}
		want := uint32(0)
		for _, d := range last {
			// A day from the future takes the slot of each 64th day before it.
			if within(d, at.day) && (i < 5000 || d == future || d%64 != future%64) {
				want++
			}
		}
		if got := h.count(at.day); got != want {
			t.Fatalf("step %d: %d hosts, want %d", i, got, want)
		}
	}
}

// Two names with one hash have keys of their own.
func TestCollision(t *testing.T) {
	p := New(DefaultConfig())
	a, key, _ := p.intern("a.example", Hash("a.example"), on(0))
	a.text = "b.example" // as if it had the hash
	n, other, _ := p.intern("A.example", Hash("A.example"), on(0))
	if n == nil || other == key || n.text != "a.example" || !hashes(other, "a.example") {
		t.Fatalf("the second name is %v under %#x, the first is under %#x", n, other, key)
	}
	if again, same, _ := p.intern("a.example", Hash("a.example"), on(0)); again != n || same != other {
		t.Error("it is not found again")
	}
}

// Every line of the tables is well-formed, and no name is in twice.
func TestEmbeddedTables(t *testing.T) {
	f := func(name string, class event.Class) {
		t.Helper()
		if got := classOfName(name); got != class {
			t.Errorf("%s is %q, want %q", name, got, class)
		}
	}
	f("fe2.update.microsoft.com", event.ClassUpdate)
	f("update.microsoft.com", event.ClassUpdate)
	f("notupdate.microsoft.com", event.ClassNone)
	f("ctldl.windowsupdate.com", event.ClassRevocation) // the longer suffix
	f("au.download.windowsupdate.com", event.ClassUpdate)
	f("ocsp.unknown.example", event.ClassRevocation)
	f("ocsp.example", event.ClassNone)
	f("v10.events.data.microsoft.com", event.ClassTelemetry)
	f("1-courier.push.apple.com", event.ClassPush)
	f("us04web.zoom.us", event.ClassMeeting)
	f("www.speedtest.net", event.ClassSpeedTest)
	f("client.dropbox.com", event.ClassBackup)
	f("2.debian.pool.ntp.org", event.ClassTime)
	f("dns.google", event.ClassName)
	f("", event.ClassNone)

	if n := len(known().suffixes); n < 200 || n > 700 {
		t.Errorf("%d suffixes have a class", n)
	}
	for s := range known().suffixes {
		if s != lower(s) || s != trimName(s) {
			t.Errorf("the suffix %q is no name in lower case", s)
		}
	}
	list := popular()
	if len(list) < 4000 || len(popularText) > 150<<10 {
		t.Errorf("%d popular domains in %d bytes", len(list), len(popularText))
	}
	for d, rank := range list {
		if d != registered(d) || rank == 0 || rank > uint32(len(list)) {
			t.Errorf("%q with place %d is no registered domain", d, rank)
		}
	}
	for i, d := range []string{"google.com", "microsoft.com", "windowsupdate.com"} {
		if list[d] == 0 || list[d] > 100 {
			t.Errorf("%d: %s has place %d", i, d, list[d])
		}
	}
	for _, d := range []string{"cloudfront.net", "github.io", "workers.dev", "duckdns.org"} {
		if list[d] != 0 {
			t.Errorf("%s is popular, where anybody gets a name", d)
		}
	}
}
