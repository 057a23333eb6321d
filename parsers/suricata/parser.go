// Package suricata reads the EVE log of Suricata 4 to 8: a JSON object a line.
//
// An object inside a record is understood by its name, whichever the record's
// event_type is: an alert has the columns of its flow and of its application layer.
// What a column should not be (a text where a number is expected, a negative
// count) leaves that column unset. A record is refused for its JSON, its time,
// its addresses and its ports. In an object with two members of one name the later
// one counts; two objects of one name are read as one.
package suricata

import (
	"net/netip"

	"tidewatch/event"
	"tidewatch/parsers"
	"tidewatch/parsers/scan"
)

const reasonNoAddr parsers.Reason = "flow without addresses"

// Parser reads the lines of one EVE file. It remembers whether the file has shown
// a flow record: from then on netflow records, which count the same packets once
// more, are skipped. Suricata writes both at the same moment, so at most the
// records before the first flow can be counted twice.
type Parser struct {
	s  scan.JSON
	b  *event.Batch
	ev *event.Event
	r  record

	guides       [numContexts]scan.Guide
	clock        scan.ISOCache
	addrs        scan.AddrCache
	extra, stats picker
	sawFlow      bool
	skips        skips
	list         []string // collects what goes to the batch when its length is known
	ttls         []uint32
}

// record is what the line at hand says that has no column, or not yet.
type record struct {
	reason     parsers.Reason // why the record is refused
	eventType  bool
	netflow    bool
	toClient   bool // direction says to_client
	toServer   bool
	flowSource bool // flow.src_ip was there
	response   bool // the message is the server's: see clientIsDest
	request    bool // the message is the client's
	fileRead   bool // the file went from the server to the client
	fileWrite  bool // and the other way
	answers    bool // dns.answers was there: grouped repeats it
	hasICMP    bool
	hasFlags   bool
	icmpType   uint8
	icmpCode   uint8
	dnsVersion uint8
	flowPort   uint16
	flowAddr   netip.Addr
	start, end int64
	hasStart   bool
	hasEnd     bool
	appProto   string
}

// New returns a parser for one file.
func New(opts parsers.Options) *Parser {
	p := &Parser{extra: newPicker(opts.Extra), stats: newPicker(counters)}
	for i := range p.guides {
		p.guides[i] = scan.NewGuide(keyNames)
	}
	return p
}

// Parse implements parsers.Parser. The record may be preceded by "@cee: ".
func (p *Parser) Parse(b *event.Batch, ev *event.Event, line []byte) error {
	if len(line) == 0 {
		return parsers.ErrMeta
	}
	line = cutPrefix(line)
	p.b, p.ev, p.r = b, ev, record{}
	ev.Sensor = event.SensorSuricata
	s := &p.s
	at, k := p.head(line)
	if at == 0 {
		s.Reset(line)
	} else {
		s.Resume(line, at)
	}
	for k = p.next(int(ev.Kind), k); k != scan.End; k = p.next(int(ev.Kind), k) {
		if err := p.member(k); err != nil {
			return err
		}
	}
	if err := s.Err(); err != nil {
		return err
	}
	if err := p.finish(); err != "" {
		return err
	}
	if len(p.extra.names) > 0 {
		p.extra.pick(b, ev, line)
	}
	if ev.Kind == event.KindStats {
		p.stats.pick(b, ev, line)
	}
	return nil
}

// enter goes into the object at hand and returns the number of its first key,
// scan.End if it is empty. context is one of the constants that begin with in.
func (p *Parser) enter(context int) int {
	p.s.Enter()
	return p.guides[context].Next(&p.s, 0)
}

// next returns the number of the key after key k.
func (p *Parser) next(context, k int) int { return p.guides[context].Next(&p.s, k) }

// cutPrefix returns line without the cookie that rsyslog's users put before it.
func cutPrefix(line []byte) []byte {
	const cee = "@cee:"
	if line[0] == '@' && len(line) >= len(cee) && string(line[:len(cee)]) == cee {
		return line[len(cee):]
	}
	return line
}

// eventType sets the record's kind, or returns a *parsers.Skip.
func (p *Parser) eventType() error {
	if p.s.Kind() != scan.String {
		return nil
	}
	if name := p.s.Bytes(p.b); !p.known(name) {
		return p.skips.of(name)
	}
	return nil
}

// known sets the record's kind. It returns false for a record that is to be skipped.
func (p *Parser) known(name []byte) bool {
	kind := kindOf(name)
	p.r.eventType = true
	p.r.netflow = kind == event.KindConn && len(name) != len("flow")
	if kind == event.KindUnknown || p.r.netflow && p.sawFlow {
		return false
	}
	p.sawFlow = p.sawFlow || kind == event.KindConn && !p.r.netflow
	p.ev.Kind = kind
	return true
}

// kindOf returns the kind of records of an event_type, KindUnknown for one that
// tidewatch has no use for.
func kindOf(name []byte) event.Kind {
	switch string(name) {
	case "flow", "netflow":
		return event.KindConn
	case "dns":
		return event.KindDNS
	case "tls":
		return event.KindTLS
	case "http", "http2":
		return event.KindHTTP
	case "quic":
		return event.KindQUIC
	case "fileinfo":
		return event.KindFile
	case "alert":
		return event.KindAlert
	case "anomaly":
		return event.KindAnomaly
	case "ssh":
		return event.KindSSH
	case "smb":
		return event.KindSMB
	case "rdp":
		return event.KindRDP
	case "krb5":
		return event.KindKerberos
	case "dhcp":
		return event.KindDHCP
	case "stats":
		return event.KindStats
	}
	return appKindOf(name)
}

func appKindOf(name []byte) event.Kind {
	switch string(name) {
	case "ftp":
		return event.KindFTP
	case "smtp":
		return event.KindSMTP
	case "dcerpc":
		return event.KindDCERPC
	case "mqtt":
		return event.KindMQTT
	case "nfs":
		return event.KindNFS
	case "snmp":
		return event.KindSNMP
	case "sip":
		return event.KindSIP
	case "ike", "ikev2":
		return event.KindIKE
	}
	return event.KindUnknown
}

// vlan reads the VLAN ids, the outermost first. Suricata logs up to three; the
// third does not count.
func (p *Parser) vlan() {
	ev, s := p.ev, &p.s
	ids := [2]*uint16{&ev.VLAN, &ev.InnerVLAN}
	cols := [2]event.Column{event.ColVLAN, event.ColInnerVLAN}
	if s.Kind() != scan.Array {
		p.uint16(ids[0], cols[0])
		return
	}
	n := 0
	for s.Enter(); s.Next(); n++ {
		if n < len(ids) {
			p.uint16(ids[n], cols[n])
		}
	}
}

// finish judges the record when all of it has been read.
func (p *Parser) finish() parsers.Reason {
	ev, r := p.ev, &p.r
	switch {
	case r.reason != "":
		return r.reason
	case !ev.Has(event.ColWritten):
		return parsers.ReasonNoTime
	case !r.eventType:
		return parsers.ReasonNoKind
	case ev.Kind == event.KindConn && (!ev.Orig.Addr.IsValid() || !ev.Resp.Addr.IsValid()):
		return reasonNoAddr
	}
	p.icmp()
	p.roles()
	ev.Time, ev.End = ev.Written, ev.Written
	switch ev.Kind {
	case event.KindConn:
		p.finishConn()
	case event.KindAlert:
		if c := ev.Conn; c != nil || r.appProto != "" {
			p.service(p.b.Conn(ev))
		}
	case event.KindFile:
		f := p.b.File(ev)
		if r.appProto != "" {
			f.Source = r.appProto
			ev.Set.Add(event.FileSource)
		}
	}
	return ""
}

// icmp gives an ICMP record the ports that Zeek gives it: the type, and the type
// that answers it; the code, if nothing answers it.
func (p *Parser) icmp() {
	ev, r := p.ev, &p.r
	if !r.hasICMP || !ev.Proto.IsICMP() {
		return
	}
	ev.Orig.Port, ev.Resp.Port = uint16(r.icmpType), uint16(r.icmpCode)
	if t, ok := event.ICMPCounterpart(ev.Proto, r.icmpType); ok {
		ev.Resp.Port = uint16(t)
	}
	ev.Set.Add(event.ColOrigPort)
	ev.Set.Add(event.ColRespPort)
}
