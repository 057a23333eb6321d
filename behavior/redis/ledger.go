package redis

import (
	"cmp"
	"encoding/binary"
	"iter"
	"maps"
	"slices"

	"tidewatch/behavior/state"
)

// buckets says how many buckets the ledger of each section has. They are part of the
// format.
var buckets = [state.NumSections]uint32{
	state.Positions: 1, state.Entities: 128, state.Suppression: 4, state.Joined: 16, state.Population: 32, state.Devices: 4,
}

// eachBucket lists the buckets of all ledgers; those of positions come first.
func eachBucket() iter.Seq[bucket] {
	return func(yield func(bucket) bool) {
		for section, n := range buckets {
			for i := range n {
				if !yield(bucket{state.Section(section), i}) {
					return
				}
			}
		}
	}
}

// bucket is one hash of a ledger. Each of its fields holds what one epoch changed, or
// everything up to one, and is never written again: a few large values, where a key a
// record would take several times the memory and a command for each change.
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
	whole, since int     // bytes of the last whole, and of the deltas after it
	deltas       int     // fields after it
	tip          version // of the last field
	period       uint64  // in which its TTL was renewed
}

// due reports whether a bucket should be written as a whole, and whether it must:
// as a rule, its size at most doubles.
func (l *ledger) due(delta int) (should, must bool) {
	const small = 16 << 10
	size := l.since + delta
	return size > max(l.whole, small) || l.deltas >= 128, size > 4*max(l.whole, small) || l.deltas >= 1024
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

// part is a field of a bucket.
type part struct {
	kind rune
	version
	field string
}

// fold reads a bucket: the newest whole that counts and the deltas after it.
func fold(key string, fields map[string]string, h *history) folded {
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
	slices.SortFunc(parts, compareParts)
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
		f.ledger.tip = p.version
		if p.kind == fieldDelta {
			f.ledger.deltas++
			f.ledger.since += len(fields[p.field])
		}
	}
	return f
}

func compareParts(a, b part) int {
	return cmp.Or(cmp.Compare(a.gen, b.gen), cmp.Compare(a.epoch, b.epoch), cmp.Compare(a.kind, b.kind))
}

// body returns the entries of all records, in the order of their keys.
func (f *folded) body() []byte {
	var b []byte
	for _, k := range slices.Sorted(maps.Keys(f.records)) {
		b = appendEntry(b, []byte(k), f.records[k])
	}
	return b
}
