package kibana

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tidewatch/behavior"
	"tidewatch/behavior/population"
	"tidewatch/enrich"
	"tidewatch/event"
	"tidewatch/ingest"
	"tidewatch/internal/pipeline"
	"tidewatch/internal/servers"
	"tidewatch/outputs"
	"tidewatch/outputs/elastic"
	"tidewatch/rules"
)

func TestMain(m *testing.M) {
	code := m.Run()
	servers.Close()
	os.Exit(code)
}

// sensorsSaid are records of kinds that the example day has not.
const sensorsSaid = `{"_path":"weird","ts":"2026-11-20T10:00:00.000000Z","uid":"CwEird1","id.orig_h":"10.20.16.40","id.orig_p":49152,"id.resp_h":"198.18.74.73","id.resp_p":443,"name":"bad_TCP_checksum","notice":false,"peer":"zeek"}
{"timestamp":"2026-11-20T10:00:01.000000+0000","flow_id":7,"event_type":"alert","src_ip":"10.20.16.40","src_port":49153,"dest_ip":"198.18.74.73","dest_port":80,"proto":"TCP","alert":{"action":"allowed","gid":1,"signature_id":2000001,"rev":2,"signature":"Something severe","category":"A Network Trojan was detected","severity":1}}
`

// Each panel's query says of a real server what counting the documents says.
func TestPanels(t *testing.T) {
	s := servers.Elasticsearch(t)
	docs := fill(t, s)
	if len(docs[findings]) < 8 || len(docs[records]) < 20_000 {
		t.Fatalf("%d findings, %d records", len(docs[findings]), len(docs[records]))
	}
	everyPanel(func(name string, p *panel) {
		t.Run(name, func(t *testing.T) {
			if len(matching(p, docs[p.View])) == 0 {
				t.Error("no document is shown")
			}
			if p.Columns != nil {
				checkList(t, s, p, docs[p.View])
				return
			}
			want := groups(p, 0, matching(p, docs[p.View]))
			got := answered(p, 0, search(t, s, p)["aggregations"])
			if d := gocmp.Diff(want, got, cmpopts.EquateApprox(1e-9, 0), cmpopts.EquateNaNs()); d != "" {
				t.Errorf("(-counted +server)\n%s", d)
			}
		})
	})
}

// document is one that was written: the values of each field.
type document map[string][]any

// fill writes the findings and records of the example day to the server, as the sidecar
// does, and returns their documents.
func fill(t *testing.T, s *servers.Search) map[view][]document {
	t.Helper()
	cfg := elastic.Default()
	cfg.Addresses, cfg.Proxy, cfg.Records = []string{s.URL}, "none", []string{"all"}
	cfg.DeadLetter = filepath.Join(t.TempDir(), "dead")
	if _, err := elastic.Setup(t.Context(), &cfg, &elastic.Options{Replicas: 0, Shards: 1}, false); err != nil {
		t.Fatal(err)
	}
	out, err := elastic.New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	set, err := rules.Load(rules.Builtin())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for i, line := range strings.SplitAfter(strings.TrimSpace(sensorsSaid), "\n") {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i, ".json")), []byte(line), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files, err := ingest.Discover([]string{"../../examples/day", dir})
	if err != nil {
		t.Fatal(err)
	}
	merge := ingest.NewMerge(files, ingest.Options{Enrich: enrich.NewZones(nil).Enrich})
	defer merge.Close()
	c := &copied{t: t, Output: out, Exporter: out.NewExporter(), seen: map[string]bool{}, docs: map[view][]document{}}
	p := &pipeline.Pipeline{
		Sources: []pipeline.Source{merge}, Rules: set, Suppression: rules.NewSuppression(set), Joiner: new(pipeline.Joiner), Sink: c, Export: c,
		Population: population.New(population.DefaultConfig()), Grace: time.Minute, Finish: true,
		Shards: []pipeline.Shard{behavior.NewShard(0, 1, set.Config())},
	}
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := out.Stats(); s.DeadLetters > 0 || int(s.Indexed) != len(c.docs[findings])+len(c.docs[records]) {
		t.Fatalf("%+v, %d findings and %d records", s, len(c.docs[findings]), len(c.docs[records]))
	}
	if status, body, err := s.Do(t.Context(), http.MethodPost, "/logs-tidewatch.*/_refresh", ""); err != nil || status != http.StatusOK {
		t.Fatal(status, string(body), err)
	}
	return c.docs
}

// copied is an output that keeps the documents that it writes.
type copied struct {
	t *testing.T
	*elastic.Output
	*elastic.Exporter
	encoder outputs.Encoder
	seen    map[string]bool // records, which are written once each
	docs    map[view][]document
}

func (c *copied) Write(ctx context.Context, fs []event.Finding) error {
	for i := range fs {
		c.docs[findings] = append(c.docs[findings], c.flat(outputs.AppendDocument(nil, &fs[i], 0)))
	}
	return c.Output.Write(ctx, fs)
}

func (c *copied) Export(ctx context.Context, s *event.Sequence) error {
	for _, ev := range s.Events {
		if raw := string(ev.Raw); !c.seen[raw] {
			c.seen[raw] = true
			c.docs[records] = append(c.docs[records], c.flat(c.encoder.Record(nil, ev, 0)))
		}
	}
	return c.Exporter.Export(ctx, s)
}

// flat reads a document.
func (c *copied) flat(b []byte) document {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		c.t.Error(err)
	}
	doc := document{}
	doc.add("", v)
	return doc
}

func (d document) add(path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, v := range v {
			d.add(strings.TrimPrefix(path+"."+k, "."), v)
		}
	case []any:
		for _, v := range v {
			d.add(path, v)
		}
	case json.Number:
		f, _ := v.Float64()
		d[path] = append(d[path], f)
	default:
		d[path] = append(d[path], v)
	}
}

// keys returns the different values of a field, as the server's buckets have them.
func (d document) keys(field string) (keys []string) {
	for _, v := range d[field] {
		key := fmt.Sprint(v)
		if f, ok := v.(float64); ok {
			key = number(f)
		}
		if !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys
}

func (d document) time() time.Time {
	at, err := time.Parse(outputs.TimeLayout, d["@timestamp"][0].(string))
	if err != nil {
		panic(err)
	}
	return at
}

func (c condition) holds(d document) bool {
	if c.op == "*" {
		return len(d[c.field]) > 0
	}
	return slices.ContainsFunc(d[c.field], func(v any) bool {
		f, _ := v.(float64)
		return c.op == "=" && v == c.text || c.op == ">=" && f >= c.num || c.op == "<=" && f <= c.num
	})
}

func (c condition) query() object {
	switch c.op {
	case "*":
		return object{"exists": object{"field": c.field}}
	case ">=":
		return object{"range": object{c.field: object{"gte": c.num}}}
	case "<=":
		return object{"range": object{c.field: object{"lte": c.num}}}
	}
	return object{"term": object{c.field: c.text}}
}

func matching(p *panel, docs []document) (all []document) {
	for _, d := range docs {
		if !slices.ContainsFunc(p.Where, func(c condition) bool { return !c.holds(d) }) {
			all = append(all, d)
		}
	}
	return all
}

// group is one row, bar or cell.
type group struct {
	Key    string
	Count  int
	Show   []float64
	Groups []group
}

// groups counts documents by the panel's buckets from the n-th on; the outermost level
// is one group.
func groups(p *panel, n int, docs []document) group {
	g := group{Count: len(docs)}
	for _, m := range p.Show {
		g.Show = append(g.Show, m.of(docs))
	}
	if n == len(p.By) {
		return g
	}
	parts := map[string][]document{}
	for _, d := range docs {
		for _, key := range p.By[n].keys(d) {
			parts[key] = append(parts[key], d)
		}
	}
	for key, docs := range parts {
		part := groups(p, n+1, docs)
		part.Key = key
		g.Groups = append(g.Groups, part)
	}
	sortGroups(g.Groups, p.By[n])
	if size := p.By[n].size; size > 0 && len(g.Groups) > size {
		g.Groups = g.Groups[:size]
	}
	return g
}

// sortGroups puts the values of terms in the server's order: from the largest measure
// on, then by value.
func sortGroups(gs []group, b bucket) {
	slices.SortFunc(gs, func(x, y group) int {
		byMeasure := 0
		if b.size > 0 {
			byMeasure = cmp.Compare(y.Show[0], x.Show[0])
		}
		a, errA := netip.ParseAddr(x.Key)
		c, errC := netip.ParseAddr(y.Key)
		if errA == nil && errC == nil {
			return cmp.Or(byMeasure, slices.Compare(sixteen(a), sixteen(c)))
		}
		return cmp.Or(byMeasure, strings.Compare(x.Key, y.Key))
	})
}

func sixteen(a netip.Addr) []byte { b := a.As16(); return b[:] }

// interval is what Kibana would choose for a day.
const interval = 30 * time.Minute

func (b bucket) keys(d document) []string {
	switch {
	case b.size > 0:
		return d.keys(b.field)
	case b.bounds == nil:
		return []string{fmt.Sprint(d.time().Truncate(interval).UnixMilli())}
	}
	var keys []string
	for _, v := range d[b.field] {
		for i, from := range b.bounds {
			if f := v.(float64); f >= from && (i+1 == len(b.bounds) || f < b.bounds[i+1]) {
				keys = append(keys, b.names[i])
			}
		}
	}
	return keys
}

func (m measure) of(docs []document) float64 {
	var values []float64
	distinct := map[string]bool{}
	for _, d := range docs {
		for _, v := range d[m.field] {
			f, _ := v.(float64)
			values = append(values, f)
			distinct[fmt.Sprint(v)] = true
		}
	}
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	switch {
	case m.op == "count":
		return float64(len(docs))
	case m.op == "unique_count":
		return float64(len(distinct))
	case m.op == "sum":
		return sum
	case len(values) == 0:
		return math.NaN()
	case m.op == "max":
		return slices.Max(values)
	}
	return sum / float64(len(values))
}

// index returns where the panel's documents are: what the title of its data view says.
func (p *panel) index() string {
	if p.View == findings {
		return "logs-tidewatch.finding-*"
	}
	return "logs-tidewatch.*-*,-logs-tidewatch.finding-*"
}

func (p *panel) query() object {
	filters := []any{}
	for _, c := range p.Where {
		filters = append(filters, c.query())
	}
	return object{"bool": object{"filter": filters}}
}

// aggs returns the aggregations that Lens would ask for from the n-th bucket on.
func aggs(p *panel, n int) object {
	all := object{}
	for i, m := range p.Show {
		op, ok := map[string]string{"sum": "sum", "max": "max", "average": "avg", "unique_count": "cardinality"}[m.op]
		if ok {
			all[fmt.Sprint("show", i)] = object{op: object{"field": m.field}}
		}
	}
	if n == len(p.By) {
		return all
	}
	b, inner := p.By[n], object{}
	switch {
	case b.size > 0:
		order := "show0"
		if p.Show[0].op == "count" {
			order = "_count"
		}
		inner["terms"] = object{"field": b.field, "size": b.size, "shard_size": 1000, "order": object{order: "desc"}}
	case b.bounds == nil:
		inner["date_histogram"] = object{"field": b.field, "fixed_interval": "30m", "min_doc_count": 1}
	default:
		var ranges []any
		for i, from := range b.bounds {
			r := object{"from": from, "key": b.names[i]}
			if i+1 < len(b.bounds) {
				r["to"] = b.bounds[i+1]
			}
			ranges = append(ranges, r)
		}
		inner["range"] = object{"field": b.field, "ranges": ranges}
	}
	inner["aggs"] = aggs(p, n+1)
	all["by"] = inner
	return all
}

func search(t *testing.T, s *servers.Search, p *panel) map[string]any {
	t.Helper()
	return ask(t, s, p, object{"size": 0, "track_total_hits": true, "query": p.query(), "aggs": object{"all": object{"filter": object{"match_all": object{}}, "aggs": aggs(p, 0)}}})
}

func ask(t *testing.T, s *servers.Search, p *panel, body object) map[string]any {
	t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	status, answer, err := s.Do(t.Context(), http.MethodPost, "/"+p.index()+"/_search", string(b))
	if err != nil || status != http.StatusOK {
		t.Fatalf("%d %v: %s\n%s", status, err, answer, b)
	}
	var v map[string]any
	if err := json.Unmarshal(answer, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// answered reads the server's groups.
func answered(p *panel, n int, answer any) group {
	if n == 0 {
		answer = answer.(map[string]any)["all"]
	}
	a := answer.(map[string]any)
	g := group{Count: int(a["doc_count"].(float64))}
	for i, m := range p.Show {
		v := float64(g.Count)
		if m.op != "count" {
			var ok bool
			if v, ok = a[fmt.Sprint("show", i)].(map[string]any)["value"].(float64); !ok {
				v = math.NaN() // null
			}
		}
		g.Show = append(g.Show, v)
	}
	if n == len(p.By) {
		return g
	}
	buckets := a["by"].(map[string]any)["buckets"].([]any)
	for _, b := range buckets {
		part := answered(p, n+1, b)
		switch key := b.(map[string]any)["key"].(type) {
		case string:
			part.Key = key
		case float64:
			part.Key = strconv.FormatFloat(key, 'f', -1, 64)
		}
		if part.Count > 0 {
			g.Groups = append(g.Groups, part)
		}
	}
	if p.By[n].size == 0 { // ranges come in the order in which they were asked for
		sortGroups(g.Groups, p.By[n])
	}
	return g
}

// checkList asks for the documents of a list in its order: as many as counted, in the
// same order, and each column can be had where the document has it.
func checkList(t *testing.T, s *servers.Search, p *panel, docs []document) {
	t.Helper()
	docs = matching(p, docs)
	answer := ask(t, s, p, object{"size": 1000, "track_total_hits": true, "query": p.query(), "fields": append([]string{p.Sort}, p.Columns...), "_source": false,
		"sort": []any{object{p.Sort: object{"order": "desc", "unmapped_type": "boolean"}}}})
	hits := answer["hits"].(map[string]any)
	if total := int(hits["total"].(map[string]any)["value"].(float64)); total != len(docs) {
		t.Errorf("%d documents, want %d", total, len(docs))
	}
	slices.SortStableFunc(docs, func(a, b document) int { return cmp.Compare(last(b, p.Sort), last(a, p.Sort)) })
	var want, got []string
	for i, h := range hits["hits"].([]any) {
		fields, _ := h.(map[string]any)["fields"].(map[string]any)
		found := document{}
		found.add("", any(fields))
		want, got = append(want, last(docs[i], p.Sort)), append(got, last(found, p.Sort))
	}
	if d := gocmp.Diff(want, got); d != "" {
		t.Errorf("order (-counted +server)\n%s", d)
	}
	for _, c := range p.Columns {
		n := len(matching(&panel{Where: []condition{has(c)}}, docs))
		there := ask(t, s, &panel{View: p.View}, object{"size": 0, "track_total_hits": true, "query": (&panel{Where: append(slices.Clone(p.Where), has(c))}).query()})
		if total := int(there["hits"].(map[string]any)["total"].(map[string]any)["value"].(float64)); total != n {
			t.Errorf("%s: %d documents have it, want %d", c, total, n)
		}
	}
}

// last returns the largest value of a field, in a form that sorts as the values do and
// is the same from a document and from the server, which knows milliseconds.
func last(d document, field string) string {
	largest := ""
	for _, v := range d[field] {
		s := fmt.Sprint(v)
		switch f, isNumber := v.(float64); {
		case isNumber:
			s = fmt.Sprintf("%020.6f", f)
		case len(s) > 23 && s[10] == 'T' && s[19] == '.':
			s = s[:23] + "Z"
		}
		largest = max(largest, s)
	}
	return largest
}
