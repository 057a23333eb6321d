package event

import (
	"strings"
	"sync/atomic"
)

// Batch owns a run of Events from one source and the memory they point into.
//
// The goroutine that took it from its Pool owns it alone and writes to it. Once
// it is given on, nobody writes; each holder calls Release once, and the last
// Release returns the Batch to its pool. It never grows: full is a state.
type Batch struct {
	Events []Event
	End    Position // just after the last record read into the batch

	buf     []byte
	strings slab[string]
	ttls    slab[uint32]
	fields  slab[Field]
	details details
	last    mark // what was in use before the last Add
	refs    atomic.Int32
	home    Pool
}

// mark is how much of a batch's memory is in use, but for its details.
type mark struct{ buf, strings, ttls, fields int }

// details are the column structs of the batch's events, one slab a type. Each
// slab is allocated when a batch first needs it and kept.
type details struct {
	conn     slab[Conn]
	dns      slab[DNS]
	tls      slab[TLS]
	http     slab[HTTP]
	file     slab[File]
	x509     slab[X509]
	ssh      slab[SSH]
	rdp      slab[RDP]
	smb      slab[SMB]
	dhcp     slab[DHCP]
	notice   slab[Notice]
	software slab[Software]
	kerberos slab[Kerberos]
	app      slab[App]
}

// drop takes back the column structs of ev, the last record.
func (d *details) drop(ev *Event) {
	undo(&d.conn, ev.Conn)
	undo(&d.dns, ev.DNS)
	undo(&d.tls, ev.TLS)
	undo(&d.http, ev.HTTP)
	undo(&d.file, ev.File)
	undo(&d.x509, ev.X509)
	undo(&d.ssh, ev.SSH)
	undo(&d.rdp, ev.RDP)
	undo(&d.smb, ev.SMB)
	undo(&d.dhcp, ev.DHCP)
	undo(&d.notice, ev.Notice)
	undo(&d.software, ev.Software)
	undo(&d.kerberos, ev.Kerberos)
	undo(&d.app, ev.App)
}

// undo takes p back, if it is the last that one returned.
func undo[T any](s *slab[T], p *T) {
	if n := len(s.items); p != nil && n > 0 && p == &s.items[n-1] {
		s.cut(n - 1)
	}
}

// slab hands out elements of one array.
type slab[T any] struct{ items []T }

// one returns a zero T. A slab of a batch's own size cannot run out.
func (s *slab[T]) one(size int) *T {
	if s.items == nil {
		s.items = make([]T, 0, size)
	}
	n := len(s.items)
	s.items = s.items[:n+1]
	return &s.items[n]
}

// run returns an empty slice with room for n elements. One record can ask for
// more than the slab has left; that slice has memory of its own.
func (s *slab[T]) run(n, size int) []T {
	if s.items == nil {
		s.items = make([]T, 0, size)
	}
	at := len(s.items)
	if n > cap(s.items)-at {
		return make([]T, 0, n)
	}
	s.items = s.items[:at+n]
	return s.items[at : at : at+n]
}

// cut takes back all elements but the first n.
func (s *slab[T]) cut(n int) {
	clear(s.items[n:])
	s.items = s.items[:n]
}

func (s *slab[T]) reset() { s.cut(0) }

// Pool is a fixed set of batches. Receiving from it takes one; when all are in
// use that blocks, which is the back-pressure.
type Pool chan *Batch

// NewPool returns a pool of n batches, each for up to events records and size
// bytes of them.
func NewPool(n, events, size int) Pool {
	p := make(Pool, n)
	for range n {
		p <- NewBatch(p, events, size)
	}
	return p
}

// NewBatch returns a batch that Release sends to home; home may be nil.
func NewBatch(home Pool, events, size int) *Batch {
	b := &Batch{Events: make([]Event, 0, events), buf: make([]byte, 0, size), home: home}
	b.refs.Store(1)
	return b
}

// Add copies line into the batch and appends a record for it. It returns the
// record and the batch's own copy of line, which the caller may write to, or nil
// if the batch is full. A line longer than an empty batch can hold gets memory of
// its own: no line is refused for its length here.
//
// Beside the line, Add sets as many bytes aside for Scratch.
func (b *Batch) Add(line []byte) (*Event, []byte) {
	if len(b.Events) == cap(b.Events) {
		return nil, nil
	}
	b.last = mark{len(b.buf), len(b.strings.items), len(b.ttls.items), len(b.fields.items)}
	if 2*len(line) > cap(b.buf)-len(b.buf) {
		if len(b.Events) > 0 {
			return nil, nil
		}
		own := make([]byte, 0, max(2*len(line), cap(b.buf)))
		if cap(own) > cap(b.buf) {
			return b.append(append(own, line...)[:len(line):len(line)])
		}
	}
	start := len(b.buf)
	b.buf = append(b.buf, line...) // never reallocates: see the check above
	return b.append(b.buf[start:len(b.buf):len(b.buf)])
}

func (b *Batch) append(line []byte) (*Event, []byte) {
	n := len(b.Events)
	b.Events = b.Events[:n+1]
	ev := &b.Events[n]
	ev.Raw = line
	return ev, line
}

// Drop removes the record that Add returned last, and takes back the memory that
// it used: a batch can be given any number of records that are dropped. The bytes
// of its line are valid until the next Add; its columns and lists are gone.
func (b *Batch) Drop() {
	n := len(b.Events) - 1
	b.details.drop(&b.Events[n])
	b.Events[n] = Event{}
	b.Events = b.Events[:n]
	b.buf = b.buf[:b.last.buf]
	b.strings.cut(b.last.strings)
	b.ttls.cut(b.last.ttls)
	b.fields.cut(b.last.fields)
}

// Scratch returns an empty slice with room for n bytes that live as long as the
// batch: for a value that had to be unescaped.
func (b *Batch) Scratch(n int) []byte {
	at := len(b.buf)
	if n > cap(b.buf)-at {
		return make([]byte, 0, n)
	}
	b.buf = b.buf[:at+n]
	return b.buf[at : at : at+n]
}

// Strings returns an empty slice with room for n strings that live as long as the
// batch. The caller may append n strings to it.
func (b *Batch) Strings(n int) []string { return b.strings.run(n, 4*cap(b.Events)) }

// TTLs is Strings for numbers.
func (b *Batch) TTLs(n int) []uint32 { return b.ttls.run(n, 4*cap(b.Events)) }

// Fields is Strings for Extra.
func (b *Batch) Fields(n int) []Field { return b.fields.run(n, 4*cap(b.Events)) }

// The functions below give the last record, ev, its columns of one kind, all
// unset. A record has each kind once: a second call returns the same.

// Conn returns ev.Conn, set to an empty one if it was nil.
func (b *Batch) Conn(ev *Event) *Conn { return detail(&ev.Conn, &b.details.conn, b) }

// DNS returns ev.DNS, set to an empty one if it was nil.
func (b *Batch) DNS(ev *Event) *DNS { return detail(&ev.DNS, &b.details.dns, b) }

// TLS returns ev.TLS, set to an empty one if it was nil.
func (b *Batch) TLS(ev *Event) *TLS { return detail(&ev.TLS, &b.details.tls, b) }

// HTTP returns ev.HTTP, set to an empty one if it was nil.
func (b *Batch) HTTP(ev *Event) *HTTP { return detail(&ev.HTTP, &b.details.http, b) }

// File returns ev.File, set to an empty one if it was nil.
func (b *Batch) File(ev *Event) *File { return detail(&ev.File, &b.details.file, b) }

// X509 returns ev.X509, set to an empty one if it was nil.
func (b *Batch) X509(ev *Event) *X509 { return detail(&ev.X509, &b.details.x509, b) }

// SSH returns ev.SSH, set to an empty one if it was nil.
func (b *Batch) SSH(ev *Event) *SSH { return detail(&ev.SSH, &b.details.ssh, b) }

// RDP returns ev.RDP, set to an empty one if it was nil.
func (b *Batch) RDP(ev *Event) *RDP { return detail(&ev.RDP, &b.details.rdp, b) }

// SMB returns ev.SMB, set to an empty one if it was nil.
func (b *Batch) SMB(ev *Event) *SMB { return detail(&ev.SMB, &b.details.smb, b) }

// DHCP returns ev.DHCP, set to an empty one if it was nil.
func (b *Batch) DHCP(ev *Event) *DHCP { return detail(&ev.DHCP, &b.details.dhcp, b) }

// Notice returns ev.Notice, set to an empty one if it was nil.
func (b *Batch) Notice(ev *Event) *Notice { return detail(&ev.Notice, &b.details.notice, b) }

// Software returns ev.Software, set to an empty one if it was nil.
func (b *Batch) Software(ev *Event) *Software { return detail(&ev.Software, &b.details.software, b) }

// Kerberos returns ev.Kerberos, set to an empty one if it was nil.
func (b *Batch) Kerberos(ev *Event) *Kerberos { return detail(&ev.Kerberos, &b.details.kerberos, b) }

// App returns ev.App, set to an empty one if it was nil.
func (b *Batch) App(ev *Event) *App { return detail(&ev.App, &b.details.app, b) }

func detail[T any](p **T, s *slab[T], b *Batch) *T {
	if *p != nil {
		return *p
	}
	if len(s.items) == cap(s.items) && s.items != nil {
		*p = new(T) // records dropped after they took theirs used the slab up
		return *p
	}
	*p = s.one(cap(b.Events))
	return *p
}

// Retain adds a holder, who must call Release.
func (b *Batch) Retain() { b.refs.Add(1) }

// Release gives up one hold. The last one empties the batch and returns it to
// its pool.
func (b *Batch) Release() {
	switch n := b.refs.Add(-1); {
	case n == 0:
		b.reset()
		if b.home != nil {
			b.home <- b
		}
	case n < 0:
		panic("event: batch released more often than held")
	}
}

func (b *Batch) reset() {
	poison(b)
	clear(b.Events)
	b.Events, b.buf, b.End = b.Events[:0], b.buf[:0], Position{}
	b.strings.reset()
	b.ttls.reset()
	b.fields.reset()
	d := &b.details
	d.conn.reset()
	d.dns.reset()
	d.tls.reset()
	d.http.reset()
	d.file.reset()
	d.x509.reset()
	d.ssh.reset()
	d.rdp.reset()
	d.smb.reset()
	d.dhcp.reset()
	d.notice.reset()
	d.software.reset()
	d.kerberos.reset()
	d.app.reset()
	b.refs.Store(1)
}

// Clone returns a copy of s that owns its memory.
func Clone(s string) string { return strings.Clone(s) }

// Sequence is an ordered run of events, held by several readers at once. Its
// events come from one batch or, where files were interleaved, from several.
type Sequence struct {
	Events    []*Event
	Clock     int64      // greatest Written of this and all earlier sequences of the source
	Positions []Position // where each source stands after this sequence

	batches []*Batch
	known   []Known // of events, in no order; never grows
	refs    atomic.Int32
	home    chan *Sequence
}

// SequencePool is a fixed set of sequences, used as Pool is.
type SequencePool chan *Sequence

// NewSequencePool returns n sequences of up to events each.
func NewSequencePool(n, events int) SequencePool {
	p := make(SequencePool, n)
	for range n {
		p <- &Sequence{Events: make([]*Event, 0, events), home: p}
	}
	return p
}

// Hold makes the sequence a holder of b. The sequence releases b when its own
// last reader releases the sequence.
func (s *Sequence) Hold(b *Batch) {
	b.Retain()
	s.batches = append(s.batches, b)
}

// Share gives the sequence n readers.
func (s *Sequence) Share(n int) { s.refs.Store(int32(n)) }

// Release gives up one reader's hold.
func (s *Sequence) Release() {
	switch n := s.refs.Add(-1); {
	case n == 0:
		for _, ev := range s.Events {
			ev.Known = nil // the batch may outlive the sequence
		}
		for _, b := range s.batches {
			b.Release()
		}
		clear(s.Events)
		clear(s.batches)
		clear(s.known)
		s.known = s.known[:0]
		s.Events, s.batches, s.Positions, s.Clock = s.Events[:0], s.batches[:0], s.Positions[:0], 0
		if s.home != nil {
			s.home <- s
		}
	case n < 0:
		panic("event: sequence released more often than shared")
	}
}
