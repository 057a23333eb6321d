package scan

import (
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tidewatch/event"
	"tidewatch/internal/eval"
	"tidewatch/internal/scenario"
	"tidewatch/internal/synth"
)

// Each scan of a made day is found before its source has failed at more than ten
// first contacts, or within 30 seconds, and nobody else is blamed. Distributed scans
// are what they are from their thirtieth source on.
func TestMadeDays(t *testing.T) {
	for i, form := range []string{synth.FormatZeek, synth.FormatZeekJSON, synth.FormatEVE} {
		t.Run(form, func(t *testing.T) {
			dir := t.TempDir()
			n := synth.New(synth.Options{Seed: uint64(i + 1), Hosts: 30, Activity: 0.5, Attacks: "scan"})
			if err := n.Write(dir, []string{form}, []string{"conn"}); err != nil {
				t.Fatal(err)
			}
			day := watch{t: t, detector: New(DefaultConfig(), 1), truth: n.Truth(), attempts: map[attempt]bool{}}
			for range day.truth.Instances {
				day.failed, day.found = append(day.failed, 0), append(day.found, false)
			}
			logs, err := filepath.Glob(filepath.Join(dir, "*[^l]")) // the truth ends in .toml
			if err != nil || len(logs) != 1 {
				t.Fatalf("logs %v, %v", logs, err)
			}
			for _, ev := range scenario.Load(t, logs[0]) {
				day.observe(ev)
			}
			for i, in := range day.truth.Instances {
				if !day.found[i] {
					t.Errorf("%s is not found", in.ID)
				}
			}
		})
	}
}

// watch compares what a detector says with the truth, at once.
type watch struct {
	t        *testing.T
	detector *Detector
	truth    eval.Truth
	attempts map[attempt]bool // that failed
	failed   []int            // first contacts of each instance
	found    []bool
	clock    int64
	n        int
}

type attempt struct {
	orig, resp netip.Addr
	port       uint16
	proto      event.Proto
}

func (w *watch) observe(ev *event.Event) {
	if w.n++; w.n%512 == 0 {
		w.detector.Advance(w.clock, nil)
	}
	w.clock = max(w.clock, ev.Written)
	w.count(ev)
	for _, o := range w.detector.Observe(ev, true, true, nil) {
		if o.Open {
			w.judge(&o)
		}
	}
}

// count adds a record to the failed first contacts of its instance.
func (w *watch) count(ev *event.Event) {
	a := attempt{ev.Orig.Addr, ev.Resp.Addr, ev.Resp.Port, ev.Proto}
	if !ev.Counts() || ev.Outcome != event.OutcomeSilent && ev.Outcome != event.OutcomeRejected || w.attempts[a] {
		return
	}
	w.attempts[a] = true
	for i := range w.truth.Instances {
		in := &w.truth.Instances[i]
		if ev.Time >= in.Start.UnixNano() && among(in.Sources, a.orig) && among(in.Destinations, a.resp) && (len(in.Ports) == 0 || slices.Contains(in.Ports, a.port)) {
			w.failed[i]++
		}
	}
}

// judge takes the first report of a scan.
func (w *watch) judge(o *event.Observation) {
	explained := among(w.truth.Background, o.Source.Addr)
	for i := range w.truth.Instances {
		in := &w.truth.Instances[i]
		limit := 10
		switch {
		case o.Source.Addr.IsValid() && among(in.Sources, o.Source.Addr):
		case !o.Source.Addr.IsValid() && among(in.Destinations, o.Destination.Addr):
			limit = DefaultConfig().MinSources
		default:
			continue
		}
		explained = true
		took := time.Duration(o.Time - in.Start.UnixNano())
		if !w.found[i] && w.failed[i] > limit && took > 30*time.Second {
			w.t.Errorf("%s is found after %d failed first contacts and %v: %s", in.ID, w.failed[i], took, o.Reason)
		}
		w.found[i] = true
	}
	if !explained {
		w.t.Errorf("false: %s", o.Reason)
	}
}

// among reports whether an address is one of the texts, or in one that is a network.
func among(texts []string, a netip.Addr) bool {
	return slices.ContainsFunc(texts, func(s string) bool {
		if !strings.Contains(s, "/") {
			return s == a.String()
		}
		return netip.MustParsePrefix(s).Contains(a)
	})
}
