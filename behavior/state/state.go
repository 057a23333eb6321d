// Package state is the form in which entities are stored: records that a shard
// cuts at the end of an epoch and takes back at a start.
package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"

	"tidewatch/event"
)

// Record is the serialised state of one entity. An empty Value says that the
// entity is forgotten. The first byte of Key says whose record it is: see the
// Kind constants.
type Record struct{ Key, Value []byte }

// The kinds of records of all detectors: the first byte of a key.
const (
	KindScanSource  byte = 's'
	KindScanTarget  byte = 't'
	KindScanLight   byte = 'l'
	KindPair        byte = 'p' // a pair that few contacts are known of
	KindBeacon      byte = 'b'
	KindUpload      byte = 'u'
	KindTunnel      byte = 'n'
	KindName        byte = 'a' // the name that a host knows an address by
	KindDestination byte = 'd'
	KindPopulation  byte = 'h'
	KindHost        byte = 'o' // what is normal for a local host
	KindService     byte = 'v'
	KindWatch       byte = 'w' // a case of a rule over records
	KindLong        byte = 'c' // a destination of long connections
)

// ErrRecord says that bytes are no record, or one of a version that is not known.
var ErrRecord = errors.New("not a record of a known version")

// Owner returns which of n shards owns the entity with this hash.
func Owner(hash uint64, n int) int {
	return int((hash >> 32) * uint64(n) >> 32)
}

// Host is the identity of a host in a key: its address and the VLANs it is in.
type Host struct {
	Addr        netip.Addr
	VLAN, Inner uint16
}

// Hash is the hash that decides which shard owns the host.
func (h Host) Hash() uint64 { return event.HashAddr(h.Addr, h.VLAN, h.Inner) }

// Key is the key of the host's record of one kind.
func (h Host) Key(kind byte) []byte {
	b := make([]byte, 0, 5+16)
	b = append(b, kind)
	b = binary.BigEndian.AppendUint16(b, h.VLAN)
	b = binary.BigEndian.AppendUint16(b, h.Inner)
	return append(b, h.Addr.AsSlice()...)
}

// ParseHost reads a key that Host.Key made.
func ParseHost(key []byte) (Host, error) {
	if len(key) >= 5 {
		if a, ok := netip.AddrFromSlice(key[5:]); ok {
			return Host{a, binary.BigEndian.Uint16(key[1:]), binary.BigEndian.Uint16(key[3:])}, nil
		}
	}
	return Host{}, fmt.Errorf("key of %d bytes: %w", len(key), ErrRecord)
}

// Writer appends values of fixed size and values with their length before them.
type Writer struct{ B []byte }

// U8 appends a byte.
func (w *Writer) U8(v byte) { w.B = append(w.B, v) }

// U16 appends two bytes, the lowest first, as do its like below.
func (w *Writer) U16(v uint16) { w.B = binary.LittleEndian.AppendUint16(w.B, v) }

// U32 appends four bytes.
func (w *Writer) U32(v uint32) { w.B = binary.LittleEndian.AppendUint32(w.B, v) }

// U64 appends eight bytes.
func (w *Writer) U64(v uint64) { w.B = binary.LittleEndian.AppendUint64(w.B, v) }

// I64 appends a time or another signed number.
func (w *Writer) I64(v int64) { w.U64(uint64(v)) }

// F64 appends a number that is finite.
func (w *Writer) F64(v float64) { w.U64(math.Float64bits(v)) }

// Bool appends a truth.
func (w *Writer) Bool(v bool) {
	if v {
		w.U8(1)
	} else {
		w.U8(0)
	}
}

// Text appends the first 255 bytes of s.
func (w *Writer) Text(s string) {
	s = s[:min(len(s), 255)]
	w.U8(byte(len(s)))
	w.B = append(w.B, s...)
}

// Addr appends an address, valid or not.
func (w *Writer) Addr(a netip.Addr) { w.Text(string(a.AsSlice())) }

// Sample appends a record that made a case.
func (w *Writer) Sample(s *event.Sample) {
	w.Text(s.UID)
	w.I64(s.Time)
	w.I64(s.Duration)
	for _, p := range []netip.AddrPort{s.Orig, s.Resp} {
		w.Addr(p.Addr())
		w.U16(p.Port())
	}
	w.U64(s.OrigBytes)
	w.U64(s.RespBytes)
	w.Text(s.State)
}

// Reader is the inverse of Writer. Its first error sticks: what is read after it is
// zero.
type Reader struct {
	B   []byte
	Err error
}

// Take reads n bytes. They are B's own.
func (r *Reader) Take(n int) []byte {
	if r.Err != nil || len(r.B) < n {
		r.Err = ErrRecord
		return make([]byte, max(n, 0))
	}
	v := r.B[:n:n]
	r.B = r.B[n:]
	return v
}

// U8 reads a byte.
func (r *Reader) U8() byte { return r.Take(1)[0] }

// U16 reads what Writer.U16 appended, and so on.
func (r *Reader) U16() uint16 { return binary.LittleEndian.Uint16(r.Take(2)) }

// U32 reads four bytes.
func (r *Reader) U32() uint32 { return binary.LittleEndian.Uint32(r.Take(4)) }

// U64 reads eight bytes.
func (r *Reader) U64() uint64 { return binary.LittleEndian.Uint64(r.Take(8)) }

// I64 reads a signed number.
func (r *Reader) I64() int64 { return int64(r.U64()) }

// F64 reads a number, and refuses what is not finite.
func (r *Reader) F64() float64 {
	v := math.Float64frombits(r.U64())
	if math.IsNaN(v) || math.IsInf(v, 0) {
		r.Err = ErrRecord
		return 0
	}
	return v
}

// Bool reads a truth.
func (r *Reader) Bool() bool { return r.U8() != 0 }

// Text reads a text that owns its memory.
func (r *Reader) Text() string { return string(r.Take(int(r.U8()))) }

// Addr reads an address; it may be the zero one.
func (r *Reader) Addr() netip.Addr {
	b := r.Take(int(r.U8()))
	if len(b) == 0 {
		return netip.Addr{}
	}
	a, ok := netip.AddrFromSlice(b)
	if !ok {
		r.Err = ErrRecord
	}
	return a
}

// Length reads the number of elements of a list, which is at most limit.
func (r *Reader) Length(limit int) int {
	n := int(r.U8())
	if n > limit {
		r.Err = ErrRecord
		return 0
	}
	return n
}

// Decode lets a sketch read itself.
func (r *Reader) Decode(d interface{ Decode([]byte) ([]byte, error) }) {
	if r.Err == nil {
		r.B, r.Err = d.Decode(r.B)
	}
}

// Sample reads a record that made a case.
func (r *Reader) Sample() event.Sample {
	return event.Sample{
		UID: r.Text(), Time: r.I64(), Duration: r.I64(),
		Orig: netip.AddrPortFrom(r.Addr(), r.U16()), Resp: netip.AddrPortFrom(r.Addr(), r.U16()),
		OrigBytes: r.U64(), RespBytes: r.U64(), State: r.Text(),
	}
}

// Version reads the byte that a record begins with, which must be v.
func (r *Reader) Version(v byte) {
	if r.U8() != v {
		r.Err = ErrRecord
	}
}

// End refuses a record that goes on.
func (r *Reader) End() {
	if len(r.B) != 0 {
		r.Err = ErrRecord
	}
}
