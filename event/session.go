package event

import (
	"slices"
	"strings"
)

// Session is what other records said of a connection: those of Zeek with its uid, those
// of Suricata with its flow id, and alerts of either sensor on its addresses and ports.
// What is unknown is empty. It owns its memory and is not changed once it is made.
type Session struct {
	TLS         *SessionTLS
	Certificate *Certificate
	HTTP        *SessionHTTP // of several requests the last one that was read
	SSH         *SessionSSH
	Files       []SessionFile
	Alerts      []SessionAlert
}

// SessionParts are the parts of a Session that a connection has by its protocols.
type SessionParts uint8

const (
	PartTLS SessionParts = 1 << iota
	PartHTTP
	PartSSH
)

// partsOf returns the parts for the protocols that a sensor recognised.
func partsOf(service string) (p SessionParts) {
	if service == "" {
		return 0
	}
	if strings.Contains(service, "ssl") || strings.Contains(service, "tls") || strings.Contains(service, "quic") {
		p |= PartTLS
	}
	if strings.Contains(service, "http") {
		p |= PartHTTP
	}
	if strings.Contains(service, "ssh") {
		p |= PartSSH
	}
	return p
}

// Latest returns the index of the sample that ended last; -1 if there is none.
func (o *Observation) Latest() int {
	last := -1
	for i := range o.Sample {
		if s := &o.Sample[i]; last < 0 || s.Time+s.Duration >= o.Sample[last].Time+o.Sample[last].Duration {
			last = i
		}
	}
	return last
}

// Awaits returns what is to be expected of the session of the latest sample, if its
// record is among the sequence's, and of Zeek: what Suricata says of a connection stands
// before its end.
func (o *Observation) Awaits(s *Sequence) SessionParts {
	last := o.Latest()
	if last < 0 || o.Sample[last].UID == "" {
		return 0
	}
	for _, ev := range s.Events {
		if ev.Conn != nil && ev.Kind == KindConn && ev.Sensor == SensorZeek && ev.UID == o.Sample[last].UID {
			return partsOf(ev.Conn.Service)
		}
	}
	return 0
}

// Lacks returns those of the awaited parts that a session does not have; nil has none.
func (s *Session) Lacks(p SessionParts) SessionParts {
	if s == nil {
		return p
	}
	if s.TLS != nil {
		p &^= PartTLS
	}
	if s.HTTP != nil {
		p &^= PartHTTP
	}
	if s.SSH != nil {
		p &^= PartSSH
	}
	return p
}

// SessionTLS is a handshake, in the sensor's words.
type SessionTLS struct {
	Version, Cipher, NextProtocol string
	ServerName                    string // SNI
	JA3, JA3S, JA4, JA4S          string
	Validation                    string // of the chain of certificates
}

// Certificate is the one that a server showed.
type Certificate struct {
	Fingerprint         string // as the sensor writes it
	Subject, Issuer     string
	NotBefore, NotAfter int64    // Unix nanoseconds; 0 if unknown
	Names               []string // that it is for
}

// SelfSigned reports whether a certificate vouches for itself.
func (c *Certificate) SelfSigned() bool { return c.Subject != "" && c.Subject == c.Issuer }

// SessionHTTP is one request.
type SessionHTTP struct {
	Method, Host, URI, UserAgent string
	Status                       uint16 // 0 if there was no answer
}

// SessionSSH is a greeting of both sides.
type SessionSSH struct{ Client, Server, HASSH, HASSHServer string }

// SessionFile is a file that was carried.
type SessionFile struct{ Name, MIME, MD5, SHA1, SHA256 string }

// SessionAlert is what a sensor's own rule said.
type SessionAlert struct {
	Time           int64
	ID             uint64 // of the signature; 0 for Zeek's notices
	Name, Category string
	Severity       uint8 // Suricata's, of which 1 is worst; 0 if unknown
}

// Session returns what is known of the connections that made the case: of each part what
// the latest one has. It is nil if there is nothing.
func (o *Observation) Session() *Session {
	if !slices.ContainsFunc(o.Sample, func(s Sample) bool { return s.Session != nil }) {
		return nil
	}
	var all Session
	for i := range o.Sample {
		s := o.Sample[i].Session
		if s == nil {
			continue
		}
		later(&all.TLS, s.TLS)
		later(&all.Certificate, s.Certificate)
		later(&all.HTTP, s.HTTP)
		later(&all.SSH, s.SSH)
		for _, f := range s.Files {
			all.AddFile(f)
		}
		for _, a := range s.Alerts {
			all.AddAlert(a)
		}
	}
	return &all
}

func later[T any](to **T, from *T) {
	if from != nil {
		*to = from
	}
}

// Most that a session has of each.
const (
	mostFiles  = 8
	mostAlerts = 8
)

// AddFile adds a file that is not there yet, up to eight.
func (s *Session) AddFile(f SessionFile) {
	for i := range s.Files {
		if s.Files[i] == f {
			return
		}
	}
	if len(s.Files) < mostFiles {
		s.Files = append(s.Files, f)
	}
}

// AddAlert adds an alert of a signature that is not there yet, up to eight.
func (s *Session) AddAlert(a SessionAlert) {
	for i := range s.Alerts {
		if b := &s.Alerts[i]; b.ID == a.ID && b.Name == a.Name {
			return
		}
	}
	if len(s.Alerts) < mostAlerts {
		s.Alerts = append(s.Alerts, a)
	}
}
