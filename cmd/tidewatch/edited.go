package main

import (
	"context"
	"fmt"
	"hash/fnv"
	"io/fs"
	"path/filepath"
	"strings"
	"time"
)

// edited tells when the files of rules in some folders have changed, until ctx ends. It
// looks every so often, and waits until two looks in a row see the same: who writes several
// files is done then.
func edited(ctx context.Context, folders []string, every time.Duration) <-chan struct{} {
	if every == 0 || len(folders) == 0 {
		return nil
	}
	changes := make(chan struct{}, 1)
	told := look(folders) // what was read is about that old
	go func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		before := told
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			now := look(folders)
			if now != told && now == before {
				told = now
				select {
				case changes <- struct{}{}:
				default: // one that is not taken yet stands for this one, too
				}
			}
			before = now
		}
	}()
	return changes
}

// look returns a hash of the names, sizes and times of the files of rules in folders.
func look(folders []string) uint64 {
	h := fnv.New64a()
	for _, dir := range folders {
		// What cannot be read counts as not there: reading the rules says what is wrong.
		_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".toml") {
				return nil
			}
			if info, err := d.Info(); err == nil {
				fmt.Fprintf(h, "%q %d %d\n", path, info.Size(), info.ModTime().UnixNano())
			}
			return nil
		})
	}
	return h.Sum64()
}
