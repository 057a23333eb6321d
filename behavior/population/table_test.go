package population

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// dump returns what a table holds, in the order of keys.
func dump[E any](t *table[E]) (keys []uint64, values []E) {
	for i := range t.sets {
		for w, key := range t.sets[i].keys {
			if key != 0 {
				keys, values = append(keys, key), append(values, t.sets[i].values[w])
			}
		}
	}
	return keys, values
}

func identity(e *uint64, _ uint32) uint64 { return *e }

// A table answers as a map does while there is room, and what its cuts say of it
// makes the same table again.
func TestTable(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	tab := newTable(1<<14, identity)
	want, store := map[uint64]uint64{}, map[uint64]uint64{}
	for i := range 20_000 {
		key := keyed(mix(uint64(r.IntN(2000))))
		at, ref := tab.find(key)
		if _, ok := want[key]; ok != (at != nil) {
			t.Fatalf("step %d: in the table is %v, in the map %v", i, at != nil, ok)
		}
		switch {
		case at == nil:
			at = tab.insert(key, 0)
			*at, want[key] = uint64(i), uint64(i)
		case r.IntN(3) == 0:
			tab.remove(ref)
			delete(want, key)
		default:
			*at, want[key] = uint64(i), uint64(i)
			tab.touch(ref)
		}
		if r.IntN(500) == 0 {
			tab.cut(func(key uint64) { delete(store, key) }, func(key uint64, e *uint64) { store[key] = *e })
			again := newTable(1<<14, identity)
			for key, e := range store {
				again.restore(key, e)
			}
			ks, vs := dump(&again)
			if len(ks) != len(want) || tab.n != len(want) {
				t.Fatalf("step %d: %d entries in the store and %d in the table, want %d", i, len(ks), tab.n, len(want))
			}
			for j, k := range ks {
				if want[k] != vs[j] {
					t.Fatalf("step %d: the store has %d, want %d", i, vs[j], want[k])
				}
			}
		}
	}
}

// Who stays does not depend on the order in which keys come, nor on how the table
// grew, and it is the worthiest of each set.
func TestTableEvicts(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	keys := make([]uint64, 3000)
	for i := range keys {
		keys[i] = r.Uint64()
	}
	fill := func(keys []uint64) *table[uint64] {
		tab := newTable(1024, identity)
		for _, k := range keys {
			*tab.insert(k, 0) = k % 1000
		}
		return &tab
	}
	// In the order of worth a newcomer is always worthier than who goes.
	byWorth := slices.Clone(keys)
	slices.SortFunc(byWorth, func(a, b uint64) int { return int(a%1000) - int(b%1000) })
	tab := fill(byWorth)
	if tab.n > 1024 || len(tab.sets) != 128 {
		t.Errorf("%d entries in %d sets", tab.n, len(tab.sets))
	}
	for i := range tab.sets {
		var all []uint64
		for _, k := range keys {
			if k>>tab.shift == uint64(i) {
				all = append(all, k%1000)
			}
		}
		slices.Sort(all)
		have := tab.sets[i].values
		slices.Sort(have[:])
		if want := all[max(len(all)-ways, 0):]; !slices.Equal(have[ways-len(want):], want) {
			t.Errorf("set %d has %d, want %d", i, have, want)
		}
	}
	// A cut of a table that evicts is of the size of the table.
	gone := 0
	tab.cut(func(uint64) { gone++ }, func(uint64, *uint64) {})
	for range 50_000 {
		*tab.insert(r.Uint64(), 0) = 2000
	}
	n := 0
	tab.cut(func(uint64) { n++ }, func(uint64, *uint64) {})
	if gone != 0 || n > 1024 {
		t.Errorf("%d, then %d keys are gone of what was stored, want 0 and at most 1024", gone, n)
	}
}

// Hash and lowerEqual take capitals for small letters, and nothing else.
func TestHash(t *testing.T) {
	seen := map[uint64]string{}
	var all strings.Builder
	for i := range 300 {
		all.WriteByte(byte(i))
		s := all.String()
		l := lower(s)
		if Hash(s) != Hash(l) || !lowerEqual(s, l) {
			t.Fatalf("%q and %q differ", s, l)
		}
		if len(s) > 1 && (lowerEqual(s, l[1:]) || lowerEqual(s[1:], l[:len(l)-1])) {
			t.Fatalf("%q is equal to another name", s)
		}
	}
	for c := range 256 {
		for _, s := range []string{string([]byte{byte(c)}), "1234567" + string([]byte{byte(c)}), "12345678" + string([]byte{byte(c)}) + "x"} {
			l := lower(s)
			if other, ok := seen[Hash(s)]; ok && other != l {
				t.Errorf("%q and %q have one hash", s, other)
			}
			seen[Hash(s)] = l
		}
	}
	if Hash("") == 0 || Hash("a") == Hash("a\x00") {
		t.Error("the length is not part of the hash")
	}
	// Stored state is keyed by it.
	if got, want := Hash("www.Example.com"), uint64(0xafbed0f8c2eda569); got != want {
		t.Errorf("Hash is %#x, want %#x", got, want)
	}
}

func TestRegistered(t *testing.T) {
	f := func(name, want string) {
		t.Helper()
		if got := registered(name); got != want {
			t.Errorf("the registered domain of %q is %q, want %q", name, got, want)
		}
	}
	f("www.example.com", "example.com")
	f("a.b.example.co.uk", "example.co.uk")
	f("co.uk", "co.uk")
	f("printer", "printer")
	f("", "")
	f("x.y.corp.local", "corp.local")
	f("4.3.2.1.in-addr.arpa", "4.3.2.1.in-addr.arpa")
	f("site.github.io", "site.github.io")
	f("d111.cloudfront.net", "d111.cloudfront.net")
	f("_ldap._tcp.dc._msdcs.corp.example.com", "example.com")
	f("..com", ".com")
	f(".", ".")
	f("a..b", ".b")
	f("münchen.example", "münchen.example")
	f("\xff.\xfe", "\xff.\xfe")
}

func TestAddresses(t *testing.T) {
	f := func(s string, want string) {
		t.Helper()
		a, ok := parseAddr(s)
		if got := map[bool]string{true: a.String()}[ok]; got != want {
			t.Errorf("%q is the address %q, want %q", s, got, want)
		}
	}
	f("192.0.2.7", "192.0.2.7")
	f("2001:db8::1", "2001:db8::1")
	f("2001:DB8::A", "2001:db8::a")
	f("::ffff:192.0.2.7", "192.0.2.7")
	f("::", "::")
	f("abcdef.example.com", "")
	f("face.bed", "")
	f("deadbeef.cafe", "")
	f("1.2.3.4.5", "")
	f("fe80::1%eth0", "")
	f("", "")
	for _, s := range []string{"www.example.com", "dead.beef", "abcdefabcdef", "a.de", "cafe.fade.ad"} {
		if n := testing.AllocsPerRun(10, func() { parseAddr(s) }); n != 0 {
			t.Errorf("telling %q from an address allocates %v times", s, n)
		}
	}
}

func TestHostName(t *testing.T) {
	f := func(s, want string) {
		t.Helper()
		if got := hostName(s); got != want {
			t.Errorf("the name in Host %q is %q, want %q", s, got, want)
		}
	}
	f("example.com", "example.com")
	f("example.com:8080", "example.com")
	f("example.com.:80", "example.com")
	f("[2001:db8::1]:80", "")
	f("2001:db8::1", "")
	f(":80", "")
	f("", "")
	f(strings.Repeat("a.", 200)+"example.com", (strings.Repeat("a.", 200) + "example.com")[158:])
}
