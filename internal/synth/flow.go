package synth

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"tidewatch/event"
	"tidewatch/internal/eval"
)

// Flow is one connection, as both sensors saw it, with what was said in it.
type Flow struct {
	Start, Duration    int64 // nanoseconds, whole microseconds
	Orig, Resp         netip.AddrPort
	Proto              event.Proto
	State              event.State // what Zeek makes of it
	OrigPkts, RespPkts int
	OrigData, RespData int // payload bytes
	Service            string
	// Backscatter is an answer to nobody's question: Zeek takes the sender for the
	// responder, Suricata for the client. Orig is the sender.
	Backscatter bool
	HalfOpen    bool // the originator reset it as soon as it was answered
	ID          uint64
	attack      *eval.Instance // that it is part of, or nil

	DNS  []DNS
	TLS  *TLS
	HTTP []HTTP
}

// End is the time of the last packet.
func (f *Flow) End() int64 { return f.Start + f.Duration }

// DNS is a query with its answer.
type DNS struct {
	At      int64 // nanoseconds after the start of the connection
	ID      uint16
	Query   string
	Type    string
	RCode   int // unanswered if there was none
	Answers []string
	TTL     int   // seconds
	RTT     int64 // nanoseconds
}

// unanswered stands for the response code of a query without answer.
const unanswered = -1

// TLS is a handshake.
type TLS struct {
	ServerName, ALPN string
	// Version 1.2 shows the certificate, 1.3 does not.
	Old        bool
	Resumed    bool
	SelfSigned bool
	QUIC       bool
}

// HTTP is a request with its response.
type HTTP struct {
	At                         int64 // of the request, nanoseconds after the start of the connection
	Took                       int64 // until the response was complete
	Method, Host, URI, Agent   string
	Status, OrigBody, RespBody int
	MIME                       string
}

// records returns how many rows of Zeek's logs a flow makes.
func (f *Flow) records(logs []string) int {
	wants := func(l string) bool { return len(logs) == 0 || slices.Contains(logs, l) }
	c := 0
	if wants("conn") {
		c++
	}
	if wants("dns") {
		c += len(f.DNS)
	}
	if wants("ssl") && f.TLS != nil {
		c++
	}
	if wants("http") {
		c += len(f.HTTP)
	}
	return c
}

// cut ends a connection at a time, if it lasts longer.
func (f *Flow) cut(end int64) {
	if f.End() <= end {
		return
	}
	left := end - f.Start
	share := float64(left) / float64(f.Duration)
	f.Duration = left - left%1000
	f.OrigData, f.RespData = int(share*float64(f.OrigData)), int(share*float64(f.RespData))
	f.OrigPkts, f.RespPkts = 2+int(share*float64(f.OrigPkts)), 1+int(share*float64(f.RespPkts))
	if f.Proto == event.ProtoTCP {
		f.State = event.StateS1
	}
	f.HTTP = slices.DeleteFunc(f.HTTP, func(h HTTP) bool { return h.At+h.Took > f.Duration })
	f.DNS = slices.DeleteFunc(f.DNS, func(d DNS) bool { return d.At+d.RTT > f.Duration })
	if f.TLS != nil && handshake(f) > f.Duration {
		f.TLS = nil
	}
}

// rtt is how long a packet takes to an address and back: less than a millisecond
// inside, 8 to 130 ms outside, always the same for one address.
func rtt(to netip.Addr) int64 {
	h := mix(event.HashAddr(to, 0, 0))
	if to.IsPrivate() {
		return int64(200*time.Microsecond) + int64(h%600)*1000
	}
	return int64(8*time.Millisecond) + int64(h%122)*int64(time.Millisecond)
}

// services are what sensors call the protocols of some ports.
var services = map[uint16]string{
	21: "ftp", 22: "ssh", 25: "smtp", 53: "dns", 80: "http", 88: "krb_tcp", 123: "ntp", 135: "dce_rpc", 389: "ldap_tcp",
	445: "gssapi,smb", 3389: "rdp", 5060: "sip", 5985: "http", 8080: "http",
}

// clientPort returns a port that a client opens.
func clientPort(r *rand.Rand) uint16 { return uint16(49152 + r.IntN(16384)) }

// tcp returns a connection that was made, used and closed. It starts now, or
// after so many nanoseconds.
func (p *process) tcp(after int64, from, to netip.Addr, port uint16, out, in int, took int64) Flow {
	jitter := p.r.Int64N(int64(2 * time.Millisecond))
	segOut, segIn := (out+1447)/1448, (in+1447)/1448
	f := Flow{
		Start: p.now + after, Duration: max(took, 3*rtt(to)) + jitter,
		Orig: netip.AddrPortFrom(from, clientPort(p.r)), Resp: netip.AddrPortFrom(to, port), Proto: event.ProtoTCP, State: event.StateSF,
		OrigPkts: 4 + segOut + segIn/2, RespPkts: 3 + segIn + segOut/2, OrigData: out, RespData: in,
	}
	if out > 0 && in > 0 {
		f.Service = services[port]
	}
	switch p.r.IntN(40) {
	case 0, 1:
		f.State = event.StateRSTO
	case 2:
		f.State = event.StateRSTR
	}
	return f
}

// fail returns a connection that was refused, or that nobody answered: then syns
// packets were sent, 1 as scanners do, more as operating systems do.
func (p *process) fail(after int64, from, to netip.Addr, port uint16, refused bool, syns int) Flow {
	f := Flow{
		Start: p.now + after, Orig: netip.AddrPortFrom(from, clientPort(p.r)), Resp: netip.AddrPortFrom(to, port),
		Proto: event.ProtoTCP, State: event.StateS0, OrigPkts: syns,
	}
	if refused {
		f.State, f.OrigPkts, f.RespPkts, f.Duration = event.StateREJ, 1, 1, rtt(to)+p.r.Int64N(int64(200*time.Microsecond))
		return f
	}
	for wait, i := int64(time.Second), 1; i < syns; i++ {
		f.Duration += wait + p.r.Int64N(int64(20*time.Millisecond))
		wait *= 2
	}
	return f
}

// probe returns a port that answers and a scanner that resets the connection.
func (p *process) probe(after int64, from, to netip.Addr, port uint16) Flow {
	return Flow{
		Start: p.now + after, Duration: rtt(to) + p.r.Int64N(int64(300*time.Microsecond)),
		Orig: netip.AddrPortFrom(from, clientPort(p.r)), Resp: netip.AddrPortFrom(to, port),
		Proto: event.ProtoTCP, State: event.StateRSTO, HalfOpen: true, OrigPkts: 2, RespPkts: 1,
	}
}

// udp returns an exchange of datagrams.
func (p *process) udp(after int64, from, to netip.Addr, port uint16, out, in int, took int64) Flow {
	return Flow{
		Start: p.now + after, Duration: max(took, rtt(to)+p.r.Int64N(int64(time.Millisecond))),
		Orig: netip.AddrPortFrom(from, clientPort(p.r)), Resp: netip.AddrPortFrom(to, port), Proto: event.ProtoUDP, State: event.StateSF,
		OrigPkts: 1 + out/1200, RespPkts: 1 + in/1200, OrigData: out, RespData: in, Service: services[port],
	}
}

// silence returns datagrams that nobody answers.
func (p *process) silence(after int64, from, to netip.Addr, port uint16, out, pkts int) Flow {
	f := Flow{
		Start: p.now + after, Orig: netip.AddrPortFrom(from, clientPort(p.r)), Resp: netip.AddrPortFrom(to, port),
		Proto: event.ProtoUDP, State: event.StateS0, OrigPkts: pkts, OrigData: out * pkts, Service: services[port],
	}
	if pkts > 1 {
		f.Duration = int64(pkts-1) * int64(5*time.Second)
	}
	return f
}

// ping returns echo requests, with or without their replies.
func (p *process) ping(after int64, from, to netip.Addr, answered bool) Flow {
	f := Flow{
		Start: p.now + after, Orig: netip.AddrPortFrom(from, 8), Resp: netip.AddrPortFrom(to, 0),
		Proto: event.ProtoICMP, State: event.StateOTH, OrigPkts: 1, OrigData: 56,
	}
	if answered {
		f.RespPkts, f.RespData, f.Duration = 1, 56, rtt(to)
	}
	return f
}

// query returns a DNS query with its answer: NXDOMAIN if there are no answers.
func (p *process) query(after int64, from, to netip.Addr, name, kind string, answers ...string) Flow {
	took := rtt(to)
	if p.r.IntN(3) == 0 { // it is not in the resolver's cache
		took += exponential(p.r, 30*time.Millisecond)
	}
	d := DNS{ID: uint16(p.r.Uint32()), Query: name, Type: kind, Answers: answers, TTL: 30 + p.r.IntN(3600), RTT: took - took%1000}
	size := 33 + len(name)
	for _, a := range answers {
		size += 16 + len(a)
	}
	f := p.udp(after, from, to, 53, 18+len(name), size, 0)
	f.Duration = d.RTT
	f.RespPkts = 1
	if len(answers) == 0 {
		d.RCode = 3
	}
	f.DNS = []DNS{d}
	return f
}

// exponential returns a random span with the given mean, in nanoseconds.
func exponential(r *rand.Rand, mean time.Duration) int64 {
	return int64(r.ExpFloat64() * float64(mean))
}

// between returns a random span, in nanoseconds.
func between(r *rand.Rand, low, high time.Duration) int64 {
	return int64(low) + r.Int64N(int64(high-low)+1)
}
