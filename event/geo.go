package event

// Geo is where an address is used and whose network it is in, as far as databases know.
// They are wrong often enough: it is context, no evidence.
type Geo struct {
	Continent    string // code, such as "EU"
	Country      string // ISO 3166-1 alpha-2, such as "DE"
	CountryName  string // in English
	Region, City string // names in English; "" in databases of countries
	// Degrees, WGS 84, if Located: where most of a country's or a city's people are.
	Latitude, Longitude float64
	Located             bool
	ASN                 uint32 // number of the autonomous system; 0: unknown
	Organization        string // that announces it
}
