package pipeline

import (
	"bytes"
	"maps"
	"net/netip"
	"testing"

	"tidewatch/behavior/state"
	"tidewatch/event"
)

const second = int64(1e9)

func conn(sensor event.Sensor, start int64, orig, resp string) *event.Event {
	a, b := netip.MustParseAddrPort(orig), netip.MustParseAddrPort(resp)
	e := &event.Event{
		Kind: event.KindConn, Sensor: sensor, Proto: event.ProtoTCP, Time: start,
		Orig: event.Host{Addr: a.Addr(), Port: a.Port()}, Resp: event.Host{Addr: b.Addr(), Port: b.Port()},
	}
	e.ConnHash = event.HashConn(e)
	return e
}

func TestJoin(t *testing.T) {
	const client, server = "10.0.0.1:40000", "192.0.2.1:443"
	var j Joiner
	f := func(want bool, e *event.Event) {
		t.Helper()
		j.Join([]*event.Event{e})
		if got := e.Flags&event.FlagJoined != 0; got != want {
			t.Errorf("joined is %v, want %v", got, want)
		}
	}
	zeek, suricata := event.SensorZeek, event.SensorSuricata
	f(false, conn(zeek, 100*second, client, server))
	f(true, conn(suricata, 101*second, client, server))  // the other sensor's word on it
	f(false, conn(suricata, 101*second, client, server)) // each record joins one other
	f(true, conn(zeek, 102*second, client, server))
	f(false, conn(zeek, 200*second, client, server))
	f(false, conn(suricata, 260*second, client, server)) // the port was used again
	f(true, conn(suricata, 200*second, server, client))  // picked up midstream: roles differ
	f(false, conn(suricata, 200*second, client, "192.0.2.2:443"))

	snapshot := conn(suricata, 300*second, client, server)
	snapshot.Flags = event.FlagSnapshot
	f(false, snapshot)
	f(false, conn(zeek, 300*second, client, server)) // a snapshot is not a connection
}

// A Joiner restored from its records answers as if it had never stopped.
func TestJoinerRestore(t *testing.T) {
	var j, k Joiner
	j.Track()
	const client, server = "10.0.0.1:40000", "192.0.2.1:443"
	j.Join([]*event.Event{conn(event.SensorZeek, 100*second, client, server), conn(event.SensorZeek, 150*second, client, server)})
	var m Memory
	if err := m.Commit(t.Context(), &state.Checkpoint{Changed: [state.NumSections][]state.Record{state.Joined: j.Cut()}}); err != nil {
		t.Fatal(err)
	}
	j.Join([]*event.Event{conn(event.SensorSuricata, 150*second, client, server)})
	if err := m.Commit(t.Context(), &state.Checkpoint{Changed: [state.NumSections][]state.Record{state.Joined: j.Cut()}}); err != nil {
		t.Fatal(err)
	}
	for _, r := range m.Records(state.Joined) {
		if err := k.Restore(r); err != nil {
			t.Fatal(err)
		}
	}
	first, second := conn(event.SensorSuricata, 100*second, client, server), conn(event.SensorSuricata, 150*second, client, server)
	k.Join([]*event.Event{first, second})
	if first.Flags == 0 || second.Flags != 0 {
		t.Errorf("after the restart the open connection is joined: %v, the joined one again: %v", first.Flags != 0, second.Flags != 0)
	}
}

// However many connections there are, a Joiner keeps a bounded number.
func TestJoinerIsBounded(t *testing.T) {
	var j Joiner
	e := conn(event.SensorZeek, 0, "10.0.0.1:40000", "192.0.2.1:443")
	for i := range 3 * joinSize {
		e.ConnHash = uint64(i)
		j.Join([]*event.Event{e})
	}
	if n := len(j.ring); n > joinSize {
		t.Errorf("%d connections are kept of one sensor, want at most %d", n, joinSize)
	}
	for i := range 3 * joinSize { // from here on there are two
		e.ConnHash = uint64(i)
		e.Sensor = event.Sensor(1 + i%2)
		j.Join([]*event.Event{e})
	}
	if n := len(j.now) + len(j.old); n > 2*joinSize {
		t.Errorf("%d connections are kept, want at most %d", n, 2*joinSize)
	}
}

// What a Joiner forgets is removed from the store.
func TestJoinerForgetsInStore(t *testing.T) {
	var j Joiner
	j.Track()
	var m Memory
	e := conn(event.SensorZeek, 0, "10.0.0.1:40000", "192.0.2.1:443")
	for i := range 5 * joinSize {
		e.ConnHash = uint64(i)
		j.Join([]*event.Event{e})
		if i%(joinSize/3) == 0 {
			if err := m.Commit(t.Context(), &state.Checkpoint{Changed: [state.NumSections][]state.Record{state.Joined: j.Cut()}}); err != nil {
				t.Fatal(err)
			}
			if n := len(m.Sections[state.Joined]); n > 2*joinSize {
				t.Fatalf("%d connections are stored, want at most %d", n, 2*joinSize)
			}
		}
	}
}

// A Joiner that was restored forgets what one forgets that never stopped, and when.
func TestJoinerRestoresGenerations(t *testing.T) {
	clean, j := new(Joiner), new(Joiner)
	clean.Track()
	j.Track()
	var want, m Memory
	commit := func(m *Memory, j *Joiner) {
		t.Helper()
		if err := m.Commit(t.Context(), &state.Checkpoint{Changed: [state.NumSections][]state.Record{state.Joined: j.Cut()}}); err != nil {
			t.Fatal(err)
		}
	}
	f := func(i int, j *Joiner) {
		e := conn(event.SensorZeek, int64(i), "10.0.0.1:40000", "192.0.2.1:443")
		if e.ConnHash = uint64(i % 400_000); i%7 == 0 {
			e.Sensor, e.ConnHash = event.SensorSuricata, uint64(max(i-joinSize-i%40_000, 0)%400_000)
		}
		j.Join([]*event.Event{e})
	}
	for i := range 4 * joinSize {
		f(i, clean)
		f(i, j)
		if i%40_000 != 0 {
			continue
		}
		commit(&m, j)
		j = new(Joiner)
		j.Track()
		for _, r := range m.Records(state.Joined) {
			if err := j.Restore(r); err != nil {
				t.Fatal(err)
			}
		}
	}
	commit(&m, j)
	commit(&want, clean)
	if !maps.EqualFunc(want.Sections[state.Joined], m.Sections[state.Joined], bytes.Equal) {
		t.Errorf("%d connections are kept, want %d, or not the same", len(m.Sections[state.Joined]), len(want.Sections[state.Joined]))
	}
	if clean.Joined() == 0 || len(want.Sections[state.Joined]) < joinSize {
		t.Error("nothing was joined, or little is kept: the test tests nothing")
	}
}
