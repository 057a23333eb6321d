package ingest

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"tidewatch/event"
)

const (
	// scanEvery is how often each path is looked at, globEvery how often patterns are
	// expanded and lost files are looked for.
	scanEvery = 200 * time.Millisecond
	globEvery = time.Second
	// repeatAfter is how often the same is said of the same path.
	repeatAfter = 10 * time.Minute
	// loseAfter is for how long the rest of a file that is gone is looked for: it may
	// be on its way into an archive.
	loseAfter = 10 * time.Minute
	// forgetAfter is for how long a name that a pattern matched is looked at after its
	// file is gone.
	forgetAfter = 10 * time.Minute
	// keepDone is how many files that are read to their end are remembered, beyond
	// those that are still found under the input's path.
	keepDone = 64
	// maxTrails bounds how many files of one pattern are followed.
	maxTrails = 4096
	// maxProblems bounds how many paths are remembered for what was said of them.
	maxProblems = 256
)

// fileInput is an Input of files: what its path leads to, one trail a name.
type fileInput struct {
	Input
	follow  *Follow
	pattern bool
	fresh   bool // nothing of it was known when it began: StartAt decides
	started time.Time
	woken   chan struct{}

	// What follows is the supervisor's.
	trails  map[string]*trail
	open    map[fileKey]*generation
	known   map[string]*record // not open: by key
	pending []string           // positions to be forgotten
	copies  map[fileKey]stat   // of others: as they were when they were looked at
	cold    map[string]bool    // paths that were there at the start and could not be read
	peeker  *peeker
	globbed time.Time
	paths   []string            // that the pattern matched last
	matched map[string]bool     // they
	quiet   map[string]bool     // those whose file was closed and had not changed then
	closed  map[fileKey]*record // of files that were closed in this run; for one scan
	inodes  map[uint64]bool     // of those that are known; for one scan
	parked  []event.Position    // of files that are known from now on and need not be opened
	found   []found

	mu       sync.Mutex
	problems map[string]time.Time
	shown    []*trail // trails, for statistics
	idle     int      // files that are closed, for statistics
}

// record is a file that is not open: parked, finished, or from an earlier run.
type record struct {
	key  string
	pos  filePosition
	ran  bool  // it was followed in this run, or there was no more of it to be read
	feed *feed // that had its key last, until all that it gave is used up
	// lost says since when its rest is looked for; zero if it is not.
	lost   time.Time
	sought time.Time // when it was looked for last
	unread int64     // bytes that were there when it was lost, if known
	seen   bool      // it was found in the last scan
	at     string    // where it was found, if it need not be opened
	size   int64     // when it was closed
	mtime  int64
}

// trail is one name, and the files that bore it: the oldest that is not read to its
// end comes first.
type trail struct {
	input *fileInput
	path  string
	rank  int
	gens  []*generation
	old   []*generation // read to their end once, watched for late writes
	alive time.Time     // when there was such a file
	gap   bool          // there may be files between the last two that nobody has seen
	since *filePosition // of those after this one, if it is not the last one that is known
	last  string        // the key of the last one that was known at the start

	strange atomic.Bool
	refused atomic.Uint64
	mu      sync.Mutex
	stats   SourceStats
	shown   []*generation // gens and old, for statistics
}

func newFileInput(f *Follow, in Input) *fileInput {
	return &fileInput{
		Input: in, follow: f, pattern: isPattern(in.Path), fresh: true, woken: make(chan struct{}, 1),
		trails: map[string]*trail{}, open: map[fileKey]*generation{}, known: map[string]*record{}, cold: map[string]bool{}, copies: map[fileKey]stat{},
		problems: map[string]time.Time{}, peeker: newPeeker(minWindow),
	}
}

// claims reports whether a file that was found under path is one of the input's.
func (in *fileInput) claims(path string) bool {
	ok, _ := filepath.Match(in.Path, path)
	return ok || path == in.Path
}

// remember takes a position of the last commit.
func (in *fileInput) remember(key string, pos filePosition) {
	in.fresh = false
	in.known[key] = &record{key: key, pos: pos, size: -1}
}

// wake makes the supervisor look now.
func (in *fileInput) wake() {
	select {
	case in.woken <- struct{}{}:
	default:
	}
}

// run supervises the files until ctx ends.
func (in *fileInput) run(ctx context.Context) {
	in.started = time.Now()
	first := true
	t := time.NewTicker(scanEvery)
	defer t.Stop()
	for {
		in.scan(ctx, first)
		first = false
		select {
		case <-t.C:
		case <-in.woken:
		case <-ctx.Done():
			return
		}
	}
}

// scan looks at what the path leads to, and takes what is new.
func (in *fileInput) scan(ctx context.Context, first bool) {
	in.reap()
	if first {
		in.recollect()
	}
	glob := first || time.Since(in.globbed) >= globEvery
	if glob {
		in.globbed = time.Now()
		in.paths = in.match()
		in.matched, in.quiet = make(map[string]bool, len(in.paths)), map[string]bool{}
		for _, path := range in.paths {
			in.matched[path] = true
		}
		for _, r := range in.known {
			r.seen = false
			if r.feed != nil && r.feed.unsettled.Load() == 0 {
				r.feed = nil
			}
		}
	}
	in.closed, in.inodes = nil, nil
	visited := map[string]bool{}
	for _, path := range in.paths {
		if !glob && in.quiet[path] {
			visited[path] = true // there may be thousands: once a second is enough
			continue
		}
		in.visit(path, first, visited)
	}
	for path := range in.trails { // where another file of that name may come
		if !in.matched[path] {
			in.visit(path, first, visited)
		}
	}
	for path, t := range in.trails {
		if !visited[path] {
			t.lose(gone, nil)
		}
	}
	// Files that nobody knows come last: one may be a copy of another that is known.
	slices.SortStableFunc(in.found, func(a, b found) int { return cmp.Compare(a.rank(in), b.rank(in)) })
	for _, f := range in.found {
		in.try(f, first)
	}
	in.found = in.found[:0]
	if len(in.parked) > 0 {
		in.follow.log.Info("old logs are not opened until they grow", "path", printable(in.Path), "files", len(in.parked))
		in.follow.know(ctx, in.parked)
		in.parked = nil
	}
	if glob {
		in.search()
		in.prune(ctx)
	}
	if first {
		in.doubt()
	}
	for _, t := range in.sorted(func(t *trail) bool { return t.gap }) {
		t.gap = false
		in.bridge(t)
	}
	for _, t := range in.sorted(func(t *trail) bool { return glob || t.busy() }) {
		t.advance(ctx)
		if visited[t.path] || t.busy() {
			t.alive = time.Now()
		} else if in.pattern && time.Since(t.alive) >= forgetAfter {
			delete(in.trails, t.path)
		}
		t.show()
	}
	in.show(glob)
	if glob {
		in.follow.trim()
	}
}

// sorted returns some of the trails, by their paths.
func (in *fileInput) sorted(which func(*trail) bool) (ts []*trail) {
	for _, t := range in.trails {
		if which(t) {
			ts = append(ts, t)
		}
	}
	slices.SortFunc(ts, func(a, b *trail) int { return strings.Compare(a.path, b.path) })
	return ts
}

// busy reports whether a file of the trail is open.
func (t *trail) busy() bool { return len(t.gens)+len(t.old) > 0 }

// match returns the paths of the input, in order.
func (in *fileInput) match() []string {
	if !in.pattern {
		return []string{in.Path}
	}
	paths, err := filepath.Glob(in.Path)
	if err != nil {
		return nil // Check has refused it
	}
	if len(paths) > maxTrails {
		in.problem(in.Path, errors.New("too many files match: those that come last by name are left out"))
		paths = paths[:maxTrails]
	}
	return paths
}

// found is a path that leads to a file that is not followed.
type found struct {
	path string
	key  fileKey
}

// rank is lower for a file that may be a known one.
func (f found) rank(in *fileInput) int {
	in.index()
	if in.inodes[f.key.ino] {
		return 0
	}
	return 1
}

// visit looks at one path, and notes a file that is not followed.
func (in *fileInput) visit(path string, first bool, visited map[string]bool) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return
	case err != nil:
		visited[path] = true // it may be the same file behind a folder that cannot be entered
		in.cold[path] = in.cold[path] || first
		in.problem(path, err)
		return
	}
	visited[path] = true
	k, now := keyOf(info), stat{info.Size(), info.ModTime().UnixNano()}
	t := in.trails[path]
	if g := in.open[k]; g != nil {
		g.size.Store(now.size)
		if t != nil {
			t.lose(replaced, g)
		}
		return
	}
	in.index()
	if r := in.closed[k]; r != nil {
		r.seen = true
		if (stat{r.size, r.mtime}) == now {
			in.quiet[path] = in.pattern
			if t != nil {
				t.lose(replaced, nil)
			}
			return
		}
	}
	if c, ok := in.copies[k]; !ok || c != now {
		in.found = append(in.found, found{path, k})
	}
}

// index prepares closed and inodes, once in a scan.
func (in *fileInput) index() {
	if in.closed != nil {
		return
	}
	in.closed, in.inodes = make(map[fileKey]*record, len(in.known)), make(map[uint64]bool, len(in.known))
	for _, r := range in.known {
		if r.size >= 0 {
			in.closed[r.pos.ID.fileKey] = r
		}
		in.inodes[r.pos.ID.ino] = true
	}
}

// try follows a file that was found, if it can be read and is not a copy.
func (in *fileInput) try(f found, first bool) {
	g, err := in.take(f.path, first)
	if err != nil {
		in.cold[f.path] = in.cold[f.path] || first
		in.problem(f.path, err)
		return
	}
	if g != nil {
		in.adopt(g)
	}
}

// take opens a file that is not followed, and finds out whether it is known. It
// returns nil if it is followed after all.
func (in *fileInput) take(path string, first bool) (*generation, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	id, info, err := identify(file)
	if err == nil && in.open[id.fileKey] != nil { // another since the path was looked at
		file.Close()
		return nil, nil
	}
	var head []byte
	if err == nil {
		head, err = readHead(file)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	o := &opening{head: head}
	if r := in.recall(id, info.Size(), o, path); r != nil {
		if in.asleep(info, r.pos.Offset) {
			r.pos.ID = id
			r.park(info, path)
			file.Close()
			return nil, nil
		}
		delete(in.known, r.key)
		return in.resume(r, file, id, info, head, path), nil
	}
	if in.isCopy(o) {
		if len(in.copies) >= maxTrails {
			clear(in.copies)
		}
		in.copies[id.fileKey] = stat{info.Size(), info.ModTime().UnixNano()}
		file.Close()
		return nil, nil
	}
	pos := filePosition{Path: path, ID: id, Line: 1, Head: fingerprintOf(head)}
	if in.atEnd(path, id, info, first) {
		if pos.Offset, err = lastBreak(file, info.Size()); err != nil {
			file.Close()
			return nil, err
		}
		pos.Line = 0 // not known
	}
	delete(in.cold, path)
	if in.asleep(info, pos.Offset) {
		if pos.First, _ = in.peeker.beginning(openPath(file)); pos.First < 0 {
			pos.First = 0
		}
		pos.Updated = time.Now().Unix()
		r := &record{key: positionKey(in.follow.number.Add(1)), pos: pos}
		r.park(info, path)
		in.known[r.key] = r
		in.parked = append(in.parked, event.Position{Key: r.key, Value: pos.appendFixed(pos.appendMoving(nil))})
		file.Close()
		return nil, nil
	}
	g := in.generation(positionKey(in.follow.number.Add(1)), pos, file, info, path)
	g.head.known, g.head.print = head, pos.Head // another one, when it is read, is not this file
	g.moved = true                              // it is known from now on
	return g, nil
}

// asleep reports whether a file that is read up to offset need not be opened: it is one of
// many, has nothing more, and nobody has written to it for long.
func (in *fileInput) asleep(info os.FileInfo, offset int64) bool {
	return in.pattern && offset == info.Size() && time.Since(info.ModTime()) >= parkAfter
}

// park notes how a file is that is closed.
func (r *record) park(info os.FileInfo, path string) {
	r.size, r.mtime, r.seen, r.ran, r.at = info.Size(), info.ModTime().UnixNano(), true, true, path
	r.lost = time.Time{}
}

// atEnd reports whether a file that is not known is read from its end.
func (in *fileInput) atEnd(path string, id identity, info os.FileInfo, first bool) bool {
	if in.StartAt == StartAtBeginning {
		return false
	}
	if !first {
		return in.cold[path] && info.ModTime().Before(in.started) // it was there before
	}
	if in.fresh {
		return true
	}
	// Something of the input is known: what has come since then is read.
	var last int64
	for _, r := range in.known {
		last = max(last, r.pos.Updated)
	}
	last -= int64(2 * globEvery / time.Second) // it may not have been seen at once
	return id.born != 0 && id.born < last*1e9 && info.ModTime().Unix() < last
}

// recall returns the record of a file, if it has one: by which file it is, or where
// devices have other numbers than they had, by its name and its beginning.
func (in *fileInput) recall(id identity, size int64, o *opening, path string) *record {
	var best *record
	for _, r := range in.known {
		p := &r.pos
		if !o.fits(p.Head) || size < p.Offset {
			continue
		}
		exact := p.ID.same(id) && (p.ID.dev == id.dev || o.tells(p.Head))
		moved := (p.Path == path || !r.lost.IsZero()) && o.tells(p.Head)
		if (exact || moved) && (best == nil || p.Offset > best.pos.Offset) {
			best = r
		}
	}
	return best
}

// isCopy reports whether a file that a pattern matched begins as another one that is
// known, record and all: it is a copy of that, and if the other one is cut off, its
// rest. It is looked at again when it has grown.
func (in *fileInput) isCopy(o *opening) bool {
	if !in.pattern {
		return false
	}
	if len(o.head) == 0 {
		return true // for now: it may become one, and there is nothing to be read
	}
	for _, g := range in.open {
		if p := g.place(); p.Head.record && o.fits(p.Head) {
			return true
		}
	}
	for _, r := range in.known {
		if r.pos.Head.record && o.fits(r.pos.Head) {
			return true
		}
	}
	return false
}

// resume makes a generation of a record, of a file whose head fits.
func (in *fileInput) resume(r *record, file *os.File, id identity, info os.FileInfo, head []byte, path string) *generation {
	pos := r.pos
	pos.ID, pos.Done = id, false
	g := in.generation(r.key, pos, file, info, path)
	g.after(r)
	g.head.known, g.head.print = head[:pos.Head.n:pos.Head.n], pos.Head
	return g
}

// trail returns the trail of a path.
func (in *fileInput) trail(path string) *trail {
	t := in.trails[path]
	if t == nil {
		t = &trail{input: in, path: path, rank: int(in.follow.ranks.Add(1)), alive: time.Now()}
		t.stats = SourceStats{Path: path, Type: TypeFile}
		in.trails[path] = t
	}
	return t
}

// after makes the generation go on in the feed that the record had, so that their
// positions keep their order.
func (g *generation) after(r *record) {
	if r.feed != nil {
		g.feed = r.feed
	}
}

func (in *fileInput) generation(key string, pos filePosition, file *os.File, info os.FileInfo, path string) *generation {
	pos.Updated = max(pos.Updated, time.Now().Unix())
	if first, ok := in.peeker.beginning(openPath(file)); ok && pos.First == 0 {
		pos.First = first
	}
	g := &generation{path: path, file: file, id: pos.ID, pos: pos, kick: make(chan struct{}, 1),
		turn: make(chan struct{}), announced: make(chan struct{})}
	t := in.trail(pos.Path)
	g.trail = t
	g.feed = newFeed(key, t.rank, fileValueAt)
	g.opened = stat{info.Size(), info.ModTime().UnixNano()}
	g.old = time.Since(info.ModTime()) >= parkAfter
	g.size.Store(info.Size())
	g.at.Store(pos.Offset)
	g.placed.Store(&pos)
	return g
}

// adopt puts a generation into its trail.
func (in *fileInput) adopt(g *generation) {
	t := g.trail
	in.open[g.id.fileKey] = g
	if g.path != t.path { // it was rotated away while nobody looked
		g.fate.Store(gone)
		t.gens = slices.Insert(t.gens, t.place(g), g)
		return
	}
	for _, o := range t.gens {
		o.learn(replaced)
	}
	for _, o := range t.old {
		o.learn(replaced)
	}
	t.gens = append(t.gens, g)
	t.gap = true
}

// place returns where in a trail a file comes that is no longer at its path: behind
// those that are followed, among the others by when they begin.
func (t *trail) place(g *generation) int {
	n := 0
	for n < len(t.gens) && t.gens[n].fate.Load() != present && (t.gens[n].started || t.gens[n].pos.First <= g.pos.First) {
		n++
	}
	return n
}

// lose says that the trail's path leads elsewhere, but for the one generation that it
// leads to.
func (t *trail) lose(f fate, but *generation) {
	for _, g := range t.gens {
		if g != but {
			g.learn(f)
		} else if g.fate.Load() == gone { // it was moved there and back
			g.fate.Store(present)
		}
	}
}

// learn takes what the path tells of the generation.
func (g *generation) learn(f fate) {
	was := g.fate.Load()
	if was == f || was == replaced {
		return
	}
	g.fate.Store(f)
	if was == present {
		g.trail.rotation()
		g.trail.input.follow.log.Info("log rotated", "path", printable(g.trail.path))
	}
	select {
	case g.kick <- struct{}{}:
	default:
	}
}

// advance starts the generation whose turn it is. The next one's turn comes when the
// one before is read to its end; that one is watched for a while.
func (t *trail) advance(ctx context.Context) {
	for len(t.gens) > 1 && t.gens[0].drained.Load() {
		t.old = append(t.old, t.gens[0])
		t.gens = slices.Delete(t.gens, 0, 1)
	}
	in := t.input
	for i, g := range t.gens {
		if g.started {
			continue
		}
		if t.since != nil && g.fate.Load() == present {
			break // there may be others before it, which have to be known first
		}
		g.started = true
		in.follow.log.Info("following log", "path", printable(g.path), "offset", g.pos.Offset)
		if i > 0 {
			g.before = t.gens[i-1].announced
		}
		in.follow.active.Add(1) // until its last parcel is used up
		in.follow.done.Go(func() { g.follow(ctx) })
	}
	if len(t.gens) > 0 && !t.gens[0].turned {
		t.gens[0].turned = true
		close(t.gens[0].turn)
	}
}

// reap takes generations that are over out of their trails.
func (in *fileInput) reap() {
	for _, t := range in.sorted((*trail).busy) {
		over := func(g *generation) bool {
			out := outcome(g.over.Load())
			if out == running || out == stopped {
				return false
			}
			in.close(g, out)
			return true
		}
		t.gens = slices.DeleteFunc(t.gens, over)
		t.old = slices.DeleteFunc(t.old, over)
	}
}

// close remembers a generation that is over.
func (in *fileInput) close(g *generation, out outcome) {
	delete(in.open, g.id.fileKey)
	r := &record{key: g.feed.key, pos: g.pos, ran: true, feed: g.feed, size: g.stat.size, mtime: g.stat.mtime, seen: true}
	r.pos.Head = g.head.print
	in.known[r.key] = r
	log := in.follow.log.With("path", printable(g.trail.path))
	switch out {
	case finished:
		log.Info("rotated log read to its end", "bytes", r.pos.Offset)
	case truncated, broken:
		r.size = -1 // it is no longer what the path leads to
		in.globbed = time.Time{}
		clear(in.copies)
		r.lost, r.unread = time.Now(), max(g.size.Load()-r.pos.Offset, 0)
		g.trail.truncation(out == truncated)
		log.Info("log was cut off and written anew", "read", r.pos.Offset, "unread_at_least", r.unread)
	}
}

// problem says that a path cannot be read, and why, but not often.
func (in *fileInput) problem(path string, err error) {
	if errors.Is(err, context.Canceled) { // it stops
		return
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	text := words(err)
	k := path + "\x00" + text
	if last, ok := in.problems[k]; ok && time.Since(last) < repeatAfter {
		return
	}
	if len(in.problems) >= maxProblems {
		clear(in.problems)
	}
	in.problems[k] = time.Now()
	in.follow.log.Warn("log cannot be read; trying again", "path", printable(path), "error", printable(text))
}

// printable returns a path, or an error's words, as they can be shown anywhere.
func printable(s string) slog.Value {
	const most = 1024
	var b []byte
	for len(s) > excerptSize && len(b) < most {
		b = append(b, escapeASCII(s[:excerptSize])...)
		s = s[excerptSize:]
	}
	return slog.StringValue(string(append(b, escapeASCII(s)...)))
}

// escapeASCII escapes what is not plain ASCII.
func escapeASCII(s string) []byte {
	var b []byte
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '\\' {
			const hex = "0123456789abcdef"
			b = append(b, '\\', 'x', hex[c>>4], hex[c&15])
		} else {
			b = append(b, c)
		}
	}
	return b
}

// lastBreak returns the offset behind the last line break of a file.
func lastBreak(f *os.File, size int64) (int64, error) {
	buf := make([]byte, followBlock)
	for end := size; end > 0; {
		start := max(end-int64(len(buf)), 0)
		n, err := f.ReadAt(buf[:end-start], start)
		if err != nil && int64(n) < end-start {
			if errors.Is(err, syscall.EIO) {
				return 0, err
			}
			return 0, nil
		}
		if i := slices.Index(reversed(buf[:n]), '\n'); i >= 0 {
			return end - int64(i), nil
		}
		end = start
	}
	return 0, nil
}

func reversed(b []byte) []byte {
	slices.Reverse(b)
	return b
}
