package syslog

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"tidewatch/internal/strict"
	"tidewatch/outputs/dial"
)

// Config is the section of the configuration about the output. Default returns one that
// lacks the address alone.
type Config struct {
	Address   string `toml:"address"`   // host:port
	Transport string `toml:"transport"` // "tls", "tcp" or "udp"
	dial.Trust
	Facility string `toml:"facility"`
	Host     string `toml:"host"` // HOSTNAME of messages; "" for the host's own
	// Format is what follows the structured data: "text", the reason, or "json", the ECS
	// document.
	Format     string          `toml:"format"`
	Timeout    strict.Duration `toml:"timeout"`     // to connect, and of one write
	MaxBackoff strict.Duration `toml:"max_backoff"` // between two tries
	AtLeast    string          `toml:"at_least"`    // least severity that is sent
	// BestEffort lets findings be dropped when the server is down or slow, in place of
	// waiting for it.
	BestEffort bool `toml:"best_effort"`
}

// Default returns what holds where the configuration says nothing.
func Default() Config {
	return Config{
		Transport: "tls", Facility: "local0", Format: "text", AtLeast: "low",
		Timeout: strict.Duration(10 * time.Second), MaxBackoff: strict.Duration(30 * time.Second),
	}
}

// facilities are those of RFC 5424, table 1, by their customary names; their place is
// their number.
var facilities = []string{
	"kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
	"ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
}

// Check reports what is wrong with the configuration.
func (c *Config) Check(bad func(key, what, allowed string)) {
	host, port, err := net.SplitHostPort(c.Address)
	if n, portErr := strconv.ParseUint(port, 10, 16); err != nil || portErr != nil || n == 0 || host == "" {
		bad("address", fmt.Sprintf("address = %q", c.Address), `a host with a port, such as "siem.example:6514"`)
	}
	strict.OneOf(bad, "transport", c.Transport, "tls", "tcp", "udp")
	strict.OneOf(bad, "format", c.Format, "text", "json")
	strict.OneOf(bad, "at_least", c.AtLeast, "low", "medium", "high", "critical")
	if !slices.Contains(facilities, c.Facility) {
		bad("facility", fmt.Sprintf("facility = %q", c.Facility), strings.Join(facilities, ", "))
	}
	if c.Host != "" && word(c.Host, 255) != c.Host {
		bad("host", fmt.Sprintf("host = %q", c.Host), "at most 255 visible ASCII characters, no space")
	}
	c.CheckTrust(bad)
	if c.Transport != "tls" && c.Trust != (dial.Trust{}) {
		bad("ca_file", "certificates without TLS", `transport = "tls", or no certificates`)
	}
	for key, d := range map[string]strict.Duration{"timeout": c.Timeout, "max_backoff": c.MaxBackoff} {
		if d < strict.Duration(time.Millisecond) {
			bad(key, "no time at all", strict.DurationForm)
		}
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
