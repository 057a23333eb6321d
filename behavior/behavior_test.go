package behavior

import (
	"fmt"
	"strings"
	"testing"

	"tidewatch/event"
	"tidewatch/internal/scenario"
)

// questions are DNS queries of one host on a timer, each for a new name with so many
// bytes of data, as Zeek's JSON.
func questions(n, bytes, seconds int) string {
	var b strings.Builder
	for i := range n {
		at := 1767600000 + float64(i*seconds)
		name := ""
		for k := 0; len(name) < bytes; k++ {
			name += string("abcdefghijklmnopqrstuvwxyz234567"[(i*7+k*k*11+i*k*5)%32])
		}
		fmt.Fprintf(&b, `{"_path":"dns","_write_ts":%.1f,"ts":%.1f,"uid":"C%d","id.orig_h":"10.0.0.5","id.orig_p":%d,"id.resp_h":"10.0.0.1","id.resp_p":53,"proto":"udp","trans_id":%d,"query":"%s.c2.example","qtype":16,"qtype_name":"TXT","rcode":0,"answers":["TXT 12 %s"],"TTLs":[1.0]}`+"\n",
			at+0.1, at, i, 30000+i%30000, i%60000, name, strings.Repeat("q", 40))
	}
	return b.String()
}

// A tunnel whose questions come on a timer is told once, with the timer as evidence,
// whichever of the two was seen first, in any number of shards.
func TestTimedTunnelIsOneFinding(t *testing.T) {
	f := func(what string, evs []*event.Event, detectors string) {
		t.Helper()
		scenario.Prepare(evs)
		want := ""
		for _, n := range []int{1, 3} {
			var out []event.Observation
			cfg := DefaultConfig()
			for i := range n {
				s := NewShard(i, n, cfg)
				for _, ev := range evs {
					out = s.Observe(ev, s.Advance(ev.Written, out))
				}
				out = s.Finish(out)
			}
			last := map[string]event.Observation{} // by episode, as it is shown
			said := ""
			for _, o := range out {
				last[o.Episode] = o
				if !strings.HasSuffix(said, o.Detector+" ") {
					said += o.Detector + " "
				}
			}
			if said != detectors {
				t.Errorf("%s: told by %q, want %q", what, said, detectors)
			}
			if len(last) != 1 {
				t.Errorf("%s: %d episodes, want one", what, len(last))
			}
			for id, o := range last {
				if want == "" {
					want = id
				}
				if id != want {
					t.Errorf("%s: episode %s in %d shards, %s in one", what, id, n, want)
				}
				timed := false
				for _, e := range o.Evidence {
					timed = timed || e.Feature == "dns_tunnel.timer" && e.Observed > 0
				}
				if o.Detector == "dns_tunnel" && !timed {
					t.Errorf("%s: the timer is no evidence: %+v", what, o.Evidence)
				}
			}
		}
	}
	f("a tunnel at once", scenario.Parse(t, []byte(questions(400, 180, 10))), "dns_tunnel ")
	f("a timer first", scenario.Parse(t, []byte(questions(600, 60, 60))), "beacon dns_tunnel ")
	f("a timer only", scenario.Parse(t, []byte(questions(60, 3, 300))), "beacon ")
}
