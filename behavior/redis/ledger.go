package redis

import (
	"cmp"
	"encoding/binary"
	"hash/maphash"
	"maps"
	"slices"

	"tidewatch/behavior/state"
)

// keysSection is the ledger that lists which entities a sensor has: what it reads when
// it starts, and what tells it that Redis lost one.
const keysSection = state.NumSections

// buckets says how many buckets each ledger has. They are part of the format.
var buckets = [state.NumSections + 1]uint32{
	state.Positions: 1, state.Suppression: 4, state.Joined: 16, state.Population: 32, keysSection: 16,
}

func sectionName(s state.Section) string {
	if s == keysSection {
		return "keys"
	}
	return s.String()
}

// bucket is one hash of a ledger. Each of its fields holds what one epoch changed, or
// everything up to one: a few large values, where a field a record would take four
// times the memory and a command each.
type bucket struct {
	section state.Section
	n       uint32
}

func bucketOf(section state.Section, key []byte) bucket {
	h := uint32(2166136261) // FNV-1a
	for _, c := range key {
		h = (h ^ uint32(c)) * 16777619
	}
	return bucket{section, h % buckets[section]}
}

// ledger is what a writer knows of a bucket.
type ledger struct {
	whole, since int    // bytes of the last whole, and of the deltas after it
	deltas       int    // fields after it
	period       uint64 // in which its TTL was renewed
}

// due reports whether a bucket is to be written as a whole: its size at most doubles.
func (l *ledger) due(delta int) bool {
	const small = 16 << 10
	return l.since+delta > max(l.whole, small) || l.deltas >= 128
}

// appendEntry appends a record; one without a value removes.
func appendEntry(b []byte, key, value []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(key)))
	b = append(b, key...)
	b = binary.AppendUvarint(b, uint64(len(value)))
	return append(b, value...)
}

// apply puts the entries of a value into m. Values in m are b's own.
func apply(m map[string][]byte, b []byte) error {
	r := reader{b: b}
	for len(r.b) > 0 {
		k, v := r.text(), r.text()
		if r.bad {
			return errDamaged
		}
		if len(v) == 0 {
			delete(m, string(k))
		} else {
			m[string(k)] = v
		}
	}
	return nil
}

// folded is a bucket as it was read.
type folded struct {
	records map[string][]byte
	fields  []string // all of its deltas and wholes
	void    []string // those that do not count
	bad     int      // fields that count and are damaged
	ledger  ledger
}

// fold reads a bucket: the newest whole that counts and the deltas after it.
func fold(key string, fields map[string]string, h *history) folded {
	type part struct {
		kind rune
		version
		field string
	}
	var parts []part
	f := folded{records: map[string][]byte{}}
	for name := range fields {
		kind, v, ok := parseField(name)
		if !ok || kind != fieldDelta && kind != fieldWhole {
			continue
		}
		f.fields = append(f.fields, name)
		if h.counts(v) {
			parts = append(parts, part{kind, v, name})
		} else {
			f.void = append(f.void, name)
		}
	}
	slices.SortFunc(parts, func(a, b part) int {
		return cmp.Or(cmp.Compare(a.gen, b.gen), cmp.Compare(a.epoch, b.epoch), cmp.Compare(a.kind, b.kind))
	})
	for _, p := range parts {
		body, err := open(fields[p.field], key, p.field)
		if err == nil && p.kind == fieldWhole {
			clear(f.records)
			f.ledger = ledger{whole: len(body)}
		}
		if err == nil {
			err = apply(f.records, body)
		}
		if err != nil {
			f.bad++
		}
		if p.kind == fieldDelta {
			f.ledger.deltas++
			f.ledger.since += len(fields[p.field])
		}
	}
	return f
}

// body returns the entries of all records, in the order of their keys.
func (f *folded) body() []byte {
	var b []byte
	for _, k := range slices.Sorted(maps.Keys(f.records)) {
		b = appendEntry(b, []byte(k), f.records[k])
	}
	return b
}

// slots knows which of its two fields each entity was last written to in this
// generation, and when its TTL was renewed. It takes about 40 bytes an entity.
type slots struct {
	seed  maphash.Seed
	known map[uint64]slot
}

// maxSlots bounds slots: beyond it a new generation begins, which knows none.
const maxSlots = 4 << 20

type slot struct {
	epoch  uint32 // its lower bits: of the last write
	period uint16
	n      byte // 0 or 1
}

func newSlots() slots { return slots{maphash.MakeSeed(), map[uint64]slot{}} }

func (s *slots) hash(key []byte) uint64 { return maphash.Bytes(s.seed, key) }
