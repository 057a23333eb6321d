package event

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
)

// CommunityID returns the record's community id: the sensor's own, or version
// 1 with seed 0 computed from addresses, ports and protocol
// (https://github.com/corelight/community-id-spec). It is "" for a record
// without addresses. It allocates.
func CommunityID(e *Event) string {
	if e.CommunityID != "" {
		return e.CommunityID
	}
	if !e.Orig.Addr.IsValid() || !e.Resp.Addr.IsValid() || e.Proto == 0 {
		return ""
	}
	p := communityPorts(e)
	a, b, pa, pb := e.SeenOrig(), e.SeenResp(), p.orig, p.resp
	if p.swap(e) {
		a, b, pa, pb = b, a, pb, pa
	}
	buf := make([]byte, 0, 2+16+16+2+4)
	buf = append(buf, 0, 0) // seed
	buf = append(buf, a.AsSlice()...)
	buf = append(buf, b.AsSlice()...)
	buf = append(buf, byte(e.Proto), 0)
	if p.used {
		buf = binary.BigEndian.AppendUint16(buf, pa)
		buf = binary.BigEndian.AppendUint16(buf, pb)
	}
	sum := sha1.Sum(buf)
	return "1:" + base64.StdEncoding.EncodeToString(sum[:])
}

// flowPorts are the two numbers that stand for ports in a community id.
type flowPorts struct {
	orig, resp uint16
	used       bool // the protocol has ports
	oneWay     bool // ICMP without a counterpart: the direction is part of the id
}

// swap reports whether the responder comes first in the id.
func (p flowPorts) swap(e *Event) bool {
	if p.oneWay {
		return false
	}
	switch c := e.SeenOrig().Compare(e.SeenResp()); {
	case c != 0:
		return c > 0
	default:
		return p.used && p.orig > p.resp
	}
}

// communityPorts maps ICMP's type and code the way the community id
// specification does; other protocols keep their ports.
func communityPorts(e *Event) flowPorts {
	t := uint8(e.Orig.Port)
	switch e.Proto {
	case ProtoTCP, ProtoUDP, ProtoSCTP:
		return flowPorts{orig: e.Orig.Port, resp: e.Resp.Port, used: true}
	case ProtoICMP:
		if other, ok := icmpCounterpart(t); ok {
			return flowPorts{orig: uint16(t), resp: uint16(other), used: true}
		}
	case ProtoICMPv6:
		if other, ok := icmp6Counterpart(t); ok {
			return flowPorts{orig: uint16(t), resp: uint16(other), used: true}
		}
	default:
		return flowPorts{}
	}
	return flowPorts{orig: uint16(t), resp: uint16(uint8(e.Resp.Port)), used: true, oneWay: true}
}

// ICMPCounterpart returns the type that answers type t of ICMP or ICMPv6, or that t
// answers. It is not ok if t is a message that goes one way.
func ICMPCounterpart(p Proto, t uint8) (uint8, bool) {
	switch p {
	case ProtoICMP:
		return icmpCounterpart(t)
	case ProtoICMPv6:
		return icmp6Counterpart(t)
	}
	return 0, false
}

// icmpCounterpart returns the type that answers ICMP type t.
func icmpCounterpart(t uint8) (uint8, bool) {
	switch t {
	case 8: // echo
		return 0, true
	case 0:
		return 8, true
	case 13: // time stamp
		return 14, true
	case 14:
		return 13, true
	case 15: // information
		return 16, true
	case 16:
		return 15, true
	case 10: // router solicitation
		return 9, true
	case 9:
		return 10, true
	case 17: // address mask
		return 18, true
	case 18:
		return 17, true
	}
	return 0, false
}

// icmp6Counterpart returns the type that answers ICMPv6 type t.
func icmp6Counterpart(t uint8) (uint8, bool) {
	switch t {
	case 128: // echo
		return 129, true
	case 129:
		return 128, true
	case 133: // router solicitation
		return 134, true
	case 134:
		return 133, true
	case 135: // neighbour solicitation
		return 136, true
	case 136:
		return 135, true
	case 130: // multicast listener
		return 131, true
	case 131:
		return 130, true
	case 144: // home agent
		return 145, true
	case 145:
		return 144, true
	case 139: // node information
		return 140, true
	case 140:
		return 139, true
	}
	return 0, false
}
