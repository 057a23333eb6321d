package main

import (
	"fmt"
	"os"
	"sync"
	"time"

	"tidewatch/ingest"
)

// progress shows on a terminal how far the reading is: one line, rewritten. On
// anything else it shows nothing but the lines given to println.
type progress struct {
	out   *os.File
	show  bool
	mu    sync.Mutex // held while writing to out
	shown bool       // a bar stands in the terminal's last line
	end   chan struct{}
	ended sync.WaitGroup
}

const progressEvery = 200 * time.Millisecond

func newProgress(out *os.File) *progress {
	return &progress{out: out, show: width(out) > 0, end: make(chan struct{})}
}

// start draws the bar until stop.
func (p *progress) start(stats func() ingest.Stats) {
	if !p.show {
		return
	}
	began := time.Now()
	p.ended.Go(func() {
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				p.draw(barLine(stats(), time.Since(began), width(p.out)))
			case <-p.end:
				p.draw("")
				return
			}
		}
	})
}

func (p *progress) stop() {
	close(p.end)
	p.ended.Wait()
}

// println prints a whole line above the bar.
func (p *progress) println(s string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	fmt.Fprintln(p.out, s)
}

func (p *progress) draw(s string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	if s != "" {
		fmt.Fprint(p.out, s)
		p.shown = true
	}
}

func (p *progress) erase() {
	if p.shown {
		fmt.Fprint(p.out, "\r\x1b[K")
		p.shown = false
	}
}

// barLine draws how far reading is, for a terminal of so many columns.
func barLine(s ingest.Stats, took time.Duration, columns int) string {
	rate := float64(s.BytesRead) / max(took.Seconds(), 0.001)
	text := fmt.Sprintf(" %s  %s/s", byteCount(s.BytesRead), byteCount(int64(rate)))
	if s.BytesTotal <= 0 { // standard input
		return "reading" + text
	}
	share := min(float64(s.BytesRead)/float64(s.BytesTotal), 1)
	if rate > 0 && took > time.Second {
		left := time.Duration(float64(s.BytesTotal-s.BytesRead)/rate) * time.Second
		text += fmt.Sprintf("  %s left", max(left, 0).Round(time.Second))
	}
	text = fmt.Sprintf(" %3.0f%% of %s%s", 100*share, byteCount(s.BytesTotal), text)
	room := min(columns-len(text)-3, 40)
	if room < 5 {
		return text
	}
	bar := make([]byte, room)
	for i := range bar {
		bar[i] = ' '
		if float64(i) < share*float64(room) {
			bar[i] = '='
		}
	}
	return "[" + string(bar) + "]" + text
}

// byteCount writes n bytes with a binary unit and three digits.
func byteCount(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	v, units := float64(n), "KMGTP"
	i := -1
	for v >= 1024 && i < len(units)-1 {
		v /= 1024
		i++
	}
	digits := 2
	if v >= 10 {
		digits = 1
	}
	if v >= 100 {
		digits = 0
	}
	return fmt.Sprintf("%.*f %ciB", digits, v, units[i])
}
