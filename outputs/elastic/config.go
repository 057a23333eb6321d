package elastic

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"tidewatch/event"
	"tidewatch/internal/strict"
	"tidewatch/outputs/dial"
)

// Flavors of servers.
const (
	Elasticsearch = "elasticsearch"
	OpenSearch    = "opensearch"
)

// Config is the section of the configuration about the output. Default returns one
// that is complete.
type Config struct {
	// Addresses are the URLs of nodes, which are asked in turn.
	Addresses []string `toml:"addresses"`
	// Flavor is what the servers are: "elasticsearch", or "opensearch".
	Flavor string `toml:"flavor"`
	// Namespace is the last part of the data streams' names.
	Namespace string `toml:"namespace"`

	// One of these three ways to say who we are, or none.
	Username     string        `toml:"username"`
	Password     strict.Secret `toml:"password"`
	APIKey       strict.Secret `toml:"api_key"` // base64 of id:key, as the server returns it in "encoded"
	ServiceToken strict.Secret `toml:"service_token"`

	dial.HTTP

	Timeout    strict.Duration `toml:"timeout"`     // of one request, from first to last byte
	MaxBackoff strict.Duration `toml:"max_backoff"` // between two tries
	// A request carries so many documents, and bytes of them before compression.
	BatchDocuments int         `toml:"batch_documents"`
	BatchSize      strict.Size `toml:"batch_size"`
	Requests       int         `toml:"requests"` // at once, for records
	Compress       bool        `toml:"compress"`

	// DeadLetter is the file that takes the documents that the server will never take.
	// At DeadLetterSize it is renamed to end in ".1", in place of the one before.
	DeadLetter     string      `toml:"dead_letter"`
	DeadLetterSize strict.Size `toml:"dead_letter_size"`

	// Records are the kinds of records that are written too, such as "dns"; "all" means
	// all of them.
	Records []string `toml:"records"`
	// When chooses among the records of those kinds: an expression in the language of
	// rules. "" takes all. This package leaves it to the caller: see Exporter.Wants.
	When string `toml:"when"`
	// BestEffort lets findings be dropped when the server is down or slow, in place of
	// waiting for it. It cannot be had together with records, which always wait.
	BestEffort bool `toml:"best_effort"`
}

// Default returns the configuration of a server on this host.
func Default() Config {
	return Config{
		Addresses:      []string{"https://127.0.0.1:9200"},
		Flavor:         Elasticsearch,
		Namespace:      "default",
		Timeout:        strict.Duration(time.Minute),
		MaxBackoff:     strict.Duration(30 * time.Second),
		BatchDocuments: 2000,
		BatchSize:      4 << 20,
		Requests:       2,
		Compress:       true,
		DeadLetter:     "dead-letters.ndjson",
		DeadLetterSize: 64 << 20,
	}
}

// namespaces are what data streams take: no hyphen, no upper case, nothing that has a
// meaning in an index name.
var namespaces = regexp.MustCompile(`^[a-z0-9_.]{1,100}$`)

// Check reports what is wrong with the configuration.
func (c *Config) Check(bad func(key, what, allowed string)) {
	if len(c.Addresses) == 0 {
		bad("addresses", "no address", "at least one URL, such as https://127.0.0.1:9200")
	}
	for _, a := range c.Addresses {
		if _, err := dial.URL(a); err != nil {
			bad("addresses", err.Error(), "URLs such as https://127.0.0.1:9200, without a password")
		}
	}
	if c.Flavor != Elasticsearch && c.Flavor != OpenSearch {
		bad("flavor", fmt.Sprintf("flavor %q", c.Flavor), `"elasticsearch" or "opensearch"`)
	}
	if !namespaces.MatchString(c.Namespace) {
		bad("namespace", fmt.Sprintf("namespace %q", c.Namespace), "1 to 100 of a-z, 0-9, _ and .")
	}
	c.checkIdentity(bad)
	for key, n := range map[string]int64{"timeout": int64(c.Timeout), "max_backoff": int64(c.MaxBackoff)} {
		if n < int64(time.Millisecond) {
			bad(key, "no time at all", strict.DurationForm)
		}
	}
	inRange := func(key string, n, low, high int64) {
		if n < low || n > high {
			bad(key, fmt.Sprint(n), fmt.Sprintf("%d to %d", low, high))
		}
	}
	inRange("batch_documents", int64(c.BatchDocuments), 1, 100_000)
	inRange("batch_size", int64(c.BatchSize), 1<<10, 64<<20)
	inRange("requests", int64(c.Requests), 1, 64)
	inRange("dead_letter_size", int64(c.DeadLetterSize), 1<<10, 1<<40)
	if c.DeadLetter == "" {
		bad("dead_letter", "no file for dead letters", "the path of a file")
	}
	if c.When != "" && len(c.Records) == 0 {
		bad("when", "a condition on records, and no records", `records = ["all"], or other kinds`)
	}
	if c.BestEffort && len(c.Records) > 0 {
		bad("best_effort", "best_effort with records", "one of them: records wait for the server")
	}
	if _, err := kinds(c.Records); err != nil {
		bad("records", err.Error(), `kinds such as "conn" and "dns", or "all"`)
	}
}

// checkIdentity checks who we are and whom we trust.
func (c *Config) checkIdentity(bad func(key, what, allowed string)) {
	ways := 0
	for _, set := range []bool{c.Username != "" || !c.Password.IsZero(), !c.APIKey.IsZero(), !c.ServiceToken.IsZero()} {
		if set {
			ways++
		}
	}
	if ways > 1 {
		bad("", "several ways to say who we are", "one of username and password, api_key, service_token")
	}
	if (c.Username == "") != c.Password.IsZero() {
		bad("password", "a username without a password, or the reverse", "both or none")
	}
	c.CheckHTTP(bad)
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

// kinds returns which kinds of records are meant.
func kinds(names []string) (set [event.NumKinds]bool, err error) {
	for _, name := range names {
		known := false
		for k := range set {
			if name == "all" || name == event.Kind(k).String() {
				set[k], known = true, true
			}
		}
		if !known {
			return set, fmt.Errorf("records of kind %q", name)
		}
	}
	return set, nil
}
