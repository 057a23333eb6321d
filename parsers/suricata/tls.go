package suricata

import (
	"tidewatch/event"
	"tidewatch/parsers/scan"
)

func (p *Parser) tls() {
	d := p.b.TLS(p.ev)
	for k := p.enter(inTLS); k != scan.End; k = p.next(inTLS, k) {
		switch k {
		case keyVersion:
			p.text(&d.Version, event.TLSVersion)
		case keySNI:
			p.text(&d.ServerName, event.TLSServerName)
		case keySubject:
			p.text(&d.Subject, event.TLSSubject)
		case keyIssuerdn:
			p.text(&d.Issuer, event.TLSIssuer)
		case keySerial:
			p.text(&d.Serial, event.TLSSerial)
		case keyFingerprint:
			p.text(&d.Fingerprint, event.TLSFingerprint)
		case keyNotbefore:
			p.day(&d.NotBefore, event.TLSNotBefore)
		case keyNotafter:
			p.day(&d.NotAfter, event.TLSNotAfter)
		case keySessionResumed:
			p.bool(&d.Resumed, event.TLSResumed)
		case keyServerALPNS:
			p.first(&d.NextProtocol, event.TLSNextProtocol)
		case keyClient:
			p.tlsClient(d)
		default:
			p.fingerprints(d, k)
		}
	}
}

// tlsClient reads the certificate that a client showed.
func (p *Parser) tlsClient(d *event.TLS) {
	s := &p.s
	if s.Kind() != scan.Object {
		return
	}
	for k := p.enter(inTLSClient); k != scan.End; k = p.next(inTLSClient, k) {
		switch k {
		case keySubject:
			p.text(&d.ClientSubject, event.TLSClientSubject)
		case keyIssuerdn:
			p.text(&d.ClientIssuer, event.TLSClientIssuer)
		}
	}
}

// fingerprints reads what TLS and QUIC handshakes have in common.
func (p *Parser) fingerprints(d *event.TLS, k int) {
	switch k {
	case keyJA3:
		p.r.request = true
		p.hash(&d.JA3, event.TLSJA3)
	case keyJA3S:
		p.r.response = true
		p.hash(&d.JA3S, event.TLSJA3S)
	case keyJA4:
		p.text(&d.JA4, event.TLSJA4)
	}
}

// quic reads a QUIC record. Suricata logs the client's and the server's message as
// records of their own.
func (p *Parser) quic() {
	d := p.b.TLS(p.ev)
	for k := p.enter(inQUIC); k != scan.End; k = p.next(inQUIC, k) {
		switch k {
		case keyVersion:
			p.text(&d.Version, event.TLSVersion)
		case keySNI:
			p.text(&d.ServerName, event.TLSServerName)
		case keyUA:
			p.text(&d.UserAgent, event.TLSUserAgent)
		default:
			p.fingerprints(d, k)
		}
	}
}

func (p *Parser) ssh() {
	d := p.b.SSH(p.ev)
	for k := p.enter(inSSH); k != scan.End; k = p.next(inSSH, k) {
		switch k {
		case keyClient:
			p.sshEnd(d, &d.Client, event.SSHClient, &d.HASSH, event.SSHHASSH)
		case keyServer:
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
	for k := p.enter(inSSHEnd); k != scan.End; k = p.next(inSSHEnd, k) {
		switch k {
		case keyProtoVersion:
			v := uint16(0)
			switch raw := s.Bytes(p.b); {
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
		case keySoftwareVersion:
			p.text(software, c)
		case keyHassh:
			p.hash(hassh, hc)
		}
	}
}
