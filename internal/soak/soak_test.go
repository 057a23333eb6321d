package main

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSoak is the soak in little: the whole takes minutes, and is `make soak`.
func TestSoak(t *testing.T) {
	var said strings.Builder
	o := options{rate: 3000, kills: 8, rotations: 16, last: 8 * time.Second, latency: 2 * time.Second, weeks: 1, daily: 1000, seed: rand.Uint64(), attacks: "story", out: &said}
	dir := t.TempDir()
	if err := o.in(t.Context(), dir); err != nil {
		for _, name := range []string{"0", "1"} {
			b, _ := os.ReadFile(filepath.Join(dir, name, "killed", "said"))
			t.Logf("the sidecar %s said:\n%.8000s", name, b)
		}
		t.Errorf("seed %d: %v", o.seed, err)
	}
	t.Log(said.String())
	if n := strings.Count(said.String(), "0 lost, 0 doubled"); n != 2 && !t.Failed() {
		t.Errorf("%d soaks of 2 say that nothing was lost", n)
	}
}

// What a soak compares must be able to differ.
func TestCompare(t *testing.T) {
	f := func(want int, change func(c *content)) {
		t.Helper()
		var a, b content
		for _, c := range []*content{&a, &b} {
			c.findings = map[string]string{"id": "text"}
			for i := range c.records {
				c.records[i] = map[string][32]byte{"key": {1}}
			}
		}
		change(&b)
		if d := b.compare(&a, 1); len(d) != want {
			t.Errorf("%d differences, want %d: %v", len(d), want, d)
		}
	}
	f(0, func(*content) {})
	f(1, func(c *content) { delete(c.findings, "id") })
	f(1, func(c *content) { c.findings["id"] = "other" })
	f(1, func(c *content) { c.findings["more"] = "text" })
	f(0, func(c *content) { delete(c.records[0], "key") }) // positions
	for i := 1; i < len((&content{}).records); i++ {
		f(1, func(c *content) { delete(c.records[i], "key") })
		f(1, func(c *content) { c.records[i]["key"] = [32]byte{2} })
		f(1, func(c *content) { c.records[i]["more"] = [32]byte{} })
	}
}

// What grows must be told.
func TestGrown(t *testing.T) {
	f := func(grows bool, weeks ...use) {
		t.Helper()
		var said strings.Builder
		o := options{out: &said}
		if err := o.grown(weeks, 100, &log{}); (err != nil) != grows {
			t.Errorf("%v: %v", weeks, err)
		}
	}
	f(false, use{resident: 50, files: 20}, use{resident: 100, files: 22}, use{resident: 104, files: 27})
	f(true, use{resident: 50, files: 20}, use{resident: 100, files: 22}, use{resident: 106, files: 22})
	f(true, use{resident: 100, files: 20}, use{resident: 100, files: 22}, use{resident: 100, files: 28})
}
