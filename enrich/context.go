package enrich

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"tidewatch/event"
	"tidewatch/internal/strict"
)

// snapshot is what all files said at one time. It is not changed once it is in force.
type snapshot struct {
	assets   *Inventory
	intel    *Indicators // nil: none
	services *Services
	geo      *GeoDatabases
}

// Context answers from files what the sensor could not know, and from what DHCP said.
// It may be used concurrently; files are read anew while it answers.
type Context struct {
	zones  *Zones
	config Config
	now    atomic.Pointer[snapshot]
	leases leases
	stamp  uint64 // of the files in force
}

// Open reads the files. The error names all that is wrong with any of them.
func Open(zones *Zones, cfg Config) (*Context, error) {
	c := &Context{zones: zones, config: cfg}
	c.stamp = c.stamps()
	s, err := read(&c.config)
	if err != nil {
		return nil, err
	}
	c.now.Store(s)
	return c, nil
}

// read reads all files.
func read(cfg *Config) (*snapshot, error) {
	var problems []error
	s := &snapshot{}
	var err error
	if s.assets, err = ReadInventory(cfg.Assets); err != nil {
		problems = append(problems, err)
	}
	if len(cfg.Indicators) > 0 {
		if s.intel, err = readIndicators(cfg.Indicators, cfg.Allowed); err != nil {
			problems = append(problems, err)
		}
	}
	if s.services, err = readServices(cfg.Services); err != nil {
		problems = append(problems, err)
	}
	if s.geo, err = readGeo(cfg.Geo); err != nil {
		problems = append(problems, err)
	}
	return s, joinProblems(problems)
}

// Enrich sets what is known of an event's ends. It does not allocate, but for what
// DHCP says.
func (c *Context) Enrich(ev *event.Event) {
	c.zones.Enrich(ev)
	s := c.now.Load()
	if s.assets.Len() > 0 {
		s.role(&ev.Orig)
		s.role(&ev.Resp)
	}
	if s.intel != nil {
		s.intel.match(ev)
	}
	if ev.Kind == event.KindDHCP {
		c.leases.learn(ev)
	}
}

func (s *snapshot) role(h *event.Host) {
	if a := s.assets.Lookup(h.Addr); a != nil {
		h.Role, h.Worth = a.Role, a.Criticality
	}
}

// Explain fills in what is known of an observation's ends, and lets it speak for the
// case or against it. The observation must be the caller's own.
func (c *Context) Explain(o *event.Observation) {
	s := c.now.Load()
	o.Source.About = c.about(s, o.Source.Addr, o.End)
	o.Destination.About = c.about(s, o.Destination.Addr, o.End)
	weigh(o)
	if s.intel != nil {
		s.intel.listed(o)
		weighListed(o)
	}
}

// about returns what is known of an address at a time; nil if nothing is.
func (c *Context) about(s *snapshot, a netip.Addr, at int64) *event.About {
	if !a.IsValid() {
		return nil
	}
	var about event.About
	about.Asset, about.Service, about.Geo = s.assets.Lookup(a), s.services.Lookup(a), s.geo.Lookup(a)
	if l, ok := c.leases.at(a, at); ok {
		about.Name = l.name
		if about.Asset == nil {
			about.Asset = s.assets.hardware[l.mac]
		}
	}
	if about == (event.About{}) {
		return nil
	}
	return &about
}

// Reload reads the files again if one of them has changed, and reports whether it did
// so. What has errors changes nothing; the error names them.
func (c *Context) Reload() (bool, error) {
	stamp := c.stamps()
	if stamp == c.stamp {
		return false, nil
	}
	c.stamp = stamp
	s, err := read(&c.config)
	if err != nil {
		return true, err
	}
	c.now.Store(s)
	return true, nil
}

// Follow reads files that have changed, until ctx ends. What is broken is logged once:
// what was read before stays in force.
func (c *Context) Follow(ctx context.Context, every time.Duration, log *slog.Logger) {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		switch again, err := c.Reload(); {
		case err != nil:
			log.Error("files of [enrich] have errors: what they said before stays in force", "error", err)
		case again:
			log.Info("files of [enrich] are read again", "assets", c.now.Load().assets.Len(), "indicators", c.now.Load().intel.Len())
		}
	}
}

// stamps is a hash of which files there are, and when each was changed.
func (c *Context) stamps() uint64 {
	h := uint64(1)
	mix := func(path string, info fs.FileInfo) {
		for i := range len(path) {
			h = event.Mix(h, uint64(path[i]))
		}
		if info != nil {
			h = event.Mix(event.Mix(h, uint64(info.Size())), uint64(info.ModTime().UnixNano()))
		}
	}
	for _, path := range c.config.paths() {
		info, err := os.Stat(path)
		if err != nil || !info.IsDir() {
			mix(path, info)
			continue
		}
		_ = filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				info, _ := d.Info()
				mix(name, info)
			}
			return nil
		})
	}
	return h
}

// joinProblems puts the errors of several sources into one.
func joinProblems(errs []error) error {
	var all []*strict.Problem
	for _, err := range errs {
		if u, ok := err.(interface{ Unwrap() []error }); ok {
			for _, e := range u.Unwrap() {
				if p, ok := e.(*strict.Problem); ok {
					all = append(all, p)
					continue
				}
				all = append(all, &strict.Problem{What: fmt.Sprint(e)})
			}
		}
	}
	return strict.Join(all)
}
