package enrich

import (
	"fmt"
	"path/filepath"
)

// Config says which files hold what the sensor could not know.
type Config struct {
	Assets []string `toml:"assets"` // inventories
}

// DefaultConfig names no files.
func DefaultConfig() Config { return Config{Assets: []string{}} }

// Check reports paths that depend on where the sidecar was started.
func (c *Config) Check(bad func(key, what, allowed string)) {
	for key, paths := range map[string][]string{"assets": c.Assets} {
		for _, p := range paths {
			if !filepath.IsAbs(p) {
				bad(key, fmt.Sprintf("%s names %q", key, p), "absolute paths")
			}
		}
	}
}

// paths returns all files and folders.
func (c *Config) paths() []string { return c.Assets }
