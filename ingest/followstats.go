package ingest

import "tidewatch/event"

// SourceStats is where one source stands.
type SourceStats struct {
	Path    string // of a file: the name that it is followed under
	Type    string // of its input
	Format  Format
	State   string // "waiting", "catching up", "live", "rotated", "idle"
	Read    uint64 // bytes of records that were given on, decompressed
	Size    int64  // of the present file; 0 where there is none
	Lag     int64  // bytes that are written and not given on yet, in all its files
	Last    int64  // Unix nanoseconds: when its latest record was written
	Records uint64
	Kinds   [event.NumKinds]uint64
	Refused uint64 // lines; Stats().Refused says which and why
	// Rotations counts files that were renamed, removed or replaced; Truncations those
	// that were cut off where they are; Lost those whose rest could not be found.
	Rotations, Truncations, Lost uint64
	// Dropped counts what is known never to have come: see each input.
	Dropped uint64
}

// States of a source.
const (
	StateWaiting  = "waiting"     // there is no file
	StateCatching = "catching up" // there is a backlog
	StateLive     = "live"
	StateRotated  = "rotated" // the file has no successor yet
	StateIdle     = "idle"    // closed until it grows
)

// Stats returns what has been read so far. It may be called at any time.
func (f *Follow) Stats() Stats { return f.ledger.snapshot() }

// Sources returns where each source stands, sorted by input and path. It may be
// called at any time.
func (f *Follow) Sources() []SourceStats {
	var all []SourceStats
	for _, in := range f.inputs {
		in.mu.Lock()
		shown, idle := in.shown, in.idle
		in.mu.Unlock()
		for _, t := range shown {
			all = append(all, t.snapshot())
		}
		switch {
		case len(shown) > 0:
		case idle > 0:
			all = append(all, SourceStats{Path: in.Path, Type: TypeFile, State: StateIdle})
		default:
			all = append(all, SourceStats{Path: in.Path, Type: TypeFile, State: StateWaiting})
		}
	}
	for _, s := range f.others {
		all = append(all, s.snapshot())
	}
	return all
}

// show publishes the trails for Sources, if there are others than there were, or all are
// to be looked at.
func (in *fileInput) show(all bool) {
	if !all && len(in.shown) == len(in.trails) {
		return
	}
	shown := in.sorted(func(*trail) bool { return true })
	in.mu.Lock()
	in.shown, in.idle = shown, len(in.quiet)
	in.mu.Unlock()
}

// show publishes the trail's files for Sources.
func (t *trail) show() {
	t.mu.Lock()
	t.shown = append(append(t.shown[:0], t.old...), t.gens...)
	clear(t.shown[len(t.shown):cap(t.shown)]) // or those that are over stay in memory
	t.mu.Unlock()
}

func (t *trail) snapshot() SourceStats {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.stats
	s.Refused = t.refused.Load()
	s.State = StateIdle
	if len(t.shown) == 0 && !t.input.pattern {
		s.State = StateWaiting
	}
	for _, g := range t.shown {
		size := g.size.Load()
		s.Lag += max(size-g.at.Load(), 0)
		s.State, s.Size = StateRotated, 0
		if g.fate.Load() == present {
			s.State, s.Size = StateLive, size
		}
	}
	if s.Lag > backlogSize {
		s.State = StateCatching
	}
	return s
}

// count takes what a parcel brings.
func (t *trail) count(g *generation, p *parcel, c *counts) {
	t.mu.Lock()
	t.stats.Read += uint64(max(g.pos.Offset-g.at.Load(), 0))
	for k, n := range c.kinds {
		t.stats.Kinds[k] += n
		t.stats.Records += n
	}
	if p.n > 0 {
		t.stats.Last = max(t.stats.Last, p.keys[p.n-1])
	}
	t.mu.Unlock()
	t.input.follow.ledger.add(c)
}

func (t *trail) setFormat(f Format) {
	t.mu.Lock()
	t.stats.Format = f
	t.mu.Unlock()
	t.input.follow.ledger.file(f)
}

func (t *trail) rotation() {
	t.mu.Lock()
	t.stats.Rotations++
	t.mu.Unlock()
}

func (t *trail) truncation(cut bool) {
	t.mu.Lock()
	if cut {
		t.stats.Truncations++
	}
	t.mu.Unlock()
}

func (t *trail) loss() {
	t.mu.Lock()
	t.stats.Lost++
	t.mu.Unlock()
}
