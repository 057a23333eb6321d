package enrich

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

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
type GeoDatabases struct{ readers []*maxminddb.Reader }

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

// Lookup returns what is known of an address; nil if that is nothing. It allocates.
func (g *GeoDatabases) Lookup(a netip.Addr) *event.Geo {
	if g.Len() == 0 || !a.IsValid() || a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() {
		return nil
	}
	var geo event.Geo
	for _, r := range g.readers {
		var rec geoRecord
		if r.Lookup(a.Unmap()).Decode(&rec) != nil {
			continue // damaged there
		}
		fill(&geo.Continent, rec.Continent.Code)
		fill(&geo.Country, rec.Country.Code)
		fill(&geo.Country, rec.CountryCode)
		fill(&geo.CountryName, rec.Country.Names.English)
		fill(&geo.City, rec.City.Names.English)
		if len(rec.Subdivisions) > 0 {
			fill(&geo.Region, rec.Subdivisions[0].Names.English)
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
