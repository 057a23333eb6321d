package ingest

import (
	"slices"

	"tidewatch/event"
)

const (
	// batchEvents and batchBytes are the size of a batch, and so of a run.
	batchEvents = 256
	batchBytes  = 128 << 10
)

// run is one batch of a source with its events in order. Source and Merge hand it
// to and fro.
type run struct {
	source *source
	batch  *event.Batch
	number int                // among the source's runs, from 1
	n      int                // of events
	at     int                // the next one
	heldIn uint64             // the sequence that holds the batch
	keys   [batchEvents]int64 // Written, in order
	order  [batchEvents]uint8 // where in the batch that event is
}

// maxShifts is how many moves for each event insertion sort may take. A log is
// nearly in order, and where it is not, another sort is better.
const maxShifts = 8

// load takes over a batch and puts its events into order. Events with one key
// keep theirs.
func (r *run) load(b *event.Batch) {
	evs := b.Events
	r.batch, r.n, r.at, r.heldIn = b, len(evs), 0, 0
	moves := maxShifts * len(evs)
	for i := range evs {
		k := evs[i].Written
		j := i
		for j > 0 && r.keys[j-1] > k {
			r.keys[j], r.order[j] = r.keys[j-1], r.order[j-1]
			j--
		}
		r.keys[j], r.order[j] = k, uint8(i)
		if moves -= i - j; moves < 0 {
			r.sort()
			return
		}
	}
}

// sort does what load does, for batches that are far from order: it sorts numbers
// of which the upper 56 bits are the key and the lower 8 the place.
func (r *run) sort() {
	var packed [batchEvents]uint64
	evs := r.batch.Events
	low := evs[0].Written
	high := low
	for i := range evs {
		low, high = min(low, evs[i].Written), max(high, evs[i].Written)
	}
	if uint64(high)-uint64(low) >= 1<<56 { // 2.3 years in one batch: some are nonsense
		r.sortSlowly()
		return
	}
	for i := range evs {
		packed[i] = (uint64(evs[i].Written)-uint64(low))<<8 | uint64(i)
	}
	slices.Sort(packed[:len(evs)])
	for i, p := range packed[:len(evs)] {
		r.keys[i], r.order[i] = int64(p>>8+uint64(low)), uint8(p)
	}
}

func (r *run) sortSlowly() {
	evs := r.batch.Events
	order := r.order[:len(evs)]
	for i := range order {
		order[i] = uint8(i)
	}
	slices.SortStableFunc(order, func(a, b uint8) int {
		switch ka, kb := evs[a].Written, evs[b].Written; {
		case ka < kb:
			return -1
		case ka > kb:
			return 1
		}
		return 0
	})
	for i, o := range order {
		r.keys[i] = evs[o].Written
	}
}

// head is the next event of a run: what the order is decided by.
type head struct {
	key int64
	tie uint64 // the source's rank, then the number of the run in it
	run *run
}

func (h *head) before(o *head) bool {
	return h.key < o.key || h.key == o.key && h.tie < o.tie
}

// heap has the run with the first event on top.
type heap []head

func (h *heap) push(x head) {
	*h = append(*h, x)
	h.up(len(*h) - 1)
}

// pop removes the top.
func (h *heap) pop() {
	s := *h
	n := len(s) - 1
	s[0], s[n] = s[n], head{}
	*h = s[:n]
	(*h).down()
}

// up moves an entry that has become earlier to its place.
func (h heap) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !h[i].before(&h[parent]) {
			return
		}
		h[i], h[parent] = h[parent], h[i]
		i = parent
	}
}

// down moves the top, which has become later, to its place.
func (h heap) down() {
	if len(h) == 0 {
		return
	}
	x := h[0]
	i := 0
	for {
		c := 2*i + 1
		if c >= len(h) {
			break
		}
		if c+1 < len(h) && h[c+1].before(&h[c]) {
			c++
		}
		if !h[c].before(&x) {
			break
		}
		h[i] = h[c]
		i = c
	}
	h[i] = x
}

// second returns the entry that comes next after the top, or nil.
func (h heap) second() *head {
	switch {
	case len(h) < 2:
		return nil
	case len(h) > 2 && h[2].before(&h[1]):
		return &h[2]
	}
	return &h[1]
}
