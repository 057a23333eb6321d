package sessions_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tidewatch/enrich/sessions"
	"tidewatch/event"
	"tidewatch/internal/scenario"
)

const zeekLogs = `{"_path":"conn","ts":1767603600.0,"uid":"CbOb1","id.orig_h":"10.0.0.5","id.orig_p":50001,"id.resp_h":"203.0.113.9","id.resp_p":443,"proto":"tcp","service":"ssl,http","duration":60.0,"orig_bytes":9,"resp_bytes":9,"conn_state":"SF"}
{"_path":"ssl","ts":1767603600.1,"uid":"CbOb1","id.orig_h":"10.0.0.5","id.orig_p":50001,"id.resp_h":"203.0.113.9","id.resp_p":443,"version":"TLSv12","cipher":"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256","server_name":"cdn.example","next_protocol":"h2","established":true,"cert_chain_fps":["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"],"ja3":"e7d705a3286e19ea42f587b344ee6865","ja4":"t13d1516h2_8daaf6152771_e5627efa2ab1"}
{"_path":"x509","ts":1767603500.0,"fingerprint":"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08","certificate.version":3,"certificate.serial":"01","certificate.subject":"CN=cdn.example","certificate.issuer":"CN=cdn.example","certificate.not_valid_before":1767600000.0,"certificate.not_valid_after":1775376000.0,"san.dns":["cdn.example","www.cdn.example"]}
{"_path":"http","ts":1767603601.0,"uid":"CbOb1","id.orig_h":"10.0.0.5","id.orig_p":50001,"id.resp_h":"203.0.113.9","id.resp_p":443,"trans_depth":1,"method":"POST","host":"cdn.example","uri":"/in?x=1","user_agent":"curl/8.5.0","status_code":200}
{"_path":"files","ts":1767603602.0,"fuid":"FbOb1","uid":"CbOb1","id.orig_h":"10.0.0.5","id.orig_p":50001,"id.resp_h":"203.0.113.9","id.resp_p":443,"source":"HTTP","depth":0,"analyzers":["MD5"],"mime_type":"application/x-dosexec","filename":"a.exe","duration":0.0,"is_orig":false,"seen_bytes":2,"total_bytes":2,"missing_bytes":0,"overflow_bytes":0,"timedout":false,"md5":"d41d8cd98f00b204e9800998ecf8427e"}
{"_path":"conn","ts":1767603600.0,"uid":"CbOb2","id.orig_h":"10.0.0.6","id.orig_p":50002,"id.resp_h":"203.0.113.9","id.resp_p":22,"proto":"tcp","service":"ssh","duration":60.0,"orig_bytes":9,"resp_bytes":9,"conn_state":"SF"}
{"_path":"ssh","ts":1767603600.2,"uid":"CbOb2","id.orig_h":"10.0.0.6","id.orig_p":50002,"id.resp_h":"203.0.113.9","id.resp_p":22,"version":2,"client":"SSH-2.0-Go","server":"SSH-2.0-dropbear","hassh":"ec7378c1a92f5a8dde7e8b7a1ddf33d1"}
`

const eveLogs = `{"timestamp":"2026-01-05T09:00:05.000000+0000","flow_id":77,"event_type":"alert","src_ip":"10.0.0.5","src_port":50001,"dest_ip":"203.0.113.9","dest_port":443,"proto":"TCP","alert":{"action":"allowed","gid":1,"signature_id":2001219,"rev":1,"signature":"ET MALWARE beacon","category":"A Network Trojan was detected","severity":1}}
{"timestamp":"2026-01-05T11:00:05.000000+0000","flow_id":78,"event_type":"alert","src_ip":"10.0.0.5","src_port":50001,"dest_ip":"203.0.113.9","dest_port":443,"proto":"TCP","alert":{"action":"allowed","gid":1,"signature_id":9,"rev":1,"signature":"hours later, same ports","category":"","severity":3}}
`

// finding returns a finding about the connection of a conn record.
func finding(evs []*event.Event, uid string) *event.Finding {
	f := &event.Finding{Rule: &event.RuleInfo{}}
	f.Proto = event.ProtoTCP
	for _, ev := range evs {
		if ev.Kind == event.KindConn && ev.UID == uid {
			f.Sample = append(f.Sample, event.SampleOf(ev))
		}
	}
	return f
}

// TestJoins shuffles the records: in every order a finding on a connection carries its
// handshake, certificate, request, file and alerts, and another one's do not get there.
func TestJoins(t *testing.T) {
	evs := append(scenario.Parse(t, []byte(zeekLogs)), scenario.Parse(t, []byte(eveLogs))...)
	if len(evs) != 9 {
		t.Fatalf("%d records", len(evs))
	}
	sha := "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
	want := &event.Session{
		TLS: &event.SessionTLS{Version: "TLSv12", Cipher: "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", ServerName: "cdn.example", NextProtocol: "h2",
			JA3: "e7d705a3286e19ea42f587b344ee6865", JA4: "t13d1516h2_8daaf6152771_e5627efa2ab1"},
		Certificate: &event.Certificate{Fingerprint: sha, Subject: "CN=cdn.example", Issuer: "CN=cdn.example", NotBefore: 1767600000e9, NotAfter: 1775376000e9, Names: []string{"cdn.example", "www.cdn.example"}},
		HTTP:        &event.SessionHTTP{Method: "POST", Host: "cdn.example", URI: "/in?x=1", UserAgent: "curl/8.5.0", Status: 200},
		Files:       []event.SessionFile{{Name: "a.exe", MIME: "application/x-dosexec", MD5: "d41d8cd98f00b204e9800998ecf8427e"}},
		Alerts:      []event.SessionAlert{{Time: 1767603605e9, ID: 2001219, Name: "ET MALWARE beacon", Category: "A Network Trojan was detected", Severity: 1}},
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		r.Shuffle(len(evs), func(i, j int) { evs[i], evs[j] = evs[j], evs[i] })
		m := sessions.New(4 << 20)
		m.Learn(&event.Sequence{Events: evs[:4]})
		m.Learn(&event.Sequence{Events: evs[4:]})
		f := finding(evs, "CbOb1")
		if lacks := m.Attach(f, event.PartTLS|event.PartHTTP); lacks != 0 {
			t.Fatalf("lacks %b", lacks)
		}
		if diff := cmp.Diff(want, f.Session()); diff != "" {
			t.Fatal(diff)
		}
		f = finding(evs, "CbOb2")
		m.Attach(f, 0)
		if diff := cmp.Diff(&event.Session{SSH: &event.SessionSSH{Client: "SSH-2.0-Go", Server: "SSH-2.0-dropbear", HASSH: "ec7378c1a92f5a8dde7e8b7a1ddf33d1"}}, f.Session()); diff != "" {
			t.Fatal(diff)
		}
	}
}

// TestJoinLacks says what is still to come.
func TestJoinLacks(t *testing.T) {
	evs := scenario.Parse(t, []byte(zeekLogs))
	seq := &event.Sequence{Events: evs[:1]}
	m := sessions.New(4 << 20)
	m.Learn(seq)
	f := finding(evs, "CbOb1")
	awaited := f.Awaits(seq)
	if lacks := m.Attach(f, awaited); lacks != event.PartTLS|event.PartHTTP {
		t.Errorf("lacks %b of %b", lacks, awaited)
	}
	m.Learn(&event.Sequence{Events: evs[1:2]})
	if lacks := m.Attach(f, awaited); lacks != event.PartHTTP {
		t.Errorf("with the handshake it lacks %b", lacks)
	}
}

// flood returns records of handshakes of other connections.
func flood(n, from int) *event.Sequence {
	seq := &event.Sequence{}
	for i := range n {
		seq.Events = append(seq.Events, &event.Event{
			Kind: event.KindTLS, Sensor: event.SensorZeek, UID: fmt.Sprintf("Cflood%d", from+i), Time: 1767603600e9,
			TLS: &event.TLS{Version: "TLSv13", ServerName: strings.Repeat("x", 400), JA4: "t13d1516h2_8daaf6152771_e5627efa2ab1"},
		})
	}
	return seq
}

// TestWindow floods the memory: it stays within its bytes, keeps what came last, and
// forgets what came first.
func TestWindow(t *testing.T) {
	const bytes = 4 << 20
	m := sessions.New(bytes)
	n := 0
	for range 100 {
		m.Learn(flood(512, n))
		n += 512
	}
	about := func(uid int) *event.Session {
		f := &event.Finding{}
		f.Sample = []event.Sample{{UID: fmt.Sprintf("Cflood%d", uid)}}
		m.Attach(f, 0)
		return f.Session()
	}
	kept := 0
	for uid := range n {
		if s := about(uid); s != nil {
			kept++
			if len(s.TLS.ServerName) != 255 || s.TLS.JA4 != "t13d1516h2_8daaf6152771_e5627efa2ab1" {
				t.Fatalf("%d: %+v", uid, s.TLS)
			}
		}
	}
	if about(n-1) == nil || about(0) != nil {
		t.Error("not the last ones are kept")
	}
	if least := bytes / 500; kept < least {
		t.Errorf("%d are kept, at least %d have room", kept, least)
	}
	if m.Bytes() > bytes+8<<20 {
		t.Errorf("%d bytes", m.Bytes())
	}
}

func TestLearnAllocates(t *testing.T) {
	m := sessions.New(2 << 20)
	seq := flood(512, 0)
	seq.Events = append(seq.Events, scenario.Parse(t, []byte(zeekLogs+""))...)
	for range 50 {
		m.Learn(seq)
	}
	if n := testing.AllocsPerRun(20, func() { m.Learn(seq) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkLearn measures a handshake of the usual length.
func BenchmarkLearn(b *testing.B) {
	m := sessions.New(32 << 20)
	seq := flood(512, 0)
	for _, ev := range seq.Events {
		ev.TLS.ServerName, ev.TLS.Cipher, ev.TLS.JA3 = "www.example.com", "TLS_AES_128_GCM_SHA256", "e7d705a3286e19ea42f587b344ee6865"
		ev.Orig.Addr, ev.Resp.Addr = netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("203.0.113.9")
	}
	b.ReportAllocs()
	for b.Loop() {
		m.Learn(seq)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(seq.Events)), "ns/record")
}
