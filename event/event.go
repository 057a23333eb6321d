// Package event defines what a record, a batch of records, a position and a
// finding are, and who owns their memory. It imports nothing of ours.
package event

import (
	"math/bits"
	"net/netip"
	"unsafe"
)

// Event is one record: what one sensor said about one transaction.
//
// Strings and slices in an Event, and the column structs it points to, belong
// to the Batch that holds it. They are valid until that Batch is released. Code
// that keeps one longer clones it. After the source has shared the batch, nobody
// writes to an Event.
type Event struct {
	Time    int64 // Unix nanoseconds of the transaction's start
	End     int64 // when its bytes had moved: Time + duration; Time if the duration is unknown
	Written int64 // when the sensor wrote it: _write_ts, EVE timestamp; End where the record does not say

	Set    Columns // which columns the record had
	Kind   Kind
	Sensor Sensor
	Proto  Proto
	Flags  Flags
	// Outcome of the attempt, for KindConn.
	Outcome Outcome

	VLAN, InnerVLAN uint16 // part of the identity of an address; 0 if none

	Source int32 // among those that are read together

	Orig, Resp Host // originator opened the connection, responder answered

	UID         string // Zeek uid; Suricata flow_id in decimal
	TxID        uint64 // Suricata tx_id
	CommunityID string // as the sensor wrote it; see package function CommunityID
	ConnHash    uint64 // of addresses, ports and protocol, the same for both directions and both sensors

	Offset int64 // where the record begins in its Source: for messages and samples

	// The columns of the record's kind. A Suricata alert carries those of its
	// flow and of its application layer beside its Notice.
	Conn     *Conn
	DNS      *DNS
	TLS      *TLS
	HTTP     *HTTP
	File     *File
	X509     *X509
	SSH      *SSH
	RDP      *RDP
	SMB      *SMB
	DHCP     *DHCP
	Notice   *Notice
	Software *Software
	Kerberos *Kerberos
	App      *App

	// Known is what was known of the far end when the record came; nil if nobody
	// has looked. See Event.Far.
	Known *Known
	// Threat is what threat intelligence lists of the record; nil if nothing. It owns its
	// memory.
	Threat *Indicator

	Extra []Field // columns that somebody asked for by name and that have no field above
	Raw   []byte  // the record as read, without its newline
}

// Clock returns how late it was, by the data's own clock, when the record was written: it
// may be about something that began long before. What was over by then is over for the
// record, whether somebody had looked at the clock or not.
func (e *Event) Clock() int64 { return max(e.Time, e.Written) }

// Has reports whether the record had column c.
func (e *Event) Has(c Column) bool { return e.Set.Has(c) }

// Counts reports whether the record is a whole connection that baselines count:
// no snapshot, no half, and none that another sensor has reported.
func (e *Event) Counts() bool {
	return e.Kind == KindConn && e.Flags&(FlagJoined|FlagSnapshot|FlagUnidirectional) == 0
}

// Flags are facts about a record that are not columns of it.
type Flags uint8

const (
	// FlagSnapshot marks a cumulative total of a connection that is still open
	// (conn_long, open_conn and their like). The final row repeats its bytes.
	FlagSnapshot Flags = 1 << iota
	// FlagJoined marks a connection that another sensor has reported already.
	// Baselines and detectors do not count it again.
	FlagJoined
	// FlagOneSided marks a connection of which the sensor saw one direction only.
	FlagOneSided
	// FlagUnidirectional marks half of a connection (Suricata netflow).
	FlagUnidirectional
)

// Host is one end of a connection. The parser gives Addr and Port; for ICMP the
// ports are type and code.
type Host struct {
	Addr  netip.Addr // never with a zone, never IPv4-mapped
	Port  uint16
	Scope Scope       // filled by package enrich, as the next three
	Role  Role        // by the inventory
	Worth Criticality // by the inventory
	Hash  uint64      // of Addr and VLANs; picks the shard that owns the host
	About *About      // by the files of [enrich]; nil if they say nothing
}

// Scope says where an address belongs.
type Scope uint8

const (
	ScopeUnknown   Scope = iota
	ScopeLocal           // one of the configured or assumed own networks
	ScopeExternal        // anywhere else
	ScopeMulticast       // multicast and broadcast: never a host
	ScopeSpecial         // unspecified, link-local, loopback
)

// Field is a column without a place of its own.
type Field struct {
	Name, Value string
}

// Position is how far into a source a consumer has come. Key names what is read: a
// file, of which a source may have several, or a stream. Value is the source's own;
// an empty one says that nothing of it need be remembered. Both own their memory.
type Position struct {
	Key   string
	Value []byte
}

// String returns b as a string without copying it. The string changes when b
// does. This is the only use of package unsafe.
func String(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// HashAddr returns the hash that decides which shard owns a host. It is the
// same in every process and release, since stored state is keyed by it.
func HashAddr(a netip.Addr, vlan, inner uint16) uint64 {
	b := a.As16()
	return Mix(Mix(le64(b[8:]), le64(b[:8])), uint64(vlan)<<16|uint64(inner))
}

// Mix hashes two words into one: the product of 64 by 64 bits, folded, of wyhash
// (Wang Yi, public domain) with two of its constants. It is not proof against those
// who look for collisions: what is keyed by it is bounded.
func Mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a^0xa0761d6478bd642f, b^0xe7037ed1a0b428db)
	hi, lo = bits.Mul64(hi^0x8ebc6af09c88c6e3, lo^0x589965cc75374cc3)
	return hi ^ lo
}

func le64(b []byte) uint64 {
	_ = b[7]
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
		uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
}

// HashConn returns Event.ConnHash: equal for two records exactly when their
// community ids are equal, but for collisions of 64 bits. VLANs are not part of
// it, since one sensor may log them and the other not.
func HashConn(e *Event) uint64 {
	p := communityPorts(e)
	a, b, pa, pb := bareHash(e, &e.Orig, e.SeenOrig()), bareHash(e, &e.Resp, e.SeenResp()), p.orig, p.resp
	if p.swap(e) {
		a, b, pa, pb = b, a, pb, pa
	}
	return Mix(Mix(a, b), uint64(pa)<<32|uint64(pb)<<16|uint64(e.Proto))
}

// bareHash is the hash of a host's address without VLANs: often it has that already.
func bareHash(e *Event, h *Host, seen netip.Addr) uint64 {
	if e.VLAN|e.InnerVLAN == 0 && h.Hash != 0 && seen == h.Addr {
		return h.Hash
	}
	return HashAddr(seen, 0, 0)
}
