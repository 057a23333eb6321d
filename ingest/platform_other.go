//go:build !linux

package ingest

import "os"

// Elsewhere identity is device, inode and head, and the live edge is polled.

func bornAt(*os.File) int64               { return 0 }
func descriptorPath(*os.File) string      { return "" }
func nextData(_ *os.File, at int64) int64 { return at }
func links(*os.File) uint64               { return 1 }
func isStale(error) bool                  { return false }
func openPath(f *os.File) string          { return f.Name() }
