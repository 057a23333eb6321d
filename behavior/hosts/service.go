package hosts

import (
	"cmp"
	"math"
	"slices"
	"time"

	"tidewatch/behavior/sketch"
	"tidewatch/behavior/state"
	"tidewatch/behavior/volume"
	"tidewatch/event"
)

// sizes is how the sizes of a service's answers are learned.
var sizes = sketch.Pace{Tau: 7 * 24 * time.Hour, Floor: 0.7}

const (
	maxProtocols = 4
	maxProtocol  = 24 // bytes of a protocol's name
	// publicFrom is how many connections a service must have answered for its largest
	// answers to outside to be kept: it takes half a kilobyte more.
	publicFrom = 100
	largeRate  = 1e-4
)

// Service is a port at which a local host answers. It belongs to its Table.
type Service struct {
	key         serviceKey
	host        state.Host
	dirty       bool
	first, last int64
	answered    uint64
	failed      uint64
	clients     [8]uint64      // which of 512 groups of clients there were
	size        sketch.Moments // of log(1+bytes) of its answers
	peaks       *sketch.SPOT   // the same of those to outside; nil for a service that gives few
	protocols   [maxProtocols]string
	own         *Service // what this sensor has seen itself, if others have seen more; stored
}

type serviceKey struct {
	host  uint64
	port  uint16
	proto event.Proto
}

// Service returns what is known of a port of a local host, or nil.
func (t *Table) Service(host uint64, port uint16, proto event.Proto) *Service {
	return t.services[serviceKey{host, port, proto}]
}

// First is when the service answered first.
func (s *Service) First() int64 { return s.first }

// Answered and Failed are how many connections it took and did not take.
func (s *Service) Answered() uint64 { return s.answered }

// Failed is how many connections it did not take since it answered first.
func (s *Service) Failed() uint64 { return s.failed }

// Clients estimates how many clients it had, up to about 3,000.
func (s *Service) Clients() float64 { return linear(s.clients[:]) }

// Size is the baseline of log(1+bytes) of its answers to one connection.
func (s *Service) Size() *sketch.Moments { return &s.size }

// Large returns log(1+bytes) of an answer to outside than which one in 10,000 is larger,
// or four times the largest one so far if that is less: a tail with gaps leads too far.
// It is not ok before a thousand of them are known. Sizes of answers have long tails, of
// which mean and variance say little.
func (s *Service) Large() (threshold float64, ok bool) {
	if s.peaks == nil {
		return 0, false
	}
	threshold, ok = s.peaks.Threshold(largeRate)
	return min(threshold, s.peaks.Largest()+math.Log(4)), ok
}

// Protocols are what the sensors recognised at the port, in the order in which they
// did, at most four.
func (s *Service) Protocols() []string {
	n := slices.Index(s.protocols[:], "")
	if n < 0 {
		n = maxProtocols
	}
	return s.protocols[:n]
}

// served counts a connection for its responder. A port becomes a service when it
// answers: a scan makes none.
func (t *Table) served(ev *event.Event) {
	if ev.Proto != event.ProtoTCP && ev.Proto != event.ProtoUDP && ev.Proto != event.ProtoSCTP {
		return
	}
	k := serviceKey{ev.Resp.Hash, ev.Resp.Port, ev.Proto}
	s := t.services[k]
	if s == nil {
		if ev.Outcome != event.OutcomeAnswered {
			return
		}
		if len(t.services) >= t.maxServices {
			t.evictServices()
		}
		s = &Service{key: k, host: state.Host{Addr: ev.Resp.Addr, VLAN: ev.VLAN, Inner: ev.InnerVLAN}, first: ev.Time}
		if t.lookup.On() {
			t.lookup.Want(s.storeKey())
		}
		t.services[k] = s
	}
	t.touchService(s)
	s.serves(ev)
	if s.own != nil {
		s.own.serves(ev)
	}
}

// serves counts a connection.
func (s *Service) serves(ev *event.Event) {
	s.first, s.last = min(s.first, ev.Time), max(s.last, ev.End)
	switch ev.Outcome {
	case event.OutcomeAnswered:
		s.answered++
		set(s.clients[:], spread(ev.Orig.Hash, saltPeer))
		x := math.Log1p(float64(volume.Received(ev).Bytes))
		s.size.Update(x, ev.End, sizes, s.answered >= enough && s.size.Score(x, sizes.Floor) > suspiciousFrom)
		if ev.Orig.Scope == event.ScopeExternal && s.answered >= publicFrom {
			if s.peaks == nil {
				s.peaks = new(sketch.SPOT)
			}
			s.peaks.Add(x, largeRate)
		}
		s.protocol(ev.Conn.Service)
	case event.OutcomeRejected, event.OutcomeSilent:
		s.failed++
	}
}

// protocol remembers what a sensor recognised. What does not fit is left out.
func (s *Service) protocol(name string) {
	if name == "" || len(name) > maxProtocol {
		return
	}
	for i := range s.protocols {
		switch s.protocols[i] {
		case name:
			return
		case "":
			s.protocols[i] = event.Clone(name)
			return
		}
	}
}

// evictServices forgets a sixteenth of the services: those with one client first, then
// by how long they have been silent.
func (t *Table) evictServices() {
	all := make([]*Service, 0, len(t.services))
	for _, s := range t.services {
		all = append(all, s)
	}
	few := func(s *Service) int { return int(min(s.answered, 2)) }
	slices.SortFunc(all, func(a, b *Service) int {
		return cmp.Or(cmp.Compare(few(a), few(b)), cmp.Compare(a.last, b.last), a.host.Addr.Compare(b.host.Addr),
			cmp.Compare(a.key.port, b.key.port), cmp.Compare(a.key.proto, b.key.proto), cmp.Compare(a.key.host, b.key.host))
	})
	for _, s := range all[:min(len(all), t.maxServices/16+1)] {
		t.forgetService(s)
	}
}

func (t *Table) forgetService(s *Service) {
	delete(t.services, s.key)
	if t.tracking {
		t.forgotten = append(t.forgotten, s.storeKey())
	}
}

func (t *Table) touchService(s *Service) {
	if t.tracking && !s.dirty {
		s.dirty = true
		t.dirtyService = append(t.dirtyService, s)
	}
}
