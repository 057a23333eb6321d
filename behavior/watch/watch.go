// Package watch keeps the state of rules that people write over records: single
// records, thresholds, sequences, first sightings, rare values, and quantities
// against their own past. What a rule asks is a Spec; the rest is the same for all.
package watch

import (
	"encoding/binary"
	"math"
	"math/bits"
	"time"

	"tidewatch/behavior/state"
	"tidewatch/event"
)

// Kind is a way to look at records.
type Kind uint8

const (
	Event     Kind = iota // each record that matches
	Threshold             // so many, so many different ones or so much within a time
	Sequence              // steps in their order
	FirstSeen             // a value that an entity has not had before
	Rarity                // a value that few hosts have
	Baseline              // a quantity against its own past
	Indicator             // each record that threat intelligence lists and that matches
	NumKinds
)

var kindNames = [NumKinds]string{"event", "threshold", "sequence", "first_seen", "rarity", "baseline", "indicator"}

// String returns the name that rules call the kind's detector by.
func (k Kind) String() string {
	if k < NumKinds {
		return kindNames[k]
	}
	return "unknown"
}

// Term is one of the conditions that make a Filter.
type Term struct {
	Holds func(ev *event.Event) bool
}

// Filter selects records: those of some kinds for which all Terms hold, without the
// exceptions.
type Filter struct {
	Kinds uint32 // a bit for each event.Kind that can match
	// Ports are the responder's ports that can match; nil: any.
	Ports []uint16
	// Terms are shared: what several Filters ask is the same Term.
	Terms  []*Term
	Except func(ev *event.Event) bool // nil: no exception
	// Text is the condition as the rule writes it.
	Text string
}

func (f *Filter) holds(ev *event.Event) bool {
	if f.Kinds&(1<<ev.Kind) == 0 {
		return false
	}
	for _, t := range f.Terms {
		if !t.Holds(ev) {
			return false
		}
	}
	return f.Except == nil || !f.Except(ev)
}

// Key is a field of a record that tells cases apart, or is counted.
type Key struct {
	Name string // the field's
	// End says that the field is an address of the record: its owner owns the case.
	End End
	// Append appends the value in a form that tells it from others; nothing if the
	// record has none.
	Append func(dst []byte, ev *event.Event) []byte
}

// End is one end of a record.
type End uint8

const (
	NoEnd End = iota
	Originator
	Responder
)

// Spec is one rule. It is not changed once a Detector has it.
type Spec struct {
	ID      string
	Name    string // what a finding is called
	Version uint64 // of what it asks: state of another version is not used
	Kind    Kind
	Filter        // of all kinds but Sequence
	By      []Key // whose case it is; none: one case for all records
	// Snapshots lets records of connections that still go on count, too.
	Snapshots bool
	// Fields returns what a finding says of a record.
	Fields func(ev *event.Event) []event.Field

	Value   *Key                       // counted once (Threshold, Baseline), first seen or rare
	Sum     func(*event.Event) float64 // what is summed up (Threshold, Baseline)
	SumName string                     // its field
	SumUnit string                     // "bytes", "seconds" or ""
	AtLeast float64                    // Threshold: so many; Baseline: what is not worth a word below
	Within  time.Duration              // Threshold, Sequence: in this time; Baseline: one measurement
	Steps   []Filter                   // Sequence: from the first to the last, two to eight
	Unless  *Filter                    // Sequence: must not come within the time after the last step
	Learn   time.Duration              // FirstSeen, Rarity, Baseline: how long nothing is said
	AtMost  int                        // Rarity: hosts that have the value
	OutOf   int                        // Rarity: local hosts there must be
	Sigmas  float64                    // Baseline: how far above normal
}

// Config is what people want to have watched, and how much state that may take.
type Config struct {
	Specs []Spec
	// MaxCases bounds the cases of all specs together, over all shards. A case takes
	// some 300 bytes; one that counts distinct values takes 24 more for each.
	MaxCases int
}

// DefaultConfig watches nothing.
func DefaultConfig() Config { return Config{MaxCases: 200_000} }

// Detector watches records for one shard. It is used by one goroutine.
type Detector struct {
	shard, shards int
	specs         []Spec
	byKind        [event.NumKinds]*index
	left          set // scratch
	byVersion     map[uint64]int

	cases    map[caseKey]*entry
	began    []int64 // by spec: the time of the first record that it may concern
	due      timers
	max      int
	sequence uint64 // of cases, in the order in which they were made
	scratch  []byte

	tracking  bool
	dirty     []*entry
	started   []int // specs that began since the last Cut
	forgotten [][]byte
}

// caseKey is a hash of a case: input must not be able to make it long.
type caseKey struct{ hi, lo uint64 }

// entry is one case.
type entry struct {
	key         caseKey
	spec        int32
	order       uint64
	first, last int64 // Unix nanoseconds of records
	until       int64 // of the timer; it is gone after that
	dirty, gone bool
	subject     []string // the values of By, cut to subjectLength
	from, to    event.Host
	vlan, inner uint16
	severalTo   bool // the records have several responders
	severalFrom bool
	samples     []event.Sample
	fields      []event.Field // of the record that made the case
	episode     *episode
	progress    progress
}

// progress is what a kind of spec remembers of a case. One of them is set.
type progress struct {
	counts   *counts
	chain    *chain
	values   *values
	holders  *holders
	quantity *quantity
}

const (
	maxSamples    = 6
	subjectLength = 200
)

// New returns the detector of the i-th of n shards.
func New(cfg Config, i, n int) *Detector {
	d := &Detector{shard: i, shards: n, specs: cfg.Specs, max: max(cfg.MaxCases/n, 64), cases: map[caseKey]*entry{}, byVersion: map[uint64]int{}, began: make([]int64, len(cfg.Specs))}
	for at := range cfg.Specs {
		s := &cfg.Specs[at]
		d.began[at] = math.MaxInt64
		d.byVersion[s.Version] = at
	}
	for k := range d.byKind {
		d.byKind[k] = newIndex(cfg.Specs, event.Kind(k))
	}
	d.left = make(set, (len(cfg.Specs)+63)/64)
	return d
}

// Observe takes a record, and appends what it makes of it to dst; orig and resp say
// which of its ends the shard owns. Of a record that nobody waits for it allocates
// nothing.
func (d *Detector) Observe(ev *event.Event, orig, resp bool, dst []event.Observation) []event.Observation {
	if int(ev.Kind) >= len(d.byKind) || ev.Flags&event.FlagJoined != 0 {
		return dst
	}
	in := d.byKind[ev.Kind]
	left := d.left[:len(in.all)]
	if !in.can(ev, left) {
		d.begin(in, left, ev.Time)
	}
	in.match(ev, orig, resp, left)
	for i, word := range left {
		for ; word != 0; word &= word - 1 {
			dst = d.consider(in.specs[64*i+bits.TrailingZeros64(word)], ev, dst)
		}
	}
	return dst
}

// begin notes that there was a record that the specs may concern, on all shards alike.
func (d *Detector) begin(in *index, left set, at int64) {
	for place, spec := range in.specs {
		if left[place/64]&(1<<(place%64)) != 0 && at < d.began[spec] {
			d.began[spec] = at
			d.start(spec)
		}
	}
}

// consider shows a record to a spec all of whose Terms hold, if the case is the shard's.
func (d *Detector) consider(at int, ev *event.Event, dst []event.Observation) []event.Observation {
	s := &d.specs[at]
	if s.Except != nil && s.Except(ev) {
		return dst
	}
	key := d.caseOf(s, ev)
	if s.owner() == NoEnd && state.Owner(key.hi, d.shards) != d.shard {
		return dst
	}
	return d.watch(at, s, key, ev, dst)
}

// owner returns the end whose owner owns the spec's cases; NoEnd if the case's own hash
// decides.
func (s *Spec) owner() End {
	if len(s.By) == 0 || s.Kind == Rarity {
		return NoEnd
	}
	return s.By[0].End
}

// caseOf hashes what tells cases apart: the spec and its keys with their lengths.
func (d *Detector) caseOf(s *Spec, ev *event.Event) caseKey {
	b := d.scratch[:0]
	keys := s.By
	if s.Kind == Rarity { // of a value, whoever has it
		b = s.Value.Append(b, ev)
		keys = nil
	}
	for i := range keys {
		at := len(b)
		b = append(b, 0, 0)
		b = keys[i].Append(b, ev)
		binary.LittleEndian.PutUint16(b[at:], uint16(len(b)-at))
	}
	d.scratch = b
	return hash(s.Version, b)
}

// hash is two runs of wyhash's mixer over eight bytes at a time.
func hash(seed uint64, b []byte) (k caseKey) {
	k.hi, k.lo = event.Mix(seed, uint64(len(b))), event.Mix(bits.ReverseBytes64(seed), 0x2d358dccaa6c78a5)
	for len(b) > 0 {
		var word [8]byte
		n := copy(word[:], b)
		b = b[n:]
		w := binary.LittleEndian.Uint64(word[:])
		k.hi, k.lo = event.Mix(k.hi^w, 0x8bb84b93962eacc9), event.Mix(k.lo^w, 0x4b33a62ed433d4a3)
	}
	return k
}

// watch shows a record that matches to one spec.
func (d *Detector) watch(at int, s *Spec, key caseKey, ev *event.Event, dst []event.Observation) []event.Observation {
	if s.Kind == Sequence {
		return d.step(at, s, key, ev, dst)
	}
	if s.Kind != Event && s.Kind != Indicator {
		dst = d.expire(key, ev.Clock(), dst)
	}
	switch s.Kind {
	case Event, Indicator:
		if s.Kind == Indicator && ev.Threat == nil {
			return dst
		}
		return append(dst, single(s, ev))
	case Threshold:
		return d.count(at, s, key, ev, dst)
	case FirstSeen:
		return d.sight(at, s, key, ev, dst)
	case Rarity:
		return d.rare(at, s, key, ev, dst)
	case Baseline:
		return d.measure(at, s, key, ev, dst)
	}
	return dst
}

// valueOf hashes the spec's value of a record; ok is false if there is none.
func (d *Detector) valueOf(s *Spec, ev *event.Event) (h uint64, ok bool) {
	d.scratch = s.Value.Append(d.scratch[:0], ev)
	return hash(1, d.scratch).hi, len(d.scratch) > 0
}

// text returns the spec's value of a record, cut to a length that findings can show.
func (d *Detector) text(k *Key, ev *event.Event) string {
	d.scratch = k.Append(d.scratch[:0], ev)
	return string(d.scratch[:min(len(d.scratch), subjectLength)])
}

// expire closes a case that was over before a record came, whenever Advance is called.
func (d *Detector) expire(key caseKey, now int64, dst []event.Observation) []event.Observation {
	if e := d.cases[key]; e != nil && e.until < now {
		return d.over(e, dst)
	}
	return dst
}

// Advance closes what is over by the data's own clock.
func (d *Detector) Advance(clock int64, dst []event.Observation) []event.Observation {
	for len(d.due) > 0 && d.due[0].at < clock {
		t := d.due.pop()
		e := d.cases[t.key]
		if e == nil || e.order != t.order {
			continue
		}
		if e.until > t.at { // it was prolonged since
			d.due.push(timer{e.until, e.order, e.key})
			continue
		}
		dst = d.over(e, dst)
	}
	return dst
}

// over ends what a case waits for, and forgets it.
func (d *Detector) over(e *entry, dst []event.Observation) []event.Observation {
	s := &d.specs[e.spec]
	if s.Kind == Sequence {
		dst = d.waited(s, e, dst)
	}
	dst = d.closeEpisode(s, e, dst)
	d.forget(e)
	return dst
}

// Finish closes every case: the data is complete.
func (d *Detector) Finish(dst []event.Observation) []event.Observation {
	for len(d.due) > 0 {
		t := d.due.pop()
		e := d.cases[t.key]
		if e == nil || e.order != t.order {
			continue
		}
		dst = d.over(e, dst)
	}
	return dst
}
