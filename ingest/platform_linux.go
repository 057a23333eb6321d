package ingest

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// bornAt returns when f was created, in Unix nanoseconds, or 0 if the file system
// does not say.
func bornAt(f *os.File) int64 {
	var st unix.Statx_t
	if err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_BTIME, &st); err != nil || st.Mask&unix.STATX_BTIME == 0 {
		return 0
	}
	return st.Btime.Sec*1e9 + int64(st.Btime.Nsec)
}

// descriptorPath returns a path that leads to the open file f, under whatever name
// it is and if it has none. It returns "" where there is no such path, and for file
// systems whose files cannot be relied on to answer: what follows such a path ends
// the process when stat fails, as that of a network's file does when another host
// has removed it.
func descriptorPath(f *os.File) string {
	var st unix.Statfs_t
	if unix.Fstatfs(int(f.Fd()), &st) != nil {
		return ""
	}
	switch uint32(st.Type) {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.TMPFS_MAGIC, unix.OVERLAYFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC, zfsMagic:
	default:
		return ""
	}
	path := fmt.Sprintf("/proc/self/fd/%d", f.Fd())
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}

// openPath returns a path under which the open file f can be opened once more.
func openPath(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }

// zfsMagic is what OpenZFS calls ZFS_SUPER_MAGIC.
const zfsMagic = 0x2fc12fc1

// nextData returns the offset of the first byte at or behind at that is not in a
// hole of f; at itself where that is not known.
func nextData(f *os.File, at int64) int64 {
	n, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
	if err != nil || n < at {
		return at
	}
	return n
}

// links returns how many names f has, or 1 if that cannot be told.
func links(f *os.File) uint64 {
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil {
		return 1
	}
	return uint64(st.Nlink)
}

// isStale reports whether err says that a file of a network is no more.
func isStale(err error) bool { return errors.Is(err, unix.ESTALE) }
