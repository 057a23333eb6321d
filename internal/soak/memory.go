package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"tidewatch/internal/synth"
)

const (
	memoryLines  = 20_000  // a day of data
	memoryRate   = 20_000  // lines a second, at most: no more than are read
	memoryLag    = 8 << 20 // bytes that may wait to be read
	memorySample = 100 * time.Millisecond
	// steady is how much more memory the last week may take than the one before: the
	// collector's heap breathes by as much. Open files come and go with rotations, so it
	// is the fewest of a week that must not grow by more than steadyFiles.
	steady      = 1.05
	steadyFiles = 5
)

// use is what a sidecar took in a week of data.
type use struct {
	resident float64 // mean, in MiB
	most     float64
	files    int // open, at least
	samples  int
}

// grow lets a sidecar follow weeks of one network's log, faster than they were, and
// prints what it took in each week. The error says that it took more and more.
func (o *options) grow(ctx context.Context, dir string) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	lines := o.weeks * 7 * o.daily
	src, err := makeSource(dir, source{name: "eve.json", format: synth.FormatEVE, days: o.weeks * 7}, 0, lines, o.attacks)
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
	l, err := openLog(s.path("logs/"+src.name), src.path, rand.New(rand.NewPCG(o.seed, 10)))
	if err != nil {
		return err
	}
	s.logs = []*log{l}
	if err := s.start(); err != nil {
		return err
	}
	if err := s.settle(ctx, live); err != nil {
		return errors.Join(err, s.kill())
	}
	played := make(chan error, 1)
	go func() { played <- l.play(ctx, memoryRate, src.lines, o.weeks*70, o.allowed()) }()
	weeks, err := s.weeks(ctx, l, src.lines, o.weeks, played)
	if err == nil {
		err = s.settle(ctx, live)
	}
	if err != nil {
		return errors.Join(err, s.kill())
	}
	if err := s.stop(); err != nil {
		return err
	}
	return o.grown(weeks, src.lines, l)
}

// weeks measures what a sidecar takes while a log is played.
func (s *site) weeks(ctx context.Context, l *log, lines, n int, played <-chan error) ([]use, error) {
	weeks := make([]use, n)
	tick := time.NewTicker(memorySample)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case err := <-played:
			return weeks, err
		case err := <-s.exited:
			return weeks, fmt.Errorf("the sidecar ended by itself: %v\n%s", err, s.says())
		case <-ctx.Done():
			return weeks, ctx.Err()
		}
		if st := s.status(); st != nil {
			l.hold.Store(lag(st) > memoryLag)
		}
		w := &weeks[min(l.count()*n/lines, n-1)]
		mib := float64(s.resident()) / (1 << 20)
		w.samples++
		w.resident += (mib - w.resident) / float64(w.samples)
		w.most = max(w.most, mib)
		if n := s.openFiles(); w.samples == 1 || n < w.files {
			w.files = n
		}
	}
}

// openFiles counts the sidecar's descriptors.
func (s *site) openFiles() int {
	fds, _ := os.ReadDir(filepath.Join("/proc", fmt.Sprint(s.process.Process.Pid), "fd"))
	return len(fds)
}

// grown prints what each week took, and says whether the last took more than the others.
func (o *options) grown(weeks []use, lines int, l *log) error {
	fmt.Fprintf(o.out, "memory, one EVE log of %d weeks, as fast as it is read\n  %d lines, %d rotations\n", len(weeks), lines, l.rotations())
	for i, w := range weeks {
		fmt.Fprintf(o.out, "  week %d: resident %.0f MiB in the mean, %.0f at most; %d open files at least\n", i+1, w.resident, w.most, w.files)
	}
	if len(weeks) < 3 {
		return nil
	}
	last, before := weeks[len(weeks)-1], weeks[len(weeks)-2]
	if last.resident > before.resident*steady || last.files > before.files+steadyFiles {
		return fmt.Errorf("the last week took more than the one before it: %.0f MiB after %.0f, %d open files after %d", last.resident, before.resident, last.files, before.files)
	}
	return nil
}
