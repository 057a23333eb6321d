// Package shareddata finds the recorded logs that tests and benchmarks read.
// They are not part of the repository: they lie in shared/data beside it.
package shareddata

import (
	"os"
	"path/filepath"
	"testing"
)

// Path returns the path of a file or folder below shared/data. Where the data
// is missing it skips the test, and in CI it fails it.
func Path(t testing.TB, name string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no go.mod above " + dir)
		}
		dir = up
	}
	p := filepath.Join(dir, "..", "shared", "data", filepath.FromSlash(name))
	if _, err := os.Stat(p); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("shared data is missing: %v", err)
		}
		t.Skipf("SKIPPED: shared data is missing: %v", err)
	}
	return p
}
