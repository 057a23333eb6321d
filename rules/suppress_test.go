package rules

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tidewatch/behavior"
	"tidewatch/behavior/state"
	"tidewatch/event"
)

const suppressing = `
[rule.a]
name = "a"
severity = "low"
detector = "scan"
when = 'true'
suppress = { by = ["source.ip", "scan.kind"], for = "1h" }
[rule.whole]
name = "whole"
severity = "low"
detector = "scan"
when = 'true'
suppress = { by = [], for = "1d" }
[rule.never]
name = "never"
severity = "low"
detector = "scan"
when = 'true'
`

// report is one finding: by which rule, of which source and episode, when.
type report struct {
	rule, source, episode string
	at                    time.Duration
	revision              int
	open                  bool
}

func (r report) finding() *event.Finding {
	f := &event.Finding{Rule: &event.RuleInfo{ID: r.rule}}
	f.Detector, f.Episode, f.Revision, f.Open, f.Time = "scan", r.episode, r.revision, r.open, 1e18+int64(r.at)
	f.Source.Addr = netip.MustParseAddr(r.source)
	return f
}

func loadSet(t testing.TB, text string) *Set {
	t.Helper()
	set, err := Load(files("a.toml", text))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestSuppression(t *testing.T) {
	s := NewSuppression(loadSet(t, suppressing))
	f := func(r report, want bool) {
		t.Helper()
		if got := s.Admit(r.finding()); got != want {
			t.Errorf("%+v: %v", r, got)
		}
	}
	const a, b = "10.0.0.1", "10.0.0.2"
	f(report{rule: "a", source: a, episode: "1", at: 0, open: true}, true)
	f(report{rule: "a", source: a, episode: "2", at: 10 * time.Minute, open: true}, false)
	f(report{rule: "a", source: b, episode: "3", at: 11 * time.Minute}, true)
	f(report{rule: "never", source: a, episode: "2", at: 12 * time.Minute}, true)
	f(report{rule: "never", source: a, episode: "2", at: 12 * time.Minute}, true)
	f(report{rule: "unknown", source: a, episode: "2", at: 12 * time.Minute}, true)
	f(report{rule: "whole", source: a, episode: "1", at: 13 * time.Minute}, true)
	f(report{rule: "whole", source: b, episode: "9", at: 14 * time.Minute}, false)
	f(report{rule: "a", source: a, episode: "1", at: 20 * time.Minute, revision: 1, open: true}, true)
	f(report{rule: "a", source: a, episode: "4", at: 59 * time.Minute}, false)
	f(report{rule: "a", source: a, episode: "5", at: 60 * time.Minute, open: true}, true)
	// The first one goes on in the window of another; the one that was held back
	// grows on, and is said in the next window.
	f(report{rule: "a", source: a, episode: "1", at: 70 * time.Minute, revision: 2}, true)
	f(report{rule: "a", source: a, episode: "2", at: 3 * time.Hour, revision: 1, open: true}, true)
	f(report{rule: "a", source: a, episode: "2", at: 210 * time.Minute, revision: 2}, true)
	f(report{rule: "a", source: a, episode: "6", at: 215 * time.Minute}, false)
	f(report{rule: "a", source: a, episode: "7", at: 5 * time.Hour}, true)
	f(report{rule: "whole", source: b, episode: "10", at: 24*time.Hour + 13*time.Minute}, true)
}

// What is held back is counted, over restarts, and said once.
func TestSuppressionCounts(t *testing.T) {
	set, store := loadSet(t, suppressing), map[string]behavior.Record{}
	s := NewSuppression(set)
	f := func(r report, want uint32) {
		t.Helper()
		found := r.finding()
		s.Admit(found)
		if found.Suppressed != want {
			t.Errorf("%+v: %d held back, want %d", r, found.Suppressed, want)
		}
		for _, rec := range s.Cut() {
			store[string(rec.Key)] = rec
		}
		s = NewSuppression(set)
		for _, rec := range store {
			if err := s.Restore(rec); err != nil {
				t.Fatal(err)
			}
		}
	}
	const host = "10.0.0.1"
	f(report{rule: "a", source: host, episode: "1", open: true}, 0)
	f(report{rule: "a", source: host, episode: "2", at: 10 * time.Minute}, 0)
	f(report{rule: "a", source: host, episode: "3", at: 20 * time.Minute}, 0)
	f(report{rule: "a", source: "10.0.0.2", episode: "4", at: 21 * time.Minute}, 0)
	f(report{rule: "a", source: host, episode: "5", at: time.Hour}, 2)
	f(report{rule: "a", source: host, episode: "6", at: 3 * time.Hour}, 0)
	f(report{rule: "a", source: host, episode: "7", at: 3*time.Hour + time.Minute}, 0)
	f(report{rule: "a", source: host, episode: "8", at: 5 * time.Hour}, 1)
}

// A store of the version before knows no counts.
func TestRestoreOlder(t *testing.T) {
	s := NewSuppression(loadSet(t, suppressing))
	w, e := keyOf(windowMemory, "x"), keyOf(fateMemory, "x")
	m := memory{until: 9, about: about{1, 3, 5}, held: 7, said: true}
	old := append([]byte{2}, m.append(windowMemory)[1:21]...)
	if err := s.Restore(behavior.Record{Key: w[:], Value: old}); err != nil || s.said[w] != (window{until: 9, about: about{1, 3, 5}}) {
		t.Error(s.said, err)
	}
	if err := s.Restore(behavior.Record{Key: e[:], Value: append([]byte{2}, m.append(fateMemory)[1:]...)}); err != nil || !s.fates[e].said {
		t.Error(s.fates, err)
	}
}

// stream makes many findings of a few sources, roughly in the order of time.
func stream(seed uint64, n int) []report {
	r := rand.New(rand.NewPCG(seed, 1))
	var all []report
	var open []report
	for i := range n {
		at := time.Duration(i)*time.Minute + time.Duration(r.IntN(300))*time.Second
		if len(open) > 0 && r.IntN(2) == 0 {
			k := r.IntN(len(open))
			next := open[k]
			next.at, next.revision, next.open = at, next.revision+1, r.IntN(3) > 0
			all = append(all, next)
			if open[k] = next; !next.open {
				open = append(open[:k], open[k+1:]...)
			}
			continue
		}
		next := report{rule: []string{"a", "whole", "never"}[r.IntN(3)], source: fmt.Sprintf("10.0.0.%d", r.IntN(12)), episode: fmt.Sprint("e", i), at: at, open: r.IntN(2) == 0}
		all = append(all, next)
		if next.open {
			open = append(open, next)
		}
	}
	return all
}

// TestSuppressionSurvivesRestarts cuts and restores at random points: what is said
// is the same, also while memory is short.
func TestSuppressionSurvivesRestarts(t *testing.T) {
	set := loadSet(t, suppressing)
	for seed := range uint64(20) {
		size := []int{suppressionSize, 16}[seed%2]
		r := rand.New(rand.NewPCG(seed, 2))
		straight := NewSuppression(set)
		straight.size = size
		restarted := NewSuppression(set)
		restarted.size = size
		store := map[string][]byte{}
		var want, got []bool
		for _, rep := range stream(seed, 2000) {
			want = append(want, straight.Admit(rep.finding()))
			got = append(got, restarted.Admit(rep.finding()))
			if len(straight.said) > size || len(straight.fates) > size {
				t.Fatalf("%d windows and %d episodes with room for %d", len(straight.said), len(straight.fates), size)
			}
			if r.IntN(50) > 0 {
				continue
			}
			for _, rec := range restarted.Cut() {
				if store[string(rec.Key)] = rec.Value; len(rec.Value) == 0 {
					delete(store, string(rec.Key))
				}
			}
			restarted = NewSuppression(set)
			restarted.size = size
			for k, v := range store {
				if err := restarted.Restore(behavior.Record{Key: []byte(k), Value: v}); err != nil {
					t.Fatal(err)
				}
			}
			if len(restarted.Cut()) > 0 {
				t.Fatal("what was restored counts as changed")
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("seed %d (-straight +restarted):\n%s", seed, d)
		}
	}
}

func TestCutIsOrderedAndOwned(t *testing.T) {
	set := loadSet(t, suppressing)
	cut := func() []behavior.Record {
		s := NewSuppression(set)
		for _, r := range stream(7, 300) {
			s.Admit(r.finding())
		}
		return s.Cut()
	}
	one, two := cut(), cut()
	if d := cmp.Diff(one, two); d != "" || len(one) == 0 {
		t.Errorf("%d records, which differ:\n%s", len(one), d)
	}
}

func TestRestoreRefuses(t *testing.T) {
	s := NewSuppression(loadSet(t, suppressing))
	window, episode := keyOf(windowMemory, "x"), keyOf(fateMemory, "x")
	f := func(key, value []byte, ok bool) {
		t.Helper()
		if err := s.Restore(behavior.Record{Key: key, Value: value}); (err == nil) != ok {
			t.Errorf("%x = %x: %v", key, value, err)
		}
	}
	f(nil, nil, false)
	f([]byte("xxxxxxxxxxxxxxxxx"), nil, false)
	said := memory{until: 9, about: about{1, 3, 5}}
	f(window[:], said.append(windowMemory), true)
	f(window[:], append([]byte{1}, said.append(windowMemory)[1:]...), false)
	f(window[:], []byte{2}, false)
	f(episode[:], said.append(windowMemory), false)
	f(episode[:], said.append(fateMemory), true)
	if len(s.said) != 1 || len(s.fates) != 1 {
		t.Error(s.said, s.fates)
	}
	f(window[:], nil, true)
	f(episode[:], nil, true)
	if len(s.said) != 0 || len(s.fates) != 0 {
		t.Error(s.said, s.fates)
	}
}

// What one of two sensors has said, the other does not say again, and shares the fate of
// an episode. Records merge in any order and again and again.
func TestSuppressionOfTwoSensors(t *testing.T) {
	set := loadSet(t, suppressing)
	a, b := NewSuppression(set), NewSuppression(set)
	share := func(from, to *Suppression) {
		t.Helper()
		for _, r := range from.Cut() {
			if err := to.Share(r); err != nil {
				t.Fatal(err)
			}
			m, err := MergeSuppression(r, r)
			if err != nil || len(r.Value) > 0 && string(m.Value) != string(r.Value) {
				t.Errorf("merged with itself: %x, %v", m.Value, err)
			}
		}
	}
	f := func(s *Suppression, r report, want bool) {
		t.Helper()
		if got := s.Admit(r.finding()); got != want {
			t.Errorf("%+v: %v", r, got)
		}
	}
	const host, other = "10.0.0.1", "10.0.0.2"
	f(a, report{rule: "a", source: host, episode: "1", open: true}, true)
	share(a, b)
	f(b, report{rule: "a", source: host, episode: "1", at: time.Minute, open: true}, true) // under the same ID
	f(b, report{rule: "a", source: host, episode: "2", at: 2 * time.Minute}, false)
	f(b, report{rule: "a", source: other, episode: "3", at: 3 * time.Minute, open: true}, true)
	share(b, a)
	share(b, a)
	f(a, report{rule: "a", source: other, episode: "4", at: 4 * time.Minute}, false)
	one, two := NewSuppression(set), NewSuppression(set)
	one.Admit(report{rule: "a", source: host, episode: "5", open: true}.finding())
	two.Admit(report{rule: "a", source: host, episode: "5", at: time.Hour, open: true}.finding())
	x, y := one.Cut(), two.Cut()
	for i := range x {
		xy, err := MergeSuppression(x[i], y[i])
		yx, err2 := MergeSuppression(y[i], x[i])
		if err != nil || err2 != nil || string(xy.Value) != string(yx.Value) || string(xy.Value) != string(y[i].Value) {
			t.Errorf("%x and %x: %x and %x, %v, %v", x[i], y[i], xy.Value, yx.Value, err, err2)
		}
	}
	if _, err := MergeSuppression(x[0], x[1]); err == nil {
		t.Error("records with different keys merge")
	}
}

// What was said of an entity can be forgotten, as its source and as its destination.
func TestSuppressionForgets(t *testing.T) {
	s := NewSuppression(loadSet(t, suppressing))
	s.Admit(report{rule: "a", source: "10.0.0.1", episode: "1", open: true}.finding())
	f := report{rule: "a", source: "10.0.0.2", episode: "2", open: true}.finding()
	f.Destination.Addr, f.Destination.Domain = netip.MustParseAddr("198.51.100.7"), "files.example"
	s.Admit(f)
	s.Cut()
	if n := s.Forget(state.Entity{Host: netip.MustParseAddr("10.0.0.9")}); n != 0 {
		t.Errorf("%d memories of a stranger", n)
	}
	if n := s.Forget(state.Entity{Host: netip.MustParseAddr("10.0.0.1")}); n != 2 {
		t.Errorf("%d memories of the source are forgotten, want 2", n)
	}
	if n := s.Forget(state.Entity{Name: "files.example"}); n != 2 || len(s.said)+len(s.fates) != 0 {
		t.Errorf("%d memories of the name are forgotten, want 2", n)
	}
	if n := len(s.Cut()); n != 4 {
		t.Errorf("%d records are removed, want 4", n)
	}
}
