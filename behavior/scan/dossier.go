package scan

import "tidewatch/behavior/state"

// dossier is what few sources have: those that have scanned, and those that another
// sensor knows too.
type dossier struct {
	episodes uint32 // scans that are over
	settled  int64  // when the last of them was: what came before was told
	told     extent // of the last one
	normal   extent // what an analyst called normal
	accepted int64  // when he did; 0: never

	// own is what this sensor has seen itself, if the source holds what others saw
	// too. It is what is stored; it finds nothing.
	own *source
}

// extent is how far a scan goes.
type extent struct {
	at                     int64 // its beginning; 0: none
	realm                  int
	attempts, hosts, ports uint64
}

func (s *source) dossier() *dossier {
	if s.more == nil {
		s.more = new(dossier)
	}
	return s.more
}

func (s *source) settled() int64 {
	if s.more == nil {
		return 0
	}
	return s.more.settled
}

// own is what is stored of a source: what this sensor has seen itself.
func (s *source) own() *source {
	if s.more != nil && s.more.own != nil {
		return s.more.own
	}
	return s
}

func (m *dossier) merge(o *dossier) {
	m.episodes, m.settled = max(m.episodes, o.episodes), max(m.settled, o.settled)
	if o.told.at > m.told.at || o.told.at == m.told.at && o.told.attempts > m.told.attempts {
		m.told = o.told
	}
	if o.accepted > m.accepted || o.accepted == m.accepted && o.normal.attempts > m.normal.attempts {
		m.accepted, m.normal = o.accepted, o.normal
	}
}

func writeDossier(w *state.Writer, m *dossier) {
	w.Bool(m != nil)
	if m == nil {
		return
	}
	w.U32(m.episodes)
	w.I64(m.settled)
	w.I64(m.accepted)
	for _, x := range [...]*extent{&m.told, &m.normal} {
		w.I64(x.at)
		w.U8(byte(x.realm))
		w.U64(x.attempts)
		w.U64(x.hosts)
		w.U64(x.ports)
	}
}

func readDossier(r *state.Reader) *dossier {
	if !r.Bool() || r.Err != nil {
		return nil
	}
	m := &dossier{episodes: r.U32(), settled: r.I64(), accepted: r.I64()}
	for _, x := range [...]*extent{&m.told, &m.normal} {
		*x = extent{r.I64(), int(r.U8()) % numRealms, r.U64(), r.U64(), r.U64()}
	}
	return m
}

// extent is how far the scan goes.
func (e *episode) extent() extent {
	return extent{e.start, e.realm, e.attempts, uint64(e.count(&e.hosts)), uint64(e.count(&e.ports))}
}

// muchMore is how many times as far as what an analyst called normal a scan must go
// to be told.
const muchMore = 2

// usual reports whether a scan is what an analyst called normal of its source: of the
// same kind, and no more than twice as large.
func (s *source) usual(e *episode) bool {
	if s.more == nil || s.more.accepted == 0 {
		return false
	}
	n, x := &s.more.normal, e.extent()
	return x.realm == n.realm && x.hosts <= muchMore*max(n.hosts, 1) && x.ports <= muchMore*max(n.ports, 1) && x.attempts <= muchMore*max(n.attempts, 1)
}
