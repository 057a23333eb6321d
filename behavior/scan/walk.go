package scan

// walk is a Threshold Random Walk over first contacts with hosts.
type walk struct {
	ratio    float64 // log-likelihood ratio: scanner against harmless host
	from     int64   // its first contact
	failed   int     // hosts that did not answer
	answered int     // hosts that did
}

func (w *walk) empty() bool { return w.failed+w.answered == 0 }

// numServices is for how many services a source has a walk of its own.
const numServices = 8

// serviceWalk is a walk over the fresh hosts tried for one service: what the source
// does otherwise, and the peers that it has, do not hold it back.
type serviceWalk struct {
	service
	last int64 // the latest contact
	walk
}

// step moves a walk by the outcome of a first contact with a host.
func (d *Detector) step(w *walk, c *contact) {
	if w.empty() || c.time-w.from > day {
		*w = walk{from: c.time}
	}
	w.from = min(w.from, c.time) // records come in the order of their ends
	if c.failed() {
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

// stepService moves the walk of the contact's service. One that begins takes the
// place of the one that has rested longest. Inside it begins with a failure, so that
// the few servers which a host met before do not hold it back. Outside, where
// resolvers and crawlers meet thousands of hosts, it begins with any contact: each
// beginning is another chance to be called a scanner.
func (d *Detector) stepService(s *source, c *contact) {
	w := s.serviceWalk(c)
	if c.local && !c.failed() && (w == nil || w.empty()) {
		return
	}
	switch {
	case w != nil:
	case len(s.services) < numServices:
		s.services = append(s.services, serviceWalk{service: c.service()})
		w = &s.services[len(s.services)-1]
	default:
		w = &s.services[0]
		for i := range s.services {
			if s.services[i].last < w.last {
				w = &s.services[i]
			}
		}
		*w = serviceWalk{service: c.service()}
	}
	w.last = max(w.last, c.time)
	d.step(&w.walk, c)
}

// serviceWalk returns the walk of the contact's service, or nil.
func (s *source) serviceWalk(c *contact) *serviceWalk {
	for i := range s.services {
		if s.services[i].service == c.service() {
			return &s.services[i]
		}
	}
	return nil
}

// share is how many of the hosts in the walk of a contact's service must have failed,
// or of the contacts of its block. Inside, where harmless hosts meet few others, the
// walk itself is nearly enough.
func (d *Detector) share(c *contact) float64 {
	if c.local {
		return d.cfg.InsideShare
	}
	return d.cfg.FailureShare
}

// accepts reports whether a walk ends with the verdict: a scanner. share is how many
// of its hosts must have failed besides. Without a walk there is none.
func (d *Detector) accepts(w *walk, share float64, now int64) bool {
	return w != nil && w.ratio >= d.accept && w.failed >= d.cfg.MinHosts &&
		float64(w.failed) >= share*float64(w.failed+w.answered) && now-w.from <= day
}
