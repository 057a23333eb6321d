package disk

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"tidewatch/behavior/state"
	"tidewatch/behavior/storetest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("TIDEWATCH_DISK_CHILD"); dir != "" {
		commitForEver(dir)
	}
	os.Exit(m.Run())
}

// commitForEver is the child of TestKill: each epoch writes its number into each record,
// and says so when it is committed.
func commitForEver(dir string) {
	s, err := Open(dir, Options{})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	epoch := s.epoch
	fmt.Println("open", epoch)
	for {
		epoch++
		if err := s.Commit(context.Background(), uniform(epoch)); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		fmt.Println("committed", epoch)
	}
}

// uniform is a checkpoint in whose every record the epoch stands, from few bytes to more
// than the database takes in one piece.
func uniform(epoch uint64) *state.Checkpoint {
	r := rand.New(rand.NewPCG(epoch, 1))
	c := &state.Checkpoint{Epoch: epoch}
	pad := 10
	if epoch%5 == 0 {
		pad = 40 << 10
	}
	for i := range 500 {
		v := binary.BigEndian.AppendUint64(nil, epoch)
		c.Changed[i%int(state.NumSections)] = append(c.Changed[i%int(state.NumSections)], state.Record{Key: fmt.Appendf(nil, "%d", i), Value: append(v, make([]byte, r.IntN(pad))...)})
	}
	return c
}

// whole checks that a directory holds all records of one epoch.
func whole(t *testing.T, s *Store) uint64 {
	t.Helper()
	n := 0
	var first uint64
	epoch, err := s.Load(t.Context(), func(_ state.Section, r state.Record) error {
		e := binary.BigEndian.Uint64(r.Value)
		if n++; n == 1 {
			first = e
		}
		if e != first {
			return fmt.Errorf("records of epochs %d and %d", first, e)
		}
		return nil
	})
	if err != nil || epoch != first || epoch > 0 && n != 500 {
		t.Fatalf("epoch %d, its records are of %d, %d of them, %v", epoch, first, n, err)
	}
	return epoch
}

// TestKill kills a process at random times while it commits: what was reported is there,
// and whatever is there is whole.
func TestKill(t *testing.T) {
	kills := 25
	if n, err := strconv.Atoi(os.Getenv("TIDEWATCH_KILLS")); err == nil {
		kills = n
	}
	dir, r := filepath.Join(t.TempDir(), "state"), rand.New(rand.NewPCG(uint64(os.Getpid()), 1))
	last, between, opening := uint64(0), 0, 0
	for range kills {
		said, opened := killed(t, dir, r)
		if !opened {
			opening++
		}
		s := reopen(t, dir)
		epoch := whole(t, s)
		if epoch < max(last, said) || epoch > max(last, said)+1 {
			t.Fatalf("epoch %d is there after %d was reported", epoch, max(last, said))
		}
		if epoch > max(last, said) {
			between++ // committed, and not yet said
		}
		last = epoch
		shut(t, s)
	}
	if last < 20 {
		t.Errorf("only %d epochs: the test tests nothing", last)
	}
	t.Logf("%d kills, %d of them while opening, %d between commit and report, %d epochs", kills, opening, between, last)
}

// killed runs a child that commits, kills it, and returns the last epoch it reported.
func killed(t *testing.T, dir string, r *rand.Rand) (said uint64, opened bool) {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), "TIDEWATCH_DISK_CHILD="+dir)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	// The time from the start decides where it dies: it is not waited for anything.
	timer := time.AfterFunc(time.Duration(r.IntN(200))*time.Millisecond, func() { _ = c.Process.Kill() })
	defer timer.Stop()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		what, n, _ := strings.Cut(lines.Text(), " ")
		switch what {
		case "open":
			opened = true
		case "committed":
			said, _ = strconv.ParseUint(n, 10, 64)
		case "error":
			t.Fatal(n)
		}
	}
	_ = c.Wait()
	return said, opened
}

// TestPowerFailure lets go of some of what was not synced yet, at random points: what
// Commit reported is there all the same.
func TestPowerFailure(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 9))
	fs := vfs.NewCrashableMem()
	if err := fs.MkdirAll("data", 0o700); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	db, err := openDatabase("data", fs, log, fresh)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.setEpoch(0, pebble.Sync); err != nil {
		t.Fatal(err)
	}
	var now storetest.Content
	before := now.Clone()
	for epoch := uint64(1); epoch <= 60; epoch++ {
		c := uniform(epoch)
		done := make(chan error, 1)
		during := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: r.IntN(101), RNG: r})
		go func() { done <- db.apply(c, 30<<20) }()
		for range r.IntN(200) { // somewhere in the commit
			_, _ = fs.List("data")
		}
		if epoch%2 == 0 {
			during = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: r.IntN(101), RNG: r})
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		now.Apply(c)
		after := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: r.IntN(101), RNG: r})
		recovered(t, after, map[uint64]*storetest.Content{epoch: &now})
		recovered(t, during, map[uint64]*storetest.Content{epoch - 1: &before, epoch: &now})
		before = now.Clone()
	}
	if err := db.close(); err != nil {
		t.Fatal(err)
	}
}

// recovered opens what a crash left; it must be one of the states.
func recovered(t *testing.T, fs vfs.FS, states map[uint64]*storetest.Content) {
	t.Helper()
	db, err := openDatabase("data", fs, slog.New(slog.DiscardHandler), existing)
	if err != nil {
		t.Fatal(err)
	}
	defer db.close()
	epoch, err := db.readEpoch()
	if err != nil {
		t.Fatal(err)
	}
	var got storetest.Content
	err = db.each(t.Context(), func(section state.Section, r state.Record) error {
		got.Put(section, r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := states[epoch]; want == nil || want.Diff(&got) != "" {
		t.Fatalf("epoch %d is there, and not as it was committed", epoch)
	}
}

// noise returns n bytes that do not compress.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}
