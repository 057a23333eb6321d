// Command soak lets a sidecar follow logs that are written and rotated fast, kills it
// again and again, and compares what it knows and has said in the end with one that was
// left alone. Then it measures how long a finding takes, and what memory weeks of data
// take.
//
// One sidecar follows a single EVE log: there, everything has one order, and everything
// is compared to the byte. Another follows three logs, in each format. Live, the order
// among the records of several sensors is nobody's, and what detectors make of them may
// depend on it; so there the store's list of all connections and their starts is
// compared, which has no order: as long as they are few enough to be in it, all of them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"tidewatch/behavior/state"
	"tidewatch/internal/synth"
)

func main() {
	o := options{out: os.Stdout, daily: memoryLines}
	flag.IntVar(&o.rate, "rate", 10_000, "lines a second, over all logs")
	flag.IntVar(&o.kills, "kills", 200, "kills, at least")
	flag.IntVar(&o.rotations, "rotations", 1000, "rotations, at least")
	flag.DurationVar(&o.last, "for", 5*time.Minute, "how long logs are written, the latency not counted")
	flag.DurationVar(&o.latency, "latency", time.Minute, "how long latency is measured")
	flag.IntVar(&o.weeks, "weeks", 12, "weeks of data over which memory is measured; 0: not")
	flag.StringVar(&o.program, "program", "", "the tidewatch to test; it is built if none is named")
	flag.StringVar(&o.ways, "ways", strings.Join(rotationNames[:], ","), "ways to rotate, with commas")
	flag.StringVar(&o.only, "only", "", "a part alone: \"one\" or \"three\" logs, \"latency\" or \"memory\"")
	flag.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "of the random numbers")
	dir := flag.String("dir", "", "folder to work in, which is kept; a temporary one if none is named")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := o.in(ctx, *dir); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

// options say how much is done.
type options struct {
	rate, kills, rotations int
	weeks, daily           int // of data, and its lines a day, for memory
	last, latency          time.Duration
	program, ways, only    string
	seed                   uint64
	attacks                string // of the made networks; "": each kind
	out                    io.Writer
}

// in runs everything in a folder.
func (o *options) in(ctx context.Context, dir string) (err error) {
	if dir == "" {
		if dir, err = os.MkdirTemp("", "tidewatch-soak-"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	if o.program == "" {
		o.program = filepath.Join(dir, "tidewatch")
		if out, err := exec.CommandContext(ctx, "go", "build", "-o", o.program, "tidewatch/cmd/tidewatch").CombinedOutput(); err != nil {
			return fmt.Errorf("building tidewatch: %w\n%s", err, out)
		}
	}
	if o.attacks == "" {
		o.attacks = "grid"
	}
	var failed error
	for i, k := range o.soaks() {
		if !strings.HasPrefix(k.name, o.only) {
			continue
		}
		failed = errors.Join(failed, k.run(ctx, filepath.Join(dir, fmt.Sprint(i)), rand.New(rand.NewPCG(o.seed, uint64(i)))))
	}
	if o.latency > 0 && failed == nil && strings.HasPrefix("latency", o.only) {
		failed = o.measure(ctx, filepath.Join(dir, "latency"))
	}
	if o.weeks > 0 && failed == nil && strings.HasPrefix("memory", o.only) {
		failed = o.grow(ctx, filepath.Join(dir, "memory"))
	}
	return failed
}

// soak is one sidecar that is killed while it follows some logs.
type soak struct {
	*options
	name    string
	sources []source
	kills   int
	rotate  int // so often each log
	most    int // lines of each log; 0: what the rate makes
}

// soaks returns both.
func (o *options) soaks() []*soak {
	return []*soak{
		{
			options: o, name: "one log, everything compared", sources: []source{{name: "eve.json", format: synth.FormatEVE}},
			kills: (o.kills + 1) / 2, rotate: (o.rotations + 1) / 2,
		},
		{
			options: o, name: "three logs, connections compared", sources: []source{
				{name: "conn.log", format: synth.FormatZeek, logs: []string{"conn"}},
				{name: "streaming.log", format: synth.FormatZeekJSON, logs: []string{"conn"}},
				{name: "eve.json", format: synth.FormatEVE},
			},
			kills: o.kills / 2, rotate: (o.rotations/2 + 2) / 3, most: 40_000,
		},
	}
}

func (k *soak) run(ctx context.Context, dir string, r *rand.Rand) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	fmt.Fprintf(k.out, "%s\n", k.name)
	each := int(k.last.Seconds() / 2 * float64(k.rate) / float64(len(k.sources)))
	if k.most > 0 {
		each = min(each, k.most)
	}
	for i := range k.sources {
		var err error
		if k.sources[i], err = makeSource(dir, k.sources[i], i, each, k.attacks); err != nil {
			return err
		}
	}
	clean, err := k.clean(ctx, filepath.Join(dir, "clean"))
	if err != nil {
		return fmt.Errorf("the clean run: %w", err)
	}
	s, err := newSite(filepath.Join(dir, "killed"), k.program)
	if err != nil {
		return err
	}
	kills, stopped, err := k.suffer(ctx, s, r)
	if err != nil {
		return err
	}
	again, err := s.finish(ctx)
	if err != nil {
		return err
	}
	got, err := s.examine()
	if err != nil {
		return err
	}
	return k.report(s, clean, got, kills, stopped, again)
}

// clean lets a sidecar that nobody kills read the logs as they are in the end.
func (k *soak) clean(ctx context.Context, dir string) (*content, error) {
	s, err := newSite(dir, k.program)
	if err != nil {
		return nil, err
	}
	for _, src := range k.sources {
		if err := copyFile(src.path, s.path("logs/"+src.name)); err != nil {
			return nil, err
		}
	}
	if err := s.configure(k.names()); err != nil {
		return nil, err
	}
	if err := s.start(); err != nil {
		return nil, err
	}
	if err := s.end(ctx, live); err != nil {
		return nil, errors.Join(err, s.kill())
	}
	if err := s.stop(); err != nil {
		return nil, err
	}
	return s.examine()
}

// allowed returns the ways to rotate.
func (o *options) allowed() (ways []rotation) {
	for i, name := range rotationNames {
		if o.ways == "" || slices.Contains(strings.Split(o.ways, ","), name) {
			ways = append(ways, rotation(i))
		}
	}
	return ways
}

func (k *soak) names() (names []string) {
	for _, src := range k.sources {
		names = append(names, src.name)
	}
	return names
}

// suffer writes and rotates the logs, and kills the sidecar meanwhile. It returns how
// often, and how often it lay dead while a log was rotated twice.
func (k *soak) suffer(ctx context.Context, s *site, r *rand.Rand) (kills, stopped int, err error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	if err := s.configure(k.names()); err != nil {
		return 0, 0, err
	}
	mean := k.last / 2 * 4 / 5 / time.Duration(k.kills+1) // starting takes its time too
	for i, src := range k.sources {
		l, err := openLog(s.path("logs/"+src.name), src.path, rand.New(rand.NewPCG(r.Uint64(), uint64(i))))
		if err != nil {
			return 0, 0, err
		}
		if err := l.write(20); err != nil {
			return 0, 0, err
		}
		s.logs = append(s.logs, l)
	}
	// What is rotated away before the first commit of all, nobody can know of.
	if err := errors.Join(s.start(), s.committed(ctx), s.kill()); err != nil {
		return 0, 0, err
	}
	var writers sync.WaitGroup
	ended := make(chan struct{})
	for i, l := range s.logs {
		writers.Go(func() {
			if err := l.play(ctx, int(float64(k.sources[i].lines)/(k.last.Seconds()/2)), k.sources[i].lines, k.rotate, k.allowed()); err != nil {
				stop(fmt.Errorf("%s: %w", filepath.Base(l.path), err))
			}
		})
	}
	go func() { writers.Wait(); close(ended) }()
	for writing := true; (writing || kills < k.kills) && ctx.Err() == nil; {
		if k.kills == 0 {
			return 0, 0, errors.Join(s.leave(ended), context.Cause(ctx))
		}
		if err := s.life(ctx, r, mean, kills%3 == 2); err != nil {
			return kills, stopped, err
		}
		if kills++; kills%8 == 0 {
			stopped += s.rotatedWhileStopped(ctx, ended)
		}
		select {
		case <-ended:
			writing = false
		default:
		}
	}
	writers.Wait()
	return kills, stopped, context.Cause(ctx)
}

// rotatedWhileStopped waits until some log was rotated twice.
func (s *site) rotatedWhileStopped(ctx context.Context, ended <-chan struct{}) int {
	before := s.rotations()
	for {
		for i, n := range s.rotations() {
			if n >= before[i]+2 {
				return 1
			}
		}
		select {
		case <-time.After(writeEvery):
		case <-ended:
			return 0
		case <-ctx.Done():
			return 0
		}
	}
}

// rotations counts them, by log.
func (s *site) rotations() (all []int) {
	for _, l := range s.logs {
		l.mu.Lock()
		all = append(all, l.rotations())
		l.mu.Unlock()
	}
	return all
}

// finish lets the sidecar read what is left, and starts it once more: it returns how
// many records were read then, which must be none.
func (s *site) finish(ctx context.Context) (again uint64, err error) {
	for _, settle := range []func(context.Context, int) error{s.end, s.settle} {
		if err := s.start(); err != nil {
			return 0, err
		}
		if err := settle(ctx, started); err != nil {
			return 0, errors.Join(err, s.kill())
		}
		again = 0
		if st := s.status(); st != nil {
			for _, n := range st.Records {
				again += n
			}
		}
		if err := s.stop(); err != nil {
			return 0, err
		}
	}
	return again, nil
}

// report prints what came out. The error says that it is not what came out of the clean
// run.
func (k *soak) report(s *site, clean, got *content, kills, stopped int, again uint64) error {
	lines, rotations := 0, 0
	var ways [numRotations]int
	for _, l := range s.logs {
		lines += l.count()
		for i, n := range l.rotated {
			ways[i] += n
			rotations += n
		}
	}
	records := 0
	for i, m := range clean.records {
		if len(k.sources) == 1 || state.Section(i) == state.Joined {
			records += len(m)
		}
	}
	var how []string
	for i, n := range ways {
		how = append(how, fmt.Sprintf("%s %d", rotationNames[i], n))
	}
	fmt.Fprintf(k.out, "  %d lines at %.0f a second, %d kills, %d rotations (%s), %d times two of them while it was dead\n",
		lines, float64(lines)/(k.last.Seconds()/2), kills, rotations, strings.Join(how, ", "), stopped)
	fmt.Fprintf(k.out, "  %d findings, %d times one came again under its id; %d lines were cut off by a kill\n", len(got.findings), got.again, got.torn)
	differences := got.compare(clean, len(k.sources))
	if again > 0 {
		differences = append(differences, fmt.Sprintf("%d records were read again by one more start", again))
	}
	if len(differences) == 0 {
		what := "records of state, and all findings,"
		if len(k.sources) > 1 {
			what = "connections"
		}
		fmt.Fprintf(k.out, "  %d %s are those of a clean run: 0 lost, 0 doubled\n", records, what)
		return nil
	}
	return fmt.Errorf("%s: not what a clean run says:\n  %s", k.name, strings.Join(differences, "\n  "))
}
