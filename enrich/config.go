package enrich

import (
	"fmt"
	"path/filepath"
	"slices"
)

// Config says which files hold what the sensor could not know.
type Config struct {
	Networks   []string `toml:"networks"`   // networks with names
	Assets     []string `toml:"assets"`     // inventories
	Indicators []string `toml:"indicators"` // threat intelligence: files and folders
	Services   []string `toml:"services"`   // networks of providers
	Geo        []string `toml:"geo"`        // databases of countries, cities and autonomous systems
	Allowed    []string `toml:"allowed"`    // what never matches: files and folders
}

// DefaultConfig names no files.
func DefaultConfig() Config {
	return Config{Networks: []string{}, Assets: []string{}, Indicators: []string{}, Allowed: []string{}, Services: []string{}, Geo: []string{}}
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
}

// paths returns all files and folders.
func (c *Config) paths() []string {
	return slices.Concat(c.Networks, c.Assets, c.Indicators, c.Allowed, c.Services, c.Geo)
}
