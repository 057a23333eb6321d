package behavior

import (
	"cmp"
	"slices"

	"tidewatch/behavior/beacon"
	"tidewatch/behavior/dnstunnel"
	"tidewatch/behavior/exfil"
	"tidewatch/behavior/hosts"
	"tidewatch/behavior/longconn"
	"tidewatch/behavior/population"
	"tidewatch/behavior/scan"
	"tidewatch/behavior/state"
	"tidewatch/behavior/watch"
)

// Acceptable are the detectors that Accept knows.
var Acceptable = []string{"beacon", "dns_tunnel", "exfiltration", "hosts", "scan"}

// domainHash is the hash by which detectors know the registered domain of a name.
func domainHash(name string) uint64 { return population.Hash(population.Registered(name)) }

// Accept makes what a detector tells of an entity normal: an analyst says so at a time
// (Unix ns). For scan and hosts the entity is a host; for the others a pair: of a host and
// whom it calls (beacon), where it sends to (exfiltration), or a domain (dns_tunnel). What
// goes on as it was stays silent from then on; what goes far beyond it is told, and that
// it does is evidence. It reports whether there was anything to accept.
func (s *Shard) Accept(e state.Entity, detector string, at int64) (done bool) {
	for _, d := range s.detectors {
		switch d := d.(type) {
		case *beacon.Detector:
			done = detector == "beacon" && d.Accept(e, at) || done
		case *dnstunnel.Detector:
			done = detector == "dns_tunnel" && d.Accept(e, at) || done
		case *exfil.Detector:
			done = detector == "exfiltration" && d.Accept(e, domainHash, at) || done
		case *hosts.Table:
			done = detector == "hosts" && d.AcceptEntity(e, at) || done
		case *scan.Detector:
			done = detector == "scan" && d.Accept(e, at) || done
		}
	}
	return done
}

// Describe appends what the shard knows of an entity, for people, in one order.
func (s *Shard) Describe(e state.Entity, dst []state.Portrait) []state.Portrait {
	n := len(dst)
	for _, d := range s.detectors {
		switch d := d.(type) {
		case *beacon.Detector:
			dst = d.Describe(e, dst)
		case *dnstunnel.Detector:
			dst = d.Describe(e, dst)
		case *exfil.Detector:
			dst = d.Describe(e, domainHash, dst)
		case *hosts.Table:
			dst = d.Describe(e, dst)
		case *longconn.Detector:
			dst = d.Describe(e, dst)
		case *scan.Detector:
			dst = d.Describe(e, dst)
		case *watch.Detector:
			dst = d.Describe(e, dst)
		}
	}
	slices.SortStableFunc(dst[n:], func(a, b state.Portrait) int {
		return cmp.Or(cmp.Compare(a.Detector, b.Detector), cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.VLAN, b.VLAN), cmp.Compare(a.Since, b.Since), cmp.Compare(a.Last, b.Last))
	})
	return dst
}

// Forget forgets a host or a name, also as the peer of others, as far as what is kept
// says who it is. The next Cut removes it from the store. It returns how many entities
// changed.
func (s *Shard) Forget(e state.Entity) (n int) {
	for _, d := range s.detectors {
		switch d := d.(type) {
		case *beacon.Detector:
			n += d.Forget(e)
		case *dnstunnel.Detector:
			n += d.Forget(e)
		case *exfil.Detector:
			n += d.Forget(e, population.Hash)
		case *hosts.Table:
			n += d.Forget(e, population.Hash)
		case *longconn.Detector:
			n += d.Forget(e)
		case *scan.Detector:
			n += d.Forget(e)
		case *watch.Detector:
			n += d.Forget(e)
		}
	}
	return n
}

// Mentions reports whether a record is one that says anything of an entity though no
// shard takes it: a case of a rule that is gone.
func Mentions(r Record, e state.Entity) bool { return watch.Mentions(r, e) }
