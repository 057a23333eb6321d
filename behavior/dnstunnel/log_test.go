package dnstunnel

import (
	"encoding/base32"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"tidewatch/event"
	"tidewatch/internal/scenario"
)

const (
	client   = "10.0.0.5"
	resolver = "10.0.0.53"
)

// question is a question with its answer.
type question struct {
	at             float64 // Unix seconds
	host, server   string
	port           int // of the server
	name, kind     string
	answer         string
	nx, unanswered bool
	n              int
}

// log is what a network asks for.
type log struct {
	at   float64
	rows []question
	rnd  *rand.Rand
}

func newLog() *log { return &log{at: 1795132800, rnd: rand.New(rand.NewPCG(7, 7))} }

// ask adds a question of the client to the resolver, some seconds after the last.
func (l *log) ask(after float64, name, kind, answer string) *question {
	l.at += after
	l.rows = append(l.rows, question{at: l.at, host: client, server: resolver, port: 53, name: name, kind: kind, answer: answer, nx: answer == "", n: len(l.rows)})
	return &l.rows[len(l.rows)-1]
}

// data returns so many bytes of encoded data, with a dot where a name needs one.
func (l *log) data(encode func([]byte) string, length int) string {
	b := make([]byte, length)
	for i := range b {
		b[i] = byte(l.rnd.Uint32())
	}
	s := encode(b)[:length]
	for i := 60; i < len(s); i += 61 {
		s = s[:i] + "." + s[i:]
	}
	return s
}

func base32Lower(b []byte) string {
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b))
}

// tunnel adds count questions that carry data.
func (l *log) tunnel(count int, gap float64, zone, kind string, up int) {
	for range count {
		l.ask(gap, l.data(base32Lower, up)+"."+zone, kind, l.data(base32Lower, 20))
	}
}

const zeekHead = "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tdns\n" +
	"#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\ttrans_id\tquery\tqtype_name\tqtype\trcode\tanswers\tTTLs\n"

var typeNumbers = map[string]int{"A": 1, "AAAA": 28, "TXT": 16, "NULL": 10, "CNAME": 5, "MX": 15, "SRV": 33}

func (q *question) rcode() int {
	if q.nx {
		return 3
	}
	return 0
}

func (l *log) zeek() string {
	var b strings.Builder
	b.WriteString(zeekHead)
	for _, q := range l.rows {
		rcode, answer, ttl := fmt.Sprint(q.rcode()), "-", "-"
		if q.unanswered {
			rcode = "-"
		} else if q.answer != "" {
			answer, ttl = q.answer, "60.0"
		}
		fmt.Fprintf(&b, "%.6f\tC%d\t%s\t%d\t%s\t%d\tudp\t%d\t%s\t%s\t%d\t%s\t%s\t%s\n",
			q.at, q.n, q.host, 40000+q.n%20000, q.server, q.port, q.n%65536, q.name, q.kind, typeNumbers[q.kind], rcode, answer, ttl)
	}
	return b.String()
}

func (l *log) zeekJSON() string {
	var b strings.Builder
	for _, q := range l.rows {
		fmt.Fprintf(&b, `{"_path":"dns","ts":%.6f,"uid":"C%d","id.orig_h":%q,"id.orig_p":%d,"id.resp_h":%q,"id.resp_p":%d,"proto":"udp","trans_id":%d,"query":%q,"qtype_name":%q,"qtype":%d`,
			q.at, q.n, q.host, 40000+q.n%20000, q.server, q.port, q.n%65536, q.name, q.kind, typeNumbers[q.kind])
		if !q.unanswered {
			fmt.Fprintf(&b, `,"rcode":%d`, q.rcode())
			if q.answer != "" {
				fmt.Fprintf(&b, `,"answers":[%q],"TTLs":[60.0]`, q.answer)
			}
		}
		b.WriteString("}\n")
	}
	return b.String()
}

// eve writes Suricata's records of a version; questions says whether it logs them.
func (l *log) eve(version int, questions bool) string {
	var b strings.Builder
	record := func(q *question, at float64, swapped bool, dns string) {
		src, dst := fmt.Sprintf(`"src_ip":%q,"src_port":%d`, q.host, 40000+q.n%20000), fmt.Sprintf(`"dest_ip":%q,"dest_port":%d`, q.server, q.port)
		if swapped {
			src, dst = fmt.Sprintf(`"src_ip":%q,"src_port":%d`, q.server, q.port), fmt.Sprintf(`"dest_ip":%q,"dest_port":%d`, q.host, 40000+q.n%20000)
		}
		whole := int64(at)
		fmt.Fprintf(&b, `{"timestamp":"%s.%06d+0000","flow_id":%d,"event_type":"dns",%s,%s,"proto":"UDP","dns":{%s}}`+"\n",
			stamp(whole), int64((at-float64(whole))*1e6), 1000+q.n, src, dst, dns)
	}
	rcodes := map[bool]string{false: "NOERROR", true: "NXDOMAIN"}
	for i := range l.rows {
		q := &l.rows[i]
		id, about := fmt.Sprintf(`"id":%d`, q.n%65536), fmt.Sprintf(`"rrname":%q,"rrtype":%q`, q.name, q.kind)
		answers := ""
		if q.answer != "" {
			answers = fmt.Sprintf(`,"answers":[{%s,"ttl":60,"rdata":%q}]`, about, q.answer)
		}
		rcode := fmt.Sprintf(`"rcode":%q`, rcodes[q.nx])
		switch version {
		case 1:
			record(q, q.at, false, `"type":"query",`+id+`,`+about)
			if q.answer != "" { // one record a resource record: this answer has two
				for range 2 {
					record(q, q.at+.01, false, `"type":"answer",`+id+`,`+rcode+`,`+about+fmt.Sprintf(`,"ttl":60,"rdata":%q`, q.answer[:len(q.answer)/2]))
				}
			} else {
				record(q, q.at+.01, false, `"type":"answer",`+id+`,`+rcode+`,`+about)
			}
		case 2:
			record(q, q.at, false, `"version":2,"type":"query",`+id+`,`+about)
			record(q, q.at+.01, false, `"version":2,"type":"answer",`+id+`,`+rcode+`,`+about+answers)
		case 3:
			if questions {
				record(q, q.at, false, `"version":3,"type":"request",`+id+`,"queries":[{`+about+`}]`)
			}
			record(q, q.at+.01, true, `"version":3,"type":"response",`+id+`,`+rcode+`,"queries":[{`+about+`}]`+answers)
		}
	}
	return b.String()
}

func (l *log) events(t testing.TB) []*event.Event { return scenario.Parse(t, []byte(l.zeek())) }

func observe(evs []*event.Event, n int, cfg Config) []event.Observation {
	return scenario.Observe(evs, n, func(shards int) scenario.Detector { return New(cfg, shards) })
}

func hexLower(b []byte) string { return hex.EncodeToString(b) }

func stamp(unix int64) string { return time.Unix(unix, 0).UTC().Format("2006-01-02T15:04:05") }
