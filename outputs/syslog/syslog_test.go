package syslog

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"tidewatch/event"
	"tidewatch/internal/strict"
	"tidewatch/outputs/dial"
)

func testFinding(id string) event.Finding {
	f := event.Finding{ID: id, Rule: &event.RuleInfo{ID: "beacon-outbound", Name: "Beacon", Severity: event.SeverityHigh, Attack: []event.Technique{{ID: "T1071"}}}}
	f.Detector, f.Time, f.Reason, f.Risk = "beacon", time.Date(2026, 11, 20, 10, 17, 0, 123456789, time.UTC).UnixNano(), "it calls every 300 s", 81.5
	f.Subject = event.Subject{Type: "pair", Value: "10.20.1.23 > a.example"}
	f.Source = event.Endpoint{Addr: netip.MustParseAddr("10.20.1.23")}
	f.Destination = event.Endpoint{Addr: netip.MustParseAddr("2001:db8::1"), Port: 443, HasPort: true, Domain: "a.example"}
	return f
}

func testConfig(transport, address string) Config {
	c := Default()
	c.Transport, c.Address, c.Host = transport, address, "sensor-1"
	c.MaxBackoff = strict.Duration(2 * time.Millisecond)
	return c
}

func newOutput(t testing.TB, c Config) *Output {
	t.Helper()
	o, err := New(c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.Close() })
	return o
}

func TestMessage(t *testing.T) {
	o := newOutput(t, testConfig("tcp", "127.0.0.1:1"))
	f := func(want string, change func(*event.Finding)) {
		t.Helper()
		is := testFinding("id-1")
		change(&is)
		if d := cmp.Diff(want, string(o.message(nil, &is, nil))); d != "" {
			t.Error(d)
		}
	}
	const head = `<131>1 2026-11-20T10:17:00.123456Z sensor-1 tidewatch - beacon `
	f(head+`[tidewatch@32473 id="id-1" rule="beacon-outbound" severity="high" risk="81.5" subject="10.20.1.23 > a.example" source="10.20.1.23" destination="2001:db8::1" domain="a.example" port="443" attack="T1071"] Beacon: it calls every 300 s`,
		func(*event.Finding) {})
	f(head+`[tidewatch@32473 id="id-1" rule="beacon-outbound" severity="high" risk="81.5" subject="10.20.1.23 > a.example" source="10.20.1.23" destination="2001:db8::1" domain="a\"\]\\ [x y=\"" port="443" attack="T1071"] Beacon: \x0a<0>1 another \x1b[31m`,
		func(f *event.Finding) {
			f.Destination.Domain, f.Reason = `a"]\ [x y="`, "\n<0>1 another \x1b[31m"
		})
	f(`<130>1 2026-11-20T10:17:00.123456Z sensor-1 tidewatch - - [tidewatch@32473 id="id-1" rule="beacon-outbound" severity="critical" risk="81.5" attack="T1071"] Beacon: it calls every 300 s`,
		func(f *event.Finding) {
			rule := *f.Rule
			rule.Severity = event.SeverityCritical
			f.Rule, f.Detector, f.Subject, f.Source, f.Destination = &rule, " \n", event.Subject{}, event.Endpoint{}, event.Endpoint{}
		})
}

// grammar is that of RFC 5424, 6, as far as we write it.
var grammar = regexp.MustCompile(`^<[0-9]{1,3}>1 [0-9TZ:.-]{27} [!-~]{1,255} tidewatch - [!-~]{1,32} \[tidewatch@32473( [a-z_]+="(?:[^"\\\]\x00-\x1f]|\\["\\\]]|\\[^"\\\]])*")*\] [^\x00-\x1f\x7f]*$`)

func FuzzMessage(f *testing.F) {
	f.Add("a]", "b\"", "c\\", "reason\n")
	f.Add(strings.Repeat("é]", 400), "\xff\xfe", "\u202e", strings.Repeat("\x00", 3000))
	o := newOutput(f, testConfig("udp", "127.0.0.1:1"))
	f.Fuzz(func(t *testing.T, subject, domain, detector, reason string) {
		is := testFinding("id")
		is.Subject.Value, is.Destination.Domain, is.Detector, is.Reason = subject, domain, detector, reason
		if m := o.append(&is); !grammar.Match(m) || !utf8.Valid(m) || len(m) > maxDatagram*2 {
			t.Errorf("%q", m)
		}
	})
}

// server is a listener that keeps the messages that it gets.
type server struct {
	net.Listener
	got chan string
}

func listen(t *testing.T, config *tls.Config) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if config != nil {
		l = tls.NewListener(l, config)
	}
	t.Cleanup(func() { _ = l.Close() })
	return &server{l, make(chan string, 1000)}
}

// serve reads messages of one connection: as many as most, then it hangs up.
func (s *server) serve(t *testing.T, most int) {
	conn, err := s.Accept()
	if err != nil {
		return
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	for range most {
		length, err := r.ReadString(' ')
		if err != nil {
			return
		}
		n, err := strconv.Atoi(strings.TrimSuffix(length, " "))
		if err != nil {
			t.Errorf("length %q", length)
			return
		}
		m := make([]byte, n)
		if _, err := io.ReadFull(r, m); err != nil {
			return
		}
		if !grammar.Match(m) {
			t.Errorf("%q", m)
		}
		s.got <- string(m)
	}
}

// take returns n messages.
func (s *server) take(t *testing.T, n int) (ms []string) {
	t.Helper()
	for range n {
		select {
		case m := <-s.got:
			ms = append(ms, m)
		case <-time.After(time.Minute):
			t.Fatalf("%d messages, want %d", len(ms), n)
		}
	}
	return ms
}

// Over TLS, with a certificate that is trusted; a server that hangs up is connected again
// before the next message.
func TestTLS(t *testing.T) {
	web := httptest.NewTLSServer(nil) // for its certificate
	defer web.Close()
	s := listen(t, &tls.Config{Certificates: web.TLS.Certificates})
	c := testConfig("tls", s.Addr().String())
	c.CAFile = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(c.CAFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	o := newOutput(t, c)
	for round := range 3 {
		done := make(chan struct{})
		go func() { defer close(done); s.serve(t, 2) }()
		if err := o.Write(t.Context(), []event.Finding{testFinding(fmt.Sprint(round, "a")), testFinding(fmt.Sprint(round, "b"))}); err != nil {
			t.Fatal(err)
		}
		for i, m := range s.take(t, 2) {
			if want := fmt.Sprintf(`id="%d%c"`, round, 'a'+i); !strings.Contains(m, want) {
				t.Errorf("%s, want %s", m, want)
			}
		}
		<-done
		<-o.broken // the system knows that the server has hung up
	}
	if s := o.Stats(); s.Delivered != 6 || s.Trouble != "" {
		t.Errorf("%+v", s)
	}
	// A certificate that nobody vouches for is not talked to.
	c.CAFile, c.Trust = "", dial.Trust{CAFingerprint: strings.Repeat("00", 32)}
	go s.serve(t, 1)
	if err := newOutput(t, c).try(t.Context(), []event.Finding{testFinding("x")}); err == nil || !strings.Contains(err.Error(), "fingerprint") {
		t.Error(err)
	}
}

// While nobody listens Write waits; it is delivered when somebody does.
func TestDown(t *testing.T) {
	s := listen(t, nil)
	address := s.Addr().String()
	_ = s.Close()
	o := newOutput(t, testConfig("tcp", address))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- o.Write(ctx, []event.Finding{testFinding("1")}) }()
	for !strings.HasPrefix(o.Stats().Trouble, "no connection") {
		select {
		case err := <-done:
			t.Fatal(err)
		default:
		}
	}
	stop()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Skip("SKIPPED: somebody else has the port now: ", err)
	}
	s.Listener = l
	go s.serve(t, 1)
	if err := o.Write(t.Context(), []event.Finding{testFinding("2")}); err != nil {
		t.Fatal(err)
	}
	if m := s.take(t, 1)[0]; !strings.Contains(m, `id="2"`) {
		t.Error(m)
	}
	if s := o.Stats(); s.Delivered != 1 || s.Trouble != "" {
		t.Errorf("%+v", s)
	}
}

// A datagram holds one message, whole characters, however long the finding is.
func TestUDP(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := testConfig("udp", conn.LocalAddr().String())
	c.Format = "json"
	long := testFinding("long")
	long.Reason = strings.Repeat("é", 10_000)
	if err := newOutput(t, c).Write(t.Context(), []event.Finding{testFinding("short"), long}); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"short", "long"} {
		b := make([]byte, 64<<10)
		if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		n, _, err := conn.ReadFrom(b)
		if err != nil {
			t.Fatal(err)
		}
		m := b[:n]
		_, doc, _ := strings.Cut(string(m), "] ")
		if !grammar.Match(m) || !utf8.Valid(m) || !strings.Contains(string(m), `id="`+id+`"`) || n > maxDatagram || json.Valid([]byte(doc)) != (id == "short") {
			t.Errorf("%d bytes: %.300q", n, m)
		}
	}
}

func TestConfig(t *testing.T) {
	f := func(want string, change func(*Config)) {
		t.Helper()
		c := testConfig("tls", "siem.example:6514")
		change(&c)
		got := ""
		if err := c.Validate(); err != nil {
			got = err.Error()
		}
		if (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	f("", func(*Config) {})
	f("", func(c *Config) { c.Address = "[::1]:514" })
	f("address", func(c *Config) { c.Address = "siem.example" })
	f("address", func(c *Config) { c.Address = "siem.example:0" })
	f("transport", func(c *Config) { c.Transport = "sctp" })
	f("facility", func(c *Config) { c.Facility = "local8" })
	f("host", func(c *Config) { c.Host = "a b" })
	f("format", func(c *Config) { c.Format = "cef" })
	f("at_least", func(c *Config) { c.AtLeast = "" })
	f("max_backoff", func(c *Config) { c.MaxBackoff = 0 })
	f("without TLS", func(c *Config) { c.Transport, c.CAFile = "tcp", "a" })
}
