package enrich

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// Config says which files hold what the sensor could not know.
type Config struct {
	Networks   []string `toml:"networks"`   // networks with names
	Assets     []string `toml:"assets"`     // inventories
	Indicators []string `toml:"indicators"` // threat intelligence: files and folders
	Services   []string `toml:"services"`   // networks of providers
	Geo        []string `toml:"geo"`        // databases of countries, cities and autonomous systems
	Allowed    []string `toml:"allowed"`    // what never matches: files and folders
	// Feeds are tables of indicators whose columns are named here, by the names that
	// findings call them.
	Feeds map[string]Feed `toml:"feed"`
	// Seen is the file that notes which indicators were in force, so that those which come
	// while nothing runs are new to the next process. "": none.
	Seen string `toml:"-"`
}

// Feed is a file of indicators in columns. A column is named as the file's header does, or
// by its number, as "#3": where all are, the file has no header. "" is none.
type Feed struct {
	Path        string `toml:"path"`
	Separator   string `toml:"separator"` // one character
	Value       string `toml:"value"`
	Confidence  string `toml:"confidence"` // 0 to 100, or a word
	Expires     string `toml:"expires"`
	FirstSeen   string `toml:"first_seen"`
	Description string `toml:"description"`
	TLP         string `toml:"tlp"`
	// What holds where a row says nothing: a confidence of 0 to 100, -1 for none, and a TLP.
	DefaultConfidence int    `toml:"default_confidence"`
	DefaultTLP        string `toml:"default_tlp"`
}

// SetDefaults sets what holds where a file does not say otherwise.
func (f *Feed) SetDefaults() { f.Separator, f.DefaultConfidence = ",", -1 }

// DefaultConfig names no files.
func DefaultConfig() Config {
	return Config{Networks: []string{}, Assets: []string{}, Indicators: []string{}, Allowed: []string{}, Services: []string{}, Geo: []string{}, Feeds: map[string]Feed{}}
}

// Check reports paths that depend on where the sidecar was started.
func (c *Config) Check(bad func(key, what, allowed string)) {
	for key, paths := range map[string][]string{"networks": c.Networks, "assets": c.Assets, "indicators": c.Indicators, "allowed": c.Allowed, "services": c.Services, "geo": c.Geo} {
		for _, p := range paths {
			if !filepath.IsAbs(p) {
				bad(key, fmt.Sprintf("%s names %q", key, p), "absolute paths")
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Feeds)) {
		f := c.Feeds[name]
		at := func(key string) string { return "feed." + name + "." + key }
		if !filepath.IsAbs(f.Path) {
			bad(at("path"), fmt.Sprintf("path = %q", f.Path), "an absolute path")
		}
		if len(f.Separator) != 1 || f.Separator == "\"" || f.Separator == "\n" {
			bad(at("separator"), fmt.Sprintf("separator = %q", f.Separator), `one character, such as "," ";" or "\t"`)
		}
		if f.Value == "" {
			bad(at("value"), "no column holds the indicators", `the name of a column, or its number, such as "#3"`)
		}
		if f.DefaultConfidence < -1 || f.DefaultConfidence > 100 {
			bad(at("default_confidence"), fmt.Sprintf("default_confidence = %d", f.DefaultConfidence), "0 to 100, or -1 for none")
		}
		if f.DefaultTLP != "" && tlpOf(f.DefaultTLP) == 0 {
			bad(at("default_tlp"), fmt.Sprintf("default_tlp = %q", f.DefaultTLP), strings.Join(tlps[1:], ", "))
		}
	}
}

// paths returns all files and folders.
func (c *Config) paths() []string {
	var feeds []string
	for _, name := range slices.Sorted(maps.Keys(c.Feeds)) {
		feeds = append(feeds, c.Feeds[name].Path)
	}
	return slices.Concat(feeds, c.Networks, c.Assets, c.Indicators, c.Allowed, c.Services, c.Geo)
}
