package outputs

import (
	"fmt"
	"strings"

	"tidewatch/event"
)

// session writes what other records said of the connections of the case, as far as ECS
// has fields for it, and collects names and digests for related.*.
func (e *Encoder) session(s *event.Session) {
	if s == nil {
		return
	}
	w := &e.w
	w.open("tls")
	if t := s.TLS; t != nil {
		protocol, version := tlsVersion(t.Version)
		w.text("version", version).text("version_protocol", protocol).text("cipher", t.Cipher).text("next_protocol", t.NextProtocol)
		w.open("client").text("server_name", strings.TrimSuffix(t.ServerName, ".")).text("ja3", t.JA3).close()
		e.hash(t.JA3)
		e.host(strings.TrimSuffix(t.ServerName, "."))
	}
	w.open("server")
	if t := s.TLS; t != nil {
		w.text("ja3s", t.JA3S)
	}
	if c := s.Certificate; c != nil {
		sha1, sha256 := fingerprintOf(c.Fingerprint)
		w.text("subject", c.Subject).text("issuer", c.Issuer)
		w.open("hash").text("sha1", sha1).text("sha256", sha256).close()
		w.when("not_before", c.NotBefore, c.NotBefore != 0).when("not_after", c.NotAfter, c.NotAfter != 0)
		w.open("x509").texts("alternative_names", c.Names).close()
		e.hash(sha1)
		e.hash(sha256)
	}
	w.close().close()
	if h := s.HTTP; h != nil {
		w.open("http").open("request").text("method", h.Method).close().open("response")
		if h.Status != 0 {
			w.whole("status_code", uint64(h.Status))
		}
		w.close().close()
		w.open("url").text("original", h.URI).text("domain", h.Host).close()
		w.open("user_agent").text("original", h.UserAgent).close()
		e.host(h.Host)
	}
	if len(s.Files) > 0 {
		f := &s.Files[0]
		w.open("file").text("name", f.Name).text("mime_type", f.MIME)
		w.open("hash").text("md5", f.MD5).text("sha1", f.SHA1).text("sha256", f.SHA256).close().close()
		for i := range s.Files {
			e.hash(s.Files[i].MD5)
			e.hash(s.Files[i].SHA1)
			e.hash(s.Files[i].SHA256)
		}
	}
}

// session writes what ECS has no fields for.
func (w *object) session(s *event.Session) {
	if s == nil {
		return
	}
	w.open("session")
	if t := s.TLS; t != nil {
		w.text("ja4", t.JA4).text("ja4s", t.JA4S).text("validation", t.Validation)
	}
	if c := s.Certificate; c != nil && c.Subject != "" {
		w.bool("self_signed", c.SelfSigned())
	}
	if h := s.SSH; h != nil {
		w.text("ssh_client", h.Client).text("ssh_server", h.Server).text("hassh", h.HASSH).text("hassh_server", h.HASSHServer)
	}
	w.list("files")
	for i := range s.Files {
		f := &s.Files[i]
		w.open("").text("name", f.Name).text("mime_type", f.MIME).text("md5", f.MD5).text("sha1", f.SHA1).text("sha256", f.SHA256).close()
	}
	w.end().list("alerts")
	for i := range s.Alerts {
		a := &s.Alerts[i]
		w.open("").time("time", a.Time)
		if a.ID != 0 {
			w.digits("id", a.ID)
		}
		w.text("name", a.Name).text("category", a.Category)
		if a.Severity != 0 {
			w.whole("severity", uint64(a.Severity))
		}
		w.close()
	}
	w.end().close()
}

// sessionLines says for people what other records said of the connections of a case.
func sessionLines(s *event.Session, o *TableOptions) (lines []string) {
	if s == nil {
		return nil
	}
	say := func(pairs ...string) {
		var parts []string
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i+1] != "" {
				parts = append(parts, strings.TrimLeft(pairs[i]+" ", " ")+pairs[i+1])
			}
		}
		if len(parts) > 0 {
			lines = append(lines, strings.Join(parts, ", "))
		}
	}
	if t := s.TLS; t != nil {
		say("", t.Version, "server name", t.ServerName, "ALPN", t.NextProtocol, "JA4", t.JA4, "JA3", t.JA3, "JA3S", t.JA3S)
	}
	if c := s.Certificate; c != nil {
		issuer, until := c.Issuer, ""
		if c.SelfSigned() {
			issuer = "itself"
		}
		if c.NotAfter != 0 {
			until = o.at(c.NotBefore, "2006-01-02") + " to " + o.at(c.NotAfter, "2006-01-02")
		}
		subject := "certificate"
		if c.Subject != "" {
			subject += " of " + c.Subject
		}
		say("", subject, "by", issuer, "valid", until, "fingerprint", c.Fingerprint, "names", strings.Join(c.Names, " "))
	}
	if h := s.HTTP; h != nil {
		status := ""
		if h.Status != 0 {
			status = fmt.Sprint(h.Status)
		}
		say(h.Method, h.Host+h.URI, "answered", status, "user agent", h.UserAgent)
	}
	if h := s.SSH; h != nil {
		say("client", h.Client, "server", h.Server, "HASSH", h.HASSH)
	}
	for i := range s.Files {
		f := &s.Files[i]
		say("file", f.Name, "", f.MIME, "MD5", f.MD5, "SHA-256", f.SHA256)
	}
	for i := range s.Alerts {
		a := &s.Alerts[i]
		id := ""
		if a.ID != 0 {
			id = fmt.Sprint(a.ID)
		}
		say("alert", a.Name, "signature", id, "", a.Category)
	}
	return lines
}
