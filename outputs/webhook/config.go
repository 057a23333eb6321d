package webhook

import (
	"errors"
	"fmt"
	"time"

	"tidewatch/internal/strict"
	"tidewatch/outputs/dial"
)

// Templates of bodies.
const (
	JSON  = "json"  // {"findings":[…]}, ECS documents
	Slack = "slack" // a message for an incoming webhook
)

// Config is the section of the configuration about the output. Default returns one that
// lacks the URL alone.
type Config struct {
	// URL may hold a key, as those of Slack do: it is treated as a secret.
	URL      strict.Secret `toml:"url"`
	Template string        `toml:"template"`
	// Key signs requests; without one they are not signed.
	Key strict.Secret `toml:"key"`
	// Authorization is the header of that name, such as "Bearer …"; none without one.
	Authorization strict.Secret `toml:"authorization"`
	dial.HTTP

	Timeout    strict.Duration `toml:"timeout"`     // of one request, from first to last byte
	MaxBackoff strict.Duration `toml:"max_backoff"` // between two tries
	Batch      int             `toml:"batch"`       // findings in a request, at most
	// AtLeast is the least severity that is sent.
	AtLeast string `toml:"at_least"`
	// BestEffort lets findings be dropped when the server is down or slow, in place of
	// waiting for it.
	BestEffort bool `toml:"best_effort"`

	// DeadLetter is the file that takes the findings that the server refuses. At
	// DeadLetterSize it is renamed to end in ".1", in place of the one before.
	DeadLetter     string      `toml:"dead_letter"`
	DeadLetterSize strict.Size `toml:"dead_letter_size"`
}

// Default returns what holds where the configuration says nothing.
func Default() Config {
	return Config{
		Template: JSON, Timeout: strict.Duration(30 * time.Second), MaxBackoff: strict.Duration(time.Minute), Batch: 20, AtLeast: "low",
		DeadLetter: "webhook-dead-letters.ndjson", DeadLetterSize: 64 << 20,
	}
}

// maxSlack is how many findings fit into a message of Slack: it takes 50 blocks, and
// nobody reads more.
const maxSlack = 20

// Check reports what is wrong with the configuration.
func (c *Config) Check(bad func(key, what, allowed string)) {
	if _, err := dial.URL(c.URL.Reveal()); err != nil && !hasQuery(c.URL.Reveal()) {
		// Of the table, not of its line, which would be shown: it may hold a key.
		bad("", "url is no address of a server", "http://… or https://…, without a user and a password: "+strict.SecretForm)
	}
	strict.OneOf(bad, "template", c.Template, JSON, Slack)
	strict.OneOf(bad, "at_least", c.AtLeast, "low", "medium", "high", "critical")
	c.CheckHTTP(bad)
	for key, d := range map[string]strict.Duration{"timeout": c.Timeout, "max_backoff": c.MaxBackoff} {
		if d < strict.Duration(time.Millisecond) {
			bad(key, "no time at all", strict.DurationForm)
		}
	}
	most := 1000
	if c.Template == Slack {
		most = maxSlack
	}
	strict.Between(bad, "batch", c.Batch, 1, most)
	if c.DeadLetterSize < 1<<10 || c.DeadLetterSize > 1<<40 {
		bad("dead_letter_size", fmt.Sprint(c.DeadLetterSize), "1KB to 1TB")
	}
	if c.DeadLetter == "" {
		bad("dead_letter", "no file for dead letters", "the path of a file")
	}
}

// Validate returns everything that is wrong, for those who did not read the
// configuration from a file.
func (c *Config) Validate() error {
	var errs []error
	c.Check(func(key, what, allowed string) {
		errs = append(errs, fmt.Errorf("%s: %s; allowed: %s", key, what, allowed))
	})
	return errors.Join(errs...)
}
