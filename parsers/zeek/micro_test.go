package zeek

import (
	"encoding/json"
	"fmt"
	gojson "github.com/goccy/go-json"
	"os"
	"runtime"
	"syscall"
	"testing"
	"tidewatch/event"
	"tidewatch/internal/shareddata"
	"tidewatch/parsers"
)

func cpu() int64 {
	var u syscall.Rusage
	syscall.Getrusage(1, &u)
	return u.Utime.Nano() + u.Stime.Nano()
}

func best(n int, f func()) float64 {
	b := int64(1 << 62)
	for range n {
		t := cpu()
		f()
		if d := cpu() - t; d < b {
			b = d
		}
	}
	return float64(b)
}

func passes(lines [][]byte, p func() parsers.Parser) func() {
	pool := event.NewPool(2, 1024, 1<<20)
	return func() {
		q := p()
		for range 4 {
			batch := <-pool
			for _, line := range lines {
				ev, own := batch.Add(line)
				if ev == nil {
					batch.Release()
					batch = <-pool
					ev, own = batch.Add(line)
				}
				if q.Parse(batch, ev, own) != nil {
					batch.Drop()
				}
			}
			batch.Release()
		}
	}
}

func TestMicro(t *testing.T) {
	mode := os.Getenv("MICRO")
	if mode == "" {
		t.Skip()
	}
	runtime.LockOSThread()
	if mode == "tsv" || mode == "all" {
		for _, l := range tsvLogs {
			data := readLog(t, shareddata.Path(t, l.path))
			lines := logLines(data)
			if l.name == "conn" {
				for range 4 {
					lines = append(lines, lines...)
				}
				data = make([]byte, len(data)*16)
			}
			offsets := make([]int, 64)
			a := best(12, func() {
				for range 4 {
					for _, line := range lines {
						offsets = tabSplit(line, offsets[:0])
					}
				}
			})
			b := best(12, passes(lines, func() parsers.Parser { return NewTSV(parsers.Options{}) }))
			sz := float64(4*len(data)) * 1000
			fmt.Printf("%s split %.0f ours %.0f MB/s ratio %.3f\n", l.name, sz/a, sz/b, a/b)
		}
	}
	if mode == "json" || mode == "all" {
		for _, name := range []string{"dns", "ssl"} {
			data := readLog(t, shareddata.Path(t, "zeek/wrccdc/"+name+".json.gz"))
			lines := logLines(data)
			sz := float64(len(data)) * 1000
			ours := passes(lines, func() parsers.Parser { return NewJSON(parsers.Options{}) })
			riv := func(un func([]byte, any) error) func() {
				return func() {
					for _, line := range lines {
						if name == "dns" {
							var r rivalDNS
							un(line, &r)
						} else {
							var r rivalTLS
							un(line, &r)
						}
					}
				}
			}
			enc, goc := riv(json.Unmarshal), riv(func(l []byte, v any) error { return gojson.Unmarshal(l, v) })
			a, e, g := 1e18, 1e18, 1e18
			for range 10 {
				a = min(a, best(1, ours)/4)
				g = min(g, best(2, goc))
			}
			e = best(3, enc)
			fmt.Printf("%s ours %.0f enc %.0f goccy %.0f  x%.2f x%.2f\n", name, sz/a, sz/e, sz/g, e/a, g/a)
		}
	}
}
