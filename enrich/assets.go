package enrich

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/gaissmai/bart"

	"tidewatch/event"
	"tidewatch/internal/strict"
)

const (
	maxInventory = 256 << 20 // bytes of a file
	maxAssets    = 1 << 20   // of all files
	// mostProblems is how many of a file's errors are told.
	mostProblems = 50
	// longestName bounds a name and an owner, in bytes: they go into each finding.
	longestName = 255
)

// Inventory is what the site says of its hosts. It is not changed once it is read and
// may be used concurrently.
type Inventory struct {
	networks bart.Table[*event.Asset]
	tagged   map[uint16]*bart.Table[*event.Asset] // those of one VLAN
	hardware map[[6]byte]*event.Asset
	n        int
}

// Len returns how many assets there are.
func (v *Inventory) Len() int { return v.n }

// Lookup returns the asset of an address in a VLAN (0: none): of the smallest network
// that it is in, where those of the VLAN come first. It is nil if there is none. It does
// not allocate.
func (v *Inventory) Lookup(a netip.Addr, vlan uint16) *event.Asset {
	if v == nil || v.n == 0 || !a.IsValid() {
		return nil
	}
	if vlan != 0 {
		if t := v.tagged[vlan]; t != nil {
			if asset, ok := t.Lookup(a); ok {
				return asset
			}
		}
	}
	asset, _ := v.networks.Lookup(a)
	return asset
}

// entry is one asset as a file has it.
type entry struct {
	Name        string `json:"name"`
	Owner       string `json:"owner"`
	Role        string `json:"role"`
	Criticality string `json:"criticality"`
	VLAN        int    `json:"vlan"` // in which its addresses are; 0: in any
	// Addresses, networks and ranges; hardware addresses.
	Addresses, MACs []string
}

// inventoryReader reads files into an inventory.
type inventoryReader struct {
	into     *Inventory
	file     string
	problems []*strict.Problem
	count    int // of the file's problems
}

// bad notes what is wrong in a line.
func (r *inventoryReader) bad(line int, excerpt, what, allowed string) {
	if r.count++; r.count <= mostProblems {
		r.problems = append(r.problems, &strict.Problem{File: r.file, Line: line, Excerpt: excerpt, What: what, Allowed: allowed})
	}
}

// ReadInventory reads inventories: files that end in .csv, .toml or .json. The error
// names all that is wrong, with file and line.
func ReadInventory(paths []string) (*Inventory, error) {
	v := &Inventory{hardware: map[[6]byte]*event.Asset{}, tagged: map[uint16]*bart.Table[*event.Asset]{}}
	r := &inventoryReader{into: v}
	for _, path := range paths {
		r.file, r.count = path, 0
		text, err := readBounded(path, maxInventory)
		if err != nil {
			r.bad(0, "", err.Error(), "")
			continue
		}
		switch strings.ToLower(filepath.Ext(path)) {
		case ".csv":
			r.csv(text)
		case ".toml":
			r.toml(text)
		case ".json":
			r.json(text)
		default:
			r.bad(0, "", "what kind of inventory this is, its name does not say", "names that end in .csv, .toml or .json")
		}
		if r.count > mostProblems {
			r.problems = append(r.problems, &strict.Problem{File: path, What: fmt.Sprintf("%d more errors", r.count-mostProblems)})
		}
	}
	return v, strict.Join(r.problems)
}

// readBounded reads a regular file of at most so many bytes.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, errors.Unwrap(err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.New("it is no regular file")
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("it is larger than %d MiB", limit>>20)
	}
	return b, err
}

// columns are what the header of a CSV file may name.
var columns = []string{"address", "mac", "name", "owner", "role", "criticality", "vlan"}

// csv reads a table with a header. Several addresses in one cell stand apart by
// blanks, semicolons or |.
func (r *inventoryReader) csv(text []byte) {
	c := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(text, []byte("\ufeff"))))
	c.Comment, c.TrimLeadingSpace, c.FieldsPerRecord, c.ReuseRecord = '#', true, -1, true
	var place map[string]int
	for {
		row, err := c.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			var e *csv.ParseError
			if errors.As(err, &e) {
				r.bad(e.Line, "", e.Err.Error(), "")
			} else {
				r.bad(0, "", err.Error(), "")
			}
			return
		}
		line, _ := c.FieldPos(0)
		if place == nil {
			if place = r.header(line, row); place == nil {
				return
			}
			continue
		}
		r.row(line, row, place)
	}
	if place == nil {
		r.bad(0, "", "the file is empty", "a header: "+strings.Join(columns, ","))
	}
}

// header returns which column is where; nil if it cannot be used.
func (r *inventoryReader) header(line int, row []string) map[string]int {
	place, before := map[string]int{}, r.count
	for i, name := range row {
		name = strings.ToLower(strings.TrimSpace(name))
		if !slices.Contains(columns, name) {
			r.bad(line, strings.Join(row, ","), fmt.Sprintf("unknown column %q%s", name, strict.Nearest(name, columns)), strings.Join(columns, ", "))
		}
		place[name] = i
	}
	_, byAddress := place["address"]
	if _, byMAC := place["mac"]; !byAddress && !byMAC {
		r.bad(line, strings.Join(row, ","), "no column says which hosts are meant", "a header with address or mac")
	}
	if r.count > before {
		return nil
	}
	return place
}

func (r *inventoryReader) row(line int, row []string, place map[string]int) {
	cell := func(name string) string {
		if i, ok := place[name]; ok && i < len(row) {
			return strings.TrimSpace(row[i])
		}
		return ""
	}
	excerpt := strings.Join(row, ",")
	if len(row) != len(place) {
		r.bad(line, excerpt, fmt.Sprintf("%d columns, the header has %d", len(row), len(place)), "")
		return
	}
	several := func(s string) []string {
		return strings.FieldsFunc(s, func(c rune) bool { return c == ' ' || c == ';' || c == '|' })
	}
	e := entry{Name: cell("name"), Owner: cell("owner"), Role: cell("role"), Criticality: cell("criticality"), MACs: several(cell("mac"))}
	if v := cell("vlan"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n == 0 {
			n = -1 // which is no VLAN
		}
		e.VLAN = n
	}
	e.Addresses = several(strings.NewReplacer(" - ", "-").Replace(cell("address")))
	r.add(line, excerpt, &e)
}

// tomlInventory is a file of [asset.NAME] tables.
type tomlInventory struct {
	Assets map[string]tomlAsset `toml:"asset"`
}

type tomlAsset struct {
	Addresses   []string `toml:"addresses"`
	MACs        []string `toml:"macs"`
	Name        string   `toml:"name"` // "": the table's
	Owner       string   `toml:"owner"`
	Role        string   `toml:"role"`
	Criticality string   `toml:"criticality"`
	VLAN        int      `toml:"vlan"`
}

func (r *inventoryReader) toml(text []byte) {
	var t tomlInventory
	doc := strict.NewDocument(r.file, string(text))
	if bad := strict.Decode(doc, &t); len(bad) > 0 {
		r.problems = append(r.problems, bad...)
		return
	}
	names := make([]string, 0, len(t.Assets))
	for name := range t.Assets {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		a := t.Assets[name]
		at := doc.Problem([]string{"asset", name}, "", "")
		e := entry{Name: a.Name, Owner: a.Owner, Role: a.Role, Criticality: a.Criticality, Addresses: a.Addresses, MACs: a.MACs, VLAN: a.VLAN}
		if e.Name == "" {
			e.Name = name
		}
		r.add(at.Line, at.Excerpt, &e)
	}
}

// jsonAsset is one object of a JSON inventory.
type jsonAsset struct {
	entry
	Address texts `json:"address"`
	MAC     texts `json:"mac"`
	Another texts `json:"addresses"`
	AllMACs texts `json:"macs"`
}

// texts is one text or a list of them.
type texts []string

func (t *texts) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		*t = make(texts, 1)
		return json.Unmarshal(b, &(*t)[0])
	}
	return json.Unmarshal(b, (*[]string)(t))
}

// json reads a list of objects.
func (r *inventoryReader) json(text []byte) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	at := 0 // the byte up to which lines are counted
	line := 1
	here := func() int {
		to := min(int(d.InputOffset()), len(text))
		for to < len(text) && strings.IndexByte(" \t\r\n,", text[to]) >= 0 {
			to++
		}
		line += bytes.Count(text[at:max(to, at)], []byte("\n"))
		at = max(to, at)
		return line
	}
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		r.bad(1, "", "it is no list of assets", `[{"address": "10.0.0.5", "name": "scan1", "role": "scanner"}]`)
		return
	}
	for d.More() {
		n := here()
		var a jsonAsset
		if err := d.Decode(&a); err != nil {
			r.bad(n, "", strings.TrimPrefix(err.Error(), "json: "), "objects with address, mac, name, owner, role, criticality, vlan")
			return
		}
		a.entry.Addresses, a.entry.MACs = append(a.Address, a.Another...), append(a.MAC, a.AllMACs...)
		r.add(n, "", &a.entry)
	}
	if _, err := d.Token(); err != nil {
		r.bad(here(), "", "the list does not end", "")
	}
}

// add checks an entry and takes it.
func (r *inventoryReader) add(line int, excerpt string, e *entry) {
	asset, before := &event.Asset{Name: e.Name, Owner: e.Owner}, r.count
	asset.Role = event.Role(r.choice(line, excerpt, "role", e.Role, event.RoleNames[:]))
	asset.Criticality = event.Criticality(r.choice(line, excerpt, "criticality", e.Criticality, event.CriticalityNames[:]))
	if len(e.Name) > longestName || len(e.Owner) > longestName {
		r.bad(line, "", "a name or an owner is too long", fmt.Sprintf("at most %d bytes", longestName))
	}
	if len(e.Addresses)+len(e.MACs) == 0 {
		r.bad(line, excerpt, "the asset has no address", "an address, a network, a range such as 10.0.0.1-10.0.0.9, or a hardware address")
	}
	if e.VLAN < 0 || e.VLAN > 4094 {
		r.bad(line, excerpt, "the VLAN is none", "1 to 4094")
	}
	if r.into.n >= maxAssets {
		r.bad(line, "", fmt.Sprintf("more than %d assets", maxAssets), "")
	}
	if r.count > before {
		return
	}
	asset.Entity = entityOf(e)
	for _, s := range e.Addresses {
		r.address(line, excerpt, s, uint16(e.VLAN), asset)
	}
	for _, s := range e.MACs {
		mac, err := net.ParseMAC(s)
		if err != nil || len(mac) != 6 {
			r.bad(line, excerpt, fmt.Sprintf("%q is no hardware address", s), "six bytes such as 00:00:5e:00:53:23")
			continue
		}
		r.into.hardware[[6]byte(mac)] = asset
	}
	r.into.n++
}

// entityOf returns the first address of an entry that lists several, and nothing but
// addresses: then it is one host.
func entityOf(e *entry) netip.Addr {
	if len(e.Addresses) < 2 || e.Name == "" {
		return netip.Addr{}
	}
	for _, s := range e.Addresses {
		if a, err := netip.ParseAddr(s); err != nil || a.Zone() != "" {
			return netip.Addr{}
		}
	}
	return netip.MustParseAddr(e.Addresses[0]).Unmap()
}

func (r *inventoryReader) address(line int, excerpt, s string, vlan uint16, asset *event.Asset) {
	into := &r.into.networks
	if vlan != 0 {
		if into = r.into.tagged[vlan]; into == nil {
			into = new(bart.Table[*event.Asset])
			r.into.tagged[vlan] = into
		}
	}
	networks, err := parseNetworks(s)
	if err != nil {
		r.bad(line, excerpt, fmt.Sprintf("%q is %v", s, err), "10.0.0.5, 10.1.0.0/16, 10.0.0.1-10.0.0.9, 2001:db8::/48")
		return
	}
	for _, p := range networks {
		if other, again := into.Get(p); again && *other != *asset {
			r.bad(line, excerpt, fmt.Sprintf("%s is already of %q", p, other.Name), "each network once")
			continue
		}
		into.Insert(p, asset)
	}
}

// choice returns which of the names a value is; the first is "".
func (r *inventoryReader) choice(line int, excerpt, what, value string, names []string) int {
	i := slices.Index(names, strings.ToLower(value))
	if i < 0 {
		r.bad(line, excerpt, fmt.Sprintf("%s %q%s", what, value, strict.Nearest(value, names[1:])), strings.Join(names[1:], ", "))
	}
	return i
}
