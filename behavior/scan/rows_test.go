package scan

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tidewatch/event"
	"tidewatch/internal/scenario"
)

// rows is a log of connections, in the order of their starts, that can be written
// in each form. The zero of at is a Friday in November 2026.
type rows struct {
	at  float64 // seconds since the log began
	all []connection
}

// connection is one row. Its state is one of Zeek's, of ICMP "SF" for a ping that
// was answered and "S0" for one that was not.
type connection struct {
	n                  int
	at                 time.Time
	orig, resp         string
	origPort, respPort int
	proto, state       string
}

func newRows() *rows { return &rows{} }

// conn adds one connection, some seconds after the last. Pings have port 0.
func (r *rows) conn(after float64, orig, resp string, port int, proto, state string) *rows {
	r.at += after
	n := len(r.all) + 1
	c := connection{
		n: n, at: time.Unix(1795132800, 0).Add(time.Duration(r.at * 1e9)).UTC().Truncate(time.Microsecond),
		orig: orig, resp: resp, origPort: 40000 + n%20000, respPort: port, proto: proto, state: state,
	}
	if proto == "icmp" {
		c.origPort, c.respPort = 8, 0 // echo request and reply
		if strings.Contains(orig, ":") {
			c.origPort, c.respPort = 128, 129
		}
	}
	r.all = append(r.all, c)
	return r
}

// shift moves all connections later.
func (r *rows) shift(by time.Duration) {
	for i := range r.all {
		r.all[i].at = r.all[i].at.Add(by)
	}
}

// back is how many packets came back.
func (c *connection) back() int {
	if c.state == "SF" || c.state == "REJ" {
		return 1
	}
	return 0
}

// seconds is the start as Zeek writes it.
func (c *connection) seconds() string {
	return fmt.Sprintf("%d.%06d", c.at.Unix(), c.at.Nanosecond()/1000)
}

// zeekState is the state as Zeek has it: of pings always OTH.
func (c *connection) zeekState() string {
	if c.proto == "icmp" {
		return "OTH"
	}
	return c.state
}

const tsvHeader = "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n" +
	"#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tconn_state\torig_pkts\tresp_pkts\n"

func (c *connection) tsv() string {
	return fmt.Sprintf("%s\tC%d\t%s\t%d\t%s\t%d\t%s\t%s\t1\t%d\n", c.seconds(), c.n, c.orig, c.origPort, c.resp, c.respPort, c.proto, c.zeekState(), c.back())
}

func (c *connection) json() string {
	return fmt.Sprintf(`{"ts":%s,"uid":"C%d","id.orig_h":"%s","id.orig_p":%d,"id.resp_h":"%s","id.resp_p":%d,"proto":"%s","conn_state":"%s","orig_pkts":1,"resp_pkts":%d}`+"\n",
		c.seconds(), c.n, c.orig, c.origPort, c.resp, c.respPort, c.proto, c.zeekState(), c.back())
}

// eve writes the flow record of Suricata 7.
func (c *connection) eve() string {
	at := c.at.Format("2006-01-02T15:04:05.000000-0700")
	ends := fmt.Sprintf(`"src_ip":"%s","src_port":%d,"dest_ip":"%s","dest_port":%d,"proto":"%s"`, c.orig, c.origPort, c.resp, c.respPort, strings.ToUpper(c.proto))
	more, state := "", "new"
	switch {
	case c.proto == "icmp":
		proto := "ICMP"
		if c.origPort == 128 {
			proto = "IPv6-ICMP"
		}
		ends = fmt.Sprintf(`"src_ip":"%s","dest_ip":"%s","proto":"%s","icmp_type":%d,"icmp_code":0`, c.orig, c.resp, proto, c.origPort)
	case c.proto == "udp":
	case c.state == "REJ":
		more, state = `,"tcp":{"tcp_flags":"16","tcp_flags_ts":"02","tcp_flags_tc":"14","syn":true,"rst":true,"ack":true,"state":"closed"}`, "closed"
	case c.state == "SF":
		more, state = `,"tcp":{"tcp_flags":"1b","tcp_flags_ts":"1b","tcp_flags_tc":"1b","syn":true,"fin":true,"psh":true,"ack":true,"state":"closed"}`, "closed"
	default:
		more = `,"tcp":{"tcp_flags":"02","tcp_flags_ts":"02","tcp_flags_tc":"00","syn":true,"state":"syn_sent"}`
	}
	if c.proto != "tcp" && c.back() > 0 {
		state = "established"
	}
	return fmt.Sprintf(`{"timestamp":"%s","flow_id":%d,"event_type":"flow",%s,"flow":{"pkts_toserver":1,"pkts_toclient":%d,"bytes_toserver":60,"bytes_toclient":%d,"start":"%s","end":"%s","age":0,"state":"%s","reason":"timeout","alerted":false}%s}`+"\n",
		at, c.n, ends, c.back(), 60*c.back(), at, at, state, more)
}

// forms are the forms in which rows can be written.
var forms = map[string]struct {
	header string
	line   func(*connection) string
}{
	"Zeek TSV":  {tsvHeader, (*connection).tsv},
	"Zeek JSON": {"", (*connection).json},
	"EVE":       {"", (*connection).eve},
}

// eventsOf parses the rows as they are in one of the forms.
func (r *rows) eventsOf(t testing.TB, form string) []*event.Event {
	t.Helper()
	slices.SortStableFunc(r.all, func(a, b connection) int { return a.at.Compare(b.at) })
	var b strings.Builder
	b.WriteString(forms[form].header)
	for i := range r.all {
		b.WriteString(forms[form].line(&r.all[i]))
	}
	evs := scenario.Parse(t, []byte(b.String()))
	if n := slices.IndexFunc(evs, func(ev *event.Event) bool { return ev.Kind == event.KindConn }); n < 0 || len(evs) < len(r.all) {
		t.Fatalf("%s: %d events of %d rows", form, len(evs), len(r.all))
	}
	return evs
}

func (r *rows) events(t testing.TB) []*event.Event { return r.eventsOf(t, "Zeek TSV") }
