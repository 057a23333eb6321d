package configs

import (
	"fmt"
	"path/filepath"
	"strings"

	"tidewatch/behavior/redis"
	"tidewatch/internal/strict"
	"tidewatch/outputs/elastic"
)

// Redis is the section of package behavior/redis.
type Redis struct{ redis.Config }

// Check reports what is wrong with the section.
func (r *Redis) Check(bad func(key, what, allowed string)) {
	c := r.Config
	if c.Sensor == "" { // it gets the name of the sidecar
		c.Sensor = "sensor"
	}
	for _, err := range each(c.Validate()) {
		bad("", strings.TrimPrefix(err.Error(), "redis: "), "")
	}
}

// each returns the errors that were joined.
func each(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

// Elasticsearch is the section of package outputs/elastic.
type Elasticsearch struct{ elastic.Config }

// SetDefaults sets what holds where the table says nothing.
func (e *Elasticsearch) SetDefaults() {
	e.Config = elastic.Default()
	e.DeadLetter = "/var/lib/tidewatch/dead-letters.ndjson"
}

// Check reports what is wrong with the section.
func (e *Elasticsearch) Check(bad func(key, what, allowed string)) {
	e.Config.Check(bad)
	if !filepath.IsAbs(e.DeadLetter) {
		bad("dead_letter", fmt.Sprintf("dead_letter = %q", e.DeadLetter), "an absolute path of a file")
	}
}

// literals names the secrets that the file itself holds.
func (c *Config) literals() (keys []string) {
	note := func(key string, s strict.Secret) {
		if s.Literal() && !s.IsZero() {
			keys = append(keys, key)
		}
	}
	note("[store.redis] password", c.Store.Redis.Password)
	note("[store.redis] sentinel_password", c.Store.Redis.SentinelPassword)
	if e := c.Output.Elasticsearch; e != nil {
		note("[output.elasticsearch] password", e.Password)
		note("[output.elasticsearch] api_key", e.APIKey)
		note("[output.elasticsearch] service_token", e.ServiceToken)
	}
	return keys
}
