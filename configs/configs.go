// Package configs reads the configuration of the sidecar: one TOML file, made of the
// sections that the packages define for themselves.
package configs

import (
	"fmt"
	"net/netip"
	"os"
	"time"

	"tidewatch/behavior/redis"
	"tidewatch/enrich"
	"tidewatch/internal/strict"
)

// Config is the whole configuration.
type Config struct {
	General General          `toml:"general"`
	Limits  Limits           `toml:"limits"`
	Inputs  map[string]Input `toml:"input"`
	Store   Store            `toml:"store"`
	Output  Output           `toml:"output"`
	Rules   Rules            `toml:"rules"`
	Enrich  enrich.Config    `toml:"enrich"`
	HTTP    HTTP             `toml:"http"`
	Log     Log              `toml:"log"`
}

// General is what concerns all of the sidecar.
type General struct {
	Name  string           `toml:"name"`  // of this sidecar; "" for the host's
	Local []strict.Network `toml:"local"` // own networks beside the private ones
	Epoch time.Duration    `toml:"epoch"` // from one checkpoint to the next, at least
	Grace time.Duration    `toml:"grace"` // to deliver what is in flight at a stop
	// Refused is a file for lines that no record can be made of; "" for none.
	Refused string `toml:"refused"`
}

// SidecarName returns the name of the sidecar: that of the host if none is written.
func (g *General) SidecarName() string {
	if g.Name != "" {
		return g.Name
	}
	host, err := os.Hostname()
	if err != nil {
		return "tidewatch"
	}
	return host
}

// Networks returns the own networks.
func (g *General) Networks() []netip.Prefix {
	all := make([]netip.Prefix, 0, len(g.Local))
	for _, n := range g.Local {
		all = append(all, n.Prefix)
	}
	return all
}

// Limits keep the sidecar a good neighbour of the sensor.
type Limits struct {
	Memory     strict.Size `toml:"memory"`     // 0: nine tenths of what the cgroup allows
	Processors int         `toml:"processors"` // 0: what the system and the cgroup allow
	Nice       int         `toml:"nice"`
	IO         string      `toml:"io"` // "normal", "low" or "idle"
}

// Store says where baselines, positions and suppression are kept.
type Store struct {
	Type string `toml:"type"`
	Path string `toml:"path"` // of the disk store's folder
	// Redis is where the store of type "redis" is. Without a sensor's name it has that
	// of the sidecar.
	Redis Redis `toml:"redis"`
}

// Output says where findings go. All outputs get all findings.
type Output struct {
	NDJSON        NDJSON         `toml:"ndjson"`
	Elasticsearch *Elasticsearch `toml:"elasticsearch"` // nil: none
	Webhook       *Webhook       `toml:"webhook"`       // nil: none
	Syslog        *Syslog        `toml:"syslog"`        // nil: none
}

// NDJSON is a file of ECS documents, one a line.
type NDJSON struct {
	Path string `toml:"path"` // "": none
}

// Rules says which rules there are beside the shipped ones.
type Rules struct {
	Folders []string      `toml:"folders"`
	Look    time.Duration `toml:"look"` // how often the folders are looked at; 0: never
}

// HTTP is where metrics, health and status are served.
type HTTP struct {
	Address string `toml:"address"` // "": nowhere
}

// Log is how the sidecar speaks of itself, on standard error.
type Log struct {
	Level  string `toml:"level"`
	Format string `toml:"format"`
}

// Default returns what holds where a file says nothing.
func Default() *Config {
	return &Config{
		General: General{Local: []strict.Network{}, Epoch: time.Second, Grace: 20 * time.Second},
		Limits:  Limits{IO: "low", Nice: 5},
		Store:   Store{Type: "disk", Path: "/var/lib/tidewatch/state", Redis: Redis{redis.DefaultConfig()}},
		Rules:   Rules{Folders: []string{}, Look: 5 * time.Second},
		Enrich:  enrich.DefaultConfig(),
		HTTP:    HTTP{Address: "127.0.0.1:9465"},
		Log:     Log{Level: "info", Format: "text"},
	}
}

// maxFile bounds a configuration file, in bytes.
const maxFile = 1 << 20

// Load reads a file. The error names everything that is wrong with it, with its
// place: it is a join of *strict.Problem. Warnings are what may be meant otherwise.
func Load(path string) (c *Config, warnings []string, err error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, nil, err
	case !info.Mode().IsRegular() || info.Size() > maxFile:
		return nil, nil, fmt.Errorf("%s is no configuration file", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	c, bad := Parse(path, string(text))
	if err := strict.Join(bad); err != nil {
		return nil, nil, err
	}
	return c, c.warnings(info.Mode()), nil
}

// Parse reads the text of a file of this name.
func Parse(name, text string) (*Config, []*strict.Problem) {
	c := Default()
	doc := strict.NewDocument(name, text)
	bad := strict.Decode(doc, c)
	if len(bad) == 0 {
		bad = c.complete(doc)
	}
	return c, bad
}

// complete reports what no table can know by itself.
func (c *Config) complete(doc *strict.Document) (bad []*strict.Problem) {
	if len(c.Inputs) == 0 {
		bad = append(bad, doc.Problem([]string{"input"}, "there is no input: nothing to read", `a table such as [input.zeek] with paths = ["/opt/zeek/logs/current/*.log"]`))
	}
	if c.Output == (Output{}) {
		bad = append(bad, doc.Problem([]string{"output"}, "there is no output: findings would be lost", `[output.ndjson] with path = "/var/lib/tidewatch/findings.ndjson", [output.elasticsearch], [output.webhook] or [output.syslog]`))
	}
	return bad
}
