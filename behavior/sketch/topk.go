package sketch

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"
)

const (
	topForm = 1
	maxTop  = 1024
)

// TopK keeps the keys with the largest counts: SpaceSaving (Metwally, Agrawal and El
// Abbadi, "Efficient computation of frequent and top-k elements in data streams",
// 2005). Of N counted in all, each key with more than N/k is kept, and no count is
// off by more than N/k.
//
// The zero TopK keeps nothing; use NewTopK. It takes 48 bytes, and 28 to 32 for each
// key that there is room for.
type TopK struct {
	heap  []Top    // the least count first
	index []uint16 // by hash of the key: 1 + its place in the heap; 0 is empty
}

// Top is a key and what it counts for: at most Count, at least Count - Error.
type Top struct {
	Key, Count, Error uint64
}

// NewTopK makes room for k keys, from 1 to 1,024.
func NewTopK(k int) TopK {
	k = min(max(k, 1), maxTop)
	size := 4
	for size < 2*k {
		size *= 2
	}
	return TopK{make([]Top, 0, k), make([]uint16, size)}
}

// Add counts a key n times more. If there is no room it takes the place, and the
// count, of the key with the least. Counts end at 2^64-1.
func (t *TopK) Add(key, n uint64) {
	if n == 0 || cap(t.heap) == 0 {
		return
	}
	slot := t.find(key)
	place := int(t.index[slot]) - 1
	switch {
	case place >= 0:
		t.heap[place].Count = plus(t.heap[place].Count, n)
		t.down(place)
	case len(t.heap) < cap(t.heap):
		t.heap = append(t.heap, Top{Key: key, Count: n})
		t.index[slot] = uint16(len(t.heap))
		t.up(len(t.heap) - 1)
	default:
		least := t.heap[0]
		t.remove(least.Key)
		t.heap[0] = Top{key, plus(least.Count, n), least.Count}
		t.index[t.find(key)] = 1
		t.down(0)
	}
}

func plus(a, b uint64) uint64 {
	if a+b < a {
		return math.MaxUint64
	}
	return a + b
}

// Least is what a key that is not kept counts for at most: the error of the next one
// to come.
func (t *TopK) Least() uint64 {
	if len(t.heap) < cap(t.heap) || len(t.heap) == 0 {
		return 0
	}
	return t.heap[0].Count
}

// AppendTop appends the keys that are kept to dst, the largest count first, and of
// equal ones the smallest key.
func (t *TopK) AppendTop(dst []Top) []Top {
	n := len(dst)
	dst = append(dst, t.heap...)
	slices.SortFunc(dst[n:], byCount)
	return dst
}

func byCount(a, b Top) int {
	return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Key, b.Key))
}

// Merge makes t the summary of what both counted, with the room of the smaller. A key
// that one of them does not keep may have counted for its least, which is added to
// count and error (Agarwal et al., "Mergeable summaries", 2012): the bounds hold, with
// N the sum of both. It commutes; it is not idempotent.
func (t *TopK) Merge(o *TopK) {
	if cap(o.heap) == 0 {
		return
	}
	if cap(t.heap) == 0 {
		*t = NewTopK(cap(o.heap))
	}
	all := make([]Top, 0, len(t.heap)+len(o.heap))
	for _, v := range t.heap {
		all = append(all, v.and(o))
	}
	for _, v := range o.heap {
		if t.index[t.find(v.Key)] == 0 {
			all = append(all, v.and(t))
		}
	}
	slices.SortFunc(all, byCount)
	t.fill(min(cap(t.heap), cap(o.heap)), all)
}

// and adds what o counted for the key.
func (v Top) and(o *TopK) Top {
	w := Top{Count: o.Least(), Error: o.Least()}
	if place := o.index[o.find(v.Key)]; place > 0 {
		w = o.heap[place-1]
	}
	return Top{v.Key, plus(v.Count, w.Count), plus(v.Error, w.Error)}
}

// fill makes t the summary with room for k of the keys given, largest first.
func (t *TopK) fill(k int, sorted []Top) {
	*t = NewTopK(k)
	sorted = sorted[:min(len(sorted), k)]
	for i, v := range slices.Backward(sorted) { // the least first is a heap
		t.heap = append(t.heap, v)
		t.index[t.find(v.Key)] = uint16(len(sorted) - i)
	}
}

// find returns the slot of the index that a key is in, or would be.
func (t *TopK) find(key uint64) int {
	mask := len(t.index) - 1
	for slot := t.home(key); ; slot = (slot + 1) & mask {
		if place := t.index[slot]; place == 0 || t.heap[place-1].Key == key {
			return slot
		}
	}
}

// home is the slot that the search for a key begins at. The keys may be small numbers
// (ports): they are spread by the golden ratio.
func (t *TopK) home(key uint64) int {
	h := key * 0x9e3779b97f4a7c15
	return int((h^h>>32)>>16) & (len(t.index) - 1)
}

// remove takes a key from the index, and moves those behind it that would not be found
// any more (Knuth, "The Art of Computer Programming", vol. 3, 6.4, algorithm R).
func (t *TopK) remove(key uint64) {
	mask := len(t.index) - 1
	gap := t.find(key)
	for slot := (gap + 1) & mask; t.index[slot] != 0; slot = (slot + 1) & mask {
		home := t.home(t.heap[t.index[slot]-1].Key)
		if (slot-home)&mask >= (slot-gap)&mask {
			t.index[gap] = t.index[slot]
			gap = slot
		}
	}
	t.index[gap] = 0
}

// before orders the heap. Ties are broken by key, so that what goes first does not
// depend on the order in which keys came.
func (t *TopK) before(i, j int) bool {
	return byCount(t.heap[i], t.heap[j]) > 0
}

func (t *TopK) up(i int) {
	for i > 0 && t.before(i, (i-1)/2) {
		t.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
}

func (t *TopK) down(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(t.heap); child++ {
			if t.before(child, least) {
				least = child
			}
		}
		if least == i {
			return
		}
		t.swap(i, least)
		i = least
	}
}

func (t *TopK) swap(i, j int) {
	a, b := t.find(t.heap[i].Key), t.find(t.heap[j].Key)
	t.index[a], t.index[b] = t.index[b], t.index[a]
	t.heap[i], t.heap[j] = t.heap[j], t.heap[i]
}

// Append appends the serial form to dst: 28 bytes for each key at most, and 5.
func (t *TopK) Append(dst []byte) []byte {
	dst = binary.AppendUvarint(append(dst, topForm), uint64(cap(t.heap)))
	dst = binary.AppendUvarint(dst, uint64(len(t.heap)))
	for _, v := range t.AppendTop(nil) {
		dst = binary.LittleEndian.AppendUint64(dst, v.Key)
		dst = binary.AppendUvarint(dst, v.Count)
		dst = binary.AppendUvarint(dst, v.Error)
	}
	return dst
}

// Decode reads what Append wrote from the front of b, and returns the rest.
func (t *TopK) Decode(b []byte) (rest []byte, err error) {
	*t = TopK{}
	r := read(b, topForm)
	k := int(r.number(maxTop))
	n := int(r.number(uint64(k)))
	var sorted []Top
	for i := range n {
		v := Top{r.uint64(), r.number(math.MaxUint64), r.number(math.MaxUint64)}
		r.check(v.Count > 0 && v.Error <= v.Count && (i == 0 || byCount(sorted[i-1], v) < 0))
		if r.bad {
			return nil, ErrCorrupt
		}
		sorted = append(sorted, v)
	}
	if r.bad || k == 0 {
		return r.end()
	}
	t.fill(k, sorted)
	for i, v := range t.heap {
		if int(t.index[t.find(v.Key)]) != i+1 { // twice
			*t = TopK{}
			return nil, ErrCorrupt
		}
	}
	return r.end()
}
