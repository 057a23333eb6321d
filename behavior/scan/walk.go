package scan

// A source has a walk for each realm, so that what goes well in one does not hide
// what fails in another: a user's browsing, a search of the office network.
const (
	realmInside = iota
	realmWeb    // ports 80 and 443 outside
	realmOutside
	numRealms
)

// walk is a Threshold Random Walk over first contacts with hosts.
type walk struct {
	ratio    float64 // log-likelihood ratio: scanner against harmless host
	from     int64   // its first contact
	failed   int     // hosts that did not answer
	answered int     // hosts that did
}

func (c *contact) realm() int {
	switch {
	case c.local:
		return realmInside
	case c.port == 80 || c.port == 443:
		return realmWeb
	}
	return realmOutside
}

// step moves a walk by the outcome of a first contact with a host.
func (d *Detector) step(w *walk, t int64, failed bool) {
	if w.failed+w.answered == 0 || t-w.from > day {
		*w = walk{from: t}
	}
	w.from = min(w.from, t) // records come in the order of their ends
	if failed {
		w.failed++
		w.ratio += d.up
	} else {
		w.answered++
		w.ratio += d.down
	}
	if w.ratio <= d.reject {
		*w = walk{}
	}
}

func (d *Detector) walksLikeScanner(w *walk, t int64) bool {
	return w.ratio >= d.accept && w.failed >= d.cfg.MinHosts &&
		float64(w.failed) >= d.cfg.FailureShare*float64(w.failed+w.answered) && t-w.from <= day
}
