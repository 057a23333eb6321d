package event

import "net/netip"

// Known is what is known of the far end of a record at the time of the record: what
// it is called, and who else deals with it. The far end is the end that is not
// local; of two that are local, or two that are not, the responder. One stage of
// the pipeline fills it in, which sees every record in one order; it belongs to the
// Sequence.
type Known struct {
	// Looked says that somebody has looked; else only Moved may be set.
	Looked bool
	// Moved holds the addresses that the record has, the originator's first, where one of
	// its hosts is an entity that has moved: Orig and Resp have the one by which it is
	// known. See Event.SeenOrig.
	Moved *[2]netip.Addr

	// Name is what the responder is called: the server name of TLS or QUIC, the Host
	// of HTTP, the name that a DNS record is about, or the name by which the
	// originator found the address. Lower case, without a dot at its end; "" if
	// unknown. Domain is its registered domain, a suffix of Name: Name itself where
	// it has none. For records from outside to inside both are "".
	Name, Domain         string
	NameHash, DomainHash uint64 // 0 if there is no name
	Source               NameSource
	// Alike is the domain that Domain looks like and is not: a popular one, or one that the
	// site has long used; "" if there is none.
	Alike string
	// Unasked says that a connection to the outside goes to an address that has no name,
	// by any of the sources, although DNS gives names' addresses to its originator where
	// the sensor sees it.
	Unasked bool

	Addr Use // of the far end's address
	// OfName and OfDomain are zero without a name.
	OfName, OfDomain Use
	// OthersSent is how much payload, in bytes, each of two other local hosts has sent to
	// the destination (Domain, or the address without one) on a day before this one, at
	// least, as far as that is remembered; 0: nothing is known. Of connections that send
	// 1 kB or more.
	OthersSent uint64

	// Handshake is what a record of TLS or QUIC, of this connection or this one itself,
	// said; nil if none did, or nobody asks.
	Handshake *Handshake

	Client Use // of the fingerprint of a record's TLS client; zero if it has none

	Hosts uint32 // local hosts that were active in the time of Use
	Names uint32 // names that are remembered of far ends: few where nobody logs them
	Rank  uint32 // place of Domain in the list of popular domains, from 1; 0: not in it
	Class Class
}

// Handshake is what can be said of a handshake without knowing whose it is. It is shared
// and not changed.
type Handshake struct {
	Version, Cipher, NextProtocol string // in the sensor's words
	Resumed, Established          bool
	Named                         bool // the client said a server name
}

// Use says how widely something is used: by how many local hosts within the last 30
// days, this record's host among them, and since when.
type Use struct {
	Hosts uint32
	First int64 // Unix nanoseconds of the first record about it; 0: this is the first
}

// NameSource says how a name is known.
type NameSource uint8

const (
	NameNone     NameSource = iota
	NameTLS                 // server name of this record
	NameHTTP                // Host of this record
	NameQUIC                // server name of this record
	NameQuery               // the record is a DNS query for it
	NameSession             // an earlier record of the same connection said so
	NameResolved            // the originator was given the address as an answer for it
)

// String returns a clause such as "TLS server name".
func (s NameSource) String() string {
	return [...]string{"no name", "TLS server name", "HTTP Host", "QUIC server name", "DNS query", "server name of the session", "DNS answer"}[s%7]
}

// Class says what kind of service the far end is known to be.
type Class uint8

const (
	ClassNone       Class = iota
	ClassTime             // NTP, PTP
	ClassName             // DNS, mDNS, LLMNR, NetBIOS names
	ClassLocal            // DHCP, SSDP, and what else keeps a network going
	ClassUpdate           // software updates
	ClassTelemetry        // usage and crash reports
	ClassRevocation       // OCSP, CRLs
	ClassPush             // push messages, chat, mail polling
	ClassMeeting          // voice and video calls
	ClassSpeedTest        // measures of throughput
	ClassBackup           // cloud storage and backups
	ClassPlatform         // an address, without a name, of a network that a vendor of systems or of a cloud runs
)

var classNames = [...]string{"", "time", "names", "local", "update", "telemetry", "revocation", "push", "meeting", "speed test", "backup", "platform"}

// String returns the class's name, "" for none.
func (c Class) String() string {
	if int(c) < len(classNames) {
		return classNames[c]
	}
	return ""
}

var nothing Known

// Far returns what is known of the far end: nothing if nobody has looked.
func (e *Event) Far() *Known {
	if e.Known == nil {
		return &nothing
	}
	return e.Known
}

// SeenOrig returns the originator's address as the sensor saw it. Orig.Addr is another
// one if the host has moved: there, it is the one under which the host is known.
func (e *Event) SeenOrig() netip.Addr {
	if e.Known != nil && e.Known.Moved != nil {
		return e.Known.Moved[0]
	}
	return e.Orig.Addr
}

// SeenResp is SeenOrig for the responder.
func (e *Event) SeenResp() netip.Addr {
	if e.Known != nil && e.Known.Moved != nil {
		return e.Known.Moved[1]
	}
	return e.Resp.Addr
}

// KnownFor returns an empty Known that lives as long as the sequence, for one of its
// events. A sequence has as many as it has events.
func (s *Sequence) KnownFor(e *Event) *Known {
	var moved *[2]netip.Addr
	if e.Known != nil { // where its hosts have moved from is known already
		moved = e.Known.Moved
	}
	if s.known == nil {
		s.known = make([]Known, 0, cap(s.Events))
	}
	s.known = append(s.known, Known{Moved: moved})
	e.Known = &s.known[len(s.known)-1]
	return e.Known
}
