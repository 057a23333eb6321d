package state

import (
	"fmt"
	"net/netip"
	"testing"

	"tidewatch/event"
)

func TestParseEntity(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		e, err := ParseEntity(text)
		got := e.String()
		if err != nil {
			got = "no entity"
		}
		if got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
		if again, err := ParseEntity(got); err == nil && again != e {
			t.Errorf("%q is not read back: %+v, want %+v", got, again, e)
		}
	}
	f("10.0.0.5", "10.0.0.5")
	f("::ffff:10.0.0.5", "10.0.0.5")
	f("2001:DB8::1", "2001:db8::1")
	f("Files.Example.", "files.example")
	f("10.0.0.5->203.0.113.7:443/tcp", "10.0.0.5->203.0.113.7:443/tcp")
	f("10.0.0.5 > 203.0.113.7:443/TCP", "10.0.0.5->203.0.113.7:443/tcp")
	f("10.0.0.5->203.0.113.7", "10.0.0.5->203.0.113.7")
	f("fd00::5->[fd00::7]:53/udp", "fd00::5->[fd00::7]:53/udp")
	f("10.0.0.5>evil.example", "10.0.0.5>evil.example")
	f("10.0.0.5 > evil.example", "10.0.0.5>evil.example")
	for _, none := range []string{"", ">", "10.0.0", "10.0.0.256", "localhost", "a b.example", "x.example>y.example", "10.0.0.5>", "10.0.0.5->1.2.3.4:99999", "10.0.0.5->1.2.3.4:80/quick", "a/b.example"} {
		f(none, "no entity")
	}
}

func TestEntityReaches(t *testing.T) {
	f := func(text string, want bool) {
		t.Helper()
		e, err := ParseEntity(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := e.Reaches(netip.MustParseAddr("203.0.113.7"), 443, event.ProtoTCP, "www.site.example", "site.example"); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
	f("10.0.0.5", true)
	f("10.0.0.5->203.0.113.7", true)
	f("10.0.0.5->203.0.113.7:443/tcp", true)
	f("10.0.0.5->203.0.113.7:443/udp", false)
	f("10.0.0.5->203.0.113.7:80", false)
	f("10.0.0.5->203.0.113.8", false)
	f("10.0.0.5>site.example", true)
	f("10.0.0.5>www.site.example", true)
	f("10.0.0.5>other.example", false)
	f("10.0.0.5>ite.example", false)
}

// An episode has one name whichever part of it was seen, and another one each time.
func TestEpisodeID(t *testing.T) {
	const start = 1795132800e9
	seen := map[string]string{}
	f := func(what string, kind byte, entity uint64, start int64, n uint32) {
		t.Helper()
		id := EpisodeID(kind, entity, start, n)
		if other := seen[id]; other != "" {
			t.Errorf("%s has the name of %s", what, other)
		}
		seen[id] = what
	}
	f("one", 's', 1, start, 0)
	f("another kind", 't', 1, start, 0)
	f("another entity", 's', 2, start, 0)
	f("the next one", 's', 1, start, 1)
	f("one on another day", 's', 1, start+24*3600e9, 0)
	same := 0
	for entity := range uint64(1000) {
		if EpisodeID('s', entity, start, 0) == EpisodeID('s', entity, start+60e9, 0) {
			same++
		}
	}
	if same < 995 {
		t.Errorf("%d of 1000 episodes have one name though a sensor saw them begin a minute later", same)
	}
}

func TestMergeSamples(t *testing.T) {
	var a, b []event.Sample
	for i := range 8 {
		s := event.Sample{UID: fmt.Sprint("C", i), Time: int64(i)}
		if i%2 == 0 || i == 3 {
			a = append(a, s)
		}
		if i%2 == 1 {
			b = append(b, s)
		}
	}
	for _, all := range [][]event.Sample{MergeSamples(a, b, 6), MergeSamples(b, a, 6)} {
		if len(all) != 6 || all[0].UID != "C0" || all[5].UID != "C5" {
			t.Errorf("merged: %v", all)
		}
	}
}
