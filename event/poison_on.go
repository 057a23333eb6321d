//go:build poison

package event

// poison overwrites what a batch held, so that a view kept too long shows.
func poison(b *Batch) {
	buf := b.buf[:cap(b.buf)]
	for i := range buf {
		buf[i] = 0xDB
	}
	for i := range b.Events {
		if len(b.Events[i].Raw) > cap(b.buf) { // a long line with memory of its own
			for j := range b.Events[i].Raw {
				b.Events[i].Raw[j] = 0xDB
			}
		}
	}
	for i := range b.strings.items {
		b.strings.items[i] = "\xdb\xdb\xdb poisoned"
	}
}
