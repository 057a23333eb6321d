package behavior

import (
	"tidewatch/behavior/beacon"
	"tidewatch/behavior/dnstunnel"
	"tidewatch/behavior/exfil"
	"tidewatch/behavior/hosts"
	"tidewatch/behavior/longconn"
	"tidewatch/behavior/population"
	"tidewatch/behavior/scan"
	"tidewatch/behavior/state"
	"tidewatch/behavior/watch"
	"tidewatch/event"
)

// Merge returns what two sensors know of one entity together, from records with one key.
// It is pure, commutes, is bounded, and associative but for rounding and for what is
// forgotten where there is no room. Whoever merges the records of several sensors must
// never store the outcome as one sensor's own: it would be counted again with the next
// merge. Shard.Share takes it.
func Merge(a, b Record) (Record, error) {
	if len(a.Key) == 0 {
		return Record{}, state.ErrRecord
	}
	if len(a.Value) == 0 || len(b.Value) == 0 {
		if len(a.Value) == 0 {
			a.Value = b.Value
		}
		return a, nil
	}
	if merge := merges[a.Key[0]]; merge != nil {
		return merge(a, b)
	}
	return Record{}, state.ErrRecord
}

// merges holds how records merge, by their kind.
var merges = [256]func(a, b Record) (Record, error){
	state.KindScanSource: scan.Merge, state.KindScanTarget: scan.Merge, state.KindScanLight: scan.Merge,
	state.KindPair: beacon.Merge, state.KindBeacon: beacon.Merge,
	state.KindUpload: exfil.Merge, state.KindTunnel: dnstunnel.Merge,
	state.KindHost: hosts.Merge, state.KindService: hosts.Merge,
	state.KindLong: longconn.Merge, state.KindWatch: watch.Merge,
	state.KindName: population.Merge, state.KindDestination: population.Merge, state.KindPopulation: population.Merge,
}

// sharer is a detector whose entities other sensors may know too.
type sharer interface {
	Lookup()
	Wanted() [][]byte
	Share(r state.Record, owns func(hash uint64) bool, dst []event.Observation) ([]event.Observation, error)
}

// Lookup makes the shard collect the keys of entities that begin empty, for Wanted.
func (s *Shard) Lookup() {
	for _, d := range s.detectors {
		if d, ok := d.(sharer); ok {
			d.Lookup()
		}
	}
}

// Wanted returns the keys of the records that a store may have of entities which began
// since it was called last. They are judged without their past, and findings say so,
// until Restore is called with what this sensor has stored under the key, or with an
// empty value if that is nothing.
func (s *Shard) Wanted() (keys [][]byte) {
	for _, d := range s.detectors {
		if d, ok := d.(sharer); ok {
			keys = append(keys, d.Wanted()...)
		}
	}
	return keys
}

// Share says what other sensors know of an entity: their records of it, merged. It
// replaces what they were known to know. The entity is judged by what all sensors
// together know from then on, and what that makes a case of is appended to dst; what Cut
// returns stays what this sensor has seen itself. An entity that this shard has not met
// is ignored.
func (s *Shard) Share(r Record, dst []event.Observation) ([]event.Observation, error) {
	if len(r.Key) == 0 || !known[r.Key[0]] {
		return dst, state.ErrRecord
	}
	d, ok := s.kinds[r.Key[0]].(sharer)
	if !ok {
		return dst, nil
	}
	return d.Share(r, func(hash uint64) bool { return Owner(hash, s.n) == s.i }, dst)
}
