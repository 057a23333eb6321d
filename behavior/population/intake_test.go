package population_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tidewatch/behavior/population"
	"tidewatch/behavior/state"
	"tidewatch/event"
)

// sends is a day's upload of so many bytes as Zeek writes it.
func sends(t testing.TB, day int, host, to string, bytes int) *event.Event {
	t.Helper()
	return lines(t, fmt.Sprintf(`{"_path":"conn","ts":%d.5,"uid":"C%d%s%d","id.orig_h":"%s","id.orig_p":50000,"id.resp_h":"%s","id.resp_p":443,"proto":"tcp","duration":20.0,"orig_bytes":%d,"resp_bytes":2000,"conn_state":"SF","orig_pkts":%d,"orig_ip_bytes":%d,"resp_pkts":9,"resp_ip_bytes":3000}`,
		1795168800+day*86400, day, host, bytes, host, to, bytes, 1+bytes/1400, bytes+40*(1+bytes/1400)))[0]
}

// TestOthersSent: what other hosts have sent to a destination is known of the days before,
// over a restart and from another sensor, and is forgotten with the host that sent it.
func TestOthersSent(t *testing.T) {
	const mb, to = 1_000_000, "198.51.100.9"
	p := population.New(population.DefaultConfig())
	f := func(what string, p *population.Population, day int, host, to string, want uint64) {
		t.Helper()
		ev := sends(t, day, host, to, 5000)
		prepare(p, ev)
		if got := ev.Far().OthersSent; got != want {
			t.Errorf("%s: others sent %d, want %d", what, got, want)
		}
	}
	for _, n := range []int{3 * mb, 4 * mb} { // on one day
		prepare(p, sends(t, 0, "10.0.0.5", to, n))
	}
	prepare(p, sends(t, 0, "10.0.0.6", to, 2*mb))
	f("the same day", p, 0, "10.0.0.7", to, 0)
	f("the next day, two others", p, 1, "10.0.0.7", to, 2*mb)
	f("the next day, one other", p, 1, "10.0.0.5", to, 0)
	prepare(p, sends(t, 1, "10.0.0.5", to, 9*mb)) // the same host on another day
	prepare(p, sends(t, 1, "10.0.0.9", to, 6*mb))
	f("two days later", p, 2, "10.0.0.7", to, 6*mb)
	f("two days later, who sent most", p, 2, "10.0.0.5", to, 2*mb)
	f("another place", p, 1, "10.0.0.7", "198.51.100.10", 0)
	f("a month later", p, 32, "10.0.0.7", to, 0)
	prepare(p, sends(t, 2, "10.0.0.8", to, 60_000)) // too little to count
	f("what is too little", p, 3, "10.0.0.7", to, 6*mb)

	stored := map[string][]byte{}
	keep(stored, p.Cut())
	again, told := population.New(population.DefaultConfig()), population.New(population.DefaultConfig())
	for k, v := range stored {
		if err := again.Restore(state.Record{Key: []byte(k), Value: v}); err != nil {
			t.Fatal(err)
		}
		for range 2 { // it may be told again and again
			if err := told.Share(state.Record{Key: []byte(k), Value: v}); err != nil {
				t.Fatal(err)
			}
		}
	}
	f("after a restart", again, 2, "10.0.0.7", to, 6*mb)
	f("from another sensor", told, 2, "10.0.0.7", to, 6*mb)

	if e, err := state.ParseEntity("10.0.0.5"); err != nil || p.Forget(e) == 0 {
		t.Fatalf("nothing to forget: %v", err)
	}
	f("the host is forgotten", p, 2, "10.0.0.7", to, 2*mb)
	if e, err := state.ParseEntity(to); err != nil || p.Forget(e) == 0 {
		t.Fatalf("nothing to forget: %v", err)
	}
	f("the place is forgotten", p, 2, "10.0.0.7", to, 0)
}

// What two sensors know of what was sent merges in any order, and again and again.
func TestMergeIntakes(t *testing.T) {
	var evs []*event.Event
	for i := range 40 {
		evs = append(evs, sends(t, i%9, fmt.Sprintf("10.0.0.%d", 1+i%7), fmt.Sprintf("198.51.100.%d", 1+i%3), 100_000*(1+i*i%31)))
	}
	a := recordsOf(evs, func(i int) bool { return i%2 == 0 })
	b := recordsOf(evs, func(i int) bool { return i%3 > 0 })
	ab := merged(t, a, b)
	if d := cmp.Diff(ab, merged(t, b, a)); d != "" {
		t.Errorf("the order matters:\n%.2000s", d)
	}
	if d := cmp.Diff(ab, merged(t, merged(t, ab, a), b)); d != "" {
		t.Errorf("merged once more it says something else:\n%.2000s", d)
	}
}
