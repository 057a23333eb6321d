package ingest

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"tidewatch/event"
)

// journal writes logs of several kinds for one stretch of time: some long, some
// tiny, some packed, out of order by up to disorder records.
func journal(t testing.TB, files, records, disorder int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	r := rand.New(rand.NewPCG(uint64(files), uint64(records)))
	for i := range files {
		n := 1 + r.IntN(records)
		from := r.IntN(10_000)
		var b strings.Builder
		name := fmt.Sprintf("log%03d.log", i)
		eve := i%5 == 4
		if !eve {
			b.WriteString(connHeader)
		}
		at := make([]int, n)
		for j := range at {
			at[j] = from + j*7 + r.IntN(7)
		}
		slices.Sort(at)
		shuffle(r, at, disorder)
		for j, ms := range at {
			if eve {
				b.WriteString(eveLine(ms, i*100_000+j))
			} else {
				b.WriteString(connLine(ms, fmt.Sprintf("C%d", i*100_000+j)))
			}
		}
		data := []byte(b.String())
		switch i % 3 {
		case 1:
			data = gz(t, b.String())
		case 2:
			data = zst(t, b.String(), 1<<20)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// shuffle moves elements by up to d places in all.
func shuffle(r *rand.Rand, s []int, d int) {
	for i := 0; i < len(s); i += d + 1 {
		part := s[i:min(i+d+1, len(s))]
		r.Shuffle(len(part), func(a, b int) { part[a], part[b] = part[b], part[a] })
	}
}

// order returns the events of files in the order of a Merge, with the borders of
// the sequences and the clock.
func order(t testing.TB, o Options, files []File) string {
	t.Helper()
	m := NewMerge(files, o)
	defer m.Close()
	var b strings.Builder
	for s, err := range sequences(m) {
		if err != nil && err != io.EOF {
			t.Fatal(err)
		}
		for _, ev := range s.Events {
			fmt.Fprintf(&b, "%s %d %d\n", ev.UID, ev.Source, ev.Offset)
		}
		fmt.Fprintf(&b, "-- %d\n", s.Clock)
	}
	return b.String()
}

func TestOrderDependsOnFilesAlone(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	dir := journal(t, 15, 2000, 400)
	files, err := Discover([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []Options{{}, {MaxOpen: 3}, {Window: 6}} {
		want := ""
		for round := range 6 {
			runtime.GOMAXPROCS([]int{1, 2, 8}[round%3])
			rand.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
			got := order(t, o, files)
			if want == "" {
				want = got
			}
			if got != want {
				t.Errorf("%+v: two runs differ (-first +other):\n%.2000s", o, gocmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")))
			}
		}
		if strings.Count(want, "\n") < 10_000 {
			t.Errorf("%d lines", strings.Count(want, "\n"))
		}
	}
}

// Where no record is further from its place than the window, the order is exact.
func TestOrderIsExact(t *testing.T) {
	for _, window := range []int{3, 6} {
		dir := journal(t, 10, 4000, (window-2)*batchEvents)
		files, err := Discover([]string{dir})
		if err != nil {
			t.Fatal(err)
		}
		m := NewMerge(files, Options{Window: window})
		var last *event.Event
		n, clock := 0, int64(0)
		for s := range sequences(m) {
			for _, ev := range s.Events {
				e := *ev
				if last != nil && (e.Written < last.Written || e.Written == last.Written && e.Source < last.Source) {
					t.Fatalf("window %d: %d of %d after %d of %d", window, e.Written, e.Source, last.Written, last.Source)
				}
				last = &e
				n++
			}
			if len(s.Events) > 0 {
				clock = last.Written
			}
			if s.Clock != clock {
				t.Fatalf("the clock is %d after %d", s.Clock, clock)
			}
		}
		m.Close()
		if uint64(n) != m.Stats().Records() || n < 10_000 {
			t.Errorf("%d records of %d", n, m.Stats().Records())
		}
	}
}

// Every record comes once, however far from order the logs are.
func TestNothingIsLost(t *testing.T) {
	for _, disorder := range []int{0, 3, 5000} {
		dir := journal(t, 10, 5000, disorder)
		seen := map[string]bool{}
		got := read(t, Options{MaxOpen: 4}, dir)
		for _, uid := range got.uids {
			if seen[uid] {
				t.Fatalf("%s twice", uid)
			}
			seen[uid] = true
		}
		want := 0
		for i := range 10 {
			for j := 0; seen[fmt.Sprintf("C%d", i*100_000+j)] || seen[fmt.Sprint(i*100_000+j)]; j++ {
				want++
			}
		}
		if len(seen) != want || len(got.said) > 0 {
			t.Errorf("%d records without a gap, %d in all, said %q", want, len(seen), got.said)
		}
	}
}

// More files than one slot has batches end within one sequence: none waits for a
// batch that the sequence holds.
func TestManyTinyFiles(t *testing.T) {
	dir := t.TempDir()
	var want []string
	for i := range 700 {
		uid := fmt.Sprintf("C%03d", i)
		want = append(want, uid)
		if err := os.WriteFile(filepath.Join(dir, uid+".log"), []byte(connHeader+connLine(i, uid)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, o := range []Options{{}, {MaxOpen: 1}} {
		if d := gocmp.Diff(want, read(t, o, dir).uids); d != "" {
			t.Errorf("%+v (-want +got):\n%s", o, d)
		}
	}
}

// Records of a clock gone wrong hold neither their own file back nor move the
// stream's clock.
func TestStragglersDoNotStall(t *testing.T) {
	var a, b strings.Builder
	a.WriteString(connHeader)
	b.WriteString(connHeader)
	for i := range 20_000 {
		if i%50 == 0 && i < 10_000 {
			a.WriteString(connLine(1e12+i, fmt.Sprint("future", i)))
		}
		a.WriteString(connLine(2*i, fmt.Sprint("a", i)))
		b.WriteString(connLine(2*i+1, fmt.Sprint("b", i)))
	}
	dir := t.TempDir()
	for name, s := range map[string]string{"a.log": a.String(), "b.log": b.String()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files, err := Discover([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	m := NewMerge(files, Options{})
	defer m.Close()
	last, n := int64(0), 0
	for s := range sequences(m) {
		for _, ev := range s.Events {
			if strings.HasPrefix(ev.UID, "future") {
				n++
				continue
			}
			if ev.Written < last {
				t.Fatalf("%s comes %d ms late", ev.UID, (last-ev.Written)/1e6)
			}
			last = ev.Written
		}
		if len(s.Events) > 0 && (s.Clock < last || s.Clock > last+1e9) {
			t.Fatalf("the clock is at %d, the records at %d", s.Clock, last)
		}
	}
	if n != 200 {
		t.Errorf("%d stragglers, want 200", n)
	}
}

// Most rows of a log of connections are of datagrams, which are written a minute late;
// those that are on time stay behind what other logs say of the same connections.
func TestLateRowsHurryNobody(t *testing.T) {
	var conns, names strings.Builder
	conns.WriteString(connHeader)
	names.WriteString(connHeader)
	for i := range 20_000 {
		if i%10 == 0 {
			names.WriteString(connLine(100_000+i, fmt.Sprint("name", i)))
			conns.WriteString(connLine(100_001+i, fmt.Sprint("conn", i)))
		} else {
			conns.WriteString(connLine(40_000+i, fmt.Sprint("datagram", i)))
		}
	}
	dir := t.TempDir()
	for name, s := range map[string]string{"conn.log": conns.String(), "ssl.log": names.String()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	named := map[string]bool{}
	for _, uid := range read(t, Options{}, dir).uids {
		if n, ok := strings.CutPrefix(uid, "name"); ok {
			named[n] = true
		} else if n, ok := strings.CutPrefix(uid, "conn"); ok && !named[n] {
			t.Fatalf("connection %s comes before its name", n)
		}
	}
	if len(named) != 2000 {
		t.Errorf("%d names", len(named))
	}
}

// A file is opened when the stream comes to it, so that a year of logs takes no
// more than a day's.
func TestFilesAreOpenedLate(t *testing.T) {
	dir := t.TempDir()
	for i := range 30 {
		var b strings.Builder
		b.WriteString(connHeader)
		for j := range 500 {
			b.WriteString(connLine(i*1000+j*2, fmt.Sprint("C", i, "-", j)))
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%02d.log", 29-i)), []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files, err := Discover([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	m := NewMerge(files, Options{})
	defer m.Close()
	slots := 0
	for range sequences(m) {
		slots = max(slots, m.open)
	}
	if slots > 3 {
		t.Errorf("%d files open at a time, want about 1", slots)
	}
}

func TestPositionsAtTheEnd(t *testing.T) {
	dir := tree(t, "x")
	log := connHeader + connLine(1, "C1")
	for name, data := range map[string][]byte{"a.log": []byte(log), "b.log": gz(t, log+connLine(2, "C2")), "c.log": nil} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files, err := Discover([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	m := NewMerge(files, Options{})
	defer m.Close()
	var got []event.Position
	for s := range sequences(m) {
		got = append(got, s.Positions...)
	}
	slices.SortFunc(got, func(a, b event.Position) int { return cmp.Compare(a.Key, b.Key) })
	at := func(name, read string) event.Position {
		return event.Position{Key: filepath.Join(dir, name), Value: binary.LittleEndian.AppendUint64(nil, uint64(len(read)))}
	}
	want := []event.Position{at("a.log", log), at("b.log", log+connLine(2, "C2"))}
	if d := gocmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// settle waits until no more than n goroutines run: those that Close has waited
// for may still be on their last instruction.
func settle(t *testing.T, n int) {
	t.Helper()
	for range 1_000_000 {
		if runtime.NumGoroutine() <= n {
			return
		}
		runtime.Gosched()
	}
	buf := make([]byte, 1<<16)
	t.Errorf("%d goroutines, want %d:\n%s", runtime.NumGoroutine(), n, buf[:runtime.Stack(buf, true)])
}

func TestCancel(t *testing.T) {
	before := runtime.NumGoroutine()
	dir := journal(t, 10, 5000, 10)
	files, err := Discover([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	f := func(sequencesFirst int) {
		t.Helper()
		m := NewMerge(files, Options{})
		pool := event.NewSequencePool(1, 512)
		ctx, cancel := context.WithCancel(context.Background())
		for range sequencesFirst {
			s := <-pool
			if err := m.Fill(ctx, s); err != nil {
				t.Fatal(err)
			}
			s.Share(1)
			s.Release()
		}
		cancel()
		s := <-pool
		if err := m.Fill(ctx, s); err != context.Canceled {
			t.Errorf("after %d sequences: %v", sequencesFirst, err)
		}
		if len(s.Events) > 0 && s.Clock == 0 {
			t.Error("events without a clock")
		}
		s.Share(1)
		s.Release()
		m.Close()
		settle(t, before)
	}
	f(0)
	f(1)
	f(7)
	NewMerge(files, Options{}).Close()
	read(t, Options{}, dir)
	settle(t, before)
}

// A read that waits for a pipe's writer ends with Close, and Fill with its context.
func TestCancelOnPipe(t *testing.T) {
	before := runtime.NumGoroutine()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	var log strings.Builder
	log.WriteString(connHeader)
	for i := range 300 {
		log.WriteString(connLine(i, "C"))
	}
	if _, err := io.WriteString(w, log.String()); err != nil {
		t.Fatal(err)
	}
	files, err := Discover([]string{fmt.Sprintf("/proc/self/fd/%d", r.Fd())})
	if err != nil || !files[0].Stream {
		t.Fatal(files, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := NewMerge(files, Options{Enrich: func(ev *event.Event) {
		if ev.Written == (1_700_000_000_000+299)*1e6 { // the last of what was written
			cancel()
		}
	}})
	s := &event.Sequence{Events: make([]*event.Event, 0, 512)}
	if err := m.Fill(ctx, s); err != context.Canceled {
		t.Errorf("%v", err)
	}
	m.Close()
	settle(t, before)
}

// What a released batch held is not in any event that is given out later (run with
// the poison tag, this finds views that were kept).
func TestEventsStayWhole(t *testing.T) {
	dir := journal(t, 8, 4000, 300)
	sum := func() uint64 {
		files, err := Discover([]string{dir})
		if err != nil {
			t.Fatal(err)
		}
		m := NewMerge(files, Options{})
		defer m.Close()
		total := uint64(0)
		for s := range sequences(m) {
			for _, ev := range s.Events {
				if ev.UID == "" || !ev.Orig.Addr.IsValid() || len(ev.Raw) == 0 || strings.Contains(ev.UID, "\xdb") {
					t.Fatalf("torn: %q %q", ev.UID, ev.Raw)
				}
				h := fnv.New64a()
				h.Write(ev.Raw)
				total += h.Sum64()
			}
		}
		return total
	}
	if a, b := sum(), sum(); a != b {
		t.Error("the events of two runs differ")
	}
}

// Sorting is right on any input and stable.
func TestRunSort(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	b := event.NewBatch(nil, batchEvents, 1000)
	f := func(name string, n int, written func(i int) int64) {
		t.Helper()
		defer b.Release()
		for i := range n {
			ev, _ := b.Add(nil)
			ev.Written = written(i)
		}
		var u run
		u.load(b)
		for i := range n {
			if u.keys[i] != b.Events[u.order[i]].Written {
				t.Fatalf("%s: key %d is not its event's", name, i)
			}
			if i > 0 && (u.keys[i-1] > u.keys[i] || u.keys[i-1] == u.keys[i] && u.order[i-1] >= u.order[i]) {
				t.Fatalf("%s: %d and %d are out of order", name, i-1, i)
			}
		}
	}
	f("sorted", 256, func(i int) int64 { return int64(i) })
	f("reversed", 256, func(i int) int64 { return int64(-i) })
	f("equal", 256, func(int) int64 { return 7 })
	f("one", 1, func(int) int64 { return 7 })
	f("random", 256, func(int) int64 { return r.Int64N(1 << 50) })
	f("few keys", 256, func(int) int64 { return r.Int64N(4) })
	f("negative", 200, func(int) int64 { return r.Int64N(1<<50) - 1<<51 })
	f("far apart", 256, func(int) int64 { return int64(r.Uint64()) })
	f("nonsense among records", 256, func(i int) int64 { return 1_700_000_000e9*int64(i%3) - int64(i) })
}
