package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"tidewatch/internal/synth"
)

const (
	latencyRate = 5000 // lines a second
	markEvery   = 100 * time.Millisecond
	lookEvery   = 2 * time.Millisecond
	latencyBar  = time.Second // of the 99th percentile
	idleBar     = 0.01        // of a core, with nothing to read
)

// marks knows when each marker was written and found.
type marks struct {
	mu      sync.Mutex
	written []time.Time
	found   []time.Duration // 0: not yet
}

// measure lets a sidecar follow a log at latencyRate, and prints how long it takes from
// the writing of a line to its finding in the output, and what it takes to do nothing.
func (o *options) measure(ctx context.Context, dir string) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	src, err := makeSource(dir, source{name: "eve.json", format: synth.FormatEVE}, 0, int(o.latency.Seconds()*latencyRate), o.attacks)
	if err != nil {
		return err
	}
	s, err := newSite(dir, o.program)
	if err != nil {
		return err
	}
	if err := s.configure([]string{src.name}); err != nil {
		return err
	}
	l, err := openLog(s.path("logs/"+src.name), src.path, rand.New(rand.NewPCG(o.seed, 9)))
	if err != nil {
		return err
	}
	s.logs = []*log{l}
	if err := s.start(); err != nil {
		return err
	}
	if err := s.settle(ctx, live); err != nil { // it is there and waits
		return errors.Join(err, s.kill())
	}
	var m marks
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var watchers sync.WaitGroup
	watchers.Go(func() { m.write(ctx, l) })
	watchers.Go(func() { m.look(ctx, s.path("findings.ndjson")) })
	err = l.play(ctx, latencyRate, src.lines, int(o.latency/(10*time.Second)), o.allowed())
	if err == nil {
		err = s.settle(ctx, live)
	}
	stop()
	watchers.Wait()
	idle := s.idle(o.latency / 6)
	if err = errors.Join(err, s.stop()); err != nil {
		return err
	}
	if err := m.report(o.out, src.lines); err != nil {
		return err
	}
	fmt.Fprintf(o.out, "  with nothing to read: %.2f %% of a core\n", 100*idle)
	if idle > idleBar && o.latency >= time.Minute { // shorter, it is the ticks of the clock that count
		return fmt.Errorf("with nothing to read it shall take at most %.0f %% of a core", 100*idleBar)
	}
	return nil
}

// idle measures what share of a core the sidecar takes while nothing is written.
func (s *site) idle(d time.Duration) float64 {
	before, begun := s.spent(), time.Now()
	time.Sleep(d)
	return float64(s.spent()-before) / float64(time.Since(begun))
}

// spent returns the sidecar's processor time, in steps of a hundredth of a second.
func (s *site) spent() time.Duration {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.process.Process.Pid))
	_, after, _ := bytes.Cut(b, []byte(") ")) // the name may have blanks
	f := bytes.Fields(after)
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(string(f[11]), 10, 64)
	system, _ := strconv.ParseInt(string(f[12]), 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond
}

// write writes a marker into the log again and again.
func (m *marks) write(ctx context.Context, l *log) {
	tick := time.NewTicker(markEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if l.done() {
			return
		}
		m.mu.Lock()
		n := len(m.written)
		m.mu.Unlock()
		at, err := l.mark(fmt.Sprintf("soak-marker-%d.example", n))
		if err != nil {
			return
		}
		m.mu.Lock()
		m.written, m.found = append(m.written, at), append(m.found, 0)
		m.mu.Unlock()
	}
}

// mark writes a query for a name at once, and returns when.
func (l *log) mark(name string) (time.Time, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.writeLocked(0, false); err != nil {
		return time.Time{}, err
	}
	at := time.Now()
	_, err := fmt.Fprintf(l.file, `{"timestamp":"2026-11-20T12:00:00.000000+0000","flow_id":%d,"event_type":"dns","src_ip":"10.100.7.7","src_port":40000,"dest_ip":"10.100.8.53","dest_port":53,"proto":"UDP","dns":{"type":"query","id":1,"rrname":"%s","rrtype":"A","tx_id":0}}`+"\n", at.UnixNano()>>12, name)
	return at, err
}

// look reads the findings as they come.
func (m *marks) look(ctx context.Context, path string) {
	var f *os.File
	var rest []byte
	buf := make([]byte, 1<<20)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		if f == nil {
			f, _ = os.Open(path)
		}
		n := 0
		if f != nil {
			n, _ = f.Read(buf)
		}
		if n == 0 {
			<-tick.C
			continue
		}
		at := time.Now()
		rest = append(rest, buf[:n]...)
		for {
			line, more, whole := bytes.Cut(rest, []byte("\n"))
			if !whole {
				break
			}
			m.see(string(line), at)
			rest = more
		}
	}
	if f != nil {
		_ = f.Close()
	}
}

// see notes a finding, if it is a marker's.
func (m *marks) see(line string, at time.Time) {
	_, after, ok := strings.Cut(line, "soak-marker-")
	for ok {
		digits, _, _ := strings.Cut(after, ".")
		if n, err := strconv.Atoi(digits); err == nil {
			m.mu.Lock()
			if n < len(m.found) && m.found[n] == 0 {
				m.found[n] = at.Sub(m.written[n])
			}
			m.mu.Unlock()
			return
		}
		_, after, ok = strings.Cut(after, "soak-marker-") // the rule's name has it too
	}
}

func (m *marks) report(out io.Writer, lines int) error {
	found := slices.DeleteFunc(slices.Clone(m.found), func(d time.Duration) bool { return d == 0 })
	fmt.Fprintf(out, "latency, one EVE log at %d lines a second\n  %d lines, %d markers, %d found\n", latencyRate, lines, len(m.found), len(found))
	if len(found) < len(m.found) || len(found) == 0 {
		return fmt.Errorf("%d of %d markers were not found", len(m.found)-len(found), len(m.found))
	}
	slices.Sort(found)
	at := func(q float64) time.Duration { return found[int(q*float64(len(found)-1))].Round(time.Millisecond) }
	fmt.Fprintf(out, "  line written to finding in the output: median %v, p99 %v, longest %v\n", at(0.5), at(0.99), at(1))
	if p99 := at(0.99); p99 > latencyBar {
		return fmt.Errorf("p99 is %v, and shall be at most %v", p99, latencyBar)
	}
	return nil
}
