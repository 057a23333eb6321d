package population_test

import (
	"net/netip"
	"path/filepath"
	"testing"

	"tidewatch/event"
	"tidewatch/internal/scenario"
	"tidewatch/internal/shareddata"
)

// written orders the records of logs as Zeek wrote them, as far as the logs tell: rows
// stand in the order of their writing, and none was written before what it or an earlier
// row of its log is about had happened.
func written(logs ...[]*event.Event) []*event.Event {
	for _, log := range logs {
		latest := int64(0)
		for _, ev := range log {
			latest = max(latest, ev.Written)
			ev.Written = latest
		}
	}
	return scenario.Merge(logs...)
}

// name reports whether a server name is one, and not an address.
func name(s string) bool {
	_, err := netip.ParseAddr(s)
	return s != "" && err != nil
}

// A connection to outside is named by its row of ssl.log, if that comes before its own,
// or by DNS: f names the folder, how many connections have a server name, how many of
// them have it too late, and how many have no name then.
func TestServerNamesThatComeLate(t *testing.T) {
	f := func(dir string, named, late, nameless int, local ...string) {
		t.Helper()
		var logs [][]*event.Event
		for _, log := range []string{"*conn.log*", "*ssl.log*", "*dns.log*", "*http.log*"} {
			paths, err := filepath.Glob(filepath.Join(shareddata.Path(t, "labelled/"+dir), log))
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range paths {
				logs = append(logs, scenario.Load(t, path, local...))
			}
		}
		evs := written(logs...)
		scenario.Prepare(evs)
		conns, seen := map[string]*event.Event{}, map[string]bool{}
		for _, ev := range evs {
			if ev.Kind == event.KindConn {
				conns[ev.UID] = ev
			}
		}
		n, after, without := 0, 0, 0
		for _, ev := range evs {
			switch {
			case ev.Kind == event.KindConn:
				seen[ev.UID] = true
			case ev.Kind == event.KindTLS && name(ev.TLS.ServerName) && ev.Resp.Scope != event.ScopeLocal && conns[ev.UID] != nil:
				n++
				if seen[ev.UID] {
					after++
				}
				if k := conns[ev.UID].Known; k == nil || k.Name == "" {
					without++
					if !seen[ev.UID] {
						t.Errorf("%s: %s has no name, which came in time", dir, ev.UID)
					}
				}
			}
		}
		t.Logf("%s: of %d connections with a server name %d had it late, and %d have none", dir, n, after, without)
		if n != named || after != late || without != nameless {
			t.Errorf("%s: %d, %d late, %d nameless; want %d, %d, %d", dir, n, after, without, named, late, nameless)
		}
	}
	f("c2/numinon", 647, 0, 0)
	f("c2/normal", 82, 13, 0)
	f("benign-days/008", 541, 16, 6, "147.32.0.0/16")  // the hosts' own DNS is not in the logs
	f("benign-days/010", 825, 90, 47, "147.32.0.0/16") // nor here
	f("internet-server", 37, 0, 0, "64.225.56.201/32")
}
