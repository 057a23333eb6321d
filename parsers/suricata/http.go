package suricata

import (
	"bytes"

	"tidewatch/event"
	"tidewatch/parsers/scan"
)

func (p *Parser) http() {
	s, ev := &p.s, p.ev
	d := p.b.HTTP(ev)
	for s.Enter(); s.Next(); {
		switch string(s.Key()) {
		case "hostname":
			p.text(&d.Host, event.HTTPHost)
		case "url":
			p.text(&d.URI, event.HTTPURI)
		case "http_user_agent":
			p.text(&d.UserAgent, event.HTTPUserAgent)
		case "http_content_type":
			p.texts(&d.RespMIME, event.HTTPRespMIME)
		case "http_refer":
			p.text(&d.Referrer, event.HTTPReferrer)
		case "http_method":
			p.text(&d.Method, event.HTTPMethod)
			p.r.fileRead = d.Method == "GET"
		case "protocol", "version":
			p.httpVersion(d)
		case "status":
			p.uint16(&d.Status, event.HTTPStatus)
		case "length":
			p.uint(&d.RespBodyLen, event.HTTPRespBodyLen)
		case "request_headers":
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
		for s.Enter(); s.Next(); {
			switch string(s.Key()) {
			case "name":
				hit = s.Kind() == scan.String && string(s.Raw()) == ":authority"
			case "value":
				if hit && !p.ev.Has(event.HTTPHost) {
					p.text(&d.Host, event.HTTPHost)
				}
			}
		}
	}
}

func (p *Parser) file() {
	s, ev := &p.s, p.ev
	d := p.b.File(ev)
	for s.Enter(); s.Next(); {
		switch string(s.Key()) {
		case "filename":
			p.text(&d.Name, event.FileName)
		case "state":
			p.text(&d.FileState, event.FileFileState)
		case "size":
			p.uint(&d.SeenBytes, event.FileSeenBytes)
		case "md5":
			p.text(&d.MD5, event.FileMD5)
		case "sha1":
			p.text(&d.SHA1, event.FileSHA1)
		case "sha256":
			p.text(&d.SHA256, event.FileSHA256)
		case "mimetype":
			p.text(&d.MIME, event.FileMIME)
		case "tx_id":
			p.uint(&ev.TxID, event.ColTxID)
		}
	}
}

func (p *Parser) alert() {
	s := &p.s
	d := p.b.Notice(p.ev)
	for s.Enter(); s.Next(); {
		switch string(s.Key()) {
		case "action":
			p.text(&d.Action, event.NoticeAction)
		case "gid":
			p.uint(&d.GID, event.NoticeGID)
		case "signature_id":
			p.uint(&d.SignatureID, event.NoticeSignatureID)
		case "rev":
			p.uint(&d.Rev, event.NoticeRev)
		case "signature":
			p.text(&d.Name, event.NoticeName)
		case "category":
			p.text(&d.Category, event.NoticeCategory)
		case "severity":
			if p.uint8(&d.Severity) {
				p.ev.Set.Add(event.NoticeSeverity)
			}
		}
	}
}

func (p *Parser) anomaly() {
	s := &p.s
	d := p.b.Notice(p.ev)
	for s.Enter(); s.Next(); {
		switch string(s.Key()) {
		case "event":
			p.text(&d.Name, event.NoticeName)
		case "type":
			p.text(&d.Category, event.NoticeCategory)
		case "layer":
			p.text(&d.Sub, event.NoticeSub)
		case "app_proto":
			p.text(&d.Source, event.NoticeSource)
		}
	}
}
