package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"tidewatch/internal/servers"
)

// Of BenchmarkLatency: lines a second, for how long, and how often one is looked for.
const (
	latencyRate  = 5000
	latencyFor   = 20 * time.Second
	latencyTick  = 10 * time.Millisecond
	latencyProbe = 10 // ticks from one line that is looked for to the next
	latencyLook  = 50 * time.Millisecond
)

// BenchmarkLatency measures how long it takes from the writing of a line, of 5,000 a
// second, until a real server finds its record, all records being exported. The index is
// refreshed before each look: how often a server does that by itself is its own
// setting. What is printed is at most the time between two looks more than what it is.
func BenchmarkLatency(b *testing.B) {
	es := servers.BenchElasticsearch(b)
	if status, _, errs := tidewatch(b, "setup", "elasticsearch", "-a", es.URL, "--replicas", "0"); status != 0 {
		b.Fatalf("setup: %d %s", status, errs)
	}
	s := newSite(b)
	config, err := os.ReadFile(s.config)
	if err != nil {
		b.Fatal(err)
	}
	s.write(s.config, string(config)+fmt.Sprintf("[output.elasticsearch]\naddresses = [%q]\nrecords = [\"conn\"]\ndead_letter = %q\n", es.URL, s.findings+".dead"))
	p := s.start()
	probes := make(chan probe, 10_000)
	go s.flood(probes)
	took := seek(b, es, probes)
	if status := p.stop(syscall.SIGTERM); status != 0 {
		b.Fatalf("exit status %d\n%s", status, s.says())
	}
	slices.Sort(took)
	at := func(q float64) float64 { return took[int(q*float64(len(took)-1))].Seconds() }
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(at(0.5), "s-median")
	b.ReportMetric(at(0.99), "s-p99")
	b.ReportMetric(at(1), "s-longest")
	b.ReportMetric(float64(len(took)), "probes")
}

// probe is a line that is looked for.
type probe struct {
	uid     string
	written time.Time
}

// flood writes lines at latencyRate, and says which of them are looked for.
func (s *site) flood(probes chan<- probe) {
	defer close(probes)
	f, err := os.OpenFile(s.log, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		s.t.Error(err)
		return
	}
	defer f.Close()
	tick := time.NewTicker(latencyTick)
	defer tick.Stop()
	began := time.Now()
	for n, ticks := 0, 0; time.Since(began) < latencyFor; ticks++ {
		<-tick.C
		var lines strings.Builder
		for ; n < int(time.Since(began).Seconds()*latencyRate); n++ {
			fmt.Fprintf(&lines, "%.6f\tL%d\t10.0.%d.%d\t%d\t10.1.0.%d\t443\ttcp\tSF\n", float64(time.Now().UnixNano())/1e9, n, n%8, n%200+1, 1024+n%60000, n%50+1)
		}
		if _, err := f.WriteString(lines.String()); err != nil {
			s.t.Error(err)
			return
		}
		if ticks%latencyProbe == 0 && lines.Len() > 0 {
			probes <- probe{fmt.Sprintf("L%d", n-1), time.Now()}
		}
	}
}

// seek asks the server for the probes until it has found all of them, and returns how
// long each took.
func seek(b *testing.B, es *servers.Search, probes <-chan probe) (took []time.Duration) {
	open := map[string]time.Time{}
	for end := time.Now().Add(latencyFor + time.Minute); probes != nil || len(open) > 0; time.Sleep(latencyLook) {
		if time.Now().After(end) {
			b.Fatalf("%d of %d probes were not found", len(open), len(open)+len(took))
		}
		for more := true; more && probes != nil; {
			select {
			case p, ok := <-probes:
				if !ok {
					probes = nil
				} else {
					open[p.uid] = p.written
				}
			default:
				more = false
			}
		}
		for _, uid := range find(b, es, open) {
			took = append(took, time.Since(open[uid]))
			delete(open, uid)
		}
	}
	return took
}

// find returns which of the probes the server finds.
func find(b *testing.B, es *servers.Search, open map[string]time.Time) (uids []string) {
	if len(open) == 0 {
		return nil
	}
	var asked []string
	for uid := range open {
		asked = append(asked, uid)
	}
	query, err := json.Marshal(map[string]any{"size": 1000, "_source": []string{"tidewatch.uid"}, "query": map[string]any{"terms": map[string]any{"tidewatch.uid": asked}}})
	if err != nil {
		b.Fatal(err)
	}
	const stream = "/logs-tidewatch.conn-default"
	status, _, err := es.Do(b.Context(), "POST", stream+"/_refresh", "")
	if err == nil && status == 404 { // nothing has come yet
		return nil
	}
	status, answer, err := es.Do(b.Context(), "POST", stream+"/_search", string(query))
	if err != nil || status != 200 {
		b.Fatal(status, string(answer), err)
	}
	var found struct {
		Hits struct {
			Hits []struct {
				Source struct{ Tidewatch struct{ UID string } } `json:"_source"`
			}
		}
	}
	if err := json.Unmarshal(answer, &found); err != nil {
		b.Fatal(err)
	}
	for _, h := range found.Hits.Hits {
		uids = append(uids, h.Source.Tidewatch.UID)
	}
	return uids
}
