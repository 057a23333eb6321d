// Package compose_test checks what can be checked without containers.
package compose_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"tidewatch/configs"
	"tidewatch/internal/strict"
)

// The services that the configuration speaks with are there, and so is what is
// mounted; nothing is open to the network.
func TestCompose(t *testing.T) {
	b, err := os.ReadFile("compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		Services map[string]struct {
			Build, Image   string
			Command        []string
			Ports, Volumes []string
			DependsOn      map[string]struct{ Condition string } `yaml:"depends_on"`
		}
		Volumes map[string]any
	}
	if err := yaml.Unmarshal(b, &c); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("tidewatch.toml")
	if err != nil {
		t.Fatal(err)
	}
	cfg, bad := configs.Parse("tidewatch.toml", string(text))
	if len(bad) > 0 {
		t.Fatal(strict.Join(bad))
	}
	for _, a := range slices.Concat(cfg.Store.Redis.Addresses, cfg.Output.Elasticsearch.Addresses) {
		host, _, _ := strings.Cut(strings.TrimPrefix(a, "http://"), ":")
		if _, ok := c.Services[host]; !ok {
			t.Errorf("%s: there is no service %s", a, host)
		}
	}
	for name, s := range c.Services {
		if (s.Build == "") == (s.Image == "") {
			t.Errorf("%s: built %q, image %q", name, s.Build, s.Image)
		}
		if s.Build != "" {
			if _, err := os.Stat(filepath.Join(s.Build, "Dockerfile")); err != nil {
				t.Error(err)
			}
		}
		for _, p := range s.Ports {
			if !strings.HasPrefix(p, "127.0.0.1:") {
				t.Errorf("%s is open to the network: %s", name, p)
			}
		}
		for _, v := range s.Volumes {
			from, _, _ := strings.Cut(v, ":")
			if _, named := c.Volumes[from]; named || strings.HasPrefix(from, "$") {
				continue
			}
			if _, err := os.Stat(from); err != nil {
				t.Errorf("%s mounts %v", name, err)
			}
		}
		for d := range s.DependsOn {
			if _, ok := c.Services[d]; !ok {
				t.Errorf("%s depends on %s", name, d)
			}
		}
	}
}
