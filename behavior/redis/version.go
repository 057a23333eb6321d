package redis

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"

	"tidewatch/behavior/state"
)

// A version is named after the generation and the epoch that wrote it.
//
// A generation is a number that one process has claimed for one sensor; nobody else
// ever writes a field with it. A process claims a new one when it starts, and whenever
// an answer of Redis is lost: what was sent then may still arrive, even much later, and
// must not meet a field that is written again.
type version struct{ gen, epoch uint64 }

// after orders versions: generations follow each other in time.
func (v version) after(w version) bool {
	return cmp.Or(cmp.Compare(v.gen, w.gen), cmp.Compare(v.epoch, w.epoch)) > 0
}

// history says which versions of a sensor count: those up to the last epoch that each
// of its generations committed.
type history struct {
	now   version   // the generation that writes, and its last epoch
	spans []version // earlier generations, each with its last epoch, oldest first
}

// maxSpans bounds a history. What older generations wrote and did not commit was removed
// by Load since.
const maxSpans = 128

// counts reports whether a version was committed.
func (h *history) counts(v version) bool {
	if v.gen >= h.now.gen {
		return v.gen == h.now.gen && v.epoch <= h.now.epoch
	}
	i, found := slices.BinarySearchFunc(h.spans, v.gen, func(s version, gen uint64) int { return cmp.Compare(s.gen, gen) })
	if found {
		return v.epoch <= h.spans[i].epoch
	}
	return i == 0 // older than all that are remembered; others never existed
}

// next begins a generation, in which no epoch counts yet.
func (h *history) next(gen uint64) {
	if h.now.gen != 0 {
		h.spans = append(h.spans, h.now)
	}
	if n := len(h.spans); n > maxSpans {
		h.spans = slices.Delete(h.spans, 0, n-maxSpans)
	}
	h.now = version{gen: gen}
}

// formatVersion is the first byte of each value. A reader leaves others alone.
const formatVersion = 1

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errFormat says that a value is of another format: a newer one, perhaps.
var errFormat = errors.New("a format that is not known")

// errDamaged says that a value is not what was written.
var errDamaged = errors.New("a checksum is wrong")

// seal puts the format before a body and a checksum after it. The checksum covers the
// names of the place it is written to.
func seal(body []byte, places ...string) []byte {
	b := append(make([]byte, 0, len(body)+5), formatVersion)
	b = append(b, body...)
	return binary.LittleEndian.AppendUint32(b, checksum(b, places))
}

// open is the inverse of seal. The body is b's own.
func open(b string, places ...string) ([]byte, error) {
	switch {
	case len(b) < 5:
		return nil, errDamaged
	case b[0] != formatVersion:
		return nil, fmt.Errorf("%w: %d", errFormat, b[0])
	}
	v := []byte(b)
	n := len(v) - 4
	if binary.LittleEndian.Uint32(v[n:]) != checksum(v[:n], places) {
		return nil, errDamaged
	}
	return v[1:n:n], nil
}

func checksum(b []byte, places []string) uint32 {
	c := crc32.Update(0, castagnoli, b)
	for _, p := range places {
		c = crc32.Update(c, castagnoli, []byte(p))
		c = crc32.Update(c, castagnoli, []byte{0})
	}
	return c
}

// encodeEntity makes the value of one version of a record.
func encodeEntity(epoch uint64, value []byte, key []byte, field string) []byte {
	b := binary.AppendUvarint(make([]byte, 0, len(value)+10), epoch)
	return seal(append(b, value...), string(key), field)
}

// decodeEntity is the inverse of encodeEntity.
func decodeEntity(b string, key []byte, field string) (epoch uint64, value []byte, err error) {
	body, err := open(b, string(key), field)
	if err != nil {
		return 0, nil, err
	}
	epoch, n := binary.Uvarint(body)
	if n <= 0 || n == len(body) {
		return 0, nil, errDamaged
	}
	return epoch, body[n:], nil
}

// commit is what a sensor's key says of its last epoch.
type commit struct {
	history
	written int64              // when, by the sensor's own clock, in Unix nanoseconds
	markers []int              // the numbers of its markers
	tips    map[bucket]version // the last field of each bucket
}

func (c *commit) encode(places ...string) []byte {
	b := binary.AppendUvarint(nil, c.now.gen)
	b = binary.AppendUvarint(b, c.now.epoch)
	b = binary.AppendVarint(b, c.written)
	b = binary.AppendUvarint(b, uint64(len(c.spans)))
	for _, s := range c.spans {
		b = binary.AppendUvarint(b, s.gen)
		b = binary.AppendUvarint(b, s.epoch)
	}
	b = binary.AppendUvarint(b, uint64(len(c.markers)))
	for _, m := range c.markers {
		b = binary.AppendUvarint(b, uint64(m))
	}
	b = binary.AppendUvarint(b, uint64(len(c.tips)))
	for at := range eachBucket() {
		if tip, ok := c.tips[at]; ok {
			b = append(b, byte(at.section))
			b = binary.AppendUvarint(b, uint64(at.n))
			b = binary.AppendUvarint(b, tip.gen)
			b = binary.AppendUvarint(b, tip.epoch)
		}
	}
	return seal(b, places...)
}

const (
	maxMarkers = 4096 // nodes of a cluster
	maxTips    = 4096 // buckets
)

func decodeCommit(v string, places ...string) (c commit, err error) {
	b, err := open(v, places...)
	if err != nil {
		return c, err
	}
	r := reader{b: b}
	c.now = version{r.uint(), r.uint()}
	c.written = r.int()
	for range r.length(maxSpans) {
		c.spans = append(c.spans, version{r.uint(), r.uint()})
	}
	for range r.length(maxMarkers) {
		c.markers = append(c.markers, int(r.uint()))
	}
	c.tips = map[bucket]version{}
	for range r.length(maxTips) {
		at := bucket{state.Section(r.uint()), uint32(r.uint())}
		c.tips[at] = version{r.uint(), r.uint()}
	}
	if r.bad || len(r.b) != 0 || c.now.gen == 0 {
		return commit{}, errDamaged
	}
	return c, nil
}

// reader reads numbers of variable size. Once bad, what it reads is zero.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) advance(n int) {
	if n <= 0 {
		r.b, r.bad = nil, true
		return
	}
	r.b = r.b[n:]
}

func (r *reader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	r.advance(n)
	return v
}

func (r *reader) int() int64 {
	v, n := binary.Varint(r.b)
	r.advance(n)
	return v
}

func (r *reader) length(limit int) int {
	n := r.uint()
	if n > uint64(limit) {
		r.b, r.bad = nil, true
		return 0
	}
	return int(n)
}

// text reads bytes with their length before them. They are b's own.
func (r *reader) text() []byte {
	n := r.length(len(r.b))
	if n > len(r.b) {
		r.b, r.bad = nil, true
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}
