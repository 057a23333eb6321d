package elastic

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"tidewatch/event"
	"tidewatch/internal/servers"
	"tidewatch/outputs"
)

// benchRecords are what the loads below are made of: 53,615 DNS records of one capture.
var benchRecords = []string{"zeek/wrccdc/dns.json.gz"}

// BenchmarkExport writes records to a real server, from their files on, and beside it
// sends the same documents with a plain loader: encoded beforehand, two requests at a
// time, without looking at the answers. The ratio of the two rates is what reading,
// encoding and care cost. The rounds alternate, so that a change of the machine's load
// meets both.
func BenchmarkExport(b *testing.B) {
	for name, start := range map[string]func(testing.TB) *servers.Search{Elasticsearch: servers.BenchElasticsearch, OpenSearch: servers.BenchOpenSearch} {
		b.Run(name, func(b *testing.B) {
			c := &cluster{start(b), b}
			c.setup(Options{Replicas: 0, Shards: 1})
			var ours, plain time.Duration
			n := 0
			for round := range 4 {
				ns := fmt.Sprint("r", round)
				bodies, docs := c.bodies("plain" + ns)
				if round%2 == 0 {
					plain += c.load(bodies)
					ours += c.export("ours" + ns)
				} else {
					ours += c.export("ours" + ns)
					plain += c.load(bodies)
				}
				if round == 1 { // the server is warm from here on
					ours, plain, n = 0, 0, 0
				}
				if round > 1 {
					n += docs
				}
			}
			if got := c.count("logs-tidewatch.*-oursr3", "*"); got != c.count("logs-tidewatch.*-plainr3", "*") {
				b.Errorf("%d documents", got)
			}
			b.ReportMetric(float64(n)/ours.Seconds(), "docs/s")
			b.ReportMetric(float64(n)/plain.Seconds(), "plain-docs/s")
			b.ReportMetric(plain.Seconds()/ours.Seconds(), "ratio")
		})
	}
}

// export writes the records with an Exporter, and returns how long that took.
func (c *cluster) export(namespace string) time.Duration {
	cfg := c.config()
	cfg.Records, cfg.Namespace = []string{"all"}, namespace
	o := newOutput(c.t, cfg, io.Discard)
	x := o.NewExporter()
	began := time.Now()
	sequences(c.t, func(s *event.Sequence) {
		if err := x.Export(c.t.Context(), s); err != nil {
			c.t.Fatal(err)
		}
	}, benchRecords...)
	if err := x.Settle(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
	if s := o.Stats(); s.DeadLetters > 0 {
		c.t.Fatalf("%+v", s)
	}
	return time.Since(began)
}

// bodies returns the same documents as the bodies of bulk requests.
func (c *cluster) bodies(namespace string) (bodies [][]byte, docs int) {
	var e outputs.Encoder
	l := &load{}
	most := Default().BatchDocuments
	flush := func() {
		bodies = append(bodies, bytes.Clone(l.lines))
		docs += len(l.docs)
		l.reset()
	}
	sequences(c.t, func(s *event.Sequence) {
		for _, ev := range s.Events {
			l.end(e.Record(l.begin(Stream(ev.Kind.String(), namespace), appendRecordID(nil, ev)), ev, 1))
			if len(l.docs) == most {
				flush()
			}
		}
	}, benchRecords...)
	flush()
	return bodies, docs
}

// load sends the bodies, two at a time.
func (c *cluster) load(bodies [][]byte) time.Duration {
	began := time.Now()
	next := make(chan []byte)
	var senders sync.WaitGroup
	for range 2 {
		senders.Go(func() {
			for body := range next {
				res, err := http.Post(c.URL+"/_bulk", "application/x-ndjson", bytes.NewReader(body))
				if err != nil || res.StatusCode != http.StatusOK {
					c.t.Error(err, res)
					continue
				}
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
			}
		})
	}
	for _, b := range bodies {
		next <- b
	}
	close(next)
	senders.Wait()
	return time.Since(began)
}

// BenchmarkEncode encodes findings as the lines of a bulk request.
func BenchmarkEncode(b *testing.B) {
	b.ReportAllocs()
	fs := testFindings("a", 256)
	var e outputs.Encoder
	l := &load{}
	for b.Loop() {
		l.reset()
		for i := range fs {
			l.end(e.Finding(l.begin("logs-tidewatch.finding-default", []byte(fs[i].ID)), &fs[i], 1))
		}
	}
	b.ReportMetric(float64(b.N*len(fs))/b.Elapsed().Seconds(), "findings/s")
}
