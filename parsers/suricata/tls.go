package suricata

import (
	"tidewatch/event"
	"tidewatch/parsers/scan"
)

func (p *Parser) tls() {
	s := &p.s
	d := p.b.TLS(p.ev)
	for s.Enter(); s.Next(); {
		switch string(s.Key()) {
		case "version":
			p.text(&d.Version, event.TLSVersion)
		case "sni":
			p.text(&d.ServerName, event.TLSServerName)
		case "subject":
			p.text(&d.Subject, event.TLSSubject)
		case "issuerdn":
			p.text(&d.Issuer, event.TLSIssuer)
		case "serial":
			p.text(&d.Serial, event.TLSSerial)
		case "fingerprint":
			p.text(&d.Fingerprint, event.TLSFingerprint)
		case "notbefore":
			p.day(&d.NotBefore, event.TLSNotBefore)
		case "notafter":
			p.day(&d.NotAfter, event.TLSNotAfter)
		case "session_resumed":
			p.bool(&d.Resumed, event.TLSResumed)
		case "server_alpns":
			p.first(&d.NextProtocol, event.TLSNextProtocol)
		case "client":
			p.tlsClient(d)
		default:
			p.fingerprints(d)
		}
	}
}

// tlsClient reads the certificate that a client showed.
func (p *Parser) tlsClient(d *event.TLS) {
	s := &p.s
	if s.Kind() != scan.Object {
		return
	}
	for s.Enter(); s.Next(); {
		switch string(s.Key()) {
		case "subject":
			p.text(&d.ClientSubject, event.TLSClientSubject)
		case "issuerdn":
			p.text(&d.ClientIssuer, event.TLSClientIssuer)
		}
	}
}

// fingerprints reads what TLS and QUIC handshakes have in common.
func (p *Parser) fingerprints(d *event.TLS) {
	switch string(p.s.Key()) {
	case "ja3":
		p.r.request = true
		p.hash(&d.JA3, event.TLSJA3)
	case "ja3s":
		p.r.response = true
		p.hash(&d.JA3S, event.TLSJA3S)
	case "ja4":
		p.text(&d.JA4, event.TLSJA4)
	}
}

// quic reads a QUIC record. Suricata logs the client's and the server's message as
// records of their own.
func (p *Parser) quic() {
	s := &p.s
	d := p.b.TLS(p.ev)
	for s.Enter(); s.Next(); {
		switch string(s.Key()) {
		case "version":
			p.text(&d.Version, event.TLSVersion)
		case "sni":
			p.text(&d.ServerName, event.TLSServerName)
		case "ua":
			p.text(&d.UserAgent, event.TLSUserAgent)
		default:
			p.fingerprints(d)
		}
	}
}

func (p *Parser) ssh() {
	s := &p.s
	d := p.b.SSH(p.ev)
	for s.Enter(); s.Next(); {
		switch string(s.Key()) {
		case "client":
			p.sshEnd(d, &d.Client, event.SSHClient, &d.HASSH, event.SSHHASSH)
		case "server":
			p.sshEnd(d, &d.Server, event.SSHServer, &d.HASSHServer, event.SSHHASSHServer)
		}
	}
}

// sshEnd reads one end. The session's version is the lower of the two; 1.99 means
// that a server speaks 2 as well.
func (p *Parser) sshEnd(d *event.SSH, software *string, c event.Column, hassh *string, hc event.Column) {
	s := &p.s
	if s.Kind() != scan.Object {
		return
	}
	for s.Enter(); s.Next(); {
		switch string(s.Key()) {
		case "proto_version":
			v := uint16(0)
			switch raw := s.Raw(); {
			case s.Kind() != scan.String || len(raw) == 0:
			case raw[0] == '2' || string(raw) == "1.99":
				v = 2
			case raw[0] == '1':
				v = 1
			}
			if v != 0 && (d.Version == 0 || v < d.Version) {
				d.Version = v
				p.ev.Set.Add(event.SSHVersion)
			}
		case "software_version":
			p.text(software, c)
		case "hassh":
			p.hash(hassh, hc)
		}
	}
}
