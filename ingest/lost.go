package ingest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// maxCandidates bounds how many files are looked into for the rest of a log.
	maxCandidates = 1024
	// clockSlack is by how much, in seconds, the clock of a sensor may be ahead of that of
	// the file system. What begins at a time was not written before.
	clockSlack = 24 * 3600
	// hopeful is how long the rest of a log is looked for each time that patterns are
	// expanded; later it is every seldom: archives may have ten thousand files.
	hopeful = 10 * time.Second
	seldom  = 10 * time.Second
)

// search looks for the rest of files that are gone from where they were: renamed,
// copied, packed up while nobody looked.
func (in *fileInput) search() {
	for _, key := range slices.Sorted(maps.Keys(in.known)) {
		r := in.known[key]
		if r.seen || r.pos.Done {
			continue
		}
		if r.lost.IsZero() {
			r.lost, r.size = time.Now(), -1
		}
		if time.Since(r.lost) > hopeful && time.Since(r.sought) < seldom {
			continue
		}
		r.sought = time.Now()
		if g := in.find(r); g != nil {
			delete(in.known, key)
			in.follow.log.Info("found the rest of a rotated log", "path", printable(r.pos.Path), "in", printable(g.path), "offset", r.pos.Offset)
			in.adopt(g)
		} else if time.Since(r.lost) >= loseAfter {
			in.giveUp(r)
		}
	}
}

// giveUp forgets a file whose rest is not found, and says so where there is or may
// be one.
func (in *fileInput) giveUp(r *record) {
	delete(in.known, r.key)
	in.pending = append(in.pending, r.key)
	if r.ran && r.unread == 0 {
		return
	}
	in.trail(r.pos.Path).loss()
	in.follow.log.Error("a log was removed before it was read to its end: what it had more is lost",
		"path", printable(r.pos.Path), "read", r.pos.Offset, "unread_at_least", r.unread,
		"hint", "name the folder that rotated logs are moved to in archives")
}

// candidate is a file that may be an earlier one of a trail.
type candidate struct {
	path  string
	mtime time.Time
	key   fileKey
	first int64
}

// candidates returns the files that a log called path may have been rotated to, the
// latest first.
func (in *fileInput) candidates(path string) []candidate {
	dirs := []string{filepath.Dir(path)}
	if real, err := filepath.EvalSymlinks(dirs[0]); err == nil && real != dirs[0] {
		dirs = append(dirs, real)
	}
	for _, a := range in.Archives {
		matches, _ := filepath.Glob(a)
		dirs = append(dirs, matches...)
	}
	var cs []candidate
	seen := map[fileKey]bool{}
	for _, dir := range dirs {
		entries, _ := os.ReadDir(dir) // what there is of it, if it fails
		for _, e := range entries {
			p := filepath.Join(dir, e.Name())
			if p == path || !isRotatedName(filepath.Base(path), e.Name()) {
				continue
			}
			info, err := os.Stat(p)
			if err != nil || !info.Mode().IsRegular() || seen[keyOf(info)] {
				continue
			}
			seen[keyOf(info)] = true
			cs = append(cs, candidate{path: p, mtime: info.ModTime(), key: keyOf(info)})
		}
	}
	slices.SortFunc(cs, func(a, b candidate) int {
		return cmp.Or(b.mtime.Compare(a.mtime), strings.Compare(a.path, b.path))
	})
	return cs[:min(len(cs), maxCandidates)]
}

// find looks for the rest of a file that was read up to r.
func (in *fileInput) find(r *record) *generation {
	for _, c := range in.candidates(r.pos.Path) {
		if c.mtime.Unix() < r.pos.First/1e9-clockSlack {
			break
		}
		if in.open[c.key] != nil {
			continue
		}
		if g := in.continues(r, c); g != nil {
			return g
		}
	}
	return nil
}

// continues opens a candidate if it is the file of r, a copy of it, or packs it.
func (in *fileInput) continues(r *record, c candidate) *generation {
	file, err := os.Open(c.path)
	if err != nil {
		in.problem(c.path, err)
		return nil
	}
	id, info, err := identify(file)
	var head []byte
	packed := false
	if err == nil {
		head, packed, err = unpackedHead(file)
	}
	p := &r.pos
	fits := err == nil && p.Head.fits(head) && (packed || info.Size() >= p.Offset) &&
		(!packed && p.ID.same(id) && !in.isLater(r, id) || p.Head.tells() && !blank(head[:p.Head.n]))
	if !fits {
		file.Close()
		return nil
	}
	if !packed {
		return in.resume(r, file, id, info, head, c.path)
	}
	g := in.generation(r.key, *p, file, info, c.path)
	g.packed, g.id = true, id
	g.after(r)
	g.head.print = p.Head
	return g
}

// isLater reports whether the file has been another one since r: it was cut off where
// it is, and what it has is not r's.
func (in *fileInput) isLater(r *record, id identity) bool {
	for _, o := range in.known {
		if o != r && o.pos.ID.dev == id.dev && o.pos.ID.same(id) {
			return true
		}
	}
	return in.open[id.fileKey] != nil
}

// unpackedHead returns the beginning of a file, unpacked if it is packed.
func unpackedHead(file *os.File) (head []byte, packed bool, err error) {
	head, err = readHead(file)
	packed = bytes.HasPrefix(head, []byte{0x1f, 0x8b}) || isZstd(head)
	if err != nil || !packed {
		return head, packed, err
	}
	var in input
	defer in.close()
	var ignored atomic.Int64
	r, err := in.open(context.Background(), File{Path: file.Name()}, &ignored)
	if err != nil {
		return nil, true, err
	}
	head = make([]byte, headSize)
	n, err := io.ReadFull(r, head)
	if err == io.ErrUnexpectedEOF || err == io.EOF {
		err = nil
	}
	return head[:n], true, err
}

// bridge puts files into a trail that came and went between its last two: it was
// rotated twice while nobody looked. They are those of its rotated names that begin
// later than the last one that is known; if that has no record, those that were
// written since.
//
// One that is gone when it is opened was moved or packed up in this moment: it is looked
// for again, from where this look began, whatever is rotated meanwhile.
func (in *fileInput) bridge(t *trail) {
	before := t.since
	if t.since = nil; before == nil {
		before = in.newest(t)
	}
	if before == nil {
		return
	}
	var between []candidate
	candidates := in.candidates(t.path)
	if listed != nil {
		listed()
	}
	// When the last one was looked at says nothing, after a night in which nobody looked.
	written := before.First/1e9 - clockSlack
	if before.First == 0 {
		written = before.Updated - 1
	}
	for _, c := range candidates {
		if c.mtime.Unix() < written {
			break
		}
		if in.open[c.key] != nil || in.claims(c.path) || in.isKnown(t, c.path) {
			t.again(c, before)
			continue
		}
		if first, ok := in.peeker.beginning(c.path); ok && first >= before.First {
			c.first = first
			between = append(between, c)
		} else if !ok {
			t.again(c, before)
		}
	}
	slices.SortStableFunc(between, func(a, b candidate) int { return cmp.Compare(a.first, b.first) })
	for _, c := range between {
		if g := in.missed(t, c); g != nil {
			in.follow.log.Info("found a log that came and went unseen", "path", printable(t.path), "in", printable(c.path))
			in.adopt(g)
		} else {
			t.again(c, before)
		}
	}
}

// listed, unless nil, is called by bridge between listing files and opening them: tests
// move them then.
var listed func()

// again makes the next look begin where this one did, if a candidate is gone.
func (t *trail) again(c candidate, before *filePosition) {
	if _, err := os.Stat(c.path); errors.Is(err, fs.ErrNotExist) {
		since := *before
		t.gap, t.since = true, &since
	}
}

// recollect makes the first look of each trail begin where the last run stood: a file
// that had nothing then may be another one now, and is looked at now.
func (in *fileInput) recollect() {
	for _, key := range slices.Sorted(maps.Keys(in.known)) {
		p := in.known[key].pos
		if t := in.trail(p.Path); p.later(t.since) {
			t.since, t.last = &p, key
		}
	}
}

// doubt marks the trails in which files may have come and gone before the first look: all
// but those whose last file is still where it was. One that had nothing to be told by may
// be another one.
func (in *fileInput) doubt() {
	for path, t := range in.trails {
		t.gap = true
		if t.since == nil || !t.since.Head.tells() {
			continue
		}
		if r := in.known[t.last]; r != nil && r.at == path && len(t.gens) == 0 {
			delete(in.trails, path) // it is asleep
			continue
		}
		for _, g := range t.gens {
			if g.feed.key == t.last && g.path == path {
				t.gap, t.since = false, nil
			}
		}
	}
}

// newest returns the position of the latest file of a trail before the one that its
// path leads to.
func (in *fileInput) newest(t *trail) *filePosition {
	var best *filePosition
	for _, r := range in.known {
		if r.pos.Path == t.path && r.pos.later(best) {
			best = &r.pos
		}
	}
	for _, g := range slices.Concat(t.gens, t.old) {
		if p := g.place(); g.fate.Load() != present && p.later(best) {
			best = &p
		}
	}
	return best
}

// later reports whether a file begins later than another, which may be nil. Of those
// that have no record, the one that was looked at first counts: others came after it.
func (p *filePosition) later(than *filePosition) bool {
	return than == nil || p.First > than.First || p.First == than.First && p.Updated < than.Updated
}

// isKnown reports whether a file is one of the trail's, under whatever name or packed
// up.
func (in *fileInput) isKnown(t *trail, path string) bool {
	file, err := os.Open(path)
	if err != nil {
		return true // it cannot be read anyway
	}
	defer file.Close()
	head, _, err := unpackedHead(file)
	if err != nil {
		return true
	}
	id, _, err := identify(file)
	if err != nil {
		return true
	}
	o := &opening{head: head}
	for _, r := range in.known {
		if o.tells(r.pos.Head) || r.pos.ID.dev == id.dev && r.pos.ID.same(id) && o.fits(r.pos.Head) {
			return true
		}
	}
	for _, g := range slices.Concat(t.gens, t.old) {
		if p := g.place(); o.tells(p.Head) {
			return true
		}
		if h, err := readHead(g.file); err == nil && !g.packed && fingerprintOf(h).tells() && bytes.HasPrefix(head, h) {
			return true
		}
	}
	return false
}

// missed makes a generation of a file that nobody has seen before.
func (in *fileInput) missed(t *trail, c candidate) *generation {
	file, err := os.Open(c.path)
	if err != nil {
		in.problem(c.path, err)
		return nil
	}
	id, info, err := identify(file)
	var head []byte
	packed := false
	if err == nil {
		head, packed, err = unpackedHead(file)
	}
	if err != nil {
		file.Close()
		in.problem(c.path, err)
		return nil
	}
	pos := filePosition{Path: t.path, ID: id, Line: 1}
	g := in.generation(positionKey(in.follow.number.Add(1)), pos, file, info, c.path)
	g.moved, g.packed = true, packed
	if packed {
		g.head.print = fingerprintOf(head)
	}
	return g
}

// beginning returns when the first records of a log were written.
func (p *peeker) beginning(path string) (first int64, ok bool) {
	defer p.input.close()
	var ignored atomic.Int64
	r, err := p.input.open(context.Background(), File{Path: path}, &ignored)
	if err != nil {
		return 0, false
	}
	p.lines.Reset(r, ignore)
	f := sniff(&p.lines)
	if f == FormatUnknown {
		return 0, false
	}
	first = p.begin(f.parser(noOptions))
	return first, first > 0
}

// prune forgets files that are read to their end and not to be found any more.
func (in *fileInput) prune(ctx context.Context) {
	var done []*record
	for _, r := range in.known {
		if r.pos.Done && !r.seen {
			done = append(done, r)
		}
	}
	slices.SortFunc(done, func(a, b *record) int {
		return cmp.Or(cmp.Compare(b.pos.Updated, a.pos.Updated), strings.Compare(a.key, b.key))
	})
	for _, r := range done[min(len(done), keepDone):] {
		if r.feed == nil || r.feed.unsettled.Load() == 0 {
			delete(in.known, r.key)
			in.pending = append(in.pending, r.key)
		}
	}
	if len(in.pending) > 0 {
		in.follow.forget(ctx, in.pending...)
		in.pending = nil
	}
}

// rotatedWords are what may stand beside numbers in the name of a rotated log.
var rotatedWords = []string{"gz", "zst", "log", "json", "old", "orig", "bak", "logger", "rotated", "t", "z", "utc"}

// isRotatedName reports whether a log called base may be called name once it is
// rotated: eve.json.1.gz, eve.json-20261124, conn.2026-11-24-13-00-00.log,
// conn.13:00:00-14:00:00.log.gz, conn__2026-11-24-13-00-00__.log. It is not
// conn_long.log for conn.log.
func isRotatedName(base, name string) bool {
	stem := strings.TrimSuffix(base, filepath.Ext(base))
	rest, ok := strings.CutPrefix(name, stem)
	if !ok || stem == "" || rest == "" || rest == filepath.Ext(base) {
		return false
	}
	if isLetter(rune(rest[0])) || rest[0] >= '0' && rest[0] <= '9' {
		return false
	}
	for word := range strings.FieldsFuncSeq(rest, func(r rune) bool { return !isLetter(r) }) {
		if !slices.Contains(rotatedWords, strings.ToLower(word)) {
			return false
		}
	}
	return true
}

func isLetter(r rune) bool { return r|0x20 >= 'a' && r|0x20 <= 'z' || r >= 0x80 }
