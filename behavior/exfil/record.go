package exfil

import (
	"net/netip"

	"tidewatch/behavior/state"
	"tidewatch/event"
)

// version is the first byte of each stored record.
const version = 2

func writeWindow(w *state.Writer, v *window) {
	w.U32(uint32(v.at))
	w.U32(v.conns)
	for _, n := range []uint64{v.members, v.out, v.in, v.blind, v.pkts, v.disputed, v.largest} {
		w.U64(n)
	}
	w.I64(v.first)
	w.I64(v.last)
	w.I64(v.lasted)
	w.F64(v.rarity)
	w.U64(v.mark)
}

func readWindow(r *state.Reader, v *window) {
	v.at, v.conns = int32(r.U32()), r.U32()
	for _, n := range []*uint64{&v.members, &v.out, &v.in, &v.blind, &v.pkts, &v.disputed, &v.largest} {
		*n = r.U64()
	}
	v.first, v.last, v.lasted, v.rarity, v.mark = r.I64(), r.I64(), r.I64(), r.F64(), r.U64()
}

func writeAccount(w *state.Writer, a *account) {
	w.U64(a.key)
	w.U8(byte(a.kind))
	w.Bool(a.told)
	w.Bool(a.suspect)
	w.I64(a.first)
	w.I64(a.last)
	w.U32(uint32(a.hour))
	w.U64(a.hourOut)
	writeWindow(w, &a.day)
	w.U64(a.before)
	w.B = a.hours.Append(w.B)
	w.B = a.days.Append(w.B)
	w.B = a.drift.Append(w.B)
	w.I64(a.burst.start)
	w.U64(a.burst.bytes)
	w.U64(a.burst.total)
	w.U8(a.burst.n)
	w.U8(a.burst.many)
	w.I64(a.accepted)
	w.U64(a.normal)
}

func readAccount(r *state.Reader, a *account) {
	a.key, a.kind = r.U64(), readKind(r)
	a.told, a.suspect = r.Bool(), r.Bool()
	a.first, a.last = r.I64(), r.I64()
	a.hour, a.hourOut = int32(r.U32()), r.U64()
	readWindow(r, &a.day)
	a.before = r.U64()
	r.Decode(&a.hours)
	r.Decode(&a.days)
	r.Decode(&a.drift)
	a.burst = burst{r.I64(), r.U64(), r.U64(), r.U8(), r.U8()}
	a.accepted, a.normal = r.I64(), r.U64()
}

func readKind(r *state.Reader) kind {
	k := kind(r.U8())
	if k > allNew {
		r.Err = state.ErrRecord
		return 0
	}
	return k
}

func writeNotable(w *state.Writer, n *notable) {
	w.U64(n.key)
	w.U64(n.network)
	w.Text(string(n.uid[:n.uidLen]))
	w.U8(byte(n.state))
	w.Bool(n.inbound)
	w.Bool(n.fresh)
	w.U16(n.local)
	w.Addr(n.remote.Addr())
	w.U16(n.remote.Port())
	w.I64(n.start)
	w.I64(n.took)
	w.U64(n.out)
	w.U64(n.in)
}

func readNotable(r *state.Reader) (n notable) {
	n.key, n.network = r.U64(), r.U64()
	n.uidLen = uint8(copy(n.uid[:], r.Text()))
	n.state, n.inbound, n.fresh, n.local = event.State(r.U8()), r.Bool(), r.Bool(), r.U16()
	n.remote = netip.AddrPortFrom(r.Addr(), r.U16())
	n.start, n.took, n.out, n.in = r.I64(), r.I64(), r.U64(), r.U64()
	return n
}

func writeVerdict(w *state.Writer, v *verdict) {
	w.F64(v.sum)
	w.F64(v.bytes)
	w.F64(v.usual)
	w.U8(byte(v.n))
	for _, t := range v.terms[:v.n] {
		w.U8(byte(t.feature))
		w.F64(t.observed)
		w.F64(t.expected)
		w.F64(t.weight)
	}
}

func readVerdict(r *state.Reader, v *verdict) {
	v.sum, v.bytes, v.usual = r.F64(), r.F64(), r.F64()
	v.n = r.Length(len(v.terms))
	for i := range v.n {
		f := feature(r.U8())
		if f >= numFeatures {
			r.Err = state.ErrRecord
			f = 0
		}
		v.terms[i] = term{f, r.F64(), r.F64(), r.F64()}
	}
}

func writeEpisode(w *state.Writer, e *episode) {
	w.Text(e.id)
	w.U64(e.key)
	w.U8(byte(e.kind))
	w.U32(uint32(e.revision))
	w.U8(byte(e.level))
	w.Bool(e.held)
	w.I64(e.detected)
	w.I64(e.limit)
	writeWindow(w, &e.sums)
	writeVerdict(w, &e.verdict)
	w.Addr(e.addr)
	w.U16(e.port)
	w.U8(byte(e.proto))
	w.Text(e.service)
	w.Text(e.name)
	w.U8(byte(e.source))
	w.U8(byte(e.class))
	w.U32(e.use.Hosts)
	w.I64(e.use.First)
	w.U32(e.hosts)
	w.U32(e.rank)
	w.I64(e.first)
	w.I64(e.hostFirst)
	w.U32(uint32(e.active))
	w.I64(e.accepted)
	w.U64(e.normal)
	for _, seen := range e.sensors {
		w.Bool(seen)
	}
	w.U8(byte(len(e.samples)))
	for i := range e.samples {
		w.Sample(&e.samples[i])
	}
	w.U8(byte(len(e.addrs)))
	for _, a := range e.addrs {
		w.Addr(a)
	}
}

func readEpisode(r *state.Reader) *episode {
	e := &episode{id: r.Text(), key: r.U64(), kind: readKind(r), revision: int(r.U32()), level: int(r.U8()), held: r.Bool(), detected: r.I64(), limit: r.I64()}
	readWindow(r, &e.sums)
	readVerdict(r, &e.verdict)
	e.addr, e.port, e.proto = r.Addr(), r.U16(), event.Proto(r.U8())
	e.service, e.name, e.source, e.class = r.Text(), r.Text(), event.NameSource(r.U8()), event.Class(r.U8())
	e.use, e.hosts, e.rank = event.Use{Hosts: r.U32(), First: r.I64()}, r.U32(), r.U32()
	e.first, e.hostFirst, e.active, e.accepted, e.normal = r.I64(), r.I64(), int(r.U32()), r.I64(), r.U64()
	for i := range e.sensors {
		e.sensors[i] = r.Bool()
	}
	for range r.Length(maxSamples) {
		e.samples = append(e.samples, r.Sample())
	}
	for range r.Length(maxAddrs) {
		e.addrs = append(e.addrs, r.Addr())
	}
	if !e.addr.IsValid() {
		r.Err = state.ErrRecord
	}
	return e
}

func (h *host) write(w *state.Writer) {
	w.U8(version)
	w.I64(h.first)
	w.I64(h.last)
	w.U64(h.mark)
	w.U32(uint32(h.markDay))
	w.U32(h.named)
	w.U32(h.bare)
	w.U8(byte(len(h.small)))
	for _, l := range h.small {
		w.U64(l.key)
		w.U32(l.first)
		w.U32(l.last)
		w.U32(uint32(l.day))
		w.U32(l.out)
	}
	w.U8(byte(len(h.accounts)))
	for i := range h.accounts {
		writeAccount(w, &h.accounts[i])
	}
	w.Bool(h.budget != nil)
	if h.budget != nil {
		writeAccount(w, h.budget)
	}
	w.U8(byte(len(h.live)))
	for _, l := range h.live {
		w.U64(l.conn)
		w.I64(l.start)
		w.I64(l.at)
		w.U64(l.out)
		w.U64(l.in)
		w.U64(l.pkts)
	}
	w.U8(byte(len(h.notable)))
	for i := range h.notable {
		writeNotable(w, &h.notable[i])
	}
	w.U8(byte(len(h.open)))
	for _, e := range h.open {
		writeEpisode(w, e)
	}
}

// decode reads the record of a host.
func decode(id state.Host, value []byte) (*host, error) {
	r := &state.Reader{B: value}
	h := &host{Host: id}
	h.read(r)
	return h, r.Err
}

func (h *host) read(r *state.Reader) {
	r.Version(version)
	h.first, h.last, h.mark, h.markDay, h.named, h.bare = r.I64(), r.I64(), r.U64(), int32(r.U32()), r.U32(), r.U32()
	for range r.Length(maxSmall) {
		h.small = append(h.small, light{r.U64(), r.U32(), r.U32(), int32(r.U32()), r.U32()})
	}
	for range r.Length(maxAccounts) {
		h.accounts = append(h.accounts, account{})
		readAccount(r, &h.accounts[len(h.accounts)-1])
	}
	if r.Bool() {
		h.budget = new(account)
		readAccount(r, h.budget)
	}
	for range r.Length(maxLive) {
		h.live = append(h.live, live{r.U64(), r.I64(), r.I64(), r.U64(), r.U64(), r.U64()})
	}
	for range r.Length(maxNotable) {
		h.notable = append(h.notable, readNotable(r))
	}
	for range r.Length(maxEpisodes) {
		h.open = append(h.open, readEpisode(r))
	}
	r.End()
}

// Cut returns what changed since the last cut.
func (d *Detector) Cut() []state.Record {
	rs := make([]state.Record, 0, len(d.dirty)+len(d.forgotten))
	for _, k := range d.forgotten {
		rs = append(rs, state.Record{Key: k})
	}
	for _, h := range d.dirty {
		h.dirty = false
		if d.hosts[h.Hash()] == h {
			var w state.Writer
			h.stored().write(&w)
			rs = append(rs, state.Record{Key: h.Key(state.KindUpload), Value: w.B})
		}
	}
	d.forgotten, d.dirty = nil, d.dirty[:0]
	return rs
}
