package ingest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tidewatch/event"
)

// follower runs a Follow and keeps what it gives, and the positions, as a store
// would after each sequence.
type follower struct {
	t         testing.TB
	follow    *Follow
	got       []string // uids
	positions map[string][]byte
	commits   []commit
	clock     int64
	cancel    context.CancelFunc
	done      chan struct{}
}

// start follows inputs from the positions of before, which may be nil.
func start(t testing.TB, before *follower, inputs ...Input) *follower {
	t.Helper()
	if records := time.Unix(1_700_100_000, 0); time.Now().Before(records) {
		time.Sleep(time.Until(records)) // a record is never later than now
	}
	fr := &follower{t: t, positions: map[string][]byte{}, done: make(chan struct{})}
	o := FollowOptions{Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	if before != nil {
		fr.positions = maps.Clone(before.positions)
		fr.got, fr.commits = before.got, before.commits
		for _, k := range slices.Sorted(maps.Keys(before.positions)) {
			o.Positions = append(o.Positions, event.Position{Key: k, Value: before.positions[k]})
		}
	}
	f, err := NewFollow(inputs, o)
	if err != nil {
		t.Fatal(err)
	}
	fr.follow = f
	ctx, cancel := context.WithCancel(context.Background())
	fr.cancel = cancel
	go fr.run(ctx)
	return fr
}

func (fr *follower) run(ctx context.Context) {
	defer close(fr.done)
	pool := event.NewSequencePool(2, 512)
	for {
		s := <-pool
		err := fr.follow.Fill(ctx, s)
		for _, ev := range s.Events {
			fr.got = append(fr.got, strings.Clone(ev.UID))
		}
		if s.Clock < fr.clock {
			fr.t.Errorf("the clock went back from %d to %d", fr.clock, s.Clock)
		}
		fr.clock = s.Clock
		for _, p := range s.Positions {
			if len(p.Value) == 0 {
				delete(fr.positions, p.Key)
			} else {
				fr.positions[p.Key] = p.Value
			}
		}
		fr.commits = append(fr.commits, commit{len(fr.got), maps.Clone(fr.positions)})
		s.Share(1)
		s.Release()
		if err != nil {
			return
		}
	}
}

// stop ends it and returns it, for start.
func (fr *follower) stop() *follower {
	fr.cancel()
	<-fr.done
	fr.follow.Close()
	for _, in := range fr.follow.inputs {
		for _, t := range in.trails {
			for _, gs := range [][]*generation{t.gens, t.old, t.shown} {
				if slices.ContainsFunc(gs[len(gs):cap(gs)], func(g *generation) bool { return g != nil }) {
					fr.t.Errorf("%s: a file that is over is kept in memory", t.path)
				}
			}
		}
	}
	time.Sleep(2 * pollEvery) // the tailer's watcher sleeps out
	return fr
}

// want compares what came since the last call.
func (fr *follower) want(uids ...string) {
	fr.t.Helper()
	synctest.Wait()
	if d := cmp.Diff(uids, fr.got); d != "" {
		fr.t.Errorf("(-want +got):\n%s", d)
	}
	fr.got = nil
}

// folder is where a sensor writes.
type folder struct {
	t   testing.TB
	dir string
}

func newFolder(t testing.TB) folder { return folder{t, t.TempDir()} }

func (d folder) path(name string) string { return filepath.Join(d.dir, name) }

func (d folder) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

// append writes to the end of a file, which it makes if there is none.
func (d folder) append(name, text string) {
	d.t.Helper()
	f, err := os.OpenFile(d.path(name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	d.must(err)
	_, err = io.WriteString(f, text)
	d.must(err)
	d.must(f.Close())
}

func (d folder) rename(from, to string) {
	d.t.Helper()
	d.must(os.Rename(d.path(from), d.path(to)))
}

// conns returns records of conn.log with the uids.
func conns(ms int, uids ...string) string {
	var b strings.Builder
	for i, u := range uids {
		b.WriteString(connLine(ms+i, u))
	}
	return b.String()
}

// tick is longer than any look at a file takes to come.
const tick = 1500 * time.Millisecond

func TestFollowGrowingFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFolder(t)
		fr := start(t, nil, Input{Path: d.path("conn.log")})
		time.Sleep(tick) // there is no file yet
		fr.want()
		d.append("conn.log", connHeader+conns(0, "a", "b"))
		time.Sleep(tick)
		fr.want("a", "b")
		d.append("conn.log", conns(2, "c"))
		time.Sleep(200 * time.Millisecond)
		fr.want("c")
		line := conns(3, "d")
		d.append("conn.log", line[:10])
		time.Sleep(tick)
		fr.want()
		d.append("conn.log", line[10:]+conns(4, "e"))
		time.Sleep(tick)
		fr.want("d", "e")
		before := fr.stop()
		d.append("conn.log", conns(5, "f"))
		fr = start(t, before, Input{Path: d.path("conn.log")})
		time.Sleep(tick)
		fr.want("f")
		fr.stop()
	})
}

func TestFollowStartsAt(t *testing.T) {
	f := func(at string, want ...string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			d := newFolder(t)
			half := conns(2, "c")
			d.append("conn.log", connHeader+conns(0, "a", "b")+half[:20])
			fr := start(t, nil, Input{Path: d.path("conn*.log"), StartAt: at})
			time.Sleep(tick)
			d.append("conn.log", half[20:])
			d.append("conn.2.log", connHeader+conns(3, "d"))
			time.Sleep(2 * tick)
			fr.want(want...)
			fr.stop()
		})
	}
	f("", "c", "d")
	f(StartAtEnd, "c", "d")
	f(StartAtBeginning, "a", "b", "c", "d")
}

// Of many files that a pattern matches, those that nobody has written to for long are not
// opened until they grow, and are known all the same: by this run and the next.
func TestFollowSleepers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFolder(t)
		in := Input{Path: d.path("eve-*.json")}
		name := func(i int) string { return fmt.Sprintf("eve-%02d.json", i) }
		for i := range 40 {
			d.append(name(i), eveLine(i, i))
		}
		opened := func(fr *follower) int {
			synctest.Wait()
			return len(fr.follow.inputs[0].open)
		}
		old := time.Unix(1_700_100_000, 0).Add(-time.Hour) // before the clock of start
		for i := range 39 {
			d.must(os.Chtimes(d.path(name(i)), old, old))
		}
		now := old.Add(time.Hour)
		d.must(os.Chtimes(d.path(name(39)), now, now))
		fr := start(t, nil, in)
		time.Sleep(tick)
		if n := opened(fr); n != 1 {
			t.Errorf("%d files are open", n)
		}
		if n := len(fr.positions); n != 40 {
			t.Errorf("%d files are known to the store", n)
		}
		d.append(name(5), eveLine(100, 100))
		time.Sleep(tick)
		fr.want("100")
		if n := opened(fr); n != 2 {
			t.Errorf("%d files are open after one has grown", n)
		}
		before := fr.stop()
		for i := range 40 {
			d.must(os.Chtimes(d.path(name(i)), old, old))
		}
		d.append(name(7), eveLine(101, 101))
		d.must(os.Chtimes(d.path(name(7)), time.Now(), time.Now()))
		fr = start(t, before, in)
		time.Sleep(tick)
		fr.want("101")
		if n := opened(fr); n != 1 {
			t.Errorf("%d files are open after a restart", n)
		}
		d.append(name(5), eveLine(102, 102))
		time.Sleep(tick)
		d.append(name(9), eveLine(103, 103))
		time.Sleep(tick)
		fr.want("102", "103")
		for i := range 30 { // somebody tidies up
			d.must(os.Remove(d.path(name(i))))
		}
		time.Sleep(loseAfter + time.Minute)
		synctest.Wait()
		if n := len(fr.positions); n != 10+3 { // three were open
			t.Errorf("%d files are known after 30 of 40 were removed", n)
		}
		for _, s := range fr.follow.Sources() {
			if s.Lost > 0 {
				t.Errorf("%s: lost", s.Path)
			}
		}
		fr.stop()
	})
}

// A log that came and went while nobody looked is packed up in the moment in which it is
// found: it is looked for once more. Until then nothing that comes after it is known to
// the store: the next run, if this one ends, looks for it too.
func TestFollowPackedMeanwhile(t *testing.T) {
	defer func() { listed = nil }()
	started := func(in *fileInput) bool {
		gens := in.trails[in.Path].gens
		return gens[len(gens)-1].started
	}
	f := func(lookByHand bool) {
		synctest.Test(t, func(t *testing.T) {
			d := newFolder(t)
			in := Input{Path: d.path("conn.log"), StartAt: StartAtBeginning}
			open := func(hour int) string { return fmt.Sprintf("%s#open\t2026-11-24-%d-00-00\n", connHeader, hour) }
			d.append("conn.log", open(12)+conns(0, "a", "b"))
			fr := start(t, nil, in)
			time.Sleep(tick)
			fr.want("a", "b")
			before := fr.stop()
			d.rename("conn.log", "conn.2026-11-24-12-00-00.log")
			d.append("conn.log", open(13)+conns(10, "c"))
			d.rename("conn.log", "conn.2026-11-24-13-00-00.log")
			d.append("conn.log", open(14)+conns(20, "d"))
			looks := 0
			listed = func() {
				if looks++; looks > 1 {
					return
				}
				name := d.path("conn.2026-11-24-13-00-00.log")
				data, err := os.ReadFile(name)
				d.must(err)
				d.must(os.Remove(name))
				d.must(os.WriteFile(name+".gz", gz(t, string(data)), 0o600))
			}
			if lookByHand {
				o := FollowOptions{}
				for key, value := range before.positions {
					o.Positions = append(o.Positions, event.Position{Key: key, Value: value})
				}
				follow, err := NewFollow([]Input{in}, o)
				d.must(err)
				defer follow.Close()
				for look := range 2 {
					follow.inputs[0].scan(follow.ctx, look == 0)
					if started(follow.inputs[0]) != (look > 0) {
						t.Errorf("look %d: what comes after it is known: %v", look, look == 0)
					}
				}
				return
			}
			fr = start(t, before, in)
			time.Sleep(5 * tick)
			fr.want("c", "d")
			if looks < 2 {
				t.Errorf("%d looks", looks)
			}
			fr.stop()
		})
	}
	f(false)
	f(true)
}

// Logs came and went while it was down: for days, or since the last one had its first
// byte. What was known of that one when it went down is what they are told by, not what
// it has become.
func TestFollowAfterOutage(t *testing.T) {
	open := func(hour int) string { return fmt.Sprintf("%s#open\t2026-11-24-%d-00-00\n", connHeader, hour) }
	f := func(name, before string, outage func(d folder), want ...string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newFolder(t)
				in := Input{Path: d.path("conn.log"), StartAt: StartAtBeginning}
				d.append("conn.log", before)
				fr := start(t, nil, in)
				time.Sleep(tick)
				synctest.Wait()
				fr.got = nil
				stopped := fr.stop()
				outage(d)
				time.Sleep(72 * time.Hour)
				fr = start(t, stopped, in)
				time.Sleep(5 * tick)
				fr.want(want...)
				fr.stop()
			})
		})
	}
	// The files' times are those of the test's clock.
	rotate := func(d folder, to string) {
		d.rename("conn.log", to)
		d.must(os.Chtimes(d.path(to), time.Now(), time.Now()))
		time.Sleep(time.Hour)
	}
	cut := func(d folder, to string) {
		data, err := os.ReadFile(d.path("conn.log"))
		d.must(err)
		d.must(os.WriteFile(d.path(to), data, 0o600))
		d.must(os.Chtimes(d.path(to), time.Now(), time.Now()))
		d.must(os.Truncate(d.path("conn.log"), 0))
		time.Sleep(time.Hour)
	}
	f("renamed, for days", open(12)+conns(0, "a"), func(d folder) {
		d.append("conn.log", conns(1, "b"))
		rotate(d, "conn.12.log")
		d.append("conn.log", open(13)+conns(10, "c"))
		rotate(d, "conn.13.log")
		d.append("conn.log", open(14)+conns(20, "d"))
		rotate(d, "conn.14.log")
		d.append("conn.log", open(15)+conns(30, "e"))
	}, "b", "c", "d", "e")
	f("empty when it went down, then cut off and renamed", "", func(d folder) {
		d.append("conn.log", open(12)+conns(0, "a"))
		cut(d, "conn.12.log")
		d.append("conn.log", open(13)+conns(10, "b"))
		rotate(d, "conn.13.log")
		d.append("conn.log", open(14)+conns(20, "c"))
	}, "a", "b", "c")
	f("empty when it went down, then renamed twice", "", func(d folder) {
		d.append("conn.log", open(12)+conns(0, "a"))
		rotate(d, "conn.12.log")
		d.append("conn.log", open(13)+conns(10, "b"))
		rotate(d, "conn.13.log")
		d.append("conn.log", open(14)+conns(20, "c"))
	}, "a", "b", "c")
	f("empty when it went down, then cut off", "", func(d folder) {
		d.append("conn.log", open(12)+conns(0, "a"))
		cut(d, "conn.12.log")
		d.append("conn.log", open(13)+conns(10, "b"))
		cut(d, "conn.13.log")
		d.append("conn.log", open(14)+conns(20, "c"))
	}, "a", "b", "c")
}

func TestFollowRotations(t *testing.T) {
	f := func(name string, rotate func(d folder), want ...string) {
		t.Helper()
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, restart %v", name, restart), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					d := newFolder(t)
					in := Input{Path: d.path("conn.log"), StartAt: StartAtBeginning, Archives: []string{d.path("archive")}}
					d.must(os.Mkdir(d.path("archive"), 0o700))
					d.append("conn.log", connHeader+conns(0, "a", "b"))
					fr := start(t, nil, in)
					time.Sleep(tick)
					fr.want("a", "b")
					if restart {
						before := fr.stop()
						rotate(d)
						fr = start(t, before, in)
					} else {
						rotate(d)
					}
					time.Sleep(5 * tick)
					if strings.HasPrefix(name, "late") || strings.HasPrefix(name, "no line") {
						synctest.Wait()
						slices.Sort(fr.got) // what comes late may come after the successor
					}
					fr.want(want...)
					before := fr.stop() // what is known twice is not read twice
					fr = start(t, before, in)
					time.Sleep(5 * tick)
					fr.want()
					fr.stop()
				})
			})
		}
	}
	header2 := connHeader + "#open\t2026-11-24-13-00-00\n"
	f("rename and create", func(d folder) {
		d.append("conn.log", conns(2, "c"))
		d.rename("conn.log", "conn.2026-11-24-13-00-00.log")
		d.append("conn.log", header2+conns(10, "d"))
	}, "c", "d")
	f("rename alone", func(d folder) {
		d.append("conn.log", conns(2, "c"))
		d.rename("conn.log", "conn.log.1")
	}, "c")
	f("late writes", func(d folder) {
		d.rename("conn.log", "conn.log.1")
		d.append("conn.log", header2+conns(10, "d"))
		time.Sleep(2 * time.Second)
		d.append("conn.log.1", conns(2, "c"))
	}, "c", "d")
	f("no line break at the end", func(d folder) {
		d.append("conn.log", strings.TrimSuffix(conns(2, "c"), "\n"))
		d.rename("conn.log", "conn.log.1")
		d.append("conn.log", header2+conns(10, "d"))
	}, "c", "d")
	f("twice", func(d folder) {
		d.append("conn.log", conns(2, "c"))
		d.rename("conn.log", "conn.log.2")
		d.append("conn.log", header2+conns(10, "d"))
		d.rename("conn.log", "conn.log.1")
		d.append("conn.log", connHeader+"#open\t2026-11-24-14-00-00\n"+conns(20, "e"))
	}, "c", "d", "e")
	f("copy and truncate", func(d folder) {
		d.append("conn.log", conns(2, "c"))
		data, err := os.ReadFile(d.path("conn.log"))
		d.must(err)
		d.must(os.WriteFile(d.path("conn.log.1"), data, 0o600))
		d.must(os.Truncate(d.path("conn.log"), 0))
		d.append("conn.log", header2+conns(10, "d"))
	}, "c", "d")
	f("grown again beyond the offset", func(d folder) {
		data, err := os.ReadFile(d.path("conn.log"))
		d.must(err)
		d.must(os.WriteFile(d.path("conn.log.1"), data, 0o600))
		d.must(os.Truncate(d.path("conn.log"), 0))
		d.append("conn.log", header2+conns(10, "d", "e", "f", "g", "h"))
	}, "d", "e", "f", "g", "h")
	f("packed up and removed", func(d folder) {
		if !strings.Contains(d.t.Name(), "restart_true") { // an open file needs none of it
			d.append("conn.log", conns(2, "c"))
			d.must(os.Remove(d.path("conn.log")))
		} else {
			data, err := os.ReadFile(d.path("conn.log"))
			d.must(err)
			d.must(os.WriteFile(d.path("archive/conn.13:00:00-14:00:00.log.gz"), gz(d.t, string(data)+conns(2, "c")), 0o600))
			d.must(os.Remove(d.path("conn.log")))
		}
		d.append("conn.log", header2+conns(10, "d"))
	}, "c", "d")
	f("twice, packed up", func(d folder) {
		if !strings.Contains(d.t.Name(), "restart_true") {
			d.append("conn.log", conns(2, "c", "d", "e"))
			return
		}
		data, err := os.ReadFile(d.path("conn.log"))
		d.must(err)
		d.must(os.WriteFile(d.path("archive/conn.13:00:00-14:00:00.log.gz"), gz(d.t, string(data)+conns(2, "c")), 0o600))
		d.must(os.WriteFile(d.path("archive/conn.14:00:00-15:00:00.log.gz"), gz(d.t, header2+conns(10, "d")), 0o600))
		d.must(os.Remove(d.path("conn.log")))
		d.append("conn.log", connHeader+"#open\t2026-11-24-14-00-00\n"+conns(20, "e"))
	}, "c", "d", "e")
}
