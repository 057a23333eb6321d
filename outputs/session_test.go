package outputs

import (
	"reflect"
	"strings"
	"testing"

	"tidewatch/event"
)

// session returns one with everything.
func session() *event.Session {
	s := &event.Session{
		TLS: &event.SessionTLS{}, Certificate: &event.Certificate{}, HTTP: &event.SessionHTTP{}, SSH: &event.SessionSSH{},
		Files: make([]event.SessionFile, 2), Alerts: make([]event.SessionAlert, 2),
	}
	for _, v := range []any{s.TLS, s.Certificate, s.HTTP, s.SSH, &s.Files[0], &s.Files[1], &s.Alerts[0], &s.Alerts[1]} {
		fill(reflect.ValueOf(v).Elem())
	}
	s.TLS.Version, s.Certificate.Fingerprint = "TLSv12", strings.Repeat("ab", 32)
	return s
}

// The document of a finding has what other records said of its connections: each text of
// a session stands in it, under fields that are mapped, and nothing reaches a terminal
// as it is.
func TestSessionInDocuments(t *testing.T) {
	f := finding()
	f.Sample[0].Session = session()
	doc := string(AppendDocument(nil, &f, f.Time))
	for _, fault := range faults([]byte(doc), schema(t), knownFields(FindingFields)) {
		if !strings.HasPrefix(fault, "tidewatch.scan.") {
			t.Error(fault)
		}
	}
	for _, text := range []string{
		"ServerName", "Cipher", "NextProtocol", `"JA3"`, `"JA3S"`, `"JA4"`, `"JA4S"`, "Validation", "Subject", "Issuer", "Names", strings.Repeat("AB", 32),
		"Method", "Host", "URI", "UserAgent", "Client", "Server", `"HASSH"`, "HASSHServer", "MD5", "SHA1", "SHA256", "Category", "not_after",
	} {
		if !strings.Contains(doc, text) {
			t.Errorf("%s is not in the document: %s", text, doc)
		}
	}
	f.Sample[0].Session.HTTP.UserAgent = "\x1b[31mred"
	var b strings.Builder
	if err := WriteExplanation(&b, 1, &f, TableOptions{}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "\x1b") || !strings.Contains(b.String(), "[31mred") {
		t.Errorf("the user agent is not escaped: %s", b.String())
	}
}
