package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidewatch/behavior/state"
	"tidewatch/behavior/storetest"
)

// A directory of an older format is brought up to date step by step, and keeps its
// epoch; a version that knows less refuses it then.
func TestMigration(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	write := func(epoch uint64, steps []step, pairs ...string) {
		t.Helper()
		s, err := open(dir, Options{}, steps, vfs.Default)
		if err != nil {
			t.Fatal(err)
		}
		put(t, s, epoch, pairs...)
		shut(t, s)
	}
	write(7, nil, "a", "one", "b", "gone in format 2")
	two := func(section state.Section, r state.Record) (state.Section, state.Record, error) {
		if bytes.HasPrefix(r.Value, []byte("gone")) {
			r.Value = nil
		}
		return section, state.Record{Key: append([]byte("two-"), r.Key...), Value: r.Value}, nil
	}
	three := func(_ state.Section, r state.Record) (state.Section, state.Record, error) {
		return state.Population, state.Record{Key: r.Key, Value: append([]byte("three-"), r.Value...)}, nil
	}
	failing := func(state.Section, state.Record) (state.Section, state.Record, error) {
		return 0, state.Record{}, errors.New("no record of format 1")
	}
	before := listing(t, dir)
	if _, err := open(dir, Options{}, []step{failing}, vfs.Default); err == nil || !strings.Contains(err.Error(), "bringing format 1 up to date: no record of format 1") {
		t.Errorf("a step that fails: %v", err)
	}
	if after := listing(t, dir); after[filepath.Join(dir, formatName)] != before[filepath.Join(dir, formatName)] || after[filepath.Join(dir, "data-2")] != "" {
		t.Errorf("a step that failed left %v", after)
	}
	s, err := open(dir, Options{}, []step{two, three}, vfs.Default)
	if err != nil {
		t.Fatal(err)
	}
	var want storetest.Content
	want[state.Population] = map[string]string{"two-a": "three-one"}
	if got, epoch := storetest.Read(t, s); epoch != 7 || want.Diff(&got) != "" {
		t.Errorf("epoch %d (-want +got): %s", epoch, want.Diff(&got))
	}
	shut(t, s)
	write(8, []step{two, three}, "c", "3") // each step is taken once
	if _, err := open(dir, Options{}, []step{two}, vfs.Default); !errors.Is(err, ErrNewer) {
		t.Errorf("a version that knows format 2 says of format 3: %v", err)
	}
}

// The directory of format 1 in testdata is read as long as there is a format 1.
func TestFormat1(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	if os.Getenv("TIDEWATCH_WRITE_FIXTURE") != "" {
		writeFixture(t)
	}
	image(t, "testdata/format-1", dir)
	var want storetest.Content
	want.Apply(fixture)
	s := reopen(t, dir)
	if got, epoch := storetest.Read(t, s); epoch != fixture.Epoch || want.Diff(&got) != "" {
		t.Errorf("epoch %d (-want +got): %s", epoch, want.Diff(&got))
	}
	put(t, s, fixture.Epoch+1, "more", "can be written")
	shut(t, s)
}

var fixture = &state.Checkpoint{Epoch: 42, Changed: [state.NumSections][]state.Record{
	state.Positions:  {{Key: []byte("a source"), Value: []byte{1, 2, 3}}},
	state.Entities:   {{Key: []byte("s\x00\x00"), Value: bytes.Repeat([]byte{7}, 500)}},
	state.Population: {{Key: []byte{0xff}, Value: []byte{0}}},
}}

func writeFixture(t *testing.T) {
	dir := "testdata/format-1"
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	s := reopen(t, dir)
	if err := s.Commit(t.Context(), fixture); err != nil {
		t.Fatal(err)
	}
	if err := s.Compact(t.Context()); err != nil { // small files
		t.Fatal(err)
	}
	shut(t, s)
}

// After Compact no byte of what was removed or replaced is left, in any file.
func TestCompactLeavesNoBytes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	s := reopen(t, dir)
	const secret = "SECRET-ENTITY-192.0.2.7"
	for epoch := range uint64(5) {
		put(t, s, epoch+1, secret, fmt.Sprint("SECRET-VALUE ", epoch), "stays", "KEPT-VALUE", "filler", strings.Repeat("z", 5<<20))
	}
	put(t, s, 6, secret, "", "filler", "")
	if !holds(t, dir, "SECRET") {
		t.Error("before Compact nothing is left either: the test tests nothing")
	}
	if err := s.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	if holds(t, dir, "SECRET") {
		t.Error("after Compact the directory still holds what was removed")
	}
	put(t, s, 7, "more", "1")
	shut(t, s)
	got, epoch, err := load(t.Context(), dir)
	if err != nil || epoch != 7 || got[state.Entities]["stays"] != "KEPT-VALUE" || len(got[state.Entities]) != 2 {
		t.Errorf("epoch %d, %v holds %v", epoch, err, got[state.Entities])
	}
}

func holds(t *testing.T, dir, text string) bool {
	t.Helper()
	for _, content := range listing(t, dir) {
		if strings.Contains(content, text) {
			return true
		}
	}
	return false
}

// A Compact that is given up leaves the state as it was, and no second copy.
func TestCompactGivenUp(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	s := reopen(t, dir)
	pairs := []string{}
	for i := range 2 * checkEvery {
		pairs = append(pairs, fmt.Sprint(i), "v")
	}
	put(t, s, 1, pairs...)
	ctx := &endsLater{Context: t.Context()}
	if err := s.Compact(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Compact returned %v", err)
	}
	put(t, s, 2, "a", "1")
	shut(t, s)
	if got, epoch, err := load(t.Context(), dir); err != nil || epoch != 2 || len(got[state.Entities]) != 2*checkEvery+1 {
		t.Errorf("epoch %d with %d records, %v", epoch, len(got[state.Entities]), err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "data-*")); len(left) != 1 {
		t.Errorf("%v are left", left)
	}
}

// endsLater is a context that has ended when it is asked a second time.
type endsLater struct {
	context.Context
	asked int
}

func (e *endsLater) Err() error {
	if e.asked++; e.asked > 1 {
		return context.Canceled
	}
	return nil
}

// The directory does not grow however often entities are written.
func TestSizeIsBounded(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	s := reopen(t, dir)
	noise := noise(1 << 20)
	const entities, size = 4000, 1000 // 4 MB of state
	most, written := int64(0), 0
	for epoch := range uint64(120) {
		c := &state.Checkpoint{Epoch: epoch + 1}
		for i := range entities {
			at := (int(epoch)*7919 + i*131) % (len(noise) - size)
			r := state.Record{Key: fmt.Appendf(nil, "entity %d", i), Value: noise[at : at+size]}
			if i%4 == int(epoch%4) {
				r.Value = nil // entities come and go
			}
			c.Changed[state.Entities] = append(c.Changed[state.Entities], r)
			written += len(r.Value)
		}
		if err := s.Commit(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		most = max(most, bytesIn(t, dir))
	}
	shut(t, s)
	// The log of what is in memory, its copy in tables, and room to merge.
	if limit := int64(160 << 20); most > limit {
		t.Errorf("after %d MB written the directory took up to %d MB, want at most %d", written>>20, most>>20, limit>>20)
	}
	t.Logf("%d MB written, at most %d MB on disk, %d MB in the end", written>>20, most>>20, bytesIn(t, dir)>>20)
}

// bytesIn returns the size of all files in a directory.
func bytesIn(t testing.TB, dir string) (n int64) {
	t.Helper()
	err := filepath.Walk(dir, func(_ string, i os.FileInfo, err error) error {
		if err == nil && !i.IsDir() {
			n += i.Size()
		}
		return nil // files go while we look
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
