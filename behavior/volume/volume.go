// Package volume says how many payload bytes a connection moved. Sensors count them
// twice, by sequence numbers and by packets, and either can be wrong.
package volume

import "tidewatch/event"

const (
	mtu = 1500
	// most bounds what one record may say, so that sums do not overflow: 281 TB.
	most = 1 << 48
	// dispute is how far two counts of the same bytes may differ, as a share of the
	// larger, and disputeMin how many bytes at least.
	dispute    = 0.2
	disputeMin = 1_000_000
)

// Count is what went in one direction of a connection.
type Count struct {
	Bytes    uint64 // of payload, at most 2^49
	Packets  uint64
	Clamped  bool // the sensor's count was more than its packets could hold
	Disputed bool // the sensor's two counts differ much
	Unseen   bool // the sensor counts packets, and saw none
}

// Sent returns what the originator of a connection sent. Records without columns of
// a connection sent nothing.
func Sent(ev *event.Event) Count {
	c := ev.Conn
	if c == nil {
		return Count{}
	}
	return side{c.OrigBytes, c.OrigIPBytes, c.OrigPkts, c.ShuntedOrigBytes, ev.Has(event.ConnOrigBytes), ev.Has(event.ConnOrigIPBytes), ev.Has(event.ConnOrigPkts)}.count(ev)
}

// Received returns what the responder sent.
func Received(ev *event.Event) Count {
	c := ev.Conn
	if c == nil {
		return Count{}
	}
	return side{c.RespBytes, c.RespIPBytes, c.RespPkts, c.ShuntedRespBytes, ev.Has(event.ConnRespBytes), ev.Has(event.ConnRespIPBytes), ev.Has(event.ConnRespPkts)}.count(ev)
}

// side is what a record says of one direction.
type side struct {
	data, ip, pkts, shunted uint64
	hasData, hasIP, hasPkts bool
}

// count takes the larger of what the sensor counted by sequence numbers, which goes
// on where packets were missed, and of what its packets held, which knows of no wrong
// sequence number. More than the packets could hold is a number that no packet showed:
// then the packets count. What a shunt kept from the sensor is in neither.
func (s side) count(ev *event.Event) Count {
	data, ip := min(s.data, most), min(s.ip, most)
	n := Count{Packets: min(s.pkts, most/mtu), Unseen: s.hasPkts && s.pkts == 0}
	wire := ip - min(ip, n.Packets*header(ev))
	switch {
	case !s.hasData:
		n.Bytes = wire
	case s.hasPkts && data > max(n.Packets*mtu, ip):
		n.Bytes, n.Clamped = wire, true
	default:
		n.Bytes = max(data, wire)
		gap := n.Bytes - min(data, wire)
		n.Disputed = s.hasIP && gap > disputeMin && float64(gap) > dispute*float64(n.Bytes)
	}
	n.Bytes += min(s.shunted, most)
	return n
}

// header is how much of each packet is no payload: for TCP with its usual time
// stamps, so that the acknowledgements of a download are no upload. Suricata counts
// the frame.
func header(ev *event.Event) uint64 {
	n := uint64(20)
	if ev.SeenOrig().Is6() {
		n = 40
	}
	switch ev.Proto {
	case event.ProtoTCP:
		n += 32
	case event.ProtoUDP, event.ProtoICMP, event.ProtoICMPv6:
		n += 8
	}
	if ev.Sensor == event.SensorSuricata {
		n += 14
	}
	return n
}
