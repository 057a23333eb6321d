package enrich

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tidewatch/event"
)

// record returns one that has the value in this place.
func record(field, v string) *event.Event {
	e := &event.Event{
		Time: time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC).UnixNano(), Kind: event.KindConn, Proto: event.ProtoTCP,
		Orig: event.Host{Addr: netip.MustParseAddr("10.0.0.5"), Port: 4000}, Resp: event.Host{Addr: netip.MustParseAddr("192.0.2.200"), Port: 443},
	}
	switch field {
	case "ip":
		e.Resp.Addr = netip.MustParseAddr(v)
	case "dns":
		e.DNS = &event.DNS{Query: v}
	case "sni":
		e.TLS = &event.TLS{ServerName: v}
	case "ja3":
		e.TLS = &event.TLS{JA3: v}
	case "ja4":
		e.TLS = &event.TLS{JA4: v}
	case "cert":
		e.TLS = &event.TLS{Fingerprint: v}
	case "url":
		host, uri, _ := strings.Cut(v, "/")
		e.HTTP = &event.HTTP{Host: host, URI: "/" + uri}
	case "hassh":
		e.SSH = &event.SSH{HASSH: v}
	case "answer":
		e.DNS = &event.DNS{Query: "fine.example", Answers: []string{"TXT 5 v=spf1 ~all", "", "fine2.example", "10.0.0.7", v}}
	case "file":
		e.File = &event.File{SHA256: v}
	}
	return e
}

const (
	sha1of   = "356a192b7913b04c54574d18c28d46e6395428ab"
	sha256of = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"
	ja3of    = "e7d705a3286e19ea42f587b344ee6865"
	ja4of    = "t13d1516h2_8daaf6152771_e5627efa2ab1"
)

// Each form of list gives its indicators, with what it says of them.
func TestFeeds(t *testing.T) {
	type want struct{ field, value, typ, atomic, text, tlp, confidence string }
	f := func(name, text string, wants ...want) {
		t.Helper()
		x := open(t, Config{Indicators: []string{write(t, name, text)}})
		for _, w := range wants {
			e := record(w.field, w.value)
			x.Enrich(e)
			var got want
			if i := e.Threat; i != nil {
				got = want{w.field, w.value, i.Type, i.Value, i.Description, i.TLP, i.ConfidenceName()}
				if i.Provider != strings.TrimSuffix(name, filepath.Ext(name)) {
					t.Errorf("provider %q", i.Provider)
				}
			} else {
				got = want{field: w.field, value: w.value}
			}
			if d := cmp.Diff(w, got, cmp.AllowUnexported(want{})); d != "" {
				t.Errorf("%s: %s", name, d)
			}
		}
	}
	none := func(field, v string) want { return want{field: field, value: v} }
	f("plain.txt", "# a list\n198.51.100.7\n203.0.113.0/24 # bots\n2001:db8::7\nevil[.]example\n*.Worse.example\nhxxp://bad.example/a?b=1\n"+sha256of+"\n"+strings.ToUpper(ja3of)+"\n"+ja4of+"\n198.51.100.9:8080\n",
		want{"ip", "198.51.100.7", "ipv4-addr", "198.51.100.7", "", "", "Not Specified"}, want{"ip", "203.0.113.77", "ipv4-addr", "203.0.113.77", "bots", "", "Not Specified"},
		want{"ip", "2001:db8::7", "ipv6-addr", "2001:db8::7", "", "", "Not Specified"}, want{"ip", "198.51.100.9", "ipv4-addr", "198.51.100.9", "", "", "Not Specified"},
		want{"dns", "a.b.EVIL.example.", "domain-name", "evil.example", "", "", "Not Specified"}, want{"sni", "worse.example", "domain-name", "worse.example", "", "", "Not Specified"},
		want{"url", "BAD.example/a?b=1", "url", "bad.example/a?b=1", "", "", "Not Specified"}, want{"file", sha256of, "file", sha256of, "", "", "Not Specified"},
		want{"ja3", ja3of, "software", ja3of, "", "", "Not Specified"}, want{"ja4", ja4of, "software", ja4of, "", "", "Not Specified"},
		none("ip", "198.51.100.8"), none("dns", "notevil.example"), none("dns", "example"), none("url", "bad.example/a"), none("dns", ""))
	f("hosts.txt", "127.0.0.1 localhost\n0.0.0.0 evil.example\n", want{"dns", "evil.example", "domain-name", "evil.example", "", "", "Not Specified"})
	f("urlhaus.csv", "# URLhaus\n# id,dateadded,url,url_status,last_online,threat,tags,urlhaus_link,reporter\n\"1\",\"2026-11-19 10:00:00\",\"http://bad.example:80/x.sh\",\"online\",\"\",\"malware_download\",\"elf\",\"https://urlhaus.example/1/\",\"r\"\n",
		want{"url", "bad.example/x.sh", "url", "bad.example/x.sh", "malware_download", "", "Not Specified"})
	f("feodo.csv", "# Feodo\n\"first_seen_utc\",\"dst_ip\",\"dst_port\",\"c2_status\",\"last_online\",\"malware\"\n\"2026-01-01 00:00:00\",\"198.51.100.7\",\"443\",\"online\",\"2026-11-01\",\"Emotet\"\n",
		want{"ip", "198.51.100.7", "ipv4-addr", "198.51.100.7", "Emotet", "", "Not Specified"})
	f("sslbl.csv", "# Listingdate,SHA1,Listingreason\n2026-01-01 00:00:00,"+sha1of+",Dridex C&C\n",
		want{"cert", strings.ToUpper(sha1of[:2] + ":" + sha1of[2:]), "x509-certificate", sha1of, "Dridex C&C", "", "Not Specified"})
	f("ja3.csv", "# ja3_md5,Firstseen,Lastseen,Listingreason\n"+ja3of+",2026-01-01 00:00:00,2026-01-02 00:00:00,Tofsee\n", want{"ja3", ja3of, "software", ja3of, "Tofsee", "", "Not Specified"})
	f("threatfox.csv", "# \"first_seen_utc\",\"ioc_id\",\"ioc_value\",\"ioc_type\",\"threat_type\",\"fk_malware\",\"malware_alias\",\"malware_printable\",\"last_seen_utc\",\"confidence_level\",\"reference\"\n"+
		"\"2026-01-01 00:00:00\", \"1\", \"198.51.100.7:443\", \"ip:port\", \"botnet_cc\", \"win.x\", \"\", \"Cobalt Strike\", \"\", \"25\", \"\"\n",
		want{"ip", "198.51.100.7", "ipv4-addr", "198.51.100.7", "Cobalt Strike", "", "Low"})
	f("own.csv", "indicator,confidence,tlp,expires,description\nold.example,90,amber,2026-11-19,gone\nnew.example,90,TLP:AMBER,2026-11-21,here\n",
		want{"dns", "new.example", "domain-name", "new.example", "here", "AMBER", "High"}, none("dns", "old.example"))
	f("stix.json", `{"type": "bundle", "id": "bundle--1", "objects": [
		{"type": "indicator", "pattern_type": "stix", "pattern": "[ipv4-addr:value = '198.51.100.7' OR domain-name:value = 'evil.example']", "name": "C2", "confidence": 60, "valid_from": "2026-01-01T00:00:00Z",
		 "object_marking_refs": ["marking-definition--bab4a63c-aed9-4cf5-a766-dfca5abac2bb"]},
		{"type": "indicator", "pattern_type": "stix", "pattern": "[file:hashes.'SHA-256' = '`+sha256of+`']", "valid_until": "2026-01-01T00:00:00Z"},
		{"type": "indicator", "pattern_type": "stix", "pattern": "[domain-name:value = 'revoked.example']", "revoked": true}, {"type": "malware", "name": "x"}]}`,
		want{"ip", "198.51.100.7", "ipv4-addr", "198.51.100.7", "C2", "GREEN", "Medium"}, want{"dns", "evil.example", "domain-name", "evil.example", "C2", "GREEN", "Medium"},
		none("file", sha256of), none("dns", "revoked.example"))
	f("misp.json", `{"Event": {"info": "Campaign", "Tag": [{"name": "tlp:red"}], "Attribute": [
		{"type": "ip-dst|port", "value": "198.51.100.7|443", "to_ids": true}, {"type": "domain", "value": "context.example", "to_ids": false}, {"type": "comment", "value": "x"}],
		"Object": [{"Attribute": [{"type": "filename|sha256", "value": "a.exe|`+sha256of+`", "to_ids": true, "comment": "dropper"}]}]}}`,
		want{"ip", "198.51.100.7", "ipv4-addr", "198.51.100.7", "Campaign", "RED", "Not Specified"}, want{"file", sha256of, "file", sha256of, "dropper", "RED", "Not Specified"}, none("dns", "context.example"))
}

// A name that leads to what is listed is listed; so is a fingerprint of SSH.
func TestAnswersAndHASSH(t *testing.T) {
	x := open(t, Config{Indicators: []string{write(t, "list.txt", "198.51.100.7\n2001:db8::/32\n10.0.0.7\nevil.example\n"+ja3of+"\n")}, Allowed: []string{write(t, "allow.txt", "2001:db8:1::/48\n")}})
	for _, w := range []struct{ kind, value, field, atomic string }{
		{"answer", "198.51.100.7", "dns.resolved_ip", "198.51.100.7"},
		{"answer", "2001:db8::5", "dns.resolved_ip", "2001:db8::5"},
		{"answer", "cdn.Evil.example", "dns.answers.data", "evil.example"},
		{"answer", "198.51.100.8", "", ""},
		{"answer", "2001:db8:1::5", "", ""}, // allowed
		{"hassh", ja3of, "ssh.hassh", ja3of},
	} {
		e := record(w.kind, w.value)
		x.Enrich(e)
		got := event.Indicator{}
		if e.Threat != nil {
			got = *e.Threat
		}
		if got.Field != w.field || got.Value != w.atomic {
			t.Errorf("%s %s: %+v", w.kind, w.value, got)
		}
	}
}

// Columns have the names that the configuration says.
func TestFeedColumns(t *testing.T) {
	f := func(form Feed, text string, want ...event.Indicator) {
		t.Helper()
		form.Path = write(t, "partner.csv", text)
		x, err := Open(NewZones(nil), Config{Feeds: map[string]Feed{"partner": form}})
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			e := record("dns", w.Value)
			x.Enrich(e)
			if w.Provider == "" {
				if e.Threat != nil {
					t.Errorf("%s is listed: %+v", w.Value, e.Threat)
				}
				continue
			}
			if d := cmp.Diff(&w, e.Threat); d != "" {
				t.Error(d)
			}
		}
	}
	first := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC).UnixNano()
	f(Feed{Separator: ";", Value: "IOC", Confidence: "score", Expires: "valid to", FirstSeen: "seen", Description: "note", TLP: "marking", DefaultConfidence: -1},
		"\ufeff# ours\nnote;ioc;score;valid to;seen;marking;ip\nbad; evil.example ;80;2026-12-01;2026-11-01;amber;10.0.0.1\n# gone\n\"a;b\";old.example;80;2026-11-01;;;\n",
		event.Indicator{Type: "domain-name", Value: "evil.example", Field: "dns.question.name", Provider: "partner", Description: "bad", TLP: "AMBER", Confidence: 80, FirstSeen: first},
		event.Indicator{Value: "old.example"})
	f(Feed{Separator: "\t", Value: "#2", DefaultConfidence: 40, DefaultTLP: "green"}, "x\tevil.example\tindicator\n",
		event.Indicator{Type: "domain-name", Value: "evil.example", Field: "dns.question.name", Provider: "partner", TLP: "GREEN", Confidence: 40})
	path := write(t, "partner.csv", "note,ioc\nbad,evil.example\n")
	_, err := Open(NewZones(nil), Config{Feeds: map[string]Feed{"partner": {Path: path, Separator: ",", Value: "iocs"}}})
	if err == nil || !strings.Contains(err.Error(), "partner.csv:1") || !strings.Contains(err.Error(), "ioc") {
		t.Errorf("a column that is not there: %v", err)
	}
}

// A folder of MISP has its events read, and neither the list of them nor the digests.
func TestMISPFeed(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"manifest.json": `{"55b9f0a5-3a8c-4d6a-8b0b-3a0b0a0b0a0b": {"info": "Campaign", "timestamp": "1"}}`,
		"hashes.csv":    ja3of + ",55b9f0a5-3a8c-4d6a-8b0b-3a0b0a0b0a0b\n",
		"55b9f0a5-3a8c-4d6a-8b0b-3a0b0a0b0a0b.json": `{"Event": {"info": "Campaign", "Attribute": [{"type": "domain", "value": "evil.example", "to_ids": true}]}}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	x := open(t, Config{Indicators: []string{dir}})
	if n := x.now.Load().intel.Len(); n != 1 {
		t.Errorf("%d indicators", n)
	}
	if err := os.WriteFile(filepath.Join(dir, "manifest.json"), []byte(`{"a": {"info": 5}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Reload(); err == nil || !strings.Contains(err.Error(), "manifest.json") {
		t.Errorf("a manifest that is none: %v", err)
	}
}

// What is allowed never counts, and with a name all below it.
func TestAllowed(t *testing.T) {
	list := write(t, "list.txt", "198.51.100.7\nevil.example\nbad.example\n"+sha256of+"\n")
	x := open(t, Config{Indicators: []string{list}, Allowed: []string{write(t, "allow.txt", "198.51.100.0/24\nfine.evil.example\n"+sha256of+"\n")}})
	f := func(field, v string, listed bool) {
		t.Helper()
		e := record(field, v)
		if x.Enrich(e); (e.Threat != nil) != listed {
			t.Errorf("%s %s: %v", field, v, e.Threat)
		}
	}
	f("ip", "198.51.100.7", false)
	f("file", sha256of, false)
	f("dns", "a.fine.evil.example", false)
	f("dns", "evil.example", true)
	f("dns", "bad.example", true)
}

// A pattern of STIX may want what no record says by itself: it is left out and told, and
// the others of its bundle count.
func TestSTIXPatterns(t *testing.T) {
	f := func(pattern string, want ...string) {
		t.Helper()
		if d := cmp.Diff(strings.Join(want, "\n"), strings.Join(stixValues(pattern), "\n")); d != "" {
			t.Errorf("%s: %s", pattern, d)
		}
	}
	f("[ipv4-addr:value = '198.51.100.7']", "198.51.100.7")
	f("[ipv4-addr:value ISSUBSET '198.51.100.0/24' OR domain-name:value='evil.example']", "198.51.100.0/24", "evil.example")
	f("[domain-name:value IN ('a.example', 'b.example')]", "a.example", "b.example")
	f("[url:value = 'http://a.example/rock AND roll']", "http://a.example/rock AND roll")
	f("[file:hashes.'SHA-256' = '"+sha256of+"' AND file:name = 'a.exe']", sha256of)
	f("[file:hashes.MD5 = '"+ja3of+"' AND domain-name:value = 'evil.example']", ja3of)
	f("[ipv4-addr:value = '198.51.100.7' AND network-traffic:dst_port = 443]")
	f("[ipv4-addr:value = '198.51.100.7'] FOLLOWEDBY [domain-name:value = 'evil.example']")
	f("[ipv4-addr:value NOT = '198.51.100.7']")
	f("[ipv4-addr:value != '198.51.100.7']")
	f("[domain-name:value LIKE '%.example']")
	f("[windows-registry-key:key = 'HKLM\\\\x']")
	f("[network-traffic:src_ref.value = '198.51.100.7']")

	bundle := func(patterns ...string) string {
		var objects []string
		for _, p := range patterns {
			objects = append(objects, fmt.Sprintf(`{"type":"indicator","pattern_type":"stix","pattern":%q}`, p))
		}
		return `{"type":"bundle","id":"bundle--1","objects":[` + strings.Join(objects, ",") + `]}`
	}
	key, mail := "[windows-registry-key:key = 'HKLM']", "[email-message:subject = 'x']"
	x := open(t, Config{Indicators: []string{
		write(t, "mixed.json", bundle("[domain-name:value = 'evil.example']", key, mail)),
		write(t, "list.txt", strings.Repeat("evil.example\n", 20)+"<html>\n"),
	}, Allowed: []string{write(t, "fine.json", bundle("[domain-name:value = 'fine.example']", key))}})
	if n := x.now.Load().intel.Len(); n != 1 {
		t.Errorf("%d indicators", n)
	}
	var got []string
	for _, w := range x.Warnings() {
		got = append(got, w[strings.LastIndexByte(w[:strings.Index(w, ": ")], '/')+1:])
	}
	want := []string{
		"mixed.json: 2 of 3 patterns are about what no record has by itself and are left out, the first: " + key,
		"list.txt: 1 of 21 entries are no indicators and are left out, the first in line 21: <html>",
		"fine.json: 1 of 2 patterns are about what no record has by itself and are left out, the first: " + key,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// A file that is no list is an error with its line; a few lines that are none are not.
func TestFeedErrors(t *testing.T) {
	f := func(name, text, want string) {
		t.Helper()
		_, err := Open(NewZones(nil), Config{Indicators: []string{write(t, name, text)}})
		if got := fmt.Sprint(err); want == "" && err != nil || !strings.Contains(got, want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	f("a.txt", "evil.example\n<html>\n", "a.txt:2: this is no indicator; 1 of 2")
	f("a.txt", strings.Repeat("evil.example\n", 20)+"<html>\n", "")
	f("a.txt", "", "")
	f("a.json", "{\"type\": \"bundle\",\n\"objects\": [}", "line 2")
	f("a.json", "{}", "neither a STIX bundle nor MISP")
	f("a.json", `{"type": "bundle", "objects": [{"type": "indicator", "pattern": "evil.example"}]}`, "this is no indicator; 1 of 1")
	f("a.txt", strings.Repeat("x", 70_000), "longer than 64 KiB")
	f("a.txt", "0.0.0.0/0\n", "no indicator")
	if _, err := Open(NewZones(nil), Config{Indicators: []string{filepath.Join(t.TempDir(), "none")}}); err == nil {
		t.Error("no error for a file that is missing")
	}
}

// A folder is read as it is; a list that comes, changes or breaks is seen.
func TestIndicatorReload(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("a.txt", "evil.example\n")
	x := open(t, Config{Indicators: []string{dir}})
	f := func(name string, listed bool) {
		t.Helper()
		e := record("dns", name)
		if x.Enrich(e); (e.Threat != nil) != listed {
			t.Errorf("%s: %v", name, e.Threat)
		}
	}
	f("evil.example", true)
	f("worse.example", false)
	put("b.txt", "worse.example\n")
	if again, err := x.Reload(); !again || err != nil {
		t.Errorf("%v %v", again, err)
	}
	f("worse.example", true)
	put("b.txt", "<html>nothing here</html>\n")
	if _, err := x.Reload(); err == nil || !strings.Contains(err.Error(), "b.txt:1") {
		t.Errorf("a broken file: %v", err)
	}
	f("worse.example", true)
}

// A case about something that is listed is stronger, and tells it.
func TestListedEvidence(t *testing.T) {
	x := open(t, Config{Indicators: []string{write(t, "c2.csv", "indicator,confidence,description\nevil.example,80,Cobalt Strike\n198.51.100.7,100,\n")}})
	o := event.Observation{
		Detector: "beacon", Score: 0.8, Risk: 80, End: 1, Features: []event.Feature{event.Number("score", 0.8)},
		Destination: event.Endpoint{Addr: netip.MustParseAddr("198.51.100.8"), Scope: event.ScopeExternal, Domain: "www.evil.example"},
	}
	x.Explain(&o)
	if len(o.Indicators) != 1 || o.Indicators[0].Value != "evil.example" || o.Indicators[0].Field != "destination.domain" {
		t.Fatalf("%+v", o.Indicators)
	}
	want := []event.Evidence{{Feature: "beacon.indicator", Observed: 0.8, Weight: 2.4000000000000004, Text: "evil.example is on the list c2 (Cobalt Strike)"}}
	if d := cmp.Diff(want, o.Evidence); d != "" || o.Score != 0.978 || o.Features[0].Num != 0.978 {
		t.Errorf("score %v, %v: %s", o.Score, o.Features, d)
	}
}

func TestMatchDoesNotAllocate(t *testing.T) {
	x := open(t, Config{Indicators: []string{write(t, "a.txt", "203.0.113.0/24\n198.51.100.7\nevil.example\nhttp://bad.example/\n"+sha256of+"\n")}})
	for _, e := range []*event.Event{record("ip", "198.51.100.8"), record("dns", "WWW.example.ORG"), record("ja3", strings.ToUpper(ja3of)), record("url", "www.example.org/x"), record("cert", "aa:bb:cc")} {
		if n := testing.AllocsPerRun(100, func() { x.Enrich(e) }); n != 0 {
			t.Errorf("%v allocations, want 0", n)
		}
	}
}

func FuzzFeed(f *testing.F) {
	for _, s := range []string{"evil.example\n1.2.3.4\n", "# url,threat\nhttp://a.example/,x\n", `{"type":"bundle","objects":[{"type":"indicator","pattern":"[url:value = 'http://a/']"}]}`, `{"Event":{"Attribute":[{"type":"ip-dst","value":"1.2.3.4"}]}}`} {
		f.Add(s, "evil.example")
	}
	path := filepath.Join(f.TempDir(), "a")
	f.Fuzz(func(t *testing.T, text, name string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		x := newIndicators()
		x.readFile(path, "a", nil)
		form := Feed{Path: path, Separator: string(rune(1 + len(name)%126)), Value: "#1", Expires: "x"}
		x.readFile(path, "b", &form)
		for _, field := range []string{"dns", "url", "ja3", "cert"} {
			e := record(field, name)
			x.match(e)
			if e.Threat != nil {
				x.listed(&event.Observation{Query: name})
			}
		}
	})
}

// indicatorsIn returns a table with n addresses, names and digests, as if three lists
// had said so.
func indicatorsIn(n int) *Indicators {
	x := newIndicators()
	x.names = []string{"a", "b", "c"}
	var b []byte
	for i := range n {
		note := x.noteOf(note{provider: uint16(i % 3), confidence: uint8(i % 100), first: uint16(20_000 + i%700)}, "")
		switch i % 3 {
		case 0:
			x.addNetwork(netip.PrefixFrom(netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, uint32(i)*2654435761))), 32), note)
		case 1:
			b = strconv.AppendInt(append(b[:0], "name"...), int64(i), 10)
			x.add(kindDomain, event.String(append(b, ".example"...)), note)
		case 2:
			b = strconv.AppendInt(append(b[:0], "00000000000000000000000000000000"...), int64(i), 16)
			x.add(kindDigest, event.String(b[len(b)-32:]), note)
		}
	}
	x.done()
	return x
}

// BenchmarkIndicators looks addresses and names up among ten million (a tenth with
// -short), of which none is listed, and prints what the table keeps.
func BenchmarkIndicators(b *testing.B) {
	n := 10_000_000
	if testing.Short() {
		n /= 10
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	x := indicatorsIn(n)
	runtime.GC()
	runtime.ReadMemStats(&after)
	kept := float64(after.HeapAlloc - before.HeapAlloc)
	names := make([]string, 1<<16)
	addrs := make([]netip.Addr, len(names))
	for i := range names {
		names[i] = "other" + strconv.Itoa(i*7919) + ".example"
		addrs[i] = netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, uint32(i)*2246822519+1)))
	}
	b.Run("address", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			x.addr(addrs[i%len(addrs)])
		}
		b.ReportMetric(kept/float64(x.Len()), "B/indicator")
		b.ReportMetric(kept/1e6, "MB")
		b.ReportMetric(float64(x.Len()), "indicators")
	})
	b.Run("value", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			x.find(kindDomain, names[i%len(names)])
		}
	})
	b.Run("name", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			x.domain(names[i%len(names)])
		}
	})
	runtime.KeepAlive(x)
}

// A reload tells what is new, once, and nothing of what it cannot look back at.
func TestFresh(t *testing.T) {
	path := write(t, "list.txt", "198.51.100.7\nold.example\n")
	x := open(t, Config{Indicators: []string{path}, Allowed: []string{write(t, "allow.txt", "fine.example\n")}})
	if all := x.Fresh(); len(all) != 0 {
		t.Errorf("at the start: %v", all)
	}
	text := "198.51.100.7\nold.example\nNEW.example\nfine.example\n198.51.100.8\n203.0.113.0/30\n10.0.0.0/8\nhttp://bad.example/x\n" + sha256of + "\n" + ja3of + "\n" + ja4of + "\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Reload(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, v := range x.Fresh() {
		got = append(got, v.Kind.String()+" "+v.Value)
	}
	want := []string{"name new.example", "address 198.51.100.8", "address 203.0.113.0", "address 203.0.113.1", "address 203.0.113.2", "address 203.0.113.3", "fingerprint " + ja3of, "fingerprint " + ja4of}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if all := x.Fresh(); len(all) != 0 {
		t.Errorf("once more: %v", all)
	}
}

// What was in force in the last process is not new to this one; what has come since, is.
func TestSeen(t *testing.T) {
	dir := t.TempDir()
	list, c := filepath.Join(dir, "list.txt"), Config{Seen: filepath.Join(dir, "state.indicators")}
	var log bytes.Buffer
	run := func(text string, want ...string) {
		t.Helper()
		if text != "" {
			if err := os.WriteFile(list, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			c.Indicators = []string{list}
		}
		x := open(t, c)
		var got []string
		for _, v := range x.Fresh() {
			got = append(got, v.Value)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
		log.Reset()
		x.keep(slog.New(slog.NewTextHandler(&log, nil)))
	}
	run("first.example\n") // nobody knows what was listed before
	run("first.example\nsecond.example\n", "second.example")
	run("second.example\n198.51.100.7\n203.0.113.0/31\n2001:db8::/32\n"+ja4of+"\n"+sha256of+"\n", "198.51.100.7", "203.0.113.0", "203.0.113.1", ja4of)
	run("first.example\nsecond.example\n198.51.100.7\n203.0.113.1/31\n203.0.113.0\n", "first.example", "203.0.113.0")
	if log.Len() > 0 {
		t.Error(log.String())
	}
	whole, err := os.ReadFile(c.Seen)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"cut off": whole[:len(whole)-1], "empty": {}, "other": append([]byte("x"), whole[1:]...), "flipped": append(whole[:30:30], append([]byte{whole[30] ^ 1}, whole[31:]...)...)} {
		if err := os.WriteFile(c.Seen, b, 0o600); err != nil {
			t.Fatal(err)
		}
		run("third.example\n")
		if !strings.Contains(log.String(), "level=WARN") {
			t.Errorf("%s: %s", name, log.String())
		}
		run("third.example\nfourth.example\n", "fourth.example")
	}
	c.Seen = filepath.Join(dir, "missing", "state.indicators")
	run("first.example\n")
	if !strings.Contains(log.String(), "level=WARN") {
		t.Error("nobody is told that nothing can be noted")
	}
	c.Indicators = nil
	run("")
	if log.Len() > 0 {
		t.Error(log.String())
	}
}
