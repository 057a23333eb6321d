package suricata

import (
	"bytes"

	"tidewatch/event"
	"tidewatch/parsers/scan"
)

func (p *Parser) http() {
	ev := p.ev
	d := p.b.HTTP(ev)
	for k := p.enter(inHTTP); k != scan.End; k = p.next(inHTTP, k) {
		switch k {
		case keyHostname:
			p.text(&d.Host, event.HTTPHost)
		case keyURL:
			p.text(&d.URI, event.HTTPURI)
		case keyHTTPUserAgent:
			p.text(&d.UserAgent, event.HTTPUserAgent)
		case keyHTTPContentType:
			p.texts(&d.RespMIME, event.HTTPRespMIME)
		case keyHTTPRefer:
			p.text(&d.Referrer, event.HTTPReferrer)
		case keyHTTPMethod:
			p.text(&d.Method, event.HTTPMethod)
			p.r.fileRead = d.Method == "GET"
		case keyProtocol, keyVersion:
			p.httpVersion(d)
		case keyStatus:
			p.uint16(&d.Status, event.HTTPStatus)
		case keyLength:
			p.uint(&d.RespBodyLen, event.HTTPRespBodyLen)
		case keyRequestHeaders:
			p.authority(d)
		}
	}
}

// httpVersion reads "HTTP/1.1" as Zeek logs it, "1.1".
func (p *Parser) httpVersion(d *event.HTTP) {
	if p.s.Kind() == scan.String {
		d.Version = event.String(bytes.TrimPrefix(p.s.Bytes(p.b), []byte("HTTP/")))
		p.ev.Set.Add(event.HTTPVersion)
	}
}

// authority finds the host that an HTTP/2 request asks: it has no hostname.
func (p *Parser) authority(d *event.HTTP) {
	s := &p.s
	if s.Kind() != scan.Array {
		return
	}
	for s.Enter(); s.Next(); {
		if s.Kind() != scan.Object {
			continue
		}
		hit := false
		for k := p.enter(inAuthority); k != scan.End; k = p.next(inAuthority, k) {
			switch k {
			case keyName:
				hit = p.is(":authority")
			case keyValue:
				if hit && !p.ev.Has(event.HTTPHost) {
					p.text(&d.Host, event.HTTPHost)
				}
			}
		}
	}
}

func (p *Parser) file() {
	ev := p.ev
	d := p.b.File(ev)
	for k := p.enter(inFile); k != scan.End; k = p.next(inFile, k) {
		switch k {
		case keyFilename:
			p.text(&d.Name, event.FileName)
		case keyState:
			p.text(&d.FileState, event.FileFileState)
		case keySize:
			p.uint(&d.SeenBytes, event.FileSeenBytes)
		case keyMD5:
			p.text(&d.MD5, event.FileMD5)
		case keySHA1:
			p.text(&d.SHA1, event.FileSHA1)
		case keySHA256:
			p.text(&d.SHA256, event.FileSHA256)
		case keyMimetype:
			p.text(&d.MIME, event.FileMIME)
		case keyTxID:
			p.uint(&ev.TxID, event.ColTxID)
		}
	}
}

func (p *Parser) alert() {
	d := p.b.Notice(p.ev)
	for k := p.enter(inAlert); k != scan.End; k = p.next(inAlert, k) {
		switch k {
		case keyAction:
			p.text(&d.Action, event.NoticeAction)
		case keyGID:
			p.uint(&d.GID, event.NoticeGID)
		case keySignatureID:
			p.uint(&d.SignatureID, event.NoticeSignatureID)
		case keyRev:
			p.uint(&d.Rev, event.NoticeRev)
		case keySignature:
			p.text(&d.Name, event.NoticeName)
		case keyCategory:
			p.text(&d.Category, event.NoticeCategory)
		case keySeverity:
			if p.uint8(&d.Severity) {
				p.ev.Set.Add(event.NoticeSeverity)
			}
		}
	}
}

func (p *Parser) anomaly() {
	d := p.b.Notice(p.ev)
	for k := p.enter(inAnomaly); k != scan.End; k = p.next(inAnomaly, k) {
		switch k {
		case keyEvent:
			p.text(&d.Name, event.NoticeName)
		case keyType:
			p.text(&d.Category, event.NoticeCategory)
		case keyLayer:
			p.text(&d.Sub, event.NoticeSub)
		case keyAppProto:
			p.text(&d.Source, event.NoticeSource)
		}
	}
}
