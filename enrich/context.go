package enrich

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"tidewatch/event"
	"tidewatch/internal/strict"
)

// snapshot is what all files said at one time. It is not changed once it is in force.
type snapshot struct {
	zones    *Zones
	assets   *Inventory
	intel    *Indicators // nil: none
	services *Services
	geo      *GeoDatabases
	number   uint64
	// says that there is something to know of addresses beside where they belong.
	says bool
}

// Context answers from files what the sensor could not know, and from what DHCP said.
// It may be used concurrently; files are read anew while it answers.
type Context struct {
	zones  *Zones
	config Config
	now    atomic.Pointer[snapshot]
	leases leases
	names  nicknames
	look   chan struct{} // holds one
	near   [nearSize][2]atomic.Pointer[near]
	stamp  uint64 // of the files in force
	read   uint64 // how often they were read
	unread error  // why it is not known which indicators were in force before
}

// Open reads the files. The error names all that is wrong with any of them.
func Open(zones *Zones, cfg Config) (*Context, error) {
	c := &Context{zones: zones, config: cfg, look: make(chan struct{}, 1)}
	c.stamp = c.stamps()
	s, err := c.readAll()
	if err != nil {
		return nil, err
	}
	c.now.Store(s)
	return c, nil
}

// nearSize is how many pairs of addresses' answers are kept at hand: a power of two.
const nearSize = 1 << 14

// near is what the files of one snapshot say of an address. It is not changed.
type near struct {
	addr  netip.Addr
	vlan  uint16
	of    uint64 // the snapshot's number: a pointer would keep its lists in memory
	about *event.About
}

// readAll reads all files.
func (c *Context) readAll() (*snapshot, error) {
	var problems []error
	cfg := &c.config
	c.read++
	s := &snapshot{number: c.read}
	var before *past
	if last := c.now.Load(); last == nil {
		before = c.recall()
	} else if before = (&past{table: last.intel}); before.table == nil {
		before.table = newIndicators() // there was none
		before.table.done()
	}
	var err error
	if s.zones, err = c.zones.With(cfg.Networks); err != nil {
		problems = append(problems, err)
	}
	if s.assets, err = ReadInventory(cfg.Assets); err != nil {
		problems = append(problems, err)
	}
	if len(cfg.Indicators)+len(cfg.Feeds) > 0 {
		if s.intel, err = readIndicators(cfg.Indicators, cfg.Allowed, cfg.Feeds, before, cfg.Seen != ""); err != nil {
			problems = append(problems, err)
		}
	}
	if s.services, err = readServices(cfg.Services); err != nil {
		problems = append(problems, err)
	}
	if s.geo, err = readGeo(cfg.Geo); err != nil {
		problems = append(problems, err)
	}
	s.says = err == nil && s.assets.Len()+s.services.Len()+s.geo.Len() > 0 || len(cfg.Networks) > 0
	return s, joinProblems(problems)
}

// Enrich sets what is known of an event's ends. It does not allocate for addresses that
// it was asked about not long ago, but for names that are new.
func (c *Context) Enrich(ev *event.Event) {
	s := c.now.Load()
	s.zones.Enrich(ev)
	if s.says {
		c.end(s, ev, &ev.Orig)
		c.end(s, ev, &ev.Resp)
	}
	if s.intel != nil {
		s.intel.match(ev)
	}
	switch ev.Kind {
	case event.KindDHCP:
		c.leases.learn(ev)
	case event.KindKerberos, event.KindNTLM, event.KindSMB, event.KindRDP, event.KindDNS:
		c.names.learn(ev)
	}
}

// end sets what the files say of one end.
func (c *Context) end(s *snapshot, ev *event.Event, h *event.Host) {
	if !h.Addr.IsValid() {
		return
	}
	a := c.said(s, h.Addr, ev.VLAN, h.Hash)
	if h.About = a; a != nil && a.Asset != nil {
		h.Role, h.Worth = a.Asset.Role, a.Asset.Criticality
	}
}

// said returns what the files say of an address; nil if that is nothing. What it said
// last of addresses is at hand: of those with one place, of the last two.
func (c *Context) said(s *snapshot, a netip.Addr, vlan uint16, hash uint64) *event.About {
	at := &c.near[hash>>32&(nearSize-1)]
	last := at[0].Load()
	if last.is(s, a, vlan) {
		return last.about
	}
	if n := at[1].Load(); n.is(s, a, vlan) {
		return n.about
	}
	about := s.about(a, vlan)
	at[1].Store(last)
	at[0].Store(&near{a, vlan, s.number, about})
	return about
}

func (n *near) is(s *snapshot, a netip.Addr, vlan uint16) bool {
	return n != nil && n.addr == a && n.vlan == vlan && n.of == s.number
}

// about asks the files of an address.
func (s *snapshot) about(a netip.Addr, vlan uint16) *event.About {
	about := event.About{
		Asset: s.assets.Lookup(a, vlan), Service: s.services.Lookup(a), Geo: s.geo.Lookup(a), Network: s.zones.Name(a, vlan),
	}
	if about == (event.About{}) {
		return nil
	}
	return &about
}

// Explain fills in what is known of an observation's ends, and lets it speak for the
// case or against it. The observation must be the caller's own.
func (c *Context) Explain(o *event.Observation) {
	s := c.now.Load()
	o.Source.About = c.about(s, o.Source.Addr, o.VLAN, o.End)
	o.Destination.About = c.about(s, o.Destination.Addr, o.VLAN, o.End)
	weigh(o)
	if s.intel != nil {
		s.intel.listed(o)
		weighListed(o)
	}
}

// about returns what is known of an address at a time; nil if nothing is.
func (c *Context) about(s *snapshot, a netip.Addr, vlan uint16, at int64) *event.About {
	if !a.IsValid() {
		return nil
	}
	about := s.about(a, vlan)
	l, leased := c.leases.at(a, at)
	name := l.name
	if name == "" {
		name = c.names.at(a, at)
	}
	if !leased && name == "" {
		return about
	}
	if about == nil {
		about = &event.About{}
	}
	about.Name = name
	if about.Asset == nil && leased {
		about.Asset = s.assets.hardware[l.mac]
	}
	if *about == (event.About{}) {
		return nil
	}
	return about
}

// AssetOf returns what the inventory calls the owner of a hardware address; "" if it has
// none.
func (c *Context) AssetOf(mac [6]byte) string {
	if a := c.now.Load().assets.hardware[mac]; a != nil {
		return a.Name
	}
	return ""
}

// Reload reads the files again if one of them has changed, and reports whether it did
// so. What has errors changes nothing; the error names them.
func (c *Context) Reload() (bool, error) {
	stamp := c.stamps()
	if stamp == c.stamp {
		return false, nil
	}
	c.stamp = stamp
	s, err := c.readAll()
	if err != nil {
		return true, err
	}
	c.now.Store(s)
	return true, nil
}

// Warnings says what was left out of lists of indicators, as they are in force. Parts of
// them are what the lists say: they have to be escaped.
func (c *Context) Warnings() []string {
	x := c.now.Load().intel
	if x == nil {
		return nil
	}
	if x.allowed == nil {
		return x.warnings
	}
	return slices.Concat(x.warnings, x.allowed.warnings)
}

// Look makes Follow look at once whether files have changed.
func (c *Context) Look() {
	select {
	case c.look <- struct{}{}:
	default: // it will
	}
}

// Fresh returns the indicators that the last reload brought, or that came since the last
// process with the same Config.Seen: addresses, names and fingerprints of TLS clients, at
// most 262,144. The next call returns none.
func (c *Context) Fresh() []event.Sought {
	x := c.now.Load().intel
	if x == nil {
		return nil
	}
	return x.sought()
}

// Follow reads files that have changed, until ctx ends. What is broken is logged once:
// what was read before stays in force. Fresh is called with the indicators that are new
// in what was read; when it returns, and ctx has not ended, they are noted in Config.Seen.
func (c *Context) Follow(ctx context.Context, every time.Duration, log *slog.Logger, fresh func([]event.Sought)) {
	t := time.NewTicker(every)
	defer t.Stop()
	look := func() {
		if all := c.Fresh(); len(all) > 0 {
			fresh(all)
		}
		if ctx.Err() == nil {
			c.keep(log)
		}
	}
	for look(); ; {
		select {
		case <-t.C:
		case <-c.look:
		case <-ctx.Done():
			return
		}
		switch again, err := c.Reload(); {
		case err != nil:
			log.Error("files of [enrich] have errors: what they said before stays in force", "error", err)
		case again:
			log.Info("files of [enrich] are read again", "assets", c.now.Load().assets.Len(), "indicators", c.now.Load().intel.Len())
			for _, w := range c.Warnings() {
				log.Warn("[enrich] " + w)
			}
			look()
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
