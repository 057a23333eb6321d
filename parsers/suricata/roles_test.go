package suricata

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tidewatch/event"
)

// The flow record says who the client was. These are the messages of the same flow
// that disagree; the parser sees one record at a time and cannot know better.
func TestRolesAgreeWithFlows(t *testing.T) {
	type ends struct {
		addr netip.Addr
		port uint16
	}
	text := readLog(t, "suricata/eve-7.0.10.json.gz")
	flows := map[string]ends{}
	count(t, text, func(ev *event.Event) {
		if _, ok := flows[ev.UID]; ev.Kind == event.KindConn && !ok {
			flows[string([]byte(ev.UID))] = ends{ev.Orig.Addr, ev.Orig.Port}
		}
	})
	got, right := map[string]int{}, 0
	count(t, text, func(ev *event.Event) {
		f, ok := flows[ev.UID]
		switch {
		case !ok || ev.Kind == event.KindConn:
		case f == ends{ev.Orig.Addr, ev.Orig.Port}:
			right++
		default:
			got[ev.Kind.String()]++
		}
	})
	want := map[string]int{
		"anomaly": 42, // packets between high ports
		"file":    31, // POST: the record does not say whether it is the request's file
		"dhcp":    19, // the reply made the flow; the client is the originator all the same
		"ike":     4,  // port 500 on both ends, no role
		"nfs":     1,
	}
	if diff := cmp.Diff(want, got); diff != "" || right != 13576 {
		t.Errorf("%d agree; want -, got +:\n%s", right, diff)
	}
}
