package eval

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"tidewatch/internal/synth/timing"
)

// The figures by hand.
func TestRanking(t *testing.T) {
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-12 {
			t.Errorf("%s is %v, want %v", what, got, want)
		}
	}
	pos, neg := []float64{0.2, 0.5, 0.5, 0.9}, []float64{0.1, 0.2, 0.3, 0.5}
	near("AUC", auc(pos, neg), (4+3.5+3+2)/16)
	near("recall without false ones", recallAt(pos, neg, 0), 0.25)
	near("recall at a quarter false", recallAt(pos, neg, 0.25), 0.75)
	near("share of 0.5 and more", atLeast(pos, 0.5), 0.75)
	f := func(want int, q float64, counts ...int) {
		t.Helper()
		if got := rank(counts, q); got != want {
			t.Errorf("quantile %v: %d, want %d", q, got, want)
		}
	}
	f(8, 0.5, 9, 8, 7)
	f(0, 0.9, 9, 8, 0, 7)
	var r reports
	for i, s := range []float64{0.6, 0.4, 0.5, 0.7, 0.9, 0.1} {
		r.look(s, uint32(10+i))
	}
	if r.twice != 13 || !r.ever {
		t.Errorf("%+v", r)
	}
}

// How timers are told from irregular processes, on a small population.
func TestTimingPopulation(t *testing.T) {
	pos, neg := timePopulation(timingSeed+50, timing.General, 1000, 3000)
	p, n := scores(pos, methods[1]), scores(neg, methods[1])
	f := func(what string, got, least, most float64) {
		t.Helper()
		if got < least || got > most {
			t.Errorf("%s is %.4f, want %.4f to %.4f", what, got, least, most)
		}
	}
	f("AUC", auc(p, n), 0.985, 1)
	f("recall at 1 % false", recallAt(p, n, 0.01), 0.92, 1)
	f("share of false ones at 0.5", atLeast(n, 0.5), 0, 0.002)
	twice := func(all []timed) (k float64) {
		for i := range all {
			k += float64(count(all[i].byScore.twice > 0)) / float64(len(all))
		}
		return k
	}
	f("share found by two looks", twice(pos), 0.82, 1)
	f("share of false ones by two looks", twice(neg), 0, 0.007)
}

func TestLatencies(t *testing.T) {
	most := map[string]int{"no jitter": 7, "+-20 %": 8, "50 % shorter": 20, "+-50 %": 25, "+-50 %, 20 % missed": 120, "+-80 %": 60, "100 % shorter": 70}
	for _, l := range Latencies() {
		if l.Median == 0 || l.Median > most[l.Name] {
			t.Errorf("%s: found after %d check-ins (0: never), want %d", l.Name, l.Median, most[l.Name])
		}
	}
}

func TestScenarios(t *testing.T) {
	hard := map[string]float64{"60 s +-20 %, first 15": 0.85, "300 s +-50 %, first 20": 0.4, "300 s +-50 %, 20 % missed, a day": 0.9}
	for _, s := range Scenarios() {
		least := 0.98
		if h, ok := hard[s.Name]; ok {
			least = h
		}
		switch {
		case s.Timer && s.Twice < least:
			t.Errorf("%s: found in %.2f of pairs, want %.2f", s.Name, s.Twice, least)
		case !s.Timer && (s.Found > 0.01 || s.Twice > 0.06):
			t.Errorf("%s: taken for a timer in %.2f of pairs at the end, in %.2f by two looks", s.Name, s.Found, s.Twice)
		}
	}
}

// The tables are there, and the same each time.
func TestWriteTables(t *testing.T) {
	print := func() string {
		pos, neg := timePopulation(1, timing.Fast, 40, 40)
		var b bytes.Buffer
		writePopulation(&b, pos, neg)
		writeBands(&b, pos)
		writeFalse(&b, neg)
		return b.String()
	}
	a := print()
	for _, want := range []string{"timing score", "RITA's formula", "jitter 60 to 90 %, shorter only", "15 to 29 check-ins", "shifted exponential"} {
		if !strings.Contains(a, want) {
			t.Errorf("no %q in\n%s", want, a)
		}
	}
	if b := print(); a != b {
		t.Error("the figures differ from run to run")
	}
}
