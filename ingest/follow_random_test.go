package ingest

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var seeds = flag.Int("seeds", 10, "how many random schedules TestFollowRandomly tries")

// writer is a sensor with a schedule of its own: it writes, in pieces, and its log is
// rotated in every way that there is.
type writer struct {
	folder
	r       *rand.Rand
	eve     bool
	n       int // records
	rotated int
	began   time.Time // when the present file had its first whole line
	half    string    // the rest of a record that is written in part
	wrote   []string
}

func (w *writer) name() string {
	if w.eve {
		return "eve.json"
	}
	return "conn.log"
}

// write appends some records, the last of them perhaps in part.
func (w *writer) write() {
	var b strings.Builder
	b.WriteString(w.half)
	w.half = ""
	w.begin()
	if info, err := os.Stat(w.path(w.name())); err != nil || info.Size() == 0 {
		if !w.eve {
			fmt.Fprintf(&b, "%s#open\t%d\n", connHeader, w.rotated)
		}
	}
	for range w.r.IntN(40) * w.r.IntN(40) {
		w.n++
		if w.eve {
			w.wrote = append(w.wrote, fmt.Sprint(w.n))
			b.WriteString(eveLine(w.n, w.n))
		} else {
			w.wrote = append(w.wrote, fmt.Sprint("C", w.n))
			b.WriteString(connLine(w.n, fmt.Sprint("C", w.n)))
		}
	}
	text := b.String()
	if w.r.IntN(3) == 0 && len(text) > 100 {
		text, w.half = text[:len(text)-50], text[len(text)-50:]
	}
	w.append(w.name(), text)
	w.touch(w.name())
}

// begin notes that the present file begins now, if it has nothing so far by which a copy
// of it is known.
func (w *writer) begin() {
	data, err := os.ReadFile(w.path(w.name()))
	if err != nil || !fingerprintOf(data[:min(len(data), headSize)]).tells() {
		w.began = time.Now()
	}
}

// touch gives a file the time of the test.
func (w *writer) touch(name string) { w.must(os.Chtimes(w.path(name), time.Time{}, time.Now())) }

// rotate writes out what is begun, and rotates. Suricata may write on to the old file.
func (w *writer) rotate() {
	if _, err := os.Stat(w.path(w.name())); err != nil {
		return
	}
	if w.half != "" {
		w.begin()
	}
	w.append(w.name(), w.half)
	w.touch(w.name())
	w.half = ""
	w.rotated++
	to := fmt.Sprintf("conn.%08d.log", w.rotated)
	if w.eve {
		to = fmt.Sprintf("eve.json.%08d", w.rotated)
	}
	how := w.r.IntN(4)
	w.t.Logf("%v: rotation %d in way %d at record %d", time.Now().Format("05.000"), w.rotated, how, w.n)
	if how > 1 && time.Since(w.began) < 2*scanEvery {
		time.Sleep(2 * scanEvery) // what is gone before anybody has seen it begin is lost
	}
	switch how {
	case 0, 1:
		w.rename(w.name(), to)
	case 2:
		data, err := os.ReadFile(w.path(w.name()))
		w.must(err)
		w.must(os.WriteFile(w.path(to), data, 0o600))
		w.touch(to)
		w.must(os.Truncate(w.path(w.name()), 0))
	case 3:
		data, err := os.ReadFile(w.path(w.name()))
		w.must(err)
		w.must(os.WriteFile(w.path("archive/"+to+".gz"), gz(w.t, string(data)), 0o600))
		w.touch("archive/" + to + ".gz")
		w.must(os.Remove(w.path(w.name())))
	}
}

// Whatever a sensor does to its logs, and whenever tidewatch is killed, each record
// comes once.
func TestFollowRandomly(t *testing.T) {
	for seed := range uint64(*seeds) {
		for _, in := range []Input{{Path: "conn.log"}, {Path: "conn*.log"}, {Path: "eve.json"}} {
			t.Run(fmt.Sprintf("%s, seed %d", in.Path, seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { followRandomly(t, in, seed, newFolder(t), "") })
			})
			if t.Failed() {
				return
			}
		}
	}
}

// followRandomly follows what is written in a folder, by way of another folder that shows
// the same, if there is one.
func followRandomly(t *testing.T, in Input, seed uint64, d folder, by string) {
	r := rand.New(rand.NewPCG(seed, 1))
	w := &writer{folder: d, r: r, eve: strings.HasPrefix(in.Path, "eve")}
	w.must(os.Mkdir(w.path("archive"), 0o700))
	seen := folder{t, cmp.Or(by, d.dir)}
	in.Path, in.StartAt, in.Archives = seen.path(in.Path), StartAtBeginning, []string{seen.path("archive")}
	fr := start(t, nil, in)
	w.write()
	time.Sleep(tick)
	fr.crash(0)
	fr = start(t, fr, in)
	for range 30 {
		switch r.IntN(10) {
		case 0, 1, 2:
			w.write()
		case 3:
			w.rotate()
			time.Sleep(2 * scanEvery) // nobody rotates that often
		case 4:
			w.write()
			w.rotate()
			w.write()
			time.Sleep(2 * scanEvery)
		case 5: // twice, while nobody looks
			fr.crash(r.IntN(4))
			for range 1 + r.IntN(3) {
				w.write()
				w.rotate()
				time.Sleep(time.Duration(r.IntN(2)*r.IntN(10)) * time.Hour)
			}
		case 6:
			fr.crash(r.IntN(4))
		default:
			time.Sleep(time.Duration(r.IntN(3000)) * time.Millisecond)
		}
		if fr.follow == nil {
			fr = start(t, fr, in)
			time.Sleep(2 * scanEvery)
		}
	}
	w.append(w.name(), w.half)
	time.Sleep(3 * time.Minute)
	fr.stop()
	if d := differ(w.wrote, fr.got); d != "" {
		t.Error(d)
	}
}

// On a file system of another host there are no notices of changes, no times of birth,
// and no second way to an open file. One that a program of this host shows is like that,
// too.
func TestFollowOverFUSE(t *testing.T) {
	program, err := exec.LookPath("bindfs")
	if err != nil {
		t.Skip("SKIPPED: bindfs is not installed: run `make deps`")
	}
	for seed := range uint64(4) {
		for _, in := range []Input{{Path: "conn.log"}, {Path: "conn*.log"}, {Path: "eve.json"}} {
			t.Run(fmt.Sprintf("%s, seed %d", in.Path, seed), func(t *testing.T) {
				d, by := newFolder(t), t.TempDir()
				// Nothing is cached: the time of the test is not that of the system.
				out, err := exec.Command(program, "-o", "attr_timeout=0,entry_timeout=0,negative_timeout=0,direct_io", d.dir, by).CombinedOutput()
				if err != nil {
					t.Skipf("SKIPPED: nothing can be mounted here: %v\n%s", err, out)
				}
				defer func() {
					if out, err := exec.Command("umount", by).CombinedOutput(); err != nil {
						t.Errorf("umount: %v\n%s", err, out)
					}
				}()
				d.append("there", "")
				f, err := os.Open(filepath.Join(by, "there"))
				if err != nil {
					t.Fatal(err)
				}
				if p := descriptorPath(f); p != "" {
					t.Errorf("%s: taken for a file system of this host", p)
				}
				f.Close()
				synctest.Test(t, func(t *testing.T) { followRandomly(t, in, seed, d, by) })
			})
		}
	}
}

// differ says which records did not come once: as runs of them.
func differ(wrote, got []string) string {
	count := map[string]int{}
	for _, u := range got {
		count[u]++
	}
	var b strings.Builder
	for i := 0; i < len(wrote); {
		n, j := count[wrote[i]], i
		for j < len(wrote) && count[wrote[j]] == n {
			j++
		}
		if n != 1 {
			fmt.Fprintf(&b, "%s to %s came %d times\n", wrote[i], wrote[j-1], n)
		}
		i = j
	}
	if len(count) > len(wrote) {
		fmt.Fprintf(&b, "%d came that nobody wrote\n", len(count)-len(wrote))
	}
	return b.String()
}

// commit is what a store would have after a sequence.
type commit struct {
	events    int
	positions map[string][]byte
}

// crash ends it, and takes it back to what was committed some sequences ago.
func (fr *follower) crash(back int) {
	fr.stop()
	fr.follow = nil
	fr.t.Logf("%v: crash, %d commits back", time.Now().Format("05.000"), back)
	if len(fr.commits) == 0 {
		return
	}
	c := fr.commits[max(len(fr.commits)-1-back, 0)]
	fr.got, fr.positions, fr.commits = fr.got[:c.events:c.events], maps.Clone(c.positions), []commit{c}
}
