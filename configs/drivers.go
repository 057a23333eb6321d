package configs

import (
	"fmt"
	"path/filepath"
	"strings"

	"tidewatch/behavior/redis"
	"tidewatch/internal/strict"
	"tidewatch/outputs/elastic"
	"tidewatch/outputs/syslog"
	"tidewatch/outputs/webhook"
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

// Webhook is the section of package outputs/webhook.
type Webhook struct{ webhook.Config }

// SetDefaults sets what holds where the table says nothing.
func (w *Webhook) SetDefaults() {
	w.Config = webhook.Default()
	w.DeadLetter = "/var/lib/tidewatch/webhook-dead-letters.ndjson"
}

// Check reports what is wrong with the section.
func (w *Webhook) Check(bad func(key, what, allowed string)) {
	w.Config.Check(bad)
	if !filepath.IsAbs(w.DeadLetter) {
		bad("dead_letter", fmt.Sprintf("dead_letter = %q", w.DeadLetter), "an absolute path of a file")
	}
}

// Syslog is the section of package outputs/syslog.
type Syslog struct{ syslog.Config }

// SetDefaults sets what holds where the table says nothing.
func (s *Syslog) SetDefaults() { s.Config = syslog.Default() }

// literals names the secrets that the file itself holds.
func (c *Config) literals() (keys []string) {
	note := func(key string, s strict.Secret) {
		if s.Literal() && !s.IsZero() {
			keys = append(keys, key)
		}
	}
	note("[store.redis] password", c.Store.Redis.Password)
	note("[store.redis] sentinel_password", c.Store.Redis.SentinelPassword)
	for name, in := range c.Inputs {
		if in.Redis != nil {
			note("[input."+name+".redis] password", in.Redis.Password)
		}
	}
	if e := c.Output.Elasticsearch; e != nil {
		note("[output.elasticsearch] password", e.Password)
		note("[output.elasticsearch] api_key", e.APIKey)
		note("[output.elasticsearch] service_token", e.ServiceToken)
	}
	if w := c.Output.Webhook; w != nil {
		note("[output.webhook] url", w.URL)
		note("[output.webhook] key", w.Key)
		note("[output.webhook] authorization", w.Authorization)
	}
	return keys
}
