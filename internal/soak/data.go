package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"tidewatch/internal/synth"
)

// source is a made log: the lines that a sensor is going to write.
type source struct {
	name   string // of the log
	format string
	logs   []string // of Zeek; nil: all
	days   int      // that the made lines span; 0: one
	path   string   // of the made lines
	lines  int
}

// place gives a network addresses and names that no other one has.
func place(n int) *strings.Replacer {
	return strings.NewReplacer(
		"10.20.", fmt.Sprintf("10.%d.", 100+n), "fd20:", fmt.Sprintf("fd%x:", 0x20+n),
		"198.18.", fmt.Sprintf("45.%d.", 100+2*n), "198.19.", fmt.Sprintf("45.%d.", 101+2*n),
		"2001:db8:", fmt.Sprintf("2a0%d:db8:", n))
}

// makeSource writes about so many lines of the n-th network into dir. Networks with
// different n have no host in common, inside or outside.
func makeSource(dir string, s source, n, lines int, attacks string) (source, error) {
	at := filepath.Join(dir, fmt.Sprint(s.name, ".made"))
	o := synth.Options{Seed: uint64(n + 1), Start: time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC), Hosts: 10 + lines/max(s.days, 1)/100_000, Days: max(s.days, 1), Attacks: attacks}
	if a, err := synth.ActivityFor(o, lines, s.logs...); err == nil {
		o.Activity = a
	} else {
		o.Activity = 0.01 // the fewest there are
	}
	if err := synth.New(o).Write(at, []string{s.format}, s.logs); err != nil {
		return s, err
	}
	defer os.RemoveAll(at)
	file := "conn.log"
	if s.format == synth.FormatEVE {
		file = "eve.json"
	}
	s.path = filepath.Join(dir, s.name+".lines")
	var err error
	s.lines, err = move(filepath.Join(at, file), s.path, n, lines)
	return s, err
}

// move copies a log to another place in the world, at most so many lines.
func move(from, to string, n, most int) (lines int, err error) {
	in, err := os.Open(from)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return 0, err
	}
	w, elsewhere := bufio.NewWriterSize(out, 1<<20), place(n)
	s := bufio.NewScanner(in)
	s.Buffer(make([]byte, 1<<20), 1<<20)
	for s.Scan() && lines < most {
		if bytes.HasPrefix(s.Bytes(), []byte("#")) {
			if bytes.HasPrefix(s.Bytes(), []byte("#close")) {
				break
			}
		} else {
			lines++
		}
		_, _ = elsewhere.WriteString(w, s.Text())
		_ = w.WriteByte('\n')
	}
	return lines, errors.Join(s.Err(), w.Flush(), out.Close())
}
