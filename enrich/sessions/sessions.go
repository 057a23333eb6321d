// Package sessions remembers what records said of connections beside their own record, so
// that findings can tell it: Zeek's by uid, Suricata's by flow id, certificates by
// fingerprint or file id, and alerts by addresses and ports too, since the other sensor
// may have raised them.
package sessions

import (
	"encoding/binary"
	"hash/maphash"
	"strings"

	"tidewatch/event"
)

const (
	// pageBytes is how much of a journal is allocated at once.
	pageBytes = 1 << 20
	// entryHead is the fixed part of an entry, in bytes.
	entryHead = 44
	// longestPart bounds a text of an entry, in bytes.
	longestPart = 255
	// mostSteps bounds how many entries a look-up walks through: those of one bucket.
	mostSteps = 256
	// alertSlack is how far outside a connection an alert on its addresses and ports may be
	// dated, in nanoseconds: sensors' clocks differ.
	alertSlack = 3e9
	// certificateBytes is what is kept of certificates. Each is kept once, and they are few.
	certificateBytes = 4 << 20
)

// part is what an entry is about.
type part uint8

const (
	partTLS part = iota + 1
	partHTTP
	partSSH
	partFile
	partAlert
	partCertificate
)

// Memory takes records in any order and keeps the last ones, as far as its bytes go. It is
// used by one goroutine.
//
// Writing is what it does for each record, and reading is rare. So it is a journal: an
// entry is appended, and an index of few buckets points to the last entry of each bucket,
// which names the one before it. What is old is overwritten; nothing is ever looked for to
// be taken out.
type Memory struct {
	connections  *journal
	certificates *journal
	seed         maphash.Seed
}

// New returns a memory of so many bytes, which it takes as they are needed.
func New(bytes int) *Memory {
	return &Memory{connections: newJournal(bytes), certificates: newJournal(certificateBytes), seed: maphash.MakeSeed()}
}

// journal is a ring of entries.
type journal struct {
	pages  [][]byte // of pageBytes; nil until they are needed
	end    uint64   // where the next entry begins, counted from the first ever: its page is end / pageBytes % len(pages)
	latest []uint64 // by bucket: where its last entry begins, plus one; 0 for none
}

func newJournal(bytes int) *journal {
	pages := max((bytes+pageBytes-1)/pageBytes, 2)
	buckets := 1 << 10
	for buckets < pages*pageBytes/1024 {
		buckets *= 2
	}
	return &journal{pages: make([][]byte, pages), latest: make([]uint64, buckets)}
}

// entry is one record's words in a journal. Its texts are the journal's.
type entry struct {
	time  int64
	a, b  uint64
	part  part
	texts []byte // each with a byte of its length before it
}

// begin starts an entry with room for texts of so many bytes, with their lengths.
func (j *journal) begin(key uint64, p part, time int64, a, b uint64, room int) []byte {
	size := uint64(entryHead + room)
	if at := j.end % pageBytes; at+size > pageBytes {
		j.end += pageBytes - at
	}
	page := &j.pages[j.end/pageBytes%uint64(len(j.pages))]
	if *page == nil {
		*page = make([]byte, pageBytes)
	}
	at := j.end % pageBytes
	e := (*page)[at : at+size : at+size]
	bucket := &j.latest[key&uint64(len(j.latest)-1)]
	binary.LittleEndian.PutUint64(e, *bucket)
	binary.LittleEndian.PutUint64(e[8:], key)
	binary.LittleEndian.PutUint64(e[16:], uint64(time))
	binary.LittleEndian.PutUint64(e[24:], a)
	binary.LittleEndian.PutUint64(e[32:], b)
	e[40] = byte(p)
	binary.LittleEndian.PutUint16(e[42:], uint16(room))
	*bucket = j.end + 1
	j.end += size
	return e[entryHead:]
}

// add appends an entry.
func (j *journal) add(key uint64, p part, time int64, a, b uint64, texts ...string) {
	room := 0
	for _, s := range texts {
		room += 1 + min(len(s), longestPart)
	}
	to := j.begin(key, p, time, a, b, room)
	for _, s := range texts {
		n := min(len(s), longestPart)
		to[0] = byte(n)
		copy(to[1:], s[:n])
		to = to[1+n:]
	}
}

// cursor walks through the entries of a key, the latest first.
type cursor struct {
	*journal
	key   uint64
	at    uint64
	steps int
}

func (j *journal) of(key uint64) cursor {
	return cursor{j, key, j.latest[key&uint64(len(j.latest)-1)], mostSteps}
}

// next sets e to the next entry, and reports whether there is one.
func (c *cursor) next(e *entry) bool {
	for ; c.steps > 0; c.steps-- {
		// An entry that was overwritten is on a page that has been begun anew.
		if c.at == 0 || (c.at-1)/pageBytes+uint64(len(c.pages)) <= c.end/pageBytes {
			return false
		}
		b := c.pages[(c.at-1)/pageBytes%uint64(len(c.pages))][(c.at-1)%pageBytes:]
		c.at = binary.LittleEndian.Uint64(b)
		if binary.LittleEndian.Uint64(b[8:]) != c.key {
			continue
		}
		room := int(binary.LittleEndian.Uint16(b[42:]))
		*e = entry{
			time: int64(binary.LittleEndian.Uint64(b[16:])), a: binary.LittleEndian.Uint64(b[24:]), b: binary.LittleEndian.Uint64(b[32:]),
			part: part(b[40]), texts: b[entryHead : entryHead+room],
		}
		return true
	}
	return false
}

// text takes the next text, which owns its memory.
func (e *entry) text() string {
	if len(e.texts) == 0 {
		return ""
	}
	n := int(e.texts[0])
	s := string(e.texts[1 : 1+n])
	e.texts = e.texts[1+n:]
	return s
}

// Learn takes a sequence's records. It does not allocate but for memory that it grows
// into.
func (s *Memory) Learn(seq *event.Sequence) {
	for _, ev := range seq.Events {
		switch ev.Kind {
		case event.KindTLS, event.KindQUIC, event.KindHTTP, event.KindSSH, event.KindFile, event.KindAlert, event.KindNotice, event.KindX509:
			s.learn(ev)
		}
	}
}

func (s *Memory) learn(ev *event.Event) {
	j := s.connections
	if x := ev.X509; x != nil && x.ID != "" {
		s.certificate(x, ev.Time)
	}
	if f := ev.File; f != nil && ev.Kind == event.KindFile && !strings.HasPrefix(f.MIME, "application/x-x509") && f.MIME != "application/pkix-cert" {
		if ev.UID != "" {
			j.add(s.hash(ev.UID), partFile, ev.Time, 0, 0, f.Name, f.MIME, f.MD5, f.SHA1, f.SHA256)
		}
		for _, uid := range f.UIDs[:min(len(f.UIDs), 4)] {
			if uid != ev.UID {
				j.add(s.hash(uid), partFile, ev.Time, 0, 0, f.Name, f.MIME, f.MD5, f.SHA1, f.SHA256)
			}
		}
	}
	if n := ev.Notice; n != nil && (ev.Kind == event.KindAlert || ev.Kind == event.KindNotice) && n.Name != "" {
		if ev.UID != "" {
			j.add(s.hash(ev.UID), partAlert, ev.Time, n.SignatureID, uint64(n.Severity), n.Name, n.Category)
		}
		if ev.Orig.Addr.IsValid() && ev.Resp.Addr.IsValid() && ev.Proto != 0 {
			j.add(event.HashConn(ev), partAlert, ev.Time, n.SignatureID, uint64(n.Severity), n.Name, n.Category)
		}
	}
	if ev.UID == "" {
		return
	}
	key := s.hash(ev.UID)
	if t := ev.TLS; t != nil {
		chain := ""
		if len(t.CertChain) > 0 {
			chain = t.CertChain[0]
		}
		j.add(key, partTLS, ev.Time, uint64(t.NotBefore), uint64(t.NotAfter), t.Version, t.Cipher, t.NextProtocol, t.ServerName,
			t.JA3, t.JA3S, t.JA4, t.JA4S, t.Validation, t.Fingerprint, chain, t.Subject, t.Issuer)
	}
	if h := ev.HTTP; h != nil {
		j.add(key, partHTTP, ev.Time, uint64(h.Status), 0, h.Method, h.Host, h.URI, h.UserAgent)
	}
	if h := ev.SSH; h != nil {
		j.add(key, partSSH, ev.Time, 0, 0, h.Client, h.Server, h.HASSH, h.HASSHServer)
	}
}

// certificate remembers a certificate, unless that was done not long ago.
func (s *Memory) certificate(x *event.X509, at int64) {
	key, j := s.hash(x.ID), s.certificates
	var e entry
	if known := j.of(key); known.next(&e) {
		return
	}
	j.add(key, partCertificate, at, uint64(x.NotBefore), uint64(x.NotAfter), x.ID, x.Subject, x.Issuer, strings.Join(x.SANDNS[:min(len(x.SANDNS), 8)], " "))
}

// hash returns the key of a connection or a certificate by its id.
func (s *Memory) hash(id string) uint64 { return maphash.String(s.seed, id) }

// Attach fills in what is known of the connections that made a finding's case. It
// returns which of some parts it does not know of the latest of them.
func (s *Memory) Attach(f *event.Finding, awaited event.SessionParts) (lacking event.SessionParts) {
	last := f.Latest()
	if last < 0 {
		return 0
	}
	all := append([]event.Sample(nil), f.Sample...) // others may share it
	for i := range all {
		all[i].Session = s.session(&all[i], f.Proto)
	}
	f.Sample = all
	return all[last].Session.Lacks(awaited)
}

// session returns what is known of a connection; nil if that is nothing.
func (s *Memory) session(c *event.Sample, proto event.Proto) *event.Session {
	var all event.Session
	any := false
	var e entry
	if c.UID != "" {
		for of := s.connections.of(s.hash(c.UID)); of.next(&e); any = true {
			s.take(&all, &e)
		}
	}
	if c.Orig.IsValid() && c.Resp.IsValid() && proto != 0 {
		conn := event.Event{Proto: proto}
		conn.Orig.Addr, conn.Orig.Port, conn.Resp.Addr, conn.Resp.Port = c.Orig.Addr(), c.Orig.Port(), c.Resp.Addr(), c.Resp.Port()
		for of := s.connections.of(event.HashConn(&conn)); of.next(&e); {
			if e.time >= c.Time-alertSlack && e.time <= c.Time+c.Duration+alertSlack {
				s.take(&all, &e)
				any = true
			}
		}
	}
	if !any {
		return nil
	}
	return &all
}

// take adds what an entry says, if it says something new. Entries come latest first.
func (s *Memory) take(all *event.Session, e *entry) {
	switch e.part {
	case partTLS:
		if all.TLS != nil {
			return
		}
		t := &event.SessionTLS{
			Version: e.text(), Cipher: e.text(), NextProtocol: e.text(), ServerName: e.text(),
			JA3: e.text(), JA3S: e.text(), JA4: e.text(), JA4S: e.text(), Validation: e.text(),
		}
		all.TLS, all.Certificate = t, s.shown(e)
	case partHTTP:
		if all.HTTP == nil {
			all.HTTP = &event.SessionHTTP{Status: uint16(e.a), Method: e.text(), Host: e.text(), URI: e.text(), UserAgent: e.text()}
		}
	case partSSH:
		if all.SSH == nil {
			all.SSH = &event.SessionSSH{Client: e.text(), Server: e.text(), HASSH: e.text(), HASSHServer: e.text()}
		}
	case partFile:
		all.AddFile(event.SessionFile{Name: e.text(), MIME: e.text(), MD5: e.text(), SHA1: e.text(), SHA256: e.text()})
	case partAlert:
		all.AddAlert(event.SessionAlert{Time: e.time, ID: e.a, Severity: uint8(e.b), Name: e.text(), Category: e.text()})
	}
}

// shown returns the certificate of a handshake: what its record says of it, and what the
// certificate's own record does. The entry's next texts are fingerprint, chain, subject
// and issuer.
func (s *Memory) shown(e *entry) *event.Certificate {
	c := &event.Certificate{Fingerprint: e.text(), NotBefore: int64(e.a), NotAfter: int64(e.b)}
	first := e.text()
	c.Subject, c.Issuer = e.text(), e.text()
	if c.Fingerprint == "" && isDigest(first) { // and no file id
		c.Fingerprint = first
	}
	for _, id := range [2]string{first, c.Fingerprint} {
		if id == "" {
			continue
		}
		var x entry
		of := s.certificates.of(s.hash(id))
		if !of.next(&x) {
			continue
		}
		_ = x.text() // its id
		subject, issuer, names := x.text(), x.text(), x.text()
		if c.Subject == "" {
			c.Subject, c.Issuer = subject, issuer
		}
		if c.NotAfter == 0 {
			c.NotBefore, c.NotAfter = int64(x.a), int64(x.b)
		}
		c.Names = strings.Fields(names)
	}
	if c.Fingerprint == "" && c.Subject == "" {
		return nil
	}
	return c
}

// isDigest reports whether an id of a certificate is a digest of it.
func isDigest(s string) bool {
	if len(s) < 40 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'f') && c != ':' {
			return false
		}
	}
	return true
}

// Bytes returns how much memory the entries take.
func (s *Memory) Bytes() (n int) {
	for _, j := range [2]*journal{s.connections, s.certificates} {
		n += 8 * len(j.latest)
		for _, p := range j.pages {
			n += len(p)
		}
	}
	return n
}
