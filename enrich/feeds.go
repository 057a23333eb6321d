package enrich

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"tidewatch/event"
	"tidewatch/internal/strict"
)

const (
	maxFeed     = 4 << 30   // bytes of a list
	maxBundle   = 512 << 20 // bytes of a JSON file, which is read as a whole
	longestLine = 64 << 10
)

// feed reads one file of indicators.
type feed struct {
	into    *Indicators
	note    note
	taken   int
	refused int
	first   *strict.Problem // what was refused first
	left    int             // entries that are well-formed, and of what no record has
	example string          // the first of them
	file    string
	form    *Feed // nil: the file itself says what it is
}

// readIndicators reads files, all files of folders in the order of their names, and feeds.
// It notes what was not in force before, unless that is nil, and what is now, if keeps.
func readIndicators(paths, allow []string, feeds map[string]Feed, before *past, keeps bool) (*Indicators, error) {
	x := newIndicators()
	x.before, x.keeps = before, keeps
	err := x.readAll(paths)
	for _, name := range slices.Sorted(maps.Keys(feeds)) {
		form := feeds[name]
		if p := x.readFile(form.Path, name, &form); p != nil {
			err = errors.Join(err, strict.Join([]*strict.Problem{p}))
		}
	}
	if len(allow) > 0 {
		x.allowed = newIndicators()
		err = errors.Join(err, x.allowed.readAll(allow))
		x.allowed.done()
	}
	x.done()
	return x, err
}

func (x *Indicators) readAll(paths []string) error {
	var problems []*strict.Problem
	for _, path := range paths {
		err := filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case name != path && (d.IsDir() && strings.HasPrefix(d.Name(), ".")):
				return fs.SkipDir
			case d.IsDir() || name != path && strings.HasPrefix(d.Name(), "."):
				return nil
			}
			if isCatalogue(name) {
				return nil
			}
			if p := x.readFile(name, strings.TrimSuffix(filepath.Base(name), filepath.Ext(name)), nil); p != nil {
				problems = append(problems, p)
			}
			return nil
		})
		if err != nil {
			problems = append(problems, &strict.Problem{File: path, What: err.Error()})
		}
	}
	return strict.Join(problems)
}

// readFile reads one file. It is an error if more than a tenth of it, or nothing, is
// understood: then it is broken, or of another form.
func (x *Indicators) readFile(path, name string, form *Feed) *strict.Problem {
	if len(x.names) >= 1<<16-1 {
		return &strict.Problem{File: path, What: "more than 65,534 files of indicators"}
	}
	x.names = append(x.names, name)
	f := &feed{into: x, file: path, form: form, note: note{provider: uint16(len(x.names) - 1), confidence: notSaid}}
	if form != nil {
		f.note.tlp = tlpOf(form.DefaultTLP)
		if form.DefaultConfidence >= 0 {
			f.note.confidence = uint8(form.DefaultConfidence)
		}
	}
	in, err := os.Open(path)
	if err != nil {
		return &strict.Problem{File: path, What: errors.Unwrap(err).Error()}
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxFeed {
		return &strict.Problem{File: path, What: "it is no regular file, or larger than 4 GiB"}
	}
	r := bufio.NewReaderSize(in, longestLine)
	head, _ := r.Peek(512)
	if form != nil {
		if err := f.table(r); err != nil {
			return err
		}
	} else if b := bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\ufeff")), " \t\r\n"); len(b) > 0 && b[0] == '{' {
		text, err := readBounded(path, maxBundle)
		if err == nil {
			err = f.json(text)
		}
		if err != nil {
			return &strict.Problem{File: path, What: err.Error()}
		}
	} else if err := f.lines(r); err != nil {
		return err
	}
	if f.refused > 0 && 10*f.refused > f.taken {
		f.first.What = fmt.Sprintf("%s; %d of %d entries are like this", f.first.What, f.refused, f.taken+f.refused)
		return f.first
	}
	switch {
	case f.refused+f.left == 0 || len(x.warnings) > maxFeedWarnings:
	case len(x.warnings) == maxFeedWarnings:
		x.warnings = append(x.warnings, "and other files like these")
	case f.refused > 0:
		x.warnings = append(x.warnings, fmt.Sprintf("%s: %d of %d entries are no indicators and are left out, the first in line %d: %s", path, f.refused, f.taken+f.refused+f.left, f.first.Line, clipped(f.first.Excerpt)))
	default:
		x.warnings = append(x.warnings, fmt.Sprintf("%s: %d of %d patterns are about what no record has by itself and are left out, the first: %s", path, f.left, f.left+f.taken, clipped(f.example)))
	}
	return nil
}

// maxFeedWarnings bounds of how many files it is said that something is left out.
const maxFeedWarnings = 20

// clipped is the beginning of what a list says.
func clipped(s string) string {
	if len(s) > longestText {
		s = strings.ToValidUTF8(s[:longestText], "") + "…"
	}
	return s
}

// isCatalogue reports whether a file belongs to a feed of MISP beside its events: the list
// of them, and the digests of their values, which are no indicators.
func isCatalogue(path string) bool {
	switch filepath.Base(path) {
	case "manifest.json":
		b, err := readBounded(path, maxBundle)
		var events map[string]struct {
			Info *string `json:"info"`
		}
		if err != nil || json.Unmarshal(b, &events) != nil {
			return false
		}
		for id, e := range events {
			if !uuidForm.MatchString(id) || e.Info == nil {
				return false
			}
		}
		return true
	case "hashes.csv":
		return isCatalogue(filepath.Join(filepath.Dir(path), "manifest.json"))
	}
	return false
}

var uuidForm = regexp.MustCompile(`^[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// refuse notes an entry that is no indicator.
func (f *feed) refuse(line int, excerpt string) {
	if f.refused++; f.first == nil {
		f.first = &strict.Problem{
			File: f.file, Line: line, Excerpt: strings.Clone(excerpt), What: "this is no indicator",
			Allowed: "addresses, networks, names, URLs, MD5, SHA-1, SHA-256, JA3, JA4; CSV with a header; STIX 2.1; MISP",
		}
	}
}

// column is what a column of a CSV file says.
type column uint8

const (
	columnOther column = iota
	columnValue
	columnFirst
	columnExpires
	columnConfidence
	columnText
	columnTLP
)

// columnsOf are the names of columns in lists that are common, without what is no
// letter or digit.
var columnsOf = map[string]column{
	"url": columnValue, "ioc": columnValue, "iocvalue": columnValue, "indicator": columnValue, "value": columnValue, "dstip": columnValue, "ip": columnValue,
	"ipaddress": columnValue, "sha1": columnValue, "sha256": columnValue, "sha256hash": columnValue, "md5": columnValue, "md5hash": columnValue, "sha1hash": columnValue,
	"hassh": columnValue, "ja3md5": columnValue, "ja3": columnValue, "ja4": columnValue, "domain": columnValue, "host": columnValue, "hash": columnValue, "cidr": columnValue, "network": columnValue,
	"dateadded": columnFirst, "firstseen": columnFirst, "firstseenutc": columnFirst, "listingdate": columnFirst,
	"expires": columnExpires, "expiry": columnExpires, "expiration": columnExpires, "validuntil": columnExpires,
	"confidence": columnConfidence, "confidencelevel": columnConfidence,
	"threat": columnText, "malware": columnText, "malwareprintable": columnText, "listingreason": columnText, "description": columnText, "comment": columnText,
	"tlp": columnTLP,
}

// header reads a line as the names of columns; nil if it is none.
func header(line string) (cols []column) {
	line = strings.TrimLeft(line, "#; \t")
	if !strings.Contains(line, ",") {
		return nil
	}
	found := false
	for _, name := range splitCSV(line) {
		c := columnsOf[strings.Map(func(r rune) rune {
			if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' {
				return r
			}
			return -1
		}, strings.ToLower(name))]
		if c == columnValue && found {
			c = columnOther // the first names it
		}
		found = found || c == columnValue
		cols = append(cols, c)
	}
	if !found {
		return nil
	}
	return cols
}

// splitCSV reads one line of CSV; nil if it is none.
func splitCSV(line string) []string { return splitTable(line, ',') }

// splitTable is splitCSV for another separator.
func splitTable(line string, separator rune) []string {
	r := csv.NewReader(strings.NewReader(line))
	r.Comma, r.TrimLeadingSpace, r.LazyQuotes = separator, separator != '\t', true
	row, err := r.Read()
	if err != nil {
		return nil
	}
	return row
}

// lines reads plain lists, files of hosts, and CSV, whose header may be a comment.
func (f *feed) lines(r *bufio.Reader) *strict.Problem {
	var cols []column
	for n := 1; ; n++ {
		b, err := r.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			return &strict.Problem{File: f.file, Line: n, What: "the line is longer than 64 KiB"}
		case err != nil && err != io.EOF:
			return &strict.Problem{File: f.file, Line: n, What: err.Error()}
		}
		if n == 1 {
			b = bytes.TrimPrefix(b, []byte("\ufeff"))
		}
		line := strings.TrimSpace(string(b))
		switch {
		case line == "":
		case line[0] == '#' || line[0] == ';' || strings.HasPrefix(line, "//"):
			if h := header(line); h != nil && f.taken == 0 {
				cols = h
			}
		case cols == nil && f.taken+f.refused == 0 && header(line) != nil:
			cols = header(line)
		case cols != nil:
			f.row(n, line, splitCSV(line), cols)
		default:
			f.plain(n, line)
		}
		if err == io.EOF {
			return nil
		}
	}
}

// table reads a file whose columns the configuration names.
func (f *feed) table(r *bufio.Reader) *strict.Problem {
	names := []struct {
		name string
		is   column
	}{
		{f.form.Value, columnValue}, {f.form.Confidence, columnConfidence}, {f.form.Expires, columnExpires},
		{f.form.FirstSeen, columnFirst}, {f.form.Description, columnText}, {f.form.TLP, columnTLP},
	}
	var cols []column
	header := false
	put := func(at int, is column) {
		for len(cols) <= at {
			cols = append(cols, columnOther)
		}
		cols[at] = is
	}
	for _, n := range names {
		if at, err := strconv.Atoi(strings.TrimPrefix(n.name, "#")); strings.HasPrefix(n.name, "#") && err == nil && at >= 1 && at <= 1000 {
			put(at-1, n.is)
		} else if n.name != "" {
			header = true
		}
	}
	for n := 1; ; n++ {
		b, err := r.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			return &strict.Problem{File: f.file, Line: n, What: "the line is longer than 64 KiB"}
		case err != nil && err != io.EOF:
			return &strict.Problem{File: f.file, Line: n, What: err.Error()}
		}
		if n == 1 {
			b = bytes.TrimPrefix(b, []byte("\ufeff"))
		}
		line := strings.Trim(string(b), "\r\n")
		switch {
		case strings.TrimSpace(line) == "":
		case header:
			all := splitTable(strings.TrimLeft(line, "# "), rune(f.form.Separator[0]))
			if len(all) < 2 && line[0] == '#' {
				break // a remark
			}
			for _, c := range names {
				at := slices.IndexFunc(all, func(s string) bool { return strings.EqualFold(strings.TrimSpace(s), c.name) })
				switch {
				case c.name == "" || strings.HasPrefix(c.name, "#"):
				case at < 0:
					return &strict.Problem{File: f.file, Line: n, Excerpt: line, What: fmt.Sprintf("there is no column %q%s", c.name, strict.Nearest(c.name, all)), Allowed: strings.Join(all, ", ")}
				default:
					put(at, c.is)
				}
			}
			header = false
		case line[0] == '#':
		default:
			f.row(n, line, splitTable(line, rune(f.form.Separator[0])), cols)
		}
		if err == io.EOF {
			return nil
		}
	}
}

// row takes a row of a table.
func (f *feed) row(n int, line string, row []string, cols []column) {
	note, value, text := f.note, "", ""
	for i, v := range row {
		if i >= len(cols) || v == "" {
			continue
		}
		switch v = strings.TrimSpace(v); cols[i] {
		case columnValue:
			value = v
		case columnFirst:
			note.first = day(timeOf(v))
		case columnExpires:
			note.expires = expiry(timeOf(v))
		case columnConfidence:
			note.confidence = confidenceOf(v)
		case columnTLP:
			note.tlp = tlpOf(v)
		case columnText:
			if text == "" || len(v) > len(text) {
				text = v
			}
		}
	}
	if !f.take(value, note, text) {
		f.refuse(n, line)
	}
}

// plain takes a line of a list, or of a file of hosts.
func (f *feed) plain(n int, line string) {
	value, text, _ := strings.Cut(line, "#")
	words := strings.FieldsFunc(value, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' || r == ';' })
	if len(words) == 0 {
		return
	}
	value = strings.Trim(words[0], `"'`)
	if a, err := netip.ParseAddr(value); err == nil && len(words) > 1 && (a.IsUnspecified() || a.IsLoopback()) {
		if value = words[1]; value == "localhost" || value == "0.0.0.0" || value == "localhost.localdomain" || value == "local" {
			return
		}
	}
	if !f.take(value, f.note, strings.TrimSpace(text)) {
		f.refuse(n, line)
	}
}

// take takes one value, whatever it is.
func (f *feed) take(value string, n note, text string) bool {
	kind, v, p := classify(value)
	if kind == kindNone {
		return false
	}
	f.taken++
	if f.into.before != nil || f.into.keeps {
		f.into.compare(kind, v, p, n.expires)
	}
	i := f.into.noteOf(n, text)
	if kind == kindAddr {
		f.into.addNetwork(p, i)
	} else {
		f.into.add(kind, v, i)
	}
	return true
}

var (
	hexDigest   = regexp.MustCompile(`^(?:[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64})$`)
	ja4Form     = regexp.MustCompile(`^[tqd][0-9s]{2}[di][0-9]{4}[0-9a-z]{2}_[0-9a-f]{12}_[0-9a-f]{12}$`)
	domainForm  = regexp.MustCompile(`^(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z0-9-]{2,63}$`)
	defanged    = strings.NewReplacer("[.]", ".", "hxxp", "http", "[:]", ":", "(.)", ".")
	privateHost = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8")}
)

// classify says what a value is, and returns it in the form in which it is looked up.
func classify(s string) (indicatorKind, string, netip.Prefix) {
	none := netip.Prefix{}
	if len(s) > longestURL || s == "" {
		return kindNone, "", none
	}
	if strings.ContainsAny(s, "[(") || strings.HasPrefix(s, "hxxp") {
		s = defanged.Replace(s)
	}
	if strings.Contains(s, "://") {
		return kindURL, string(appendURL(nil, s)), none
	}
	if c := s[0]; c >= '0' && c <= '9' || c == '[' || strings.Contains(s, ":") {
		if p, ok := addressed(s); ok {
			if slices.ContainsFunc(privateHost, func(q netip.Prefix) bool { return q.Overlaps(p) }) || p.Bits() == 0 {
				return kindNone, "", none // nobody's, or everybody's
			}
			return kindAddr, "", p
		}
	}
	var room [256]byte
	v := strings.Clone(lowered(&room, s))
	if d := strings.ReplaceAll(v, ":", ""); hexDigest.MatchString(d) {
		return kindDigest, d, none
	}
	switch v = strings.TrimPrefix(v, "*."); {
	case ja4Form.MatchString(v):
		return kindDigest, v, none
	case domainForm.MatchString(v):
		return kindDomain, v, none
	case strings.IndexByte(v, '/') > 0 && domainForm.MatchString(v[:strings.IndexByte(v, '/')]):
		return kindURL, string(appendURL(nil, s)), none
	}
	return kindNone, "", none
}

// addressed reads an address, one with a port, or a network.
func addressed(s string) (netip.Prefix, bool) {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		a := ap.Addr().Unmap()
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	ps, err := parseNetworks(s)
	if err != nil || len(ps) != 1 {
		return netip.Prefix{}, false
	}
	return ps[0], true
}

// timeOf reads a time in the forms that lists have, in Unix nanoseconds; 0 if it has
// none of them.
func timeOf(s string) int64 {
	s = strings.TrimSuffix(strings.TrimSpace(s), " UTC")
	for _, form := range []string{time.RFC3339Nano, "2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02"} {
		if t, err := time.Parse(form, s); err == nil {
			return t.UnixNano()
		}
	}
	if secs, err := strconv.ParseInt(s, 10, 64); err == nil && secs > 0 && secs < 1<<33 {
		return secs * 1e9
	}
	return 0
}

// expiry is the first day on which an indicator counts no more: the one after its
// last moment.
func expiry(at int64) uint16 {
	if at <= 0 {
		return 0
	}
	return day(at + dayLength - 1)
}

// confidenceOf reads a number from 0 to 100, or a word.
func confidenceOf(s string) uint8 {
	switch strings.ToLower(s) {
	case "low":
		return 30
	case "medium":
		return 50
	case "high":
		return 85
	case "none":
		return 0
	}
	if n, err := strconv.ParseUint(s, 10, 8); err == nil && n <= 100 {
		return uint8(n)
	}
	return notSaid
}

func tlpOf(s string) uint8 {
	s = strings.TrimPrefix(strings.ToUpper(s), "TLP:")
	return uint8(max(slices.Index(tlps, s), 0))
}

// bundle is what is read of STIX 2.1 and of MISP.
type bundle struct {
	Type     string       `json:"type"`
	Objects  []stixObject `json:"objects"`
	Event    *mispEvent   `json:"Event"`
	Response []struct {
		Event *mispEvent `json:"Event"`
	} `json:"response"`
}

type stixObject struct {
	Type, Pattern, Name, Description string
	PatternType                      string   `json:"pattern_type"`
	ValidFrom                        string   `json:"valid_from"`
	ValidUntil                       string   `json:"valid_until"`
	Confidence                       *int     `json:"confidence"`
	Revoked                          bool     `json:"revoked"`
	Markings                         []string `json:"object_marking_refs"`
}

type mispEvent struct {
	Info       string          `json:"info"`
	Attributes []mispAttribute `json:"Attribute"`
	Objects    []struct {
		Attributes []mispAttribute `json:"Attribute"`
	} `json:"Object"`
	Tags []mispTag `json:"Tag"`
}

type mispTag struct {
	Name string `json:"name"`
}

type mispAttribute struct {
	Type, Value, Comment string
	IDS                  *bool     `json:"to_ids"`
	Deleted              bool      `json:"deleted"`
	FirstSeen            string    `json:"first_seen"`
	Tags                 []mispTag `json:"Tag"`
}

// json takes a bundle of STIX, or events of MISP.
func (f *feed) json(text []byte) error {
	var b bundle
	if err := json.Unmarshal(bytes.TrimPrefix(text, []byte("\ufeff")), &b); err != nil {
		var at *json.SyntaxError
		if errors.As(err, &at) {
			return fmt.Errorf("line %d: %w", 1+bytes.Count(text[:min(int(at.Offset), len(text))], []byte("\n")), err)
		}
		return err
	}
	switch {
	case b.Type == "bundle":
		for i := range b.Objects {
			f.stix(&b.Objects[i])
		}
	case b.Event != nil:
		f.misp(b.Event)
	case b.Response != nil:
		for _, r := range b.Response {
			if r.Event != nil {
				f.misp(r.Event)
			}
		}
	default:
		return errors.New("neither a STIX bundle nor MISP events")
	}
	return nil
}

// The markings of TLP 1 and 2 have ids that are the same everywhere (STIX 2.1, and
// the CTI marking definitions of TLP 2.0).
var tlpMarkings = map[string]uint8{
	"marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9": 2, "marking-definition--94868c89-83c2-464b-929b-a1a8aa3c8487": 1,
	"marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da": 3, "marking-definition--bab4a63c-aed9-4cf5-a766-dfca5abac2bb": 3,
	"marking-definition--f88d31f6-486f-44da-b317-01333bde0b82": 4, "marking-definition--55d920b0-5e8b-4f79-9ee9-91f868d9b421": 4,
	"marking-definition--939a9414-2ddd-4d32-a0cd-375ea402b003": 5, "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed": 6,
	"marking-definition--e828b379-4e03-4974-9ac4-e53a884c97c1": 6,
}

// stixTerm is one comparison of a pattern, stixSet one with several values.
var (
	stixTerm = regexp.MustCompile(stixPath + `(?:=|ISSUBSET)\s*'((?:[^'\\]|\\.)*)'`)
	stixSet  = regexp.MustCompile(stixPath + `IN\s*\(((?:\s*'(?:[^'\\]|\\.)*'\s*,?)*)\)`)
	stixText = regexp.MustCompile(`'((?:[^'\\]|\\.)*)'`)
)

const stixPath = `\b(?:ipv4-addr|ipv6-addr|domain-name|url|file|x509-certificate):(?:value|hashes\.'?[A-Za-z0-9-]+'?)\s*`

// A pattern with stixAnd wants several things at once; one with stixOther, what no record
// says, or one thing after another.
var (
	stixAnd   = regexp.MustCompile(`\bAND\b`)
	stixOther = regexp.MustCompile(`\b(?:FOLLOWEDBY|NOT)\b|!=`)
)

// stixValues returns the values of which a pattern says that each is enough. Where it
// wants several things at once, a digest is: who has the file has the rest, too.
func stixValues(pattern string) (values []string) {
	bare := stixText.ReplaceAllString(pattern, "''")
	if stixOther.MatchString(bare) {
		return nil
	}
	for _, m := range stixTerm.FindAllStringSubmatch(pattern, -1) {
		values = append(values, m[1])
	}
	for _, m := range stixSet.FindAllStringSubmatch(pattern, -1) {
		for _, v := range stixText.FindAllStringSubmatch(m[1], -1) {
			values = append(values, v[1])
		}
	}
	for i, v := range values {
		values[i] = strings.ReplaceAll(v, `\`, "")
	}
	if stixAnd.MatchString(bare) {
		values = slices.DeleteFunc(values, func(v string) bool { k, _, _ := classify(v); return k != kindDigest })
	}
	return values
}

func (f *feed) stix(o *stixObject) {
	if o.Type != "indicator" || o.Revoked || o.PatternType != "" && o.PatternType != "stix" {
		return
	}
	values := stixValues(o.Pattern)
	switch {
	case len(values) > 0:
	case strings.HasPrefix(strings.TrimSpace(o.Pattern), "["):
		if f.left++; f.example == "" {
			f.example = strings.Clone(o.Pattern)
		}
		return
	default:
		f.refuse(0, o.Pattern)
		return
	}
	n := f.note
	n.first, n.expires = day(timeOf(o.ValidFrom)), expiry(timeOf(o.ValidUntil))
	if c := o.Confidence; c != nil && *c >= 0 && *c <= 100 {
		n.confidence = uint8(*c)
	}
	for _, m := range o.Markings {
		n.tlp = max(n.tlp, tlpMarkings[m])
	}
	text := o.Name
	if text == "" {
		text = o.Description
	}
	for _, v := range values {
		if !f.take(v, n, text) {
			f.refuse(0, v)
		}
	}
}

func (f *feed) misp(e *mispEvent) {
	for _, a := range e.Attributes {
		f.attribute(e, &a)
	}
	for _, o := range e.Objects {
		for _, a := range o.Attributes {
			f.attribute(e, &a)
		}
	}
}

// attribute takes what MISP marks for detection.
func (f *feed) attribute(e *mispEvent, a *mispAttribute) {
	if a.Deleted || a.IDS != nil && !*a.IDS {
		return
	}
	value := a.Value
	switch t, _, joint := strings.Cut(a.Type, "|"); {
	case t == "filename" && joint: // filename|md5
		_, value, _ = strings.Cut(value, "|")
	case joint: // ip-dst|port, domain|ip
		value, _, _ = strings.Cut(value, "|")
	}
	switch t, _, _ := strings.Cut(a.Type, "|"); t {
	case "ip-dst", "ip-src", "domain", "hostname", "url", "md5", "sha1", "sha256", "filename", "ja3-fingerprint-md5", "ja4", "hassh-md5", "hasshserver-md5",
		"x509-fingerprint-sha1", "x509-fingerprint-md5", "x509-fingerprint-sha256":
	default:
		return
	}
	n := f.note
	n.first = day(timeOf(a.FirstSeen))
	for _, t := range slices.Concat(e.Tags, a.Tags) {
		n.tlp = max(n.tlp, tlpOf(strings.TrimPrefix(t.Name, "tlp:")))
	}
	text := a.Comment
	if text == "" {
		text = e.Info
	}
	if !f.take(value, n, text) && a.Type != "filename" {
		f.refuse(0, event.Clone(value))
	}
}
