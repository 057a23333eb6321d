package configs

import (
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"time"

	"tidewatch/internal/strict"
)

// Check reports values out of range.
func (g *General) Check(bad func(key, what, allowed string)) {
	if len(g.Name) > 255 {
		bad("name", fmt.Sprintf("the name has %d characters", len(g.Name)), "at most 255")
	}
	for _, r := range g.Name {
		if r < ' ' || r == 0x7f {
			bad("name", fmt.Sprintf("the name %q has control characters", g.Name), "one line of text")
			break
		}
	}
	span(bad, "epoch", g.Epoch, time.Second, 10*time.Minute)
	span(bad, "grace", g.Grace, time.Second, 10*time.Minute)
	if g.Refused != "" && !filepath.IsAbs(g.Refused) {
		bad("refused", fmt.Sprintf("refused = %q", g.Refused), `an absolute path of a file, or "" for none`)
	}
}

func span(bad func(key, what, allowed string), key string, d, low, high time.Duration) {
	if d < low || d > high {
		bad(key, fmt.Sprintf("%s = %q", key, d), fmt.Sprintf("from %s to %s", low, high))
	}
}

// minMemory is the least with which detection makes sense, in bytes.
const minMemory = 128 << 20

// Check reports values out of range.
func (l *Limits) Check(bad func(key, what, allowed string)) {
	if l.Memory != 0 && l.Memory < minMemory {
		bad("memory", fmt.Sprintf("memory = %q", l.Memory), `"0" for what the cgroup allows, or "128MB" and more`)
	}
	strict.Between(bad, "processors", l.Processors, 0, 1024)
	strict.Between(bad, "nice", l.Nice, 0, 19)
	strict.OneOf(bad, "io", l.IO, "normal", "low", "idle")
}

// Check reports what cannot be a store.
func (s *Store) Check(bad func(key, what, allowed string)) {
	strict.OneOf(bad, "type", s.Type, "disk", "redis")
	if s.Type == "disk" && !filepath.IsAbs(s.Path) {
		bad("path", fmt.Sprintf("path = %q", s.Path), "an absolute path of a folder that is the sidecar's own")
	}
}

// Check reports a path that depends on where the sidecar was started.
func (n *NDJSON) Check(bad func(key, what, allowed string)) {
	if n.Path != "" && n.Path != "-" && !filepath.IsAbs(n.Path) {
		bad("path", fmt.Sprintf("path = %q", n.Path), `an absolute path of a file, "-" for standard output, or "" for none`)
	}
}

// Check reports folders that depend on where the sidecar was started.
func (r *Rules) Check(bad func(key, what, allowed string)) {
	for i, f := range r.Folders {
		if !filepath.IsAbs(f) {
			bad("folders."+strconv.Itoa(i), fmt.Sprintf("folder %q", f), "absolute paths of folders with rules (*.toml)")
		}
	}
	if r.Look != 0 {
		span(bad, "look", r.Look, time.Second, time.Hour)
	}
}

// Check reports what is no address.
func (h *HTTP) Check(bad func(key, what, allowed string)) {
	if h.Address == "" {
		return
	}
	if _, port, err := net.SplitHostPort(h.Address); err != nil || !validPort(port) {
		bad("address", fmt.Sprintf("address = %q", h.Address), `an address with a port, such as "127.0.0.1:9465" or "[::1]:9465"; "" for none`)
	}
}

func validPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && strconv.FormatUint(n, 10) == s
}

// Check reports unknown words.
func (l *Log) Check(bad func(key, what, allowed string)) {
	strict.OneOf(bad, "level", l.Level, "debug", "info", "warn", "error")
	strict.OneOf(bad, "format", l.Format, "text", "json")
}

// warnings says what may be meant otherwise.
func (c *Config) warnings(mode fs.FileMode) (all []string) {
	if host, _, err := net.SplitHostPort(c.HTTP.Address); err == nil && host != "localhost" {
		if a, err := netip.ParseAddr(host); err != nil || !a.IsLoopback() {
			all = append(all, fmt.Sprintf("[http] address = %q: others can read the metrics; there is no password", c.HTTP.Address))
		}
	}
	if mode.Perm()&0o027 != 0 {
		for _, key := range c.literals() {
			all = append(all, fmt.Sprintf("%s is written in this file, which others may read: take { file = ... }, or chmod 640", key))
		}
	}
	return all
}
