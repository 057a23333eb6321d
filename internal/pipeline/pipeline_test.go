package pipeline_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tidewatch/behavior"
	"tidewatch/behavior/disk"
	"tidewatch/behavior/state"
	"tidewatch/enrich"
	"tidewatch/event"
	"tidewatch/internal/pipeline"
	"tidewatch/parsers"
	"tidewatch/parsers/zeek"
)

const header = "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n" +
	"#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tconn_state\n" +
	"#types\ttime\tstring\taddr\tport\taddr\tport\tenum\tstring\n"

// log is one Zeek log in memory.
type log struct {
	id     int
	data   []byte
	parser parsers.Parser
	pool   event.Pool
	zones  *enrich.Zones
	pos    int64
	clock  int64
}

func newLog(id int, data string, pos int64) *log {
	l := &log{id: id, data: []byte(data), parser: zeek.NewTSV(parsers.Options{}), pool: event.NewPool(12, 64, 16<<10), zones: enrich.NewZones(nil), pos: pos}
	if pos > 0 { // the header comes from the head of the file, whatever the position
		b := event.NewBatch(nil, 16, 16<<10)
		for _, line := range strings.SplitAfter(header, "\n") {
			ev, own := b.Add([]byte(strings.TrimSuffix(line, "\n")))
			_ = l.parser.Parse(b, ev, own)
		}
	}
	return l
}

func (l *log) Fill(ctx context.Context, s *event.Sequence) error {
	var b *event.Batch
	select {
	case b = <-l.pool:
	case <-ctx.Done():
		return ctx.Err()
	}
	var end error
	for len(s.Events)+len(b.Events) < cap(s.Events) {
		rest := l.data[l.pos:]
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			end = io.EOF
			break
		}
		ev, line := b.Add(rest[:i])
		if ev == nil {
			break
		}
		l.pos += int64(i) + 1
		if l.parser.Parse(b, ev, line) != nil {
			b.Drop()
			continue
		}
		l.zones.Enrich(ev)
		l.clock = max(l.clock, ev.Written)
	}
	for i := range b.Events {
		s.Events = append(s.Events, &b.Events[i])
	}
	s.Hold(b)
	b.Release()
	s.Clock = l.clock
	s.Positions = append(s.Positions, event.Position{Key: fmt.Sprint(l.id), Value: binary.LittleEndian.AppendUint64(nil, uint64(l.pos))})
	return end
}

// tally is a Shard that counts the records of each originator and reports each
// new pair of hosts.
type tally struct {
	i, n    int
	count   map[netip.Addr]uint64
	peers   map[netip.Addr][]netip.Addr
	changed map[netip.Addr]bool
}

func newTally(i, n int) *tally {
	return &tally{i: i, n: n, count: map[netip.Addr]uint64{}, peers: map[netip.Addr][]netip.Addr{}, changed: map[netip.Addr]bool{}}
}

func (t *tally) Advance(_ int64, dst []event.Observation) []event.Observation { return dst }
func (t *tally) Finish(dst []event.Observation) []event.Observation           { return dst }

func (t *tally) Observe(ev *event.Event, dst []event.Observation) []event.Observation {
	a, b := ev.Orig.Addr, ev.Resp.Addr
	if behavior.Owner(ev.Orig.Hash, t.n) != t.i {
		return dst
	}
	t.count[a]++
	t.changed[a] = true
	if slices.Contains(t.peers[a], b) {
		return dst
	}
	t.peers[a] = append(t.peers[a], b)
	return append(dst, event.Observation{Time: ev.Time, Episode: a.String() + ">" + b.String(), Source: event.Endpoint{Addr: a}})
}

func (t *tally) Cut() (rs []behavior.Record) {
	for a := range t.changed {
		v := binary.LittleEndian.AppendUint64(nil, t.count[a])
		for _, p := range t.peers[a] {
			v = append(v, p.AsSlice()...)
		}
		rs = append(rs, behavior.Record{Key: a.AsSlice(), Value: v})
	}
	clear(t.changed)
	return rs
}

func (t *tally) Restore(r behavior.Record) error {
	a, _ := netip.AddrFromSlice(r.Key)
	if behavior.Owner(event.HashAddr(a, 0, 0), t.n) != t.i {
		return nil
	}
	t.count[a] = binary.LittleEndian.Uint64(r.Value)
	for v := r.Value[8:]; len(v) > 0; v = v[4:] {
		p, _ := netip.AddrFromSlice(v[:4])
		t.peers[a] = append(t.peers[a], p)
	}
	return nil
}

// every says each observation is a finding.
type every struct{}

var rule = &event.RuleInfo{ID: "new-pair"}

func (every) Judge(o *event.Observation, dst []event.Finding) []event.Finding {
	return append(dst, event.Finding{ID: o.Episode, Observation: *o, Rule: rule})
}

// quota is a Suppressor that lets each source speak a few times.
type quota struct {
	said    map[netip.Addr]byte
	changed map[netip.Addr]bool
}

const sayings = 5

func newQuota() *quota { return &quota{map[netip.Addr]byte{}, map[netip.Addr]bool{}} }

func (q *quota) Admit(f *event.Finding) bool {
	a := f.Source.Addr
	q.said[a] = min(q.said[a]+1, sayings+1)
	q.changed[a] = true
	return q.said[a] <= sayings
}

func (q *quota) Correlate(_ *event.Finding, dst []event.Finding) []event.Finding { return dst }

func (q *quota) Cut() (rs []behavior.Record) {
	for a := range q.changed {
		rs = append(rs, behavior.Record{Key: a.AsSlice(), Value: []byte{q.said[a]}})
	}
	clear(q.changed)
	return rs
}

func (q *quota) Restore(r behavior.Record) error {
	a, _ := netip.AddrFromSlice(r.Key)
	q.said[a] = r.Value[0]
	return nil
}

// world is what survives a crash: the store and what the sink accepted.
type world struct {
	pipeline.Memory
	disk      *disk.Store // beside the Memory; nil: that alone
	delivered map[string]int
	exported  map[string]bool // uids of the records that are durable
	dead      chan struct{}   // closed at the crash
	steps     int
	crashAt   int
}

var errCrash = errors.New("crash")

func newWorld() *world { return &world{delivered: map[string]int{}, exported: map[string]bool{}} }

// position is how far log i has been read.
func (w *world) position(i int) int64 {
	v := w.Sections[state.Positions][fmt.Sprint(i)]
	if v == nil {
		return 0
	}
	return int64(binary.LittleEndian.Uint64(v))
}

func (w *world) step(lock chan struct{}) error {
	lock <- struct{}{}
	defer func() { <-lock }()
	if w.steps++; w.steps == w.crashAt {
		close(w.dead)
	}
	select {
	case <-w.dead:
		return errCrash
	default:
		return nil
	}
}

type sink struct {
	*world
	lock chan struct{}
}

func (s sink) Write(_ context.Context, fs []event.Finding) error {
	for i, f := range fs {
		if i == len(fs)/2 { // a crash can come in the middle of a write
			if err := s.step(s.lock); err != nil {
				return err
			}
		}
		s.delivered[f.ID]++
	}
	return nil
}

// exporter keeps records in memory until it settles; a crash loses them.
type exporter struct {
	*world
	lock chan struct{}
	held []string
}

func (x *exporter) Export(_ context.Context, s *event.Sequence) error {
	for _, ev := range s.Events {
		x.held = append(x.held, event.Clone(ev.UID))
	}
	return nil
}

func (x *exporter) Settle(context.Context) error {
	if err := x.step(x.lock); err != nil {
		return err
	}
	for _, uid := range x.held {
		x.exported[uid] = true
	}
	x.held = nil
	return nil
}

type store struct {
	*world
	lock chan struct{}
}

func (s store) Commit(ctx context.Context, c *state.Checkpoint) error {
	if err := s.step(s.lock); err != nil {
		return err
	}
	if s.disk != nil {
		if err := s.disk.Commit(ctx, c); err != nil {
			return err
		}
	}
	return s.Memory.Commit(ctx, c)
}

func (w *world) pipeline(logs []string, shards int, interval time.Duration) *pipeline.Pipeline {
	w.dead, w.steps = make(chan struct{}), 0
	lock := make(chan struct{}, 1)
	p := &pipeline.Pipeline{
		Rules: every{}, Suppression: newQuota(),
		Sink: sink{w, lock}, Store: store{w, lock}, Export: &exporter{world: w, lock: lock},
		Interval: interval, Grace: 10 * time.Second, Length: 64,
	}
	for i := range shards {
		p.Shards = append(p.Shards, newTally(i, shards))
	}
	w.restore(p, logs)
	return p
}

// restore brings p to where the world is, and gives it its sources.
func (w *world) restore(p *pipeline.Pipeline, logs []string) {
	from := pipeline.Saved(&w.Memory)
	if w.disk != nil {
		from = w.disk
	}
	positions, err := p.Restore(context.Background(), from)
	if err != nil {
		panic(err)
	}
	at := make([]int64, len(logs))
	for _, pos := range positions {
		i, _ := strconv.Atoi(pos.Key)
		at[i] = int64(binary.LittleEndian.Uint64(pos.Value))
	}
	p.Sources = nil
	for i, l := range logs {
		p.Sources = append(p.Sources, newLog(i, l, at[i]))
	}
}

// makeLogs writes n logs with originators of their own, so that the order of one
// entity's events is defined, and counts their records.
func makeLogs(r *rand.Rand, n, lines int) (logs []string, seen map[netip.Addr]uint64) {
	seen = map[netip.Addr]uint64{}
	for i := range n {
		var b strings.Builder
		b.WriteString(header)
		for j := range lines {
			o := netip.AddrFrom4([4]byte{10, byte(i), 0, byte(r.IntN(40))})
			d := netip.AddrFrom4([4]byte{192, 0, 2, byte(r.IntN(60))})
			switch r.IntN(200) {
			case 0, 1, 2, 3:
				b.WriteString("garbage\tline\n")
				continue
			case 4:
				b.WriteString("garbage" + strings.Repeat("x", 20000) + "\n") // longer than a batch
				continue
			}
			fmt.Fprintf(&b, "1736900000.%06d\tC%d-%d\t%s\t%d\t%s\t443\ttcp\tSF\n", j, i, j, o, 1024+j, d)
			seen[o]++
		}
		logs = append(logs, b.String())
	}
	return logs, seen
}

// uids are those of all records in the logs.
func uids(logs []string) map[string]bool {
	m := map[string]bool{}
	for _, l := range logs {
		for line := range strings.Lines(l) {
			if f := strings.Split(line, "\t"); len(f) == 8 && strings.HasPrefix(f[1], "C") {
				m[f[1]] = true
			}
		}
	}
	return m
}

// TestCrashRecovery kills the pipeline at random points and restarts it, with
// another number of shards. At the end every event is counted exactly once, every
// finding was delivered, none that was suppressed, every record was exported, and the
// positions are at the end of each log.
func TestCrashRecovery(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 1))
			logs, seen := makeLogs(r, 1+r.IntN(4), 1500)
			want := newWorld()
			if err := want.pipeline(logs, 1, time.Hour).Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			w, runs := newWorld(), 0
			for {
				runs++
				if runs > 2000 {
					t.Fatal("no progress")
				}
				w.crashAt = 1 + r.IntN(12)
				err := w.pipeline(logs, 1+r.IntN(5), time.Duration(1+r.IntN(200))*time.Microsecond).Run(t.Context())
				if err == nil {
					break
				}
				if !errors.Is(err, errCrash) {
					t.Fatal(err)
				}
			}
			counted := map[netip.Addr]uint64{}
			for k, v := range w.Sections[state.Entities] {
				a, _ := netip.AddrFromSlice([]byte(k))
				counted[a] = binary.LittleEndian.Uint64(v)
			}
			if d := cmp.Diff(seen, counted, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
				t.Errorf("records counted after %d runs (-want +got):\n%s", runs, d)
			}
			if d := cmp.Diff(want.Sections, w.Sections); d != "" {
				t.Errorf("state differs from one clean run (-want +got):\n%s", d)
			}
			if d := cmp.Diff(slices.Sorted(maps.Keys(want.delivered)), slices.Sorted(maps.Keys(w.delivered))); d != "" {
				t.Errorf("findings (-want +got):\n%s", d)
			}
			if d := cmp.Diff(uids(logs), w.exported); d != "" {
				t.Errorf("records exported (-want +got):\n%s", d)
			}
			for i, l := range logs {
				if w.position(i) != int64(len(l)) {
					t.Errorf("log %d ended at %d, want %d", i, w.position(i), len(l))
				}
			}
		})
	}
}

// TestOrder runs the same log with different numbers of shards: the findings come
// in the same order.
func TestOrder(t *testing.T) {
	logs, _ := makeLogs(rand.New(rand.NewPCG(3, 3)), 1, 5000)
	var want []string
	for _, n := range []int{1, 2, 3, 8} {
		var got order
		p := newWorld().pipeline(logs, n, time.Hour)
		p.Sink = &got
		if err := p.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if want == nil {
			want = got.ids
		}
		if len(got.ids) == 0 {
			t.Fatal("no findings")
		}
		if d := cmp.Diff(want, got.ids); d != "" {
			t.Errorf("%d shards (-one shard +%d):\n%s", n, n, d)
		}
	}
}

type order struct{ ids []string }

func (o *order) Write(_ context.Context, fs []event.Finding) error {
	for _, f := range fs {
		o.ids = append(o.ids, f.ID)
	}
	return nil
}

// TestStop ends the context in mid-stream: what was read is committed, and no
// goroutine is left.
func TestStop(t *testing.T) {
	before := runtime.NumGoroutine()
	logs, _ := makeLogs(rand.New(rand.NewPCG(7, 7)), 2, 20000)
	w := newWorld()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p := w.pipeline(logs, 4, time.Millisecond)
	p.Sink = stopAfter{p.Sink, 1, new(int), cancel}
	if err := p.Run(ctx); err != nil {
		t.Fatal(err)
	}
	var counted, lines uint64
	for _, v := range w.Sections[state.Entities] {
		counted += binary.LittleEndian.Uint64(v)
	}
	for i := range logs {
		for _, l := range strings.Split(logs[i][:w.position(i)], "\n") {
			if l != "" && l[0] == '1' {
				lines++
			}
		}
	}
	if counted != lines {
		t.Errorf("positions cover %d records, baselines %d", lines, counted)
	}
	if lines == 0 || lines >= 39000 {
		t.Errorf("stopped after %d records, want some and not all", lines)
	}
	if n := goroutinesAfter(before); n > before {
		buf := make([]byte, 1<<20)
		t.Errorf("%d goroutines left, started with %d\n%s", n, before, buf[:runtime.Stack(buf, true)])
	}
}

// goroutinesAfter gives goroutines that have done their last statement the chance
// to be gone: the system may have taken the processor from one just then.
func goroutinesAfter(before int) int {
	for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before && time.Now().Before(end); {
		runtime.Gosched()
	}
	return runtime.NumGoroutine()
}

type stopAfter struct {
	pipeline.Sink
	n      int
	writes *int
	stop   func()
}

func (s stopAfter) Write(ctx context.Context, fs []event.Finding) error {
	if *s.writes++; *s.writes == s.n {
		s.stop()
	}
	return s.Sink.Write(ctx, fs)
}

// A sink that hangs holds Run no longer than the grace period.
func TestGrace(t *testing.T) {
	logs, _ := makeLogs(rand.New(rand.NewPCG(9, 9)), 1, 2000)
	ctx, cancel := context.WithCancel(t.Context())
	p := newWorld().pipeline(logs, 2, time.Hour)
	p.Sink, p.Grace = hang{cancel}, time.Millisecond
	if err := p.Run(ctx); !errors.Is(err, pipeline.ErrGrace) {
		t.Errorf("Run returned %v, want ErrGrace", err)
	}
}

type hang struct{ stop func() }

func (h hang) Write(ctx context.Context, _ []event.Finding) error {
	h.stop()
	<-ctx.Done()
	return context.Cause(ctx)
}

// A source's own error ends Run with that error.
func TestSourceFails(t *testing.T) {
	p := newWorld().pipeline(nil, 2, time.Hour)
	want := errors.New("disk on fire")
	p.Sources = []pipeline.Source{failing{want}}
	if err := p.Run(t.Context()); !errors.Is(err, want) {
		t.Errorf("Run returned %v, want %v", err, want)
	}
}

type failing struct{ err error }

func (f failing) Fill(context.Context, *event.Sequence) error { return f.err }

func BenchmarkPipeline(b *testing.B) {
	logs, seen := makeLogs(rand.New(rand.NewPCG(7, 7)), 1, 200000)
	var total uint64
	for _, n := range seen {
		total += n
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(logs[0])))
	for b.Loop() {
		p := newWorld().pipeline(logs, 2, time.Second)
		p.Length = 512
		if err := p.Run(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(total)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
