package enrich

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"sync"

	"github.com/oschwald/maxminddb-golang/v2"

	"tidewatch/event"
	"tidewatch/internal/strict"
)

const (
	maxGeoFile = 1 << 30 // bytes
	maxGeoText = 200     // bytes of a name
)

// GeoDatabases answer where an address is. What one database does not know the next one
// may: of a country, a city, an autonomous system.
//
// Files are read into memory, not mapped: one that is cut off while it is mapped ends
// the process.
type GeoDatabases struct {
	readers []*maxminddb.Reader
	// shared holds what is decoded of the records of each database: many networks share
	// one. It is bounded by maxGeoShared, and begins anew then.
	mu     sync.RWMutex
	shared map[geoKey]*event.Geo
}

// maxGeoShared bounds the decoded records.
const maxGeoShared = 1 << 16

// geoKey is where the databases have their records of an address.
type geoKey [maxGeoReaders]uintptr

// maxGeoReaders bounds the databases.
const maxGeoReaders = 8

// geoRecord is what the databases of MaxMind and those in their format say; the last
// fields are those of flat ones.
type geoRecord struct {
	Continent struct {
		Code string `maxminddb:"code"`
	} `maxminddb:"continent"`
	Country struct {
		Code  string   `maxminddb:"iso_code"`
		Names geoNames `maxminddb:"names"`
	} `maxminddb:"country"`
	Subdivisions []struct {
		Names geoNames `maxminddb:"names"`
	} `maxminddb:"subdivisions"`
	City struct {
		Names geoNames `maxminddb:"names"`
	} `maxminddb:"city"`
	Location struct {
		Latitude  *float64 `maxminddb:"latitude"`
		Longitude *float64 `maxminddb:"longitude"`
	} `maxminddb:"location"`
	ASN          uint32 `maxminddb:"autonomous_system_number"`
	Organization string `maxminddb:"autonomous_system_organization"`
	CountryCode  string `maxminddb:"country_code"`
}

type geoNames struct {
	English string `maxminddb:"en"`
}

// readGeo reads databases in MaxMind's format.
func readGeo(paths []string) (*GeoDatabases, error) {
	g := &GeoDatabases{}
	var problems []*strict.Problem
	if len(paths) > maxGeoReaders {
		return g, strict.Join([]*strict.Problem{{File: paths[maxGeoReaders], What: "more databases than are looked into", Allowed: fmt.Sprintf("at most %d", maxGeoReaders)}})
	}
	for _, path := range paths {
		r, err := openGeo(path)
		if err != nil {
			problems = append(problems, &strict.Problem{File: path, What: err.Error(), Allowed: "a database in MaxMind's format (.mmdb)"})
			continue
		}
		g.readers = append(g.readers, r)
	}
	return g, strict.Join(problems)
}

func openGeo(path string) (*maxminddb.Reader, error) {
	b, err := readBounded(path, maxGeoFile)
	if err != nil {
		return nil, err
	}
	r, err := maxminddb.OpenBytes(b)
	if err != nil {
		return nil, fmt.Errorf("it cannot be read: %w", err)
	}
	if r.Metadata.NodeCount == 0 {
		return nil, errors.New("it holds nothing")
	}
	return r, nil
}

// Len returns how many databases there are.
func (g *GeoDatabases) Len() int {
	if g == nil {
		return 0
	}
	return len(g.readers)
}

// Lookup returns what is known of an address; nil if that is nothing. It does not
// allocate for records that were decoded before. The answer is shared.
func (g *GeoDatabases) Lookup(a netip.Addr) *event.Geo {
	if g.Len() == 0 || !a.IsValid() || a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() {
		return nil
	}
	a = a.Unmap()
	var key geoKey
	found := false
	for i, r := range g.readers {
		if v := r.Lookup(a); v.Found() {
			key[i], found = v.Offset()+1, true
		}
	}
	if !found {
		return nil
	}
	g.mu.RLock()
	geo, ok := g.shared[key]
	g.mu.RUnlock()
	if ok {
		return geo
	}
	geo = g.decode(&key)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shared == nil || len(g.shared) >= maxGeoShared {
		g.shared = map[geoKey]*event.Geo{}
	}
	g.shared[key] = geo
	return geo
}

// decode reads the records of the databases.
func (g *GeoDatabases) decode(key *geoKey) *event.Geo {
	var geo event.Geo
	for i, r := range g.readers {
		var rec geoRecord
		if key[i] == 0 || r.LookupOffset(key[i]-1).Decode(&rec) != nil {
			continue // nothing, or damaged there
		}
		fill(&geo.Continent, rec.Continent.Code)
		fill(&geo.Country, rec.Country.Code)
		fill(&geo.Country, rec.CountryCode)
		fill(&geo.CountryName, rec.Country.Names.English)
		fill(&geo.City, rec.City.Names.English)
		if len(rec.Subdivisions) > 0 {
			fill(&geo.Region, rec.Subdivisions[0].Names.English)
		}
		if l := &rec.Location; !geo.Located && l.Latitude != nil && l.Longitude != nil && math.Abs(*l.Latitude) <= 90 && math.Abs(*l.Longitude) <= 180 {
			geo.Located, geo.Latitude, geo.Longitude = true, *l.Latitude, *l.Longitude
		}
		if geo.ASN == 0 {
			geo.ASN = rec.ASN
			fill(&geo.Organization, rec.Organization)
		}
	}
	if geo == (event.Geo{}) {
		return nil
	}
	return &geo
}

// fill sets what is not known yet. The text owns its memory.
func fill(to *string, text string) {
	if *to == "" {
		*to = strings.Clone(strings.ToValidUTF8(text[:min(len(text), maxGeoText)], ""))
	}
}
